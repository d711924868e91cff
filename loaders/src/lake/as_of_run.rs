//! Former versions of a table. No version's files are removed, so a table can be read as a run left it for as long as its log
//! goes back (`delta.logRetentionDuration`, 30 days unless the table says otherwise).

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use deltalake::{DeltaTable, DeltaTableError};
use pipeline_core::error::Result;
use pipeline_core::name::TableName;

use super::codes::delta_error;
use super::{Lake, RUN_KEY};

impl Lake {
    /// The table as it stood when a run had ended: at the newest version that this run or an earlier one committed. A run that
    /// had nothing to change committed nothing, and later ones do not count. Runs' ids are in the order of time.
    ///
    /// None if the table was made by a later run, or if its log does not go back so far.
    ///
    /// # Errors
    /// [`LAKE`](super::LAKE) and kin.
    pub async fn provider_as_of_run(&self, name: &TableName, run: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let failed = |error: DeltaTableError| delta_error(&format!("history of lake table \"{name}\" could not be read"), &error);
        let Some(mut table) = self.table(name).await? else { return Ok(None) };
        let Some(version) = version_of(&table, run).await.map_err(failed)? else { return Ok(None) };
        table.load_version(version).await.map_err(failed)?;
        Ok(Some(self.provider_of(&table, name).await?))
    }
}

/// Looks back through the log. Commits that carry no run, such as those that sum up small files, change no rows.
async fn version_of(table: &DeltaTable, run: &str) -> Result<Option<u64>, DeltaTableError> {
    let log = table.log_store();
    let mut version = table.version();
    while let Some(number) = version {
        let Some(bytes) = log.read_commit_entry(number).await? else { return Ok(None) };
        if run_of(&bytes).is_some_and(|committer| committer.as_str() <= run) {
            return Ok(Some(number));
        }
        version = number.checked_sub(1);
    }
    Ok(None)
}

/// The run that a commit carries.
fn run_of(commit: &[u8]) -> Option<String> {
    let actions = serde_json::Deserializer::from_slice(commit).into_iter::<serde_json::Value>();
    let run = actions.filter_map(Result::ok).find_map(|action| Some(action.get("commitInfo")?.get(RUN_KEY)?.as_str()?.to_owned()));
    run.filter(|run| !run.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_says_which_run_made_it() {
        let commit = "{\"add\":{\"path\":\"a\"}}\n{\"commitInfo\":{\"operation\":\"WRITE\",\"pipeline.run\":\"0193\"}}\n";
        assert_eq!(run_of(commit.as_bytes()).as_deref(), Some("0193"));
        assert_eq!(run_of(b"{\"commitInfo\":{\"operation\":\"OPTIMIZE\"}}"), None);
        assert_eq!(run_of(b"no JSON"), None);
    }
}
