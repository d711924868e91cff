//! Runs statements on PostgreSQL as Redshift would.

pub(crate) mod connection;
pub(crate) mod execute;
pub(crate) mod history;
pub(crate) mod result;
