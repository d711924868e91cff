//! `kind = "opensearch"`.

use async_trait::async_trait;
use pipeline_core::config::Options;
use pipeline_core::contract::Contract;
use pipeline_core::error::Result;
use pipeline_core::extract::Extractor;
use pipeline_core::privacy::PrivacyKey;

use super::{Connection, EXAMPLE, SearchConfig, SearchOptions, TableOptions};
use crate::kind::{Connect, Kind, Source, Spec};

/// An OpenSearch cluster.
pub static KIND: Kind = Kind {
    name: "opensearch",
    summary: "an OpenSearch cluster, read by points in time",
    example: EXAMPLE,
    read: |options| Ok(Box::new(SearchConfig::read(options)?)),
    check_table: |options| TableOptions::read(options).map(drop),
};

#[async_trait]
impl Spec for SearchConfig {
    async fn connect(&self, context: &Connect) -> Result<Box<dyn Source>> {
        let url = context.secrets.fetch(&self.url).await?;
        let login = match (&self.user, &self.password) {
            (Some(user), Some(password)) => Some((user.clone(), context.secrets.fetch(password).await?)),
            _ => None,
        };
        let options = SearchOptions {
            url,
            login,
            ca_file: self.ca_file.as_ref().map(|file| context.folder.join(file)),
            timeout: self.timeout,
            keep_alive: self.keep_alive,
            page_rows: self.page_rows,
            pace: context.pace.clone(),
        };
        let connection = Connection::open(&options).await?;
        Ok(Box::new(Cluster { connection, key: context.key.clone() }))
    }
}

#[derive(Debug)]
struct Cluster {
    connection: Connection,
    key: Option<PrivacyKey>,
}

#[async_trait]
impl Source for Cluster {
    fn table(&self, contract: Contract, options: Options) -> Result<Box<dyn Extractor>> {
        self.connection.table(contract, &TableOptions::read(options)?, self.key.clone())
    }
}
