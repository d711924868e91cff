//! What goes wrong, by its code, and that no message holds a secret.

use std::time::{Duration, Instant};

use pipeline_core::error::Error;
use pipeline_core::extract::Extractor;
use pipeline_core::quarantine::Quarantine;
use pipeline_extractors::postgres::{PostgresOptions, PostgresSource};

use super::conformance::{everything, read_slice};
use super::contracts::{connected, declared, opened, options};
use super::server::{PASSWORD, Server, execute};

fn code(error: &Error) -> &'static str {
    let shown = format!("{error} {error:?} {:?} {}", error.causes(), error.remedy());
    for secret in [PASSWORD, "wrong-password", "127.0.0.1"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    error.code().name
}

async fn refused(url: String) -> Error {
    let options = PostgresOptions { timeout: Duration::from_secs(3), ..PostgresOptions::new(url) };
    PostgresSource::connect(&options).await.unwrap_err()
}

async fn plan_fails(source: &PostgresSource, relation: &str, columns: &[(&str, &str)], cursor: Option<&str>) -> Error {
    opened(source, relation, declared("t", columns, &[], cursor)).plan(&everything(), None).await.unwrap_err()
}

#[tokio::test]
async fn connections_that_cannot_be_made_say_why() {
    let server = Server::start();
    assert_eq!(code(&refused(server.url_of("owner", "wrong-password")).await), "E-PG-AUTH");
    assert_eq!(code(&refused(server.url_of("nobody", PASSWORD)).await), "E-PG-AUTH");
    assert_eq!(code(&refused(server.url().replace("/postgres?", "/nowhere?")).await), "E-PG-DATABASE");
    assert_eq!(code(&refused(server.url().replace("sslmode=disable", "sslmode=require")).await), "E-PG-TLS");
    assert_eq!(code(&refused(format!("not a url with {PASSWORD}")).await), "E-PG-URL");
    let nobody_there = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = refused(server.url().replace(&server.port().to_string(), &nobody_there.to_string())).await;
    assert_eq!((code(&error), error.kind().is_worth_retrying()), ("E-PG-UNREACHABLE", true));
    // Somebody there who never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let error = refused(server.url().replace(&server.port().to_string(), &silent.local_addr().unwrap().port().to_string())).await;
    assert_eq!(code(&error), "E-PG-UNREACHABLE");
    assert!(connected(&server, "pipeline").await.server_version().await.unwrap().starts_with(|first: char| first.is_ascii_digit()));
}

#[tokio::test]
async fn what_is_missing_is_named_with_what_was_meant() {
    let server = Server::start();
    let mut connection = server.connection().await;
    execute(
        &mut connection,
        "CREATE SCHEMA payments; CREATE TABLE payments.transactions (id bigint, amount text, updated_at timestamptz, tags text[])",
    )
    .await;
    let source = connected(&server, "pipeline").await;
    for (relation, hint) in [
        ("payments.transaction", "Did you mean \"payments.transactions\"?"),
        ("transactions", "Did you mean \"payments.transactions\"?"),
        ("public.transactons", "Did you mean \"payments.transactions\"?"),
        ("nothing.like_it", "Correct `relation`"),
        ("not a (name", "Correct `relation`"),
        ("'; DROP TABLE payments.transactions; --", "Correct `relation`"),
    ] {
        let error = plan_fails(&source, relation, &[("id", "bigint")], None).await;
        assert_eq!(code(&error), "E-PG-TABLE", "{relation}");
        assert!(error.message().contains(relation) && error.remedy().starts_with(hint), "{error}: {}", error.remedy());
    }
    let error = plan_fails(&source, "payments.transactions", &[("amout", "text")], None).await;
    assert_eq!((code(&error), error.message()), ("E-PG-COLUMN", "column \"amout\" does not exist in table \"payments.transactions\""));
    assert_eq!(error.remedy(), "Did you mean \"amount\"? Write `amout = \"text from amount\"`.");
    let error = plan_fails(&source, "payments.transactions", &[("amount", "decimal(12,2)")], None).await;
    assert_eq!(code(&error), "E-PG-TYPE");
    let error = plan_fails(&source, "payments.transactions", &[("updated_at", "timestamp from amount")], Some("updated_at")).await;
    assert_eq!(code(&error), "E-PG-TYPE");
}

#[tokio::test]
async fn missing_grants_come_with_the_statement_that_grants_them() {
    let server = Server::start();
    let mut connection = server.connection().await;
    execute(
        &mut connection,
        "CREATE ROLE reader LOGIN PASSWORD 'reads'; CREATE SCHEMA closed; CREATE SCHEMA half; GRANT USAGE ON SCHEMA half TO reader;
         CREATE TABLE closed.t (id bigint); CREATE TABLE half.t (id bigint, secret text); CREATE TABLE half.c (id bigint, secret text); GRANT SELECT (id) ON half.c TO reader",
    )
    .await;
    let mut options = options(&server, "pipeline");
    options.url = server.url_of("reader", "reads");
    let source = PostgresSource::connect(&options).await.unwrap();
    for (relation, column, grant) in [
        ("closed.t", "id", "GRANT USAGE ON SCHEMA closed TO \"reader\";"),
        ("half.t", "id", "GRANT SELECT ON \"half\".\"t\" TO \"reader\";"),
        ("half.c", "secret", "GRANT SELECT ON \"half\".\"c\" TO \"reader\";"),
    ] {
        let error = plan_fails(&source, relation, &[(column, "text")], None).await;
        assert_eq!(code(&error), "E-PG-GRANT", "{relation}");
        assert!(error.remedy().contains(grant), "{}", error.remedy());
        if relation != "half.c" {
            execute(&mut connection, &format!("{grant} GRANT SELECT ON ALL TABLES IN SCHEMA closed TO reader")).await;
            let table = opened(&source, relation, declared("t", &[("id", "bigint")], &[], None));
            table.finish().await.unwrap();
            table.plan(&everything(), None).await.unwrap();
        }
    }
    opened(&source, "half.c", declared("t", &[("id", "bigint")], &[], None)).plan(&everything(), None).await.unwrap();
}

#[tokio::test]
async fn statements_that_take_too_long_or_fail_are_told_apart() {
    let server = Server::start();
    let mut connection = server.connection().await;
    execute(
        &mut connection,
        "CREATE VIEW slow AS SELECT i::bigint AS id, pg_sleep(0.2)::text AS nothing FROM generate_series(1, 1000) AS i;
         CREATE VIEW broken AS SELECT (1000 / (500 - i))::bigint AS id FROM generate_series(1, 1000) AS i;
         CREATE VIEW telling AS SELECT ('secret-value-' || i)::int::bigint AS id FROM generate_series(1, 10) AS i",
    )
    .await;
    let source =
        PostgresSource::connect(&PostgresOptions { statement_timeout: Duration::from_millis(500), ..options(&server, "pipeline") })
            .await
            .unwrap();
    for (relation, expected) in [("slow", "E-PG-TIMEOUT"), ("broken", "E-PG-STATEMENT"), ("telling", "E-PG-STATEMENT")] {
        let columns: &[(&str, &str)] = if relation == "slow" { &[("id", "bigint"), ("nothing", "text")] } else { &[("id", "bigint")] };
        let table: Box<dyn Extractor> = opened(&source, relation, declared("t", columns, &[], None));
        let plan = table.plan(&everything(), None).await.unwrap();
        let begin = Instant::now();
        let error = read_slice(&*table, &plan.slices[0], &Quarantine::new()).await.unwrap_err();
        assert_eq!(code(&error), expected, "{relation}");
        assert!(begin.elapsed() < Duration::from_secs(20));
        assert!(!format!("{error:?}").contains("secret-value"), "{error:?}");
        assert!(error.message().contains(relation));
    }
    // A server that has gone is worth waiting for.
    let table = opened(&source, "broken", declared("t", &[("id", "bigint")], &[], None));
    let plan = table.plan(&everything(), None).await.unwrap();
    assert!(server.control("stop"));
    let error = read_slice(&*table, &plan.slices[0], &Quarantine::new()).await.unwrap_err();
    assert!(matches!(code(&error), "E-PG-LOST" | "E-PG-UNREACHABLE") && error.kind().is_worth_retrying());
    assert!(server.control("start"));
    table.plan(&everything(), None).await.unwrap();
}
