//! A model's result on disk, for as long as it is checked and compared.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::DataFusionError;
use datafusion::common::runtime::JoinSet;
use datafusion::dataframe::DataFrame;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::Compression;
use datafusion::parquet::file::properties::{EnabledStatistics, WriterProperties};
use datafusion::prelude::ParquetReadOptions;
use futures::StreamExt;

use crate::model::Model;
use crate::session::Session;

/// A row group is written out when it holds so many bytes: this and the batch at hand is what writing keeps in memory.
const ROW_GROUP_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Tells the folders of one process apart.
static SEQUENCE: AtomicU64 = AtomicU64::new(0);

/// A result in Parquet files, which go away with it.
#[derive(Debug)]
pub(super) struct Spilled {
    folder: Folder,
    schema: SchemaRef,
    rows: u64,
}

impl Spilled {
    /// Runs a plan and writes its rows, one file for each of its partitions.
    pub(super) async fn write(session: &Session, model: &Model, frame: DataFrame) -> Result<Self, DataFusionError> {
        let folder = Folder::new(session, model)?;
        let fields = frame.schema().fields().clone();
        let streams = Box::pin(frame.execute_stream_partitioned()).await?;
        let mut writers = JoinSet::new();
        // Broken promises of NULL-ability are for the checks to tell, with the column's name.
        let schema = Arc::new(Schema::new(fields.iter().map(|field| field.as_ref().clone().with_nullable(true)).collect::<Vec<_>>()));
        for (index, stream) in streams.into_iter().enumerate() {
            let path = folder.path.join(format!("{index}.parquet"));
            writers.spawn(write_part(path, Arc::clone(&schema), stream));
        }
        let mut rows = 0;
        while let Some(written) = writers.join_next().await {
            rows += written.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))??;
        }
        Ok(Self { folder, schema, rows })
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// The rows as a table of a session. It must not outlive this.
    pub(super) async fn read(&self, session: &Session) -> Result<DataFrame, DataFusionError> {
        let path =
            self.folder.path.to_str().ok_or_else(|| DataFusionError::Configuration("the spill folder's name is no text".to_owned()))?;
        let options = ParquetReadOptions::default().schema(&self.schema);
        Box::pin(session.context().read_parquet(format!("{path}/"), options)).await
    }
}

async fn write_part(path: PathBuf, schema: SchemaRef, mut rows: SendableRecordBatchStream) -> Result<u64, DataFusionError> {
    // Read once or twice, soon: light compression, and statistics would not be asked.
    let properties =
        WriterProperties::builder().set_compression(Compression::SNAPPY).set_statistics_enabled(EnabledStatistics::None).build();
    let mut writer = ArrowWriter::try_new(File::create(path)?, Arc::clone(&schema), Some(properties))?;
    let mut count = 0;
    while let Some(batch) = rows.next().await {
        let batch = arrow::array::RecordBatch::try_new(Arc::clone(&schema), batch?.columns().to_vec())?;
        count += batch.num_rows() as u64;
        writer.write(&batch)?;
        if writer.in_progress_size() > ROW_GROUP_BYTES_MAX {
            writer.flush()?;
        }
    }
    writer.close()?;
    Ok(count)
}

/// A folder that is removed with everything in it when it is dropped.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn new(session: &Session, model: &Model) -> Result<Self, DataFusionError> {
        let sequence = SEQUENCE.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{}-{sequence}", model.table().table(), std::process::id());
        let path = session.engine().options().spill_directory.join(name);
        // What a killed process of the same id left behind must not be read as a part of this result.
        match std::fs::remove_dir_all(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        std::fs::create_dir_all(&path)?;
        Ok(Self { path: std::path::absolute(path)? })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::warn!(error = %error.kind(), "a spilled result could not be removed");
        }
    }
}
