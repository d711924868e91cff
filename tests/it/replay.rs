//! Rejected rows come home once their column takes them: once, as the source has them now, whatever the program dies of on the way.

use bson::doc;
use pipeline_tests::{Mongo, Postgres, Project};
use serde_json::Value;

struct World {
    project: Project,
    mongo: Mongo,
    postgres: Postgres,
}

impl World {
    /// Ten good rows in each table, and three whose `points` are too large for the column.
    fn start() -> Self {
        let (mongo, postgres) = (Mongo::start(), Postgres::start());
        let baskets: Vec<_> = (0..13_i64)
            .map(|n| doc! {"_id": bson::oid::ObjectId::new(), "n": n, "points": if n < 10 { n } else { n * 10_000_000_000 }})
            .collect();
        mongo.insert("floor", "baskets", &baskets);
        postgres.create_database("till");
        postgres.execute(
            "till",
            "CREATE TABLE \"Receipts\" (store int, \"No\" text, points bigint NOT NULL, PRIMARY KEY (store, \"No\"));
             INSERT INTO \"Receipts\" SELECT i % 2, 'it''s ' || i, CASE WHEN i < 10 THEN i ELSE i * 10000000000 END FROM generate_series(0, 12) AS i",
        );
        let mut project = Project::new();
        project.empty_models();
        project
            .environment("FLOOR_URL", mongo.url())
            .environment("TILL_URL", postgres.url("till"))
            .environment("PIPELINE_PRIVACY_KEY", "a key of this test")
            .set("project.max_rejected", "50%")
            .set("sources.floor.kind", "mongodb")
            .set("sources.floor.url", "env:FLOOR_URL")
            .set("sources.floor.database", "floor")
            .set("sources.floor.tables.baskets.key", vec!["basket_id"])
            .set("sources.floor.tables.baskets.columns.basket_id", "text not null from _id")
            .set("sources.floor.tables.baskets.columns.n", "int not null")
            .set("sources.floor.tables.baskets.columns.points", "int not null")
            .set("sources.till.kind", "postgres")
            .set("sources.till.url", "env:TILL_URL")
            .set("sources.till.tables.receipts.relation", "\"Receipts\"")
            .set("sources.till.tables.receipts.key", vec!["store", "number"])
            .set("sources.till.tables.receipts.columns.store", "int not null")
            .set("sources.till.tables.receipts.columns.number", "text not null from No")
            .set("sources.till.tables.receipts.columns.points", "int not null")
            .set("pipelines.nightly.tables", vec!["floor.baskets", "till.receipts"]);
        let world = Self { project, mongo, postgres };
        world.run();
        assert_eq!((world.rows("floor.baskets"), world.rows("till.receipts")), (10, 10));
        world
    }

    fn run(&self) {
        self.project.pipeline(&["run", "nightly", "--output", "json"]).succeeded();
    }

    fn rows(&self, table: &str) -> u64 {
        self.project.value(&format!("SELECT count(*) AS n FROM {table}")).parse().unwrap()
    }

    fn quarantined(&self, table: &str) -> u64 {
        let listed = self.project.pipeline(&["quarantine", "list", "--output", "json"]).succeeded().json();
        let causes = listed["causes"].as_array().unwrap();
        causes.iter().filter(|cause| cause["table"] == table).map(|cause| cause["rows"].as_u64().unwrap()).sum()
    }

    fn replay(&self, table: &str) -> Value {
        let replayed = self.project.pipeline(&["quarantine", "replay", table, "--output", "json"]).succeeded().json();
        replayed["replays"][0].clone()
    }

    /// The columns take large numbers now.
    fn widen(&mut self) {
        self.project
            .set("sources.floor.tables.baskets.columns.points", "bigint not null")
            .set("sources.till.tables.receipts.columns.points", "bigint not null");
    }
}

#[test]
fn rejected_rows_come_home_once_as_the_source_has_them_now() {
    let mut world = World::start();
    for table in ["floor.baskets", "till.receipts"] {
        assert_eq!(world.quarantined(table), 3);
        let still = world.replay(table);
        assert_eq!((&still["came_home"], &still["still_rejected"], &still["gone"]), (&0.into(), &3.into(), &0.into()), "{still}");
        assert_eq!(world.quarantined(table), 3, "rows that still do not fit stay");
    }
    world.widen();
    // One is gone, one was changed since.
    world.mongo.delete("floor", "baskets", doc! {"n": 10});
    world.mongo.update("floor", "baskets", doc! {"n": 11}, doc! {"$set": {"points": 7_i64}});
    world.postgres.execute(
        "till",
        "DELETE FROM \"Receipts\" WHERE \"No\" = 'it''s 10'; UPDATE \"Receipts\" SET points = 7 WHERE \"No\" = 'it''s 11'",
    );
    for (table, large) in [("floor.baskets", "n = 12"), ("till.receipts", "number LIKE '%12'")] {
        let report = world.replay(table);
        assert_eq!((&report["came_home"], &report["still_rejected"], &report["gone"]), (&2.into(), &0.into(), &1.into()), "{report}");
        assert_eq!((world.rows(table), world.quarantined(table)), (12, 0));
        assert_eq!(world.project.value(&format!("SELECT points FROM {table} WHERE {large}")), "120000000000");
        world.project.pipeline(&["quarantine", "replay", table]).exited(2);
    }
    world.run();
    assert_eq!((world.rows("floor.baskets"), world.rows("till.receipts")), (12, 12), "a run after it repeats nothing");
}

#[test]
fn rejected_rows_are_shown_value_by_value_also_without_their_source() {
    let mut world = World::start();
    world.project.environment("TILL_URL", "postgres://nobody@127.0.0.1:9/gone");
    let shown = world.project.pipeline(&["quarantine", "show", "till.receipts", "--output", "json"]).succeeded().json();
    let rows = shown["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 3);
    for (row, number) in rows.iter().zip(10_i64..) {
        let (points, store) = (number * 10_000_000_000, number % 2);
        // Ordered by their keys, of which the store is the first.
        let expected = rows.iter().any(|row| {
            row["row"] == serde_json::json!({"store": store, "No": format!("it's {number}"), "points": points})
                && row["values"] == serde_json::json!([points])
        });
        assert!(expected, "row {number} is missing: {shown}");
        assert_eq!(row["format"], "copy-binary");
        assert!(row["raw"].as_str().is_some_and(|raw| raw.len() as u64 == 2 * row["bytes"].as_u64().unwrap() && raw.len() > 20), "{row}");
    }
    let people = world.project.pipeline(&["quarantine", "show", "till.receipts"]);
    let line = r#"{"store": 0, "No": "it's 12", "points": 120000000000}"#;
    assert!(people.succeeded().stdout.contains(line) && people.stdout.contains("points: 120000000000"), "{people}");
}

#[test]
fn a_replay_that_is_killed_repeats_and_loses_nothing() {
    for point in [
        "landing.after_manifest",
        "ledger.after_landed",
        "lake.before_commit",
        "lake.after_commit",
        "ledger.after_loaded",
        "replay.before_settled",
    ] {
        let mut world = World::start();
        world.widen();
        world.project.kill_at(point, 1, &["quarantine", "replay", "till.receipts"]);
        let report = world.replay("till.receipts");
        assert_eq!(report["came_home"], 3, "after a death at {point}: {report}");
        assert_eq!((world.rows("till.receipts"), world.quarantined("till.receipts")), (13, 0), "after a death at {point}");
    }
}

#[test]
fn rows_are_dropped_only_when_somebody_says_so() {
    let world = World::start();
    let refused = world.project.pipeline(&["quarantine", "drop", "till.receipts", "--output", "json"]);
    assert_eq!(refused.exited(2).error()["code"], "E-NOT-CONFIRMED");
    assert_eq!(world.quarantined("till.receipts"), 3);
    let other = world.project.pipeline(&["quarantine", "drop", "till.receipts", "--column", "number", "--yes", "--output", "json"]);
    assert_eq!(other.exited(2).error()["code"], "E-QUARANTINE-EMPTY");
    let dropped = world.project.pipeline(&["quarantine", "drop", "till.receipts", "--column", "points", "--yes"]);
    assert!(dropped.succeeded().stdout.contains("3 rejected rows of \"till.receipts\" dropped"), "{dropped}");
    assert_eq!((world.quarantined("till.receipts"), world.quarantined("floor.baskets")), (0, 3));
    assert!(world.project.pipeline(&["history", "nightly"]).succeeded().stdout.contains("rejected rows"));
    // A later run that meets them again says so again.
    world.run();
    assert_eq!(world.quarantined("till.receipts"), 3);
}

#[test]
fn rows_that_nothing_finds_again_are_read_with_their_whole_table() {
    let mut world = World::start();
    world.postgres.execute(
        "till",
        "CREATE TABLE slips (number int, points bigint); INSERT INTO slips SELECT i, CASE WHEN i < 10 THEN i ELSE i * 10000000000 END FROM generate_series(0, 12) AS i",
    );
    let only = ["run", "nightly", "--only", "till.slips", "--output", "json"];
    let refused = |world: &World, table: &str, code: &str| {
        let outcome = world.project.pipeline(&["quarantine", "replay", table, "--output", "json"]);
        let error = outcome.exited(2).error();
        assert!(error["code"] == code && error["hint"].as_str().unwrap().contains("pipeline run --full-refresh --only"), "{outcome}");
        assert_eq!((world.rows(table), world.quarantined(table)), (10, 3), "nothing is changed: {outcome}");
        error
    };
    world
        .project
        .set("sources.till.tables.slips.columns.number", "int not null")
        .set("sources.till.tables.slips.columns.points", "int")
        .set("pipelines.nightly.tables", vec!["till.*"]);
    world.project.pipeline(&only).succeeded();
    refused(&world, "till.slips", "E-CONTRACT");
    // A key that was not there when they were rejected.
    world.project.set("sources.till.tables.slips.key", vec!["number"]).set("sources.till.tables.slips.columns.points", "bigint");
    let error = refused(&world, "till.slips", "E-REPLAY");
    assert!(error.to_string().contains("no key when they were rejected"), "{error}");

    let anew: Vec<&str> = only.iter().copied().chain(["--full-refresh"]).collect();
    world.project.pipeline(&anew).succeeded();
    assert_eq!((world.rows("till.slips"), world.quarantined("till.slips")), (13, 0));

    // A key that is personal is kept nowhere, so that it finds nothing either.
    world
        .project
        .set("sources.till.tables.badges.relation", "slips")
        .set("sources.till.tables.badges.key", vec!["number"])
        .set("sources.till.tables.badges.columns.number", "text not null pii hash")
        .set("sources.till.tables.badges.columns.points", "int");
    world.project.pipeline(&["run", "nightly", "--only", "till.badges"]).succeeded();
    let error = refused(&world, "till.badges", "E-REPLAY");
    assert!(error.to_string().contains("its key is personal"), "{error}");
}

#[test]
fn more_misfits_than_memory_holds_end_the_run_with_their_cause() {
    const ROWS: u64 = 120_000;
    let mut world = World::start();
    world.postgres.execute(
        "till",
        &format!(
            "CREATE TABLE scans (id bigint PRIMARY KEY, points bigint, note text); \
             INSERT INTO scans SELECT i, i + 5000000000, repeat('x', 1000) FROM generate_series(1, {ROWS}) AS i; ANALYZE scans"
        ),
    );
    world
        .project
        .set("sources.till.tables.scans.key", vec!["id"])
        .set("sources.till.tables.scans.max_rejected", "100%")
        .set("sources.till.tables.scans.columns.id", "bigint not null")
        .set("sources.till.tables.scans.columns.points", "int")
        .set("sources.till.tables.scans.columns.note", "text")
        .set("pipelines.nightly.tables", vec!["till.*"]);
    let only = ["run", "nightly", "--only", "till.scans", "--output", "json"];
    let refused = world.project.pipeline(&only);
    let error = refused.exited(6).error();
    assert_eq!(error["code"], "E-REJECTED", "{refused}");
    for words in ["till.scans", "more than 64 MiB of rows that do not fit", "column \\\"points\\\""] {
        assert!(error.to_string().contains(words), "\"{words}\" is missing: {refused}");
    }
    assert!(error["hint"].as_str().unwrap().contains("whatever `max_rejected` allows"), "{refused}");
    assert_eq!(world.quarantined("till.scans"), 0, "nothing of it was landed");
    world.project.pipeline(&["query", "SELECT * FROM till.scans"]).exited(2);

    world.project.set("sources.till.tables.scans.columns.points", "bigint");
    let taken = world.project.pipeline(&only);
    taken.succeeded();
    assert_eq!(world.rows("till.scans"), ROWS);
    // What is held is all that a run that rejects needs beside what one that takes rows does.
    let limit = taken.memory_bytes_peak + (64 << 20) + (32 << 20);
    assert!(refused.memory_bytes_peak <= limit, "{} and {} bytes", refused.memory_bytes_peak, taken.memory_bytes_peak);
}
