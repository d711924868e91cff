//! Rows that did not fit, kept raw with the reason, so that they can be mended and read again.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::Mutex;

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

/// Raw bytes of rejected rows that one step may hold in memory before it fails.
pub const QUARANTINE_BYTES_MAX: usize = 64 << 20;

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
}

impl Quarantine {
    /// An empty quarantine.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a row.
    ///
    /// # Errors
    /// [`REJECTED`] when the rows held exceed [`QUARANTINE_BYTES_MAX`]: so many do not belong in memory, nor in a run.
    pub fn reject(&self, table: &TableName, rejected: Rejected) -> Result<()> {
        let mut inner = self.inner.lock().expect("no holder of this lock panics");
        inner.bytes += rejected.raw.len() + rejected.column.len() + rejected.reason.len() + rejected.position.len();
        inner.rejected.push(rejected);
        if inner.bytes > QUARANTINE_BYTES_MAX {
            return Err(Error::new(
                &REJECTED,
                format!("table \"{table}\" has more than {QUARANTINE_BYTES_MAX} bytes of rows that do not fit"),
            ));
        }
        Ok(())
    }

    /// Takes over the rows of another, such as that of a slice which has been read to its end.
    ///
    /// # Errors
    /// [`REJECTED`] as [`Self::reject`].
    pub fn absorb(&self, table: &TableName, other: &Self) -> Result<()> {
        other.drain().into_iter().try_for_each(|rejected| self.reject(table, rejected))
    }

    /// How many rows were rejected so far.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.inner.lock().expect("no holder of this lock panics").rejected.len() as u64
    }

    /// Takes all rows out, in an order that does not depend on which worker was first.
    #[must_use]
    pub fn drain(&self) -> Vec<Rejected> {
        let mut inner = self.inner.lock().expect("no holder of this lock panics");
        inner.bytes = 0;
        let mut rejected = std::mem::take(&mut inner.rejected);
        rejected.sort_by(|a, b| (&a.position, &a.column).cmp(&(&b.position, &b.column)));
        rejected
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
