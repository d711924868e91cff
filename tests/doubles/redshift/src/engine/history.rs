//! The rows of SYS_QUERY_HISTORY, SYS_LOAD_HISTORY and SYS_LOAD_ERROR_DETAIL. They are written outside of the
//! statements' transactions: a load that was rolled back is there as well.

use chrono::{DateTime, Utc};
use sqlx::postgres::{PgPool, PgPoolOptions};

use super::connection::{Failure, Outcome};
use crate::copy::command::CopyCommand;
use crate::sql::cursor::Cursor;
use crate::sql::name::cut;
use crate::sql::token::{Reading, tokenize};

/// Connections for the history and the catalog lists, a database.
const CONNECTIONS_MAX: u32 = 4;

/// A statement as it ended.
pub(crate) struct Ended<'a> {
    pub(crate) database: &'a str,
    pub(crate) query_id: i64,
    pub(crate) process_id: i32,
    pub(crate) text: &'a str,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) ended_at: DateTime<Utc>,
    pub(crate) cancelled: bool,
    pub(crate) outcome: Result<&'a Outcome, &'a Failure>,
}

/// A pool for the double's own queries on a database.
pub(crate) fn pool(options: sqlx::postgres::PgConnectOptions, database: &str) -> PgPool {
    PgPoolOptions::new().max_connections(CONNECTIONS_MAX).connect_lazy_with(options.database(database).options([("timezone", "UTC")]))
}

impl Ended<'_> {
    /// Writes the rows.
    pub(crate) async fn write(&self, pool: &PgPool) -> Result<(), sqlx::Error> {
        self.query(pool).await?;
        let tokens = tokenize(self.text, Reading::default()).unwrap_or_default();
        let mut cursor = Cursor::new(&tokens);
        if cursor.accept(&["copy"])
            && let Ok(command) = CopyCommand::parse(&mut cursor)
        {
            self.load(pool, &command).await?;
        }
        Ok(())
    }

    fn microseconds(&self) -> i64 {
        (self.ended_at - self.started_at).num_microseconds().unwrap_or(0)
    }

    async fn query(&self, pool: &PgPool) -> Result<(), sqlx::Error> {
        let verb =
            self.text.split_whitespace().find(|word| !word.starts_with("/*") && !word.starts_with("--")).unwrap_or_default().to_uppercase();
        let kind = match verb.as_str() {
            "SELECT" | "WITH" | "INSERT" | "UPDATE" | "DELETE" | "COPY" | "MERGE" | "VACUUM" | "ANALYZE" => verb.as_str(),
            "CREATE" | "DROP" | "ALTER" | "TRUNCATE" | "COMMENT" | "GRANT" | "REVOKE" => "DDL",
            _ => "UTILITY",
        };
        let status = match self.outcome {
            _ if self.cancelled => "canceled",
            Ok(_) => "success",
            Err(_) => "failed",
        };
        let error = self.outcome.err().map(|failure| cut(&failure.error.message, 512).to_owned());
        let (rows, bytes) = self.outcome.map_or((0, 0), |outcome| (outcome.rows, outcome.result.as_ref().map_or(0, |result| result.bytes)));
        let query = sqlx::query(
            "INSERT INTO _redshift.sys_query_history (user_id, query_id, query_label, transaction_id, session_id, database_name, query_type, status, result_cache_hit, start_time, end_time, elapsed_time, \
             queue_time, execution_time, error_message, returned_rows, returned_bytes, query_text, compute_type, compile_time, planning_time, lock_wait_time) \
             VALUES (100, $1, 'default', $1, $2, $3, $4, $5, false, $6::text::timestamp, $7::text::timestamp, $8, 0, $8, $9, $10, $11, $12, 'primary', 0, 0, 0)",
        );
        query
            .bind(self.query_id)
            .bind(self.process_id)
            .bind(self.database)
            .bind(kind)
            .bind(status)
            .bind(self.started_at.naive_utc().to_string())
            .bind(self.ended_at.naive_utc().to_string())
            .bind(self.microseconds())
            .bind(error)
            .bind(i64::try_from(rows).unwrap_or(i64::MAX))
            .bind(i64::try_from(bytes).unwrap_or(i64::MAX))
            .bind(cut(self.text, 4000))
            .execute(pool)
            .await
            .map(drop)
    }

    async fn load(&self, pool: &PgPool, command: &CopyCommand) -> Result<(), sqlx::Error> {
        let failure = self.outcome.err().and_then(|failure| failure.load.as_ref());
        if let Some(failure) = failure {
            let column = failure.column.clone().unwrap_or_default();
            sqlx::query(
                "INSERT INTO _redshift.sys_load_error_detail VALUES (100, $1, $1, $2, $3, (SELECT to_regclass($4)::oid::integer), $5::text::timestamp, $6, $7, $8, $9, $10, 0, $11, $12)",
            )
            .bind(self.query_id)
            .bind(self.process_id)
            .bind(self.database)
            .bind(command.table.sql())
            .bind(self.ended_at.naive_utc().to_string())
            .bind(cut(&failure.file, 256))
            .bind(i64::try_from(failure.line_number).unwrap_or(0))
            .bind(column.name)
            .bind(cut(&column.kind, 10))
            .bind(cut(&column.length, 10))
            .bind(failure.code)
            .bind(cut(&failure.context, 512))
            .execute(pool)
            .await?;
        }
        let loaded = self.outcome.ok().and_then(|outcome| outcome.loaded.clone()).unwrap_or_default();
        let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        sqlx::query(
            "INSERT INTO _redshift.sys_load_history VALUES (100, $1, $1, $2, $3, $4, $5, $6::text::timestamp, $7::text::timestamp, $8, $9, 'PARQUET', $10, $11, $12, $11, $12, $11, $13, -1)",
        )
        .bind(self.query_id)
        .bind(self.process_id)
        .bind(self.database)
        .bind(if self.outcome.is_ok() { "completed" } else { "aborted" })
        .bind(command.table.to_string())
        .bind(self.started_at.naive_utc().to_string())
        .bind(self.ended_at.naive_utc().to_string())
        .bind(self.microseconds())
        .bind(format!("s3://{}/{}", command.source.bucket, command.source.key))
        .bind(whole(loaded.rows))
        .bind(whole(loaded.bytes))
        .bind(i32::try_from(loaded.files).unwrap_or(i32::MAX))
        .bind(i32::from(failure.is_some()))
        .execute(pool)
        .await
        .map(drop)
    }
}
