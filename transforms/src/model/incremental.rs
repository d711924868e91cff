//! How an incremental model is kept up to date: the section `[incremental]` of its contract.
//!
//! ```toml
//! materialization = "incremental"
//!
//! [incremental]
//! by = ["order_id"]                          # a unit: result rows with the same values, computed anew together
//!
//! [incremental.inputs."shop.orders"]         # one for each table that the statement reads
//! units = { order_id = "order_id" }          # the unit that a row belongs to: an expression for each column of `by`
//!
//! [incremental.inputs."platform.stores"]
//! units = "SELECT o.order_id FROM shop.orders AS o JOIN changed.rows AS s ON o.store_id = s.id"
//! rows = "all"                               # what the statement is shown of it: all rows
//! ```
//! `units` may be a query that gives the units touched by `changed.rows`: those rows of the input that differ, as they were and as they are. It may read
//! the model's inputs as they are now and, as `previous.NAME`, its result as it stands. `rows` are those that a unit is computed from: `"all"`, expressions as
//! in `units` for some or all columns of `by`, or a query that may read `changed.units`; left out, they follow from the expressions in `units`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use pipeline_core::contract::Contract;
use pipeline_core::error::{Error, Result};
use pipeline_core::name::{ColumnName, TableName};
use serde::Deserialize;

use super::PREVIOUS;
use super::rules::SEGMENTS;
use super::statement::Statement;
use crate::errors::{MODEL_FILE, MODEL_INPUT};

/// The schema of what only the queries of `[incremental]` see.
pub const CHANGED: &str = "changed";

/// Rows of an input that differ, as they were and as they are: `changed.rows`.
pub const CHANGED_ROWS: &str = "rows";

/// The units that are computed anew: `changed.units`.
pub const CHANGED_UNITS: &str = "units";

/// What is computed anew when inputs change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incremental {
    /// The columns that tell units from each other; all are of the key, so that none is ever NULL.
    pub by: Vec<ColumnName>,
    /// Every input, in the order of their names.
    pub inputs: Vec<Dependence>,
}

/// What one input means for the units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependence {
    /// The input.
    pub table: TableName,
    /// A query that gives the units that changed rows of it touch, in the columns of `by`.
    pub units: String,
    /// What the statement needs to see of it.
    pub rows: Rows,
}

/// Rows of an input that units are computed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rows {
    /// All of them.
    All,
    /// Those for which these expressions give the values of a unit in these columns.
    Matching(Vec<(ColumnName, String)>),
    /// Those that a query gives.
    Query(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Declared {
    by: Vec<String>,
    inputs: BTreeMap<String, DeclaredInput>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeclaredInput {
    units: Expressions,
    rows: Option<Expressions>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a query, or an expression for each column of `by`")]
enum Expressions {
    Query(String),
    Each(BTreeMap<String, String>),
}

impl Incremental {
    pub(super) fn build(contract: &Contract, declared: Declared) -> Result<Self, String> {
        let name = |name: &str| ColumnName::new(name).map_err(|error| error.message().to_owned());
        let by = declared.by.iter().map(|column| name(column)).collect::<Result<Vec<_>, _>>()?;
        if by.is_empty() {
            return Err("`by` of [incremental] names no column".to_owned());
        }
        if let Some(column) = by.iter().find(|column| !contract.key.contains(column)) {
            return Err(format!("`by` of [incremental] names \"{column}\", which is no column of the key"));
        }
        let mut inputs = Vec::with_capacity(declared.inputs.len());
        for (table, input) in declared.inputs {
            let table: TableName = table.parse().map_err(|error: Error| error.message().to_owned())?;
            let (units, same_rows) = match input.units {
                Expressions::Query(query) => (query, None),
                Expressions::Each(each) => {
                    let each = matching(&by, &table, each)?;
                    if let Some(column) = by.iter().find(|column| each.iter().all(|(name, _)| name != *column)) {
                        return Err(format!("`units` of \"{table}\" says nothing of \"{column}\""));
                    }
                    let each_as: Vec<String> = each.iter().map(|(name, expression)| format!("{expression} AS \"{name}\"")).collect();
                    (format!("SELECT {} FROM {CHANGED}.{CHANGED_ROWS}", each_as.join(", ")), Some(each))
                }
            };
            let rows = match (input.rows, same_rows) {
                (Some(Expressions::Query(all)), _) if all == "all" => Rows::All,
                (Some(Expressions::Query(query)), _) => Rows::Query(query),
                (Some(Expressions::Each(each)), _) => Rows::Matching(matching(&by, &table, each)?),
                (None, Some(same)) => Rows::Matching(same),
                (None, None) => return Err(format!("\"{table}\" needs `rows`: \"all\", expressions, or a query")),
            };
            inputs.push(Dependence { table, units, rows });
        }
        Ok(Self { by, inputs })
    }

    /// Checks the queries against what the statement reads, and takes up the parameters that they ask for.
    pub(super) fn check(&self, table: &TableName, statement: &mut Statement, file: &Path) -> Result<()> {
        let refuse = |cause: String| {
            Err(Error::new(&MODEL_FILE, format!("model \"{table}\" cannot be incremental"))
                .caused_by(format!("file \"{}\"", file.display()))
                .caused_by(cause))
        };
        if statement.uses_as_of {
            return refuse("its statement calls as_of(), so that its rows change by themselves".to_owned());
        }
        if statement.reads.iter().any(|read| read.schema() == PREVIOUS) {
            return refuse("its statement reads its own former result".to_owned());
        }
        if statement.reads.iter().any(|read| read.schema() == SEGMENTS) {
            return refuse("its statement reads the rules of segments, which read other models".to_owned());
        }
        let reads: BTreeSet<&TableName> = statement.reads.iter().collect();
        let declared: BTreeSet<&TableName> = self.inputs.iter().map(|input| &input.table).collect();
        if let Some(missing) = reads.difference(&declared).next() {
            return refuse(format!("[incremental] says nothing of \"{missing}\", which the statement reads"));
        }
        if let Some(unknown) = declared.difference(&reads).next() {
            return refuse(format!("[incremental] names \"{unknown}\", which the statement does not read"));
        }
        let mut asked = Vec::new();
        for input in &self.inputs {
            let rows = match &input.rows {
                Rows::All => None,
                Rows::Matching(each) => {
                    let each: Vec<&str> = each.iter().map(|(_, expression)| expression.as_str()).collect();
                    Some(format!("SELECT {} FROM {}.{}", each.join(", "), input.table.schema(), input.table.table()))
                }
                Rows::Query(query) => Some(query.clone()),
            };
            for (query, own) in
                std::iter::once((input.units.as_str(), CHANGED_ROWS)).chain(rows.as_deref().map(|rows| (rows, CHANGED_UNITS)))
            {
                let parsed = Statement::parse(query, file)?;
                if parsed.uses_as_of {
                    return refuse(format!("a query for \"{}\" calls as_of()", input.table));
                }
                let is_known = |read: &TableName| {
                    reads.contains(read)
                        || (read.schema() == PREVIOUS && read.table() == table.table())
                        || (read.schema() == CHANGED && read.table() == own)
                };
                if let Some(unknown) = parsed.reads.iter().find(|read| !is_known(read)) {
                    return Err(Error::new(
                        &MODEL_INPUT,
                        format!("a query of model \"{table}\" for \"{}\" reads \"{unknown}\"", input.table),
                    )
                    .caused_by(format!("file \"{}\"", file.display()))
                    .hint(format!("It may read what the statement reads, {PREVIOUS}.{} and {CHANGED}.{own}.", table.table())));
                }
                asked.push(parsed);
            }
        }
        for parsed in asked {
            statement.parameters.extend(parsed.parameters);
            statement.uses_key |= parsed.uses_key;
        }
        Ok(())
    }
}

/// The expressions in the order of `by`.
fn matching(by: &[ColumnName], table: &TableName, each: BTreeMap<String, String>) -> Result<Vec<(ColumnName, String)>, String> {
    if let Some(name) = each.keys().find(|name| by.iter().all(|column| column.as_str() != *name)) {
        return Err(format!("\"{table}\" has an expression for \"{name}\", which is not in `by`"));
    }
    if each.is_empty() {
        return Err(format!("\"{table}\" has no expression for any column of `by`"));
    }
    Ok(by.iter().filter_map(|column| Some((column.clone(), each.get(column.as_str())?.clone()))).collect())
}
