//! What the lake held after earlier runs, as long as its log and files are kept.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use deltalake::DeltaTableError;
use futures::TryStreamExt;
use pipeline_core::error::{Error, Result};
use pipeline_core::name::TableName;

use super::Lake;
use super::codes::{LAKE_HISTORY, delta_error};

/// A commit of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The version that it made.
    pub version: u64,
    /// The run that it belongs to; None for maintenance.
    pub run: Option<String>,
}

impl Lake {
    /// The commits of a table that its log still has, oldest first; none if the table was never made.
    ///
    /// # Errors
    /// [`LAKE`](super::LAKE) and kin.
    pub async fn commits(&self, name: &TableName) -> Result<Vec<Commit>> {
        let Some(table) = self.table(name).await? else { return Ok(Vec::new()) };
        let failed = |error: DeltaTableError| delta_error(&format!("history of lake table \"{name}\" could not be read"), &error);
        let infos: Vec<_> = table.history(None).try_collect().await.map_err(failed)?;
        let newest = table.version().unwrap_or(0);
        // One for each version, newest first.
        let commits = infos
            .iter()
            .zip((0..=newest).rev())
            .map(|(info, version)| Commit { version, run: info.info.get("pipeline.run").and_then(|run| run.as_str()).map(str::to_owned) });
        let mut commits: Vec<Commit> = commits.collect();
        commits.reverse();
        Ok(commits)
    }

    /// The table as it stood at a version.
    ///
    /// # Errors
    /// [`LAKE_HISTORY`] if the log or the files of that version are not kept any more.
    pub async fn provider_at(&self, name: &TableName, version: u64) -> Result<Arc<dyn TableProvider>> {
        let gone = |_: DeltaTableError| {
            Error::new(&LAKE_HISTORY, format!("lake table \"{name}\" is not kept any more as it stood at version {version}"))
        };
        let mut table = self.handle(name)?;
        table.load_version(version).await.map_err(gone)?;
        self.provider_of(&table, name).await
    }
}
