//! Where numbers come from: `pipeline why`, and the OpenLineage events of runs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use pipeline_tests::{Project, place};
use serde_json::Value;

use crate::local::{RUN, SMALL, edit, own_models, refused};

/// A project after a run over small data.
fn project() -> Project {
    let mut project = Project::new();
    place::copy(&SMALL.state, &project.folder().join(".pipeline"));
    SMALL.base.feed(&mut project);
    project
}

/// Marts with their keys.
const KEYS: &[(&str, &str)] = &[
    ("birthdays_due", "customer_id, birthday_on"),
    ("category_affinities", "has, wants"),
    ("coverage_gaps", "cell"),
    ("coverage_orders", "business_date, resolution, cell, currency"),
    ("coverage_stores", "business_date, store_id, currency"),
    ("customer_features", "customer_id"),
    ("customer_order_history", "order_id"),
    ("customer_preferences", "customer_id, kind, value"),
    ("customer_values", "customer_id, kind, value"),
    ("customers", "customer_id"),
    ("deliveries", "delivery_id"),
    ("finance_reconciliation", "subject, currency, finding"),
    ("loyalty_ledger", "entry_id"),
    ("loyalty_liability", "store_id, month"),
    ("offers", "offer_code"),
    ("operations_hourly", "local_date, local_hour, store_id, currency"),
    ("order_items", "order_id, line_number"),
    ("order_status_events", "order_id, event_number"),
    ("orders", "order_id"),
    ("payments", "transaction_id"),
    ("segment_birthdays", "customer_id, birthday_on"),
    ("stores", "store_id"),
];

/// Columns that rank a row among others, or count on from rows before it: they cannot be computed from its own rows alone.
const AMONG_OTHERS: &[&str] = &[
    "coverage_gaps.opportunity_rank",
    "customer_features.frequency_score",
    "customer_features.monetary_score",
    "customer_features.recency_score",
    "customer_order_history.customer_order_number",
    "customer_preferences.place",
    "loyalty_liability.outstanding",
    "order_status_events.minutes_since_previous",
];

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn why(project: &Project, table: &str, key: &[String], more: &[&str]) -> Value {
    let mut arguments = vec!["why", table];
    arguments.extend(key.iter().map(String::as_str));
    arguments.extend(["--output", "json"]);
    arguments.extend(more);
    serde_json::from_str(&project.pipeline(&arguments).succeeded().stdout).unwrap()
}

#[test]
fn the_rows_that_why_finds_make_the_same_row_again_in_every_mart() {
    let project = project();
    let mut asked = BTreeSet::new();
    for (table, key) in KEYS {
        // Two of each, chosen by a hash that has nothing to do with the data.
        let sql = format!("SELECT {key} FROM {table} ORDER BY sha256(CAST({} AS VARCHAR)) LIMIT 2", key.split(',').next().unwrap());
        for row in project.query(&sql) {
            let names: Vec<&str> = key.split(", ").collect();
            let values: Vec<String> = names.iter().map(|name| text(&row[*name])).collect();
            let answer = why(&project, table, &values, &[]);
            for (name, value) in names.iter().zip(&values) {
                assert_eq!(text(&answer["row"][*name]), *value, "{table}");
            }
            for column in answer["differs"].as_array().unwrap() {
                let name = format!("{table}.{}", column.as_str().unwrap());
                assert!(AMONG_OTHERS.contains(&name.as_str()), "{name} is another one from the rows found: {values:?}");
            }
            let inputs = answer["inputs"].as_array().unwrap();
            let is_extracted = |input: &&Value| input["table"].as_str().unwrap().contains('.') && input["rows"].as_u64().unwrap() > 0;
            assert!(inputs.iter().any(|input| is_extracted(&input)), "{table}: no row of a source was found");
            asked.insert(*table);
        }
    }
    assert!(asked.len() >= 17, "too few marts have rows: {asked:?}");
}

#[test]
fn why_follows_a_cell_of_the_map_to_its_orders_and_their_payments() {
    let project = project();
    let cell = project
        .query("SELECT * FROM coverage_orders WHERE completed > 0 ORDER BY orders DESC, resolution DESC, cell, business_date LIMIT 1");
    let cell = &cell[0];
    let key: Vec<String> = ["business_date", "resolution", "cell", "currency"].iter().map(|name| text(&cell[*name])).collect();
    let answer = why(&project, "coverage_orders", &key, &["--limit", "2"]);
    let input = |table: &str| answer["inputs"].as_array().unwrap().iter().find(|input| input["table"] == table).unwrap();
    let orders = input("orders");
    assert_eq!(orders["rows"], cell["orders"]);
    assert!(input("shop.orders")["rows"].as_u64() >= orders["rows"].as_u64());
    assert!(orders["shown"].as_array().unwrap().len() <= 2);
    assert!(input("platform.stores")["rows"].as_u64().unwrap() >= 1);
    let found_by = orders["found_by"].to_string();
    assert!(found_by.contains("business_date") && found_by.contains("h3_cell"), "{found_by}");
    // The same for people.
    let mut arguments = vec!["why", "coverage_orders"];
    arguments.extend(key.iter().map(String::as_str));
    let shown = project.pipeline(&arguments);
    let shown = &shown.succeeded().stdout;
    assert!(shown.contains("computed again from these rows alone, every column has the same value"), "{shown}");
    assert!(shown.contains("shop.orders"), "{shown}");
}

#[test]
fn why_says_what_is_wrong_with_a_question() {
    let project = project();
    for (arguments, words) in [
        (&["nothing", "1"][..], "Models are: "),
        (&["shop.orders", "1"], "extracted"),
        (&["coverage_stores", "2025-11-03"], "BUSINESS_DATE STORE_ID CURRENCY"),
        (&["coverage_stores", "yesterday", "1", "PLN"], "business_date, store_id, currency"),
        (&["stores", "424242"], "SELECT store_id FROM stores LIMIT 10"),
    ] {
        let arguments: Vec<&str> = ["why"].iter().chain(arguments).chain(&["--output", "json"]).copied().collect();
        let outcome = project.pipeline(&arguments);
        let error = refused(&outcome, 2, "E-WHY");
        assert!(error["hint"].as_str().unwrap().contains(words), "{error}");
        assert!(!error.to_string().contains("424242") && !error.to_string().contains("yesterday"), "{error}");
    }
}

fn events(project: &Project) -> Vec<Value> {
    let file = project.folder().join("lineage.ndjson");
    std::fs::read_to_string(file).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Each run's events in their order, by the name of its job.
fn by_job(events: &[Value]) -> BTreeMap<String, Vec<String>> {
    let mut jobs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for event in events {
        jobs.entry(text(&event["job"]["name"])).or_default().push(text(&event["eventType"]));
    }
    jobs
}

#[test]
fn a_run_tells_of_itself_and_of_every_step_once() {
    let mut project = Project::new();
    SMALL.base.feed(&mut project);
    project.set("openlineage.file", "lineage.ndjson");
    project.pipeline(&RUN).succeeded();
    let told = events(&project);
    let jobs = by_job(&told);
    for (job, transitions) in &jobs {
        assert_eq!(transitions, &["START", "COMPLETE"], "{job}");
    }
    for job in
        ["nightly", "nightly.extract.shop.orders", "nightly.load.lake.shop.orders", "nightly.model.orders", "nightly.load.lake.orders"]
    {
        assert!(jobs.contains_key(job), "{job} is not among {:?}", jobs.keys());
    }
    let run = told[0]["run"]["runId"].clone();
    let of_steps = told.iter().filter(|event| event["job"]["name"] != "nightly");
    assert!(of_steps.clone().count() > 100);
    assert!(of_steps.clone().all(|event| event["run"]["facets"]["parent"]["run"]["runId"] == run));
    let rows = project.value("SELECT count(*) AS n FROM orders");
    let model = told.iter().find(|event| event["job"]["name"] == "nightly.model.orders" && event["eventType"] == "COMPLETE").unwrap();
    assert_eq!(text(&model["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"]), rows);
    // No e-mail address, name or note of a customer: what rows hold is in no event.
    let all = std::fs::read_to_string(project.folder().join("lineage.ndjson")).unwrap();
    for secret in ["@", "street ", "env:"] {
        let found = all.find(secret).map(|at| all[at.saturating_sub(40)..at + 20].to_owned());
        assert_eq!(found, None, "{secret}");
    }
}

#[test]
fn a_run_that_fails_tells_code_and_message_and_one_whose_receiver_is_away_does_not_fail() {
    let mut project = Project::new();
    SMALL.base.feed(&mut project);
    let models = own_models(&mut project);
    edit(&models.join("base/stores.toml"), "[[tests]]", "[[tests]]\nkind = \"range\"\ncolumn = \"store_id\"\nmax = 0\n\n[[tests]]");
    project.set("openlineage.file", "lineage.ndjson");
    refused(&project.pipeline(&["run", "nightly", "--output", "json"]), 6, "E-MODEL-TEST");
    let told = events(&project);
    let jobs = by_job(&told);
    assert_eq!(jobs["nightly"], ["START", "FAIL"]);
    assert_eq!(jobs["nightly.model.stores"], ["START", "FAIL"]);
    assert!(!jobs.contains_key("nightly.model.coverage_stores"), "what was never begun is not told");
    let failed = told.iter().find(|event| event["job"]["name"] == "nightly.model.stores" && event["eventType"] == "FAIL").unwrap();
    let message = text(&failed["run"]["facets"]["errorMessage"]["message"]);
    assert!(message.starts_with("E-MODEL-TEST: ") && message.contains("stores"), "{message}");

    let mut project = Project::new();
    SMALL.base.feed(&mut project);
    // Nobody listens on port 9.
    project.set("openlineage.url", "env:LINEAGE_URL").environment("LINEAGE_URL", "http://user:word@127.0.0.1:9/");
    let began = Instant::now();
    let outcome = project.pipeline(&RUN);
    let outcome = outcome.succeeded();
    assert!(began.elapsed() < Duration::from_secs(300));
    assert!(outcome.stderr.contains("OpenLineage events were not sent: the receiver could not be reached"), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("word") && !outcome.stdout.contains("word"));
}
