//! Sources and their tables.

use std::collections::BTreeMap;

use super::kind::Options;
use super::project::Project;
use super::units::parse_bytes;
use crate::contract::{Contract, parse_column};
use crate::error::Result;
use crate::name::{ColumnName, TableName};

/// How far before the checkpoint an incremental reading begins, if the table says nothing: rows become visible later than
/// their time says when their transaction took long.
pub const DEFAULT_LOOKBACK: i64 = 3_600_000_000;

/// One table of a source.
#[derive(Debug, Clone, PartialEq)]
pub struct TableConfig {
    /// What it promises.
    pub contract: Contract,
    /// How far before the checkpoint to read again, in microseconds.
    pub lookback_us: i64,
    /// The share of rows that may be rejected.
    pub rejected_share_max: f64,
    /// The rest, for the source's kind to read: `relation`, `collection`, `index`, `file`.
    pub options: Options,
}

/// One source.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceConfig {
    /// Its name, which is its tables' schema in the lake.
    pub name: String,
    /// Its kind: `files`, `mongodb`, `opensearch`, `postgres`.
    pub kind: String,
    /// Bytes that may be read of it in a second; None reads as fast as it gives.
    pub rate_bytes_per_second_max: Option<u64>,
    /// The rest, for its kind to read: `url`, `path`.
    pub options: Options,
    /// Its tables.
    pub tables: BTreeMap<TableName, TableConfig>,
}

impl SourceConfig {
    pub(super) fn read(name: &str, mut section: Options, project: &Project) -> Result<Self> {
        let kind = section.required("kind")?;
        // How the source's own names are spelled, for columns that do not say where they come from.
        let naming = section.text("naming")?.unwrap_or_else(|| "same".to_owned());
        let spell: fn(&str) -> String = match naming.as_str() {
            "same" => |name| name.to_owned(),
            "camelCase" => camel_case,
            other => {
                return Err(section.error("naming", format!("naming \"{other}\" is not known")).hint("Use \"same\" or \"camelCase\"."));
            }
        };
        let rate_bytes_per_second_max =
            match section.text("max_source_rate")? {
                None => None,
                Some(text) => Some(parse_bytes(text.trim_end_matches("/s")).filter(|rate| *rate > 0).ok_or_else(|| {
                    section.error("max_source_rate", format!("\"{text}\" is not a rate")).hint("Write it as \"20MiB/s\".")
                })?),
            };
        let mut tables = BTreeMap::new();
        for (table, mut options) in section.sections("tables")? {
            let table = TableName::new(name, &table)?;
            let contract = contract(&table, &mut options, spell, project)?;
            let config = TableConfig {
                lookback_us: options.duration_us("lookback")?.unwrap_or(DEFAULT_LOOKBACK),
                rejected_share_max: options.share("max_rejected")?.unwrap_or(project.rejected_share_max),
                contract,
                options,
            };
            tables.insert(table, config);
        }
        Ok(Self { name: name.to_owned(), kind, rate_bytes_per_second_max, options: section, tables })
    }
}

fn contract(table: &TableName, options: &mut Options, spell: fn(&str) -> String, project: &Project) -> Result<Contract> {
    let mut declared = options.section("columns")?;
    let mut columns = Vec::new();
    for key in declared.keys() {
        let name = ColumnName::new(&key)?;
        let text = declared.required(&key)?;
        let place = |error: crate::error::Error| error.caused_by(declared.error(&key, "").causes().join(""));
        let mut column = parse_column(&name, &text, &spell).map_err(place)?;
        if !text.split_whitespace().any(|word| word == "pii") {
            column.privacy = project.privacy.default_class(&key);
        }
        columns.push(column);
    }
    let names = |texts: Option<Vec<String>>| texts.unwrap_or_default().iter().map(|text| ColumnName::new(text)).collect::<Result<Vec<_>>>();
    let contract = Contract {
        table: table.clone(),
        columns,
        key: names(options.texts("key")?)?,
        cursor: options.text("cursor")?.map(|text| ColumnName::new(&text)).transpose()?,
        description: options.text("description")?.unwrap_or_default(),
    };
    contract.check().map_err(|error| error.caused_by(options.error("columns", "").causes().join("")))?;
    Ok(contract)
}

fn camel_case(name: &str) -> String {
    let mut parts = name.split('_');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |mut text, part| {
        let mut characters = part.chars();
        text.extend(characters.next().map(|c| c.to_ascii_uppercase()));
        text.extend(characters);
        text
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_of_documents_are_camel_case() {
        assert_eq!(super::camel_case("delivery_fee"), "deliveryFee");
        assert_eq!(super::camel_case("sku"), "sku");
    }
}
