//! The commands, one file each.

pub(crate) mod backfill;
pub(crate) mod cluster;
pub(crate) mod config;
pub(crate) mod coverage;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod init;
pub(crate) mod map;
pub(crate) mod plan;
pub(crate) mod quarantine;
pub(crate) mod query;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod segment;
pub(crate) mod settle;
pub(crate) mod status;
pub(crate) mod test;
pub(crate) mod why;
