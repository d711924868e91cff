//! Sources: what the business's systems hold, read into Arrow batches.
//!
//! One folder a source. Each declares the codes of its errors in `CODES` and shows its configuration in `example.toml`.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::string_slice))]

pub mod bson;
mod calm;
mod changes;
pub mod discover;
pub mod files;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
#[cfg(test)]
mod instructions;
mod json;
pub mod kind;
#[cfg(any(test, feature = "fuzzing"))]
pub mod measured;
pub mod mongodb;
mod nearest;
pub mod opensearch;
mod origin;
mod personal;
pub mod postgres;
mod produce;

/// Every kind of source.
pub static KINDS: &[&kind::Kind] = &[&files::KIND, &mongodb::KIND, &opensearch::KIND, &postgres::KIND];

/// A rejected row as people read it: documents and tuples as JSON; None for what has no such form.
#[must_use]
pub fn rejected_text(rejected: &pipeline_core::quarantine::Rejected) -> Option<String> {
    match rejected.format.as_ref() {
        bson::FORMAT => bson::to_json(&rejected.raw),
        postgres::copy::FORMAT => postgres::copy::to_json(&rejected.raw, rejected.fields.as_deref()?),
        json::FORMAT => String::from_utf8(rejected.raw.clone()).ok().filter(|text| !text.is_empty()),
        _ => None,
    }
}

/// Says how much a suite tried, past the test runner, which keeps what passing tests print.
#[cfg(test)]
pub(crate) fn tests_tried(what: &str) {
    use std::io::Write;
    writeln!(std::io::stderr(), "tried: {what}").unwrap();
}

/// Every error code of this crate.
#[must_use]
pub fn codes() -> Vec<&'static pipeline_core::error::Code> {
    [bson::CODES, discover::CODES, files::CODES, mongodb::CODES, opensearch::CODES, postgres::CODES].concat()
}
