//! The errors of PostgreSQL sources, and how a server's refusals become one of them.
//!
//! Only SQLSTATE codes are shown (PostgreSQL 15 documentation, appendix A): the server's own texts can quote values, and connection errors
//! can quote addresses with secrets in them.

use pipeline_core::error::{Code, Error, ErrorKind};

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

/// There is no such table.
pub static TABLE: Code = Code {
    name: "E-PG-TABLE",
    kind: ErrorKind::Usage,
    meaning: "A table does not exist in the PostgreSQL database, or its name cannot be read.",
    remedy: "Correct `relation` in the table's section; names are written as in SQL: payments.transactions, \"Mixed\".\"Case\".",
};

/// A cursor cannot be used to read by.
pub static CURSOR: Code = Code {
    name: "E-PG-CURSOR",
    kind: ErrorKind::Usage,
    meaning: "The cursor of a table is of a type that does not grow, or a window of time is asked of a cursor that is a number.",
    remedy: "Name a date, timestamp or number column of the table as `cursor`, or leave the table out of windows with --skip.",
};

/// A connection string cannot be used.
pub static URL: Code = Code {
    name: "E-PG-URL",
    kind: ErrorKind::Usage,
    meaning: "The PostgreSQL connection string cannot be read.",
    remedy: "Write it as postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full; encode special characters of the password as %XX.",
};

/// There is no such database.
pub static DATABASE: Code = Code {
    name: "E-PG-DATABASE",
    kind: ErrorKind::Usage,
    meaning: "The PostgreSQL server has no database of that name.",
    remedy: "Correct the database's name at the end of the connection string.",
};

/// A server does not know who we are.
pub static AUTH: Code = Code {
    name: "E-PG-AUTH",
    kind: ErrorKind::Denied,
    meaning: "The PostgreSQL server refused the user or the password.",
    remedy: "Check user and password in the secret that `url` refers to, and that pg_hba.conf lets this host in.",
};

/// A role lacks a privilege.
pub static GRANT: Code = Code {
    name: "E-PG-GRANT",
    kind: ErrorKind::Denied,
    meaning: "The PostgreSQL user may not read a table.",
    remedy: "Let the owner grant USAGE on the schema and SELECT on the table.",
};

/// A secure connection could not be made.
pub static TLS: Code = Code {
    name: "E-PG-TLS",
    kind: ErrorKind::Denied,
    meaning: "A secure connection to the PostgreSQL server could not be made: it offers none, or its certificate is not trusted, or not for this host.",
    remedy: "Check `sslmode`, `sslrootcert` (the file of a private authority), `sslcert` and `sslkey` in the connection string, and that its host is the \
             certificate's.",
};

/// Something between this program and the server shares its connections.
pub static POOLER: Code = Code {
    name: "E-PG-POOLER",
    kind: ErrorKind::Usage,
    meaning: "A connection pooler (PgBouncer, for example) stands before the PostgreSQL server and does not keep a session together: settings would reach \
              other clients' statements, and not ours.",
    remedy: "Connect to the server itself, or to a pool with `pool_mode = session` that has `ignore_startup_parameters = extra_float_digits`.",
};

/// A server cannot be reached.
pub static UNREACHABLE: Code = Code {
    name: "E-PG-UNREACHABLE",
    kind: ErrorKind::Unavailable,
    meaning: "The PostgreSQL server cannot be reached, is starting, or takes no more connections.",
    remedy: "Check host and port, that the server runs, and its connection limit; the address is in the secret that `url` refers to.",
};

/// A connection broke.
pub static LOST: Code = Code {
    name: "E-PG-LOST",
    kind: ErrorKind::Unavailable,
    meaning: "The connection to the PostgreSQL server broke, or what it held open for this run is gone.",
    remedy: "Run the command again; if it happens again, look at the server's log and at time limits of what stands between.",
};

/// A statement took too long.
pub static TIMEOUT: Code = Code {
    name: "E-PG-TIMEOUT",
    kind: ErrorKind::Unavailable,
    meaning: "A statement was cancelled by the PostgreSQL server, because it took longer than `statement_timeout` or somebody cancelled it.",
    remedy: "Raise `statement_timeout` in the source's section, or add an index on the table's cursor.",
};

/// A server refused a statement.
pub static STATEMENT: Code = Code {
    name: "E-PG-STATEMENT",
    kind: ErrorKind::Data,
    meaning: "The PostgreSQL server could not execute a statement; its SQLSTATE code says why.",
    remedy: "Look the SQLSTATE code up in appendix A of PostgreSQL's documentation, and the statement in the server's log.",
};

/// Change capture lacks something at the server.
pub static CAPTURE: Code = Code {
    name: "E-PG-CAPTURE",
    kind: ErrorKind::Usage,
    meaning: "A PostgreSQL server or table is not set up for `capture = \"log\"`.",
    remedy: "Let the statement be executed that the message shows, or set `capture = \"cursor\"` for the source or the table.",
};

/// A replication slot does not hold what is needed.
pub static SLOT: Code = Code {
    name: "E-PG-SLOT",
    kind: ErrorKind::Data,
    meaning: "A replication slot no longer holds all changes since the last reading of its table, so some of them could be missed.",
    remedy: "Run once with `--full-refresh --only TABLE`: it is read whole, and captured from there on.",
};

/// A log's message cannot be understood.
pub static LOG: Code = Code {
    name: "E-PG-LOG",
    kind: ErrorKind::Data,
    meaning: "A message of PostgreSQL's logical replication is not in the protocol's form.",
    remedy: "Run the command again; if it happens again, set `capture = \"cursor\"` and report it with the server's version.",
};

/// The folder for what memory does not hold cannot be used.
pub static WORK: Code = Code {
    name: "E-PG-WORK",
    kind: ErrorKind::Usage,
    meaning: "The keys of very many changed rows do not stay in memory, and the folder `work` could not be written or read.",
    remedy: "Let `work` in [project] name a folder that this program may write to.",
};

/// A hashed column has no key to be hashed with.
pub(super) static KEY: &Code = &crate::bson::PRIVACY_KEY;

/// What a connection was doing when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum During {
    /// It was being made.
    Connecting,
    /// It executed something.
    Executing,
}

/// The code of a driver's error.
fn code_of(error: &sqlx::Error, during: During) -> &'static Code {
    match error {
        // What a pooler says to a parameter that it does not know (SQLSTATE 08P01, protocol violation). The server knows all that are sent.
        sqlx::Error::Database(error) if during == During::Connecting && error.code().as_deref() == Some("08P01") => &POOLER,
        sqlx::Error::Database(error) => code_of_state(error.code().as_deref().unwrap_or_default()),
        sqlx::Error::Tls(_) => &TLS,
        // What the TLS library finds wrong arrives as invalid data, and a certificate's file that cannot be read as what its folder says.
        sqlx::Error::Io(error) if during == During::Connecting && is_about_certificates(error.kind()) => &TLS,
        sqlx::Error::Configuration(_) if during == During::Connecting => &URL,
        // Refused, cut off, or not the protocol any more.
        _ if during == During::Connecting => &UNREACHABLE,
        _ => &LOST,
    }
}

fn is_about_certificates(kind: std::io::ErrorKind) -> bool {
    use std::io::ErrorKind::{InvalidData, InvalidInput, NotFound, PermissionDenied};
    matches!(kind, InvalidData | InvalidInput | NotFound | PermissionDenied)
}

/// The code of a SQLSTATE.
fn code_of_state(state: &str) -> &'static Code {
    match state {
        "28000" | "28P01" => &AUTH,
        "3D000" => &DATABASE,
        "42501" => &GRANT,
        "42P01" | "3F000" | "42602" => &TABLE,
        "42703" => &COLUMN,
        "57014" => &TIMEOUT,
        // Starting or stopping; too many connections, no memory or disk for now.
        "57P03" => &UNREACHABLE,
        _ if state.starts_with("53") => &UNREACHABLE,
        // Connection and administrator's interventions, conflicts of transactions or with a standby's recovery, and snapshots that are gone:
        // the next attempt starts from the beginning.
        "57P01" | "57P02" | "57P05" | "25P03" | "72000" | "22023" | "42704" => &LOST,
        _ if state.starts_with("08") || state.starts_with("40") || state.starts_with("55") => &LOST,
        _ => &STATEMENT,
    }
}

/// An error that says what could not be done, from a driver's error of which only its code is shown.
pub(super) fn failed(what: impl Into<String>, error: &sqlx::Error, during: During) -> Error {
    let shown = Error::new(code_of(error, during), what);
    match error {
        sqlx::Error::Database(error) => match error.code() {
            Some(state) => shown.caused_by(format!("the server answered with SQLSTATE {state}")),
            None => shown,
        },
        sqlx::Error::Io(error) => shown.caused_by(format!("the connection failed ({:?})", error.kind())),
        _ => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_told_apart_by_what_can_be_done() {
        for (state, code) in
            [("28P01", &AUTH), ("53300", &UNREACHABLE), ("08006", &LOST), ("57014", &TIMEOUT), ("22P02", &STATEMENT), ("40001", &LOST)]
        {
            assert_eq!(code_of_state(state), code, "{state}");
        }
    }
}
