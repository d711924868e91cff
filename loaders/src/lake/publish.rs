//! One commit for one load.

use std::num::NonZeroU64;
use std::sync::Arc;

use datafusion::logical_expr::{Expr, SortExpr, ident};
use datafusion::prelude::DataFrame;
use deltalake::kernel::Transaction;
use deltalake::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::{DeltaTable, DeltaTableError};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use pipeline_core::contract::DELETED_COLUMN;
use pipeline_core::error::{BUG, Error, Result};
use pipeline_core::failpoint;
use pipeline_core::load::{FENCED, Load, Mode, Receipt, Staged};

use super::codes::{LAKE, LAKE_MEMORY, delta_error, is_conflict, is_out_of_memory, query_error};
use super::maintain::maintain;
use super::stage::{Detail, detail, keys, one_number, quoted, read, snapshot_schema};
use super::{Lake, commit_metadata, digest_bits, digest_id, revision_id};

/// How often a commit is tried when others commit to the table at once.
const COMMITS_TRIED_MAX: u32 = 5;

/// Large enough for fast scans, small enough that a merge of a few rows rewrites little.
pub(super) const FILE_BYTES: u64 = 32 << 20;

pub(super) async fn publish(lake: &Lake, staged: &Staged) -> Result<Receipt> {
    let load = &staged.load;
    let detail = detail(staged)?;
    let mut tried = 0;
    let mut merges = Merges::Rows;
    loop {
        let table = lake
            .table(&load.contract.table)
            .await?
            .ok_or_else(|| Error::new(&BUG, format!("lake table \"{}\" was not prepared", load.contract.table)))?;
        if let Some(receipt) = already(lake, &table, load, &detail).await? {
            return Ok(receipt);
        }
        failpoint::reached("lake.before_commit");
        let committed = Box::pin(commit(lake, table, load, &detail, merges)).await;
        failpoint::reached("lake.after_commit");
        tried += 1;
        match committed {
            Ok(receipt) => {
                maintain(lake, &load.contract.table).await;
                return Ok(receipt);
            }
            Err(Failure::Delta(error)) if is_conflict(&error) && tried < COMMITS_TRIED_MAX => {
                tracing::warn!(table = %load.contract.table, tried, "another commit came first; looking again");
            }
            Err(error) if error.is_out_of_memory() && merges != Merges::Sorted && matches!(load.mode, Mode::Merge | Mode::Changes) => {
                merges = if merges == Merges::Rows { Merges::Keys } else { Merges::Sorted };
                tracing::info!(table = %load.contract.table, ?merges, "not enough memory, merging in another way");
            }
            Err(Failure::Delta(error)) => {
                return Err(delta_error(&format!("load of table \"{}\" could not be committed to the lake", load.contract.table), &error));
            }
            Err(Failure::Ours(error)) => return Err(error),
        }
    }
}

/// What a merge holds in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Merges {
    /// The new rows. Only files that hold their keys are written anew.
    Rows,
    /// The keys of the new rows: the whole table is written anew. For loads so large that they touch most of it anyway.
    Keys,
    /// What sorting by the keys needs, which spills: the whole table is written anew.
    Sorted,
}

enum Failure {
    Delta(DeltaTableError),
    Ours(Error),
}

impl Failure {
    fn is_out_of_memory(&self) -> bool {
        match self {
            Self::Delta(error) => is_out_of_memory(error),
            Self::Ours(error) => error.code() == &LAKE_MEMORY,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

impl From<DeltaTableError> for Failure {
    fn from(error: DeltaTableError) -> Self {
        Self::Delta(error)
    }
}

fn receipt(load: &Load, detail: &Detail) -> Receipt {
    Receipt {
        id: load.id.clone(),
        rows_written: detail.rows,
        rows_deleted: 0,
        rows_unchanged: detail.rows_unchanged,
        late: detail.late.clone(),
        was_there: false,
        detail: serde_json::Value::Null,
    }
}

/// The receipt if nothing is left to do; an error if the load must not be done.
async fn already(lake: &Lake, table: &DeltaTable, load: &Load, detail: &Detail) -> Result<Option<Receipt>> {
    let name = &load.contract.table;
    let marker = lake.marker_of(table, &load.id.pipeline, name).await?;
    let stored = marker.as_ref().map(|marker| marker.revision);
    if let Some(marker) = &marker {
        let same = load.id.digest.starts_with(&marker.digest);
        if marker.revision == load.id.revision && same {
            return Ok(Some(Receipt { was_there: true, ..receipt(load, detail) }));
        }
        if marker.revision >= load.id.revision {
            return Err(Error::new(
                &FENCED,
                format!("lake table \"{name}\" stands at revision {}, and revision {} was to be loaded", marker.revision, load.id.revision),
            ));
        }
    }
    if load.mode == Mode::Changes && stored != load.base {
        let at = |revision: Option<i64>| revision.map_or("none".to_owned(), |revision| revision.to_string());
        return Err(Error::new(
            &FENCED,
            format!("lake table \"{name}\" stands at revision {}, and the changes were computed from {}", at(stored), at(load.base)),
        ));
    }
    // A merge without a difference leaves the table as it is, marker and all; so does nothing in the place of nothing.
    let is_as_it_was = match load.mode {
        Mode::Merge => detail.rows == 0,
        Mode::Replace => detail.rows == 0 && table.snapshot().is_ok_and(|state| state.log_data().num_files() == 0),
        Mode::Append | Mode::Changes => false,
    };
    if is_as_it_was && marker.is_some() {
        return Ok(Some(receipt(load, detail)));
    }
    Ok(None)
}

async fn commit(lake: &Lake, table: DeltaTable, load: &Load, detail: &Detail, merges: Merges) -> Result<Receipt, Failure> {
    let properties = CommitProperties::default()
        .with_metadata(commit_metadata(load))
        // One try at a time: between two, the marker is looked at again.
        .with_max_retries(0)
        .with_application_transactions(vec![
            Transaction::new(revision_id(&load.id.pipeline), load.id.revision),
            Transaction::new(digest_id(&load.id.pipeline), digest_bits(&load.id.digest)),
        ]);
    let mut receipt = receipt(load, detail);
    if detail.rows == 0 && load.mode != Mode::Replace {
        let state = table.snapshot()?.snapshot().clone();
        let operation = DeltaOperation::Write { mode: SaveMode::Append, partition_by: None, predicate: None };
        CommitBuilder::from(properties).build(Some(&state), table.log_store(), operation).await?;
        return Ok(receipt);
    }
    let session = lake.session();
    let what = format!("snapshot of table \"{}\" could not be read", load.contract.table);
    table.update_datafusion_session(&session.state())?;
    let frame = if detail.rows == 0 {
        empty(&session, load, &what)?
    } else {
        read(&session, &detail.files, snapshot_schema(load, detail.is_changes)).await?
    };
    let columns: Vec<Expr> = load.contract.columns.iter().map(|column| ident(column.name.as_str())).collect();
    // Another pipeline may have filled the table since the load was staged: then its keys have to be looked for after all.
    if merges != Merges::Rows {
        return Box::pin(rewrite(lake, table, load, detail, properties, merges)).await;
    }
    let is_plain = load.mode == Mode::Append || (detail.is_plain && table.snapshot()?.log_data().num_files() == 0);
    if load.mode == Mode::Replace || is_plain {
        let kept = if detail.is_changes && detail.rows > 0 { frame.filter(!ident(DELETED_COLUMN)) } else { Ok(frame) };
        let frame = kept
            .and_then(|frame| frame.select(columns))
            .and_then(|frame| sorted(frame, load))
            .map_err(|error| query_error(&what, error))?;
        let mode = if load.mode == Mode::Replace { SaveMode::Overwrite } else { SaveMode::Append };
        let (_, plan) = frame.into_parts();
        table
            .write(vec![])
            .with_save_mode(mode)
            .with_input_plan(plan)
            .with_session_state(Arc::new(session.state()))
            .with_target_file_size(NonZeroU64::new(FILE_BYTES))
            .with_writer_properties(writer_properties())
            .with_commit_properties(properties)
            .await?;
        return Ok(receipt);
    }
    let matches = load.contract.key.iter().map(|key| target(key.as_str()).eq(source(key.as_str()))).reduce(Expr::and);
    let matches = matches.ok_or_else(|| Failure::Ours(Error::new(&BUG, "a merge needs a key")))?;
    let gone = || source(DELETED_COLUMN).is_true();
    let mut merge = table
        .merge(frame, matches)
        .with_source_alias("source")
        .with_target_alias("target")
        .with_session_state(Arc::new(session.state()))
        .with_writer_properties(writer_properties())
        .with_commit_properties(properties);
    if detail.is_changes {
        merge = merge.when_matched_delete(|delete| delete.predicate(gone()))?;
    }
    merge = merge.when_matched_update(|update| {
        // What was stored since the comparison may be newer.
        let update = match (&load.contract.cursor, load.mode) {
            (Some(cursor), Mode::Merge) => update.predicate(not_older(cursor.as_str())),
            _ => update,
        };
        load.contract.columns.iter().fold(update, |update, column| update.update(column.name.as_str(), source(column.name.as_str())))
    })?;
    merge = merge.when_not_matched_insert(|insert| {
        let insert = if detail.is_changes { insert.predicate(source(DELETED_COLUMN).is_not_true()) } else { insert };
        load.contract.columns.iter().fold(insert, |insert, column| insert.set(column.name.as_str(), source(column.name.as_str())))
    })?;
    let (_, metrics) = merge.await?;
    receipt.rows_written = (metrics.num_target_rows_inserted + metrics.num_target_rows_updated) as u64;
    receipt.rows_deleted = metrics.num_target_rows_deleted as u64;
    receipt.detail = serde_json::json!({ "files_added": metrics.num_target_files_added, "files_removed": metrics.num_target_files_removed, "files_skipped": metrics.num_target_files_skipped_during_scan });
    Ok(receipt)
}

/// Writes the table anew: the stored rows whose keys do not come, and those that come.
async fn rewrite(
    lake: &Lake,
    table: DeltaTable,
    load: &Load,
    detail: &Detail,
    properties: CommitProperties,
    merges: Merges,
) -> Result<Receipt, Failure> {
    let name = &load.contract.table;
    let what = format!("load of table \"{name}\" could not be merged into the lake");
    let failed = |error| query_error(&what, error);
    if load.mode == Mode::Merge && table.version() != detail.version {
        // The rows were compared with what is no longer stored; trying again compares anew.
        return Err(Failure::Ours(Error::new(&LAKE, what).caused_by("another pipeline changed the table meanwhile")));
    }
    let session = lake.session();
    {
        let state = session.state_ref();
        let mut state = state.write();
        let options = state.config_mut().options_mut();
        // The keys are what fits in memory, whatever the engine believes of the stored rows.
        options.optimizer.join_reordering = false;
        if merges == Merges::Sorted {
            options.optimizer.prefer_hash_join = false;
            // Fewer sorts at once have more memory each. With one part, the planner would take hash joins all the same.
            options.execution.target_partitions = 2;
        }
    }
    let frame = read(&session, &detail.files, snapshot_schema(load, detail.is_changes)).await?;
    session.register_table("source", frame.into_view()).map_err(failed)?;
    session.register_table("target", lake.provider_of(&table, name).await?).map_err(failed)?;
    let keys = keys(&load.contract);
    let list = keys.join(", ");
    let same = keys.iter().map(|key| format!("k.{key} = t.{key}")).collect::<Vec<_>>().join(" AND ");
    let columns = load.contract.columns.iter().map(|column| quoted(column.name.as_str())).collect::<Vec<_>>().join(", ");
    let (gone, comes) = if detail.is_changes {
        (quoted(DELETED_COLUMN), format!("{} IS NOT TRUE", quoted(DELETED_COLUMN)))
    } else {
        ("false".to_owned(), "true".to_owned())
    };
    let number = async |sql: String| one_number(session.sql(&sql).await.map_err(failed)?, &what).await;
    let deleted =
        number(format!("SELECT count(*) FROM (SELECT {list} FROM source WHERE {gone}) k RIGHT SEMI JOIN target t ON {same}")).await?;
    let written = number(format!("SELECT count(*) FROM source WHERE {comes}")).await?;
    let sql = format!(
        "SELECT {columns} FROM (SELECT {list} FROM source) k RIGHT ANTI JOIN target t ON {same} \
         UNION ALL SELECT {columns} FROM source WHERE {comes}"
    );
    let frame = session.sql(&sql).await.map_err(failed)?;
    let (state, plan) = frame.into_parts();
    table
        .write(vec![])
        .with_save_mode(SaveMode::Overwrite)
        .with_input_plan(plan)
        .with_session_state(Arc::new(state))
        .with_target_file_size(NonZeroU64::new(FILE_BYTES))
        .with_writer_properties(writer_properties())
        .with_commit_properties(properties)
        .await?;
    let mut receipt = receipt(load, detail);
    receipt.rows_written = u64::try_from(written).unwrap_or(0);
    receipt.rows_deleted = u64::try_from(deleted).unwrap_or(0);
    Ok(receipt)
}

pub(super) fn writer_properties() -> WriterProperties {
    WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::try_new(1).expect("1 is a zstd level"))).build()
}

fn source(column: &str) -> Expr {
    Expr::Column(datafusion::common::Column::new(Some("source"), column))
}

fn target(column: &str) -> Expr {
    Expr::Column(datafusion::common::Column::new(Some("target"), column))
}

fn not_older(cursor: &str) -> Expr {
    source(cursor).gt_eq(target(cursor)).or(source(cursor).is_null()).or(target(cursor).is_null())
}

fn sorted(frame: DataFrame, load: &Load) -> datafusion::error::Result<DataFrame> {
    if load.layout.sort.is_empty() {
        return Ok(frame);
    }
    let order: Vec<SortExpr> = load.layout.sort.iter().map(|column| ident(column.as_str()).sort(true, true)).collect();
    frame.sort(order)
}

fn empty(session: &datafusion::prelude::SessionContext, load: &Load, what: &str) -> Result<DataFrame> {
    let batch = arrow::array::RecordBatch::new_empty(load.contract.schema());
    session.read_batch(batch).map_err(|error| query_error(what, error))
}
