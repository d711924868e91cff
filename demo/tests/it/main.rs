//! The generator's output against readers that share no code with it: the `bson` crate, a recount from the dump's bytes, PostgreSQL 15
//! and a server of MongoDB's protocol.
#![allow(clippy::unwrap_used, clippy::string_slice)]

mod changes;
mod copy_file;
mod dump;
mod edges;
mod reading;
mod recount;
mod servers;
mod support;
