//! How a MongoDB source is configured.

use std::fmt;
use std::time::Duration;

use pipeline_core::config::{Options, Secret};
use pipeline_core::error::Result;
use pipeline_core::pace::Pace;

use super::log::CaptureOptions;

/// How long to look for a server, and for a connection to it, if the configuration says nothing.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// How long a server may work on reading one slice, if the configuration says nothing.
const STATEMENT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(2 * 60 * 60);

/// What this program calls itself in the server's log, if the configuration says nothing.
const APPLICATION_NAME_DEFAULT: &str = "pipeline";

/// Which member of a replica set is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadPreference {
    /// The primary, and no other.
    Primary,
    /// The primary while there is one.
    PrimaryPreferred,
    /// A secondary, and no other.
    Secondary,
    /// A secondary while there is one.
    SecondaryPreferred,
    /// The nearest one.
    Nearest,
}

impl ReadPreference {
    const NAMES: [(&'static str, Self); 5] = [
        ("primary", Self::Primary),
        ("primaryPreferred", Self::PrimaryPreferred),
        ("secondary", Self::Secondary),
        ("secondaryPreferred", Self::SecondaryPreferred),
        ("nearest", Self::Nearest),
    ];

    fn parse(text: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(name, _)| *name == text).map(|(_, preference)| *preference)
    }
}

/// The section of a source of `kind = "mongodb"`, before its secret is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MongoConfig {
    /// Where the connection string is.
    pub url: Secret,
    /// The database; without it, the one of the connection string.
    pub database: Option<String>,
    /// Which member to read from; without it, what the connection string says.
    pub read_preference: Option<ReadPreference>,
    /// What this program is called in the server's log; without it, what the connection string says, or `pipeline`.
    pub application_name: Option<String>,
    /// How long to look for a server; without it, what the connection string says, or 10 seconds.
    pub timeout: Option<Duration>,
    /// How long a server may work on reading one slice.
    pub statement_timeout: Duration,
    /// Most connections at once; without it, what the connection string says.
    pub connections_max: Option<u32>,
    /// No slice begins while the server takes longer than this to answer.
    pub pause_above: Option<Duration>,
    /// Whether all tables are read as they were at the run's beginning, where the server keeps that history.
    pub consistent_snapshot: bool,
    /// How changes are captured from the change stream; None reads by the cursor.
    pub capture: Option<CaptureOptions>,
}

impl MongoConfig {
    /// Reads the source's section.
    ///
    /// # Errors
    /// If `url` is missing or no reference, or a key is not known.
    pub fn read(mut options: Options) -> Result<Self> {
        let url = options.required_secret("url")?;
        let database = options.text("database")?;
        let read_preference = options
            .text("read_preference")?
            .map(|text| {
                ReadPreference::parse(&text).ok_or_else(|| {
                    let known: Vec<_> = ReadPreference::NAMES.iter().map(|(name, _)| *name).collect();
                    options
                        .error("read_preference", format!("read preference \"{text}\" is not known"))
                        .hint(format!("Use one of {}.", known.join(", ")))
                })
            })
            .transpose()?;
        let application_name = options.text("application_name")?;
        let timeout = options.duration_us("timeout")?.map(|us| Duration::from_micros(us.unsigned_abs()));
        let statement_timeout =
            options.duration_us("statement_timeout")?.map_or(STATEMENT_TIMEOUT_DEFAULT, |us| Duration::from_micros(us.unsigned_abs()));
        let connections_max = match options.number("connections_max")? {
            Some(0) => {
                return Err(options.error("connections_max", "\"connections_max\" is 0, so nothing could be read").hint("Use 1 or more."));
            }
            number => number.map(|number| u32::try_from(number).unwrap_or(u32::MAX)),
        };
        let pause_above = options.duration_us("pause_above")?.map(|us| Duration::from_micros(us.unsigned_abs()));
        let consistent_snapshot = options.boolean("consistent_snapshot")?.unwrap_or(true);
        let capture = capture(&mut options)?;
        options.end()?;
        Ok(Self {
            url,
            database,
            read_preference,
            application_name,
            timeout,
            statement_timeout,
            connections_max,
            pause_above,
            consistent_snapshot,
            capture,
        })
    }

    /// With the connection string that the secret holds.
    #[must_use]
    pub fn with_url(self, url: String) -> MongoOptions {
        MongoOptions {
            url,
            database: self.database,
            read_preference: self.read_preference,
            application_name: self.application_name,
            timeout: self.timeout,
            statement_timeout: self.statement_timeout,
            connections_max: self.connections_max,
            pause_above: self.pause_above,
            pace: Pace::default(),
            consistent_snapshot: self.consistent_snapshot,
            capture: self.capture,
        }
    }
}

/// Whether changes come from the change stream; the other keys mean nothing otherwise.
fn capture(options: &mut Options) -> Result<Option<CaptureOptions>> {
    let is_log = captures(options)?.unwrap_or(false);
    let changes_max = options.number("changes_max")?;
    let reread_when_lost = options.boolean("reread_when_lost")?;
    if !is_log {
        let given = [("changes_max", changes_max.is_some()), ("reread_when_lost", reread_when_lost.is_some())];
        return match given.iter().find(|(_, is_given)| *is_given) {
            Some((key, _)) => Err(options
                .error(key, format!("\"{key}\" means nothing without capture from the log"))
                .hint("Set `capture = \"log\"` beside it, or remove it.")),
            None => Ok(None),
        };
    }
    let default = CaptureOptions::default();
    Ok(Some(CaptureOptions {
        changes_max: changes_max.unwrap_or(default.changes_max),
        reread_when_lost: reread_when_lost.unwrap_or(default.reread_when_lost),
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

/// Where a MongoDB deployment is. Its text form hides the connection string.
#[derive(Clone)]
pub struct MongoOptions {
    /// The connection string: a secret.
    pub url: String,
    /// As in [`MongoConfig`].
    pub database: Option<String>,
    /// As in [`MongoConfig`].
    pub read_preference: Option<ReadPreference>,
    /// As in [`MongoConfig`].
    pub application_name: Option<String>,
    /// As in [`MongoConfig`].
    pub timeout: Option<Duration>,
    /// As in [`MongoConfig`].
    pub statement_timeout: Duration,
    /// As in [`MongoConfig`].
    pub connections_max: Option<u32>,
    /// As in [`MongoConfig`].
    pub pause_above: Option<Duration>,
    /// How fast it may be read.
    pub pace: Pace,
    /// As in [`MongoConfig`].
    pub consistent_snapshot: bool,
    /// As in [`MongoConfig`].
    pub capture: Option<CaptureOptions>,
}

impl MongoOptions {
    /// A deployment by its connection string alone.
    #[must_use]
    pub fn new(url: String) -> Self {
        Self {
            url,
            database: None,
            read_preference: None,
            application_name: None,
            timeout: None,
            statement_timeout: STATEMENT_TIMEOUT_DEFAULT,
            connections_max: None,
            pause_above: None,
            pace: Pace::default(),
            consistent_snapshot: true,
            capture: None,
        }
    }

    /// The driver's options. The configuration wins over the connection string, which wins over the defaults.
    pub(super) async fn client_options(&self) -> mongodb::error::Result<mongodb::options::ClientOptions> {
        use mongodb::options::{ClientOptions, ReadConcern, ReadPreference as Driver, SelectionCriteria};
        let mut options = ClientOptions::parse(&self.url).await?;
        options.app_name = self.application_name.clone().or(options.app_name).or_else(|| Some(APPLICATION_NAME_DEFAULT.to_owned()));
        options.server_selection_timeout = self.timeout.or(options.server_selection_timeout).or(Some(TIMEOUT_DEFAULT));
        options.connect_timeout = self.timeout.or(options.connect_timeout).or(Some(TIMEOUT_DEFAULT));
        options.max_pool_size = self.connections_max.or(options.max_pool_size);
        // What a majority has can no longer be rolled back: nothing is landed that the source may forget.
        options.read_concern = options.read_concern.or_else(|| Some(ReadConcern::majority()));
        if let Some(preference) = self.read_preference {
            options.selection_criteria = Some(SelectionCriteria::ReadPreference(match preference {
                ReadPreference::Primary => Driver::Primary,
                ReadPreference::PrimaryPreferred => Driver::PrimaryPreferred { options: None },
                ReadPreference::Secondary => Driver::Secondary { options: None },
                ReadPreference::SecondaryPreferred => Driver::SecondaryPreferred { options: None },
                ReadPreference::Nearest => Driver::Nearest { options: None },
            }));
        }
        Ok(options)
    }
}

impl fmt::Debug for MongoOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MongoOptions").field("url", &"…").field("database", &self.database).finish_non_exhaustive()
    }
}

/// What a table's section says beside its contract.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableOptions {
    /// The collection's name, if it is not the table's.
    pub collection: Option<String>,
    /// Whether the table is read by its cursor although its source captures changes from the log.
    pub by_cursor: bool,
}

impl TableOptions {
    /// Reads what is left of a table's section. `file` belongs to the same table read from a dump, in another profile.
    ///
    /// # Errors
    /// If a key is not known.
    pub fn read(mut options: Options) -> Result<Self> {
        let collection = options.text("collection")?;
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
        Ok(Self { collection, by_cursor })
    }
}
