//! Rows that come late are counted, and the lookback that would find them is proposed.

use pipeline_tests::{Postgres, Project};

fn world(lookback: &str) -> (Project, Postgres) {
    let postgres = Postgres::start();
    postgres.create_database("till");
    postgres.execute(
        "till",
        "CREATE TABLE payments (id int PRIMARY KEY, amount numeric(12,2) NOT NULL, paid_at timestamptz NOT NULL); \
         INSERT INTO payments SELECT n, n, now() - interval '2 days' + n * interval '10 seconds' FROM generate_series(1, 5000) n; \
         INSERT INTO payments VALUES (5001, 1, now())",
    );
    let mut project = Project::new();
    project.empty_models();
    project
        .environment("TILL_URL", postgres.url("till"))
        .set("sources.till.kind", "postgres")
        .set("sources.till.url", "env:TILL_URL")
        .set("sources.till.tables.payments.key", vec!["id"])
        .set("sources.till.tables.payments.cursor", "paid_at")
        .set("sources.till.tables.payments.lookback", lookback)
        .set("sources.till.tables.payments.columns.id", "int not null")
        .set("sources.till.tables.payments.columns.amount", "decimal(12,2) not null")
        .set("sources.till.tables.payments.columns.paid_at", "timestamp not null")
        .set("pipelines.nightly.tables", vec!["till.payments"]);
    (project, postgres)
}

/// A row whose time is so long before the newest one's.
fn late(postgres: &Postgres, id: u32, before: &str) {
    postgres.execute("till", &format!("INSERT INTO payments SELECT {id}, 1, max(paid_at) - interval '{before}' FROM payments"));
}

#[test]
fn late_rows_are_counted_once_and_a_shorter_lookback_is_proposed() {
    let (project, postgres) = world("1d");
    project.pipeline(&["run", "nightly"]).succeeded();
    let plan = project.pipeline(&["plan", "nightly", "--output", "json"]).succeeded().json();
    assert!(plan["tables"][0]["lookback"].is_null(), "a first reading finds nothing late: {plan}");
    late(&postgres, 6001, "25 seconds");
    late(&postgres, 6002, "4 minutes");
    let run = project.pipeline(&["run", "nightly", "--output", "json"]).succeeded().json();
    let status = project.pipeline(&["status", run["run_id"].as_str().unwrap()]);
    assert!(status.succeeded().stdout.contains("2 came late, within 5m"), "{status}");
    // What was read again and was the same is not late a second time, and rows in time are not late at all.
    postgres.execute("till", "INSERT INTO payments VALUES (6003, 1, clock_timestamp())");
    project.pipeline(&["run", "nightly"]).succeeded();
    let plan = project.pipeline(&["plan", "nightly", "--output", "json"]).succeeded().json();
    let lookback = &plan["tables"][0]["lookback"];
    assert_eq!(lookback["lookback_s"], 86_400);
    assert_eq!(lookback["proposal"]["rows"], 2, "{plan}");
    assert_eq!(lookback["proposal"]["lookback_s"], 300);
    assert_eq!(lookback["proposal"]["is_too_short"], false);
    let shown = project.pipeline(&["plan", "nightly"]);
    assert!(shown.succeeded().stdout.contains("lookback = \"5m\" would find 99.9 % of them"), "{shown}");
}

#[test]
fn a_lookback_that_is_nearly_used_up_is_said_to_be_too_short() {
    let (project, postgres) = world("10m");
    project.pipeline(&["run", "nightly"]).succeeded();
    late(&postgres, 6001, "9 minutes");
    project.pipeline(&["run", "nightly"]).succeeded();
    let shown = project.pipeline(&["plan", "nightly"]);
    assert!(shown.succeeded().stdout.contains("lookback = \"20m\": the present one is nearly used up"), "{shown}");
}
