//! The examples of each kind's configuration are read as they stand.

use std::path::Path;

use pipeline_core::config::{Config, SourceConfig};
use pipeline_core::error::Result;
use pipeline_extractors::{files, mongodb};

fn source(example: &str) -> SourceConfig {
    let text = format!("[project]\nname = \"example\"\n{example}");
    let mut config = Config::load(Path::new("project/pipelines.toml"), &text, None, &[]).unwrap();
    config.sources.remove("shop").unwrap()
}

fn read_files(source: SourceConfig) -> Result<(files::FilesOptions, files::TableOptions)> {
    let table = source.tables.into_values().next().unwrap();
    Ok((files::FilesOptions::read(source.options)?, files::TableOptions::read(table.options)?))
}

fn read_mongodb(source: SourceConfig) -> Result<(mongodb::MongoConfig, mongodb::TableOptions)> {
    let table = source.tables.into_values().next().unwrap();
    Ok((mongodb::MongoConfig::read(source.options)?, mongodb::TableOptions::read(table.options)?))
}

#[test]
fn the_example_of_files() {
    let (options, table) = read_files(source(files::EXAMPLE)).unwrap();
    assert_eq!(options.path, Path::new("dumps"));
    assert_eq!(table.file.as_deref(), Some("mongodb/shop/orders.bson.gz"));
    let mistaken = files::EXAMPLE.replace("path = ", "pth = \"x\"\npath = ");
    assert_eq!(read_files(source(&mistaken)).unwrap_err().message(), "unknown key \"pth\" in section [sources.shop]");
    let mistaken = files::EXAMPLE.replace("file = ", "fil = ");
    assert_eq!(read_files(source(&mistaken)).unwrap_err().remedy(), "Did you mean \"file\"?");
}

#[test]
fn the_example_of_mongodb() {
    let (config, table) = read_mongodb(source(mongodb::EXAMPLE)).unwrap();
    assert_eq!(config.url.to_string(), "env:SHOP_MONGODB_URL");
    assert_eq!(config.read_preference, Some(mongodb::ReadPreference::SecondaryPreferred));
    assert_eq!((config.timeout.unwrap().as_secs(), config.statement_timeout.as_secs()), (15, 1_800));
    assert_eq!(table.collection.as_deref(), Some("orders"));
    let mistaken = mongodb::EXAMPLE.replace("\"secondaryPreferred\"", "\"second\"");
    let error = read_mongodb(source(&mistaken)).unwrap_err();
    assert_eq!(error.message(), "read preference \"second\" is not known");
    assert!(error.remedy().contains("secondaryPreferred"), "{}", error.remedy());
    let open_secret = mongodb::EXAMPLE.replace("env:SHOP_MONGODB_URL", "mongodb://user:some-secret@host/");
    assert!(!format!("{:?}", read_mongodb(source(&open_secret)).unwrap_err()).contains("some-secret"));
    let mistaken = mongodb::EXAMPLE.replace("timeout = ", "time_out = ");
    assert_eq!(read_mongodb(source(&mistaken)).unwrap_err().remedy(), "Did you mean \"timeout\"?");
}
