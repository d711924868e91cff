//! The checks of a result before anything of it is published: its contract's promises, then its data tests.
//!
//! All conditions on single rows are asked in one pass over the result; uniqueness, relationships and free queries take one
//! query each. Only counts come out, never a value. What is asked of the table as one, and compared with former runs, is in [`measures`].

use datafusion::common::ScalarValue;
use futures::TryStreamExt;
use pipeline_core::contract::ColumnType;
use pipeline_core::error::{Code, Error, Result};
use pipeline_core::ledger::Measured;
use pipeline_core::model::Standard;
use pipeline_core::name::TableName;

use super::measures;
use super::parts::Whole;
use super::spilled::Spilled;
use crate::errors::{MEMORY, MODEL_TEST, MODEL_TEXT, failure};
use crate::model::{DataTest, Model, Severity, TestKind};
use crate::session::{JoinsBy, Session};

/// What a data test, or a promise of a contract, found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The test's name.
    pub test: String,
    /// What failing it does.
    pub severity: Severity,
    /// Whether it fails.
    pub outcome: Outcome,
    /// The query that shows what it is about.
    pub query: String,
    code: &'static Code,
}

/// How a data test ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is wrong.
    Passed,
    /// There is nothing to hold the table against; why, in words.
    NotAsked(String),
    /// So many rows or keys, whichever are counted, fail it.
    Rows {
        /// How many.
        count: u64,
        /// What is counted: `rows` or `keys`.
        counted: &'static str,
    },
    /// The table as one fails it; why, in words.
    Table(String),
}

impl Verdict {
    pub(super) fn of(test: &DataTest, outcome: Outcome, query: String) -> Self {
        Self { test: test.name.clone(), severity: test.severity, outcome, query, code: &MODEL_TEST }
    }

    /// Whether the test fails.
    #[must_use]
    pub fn fails(&self) -> bool {
        matches!(self.outcome, Outcome::Rows { .. } | Outcome::Table(_))
    }

    /// That it fails, and how, in words; nothing if it does not.
    fn failure(&self) -> Option<String> {
        let how = match &self.outcome {
            Outcome::Passed | Outcome::NotAsked(_) => return None,
            Outcome::Rows { count, counted } => format!(" for {count} {counted}"),
            Outcome::Table(how) => format!(": {how}"),
        };
        Some(format!("test \"{}\" fails{how}: {}", self.test, self.query))
    }
}

/// Which rows a session knows by the model's name.
#[derive(Clone, Copy)]
pub(super) enum Seen<'a> {
    /// All of them.
    All,
    /// Those of the units that were computed anew.
    Units(&'a Spilled, &'a Whole<'a>),
}

/// One question to the result, and the query that shows what fails it.
struct Check {
    name: String,
    severity: Severity,
    code: &'static Code,
    /// What is counted, such as `rows` or `keys`.
    counted: &'static str,
    question: Question,
    asks: Asks,
}

/// Which rows a check has to see when only some units were computed anew. The other units passed it before, unless it only warns.
enum Asks {
    /// The new ones.
    New,
    /// All, if this table has changed; else the new ones.
    AllIfChanged(TableName),
    /// All: rows of several units may fail it together.
    All,
}

enum Question {
    /// True for a row that fails.
    Row(String),
    /// A query that gives a row for each failure.
    Query(String),
}

impl Check {
    /// Whether it has to see rows that are not among those seen.
    fn asks_more(&self, seen: Seen<'_>) -> bool {
        match (&self.asks, seen) {
            (Asks::New, _) | (_, Seen::All) => false,
            (Asks::AllIfChanged(table), Seen::Units(_, whole)) => !whole.is_as_before(table),
            (Asks::All, Seen::Units(..)) => true,
        }
    }

    /// The query that shows the failures, over the model by its name.
    fn shows(&self, table: &str) -> String {
        match &self.question {
            Question::Row(condition) => format!("SELECT * FROM {table} WHERE {condition}"),
            Question::Query(sql) => sql.clone(),
        }
    }
}

/// Checks a result of which `rows` is the whole table's number, and which the session then knows by the model's name. The texts of failed tests
/// of severity `warn` come back, and what was measured.
///
/// # Errors
/// [`MODEL_TEST`] or [`MODEL_TEXT`] with every failed test, how many rows fail it, and the query that shows them.
pub(super) async fn check(
    session: &Session,
    model: &Model,
    result: &Spilled,
    whole: Option<&Whole<'_>>,
    rows: u64,
    standard: &Standard,
) -> Result<(Vec<String>, Measured)> {
    let what = || format!("result of model \"{}\" could not be checked", model.table());
    let view = result.read(session).await.map_err(|error| failure(what(), error))?.into_view();
    session.register_table(model.table().schema(), model.table().table(), view);
    let seen = whole.map_or(Seen::All, |whole| Seen::Units(result, whole));
    let (verdicts, measured) = verdicts(session, model, seen, rows, standard).await.map_err(|error| error.context(what()))?;
    let warnings = warnings(model, &verdicts, || {
        let error = format!("result of model \"{}\" breaks its contract and is not published", model.table());
        let (table, file) = (model.table().table(), model.file.display());
        (error, format!("See the rows with `pipeline query`: WITH {table} AS (… the statement of {file} …) and the query shown."))
    })?;
    Ok((warnings, measured))
}

/// What every promise and test of a model finds in a table of so many rows, and what was measured of it.
pub(super) async fn verdicts(
    session: &Session,
    model: &Model,
    seen: Seen<'_>,
    rows: u64,
    standard: &Standard,
) -> Result<(Vec<Verdict>, Measured)> {
    let table = model.table().table();
    let checks = checks(model);
    let mut counts = count(session, table, &checks, |check| !check.asks_more(seen)).await?;
    let mut measuring = measures::Measuring::begin(session, model, rows, standard).await?;
    if let Seen::Units(result, whole) = seen
        && (measuring.asks_more() || checks.iter().any(|check| check.asks_more(seen)))
    {
        let all = whole.frame(session, model, result).await.map_err(|error| failure("the whole table could not be put together", error))?;
        session.register_table(model.table().schema(), table, all.into_view());
        let of_all = count(session, table, &checks, |check| check.asks_more(seen)).await?;
        counts.iter_mut().zip(of_all).for_each(|(count, of_all)| *count += of_all);
        measuring.look_again(session).await?;
    }
    let of_rows = checks.into_iter().zip(counts).map(|(check, count)| {
        let count = u64::try_from(count).unwrap_or(0);
        let outcome = if count == 0 { Outcome::Passed } else { Outcome::Rows { count, counted: check.counted } };
        Verdict { query: check.shows(table), test: check.name, severity: check.severity, code: check.code, outcome }
    });
    let mut verdicts: Vec<Verdict> = of_rows.collect();
    let (of_table, measured) = measuring.end(session).await?;
    verdicts.extend(of_table);
    Ok((verdicts, measured))
}

/// The texts of failed tests that only warn. `failed` gives message and hint for the others.
///
/// # Errors
/// [`MODEL_TEST`] or [`MODEL_TEXT`] with every failed test of severity `error`.
pub(super) fn warnings(model: &Model, verdicts: &[Verdict], failed: impl FnOnce() -> (String, String)) -> Result<Vec<String>> {
    let of = |severity| verdicts.iter().filter(move |verdict| verdict.severity == severity);
    let errors: Vec<&Verdict> = of(Severity::Error).filter(|verdict| verdict.fails()).collect();
    let Some(first) = errors.first() else {
        return Ok(of(Severity::Warn).filter_map(Verdict::failure).map(|text| format!("model \"{}\": {text}", model.table())).collect());
    };
    let (message, hint) = failed();
    Err(errors.iter().filter_map(|verdict| verdict.failure()).fold(Error::new(first.code, message), Error::caused_by).hint(hint))
}

/// Plans every test's query without running it, so that a mistake in one is known before any data.
pub(super) async fn check_plans(session: &Session, model: &Model) -> Result<()> {
    let table = model.table().table();
    let of_rows = checks(model).into_iter().map(|check| (check.shows(table), check.name));
    let of_table = model.tests.iter().filter_map(|test| Some((measures::query(table, &test.kind)?, test.name.clone())));
    for (query, name) in of_rows.chain(of_table) {
        let planned = session.select(&query).await;
        planned.map_err(|error| {
            failure(format!("test \"{name}\" of model \"{}\" cannot be used", model.table()), error)
                .caused_by(format!("file \"{}\"", model.file.with_extension("toml").display()))
        })?;
    }
    Ok(())
}

fn checks(model: &Model) -> Vec<Check> {
    let contract = &model.contract;
    let table = model.table().table();
    let promise =
        |name: String, code, counted, question| Check { name, severity: Severity::Error, code, counted, question, asks: Asks::New };
    let key: Vec<&str> = contract.key.iter().map(|name| name.as_str()).collect();
    let mut checks = vec![promise(format!("unique({})", key.join(", ")), &MODEL_TEST, "keys", repeated(table, &key))];
    for column in &contract.columns {
        let name = column.name.as_str();
        if !column.nullable {
            checks.push(promise(format!("not_null({name})"), &MODEL_TEST, "rows", Question::Row(format!("\"{name}\" IS NULL"))));
        }
        if let ColumnType::Text { bytes_max: Some(bytes) } = column.data_type {
            let condition = format!("octet_length(\"{name}\") > {bytes}");
            checks.push(promise(format!("{name} has at most {bytes} bytes"), &MODEL_TEXT, "rows", Question::Row(condition)));
        }
    }
    for test in &model.tests {
        let (counted, question) = match &test.kind {
            TestKind::Unique { columns } => {
                let columns: Vec<&str> = columns.iter().map(|name| name.as_str()).collect();
                ("keys", repeated(table, &columns))
            }
            TestKind::NotNull { column } => ("rows", Question::Row(format!("\"{column}\" IS NULL"))),
            TestKind::AcceptedValues { column, values } => ("rows", Question::Row(format!("\"{column}\" NOT IN ({})", values.join(", ")))),
            TestKind::Range { column, min, max } => {
                let below = min.as_ref().map(|min| format!("\"{column}\" < {min}"));
                let above = max.as_ref().map(|max| format!("\"{column}\" > {max}"));
                ("rows", Question::Row(below.into_iter().chain(above).collect::<Vec<_>>().join(" OR ")))
            }
            TestKind::Relationship { column, to_table, to_column } => {
                let other = format!("{}.{}", to_table.schema(), to_table.table());
                let sql = format!(
                    "SELECT * FROM {table} WHERE \"{column}\" IS NOT NULL \
                     AND NOT EXISTS (SELECT 1 FROM {other} AS other WHERE other.\"{to_column}\" = {table}.\"{column}\")"
                );
                ("rows", Question::Query(sql))
            }
            TestKind::NoRows { sql } => ("rows", Question::Query(sql.clone())),
            TestKind::Freshness { .. } | TestKind::RowCount { .. } | TestKind::Distribution { .. } => continue,
        };
        let asks = match &test.kind {
            // Rows that only a warning is about were published, and are told each time.
            _ if test.severity == Severity::Warn => Asks::All,
            TestKind::NotNull { .. } | TestKind::AcceptedValues { .. } | TestKind::Range { .. } => Asks::New,
            TestKind::Relationship { to_table, .. } => Asks::AllIfChanged(to_table.clone()),
            _ => Asks::All,
        };
        checks.push(Check { name: test.name.clone(), severity: test.severity, code: &MODEL_TEST, counted, question, asks });
    }
    checks
}

/// NULL is equal to nothing, so keys with NULL are not repeated.
fn repeated(table: &str, columns: &[&str]) -> Question {
    let names: Vec<String> = columns.iter().map(|name| format!("\"{name}\"")).collect();
    let present: Vec<String> = names.iter().map(|name| format!("{name} IS NOT NULL")).collect();
    let (names, present) = (names.join(", "), present.join(" AND "));
    Question::Query(format!("SELECT {names}, count(*) AS times FROM {table} WHERE {present} GROUP BY {names} HAVING count(*) > 1"))
}

/// How many rows fail each check, in their order; 0 for those that are not chosen.
async fn count(session: &Session, table: &str, checks: &[Check], is_chosen: impl Fn(&Check) -> bool) -> Result<Vec<i64>> {
    let conditions = checks.iter().filter(|check| is_chosen(check)).filter_map(|check| match &check.question {
        Question::Row(condition) => Some(condition),
        Question::Query(_) => None,
    });
    let counts: Vec<String> =
        conditions.enumerate().map(|(index, condition)| format!("count(*) FILTER (WHERE {condition}) AS c{index}")).collect();
    let mut of_rows =
        if counts.is_empty() { Vec::new() } else { numbers(session, &format!("SELECT {} FROM {table}", counts.join(", "))).await? }
            .into_iter();
    let mut all = Vec::with_capacity(checks.len());
    for check in checks {
        all.push(match &check.question {
            _ if !is_chosen(check) => 0,
            Question::Row(_) => of_rows.next().unwrap_or_default(),
            Question::Query(sql) => {
                let counted = numbers(session, &format!("SELECT count(*) AS failures FROM ({sql}) AS failing")).await;
                counted
                    .map_err(|error| error.context(format!("test \"{}\" could not be run", check.name)))?
                    .into_iter()
                    .next()
                    .unwrap_or_default()
            }
        });
    }
    Ok(all)
}

/// The one row of counts that a query gives.
pub(super) async fn numbers(session: &Session, sql: &str) -> Result<Vec<i64>> {
    let number = |value| match value {
        ScalarValue::Int64(number) => Some(number.unwrap_or_default()),
        _ => None,
    };
    Ok(values(session, sql).await?.into_iter().filter_map(number).collect())
}

/// The one row that a query gives; nothing if it gives none.
pub(super) async fn values(session: &Session, sql: &str) -> Result<Vec<ScalarValue>> {
    let ask = async |session: &Session| session.query(sql).await?.try_collect::<Vec<_>>().await;
    let turns = session.engine().turns();
    let first = {
        let _turn = turns.beside_others().await;
        Box::pin(ask(session)).await
    };
    let batches = match first {
        Err(error) if error.code() == &MEMORY => {
            let _turn = turns.alone().await;
            Box::pin(ask(&session.joining_by(JoinsBy::Merge))).await?
        }
        answer => answer?,
    };
    let Some(row) = batches.iter().find(|batch| batch.num_rows() > 0) else { return Ok(Vec::new()) };
    let values = row.columns().iter().map(|column| ScalarValue::try_from_array(column, 0));
    values.collect::<Result<_, _>>().map_err(|error| failure("a row could not be read", error))
}
