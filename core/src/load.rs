//! What a destination owes the engine.

use std::fmt::{self, Debug};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::contract::Contract;
use crate::error::{Code, ErrorKind, Result};
use crate::landing::Snapshot;
use crate::late::LateRows;
use crate::name::{ColumnName, TableName};

/// A newer load of the table stands in the destination.
pub static FENCED: Code = Code {
    name: "E-FENCED",
    kind: ErrorKind::Conflict,
    meaning: "The destination already holds a newer load of this table: this process was overtaken by another run.",
    remedy: "Nothing is lost: the newer run has published. Look at `pipeline history` for it, then run again.",
};

/// A model that keeps what former runs made has lost it in the lake, and a destination still has it.
pub static FORMER_LOST: Code = Code {
    name: "E-FORMER-LOST",
    kind: ErrorKind::Conflict,
    meaning: "The lake has lost a table that only former runs could make (offers that were granted, states of customers), and a destination still has it. \
              Made anew it would begin with nothing, and would take the destination's place.",
    remedy: "Bring the lake's table back, from a copy or from the destination. To begin anew on purpose: `pipeline run --full-refresh --only MODEL`.",
};

/// The table in the destination and its contract differ in a way that loses data.
pub static SCHEMA_CHANGE: Code = Code {
    name: "E-SCHEMA",
    kind: ErrorKind::Data,
    meaning: "A table in a destination and its contract differ in a way that could lose data, so nothing was changed.",
    remedy: "Keep the wider type in the contract, or drop the table in the destination and run with --full-refresh.",
};

/// Names one load for ever: a retry keeps it, a new load takes the next revision.
///
/// The destination stores it in the same transaction as the data. A revision lower than the stored one is refused
/// ([`FENCED`]), an equal one with the same digest has been done already.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LoadId {
    /// The pipeline that loads.
    pub pipeline: String,
    /// The table that is loaded.
    pub table: TableName,
    /// Counts the loads of this table by this pipeline, from 1.
    pub revision: i64,
    /// SHA-256 over the snapshot's parts, so that two different loads never pass for one.
    pub digest: String,
}

impl fmt::Display for LoadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short: String = self.digest.chars().take(12).collect();
        write!(f, "{}/{}/{}/{short}", self.pipeline, self.table, self.revision)
    }
}

/// How a snapshot's rows enter the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The rows become the table. Of rows with one key, the one that [`Mode::Merge`] would keep; models have no others.
    Replace,
    /// Rows are added. For tables without a key.
    Append,
    /// Rows replace those of the same key, unless the stored row's cursor is newer; other rows are added. Within the
    /// snapshot the greatest cursor wins, then the later row.
    Merge,
    /// The snapshot is a set of changes ([`Contract::changes_schema`]): rows replace those of the same key or are added,
    /// rows marked `_deleted` remove theirs. Valid only on top of the revision it was computed from. Even an empty set
    /// moves the marker.
    Changes,
}

/// One load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Its name.
    pub id: LoadId,
    /// The run it belongs to, for people and marker rows.
    pub run: String,
    /// How the rows enter.
    pub mode: Mode,
    /// For [`Mode::Changes`]: the revision the changes were computed from. The destination must stand at exactly it; None
    /// means that the table was never loaded.
    pub base: Option<i64>,
    /// What the table promises.
    pub contract: Contract,
    /// What the destination is told beyond the contract.
    pub layout: Layout,
}

/// A model's hints for a warehouse.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Layout {
    /// How rows are spread over a cluster.
    pub distribution: Distribution,
    /// The columns rows are sorted by.
    pub sort: Vec<ColumnName>,
}

/// How rows are spread over a cluster's nodes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Distribution {
    /// The warehouse decides.
    #[default]
    Auto,
    /// Round robin.
    Even,
    /// A copy on every node.
    All,
    /// By a column's value.
    Key(ColumnName),
}

/// What a destination holds of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// The last load that was committed.
    pub revision: i64,
    /// Its digest, or as much of it as the destination stores.
    pub digest: String,
}

/// A change that preparing a table will make or made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// `+` made, `~` altered, `-` dropped.
    pub sign: char,
    /// What, in words: `table marts.orders (31 columns)`.
    pub what: String,
    /// The statement, where there is one.
    pub statement: Option<String>,
}

/// Rows brought to the destination, not yet visible.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Staged {
    /// The load.
    pub load: Load,
    /// Where the snapshot's manifest lies in the landing.
    pub snapshot: String,
    /// What the loader needs to publish it.
    pub detail: serde_json::Value,
}

/// Proof that a load is committed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The load.
    pub id: LoadId,
    /// Rows added or replaced.
    pub rows_written: u64,
    /// Rows removed.
    pub rows_deleted: u64,
    /// Rows that were already there with the same values, and were not touched.
    pub rows_unchanged: u64,
    /// Rows that moved although their cursor lies at or before the checkpoint that the reading went on from, where the destination looks.
    #[serde(default)]
    pub late: LateRows,
    /// Whether an earlier attempt had committed it already.
    pub was_there: bool,
    /// What people like to know: statement ids, versions, durations.
    pub detail: serde_json::Value,
}

/// Brings snapshots into one destination.
///
/// # Contract
/// - `prepare`, `stage` and `publish` of one table are called one after the other; those of different tables at once.
/// - `stage` changes nothing a reader can see. `publish` is one transaction that writes the load's [`Marker`] together with
///   the data: readers see none or all of it.
/// - `publish` may be called any number of times for one [`LoadId`] with the effect of one; it looks for the marker first and
///   returns a receipt with `was_there`. A lower revision than the stored one is [`FENCED`].
/// - `discard` removes what `stage` left, and may be repeated.
/// - A crash between any two calls is mended by calling again.
#[async_trait]
pub trait Loader: Debug + Send + Sync {
    /// The destination's name in configuration and reports.
    fn name(&self) -> &str;

    /// What the destination holds of the table; None if it was never loaded by this pipeline.
    async fn marker(&self, pipeline: &str, table: &TableName) -> Result<Option<Marker>>;

    /// Compares the table with its contract. Reads only.
    ///
    /// # Errors
    /// [`SCHEMA_CHANGE`] when only a loss would make them agree.
    async fn compare(&self, contract: &Contract, layout: &Layout) -> Result<Vec<Change>>;

    /// Makes or widens the table so that it fits the contract. Repeatable.
    async fn prepare(&self, contract: &Contract, layout: &Layout) -> Result<Vec<Change>>;

    /// Brings the rows near, invisibly.
    async fn stage(&self, load: &Load, snapshot: &Snapshot) -> Result<Staged>;

    /// Makes them visible, once.
    async fn publish(&self, staged: &Staged) -> Result<Receipt>;

    /// Removes what staging left.
    async fn discard(&self, staged: &Staged) -> Result<()>;

    /// What `publish` would do, as statements, for `plan`. Reads nothing.
    fn describe(&self, load: &Load) -> Vec<String>;
}
