//! The data set one day later: what changed carries times after the base data set's as-of, and nothing else changed.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use bson::Document;
use chrono::DateTime;
use pipeline_demo::Options;

use crate::copy_file::{self, Tuple, integer};
use crate::support::{generate, small};

/// Microseconds from 1970 to 2000.
const EPOCH_US: i64 = 946_684_800_000_000;

/// Tables that change: name, position of the column that tells when.
const TABLES: [(&str, usize); 5] =
    [("payments.transactions", 12), ("delivery.deliveries", 12), ("loyalty.ledger", 5), ("loyalty.accounts", 4), ("admin.customers", 11)];

/// Tables that do not.
const STILL: [&str; 4] = ["admin.stores", "admin.products", "admin.promotions", "delivery.couriers"];

fn rows(directory: &Path, table: &str) -> BTreeMap<Option<Vec<u8>>, Tuple> {
    let rows = copy_file::read(&directory.join(format!("postgres/{table}.copy")));
    let count = rows.len();
    let by_key: BTreeMap<Option<Vec<u8>>, Tuple> = rows.into_iter().map(|row| (row[0].clone(), row)).collect();
    assert_eq!(by_key.len(), count, "the keys of {table} are unique");
    by_key
}

/// Documents by id, the first of duplicates.
fn documents(directory: &Path) -> HashMap<String, Document> {
    let bytes = fs::read(directory.join("mongodb/shop/orders.bson")).unwrap();
    let mut rest = bytes.as_slice();
    let mut documents = HashMap::new();
    while !rest.is_empty() {
        let document = Document::from_reader(&mut rest).unwrap();
        documents.entry(document.get_object_id("_id").unwrap().to_hex()).or_insert(document);
    }
    documents
}

#[test]
fn changes_come_after_everything_there_was() {
    let (base, later) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let options = Options { orders: Some(4_000), ..small() };
    let answers = generate(&options, base.path());
    generate(&Options { change_share: 0.02, ..options }, later.path());
    let as_of_ms = DateTime::parse_from_rfc3339(&answers.as_of).unwrap().timestamp_millis();

    let (before, after) = (documents(base.path()), documents(later.path()));
    let updated_ms = |document: &Document| document.get_datetime("updatedAt").unwrap().timestamp_millis();
    let (mut edited, mut added) = (0, 0);
    for (id, document) in &after {
        match before.get(id) {
            Some(same) if same == document => assert!(updated_ms(document) < as_of_ms),
            Some(_) => edited += 1,
            None => added += 1,
        }
        if before.get(id) != Some(document) {
            assert!(updated_ms(document) > as_of_ms);
        }
    }
    assert!(before.keys().all(|id| after.contains_key(id)), "no order goes away");
    // Two in a hundred of 4,000, give or take three standard deviations; new ones are a tenth of that, exactly.
    assert!((54..=106).contains(&edited), "{edited}");
    assert_eq!(added, 8);

    for (table, cursor) in TABLES {
        let (before, after) = (rows(base.path(), table), rows(later.path(), table));
        let mut changed = 0;
        for (key, row) in &after {
            let at_ms = (integer(&row[cursor]) + EPOCH_US) / 1_000;
            let same = before.get(key) == Some(row);
            changed += usize::from(!same);
            assert_eq!(at_ms < as_of_ms, same, "{table}");
        }
        assert!(before.keys().all(|key| after.contains_key(key)), "no row of {table} goes away");
        assert!(changed > 0, "{table}");
        assert!(changed < before.len() / 5, "{table}: {changed}");
    }
    for table in STILL {
        assert_eq!(rows(base.path(), table), rows(later.path(), table), "{table}");
    }
}
