//! Slices, and the one snapshot that they are read in.

use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use futures::StreamExt;
use pipeline_core::contract::Contract;
use pipeline_core::extract::{Cursor, ExtractPlan, Extractor, Request};
use pipeline_core::quarantine::Quarantine;
use sqlx::{Connection, PgConnection};

use super::conformance::{everything, holds, read_plan};
use super::contracts::{connected, declared, opened};
use super::server::{Server, execute, text_of};

/// Rows of about a seventh of a page.
const ROWS: usize = 42_000;

fn contract(table: &str) -> Contract {
    declared(
        table,
        &[("key", "text not null from id"), ("id", "bigint not null"), ("updated_at", "timestamp")],
        &["id"],
        Some("updated_at"),
    )
}

async fn fill(connection: &mut PgConnection, table: &str) {
    execute(
        connection,
        &format!(
            "CREATE TABLE {table} (id bigint PRIMARY KEY, updated_at timestamptz, filler text);
             INSERT INTO {table} SELECT i, timestamptz '2025-01-01' + i * interval '1 second', repeat('x', 1000) FROM generate_series(1, {ROWS}) AS i;
             CREATE INDEX ON {table} (updated_at); ANALYZE {table}"
        ),
    )
    .await;
}

async fn ids(extractor: &dyn Extractor, plan: &ExtractPlan) -> Vec<i64> {
    let batch = read_plan(extractor, plan, &Quarantine::new()).await.unwrap();
    let mut ids = batch.column(1).as_primitive::<Int64Type>().values().to_vec();
    ids.sort_unstable();
    ids
}

async fn sessions(connection: &mut PgConnection, name: &str) -> String {
    text_of(connection, &format!("SELECT count(*)::text FROM pg_stat_activity WHERE application_name = '{name}'")).await
}

/// Waits until the server has noticed that every connection was closed.
async fn all_closed(connection: &mut PgConnection, name: &str) {
    let closed = async {
        while sessions(connection, name).await != "0" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), closed).await.expect("connections are left open");
}

#[tokio::test]
async fn a_table_keeps_the_promises_of_a_source() {
    let server = Server::start();
    let mut connection = server.connection().await;
    fill(&mut connection, "orders").await;
    let source = connected(&server, "promises").await;
    let orders = opened(&source, "orders", contract("orders"));
    let checkpoint = holds(&*orders, ROWS, 2).await.unwrap();
    let Cursor::Time(upper) = checkpoint.upper else { panic!("a cursor of time") };
    assert_eq!(upper.to_string(), "2025-01-01T11:40:00Z");
    // Every connection is closed with the last table.
    all_closed(&mut connection, "promises").await;
}

#[tokio::test]
async fn slices_show_one_instant_whatever_is_written_meanwhile() {
    let server = Server::start();
    let mut connection = server.connection().await;
    fill(&mut connection, "orders").await;
    execute(&mut connection, "DELETE FROM orders WHERE id % 10 = 0").await;
    let expected: Vec<i64> = (1..=ROWS as i64).filter(|id| id % 10 != 0).collect();
    let source = connected(&server, "pipeline").await;
    let orders = opened(&source, "orders", contract("orders"));
    let plan = orders.plan(&Request { slices_wanted: 3, ..everything() }, None).await.unwrap();
    assert_eq!(plan.slices.len(), 3);
    let mut batches = Vec::new();
    for slice in &plan.slices {
        // Rows move to other pages, vanish and appear; freed space is used again. None of it is in the snapshot.
        execute(
            &mut connection,
            "UPDATE orders SET updated_at = now() WHERE id % 7 = 0; DELETE FROM orders WHERE id % 11 = 0;
             INSERT INTO orders SELECT (SELECT max(id) FROM orders) + i, now(), repeat('y', 1000) FROM generate_series(1, 3000) AS i",
        )
        .await;
        execute(&mut connection, "VACUUM orders").await;
        batches.push(super::conformance::read_slice(&*orders, slice, &Quarantine::new()).await.unwrap());
    }
    let mut read: Vec<i64> = batches.iter().flat_map(|batch| batch.column(1).as_primitive::<Int64Type>().values().to_vec()).collect();
    read.sort_unstable();
    assert_eq!(read, expected);
}

#[tokio::test]
async fn all_tables_of_a_run_are_read_in_one_snapshot() {
    let server = Server::start();
    let mut connection = server.connection().await;
    execute(&mut connection, "CREATE TABLE a (id bigint PRIMARY KEY, updated_at timestamptz); CREATE TABLE b (LIKE a INCLUDING ALL); INSERT INTO a VALUES (1, now()); INSERT INTO b VALUES (1, now())").await;
    let source = connected(&server, "together").await;
    let (a, b) = (opened(&source, "a", contract("a")), opened(&source, "b", contract("b")));
    let plan_a = a.plan(&everything(), None).await.unwrap();
    assert_eq!(ids(&*a, &plan_a).await, [1]);
    a.finish().await.unwrap();
    execute(&mut connection, "INSERT INTO a VALUES (2, now()); INSERT INTO b VALUES (2, now())").await;
    let plan_b = b.plan(&everything(), None).await.unwrap();
    assert_eq!(ids(&*b, &plan_b).await, [1], "b is read as of a's instant");
    assert_ne!(sessions(&mut connection, "together").await, "0");
    b.finish().await.unwrap();
    all_closed(&mut connection, "together").await;
    // The next round sees what was written.
    let plan_a = a.plan(&everything(), None).await.unwrap();
    assert_eq!(ids(&*a, &plan_a).await, [1, 2]);
    // And so does a table that is read twice while another one was not read at all.
    a.finish().await.unwrap();
    execute(&mut connection, "INSERT INTO a VALUES (3, now())").await;
    let plan_a = a.plan(&everything(), None).await.unwrap();
    assert_eq!(ids(&*a, &plan_a).await, [1, 2, 3]);
}

#[tokio::test]
async fn a_lost_snapshot_or_connection_is_worth_another_attempt() {
    let server = Server::start();
    let mut connection = server.connection().await;
    fill(&mut connection, "orders").await;
    let source = connected(&server, "victim").await;
    let orders = opened(&source, "orders", contract("orders"));
    let kill = "SELECT count(pg_terminate_backend(pid))::text FROM pg_stat_activity WHERE application_name = 'victim'";
    let plan = orders.plan(&everything(), None).await.unwrap();
    assert_ne!(text_of(&mut connection, kill).await, "0");
    tokio::time::sleep(Duration::from_millis(200)).await;
    let error = super::conformance::read_slice(&*orders, &plan.slices[0], &Quarantine::new()).await.unwrap_err();
    assert_eq!(error.code().name, "E-PG-LOST");
    assert!(error.kind().is_worth_retrying());
    let plan = orders.plan(&everything(), None).await.unwrap();
    assert_eq!(ids(&*orders, &plan).await.len(), ROWS);

    // Mid-slice: the consumer waits after its first batch, and the connection goes.
    let mut stream = orders.read(&plan.slices[0], &Quarantine::new()).await.unwrap();
    stream.next().await.unwrap().unwrap();
    text_of(&mut connection, kill).await;
    let mut last = None;
    while let Some(batch) = stream.next().await {
        last = Some(batch);
    }
    assert_eq!(last.unwrap().unwrap_err().code().name, "E-PG-LOST");
    let plan = orders.plan(&everything(), None).await.unwrap();
    assert_eq!(ids(&*orders, &plan).await.len(), ROWS);
}

#[tokio::test]
async fn dropping_a_stream_ends_the_statement_at_the_server() {
    let server = Server::start();
    let mut connection = server.connection().await;
    execute(&mut connection, "CREATE VIEW endless AS SELECT generate_series(1, 10000000000) AS id").await;
    let source = connected(&server, "endless").await;
    let contract = declared("endless", &[("key", "text from id")], &[], None);
    let endless = opened(&source, "endless", contract);
    let plan = endless.plan(&everything(), None).await.unwrap();
    // Only the slice runs a COPY; the session that holds the snapshot waits.
    let running = "SELECT count(*)::text FROM pg_stat_activity WHERE application_name = 'endless' AND query LIKE 'COPY%'";
    let stream = endless.read(&plan.slices[0], &Quarantine::new()).await.unwrap();
    let until = |count: &'static str| {
        let url = server.url();
        async move {
            let mut connection = PgConnection::connect(&url).await.unwrap();
            while text_of(&mut connection, running).await != count {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), until("1")).await.expect("the statement starts");
    drop(stream);
    tokio::time::timeout(Duration::from_secs(60), until("0")).await.expect("the statement ends");
}
