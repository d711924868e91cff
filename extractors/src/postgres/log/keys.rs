//! Statements that read rows by their keys.

use pipeline_core::contract::Contract;

use super::super::catalog::{Column, Relation};
use super::super::copy::SourceColumn;
use super::super::statement::{identifier, literal, selection};
use super::scan::Key;

/// How a table's rows are asked for by key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ByKey {
    /// The relation's name in SQL.
    relation: String,
    /// What is selected of rows that are there.
    list: String,
    /// What is selected of the keys of rows that are not.
    key_list: String,
    /// The key's columns in SQL, with their types.
    key: Vec<(String, String)>,
}

impl ByKey {
    /// Statements for a relation; the second value is what the keys of missing rows arrive as, in the form of `key_contract`.
    pub(super) fn new(
        relation: &Relation,
        columns: &[Column],
        list: &str,
        key_contract: &Contract,
        key: &[String],
        types: &[String],
    ) -> (Self, Vec<SourceColumn>) {
        let selected = selection(key_contract, columns);
        let by_key = Self {
            relation: relation.name.clone(),
            list: list.to_owned(),
            key_list: selected.list,
            key: key.iter().map(|name| identifier(name)).zip(types.iter().cloned()).collect(),
        };
        (by_key, selected.columns)
    }

    /// The rows of some keys that are there. Each once.
    pub(super) fn present(&self, keys: &[Key]) -> String {
        let names: Vec<&str> = self.key.iter().map(|(name, _)| name.as_str()).collect();
        format!("SELECT {} FROM {} WHERE ({}) IN (SELECT * FROM {})", self.list, self.relation, names.join(", "), self.unnested(keys))
    }

    /// The keys among some that have no row. Each once.
    pub(super) fn absent(&self, keys: &[Key]) -> String {
        let names: Vec<&str> = self.key.iter().map(|(name, _)| name.as_str()).collect();
        let same: Vec<String> = names.iter().map(|name| format!("present.{name} = changed.{name}")).collect();
        format!(
            "SELECT DISTINCT {} FROM {} AS changed ({}) WHERE NOT EXISTS (SELECT FROM {} AS present WHERE {})",
            self.key_list,
            self.unnested(keys),
            names.join(", "),
            self.relation,
            same.join(" AND ")
        )
    }

    /// [`Self::present`] for people, without values.
    pub(super) fn shown(&self) -> String {
        let names: Vec<&str> = self.key.iter().map(|(name, _)| name.as_str()).collect();
        format!("SELECT {} FROM {} WHERE ({}) IN (…)", self.list, self.relation, names.join(", "))
    }

    fn unnested(&self, keys: &[Key]) -> String {
        let arrays: Vec<String> = self
            .key
            .iter()
            .enumerate()
            .map(|(place, (_, type_))| {
                let values: Vec<String> = keys.iter().map(|key| element(key.get(place).map_or("", |value| value))).collect();
                format!("{}::{type_}[]", literal(&format!("{{{}}}", values.join(","))))
            })
            .collect();
        format!("unnest({})", arrays.join(", "))
    }
}

/// A value within the text of an array (PostgreSQL 15 documentation, 8.15.6).
fn element(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(values: &[&str]) -> Key {
        values.iter().map(|value| Box::from(*value)).collect()
    }

    #[test]
    fn keys_are_quoted_twice() {
        let by_key = ByKey {
            relation: "\"public\".\"t\"".to_owned(),
            list: "\"id\", \"note\"".to_owned(),
            key_list: "\"id\", \"Code\"".to_owned(),
            key: vec![("\"id\"".to_owned(), "bigint".to_owned()), ("\"Code\"".to_owned(), "character varying(9)".to_owned())],
        };
        let keys = [key(&["1", "it's"]), key(&["-2", "a\\\"b,{}"])];
        let unnested = r#"unnest('{"1","-2"}'::bigint[], '{"it''s","a\\\"b,{}"}'::character varying(9)[])"#;
        assert_eq!(
            by_key.present(&keys),
            format!("SELECT \"id\", \"note\" FROM \"public\".\"t\" WHERE (\"id\", \"Code\") IN (SELECT * FROM {unnested})")
        );
        assert!(
            by_key.absent(&keys).starts_with(&format!("SELECT DISTINCT \"id\", \"Code\" FROM {unnested} AS changed (\"id\", \"Code\")"))
        );
        assert!(!by_key.shown().contains("it"));
    }
}
