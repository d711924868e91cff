//! What belongs to a data set beside its rows: `answers.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The exact results a correct pipeline gets from the data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers {
    /// The instant the marts are made for (RFC 3339, UTC): 06:00 UTC on the day after the last business date, and one day later when
    /// changes were made. Everything in the data set happened before it.
    pub as_of: String,
    /// The options the data set was generated with.
    pub options: BTreeMap<String, Value>,
    /// What the sources deliver after duplicates and quarantined rows are taken out, by the name models read them by
    /// (`shop.orders`, `platform.transactions`, …).
    pub tables: BTreeMap<String, SourceTable>,
    /// What the marts hold.
    pub marts: BTreeMap<String, Figures>,
    /// What was put in on purpose. At most 1,000 of each kind are listed; `defect_counts` has them all.
    pub defects: Vec<SeededDefect>,
    /// How many there are of each kind.
    pub defect_counts: BTreeMap<String, u64>,
}

/// Figures of a source table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceTable {
    /// Rows delivered.
    pub rows: u64,
    /// Rows that do not fit their declared types and go to quarantine.
    pub rejected: u64,
    /// Rows of the dump that are older or equal states of another one. The dump holds `rows + rejected + duplicates`.
    pub duplicates: u64,
    /// Sums by column, as plain decimals with the column's scale. Columns inside a struct are written with a dot.
    pub sums: BTreeMap<String, String>,
}

/// Figures of a mart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Rows.
    pub rows: u64,
    /// Sums of every count and every decimal column, as plain decimals with the column's scale.
    pub sums: BTreeMap<String, String>,
    /// For `segment_birthdays` the customers' ids, sorted; for `coverage_orders` rows of business date, resolution, cell, currency and
    /// orders; for `coverage_stores` rows of business date, store, currency and orders; both sorted, and left out beyond 200,000 rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<Vec<Value>>,
}

/// One thing that was put in on purpose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeededDefect {
    /// What kind of defect.
    pub kind: String,
    /// The source table it shows in, by the name models read it by.
    pub table: String,
    /// The order's id (24 hexadecimal digits).
    pub key: String,
    /// What a correct reader makes of it.
    pub expect: String,
}
