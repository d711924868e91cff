//! SQL text: quoted names and literals, conditions, and what is selected.

use chrono::{Datelike, SecondsFormat};
use pipeline_core::contract::{ColumnType, Contract, EXTRA_COLUMN, Privacy};
use pipeline_core::extract::Cursor;
use pipeline_core::window::Timestamp;

use super::catalog::Column;
use super::copy::{Labels, SourceColumn, split_path};
use super::types::PostgresType;

/// A name in SQL.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text in SQL. Sessions have `standard_conforming_strings` on.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// An instant in words that PostgreSQL reads, without a zone.
fn instant(time: Timestamp) -> String {
    let time = time.to_chrono();
    if time.year() > 9999 {
        return "infinity".to_owned();
    }
    if time.year() < 1 {
        return "-infinity".to_owned();
    }
    time.format("%Y-%m-%d %H:%M:%S%.6f").to_string()
}

/// A position of a cursor, as a literal of the cursor's type. For dates, instants within a day become that day.
pub(super) fn position(cursor: &Cursor, type_: &PostgresType) -> String {
    match (cursor, type_) {
        (Cursor::Number(number), _) => number.to_string(),
        (Cursor::Time(time), PostgresType::TimestampTz) => format!("timestamptz {}", literal(&zoned(*time))),
        (Cursor::Time(time), PostgresType::Date) => {
            let text = instant(*time);
            format!("date {}", literal(text.split(' ').next().unwrap_or(&text)))
        }
        (Cursor::Time(time), _) => format!("timestamp {}", literal(&instant(*time))),
        (Cursor::Whole | Cursor::Log(_), _) => "NULL".to_owned(),
    }
}

fn zoned(time: Timestamp) -> String {
    let text = instant(time);
    if text.ends_with("infinity") { text } else { format!("{text}+00") }
}

/// A position for people.
pub(super) fn shown(cursor: &Cursor) -> String {
    match cursor {
        Cursor::Number(number) => number.to_string(),
        Cursor::Time(time) => time.to_chrono().to_rfc3339_opts(SecondsFormat::AutoSi, true),
        Cursor::Whole => "the beginning".to_owned(),
        Cursor::Log(place) => place.clone(),
    }
}

/// What is selected, and as what it arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Selection {
    /// The select list.
    pub(super) list: String,
    /// The columns of the answer.
    pub(super) columns: Vec<SourceColumn>,
}

/// What to select for a contract: every column that it reads once, in a form that the decoder knows.
///
/// Types without a known binary form are cast by the server: to text, to `jsonb`, or to an array of texts, as the contract wants them.
pub(super) fn selection(contract: &Contract, columns: &[Column]) -> Selection {
    let with_extra = contract.columns.iter().any(|column| column.name.as_str() == EXTRA_COLUMN);
    let mut list = Vec::new();
    let mut selected = Vec::new();
    for column in columns {
        let readers: Vec<_> = contract
            .columns
            .iter()
            .filter(|declared| {
                let found = split_path(&declared.from, &mut columns.iter().map(|column| column.name.as_str()));
                found.is_some_and(|(name, _)| name == column.name)
            })
            .collect();
        let wanted: Vec<&ColumnType> =
            readers.iter().filter(|declared| declared.privacy != Privacy::Drop).map(|declared| &declared.data_type).collect();
        let is_extra = readers.is_empty() && with_extra;
        if wanted.is_empty() && !is_extra {
            continue;
        }
        let (cast, type_) = form(&column.type_, &wanted);
        // A row is found again by its key, which is why a key keeps its own form.
        let is_key = readers.iter().any(|declared| contract.key.contains(&declared.name));
        let labels: Option<Labels> = column.labels.clone().filter(|_| matches!(cast, Cast::Plain) && !is_key);
        list.push(match cast {
            Cast::Plain if labels.is_some() => format!("pg_catalog.hashenum({})", identifier(&column.name)),
            Cast::Plain => identifier(&column.name),
            Cast::To(name) => format!("{}::{name}", identifier(&column.name)),
            Cast::Jsonb => format!("to_jsonb({})", identifier(&column.name)),
        });
        selected.push(SourceColumn { name: column.name.clone(), type_, labels });
    }
    Selection { list: list.join(", "), columns: selected }
}

enum Cast {
    Plain,
    To(&'static str),
    Jsonb,
}

fn form(type_: &PostgresType, wanted: &[&ColumnType]) -> (Cast, PostgresType) {
    let all_are = |is: fn(&ColumnType) -> bool| wanted.iter().all(|declared| is(declared));
    let is_text: fn(&ColumnType) -> bool = |declared| matches!(declared, ColumnType::Text { .. });
    if *type_ == PostgresType::Money {
        // How many decimals money has, and how it looks, is the server's own setting (`lc_monetary`).
        return if !wanted.is_empty() && all_are(is_text) {
            (Cast::To("text"), PostgresType::Text)
        } else {
            (Cast::To("numeric"), PostgresType::Numeric)
        };
    }
    if type_.is_known() {
        return (Cast::Plain, type_.clone());
    }
    if all_are(|declared| *declared == ColumnType::Json) {
        // Also what goes to the column of what nobody declared.
        return (Cast::Jsonb, PostgresType::Jsonb);
    }
    if all_are(is_text) {
        return (Cast::To("text"), PostgresType::Text);
    }
    let is_texts: fn(&ColumnType) -> bool =
        |declared| matches!(declared, ColumnType::List(item) if matches!(**item, ColumnType::Text { .. }));
    if matches!(type_, PostgresType::Array(_)) && all_are(is_texts) {
        return (Cast::To("text[]"), PostgresType::Array(Box::new(PostgresType::Text)));
    }
    (Cast::Plain, type_.clone())
}

/// Conditions joined, with the `WHERE` in front; nothing if there are none.
pub(super) fn wherever(conditions: &[String]) -> String {
    if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipeline_core::contract::parse_column;
    use pipeline_core::name::{ColumnName, TableName};

    #[test]
    fn names_and_texts_cannot_leave_their_quotes() {
        assert_eq!(identifier("a\"; DROP TABLE b; --"), "\"a\"\"; DROP TABLE b; --\"");
        assert_eq!(literal("it's"), "'it''s'");
    }

    #[test]
    fn positions_are_literals_of_their_type() {
        let time = Cursor::Time("2025-03-30T04:00:00.5Z".parse().unwrap());
        assert_eq!(position(&time, &PostgresType::TimestampTz), "timestamptz '2025-03-30 04:00:00.500000+00'");
        assert_eq!(position(&time, &PostgresType::Timestamp), "timestamp '2025-03-30 04:00:00.500000'");
        assert_eq!(position(&time, &PostgresType::Date), "date '2025-03-30'");
        assert_eq!(position(&Cursor::Number(-7), &PostgresType::Int8), "-7");
        let far = Cursor::Time(Timestamp::from_microseconds(i64::MAX));
        assert_eq!(position(&far, &PostgresType::TimestampTz), "timestamptz 'infinity'");
    }

    #[test]
    fn each_column_is_selected_once_in_a_form_that_can_be_read() {
        let other = || PostgresType::Other("hstore".to_owned());
        let columns: Vec<Column> = [
            ("id", PostgresType::Int8),
            ("at", PostgresType::Point),
            ("secret", PostgresType::Text),
            ("tags", other()),
            ("price", PostgresType::Money),
            ("unused", PostgresType::Text),
        ]
        .map(|(name, type_)| Column { name: name.to_owned(), number: 1, type_, labels: None, is_readable: true })
        .to_vec();
        let declare = |extra: bool| {
            let mut columns = vec![
                ("id", "bigint"),
                ("x", "double from at.x"),
                ("y", "double from at.y"),
                ("secret", "text pii drop"),
                ("tags", "json"),
                ("price", "decimal(10,2)"),
            ];
            if extra {
                columns.push(("_extra", "json"));
            }
            let name = |text: &str| ColumnName::new(text).unwrap();
            Contract {
                table: TableName::new("s", "t").unwrap(),
                columns: columns.iter().map(|(column, text)| parse_column(&name(column), text, &|name| name.to_owned()).unwrap()).collect(),
                key: Vec::new(),
                cursor: None,
                description: String::new(),
            }
        };
        assert_eq!(selection(&declare(false), &columns).list, "\"id\", \"at\", to_jsonb(\"tags\"), \"price\"::numeric");
        assert_eq!(selection(&declare(true), &columns).list, "\"id\", \"at\", to_jsonb(\"tags\"), \"price\"::numeric, \"unused\"");
    }
}
