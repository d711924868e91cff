//! PostgreSQL as a source, tried against a real server.
//!
//! Each test starts a server of its own from the PostgreSQL that the system has.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod chunks;
mod contracts;
mod server;
mod typed;
mod types;
