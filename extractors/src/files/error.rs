//! What can be wrong with a dump.

use std::io;
use std::path::Path;

use pipeline_core::error::{Code, Error, ErrorKind};

/// No dump file for a table.
pub static MISSING: Code = Code {
    name: "E-FILE-MISSING",
    kind: ErrorKind::Usage,
    meaning: "The folder of a source with `kind = \"files\"` holds no dump of a declared table, or is not there.",
    remedy: "Put the dump there, or name it with `file` in the table's section.",
};

/// Several dump files for a table.
pub static AMBIGUOUS: Code = Code {
    name: "E-FILE-AMBIGUOUS",
    kind: ErrorKind::Usage,
    meaning: "Several files of a source's folder could be the dump of one table.",
    remedy: "Name the one to read with `file` in the table's section.",
};

/// A file of a format that is not read.
pub static FORMAT: Code = Code {
    name: "E-FILE-FORMAT",
    kind: ErrorKind::Usage,
    meaning: "A dump file's name does not end as one of the formats that are read.",
    remedy: "Dumps end with .bson, .bson.gz (mongodump), .copy or .copy.gz (PostgreSQL COPY in binary format).",
};

/// A file ends too early, or is not what its name says.
pub static TRUNCATED: Code = Code {
    name: "E-FILE-TRUNCATED",
    kind: ErrorKind::Data,
    meaning: "A dump file ends in the middle of a row, or its bytes are not of the format that its name says. Nothing of it was published.",
    remedy: "Make the dump again and compare its length and checksum after copying it.",
};

/// A file changed between planning and reading.
pub static CHANGED: Code = Code {
    name: "E-FILE-CHANGED",
    kind: ErrorKind::Data,
    meaning: "A dump file changed after the run had planned to read it. Nothing of it was published.",
    remedy: "Write dumps under another name and rename them when they are complete; then run again.",
};

/// The operating system refuses a file.
pub static DENIED: Code = Code {
    name: "E-FILE-DENIED",
    kind: ErrorKind::Denied,
    meaning: "The operating system does not let this process read a dump file.",
    remedy: "Give the user who runs pipeline the right to read the file.",
};

/// Reading a file fails.
pub static READ: Code = Code {
    name: "E-FILE-READ",
    kind: ErrorKind::Unavailable,
    meaning: "The operating system could not read a dump file.",
    remedy: "Check the disk or the network share that holds the file, then run again.",
};

/// The DDL beside COPY files cannot be used.
pub static SCHEMA: Code = Code {
    name: "E-FILE-SCHEMA",
    kind: ErrorKind::Usage,
    meaning: "The schema.sql beside a COPY file does not tell the columns of its table.",
    remedy: "Put `pg_dump --schema-only` of the same database beside the COPY files as schema.sql.",
};

/// An error of the operating system about `path`.
pub(super) fn of_io(path: &Path, error: &io::Error) -> Error {
    let code = match error.kind() {
        io::ErrorKind::NotFound => &MISSING,
        io::ErrorKind::PermissionDenied => &DENIED,
        _ => &READ,
    };
    Error::new(code, format!("file \"{}\" could not be read", path.display())).caused_by(error.kind())
}

/// Bytes of `path` that make no sense at `offset` (in the decompressed data for compressed files).
pub(super) fn broken(path: &Path, offset: u64, what: &str) -> Error {
    Error::new(&TRUNCATED, format!("file \"{}\" {what} at offset {offset}", path.display()))
}
