//! `kind = "mongodb"`.

use async_trait::async_trait;
use pipeline_core::config::Options;
use pipeline_core::contract::Contract;
use pipeline_core::error::Result;
use pipeline_core::extract::Extractor;
use pipeline_core::privacy::PrivacyKey;

use super::{Connection, EXAMPLE, MongoConfig, MongoOptions, TableOptions};
use crate::discover::Found;
use crate::kind::{Connect, Kind, Source, Spec};

/// A MongoDB deployment.
pub static KIND: Kind = Kind {
    name: "mongodb",
    summary: "a MongoDB deployment, read by raw batches",
    example: EXAMPLE,
    read: |options| Ok(Box::new(MongoConfig::read(options)?)),
    check_table: |options| TableOptions::read(options).map(drop),
};

#[async_trait]
impl Spec for MongoConfig {
    async fn connect(&self, context: &Connect) -> Result<Box<dyn Source>> {
        let url = context.secrets.fetch(&self.url).await?;
        let connection = Connection::open(&MongoOptions { pace: context.pace.clone(), ..self.clone().with_url(url) }).await?;
        Ok(Box::new(Deployment { connection, key: context.key.clone() }))
    }
}

#[derive(Debug)]
struct Deployment {
    connection: Connection,
    key: Option<PrivacyKey>,
}

#[async_trait]
impl Source for Deployment {
    fn table(&self, contract: Contract, options: Options) -> Result<Box<dyn Extractor>> {
        self.connection.table(contract, &TableOptions::read(options)?, self.key.clone())
    }

    async fn discover(&self) -> Result<Vec<Found>> {
        super::discover::discover(&self.connection).await
    }
}
