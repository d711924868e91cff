//! References to secrets. The configuration never holds a secret itself.

use std::fmt;

use crate::error::{Code, Error, ErrorKind, Result};

/// A secret is written out, or its reference leads nowhere.
pub static SECRET: Code = Code {
    name: "E-SECRET",
    kind: ErrorKind::Usage,
    meaning: "A value that must be secret is written in the configuration, or its reference leads to nothing.",
    remedy: "Refer to it as \"env:NAME\", \"file:PATH\" or \"aws-sm:NAME\" and provide it there.",
};

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    /// An environment variable.
    Environment(String),
    /// A file; one newline at its end does not count.
    File(String),
    /// A secret of AWS Secrets Manager: its name or ARN, and optionally a key of its JSON text after `#`.
    SecretsManager {
        /// Name or ARN.
        id: String,
        /// The key within, if the secret is a JSON object.
        key: Option<String>,
    },
}

impl Secret {
    /// Reads a reference.
    ///
    /// # Errors
    /// [`SECRET`] if the text is none, without repeating it: it may be the secret.
    pub fn parse(text: &str) -> Result<Self> {
        match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() => Ok(Self::Environment(name.to_owned())),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.to_owned())),
            Some(("aws-sm", id)) if !id.is_empty() => Ok(match id.split_once('#') {
                Some((id, key)) => Self::SecretsManager { id: id.to_owned(), key: Some(key.to_owned()) },
                None => Self::SecretsManager { id: id.to_owned(), key: None },
            }),
            _ => Err(Error::new(&SECRET, "a secret is written in the configuration instead of a reference to it")),
        }
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{path}"),
            Self::SecretsManager { id, key: None } => write!(f, "aws-sm:{id}"),
            Self::SecretsManager { id, key: Some(key) } => write!(f, "aws-sm:{id}#{key}"),
        }
    }
}

/// Fetches secrets. The program's shell implements it; nothing else reads the environment or a secrets manager.
#[async_trait::async_trait]
pub trait SecretSource: fmt::Debug + Send + Sync {
    /// The secret's text.
    ///
    /// # Errors
    /// [`SECRET`] if it is not where the reference says.
    async fn fetch(&self, secret: &Secret) -> Result<String>;
}
