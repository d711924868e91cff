//! What differs between a new result and the table as it stands.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::catalog::TableProvider;
use datafusion::common::{Column, DataFusionError, JoinType, ScalarValue};
use datafusion::dataframe::DataFrame;
use datafusion::functions_aggregate::count::count;
use datafusion::logical_expr::{Expr, SortExpr, ident, lit};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use pipeline_core::batch::BatchStream;
use pipeline_core::contract::{Contract, DELETED_COLUMN};
use pipeline_core::error::{Error, Result};
use pipeline_core::turns::Turn;

use super::digest::row_digest;
use super::spilled::Spilled;
use super::{Missing, typed};
use crate::errors::{failure, is_memory};
use crate::model::Model;
use crate::session::{JoinsBy, Session};

/// What a row of the table as it stands takes in a hash join: its key, its digest and the hash table's own share.
const HASHED_ROW_BYTES: usize = 192;

/// A digest of the row as it stands; the name cannot be a column's, which have no spaces.
const DIGEST: &str = "row digest";

/// The rows that are new or changed, then the keys that are gone, each in the order of the contract's sort columns and key.
pub(super) async fn changes(
    session: &Session,
    model: &Model,
    result: Spilled,
    current: Option<Arc<dyn TableProvider>>,
) -> Result<BatchStream> {
    let what = format!("changes of model \"{}\" could not be told", model.table());
    let rows = Box::pin(start(session, model, &result, current)).await.map_err(|error| failure(&what, error))?;
    let schema = model.contract.changes_schema();
    let wanted = Arc::clone(&schema);
    let batches = rows.map(move |batch| {
        // The files are read while the stream lives, and go when it does.
        let _held = &result;
        let batch = batch.map_err(|error| failure(&what, error))?;
        RecordBatch::try_new(Arc::clone(&wanted), batch.columns().to_vec()).map_err(Error::from)
    });
    Ok(BatchStream::new(schema, batches))
}

/// Starts the comparison with joins that should fit, and again with joins that spill if they turn out not to. As both parts are
/// sorted, everything that takes memory has been taken when the first batch comes.
async fn start(
    session: &Session,
    model: &Model,
    result: &Spilled,
    current: Option<Arc<dyn TableProvider>>,
) -> Result<Rows, DataFusionError> {
    let first = match &current {
        Some(current) => joins(session, current).await?,
        None => JoinsBy::Hash,
    };
    let turns = session.engine().turns();
    let turn = turns.beside_others().await;
    match Box::pin(begin(session, first, model, result, current.clone(), turn)).await {
        Err(error) if is_memory(&error) => {
            tracing::info!(model = %model.table(), "not enough memory to compare beside others, trying again alone, with joins that spill");
            let turn = turns.alone().await;
            Box::pin(begin(session, JoinsBy::Merge, model, result, current, turn)).await
        }
        begun => begun,
    }
}

/// The comparison up to its first batch. The turn is held until its last.
async fn begin(
    session: &Session,
    joins: JoinsBy,
    model: &Model,
    result: &Spilled,
    current: Option<Arc<dyn TableProvider>>,
    turn: Turn,
) -> Result<Rows, DataFusionError> {
    // One part after the other, so that each has the memory for itself.
    let parts = parts(session, joins, model, result, current).await?;
    let mut rows: Rows = futures::stream::iter(parts).then(|part| Box::pin(part.execute_stream())).try_flatten().boxed();
    let head = rows.next().await.transpose()?;
    let rest = rows.map(move |batch| {
        let _held = &turn;
        batch
    });
    Ok(futures::stream::iter(head.map(Ok)).chain(rest).boxed())
}

type Rows = BoxStream<'static, Result<RecordBatch, DataFusionError>>;

async fn parts(
    session: &Session,
    joins: JoinsBy,
    model: &Model,
    result: &Spilled,
    current: Option<Arc<dyn TableProvider>>,
) -> Result<Vec<DataFrame>, DataFusionError> {
    let contract = &model.contract;
    let session = session.joining_by(joins);
    let new = result.read(&session).await?;
    let Some(current) = current else {
        return Ok(vec![marked(new, contract)?.sort(order(model))?]);
    };
    let old = typed(session.context().read_table(current)?, &contract.schema(), Missing::IsNull)?;
    let changed = marked(new_or_changed(&new, &old, contract)?, contract)?;
    Ok(vec![changed.sort(order(model))?, gone(&new, old, contract)?.sort(order(model))?])
}

/// Hash joins while the table's keys and digests take at most a quarter of the memory, so that other models have theirs.
async fn joins(session: &Session, current: &Arc<dyn TableProvider>) -> Result<JoinsBy, DataFusionError> {
    let counted = session.context().read_table(Arc::clone(current))?.aggregate(vec![], vec![count(lit(1_i64)).alias("rows")])?;
    let batches = Box::pin(counted.collect()).await?;
    let rows = batches.first().map(|batch| ScalarValue::try_from_array(batch.column(0), 0)).transpose()?;
    let rows = match rows {
        Some(ScalarValue::Int64(Some(rows))) => usize::try_from(rows).unwrap_or(usize::MAX),
        _ => usize::MAX,
    };
    let fits = rows.saturating_mul(HASHED_ROW_BYTES) <= session.engine().options().memory_limit_bytes / 4;
    Ok(if fits { JoinsBy::Hash } else { JoinsBy::Merge })
}

fn columns(contract: &Contract) -> Vec<Expr> {
    contract.columns.iter().map(|column| ident(column.name.as_str())).collect()
}

fn old_name(name: &str) -> String {
    format!("old {name}")
}

/// Rows of the new result whose key is new, or whose digest differs from that of the row as it stands.
fn new_or_changed(new: &DataFrame, old: &DataFrame, contract: &Contract) -> Result<DataFrame, DataFusionError> {
    let keys: Vec<&str> = contract.key.iter().map(|name| name.as_str()).collect();
    let old_keys: Vec<String> = keys.iter().map(|name| old_name(name)).collect();
    let mut kept: Vec<Expr> = keys.iter().zip(&old_keys).map(|(name, old)| ident(*name).alias(old)).collect();
    kept.push(row_digest().call(columns(contract)).alias(DIGEST));
    let digests = old.clone().select(kept)?;
    let differs = Expr::Column(Column::from_name(DIGEST)).is_null().or(ident(DIGEST).not_eq(row_digest().call(columns(contract))));
    let old_keys: Vec<&str> = old_keys.iter().map(String::as_str).collect();
    // The digests stand on the left, which is the side that a hash join holds.
    digests.join(new.clone(), JoinType::Right, &old_keys, &keys, None)?.filter(differs)?.select(columns(contract))
}

/// The keys that stand in the table, but not in the new result, as rows of changes.
fn gone(new: &DataFrame, old: DataFrame, contract: &Contract) -> Result<DataFrame, DataFusionError> {
    let keys: Vec<&str> = contract.key.iter().map(|name| name.as_str()).collect();
    let old_keys: Vec<String> = keys.iter().map(|name| old_name(name)).collect();
    let left = old.select(keys.iter().zip(&old_keys).map(|(name, old)| ident(*name).alias(old)).collect::<Vec<_>>())?;
    let right = new.clone().select(keys.iter().map(|name| ident(*name)).collect::<Vec<_>>())?;
    let old_names: Vec<&str> = old_keys.iter().map(String::as_str).collect();
    let missing = left.join(right, JoinType::LeftAnti, &old_names, &keys, None)?;
    let mut row = Vec::with_capacity(contract.columns.len() + 1);
    for (column, field) in contract.columns.iter().zip(contract.schema().fields()) {
        let name = column.name.as_str();
        row.push(if contract.key.contains(&column.name) {
            ident(old_name(name)).alias(name)
        } else {
            lit(ScalarValue::try_new_null(field.data_type())?).alias(name)
        });
    }
    row.push(lit(true).alias(DELETED_COLUMN));
    missing.select(row)
}

fn marked(rows: DataFrame, contract: &Contract) -> Result<DataFrame, DataFusionError> {
    let mut row = columns(contract);
    row.push(lit(false).alias(DELETED_COLUMN));
    rows.select(row)
}

/// The order of a destination's sort columns, then of the key: files are sorted as they will be read, and the same result is
/// the same bytes.
fn order(model: &Model) -> Vec<SortExpr> {
    let mut names: Vec<&str> = Vec::new();
    for name in model.layout.sort.iter().chain(&model.contract.key) {
        if !names.contains(&name.as_str()) {
            names.push(name.as_str());
        }
    }
    names.into_iter().map(|name| ident(name).sort(true, false)).collect()
}
