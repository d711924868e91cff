//! The answers of a data set: what a correct pipeline makes of it.
//!
//! The generator computes `answers.json` from the facts it invents, with code of its own. Here they are compared with what a
//! lake or a warehouse holds. All comparing is of text, so that no rounding hides a cent.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use serde_json::{Map, Value};

use crate::place;
use crate::project::{Project, Row, text_of_value};

/// Differing keys that are listed at most.
const KEYS_SHOWN_MAX: usize = 5;

/// Which columns a mart's `keys` are, in the order of `answers.json`.
const KEY_COLUMNS: &[(&str, &[&str])] = &[
    ("coverage_orders", &["business_date", "resolution", "cell", "currency", "orders"]),
    ("coverage_stores", &["business_date", "store_id", "currency", "orders"]),
    ("segment_birthdays", &["customer_id"]),
];

/// An `answers.json`.
#[derive(Debug, Clone)]
pub struct Answers(Map<String, Value>);

impl Answers {
    /// Those of the fixtures.
    ///
    /// # Panics
    /// If they cannot be read.
    #[must_use]
    pub fn of_fixtures() -> Self {
        Self::read(&place::fixtures().join("answers.json"))
    }

    /// Those in this file.
    ///
    /// # Panics
    /// If they cannot be read.
    #[must_use]
    pub fn read(file: &Path) -> Self {
        let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("\"{}\" could not be read: {error}", file.display()));
        Self(serde_json::from_str(&text).unwrap_or_else(|error| panic!("\"{}\" is not JSON: {error}", file.display())))
    }

    /// "Now" for models.
    ///
    /// # Panics
    /// If the file does not say.
    #[must_use]
    pub fn as_of(&self) -> &str {
        self.0.get("as_of").and_then(Value::as_str).expect("answers say as of when they hold")
    }

    /// The tables that are read, such as `shop.orders`.
    #[must_use]
    pub fn tables(&self) -> Vec<&str> {
        self.section("tables").keys().map(String::as_str).collect()
    }

    /// The marts.
    #[must_use]
    pub fn marts(&self) -> Vec<&str> {
        self.section("marts").keys().map(String::as_str).collect()
    }

    /// The rows of a table or mart.
    ///
    /// # Panics
    /// If the answers do not know it.
    #[must_use]
    pub fn rows(&self, name: &str) -> u64 {
        self.number(name, "rows")
    }

    /// The rows of a table that belong into quarantine.
    ///
    /// # Panics
    /// If the answers do not know it.
    #[must_use]
    pub fn rejected(&self, name: &str) -> u64 {
        self.number(name, "rejected")
    }

    /// The defects that were put in on purpose: objects of `kind`, `table`, `key` and `expect`.
    #[must_use]
    pub fn defects(&self) -> Vec<Map<String, Value>> {
        let list = self.0.get("defects").and_then(Value::as_array).cloned().unwrap_or_default();
        list.into_iter().filter_map(|defect| defect.as_object().cloned()).collect()
    }

    fn section(&self, name: &str) -> &Map<String, Value> {
        self.0.get(name).and_then(Value::as_object).unwrap_or_else(|| panic!("the answers have no \"{name}\""))
    }

    fn number(&self, name: &str, field: &str) -> u64 {
        let entry = self.section("tables").get(name).or_else(|| self.section("marts").get(name));
        entry.and_then(|entry| entry[field].as_u64()).unwrap_or_else(|| panic!("the answers do not know \"{field}\" of \"{name}\""))
    }

    /// Fails unless the lake holds exactly what it should, tables and marts.
    ///
    /// # Panics
    /// With the list of differences.
    pub fn assert_lake(&self, project: &Project) {
        let mut differences = self.differences_of_tables(|sql| project.query(sql));
        differences.extend(self.differences_of_marts(|mart| mart.to_owned(), |sql| project.query(sql)));
        assert!(differences.is_empty(), "the lake differs from the answers:\n{}", differences.join("\n"));
    }

    /// Where the tables read from the sources differ: rows, and sums of columns.
    #[must_use]
    pub fn differences_of_tables(&self, query: impl FnMut(&str) -> Vec<Row>) -> Vec<String> {
        // A field of a struct is written totals['total'] in the lake's SQL.
        let column = |name: &str| name.split_once('.').map_or_else(|| name.to_owned(), |(outer, inner)| format!("{outer}['{inner}']"));
        differences_of_sums(self.section("tables"), str::to_owned, column, query)
    }

    /// Where the marts differ: rows, sums of columns, and keys. `relation` says what a mart is called where the query runs.
    #[must_use]
    pub fn differences_of_marts(&self, relation: impl Fn(&str) -> String, mut query: impl FnMut(&str) -> Vec<Row>) -> Vec<String> {
        let marts = self.section("marts");
        let mut differences = differences_of_sums(marts, &relation, str::to_owned, &mut query);
        for (mart, answer) in marts {
            let expected = answer["keys"].as_array().map(|keys| keys.iter().map(key_text).collect::<BTreeSet<_>>());
            let Some(expected) = expected.filter(|keys| !keys.is_empty()) else { continue };
            let columns = KEY_COLUMNS.iter().find(|(name, _)| name == mart).map(|(_, columns)| *columns);
            let columns = columns.unwrap_or_else(|| panic!("the answers have keys of \"{mart}\", whose columns nobody named"));
            let list: Vec<String> = columns.iter().map(|column| format!("CAST({column} AS VARCHAR) AS {column}")).collect();
            let rows = query(&format!("SELECT {} FROM {}", list.join(", "), relation(mart)));
            let found: BTreeSet<String> =
                rows.iter().map(|row| join(columns.iter().map(|column| row.get(*column).unwrap_or(&Value::Null)))).collect();
            note_keys(&mut differences, mart, "is missing", expected.difference(&found));
            note_keys(&mut differences, mart, "should not be there", found.difference(&expected));
        }
        differences
    }
}

fn note_keys<'a>(differences: &mut Vec<String>, mart: &str, what: &str, keys: impl Iterator<Item = &'a String>) {
    let keys: Vec<&String> = keys.collect();
    differences.extend(keys.iter().take(KEYS_SHOWN_MAX).map(|key| format!("{mart}: ({key}) {what}")));
    if keys.len() > KEYS_SHOWN_MAX {
        differences.push(format!("{mart}: {} more keys of which each {what}", keys.len() - KEYS_SHOWN_MAX));
    }
}

fn join<'a>(values: impl Iterator<Item = &'a Value>) -> String {
    values.map(text_of_value).collect::<Vec<_>>().join(", ")
}

fn key_text(key: &Value) -> String {
    key.as_array().map_or_else(|| text_of_value(key), |parts| join(parts.iter()))
}

/// One query for all: each start of the program and each scan costs time.
fn differences_of_sums(
    section: &Map<String, Value>,
    relation: impl Fn(&str) -> String,
    column: impl Fn(&str) -> String,
    mut query: impl FnMut(&str) -> Vec<Row>,
) -> Vec<String> {
    let mut measures: Vec<(String, String)> = Vec::new();
    let mut selects: Vec<String> = Vec::new();
    for (name, answer) in section {
        let mut list = format!("CAST(count(*) AS VARCHAR) AS m{}", measures.len());
        measures.push((format!("{name}: rows"), text_of_value(&answer["rows"])));
        for (sum, expected) in answer["sums"].as_object().into_iter().flatten() {
            write!(list, ", CAST(sum({}) AS VARCHAR) AS m{}", column(sum), measures.len()).expect("text can always be added to");
            measures.push((format!("{name}: sum of {sum}"), text_of_value(expected)));
        }
        selects.push(format!("(SELECT {list} FROM {}) AS t{}", relation(name), selects.len()));
    }
    let rows = query(&format!("SELECT * FROM {}", selects.join(" CROSS JOIN ")));
    assert_eq!(rows.len(), 1, "counts and sums are one row");
    let found = |index: usize| rows[0].get(&format!("m{index}")).map(text_of_value).unwrap_or_default();
    measures
        .iter()
        .enumerate()
        .map(|(index, (what, expected))| (what, expected, found(index)))
        // The sum of no rows is null, whatever the scale of the zero.
        .filter(|(_, expected, found)| *expected != found && !(found == "null" && is_zero(expected)))
        .map(|(what, expected, found)| format!("{what} should be {expected} and is {found}"))
        .collect()
}

fn is_zero(text: &str) -> bool {
    text.chars().all(|character| matches!(character, '0' | '.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answers() -> Answers {
        let value = json!({
            "as_of": "2025-11-04T06:00:00Z",
            "tables": {"shop.orders": {"rows": 2, "rejected": 1, "sums": {"totals.total": "10.50"}}},
            "marts": {
                "payments": {"rows": 0, "sums": {"amount": "0.00"}},
                "segment_birthdays": {"rows": 2, "sums": {}, "keys": ["a", "b"]},
            },
        });
        Answers(value.as_object().unwrap().clone())
    }

    fn row(value: Value) -> Vec<Row> {
        vec![value.as_object().unwrap().clone()]
    }

    #[test]
    fn equal_tables_have_no_differences_and_others_are_named() {
        let mut asked = String::new();
        let right = answers().differences_of_tables(|sql| {
            asked = sql.to_owned();
            row(json!({"m0": "2", "m1": "10.50"}))
        });
        assert_eq!(right, Vec::<String>::new());
        assert!(asked.contains("sum(totals['total'])"), "{asked}");
        let wrong = answers().differences_of_tables(|_| row(json!({"m0": "2", "m1": "10.5"})));
        assert_eq!(wrong, ["shop.orders: sum of totals.total should be 10.50 and is 10.5"]);
    }

    #[test]
    fn keys_are_compared_both_ways() {
        let differences = answers().differences_of_marts(
            |mart| format!("marts.{mart}"),
            |sql| {
                if sql.contains("CROSS JOIN") {
                    row(json!({"m0": "0", "m1": null, "m2": "2"}))
                } else {
                    assert!(sql.ends_with("FROM marts.segment_birthdays"), "{sql}");
                    [row(json!({"customer_id": "a"})), row(json!({"customer_id": "c"}))].concat()
                }
            },
        );
        assert_eq!(differences, ["segment_birthdays: (b) is missing", "segment_birthdays: (c) should not be there"]);
    }

    #[test]
    fn the_fixtures_have_answers() {
        let answers = Answers::of_fixtures();
        assert!(answers.rows("shop.orders") > 2_000);
        assert!(answers.marts().contains(&"coverage_orders"));
        assert!(!answers.defects().is_empty());
    }
}
