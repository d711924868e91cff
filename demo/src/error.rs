//! What can go wrong while a data set is written.

use std::path::PathBuf;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a data set could not be written. Messages name things, never a row's value or an address with a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An option is outside its range.
    #[error("option \"{option}\" is out of range: {reason}")]
    Option {
        /// The option's name as on the command line, without dashes.
        option: &'static str,
        /// What the range is.
        reason: &'static str,
    },
    /// The folder or table to be written holds something already.
    #[error("{kind} \"{name}\" is not empty")]
    NotEmpty {
        /// `folder`, `collection` or `table`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// Changes were to be applied, and the data set they belong to is not there.
    #[error("{kind} \"{name}\" holds no data set to change")]
    NothingToChange {
        /// `collection` or `table`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A file could not be written.
    #[error("file \"{}\" could not be written", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A server's address could not be understood. What it was is not told, because it may hold a password.
    #[error("the address of {server} is not a valid URL")]
    Address {
        /// `MongoDB` or `PostgreSQL`.
        server: &'static str,
    },
    /// MongoDB refused or could not be reached.
    #[error("MongoDB: {action}")]
    Mongodb {
        /// What could not be done.
        action: &'static str,
        /// What the driver said.
        source: Box<mongodb::error::Error>,
    },
    /// PostgreSQL refused or could not be reached.
    #[error("PostgreSQL: {action} \"{name}\"")]
    Postgres {
        /// What was being done.
        action: &'static str,
        /// To what.
        name: String,
        /// What the driver said.
        source: Box<sqlx::Error>,
    },
    /// MongoDB took a command and did not write all its documents.
    #[error("MongoDB: documents of collection \"orders\" were refused with code {code}")]
    Refused {
        /// The server's code of the first refusal.
        code: i32,
    },
    /// A thread of the generator ended before its work was done.
    #[error("the generator stopped before the data set was complete")]
    Stopped,
}

impl Error {
    /// A whole sentence that says what to do.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Option { .. } => "Give a value inside the range.",
            Self::NotEmpty { kind: "folder", .. } => "Choose an empty folder, or pass --replace to write over it.",
            Self::NotEmpty { .. } => "Choose an empty database, or pass --replace to drop the demo's own tables first.",
            Self::NothingToChange { .. } => "Generate the data set without changes first, with the same options.",
            Self::File { .. } => "Check that the folder can be written to and that the disk has room.",
            Self::Address { server: "MongoDB" } => "Write it as mongodb://user:password@host:port/.",
            Self::Address { .. } => "Write it as postgres://user:password@host:port/database.",
            Self::Mongodb { .. } => "Check that the server runs and that the user may write to the database.",
            Self::Postgres { .. } => "Check that the server runs and that the user may create schemas in the database.",
            Self::Refused { .. } => "Look the code up among MongoDB's error codes; 11000 means that a document with this key is there.",
            Self::Stopped => "Run the command again, and report it if it happens twice.",
        }
    }
}
