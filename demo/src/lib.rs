//! A realistic data set of a food-delivery chain, with the answers that belong to it.
//!
//! [`generate_to_directory`] writes what `mongodump` and `COPY … (FORMAT binary)` would write of the chain's databases;
//! [`generate_to_servers`] writes the same rows into a live MongoDB and a live PostgreSQL. Both return [`Answers`]: what the sources
//! deliver after duplicates and misfits are taken out, what every mart must hold, and which defects were put in on purpose.
//!
//! Guarantees:
//! - The same [`Options`] give the same bytes, on any machine (compressed files: once they are unpacked): nothing here reads a clock, and no
//!   figure that is written depends on a platform's mathematical library.
//! - Memory does not grow with orders. Whatever is known of a store, a customer or an order is a pure function of the seed and its
//!   number; orders are made one business date and one city at a time. What is kept for a customer is a few bytes in flat arrays.
//! - The answers come from the generated facts themselves, by code that shares nothing with the pipeline that reads them.
//!
//! Instants: the base data set lies before its as-of, 06:00 UTC on the day after [`Options::until`]. With a
//! [`Options::change_share`] above zero the same data set is shown one day later: the as-of moves on by 24 hours, and everything new or
//! edited carries times between the two.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::string_slice))]

mod answers;
mod calendar;
mod catalogue;
mod change;
mod city;
mod copy_binary;
mod course;
mod customer;
mod defect;
mod directory;
mod document;
mod error;
mod loyalty;
mod marts;
mod options;
mod order;
mod order_document;
mod payment;
mod placing;
mod produce;
mod random;
mod rows;
mod schema;
mod server;
mod store;
mod tally;
mod words;
mod world;

pub use answers::{Answers, Figures, SeededDefect, SourceTable};
pub use directory::generate_to_directory;
pub use error::{Error, Result};
pub use options::Options;
pub use produce::{Phase, Progress};
pub use server::generate_to_servers;
