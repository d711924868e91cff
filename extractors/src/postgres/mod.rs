//! PostgreSQL: tables read as `COPY … (FORMAT binary)`, decoded straight off the wire into Arrow.
//!
//! [`copy`] decodes the format, from a server or from files.

pub mod copy;
mod error;
mod nearest;
mod types;

pub use error::{COLUMN, COPY, TYPE};
pub use types::{CompositeField, PostgresType};

use pipeline_core::error::Code;

/// The codes of this module.
pub const CODES: &[&Code] = &[&COPY, &TYPE, &COLUMN];
