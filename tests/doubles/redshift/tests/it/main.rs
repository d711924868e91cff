//! The double against real servers: its own PostgreSQL, an S3 server, and unmodified clients.
//!
//! The S3 server (`weed`) and Python with boto3 are looked for in PIPELINE_SERVICES_BIN, else in `<repository>/.services/bin`.
#![allow(clippy::unwrap_used, clippy::string_slice, missing_docs, reason = "tests")]

mod boto3;
mod copy;
mod copy_refusals;
mod data_api;
mod faults;
mod harness;
mod sessions;
mod sql;
mod sql_refusals;
