//! What the program remembers between runs: an append-only history, and leases that keep two runs apart.

use std::collections::BTreeMap;
use std::fmt::Debug;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::error::{Code, ErrorKind, Result};
use crate::extract::{Checkpoint, SourceCut};
use crate::late::LateRows;
use crate::load::Receipt;
use crate::name::TableName;
use crate::run::{LandedSlice, Reading, RunRequest, RunStatus, StepReport};
use crate::window::{Timestamp, Window};

/// Another run of the pipeline is alive.
pub static LEASE: Code = Code {
    name: "E-LEASE",
    kind: ErrorKind::Conflict,
    meaning: "Another run of this pipeline holds the lease: two runs at once are not allowed.",
    remedy: "Wait for the other run, or pass --lock-wait SECONDS to wait for it here.",
};

/// The ledger cannot be read or written.
pub static LEDGER: Code = Code {
    name: "E-LEDGER",
    kind: ErrorKind::Unavailable,
    meaning: "The ledger, which remembers runs and checkpoints, could not be read or written.",
    remedy: "Check that its folder exists, is writable and has space; the ledger is the file named by `ledger` in pipelines.toml.",
};

/// The right to run a pipeline. A later lease has a greater epoch, and fences this one off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The pipeline.
    pub pipeline: String,
    /// Counts the leases of this pipeline.
    pub epoch: i64,
}

/// One thing that happened. The state of a run is a fold over its entries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
pub enum Entry {
    /// A run began.
    RunStarted {
        /// What was asked for; a resumed run goes by this, not by the command that resumed it.
        request: RunRequest,
    },
    /// The sources' cuts are pinned, before anything is read.
    CutTaken {
        /// What is newer waits for the next run; None if one source alone is read, whose own cut says it all.
        cut: Option<Timestamp>,
        /// Each source's cut.
        sources: BTreeMap<String, SourceCut>,
    },
    /// A table is about to be read in slices that a later attempt can use, or is being read so since an earlier run.
    ReadingBegun {
        /// The step.
        step: String,
        /// What it reads, and what of it is landed.
        reading: Reading,
    },
    /// A slice of the step's reading is landed.
    SliceLanded {
        /// The step.
        step: String,
        /// Where.
        slice: LandedSlice,
    },
    /// A step's snapshot exists.
    Landed {
        /// The step.
        step: String,
        /// The manifest's key in the landing.
        manifest: String,
        /// Rows rejected on the way.
        rejected: u64,
    },
    /// A step's snapshot is about to be published: its revision is taken, also if the process dies now.
    LoadPlanned {
        /// The step.
        step: String,
        /// The revision, the same in every destination.
        revision: i64,
        /// The revision the snapshot's changes were computed from.
        base: Option<i64>,
    },
    /// A load is committed.
    Loaded {
        /// The step.
        step: String,
        /// The destination.
        destination: String,
        /// What the destination said.
        receipt: Receipt,
    },
    /// A table has been read this far, and every load that depends on it is committed.
    CheckpointAdvanced {
        /// The table.
        table: TableName,
        /// How far.
        checkpoint: Checkpoint,
    },
    /// The lake holds a model's result as it follows from these states of its inputs.
    ModelStored {
        /// The model.
        table: TableName,
        /// What the next run can go on from.
        basis: Basis,
    },
    /// What a model's table measures, written together with [`Entry::ModelDone`]. A run counts once, with its latest.
    ModelMeasured {
        /// The model.
        table: TableName,
        /// The measures.
        measured: Measured,
    },
    /// A model's tables are up to date with these inputs.
    ModelDone {
        /// The model.
        table: TableName,
        /// Digest over the model and the revisions of what it read.
        state: String,
    },
    /// Rows that were rejected need nothing more.
    RejectedSettled {
        /// The table.
        table: TableName,
        /// Where the source had them.
        positions: Vec<String>,
        /// Why.
        settlement: Settlement,
    },
    /// Rows of a table came late, and its lookback brought them.
    RowsLate {
        /// The table.
        table: TableName,
        /// How late.
        late: LateRows,
    },
    /// What a table promises, or how a place keeps it, changed.
    SchemaChanged {
        /// The table.
        table: TableName,
        /// Where: a destination's name, or `contract`.
        place: String,
        /// The changes, in words.
        changes: Vec<String>,
    },
    /// A step ended.
    StepFinished {
        /// How.
        report: StepReport,
    },
    /// A window of a backfill is complete.
    WindowDone {
        /// The window.
        window: Window,
    },
    /// A run ended.
    RunFinished {
        /// How.
        status: RunStatus,
        /// The error's code and message, if it failed.
        error: Option<String>,
    },
}

/// What a stored result of a model was made from. Both texts belong to whoever computes models, and are compared, never read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Basis {
    /// The model and the states of all it read.
    pub read: String,
    /// The state of its own table since.
    pub own: String,
}

/// What a model's whole table measured after a run that computed it: later results are compared with it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Its rows.
    pub rows: u64,
    /// What its data tests measure of its columns, by names of the tests' own.
    #[serde(default, with = "numbers")]
    pub columns: BTreeMap<String, f64>,
    /// The run changed the table on purpose (a backfill, a whole refresh): what was measured before is no measure for it.
    #[serde(default)]
    pub begins_anew: bool,
}

/// Numbers as texts: an entry's tag is found by reading it twice, and JSON numbers with a fraction do not survive that where `serde_json` keeps
/// all their digits, which a dependency asks of it.
mod numbers {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(numbers: &BTreeMap<String, f64>, serializer: S) -> Result<S::Ok, S::Error> {
        numbers.iter().map(|(name, number)| (name, number.to_string())).collect::<BTreeMap<_, _>>().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, f64>, D::Error> {
        let texts = BTreeMap::<String, String>::deserialize(deserializer)?;
        texts.into_iter().map(|(name, text)| Ok((name, text.parse().map_err(D::Error::custom)?))).collect()
    }
}

/// Why rejected rows need nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Settlement {
    /// They were read again: they are in the table now, or the source has them no more.
    Replayed,
    /// Somebody decided to do without them.
    Dropped,
}

/// An entry with its place in the history.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// When it was appended.
    pub at: Timestamp,
    /// What happened.
    pub entry: Entry,
}

/// A run as lists show it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunOverview {
    /// The run's id.
    pub run: String,
    /// Its pipeline.
    pub pipeline: String,
    /// What was asked for.
    pub request: RunRequest,
    /// When it began.
    pub started_at: Timestamp,
    /// When its last entry was written.
    pub last_at: Timestamp,
    /// How it ended; None while it runs, or after a crash.
    pub status: Option<RunStatus>,
}

/// Remembers runs.
///
/// # Contract
/// - Entries are never changed or removed, and are read in the order they were appended.
/// - `append` is durable when it returns, and refuses an older epoch than the pipeline's newest with
///   [`FENCED`](crate::load::FENCED). All entries of one call are written, or none.
/// - `checkpoint`, `model_state`, `model_basis`, `measured`, `late_rows` and `windows_done` are what the entries say, never something apart.
#[async_trait]
pub trait Ledger: Debug + Send + Sync {
    /// Takes the pipeline's lease, fencing off a holder that is dead.
    ///
    /// # Errors
    /// [`LEASE`] naming the holder and since when, if it is alive.
    async fn acquire(&self, pipeline: &str) -> Result<Lease>;

    /// Gives the lease back.
    async fn release(&self, lease: Lease) -> Result<()>;

    /// Appends to a run's history.
    async fn append(&self, lease: &Lease, run: &str, entries: &[Entry]) -> Result<()>;

    /// A run's history.
    async fn entries(&self, run: &str) -> Result<Vec<Recorded>>;

    /// The latest runs, newest first; of one pipeline, or of all.
    async fn runs(&self, pipeline: Option<&str>, limit: usize) -> Result<Vec<RunOverview>>;

    /// How far the pipeline has read a table.
    async fn checkpoint(&self, pipeline: &str, table: &TableName) -> Result<Option<Checkpoint>>;

    /// The state a model was last computed for.
    async fn model_state(&self, pipeline: &str, table: &TableName) -> Result<Option<String>>;

    /// What a model's stored result was last made from.
    async fn model_basis(&self, pipeline: &str, table: &TableName) -> Result<Option<Basis>>;

    /// What the latest `runs_max` runs that computed a model measured of it, one measure a run, the newest first. The last one is the one that began
    /// anew, if it is among them.
    async fn measured(&self, pipeline: &str, table: &TableName, runs_max: usize) -> Result<Vec<Measured>>;

    /// How late rows of the table came in the latest `runs_max` runs that brought such rows, a measure for each.
    async fn late_rows(&self, pipeline: &str, table: &TableName, runs_max: usize) -> Result<Vec<LateRows>>;

    /// The windows that backfills of the pipeline completed.
    async fn windows_done(&self, pipeline: &str) -> Result<Vec<Window>>;
}
