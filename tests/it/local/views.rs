//! A view among the models: run, asked, planned and explained.

use pipeline_tests::Project;
use serde_json::Value;

use crate::local::refused;

const GUESTS: &str = "SELECT order_id, store_id, placed_at FROM shop.orders WHERE customer_id IS NULL";

const GUESTS_CONTRACT: &str = r#"
description = "Orders of people who are not known"
grain = "one row per order"
key = ["order_id"]
materialization = "view"
[columns.order_id]
type = "text(24)"
description = "Identity"
[columns.store_id]
type = "int"
description = "The store"
[columns.placed_at]
type = "timestamp"
description = "When"
"#;

const COUNTED: &str = "SELECT store_id, count(*) AS guests FROM guest_orders WHERE store_id IS NOT NULL GROUP BY store_id";

const COUNTED_CONTRACT: &str = r#"
description = "Guests of each store"
grain = "one row per store"
key = ["store_id"]
materialization = "full"
[columns.store_id]
type = "int"
description = "The store"
[columns.guests]
type = "bigint"
not_null = true
description = "Their orders"
"#;

const RUN: [&str; 6] = ["run", "nightly", "--only", "shop.orders,guest_orders,guests_by_store", "--output", "json"];

fn status<'a>(report: &'a Value, step: &str) -> &'a str {
    let steps = report["steps"].as_array().unwrap();
    steps.iter().find(|found| found["name"] == step).and_then(|found| found["status"].as_str()).unwrap_or("absent")
}

#[test]
fn a_view_is_tested_read_planned_and_explained_and_never_stored() {
    let mut project = Project::new();
    let models = project.empty_models();
    for (name, text) in [
        ("guest_orders.sql", GUESTS),
        ("guest_orders.toml", GUESTS_CONTRACT),
        ("guests_by_store.sql", COUNTED),
        ("guests_by_store.toml", COUNTED_CONTRACT),
    ] {
        std::fs::write(models.join(name), text).unwrap();
    }
    project.pipeline(&["config", "check"]).succeeded();
    let plan = project.pipeline(&["plan", "nightly", "--output", "json"]).succeeded().json();
    let planned = plan["models"].as_array().unwrap().iter().find(|model| model["table"] == "guest_orders").unwrap().clone();
    assert!(planned["how"].as_str().unwrap().starts_with("a view") && planned["destinations"] == Value::Array(Vec::new()), "{planned}");

    let report = project.pipeline(&RUN).succeeded().json();
    assert_eq!((status(&report, "model guest_orders"), status(&report, "load lake guest_orders")), ("done", "absent"), "{report}");
    assert_eq!(status(&report, "load lake guests_by_store"), "done");
    let guests = project.value("SELECT count(*) AS n FROM shop.orders WHERE customer_id IS NULL");
    assert_ne!(guests, "0");
    assert_eq!(project.value("SELECT count(*) AS n FROM guest_orders"), guests);
    assert!(!project.folder().join(".pipeline/lake/marts/guest_orders").exists(), "nothing of it is stored");
    let again = project.pipeline(&RUN).succeeded().json();
    assert_eq!((&again["status"], status(&again, "model guest_orders")), (&Value::from("unchanged"), "unchanged"), "{again}");

    // What is behind a number, through the view.
    let store = project.value("SELECT store_id FROM guests_by_store ORDER BY guests DESC, store_id LIMIT 1");
    let why = project.pipeline(&["why", "guests_by_store", &store, "--output", "json"]).succeeded().json();
    let text = why.to_string();
    assert!(text.contains("guest_orders") && text.contains("shop.orders"), "{text}");
    let tested = project.pipeline(&["test", "nightly", "--output", "json"]).succeeded().json();
    assert_eq!((&tested["status"], &tested["missing"]), (&Value::from("passed"), &Value::Array(Vec::new())), "{tested}");

    // A view that fails its tests keeps what is made from it as it was.
    let kept = project.contents("SELECT * FROM guests_by_store");
    let strict = format!("{GUESTS_CONTRACT}[[tests]]\nkind = \"range\"\ncolumn = \"store_id\"\nmax = 0\n");
    std::fs::write(models.join("guest_orders.toml"), &strict).unwrap();
    let outcome = project.pipeline(&RUN);
    refused(&outcome, 6, "E-MODEL-TEST");
    let report = outcome.json();
    assert_eq!((status(&report, "model guest_orders"), status(&report, "model guests_by_store")), ("failed", "skipped"), "{outcome}");
    assert_eq!(project.contents("SELECT * FROM guests_by_store"), kept);
    refused(&project.pipeline(&["test", "nightly", "--output", "json"]), 6, "E-TESTS-FAIL");

    // Another statement of the view is another result of what reads it.
    std::fs::write(models.join("guest_orders.toml"), GUESTS_CONTRACT).unwrap();
    std::fs::write(models.join("guest_orders.sql"), format!("{GUESTS} AND store_id <> {store}")).unwrap();
    let report = project.pipeline(&RUN).succeeded().json();
    assert_eq!((status(&report, "model guest_orders"), status(&report, "load lake guests_by_store")), ("done", "done"), "{report}");
    assert_eq!(project.query("SELECT store_id FROM guests_by_store").len(), kept.len() - 1);

    // Where it cannot be published, its name is refused, and patterns pass it over.
    let check = ["config", "check", "--profile", "live", "--output", "json"];
    project.pipeline(&check).succeeded();
    project.set("profiles.live.pipelines.nightly.publish", vec!["guests_by_store", "guest_orders"]);
    let error = refused(&project.pipeline(&check), 2, "E-CONFIG");
    assert!(error["message"].as_str().unwrap().contains("\"guest_orders\", which is a view"), "{error}");
}
