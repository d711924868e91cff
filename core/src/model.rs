//! What the model engine owes the run loop.

use std::collections::BTreeSet;
use std::fmt::{self, Debug};

use async_trait::async_trait;

use crate::batch::BatchStream;
use crate::contract::Contract;
use crate::error::Result;
use crate::ledger::{Basis, Measured};
use crate::load::Layout;
use crate::name::{ColumnName, TableName};
use crate::window::Timestamp;

/// One model as the run loop sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelNode {
    /// What it makes and promises.
    pub contract: Contract,
    /// The tables it reads: models and extracted tables.
    pub inputs: Vec<TableName>,
    /// Those of them that are stored, and in the place of views the stored tables that these read.
    pub stored: Vec<TableName>,
    /// Whether it is a view: not stored, and tested only.
    pub is_view: bool,
    /// Whether its statement reads its own former result, so that nothing else can make that again.
    pub keeps_former: bool,
    /// Changes exactly when the statement, the contract or the parameters change.
    pub digest: String,
    /// Whether the result depends on the as-of instant.
    pub uses_as_of: bool,
    /// The columns whose values tell one unit of recomputation from another, if the model is incremental.
    pub incremental_by: Option<Vec<ColumnName>>,
    /// Hints for warehouses.
    pub layout: Layout,
    /// The model whose published form this one is: destinations other than the lake have it under that name, and not the other.
    pub published_form_of: Option<TableName>,
}

impl ModelNode {
    /// The table that destinations other than the lake have it as.
    #[must_use]
    pub fn published_table(&self) -> &TableName {
        self.published_form_of.as_ref().unwrap_or(&self.contract.table)
    }

    /// The contract that destinations other than the lake are given.
    #[must_use]
    pub fn published_contract(&self) -> Contract {
        Contract { table: self.published_table().clone(), ..self.contract.clone() }
    }
}

/// How many former runs a result is compared with.
pub const FORMER_RUNS_MAX: usize = 30;

/// What data tests hold a result against, beside itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Standard {
    /// What former runs measured of the model, the newest first; empty if this run is not to be compared with them.
    pub former: Vec<Measured>,
    /// The run brings rows of a time that is past, so that nobody expects its newest ones to be fresh.
    pub is_of_the_past: bool,
}

/// What computing a model gave.
#[derive(Debug)]
pub struct Computed {
    /// The changes against the table as it stands ([`Contract::changes_schema`]); empty if nothing changed.
    pub changes: BatchStream,
    /// Rows that were computed: of the whole result, or of the units that were computed anew.
    pub rows: u64,
    /// Warnings of data tests, in words.
    pub warnings: Vec<String>,
    /// What the whole table measures once the changes are in it.
    pub measured: Measured,
    /// What was read, for [`Basis::read`].
    pub read: String,
    /// How it was computed, in words; empty if there is nothing to say.
    pub note: String,
}

impl ModelNode {
    /// Everything that has to be there before it is made: what its statement names, and what views read that it names.
    #[must_use]
    pub fn reads(&self) -> Vec<TableName> {
        let all: BTreeSet<&TableName> = self.inputs.iter().chain(&self.stored).collect();
        all.into_iter().cloned().collect()
    }
}

/// Why a result says nothing of what the next one would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whole {
    /// There is none, or nothing is recorded of it.
    NoResult,
    /// Another version of the program made it.
    OtherProgram,
    /// The model's statement, contract or parameters are others.
    OtherModel,
    /// Somebody else changed its table.
    OtherTable,
    /// The model has no units.
    NoUnits,
}

impl fmt::Display for Whole {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NoResult => "there is no earlier result to go on from",
            Self::OtherProgram => "another version of the program made the table",
            Self::OtherModel => "its statement, contract or parameters changed",
            Self::OtherTable => "its table was changed from outside",
            Self::NoUnits => "its contract names no units",
        })
    }
}

/// Computes models over the lake.
///
/// # Contract
/// - `compute` sees the lake's tables as they stand when it is called, checks the result against contract and data tests
///   before it returns, and writes nothing that a reader can see. It may be called again after a crash.
/// - With a basis, only what depends on the difference between then and now may be computed; the changes are the same as without.
///   A basis that does not hold any more is no error: the model is computed whole.
/// - A view has no changes: what it shows is checked, and that is all.
/// - Models are called in the order of their dependencies; independent ones may run at once.
#[async_trait]
pub trait Models: Debug + Send + Sync {
    /// Every model, each after those it reads.
    fn nodes(&self) -> &[ModelNode];

    /// Finds, without any row, what would keep one of these models from being made. A run asks before it reads anything.
    async fn check(&self, made: &BTreeSet<TableName>) -> Result<()>;

    /// Computes one model as of an instant, compares it with what the lake holds, and holds it against a standard.
    async fn compute(&self, table: &TableName, as_of: Timestamp, since: Option<&Basis>, standard: &Standard) -> Result<Computed>;

    /// Why a model would be computed whole, as far as the record of its last result tells; None if only touched units would be, or if it has none.
    async fn whole_because(&self, table: &TableName, since: Option<&Basis>) -> Result<Option<Whole>>;

    /// Asks those data tests of a stored result that time alone can make fail, and gives the warnings.
    ///
    /// # Errors
    /// As `compute` has them for a result that fails tests.
    async fn still_holds(&self, table: &TableName, as_of: Timestamp) -> Result<Vec<String>>;

    /// Names the state of a table in the lake, as [`Basis::own`] keeps it; None if there is no such table yet.
    async fn state(&self, table: &TableName) -> Result<Option<String>>;

    /// The whole table as the lake holds it, by its contract's schema, for a destination that has to start over.
    async fn export(&self, table: &TableName) -> Result<BatchStream>;
}
