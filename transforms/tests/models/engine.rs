//! An engine for tests: little memory, two partitions, a known key.

use std::collections::BTreeMap;

use pipeline_core::privacy::PrivacyKey;
use pipeline_transforms::session::{Engine, Options};

pub(crate) fn engine(parameters: &BTreeMap<String, String>) -> Engine {
    let options = Options {
        memory_limit_bytes: 64 << 20,
        spill_directory: std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("models"),
        target_partitions: 2,
        parameters: parameters.clone(),
        key: Some(PrivacyKey::new(b"a key for tests")),
    };
    Engine::new(options).unwrap()
}
