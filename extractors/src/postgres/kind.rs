//! `kind = "postgres"`.

use async_trait::async_trait;
use pipeline_core::config::Options;
use pipeline_core::contract::Contract;
use pipeline_core::error::Result;
use pipeline_core::extract::Extractor;
use pipeline_core::privacy::PrivacyKey;

use super::{EXAMPLE, PostgresConfig, PostgresOptions, PostgresSource, TableOptions};
use crate::discover::Found;
use crate::kind::{Connect, Kind, Source, Spec};

/// A PostgreSQL database.
pub static KIND: Kind = Kind {
    name: "postgres",
    summary: "a PostgreSQL database, read by COPY (FORMAT binary) in one snapshot",
    example: EXAMPLE,
    read: |options| Ok(Box::new(PostgresConfig::read(options)?)),
    check_table: |options| TableOptions::read(options).map(drop),
};

#[async_trait]
impl Spec for PostgresConfig {
    async fn connect(&self, context: &Connect) -> Result<Box<dyn Source>> {
        let url = context.secrets.fetch(&self.url).await?;
        let (pace, work) = (context.pace.clone(), context.work.join("changes"));
        let source = PostgresSource::connect(&PostgresOptions { pace, work, ..self.clone().with_url(url) }).await?;
        Ok(Box::new(Database { source, key: context.key.clone() }))
    }
}

#[derive(Debug)]
struct Database {
    source: PostgresSource,
    key: Option<PrivacyKey>,
}

#[async_trait]
impl Source for Database {
    fn table(&self, contract: Contract, options: Options) -> Result<Box<dyn Extractor>> {
        Ok(self.source.table(contract, &TableOptions::read(options)?, self.key.clone()))
    }

    async fn discover(&self) -> Result<Vec<Found>> {
        super::discover::discover(&self.source).await
    }
}
