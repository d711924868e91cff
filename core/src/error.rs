//! One error type for people, and the two decisions taken from it: whether to try again, and the exit code.
//!
//! An error carries a [`Code`]: a stable name that scripts and the reference page rely on. Codes are declared beside the
//! code that raises them and listed by each crate in its `CODES`; `docs/reference/errors.md` is generated from those lists.
//!
//! Messages never hold a row's value, a secret, or a URL that holds one. Text that comes from a driver enters only through
//! [`Error::caused_by`], and the caller passes only text known to be free of data (a server's primary message, an I/O error).

use std::fmt;

/// What can be done about an error. Coarse on purpose: a new kind exists only if a caller would act differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Configuration or arguments are wrong.
    Usage,
    /// Credentials or grants are missing.
    Denied,
    /// A network or server problem that may pass.
    Unavailable,
    /// A disk or a memory limit is used up: it will not pass by waiting a moment.
    Exhausted,
    /// Another run holds the lease, or this process was fenced off.
    Conflict,
    /// A contract is broken, a test failed, or bytes differ from their checksum. Never tried again.
    Data,
    /// Stopped by the user.
    Interrupted,
    /// An invariant of this program does not hold.
    Bug,
}

impl ErrorKind {
    /// The process's exit code. This is the only place that decides it.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Usage => 2,
            Self::Denied => 3,
            Self::Unavailable | Self::Exhausted => 4,
            Self::Conflict => 5,
            Self::Data => 6,
            Self::Bug => 70,
            Self::Interrupted => 130,
        }
    }

    /// Whether the engine may try the same step again after a pause. This is the only place that decides it.
    #[must_use]
    pub fn is_worth_retrying(self) -> bool {
        match self {
            Self::Unavailable => true,
            Self::Usage | Self::Denied | Self::Exhausted | Self::Conflict | Self::Data | Self::Interrupted | Self::Bug => false,
        }
    }

    /// The kind's name in JSON output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Denied => "denied",
            Self::Unavailable => "unavailable",
            Self::Exhausted => "exhausted",
            Self::Conflict => "conflict",
            Self::Data => "data",
            Self::Interrupted => "interrupted",
            Self::Bug => "bug",
        }
    }
}

/// A stable error code with what the reference page says of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// Stable name, such as `E-PG-AUTH`.
    pub name: &'static str,
    /// The kind every error of this code has.
    pub kind: ErrorKind,
    /// What happened, as a sentence for the reference page.
    pub meaning: &'static str,
    /// What to do, as a sentence; also the hint when the error carries none of its own.
    pub remedy: &'static str,
}

/// Where the reference of all codes stands, relative to the project's documentation.
pub const ERRORS_PAGE: &str = "docs/reference/errors.md";

/// An error of this program.
pub struct Error(Box<Inner>);

struct Inner {
    code: &'static Code,
    message: String,
    causes: Vec<String>,
    hint: Option<String>,
}

/// The result of everything fallible here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `code`. The message is a lowercase fragment that names the thing and its kind, for example
    /// `source "orders" could not be planned`.
    #[must_use]
    pub fn new(code: &'static Code, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { code, message: message.into(), causes: Vec::new(), hint: None }))
    }

    /// Adds the next deeper cause. The text must be free of data and secrets.
    #[must_use]
    pub fn caused_by(mut self, cause: impl fmt::Display) -> Self {
        self.0.causes.push(cause.to_string());
        self
    }

    /// Replaces the code's remedy by one for this very case: a full sentence that says what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Puts `message` above this error, which becomes its first cause. Code and hint stay.
    #[must_use]
    pub fn context(mut self, message: impl Into<String>) -> Self {
        let below = std::mem::replace(&mut self.0.message, message.into());
        self.0.causes.insert(0, below);
        self
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static Code {
        self.0.code
    }

    /// What kind of error this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.code.kind
    }

    /// What could not be done, to which named thing.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Why, from near to deep.
    #[must_use]
    pub fn causes(&self) -> &[String] {
        &self.0.causes
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &str {
        self.0.hint.as_deref().unwrap_or(self.0.code.remedy)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.0.code.name, self.0.message)?;
        for cause in &self.0.causes {
            write!(f, ": {cause}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// An invariant of this program does not hold.
pub static BUG: Code = Code {
    name: "E-BUG",
    kind: ErrorKind::Bug,
    meaning: "An invariant of the program does not hold.",
    remedy: "Please report this with the command, the version and the log; nothing was published after the failure.",
};

/// The user stopped the program.
pub static INTERRUPTED: Code = Code {
    name: "E-INTERRUPTED",
    kind: ErrorKind::Interrupted,
    meaning: "The run was stopped by a signal after its current step was finished or dropped cleanly.",
    remedy: "Run the same command again: it continues from the last finished step.",
};

/// A batch did not fit together in memory.
pub static ARROW: Code = Code {
    name: "E-ARROW",
    kind: ErrorKind::Bug,
    meaning: "Columnar data could not be built or converted although its schema was checked.",
    remedy: "Please report this with the command and the table's name.",
};

impl From<arrow::error::ArrowError> for Error {
    // Arrow's texts can quote values, so only the variant's name is kept.
    fn from(error: arrow::error::ArrowError) -> Self {
        let text = format!("{error:?}");
        let variant: String = text.chars().take_while(|c| c.is_alphanumeric()).collect();
        Self::new(&ARROW, format!("a column batch could not be built ({variant})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_moves_the_message_to_the_causes() {
        let error = Error::new(&BUG, "inner").caused_by("deep").context("outer");
        assert_eq!(error.message(), "outer");
        assert_eq!(error.causes(), ["inner", "deep"]);
        assert_eq!(error.remedy(), BUG.remedy);
        assert_eq!(error.hint("Do this.").remedy(), "Do this.");
    }
}
