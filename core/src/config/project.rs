//! The project's own settings.

use chrono_tz::Tz;

use super::kind::Options;
use super::secret::Secret;
use crate::contract;
use crate::error::Result;
use crate::window::Timestamp;

/// Memory for batches, models and writers together, if the configuration says nothing.
const MEMORY_LIMIT_BYTES_DEFAULT: u64 = 1 << 30;

/// The least that a run can work with: two row groups and a little.
const MEMORY_LIMIT_BYTES_MIN: u64 = 256 << 20;

/// The share of rows that may be rejected, if neither table nor project says otherwise.
const REJECTED_SHARE_DEFAULT: f64 = 0.001;

/// Keyed hashes and defaults of privacy classes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Privacy {
    /// Where the key is.
    pub key: Option<Secret>,
    /// Column names that are hashed unless the table says otherwise.
    pub hash: Vec<String>,
}

impl Privacy {
    /// The class of a column that declares none.
    #[must_use]
    pub fn default_class(&self, column: &str) -> contract::Privacy {
        if self.hash.iter().any(|name| name == column) { contract::Privacy::Hash } else { contract::Privacy::None }
    }
}

/// Numbers of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Memory for batches, models and writers together.
    pub memory_limit_bytes: u64,
    /// Steps at once.
    pub steps_in_flight_max: usize,
    /// Slices of a table at once.
    pub slices_in_flight_max: usize,
    /// Tries of a step whose trouble may pass.
    pub attempts_max: u32,
}

/// The section `[project]`.
#[derive(Debug, Clone)]
pub struct Project {
    /// Its name.
    pub name: String,
    /// The zone in which days begin: windows, dates on the command line.
    pub time_zone: Tz,
    /// Where snapshots are landed.
    pub landing: String,
    /// Where the lake is.
    pub lake: String,
    /// Where the ledger is.
    pub ledger: String,
    /// Where models spill.
    pub work: String,
    /// Where models are declared.
    pub models: String,
    /// Whether the configuration names that folder itself: then it must be there.
    pub models_are_named: bool,
    /// Whether a cluster computes the models.
    pub uses_cluster: bool,
    /// "Now" for models; None: when the run begins.
    pub as_of: Option<Timestamp>,
    /// The share of rows that may be rejected.
    pub rejected_share_max: f64,
    /// Numbers of the engine.
    pub settings: Settings,
    /// Privacy.
    pub privacy: Privacy,
}

impl Project {
    pub(super) fn read(mut section: Options) -> Result<Self> {
        let time_zone = section.text("time_zone")?.unwrap_or_else(|| "UTC".to_owned());
        let time_zone: Tz = time_zone.parse().map_err(|_| {
            section
                .error("time_zone", format!("\"{time_zone}\" is not a time zone"))
                .hint("Use a name of the IANA database, such as \"Europe/Warsaw\".")
        })?;
        let as_of = match section.text("as_of")? {
            None => None,
            Some(text) => {
                Some(Timestamp::parse_in(&text, time_zone).map_err(|error| error.caused_by(section.error("as_of", "").causes().join("")))?)
            }
        };
        let memory_limit_bytes = section.bytes("memory_limit")?.unwrap_or(MEMORY_LIMIT_BYTES_DEFAULT);
        if memory_limit_bytes < MEMORY_LIMIT_BYTES_MIN {
            return Err(section.error("memory_limit", "memory_limit is below 256MiB, the least that a run can work with"));
        }
        let small = |number: Option<u64>, default: u32| number.and_then(|number| u32::try_from(number).ok()).unwrap_or(default).max(1);
        let settings = Settings {
            memory_limit_bytes,
            steps_in_flight_max: small(section.number("steps_in_flight")?, 2) as usize,
            slices_in_flight_max: small(section.number("slices_in_flight")?, 2) as usize,
            attempts_max: small(section.number("attempts")?, 4),
        };
        let models = section.text("models")?;
        let uses_cluster = match section.text("engine")?.as_deref() {
            None | Some("local") => false,
            Some("ballista") => true,
            Some(other) => {
                return Err(section
                    .error("engine", format!("there is no engine \"{other}\""))
                    .hint("Use \"local\", which is this process, or \"ballista\", the cluster of [cluster]."));
            }
        };
        let mut privacy = section.section("privacy")?;
        let hashed = || ["email", "phone", "first_name", "last_name", "name"].map(str::to_owned).to_vec();
        let privacy = {
            let read = Privacy { key: privacy.secret("key")?, hash: privacy.texts("hash")?.unwrap_or_else(hashed) };
            privacy.end()?;
            read
        };
        let project = Self {
            name: section.text("name")?.unwrap_or_else(|| "pipeline".to_owned()),
            time_zone,
            landing: section.text("landing")?.unwrap_or_else(|| ".pipeline/landing".to_owned()),
            lake: section.text("lake")?.unwrap_or_else(|| ".pipeline/lake".to_owned()),
            ledger: section.text("ledger")?.unwrap_or_else(|| ".pipeline/ledger.db".to_owned()),
            work: section.text("work")?.unwrap_or_else(|| ".pipeline/work".to_owned()),
            models_are_named: models.is_some(),
            models: models.unwrap_or_else(|| "sql".to_owned()),
            uses_cluster,
            as_of,
            rejected_share_max: section.share("max_rejected")?.unwrap_or(REJECTED_SHARE_DEFAULT),
            settings,
            privacy,
        };
        section.end()?;
        Ok(project)
    }
}
