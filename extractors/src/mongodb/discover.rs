//! What a database of documents holds, as far as a bounded sample of each collection shows.

use std::collections::BTreeMap;

use ::bson::{Bson, Document, doc, spec::BinarySubtype};
use futures::TryStreamExt;
use pipeline_core::contract::{ColumnType, StructField};
use pipeline_core::error::Result;

use super::connection::Connection;
use super::error::Failure;
use crate::discover::{Found, FoundColumn, FoundCursor, column_name, cursor_rank};

/// Documents looked at: half of them the oldest, half the newest, since fields come and go with time.
const SAMPLED: u64 = 1_000;

/// Digits of decimals, if what was seen needs no more.
const DECIMAL_DIGITS: u8 = 18;

/// Deepest document that is declared field by field.
const DEPTH_MAX: usize = 4;

/// Every collection, in the order of their names.
pub(super) async fn discover(connection: &Connection) -> Result<Vec<Found>> {
    let failed = |error: mongodb::error::Error| Failure::of(&error).about("the database could not be looked at");
    let database = connection.database();
    let mut names = database.list_collection_names().await.map_err(failed)?;
    names.retain(|name| !name.starts_with("system."));
    names.sort();
    let mut found = Vec::new();
    for name in names {
        let collection = database.collection::<Document>(&name);
        let mut seen = Seen::default();
        let rows = collection.estimated_document_count().await.unwrap_or(u64::MAX);
        let directions: &[i32] = if rows <= SAMPLED / 2 { &[1] } else { &[1, -1] };
        for direction in directions {
            let limit = i64::try_from(SAMPLED / 2).unwrap_or(i64::MAX);
            let sample = collection.find(doc! {}).sort(doc! {"_id": direction}).limit(limit);
            let mut sample = sample.await.map_err(failed)?;
            while let Some(document) = sample.try_next().await.map_err(failed)? {
                seen.add(&Bson::Document(document), 0);
            }
        }
        let indexes: Vec<mongodb::IndexModel> = match collection.list_indexes().await {
            Ok(indexes) => indexes.try_collect().await.map_err(failed)?,
            // A view has none.
            Err(_) => Vec::new(),
        };
        // A partial index knows nothing of the other documents.
        let is_of_all =
            |index: &&mongodb::IndexModel| index.options.as_ref().is_none_or(|options| options.partial_filter_expression.is_none());
        let index_of = |path: &str| {
            let mut whole = indexes.iter().filter(is_of_all);
            let first = whole.find(|index| index.keys.keys().next().map(String::as_str) == Some(path));
            first.and_then(|index| index.options.as_ref()?.name.clone())
        };
        let is_unique = |index: &&mongodb::IndexModel| {
            index.keys.keys().eq(["_id"]) || index.options.as_ref().is_some_and(|options| options.unique == Some(true))
        };
        let unique: Vec<Vec<String>> =
            indexes.iter().filter(is_of_all).filter(is_unique).map(|index| index.keys.keys().cloned().collect()).collect();
        let statistics = connection.ask(doc! {"collStats": &name}).await.unwrap_or_default();
        let number = |key: &str| statistics.get(key).and_then(|value| value.as_i64().or(value.as_i32().map(i64::from)));
        let mut columns = Vec::new();
        let mut cursors = Vec::new();
        for (field, seen_in_field) in &seen.fields {
            let (data_type, note) = seen_in_field.declared();
            if data_type == ColumnType::Timestamp {
                cursors.push(FoundCursor { from: field.clone(), index: index_of(field), is_number: false });
            }
            let nullable = field != "_id";
            let is_seen_null = seen_in_field.values() < seen.values();
            columns.push(FoundColumn { from: field.clone(), data_type, nullable, is_seen_null, note });
        }
        cursors.sort_by_key(|cursor| cursor_rank(&cursor.from));
        found.push(Found {
            place: name,
            place_key: "collection",
            rows: number("count").and_then(|rows| u64::try_from(rows).ok()),
            bytes: number("size").and_then(|bytes| u64::try_from(bytes).ok()),
            columns,
            key: vec!["_id".to_owned()],
            // A view has no indexes, and tells nothing.
            unique: Some(unique).filter(|unique| !unique.is_empty()),
            cursors,
            is_open: true,
        });
    }
    Ok(found)
}

/// What was seen at one place.
#[derive(Debug, Default)]
struct Seen {
    /// How often each kind of value stood there, NULL apart.
    kinds: BTreeMap<&'static str, u64>,
    /// Most digits before and after the point of decimals.
    digits: (u8, u8),
    /// The longest text, in bytes.
    text_bytes: usize,
    /// The fields of documents, in the order they were first seen in.
    fields: Vec<(String, Seen)>,
    /// The elements of arrays.
    elements: Option<Box<Seen>>,
}

impl Seen {
    /// How many values stood there, NULL apart.
    fn values(&self) -> u64 {
        self.kinds.values().sum()
    }

    fn add(&mut self, value: &Bson, depth: usize) {
        let kind = match value {
            Bson::Null | Bson::Undefined => return,
            Bson::Boolean(_) => "boolean",
            Bson::Int32(_) => "int32",
            Bson::Int64(_) => "int64",
            Bson::Double(_) => "double",
            Bson::Decimal128(number) => {
                self.decimal(&number.to_string());
                "decimal128"
            }
            Bson::String(text) | Bson::Symbol(text) => {
                self.text_bytes = self.text_bytes.max(text.len());
                "string"
            }
            Bson::ObjectId(_) => "objectId",
            Bson::DateTime(_) => "date",
            Bson::Binary(binary) if matches!(binary.subtype, BinarySubtype::Uuid | BinarySubtype::UuidOld) => "uuid",
            Bson::Binary(_) => "binary",
            Bson::Document(document) => {
                if depth <= DEPTH_MAX {
                    for (name, value) in document {
                        match self.fields.iter_mut().find(|(known, _)| known == name) {
                            Some((_, seen)) => seen.add(value, depth + 1),
                            None => {
                                let mut seen = Self::default();
                                seen.add(value, depth + 1);
                                self.fields.push((name.clone(), seen));
                            }
                        }
                    }
                }
                "document"
            }
            Bson::Array(values) => {
                let elements = self.elements.get_or_insert_with(Box::default);
                values.iter().for_each(|value| elements.add(value, depth + 1));
                "array"
            }
            _ => "other",
        };
        *self.kinds.entry(kind).or_default() += 1;
    }

    fn decimal(&mut self, text: &str) {
        // With an exponent, or no number at all: not told by its digits.
        let Some((whole, fraction)) = text.trim_start_matches('-').split_once('.').or(Some((text, ""))) else { return };
        if whole.chars().chain(fraction.chars()).all(|character| character.is_ascii_digit()) {
            let length = |digits: &str| u8::try_from(digits.len()).unwrap_or(u8::MAX);
            self.digits = (self.digits.0.max(length(whole)), self.digits.1.max(length(fraction)));
        }
    }

    /// How the place could be declared, and what to know about it.
    fn declared(&self) -> (ColumnType, Option<String>) {
        let kinds: Vec<&str> = self.kinds.keys().copied().collect();
        let plain = match kinds.as_slice() {
            [] => return (ColumnType::Json, Some("nothing but NULL was seen".to_owned())),
            ["boolean"] => ColumnType::Boolean,
            ["int32"] => ColumnType::Int32,
            ["int64"] | ["int32", "int64"] => ColumnType::Int64,
            ["double"] => ColumnType::Float64,
            ["decimal128"] => {
                let scale = self.digits.1.clamp(2, DECIMAL_DIGITS / 2);
                let precision = if self.digits.0 + scale > DECIMAL_DIGITS { 38 } else { DECIMAL_DIGITS };
                ColumnType::Decimal { precision, scale: i8::try_from(scale).unwrap_or(0) }
            }
            ["string"] => ColumnType::Text { bytes_max: None },
            ["objectId"] => ColumnType::Text { bytes_max: Some(24) },
            ["date"] => ColumnType::Timestamp,
            ["uuid"] => ColumnType::Uuid,
            ["binary"] => ColumnType::Bytes,
            ["array"] => return self.list(),
            ["document"] => return self.structure(),
            _ => {
                let seen: Vec<String> = self.kinds.iter().map(|(kind, count)| format!("{count} × {kind}")).collect();
                let note =
                    format!("values of several types: {}; declare the one that is meant, and the others go to quarantine", seen.join(", "));
                return (ColumnType::Json, Some(note));
            }
        };
        (plain, None)
    }

    fn list(&self) -> (ColumnType, Option<String>) {
        match self.elements.as_ref().filter(|elements| !elements.kinds.is_empty()).map(|elements| elements.declared()) {
            Some((element, None)) => (ColumnType::List(Box::new(element)), None),
            Some((_, note)) => (ColumnType::Json, note),
            None => (ColumnType::Json, Some("only empty lists were seen".to_owned())),
        }
    }

    fn structure(&self) -> (ColumnType, Option<String>) {
        let mut fields: Vec<StructField> = Vec::new();
        for (from, seen) in &self.fields {
            let name = column_name(from).filter(|name| fields.iter().all(|field| field.name.as_str() != name));
            let plain = name.filter(|_| !from.contains(['.', '$']));
            let (Some(name), (data_type, None)) = (plain, seen.declared()) else {
                return (ColumnType::Json, Some(format!("field \"{from}\" is of several types, or has no plain name")));
            };
            fields.push(StructField { name, from: from.clone(), data_type, nullable: true, only: None });
        }
        if fields.is_empty() {
            (ColumnType::Json, Some("only empty documents were seen".to_owned()))
        } else {
            (ColumnType::Struct(fields), None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::bson::{DateTime, oid::ObjectId};

    fn declared(documents: &[Document]) -> Vec<(String, String, bool)> {
        let mut seen = Seen::default();
        documents.iter().for_each(|document| seen.add(&Bson::Document(document.clone()), 0));
        let shown = |(name, seen): &(String, Seen)| {
            let (data_type, note) = seen.declared();
            (name.clone(), data_type.to_string(), note.is_some())
        };
        seen.fields.iter().map(shown).collect()
    }

    #[test]
    fn a_sample_tells_columns() {
        let money = |text: &str| Bson::Decimal128(text.parse().unwrap());
        let found = declared(&[
            doc! {"_id": ObjectId::from_bytes([1; 12]), "n": 1, "long": 1, "at": DateTime::from_millis(1), "price": money("12.50"), "none": Bson::Null,
            "items": [{"sku": "a", "unitPrice": money("1.5")}], "mixed": 1, "tags": [], "more": {"a": 1, "$b": 2}},
            doc! {"_id": ObjectId::from_bytes([2; 12]), "long": 5_i64, "price": Bson::Null, "mixed": "x", "more": {}, "items": []},
        ]);
        let expected = [
            ("_id", "text(24)", false),
            ("n", "int", false),
            ("long", "bigint", false),
            ("at", "timestamp", false),
            ("price", "decimal(18,2)", false),
            ("none", "json", true),
            ("items", "list<struct<sku text, unit_price decimal(18,2) from unitPrice>>", false),
            ("mixed", "json", true),
            ("tags", "json", true),
            ("more", "json", true),
        ];
        assert_eq!(found, expected.map(|(name, text, noted)| (name.to_owned(), text.to_owned(), noted)));
    }
}
