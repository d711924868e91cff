//! Sources are read gently and safely: at a rate, without long transactions, through connections that break, and only from servers that are who
//! they say.

use std::time::{Duration, Instant};

use bson::doc;
use pipeline_tests::{Certificates, FaultProxy, Mongo, MongoRelay, Outcome, Pooler, Postgres, Project};

/// A project with one table of a database and one of a deployment.
fn project(postgres: &str, mongo: &str) -> Project {
    let mut project = Project::new();
    project.empty_models();
    project
        .environment("TILL_URL", postgres)
        .environment("FLOOR_URL", mongo)
        .environment("PIPELINE_PRIVACY_KEY", "a key of this test")
        .set("sources.till.kind", "postgres")
        .set("sources.till.url", "env:TILL_URL")
        .set("sources.till.tables.receipts.key", vec!["id"])
        .set("sources.till.tables.receipts.columns.id", "bigint not null")
        .set("sources.till.tables.receipts.columns.note", "text")
        .set("sources.floor.kind", "mongodb")
        .set("sources.floor.url", "env:FLOOR_URL")
        .set("sources.floor.database", "floor")
        .set("sources.floor.tables.baskets.key", vec!["id"])
        .set("sources.floor.tables.baskets.columns.id", "bigint not null from _id")
        .set("sources.floor.tables.baskets.columns.note", "text")
        .set("pipelines.nightly.tables", vec!["till.*", "floor.*"]);
    project
}

/// Rows of about a hundred bytes.
fn fill(postgres: &Postgres, rows: u32) {
    postgres.create_database("till");
    postgres.execute(
        "till",
        &format!("CREATE TABLE receipts (id bigint PRIMARY KEY, note text); INSERT INTO receipts SELECT i, repeat('x', 80) FROM generate_series(1, {rows}) i; ANALYZE receipts"),
    );
}

fn fill_collection(mongo: &Mongo, documents: i64) {
    let documents: Vec<_> = (0..documents).map(|n| doc! {"_id": n, "note": "y".repeat(80)}).collect();
    mongo.insert("floor", "baskets", &documents);
}

fn count(project: &Project, table: &str) -> String {
    project.value(&format!("SELECT count(DISTINCT id) * 1000000 + count(*) AS n FROM {table}"))
}

#[test]
fn a_source_is_read_no_faster_than_its_rate() {
    let (postgres, mongo) = (Postgres::start(), Mongo::start());
    fill(&postgres, 30_000);
    fill_collection(&mongo, 100);
    let mut project = project(&postgres.url("till"), &mongo.url());
    // Three megabytes and more on the wire.
    project.set("sources.till.max_source_rate", "1MB/s").set("sources.till.pause_above", "1m").set("sources.floor.pause_above", "1m");
    let began = Instant::now();
    project.pipeline(&["run", "nightly"]).succeeded();
    assert!(began.elapsed() >= Duration::from_millis(2_500), "{:?}", began.elapsed());
    assert_eq!((count(&project, "till.receipts").as_str(), count(&project, "floor.baskets").as_str()), ("30000030000", "100000100"));
    project.set("sources.till.max_source_rate", "fast");
    assert!(project.pipeline(&["config", "check"]).exited(2).stderr.contains("20MiB/s"));
}

#[test]
fn a_deployment_is_read_no_faster_than_its_rate() {
    const DOCUMENTS: i64 = 20_000;
    let mongo = Mongo::start();
    fill_collection(&mongo, DOCUMENTS);
    let bytes = DOCUMENTS as f64 * doc! {"_id": 1_i64, "note": "y".repeat(80)}.to_vec().unwrap().len() as f64;
    let mut project = project("", &mongo.url());
    project.set("sources.floor.max_source_rate", "1MB/s");
    let report = project.pipeline(&["run", "nightly", "--only", "floor.*", "--output", "json"]).succeeded().json();
    assert_eq!(count(&project, "floor.baskets"), "20000020000");
    let step = report["steps"].as_array().unwrap().iter().find(|step| step["name"] == "extract floor.baskets").unwrap();
    let seconds = step["duration_ms"].as_f64().unwrap() / 1000.0;
    // What lies between documents on the wire counts too; what comes at once after a pause does not.
    assert!(seconds >= bytes / 1e6 * 0.9, "{bytes} bytes at a megabyte a second took {seconds} s");
    // However busy the machine is, a rate in a smaller unit would take much longer.
    assert!(seconds <= bytes / 1e6 * 10.0 + 20.0, "{bytes} bytes at a megabyte a second took {seconds} s");
}

#[test]
fn a_source_that_is_slow_to_answer_is_left_alone_until_it_is_fast_again() {
    let (postgres, mongo) = (Postgres::start(), Mongo::start());
    fill(&postgres, 1_000);
    fill_collection(&mongo, 1_000);
    let relay = MongoRelay::start(&mongo);
    let (till, floor) = (FaultProxy::start(postgres.port()), FaultProxy::start(relay.port()));
    let through = |url: String, from: u16, to: u16| url.replace(&format!(":{from}"), &format!(":{to}"));
    let mut project =
        project(&through(postgres.url("till"), postgres.port(), till.port()), &through(mongo.url(), mongo.port(), floor.port()));
    project.set("sources.till.pause_above", "100ms").set("sources.floor.pause_above", "100ms");
    let readings = || {
        let copies = postgres.execute("till", "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY%' AND pid <> pg_backend_pid()");
        // Only readings of rows ask for a cursor that waits for a slow reader.
        copies.parse::<usize>().unwrap() + relay.commands("find").iter().filter(|find| find.contains_key("noCursorTimeout")).count()
    };
    for (proxy, table) in [(&till, "till.receipts"), (&floor, "floor.baskets")] {
        // On the way there, and back.
        proxy.delay(Duration::from_millis(80));
        let mut run = project.start(&["-v", "run", "nightly", "--only", table]);
        run.until("it has waited twice", |run| run.stderr().matches("reading waits").count() >= 2);
        assert_eq!(readings(), 0, "{table}: {}", run.stderr());
        proxy.delay(Duration::ZERO);
        run.wait().succeeded();
        assert_eq!(count(&project, table), "1000001000");
    }
    assert!(!relay.commands("find").is_empty(), "the relay sees the readings");
}

#[test]
fn a_standby_that_cancels_readings_is_read_again_and_nothing_is_lost_or_doubled() {
    let primary = Postgres::start();
    primary.create_database("till");
    // Forty megabytes: several slices, each of which takes a while at the rate below.
    primary.execute(
        "till",
        "CREATE TABLE receipts (id bigint PRIMARY KEY, note text); INSERT INTO receipts SELECT i, repeat('x', 1000) FROM generate_series(1, 40000) i;
         CREATE TABLE leftovers (id int PRIMARY KEY); INSERT INTO leftovers SELECT generate_series(1, 2000); VACUUM ANALYZE",
    );
    let standby = primary.standby(&["max_standby_streaming_delay=100ms"]);
    let mut project = project(&standby.url("till"), "");
    project.set("sources.till.max_source_rate", "10MB/s");
    let conflicts = || standby.execute("till", "SELECT sum(confl_snapshot) FROM pg_stat_database_conflicts");
    let mut before = conflicts();
    // The snapshot of all tables is lost with the reading; a slice's own is taken anew.
    for (has_one_snapshot, ids) in [(true, "id <= 1000"), (false, "id > 1000")] {
        project.set("sources.till.consistent_snapshot", has_one_snapshot);
        let mut run = project.start(&["run", "nightly", "--only", "till.*", "--full-refresh", "--progress", "log"]);
        run.until("the table is read", |_| {
            standby.execute("till", "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY%' AND state = 'active'") != "0"
        });
        // The standby must forget what the snapshots there still show.
        primary.execute("till", &format!("DELETE FROM leftovers WHERE {ids}; VACUUM leftovers"));
        let outcome = run.wait();
        assert!(outcome.succeeded().stderr.contains("retry extract till.receipts"), "{outcome}");
        assert_ne!(conflicts(), before, "the standby cancelled nothing: {outcome}");
        assert!(outcome.stderr.contains("E-PG-LOST"), "{outcome}");
        before = conflicts();
        assert_eq!(count(&project, "till.receipts"), "40000040000");
        assert_eq!(project.value("SELECT sum(id) AS n FROM till.receipts"), "800020000");
    }
}

#[test]
fn slices_can_have_snapshots_of_their_own() {
    let (postgres, mongo) = (Postgres::start(), Mongo::start());
    fill(&postgres, 30_000);
    fill_collection(&mongo, 100);
    let mut project = project(&postgres.url("till"), &mongo.url());
    project
        .set("sources.till.consistent_snapshot", false)
        .set("sources.floor.consistent_snapshot", false)
        .set("sources.till.connections_max", 1)
        .set("sources.floor.connections_max", 2);
    let report = project.pipeline(&["run", "nightly", "--output", "json"]).succeeded().json();
    assert_eq!(count(&project, "till.receipts"), "30000030000");
    let status = project.pipeline(&["status", report["run_id"].as_str().unwrap()]);
    assert!(status.succeeded().stdout.contains("a snapshot for each slice"), "{status}");
    assert_eq!(postgres.execute("till", "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%'"), "0");
    project.set("sources.till.capture", "log");
    assert!(project.pipeline(&["config", "check"]).exited(2).stderr.contains("one snapshot for all tables"));
}

#[test]
fn connections_that_break_within_a_slice_lose_and_repeat_nothing() {
    let (postgres, mongo) = (Postgres::start(), Mongo::start());
    fill(&postgres, 30_000);
    fill_collection(&mongo, 20_000);
    let (till, floor) = (FaultProxy::start(postgres.port()), FaultProxy::start(mongo.port()));
    let through = |url: String, from: u16, to: u16| url.replace(&format!(":{from}"), &format!(":{to}"));
    let project = project(&through(postgres.url("till"), postgres.port(), till.port()), &through(mongo.url(), mongo.port(), floor.port()));
    // Once, in the middle of the rows.
    till.cut_after(1 << 20);
    floor.cut_after(1 << 20);
    let outcome = project.pipeline(&["run", "nightly"]);
    assert!(outcome.succeeded().stderr.contains("again") || till.connections() > 3, "{outcome}");
    assert_eq!((count(&project, "till.receipts").as_str(), count(&project, "floor.baskets").as_str()), ("30000030000", "20000020000"));
    assert!(till.connections() > 2 && floor.connections() > 2, "both were connected to again");
}

/// Certificates of an authority of our own, made where the server finds them; gives the authority's and the client's.
fn certify(postgres: &Postgres) {
    let run = |command: &str| {
        postgres.execute("postgres", &format!("COPY (SELECT 1) TO PROGRAM 'cat > /dev/null; {}'", command.replace('\'', "''")));
    };
    run("openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.crt 2> /dev/null");
    for (name, subject, names) in
        [("server", "localhost", "subjectAltName=DNS:localhost"), ("client", "carol", "extendedKeyUsage=clientAuth")]
    {
        run(&format!("openssl req -newkey rsa:2048 -nodes -subj /CN={subject} -keyout {name}.key -out {name}.csr 2> /dev/null"));
        run(&format!("echo {names} > {name}.ext"));
        run(&format!(
            "openssl x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile {name}.ext -out {name}.crt 2> /dev/null"
        ));
        run(&format!("chmod 600 {name}.key"));
    }
    run("sed -i '1i hostssl all carol 127.0.0.1/32 cert' pg_hba.conf");
    postgres.execute("postgres", "CREATE ROLE carol LOGIN");
    postgres.execute("postgres", "ALTER SYSTEM SET ssl = on");
    postgres.execute("postgres", "ALTER SYSTEM SET ssl_ca_file = 'ca.crt'");
    postgres.execute("postgres", "SELECT pg_reload_conf()");
}

#[test]
fn only_a_server_with_a_certificate_of_the_named_authority_is_read() {
    let (postgres, mongo) = (Postgres::start(), Mongo::start());
    fill(&postgres, 100);
    certify(&postgres);
    postgres.execute("till", "GRANT SELECT ON receipts TO carol");
    let mut project = project("", &mongo.url());
    for file in ["ca.crt", "client.crt", "client.key"] {
        std::fs::write(project.folder().join(file), postgres.execute("postgres", &format!("SELECT pg_read_file('{file}')")) + "\n")
            .unwrap();
    }
    let file = |name: &str, project: &Project| project.folder().join(name).to_str().unwrap().to_owned();
    let plain = postgres.url("till").replace("?sslmode=disable", "");
    let named = plain.replace("127.0.0.1", "localhost");
    let authority = file("ca.crt", &project);
    let run = |project: &mut Project, url: &str| -> Outcome {
        project.environment("TILL_URL", url);
        project.pipeline(&["run", "nightly", "--only", "till.*", "--full-refresh", "--output", "json"])
    };
    // The reload of the server's settings is seen by connections a moment later.
    let deadline = Instant::now() + Duration::from_secs(20);
    while !run(&mut project, &format!("{named}?sslmode=verify-full&sslrootcert={authority}")).stdout.contains("\"done\"") {
        assert!(Instant::now() < deadline, "the server never spoke TLS");
    }
    assert_eq!(count(&project, "till.receipts"), "100000100");
    for (url, why) in [
        (format!("{named}?sslmode=verify-full"), "an authority that nobody named"),
        (format!("{plain}?sslmode=verify-full&sslrootcert={authority}"), "another name than the certificate's"),
        (format!("{named}?sslmode=verify-full&sslrootcert={authority}.missing"), "a file that is not there"),
    ] {
        let refused = run(&mut project, &url);
        let error = refused.error();
        assert!(error["code"].as_str().unwrap().starts_with("E-PG-"), "{why}: {refused}");
        assert!(error["hint"].as_str().unwrap().contains("sslrootcert") && refused.keeps_secret("pw@"), "{why}: {refused}");
    }
    // By a certificate instead of a password.
    let (certificate, key) = (file("client.crt", &project), file("client.key", &project));
    let (_, host) = named.split_once('@').unwrap();
    let carol = format!("postgres://carol@{host}?sslmode=verify-full&sslrootcert={authority}");
    assert!(run(&mut project, &carol).code != Some(0), "carol has no password");
    let known = run(&mut project, &format!("{carol}&sslcert={certificate}&sslkey={key}"));
    known.succeeded();
}

#[test]
fn only_a_deployment_with_a_certificate_of_the_named_authority_is_read() {
    let mut project = project("", "");
    let certificates = Certificates::make(project.folder());
    let mongo = Mongo::start_with_certificates(&certificates);
    fill_collection(&mongo, 100);
    let known = mongo.url();
    let (address, options) = known.split_once("&tls=true").unwrap();
    let (authority, client) = options.strip_prefix('&').unwrap().split_once('&').unwrap();
    let run = |project: &mut Project, url: &str| -> Outcome {
        project.environment("FLOOR_URL", format!("{url}&serverSelectionTimeoutMS=2000"));
        project.pipeline(&["run", "nightly", "--only", "floor.*", "--full-refresh", "--output", "json"])
    };
    run(&mut project, &known).succeeded();
    assert_eq!(count(&project, "floor.baskets"), "100000100");
    for (url, why) in [
        (format!("{address}&tls=true&{client}"), "an authority that nobody named"),
        (known.replace("localhost", "127.0.0.1"), "another name than the certificate's"),
        (format!("{address}&tls=true&{authority}"), "no certificate of its own"),
        (address.to_owned(), "no TLS"),
    ] {
        let refused = run(&mut project, &url);
        let error = refused.error();
        let code = if url.contains("tls=true") { "E-MONGO-TLS" } else { "E-MONGO-UNREACHABLE" };
        assert_eq!(error["code"], code, "{why}: {refused}");
        assert!(error["hint"].as_str().unwrap().contains("tlsCAFile"), "{why}: {refused}");
    }
}

#[test]
fn a_deployment_that_knows_its_users_by_their_certificates_is_read_by_those_it_knows() {
    let mut project = project("", "");
    let certificates = Certificates::make(project.folder());
    let mongo = Mongo::start();
    fill_collection(&mongo, 100);
    let [authority, client] = ["ca.crt", "client.pem"].map(|name| certificates.file(name).replace('/', "%2F"));
    let url = |user: &str, relay: &MongoRelay, more: &str| {
        let port = relay.port();
        format!(
            "mongodb://{user}localhost:{port}/?directConnection=true&serverSelectionTimeoutMS=3000&tls=true&tlsCAFile={authority}{more}"
        )
    };
    let mine = format!("&tlsCertificateKeyFile={client}");
    let x509 = format!("{mine}&authMechanism=MONGODB-X509");
    let run = |project: &mut Project, url: &str| -> Outcome {
        project.environment("FLOOR_URL", url);
        project.pipeline(&["run", "nightly", "--only", "floor.*", "--full-refresh", "--output", "json"])
    };
    let relay = MongoRelay::start_for(&mongo, &certificates, &["CN=reader"]);
    for user in ["", "CN%3Dreader@"] {
        run(&mut project, &url(user, &relay, &x509)).succeeded();
        assert_eq!(count(&project, "floor.baskets"), "100000100");
    }
    let asked = relay.commands("authenticate");
    let is_right =
        |asked: &bson::Document| asked.get_str("mechanism").ok() == Some("MONGODB-X509") && asked.get_str("$db").ok() == Some("$external");
    assert!(!asked.is_empty() && asked.iter().all(is_right), "{asked:?}");
    assert!(asked.iter().any(|asked| asked.get_str("username").ok() == Some("CN=reader")), "{asked:?}");

    let stranger = MongoRelay::start_for(&mongo, &certificates, &["CN=somebody,O=else"]);
    for (url, code, word, why) in [
        (url("", &stranger, &x509), "E-MONGO-AUTH", "$external", "a subject that is no user"),
        (url("CN%3Dwriter@", &relay, &x509), "E-MONGO-AUTH", "$external", "another name than the certificate's subject"),
        (url("", &relay, &mine), "E-MONGO-DENIED", "", "nobody in particular, although with a certificate"),
        (url("", &relay, "&authMechanism=MONGODB-X509"), "E-MONGO-TLS", "tlsCertificateKeyFile", "no certificate"),
    ] {
        let refused = run(&mut project, &url);
        let error = refused.exited(3).error();
        assert_eq!(error["code"], code, "{why}: {refused}");
        assert!(error["hint"].as_str().unwrap().contains(word), "{why}: {refused}");
    }
}

#[test]
fn every_reading_of_a_deployment_carries_the_read_preference() {
    let mongo = Mongo::start();
    fill_collection(&mongo, 5_000);
    let relay = MongoRelay::start(&mongo);
    let mut project = project("", &mongo.url().replace(&format!(":{}", mongo.port()), &format!(":{}", relay.port())));
    project.set("sources.floor.read_preference", "secondary");
    for is_consistent in [true, false] {
        project.set("sources.floor.consistent_snapshot", is_consistent);
        project.pipeline(&["run", "nightly", "--only", "floor.*", "--full-refresh"]).succeeded();
        assert_eq!(count(&project, "floor.baskets"), "5000005000");
    }
    let mut readings = Vec::new();
    for name in ["find", "aggregate", "count", "collStats"] {
        readings.extend(relay.commands(name));
    }
    assert!(readings.iter().filter(|reading| reading.contains_key("find")).count() >= 2, "{readings:?}");
    for reading in readings {
        let preference = reading.get_document("$readPreference").and_then(|preference| preference.get_str("mode"));
        assert_eq!(preference.ok(), Some("secondary"), "{reading:?}");
    }
}

#[test]
fn a_pooler_that_tears_sessions_apart_is_refused_and_one_that_does_not_is_read_through() {
    const IGNORING: &str = "ignore_startup_parameters = extra_float_digits";
    let (postgres, mongo) = (Postgres::start(), Mongo::start());
    fill(&postgres, 1_000);
    let mut project = project("", &mongo.url());
    for (mode, more, words) in
        [("transaction", IGNORING, "reach several sessions"), ("transaction", "", "could not be"), ("session", IGNORING, "")]
    {
        let pooler = Pooler::start(&postgres, mode, more);
        project.environment("TILL_URL", postgres.url("till").replace(&format!(":{}", postgres.port()), &format!(":{}", pooler.port())));
        let outcome = project.pipeline(&["run", "nightly", "--only", "till.*", "--output", "json"]);
        if words.is_empty() {
            outcome.succeeded();
            assert_eq!(count(&project, "till.receipts"), "1000001000");
        } else {
            let error = outcome.exited(2).error();
            assert!(error["code"] == "E-PG-POOLER" && error["hint"].as_str().unwrap().contains("pool_mode = session"), "{outcome}");
            assert!(error.to_string().contains(words), "{outcome}");
        }
    }
}
