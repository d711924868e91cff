//! What a run is asked for and what it reports, and how it is watched.

use std::fmt::Debug;

use serde::{Deserialize, Serialize};

use super::selection::Selection;
use crate::window::{Timestamp, Window};

/// What one run shall do. Stored when it begins, so that a resumed run does the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRequest {
    /// What kind of run.
    pub kind: RunKind,
    /// The fixed window; None: since the checkpoints.
    pub window: Option<Window>,
    /// "Now" for models.
    pub as_of: Timestamp,
    /// Which tables and models.
    pub selection: Selection,
    /// Read and load everything anew, whatever the checkpoints say.
    pub full_refresh: bool,
}

impl RunRequest {
    /// Whether it brings rows of a time that is past: a backfill, or a window that ended more than a day before its now.
    #[must_use]
    pub fn is_of_the_past(&self) -> bool {
        const DAY_US: i64 = 24 * 60 * 60 * 1_000_000;
        let ended_before = |window: Window| window.to.plus(DAY_US) < self.as_of;
        match self.kind {
            RunKind::BackfillWindow | RunKind::BackfillModels => true,
            RunKind::Run | RunKind::Quarantine | RunKind::Schema => self.window.is_some_and(ended_before),
        }
    }
}

/// Kinds of runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunKind {
    /// `pipeline run`.
    Run,
    /// One window of `pipeline backfill`: tables only.
    BackfillWindow,
    /// The end of `pipeline backfill`: models only.
    BackfillModels,
    /// `pipeline quarantine replay` or `drop`: rejected rows only.
    Quarantine,
    /// `pipeline schema accept`: nothing is read.
    Schema,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Everything was done.
    Done,
    /// Nothing had changed: no data moved.
    Unchanged,
    /// Some step failed; what is published is whole, and the rest is still to do.
    Failed,
    /// The user stopped it.
    Interrupted,
}

/// Kinds of steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// Source to landing.
    Extract,
    /// Landing to a destination.
    Load,
    /// Lake to landing.
    Model,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    /// It moved data.
    Done,
    /// There was nothing to do.
    Unchanged,
    /// An earlier attempt of this run had done it.
    Resumed,
    /// It failed.
    Failed,
    /// It was not begun because something it needs failed.
    Skipped,
}

/// What a step did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// Its name: `extract shop.orders`, `follow shop.orders` (what changed while a reading was continued), `load lake orders`, `model orders`.
    pub name: String,
    /// Its kind.
    pub kind: StepKind,
    /// How it ended.
    pub status: StepStatus,
    /// Rows that came in.
    pub rows_in: u64,
    /// Rows that went out.
    pub rows_out: u64,
    /// Rows that did not fit.
    pub rows_rejected: u64,
    /// Bytes written.
    pub bytes: u64,
    /// How long it took.
    pub duration_ms: u64,
    /// Milliseconds of that spent waiting for the source's next batch.
    #[serde(default)]
    pub waited_source_ms: u64,
    /// Milliseconds of that spent writing to the destination.
    #[serde(default)]
    pub waited_destination_ms: u64,
    /// A word for people: why unchanged, or the error's message.
    pub note: String,
    /// The error's code, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

impl StepReport {
    pub(crate) fn new(name: &str, kind: StepKind, status: StepStatus) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            status,
            rows_in: 0,
            rows_out: 0,
            rows_rejected: 0,
            bytes: 0,
            duration_ms: 0,
            waited_source_ms: 0,
            waited_destination_ms: 0,
            note: String::new(),
            code: None,
        }
    }
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// Its id.
    pub run: String,
    /// Its pipeline.
    pub pipeline: String,
    /// How it ended.
    pub status: RunStatus,
    /// The window it covered, if fixed.
    pub window: Option<Window>,
    /// "Now" for its models.
    pub as_of: Timestamp,
    /// Its steps, in the order they ended.
    pub steps: Vec<StepReport>,
    /// Warnings of data tests.
    pub warnings: Vec<String>,
    /// Whether it continued a run that had been cut off.
    pub resumed: bool,
    /// How long it took.
    pub duration_ms: u64,
}

/// Something a watcher of a run may show.
#[derive(Debug, Clone)]
pub enum Event {
    /// A run began, or goes on after it was cut off.
    RunStarted {
        /// Its pipeline.
        pipeline: String,
    },
    /// A run ended.
    RunFinished {
        /// Its pipeline.
        pipeline: String,
        /// How.
        status: RunStatus,
        /// The error's code and message, if it failed.
        error: Option<String>,
    },
    /// A step began.
    StepStarted {
        /// Its name.
        step: String,
        /// Its kind.
        kind: StepKind,
        /// Rows to come, if known.
        rows_estimated: Option<u64>,
    },
    /// A step moved on.
    Progress {
        /// Its name.
        step: String,
        /// Rows so far.
        rows: u64,
        /// Bytes of batches so far.
        bytes: u64,
        /// What it waits for most of the time.
        waits_for: WaitsFor,
    },
    /// A step ended.
    StepFinished(StepReport),
    /// A step will be tried again.
    Retry {
        /// Its name.
        step: String,
        /// Which try failed, from 1.
        attempt: u32,
        /// Why.
        reason: String,
        /// When the next begins.
        pause_ms: u64,
    },
    /// A data test warned, or rows were rejected.
    Warning {
        /// In words.
        message: String,
    },
}

/// Which side a step waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitsFor {
    /// The source is slower.
    Source,
    /// The destination is slower.
    Destination,
}

/// Watches a run. Called from many tasks at once; must not block.
pub trait Observer: Debug + Send + Sync {
    /// Something happened.
    fn event(&self, event: &Event);

    /// Something happened in this run: windows of a backfill are runs at once. Everything but [`Event::Retry`] comes this way.
    fn event_of(&self, _run: &str, event: &Event) {
        self.event(event);
    }
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn event(&self, _event: &Event) {}
}
