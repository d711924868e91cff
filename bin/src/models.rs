//! The models of a project over its lake.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use pipeline_core::batch::BatchStream;
use pipeline_core::config::Config;
use pipeline_core::contract::Contract;
use pipeline_core::error::Result;
use pipeline_core::ledger::Basis;
use pipeline_core::model::{Computed, ModelNode, Models, Standard, Whole};
use pipeline_core::name::TableName;
use pipeline_core::privacy::PrivacyKey;
use pipeline_core::window::Timestamp;
use pipeline_loaders::lake::{Commit, Lake, LakeFile, PinnedFiles};
use pipeline_transforms::compute::Verdict;
use pipeline_transforms::lake::LakeModels as OverTables;
use pipeline_transforms::lineage::Lineage;
use pipeline_transforms::model::rules::Rules;
use pipeline_transforms::model::{ModelSet, TestKind};
use pipeline_transforms::session::{Cluster, Difference, EmptyTable, Engine, Options, Pinned, Session, TableProvider, Tables};
use pipeline_transforms::stored::{DataFile, Files, Stored};
use pipeline_transforms::why::Why;

/// The lake's tables as the query engine opens them.
#[derive(Debug)]
struct LakeTables {
    lake: Arc<Lake>,
    names: Vec<TableName>,
    /// Whether a cluster has to be able to read them too.
    are_shared: bool,
}

impl LakeTables {
    /// A table as it stands now, with its files if others have to find them.
    async fn shared(&self, table: &TableName) -> Result<Option<Pinned>> {
        let Some(PinnedFiles { state, rows, files }) = self.lake.pin_files(table).await? else { return Ok(None) };
        let rows = match files {
            Some(files) => {
                let files = files.into_iter().map(|LakeFile { path, bytes, rows }| DataFile { path, bytes, rows }).collect();
                // A store is known by scheme and host; what follows stands in the files' paths.
                let url = self.lake.store().0;
                let store = format!("{}://{}", url.scheme(), url.authority());
                Arc::new(Stored::new(rows, Files { store, files })) as Arc<dyn TableProvider>
            }
            None => rows,
        };
        Ok(Some(Pinned { state, rows }))
    }
}

#[async_trait]
impl Tables for LakeTables {
    fn names(&self) -> Vec<TableName> {
        self.names.clone()
    }

    async fn open(&self, table: &TableName) -> Result<Option<Arc<dyn TableProvider>>> {
        match self.are_shared {
            true => Ok(self.shared(table).await?.map(|pinned| pinned.rows)),
            false => self.lake.provider(table).await,
        }
    }

    async fn state(&self, table: &TableName) -> Result<Option<String>> {
        self.lake.state(table).await
    }

    async fn pin(&self, table: &TableName) -> Result<Option<Pinned>> {
        match self.are_shared {
            true => self.shared(table).await,
            false => Ok(self.lake.pin(table).await?.map(|(state, rows)| Pinned { state, rows })),
        }
    }

    async fn difference(&self, table: &TableName, since: &str, now: &str) -> Result<Option<Difference>> {
        let sides = self.lake.difference(table, since, now).await?;
        Ok(sides.map(|(before, after)| Difference { before, after }))
    }
}

/// No table at all: enough to plan against contracts.
#[derive(Debug)]
struct NoTables;

#[async_trait]
impl Tables for NoTables {
    fn names(&self) -> Vec<TableName> {
        Vec::new()
    }

    async fn open(&self, _table: &TableName) -> Result<Option<Arc<dyn TableProvider>>> {
        Ok(None)
    }

    async fn state(&self, _table: &TableName) -> Result<Option<String>> {
        Ok(None)
    }

    async fn pin(&self, _table: &TableName) -> Result<Option<Pinned>> {
        Ok(None)
    }

    async fn difference(&self, _table: &TableName, _since: &str, _now: &str) -> Result<Option<Difference>> {
        Ok(None)
    }
}

/// Whether a statement calls what needs the privacy key.
pub(crate) fn needs_key(sql: &str) -> bool {
    sql.to_ascii_lowercase().contains("keyed_hash")
}

/// The models of a project over its lake; perhaps only some of them.
#[derive(Debug, Clone)]
pub(crate) struct LakeModels {
    inner: Arc<OverTables>,
    nodes: Vec<ModelNode>,
    lake: Arc<Lake>,
}

impl LakeModels {
    /// Reads the models and opens the engine.
    pub(crate) fn load(config: &Config, lake: Arc<Lake>, key: Option<PrivacyKey>) -> Result<Self> {
        let models = declared(config, key.as_ref())?;
        let extracted = config.sources.values().flat_map(|source| source.tables.keys().cloned());
        let names = extracted.chain(models.models().iter().map(|model| model.table().clone())).collect();
        let engine = engine(config, key)?;
        let (url, store) = lake.store();
        engine.register_store(&url, store);
        let inner = OverTables::new(
            models,
            engine,
            Arc::new(LakeTables { lake: Arc::clone(&lake), names, are_shared: config.cluster.is_used }),
            sources(config),
        );
        Ok(Self { nodes: inner.nodes().to_vec(), inner: Arc::new(inner), lake })
    }

    /// Finds mistakes in models and contracts without any data. Returns the models.
    pub(crate) async fn check(config: &Config) -> Result<Vec<ModelNode>> {
        // Keyed functions are planned, not run, so any key does.
        let key = PrivacyKey::new(b"");
        let models = declared(config, Some(&key))?;
        let all: BTreeSet<TableName> = models.models().iter().map(|model| model.table().clone()).collect();
        let over = OverTables::new(models, engine(config, Some(key))?, Arc::new(NoTables), sources(config));
        over.check(&all).await?;
        Ok(over.nodes().to_vec())
    }

    /// The same models, of which only `made` are made.
    pub(crate) fn narrowed(&self, made: &BTreeSet<TableName>) -> Self {
        let nodes = self.nodes.iter().filter(|node| made.contains(&node.contract.table)).cloned().collect();
        Self { inner: Arc::clone(&self.inner), nodes, lake: Arc::clone(&self.lake) }
    }

    /// The models, and what their columns are made of, without any data.
    pub(crate) async fn lineage(config: &Config) -> Result<(ModelSet, Lineage)> {
        // Keyed functions are planned, not run, so any key does.
        let key = PrivacyKey::new(b"");
        let models = declared(config, Some(&key))?;
        let over = OverTables::new(models.clone(), engine(config, Some(key))?, Arc::new(NoTables), sources(config));
        Ok((models, over.lineage().await?))
    }

    /// The rows behind a row of a model.
    pub(crate) async fn why(&self, table: &TableName, key: &[String], as_of: Timestamp, limit: usize) -> Result<Why> {
        self.inner.why(table, key, as_of, limit).await
    }

    /// The models with what each reads, each after those it reads.
    pub(crate) fn reads(&self) -> Vec<(TableName, Vec<TableName>)> {
        self.nodes.iter().map(|node| (node.contract.table.clone(), node.reads())).collect()
    }

    /// What the data tests of a model find in its table as it stands; None if there is no table yet.
    pub(crate) async fn test(&self, table: &TableName, as_of: Timestamp, standard: &Standard) -> Result<Option<Vec<Verdict>>> {
        self.inner.test(table, as_of, standard).await
    }

    /// Whether a data test of any model needs the privacy key.
    pub(crate) fn tests_hash(&self) -> bool {
        let mut tests = self.inner.models().models().iter().flat_map(|model| &model.tests);
        tests.any(|test| matches!(&test.kind, TestKind::NoRows { sql } if needs_key(sql)))
    }

    /// The lake itself.
    pub(crate) fn lake(&self) -> &Lake {
        &self.lake
    }

    /// A session over the lake's tables, for several statements.
    pub(crate) fn session(&self, as_of: Timestamp) -> Session {
        self.inner.session(as_of)
    }

    /// Answers one statement.
    pub(crate) async fn query(&self, sql: &str, as_of: Timestamp) -> Result<BatchStream> {
        self.inner.session(as_of).query(sql).await
    }

    /// Answers a query over the common table expressions of a model's statement.
    pub(crate) async fn look_into(&self, table: &TableName, as_of: Timestamp, sql: &str) -> Result<BatchStream> {
        self.inner.look_into(table, as_of, sql).await
    }

    /// Answers one statement that reads a table also as it stood at a version: `FROM former.NAME`, without rows if there is none.
    pub(crate) async fn query_former(&self, table: &TableName, version: Option<u64>, sql: &str, as_of: Timestamp) -> Result<BatchStream> {
        let session = self.inner.session(as_of);
        match version {
            Some(version) => session.register_table("former", table.table(), self.lake.provider_at(table, version).await?),
            None => {
                let empty = session.query(&format!("SELECT * FROM {table} WHERE false")).await?.schema();
                session.register_table("former", table.table(), Arc::new(EmptyTable::new(empty)));
            }
        }
        session.query(sql).await
    }

    /// The commits of a table, oldest first.
    pub(crate) async fn commits(&self, table: &TableName) -> Result<Vec<Commit>> {
        self.lake.commits(table).await
    }

    /// Whether statements can read the table: the lake has it, or all that a view reads.
    pub(crate) async fn has(&self, table: &TableName) -> Result<bool> {
        self.inner.has(table).await
    }

    /// Whether a view needs the privacy key.
    pub(crate) fn views_hash(&self) -> bool {
        self.inner.models().models().iter().any(|model| model.is_view && model.uses_key)
    }
}

#[async_trait]
impl Models for LakeModels {
    fn nodes(&self) -> &[ModelNode] {
        &self.nodes
    }

    async fn check(&self, made: &BTreeSet<TableName>) -> Result<()> {
        self.inner.check(made).await
    }

    async fn compute(&self, table: &TableName, as_of: Timestamp, since: Option<&Basis>, standard: &Standard) -> Result<Computed> {
        self.inner.compute(table, as_of, since, standard).await
    }

    async fn whole_because(&self, table: &TableName, since: Option<&Basis>) -> Result<Option<Whole>> {
        self.inner.whole_because(table, since).await
    }

    async fn still_holds(&self, table: &TableName, as_of: Timestamp) -> Result<Vec<String>> {
        self.inner.still_holds(table, as_of).await
    }

    async fn state(&self, table: &TableName) -> Result<Option<String>> {
        self.inner.state(table).await
    }

    async fn export(&self, table: &TableName) -> Result<BatchStream> {
        self.inner.export(table).await
    }
}

/// What the extracted tables promise.
fn sources(config: &Config) -> Vec<Contract> {
    config.sources.values().flat_map(|source| source.tables.values().map(|table| table.contract.clone())).collect()
}

/// The models in their folder. A project that names none, and has none where they would be, has no models.
fn declared(config: &Config, key: Option<&PrivacyKey>) -> Result<ModelSet> {
    let folder = PathBuf::from(config.place(&config.project.models));
    if !config.project.models_are_named && !folder.exists() {
        return Ok(ModelSet::default());
    }
    let models = ModelSet::load(&folder, &config.parameters, key)?;
    models.with_rules(Rules::new(&config.segments)?, &config.parameters, key)
}

fn engine(config: &Config, key: Option<PrivacyKey>) -> Result<Engine> {
    let settings = config.project.settings;
    let engine = Engine::new(Options {
        memory_limit_bytes: usize::try_from(settings.memory_limit_bytes / 4).unwrap_or(usize::MAX),
        spill_directory: Path::new(&config.place(&config.project.work)).join("models"),
        target_partitions: std::thread::available_parallelism().map_or(2, std::num::NonZero::get),
        parameters: config.parameters.clone(),
        key,
    })?;
    Ok(match (&config.cluster.scheduler, config.cluster.is_used) {
        (Some(scheduler), true) => {
            engine.with_cluster(Cluster { scheduler: format!("http://{scheduler}"), partitions: config.cluster.partitions })
        }
        _ => engine,
    })
}
