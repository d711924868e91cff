//! The query engine with this project's settings: bounded memory, spilling, decimals, the functions, and the lake's tables.
//!
//! An [`Engine`] is made once; its memory limit holds for all sessions together. A [`Session`] is made for each as-of instant.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::{Arc, RwLock, Weak};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
pub use datafusion::catalog::TableProvider;
use datafusion::catalog::{CatalogProvider, SchemaProvider};
use datafusion::common::DataFusionError;
use datafusion::dataframe::DataFrame;
pub use datafusion::datasource::empty::EmptyTable;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt;
use pipeline_core::batch::BatchStream;
use pipeline_core::error::{Error, Result};
use pipeline_core::name::TableName;
use pipeline_core::privacy::PrivacyKey;
use pipeline_core::turns::Turns;
use pipeline_core::window::Timestamp;

use crate::compact::CompactBelowSorts;
#[cfg(not(feature = "cluster"))]
use crate::errors::CLUSTER;
use crate::errors::{STORAGE, failure};
use crate::functions::{self, bound::Bindings};
use crate::model::{Model, ModelSet};
use crate::pool::PartedPool;

/// The catalog that all tables stand in; nobody needs to write it.
const CATALOG: &str = "lake";

/// Rows of a batch, at most and at least: a sort has to hold one or two of them whatever its share of the memory is, so that
/// batches shrink with the limit.
const BATCH_ROWS_MAX: usize = 8192;
const BATCH_ROWS_MIN: usize = 1024;

/// Of the memory limit, what stands for one row of a batch: at 256 MiB batches have their full length.
const BATCH_SHARE_BYTES: usize = 32 * 1024;

/// What an [`Engine`] is made with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Memory for what statements hold at once, in bytes; beyond it they spill or fail. Batches on their way come on top.
    pub memory_limit_bytes: usize,
    /// Where they spill; made if it does not exist.
    pub spill_directory: PathBuf,
    /// How many parts of a statement run at once; usually the processors.
    pub target_partitions: usize,
    /// What `parameter…('name')` gives.
    pub parameters: BTreeMap<String, String>,
    /// The key of `keyed_hash`.
    pub key: Option<PrivacyKey>,
}

/// A cluster as those who use it know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Where its scheduler is: `http://host:port`.
    pub scheduler: String,
    /// Into how many parts a stage of a statement is cut, so many executors' processors can work on it at once.
    pub partitions: usize,
}

/// The tables that statements can read, opened when a statement names them.
///
/// # Contract
/// - `open` gives the table as it stands now and may be called at once for several tables.
/// - A state names one content of one table for ever: equal states are equal rows. What else it is, nobody asks.
#[async_trait]
pub trait Tables: Debug + Send + Sync {
    /// Every table there is.
    fn names(&self) -> Vec<TableName>;

    /// A table's rows; None if nothing was loaded into it yet.
    async fn open(&self, table: &TableName) -> Result<Option<Arc<dyn TableProvider>>>;

    /// The state of a table as it stands now; None if nothing was loaded into it yet.
    async fn state(&self, table: &TableName) -> Result<Option<String>>;

    /// A table as it stands now: its rows stay these while the provider lives.
    async fn pin(&self, table: &TableName) -> Result<Option<Pinned>>;

    /// Rows that were there in the state `since` and rows that are there in the state `now`, in which all rows that differ are. A row that is in
    /// both stands for nothing. None if one of the states cannot be read any more.
    async fn difference(&self, table: &TableName, since: &str, now: &str) -> Result<Option<Difference>>;
}

/// A table in one of its states.
#[derive(Debug, Clone)]
pub struct Pinned {
    /// The state's name.
    pub state: String,
    /// The rows.
    pub rows: Arc<dyn TableProvider>,
}

/// Where the rows are in which two states of a table differ; None on a side where there are none.
#[derive(Debug, Clone, Default)]
pub struct Difference {
    /// Rows of the earlier state.
    pub before: Option<Arc<dyn TableProvider>>,
    /// Rows of the later state.
    pub after: Option<Arc<dyn TableProvider>>,
}

/// Memory, spill folder and settings, shared by sessions.
#[derive(Debug, Clone)]
pub struct Engine {
    options: Arc<Options>,
    runtime: Arc<RuntimeEnv>,
    /// The same stores and files, with the memory cut for a statement that runs alone.
    alone: Arc<RuntimeEnv>,
    turns: Turns,
    cluster: Option<Arc<Cluster>>,
}

impl Engine {
    /// An engine of these options. Its spill folder is made now, so that a wrong path is known before any work.
    ///
    /// # Errors
    /// [`STORAGE`] if the spill folder cannot be made.
    pub fn new(options: Options) -> Result<Self> {
        let what = || format!("folder \"{}\" cannot be used to spill", options.spill_directory.display());
        std::fs::create_dir_all(&options.spill_directory).map_err(|error| Error::new(&STORAGE, what()).caused_by(error.kind()))?;
        let mode = DiskManagerMode::Directories(vec![options.spill_directory.clone()]);
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(options.memory_limit_bytes)))
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(mode))
            .build_arc()
            .map_err(|error| failure(what(), error))?;
        let alone = RuntimeEnvBuilder::from_runtime_env(&runtime)
            .with_memory_pool(Arc::new(PartedPool::new(options.memory_limit_bytes)))
            .build_arc()
            .map_err(|error| failure(what(), error))?;
        Ok(Self { options: Arc::new(options), runtime, alone, turns: Turns::default(), cluster: None })
    }

    /// The same engine, which has a cluster compute whole models.
    #[must_use]
    pub fn with_cluster(self, cluster: Cluster) -> Self {
        Self { cluster: Some(Arc::new(cluster)), ..self }
    }

    /// What the engine was made with.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The turns at the memory.
    pub(crate) fn turns(&self) -> &Turns {
        &self.turns
    }

    /// Makes a store known, so that statements can read tables whose files lie in it.
    pub fn register_store(&self, url: &url::Url, store: Arc<dyn object_store::ObjectStore>) {
        self.runtime.register_object_store(url, store);
    }

    /// A session whose `as_of()` is that instant, and which finds tables in `tables`.
    #[must_use]
    pub fn session(&self, as_of: Timestamp, tables: Option<Arc<dyn Tables>>) -> Session {
        let bindings = Arc::new(Bindings { as_of, parameters: self.options.parameters.clone(), key: self.options.key.clone() });
        let catalog = LakeCatalog::new(tables, self.clone(), Arc::clone(&bindings));
        let context = self.context(&bindings, &catalog, JoinsBy::Hash);
        Session { engine: self.clone(), context, catalog, bindings }
    }

    fn context(&self, bindings: &Arc<Bindings>, catalog: &Arc<LakeCatalog>, joins: JoinsBy) -> SessionContext {
        let runtime = match joins {
            JoinsBy::Hash => &self.runtime,
            JoinsBy::Merge => &self.alone,
        };
        let state = SessionStateBuilder::new()
            .with_config(self.config(joins))
            .with_runtime_env(Arc::clone(runtime))
            .with_default_features()
            .with_physical_optimizer_rule(Arc::new(CompactBelowSorts))
            .build();
        fill(SessionContext::new_with_state(state), bindings, catalog)
    }

    #[cfg(feature = "cluster")]
    fn distributed_context(
        &self,
        cluster: &Cluster,
        bindings: &Arc<Bindings>,
        catalog: &Arc<LakeCatalog>,
        joins: JoinsBy,
    ) -> Result<SessionContext> {
        let context = crate::cluster::context(cluster, self.config(joins), joins, Arc::clone(&self.runtime), bindings.key.clone())?;
        Ok(fill(context, bindings, catalog))
    }

    #[cfg(not(feature = "cluster"))]
    fn distributed_context(&self, _: &Cluster, _: &Arc<Bindings>, _: &Arc<LakeCatalog>, _: JoinsBy) -> Result<SessionContext> {
        Err(Error::new(&CLUSTER, "models cannot be computed on a cluster").caused_by("this program was built without clusters"))
    }

    fn config(&self, joins: JoinsBy) -> SessionConfig {
        let batch_rows = (self.options.memory_limit_bytes / BATCH_SHARE_BYTES).clamp(BATCH_ROWS_MIN, BATCH_ROWS_MAX);
        let mut config = SessionConfig::new()
            .with_target_partitions(match joins {
                JoinsBy::Hash => self.options.target_partitions.max(1),
                // Where memory is short, fewer sorts at once have more of it each. With one part, the planner would take hash joins.
                JoinsBy::Merge => 2,
            })
            .with_default_catalog_and_schema(CATALOG, TableName::MARTS)
            .with_create_default_catalog_and_schema(false)
            .with_information_schema(true)
            .with_parquet_pruning(true)
            .with_batch_size(match joins {
                JoinsBy::Hash => batch_rows,
                // A sort needs room for a batch and its copy before it can spill at all.
                JoinsBy::Merge => batch_rows / 4,
            });
        let settings = config.options_mut();
        settings.execution.time_zone = Some("UTC".to_owned());
        // What each sort keeps aside to merge what it spilled; a plan has a dozen sorts, and all of them share the limit.
        settings.execution.sort_spill_reservation_bytes = match joins {
            JoinsBy::Hash => self.options.memory_limit_bytes / 64,
            // Of sixty sorts, too, each gets so much of the part that merges share.
            JoinsBy::Merge => self.options.memory_limit_bytes / 512,
        };
        if joins == JoinsBy::Merge {
            // What a sort holds is sorted as one: to merge it batch by batch takes memory that nothing limits to a share.
            settings.execution.sort_in_place_threshold_bytes = self.options.memory_limit_bytes;
        }
        settings.execution.parquet.pushdown_filters = true;
        settings.execution.parquet.reorder_filters = true;
        settings.execution.parquet.schema_force_view_types = false;
        // A literal such as 0.00 beside money must not turn it into a float.
        settings.sql_parser.parse_float_as_decimal = true;
        // Mistakes are shown with their line.
        settings.sql_parser.collect_spans = true;
        settings.sql_parser.map_string_types_to_utf8view = false;
        settings.sql_parser.dialect = datafusion::config::Dialect::PostgreSQL;
        settings.optimizer.prefer_hash_join = joins == JoinsBy::Hash;
        // What a window has brought together by some columns needs no further exchange to be grouped by more of them, and keeps
        // its order: such groups are made one after the other.
        settings.optimizer.subset_repartition_threshold = 1;
        config
    }
}

/// Makes the catalog and the functions known to a context.
fn fill(context: SessionContext, bindings: &Arc<Bindings>, catalog: &Arc<LakeCatalog>) -> SessionContext {
    context.register_catalog(CATALOG, Arc::clone(catalog) as Arc<dyn CatalogProvider>);
    for function in functions::all(bindings) {
        context.register_udf(function);
    }
    for function in functions::windows() {
        context.register_udwf(function);
    }
    context
}

/// How equal keys find each other. Hash joins are faster, but hold one side in memory; sort-merge joins spill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JoinsBy {
    Hash,
    Merge,
}

/// Statements as of one instant.
#[derive(Clone)]
pub struct Session {
    engine: Engine,
    context: SessionContext,
    catalog: Arc<LakeCatalog>,
    bindings: Arc<Bindings>,
}

impl Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("as_of", &self.bindings.as_of).finish_non_exhaustive()
    }
}

impl Session {
    /// Makes a table known, in the place of one of the same name if there is one.
    pub fn register_table(&self, schema: &str, name: &str, table: Arc<dyn TableProvider>) {
        self.catalog.get(schema).own.write().expect("no holder of this lock panics").insert(name.to_owned(), table);
    }

    /// Makes views known: wherever a statement names one, its own statement stands, as of this session's instant.
    pub fn register_views(&self, models: &ModelSet) {
        let views = models.models().iter().filter(|model| model.is_view).map(|model| (model.table().clone(), Arc::new(model.clone())));
        self.catalog.views.write().expect("no holder of this lock panics").extend(views);
    }

    /// Runs a query: one SELECT, or EXPLAIN, SHOW or DESCRIBE. `FROM orders` is the mart, `FROM shop.orders` an extracted table.
    ///
    /// # Errors
    /// [`SQL`](crate::errors::SQL) if the statement cannot be planned or would change anything; while rows flow
    /// [`VALUE`](crate::errors::VALUE), [`MEMORY`](crate::errors::MEMORY) or [`STORAGE`].
    pub async fn query(&self, sql: &str) -> Result<BatchStream> {
        const WHAT: &str = "query could not be answered";
        let frame = self.select(sql).await.map_err(|error| failure(WHAT, error))?;
        stream(WHAT, frame).await
    }

    /// The columns that a query gives, without running it.
    ///
    /// # Errors
    /// [`SQL`](crate::errors::SQL) if the statement cannot be planned.
    pub async fn schema_of(&self, sql: &str) -> Result<SchemaRef> {
        let frame = self.select(sql).await.map_err(|error| failure("query could not be planned", error))?;
        Ok(Arc::clone(frame.schema().inner()))
    }

    pub(crate) async fn select(&self, sql: &str) -> Result<DataFrame, DataFusionError> {
        let read_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        Box::pin(self.context.sql_with_options(sql, read_only)).await
    }

    /// The same tables and functions with joins that can spill.
    pub(crate) fn joining_by(&self, joins: JoinsBy) -> Self {
        let context = self.engine.context(&self.bindings, &self.catalog, joins);
        Self { context, ..self.clone() }
    }

    /// The same tables and functions with statements that a cluster computes; None if there is no cluster.
    ///
    /// # Errors
    /// [`CLUSTER`](crate::errors::CLUSTER) if this program was built without clusters.
    pub(crate) fn distributed(&self, joins: JoinsBy) -> Result<Option<Self>> {
        let Some(cluster) = &self.engine.cluster else { return Ok(None) };
        let context = self.engine.distributed_context(cluster, &self.bindings, &self.catalog, joins)?;
        Ok(Some(Self { context, ..self.clone() }))
    }

    /// The same session with a catalog of its own, so that what it registers is seen by nobody else.
    pub(crate) fn private(&self) -> Self {
        let catalog = self.catalog.copy();
        let context = self.engine.context(&self.bindings, &catalog, JoinsBy::Hash);
        Self { context, catalog, ..self.clone() }
    }

    pub(crate) fn context(&self) -> &SessionContext {
        &self.context
    }

    /// What `as_of()` gives.
    pub(crate) fn as_of(&self) -> Timestamp {
        self.bindings.as_of
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// A table that statements can read.
    pub(crate) async fn provider(&self, table: &TableName) -> Result<Option<Arc<dyn TableProvider>>> {
        let found = self.catalog.get(table.schema()).table(table.table()).await;
        found.map_err(|error| failure(format!("table \"{table}\" cannot be opened"), error))
    }

    /// Whether a statement can read the table: it is in the lake, or was registered.
    ///
    /// # Errors
    /// What kept it from being opened.
    pub async fn has(&self, table: &TableName) -> Result<bool> {
        Ok(self.provider(table).await?.is_some())
    }
}

/// The rows of a plan, with our errors.
pub(crate) async fn stream(what: &'static str, frame: DataFrame) -> Result<BatchStream> {
    let rows = Box::pin(frame.execute_stream()).await.map_err(|error| failure(what, error))?;
    let schema = rows.schema();
    Ok(BatchStream::new(schema, rows.map(move |batch| batch.map_err(|error| failure(what, error)))))
}

/// All rows of a plan, held in memory; None if they are more than `rows_max`.
pub(crate) async fn at_most(frame: DataFrame, rows_max: usize) -> Result<Option<(SchemaRef, Vec<RecordBatch>)>, DataFusionError> {
    let mut stream = Box::pin(frame.execute_stream()).await?;
    let (schema, mut batches, mut rows) = (stream.schema(), Vec::new(), 0);
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        rows += batch.num_rows();
        if rows > rows_max {
            return Ok(None);
        }
        batches.push(batch);
    }
    Ok(Some((schema, batches)))
}

/// The schemas of the lake and those that tables were registered in.
struct LakeCatalog {
    schemas: RwLock<BTreeMap<String, Arc<LakeSchema>>>,
    tables: Option<Arc<dyn Tables>>,
    views: RwLock<BTreeMap<TableName, Arc<Model>>>,
    /// What statements of views are planned with.
    engine: Engine,
    bindings: Arc<Bindings>,
    itself: Weak<Self>,
}

impl Debug for LakeCatalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LakeCatalog").field("schemas", &self.schemas).finish_non_exhaustive()
    }
}

impl LakeCatalog {
    fn new(tables: Option<Arc<dyn Tables>>, engine: Engine, bindings: Arc<Bindings>) -> Arc<Self> {
        let catalog = Arc::new_cyclic(|itself| Self {
            schemas: RwLock::default(),
            tables,
            views: RwLock::default(),
            engine,
            bindings,
            itself: Weak::clone(itself),
        });
        let names = catalog.tables.as_ref().map(|tables| tables.names()).unwrap_or_default();
        for schema in names.iter().map(TableName::schema).chain([TableName::MARTS]) {
            catalog.get(schema);
        }
        catalog
    }

    /// A schema, made if there is none of the name.
    fn get(&self, name: &str) -> Arc<LakeSchema> {
        let mut schemas = self.schemas.write().expect("no holder of this lock panics");
        let new = || Arc::new(LakeSchema { name: name.to_owned(), own: RwLock::default(), catalog: Weak::clone(&self.itself) });
        Arc::clone(schemas.entry(name.to_owned()).or_insert_with(new))
    }

    fn copy(&self) -> Arc<Self> {
        let schemas = self.schemas.read().expect("no holder of this lock panics");
        Arc::new_cyclic(|itself| {
            let schemas = schemas.iter().map(|(name, schema)| {
                let own = schema.own.read().expect("no holder of this lock panics").clone();
                (name.clone(), Arc::new(LakeSchema { name: name.clone(), own: RwLock::new(own), catalog: Weak::clone(itself) }))
            });
            Self {
                schemas: RwLock::new(schemas.collect()),
                tables: self.tables.clone(),
                views: RwLock::new(self.views.read().expect("no holder of this lock panics").clone()),
                engine: self.engine.clone(),
                bindings: Arc::clone(&self.bindings),
                itself: Weak::clone(itself),
            }
        })
    }

    /// A view of this name, as its statement gives it with the tables that this catalog has.
    async fn view(self: Arc<Self>, name: &TableName) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        let Some(view) = self.views.read().expect("no holder of this lock panics").get(name).cloned() else { return Ok(None) };
        // A view of tables that are not there yet is not there either, and is in nobody's way.
        for input in &view.stored {
            match self.schema(input.schema()) {
                Some(schema) if schema.table(input.table()).await?.is_some() => {}
                _ => return Ok(None),
            }
        }
        let context = self.engine.context(&self.bindings, &self, JoinsBy::Hash);
        let session = Session { engine: self.engine.clone(), context, bindings: Arc::clone(&self.bindings), catalog: self };
        let frame = Box::pin(session.plan(&view)).await.map_err(|error| DataFusionError::External(Box::new(error)))?;
        Ok(Some(frame.into_view()))
    }
}

impl CatalogProvider for LakeCatalog {
    fn schema_names(&self) -> Vec<String> {
        self.schemas.read().expect("no holder of this lock panics").keys().cloned().collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        let schemas = self.schemas.read().expect("no holder of this lock panics");
        schemas.get(name).map(|schema| Arc::clone(schema) as Arc<dyn SchemaProvider>)
    }
}

/// The tables of one schema: those registered, then views, then those of the lake.
#[derive(Debug)]
struct LakeSchema {
    name: String,
    own: RwLock<BTreeMap<String, Arc<dyn TableProvider>>>,
    catalog: Weak<LakeCatalog>,
}

impl LakeSchema {
    fn in_lake(&self) -> Vec<TableName> {
        let Some(catalog) = self.catalog.upgrade() else { return Vec::new() };
        let mut names = catalog.tables.as_ref().map(|tables| tables.names()).unwrap_or_default();
        names.extend(catalog.views.read().expect("no holder of this lock panics").keys().cloned());
        names.into_iter().filter(|name| name.schema() == self.name).collect()
    }
}

#[async_trait]
impl SchemaProvider for LakeSchema {
    fn table_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.own.read().expect("no holder of this lock panics").keys().cloned().collect();
        names.extend(self.in_lake().iter().map(|name| name.table().to_owned()));
        names.sort();
        names.dedup();
        names
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        let own = self.own.read().expect("no holder of this lock panics").get(name).cloned();
        if own.is_some() {
            return Ok(own);
        }
        let (Some(catalog), Ok(name)) = (self.catalog.upgrade(), TableName::new(&self.name, name)) else { return Ok(None) };
        if let Some(view) = Arc::clone(&catalog).view(&name).await? {
            return Ok(Some(view));
        }
        match &catalog.tables {
            Some(tables) => tables.open(&name).await.map_err(|error| DataFusionError::External(Box::new(error))),
            None => Ok(None),
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        self.table_names().iter().any(|known| known == name)
    }
}
