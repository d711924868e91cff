//! PostgreSQL: tables read as `COPY … (FORMAT binary)`, decoded straight off the wire into Arrow.
//!
//! # What a reading sees
//! All tables of a source are read in one exported snapshot, by several connections at once: they fit together, whatever is written
//! meanwhile. A table is cut by the places of its rows (`ctid`), or, when only a part of it is wanted and an index knows
//! which, by the cursor. [`copy`] decodes the format, from a server or from files.
//!
//! With `capture = "log"` the server's log says which rows changed, and deletions arrive: see `log`.
//!
//! # What it needs
//! A role with `SELECT` on the tables. Checkpoints stay behind every transaction that is still open: with `pg_read_all_stats` by its beginning;
//! without it, a transaction that does not end soon keeps them where they were (see `transactions`). A connection pooler between must keep sessions together.

mod catalog;
mod connection;
pub mod copy;
mod discover;
mod error;
mod kind;
mod log;
mod options;
mod plan;
mod read;
mod slices;
mod snapshot;
mod statement;
mod table;
mod transactions;
mod types;

pub use discover::declaration;
pub use error::{
    AUTH, CAPTURE, COLUMN, COPY, CURSOR, DATABASE, GRANT, LOG, LOST, POOLER, SLOT, STATEMENT, TABLE, TIMEOUT, TLS, TYPE, UNREACHABLE, URL,
    WORK,
};
pub use kind::KIND;
pub use log::CaptureOptions;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use log::fold_messages;
pub use options::{PostgresConfig, PostgresOptions, TableOptions};
pub use table::PostgresSource;
pub use types::{CompositeField, PostgresType};

use pipeline_core::error::Code;

/// How this kind of source is configured.
pub const EXAMPLE: &str = include_str!("example.toml");

/// The codes of this module.
pub const CODES: &[&Code] = &[
    &AUTH,
    &CAPTURE,
    &COLUMN,
    &COPY,
    &CURSOR,
    &DATABASE,
    &GRANT,
    &LOG,
    &LOST,
    &POOLER,
    &SLOT,
    &STATEMENT,
    &TABLE,
    &TIMEOUT,
    &TLS,
    &TYPE,
    &UNREACHABLE,
    &URL,
    &WORK,
];
