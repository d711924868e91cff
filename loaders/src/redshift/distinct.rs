//! One row for each key, before a merge is sent.
//!
//! The rule is that the greatest cursor wins, then the later row. COPY keeps no order of rows, so SQL could not tell which of two
//! rows with equal cursors came later; it is found here, from the parts. Snapshots seldom hold a key twice: then only the key
//! columns are read and nothing is written. Else the parts that hold overtaken rows are written anew without them, beside the
//! snapshot, which stays as it is.
//!
//! Memory: 64 MiB of hashes, and the keys that stand more than once.

use std::collections::hash_map::{DefaultHasher, Entry};
use std::collections::{HashMap, HashSet};
use std::hash::Hasher;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use futures::StreamExt;
use parquet::arrow::ProjectionMask;
use parquet::arrow::async_reader::{ParquetRecordBatchStream, ParquetRecordBatchStreamBuilder};
use pipeline_core::contract::Contract;
use pipeline_core::error::{BUG, Error, Result};
use pipeline_core::landing::{Manifest, Part, Snapshot, SnapshotWriter, WriterSettings};
use pipeline_core::name::ColumnName;

use super::part_reader::PartReader;
use super::preflight::read_error;

/// Hashes held at once; more rows take more passes over the key columns.
const HASHES_MAX: u64 = 8 << 20;

/// What the parts of a snapshot become.
#[derive(Debug)]
pub(super) struct Distinct {
    /// The parts to copy: those of the snapshot without overtaken rows, and the new ones.
    pub(super) parts: Vec<Part>,
    /// The folder of the new ones, relative to the landing.
    pub(super) folder: String,
}

/// Leaves out rows whose key stands again in the snapshot, with a greater cursor or later. None if there are none. New parts go
/// to `folder`, which no one used before.
///
/// # Errors
/// As the landing's.
pub(super) async fn distinct(contract: &Contract, snapshot: &Snapshot, folder: String) -> Result<Option<Distinct>> {
    let scan = Scan::new(contract, snapshot)?;
    let twice = Box::pin(scan.keys_seen_twice()).await?;
    if twice.is_empty() {
        return Ok(None);
    }
    let overtaken = Box::pin(scan.overtaken(&twice)).await?;
    if overtaken.is_empty() {
        return Ok(None);
    }
    let writer = SnapshotWriter::new(snapshot.landing(), &folder, contract.schema(), WriterSettings::default());
    let mut parts = Vec::new();
    let mut first_row = 0;
    for (slice, part) in (0..).zip(&snapshot.manifest().parts) {
        let mine: HashSet<u64> = overtaken.range(first_row, first_row + part.rows);
        if mine.is_empty() {
            parts.push(part.clone());
        } else {
            let kept = scan.rows(part, None).await?;
            Box::pin(copy_without(contract, kept, &mine, first_row, &writer, slice, &part.key)).await?;
        }
        first_row += part.rows;
    }
    let source = snapshot.manifest();
    let manifest = Manifest::new(&source.run, &source.step, contract.clone(), false);
    let written = writer.finish(manifest, &[], None).await?;
    parts.extend(written.manifest().parts.iter().cloned());
    Ok(Some(Distinct { parts, folder }))
}

type Rows = ParquetRecordBatchStream<PartReader>;

async fn copy_without(
    contract: &Contract,
    mut rows: Rows,
    overtaken: &HashSet<u64>,
    mut row: u64,
    writer: &SnapshotWriter,
    slice: u32,
    key: &str,
) -> Result<()> {
    let mut part = writer.part_writer(slice);
    while let Some(batch) = rows.next().await {
        let batch = batch.map_err(|error| read_error(key, &error))?;
        let stays: BooleanArray = (row..).take(batch.num_rows()).map(|row| Some(!overtaken.contains(&row))).collect();
        row += batch.num_rows() as u64;
        let kept = filter_record_batch(&batch, &stays)?;
        let kept = RecordBatch::try_new(contract.schema(), kept.columns().to_vec())?;
        if let Err(error) = part.write(&kept).await {
            part.abort().await;
            return Err(error);
        }
    }
    part.finish().await.map(drop)
}

/// Rows by their position in the snapshot.
#[derive(Debug, Default)]
struct Positions(Vec<u64>);

impl Positions {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn range(&self, from: u64, to: u64) -> HashSet<u64> {
        self.0.iter().copied().filter(|row| (from..to).contains(row)).collect()
    }
}

struct Scan<'a> {
    snapshot: &'a Snapshot,
    key: Vec<&'a ColumnName>,
    cursor: Option<&'a ColumnName>,
    columns: Vec<usize>,
    converter: RowConverter,
}

impl<'a> Scan<'a> {
    fn new(contract: &'a Contract, snapshot: &'a Snapshot) -> Result<Self> {
        let key: Vec<&ColumnName> = contract.key.iter().collect();
        let cursor = contract.cursor.as_ref();
        let wanted = |name: &ColumnName| key.contains(&name) || cursor == Some(name);
        let columns = contract.columns.iter().enumerate().filter(|(_, column)| wanted(&column.name)).map(|(index, _)| index).collect();
        let schema = contract.schema();
        let mut fields = Vec::with_capacity(key.len());
        for name in &key {
            fields.push(SortField::new(schema.field_with_name(name.as_str())?.data_type().clone()));
        }
        Ok(Self { snapshot, key, cursor, columns, converter: RowConverter::new(fields)? })
    }

    /// A part's rows, of some columns or of all.
    async fn rows(&self, part: &Part, columns: Option<&[usize]>) -> Result<Rows> {
        let landing = self.snapshot.landing();
        let reader = PartReader::new(landing.store(), landing.path(&part.key), part.bytes);
        let builder = ParquetRecordBatchStreamBuilder::new(reader).await.map_err(|error| read_error(&part.key, &error))?;
        let builder = match columns {
            Some(columns) => {
                let mask = ProjectionMask::leaves(builder.parquet_schema(), columns.iter().copied());
                builder.with_projection(mask)
            }
            None => builder,
        };
        builder.build().map_err(|error| read_error(&part.key, &error))
    }

    fn keys(&self, batch: &RecordBatch) -> Result<arrow::row::Rows> {
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.key.len());
        for name in &self.key {
            columns.push(Arc::clone(column(batch, name)?));
        }
        Ok(self.converter.convert_columns(&columns)?)
    }

    /// Hashes of keys that stand more than once, and perhaps of others with the same hash.
    async fn keys_seen_twice(&self) -> Result<HashSet<u64>> {
        let passes = self.snapshot.manifest().rows.div_ceil(HASHES_MAX).max(1);
        let mut twice = HashSet::new();
        for pass in 0..passes {
            let mut hashes = Vec::new();
            for part in self.snapshot.manifest().parts.iter().filter(|part| part.rows > 0) {
                let mut rows = self.rows(part, Some(&self.columns)).await?;
                while let Some(batch) = rows.next().await {
                    let batch = batch.map_err(|error| read_error(&part.key, &error))?;
                    hashes.extend(self.keys(&batch)?.iter().map(|row| hash(row.as_ref())).filter(|hash| hash % passes == pass));
                }
            }
            hashes.sort_unstable();
            twice.extend(hashes.windows(2).filter_map(|pair| match pair {
                [one, other] if one == other => Some(*one),
                _ => None,
            }));
        }
        Ok(twice)
    }

    async fn overtaken(&self, twice: &HashSet<u64>) -> Result<Positions> {
        // By key: the cursor and the position of the winner so far.
        let mut winners: HashMap<Box<[u8]>, (Option<i64>, u64)> = HashMap::new();
        let mut overtaken = Vec::new();
        let mut position = 0;
        for part in self.snapshot.manifest().parts.iter().filter(|part| part.rows > 0) {
            let mut rows = self.rows(part, Some(&self.columns)).await?;
            while let Some(batch) = rows.next().await {
                let batch = batch.map_err(|error| read_error(&part.key, &error))?;
                let cursors = self.cursors(&batch)?;
                for (index, key) in self.keys(&batch)?.iter().enumerate() {
                    if twice.contains(&hash(key.as_ref())) {
                        let cursor = cursors.as_ref().and_then(|cursors| (!cursors.is_null(index)).then(|| cursors.value(index)));
                        match winners.entry(key.as_ref().into()) {
                            Entry::Vacant(entry) => drop(entry.insert((cursor, position))),
                            // None is less than any number: NULL is older than everything.
                            Entry::Occupied(mut entry) if cursor >= entry.get().0 => overtaken.push(entry.insert((cursor, position)).1),
                            Entry::Occupied(_) => overtaken.push(position),
                        }
                    }
                    position += 1;
                }
            }
        }
        Ok(Positions(overtaken))
    }

    /// The cursor's values as numbers that grow with it.
    fn cursors(&self, batch: &RecordBatch) -> Result<Option<Int64Array>> {
        let Some(name) = self.cursor else { return Ok(None) };
        let values = column(batch, name)?;
        // Days are no 64-bit numbers to Arrow.
        let values = if *values.data_type() == DataType::Date32 { cast(values, &DataType::Int32)? } else { Arc::clone(values) };
        let numbers = cast(&values, &DataType::Int64)?;
        Ok(numbers.as_any().downcast_ref::<Int64Array>().cloned())
    }
}

fn column<'a>(batch: &'a RecordBatch, name: &ColumnName) -> Result<&'a ArrayRef> {
    batch.column_by_name(name.as_str()).ok_or_else(|| Error::new(&BUG, format!("column \"{name}\" is not among those that were read")))
}

fn hash(key: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(key);
    hasher.finish()
}
