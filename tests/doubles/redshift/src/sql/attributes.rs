//! A table's physical attributes: where its rows lie and how they are sorted.

use serde_json::{Value, json};

use super::cursor::{Cursor, names};
use super::error::SqlError;
use super::name;
use super::table::Column;
use super::token::Token;

/// Developer guide, "CREATE TABLE": columns of a compound sort key.
const COMPOUND_SORT_COLUMNS_MAX: usize = 400;
/// Columns of an interleaved sort key.
const INTERLEAVED_SORT_COLUMNS_MAX: usize = 8;

/// DISTSTYLE, DISTKEY, SORTKEY, ENCODE AUTO and BACKUP.
#[derive(Debug, Clone, Default)]
pub(crate) struct Attributes {
    diststyle: Option<String>,
    distkey: Option<String>,
    sortkey: Option<Vec<String>>,
    interleaved: bool,
    /// Whether any was written.
    pub(super) given: bool,
}

impl Attributes {
    /// Reads what stands here; `true` when something was read.
    pub(crate) fn parse(&mut self, cursor: &mut Cursor<'_>) -> Result<bool, SqlError> {
        if cursor.accept(&["diststyle"]) {
            let Token::Word(style) = cursor.take()? else { return Err(cursor.unexpected()) };
            if !["auto", "even", "key", "all"].contains(&style.as_str()) {
                return Err(SqlError::syntax(style));
            }
            self.diststyle = Some(style.clone());
        } else if cursor.is_word("distkey") {
            cursor.take()?;
            let columns = names(cursor.group()?)?;
            let [column] = columns.as_slice() else { return Err(SqlError::unsupported("only one column may be the distribution key")) };
            if self.distkey.replace(column.clone()).is_some() {
                return Err(SqlError::new("42601", "multiple DISTKEY clauses are not allowed"));
            }
        } else if cursor.is_word("sortkey") || cursor.is_words(&["compound", "sortkey"]) || cursor.is_words(&["interleaved", "sortkey"]) {
            self.interleaved = cursor.accept(&["interleaved"]);
            cursor.accept(&["compound"]);
            cursor.expect(&["sortkey"])?;
            let columns = if cursor.accept(&["auto"]) { Vec::new() } else { names(cursor.group()?)? };
            if self.sortkey.replace(columns).is_some() {
                return Err(SqlError::new("42601", "multiple SORTKEY clauses are not allowed"));
            }
        } else if cursor.accept(&["encode", "auto"]) {
        } else if cursor.accept(&["backup"]) {
            if !cursor.accept(&["yes"]) && !cursor.accept(&["no"]) {
                return Err(cursor.unexpected());
            }
        } else {
            return Ok(false);
        }
        self.given = true;
        Ok(true)
    }

    pub(super) fn parse_all(&mut self, cursor: &mut Cursor<'_>) -> Result<(), SqlError> {
        while self.parse(cursor)? {}
        Ok(())
    }

    /// Takes the columns' own marks over and checks them all against the columns.
    pub(super) fn settle(&mut self, columns: &[Column]) -> Result<(), SqlError> {
        for column in columns.iter().filter(|column| column.distkey) {
            if self.distkey.replace(column.name.clone()).is_some() {
                return Err(SqlError::new("42601", "multiple DISTKEY clauses are not allowed"));
            }
        }
        let marked: Vec<String> = columns.iter().filter(|column| column.sortkey).map(|column| column.name.clone()).collect();
        if !marked.is_empty() && self.sortkey.replace(marked).is_some() {
            return Err(SqlError::new("42601", "multiple SORTKEY clauses are not allowed"));
        }
        self.check_counts()?;
        for key in self.distkey.iter().chain(self.sortkey.iter().flatten()) {
            let Some(column) = columns.iter().find(|column| column.name == *key) else {
                return Err(SqlError::new("42703", format!("column \"{key}\" named in key does not exist")));
            };
            if !column.kind.is_scalar() {
                return Err(not_a_key(key));
            }
        }
        Ok(())
    }

    pub(super) fn check_counts(&self) -> Result<(), SqlError> {
        let count = self.sortkey.as_ref().map_or(0, Vec::len);
        let limit = if self.interleaved { INTERLEAVED_SORT_COLUMNS_MAX } else { COMPOUND_SORT_COLUMNS_MAX };
        if count > limit {
            return Err(SqlError::new("54011", format!("sort key has {count} columns, at most {limit} are allowed")));
        }
        match (self.diststyle.as_deref(), &self.distkey) {
            (Some("key"), None) => Err(SqlError::new("42601", "DISTSTYLE KEY needs a DISTKEY column")),
            (Some("even" | "all" | "auto"), Some(_)) => Err(SqlError::new("42601", "DISTKEY is only allowed with DISTSTYLE KEY")),
            _ => Ok(()),
        }
    }

    /// What PostgreSQL's catalog cannot hold.
    pub(crate) fn remembered(&self) -> Value {
        let diststyle = match (&self.distkey, self.diststyle.as_deref()) {
            (Some(column), _) => format!("KEY({column})"),
            (None, Some(style)) => style.to_uppercase(),
            (None, None) => "AUTO".to_owned(),
        };
        json!({
            "diststyle": diststyle,
            "distkey": self.distkey.as_deref().map(name::stored),
            "sortkey": self.sortkey.clone().unwrap_or_default().iter().map(|column| name::stored(column)).collect::<Vec<_>>(),
            "interleaved": self.interleaved,
        })
    }
}

impl Attributes {
    /// Of what ALTER TABLE named, what PostgreSQL's catalog cannot hold.
    pub(crate) fn changed(&self) -> Value {
        let mut changed = self.remembered();
        if let Some(object) = changed.as_object_mut() {
            object.retain(|name, _| match name.as_str() {
                "diststyle" => self.diststyle.is_some(),
                "distkey" => self.distkey.is_some(),
                "sortkey" => self.sortkey.is_some(),
                _ => false,
            });
        }
        changed
    }
}

pub(super) fn not_a_key(column: &str) -> SqlError {
    SqlError::unsupported(format!("column \"{column}\" of type SUPER cannot be a distribution or sort key"))
}
