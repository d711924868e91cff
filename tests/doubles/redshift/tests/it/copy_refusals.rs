//! Each COPY that Redshift refuses: the statement fails, the table stays empty, and the reason is in the system view.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Array, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array, StringArray, Time64MicrosecondArray,
    TimestampMicrosecondArray, TimestampNanosecondArray, UInt32Array, UInt64Array,
};
use parquet::basic::{Compression, Encoding};
use parquet::file::properties::{WriterProperties, WriterVersion};
use serde_json::json;

use crate::copy::{copy, manifest, parquet, people, put_manifest};
use crate::harness::{BUCKET, FOREIGN_BUCKET, ROLE, double, schema, servers};

/// Loads one column into a column of a type: the statement's error, and the whole text of the reason.
fn refusal(kind: &str, array: ArrayRef, properties: WriterProperties) -> (String, String) {
    let double = double();
    let schema = schema(double);
    double.run(&format!("create table {schema}.t (c {kind})")).unwrap();
    let url = manifest(&schema, &[&parquet(vec![("c", array)], properties)]);
    let described = double.execute(&copy(&format!("{schema}.t"), &url));
    assert_eq!(described["Status"], "FAILED", "{kind} should not take the column");
    assert_eq!(double.value(&format!("select count(*) from {schema}.t")), 0);
    let query = described["RedshiftQueryId"].as_i64().unwrap();
    let reason = double.value(&format!("select trim(error_message) from sys_load_error_detail where query_id = {query}"));
    (described["Error"].as_str().unwrap().to_owned(), reason.as_str().unwrap().to_owned())
}

#[test]
fn types_that_differ_do_not_load() {
    let decimal = |value: i128, precision, scale| -> ArrayRef {
        Arc::new(Decimal128Array::from(vec![value]).with_precision_and_scale(precision, scale).unwrap())
    };
    let cases: Vec<(&str, ArrayRef)> = vec![
        ("integer", Arc::new(Int64Array::from(vec![1]))),
        ("bigint", Arc::new(Int32Array::from(vec![1]))),
        ("smallint", Arc::new(Int32Array::from(vec![1]))),
        ("integer", Arc::new(Int16Array::from(vec![1]))),
        ("bigint", Arc::new(UInt64Array::from(vec![1]))),
        ("bigint", Arc::new(UInt32Array::from(vec![1]))),
        ("integer", Arc::new(UInt32Array::from(vec![1]))),
        ("bigint", decimal(1, 20, 0)),
        ("decimal(10,2)", Arc::new(Float64Array::from(vec![1.0]))),
        ("decimal(10,2)", decimal(1, 10, 3)),
        ("decimal(10,2)", decimal(1, 12, 2)),
        ("decimal(9,2)", decimal(1, 9, 2)),
        ("decimal(18,9)", decimal(1, 29, 9)),
        ("double precision", Arc::new(Float32Array::from(vec![1.0]))),
        ("real", Arc::new(Float64Array::from(vec![1.0]))),
        ("varchar(10)", Arc::new(Int64Array::from(vec![1]))),
        ("date", Arc::new(Int32Array::from(vec![1]))),
        ("date", Arc::new(StringArray::from(vec!["2024-01-01"]))),
        ("timestamp", Arc::new(TimestampNanosecondArray::from(vec![1]))),
        ("timestamptz", Arc::new(TimestampNanosecondArray::from(vec![1]).with_timezone("UTC"))),
        ("timestamp", Arc::new(TimestampMicrosecondArray::from(vec![1]).with_timezone("UTC"))),
        ("timestamptz", Arc::new(TimestampMicrosecondArray::from(vec![1]))),
        ("time", Arc::new(Time64MicrosecondArray::from(vec![1]))),
        ("varbyte(10)", Arc::new(arrow::array::BinaryArray::from(vec![&b"x"[..]]))),
        ("super", Arc::new(StringArray::from(vec!["x"]))),
    ];
    for (kind, array) in cases {
        let (error, reason) = refusal(kind, array, WriterProperties::new());
        assert!(error.contains("  code:      15007\n"), "{kind}: {error}");
        assert!(
            reason.contains("incompatible Parquet schema")
                || reason.contains("invalid type length")
                || reason.contains("does not match the table metadata")
                || reason.contains("SERIALIZETOJSON"),
            "{kind}: {reason}"
        );
    }
}

#[test]
fn the_statements_error_is_cut_and_the_systems_is_whole() {
    let (error, reason) = refusal("bigint", Arc::new(Int32Array::from(vec![1])), WriterProperties::new());
    assert!(error.starts_with("ERROR: Spectrum Scan Error\n  Detail:\n  ---"), "{error}");
    assert!(!error.contains("Column type: BIGINT"));
    assert!(reason.ends_with("Column type: BIGINT, Parquet schema:\noptional int32 c [i:0 d:1 r:0]"), "{reason}");
}

#[test]
fn values_that_do_not_fit_do_not_load() {
    for (kind, array, what) in [
        (
            "varchar(6)",
            Arc::new(StringArray::from(vec!["żółw"])) as ArrayRef,
            "The length of the data column c is longer than the length defined in the table. Table: 6, Data: 7",
        ),
        ("char(4)", Arc::new(StringArray::from(vec!["ż"])), "multibyte"),
        ("bigint not null", Arc::new(Int64Array::from(vec![None])), "Cannot insert a NULL value into column c"),
    ] {
        let (_, reason) = refusal(kind, array, WriterProperties::new());
        assert!(reason.contains(what), "{kind}: {reason}");
    }
}

#[test]
fn only_the_first_version_of_the_format_loads() {
    let numbers = || -> ArrayRef { Arc::new(Int64Array::from((0..1000).collect::<Vec<_>>())) };
    let second = WriterProperties::builder().set_writer_version(WriterVersion::PARQUET_2_0).set_dictionary_enabled(true).build();
    assert!(refusal("bigint", numbers(), second).1.contains("version 2"));
    let delta = WriterProperties::builder().set_dictionary_enabled(false).set_encoding(Encoding::DELTA_BINARY_PACKED).build();
    assert!(refusal("bigint", numbers(), delta).1.contains("unsupported encoding"));
}

#[test]
fn whole_files_that_are_no_parquet_do_not_load() {
    let double = double();
    let schema = schema(double);
    double.run(&format!("create table {schema}.t (id bigint, name varchar(10))")).unwrap();
    let url = manifest(&schema, &[b"id,name\n1,a\n"]);
    let described = double.execute(&copy(&format!("{schema}.t"), &url));
    let reason =
        double.value(&format!("select trim(error_message) from sys_load_error_detail where query_id = {}", described["RedshiftQueryId"]));
    assert!(reason.as_str().unwrap().ends_with("has an invalid version number"), "{reason}");
    // Without MANIFEST the manifest is taken for data.
    assert!(double.error(&format!("copy {schema}.t from '{url}' iam_role default format parquet")).contains("15001"));
    servers().put(&format!("{schema}/whole.parquet.gz"), people(&[1], &["a"]));
    assert!(
        double.error(&format!("copy {schema}.t from 's3://{BUCKET}/{schema}/whole' iam_role default format parquet")).contains("15001")
    );
}

#[test]
fn manifests_must_be_complete_and_true() {
    let double = double();
    let schema = schema(double);
    double.run(&format!("create table {schema}.t (id bigint, name varchar(10))")).unwrap();
    let bytes = people(&[1], &["a"]);
    servers().put(&format!("{schema}/a.parquet"), bytes.clone());
    let url = format!("s3://{BUCKET}/{schema}/a.parquet");
    for (number, (manifest, text)) in [
        (json!({ "entries": [{ "url": url, "mandatory": true }] }), "File entry does not have 'meta' key."),
        (json!({ "entries": [{ "url": url, "mandatory": true, "meta": {} }] }), "File entry does not have 'content_length' key."),
        (json!({ "entries": [{ "url": url, "mandatory": true, "meta": { "content_length": bytes.len() + 1 } }] }), "content_length"),
        (json!({ "entries": [] }), "does not exist"),
        (json!({ "files": [] }), "entries"),
    ]
    .into_iter()
    .enumerate()
    {
        let url = put_manifest(&format!("{schema}/{number}"), &manifest);
        let error = double.error(&copy(&format!("{schema}.t"), &url));
        assert!(error.contains(text), "{manifest}: {error}");
    }
    assert!(
        double.error(&copy(&format!("{schema}.t"), &format!("s3://{BUCKET}/{schema}//double/slash.manifest"))).contains("File not found")
    );
    assert_eq!(double.value(&format!("select count(*) from {schema}.t")), 0);
}

#[test]
fn places_that_cannot_be_read() {
    let double = double();
    let schema = schema(double);
    double.run(&format!("create table {schema}.t (id bigint)")).unwrap();
    let copy = |url: &str, role: &str| double.error(&format!("copy {schema}.t from '{url}' iam_role '{role}' format parquet"));
    assert!(
        copy(&format!("s3://{BUCKET}/{schema}/nothing/here"), ROLE)
            .contains(&format!("The specified S3 prefix '{schema}/nothing/here' does not exist"))
    );
    assert!(copy(&format!("s3://{FOREIGN_BUCKET}/x"), ROLE).contains("PermanentRedirect"));
    assert!(copy("s3://no-such-bucket/x", ROLE).contains("ERROR: "));
    assert!(copy(&format!("s3://{BUCKET}/x"), "arn:aws:iam::111122223333:role/other").contains("is not associated to cluster"));
}

#[test]
fn options_of_other_formats_are_refused() {
    let double = double();
    let schema = schema(double);
    double.run(&format!("create table {schema}.t (id bigint)")).unwrap();
    for (option, name) in [
        ("region 'eu-west-1'", "REGION"),
        ("truncatecolumns", "TRUNCATECOLUMNS"),
        ("maxerror 5", "MAXERROR"),
        ("compupdate off", "COMPUPDATE"),
        ("noload", "NOLOAD"),
        ("gzip", "GZIP"),
    ] {
        let error = double.error(&format!("copy {schema}.t from 's3://{BUCKET}/x' iam_role default format as parquet {option}"));
        assert!(error.starts_with(&format!("ERROR: {name} argument is not supported for PARQUET based COPY")), "{error}");
    }
    assert!(double.error(&format!("copy {schema}.t from 's3://{BUCKET}/x' format as parquet")).contains("IAM_ROLE"));
}

#[test]
fn codecs_that_are_not_listed_are_refused() {
    let mut bytes = parquet(
        vec![("c", Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef)],
        WriterProperties::builder().set_compression(Compression::UNCOMPRESSED).build(),
    );
    // In the footer, the list of one name, "c", then the codec: 0 is none, 14 the zigzag form of LZ4_RAW.
    let codec = [0x19, 0x18, 0x01, b'c', 0x15, 0x00];
    let places: Vec<usize> = (0..bytes.len() - codec.len()).filter(|start| bytes[*start..].starts_with(&codec)).collect();
    let [place] = places.as_slice() else { panic!("the footer has the codec once: {places:?}") };
    bytes[place + codec.len() - 1] = 14;
    let double = double();
    let schema = schema(double);
    double.run(&format!("create table {schema}.t (c bigint)")).unwrap();
    let described = double.execute(&copy(&format!("{schema}.t"), &manifest(&schema, &[&bytes])));
    let reason =
        double.value(&format!("select trim(error_message) from sys_load_error_detail where query_id = {}", described["RedshiftQueryId"]));
    assert!(reason.as_str().unwrap().contains("unsupported compression codec LZ4_RAW"), "{reason}");
    for compression in [Compression::SNAPPY, Compression::GZIP(Default::default()), Compression::ZSTD(Default::default())] {
        let bytes = parquet(
            vec![("c", Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef)],
            WriterProperties::builder().set_compression(compression).build(),
        );
        assert_eq!(double.run(&copy(&format!("{schema}.t"), &manifest(&format!("{schema}/{compression}"), &[&bytes]))).unwrap(), 3);
    }
}
