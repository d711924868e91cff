//! Runs a script: given tables in memory, models computed as in a run, queries compared line by line.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::json::ReaderBuilder;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use futures::TryStreamExt;
use pipeline_core::config::Config;
use pipeline_core::contract::{Contract, DELETED_COLUMN};
use pipeline_core::ledger::Measured;
use pipeline_core::model::Standard;
use pipeline_core::name::TableName;
use pipeline_core::window::Timestamp;
use pipeline_transforms::compute::{Parts, PartsBounds};
use pipeline_transforms::model::rules::Rules;
use pipeline_transforms::model::{Model, ModelSet};
use pipeline_transforms::session::{Difference, Session};

use crate::engine::engine;
use crate::script::{Block, Script, Step};

pub(crate) struct Runner<'a> {
    models: ModelSet,
    sources: &'a [Contract],
    /// Rules of segments: sections of a configuration by name.
    segments: BTreeMap<String, String>,
    parameters: BTreeMap<String, String>,
    as_of: Timestamp,
    /// Every table as it stands: given, or made by a model.
    tables: BTreeMap<TableName, Arc<dyn TableProvider>>,
    changes: BTreeMap<String, Arc<dyn TableProvider>>,
    /// Models that no script asked for: they are made again before each model that reads them.
    implied: BTreeSet<TableName>,
    /// What each model was last made from.
    made_from: BTreeMap<TableName, MadeFrom>,
    /// What the latest computation of touched units only measured of the whole table.
    measured: Option<Measured>,
    /// Computations of touched units only, and those in which nothing was touched.
    pub(crate) in_parts: u32,
    pub(crate) untouched: u32,
    /// Whether a result is only compared with that of computing the whole, and not with itself once more.
    pub(crate) is_brief: bool,
}

struct MadeFrom {
    parameters: BTreeMap<String, String>,
    inputs: BTreeMap<TableName, Arc<dyn TableProvider>>,
}

impl<'a> Runner<'a> {
    pub(crate) fn new(models: &ModelSet, sources: &'a [Contract], parameters: &BTreeMap<String, String>) -> Self {
        let as_of = "2025-11-04T06:00:00Z".parse().unwrap();
        let mut runner = Self {
            models: models.clone(),
            sources,
            segments: BTreeMap::new(),
            parameters: parameters.clone(),
            as_of,
            tables: BTreeMap::new(),
            changes: BTreeMap::new(),
            implied: BTreeSet::new(),
            made_from: BTreeMap::new(),
            measured: None,
            in_parts: 0,
            untouched: 0,
            is_brief: false,
        };
        // Extracted tables exist, with nothing in them, until they are given; so do the marts that a model reads.
        for contract in sources {
            runner.tables.insert(contract.table.clone(), memory(&contract.schema(), vec![]));
        }
        runner
    }

    /// The script's text with what the queries gave, and how that differs from what the script expects.
    pub(crate) async fn run(&mut self, script: &Script, text: &str) -> (String, Vec<String>) {
        let mut blessed: Vec<String> = text.lines().map(str::to_owned).collect();
        let mut failures = Vec::new();
        // From the last block to the first, so that lines above keep their place when a result has another length.
        let mut results: Vec<(usize, usize, Vec<String>)> = Vec::new();
        for block in &script.blocks {
            match self.step(block).await {
                Ok(Some(given)) => {
                    let Step::Query { sql, expected } = &block.step else { continue };
                    if &given != expected {
                        let (expected, given) = (expected.join("\n  "), given.join("\n  "));
                        failures.push(format!("{}: expected\n  {expected}\ngiven\n  {given}", block.line));
                    }
                    results.push((block.line + sql.lines().count() + 1, expected.len(), given));
                }
                Ok(None) => {}
                Err(problem) => failures.push(format!("{}: {problem}", block.line)),
            }
        }
        for (start, length, given) in results.into_iter().rev() {
            blessed.splice(start..start + length, given);
        }
        (blessed.join("\n") + "\n", failures)
    }

    async fn step(&mut self, block: &Block) -> Result<Option<Vec<String>>, String> {
        let text = |error: pipeline_core::error::Error| format!("{error:?}");
        match &block.step {
            Step::AsOf(instant) => self.as_of = instant.parse().map_err(text)?,
            Step::Parameter { name, value } => {
                self.parameters.insert(name.clone(), value.clone());
            }
            Step::Segment { name, keys } => {
                self.segments.insert(name.clone(), format!("[segments.{name}]\n{keys}\n"));
                let text: String = self.segments.values().cloned().collect();
                let config = Config::load(Path::new("segments.toml"), &text, None, &[]).map_err(text_of)?;
                let rules = Rules::new(&config.segments).map_err(text_of)?;
                self.models = self.models.clone().with_rules(rules, &self.parameters, None).map_err(text_of)?;
            }
            Step::Given { table, common, rows } => self.give(table, common, rows)?,
            Step::Model { table } => {
                self.implied.remove(table);
                self.model(table).await?;
            }
            Step::Fails { table, code, words } => {
                let model = self.models.get(table).ok_or("no such model")?;
                match self.session().compute(model, None, &Standard::default()).await {
                    Ok(_) => return Err(format!("model {table} should fail with {code}")),
                    Err(error) => {
                        let error = format!("{error:?}");
                        if let Some(missing) = [code].into_iter().chain(words).find(|words| !error.contains(*words)) {
                            return Err(format!("\"{missing}\" is not in the error {error}"));
                        }
                    }
                }
            }
            Step::Query { sql, .. } => return Ok(Some(lines(&collect(&self.session(), sql).await?))),
        }
        Ok(None)
    }

    fn session(&self) -> Session {
        let session = engine(&self.parameters).session(self.as_of, None);
        for (name, table) in &self.tables {
            session.register_table(name.schema(), name.table(), Arc::clone(table));
        }
        for (name, table) in &self.changes {
            session.register_table("changes", name, Arc::clone(table));
        }
        session
    }

    /// Fills a table.
    pub(crate) fn give(&mut self, table: &TableName, common: &serde_json::Value, rows: &[serde_json::Value]) -> Result<(), String> {
        let given = self.given(table, common, rows)?;
        self.tables.insert(table.clone(), given);
        self.implied.remove(table);
        self.made_from.remove(table);
        Ok(())
    }

    /// Computes a model that is current already or not, and keeps its result, its changes, and the promise between them. What was made before is
    /// computed as in a run, so that an incremental model only has its touched units computed.
    pub(crate) async fn model(&mut self, table: &TableName) -> Result<(), String> {
        let models = self.models.clone();
        let model = models.get(table).ok_or("no such model")?;
        for input in model.inputs.iter().filter(|input| input.is_model()) {
            if !self.tables.contains_key(input) {
                self.implied.insert(input.clone());
            }
            if self.implied.contains(input) {
                Box::pin(self.model(input)).await?;
            }
        }
        let session = self.session();
        let before = self.tables.get(table).cloned();
        self.measured = None;
        let changes = self.compute(&session, model, before.clone()).await?;
        let after = match before {
            None => rows_of(model, &changes)?,
            Some(before) => {
                session.register_table("before", "rows", before);
                session.register_table("changed", "rows", memory(&model.contract.changes_schema(), changes.clone()));
                collect(&session, &applied(model)).await?
            }
        };
        let after = memory(&model.contract.schema(), after);
        self.check(&session, model, &after).await?;
        self.changes.insert(table.table().to_owned(), memory(&model.contract.changes_schema(), changes));
        let unchanged = self.tables.contains_key(table) && self.changes_nothing(table).await?;
        if !unchanged {
            self.tables.insert(table.clone(), after);
        }
        let inputs = model.inputs.iter().map(|input| (input.clone(), Arc::clone(&self.tables[input]))).collect();
        self.made_from.insert(table.clone(), MadeFrom { parameters: self.parameters.clone(), inputs });
        Ok(())
    }

    /// What a query gives: a line a row, with a bar between values.
    pub(crate) async fn rows(&self, sql: &str) -> Result<Vec<String>, String> {
        Ok(lines(&collect(&self.session(), sql).await?))
    }

    async fn changes_nothing(&self, table: &TableName) -> Result<bool, String> {
        Ok(lines(&collect(&self.session(), &format!("SELECT * FROM changes.{} LIMIT 1", table.table())).await?).is_empty())
    }

    async fn compute(
        &mut self,
        session: &Session,
        model: &Model,
        before: Option<Arc<dyn TableProvider>>,
    ) -> Result<Vec<RecordBatch>, String> {
        let text = |error: pipeline_core::error::Error| format!("{error:?}");
        let (Some(incremental), Some(current), Some(made_from)) = (&model.incremental, &before, self.made_from.get(model.table())) else {
            return compute(session, model, before).await;
        };
        if made_from.parameters != self.parameters {
            return compute(session, model, before).await;
        }
        let mut differences = BTreeMap::new();
        for (input, former) in &made_from.inputs {
            let now = &self.tables[input];
            if !Arc::ptr_eq(former, now) {
                differences.insert(input.clone(), Difference { before: Some(Arc::clone(former)), after: Some(Arc::clone(now)) });
            }
        }
        let unbounded = PartsBounds { units_share_max: f64::INFINITY, changed_rows_max: usize::MAX };
        match session
            .compute_parts(model, incremental, Arc::clone(current), &differences, unbounded, &Standard::default())
            .await
            .map_err(text)?
        {
            Parts::Computed(computed) => {
                if computed.rows > 0 {
                    self.in_parts += 1;
                } else {
                    self.untouched += 1;
                }
                self.measured = Some(computed.measured);
                computed.changes.try_collect().await.map_err(text)
            }
            Parts::Whole(reason) => Err(format!("model {} was not computed in parts: {reason:?}", model.table())),
        }
    }

    /// What a table and its changes make is what the model gives, so that computing it once more changes nothing.
    async fn check(&self, session: &Session, model: &Model, after: &Arc<dyn TableProvider>) -> Result<(), String> {
        // What reads its own former result may well answer another one the next time.
        if !model.uses_previous {
            let again = if self.is_brief { Vec::new() } else { compute(session, model, Some(Arc::clone(after))).await? };
            if !lines(&again).is_empty() {
                return Err(format!("computed again, model {} changes: {}", model.table(), lines(&again).join("; ")));
            }
            let computed = session.compute(model, None, &Standard::default()).await.map_err(text_of)?;
            let measured = computed.measured;
            if let Some(in_parts) = self.measured.as_ref().filter(|in_parts| !is_same(in_parts, &measured)) {
                return Err(format!("model {}: in parts {in_parts:?} is measured, and {measured:?} of the whole", model.table()));
            }
            let whole = rows_of(model, &computed.changes.try_collect::<Vec<_>>().await.map_err(text_of)?)?;
            session.register_table("after", "rows", Arc::clone(after));
            let mut after = lines(&collect(session, "SELECT * FROM after.rows").await?);
            let mut whole = lines(&whole);
            after.sort();
            whole.sort();
            if after != whole {
                return Err(format!("model {}: table and changes make {after:?} instead of {whole:?}", model.table()));
            }
        }
        Ok(())
    }

    fn given(&self, table: &TableName, common: &serde_json::Value, rows: &[serde_json::Value]) -> Result<Arc<dyn TableProvider>, String> {
        let sources = self.sources.iter().chain(self.models.models().iter().map(|model| &model.contract));
        let contract = sources.into_iter().find(|contract| contract.table == *table).ok_or_else(|| format!("no table {table}"))?;
        let schema = optional(&contract.schema());
        let mut text = Vec::new();
        for row in rows {
            let mut whole = common.clone();
            lay_over(&mut whole, row);
            text.extend(serde_json::to_vec(&whole).unwrap());
            text.push(b'\n');
        }
        let reader =
            ReaderBuilder::new(Arc::clone(&schema)).with_strict_mode(true).build(text.as_slice()).map_err(|error| error.to_string())?;
        let batches = reader.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
        Ok(memory(&schema, batches))
    }
}

fn text_of(error: pipeline_core::error::Error) -> String {
    format!("{error:?}")
}

/// Whether two measurements are of the same rows: means of them may be summed in another order.
fn is_same(one: &Measured, other: &Measured) -> bool {
    let is_near =
        |(name, number): (&String, &f64)| other.columns.get(name).is_some_and(|near| (near - number).abs() <= number.abs() * 1e-9);
    one.rows == other.rows && one.columns.len() == other.columns.len() && one.columns.iter().all(is_near)
}

/// The table before, without the keys that changed, and the changed rows that are there.
fn applied(model: &Model) -> String {
    let columns: Vec<String> = model.contract.columns.iter().map(|column| format!("\"{}\"", column.name)).collect();
    let columns = columns.join(", ");
    let same: Vec<String> = model.contract.key.iter().map(|key| format!("b.\"{key}\" = c.\"{key}\"")).collect();
    let same = same.join(" AND ");
    format!(
        "SELECT {columns} FROM before.rows AS b WHERE NOT EXISTS (SELECT 1 FROM changed.rows AS c WHERE {same}) \
         UNION ALL SELECT {columns} FROM changed.rows WHERE NOT {DELETED_COLUMN}"
    )
}

async fn compute(session: &Session, model: &Model, current: Option<Arc<dyn TableProvider>>) -> Result<Vec<RecordBatch>, String> {
    let text = |error: pipeline_core::error::Error| format!("{error:?}");
    let computed = session.compute(model, current, &Standard::default()).await.map_err(text)?;
    if let Some(warning) = computed.warnings.first() {
        // Scripts give odd rows on purpose; what only warns is not theirs to test.
        tracing::debug!(%warning);
    }
    computed.changes.try_collect().await.map_err(text)
}

/// Changes that are all rows, as rows.
fn rows_of(model: &Model, changes: &[RecordBatch]) -> Result<Vec<RecordBatch>, String> {
    let width = model.contract.columns.len();
    let rows = changes.iter().map(|batch| RecordBatch::try_new(model.contract.schema(), batch.columns()[..width].to_vec()));
    rows.collect::<Result<_, _>>().map_err(|error| error.to_string())
}

async fn collect(session: &Session, sql: &str) -> Result<Vec<RecordBatch>, String> {
    let text = |error: pipeline_core::error::Error| format!("{error:?}");
    session.query(sql).await.map_err(text)?.try_collect().await.map_err(text)
}

/// A table in memory; its rows keep their own schema's columns under the given one.
fn memory(schema: &SchemaRef, batches: Vec<RecordBatch>) -> Arc<dyn TableProvider> {
    let schema = optional(schema);
    let batches = batches.iter().map(|batch| RecordBatch::try_new(Arc::clone(&schema), batch.columns().to_vec()).unwrap());
    Arc::new(MemTable::try_new(Arc::clone(&schema), vec![batches.collect()]).unwrap())
}

fn optional(schema: &SchemaRef) -> SchemaRef {
    Arc::new(Schema::new(schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect::<Vec<_>>()))
}

fn lay_over(base: &mut serde_json::Value, over: &serde_json::Value) {
    match (base, over) {
        (serde_json::Value::Object(base), serde_json::Value::Object(over)) => {
            for (name, value) in over {
                lay_over(base.entry(name.clone()).or_insert(serde_json::Value::Null), value);
            }
        }
        (base, over) => *base = over.clone(),
    }
}

fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let mut lines = Vec::new();
    for batch in batches {
        let columns: Vec<ArrayFormatter<'_>> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
        for row in 0..batch.num_rows() {
            lines.push(columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join("|"));
        }
    }
    lines
}
