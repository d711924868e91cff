//! The state of a run: a pure fold over its entries.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::report::{RunRequest, RunStatus};
use crate::extract::{Checkpoint, ExtractPlan};
use crate::landing::Part;
use crate::ledger::{Entry, Recorded};
use crate::load::Receipt;
use crate::name::TableName;
use crate::window::Timestamp;

/// What an earlier attempt of a run got done.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunState {
    /// What was asked for; None if the run never began.
    pub request: Option<RunRequest>,
    /// How it ended; None if it did not.
    pub status: Option<RunStatus>,
    /// What is newer than this waits, also when the run is continued later.
    pub cut: Option<Timestamp>,
    readings: BTreeMap<String, Reading>,
    landed: HashMap<String, Landed>,
    planned: HashMap<String, Planned>,
    loaded: HashMap<(String, String), Receipt>,
    advanced: HashSet<TableName>,
}

/// A snapshot that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Landed {
    /// The manifest's key.
    pub manifest: String,
    /// Rows rejected on the way.
    pub rejected: u64,
}

/// A reading whose slices a later attempt can use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// What it reads. Its checkpoint is that of the first attempt: whatever changed since comes with the reading after it.
    pub plan: ExtractPlan,
    /// The checkpoint that it goes on from.
    pub after: Option<Checkpoint>,
    /// Digest of the contract that the slices follow.
    pub contract: String,
    /// The slices that are landed.
    pub slices: Vec<LandedSlice>,
}

impl Reading {
    /// Adds a slice, instead of an earlier reading of the same one.
    pub(super) fn add(&mut self, slice: LandedSlice) {
        self.slices.retain(|known| known.index != slice.index);
        self.slices.push(slice);
    }
}

/// A slice that is landed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LandedSlice {
    /// Its position in the plan.
    pub index: u32,
    /// Its parts, in order; none if it had no rows.
    pub parts: Vec<Part>,
    /// The rows that it rejected.
    pub quarantine: Option<Part>,
}

/// A revision that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// The revision.
    pub revision: i64,
    /// The revision below it.
    pub base: Option<i64>,
}

/// The step that reads a table.
pub(super) fn extract_step(table: &TableName) -> String {
    format!("extract {table}")
}

/// The step that reads what changed while a reading was continued.
pub(super) fn follow_step(table: &TableName) -> String {
    format!("follow {table}")
}

impl RunState {
    /// The state after these entries. Folding a part and then the rest is the same as folding all.
    #[must_use]
    pub fn fold(entries: &[Recorded]) -> Self {
        let mut state = Self::default();
        for recorded in entries {
            state.apply(&recorded.entry);
        }
        state
    }

    /// The state after one more entry.
    pub fn apply(&mut self, entry: &Entry) {
        match entry {
            Entry::RunStarted { request } => {
                // A resumed run keeps what was first asked for.
                self.request.get_or_insert_with(|| request.clone());
                self.status = None;
            }
            Entry::CutTaken { cut, .. } => self.cut = self.cut.or(*cut),
            Entry::ReadingBegun { step, reading } => {
                self.readings.insert(step.clone(), reading.clone());
            }
            Entry::SliceLanded { step, slice } => {
                if let Some(reading) = self.readings.get_mut(step) {
                    reading.add(slice.clone());
                }
            }
            Entry::Landed { step, manifest, rejected } => {
                self.landed.insert(step.clone(), Landed { manifest: manifest.clone(), rejected: *rejected });
            }
            Entry::LoadPlanned { step, revision, base } => {
                self.planned.insert(step.clone(), Planned { revision: *revision, base: *base });
            }
            Entry::Loaded { step, destination, receipt } => {
                self.loaded.insert((step.clone(), destination.clone()), receipt.clone());
            }
            Entry::RunFinished { status, .. } => self.status = Some(*status),
            Entry::CheckpointAdvanced { table, .. } => {
                self.advanced.insert(table.clone());
            }
            Entry::ModelStored { .. }
            | Entry::ModelMeasured { .. }
            | Entry::ModelDone { .. }
            | Entry::RejectedSettled { .. }
            | Entry::RowsLate { .. }
            | Entry::SchemaChanged { .. }
            | Entry::StepFinished { .. }
            | Entry::WindowDone { .. } => {}
        }
    }

    /// The reading that a step has begun.
    #[must_use]
    pub fn reading(&self, step: &str) -> Option<&Reading> {
        self.readings.get(step)
    }

    /// Readings whose rows are nowhere but in the landing.
    pub fn unloaded(&self) -> impl Iterator<Item = (&String, &Reading)> {
        let is_loaded = |step: &String| self.loaded.keys().any(|(loaded, _)| loaded == step);
        self.readings.iter().filter(move |(step, reading)| !is_loaded(step) && !reading.slices.is_empty())
    }

    /// The state in which the next run begins: what this one read and did not load need not be read again.
    #[must_use]
    pub fn inherited(&self) -> Self {
        let readings = self.unloaded().map(|(step, reading)| (step.clone(), reading.clone())).collect();
        Self { readings, ..Self::default() }
    }

    /// Whether a table is landed, with what has to be read behind it.
    #[must_use]
    pub fn is_read(&self, table: &TableName) -> bool {
        let step = extract_step(table);
        self.landed(&step).is_some() && (self.reading(&step).is_none() || self.landed(&follow_step(table)).is_some())
    }

    /// Whether an attempt of this run has stored a table's checkpoint.
    #[must_use]
    pub fn is_advanced(&self, table: &TableName) -> bool {
        self.advanced.contains(table)
    }

    /// The snapshot that a step has landed.
    #[must_use]
    pub fn landed(&self, step: &str) -> Option<&Landed> {
        self.landed.get(step)
    }

    /// The revision that a step has taken.
    #[must_use]
    pub fn planned(&self, step: &str) -> Option<Planned> {
        self.planned.get(step).copied()
    }

    /// The receipt of a step's load.
    #[must_use]
    pub fn loaded(&self, step: &str, destination: &str) -> Option<&Receipt> {
        self.loaded.get(&(step.to_owned(), destination.to_owned()))
    }
}
