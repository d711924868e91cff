//! How a PostgreSQL source is configured.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use pipeline_core::config::{Options, Secret};
use pipeline_core::error::Result;
use pipeline_core::pace::Pace;

use super::log::CaptureOptions;

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
    /// Whether all tables of a run are read in one snapshot.
    pub consistent_snapshot: bool,
    /// No slice begins while the server takes longer than this to answer.
    pub pause_above: Option<Duration>,
    /// How changes are captured from the log; None reads by the cursor.
    pub capture: Option<CaptureOptions>,
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
        let consistent_snapshot = options.boolean("consistent_snapshot")?.unwrap_or(true);
        let pause_above = options.duration_us("pause_above")?.map(|us| Duration::from_micros(us.unsigned_abs()));
        let capture = capture(&mut options)?;
        if capture.is_some() && !consistent_snapshot {
            return Err(options
                .error("consistent_snapshot", "capture from the log needs one snapshot for all tables")
                .hint("Remove `consistent_snapshot = false`, or set `capture = \"cursor\"`."));
        }
        options.end()?;
        Ok(Self {
            url,
            statement_timeout,
            timeout,
            connections_max,
            slow_after,
            application_name,
            consistent_snapshot,
            pause_above,
            capture,
        })
    }

    /// With the connection string that the secret holds.
    #[must_use]
    pub fn with_url(self, url: String) -> PostgresOptions {
        PostgresOptions {
            statement_timeout: self.statement_timeout,
            timeout: self.timeout,
            connections_max: self.connections_max,
            slow_after: self.slow_after,
            application_name: self.application_name,
            consistent_snapshot: self.consistent_snapshot,
            pause_above: self.pause_above,
            capture: self.capture,
            ..PostgresOptions::new(url)
        }
    }
}

/// Whether changes come from the log; the other keys mean nothing otherwise.
fn capture(options: &mut Options) -> Result<Option<CaptureOptions>> {
    let is_log = captures(options)?.unwrap_or(false);
    let publication = options.text("publication")?;
    let slot_prefix = options.text("slot_prefix")?;
    let changes_max = options.number("changes_max")?;
    if !is_log {
        let given =
            [("publication", publication.is_some()), ("slot_prefix", slot_prefix.is_some()), ("changes_max", changes_max.is_some())];
        return match given.iter().find(|(_, is_given)| *is_given) {
            Some((key, _)) => Err(options
                .error(key, format!("\"{key}\" means nothing without capture from the log"))
                .hint("Set `capture = \"log\"` beside it, or remove it.")),
            None => Ok(None),
        };
    }
    let default = CaptureOptions::default();
    Ok(Some(CaptureOptions {
        publication: publication.unwrap_or(default.publication),
        slot_prefix: slot_prefix.unwrap_or(default.slot_prefix),
        changes_max: changes_max.unwrap_or(default.changes_max),
    }))
}

/// What `capture` says: true for the log, false for the cursor.
fn captures(options: &mut Options) -> Result<Option<bool>> {
    match options.text("capture")?.as_deref() {
        None => Ok(None),
        Some("log") => Ok(Some(true)),
        Some("cursor") => Ok(Some(false)),
        Some(other) => Err(options.error("capture", format!("capture \"{other}\" is not known")).hint("Use \"cursor\" or \"log\".")),
    }
}

/// Where a PostgreSQL database is. Its text form hides the connection string.
#[derive(Clone)]
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
    /// As in [`PostgresConfig`].
    pub consistent_snapshot: bool,
    /// As in [`PostgresConfig`].
    pub pause_above: Option<Duration>,
    /// How fast it may be read.
    pub pace: Pace,
    /// As in [`PostgresConfig`].
    pub capture: Option<CaptureOptions>,
    /// A folder for what memory does not hold.
    pub work: PathBuf,
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
            consistent_snapshot: true,
            pause_above: None,
            pace: Pace::default(),
            capture: None,
            work: std::env::temp_dir(),
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
    /// Whether the table is read by its cursor although its source captures changes from the log.
    pub by_cursor: bool,
}

impl TableOptions {
    /// Reads what is left of a table's section. `file` belongs to the same table read from a dump, in another profile.
    ///
    /// # Errors
    /// If a key is not known.
    pub fn read(mut options: Options) -> Result<Self> {
        let relation = options.text("relation")?;
        options.text("file")?;
        let by_cursor = match captures(&mut options)? {
            Some(true) => {
                let error = options.error("capture", "changes are captured for a source, not for a table alone");
                return Err(
                    error.hint("Set `capture = \"log\"` in the source's section, and \"cursor\" for tables that shall not be captured.")
                );
            }
            Some(false) => true,
            None => false,
        };
        options.end()?;
        Ok(Self { relation, by_cursor })
    }
}
