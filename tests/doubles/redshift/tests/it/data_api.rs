//! The protocol: asynchrony, ids, results, tokens, limits.

use serde_json::{Value, json};

use crate::harness::{Double, double, http, outcome, schema, target};

#[test]
fn execution_is_asynchronous_and_errors_are_in_the_description() {
    let double = double();
    let submitted = double.ok("ExecuteStatement", &target(json!({ "Sql": "select nothing_like_this" })));
    assert!(submitted.get("Status").is_none());
    let described = double.ended(&submitted["Id"]);
    assert_eq!(described["Status"], "FAILED");
    assert!(
        described["Error"].as_str().unwrap().starts_with("ERROR: column \"nothing_like_this\" does not exist\n  [ErrorId: 1-"),
        "{described}"
    );
    assert_eq!(described["QueryString"], "select nothing_like_this");
    assert!(described["Duration"].as_i64().unwrap() > 0);
    assert!(described["RedshiftQueryId"].as_i64().unwrap() > 0);
}

#[test]
fn a_statement_is_seen_submitted_or_started_before_its_end() {
    let double = Double::start(&[]);
    double.arm(&json!([{ "operation": "ExecuteStatement", "kind": "slow", "seconds": 1.5 }]));
    let id = double.ok("ExecuteStatement", &target(json!({ "Sql": "select 1" })))["Id"].clone();
    let early = double.ok("DescribeStatement", &json!({ "Id": id }))["Status"].clone();
    assert!(["SUBMITTED", "PICKED", "STARTED"].contains(&early.as_str().unwrap()), "{early}");
    let waited = double.ok("DescribeStatement", &json!({ "Id": id, "WaitTimeSeconds": 1 }))["Status"].clone();
    assert_eq!(waited, "STARTED", "a long poll ends with the status there is");
    assert_eq!(double.refused("GetStatementResult", &json!({ "Id": id })).0, "ResourceNotFoundException");
    assert_eq!(double.ended(&id)["Status"], "FINISHED");
}

#[test]
fn values_come_as_the_fields_of_their_types() {
    let double = double();
    let submitted = double.ok("ExecuteStatement", &target(json!({
        "Sql": "select 1::int as i, 9007199254740993::bigint as b, 1.5::float8 as f, true as t, 1.50::decimal(10,2) as d, '2022-02-22'::timestamp as ts, date '2022-02-22' as da, null::int as n, 'x'::varchar(3) as v",
        "WaitTimeSeconds": 30,
    })));
    assert_eq!(submitted["Status"], "FINISHED");
    assert_eq!(submitted["HasResultSet"], true);
    let page = double.ok("GetStatementResult", &json!({ "Id": submitted["Id"] }));
    assert_eq!(
        page["Records"],
        json!([[{ "longValue": 1 }, { "longValue": 9_007_199_254_740_993_i64 }, { "doubleValue": 1.5 }, { "booleanValue": true }, { "stringValue": "1.50" },
            { "stringValue": "2022-02-22 00:00:00.0" }, { "stringValue": "2022-02-22" }, { "isNull": true }, { "stringValue": "x" }]])
    );
    let types: Vec<&str> = page["ColumnMetadata"].as_array().unwrap().iter().map(|column| column["typeName"].as_str().unwrap()).collect();
    assert_eq!(types, ["int4", "int8", "float8", "bool", "numeric", "timestamp", "date", "int4", "varchar"]);
}

#[test]
fn results_have_pages_and_columns_also_when_empty() {
    let double = double();
    assert_eq!(double.rows("select generate_series(1, 2500)").len(), 2500);
    let schema = schema(double);
    double.run(&format!("create table {schema}.t (id bigint not null, name varchar(20), amount decimal(12,2))")).unwrap();
    let described = double.execute(&format!("select id, name, amount from {schema}.t"));
    let page = double.ok("GetStatementResult", &json!({ "Id": described["Id"] }));
    assert_eq!((page["TotalNumRows"].as_i64(), described["ResultRows"].as_i64()), (Some(0), Some(0)));
    let columns = &page["ColumnMetadata"];
    assert_eq!(
        (&columns[0]["nullable"], &columns[1]["length"], &columns[2]["precision"], &columns[2]["scale"]),
        (&json!(0), &json!(20), &json!(12), &json!(2))
    );
}

#[test]
fn statements_without_rows_have_no_result() {
    let double = double();
    let schema = schema(double);
    let described = double.execute(&format!("create table {schema}.t (a int)"));
    assert_eq!(described["HasResultSet"], false);
    let (kind, message) = double.refused("GetStatementResult", &json!({ "Id": described["Id"] }));
    assert_eq!(
        (kind.as_str(), message.as_str()),
        ("ResourceNotFoundException", "Query does not have result. Please check query status with DescribeStatement.")
    );
    assert_eq!(
        double.refused("DescribeStatement", &json!({ "Id": "0190a0a0-0000-7000-8000-000000000000" })).0,
        "ResourceNotFoundException"
    );
    assert_eq!(double.refused("DescribeStatement", &json!({ "Id": "not an id" })).0, "ValidationException");
}

#[test]
fn csv_is_given_by_the_second_version_only() {
    let double = double();
    let id = double.ok(
        "ExecuteStatement",
        &target(
            json!({ "Sql": "select 1 as a, 'x,y' as b union all select 2, null order by 1", "ResultFormat": "CSV", "WaitTimeSeconds": 30 }),
        ),
    )["Id"]
        .clone();
    assert_eq!(double.refused("GetStatementResult", &json!({ "Id": id })).0, "ValidationException");
    let page = double.ok("GetStatementResultV2", &json!({ "Id": id }));
    assert_eq!(page["Records"], json!([{ "CSVRecords": "1,\"x,y\"\r\n2,\r\n" }]));
    assert_eq!(page["ResultFormat"], "CSV");
    let json_id = double.execute("select 1")["Id"].clone();
    assert_eq!(double.refused("GetStatementResultV2", &json!({ "Id": json_id })).0, "ValidationException");
}

#[test]
fn a_transaction_batch_is_all_or_nothing() {
    let double = double();
    let schema = schema(double);
    double.run(&format!("create table {schema}.t (a int)")).unwrap();
    let described = double.batch(&[&format!("insert into {schema}.t values (1)"), "select 1/0", "select 2"]);
    assert_eq!(described["Status"], "FAILED");
    assert!(described["Error"].as_str().unwrap().starts_with("Query #2 failed with ERROR: division by zero"), "{described}");
    let statuses: Vec<&str> = described["SubStatements"].as_array().unwrap().iter().map(|part| part["Status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["FINISHED", "FAILED", "ABORTED"]);
    assert_eq!(double.value(&format!("select count(*) from {schema}.t")), 0);
    let described = double.batch(&[&format!("insert into {schema}.t values (1), (2)"), &format!("select count(*) from {schema}.t")]);
    assert_eq!(described["Status"], "FINISHED");
    assert_eq!(described["SubStatements"][0]["ResultRows"], 2);
    let id = described["Id"].as_str().unwrap();
    assert_eq!(double.result(&format!("{id}:2")), [[json!(2)]]);
    assert_eq!(double.ok("DescribeStatement", &json!({ "Id": format!("{id}:1") }))["ResultRows"], 2);
    let (kind, message) = double.refused("GetStatementResult", &json!({ "Id": id }));
    assert_eq!(
        (kind.as_str(), message.as_str()),
        ("ValidationException", "BatchExecuteStatement result can only be retrieved with sub-statement id.")
    );
    assert_eq!(double.refused("DescribeStatement", &json!({ "Id": format!("{id}:3") })).0, "ResourceNotFoundException");
}

#[test]
fn an_auto_commit_batch_goes_on_after_a_failure() {
    let double = double();
    let schema = schema(double);
    double.run(&format!("create table {schema}.t (a int)")).unwrap();
    let id = double.ok("BatchExecuteStatement", &target(json!({
        "Sqls": [format!("insert into {schema}.t values (1)"), "select 1/0", format!("insert into {schema}.t values (2)")], "ExecutionMode": "AUTO_COMMIT",
    })))["Id"].clone();
    let described = double.ended(&id);
    assert_eq!((described["Status"].as_str(), described["ExecutionMode"].as_str()), (Some("FAILED"), Some("AUTO_COMMIT")));
    assert_eq!(described["SubStatements"][2]["Status"], "FINISHED");
    assert_eq!(double.value(&format!("select count(*) from {schema}.t")), 2);
}

#[test]
fn the_same_token_runs_once() {
    let double = double();
    let schema = schema(double);
    double.run(&format!("create table {schema}.t (a int)")).unwrap();
    let input = target(
        json!({ "Sql": format!("insert into {schema}.t values (1)"), "ClientToken": format!("load-{schema}"), "WaitTimeSeconds": 30 }),
    );
    let first = double.ok("ExecuteStatement", &input)["Id"].clone();
    assert_eq!(double.ok("ExecuteStatement", &input)["Id"], first);
    assert_eq!(double.value(&format!("select count(*) from {schema}.t")), 1);
}

#[test]
fn one_statement_a_call_and_forty_a_batch() {
    let double = double();
    assert!(double.error("select 1; select 2").contains("cannot insert multiple commands into a prepared statement"));
    assert!(double.run("select 1;").is_ok());
    assert_eq!(double.refused("BatchExecuteStatement", &target(json!({ "Sqls": vec!["select 1"; 41] }))).0, "ValidationException");
    assert_eq!(double.refused("BatchExecuteStatement", &target(json!({ "Sqls": [] }))).0, "ValidationException");
    assert_eq!(
        double.refused("ExecuteStatement", &target(json!({ "Sql": format!("select '{}'", "x".repeat(205_000)) }))).0,
        "ValidationException"
    );
    assert_eq!(double.refused("ExecuteStatement", &target(json!({}))).0, "ValidationException");
    assert_eq!(double.refused("ExecuteStatement", &target(json!({ "Sql": "select 1", "WaitTimeSeconds": 31 }))).0, "ValidationException");
}

#[test]
fn parameters_are_values_only() {
    let double = double();
    let run = |sql: &str, parameters: Value| {
        let (status, body) = double.call("ExecuteStatement", &target(json!({ "Sql": sql, "Parameters": parameters }))).unwrap();
        if status == 200 {
            outcome(&double.ended(&body["Id"])).map(|_| double.result(body["Id"].as_str().unwrap()))
        } else {
            Err(body["__type"].as_str().unwrap().to_owned())
        }
    };
    assert_eq!(
        run("select :a::int + 1, :b", json!([{ "name": "a", "value": "41" }, { "name": "b", "value": "it's" }])).unwrap(),
        [[json!(42), json!("it's")]]
    );
    assert_eq!(run("select :a", json!([{ "name": "a", "value": "" }])).unwrap_err(), "ValidationException");
    assert_eq!(run("select 1", json!([{ "name": "a", "value": "x" }])).unwrap_err(), "ValidationException");
    assert_eq!(run("select :a, :b", json!([{ "name": "a", "value": "x" }])).unwrap_err(), "ValidationException");
    assert_eq!(run("select :a", json!([{ "name": "a", "value": "null" }])).unwrap(), [[json!("null")]], "null is a string");
}

#[test]
fn targets_and_signatures_are_checked() {
    let double = double();
    for input in [
        json!({ "Sql": "select 1", "Database": "dev" }),
        json!({ "Sql": "select 1", "ClusterIdentifier": "c", "WorkgroupName": "w", "Database": "dev" }),
        json!({ "Sql": "select 1", "ClusterIdentifier": "c" }),
        json!({ "Sql": "select 1", "ClusterIdentifier": "c", "Database": "dev", "SessionId": "0190a0a0-0000-7000-8000-000000000000" }),
    ] {
        assert_eq!(double.refused("ExecuteStatement", &input).0, "ValidationException", "{input}");
    }
    let id = double.ok("ExecuteStatement", &json!({ "Sql": "select 1", "WorkgroupName": "w", "Database": "nowhere" }))["Id"].clone();
    assert!(double.ended(&id)["Error"].as_str().unwrap().contains("database \"nowhere\" does not exist"));
    let (status, body) = http(&double.address, "POST", "/", &[("X-Amz-Target", "RedshiftData.ListStatements")], "{}").unwrap();
    assert_eq!(status, 403);
    assert!(body.contains("MissingAuthenticationTokenException"));
    assert_eq!(double.refused("DropEverything", &json!({})).0, "UnknownOperationException");
}

#[test]
fn rows_over_64_kilobytes_are_too_large() {
    let double = double();
    assert!(double.error("select repeat('x', 65537)").contains("Packet for query is too large"));
    assert!(double.run("select repeat('x', 65536)").is_ok());
}

#[test]
fn too_many_calls_and_statements_are_refused() {
    let double = Double::start(&["--enforce-rates", "--active-statements-max", "2"]);
    double.arm(&json!([{ "kind": "slow", "seconds": 2.0 }, { "kind": "slow", "nth": 2, "seconds": 2.0 }]));
    for _ in 0..2 {
        double.ok("ExecuteStatement", &target(json!({ "Sql": "select 1" })));
    }
    assert_eq!(double.refused("ExecuteStatement", &target(json!({ "Sql": "select 1" }))).0, "ActiveStatementsExceededException");
    let throttled = (0..4).filter(|_| double.call("ListStatements", &json!({})).unwrap().0 == 400).count();
    assert!(throttled >= 1, "three lists a second are allowed");
}

#[test]
fn statements_are_listed_and_cancelled() {
    let double = Double::start(&[]);
    double.arm(&json!([{ "kind": "slow", "seconds": 30.0 }]));
    let id = double.ok("ExecuteStatement", &target(json!({ "Sql": "select 1", "StatementName": "slow one" })))["Id"].clone();
    let listed = double.ok("ListStatements", &json!({ "StatementName": "slow" }));
    assert_eq!(listed["Statements"][0]["Id"], id);
    assert_eq!(double.ok("CancelStatement", &json!({ "Id": id }))["Status"], true);
    assert_eq!(double.ended(&id)["Status"], "ABORTED");
    let (kind, message) = double.refused("CancelStatement", &json!({ "Id": id }));
    assert_eq!(kind, "ValidationException");
    assert!(message.starts_with("Could not cancel a query that is already in ABORTED state"), "{message}");
    assert_eq!(double.ok("ListStatements", &json!({ "Status": "FINISHED" }))["Statements"], json!([]));
}

#[test]
fn the_catalog_is_listed() {
    let double = double();
    let schema = schema(double);
    double.run(&format!("create table {schema}.orders (id bigint not null, note varchar(30) default 'x')")).unwrap();
    double.run(&format!("create view {schema}.latest as select id from {schema}.orders")).unwrap();
    assert_eq!(
        double.ok("ListTables", &target(json!({ "SchemaPattern": schema })))["Tables"],
        json!([{ "schema": schema, "name": "latest", "type": "VIEW" }, { "schema": schema, "name": "orders", "type": "TABLE" }])
    );
    let columns = double.ok("DescribeTable", &target(json!({ "Schema": schema, "Table": "orders" })))["ColumnList"].clone();
    assert_eq!((&columns[0]["typeName"], &columns[0]["nullable"], &columns[1]["length"]), (&json!("int8"), &json!(0), &json!(30)));
    assert!(double.ok("ListSchemas", &target(json!({ "SchemaPattern": schema })))["Schemas"].as_array().unwrap().contains(&json!(schema)));
    assert_eq!(double.ok("ListDatabases", &target(json!({})))["Databases"], json!(["dev"]));
}
