//! Names parsed once, at the edge: tables, columns and pipelines.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Code, Error, ErrorKind, Result};

/// A name in configuration is not usable as it is.
pub static NAME: Code = Code {
    name: "E-NAME",
    kind: ErrorKind::Usage,
    meaning: "A name of a pipeline, source, table or column cannot be used in a lake, a warehouse and a file path alike.",
    remedy: "Use lower-case letters, digits and underscores, starting with a letter or underscore, at most 63 characters.",
};

/// Longest name in characters: PostgreSQL's limit, and the smallest of all places that a name goes to
/// (Redshift allows 127 bytes).
pub const NAME_CHARACTERS_MAX: usize = 63;

fn check(what: &str, text: &str) -> Result<()> {
    let mut characters = text.chars();
    let starts_well = characters.next().is_some_and(|c| c.is_ascii_lowercase() || c == '_');
    if starts_well && text.len() <= NAME_CHARACTERS_MAX && characters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
        return Ok(());
    }
    Err(Error::new(&NAME, format!("{what} name \"{text}\" cannot be used")))
}

/// A column's name: lower-case, unquoted everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ColumnName(String);

impl ColumnName {
    /// Parses a column name.
    ///
    /// # Errors
    /// [`NAME`] if a warehouse or file could not hold it unquoted.
    pub fn new(text: &str) -> Result<Self> {
        check("column", text)?;
        Ok(Self(text.to_owned()))
    }

    /// The name's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A table of the lake: `schema.table`. Models stand in the schema [`TableName::MARTS`], extracted tables in a schema named
/// as their source.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TableName {
    schema: String,
    table: String,
}

impl TableName {
    /// The schema of every model.
    pub const MARTS: &'static str = "marts";

    /// A table of a source or of the models.
    ///
    /// # Errors
    /// [`NAME`] if either part is unusable.
    pub fn new(schema: &str, table: &str) -> Result<Self> {
        check("schema", schema)?;
        check("table", table)?;
        Ok(Self { schema: schema.to_owned(), table: table.to_owned() })
    }

    /// A model's table.
    ///
    /// # Errors
    /// [`NAME`] if the name is unusable.
    pub fn model(table: &str) -> Result<Self> {
        Self::new(Self::MARTS, table)
    }

    /// The schema: a source's name, or `marts`.
    #[must_use]
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// The name within its schema.
    #[must_use]
    pub fn table(&self) -> &str {
        &self.table
    }

    /// Whether a model makes this table.
    #[must_use]
    pub fn is_model(&self) -> bool {
        self.schema == Self::MARTS
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Models are what people speak of most, so their schema goes without saying.
        if self.is_model() { f.write_str(&self.table) } else { write!(f, "{}.{}", self.schema, self.table) }
    }
}

impl FromStr for TableName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once('.') {
            Some((schema, table)) => Self::new(schema, table),
            None => Self::model(text),
        }
    }
}

impl fmt::Display for ColumnName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ColumnName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::new(text)
    }
}

impl TryFrom<String> for TableName {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<TableName> for String {
    fn from(name: TableName) -> Self {
        name.to_string()
    }
}

impl TryFrom<String> for ColumnName {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        Self::new(&text)
    }
}

impl From<ColumnName> for String {
    fn from(name: ColumnName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_schema_is_a_model() {
        let name: TableName = "orders".parse().unwrap();
        assert!(name.is_model());
        assert_eq!(name.to_string(), "orders");
        let name: TableName = "shop.orders".parse().unwrap();
        assert_eq!((name.schema(), name.table()), ("shop", "orders"));
        assert_eq!(name.to_string(), "shop.orders");
    }

    #[test]
    fn unusable_names_are_refused() {
        for bad in ["", "Orders", "1st", "a-b", "a.b.c", "ż", &"x".repeat(64)] {
            assert!(bad.parse::<TableName>().is_err(), "{bad}");
        }
    }
}
