//! The switches: each fault fires once, and what really ran has run.

use std::time::Instant;

use serde_json::json;

use crate::harness::{Double, target};

fn table() -> Double {
    let double = Double::start(&[]);
    double.run("create table public.t (a int)").unwrap();
    double
}

fn count(double: &Double) -> i64 {
    double.value("select count(*) from public.t").as_i64().unwrap()
}

#[test]
fn a_lost_response_has_run_and_the_token_finds_it() {
    let double = table();
    double.arm(&json!([{ "operation": "BatchExecuteStatement", "kind": "lost_response" }]));
    let input = target(json!({ "Sqls": ["insert into public.t values (1)"], "ClientToken": "load-1" }));
    assert!(double.call("BatchExecuteStatement", &input).is_err(), "the connection closes without a response");
    assert_eq!(count(&double), 1);
    let again = double.ok("BatchExecuteStatement", &input);
    assert_eq!(double.ended(&again["Id"])["Status"], "FINISHED");
    assert_eq!(count(&double), 1, "the same token does not run again");
    assert_eq!(double.calls()["token_replays"], 1);
    double.ok("BatchExecuteStatement", &target(json!({ "Sqls": ["select 1"], "ClientToken": "load-1" })));
    assert_eq!(double.calls()["token_conflicts"], 1);
}

#[test]
fn an_error_after_the_statement_has_run_and_one_before_has_not() {
    let double = table();
    double.arm(&json!([{ "kind": "error_after", "status": 503 }]));
    assert_eq!(double.call("ExecuteStatement", &target(json!({ "Sql": "insert into public.t values (1)" }))).unwrap().0, 503);
    assert_eq!(count(&double), 1);
    double.arm(&json!([{ "kind": "error_before" }]));
    assert_eq!(
        double.refused("ExecuteStatement", &target(json!({ "Sql": "insert into public.t values (2)" }))).0,
        "InternalServerException"
    );
    assert_eq!(count(&double), 1);
}

#[test]
fn a_serialization_conflict_rolls_everything_back() {
    let double = table();
    for input in [
        json!({ "Sqls": ["insert into public.t values (1)", "insert into public.t values (2)"] }),
        json!({ "Sql": "insert into public.t values (1)" }),
    ] {
        let operation = if input.get("Sqls").is_some() { "BatchExecuteStatement" } else { "ExecuteStatement" };
        double.arm(&json!([{ "operation": operation, "kind": "serialization" }]));
        let id = double.ok(operation, &target(input))["Id"].clone();
        let described = double.ended(&id);
        assert_eq!(described["Status"], "FAILED");
        assert!(
            described["Error"].as_str().unwrap().starts_with("ERROR: 1023\n  Detail: Serializable isolation violation on table"),
            "{described}"
        );
        assert_eq!(count(&double), 0);
    }
}

#[test]
fn throttling_and_quotas_are_refusals_without_effect() {
    let double = table();
    for (kind, exception) in [
        ("throttle", "ThrottlingException"),
        ("active_statements", "ActiveStatementsExceededException"),
        ("active_sessions", "ActiveSessionsExceededException"),
    ] {
        double.arm(&json!([{ "sql_contains": "insert", "kind": kind }]));
        assert_eq!(double.refused("ExecuteStatement", &target(json!({ "Sql": "insert into public.t values (1)" }))).0, exception);
    }
    assert_eq!(count(&double), 0);
}

#[test]
fn a_closed_session_and_a_slow_statement() {
    let double = table();
    let session = double.ok(
        "ExecuteStatement",
        &target(json!({ "Sql": "create temp table s (a int)", "SessionKeepAliveSeconds": 60, "WaitTimeSeconds": 30 })),
    )["SessionId"]
        .clone();
    double.arm(&json!([{ "kind": "session_closed" }]));
    assert_eq!(double.refused("ExecuteStatement", &json!({ "Sql": "select 1", "SessionId": session })).1, "Session is not available");
    double.arm(&json!([{ "kind": "slow", "seconds": 1.0 }]));
    let started = Instant::now();
    assert!(double.run("select 1").is_ok());
    assert!(started.elapsed().as_secs_f64() >= 1.0);
}

#[test]
fn calls_are_counted_and_forgotten() {
    let double = table();
    let calls = double.calls();
    assert_eq!(calls["operations"]["ExecuteStatement"], 1);
    assert_eq!(calls["calls"][0]["statements"], json!(["create table public.t (a int)"]));
    assert_eq!(crate::harness::http(&double.address, "POST", "/_double/reset", &[], "").unwrap().0, 200);
    assert_eq!(double.calls()["total"], 0);
    assert_eq!(crate::harness::http(&double.address, "POST", "/_double/faults", &[], "[{\"kind\":\"flood\"}]").unwrap().0, 400);
}
