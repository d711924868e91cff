//! Change capture from the server's log: what arrives equals the table, whatever happens in it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use futures::TryStreamExt;
use pipeline_core::contract::{Contract, DELETED_COLUMN};
use pipeline_core::error::Error;
use pipeline_core::extract::{Checkpoint, Cursor, ExtractPlan, Extractor};
use pipeline_core::quarantine::Quarantine;
use pipeline_extractors::postgres::{CAPTURE, CaptureOptions, GRANT, PostgresOptions, PostgresSource, SLOT, TableOptions};
use sqlx::PgConnection;

use super::conformance::{everything, tried};
use super::contracts::{declared, options};
use super::server::{Server, execute, text_of};

const PUBLICATION: &str = "CREATE PUBLICATION pipeline FOR ALL TABLES WITH (publish_via_partition_root = true)";

fn contract(table: &str) -> Contract {
    declared(table, &[("id", "bigint not null"), ("amount", "decimal(12,2)"), ("note", "text(65535)")], &["id"], None)
}

fn capturing(server: &Server) -> PostgresOptions {
    PostgresOptions { capture: Some(CaptureOptions::default()), ..options(server, "capture") }
}

async fn logical() -> Server {
    let server = Server::start();
    execute(&mut server.connection().await, "ALTER SYSTEM SET wal_level = 'logical'").await;
    assert!(server.control("stop") && server.control("start"));
    server
}

/// A copy of a table that is kept by its changes: id to the rest.
#[derive(Default)]
struct Copied {
    rows: BTreeMap<i64, (String, String)>,
    checkpoint: Option<Checkpoint>,
}

impl Copied {
    async fn plan(&self, table: &dyn Extractor) -> Result<ExtractPlan, Error> {
        table.prepare().await?;
        table.plan(&everything(), self.checkpoint.as_ref()).await
    }

    /// Reads what a plan says and applies it. Gives how many rows came.
    async fn apply(&mut self, table: &dyn Extractor, plan: &ExtractPlan) -> usize {
        let quarantine = Quarantine::new();
        let mut batches: Vec<RecordBatch> = Vec::new();
        for slice in &plan.slices {
            batches.extend(table.read(slice, &quarantine).await.unwrap().try_collect::<Vec<_>>().await.unwrap());
        }
        assert!(quarantine.drain().is_empty());
        if !plan.is_changes {
            self.rows.clear();
        }
        let (mut count, mut seen) = (0, std::collections::BTreeSet::new());
        for batch in batches {
            let schema = if plan.is_changes { table.contract().changes_schema() } else { table.contract().schema() };
            assert_eq!(batch.schema(), schema);
            let deleted = batch.column_by_name(DELETED_COLUMN).map(|column| column.as_boolean().clone());
            let ids = batch.column(0).as_primitive::<Int64Type>();
            let texts = |place: usize| -> Vec<String> {
                let column = arrow::compute::cast(batch.column(place), &arrow::datatypes::DataType::Utf8).unwrap();
                column.as_string::<i32>().iter().map(|text| text.unwrap_or("NULL").to_owned()).collect()
            };
            let (amounts, notes) = (texts(1), texts(2));
            for row in 0..batch.num_rows() {
                count += 1;
                assert!(seen.insert(ids.value(row)), "a key comes once");
                if deleted.as_ref().is_some_and(|deleted| deleted.value(row)) {
                    self.rows.remove(&ids.value(row));
                } else {
                    self.rows.insert(ids.value(row), (amounts[row].clone(), notes[row].clone()));
                }
            }
        }
        self.checkpoint.clone_from(&plan.checkpoint);
        count
    }

    /// One whole reading; gives its plan's summary and how many rows came.
    async fn read(&mut self, table: &dyn Extractor) -> (String, usize) {
        let plan = self.plan(table).await.unwrap();
        let count = self.apply(table, &plan).await;
        table.finish().await.unwrap();
        table.committed(self.checkpoint.as_ref().unwrap()).await.unwrap();
        (plan.summary, count)
    }

    fn sum(&self) -> f64 {
        self.rows.values().map(|(amount, _)| amount.parse::<f64>().unwrap()).sum()
    }

    async fn assert_equals(&self, connection: &mut PgConnection, relation: &str) {
        let row = "id || '|' || coalesce(amount::text, 'NULL') || '|' || coalesce(note, 'NULL')";
        let expected = text_of(connection, &format!("SELECT coalesce(string_agg({row}, ',' ORDER BY id), '') FROM {relation}")).await;
        let found: Vec<String> = self.rows.iter().map(|(id, (amount, note))| format!("{id}|{amount}|{note}")).collect();
        assert!(found.join(",") == expected, "the copy of {relation} differs");
    }
}

/// Executes statements one by one: several in one message would be one transaction.
async fn each(connection: &mut PgConnection, statements: &[&str]) {
    for statement in statements {
        execute(connection, statement).await;
    }
}

fn opened(source: &PostgresSource, table: &str) -> Box<dyn Extractor> {
    source.table(contract(table), &TableOptions::default(), None)
}

#[tokio::test]
async fn every_kind_of_change_arrives_and_nothing_comes_twice() {
    let server = logical().await;
    let mut connection = server.connection().await;
    execute(
        &mut connection,
        &format!(
            "CREATE TABLE t (id bigint PRIMARY KEY, amount numeric(12,2), note text, other int);
             ALTER TABLE t ALTER note SET STORAGE EXTERNAL;
             INSERT INTO t SELECT i, i, repeat('long' || i, 2000) FROM generate_series(1, 20) AS i; {PUBLICATION}"
        ),
    )
    .await;
    let source = PostgresSource::connect(&capturing(&server)).await.unwrap();
    let table = opened(&source, "t");
    let mut copy = Copied::default();
    assert_eq!(copy.read(&*table).await, ("the whole table".to_owned(), 20));
    copy.assert_equals(&mut connection, "t").await;
    let (summary, count) = copy.read(&*table).await;
    assert!(summary.starts_with("no rows changed since ") && count == 0, "{summary}");

    // A value that is stored apart is not in the log when another changes; a key that changes is two changes; what is
    // rolled back is none; a row that comes and goes is gone; a row that goes and comes is there.
    each(
        &mut connection,
        &[
            "INSERT INTO t VALUES (21, 0.01, NULL)",
            "UPDATE t SET amount = 99.99 WHERE id = 1",
            "UPDATE t SET id = 100 WHERE id = 2",
            "DELETE FROM t WHERE id IN (3, 4)",
            "BEGIN; DELETE FROM t; INSERT INTO t VALUES (500); ROLLBACK",
            "BEGIN; INSERT INTO t VALUES (600); SAVEPOINT s; INSERT INTO t VALUES (601); ROLLBACK TO s; COMMIT",
            "INSERT INTO t VALUES (22, 1, 'x')",
            "DELETE FROM t WHERE id = 22",
            "DELETE FROM t WHERE id = 5",
            "INSERT INTO t VALUES (5, 5.5, 'again')",
            "UPDATE t SET id = -id WHERE id IN (6, 7)",
            "UPDATE t SET id = 6 WHERE id = -7",
            "UPDATE t SET note = 'short', amount = NULL WHERE id = 8",
        ],
    )
    .await;
    let (summary, count) = copy.read(&*table).await;
    // 1, 2, 3, 4, 5, 6, -6, 7, -7, 8, 21, 22, 100, 600
    assert!(summary.starts_with("14 rows changed since ") && count == 14, "{summary}");
    copy.assert_equals(&mut connection, "t").await;
    assert_eq!(copy.read(&*table).await.1, 0);

    // The full row as identity says the same.
    execute(&mut connection, "ALTER TABLE t REPLICA IDENTITY FULL; UPDATE t SET id = 1000 WHERE id = 10; DELETE FROM t WHERE id = 11; UPDATE t SET amount = 3 WHERE id = 12").await;
    assert_eq!(copy.read(&*table).await.1, 4);
    copy.assert_equals(&mut connection, "t").await;

    execute(&mut connection, "UPDATE t SET amount = 4 WHERE id = 12; TRUNCATE t; INSERT INTO t VALUES (1, 1, 'new')").await;
    assert_eq!(copy.read(&*table).await, ("the whole table, because it was truncated".to_owned(), 1));
    copy.assert_equals(&mut connection, "t").await;
    assert_eq!(copy.read(&*table).await.1, 0);

    // Changes before, between and after changes of the table, all in one stretch of the log.
    each(
        &mut connection,
        &[
            "INSERT INTO t VALUES (2, 2, 'before')",
            "ALTER TABLE t ADD COLUMN unknown text",
            "INSERT INTO t (id, amount, note, unknown) VALUES (3, 3, 'between', 'u')",
            "UPDATE t SET amount = 1.5 WHERE id = 1",
            "ALTER TABLE t DROP COLUMN other, ALTER amount TYPE numeric(14,2)",
            "DELETE FROM t WHERE id = 2",
            "INSERT INTO t VALUES (4, 4, 'after')",
        ],
    )
    .await;
    let (summary, count) = copy.read(&*table).await;
    assert_eq!(summary, "the whole table, because its columns, its key, its contract or its publication changed");
    assert_eq!(count, 3);
    copy.assert_equals(&mut connection, "t").await;
    assert_eq!(copy.read(&*table).await.1, 0);
    execute(&mut connection, "DELETE FROM t WHERE id > 1").await;
    assert_eq!(copy.read(&*table).await.1, 2);

    // The server logs no change of the rows that this fills.
    execute(&mut connection, "ALTER TABLE t DROP COLUMN amount; ALTER TABLE t ADD COLUMN amount numeric(12,1) DEFAULT 7; ALTER TABLE t ALTER amount TYPE numeric(12,2)").await;
    execute(&mut connection, "ALTER TABLE t ALTER note TYPE varchar").await;
    let (summary, count) = copy.read(&*table).await;
    assert_eq!(summary, "the whole table, because its columns, its key, its contract or its publication changed");
    assert_eq!(count, 1);
    copy.assert_equals(&mut connection, "t").await;
    execute(&mut connection, "ALTER TABLE t RENAME note TO remark").await;
    let error = copy.plan(&*table).await.unwrap_err();
    assert!(error.message().contains("column \"note\" does not exist"), "{}", error.message());
}

#[tokio::test]
async fn what_was_not_committed_as_read_is_read_again() {
    let server = logical().await;
    let mut connection = server.connection().await;
    execute(&mut connection, &format!("CREATE TABLE t (id bigint PRIMARY KEY, amount numeric(12,2), note text); {PUBLICATION}")).await;
    let source = PostgresSource::connect(&capturing(&server)).await.unwrap();
    let table = opened(&source, "t");
    let mut copy = Copied::default();
    assert_eq!(copy.read(&*table).await.1, 0);
    execute(&mut connection, "INSERT INTO t VALUES (1, 1, 'a'), (2, 2, 'b')").await;
    // Killed before the load, and after the load but before the slot was told.
    let plan = copy.plan(&*table).await.unwrap();
    let again = copy.plan(&*table).await.unwrap();
    assert_eq!((plan.slices.len(), plan.checkpoint.is_some()), (1, true));
    assert_eq!(copy.apply(&*table, &again).await, 2);
    table.finish().await.unwrap();
    execute(&mut connection, "DELETE FROM t WHERE id = 1").await;
    assert_eq!(copy.read(&*table).await.1, 1, "the slot stands further back than the checkpoint");
    copy.assert_equals(&mut connection, "t").await;
    // A transaction that was open when another committed is not lost, and holds nobody back for ever.
    let mut late = server.connection().await;
    execute(&mut late, "BEGIN; INSERT INTO t VALUES (10, 10, 'late')").await;
    execute(&mut connection, "INSERT INTO t VALUES (11, 11, 'early')").await;
    assert_eq!(copy.read(&*table).await.1, 1);
    execute(&mut late, "COMMIT").await;
    assert_eq!(copy.read(&*table).await.1, 1);
    copy.assert_equals(&mut connection, "t").await;
    // What is committed without waiting for the disk is visible, and so it is read.
    execute(&mut connection, "SET synchronous_commit = off; INSERT INTO t VALUES (12, 12, 'hasty')").await;
    assert_eq!(copy.read(&*table).await.1, 1);
    copy.assert_equals(&mut connection, "t").await;
    let health = table.health(copy.checkpoint.as_ref()).await.unwrap();
    let slot = health.iter().find(|probe| probe.what == "slot pipeline_platform_t").unwrap();
    assert!(slot.ok && slot.detail.contains(" behind and keeps "), "{slot:?}");
    // What the next run could not go on from is found before it runs.
    execute(&mut connection, "SELECT pg_drop_replication_slot('pipeline_platform_t')").await;
    let health = table.health(copy.checkpoint.as_ref()).await.unwrap();
    let slot = health.iter().find(|probe| probe.what == "slot pipeline_platform_t").unwrap();
    assert!(!slot.ok && slot.fix.is_some(), "{slot:?}");
    assert!(table.health(None).await.unwrap().iter().all(|probe| probe.ok), "without a reading there is nothing to go on from");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_reading_is_one_cut_of_all_tables_while_others_write() {
    const ROUNDS: usize = 12;
    let server = logical().await;
    let mut connection = server.connection().await;
    execute(
        &mut connection,
        &format!(
            "CREATE TABLE a (id bigint PRIMARY KEY, amount numeric(12,2), note text);
             CREATE TABLE b (id bigint, amount numeric(12,2), note text, PRIMARY KEY (id)) PARTITION BY HASH (id);
             CREATE TABLE b0 PARTITION OF b FOR VALUES WITH (MODULUS 2, REMAINDER 0);
             CREATE TABLE b1 PARTITION OF b FOR VALUES WITH (MODULUS 2, REMAINDER 1);
             INSERT INTO a SELECT i, 100, 'a' FROM generate_series(1, 50) AS i; INSERT INTO b SELECT * FROM a; {PUBLICATION}"
        ),
    )
    .await;
    let source = PostgresSource::connect(&capturing(&server)).await.unwrap();
    let (a, b) = (opened(&source, "a"), opened(&source, "b"));
    let done = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for writer in 0..3_u32 {
        let (mut connection, done) = (server.connection().await, Arc::clone(&done));
        writers.push(tokio::spawn(async move {
            let mut turn = u64::from(writer);
            execute(&mut connection, if writer == 2 { "SET synchronous_commit = off" } else { "SET synchronous_commit = on" }).await;
            while !done.load(Ordering::Relaxed) {
                turn = turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let (one, two, end) = (turn >> 33 & 63, turn >> 40 & 63, if turn >> 50 & 3 == 0 { "ROLLBACK" } else { "COMMIT" });
                let amount = turn >> 55 & 7;
                // Moves an amount from one table to the other, removes an empty pair, or moves a key: the sums stay in balance.
                let sql = match turn >> 60 & 3 {
                    0 => format!("WITH gone AS (DELETE FROM a WHERE id = {one} RETURNING amount) INSERT INTO b SELECT {} + {writer}, amount, 'from a' FROM gone", 1_000 + (turn >> 20 & 0xff_ffff) * 4),
                    1 => format!("UPDATE b SET id = id + 100000 * {} WHERE id = {one}", turn >> 20 & 0xff_ffff),
                    _ => format!("WITH taken AS (UPDATE a SET amount = amount - {amount} WHERE id = {one} RETURNING 1), given AS (INSERT INTO b SELECT {two} + 64 * {writer} + 2000000000000, {amount}, 'given' FROM taken ON CONFLICT (id) DO UPDATE SET amount = b.amount + excluded.amount) SELECT 1"),
                };
                // Two writers may block one another or meet the same key: then the transaction counts as rolled back.
                let statement = format!("BEGIN; SET LOCAL lock_timeout = '200ms'; {sql}; {end}");
                if sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await.is_err() {
                    execute(&mut connection, "ROLLBACK").await;
                }
                tokio::time::sleep(std::time::Duration::from_millis(turn >> 45 & 3)).await;
            }
        }));
    }
    let (mut copy_a, mut copy_b) = (Copied::default(), Copied::default());
    let mut moved = 0;
    for round in 0..ROUNDS {
        let (plan_a, plan_b) = (copy_a.plan(&*a).await.unwrap(), copy_b.plan(&*b).await.unwrap());
        assert_eq!((plan_a.is_changes, plan_b.is_changes), (round > 0, round > 0));
        copy_a.apply(&*a, &plan_a).await;
        moved += copy_b.apply(&*b, &plan_b).await;
        a.finish().await.unwrap();
        b.finish().await.unwrap();
        assert!((copy_a.sum() + copy_b.sum() - 10_000.0).abs() < 0.001, "round {round}: the tables are of two moments");
        // Every other round dies before the slots are told.
        if round % 2 == 0 {
            a.committed(copy_a.checkpoint.as_ref().unwrap()).await.unwrap();
            b.committed(copy_b.checkpoint.as_ref().unwrap()).await.unwrap();
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    done.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    tried(&format!("{ROUNDS} readings of two tables that others write to, {moved} changed rows"));
    assert!(moved > 100, "the writers wrote little: {moved}");
    for (table, copy, name) in [(&a, &mut copy_a, "a"), (&b, &mut copy_b, "b")] {
        copy.read(&**table).await;
        copy.assert_equals(&mut connection, name).await;
    }
}

#[tokio::test]
async fn many_changes_are_read_in_chunks_and_too_many_as_a_whole() {
    let server = logical().await;
    let mut connection = server.connection().await;
    execute(&mut connection, &format!("CREATE TABLE t (id bigint PRIMARY KEY, amount numeric(12,2), note text); {PUBLICATION}")).await;
    let capture = CaptureOptions { changes_max: 25_000, ..CaptureOptions::default() };
    let source = PostgresSource::connect(&PostgresOptions { capture: Some(capture), ..capturing(&server) }).await.unwrap();
    let table = opened(&source, "t");
    let mut copy = Copied::default();
    copy.read(&*table).await;
    execute(&mut connection, "INSERT INTO t SELECT i, 1, 'n' FROM generate_series(1, 25000) AS i; DELETE FROM t WHERE id % 5 = 0").await;
    let plan = copy.plan(&*table).await.unwrap();
    assert_eq!((plan.slices.len(), plan.rows_estimated, plan.is_changes), (3, Some(25_000), true));
    assert_eq!(copy.apply(&*table, &plan).await, 25_000);
    table.finish().await.unwrap();
    assert_eq!(copy.rows.len(), 20_000);
    execute(&mut connection, "INSERT INTO t SELECT i, 1, 'n' FROM generate_series(25001, 25010) AS i").await;
    let (summary, count) = copy.read(&*table).await;
    assert_eq!((summary.contains("10 rows changed"), count), (true, 10), "{summary}");
    execute(&mut connection, "UPDATE t SET id = id + 1000000").await;
    let (summary, count) = copy.read(&*table).await;
    assert_eq!((summary.as_str(), count), ("the whole table, because more of its rows changed than are worth reading one by one", 20_010));
    assert_eq!(copy.read(&*table).await.1, 0);
}

#[tokio::test]
async fn keys_of_all_kinds_are_found_again() {
    let server = logical().await;
    let mut connection = server.connection().await;
    execute(
        &mut connection,
        &format!(
            "CREATE TYPE mood AS ENUM ('ok', 'it''s \"bad\", {{really}}\\');
             CREATE TABLE k (\"Code\" text, at timestamptz, m mood, n numeric, u uuid, c char(5), note text, PRIMARY KEY (\"Code\", at, m, n, u, c)); {PUBLICATION}"
        ),
    )
    .await;
    let declared = declared(
        "k",
        &[
            ("code", "text not null from Code pii hash"),
            ("at", "timestamp not null"),
            ("m", "text not null"),
            ("n", "decimal(20,4) not null"),
            ("u", "uuid not null"),
            ("c", "text not null"),
            ("note", "text"),
        ],
        &["code", "at", "m", "n", "u", "c"],
        None,
    );
    let source = PostgresSource::connect(&capturing(&server)).await.unwrap();
    let table = source.table(declared, &TableOptions::default(), Some(super::contracts::key()));
    let mut checkpoint = None;
    let read = async |checkpoint: &mut Option<Checkpoint>| {
        table.prepare().await.unwrap();
        let plan = table.plan(&everything(), checkpoint.as_ref()).await.unwrap();
        let mut rows = Vec::new();
        for slice in &plan.slices {
            for batch in table.read(slice, &Quarantine::new()).await.unwrap().try_collect::<Vec<_>>().await.unwrap() {
                for row in 0..batch.num_rows() {
                    let keys: Vec<String> = (0..6).map(|place| format!("{:?}", batch.column(place).slice(row, 1))).collect();
                    let is_deleted = batch.num_columns() == 8 && batch.column(7).as_boolean().value(row);
                    assert!(!is_deleted || batch.column(6).is_null(row));
                    rows.push((keys, is_deleted));
                }
            }
        }
        table.finish().await.unwrap();
        *checkpoint = plan.checkpoint;
        rows
    };
    assert!(read(&mut checkpoint).await.is_empty());
    execute(
        &mut connection,
        "INSERT INTO k SELECT v, '2025-03-01 01:02:03.000004+02', m, 1.5, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'ab', 'n'
         FROM unnest(ARRAY['it''s', 'a\"b\\c{,}', '', 'NULL', 'zażółć']) AS v, unnest(enum_range(NULL::mood)) AS m",
    )
    .await;
    let mut added = read(&mut checkpoint).await;
    assert_eq!((added.len(), added.iter().any(|(_, is_deleted)| *is_deleted)), (10, false));
    execute(&mut connection, "DELETE FROM k").await;
    let mut gone = read(&mut checkpoint).await;
    assert!(gone.iter().all(|(_, is_deleted)| *is_deleted));
    // The same keys, hashed as the rows' were.
    added.sort_unstable();
    gone.sort_unstable();
    assert_eq!(added.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), gone.into_iter().map(|(key, _)| key).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_missing_at_the_server_is_said_with_its_statement() {
    let server = Server::start();
    let mut connection = server.connection().await;
    execute(
        &mut connection,
        "CREATE TABLE t (id bigint, amount numeric(12,2), note text);
         CREATE ROLE reader LOGIN PASSWORD 'right'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader",
    )
    .await;
    let refused = async |server: &Server| {
        let url = server.url_of("reader", super::server::PASSWORD);
        let source = PostgresSource::connect(&PostgresOptions { url, ..capturing(server) }).await.unwrap();
        let table = opened(&source, "t");
        match table.prepare().await {
            Err(error) => error,
            Ok(()) => table.plan(&everything(), None).await.unwrap_err(),
        }
    };
    let error = refused(&server).await;
    assert_eq!(error.code(), &CAPTURE);
    assert!(error.remedy().contains("ALTER SYSTEM SET wal_level = 'logical'"), "{}", error.remedy());
    drop(connection);
    execute(&mut server.connection().await, "ALTER SYSTEM SET wal_level = 'logical'").await;
    assert!(server.control("stop") && server.control("start"));
    let mut connection = server.connection().await;

    // Each refusal shows a statement; executing it leads to the next one.
    let statements = [
        (&CAPTURE, "CREATE PUBLICATION \"pipeline\" FOR ALL TABLES WITH (publish_via_partition_root = true)"),
        (&GRANT, "ALTER ROLE \"reader\" REPLICATION"),
        (&CAPTURE, "ALTER TABLE \"public\".\"t\" ALTER COLUMN \"id\" SET NOT NULL"),
        (&CAPTURE, "ALTER TABLE \"public\".\"t\" REPLICA IDENTITY FULL"),
    ];
    for (code, statement) in statements {
        let error = refused(&server).await;
        assert_eq!(error.code(), code, "{}", error.message());
        assert!(error.remedy().contains(&format!("{statement};")), "{}", error.remedy());
        execute(&mut connection, statement).await;
    }
    let url = server.url_of("reader", super::server::PASSWORD);
    let source = PostgresSource::connect(&PostgresOptions { url, ..capturing(&server) }).await.unwrap();
    let table = opened(&source, "t");
    table.prepare().await.unwrap();
    let plan = table.plan(&everything(), None).await.unwrap();
    table.finish().await.unwrap();
    assert!(matches!(plan.checkpoint.unwrap().upper, Cursor::Log(_)));

    execute(&mut connection, "DROP PUBLICATION pipeline; CREATE PUBLICATION pipeline").await;
    let statement = "ALTER PUBLICATION \"pipeline\" ADD TABLE \"public\".\"t\"";
    let error = refused(&server).await;
    assert!(error.remedy().contains(statement), "{} {}", error.message(), error.remedy());
    execute(&mut connection, statement).await;
    execute(&mut connection, "ALTER PUBLICATION pipeline SET (publish = 'insert')").await;
    let statement = "ALTER PUBLICATION \"pipeline\" SET (publish = 'insert, update, delete, truncate')";
    assert!(refused(&server).await.remedy().contains(statement));
    execute(&mut connection, statement).await;
    execute(&mut connection, "ALTER PUBLICATION pipeline SET TABLE t WHERE (id > 5)").await;
    assert!(refused(&server).await.message().contains("only some rows or columns"));
    execute(&mut connection, "CREATE VIEW v AS SELECT * FROM t").await;
    let error = {
        let url = server.url();
        let source = PostgresSource::connect(&PostgresOptions { url, ..capturing(&server) }).await.unwrap();
        opened(&source, "v").plan(&everything(), None).await.unwrap_err()
    };
    assert!(error.message().contains("is a view") && error.remedy().contains("capture = \"cursor\""), "{}", error.message());
}

#[tokio::test]
async fn a_slot_that_lost_changes_is_an_error_and_a_full_refresh_mends_it() {
    let server = logical().await;
    let mut connection = server.connection().await;
    execute(&mut connection, &format!("CREATE TABLE t (id bigint PRIMARY KEY, amount numeric(12,2), note text); {PUBLICATION}")).await;
    let mut copy = Copied::default();
    let slot = "pipeline_platform_t";
    let source = PostgresSource::connect(&capturing(&server)).await.unwrap();
    copy.read(&*opened(&source, "t")).await;
    execute(&mut connection, "INSERT INTO t VALUES (1, 1, 'a')").await;
    for loss in [
        format!("SELECT pg_drop_replication_slot('{slot}')"),
        format!("SELECT pg_replication_slot_advance('{slot}', pg_current_wal_lsn())"),
    ] {
        execute(&mut connection, "INSERT INTO t VALUES ((SELECT max(id) FROM t) + 1, 1, 'a')").await;
        execute(&mut connection, &loss).await;
        let source = PostgresSource::connect(&capturing(&server)).await.unwrap();
        let table = opened(&source, "t");
        let error = copy.plan(&*table).await.unwrap_err();
        assert_eq!(error.code(), &SLOT, "{}", error.message());
        assert!(error.remedy().contains("--full-refresh"));
        table.finish().await.unwrap();
        copy.checkpoint = None;
        copy.read(&*table).await;
        copy.assert_equals(&mut connection, "t").await;
        execute(&mut connection, "INSERT INTO t VALUES ((SELECT max(id) FROM t) + 1, 1, 'a')").await;
        assert_eq!(copy.read(&*table).await.1, 1);
    }
    // A publication that was made after the slot's changes: the server can neither tell them nor pass over them.
    each(&mut connection, &["DROP PUBLICATION pipeline", "INSERT INTO t VALUES (90, 1, 'unpublished')", PUBLICATION]).await;
    let table = opened(&source, "t");
    let error = copy.plan(&*table).await.unwrap_err();
    assert_eq!(error.code(), &SLOT, "{}", error.message());
    assert!(error.remedy().contains(&format!("SELECT pg_drop_replication_slot('{slot}');")), "{}", error.remedy());
}
