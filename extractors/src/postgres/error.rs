//! The errors of PostgreSQL sources, and how a server's refusals become one of them.
//!
//! Only SQLSTATE codes are shown (PostgreSQL 15 documentation, appendix A): the server's own texts can quote values, and connection errors
//! can quote addresses with secrets in them.

use pipeline_core::error::{Code, ErrorKind};

/// Bytes are not COPY's binary format.
pub static COPY: Code = Code {
    name: "E-PG-COPY",
    kind: ErrorKind::Data,
    meaning: "Data that should be in COPY's binary format is not, or ends early.",
    remedy: "Write the file again with `COPY … TO … (FORMAT binary)`; if it came from a server, run the command again.",
};

/// A declared type and the source's type do not go together.
pub static TYPE: Code = Code {
    name: "E-PG-TYPE",
    kind: ErrorKind::Usage,
    meaning: "A column is declared with a type that no value of the source's type could be read into.",
    remedy: "Declare the type that docs/reference/types.md lists for the source's type; `text` and `json` take every type.",
};

/// A table lacks a column.
pub static COLUMN: Code = Code {
    name: "E-PG-COLUMN",
    kind: ErrorKind::Usage,
    meaning: "A declared column does not exist in the PostgreSQL table.",
    remedy: "Correct the column's name, or say where it is read from: `name = \"type from column\"`.",
};

/// A hashed column has no key to be hashed with.
pub(super) static KEY: &Code = &crate::bson::PRIVACY_KEY;
