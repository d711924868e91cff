//! Rows that did not fit, kept raw with the reason, so that they can be mended and read again.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use arrow::array::{Array, AsArray, BinaryBuilder, RecordBatch, StringBuilder, UInt64Builder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::error::{Code, Error, ErrorKind, Result};
use crate::name::TableName;

/// More rows were rejected than the configuration allows.
pub static REJECTED: Code = Code {
    name: "E-REJECTED",
    kind: ErrorKind::Data,
    meaning: "More rows of a table did not fit their contract than `max_rejected` allows; nothing was published.",
    remedy: "Look at the cause that stands beside this; correct the source or the column's type, or raise `max_rejected` for this table.",
};

/// A rejected row cannot be found again.
pub static REPLAY: Code = Code {
    name: "E-REPLAY",
    kind: ErrorKind::Usage,
    meaning: "Rejected rows cannot be read again one by one, because their table has no key by which the source finds them.",
    remedy: "Read the whole table again: `pipeline run --full-refresh --only TABLE`; or do without the rows: `pipeline quarantine drop TABLE`.",
};

/// Bytes of rejected rows that one step may hold in memory before it fails, all its slices together.
pub const QUARANTINE_BYTES_MAX: usize = 64 << 20;

/// What a row takes beside its texts: its place in a list, and what an allocation costs for each of three texts and the bytes.
const ROW_BYTES: usize = size_of::<Rejected>() + 4 * 16;

/// A row that did not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The column whose value did not fit, as a path.
    pub column: String,
    /// Why, in words that hold no value: `a string stands where a decimal(18,2) is declared`.
    pub reason: String,
    /// Where the row was: a document's id, a file's offset, a tuple's number.
    pub position: String,
    /// The row as the source sent it, without what the contract protects: empty where that could not be told apart.
    pub raw: Vec<u8>,
    /// What `raw` is: `bson`, `json` or `copy-binary`.
    pub format: Cow<'static, str>,
    /// What is needed to read `raw`, where it does not say so itself: the names and types of a tuple's fields, as JSON. Kept beside the row, so
    /// that it can be read when the source is another or gone.
    pub fields: Option<Arc<str>>,
}

/// Collects the rejected rows of one step. Cheap to share.
#[derive(Debug, Clone, Default)]
pub struct Quarantine {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    rejected: Vec<Rejected>,
    bytes: usize,
    /// The bytes of the whole step.
    held: Arc<AtomicUsize>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Rows that were taken out of a quarantine, in an order that does not depend on which worker was first. They count as the step's until they are
/// dropped or put into another.
#[derive(Debug, Default)]
pub struct Drained {
    rejected: Vec<Rejected>,
    bytes: usize,
    held: Arc<AtomicUsize>,
}

impl std::ops::Deref for Drained {
    type Target = [Rejected];

    fn deref(&self) -> &[Rejected] {
        &self.rejected
    }
}

impl Drop for Drained {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Quarantine {
    /// An empty quarantine.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty quarantine for a slice of the same step: both together hold no more than one.
    #[must_use]
    pub fn part(&self) -> Self {
        let held = Arc::clone(&self.inner.lock().expect("no holder of this lock panics").held);
        Self { inner: Arc::new(Mutex::new(Inner { rejected: Vec::new(), bytes: 0, held })) }
    }

    /// Adds a row.
    ///
    /// # Errors
    /// [`REJECTED`] when the rows held exceed [`QUARANTINE_BYTES_MAX`]: so many do not belong in memory, nor in a run.
    pub fn reject(&self, table: &TableName, rejected: Rejected) -> Result<()> {
        let mut inner = self.inner.lock().expect("no holder of this lock panics");
        let bytes = ROW_BYTES + rejected.raw.len() + rejected.column.len() + rejected.reason.len() + rejected.position.len();
        inner.bytes += bytes;
        inner.rejected.push(rejected);
        if inner.held.fetch_add(bytes, Ordering::Relaxed) + bytes <= QUARANTINE_BYTES_MAX {
            return Ok(());
        }
        let error = Error::new(
            &REJECTED,
            format!(
                "table \"{table}\" has more than {} MiB of rows that do not fit, more than one run sets aside",
                QUARANTINE_BYTES_MAX >> 20
            ),
        );
        let error = error.hint("Correct the source or the column's type: so many rows are not set aside, whatever `max_rejected` allows.");
        Err(causes(&inner.rejected).into_iter().fold(error, Error::caused_by))
    }

    /// How many rows were rejected so far.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.inner.lock().expect("no holder of this lock panics").rejected.len() as u64
    }

    /// Takes all rows out.
    #[must_use]
    pub fn drain(&self) -> Drained {
        let mut inner = self.inner.lock().expect("no holder of this lock panics");
        let bytes = std::mem::take(&mut inner.bytes);
        let mut rejected = std::mem::take(&mut inner.rejected);
        rejected.sort_by(|a, b| (&a.position, &a.column).cmp(&(&b.position, &b.column)));
        Drained { rejected, bytes, held: Arc::clone(&inner.held) }
    }

    /// Puts in what was taken out of a [`part`](Self::part) of this step: it counts already.
    pub fn put(&self, mut drained: Drained) {
        let mut inner = self.inner.lock().expect("no holder of this lock panics");
        debug_assert!(Arc::ptr_eq(&inner.held, &drained.held), "rows of another step");
        inner.bytes += std::mem::take(&mut drained.bytes);
        inner.rejected.append(&mut drained.rejected);
    }

    /// The schema of quarantine files: `position`, `column`, `reason`, `format`, `raw`, `raw_bytes`, `fields`.
    #[must_use]
    pub fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("position", DataType::Utf8, false),
            Field::new("column", DataType::Utf8, false),
            Field::new("reason", DataType::Utf8, false),
            Field::new("format", DataType::Utf8, false),
            Field::new("raw", DataType::Binary, false),
            Field::new("raw_bytes", DataType::UInt64, false),
            Field::new("fields", DataType::Utf8, true),
        ]))
    }

    /// The rows of a quarantine file.
    ///
    /// # Errors
    /// [`SNAPSHOT`](crate::landing::SNAPSHOT) if it is none.
    pub fn read(file: Bytes) -> Result<Vec<Rejected>> {
        let broken = || Error::new(&crate::landing::SNAPSHOT, "a quarantine file cannot be understood");
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(ParquetRecordBatchReaderBuilder::build);
        let mut rejected = Vec::new();
        for batch in reader.map_err(|_| broken())? {
            let batch = batch.map_err(|_| broken())?;
            let text = |name| batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>()).ok_or_else(broken);
            let (position, column, reason, format) = (text("position")?, text("column")?, text("reason")?, text("format")?);
            // Files of earlier versions have none.
            let fields = batch.column_by_name("fields").and_then(|column| column.as_string_opt::<i32>());
            // Rows of one reading share theirs.
            let mut shared: Option<Arc<str>> = None;
            let mut fields = |row: usize| {
                let text = fields.filter(|fields| fields.is_valid(row))?.value(row);
                if shared.as_deref() != Some(text) {
                    shared = Some(Arc::from(text));
                }
                shared.clone()
            };
            let raw = batch.column_by_name("raw").and_then(|column| column.as_binary_opt::<i32>()).ok_or_else(broken)?;
            rejected.extend((0..raw.len()).map(|row| Rejected {
                column: column.value(row).to_owned(),
                reason: reason.value(row).to_owned(),
                position: position.value(row).to_owned(),
                raw: raw.value(row).to_vec(),
                format: Cow::Owned(format.value(row).to_owned()),
                fields: fields(row),
            }));
        }
        Ok(rejected)
    }

    /// Rejected rows as one batch of [`Self::schema`].
    ///
    /// # Errors
    /// Only on an error of ours.
    pub fn batch(rejected: &[Rejected]) -> Result<RecordBatch> {
        let (mut position, mut column, mut reason) = (StringBuilder::new(), StringBuilder::new(), StringBuilder::new());
        let (mut format, mut raw, mut raw_bytes) = (StringBuilder::new(), BinaryBuilder::new(), UInt64Builder::new());
        let mut fields = StringBuilder::new();
        for row in rejected {
            fields.append_option(row.fields.as_deref());
            position.append_value(&row.position);
            column.append_value(&row.column);
            reason.append_value(&row.reason);
            format.append_value(&row.format);
            raw.append_value(&row.raw);
            raw_bytes.append_value(row.raw.len() as u64);
        }
        Ok(RecordBatch::try_new(
            Self::schema(),
            vec![
                Arc::new(position.finish()),
                Arc::new(column.finish()),
                Arc::new(reason.finish()),
                Arc::new(format.finish()),
                Arc::new(raw.finish()),
                Arc::new(raw_bytes.finish()),
                Arc::new(fields.finish()),
            ],
        )?)
    }
}

/// The commonest reasons with how often each occurred.
pub(crate) fn causes(rejected: &[Rejected]) -> Vec<String> {
    const CAUSES_SHOWN_MAX: usize = 5;
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for row in rejected {
        *counts.entry((&row.column, &row.reason)).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    counts
        .into_iter()
        .take(CAUSES_SHOWN_MAX)
        .map(|((column, reason), rows)| format!("column \"{column}\": {reason} ({rows} {})", if rows == 1 { "row" } else { "rows" }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejected(bytes: usize, column: &str) -> Rejected {
        Rejected {
            column: column.to_owned(),
            reason: "a string stands where a date is declared".to_owned(),
            position: "1".to_owned(),
            raw: vec![0; bytes],
            format: "bson".into(),
            fields: None,
        }
    }

    #[test]
    fn slices_of_a_step_hold_no_more_than_one_and_what_is_given_up_is_free_again() {
        let table: TableName = "shop.orders".parse().unwrap();
        let whole = Quarantine::new();
        let third = QUARANTINE_BYTES_MAX / 3;
        let (first, second, broken) = (whole.part(), whole.part(), whole.part());
        first.reject(&table, rejected(third, "at")).unwrap();
        broken.reject(&table, rejected(third, "at")).unwrap();
        second.reject(&table, rejected(third / 2, "at")).unwrap();
        let drained = first.drain();
        let error = second.reject(&table, rejected(third, "on the way")).unwrap_err();
        assert_eq!(error.code(), &REJECTED, "what is on its way counts");
        drop(second.drain());
        second.reject(&table, rejected(third / 2, "at")).unwrap();
        whole.put(drained);
        let error = second.reject(&table, rejected(third, "day")).unwrap_err();
        assert_eq!(error.code(), &REJECTED);
        assert!(error.message().contains("more than 64 MiB"), "{}", error.message());
        assert_eq!(error.causes().len(), 2, "each cause is named: {error:?}");
        drop((first, second, broken));
        let again = whole.part();
        again.reject(&table, rejected(third, "at")).unwrap();
        whole.put(again.drain());
        assert_eq!((whole.rows(), again.rows()), (2, 0));
        assert_eq!(whole.drain().len(), 2);
        again.reject(&table, rejected(QUARANTINE_BYTES_MAX / 2, "at")).unwrap();
    }

    #[test]
    fn many_small_rows_count_as_what_they_take() {
        let table: TableName = "shop.orders".parse().unwrap();
        let whole = Quarantine::new();
        let rows = (0..QUARANTINE_BYTES_MAX).take_while(|_| whole.reject(&table, rejected(0, "at")).is_ok()).count();
        assert!(rows * (size_of::<Rejected>() + 40) < QUARANTINE_BYTES_MAX, "{rows} rows");
    }
}
