//! COPY files: which columns they have, and reading them.
//!
//! A file in COPY's binary format names neither its columns nor their types. They come from the `schema.sql` that lies beside it (or in a folder
//! above, up to the source's). Without one, the file is taken to have exactly the columns that the contract declares, in that order,
//! of the types that go with the declared ones (`jsonb` for `json`, `timestamptz` for `timestamp`).

use std::path::Path;

use pipeline_core::contract::{ColumnType, Contract, EXTRA_COLUMN};
use pipeline_core::error::{Error, Result};
use pipeline_core::privacy::PrivacyKey;
use pipeline_core::quarantine::Quarantine;

use super::ddl::Ddl;
use super::error::{SCHEMA, of_io};
use super::input::Input;
use super::locate::{Dump, FOLDERS_DEEP_MAX};
use super::range::{Range, Wanted};
use super::{Inner, Shape, TableOptions, tuples};
use crate::postgres::PostgresType;
use crate::postgres::copy::{Decoder, SourceColumn};
use crate::produce::Outlet;

/// What the DDL beside COPY files is called.
const SCHEMA_FILE: &str = "schema.sql";

/// Finds out the columns of a COPY file, and checks that the contract can be read from them.
pub(super) fn shape(dump: &Dump, table: &TableOptions, contract: &Contract, key: Option<&PrivacyKey>) -> Result<Shape> {
    let columns = match schema_beside(&dump.path)? {
        Some((path, text)) => {
            let ddl = Ddl::parse(&text);
            let relation = table.relation.clone().unwrap_or_else(|| dump.relation());
            let declared = ddl
                .table(&relation)
                .or_else(|| ddl.table(&dump.relation()))
                .ok_or_else(|| Error::new(&SCHEMA, format!("file \"{}\" does not declare table \"{relation}\"", path.display())))?;
            let copied = declared.iter().filter(|column| !column.is_computed);
            copied
                .map(|column| {
                    let type_ = PostgresType::parse(&column.type_text, &|name| ddl.named(name));
                    SourceColumn::new(&*column.name, type_.unwrap_or_else(|| PostgresType::Other(column.type_text.clone())))
                })
                .collect()
        }
        None => declared_columns(contract)?,
    };
    Decoder::new(contract, &columns, key.cloned())?;
    let cursor = match &contract.cursor {
        None => None,
        Some(name) => {
            let column = contract.column(name).filter(|column| columns.iter().any(|source| source.name == column.from));
            let place = column.and_then(|column| columns.iter().position(|source| source.name == column.from));
            let (Some(column), Some(place)) = (column, place) else {
                return Err(Error::new(
                    &SCHEMA,
                    format!("cursor \"{name}\" of table \"{}\" is no column of its COPY file", contract.table),
                )
                .hint("Read the cursor from a column of its own, not from a part of one."));
            };
            Some((place, column.data_type.clone()))
        }
    };
    Ok(Shape::Copy { columns, cursor })
}

/// The nearest schema file: beside the dump, or in a folder above it.
fn schema_beside(dump: &Path) -> Result<Option<(std::path::PathBuf, String)>> {
    for folder in dump.ancestors().skip(1).take(FOLDERS_DEEP_MAX + 1) {
        let path = folder.join(SCHEMA_FILE);
        match std::fs::read_to_string(&path) {
            Ok(text) => return Ok(Some((path, text))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(of_io(&path, &error)),
        }
    }
    Ok(None)
}

/// The columns that a contract expects, where nothing else tells them.
fn declared_columns(contract: &Contract) -> Result<Vec<SourceColumn>> {
    let mut columns: Vec<SourceColumn> = Vec::new();
    for column in contract.columns.iter().filter(|column| column.name.as_str() != EXTRA_COLUMN) {
        let unclear = || {
            Error::new(
                &SCHEMA,
                format!("the type of column \"{}\" of table \"{}\" in its COPY file is not known", column.name, contract.table),
            )
            .hint("Put `pg_dump --schema-only` of the database beside the file as schema.sql.")
        };
        let (name, type_) = match column.from.split_once('.') {
            None => (column.from.as_str(), of_declared(&column.data_type).ok_or_else(unclear)?),
            Some((name, "x" | "y")) => (name, PostgresType::Point),
            Some(_) => return Err(unclear()),
        };
        if columns.iter().all(|known| known.name != name) {
            columns.push(SourceColumn::new(name, type_));
        }
    }
    Ok(columns)
}

fn of_declared(data_type: &ColumnType) -> Option<PostgresType> {
    Some(match data_type {
        ColumnType::Boolean => PostgresType::Bool,
        ColumnType::Int16 => PostgresType::Int2,
        ColumnType::Int32 => PostgresType::Int4,
        ColumnType::Int64 => PostgresType::Int8,
        ColumnType::Float32 => PostgresType::Float4,
        ColumnType::Float64 => PostgresType::Float8,
        ColumnType::Decimal { .. } => PostgresType::Numeric,
        ColumnType::Text { .. } => PostgresType::Text,
        ColumnType::Json => PostgresType::Jsonb,
        ColumnType::Uuid => PostgresType::Uuid,
        ColumnType::Bytes => PostgresType::Bytea,
        ColumnType::Date => PostgresType::Date,
        ColumnType::Time => PostgresType::Time,
        ColumnType::Timestamp => PostgresType::TimestampTz,
        ColumnType::LocalTimestamp => PostgresType::Timestamp,
        ColumnType::List(item) => PostgresType::Array(Box::new(of_declared(item)?)),
        ColumnType::Struct(_) => return None,
    })
}

/// Reads a COPY file to its end, or until nobody wants more.
pub(super) fn read(
    inner: &Inner,
    columns: &[SourceColumn],
    cursor: Option<&(usize, ColumnType)>,
    range: &Range,
    quarantine: &Quarantine,
    outlet: &Outlet,
) -> Result<()> {
    let origin = inner.dump.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut decoder = Decoder::new(&inner.contract, columns, inner.key.clone())?.rejecting_to(quarantine, &origin);
    if let (Some((place, data_type)), true) = (cursor, range.wanted != Wanted::All) {
        let (data_type, wanted) = (data_type.clone(), range.wanted);
        decoder =
            decoder.only_rows(*place, Box::new(move |field| wanted.admits(|| field.and_then(|bytes| tuples::value(bytes, &data_type)))));
    }
    if let Some(positions) = &range.positions {
        decoder = decoder.only_positions(positions.clone());
    }
    let mut input = Input::open(&inner.dump, 0, None)?;
    loop {
        let chunk = input.chunk()?;
        if chunk.is_empty() {
            break;
        }
        decoder.push(chunk)?;
        while let Some(batch) = decoder.take_batch() {
            if !outlet.put(batch) {
                return Ok(());
            }
        }
    }
    decoder.finish()?;
    while let Some(batch) = decoder.take_batch() {
        if !outlet.put(batch) {
            return Ok(());
        }
    }
    Ok(())
}
