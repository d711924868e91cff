//! What this module's unit tests share: contracts, loads, and statements kept as files.

use std::path::Path;

use pipeline_core::contract::{Contract, parse_column};
use pipeline_core::load::{Distribution, Layout, Load, LoadId, Mode};
use pipeline_core::name::{ColumnName, TableName};

/// A contract from columns as they are written in configuration.
pub(super) fn contract(table: &str, columns: &[(&str, &str)], key: &[&str], cursor: Option<&str>) -> Contract {
    let name = |text: &str| ColumnName::new(text).unwrap();
    let contract = Contract {
        table: table.parse::<TableName>().unwrap(),
        columns: columns
            .iter()
            .map(|(column, text)| {
                let mut parsed = parse_column(&name(column), text, &str::to_owned).unwrap();
                parsed.description = format!("The {column}.");
                parsed
            })
            .collect(),
        key: key.iter().copied().map(name).collect(),
        cursor: cursor.map(name),
        description: "One row per order; it's the base of all.".to_owned(),
    };
    contract.check().unwrap();
    contract
}

/// The contract that most tests use.
pub(super) fn orders() -> Contract {
    contract(
        "orders",
        &[
            ("order_id", "text(24) not null"),
            ("store_id", "int not null"),
            ("status", "text"),
            ("total", "decimal(18,2)"),
            ("updated_at", "timestamp"),
        ],
        &["order_id"],
        Some("updated_at"),
    )
}

/// The layout that most tests use.
pub(super) fn layout() -> Layout {
    let name = |text: &str| ColumnName::new(text).unwrap();
    Layout { distribution: Distribution::Key(name("store_id")), sort: vec![name("updated_at"), name("store_id")] }
}

/// A load of a contract's table.
pub(super) fn load(contract: Contract, mode: Mode, revision: i64, base: Option<i64>) -> Load {
    let id = LoadId { pipeline: "nightly".to_owned(), table: contract.table.clone(), revision, digest: "5f".repeat(32) };
    Load { id, run: "0199".to_owned(), mode, base, contract, layout: layout() }
}

/// Compares a text with the file of that name; with BLESS=1 writes the file instead.
pub(super) fn assert_snapshot(name: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/redshift/snapshots").join(name);
    #[expect(clippy::disallowed_methods, reason = "whether to write what was found is asked from outside")]
    let bless = std::env::var("BLESS").is_ok_and(|word| word == "1");
    if bless {
        std::fs::write(&file, text).unwrap();
    }
    let wanted = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(text, wanted, "{name} differs; `BLESS=1 cargo test -p pipeline-loaders redshift` writes it anew");
}
