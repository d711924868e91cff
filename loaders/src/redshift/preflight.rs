//! What is checked before anything is sent: that the parts are what COPY will take them for.
//!
//! COPY matches columns by position and converts nothing, and a single text that is too long aborts the whole load after
//! minutes. So the parts' footers are compared with what the landing writes for the contract (order, names, physical and logical
//! types, digits, codec, row counts), and lengths of texts are measured: from the footer where the sum of a column's bytes is
//! below the limit already, else from the dictionary where all values stand in one, else by reading that column.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch, cast::AsArray};
use arrow::datatypes::SchemaRef;
use futures::{FutureExt, StreamExt, TryStreamExt};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use parquet::arrow::{ArrowSchemaConverter, ProjectionMask};
use parquet::basic::{Compression, Repetition};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::schema::types::{ColumnDescriptor, SchemaDescriptor};
use pipeline_core::contract::CONTRACT;
use pipeline_core::error::{BUG, Error, Result};
use pipeline_core::landing::{LANDING, Part, SNAPSHOT, Snapshot, store_error};
use pipeline_core::load::{Load, Mode};

use super::dictionary;
use super::options::Limits;
use super::part_reader::PartReader;
use super::types::column_types;

/// Bytes of decoded text held at once while lengths are measured.
const BATCH_BYTES: u64 = 4 << 20;

/// Rows of one such batch at the most.
const BATCH_ROWS_MAX: u64 = 8192;

/// The longest value of a column, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Measured {
    column: usize,
    longest: u64,
}

/// What every part must be.
struct Expected {
    schema: SchemaDescriptor,
    // For each column: most bytes of a value, for types of varying length.
    limits: Vec<Option<u32>>,
    // Columns by position that must not be NULL, although their file column might allow it.
    keys: Vec<usize>,
}

/// Checks a snapshot against the load's contract.
///
/// # Errors
/// [`super::TEXT_TOO_LONG`] naming every column that is too short, with its limit and the longest value; [`SNAPSHOT`] when a part
/// is not what its manifest and the contract say; [`CONTRACT`] for a NULL in a key.
pub(super) async fn check(load: &Load, snapshot: &Snapshot, limits: &Limits) -> Result<()> {
    let manifest = snapshot.manifest();
    if manifest.is_changes != (load.mode == Mode::Changes) {
        return Err(Error::new(&BUG, format!("the snapshot of table \"{}\" does not fit its way of loading", load.id.table)));
    }
    let rows: u64 = manifest.parts.iter().map(|part| part.rows).sum();
    if rows != manifest.rows {
        return Err(Error::new(&SNAPSHOT, format!("the snapshot of table \"{}\" has other row counts than its parts", load.id.table)));
    }
    let expected = Arc::new(Expected::new(load)?);
    let mut parts = Vec::with_capacity(manifest.parts.len());
    for part in &manifest.parts {
        if part.rows > 0 {
            parts.push(check_part(load, snapshot, part, Arc::clone(&expected)).boxed());
        }
    }
    let at_once = limits.parts_at_once.max(1);
    let measured: Vec<Vec<Measured>> = futures::stream::iter(parts).buffer_unordered(at_once).try_collect().await?;
    let mut longest = vec![0_u64; expected.limits.len()];
    for Measured { column, longest: bytes } in measured.into_iter().flatten() {
        if let Some(seen) = longest.get_mut(column) {
            *seen = bytes.max(*seen);
        }
    }
    too_long(load, &expected.limits, &longest)
}

fn too_long(load: &Load, limits: &[Option<u32>], longest: &[u64]) -> Result<()> {
    let mut error: Option<Error> = None;
    for ((column, limit), longest) in load.contract.columns.iter().zip(limits).zip(longest) {
        let Some(limit) = limit.filter(|limit| *longest > u64::from(*limit)) else { continue };
        let text = format!("column \"{}\" holds {limit} bytes, the longest value has {longest}", column.name);
        let so_far = error.unwrap_or_else(|| {
            let what = format!("table \"{}\" has text that is too long for the warehouse", load.id.table);
            Error::new(&super::TEXT_TOO_LONG, what).hint(format!(
                "Declare column \"{}\" as text({}) or wider: the limit counts bytes, and letters with accents have two or more. Nothing was sent; the column is widened by itself.",
                column.name,
                wider(*longest)
            ))
        });
        error = Some(so_far.caused_by(text));
    }
    error.map_or(Ok(()), Err)
}

/// A round limit that holds `bytes`.
fn wider(bytes: u64) -> u64 {
    bytes.next_power_of_two().min(65_535)
}

impl Expected {
    fn new(load: &Load) -> Result<Self> {
        let types = column_types(&load.contract)?;
        let schema: SchemaRef = match load.mode {
            Mode::Changes => load.contract.changes_schema(),
            Mode::Replace | Mode::Append | Mode::Merge => load.contract.schema(),
        };
        let schema = ArrowSchemaConverter::new()
            .convert(&schema)
            .map_err(|_| Error::new(&BUG, format!("the contract of table \"{}\" has no Parquet schema", load.id.table)))?;
        let keys = match load.mode {
            Mode::Merge | Mode::Changes => {
                let is_key =
                    |(index, column): (usize, &pipeline_core::contract::Column)| load.contract.key.contains(&column.name).then_some(index);
                load.contract.columns.iter().enumerate().filter_map(is_key).collect()
            }
            Mode::Replace | Mode::Append => Vec::new(),
        };
        Ok(Self { schema, limits: types.into_iter().map(super::types::WarehouseType::bytes_max).collect(), keys })
    }
}

async fn check_part(load: &Load, snapshot: &Snapshot, part: &Part, expected: Arc<Expected>) -> Result<Vec<Measured>> {
    let landing = snapshot.landing();
    let wrong = |what: String| Error::new(&SNAPSHOT, format!("landed part \"{}\" {what}", part.key));
    let mut reader = PartReader::new(landing.store(), landing.path(&part.key), part.bytes);
    let footer =
        ArrowReaderMetadata::load_async(&mut reader, ArrowReaderOptions::new()).await.map_err(|error| read_error(&part.key, &error))?;
    let metadata = Arc::clone(footer.metadata());
    if u64::try_from(metadata.file_metadata().num_rows()).ok() != Some(part.rows) {
        return Err(wrong(format!("has {} rows, its manifest says {}", metadata.file_metadata().num_rows(), part.rows)));
    }
    compare(&expected.schema, metadata.file_metadata().schema_descr()).map_err(wrong)?;
    check_chunks(&metadata, &expected).map_err(|problem| match problem {
        Problem::Codec(codec) => wrong(format!("is compressed by {codec}, which COPY does not read")),
        Problem::NullKey(index) => {
            let name = load.contract.columns.get(index).map(|column| column.name.to_string()).unwrap_or_default();
            Error::new(&CONTRACT, format!("table \"{}\" has rows whose key column \"{name}\" is NULL", load.id.table))
                .hint("NULL equals nothing, so such rows would be added again by every load. Leave them out, or declare another key.")
        }
    })?;

    let mut measured = Vec::new();
    let mut unknown = Vec::new();
    for (column, limit) in expected.limits.iter().enumerate() {
        let Some(limit) = limit else { continue };
        match bytes_in_all(&metadata, column) {
            // All values together are short enough, so each is.
            Some(bytes) if bytes <= u64::from(*limit) => {}
            _ => match dictionary::longest(&mut reader, &metadata, column).await.map_err(|error| read_error(&part.key, &error))? {
                Some(longest) => measured.push(Measured { column, longest }),
                None => unknown.push(column),
            },
        }
    }
    if !unknown.is_empty() {
        measured.extend(measure(reader, footer, &unknown, &part.key).await?);
    }
    Ok(measured)
}

/// Compares what COPY goes by. Whether a column allows NULL does not matter to it.
fn compare(expected: &SchemaDescriptor, found: &SchemaDescriptor) -> std::result::Result<(), String> {
    if expected.num_columns() != found.num_columns() {
        return Err(format!("has {} columns, the contract {}", found.num_columns(), expected.num_columns()));
    }
    for (index, (wanted, has)) in expected.columns().iter().zip(found.columns()).enumerate() {
        if wanted.name() != has.name() {
            return Err(format!("has column \"{}\" at position {}, the contract \"{}\"", has.name(), index + 1, wanted.name()));
        }
        if form(wanted) != form(has) {
            return Err(format!("has column \"{}\" as {}, the contract needs {}", has.name(), form(has), form(wanted)));
        }
    }
    Ok(())
}

/// A column's type in words: everything about it but whether it allows NULL.
fn form(column: &ColumnDescriptor) -> String {
    let mut text = column.physical_type().to_string();
    if column.type_length() > 0 {
        text.push_str(&format!("({})", column.type_length()));
    }
    if let Some(logical) = column.logical_type_ref() {
        text.push_str(&format!(" {logical:?}"));
    }
    if column.max_rep_level() > 0 {
        text.push_str(" repeated");
    }
    text
}

enum Problem {
    Codec(String),
    NullKey(usize),
}

fn check_chunks(metadata: &ParquetMetaData, expected: &Expected) -> std::result::Result<(), Problem> {
    for group in metadata.row_groups() {
        for (index, chunk) in group.columns().iter().enumerate() {
            match chunk.compression() {
                Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::GZIP(_) | Compression::ZSTD(_) => {}
                other => return Err(Problem::Codec(format!("{other:?}"))),
            }
            if expected.keys.contains(&index) && may_be_null(chunk) {
                return Err(Problem::NullKey(index));
            }
        }
    }
    Ok(())
}

fn may_be_null(chunk: &ColumnChunkMetaData) -> bool {
    let optional = chunk.column_descr().self_type().get_basic_info().repetition() != Repetition::REQUIRED;
    optional && chunk.statistics().and_then(|statistics| statistics.null_count_opt()) != Some(0)
}

/// The bytes of all values of a column, if every chunk's footer tells.
fn bytes_in_all(metadata: &ParquetMetaData, column: usize) -> Option<u64> {
    let chunks = metadata.row_groups().iter().map(|group| group.columns().get(column)?.unencoded_byte_array_data_bytes());
    chunks.map(|bytes| bytes.and_then(|bytes| u64::try_from(bytes).ok())).sum()
}

async fn measure(reader: PartReader, footer: ArrowReaderMetadata, columns: &[usize], key: &str) -> Result<Vec<Measured>> {
    let metadata = Arc::clone(footer.metadata());
    let rows = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(1).max(1);
    let bytes: u64 = columns.iter().map(|column| bytes_in_all(&metadata, *column).unwrap_or(BATCH_BYTES)).sum();
    let batch_rows = (BATCH_BYTES.saturating_mul(rows) / bytes.max(1)).clamp(64, BATCH_ROWS_MAX);
    let mask = ProjectionMask::leaves(metadata.file_metadata().schema_descr(), columns.iter().copied());
    let mut stream = ParquetRecordBatchStreamBuilder::new_with_metadata(reader, footer)
        .with_projection(mask)
        .with_batch_size(usize::try_from(batch_rows).unwrap_or(64))
        .build()
        .map_err(|error| read_error(key, &error))?;
    let mut longest = vec![0_u64; columns.len()];
    while let Some(batch) = stream.next().await {
        let batch: RecordBatch = batch.map_err(|error| read_error(key, &error))?;
        for (array, longest) in batch.columns().iter().zip(&mut longest) {
            *longest = (*longest).max(longest_value(array.as_ref()));
        }
    }
    Ok(columns.iter().zip(longest).map(|(column, longest)| Measured { column: *column, longest }).collect())
}

fn longest_value(array: &dyn Array) -> u64 {
    let of = |offsets: &[i32]| {
        offsets
            .windows(2)
            .map(|pair| match pair {
                [from, to] => to - from,
                _ => 0,
            })
            .max()
            .unwrap_or(0)
    };
    let longest = if let Some(texts) = array.as_string_opt::<i32>() {
        of(texts.value_offsets())
    } else if let Some(bytes) = array.as_binary_opt::<i32>() {
        of(bytes.value_offsets())
    } else {
        0
    };
    u64::try_from(longest).unwrap_or(0)
}

pub(super) fn read_error(key: &str, error: &ParquetError) -> Error {
    let what = format!("landed part \"{key}\" could not be read");
    match error {
        ParquetError::External(source) => match source.downcast_ref::<object_store::Error>() {
            Some(error) => store_error(&what, error),
            None => Error::new(&LANDING, what),
        },
        _ => Error::new(&SNAPSHOT, format!("landed part \"{key}\" is not the Parquet file it was")),
    }
}

#[cfg(test)]
#[path = "preflight_tests.rs"]
mod tests;
