//! One connection to PostgreSQL, and where it stands in its transaction.

use std::sync::Arc;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Row};

use crate::copy::failure::LoadFailure;
use crate::copy::load::Loaded;
use crate::copy::storage::Storage;
use crate::engine::result::ResultSet;
use crate::postgres::catalog::SESSION_SETTINGS;
use crate::postgres::errors::{serialization, translate};
use crate::sql::error::SqlError;
use crate::sql::token::Reading;

/// A connection that runs statements: one of a session, or of one call.
pub(crate) struct Connection {
    pub(super) postgres: PgConnection,
    pub(crate) process_id: i32,
    pub(super) reading: Reading,
    /// Inside BEGIN … COMMIT.
    pub(crate) in_transaction: bool,
    /// A statement of the open transaction failed: only its end is accepted.
    pub(super) failed: bool,
    /// A fault: the next commit rolls back and reports error 1023.
    pub(crate) conflict_at_commit: bool,
}

/// What statements need besides their connection.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) storage: Arc<Storage>,
    /// Roles attached to the cluster; when empty, every role is.
    pub(crate) roles: Arc<Vec<String>>,
    /// PostgreSQL's name of the isolation level transactions get.
    pub(crate) isolation: &'static str,
}

/// What a statement did.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Rows affected or returned.
    pub(crate) rows: u64,
    pub(crate) result: Option<ResultSet>,
    pub(crate) loaded: Option<Loaded>,
}

/// Why a statement failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: SqlError,
    /// A COPY's failure as the system tables keep it.
    pub(crate) load: Option<LoadFailure>,
}

impl From<SqlError> for Failure {
    fn from(error: SqlError) -> Self {
        Self { error, load: None }
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        translate(&error).into()
    }
}

impl Connection {
    /// Connects to a database.
    pub(crate) async fn open(options: &PgConnectOptions, database: &str) -> Result<Self, SqlError> {
        let options = options.clone().database(database).options(SESSION_SETTINGS);
        let mut postgres = options.connect().await.map_err(|error| match translate(&error) {
            known if known.code == "3D000" => SqlError::new("3D000", format!("database \"{database}\" does not exist")),
            other => other,
        })?;
        let row = sqlx::raw_sql("SELECT pg_backend_pid()").fetch_one(&mut postgres).await.map_err(|error| translate(&error))?;
        let process_id = row.try_get(0).map_err(|error| translate(&error))?;
        Ok(Self { postgres, process_id, reading: Reading::default(), in_transaction: false, failed: false, conflict_at_commit: false })
    }

    /// Runs SQL of the double's own. Returns the rows affected by the last statement.
    pub(super) async fn run(&mut self, sql: &str) -> Result<u64, SqlError> {
        let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut self.postgres).await.map_err(|error| translate(&error))?;
        Ok(done.rows_affected())
    }

    /// Opens a transaction. Its snapshot is taken by its first query, so a LOCK may come before.
    pub(crate) async fn begin(&mut self, isolation: &str) -> Result<(), SqlError> {
        self.run(&format!("BEGIN ISOLATION LEVEL {isolation}")).await?;
        self.in_transaction = true;
        self.failed = false;
        Ok(())
    }

    /// Ends the transaction; one that failed is rolled back without complaint, as PostgreSQL does.
    pub(crate) async fn commit(&mut self) -> Result<(), SqlError> {
        if std::mem::take(&mut self.conflict_at_commit) {
            self.rollback().await?;
            return Err(serialization("table"));
        }
        let sql = if self.failed { "ROLLBACK" } else { "COMMIT" };
        self.in_transaction = false;
        self.failed = false;
        self.run(sql).await.map(drop)
    }

    /// Drops the transaction.
    pub(crate) async fn rollback(&mut self) -> Result<(), SqlError> {
        self.in_transaction = false;
        self.failed = false;
        self.run("ROLLBACK").await.map(drop)
    }
}
