//! The Redshift loader and its S3 edges against real servers. See `servers`.
#![allow(clippy::unwrap_used, clippy::string_slice, reason = "tests may panic")]

mod faults;
mod loads;
mod s3;
mod servers;
mod world;
