//! Which rows are behind a row of a mart.
//!
//! The row is named by its key. The statement's plan tells, from the top down, which rows of the tables it reads make that row
//! (`trace`); of models among those tables the same is asked again, by the keys of the rows found, until only extracted tables
//! are left. Nothing is known here of any mart.

mod restriction;
#[cfg(test)]
mod tests;
mod trace;
mod view;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::dataframe::DataFrame;
use datafusion::datasource::MemTable;
use datafusion::datasource::empty::EmptyTable;
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, ident, lit};
use futures::TryStreamExt;
use pipeline_core::contract::{ColumnType, Contract};
use pipeline_core::error::{Error, Result};
use pipeline_core::name::{ColumnName, TableName};

use crate::errors::{WHY, failure};
use crate::lineage::{Lineage, ModelLineage};
use crate::model::{Model, ModelSet, PREVIOUS};
use crate::session::Session;
use restriction::{Condition, Membership, Restriction, column};
use trace::{Leaf, Trace};

/// Rows of a table whose keys are kept to ask further; of more, only how many they are is known.
const KEYS_MAX: u64 = 200_000;

/// What is behind a row.
#[derive(Debug, Clone)]
pub struct Why {
    /// The table.
    pub table: TableName,
    /// The key's columns with the values asked for.
    pub key: Vec<(ColumnName, String)>,
    /// The row.
    pub row: RecordBatch,
    /// The columns that the statement does not give again from the rows found alone: what they tell depends on other rows too, or has
    /// changed since.
    pub differs: Vec<String>,
    /// What it is made from, nearest first.
    pub inputs: Vec<Input>,
}

/// The rows of one table.
#[derive(Debug, Clone)]
pub struct Input {
    /// The table.
    pub table: TableName,
    /// The models on the way that read it.
    pub read_by: BTreeSet<TableName>,
    /// How many rows were found.
    pub rows: u64,
    /// How many there are in all.
    pub rows_in_all: u64,
    /// By what they were found, in SQL.
    pub found_by: BTreeSet<String>,
    /// What was not followed, and why.
    pub notes: BTreeSet<String>,
    /// Columns of what is shown: the key, then what the models on the way use; fields of structs by their path.
    pub schema: SchemaRef,
    /// The first rows, in the order of their key.
    pub shown: Vec<RecordBatch>,
}

/// What is found of a table while its readers are asked.
#[derive(Default)]
struct Found {
    read_by: BTreeSet<TableName>,
    found_by: BTreeSet<String>,
    notes: BTreeSet<String>,
    /// Keys of rows, each at least once.
    keys: Vec<RecordBatch>,
}

/// Asks of one project.
pub(crate) struct Asking<'a> {
    pub(crate) session: Session,
    pub(crate) models: &'a ModelSet,
    pub(crate) sources: &'a [Contract],
    pub(crate) lineage: &'a Lineage,
    /// Rows shown of each table at the most.
    pub(crate) limit: usize,
}

impl Asking<'_> {
    /// What is behind the row of `table` with this key, its values in the order of the contract's key.
    ///
    /// # Errors
    /// [`WHY`] if there is no such table or row, or the key has other columns or types.
    pub(crate) async fn why(&self, table: &TableName, key: &[String]) -> Result<Why> {
        let model = self.models.get(table).ok_or_else(|| self.unknown(table))?;
        let contract = &model.contract;
        let asked = conditions(contract, key)?;
        let row = self.row(model, &asked).await?;
        let mut found: BTreeMap<TableName, Found> = BTreeMap::new();
        let mut differs = Vec::new();
        for reader in self.models.models().iter().rev() {
            let asked = if reader.table() == table {
                asked.clone()
            } else {
                let Some(found) = found.get_mut(reader.table()) else { continue };
                let keys = self.distinct(&reader.contract, std::mem::take(&mut found.keys)).await?;
                let rows: u64 = keys.iter().map(|batch| batch.num_rows() as u64).sum();
                found.keys.clone_from(&keys);
                if rows == 0 {
                    continue;
                }
                if rows > KEYS_MAX {
                    found.notes.insert(format!("these are more than {KEYS_MAX} rows: what they are made from is not followed"));
                    continue;
                }
                self.members(&reader.contract, keys).map_err(|error| failure(what(reader.table()), error))?
            };
            let again = Box::pin(self.ask(reader, asked, &mut found)).await?;
            if reader.table() == table {
                differs = self.differing(&row, again, table).await?;
            }
        }
        let mut inputs = Vec::with_capacity(found.len());
        for (input, found) in found {
            inputs.push(Box::pin(self.input(input, found)).await?);
        }
        let place = |input: &Input| self.models.models().iter().position(|model| *model.table() == input.table);
        // Models after those that are made from them; extracted tables last.
        inputs.sort_by_key(|input| (place(input).map_or(usize::MAX, |place| self.models.models().len() - place), input.table.clone()));
        let key = contract.key.iter().cloned().zip(key.iter().cloned()).collect();
        Ok(Why { table: table.clone(), key, row, differs, inputs })
    }

    fn unknown(&self, table: &TableName) -> Error {
        let error = Error::new(&WHY, format!("there is no model \"{table}\""));
        if self.sources.iter().any(|contract| contract.table == *table) {
            return error.hint(format!("\"{table}\" is extracted: its rows are the source's own. Ask for a row of a model."));
        }
        let names: Vec<String> = self.models.models().iter().map(|model| model.table().to_string()).collect();
        error.hint(format!("Models are: {}.", names.join(", ")))
    }

    async fn row(&self, model: &Model, asked: &Restriction) -> Result<RecordBatch> {
        let table = model.table();
        if !self.session.has(table).await? {
            return Err(Error::new(&WHY, format!("table \"{table}\" is not in the lake yet"))
                .hint("Make it first: `pipeline run NAME` with the pipeline that has it."));
        }
        let scan = self.scan(table).await?;
        let schema = Arc::clone(scan.schema());
        let below = asked.pushed(asked_schema(&model.contract)?.as_ref(), &|index| {
            let name = model.contract.columns.get(index)?.name.as_str();
            Some(column(&schema, schema.index_of_column_by_name(None, name)?))
        });
        let plan = below.and_then(|below| below.restriction.applied(&scan)).map_err(|error| failure(what(table), error))?;
        let frame = self.frame(plan);
        let batches = self.rows(frame, table).await?;
        let row = batches.into_iter().find(|batch| batch.num_rows() > 0);
        row.ok_or_else(|| {
            let key: Vec<&str> = model.contract.key.iter().map(ColumnName::as_str).collect();
            Error::new(&WHY, format!("table \"{table}\" has no row with this key"))
                .hint(format!("`pipeline query \"SELECT {} FROM {table} LIMIT 10\"` shows keys that it has.", key.join(", ")))
        })
    }

    /// The columns whose value is another one when it is computed from the rows found alone.
    async fn differing(&self, row: &RecordBatch, again: LogicalPlan, table: &TableName) -> Result<Vec<String>> {
        let batches = self.rows(self.frame(again), table).await?;
        let again = batches.iter().find(|batch| batch.num_rows() > 0);
        let is_same = |name: &str| {
            let one = row.column_by_name(name)?.slice(0, 1);
            let other = again?.column_by_name(name)?.slice(0, 1);
            let other = arrow::compute::cast(&other, one.data_type()).ok()?;
            Some(one == other)
        };
        let names = row.schema_ref().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
        Ok(names.into_iter().filter(|name| is_same(name) != Some(true)).collect())
    }

    /// Asks a model's statement for the rows behind those of its result. Returns the statement over these rows alone.
    async fn ask(&self, model: &Model, asked: Restriction, found: &mut BTreeMap<TableName, Found>) -> Result<LogicalPlan> {
        if model.uses_previous {
            let empty = EmptyTable::new(model.contract.schema());
            self.session.register_table(PREVIOUS, model.table().table(), Arc::new(empty));
        }
        // Former results are not followed: what they were made of is gone.
        for contract in &model.former {
            self.session.register_table(PREVIOUS, contract.table.table(), Arc::new(EmptyTable::new(contract.schema())));
        }
        if let Some(rules) = &model.rules {
            rules.register(&self.session).await?;
        }
        let statement = self.session.select(&model.sql).await.map_err(|error| failure(what(model.table()), error))?;
        let plan = statement.logical_plan();
        let mut trace = Trace::new(&self.session);
        let asked = over_statement(&model.contract, plan, &asked);
        let followed = async |trace: &mut Trace<'_>| {
            let asked = asked?;
            asked.applied(&trace.follow(plan, asked.clone()).await?)
        };
        let again = followed(&mut trace).await.map_err(|error| failure(what(model.table()), error))?;
        for input in &model.inputs {
            found.entry(input.clone()).or_default().read_by.insert(model.table().clone());
        }
        // A note names a table if it is about one; else it is about all that the model reads.
        for note in &trace.notes {
            let about = model.inputs.iter().find(|input| note.starts_with(&format!("{input} ")));
            for input in model.inputs.iter().filter(|input| about.is_none_or(|about| about == *input)) {
                found.entry(input.clone()).or_default().notes.insert(note.clone());
            }
        }
        for leaf in trace.leaves {
            let keys = self.keys(&leaf).await?;
            let entry = found.entry(leaf.table).or_default();
            entry.found_by.extend(leaf.found_by);
            entry.keys.extend(keys);
        }
        Ok(again)
    }

    async fn keys(&self, leaf: &Leaf) -> Result<Vec<RecordBatch>> {
        let contract = self.contract(&leaf.table)?;
        let schema = leaf.rows.schema();
        let keys = key_columns(contract).into_iter().filter_map(|name| Some(column(schema, schema.index_of_column_by_name(None, &name)?)));
        let plan = LogicalPlanBuilder::from(leaf.rows.clone())
            .project(keys.collect::<Vec<_>>())
            .and_then(LogicalPlanBuilder::distinct)
            .and_then(LogicalPlanBuilder::build)
            .map_err(|error| failure(what(&leaf.table), error))?;
        self.rows(self.frame(plan), &leaf.table).await
    }

    /// Keys, each once.
    async fn distinct(&self, contract: &Contract, keys: Vec<RecordBatch>) -> Result<Vec<RecordBatch>> {
        let Some(first) = keys.first() else { return Ok(keys) };
        let schema = first.schema();
        let unique = || {
            let batches = keys.iter().map(|batch| RecordBatch::try_new(Arc::clone(&schema), batch.columns().to_vec()));
            let table = MemTable::try_new(Arc::clone(&schema), vec![batches.collect::<Result<Vec<_>, _>>()?])?;
            self.session.context().read_table(Arc::new(table))?.distinct()
        };
        let frame = unique().map_err(|error| failure(what(&contract.table), error))?;
        self.rows(frame, &contract.table).await
    }

    /// The rows of a table that have these keys; one key is said by its values, several by a table of them.
    fn members(&self, contract: &Contract, keys: Vec<RecordBatch>) -> Result<Restriction, DataFusionError> {
        let schema = asked_schema_of(contract)?;
        let columns: Vec<Expr> =
            key_columns(contract).iter().filter_map(|name| Some(column(&schema, schema.index_of_column_by_name(None, name)?))).collect();
        let rows: usize = keys.iter().map(RecordBatch::num_rows).sum();
        if let (1, Some(batch)) = (rows, keys.iter().find(|batch| batch.num_rows() == 1)) {
            let conditions = columns.into_iter().zip(batch.columns()).map(|(column, values)| {
                let value = ScalarValue::try_from_array(values, 0)?;
                let predicate = if value.is_null() { column.is_null() } else { column.eq(Expr::Literal(value, None)) };
                Ok(Condition { predicate, asked: true })
            });
            return Ok(Restriction { conditions: conditions.collect::<Result<_, DataFusionError>>()?, memberships: Vec::new() });
        }
        let Some(first) = keys.first() else { return Ok(Restriction::default()) };
        let table = MemTable::try_new(first.schema(), vec![keys])?;
        let values = self.session.context().read_table(Arc::new(table))?.logical_plan().clone();
        let values = LogicalPlanBuilder::from(values).alias("asked")?.build()?;
        let on = columns.into_iter().zip(0..).collect();
        Ok(Restriction { conditions: Vec::new(), memberships: vec![Membership { on, values: Arc::new(values), nulls_match: true }] })
    }

    /// What is shown of a table.
    async fn input(&self, table: TableName, found: Found) -> Result<Input> {
        let contract = self.contract(&table)?;
        let wrong = |error: DataFusionError| failure(what(&table), error);
        let keys = self.distinct(contract, found.keys).await?;
        let scan = self.scan(&table).await?;
        let all = self.frame(scan.clone()).count().await.map_err(wrong)?;
        let rows: u64 = keys.iter().map(|batch| batch.num_rows() as u64).sum();
        let restriction = if rows == 0 { Restriction::default() } else { self.members(contract, keys).map_err(wrong)? };
        let schema = Arc::clone(scan.schema());
        let shown = || {
            let below = restriction.pushed(&*asked_schema_of(contract)?, &|index| {
                let name = contract.columns.get(index)?.name.as_str();
                Some(column(&schema, schema.index_of_column_by_name(None, name)?))
            })?;
            let order = key_columns(contract).into_iter().map(|name| ident(name).sort(true, false)).collect::<Vec<_>>();
            let columns = self.shown_columns(contract, &found.read_by);
            let limit = if rows == 0 { 0 } else { self.limit };
            let plan = LogicalPlanBuilder::from(below.restriction.applied(&scan)?).sort(order)?.limit(0, Some(limit))?.project(columns)?;
            plan.build()
        };
        let frame = self.frame(shown().map_err(wrong)?);
        let schema = Arc::clone(frame.schema().inner());
        let shown = self.rows(frame, &table).await?;
        let (read_by, found_by, notes) = (found.read_by, found.found_by, found.notes);
        Ok(Input { read_by, rows, rows_in_all: all as u64, found_by, notes, schema, shown, table })
    }

    /// The key, then what the readers use, in the order of the contract. Lists are left out.
    fn shown_columns(&self, contract: &Contract, readers: &BTreeSet<TableName>) -> Vec<Expr> {
        let steps: Vec<&ModelLineage> = readers.iter().filter_map(|reader| self.lineage.step(reader)).collect();
        let mut paths: BTreeSet<&str> = BTreeSet::new();
        for step in steps {
            let columns = step.columns.iter().flat_map(|(_, column)| column.direct.keys().chain(column.indirect.fields.keys()));
            let fields = columns.chain(step.rows.fields.keys()).filter(|field| field.table == contract.table && !field.is_rows());
            paths.extend(fields.map(|field| field.path.as_str()));
        }
        let key = key_columns(contract);
        let place = |path: &str| contract.columns.iter().position(|column| Some(column.name.as_str()) == path.split('.').next());
        let mut others: Vec<&str> =
            paths.into_iter().filter(|path| !key.iter().any(|name| name == path) && is_flat(contract, path)).collect();
        others.sort_by_key(|path| (place(path), *path));
        let by_path = |path: &str| {
            let mut names = path.split('.');
            let start = ident(names.next().unwrap_or_default());
            names.fold(start, get_field).alias(path)
        };
        key.iter().map(ident).chain(others.into_iter().map(by_path)).collect()
    }

    fn contract(&self, table: &TableName) -> Result<&Contract> {
        let model = self.models.get(table).map(|model| &model.contract);
        let found = model.or_else(|| self.sources.iter().find(|contract| contract.table == *table));
        found.ok_or_else(|| Error::new(&WHY, format!("table \"{table}\" is read by a model, but nothing declares it")))
    }

    async fn scan(&self, table: &TableName) -> Result<LogicalPlan> {
        let name = datafusion::common::TableReference::partial(table.schema(), table.table());
        let frame = self.session.context().table(name).await.map_err(|error| failure(what(table), error))?;
        Ok(frame.logical_plan().clone())
    }

    fn frame(&self, plan: LogicalPlan) -> DataFrame {
        DataFrame::new(self.session.context().state(), plan)
    }

    async fn rows(&self, frame: DataFrame, table: &TableName) -> Result<Vec<RecordBatch>> {
        let _turn = self.session.engine().turns().beside_others().await;
        let stream = crate::session::stream("rows could not be followed", frame).await?;
        stream.try_collect().await.map_err(|error: Error| error.context(what(table)))
    }
}

fn what(table: &TableName) -> String {
    format!("rows behind \"{table}\" cannot be told")
}

/// The columns that identify a row: the key, or all that can be compared.
fn key_columns(contract: &Contract) -> Vec<String> {
    if contract.key.is_empty() {
        let flat = contract.columns.iter().filter(|column| !column.data_type.is_nested());
        return flat.map(|column| column.name.to_string()).collect();
    }
    contract.key.iter().map(ToString::to_string).collect()
}

/// Whether a path leads to one value, through structs only.
fn is_flat(contract: &Contract, path: &str) -> bool {
    let mut names = path.split('.');
    let first = names.next().unwrap_or_default();
    let Some(mut data_type) = contract.columns.iter().find(|column| column.name.as_str() == first).map(|column| &column.data_type) else {
        return false;
    };
    for name in names {
        let ColumnType::Struct(fields) = data_type else { return false };
        let Some(field) = fields.iter().find(|field| field.name == name) else { return false };
        data_type = &field.data_type;
    }
    !data_type.is_nested()
}

/// The contract's columns as those of a plan, which restrictions of a table are over.
fn asked_schema_of(contract: &Contract) -> Result<Arc<datafusion::common::DFSchema>, DataFusionError> {
    datafusion::common::DFSchema::try_from(contract.schema().as_ref().clone()).map(Arc::new)
}

fn asked_schema(contract: &Contract) -> Result<Arc<datafusion::common::DFSchema>> {
    asked_schema_of(contract).map_err(|error| failure(what(&contract.table), error))
}

/// A restriction over a contract's columns, said of the statement's, which has the same columns by name.
fn over_statement(contract: &Contract, plan: &LogicalPlan, asked: &Restriction) -> Result<Restriction, DataFusionError> {
    let schema = plan.schema();
    let pushed = asked.pushed(&*asked_schema_of(contract)?, &|index| {
        let name = contract.columns.get(index)?.name.as_str();
        Some(column(schema, schema.index_of_column_by_name(None, name)?))
    })?;
    Ok(pushed.restriction)
}

/// The key's values as conditions over the contract's columns.
fn conditions(contract: &Contract, key: &[String]) -> Result<Restriction> {
    let table = &contract.table;
    let names: Vec<&str> = contract.key.iter().map(ColumnName::as_str).collect();
    if names.len() != key.len() {
        return Err(Error::new(&WHY, format!("the key of \"{table}\" has {} columns, and {} values are given", names.len(), key.len()))
            .hint(format!("Give a value for each, in this order: pipeline why {table} {}", names.join(" ").to_uppercase())));
    }
    let schema = asked_schema(contract)?;
    let mut asked = Restriction::default();
    for (name, text) in contract.key.iter().zip(key) {
        let Some(declared) = contract.column(name) else { continue };
        let data_type = declared.field().data_type().clone();
        let value = ScalarValue::try_from_string(text.clone(), &data_type).ok().filter(|value| !value.is_null());
        // A cast that rounds is not what was typed: 3.7 is no whole number.
        let value = value.ok_or_else(|| {
            Error::new(&WHY, format!("the value given for \"{name}\" of \"{table}\" is no {}", declared.data_type))
                .hint(format!("The key is, in this order: {}.", names.join(", ")))
        })?;
        let Some(index) = schema.index_of_column_by_name(None, name.as_str()) else { continue };
        asked.conditions.push(Condition { predicate: column(&schema, index).eq(lit(value)), asked: true });
    }
    Ok(asked)
}
