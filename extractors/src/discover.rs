//! What a source holds, and how it could be declared.

use pipeline_core::contract::ColumnType;
use pipeline_core::error::{Code, ErrorKind};

/// A source does not tell.
pub static DISCOVER: Code = Code {
    name: "E-DISCOVER",
    kind: ErrorKind::Usage,
    meaning: "Sources of this kind cannot be looked at for what they hold.",
    remedy: "Declare the tables in pipelines.toml; live PostgreSQL and MongoDB servers can be looked at.",
};

/// The codes of this module.
pub const CODES: &[&Code] = &[&DISCOVER];

/// A table or collection.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Its name in the source: `payments.transactions`, `orders`.
    pub place: String,
    /// The key of a table's section that names it: `relation`, `collection`.
    pub place_key: &'static str,
    /// Rows, as far as the source knows without counting.
    pub rows: Option<u64>,
    /// Bytes that it takes in the source.
    pub bytes: Option<u64>,
    /// Its columns in order.
    pub columns: Vec<FoundColumn>,
    /// What tells rows apart, by the columns' names in the source.
    pub key: Vec<String>,
    /// Columns that no two rows have alike, for each index that sees to it; None where the source cannot tell, as of a view. Then it cannot
    /// tell what is never NULL either.
    pub unique: Option<Vec<Vec<String>>>,
    /// Columns that could tell what changed, the likeliest first.
    pub cursors: Vec<FoundCursor>,
    /// Whether fields can come that were not seen.
    pub is_open: bool,
}

/// A column.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundColumn {
    /// Its name in the source, with dots where it is a part of something.
    pub from: String,
    /// How it could be declared.
    pub data_type: ColumnType,
    /// Whether it can be NULL.
    pub nullable: bool,
    /// Whether it was seen to be NULL or missing, where a sample was looked at.
    pub is_seen_null: bool,
    /// What somebody who reviews it should know.
    pub note: Option<String>,
}

/// A column that could tell what changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundCursor {
    /// Its name in the source.
    pub from: String,
    /// The index that finds its greatest value; None if there is none.
    pub index: Option<String>,
    /// Whether it is the number of a row that is added, which tells nothing of rows that change.
    pub is_number: bool,
}

/// Names that tell when a row changed, the likeliest first, in small letters without anything between.
const USUAL_CURSORS: [&str; 8] = ["updatedat", "modifiedat", "changedat", "lastmodified", "updated", "modified", "createdat", "occurredat"];

/// The place of a name among those that usually tell when a row changed; greater for others.
pub(crate) fn cursor_rank(name: &str) -> usize {
    let plain: String = name.chars().filter(|character| character.is_ascii_alphanumeric()).collect::<String>().to_ascii_lowercase();
    USUAL_CURSORS.iter().position(|usual| *usual == plain).unwrap_or(USUAL_CURSORS.len())
}

/// Whether a column's name says that it tells when a row changed.
#[must_use]
pub fn is_usual_cursor(name: &str) -> bool {
    cursor_rank(name) < USUAL_CURSORS.len()
}

/// Whether a column's name says that it holds something personal: a guess for review, never a decision.
#[must_use]
pub fn looks_personal(name: &str) -> bool {
    const WORDS: [&str; 22] = [
        "email",
        "mail",
        "phone",
        "mobile",
        "firstname",
        "lastname",
        "surname",
        "fullname",
        "birth",
        "street",
        "address",
        "postcode",
        "zip",
        "iban",
        "passport",
        "ssn",
        "ip",
        "cardnumber",
        "pan",
        "lat",
        "lng",
        "notes",
    ];
    let words: Vec<String> = words(name);
    let joined = words.concat();
    WORDS.iter().any(|word| words.iter().any(|part| part == word) || (word.len() > 4 && joined.contains(word)))
}

/// The words of a name, in small letters: `customerEmail`, `customer_email`.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for character in name.chars() {
        if !character.is_alphanumeric() || character.is_uppercase() {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| character.is_alphanumeric()) {
            word.extend(character.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// A name as columns are named: small letters, digits and underscores; None if nothing of it can be kept.
#[must_use]
pub fn column_name(name: &str) -> Option<String> {
    let name = words(name).join("_");
    let is_plain = name.chars().all(|character| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '_');
    (is_plain && name.starts_with(|character: char| character.is_ascii_lowercase())).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn personal_names_are_guessed_and_others_are_not() {
        for name in ["email", "customerEmail", "phone_number", "firstName", "birth_date", "deliveryAddress", "ip", "lat"] {
            assert!(looks_personal(name), "{name}");
        }
        for name in ["amount", "shipped_at", "zone_id", "platform", "translated", "recipe"] {
            assert!(!looks_personal(name), "{name}");
        }
    }

    #[test]
    fn names_become_columns() {
        assert_eq!(column_name("placedAt").as_deref(), Some("placed_at"));
        assert_eq!(column_name("No").as_deref(), Some("no"));
        assert_eq!(column_name("_id").as_deref(), Some("id"));
        assert_eq!((column_name("kwota_ł"), column_name("1st"), column_name("$")), (None, None, None));
        assert!(cursor_rank("updatedAt") < cursor_rank("created_at") && cursor_rank("created_at") < cursor_rank("birthday"));
    }
}
