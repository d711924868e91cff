//! BSON documents to Arrow batches, without building documents in between.
//!
//! [`Decoder`] walks the raw bytes of each document straight into columns of a [`Contract`](pipeline_core::contract::Contract).
//! What does not fit is a [`Misfit`] that names the column and the reason; nothing is ever rounded, cut or read out of text.
//!
//! | declared | fits | does not |
//! |---|---|---|
//! | `smallint` `int` `bigint` | int32, int64, double and Decimal128 that are whole and in range | text, 2.5, NaN |
//! | `decimal(p,s)` | the same numbers with at most `s` digits after the point; a double counts as the shortest decimal that reads back as itself | 1.005 in `decimal(18,2)`, NaN, infinity |
//! | `double` `real` | doubles; whole numbers that are exact; a Decimal128 that is the shortest decimal of its double | 2^63 - 1 |
//! | `text` | strings, symbols, ObjectIds (24 hexadecimal digits) | numbers, dates |
//! | `uuid` | strings of 32 hexadecimal digits with or without hyphens, binaries of subtype 4 or 3 | other text |
//! | `timestamp` | dates (UTC, milliseconds) | text, numbers, internal timestamps, dates beyond 64 bits of microseconds |
//! | `date` | dates at midnight UTC | dates with a time of day |
//! | `boolean` `bytes` | booleans; binaries of any subtype | 0 and 1; text |
//! | `list<…>` `struct<…>` | arrays; documents | each other |
//! | `json` | everything, as Extended JSON (plain JSON where that loses nothing) | nesting beyond 100 levels |
//!
//! NULL, undefined and absence are NULL, and a misfit where the column is `not null`. `time` and `local_timestamp` have no counterpart.
//!
//! # Decisions
//! - A document that does not fit is kept without the fields that the contract protects.
//! - Of fields with the same name in one document the last one counts, in columns and in JSON alike.
//! - Undeclared fields go to `_extra` as one JSON object whose keys are paths: `{"coupon":"X","items.0.weight":12}`. A point within a name
//!   is written `\.` there, and a backslash as two. The `type` of a GeoJSON point whose `coordinates` are declared is not counted as
//!   undeclared.
//! - A field that is declared only for some kinds of values (`only string`), and has another kind, counts as undeclared.
//! - The limit of `text(n)` binds in warehouses, not here: longer text is read.

pub(crate) mod column;
mod cursor;
pub(crate) mod decode;
pub(crate) mod element;
mod json;
pub(crate) mod number;
mod open;
pub(crate) mod scalar;
pub(crate) mod unfit;

pub use cursor::{CursorField, CursorValue};
pub use decode::Decoder;
pub use element::Documents;
pub(crate) use open::open_part;
pub use unfit::Misfit;

use pipeline_core::error::{Code, ErrorKind};

/// Most rows in a batch.
pub const BATCH_ROWS_MAX: usize = 8_192;

/// Source bytes after which a batch is full.
pub const BATCH_BYTES_MAX: usize = 8 << 20;

/// Largest document that MongoDB stores, with the 16 KiB that its internal messages may add.
pub const DOCUMENT_BYTES_MAX: usize = (16 << 20) + (16 << 10);

/// What the format of rejected documents is called.
pub const FORMAT: &str = "bson";

/// A contract asks for something that documents cannot give.
pub static DECLARATION: Code = Code {
    name: "E-BSON-DECLARATION",
    kind: ErrorKind::Usage,
    meaning: "A table's declaration asks for something that documents cannot give.",
    remedy: "Correct the column's declaration in pipelines.toml.",
};

/// A column is hashed and no key is configured.
pub static PRIVACY_KEY: Code = Code {
    name: "E-PRIVACY-KEY",
    kind: ErrorKind::Usage,
    meaning: "A column of personal values is to be hashed, and no secret key for hashing is configured.",
    remedy: "Set the privacy key in pipelines.toml as a secret reference, or class the column otherwise.",
};

/// The codes of this module.
pub const CODES: &[&Code] = &[&DECLARATION, &PRIVACY_KEY];

/// The text that identifies a document in a quarantine: its ObjectId in hexadecimal, or its `_id` as JSON. None if it has none.
#[must_use]
pub fn identity(document: &[u8]) -> Option<String> {
    let value = element::find(document, &[b"_id".as_slice().into()]).ok()??;
    let mut text = Vec::new();
    match value.kind {
        element::kind::OBJECT_ID => json::write_hex(value.bytes, &mut text),
        element::kind::STRING => text.extend_from_slice(value.text().ok()?.as_bytes()),
        _ => json::write(value, 1, &mut text).ok()?,
    }
    String::from_utf8(text).ok()
}

/// The identifiers that [`identity`] tells as this text: a text can be that of an ObjectId, of a string, or of anything else.
pub(crate) fn identifiers(text: &str) -> Vec<::bson::Bson> {
    let mut found = vec![::bson::Bson::String(text.to_owned())];
    found.extend(::bson::oid::ObjectId::parse_str(text).ok().map(::bson::Bson::ObjectId));
    // Other identifiers are told as JSON.
    let other = serde_json::from_str::<serde_json::Value>(text).ok().filter(|value| !value.is_string());
    found.extend(other.and_then(|value| ::bson::Bson::try_from(value).ok()));
    found
}

/// A whole document as canonical JSON; None if it is not BSON.
pub(crate) fn to_json(document: &[u8]) -> Option<String> {
    let mut text = Vec::new();
    element::body(document).ok()?;
    json::write(element::Value { kind: element::kind::DOCUMENT, bytes: document }, 0, &mut text).ok()?;
    String::from_utf8(text).ok()
}

#[cfg(test)]
mod exactness;
#[cfg(test)]
pub(crate) mod tests;
