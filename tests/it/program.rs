//! The program itself: what it does with the demonstration data, and how it ends.

use pipeline_tests::{Answers, Project, place};

#[test]
fn a_wrong_argument_ends_with_2() {
    let project = Project::new();
    let outcome = project.pipeline(&["run"]);
    assert!(outcome.exited(2).stderr.contains("<NAME>"), "{outcome}");
}

#[test]
fn the_configuration_of_the_repository_is_right() {
    let project = Project::new();
    let checked = project.pipeline(&["config", "check", "--output", "json"]);
    assert_eq!(checked.succeeded().json()["status"], "ok");
}

#[test]
fn a_key_that_is_unknown_is_named() {
    let mut project = Project::new();
    project.set("project.memory_limits", "1GiB");
    let outcome = project.pipeline(&["config", "check", "--output", "json"]);
    let error = outcome.exited(2).error();
    assert!(error["message"].as_str().is_some_and(|message| message.contains("memory_limits")), "{outcome}");
}

#[test]
fn a_run_makes_exactly_what_the_answers_say() {
    let project = Project::new();
    project.pipeline(&["run", "nightly", "--output", "json"]).succeeded();
    let answers = Answers::of_fixtures();
    answers.assert_lake(&project);

    // The comparison sees one wrong cent and one wrong key.
    let file = place::fixtures().join("answers.json");
    let text = std::fs::read_to_string(file).unwrap();
    let mut wrong: serde_json::Value = serde_json::from_str(&text).unwrap();
    wrong["tables"]["platform.transactions"]["sums"]["amount"] = "0.01".into();
    wrong["marts"]["segment_birthdays"]["keys"][0] = "nobody".into();
    let file = project.folder().join("wrong.json");
    std::fs::write(&file, wrong.to_string()).unwrap();
    let wrong = Answers::read(&file);
    let differences = wrong.differences_of_tables(|sql| project.query(sql));
    assert_eq!(differences.len(), 1, "{differences:?}");
    assert!(differences[0].starts_with("platform.transactions: sum of amount should be 0.01 and is "), "{differences:?}");
    let differences = wrong.differences_of_marts(str::to_owned, |sql| project.query(sql));
    assert_eq!(differences.len(), 2, "{differences:?}");
    assert_eq!(differences[0], "segment_birthdays: (nobody) is missing");
}

#[test]
fn a_run_that_is_killed_is_finished_by_the_next() {
    let project = Project::new();
    project.kill_at("landing.after_manifest", 2, &["run", "nightly"]);
    project.pipeline(&["run", "nightly", "--output", "json"]).succeeded();
    Answers::of_fixtures().assert_lake(&project);
}

#[test]
fn a_full_disk_is_named_and_the_next_run_with_room_finishes() {
    let mut project = Project::new();
    let landing = project.folder().join("landing");
    project.set("project.landing", landing.to_str().unwrap()).set("project.attempts", 1).disk(&landing, 64 << 10);
    let outcome = project.pipeline(&["run", "nightly", "--output", "json"]);
    assert_eq!(outcome.exited(4).error()["code"], "E-DISK-FULL");
    project.own_disk().pipeline(&["run", "nightly"]).succeeded();
    Answers::of_fixtures().assert_lake(&project);
}
