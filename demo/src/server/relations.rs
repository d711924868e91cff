//! PostgreSQL's tables. Rows go in as binary COPY; changes go through a temporary table and `INSERT … ON CONFLICT`.

use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, Row};

use crate::copy_binary::{HEADER, TRAILER};
use crate::error::{Error, Result};
use crate::produce::Chunk;
use crate::schema::{self, RELATIONS, Table};

/// A connection to the database.
#[derive(Debug)]
pub(super) struct Relations {
    connection: PgConnection,
}

fn failed(action: &'static str, name: &str) -> impl FnOnce(sqlx::Error) -> Error {
    let name = name.to_owned();
    move |source| Error::Postgres { action, name, source: Box::new(source) }
}

impl Relations {
    pub(super) async fn connect(url: &str) -> Result<Self> {
        let options = PgConnectOptions::from_str(url).map_err(|_| Error::Address { server: "PostgreSQL" })?;
        let name = options.get_database().unwrap_or("postgres").to_owned();
        let connection = options
            .application_name("pipeline-demo")
            .disable_statement_logging()
            .connect()
            .await
            .map_err(failed("no connection to database", &name))?;
        Ok(Self { connection })
    }

    /// Runs statements that are put together from this crate's own constants.
    async fn run(&mut self, sql: String, action: &'static str, name: &str) -> Result<()> {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.connection).await.map_err(failed(action, name))?;
        Ok(())
    }

    async fn answer(&mut self, sql: String, table: Table) -> Result<bool> {
        let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut self.connection).await;
        let row = row.map_err(failed("no look at table", table.source_name()))?;
        row.try_get(0).map_err(failed("no look at table", table.source_name()))
    }

    async fn exists(&mut self, table: Table) -> Result<bool> {
        self.answer(format!("SELECT to_regclass('{}') IS NOT NULL", table.source_name()), table).await
    }

    pub(super) async fn require_empty(&mut self) -> Result<()> {
        for table in RELATIONS {
            let filled =
                self.exists(table).await? && self.answer(format!("SELECT EXISTS (SELECT 1 FROM {})", table.source_name()), table).await?;
            if filled {
                return Err(Error::NotEmpty { kind: "table", name: table.source_name().to_owned() });
            }
        }
        Ok(())
    }

    pub(super) async fn require_tables(&mut self) -> Result<()> {
        for table in RELATIONS {
            if !self.exists(table).await? {
                return Err(Error::NothingToChange { kind: "table", name: table.source_name().to_owned() });
            }
        }
        Ok(())
    }

    /// Makes schemas, types and tables, in place of any of these names that are there.
    pub(super) async fn create(&mut self) -> Result<()> {
        let sql = format!("BEGIN;\n{}{}COMMIT;\n", schema::drop_tables(), schema::create_tables());
        self.run(sql, "tables could not be made in schema", "payments").await
    }

    pub(super) async fn create_indexes(&mut self) -> Result<()> {
        let tables = RELATIONS.map(Table::source_name).join(", ");
        let sql = format!("{}ANALYZE {tables};\n", schema::create_indexes());
        self.run(sql, "indexes could not be made on table", Table::Transactions.source_name()).await
    }

    /// Appends the rows, or replaces those with the same key, in one transaction.
    pub(super) async fn write(&mut self, chunk: Chunk) -> Result<()> {
        let table = chunk.table;
        let name = table.source_name();
        if !chunk.upsert {
            return self.copy(name, table, &chunk.bytes).await;
        }
        let begin = format!("BEGIN; CREATE TEMPORARY TABLE changed (LIKE {name}) ON COMMIT DROP");
        self.run(begin, "changes could not be gathered for table", name).await?;
        self.copy("changed", table, &chunk.bytes).await?;
        let columns = table.other_columns();
        let assignments: Vec<String> = columns.iter().map(|column| format!("{column} = excluded.{column}")).collect();
        let key = table.key();
        let merge =
            format!("INSERT INTO {name} SELECT * FROM changed ON CONFLICT ({key}) DO UPDATE SET {}; COMMIT", assignments.join(", "));
        self.run(merge, "changes could not be applied to table", name).await
    }

    async fn copy(&mut self, into: &str, table: Table, tuples: &[u8]) -> Result<()> {
        let name = table.source_name();
        let action = "rows could not be written to table";
        let statement = format!("COPY {into} FROM STDIN (FORMAT binary)");
        let mut copy = self.connection.copy_in_raw(&statement).await.map_err(failed(action, name))?;
        for part in [HEADER.as_slice(), tuples, TRAILER.as_slice()] {
            copy.send(part).await.map_err(failed(action, name))?;
        }
        copy.finish().await.map_err(failed(action, name))?;
        Ok(())
    }
}
