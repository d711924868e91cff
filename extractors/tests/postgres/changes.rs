//! Incremental readings, windows, and what they must not miss.

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use pipeline_core::contract::Contract;
use pipeline_core::extract::{Checkpoint, Cursor, ExtractPlan, Extractor, Request};
use pipeline_core::quarantine::Quarantine;
use pipeline_core::window::{Timestamp, Window};

use super::conformance::{everything, read_plan};
use super::contracts::{connected, declared, opened};
use super::server::{Server, execute, text_of};

const MINUTE_US: i64 = 60_000_000;
pub(crate) const NOTHING: [i64; 0] = [];

pub(crate) fn contract(cursor_type: &str) -> Contract {
    declared("t", &[("id", "bigint not null"), ("at", cursor_type)], &["id"], Some("at"))
}

pub(crate) fn back(minutes: i64) -> Request {
    Request { lookback_us: minutes * MINUTE_US, ..everything() }
}

async fn ids(extractor: &dyn Extractor, plan: &ExtractPlan) -> Vec<i64> {
    let batch = read_plan(extractor, plan, &Quarantine::new()).await.unwrap();
    extractor.finish().await.unwrap();
    let mut ids = batch.column(0).as_primitive::<Int64Type>().values().to_vec();
    ids.sort_unstable();
    ids
}

/// Plans and reads; gives the ids and the new checkpoint.
pub(crate) async fn read(extractor: &dyn Extractor, request: &Request, after: Option<&Checkpoint>) -> (Vec<i64>, Option<Checkpoint>) {
    let plan = extractor.plan(request, after).await.unwrap();
    (ids(extractor, &plan).await, plan.checkpoint)
}

pub(crate) fn upper(checkpoint: Option<&Checkpoint>) -> String {
    match &checkpoint.unwrap().upper {
        Cursor::Time(time) => time.to_string(),
        Cursor::Number(number) => number.to_string(),
        Cursor::Whole => "whole".to_owned(),
        Cursor::Log(place) => place.clone(),
    }
}

#[tokio::test]
async fn later_readings_move_what_changed_and_nothing_else() {
    let server = Server::start();
    let mut connection = server.connection().await;
    execute(
        &mut connection,
        "CREATE TABLE t (id bigint PRIMARY KEY, at timestamptz);
         INSERT INTO t SELECT i, timestamptz '2025-01-01' + i * interval '1 minute' FROM generate_series(1, 100) AS i;
         INSERT INTO t VALUES (1000, NULL)",
    )
    .await;
    let source = connected(&server, "pipeline").await;
    let table = opened(&source, "t", contract("timestamp"));
    let plan = table.plan(&back(10), None).await.unwrap();
    assert_eq!(plan.summary, "the whole table");
    assert_eq!(plan.statement, "SELECT \"id\", \"at\" FROM \"public\".\"t\"");
    let first = plan.checkpoint.clone();
    assert_eq!(upper(first.as_ref()), "2025-01-01T01:40:00Z");
    let read_first = ids(&*table, &plan).await;
    assert_eq!((read_first.len(), read_first.last()), (101, Some(&1000)), "rows without a cursor are read once");

    let plan = table.plan(&back(10), first.as_ref()).await.unwrap();
    assert!(plan.slices.is_empty());
    assert_eq!(plan.summary, "no rows changed since 2025-01-01T01:40:00Z");
    assert_eq!((plan.rows_estimated, &plan.checkpoint), (Some(0), &first));
    table.finish().await.unwrap();

    execute(&mut connection, "UPDATE t SET at = at WHERE id = 95").await;
    let plan = table.plan(&back(10), first.as_ref()).await.unwrap();
    assert_eq!(plan.summary, "rows changed since 2025-01-01T01:30:00Z; no index begins with \"at\", so all of it is scanned");
    table.finish().await.unwrap();
    execute(&mut connection, "CREATE INDEX ON t (at); INSERT INTO t VALUES (101, '2025-01-01 01:41'), (102, '2025-01-01 01:35'), (103, '2024-12-31'); UPDATE t SET at = '2025-01-01 01:42' WHERE id = 3").await;
    let plan = table.plan(&back(10), first.as_ref()).await.unwrap();
    assert_eq!(plan.summary, "rows changed since 2025-01-01T01:30:00Z");
    let second = plan.checkpoint.clone();
    assert_eq!(upper(second.as_ref()), "2025-01-01T01:42:00Z");
    let mut expected: Vec<i64> = (91..=102).collect();
    expected.insert(0, 3);
    assert_eq!(ids(&*table, &plan).await, expected, "what is older than the lookback is not looked for");

    // A change within the lookback that moves no cursor is a change all the same; so is a deletion.
    assert_eq!(read(&*table, &back(10), second.as_ref()).await.0, NOTHING);
    execute(&mut connection, "UPDATE t SET id = 2000 WHERE id = 100").await;
    let (changed, third) = read(&*table, &back(10), second.as_ref()).await;
    assert!(changed.contains(&2000) && third != second);
    assert_eq!(read(&*table, &back(10), third.as_ref()).await.0, NOTHING);

    // The newest rows go: the checkpoint stays.
    execute(&mut connection, "DELETE FROM t WHERE at > '2025-01-01 01:00'").await;
    assert_eq!(upper(read(&*table, &back(10), third.as_ref()).await.1.as_ref()), "2025-01-01T01:42:00Z");
    execute(&mut connection, "DELETE FROM t").await;
    let (none, last) = read(&*table, &back(10), third.as_ref()).await;
    assert_eq!((none, last), (vec![], third));
}

#[tokio::test]
async fn times_to_come_and_infinities_do_not_keep_rows_from_being_read() {
    let server = Server::start();
    let mut connection = server.connection().await;
    execute(&mut connection, "CREATE TABLE t (id bigint PRIMARY KEY, at timestamptz); INSERT INTO t VALUES (1, '2025-01-01'), (2, '2999-01-01'), (3, 'infinity'), (4, '294276-01-01')").await;
    let source = connected(&server, "pipeline").await;
    let table = opened(&source, "t", contract("timestamp"));
    let plan = table.plan(&back(0), None).await.unwrap();
    let quarantine = Quarantine::new();
    let batch = read_plan(&*table, &plan, &quarantine).await.unwrap();
    assert_eq!(batch.column(0).as_primitive::<Int64Type>().values(), &[1, 2]);
    let rejected = quarantine.drain();
    assert_eq!(rejected.len(), 2);
    assert_eq!((rejected[0].position.as_str(), rejected[0].column.as_str()), ("{\"id\":\"3\"}", "at"));
    table.finish().await.unwrap();
    let Cursor::Time(reached) = plan.checkpoint.as_ref().unwrap().upper else { panic!("a cursor of time") };
    assert!(reached.to_string().as_str() < "2900", "{reached}");
    execute(&mut connection, "INSERT INTO t VALUES (5, now())").await;
    assert_eq!(read(&*table, &back(0), plan.checkpoint.as_ref()).await.0, [2, 5]);
}

#[tokio::test]
async fn tables_without_a_key_are_read_exactly_once() {
    let server = Server::start();
    let mut connection = server.connection().await;
    execute(&mut connection, "CREATE TABLE t (id bigint, at timestamptz); INSERT INTO t SELECT i, timestamptz '2025-01-01' + i * interval '1 minute' FROM generate_series(1, 5) AS i").await;
    execute(&mut connection, "INSERT INTO t VALUES (100, NULL)").await;
    let source = connected(&server, "pipeline").await;
    let keyless = Contract { key: Vec::new(), ..contract("timestamp") };
    let table = opened(&source, "t", keyless);
    let (first, checkpoint) = read(&*table, &back(60), None).await;
    assert_eq!(first, [1, 2, 3, 4, 5, 100]);
    assert_eq!(read(&*table, &back(60), checkpoint.as_ref()).await.0, NOTHING);
    execute(&mut connection, "INSERT INTO t VALUES (6, '2025-01-01 00:06'), (7, '2999-01-01')").await;
    let (second, checkpoint) = read(&*table, &back(60), checkpoint.as_ref()).await;
    assert_eq!(second, [6], "what is still to come waits until it is");
    assert_eq!(read(&*table, &back(60), checkpoint.as_ref()).await.0, NOTHING);
}

#[tokio::test]
async fn dates_and_numbers_are_cursors_too() {
    let server = Server::start();
    let mut connection = server.connection().await;
    execute(&mut connection, "CREATE TABLE d (id bigint PRIMARY KEY, at date); INSERT INTO d VALUES (1, '2025-01-01'), (2, '2025-01-02')")
        .await;
    execute(&mut connection, "CREATE TABLE n (id bigint PRIMARY KEY, at int); INSERT INTO n VALUES (1, 7), (2, 8); CREATE TABLE l (id bigint PRIMARY KEY, at timestamp); INSERT INTO l VALUES (1, '2025-01-01 10:00')").await;
    let source = connected(&server, "pipeline").await;
    let dates = opened(&source, "d", contract("date"));
    let (first, checkpoint) = read(&*dates, &back(0), None).await;
    assert_eq!((first.len(), upper(checkpoint.as_ref()).as_str()), (2, "2025-01-02T00:00:00Z"));
    assert_eq!(read(&*dates, &back(0), checkpoint.as_ref()).await.0, NOTHING);
    execute(&mut connection, "INSERT INTO d VALUES (3, '2025-01-02')").await;
    assert_eq!(read(&*dates, &back(0), checkpoint.as_ref()).await.0, [2, 3], "a day that was read can still get rows");

    let numbers = opened(&source, "n", contract("int"));
    let (first, checkpoint) = read(&*numbers, &back(5), None).await;
    assert_eq!((first.len(), upper(checkpoint.as_ref()).as_str()), (2, "8"));
    execute(&mut connection, "INSERT INTO n VALUES (3, 9), (4, 10)").await;
    assert_eq!(read(&*numbers, &back(5), checkpoint.as_ref()).await.0, [3, 4]);

    let locals = opened(&source, "l", contract("local_timestamp"));
    let (_, checkpoint) = read(&*locals, &back(0), None).await;
    assert_eq!(upper(checkpoint.as_ref()), "2025-01-01T10:00:00Z");
    execute(&mut connection, "INSERT INTO l VALUES (2, '2025-01-01 10:00:00.000001')").await;
    assert_eq!(read(&*locals, &back(0), checkpoint.as_ref()).await.0, [2]);

    let window = Window::new("2025-01-01".parse().unwrap(), "2025-01-02".parse().unwrap()).unwrap();
    let within = Request { window: Some(window), ..everything() };
    let error = numbers.plan(&within, None).await.unwrap_err();
    assert_eq!(error.code().name, "E-PG-CURSOR");
    assert_eq!(read(&*dates, &within, None).await, (vec![1], None));
    assert_eq!(read(&*locals, &within, None).await.0, [1, 2]);
}

#[tokio::test]
async fn windows_hold_their_beginning_and_not_their_end_and_large_ones_are_cut() {
    let server = Server::start();
    let mut connection = server.connection().await;
    execute(
        &mut connection,
        "CREATE TABLE t (id bigint PRIMARY KEY, at timestamptz);
         INSERT INTO t SELECT i, timestamptz '2025-01-01' + i * interval '1 second' FROM generate_series(0, 400000) AS i;
         CREATE INDEX ON t (at); ANALYZE t",
    )
    .await;
    let source = connected(&server, "pipeline").await;
    let table = opened(&source, "t", contract("timestamp"));
    let start: Timestamp = "2025-01-01".parse().unwrap();
    let window = |from: i64, to: i64| Request {
        window: Some(Window::new(start.plus(from * 1_000_000), start.plus(to * 1_000_000)).unwrap()),
        slices_wanted: 3,
        ..everything()
    };
    let plan = table.plan(&window(10, 20), None).await.unwrap();
    assert_eq!((plan.slices.len(), plan.checkpoint.as_ref()), (1, None));
    assert_eq!(ids(&*table, &plan).await, (10..20).collect::<Vec<_>>());
    let plan = table.plan(&window(7, 350_000), None).await.unwrap();
    assert_eq!(plan.slices.len(), 3);
    assert!(plan.rows_estimated.is_some_and(|rows| (300_000..400_000).contains(&rows)), "{:?}", plan.rows_estimated);
    assert_eq!(ids(&*table, &plan).await, (7..350_000).collect::<Vec<_>>());

    let after = Checkpoint { upper: Cursor::Time(start.plus(1_000_000)), fingerprint: None };
    let plan = table.plan(&Request { slices_wanted: 4, ..everything() }, Some(&after)).await.unwrap();
    assert!(plan.slices.len() > 2);
    assert_eq!(ids(&*table, &plan).await, (2..=400_000).collect::<Vec<_>>());
    assert_eq!(text_of(&mut connection, "SELECT count(*)::text FROM t").await, "400001");
}

#[tokio::test]
async fn what_is_newer_than_the_runs_cut_waits_for_the_next_run() {
    let server = Server::start();
    let mut connection = server.connection().await;
    execute(
        &mut connection,
        "CREATE TABLE t (id bigint PRIMARY KEY, at timestamptz);
         INSERT INTO t SELECT i, now() - interval '1 hour' + i * interval '1 minute' FROM generate_series(1, 59) AS i;
         INSERT INTO t VALUES (100, NULL), (101, now() + interval '1 day')",
    )
    .await;
    let source = connected(&server, "pipeline").await;
    for key in [&["id"][..], &[]] {
        let columns = [("id", "bigint not null"), ("at", "timestamp")];
        let table = opened(&source, "t", declared("t", &columns, key, Some("at")));
        let shown = table.cut().await.unwrap().unwrap();
        assert!(shown.place.starts_with("log "), "{shown:?}");
        let cut = shown.at.plus(-30 * MINUTE_US);
        let request = Request { cut: Some(cut), ..everything() };
        let (first, after) = read(&*table, &request, None).await;
        assert!(first.len() < 35 && first.contains(&29) && first.contains(&100) && !first.contains(&45), "{first:?}");
        assert!(matches!(after.as_ref().unwrap().upper, Cursor::Time(time) if time <= cut));
        // What lies in the future has a time that is not that of its writing: it does not wait where a key makes a second reading harmless.
        assert_eq!(first.contains(&101), !key.is_empty(), "{first:?}");
        let (second, _) = read(&*table, &everything(), after.as_ref()).await;
        let mut all: Vec<i64> = first.into_iter().chain(second).collect();
        all.sort_unstable();
        all.dedup();
        let there = if key.is_empty() { (1..=59).chain([100]).collect::<Vec<_>>() } else { (1..=59).chain([100, 101]).collect() };
        assert_eq!(all, there, "nothing that waited is lost");
    }
}
