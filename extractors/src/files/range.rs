//! What a slice of a dump covers, as the plan writes it down.

use std::collections::BTreeSet;
use std::time::UNIX_EPOCH;

use pipeline_core::error::{BUG, Error, Result};
use pipeline_core::extract::Slice;
use serde::{Deserialize, Serialize};

use super::error::{CHANGED, of_io};
use super::input::sha256;
use super::locate::Dump;

/// Which rows of a dump are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Wanted {
    /// All of them, also those whose cursor cannot be read.
    All,
    /// Rows whose cursor is greater.
    After(i64),
    /// Rows whose cursor is in `[from, to)`.
    Within {
        /// The first cursor inside.
        from: i64,
        /// The first cursor after.
        to: i64,
    },
}

impl Wanted {
    /// Whether a row of this cursor is wanted.
    pub(super) fn admits(self, cursor: impl FnOnce() -> Option<i64>) -> bool {
        match self {
            Self::All => true,
            Self::After(lower) => cursor().is_some_and(|cursor| cursor > lower),
            Self::Within { from, to } => cursor().is_some_and(|cursor| (from..to).contains(&cursor)),
        }
    }
}

/// What a file was when it was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    /// Its length in bytes.
    pub(super) length: u64,
    /// When it was last written, in nanoseconds since 1970, as its file system says.
    pub(super) modified_ns: u64,
}

impl Seen {
    /// Looks at a file.
    pub(super) fn of(dump: &Dump) -> Result<Self> {
        let metadata = std::fs::metadata(&dump.path).map_err(|error| of_io(&dump.path, &error))?;
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Ok(Self { length: metadata.len(), modified_ns: modified.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)) })
    }
}

/// The range of a slice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Range {
    pub(super) seen: Seen,
    pub(super) sha256: String,
    /// The offset of the first row, and of the first one behind. The file's length for compressed files.
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) wanted: Wanted,
    /// Only the rows at these positions.
    #[serde(default)]
    pub(super) positions: Option<BTreeSet<String>>,
}

impl Range {
    pub(super) fn of(slice: &Slice) -> Result<Self> {
        serde_json::from_value(slice.range.clone()).map_err(|_| Error::new(&BUG, "a slice of a dump holds a range that no plan made"))
    }

    /// Checks that the file is the one that was planned. A file that was written again with the same content is.
    pub(super) fn check(&self, dump: &Dump) -> Result<Seen> {
        let seen = Seen::of(dump)?;
        let same = seen == self.seen || (seen.length == self.seen.length && sha256(&dump.path)? == self.sha256);
        if same { Ok(seen) } else { Err(changed(dump)) }
    }
}

/// The file is not what it was.
pub(super) fn changed(dump: &Dump) -> Error {
    Error::new(&CHANGED, format!("file \"{}\" changed after it was planned", dump.path.display()))
}
