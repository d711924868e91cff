//! Rules of segments: shares of hold-outs over many customers, digests, and predicates that are refused.

use std::path::Path;

use pipeline_core::config::Config;
use pipeline_core::error::{Error, Result};
use pipeline_core::name::TableName;
use pipeline_transforms::compute::check_models;
use pipeline_transforms::model::ModelSet;
use pipeline_transforms::model::rules::{Rules, conditions};

use crate::{config, engine, models, runner, script, sources};

/// As many as make a share of 10 % certain to a point: four standard deviations are 1.2 points.
const CUSTOMERS: usize = 10_000;

fn script_of_many() -> String {
    let mut text = String::from(
        "as_of 2025-11-04T06:00:00Z\n\n\
         segment silent\nwhere = \"recency_days > 30\"\npercent = 10\nvalid_days = 14\npriority = 20\nhold_out = \"10%\"\n\n\
         segment anybody\nwhere = \"true\"\npercent = 5\nvalid_days = 14\npriority = 10\nhold_out = \"10%\"\n\n\
         given marts.customers with {\"marketing_opt_in\": true}\n",
    );
    for n in 0..CUSTOMERS {
        text.push_str(&format!("{{\"customer_id\": \"customer {n}\"}}\n"));
    }
    text.push_str(
        "\ngiven marts.customer_features with {\"orders\": 9, \"orders_365_days\": 9, \"first_placed_at\": \"2024-01-01T00:00:00Z\", \
         \"currency\": \"PLN\", \"average_basket\": \"50.00\", \"recency_days\": 40}\n",
    );
    for n in 0..CUSTOMERS {
        text.push_str(&format!("{{\"customer_id\": \"customer {n}\"}}\n"));
    }
    text
}

async fn run(text: &str) -> Vec<String> {
    let config = config();
    let (models, sources) = (models(&config), sources(&config));
    let script = script::parse(text).unwrap();
    let mut runner = runner::Runner::new(&models, &sources, &config.parameters);
    runner.run(&script, text).await.1
}

#[tokio::test]
async fn a_tenth_is_held_out_and_always_the_same_one() {
    let mut text = script_of_many();
    text.push_str("\nmodel discounts_due\n\nmodel offers\n\n");
    // All are silent: who is held out by that rule is given nothing by the other.
    text.push_str(
        "query\nSELECT count(*), count(DISTINCT rule), count(*) FILTER (WHERE is_held_out) BETWEEN 880 AND 1120 FROM discounts_due\n----\n10000|1|true\n\n\
         query\nSELECT count(*) FROM offers AS o JOIN discounts_due AS d ON o.customer_id = d.customer_id WHERE d.is_held_out\n----\n0\n\n",
    );
    // Years later and from nothing, they are the same: the offers that were granted have none of those who are held out.
    text.push_str(
        "as_of 2027-11-04T06:00:00Z\n\ngiven marts.discounts_due\n\nmodel discounts_due\n\n\
         query\nSELECT count(*) FILTER (WHERE is_held_out) BETWEEN 880 AND 1120 FROM discounts_due\n----\ntrue\n\n\
         query\nSELECT count(*) FROM discounts_due AS d LEFT ANTI JOIN offers AS o ON d.customer_id = o.customer_id WHERE NOT d.is_held_out\n----\n0\n\n",
    );
    // Each rule holds others out: of those whom the one does not, the other holds out a tenth again.
    text.push_str(
        "segment silent\nwhere = \"false\"\npercent = 10\nvalid_days = 14\npriority = 20\n\n\
         given marts.discounts_due\n\nmodel discounts_due\n\n\
         query\nSELECT count(*) FILTER (WHERE d.is_held_out) BETWEEN 780 AND 1020 FROM discounts_due AS d JOIN offers AS o ON d.customer_id = o.customer_id\n----\ntrue\n",
    );
    let failures = run(&text).await;
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn rules(keys: &str) -> Result<Rules> {
    let text = format!("[segments.example]\npercent = 10\nvalid_days = 14\npriority = 1\n{keys}\n");
    Rules::new(&Config::load(Path::new("pipelines.toml"), &text, None, &[])?.segments)
}

fn with(keys: &str) -> Result<ModelSet> {
    let config = config();
    models(&config).with_rules(rules(keys)?, &config.parameters, None)
}

async fn check(keys: &str) -> Result<()> {
    let config = config();
    let session = engine::engine(&config.parameters).session("2025-11-04T06:00:00Z".parse().unwrap(), None);
    let models = with(keys)?;
    let made = [TableName::model("discounts_due")?].into();
    check_models(&session, &models, &sources(&config), &made).await
}

fn words(error: &Error) -> String {
    format!("{error:?} {}", error.remedy())
}

#[tokio::test]
async fn predicates_with_a_mistake_are_found_before_anything_runs() {
    for (keys, found) in [
        ("where = \"recency_dys > 30\"", "recency_dys"),
        ("where = \"recency_dys > 30\"", "pipelines.toml, line 5, key segments.example.where"),
        ("where = \"\"\"\norders > 1\n AND recency_dys > 30\"\"\"", "line 2, column 6 of the predicate"),
        ("where = \"recency_days\"", "not true or false"),
        ("where = \"recency_days > 30 AND\"", "Expected"),
        ("where = \"\"", "example"),
        ("where = \"recency_days > 30; DROP TABLE customers\"", "goes on after its end"),
        ("where = \"true) OR (true\"", "goes on after its end"),
        ("where = \"true /* OR\"", "comment"),
        ("where = \"first_placed_at < now()\"", "as_of()"),
        ("where = \"random() < 0.5\"", "random"),
        ("where = \"customer_id IN (SELECT customer_id FROM customers)\"", "reads table \"customers\""),
        ("where = \"customer_id IN (SELECT customer_id FROM shop.orders)\"", "reads table \"shop.orders\""),
        ("where = \"customer_id IN (SELECT customer_id FROM previous.offers)\"", "reads table"),
        ("where = \"EXISTS (DELETE FROM customers)\"", ""),
        ("where = \"EXISTS (WITH gone AS (DELETE FROM customer_preferences RETURNING customer_id) SELECT 1 FROM gone)\"", ""),
        ("where = \"nothing_of_ours(orders)\"", "nothing_of_ours"),
        ("where = \"count(*) > 1\"", ""),
        ("where = \"orders > 1\"\nreason = \"{recency_dys} days\"", "recency_dys"),
        ("where = \"orders > parameter_int('no_such')\"\nreason = \"{orders\"", ""),
    ] {
        match check(keys).await {
            Err(error) => {
                let told = words(&error);
                assert!(told.contains(found), "{keys}: {told}");
                assert!(told.contains("example"), "{keys}: {told}");
                assert_eq!(error.kind().exit_code(), 2, "{keys}: {told}");
            }
            // What only a run can know passes.
            Ok(()) => assert!(keys.contains("no_such"), "{keys} passes"),
        }
    }
}

#[tokio::test]
async fn predicates_may_ask_preferences_and_parameters() {
    for keys in [
        "where = \"EXISTS (SELECT 1 FROM customer_preferences AS p WHERE p.customer_id = customer_features.customer_id AND p.share > 0.5)\"",
        "where = \"orders > 3 OR customer_id IN (SELECT customer_id FROM customer_preferences WHERE value = 'pizza')\"",
        "where = \"orders >= parameter_int('affinity_orders_min') AND first_placed_at < as_of() - INTERVAL '30 days'\"",
        "where = \"true -- everybody\"",
    ] {
        check(keys).await.unwrap_or_else(|error| panic!("{keys}: {error:?}"));
    }
}

#[test]
fn a_rule_that_changes_changes_the_models_that_read_it() {
    let config = config();
    let digest = |models: &ModelSet, name: &str| models.get(&TableName::model(name).unwrap()).unwrap().digest.clone();
    let one = with("where = \"orders > 1\"").unwrap();
    for keys in ["where = \"orders > 2\"", "where = \"orders > 1\"\nhold_out = \"5%\"", "where = \"orders > 1\"\nreason = \"so\""] {
        let other = with(keys).unwrap();
        assert_ne!(digest(&one, "discounts_due"), digest(&other, "discounts_due"), "{keys}");
        assert_eq!(digest(&one, "offers"), digest(&other, "offers"), "{keys}");
    }
    assert_eq!(digest(&one, "discounts_due"), digest(&with("where = \"orders > 1\"\ndescription = \"example\"").unwrap(), "discounts_due"));
    // Parameters that a predicate asks for count as well.
    let asks = || rules("where = \"orders > parameter_int('least', 1)\"").unwrap();
    let mut parameters = config.parameters.clone();
    let before = models(&config).with_rules(asks(), &parameters, None).unwrap();
    parameters.insert("least".to_owned(), "2".to_owned());
    let after = models(&config).with_rules(asks(), &parameters, None).unwrap();
    assert_ne!(digest(&before, "discounts_due"), digest(&after, "discounts_due"));
    // What a predicate reads, the model reads.
    let reads = with("where = \"customer_id IN (SELECT customer_id FROM customer_preferences)\"").unwrap();
    let inputs = &reads.get(&TableName::model("discounts_due").unwrap()).unwrap().inputs;
    assert!(inputs.contains(&TableName::model("customer_preferences").unwrap()), "{inputs:?}");
}

#[test]
fn conditions_are_told_apart() {
    let config = Config::load(
        Path::new("pipelines.toml"),
        "[segments.example]\npercent = 1\nvalid_days = 1\npriority = 1\nwhere = \"(Orders > 1 AND recency_days < 9) AND (a = 1 OR b = 2 AND c = 3) AND \
         customer_id IN (SELECT d FROM customer_preferences)\"",
        None,
        &[],
    )
    .unwrap();
    let found = conditions(&config.segments[0]).unwrap();
    let parts: Vec<(&str, Vec<&str>, bool)> =
        found.iter().map(|part| (part.sql.as_str(), part.columns.iter().map(String::as_str).collect(), part.has_subquery)).collect();
    assert_eq!(
        parts,
        [
            ("Orders > 1", vec!["orders"], false),
            ("recency_days < 9", vec!["recency_days"], false),
            ("(a = 1 OR b = 2 AND c = 3)", vec!["a", "b", "c"], false),
            ("customer_id IN (SELECT d FROM customer_preferences)", vec!["customer_id"], true),
        ]
    );
}
