//! What decoding promises, over texts as servers send them.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Date32Type, Decimal128Type, Float32Type, Float64Type, Int64Type, TimestampMicrosecondType};
use pipeline_core::contract::{Contract, Privacy, parse_column};
use pipeline_core::name::{ColumnName, TableName};
use pipeline_core::privacy::PrivacyKey;

use super::Value;
use crate::bson::{Decoder, Misfit};

fn contract(columns: &[(&str, &str)]) -> Contract {
    let columns =
        columns.iter().map(|(name, text)| parse_column(&ColumnName::new(name).unwrap(), text, &|name| name.to_owned()).unwrap()).collect();
    let table = TableName::new("audit", "audit_events").unwrap();
    Contract { table, columns, key: Vec::new(), cursor: None, description: String::new() }
}

fn append(decoder: &mut Decoder, text: &str) -> Result<(), Box<Misfit>> {
    super::append(decoder, Value::checked(text.as_bytes()).unwrap(), &[("_id", Value::checked(br#""e-1""#).unwrap())])
}

fn decode(columns: &[(&str, &str)], rows: &[&str]) -> Result<RecordBatch, Box<Misfit>> {
    let mut decoder = Decoder::new(&contract(columns), Some(&PrivacyKey::new(b"key"))).unwrap();
    for row in rows {
        append(&mut decoder, row)?;
    }
    Ok(decoder.finish().unwrap())
}

fn misfit(declared: &str, value: &str) -> String {
    let misfit = decode(&[("c", declared)], &[&format!("{{\"c\":{value}}}")]).unwrap_err();
    assert_eq!(misfit.column, "c");
    misfit.reason
}

#[test]
fn an_event_becomes_a_row() {
    let columns = [
        ("event_id", "text not null from _id"),
        ("at", "timestamp not null from @timestamp"),
        ("actor", "text"),
        ("duration_ms", "bigint from durationMs"),
        ("status", "int from http.status"),
        ("tags", "list<text>"),
        ("steps", "list<struct<name text not null, took decimal(9,3)>>"),
        ("latitude", "double from place.1"),
        ("request", "json"),
        ("_extra", "json"),
    ];
    let rows = [
        r#"{"@timestamp":"2025-03-30T06:00:00.123+02:00","actor":"Zo\u00eb \"Z\"","durationMs":12,"http":{"status":200,"method":"GET"},
            "tags":["a",null,"b"],"steps":[{"name":"x","took":1.250},{"name":"y","more":[1, 2]}],"place":[21.0,52.25],"request":{"a" : [1, {}]},"new":1.50}"#,
        r#"{"@timestamp":1743307200123,"actor":null,"http.status":404,"tags":[],"durationMs":1,"durationMs":-7e0}"#,
    ];
    let batch = decode(&columns, &rows).unwrap();
    let text = |column: usize, row: usize| {
        let column = batch.column(column).as_string::<i32>();
        column.is_valid(row).then(|| column.value(row).to_owned())
    };
    assert_eq!((text(0, 0).as_deref(), text(2, 0).as_deref(), text(2, 1)), (Some("e-1"), Some("Zoë \"Z\""), None));
    let at = batch.column(1).as_primitive::<TimestampMicrosecondType>();
    assert_eq!((at.value(0), at.value(1)), (1_743_307_200_123_000, 1_743_307_200_123_000));
    assert_eq!(batch.column(3).as_primitive::<Int64Type>().values().to_vec(), [12, -7]);
    assert_eq!(batch.column(4).as_primitive::<arrow::datatypes::Int32Type>().values().to_vec(), [200, 404]);
    let tags = batch.column(5).as_list::<i32>();
    assert_eq!((tags.value_length(0), tags.value_length(1), tags.value(0).is_null(1)), (3, 0, true));
    let steps = batch.column(6).as_list::<i32>().value(0);
    let took = steps.as_struct().column(1).as_primitive::<Decimal128Type>();
    assert_eq!((took.value(0), took.is_null(1)), (1_250, true));
    assert_eq!(batch.column(7).as_primitive::<Float64Type>().value(0).to_bits(), 52.25_f64.to_bits());
    assert_eq!(text(8, 0).as_deref(), Some(r#"{"a":[1,{}]}"#));
    let extra: serde_json::Value = serde_json::from_str(&text(9, 0).unwrap()).unwrap();
    assert_eq!(
        extra,
        serde_json::json!({"http.method": "GET", "steps.1.more": [1, 2], "place.0": serde_json::from_str::<serde_json::Value>("21.0").unwrap(), "new": serde_json::from_str::<serde_json::Value>("1.50").unwrap()})
    );
    assert_eq!(text(9, 1), None);
}

#[test]
fn numbers_are_exact_or_misfits() {
    let batch = decode(
        &[("m", "decimal(18,2)"), ("w", "decimal(50,10)"), ("d", "double"), ("f", "real"), ("i", "bigint"), ("day", "date")],
        &[
            r#"{"m":1234567890123456.78,"w":1e30,"d":0.1,"f":0.1,"i":9223372036854775807,"day":"2025-03-30"}"#,
            r#"{"m":-0.10,"w":0,"d":-1.5E-300,"f":3,"i":-9223372036854775808.000,"day":0}"#,
        ],
    )
    .unwrap();
    assert_eq!(batch.column(0).as_primitive::<Decimal128Type>().values().to_vec(), [123_456_789_012_345_678, -10]);
    assert_eq!(batch.column(2).as_primitive::<Float64Type>().values().to_vec(), [0.1, -1.5e-300]);
    assert_eq!(batch.column(3).as_primitive::<Float32Type>().values().to_vec(), [0.1, 3.0]);
    assert_eq!(batch.column(4).as_primitive::<Int64Type>().values().to_vec(), [i64::MAX, i64::MIN]);
    assert_eq!(batch.column(5).as_primitive::<Date32Type>().values().to_vec(), [20_177, 0]);
    assert_eq!(misfit("decimal(18,2)", "1.005"), "a number has more digits after the point than decimal(18,2)");
    assert_eq!(misfit("bigint", "9223372036854775808"), "a number is out of the range of bigint");
    assert_eq!(misfit("int", "2.5"), "a number has more digits after the point than int");
    assert_eq!(misfit("double", "0.12345678901234567890"), "a number would lose digits as double");
    assert_eq!(misfit("double", "1e999"), "a number is out of the range of double");
    for hostile in ["1e2147483647", "1e-2147483648", "1e99999999999999999999"] {
        assert!(!misfit("decimal(18,2)", hostile).is_empty());
    }
}

#[test]
fn nothing_is_read_out_of_another_kind() {
    assert_eq!(misfit("bigint", "\"12\""), "a string stands where bigint is declared");
    assert_eq!(misfit("text", "12"), "a number stands where text is declared");
    assert_eq!(misfit("boolean", "\"true\""), "a string stands where boolean is declared");
    assert_eq!(misfit("timestamp", "\"yesterday\""), "a string that is no instant stands where timestamp is declared");
    assert_eq!(misfit("date", "\"2025-03-30T01:00Z\""), "a string with a time of day stands where date is declared");
    assert_eq!(misfit("uuid", "\"12\""), "a string that is no UUID stands where uuid is declared");
    assert_eq!(misfit("list<text>", "\"a\""), "a string stands where a list is declared");
    assert_eq!(misfit("text not null", "null"), "a value is missing or NULL, and the column is not null");
}

#[test]
fn a_misfit_leaves_no_trace_and_personal_values_are_hashed() {
    let mut declared = contract(&[("email", "text"), ("n", "int"), ("tags", "list<text>"), ("_extra", "json")]);
    declared.columns[0].privacy = Privacy::Hash;
    let key = PrivacyKey::new(b"key");
    let mut decoder = Decoder::new(&declared, Some(&key)).unwrap();
    append(&mut decoder, r#"{"email":"a@example.com","n":1,"tags":["x"]}"#).unwrap();
    append(&mut decoder, r#"{"email":"b@example.com","tags":["y","z"],"other":1,"n":"no"}"#).unwrap_err();
    append(&mut decoder, r#"{"email":{"secret":1},"n":3}"#).unwrap_err();
    append(&mut decoder, r#"{"n":2}"#).unwrap();
    let batch = decoder.finish().unwrap();
    assert_eq!(batch.num_rows(), 2);
    let email = batch.column(0).as_string::<i32>();
    assert_eq!((email.value(0), email.is_null(1)), (key.hash(b"a@example.com").as_str(), true));
    assert_eq!(batch.column(3).null_count(), 2, "a value of a personal field does not show up elsewhere");
}
