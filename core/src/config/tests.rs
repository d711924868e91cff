use std::path::Path;

use super::*;

const FILE: &str = r#"
default_profile = "local"

[project]
name = "demo"
memory_limit = "512MiB"

[sources.shop]
naming = "camelCase"
[sources.shop.tables.orders]
key = ["order_id"]
cursor = "updated_at"
[sources.shop.tables.orders.columns]
order_id = "text not null from _id"
updated_at = "timestamp"
email = "text"

[pipelines.nightly]
tables = ["shop.*"]

[profiles.local.sources.shop]
kind = "files"
path = "dumps"

[profiles.live.sources.shop]
kind = "mongodb"
url = "env:SHOP_URL"
"#;

fn load(text: &str, profile: Option<&str>, overrides: &[Override]) -> Result<Config> {
    Config::load(Path::new("demo/pipelines.toml"), text, profile, overrides)
}

#[test]
fn a_profile_lies_over_the_file_and_overrides_over_both() {
    let config = load(FILE, None, &[]).unwrap();
    assert_eq!(config.sources["shop"].kind, "files");
    assert_eq!(config.project.settings.memory_limit_bytes, 512 << 20);
    let over = Override::parse("project.memory_limit=1GiB", Origin::Flag("--set".to_owned())).unwrap();
    let config = load(FILE, Some("live"), &[over]).unwrap();
    assert_eq!(config.sources["shop"].kind, "mongodb");
    assert_eq!(config.project.settings.memory_limit_bytes, 1 << 30);
    assert_eq!(config.layers.origin("project.memory_limit").unwrap().to_string(), "flag --set");
    assert_eq!(config.layers.origin("sources.shop.kind").unwrap().to_string(), "line 26, profile live");
}

#[test]
fn personal_columns_are_hashed_unless_they_say_otherwise() {
    let config = load(FILE, None, &[]).unwrap();
    let table = config.sources["shop"].tables.values().next().unwrap();
    let email = table.contract.columns.iter().find(|column| column.name.as_str() == "email").unwrap();
    assert_eq!(email.privacy, crate::contract::Privacy::Hash);
    assert_eq!(table.contract.columns[1].from, "updatedAt");
}

#[test]
fn mistakes_are_named_with_their_line() {
    let unknown = FILE.replace("memory_limit = \"512MiB\"", "memory_limt = \"512MiB\"");
    let error = load(&unknown, None, &[]).unwrap_err();
    assert_eq!(error.message(), "unknown key \"memory_limt\" in section [project]");
    assert_eq!(error.causes(), ["demo/pipelines.toml, line 6, key project.memory_limt"]);
    assert_eq!(error.remedy(), "Did you mean \"memory_limit\"?");

    let wrong_type = FILE.replace("\"512MiB\"", "[1]");
    assert!(load(&wrong_type, None, &[]).unwrap_err().message().contains("should be a text or a number, not an array"));

    let error = load(FILE, Some("prod"), &[]).unwrap_err();
    assert_eq!(error.remedy(), "Use one of: local, live.");

    let bad_column = FILE.replace("updated_at = \"timestamp\"", "updated_at = \"timestmp\"");
    let error = load(&bad_column, None, &[]).unwrap_err();
    assert!(error.causes().iter().any(|cause| cause.contains("line 15")), "{error:?}");

    let error = load("[project\n", None, &[]).unwrap_err();
    assert!(error.causes()[0].starts_with("line 1"), "{error:?}");
}

#[test]
fn a_written_secret_is_refused_without_repeating_it() {
    let error = Secret::parse("mongodb://user:hunter2@host").unwrap_err();
    assert!(!format!("{error:?} {}", error.remedy()).contains("hunter2"));
    assert_eq!(Secret::parse("aws-sm:shop#url").unwrap().to_string(), "aws-sm:shop#url");
}

#[test]
fn sizes_and_shares() {
    assert_eq!(parse_bytes("64MiB"), Some(64 << 20));
    assert_eq!(parse_bytes("64 parsecs"), None);
    assert_eq!(parse_share("0.1%"), Some(0.001));
    assert_eq!(parse_share("150%"), None);
}
