//! The models of `sql/`, against the contracts of `pipelines.toml`, against their own tests, `NAME.slt`, and against random histories of edits.
//!
//! `BLESS=1 cargo test -p pipeline-transforms --test models` writes what the queries gave into the files, for review.
#![allow(clippy::unwrap_used, clippy::string_slice, reason = "a test stops where something is not as it should be")]

mod cells;
mod engine;
mod equations;
mod histories;
mod lineage;
mod runner;
mod script;
mod segments;

use std::path::{Path, PathBuf};

use pipeline_core::config::Config;
use pipeline_core::contract::Contract;
use pipeline_transforms::model::ModelSet;
use pipeline_transforms::model::rules::Rules;

/// The repository's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn config() -> Config {
    let file = root().join("pipelines.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    Config::load(&file, &text, None, &[]).unwrap_or_else(|error| panic!("{error:?}"))
}

/// The contracts of all extracted tables.
fn sources(config: &Config) -> Vec<Contract> {
    config.sources.values().flat_map(|source| source.tables.values()).map(|table| table.contract.clone()).collect()
}

fn models(config: &Config) -> ModelSet {
    ModelSet::load(&root().join("sql"), &config.parameters, None).unwrap_or_else(|error| panic!("{error:?}"))
}

/// The models with the rules of segments that the configuration has.
fn models_with_rules(config: &Config) -> ModelSet {
    let rules = Rules::new(&config.segments).unwrap_or_else(|error| panic!("{error:?}"));
    models(config).with_rules(rules, &config.parameters, None).unwrap_or_else(|error| panic!("{error:?}"))
}

#[tokio::test]
async fn every_model_gives_what_its_contract_declares() {
    let config = config();
    let session = engine::engine(&config.parameters).session("2025-11-04T06:00:00Z".parse().unwrap(), None);
    let models = models_with_rules(&config);
    let made = models.models().iter().map(|model| model.table().clone()).collect();
    let checked = pipeline_transforms::compute::check_models(&session, &models, &sources(&config), &made).await;
    checked.unwrap_or_else(|error| panic!("{error:?}"));
}

#[tokio::test]
async fn every_model_passes_its_script() {
    let config = config();
    let (models, sources) = (models(&config), sources(&config));
    #[expect(clippy::disallowed_methods, reason = "asked for by whoever runs the test, not by the program")]
    let bless = std::env::var("BLESS").is_ok();
    let mut failures = Vec::new();
    for model in models.models() {
        let file = model.file.with_extension("slt");
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let script = script::parse(&text).unwrap_or_else(|problem| panic!("{}: {problem}", file.display()));
        assert!(script.tests(model.table()), "{} does not compute its model", file.display());
        let mut runner = runner::Runner::new(&models, &sources, &config.parameters);
        let (blessed, found) = runner.run(&script, &text).await;
        if bless {
            std::fs::write(&file, blessed).unwrap();
        } else {
            failures.extend(found.into_iter().map(|failure| format!("{}:{failure}", file.display())));
        }
    }
    assert!(failures.is_empty(), "\n{}\n", failures.join("\n"));
}

/// `sql/FUNCTIONS.md` is what the code says of its functions.
#[test]
fn the_page_of_functions_is_true() {
    let mut page = String::from(
        "# Functions\n\nWhat statements have beyond SQL's own (DataFusion's dialect). Made from the code by\n\
         `BLESS=1 cargo test -p pipeline-transforms --test models`; do not edit.\n",
    );
    for function in pipeline_transforms::functions::descriptions() {
        page.push_str(&format!("\n## {}\n\n    {}\n\n{}\n", function.name, function.signature, function.meaning));
    }
    let file = root().join("sql/FUNCTIONS.md");
    #[expect(clippy::disallowed_methods, reason = "asked for by whoever runs the test, not by the program")]
    if std::env::var("BLESS").is_ok() {
        std::fs::write(&file, &page).unwrap();
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(written == page, "sql/FUNCTIONS.md is out of date: BLESS=1 cargo test -p pipeline-transforms --test models");
}
