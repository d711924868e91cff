//! An index's mapping, and whether a contract can be read from it.
//!
//! Names of types and formats: <https://docs.opensearch.org/latest/field-types/supported-field-types/index/>.

use std::collections::BTreeMap;

use pipeline_core::contract::{ColumnType, Contract, EXTRA_COLUMN, Privacy};
use pipeline_core::error::{Error, Result};
use serde_json::Value;

use super::error::MAPPING;
use crate::nearest::nearest;

/// What stands beside a document's fields and can be read like one.
pub(super) const OUTSIDE: [&str; 2] = ["_id", "_index"];

/// Formats of dates that are understood: texts of an instant, and milliseconds.
const FORMATS: [&str; 15] = [
    "strict_date_optional_time",
    "date_optional_time",
    "strict_date_optional_time_nanos",
    "strict_date_time",
    "date_time",
    "strict_date_time_no_millis",
    "date_time_no_millis",
    "strict_date",
    "date",
    "strict_date_hour_minute_second",
    "date_hour_minute_second",
    "strict_date_hour_minute_second_millis",
    "date_hour_minute_second_millis",
    "rfc3339_lenient",
    "epoch_millis",
];

/// How one index maps a field.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mapped {
    kind: String,
    format: Option<String>,
    /// Whether what is inside is not mapped, so that it can be anything.
    is_open: bool,
}

/// The fields of all indices of a table, by path.
#[derive(Debug, Default)]
pub(super) struct Mapping {
    indices: usize,
    fields: BTreeMap<String, Vec<Mapped>>,
    /// Whether an index takes fields without mapping them.
    is_open: bool,
    without_source: Option<String>,
}

impl Mapping {
    /// Reads the answer to `GET /{index}/_mapping`.
    pub(super) fn of(answer: &Value) -> Self {
        let mut mapping = Self::default();
        for (index, body) in answer.as_object().into_iter().flatten() {
            mapping.indices += 1;
            let Some(body) = body.get("mappings") else { continue };
            mapping.is_open |= is_open(body);
            if body.pointer("/_source/enabled") == Some(&Value::Bool(false)) {
                mapping.without_source = Some(index.clone());
            }
            mapping.add("", body);
        }
        mapping
    }

    fn add(&mut self, above: &str, body: &Value) {
        for (name, field) in body.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let path = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
            let text = |key| field.get(key).and_then(Value::as_str).map(str::to_owned);
            // Without a type it is an object.
            let kind = text("type").unwrap_or_else(|| "object".to_owned());
            self.add(&path, field);
            let is_nested = matches!(kind.as_str(), "object" | "nested");
            let mapped = Mapped { is_open: is_open(field) || !is_nested, kind, format: text("format") };
            let found = self.fields.entry(path).or_default();
            if !found.contains(&mapped) {
                found.push(mapped);
            }
        }
    }

    /// Whether no index has the name.
    pub(super) fn is_empty(&self) -> bool {
        self.indices == 0
    }

    /// The types of a field, each once.
    pub(super) fn kinds(&self, path: &str) -> Vec<&str> {
        let mut kinds: Vec<&str> = self.fields.get(path).into_iter().flatten().map(|mapped| mapped.kind.as_str()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }

    /// That every declared column has a field that it can take.
    ///
    /// # Errors
    /// [`MAPPING`], naming column and field.
    pub(super) fn check(&self, contract: &Contract, place: &str) -> Result<()> {
        if let Some(index) = &self.without_source {
            return Err(Error::new(&MAPPING, format!("index \"{index}\" keeps no documents (`_source` is off), so they cannot be read")));
        }
        for column in &contract.columns {
            let is_outside = OUTSIDE.contains(&column.from.as_str());
            if column.name.as_str() == EXTRA_COLUMN || column.privacy == Privacy::Drop || is_outside {
                continue;
            }
            self.check_type(column.name.as_str(), &column.from, &column.data_type, place)?;
        }
        Ok(())
    }

    fn check_type(&self, column: &str, path: &str, data_type: &ColumnType, place: &str) -> Result<()> {
        match data_type {
            // The server makes no difference between a value and a list of values.
            ColumnType::List(item) => return self.check_type(column, path, item, place),
            ColumnType::Json => return self.find(column, path, place).map(drop),
            _ => {}
        }
        for mapped in self.find(column, path, place)? {
            if mapped.kind == "alias" {
                return Err(Error::new(
                    &MAPPING,
                    format!("field \"{path}\" of column \"{column}\" is an alias in {place}, which documents do not hold"),
                )
                .hint("Read the column from the field that the alias stands for."));
            }
            if !fits(&mapped.kind, data_type) {
                return Err(Error::new(
                    &MAPPING,
                    format!("column \"{column}\" is declared {data_type}, and field \"{path}\" of {place} is mapped as {}", mapped.kind),
                ));
            }
            let unknown = mapped.format.iter().flat_map(|format| format.split("||")).find(|format| !FORMATS.contains(format));
            if let Some(format) = unknown.filter(|_| matches!(data_type, ColumnType::Timestamp | ColumnType::Date)) {
                return Err(Error::new(
                    &MAPPING,
                    format!("field \"{path}\" of {place} has dates of the format \"{format}\", which column \"{column}\" cannot read"),
                )
                .hint(format!("Declare the column as it stands in the documents: `{column} = \"json from {path}\"`.")));
            }
        }
        if let ColumnType::Struct(fields) = data_type {
            for field in fields {
                self.check_type(&format!("{column}.{}", field.name), &format!("{path}.{}", field.from), &field.data_type, place)?;
            }
        }
        Ok(())
    }

    /// How a field is mapped; nothing where that is not known, inside a field whose content is not mapped.
    fn find(&self, column: &str, path: &str, place: &str) -> Result<&[Mapped]> {
        // A place in a list is not mapped, its values are.
        let names: Vec<&str> = path.split('.').filter(|name| !name.bytes().all(|byte| byte.is_ascii_digit())).collect();
        if let Some(mapped) = self.fields.get(&names.join(".")) {
            return Ok(mapped);
        }
        let is_inside = (1..names.len()).any(|length| {
            let above = names.get(..length).unwrap_or_default().join(".");
            self.fields.get(&above).is_some_and(|mapped| mapped.iter().any(|mapped| mapped.is_open))
        });
        if is_inside || self.is_open {
            return Ok(&[]);
        }
        let error = Error::new(&MAPPING, format!("field \"{path}\" of column \"{column}\" is missing from the mapping of {place}"));
        Err(match nearest(path, self.fields.keys().map(String::as_str)) {
            Some(name) => error.hint(format!("Did you mean \"{name}\"? Write `from {name}` in the column's declaration.")),
            None => error,
        })
    }
}

/// Whether an object takes fields without mapping them.
fn is_open(body: &Value) -> bool {
    let dynamic = body.get("dynamic").map(|dynamic| dynamic.as_str().map_or_else(|| dynamic.to_string(), str::to_owned));
    dynamic.as_deref() == Some("false") || body.get("enabled") == Some(&Value::Bool(false))
}

/// Whether values of a mapped type can be what a column declares. Types that are not listed decide nothing: the values do.
fn fits(kind: &str, data_type: &ColumnType) -> bool {
    use ColumnType as T;
    match kind {
        "long" | "integer" | "short" | "byte" | "unsigned_long" => {
            matches!(data_type, T::Int16 | T::Int32 | T::Int64 | T::Float32 | T::Float64 | T::Decimal { .. })
        }
        "double" | "float" | "half_float" | "scaled_float" => matches!(data_type, T::Float32 | T::Float64 | T::Decimal { .. }),
        "date" | "date_nanos" => matches!(data_type, T::Timestamp | T::Date | T::Text { .. }),
        "boolean" => matches!(data_type, T::Boolean),
        "keyword" | "text" | "constant_keyword" | "wildcard" | "match_only_text" | "search_as_you_type" | "version" | "ip" => {
            matches!(data_type, T::Text { .. } | T::Uuid)
        }
        "binary" => matches!(data_type, T::Text { .. }),
        "object" | "nested" => matches!(data_type, T::Struct(_)),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use pipeline_core::contract::parse_column;
    use pipeline_core::name::{ColumnName, TableName};
    use serde_json::json;

    use super::*;

    fn check(declared: &str) -> Result<()> {
        let answer = json!({
            "audit-2025.01.01": {"mappings": {"properties": {
                "@timestamp": {"type": "date"}, "durationMs": {"type": "long"}, "at": {"type": "date", "format": "epoch_second"},
                "actor": {"type": "keyword"}, "request": {"properties": {"path": {"type": "keyword"}, "bytes": {"type": "integer"}}},
                "labels": {"type": "object", "enabled": false}, "place": {"type": "geo_point"}, "who": {"type": "alias", "path": "actor"}}}},
            "audit-2025.01.02": {"mappings": {"properties": {"durationMs": {"type": "keyword"}}}},
        });
        let column = parse_column(&ColumnName::new("c").unwrap(), declared, &|name| name.to_owned()).unwrap();
        let table = TableName::new("audit", "audit_events").unwrap();
        let contract = Contract { table, columns: vec![column], key: Vec::new(), cursor: None, description: String::new() };
        Mapping::of(&answer).check(&contract, "index \"audit-*\"")
    }

    #[test]
    fn what_can_be_read_passes() {
        for declared in [
            "timestamp from @timestamp",
            "text from actor",
            "list<text> from actor",
            "json from durationMs",
            "struct<path text, bytes bigint> from request",
            "int from request.bytes",
            "text from labels.team",
            "double from place.lat",
            "text from _id",
        ] {
            check(declared).unwrap_or_else(|error| panic!("{declared}: {error:?}"));
        }
    }

    #[test]
    fn what_cannot_is_named_with_what_is_near() {
        let error = check("bigint from durationsMs").unwrap_err();
        assert_eq!(error.message(), "field \"durationsMs\" of column \"c\" is missing from the mapping of index \"audit-*\"");
        assert!(error.remedy().contains("\"durationMs\""), "{}", error.remedy());
        // One of two indices maps it otherwise.
        let error = check("bigint from durationMs").unwrap_err();
        assert!(error.message().ends_with("is mapped as keyword"), "{}", error.message());
        assert!(check("struct<path text, size bigint> from request").unwrap_err().message().contains("request.size"));
        assert!(check("timestamp from at").unwrap_err().message().contains("epoch_second"));
        assert!(check("text from who").unwrap_err().message().contains("alias"));
    }
}
