//! Rows as the Data API gives them.

use serde_json::{Value, json};
use sqlx::postgres::{PgColumn, PgRow, PgValueFormat};
use sqlx::{Column, Row, TypeInfo, ValueRef};

use crate::sql::error::SqlError;
use crate::sql::name;

/// The longest row. Management guide, "Using the Data API".
const ROW_BYTES_MAX: usize = 65_536;

/// What kind of JSON field a column's values become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Boolean,
    Long,
    Double,
    Text,
}

/// A column of a result.
#[derive(Debug, Clone)]
pub(crate) struct ResultColumn {
    name: String,
    type_name: String,
    field: Field,
    /// The table column it comes from: relation and number.
    pub(crate) origin: Option<(u32, i16)>,
    pub(crate) source: Option<Source>,
}

/// What the catalog knows of a result's column.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) schema: String,
    pub(crate) table: String,
    pub(crate) modifier: i32,
    pub(crate) not_null: bool,
    pub(crate) default: Option<String>,
}

/// A statement's rows, as text.
#[derive(Debug, Clone, Default)]
pub(crate) struct ResultSet {
    pub(crate) columns: Vec<ResultColumn>,
    pub(crate) rows: Vec<Vec<Option<String>>>,
    pub(crate) bytes: usize,
}

impl ResultColumn {
    pub(crate) fn new(column: &PgColumn) -> Self {
        let postgres = column.type_info().name().to_lowercase();
        let type_name = match postgres.as_str() {
            "text" | "unknown" => "varchar",
            "char" => "bpchar",
            "jsonb" | "json" => "super",
            "bytea" => "varbyte",
            other => other,
        };
        let field = match type_name {
            "bool" => Field::Boolean,
            "int2" | "int4" | "int8" | "oid" => Field::Long,
            "float4" | "float8" => Field::Double,
            _ => Field::Text,
        };
        let origin = column
            .relation_id()
            .zip(column.relation_attribute_no())
            .map(|(relation, number)| (relation.0, number))
            .filter(|(relation, _)| *relation != 0);
        Self { name: name::shown(column.name()), type_name: type_name.to_owned(), field, origin, source: None }
    }

    /// ColumnMetadata.
    pub(crate) fn metadata(&self) -> Value {
        let modifier = self.source.as_ref().map_or(-1, |source| source.modifier);
        let (precision, scale, length) = self.measures(modifier);
        let source = self.source.as_ref();
        let mut metadata = json!({
            "isCaseSensitive": self.type_name == "varchar" || self.type_name == "bpchar",
            "isCurrency": false,
            "isSigned": (["int2", "int4", "int8", "float4", "float8", "numeric"].contains(&self.type_name.as_str())),
            "label": self.name,
            "length": length,
            "name": self.name,
            "nullable": i32::from(!source.is_some_and(|source| source.not_null)),
            "precision": precision,
            "scale": scale,
            "schemaName": source.map_or("", |source| &source.schema),
            "tableName": source.map_or("", |source| &source.table),
            "typeName": self.type_name,
        });
        if let (Some(default), Some(object)) = (source.and_then(|source| source.default.clone()), metadata.as_object_mut()) {
            object.insert("columnDefault".to_owned(), Value::String(default));
        }
        metadata
    }

    /// Precision, scale and length. Expressions have no declared ones: the types' largest stand for them.
    fn measures(&self, modifier: i32) -> (i32, i32, i32) {
        match self.type_name.as_str() {
            "int2" => (5, 0, 0),
            "int4" => (10, 0, 0),
            "int8" => (19, 0, 0),
            "float4" => (8, 8, 0),
            "float8" => (17, 17, 0),
            "numeric" if modifier > 4 => ((modifier - 4) >> 16, (modifier - 4) & 0xffff, 0),
            "numeric" => (38, 0, 0),
            "varchar" | "bpchar" if modifier > 4 => (modifier - 4, 0, modifier - 4),
            "varchar" | "bpchar" => (65_535, 0, 65_535),
            "timestamp" => (29, 6, 0),
            "timestamptz" => (35, 6, 0),
            "date" => (13, 0, 0),
            "bool" => (1, 0, 0),
            _ => (0, 0, 0),
        }
    }

    fn json(&self, cell: Option<&String>) -> Value {
        let Some(text) = cell else { return json!({ "isNull": true }) };
        match self.field {
            Field::Boolean => json!({ "booleanValue": text == "true" }),
            Field::Long => text.parse::<i64>().map_or_else(|_| json!({ "stringValue": text }), |number| json!({ "longValue": number })),
            Field::Double => text
                .parse::<f64>()
                .ok()
                .filter(|number| number.is_finite())
                .map_or_else(|| json!({ "stringValue": text }), |number| json!({ "doubleValue": number })),
            Field::Text => json!({ "stringValue": text }),
        }
    }

    /// PostgreSQL's text in Redshift's form.
    fn text(&self, text: &str) -> String {
        match self.type_name.as_str() {
            "bool" => if text == "t" { "true" } else { "false" }.to_owned(),
            "varbyte" => text.strip_prefix("\\x").unwrap_or(text).to_owned(),
            "timestamp" if text.len() == "2022-02-22 00:00:00".len() => format!("{text}.0"),
            "super" => serde_json::from_str::<Value>(text).map_or_else(|_| text.to_owned(), |value| value.to_string()),
            _ => text.to_owned(),
        }
    }
}

impl ResultSet {
    /// Takes over one row.
    pub(crate) fn push(&mut self, row: &PgRow) -> Result<(), SqlError> {
        if self.columns.is_empty() {
            self.columns = row.columns().iter().map(ResultColumn::new).collect();
        }
        let unreadable = || SqlError::new("XX000", "the result cannot be read");
        let mut cells = Vec::with_capacity(self.columns.len());
        let mut bytes = 0;
        for (index, column) in self.columns.iter().enumerate() {
            let value = row.try_get_raw(index).map_err(|_| unreadable())?;
            if value.is_null() {
                cells.push(None);
                continue;
            }
            if value.format() != PgValueFormat::Text {
                return Err(unreadable());
            }
            let text = column.text(value.as_str().map_err(|_| unreadable())?);
            bytes += text.len();
            cells.push(Some(text));
        }
        if bytes > ROW_BYTES_MAX {
            return Err(SqlError::new("54000", format!("Packet for query is too large ({bytes} > {ROW_BYTES_MAX})")));
        }
        self.bytes += bytes;
        self.rows.push(cells);
        Ok(())
    }

    /// `Records` of GetStatementResult for some rows.
    pub(crate) fn json_records(&self, from: usize, rows: usize) -> Vec<Value> {
        let rows = self.rows.iter().skip(from).take(rows);
        rows.map(|row| row.iter().zip(&self.columns).map(|(cell, column)| column.json(cell.as_ref())).collect::<Vec<_>>().into()).collect()
    }

    /// `CSVRecords` of GetStatementResultV2: lines end with `\r\n`, a NULL is an empty field.
    pub(crate) fn csv_records(&self, from: usize, rows: usize) -> String {
        let mut text = String::new();
        for row in self.rows.iter().skip(from).take(rows) {
            let fields: Vec<String> = row.iter().map(|cell| cell.as_deref().map_or_else(String::new, csv_field)).collect();
            text.push_str(&fields.join(","));
            text.push_str("\r\n");
        }
        text
    }

    /// ColumnMetadata of every column.
    pub(crate) fn metadata(&self) -> Vec<Value> {
        self.columns.iter().map(ResultColumn::metadata).collect()
    }
}

fn csv_field(text: &str) -> String {
    if text.is_empty() || text.contains([',', '"', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(type_name: &str, field: Field) -> ResultColumn {
        ResultColumn { name: "c".into(), type_name: type_name.into(), field, origin: None, source: None }
    }

    #[test]
    fn values_come_in_redshifts_forms() {
        assert_eq!(column("timestamp", Field::Text).text("2022-02-22 00:00:00"), "2022-02-22 00:00:00.0");
        assert_eq!(column("timestamp", Field::Text).text("2022-02-22 00:00:00.25"), "2022-02-22 00:00:00.25");
        assert_eq!(column("varbyte", Field::Text).text("\\x0aff"), "0aff");
        assert_eq!(column("super", Field::Text).text("{\"a\": [1, 2.50]}"), "{\"a\":[1,2.50]}");
        assert_eq!(column("numeric", Field::Text).json(Some(&"1.50".to_owned())), json!({ "stringValue": "1.50" }));
        assert_eq!(column("int8", Field::Long).json(Some(&"7".to_owned())), json!({ "longValue": 7 }));
        assert_eq!(column("bool", Field::Boolean).json(Some(&"true".to_owned())), json!({ "booleanValue": true }));
        assert_eq!(column("int8", Field::Long).json(None), json!({ "isNull": true }));
    }

    #[test]
    fn csv_tells_null_from_the_empty_string() {
        let result = ResultSet {
            columns: vec![column("varchar", Field::Text); 3],
            rows: vec![vec![None, Some(String::new()), Some("a,\"b\"".into())]],
            bytes: 0,
        };
        assert_eq!(result.csv_records(0, 1), ",\"\",\"a,\"\"b\"\"\"\r\n");
    }
}
