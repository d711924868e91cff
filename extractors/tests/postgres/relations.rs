//! Everything that can be selected from: partitions, views, odd names, types that only the server can print.

use arrow::array::{Array, AsArray};
use arrow::util::display::array_value_to_string;
use pipeline_core::quarantine::Quarantine;
use sqlx::AssertSqlSafe;

use super::conformance::{everything, holds, keys, read_plan};
use super::contracts::{connected, connected_as, declared, opened, options};
use super::server::{PASSWORD, Server, execute};
use pipeline_extractors::postgres::{PostgresOptions, PostgresSource};

#[tokio::test]
async fn partitioned_tables_are_read_by_partition_and_views_as_they_are() {
    let server = Server::start();
    let mut connection = server.connection().await;
    execute(
        &mut connection,
        "CREATE TABLE p (id int, day date) PARTITION BY RANGE (day);
         CREATE TABLE p1 PARTITION OF p FOR VALUES FROM ('2025-01-01') TO ('2025-02-01');
         CREATE TABLE p2 (day date, gone text, id int);
         ALTER TABLE p2 DROP COLUMN gone;
         ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM ('2025-02-01') TO ('2025-03-01');
         CREATE TABLE p3 PARTITION OF p FOR VALUES FROM ('2025-03-01') TO ('2026-01-01') PARTITION BY LIST (id);
         CREATE TABLE p31 PARTITION OF p3 DEFAULT;
         INSERT INTO p SELECT i, date '2025-01-01' + i % 100 FROM generate_series(1, 5000) AS i;
         CREATE VIEW v AS SELECT id, day FROM p WHERE id <= 4000;
         CREATE MATERIALIZED VIEW m AS SELECT * FROM v;
         CREATE TABLE parent (id int); CREATE TABLE child (more text) INHERITS (parent);
         INSERT INTO parent SELECT generate_series(1, 10); INSERT INTO child SELECT generate_series(11, 30), 'x';
         ANALYZE",
    )
    .await;
    let source = connected(&server, "pipeline").await;
    let contract = |table: &str| declared(table, &[("key", "text not null from id")], &["key"], None);
    for (relation, rows) in [("p", 5_000), ("v", 4_000), ("m", 4_000), ("parent", 30)] {
        let table = opened(&source, relation, contract(relation));
        let plan = table.plan(&everything(), None).await.unwrap();
        assert_eq!(plan.rows_estimated, (relation != "v").then_some(rows as u64), "{relation}");
        holds(&*table, rows, 1).await;
    }
}

#[tokio::test]
async fn foreign_tables_are_read_from_where_they_are() {
    let server = Server::start();
    let mut connection = server.connection().await;
    let port = server.port();
    execute(
        &mut connection,
        &format!(
            "CREATE TABLE there (id int, at timestamptz); INSERT INTO there SELECT i, timestamptz '2025-01-01' + i * interval '1 hour' FROM generate_series(1, 3000) AS i;
             CREATE EXTENSION postgres_fdw;
             CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '{port}', dbname 'postgres');
             CREATE USER MAPPING FOR CURRENT_USER SERVER far OPTIONS (user 'owner', password '{PASSWORD}');
             CREATE FOREIGN TABLE here (id int, at timestamptz) SERVER far OPTIONS (table_name 'there')"
        ),
    )
    .await;
    let source = connected(&server, "pipeline").await;
    let contract = declared("here", &[("key", "text not null from id"), ("at", "timestamp")], &["key"], Some("at"));
    holds(&*opened(&source, "here", contract), 3_000, 1).await;
}

#[tokio::test]
async fn a_field_may_be_as_large_as_the_server_stores_it() {
    const BYTES: usize = 200_000_000;
    let server = Server::start();
    let mut connection = server.connection().await;
    execute(&mut connection, "CREATE TABLE large (id int, words text, raw bytea)").await;
    execute(
        &mut connection,
        &format!("INSERT INTO large SELECT 1, repeat('ż', {}), NULL; INSERT INTO large VALUES (2, 'x', NULL)", BYTES / 2),
    )
    .await;
    execute(&mut connection, &format!("INSERT INTO large SELECT 3, NULL, convert_to(repeat('y', {BYTES}), 'UTF8')")).await;
    let source = connected(&server, "pipeline").await;
    let contract = declared("large", &[("key", "text not null from id"), ("words", "text"), ("raw", "bytes")], &["key"], None);
    let table = opened(&source, "large", contract);
    let plan = table.plan(&everything(), None).await.unwrap();
    let batch = read_plan(&*table, &plan, &Quarantine::new()).await.unwrap();
    assert_eq!(keys(&batch), ["1", "2", "3"]);
    let (words, raw) = (batch.column(1).as_string::<i32>(), batch.column(2).as_binary::<i32>());
    assert_eq!((words.value(0).len(), words.value(1), raw.value(2).len()), (BYTES, "x", BYTES));
    assert!(words.value(0).chars().all(|character| character == 'ż') && raw.value(2).iter().all(|byte| *byte == b'y'));
}

#[tokio::test]
async fn a_role_that_may_read_only_the_whole_reads_all_of_it() {
    let server = Server::start();
    let mut connection = server.connection().await;
    execute(
        &mut connection,
        "CREATE ROLE reader LOGIN PASSWORD 'reads';
         CREATE TABLE p (id int, owner text) PARTITION BY HASH (id);
         CREATE TABLE p0 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 0);
         CREATE TABLE p1 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 1);
         INSERT INTO p SELECT i, CASE WHEN i % 2 = 0 THEN 'reader' ELSE 'other' END FROM generate_series(1, 3000) AS i;
         GRANT SELECT ON p TO reader;
         CREATE TABLE few (id int, secret text); INSERT INTO few VALUES (1, 'x'); GRANT SELECT (id) ON few TO reader",
    )
    .await;
    let mut options = options(&server, "pipeline");
    options.url = server.url_of("reader", "reads");
    let source = PostgresSource::connect(&options).await.unwrap();
    let contract = |table: &str| declared(table, &[("key", "text not null from id")], &["key"], None);
    holds(&*opened(&source, "p", contract("p")), 3_000, 1).await;
    holds(&*opened(&source, "few", contract("few")), 1, 1).await;
    // Policies of the whole count, although the partitions have none.
    execute(
        &mut connection,
        "ALTER TABLE p ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON p USING (owner = current_user); GRANT SELECT ON p0, p1 TO reader",
    )
    .await;
    holds(&*opened(&source, "p", contract("p")), 1_500, 1).await;
}

#[tokio::test]
async fn odd_names_and_types_are_read() {
    let server = Server::start();
    let mut connection = server.connection().await;
    execute(
        &mut connection,
        "CREATE SCHEMA \"Mixed.Case\";
         CREATE DOMAIN positive AS int CHECK (VALUE > 0); CREATE DOMAIN very_positive AS positive;
         CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TYPE place AS (city text, \"at\" point, search tsvector); CREATE TYPE pair AS (a int, b mood[]);
         CREATE TABLE \"Mixed.Case\".\"Or\"\"ders\" (
           \"Select\" int, \"a.b\" text, count very_positive, mood mood, place place, pair pair, pairs pair[], search tsvector, doc xml, price money,
           searches tsvector[], twice int GENERATED ALWAYS AS (\"Select\" * 2) STORED, hidden text);
         INSERT INTO \"Mixed.Case\".\"Or\"\"ders\" VALUES (1, 'dotted', 3, 'ok', row('Łódź', point(1.5, 2), 'x'), row(1, '{sad,ok}'), array[row(2, null)::pair],
           'fat cat', '<a>b</a>', 12.30, array['x y'::tsvector, null], DEFAULT, 'h')",
    )
    .await;
    let contract = declared(
        "odd",
        &[
            ("key", "text not null from Select"),
            ("dotted", "text from a.b"),
            ("count", "int"),
            ("mood", "text"),
            ("place", "json"),
            ("pair", "struct<a int, b list<text>>"),
            ("second", "json from pair.b"),
            ("pairs", "list<struct<a bigint, b list<text>>>"),
            ("search", "text"),
            ("doc", "text"),
            ("price", "decimal(10,2)"),
            ("searches", "list<text>"),
            ("twice", "int"),
            ("hidden", "text pii drop"),
            ("gone", "text pii drop"),
            ("_extra", "json"),
        ],
        &["key"],
        None,
    );
    let source = connected(&server, "pipeline").await;
    let table = opened(&source, "\"Mixed.Case\".\"Or\"\"ders\"", contract);
    let plan = table.plan(&everything(), None).await.unwrap();
    assert!(!plan.statement.contains("hidden"), "what is dropped is never read: {}", plan.statement);
    let batch = read_plan(&*table, &plan, &Quarantine::new()).await.unwrap();
    let shown: Vec<String> = (0..batch.num_columns()).map(|column| array_value_to_string(batch.column(column), 0).unwrap()).collect();
    assert_eq!(
        shown,
        [
            "1",
            "dotted",
            "3",
            "ok",
            "{\"at\": \"(1.5,2)\", \"city\": \"Łódź\", \"search\": \"'x'\"}",
            "{a: 1, b: [sad, ok]}",
            "[\"sad\", \"ok\"]",
            "[{a: 2, b: }]",
            "'cat' 'fat'",
            "<a>b</a>",
            "12.30",
            "['x' 'y', ]",
            "2",
            "",
            "",
            "",
        ]
    );
    assert_eq!(keys(&batch), ["1"]);
}

#[tokio::test]
async fn the_demo_database_is_read_with_the_default_columns() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("tests/fixtures/demo/postgres");
    let server = Server::start();
    let mut connection = server.connection().await;
    execute(&mut connection, &std::fs::read_to_string(folder.join("schema.sql")).unwrap()).await;
    for name in ["delivery.deliveries", "admin.customers"] {
        let mut bytes = Vec::new();
        let file = std::fs::File::open(folder.join(format!("{name}.copy.gz"))).unwrap();
        std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(file), &mut bytes).unwrap();
        let statement = format!("COPY {name} FROM STDIN (FORMAT binary)");
        let mut copy = connection.copy_in_raw(&statement).await.unwrap();
        copy.send(bytes).await.unwrap();
        copy.finish().await.unwrap();
    }
    let source = connected(&server, "pipeline").await;
    let deliveries = declared(
        "deliveries",
        &[
            ("key", "text not null from id"),
            ("order_id", "text"),
            ("store_id", "int"),
            ("courier_id", "int"),
            ("status", "text"),
            ("assigned_at", "timestamp"),
            ("distance_m", "int"),
            ("dropoff_longitude", "double from dropoff.x"),
            ("dropoff_latitude", "double from dropoff.y"),
            ("cost", "decimal(18,2)"),
            ("updated_at", "timestamp"),
        ],
        &["key"],
        Some("updated_at"),
    );
    let customers = declared(
        "customers",
        &[
            ("key", "text not null from id"),
            ("email", "text pii hash"),
            ("birth_date", "date"),
            ("marketing_opt_in", "boolean"),
            ("tags", "list<text>"),
            ("updated_at", "timestamp"),
        ],
        &["key"],
        Some("updated_at"),
    );
    let count = |table: &'static str| sqlx::query_scalar::<_, i64>(AssertSqlSafe(format!("SELECT count(*) FROM {table}")));
    for (relation, contract) in [("delivery.deliveries", deliveries), ("admin.customers", customers)] {
        let rows = count(relation).fetch_one(&mut connection).await.unwrap();
        let table = opened(&source, relation, contract);
        holds(&*table, usize::try_from(rows).unwrap(), 1).await;
        let plan = table.plan(&everything(), None).await.unwrap();
        let batch = read_plan(&*table, &plan, &Quarantine::new()).await.unwrap();
        if relation == "admin.customers" {
            let hashed = batch.column(1).as_string::<i32>();
            assert!(hashed.iter().flatten().all(|email| email.len() == 64) && hashed.null_count() < hashed.len());
        }
    }
}

#[tokio::test]
async fn enumerated_values_travel_as_numbers_where_the_server_lets_them() {
    let server = Server::start();
    let mut connection = server.connection().await;
    let many: Vec<String> = (0..200).map(|number| format!("'label {number}'")).collect();
    execute(
        &mut connection,
        &format!(
            "CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}'; CREATE SCHEMA closed;
             CREATE TYPE mood AS ENUM ('sad', 'it''s ok', 'żółty'); CREATE TYPE closed.kind AS ENUM ('a', 'b');
             CREATE TYPE many AS ENUM ({});
             CREATE DOMAIN good AS mood CHECK (VALUE <> 'sad');
             CREATE TABLE t (id mood, mood mood, moods mood[], good good, kind closed.kind, many many, hashed mood, amount numeric);
             INSERT INTO t VALUES ('sad', NULL, '{{sad,NULL}}', 'żółty', 'b', 'label 17', 'sad', 1), ('żółty', 'it''s ok', NULL, NULL, 'a', 'label 199', NULL, 2),
               ('it''s ok', 'żółty', NULL, NULL, NULL, NULL, 'sad', 0.001);
             CREATE TABLE plain AS SELECT 1 AS id, 'sad'::text AS word;
             GRANT SELECT ON t, plain TO reader",
            many.join(", ")
        ),
    )
    .await;
    let columns = [
        ("key", "text not null from id"),
        ("mood", "text"),
        ("moods", "list<text>"),
        ("good", "text"),
        ("kind", "text"),
        ("many", "json"),
        ("hashed", "text pii hash"),
        ("amount", "decimal(10,2)"),
    ];
    let source = connected_as(&server, "reader").await;
    let table = opened(&source, "t", declared("t", &columns, &["key"], None));
    let plan = table.plan(&everything(), None).await.unwrap();
    let selected = plan.statement.split(" FROM ").next().unwrap();
    assert_eq!(
        selected,
        "SELECT \"id\", pg_catalog.hashenum(\"mood\"), \"moods\", \"good\", \"kind\", pg_catalog.hashenum(\"many\"), pg_catalog.hashenum(\"hashed\"), \"amount\"",
        "a key, a list, a domain and a type in a closed schema keep their own form"
    );
    let quarantine = Quarantine::new();
    let batch = read_plan(&*table, &plan, &quarantine).await.unwrap();
    assert_eq!(keys(&batch), ["sad", "żółty"]);
    let shown = |row: usize| -> Vec<String> {
        let values = batch.columns().iter().take(6);
        values.map(|column| array_value_to_string(column, row).unwrap()).collect()
    };
    assert_eq!(shown(0), ["sad", "", "[sad, ]", "żółty", "b", "\"label 17\""]);
    assert_eq!(shown(1), ["żółty", "it's ok", "", "", "a", "\"label 199\""]);
    let plain = declared("plain", &[("id", "text not null"), ("word", "text pii hash")], &["id"], None);
    let table = opened(&source, "plain", plain);
    let words = read_plan(&*table, &table.plan(&everything(), None).await.unwrap(), &Quarantine::new()).await.unwrap();
    assert_eq!(array_value_to_string(batch.column(6), 0).unwrap(), array_value_to_string(words.column(1), 0).unwrap());
    let rejected = quarantine.drain();
    let [row] = &*rejected else { panic!("one row does not fit: {rejected:?}") };
    assert_eq!(row.position, "{\"key\":\"it's ok\"}".replace("key", "id"));
    assert!(row.raw.windows("żółty".len()).any(|bytes| bytes == "żółty".as_bytes()), "it is kept with its labels");
}

#[tokio::test]
async fn a_label_that_is_new_is_read_by_the_next_plan() {
    let server = Server::start();
    let mut connection = server.connection().await;
    execute(&mut connection, "CREATE TYPE mood AS ENUM ('sad'); CREATE TABLE t (id int, mood mood); INSERT INTO t VALUES (1, 'sad')").await;
    let options = PostgresOptions { consistent_snapshot: false, ..options(&server, "pipeline") };
    let source = PostgresSource::connect(&options).await.unwrap();
    let table = opened(&source, "t", declared("t", &[("key", "text not null from id"), ("mood", "text")], &["key"], None));
    let plan = table.plan(&everything(), None).await.unwrap();
    execute(&mut connection, "ALTER TYPE mood ADD VALUE 'new'").await;
    execute(&mut connection, "INSERT INTO t VALUES (2, 'new')").await;
    let error = read_plan(&*table, &plan, &Quarantine::new()).await.unwrap_err();
    assert_eq!(error.code().name, "E-PG-LOST");
    assert!(error.message().contains("new label"), "{error}");
    let plan = table.plan(&everything(), None).await.unwrap();
    let batch = read_plan(&*table, &plan, &Quarantine::new()).await.unwrap();
    assert_eq!(keys(&batch), ["1", "2"]);
}
