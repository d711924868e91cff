//! JSON objects to Arrow batches, without building values in between.
//!
//! [`append`] walks the text of an object straight into the columns of a [`Decoder`], the one that BSON documents go through: names, paths,
//! undeclared fields, privacy classes and misfits follow the rules of [`crate::bson`]. What differs is how values look:
//!
//! | declared | fits | does not |
//! |---|---|---|
//! | `smallint` `int` `bigint` | numbers that are whole and in range, `12.0` too | text, 2.5 |
//! | `decimal(p,s)` | numbers with at most `s` digits after the point, as the text has them | 1.005 in `decimal(18,2)` |
//! | `double` `real` | numbers whose digits the nearest such number writes again | numbers of 20 digits |
//! | `text` | strings | numbers, booleans |
//! | `uuid` | strings of 32 hexadecimal digits with or without hyphens | other text |
//! | `timestamp` | strings such as `2025-03-30T04:00:00.123Z` (UTC if there is no zone), numbers of milliseconds since 1970 | digits beyond microseconds |
//! | `date` | the same at midnight UTC, `2025-03-30` | a time of day |
//! | `boolean` | booleans | "true" |
//! | `list<…>` `struct<…>` | arrays; objects | each other |
//! | `json` | everything, without white space between its parts | |
//!
//! A name with dots (`"http.status"`) that is no field's own name is the path that it looks like, as it is to OpenSearch.

mod instant;
mod open;
mod scalar;
mod scan;
#[cfg(test)]
mod tests;
mod walk;

pub(crate) use open::open_part;
pub(crate) use scan::{Elements, Kind, Value};
pub(crate) use walk::append;

/// What the format of rejected objects is called.
pub(crate) const FORMAT: &str = "json";
