//! End-to-end tests: one binary, because each would link the drivers again.

#![allow(clippy::unwrap_used, clippy::string_slice, reason = "a test that fails says where")]

mod again;
mod architecture;
mod capture;
#[cfg(feature = "cluster")]
mod cluster;
mod continued;
mod cut;
mod deploy;
mod emptied;
#[path = "../../transforms/tests/models/equations.rs"]
mod equations;
mod gentle;
mod late;
mod loaders;
mod local;
mod map;
mod opensearch;
mod oracle;
mod program;
mod replay;
mod schema;
mod servers;
mod services;
mod streams;
mod warehouse;
