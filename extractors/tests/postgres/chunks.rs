//! The format's frame: chunks cut anywhere, broken files, contracts that do not match.

use std::io::Read;
use std::path::Path;

use arrow::array::AsArray;
use arrow::datatypes::{Decimal128Type, Int64Type};
use pipeline_extractors::postgres::PostgresType;

use super::contracts::{declared, decode, source};
use super::server::{Server, copied};

#[tokio::test]
async fn a_file_reads_the_same_however_it_is_cut() {
    let server = Server::start();
    let mut connection = server.connection().await;
    let contract =
        declared("t", &[("id", "bigint not null"), ("name", "text"), ("amount", "decimal(12,2)"), ("tags", "list<text>")], &["id"], None);
    let columns = source(&[
        ("id", PostgresType::Int8),
        ("name", PostgresType::Text),
        ("amount", PostgresType::Numeric),
        ("tags", PostgresType::Array(Box::new(PostgresType::Text))),
    ]);
    let select = "SELECT NULLIF(i, 5)::bigint, repeat('ż', i::int), i / 4.0, array[i::text, null] FROM generate_series(1, 9) AS i";
    let file = copied(&mut connection, select).await;
    let whole = decode(&contract, &columns, [file.as_slice()]).unwrap();
    assert_eq!((whole.0.num_rows(), whole.1.len()), (8, 1));
    assert_eq!((whole.1[0].position.as_str(), whole.1[0].column.as_str()), ("tuple 5", "id"));
    // What was rejected is the tuple as it stood in the file.
    assert!(file.windows(whole.1[0].raw.len()).any(|bytes| bytes == whole.1[0].raw));
    for cut in 0..=file.len() {
        let (left, right) = file.split_at(cut);
        assert_eq!(decode(&contract, &columns, [left, right]).unwrap(), whole, "cut at {cut}");
    }
    assert_eq!(decode(&contract, &columns, file.chunks(1)).unwrap(), whole);

    for length in 0..file.len() {
        let error = decode(&contract, &columns, [file.get(..length).unwrap()]).unwrap_err();
        assert_eq!(error.code().name, "E-PG-COPY", "{length} bytes: {error}");
    }
    let mut longer = file.clone();
    longer.push(0);
    let mut other = file.clone();
    other[0] = b'X';
    let mut flags = file.clone();
    flags[12] = 1;
    for broken in [longer, other, flags] {
        assert_eq!(decode(&contract, &columns, [broken.as_slice()]).unwrap_err().code().name, "E-PG-COPY");
    }
    let narrower = source(&[
        ("id", PostgresType::Int8),
        ("name", PostgresType::Text),
        ("amount", PostgresType::Numeric),
        ("tags", PostgresType::Text),
        ("one", PostgresType::Text),
    ]);
    let contract = declared("t", &[("id", "bigint")], &[], None);
    let error = decode(&contract, &narrower, [file.as_slice()]).unwrap_err();
    assert!(error.message().contains("another number of columns"), "{error}");
}

#[test]
fn what_could_never_fit_is_refused_before_reading() {
    let columns = source(&[
        ("id", PostgresType::Int8),
        ("at", PostgresType::Timestamp),
        ("odd", PostgresType::Other("hstore".to_owned())),
        ("name", PostgresType::Text),
    ]);
    for (declaration, code, message) in [
        (("id", "date"), "E-PG-TYPE", "column \"id\" of table \"platform.t\" is declared as date, which a bigint cannot be read into"),
        (
            ("at", "timestamp"),
            "E-PG-TYPE",
            "column \"at\" of table \"platform.t\" is declared as timestamp, which a timestamp without time zone cannot be read into",
        ),
        (("odd", "text"), "E-PG-TYPE", "column \"odd\" of table \"platform.t\" is declared as text, which a hstore cannot be read into"),
        (
            ("name", "text not null pii drop"),
            "E-PG-TYPE",
            "column \"name\" of table \"platform.t\" is `not null` and never read (`pii drop`)",
        ),
        (("nam", "text"), "E-PG-COLUMN", "column \"nam\" of table \"platform.t\" is read from \"nam\", which the source does not have"),
        (
            ("x", "double from name.x"),
            "E-PG-COLUMN",
            "column \"x\" of table \"platform.t\" is read from \"name.x\", which the source does not have",
        ),
    ] {
        let contract = declared("t", &[declaration], &[], None);
        let error = decode(&contract, &columns, []).unwrap_err();
        assert_eq!((error.code().name, error.message()), (code, message));
    }
    let contract = declared("t", &[("nam", "text")], &[], None);
    assert!(decode(&contract, &columns, []).unwrap_err().remedy().contains("\"name\""));
}

#[test]
fn the_demo_payments_are_read_as_the_answers_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("tests/fixtures/demo");
    let mut file = Vec::new();
    flate2::read::MultiGzDecoder::new(std::fs::File::open(folder.join("postgres/payments.transactions.copy.gz")).unwrap())
        .read_to_end(&mut file)
        .unwrap();
    let text = PostgresType::Text;
    let columns = source(&[
        ("id", PostgresType::Int8),
        ("order_id", text.clone()),
        ("customer_id", PostgresType::Uuid),
        ("kind", text.clone()),
        ("status", text.clone()),
        ("method", text.clone()),
        ("provider", text),
        ("amount", PostgresType::Numeric),
        ("fee", PostgresType::Numeric),
        ("currency", PostgresType::Bpchar),
        ("provider_payload", PostgresType::Jsonb),
        ("created_at", PostgresType::TimestampTz),
        ("updated_at", PostgresType::TimestampTz),
    ]);
    let contract = declared(
        "transactions",
        &[
            ("id", "bigint not null"),
            ("order_id", "text(24) not null"),
            ("customer_id", "uuid"),
            ("kind", "text not null"),
            ("status", "text not null"),
            ("method", "text not null"),
            ("provider", "text"),
            ("amount", "decimal(18,2) not null"),
            ("fee", "decimal(18,4) not null"),
            ("currency", "text(3) not null"),
            ("provider_payload", "json"),
            ("created_at", "timestamp not null"),
            ("updated_at", "timestamp not null"),
        ],
        &["id"],
        Some("updated_at"),
    );
    let (batch, rejected) = decode(&contract, &columns, file.chunks(64 << 10)).unwrap();
    assert_eq!(rejected, []);
    let answers: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.join("answers.json")).unwrap()).unwrap();
    let expected = &answers["tables"]["platform.transactions"];
    assert_eq!(Some(batch.num_rows() as u64), expected["rows"].as_u64());
    for (name, scale) in [("amount", 2), ("fee", 4)] {
        let units: i128 = batch.column_by_name(name).unwrap().as_primitive::<Decimal128Type>().values().iter().sum();
        let divisor = 10_i128.pow(scale);
        let sum = format!("{}.{:0width$}", units / divisor, units % divisor, width = scale as usize);
        assert_eq!(Some(sum.as_str()), expected["sums"][name].as_str(), "{name}");
    }
    assert!(batch.column(0).as_primitive::<Int64Type>().values().iter().all(|id| *id > 0));
    assert!(batch.column(9).as_string::<i32>().iter().all(|currency| currency.is_some_and(|currency| currency.len() == 3)));
}
