//! One cut through both databases: what is newer than it waits, wherever it is, and comes with the next run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bson::{DateTime, doc};
use pipeline_tests::{Mongo, Postgres, Project};
use serde_json::Value;

/// Orders in one database, their payments in another, and what both say together.
struct World {
    project: Project,
    mongo: Mongo,
    postgres: Postgres,
}

impl World {
    fn start() -> Self {
        let (mongo, postgres) = (Mongo::start(), Postgres::start());
        postgres.create_database("till");
        postgres.execute(
            "till",
            "CREATE TABLE payments (order_id text PRIMARY KEY, amount numeric(12,2) NOT NULL, created_at timestamptz NOT NULL)",
        );
        mongo.insert("basket", "orders", &[doc! {"_id": "o-first", "total": 1, "updatedAt": DateTime::now()}]);
        let mut project = Project::new();
        let models = project.empty_models();
        std::fs::write(
            models.join("paid.sql"),
            "SELECT coalesce(o.order_id, p.order_id) AS order_id, o.order_id IS NOT NULL AS has_order, p.order_id IS NOT NULL AS has_payment \
             FROM basket.orders o FULL JOIN till.payments p ON o.order_id = p.order_id\n",
        )
        .unwrap();
        std::fs::write(
            models.join("paid.toml"),
            "description = \"Orders beside their payments\"\ngrain = \"one row per order\"\nkey = [\"order_id\"]\nmaterialization = \"full\"\n\
             [columns.order_id]\ntype = \"text\"\nnot_null = true\ndescription = \"The order\"\n\
             [columns.has_order]\ntype = \"boolean\"\ndescription = \"Whether the order is here\"\n\
             [columns.has_payment]\ntype = \"boolean\"\ndescription = \"Whether its payment is here\"\n",
        )
        .unwrap();
        project
            .environment("BASKET_URL", format!("{}&appName=test", mongo.url()))
            .environment("TILL_URL", postgres.url("till"))
            .environment("PIPELINE_PRIVACY_KEY", "a key of this test")
            .set("sources.basket.kind", "mongodb")
            .set("sources.basket.url", "env:BASKET_URL")
            .set("sources.basket.database", "basket")
            .set("sources.basket.tables.orders.key", vec!["order_id"])
            .set("sources.basket.tables.orders.cursor", "updated_at")
            .set("sources.basket.tables.orders.lookback", "1h")
            .set("sources.basket.tables.orders.columns.order_id", "text not null from _id")
            .set("sources.basket.tables.orders.columns.total", "bigint not null")
            .set("sources.basket.tables.orders.columns.updated_at", "timestamp not null from updatedAt")
            .set("sources.till.kind", "postgres")
            .set("sources.till.url", "env:TILL_URL")
            .set("sources.till.tables.payments.key", vec!["order_id"])
            .set("sources.till.tables.payments.cursor", "created_at")
            .set("sources.till.tables.payments.lookback", "1h")
            .set("sources.till.tables.payments.columns.order_id", "text not null")
            .set("sources.till.tables.payments.columns.amount", "decimal(12,2) not null")
            .set("sources.till.tables.payments.columns.created_at", "timestamp not null")
            .set("pipelines.nightly.tables", vec!["basket.orders", "till.payments"]);
        Self { project, mongo, postgres }
    }

    /// An order, and then its payment.
    fn sell(&self, id: &str) {
        self.mongo.insert("basket", "orders", &[doc! {"_id": id, "total": 1, "updatedAt": DateTime::now()}]);
        self.postgres.execute("till", &format!("INSERT INTO payments VALUES ('{id}', 1, clock_timestamp())"));
    }

    fn run(&self) -> Value {
        self.project.pipeline(&["run", "nightly", "--output", "json"]).succeeded().json()
    }

    fn halves(&self) -> Vec<String> {
        self.project.contents("SELECT order_id FROM paid WHERE NOT has_order")
    }

    fn count(&self) -> u64 {
        self.project.value("SELECT count(*) AS n FROM paid WHERE has_order AND has_payment").parse().unwrap()
    }
}

#[test]
fn a_run_that_is_continued_later_keeps_its_first_cut() {
    let world = World::start();
    world.sell("o-before");
    world.project.kill_at("run.after_cut", 1, &["run", "nightly"]);
    // Both are newer than the cut that the killed run wrote down.
    world.sell("o-after");
    let run = world.run();
    assert_eq!(run["resumed"], true, "{run}");
    assert_eq!(world.project.value("SELECT count(*) AS n FROM till.payments"), "1");
    assert_eq!(world.project.value("SELECT count(*) AS n FROM basket.orders"), "2");
    let status = world.project.pipeline(&["status", run["run_id"].as_str().unwrap()]);
    assert!(status.succeeded().stdout.contains("cluster time") && status.stdout.contains("transactions"), "{status}");
    assert_eq!(world.run()["status"], "done");
    assert_eq!((world.count(), world.halves()), (2, Vec::new()), "what waited has come");
    world.run();
    assert_eq!(world.run()["status"], "unchanged");
}

/// A document that changed between two attempts is newer than the first cut; the slice that it was in is read by the second.
#[test]
fn a_document_that_changed_before_its_slice_was_read_is_not_missing_from_the_run_that_goes_on() {
    let world = World::start();
    let earlier = DateTime::from_millis(1_700_000_000_000);
    let identifier = |n: u32| {
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&(1_700_000_000 + n).to_be_bytes());
        bson::oid::ObjectId::from_bytes(bytes)
    };
    let orders: Vec<_> = (0..4_000).map(|n| doc! {"_id": identifier(n), "total": 1, "updatedAt": earlier}).collect();
    world.mongo.insert("basket", "orders", &orders);
    world.sell("o-before");
    world.project.kill_at("ledger.after_slice", 1, &["run", "nightly"]);
    for n in [0, 3_999] {
        world.mongo.update("basket", "orders", doc! {"_id": identifier(n)}, doc! {"$set": {"total": 2, "updatedAt": DateTime::now()}});
    }
    let run = world.run();
    assert_eq!(run["resumed"], true, "{run}");
    assert_eq!(world.project.value("SELECT count(*) AS n FROM basket.orders"), "4002");
    assert_eq!(world.project.value("SELECT sum(total) AS n FROM basket.orders"), "4004");
    world.run();
    assert_eq!(world.project.value("SELECT sum(total) AS n FROM basket.orders"), "4004");
}

#[test]
fn no_mart_shows_half_of_an_order_while_orders_come_in() {
    let world = World::start();
    let ends = Arc::new(AtomicBool::new(false));
    std::thread::scope(|scope| {
        let (seller, ended) = (&world, Arc::clone(&ends));
        let sold = scope.spawn(move || {
            let mut sold = 0_u64;
            while !ended.load(Ordering::Relaxed) {
                seller.sell(&format!("o-{sold}"));
                sold += 1;
            }
            sold
        });
        let mut counts = vec![0];
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..4 {
                world.run();
                assert_eq!(world.halves(), [""; 0], "a payment without its order");
                counts.push(world.count());
            }
        }));
        ends.store(true, Ordering::Relaxed);
        let sold = sold.join().unwrap();
        result.unwrap();
        assert!(counts.is_sorted() && counts.last() > counts.get(1), "orders came in while runs were going: {counts:?}");
        world.run();
        assert_eq!((world.count(), world.halves()), (sold, Vec::new()));
    });
}
