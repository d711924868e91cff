//! The PostgreSQL behind the double.

pub(crate) mod catalog;
pub(crate) mod errors;
pub(crate) mod server;
