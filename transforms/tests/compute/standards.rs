//! Tests against time and former runs: what they see, whole and in parts, and what is measured for later runs.

use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use futures::TryStreamExt;
use pipeline_core::ledger::{Basis, Measured};
use pipeline_core::model::{Computed, Models, Standard};
use pipeline_core::window::Timestamp;
use pipeline_transforms::compute::{Outcome, PartsBounds};
use pipeline_transforms::errors::MODEL_TEST;
use pipeline_transforms::lake::LakeModels;

use crate::project::{Project, table};

const SELECT: &str = "SELECT id, seen_at, seen_on FROM lab.visits";

const CONTRACT: &str = r#"
description = "Visits"
grain = "one row per visit"
key = ["id"]
materialization = "incremental"
[incremental]
by = ["id"]
[incremental.inputs."lab.visits"]
units = { id = "id" }
[columns.id]
type = "bigint"
description = "Identity"
[columns.seen_at]
type = "timestamp"
description = "When"
[columns.seen_on]
type = "date"
description = "The same as a date"
"#;

const DAY_US: i64 = 24 * 60 * 60 * 1_000_000;

/// Visits with when they were.
fn visits(rows: &[(i64, Option<&str>)]) -> Arc<dyn TableProvider> {
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("seen_at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        Field::new("seen_on", DataType::Date32, true),
    ]));
    let at = || rows.iter().map(|(_, at)| at.map(|at| at.parse::<Timestamp>().unwrap().microseconds()));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(at().collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
        Arc::new(at().map(|at| at.map(|at| i32::try_from(at / DAY_US).unwrap())).collect::<Date32Array>()),
    ];
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
    Arc::new(MemTable::try_new(schema, vec![vec![batch]]).unwrap())
}

fn project(tests: &str) -> Project {
    Project::new(&[("facts", SELECT, &format!("{CONTRACT}{tests}"))], 64)
}

async fn computed(project: &Project, since: Option<&Basis>, standard: &Standard) -> pipeline_core::error::Result<Computed> {
    project.models().unwrap().compute(&table("facts"), project.as_of(), since, standard).await
}

/// Computes the whole, keeps the rows as the table, and gives what a later computation goes on from.
async fn basis(project: &Project, rows: &[(i64, Option<&str>)]) -> Basis {
    project.put("lab.visits", visits(rows));
    project.put("facts", visits(rows));
    let read = computed(project, None, &Standard { is_of_the_past: true, ..Standard::default() }).await.unwrap().read;
    let own = project.models().unwrap().state(&table("facts")).await.unwrap().unwrap();
    Basis { read, own }
}

const FRESH: &str = r#"
[[tests]]
kind = "freshness"
column = "seen_at"
max_age = "24h"
[[tests]]
kind = "freshness"
column = "seen_on"
max_age = "24h"
severity = "warn"
"#;

#[tokio::test]
async fn the_newest_value_may_be_so_old() {
    let project = project(FRESH);
    let standard = Standard::default();
    // Now is 06:00 of the fourth: the third ended six hours ago, its morning is a day ago.
    project.put("lab.visits", visits(&[(1, Some("2025-11-03T06:00:00Z")), (2, Some("2025-01-01T00:00:00Z")), (3, None)]));
    assert_eq!(computed(&project, None, &standard).await.unwrap().warnings, [""; 0]);
    project.put("lab.visits", visits(&[(1, Some("2025-11-03T04:59:00Z"))]));
    let error = computed(&project, None, &standard).await.unwrap_err();
    assert_eq!(error.code(), &MODEL_TEST);
    let shown = "test \"freshness(seen_at)\" fails: the newest value is 1d 1h old, more than 1d: \
                 SELECT max(\"seen_at\") FILTER (WHERE CAST(\"seen_at\" AS DATE) <= CAST(as_of() + INTERVAL '1 day' AS DATE)) AS newest FROM facts";
    assert_eq!(error.causes(), [shown], "the date has not ended so long ago");
    let past = Standard { is_of_the_past: true, ..Standard::default() };
    assert!(computed(&project, None, &past).await.unwrap().warnings.is_empty(), "who loads the past expects nothing fresh");
    project.put("lab.visits", visits(&[(3, None)]));
    assert!(format!("{:?}", computed(&project, None, &standard).await.unwrap_err()).contains("there is no value"));
    // A row of some far day makes nothing fresh.
    project.put("lab.visits", visits(&[(1, Some("2025-11-03T04:59:00Z")), (2, Some("2999-01-01T00:00:00Z"))]));
    let error = computed(&project, None, &standard).await.unwrap_err();
    assert!(format!("{error:?}").contains("1d 1h old"), "{error:?}");
}

#[tokio::test]
async fn a_fresh_row_that_is_not_computed_anew_counts() {
    let project = project(FRESH);
    let (old, fresh) = (Some("2025-10-01T00:00:00Z"), Some("2025-11-04T05:00:00Z"));
    let rows = [(1, fresh), (2, old), (3, old), (4, old), (5, old)];
    let since = basis(&project, &rows).await;
    let standard = Standard::default();
    project.put("lab.visits", visits(&[(1, fresh), (2, None), (3, old), (4, old), (5, old), (6, old)]));
    let of_parts = computed(&project, Some(&since), &standard).await.unwrap();
    assert_eq!((of_parts.note.as_str(), of_parts.rows, of_parts.measured.rows), ("2 of 5 units by id computed anew", 2, 6));
    assert!(of_parts.warnings.is_empty(), "{:?}", of_parts.warnings);
    // Of the five rows, the fresh one goes.
    project.put("lab.visits", visits(&[(2, old), (3, old), (4, old), (5, old)]));
    let error = computed(&project, Some(&since), &standard).await.unwrap_err();
    assert!(format!("{error:?}").contains("34d 6h old"), "{error:?}");
    // Nothing is touched.
    project.put("lab.visits", visits(&rows));
    let untouched = computed(&project, Some(&since), &standard).await.unwrap();
    assert_eq!((untouched.rows, untouched.measured.rows), (0, 5));
}

#[tokio::test]
async fn a_table_that_nothing_comes_into_gets_old() {
    let project = project(&FRESH.replace("column = \"seen_at\"", "column = \"seen_at\"\nseverity = \"warn\""));
    project.put("facts", visits(&[(1, Some("2025-11-04T05:00:00Z"))]));
    let models = project.models().unwrap();
    let warnings = async |as_of: &str| models.still_holds(&table("facts"), as_of.parse().unwrap()).await.unwrap();
    assert!(warnings("2025-11-05T05:00:00Z").await.is_empty());
    let told = warnings("2025-11-05T05:00:01Z").await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("model \"facts\": test \"freshness(seen_at)\" fails: the newest value is 1d old"), "{told:?}");
    assert_eq!(warnings("2025-11-20T00:00:00Z").await.len(), 2);
    let strict = self::project(FRESH);
    strict.put("facts", visits(&[(1, Some("2025-11-01T05:00:00Z"))]));
    let error = strict.models().unwrap().still_holds(&table("facts"), strict.as_of()).await.unwrap_err();
    assert_eq!(error.code(), &MODEL_TEST);
}

const ANOMALIES: &str = r#"
[[tests]]
kind = "row_count"
[[tests]]
kind = "distribution"
column = "seen_at"
measure = "null_share"
severity = "warn"
[[tests]]
kind = "distribution"
column = "seen_on"
measure = "distinct_share"
severity = "warn"
[[tests]]
kind = "distribution"
column = "id"
measure = "mean"
severity = "warn"
"#;

fn former(measured: &Measured) -> Standard {
    Standard { former: vec![measured.clone(); 7], is_of_the_past: false }
}

#[tokio::test]
async fn results_are_compared_with_former_runs_whole_and_in_parts() {
    let project = project(ANOMALIES);
    let day = Some("2025-11-03T05:00:00Z");
    let mut rows: Vec<(i64, Option<&str>)> = (1..=99).map(|id| (id, day)).collect();
    rows.push((100, None));
    let since = basis(&project, &rows).await;
    let whole = computed(&project, None, &Standard::default()).await.unwrap();
    assert!(whole.warnings.is_empty(), "without former runs there is nothing to say");
    let numbers = [("distinct_share(seen_on)", 1.0 / 99.0), ("mean(id)", 50.5), ("null_share(seen_at)", 0.01)];
    let expected = Measured { rows: 100, columns: numbers.map(|(name, number)| (name.to_owned(), number)).into(), begins_anew: false };
    assert_eq!(whole.measured, expected);
    let same = computed(&project, Some(&since), &former(&expected)).await.unwrap();
    assert_eq!((same.rows, same.measured, same.warnings), (0, expected.clone(), Vec::new()));

    // A third of the rows loses its time.
    for row in rows.iter_mut().filter(|row| row.0 % 3 == 1) {
        row.1 = None;
    }
    project.put("lab.visits", visits(&rows));
    let bounds = PartsBounds { units_share_max: 1.0, ..PartsBounds::default() };
    let compute = async |since: Option<&Basis>, standard: &Standard| {
        let models: LakeModels = project.models().unwrap().bounded_by(bounds);
        models.compute(&table("facts"), project.as_of(), since, standard).await
    };
    let in_parts = compute(Some(&since), &former(&expected)).await.unwrap();
    assert!(in_parts.note.ends_with("computed anew"), "{}", in_parts.note);
    let whole = compute(None, &former(&expected)).await.unwrap();
    assert_eq!((&in_parts.measured, &in_parts.warnings), (&whole.measured, &whole.warnings));
    assert_eq!(in_parts.warnings.len(), 1, "{:?}", in_parts.warnings);
    let shown =
        "test \"distribution(seen_at, null_share)\" fails: the share of NULL is 34.0 %, and the last 7 runs let expect 0.0 to 3.0 %";
    assert!(in_parts.warnings[0].contains(shown), "{:?}", in_parts.warnings);

    // Most rows are gone.
    project.put("lab.visits", visits(&rows[..40]));
    for since in [None, Some(&since)] {
        let error = compute(since, &former(&expected)).await.unwrap_err();
        assert_eq!(error.code(), &MODEL_TEST);
        let text = format!("{error:?}");
        assert!(text.contains("there are 40, and the last 7 runs let expect 50 to 150"), "{text}");
        assert!(!text.contains("distribution"), "what only warns is no cause: {text}");
        assert!(
            compute(since, &Standard { former: vec![expected.clone(); 6], is_of_the_past: false }).await.is_ok(),
            "too few to compare with"
        );
    }
}

#[tokio::test]
async fn a_stored_table_is_tested_as_it_stands() {
    let project = project(&format!("{FRESH}{ANOMALIES}"));
    let models = project.models().unwrap();
    assert_eq!(models.test(&table("facts"), project.as_of(), &Standard::default()).await.unwrap(), None);
    project.put("facts", visits(&[(1, Some("2025-11-03T05:00:00Z")), (1, None)]));
    let verdicts = models.test(&table("facts"), project.as_of(), &Standard::default()).await.unwrap().unwrap();
    let found: Vec<(&str, bool)> = verdicts.iter().map(|verdict| (verdict.test.as_str(), verdict.fails())).collect();
    let names = [
        ("unique(id)", true),
        ("not_null(id)", false),
        ("freshness(seen_at)", true),
        ("freshness(seen_on)", false),
        ("row_count", false),
        ("distribution(seen_at, null_share)", false),
        ("distribution(seen_on, distinct_share)", false),
        ("distribution(id, mean)", false),
    ];
    assert_eq!(found, names);
    assert_eq!(verdicts[0].outcome, Outcome::Rows { count: 1, counted: "keys" });
    assert!(matches!(&verdicts[4].outcome, Outcome::NotAsked(why) if why.starts_with("0 former runs")), "{:?}", verdicts[4]);
}

#[tokio::test]
async fn what_was_measured_is_nothing_that_a_test_can_hide() {
    // Without tests, rows are counted all the same: a test that is added later has something to compare with.
    let project = project("");
    project.put("lab.visits", visits(&[(1, None), (2, None)]));
    let computed = computed(&project, None, &Standard::default()).await.unwrap();
    assert_eq!(computed.measured, Measured { rows: 2, ..Measured::default() });
    assert_eq!(computed.changes.try_collect::<Vec<_>>().await.unwrap().iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
}
