//! Runs that go wrong on the way: data that fails its tests, too many misfits, a wrong model, another run, a full disk, Ctrl-C.

use std::time::Duration;

use pipeline_tests::{Outcome, Project, Running, place};
use serde_json::Value;

use crate::local::{RUN, SMALL, assert_same_lake, assert_untouched, data, edit, lake, own_models, refused, run};

/// Holds some folders and no file of more than a few rows.
const FULL_DISK_BYTES: u64 = 16 << 10;

const RUN_JSON: [&str; 4] = ["run", "nightly", "--output", "json"];

fn status<'a>(report: &'a Value, step: &str) -> &'a str {
    let steps = report["steps"].as_array().unwrap();
    steps.iter().find(|found| found["name"] == step).and_then(|found| found["status"].as_str()).unwrap_or("absent")
}

/// A project in which a run over the base has ended well.
fn after_a_run() -> Project {
    let mut project = Project::new();
    place::copy(&SMALL.state, &project.folder().join(".pipeline"));
    SMALL.base.feed(&mut project);
    project
}

#[test]
fn a_failed_data_test_keeps_the_last_good_version_and_lets_the_others_go_on() {
    let mut project = after_a_run();
    let models = own_models(&mut project);
    SMALL.later.feed(&mut project);
    let contract = models.join("base/orders.toml");
    let good = std::fs::read_to_string(&contract).unwrap();
    std::fs::write(&contract, format!("{good}\n[[tests]]\nkind = \"range\"\ncolumn = \"total\"\nmax = -1\n")).unwrap();
    let outcome = project.pipeline(&RUN_JSON);
    let error = refused(&outcome, 6, "E-MODEL-TEST");
    assert!(error.to_string().contains("orders"), "{outcome}");
    let report = outcome.json();
    assert_eq!(report["status"], "failed");
    assert_eq!(status(&report, "model orders"), "failed");
    assert_ne!(status(&report, "load lake orders"), "done");
    for follower in ["coverage_orders", "coverage_stores", "segment_birthdays"] {
        assert_eq!(status(&report, &format!("model {follower}")), "skipped", "it reads orders: {outcome}");
    }
    let found = lake(&project, &SMALL.later.answers);
    for (relation, rows) in &found {
        let kept = ["orders", "coverage_orders", "coverage_stores", "segment_birthdays"].contains(&relation.as_str());
        let expected = if kept { &SMALL.base_lake } else { &SMALL.later_lake };
        assert!(*rows == expected[relation], "\"{relation}\" should be of {} run", if kept { "the last good" } else { "this" });
    }
    assert!(SMALL.base_lake["orders"] != SMALL.later_lake["orders"], "both versions can be told apart");

    std::fs::write(&contract, &good).unwrap();
    assert_eq!(run(&project)["status"], "done");
    assert_same_lake(&lake(&project, &SMALL.later.answers), &SMALL.later_lake);
}

#[test]
fn a_model_with_wrong_sql_is_found_before_anything_is_read() {
    let mut project = after_a_run();
    let models = own_models(&mut project);
    SMALL.later.feed(&mut project);
    let before = data(&project);
    let breaks: [(&str, &str, &str, &str, &[&str]); 4] = [
        ("base/stores.sql", "FROM platform.stores", "FROM platform.storez", "E-MODEL-INPUT", &["stores.sql", "platform.storez"]),
        ("base/stores.sql", "SELECT", "SELEKT", "E-SQL", &["stores.sql", "line"]),
        ("base/stores.toml", "[columns.brand]\ntype = \"text(128)\"", "[columns.brand]\ntype = \"txt\"", "E-MODEL-FILE", &["stores.toml"]),
        ("base/stores.toml", "key = [\"store_id\"]", "key = [\"nothing\"]", "E-CONTRACT", &["stores.toml", "nothing"]),
    ];
    for (file, from, to, code, words) in breaks {
        let path = models.join(file);
        let good = std::fs::read_to_string(&path).unwrap();
        edit(&path, from, to);
        for arguments in [["config", "check"], RUN] {
            let arguments: Vec<&str> = arguments.into_iter().chain(["--output", "json"]).collect();
            let outcome = project.pipeline(&arguments);
            let error = refused(&outcome, 2, code).to_string();
            for word in words {
                assert!(error.contains(word), "\"{word}\" is missing: {outcome}");
            }
        }
        std::fs::write(&path, good).unwrap();
    }
    assert_untouched(&before, &data(&project));
    assert_eq!(run(&project)["status"], "done");
    assert_same_lake(&lake(&project, &SMALL.later.answers), &SMALL.later_lake);
}

#[test]
fn too_many_misfits_leave_the_table_as_it_was() {
    let mut project = after_a_run();
    SMALL.later.feed(&mut project);
    let only: Vec<&str> = RUN_JSON.into_iter().chain(["--only", "shop.orders"]).collect();
    let before = data(&project);
    // A full refresh, because the misfits are among the older orders.
    let anew: Vec<&str> = only.iter().copied().chain(["--full-refresh"]).collect();
    let strict: Vec<&str> = anew.iter().copied().chain(["--strict"]).collect();
    project.set("sources.shop.tables.orders.max_rejected", "0%");
    for arguments in [&anew, &strict] {
        let outcome = project.pipeline(arguments);
        let error = refused(&outcome, 6, "E-REJECTED");
        assert!(error.to_string().contains("shop.orders"), "{outcome}");
        assert_eq!(status(&outcome.json(), "extract shop.orders"), "failed");
        assert_eq!(project.contents("SELECT * FROM shop.orders"), SMALL.base_lake["shop.orders"]);
    }
    project.set("sources.shop.tables.orders.max_rejected", "50%");
    refused(&project.pipeline(&strict), 6, "E-REJECTED");
    assert_eq!(project.contents("SELECT * FROM shop.orders"), SMALL.base_lake["shop.orders"]);
    let lake_only = |files: crate::local::Contents| -> crate::local::Contents {
        files.into_iter().filter(|(path, _)| path.starts_with("lake")).collect()
    };
    assert_untouched(&lake_only(before), &lake_only(data(&project)));
    project.pipeline(&only).succeeded();
    assert_eq!(project.contents("SELECT * FROM shop.orders"), SMALL.later_lake["shop.orders"]);
}

/// Lets a run get so far that it surely holds the lease and has much to do, and stops it there.
fn held(project: &Project) -> Running {
    let mut first = project.start(&RUN);
    first.until("a first step has ended", |first| first.stderr().contains('✓'));
    first.stop();
    first
}

#[test]
fn a_second_run_is_told_who_runs_and_since_when_or_waits() {
    let mut project = Project::new();
    SMALL.base.feed(&mut project);
    let first = held(&project);
    let before = data(&project);
    let days = ["backfill", "nightly", "--from", "2025-11-01", "--to", "2025-11-02", "--output", "json"];
    for arguments in [RUN_JSON.as_slice(), &days] {
        let outcome = project.pipeline(arguments);
        let error = refused(&outcome, 5, "E-LEASE");
        let said = error.to_string();
        assert!(said.contains(&format!("process {}", first.id())) && said.contains("since 20"), "{outcome}");
        assert!(error["hint"].as_str().unwrap().contains("--lock-wait"), "{outcome}");
        assert!(outcome.took < Duration::from_secs(20), "{outcome}");
    }
    let patient = project.pipeline(&["run", "nightly", "--lock-wait", "1", "--output", "json"]);
    refused(&patient, 5, "E-LEASE");
    assert!(patient.took >= Duration::from_secs(1), "{patient}");
    assert_untouched(&before, &data(&project));
    // Looking is allowed meanwhile.
    let listed = project.pipeline(&["status", "--output", "json"]).succeeded().json();
    assert_eq!(listed["runs"].as_array().unwrap().len(), 1);

    let waiting = project.start(&["run", "nightly", "--lock-wait", "600", "--output", "json"]);
    first.signal("CONT");
    first.wait().succeeded();
    assert_eq!(waiting.wait().succeeded().json()["status"], "unchanged", "the first had done everything");
    assert_same_lake(&lake(&project, &SMALL.base.answers), &SMALL.base_lake);
}

#[test]
fn two_runs_at_once_are_one_run_and_one_refusal_or_one_after_the_other() {
    let mut project = Project::new();
    SMALL.base.feed(&mut project);
    let both = [project.start(&RUN_JSON), project.start(&RUN_JSON)];
    let outcomes: Vec<Outcome> = both.into_iter().map(Running::wait).collect();
    let mut codes: Vec<Option<i32>> = outcomes.iter().map(|outcome| outcome.code).collect();
    codes.sort_unstable();
    assert!([[Some(0), Some(5)], [Some(0), Some(0)]].iter().any(|expected| codes == *expected), "{} {}", outcomes[0], outcomes[1]);
    assert_same_lake(&lake(&project, &SMALL.base.answers), &SMALL.base_lake);
    assert_eq!(run(&project)["status"], "unchanged");
}

#[test]
fn a_lease_of_a_run_that_was_killed_holds_nobody_up() {
    let mut project = Project::new();
    SMALL.base.feed(&mut project);
    let killed = held(&project).kill();
    assert_eq!(killed.signal, Some(9), "{killed}");
    assert_eq!(run(&project)["resumed"], true);
    assert_same_lake(&lake(&project, &SMALL.base.answers), &SMALL.base_lake);
}

#[test]
fn an_interrupted_run_ends_with_130_and_the_next_continues() {
    for (signal, times) in [("INT", 1), ("TERM", 1), ("INT", 2)] {
        let mut project = Project::new();
        SMALL.base.feed(&mut project);
        let first = held(&project);
        for _ in 0..times {
            first.signal(signal);
        }
        first.signal("CONT");
        let outcome = first.wait();
        assert_eq!(outcome.exited(130).signal, None, "{outcome}");
        assert!(outcome.stderr.contains("E-INTERRUPTED") || times > 1, "{outcome}");
        assert!(!outcome.stderr.contains("panicked"), "{outcome}");
        let next = run(&project);
        assert_eq!(next["status"], "done", "{next}");
        assert_same_lake(&lake(&project, &SMALL.base.answers), &SMALL.base_lake);
        assert_eq!(run(&project)["status"], "unchanged");
    }
}

#[test]
fn a_full_disk_is_named_wherever_it_is_and_with_room_again_all_is_done() {
    for key in ["landing", "lake", "work"] {
        let mut project = Project::new();
        SMALL.base.feed(&mut project);
        let folder = project.folder().join("small-disk");
        project.set(&format!("project.{key}"), folder.to_str().unwrap()).set("project.attempts", 1);
        project.disk(&folder, FULL_DISK_BYTES);
        let outcome = project.pipeline(&RUN_JSON);
        refused(&outcome, 4, "E-DISK-FULL");
        assert_eq!(outcome.json()["status"], "failed", "{outcome}");
        project.own_disk();
        if key == "lake" {
            // The disk went with the command, and with it what the lake held already.
            continue;
        }
        assert_eq!(run(&project)["status"], "done");
        assert_same_lake(&lake(&project, &SMALL.base.answers), &SMALL.base_lake);
    }
}
