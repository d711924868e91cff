//! The Data API's state: statements, sessions, tokens, faults.

pub(crate) mod double;
pub(crate) mod error;
pub(crate) mod faults;
pub(crate) mod rates;
mod run;
pub(crate) mod session;
pub(crate) mod statement;
pub(crate) mod target;
