//! How a PostgreSQL source is configured.

use std::fmt;
use std::time::Duration;

use pipeline_core::config::{Options, Secret};
use pipeline_core::error::Result;

/// How long one statement may take, if the configuration says nothing: no slice should, and nothing should wait for ever.
const STATEMENT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(2 * 3600);

/// How long to wait for a connection, if the configuration says nothing.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// Connections that read at once, if the configuration says nothing.
const CONNECTIONS_MAX_DEFAULT: usize = 4;

/// Time after which a statement is marked as slow in its span, if the configuration says nothing.
const SLOW_AFTER_DEFAULT: Duration = Duration::from_secs(60);

/// What this program calls itself in the server's log, if the configuration says nothing.
const APPLICATION_NAME_DEFAULT: &str = "pipeline";

/// The section of a source of `kind = "postgres"`, before its secret is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresConfig {
    /// Where the connection string is.
    pub url: Secret,
    /// How long one statement may take.
    pub statement_timeout: Duration,
    /// How long to wait for a connection.
    pub timeout: Duration,
    /// Connections that read at once, besides the one that holds the snapshot.
    pub connections_max: usize,
    /// Time after which a statement is marked as slow in its span.
    pub slow_after: Duration,
    /// What this program is called in the server's log.
    pub application_name: String,
}

impl PostgresConfig {
    /// Reads the source's section.
    ///
    /// # Errors
    /// If `url` is missing or no reference, or a key is not known.
    pub fn read(mut options: Options) -> Result<Self> {
        let url = options.required_secret("url")?;
        let mut duration = |key: &str, default: Duration| -> Result<Duration> {
            Ok(options.duration_us(key)?.map_or(default, |us| Duration::from_micros(us.unsigned_abs())))
        };
        let statement_timeout = duration("statement_timeout", STATEMENT_TIMEOUT_DEFAULT)?;
        let timeout = duration("timeout", TIMEOUT_DEFAULT)?;
        let slow_after = duration("slow_after", SLOW_AFTER_DEFAULT)?;
        let connections_max = match options.number("connections_max")? {
            Some(0) => {
                return Err(options.error("connections_max", "\"connections_max\" is 0, so nothing could be read").hint("Use 1 or more."));
            }
            Some(number) => usize::try_from(number).unwrap_or(usize::MAX),
            None => CONNECTIONS_MAX_DEFAULT,
        };
        let application_name = options.text("application_name")?.unwrap_or_else(|| APPLICATION_NAME_DEFAULT.to_owned());
        options.end()?;
        Ok(Self { url, statement_timeout, timeout, connections_max, slow_after, application_name })
    }

    /// With the connection string that the secret holds.
    #[must_use]
    pub fn with_url(self, url: String) -> PostgresOptions {
        PostgresOptions {
            url,
            statement_timeout: self.statement_timeout,
            timeout: self.timeout,
            connections_max: self.connections_max,
            slow_after: self.slow_after,
            application_name: self.application_name,
        }
    }
}

/// Where a PostgreSQL database is. Its text form hides the connection string.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresOptions {
    /// The connection string: a secret.
    pub url: String,
    /// As in [`PostgresConfig`].
    pub statement_timeout: Duration,
    /// As in [`PostgresConfig`].
    pub timeout: Duration,
    /// As in [`PostgresConfig`].
    pub connections_max: usize,
    /// As in [`PostgresConfig`].
    pub slow_after: Duration,
    /// As in [`PostgresConfig`].
    pub application_name: String,
}

impl PostgresOptions {
    /// A database by its connection string alone.
    #[must_use]
    pub fn new(url: String) -> Self {
        Self {
            url,
            statement_timeout: STATEMENT_TIMEOUT_DEFAULT,
            timeout: TIMEOUT_DEFAULT,
            connections_max: CONNECTIONS_MAX_DEFAULT,
            slow_after: SLOW_AFTER_DEFAULT,
            application_name: APPLICATION_NAME_DEFAULT.to_owned(),
        }
    }
}

impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions").field("url", &"…").field("application_name", &self.application_name).finish_non_exhaustive()
    }
}

/// What a table's section says beside its contract.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableOptions {
    /// The relation's name as in SQL (`payments.transactions`), if it is not the table's.
    pub relation: Option<String>,
}

impl TableOptions {
    /// Reads what is left of a table's section. `file` belongs to the same table read from a dump, in another profile.
    ///
    /// # Errors
    /// If a key is not known.
    pub fn read(mut options: Options) -> Result<Self> {
        let relation = options.text("relation")?;
        options.text("file")?;
        options.end()?;
        Ok(Self { relation })
    }
}
