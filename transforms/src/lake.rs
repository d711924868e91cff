//! The models over a lake, as the run loop wants them.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use pipeline_core::batch::BatchStream;
use pipeline_core::contract::Contract;
use pipeline_core::error::{BUG, Error, Result};
use pipeline_core::model::{Computed, ModelNode, Models};
use pipeline_core::name::TableName;
use pipeline_core::window::Timestamp;

use crate::compute::check_models;
use crate::errors::MODEL_INPUT;
use crate::lineage::Lineage;
use crate::model::{Model, ModelSet};
use crate::session::{Engine, Session, Tables};
use crate::why::{Asking, Why};

/// A set of models, the engine that computes them, and the tables they read and compare themselves with.
#[derive(Debug)]
pub struct LakeModels {
    models: ModelSet,
    nodes: Vec<ModelNode>,
    engine: Engine,
    tables: Arc<dyn Tables>,
    sources: Vec<Contract>,
}

impl LakeModels {
    /// Models over `tables`; `sources` are the contracts of those that are extracted.
    #[must_use]
    pub fn new(models: ModelSet, engine: Engine, tables: Arc<dyn Tables>, sources: Vec<Contract>) -> Self {
        Self { nodes: models.nodes(), models, engine, tables, sources }
    }

    /// The models.
    #[must_use]
    pub fn models(&self) -> &ModelSet {
        &self.models
    }

    /// A session over the same tables, for queries.
    #[must_use]
    pub fn session(&self, as_of: Timestamp) -> Session {
        self.engine.session(as_of, Some(Arc::clone(&self.tables)))
    }

    /// A query over the common table expressions of a model's statement, over the tables as they stand: what the model would decide
    /// now, and why. Writes nothing.
    ///
    /// # Errors
    /// Those of [`Session::query`].
    pub async fn look_into(&self, table: &TableName, as_of: Timestamp, query: &str) -> Result<BatchStream> {
        let current = self.tables.open(table).await?;
        self.session(as_of).look_into(self.model(table)?, current, query).await
    }

    /// What the columns of all models are made of.
    ///
    /// # Errors
    /// [`SQL`](crate::errors::SQL) if a statement cannot be planned.
    pub async fn lineage(&self) -> Result<Lineage> {
        let session = self.engine.session(Timestamp::from_microseconds(0), None);
        Lineage::of(&session, &self.models, &self.sources).await
    }

    /// The rows behind a row of a model, which `key` names by the values of its key; of each table the first `limit` are shown.
    ///
    /// # Errors
    /// [`WHY`](crate::errors::WHY) if there is no such table or row.
    pub async fn why(&self, table: &TableName, key: &[String], as_of: Timestamp, limit: usize) -> Result<Why> {
        let lineage = self.lineage().await?;
        let session = self.session(as_of).private();
        let asking = Asking { session, models: &self.models, sources: &self.sources, lineage: &lineage, limit };
        Box::pin(asking.why(table, key)).await
    }

    fn model(&self, table: &TableName) -> Result<&Model> {
        self.models.get(table).ok_or_else(|| Error::new(&BUG, format!("there is no model \"{table}\"")))
    }
}

#[async_trait]
impl Models for LakeModels {
    fn nodes(&self) -> &[ModelNode] {
        &self.nodes
    }

    async fn check(&self, made: &BTreeSet<TableName>) -> Result<()> {
        let session = self.engine.session(Timestamp::from_microseconds(0), None);
        check_models(&session, &self.models, &self.sources, made).await
    }

    async fn compute(&self, table: &TableName, as_of: Timestamp) -> Result<Computed> {
        let current = self.tables.open(table).await?;
        self.session(as_of).compute(self.model(table)?, current).await
    }

    async fn export(&self, table: &TableName) -> Result<BatchStream> {
        let contract = &self.model(table)?.contract;
        let current = self.tables.open(table).await?;
        let current = current.ok_or_else(|| Error::new(&MODEL_INPUT, format!("table \"{table}\" is not in the lake yet")))?;
        self.session(Timestamp::from_microseconds(0)).export(contract, current).await
    }
}
