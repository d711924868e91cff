//! The only place where SQL text begins: identifiers, literals and statements.

use std::fmt::{self, Write as _};

use pipeline_core::error::{BUG, Error, Result};
use pipeline_core::name::NAME;

/// Column names that Redshift keeps for itself; not even quotes free them (guide, "Names and identifiers").
const SYSTEM_COLUMNS: &[&str] = &["oid", "tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"];

/// Longest identifier in bytes; Redshift cuts longer ones without a word.
const IDENTIFIER_BYTES_MAX: usize = 127;

/// Longest statement in bytes: the smaller of the two limits that the Data API's documentation has named (100 KB and 200 KB).
pub(super) const STATEMENT_BYTES_MAX: usize = 100_000;

/// A quoted identifier. Always quoted, so that no list of reserved words has to be complete; folded to lower case by Redshift
/// even then, so upper case is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ident(String);

impl Ident {
    /// Quotes a name.
    ///
    /// # Errors
    /// [`NAME`] if it is empty, too long, or has upper-case letters or control characters.
    pub(super) fn new(name: &str) -> Result<Self> {
        let fits =
            !name.is_empty() && name.len() <= IDENTIFIER_BYTES_MAX && !name.chars().any(|c| c.is_ascii_uppercase() || c.is_control());
        if !fits {
            return Err(Error::new(&NAME, format!("\"{name}\" cannot be a name in the warehouse")));
        }
        Ok(Self(format!("\"{}\"", name.replace('"', "\"\""))))
    }

    /// Quotes a column's name.
    ///
    /// # Errors
    /// [`super::UNFIT_TYPE`] if it is one of Redshift's own columns.
    pub(super) fn column(name: &str) -> Result<Self> {
        if SYSTEM_COLUMNS.contains(&name) {
            return Err(Error::new(&super::UNFIT_TYPE, format!("column \"{name}\" has the name of a system column"))
                .hint("Rename the column in its contract: Redshift keeps this name for itself, quoted or not."));
        }
        Self::new(name)
    }
}

impl fmt::Display for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A table with its schema, or a temporary one without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Relation {
    schema: Option<String>,
    table: String,
    text: String,
}

impl Relation {
    /// A table in a schema.
    pub(super) fn new(schema: &str, table: &str) -> Result<Self> {
        let text = format!("{}.{}", Ident::new(schema)?, Ident::new(table)?);
        Ok(Self { schema: Some(schema.to_owned()), table: table.to_owned(), text })
    }

    /// A temporary table: Redshift allows no schema there, and it hides a permanent one of the same name.
    pub(super) fn temporary(table: &str) -> Result<Self> {
        Ok(Self { schema: None, table: table.to_owned(), text: Ident::new(table)?.to_string() })
    }

    /// The schema's name; empty for temporary tables.
    pub(super) fn schema(&self) -> &str {
        self.schema.as_deref().unwrap_or_default()
    }

    /// The table's name.
    pub(super) fn table(&self) -> &str {
        &self.table
    }

    /// A column of this table, qualified.
    pub(super) fn column(&self, column: &Ident) -> String {
        format!("{self}.{column}")
    }

    /// How people write it.
    pub(super) fn plain(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{schema}.{}", self.table),
            None => self.table.clone(),
        }
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A quoted string literal.
///
/// Whether a backslash stands for itself differs between Redshift's releases and settings, so a text that has one is refused
/// rather than sent in a form that may mean two things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Literal(String);

impl Literal {
    /// Quotes a text.
    ///
    /// # Errors
    /// [`BUG`] for backslashes and control characters. The text is not shown: it may be anything.
    pub(super) fn new(text: &str) -> Result<Self> {
        if text.chars().any(|c| c == '\\' || c.is_control()) {
            return Err(Error::new(&BUG, "a text with a backslash or a control character cannot be sent as a literal"));
        }
        Ok(Self(format!("'{}'", text.replace('\'', "''"))))
    }

    /// Quotes words for people, such as a column's description: what cannot be sent is replaced.
    pub(super) fn of_words(text: &str) -> Self {
        let text: String = text
            .chars()
            .map(|c| {
                if c == '\\' {
                    '/'
                } else if c.is_control() {
                    ' '
                } else {
                    c
                }
            })
            .collect();
        Self(format!("'{}'", text.replace('\'', "''")))
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a statement is for: its name in spans, errors and the comment that leads its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Makes loads wait for each other.
    Lock,
    /// Fails unless the load is the next one.
    Guard,
    /// Makes a temporary table.
    Stage,
    /// Reads the files.
    Copy,
    /// Drops rows that are older than the stored ones.
    DropStale,
    /// Drops rows that are there already.
    DropSame,
    /// Writes the marker.
    Mark,
    /// Removes rows from the table.
    Delete,
    /// Adds rows to the table.
    Insert,
    /// Reads a load's counts.
    Read,
    /// Reads the catalog.
    Catalog,
    /// Makes or changes schemas and tables.
    Define,
    /// Finds out whether something is allowed.
    Probe,
}

impl Purpose {
    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Lock => "lock",
            Self::Guard => "guard",
            Self::Stage => "stage",
            Self::Copy => "copy",
            Self::DropStale => "drop stale",
            Self::DropSame => "drop same",
            Self::Mark => "mark",
            Self::Delete => "delete",
            Self::Insert => "insert",
            Self::Read => "read",
            Self::Catalog => "catalog",
            Self::Define => "define",
            Self::Probe => "probe",
        }
    }
}

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statement {
    /// What it is for.
    pub(super) purpose: Purpose,
    /// Its text, without a semicolon.
    pub(super) text: String,
}

impl Statement {
    /// A statement.
    pub(super) fn new(purpose: Purpose, text: impl Into<String>) -> Self {
        Self { purpose, text: text.into() }
    }

    /// The statement's text behind a comment by which it is found in `sys_query_history`, where the Data API gives no query id.
    pub(super) fn tagged(&self, load: &str) -> String {
        let tag: String = load.chars().map(|c| if c.is_ascii_alphanumeric() || "._/-".contains(c) { c } else { '_' }).collect();
        format!("/* load={tag} step={} */ {}", self.purpose.name().replace(' ', "_"), self.text)
    }
}

/// Texts between commas.
pub(super) fn list<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    joined(items, ", ")
}

/// Texts between separators.
pub(super) fn joined<T: fmt::Display>(items: impl IntoIterator<Item = T>, separator: &str) -> String {
    let mut text = String::new();
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            text.push_str(separator);
        }
        write!(text, "{item}").expect("writing to a string cannot fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_quoted_and_reserved_words_are_usable() {
        for (name, text) in [("orders", "\"orders\""), ("user", "\"user\""), ("a\"b", "\"a\"\"b\""), ("tag", "\"tag\"")] {
            assert_eq!(Ident::new(name).unwrap().to_string(), text);
        }
        for bad in ["", "Orders", "a\nb", &"x".repeat(128)] {
            assert!(Ident::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn system_columns_are_refused_with_a_hint() {
        let error = Ident::column("ctid").unwrap_err();
        assert_eq!(error.code().name, "E-REDSHIFT-TYPE");
        assert!(error.remedy().contains("Rename"));
    }

    #[test]
    fn literals_double_quotes_and_refuse_what_could_mean_two_things() {
        assert_eq!(Literal::new("it's").unwrap().to_string(), "'it''s'");
        assert!(Literal::new("a\\b").is_err());
        assert!(Literal::new("a\0b").is_err());
        assert_eq!(Literal::of_words("a\\'b\nc").to_string(), "'a/''b c'");
    }

    #[test]
    fn a_tag_cannot_end_its_comment() {
        let statement = Statement::new(Purpose::DropSame, "SELECT 1");
        assert_eq!(statement.tagged("shop/a*/ DROP"), "/* load=shop/a_/_DROP step=drop_same */ SELECT 1");
    }

    #[test]
    fn relations_know_both_their_forms() {
        let relation = Relation::new("marts", "order").unwrap();
        assert_eq!(relation.to_string(), "\"marts\".\"order\"");
        assert_eq!(relation.plain(), "marts.order");
        assert_eq!(relation.column(&Ident::new("id").unwrap()), "\"marts\".\"order\".\"id\"");
        assert_eq!(Relation::temporary("pipeline_stage").unwrap().to_string(), "\"pipeline_stage\"");
    }
}
