//! Bad input without servers: the message, the exit code, and that nothing changed.

use pipeline_tests::{Project, place};

fn error(project: &Project, arguments: &[&str], code: i32) -> serde_json::Value {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--output", "json"]).collect();
    let outcome = project.pipeline(&arguments);
    let error = outcome.exited(code).error();
    assert!(error["hint"].as_str().is_some_and(|hint| hint.len() > 10), "{outcome}");
    error
}

fn nothing_was_loaded(project: &Project) {
    let lake = project.folder().join(".pipeline/lake");
    assert!(!lake.exists() || std::fs::read_dir(&lake).unwrap().next().is_none(), "the lake is not empty");
}

#[test]
fn mistakes_in_the_configuration_end_with_2_before_anything_is_touched() {
    let run = ["run", "nightly"];
    let mut project = Project::new();
    project.set("project.memory_limt", "1GiB");
    assert_eq!(error(&project, &run, 2)["hint"], "Did you mean \"memory_limit\"?");
    project.remove("project.memory_limt").set("project.attempts", "often");
    assert_eq!(error(&project, &run, 2)["code"], "E-CONFIG");
    project.set("project.attempts", 4).set("sources.shop.tables.orders.columns.status", "txt");
    assert_eq!(error(&project, &run, 2)["code"], "E-CONTRACT");
    project.set("sources.shop.tables.orders.columns.status", "text");
    assert_eq!(error(&project, &["run", "weekly"], 2)["hint"], "Use one of: nightly.");
    assert_eq!(error(&project, &["run", "nightly", "--profile", "prod"], 2)["hint"], "Use one of: local, live.");
    let missing = error(&project, &["run", "nightly", "--profile", "live"], 2);
    assert_eq!(missing["code"], "E-SECRET", "{missing}");
    project.set("profiles.live.sources.shop.url", "mongodb://user:hunter2@host/shop");
    let outcome = project.pipeline(&["run", "nightly", "--profile", "live"]);
    assert!(outcome.exited(2).keeps_secret("hunter2"), "{outcome}");
    nothing_was_loaded(&project);
}

fn copied_fixtures(project: &mut Project) -> std::path::PathBuf {
    let to = project.folder().join("dumps");
    place::copy(&place::fixtures(), &to);
    project
        .set("profiles.local.sources.shop.path", to.join("mongodb/shop").to_str().unwrap())
        .set("profiles.local.sources.platform.path", to.join("postgres").to_str().unwrap());
    to
}

#[test]
fn dumps_that_are_missing_or_cut_off_are_named_and_not_loaded() {
    let only = ["run", "nightly", "--only", "shop.orders"];
    let mut project = Project::new();
    let dumps = copied_fixtures(&mut project);
    let file = dumps.join("mongodb/shop/orders.bson.gz");
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let cut = error(&project, &only, 6);
    assert_eq!(cut["code"], "E-FILE-TRUNCATED", "{cut}");
    std::fs::remove_file(&file).unwrap();
    assert_eq!(error(&project, &only, 2)["code"], "E-FILE-MISSING");
    nothing_was_loaded(&project);
    std::fs::write(&file, &whole).unwrap();
    project.pipeline(&only).succeeded();
    assert_eq!(project.value("SELECT count(*) FROM shop.orders"), "2697");
}

#[test]
fn too_many_misfits_fail_the_run_and_strict_allows_none() {
    let mut project = Project::new();
    project.set("sources.shop.tables.orders.max_rejected", "0%");
    let rejected = error(&project, &["run", "nightly", "--only", "shop.orders"], 6);
    assert_eq!(rejected["code"], "E-REJECTED");
    nothing_was_loaded(&project);
    project.set("sources.shop.tables.orders.max_rejected", "1%");
    assert_eq!(error(&project, &["run", "nightly", "--only", "shop.orders", "--strict"], 6)["code"], "E-REJECTED");
}

#[test]
fn a_wrong_model_is_found_before_a_run_and_a_failed_data_test_publishes_nothing_of_it() {
    let mut project = Project::new();
    let models = project.folder().join("models");
    place::copy(&place::repository().join("sql"), &models);
    project.set("project.models", models.to_str().unwrap());
    project.pipeline(&["run", "nightly"]).succeeded();
    let before = project.contents("SELECT * FROM stores");

    let statement = models.join("base/stores.sql");
    let text = std::fs::read_to_string(&statement).unwrap();
    std::fs::write(&statement, text.replacen("FROM platform.stores", "FROM platform.storez", 1)).unwrap();
    let wrong = error(&project, &["config", "check"], 2);
    assert!(format!("{wrong}").contains("stores.sql"), "{wrong}");
    std::fs::write(&statement, &text).unwrap();

    let contract = models.join("base/stores.toml");
    let mut promises = std::fs::read_to_string(&contract).unwrap();
    promises.push_str("\n[[tests]]\nkind = \"range\"\ncolumn = \"delivery_radius_m\"\nmax = 1\n");
    std::fs::write(&contract, promises).unwrap();
    let failed = error(&project, &["run", "nightly"], 6);
    assert_eq!(failed["code"], "E-MODEL-TEST", "{failed}");
    assert_eq!(project.contents("SELECT * FROM stores"), before, "the last good version stays");
}

#[test]
fn a_second_run_at_once_is_refused_and_an_interrupted_one_is_continued() {
    let project = Project::new();
    let mut first = project.start(&["run", "nightly"]);
    let landing = project.folder().join(".pipeline/landing/nightly");
    first.until("the first snapshot", |_| landing.exists());
    first.signal("STOP");
    let outcome = project.pipeline(&["run", "nightly", "--output", "json"]);
    let refused = outcome.exited(5).error();
    assert_eq!(refused["code"], "E-LEASE");
    first.signal("CONT");
    first.signal("INT");
    let interrupted = first.wait();
    assert!(interrupted.code == Some(130) || interrupted.code == Some(0), "{interrupted}");
    project.pipeline(&["run", "nightly", "--lock-wait", "5"]).succeeded();
    pipeline_tests::Answers::of_fixtures().assert_lake(&project);
}

#[test]
fn no_personal_value_is_written_in_the_clear() {
    let project = Project::new();
    let outcome = project.pipeline(&["run", "nightly", "-vv"]);
    assert!(outcome.succeeded().keeps_secret("@example."), "{outcome}");
    let hashed = project.value("SELECT count(*) FROM customers WHERE email IS NOT NULL AND length(email) <> 64");
    assert_eq!(hashed, "0");
    assert_ne!(project.value("SELECT count(DISTINCT email) FROM customers"), "0");
}
