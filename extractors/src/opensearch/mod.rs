//! OpenSearch indices, read page by page through a point in time.
//!
//! # What a reading sees
//! The plan pins the upper bound: the greatest cursor there is, but nothing beyond the server's own time. The first slice that is read opens a
//! point in time, which all slices of the plan share: what is indexed or changed later belongs to the next run. Pages follow each other by
//! `search_after` over the cursor and a tiebreaker: `_shard_doc` where the server has it (3.3 or newer), else `_id` and `_index`. Every page
//! renews the point in time, and [`Extractor::finish`] deletes it, also after a failure; what a killed process leaves expires
//! by itself after `keep_alive`. Sources: <https://docs.opensearch.org/latest/search-plugins/searching-data/point-in-time/>,
//! <https://github.com/opensearch-project/OpenSearch/pull/18924>.
//!
//! A point in time that is lost (its node left, it expired) cannot be continued, because its tiebreakers are gone with it: the reading fails
//! with [`LOST`], and the engine plans and reads the table again. An answer of only a part of the shards counts as lost, too.
//!
//! A reading of the whole also sees documents without a cursor; later ones do not.
//!
//! # What it does not do
//! Requests are not signed for Amazon's IAM (use the domain's internal users), and deleted documents are not noticed.

mod connection;
mod error;
mod kind;
mod mapping;
mod options;
mod page;
mod plan;
mod point;
mod query;
mod read;

use pipeline_core::contract::Contract;
use pipeline_core::error::{Code, Result};
use pipeline_core::extract::Extractor;
use pipeline_core::privacy::PrivacyKey;

pub use connection::Connection;
pub use error::{AUTH, CURSOR, DENIED, INDEX, LOST, MAPPING, REPLY, REQUEST, TLS, UNREACHABLE, URL, VERSION};
pub use kind::KIND;
pub use options::{SearchConfig, SearchOptions, TableOptions};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use page::each_document;

/// How this kind of source is configured.
pub const EXAMPLE: &str = include_str!("example.toml");

/// The codes of this module.
pub const CODES: &[&Code] = &[&AUTH, &CURSOR, &DENIED, &INDEX, &LOST, &MAPPING, &REPLY, &REQUEST, &TLS, &UNREACHABLE, &URL, &VERSION];

/// Connects and opens one table. Several tables of one cluster share a [`Connection`] instead.
///
/// # Errors
/// As [`Connection::open`] and [`Connection::table`].
pub async fn connect(
    options: &SearchOptions,
    contract: Contract,
    table: &TableOptions,
    key: Option<PrivacyKey>,
) -> Result<Box<dyn Extractor>> {
    Connection::open(options).await?.table(contract, table, key)
}
