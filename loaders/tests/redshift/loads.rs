//! Every way of loading.

use std::collections::BTreeMap;

use futures::StreamExt;
use pipeline_core::load::{Loader, Mode};
use pipeline_loaders::redshift::Redshift;

use crate::servers::BUCKET;
use crate::world::{COLUMNS, World, contract, layout, options};

fn at(row: (&str, &str)) -> (String, String) {
    (row.0.to_owned(), row.1.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_and_go_in_every_mode() {
    let world = World::new("modes").await;
    assert_eq!(world.marker().await, None);

    let receipt =
        world.run(Mode::Replace, 1, None, &[(1, 1, Some("Zażółć"), 1050, Some(10), false), (2, 1, None, -5, Some(10), false)]).await;
    assert_eq!((receipt.rows_written, receipt.rows_deleted, receipt.rows_unchanged, receipt.was_there), (2, 0, 0, false));
    assert_eq!(world.table().await, BTreeMap::from([(1, at(("Zażółć", "10.50"))), (2, at(("NULL", "-0.05")))]));
    assert_eq!(world.marker().await, Some(1));

    let changes = [
        (2, 1, Some("two"), 200, Some(20), false),
        (3, 2, Some("three"), 300, Some(20), false),
        (1, 1, None, 0, None, true),
        (9, 1, None, 0, None, true),
    ];
    let receipt = world.run(Mode::Changes, 2, Some(1), &changes).await;
    assert_eq!((receipt.rows_written, receipt.rows_deleted), (2, 1));
    assert_eq!(world.table().await, BTreeMap::from([(2, at(("two", "2.00"))), (3, at(("three", "3.00")))]));

    // Older than stored; newer; the same; new and twice, the newer of which wins; a NULL cursor is the oldest.
    let merged = [
        (2, 1, Some("stale"), 1, Some(19), false),
        (3, 2, Some("three"), 300, Some(20), false),
        (4, 1, Some("first"), 1, Some(5), false),
        (4, 1, Some("second"), 2, Some(6), false),
        (5, 1, Some("no cursor"), 5, None, false),
    ];
    let receipt = world.run(Mode::Merge, 3, None, &merged).await;
    assert_eq!((receipt.rows_written, receipt.rows_unchanged), (2, 1));
    let expected =
        BTreeMap::from([(2, at(("two", "2.00"))), (3, at(("three", "3.00"))), (4, at(("second", "0.02"))), (5, at(("no cursor", "0.05")))]);
    assert_eq!(world.table().await, expected);
    let receipt =
        world.run(Mode::Merge, 4, None, &[(5, 1, Some("no cursor "), 5, Some(1), false), (2, 1, Some("null"), 0, None, false)]).await;
    assert_eq!((receipt.rows_written, receipt.rows_unchanged), (1, 0));
    assert_eq!(world.table().await[&5].0, "no cursor ", "a blank at the end counts");
    assert_eq!(world.table().await[&2].0, "two");

    // Equal cursors: the later row wins, whichever part it is in; without a cursor's help NULL loses.
    let tied = [
        (8, 1, Some("earlier"), 1, Some(7), false),
        (10, 1, Some("late but NULL"), 1, Some(7), false),
        (8, 1, Some("later"), 2, Some(7), false),
        (10, 1, Some("NULL"), 2, None, false),
        (8, 1, Some("later, older"), 3, Some(6), false),
    ];
    let receipt = world.run(Mode::Merge, 5, None, &tied).await;
    assert_eq!((receipt.rows_written, receipt.rows_unchanged), (2, 0));
    let table = world.table().await;
    assert_eq!((table[&8].0.as_str(), table[&10].0.as_str()), ("later", "late but NULL"));
    let left = world.landing.store().list(Some(&world.landing.path("nightly")));
    let left: Vec<String> = left.map(|object| object.unwrap().location.to_string()).collect().await;
    assert!(!left.iter().any(|key| key.contains("copy-")), "discarding left {left:?}");
    world.run(Mode::Changes, 6, Some(5), &[(8, 1, None, 0, None, true), (10, 1, None, 0, None, true)]).await;

    let receipt = world.run(Mode::Append, 7, None, &[(6, 1, None, 6, None, false)]).await;
    assert_eq!(receipt.rows_written, 1);
    assert_eq!(world.table().await.len(), 5);
    let receipt = world.run(Mode::Replace, 8, None, &[(7, 1, Some(""), 7, None, false)]).await;
    assert_eq!((receipt.rows_written, receipt.rows_deleted), (1, 5));
    assert_eq!(world.table().await, BTreeMap::from([(7, at(("", "0.07")))]));
    let history = world.sql("SELECT revision, mode, run FROM pipeline_meta.loads ORDER BY revision").await;
    let modes: Vec<&str> = history.iter().map(|row| row[1].as_str()).collect();
    assert_eq!(modes, ["replace", "changes", "merge", "merge", "merge", "changes", "append", "replace"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_without_rows_moves_the_marker_and_copies_nothing() {
    let world = World::new("empty").await;
    let receipt = world.run(Mode::Changes, 1, None, &[]).await;
    assert_eq!((receipt.rows_written, receipt.was_there), (0, false));
    world.run(Mode::Append, 2, None, &[(1, 1, None, 1, None, false)]).await;
    world.run(Mode::Merge, 3, None, &[]).await;
    assert_eq!((world.marker().await, world.table().await.len()), (Some(3), 1));
    let receipt = world.run(Mode::Replace, 4, None, &[]).await;
    assert_eq!((receipt.rows_deleted, world.table().await.len()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_published_again_is_recognized() {
    let world = World::new("again").await;
    let rows = [(1, 1, Some("one"), 1, Some(1), false)];
    let snapshot = world.snapshot(Mode::Append, &rows).await;
    let load = world.load(Mode::Append, 1, None, &snapshot);
    world.loader.prepare(&load.contract, &load.layout).await.unwrap();
    let staged = world.loader.stage(&load, &snapshot).await.unwrap();
    assert_eq!(world.marker().await, None, "staged rows are visible");
    assert!(world.table().await.is_empty());
    let first = world.loader.publish(&staged).await.unwrap();
    // The same process, and one that was started after a crash.
    let again = world.loader.publish(&staged).await.unwrap();
    let restarted = Redshift::connect(options(&world.double)).await;
    let staged_again = restarted.stage(&load, &snapshot).await.unwrap();
    let after_crash = restarted.publish(&staged_again).await.unwrap();
    for receipt in [again, after_crash] {
        assert!(receipt.was_there);
        assert_eq!((receipt.rows_written, receipt.id), (first.rows_written, first.id.clone()));
    }
    assert_eq!(world.table().await.len(), 1);

    // Same revision, other content; and a lower revision.
    let error = world.try_run(Mode::Append, 1, None, &[(2, 1, None, 2, None, false)]).await.unwrap_err();
    assert_eq!(error.code().name, "E-FENCED");
    world.run(Mode::Append, 5, None, &[(3, 1, None, 3, None, false)]).await;
    let error = world.try_run(Mode::Append, 4, None, &[(2, 1, None, 2, None, false)]).await.unwrap_err();
    assert_eq!((error.code().name, error.kind().exit_code()), ("E-FENCED", 5));
    assert_eq!(world.table().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_on_another_base_are_refused() {
    let world = World::new("base").await;
    world.run(Mode::Replace, 3, None, &[(1, 1, None, 1, None, false)]).await;
    for base in [None, Some(1), Some(2)] {
        let error = world.try_run(Mode::Changes, 4, base, &[(2, 1, None, 2, None, false)]).await.unwrap_err();
        assert_eq!(error.code().name, "E-FENCED", "{error:?}");
    }
    assert_eq!((world.marker().await, world.table().await.len()), (Some(3), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_with_one_load_commit_it_once() {
    let world = World::new("race").await;
    world.run(Mode::Replace, 1, None, &[]).await;
    let snapshot = world.snapshot(Mode::Append, &[(1, 1, None, 1, None, false)]).await;
    let load = world.load(Mode::Append, 2, None, &snapshot);
    let mut tasks = Vec::new();
    for _ in 0..4 {
        // Each with its own locks, as separate processes have.
        let loader = Redshift::connect(options(&world.double)).await;
        let staged = loader.stage(&load, &snapshot).await.unwrap();
        tasks.push(tokio::spawn(async move { loader.publish(&staged).await.unwrap() }));
    }
    let mut fresh = 0;
    for task in tasks {
        let receipt = task.await.unwrap();
        assert_eq!(receipt.rows_written, 1);
        fresh += u32::from(!receipt.was_there);
    }
    assert_eq!((fresh, world.table().await.len()), (1, 1));
    assert_eq!(world.sql("SELECT COUNT(*) FROM pipeline_meta.loads WHERE revision = 2").await, [["1"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn text_that_is_too_long_is_found_before_anything_is_sent() {
    let world = World::new("long").await;
    world.run(Mode::Replace, 1, None, &[(1, 1, None, 1, None, false)]).await;
    world.double.reset();
    let snapshot = world.snapshot(Mode::Append, &[(2, 1, Some("Zażółć gęślą"), 1, None, false), (3, 1, None, 1, None, false)]).await;
    let load = world.load(Mode::Append, 2, None, &snapshot);
    let error = world.loader.stage(&load, &snapshot).await.unwrap_err();
    assert_eq!((error.code().name, error.kind().exit_code()), ("E-TEXT-TOO-LONG", 6));
    assert_eq!(error.causes(), ["column \"name\" holds 16 bytes, the longest value has 19"]);
    assert!(error.message().contains("orders") && error.remedy().contains("text(32)"), "{error:?} {}", error.remedy());
    assert_eq!(world.count("ExecuteStatement") + world.count("BatchExecuteStatement"), 0, "{}", world.double.calls());
    assert_eq!(world.table().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_widen_by_themselves_and_never_narrow() {
    let mut world = World::new("widen").await;
    let made = world.loader.prepare(&world.contract, &layout()).await.unwrap();
    assert!(made.iter().any(|change| change.what == "table marts.orders (5 columns)"), "{made:?}");
    assert!(world.loader.prepare(&world.contract, &layout()).await.unwrap().is_empty());
    let comments = world.sql("SELECT obj_description('marts.orders'::regclass)").await;
    assert_eq!(comments, [["One row per order."]]);

    let mut columns = COLUMNS.to_vec();
    columns[2] = ("name", "text(40)");
    columns.push(("note", "text"));
    let wider = contract(&columns);
    let planned = world.loader.compare(&wider, &layout()).await.unwrap();
    let words: Vec<String> = planned.iter().map(|change| format!("{} {}", change.sign, change.what)).collect();
    assert_eq!(words, ["~ column marts.orders.name VARCHAR(16) becomes VARCHAR(40)", "+ column marts.orders.note VARCHAR(256)"]);
    assert_eq!(world.loader.prepare(&wider, &layout()).await.unwrap(), planned);
    assert!(world.loader.compare(&wider, &layout()).await.unwrap().is_empty());

    columns[3] = ("total", "decimal(12,2)");
    let error = world.loader.prepare(&contract(&columns), &layout()).await.unwrap_err();
    assert_eq!((error.code().name, error.kind().exit_code()), ("E-SCHEMA", 6));
    assert_eq!(error.causes(), ["column \"total\": the warehouse has DECIMAL(18,2), the contract DECIMAL(12,2)"]);
    world.contract = wider;
    assert!(world.loader.compare(&world.contract, &layout()).await.unwrap().is_empty(), "a refused change left something");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_dropped_counts_as_never_loaded() {
    let world = World::new("dropped").await;
    world.run(Mode::Replace, 7, None, &[(1, 1, None, 1, None, false)]).await;
    world.sql("DROP TABLE marts.orders").await;
    assert_eq!(world.marker().await, None);
    world.run(Mode::Changes, 1, None, &[(2, 1, None, 2, None, false)]).await;
    assert_eq!((world.marker().await, world.table().await.len()), (Some(1), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_takes_at_most_ten_calls() {
    let world = World::new("calls").await;
    let total = |calls: &serde_json::Value| -> u64 {
        let operations = calls.get("operations").unwrap_or(calls);
        operations.as_object().unwrap().values().filter_map(serde_json::Value::as_u64).sum()
    };
    for revision in 1..=2 {
        world.double.reset();
        assert_eq!(world.marker().await, (revision > 1).then_some(1));
        world.run(Mode::Changes, revision, (revision > 1).then_some(1), &[(1, 1, None, 1, None, false)]).await;
        let calls = world.double.calls();
        assert!(total(&calls) <= if revision == 1 { 16 } else { 10 }, "load {revision}: {calls}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_finds_a_working_warehouse_and_names_what_is_missing() {
    let world = World::new("doctor").await;
    let probes = world.loader.probe(&format!("s3://{BUCKET}/doctor"), "one").await;
    assert!(probes.len() >= 4 && probes.iter().all(|probe| probe.ok), "{probes:?}");
    let probes = world.loader.probe("file:///tmp", "two").await;
    let role = probes.iter().find(|probe| probe.what.contains("role")).unwrap();
    assert!(!role.ok && role.fix.as_ref().unwrap().contains("s3://"), "{role:?}");
    let mut wrong = options(&world.double);
    wrong.endpoint_url = Some("http://127.0.0.1:9".to_owned());
    wrong.limits.attempts_max = 1;
    let probes = Redshift::connect(wrong).await.probe(&format!("s3://{BUCKET}/doctor"), "three").await;
    assert!(probes.len() == 1 && !probes[0].ok, "{probes:?}");
}
