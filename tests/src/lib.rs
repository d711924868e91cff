//! The harness of the end-to-end tests: real servers on free ports of 127.0.0.1, and the program `pipeline` in a folder of
//! its own.
//!
//! | type | what is behind it |
//! |---|---|
//! | [`Postgres`] | PostgreSQL as the system has it |
//! | [`Mongo`] | SecantusDB, a server of MongoDB's protocol; what it cannot show is listed there |
//! | [`MongoRelay`] | a relay of MongoDB's protocol in this process, which keeps commands and knows users by their certificates |
//! | [`OpenSearch`] | osmem-server, an emulator of OpenSearch; what it cannot show is listed there |
//! | [`S3`] | SeaweedFS |
//! | [`RedshiftDouble`] | `redshift-double` over a PostgreSQL and an S3 server of the harness |
//! | [`OtlpReceiver`] | rotel, which prints the spans it receives |
//! | [`Pooler`] | PgBouncer in front of a PostgreSQL server |
//! | [`Browser`] | Chromium, driven by ChromeDriver |
//! | [`Cluster`] | scheduler and executors of the program itself |
//! | [`FaultProxy`] | a TCP relay that can be cut, in this process |
//!
//! Everything ends with its value, and with this process however it ends: a watcher outside kills what is left and removes
//! the temporary folders (see [`keeper`]). A harness that cannot do its work panics and says what is missing: a test that
//! silently does nothing would be worse. `tests/services.sh` installs the servers.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::string_slice))]

pub mod answers;
pub mod browser;
pub mod keeper;
pub mod metadata;
pub mod place;

mod certificates;
mod cluster;
mod http;
mod mongo;
mod mongo_relay;
mod opensearch;
mod otlp;
mod pooler;
mod port;
mod postgres;
mod project;
mod proxy;
mod redshift;
mod s3;
mod server;
mod signature;

pub use answers::Answers;
pub use browser::Browser;
pub use certificates::Certificates;
pub use cluster::Cluster;
pub use mongo::Mongo;
pub use mongo_relay::MongoRelay;
pub use opensearch::OpenSearch;
pub use otlp::{OtlpReceiver, Span, SpanEvent, SpanStatus};
pub use pooler::Pooler;
pub use postgres::Postgres;
pub use project::{Outcome, Project, Row, Running};
pub use proxy::FaultProxy;
pub use redshift::RedshiftDouble;
pub use s3::{Credentials, Object, S3};
