//! Who may import whom. An edge is added by editing this file, in review, on purpose.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use pipeline_tests::metadata::Metadata;

static METADATA: LazyLock<Metadata> = LazyLock::new(Metadata::read);

/// What each of our crates imports of our crates: exactly this.
const IMPORTS: &[(&str, &[&str])] = &[
    ("pipeline", &["pipeline-core", "pipeline-demo", "pipeline-extractors", "pipeline-loaders", "pipeline-transforms"]),
    ("pipeline-benches", &["pipeline-core", "pipeline-extractors"]),
    ("pipeline-core", &[]),
    ("pipeline-demo", &[]),
    ("pipeline-extractors", &["pipeline-core"]),
    ("pipeline-loaders", &["pipeline-core"]),
    ("pipeline-transforms", &["pipeline-core"]),
    ("redshift-double", &[]),
];

/// May use anything: it is shipped to nobody.
const FREE: &str = "pipeline-tests";

/// Dependencies that belong to certain crates, and to no other. A name that ends in `*` is a family of crates.
const OWNERS: &[(&str, &[&str])] = &[
    ("clap", &["pipeline", "pipeline-benches", "redshift-double"]),
    ("tracing-subscriber", &["pipeline", "redshift-double"]),
    ("opentelemetry*", &["pipeline"]),
    ("indicatif", &["pipeline"]),
    ("mongodb", &["pipeline-demo", "pipeline-extractors"]),
    ("sqlx", &["pipeline", "pipeline-demo", "pipeline-extractors", "pipeline-loaders", "redshift-double"]),
    ("datafusion*", &["pipeline-loaders", "pipeline-transforms"]),
    ("deltalake*", &["pipeline-loaders"]),
    ("polars*", &["pipeline-transforms"]),
    ("ballista*", &["pipeline-transforms"]),
    ("aws-sdk-redshiftdata", &["pipeline-loaders"]),
    ("aws-sdk-s3", &["pipeline-extractors", "pipeline-loaders"]),
    ("aws-sdk-secretsmanager", &["pipeline"]),
    ("h3o", &["pipeline-demo", "pipeline-transforms"]),
    ("reqwest", &["pipeline", "pipeline-extractors"]),
    ("hyper*", &["pipeline", "redshift-double"]),
];

/// What `pipeline-core` must build without, near or far.
const FAR_FROM_CORE: &[&str] = &["aws-config", "aws-sdk*", "ballista*", "clap", "datafusion*", "deltalake*", "mongodb", "polars*", "sqlx*"];

/// Two versions of these do not understand each other's types or runtimes.
const ONE_VERSION: &[&str] = &["arrow", "object_store", "parquet", "rustls", "tokio"];

fn matches(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |family| name.starts_with(family))
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn our_crates_import_each_other_as_the_table_says() {
    let members = METADATA.members();
    let expected: BTreeMap<String, BTreeSet<String>> = IMPORTS.iter().map(|(name, imports)| ((*name).to_owned(), set(imports))).collect();
    // Tests of a crate count: a sibling that only tests import would still be built with it.
    let found: BTreeMap<String, BTreeSet<String>> = members
        .iter()
        .filter(|member| *member != FREE)
        .map(|member| {
            (
                member.clone(),
                METADATA.dependencies(member, true).intersection(&members).filter(|import| *import != member).cloned().collect(),
            )
        })
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn dependencies_stay_with_their_owners() {
    let mut strays = Vec::new();
    for member in METADATA.members().iter().filter(|member| *member != FREE) {
        for dependency in METADATA.dependencies(member, false) {
            for (pattern, owners) in OWNERS {
                if matches(pattern, &dependency) && !owners.contains(&member.as_str()) {
                    strays.push(format!("\"{member}\" uses \"{dependency}\", which belongs to {owners:?}"));
                }
            }
        }
    }
    assert!(strays.is_empty(), "{}", strays.join("\n"));
}

#[test]
fn the_core_builds_without_drivers_and_engines() {
    let closure = METADATA.closure("pipeline-core");
    assert!(closure.contains("arrow"), "the closure is read wrongly: the core is built from arrow");
    let far: Vec<&String> = closure.iter().filter(|name| FAR_FROM_CORE.iter().any(|pattern| matches(pattern, name))).collect();
    assert!(far.is_empty(), "the core is built from {far:?}");
}

#[test]
fn one_version_of_what_must_agree() {
    for name in ONE_VERSION {
        let versions = METADATA.versions(name);
        assert_eq!(versions.len(), 1, "\"{name}\" is there in versions {versions:?}");
    }
}
