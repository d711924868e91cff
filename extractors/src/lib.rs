//! Sources: what the business's systems hold, read into Arrow batches.
//!
//! One folder a source. Each declares the codes of its errors in `CODES` and shows its configuration in `example.toml`.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::string_slice))]

pub mod bson;
pub mod files;
mod json;
pub mod kind;
pub mod mongodb;
mod nearest;
pub mod opensearch;
mod personal;
pub mod postgres;
mod produce;

/// Every kind of source.
pub static KINDS: &[&kind::Kind] = &[&files::KIND, &mongodb::KIND, &opensearch::KIND, &postgres::KIND];

/// Every error code of this crate.
#[must_use]
pub fn codes() -> Vec<&'static pipeline_core::error::Code> {
    [bson::CODES, files::CODES, mongodb::CODES, opensearch::CODES, postgres::CODES].concat()
}
