//! The lake: one Delta table for each table and model, in a folder or a bucket.
//!
//! A publication is one Delta commit. It carries two application transactions (Delta protocol, "Transaction Identifiers"): the
//! load's revision, and 63 bits of its digest. They outlive the clean-up of old log files, so the table itself always knows
//! what was loaded last. A commit is a put-if-absent of the next log file, on S3 as on disk.
//!
//! What a load holds in memory is one piece of it, or its keys: see `stage` and `publish`. `maintain` sums up small files.
//!
//! Tables are not cut into folders: files hold all columns and are pruned by their statistics. What `stage` prepares is a
//! file in the work folder that no reader sees.

mod as_of_run;
mod codes;
mod difference;
mod history;
mod maintain;
mod publish;
mod schema;
mod stage;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::prelude::SessionContext;
use deltalake::delta_datafusion::DeltaSessionContext;
use deltalake::logstore::{LogStoreFactory, LogStoreRef, ObjectStoreRef, StorageConfig, default_logstore, logstore_factories};
use deltalake::{DeltaTable, DeltaTableBuilder, DeltaTableError};
use object_store::ObjectStore;
use pipeline_core::contract::Contract;
use pipeline_core::error::{Error, Result};
use pipeline_core::landing::Snapshot;
use pipeline_core::load::{Change, Layout, Load, Loader, Marker, Receipt, Staged};
use pipeline_core::name::TableName;
use pipeline_core::turns::Turns;
use url::Url;

pub use codes::{CODES, LAKE, LAKE_DENIED, LAKE_HISTORY, LAKE_KEY, LAKE_MEMORY};
pub use difference::{LakeFile, PinnedFiles, Side};
pub use history::Commit;

use codes::delta_error;

/// Rows of a batch: few enough that rows of several kilobytes do not fill the memory before anything is counted.
const BATCH_ROWS: usize = 1024;

/// How many of the largest consumers the engine names when memory runs out.
const CONSUMERS_NAMED: std::num::NonZeroUsize = std::num::NonZeroUsize::new(8).expect("8 is not zero");

/// What a lake needs.
#[derive(Debug, Clone)]
pub struct LakeOptions {
    /// Where it is: `file:///folder/` or `s3://bucket/prefix/`, with a slash at its end.
    pub url: Url,
    /// The store whose root is the URL's root.
    pub store: Arc<dyn ObjectStore>,
    /// A local folder for what is staged and for spilling.
    pub work: PathBuf,
    /// Memory of one load's comparison and merge.
    pub memory_limit_bytes: usize,
    /// Threads of one load.
    pub threads: usize,
}

/// The lake.
#[derive(Debug)]
pub struct Lake {
    options: LakeOptions,
    runtime: Arc<RuntimeEnv>,
    turns: Turns,
}

impl Lake {
    /// Opens the lake. Touches nothing yet but the work folder.
    ///
    /// # Errors
    /// [`LAKE`] if the work folder cannot be made.
    pub fn open(options: LakeOptions) -> Result<Self> {
        let buckets = Url::parse("s3://").expect("the address is fixed and valid");
        logstore_factories().entry(buckets).or_insert_with(|| Arc::new(BucketLogs));
        std::fs::create_dir_all(&options.work).map_err(|error| {
            Error::new(&LAKE, format!("work folder \"{}\" could not be made", options.work.display())).caused_by(error.kind())
        })?;
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(TrackConsumersPool::new(FairSpillPool::new(options.memory_limit_bytes), CONSUMERS_NAMED)))
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Directories(vec![options.work.clone()])))
            .build_arc()
            .map_err(|_| Error::new(&LAKE, format!("work folder \"{}\" cannot be used", options.work.display())))?;
        runtime.register_object_store(&options.url, Arc::clone(&options.store));
        Ok(Self { options, runtime, turns: Turns::default() })
    }

    /// The store and the URL it is registered for, so that other sessions can read the providers' files.
    #[must_use]
    pub fn store(&self) -> (Url, Arc<dyn ObjectStore>) {
        (self.options.url.clone(), Arc::clone(&self.options.store))
    }

    fn session(&self) -> SessionContext {
        // The library's session brings the planners that its commits need; only its sizes are ours.
        let session = DeltaSessionContext::with_runtime_env(Arc::clone(&self.runtime)).into_inner();
        {
            let state = session.state_ref();
            let mut state = state.write();
            *state.config_mut() = state.config().clone().with_batch_size(BATCH_ROWS);
            let options = state.config_mut().options_mut();
            options.execution.target_partitions = self.options.threads.max(1);
            // The lake hands out plain strings: what models and warehouses are declared in.
            options.execution.parquet.schema_force_view_types = false;
        }
        session
    }

    fn url(&self, table: &TableName) -> Result<Url> {
        self.options
            .url
            .join(&format!("{}/{}/", table.schema(), table.table()))
            .map_err(|_| Error::new(&LAKE, format!("lake table \"{table}\" has no place in \"{}\"", self.options.url)))
    }

    fn handle(&self, table: &TableName) -> Result<DeltaTable> {
        DeltaTableBuilder::from_url(self.url(table)?)
            .map(|builder| {
                builder.with_storage_backend(Arc::clone(&self.options.store), self.url(table).unwrap_or_else(|_| self.options.url.clone()))
            })
            .and_then(DeltaTableBuilder::build)
            .map_err(|error| delta_error(&format!("lake table \"{table}\" could not be opened"), &error))
    }

    /// The table at its newest version; None if it was never made.
    async fn table(&self, name: &TableName) -> Result<Option<DeltaTable>> {
        let failed = |error: DeltaTableError| delta_error(&format!("lake table \"{name}\" could not be read"), &error);
        let mut table = self.handle(name)?;
        if !table.verify_deltatable_existence().await.map_err(failed)? {
            return Ok(None);
        }
        table.load().await.map_err(failed)?;
        Ok(Some(table))
    }

    async fn provider_of(&self, table: &DeltaTable, name: &TableName) -> Result<Arc<dyn TableProvider>> {
        let session = self.session();
        let failed = |error: DeltaTableError| delta_error(&format!("lake table \"{name}\" could not be read"), &error);
        table.update_datafusion_session(&session.state()).map_err(failed)?;
        let provider = table.table_provider().with_session(Arc::new(session.state())).build().await;
        let provider = provider.map_err(|error| codes::query_error(&format!("lake table \"{name}\" could not be read"), error))?;
        Ok(Arc::new(provider))
    }

    /// The table as a query engine reads it, at its newest version; None if it was never made.
    ///
    /// # Errors
    /// [`LAKE`] and kin.
    pub async fn provider(&self, name: &TableName) -> Result<Option<Arc<dyn TableProvider>>> {
        match self.table(name).await? {
            Some(table) => Ok(Some(self.provider_of(&table, name).await?)),
            None => Ok(None),
        }
    }

    /// The table's Delta version; None if it was never made.
    ///
    /// # Errors
    /// [`LAKE`] and kin.
    pub async fn version(&self, name: &TableName) -> Result<Option<u64>> {
        Ok(self.table(name).await?.and_then(|table| table.version()))
    }

    async fn marker_of(&self, table: &DeltaTable, pipeline: &str, name: &TableName) -> Result<Option<Marker>> {
        let failed = |error: DeltaTableError| delta_error(&format!("lake table \"{name}\" could not be read"), &error);
        let state = table.snapshot().map_err(failed)?;
        let log = table.log_store();
        let Some(revision) = state.transaction_version(log.as_ref(), revision_id(pipeline)).await.map_err(failed)? else { return Ok(None) };
        let digest = state.transaction_version(log.as_ref(), digest_id(pipeline)).await.map_err(failed)?.unwrap_or(0);
        Ok(Some(Marker { revision, digest: digest_head(digest) }))
    }
}

fn revision_id(pipeline: &str) -> String {
    format!("pipeline:{pipeline}")
}

fn digest_id(pipeline: &str) -> String {
    format!("pipeline:{pipeline}:digest")
}

/// The part of a digest that fits an application transaction's version: 63 bits, as the Delta log's signed integer.
fn digest_bits(digest: &str) -> i64 {
    let head: String = digest.chars().take(16).collect();
    i64::try_from(u64::from_str_radix(&head, 16).unwrap_or(0) >> 1).unwrap_or(0)
}

/// The digits of a digest that its bits tell whole.
fn digest_head(bits: i64) -> String {
    format!("{:015x}", bits >> 3)
}

#[async_trait]
impl Loader for Lake {
    fn name(&self) -> &str {
        "lake"
    }

    async fn marker(&self, pipeline: &str, table: &TableName) -> Result<Option<Marker>> {
        match self.table(table).await? {
            Some(found) => self.marker_of(&found, pipeline, table).await,
            None => Ok(None),
        }
    }

    async fn compare(&self, contract: &Contract, _layout: &Layout) -> Result<Vec<Change>> {
        schema::compare(self.table(&contract.table).await?.as_ref(), contract)
    }

    async fn prepare(&self, contract: &Contract, _layout: &Layout) -> Result<Vec<Change>> {
        let table = self.table(&contract.table).await?;
        let changes = schema::compare(table.as_ref(), contract)?;
        match table {
            None => schema::create(self.handle(&contract.table)?, contract).await?,
            Some(table) if !changes.is_empty() => schema::widen(self, table, contract).await?,
            Some(_) => {}
        }
        Ok(changes)
    }

    async fn stage(&self, load: &Load, snapshot: &Snapshot) -> Result<Staged> {
        let turn = self.turns.beside_others().await;
        match Box::pin(stage::stage(self, load, snapshot)).await {
            Err(error) if error.code() == &LAKE_MEMORY => {
                drop(turn);
                let _turn = self.turns.alone().await;
                Box::pin(stage::stage(self, load, snapshot)).await
            }
            staged => staged,
        }
    }

    async fn publish(&self, staged: &Staged) -> Result<Receipt> {
        let turn = self.turns.beside_others().await;
        match Box::pin(publish::publish(self, staged)).await {
            Err(error) if error.code() == &LAKE_MEMORY => {
                drop(turn);
                let _turn = self.turns.alone().await;
                Box::pin(publish::publish(self, staged)).await
            }
            receipt => receipt,
        }
    }

    async fn discard(&self, staged: &Staged) -> Result<()> {
        stage::discard(staged)
    }

    fn describe(&self, load: &Load) -> Vec<String> {
        let keys: Vec<&str> = load.contract.key.iter().map(pipeline_core::name::ColumnName::as_str).collect();
        let what = match load.mode {
            pipeline_core::load::Mode::Replace => "replace all rows".to_owned(),
            pipeline_core::load::Mode::Append => "append rows".to_owned(),
            pipeline_core::load::Mode::Merge | pipeline_core::load::Mode::Changes => format!("merge by ({})", keys.join(", ")),
        };
        vec![format!("-- one Delta commit, revision {}: {what}", load.id.revision)]
    }
}

/// Logs of tables in buckets. The library by itself knows those on disk; a bucket that puts only what is not there yet, as S3
/// does since 2024, keeps a log by the very same protocol.
#[derive(Debug)]
struct BucketLogs;

impl LogStoreFactory for BucketLogs {
    fn with_options(
        &self,
        prefixed_store: ObjectStoreRef,
        root_store: ObjectStoreRef,
        location: &Url,
        options: &StorageConfig,
    ) -> Result<LogStoreRef, DeltaTableError> {
        Ok(default_logstore(prefixed_store, root_store, location, options))
    }
}

/// Under which key a commit carries its run.
const RUN_KEY: &str = "pipeline.run";

/// What commits are told beyond their actions.
fn commit_metadata(load: &Load) -> HashMap<String, serde_json::Value> {
    HashMap::from([
        (RUN_KEY.to_owned(), serde_json::Value::String(load.run.clone())),
        ("pipeline.load".to_owned(), serde_json::Value::String(load.id.to_string())),
    ])
}

#[cfg(test)]
mod limits_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod types_tests;
