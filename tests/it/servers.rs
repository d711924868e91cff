//! Servers that refuse, are missing or lack something: what `run` says of them, and what `doctor` says before.

use pipeline_tests::{Mongo, Outcome, Postgres, Project, RedshiftDouble, S3};
use serde_json::Value;

const BUCKET: &str = "lake";
const SECRET: &str = "wrong-and-secret";

/// A deployment in which everything works, with no data but empty tables.
struct Servers {
    project: Project,
    mongo: Mongo,
    postgres: Postgres,
    s3: S3,
    warehouse: RedshiftDouble,
}

impl Servers {
    fn start() -> Self {
        let (mongo, postgres, s3) = (Mongo::start_with_authentication(), Postgres::start(), S3::start());
        postgres.create_database("platform");
        s3.create_bucket(BUCKET);
        let warehouse = RedshiftDouble::start(&s3);
        let mut project = Project::new();
        project
            .profile("live")
            .environment("PIPELINE_PRIVACY_KEY", "a key of this test")
            .set("project.attempts", 1)
            // The seeded defects are the same few in every size.
            .set("sources.shop.tables.orders.max_rejected", "50%")
            .set("profiles.live.project.landing", format!("s3://{BUCKET}/landing"))
            .set("profiles.live.aws.endpoint", s3.endpoint())
            .set("profiles.live.destinations.warehouse.endpoint", warehouse.endpoint())
            .set("profiles.live.destinations.warehouse.database", "dev");
        let mut servers = Self { project, mongo, postgres, s3, warehouse };
        servers.mend();
        let size = ["--customers", "40", "--stores", "3", "--days", "4", "--orders", "60", "--seed", "5"];
        let generate: Vec<&str> = ["demo", "generate", "--to", "live"].into_iter().chain(size).collect();
        servers.project.pipeline(&generate).succeeded();
        servers
    }

    /// Sets all that a test may have set otherwise.
    fn mend(&mut self) {
        for (name, value) in self.s3.owner().environment() {
            self.project.environment(name, value);
        }
        self.project
            .environment("SHOP_MONGODB_URL", self.mongo.url())
            .environment("PLATFORM_POSTGRES_URL", self.postgres.url("platform"))
            .set("profiles.live.project.landing", format!("s3://{BUCKET}/landing"))
            .set("profiles.live.destinations.warehouse.endpoint", self.warehouse.endpoint())
            .set("sources.shop.tables.orders.collection", "orders")
            .set("sources.platform.tables.stores.relation", "admin.stores");
    }

    /// Breaks one thing, and gives what `run` and `doctor` say to it. Then it is mended.
    fn broken(&mut self, breaking: impl FnOnce(&mut Project, &Mongo, &Postgres, &S3)) -> (Outcome, Outcome) {
        breaking(&mut self.project, &self.mongo, &self.postgres, &self.s3);
        let landed = self.s3.list(BUCKET, "landing/nightly").len();
        let run = self.project.pipeline(&["run", "nightly", "--output", "json"]);
        let doctor = self.project.pipeline(&["doctor", "nightly", "--output", "json"]);
        self.mend();
        for outcome in [&run, &doctor] {
            assert!(outcome.keeps_secret(SECRET), "{outcome}");
        }
        assert_eq!(self.s3.list(BUCKET, "landing/nightly").len(), landed, "something was landed: {run}");
        assert!(self.warehouse.try_query("dev", "SELECT count(*) FROM marts.orders").is_err(), "something was loaded: {run}");
        (run, doctor)
    }
}

/// The run ended so, with an error that has a hint.
fn assert_refused(run: &Outcome, exit: i32, code: &str, words: &[&str]) {
    let error = run.exited(exit).error();
    assert_eq!(error["code"], code, "{run}");
    assert!(error["hint"].as_str().is_some_and(|hint| hint.len() > 10), "{run}");
    for word in words {
        assert!(error.to_string().contains(word), "\"{word}\" is missing: {run}");
    }
}

/// Exactly these probes failed, and say how they are mended.
fn assert_found(doctor: &Outcome, what: &[&str]) {
    assert_eq!(doctor.exited(2).error()["code"], "E-DOCTOR", "{doctor}");
    let report = doctor.json();
    assert_eq!(report["status"], "failed");
    let probes = report["probes"].as_array().unwrap();
    let failed: Vec<&Value> = probes.iter().filter(|probe| probe["ok"] == false).collect();
    assert!(
        !failed.is_empty() && failed.iter().all(|probe| what.iter().any(|what| probe["what"].as_str().unwrap().starts_with(what))),
        "{doctor}"
    );
    assert!(failed.iter().all(|probe| probe["fix"].as_str().is_some_and(|fix| fix.len() > 10)), "{doctor}");
    assert!(probes.len() > failed.len() + 2, "the rest was looked at too: {doctor}");
}

#[test]
fn each_server_that_refuses_is_named_by_the_run_and_found_by_the_doctor() {
    let mut servers = Servers::start();
    let doctor = servers.project.pipeline(&["doctor", "nightly", "--output", "json"]);
    assert_eq!(doctor.succeeded().json()["status"], "ok", "{doctor}");

    let (run, doctor) = servers.broken(|project, mongo, _, _| {
        project.environment("SHOP_MONGODB_URL", mongo.url_of("administrator", SECRET));
    });
    assert_refused(&run, 3, "E-MONGO-AUTH", &["shop"]);
    assert_found(&doctor, &["source shop"]);

    let (run, doctor) = servers.broken(|project, _, _, _| {
        project.environment("SHOP_MONGODB_URL", format!("mongodb://a:{SECRET}@127.0.0.1:9/?serverSelectionTimeoutMS=500"));
    });
    assert_refused(&run, 4, "E-MONGO-UNREACHABLE", &["shop"]);
    assert_found(&doctor, &["source shop"]);

    let (run, doctor) = servers.broken(|project, _, _, _| {
        project.set("sources.shop.tables.orders.collection", "order");
    });
    assert_refused(&run, 2, "E-MONGO-COLLECTION", &["shop.orders", "\\\"order\\\"", "orders"]);
    assert_found(&doctor, &["source shop"]);

    let (run, doctor) = servers.broken(|project, _, postgres, _| {
        project.environment("PLATFORM_POSTGRES_URL", postgres.url_of("nobody_here", SECRET, "platform"));
    });
    assert_refused(&run, 3, "E-PG-AUTH", &["platform"]);
    assert_found(&doctor, &["source platform"]);

    let (run, doctor) = servers.broken(|project, _, _, _| {
        let url = format!("postgres://a:{SECRET}@127.0.0.1:9/platform?sslmode=disable");
        project.environment("PLATFORM_POSTGRES_URL", url);
    });
    assert_refused(&run, 4, "E-PG-UNREACHABLE", &["platform"]);
    assert_found(&doctor, &["source platform"]);

    let (run, doctor) = servers.broken(|project, _, _, _| {
        project.set("sources.platform.tables.stores.relation", "admin.storez");
    });
    assert_refused(&run, 2, "E-PG-TABLE", &["platform.stores", "admin.stores"]);
    assert_found(&doctor, &["source platform"]);

    let (run, doctor) = servers.broken(|_, _, postgres, _| {
        postgres.execute("platform", "ALTER TABLE admin.stores RENAME COLUMN brand TO label");
    });
    servers.postgres.execute("platform", "ALTER TABLE admin.stores RENAME COLUMN label TO brand");
    assert_refused(&run, 2, "E-PG-COLUMN", &["platform.stores", "brand"]);
    assert_found(&doctor, &["source platform"]);

    let (run, doctor) = servers.broken(|project, _, _, s3| {
        for (name, value) in s3.reader().environment() {
            project.environment(name, value);
        }
    });
    assert_refused(&run, 3, "E-LANDING-DENIED", &["landing"]);
    assert_found(&doctor, &["landing", "destination warehouse: COPY's role"]);

    let (run, doctor) = servers.broken(|project, _, _, _| {
        project.set("profiles.live.project.landing", "s3://nowhere/landing");
    });
    assert_refused(&run, 2, "E-LANDING-MISSING", &["nowhere"]);
    assert_found(&doctor, &["landing", "destination warehouse: COPY's role"]);

    let run = servers.project.pipeline(&["run", "nightly", "--output", "json"]);
    assert_eq!(run.succeeded().json()["status"], "done", "all is mended");
}

#[test]
fn a_warehouse_that_is_away_is_found_by_the_doctor_and_caught_up_by_the_next_run() {
    let mut servers = Servers::start();
    servers.project.set("profiles.live.destinations.warehouse.endpoint", "http://127.0.0.1:9");
    let doctor = servers.project.pipeline(&["doctor", "nightly", "--output", "json"]);
    assert_found(&doctor, &["destination warehouse"]);
    let run = servers.project.pipeline(&["run", "nightly", "--output", "json"]);
    assert_eq!(run.exited(4).error()["kind"], "unavailable", "{run}");
    servers.mend();
    let run = servers.project.pipeline(&["run", "nightly", "--output", "json"]);
    assert_eq!(run.succeeded().json()["status"], "done");
    let rows = |sql: &str| servers.warehouse.query("dev", sql)[0]["n"].as_u64().unwrap();
    let lake: u64 = servers.project.value("SELECT count(*) FROM orders").parse().unwrap();
    assert!(lake > 0);
    assert_eq!(rows("SELECT count(*) AS n FROM marts.orders"), lake);
}
