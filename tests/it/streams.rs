//! Change capture from MongoDB: deletions and all reach lake and mart, whatever the program dies of on the way.

use std::collections::BTreeMap;

use bson::{Document, doc};
use pipeline_tests::{Mongo, Project};
use serde_json::Value;

/// Baskets, and how many each store has.
struct World {
    project: Project,
    mongo: Mongo,
}

impl World {
    fn start() -> Self {
        let mongo = Mongo::start();
        let baskets: Vec<Document> = (0..60).map(|n| doc! {"_id": format!("b{n}"), "storeId": n % 5, "note": "ł".repeat(20)}).collect();
        mongo.insert("floor", "baskets", &baskets);
        let mut project = Project::new();
        let models = project.empty_models();
        std::fs::write(models.join("stores.sql"), "SELECT store_id, count(*) AS baskets FROM floor.baskets GROUP BY store_id\n").unwrap();
        std::fs::write(
            models.join("stores.toml"),
            "description = \"Baskets of each store\"\ngrain = \"one row per store\"\nkey = [\"store_id\"]\nmaterialization = \"full\"\n\
             [columns.store_id]\ntype = \"int\"\nnot_null = true\ndescription = \"The store\"\n\
             [columns.baskets]\ntype = \"bigint\"\ndescription = \"Its baskets\"\n",
        )
        .unwrap();
        project
            .environment("FLOOR_URL", mongo.url())
            .environment("PIPELINE_PRIVACY_KEY", "a key of this test")
            .set("sources.floor.kind", "mongodb")
            .set("sources.floor.url", "env:FLOOR_URL")
            .set("sources.floor.database", "floor")
            .set("sources.floor.capture", "log")
            .set("sources.floor.tables.baskets.key", vec!["basket_id"])
            .set("sources.floor.tables.baskets.columns.basket_id", "text not null from _id")
            .set("sources.floor.tables.baskets.columns.store_id", "int not null from storeId")
            .set("sources.floor.tables.baskets.columns.note", "text")
            .set("pipelines.nightly.tables", vec!["floor.baskets"]);
        Self { project, mongo }
    }

    fn run(&self) -> Value {
        self.project.pipeline(&["run", "nightly", "--output", "json"]).succeeded().json()
    }

    /// Changes of every kind, others with each number.
    fn change(&self, number: i32) {
        let (first, second) = (format!("b{}", number * 7 % 60), format!("b{}", number * 11 % 60));
        self.mongo.insert("floor", "baskets", &[doc! {"_id": format!("new{number}"), "storeId": number % 6}]);
        self.mongo.update("floor", "baskets", doc! {"_id": first}, doc! {"$set": {"storeId": 9}});
        self.mongo.update("floor", "baskets", doc! {"storeId": number % 5}, doc! {"$set": {"note": format!("of {number}")}});
        self.mongo.delete("floor", "baskets", doc! {"_id": second});
        self.mongo.insert("floor", "others", &[doc! {"n": number}]);
    }

    fn assert_everywhere(&self, when: &str) {
        let documents = self.mongo.find("floor", "baskets", doc! {});
        let mut stores: BTreeMap<i32, u64> = BTreeMap::new();
        let mut expected: Vec<String> = Vec::new();
        for document in &documents {
            let store = document.get_i32("storeId").unwrap();
            *stores.entry(store).or_default() += 1;
            expected.push(format!("{} {store} {}", document.get_str("_id").unwrap(), document.get_str("note").unwrap_or("-")));
        }
        expected.sort();
        let lake = self
            .project
            .query("SELECT concat_ws(' ', basket_id, CAST(store_id AS varchar), coalesce(note, '-')) AS row FROM floor.baskets");
        let mut lake: Vec<String> = lake.iter().map(|row| row["row"].as_str().unwrap().to_owned()).collect();
        lake.sort();
        assert_eq!(lake, expected, "the lake, {when}");
        let mart = self.project.query("SELECT store_id, baskets FROM stores");
        let mart: BTreeMap<i32, u64> =
            mart.iter().map(|row| (row["store_id"].as_i64().unwrap().try_into().unwrap(), row["baskets"].as_u64().unwrap())).collect();
        assert_eq!(mart, stores, "the mart, {when}");
    }
}

#[test]
fn changes_and_deletions_reach_lake_and_mart_once() {
    let world = World::start();
    assert_eq!(world.run()["status"], "done");
    world.assert_everywhere("at first");
    assert_eq!(world.run()["status"], "unchanged");
    for number in 1..=3 {
        world.change(number);
        let planned = world.project.pipeline(&["plan", "nightly"]);
        assert!(planned.succeeded().stdout.contains("documents changed since"), "{planned}");
        let report = world.run();
        assert_eq!(report["status"], "done");
        let steps = report["steps"].as_array().unwrap();
        let load = steps.iter().find(|step| step["name"] == "load lake floor.baskets").unwrap();
        assert!(load["rows_out"].as_u64().unwrap() < 30, "only what changed moves: {load}");
        world.assert_everywhere(&format!("after changes {number}"));
        assert_eq!(world.run()["status"], "unchanged");
    }
    world.mongo.command("floor", doc! {"drop": "baskets"});
    world.mongo.insert("floor", "baskets", &[doc! {"_id": "only", "storeId": 1}]);
    assert_eq!(world.run()["status"], "done");
    world.assert_everywhere("after the collection was made anew");
    let healthy = world.project.pipeline(&["doctor", "nightly", "--output", "json"]);
    assert!(healthy.stdout.contains("source floor: log of changes") && healthy.stdout.contains("reaches back to"), "{healthy}");
}

#[test]
fn a_kill_at_every_point_of_a_captured_run_loses_and_repeats_nothing() {
    let world = World::start();
    assert_eq!(world.run()["status"], "done");
    for (number, point) in (1..).step_by(2).zip([
        "run.after_cut",
        "extract.after_plan",
        "landing.after_manifest",
        "ledger.after_landed",
        "lake.before_commit",
        "lake.after_commit",
        "ledger.after_loaded",
        "ledger.after_checkpoint",
        "model.after_compute",
    ]) {
        world.change(number);
        world.project.kill_at(point, 1, &["run", "nightly"]);
        world.change(number + 1);
        // The first run ends what the killed one began; the second brings what came since.
        world.run();
        world.run();
        world.assert_everywhere(&format!("after a death at {point}"));
    }
    assert_eq!(world.run()["status"], "unchanged");
}
