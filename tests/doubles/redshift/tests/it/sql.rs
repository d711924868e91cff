//! Redshift's SQL: what runs, and how it differs from PostgreSQL's.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{double, schema, target};

#[test]
fn keys_are_not_enforced_but_not_null_is() {
    let double = double();
    let schema = schema(double);
    double.run(&format!("create table {schema}.t (id int primary key, email varchar(20) unique)")).unwrap();
    double.run(&format!("insert into {schema}.t values (1, 'a'), (1, 'a')")).unwrap();
    assert_eq!(double.value(&format!("select count(*) from {schema}.t")), 2);
    assert!(double.error(&format!("insert into {schema}.t values (null, 'b')")).contains("Cannot insert a NULL value into column id"));
}

#[test]
fn lengths_are_in_bytes_and_trailing_blanks_do_not_count() {
    let double = double();
    let schema = schema(double);
    double.run(&format!("create table {schema}.t (v varchar(4), c char(3), w varbyte(2), d decimal(4,2))")).unwrap();
    double.run(&format!("insert into {schema}.t (v) values ('żó'), ('ab      ')")).unwrap();
    assert!(double.error(&format!("insert into {schema}.t (v) values ('żół')")).contains("value too long for type character varying(4)"));
    assert!(double.error(&format!("insert into {schema}.t (v) values ('abcde')")).contains("value too long for type character varying(4)"));
    assert!(double.error(&format!("insert into {schema}.t (c) values ('ż')")).contains("CHAR string"));
    assert!(double.error(&format!("insert into {schema}.t (d) values (100)")).contains("overflow"));
    assert_eq!(double.value(&format!("select count(*) from {schema}.t where v = 'ab'")), 1);
    assert_eq!(double.value(&format!("select count(*) from {schema}.t a join {schema}.t b on a.v = b.v")), 2);
    double.run(&format!("insert into {schema}.t (v) values ('ab'), ('ab ')")).unwrap();
    assert_eq!(double.value(&format!("select count(distinct v) from {schema}.t")), 2);
    assert_eq!(double.rows(&format!("select count(*) from {schema}.t group by v order by 1")), [[json!(1)], [json!(3)]]);
}

#[test]
fn text_is_256_bytes_and_like_keeps_limits() {
    let double = double();
    let schema = schema(double);
    double.run(&format!("create table {schema}.t (v text, m varchar(max), bare varchar)")).unwrap();
    assert!(double.error(&format!("insert into {schema}.t (v) values (repeat('x', 257))")).contains("character varying(256)"));
    assert!(double.error(&format!("insert into {schema}.t (bare) values (repeat('x', 257))")).contains("character varying(256)"));
    double.run(&format!("insert into {schema}.t (m) values (repeat('x', 60000))")).unwrap();
    double.run(&format!("create table {schema}.u (like {schema}.t)")).unwrap();
    assert!(double.error(&format!("insert into {schema}.u (v) values (repeat('ż', 200))")).contains("character varying(256)"));
    double.run(&format!("create table {schema}.s as select m, 'ż'::varchar(2) as z from {schema}.t")).unwrap();
    assert!(double.error(&format!("insert into {schema}.s (z) values ('żó')")).contains("character varying(2)"));
}

#[test]
fn names_fold_also_in_quotes_and_may_have_127_bytes() {
    let double = double();
    let schema = schema(double);
    let long = format!("a_{}", "x".repeat(120));
    double.run(&format!("create table {schema}.\"Orders\" (\"Order Id\" int, {long} int)")).unwrap();
    double.run(&format!("insert into {schema}.orders (\"order id\", {long}) values (1, 2)")).unwrap();
    let id = double.execute(&format!("select * from {schema}.ORDERS"))["Id"].clone();
    let columns = double.ok("GetStatementResult", &json!({ "Id": id }))["ColumnMetadata"].clone();
    assert_eq!((columns[0]["name"].as_str(), columns[1]["name"].as_str()), (Some("order id"), Some(long.as_str())));
    assert_eq!(double.value(&format!("select count(*) from svv_columns where table_schema = '{schema}' and column_name = '{long}'")), 1);
}

#[test]
fn strings_are_escaped_with_backslashes() {
    let double = double();
    assert_eq!(double.value(r"select 'it\'s'"), "it's");
    assert_eq!(double.value(r"select 'a\\b'"), r"a\b");
    assert_eq!(double.value("select 'it''s'"), "it's");
}

#[test]
fn functions_of_redshift() {
    let double = double();
    for (expression, expected) in [
        ("nvl(null, 2)", json!(2)),
        ("nvl2(null, 1, 2)", json!(2)),
        ("decode(null, null, 'n', 'x')", json!("n")),
        ("dateadd(month, 1, '2024-01-31'::date)", json!("2024-02-29 00:00:00.0")),
        ("dateadd('hour', -1, '2024-01-01'::timestamp)", json!("2023-12-31 23:00:00.0")),
        ("datediff(year, '2023-12-31'::date, '2024-01-01'::date)", json!(1)),
        ("datediff(week, '2024-01-06'::date, '2024-01-07'::date)", json!(1)),
        ("datediff(hour, '2024-01-01 00:59'::timestamp, '2024-01-01 01:00'::timestamp)", json!(1)),
        ("date_trunc('month', date '2024-03-05')", json!("2024-03-01 00:00:00.0")),
        ("trunc('2024-03-05 10:00'::timestamp)", json!("2024-03-05")),
        ("convert_timezone('Europe/Warsaw', '2024-01-01 00:00'::timestamp)", json!("2024-01-01 01:00:00.0")),
        ("len('żó')", json!(2)),
        ("regexp_replace('aXbX', 'X', '-')", json!("a-b-")),
        ("json_extract_path_text('{\"a\":{\"b\":1}}', 'a', 'b')", json!("1")),
        ("sha2('a', 256)", json!("ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb")),
        ("getdate() <= sysdate", json!(true)),
    ] {
        assert_eq!(double.value(&format!("select {expression}")), expected, "{expression}");
    }
    let schema = schema(double);
    double.run(&format!("create table {schema}.t as select generate_series as a from generate_series(1, 4)")).unwrap_err();
    double.run(&format!("create table {schema}.t (a int)")).unwrap();
    double.run(&format!("insert into {schema}.t values (1), (2), (3), (10)")).unwrap();
    assert_eq!(
        double.rows(&format!(
            "select listagg(a, '-') within group (order by a desc), median(a), approximate count(distinct a) from {schema}.t"
        )),
        [[json!("10-3-2-1"), json!("2.5"), json!(4)]]
    );
    assert_eq!(double.rows(&format!("select top 2 a from {schema}.t order by a")), [[json!(1)], [json!(2)]]);
    assert_eq!(double.rows(&format!("select a from {schema}.t minus select 1 order by 1")).len(), 3);
}

#[test]
fn super_is_navigated() {
    let double = double();
    let schema = schema(double);
    double.run(&format!("create table {schema}.t (id int, payload super)")).unwrap();
    double
        .run(&format!("insert into {schema}.t select 1, json_parse('{{\"items\":[{{\"sku\":\"a\",\"price\":1.50}}],\"n\":2}}')"))
        .unwrap();
    let row = double.rows(&format!("select payload, payload.items[0].sku, t.payload.n, json_typeof(payload.items), json_serialize(payload.items[0].price) from {schema}.t t"));
    assert_eq!(
        row,
        [[json!("{\"items\":[{\"price\":1.50,\"sku\":\"a\"}],\"n\":2}"), json!("\"a\""), json!("2"), json!("array"), json!("1.50")]]
    );
    double.run(&format!("insert into {schema}.t select 2, '{{\"a\":1}}'::super")).unwrap();
    assert_eq!(
        double.value(&format!("select json_typeof(payload) from {schema}.t where id = 2")),
        "string",
        "text does not become JSON by itself"
    );
}

#[test]
fn merge_updates_and_inserts_and_finds_duplicates() {
    let double = double();
    let schema = schema(double);
    double.run(&format!("create table {schema}.t (id int, a varchar(5))")).unwrap();
    double.run(&format!("create table {schema}.s (id int, a varchar(5))")).unwrap();
    double.run(&format!("insert into {schema}.t values (1, 'old'), (2, 'old')")).unwrap();
    double.run(&format!("insert into {schema}.s values (2, 'new'), (3, 'new')")).unwrap();
    let merge = format!(
        "merge into {schema}.t using {schema}.s s on {schema}.t.id = s.id when matched then update set a = s.a when not matched then insert (id, a) values (s.id, s.a)"
    );
    assert_eq!(double.run(&merge).unwrap(), 2);
    assert_eq!(
        double.rows(&format!("select id, a from {schema}.t order by id")),
        [[json!(1), json!("old")], [json!(2), json!("new")], [json!(3), json!("new")]]
    );
    double.run(&format!("insert into {schema}.s values (2, 'again')")).unwrap();
    assert!(double.error(&merge).contains("Found multiple matches to update the same tuple."));
    double.run(&format!("create view {schema}.v as select id, a from {schema}.t")).unwrap();
    assert!(
        double
            .error(&merge.replace(&format!("using {schema}.s s"), &format!("using {schema}.v s")))
            .contains("cannot reference target table")
    );
    double.run(&format!("delete from {schema}.s where a = 'again'")).unwrap();
    double.run(&format!("insert into {schema}.t values (3, 'twin')")).unwrap();
    double.run(&format!("merge into {schema}.t using {schema}.s on {schema}.t.id = s.id remove duplicates")).unwrap();
    assert_eq!(
        double.rows(&format!("select id, a from {schema}.t order by id")),
        [[json!(1), json!("old")], [json!(2), json!("new")], [json!(3), json!("new")]]
    );
}

#[test]
fn views_bind_or_do_not() {
    let double = double();
    let schema = schema(double);
    double.run(&format!("create table {schema}.t (id int, a varchar(5))")).unwrap();
    double.run(&format!("create view {schema}.bound as select id, a from {schema}.t")).unwrap();
    assert!(
        double
            .error(&format!("create or replace view {schema}.bound as select id, a, 1 as b from {schema}.t"))
            .contains("cannot change the columns of a view")
    );
    assert!(
        double
            .error(&format!("create or replace view {schema}.bound as select id, a::varchar(9) as a from {schema}.t"))
            .contains("cannot change")
    );
    double.run(&format!("create or replace view {schema}.bound as select id, a from {schema}.t where id > 0")).unwrap();
    assert!(double.error(&format!("alter table {schema}.t drop column a")).contains("other objects depend on it"));
    assert!(double.error(&format!("drop table {schema}.t")).contains("other objects depend on it"));

    double.run(&format!("create view {schema}.late as select id, a from {schema}.later with no schema binding")).unwrap();
    assert!(double.error(&format!("select * from {schema}.late")).contains("does not exist"));
    double.run(&format!("create table {schema}.later as select 1 as id, 'x'::varchar(3) as a")).unwrap();
    assert_eq!(
        double.rows(&format!("select l.id, late.a from {schema}.late l join {schema}.late on late.id = l.id")),
        [[json!(1), json!("x")]]
    );
    double.run(&format!("drop table {schema}.later")).unwrap();
    assert_eq!(double.value(&format!("select table_type from svv_tables where table_schema = '{schema}' and table_name = 'late'")), "VIEW");
    double.run(&format!("drop view {schema}.late")).unwrap();
}

#[test]
fn a_column_takes_the_place_of_another_one() {
    let double = double();
    let schema = schema(double);
    double.run(&format!("create table {schema}.t (id int, a bigint not null)")).unwrap();
    double.run(&format!("insert into {schema}.t values (1, 7)")).unwrap();
    for statement in ["add column b bigint", "drop column a", "rename column b to a"] {
        if statement.starts_with("drop") {
            double.run(&format!("update {schema}.t set b = a")).unwrap();
        }
        double.run(&format!("alter table {schema}.t {statement}")).unwrap();
    }
    double.run(&format!("insert into {schema}.t values (2, null)")).unwrap();
    assert_eq!(double.rows(&format!("select id, a from {schema}.t order by id")), [[json!(1), json!(7)], [json!(2), json!(null)]]);
}

#[test]
fn columns_are_added_and_widened() {
    let double = double();
    let schema = schema(double);
    double
        .run(&format!(
            "create table {schema}.t (a varchar(5) encode text255, b varchar(5), c varchar(5) default 'x', k varchar(5) unique, n int)"
        ))
        .unwrap();
    double.run(&format!("insert into {schema}.t (b) values ('12345')")).unwrap();
    double.run(&format!("alter table {schema}.t add column later decimal(10,2) default 1.5")).unwrap();
    double.run(&format!("alter table {schema}.t alter column b type varchar(20)")).unwrap();
    double.run(&format!("insert into {schema}.t (b) values ('1234567890')")).unwrap();
    assert_eq!(
        double.value(&format!("select character_maximum_length from svv_columns where table_schema = '{schema}' and column_name = 'b'")),
        20
    );
    for (column, bytes, what) in
        [("a", 20, "TEXT255"), ("b", 9, "existing"), ("c", 20, "default"), ("k", 20, "UNIQUE"), ("n", 20, "VARCHAR")]
    {
        assert!(double.error(&format!("alter table {schema}.t alter column {column} type varchar({bytes})")).contains(what), "{column}");
    }
    let described = double.batch(&[&format!("alter table {schema}.t alter column b type varchar(30)")]);
    assert!(described["Error"].as_str().unwrap().contains("cannot run inside a transaction block"));
}

#[test]
fn truncate_commits_what_was_before_it() {
    let double = double();
    let schema = schema(double);
    double.run(&format!("create table {schema}.t (a int)")).unwrap();
    double.run(&format!("create table {schema}.log (a int)")).unwrap();
    double.run(&format!("insert into {schema}.t values (1)")).unwrap();
    let described = double.batch(&[
        &format!("insert into {schema}.log values (1)"),
        &format!("truncate {schema}.t"),
        &format!("insert into {schema}.log values (2)"),
        "select 1/0",
    ]);
    assert_eq!(described["Status"], "FAILED");
    assert_eq!(double.rows(&format!("select a from {schema}.log")), [[json!(1)]], "before the TRUNCATE is committed, after it is not");
    assert_eq!(double.value(&format!("select count(*) from {schema}.t")), 0);
}

#[test]
fn attributes_are_in_the_system_views() {
    let double = double();
    let schema = schema(double);
    double.run(&format!("create table {schema}.t (id bigint encode az64 distkey, at timestamp sortkey, v varchar(44))")).unwrap();
    double.run(&format!("insert into {schema}.t (id) values (1)")).unwrap();
    assert_eq!(
        double.rows(&format!("select diststyle, sortkey1, max_varchar, tbl_rows from svv_table_info where \"schema\" = '{schema}'")),
        [[json!("KEY(id)"), json!("at"), json!(44), json!("1")]]
    );
    double.run(&format!("alter table {schema}.t alter sortkey (id)")).unwrap();
    double.run(&format!("alter table {schema}.t alter diststyle all")).unwrap();
    assert_eq!(
        double.rows(&format!("select diststyle, sortkey1 from pg_catalog.svv_table_info where \"schema\" = '{schema}'")),
        [[json!("ALL"), json!("id")]]
    );
    let types: Vec<Vec<Value>> = double.rows(&format!(
        "select column_name, data_type, is_nullable from svv_columns where table_schema = '{schema}' order by ordinal_position"
    ));
    assert_eq!(types[2], [json!("v"), json!("character varying"), json!("YES")]);
    double.run(&format!("comment on table {schema}.t is 'orders by day'")).unwrap();
    assert_eq!(double.value(&format!("select remarks from svv_tables where table_schema = '{schema}'")), "orders by day");
}

#[test]
fn writers_of_one_table_wait_and_a_lock_is_held_before_the_snapshot() {
    let double = double();
    let schema = schema(double);
    double.run(&format!("create table {schema}.ledger (load_id int)")).unwrap();
    let statements = |load: i32| {
        json!([
            format!("lock {schema}.ledger"),
            format!("insert into {schema}.ledger select {load} where not exists (select 1 from {schema}.ledger where load_id = {load})"),
            "select count(*) from pg_class a, pg_class b",
        ])
    };
    let ids: Vec<Value> =
        (0..6).map(|number| double.ok("BatchExecuteStatement", &target(json!({ "Sqls": statements(number % 2) })))["Id"].clone()).collect();
    for id in &ids {
        assert_eq!(double.ended(id)["Status"], "FINISHED", "a batch that waited for its lock sees what was committed meanwhile");
    }
    assert_eq!(double.rows(&format!("select load_id from {schema}.ledger order by 1")), [[json!(0)], [json!(1)]]);
}

#[test]
fn a_concurrent_change_is_a_serialization_conflict() {
    let double = double();
    let schema = schema(double);
    double.run(&format!("create table {schema}.t (a int)")).unwrap();
    double.run(&format!("insert into {schema}.t values (1)")).unwrap();
    let open = double.ok("ExecuteStatement", &target(json!({ "Sql": "begin", "SessionKeepAliveSeconds": 60, "WaitTimeSeconds": 30 })));
    let session = open["SessionId"].clone();
    let run = |sql: &str| double.ended(&double.ok("ExecuteStatement", &json!({ "Sql": sql, "SessionId": session }))["Id"]);
    run(&format!("select * from {schema}.t"));
    double.run(&format!("update {schema}.t set a = 2")).unwrap();
    let described = run(&format!("update {schema}.t set a = 3"));
    assert!(described["Error"].as_str().unwrap().starts_with("ERROR: 1023"), "{described}");
}

#[test]
fn long_queries_are_cancelled() {
    let double = double();
    let id = double.ok(
        "ExecuteStatement",
        &target(json!({ "Sql": "select count(*) from pg_class a, pg_class b, pg_class c, pg_class d, pg_class e" })),
    )["Id"]
        .clone();
    std::thread::sleep(Duration::from_millis(300));
    let started = Instant::now();
    double.ok("CancelStatement", &json!({ "Id": id }));
    assert_eq!(double.ended(&id)["Status"], "ABORTED");
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn roles_grants_and_maintenance() {
    let double = double();
    let schema = schema(double);
    double.run(&format!("create table {schema}.t (a int)")).unwrap();
    double.run(&format!("create role reader_{schema}")).unwrap();
    double.run(&format!("grant usage on schema {schema} to role reader_{schema}")).unwrap();
    double.run(&format!("grant select on all tables in schema {schema} to role reader_{schema}")).unwrap();
    double.run(&format!("alter default privileges in schema {schema} grant select on tables to role reader_{schema}")).unwrap();
    assert_eq!(double.value(&format!("select has_table_privilege('reader_{schema}', '{schema}.t', 'select')")), true);
    double.run(&format!("analyze {schema}.t")).unwrap();
    double.run(&format!("vacuum full {schema}.t to 99 percent")).unwrap();
    assert_eq!(
        double
            .value(&format!("select count(*) from sys_query_history where query_text like 'vacuum full {schema}%' and status = 'success'")),
        1
    );
}
