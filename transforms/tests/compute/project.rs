//! A folder of models and tables in memory, as a lake would have them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use pipeline_core::contract::Contract;
use pipeline_core::error::Result;
use pipeline_core::name::TableName;
use pipeline_core::window::Timestamp;
use pipeline_transforms::lake::LakeModels;
use pipeline_transforms::model::ModelSet;
use pipeline_transforms::session::{Difference, Engine, Options, Pinned, Tables};

pub(crate) const CONTRACT: &str = r#"
description = "Facts"
grain = "one row per fact"
key = ["id"]
materialization = "full"
[columns.id]
type = "bigint"
description = "Identity"
[columns.measure]
type = "double"
description = "What was measured"
[columns.label]
type = "text(16)"
description = "What it is called"
"#;

/// Every state that each table was ever in; the last one is how it stands. Its place names it.
#[derive(Debug, Default)]
struct Memory(Mutex<BTreeMap<TableName, Vec<Arc<dyn TableProvider>>>>);

#[async_trait]
impl Tables for Memory {
    fn names(&self) -> Vec<TableName> {
        self.0.lock().unwrap().keys().cloned().collect()
    }

    async fn open(&self, table: &TableName) -> Result<Option<Arc<dyn TableProvider>>> {
        Ok(self.pin(table).await?.map(|pinned| pinned.rows))
    }

    async fn state(&self, table: &TableName) -> Result<Option<String>> {
        Ok(self.pin(table).await?.map(|pinned| pinned.state))
    }

    async fn pin(&self, table: &TableName) -> Result<Option<Pinned>> {
        let tables = self.0.lock().unwrap();
        let states = tables.get(table).map(Vec::as_slice).unwrap_or_default();
        Ok(states.last().map(|rows| Pinned { state: states.len().to_string(), rows: Arc::clone(rows) }))
    }

    async fn difference(&self, table: &TableName, since: &str, now: &str) -> Result<Option<Difference>> {
        let tables = self.0.lock().unwrap();
        let at = |state: &str| tables.get(table)?.get(state.parse::<usize>().ok()?.checked_sub(1)?).cloned();
        Ok(at(since).zip(at(now)).map(|(before, after)| Difference { before: Some(before), after: Some(after) }))
    }
}

/// Removed with everything in it when it is dropped.
pub(crate) struct Project {
    folder: PathBuf,
    tables: Arc<Memory>,
    parameters: BTreeMap<String, String>,
    memory_limit_bytes: usize,
}

impl Project {
    pub(crate) fn new(models: &[(&str, &str, &str)], memory_mebibytes: usize) -> Self {
        Self::with_memory(models, memory_mebibytes << 20)
    }

    pub(crate) fn with_memory(models: &[(&str, &str, &str)], memory_limit_bytes: usize) -> Self {
        static SEQUENCE: AtomicU32 = AtomicU32::new(0);
        let name = format!("compute-{}-{}", std::process::id(), SEQUENCE.fetch_add(1, Ordering::Relaxed));
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(folder.join("sql")).unwrap();
        for (name, sql, contract) in models {
            std::fs::write(folder.join("sql").join(name).with_extension("sql"), sql).unwrap();
            std::fs::write(folder.join("sql").join(name).with_extension("toml"), contract).unwrap();
        }
        Self { folder, tables: Arc::default(), parameters: BTreeMap::new(), memory_limit_bytes }
    }

    pub(crate) fn set(&mut self, parameters: &[(&str, &str)]) {
        self.parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    }

    pub(crate) fn put(&self, name: &str, rows: Arc<dyn TableProvider>) {
        self.tables.0.lock().unwrap().entry(table(name)).or_default().push(rows);
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join("sql").join(name)
    }

    pub(crate) fn models(&self) -> Result<LakeModels> {
        let models = ModelSet::load(&self.folder.join("sql"), &self.parameters, None)?;
        let engine = Engine::new(Options {
            memory_limit_bytes: self.memory_limit_bytes,
            spill_directory: self.folder.join("spill"),
            target_partitions: 2,
            parameters: self.parameters.clone(),
            key: None,
        })?;
        Ok(LakeModels::new(models, engine, Arc::clone(&self.tables) as Arc<dyn Tables>, Vec::new()))
    }

    pub(crate) fn as_of(&self) -> Timestamp {
        "2025-11-04T06:00:00Z".parse().unwrap()
    }

    /// How many results are in the spill folder; the query engine's own folders are its own.
    pub(crate) fn spilled(&self) -> usize {
        let entries = std::fs::read_dir(self.folder.join("spill")).unwrap();
        entries.filter(|entry| !entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("datafusion-")).count()
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

pub(crate) fn table(name: &str) -> TableName {
    name.parse().unwrap()
}

pub(crate) fn contract(models: &LakeModels, name: &str) -> Contract {
    models.models().get(&table(name)).unwrap().contract.clone()
}
