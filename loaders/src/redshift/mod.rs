//! Amazon Redshift, provisioned or serverless, through the Data API.
//!
//! The Parquet parts of a snapshot are read by COPY where they lie in S3; nothing passes through this process. One load is one
//! TRANSACTION batch: wait for other loads, fail unless this load is the next one, COPY into a temporary table, change the
//! table, write the marker row into `pipeline_meta.loads`. Whatever happens, readers see none or all of it, and a repeated
//! batch fails at its guard instead of loading twice. `script` has the whole order.
//!
//! Before anything is sent, `preflight` reads the parts' footers and compares them with the contract: COPY matches columns by
//! position, converts nothing, and aborts at the first text that is too long in bytes.
//!
//! It does not change distribution and sort keys of tables that exist, and it drops nothing but columns whose values another one has taken over,
//! because Redshift takes NOT NULL away in no other way.

mod api;
mod catalog;
mod client;
mod copy;
mod dictionary;
mod distinct;
mod errors;
mod options;
mod part_reader;
mod preflight;
mod probe;
mod script;
mod sql;
#[cfg(test)]
mod testing;
mod types;

pub use client::Redshift;
pub use options::{Limits, RedshiftOptions, Role, Target};
pub use types::declared_type;

use pipeline_core::error::{Code, ErrorKind};

/// A column's type cannot be loaded into Redshift.
pub static UNFIT_TYPE: Code = Code {
    name: "E-REDSHIFT-TYPE",
    kind: ErrorKind::Usage,
    meaning: "A contract has a column whose type COPY cannot bring from Parquet into Redshift.",
    remedy: "Declare the column as the type that the message proposes.",
};

/// The landing does not lie in S3.
pub static LANDING_NOT_S3: Code = Code {
    name: "E-REDSHIFT-LANDING",
    kind: ErrorKind::Usage,
    meaning: "Redshift reads snapshots from S3, but the landing lies elsewhere.",
    remedy: "Set `landing` in [project] to s3://bucket/prefix, in the warehouse's region.",
};

/// A text is longer than its column.
pub static TEXT_TOO_LONG: Code = Code {
    name: "E-TEXT-TOO-LONG",
    kind: ErrorKind::Data,
    meaning: "A text has more bytes than its column holds in the warehouse. Nothing was sent.",
    remedy: "Declare the column wider, such as text(1000): the limit counts bytes, and letters with accents have two or more. The column is widened by itself.",
};

/// A file and its table do not fit.
pub static COPY: Code = Code {
    name: "E-REDSHIFT-COPY",
    kind: ErrorKind::Data,
    meaning: "COPY refused a file: its columns or values do not fit the table. The load was taken back wholly.",
    remedy: "Compare the column in the contract with the table in the warehouse; run again with --restart if the landed files were changed.",
};

/// A statement failed for another reason.
pub static STATEMENT: Code = Code {
    name: "E-REDSHIFT-STATEMENT",
    kind: ErrorKind::Data,
    meaning: "The warehouse refused a statement. Its transaction was taken back wholly.",
    remedy: "Look the statement up by its id in the Redshift console, or in sys_query_history.",
};

/// Grants are missing.
pub static DENIED: Code = Code {
    name: "E-REDSHIFT-DENIED",
    kind: ErrorKind::Denied,
    meaning: "The warehouse, the Data API, or S3 on COPY's behalf refuses this user or role.",
    remedy: "`pipeline doctor` tries each permission and prints the missing GRANT or IAM statement.",
};

/// The warehouse does not answer.
pub static UNAVAILABLE: Code = Code {
    name: "E-REDSHIFT-UNAVAILABLE",
    kind: ErrorKind::Unavailable,
    meaning: "The Data API or the warehouse could not be reached, is too busy, or is paused, after several tries.",
    remedy: "Check that the cluster or workgroup is available, then run again: the run continues where it stopped.",
};

/// Another transaction was in the way too often.
pub static CONTENDED: Code = Code {
    name: "E-REDSHIFT-CONTENDED",
    kind: ErrorKind::Unavailable,
    meaning: "Another transaction changed the same tables at the same time (error 1023), again and again.",
    remedy: "Find out who else writes to these tables or holds a lock (svv_transactions), then run again.",
};

/// A statement took too long.
pub static TIMEOUT: Code = Code {
    name: "E-REDSHIFT-TIMEOUT",
    kind: ErrorKind::Unavailable,
    meaning: "A statement did not finish within `statement_timeout` and was cancelled.",
    remedy: "Look at the warehouse's queues and locks, or set a longer `statement_timeout`; then run again.",
};

/// The target does not exist.
pub static TARGET: Code = Code {
    name: "E-REDSHIFT-TARGET",
    kind: ErrorKind::Usage,
    meaning: "The Data API does not know the cluster, workgroup, database or secret, or does not accept the request.",
    remedy: "Check cluster or workgroup, database, region and secret of the destination.",
};

/// Every error of this module.
pub static CODES: &[&Code] =
    &[&UNFIT_TYPE, &LANDING_NOT_S3, &TEXT_TOO_LONG, &COPY, &STATEMENT, &DENIED, &UNAVAILABLE, &CONTENDED, &TIMEOUT, &TARGET];
