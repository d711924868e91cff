//! Rows that did not fit can be seen: by cause, one by one, and never with what is personal in them.

use pipeline_tests::Project;
use serde_json::Value;

use crate::local::{DataSet, RUN};

fn rejected_by_steps(report: &Value, table: &str) -> u64 {
    let steps = report["steps"].as_array().unwrap();
    steps.iter().find(|step| step["name"] == format!("extract {table}")).unwrap()["rows_rejected"].as_u64().unwrap()
}

#[test]
fn what_did_not_fit_is_listed_by_cause_and_shown_row_by_row() {
    let mut project = Project::new();
    let empty = project.pipeline(&["quarantine", "list"]);
    assert_eq!(empty.succeeded().stdout.trim(), "no row was rejected");
    assert_eq!(
        project.pipeline(&["quarantine", "show", "shop.orders", "--output", "json"]).exited(2).error()["code"],
        "E-QUARANTINE-EMPTY"
    );

    let data = DataSet::generate(&["--customers", "120", "--stores", "3", "--days", "6", "--orders", "300", "--seed", "17"], 0);
    data.feed(&mut project);
    // Every order has this field.
    project.set("sources.shop.tables.orders.columns.channel", "text pii mask");
    let report = project.pipeline(&["run", "nightly", "--output", "json", "--only", "shop.orders"]);
    let rejected = rejected_by_steps(&report.succeeded().json(), "shop.orders");
    assert!(rejected > 1, "the demonstration has rows that do not fit");

    let listed = project.pipeline(&["quarantine", "list", "--output", "json"]).succeeded().json();
    let causes = listed["causes"].as_array().unwrap();
    assert_eq!(causes.iter().map(|cause| cause["rows"].as_u64().unwrap()).sum::<u64>(), rejected);
    assert!(causes.iter().all(|cause| cause["table"] == "shop.orders" && !cause["fix"].as_str().unwrap().is_empty()));
    let people = project.pipeline(&["quarantine", "list"]);
    for cause in causes {
        assert!(people.succeeded().stdout.contains(cause["reason"].as_str().unwrap()), "{people}");
    }

    let shown = project.pipeline(&["quarantine", "show", "shop.orders", "--limit", "1000", "--output", "json"]).succeeded().json();
    let rows = shown["rows"].as_array().unwrap();
    assert_eq!((rows.len() as u64, shown["rows_total"].as_u64()), (rejected, Some(rejected)));
    for row in rows {
        assert!(row["row"]["_id"].is_object(), "the document is there: {row}");
        assert!(row["row"].get("channel").is_none(), "what is personal is not: {row}");
        assert!(row["values"].as_array().is_some_and(|values| !values.is_empty()), "what did not fit is told: {row}");
        assert!(row["position"].as_str().unwrap().starts_with("offset "), "{row}");
    }
    let one = project.pipeline(&["quarantine", "show", "shop.orders", "--limit", "1"]);
    assert!(one.succeeded().stderr.contains(&format!("1 of {rejected} rows")), "{one}");

    // Reading the same rows once more keeps them once.
    project.pipeline(&[&RUN[..], &["--only", "shop.orders", "--full-refresh"]].concat()).succeeded();
    let again = project.pipeline(&["quarantine", "list", "--output", "json"]).succeeded().json();
    assert_eq!(again["causes"].as_array().unwrap().iter().map(|cause| cause["rows"].as_u64().unwrap()).sum::<u64>(), rejected);
}

#[test]
fn rows_of_dumps_come_home_too() {
    let mut project = Project::new();
    let data = DataSet::generate(&["--customers", "60", "--stores", "2", "--days", "4", "--orders", "120", "--seed", "3"], 0);
    data.feed(&mut project);
    for (table, section, column, wide) in [
        ("shop.orders", "sources.shop.tables.orders", "customer_id", "uuid"),
        ("platform.customers", "sources.platform.tables.customers", "deleted_at", "timestamp"),
    ] {
        let column = format!("{section}.columns.{column}");
        project.set(&format!("{section}.max_rejected"), "100%").set(&column, format!("{wide} not null"));
        let all = project.pipeline(&["run", "nightly", "--output", "json", "--full-refresh", "--only", table]).succeeded().json();
        let rejected = rejected_by_steps(&all, table);
        assert!(rejected > 1, "{all}");
        let before: u64 = project.value(&format!("SELECT count(*) AS n FROM {table}")).parse().unwrap();
        project.set(&column, wide);
        let replayed = project.pipeline(&["quarantine", "replay", table, "--output", "json"]).succeeded().json();
        let report = &replayed["replays"][0];
        let (home, still) = (report["came_home"].as_u64().unwrap(), report["still_rejected"].as_u64().unwrap());
        assert!(home > 0 && home + still == rejected && report["gone"] == 0, "{report}");
        assert_eq!(project.value(&format!("SELECT count(*) AS n FROM {table}")), (before + home).to_string());
    }
}
