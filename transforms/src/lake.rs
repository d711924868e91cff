//! The models over a lake, as the run loop wants them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use pipeline_core::batch::BatchStream;
use pipeline_core::contract::Contract;
use pipeline_core::error::{BUG, Error, Result};
use pipeline_core::ledger::Basis;
use pipeline_core::model::{Computed, ModelNode, Models, Standard, Whole};
use pipeline_core::name::TableName;
use pipeline_core::window::Timestamp;
use serde::{Deserialize, Serialize};

use crate::compute::{Parts, PartsBounds, Verdict, check_models};
use crate::errors::MODEL_INPUT;
use crate::lineage::Lineage;
use crate::model::{Model, ModelSet, TestKind};
use crate::session::{Engine, Pinned, Session, TableProvider, Tables};
use crate::why::{Asking, Why};

/// The version of the program, with a digest of what computes: functions may change with it.
const PROGRAM: &str = concat!(env!("CARGO_PKG_VERSION"), "+", env!("SOURCES_DIGEST"));

/// What a result was made from.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Read {
    program: String,
    /// The model's digest.
    digest: String,
    /// The state of each table that it read.
    inputs: BTreeMap<String, String>,
}

/// What the last result of a model was made from, if the next one can go on from there.
fn told(since: Option<&Basis>, model: &Model, own: Option<&str>) -> std::result::Result<Read, Whole> {
    let (Some(since), Some(own)) = (since, own) else { return Err(Whole::NoResult) };
    let then: Read = serde_json::from_str(&since.read).map_err(|_| Whole::OtherProgram)?;
    if then.program != PROGRAM {
        return Err(Whole::OtherProgram);
    }
    if then.digest != model.digest {
        return Err(Whole::OtherModel);
    }
    if since.own != own {
        return Err(Whole::OtherTable);
    }
    Ok(then)
}

/// A set of models, the engine that computes them, and the tables they read and compare themselves with.
#[derive(Debug)]
pub struct LakeModels {
    models: ModelSet,
    nodes: Vec<ModelNode>,
    engine: Engine,
    tables: Arc<dyn Tables>,
    sources: Vec<Contract>,
    bounds: PartsBounds,
}

impl LakeModels {
    /// Models over `tables`; `sources` are the contracts of those that are extracted.
    #[must_use]
    pub fn new(models: ModelSet, engine: Engine, tables: Arc<dyn Tables>, sources: Vec<Contract>) -> Self {
        Self { nodes: models.nodes(), models, engine, tables, sources, bounds: PartsBounds::default() }
    }

    /// With other bounds for incremental models.
    #[must_use]
    pub fn bounded_by(self, bounds: PartsBounds) -> Self {
        Self { bounds, ..self }
    }

    /// The models.
    #[must_use]
    pub fn models(&self) -> &ModelSet {
        &self.models
    }

    /// A session over the same tables, for queries.
    #[must_use]
    pub fn session(&self, as_of: Timestamp) -> Session {
        let session = self.engine.session(as_of, Some(Arc::clone(&self.tables)));
        session.register_views(&self.models);
        session
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
        session.close_views(&self.models).await;
        let asking = Asking { session, models: &self.models, sources: &self.sources, lineage: &lineage, limit };
        Box::pin(asking.why(table, key)).await
    }

    /// What the data tests of a model find in its table as it stands; None if there is no table yet.
    ///
    /// # Errors
    /// Those of [`Session::query`].
    pub async fn test(&self, table: &TableName, as_of: Timestamp, standard: &Standard) -> Result<Option<Vec<Verdict>>> {
        let (session, model) = (self.session(as_of), self.model(table)?);
        match self.shown(&session, model).await? {
            Some(rows) => session.test(model, rows, standard).await.map(Some),
            None => Ok(None),
        }
    }

    /// Computes only the units that changed rows touch, if the model says how, and all is known that this takes.
    async fn parts(
        &self,
        session: &Session,
        model: &Model,
        read: &Read,
        since: Option<&Basis>,
        current: Option<Pinned>,
        standard: &Standard,
    ) -> Result<Parts> {
        let Some(incremental) = &model.incremental else { return Ok(Parts::Whole(None)) };
        let whole = |reason: &str| Ok(Parts::Whole(Some(reason.to_owned())));
        let then = match told(since, model, current.as_ref().map(|current| current.state.as_str())) {
            Ok(then) => then,
            Err(reason) => return whole(&reason.to_string()),
        };
        let Some(current) = current else { return whole(&Whole::NoResult.to_string()) };
        let mut differences = BTreeMap::new();
        for input in &model.inputs {
            if incremental.inputs.iter().all(|dependence| dependence.table != *input) {
                return whole(&format!("nothing is said of what \"{input}\" means for it"));
            }
            let (Some(before), Some(now)) = (then.inputs.get(&input.to_string()), read.inputs.get(&input.to_string())) else {
                return whole(&format!("\"{input}\" is new"));
            };
            if before == now {
                continue;
            }
            match self.tables.difference(input, before, now).await? {
                Some(difference) => differences.insert(input.clone(), difference),
                None => return whole(&format!("what changed in \"{input}\" cannot be told")),
            };
        }
        Box::pin(session.compute_parts(model, incremental, current.rows, &differences, self.bounds, standard)).await
    }

    /// A model's table as it stands, or what a view shows; None if there is nothing yet.
    async fn shown(&self, session: &Session, model: &Model) -> Result<Option<Arc<dyn TableProvider>>> {
        if !model.is_view {
            return self.tables.open(model.table()).await;
        }
        for input in &model.stored {
            if self.tables.state(input).await?.is_none() {
                return Ok(None);
            }
        }
        session.provider(model.table()).await
    }

    /// Whether statements can read a model: it was made, or all that a view reads was.
    ///
    /// # Errors
    /// What kept a table from being opened.
    pub async fn has(&self, table: &TableName) -> Result<bool> {
        match self.models.get(table) {
            Some(model) => Ok(self.shown(&self.session(Timestamp::from_microseconds(0)), model).await?.is_some()),
            None => Ok(self.tables.state(table).await?.is_some()),
        }
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

    async fn compute(&self, table: &TableName, as_of: Timestamp, since: Option<&Basis>, standard: &Standard) -> Result<Computed> {
        let model = self.model(table)?;
        let session = self.session(as_of);
        let mut read = Read { program: PROGRAM.to_owned(), digest: model.digest.clone(), inputs: BTreeMap::new() };
        // All statements of this computation see the same rows, and those are what the result is said to be made from.
        for input in &model.stored {
            if let Some(pinned) = self.tables.pin(input).await? {
                session.register_table(input.schema(), input.table(), pinned.rows);
                read.inputs.insert(input.to_string(), pinned.state);
            }
        }
        if model.is_view {
            return session.compute_view(model, standard).await;
        }
        let current = self.tables.pin(table).await?;
        let mut computed = match self.parts(&session, model, &read, since, current.clone(), standard).await? {
            Parts::Computed(computed) => computed,
            Parts::Whole(reason) => {
                let computed = session.compute(model, current.map(|current| current.rows), standard).await?;
                let note = reason.map(|reason| format!("computed whole: {reason}")).unwrap_or_default();
                Computed { note, ..computed }
            }
        };
        computed.read = serde_json::to_string(&read).map_err(|_| Error::new(&BUG, "what a model read could not be written down"))?;
        Ok(computed)
    }

    async fn whole_because(&self, table: &TableName, since: Option<&Basis>) -> Result<Option<Whole>> {
        let model = self.model(table)?;
        let own = self.tables.state(table).await?;
        let units = model.incremental.as_ref().ok_or(Whole::NoUnits);
        Ok(told(since, model, own.as_deref()).and(units).err())
    }

    async fn still_holds(&self, table: &TableName, as_of: Timestamp) -> Result<Vec<String>> {
        let model = self.model(table)?;
        if !model.tests.iter().any(|test| matches!(test.kind, TestKind::Freshness { .. })) {
            return Ok(Vec::new());
        }
        let session = self.session(as_of);
        match self.shown(&session, model).await? {
            Some(rows) => session.still_holds(model, rows).await,
            None => Ok(Vec::new()),
        }
    }

    async fn state(&self, table: &TableName) -> Result<Option<String>> {
        self.tables.state(table).await
    }

    async fn export(&self, table: &TableName) -> Result<BatchStream> {
        let contract = &self.model(table)?.contract;
        let current = self.tables.open(table).await?;
        let current = current.ok_or_else(|| Error::new(&MODEL_INPUT, format!("table \"{table}\" is not in the lake yet")))?;
        self.session(Timestamp::from_microseconds(0)).export(contract, current).await
    }
}
