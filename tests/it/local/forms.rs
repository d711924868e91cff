//! What the commands print: the promised forms, on standard output nothing but data, on standard error the rest.

use pipeline_tests::{Answers, Project, place};
use serde_json::Value;

use crate::local::{RUN, data, run};

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

fn assert_has(value: &Value, names: &[&str]) {
    let found = keys(value);
    for name in names {
        assert!(found.contains(name), "\"{name}\" is missing among {found:?}");
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("\"{key}\" is no text in {value}"))
}

#[test]
fn a_run_reports_every_step_in_one_object() {
    let project = Project::new();
    let outcome = project.pipeline(&["run", "nightly", "--output", "json"]);
    let report = outcome.succeeded().json();
    assert_has(&report, &["schema_version", "run_id", "pipeline", "status", "window", "steps", "next"]);
    assert_eq!(report["schema_version"], 1);
    assert_eq!(report["pipeline"], "nightly");
    assert_eq!(report["status"], "done");
    assert_eq!(report["window"], Value::Null);
    assert!(text(&report, "next").starts_with("pipeline "), "{report}");
    let answers = Answers::of_fixtures();
    let steps = report["steps"].as_array().unwrap();
    for step in steps {
        assert_has(step, &["name", "kind", "status", "rows_in", "rows_out", "rows_rejected", "bytes", "duration_ms"]);
        assert_eq!(step["status"], "done", "{step}");
        assert!(text(step, "name").starts_with(text(step, "kind")), "{step}");
    }
    let step = |name: &str| steps.iter().find(|step| step["name"] == name).unwrap_or_else(|| panic!("no step \"{name}\""));
    for table in answers.tables() {
        let extract = step(&format!("extract {table}"));
        let (rows_in, rows_out) = (extract["rows_in"].as_u64().unwrap(), extract["rows_out"].as_u64().unwrap());
        assert_eq!(extract["rows_rejected"], answers.rejected(table), "{extract}");
        assert_eq!(rows_in, rows_out + answers.rejected(table), "{extract}");
        assert_eq!(step(&format!("load lake {table}"))["rows_out"], answers.rows(table));
    }
    for mart in answers.marts() {
        assert_eq!(step(&format!("model {mart}"))["rows_out"], answers.rows(mart));
        assert_eq!(step(&format!("load lake {mart}"))["rows_out"], answers.rows(mart));
    }
    assert_eq!(steps.len(), 2 * (answers.tables().len() + place::models().len()));
    answers.assert_lake(&project);

    // The same facts later, and in short.
    let id = text(&report, "run_id");
    let status = project.pipeline(&["status", id, "--output", "json"]).succeeded().json();
    assert_has(&status, &["schema_version", "run_id", "pipeline", "status", "steps", "started_at", "last_at"]);
    assert_eq!(status["run_id"], id);
    assert_eq!(status["status"], "done");
    assert_eq!(status["steps"].as_array().unwrap().len(), steps.len());
    let short: String = id.chars().take(13).collect();
    let told = project.pipeline(&["status", &short]);
    let out = &told.succeeded().stdout;
    assert!(out.contains(id) && out.contains("shop.orders") && out.contains("3 rows rejected"), "{told}");

    let again = run(&project);
    for arguments in [["status", "--output", "json"].as_slice(), &["history", "nightly", "--output", "json"]] {
        let list = project.pipeline(arguments).succeeded().json();
        assert_eq!(list["schema_version"], 1);
        let runs: Vec<(&str, &str)> = list["runs"].as_array().unwrap().iter().map(|run| (text(run, "run"), text(run, "status"))).collect();
        assert_eq!(runs, [(text(&again, "run_id"), "unchanged"), (id, "done")], "the newest first");
    }
    let one = project.pipeline(&["history", "nightly", "--limit", "1", "--output", "json"]).succeeded().json();
    assert_eq!(one["runs"].as_array().unwrap().len(), 1);
    let told = project.pipeline(&["history", "nightly"]);
    assert_eq!(told.succeeded().stdout.lines().count(), 3, "a head and two runs: {told}");
}

#[test]
fn people_get_a_summary_and_programs_only_data() {
    let project = Project::new();
    let outcome = project.pipeline(&RUN);
    let out = &outcome.succeeded().stdout;
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].starts_with("nightly done"), "{outcome}");
    for word in ["read", "rejected", "loaded", "run ", "next"] {
        assert!(out.contains(word), "\"{word}\" is missing: {outcome}");
    }
    assert!(!out.contains('\u{1b}') && !outcome.stderr.contains('\u{1b}'), "no colours without a terminal");
    assert!(!out.contains("✓") && outcome.stderr.contains("✓ load lake orders"), "progress is no data: {outcome}");
    assert!(outcome.stderr.contains("quarantine"), "rejected rows are warned of: {outcome}");

    let quiet = project.pipeline(&["run", "nightly", "--quiet", "--full-refresh"]);
    assert_eq!(quiet.succeeded().stderr, "", "{quiet}");
    let line = project.pipeline(&["run", "nightly", "--output", "ndjson", "--progress", "none"]);
    assert_eq!(line.succeeded().stdout.lines().count(), 1, "{line}");
    assert_eq!(line.json()["status"], "unchanged");
    let events = project.pipeline(&["run", "nightly", "--output", "json", "--progress", "json", "--full-refresh"]);
    assert_eq!(events.succeeded().json()["status"], "done");
    let kinds: Vec<Value> = events.stderr.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["event"].take()).collect();
    assert!(kinds.contains(&"step_started".into()) && kinds.contains(&"step_finished".into()), "{kinds:?}");
}

#[test]
fn a_plan_tells_what_would_be_done_and_does_nothing() {
    let project = Project::new();
    let answers = Answers::of_fixtures();
    let plan = project.pipeline(&["plan", "nightly", "--output", "json"]).succeeded().json();
    assert_eq!(plan["schema_version"], 1);
    assert_eq!(plan["pipeline"], "nightly");
    let named = |section: &str, key: &str| -> Vec<String> {
        plan[section].as_array().unwrap().iter().map(|entry| text(entry, key).to_owned()).collect()
    };
    let mut tables = named("tables", "table");
    tables.sort_unstable();
    assert_eq!(tables, answers.tables());
    let mut models = named("models", "table");
    models.sort_unstable();
    assert_eq!(models, place::models());
    assert_eq!(named("changes", "sign").iter().filter(|sign| *sign == "+").count(), tables.len() + models.len());
    let orders = plan["tables"].as_array().unwrap().iter().find(|table| table["table"] == "shop.orders").unwrap();
    let (estimated, slices) = (orders["rows_estimated"].as_u64().unwrap(), orders["slices"].as_u64().unwrap());
    assert!(estimated >= answers.rows("shop.orders") && slices >= 1, "{orders}");
    assert!(text(orders, "statement").contains("orders.bson"), "{orders}");
    assert!(data(&project).is_empty());
    let dry = project.pipeline(&["run", "nightly", "--dry-run", "--output", "json"]).succeeded().json();
    assert_eq!(dry, plan);
    assert!(data(&project).is_empty());
    let told = project.pipeline(&["plan", "nightly"]);
    let out = &told.succeeded().stdout;
    assert!(out.contains("would read") && out.contains("+ lake table shop.orders") && out.contains("segment_birthdays"), "{told}");
    let history = project.pipeline(&["history", "nightly", "--output", "json"]).succeeded().json();
    assert_eq!(history["runs"].as_array().unwrap().len(), 0, "a plan is no run");
}

#[test]
fn the_configuration_is_shown_with_where_each_value_comes_from() {
    let mut project = Project::new();
    project.environment("PIPELINE_PARAMETERS__HORIZON_DAYS", "9");
    let shown = project.pipeline(&["config", "show", "--set", "project.attempts=2", "--output", "json"]).succeeded().json();
    assert_eq!(shown["profile"], "local");
    let entry = |key: &str| {
        let values = shown["values"].as_array().unwrap();
        values.iter().find(|value| value["key"] == key).unwrap_or_else(|| panic!("no \"{key}\" in {shown}")).clone()
    };
    assert_eq!(entry("project.attempts")["value"], "2");
    assert!(text(&entry("project.attempts"), "origin").contains("--set"));
    assert!(text(&entry("project.as_of"), "origin").contains("profile local"));
    assert!(text(&entry("project.memory_limit"), "origin").starts_with("line "));
    let told = project.pipeline(&["config", "show"]);
    assert!(told.succeeded().stdout.contains("project.memory_limit"), "{told}");
    let checked = project.pipeline(&["config", "check", "--output", "json"]).succeeded().json();
    assert_eq!((&checked["status"], &checked["tables"], &checked["models"]), (&"ok".into(), &10.into(), &place::models().len().into()));
    assert!(project.pipeline(&["config", "check"]).succeeded().stdout.starts_with("ok"));
    assert!(!project.folder().join(".pipeline/ledger.db").exists(), "looking at the configuration writes nothing");
}

#[test]
fn rows_of_a_query_come_in_three_forms() {
    let project = Project::new();
    let sql = "SELECT * FROM (VALUES (1, CAST(2.50 AS DECIMAL(10,2)), 'é', CAST(NULL AS BIGINT), NULL, TIMESTAMP '2025-11-04T06:00:00Z', \
               true, 9007199254740993), (2, CAST(-0.05 AS DECIMAL(10,2)), '\"', 7, NULL, NULL, false, 1)) \
               AS t (number, money, word, gap, nothing, instant, yes, big) ORDER BY number";
    let first = r#"{"big":"9007199254740993","gap":null,"instant":"#;
    let json = project.pipeline(&["query", sql, "--output", "json"]);
    let rows = json.succeeded().rows();
    assert_eq!(rows.len(), 2, "{json}");
    assert_eq!((&rows[0]["number"], &rows[0]["money"], &rows[0]["word"]), (&1.into(), &"2.50".into(), &"é".into()), "{json}");
    assert_eq!((&rows[1]["money"], &rows[1]["word"], &rows[1]["gap"]), (&"-0.05".into(), &"\"".into(), &7.into()), "{json}");
    assert_eq!((&rows[0]["gap"], &rows[0]["nothing"], &rows[1]["instant"]), (&Value::Null, &Value::Null, &Value::Null), "{json}");
    assert_eq!((&rows[0]["yes"], &rows[1]["yes"]), (&true.into(), &false.into()), "{json}");
    assert!(rows[0]["instant"].as_str().unwrap().starts_with("2025-11-04T06:00:00"), "{json}");
    let lines = project.pipeline(&["query", sql, "--output", "ndjson"]);
    let parsed: Vec<Value> = lines.succeeded().stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(parsed, rows.into_iter().map(Value::Object).collect::<Vec<_>>());
    assert!(lines.stdout.starts_with(first), "an integer too large for a double is text: {lines}");
    let table = project.pipeline(&["query", sql]);
    let out = &table.succeeded().stdout;
    assert!(out.contains("money") && out.contains("-0.05") && out.contains('é'), "{table}");
    let none = project.pipeline(&["query", "SELECT 1 AS one WHERE false", "--output", "json"]);
    assert_eq!(none.succeeded().rows().len(), 0, "{none}");
}
