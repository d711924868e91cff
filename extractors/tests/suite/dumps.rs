//! Dump files: the demo data set, read as the example's pipelines read it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Decimal128Type, TimestampMicrosecondType};
use pipeline_core::extract::{Cursor, Extractor};
use pipeline_core::quarantine::Quarantine;
use pipeline_extractors::files::{FilesOptions, TableOptions, open};

use super::conformance::{everything, holds, keys, read_plan};
use super::orders::contract;

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("tests/fixtures/demo")
}

fn answers() -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(fixture().join("answers.json")).unwrap()).unwrap()
}

fn orders() -> Box<dyn Extractor> {
    open(&FilesOptions { path: fixture() }, contract("orders"), &TableOptions::default(), None).unwrap()
}

#[tokio::test]
async fn the_demo_orders_are_read_as_the_answers_say() {
    let extractor = orders();
    let plan = extractor.plan(&everything(), None).await.unwrap();
    let quarantine = Quarantine::new();
    let batch = read_plan(&*extractor, &plan, &quarantine).await.unwrap();
    let answers = answers();
    let expected = &answers["tables"]["shop.orders"];
    let (rows, rejected, duplicates) = (&expected["rows"], &expected["rejected"], &expected["duplicates"]);
    assert_eq!(Some(quarantine.rows()), rejected.as_u64());
    assert_eq!(Some(batch.num_rows() as u64), Some(rows.as_u64().unwrap() + duplicates.as_u64().unwrap()));
    assert_eq!(plan.rows_estimated, Some(batch.num_rows() as u64 + quarantine.rows()));

    // Of the documents with one key, the latest counts, then the last in the file: as the loaders do.
    let updated = batch.column_by_name("updated_at").unwrap().as_primitive::<TimestampMicrosecondType>();
    let mut latest: HashMap<String, usize> = HashMap::new();
    for (row, key) in keys(&batch).into_iter().enumerate() {
        let place = latest.entry(key).or_insert(row);
        if updated.value(row) >= updated.value(*place) {
            *place = row;
        }
    }
    assert_eq!(Some(latest.len() as u64), rows.as_u64());
    let totals = batch.column_by_name("totals").unwrap().as_struct();
    for (name, sum) in expected["sums"].as_object().unwrap() {
        let column = totals.column_by_name(name.strip_prefix("totals.").unwrap()).unwrap().as_primitive::<Decimal128Type>();
        let cents: i128 = latest.values().filter(|row| column.is_valid(**row)).map(|row| column.value(*row)).sum();
        assert_eq!(format!("{}.{:02}", cents / 100, cents % 100), sum.as_str().unwrap(), "{name}");
    }
}

#[tokio::test]
async fn the_defects_of_the_demo_are_told_apart() {
    let extractor = orders();
    let plan = extractor.plan(&everything(), None).await.unwrap();
    let quarantine = Quarantine::new();
    let batch = read_plan(&*extractor, &plan, &quarantine).await.unwrap();
    let read: HashMap<String, usize> = keys(&batch).into_iter().enumerate().map(|(row, key)| (key, row)).collect();
    let rejected = quarantine.drain();
    let mut quarantined = 0;
    for defect in answers()["defects"].as_array().unwrap().iter().filter(|defect| defect["table"] == "shop.orders") {
        let (key, expect) = (defect["key"].as_str().unwrap(), defect["expect"].as_str().unwrap());
        if expect.starts_with("quarantined") {
            quarantined += 1;
            assert!(!read.contains_key(key), "{defect}");
            let identity: Vec<_> =
                rejected.iter().filter(|row| pipeline_extractors::bson::identity(&row.raw).as_deref() == Some(key)).collect();
            assert_eq!(identity.len(), 1, "{defect}");
        } else {
            assert!(read.contains_key(key), "{defect}");
        }
    }
    assert_eq!(quarantined, rejected.len());
    let mut causes: Vec<_> = rejected.iter().map(|row| format!("{}: {}", row.column, row.reason)).collect();
    causes.sort();
    assert_eq!(causes.len(), 3);
    assert_eq!(causes[0], "delivered_at: a string stands where timestamp is declared");
    assert_eq!(causes[1], "items.quantity: a string stands where int is declared");
    assert!(causes[2].ends_with("a double has more digits after the point than decimal(18,2)"), "{}", causes[2]);
}

#[tokio::test]
async fn a_dump_keeps_the_promises_of_a_source() {
    // The fixture holds some orders twice, on purpose; a copy without them has unique keys.
    let folder = tempfile::tempdir().unwrap();
    let documents: Vec<u8> = (0..20_000_u32)
        .flat_map(|n| {
            let mut id = [0_u8; 12];
            id[..4].copy_from_slice(&n.to_be_bytes());
            let at = mongodb::bson::DateTime::from_millis(i64::from(n) * 1_000);
            let text = "x".repeat(2_000);
            mongodb::bson::doc! {"_id": mongodb::bson::oid::ObjectId::from_bytes(id), "updatedAt": at, "text": text}.to_vec().unwrap()
        })
        .collect();
    std::fs::write(folder.path().join("orders.bson"), &documents).unwrap();
    let columns = [("order_id", "text not null from _id"), ("updated_at", "timestamp not null"), ("_extra", "json")];
    let contract = super::orders::declared("orders", &columns, "order_id", "updated_at");
    let extractor = open(&FilesOptions { path: folder.path().to_owned() }, contract, &TableOptions::default(), None).unwrap();
    let checkpoint = holds(&*extractor, 20_000, 2).await.unwrap();
    assert!(matches!(checkpoint.upper, Cursor::Time(_)));
    assert!(extractor.plan(&everything(), Some(&checkpoint)).await.unwrap().slices.is_empty());
}
