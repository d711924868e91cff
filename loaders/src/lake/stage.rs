//! Before a publication: which of a snapshot's rows have to move at all.
//!
//! A first load and a replacement move the snapshot as it is. A merge moves only rows that differ from what is stored and are
//! not older; duplicates of a key within the snapshot are settled first. What is left is written to a file in the work
//! folder, which a crash leaves as rubbish and nothing more.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{Int64Type, SchemaRef};
use datafusion::prelude::{DataFrame, ParquetReadOptions, SessionContext};
use futures::StreamExt;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use pipeline_core::contract::Contract;
use pipeline_core::error::{BUG, Error, Result};
use pipeline_core::landing::Snapshot;
use pipeline_core::load::{Load, Mode, Staged};
use serde::{Deserialize, Serialize};
use url::Url;

use super::codes::{LAKE, LAKE_KEY, LAKE_MEMORY, query_error};
use super::{JoinsBy, Lake};

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
    let whole = Detail { files, is_changes: manifest.is_changes, is_plain: true, rows: manifest.rows, rows_unchanged: 0, file: None };
    if manifest.rows == 0 {
        return staged(whole);
    }
    let what = format!("snapshot of table \"{}\" could not be compared with the lake", load.contract.table);
    let session = lake.session();
    let source = read(&session, &whole.files, snapshot_schema(load, manifest.is_changes)).await?;
    if !load.contract.key.is_empty() {
        refuse_null_keys(&source, &load.contract, &what).await?;
    }
    let stored = match lake.table(&load.contract.table).await? {
        Some(table) => table.snapshot().is_ok_and(|state| state.log_data().num_files() > 0),
        None => false,
    };
    match load.mode {
        Mode::Replace | Mode::Append => staged(whole),
        Mode::Changes => staged(Detail { is_plain: !stored, ..whole }),
        Mode::Merge => {
            let duplicated = has_duplicates(&session, &source, &load.contract, &what).await?;
            if !stored && !duplicated {
                return staged(whole);
            }
            let file = lake.options.work.join(format!("stage-{}.parquet", uuid::Uuid::now_v7().simple()));
            let hashed = different(lake, load, &whole.files, &file, (stored, duplicated), JoinsBy::Hash).await;
            let rows = match hashed {
                Err(error) if error.code() == &LAKE_MEMORY => {
                    tracing::info!(table = %load.contract.table, "not enough memory for hash joins, comparing by joins that spill");
                    different(lake, load, &whole.files, &file, (stored, duplicated), JoinsBy::Merge).await?
                }
                other => other?,
            };
            staged(Detail {
                files: vec![file_url(&file)?],
                is_changes: false,
                is_plain: !stored,
                rows,
                rows_unchanged: manifest.rows - rows,
                file: Some(file),
            })
        }
    }
}

/// Writes the rows that have to move to `file`; returns how many they are.
async fn different(
    lake: &Lake,
    load: &Load,
    files: &[String],
    file: &Path,
    (stored, duplicated): (bool, bool),
    joins: JoinsBy,
) -> Result<u64> {
    let what = format!("snapshot of table \"{}\" could not be compared with the lake", load.contract.table);
    let session = lake.session_joining(joins);
    if duplicated {
        // Rows are numbered in the order of the snapshot, so one worker reads them.
        session.state_ref().write().config_mut().options_mut().execution.target_partitions = 1;
    }
    let source = read(&session, files, load.contract.schema()).await?;
    session.register_table("source", source.into_view()).map_err(|error| query_error(&what, error))?;
    let newest = if duplicated { newest_of_each_key(&load.contract) } else { "SELECT * FROM source".to_owned() };
    let sql = match lake.provider(&load.contract.table).await?.filter(|_| stored) {
        None => newest,
        Some(provider) => {
            session.register_table("target", provider).map_err(|error| query_error(&what, error))?;
            only_different(&load.contract, &newest)
        }
    };
    let frame = session.sql(&sql).await.map_err(|error| query_error(&what, error))?;
    write(frame, &load.contract, file, &what).await
}

pub(super) fn discard(staged: &Staged) -> Result<()> {
    let detail = detail(staged)?;
    let Some(file) = detail.file else { return Ok(()) };
    match std::fs::remove_file(&file) {
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

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn keys(contract: &Contract) -> Vec<String> {
    contract.key.iter().map(|key| quoted(key.as_str())).collect()
}

async fn one_number(frame: DataFrame, what: &str) -> Result<i64> {
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

/// Rows that are not stored, or stored otherwise and not newer.
fn only_different(contract: &Contract, newest: &str) -> String {
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
    format!("SELECT {columns} FROM ({newest}) s LEFT JOIN target t ON {same} WHERE t.{first} IS NULL OR (({different}) AND {not_older})")
}

async fn write(frame: DataFrame, contract: &Contract, file: &Path, what: &str) -> Result<u64> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::StorageFull => Error::new(&pipeline_core::landing::DISK_FULL, what).caused_by("no space left on the device"),
        kind => Error::new(&LAKE, what).caused_by(kind),
    };
    let encode = |_: parquet::errors::ParquetError| Error::new(&LAKE, what).caused_by("the staged file could not be written");
    let schema = contract.schema();
    let properties =
        WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::try_new(1).expect("1 is a zstd level"))).build();
    let mut writer = ArrowWriter::try_new(File::create(file).map_err(failed)?, Arc::clone(&schema), Some(properties)).map_err(encode)?;
    let mut stream = frame.execute_stream().await.map_err(|error| query_error(what, error))?;
    let mut rows = 0;
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(|error| query_error(what, error))?;
        rows += batch.num_rows() as u64;
        // Joins loosen nullability; the columns are the contract's all the same.
        let batch = arrow::array::RecordBatch::try_new(Arc::clone(&schema), batch.columns().to_vec())?;
        writer.write(&batch).map_err(encode)?;
    }
    writer.close().map_err(encode)?;
    Ok(rows)
}
