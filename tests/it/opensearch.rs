//! Audit events from OpenSearch into the lake. The server is an emulator (see `OpenSearch` of the harness).

use std::time::Duration;

use pipeline_tests::{FaultProxy, OpenSearch, Project};
use serde_json::{Value, json};

const INDEX: &str = "audit-2025.03.01";

fn mapping() -> Value {
    json!({
        "@timestamp": {"type": "date"}, "service": {"type": "keyword"}, "actor": {"type": "keyword"}, "actorRole": {"type": "keyword"},
        "action": {"type": "keyword"}, "entity": {"type": "keyword"}, "entityId": {"type": "keyword"}, "storeId": {"type": "keyword"},
        "outcome": {"type": "keyword"}, "durationMs": {"type": "long"}, "ip": {"type": "ip"},
    })
}

/// An event; several of them share a millisecond, so that pages end among equal cursors.
fn event(number: u64) -> (String, Value) {
    let second = number / 7 % 60;
    let minute = number / 420;
    let event = json!({
        "@timestamp": format!("2025-03-01T{:02}:{:02}:{second:02}.250Z", minute / 60, minute % 60),
        "service": "call-centre", "actor": format!("agent{}@example.com", number % 9), "actorRole": "agent", "action": "refund",
        "entity": "order", "entityId": format!("O{number}"), "storeId": format!("S{:03}", number % 20),
        "outcome": if number.is_multiple_of(11) { "failed" } else { "done" }, "durationMs": number % 900, "ip": "10.0.0.7",
    });
    (format!("e{number:05}"), event)
}

fn events(numbers: std::ops::Range<u64>) -> Vec<(String, Value)> {
    numbers.map(event).collect()
}

/// A project that reads audit events, and nothing else, from a server at this port.
fn project(port: u16) -> Project {
    let mut project = Project::new();
    project
        .profile("live")
        .environment("AUDIT_OPENSEARCH_URL", format!("http://127.0.0.1:{port}"))
        .environment("PIPELINE_PRIVACY_KEY", "0123456789abcdef0123456789abcdef")
        .set("profiles.live.project.landing", ".pipeline/landing")
        .set("profiles.live.sources.audit.page_rows", 100);
    project
}

const RUN: [&str; 4] = ["run", "audit", "--output", "json"];

fn sums(project: &Project) -> String {
    let figures = ["count(*)", "count(DISTINCT event_id)", "sum(duration_ms)", "count(DISTINCT entity_id)"];
    let texts: Vec<String> = figures.iter().map(|figure| format!("CAST({figure} AS text)")).collect();
    let sql = format!("SELECT {} FROM audit.audit_events", texts.join(" || ' ' || "));
    project.value(&sql)
}

fn expected(rows: u64) -> String {
    format!("{rows} {rows} {} {rows}", (0..rows).map(|number| number % 900).sum::<u64>())
}

#[test]
fn the_lake_has_exactly_the_events_and_a_second_run_only_what_is_new() {
    let server = OpenSearch::start();
    server.create_index(INDEX, &mapping());
    server.index(INDEX, &events(0..2_000));
    let project = project(server.port());
    project.pipeline(&RUN).succeeded();
    assert_eq!(sums(&project), expected(2_000));
    let row = &project.query("SELECT *, CAST(occurred_at AS text) AS instant FROM audit.audit_events WHERE event_id = 'e00011'")[0];
    assert_eq!((row["outcome"].as_str(), row["duration_ms"].to_string().as_str()), (Some("failed"), "11"));
    assert!(row["instant"].as_str().unwrap().contains("00:00:01.25"), "{row:?}");
    assert_eq!(row["actor"].as_str().map(str::len), Some(64), "who did it is a keyed hash");
    assert_eq!(server.points_in_time(), Vec::<String>::new());

    // New events, also in another index of the pattern, and one that was changed within the lookback.
    let (id, mut changed) = event(1_999);
    changed["outcome"] = "reverted".into();
    server.index(INDEX, &[(id, changed)]);
    server.create_index("audit-2025.03.02", &mapping());
    server.index("audit-2025.03.02", &events(2_000..2_100));
    project.pipeline(&RUN).succeeded();
    assert_eq!(sums(&project), expected(2_100));
    assert_eq!(project.value("SELECT outcome FROM audit.audit_events WHERE event_id = 'e01999'"), "reverted");
    project.pipeline(&RUN).succeeded();
    assert_eq!(sums(&project), expected(2_100));
}

#[test]
fn events_that_do_not_fit_are_kept_aside_and_fields_nobody_declared_are_kept() {
    let server = OpenSearch::start();
    server.create_index(INDEX, &mapping());
    let mut all = events(0..50);
    all[3].1["durationMs"] = "12".into();
    all[4].1["browser"] = json!({"name": "curl", "version": 8.50});
    all[5].1.as_object_mut().unwrap().remove("@timestamp");
    server.index(INDEX, &all);
    let mut project = project(server.port());
    project.set("profiles.live.sources.audit.tables.audit_events.max_rejected", "10%");
    let outcome = project.pipeline(&RUN);
    outcome.succeeded();
    // A text where a number is declared, and an event without its time.
    assert_eq!(project.value("SELECT count(*) FROM audit.audit_events"), "48");
    assert!(outcome.stdout.contains("audit_events") && outcome.stdout.contains('2'), "{outcome}");
    let extra: Value = serde_json::from_str(&project.value("SELECT _extra FROM audit.audit_events WHERE event_id = 'e00004'")).unwrap();
    assert_eq!(extra["browser"]["name"], "curl");
}

#[test]
fn a_run_that_was_killed_is_continued_and_nothing_is_there_twice() {
    let server = OpenSearch::start();
    server.create_index(INDEX, &mapping());
    server.index(INDEX, &events(0..1_500));
    for point in ["extract.after_plan", "ledger.after_landed"] {
        let project = project(server.port());
        project.kill_at(point, 1, &RUN);
        project.pipeline(&RUN).succeeded();
        assert_eq!(sums(&project), expected(1_500), "after a death at {point}");
    }
}

#[test]
fn a_point_in_time_that_is_lost_between_pages_costs_a_retry_and_no_row() {
    let server = OpenSearch::start();
    server.create_index(INDEX, &mapping());
    server.index(INDEX, &events(0..1_500));
    let proxy = FaultProxy::start(server.port());
    // Slow enough to take the point in time away while pages are under way: sixteen answers follow its opening.
    proxy.delay(Duration::from_millis(100));
    let project = project(proxy.port());
    let mut running = project.start(&RUN);
    let mut lost = 0;
    running.until("a point in time", |_| {
        lost = server.lose_points_in_time();
        lost > 0
    });
    let outcome = running.wait();
    outcome.succeeded();
    assert_eq!((lost, sums(&project)), (1, expected(1_500)));
    assert_eq!(server.points_in_time(), Vec::<String>::new());
}

#[test]
fn a_broken_connection_costs_a_retry_and_no_row() {
    let server = OpenSearch::start();
    server.create_index(INDEX, &mapping());
    server.index(INDEX, &events(0..1_500));
    let proxy = FaultProxy::start(server.port());
    proxy.cut_after(60_000);
    let project = project(proxy.port());
    project.pipeline(&RUN).succeeded();
    assert_eq!(sums(&project), expected(1_500));
}

#[test]
fn a_mapping_that_does_not_fit_and_a_wrong_address_are_named() {
    let server = OpenSearch::start();
    let mut fields = mapping();
    fields["durationMs"] = json!({"type": "keyword"});
    server.create_index(INDEX, &fields);
    let mut project = project(server.port());
    let mismatch = project.pipeline(&RUN).exited(6).error();
    assert_eq!(mismatch["code"], "E-SEARCH-MAPPING", "{mismatch}");
    assert!(mismatch.to_string().contains("mapped as keyword"), "{mismatch}");

    project.set("profiles.live.sources.audit.tables.audit_events.columns.duration_ms", "bigint from durationMS");
    let missing = project.pipeline(&RUN).exited(6).error();
    assert!(missing["hint"].as_str().unwrap().contains("\"durationMs\""), "{missing}");

    project.set("profiles.live.sources.audit.tables.audit_events.index", "orders-*");
    assert_eq!(project.pipeline(&RUN).exited(2).error()["code"], "E-SEARCH-INDEX");

    // Nobody listens there any more.
    let port = server.port();
    drop(server);
    project.environment("AUDIT_OPENSEARCH_URL", format!("http://reader:hunter2@127.0.0.1:{port}")).set("project.attempts", 1);
    let outcome = project.pipeline(&RUN);
    assert_eq!(outcome.exited(4).error()["code"], "E-SEARCH-UNREACHABLE", "{outcome}");
    assert!(outcome.keeps_secret("hunter2"), "{outcome}");
}

#[test]
fn events_of_two_hundred_megabytes_are_not_held_in_memory() {
    const ROWS: u64 = 24_000;
    const MEMORY_LIMIT_BYTES: u64 = 256 << 20;
    /// The program itself, unoptimized, and what its allocator keeps.
    const PROGRAM_BYTES_MAX: u64 = 160 << 20;
    let server = OpenSearch::start();
    server.create_index(INDEX, &mapping());
    let mut all = events(0..ROWS);
    for (_, event) in &mut all {
        event["note"] = "x".repeat(8_000).into();
    }
    server.index(INDEX, &all);
    let mut project = project(server.port());
    project.set("project.memory_limit", format!("{MEMORY_LIMIT_BYTES}B"));
    let outcome = project.pipeline(&RUN);
    outcome.succeeded();
    assert_eq!(sums(&project), expected(ROWS));
    let peak = outcome.memory_bytes_peak;
    assert!(peak < MEMORY_LIMIT_BYTES + PROGRAM_BYTES_MAX, "{peak} bytes at a limit of {MEMORY_LIMIT_BYTES}");
}
