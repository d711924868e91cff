//! What can go wrong with an OpenSearch server, without its texts: they can quote values and addresses.

use pipeline_core::error::{Code, Error, ErrorKind};
use serde_json::Value;
use thiserror::Error as ThisError;

/// No server answers.
pub static UNREACHABLE: Code = Code {
    name: "E-SEARCH-UNREACHABLE",
    kind: ErrorKind::Unavailable,
    meaning: "The OpenSearch server did not answer in time, or the connection broke.",
    remedy: "Check that the host and port of the URL are reachable from here.",
};

/// The server's certificate is not trusted.
pub static TLS: Code = Code {
    name: "E-SEARCH-TLS",
    kind: ErrorKind::Usage,
    meaning: "A secure connection to OpenSearch could not be made: the server's certificate is not trusted, or the URL does not fit it.",
    remedy: "Set `ca_file` to the certificate of the authority that signed the server's, and use the host name that the certificate names.",
};

/// The credentials are refused.
pub static AUTH: Code = Code {
    name: "E-SEARCH-AUTH",
    kind: ErrorKind::Denied,
    meaning: "OpenSearch refuses the user or the password.",
    remedy: "Check `user`, and the secret that `password` (or `url`) refers to.",
};

/// The user may not do this.
pub static DENIED: Code = Code {
    name: "E-SEARCH-DENIED",
    kind: ErrorKind::Denied,
    meaning: "The OpenSearch user may not read the index, or may not open a point in time on it.",
    remedy: "Give the user's role `read`, `indices:admin/mappings/get`, `point_in_time_search` and `indices:data/read/point_in_time/*` on the index.",
};

/// The source's section cannot be used.
pub static URL: Code = Code {
    name: "E-SEARCH-URL",
    kind: ErrorKind::Usage,
    meaning: "The URL of the OpenSearch server or its certificate file cannot be used.",
    remedy: "Write the secret as https://USER:PASSWORD@HOST:9200, and `ca_file` as the path of a PEM file.",
};

/// The server is too old, or another one.
pub static VERSION: Code = Code {
    name: "E-SEARCH-VERSION",
    kind: ErrorKind::Usage,
    meaning: "The server is not OpenSearch 2.4 or newer, which has points in time.",
    remedy: "Upgrade the server; where it pretends to be Elasticsearch 7.10, turn `compatibility.override_main_response_version` off.",
};

/// An index is missing.
pub static INDEX: Code = Code {
    name: "E-SEARCH-INDEX",
    kind: ErrorKind::Usage,
    meaning: "No index has the name, alias or pattern of a declared table. A missing index is not an empty table.",
    remedy: "Set `index` in the table's section to the name of an index or alias, or to a pattern such as \"audit-*\".",
};

/// The mapping and the contract disagree.
pub static MAPPING: Code = Code {
    name: "E-SEARCH-MAPPING",
    kind: ErrorKind::Data,
    meaning: "A declared column's field is missing from the index's mapping, or has a type that the column cannot take.",
    remedy: "Correct the column's `from` or its type in the table's section, or add the field to the index's mapping.",
};

/// The cursor does not work.
pub static CURSOR: Code = Code {
    name: "E-SEARCH-CURSOR",
    kind: ErrorKind::Usage,
    meaning: "The cursor column of a table cannot order the documents of its index.",
    remedy: "Declare a cursor column of type timestamp (or a whole number) that is read from a `date` (or whole number) field.",
};

/// The server lost the reading, or is too busy.
pub static LOST: Code = Code {
    name: "E-SEARCH-LOST",
    kind: ErrorKind::Unavailable,
    meaning: "The server ended a reading in between: it is too busy, was stopped, or forgot the point in time.",
    remedy: "Run again: the run continues from its last finished step. Raise `keep_alive` if the point in time expires between pages.",
};

/// The server refuses a request.
pub static REQUEST: Code = Code {
    name: "E-SEARCH-REQUEST",
    kind: ErrorKind::Data,
    meaning: "The server refused a request for a reason that trying again does not change.",
    remedy: "Look the error's type up in the OpenSearch documentation.",
};

/// The server's answer makes no sense.
pub static REPLY: Code = Code {
    name: "E-SEARCH-REPLY",
    kind: ErrorKind::Data,
    meaning: "The server's answer could not be read, or is larger than a page may be.",
    remedy: "Check that the address is that of an OpenSearch server; if pages are too large, lower `page_rows`.",
};

/// What errors come down to.
#[derive(Debug, ThisError)]
pub(super) enum Failure {
    #[error("no answer came in time")]
    Timeout,
    #[error("the connection could not be made or broke")]
    Connection,
    #[error("the server's certificate is not trusted")]
    Certificate,
    #[error("the user or the password is refused")]
    Authentication,
    #[error("the user may not do this")]
    Unauthorized,
    #[error("there is no such index")]
    Missing,
    #[error("the server forgot the point in time")]
    Forgotten,
    #[error("the server cannot do it now (status {status}, {kind})")]
    Ended { status: u16, kind: String },
    #[error("only a part of the index's shards answered")]
    Partial,
    #[error("the server refused the request (status {status}, {kind})")]
    Refused { status: u16, kind: String },
    #[error("the server's answer could not be read")]
    Reply,
    #[error("the server's answer is larger than {bytes_max} bytes")]
    TooLarge { bytes_max: usize },
}

impl Failure {
    /// Sorts an error of the client. Its text holds the URL, so nothing of it is kept.
    pub(super) fn of(error: &reqwest::Error) -> Self {
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            // The TLS library's errors come as I/O errors of this kind.
            if cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::InvalidData) {
                return Self::Certificate;
            }
            source = cause.source();
        }
        if error.is_timeout() { Self::Timeout } else { Self::Connection }
    }

    /// Sorts an answer that is not a success. Names of types: the server's exception classes, which hold no data.
    pub(super) fn of_status(status: u16, body: &[u8]) -> Self {
        let error = serde_json::from_slice::<Value>(body).ok().and_then(|mut body| body.get_mut("error").map(Value::take));
        let kinds = error.as_ref().map(kinds).unwrap_or_default();
        let is = |kind: &str| kinds.iter().any(|found| found == kind);
        if is("search_context_missing_exception") {
            return Self::Forgotten;
        }
        let kind = kinds.into_iter().next().unwrap_or_else(|| "no type".to_owned());
        match status {
            401 => Self::Authentication,
            403 => Self::Unauthorized,
            404 if kind == "index_not_found_exception" => Self::Missing,
            408 | 429 | 500..=599 => Self::Ended { status, kind },
            _ => Self::Refused { status, kind },
        }
    }

    fn code(&self) -> &'static Code {
        match self {
            Self::Timeout | Self::Connection => &UNREACHABLE,
            Self::Certificate => &TLS,
            Self::Authentication => &AUTH,
            Self::Unauthorized => &DENIED,
            Self::Missing => &INDEX,
            Self::Forgotten | Self::Ended { .. } | Self::Partial => &LOST,
            Self::Refused { .. } => &REQUEST,
            Self::Reply | Self::TooLarge { .. } => &REPLY,
        }
    }

    /// As an error about what was tried: `index "audit-*" could not be read`.
    pub(super) fn about(self, what: impl Into<String>) -> Error {
        Error::new(self.code(), what).caused_by(self)
    }
}

/// The types in an error's body: of its root causes first, then its own.
fn kinds(error: &Value) -> Vec<String> {
    let causes = error.get("root_cause").and_then(Value::as_array).into_iter().flatten();
    let all = causes.chain([error]).filter_map(|cause| cause.get("type")?.as_str());
    // What does not look like a type is not shown.
    all.filter(|kind| kind.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_sorted_by_status_and_type_and_never_quoted() {
        let body = |kind: &str| {
            format!(
                r#"{{"error":{{"type":"search_phase_execution_exception","reason":"secret","root_cause":[{{"type":"{kind}","reason":"secret"}}]}},"status":0}}"#
            )
        };
        let code = |status, kind: &str| Failure::of_status(status, body(kind).as_bytes()).about("x").code().name;
        assert_eq!(code(404, "search_context_missing_exception"), "E-SEARCH-LOST");
        assert_eq!(code(404, "index_not_found_exception"), "E-SEARCH-INDEX");
        assert_eq!(code(400, "query_shard_exception"), "E-SEARCH-REQUEST");
        assert_eq!(code(429, "open_search_rejected_execution_exception"), "E-SEARCH-LOST");
        assert_eq!(Failure::of_status(401, b"Unauthorized").about("x").code().name, "E-SEARCH-AUTH");
        assert_eq!(Failure::of_status(503, b"<html>").about("x").code().name, "E-SEARCH-LOST");
        assert!(!format!("{:?}", Failure::of_status(400, body("a b: secret").as_bytes())).contains("secret"));
    }
}
