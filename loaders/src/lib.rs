//! Destinations: where snapshots are loaded.
//!
//! One folder a destination. Each declares the codes of its errors in `CODES`.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::string_slice))]

pub mod lake;
pub mod redshift;
pub mod s3;
pub mod storage;

/// Every error code of this crate.
#[must_use]
pub fn codes() -> Vec<&'static pipeline_core::error::Code> {
    [lake::CODES, redshift::CODES, s3::CODES, storage::CODES].concat()
}
