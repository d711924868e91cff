//! What tells two versions of a table apart.
//!
//! The lake's tables keep a change data feed: a merge writes the rows that it changes, as they were and as they are, into files of their own beside the
//! data. So what changed costs as much as it is, however large the table. A table that was made without a feed tells less: a commit writes anew
//! only the files that it touches, so that rows that differ are in files that only one version has, beside rows that were copied along. Files that a
//! commit removed stay until a vacuum.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::logical_expr::{Expr, ident, lit};
use deltalake::delta_datafusion::DeltaCdfTableProvider;
use deltalake::table::state::DeltaTableState;
use deltalake::{DeltaTable, DeltaTableError, TableProperty};
use object_store::path::Path;
use pipeline_core::error::Result;
use pipeline_core::name::TableName;
use sha2::{Digest, Sha256};

use super::Lake;
use super::codes::{self, delta_error};

/// The feed's column that says what happened to a row.
const CHANGE_TYPE: &str = "_change_type";

/// Bytes of the digest in a state's name: enough that no two states of a table ever share it.
const DIGEST_BYTES: usize = 16;

/// Rows of one of two versions of a table, where they may differ; None where there are none.
pub type Side = Option<Arc<dyn TableProvider>>;

/// A table in one of its states, and where its rows lie.
#[derive(Debug)]
pub struct PinnedFiles {
    /// The state's name.
    pub state: String,
    /// The rows.
    pub rows: Arc<dyn TableProvider>,
    /// The files that hold them.
    pub files: Option<Vec<LakeFile>>,
}

/// A Parquet file of a table, all of whose rows are rows of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LakeFile {
    /// Its path in the lake's store.
    pub path: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its rows, if the log tells.
    pub rows: Option<u64>,
}

impl Lake {
    /// Names the table's state: its version, and a digest over its files, because a table that was restored counts its versions anew. None if it
    /// was never made.
    ///
    /// # Errors
    /// [`LAKE`](super::LAKE) and kin.
    pub async fn state(&self, name: &TableName) -> Result<Option<String>> {
        match self.table(name).await? {
            Some(table) => Ok(Some(state(&table).map_err(|error| unreadable(name, &error))?)),
            None => Ok(None),
        }
    }

    /// The table's state and its rows in it.
    ///
    /// # Errors
    /// [`LAKE`](super::LAKE) and kin.
    pub async fn pin(&self, name: &TableName) -> Result<Option<(String, Arc<dyn TableProvider>)>> {
        let Some(table) = self.table(name).await? else { return Ok(None) };
        let state = state(&table).map_err(|error| unreadable(name, &error))?;
        Ok(Some((state, self.provider_of(&table, name).await?)))
    }

    /// The table's files in the store of [`Lake::store`], beside its state and its rows in it. No files where they do not hold the table by themselves,
    /// as only other writers leave it: rows of them are struck out, columns stand in their paths or have other names in them.
    ///
    /// # Errors
    /// [`LAKE`](super::LAKE) and kin.
    pub async fn pin_files(&self, name: &TableName) -> Result<Option<PinnedFiles>> {
        let Some(table) = self.table(name).await? else { return Ok(None) };
        let failed = |error: DeltaTableError| unreadable(name, &error);
        let state = state(&table).map_err(failed)?;
        let place =
            Path::from_url_path(self.url(name)?.path()).map_err(|_| unreadable(name, &DeltaTableError::generic("it has no path")))?;
        let snapshot = table.snapshot().map_err(failed)?;
        let data = snapshot.log_data();
        let mut files = files_are_rows(snapshot).then(Vec::new);
        for file in data.iter() {
            if file.deletion_vector_descriptor().is_some() {
                files = None;
                break;
            }
            let path = place.parts().chain(file.object_store_path().parts().collect::<Vec<_>>()).collect::<Path>();
            let known = LakeFile {
                path: path.to_string(),
                bytes: u64::try_from(file.size()).unwrap_or_default(),
                rows: file.num_records().map(|rows| rows as u64),
            };
            if let Some(files) = &mut files {
                files.push(known);
            }
        }
        Ok(Some(PinnedFiles { state, rows: self.provider_of(&table, name).await?, files }))
    }

    /// Rows that two states may differ in: those of the former, then those of the latter. A row that is on both sides stands for nothing. None if one
    /// of the states cannot be read any more, or has other columns.
    ///
    /// # Errors
    /// [`LAKE`](super::LAKE) and kin.
    pub async fn difference(&self, name: &TableName, since: &str, now: &str) -> Result<Option<(Side, Side)>> {
        let (Some(before), Some(after)) = (self.in_state(name, since).await?, self.in_state(name, now).await?) else { return Ok(None) };
        // The same value of another type may be another result.
        if !same_columns(&before, &after) {
            return Ok(None);
        }
        if has_feed(&before) && has_feed(&after) && before.version() < after.version() {
            return Ok(Some(self.of_feed(&before, &after, name)?));
        }
        let failed = |error: DeltaTableError| unreadable(name, &error);
        let (former, latter) = (files(&before).map_err(failed)?, files(&after).map_err(failed)?);
        let only = |one: &BTreeMap<String, String>, other: &BTreeMap<String, String>| -> Vec<String> {
            one.iter().filter(|(identity, _)| !other.contains_key(*identity)).map(|(_, path)| path.clone()).collect()
        };
        let (removed, added) = (only(&former, &latter), only(&latter, &former));
        Ok(Some((self.of_files(&before, name, removed).await?, self.of_files(&after, name, added).await?)))
    }

    /// The table in a state; None if its version is gone, or is another state by now.
    async fn in_state(&self, name: &TableName, wanted: &str) -> Result<Option<DeltaTable>> {
        let Some(version) = wanted.split(':').next().and_then(|version| version.parse().ok()) else { return Ok(None) };
        let mut table = self.handle(name)?;
        // Old log files may be gone, and a restored table may not have come so far.
        if let Err(error) = table.load_version(version).await {
            tracing::debug!(table = %name, version, %error, "a former version cannot be read");
            return Ok(None);
        }
        let is_it = state(&table).map_err(|error| unreadable(name, &error))? == wanted;
        Ok(is_it.then_some(table))
    }

    fn of_feed(&self, before: &DeltaTable, after: &DeltaTable, name: &TableName) -> Result<(Side, Side)> {
        let what = format!("changes of lake table \"{name}\" could not be read");
        let failed = |error| codes::query_error(&what, error);
        let session = self.session();
        after.update_datafusion_session(&session.state()).map_err(|error| unreadable(name, &error))?;
        let state = after.snapshot().map_err(|error| unreadable(name, &error))?;
        let columns = state.snapshot().arrow_schema();
        let mut feed = after.clone().scan_cdf().with_starting_version(before.version().unwrap_or_default() + 1);
        if let Some(version) = after.version() {
            feed = feed.with_ending_version(version);
        }
        let feed: Arc<dyn TableProvider> = Arc::new(DeltaCdfTableProvider::try_new(feed).map_err(|error| unreadable(name, &error))?);
        let side = |kinds: [&str; 2]| {
            let is_it = ident(CHANGE_TYPE).in_list(kinds.into_iter().map(lit).collect(), false);
            let columns: Vec<Expr> = columns.fields().iter().map(|field| ident(field.name())).collect();
            let rows = session.read_table(Arc::clone(&feed)).and_then(|rows| rows.filter(is_it)).and_then(|rows| rows.select(columns));
            rows.map(|rows| Some(rows.into_view())).map_err(failed)
        };
        Ok((side(["delete", "update_preimage"])?, side(["insert", "update_postimage"])?))
    }

    async fn of_files(&self, table: &DeltaTable, name: &TableName, paths: Vec<String>) -> Result<Side> {
        if paths.is_empty() {
            return Ok(None);
        }
        let session = self.session();
        table.update_datafusion_session(&session.state()).map_err(|error| unreadable(name, &error))?;
        let provider = table.table_provider().with_session(Arc::new(session.state())).with_file_paths(paths).build().await;
        let provider = provider.map_err(|error| codes::query_error(&format!("lake table \"{name}\" could not be read"), error))?;
        Ok(Some(Arc::new(provider)))
    }
}

/// Whether the files have all columns by their names.
fn files_are_rows(state: &DeltaTableState) -> bool {
    let metadata = state.metadata();
    let mapping = metadata.configuration().get(TableProperty::ColumnMappingMode.as_ref());
    metadata.partition_columns().is_empty() && mapping.is_none_or(|mode| mode == "none")
}

fn has_feed(table: &DeltaTable) -> bool {
    let enabled = |state: &DeltaTableState| {
        state.metadata().configuration().get(TableProperty::EnableChangeDataFeed.as_ref()).is_some_and(|value| value == "true")
    };
    table.snapshot().is_ok_and(enabled)
}

fn same_columns(before: &DeltaTable, after: &DeltaTable) -> bool {
    match (before.snapshot(), after.snapshot()) {
        (Ok(before), Ok(after)) => before.snapshot().arrow_schema() == after.snapshot().arrow_schema(),
        _ => false,
    }
}

fn unreadable(name: &TableName, error: &DeltaTableError) -> pipeline_core::error::Error {
    delta_error(&format!("lake table \"{name}\" could not be read"), error)
}

/// The files of a version by what tells them apart, which is their path and the deletion vector that another writer may have laid over them.
fn files(table: &DeltaTable) -> Result<BTreeMap<String, String>, DeltaTableError> {
    let data = table.snapshot()?.log_data();
    let named = data.iter().map(|file| {
        let path = file.path().into_owned();
        match file.deletion_vector_descriptor() {
            Some(vector) => (format!("{path} {} {:?}", vector.path_or_inline_dv, vector.offset), path),
            None => (path.clone(), path),
        }
    });
    Ok(named.collect())
}

fn state(table: &DeltaTable) -> Result<String, DeltaTableError> {
    let mut hash = Sha256::new();
    for identity in files(table)?.keys() {
        hash.update(identity);
        hash.update([0]);
    }
    let digest = hex::encode(hash.finalize().get(..DIGEST_BYTES).unwrap_or_default());
    Ok(format!("{}:{digest}", table.version().unwrap_or_default()))
}
