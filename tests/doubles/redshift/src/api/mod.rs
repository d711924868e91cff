//! The Data API over HTTP: AWS JSON 1.1.

mod input;
mod lists;
mod operations;
mod results;
pub(crate) mod server;
