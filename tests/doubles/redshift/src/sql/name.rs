//! Names: how long they may be, which need quotes, and how they fit PostgreSQL's 63 bytes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;

use sha2::{Digest, Sha256};

use super::error::SqlError;
use super::token::Token;

/// Redshift's longest name; longer ones are cut. Developer guide, "Names and identifiers".
const NAME_BYTES_MAX: usize = 127;
/// PostgreSQL's longest name (NAMEDATALEN - 1).
const POSTGRES_NAME_BYTES_MAX: usize = 63;
/// Of a longer name this much is kept, and a hash added.
const LONG_NAME_KEPT_BYTES: usize = 46;

/// The words that must be quoted to be names. Developer guide, "Reserved words".
const RESERVED: &str = " aes128 aes256 all allowoverwrite analyse analyze and any array as asc authorization az64 backup between binary blanksasnull both \
bytedict bzip2 case cast check collate column constraint create credentials cross current_date current_time current_timestamp current_user current_user_id \
default deferrable deflate defrag delta delta32k desc disable distinct do else emptyasnull enable encode encrypt encryption end except explicit false for \
foreign freeze from full globaldict256 globaldict64k grant group gzip having identity ignore ilike in initially inner intersect interval into is isnull join \
leading left like limit localtime localtimestamp lun luns lzo lzop minus mostly16 mostly32 mostly8 natural new not notnull null nulls off offline offset oid \
old on only open or order outer overlaps parallel partition percent permissions pivot placing primary raw readratio recover references rejectlog resort \
respect restore right select session_user similar snapshot some sysdate system table tag tdes text255 text32k then timestamp to top trailing true \
truncatecolumns union unique unnest unpivot user using verbose wallet when where with without ";

/// Reserved words that queries and changes have no place for: anywhere they stand unquoted, they are meant as names.
const NEVER_SYNTAX: &str = " aes128 aes256 allowoverwrite az64 backup blanksasnull bytedict bzip2 credentials deflate defrag delta delta32k disable emptyasnull \
enable encrypt encryption explicit globaldict256 globaldict64k gzip lun luns lzo lzop mostly16 mostly32 mostly8 offline old permissions readratio recover \
rejectlog resort restore snapshot tag tdes text255 text32k truncatecolumns wallet raw ";

/// PostgreSQL's system columns: no column may be called so.
const SYSTEM_COLUMNS: [&str; 7] = ["oid", "tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"];

pub(crate) fn is_reserved(word: &str) -> bool {
    RESERVED.contains(&format!(" {word} "))
}

pub(crate) fn is_never_syntax(word: &str) -> bool {
    NEVER_SYNTAX.contains(&format!(" {word} "))
}

/// A name that is given here: unquoted reserved words are refused.
pub(crate) fn given(token: &Token) -> Result<String, SqlError> {
    match token {
        Token::Word(word) if is_reserved(word) => Err(SqlError::syntax(word)),
        Token::Word(name) | Token::Quoted(name) => Ok(name.clone()),
        other => Err(SqlError::syntax(other.near())),
    }
}

/// A new column's name: no system column's either.
pub(crate) fn given_column(token: &Token) -> Result<String, SqlError> {
    let name = given(token)?;
    if SYSTEM_COLUMNS.contains(&name.as_str()) {
        return Err(SqlError::new("42701", format!("column name \"{name}\" conflicts with a system column name")));
    }
    Ok(name)
}

/// A table's, view's or other relation's name, perhaps with a schema.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct RelationName {
    pub(crate) schema: Option<String>,
    pub(crate) name: String,
}

impl RelationName {
    /// `#name` tables are temporary.
    pub(crate) fn is_hash(&self) -> bool {
        self.name.starts_with('#')
    }

    /// As PostgreSQL reads it.
    pub(crate) fn sql(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{}.{}", quote(schema), quote(&self.name)),
            None => quote(&self.name),
        }
    }

    /// The name written as a string constant that `regclass` reads.
    pub(crate) fn literal(&self) -> String {
        literal(&self.sql())
    }
}

impl fmt::Display for RelationName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(formatter, "{schema}.{}", self.name),
            None => formatter.write_str(&self.name),
        }
    }
}

/// The names that were shortened for PostgreSQL, by the short form.
static SHORTENED: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());

/// The name PostgreSQL stores: the same, or the beginning and a hash when it would not fit.
pub(crate) fn stored(name: &str) -> String {
    let name = cut(name, NAME_BYTES_MAX);
    if name.len() <= POSTGRES_NAME_BYTES_MAX {
        return name.to_owned();
    }
    let digest = hex::encode(Sha256::digest(name.as_bytes()));
    let short = format!("{}_{}", cut(name, LONG_NAME_KEPT_BYTES), cut(&digest, 16));
    if let Ok(mut shortened) = SHORTENED.lock() {
        shortened.insert(short.clone(), name.to_owned());
    }
    short
}

/// The name that was given, from the one PostgreSQL stores.
pub(crate) fn shown(stored: &str) -> String {
    let known = SHORTENED.lock().ok().and_then(|shortened| shortened.get(stored).cloned());
    known.unwrap_or_else(|| stored.to_owned())
}

/// Every shortened name: stored form, given form.
pub(crate) fn shortened() -> Vec<(String, String)> {
    SHORTENED.lock().map(|shortened| shortened.iter().map(|(short, name)| (short.clone(), name.clone())).collect()).unwrap_or_default()
}

/// Takes over names shortened by an earlier process.
pub(crate) fn remember(short: String, name: String) {
    if let Ok(mut shortened) = SHORTENED.lock() {
        shortened.insert(short, name);
    }
}

/// The longest beginning of at most `bytes_max` bytes that ends between characters.
pub(crate) fn cut(text: &str, bytes_max: usize) -> &str {
    let end =
        text.char_indices().map(|(start, character)| start + character.len_utf8()).take_while(|end| *end <= bytes_max).last().unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

/// A name in double quotes, as PostgreSQL stores it.
pub(crate) fn quote(name: &str) -> String {
    format!("\"{}\"", stored(name).replace('"', "\"\""))
}

/// A string constant, for connections on which a backslash escapes.
pub(crate) fn literal(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_64_to_127_bytes_stay_distinct_and_come_back() {
        let long = "a".repeat(100);
        let other = format!("{}b", "a".repeat(99));
        assert_ne!(stored(&long), stored(&other));
        assert!(stored(&long).len() <= POSTGRES_NAME_BYTES_MAX);
        assert_eq!(shown(&stored(&long)), long);
        assert_eq!(stored(&"x".repeat(200)), stored(&"x".repeat(127)));
    }

    #[test]
    fn reserved_words_need_quotes() {
        assert!(given(&Token::word("tag")).is_err());
        assert_eq!(given(&Token::Quoted("tag".into())).unwrap(), "tag");
        assert!(given(&Token::word("orders")).is_ok());
    }

    #[test]
    fn system_columns_names_are_refused_even_quoted() {
        assert!(given_column(&Token::Quoted("oid".into())).is_err());
        assert!(given_column(&Token::Quoted("ctid".into())).is_err());
    }

    #[test]
    fn literals_double_quotes_and_backslashes() {
        assert_eq!(literal(r"a'b\c"), r"'a''b\\c'");
    }

    #[test]
    fn cuts_fall_between_characters() {
        assert_eq!(cut("żó", 3), "ż");
    }
}
