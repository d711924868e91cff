//! Models.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::string_slice))]

pub mod functions;
