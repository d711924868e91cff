//! What the warehouse's texts mean.
//!
//! The Data API reports a failed statement only as text, so this is the one place that reads texts. What it recognizes becomes a
//! [`Failure`] with names and numbers; the rest is shown only if it begins like a message that names objects and no values,
//! since a conversion error quotes the value it could not convert.

use pipeline_core::error::{Code, Error};
use pipeline_core::name::TableName;

use super::sql::Purpose;

/// What went wrong in a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// Another transaction was in the way: the whole transaction may be tried again.
    Contended,
    /// A table or schema does not exist.
    Missing { what: String },
    /// The user lacks a grant, or the role cannot be used.
    Denied { what: String },
    /// COPY may not read the bucket.
    CopyDenied,
    /// A text is longer than its column.
    TooLong { column: Option<String>, limit: Option<u64>, longest: Option<u64> },
    /// A column's type in the file is not that of the table.
    Mismatch { column: Option<String>, file: Option<String>, expected: Option<String> },
    /// The file has more or fewer columns than the table.
    Count { table: Option<u64>, file: Option<u64> },
    /// A decimal's precision differs.
    Precision { column: Option<String> },
    /// A file of the manifest is not there.
    FileMissing,
    /// A file was overwritten, or is no Parquet.
    FileChanged,
    /// The manifest lacks lengths, or they are wrong.
    Manifest,
    /// S3 or KMS throttle, or a file takes too long.
    Throttled,
    /// NULL where it is not allowed.
    Null { column: Option<String> },
    /// The warehouse is going away or full.
    Unavailable,
    /// Anything else.
    Other { code: Option<String>, words: Option<String> },
}

/// Beginnings of messages that name objects of the catalog, never values.
const PLAIN_BEGINNINGS: &[&str] = &[
    "relation ",
    "schema ",
    "table ",
    "column ",
    "type ",
    "database ",
    "function ",
    "permission denied",
    "must be owner",
    "syntax error at",
    "disk full",
    "cannot alter",
    "alter table ",
    "user ",
    "role ",
    "password authentication failed",
    "not authorized",
    "user arn",
    "current transaction is aborted",
    "found multiple matches",
    "spectrum scan error",
    "invalid value for parameter",
];

/// Longest text that is shown.
const WORDS_CHARACTERS_MAX: usize = 200;

/// Reads a failed statement's text.
pub(super) fn read(text: &str) -> Failure {
    let lower = text.to_lowercase();
    let has = |words: &str| lower.contains(words);
    let code = field(text, "code:");
    if code.as_deref() == Some("1023")
        || ["error:1023", "serializable isolation violation", "could not serialize", "deadlock detected"].into_iter().any(has)
        || ["conflict with concurrent", "concurrently updated", "concurrent transaction"].into_iter().any(has)
        // The table was made after this transaction's snapshot.
        || (has("1018") && has("relation does not exist"))
    {
        return Failure::Contended;
    }
    if has("longer than the length defined in the table") {
        return Failure::TooLong {
            column: between(text, "data column ", " is longer"),
            limit: number_after(text, "Table: "),
            longest: number_after(text, "Data: "),
        };
    }
    if has("value too long for type") || has("exceeds the max size") || has("string length exceeds ddl length") {
        return Failure::TooLong { column: None, limit: number_after(text, "varying("), longest: None };
    }
    if has("unmatched number of columns") {
        return Failure::Count { table: number_after(text, "Table columns: "), file: number_after(text, "Data columns: ") };
    }
    if has("invalid type length") {
        return Failure::Precision { column: between(text, "column '", "'") };
    }
    // The context is cut in the middle of this message more often than not.
    if has("incompatible parquet s") {
        let path = between(text, "for column '", "'");
        return Failure::Mismatch {
            column: path.as_deref().and_then(|path| path.rsplit('.').next()).map(str::to_owned),
            file: between(text, "File '", "'").map(|url| file_name(&url)),
            expected: between(text, "Column type: ", ", Parquet"),
        };
    }
    if has("'meta' key") || has("content_length") {
        return Failure::Manifest;
    }
    if has("file not found") || has("does not exist") && has("s3 prefix") || has("no such key") || has("nosuchkey") {
        return Failure::FileMissing;
    }
    if has("invalid version number") || has("invalidrange") || has("not a parquet file") || has("corrupt") {
        return Failure::FileChanged;
    }
    if has("s3serviceexception") && (has("access denied") || has("403")) || has("accessdenied") {
        return Failure::CopyDenied;
    }
    if has("not authorized to assume") || has("not authorized to get credentials") || has("no default role") || has("default iam role") {
        return Failure::Denied { what: "COPY's role".to_owned() };
    }
    if has("permission denied") || has("must be owner") || has("password authentication failed") {
        return Failure::Denied { what: words(text).unwrap_or_else(|| "an object".to_owned()) };
    }
    if has("access throttled") || has("retries exceeded") || has("slow down") || has("resource limit exceeded") {
        return Failure::Throttled;
    }
    if has("cannot insert a null") || has("null value in column") || has("violates not-null") {
        let column = between(text, "column \"", "\"").or_else(|| between(text, "into column ", "\n"));
        return Failure::Null { column };
    }
    if (has("relation \"") || has("schema \"") || has("table \"")) && has("does not exist") {
        return Failure::Missing { what: words(text).unwrap_or_default() };
    }
    if ["connection", "terminating", "shutting down", "is paused", "not available", "disk full", "out of memory"].into_iter().any(has) {
        return Failure::Unavailable;
    }
    Failure::Other { code, words: words(text) }
}

/// The query's number in the warehouse, which the text of a failed COPY tells even where the Data API does not.
pub(super) fn query_of(text: &str) -> Option<i64> {
    field(text, "query:")?.parse().ok().filter(|id| *id > 0)
}

/// The value of a line such as `  code:      15007`.
fn field(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| line.trim().strip_prefix(name)).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

fn between(text: &str, before: &str, after: &str) -> Option<String> {
    let (_, rest) = text.split_once(before)?;
    let (found, _) = rest.split_once(after)?;
    let found: String = found.trim().chars().take(WORDS_CHARACTERS_MAX).collect();
    (!found.is_empty()).then_some(found)
}

fn number_after(text: &str, before: &str) -> Option<u64> {
    let (_, rest) = text.split_once(before)?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

fn file_name(url: &str) -> String {
    url.split('?').next().unwrap_or_default().rsplit('/').next().unwrap_or_default().to_owned()
}

/// The first line, if it is of a kind that holds no values.
fn words(text: &str) -> Option<String> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    let line = line.trim_start_matches("ERROR:").trim();
    let lower = line.to_lowercase();
    PLAIN_BEGINNINGS.iter().any(|beginning| lower.starts_with(beginning)).then(|| line.chars().take(WORDS_CHARACTERS_MAX).collect())
}

/// What an error names besides the failure.
#[derive(Debug, Clone, Copy)]
pub(super) struct Where<'a> {
    /// The table; None for statements of no table.
    pub(super) table: Option<&'a TableName>,
    /// The statement's purpose.
    pub(super) purpose: Purpose,
    /// The statement's id in the Data API.
    pub(super) statement: &'a str,
}

impl Failure {
    /// Takes what the load error table knows and the text does not.
    pub(super) fn with_detail(self, file: Option<String>, column: Option<String>) -> Self {
        match self {
            Self::TooLong { column: known, limit, longest } => Self::TooLong { column: known.or(column), limit, longest },
            Self::Mismatch { column: known, file: known_file, expected } => {
                Self::Mismatch { column: known.or(column), file: known_file.or(file), expected }
            }
            Self::Precision { column: known } => Self::Precision { column: known.or(column) },
            Self::Null { column: known } => Self::Null { column: known.or(column) },
            other => other,
        }
    }

    /// The error for people.
    pub(super) fn into_error(self, place: Where<'_>) -> Error {
        let (code, causes, hint) = self.explain();
        let object = place.table.map_or_else(|| "the warehouse".to_owned(), |table| format!("table \"{table}\""));
        let mut error = Error::new(code, format!("{} statement for {object} failed", place.purpose.name()));
        for cause in causes {
            error = error.caused_by(cause);
        }
        error = error.caused_by(format!("statement {}", place.statement));
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }

    fn explain(self) -> (&'static Code, Vec<String>, Option<String>) {
        let named = |column: Option<String>| column.map_or_else(|| "a column".to_owned(), |column| format!("column \"{column}\""));
        match self {
            Self::Contended => (&super::CONTENDED, vec!["another transaction changed the same tables (1023)".to_owned()], None),
            Self::Missing { what } => (
                &super::STATEMENT,
                vec![what],
                Some("Somebody dropped it while the run was going on: run again, and it is made anew.".to_owned()),
            ),
            Self::Denied { what } if what == "COPY's role" => (
                &super::DENIED,
                vec!["the role with which COPY reads S3 cannot be used".to_owned()],
                Some("Attach the role to the cluster or namespace, make it the default one or name its ARN in `role`, and GRANT ASSUMEROLE ON 'arn' TO the user FOR COPY.".to_owned()),
            ),
            Self::Denied { what } => (&super::DENIED, vec![what], None),
            Self::CopyDenied => (
                &super::DENIED,
                vec!["COPY's role may not read the bucket".to_owned()],
                Some("Allow the role s3:ListBucket on the bucket, s3:GetObject on its objects, and kms:Decrypt if they are encrypted with KMS.".to_owned()),
            ),
            Self::TooLong { column, limit, longest } => {
                let limit = limit.map_or_else(String::new, |limit| format!(": the limit is {limit} bytes"));
                let longest = longest.map_or_else(String::new, |longest| format!(", the longest value has {longest}"));
                (&super::TEXT_TOO_LONG, vec![format!("{} is too short{limit}{longest}", named(column))], None)
            }
            Self::Mismatch { column, file, expected } => {
                let file = file.map_or_else(String::new, |file| format!(" in file {file}"));
                let expected = expected.map_or_else(String::new, |expected| format!(", the table has {expected}"));
                (&super::COPY, vec![format!("{}{file} has another type than the table{expected}", named(column))], None)
            }
            Self::Count { table, file } => {
                let number = |count: Option<u64>| count.map_or_else(|| "another number of".to_owned(), |count| count.to_string());
                (&super::COPY, vec![format!("the table has {} columns, the file {}", number(table), number(file))], None)
            }
            Self::Precision { column } => {
                (&super::COPY, vec![format!("{} has another precision in the file than in the table", named(column))], None)
            }
            Self::FileMissing => (
                &super::COPY,
                vec!["a file of the manifest is not there".to_owned()],
                Some("Somebody removed landed files, or the bucket is in another region. Run again with --restart.".to_owned()),
            ),
            Self::FileChanged => (
                &super::COPY,
                vec!["a file was overwritten or is no Parquet file".to_owned()],
                Some("Landed files must never change. Run again with --restart.".to_owned()),
            ),
            Self::Manifest => (&super::COPY, vec!["the manifest's lengths differ from the files".to_owned()], None),
            Self::Throttled => (&super::UNAVAILABLE, vec!["S3 or KMS throttled the warehouse's reading".to_owned()], None),
            Self::Null { column } => (&super::COPY, vec![format!("{} does not allow NULL", named(column))], None),
            Self::Unavailable => (&super::UNAVAILABLE, vec!["the warehouse ended the statement".to_owned()], None),
            Self::Other { code, words } => {
                let mut causes: Vec<String> = words.into_iter().collect();
                causes.extend(code.map(|code| format!("code {code}")));
                (&super::STATEMENT, causes, None)
            }
        }
    }
}

#[cfg(test)]
#[path = "errors_tests.rs"]
mod tests;
