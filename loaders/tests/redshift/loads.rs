//! The loader against the double: every way of loading, and every way of failing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, BooleanArray, Decimal128Array, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use pipeline_core::contract::{Contract, parse_column};
use pipeline_core::landing::{Landing, Manifest, Snapshot, SnapshotWriter, WriterSettings};
use pipeline_core::load::{Distribution, Layout, Load, LoadId, Loader, Mode, Receipt};
use pipeline_core::name::{ColumnName, TableName};
use pipeline_loaders::redshift::{Limits, Redshift, RedshiftOptions, Target};
use serde_json::json;

use crate::servers::{BUCKET, Double, S3};

/// id, store, name, cents, updated_at in seconds, deleted.
type Row = (i32, i32, Option<&'static str>, i64, Option<i64>, bool);

struct World {
    double: Double,
    loader: Redshift,
    landing: Landing,
    contract: Contract,
}

fn name(text: &str) -> ColumnName {
    ColumnName::new(text).unwrap()
}

fn contract(columns: &[(&str, &str)]) -> Contract {
    let columns = columns.iter().map(|(column, text)| {
        let mut column = parse_column(&name(column), text, &str::to_owned).unwrap();
        column.description = "What it's called.".to_owned();
        column
    });
    let contract = Contract {
        table: TableName::model("orders").unwrap(),
        columns: columns.collect(),
        key: vec![name("id")],
        cursor: Some(name("updated_at")),
        description: "One row per order.".to_owned(),
    };
    contract.check().unwrap();
    contract
}

const COLUMNS: [(&str, &str); 5] =
    [("id", "int not null"), ("store_id", "int not null"), ("name", "text(16)"), ("total", "decimal(18,2)"), ("updated_at", "timestamp")];

fn layout() -> Layout {
    Layout { distribution: Distribution::Key(name("id")), sort: vec![name("store_id")] }
}

fn options(double: &Double) -> RedshiftOptions {
    let mut options = RedshiftOptions::new("warehouse", Target::Serverless { workgroup: "analytics".to_owned() }, "dev");
    options.aws = S3::get().owner();
    options.endpoint_url = Some(double.endpoint.clone());
    options.limits =
        Limits { pause: Duration::from_millis(20), pause_max: Duration::from_millis(200), wait_seconds: 5, ..Limits::default() };
    options
}

impl World {
    async fn new(prefix: &str) -> Self {
        let double = tokio::task::spawn_blocking(Double::start).await.unwrap();
        let loader = Redshift::connect(options(&double)).await;
        let owner = S3::get().owner();
        let keys = owner.credentials.unwrap();
        let store = AmazonS3Builder::new()
            .with_endpoint(S3::get().endpoint.clone())
            .with_allow_http(true)
            .with_bucket_name(BUCKET)
            .with_region(owner.region.unwrap())
            .with_access_key_id(keys.access_key_id)
            .with_secret_access_key(keys.secret_access_key)
            .build()
            .unwrap();
        let landing = Landing::new(Arc::new(store), Path::from(prefix), format!("s3://{BUCKET}/{prefix}"));
        Self { double, loader, landing, contract: contract(&COLUMNS) }
    }

    async fn snapshot(&self, mode: Mode, rows: &[Row]) -> Snapshot {
        let schema = if mode == Mode::Changes { self.contract.changes_schema() } else { self.contract.schema() };
        let folder = format!("nightly/run/orders/{}", uuid::Uuid::now_v7().simple());
        let writer = SnapshotWriter::new(&self.landing, &folder, Arc::clone(&schema), WriterSettings::default());
        // Two parts, so that the manifest has more than one line.
        for (slice, rows) in (0..).zip(rows.chunks(rows.len().div_ceil(2).max(1))) {
            let mut columns: Vec<ArrayRef> = vec![
                Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.0))),
                Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.1))),
                Arc::new(rows.iter().map(|row| row.2).collect::<StringArray>()),
                Arc::new(
                    Decimal128Array::from_iter_values(rows.iter().map(|row| i128::from(row.3))).with_precision_and_scale(18, 2).unwrap(),
                ),
                Arc::new(rows.iter().map(|row| row.4.map(|at| at * 1_000_000)).collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
            ];
            if mode == Mode::Changes {
                columns.push(Arc::new(rows.iter().map(|row| Some(row.5)).collect::<BooleanArray>()));
            }
            let mut part = writer.part_writer(slice);
            part.write(&RecordBatch::try_new(Arc::clone(&schema), columns).unwrap()).await.unwrap();
            part.finish().await.unwrap();
        }
        let manifest = Manifest::new("run", "orders", self.contract.clone(), mode == Mode::Changes);
        writer.finish(manifest, &[], None).await.unwrap()
    }

    fn load(&self, mode: Mode, revision: i64, base: Option<i64>, snapshot: &Snapshot) -> Load {
        let digest = snapshot.manifest().digest();
        let id = LoadId { pipeline: "nightly".to_owned(), table: self.contract.table.clone(), revision, digest };
        Load { id, run: "run".to_owned(), mode, base, contract: self.contract.clone(), layout: layout() }
    }

    async fn try_run(&self, mode: Mode, revision: i64, base: Option<i64>, rows: &[Row]) -> pipeline_core::error::Result<Receipt> {
        let snapshot = self.snapshot(mode, rows).await;
        let load = self.load(mode, revision, base, &snapshot);
        self.loader.prepare(&load.contract, &load.layout).await?;
        let staged = self.loader.stage(&load, &snapshot).await?;
        let receipt = self.loader.publish(&staged).await?;
        self.loader.discard(&staged).await?;
        self.loader.discard(&staged).await?;
        Ok(receipt)
    }

    async fn run(&self, mode: Mode, revision: i64, base: Option<i64>, rows: &[Row]) -> Receipt {
        self.try_run(mode, revision, base, rows).await.unwrap_or_else(|error| panic!("{error:?}\nhint: {}", error.remedy()))
    }

    /// Runs SQL beside the loader, as an analyst would.
    async fn sql(&self, text: &str) -> Vec<Vec<String>> {
        let owner = pipeline_loaders::s3::sdk_config(&S3::get().owner()).await;
        let config = aws_sdk_redshiftdata::config::Builder::from(&owner).endpoint_url(&self.double.endpoint).build();
        let client = aws_sdk_redshiftdata::Client::from_conf(config);
        let sent =
            client.execute_statement().workgroup_name("analytics").database("dev").sql(text).wait_time_seconds(20).send().await.unwrap();
        let id = sent.id().unwrap().to_owned();
        let ended = loop {
            let found = client.describe_statement().id(&id).wait_time_seconds(20).send().await.unwrap();
            match found.status().map(|status| status.as_str().to_owned()).as_deref() {
                Some("FINISHED") => break found,
                Some("FAILED" | "ABORTED") => panic!("{text}: {:?}", found.error()),
                _ => {}
            }
        };
        if ended.has_result_set() != Some(true) {
            return Vec::new();
        }
        let found = client.get_statement_result().id(&id).send().await.unwrap();
        let words = |field: &aws_sdk_redshiftdata::types::Field| match field {
            aws_sdk_redshiftdata::types::Field::StringValue(text) => text.clone(),
            aws_sdk_redshiftdata::types::Field::LongValue(number) => number.to_string(),
            aws_sdk_redshiftdata::types::Field::BooleanValue(value) => value.to_string(),
            aws_sdk_redshiftdata::types::Field::IsNull(_) => "NULL".to_owned(),
            other => format!("{other:?}"),
        };
        found.records().iter().map(|record| record.iter().map(words).collect()).collect()
    }

    /// The table's rows: id, then name and total.
    async fn table(&self) -> BTreeMap<i32, (String, String)> {
        let rows = self.sql("SELECT id, name, total FROM marts.orders ORDER BY id").await;
        let count = rows.len();
        let table: BTreeMap<_, _> = rows.into_iter().map(|row| (row[0].parse().unwrap(), (row[1].clone(), row[2].clone()))).collect();
        assert_eq!(table.len(), count, "a key stands twice");
        table
    }

    async fn marker(&self) -> Option<i64> {
        self.loader.marker("nightly", &self.contract.table).await.unwrap().map(|marker| marker.revision)
    }

    fn count(&self, operation: &str) -> u64 {
        let calls = self.double.calls();
        let count = calls.pointer(&format!("/operations/{operation}")).or_else(|| calls.get(operation)).and_then(serde_json::Value::as_u64);
        count.unwrap_or(0)
    }
}

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

    let receipt = world.run(Mode::Append, 5, None, &[(6, 1, None, 6, None, false)]).await;
    assert_eq!(receipt.rows_written, 1);
    assert_eq!(world.table().await.len(), 5);
    let receipt = world.run(Mode::Replace, 6, None, &[(7, 1, Some(""), 7, None, false)]).await;
    assert_eq!((receipt.rows_written, receipt.rows_deleted), (1, 5));
    assert_eq!(world.table().await, BTreeMap::from([(7, at(("", "0.07")))]));
    let history = world.sql("SELECT revision, mode, run FROM pipeline_meta.loads ORDER BY revision").await;
    let modes: Vec<&str> = history.iter().map(|row| row[1].as_str()).collect();
    assert_eq!(modes, ["replace", "changes", "merge", "merge", "append", "replace"]);
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

/// Faults that pass: the loader waits them out, and no row is lost or repeated.
const PASSING: [&str; 7] =
    ["lost_response", "error_after", "error_before", "throttle", "active_statements", "active_sessions", "serialization"];

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_the_service_are_waited_out() {
    let world = World::new("faults").await;
    world.run(Mode::Replace, 1, None, &[(1, 1, None, 1, None, false)]).await;
    let mut revision = 1;
    for kind in PASSING {
        world.double.reset();
        world.double.fail(&json!([{"operation": "BatchExecuteStatement", "kind": kind}]));
        revision += 1;
        let id = i32::try_from(revision).unwrap();
        let receipt = world.run(Mode::Append, revision, None, &[(id, 1, None, 1, None, false)]).await;
        assert_eq!((receipt.rows_written, receipt.was_there), (1, false), "{kind}");
        let calls = world.double.calls();
        assert_eq!(calls["armed"], json!([]), "{kind} did not happen");
        assert!(world.count("BatchExecuteStatement") >= 2, "{kind}: {calls}");
        if ["lost_response", "error_after"].contains(&kind) {
            assert_eq!((calls["token_replays"].as_u64(), calls["token_conflicts"].as_u64()), (Some(1), Some(0)), "{kind}: {calls}");
        }
        assert_eq!(world.table().await.len(), usize::try_from(revision).unwrap(), "{kind} lost or repeated rows");
        assert_eq!(world.marker().await, Some(revision));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_between_the_steps_are_waited_out() {
    let world = World::new("steps").await;
    world.run(Mode::Replace, 1, None, &[(1, 1, None, 1, None, false)]).await;
    let faults = [
        ("ExecuteStatement", "lost_response"),
        ("ExecuteStatement", "throttle"),
        ("ExecuteStatement", "serialization"),
        ("GetStatementResult", "throttle"),
        ("GetStatementResult", "error_before"),
        ("GetStatementResult", "lost_response"),
    ];
    for ((operation, kind), revision) in faults.into_iter().zip(2..) {
        world.double.reset();
        world.double.fail(&json!([{"operation": operation, "kind": kind}]));
        let id = i32::try_from(revision).unwrap();
        world.run(Mode::Append, revision, None, &[(id, 1, None, 1, None, false)]).await;
        assert_eq!(world.double.calls()["armed"], json!([]), "{kind} did not happen at {operation}");
        assert_eq!(world.table().await.len(), usize::try_from(revision).unwrap(), "{kind} at {operation}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_that_stay_end_in_an_error_of_their_kind() {
    let world = World::new("staying").await;
    world.run(Mode::Replace, 1, None, &[(1, 1, None, 1, None, false)]).await;
    let snapshot = world.snapshot(Mode::Append, &[(2, 1, None, 1, None, false)]).await;
    let load = world.load(Mode::Append, 2, None, &snapshot);
    let mut impatient = options(&world.double);
    impatient.limits.attempts_max = 3;
    let loader = Redshift::connect(impatient.clone()).await;
    let staged = loader.stage(&load, &snapshot).await.unwrap();
    for (kind, code) in [("active_statements", "E-REDSHIFT-UNAVAILABLE"), ("serialization", "E-REDSHIFT-CONTENDED")] {
        world.double.reset();
        let fault = |nth: u32| json!({"operation": "BatchExecuteStatement", "kind": kind, "nth": nth});
        world.double.fail(&json!((1..=20).map(fault).collect::<Vec<_>>()));
        let error = loader.publish(&staged).await.unwrap_err();
        assert_eq!((error.code().name, error.kind().exit_code()), (code, 4), "{error:?}");
        world.double.reset();
        assert_eq!((world.table().await.len(), world.marker().await), (1, Some(1)), "{kind}");
    }

    // A statement that does not end is cancelled, and may be tried again.
    world.double.fail(&json!([{"operation": "BatchExecuteStatement", "kind": "slow", "seconds": 60.0}]));
    impatient.limits.statement_timeout = Duration::from_secs(1);
    impatient.limits.wait_seconds = 1;
    let hurried = Redshift::connect(impatient).await;
    let error = hurried.publish(&staged).await.unwrap_err();
    assert_eq!(error.code().name, "E-REDSHIFT-TIMEOUT", "{error:?}");
    assert_eq!(loader.publish(&staged).await.unwrap().rows_written, 1);
    assert_eq!(world.table().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_warehouse_refuses_is_named_and_taken_back() {
    let world = World::new("refused").await;
    world.run(Mode::Replace, 1, None, &[(1, 1, None, 1, None, false)]).await;

    // A part that is gone by the time of COPY.
    let snapshot = world.snapshot(Mode::Append, &[(2, 1, None, 1, None, false), (3, 1, None, 1, None, false)]).await;
    let load = world.load(Mode::Append, 2, None, &snapshot);
    let staged = world.loader.stage(&load, &snapshot).await.unwrap();
    let path = world.landing.path(&snapshot.manifest().parts[1].key);
    object_store::ObjectStoreExt::delete(&world.landing.store(), &path).await.unwrap();
    let error = world.loader.publish(&staged).await.unwrap_err();
    assert_eq!((error.code().name, error.kind().exit_code()), ("E-REDSHIFT-COPY", 6), "{error:?}");
    assert!(error.message().contains("copy") && error.message().contains("orders"), "{error:?}");
    assert_eq!((world.table().await.len(), world.marker().await), (1, Some(1)));

    // A NULL where the table has NOT NULL, which changes may carry for removed rows only.
    world.sql("CREATE TABLE marts.strict (id INTEGER NOT NULL, store_id INTEGER NOT NULL, name VARCHAR(16) NOT NULL, total DECIMAL(18,2), updated_at TIMESTAMPTZ)").await;
    let mut strict = contract(&COLUMNS.map(|(column, text)| if column == "name" { (column, "text(16) not null") } else { (column, text) }));
    strict.table = TableName::model("strict").unwrap();
    let world = World { contract: strict, ..world };
    let error = world.try_run(Mode::Changes, 1, None, &[(1, 1, None, 1, None, false)]).await.unwrap_err();
    assert_eq!(error.code().name, "E-REDSHIFT-COPY", "{error:?}");
    assert!(error.causes().iter().any(|cause| cause.contains("\"name\"") && cause.contains("NULL")), "{error:?}");
    assert_eq!(world.marker().await, None);
}
