//! What a database holds.

use std::collections::HashMap;

use pipeline_core::contract::ColumnType;
use pipeline_core::error::Result;
use sqlx::PgConnection;

use super::catalog::Catalog;
use super::copy::can_be_read;
use super::statement::identifier;
use super::table::PostgresSource;
use super::types::PostgresType;
use crate::discover::{Found, FoundColumn, FoundCursor, cursor_rank};

/// What an error says could not be done.
const WHAT: &str = "the database could not be looked at";

/// Most digits that a decimal column has.
const DIGITS_MAX: i32 = 38;

/// Every relation that the user may read and that is no partition of another, in the order of their names.
pub(super) async fn discover(source: &PostgresSource) -> Result<Vec<Found>> {
    let connections = &source.connections;
    let mut lent = connections.lend().await?;
    let relations = connections
        .rows(
            &mut lent.connection,
            "SELECT n.nspname, c.relname, c.reltuples::bigint, pg_total_relation_size(c.oid), c.oid, c.relkind IN ('r', 'p') FROM pg_class c \
             JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition AND has_schema_privilege(n.oid, 'USAGE') \
             AND has_table_privilege(c.oid, 'SELECT') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') \
             AND n.nspname NOT LIKE 'pg\\_temp\\_%' ORDER BY 1, 2",
            WHAT,
        )
        .await?;
    let mut found = Vec::new();
    for row in relations {
        let [Some(schema), Some(table), rows, bytes, Some(oid), is_table] = row.as_slice() else { continue };
        let place = format!("{}.{}", plain_or_quoted(schema), plain_or_quoted(table));
        let relation = Catalog { connections, connection: &mut lent.connection, relation: &place }.find().await?;
        // Per column: whether it is NOT NULL, an index that begins with it, its declared length, whether a sequence fills it.
        let details = connections
            .rows(
                &mut lent.connection,
                &format!(
                    "SELECT a.attname, a.attnotnull, \
                     (SELECT min(i.indexrelid::regclass::text) FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam \
                      WHERE i.indrelid = a.attrelid AND i.indisvalid AND i.indpred IS NULL AND i.indkey[0] = a.attnum AND m.amname = 'btree'), \
                     CASE WHEN t.typbasetype <> 0 THEN t.typtypmod ELSE a.atttypmod END, \
                     a.attidentity <> '' OR coalesce(pg_get_expr(d.adbin, d.adrelid) LIKE 'nextval(%', false) \
                     FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
                     LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.attgenerated = '' \
                     WHERE a.attrelid = {oid} AND a.attnum > 0 AND NOT a.attisdropped"
                ),
                WHAT,
            )
            .await?;
        let details: HashMap<&str, &Vec<Option<String>>> = details.iter().filter_map(|row| Some((row.first()?.as_deref()?, row))).collect();
        let detail = |name: &str, place: usize| details.get(name).and_then(|row| row.get(place)).and_then(Option::as_deref);
        let unique = unique(source, &mut lent.connection, oid).await?;
        let key = key_of(&unique);
        let mut cursors = Vec::new();
        let mut columns = Vec::new();
        for column in relation.columns.iter().filter(|column| column.is_readable) {
            let (data_type, note) = declaration(&column.type_, detail(&column.name, 3).and_then(|text| text.parse().ok()).unwrap_or(-1));
            let is_number = matches!(data_type, ColumnType::Int16 | ColumnType::Int32 | ColumnType::Int64)
                && detail(&column.name, 4) == Some("t")
                && key == [column.name.as_str()];
            if is_number || matches!(data_type, ColumnType::Timestamp | ColumnType::LocalTimestamp) {
                cursors.push(FoundCursor { from: column.name.clone(), index: detail(&column.name, 2).map(str::to_owned), is_number });
            }
            let nullable = detail(&column.name, 1) != Some("t");
            columns.push(FoundColumn { from: column.name.clone(), data_type, nullable, is_seen_null: false, note });
        }
        // What tells of changes is better than what tells of additions alone.
        cursors.sort_by_key(|cursor| (cursor.is_number, cursor_rank(&cursor.from)));
        let number = |text: &Option<String>| text.as_deref().and_then(|text| text.parse().ok());
        found.push(Found {
            place,
            place_key: "relation",
            rows: relation.rows().or(number(rows)),
            bytes: number(bytes).filter(|bytes| *bytes > 0),
            columns,
            key,
            // Views and tables of elsewhere have no constraints that hold for their rows.
            unique: (is_table.as_deref() == Some("t")).then(|| unique.into_iter().map(|index| index.columns).collect()),
            cursors,
            is_open: false,
        });
    }
    lent.give_back();
    Ok(found)
}

/// Columns of which no two rows have the same values.
struct Unique {
    columns: Vec<String>,
    /// Whether none of them can be NULL: several rows can lack what is unique otherwise.
    is_complete: bool,
}

/// What a relation's indexes keep unique in all of its rows: the primary key first, then what has the fewest columns.
async fn unique(source: &PostgresSource, connection: &mut PgConnection, oid: &str) -> Result<Vec<Unique>> {
    let rows = source
        .connections
        .rows(
            connection,
            &format!(
                "SELECT json_agg(a.attname ORDER BY k.place), bool_and(a.attnotnull) \
                 FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid \
                 CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (number, place) \
                 JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number \
                 WHERE i.indrelid = {oid} AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL AND k.place <= i.indnkeyatts \
                 GROUP BY i.indexrelid, i.indisprimary, x.relname ORDER BY i.indisprimary DESC, count(*), x.relname"
            ),
            WHAT,
        )
        .await?;
    let unique = rows.iter().filter_map(|row| match row.as_slice() {
        [Some(columns), is_complete] => {
            Some(Unique { columns: serde_json::from_str(columns).ok()?, is_complete: is_complete.as_deref() == Some("t") })
        }
        _ => None,
    });
    Ok(unique.collect())
}

/// What tells rows apart: the primary key, or else the shortest of what is unique and never NULL.
fn key_of(unique: &[Unique]) -> Vec<String> {
    unique.iter().find(|index| index.is_complete).map(|index| index.columns.clone()).unwrap_or_default()
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
