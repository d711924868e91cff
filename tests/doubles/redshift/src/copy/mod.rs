//! COPY from Parquet on S3.

pub(crate) mod command;
mod compatibility;
mod encode;
pub(crate) mod failure;
mod file;
mod json;
pub(crate) mod load;
mod manifest;
pub(crate) mod storage;
