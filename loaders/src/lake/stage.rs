//! Before a publication: which of a snapshot's rows have to move at all.
//!
//! A first load and a replacement move the snapshot as it is, unless keys occur twice in it. A merge moves only rows that differ from what is stored and are
//! not older; duplicates of a key within the snapshot are settled first. What is left is written to a file in the work
//! folder, which a crash leaves as rubbish and nothing more.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{Int64Type, SchemaRef};
use datafusion::datasource::MemTable;
use datafusion::prelude::{DataFrame, ParquetReadOptions, SessionContext};
use deltalake::DeltaTable;
use futures::StreamExt;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use pipeline_core::contract::Contract;
use pipeline_core::error::{BUG, Error, Result};
use pipeline_core::extract::Cursor;
use pipeline_core::landing::Snapshot;
use pipeline_core::late::LateRows;
use pipeline_core::load::{Load, Mode, Staged};
use pipeline_core::name::ColumnName;
use pipeline_core::window::Timestamp;
use serde::{Deserialize, Serialize};
use url::Url;

use super::Lake;
use super::codes::{LAKE, LAKE_KEY, LAKE_MEMORY, query_error};

/// Pieces of a snapshot that the memory would hold. One is compared at a time: it is there once as read and once in the
/// join's table, and the rest is for what is read, joined and written meanwhile.
const PIECES_IN_MEMORY: usize = 8;

/// Row groups of staged files: they are held in memory until written.
const STAGED_ROW_GROUP_BYTES: usize = 16 << 20;

/// What `publish` needs to know.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Detail {
    /// Parquet files with the rows to move: URLs that [`register_landing`] made readable, or a local path.
    pub(super) files: Vec<String>,
    /// Whether the rows have `_deleted`.
    pub(super) is_changes: bool,
    /// Whether the rows can be added without looking for their keys.
    pub(super) is_plain: bool,
    /// Rows to move.
    pub(super) rows: u64,
    /// Rows that are the same already.
    pub(super) rows_unchanged: u64,
    /// Of the rows to move, those that a lookback brought.
    pub(super) late: LateRows,
    /// The Delta version that the rows were compared with; None if the table did not exist.
    pub(super) version: Option<u64>,
    /// The file in the work folder, to be removed.
    pub(super) file: Option<PathBuf>,
}

pub(super) async fn stage(lake: &Lake, load: &Load, snapshot: &Snapshot) -> Result<Staged> {
    let manifest = snapshot.manifest();
    let files = register_landing(lake, snapshot);
    let staged = |detail: Detail| {
        let detail = serde_json::to_value(detail).map_err(|_| Error::new(&BUG, "a staged load could not be written down"))?;
        Ok(Staged { load: load.clone(), snapshot: snapshot.manifest_key().to_owned(), detail })
    };
    let table = lake.table(&load.contract.table).await?;
    let whole = Detail {
        files,
        is_changes: manifest.is_changes,
        is_plain: true,
        rows: manifest.rows,
        rows_unchanged: 0,
        late: LateRows::default(),
        version: table.as_ref().and_then(DeltaTable::version),
        file: None,
    };
    if manifest.rows == 0 {
        return staged(whole);
    }
    let what = format!("snapshot of table \"{}\" could not be compared with the lake", load.contract.table);
    let session = lake.session();
    let source = read(&session, &whole.files, snapshot_schema(load, manifest.is_changes)).await?;
    if !load.contract.key.is_empty() {
        refuse_null_keys(&source, &load.contract, &what).await?;
    }
    let table = table.filter(|table| table.snapshot().is_ok_and(|state| state.log_data().num_files() > 0));
    let stored = table.is_some();
    match load.mode {
        Mode::Replace if !load.contract.key.is_empty() && has_duplicates(&session, &source, &load.contract, &what).await? => {
            let file = lake.options.work.join(format!("stage-{}.parquet", uuid::Uuid::now_v7().simple()));
            let moved = Box::pin(different(lake, load, whole.files.clone(), &file, None, true, None)).await;
            if moved.is_err() {
                remove(&file)?;
            }
            let files = vec![file_url(&file)?];
            staged(Detail { files, rows: moved?.rows, file: Some(file), ..whole })
        }
        Mode::Replace | Mode::Append => staged(whole),
        Mode::Changes => staged(Detail { is_plain: !stored, ..whole }),
        Mode::Merge => {
            let duplicated = has_duplicates(&session, &source, &load.contract, &what).await?;
            if !stored && !duplicated {
                return staged(whole);
            }
            let file = lake.options.work.join(format!("stage-{}.parquet", uuid::Uuid::now_v7().simple()));
            let checkpoint = match manifest.after.as_ref().map(|after| &after.upper) {
                Some(Cursor::Time(checkpoint)) => Some(*checkpoint),
                _ => None,
            };
            let moved = Box::pin(different(lake, load, whole.files, &file, table.as_ref(), duplicated, checkpoint)).await;
            if moved.is_err() {
                remove(&file)?;
            }
            let moved = moved?;
            staged(Detail {
                files: vec![file_url(&file)?],
                is_changes: false,
                is_plain: !stored,
                rows: moved.rows,
                rows_unchanged: manifest.rows - moved.rows,
                late: moved.late,
                version: whole.version,
                file: Some(file),
            })
        }
    }
}

/// Writes the rows that have to move to `file`. Those at or before the checkpoint came late.
async fn different(
    lake: &Lake,
    load: &Load,
    files: Vec<String>,
    file: &Path,
    table: Option<&DeltaTable>,
    duplicated: bool,
    checkpoint: Option<Timestamp>,
) -> Result<Moved> {
    if !duplicated {
        return Box::pin(compare(lake, load, &files, file, table, checkpoint)).await;
    }
    let settled = if table.is_some() { file.with_extension("settled.parquet") } else { file.to_owned() };
    let mut rows = settle(lake, load, &files, &settled, &newest_of_each_key(&load.contract)).await;
    if rows.as_ref().is_err_and(|error| error.code() == &LAKE_MEMORY) {
        tracing::info!(table = %load.contract.table, "not enough memory to hold the keys that occur twice, sorting all rows");
        rows = settle(lake, load, &files, &settled, &newest_by_sorting(&load.contract)).await;
    }
    if table.is_none() {
        return rows;
    }
    let compared = match rows {
        Ok(_) => Box::pin(compare(lake, load, &[file_url(&settled)?], file, table, checkpoint)).await,
        Err(error) => Err(error),
    };
    remove(&settled)?;
    compared
}

/// Writes one row of each key to `file`.
async fn settle(lake: &Lake, load: &Load, files: &[String], file: &Path, newest: &str) -> Result<Moved> {
    let what = format!("rows of table \"{}\" with the same key could not be settled", load.contract.table);
    let session = lake.session();
    // Rows are numbered in the order of the snapshot, so one worker reads them.
    session.state_ref().write().config_mut().options_mut().execution.target_partitions = 1;
    let source = read(&session, files, load.contract.schema()).await?;
    session.register_table("source", source.into_view()).map_err(|error| query_error(&what, error))?;
    let frame = session.sql(newest).await.map_err(|error| query_error(&what, error))?;
    let mut written = StagedFile::create(file, &load.contract, &what, None)?;
    written.append(frame).await?;
    written.finish()
}

/// Writes the rows that are not stored as they are to `file`. The rows pass in pieces, and of the stored ones only those
/// within a piece's keys are read: so memory holds one piece, whatever there is to compare.
async fn compare(
    lake: &Lake,
    load: &Load,
    files: &[String],
    file: &Path,
    table: Option<&DeltaTable>,
    checkpoint: Option<Timestamp>,
) -> Result<Moved> {
    let what = format!("snapshot of table \"{}\" could not be compared with the lake", load.contract.table);
    let failed = |error| query_error(&what, error);
    let table = table.ok_or_else(|| Error::new(&BUG, "nothing is stored to compare with"))?;
    let provider = lake.provider_of(table, &load.contract.table).await?;
    let piece_bytes_max = lake.options.memory_limit_bytes / PIECES_IN_MEMORY;
    let source = read(&lake.session(), files, load.contract.schema()).await?;
    let mut source = source.execute_stream().await.map_err(failed)?;
    let mut written = StagedFile::create(file, &load.contract, &what, load.contract.cursor.as_ref().zip(checkpoint))?;
    let mut piece = Vec::new();
    let mut piece_bytes = 0;
    loop {
        let next = source.next().await.transpose().map_err(failed)?;
        let is_last = next.is_none();
        if let Some(batch) = next {
            piece_bytes += batch.get_array_memory_size();
            piece.push(batch);
        }
        if piece.is_empty() || (!is_last && piece_bytes < piece_bytes_max) {
            if is_last {
                return written.finish();
            }
            continue;
        }
        let session = lake.session();
        // The piece is what fits in memory, whatever the engine believes of the stored rows.
        session.state_ref().write().config_mut().options_mut().optimizer.join_reordering = false;
        let rows = MemTable::try_new(source.schema(), vec![std::mem::take(&mut piece)]).map_err(failed)?;
        session.register_table("source", Arc::new(rows)).map_err(failed)?;
        let target = session.read_table(Arc::clone(&provider)).map_err(failed)?;
        let target = within_keys(&session, target, &load.contract, &what).await?;
        session.register_table("target", target.into_view()).map_err(failed)?;
        let frame = session.sql(&only_different(&load.contract)).await.map_err(failed)?;
        written.append(frame).await?;
        piece_bytes = 0;
        if is_last {
            return written.finish();
        }
    }
}

pub(super) fn discard(staged: &Staged) -> Result<()> {
    let detail = detail(staged)?;
    detail.file.map_or(Ok(()), |file| remove(&file))
}

fn remove(file: &Path) -> Result<()> {
    match std::fs::remove_file(file) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::new(&LAKE, format!("staged file \"{}\" could not be removed", file.display())).caused_by(error.kind())),
    }
}

pub(super) fn detail(staged: &Staged) -> Result<Detail> {
    serde_json::from_value(staged.detail.clone()).map_err(|_| Error::new(&BUG, "a staged load could not be read back"))
}

pub(super) fn snapshot_schema(load: &Load, is_changes: bool) -> SchemaRef {
    if is_changes { load.contract.changes_schema() } else { load.contract.schema() }
}

/// Makes a landing's parts readable by the lake's sessions, under a name of its own: a landing and a lake may share a bucket
/// and still differ in credentials.
fn register_landing(lake: &Lake, snapshot: &Snapshot) -> Vec<String> {
    let url = Url::parse("landing://parts/").expect("the address is fixed and valid");
    lake.runtime.register_object_store(&url, snapshot.landing().store());
    snapshot.manifest().parts.iter().map(|part| format!("landing://parts/{}", snapshot.landing().path(&part.key))).collect()
}

fn file_url(file: &Path) -> Result<String> {
    let file =
        std::path::absolute(file).map_err(|error| Error::new(&LAKE, "the work folder has no absolute path").caused_by(error.kind()))?;
    Url::from_file_path(&file).map(|url| url.to_string()).map_err(|()| Error::new(&BUG, "a file in the work folder has no address"))
}

pub(super) async fn read(session: &SessionContext, files: &[String], schema: SchemaRef) -> Result<DataFrame> {
    let options = ParquetReadOptions::default().schema(&schema).file_extension("parquet");
    session.read_parquet(files.to_vec(), options).await.map_err(|error| query_error("snapshot could not be read", error))
}

pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

pub(super) fn keys(contract: &Contract) -> Vec<String> {
    contract.key.iter().map(|key| quoted(key.as_str())).collect()
}

pub(super) async fn one_number(frame: DataFrame, what: &str) -> Result<i64> {
    let batches = frame.collect().await.map_err(|error| query_error(what, error))?;
    let number = batches.iter().find(|batch| batch.num_rows() > 0).map(|batch| batch.column(0).as_primitive::<Int64Type>().value(0));
    number.ok_or_else(|| Error::new(&BUG, "a count gave no row"))
}

async fn refuse_null_keys(source: &DataFrame, contract: &Contract, what: &str) -> Result<()> {
    use datafusion::functions_aggregate::expr_fn::count;
    use datafusion::logical_expr::{ident, lit};
    let missing = contract.key.iter().map(|key| ident(key.as_str()).is_null()).reduce(datafusion::logical_expr::Expr::or);
    let Some(missing) = missing else { return Ok(()) };
    let counted = source.clone().filter(missing).and_then(|frame| frame.aggregate(vec![], vec![count(lit(1_i64))]));
    let rows = one_number(counted.map_err(|error| query_error(what, error))?, what).await?;
    if rows == 0 {
        return Ok(());
    }
    Err(Error::new(&LAKE_KEY, format!("{rows} rows of table \"{}\" have no key", contract.table)))
}

async fn has_duplicates(session: &SessionContext, source: &DataFrame, contract: &Contract, what: &str) -> Result<bool> {
    session.register_table("source_keys", source.clone().into_view()).map_err(|error| query_error(what, error))?;
    let keys = keys(contract).join(", ");
    let sql = format!("SELECT count(*) FROM (SELECT {keys} FROM source_keys GROUP BY {keys} HAVING count(*) > 1 LIMIT 1)");
    let frame = session.sql(&sql).await.map_err(|error| query_error(what, error))?;
    let found = one_number(frame, what).await?;
    session.deregister_table("source_keys").map_err(|error| query_error(what, error))?;
    Ok(found > 0)
}

/// Of the stored rows, those between the source's least and greatest keys: statistics leave the other files unread, so that
/// a small load costs as much in a large table as in a small one.
async fn within_keys(session: &SessionContext, target: DataFrame, contract: &Contract, what: &str) -> Result<DataFrame> {
    use datafusion::common::ScalarValue;
    use datafusion::logical_expr::{ident, lit};
    let bounds: Vec<String> = keys(contract).iter().map(|key| format!("min({key}), max({key})")).collect();
    let frame = session.sql(&format!("SELECT {} FROM source", bounds.join(", "))).await.map_err(|error| query_error(what, error))?;
    let batches = frame.collect().await.map_err(|error| query_error(what, error))?;
    let found = batches.iter().find(|batch| batch.num_rows() > 0).ok_or_else(|| Error::new(&BUG, "a range gave no row"))?;
    let bound = |column: usize| ScalarValue::try_from_array(found.column(column), 0).map_err(|error| query_error(what, error));
    let mut target = target;
    for (index, key) in contract.key.iter().enumerate() {
        let within = ident(key.as_str()).between(lit(bound(2 * index)?), lit(bound(2 * index + 1)?));
        target = target.filter(within).map_err(|error| query_error(what, error))?;
    }
    Ok(target)
}

/// Of rows with one key, the greatest cursor wins, then the later row. Keys that occur once pass by without a sort, and the
/// few that occur more often are the side that joins hold in memory.
fn newest_of_each_key(contract: &Contract) -> String {
    let keys = keys(contract);
    let list = keys.join(", ");
    let same = keys.iter().map(|key| format!("n.{key} = d.{key}")).collect::<Vec<_>>().join(" AND ");
    let columns = contract.columns.iter().map(|column| quoted(column.name.as_str())).collect::<Vec<_>>().join(", ");
    let order = contract.cursor.as_ref().map_or(String::new(), |cursor| format!("{} DESC NULLS LAST, ", quoted(cursor.as_str())));
    format!(
        "WITH numbered AS (SELECT *, row_number() OVER () AS _position FROM source), \
         duplicated AS (SELECT {list} FROM source GROUP BY {list} HAVING count(*) > 1), \
         ranked AS (SELECT n.*, row_number() OVER (PARTITION BY {ranked_keys} ORDER BY {order}_position DESC) AS _rank \
                    FROM duplicated d RIGHT SEMI JOIN numbered n ON {same}) \
         SELECT {columns} FROM duplicated d RIGHT ANTI JOIN numbered n ON {same} \
         UNION ALL SELECT {columns} FROM ranked WHERE _rank = 1",
        ranked_keys = keys.iter().map(|key| format!("n.{key}")).collect::<Vec<_>>().join(", "),
    )
}

/// The same by one sort of all rows, which spills.
fn newest_by_sorting(contract: &Contract) -> String {
    let list = keys(contract).join(", ");
    let columns = contract.columns.iter().map(|column| quoted(column.name.as_str())).collect::<Vec<_>>().join(", ");
    let order = contract.cursor.as_ref().map_or(String::new(), |cursor| format!("{} DESC NULLS LAST, ", quoted(cursor.as_str())));
    format!(
        "SELECT {columns} FROM (SELECT *, row_number() OVER (PARTITION BY {list} ORDER BY {order}_position DESC) AS _rank \
         FROM (SELECT *, row_number() OVER () AS _position FROM source)) WHERE _rank = 1"
    )
}

/// Rows that are not stored, or stored otherwise and not newer.
fn only_different(contract: &Contract) -> String {
    let keys = keys(contract);
    let same = keys.iter().map(|key| format!("s.{key} = t.{key}")).collect::<Vec<_>>().join(" AND ");
    let columns = contract.columns.iter().map(|column| format!("s.{}", quoted(column.name.as_str()))).collect::<Vec<_>>().join(", ");
    let others: Vec<String> =
        contract.columns.iter().filter(|column| !contract.key.contains(&column.name)).map(|column| quoted(column.name.as_str())).collect();
    let different = if others.is_empty() {
        "false".to_owned()
    } else {
        others.iter().map(|column| format!("(s.{column} IS DISTINCT FROM t.{column})")).collect::<Vec<_>>().join(" OR ")
    };
    let not_older = contract.cursor.as_ref().map_or("true".to_owned(), |cursor| {
        let cursor = quoted(cursor.as_str());
        format!("(t.{cursor} IS NULL OR s.{cursor} IS NULL OR s.{cursor} >= t.{cursor})")
    });
    let first = keys.first().map_or("", String::as_str);
    format!("SELECT {columns} FROM source s LEFT JOIN target t ON {same} WHERE t.{first} IS NULL OR (({different}) AND {not_older})")
}

/// A file in the work folder that rows are brought to.
struct StagedFile<'a> {
    writer: ArrowWriter<File>,
    schema: SchemaRef,
    moved: Moved,
    /// The cursor's column, and the checkpoint that late rows do not exceed.
    late_from: Option<(&'a ColumnName, Timestamp)>,
    what: &'a str,
}

/// Rows that have to move.
#[derive(Debug, Default)]
struct Moved {
    rows: u64,
    /// Of them, those that only a lookback brought.
    late: LateRows,
}

impl<'a> StagedFile<'a> {
    fn create(file: &Path, contract: &Contract, what: &'a str, late_from: Option<(&'a ColumnName, Timestamp)>) -> Result<Self> {
        let failed = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::StorageFull => {
                Error::new(&pipeline_core::landing::DISK_FULL, what).caused_by("no space left on the device")
            }
            kind => Error::new(&LAKE, what).caused_by(kind),
        };
        let schema = contract.schema();
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).expect("1 is a zstd level")))
            .set_max_row_group_bytes(Some(STAGED_ROW_GROUP_BYTES))
            .build();
        let file = File::create(file).map_err(failed)?;
        let writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties)).map_err(|error| encode_error(what, &error))?;
        Ok(Self { writer, schema, moved: Moved::default(), late_from, what })
    }

    async fn append(&mut self, frame: DataFrame) -> Result<()> {
        let mut stream = frame.execute_stream().await.map_err(|error| query_error(self.what, error))?;
        while let Some(batch) = stream.next().await {
            let batch = batch.map_err(|error| query_error(self.what, error))?;
            self.moved.rows += batch.num_rows() as u64;
            if let Some((cursor, checkpoint)) = self.late_from {
                self.moved.late.record_batch(&batch, cursor, checkpoint);
            }
            // Joins loosen nullability; the columns are the contract's all the same.
            let batch = arrow::array::RecordBatch::try_new(Arc::clone(&self.schema), batch.columns().to_vec())?;
            self.writer.write(&batch).map_err(|error| encode_error(self.what, &error))?;
        }
        Ok(())
    }

    fn finish(self) -> Result<Moved> {
        self.writer.close().map_err(|error| encode_error(self.what, &error))?;
        Ok(self.moved)
    }
}

fn encode_error(what: &str, error: &parquet::errors::ParquetError) -> Error {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(deeper) = source {
        let full = deeper.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::StorageFull);
        if full {
            return Error::new(&pipeline_core::landing::DISK_FULL, what).caused_by("no space left on the device");
        }
        source = deeper.source();
    }
    Error::new(&LAKE, what).caused_by("the staged file could not be written")
}
