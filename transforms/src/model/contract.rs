//! The contract beside a statement: `NAME.toml`.
//!
//! ```toml
//! description = "Orders, typed and with their money settled"
//! grain = "one row per order"
//! key = ["order_id"]
//! materialization = "full"             # or incremental, with a section [incremental], or view
//!
//! [publication]
//! of = "coverage_orders"               # destinations have this model in the place of that one, under its name
//!
//! [redshift]
//! distribution = "key:order_id"        # or all, even, auto
//! sort = ["business_date", "store_id"]
//!
//! [columns.order_id]
//! type = "text(24)"
//! not_null = true                      # goes without saying for the key's columns
//! unit = "minutes"
//! description = "…"
//!
//! [[tests]]
//! kind = "accepted_values"             # see [`super::data_test`]
//! column = "status"
//! values = ["delivered", "cancelled"]
//! severity = "warn"                    # error if not given
//! ```
//! The key is always tested to be unique, and `not_null` columns to have no NULL: no `[[tests]]` is needed for these.

use std::collections::BTreeMap;
use std::path::Path;

use pipeline_core::contract::{Column, ColumnType, Contract, Privacy};
use pipeline_core::error::{Error, Result};
use pipeline_core::load::{Distribution, Layout};
use pipeline_core::name::{ColumnName, TableName};
use serde::Deserialize;

use super::data_test::{DataTest, DeclaredTest};
use super::incremental::{Declared, Incremental};
use super::position;
use crate::errors::MODEL_FILE;

pub(super) struct ModelContract {
    pub(super) contract: Contract,
    pub(super) grain: String,
    pub(super) units: BTreeMap<String, String>,
    pub(super) layout: Layout,
    pub(super) tests: Vec<DataTest>,
    pub(super) incremental: Option<Incremental>,
    pub(super) published_form_of: Option<TableName>,
    pub(super) is_view: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    description: String,
    grain: String,
    key: Vec<String>,
    materialization: Materialization,
    incremental: Option<Declared>,
    publication: Option<Publication>,
    #[serde(default)]
    redshift: Warehouse,
    columns: toml::Table,
    #[serde(default)]
    tests: Vec<DeclaredTest>,
}

/// How a model is made. A contract names one so that none is ever implied.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Materialization {
    /// Computed whole each time; what differs from the table as it stands is what moves on.
    Full,
    /// Computed for the units that changed rows touch; the result is the same.
    Incremental,
    /// Not stored: the statement stands in the place of its name wherever that is read.
    View,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Publication {
    of: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Warehouse {
    distribution: Option<String>,
    sort: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeclaredColumn {
    #[serde(rename = "type")]
    data_type: ColumnType,
    #[serde(default)]
    not_null: bool,
    unit: Option<String>,
    description: String,
}

impl ModelContract {
    pub(super) fn parse(table: &TableName, text: &str, path: &Path) -> Result<Self> {
        let what = format!("contract of model \"{table}\" cannot be used");
        let wrong = |at: Option<std::ops::Range<usize>>, cause: &str| {
            let place = match at {
                Some(at) => {
                    let (line, column) = position(text, at.start);
                    format!("file \"{}\", line {line}, column {column}", path.display())
                }
                None => format!("file \"{}\"", path.display()),
            };
            Error::new(&MODEL_FILE, &what).caused_by(place).caused_by(cause)
        };
        let file: File = toml::from_str(text).map_err(|error| wrong(error.span(), error.message()))?;
        Self::build(table, file).map_err(|problem| match problem {
            Problem::Text(cause, near) => wrong(near.and_then(|near| find(text, &near)), &cause),
            Problem::Error(error) => error.context(format!("file \"{}\"", path.display())).context(&what),
        })
    }

    fn build(table: &TableName, file: File) -> Result<Self, Problem> {
        let key = names(&file.key)?;
        let mut columns = Vec::with_capacity(file.columns.len());
        let mut units = BTreeMap::new();
        for (name, declaration) in file.columns {
            let declared: DeclaredColumn = declaration.try_into().map_err(|error: toml::de::Error| {
                Problem::Text(format!("column \"{name}\": {}", error.message()), Some(format!("[columns.{name}]")))
            })?;
            let name = ColumnName::new(&name)?;
            if let Some(unit) = declared.unit {
                units.insert(name.to_string(), unit);
            }
            columns.push(Column {
                from: name.to_string(),
                nullable: !declared.not_null && !key.contains(&name),
                name,
                data_type: declared.data_type,
                privacy: Privacy::None,
                only: None,
                description: declared.description,
            });
        }
        let contract = Contract { table: table.clone(), columns, key, cursor: None, description: file.description };
        contract.check()?;
        if contract.key.is_empty() {
            return Err(Problem::Text("a model needs a key: what identifies a row".to_owned(), Some("key".to_owned())));
        }
        let layout = layout(&contract, file.redshift)?;
        let tests = file.tests.into_iter().map(|test| DataTest::build(&contract, test)).collect::<Result<_, _>>()?;
        let near = |what: &str| Some(what.to_owned());
        let is_view = file.materialization == Materialization::View;
        let incremental = match (file.materialization, file.incremental) {
            (Materialization::Full | Materialization::View, None) => None,
            (Materialization::Incremental, Some(declared)) => {
                let built = Incremental::build(&contract, declared).map_err(|problem| Problem::Text(problem, near("[incremental]")))?;
                Some(built)
            }
            (Materialization::Full | Materialization::View, Some(_)) => {
                let kind = if is_view { "view" } else { "full" };
                let problem = format!("[incremental] is there, but materialization is \"{kind}\"");
                return Err(Problem::Text(problem, near("[incremental]")));
            }
            (Materialization::Incremental, None) => {
                let problem = "materialization is \"incremental\", but there is no section [incremental]".to_owned();
                return Err(Problem::Text(problem, near("materialization")));
            }
        };
        let published_form_of = file.publication.map(|publication| TableName::model(&publication.of)).transpose()?;
        Ok(Self { contract, grain: file.grain, units, layout, tests, incremental, published_form_of, is_view })
    }
}

pub(super) enum Problem {
    /// What is wrong, and a text of the file that it stands near.
    Text(String, Option<String>),
    Error(Error),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

fn find(text: &str, near: &str) -> Option<std::ops::Range<usize>> {
    text.find(near).map(|start| start..start + near.len())
}

fn names(texts: &[String]) -> Result<Vec<ColumnName>> {
    texts.iter().map(|text| ColumnName::new(text)).collect()
}

pub(super) fn existing(contract: &Contract, what: &str, name: &str) -> Result<ColumnName, Problem> {
    let name = ColumnName::new(name)?;
    match contract.column(&name) {
        Some(_) => Ok(name),
        None => Err(Problem::Text(format!("{what} names column \"{name}\", which is not declared"), None)),
    }
}

fn layout(contract: &Contract, declared: Warehouse) -> Result<Layout, Problem> {
    let distribution = match declared.distribution.as_deref() {
        None | Some("auto") => Distribution::Auto,
        Some("even") => Distribution::Even,
        Some("all") => Distribution::All,
        Some(text) => match text.strip_prefix("key:") {
            Some(column) => Distribution::Key(existing(contract, "distribution", column)?),
            None => {
                let problem = format!("distribution \"{text}\" is not auto, even, all or key:COLUMN");
                return Err(Problem::Text(problem, Some("distribution".to_owned())));
            }
        },
    };
    let sort = declared.sort.iter().map(|column| existing(contract, "sort", column)).collect::<Result<_, _>>()?;
    Ok(Layout { distribution, sort })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::data_test::{Measure, Severity, TestKind};
    use crate::model::incremental::Rows;

    const GOOD: &str = r#"
description = "Orders"
grain = "one row per order"
key = ["order_id"]
materialization = "full"
[redshift]
distribution = "key:order_id"
sort = ["total"]
[columns.order_id]
type = "text(24)"
description = "Identity"
[columns.total]
type = "decimal(18,2)"
not_null = true
unit = "money"
description = "Total"
[columns.status]
type = "text(16)"
description = "Status"
[[tests]]
kind = "accepted_values"
column = "status"
values = ["it's", 2]
severity = "warn"
[[tests]]
kind = "relationship"
column = "status"
to = "shop.states.name"
"#;

    #[test]
    fn units_are_declared_for_what_is_read() {
        let section = r#"materialization = "incremental"
[incremental]
by = ["order_id"]
[incremental.inputs."shop.orders"]
units = { order_id = "lower(id)" }
[incremental.inputs."shop.states"]
units = "SELECT order_id FROM previous.orders JOIN changed.rows AS c USING (status)"
rows = "all"
"#;
        let text = GOOD.replace("materialization = \"full\"\n", section);
        let incremental = parse(&text).unwrap().incremental.unwrap();
        let order_id = ColumnName::new("order_id").unwrap();
        assert_eq!(incremental.by, std::slice::from_ref(&order_id));
        assert_eq!(incremental.inputs[0].units, "SELECT lower(id) AS \"order_id\" FROM changed.rows");
        assert_eq!(incremental.inputs[0].rows, Rows::Matching(vec![(order_id, "lower(id)".to_owned())]));
        assert_eq!(incremental.inputs[1].rows, Rows::All);
        for (from, to, words) in [
            ("by = [\"order_id\"]", "by = [\"status\"]", "no column of the key"),
            ("by = [\"order_id\"]", "by = []", "no column"),
            ("{ order_id = \"lower(id)\" }", "{ status = \"status\" }", "not in `by`"),
            ("{ order_id = \"lower(id)\" }", "{ }", "no expression"),
            ("{ order_id = \"lower(id)\" }", "3", "expected a query"),
            ("rows = \"all\"", "", "needs `rows`"),
        ] {
            let changed = text.replace(from, to);
            assert_ne!(changed, text, "{from}");
            let Err(error) = parse(&changed) else { panic!("{to} was accepted") };
            assert!(format!("{error:?}").contains(words), "{to}: {error:?}");
        }
    }

    fn parse(text: &str) -> Result<ModelContract> {
        ModelContract::parse(&TableName::model("orders").unwrap(), text, Path::new("sql/orders.toml"))
    }

    #[test]
    fn a_contract_with_everything() {
        let contract = parse(GOOD).unwrap();
        let columns: Vec<(&str, bool)> = contract.contract.columns.iter().map(|c| (c.name.as_str(), c.nullable)).collect();
        assert_eq!(columns, [("order_id", false), ("total", false), ("status", true)]);
        assert_eq!(contract.layout.distribution, Distribution::Key(ColumnName::new("order_id").unwrap()));
        assert_eq!(contract.units["total"], "money");
        assert_eq!(contract.tests[0].name, "accepted_values(status)");
        let values = vec!["'it''s'".to_owned(), "2".to_owned()];
        assert_eq!(contract.tests[0].kind, TestKind::AcceptedValues { column: ColumnName::new("status").unwrap(), values });
        assert_eq!(contract.tests[0].severity, Severity::Warn);
        assert_eq!(contract.tests[1].name, "relationship(status, shop.states.name)");
    }

    #[test]
    fn tests_against_time_and_former_runs_say_what_they_need() {
        let tests = r#"
[columns.placed_at]
type = "timestamp"
description = "When"
[[tests]]
kind = "freshness"
column = "placed_at"
max_age = "36h"
[[tests]]
kind = "row_count"
severity = "warn"
[[tests]]
kind = "distribution"
column = "total"
measure = "mean"
deviations = 8
"#;
        let text = format!("{GOOD}{tests}");
        let found = parse(&text).unwrap().tests.split_off(2);
        let names: Vec<&str> = found.iter().map(|test| test.name.as_str()).collect();
        assert_eq!(names, ["freshness(placed_at)", "row_count", "distribution(total, mean)"]);
        let column = |name: &str| ColumnName::new(name).unwrap();
        assert_eq!(found[0].kind, TestKind::Freshness { column: column("placed_at"), max_age_us: 36 * 3_600_000_000 });
        assert_eq!(found[1].kind, TestKind::RowCount { deviations: 5.0 });
        assert_eq!(found[2].kind, TestKind::Distribution { column: column("total"), measure: Measure::Mean, deviations: 8.0 });
        for (from, to, words) in [
            ("max_age = \"36h\"", "", "needs `max_age`"),
            ("max_age = \"36h\"", "max_age = \"soon\"", "not a duration"),
            ("column = \"placed_at\"", "column = \"total\"", "decimal(18,2)"),
            ("column = \"total\"\nmeasure", "column = \"status\"\nmeasure", "no numbers"),
            ("measure = \"mean\"", "", "needs `measure`"),
            ("measure = \"mean\"", "measure = \"spread\"", "spread"),
            ("deviations = 8", "deviations = 0", "`deviations`"),
        ] {
            let changed = text.replace(from, to);
            assert_ne!(changed, text, "{from}");
            let Err(error) = parse(&changed) else { panic!("{to} was accepted") };
            assert!(format!("{error:?}").contains(words), "{to}: {error:?}");
        }
    }

    #[test]
    fn mistakes_are_shown_with_their_place() {
        for (from, to, words) in [
            ("decimal(18,2)", "decimal(99,2)", "\"total\""),
            ("description = \"Identity\"", "descr = \"Identity\"", "descr"),
            ("grain = \"one row per order\"", "grain = 3", "line 3, column 9"),
            ("key = [\"order_id\"]", "key = [\"id\"]", "\"id\""),
            ("key = [\"order_id\"]", "key = []", "needs a key"),
            ("key:order_id", "everywhere", "everywhere"),
            ("sort = [\"total\"]", "sort = [\"sum\"]", "\"sum\""),
            ("accepted_values", "expected_values", "no kind of test"),
            ("values = [\"it's\", 2]", "", "needs `values`"),
            ("materialization = \"full\"", "materialization = \"daily\"", "daily"),
            ("[columns.total]\ntype", "[columns.total]\nkind", "line 12, column 1"),
            ("materialization = \"full\"", "materialization = \"incremental\"", "no section [incremental]"),
            ("[redshift]", "[incremental]\nby = [\"order_id\"]\ninputs = {}\n[redshift]", "materialization is \"full\""),
        ] {
            let text = GOOD.replace(from, to);
            assert_ne!(text, GOOD, "{from}");
            let Err(error) = parse(&text) else { panic!("{to} was accepted") };
            assert!(format!("{error:?}").contains(words), "{to}: {error:?}");
            assert!(format!("{error:?}").contains("sql/orders.toml"), "{error:?}");
        }
    }
}
