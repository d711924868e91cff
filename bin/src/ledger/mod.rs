//! The ledger in SQLite: one file beside the lake.
//!
//! The lease is a lock on a file beside the ledger, which the system gives up when its holder dies, however it dies; the
//! epoch in the database fences off a holder that only seemed dead. Entries are kept as JSON in the order they came;
//! checkpoints, models' states, measures and windows are indexed copies written in the same transaction.

mod schema;

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use pipeline_core::clock::Clock;
use pipeline_core::error::{Error, Result};
use pipeline_core::extract::Checkpoint;
use pipeline_core::late::LateRows;
use pipeline_core::ledger::{Basis, Entry, LEASE, LEDGER, Lease, Ledger, Measured, Recorded, RunOverview};
use pipeline_core::load::FENCED;
use pipeline_core::name::TableName;
use pipeline_core::window::{Timestamp, Window};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Row, SqliteConnection};

/// How long another process may hold the file.
const BUSY_MAX: std::time::Duration = std::time::Duration::from_secs(10);

/// Between two attempts to open it.
const BUSY_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);

/// `SQLITE_BUSY`, in any of its extended forms (`sqlite3.h`: the low byte is the primary code).
fn is_busy(error: &sqlx::Error) -> bool {
    const BUSY: u32 = 5;
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
    code.is_some_and(|code| code & 0xff == BUSY)
}

/// The ledger in a SQLite file.
#[derive(Debug)]
pub(crate) struct SqliteLedger {
    pool: SqlitePool,
    file: PathBuf,
    clock: Arc<dyn Clock>,
    // The open lock files of the leases held by this process.
    locks: Mutex<HashMap<String, File>>,
}

impl SqliteLedger {
    /// The one text that a query gives of a pipeline's table.
    async fn of_table(&self, query: &'static str, pipeline: &str, table: &TableName) -> Result<Option<String>> {
        let query = sqlx::query_scalar(query).bind(pipeline).bind(table.to_string());
        query.fetch_optional(&self.pool).await.map_err(|error| self.error(&error))
    }

    /// Opens the file, making it and its folder if need be.
    ///
    /// # Errors
    /// [`LEDGER`] if it cannot be opened or was written by a newer version.
    pub(crate) async fn open(file: &Path, clock: Arc<dyn Clock>) -> Result<Self> {
        if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|error| io_error(file, &error))?;
        }
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_MAX);
        // One connection: SQLite has one writer anyhow, and entries then keep the order in which they were given.
        let began = std::time::Instant::now();
        let pool = loop {
            match SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await {
                // Two processes that make the same file at once: SQLite does not wait when it changes the journal's mode.
                Err(error) if is_busy(&error) && began.elapsed() < BUSY_MAX => tokio::time::sleep(BUSY_PAUSE).await,
                connected => break connected.map_err(|error| ledger_error(file, &error))?,
            }
        };
        let ledger = Self { pool, file: file.to_path_buf(), clock, locks: Mutex::default() };
        schema::prepare(&ledger.pool, file).await?;
        Ok(ledger)
    }

    fn error(&self, error: &sqlx::Error) -> Error {
        ledger_error(&self.file, error)
    }

    fn lock_file(&self, pipeline: &str) -> PathBuf {
        let mut name = self.file.file_name().unwrap_or_default().to_os_string();
        name.push(format!(".{pipeline}.lock"));
        self.file.with_file_name(name)
    }
}

pub(super) fn ledger_error(file: &Path, error: &sqlx::Error) -> Error {
    let cause = match error {
        sqlx::Error::Database(database) => database.message().to_owned(),
        sqlx::Error::Io(io) => io.kind().to_string(),
        other => format!("{other:?}").chars().take_while(|c| c.is_alphanumeric()).collect(),
    };
    Error::new(&LEDGER, format!("ledger \"{}\" could not be used", file.display())).caused_by(cause)
}

fn io_error(file: &Path, error: &std::io::Error) -> Error {
    Error::new(&LEDGER, format!("ledger \"{}\" could not be used", file.display())).caused_by(error.kind())
}

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("entries are always JSON")
}

#[async_trait]
impl Ledger for SqliteLedger {
    async fn acquire(&self, pipeline: &str) -> Result<Lease> {
        let path = self.lock_file(pipeline);
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(|error| io_error(&path, &error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let held =
                    sqlx::query("SELECT holder, taken_at FROM leases WHERE pipeline = ?").bind(pipeline).fetch_optional(&self.pool).await;
                let mut error = Error::new(&LEASE, format!("pipeline \"{pipeline}\" is being run by another process"));
                if let Ok(Some(row)) = held {
                    let (holder, taken_at): (String, i64) = (row.get(0), row.get(1));
                    error = error.caused_by(format!("{holder} holds the lease since {}", Timestamp::from_microseconds(taken_at)));
                }
                return Err(error);
            }
            Err(TryLockError::Error(error)) => return Err(io_error(&path, &error)),
        }
        let holder = format!("process {}", std::process::id());
        let row = sqlx::query(
            "INSERT INTO leases (pipeline, epoch, holder, taken_at) VALUES (?, 1, ?, ?) \
             ON CONFLICT (pipeline) DO UPDATE SET epoch = epoch + 1, holder = excluded.holder, taken_at = excluded.taken_at RETURNING epoch",
        )
        .bind(pipeline)
        .bind(holder)
        .bind(self.clock.now().microseconds())
        .fetch_one(&self.pool)
        .await
        .map_err(|error| self.error(&error))?;
        self.locks.lock().expect("no holder of this lock panics").insert(pipeline.to_owned(), lock);
        Ok(Lease { pipeline: pipeline.to_owned(), epoch: row.get(0) })
    }

    async fn release(&self, lease: Lease) -> Result<()> {
        // Closing the file gives the lock up. The epoch stays: it only ever grows.
        self.locks.lock().expect("no holder of this lock panics").remove(&lease.pipeline);
        Ok(())
    }

    async fn append(&self, lease: &Lease, run: &str, entries: &[Entry]) -> Result<()> {
        let mut transaction = self.pool.begin().await.map_err(|error| self.error(&error))?;
        let epoch: i64 = sqlx::query_scalar("SELECT epoch FROM leases WHERE pipeline = ?")
            .bind(&lease.pipeline)
            .fetch_one(&mut *transaction)
            .await
            .map_err(|error| self.error(&error))?;
        if epoch != lease.epoch {
            return Err(Error::new(&FENCED, format!("this run of pipeline \"{}\" was overtaken by another", lease.pipeline)));
        }
        let at = self.clock.now();
        for entry in entries {
            self.write(&mut transaction, &lease.pipeline, run, at, entry).await?;
        }
        transaction.commit().await.map_err(|error| self.error(&error))
    }

    async fn entries(&self, run: &str) -> Result<Vec<Recorded>> {
        let rows = sqlx::query("SELECT at, entry FROM entries WHERE run = ? ORDER BY sequence").bind(run).fetch_all(&self.pool).await;
        let rows = rows.map_err(|error| self.error(&error))?;
        rows.iter()
            .map(|row| {
                let (at, text): (i64, String) = (row.get(0), row.get(1));
                Ok(Recorded { at: Timestamp::from_microseconds(at), entry: self.read(&text)? })
            })
            .collect()
    }

    async fn runs(&self, pipeline: Option<&str>, limit: usize) -> Result<Vec<RunOverview>> {
        let rows = sqlx::query(
            "SELECT run, pipeline, request, started_at, last_at, status FROM runs WHERE ? IS NULL OR pipeline = ? ORDER BY sequence DESC LIMIT ?",
        )
        .bind(pipeline)
        .bind(pipeline)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await
        .map_err(|error| self.error(&error))?;
        rows.iter()
            .map(|row| {
                let status: Option<String> = row.get(5);
                Ok(RunOverview {
                    run: row.get(0),
                    pipeline: row.get(1),
                    request: self.read(&row.get::<String, _>(2))?,
                    started_at: Timestamp::from_microseconds(row.get(3)),
                    last_at: Timestamp::from_microseconds(row.get(4)),
                    status: status.map(|text| self.read(&text)).transpose()?,
                })
            })
            .collect()
    }

    async fn checkpoint(&self, pipeline: &str, table: &TableName) -> Result<Option<Checkpoint>> {
        let text = self.of_table("SELECT checkpoint FROM checkpoints WHERE pipeline = ? AND table_name = ?", pipeline, table).await?;
        text.map(|text| self.read(&text)).transpose()
    }

    async fn model_state(&self, pipeline: &str, table: &TableName) -> Result<Option<String>> {
        self.of_table("SELECT state FROM model_states WHERE pipeline = ? AND table_name = ?", pipeline, table).await
    }

    async fn model_basis(&self, pipeline: &str, table: &TableName) -> Result<Option<Basis>> {
        let text = self.of_table("SELECT basis FROM model_bases WHERE pipeline = ? AND table_name = ?", pipeline, table).await?;
        text.map(|text| self.read(&text)).transpose()
    }

    async fn measured(&self, pipeline: &str, table: &TableName, runs_max: usize) -> Result<Vec<Measured>> {
        let query =
            sqlx::query_scalar("SELECT measured FROM measures WHERE pipeline = ? AND table_name = ? ORDER BY sequence DESC LIMIT ?");
        let runs_max = i64::try_from(runs_max).unwrap_or(i64::MAX);
        let texts = query.bind(pipeline).bind(table.to_string()).bind(runs_max).fetch_all(&self.pool).await;
        let texts: Vec<String> = texts.map_err(|error| self.error(&error))?;
        let mut measures: Vec<Measured> = texts.iter().map(|text| self.read(text)).collect::<Result<_>>()?;
        if let Some(first) = measures.iter().position(|measured| measured.begins_anew) {
            measures.truncate(first + 1);
        }
        Ok(measures)
    }

    async fn late_rows(&self, pipeline: &str, table: &TableName, runs_max: usize) -> Result<Vec<LateRows>> {
        let query = sqlx::query_scalar("SELECT late FROM late_rows WHERE pipeline = ? AND table_name = ? ORDER BY sequence DESC LIMIT ?");
        let runs_max = i64::try_from(runs_max).unwrap_or(i64::MAX);
        let texts = query.bind(pipeline).bind(table.to_string()).bind(runs_max).fetch_all(&self.pool).await;
        let texts: Vec<String> = texts.map_err(|error| self.error(&error))?;
        texts.iter().map(|text| self.read(text)).collect()
    }

    async fn windows_done(&self, pipeline: &str) -> Result<Vec<Window>> {
        let rows = sqlx::query("SELECT window_from, window_to FROM windows WHERE pipeline = ? ORDER BY window_from")
            .bind(pipeline)
            .fetch_all(&self.pool)
            .await;
        let rows = rows.map_err(|error| self.error(&error))?;
        Ok(rows
            .iter()
            .map(|row| Window { from: Timestamp::from_microseconds(row.get(0)), to: Timestamp::from_microseconds(row.get(1)) })
            .collect())
    }
}

impl SqliteLedger {
    fn read<T: serde::de::DeserializeOwned>(&self, text: &str) -> Result<T> {
        serde_json::from_str(text).map_err(|_| {
            Error::new(&LEDGER, format!("ledger \"{}\" holds an entry that this version cannot read", self.file.display()))
                .hint("Use the version of the program that wrote it.")
        })
    }

    async fn write(&self, connection: &mut SqliteConnection, pipeline: &str, run: &str, at: Timestamp, entry: &Entry) -> Result<()> {
        let at = at.microseconds();
        let query = sqlx::query("INSERT INTO entries (run, pipeline, at, entry) VALUES (?, ?, ?, ?)");
        let inserted = query.bind(run).bind(pipeline).bind(at).bind(json(entry)).execute(&mut *connection).await;
        inserted.map_err(|error| self.error(&error))?;
        let touched = sqlx::query("UPDATE runs SET last_at = ? WHERE run = ?").bind(at).bind(run).execute(&mut *connection).await;
        touched.map_err(|error| self.error(&error))?;
        let index = match entry {
            Entry::RunStarted { request } => sqlx::query(
                "INSERT INTO runs (run, pipeline, request, started_at, last_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT (run) DO UPDATE SET status = NULL",
            )
            .bind(run)
            .bind(pipeline)
            .bind(json(request))
            .bind(at)
            .bind(at),
            Entry::RunFinished { status, .. } => sqlx::query("UPDATE runs SET status = ? WHERE run = ?").bind(json(status)).bind(run),
            Entry::CheckpointAdvanced { table, checkpoint } => sqlx::query(
                "INSERT INTO checkpoints (pipeline, table_name, checkpoint) VALUES (?, ?, ?) \
                 ON CONFLICT (pipeline, table_name) DO UPDATE SET checkpoint = excluded.checkpoint",
            )
            .bind(pipeline)
            .bind(table.to_string())
            .bind(json(checkpoint)),
            Entry::ModelStored { table, basis } => sqlx::query(
                "INSERT INTO model_bases (pipeline, table_name, basis) VALUES (?, ?, ?) \
                 ON CONFLICT (pipeline, table_name) DO UPDATE SET basis = excluded.basis",
            )
            .bind(pipeline)
            .bind(table.to_string())
            .bind(json(basis)),
            Entry::ModelDone { table, state } => sqlx::query(
                "INSERT INTO model_states (pipeline, table_name, state) VALUES (?, ?, ?) \
                 ON CONFLICT (pipeline, table_name) DO UPDATE SET state = excluded.state",
            )
            .bind(pipeline)
            .bind(table.to_string())
            .bind(state.clone()),
            Entry::ModelMeasured { table, measured } => sqlx::query(
                "INSERT INTO measures (pipeline, table_name, run, measured) VALUES (?, ?, ?, ?) \
                 ON CONFLICT (pipeline, table_name, run) DO UPDATE SET measured = excluded.measured",
            )
            .bind(pipeline)
            .bind(table.to_string())
            .bind(run)
            .bind(json(measured)),
            Entry::WindowDone { window } => sqlx::query("INSERT OR IGNORE INTO windows (pipeline, window_from, window_to) VALUES (?, ?, ?)")
                .bind(pipeline)
                .bind(window.from.microseconds())
                .bind(window.to.microseconds()),
            Entry::RowsLate { table, late } => sqlx::query("INSERT INTO late_rows (pipeline, table_name, late) VALUES (?, ?, ?)")
                .bind(pipeline)
                .bind(table.to_string())
                .bind(json(late)),
            Entry::CutTaken { .. }
            | Entry::ReadingBegun { .. }
            | Entry::SliceLanded { .. }
            | Entry::Landed { .. }
            | Entry::LoadPlanned { .. }
            | Entry::Loaded { .. }
            | Entry::RejectedSettled { .. }
            | Entry::SchemaChanged { .. }
            | Entry::StepFinished { .. } => return Ok(()),
        };
        index.execute(&mut *connection).await.map_err(|error| self.error(&error))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
