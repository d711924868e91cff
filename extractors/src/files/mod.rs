//! Dump files: what `mongodump` and PostgreSQL's `COPY … (FORMAT binary)` write.
//!
//! They go through the same decoders as the servers themselves, so that trials and tests without a server run the code that production runs.
//! Nothing is ever decompressed as a whole: memory holds a few batches, whatever a file's length.
//!
//! # What is read again
//! The plan looks through the file once, for its checksum, its greatest cursor, and whether it is complete: a file that ends in the
//! middle of a row fails before anything is read for good. A file with the checksum of the last run is not read at all.
//! From a changed file, only rows beyond the checkpoint (less the lookback) move; rows whose cursor is missing or of a stray type are
//! only seen by a reading of the whole, as in a live collection.

mod copy;
mod ddl;
mod error;
mod input;
mod kind;
mod locate;
mod plan;
mod range;
mod read;
mod tuples;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use pipeline_core::batch::BatchStream;
use pipeline_core::config::Options;
use pipeline_core::contract::{ColumnType, Contract};
use pipeline_core::error::{BUG, Code, Error, ErrorKind, Result};
use pipeline_core::extract::{Checkpoint, Cursor, ExtractPlan, Extractor, Request, Slice};
use pipeline_core::privacy::PrivacyKey;
use pipeline_core::quarantine::Quarantine;
use pipeline_core::window::Timestamp;

pub use error::{AMBIGUOUS, CHANGED, DENIED, FORMAT, MISSING, READ, SCHEMA, TRUNCATED};
pub use kind::KIND;

use crate::bson::{self, CursorField};
use crate::postgres::copy::SourceColumn;
use locate::{Dump, Format, locate};

/// How this kind of source is configured.
pub const EXAMPLE: &str = include_str!("example.toml");

/// A window of time is wanted of a table whose cursor is none.
pub static WINDOW: Code = Code {
    name: "E-FILE-WINDOW",
    kind: ErrorKind::Usage,
    meaning: "A window of time was asked of a table whose cursor column is a number.",
    remedy: "Leave the table out of the backfill with --skip, or read it whole with --full-refresh.",
};

/// The codes of this module.
pub const CODES: &[&Code] = &[&AMBIGUOUS, &CHANGED, &DENIED, &FORMAT, &MISSING, &READ, &SCHEMA, &TRUNCATED, &WINDOW];

/// A source of `kind = "files"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesOptions {
    /// The folder that holds the dumps, up to three folders deep.
    pub path: PathBuf,
}

impl FilesOptions {
    /// Reads the source's section. Who connects decides where a relative `path` starts.
    ///
    /// # Errors
    /// If `path` is missing, or a key is not known.
    pub fn read(mut options: Options) -> Result<Self> {
        let path = PathBuf::from(options.required("path")?);
        options.end()?;
        Ok(Self { path })
    }
}

/// What a table's section says beside its contract.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableOptions {
    /// The dump's file, relative to the source's folder. Without it the file is found by its name.
    pub file: Option<String>,
    /// The collection's name, if it is not the table's.
    pub collection: Option<String>,
    /// The relation's name (`payments.transactions`), if it is not the table's.
    pub relation: Option<String>,
}

impl TableOptions {
    /// Reads what is left of a table's section.
    ///
    /// # Errors
    /// If a key is not known.
    pub fn read(mut options: Options) -> Result<Self> {
        let table = Self { file: options.text("file")?, collection: options.text("collection")?, relation: options.text("relation")? };
        options.end()?;
        Ok(table)
    }
}

#[derive(Debug)]
struct Inner {
    contract: Contract,
    dump: Dump,
    shape: Shape,
    key: Option<PrivacyKey>,
}

/// How the rows of a dump are laid out.
#[derive(Debug)]
enum Shape {
    Bson {
        cursor: Option<CursorField>,
    },
    /// COPY's columns, and the place and type of the cursor among them.
    Copy {
        columns: Vec<SourceColumn>,
        cursor: Option<(usize, ColumnType)>,
    },
}

impl Inner {
    fn has_cursor(&self) -> bool {
        self.contract.cursor.is_some()
    }

    fn cursor_type(&self) -> Option<&ColumnType> {
        self.contract.column(self.contract.cursor.as_ref()?).map(|column| &column.data_type)
    }

    fn cursor_is_time(&self) -> bool {
        matches!(self.cursor_type(), Some(ColumnType::Timestamp | ColumnType::LocalTimestamp | ColumnType::Date))
    }

    fn position(&self, value: i64) -> Cursor {
        if self.cursor_is_time() { Cursor::Time(Timestamp::from_microseconds(value)) } else { Cursor::Number(value) }
    }
}

#[derive(Debug)]
struct FilesExtractor {
    inner: Arc<Inner>,
}

/// Opens one table of a folder of dumps: finds its file, and checks that the contract can be read from it.
///
/// # Errors
/// [`MISSING`], [`AMBIGUOUS`], [`FORMAT`], [`SCHEMA`] about the file; [`bson::DECLARATION`], [`bson::PRIVACY_KEY`]
/// or those of [`crate::postgres`] about the contract.
pub fn open(options: &FilesOptions, contract: Contract, table: &TableOptions, key: Option<PrivacyKey>) -> Result<Box<dyn Extractor>> {
    let dump = locate(options, table, &contract)?;
    let shape = match dump.format {
        Format::Bson => {
            // Compiled once here, so that a contract that cannot be read fails before any run.
            bson::Decoder::new(&contract, key.as_ref())?;
            let cursor = CursorField::of(&contract);
            if cursor.is_none() && contract.cursor.is_some() {
                return Err(Error::new(
                    &bson::DECLARATION,
                    format!("table \"{}\" has a cursor of a type that documents do not have", contract.table),
                ));
            }
            Shape::Bson { cursor }
        }
        Format::Copy => copy::shape(&dump, table, &contract, key.as_ref())?,
    };
    Ok(Box::new(FilesExtractor { inner: Arc::new(Inner { contract, dump, shape, key }) }))
}

#[async_trait]
impl Extractor for FilesExtractor {
    fn contract(&self) -> &Contract {
        &self.inner.contract
    }

    async fn check(&self) -> Result<()> {
        // Opening the table found its file and compared the file's columns with the contract.
        range::Seen::of(&self.inner.dump).map(drop)
    }

    async fn plan(&self, request: &Request, after: Option<&Checkpoint>) -> Result<ExtractPlan> {
        let (inner, request, after) = (Arc::clone(&self.inner), request.clone(), after.cloned());
        tokio::task::spawn_blocking(move || plan::plan(&inner, &request, after.as_ref()))
            .await
            .map_err(|_| Error::new(&BUG, "planning a dump stopped without a word"))?
    }

    async fn read(&self, slice: &Slice, quarantine: &Quarantine) -> Result<BatchStream> {
        let range = range::Range::of(slice)?;
        let (inner, quarantine) = (Arc::clone(&self.inner), quarantine.clone());
        let schema = self.inner.contract.schema();
        Ok(crate::produce::on_a_thread(schema, move |outlet| read::read(&inner, &range, &quarantine, outlet)))
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
