//! COPY from real Parquet on a real S3 server.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    StructArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use serde_json::{Value, json};

use crate::harness::{BUCKET, ROLE, double, schema, servers};

/// A Parquet file of the given columns.
pub(crate) fn parquet(columns: Vec<(&str, ArrayRef)>, properties: WriterProperties) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

/// Columns `id` and `name`.
pub(crate) fn people(ids: &[i64], names: &[&str]) -> Vec<u8> {
    parquet(
        vec![("id", Arc::new(Int64Array::from(ids.to_vec()))), ("name", Arc::new(StringArray::from(names.to_vec())))],
        WriterProperties::new(),
    )
}

/// Writes files and their manifest. Returns the manifest's URL.
pub(crate) fn manifest(folder: &str, files: &[&[u8]]) -> String {
    let entries: Vec<Value> = files
        .iter()
        .enumerate()
        .map(|(number, bytes)| {
            let key = format!("{folder}/part-{number}.parquet");
            servers().put(&key, bytes.to_vec());
            json!({ "url": format!("s3://{BUCKET}/{key}"), "mandatory": true, "meta": { "content_length": bytes.len() } })
        })
        .collect();
    put_manifest(folder, &json!({ "entries": entries }))
}

pub(crate) fn put_manifest(folder: &str, manifest: &Value) -> String {
    servers().put(&format!("{folder}/load.manifest"), manifest.to_string().into_bytes());
    format!("s3://{BUCKET}/{folder}/load.manifest")
}

pub(crate) fn copy(table: &str, url: &str) -> String {
    format!("copy {table} from '{url}' iam_role '{ROLE}' format as parquet manifest")
}

#[test]
fn every_type_loads_exactly() {
    let double = double();
    let schema = schema(double);
    double
        .run(&format!(
            "create table {schema}.t (b boolean, i integer, l bigint, d decimal(12,2), w decimal(38,9), f double precision, v varchar(20), c char(3), da date, ts timestamp, tz timestamptz, x varbyte)"
        ))
        .unwrap();
    let decimal = |values: Vec<Option<i128>>, precision, scale| -> ArrayRef {
        Arc::new(Decimal128Array::from(values).with_precision_and_scale(precision, scale).unwrap())
    };
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("b", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ("i", Arc::new(Int32Array::from(vec![Some(-7), None]))),
        ("l", Arc::new(Int64Array::from(vec![Some(i64::MAX), None]))),
        ("d", decimal(vec![Some(-123_456), None], 12, 2)),
        ("w", decimal(vec![Some(12_345_678_901_234_567_890_123_456_789), None], 38, 9)),
        ("f", Arc::new(Float64Array::from(vec![Some(0.1), None]))),
        ("v", Arc::new(StringArray::from(vec![Some("żółw, \"x\"\n"), None]))),
        ("c", Arc::new(StringArray::from(vec![Some("PLN"), None]))),
        ("da", Arc::new(Date32Array::from(vec![Some(-1), None]))),
        ("ts", Arc::new(TimestampMicrosecondArray::from(vec![Some(-1), None]))),
        ("tz", Arc::new(TimestampMicrosecondArray::from(vec![Some(1_700_000_000_123_456), None]).with_timezone("UTC"))),
        ("x", Arc::new(BinaryArray::from(vec![Some(&b"\x00\xff"[..]), None]))),
    ];
    let url = manifest(&schema, &[&parquet(columns, WriterProperties::new())]);
    assert_eq!(double.run(&copy(&format!("{schema}.t"), &url)).unwrap(), 2);
    let rows = double.rows(&format!("select * from {schema}.t order by i"));
    assert_eq!(
        rows[0],
        [
            json!(true),
            json!(-7),
            json!(i64::MAX),
            json!("-1234.56"),
            json!("12345678901234567890.123456789"),
            json!(0.1),
            json!("żółw, \"x\"\n"),
            json!("PLN"),
            json!("1969-12-31"),
            json!("1969-12-31 23:59:59.999999"),
            json!("2023-11-14 22:13:20.123456+00"),
            json!("00ff"),
        ]
    );
    assert!(rows[1].iter().all(Value::is_null));
}

#[test]
fn columns_go_by_position_never_by_name() {
    let double = double();
    let schema = schema(double);
    double.run(&format!("create table {schema}.t (name varchar(10), id bigint, n int default 7, note varchar(5))")).unwrap();
    let url = manifest(&schema, &[&people(&[1], &["ann"])]);
    assert!(
        double.error(&copy(&format!("{schema}.t (name, id)"), &url)).contains("15007"),
        "the file's first column is a number, whatever its name"
    );
    double.run(&copy(&format!("{schema}.t (id, name)"), &url)).unwrap();
    assert_eq!(double.rows(&format!("select name, id, n, note from {schema}.t")), [[json!("ann"), json!(1), json!(7), Value::Null]]);
    double.run(&copy(&format!("{schema}.t (id, note)"), &url)).unwrap();
    assert_eq!(double.value(&format!("select count(*) from {schema}.t where note = 'ann'")), 1, "names in the file do not matter");
}

#[test]
fn copy_appends_all_files_and_counts_its_rows() {
    let double = double();
    let schema = schema(double);
    double.run(&format!("create table {schema}.t (id bigint, name varchar(10))")).unwrap();
    let url = manifest(&schema, &[&people(&[1, 2], &["a", "b"]), &people(&[3], &["c"])]);
    let command = copy(&format!("{schema}.t"), &url);
    let described = double.batch(&[&command, "select pg_last_copy_count()", &command]);
    assert_eq!(described["Status"], "FINISHED", "{described}");
    assert_eq!(described["SubStatements"][0]["ResultRows"], 3);
    assert_eq!(double.result(&format!("{}:2", described["Id"].as_str().unwrap())), [[json!(3)]]);
    assert_eq!(double.value(&format!("select count(*) from {schema}.t")), 6, "the same files loaded twice are there twice");
    assert_eq!(
        double.rows(&format!("select status, loaded_rows, source_file_count, error_count from sys_load_history where table_name = '{schema}.t' order by query_id")),
        vec![vec![json!("completed"), json!(3), json!(2), json!(0)]; 2]
    );
}

#[test]
fn copy_into_a_temporary_table_then_delete_and_insert() {
    let double = double();
    let schema = schema(double);
    double.run(&format!("create table {schema}.t (id bigint, name varchar(10))")).unwrap();
    double.run(&format!("insert into {schema}.t values (1, 'old'), (9, 'kept')")).unwrap();
    let url = manifest(&schema, &[&people(&[1, 2], &["new", "new"])]);
    let described = double.batch(&[
        &format!("lock {schema}.t"),
        &format!("create temp table stage (like {schema}.t including defaults)"),
        &copy("stage", &url),
        &format!("delete from {schema}.t using stage where {schema}.t.id = stage.id"),
        &format!("insert into {schema}.t (id, name) select id, name from stage"),
        &format!("select count(*) from {schema}.t"),
    ]);
    assert_eq!(described["Status"], "FINISHED", "{described}");
    assert_eq!(
        double.rows(&format!("select id, name from {schema}.t order by id")),
        [[json!(1), json!("new")], [json!(2), json!("new")], [json!(9), json!("kept")]]
    );
}

#[test]
fn a_failed_copy_rolls_the_whole_batch_back() {
    let double = double();
    let schema = schema(double);
    double.run(&format!("create table {schema}.t (id bigint, name varchar(3))")).unwrap();
    let url = manifest(&schema, &[&people(&[1], &["abc"]), &people(&[2, 3], &["abc", "abcd"])]);
    let described = double.batch(&[&format!("insert into {schema}.t values (7, 'x')"), &copy(&format!("{schema}.t"), &url)]);
    assert_eq!(described["Status"], "FAILED");
    assert_eq!(double.value(&format!("select count(*) from {schema}.t")), 0);
    let query = described["SubStatements"][1]["RedshiftQueryId"].as_i64().unwrap();
    let detail = double.rows(&format!("select trim(file_name), line_number, trim(column_name), trim(column_type), trim(column_length), error_code, trim(error_message) from sys_load_error_detail where query_id = {query}"));
    assert_eq!(
        detail,
        [[
            json!(format!("s3://{BUCKET}/{schema}/part-1.parquet")),
            json!(2),
            json!("name"),
            json!("varchar"),
            json!("3"),
            json!(15001),
            json!("The length of the data column name is longer than the length defined in the table. Table: 3, Data: 4"),
        ]]
    );
    assert_eq!(double.value(&format!("select status from sys_load_history where query_id = {query}")), "aborted");
}

#[test]
fn prefixes_load_every_key_with_that_beginning() {
    let double = double();
    let schema = schema(double);
    double.run(&format!("create table {schema}.t (id bigint, name varchar(10))")).unwrap();
    for key in ["day=1/part-1.parquet", "day=1/part-2.parquet", "day=1/other.parquet"] {
        servers().put(&format!("{schema}/{key}"), people(&[1], &["a"]));
    }
    assert_eq!(
        double.run(&format!("copy {schema}.t from 's3://{BUCKET}/{schema}/day=1/part' iam_role default format parquet")).unwrap(),
        2
    );
    assert_eq!(double.run(&format!("copy {schema}.t from 's3://{BUCKET}/{schema}/day=1' iam_role default format parquet")).unwrap(), 3);
}

#[test]
fn fill_record_and_identity_columns() {
    let double = double();
    let schema = schema(double);
    double.run(&format!("create table {schema}.t (id bigint, name varchar(10), later int, last varchar(5))")).unwrap();
    let url = manifest(&schema, &[&people(&[1], &["a"])]);
    assert!(double.error(&copy(&format!("{schema}.t"), &url)).contains("15007"));
    double.run(&format!("{} fillrecord", copy(&format!("{schema}.t"), &url))).unwrap();
    assert_eq!(double.rows(&format!("select * from {schema}.t")), [[json!(1), json!("a"), Value::Null, Value::Null]]);
    double.run(&format!("create table {schema}.strict (id bigint, name varchar(10), later int not null)")).unwrap();
    assert!(double.error(&format!("{} fillrecord", copy(&format!("{schema}.strict"), &url))).contains("NULL value into column later"));

    double.run(&format!("create table {schema}.i (id bigint identity(10,5), name varchar(10))")).unwrap();
    let names =
        manifest(&format!("{schema}/names"), &[&parquet(vec![("name", Arc::new(StringArray::from(vec!["a"])))], WriterProperties::new())]);
    double.run(&copy(&format!("{schema}.i"), &names)).unwrap();
    assert_eq!(double.rows(&format!("select id, name from {schema}.i")), [[json!(10), json!("a")]]);
    assert!(double.error(&copy(&format!("{schema}.i (id, name)"), &url)).contains("EXPLICIT_IDS"));
    double.run(&format!("{} explicit_ids", copy(&format!("{schema}.i (id, name)"), &url))).unwrap();
    assert!(double.error(&format!("{} explicit_ids", copy(&format!("{schema}.i (name)"), &names))).contains("EXPLICIT_IDS"));
}

#[test]
fn nested_values_load_into_super_only_when_serialized() {
    let double = double();
    let schema = schema(double);
    double.run(&format!("create table {schema}.t (id bigint, doc super)")).unwrap();
    let sku: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
    let item: ArrayRef = Arc::new(StructArray::from(vec![(Arc::new(Field::new("sku", DataType::Utf8, true)), sku)]));
    let id: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let url = manifest(&schema, &[&parquet(vec![("id", Arc::clone(&id)), ("doc", item)], WriterProperties::new())]);
    assert!(double.error(&copy(&format!("{schema}.t"), &url)).contains("SUPER column in COPY query requires SERIALIZETOJSON option"));
    let serialized = |url: &str| format!("copy {schema}.t from '{url}' iam_role default format parquet serializetojson manifest");
    double.run(&serialized(&url)).unwrap();
    let text: ArrayRef = Arc::new(StringArray::from(vec!["{\"sku\":\"b\"}"]));
    let url = manifest(&format!("{schema}/text"), &[&parquet(vec![("id", id), ("doc", text)], WriterProperties::new())]);
    double.run(&serialized(&url)).unwrap();
    assert_eq!(double.rows(&format!("select json_typeof(doc) from {schema}.t order by 1")), [[json!("object")], [json!("string")]]);
}

#[test]
fn missing_files_are_skipped_only_when_not_mandatory() {
    let double = double();
    let schema = schema(double);
    double.run(&format!("create table {schema}.t (id bigint, name varchar(10))")).unwrap();
    let bytes = people(&[1], &["a"]);
    servers().put(&format!("{schema}/a.parquet"), bytes.clone());
    let entry = |name: &str, mandatory: Value| json!({ "url": format!("s3://{BUCKET}/{schema}/{name}"), "mandatory": mandatory, "meta": { "content_length": bytes.len() } });
    let url = put_manifest(&schema, &json!({ "entries": [entry("a.parquet", json!(true)), entry("missing.parquet", json!(false))] }));
    assert_eq!(double.run(&copy(&format!("{schema}.t"), &url)).unwrap(), 1);
    let url = put_manifest(
        &format!("{schema}/2"),
        &json!({ "entries": [entry("a.parquet", json!(true)), entry("missing.parquet", json!(true))] }),
    );
    assert!(double.error(&copy(&format!("{schema}.t"), &url)).contains("File not found"));
    let url = put_manifest(&format!("{schema}/3"), &json!({ "entries": [entry("missing.parquet", json!(false))] }));
    assert!(double.error(&copy(&format!("{schema}.t"), &url)).contains("does not exist"), "COPY ends when no file is found at all");
}
