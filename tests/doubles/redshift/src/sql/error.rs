//! What a statement fails with: the fields a PostgreSQL-family server reports.

use std::fmt;

/// A statement's failure, in the words the database reports it with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SqlError {
    /// SQLSTATE.
    pub(crate) code: String,
    /// The primary message.
    pub(crate) message: String,
    /// More lines, already laid out.
    pub(crate) detail: Option<String>,
    /// Advice.
    pub(crate) hint: Option<String>,
}

impl SqlError {
    pub(crate) fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), detail: None, hint: None }
    }

    /// The parser met something the grammar does not have.
    pub(crate) fn syntax(near: &str) -> Self {
        Self::new("42601", format!("syntax error at or near \"{near}\""))
    }

    /// The statement ended too early.
    pub(crate) fn end_of_input() -> Self {
        Self::new("42601", "syntax error at end of input")
    }

    /// A feature of PostgreSQL that Redshift does not have.
    pub(crate) fn unsupported(message: impl Into<String>) -> Self {
        Self::new("0A000", message)
    }

    /// A feature of Redshift that the double does not have; told apart from what Redshift itself refuses.
    pub(crate) fn beyond_double(what: &str) -> Self {
        Self::new("0A000", format!("the Redshift double does not do {what}"))
            .with_hint("Redshift may accept this statement: try it on a real cluster.")
    }

    pub(crate) fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// As DescribeStatement's `Error` shows it, without the error id.
impl fmt::Display for SqlError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ERROR: {}", self.message)?;
        if let Some(detail) = &self.detail {
            let space = if detail.starts_with('\n') { "" } else { " " };
            write!(formatter, "\n  Detail:{space}{detail}")?;
        }
        if let Some(hint) = &self.hint {
            write!(formatter, "\n  Hint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for SqlError {}
