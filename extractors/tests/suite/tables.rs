//! The demo's PostgreSQL tables as COPY files, read as the example's pipelines read them.

use std::path::{Path, PathBuf};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Decimal128Type, Int32Type, TimestampMicrosecondType};
use pipeline_core::contract::{Contract, parse_column};
use pipeline_core::error::Result;
use pipeline_core::extract::{Cursor, Extractor, Request};
use pipeline_core::name::{ColumnName, TableName};
use pipeline_core::privacy::PrivacyKey;
use pipeline_core::quarantine::Quarantine;
use pipeline_core::window::{Timestamp, Window};
use pipeline_extractors::files::{FilesOptions, TableOptions, open};

use super::conformance::{everything, read_plan};

const TIME: &str = "timestamp";

/// Tables with the relations they are dumps of, their cursors and their columns.
type Table = (&'static str, &'static str, &'static str, &'static [(&'static str, &'static str)]);

const TABLES: &[Table] = &[
    (
        "couriers",
        "delivery.couriers",
        "updated_at",
        &[
            ("id", "int not null"),
            ("name", "text"),
            ("vehicle", "text"),
            ("home_store_id", "int"),
            ("active", "boolean"),
            ("updated_at", TIME),
        ],
    ),
    (
        "customers",
        "admin.customers",
        "updated_at",
        &[
            ("customer_id", "uuid not null from id"),
            ("email", "text pii hash"),
            ("phone", "text pii mask"),
            ("first_name", "text pii drop"),
            ("birth_date", "date"),
            ("marketing_opt_in", "boolean not null"),
            ("tags", "json"),
            ("updated_at", TIME),
            ("deleted_at", TIME),
        ],
    ),
    (
        "deliveries",
        "delivery.deliveries",
        "updated_at",
        &[
            ("delivery_id", "bigint not null from id"),
            ("order_id", "text not null"),
            ("status", "text"),
            ("assigned_at", TIME),
            ("distance_m", "int"),
            ("dropoff_longitude", "double from dropoff.x"),
            ("dropoff_latitude", "double from dropoff.y"),
            ("cost", "decimal(18,2)"),
            ("updated_at", TIME),
            ("_extra", "json"),
        ],
    ),
    (
        "loyalty_accounts",
        "loyalty.accounts",
        "updated_at",
        &[("customer_id", "uuid not null"), ("tier", "text"), ("points_balance", "int"), ("joined_on", "date"), ("updated_at", TIME)],
    ),
    ("loyalty_ledger", "loyalty.ledger", "created_at", &[("id", "bigint not null"), ("points", "int"), ("created_at", TIME)]),
    (
        "products",
        "admin.products",
        "updated_at",
        &[("sku", "text not null"), ("price", "decimal(18,2)"), ("available", "boolean"), ("updated_at", TIME)],
    ),
    (
        "promotions",
        "admin.promotions",
        "updated_at",
        &[
            ("code", "text not null"),
            ("kind", "text"),
            ("value", "decimal(18,2)"),
            ("min_basket", "decimal(18,2)"),
            ("starts_on", "date"),
            ("budget", "decimal(18,2)"),
            ("updated_at", TIME),
        ],
    ),
    (
        "stores",
        "admin.stores",
        "",
        &[("id", "int not null"), ("lat", "double"), ("delivery_radius_m", "int"), ("opening_hours", "json"), ("updated_at", TIME)],
    ),
    (
        "transactions",
        "payments.transactions",
        "updated_at",
        &[
            ("transaction_id", "bigint not null from id"),
            ("customer_id", "uuid"),
            ("kind", "text not null"),
            ("amount", "decimal(18,2) not null"),
            ("fee", "decimal(18,4)"),
            ("currency", "text"),
            ("provider_payload", "json"),
            ("updated_at", TIME),
        ],
    ),
];

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("tests/fixtures/demo")
}

fn contract((table, _, cursor, columns): &Table) -> Contract {
    let name = |text: &str| ColumnName::new(text).unwrap();
    let columns: Vec<_> =
        columns.iter().map(|(column, text)| parse_column(&name(column), text, &|name| name.to_owned()).unwrap()).collect();
    let key = vec![columns[0].name.clone()];
    let contract = Contract {
        table: TableName::new("platform", table).unwrap(),
        columns,
        key,
        cursor: (!cursor.is_empty()).then(|| name(cursor)),
        description: String::new(),
    };
    contract.check().unwrap();
    contract
}

fn opened(table: &Table, folder: &Path) -> Result<Box<dyn Extractor>> {
    let options = TableOptions { relation: Some(table.1.to_owned()), ..TableOptions::default() };
    open(&FilesOptions { path: folder.to_owned() }, contract(table), &options, Some(PrivacyKey::new(b"key")))
}

/// A column's sum, as the answers write it.
fn sum(column: &ArrayRef) -> String {
    match column.data_type() {
        DataType::Int32 => column.as_primitive::<Int32Type>().iter().flatten().map(i64::from).sum::<i64>().to_string(),
        DataType::Decimal128(_, scale) => {
            let scale = usize::try_from(*scale).unwrap();
            let units: i128 = column.as_primitive::<Decimal128Type>().iter().flatten().sum();
            let power = 10_i128.pow(u32::try_from(scale).unwrap());
            format!("{}.{:0scale$}", units / power, units % power)
        }
        other => panic!("no sums of {other}"),
    }
}

async fn whole(table: &Table) -> RecordBatch {
    let extractor = opened(table, &fixture()).unwrap();
    let plan = extractor.plan(&everything(), None).await.unwrap();
    let quarantine = Quarantine::new();
    let batch = read_plan(&*extractor, &plan, &quarantine).await.unwrap();
    assert_eq!((plan.rows_estimated, quarantine.rows()), (Some(batch.num_rows() as u64), 0), "{}", table.0);
    batch
}

#[tokio::test]
async fn the_demo_tables_are_read_as_the_answers_say() {
    let answers: serde_json::Value = serde_json::from_slice(&std::fs::read(fixture().join("answers.json")).unwrap()).unwrap();
    for table in TABLES {
        let batch = whole(table).await;
        let expected = &answers["tables"][format!("platform.{}", table.0)];
        assert_eq!(Some(batch.num_rows() as u64), expected["rows"].as_u64(), "{}", table.0);
        for (name, expected) in expected["sums"].as_object().unwrap() {
            assert_eq!(sum(batch.column_by_name(name).unwrap()), expected.as_str().unwrap(), "{}.{name}", table.0);
        }
    }
}

#[tokio::test]
async fn personal_columns_of_tables_do_not_pass() {
    let batch = whole(&TABLES[1]).await;
    let emails = batch.column_by_name("email").unwrap().as_string::<i32>();
    assert!(emails.iter().flatten().all(|text| text.len() == 64 && !text.contains('@')));
    assert!(emails.iter().flatten().count() > 0);
    assert!(batch.column_by_name("phone").unwrap().as_string::<i32>().iter().flatten().all(|text| text == "***"));
    assert_eq!(batch.column_by_name("first_name").unwrap().null_count(), batch.num_rows());
}

#[tokio::test]
async fn only_changed_rows_of_a_table_move() {
    let table = &TABLES[8];
    let extractor = opened(table, &fixture()).unwrap();
    let all = whole(table).await;
    let updated = all.column_by_name("updated_at").unwrap().as_primitive::<TimestampMicrosecondType>();
    let greatest = updated.values().iter().copied().max().unwrap();
    let plan = extractor.plan(&everything(), None).await.unwrap();
    let mut checkpoint = plan.checkpoint.unwrap();
    assert_eq!(checkpoint.upper, Cursor::Time(Timestamp::from_microseconds(greatest)));
    assert!(extractor.plan(&everything(), Some(&checkpoint)).await.unwrap().slices.is_empty(), "the file is the same");

    // As if the last run had read another file, a week before.
    let week_before = greatest - 7 * 86_400_000_000;
    checkpoint.upper = Cursor::Time(Timestamp::from_microseconds(week_before));
    checkpoint.fingerprint = Some("another".to_owned());
    let lookback_us = 3_600_000_000;
    let plan = extractor.plan(&Request { lookback_us, ..everything() }, Some(&checkpoint)).await.unwrap();
    let batch = read_plan(&*extractor, &plan, &Quarantine::new()).await.unwrap();
    let expected = updated.values().iter().filter(|at| **at > week_before - lookback_us).count();
    assert!(expected > 0 && expected < all.num_rows());
    assert_eq!(batch.num_rows(), expected);

    let window = Window::new(Timestamp::from_microseconds(week_before), Timestamp::from_microseconds(greatest)).unwrap();
    let plan = extractor.plan(&Request { window: Some(window), ..everything() }, None).await.unwrap();
    let batch = read_plan(&*extractor, &plan, &Quarantine::new()).await.unwrap();
    assert_eq!(batch.num_rows(), updated.values().iter().filter(|at| (week_before..greatest).contains(*at)).count());
}

#[tokio::test]
async fn broken_tables_fail_before_anything_is_read() {
    let table = &TABLES[8];
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(fixture().join("postgres/schema.sql"), folder.path().join("schema.sql")).unwrap();
    let whole = {
        let mut bytes = Vec::new();
        let file = std::fs::File::open(fixture().join("postgres/payments.transactions.copy.gz")).unwrap();
        std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(file), &mut bytes).unwrap();
        bytes
    };
    let path = folder.path().join("payments.transactions.copy");
    std::fs::write(&path, &whole).unwrap();
    let extractor = opened(table, folder.path()).unwrap();
    assert!(extractor.plan(&everything(), None).await.is_ok());
    let mut wrong_length = whole.clone();
    wrong_length[21] = 0x7F;
    for broken in [
        &whole[..whole.len() - 1],
        &whole[..whole.len() - 2],
        &whole[..whole.len() / 2],
        &whole[..10],
        b"",
        b"id,amount\n1,2\n",
        wrong_length.as_slice(),
        &[whole.as_slice(), b"more"].concat(),
    ] {
        std::fs::write(&path, broken).unwrap();
        let error = extractor.plan(&everything(), None).await.unwrap_err();
        assert_eq!(error.code().name, "E-FILE-TRUNCATED", "{} bytes: {error:?}", broken.len());
        assert!(error.message().contains("payments.transactions.copy") && error.message().contains("offset "), "{error}");
    }
}

#[tokio::test]
async fn columns_come_from_the_schema_or_else_from_the_contract() {
    let products = &TABLES[5];
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(fixture().join("postgres/admin.products.copy.gz"), folder.path().join("admin.products.copy.gz")).unwrap();
    // Without a schema, the contract has to name every column of the file.
    let every: Table = (
        "products",
        "admin.products",
        "updated_at",
        &[
            ("sku", "text not null"),
            ("name", "text"),
            ("category", "text"),
            ("price", "decimal(10,2)"),
            ("available", "boolean"),
            ("updated_at", TIME),
        ],
    );
    let extractor = opened(&every, folder.path()).unwrap();
    let plan = extractor.plan(&everything(), None).await.unwrap();
    assert_eq!(read_plan(&*extractor, &plan, &Quarantine::new()).await.unwrap().num_rows(), 48);
    // Fewer columns than the file has are an error, and no guess.
    let extractor = opened(products, folder.path()).unwrap();
    let plan = extractor.plan(&everything(), None).await.unwrap();
    assert!(read_plan(&*extractor, &plan, &Quarantine::new()).await.is_err());
    // With a schema that does not know the table, nothing is opened.
    std::fs::write(folder.path().join("schema.sql"), "CREATE TABLE admin.stores (id int);").unwrap();
    let error = opened(products, folder.path()).unwrap_err();
    assert_eq!(error.code().name, "E-FILE-SCHEMA");
}
