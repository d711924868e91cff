//! The default pipelines' tables, opened on the demo data set.

use std::path::Path;

use pipeline_core::config::Config;
use pipeline_core::privacy::PrivacyKey;
use pipeline_core::quarantine::Quarantine;
use pipeline_extractors::files::{FilesOptions, TableOptions, open};

use super::conformance::{everything, read_plan};

#[tokio::test]
async fn every_table_of_the_default_pipelines_is_read_as_the_answers_say() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let file = repository.join("pipelines.toml");
    let config = Config::load(&file, &std::fs::read_to_string(&file).unwrap(), None, &[]).unwrap();
    let folder = FilesOptions { path: repository.join("tests/fixtures/demo") };
    let answers: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.path.join("answers.json")).unwrap()).unwrap();
    let mut tables = 0;
    for (name, table) in config.sources.into_values().flat_map(|source| source.tables) {
        let options = TableOptions::read(table.options).unwrap();
        let extractor = open(&folder, table.contract, &options, Some(PrivacyKey::new(b"key"))).unwrap();
        let plan = extractor.plan(&everything(), None).await.unwrap();
        let quarantine = Quarantine::new();
        let batch = read_plan(&*extractor, &plan, &quarantine).await.unwrap();
        let expected = &answers["tables"][name.to_string()];
        let rows = expected["rows"].as_u64().unwrap() + expected["duplicates"].as_u64().unwrap();
        assert_eq!((batch.num_rows() as u64, Some(quarantine.rows())), (rows, expected["rejected"].as_u64()), "{name}");
        tables += 1;
    }
    assert_eq!(Some(tables), answers["tables"].as_object().map(serde_json::Map::len), "every table of the demo is read");
}
