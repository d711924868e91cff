//! MongoDB collections, read through raw batches: no document is ever built.
//!
//! # What a reading sees
//! A run sees the deployment as it was at its beginning, at one cluster time for all tables (`cut.rs`), where the server keeps that history.
//! The upper bound is pinned by the plan: the greatest cursor there is, but nothing beyond the server's own time, or the run's cut. What changes
//! later belongs to the next run. Where the server keeps no history, a document that changes *while* it is read moves beyond the bound and
//! comes with the next run; that is why incremental tables have a key and a lookback. Reads ask for what a majority of the replica set has, so
//! that nothing is landed which a failover takes back.
//!
//! A reading of the whole also sees documents whose cursor is missing or of a stray type; later ones do not (the server
//! compares dates with dates only), so a table should be read whole now and then if such documents are expected.

mod connection;
mod cut;
mod discover;
mod error;
mod filter;
mod kind;
mod log;
mod options;
mod plan;
mod read;

use pipeline_core::contract::Contract;
use pipeline_core::error::{Code, Result};
use pipeline_core::extract::Extractor;
use pipeline_core::privacy::PrivacyKey;

pub use connection::Connection;
pub use error::{AUTH, CAPTURE, COLLECTION, COMMAND, CURSOR, DENIED, HISTORY, LOST, REPLY, TLS, UNREACHABLE, URL};
pub use kind::KIND;
pub use log::CaptureOptions;
pub use options::{MongoConfig, MongoOptions, ReadPreference, TableOptions};

/// How this kind of source is configured.
pub const EXAMPLE: &str = include_str!("example.toml");

/// The codes of this module.
pub const CODES: &[&Code] = &[&AUTH, &CAPTURE, &COLLECTION, &COMMAND, &CURSOR, &DENIED, &HISTORY, &LOST, &REPLY, &TLS, &UNREACHABLE, &URL];

/// Connects and opens one table. Several tables of one deployment share a [`Connection`] instead.
///
/// # Errors
/// As [`Connection::open`] and [`Connection::table`].
pub async fn connect(
    options: &MongoOptions,
    contract: Contract,
    table: &TableOptions,
    key: Option<PrivacyKey>,
) -> Result<Box<dyn Extractor>> {
    Connection::open(options).await?.table(contract, table, key)
}
