//! A configuration is written from what live databases hold, works as it is written, and follows what they become.

use bson::doc;
use pipeline_tests::{Mongo, Outcome, Postgres, Project};
use serde_json::Value;

const CONFIG: &str = "fresh/pipelines.toml";

struct World {
    project: Project,
    mongo: Mongo,
    postgres: Postgres,
}

impl World {
    /// The demonstration's data in live servers, and an empty folder.
    fn start() -> Self {
        let (mongo, postgres) = (Mongo::start(), Postgres::start());
        postgres.create_database("platform");
        let mut project = Project::new();
        project
            .environment("PIPELINE_PRIVACY_KEY", "a key of this test")
            .environment("SHOP_MONGODB_URL", mongo.url().replace("/?", "/shop?"))
            .environment("PLATFORM_POSTGRES_URL", postgres.url("platform"));
        let size = ["--customers", "40", "--stores", "3", "--days", "4", "--orders", "60", "--seed", "5"];
        let generate: Vec<&str> = ["demo", "generate", "--to", "live", "--profile", "live"].into_iter().chain(size).collect();
        project.pipeline(&generate).succeeded();
        std::fs::create_dir(project.folder().join("fresh")).unwrap();
        Self { project, mongo, postgres }
    }

    fn pipeline(&self, arguments: &[&str]) -> Outcome {
        let arguments: Vec<&str> = ["--config", CONFIG].into_iter().chain(arguments.iter().copied()).collect();
        self.project.pipeline(&arguments)
    }

    fn init(&self, more: &[&str]) -> Outcome {
        let sources = ["init", "--source", "shop=env:SHOP_MONGODB_URL", "--source", "platform=env:PLATFORM_POSTGRES_URL"];
        self.pipeline(&sources.into_iter().chain(more.iter().copied()).collect::<Vec<_>>())
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.project.folder().join(CONFIG)).unwrap()
    }

    fn value(&self, sql: &str) -> String {
        let rows = self.pipeline(&["query", sql, "--output", "json"]).succeeded().rows();
        rows[0].values().next().unwrap().to_string().replace('"', "")
    }

    fn differences(&self) -> Vec<(String, String)> {
        let outcome = self.pipeline(&["schema", "diff", "--output", "json"]);
        let differences: Value = serde_json::from_str(&outcome.stdout).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        differences["differences"].as_array().unwrap().iter().map(|found| (text(&found["column"]), text(&found["difference"]))).collect()
    }
}

#[test]
fn what_init_writes_reads_every_table_whole() {
    let world = World::start();
    world.postgres.execute(
        "platform",
        "CREATE SCHEMA odd; CREATE TYPE odd.mood AS ENUM ('a', 'b');
         CREATE TABLE odd.\"All Types\" (\"No\" bigint PRIMARY KEY, exact numeric, mood odd.mood, spans interval[], place point, during tstzrange, \"two words\" int,
            address inet, at timestamp, clock time, raw bytea, grid int[][], updated_at timestamptz NOT NULL DEFAULT now());
         INSERT INTO odd.\"All Types\" VALUES (1, 'NaN', 'a', '{1 day}', '(1,2)', '[2025-01-01,)', 5, '::1', '2025-01-01 04:00', '24:00', '\\xDE', '{1,2}');
         INSERT INTO odd.\"All Types\" VALUES (2)",
    );
    let printed = world.init(&["--print"]);
    assert!(
        printed.succeeded().stdout.contains("[sources.shop.tables.orders]") && !world.project.folder().join(CONFIG).exists(),
        "{printed}"
    );
    let written = world.init(&["--name", "fresh"]);
    assert!(written.succeeded().stdout.contains("next: "), "{written}");
    let text = world.text();
    assert!(!text.contains("postgres://") && !text.contains("mongodb://"), "{text}");
    for line in
        ["relation = \"payments.transactions\"", "cursor = \"updated_at\"  # review: ", "key = [\"id\"]", "looks personal", "# about "]
    {
        assert!(text.contains(line), "\"{line}\" is missing:\n{text}");
    }
    assert_eq!(world.init(&["--output", "json"]).exited(2).error()["code"], "E-EXISTS");
    world.init(&["--force", "--name", "fresh"]).succeeded();
    assert_eq!(world.text(), text, "the same again");
    world.pipeline(&["config", "check"]).succeeded();
    assert_eq!(world.differences(), [], "{}", world.pipeline(&["schema", "diff"]));
    let report = world.pipeline(&["run", "nightly", "--output", "json"]);
    let report = report.succeeded().json();
    let rejected: u64 = report["steps"].as_array().unwrap().iter().map(|step| step["rows_rejected"].as_u64().unwrap()).sum();
    assert_eq!(rejected, 0, "{report:#}");
    for (table, relation) in [
        ("platform.transactions", "payments.transactions"),
        ("platform.customers", "admin.customers"),
        ("platform.deliveries", "delivery.deliveries"),
        ("platform.stores", "admin.stores"),
        ("platform.all_types", "odd.\"All Types\""),
    ] {
        let rows = world.postgres.execute("platform", &format!("SELECT count(*) FROM {relation}"));
        assert_eq!(world.value(&format!("SELECT count(*) AS n FROM {table}")), rows, "{table}");
    }
    let orders = world.mongo.find("shop", "orders", doc! {}).len();
    assert_eq!(world.value("SELECT count(*) AS n FROM shop.orders"), orders.to_string());
    let amounts = world.postgres.execute("platform", "SELECT sum(amount)::text FROM payments.transactions");
    assert_eq!(world.value("SELECT CAST(sum(amount) AS varchar) AS amount FROM platform.transactions"), amounts);
}

#[test]
fn a_schema_that_moves_is_told_accepted_and_remembered() {
    let world = World::start();
    world.postgres.execute(
        "platform",
        "CREATE TABLE things (id bigint PRIMARY KEY, size int NOT NULL, label text, weight real, made date); INSERT INTO things VALUES (1, 7, 'a', 1.5, '2025-01-01')",
    );
    world.init(&[]).succeeded();
    let only = ["--only", "platform.things"];
    world.pipeline(&[&["run", "nightly"], &only[..]].concat()).succeeded();
    // A comment of somebody's own stays where it is.
    let text = world.text().replace("size = \"int not null\"", "size = \"int not null\"  # in pieces");
    std::fs::write(world.project.folder().join(CONFIG), text).unwrap();
    world.postgres.execute(
        "platform",
        "ALTER TABLE things ALTER size TYPE bigint, ADD colour text[], DROP label; INSERT INTO things VALUES (2, 5000000000, 2.5, '2025-01-02', '{red}')",
    );
    let differences = world.differences();
    let pair = |column: &str, difference: &str| (column.to_owned(), difference.to_owned());
    assert_eq!(differences, [pair("colour", "new"), pair("label", "gone"), pair("size", "wider")]);
    let shown = world.pipeline(&["schema", "diff"]);
    assert!(shown.exited(6).stdout.contains("keeps what the lake has of it"), "{shown}");
    assert!(world.pipeline(&["schema", "show", "platform.things"]).succeeded().stdout.contains("bigint"));
    let accepted = world.pipeline(&["schema", "accept", "platform.things"]);
    assert!(accepted.succeeded().stdout.contains("~ size becomes bigint"), "{accepted}");
    assert!(world.text().contains("size = \"bigint not null\"  # in pieces"), "{}", world.text());
    assert_eq!(world.differences(), []);
    let report = world.pipeline(&["run", "nightly", "--only", "platform.things", "--output", "json"]).succeeded().json();
    let rows = world
        .pipeline(&["query", "SELECT id, size, label, colour FROM platform.things ORDER BY id", "--output", "json"])
        .succeeded()
        .rows();
    assert_eq!(rows.len(), 2);
    assert_eq!((&rows[1]["size"], &rows[1]["label"], &rows[1]["colour"][0]), (&5_000_000_000_i64.into(), &Value::Null, &"red".into()));
    let status = world.pipeline(&["status", report["run_id"].as_str().unwrap()]);
    assert!(status.succeeded().stdout.contains("schema of platform.things (lake): "), "{status}");
    assert!(world.pipeline(&["history", "nightly"]).succeeded().stdout.contains("a schema"));
    // Another type, and what looks like another name, are for people to decide.
    world.postgres.execute("platform", "ALTER TABLE things RENAME made TO made_on; ALTER TABLE things ALTER weight TYPE text");
    assert_eq!(world.differences(), [pair("made", "gone"), pair("made_on", "new"), pair("weight", "other type")]);
    let before = world.text();
    let refused = world.pipeline(&["schema", "accept", "platform.things", "--output", "json"]);
    assert!(refused.exited(6).error()["hint"].as_str().unwrap().contains("from made_on"), "{refused}");
    assert_eq!(world.text(), before);
}
