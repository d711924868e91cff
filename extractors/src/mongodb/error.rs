//! What can go wrong with a MongoDB server, without its texts: they can quote values and addresses.

use mongodb::error::{Error as DriverError, ErrorKind as DriverKind};
use pipeline_core::error::{Code, Error, ErrorKind};
use thiserror::Error as ThisError;

/// No server answers.
pub static UNREACHABLE: Code = Code {
    name: "E-MONGO-UNREACHABLE",
    kind: ErrorKind::Unavailable,
    meaning: "No suitable server of the MongoDB deployment answered in time, or the connection broke.",
    remedy: "Check that the host of the connection string is reachable from here and that its replica set has a member for the read preference; \
             a deployment that asks for TLS needs `tls=true`, and `tlsCAFile=FILE` where its authority is your own.",
};

/// Changes cannot be captured.
pub static CAPTURE: Code = Code {
    name: "E-MONGO-CAPTURE",
    kind: ErrorKind::Usage,
    meaning: "The changes of a collection cannot be captured: its deployment has no change streams, it is a view, or its key is not its `_id`.",
    remedy: "Follow the hint, or set `capture = \"cursor\"` for the table.",
};

/// The server's log is too short.
pub static HISTORY: Code = Code {
    name: "E-MONGO-HISTORY",
    kind: ErrorKind::Data,
    meaning: "The server's log of changes (its oplog) does not reach back to the last reading, so changes in between are not known.",
    remedy: "Run with --full-refresh, which reads the collection whole; set `reread_when_lost = true` for the source to have that done by itself, \
             and give the server a longer oplog (replSetResizeOplog) or run more often.",
};

/// The server's certificate or ours is refused.
pub static TLS: Code = Code {
    name: "E-MONGO-TLS",
    kind: ErrorKind::Denied,
    meaning: "No secure connection to the MongoDB deployment could be made: a certificate is not of a known authority, of another host, or missing.",
    remedy: "Name the authority's file as `tlsCAFile` and, if the server asks for one, your certificate with its key as `tlsCertificateKeyFile` \
             in the connection string, and use the host's name that is in the server's certificate.",
};

/// The credentials are refused.
pub static AUTH: Code = Code {
    name: "E-MONGO-AUTH",
    kind: ErrorKind::Denied,
    meaning: "MongoDB refuses the user, the password or the certificate of the connection string.",
    remedy: "Check user, password and `authSource` in the secret that holds the connection string; with `authMechanism=MONGODB-X509`, that `$external` has \
             a user whose name is the subject of the certificate in `tlsCertificateKeyFile`.",
};

/// The user may not do this.
pub static DENIED: Code = Code {
    name: "E-MONGO-DENIED",
    kind: ErrorKind::Denied,
    meaning: "The MongoDB user may not read the collection.",
    remedy: "Grant the role `read` on the database to the user of the connection string.",
};

/// The connection string cannot be used.
pub static URL: Code = Code {
    name: "E-MONGO-URL",
    kind: ErrorKind::Usage,
    meaning: "The MongoDB connection string, its TLS files, or the database's name cannot be used.",
    remedy: "Write the secret as mongodb://USER:PASSWORD@HOST/DATABASE?authSource=admin (or mongodb+srv://…).",
};

/// A collection is missing.
pub static COLLECTION: Code = Code {
    name: "E-MONGO-COLLECTION",
    kind: ErrorKind::Usage,
    meaning: "A declared table's collection does not exist in the database. A missing collection is not an empty table.",
    remedy: "Set `collection` in the table's section to the collection's name; names are case-sensitive.",
};

/// The cursor does not work.
pub static CURSOR: Code = Code {
    name: "E-MONGO-CURSOR",
    kind: ErrorKind::Usage,
    meaning: "The cursor column of a table cannot order the documents of its collection.",
    remedy: "Declare a cursor column of type timestamp (or a whole number) that is read from a field every change updates.",
};

/// The server lost the reading.
pub static LOST: Code = Code {
    name: "E-MONGO-LOST",
    kind: ErrorKind::Unavailable,
    meaning: "The server ended a reading in between: it changed its role, was stopped, or forgot the cursor.",
    remedy: "Run again: the run continues from its last finished step.",
};

/// The server refuses a command.
pub static COMMAND: Code = Code {
    name: "E-MONGO-COMMAND",
    kind: ErrorKind::Data,
    meaning: "The server refused a command for a reason that trying again does not change.",
    remedy: "Look the code's name up in the MongoDB manual; servers before 4.4 are not supported.",
};

/// The server's answer makes no sense.
pub static REPLY: Code = Code {
    name: "E-MONGO-REPLY",
    kind: ErrorKind::Data,
    meaning: "The server's answer could not be read.",
    remedy: "Check that the address is that of a MongoDB server, without a proxy that changes its answers.",
};

/// What the driver's errors come down to.
#[derive(Debug, ThisError)]
pub(super) enum Failure {
    #[error("no server answered in time")]
    Selection,
    #[error("the connection broke ({0})")]
    Connection(std::io::ErrorKind),
    #[error("a certificate is refused")]
    Certificate,
    #[error("the host's name could not be resolved")]
    Name,
    #[error("the user or the password is refused")]
    Authentication,
    #[error("the user may not run the command")]
    Unauthorized,
    #[error("the connection string or its TLS files cannot be used")]
    ConnectionString,
    #[error("the server ended the command (code {code}, {name})")]
    Ended { code: i32, name: String },
    #[error("the server refused the command (code {code}, {name})")]
    Refused { code: i32, name: String },
    #[error("the server does not keep what it showed at the run's beginning (code {code}, {name})")]
    History { code: i32, name: String },
    #[error("the server said nothing for {seconds} seconds")]
    Silent { seconds: u64 },
    #[error("the server's answer could not be read")]
    Reply,
}

impl Failure {
    /// Sorts a driver's error. Codes: the MongoDB server's `error_codes.yml`.
    pub(super) fn of(error: &DriverError) -> Self {
        match &*error.kind {
            // The driver keeps why no server suits as text only.
            DriverKind::ServerSelection { message, .. } if message.contains("ertificate") => Self::Certificate,
            DriverKind::ServerSelection { .. } => Self::Selection,
            DriverKind::Io(error) => Self::Connection(error.kind()),
            DriverKind::ConnectionPoolCleared { .. } => Self::Connection(std::io::ErrorKind::ConnectionReset),
            DriverKind::DnsResolve { .. } => Self::Name,
            DriverKind::Authentication { .. } => Self::Authentication,
            DriverKind::InvalidArgument { .. } | DriverKind::InvalidTlsConfig { .. } => Self::ConnectionString,
            DriverKind::Command(command) => {
                let (code, name) = (command.code, command.code_name.clone());
                match code {
                    18 => Self::Authentication,
                    13 => Self::Unauthorized,
                    // InvalidOptions, NotAReplicaSet, SnapshotTooOld, SnapshotUnavailable: what is asked of readings at a cluster time.
                    72 | 123 | 239 | 246 => Self::History { code, name },
                    // Host, network, time limits, cursor forgotten, elections, shutdown.
                    6 | 7 | 43 | 50 | 89 | 91 | 134 | 189 | 237 | 262 | 9001 | 10107 | 11600 | 11602 | 13388 | 13435 | 13436 => {
                        Self::Ended { code, name }
                    }
                    _ => Self::Refused { code, name },
                }
            }
            _ => Self::Reply,
        }
    }

    fn code(&self) -> &'static Code {
        match self {
            Self::Selection | Self::Connection(_) | Self::Name => &UNREACHABLE,
            Self::Certificate => &TLS,
            Self::Authentication => &AUTH,
            Self::Unauthorized => &DENIED,
            Self::ConnectionString => &URL,
            Self::Ended { .. } | Self::History { .. } | Self::Silent { .. } => &LOST,
            Self::Refused { .. } => &COMMAND,
            Self::Reply => &REPLY,
        }
    }

    /// As an error about what was tried: `collection "orders" could not be read`.
    pub(super) fn about(self, what: impl Into<String>) -> Error {
        Error::new(self.code(), what).caused_by(self)
    }
}
