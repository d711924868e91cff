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

const RULE: &str = r#"
[segments.win_back]
where = "recency_days > 60"
percent = 12.5
valid_days = 14
priority = 10
"#;

#[test]
fn rules_of_segments_are_read_and_put_in_order() {
    let more = "[segments.b]\nwhere = \"true\"\namount = 5\ncurrency = \"PLN\"\nvalid_days = 1\npriority = 20\nmax_expected_cost = { PLN = 0 }\n\
                [segments.a]\nwhere = \"true\"\npercent = 100\nvalid_days = 1\npriority = 10\nmax_expected_cost = \"99.9\"\nhold_out = \"100%\"\n";
    let rules = load(&format!("{RULE}{more}"), None, &[]).unwrap().segments;
    assert_eq!(rules.iter().map(|rule| rule.name.as_str()).collect::<Vec<_>>(), ["b", "a", "win_back"]);
    let [b, a, win_back] = rules.as_slice() else { panic!("{rules:?}") };
    assert_eq!(b.discount, Discount::Amount { amount: Hundredths::parse("5.00").unwrap(), currency: "PLN".to_owned() });
    assert_eq!(b.max_expected_cost, CostCap::Of(vec![("PLN".to_owned(), Hundredths::parse("0").unwrap())]));
    assert_eq!(a.max_expected_cost, CostCap::Each(Hundredths::parse("99.90").unwrap()));
    assert_eq!((a.hold_out, win_back.hold_out, win_back.again_after_days), (1.0, 0.0, 90));
    assert_eq!(win_back.discount, Discount::Percent(Hundredths::parse("12.5").unwrap()));
    assert_eq!(
        (win_back.reason.as_str(), win_back.place.as_str()),
        ("win back", "demo/pipelines.toml, line 3, key segments.win_back.where")
    );
    let over = Override::parse("segments.win_back.percent=20", Origin::Flag("--set".to_owned())).unwrap();
    let over = load(RULE, None, &[over]).unwrap();
    assert_eq!(over.segments[0].discount, Discount::Percent(Hundredths::parse("20").unwrap()));
}

#[test]
fn rules_of_segments_that_contradict_themselves_are_refused() {
    for (instead, of, words) in [
        ("percent = 10\namount = 5\ncurrency = \"PLN\"", "percent = 12.5", "both percent and amount"),
        ("", "percent = 12.5", "\"percent\" is missing"),
        ("amount = 5", "percent = 12.5", "\"currency\" is missing"),
        ("amount = 5\ncurrency = \"zloty\"", "percent = 12.5", "not a currency"),
        ("percent = 5\ncurrency = \"PLN\"", "percent = 12.5", "has no currency"),
        ("percent = -5", "percent = 12.5", "not a number above 0"),
        ("percent = 0", "percent = 12.5", "not a number above 0"),
        ("percent = 12.345", "percent = 12.5", "at most two decimals"),
        ("percent = 101", "percent = 12.5", "more than 100 percent"),
        ("valid_days = 0", "valid_days = 14", "1 to 3650 days"),
        ("valid_days = -1", "valid_days = 14", "should be a whole number"),
        ("", "valid_days = 14", "\"valid_days\" is missing"),
        ("", "priority = 10", "\"priority\" is missing"),
        ("priority = -1", "priority = 10", "should be a whole number"),
        ("priority = 10\nhold_out = \"101%\"", "priority = 10", "not a share"),
        ("priority = 10\nhold_out = \"-1%\"", "priority = 10", "not a share"),
        ("priority = 10\nmax_customers = -1", "priority = 10", "should be a whole number"),
        ("priority = 10\nmax_expected_cost = -1", "priority = 10", "not an amount"),
        ("priority = 10\nmax_expected_cost = { PLN = -1 }", "priority = 10", "not an amount"),
        ("priority = 10\nmax_expected_cost = { zloty = 1 }", "priority = 10", "not a currency"),
        ("priority = 10\nagain_after_days = -1", "priority = 10", "should be a whole number"),
        ("priority = 10\nmax_custmers = 1", "priority = 10", "unknown key \"max_custmers\""),
        ("", "where = \"recency_days > 60\"", "\"where\" is missing"),
        ("[segments.Win]", "[segments.win_back]", "cannot be called \"Win\""),
        ("[segments.birthdays]", "[segments.win_back]", "a segment \"birthdays\" already"),
    ] {
        assert!(RULE.contains(of), "{of}");
        let error = load(&RULE.replace(of, instead), None, &[]).unwrap_err();
        assert!(error.message().contains(words), "{instead}: {error:?}");
        assert!(error.causes().join(" ").contains("demo/pipelines.toml, line"), "{instead}: {error:?}");
    }
    let capped = RULE.replace("percent = 12.5", "amount = 5\ncurrency = \"PLN\"\nmax_expected_cost = { EUR = 1 }");
    assert!(load(&capped, None, &[]).unwrap_err().message().contains("cap in another currency"));
    let source = FILE.replace("sources.shop", "sources.segments");
    assert!(load(&source, None, &[]).unwrap_err().message().contains("a source cannot be called"));
}

#[test]
fn a_cluster_is_used_where_the_engine_says_so() {
    let config = load(FILE, None, &[]).unwrap();
    assert!(!config.cluster.is_used);
    assert_eq!(config.cluster.scheduler, None);
    let engine = FILE.replace("memory_limit =", "engine = \"ballista\"\nmemory_limit =");
    let error = load(&engine, None, &[]).unwrap_err();
    assert_eq!(error.code(), &CONFIG);
    assert!(error.remedy().contains("[cluster]"), "{error}");
    let cluster = load(&format!("{engine}\n[cluster]\nscheduler = \"host:50050\"\n"), None, &[]).unwrap().cluster;
    assert_eq!((cluster.is_used, cluster.partitions), (true, 16));
    assert_eq!(cluster.scheduler.unwrap().to_string(), "host:50050");
    assert!(load(&FILE.replace("memory_limit =", "engine = \"spark\"\nmemory_limit ="), None, &[]).is_err());
}

#[test]
fn addresses_are_host_and_port() {
    for good in ["localhost:1", "10.0.0.1:50050", "[::1]:50050", "scheduler.internal:65535"] {
        assert_eq!(Address::parse(good).unwrap().to_string(), good);
    }
    for bad in ["", "host", "host:", ":1", "host:0", "host:65536", "http://host:1", "::1:5", "a/b:1"] {
        assert_eq!(Address::parse(bad), None, "{bad}");
    }
}
