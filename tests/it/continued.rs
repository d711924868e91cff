//! A reading of the whole that is cut off goes on where it was: what is landed is not read again, and what changed meanwhile is right in the end.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bson::{Document, doc, oid::ObjectId};
use pipeline_tests::{Mongo, Postgres, Project};
use serde_json::Value;

/// Enough for slices: one has a thousand documents at least.
const DOCUMENTS: i64 = 4_000;

/// Change streams fail with this when the server's log is too short.
const CHANGE_STREAM_HISTORY_LOST: i32 = 286;

struct World {
    project: Project,
    mongo: Mongo,
}

fn identifier(number: i64) -> ObjectId {
    let mut bytes = [0; 12];
    // Identifiers are cut by the seconds that they begin with.
    bytes[..4].copy_from_slice(&u32::try_from(1_700_000_000 + number).unwrap().to_be_bytes());
    ObjectId::from_bytes(bytes)
}

impl World {
    fn start(capture: &str) -> Self {
        let mongo = Mongo::start();
        let baskets: Vec<Document> = (0..DOCUMENTS).map(|n| doc! {"_id": identifier(n), "n": n, "at": moment(0)}).collect();
        mongo.insert("floor", "baskets", &baskets);
        let mut project = Project::new();
        project.empty_models();
        project
            .environment("FLOOR_URL", mongo.url())
            .environment("PIPELINE_PRIVACY_KEY", "a key of this test")
            .set("sources.floor.kind", "mongodb")
            .set("sources.floor.url", "env:FLOOR_URL")
            .set("sources.floor.database", "floor")
            .set("sources.floor.capture", capture)
            .set("sources.floor.tables.baskets.key", vec!["basket_id"])
            .set("sources.floor.tables.baskets.columns.basket_id", "text not null from _id")
            .set("sources.floor.tables.baskets.columns.n", "bigint not null")
            .set("sources.floor.tables.baskets.columns.at", "timestamp not null")
            .set("pipelines.nightly.tables", vec!["floor.baskets"]);
        if capture == "cursor" {
            project.set("sources.floor.tables.baskets.cursor", "at");
        }
        Self { project, mongo }
    }

    fn run(&self) -> Value {
        self.project.pipeline(&["run", "nightly", "--output", "json"]).succeeded().json()
    }

    /// Documents of the first and the last slice change; some of both go, and new ones come at both ends.
    fn change(&self, number: i64) {
        let (first, last) = (number * 10, DOCUMENTS - 1 - number * 10);
        for (of, new) in [(first, -1 - number), (last, DOCUMENTS + number)] {
            let changed = doc! {"$set": {"n": number * 1_000_000, "at": moment(number)}};
            self.mongo.update("floor", "baskets", doc! {"_id": identifier(of)}, changed);
            self.mongo.insert("floor", "baskets", &[doc! {"_id": identifier(new), "n": -1_i64, "at": moment(number)}]);
        }
    }

    fn remove(&self, number: i64) {
        for of in [number * 10 + 5, DOCUMENTS - 5 - number * 10] {
            self.mongo.delete("floor", "baskets", doc! {"_id": identifier(of)});
        }
    }

    fn assert_lake(&self, when: &str) {
        let mut expected: Vec<String> = self
            .mongo
            .find("floor", "baskets", doc! {})
            .iter()
            .map(|document| format!("{} {}", document.get_object_id("_id").unwrap().to_hex(), document.get_i64("n").unwrap()))
            .collect();
        expected.sort();
        let lake = self.project.query("SELECT concat_ws(' ', basket_id, CAST(n AS varchar)) AS row FROM floor.baskets");
        let mut lake: Vec<String> = lake.iter().map(|row| row["row"].as_str().unwrap().to_owned()).collect();
        lake.sort();
        assert_eq!(lake.len(), expected.len(), "rows in the lake, {when}");
        assert!(lake == expected, "the lake differs, {when}");
    }

    /// The parts that lie in the landing, each with the folder of its attempt.
    fn parts(&self) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::new();
        files(&self.project.folder().join(".pipeline/landing"), &mut found);
        found.retain(|path| path.file_name().is_some_and(|name| name.to_str().is_some_and(|name| name.starts_with("part-"))));
        found
    }

    /// The server answers the next question for changes as if its log had been too short.
    fn lose_history(&self) {
        let fail = doc! {"configureFailPoint": "failCommand", "mode": {"times": 1}, "data": {"failCommands": ["aggregate"], "errorCode": CHANGE_STREAM_HISTORY_LOST}};
        self.mongo.command("admin", fail);
    }
}

fn moment(hours: i64) -> bson::DateTime {
    bson::DateTime::from_millis(1_735_689_600_000 + hours * 3_600_000)
}

fn files(folder: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            files(&entry.path(), found);
        } else {
            found.insert(entry.path());
        }
    }
}

fn step<'a>(report: &'a Value, name: &str) -> &'a Value {
    report["steps"].as_array().unwrap().iter().find(|step| step["name"] == name).unwrap_or_else(|| panic!("no step \"{name}\": {report}"))
}

/// How many slices the step found landed, and how many there are.
fn landed_before(report: &Value) -> (usize, usize) {
    let note = step(report, "extract floor.baskets")["note"].as_str().unwrap();
    let numbers: Vec<usize> = note.rsplit("; ").next().unwrap().split(' ').filter_map(|word| word.parse().ok()).collect();
    match numbers[..] {
        [landed, all] => (landed, all),
        _ => panic!("the note tells no slices: {note}"),
    }
}

#[test]
fn a_killed_first_reading_goes_on_and_ends_as_the_collection_is() {
    for capture in ["log", "cursor"] {
        let world = World::start(capture);
        world.project.kill_at("ledger.after_slice", 1, &["run", "nightly"]);
        let landed = world.parts();
        // A table read by its cursor learns nothing of deletions, nor of changes before the run's own cut.
        let is_captured = capture == "log";
        world.change(1);
        if is_captured {
            world.remove(1);
        }
        // Another death, after another slice.
        world.project.kill_at("ledger.after_slice", 1, &["run", "nightly"]);
        let landed_later: BTreeSet<PathBuf> = world.parts().difference(&landed).cloned().collect();
        world.change(2);
        if is_captured {
            world.remove(2);
        }
        let report = world.run();
        assert_eq!((&report["status"], &report["resumed"]), (&"done".into(), &true.into()), "{report}");
        let (before, all) = landed_before(&report);
        assert!(before >= 2 && before <= all, "{before} of {all}");
        // What was landed is not read again: this attempt made parts for the other slices only, and for what changed.
        let read_now = world.parts().difference(&landed).filter(|part| !landed_later.contains(*part)).count();
        let behind = usize::from(step(&report, "follow floor.baskets")["rows_out"].as_u64().unwrap() > 0);
        assert_eq!(read_now, all - before + behind, "{report}");
        if is_captured {
            world.assert_lake("after the run that was continued twice");
        }
        world.run();
        world.assert_lake(&format!("after the run behind it, by {capture}"));
        assert_eq!(world.run()["status"], "unchanged");
        world.change(3);
        world.run();
        world.assert_lake(&format!("after more changes, by {capture}"));
    }
}

#[test]
fn slices_of_another_collection_or_with_hashes_of_another_key_are_not_used() {
    for capture in ["log", "cursor"] {
        for change in ["nothing", "key", "collection"] {
            let mut world = World::start(capture);
            world.project.set("sources.floor.tables.baskets.columns.who", "text pii hash");
            world.project.set("profiles.local.project.privacy.key", "env:PIPELINE_PRIVACY_KEY");
            world.project.kill_at("ledger.after_slice", 1, &["run", "nightly"]);
            let same: Vec<Document> = (0..DOCUMENTS).map(|n| doc! {"_id": identifier(n), "n": -n, "at": moment(0)}).collect();
            match change {
                "key" => drop(world.project.environment("PIPELINE_PRIVACY_KEY", "another key")),
                "collection" => {
                    world.mongo.insert("floor", "others", &same);
                    world.project.set("sources.floor.tables.baskets.collection", "others");
                }
                _ => {}
            }
            let report = world.run();
            let note = step(&report, "extract floor.baskets")["note"].as_str().unwrap();
            assert_eq!(note.contains("had been landed before"), change == "nothing", "{capture}, {change}: {note}");
            assert_eq!(report["status"], "done");
        }
    }
}

#[test]
fn a_death_at_every_point_of_a_continued_reading_is_mended() {
    for point in [
        "run.after_cut",
        "extract.before_slice_recorded",
        "landing.before_manifest",
        "landing.after_manifest",
        "ledger.after_landed",
        "lake.before_commit",
        "lake.after_commit",
        "ledger.after_loaded",
        "ledger.after_checkpoint",
    ] {
        let world = World::start("log");
        world.project.kill_at("ledger.after_slice", 1, &["run", "nightly"]);
        world.change(1);
        world.remove(1);
        world.project.kill_at(point, 1, &["run", "nightly"]);
        world.change(2);
        world.remove(2);
        world.run();
        // Where the last death came after the reading, the changes since then are the next run's.
        world.run();
        world.assert_lake(&format!("after a death at {point}"));
    }
}

#[test]
fn a_log_that_lost_the_last_reading_says_so_or_is_followed_by_a_whole_reading_that_can_be_continued() {
    let mut world = World::start("log");
    world.run();
    world.assert_lake("at first");
    world.change(1);
    world.remove(1);
    world.lose_history();
    let refused = world.project.pipeline(&["run", "nightly", "--output", "json"]);
    let error = refused.exited(6).error();
    assert_eq!(error["code"], "E-MONGO-HISTORY", "{refused}");
    assert!(error["hint"].as_str().is_some_and(|hint| hint.contains("--full-refresh")), "{refused}");
    assert!(error.to_string().contains("floor.baskets"), "{refused}");

    world.project.set("sources.floor.reread_when_lost", true);
    world.lose_history();
    world.project.kill_at("ledger.after_slice", 1, &["run", "nightly"]);
    world.change(2);
    world.remove(2);
    let report = world.run();
    let (before, all) = landed_before(&report);
    assert!(before >= 1 && before <= all && report["resumed"] == true, "{report}");
    assert!(step(&report, "follow floor.baskets")["rows_out"].as_u64().unwrap() > 0, "{report}");
    world.assert_lake("after the whole reading that was continued");
    assert_eq!(world.run()["status"], "unchanged");

    // A log that does not even reach back to that reading's beginning makes it begin anew.
    world.change(3);
    world.lose_history();
    world.project.kill_at("ledger.after_slice", 1, &["run", "nightly"]);
    world.change(4);
    world.lose_history();
    let report = world.run();
    assert!(!step(&report, "extract floor.baskets")["note"].as_str().unwrap().contains("had been landed before"), "{report}");
    world.run();
    world.assert_lake("after a reading that began anew");
}

/// A table of a till, large enough for two slices.
struct Till {
    project: Project,
    postgres: Postgres,
}

impl Till {
    fn start() -> Self {
        let postgres = Postgres::start();
        postgres.create_database("till");
        postgres.execute(
            "till",
            "CREATE TABLE receipts (id bigint PRIMARY KEY, amount int NOT NULL, note text NOT NULL) WITH (autovacuum_enabled = off);
             INSERT INTO receipts SELECT i, i % 1000, repeat('x', 1500) FROM generate_series(1, 22000) AS i;
             CREATE PUBLICATION pipeline FOR TABLE receipts",
        );
        let mut project = Project::new();
        project.empty_models();
        project
            .environment("TILL_URL", postgres.url("till"))
            .environment("PIPELINE_PRIVACY_KEY", "a key of this test")
            .set("project.slices_in_flight", 1)
            .set("sources.till.kind", "postgres")
            .set("sources.till.url", "env:TILL_URL")
            .set("sources.till.capture", "log")
            .set("sources.till.tables.receipts.key", vec!["id"])
            .set("sources.till.tables.receipts.columns.id", "bigint not null")
            .set("sources.till.tables.receipts.columns.amount", "int not null")
            .set("sources.till.tables.receipts.columns.note", "text not null")
            .set("pipelines.nightly.tables", vec!["till.receipts"]);
        Self { project, postgres }
    }

    /// Rows move from pages that were read to pages that were not, and the other way; some come, go, and get another key.
    fn move_rows(&self) {
        for sql in [
            // More than a fiftieth of all pages, or VACUUM leaves their space for later.
            "DELETE FROM receipts WHERE id <= 1200",
            "VACUUM receipts",
            "UPDATE receipts SET amount = -1 WHERE id > 21900",
            "UPDATE receipts SET amount = -2 WHERE id BETWEEN 1300 AND 1900",
            "UPDATE receipts SET id = id + 1000000 WHERE id BETWEEN 2000 AND 2010 OR id BETWEEN 21000 AND 21010",
            "INSERT INTO receipts SELECT i, -3, 'new' FROM generate_series(50001, 50100) AS i",
            "DELETE FROM receipts WHERE id BETWEEN 20000 AND 20010",
        ] {
            self.postgres.execute("till", sql);
        }
        let moved = "SELECT count(*) > 50 FROM receipts WHERE id > 21900 AND id < 22001 AND ctid < '(240,0)'";
        assert_eq!(self.postgres.execute("till", moved), "t", "rows of the last pages are in the first ones now");
    }

    fn run(&self) -> Value {
        self.project.pipeline(&["run", "nightly", "--output", "json"]).succeeded().json()
    }

    fn assert_lake(&self, when: &str) {
        let sql =
            |table: &str| format!("SELECT count(*) AS n, sum(id) AS ids, sum(amount) AS amounts, count(DISTINCT id) AS keys FROM {table}");
        let text = |row: &serde_json::Map<String, Value>| {
            ["n", "ids", "amounts", "keys"].map(|name| row[name].as_str().map_or_else(|| row[name].to_string(), str::to_owned))
        };
        let table = text(&self.postgres.rows("till", &sql("receipts"))[0]);
        assert_eq!(text(&self.project.query(&sql("till.receipts"))[0]), table, "the lake, {when}");
    }
}

fn note(report: &Value) -> String {
    step(report, "extract till.receipts")["note"].as_str().unwrap().to_owned()
}

#[test]
fn a_table_of_a_till_goes_on_although_its_rows_move_between_pages() {
    let till = Till::start();
    till.project.kill_at("ledger.after_slice", 1, &["run", "nightly"]);
    till.move_rows();
    let report = till.run();
    assert!(note(&report).contains("1 of its 2 slices had been landed before"), "{report}");
    assert!(step(&report, "follow till.receipts")["rows_out"].as_u64().unwrap() > 700, "{report}");
    till.assert_lake("after the run that went on");
    assert_eq!(till.run()["status"], "unchanged");
    till.postgres.execute("till", "UPDATE receipts SET amount = 7 WHERE id % 100 = 0; DELETE FROM receipts WHERE id % 777 = 0");
    till.run();
    till.assert_lake("after more changes");
}

#[test]
fn a_table_that_was_rewritten_or_truncated_is_begun_anew() {
    for rewriting in ["VACUUM FULL receipts", "TRUNCATE receipts; INSERT INTO receipts VALUES (1, 1, 'only')"] {
        let till = Till::start();
        till.project.kill_at("ledger.after_slice", 1, &["run", "nightly"]);
        till.postgres.execute("till", "DELETE FROM receipts WHERE id % 3 = 0");
        till.postgres.execute("till", rewriting);
        let report = till.run();
        assert!(!note(&report).contains("had been landed before"), "{report}");
        till.assert_lake(rewriting);
    }
}
