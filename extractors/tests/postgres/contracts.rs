//! Contracts for tests, and whole files decoded.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use pipeline_core::contract::{Contract, parse_column};
use pipeline_core::error::Result;
use pipeline_core::name::{ColumnName, TableName};
use pipeline_core::privacy::PrivacyKey;
use pipeline_core::quarantine::{Quarantine, Rejected};
use pipeline_extractors::postgres::PostgresType;
use pipeline_extractors::postgres::copy::{Decoder, SourceColumn};

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
    columns.iter().map(|(name, type_)| SourceColumn { name: (*name).to_owned(), type_: type_.clone() }).collect()
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
    Ok((concat_batches(&contract.schema(), &batches).unwrap(), quarantine.drain()))
}
