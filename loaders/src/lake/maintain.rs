//! What keeps a table's cost from growing with its history: many small files become few.
//!
//! A commit of its own, after the load's: a failure here leaves the load as it is, and the next load tries again. The files
//! that were summed up stay until a vacuum, so that readers of the former version finish.

use std::num::NonZeroU64;
use std::sync::Arc;

use deltalake::{DeltaTable, DeltaTableError};
use pipeline_core::name::TableName;

use super::Lake;
use super::codes::is_conflict;
use super::publish::writer_properties;

/// Files below this size are small: a reader spends more time opening than reading them.
const SMALL_FILE_BYTES: i64 = 8 << 20;

/// How many small files a table may have. Each merge adds one or two, so a nightly table is summed up about monthly.
pub(super) const SMALL_FILES_MAX: usize = 32;

/// Size that summed-up files aim at. Files that are larger already stay as they are.
const SUMMED_FILE_BYTES: u64 = 32 << 20;

/// Sums up small files if there are too many of them.
pub(super) async fn maintain(lake: &Lake, name: &TableName) {
    match sum_up(lake, name).await {
        Ok(None) => {}
        Ok(Some((removed, added))) => tracing::info!(table = %name, removed, added, "small files of a lake table summed up"),
        Err(error) if is_conflict(&error) => tracing::info!(table = %name, "small files stay for now: another commit came first"),
        Err(error) => {
            tracing::debug!(table = %name, %error, "the lake failed");
            tracing::warn!(table = %name, "small files of a lake table could not be summed up; the next load tries again");
        }
    }
}

async fn sum_up(lake: &Lake, name: &TableName) -> Result<Option<(u64, u64)>, DeltaTableError> {
    let Ok(Some(table)) = lake.table(name).await else { return Ok(None) };
    if small_files(&table)? <= SMALL_FILES_MAX {
        return Ok(None);
    }
    let session = lake.session();
    table.update_datafusion_session(&session.state())?;
    let summed = table
        .optimize()
        .with_target_size(NonZeroU64::new(SUMMED_FILE_BYTES).expect("the constant is not zero"))
        .with_max_concurrent_tasks(1)
        .with_writer_properties(writer_properties())
        .with_session_state(Arc::new(session.state()));
    let (_, metrics) = Box::pin(std::future::IntoFuture::into_future(summed)).await?;
    Ok(Some((metrics.num_files_removed, metrics.num_files_added)))
}

pub(super) fn small_files(table: &DeltaTable) -> Result<usize, DeltaTableError> {
    Ok(table.snapshot()?.log_data().iter().filter(|file| file.size() < SMALL_FILE_BYTES).count())
}
