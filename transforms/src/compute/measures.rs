//! What is asked of a table as one: how old its newest value is, how many rows it has, what its columns measure. The latter two are held against
//! former runs: see [`anomaly`](super::anomaly).

use datafusion::common::ScalarValue;
use pipeline_core::error::Result;
use pipeline_core::ledger::Measured;
use pipeline_core::model::Standard;

use super::anomaly::{Expected, FORMER_MIN, Scale};
use super::checks::{Outcome, Verdict, values};
use crate::model::{DataTest, Measure, Model, TestKind, spell_age};
use crate::session::Session;

const DAY_US: i64 = 24 * 60 * 60 * 1_000_000;

/// The query that gives what a test is about, one value; None for tests that are about rows.
pub(super) fn query(table: &str, kind: &TestKind) -> Option<String> {
    match kind {
        // A value of some far day says nothing of how old the others are.
        TestKind::Freshness { column, .. } => Some(format!(
            "SELECT max(\"{column}\") FILTER (WHERE CAST(\"{column}\" AS DATE) <= CAST(as_of() + INTERVAL '1 day' AS DATE)) AS newest FROM {table}"
        )),
        TestKind::RowCount { .. } => Some(format!("SELECT count(*) AS rows FROM {table}")),
        TestKind::Distribution { column, measure, .. } => Some(match measure {
            Measure::Mean => format!("SELECT avg(CAST(\"{column}\" AS DOUBLE)) AS mean FROM {table}"),
            Measure::NullShare => format!(
                "SELECT CAST(count(*) FILTER (WHERE \"{column}\" IS NULL) AS DOUBLE) / nullif(count(*), 0) AS null_share FROM {table}"
            ),
            // Groups spill, count(DISTINCT …) does not.
            Measure::DistinctShare => format!(
                "SELECT CAST(count(*) AS DOUBLE) / nullif(sum(times), 0) AS distinct_share \
                 FROM (SELECT \"{column}\", count(*) AS times FROM {table} WHERE \"{column}\" IS NOT NULL GROUP BY \"{column}\") AS seen"
            ),
        }),
        TestKind::Unique { .. }
        | TestKind::NotNull { .. }
        | TestKind::AcceptedValues { .. }
        | TestKind::Range { .. }
        | TestKind::Relationship { .. }
        | TestKind::NoRows { .. } => None,
    }
}

/// What a measure of a column is called among those of a run.
fn name(kind: &TestKind) -> Option<String> {
    match kind {
        TestKind::Distribution { column, measure, .. } => Some(format!("{}({column})", measure.name())),
        _ => None,
    }
}

/// The tests of a table as one, while it is looked at: first at the rows that are new, then, where these do not settle it, at all.
pub(super) struct Measuring<'a> {
    model: &'a Model,
    standard: &'a Standard,
    rows: u64,
    /// The age of the newest value for each test of freshness, in their order.
    ages_us: Vec<Option<i64>>,
}

impl<'a> Measuring<'a> {
    /// The session knows rows by the model's name; the whole table has so many.
    pub(super) async fn begin(session: &Session, model: &'a Model, rows: u64, standard: &'a Standard) -> Result<Self> {
        let mut measuring = Self { model, standard, rows, ages_us: Vec::new() };
        measuring.look_again(session).await?;
        Ok(measuring)
    }

    /// Whether other rows than the new ones matter: a new row that is fresh settles that, while measures are of all.
    pub(super) fn asks_more(&self) -> bool {
        let is_old = self.freshness().zip(&self.ages_us).any(|((_, max_age_us), age_us)| !is_fresh(*age_us, max_age_us));
        is_old || self.model.tests.iter().any(|test| name(&test.kind).is_some())
    }

    /// The session knows more rows by the model's name.
    pub(super) async fn look_again(&mut self, session: &Session) -> Result<()> {
        let mut ages_us = Vec::new();
        for (test, _) in self.freshness() {
            let query = query(self.model.table().table(), &test.kind).unwrap_or_default();
            let newest = of_test(test, values(session, &query).await)?;
            ages_us.push(newest.and_then(|newest| age_us(session, &newest)));
        }
        self.ages_us = ages_us;
        Ok(())
    }

    /// What the tests find, and what was measured for later runs. The session knows all rows by the model's name, if that mattered.
    pub(super) async fn end(self, session: &Session) -> Result<(Vec<Verdict>, Measured)> {
        let mut measured = Measured { rows: self.rows, ..Measured::default() };
        let mut verdicts = Vec::new();
        let mut ages_us = self.ages_us.iter().copied();
        for test in &self.model.tests {
            let Some(query) = query(self.model.table().table(), &test.kind) else { continue };
            let outcome = match &test.kind {
                TestKind::Freshness { max_age_us, .. } => freshness(ages_us.next().flatten(), *max_age_us, self.standard),
                TestKind::RowCount { deviations } => row_count(self.rows, *deviations, self.standard),
                TestKind::Distribution { measure, deviations, .. } => {
                    let number = match of_test(test, values(session, &query).await)? {
                        Some(ScalarValue::Float64(Some(number))) if number.is_finite() => Some(number),
                        _ => None,
                    };
                    let name = name(&test.kind).unwrap_or_default();
                    let outcome = distribution(*measure, number, &name, *deviations, self.standard);
                    measured.columns.extend(number.map(|number| (name, number)));
                    outcome
                }
                _ => continue,
            };
            verdicts.push(Verdict::of(test, outcome, query));
        }
        Ok((verdicts, measured))
    }

    fn freshness(&self) -> impl Iterator<Item = (&'a DataTest, i64)> {
        self.model.tests.iter().filter_map(|test| match &test.kind {
            TestKind::Freshness { max_age_us, .. } => Some((test, *max_age_us)),
            _ => None,
        })
    }
}

/// What the tests find that time alone can make fail. The session knows the stored table by the model's name.
pub(super) async fn of_age(session: &Session, model: &Model) -> Result<Vec<Verdict>> {
    let standard = Standard::default();
    let measuring = Measuring::begin(session, model, 0, &standard).await?;
    let tests = measuring.freshness().zip(&measuring.ages_us);
    let verdicts = tests.map(|((test, max_age_us), age_us)| {
        let query = query(model.table().table(), &test.kind).unwrap_or_default();
        Verdict::of(test, freshness(*age_us, max_age_us, &standard), query)
    });
    Ok(verdicts.collect())
}

fn of_test(test: &DataTest, row: Result<Vec<ScalarValue>>) -> Result<Option<ScalarValue>> {
    let row = row.map_err(|error| error.context(format!("test \"{}\" could not be run", test.name)))?;
    Ok(row.into_iter().next())
}

/// How long before the session's instant a value lies; a date, its end. None for NULL.
fn age_us(session: &Session, newest: &ScalarValue) -> Option<i64> {
    let newest_us = match newest {
        ScalarValue::TimestampMicrosecond(newest_us, _) => (*newest_us)?,
        ScalarValue::Date32(days) => i64::from((*days)?).saturating_add(1).saturating_mul(DAY_US),
        _ => return None,
    };
    Some(session.as_of().microseconds().saturating_sub(newest_us))
}

fn is_fresh(age_us: Option<i64>, max_age_us: i64) -> bool {
    age_us.is_some_and(|age_us| age_us <= max_age_us)
}

fn freshness(age_us: Option<i64>, max_age_us: i64, standard: &Standard) -> Outcome {
    match age_us {
        _ if standard.is_of_the_past => Outcome::NotAsked("the run brings rows of the past".to_owned()),
        _ if is_fresh(age_us, max_age_us) => Outcome::Passed,
        None => Outcome::Table("there is no value".to_owned()),
        Some(age_us) => Outcome::Table(format!("the newest value is {} old, more than {}", spell_age(age_us), spell_age(max_age_us))),
    }
}

fn row_count(rows: u64, deviations: f64, standard: &Standard) -> Outcome {
    let former: Vec<f64> = standard.former.iter().rev().map(|measured| measured.rows as f64).collect();
    compared(rows as f64, &former, Scale::Count, deviations, |expected| {
        let width = expected.deviation * deviations;
        let (least, most) = ((expected.number - width).max(0.0).ceil(), (expected.number + width).floor());
        format!("there are {rows}, and the last {} runs let expect {least:.0} to {most:.0}", former.len())
    })
}

fn distribution(measure: Measure, number: Option<f64>, name: &str, deviations: f64, standard: &Standard) -> Outcome {
    let former: Vec<f64> = standard.former.iter().rev().filter_map(|measured| measured.columns.get(name).copied()).collect();
    let Some(number) = number else { return Outcome::NotAsked("there is nothing to measure".to_owned()) };
    let scale = if measure == Measure::Mean { Scale::Number } else { Scale::Share };
    compared(number, &former, scale, deviations, |expected| {
        let width = expected.deviation * deviations;
        let (runs, words) = (former.len(), measure.words());
        match measure {
            // A mean can be the value of a single row, and values are not told.
            Measure::Mean if expected.number == 0.0 => format!("the {words} is not 0, as the last {runs} runs let expect"),
            Measure::Mean => {
                let percent = |part: f64| part / expected.number.abs() * 100.0;
                let side = if number < expected.number { "below" } else { "above" };
                let off = percent((number - expected.number).abs());
                format!("the {words} is {off:.1} % {side} what the last {runs} runs let expect, and {:.1} % are usual", percent(width))
            }
            Measure::NullShare | Measure::DistinctShare => {
                let (least, most) = ((expected.number - width).max(0.0) * 100.0, (expected.number + width).min(1.0) * 100.0);
                format!("the {words} is {:.1} %, and the last {runs} runs let expect {least:.1} to {most:.1} %", number * 100.0)
            }
        }
    })
}

fn compared(number: f64, former: &[f64], scale: Scale, deviations: f64, how: impl FnOnce(&Expected) -> String) -> Outcome {
    match Expected::of(former, scale) {
        None => Outcome::NotAsked(format!("{} former runs to compare with, and {FORMER_MIN} are needed", former.len())),
        Some(expected) if expected.is_far_from(number, deviations) => Outcome::Table(how(&expected)),
        Some(_) => Outcome::Passed,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn standard(rows: &[u64], column: &str, numbers: &[f64]) -> Standard {
        let measured = rows.iter().zip(numbers).map(|(rows, number)| Measured {
            rows: *rows,
            columns: BTreeMap::from([(column.to_owned(), *number)]),
            begins_anew: false,
        });
        Standard { former: measured.collect(), is_of_the_past: false }
    }

    #[test]
    fn ages_are_told_to_the_hour() {
        let hours = |hours: i64| Some(hours * 3_600_000_000 + 1_234_567);
        let standard = Standard::default();
        assert_eq!(freshness(hours(47), 2 * DAY_US, &standard), Outcome::Passed);
        assert_eq!(freshness(Some(-5), 0, &standard), Outcome::Passed, "what is of tomorrow is fresh");
        let stale = Outcome::Table("the newest value is 2d 1h old, more than 2d".to_owned());
        assert_eq!(freshness(hours(49), 2 * DAY_US, &standard), stale);
        assert_eq!(freshness(None, 2 * DAY_US, &standard), Outcome::Table("there is no value".to_owned()));
        let past = Standard { is_of_the_past: true, ..Standard::default() };
        assert!(matches!(freshness(hours(49), 0, &past), Outcome::NotAsked(_)));
    }

    #[test]
    fn rows_are_compared_with_former_runs() {
        let former = standard(&[1_000; 8], "", &[0.0; 8]);
        assert_eq!(row_count(1_100, 5.0, &former), Outcome::Passed);
        let text = "there are 1200, and the last 8 runs let expect 842 to 1158";
        assert_eq!(row_count(1_200, 5.0, &former), Outcome::Table(text.to_owned()));
        assert_eq!(row_count(1_200, 8.0, &former), Outcome::Passed);
        let few = standard(&[1_000; 6], "", &[0.0; 6]);
        assert_eq!(row_count(0, 5.0, &few), Outcome::NotAsked("6 former runs to compare with, and 7 are needed".to_owned()));
    }

    #[test]
    fn no_mean_is_told() {
        let former = standard(&[1; 9], "mean(total)", &[40.0; 9]);
        let outcome = distribution(Measure::Mean, Some(52.0), "mean(total)", 5.0, &former);
        let text = "the mean is 30.0 % above what the last 9 runs let expect, and 10.0 % are usual";
        assert_eq!(outcome, Outcome::Table(text.to_owned()));
        assert!(matches!(distribution(Measure::Mean, Some(52.0), "mean(tip)", 5.0, &former), Outcome::NotAsked(_)), "measured since now");
        let former = standard(&[1; 9], "null_share(city)", &[0.25; 9]);
        let outcome = distribution(Measure::NullShare, Some(0.5), "null_share(city)", 5.0, &former);
        let text = "the share of NULL is 50.0 %, and the last 9 runs let expect 23.0 to 27.0 %";
        assert_eq!(outcome, Outcome::Table(text.to_owned()));
    }
}
