//! The text form of columns and types: `decimal(18,2) not null from totals.total`.
//!
//! ```text
//! column = type [ "not null" ] [ "from" path ] [ "only" ("string" | "document") ] [ "pii" class ]
//! type   = name [ "(" number { "," number } ")" ] | "list<" type ">" | "struct<" name column { "," name column } ">"
//! ```
//! Without `from`, a column is read from the field of the same name, a struct's field likewise; the caller says how a
//! source spells names (`camelCase` in MongoDB).

use std::str::FromStr;

use super::column_type::{ColumnType, Only, StructField};
use super::{CONTRACT, Column, Privacy};
use crate::error::{Error, Result};
use crate::name::ColumnName;

/// Deepest nesting of lists and structs: BSON itself stops at 100 levels.
const DEPTH_MAX: usize = 100;

/// Reads one column's declaration. `spell` gives the source's spelling of a name that has no `from`.
///
/// # Errors
/// [`CONTRACT`], naming the column and the word that was not understood.
pub fn parse_column(name: &ColumnName, text: &str, spell: &dyn Fn(&str) -> String) -> Result<Column> {
    let mut parser = Parser { words: words(text), position: 0, spell };
    let parsed = parser.column(name.as_str(), 0).and_then(|column| parser.end().map(|()| column));
    let parsed = parsed.map_err(|error| {
        error
            .context(format!("column \"{name}\" has a declaration that cannot be read"))
            .hint("Write it as `decimal(18,2) not null from totals.total`; docs/reference/types.md lists every type.")
    })?;
    Ok(Column {
        name: name.clone(),
        from: parsed.field.from,
        data_type: parsed.field.data_type,
        nullable: parsed.field.nullable,
        privacy: parsed.privacy,
        only: parsed.field.only,
        description: String::new(),
    })
}

impl FromStr for ColumnType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut parser = Parser { words: words(text), position: 0, spell: &|name| name.to_owned() };
        let data_type = parser.data_type(0)?;
        parser.end()?;
        Ok(data_type)
    }
}

impl TryFrom<String> for ColumnType {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    for character in text.chars() {
        if character.is_whitespace() || "<>(),".contains(character) {
            if !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
            if !character.is_whitespace() {
                words.push(character.to_string());
            }
        } else {
            word.push(character);
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

struct Parsed {
    field: StructField,
    privacy: Privacy,
}

struct Parser<'a> {
    words: Vec<String>,
    position: usize,
    spell: &'a dyn Fn(&str) -> String,
}

fn wrong(what: impl Into<String>) -> Error {
    Error::new(&CONTRACT, what)
}

impl Parser<'_> {
    fn peek(&self) -> Option<&str> {
        self.words.get(self.position).map(String::as_str)
    }

    fn next(&mut self, wanted: &str) -> Result<String> {
        let word = self.words.get(self.position).cloned();
        self.position += 1;
        word.ok_or_else(|| wrong(format!("{wanted} is missing at its end")))
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.peek() == Some(word);
        if found {
            self.position += 1;
        }
        found
    }

    fn expect(&mut self, word: &str) -> Result<()> {
        let found = self.next(&format!("\"{word}\""))?;
        if found == word { Ok(()) } else { Err(wrong(format!("\"{found}\" stands where \"{word}\" should"))) }
    }

    fn end(&self) -> Result<()> {
        match self.peek() {
            None => Ok(()),
            Some(word) => Err(wrong(format!("\"{word}\" is not understood"))),
        }
    }

    fn column(&mut self, name: &str, depth: usize) -> Result<Parsed> {
        let data_type = self.data_type(depth)?;
        let mut field = StructField { name: name.to_owned(), from: (self.spell)(name), data_type, nullable: true, only: None };
        let mut privacy = Privacy::None;
        loop {
            if self.take("not") {
                self.expect("null")?;
                field.nullable = false;
            } else if self.take("from") {
                field.from = self.next("a path")?;
            } else if self.take("only") {
                field.only = Some(match self.next("a kind")?.as_str() {
                    "string" => Only::String,
                    "document" => Only::Document,
                    other => return Err(wrong(format!("\"only {other}\" is not \"only string\" or \"only document\""))),
                });
            } else if self.take("pii") {
                privacy = match self.next("a privacy class")?.as_str() {
                    "none" => Privacy::None,
                    "hash" => Privacy::Hash,
                    "mask" => Privacy::Mask,
                    "drop" => Privacy::Drop,
                    "keep" => Privacy::Keep,
                    other => return Err(wrong(format!("\"pii {other}\" is not none, hash, mask, drop or keep"))),
                };
            } else {
                return Ok(Parsed { field, privacy });
            }
        }
    }

    fn numbers(&mut self) -> Result<Vec<i64>> {
        let mut numbers = Vec::new();
        if self.take("(") {
            loop {
                let word = self.next("a number")?;
                numbers.push(word.parse().map_err(|_| wrong(format!("\"{word}\" is not a whole number")))?);
                if self.take(")") {
                    break;
                }
                self.expect(",")?;
            }
        }
        Ok(numbers)
    }

    fn data_type(&mut self, depth: usize) -> Result<ColumnType> {
        if depth > DEPTH_MAX {
            return Err(wrong(format!("types nest deeper than {DEPTH_MAX} levels")));
        }
        let name = self.next("a type")?;
        if name == "list" {
            self.expect("<")?;
            let item = self.data_type(depth + 1)?;
            self.expect(">")?;
            return Ok(ColumnType::List(Box::new(item)));
        }
        if name == "struct" {
            return self.fields(depth);
        }
        let numbers = self.numbers()?;
        let plain = |data_type: ColumnType| {
            if numbers.is_empty() { Ok(data_type) } else { Err(wrong(format!("type \"{name}\" takes no numbers"))) }
        };
        match name.as_str() {
            "boolean" => plain(ColumnType::Boolean),
            "smallint" => plain(ColumnType::Int16),
            "int" | "integer" => plain(ColumnType::Int32),
            "bigint" => plain(ColumnType::Int64),
            "real" => plain(ColumnType::Float32),
            "double" => plain(ColumnType::Float64),
            "json" => plain(ColumnType::Json),
            "uuid" => plain(ColumnType::Uuid),
            "bytes" => plain(ColumnType::Bytes),
            "date" => plain(ColumnType::Date),
            "time" => plain(ColumnType::Time),
            "timestamp" => plain(ColumnType::Timestamp),
            "local_timestamp" => plain(ColumnType::LocalTimestamp),
            "text" => match numbers.as_slice() {
                [] => Ok(ColumnType::Text { bytes_max: None }),
                [bytes] if (1..=65_535).contains(bytes) => Ok(ColumnType::Text { bytes_max: u32::try_from(*bytes).ok() }),
                _ => Err(wrong("\"text\" takes one limit of 1 to 65535 bytes")),
            },
            "decimal" | "numeric" => match numbers.as_slice() {
                [precision @ 1..=76, scale] if (0..=*precision).contains(scale) => Ok(ColumnType::Decimal {
                    precision: u8::try_from(*precision).map_err(|_| wrong("precision"))?,
                    scale: i8::try_from(*scale).map_err(|_| wrong("scale"))?,
                }),
                _ => Err(wrong("\"decimal\" takes a precision of 1 to 76 and a scale no larger: decimal(18,2)")),
            },
            other => Err(wrong(format!("\"{other}\" is not a type"))),
        }
    }

    fn fields(&mut self, depth: usize) -> Result<ColumnType> {
        self.expect("<")?;
        let mut fields: Vec<StructField> = Vec::new();
        loop {
            let name = self.next("a field's name")?;
            ColumnName::new(&name)?;
            if fields.iter().any(|field| field.name == name) {
                return Err(wrong(format!("field \"{name}\" stands twice in one struct")));
            }
            fields.push(self.column(&name, depth + 1)?.field);
            if self.take(">") {
                return Ok(ColumnType::Struct(fields));
            }
            self.expect(",")?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(text: &str) -> Result<Column> {
        parse_column(&ColumnName::new("total").unwrap(), text, &|name| format!("the_{name}"))
    }

    #[test]
    fn a_column_with_everything() {
        let column = column("decimal(18,2) not null from totals.total pii keep").unwrap();
        assert_eq!(column.data_type, ColumnType::Decimal { precision: 18, scale: 2 });
        assert_eq!((column.from.as_str(), column.nullable, column.privacy), ("totals.total", false, Privacy::Keep));
    }

    #[test]
    fn nested_types_keep_their_text() {
        let text = "list<struct<sku text, price decimal(18,2) not null from unitPrice, options list<struct<name text(64)>>>>";
        let parsed: ColumnType = text.parse().unwrap();
        assert_eq!(parsed.to_string(), text);
        assert_eq!(parsed.to_string().parse::<ColumnType>().unwrap(), parsed);
    }

    #[test]
    fn a_columns_path_leads_to_the_source() {
        let columns =
            [("items", "list<struct<price decimal(18,2) from unitPrice, at struct<x int> from geo.point>> from lines"), ("total", "int")];
        let spelled = |name: &str| format!("the_{name}");
        let columns = columns.map(|(name, text)| parse_column(&ColumnName::new(name).unwrap(), text, &spelled).unwrap());
        let table = crate::name::TableName::new("shop", "orders").unwrap();
        let contract = super::super::Contract { table, columns: columns.into(), key: Vec::new(), cursor: None, description: String::new() };
        let path = |column: &str| contract.source_path(column);
        assert_eq!(path("items.price").as_deref(), Some("lines.unitPrice"));
        assert_eq!(path("items.at.x").as_deref(), Some("lines.geo.point.the_x"));
        assert_eq!(path("total").as_deref(), Some("the_total"));
        assert_eq!((path("items.nothing"), path("total.x"), path("nothing")), (None, None, None));
    }

    #[test]
    fn the_source_spelling_is_the_default() {
        assert_eq!(column("struct<one text>").unwrap().from, "the_total");
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (text, word) in [
            ("decimal(99,2)", "decimal"),
            ("text(0)", "text"),
            ("struct<a text, a int>", "twice"),
            ("int maybe", "maybe"),
            ("list<int", ">"),
            ("texts", "texts"),
            ("", "type"),
            ("int(3)", "int"),
            ("text pii secret", "secret"),
        ] {
            let error = column(text).unwrap_err();
            assert!(error.causes().iter().any(|cause| cause.contains(word)), "{text}: {error:?}");
        }
    }
}
