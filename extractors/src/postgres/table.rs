//! A database and its tables.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use pipeline_core::batch::BatchStream;
use pipeline_core::contract::Contract;
use pipeline_core::error::{BUG, Error, Result};
use pipeline_core::extract::{Checkpoint, ExtractPlan, Extractor, Request, Slice, SourceCut};
use pipeline_core::privacy::PrivacyKey;
use pipeline_core::probe::Probe;
use pipeline_core::quarantine::Quarantine;

use super::connection::Connections;
use super::copy::SourceColumn;
use super::log::{self, CaptureOptions, Chunk};
use super::options::{PostgresOptions, TableOptions};
use super::plan;
use super::read::{self, Reading};
use super::snapshot::{Snapshot, Snapshots};
use super::transactions;

/// A PostgreSQL database, shared by its tables. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PostgresSource {
    pub(super) connections: Arc<Connections>,
    pub(super) snapshots: Arc<Snapshots>,
    pub(super) capture: Option<Arc<Capture>>,
}

/// How a source's changes are captured, and for which tables.
#[derive(Debug)]
pub(super) struct Capture {
    pub(super) options: CaptureOptions,
    /// Where keys of changed rows go that memory does not hold.
    pub(super) work: PathBuf,
    /// The slots of the tables that are open.
    wanted: Mutex<BTreeSet<String>>,
    /// Those that are known to be there.
    ready: tokio::sync::Mutex<BTreeSet<String>>,
}

impl Capture {
    fn want(&self, slot: &str) {
        self.wanted.lock().expect("no holder of this lock panics").insert(slot.to_owned());
    }

    /// Makes the slots of all tables before the first of them is read: the snapshot that they share must be younger than every slot.
    async fn prepare(&self, connections: &Arc<Connections>) -> Result<()> {
        let wanted = self.wanted.lock().expect("no holder of this lock panics").clone();
        let mut ready = self.ready.lock().await;
        for slot in wanted {
            if !ready.contains(&slot) {
                log::prepare(connections, &slot, &self.options).await?;
                ready.insert(slot);
            }
        }
        Ok(())
    }
}

impl PostgresSource {
    /// Reads the connection string and connects once, to see that it works.
    ///
    /// # Errors
    /// [`super::URL`], [`super::UNREACHABLE`], [`super::AUTH`], [`super::DATABASE`] or [`super::TLS`].
    pub async fn connect(options: &PostgresOptions) -> Result<Self> {
        let connections = Connections::new(options)?;
        connections.check_session().await?;
        connections.lend().await?.give_back();
        let capture = options.capture.clone().map(|capture| {
            let work = options.work.clone();
            Arc::new(Capture { options: capture, work, wanted: Mutex::default(), ready: tokio::sync::Mutex::default() })
        });
        Ok(Self { connections, snapshots: Arc::default(), capture })
    }

    /// The server's version, such as `15.14`.
    ///
    /// # Errors
    /// If the server does not answer.
    pub async fn server_version(&self) -> Result<String> {
        let mut lent = self.connections.lend().await?;
        let rows = self
            .connections
            .rows(&mut lent.connection, "SHOW server_version", "the PostgreSQL server could not be asked for its version")
            .await?;
        lent.give_back();
        Ok(rows.into_iter().flatten().flatten().next().unwrap_or_default())
    }

    /// Opens a table. Whether the relation exists, and has the columns, is asked when it is planned.
    #[must_use]
    pub fn table(&self, contract: Contract, table: &TableOptions, key: Option<PrivacyKey>) -> Box<dyn Extractor> {
        let relation = table.relation.clone().unwrap_or_else(|| contract.table.table().to_owned());
        let number = self.snapshots.join();
        let slot = self.capture.as_ref().filter(|_| !table.by_cursor).map(|capture| {
            let slot = log::name(&capture.options, &contract.table);
            capture.want(&slot);
            slot
        });
        Box::new(PostgresTable { source: self.clone(), relation, contract, key, number, slot, planned: Mutex::new(None) })
    }
}

/// What the range of a slice of changes calls the place of its chunk.
pub(super) const CHUNK: &str = "chunk";

/// What the last plan found out, which its slices need.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) columns: Vec<SourceColumn>,
    /// What each slice reads, if they are changes.
    pub(super) chunks: Arc<Vec<Chunk>>,
}

/// A table of a database.
#[derive(Debug)]
pub(super) struct PostgresTable {
    pub(super) source: PostgresSource,
    /// The relation's name as configured.
    pub(super) relation: String,
    pub(super) contract: Contract,
    pub(super) key: Option<PrivacyKey>,
    /// The table's number among those of its source.
    pub(super) number: usize,
    /// The slot that its changes are captured with, if they are.
    pub(super) slot: Option<String>,
    pub(super) planned: Mutex<Option<Planned>>,
}

impl Drop for PostgresTable {
    fn drop(&mut self) {
        self.source.snapshots.leave(self.number);
    }
}

#[async_trait]
impl Extractor for PostgresTable {
    fn contract(&self) -> &Contract {
        &self.contract
    }

    async fn check(&self) -> Result<()> {
        plan::check(self).await
    }

    async fn prepare(&self) -> Result<()> {
        match self.source.capture.as_ref().filter(|_| self.slot.is_some()) {
            Some(capture) => capture.prepare(&self.source.connections).await,
            None => Ok(()),
        }
    }

    async fn cut(&self) -> Result<Option<SourceCut>> {
        let snapshot = self.source.snapshots.current(&self.source.connections, self.number).await?;
        Ok(Some(snapshot.cut.clone()))
    }

    async fn plan(&self, request: &Request, after: Option<&Checkpoint>) -> Result<ExtractPlan> {
        plan::plan(self, request, after).await
    }

    async fn resume(&self, plan: &ExtractPlan) -> Result<bool> {
        plan::resume(self, plan).await
    }

    async fn read(&self, slice: &Slice, quarantine: &Quarantine) -> Result<BatchStream> {
        let planned = self.planned.lock().expect("no holder of this lock panics").clone();
        let Some(Planned { snapshot, columns, chunks }) = planned else {
            return Err(Error::new(&BUG, format!("a slice of table \"{}\" is read before it is planned", self.contract.table)));
        };
        let reading = Reading {
            connections: Arc::clone(&self.source.connections),
            snapshot,
            columns,
            relation: self.relation.clone(),
            contract: self.contract.clone(),
            key: self.key.clone(),
            quarantine: quarantine.clone(),
        };
        match slice.range.get(CHUNK).and_then(serde_json::Value::as_u64) {
            Some(place) => {
                let chunk = usize::try_from(place).ok().and_then(|place| chunks.get(place)).cloned();
                let chunk = chunk.ok_or_else(|| Error::new(&BUG, "a slice of a table holds a range that no plan made"))?;
                let name = reading.snapshot.name.clone();
                log::read(reading, name, chunk, slice)
            }
            None => read::read(reading, slice),
        }
    }

    async fn finish(&self) -> Result<()> {
        // The table's own hold on the snapshot goes first, so that the last table can end it.
        drop(self.planned.lock().expect("no holder of this lock panics").take());
        if self.source.snapshots.finish(self.number).await {
            self.source.connections.close_idle().await;
        }
        Ok(())
    }

    async fn committed(&self, checkpoint: &Checkpoint) -> Result<()> {
        match &self.slot {
            Some(slot) => log::committed(&self.source.connections, slot, checkpoint).await,
            None => Ok(()),
        }
    }

    async fn health(&self, after: Option<&Checkpoint>) -> Result<Vec<Probe>> {
        let mut probes = match &self.slot {
            Some(slot) => log::health(&self.source.connections, slot, &self.contract.table, after).await?,
            None => Vec::new(),
        };
        if self.contract.cursor.is_some() && self.slot.is_none() {
            probes.extend(transactions::health(&self.source.connections).await?);
        }
        Ok(probes)
    }
}
