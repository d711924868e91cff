//! Rejected rows: read again, or done without.
//!
//! ```text
//! replay    positions → source → landing → ledger: landed → lake (merge by key) → ledger: settled
//! drop      ledger: settled
//! ```
//! What is read again is the row as the source has it now, not as it was rejected: what the source corrected is right, what it deleted stays away, and
//! nothing that the contract protects has to be kept for this. A crash before the last entry repeats a merge by key, which changes nothing.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, OnceLock};

use super::report::{RunKind, RunRequest, RunStatus};
use super::{Engine, RunContext, RunState, SourceTable, new_run_id};
use crate::contract::CONTRACT;
use crate::error::{BUG, Error, Result};
use crate::extract::Request;
use crate::failpoint;
use crate::ledger::{Entry, Settlement};
use crate::load::{Layout, Mode};
use crate::name::TableName;

/// What became of rejected rows that were read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayReport {
    /// The run that read them.
    pub run: String,
    /// Rows that are in the table now.
    pub came_home: u64,
    /// Rows that still do not fit.
    pub still_rejected: u64,
    /// Rows that the source has no more.
    pub gone: u64,
}

impl Engine {
    /// Reads rejected rows of a table again, and brings those that fit now into the lake.
    ///
    /// # Errors
    /// [`CONTRACT`] if the table has no key, so that a row could come twice; what the source and the lake say.
    pub async fn replay(&self, table: &TableName, positions: &BTreeSet<String>, request: RunRequest) -> Result<ReplayReport> {
        self.in_a_run(request, async |context| self.replayed(context, table, positions).await).await
    }

    /// Records that nobody waits for these rejected rows any more.
    ///
    /// # Errors
    /// What the ledger says.
    pub async fn drop_rejected(&self, table: &TableName, positions: &BTreeSet<String>, request: RunRequest) -> Result<()> {
        self.in_a_run(request, async |context| self.settle(context, table, positions.iter().cloned().collect(), Settlement::Dropped).await)
            .await
    }

    /// Records that what a table promises was changed.
    ///
    /// # Errors
    /// What the ledger says.
    pub async fn schema_accepted(&self, table: &TableName, changes: Vec<String>, request: RunRequest) -> Result<()> {
        let entry = Entry::SchemaChanged { table: table.clone(), place: "contract".to_owned(), changes };
        self.in_a_run(request, async |context| self.append(context, &[entry]).await).await
    }

    /// Does some work under the lease, as a run of its own in the history.
    async fn in_a_run<T>(&self, request: RunRequest, work: impl AsyncFnOnce(&Arc<RunContext>) -> Result<T>) -> Result<T> {
        debug_assert!(matches!(request.kind, RunKind::Quarantine | RunKind::Schema), "not a run that reads by itself");
        let lease = self.lease().await?;
        let run = new_run_id();
        let context = Arc::new(RunContext {
            run: run.clone(),
            lease: lease.clone(),
            request: request.clone(),
            state: RunState::default(),
            readings: Mutex::default(),
            cut: OnceLock::new(),
            cut_now: OnceLock::new(),
            reports: Mutex::default(),
            warnings: Mutex::default(),
            away: Mutex::default(),
        });
        let result = async {
            self.append(&context, &[Entry::RunStarted { request }]).await?;
            let worked = work(&context).await;
            let (status, error) = match &worked {
                Ok(_) => (RunStatus::Done, None),
                Err(error) => (RunStatus::Failed, Some(format!("{}: {}", error.code().name, error.message()))),
            };
            self.append(&context, &[Entry::RunFinished { status, error }]).await?;
            worked
        }
        .await;
        let released = self.parts.ledger.release(lease).await;
        let result = result?;
        released?;
        Ok(result)
    }

    async fn replayed(&self, context: &Arc<RunContext>, table: &TableName, positions: &BTreeSet<String>) -> Result<ReplayReport> {
        let opened = self.parts.sources.open(&BTreeSet::from([table.clone()])).await?;
        let Some(source) = opened.into_iter().next() else {
            return Err(Error::new(&BUG, format!("table \"{table}\" was not opened")));
        };
        if source.extractor.contract().key.is_empty() {
            return Err(Error::new(&CONTRACT, format!("table \"{table}\" has no key, so a row that is read again could be there twice"))
                .hint(
                    "Declare its key in pipelines.toml, or read the whole table again with `pipeline run --full-refresh --only TABLE`.",
                ));
        }
        source.extractor.check().await?;
        // However many still do not fit: that is what this finds out.
        let source = SourceTable { rejected_share_max: 1.0, ..source };
        let step = format!("replay {table}");
        let read = self.with_retries(&step, || self.read_again(context, &source, &step, positions)).await;
        let finished = source.extractor.finish().await;
        let (came_home, still) = read?;
        finished?;
        failpoint::reached("replay.before_settled");
        let settled: Vec<String> = positions.iter().filter(|position| !still.contains(*position)).cloned().collect();
        let gone = (settled.len() as u64).saturating_sub(came_home);
        self.settle(context, table, settled, Settlement::Replayed).await?;
        Ok(ReplayReport { run: context.run.clone(), came_home, still_rejected: still.len() as u64, gone })
    }

    /// Reads and loads; gives how many rows fitted, and the positions of those that did not.
    async fn read_again(
        &self,
        context: &Arc<RunContext>,
        source: &SourceTable,
        step: &str,
        positions: &BTreeSet<String>,
    ) -> Result<(u64, HashSet<String>)> {
        let request = Request {
            window: None,
            rejected: Some(positions.iter().cloned().collect()),
            cut: None,
            lookback_us: 0,
            slices_wanted: self.settings.slices_in_flight_max,
        };
        let plan = source.extractor.plan(&request, None).await?;
        let extracted = self.land(context, source, step, plan, None, None, None).await?;
        let Some(snapshot) = extracted.snapshot else {
            return Err(Error::new(&BUG, format!("{step} landed nothing")));
        };
        let still = snapshot.rejected().await?.into_iter().map(|rejected| rejected.position).collect();
        let rows = snapshot.manifest().rows;
        if rows > 0 {
            let contract = source.extractor.contract();
            self.load(context, &self.parts.lake, step, &snapshot, contract, &Layout::default(), Mode::Merge).await?;
        }
        Ok((rows, still))
    }

    async fn settle(&self, context: &RunContext, table: &TableName, positions: Vec<String>, settlement: Settlement) -> Result<()> {
        if positions.is_empty() {
            return Ok(());
        }
        self.append(context, &[Entry::RejectedSettled { table: table.clone(), positions, settlement }]).await
    }
}
