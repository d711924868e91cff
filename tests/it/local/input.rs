//! Bad input: a mistake in the configuration, a dump that is missing, cut off or of another shape. Each ends with its code, a
//! word and a hint, and nothing changes.

use std::path::{Path, PathBuf};

use pipeline_tests::{Outcome, Project, place};
use serde_json::Value;

use crate::local::{RUN, SMALL, assert_untouched, contents, data, own_dumps, refused};

fn run(project: &Project, more: &[&str]) -> Outcome {
    let arguments: Vec<&str> = RUN.into_iter().chain(["--output", "json"]).chain(more.iter().copied()).collect();
    project.pipeline(&arguments)
}

fn hint(error: &Value) -> &str {
    error["hint"].as_str().unwrap()
}

/// All that the error says, in one text.
fn said(error: &Value) -> String {
    error.to_string()
}

/// A project in which a run has ended well, reading dumps of its own.
fn after_a_run() -> (Project, PathBuf) {
    let mut project = Project::new();
    place::copy(&SMALL.state, &project.folder().join(".pipeline"));
    SMALL.base.feed(&mut project);
    let folder = project.folder().join("dumps");
    place::copy(&SMALL.base.folder, &folder);
    crate::local::lead_to(&mut project, &folder);
    (project, folder)
}

#[test]
fn a_mistake_in_the_configuration_is_named_with_its_place() {
    // What is set, the code, and words that the error must have.
    let mistakes: [(&str, toml::Value, &str, &[&str]); 13] = [
        ("project.memory_limt", "1GiB".into(), "E-CONFIG", &["memory_limt", "Did you mean \\\"memory_limit\\\"?"]),
        ("sources.shop.tables.orders.coursor", "updated_at".into(), "E-CONFIG", &["coursor", "Did you mean \\\"cursor\\\"?"]),
        ("sorces.shop.kind", "files".into(), "E-CONFIG", &["sorces", "Did you mean \\\"sources\\\"?"]),
        ("project.attempts", "often".into(), "E-CONFIG", &["attempts", "whole number"]),
        ("project.memory_limit", "plenty".into(), "E-CONFIG", &["memory_limit"]),
        ("project.max_rejected", "150%".into(), "E-CONFIG", &["max_rejected"]),
        ("project.time_zone", "Europe/Atlantis".into(), "E-CONFIG", &["time_zone"]),
        ("sources.shop.tables.orders.columns.status", "txt".into(), "E-CONTRACT", &["status", "txt", "types.md"]),
        ("sources.shop.tables.orders.columns.status", "decimal(99,2)".into(), "E-CONTRACT", &["status"]),
        ("sources.shop.tables.orders.key", toml::Value::Array(vec!["nothing".into()]), "E-CONTRACT", &["nothing", "orders"]),
        ("sources.shop.tables.orders.cursor", "nothing".into(), "E-CONTRACT", &["nothing", "orders"]),
        ("pipelines.nightly.tables", toml::Value::Array(vec!["shop.nothing".into()]), "E-CONFIG", &["shop.nothing"]),
        ("profiles.local.sources.shop.kind", "papyrus".into(), "E-CONFIG", &["kind", "papyrus"]),
    ];
    for (key, value, code, words) in mistakes {
        let mut project = Project::new();
        project.set(key, value);
        for arguments in [RUN.as_slice(), &["config", "check"]] {
            let arguments: Vec<&str> = arguments.iter().copied().chain(["--output", "json"]).collect();
            let outcome = project.pipeline(&arguments);
            let error = refused(&outcome, 2, code);
            for word in words {
                assert!(said(&error).contains(word), "\"{word}\" is missing: {outcome}");
            }
            assert_eq!(outcome.stdout, "", "{outcome}");
        }
        assert!(!project.folder().join(".pipeline").exists(), "\"{key}\": nothing is made before the configuration is right");
    }
}

#[test]
fn a_configuration_that_is_missing_or_no_toml_is_named() {
    let project = Project::new();
    let file = project.folder().join("pipelines.toml");
    std::fs::write(&file, "[project\nname = 1").unwrap();
    let error = refused(&run(&project, &[]), 2, "E-CONFIG");
    assert!(said(&error).contains("pipelines.toml") && said(&error).contains("line 1"), "{error}");
    std::fs::remove_file(&file).unwrap();
    let error = refused(&run(&project, &[]), 2, "E-CONFIG");
    assert!(hint(&error).contains("--config"), "{error}");
    let error = refused(&run(&project, &["--config", "other.toml"]), 2, "E-CONFIG");
    assert!(said(&error).contains("other.toml"), "{error}");
}

#[test]
fn a_name_that_nobody_declared_is_answered_with_those_that_are() {
    let project = Project::new();
    let json = ["--output", "json"];
    let ask = |arguments: &[&str]| project.pipeline(&[arguments, &json].concat());
    assert_eq!(hint(&refused(&ask(&["run", "weekly"]), 2, "E-CONFIG")), "Use one of: nightly.");
    assert_eq!(hint(&refused(&ask(&["plan", "weekly"]), 2, "E-CONFIG")), "Use one of: nightly.");
    assert_eq!(hint(&refused(&ask(&["history", "weekly"]), 2, "E-CONFIG")), "Use one of: nightly.");
    let days = ["backfill", "weekly", "--from", "2025-11-01", "--to", "2025-11-02"];
    assert_eq!(hint(&refused(&ask(&days), 2, "E-CONFIG")), "Use one of: nightly.");
    assert_eq!(hint(&refused(&run(&project, &["--profile", "prod"]), 2, "E-CONFIG")), "Use one of: local, live.");
    assert!(said(&refused(&run(&project, &["--only", "nothing"]), 2, "E-SELECTION")).contains("nothing"));
    refused(&run(&project, &["--from", "2025-11-05", "--to", "2025-11-01"]), 2, "E-TIME");
    refused(&run(&project, &["--from", "yesterday", "--to", "2025-11-01"]), 2, "E-TIME");
    refused(&run(&project, &["--as-of", "soon"]), 2, "E-TIME");
    refused(&ask(&["status", "0000"]), 2, "E-RUN-UNKNOWN");
    assert!(said(&refused(&ask(&["query", "SELECT nothing FROM (SELECT 1 AS one)"]), 2, "E-SQL")).contains("line 1, column 8"));
    refused(&ask(&["query", "SELECT * FROM nothing"]), 2, "E-SQL");
    refused(&ask(&["query", "DROP TABLE orders"]), 2, "E-SQL");
    assert!(data(&project).is_empty());
}

#[test]
fn secrets_come_from_where_they_are_named_and_nowhere_else() {
    let mut project = Project::new();
    project.profile("live");
    let missing = |project: &Project, name: &str| {
        let outcome = run(project, &[]);
        let error = refused(&outcome, 2, "E-SECRET");
        assert!(said(&error).contains(name), "\"{name}\" is not named: {outcome}");
        assert!(!project.folder().join(".pipeline").exists() || data(project).is_empty());
    };
    missing(&project, "PIPELINE_PRIVACY_KEY");
    project.environment("PIPELINE_PRIVACY_KEY", "0123456789abcdef0123456789abcdef");
    project.set("project.landing", ".pipeline/landing").remove("profiles.live.destinations");
    project.remove("profiles.live.pipelines").remove("profiles.live.project.landing");
    missing(&project, "PLATFORM_POSTGRES_URL");

    // Who only reads needs no key, unless the statement hashes.
    let mut project = Project::new();
    project.set("profiles.local.project.privacy.key", "env:NOWHERE");
    assert_eq!(project.value("SELECT 7 AS n"), "7");
    let hashed = project.pipeline(&["query", "SELECT keyed_hash('a') AS hash", "--output", "json"]);
    assert!(said(&refused(&hashed, 2, "E-SECRET")).contains("NOWHERE"), "{hashed}");

    // A secret in the file itself is refused, and not said again.
    for (key, secret) in [
        ("profiles.live.sources.shop.url", "mongodb://user:hunter2-mongo@host/shop"),
        ("profiles.live.sources.platform.url", "postgres://user:hunter2-postgres@host/platform"),
        ("project.privacy.key", "hunter2-privacy-0123456789abcdef"),
    ] {
        let mut project = Project::new();
        project.environment("PIPELINE_PRIVACY_KEY", "0123456789abcdef0123456789abcdef").profile("live").set(key, secret);
        for arguments in [["run", "nightly", "-vv"].as_slice(), &["config", "check"], &["config", "show"], &["plan", "nightly"]] {
            let arguments: Vec<&str> = arguments.iter().copied().chain(["--output", "json"]).collect();
            let outcome = project.pipeline(&arguments);
            assert!(outcome.keeps_secret("hunter2"), "{outcome}");
            if arguments[0] == "run" {
                let error = refused(&outcome, 2, "E-SECRET");
                assert!(hint(&error).contains("env:"), "{outcome}");
            }
        }
        assert!(data(&project).is_empty());
    }
}

/// Spoils a dump, and proves that the run which reads it alone is refused and the lake keeps what it had.
fn spoilt(spoil: impl FnOnce(&Path), table: &str, exit: i32, code: &str, named: &str) {
    let (project, dumps) = after_a_run();
    let before = data(&project);
    spoil(&dumps);
    let outcome = run(&project, &["--only", table]);
    let error = refused(&outcome, exit, code);
    assert!(said(&error).contains(named), "\"{named}\" is not named: {outcome}");
    assert!(said(&error).contains(table), "\"{table}\" is not named: {outcome}");
    assert_eq!(outcome.json()["status"], "failed", "{outcome}");
    assert_untouched(&before, &data(&project));
    assert_eq!(SMALL.base_lake[table], project.contents(&format!("SELECT * FROM {table}")));
}

fn cut(file: &Path, part: usize) {
    let whole = std::fs::read(file).unwrap();
    std::fs::write(file, &whole[..whole.len() * part / 100]).unwrap();
}

#[test]
fn a_dump_that_is_missing_is_named() {
    let file = "mongodb/shop/orders.bson";
    spoilt(|dumps| std::fs::remove_file(dumps.join(file)).unwrap(), "shop.orders", 2, "E-FILE-MISSING", "mongodb/shop");
    let file = "postgres/admin.customers.copy";
    spoilt(|dumps| std::fs::remove_file(dumps.join(file)).unwrap(), "platform.customers", 2, "E-FILE-MISSING", "dumps/postgres");
    spoilt(|dumps| std::fs::remove_dir_all(dumps.join("postgres")).unwrap(), "platform.stores", 2, "E-FILE-MISSING", "dumps/postgres");
}

#[test]
fn a_dump_that_is_cut_off_is_named_and_nothing_of_it_is_loaded() {
    spoilt(|dumps| cut(&dumps.join("mongodb/shop/orders.bson"), 70), "shop.orders", 6, "E-FILE-TRUNCATED", "orders.bson");
    let file = "postgres/payments.transactions.copy";
    spoilt(|dumps| cut(&dumps.join(file), 99), "platform.transactions", 6, "E-FILE-TRUNCATED", "payments.transactions.copy");
    spoilt(|dumps| cut(&dumps.join(file), 0), "platform.transactions", 6, "E-FILE-TRUNCATED", "payments.transactions.copy");
    let not_copy = |dumps: &Path| std::fs::write(dumps.join(file), "id,amount\n1,2.50\n").unwrap();
    spoilt(not_copy, "platform.transactions", 6, "E-FILE-TRUNCATED", "payments.transactions.copy");
}

#[test]
fn a_compressed_dump_that_is_cut_off_is_named_and_loads_once_it_is_whole() {
    let mut project = Project::new();
    let dumps = own_dumps(&mut project);
    for (file, table) in [("mongodb/shop/orders.bson.gz", "shop.orders"), ("postgres/loyalty.ledger.copy.gz", "platform.loyalty_ledger")] {
        let file = dumps.join(file);
        let whole = std::fs::read(&file).unwrap();
        for part in [60, 0] {
            std::fs::write(&file, &whole[..whole.len() * part / 100]).unwrap();
            let error = refused(&run(&project, &["--only", table]), 6, "E-FILE-TRUNCATED");
            assert!(said(&error).contains(file.to_str().unwrap()), "{error}");
            assert!(data(&project).is_empty(), "{:?}", data(&project).keys());
        }
        std::fs::write(&file, &whole).unwrap();
    }
    assert_eq!(crate::local::run(&project)["status"], "done");
    pipeline_tests::Answers::of_fixtures().assert_lake(&project);
}

#[test]
fn a_column_that_the_dump_does_not_have_or_has_of_another_type_is_named() {
    for (key, declared, code, words) in [
        ("sources.platform.tables.stores.columns.nickname", "text", "E-PG-COLUMN", ["nickname", "platform.stores"]),
        ("sources.platform.tables.stores.columns.opened_on", "uuid", "E-PG-TYPE", ["opened_on", "platform.stores"]),
        ("sources.platform.tables.stores.relation", "admin.shops", "E-FILE-MISSING", ["platform.stores", "postgres"]),
    ] {
        let (mut project, _) = after_a_run();
        project.set(key, declared);
        let before = data(&project);
        let outcome = run(&project, &["--only", "platform.stores"]);
        let error = refused(&outcome, 2, code);
        for word in words {
            assert!(said(&error).contains(word), "\"{word}\" is missing: {outcome}");
        }
        assert_untouched(&before, &data(&project));
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    // The kernel refuses this to root as well.
    let forbidden = "/sys/pipeline-tests";
    let mut project = Project::new();
    for key in ["project.landing", "project.lake"] {
        let set = format!("{key}={forbidden}");
        let outcome = run(&project, &["--set", &set]);
        let error = refused(&outcome, 3, "E-LANDING-DENIED");
        assert!(said(&error).contains(forbidden), "{outcome}");
    }
    let set = format!("project.ledger={forbidden}/ledger.db");
    let error = refused(&run(&project, &["--set", &set]), 4, "E-LEDGER");
    assert!(said(&error).contains("ledger.db"), "{error}");
    let file = project.folder().join("a-file");
    std::fs::write(&file, "not a folder").unwrap();
    project.set("project.landing", file.to_str().unwrap());
    let error = refused(&run(&project, &[]), 2, "E-STORAGE");
    assert!(said(&error).contains("a-file"), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "not a folder");
    assert!(contents(&project.folder().join(".pipeline/lake")).is_empty());
}
