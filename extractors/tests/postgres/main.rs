//! PostgreSQL as a source, tried against a real server.
//!
//! Each test starts a server of its own from the PostgreSQL that the system has.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod capture;
mod changes;
mod chunks;
#[path = "../suite/conformance.rs"]
mod conformance;
mod contracts;
mod examples;
mod open_transactions;
#[path = "../suite/random.rs"]
mod random;
mod random_tables;
mod refusals;
mod relations;
mod server;
mod snapshots;
mod typed;
mod types;
mod values;
