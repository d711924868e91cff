//! The example of this kind's configuration is read as it stands.

use std::path::Path;
use std::time::Duration;

use pipeline_core::config::{Config, SourceConfig};
use pipeline_core::error::Result;
use pipeline_extractors::postgres::{EXAMPLE, PostgresConfig, TableOptions};

fn source(example: &str) -> SourceConfig {
    let text = format!("[project]\nname = \"example\"\n{example}");
    let mut config = Config::load(Path::new("project/pipelines.toml"), &text, None, &[]).unwrap();
    config.sources.remove("platform").unwrap()
}

fn read(example: &str) -> Result<(PostgresConfig, TableOptions)> {
    let source = source(example);
    let table = source.tables.into_values().next().unwrap();
    Ok((PostgresConfig::read(source.options)?, TableOptions::read(table.options)?))
}

#[test]
fn the_example_of_postgres() {
    let (config, table) = read(EXAMPLE).unwrap();
    assert_eq!(config.url.to_string(), "env:PLATFORM_POSTGRES_URL");
    assert_eq!((config.statement_timeout, config.timeout), (Duration::from_secs(1_800), Duration::from_secs(15)));
    assert_eq!(config.slow_after, Duration::from_secs(300));
    assert_eq!((config.connections_max, config.application_name.as_str()), (8, "nightly"));
    assert_eq!(table.relation.as_deref(), Some("payments.transactions"));
    let capture = config.capture.unwrap();
    assert_eq!((capture.publication.as_str(), capture.slot_prefix.as_str(), capture.changes_max), ("nightly", "nightly", 5_000_000));
    assert!(table.by_cursor);
    let without = EXAMPLE.replace("capture = \"log\"\n", "");
    assert_eq!(read(&without).unwrap_err().message(), "\"publication\" means nothing without capture from the log");
    let mistaken = EXAMPLE.replace("capture = \"log\"", "capture = \"triggers\"");
    assert_eq!(read(&mistaken).unwrap_err().message(), "capture \"triggers\" is not known");
    let mistaken = EXAMPLE.replace("capture = \"cursor\"", "capture = \"log\"");
    assert_eq!(read(&mistaken).unwrap_err().message(), "changes are captured for a source, not for a table alone");
    let mistaken = EXAMPLE.replace("statement_timeout = ", "statment_timeout = ");
    assert_eq!(read(&mistaken).unwrap_err().remedy(), "Did you mean \"statement_timeout\"?");
    let mistaken = EXAMPLE.replace("connections_max = 8", "connections_max = 0");
    assert_eq!(read(&mistaken).unwrap_err().message(), "\"connections_max\" is 0, so nothing could be read");
    let open_secret = EXAMPLE.replace("env:PLATFORM_POSTGRES_URL", "postgres://user:some-secret@host/");
    assert!(!format!("{:?}", read(&open_secret).unwrap_err()).contains("some-secret"));
}
