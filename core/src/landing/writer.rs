//! Writing a snapshot: batches to Parquet parts, with checksums, as Redshift reads them.
//!
//! Settings follow what COPY accepts: data pages of version 1, no DELTA encodings, zstd inside the file, row groups that
//! held at most 64 MiB while they were made, files of at most 256 MiB. Memory: one row group being encoded for each open part.

use std::sync::{Arc, Mutex};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use futures::future::BoxFuture;
use object_store::buffered::BufWriter;
use parquet::arrow::AsyncArrowWriter;
use parquet::arrow::async_writer::AsyncFileWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use super::dictionary::with_dictionaries;
use super::{Landing, Manifest, Part, Snapshot, manifest::MANIFEST_FILE, write_error};
use crate::error::{BUG, Error, Result};
use crate::extract::Checkpoint;
use crate::quarantine::{Quarantine, Rejected};

/// What a row group may hold in memory while it is encoded. Encoded it is smaller: Redshift splits files at row groups and wants them below
/// 128 MB.
pub const ROW_GROUP_MEMORY_BYTES_MAX: usize = 64 << 20;

/// Largest file: large enough for COPY to read in slices, small enough for many workers.
pub const PART_BYTES_MAX: u64 = 192 << 20;

/// Rows in one row group at the most, so that narrow tables still prune.
const ROW_GROUP_ROWS_MAX: usize = 1 << 20;

/// How parts are written.
#[derive(Debug, Clone, Copy)]
pub struct WriterSettings {
    /// Bytes that the row group being encoded may hold in memory, with its dictionaries and buffers: two to four times of what it has when
    /// encoded.
    pub row_group_memory_bytes_max: usize,
    /// Bytes after which the next part begins.
    pub part_bytes_max: u64,
}

impl Default for WriterSettings {
    fn default() -> Self {
        Self { row_group_memory_bytes_max: ROW_GROUP_MEMORY_BYTES_MAX, part_bytes_max: PART_BYTES_MAX }
    }
}

/// Writes one snapshot. Parts may be written at once; [`SnapshotWriter::finish`] makes the snapshot exist.
#[derive(Debug, Clone)]
pub struct SnapshotWriter {
    landing: Landing,
    folder: String,
    schema: SchemaRef,
    settings: WriterSettings,
    // Part numbers and finished parts, shared by the workers of one step.
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    numbers: u32,
    parts: Vec<(u32, usize, Part)>,
}

impl SnapshotWriter {
    /// Begins a snapshot in a folder of the landing that no attempt used before: `<pipeline>/<run>/<step>/<attempt>`.
    #[must_use]
    pub fn new(landing: &Landing, folder: &str, schema: SchemaRef, settings: WriterSettings) -> Self {
        Self { landing: landing.clone(), folder: folder.to_owned(), schema, settings, state: Arc::default() }
    }

    /// A writer for one slice's batches. Its parts stand in the manifest at `slice`'s place, whoever finishes first.
    #[must_use]
    pub fn part_writer(&self, slice: u32) -> PartWriter {
        PartWriter { snapshot: self.clone(), slice, closed: Vec::new(), open: None }
    }

    /// Takes over the parts of a slice that another snapshot's writer finished. They stay where they are.
    pub fn adopt(&self, slice: u32, parts: &[Part]) {
        let parts = parts.iter().cloned().enumerate().map(|(sequence, part)| (slice, sequence, part));
        self.state.lock().expect("no holder of this lock panics").parts.extend(parts);
    }

    /// Writes the rows that one slice rejected, so that a later attempt need not read it again. None if there are none.
    ///
    /// # Errors
    /// [`super::LANDING`] and kin.
    pub async fn write_slice_rejected(&self, slice: u32, rejected: &[Rejected]) -> Result<Option<Part>> {
        self.write_rejected(&format!("quarantine-{slice:05}-{}", uuid::Uuid::now_v7().simple()), rejected).await
    }

    async fn write_rejected(&self, name: &str, rejected: &[Rejected]) -> Result<Option<Part>> {
        if rejected.is_empty() {
            return Ok(None);
        }
        let writer = Self::new(&self.landing, &self.folder, Quarantine::schema(), self.settings);
        let rejected = Quarantine::batch(rejected)?;
        let mut part = OpenPart::open(&writer, &format!("{}/{name}.parquet", self.folder), &rejected)?;
        part.write(&rejected).await?;
        part.close().await.map(Some)
    }

    /// Writes the quarantine and the manifest: now the snapshot exists.
    ///
    /// # Errors
    /// [`super::LANDING`] and kin; the snapshot does not exist then.
    pub async fn finish(self, mut manifest: Manifest, rejected: &[Rejected], checkpoint: Option<Checkpoint>) -> Result<Snapshot> {
        manifest.quarantine = self.write_rejected("quarantine", rejected).await?;
        let mut parts = std::mem::take(&mut self.state.lock().expect("no holder of this lock panics").parts);
        parts.sort_by_key(|(slice, sequence, _)| (*slice, *sequence));
        manifest.parts = parts.into_iter().map(|(_, _, part)| part).collect();
        manifest.rows = manifest.parts.iter().map(|part| part.rows).sum();
        manifest.bytes = manifest.parts.iter().map(|part| part.bytes).sum();
        manifest.checkpoint = checkpoint;
        let key = format!("{}/{MANIFEST_FILE}", self.folder);
        crate::failpoint::reached("landing.before_manifest");
        self.landing.create(&key, manifest.to_json()).await?;
        crate::failpoint::reached("landing.after_manifest");
        Ok(Snapshot::new(self.landing, key, manifest))
    }
}

/// Writes the batches of one slice into one or more parts. They belong to the snapshot once the slice is finished: a slice that is aborted can be
/// written again by another writer.
#[derive(Debug)]
pub struct PartWriter {
    snapshot: SnapshotWriter,
    slice: u32,
    closed: Vec<Part>,
    open: Option<OpenPart>,
}

impl PartWriter {
    /// Adds a batch; ends the part when it is large enough. Returns the bytes written so far in closed parts.
    ///
    /// # Errors
    /// [`super::LANDING`] and kin. Call [`PartWriter::abort`] then.
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        if self.open.is_none() {
            let number = {
                let mut state = self.snapshot.state.lock().expect("no holder of this lock panics");
                let number = state.numbers;
                state.numbers += 1;
                number
            };
            let key = format!("{}/part-{number:05}.parquet", self.snapshot.folder);
            self.open = Some(OpenPart::open(&self.snapshot, &key, batch)?);
        }
        let part = self.open.as_mut().expect("it was opened just above");
        part.write(batch).await?;
        if part.bytes() >= self.snapshot.settings.part_bytes_max {
            self.close().await?;
        }
        Ok(())
    }

    /// Ends the slice and gives its parts.
    ///
    /// # Errors
    /// [`super::LANDING`] and kin.
    pub async fn finish(mut self) -> Result<Vec<Part>> {
        self.close().await?;
        self.snapshot.adopt(self.slice, &self.closed);
        Ok(self.closed)
    }

    /// Lets go of a part that will not be finished, and of its upload.
    pub async fn abort(mut self) {
        if let Some(part) = self.open.take() {
            part.abort().await;
        }
    }

    async fn close(&mut self) -> Result<()> {
        let Some(part) = self.open.take() else { return Ok(()) };
        let part = part.close().await?;
        crate::failpoint::reached("landing.after_part");
        self.closed.push(part);
        Ok(())
    }
}

struct OpenPart {
    key: String,
    writer: AsyncArrowWriter<HashingFile>,
    row_group_memory_bytes_max: usize,
    file: HashingFile,
    rows: u64,
}

impl std::fmt::Debug for OpenPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenPart").field("key", &self.key).finish_non_exhaustive()
    }
}

impl OpenPart {
    /// Opens a part for batches like the first.
    fn open(snapshot: &SnapshotWriter, key: &str, first: &RecordBatch) -> Result<Self> {
        let file = HashingFile(Arc::new(tokio::sync::Mutex::new(Hashing {
            upload: BufWriter::new(snapshot.landing.store(), snapshot.landing.path(key)),
            url: snapshot.landing.url_of(key),
            hash: Sha256::new(),
            bytes: 0,
            failed: None,
        })));
        let properties = WriterProperties::builder()
            .set_writer_version(WriterVersion::PARQUET_1_0)
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).expect("1 is a zstd level")))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS_MAX))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_created_by(concat!("pipeline ", env!("CARGO_PKG_VERSION")).to_owned());
        let properties = with_dictionaries(properties, first).build();
        let writer = AsyncArrowWriter::try_new(file.clone(), Arc::clone(&snapshot.schema), Some(properties))
            .map_err(|error| parquet_error(key, &error))?;
        Ok(Self { key: key.to_owned(), writer, row_group_memory_bytes_max: snapshot.settings.row_group_memory_bytes_max, file, rows: 0 })
    }

    async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        let written = self.writer.write(batch).await;
        checked(&self.file, &self.key, written).await?;
        if self.writer.memory_size() >= self.row_group_memory_bytes_max {
            let flushed = self.writer.flush().await;
            checked(&self.file, &self.key, flushed).await?;
        }
        Ok(())
    }

    fn bytes(&self) -> u64 {
        (self.writer.bytes_written() + self.writer.in_progress_size()) as u64
    }

    async fn close(mut self) -> Result<Part> {
        let finished = self.writer.finish().await.map(|_| ());
        checked(&self.file, &self.key, finished).await?;
        let hashing = self.file.0.lock().await;
        Ok(Part { key: self.key.clone(), rows: self.rows, bytes: hashing.bytes, sha256: hex::encode(hashing.hash.clone().finalize()) })
    }

    async fn abort(self) {
        let Self { file, .. } = self;
        if let Err(error) = file.0.lock().await.upload.abort().await {
            tracing::warn!(error = %super::store_error("upload could not be aborted", &error), "an upload was left unfinished");
        }
    }
}

// Not a method: the Parquet writer is not `Sync`, so a future may not hold a reference to the part.
async fn checked<T>(file: &HashingFile, key: &str, result: std::result::Result<T, ParquetError>) -> Result<T> {
    match result {
        Ok(value) => Ok(value),
        Err(error) => {
            let mut hashing = file.0.lock().await;
            Err(hashing.failed.take().unwrap_or_else(|| parquet_error(key, &error)))
        }
    }
}

fn parquet_error(key: &str, error: &ParquetError) -> Error {
    match error {
        ParquetError::External(source) => match source.downcast_ref::<std::io::Error>() {
            Some(io) => io_error(key, io),
            None => Error::new(&super::LANDING, format!("landed part \"{key}\" could not be written")),
        },
        _ => Error::new(&BUG, format!("landed part \"{key}\" could not be encoded as Parquet")),
    }
}

fn io_error(key: &str, io: &std::io::Error) -> Error {
    let what = format!("landed part \"{key}\" could not be written");
    match io.get_ref().and_then(|source| source.downcast_ref::<object_store::Error>()) {
        Some(error) => write_error(&what, error),
        None if io.kind() == std::io::ErrorKind::StorageFull => {
            Error::new(&super::DISK_FULL, what).caused_by("no space left on the device")
        }
        None if io.kind() == std::io::ErrorKind::PermissionDenied => {
            Error::new(&super::LANDING_DENIED, what).caused_by("permission denied")
        }
        None => Error::new(&super::LANDING, what).caused_by(io.kind()),
    }
}

/// An upload that hashes and counts what passes.
#[derive(Clone)]
struct HashingFile(Arc<tokio::sync::Mutex<Hashing>>);

struct Hashing {
    upload: BufWriter,
    /// Where it goes, for errors.
    url: String,
    hash: Sha256,
    bytes: u64,
    // The store's own error: the Parquet writer would only hand on its text.
    failed: Option<Error>,
}

impl AsyncFileWriter for HashingFile {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, parquet::errors::Result<()>> {
        Box::pin(async move {
            let mut hashing = self.0.lock().await;
            hashing.hash.update(&bytes);
            hashing.bytes += bytes.len() as u64;
            let written = hashing.upload.write_all(&bytes).await;
            keep(&mut hashing, written)
        })
    }

    fn complete(&mut self) -> BoxFuture<'_, parquet::errors::Result<()>> {
        Box::pin(async move {
            let mut hashing = self.0.lock().await;
            let ended = hashing.upload.shutdown().await;
            keep(&mut hashing, ended)
        })
    }
}

fn keep(hashing: &mut Hashing, result: std::io::Result<()>) -> parquet::errors::Result<()> {
    result.map_err(|error| {
        hashing.failed = Some(io_error(&hashing.url, &error));
        ParquetError::General("the part could not be stored".to_owned())
    })
}
