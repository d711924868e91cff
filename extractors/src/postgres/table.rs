//! A database and its tables.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use pipeline_core::batch::BatchStream;
use pipeline_core::contract::Contract;
use pipeline_core::error::{BUG, Error, Result};
use pipeline_core::extract::{Checkpoint, ExtractPlan, Extractor, Request, Slice};
use pipeline_core::privacy::PrivacyKey;
use pipeline_core::quarantine::Quarantine;

use super::connection::Connections;
use super::copy::SourceColumn;
use super::options::{PostgresOptions, TableOptions};
use super::plan;
use super::read::{self, Reading};
use super::snapshot::{Snapshot, Snapshots};

/// A PostgreSQL database, shared by its tables. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PostgresSource {
    pub(super) connections: Arc<Connections>,
    pub(super) snapshots: Arc<Snapshots>,
}

impl PostgresSource {
    /// Reads the connection string and connects once, to see that it works.
    ///
    /// # Errors
    /// [`super::URL`], [`super::UNREACHABLE`], [`super::AUTH`], [`super::DATABASE`] or [`super::TLS`].
    pub async fn connect(options: &PostgresOptions) -> Result<Self> {
        let connections = Connections::new(options)?;
        connections.lend().await?.give_back();
        Ok(Self { connections, snapshots: Arc::default() })
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
        Box::new(PostgresTable { source: self.clone(), relation, contract, key, number, planned: Mutex::new(None) })
    }
}

/// What the last plan found out, which its slices need.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) columns: Vec<SourceColumn>,
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

    async fn plan(&self, request: &Request, after: Option<&Checkpoint>) -> Result<ExtractPlan> {
        plan::plan(self, request, after).await
    }

    async fn read(&self, slice: &Slice, quarantine: &Quarantine) -> Result<BatchStream> {
        let planned = self.planned.lock().expect("no holder of this lock panics").clone();
        let Some(Planned { snapshot, columns }) = planned else {
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
        read::read(reading, slice)
    }

    async fn finish(&self) -> Result<()> {
        // The table's own hold on the snapshot goes first, so that the last table can end it.
        drop(self.planned.lock().expect("no holder of this lock panics").take());
        if self.source.snapshots.finish(self.number).await {
            self.source.connections.close_idle().await;
        }
        Ok(())
    }
}
