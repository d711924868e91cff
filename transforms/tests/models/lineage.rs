//! The lineage of the models of `sql/`, and the page and the picture that are made of it.

use pipeline_transforms::lineage::{ColumnLineage, Direct, InputField, Lineage, SourceTable, page, picture};
use pipeline_transforms::model::{Model, PREVIOUS};

use crate::{config, engine, models_with_rules, root, sources};

async fn lineage() -> Lineage {
    let config = config();
    let session = engine::engine(&config.parameters).session("2025-11-04T06:00:00Z".parse().unwrap(), None);
    Lineage::of(&session, &models_with_rules(&config), &sources(&config)).await.unwrap_or_else(|error| panic!("{error:?}"))
}

/// Columns whose values are written in the statement, or in the rules of segments, and nowhere else.
const CONSTANTS: &[&str] = &[
    "customer_preferences.kind",
    "customer_values.kind",
    "discounts_due.discount",
    "discounts_due.discount_kind",
    "discounts_due.rule",
    "finance_reconciliation.finding",
    "offers.discount",
    "offers.discount_kind",
    "offers.kind",
    "offers.rule",
    "segment_discounts.discount",
    "segment_discounts.discount_kind",
    "segment_discounts.rule",
];

#[tokio::test]
async fn every_column_of_every_model_is_followed_to_fields_of_the_sources() {
    let config = config();
    let (models, sources, lineage) = (models_with_rules(&config), sources(&config), lineage().await);
    let exists = |field: &InputField| {
        let contract = sources.iter().find(|contract| contract.table == field.table);
        let Some(contract) = contract else { return false };
        field.is_rows() || contract.source_path(&field.path).is_some()
    };
    let mut constants = Vec::new();
    for model in models.models() {
        let (step, whole) = (lineage.step(model.table()).unwrap(), lineage.to_sources(model.table()).unwrap());
        let names: Vec<&str> = model.contract.columns.iter().map(|column| column.name.as_str()).collect();
        for lineage in [step, whole] {
            assert_eq!(lineage.columns.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), names, "{}", model.table());
        }
        assert!(!whole.rows_of.is_empty(), "{} has rows of nothing", model.table());
        for (name, column) in &step.columns {
            for field in column.direct.keys().chain(column.indirect.fields.keys()).chain(step.rows.fields.keys()) {
                let known = model.inputs.contains(&field.table)
                    || (field.table.schema() == PREVIOUS && (model.uses_previous || formers(model).contains(&field.table.table())));
                assert!(known, "{}.{name} comes from {field}, which its statement does not read", model.table());
            }
        }
        for (name, column) in &whole.columns {
            let full_name = format!("{}.{name}", model.table());
            if column.is_constant() {
                constants.push(full_name.clone());
            }
            for field in column.direct.keys().chain(column.indirect.fields.keys()).chain(whole.rows.fields.keys()) {
                assert!(exists(field), "{full_name} comes from {field}, which no source has");
            }
        }
    }
    constants.sort_unstable();
    assert_eq!(constants, CONSTANTS);
}

/// The models whose former results a model reads, beside its own.
fn formers(model: &Model) -> Vec<&str> {
    model.former.iter().map(|contract| contract.table.table()).collect()
}

fn direct(column: &ColumnLineage) -> Vec<String> {
    column.direct.iter().map(|(field, kind)| format!("{} {field}", kind.name())).collect()
}

/// What people know of some columns.
#[tokio::test]
async fn well_known_columns_come_from_where_they_do() {
    let lineage = lineage().await;
    let column = |table: &str, name: &str| lineage.to_sources(&table.parse().unwrap()).unwrap().column(name).unwrap().clone();
    assert_eq!(direct(&column("orders", "tax")), ["TRANSFORMATION shop.orders.totals.tax"]);
    assert_eq!(direct(&column("orders", "city")), ["IDENTITY shop.orders.delivery.address.city"]);
    assert_eq!(
        direct(&column("coverage_orders", "revenue")),
        ["AGGREGATION platform.transactions.amount", "AGGREGATION shop.orders.totals.tip", "AGGREGATION shop.orders.totals.total",]
    );
    assert_eq!(
        direct(&column("coverage_orders", "cell")),
        ["TRANSFORMATION shop.orders.delivery.latitude", "TRANSFORMATION shop.orders.delivery.longitude",]
    );
    assert_eq!(direct(&column("order_items", "sku")), ["TRANSFORMATION shop.orders.items.sku"]);
    assert_eq!(direct(&column("loyalty_liability", "outstanding")), ["AGGREGATION platform.loyalty_ledger.points"]);
    assert_eq!(direct(&column("segment_birthdays", "customer_id")), ["IDENTITY platform.customers.id"]);
    assert!(column("coverage_orders", "revenue").direct.values().all(|kind| *kind == Direct::Aggregation));
    let marketing = InputField { table: "platform.customers".parse().unwrap(), path: "marketing_opt_in".to_owned() };
    assert!(lineage.to_sources(&"segment_birthdays".parse().unwrap()).unwrap().rows.fields.contains_key(&marketing));
}

const HEAD: &str = "\
What each column means, and where it comes from: *made of* is one step back, *in the sources* the whole way. Values of *over rows* columns are
those of several rows together; *decided by* names what is not in a value, but decides about it. This page and its picture are made from
`sql/` and `pipelines.toml`; `BLESS=1 cargo test -p pipeline-transforms --test models` writes them.

![What is made of what](marts.svg)";

#[tokio::test]
async fn the_page_of_marts_and_its_picture_are_true() {
    let config = config();
    let (models, lineage) = (models_with_rules(&config), lineage().await);
    let tables = config.sources.values().flat_map(|source| source.tables.values()).map(|table| {
        let mut options = table.options.clone();
        let named = ["relation", "collection", "index"].iter().find_map(|key| options.text(key).unwrap());
        SourceTable { contract: table.contract.clone(), place: named.unwrap_or_else(|| table.contract.table.table().to_owned()) }
    });
    let made = [
        ("docs/reference/marts.md", page(&models, &lineage, &tables.collect::<Vec<_>>(), HEAD)),
        ("docs/reference/marts.svg", picture(&models, &sources(&config))),
    ];
    #[expect(clippy::disallowed_methods, reason = "asked for by whoever runs the test, not by the program")]
    let bless = std::env::var("BLESS").is_ok();
    for (name, text) in made {
        let file = root().join(name);
        if bless {
            std::fs::write(&file, &text).unwrap();
        }
        let stored = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(stored == text, "{name} is stale: run BLESS=1 cargo test -p pipeline-transforms --test models");
    }
}
