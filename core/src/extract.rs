//! What a source owes the engine.

use std::fmt::Debug;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::batch::BatchStream;
use crate::contract::Contract;
use crate::error::Result;
use crate::probe::Probe;
use crate::quarantine::Quarantine;
use crate::window::{Timestamp, Window};

/// Reads one table of a source.
///
/// # Contract
/// - [`plan`](Self::plan) pins the upper bound *now*; `read` never decides it. So a slice read twice yields the same rows, and
///   the checkpoint is known before any row is read.
/// - The slices of a plan neither overlap nor leave a gap inside their window.
/// - `read` may be called for several slices at once. Dropping the returned stream stops its work at the source.
/// - A value that does not fit its declared column puts its row into the quarantine, raw, with the reason; it is never
///   changed or nulled. Privacy classes are applied before a batch leaves `read`.
/// - Batches follow `contract().schema()`, or `contract().changes_schema()` where the plan says [`ExtractPlan::is_changes`], and hold
///   at most a few MiB, so that the engine's budget can bound memory.
///
/// # One cut for all sources
/// Before the first plan of a run the engine asks every table for its [`cut`](Self::cut): from then on the source shows what it showed at
/// that moment, as far as it can, and what is newer than [`Request::cut`] (the earliest of all sources' cuts) waits for the next run. So an
/// order that is here has its payment here too, if it had one, whichever databases they are in.
///
/// # Capturing changes
/// A source that keeps a log of its changes can be read by it, and deletions arrive. One reading goes `prepare`, `plan`, `read`, `finish`,
/// the loads, the checkpoint's entry in the ledger, `committed`; a crash between any two is mended by beginning again at `prepare`:
/// - `prepare` makes the source keep its log from now on, before the first reading; so the first reading of the whole and the log join.
/// - The plan's checkpoint is a [`Cursor::Log`]. A plan that is not of changes reads the whole, which becomes the table.
/// - Changes hold at most one row for a key: the row as it is, or its key marked as deleted. Reading a change again is harmless.
/// - `committed` is called only with a checkpoint that the ledger holds: what lies before it the source may forget.
///
/// # Readings that are continued
/// A plan that is [`ExtractPlan::resumable_as`] something is written down, and each of its slices when it is landed. A later attempt, also one of another
/// process, asks [`resume`](Self::resume) and reads only what is missing. Its slices then show several moments, so the engine follows it by a
/// reading of what changed after the plan's checkpoint, which makes the table as it is now.
#[async_trait]
pub trait Extractor: Debug + Send + Sync {
    /// What the table promises.
    fn contract(&self) -> &Contract;

    /// Whether the table can be read: it is there, has what its contract declares, and may be looked at. Cheap, and reads
    /// metadata only. The engine asks every table before it reads the first one, so that a mistake in one changes nothing anywhere.
    async fn check(&self) -> Result<()>;

    /// Makes what the source needs before it is read for the first time (a place in its log, for example). Repeatable; not called
    /// where only a plan is wanted.
    async fn prepare(&self) -> Result<()> {
        Ok(())
    }

    /// Pins what the source shows in this run, the same for all its tables, and says what that is. None where nothing can be pinned.
    /// Called after `prepare` and before the first `plan` of a run; repeatable until `finish`.
    async fn cut(&self) -> Result<Option<SourceCut>> {
        Ok(None)
    }

    /// Cuts what is to be read into slices. Reads metadata and the log of changes only, and changes nothing at the source.
    ///
    /// `after` is where the last complete reading ended; None reads everything.
    async fn plan(&self, request: &Request, after: Option<&Checkpoint>) -> Result<ExtractPlan>;

    /// Whether a reading that was planned before, perhaps by another process, can be continued: its slices are still cut where rows stay, and
    /// what changes after its checkpoint can still be told. If so, slices are read as after `plan`. False begins anew.
    async fn resume(&self, _plan: &ExtractPlan) -> Result<bool> {
        Ok(false)
    }

    /// Streams one slice of a plan that this same extractor made, or agreed to resume.
    async fn read(&self, slice: &Slice, quarantine: &Quarantine) -> Result<BatchStream>;

    /// Lets go of what the plan held open at the source (an exported snapshot, for example). Called once after all slices.
    async fn finish(&self) -> Result<()> {
        Ok(())
    }

    /// Says that the checkpoint is stored and every load that depends on it is committed, so that the source may forget what lies
    /// before. Repeatable; after a crash it is not called, and the next reading's call makes up for it.
    async fn committed(&self, _checkpoint: &Checkpoint) -> Result<()> {
        Ok(())
    }

    /// What somebody who runs the source should know: how much of its log it keeps for this table, for example, and whether the next reading can
    /// go on from `after`. A probe that is not `ok` says that it cannot, or soon will not.
    async fn health(&self, _after: Option<&Checkpoint>) -> Result<Vec<Probe>> {
        Ok(Vec::new())
    }
}

/// What a reading shall cover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Only rows whose cursor lies in this window; None: everything after the checkpoint.
    pub window: Option<Window>,
    /// Only rows that earlier readings rejected, by the positions that they were rejected at, as they are now; those that are gone are left out. No
    /// checkpoint moves.
    pub rejected: Option<Vec<String>>,
    /// Rows whose cursor is a time after this, but not after the source's own time, wait for the next run. None: nothing waits.
    pub cut: Option<Timestamp>,
    /// How far before the checkpoint to read again, so that rows which became visible late still arrive. Microseconds.
    pub lookback_us: i64,
    /// How many slices can be read at once.
    pub slices_wanted: usize,
}

/// What a source shows in one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceCut {
    /// The place in the source's history, in a spelling of its own: a position in its log, a cluster time.
    pub place: String,
    /// The same by the source's clock: what was committed before is shown.
    pub at: Timestamp,
}

/// How far a table has been read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Everything up to here was read.
    pub upper: Cursor,
    /// What the source was at that time (a file's length and checksum, for example): the same fingerprint again means that
    /// nothing changed. None where the cursor tells.
    pub fingerprint: Option<String>,
}

/// A position in a table that only grows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cursor {
    /// The table has no order: every reading is of the whole.
    Whole,
    /// A number.
    Number(i64),
    /// An instant.
    Time(Timestamp),
    /// A place in the source's log of changes, in a spelling of the source's own whose later places compare greater.
    Log(String),
}

/// What a reading will do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExtractPlan {
    /// The parts, each for one worker. None when nothing is to be read, and what is there stays as it is: a table that is read whole and has no rows
    /// has a slice without rows.
    pub slices: Vec<Slice>,
    /// The checkpoint that holds once all slices are loaded; None when a fixed window is read, which moves no checkpoint.
    pub checkpoint: Option<Checkpoint>,
    /// Whether the slices give changes ([`Contract::changes_schema`]) instead of rows.
    pub is_changes: bool,
    /// Whether slices that are read at different times can be put together, once what changed after the checkpoint is read behind them: each is a
    /// range of something that no row ever changes, or whose changes the next reading tells. Places of rows are not.
    ///
    /// If so, what the slices depend on beside the contract (the place they are read from, the form in which values are sent, the privacy key) as a digest
    /// of the source's own: a reading is continued only where it is the same. None begins anew.
    #[serde(default)]
    pub resumable_as: Option<String>,
    /// Rows to come, as far as the source can tell without reading.
    pub rows_estimated: Option<u64>,
    /// Why there is nothing to read, or what is read, in words for `plan` (for example "rows changed since 2025-03-01 02:00 UTC").
    pub summary: String,
    /// The statement or file that will be read, for `plan`, without secrets.
    pub statement: String,
}

/// A part of a table read by one worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Slice {
    /// Its position among the slices of its plan, from 0.
    pub index: u32,
    /// What it covers, in words.
    pub summary: String,
    /// What its source needs to read it.
    pub range: serde_json::Value,
}
