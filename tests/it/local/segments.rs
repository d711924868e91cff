//! Rules of segments from the configuration to the lake, and the commands that show them.

use std::collections::BTreeSet;

use pipeline_tests::Project;
use serde_json::Value;

use crate::local::{RUN, SMALL, assert_untouched, data};

/// A project in which one rule gives most customers something.
fn project() -> Project {
    let mut project = Project::new();
    SMALL.later.feed(&mut project);
    for rule in ["second_order", "champions", "try_something_new", "win_back"] {
        project.remove(&format!("segments.{rule}"));
    }
    project
        .set("segments.regulars.where", "orders >= 2 AND orders_365_days >= 2")
        .set("segments.regulars.percent", 10)
        .set("segments.regulars.valid_days", 14)
        .set("segments.regulars.priority", 10)
        .set("segments.regulars.hold_out", "20%")
        .set("segments.regulars.reason", "{orders} orders");
    project
}

fn customers(listed: &Value) -> BTreeSet<String> {
    listed["customers"].as_array().unwrap().iter().map(|row| row["customer_id"].as_str().unwrap().to_owned()).collect()
}

fn rule_of<'a>(listed: &'a Value, rule: &str) -> &'a Value {
    listed["segments"].as_array().unwrap().iter().find(|row| row["rule"] == rule).unwrap()
}

#[test]
fn a_rule_is_previewed_granted_listed_explained_and_compared() {
    let mut project = project();
    project.pipeline(&[&RUN[..], &["--skip", "discounts_due+"]].concat()).succeeded();
    let before = data(&project);
    let preview = project.pipeline(&["segment", "preview", "regulars", "--output", "json"]).succeeded().json();
    let dearer = ["segment", "preview", "regulars", "--set", "segments.regulars.percent=20", "--output", "json"];
    let dearer = project.pipeline(&dearer).succeeded().json();
    assert_untouched(&before, &data(&project));
    let cents = |preview: &Value| -> i64 { preview["expected_cost"][0]["amount"].as_str().unwrap().replace('.', "").parse().unwrap() };
    let (granted, held_out) = (preview["outcomes"]["granted"].as_u64().unwrap(), preview["outcomes"]["held_out"].as_u64().unwrap());
    assert!(granted > 0 && held_out > 0, "{preview}");
    assert_eq!(
        preview["matched"].as_u64().unwrap(),
        preview["outcomes"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum::<u64>()
    );
    // Twice the discount costs twice as much, up to a cent's rounding for each.
    let difference = cents(&dearer) - 2 * cents(&preview);
    assert!(difference.unsigned_abs() <= 2 * granted && cents(&preview) > 0, "{preview} {dearer}");

    // What was previewed is what a run grants.
    project.pipeline(&RUN).succeeded();
    let listed = project.pipeline(&["segment", "list", "regulars", "--output", "json"]).succeeded().json();
    let rule = rule_of(&listed, "regulars");
    assert_eq!((rule["members"].as_u64(), rule["held_out"].as_u64()), (Some(granted), Some(held_out)), "{listed}");
    assert_eq!(rule["expected_cost"], preview["expected_cost"]);
    assert_eq!(project.value("SELECT count(*) AS n FROM offers WHERE kind = 'discount' AND rule = 'regulars'"), granted.to_string());
    assert_eq!(customers(&listed).len() as u64, granted + held_out);
    assert!(customers(&preview).is_subset(&customers(&listed)));

    // All came in this run.
    let diff = project.pipeline(&["segment", "diff", "discounts", "--output", "json"]).succeeded().json();
    assert_eq!(customers(&diff), customers(&listed));
    assert_eq!(diff["segments"][0]["came"].as_u64().unwrap(), granted + held_out);
    let first = diff["run"].as_str().unwrap().to_owned();

    // A second night, with other customers in the rule: whoever has something keeps it, and nobody comes or goes.
    let customer = customers(&preview).into_iter().next().unwrap();
    let why = project.pipeline(&["segment", "why", &customer, "--output", "json"]).succeeded().json();
    assert_eq!(why["wins"], "regulars");
    assert_eq!(why["rules"][0]["matches"], true, "{why}");
    assert_eq!(why["rules"][0]["conditions"].as_array().unwrap().len(), 2);
    project.set("segments.regulars.where", "false");
    let again = project.pipeline(&["run", "nightly", "--output", "json"]).succeeded().json();
    let moved: Vec<&Value> = again["steps"].as_array().unwrap().iter().filter(|step| step["name"] == "model segment_discounts").collect();
    assert!(moved.iter().all(|step| step["status"] == "unchanged"), "{moved:?}");
    let diff = project.pipeline(&["segment", "diff", "--output", "json"]).succeeded().json();
    assert_eq!(diff["customers"], Value::Array(vec![]));
    let diff = project.pipeline(&["segment", "diff", "--since", &first, "--output", "json"]).succeeded().json();
    assert_eq!(diff["customers"], Value::Array(vec![]));
    let why = project.pipeline(&["segment", "why", &customer, "--output", "json"]).succeeded().json();
    assert_eq!((&why["wins"], &why["rules"][0]["matches"]), (&Value::from("regulars"), &Value::Bool(false)));

    // When the days are over, all go.
    let later = project.value("SELECT CAST(max(valid_to) + INTERVAL '2 days' AS VARCHAR) AS at FROM segment_discounts");
    project.pipeline(&["run", "nightly", "--as-of", later.get(..10).unwrap()]).succeeded();
    let diff = project.pipeline(&["segment", "diff", "discounts", "--output", "json"]).succeeded().json();
    assert_eq!(diff["segments"][0]["went"].as_u64().unwrap(), granted + held_out, "{diff}");
    assert_eq!(project.value("SELECT count(*) AS n FROM offers WHERE kind = 'discount'"), granted.to_string());
    // People get the same in tables.
    for command in [
        &["segment", "list"][..],
        &["segment", "list", "birthdays"],
        &["segment", "preview", "regulars"],
        &["segment", "why", &customer],
        &["segment", "diff"],
    ] {
        assert!(!project.pipeline(command).succeeded().stdout.is_empty(), "{command:?}");
    }
}

#[test]
fn what_does_not_exist_is_told_with_a_hint_and_without_the_value() {
    let mut project = project();
    let early = project.pipeline(&["segment", "list", "--output", "json"]);
    assert!(early.exited(2).error()["hint"].as_str().unwrap().contains("pipeline run"));
    project.pipeline(&RUN).succeeded();
    for (arguments, code) in [
        (&["segment", "list", "nobody"][..], "E-SEGMENT-UNKNOWN"),
        (&["segment", "preview", "nobody"], "E-SEGMENT-UNKNOWN"),
        (&["segment", "diff", "nobody"], "E-SEGMENT-UNKNOWN"),
        (&["segment", "diff", "--since", "nothing"], "E-RUN-UNKNOWN"),
        (&["segment", "why", "no-customer's-id"], "E-CUSTOMER-UNKNOWN"),
    ] {
        let told = project.pipeline(&[arguments, &["--output", "json"]].concat());
        let error = told.exited(2).error();
        assert_eq!(error["code"], code, "{arguments:?}");
        assert!(!error["hint"].as_str().unwrap().is_empty());
        assert!(told.keeps_secret("no-customer"), "{arguments:?}");
    }
    project.set("segments.regulars.where", "orders >= 2 AND recency_dys > 3");
    let error = project.pipeline(&["config", "check", "--output", "json"]).exited(2).error();
    assert_eq!(error["code"], "E-SEGMENT-RULE");
    let causes = error["causes"].to_string();
    assert!(error["message"].as_str().unwrap().contains("\"regulars\"") && causes.contains("segments.regulars.where"), "{error}");
}
