//! What every source owes the engine, tried against real files and a real server.
//!
//! The server is SecantusDB, a re-implementation of MongoDB's protocol and storage, not MongoDB itself: these tests show what is asked
//! and what is made of the answers, not how a MongoDB replica set behaves in a failover. `tests/services.sh` installs it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod collections;
mod conformance;
mod defaults;
mod dumps;
mod examples;
mod orders;
mod server;
mod speed;
mod streams;
mod tables;
