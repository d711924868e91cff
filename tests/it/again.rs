//! Running again: nothing changed, a little changed, windows, and deaths at every named point.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use pipeline_tests::{Answers, Project};

const MARTS: [&str; 9] =
    ["orders", "order_items", "payments", "deliveries", "customers", "stores", "coverage_orders", "coverage_stores", "segment_birthdays"];

const INCREMENTAL: [&str; 12] = [
    "customer_first_orders",
    "orders",
    "order_items",
    "order_status_events",
    "payments",
    "deliveries",
    "loyalty_ledger",
    "coverage_orders",
    "coverage_stores",
    "operations_hourly",
    "customer_order_history",
    "finance_reconciliation",
];

fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path);
            }
        }
    }
    found
}

fn run(project: &Project) -> serde_json::Value {
    project.pipeline(&["run", "nightly", "--output", "json"]).succeeded().json()
}

/// A small data set in the project's folder; its answers set the as-of.
fn generate(project: &mut Project, more: &[&str]) -> Answers {
    let to = project.folder().join("dumps");
    let base = ["demo", "generate", "--customers", "120", "--stores", "5", "--days", "10", "--orders", "600", "--seed", "3", "--replace"];
    let arguments: Vec<&str> = base.into_iter().chain(["--to", to.to_str().unwrap()]).chain(more.iter().copied()).collect();
    project.pipeline(&arguments).succeeded();
    let answers = Answers::read(&to.join("answers.json"));
    project
        .set("profiles.local.project.as_of", answers.as_of())
        .set("profiles.local.sources.shop.path", to.join("mongodb/shop").to_str().unwrap())
        .set("profiles.local.sources.platform.path", to.join("postgres").to_str().unwrap());
    answers
}

#[test]
fn a_second_run_moves_nothing_and_says_so() {
    let project = Project::new();
    let first = run(&project);
    assert_eq!(first["status"], "done");
    for key in ["schema_version", "run_id", "pipeline", "status", "steps", "next"] {
        assert!(first.get(key).is_some(), "{key}");
    }
    let data = |project: &Project| {
        let mut found = files(&project.folder().join(".pipeline/lake"));
        found.extend(files(&project.folder().join(".pipeline/landing")));
        found
    };
    let before = data(&project);
    assert_eq!(run(&project)["status"], "unchanged");
    assert_eq!(data(&project), before);
    let said = project.pipeline(&["run", "nightly"]);
    assert!(said.succeeded().stdout.contains("no data moved"), "{said}");
    let history = project.pipeline(&["history", "nightly", "--output", "json"]).succeeded().json();
    assert_eq!(history["runs"].as_array().unwrap().len(), 3);
    let id = first["run_id"].as_str().unwrap();
    assert_eq!(project.pipeline(&["status", id, "--output", "json"]).succeeded().json()["status"], "done");
}

#[test]
fn changes_of_one_percent_move_only_themselves_and_equal_a_full_rebuild() {
    let mut project = Project::new();
    generate(&mut project, &[]).assert_lake(project.ran());
    let answers = generate(&mut project, &["--change-percent", "1"]);
    let changed = run(&project);
    assert_eq!(changed["status"], "done");
    for step in changed["steps"].as_array().unwrap() {
        let name = step["name"].as_str().unwrap();
        if name == "load lake shop.orders" || name == "load lake orders" {
            assert!(step["rows_out"].as_u64().unwrap() <= 20, "{step}");
        }
    }
    answers.assert_lake(&project);
    // The first night computed all, the second only what the changes touch.
    let notes: BTreeMap<&str, &str> =
        changed["steps"].as_array().unwrap().iter().map(|step| (step["name"].as_str().unwrap(), step["note"].as_str().unwrap())).collect();
    for model in INCREMENTAL {
        let note = notes[format!("model {model}").as_str()];
        assert!(note.contains(" units by ") || note.contains("has not changed"), "{model}: {note}");
    }
    assert!(notes["model orders"].contains("units by order_id computed anew"), "{notes:?}");
    let planned = project.pipeline(&["plan", "nightly", "--output", "json"]).succeeded().json();
    let how = |model: &str| planned["models"].as_array().unwrap().iter().find(|planned| planned["table"] == model).unwrap()["how"].clone();
    assert_eq!(how("orders"), "touched units by order_id");
    assert_eq!(how("customer_features"), "whole");
    // Another parameter is another model, whose units say nothing.
    project.set("parameters.business_day_starts_at", "05:30");
    let planned = project.pipeline(&["plan", "nightly", "--output", "json"]).succeeded().json();
    let orders = planned["models"].as_array().unwrap().iter().find(|planned| planned["table"] == "orders").unwrap();
    assert_eq!(orders["reason"], "the model itself changed");
    assert_eq!(orders["how"], "whole: its statement, contract or parameters changed");
    project.set("parameters.business_day_starts_at", "04:00");
    let mut rebuilt = Project::new();
    generate(&mut rebuilt, &["--change-percent", "1"]).assert_lake(rebuilt.ran());
    for mart in MARTS.into_iter().chain(INCREMENTAL) {
        let sql = format!("SELECT * FROM {mart}");
        assert_eq!(project.contents(&sql), rebuilt.contents(&sql), "{mart}");
    }
}

trait Ran {
    fn ran(&self) -> &Self;
}

impl Ran for Project {
    fn ran(&self) -> &Self {
        assert_eq!(run(self)["status"], "done");
        self
    }
}

#[test]
fn a_backfill_that_is_killed_and_resumed_equals_one_run() {
    let project = Project::new();
    // Rows change until the as-of; the oldest stores and customers are years older.
    let backfill =
        ["backfill", "nightly", "--from", "2000-01-01", "--to", "2025-11-05", "--window", "1500d", "--parallel", "2", "--output", "json"];
    let planned: Vec<&str> = backfill.into_iter().chain(["--dry-run"]).collect();
    let windows = project.pipeline(&planned).succeeded().json();
    assert_eq!(windows["windows"].as_array().unwrap().len(), 7);
    assert!(files(&project.folder().join(".pipeline/lake")).is_empty(), "a dry run changes nothing");
    project.kill_at("lake.after_commit", 9, &backfill);
    let done = project.pipeline(&backfill).succeeded().json();
    assert_eq!(done["windows"].as_array().unwrap().len(), 7);
    Answers::of_fixtures().assert_lake(&project);
    let again = project.pipeline(&backfill).succeeded().json();
    assert!(again["windows"].as_array().unwrap().iter().all(|window| window["status"].is_null()), "{again}");
}

#[test]
fn a_kill_at_every_point_of_a_run_is_mended_by_the_next() {
    let mut project = Project::new();
    let answers = generate(&mut project, &[]);
    // One after the other in one project: each run continues what the killed one left, until it dies at the next point.
    for (point, count) in [
        ("run.after_start", 1),
        ("extract.after_plan", 1),
        ("landing.after_part", 1),
        ("landing.before_manifest", 1),
        ("landing.after_manifest", 1),
        ("ledger.after_landed", 1),
        ("load.before_prepare", 1),
        ("load.before_stage", 1),
        ("load.after_stage", 1),
        ("lake.before_commit", 1),
        ("lake.after_commit", 1),
        ("load.after_publish", 1),
        ("ledger.after_loaded", 1),
        ("ledger.after_checkpoint", 1),
        ("model.after_compute", 1),
        ("lake.after_commit", 6),
        ("model.after_compute", 2),
        ("model.before_stored", 3),
        ("run.before_finish", 1),
    ] {
        project.kill_at(point, count, &["run", "nightly"]);
    }
    project.pipeline(&["run", "nightly"]).succeeded();
    answers.assert_lake(&project);
    assert_eq!(run(&project)["status"], "unchanged");
    // And once more over changes.
    let answers = generate(&mut project, &["--change-percent", "3"]);
    for point in [
        "lake.after_commit",
        "ledger.after_landed",
        "load.after_publish",
        "ledger.after_checkpoint",
        "model.after_compute",
        "model.before_stored",
    ] {
        project.kill_at(point, 1, &["run", "nightly"]);
    }
    project.pipeline(&["run", "nightly"]).succeeded();
    answers.assert_lake(&project);
    for (mart, key) in [("orders", "order_id"), ("payments", "transaction_id"), ("customers", "customer_id")] {
        assert_eq!(project.value(&format!("SELECT count(*) - count(DISTINCT {key}) FROM {mart}")), "0");
    }
}
