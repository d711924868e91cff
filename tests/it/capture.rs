//! Change capture from PostgreSQL: deletions and all reach lake, marts and warehouse, whatever the program dies of on the way.

use std::collections::BTreeMap;
use std::path::PathBuf;

use pipeline_tests::{Postgres, Project, RedshiftDouble, S3};
use serde_json::Value;

const BUCKET: &str = "lake";
const DATABASE: &str = "dev";
const SLOT: &str = "pipeline_till_receipts";

type Rows = Vec<BTreeMap<String, String>>;

/// A till's receipts, and what each store took.
struct World {
    project: Project,
    postgres: Postgres,
    warehouse: RedshiftDouble,
    _s3: S3,
}

fn plain<'a>(rows: impl IntoIterator<Item = &'a serde_json::Map<String, Value>>) -> Rows {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut rows: Rows = rows.into_iter().map(|row| row.iter().map(|(column, value)| (column.clone(), text(value))).collect()).collect();
    rows.sort_unstable();
    rows
}

impl World {
    fn start() -> Self {
        let (postgres, s3) = (Postgres::start(), S3::start());
        postgres.create_database("till");
        postgres.execute(
            "till",
            "CREATE TABLE receipts (id bigint PRIMARY KEY, store_id int NOT NULL, amount numeric(12,2) NOT NULL, note text);
             ALTER TABLE receipts ALTER note SET STORAGE EXTERNAL;
             INSERT INTO receipts SELECT i, i % 5, i * 1.01, CASE WHEN i % 7 = 0 THEN repeat('long ' || i, 1000) END FROM generate_series(1, 60) AS i;
             CREATE PUBLICATION pipeline FOR TABLE receipts",
        );
        s3.create_bucket(BUCKET);
        let warehouse = RedshiftDouble::start(&s3);
        let mut project = Project::new();
        let models = project.empty_models();
        std::fs::write(
            models.join("takings.sql"),
            "SELECT store_id, count(*) AS receipts, CAST(sum(amount) AS decimal(22,2)) AS amount FROM till.receipts GROUP BY store_id\n",
        )
        .unwrap();
        std::fs::write(
            models.join("takings.toml"),
            "description = \"What each store took\"\ngrain = \"one row per store\"\nkey = [\"store_id\"]\nmaterialization = \"full\"\n\
             [columns.store_id]\ntype = \"int\"\nnot_null = true\ndescription = \"The store\"\n\
             [columns.receipts]\ntype = \"bigint\"\ndescription = \"Receipts\"\n\
             [columns.amount]\ntype = \"decimal(22,2)\"\ndescription = \"Their sum\"\n",
        )
        .unwrap();
        project
            .profile("live")
            .environment("TILL_URL", postgres.url("till"))
            .environment("PIPELINE_PRIVACY_KEY", "a key of this test")
            .set("sources.till.kind", "postgres")
            .set("sources.till.url", "env:TILL_URL")
            .set("sources.till.capture", "log")
            .set("sources.till.tables.receipts.key", vec!["id"])
            .set("sources.till.tables.receipts.columns.id", "bigint not null")
            .set("sources.till.tables.receipts.columns.store_id", "int not null")
            .set("sources.till.tables.receipts.columns.amount", "decimal(12,2) not null")
            .set("sources.till.tables.receipts.columns.note", "text(65535)")
            .set("pipelines.nightly.tables", vec!["till.receipts"])
            .set("profiles.live.project.landing", format!("s3://{BUCKET}/landing"))
            .set("profiles.live.aws.endpoint", s3.endpoint())
            .set("profiles.live.destinations.warehouse.endpoint", warehouse.endpoint())
            .set("profiles.live.destinations.warehouse.database", DATABASE);
        for (name, value) in s3.owner().environment() {
            project.environment(name, value);
        }
        Self { project, postgres, warehouse, _s3: s3 }
    }

    fn run(&self) -> Value {
        self.project.pipeline(&["run", "nightly", "--output", "json"]).succeeded().json()
    }

    /// Changes of every kind, others with each number.
    fn change(&self, number: u32) {
        let (first, key) = (number * 7 % 60 + 1, 1_000 + number * 10);
        self.postgres.execute(
            "till",
            &format!(
                "INSERT INTO receipts VALUES ({key}, {number} % 6, 10.10, 'new'), ({key} + 1, 9, 1, NULL);
                 UPDATE receipts SET amount = amount + 0.01 WHERE id BETWEEN {first} AND {first} + 3;
                 UPDATE receipts SET id = {key} + 2 WHERE id = {first} + 1;
                 DELETE FROM receipts WHERE id = {first} + 2 OR (store_id = 9 AND {number} % 3 = 0);
                 BEGIN; DELETE FROM receipts; INSERT INTO receipts VALUES (-1, 1, 1); ROLLBACK"
            ),
        );
    }

    fn assert_everywhere(&self, when: &str) {
        let table = self.postgres.rows("till", "SELECT id, store_id, amount::text, note FROM receipts");
        let lake = self.project.query("SELECT id, store_id, CAST(amount AS varchar) AS amount, note FROM till.receipts");
        assert_eq!(plain(&lake), plain(&table), "the lake, {when}");
        let takings =
            self.postgres.rows("till", "SELECT store_id, count(*) AS receipts, sum(amount)::text AS amount FROM receipts GROUP BY 1");
        let mart = self.project.query("SELECT store_id, receipts, CAST(amount AS varchar) AS amount FROM takings");
        assert_eq!(plain(&mart), plain(&takings), "the mart, {when}");
        let warehouse = self.warehouse.query(DATABASE, "SELECT store_id, receipts, CAST(amount AS varchar) AS amount FROM marts.takings");
        assert_eq!(plain(&warehouse), plain(&takings), "the warehouse, {when}");
    }

    /// Log between the slot's place and the end.
    fn behind_bytes(&self) -> u64 {
        self.postgres
            .execute(
                "till",
                &format!(
                    "SELECT (pg_current_wal_lsn() - confirmed_flush_lsn)::bigint FROM pg_replication_slots WHERE slot_name = '{SLOT}'"
                ),
            )
            .parse()
            .unwrap()
    }
}

#[test]
fn changes_and_deletions_reach_lake_mart_and_warehouse_once() {
    let world = World::start();
    let planned = world.project.pipeline(&["plan", "nightly"]);
    assert!(planned.succeeded().stdout.contains("its replication slot is made first"), "{planned}");
    assert_eq!(world.postgres.execute("till", "SELECT count(*) FROM pg_replication_slots"), "0", "a plan makes nothing");
    assert_eq!(world.run()["status"], "done");
    world.assert_everywhere("at first");
    assert_eq!(world.run()["status"], "unchanged");
    for number in 1..=3 {
        world.change(number);
        let report = world.run();
        assert_eq!(report["status"], "done");
        let steps = report["steps"].as_array().unwrap();
        let load = steps.iter().find(|step| step["name"] == "load lake till.receipts").unwrap();
        assert!(load["rows_out"].as_u64().unwrap() < 20, "only what changed moves: {load}");
        world.assert_everywhere(&format!("after changes {number}"));
        assert_eq!(world.run()["status"], "unchanged");
    }
    world.postgres.execute("till", "TRUNCATE receipts; INSERT INTO receipts VALUES (1, 1, 1, 'only')");
    assert_eq!(world.run()["status"], "done");
    world.assert_everywhere("after a truncation");
    world.postgres.execute("till", "TRUNCATE receipts");
    assert_eq!(world.run()["status"], "done");
    assert_eq!(world.project.value("SELECT count(*) AS n FROM till.receipts"), "0");
    world.assert_everywhere("after a truncation with nothing behind it");
    world.postgres.execute("till", "INSERT INTO receipts VALUES (2, 1, 1, 'again')");
    world.run();
    world.assert_everywhere("after the first row of an emptied table");
    assert!(world.behind_bytes() < 1 << 20, "the server need not keep what is loaded");
    let healthy = world.project.pipeline(&["doctor", "nightly", "--output", "json"]);
    assert!(healthy.stdout.contains(SLOT) && healthy.stdout.contains("behind and keeps"), "{healthy}");
}

#[test]
fn a_transaction_of_a_million_changes_takes_no_more_memory_than_one_of_a_tenth() {
    // Keys of a million rows would be some 60 MB; what differs from one start to the next is a few.
    const MORE_BYTES_MAX: u64 = 24 << 20;
    let postgres = Postgres::start();
    postgres.create_database("till");
    postgres.execute(
        "till",
        "CREATE TABLE receipts (id bigint PRIMARY KEY, note text); INSERT INTO receipts VALUES (1, 'first'); CREATE PUBLICATION pipeline FOR TABLE receipts",
    );
    let mut project = Project::new();
    project.empty_models();
    project
        .environment("TILL_URL", postgres.url("till"))
        .environment("PIPELINE_PRIVACY_KEY", "a key of this test")
        .set("project.memory_limit", "256 MiB")
        .set("sources.till.kind", "postgres")
        .set("sources.till.url", "env:TILL_URL")
        .set("sources.till.capture", "log")
        .set("sources.till.changes_max", 2_000_000)
        .set("sources.till.tables.receipts.key", vec!["id"])
        .set("sources.till.tables.receipts.columns.id", "bigint not null")
        .set("sources.till.tables.receipts.columns.note", "text")
        .set("pipelines.nightly.tables", vec!["till.receipts"]);
    project.pipeline(&["run", "nightly"]).succeeded();
    // A plan reads the log and finds the keys, and nothing else.
    let mut peaks = Vec::new();
    for (from, to) in [(2, 100_001), (100_002, 1_000_001)] {
        postgres.execute("till", &format!("INSERT INTO receipts SELECT i, 'note ' || i FROM generate_series({from}, {to}) AS i"));
        let planned = project.pipeline(&["plan", "nightly"]);
        assert!(planned.succeeded().stdout.contains(&format!("{} rows changed since", to - 1)), "{planned}");
        peaks.push(planned.memory_bytes_peak);
    }
    assert!(peaks[0] > 0 && peaks[1] < peaks[0] + MORE_BYTES_MAX, "{peaks:?}");
    let spilled: PathBuf = [".pipeline", "work", "changes"].iter().collect();
    let left = project.folder().join(spilled).read_dir().expect("keys were kept on disk").count();
    assert_eq!(left, 0, "files without a name are left behind by nothing");
}

#[test]
fn a_kill_at_every_point_of_a_captured_run_loses_and_repeats_nothing() {
    let world = World::start();
    world.project.kill_at("extract.after_plan", 1, &["run", "nightly"]);
    world.change(1);
    assert_eq!(world.run()["status"], "done");
    for (number, point) in (2..).step_by(2).zip([
        "run.after_start",
        "extract.after_plan",
        "landing.after_part",
        "landing.before_manifest",
        "landing.after_manifest",
        "ledger.after_landed",
        "load.before_stage",
        "load.after_stage",
        "lake.before_commit",
        "lake.after_commit",
        "load.after_publish",
        "ledger.after_loaded",
        "ledger.after_checkpoint",
        "extract.after_committed",
        "model.after_compute",
        "redshift.before_publish",
        "redshift.after_publish",
        "run.before_finish",
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
    assert!(world.behind_bytes() < 1 << 20);
}

#[test]
fn a_lost_slot_is_refused_until_a_full_refresh() {
    let world = World::start();
    assert_eq!(world.run()["status"], "done");
    world.change(1);
    world.postgres.execute("till", &format!("SELECT pg_drop_replication_slot('{SLOT}')"));
    let outcome = world.project.pipeline(&["run", "nightly", "--output", "json"]);
    let error = outcome.exited(6).error();
    assert!(error["hint"].as_str().unwrap().contains("--full-refresh"), "{outcome}");
    world.project.pipeline(&["run", "nightly", "--full-refresh"]).succeeded();
    world.assert_everywhere("after a full refresh");
    world.change(2);
    assert_eq!(world.run()["status"], "done");
    world.assert_everywhere("after changes since then");
}

#[test]
fn doctor_says_what_the_server_lacks() {
    let world = World::start();
    world.postgres.execute("till", "DROP PUBLICATION pipeline");
    let outcome = world.project.pipeline(&["doctor", "nightly", "--output", "json"]);
    assert!(outcome.stdout.contains("CREATE PUBLICATION"), "{outcome}");
}
