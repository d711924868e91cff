//! `kind = "files"`.

use async_trait::async_trait;
use pipeline_core::config::Options;
use pipeline_core::contract::Contract;
use pipeline_core::error::Result;
use pipeline_core::extract::Extractor;
use pipeline_core::privacy::PrivacyKey;

use super::{EXAMPLE, FilesOptions, TableOptions, open};
use crate::kind::{Connect, Kind, Source, Spec};

/// Dump files in a folder.
pub static KIND: Kind = Kind {
    name: "files",
    summary: "dumps in a folder: mongodump BSON and PostgreSQL COPY (FORMAT binary), plain or gzip",
    example: EXAMPLE,
    read: |options| Ok(Box::new(FilesOptions::read(options)?)),
    check_table: |options| TableOptions::read(options).map(drop),
};

#[async_trait]
impl Spec for FilesOptions {
    async fn connect(&self, context: &Connect) -> Result<Box<dyn Source>> {
        let options = Self { path: context.folder.join(&self.path) };
        Ok(Box::new(Files { options, key: context.key.clone() }))
    }
}

#[derive(Debug)]
struct Files {
    options: FilesOptions,
    key: Option<PrivacyKey>,
}

#[async_trait]
impl Source for Files {
    fn table(&self, contract: Contract, options: Options) -> Result<Box<dyn Extractor>> {
        open(&self.options, contract, &TableOptions::read(options)?, self.key.clone())
    }
}
