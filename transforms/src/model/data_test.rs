//! Data tests: the entries `[[tests]]` of a contract.
//!
//! | kind | needs | passes if |
//! |---|---|---|
//! | `unique` | `columns` | no two rows have the same values |
//! | `not_null` | `column` | it has no NULL |
//! | `accepted_values` | `column`, `values` | it has no other value |
//! | `range` | `column`, `min` or `max` | its values lie between them |
//! | `relationship` | `column`, `to` | its values are also there |
//! | `no_rows` | `name`, `sql` | the query gives no row |
//! | `freshness` | `column`, `max_age` | its newest value is at most so old |
//! | `row_count` | | there are as many rows as former runs let expect |
//! | `distribution` | `column`, `measure` | the measure is what former runs let expect |

use pipeline_core::contract::{ColumnType, Contract};
use pipeline_core::name::{ColumnName, TableName};
use pipeline_core::window::parse_duration_us;
use serde::Deserialize;

use super::contract::{Problem, existing};

/// Every kind, as messages list them.
const KINDS: &str = "unique, not_null, accepted_values, range, relationship, no_rows, freshness, row_count, distribution";

/// How many deviations from what was expected are too many, if a test does not say.
const DEVIATIONS: f64 = 5.0;

/// What a data test does when rows fail it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The result is not published.
    #[default]
    Error,
    /// The run says so and goes on.
    Warn,
}

impl Severity {
    /// Its name in contracts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
        }
    }
}

/// A condition on a model's result.
#[derive(Debug, Clone, PartialEq)]
pub struct DataTest {
    /// Its name in messages, such as `accepted_values(status)`.
    pub name: String,
    /// What it asks.
    pub kind: TestKind,
    /// What failing it does.
    pub severity: Severity,
}

/// What a data test asks. NULL passes all of them that are about single values, but `NotNull`.
#[derive(Debug, Clone, PartialEq)]
pub enum TestKind {
    /// No two rows have the same values in these columns.
    Unique {
        /// The columns.
        columns: Vec<ColumnName>,
    },
    /// The column has no NULL.
    NotNull {
        /// The column.
        column: ColumnName,
    },
    /// The column has only these values.
    AcceptedValues {
        /// The column.
        column: ColumnName,
        /// The values, as SQL literals.
        values: Vec<String>,
    },
    /// The column's values lie between two, both included.
    Range {
        /// The column.
        column: ColumnName,
        /// The least, as an SQL literal.
        min: Option<String>,
        /// The greatest, as an SQL literal.
        max: Option<String>,
    },
    /// Each value is also in a column of another table.
    Relationship {
        /// The column.
        column: ColumnName,
        /// The other table, which the model must read.
        to_table: TableName,
        /// Its column.
        to_column: ColumnName,
    },
    /// A query over the result gives no rows.
    NoRows {
        /// The query; it names the result as the model.
        sql: String,
    },
    /// The newest value lies at most so far before the run's now. A date lasts until its end, in UTC.
    Freshness {
        /// The column: dates or instants.
        column: ColumnName,
        /// How far, in microseconds.
        max_age_us: i64,
    },
    /// The table has as many rows as former runs let expect.
    RowCount {
        /// How many deviations from that are too many.
        deviations: f64,
    },
    /// A column measures what former runs let expect.
    Distribution {
        /// The column.
        column: ColumnName,
        /// What is measured of it.
        measure: Measure,
        /// How many deviations from that are too many.
        deviations: f64,
    },
}

/// What is measured of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// The mean of its values; of truth values, the share of those that are true.
    Mean,
    /// The share of rows that have NULL.
    NullShare,
    /// How many different values there are, as a share of all values.
    DistinctShare,
}

impl Measure {
    /// Its name in contracts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::NullShare => "null_share",
            Self::DistinctShare => "distinct_share",
        }
    }

    /// Its name in sentences.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::NullShare => "share of NULL",
            Self::DistinctShare => "share of different values",
        }
    }

    /// Whether it can be taken of a column of this type.
    fn is_of(self, data_type: &ColumnType) -> bool {
        use ColumnType::{Boolean, Decimal, Float32, Float64, Int16, Int32, Int64, List, Struct};
        match self {
            Self::Mean => matches!(data_type, Boolean | Int16 | Int32 | Int64 | Float32 | Float64 | Decimal { .. }),
            Self::NullShare => true,
            Self::DistinctShare => !matches!(data_type, List(_) | Struct(_)),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeclaredTest {
    kind: String,
    name: Option<String>,
    #[serde(default)]
    severity: Severity,
    column: Option<String>,
    columns: Option<Vec<String>>,
    values: Option<Vec<toml::Value>>,
    min: Option<toml::Value>,
    max: Option<toml::Value>,
    to: Option<String>,
    sql: Option<String>,
    max_age: Option<String>,
    measure: Option<Measure>,
    deviations: Option<f64>,
}

impl DataTest {
    pub(super) fn build(contract: &Contract, declared: DeclaredTest) -> Result<Self, Problem> {
        let kind_name = declared.kind;
        let wrong = |what: String| Problem::Text(what, Some("[[tests]]".to_owned()));
        let lacks = |what: &str| wrong(format!("a test of kind \"{kind_name}\" needs `{what}`"));
        let column = |column: Option<String>| existing(contract, "a test", &column.ok_or_else(|| lacks("column"))?);
        let deviations = declared.deviations.unwrap_or(DEVIATIONS);
        if !deviations.is_finite() || deviations <= 0.0 {
            return Err(wrong("`deviations` of a test is not above zero".to_owned()));
        }
        let (about, kind) = match kind_name.as_str() {
            "unique" => {
                let columns = declared.columns.or(declared.column.map(|column| vec![column])).ok_or_else(|| lacks("columns"))?;
                let columns = columns.iter().map(|name| existing(contract, "a test", name)).collect::<Result<Vec<_>, _>>()?;
                (columns.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "), TestKind::Unique { columns })
            }
            "not_null" => {
                let column = column(declared.column)?;
                (column.to_string(), TestKind::NotNull { column })
            }
            "accepted_values" => {
                let column = column(declared.column)?;
                let values = declared.values.ok_or_else(|| lacks("values"))?.iter().map(literal).collect::<Result<_, _>>()?;
                (column.to_string(), TestKind::AcceptedValues { column, values })
            }
            "range" => {
                let column = column(declared.column)?;
                let min = declared.min.as_ref().map(literal).transpose()?;
                let max = declared.max.as_ref().map(literal).transpose()?;
                if min.is_none() && max.is_none() {
                    return Err(lacks("min"));
                }
                (column.to_string(), TestKind::Range { column, min, max })
            }
            "relationship" => {
                let column = column(declared.column)?;
                let to = declared.to.ok_or_else(|| lacks("to"))?;
                let (to_table, to_column) = to.rsplit_once('.').ok_or_else(|| lacks("to"))?;
                let kind = TestKind::Relationship { to_table: to_table.parse()?, to_column: to_column.parse()?, column: column.clone() };
                (format!("{column}, {to}"), kind)
            }
            "no_rows" => {
                let sql = declared.sql.ok_or_else(|| lacks("sql"))?;
                (declared.name.clone().ok_or_else(|| lacks("name"))?, TestKind::NoRows { sql })
            }
            "freshness" => {
                let column = column(declared.column)?;
                let data_type = contract.column(&column).map(|column| &column.data_type);
                if let Some(other) = data_type.filter(|data_type| !matches!(data_type, ColumnType::Date | ColumnType::Timestamp)) {
                    return Err(wrong(format!("a test of freshness asks for a date or a timestamp, and column \"{column}\" is {other}")));
                }
                let max_age_us = parse_duration_us(&declared.max_age.ok_or_else(|| lacks("max_age"))?)?;
                (column.to_string(), TestKind::Freshness { column, max_age_us })
            }
            "row_count" => (String::new(), TestKind::RowCount { deviations }),
            "distribution" => {
                let column = column(declared.column)?;
                let measure = declared.measure.ok_or_else(|| lacks("measure"))?;
                if contract.column(&column).is_some_and(|column| !measure.is_of(&column.data_type)) {
                    let why = if measure == Measure::Mean { "it holds no numbers" } else { "its values cannot be compared" };
                    return Err(wrong(format!("the {} of column \"{column}\" cannot be taken: {why}", measure.words())));
                }
                (format!("{column}, {}", measure.name()), TestKind::Distribution { column, measure, deviations })
            }
            other => return Err(wrong(format!("\"{other}\" is no kind of test: {KINDS}"))),
        };
        let own_name = if about.is_empty() { kind_name.clone() } else { format!("{kind_name}({about})") };
        Ok(Self { name: declared.name.unwrap_or(own_name), kind, severity: declared.severity })
    }
}

/// An age or length of time to the hour if it is longer than one, in the form of contracts: how old a value is, not which.
pub(crate) fn spell_age(age_us: i64) -> String {
    let seconds = u64::try_from(age_us / 1_000_000).unwrap_or(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) => format!("{minutes}m"),
        (0, hours, _) => format!("{hours}h"),
        (days, 0, _) => format!("{days}d"),
        (days, hours, _) => format!("{days}d {hours}h"),
    }
}

fn literal(value: &toml::Value) -> Result<String, Problem> {
    match value {
        toml::Value::String(text) => Ok(format!("'{}'", text.replace('\'', "''"))),
        toml::Value::Integer(number) => Ok(number.to_string()),
        toml::Value::Float(number) if number.is_finite() => Ok(format!("{number:?}")),
        toml::Value::Boolean(truth) => Ok(truth.to_string()),
        _ => Err(Problem::Text("a test's value is not a text, a number or a truth value".to_owned(), Some("[[tests]]".to_owned()))),
    }
}
