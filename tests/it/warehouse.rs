//! Profile `live`: a live MongoDB, a live PostgreSQL, landing in S3, the warehouse behind the Data API.

use std::path::PathBuf;

use pipeline_tests::{Answers, Mongo, OtlpReceiver, Postgres, Project, RedshiftDouble, S3, place};
use serde_json::json;

const BUCKET: &str = "lake";
const DATABASE: &str = "dev";

/// The servers of one test, with a project that uses them.
struct World {
    project: Project,
    _mongo: Mongo,
    postgres: Postgres,
    s3: S3,
    warehouse: RedshiftDouble,
}

/// Small enough for the MongoDB stand-in, large enough that three misfits are less than one percent.
const SIZE: [&str; 12] = ["--customers", "90", "--stores", "4", "--days", "8", "--orders", "420", "--seed", "11", "--output", "json"];

impl World {
    fn start() -> Self {
        let (mongo, postgres, s3) = (Mongo::start(), Postgres::start(), S3::start());
        postgres.create_database("platform");
        s3.create_bucket(BUCKET);
        let warehouse = RedshiftDouble::start(&s3);
        let mut project = Project::new();
        project
            .profile("live")
            .environment("SHOP_MONGODB_URL", mongo.url())
            .environment("PLATFORM_POSTGRES_URL", postgres.url("platform"))
            .environment("PIPELINE_PRIVACY_KEY", "a key of this test")
            .set("profiles.live.project.landing", format!("s3://{BUCKET}/landing"))
            .set("profiles.live.aws.endpoint", s3.endpoint())
            .set("profiles.live.destinations.warehouse.endpoint", warehouse.endpoint())
            .set("profiles.live.destinations.warehouse.database", DATABASE)
            // The answers are exact. What is suppressed has a test of its own.
            .set("parameters.k_anonymity", 1);
        for (name, value) in s3.owner().environment() {
            project.environment(name, value);
        }
        Self { project, _mongo: mongo, postgres, s3, warehouse }
    }

    fn generate(&mut self, more: &[&str]) -> Answers {
        let arguments: Vec<&str> = ["demo", "generate", "--to", "live"].into_iter().chain(SIZE).chain(more.iter().copied()).collect();
        let outcome = self.project.pipeline(&arguments);
        let file: PathBuf = self.project.folder().join("answers.json");
        std::fs::write(&file, &outcome.succeeded().stdout).unwrap();
        let answers = Answers::read(&file);
        self.project.set("profiles.live.project.as_of", answers.as_of());
        answers
    }

    fn assert_everywhere(&self, answers: &Answers) {
        answers.assert_lake(&self.project);
        let differences = answers.differences_of_marts(|mart| format!("marts.{mart}"), |sql| self.warehouse.query(DATABASE, sql));
        assert!(differences.is_empty(), "the warehouse differs from the answers:\n{}", differences.join("\n"));
    }

    fn run(&self) -> serde_json::Value {
        self.project.pipeline(&["run", "nightly", "--output", "json"]).succeeded().json()
    }

    fn data_api_calls(&self) -> u64 {
        self.warehouse.calls()["total"].as_u64().unwrap()
    }
}

#[test]
fn the_first_night_the_second_and_one_with_changes() {
    let mut world = World::start();
    let answers = world.generate(&[]);
    let healthy = world.project.pipeline(&["doctor", "nightly", "--output", "json"]);
    assert_eq!(healthy.succeeded().json()["status"], "ok");
    let planned = world.project.pipeline(&["plan", "nightly", "--sql"]);
    assert!(planned.succeeded().stdout.contains("FORMAT AS PARQUET MANIFEST"), "{planned}");
    assert!(world.warehouse.try_query(DATABASE, "SELECT count(*) FROM marts.orders").is_err(), "a plan makes nothing");

    world.warehouse.reset();
    assert_eq!(world.run()["status"], "done");
    let tables = place::models().len() as u64;
    // For each model: marker, catalog, schema and tables, one batch, and what is asked while it runs.
    let calls = world.data_api_calls();
    assert!(calls <= tables * 16, "{calls} calls for {tables} tables that did not exist");
    world.assert_everywhere(&answers);
    let objects = world.s3.list(BUCKET, "landing/").len();
    assert!(objects > 20, "{objects} objects");

    let again = world.run();
    assert_eq!(again["status"], "unchanged", "{again}");
    world.assert_everywhere(&answers);

    let answers = world.generate(&["--change-percent", "2"]);
    world.warehouse.reset();
    let changed = world.run();
    assert_eq!(changed["status"], "done");
    let steps = changed["steps"].as_array().unwrap();
    let orders = steps.iter().find(|step| step["name"] == "load warehouse orders").unwrap();
    assert!(orders["rows_out"].as_u64().unwrap() < 60, "only what changed moves: {orders}");
    let calls = world.data_api_calls();
    assert!(calls <= tables * 10, "{calls} calls for {tables} tables");
    world.assert_everywhere(&answers);
    assert!(world.s3.unfinished_uploads(BUCKET).is_empty());
}

#[test]
fn small_cells_are_suppressed_also_where_the_exact_table_was_loaded_before() {
    const K: u64 = 3;
    let mut world = World::start();
    let answers = world.generate(&[]);
    world.project.set("parameters.k_anonymity", 3);
    // A project as it was before its models had published forms.
    let models = world.project.folder().join("models");
    place::copy(&place::repository().join("sql"), &models);
    for (name, ending) in ["orders", "gaps"].into_iter().flat_map(|name| ["sql", "toml", "slt"].map(|ending| (name, ending))) {
        std::fs::remove_file(models.join(format!("coverage/coverage_{name}_published.{ending}"))).unwrap();
    }
    world.project.set("project.models", models.to_str().unwrap());
    assert_eq!(world.run()["status"], "done");
    world.assert_everywhere(&answers);
    let number = |world: &World, sql: &str| world.warehouse.query(DATABASE, sql)[0]["n"].as_u64().unwrap();
    let small = format!("SELECT count(*) AS n FROM marts.coverage_orders WHERE customers < {K}");
    assert!(number(&world, &small) > 0, "the exact table has small cells");

    world.project.set("project.models", place::repository().join("sql").to_str().unwrap());
    let plan = world.project.pipeline(&["plan", "nightly", "--output", "json"]).succeeded().json();
    let changes: Vec<&str> = plan["changes"].as_array().unwrap().iter().map(|change| change["what"].as_str().unwrap()).collect();
    for change in ["column marts.coverage_orders.orders BIGINT NOT NULL becomes BIGINT", "column marts.coverage_orders.suppressed BOOLEAN"]
    {
        assert!(changes.contains(&change), "\"{change}\" is not among {changes:?}");
    }
    assert!(!changes.iter().any(|change| change.contains("marts.coverage_orders_published")), "{changes:?}");
    assert_eq!(world.run()["status"], "done");

    let of_lake = |world: &World, sql: &str| world.project.value(sql).parse::<u64>().unwrap();
    let same = |world: &World| {
        assert_eq!(number(world, &small), 0);
        for (name, measure) in [("coverage_orders", "orders"), ("coverage_gaps", "customers")] {
            let query = |table: &str| format!("SELECT count(*) AS n FROM {table}");
            let sum = |table: &str| format!("SELECT CAST(coalesce(sum({measure}), 0) AS BIGINT) AS n FROM {table}");
            let shown = |table: &str| format!("SELECT count(*) AS n FROM {table} WHERE NOT suppressed");
            for sql in [&query as &dyn Fn(&str) -> String, &sum, &shown] {
                let (there, here) = (sql(&format!("marts.{name}")), sql(&format!("{name}_published")));
                assert_eq!(number(world, &there), of_lake(world, &here), "{here}");
            }
        }
        assert_eq!(
            number(
                world,
                "SELECT count(*) AS n FROM marts.coverage_orders WHERE suppressed AND (orders IS NOT NULL OR revenue IS NOT NULL)"
            ),
            0
        );
        assert!(
            world.warehouse.try_query(DATABASE, "SELECT 1 FROM marts.coverage_orders_published").is_err(),
            "it has the exact table's name"
        );
    };
    same(&world);
    let suppressed = number(&world, "SELECT count(*) AS n FROM marts.coverage_orders WHERE suppressed");
    assert!(suppressed > 0 && number(&world, "SELECT count(*) AS n FROM marts.coverage_orders WHERE NOT suppressed") > 0);
    answers.assert_lake(&world.project);

    // The nights after go on from there.
    assert_eq!(world.run()["status"], "unchanged");
    let answers = world.generate(&["--change-percent", "25"]);
    let changed = world.run();
    let steps = changed["steps"].as_array().unwrap();
    assert!(steps.iter().any(|step| step["name"] == "load warehouse coverage_orders"), "{changed}");
    assert!(steps.iter().all(|step| step["name"] != "load warehouse coverage_orders_published"), "{changed}");
    same(&world);
    answers.assert_lake(&world.project);

    // Another bound is another statement's parameter: all is made anew.
    world.project.set("parameters.k_anonymity", 1);
    assert_eq!(world.run()["status"], "done");
    world.assert_everywhere(&answers);
}

#[test]
fn a_kill_at_any_point_around_the_warehouse_is_mended_by_the_next_run() {
    let mut world = World::start();
    let answers = world.generate(&[]);
    for (point, count) in [
        ("landing.after_part", 3),
        ("landing.before_manifest", 4),
        ("redshift.before_publish", 1),
        ("redshift.after_publish", 1),
        ("load.after_stage", 1),
        ("lake.after_commit", 1),
        ("load.after_publish", 1),
        ("ledger.after_loaded", 1),
        ("redshift.after_publish", 2),
    ] {
        world.project.kill_at(point, count, &["run", "nightly"]);
    }
    assert_eq!(world.run()["status"], "done");
    world.assert_everywhere(&answers);
    assert_eq!(world.run()["status"], "unchanged");
    let twice = world
        .warehouse
        .query(DATABASE, "SELECT count(*) AS n FROM (SELECT order_id FROM marts.orders GROUP BY order_id HAVING count(*) > 1) AS t");
    assert_eq!(twice[0]["n"], json!(0));
}

#[test]
fn what_breaks_at_the_warehouse_is_tried_again_or_caught_up() {
    let mut world = World::start();
    let answers = world.generate(&[]);
    world.warehouse.fail(&json!([
        {"operation": "BatchExecuteStatement", "nth": 1, "kind": "lost_response"},
        {"operation": "BatchExecuteStatement", "nth": 3, "kind": "error_after", "status": 500},
        {"operation": "BatchExecuteStatement", "nth": 5, "kind": "serialization"},
        {"operation": "ExecuteStatement", "nth": 7, "kind": "throttle"},
    ]));
    assert_eq!(world.run()["status"], "done");
    world.assert_everywhere(&answers);
}

#[test]
fn refusals_of_servers_are_named_with_their_exit_codes_and_without_secrets() {
    let mut world = World::start();
    world.generate(&[]);
    let run = ["run", "nightly", "--output", "json"];
    let secret = "wrong-and-secret";

    let right = world.postgres.url("platform");
    let wrong = world.postgres.url_of("nobody_here", secret, "platform");
    world.project.environment("PLATFORM_POSTGRES_URL", wrong);
    let outcome = world.project.pipeline(&run);
    assert_eq!(outcome.exited(3).error()["kind"], "denied", "{outcome}");
    assert!(outcome.keeps_secret(secret), "{outcome}");

    world.project.set("project.attempts", 1).environment("PLATFORM_POSTGRES_URL", "postgres://a:b@127.0.0.1:9/platform?sslmode=disable");
    assert_eq!(world.project.pipeline(&run).exited(4).error()["kind"], "unavailable");
    world.project.environment("PLATFORM_POSTGRES_URL", right);

    world.project.set("sources.platform.tables.stores.relation", "admin.storez");
    let outcome = world.project.pipeline(&run);
    assert!(outcome.exited(2).error()["hint"].as_str().unwrap().contains("admin.stores"), "{outcome}");
    world.project.set("sources.platform.tables.stores.relation", "admin.stores");

    let landed = world.s3.list(BUCKET, "landing/").len();
    for (name, value) in world.s3.reader().environment() {
        world.project.environment(name, value);
    }
    let outcome = world.project.pipeline(&run);
    assert_eq!(outcome.exited(3).error()["kind"], "denied", "{outcome}");
    assert_eq!(world.s3.list(BUCKET, "landing/").len(), landed, "nothing was landed");
    for (name, value) in world.s3.owner().environment() {
        world.project.environment(name, value);
    }

    // The longest item name has exactly 256 bytes, with accents: fewer characters than bytes.
    let models = world.project.folder().join("models");
    place::copy(&place::repository().join("sql"), &models);
    let contract = models.join("base/order_items.toml");
    let text = std::fs::read_to_string(&contract).unwrap();
    let narrow = text.replacen("[columns.name]\ntype = \"text(512)\"", "[columns.name]\ntype = \"text(255)\"", 1);
    assert_ne!(narrow, text, "the contract names the width of an item's name");
    std::fs::write(&contract, narrow).unwrap();
    world.project.set("project.models", models.to_str().unwrap());
    let outcome = world.project.pipeline(&run);
    let error = outcome.exited(6).error();
    assert_eq!(error["kind"], "data", "{outcome}");
    assert!(format!("{error}").contains("name"), "{outcome}");
    assert!(world.warehouse.try_query(DATABASE, "SELECT count(*) FROM marts.order_items").is_err(), "nothing was sent");
}

#[test]
fn a_run_can_be_read_back_from_its_traces() {
    let receiver = OtlpReceiver::start();
    let mut world = World::start();
    world.generate(&[]);
    world.project.set("telemetry.otlp_endpoint", receiver.endpoint());
    assert_eq!(world.run()["status"], "done");
    let spans = receiver.spans_with("run nightly");
    let named = |name: &str| spans.iter().any(|span| span.name == name);
    for name in ["extract shop.orders", "load lake shop.orders", "model orders", "load lake orders", "load warehouse orders"] {
        assert!(named(name), "no span \"{name}\" among {:?}", spans.iter().map(|span| &span.name).collect::<Vec<_>>());
    }
    assert!(spans.iter().any(|span| span.name.starts_with("slice ")), "a span for each slice");
}
