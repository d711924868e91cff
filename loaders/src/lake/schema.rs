//! A table's schema against its contract.

use std::num::NonZeroU64;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::logical_expr::{Expr, cast, ident, lit};
use datafusion::scalar::ScalarValue;
use deltalake::DeltaTable;
use deltalake::TableProperty;
use deltalake::kernel::StructType;
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake::kernel::transaction::CommitProperties;
use deltalake::operations::write::SchemaMode;
use deltalake::protocol::SaveMode;
use pipeline_core::contract::{Contract, holds};
use pipeline_core::error::{BUG, Error, Result};
use pipeline_core::load::{Change, SCHEMA_CHANGE};

use super::Lake;
use super::codes::{delta_error, query_error};
use super::publish::{FILE_BYTES, writer_properties};

/// After so many commits the library sums up the log, so that opening a table reads few files however old it is.
const COMMITS_PER_CHECKPOINT: &str = "10";

/// What would have to change for the table to fit.
pub(super) fn compare(table: Option<&DeltaTable>, contract: &Contract) -> Result<Vec<Change>> {
    let Some(table) = table else {
        return Ok(vec![Change {
            sign: '+',
            what: format!("table {} ({} columns)", contract.table, contract.columns.len()),
            statement: None,
        }]);
    };
    let state = table.snapshot().map_err(|error| delta_error(&format!("lake table \"{}\" could not be read", contract.table), &error))?;
    let stored = state.snapshot().arrow_schema();
    let wanted = contract.schema();
    let mut changes = Vec::new();
    let mut refused = Vec::new();
    for field in wanted.fields() {
        match stored.field_with_name(field.name()) {
            Err(_) => changes.push(Change {
                sign: '+',
                what: format!("column {}.{} {}", contract.table, field.name(), field.data_type()),
                statement: None,
            }),
            Ok(found) if same(found.data_type(), field.data_type()) => {}
            Ok(found) if holds(field.data_type(), found.data_type()) => changes.push(Change {
                sign: '~',
                what: format!(
                    "column {}.{} {} becomes {}; its rows are written anew",
                    contract.table,
                    field.name(),
                    found.data_type(),
                    field.data_type()
                ),
                statement: None,
            }),
            Ok(found) => refused.push(format!(
                "column \"{}\" is {} in the lake and {} in its contract",
                field.name(),
                found.data_type(),
                field.data_type()
            )),
        }
    }
    for found in stored.fields() {
        if wanted.field_with_name(found.name()).is_err() {
            // A new column of the same type is what a renamed one looks like.
            let new = wanted
                .fields()
                .iter()
                .find(|field| stored.field_with_name(field.name()).is_err() && same(found.data_type(), field.data_type()));
            let renamed =
                new.map(|new| format!("; if the source calls it \"{0}\" now, write `{1} = \"… from {0}\"`", new.name(), found.name()));
            refused.push(format!("column \"{}\" is in the lake and not in its contract{}", found.name(), renamed.unwrap_or_default()));
        }
    }
    if refused.is_empty() {
        return Ok(changes);
    }
    let error = Error::new(&SCHEMA_CHANGE, format!("lake table \"{}\" does not fit its contract", contract.table));
    Err(refused.into_iter().fold(error, Error::caused_by)
        .hint("Take the contract back to what the lake holds, or remove the table's folder from the lake and run with --full-refresh: it is read anew."))
}

/// Types that hold the same values. Names of list items and nullability within do not count.
fn same(left: &DataType, right: &DataType) -> bool {
    match (left, right) {
        (DataType::List(left), DataType::List(right)) => same(left.data_type(), right.data_type()),
        (DataType::Struct(left), DataType::Struct(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .zip(right.iter())
                    .all(|(left, right)| left.name() == right.name() && same(left.data_type(), right.data_type()))
        }
        (DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8, DataType::Utf8) => true,
        (DataType::Binary | DataType::BinaryView | DataType::LargeBinary, DataType::Binary) => true,
        _ => left == right,
    }
}

/// The contract's columns as the lake declares them: NULL is always allowed, because a later contract may allow it, and a
/// Delta table cannot be loosened within a commit of data.
fn columns(contract: &Contract) -> Result<StructType> {
    let schema = contract.schema();
    let fields: Vec<Field> = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    let converted: std::result::Result<StructType, _> = (&Schema::new(fields)).try_into_kernel();
    converted.map_err(|_| {
        Error::new(&SCHEMA_CHANGE, format!("table \"{}\" has a column type that the lake cannot hold", contract.table))
            .hint("Decimals hold up to 38 digits in the lake, and there are no times of day: declare such columns as text.")
    })
}

/// Makes the table, empty.
pub(super) async fn create(table: DeltaTable, contract: &Contract) -> Result<()> {
    let columns = columns(contract)?;
    table
        .create()
        .with_columns(columns.fields().cloned())
        .with_save_mode(SaveMode::Ignore)
        .with_table_name(contract.table.table())
        .with_comment(contract.description.clone())
        .with_configuration_property(TableProperty::CheckpointInterval, Some(COMMITS_PER_CHECKPOINT))
        // Incremental models go by it.
        .with_configuration_property(TableProperty::EnableChangeDataFeed, Some("true"))
        .await
        .map_err(|error| delta_error(&format!("lake table \"{}\" could not be made", contract.table), &error))?;
    Ok(())
}

/// Adds the columns that are missing, and lets columns hold more.
///
/// Columns are added by metadata alone. A wider type needs its rows written anew, which is one commit as well: a reader sees the table as it was, or as
/// it will be, and the marker of the last load stays.
pub(super) async fn widen(lake: &Lake, table: DeltaTable, contract: &Contract) -> Result<()> {
    let stored = table.snapshot().map_err(|error| delta_error("lake table could not be read", &error))?.snapshot().arrow_schema();
    let becomes_wider = contract
        .schema()
        .fields()
        .iter()
        .any(|field| stored.field_with_name(field.name()).is_ok_and(|found| !same(found.data_type(), field.data_type())));
    if becomes_wider { rewrite(lake, table, contract).await } else { add(table, contract).await }
}

/// Writes every row anew, with the contract's types.
async fn rewrite(lake: &Lake, table: DeltaTable, contract: &Contract) -> Result<()> {
    let what = format!("lake table \"{}\" could not be widened", contract.table);
    let failed = |error| query_error(&what, error);
    let session = lake.session();
    let frame = session.read_table(lake.provider_of(&table, &contract.table).await?).map_err(failed)?;
    let stored = frame.schema().clone();
    let columns: Vec<Expr> = contract
        .schema()
        .fields()
        .iter()
        .map(|field| {
            let name = field.name();
            let is_stored = stored.has_column_with_unqualified_name(name);
            let value = if is_stored { ident(name) } else { lit(ScalarValue::Null) };
            cast(value, field.data_type().clone()).alias(name)
        })
        .collect();
    let (state, plan) = frame.select(columns).map_err(failed)?.into_parts();
    table
        .write(vec![])
        .with_save_mode(SaveMode::Overwrite)
        .with_schema_mode(SchemaMode::Overwrite)
        .with_input_plan(plan)
        .with_session_state(Arc::new(state))
        .with_target_file_size(NonZeroU64::new(FILE_BYTES))
        .with_writer_properties(writer_properties())
        .with_commit_properties(CommitProperties::default().with_max_retries(0))
        .await
        .map_err(|error| delta_error(&what, &error))?;
    Ok(())
}

async fn add(table: DeltaTable, contract: &Contract) -> Result<()> {
    let stored = table.snapshot().map_err(|error| delta_error("lake table could not be read", &error))?.snapshot().arrow_schema();
    let columns = columns(contract)?;
    let missing: Vec<_> = columns.fields().filter(|field| stored.field_with_name(field.name()).is_err()).cloned().collect();
    if missing.is_empty() {
        return Err(Error::new(&BUG, "a table was to be widened that lacks nothing"));
    }
    table
        .add_columns()
        .with_fields(missing)
        .await
        .map_err(|error| delta_error(&format!("lake table \"{}\" could not be widened", contract.table), &error))?;
    Ok(())
}
