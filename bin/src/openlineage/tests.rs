//! Events of the repository's own pipeline against what the published schemas ask for: `OpenLineage.json` 2-0-2 and the facets'.

use std::time::{Duration, Instant};

use pipeline_core::run::{RunStatus, StepKind, StepReport, StepStatus};
use pipeline_core::window::Timestamp;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const RUN: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

fn config() -> Config {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pipelines.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    Config::load(&file, &text, Some("live"), &[]).unwrap()
}

fn at() -> Timestamp {
    "2025-11-04T06:00:00.5Z".parse().unwrap()
}

fn report(step: &str, kind: StepKind, status: StepStatus) -> StepReport {
    let text = serde_json::json!({
        "name": step, "kind": kind, "status": status, "rows_in": 7, "rows_out": 5, "rows_rejected": 2, "bytes": 4096, "duration_ms": 12,
        "note": "table \"shop.orders\" could not be read", "code": "E-PG-AUTH",
    });
    serde_json::from_value(text).unwrap()
}

/// A URI has a scheme: RFC 3986, section 3.1.
fn is_uri(value: &Value) -> bool {
    let Some((scheme, rest)) = value.as_str().and_then(|text| text.split_once(':')) else { return false };
    let mut letters = scheme.chars();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && letters.all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter))
        && !rest.is_empty()
        && !rest.contains(char::is_whitespace)
}

/// What every facet has (`BaseFacet`), and what each kind asks for beside it.
fn check_facet(name: &str, facet: &Value) {
    assert!(is_uri(&facet["_producer"]) && is_uri(&facet["_schemaURL"]), "{name}: {facet}");
    let text = |value: &Value, keys: &[&str]| {
        for key in keys {
            assert!(value[*key].is_string(), "{name} lacks {key}: {value}");
        }
    };
    let fields = |fields: &Value| {
        for field in fields.as_array().unwrap() {
            text(field, &["namespace", "name", "field"]);
            for kind in field["transformations"].as_array().unwrap() {
                text(kind, &["type", "subtype"]);
                assert!(["DIRECT", "INDIRECT"].contains(&kind["type"].as_str().unwrap()) && kind["masking"].is_boolean(), "{kind}");
            }
        }
    };
    match name {
        "parent" => {
            assert!(uuid::Uuid::parse_str(facet["run"]["runId"].as_str().unwrap()).is_ok());
            text(&facet["job"], &["namespace", "name"]);
        }
        "errorMessage" => text(facet, &["message", "programmingLanguage"]),
        "processing_engine" => text(facet, &["version"]),
        "jobType" => text(facet, &["processingType", "integration"]),
        "sql" => text(facet, &["query"]),
        "schema" => facet["fields"].as_array().unwrap().iter().for_each(|field| text(field, &["name", "type"])),
        "columnLineage" => {
            facet["fields"].as_object().unwrap().values().for_each(|column| fields(&column["inputFields"]));
            if facet.get("dataset").is_some() {
                fields(&facet["dataset"]);
            }
        }
        "inputStatistics" => assert!(facet["rowCount"].is_u64()),
        "outputStatistics" => assert!(facet["rowCount"].is_u64() && facet["size"].is_u64()),
        other => panic!("no test knows the facet {other}"),
    }
}

fn check_event(event: &Value) {
    assert!(chrono::DateTime::parse_from_rfc3339(event["eventTime"].as_str().unwrap()).is_ok());
    assert!(is_uri(&event["producer"]));
    assert_eq!(event["schemaURL"], "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent");
    assert!(["START", "COMPLETE", "FAIL", "ABORT"].contains(&event["eventType"].as_str().unwrap()));
    assert!(uuid::Uuid::parse_str(event["run"]["runId"].as_str().unwrap()).is_ok());
    let facets = |of: &Value, key: &str| {
        for (name, facet) in of.get(key).and_then(Value::as_object).into_iter().flatten() {
            check_facet(name, facet);
        }
    };
    facets(&event["run"], "facets");
    facets(&event["job"], "facets");
    for thing in [&event["job"]].into_iter().chain(event["inputs"].as_array().unwrap()).chain(event["outputs"].as_array().unwrap()) {
        assert!(thing["namespace"].is_string() && thing["name"].is_string(), "{thing}");
    }
    for dataset in event["inputs"].as_array().unwrap().iter().chain(event["outputs"].as_array().unwrap()) {
        facets(dataset, "facets");
        facets(dataset, "inputFacets");
        facets(dataset, "outputFacets");
    }
}

#[tokio::test]
async fn every_step_of_the_pipeline_makes_valid_events_and_its_columns_come_from_its_inputs() {
    let facts = facts(&config(), "food-delivery".to_owned()).await.unwrap();
    let mut steps: Vec<(String, StepKind)> = Vec::new();
    for table in facts.contracts.keys() {
        let (verb, kind) = if table.is_model() { ("model", StepKind::Model) } else { ("extract", StepKind::Extract) };
        steps.push((format!("{verb} {table}"), kind));
        steps.push((format!("load lake {table}"), StepKind::Load));
        if table.is_model() {
            steps.push((format!("load warehouse {table}"), StepKind::Load));
        }
    }
    assert!(steps.len() > 70, "{}", steps.len());
    let mut ids = BTreeSet::new();
    for (step, kind) in &steps {
        let start = facts.of_step(at(), (RUN, "nightly"), step, Transition::Start, None).unwrap();
        let done = report(step, *kind, StepStatus::Done);
        let end = facts.of_step(at(), (RUN, "nightly"), step, Transition::Complete, Some(&done)).unwrap();
        check_event(&start);
        check_event(&end);
        assert_eq!(start["run"]["runId"], end["run"]["runId"]);
        assert!(ids.insert(start["run"]["runId"].to_string()), "{step} has a run of its own");
        assert_eq!(end["run"]["facets"]["parent"]["run"]["runId"], RUN);
        let output = &end["outputs"][0];
        assert_eq!(output["outputFacets"]["outputStatistics"]["rowCount"], 5);
        let lineage = &output["facets"]["columnLineage"];
        let columns = output["facets"]["schema"]["fields"].as_array().unwrap();
        let inputs: BTreeSet<(&str, &str)> = end["inputs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|input| (input["namespace"].as_str().unwrap(), input["name"].as_str().unwrap()))
            .collect();
        for column in columns {
            let sources = lineage["fields"][column["name"].as_str().unwrap()]["inputFields"].as_array().unwrap();
            for source in sources {
                let from = (source["namespace"].as_str().unwrap(), source["name"].as_str().unwrap());
                // A model may read what it gave before, and `discounts_due` what was granted before, which is made from it.
                let is_own = step.strip_prefix("model ").is_some_and(|model| from.1.ends_with(&format!("/marts/{model}")));
                let is_former = is_own || (step == "model discounts_due" && from.1.ends_with("/marts/offers"));
                assert!(inputs.contains(&from) || is_former, "{step}: {source} is none of the inputs");
            }
        }
    }
}

#[tokio::test]
async fn failures_carry_code_and_message_and_hashed_columns_are_masked() {
    let facts = facts(&config(), "food-delivery".to_owned()).await.unwrap();
    let failed = report("extract platform.customers", StepKind::Extract, StepStatus::Failed);
    let event = facts.of_step(at(), (RUN, "nightly"), &failed.name, Transition::Fail, Some(&failed)).unwrap();
    check_event(&event);
    assert_eq!(event["run"]["facets"]["errorMessage"]["message"], "E-PG-AUTH: table \"shop.orders\" could not be read");
    assert!(event["outputs"][0]["facets"].get("columnLineage").is_none(), "what was not written comes from nowhere");
    let run = facts.of_run(at(), RUN, "nightly", Transition::of_run(RunStatus::Failed), Some("E-PG-AUTH: no"));
    check_event(&run);
    assert_eq!((run["eventType"].as_str(), run["job"]["name"].as_str()), (Some("FAIL"), Some("nightly")));
    let done = report("extract platform.customers", StepKind::Extract, StepStatus::Done);
    let event = facts.of_step(at(), (RUN, "nightly"), &done.name, Transition::Complete, Some(&done)).unwrap();
    let masking = |column: &str| {
        event["outputs"][0]["facets"]["columnLineage"]["fields"][column]["inputFields"][0]["transformations"][0]["masking"].clone()
    };
    assert_eq!((masking("email"), masking("birth_date")), (Value::Bool(true), Value::Bool(false)));
    assert!(facts.of_step(at(), (RUN, "nightly"), "something else", Transition::Start, None).is_none());
}

#[test]
fn data_sets_are_named_by_the_rules() {
    assert_eq!(storage("s3://example-lake/landing/"), ("s3://example-lake".to_owned(), "landing".to_owned()));
    assert_eq!(storage("/var/lake"), ("file".to_owned(), "/var/lake".to_owned()));
    assert_eq!(address("http://127.0.0.1:5000").unwrap(), "http://127.0.0.1:5000/api/v1/lineage");
    assert_eq!(address("https://host/own?key=1").unwrap(), "https://host/own?key=1");
    for wrong in ["host:5000", "ftp://host", "", "http://"] {
        let error = address(wrong).unwrap_err();
        assert!(!format!("{error:?}").contains("host"), "an address may hold a secret");
    }
}

async fn sent(to: To, events: u64) -> (Option<(u64, String)>, Duration) {
    let began = Instant::now();
    let (sender, sending) = Sender::start(to);
    for index in 0..events {
        sender.send(format!("{{\"event\": {index}}}"));
    }
    drop(sender);
    (sending.finish().await, began.elapsed())
}

#[tokio::test]
async fn a_file_gets_a_line_each() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.ndjson");
    assert_eq!(sent(To::File(file.clone()), 300).await.0, None);
    let lines: Vec<Value> = std::fs::read_to_string(&file).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 300);
    assert_eq!(lines[299]["event"], 299);
    let lost = sent(To::File(folder.path().join("missing/events.ndjson")), 2).await.0;
    assert_eq!(lost.unwrap().0, 2);
}

#[tokio::test]
async fn a_receiver_that_is_not_there_or_never_answers_costs_a_bounded_time() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/api/v1/lineage", listener.local_addr().unwrap());
    // It takes connections, and says nothing.
    let (lost, took) = sent(To::Http { url: url.clone(), api_key: None }, 50).await;
    assert_eq!(lost.unwrap().0, 50);
    assert!(took < Duration::from_secs(20), "{took:?}");
    drop(listener);
    let (lost, took) = sent(To::Http { url, api_key: None }, 50).await;
    assert_eq!(lost, Some((50, "the receiver could not be reached".to_owned())));
    assert!(took < Duration::from_secs(5), "{took:?}");
    let began = Instant::now();
    let (sender, sending) = Sender::start(To::File("/nowhere/at/all".into()));
    (0..100_000).for_each(|_| sender.send(String::new()));
    assert!(began.elapsed() < Duration::from_secs(5), "sending waits for nobody");
    drop(sender);
    assert_eq!(sending.finish().await.unwrap().0, 100_000);
}

#[tokio::test]
async fn a_receiver_gets_a_post_each_with_the_key() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/api/v1/lineage", listener.local_addr().unwrap());
    let received = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut text = String::new();
        let mut buffer = [0; 4096];
        while !text.contains("\"event\": 0") {
            let read = socket.read(&mut buffer).await.unwrap();
            text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        }
        socket.write_all(b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await.unwrap();
        text.to_lowercase()
    });
    assert_eq!(sent(To::Http { url, api_key: Some("secret".to_owned()) }, 1).await.0, None);
    let text = received.await.unwrap();
    assert!(text.starts_with("post /api/v1/lineage http/1.1"), "{text}");
    assert!(text.contains("authorization: bearer secret") && text.contains("content-type: application/json"), "{text}");
}
