//! The ledger's tables, and their version.

use std::path::Path;

use pipeline_core::error::{Error, Result};
use pipeline_core::ledger::LEDGER;
use sqlx::sqlite::SqlitePool;

use super::ledger_error;

/// Each step takes the tables from the version before; the file's `user_version` counts the steps taken.
const STEPS: &[&str] = &[
    "
CREATE TABLE leases (pipeline TEXT PRIMARY KEY, epoch INTEGER NOT NULL, holder TEXT NOT NULL, taken_at INTEGER NOT NULL);
CREATE TABLE entries (sequence INTEGER PRIMARY KEY AUTOINCREMENT, run TEXT NOT NULL, pipeline TEXT NOT NULL, at INTEGER NOT NULL, entry TEXT NOT NULL);
CREATE INDEX entries_by_run ON entries (run, sequence);
CREATE TABLE runs (sequence INTEGER PRIMARY KEY AUTOINCREMENT, run TEXT NOT NULL UNIQUE, pipeline TEXT NOT NULL, request TEXT NOT NULL,
    started_at INTEGER NOT NULL, last_at INTEGER NOT NULL, status TEXT);
CREATE INDEX runs_by_pipeline ON runs (pipeline, sequence);
CREATE TABLE checkpoints (pipeline TEXT NOT NULL, table_name TEXT NOT NULL, checkpoint TEXT NOT NULL, PRIMARY KEY (pipeline, table_name));
CREATE TABLE model_states (pipeline TEXT NOT NULL, table_name TEXT NOT NULL, state TEXT NOT NULL, PRIMARY KEY (pipeline, table_name));
CREATE TABLE windows (pipeline TEXT NOT NULL, window_from INTEGER NOT NULL, window_to INTEGER NOT NULL, PRIMARY KEY (pipeline, window_from, window_to));
",
    "
CREATE TABLE late_rows (sequence INTEGER PRIMARY KEY AUTOINCREMENT, pipeline TEXT NOT NULL, table_name TEXT NOT NULL, late TEXT NOT NULL);
CREATE INDEX late_rows_by_table ON late_rows (pipeline, table_name, sequence);
",
    "
CREATE TABLE model_bases (pipeline TEXT NOT NULL, table_name TEXT NOT NULL, basis TEXT NOT NULL, PRIMARY KEY (pipeline, table_name));
",
    "
CREATE TABLE measures (sequence INTEGER PRIMARY KEY AUTOINCREMENT, pipeline TEXT NOT NULL, table_name TEXT NOT NULL, run TEXT NOT NULL,
    measured TEXT NOT NULL, UNIQUE (pipeline, table_name, run));
CREATE INDEX measures_by_table ON measures (pipeline, table_name, sequence);
",
];

pub(super) async fn prepare(pool: &SqlitePool, file: &Path) -> Result<()> {
    let failed = |error: sqlx::Error| ledger_error(file, &error);
    // A reader never waits for a writer: a ledger that is up to date is opened even while another process writes.
    let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(pool).await.map_err(failed)?;
    if usize::try_from(version) == Ok(STEPS.len()) {
        return Ok(());
    }
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
    let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *transaction).await.map_err(failed)?;
    let version = usize::try_from(version).unwrap_or(usize::MAX);
    let Some(missing) = STEPS.get(version..) else {
        return Err(Error::new(&LEDGER, format!("ledger \"{}\" was written by a newer version of the program", file.display()))
            .hint("Use that version, or name another file as `ledger` in pipelines.toml."));
    };
    for step in missing {
        sqlx::raw_sql(*step).execute(&mut *transaction).await.map_err(failed)?;
    }
    if !missing.is_empty() {
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("PRAGMA user_version = {}", STEPS.len())))
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
    }
    transaction.commit().await.map_err(failed)
}
