//! Computing only the units that changed rows touch.
//!
//! ```text
//! rows that differ ── units queries ──> units ──> the rows that these are computed from ── statement ──> their new rows
//!                                         └─────> the table's rows of these units ─────────────────────────┴──> changes
//! ```
//! The statement is the same as for the whole; it is only shown less. What it gives for other units, from context that it was
//! shown, is dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, JoinType, ScalarValue};
use datafusion::dataframe::DataFrame;
use datafusion::datasource::MemTable;
use datafusion::datasource::empty::EmptyTable;
use datafusion::functions_aggregate::expr_fn::{count_distinct, max, min, sum};
use datafusion::logical_expr::{Expr, LogicalPlan, ident, lit};
use futures::StreamExt;
use pipeline_core::batch::BatchStream;
use pipeline_core::error::{Error, Result};
use pipeline_core::model::{Computed, Standard};
use pipeline_core::name::{ColumnName, TableName};
use tracing::Instrument;

use super::digest::row_digest;
use super::spilled::Spilled;
use super::{Missing, Plan, changes, check_types, checks, typed};
use crate::errors::{MODEL_INPUT, failure};
use crate::model::{CHANGED, CHANGED_ROWS, CHANGED_UNITS, Dependence, Incremental, Model, PREVIOUS, Rows};
use crate::session::{Difference, Session, at_most};

/// Names that cannot be a column's, which have no spaces.
const DIGEST: &str = "row digest";
const SIGN: &str = "row sign";

/// As many values as the engine looks for one by one when it leaves files and row groups out.
const VALUES_LISTED_MAX: usize = 20;

/// What came of the attempt to compute a model in parts.
#[derive(Debug)]
pub enum Parts {
    /// The changes, from the units that were touched.
    Computed(Computed),
    /// The whole has to be computed; why, in words, if there is something to say.
    Whole(Option<String>),
}

/// Up to where telling units apart is worth it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PartsBounds {
    /// Where more than this share of the table's units is touched, all of them are computed: it saves telling them apart.
    pub units_share_max: f64,
    /// Changed rows of one input, and units touched by them, that are held in memory.
    pub changed_rows_max: usize,
}

impl Default for PartsBounds {
    fn default() -> Self {
        Self { units_share_max: 0.5, changed_rows_max: 500_000 }
    }
}

impl Session {
    /// Computes those units of an incremental model that changed rows touch, and compares them with the same units of `current`, the table
    /// as it stands and as it followed from the former states of `differences`; inputs that are not named there are the same. Beyond the
    /// bounds nothing is computed.
    ///
    /// # Errors
    /// Those of [`Session::compute`].
    pub async fn compute_parts(
        &self,
        model: &Model,
        incremental: &Incremental,
        current: Arc<dyn TableProvider>,
        differences: &BTreeMap<TableName, Difference>,
        bounds: PartsBounds,
        standard: &Standard,
    ) -> Result<Parts> {
        let session = self.private();
        let table = model.table();
        session.register_table(PREVIOUS, table.table(), Arc::clone(&current));
        let touched = Box::pin(touched(&session, model, incremental, differences, bounds.changed_rows_max));
        let units = match touched.instrument(tracing::info_span!("differences", model = %table)).await {
            Ok(Some(units)) => units,
            Ok(None) => return Ok(Parts::Whole(Some(format!("more than {} rows changed", bounds.changed_rows_max)))),
            Err(error) => {
                tracing::warn!(model = %table, %error, "what changed could not be told, so the model is computed whole");
                return Ok(Parts::Whole(Some("what changed could not be told".to_owned())));
            }
        };
        let touched = units.iter().map(RecordBatch::num_rows).sum::<usize>();
        let what = || format!("touched units of model \"{table}\" could not be kept");
        let units = MemTable::try_new(unit_schema(model, incremental), vec![units]).map_err(|error| failure(what(), error))?;
        session.register_table(CHANGED, CHANGED_UNITS, Arc::new(units));
        let (all, known) = units_of(&session, model, incremental).await?;
        let by: Vec<&str> = incremental.by.iter().map(ColumnName::as_str).collect();
        let by = by.join(", ");
        // A table that holds only what stands out has few units, whatever is touched.
        let share = if touched as u64 <= all {
            format!("{touched} of {all} units by {by}")
        } else {
            format!("{touched} units by {by}, {known} of the table's {all} among them,")
        };
        if touched == 0 {
            // Another table may have changed so that a test of several rows fails, and warnings are told each time.
            let none = session.context().read_table(Arc::new(EmptyTable::new(model.contract.schema())));
            let none = none.map_err(|error| failure(what(), error))?;
            let result = Spilled::write(&session, model, none).await.map_err(|error| failure(what(), error))?;
            let whole = Whole { incremental, current, differences };
            let rows = rows_of(&session, model).await?;
            let (warnings, measured) = Box::pin(checks::check(&session, model, &result, Some(&whole), rows, standard)).await?;
            let changes = BatchStream::of(model.contract.changes_schema(), Vec::new());
            return Ok(Parts::Computed(Computed { changes, rows: 0, warnings, measured, read: String::new(), note: share }));
        }
        // Everything of a table that is empty is new.
        let known_share = if all == 0 { 1.0 } else { known as f64 / all as f64 };
        if known_share > bounds.units_share_max {
            return Ok(Parts::Whole(Some(format!("{share} are touched"))));
        }
        let narrowed = session.private();
        let mut held = Vec::new();
        for dependence in incremental.inputs.iter().filter(|dependence| dependence.rows != Rows::All) {
            let (input, schema) = (&dependence.table, schema_of(&session, &dependence.table).await?);
            let shown = columns_read(&session, &model.sql, input, &schema).await.map_err(|error| failure(what(), error))?;
            let plan = Plan::Input { dependence, schema: &schema, shown: &shown };
            let rows = session.spill(model, &plan).instrument(tracing::info_span!("input", model = %table, %input)).await?;
            let view = rows.read(&narrowed).await.map_err(|error| failure(what(), error))?;
            narrowed.register_table(input.schema(), input.table(), view.into_view());
            held.push(rows);
        }
        let result =
            narrowed.spill(model, &Plan::Units(model, incremental)).instrument(tracing::info_span!("statement", model = %table)).await?;
        let former = Plan::Former { model, incremental, current: &current };
        let former = session.spill(model, &former).instrument(tracing::info_span!("former", model = %table)).await?;
        let whole = Whole { incremental, current: Arc::clone(&current), differences };
        let rows = result.rows();
        let whole_rows = rows_of(&session, model).await?.saturating_sub(former.rows()) + rows;
        let checked = Box::pin(checks::check(&session, model, &result, Some(&whole), whole_rows, standard));
        let (warnings, measured) = checked.instrument(tracing::info_span!("checks", model = %table)).await?;
        let view = former.read(&session).await.map_err(|error| failure(what(), error))?.into_view();
        held.push(former);
        let comparison = tracing::info_span!("comparison", model = %table, rows);
        let changes = Box::pin(changes::changes(&session, model, result, Some(view))).instrument(comparison).await?;
        let schema = changes.schema();
        // Their files are read while the stream lives, and go when it does.
        let changes = changes.map(move |batch| {
            let _held = &held;
            batch
        });
        let changes = BatchStream::new(schema, changes);
        Ok(Parts::Computed(Computed { changes, rows, warnings, measured, read: String::new(), note: format!("{share} computed anew") }))
    }
}

/// The whole new table, for tests that ask for more than single rows.
pub(super) struct Whole<'a> {
    incremental: &'a Incremental,
    current: Arc<dyn TableProvider>,
    differences: &'a BTreeMap<TableName, Difference>,
}

impl Whole<'_> {
    /// Whether the table is the one that the former result was tested against.
    pub(super) fn is_as_before(&self, table: &TableName) -> bool {
        self.incremental.inputs.iter().any(|input| input.table == *table) && !self.differences.contains_key(table)
    }

    /// The rows of all other units, and the new ones.
    pub(super) async fn frame(&self, session: &Session, model: &Model, result: &Spilled) -> Result<DataFrame, DataFusionError> {
        let old = typed(session.context().read_table(Arc::clone(&self.current))?, &model.contract.schema(), Missing::IsNull)?;
        of_units(session, self.incremental, old, JoinType::RightAnti).await?.union(result.read(session).await?)
    }
}

/// The units that the rows in which inputs differ touch, each once; None if these or those are more than `rows_max`.
async fn touched(
    session: &Session,
    model: &Model,
    incremental: &Incremental,
    differences: &BTreeMap<TableName, Difference>,
    rows_max: usize,
) -> Result<Option<Vec<RecordBatch>>> {
    let schema = unit_schema(model, incremental);
    let mut all = Vec::new();
    for dependence in &incremental.inputs {
        let Some(difference) = differences.get(&dependence.table) else { continue };
        let what = || format!("what changes of \"{}\" mean for model \"{}\" could not be told", dependence.table, model.table());
        let input = schema_of(session, &dependence.table).await?;
        let units = Box::pin(units(session, model, dependence, difference, &input, &schema, rows_max));
        let Some(units) = units.await.map_err(|error| failure(what(), error))? else { return Ok(None) };
        all.extend(exactly(units, &schema)?);
    }
    let what = || format!("touched units of model \"{}\" could not be counted", model.table());
    if all.iter().all(|batch| batch.num_rows() == 0) {
        return Ok(Some(Vec::new()));
    }
    let distinct = session.context().read_batches(all).and_then(DataFrame::distinct).map_err(|error| failure(what(), error))?;
    let units = Box::pin(at_most(distinct, rows_max)).await.map_err(|error| failure(what(), error))?;
    units.map(|(_, units)| exactly(units, &schema)).transpose()
}

async fn units(
    session: &Session,
    model: &Model,
    dependence: &Dependence,
    difference: &Difference,
    input: &SchemaRef,
    schema: &SchemaRef,
    rows_max: usize,
) -> Result<Option<Vec<RecordBatch>>, DataFusionError> {
    let changed_rows = TableName::new(CHANGED, CHANGED_ROWS).map_err(|error| DataFusionError::External(Box::new(error)))?;
    let asked = columns_read(session, &dependence.units, &changed_rows, input).await?;
    let read = columns_read(session, &model.sql, &dependence.table, input).await?;
    let Some(frame) = differing(session, difference, input, &asked, &read)? else { return Ok(Some(Vec::new())) };
    let Some((changed, rows)) = Box::pin(at_most(frame, rows_max)).await? else { return Ok(None) };
    if rows.iter().all(|batch| batch.num_rows() == 0) {
        return Ok(Some(Vec::new()));
    }
    session.register_table(CHANGED, CHANGED_ROWS, Arc::new(MemTable::try_new(changed, vec![rows])?));
    let units = typed(session.select(&dependence.units).await?, schema, Missing::IsError)?;
    // A key's columns are never NULL, so no result row belongs to such a unit.
    let is_unit = schema.fields().iter().map(|field| ident(field.name()).is_not_null()).reduce(Expr::and);
    let units = units.filter(is_unit.unwrap_or_else(|| lit(true)))?.distinct()?;
    Ok(Box::pin(at_most(units, rows_max)).await?.map(|(_, units)| units))
}

/// The rows in which two states differ in the columns that matter, as they were and as they are: of each, the columns that are asked for. None
/// if neither state has any.
fn differing(
    session: &Session,
    difference: &Difference,
    input: &SchemaRef,
    asked: &BTreeSet<String>,
    read: &BTreeSet<String>,
) -> Result<Option<DataFrame>, DataFusionError> {
    let matters = input.fields().iter().filter(|field| asked.contains(field.name()) || read.contains(field.name()));
    let matters: SchemaRef = Arc::new(Schema::new(matters.cloned().collect::<Vec<_>>()));
    let side = |rows: &Option<Arc<dyn TableProvider>>, sign: i64| -> Result<Option<DataFrame>, DataFusionError> {
        let Some(rows) = rows else { return Ok(None) };
        let frame = typed(session.context().read_table(Arc::clone(rows))?, &matters, Missing::IsNull)?;
        let mut digested: Vec<Expr> = matters.fields().iter().map(|field| ident(field.name())).collect();
        if digested.is_empty() {
            digested.push(lit(true));
        }
        let mut row: Vec<Expr> = asked.iter().map(ident).collect();
        row.push(row_digest().call(digested).alias(DIGEST));
        row.push(lit(sign).alias(SIGN));
        Ok(Some(frame.select(row)?))
    };
    let frame = match (side(&difference.before, -1)?, side(&difference.after, 1)?) {
        (Some(before), Some(after)) => before.union(after)?,
        (Some(frame), None) | (None, Some(frame)) => frame,
        (None, None) => return Ok(None),
    };
    let mut row: Vec<Expr> = asked.iter().map(ident).collect();
    row.push(ident(DIGEST));
    // A row that was only written anew, beside one that changed, is there once on either side.
    frame.aggregate(row.clone(), vec![sum(ident(SIGN)).alias(SIGN)])?.filter(ident(SIGN).not_eq(lit(0_i64)))?.select(row).map(Some)
}

/// How many rows the table has as it stands.
async fn rows_of(session: &Session, model: &Model) -> Result<u64> {
    let counted = checks::numbers(session, &format!("SELECT count(*) AS rows FROM {PREVIOUS}.{}", model.table().table())).await?;
    Ok(counted.first().and_then(|rows| u64::try_from(*rows).ok()).unwrap_or(0))
}

/// How many units the table has, and how many of them are touched.
async fn units_of(session: &Session, model: &Model, incremental: &Incremental) -> Result<(u64, u64)> {
    let previous = format!("{PREVIOUS}.{}", model.table().table());
    let is_key = incremental.by.len() == model.contract.key.len();
    let by: Vec<String> = incremental.by.iter().map(|column| format!("\"{column}\"")).collect();
    let by = by.join(", ");
    let distinct = if is_key { String::new() } else { "DISTINCT ".to_owned() };
    let sql = format!("SELECT count(*) AS units FROM (SELECT {distinct}{by} FROM {previous}) AS units");
    let known = format!(
        "SELECT count(*) AS units FROM (SELECT DISTINCT {by} FROM {CHANGED}.{CHANGED_UNITS} INTERSECT SELECT {by} FROM {previous}) AS units"
    );
    let mut counts = [0; 2];
    for (count, sql) in counts.iter_mut().zip([sql, known]) {
        *count = checks::numbers(session, &sql).await?.first().and_then(|number| u64::try_from(*number).ok()).unwrap_or(0);
    }
    Ok(counts.into())
}

/// Rows of the touched units, or of all others.
pub(super) async fn of_units(
    session: &Session,
    incremental: &Incremental,
    rows: DataFrame,
    join: JoinType,
) -> Result<DataFrame, DataFusionError> {
    let by: Vec<&str> = incremental.by.iter().map(ColumnName::as_str).collect();
    let (units, touched) = distinct_units(session, &incremental.by).await?;
    let rows = if join == JoinType::RightSemi { within(session, rows, &incremental.by, &by).await? } else { rows };
    let touched: Vec<&str> = touched.iter().map(String::as_str).collect();
    // The units stand on the left, which is the side that a hash join holds.
    units.join(rows, join, &touched, &by, None)
}

/// The rows of an input that the touched units are computed from, with its columns: NULL in those that nobody looks at.
pub(super) async fn input(
    session: &Session,
    dependence: &Dependence,
    schema: &SchemaRef,
    shown: &BTreeSet<String>,
) -> Result<DataFrame, DataFusionError> {
    let frame = match &dependence.rows {
        Rows::All => session.select(&format!("SELECT * FROM {}.{}", dependence.table.schema(), dependence.table.table())).await?,
        Rows::Query(query) => session.select(query).await?,
        Rows::Matching(each) => {
            let names: Vec<String> = (0..each.len()).map(|index| format!("unit {index}")).collect();
            let mapped: Vec<String> =
                each.iter().zip(&names).map(|((_, expression), name)| format!("{expression} AS \"{name}\"")).collect();
            let from = format!("{}.{}", dependence.table.schema(), dependence.table.table());
            let rows = session.select(&format!("SELECT *, {} FROM {from}", mapped.join(", "))).await?;
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            // Files have statistics of columns, not of what is made of them.
            let plain = each.iter().filter(|(_, expression)| schema.field_with_name(expression).is_ok());
            let (bounded, by): (Vec<ColumnName>, Vec<&str>) =
                plain.map(|(column, expression)| (column.clone(), expression.as_str())).unzip();
            let rows = within(session, rows, &bounded, &by).await?;
            let columns: Vec<ColumnName> = each.iter().map(|(column, _)| column.clone()).collect();
            let (units, touched) = distinct_units(session, &columns).await?;
            let touched: Vec<&str> = touched.iter().map(String::as_str).collect();
            units.join(rows, JoinType::RightSemi, &touched, &names, None)?
        }
    };
    let columns = schema.fields().iter().map(|field| -> Result<Expr, DataFusionError> {
        let name = field.name();
        if shown.contains(name) {
            return Ok(ident(name));
        }
        Ok(lit(ScalarValue::try_new_null(field.data_type())?).alias(name))
    });
    let columns = columns.collect::<Result<Vec<_>, DataFusionError>>()?;
    frame.select(columns)
}

/// The touched units by some of their columns, under names that no table has.
async fn distinct_units(session: &Session, columns: &[ColumnName]) -> Result<(DataFrame, Vec<String>), DataFusionError> {
    let names: Vec<String> = columns.iter().map(|column| format!("touched {column}")).collect();
    let listed: Vec<String> = columns.iter().zip(&names).map(|(column, name)| format!("\"{column}\" AS \"{name}\"")).collect();
    let units = session.select(&format!("SELECT DISTINCT {} FROM {CHANGED}.{CHANGED_UNITS}", listed.join(", "))).await?;
    Ok((units, names))
}

/// Rows between the least and the greatest value of the touched units: statistics leave the other files unread.
async fn within(session: &Session, rows: DataFrame, columns: &[ColumnName], names: &[&str]) -> Result<DataFrame, DataFusionError> {
    let sql = format!("SELECT * FROM {CHANGED}.{CHANGED_UNITS}");
    let units = || session.select(&sql);
    let mut rows = rows;
    for (column, name) in columns.iter().zip(names) {
        let of = || ident(column.as_str());
        let ends = units()
            .await?
            .aggregate(vec![], vec![min(of()).alias("least"), max(of()).alias("greatest"), count_distinct(of()).alias("values")])?;
        let ends = Box::pin(ends.collect()).await?;
        let Some(ends) = ends.iter().find(|batch| batch.num_rows() > 0) else { continue };
        let end = |index: usize| ScalarValue::try_from_array(ends.column(index), 0);
        rows = rows.filter(ident(*name).between(lit(end(0)?), lit(end(1)?)))?;
        if matches!(end(2)?, ScalarValue::Int64(Some(values)) if usize::try_from(values).is_ok_and(|values| values <= VALUES_LISTED_MAX)) {
            let values = Box::pin(units().await?.select(vec![of()])?.distinct()?.collect()).await?;
            let mut listed = Vec::new();
            for batch in &values {
                for row in 0..batch.num_rows() {
                    listed.push(lit(ScalarValue::try_from_array(batch.column(0), row)?));
                }
            }
            if !listed.is_empty() {
                rows = rows.filter(ident(*name).in_list(listed, false))?;
            }
        }
    }
    Ok(rows)
}

/// Which columns of a table a query needs, by its optimized plan.
async fn columns_read(session: &Session, sql: &str, table: &TableName, schema: &SchemaRef) -> Result<BTreeSet<String>, DataFusionError> {
    let session = session.private();
    session.register_table(table.schema(), table.table(), Arc::new(EmptyTable::new(Arc::clone(schema))));
    let plan = session.select(sql).await?.into_optimized_plan()?;
    let mut columns = BTreeSet::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let name = &scan.table_name;
            if name.table() == table.table() && name.schema().unwrap_or(TableName::MARTS) == table.schema() {
                columns.extend(scan.projected_schema.fields().iter().map(|field| field.name().clone()));
                columns.extend(scan.filters.iter().flat_map(Expr::column_refs).map(|column| column.name.clone()));
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(columns)
}

async fn schema_of(session: &Session, table: &TableName) -> Result<SchemaRef> {
    let provider = session.provider(table).await?;
    Ok(provider.ok_or_else(|| Error::new(&MODEL_INPUT, format!("table \"{table}\" does not exist yet")))?.schema())
}

fn unit_schema(model: &Model, incremental: &Incremental) -> SchemaRef {
    let schema = model.contract.schema();
    let fields = incremental.by.iter().filter_map(|column| schema.field_with_name(column.as_str()).ok().cloned());
    Arc::new(Schema::new(fields.map(|field| field.with_nullable(true)).collect::<Vec<_>>()))
}

fn exactly(batches: Vec<RecordBatch>, schema: &SchemaRef) -> Result<Vec<RecordBatch>> {
    batches.into_iter().map(|batch| RecordBatch::try_new(Arc::clone(schema), batch.columns().to_vec()).map_err(Error::from)).collect()
}

/// Plans the queries of an incremental model without running them; the session knows every table.
pub(super) async fn check_plans(session: &Session, model: &Model, incremental: &Incremental) -> Result<()> {
    let session = session.private();
    let file = model.file.with_extension("toml");
    let what = |input: &TableName| format!("[incremental] of model \"{}\" cannot be used for \"{input}\"", model.table());
    let place = |error: Error| error.caused_by(format!("file \"{}\"", file.display()));
    let empty = |schema: SchemaRef| Arc::new(EmptyTable::new(schema));
    let units = unit_schema(model, incremental);
    session.register_table(PREVIOUS, model.table().table(), empty(model.contract.schema()));
    session.register_table(CHANGED, CHANGED_UNITS, empty(Arc::clone(&units)));
    for dependence in &incremental.inputs {
        let failed = |error| place(failure(what(&dependence.table), error));
        let schema = schema_of(&session, &dependence.table).await?;
        session.register_table(CHANGED, CHANGED_ROWS, empty(Arc::clone(&schema)));
        let frame = session.select(&dependence.units).await.map_err(failed)?;
        check_types(&units, frame.schema().inner(), "units").map_err(|error| place(error.context(what(&dependence.table))))?;
        if let Rows::Matching(each) = &dependence.rows {
            let listed: Vec<String> = each.iter().map(|(column, expression)| format!("{expression} AS \"{column}\"")).collect();
            let from = format!("{}.{}", dependence.table.schema(), dependence.table.table());
            let frame = session.select(&format!("SELECT {} FROM {from}", listed.join(", "))).await.map_err(failed)?;
            let wanted =
                Schema::new(each.iter().filter_map(|(column, _)| units.field_with_name(column.as_str()).ok().cloned()).collect::<Vec<_>>());
            let checked = check_types(&Arc::new(wanted), frame.schema().inner(), "rows");
            checked.map_err(|error| place(error.context(what(&dependence.table))))?;
        }
        let shown = columns_read(&session, &model.sql, &dependence.table, &schema).await.map_err(failed)?;
        let frame = input(&session, dependence, &schema, &shown).await.map_err(failed)?;
        if let Some(difference) =
            frame.schema().fields().iter().zip(schema.fields()).find(|(given, wanted)| given.data_type() != wanted.data_type())
        {
            let text = format!(
                "`rows` gives column \"{}\" as {}, not {}",
                difference.1.name(),
                difference.0.data_type(),
                difference.1.data_type()
            );
            return Err(place(Error::new(&crate::errors::MODEL_SCHEMA, what(&dependence.table)).caused_by(text)));
        }
    }
    Ok(())
}
