//! Data tests against time and former runs, and `pipeline test`, with the demonstration data.

use pipeline_tests::{Project, place};
use serde_json::Value;

use crate::local::{SMALL, assert_untouched, data, edit, own_models, refused};

/// Orders up to the run's now, so that each now gives another number of them.
const RECENT: &str = "SELECT order_id, placed_at, customer_id IS NULL AS is_guest FROM shop.orders WHERE placed_at < as_of()";

const RECENT_CONTRACT: &str = r#"
description = "Orders up to now"
grain = "one row per order"
key = ["order_id"]
materialization = "full"
[columns.order_id]
type = "text(24)"
description = "Identity"
[columns.placed_at]
type = "timestamp"
description = "When"
[columns.is_guest]
type = "boolean"
description = "Nobody is known"
[[tests]]
kind = "row_count"
[[tests]]
kind = "distribution"
column = "is_guest"
measure = "mean"
severity = "warn"
"#;

const COUNTED: &str = "SELECT 1 AS one, count(*) AS orders FROM recent";

const COUNTED_CONTRACT: &str = r#"
description = "How many there are"
grain = "one row"
key = ["one"]
materialization = "full"
[columns.one]
type = "bigint"
description = "One"
[columns.orders]
type = "bigint"
description = "Orders"
"#;

/// A project with two models, the second made from the first, and the orders in its lake.
fn project() -> Project {
    let mut project = Project::new();
    let models = project.empty_models();
    for (name, text) in
        [("recent.sql", RECENT), ("recent.toml", RECENT_CONTRACT), ("counted.sql", COUNTED), ("counted.toml", COUNTED_CONTRACT)]
    {
        std::fs::write(models.join(name), text).unwrap();
    }
    project.pipeline(&["run", "nightly", "--only", "shop.orders"]).succeeded();
    project
}

fn arguments(as_of: &str) -> [&str; 8] {
    ["run", "nightly", "--only", "recent,counted", "--as-of", as_of, "--output", "json"]
}

/// How many former runs `recent` is held against.
fn former_runs(project: &Project) -> String {
    let tested = project.pipeline(&["test", "nightly", "--only", "recent", "--output", "json"]).succeeded().json();
    let test = tested["tests"].as_array().unwrap().iter().find(|test| test["test"] == "row_count").unwrap();
    assert_eq!((&test["status"], &test["model"]), (&Value::from("not_asked"), &Value::from("recent")), "{tested}");
    test["message"].as_str().unwrap().split(' ').next().unwrap().to_owned()
}

#[test]
fn a_result_unlike_former_runs_is_not_published_until_somebody_says_so() {
    let project = project();
    for day in 20..27 {
        let report = project.pipeline(&arguments(&format!("2025-10-{day}"))).succeeded().json();
        assert_eq!(report["warnings"], Value::Array(Vec::new()), "{report}");
    }
    let orders = || project.value("SELECT count(*) AS n FROM recent");
    let (good, counted) = (orders(), project.value("SELECT orders FROM counted"));
    assert_eq!(good, counted);
    // Most orders are gone: nothing of it is published, and nothing that is made of it.
    let outcome = project.pipeline(&arguments("2025-10-01"));
    let error = refused(&outcome, 6, "E-MODEL-TEST").to_string();
    assert!(error.contains("test \\\"row_count\\\" fails: there are") && error.contains("the last 7 runs let expect"), "{outcome}");
    let report = outcome.json();
    let status = |step: &str| report["steps"].as_array().unwrap().iter().find(|found| found["name"] == step).map(|found| &found["status"]);
    assert_eq!((status("model recent").unwrap(), status("model counted").unwrap()), (&Value::from("failed"), &Value::from("skipped")));
    assert_eq!((orders(), project.value("SELECT orders FROM counted")), (good.clone(), counted));
    // The failed run measured nothing: the table is still as its last run left it.
    let tested = project.pipeline(&["test", "nightly", "--output", "json"]).succeeded().json();
    assert_eq!((&tested["status"], &tested["failed"]), (&Value::from("passed"), &Value::from(0)), "{tested}");
    // It is as it should be: what comes next is compared with this.
    let accepted: Vec<String> = arguments("2025-10-01").into_iter().chain(["--full-refresh"]).map(str::to_owned).collect();
    project.pipeline(&accepted).succeeded();
    assert_ne!(orders(), good);
    project.pipeline(&arguments("2025-10-27")).succeeded();
    assert_eq!(former_runs(&project), "1");
}

#[test]
fn a_run_that_is_continued_measures_once() {
    let project = project();
    project.pipeline(&arguments("2025-10-20")).succeeded();
    assert_eq!(former_runs(&project), "0");
    for (day, point) in [(21, "model.after_compute"), (22, "ledger.after_landed"), (23, "ledger.after_loaded"), (24, "run.before_finish")] {
        let as_of = format!("2025-10-{day}");
        drop(project.kill_at(point, 1, &arguments(&as_of)));
        project.pipeline(&arguments(&as_of)).succeeded();
        assert_eq!(former_runs(&project), (day - 20).to_string(), "killed at {point}");
        assert_eq!(project.pipeline(&arguments(&as_of)).succeeded().json()["status"], "unchanged");
        assert_eq!(former_runs(&project), (day - 20).to_string(), "what is not computed is not measured");
    }
}

/// A project in which a run over the small data set has ended well.
fn after_a_run() -> Project {
    let mut project = Project::new();
    place::copy(&SMALL.state, &project.folder().join(".pipeline"));
    SMALL.base.feed(&mut project);
    project
}

fn freshness(warnings: &Value) -> Vec<&str> {
    let warnings = warnings.as_array().unwrap().iter().filter_map(Value::as_str);
    warnings.filter(|warning| warning.contains("freshness")).collect()
}

#[test]
fn what_gets_old_is_told_also_when_nothing_new_comes() {
    let project = after_a_run();
    let run = |more: &[&str]| {
        let arguments = [&["run", "nightly", "--only", "+orders", "--output", "json"], more].concat();
        project.pipeline(&arguments).succeeded().json()
    };
    let fresh = run(&[]);
    assert_eq!((&fresh["status"], freshness(&fresh["warnings"]).len()), (&Value::from("unchanged"), 0), "{fresh}");
    let old = run(&["--as-of", "2026-06-01"]);
    assert_eq!(old["status"], "unchanged");
    let told = freshness(&old["warnings"]);
    assert!(told.len() == 1 && told[0].contains("model \"orders\": test \"freshness(placed_at)\" fails: the newest value is"), "{told:?}");
    // Who loads a window of the past expects nothing fresh.
    let past = run(&["--as-of", "2026-06-01", "--from", "2025-11-01", "--to", "2025-11-02"]);
    assert_eq!(freshness(&past["warnings"]).len(), 0, "{past}");
}

#[test]
fn tests_alone_tell_what_the_lake_holds_and_change_nothing() {
    let mut project = after_a_run();
    let before = data(&project);
    let tested = project.pipeline(&["test", "nightly", "--output", "json"]).succeeded().json();
    for key in ["schema_version", "pipeline", "as_of", "status", "passed", "warned", "failed", "not_asked", "missing", "tests"] {
        assert!(tested.get(key).is_some(), "\"{key}\" is missing: {tested}");
    }
    let tests = tested["tests"].as_array().unwrap();
    let of = |status: &str| tests.iter().filter(|test| test["status"] == status).count();
    assert_eq!(of("passed") + of("warned") + of("not_asked"), tests.len());
    assert_eq!((tested["warned"].as_u64(), tested["failed"].as_u64()), (Some(of("warned") as u64), Some(0)));
    assert!(of("passed") > 150 && of("not_asked") >= 9, "{} {}", of("passed"), of("not_asked"));
    let models: std::collections::BTreeSet<&str> = tests.iter().filter_map(|test| test["model"].as_str()).collect();
    assert_eq!(models.len(), place::models().len());

    let human = project.pipeline(&["test", "nightly", "--only", "orders,payments", "--as-of", "2026-06-01"]);
    let out = &human.succeeded().stdout;
    assert!(out.starts_with("nightly as of 2026-06-01") && out.contains("! orders    "), "{human}");
    assert!(out.contains("    ! freshness(created_at): the newest value is 2") && out.contains(" of 2 models: "), "{human}");
    assert!(out.contains("SELECT max(\"placed_at\") FILTER (WHERE") && !out.contains("unique"), "{human}");
    let every = project.pipeline(&["test", "nightly", "--only", "orders", "-v"]);
    assert!(every.succeeded().stdout.contains("    ✓ unique(order_id)"), "{every}");
    assert_untouched(&before, &data(&project));

    // What fails with `error` ends with 6, and says so on standard output too.
    let models = own_models(&mut project);
    edit(&models.join("base/payments.toml"), "max_age = \"7d\"\nseverity = \"warn\"", "max_age = \"7d\"");
    let outcome = project.pipeline(&["test", "nightly", "--only", "payments", "--as-of", "2026-06-01", "--output", "json"]);
    let error = refused(&outcome, 6, "E-TESTS-FAIL");
    assert!(error["message"].as_str().unwrap().contains("\"payments\""), "{outcome}");
    assert_eq!(outcome.json()["status"], "failed", "{outcome}");
    // Nothing is fresh enough any more, and a run would not go on from it.
    refused(&project.pipeline(&["run", "nightly", "--only", "payments", "--as-of", "2026-06-01", "--output", "json"]), 6, "E-MODEL-TEST");
    refused(&project.pipeline(&["test", "nightly", "--only", "nothing", "--output", "json"]), 2, "E-SELECTION");

    // A lake that nothing was made in yet.
    let empty = Project::new();
    let outcome = empty.pipeline(&["test", "nightly"]);
    assert!(outcome.succeeded().stdout.contains("not made yet"), "{outcome}");
}
