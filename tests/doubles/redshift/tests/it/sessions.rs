//! What lives between calls, and what does not.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Double, double, outcome, schema, target};

fn open(double: &Double, sql: &str, seconds: i64) -> Value {
    double.ok("ExecuteStatement", &target(json!({ "Sql": sql, "SessionKeepAliveSeconds": seconds, "WaitTimeSeconds": 30 })))["SessionId"]
        .clone()
}

fn run(double: &Double, session: &Value, sql: &str) -> Result<i64, String> {
    let submitted = double.ok("ExecuteStatement", &json!({ "Sql": sql, "SessionId": session }));
    outcome(&double.ended(&submitted["Id"]))
}

#[test]
fn every_call_without_a_session_is_a_connection_of_its_own() {
    let double = double();
    double.run("create temp table left_behind (a int)").unwrap();
    assert!(double.error("select * from left_behind").contains("does not exist"));
    double.run("begin").unwrap();
    double.run("set search_path to nowhere").unwrap();
    assert!(!double.value("show search_path").as_str().unwrap().contains("nowhere"));
}

#[test]
fn temporary_tables_live_as_long_as_their_session() {
    let double = double();
    let session = open(double, "create temp table #stage (a int)", 60);
    run(double, &session, "insert into #stage values (1), (2)").unwrap();
    assert_eq!(run(double, &session, "select * from #stage").unwrap(), 2);
    assert!(double.error("select * from #stage").contains("does not exist"));
}

#[test]
fn a_temporary_table_lives_through_its_batch() {
    let double = double();
    let schema = schema(double);
    double.run(&format!("create table {schema}.t (id int, name varchar(5) default 'd')")).unwrap();
    let described = double.batch(&[
        &format!("create temp table stage (like {schema}.t including defaults)"),
        "insert into stage (id) values (1), (2)",
        &format!("insert into {schema}.t select * from stage"),
        &format!("select count(*) from {schema}.t where name = 'd'"),
    ]);
    assert_eq!(described["Status"], "FINISHED", "{described}");
    assert_eq!(double.result(&format!("{}:4", described["Id"].as_str().unwrap())), [[json!(2)]]);
}

#[test]
fn a_failed_transaction_sticks_until_it_is_rolled_back() {
    let double = double();
    let session = open(double, "begin", 60);
    assert!(run(double, &session, "select 1/0").is_err());
    for sql in ["select 1", "this is not sql"] {
        assert!(
            run(double, &session, sql)
                .unwrap_err()
                .contains("current transaction is aborted, commands ignored until end of transaction block"),
            "{sql}"
        );
    }
    run(double, &session, "rollback").unwrap();
    run(double, &session, "select 1").unwrap();
}

#[test]
fn a_transaction_may_span_calls_of_one_session() {
    let double = double();
    let schema = schema(double);
    double.run(&format!("create table {schema}.t (a int)")).unwrap();
    let session = open(double, "begin", 60);
    run(double, &session, &format!("insert into {schema}.t values (1)")).unwrap();
    assert_eq!(double.value(&format!("select count(*) from {schema}.t")), 0);
    run(double, &session, "commit").unwrap();
    assert_eq!(double.value(&format!("select count(*) from {schema}.t")), 1);
}

#[test]
fn sessions_end_when_unused_and_take_one_statement_at_a_time() {
    let double = Double::start(&[]);
    let session = open(&double, "select 1", 1);
    std::thread::sleep(Duration::from_millis(1300));
    let (kind, message) = double.refused("ExecuteStatement", &json!({ "Sql": "select 1", "SessionId": session }));
    assert_eq!((kind.as_str(), message.as_str()), ("ValidationException", "Session is not available"));
    assert_eq!(double.ok("ListSessions", &json!({ "SessionId": session }))["Sessions"][0]["Status"], "CLOSED");

    let session = open(&double, "select 1", 60);
    double.arm(&json!([{ "kind": "slow", "seconds": 1.0 }]));
    let slow = double.ok("ExecuteStatement", &json!({ "Sql": "select 1", "SessionId": session }))["Id"].clone();
    assert_eq!(double.ok("ListSessions", &json!({ "SessionId": session }))["Sessions"][0]["Status"], "BUSY");
    assert_eq!(double.refused("ExecuteStatement", &json!({ "Sql": "select 1", "SessionId": session })).1, "Session is not available");
    assert_eq!(double.ended(&slow)["Status"], "FINISHED");
    run(&double, &session, "select 1").unwrap();
}

#[test]
fn a_session_that_never_was_is_invalid() {
    let double = double();
    let id = "0190a0a0-0000-7000-8000-000000000000";
    let (kind, message) = double.refused("ExecuteStatement", &json!({ "Sql": "select 1", "SessionId": id }));
    assert_eq!(kind, "ValidationException");
    assert_eq!(message, format!("Session with Id: {id} is invalid"));
}
