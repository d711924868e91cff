use pipeline_core::load::Mode;

use super::super::testing::{assert_snapshot, contract, load, orders};
use super::*;

fn target() -> Relation {
    Relation::new("marts", "orders").unwrap()
}

fn text_of(load: &Load, manifest: Option<&str>) -> String {
    let statements = transaction(load, &target(), manifest, &Role::Default).unwrap();
    let mut text = String::new();
    for statement in &statements {
        text.push_str(&format!("-- {}\n{};\n\n", statement.purpose.name(), statement.text));
    }
    text
}

const MANIFEST: Option<&str> = Some("s3://lake/nightly/0199/orders/1/copy.manifest");

#[test]
fn every_mode_has_its_statements() {
    assert_snapshot("replace.sql", &text_of(&load(orders(), Mode::Replace, 7, None), MANIFEST));
    assert_snapshot("append.sql", &text_of(&load(orders(), Mode::Append, 7, None), MANIFEST));
    assert_snapshot("merge.sql", &text_of(&load(orders(), Mode::Merge, 7, None), MANIFEST));
    assert_snapshot("changes.sql", &text_of(&load(orders(), Mode::Changes, 7, Some(6)), MANIFEST));
}

#[test]
fn without_rows_nothing_is_copied_and_the_marker_moves() {
    assert_snapshot("replace_empty.sql", &text_of(&load(orders(), Mode::Replace, 7, None), None));
    assert_snapshot("changes_empty.sql", &text_of(&load(orders(), Mode::Changes, 1, None), None));
    let append = text_of(&load(orders(), Mode::Append, 7, None), None);
    assert!(!append.contains("COPY") && !append.contains("TEMP") && append.contains("INSERT INTO \"pipeline_meta\".\"loads\""), "{append}");
}

#[test]
fn a_merge_by_several_keys_without_cursor() {
    let contract = contract("items", &[("order_id", "uuid not null"), ("line", "int not null")], &["order_id", "line"], None);
    assert_snapshot("merge_keys_only.sql", &text_of(&load(contract, Mode::Merge, 1, None), MANIFEST));
}

#[test]
fn the_marker_is_read_only_where_its_table_stands() {
    let statement = read_marker("nightly", &Relation::new("shop", "orders").unwrap()).unwrap();
    assert_snapshot("marker.sql", &format!("{};\n", statement.text));
}

#[test]
fn every_statement_fits_a_transaction_batch() {
    for mode in [Mode::Replace, Mode::Append, Mode::Merge, Mode::Changes] {
        let statements = transaction(&load(orders(), mode, 2, Some(1)), &target(), MANIFEST, &Role::Default).unwrap();
        assert!(statements.len() <= super::super::api::BATCH_STATEMENTS_MAX);
        for Statement { text, .. } in statements {
            // Each would commit, or be refused in a transaction.
            for word in ["TRUNCATE", "VACUUM", "ALTER", "COMMIT", ";"] {
                assert!(!text.contains(word), "{word} in {text}");
            }
        }
    }
}

#[test]
fn a_merge_needs_a_key_that_is_never_null() {
    let mut without = orders();
    without.key.clear();
    let error = transaction(&load(without, Mode::Merge, 1, None), &target(), MANIFEST, &Role::Default).unwrap_err();
    assert_eq!(error.code().name, "E-CONTRACT");
    let mut nullable = orders();
    nullable.columns[0].nullable = true;
    let error = transaction(&load(nullable, Mode::Changes, 1, None), &target(), MANIFEST, &Role::Default).unwrap_err();
    assert!(error.message().contains("order_id") && error.remedy().contains("NULL"), "{error:?}");
}

#[test]
fn a_table_too_wide_for_one_statement_is_refused() {
    let columns: Vec<(String, String)> = (0..1500).map(|n| (format!("a_rather_long_column_name_number_{n}"), "text".to_owned())).collect();
    let mut columns: Vec<(&str, &str)> = columns.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    columns.insert(0, ("id", "bigint not null"));
    let contract = contract("wide", &columns, &["id"], None);
    let error = transaction(&load(contract, Mode::Merge, 1, None), &target(), MANIFEST, &Role::Default).unwrap_err();
    assert!(error.message().contains("too many columns"), "{error:?}");
}
