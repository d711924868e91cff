//! What a database holds.

use std::collections::HashMap;

use pipeline_core::contract::ColumnType;
use pipeline_core::error::Result;

use super::catalog::Catalog;
use super::copy::can_be_read;
use super::statement::identifier;
use super::table::PostgresSource;
use super::types::PostgresType;
use crate::discover::{Found, FoundColumn, FoundCursor, cursor_rank};

/// Most digits that a decimal column has.
const DIGITS_MAX: i32 = 38;

/// Every relation that the user may read and that is no partition of another, in the order of their names.
pub(super) async fn discover(source: &PostgresSource) -> Result<Vec<Found>> {
    const WHAT: &str = "the database could not be looked at";
    let connections = &source.connections;
    let mut lent = connections.lend().await?;
    let relations = connections
        .rows(
            &mut lent.connection,
            "SELECT n.nspname, c.relname, c.reltuples::bigint, pg_total_relation_size(c.oid), c.oid FROM pg_class c \
             JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition AND has_schema_privilege(n.oid, 'USAGE') \
             AND has_table_privilege(c.oid, 'SELECT') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') \
             AND n.nspname NOT LIKE 'pg\\_temp\\_%' ORDER BY 1, 2",
            WHAT,
        )
        .await?;
    let mut found = Vec::new();
    for row in relations {
        let [Some(schema), Some(table), rows, bytes, Some(oid)] = row.as_slice() else { continue };
        let place = format!("{}.{}", plain_or_quoted(schema), plain_or_quoted(table));
        let relation = Catalog { connections, connection: &mut lent.connection, relation: &place }.find().await?;
        // Per column: whether it is NOT NULL, its place in the key, an index that begins with it, its declared length.
        let details = connections
            .rows(
                &mut lent.connection,
                &format!(
                    "SELECT a.attname, a.attnotnull, array_position(k.indkey::int2[], a.attnum), \
                     (SELECT min(i.indexrelid::regclass::text) FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam \
                      WHERE i.indrelid = a.attrelid AND i.indisvalid AND i.indpred IS NULL AND i.indkey[0] = a.attnum AND m.amname = 'btree'), \
                     CASE WHEN t.typbasetype <> 0 THEN t.typtypmod ELSE a.atttypmod END \
                     FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
                     LEFT JOIN pg_index k ON k.indrelid = a.attrelid AND k.indisprimary \
                     WHERE a.attrelid = {oid} AND a.attnum > 0 AND NOT a.attisdropped"
                ),
                WHAT,
            )
            .await?;
        let details: HashMap<&str, &Vec<Option<String>>> = details.iter().filter_map(|row| Some((row.first()?.as_deref()?, row))).collect();
        let detail = |name: &str, place: usize| details.get(name).and_then(|row| row.get(place)).and_then(Option::as_deref);
        let mut key: Vec<(i32, String)> = Vec::new();
        let mut cursors = Vec::new();
        let mut columns = Vec::new();
        for column in relation.columns.iter().filter(|column| column.is_readable) {
            let (data_type, note) = declaration(&column.type_, detail(&column.name, 4).and_then(|text| text.parse().ok()).unwrap_or(-1));
            if let Some(place) = detail(&column.name, 2).and_then(|text| text.parse().ok()) {
                key.push((place, column.name.clone()));
            }
            if matches!(data_type, ColumnType::Timestamp | ColumnType::LocalTimestamp) {
                cursors.push(FoundCursor { from: column.name.clone(), index: detail(&column.name, 3).map(str::to_owned) });
            }
            columns.push(FoundColumn {
                from: column.name.clone(),
                data_type,
                nullable: detail(&column.name, 1) != Some("t") && detail(&column.name, 2).is_none(),
                note,
            });
        }
        key.sort_unstable();
        cursors.sort_by_key(|cursor| cursor_rank(&cursor.from));
        let number = |text: &Option<String>| text.as_deref().and_then(|text| text.parse().ok());
        found.push(Found {
            place,
            place_key: "relation",
            rows: relation.rows().or(number(rows)),
            bytes: number(bytes).filter(|bytes| *bytes > 0),
            columns,
            key: key.into_iter().map(|(_, name)| name).collect(),
            cursors,
            is_open: false,
        });
    }
    lent.give_back();
    Ok(found)
}

/// A name as it is written in SQL, without quotes where it needs none.
fn plain_or_quoted(name: &str) -> String {
    let plain = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '_';
    if name.chars().all(plain) && name.starts_with(|character: char| character.is_ascii_lowercase() || character == '_') {
        name.to_owned()
    } else {
        identifier(name)
    }
}

/// How a column of a type could be declared, and what to know about it. `modifier` is the column's `atttypmod`, which holds the digits of a
/// `numeric`; -1 if it has none.
#[must_use]
pub fn declaration(type_: &PostgresType, modifier: i32) -> (ColumnType, Option<String>) {
    let text = || ColumnType::Text { bytes_max: None };
    let plain = match type_ {
        PostgresType::Bool => ColumnType::Boolean,
        PostgresType::Int2 => ColumnType::Int16,
        PostgresType::Int4 => ColumnType::Int32,
        PostgresType::Int8 | PostgresType::Oid => ColumnType::Int64,
        PostgresType::Float4 => ColumnType::Float32,
        PostgresType::Float8 => ColumnType::Float64,
        PostgresType::Numeric => {
            return match digits_of(modifier) {
                Some((precision, scale)) if precision <= DIGITS_MAX && (0..=precision).contains(&scale) => {
                    let digits = |number: i32| u8::try_from(number).unwrap_or(0);
                    let scale = i8::try_from(scale).unwrap_or(0);
                    (ColumnType::Decimal { precision: digits(precision), scale }, None)
                }
                _ => (text(), Some("numeric without a fixed number of digits: declare decimal(p,s) if you know them".to_owned())),
            };
        }
        PostgresType::Money => ColumnType::Decimal { precision: 19, scale: 2 },
        PostgresType::Json | PostgresType::Jsonb | PostgresType::Composite(_) => ColumnType::Json,
        PostgresType::Uuid => ColumnType::Uuid,
        PostgresType::Date => ColumnType::Date,
        PostgresType::Timestamp => ColumnType::LocalTimestamp,
        PostgresType::TimestampTz => ColumnType::Timestamp,
        PostgresType::Bytea => ColumnType::Bytes,
        PostgresType::Array(element) => {
            let (element, _) = declaration(element, modifier);
            ColumnType::List(Box::new(element))
        }
        _ => text(),
    };
    if can_be_read(type_, &plain) { (plain, None) } else { (text(), Some(format!("{type_} is read as text"))) }
}

/// Precision and scale of a `numeric` column (`numeric_typmod_precision` and `numeric_typmod_scale` in PostgreSQL's numeric.c).
fn digits_of(modifier: i32) -> Option<(i32, i32)> {
    const HEADER: i32 = 4;
    let packed = modifier.checked_sub(HEADER).filter(|packed| *packed >= 0)?;
    Some((packed >> 16 & 0xFFFF, ((packed & 0x7FF) ^ 1024) - 1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_a_declaration_that_reads_it() {
        for (text, modifier, expected) in [
            ("numeric", (12 << 16 | 2) + 4, "decimal(12,2)"),
            ("numeric", -1, "text"),
            ("numeric", (500 << 16 | 2) + 4, "text"),
            ("integer[]", -1, "list<int>"),
            ("timestamp without time zone", -1, "local_timestamp"),
            ("timestamp with time zone", -1, "timestamp"),
            ("interval", -1, "text"),
            ("money", -1, "decimal(19,2)"),
            ("tstzrange", -1, "text"),
            ("jsonb", -1, "json"),
            ("character varying", 24, "text"),
            ("bytea", -1, "bytes"),
        ] {
            let type_ = PostgresType::parse(text, &|_| None).unwrap();
            let (declared, _) = declaration(&type_, modifier);
            assert_eq!(declared.to_string(), expected, "{text}");
            assert!(can_be_read(&type_, &declared), "{text}");
        }
    }

    #[test]
    fn names_are_quoted_only_where_they_must_be() {
        assert_eq!((plain_or_quoted("orders_2"), plain_or_quoted("Orders")), ("orders_2".to_owned(), "\"Orders\"".to_owned()));
    }
}
