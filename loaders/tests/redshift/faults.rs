//! Every way of failing: what passes is waited out, what stays is named, and nothing is lost or repeated.

use std::time::Duration;

use pipeline_core::load::{Loader, Mode};
use pipeline_core::name::TableName;
use pipeline_loaders::redshift::Redshift;
use serde_json::json;

use crate::world::{COLUMNS, World, contract, options};

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
