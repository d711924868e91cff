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
    /// Live servers with nothing in them, and an empty folder.
    fn bare() -> Self {
        let (mongo, postgres) = (Mongo::start(), Postgres::start());
        postgres.create_database("platform");
        let mut project = Project::new();
        project
            .environment("PIPELINE_PRIVACY_KEY", "a key of this test")
            .environment("SHOP_MONGODB_URL", mongo.url().replace("/?", "/shop?"))
            .environment("PLATFORM_POSTGRES_URL", postgres.url("platform"));
        std::fs::create_dir(project.folder().join("fresh")).unwrap();
        Self { project, mongo, postgres }
    }

    /// The same with the demonstration's data.
    fn start() -> Self {
        let world = Self::bare();
        let size = ["--customers", "40", "--stores", "3", "--days", "4", "--orders", "60", "--seed", "5"];
        let generate: Vec<&str> = ["demo", "generate", "--to", "live", "--profile", "live"].into_iter().chain(size).collect();
        world.project.pipeline(&generate).succeeded();
        world
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

    /// What is written for a table, from the line about its size on.
    fn section(&self, table: &str) -> String {
        let text = self.text();
        let has_it = |part: &&str| part.contains(&format!("[sources.{table}]\n"));
        text.split("\n\n").find(has_it).unwrap_or_else(|| panic!("{table} is missing:\n{text}")).to_owned()
    }

    /// Writes something else in its place.
    fn rewrite(&self, table: &str, change: impl Fn(&str) -> String) {
        let section = self.section(table);
        let changed = change(&section);
        assert_ne!(changed, section, "there is nothing to change:\n{section}");
        std::fs::write(self.project.folder().join(CONFIG), self.text().replace(&section, &changed)).unwrap();
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

#[test]
fn what_init_writes_of_keys_cursors_indexes_and_sizes() {
    let world = World::bare();
    world.postgres.execute(
        "platform",
        "CREATE TABLE changed (id bigint PRIMARY KEY, updated_at timestamptz NOT NULL, created_at timestamptz);
         CREATE INDEX changed_since ON changed (updated_at, id); CREATE INDEX changed_some ON changed (created_at) WHERE id > 5;
         INSERT INTO changed SELECT i, now(), now() FROM generate_series(1, 20000) i;
         CREATE TABLE unindexed (id int PRIMARY KEY, modified_at timestamp NOT NULL);
         CREATE TABLE born (id int PRIMARY KEY, happened timestamptz); CREATE INDEX ON born (happened);
         CREATE TABLE entries (entry_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text);
         INSERT INTO entries (note) SELECT 'a' FROM generate_series(1, 3);
         CREATE TABLE tickets (id serial PRIMARY KEY, note text);
         CREATE TABLE codes (id int PRIMARY KEY, note text);
         CREATE TABLE pairs (label text UNIQUE, store int NOT NULL, \"No\" text NOT NULL, line int NOT NULL, UNIQUE (store, line, \"No\"), UNIQUE (store, \"No\"));
         INSERT INTO pairs VALUES ('a', 1, 'x', 1), (NULL, 1, 'y', 1), (NULL, 2, 'x', 1);
         CREATE TABLE covered (id int, note text, PRIMARY KEY (id) INCLUDE (note));
         CREATE TABLE loose (id int UNIQUE);
         CREATE VIEW seen AS SELECT * FROM codes; ANALYZE",
    );
    let at = |seconds: i64| bson::DateTime::from_millis(1_760_000_000_000 + seconds * 1000);
    let baskets: Vec<_> = (0..1200_i64).map(|n| doc! {"number": n, "updatedAt": at(n), "note": "z".repeat(1000)}).collect();
    let visits: Vec<_> = (0..10_i64).map(|n| doc! {"changedAt": at(n), "bookedAt": at(n)}).collect();
    world.mongo.insert("shop", "baskets", &baskets);
    world.mongo.insert("shop", "visits", &visits);
    world
        .mongo
        .command("shop", doc! {"createIndexes": "baskets", "indexes": [{"key": {"updatedAt": 1, "number": 1}, "name": "by_change"}]});
    let partial = doc! {"key": {"changedAt": 1}, "name": "some", "partialFilterExpression": {"changedAt": {"$exists": true}}};
    world.mongo.command("shop", doc! {"createIndexes": "visits", "indexes": [partial, {"key": {"bookedAt": -1}, "name": "booked"}]});
    world.init(&[]).succeeded();

    const WHOLE: &str = "every run reads the whole table";
    const NO_INDEX: &str = "(no index begins with it: each run looks at every row)";
    for (table, lines) in [
        (
            "platform.tables.changed",
            vec!["key = [\"id\"]", "cursor = \"updated_at\"  # review: updated_at (index changed_since); others: created_at (no"],
        ),
        ("platform.tables.unindexed", vec![&*format!("cursor = \"modified_at\"  # review: modified_at {NO_INDEX}\n")]),
        ("platform.tables.born", vec![&*format!("# review: {WHOLE}; `cursor` could be happened (index born_happened_idx)\n")]),
        (
            "platform.tables.entries",
            vec!["only added, never changed or deleted", "`cursor = \"entry_id\"` reads only new ones: entry_id (index entries_pkey)\n"],
        ),
        ("platform.tables.tickets", vec!["`cursor = \"id\"` reads only new ones: id (index tickets_pkey)\n"]),
        ("platform.tables.codes", vec!["key = [\"id\"]\n", &*format!("# no column tells what changed: {WHOLE}\n")]),
        ("platform.tables.pairs", vec!["key = [\"store\", \"no\"]\n", "no = \"text not null from No\""]),
        ("platform.tables.covered", vec!["key = [\"id\"]\n", "note = \"text\""]),
        ("platform.tables.loose", vec!["# review: no key was found"]),
        ("platform.tables.seen", vec!["# review: no key was found"]),
        ("shop.tables.baskets", vec!["key = [\"id\"]", "cursor = \"updated_at\"  # review: updatedAt (index by_change)\n"]),
        (
            "shop.tables.visits",
            vec![&*format!("cursor = \"changed_at\"  # review: changedAt {NO_INDEX}; others: bookedAt (index booked)\n")],
        ),
    ] {
        let section = world.section(table);
        for line in lines {
            assert!(section.contains(line), "\"{line}\" is missing:\n{section}");
        }
    }
    // A number is proposed, never chosen: changes would be lost without a word.
    assert!(!world.section("platform.tables.entries").lines().any(|line| line.starts_with("cursor")));
    for (table, rows) in [("platform.tables.changed", "20\u{202f}000"), ("shop.tables.baskets", "1\u{202f}200")] {
        let section = world.section(table);
        let size = section.trim_start().lines().next().unwrap();
        assert!(size.starts_with(&format!("# about {rows} rows, ")) && size.ends_with(" MiB"), "{section}");
    }
    assert!(world.section("platform.tables.entries").trim_start().starts_with("# about 3 rows\n"));
    assert_eq!(world.differences(), [], "{}", world.pipeline(&["schema", "diff"]));

    // Taken over, the proposal reads what was added, and nothing else.
    world.rewrite("platform.tables.entries", |section| section.replace("key = ", "cursor = \"entry_id\"\nkey = "));
    let read = || {
        let run = world.pipeline(&["run", "nightly", "--only", "platform.entries", "--only", "platform.pairs", "--output", "json"]);
        let report = run.succeeded().json();
        let step = |name: &str| report["steps"].as_array().unwrap().iter().find(|step| step["name"] == name).unwrap()["rows_in"].clone();
        (step("extract platform.entries"), step("extract platform.pairs"))
    };
    assert_eq!(read(), (3.into(), 3.into()));
    world.postgres.execute("platform", "INSERT INTO entries (note) VALUES ('b')");
    assert_eq!(read(), (1.into(), 3.into()));
    assert_eq!(world.value("SELECT count(*) * 10 + max(entry_id) AS n FROM platform.entries"), "44");
    assert_eq!(world.value("SELECT count(*) AS n FROM platform.pairs"), "3");
}

#[test]
fn what_can_be_null_and_what_is_unique_are_compared_with_the_source() {
    let world = World::bare();
    world.postgres.execute(
        "platform",
        "CREATE TABLE codes (id int PRIMARY KEY, note text, size int NOT NULL, label text);
         CREATE TABLE pairs (store int NOT NULL, number int NOT NULL, line int NOT NULL, CONSTRAINT pairs_key UNIQUE (store, number));
         CREATE VIEW seen AS SELECT * FROM codes",
    );
    world.mongo.insert(
        "shop",
        "baskets",
        &[doc! {"number": 1, "size": 1, "label": "a"}, doc! {"number": 2, "size": bson::Bson::Null, "label": "b"}],
    );
    world.init(&[]).succeeded();
    assert_eq!(world.differences(), []);
    let pair = |column: &str, difference: &str| (column.to_owned(), difference.to_owned());

    // What no decision needs.
    world.postgres.execute(
        "platform",
        "ALTER TABLE codes ALTER note SET NOT NULL, ALTER size DROP NOT NULL; ALTER TABLE pairs DROP CONSTRAINT pairs_key",
    );
    // A view keeps nothing unique and allows NULL everywhere: nothing is said of it.
    world.rewrite("platform.tables.seen", |section| {
        section.replace("id = \"int\"", "id = \"int not null\"").replace("# review: no key", "key = [\"id\"] # no key")
    });
    world.rewrite("shop.tables.baskets", |section| section.replace("\"int\"", "\"int not null\"").replace("\"text\"", "\"text not null\""));
    let all =
        [pair("note", "never NULL"), pair("size", "can be NULL"), pair("store, number", "key not unique"), pair("size", "can be NULL")];
    assert_eq!(world.differences(), all);
    let shown = world.pipeline(&["schema", "diff"]);
    for words in [
        "never NULL note: the source allows no NULL: `not null` can be declared",
        "can be NULL size: the source allows NULL, and such rows go to quarantine",
        "can be NULL size: documents without it were seen, and go to quarantine",
        "key not unique store, number: rows of the source that share it become one in the lake; the source keeps no columns unique",
    ] {
        assert!(shown.succeeded().stdout.contains(words), "\"{words}\" is missing: {shown}");
    }
    let table = world.pipeline(&["schema", "show", "platform.codes"]);
    assert!(table.succeeded().stdout.contains("never NULL"), "{table}");
    let before = world.text();
    assert!(world.pipeline(&["schema", "accept", "platform.codes"]).succeeded().stdout.contains("nothing to take over"));
    assert_eq!(world.text(), before);

    // More columns than the declared ones tell rows apart.
    world.postgres.execute("platform", "ALTER TABLE pairs ADD PRIMARY KEY (store, number, line)");
    let shown = world.pipeline(&["schema", "diff", "platform.pairs"]);
    assert!(shown.exited(6).stdout.contains("what the source keeps unique: store, number, line"), "{shown}");
    assert!(shown.stderr.contains("1 difference needs a decision"), "{shown}");
    world.rewrite("platform.tables.pairs", |section| section.replace("\"number\"]", "\"number\", \"line\"]"));
    world.pipeline(&["schema", "diff", "platform.pairs"]).succeeded();
    // A key that holds a unique one is unique.
    world.postgres.execute("platform", "CREATE UNIQUE INDEX ON pairs (line); ALTER TABLE pairs DROP CONSTRAINT pairs_pkey");
    assert_eq!(world.pipeline(&["schema", "diff", "platform.pairs"]).succeeded().stdout.trim(), "the sources hold what is declared");
}
