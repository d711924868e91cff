//! Tables that were emptied at the source are empty in the lake, once they are read whole.

use bson::doc;
use pipeline_tests::{Mongo, Postgres, Project};

/// What tells nothing of deletions, and what is read whole each time.
const BY_CURSOR: [&str; 2] = ["till.moving", "floor.moving"];
const WHOLE: [&str; 3] = ["till.codes", "till.parts", "floor.codes"];

fn rows(project: &Project, table: &str) -> String {
    project.value(&format!("SELECT count(*) AS n FROM {table}"))
}

#[test]
fn tables_that_were_emptied_are_empty_in_the_lake() {
    let (mongo, postgres) = (Mongo::start(), Postgres::start());
    postgres.create_database("till");
    postgres.execute(
        "till",
        "CREATE TABLE codes (id bigint, at timestamptz); INSERT INTO codes SELECT i, now() FROM generate_series(1, 3) AS i;
         CREATE TABLE moving (id bigint PRIMARY KEY, at timestamptz); INSERT INTO moving SELECT id, at FROM codes;
         CREATE TABLE parts (id bigint, at timestamptz) PARTITION BY RANGE (id);
         CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10); INSERT INTO parts SELECT id, at FROM codes",
    );
    for collection in ["codes", "moving"] {
        let documents: Vec<_> = (1..=3_i64).map(|n| doc! {"_id": n, "at": bson::DateTime::now()}).collect();
        mongo.insert("floor", collection, &documents);
    }
    let mut project = Project::new();
    project.empty_models();
    project
        .environment("FLOOR_URL", mongo.url())
        .environment("TILL_URL", postgres.url("till"))
        .environment("PIPELINE_PRIVACY_KEY", "a key of this test")
        .set("sources.floor.kind", "mongodb")
        .set("sources.floor.url", "env:FLOOR_URL")
        .set("sources.floor.database", "floor")
        .set("sources.till.kind", "postgres")
        .set("sources.till.url", "env:TILL_URL")
        .set("pipelines.nightly.tables", [BY_CURSOR.as_slice(), &WHOLE].concat());
    for table in BY_CURSOR.iter().chain(&WHOLE) {
        let (source, name) = table.split_once('.').unwrap();
        let id = if source == "floor" { "bigint not null from _id" } else { "bigint not null" };
        project
            .set(&format!("sources.{source}.tables.{name}.key"), vec!["id"])
            .set(&format!("sources.{source}.tables.{name}.columns.id"), id)
            .set(&format!("sources.{source}.tables.{name}.columns.at"), "timestamp not null");
        if BY_CURSOR.contains(table) {
            project.set(&format!("sources.{source}.tables.{name}.cursor"), "at");
        }
    }
    let run = |arguments: &[&str]| {
        let run = project.pipeline(&[&["run", "nightly", "--output", "json"], arguments].concat());
        run.succeeded().json()
    };
    assert_eq!(run(&[])["status"], "done");
    for table in BY_CURSOR.iter().chain(&WHOLE) {
        assert_eq!(rows(&project, table), "3", "{table}");
    }
    postgres.execute("till", "DELETE FROM codes; TRUNCATE moving; DROP TABLE parts_1");
    for collection in ["codes", "moving"] {
        mongo.delete("floor", collection, doc! {});
    }
    run(&[]);
    for table in WHOLE {
        assert_eq!(rows(&project, table), "0", "{table}");
    }
    for table in BY_CURSOR {
        assert_eq!(rows(&project, table), "3", "{table}: a cursor tells nothing of what was deleted");
    }
    assert_eq!(run(&[])["status"], "unchanged");
    run(&["--full-refresh"]);
    for table in BY_CURSOR {
        assert_eq!(rows(&project, table), "0", "{table}");
    }
    postgres.execute("till", "INSERT INTO codes VALUES (7, now()); INSERT INTO moving VALUES (7, now())");
    run(&[]);
    for table in ["till.codes", "till.moving"] {
        assert_eq!(rows(&project, table), "1", "{table}");
    }
}
