//! The state of a run: a pure fold over its entries.

use std::collections::HashMap;

use super::report::{RunRequest, RunStatus};
use crate::ledger::{Entry, Recorded};
use crate::load::Receipt;
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
    landed: HashMap<String, Landed>,
    planned: HashMap<String, Planned>,
    loaded: HashMap<(String, String), Receipt>,
}

/// A snapshot that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Landed {
    /// The manifest's key.
    pub manifest: String,
    /// Rows rejected on the way.
    pub rejected: u64,
    /// Of a model: what was read for it.
    pub read: Option<String>,
}

/// A revision that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// The revision.
    pub revision: i64,
    /// The revision below it.
    pub base: Option<i64>,
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
            Entry::Landed { step, manifest, rejected, read } => {
                self.landed.insert(step.clone(), Landed { manifest: manifest.clone(), rejected: *rejected, read: read.clone() });
            }
            Entry::LoadPlanned { step, revision, base } => {
                self.planned.insert(step.clone(), Planned { revision: *revision, base: *base });
            }
            Entry::Loaded { step, destination, receipt } => {
                self.loaded.insert((step.clone(), destination.clone()), receipt.clone());
            }
            Entry::RunFinished { status, .. } => self.status = Some(*status),
            Entry::CheckpointAdvanced { .. }
            | Entry::ModelStored { .. }
            | Entry::ModelDone { .. }
            | Entry::RejectedSettled { .. }
            | Entry::RowsLate { .. }
            | Entry::SchemaChanged { .. }
            | Entry::StepFinished { .. }
            | Entry::WindowDone { .. } => {}
        }
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
