//! The checks of a result before anything of it is published: its contract's promises, then its data tests.
//!
//! All conditions on single rows are asked in one pass over the result; uniqueness, relationships and free queries take one
//! query each. Only counts come out, never a value.

use pipeline_core::contract::ColumnType;
use pipeline_core::error::{Code, Error, Result};
use pipeline_core::name::TableName;

use super::parts::Whole;
use super::spilled::Spilled;
use crate::errors::{MEMORY, MODEL_TEST, MODEL_TEXT, failure};
use crate::model::{Model, Severity, TestKind};
use crate::session::{JoinsBy, Session};

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
    fn asks_all(&self, whole: &Whole<'_>) -> bool {
        match &self.asks {
            Asks::New => false,
            Asks::AllIfChanged(table) => !whole.is_as_before(table),
            Asks::All => true,
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

/// Checks a result, which the session then knows by the model's name. The texts of failed tests of severity `warn` come back.
///
/// # Errors
/// [`MODEL_TEST`] or [`MODEL_TEXT`] with every failed test, how many rows fail it, and the query that shows them.
pub(super) async fn check(session: &Session, model: &Model, result: &Spilled, whole: Option<&Whole<'_>>) -> Result<Vec<String>> {
    let table = model.table().table();
    let what = || format!("result of model \"{}\" could not be checked", model.table());
    let rows = result.read(session).await.map_err(|error| failure(what(), error))?;
    session.register_table(model.table().schema(), table, rows.into_view());
    let checks = checks(model);
    let mut counts = count(session, table, &checks, |check| whole.is_none_or(|whole| !check.asks_all(whole))).await;
    if let (Ok(counts), Some(whole)) = (&mut counts, whole)
        && checks.iter().any(|check| check.asks_all(whole))
    {
        let rows = whole.frame(session, model, result).await.map_err(|error| failure(what(), error))?;
        session.register_table(model.table().schema(), table, rows.into_view());
        let of_all = count(session, table, &checks, |check| check.asks_all(whole)).await.map_err(|error| error.context(what()))?;
        counts.iter_mut().zip(of_all).for_each(|(count, of_all)| *count += of_all);
    }
    let counts = counts.map_err(|error| error.context(what()))?;
    let mut warnings = Vec::new();
    let mut failed: Vec<String> = Vec::new();
    let mut code = None;
    for (check, count) in checks.iter().zip(counts).filter(|(_, count)| *count > 0) {
        let shows = check.shows(table);
        match check.severity {
            Severity::Warn => {
                warnings.push(format!("model \"{}\": test \"{}\" fails for {count} {}: {shows}", model.table(), check.name, check.counted))
            }
            Severity::Error => {
                failed.push(format!("test \"{}\" fails for {count} {}: {shows}", check.name, check.counted));
                code = code.or(Some(check.code));
            }
        }
    }
    let Some(code) = code else { return Ok(warnings) };
    let error = Error::new(code, format!("result of model \"{}\" breaks its contract and is not published", model.table()));
    let error = failed.into_iter().fold(error, Error::caused_by);
    Err(error.hint(format!(
        "See the rows with `pipeline query`: WITH {table} AS (… the statement of {} …) and the query shown.",
        model.file.display()
    )))
}

/// Plans every test's query without running it, so that a mistake in one is known before any data.
pub(super) async fn check_plans(session: &Session, model: &Model) -> Result<()> {
    for check in checks(model) {
        let planned = session.select(&check.shows(model.table().table())).await;
        planned.map_err(|error| {
            failure(format!("test \"{}\" of model \"{}\" cannot be used", check.name, model.table()), error)
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
        };
        let asks = match &test.kind {
            // Rows that only a warning is about were published, and are told each time.
            _ if test.severity == Severity::Warn => Asks::All,
            TestKind::NotNull { .. } | TestKind::AcceptedValues { .. } | TestKind::Range { .. } => Asks::New,
            TestKind::Relationship { to_table, .. } => Asks::AllIfChanged(to_table.clone()),
            TestKind::Unique { .. } | TestKind::NoRows { .. } => Asks::All,
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
    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;
    use futures::TryStreamExt;
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
    let row = batches.iter().find(|batch| batch.num_rows() > 0);
    let count = |column: &arrow::array::ArrayRef| column.as_primitive_opt::<Int64Type>().map(|counts| counts.value(0));
    Ok(row.map(|batch| batch.columns().iter().filter_map(count).collect()).unwrap_or_default())
}
