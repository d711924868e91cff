//! BSON documents to Arrow batches, without building documents in between.
//!
//! [`Decoder`] walks the raw bytes of each document straight into columns of a [`Contract`](pipeline_core::contract::Contract).
//! `docs/reference/types.md` tells which BSON type fits which column type; in short: numbers convert where nothing is lost, text never becomes
//! a number or a date, and what does not fit is a [`Misfit`] that names the column and the reason.
//!
//! # Decisions
//! - Of fields with the same name in one document the last one counts, in columns and in JSON alike.
//! - Undeclared fields go to `_extra` as one JSON object whose keys are paths: `{"coupon":"X","items.0.weight":12}`. The `type` of a
//!   GeoJSON point whose `coordinates` are declared is not counted as undeclared.
//! - A field that is declared only for some kinds of values (`only string`), and has another kind, counts as undeclared.

mod column;
mod cursor;
mod decode;
mod element;
mod json;
mod number;
mod scalar;
mod unfit;

pub use cursor::{CursorField, CursorValue};
pub use decode::Decoder;
pub use element::Documents;
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

#[cfg(test)]
mod tests;
