//! Contracts for tests, and whole files decoded.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use pipeline_core::contract::{Contract, parse_column};
use pipeline_core::error::Result;
use pipeline_core::extract::Extractor;
use pipeline_core::name::{ColumnName, TableName};
use pipeline_core::privacy::PrivacyKey;
use pipeline_core::quarantine::{Quarantine, Rejected};
use pipeline_extractors::postgres::copy::{Decoder, SourceColumn};
use pipeline_extractors::postgres::{PostgresOptions, PostgresSource, PostgresType, TableOptions};

use super::server::{PASSWORD, Server};

/// A contract `platform.TABLE` of these columns.
pub(crate) fn declared(table: &str, columns: &[(&str, &str)], key: &[&str], cursor: Option<&str>) -> Contract {
    let name = |text: &str| ColumnName::new(text).unwrap();
    let contract = Contract {
        table: TableName::new("platform", table).unwrap(),
        columns: columns.iter().map(|(column, text)| parse_column(&name(column), text, &|name| name.to_owned()).unwrap()).collect(),
        key: key.iter().map(|text| name(text)).collect(),
        cursor: cursor.map(name),
        description: String::new(),
    };
    contract.check().unwrap();
    contract
}

/// The columns of a file, by name and type.
pub(crate) fn source(columns: &[(&str, PostgresType)]) -> Vec<SourceColumn> {
    columns.iter().map(|(name, type_)| SourceColumn::new(*name, type_.clone())).collect()
}

pub(crate) fn key() -> PrivacyKey {
    PrivacyKey::new(b"a key for tests")
}

/// Decodes a whole file that comes in `chunks`.
pub(crate) fn decode<'a>(
    contract: &Contract,
    columns: &[SourceColumn],
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> Result<(RecordBatch, Vec<Rejected>)> {
    let quarantine = Quarantine::new();
    let mut decoder = Decoder::new(contract, columns, Some(key()))?.rejecting_to(&quarantine, "");
    let mut batches = Vec::new();
    for chunk in chunks {
        decoder.push(chunk)?;
        batches.extend(std::iter::from_fn(|| decoder.take_batch()));
    }
    decoder.finish()?;
    batches.extend(decoder.take_batch());
    Ok((concat_batches(&contract.schema(), &batches).unwrap(), quarantine.drain().to_vec()))
}

/// A source of this server, whose connections are called `name`.
pub(crate) async fn connected(server: &Server, name: &str) -> PostgresSource {
    PostgresSource::connect(&options(server, name)).await.unwrap()
}

/// A source that a role without rights beside `SELECT` reads.
pub(crate) async fn connected_as(server: &Server, role: &str) -> PostgresSource {
    PostgresSource::connect(&PostgresOptions::new(server.url_of(role, PASSWORD))).await.unwrap()
}

pub(crate) fn options(server: &Server, name: &str) -> PostgresOptions {
    PostgresOptions { application_name: name.to_owned(), ..PostgresOptions::new(server.url()) }
}

/// A table of a source.
pub(crate) fn opened(source: &PostgresSource, relation: &str, contract: Contract) -> Box<dyn Extractor> {
    source.table(contract, &TableOptions { relation: Some(relation.to_owned()), ..TableOptions::default() }, Some(key()))
}
