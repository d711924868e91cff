//! Transactions that are open while a table is read: what they write comes later with an older time, and must not be lost.

use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection};

use super::changes::{NOTHING, back, contract, read, upper};
use super::contracts::{connected, connected_as, opened};
use super::server::{Server, execute, text_of};

const TABLE: &str =
    "CREATE TABLE t (id bigint PRIMARY KEY, at timestamptz); CREATE INDEX ON t (at); INSERT INTO t VALUES (1, '2025-01-01')";
const READER: &str = "CREATE ROLE reader LOGIN PASSWORD 'right'; GRANT SELECT ON t TO reader";

async fn made(server: &Server) -> PgConnection {
    let mut connection = server.connection().await;
    execute(&mut connection, TABLE).await;
    execute(&mut connection, READER).await;
    connection
}

#[tokio::test]
async fn a_transaction_that_is_still_open_holds_the_checkpoint_back() {
    let server = Server::start();
    let mut connection = made(&server).await;
    let mut slow = server.connection().await;
    execute(&mut slow, "BEGIN; INSERT INTO t VALUES (2, now())").await;
    execute(&mut connection, "INSERT INTO t VALUES (3, now())").await;
    let source = connected(&server, "pipeline").await;
    let table = opened(&source, "t", contract("timestamp"));
    let (first, checkpoint) = read(&*table, &back(0), None).await;
    assert_eq!(first, [1, 3]);
    execute(&mut slow, "COMMIT").await;
    slow.close().await.unwrap();
    let (second, checkpoint) = read(&*table, &back(0), checkpoint.as_ref()).await;
    assert_eq!(second, [2, 3], "the row of the slow transaction is not lost although its time is older than a row that was read");
    assert_eq!(read(&*table, &back(0), checkpoint.as_ref()).await.0, NOTHING);
}

#[tokio::test]
async fn so_does_one_that_has_not_written_yet() {
    let server = Server::start();
    let mut connection = made(&server).await;
    let mut slow = server.connection().await;
    execute(&mut slow, "BEGIN").await;
    assert_eq!(text_of(&mut slow, "SELECT count(*)::text FROM t").await, "1");
    execute(&mut connection, "INSERT INTO t VALUES (3, clock_timestamp())").await;
    let source = connected(&server, "pipeline").await;
    let table = opened(&source, "t", contract("timestamp"));
    let (_, checkpoint) = read(&*table, &back(0), None).await;
    execute(&mut slow, "INSERT INTO t VALUES (2, now())").await;
    execute(&mut slow, "COMMIT").await;
    assert_eq!(read(&*table, &back(0), checkpoint.as_ref()).await.0, [2, 3]);
}

#[tokio::test]
async fn one_whose_beginning_cannot_be_seen_keeps_the_checkpoint_where_it_was() {
    let server = Server::start();
    let mut connection = made(&server).await;
    let source = connected_as(&server, "reader").await;
    let table = opened(&source, "t", contract("timestamp"));
    let (_, before) = read(&*table, &back(0), None).await;
    assert_eq!(upper(before.as_ref()), "2025-01-01T00:00:00Z", "nothing is open, so everything is known");

    let mut slow = server.connection().await;
    execute(&mut slow, "BEGIN; INSERT INTO t VALUES (2, now())").await;
    execute(&mut connection, "INSERT INTO t VALUES (3, clock_timestamp())").await;
    let plan = table.plan(&back(0), before.as_ref()).await.unwrap();
    assert!(plan.summary.ends_with("(GRANT pg_read_all_stats lets it)"), "{}", plan.summary);
    table.finish().await.unwrap();
    let (second, held) = read(&*table, &back(0), before.as_ref()).await;
    assert_eq!((second, upper(held.as_ref())), (vec![3], upper(before.as_ref())));

    // What reads for the first time meanwhile reads all of it again.
    let another = connected_as(&server, "reader").await;
    let other = opened(&another, "t", contract("timestamp"));
    let (whole, nothing_known) = read(&*other, &back(0), None).await;
    assert_eq!((whole, upper(nothing_known.as_ref()).as_str()), (vec![1, 3], "whole"));

    execute(&mut slow, "COMMIT").await;
    let (third, known) = read(&*table, &back(0), held.as_ref()).await;
    assert_eq!(third, [2, 3], "the row of the slow transaction is not lost");
    assert_eq!(read(&*table, &back(0), known.as_ref()).await.0, NOTHING);
    assert_eq!(read(&*other, &back(0), nothing_known.as_ref()).await.0, [1, 2, 3]);
}

#[tokio::test]
async fn one_that_ends_soon_is_waited_for() {
    let server = Server::start();
    let mut connection = made(&server).await;
    let source = connected_as(&server, "reader").await;
    let table = opened(&source, "t", contract("timestamp"));
    let mut slow = server.connection().await;
    execute(&mut slow, "BEGIN; INSERT INTO t VALUES (2, now())").await;
    execute(&mut connection, "INSERT INTO t VALUES (3, clock_timestamp())").await;
    let ending = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        execute(&mut slow, "COMMIT").await;
    };
    let request = back(0);
    let ((all, checkpoint), ()) = tokio::join!(read(&*table, &request, None), ending);
    assert_eq!(all, [1, 2, 3]);
    assert_eq!(read(&*table, &back(0), checkpoint.as_ref()).await.0, NOTHING);
}

/// Waits until a standby has replayed what its primary has done.
async fn caught_up(primary: &mut PgConnection, standby: &mut PgConnection) {
    let place = text_of(primary, "SELECT pg_current_wal_flush_lsn()::text").await;
    let deadline = Instant::now() + Duration::from_secs(30);
    while text_of(standby, &format!("SELECT (pg_last_wal_replay_lsn() >= '{place}')::text")).await != "true" {
        assert!(Instant::now() < deadline, "the standby does not catch up");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_standby_knows_of_the_transactions_of_its_primary() {
    let server = Server::start();
    let mut connection = made(&server).await;
    let standby = server.standby();
    let mut replayed = standby.connection().await;
    let source = connected(&standby, "pipeline").await;
    let table = opened(&source, "t", contract("timestamp"));

    // The commit tells the standby what time it is at the primary.
    execute(&mut connection, "INSERT INTO t VALUES (4, '2025-01-02')").await;
    caught_up(&mut connection, &mut replayed).await;
    let (first, before) = read(&*table, &back(0), None).await;
    assert_eq!((first, upper(before.as_ref()).as_str()), (vec![1, 4], "2025-01-02T00:00:00Z"));

    let mut slow = server.connection().await;
    execute(&mut slow, "BEGIN; INSERT INTO t VALUES (2, now())").await;
    execute(&mut connection, "INSERT INTO t VALUES (3, clock_timestamp())").await;
    caught_up(&mut connection, &mut replayed).await;
    let (second, held) = read(&*table, &back(0), before.as_ref()).await;
    assert_eq!((second, upper(held.as_ref())), (vec![3], upper(before.as_ref())), "the primary's transaction holds the checkpoint");

    execute(&mut slow, "COMMIT").await;
    caught_up(&mut connection, &mut replayed).await;
    let (third, known) = read(&*table, &back(0), held.as_ref()).await;
    assert_eq!(third, [2, 3]);
    assert_eq!(read(&*table, &back(0), known.as_ref()).await.0, NOTHING);
}
