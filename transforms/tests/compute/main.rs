//! Models written for the purpose, computed over tables in memory: what changes, what is refused, what spills.
#![allow(clippy::unwrap_used, clippy::string_slice, reason = "a test stops where something is not as it should be")]

mod parts;
mod project;
mod standards;
mod views;

use std::sync::Arc;

use arrow::array::{Array, AsArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use futures::TryStreamExt;
use pipeline_core::contract::DELETED_COLUMN;
use pipeline_core::model::{Models, Standard};
use pipeline_core::name::TableName;
use pipeline_transforms::errors::{MEMORY, MODEL_CYCLE, MODEL_FILE, MODEL_INPUT, MODEL_SCHEMA, MODEL_TEST, SQL, VALUE};

use project::{CONTRACT, Project, contract, table};

fn measures(rows: &[(i64, Option<f64>, Option<&str>)]) -> Arc<dyn TableProvider> {
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("measure", DataType::Float64, true),
        Field::new("label", DataType::Utf8, true),
    ]));
    let ids = Int64Array::from_iter_values(rows.iter().map(|row| row.0));
    let measures: Float64Array = rows.iter().map(|row| row.1).collect();
    let labels: StringArray = rows.iter().map(|row| row.2).collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(ids), Arc::new(measures), Arc::new(labels)]).unwrap();
    Arc::new(MemTable::try_new(schema, vec![vec![batch]]).unwrap())
}

const SELECT: &str = "SELECT id, measure, label FROM lab.measures";

/// Changes as `id` and `+` (there) or `-` (gone), in order.
fn signs(batches: &[RecordBatch]) -> Vec<String> {
    let rows = batches.iter().flat_map(|batch| {
        let ids = batch.column(0).as_primitive::<arrow::datatypes::Int64Type>().clone();
        let gone = batch.column_by_name(DELETED_COLUMN).unwrap().as_boolean().clone();
        (0..batch.num_rows()).map(move |row| format!("{}{}", if gone.value(row) { '-' } else { '+' }, ids.value(row)))
    });
    rows.collect()
}

#[tokio::test]
async fn rows_are_compared_bit_by_bit_and_null_by_null() {
    let project = Project::new(&[("facts", SELECT, CONTRACT)], 64);
    let before = [
        (1, Some(1.0), Some("same")),
        (2, Some(f64::NAN), None),
        (3, Some(0.0), Some("zero")),
        (4, None, Some("was null")),
        (5, Some(5.0), Some("is null")),
        (6, Some(6.0), Some("gone")),
        (7, Some(7.0), Some("text")),
    ];
    let after = [
        (1, Some(1.0), Some("same")),
        (2, Some(f64::NAN), None),
        (3, Some(-0.0), Some("zero")),
        (4, Some(4.0), Some("was null")),
        (5, None, Some("is null")),
        (7, Some(7.0), Some("Text")),
        (8, Some(8.0), None),
    ];
    project.put("lab.measures", measures(&after));
    project.put("facts", measures(&before));
    let models = project.models().unwrap();
    let computed = models.compute(&table("facts"), project.as_of(), None, &Standard::default()).await.unwrap();
    assert_eq!(computed.rows, 7);
    assert_eq!(computed.changes.schema(), contract(&models, "facts").changes_schema());
    let changes: Vec<_> = computed.changes.try_collect().await.unwrap();
    assert_eq!(signs(&changes), ["+3", "+4", "+5", "+7", "+8", "-6"]);
    for batch in &changes {
        let gone = batch.column_by_name(DELETED_COLUMN).unwrap().as_boolean();
        let labels = batch.column_by_name("label").unwrap();
        assert!((0..batch.num_rows()).all(|row| !gone.value(row) || labels.is_null(row)), "only the key of a row that is gone is told");
    }
    drop(changes);
    assert_eq!(project.spilled(), 0, "nothing stays in the spill folder");
}

#[tokio::test]
async fn the_first_result_is_all_new_and_the_same_again_is_no_change() {
    let project = Project::new(&[("facts", SELECT, CONTRACT)], 64);
    project.put("lab.measures", measures(&[(2, None, None), (1, Some(0.5), Some("ż"))]));
    let models = project.models().unwrap();
    let first: Vec<_> =
        models.compute(&table("facts"), project.as_of(), None, &Standard::default()).await.unwrap().changes.try_collect().await.unwrap();
    assert_eq!(signs(&first), ["+1", "+2"]);
    project.put("facts", measures(&[(1, Some(0.5), Some("ż")), (2, None, None)]));
    let again: Vec<_> =
        models.compute(&table("facts"), project.as_of(), None, &Standard::default()).await.unwrap().changes.try_collect().await.unwrap();
    assert!(signs(&again).is_empty(), "{again:?}");
    let whole: Vec<_> = models.export(&table("facts")).await.unwrap().try_collect().await.unwrap();
    assert_eq!(whole.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
    assert_eq!(whole[0].schema(), contract(&models, "facts").schema());
}

#[tokio::test]
async fn a_column_that_the_table_lacks_makes_every_row_with_a_value_a_change() {
    let project = Project::new(&[("facts", SELECT, CONTRACT)], 64);
    project.put("lab.measures", measures(&[(1, Some(1.0), Some("new")), (2, Some(2.0), None)]));
    let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false), Field::new("measure", DataType::Float64, true)]));
    let columns: Vec<Arc<dyn Array>> = vec![Arc::new(Int64Array::from(vec![1, 2])), Arc::new(Float64Array::from(vec![1.0, 2.0]))];
    let narrow = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
    project.put("facts", Arc::new(MemTable::try_new(schema, vec![vec![narrow]]).unwrap()));
    let models = project.models().unwrap();
    let changes: Vec<_> =
        models.compute(&table("facts"), project.as_of(), None, &Standard::default()).await.unwrap().changes.try_collect().await.unwrap();
    assert_eq!(signs(&changes), ["+1"]);
}

/// A model whose two joined sides and result are some 40 MB, in 16 MB of memory: hash joins do not fit, joins that spill do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_in_memory_spills() {
    let sql = "SELECT a.id, a.measure, b.label FROM lab.measures AS a JOIN lab.labels AS b ON a.id = b.id";
    let rows: Vec<(i64, Option<f64>, Option<String>)> = (0..120_000).map(|id| (id, Some(id as f64), Some(format!("{id:0>150}")))).collect();
    let rows: Vec<_> = rows.iter().map(|(id, measure, label)| (*id, *measure, label.as_deref())).collect();
    let project = Project::new(&[("facts", sql, &CONTRACT.replace("text(16)", "text(256)"))], 16);
    project.put("lab.measures", measures(&rows));
    project.put("lab.labels", measures(&rows));
    project.put("facts", measures(&rows[..100_000]));
    let models = project.models().unwrap();
    let computed = models.compute(&table("facts"), project.as_of(), None, &Standard::default()).await.unwrap();
    assert_eq!(computed.rows, 120_000);
    let changes: Vec<_> = computed.changes.try_collect().await.unwrap();
    let signs = signs(&changes);
    assert_eq!((signs.len(), signs[0].as_str(), signs[19_999].as_str()), (20_000, "+100000", "+119999"));
    drop(changes);
    assert_eq!(project.spilled(), 0);
}

#[tokio::test]
async fn memory_that_is_too_small_for_anything_is_named() {
    let project = Project::with_memory(&[("facts", "SELECT id, measure, label FROM lab.measures ORDER BY label", CONTRACT)], 1000);
    project.put("lab.measures", measures(&[(1, None, None); 1]));
    let models = project.models().unwrap();
    let error = models.compute(&table("facts"), project.as_of(), None, &Standard::default()).await.unwrap_err();
    assert_eq!(error.code(), &MEMORY, "{error:?}");
}

#[tokio::test]
async fn broken_promises_are_counted_and_not_published() {
    let tests = r#"
[[tests]]
kind = "range"
column = "measure"
min = 0
max = 10
[[tests]]
kind = "accepted_values"
column = "label"
values = ["a", "b"]
severity = "warn"
[[tests]]
kind = "relationship"
column = "label"
to = "lab.labels.label"
[[tests]]
kind = "no_rows"
name = "no ones"
sql = "SELECT * FROM facts WHERE id = 1"
"#;
    let project = Project::new(&[("facts", SELECT, &format!("{CONTRACT}{tests}"))], 64);
    project.put("lab.labels", measures(&[(1, None, Some("a"))]));
    project.put(
        "lab.measures",
        measures(&[(1, Some(-1.0), Some("a")), (2, Some(10.5), Some("secret")), (2, None, None), (3, Some(10.0), Some("b"))]),
    );
    let models = project.models().unwrap();
    models.check(&[table("facts")].into()).await.unwrap_err();
    let error = models.compute(&table("facts"), project.as_of(), None, &Standard::default()).await.unwrap_err();
    assert_eq!(error.code(), &MODEL_TEST);
    let text = format!("{error:?}");
    for words in [
        "test \"unique(id)\" fails for 1 keys",
        "test \"range(measure)\" fails for 2 rows: SELECT * FROM facts WHERE \"measure\" < 0 OR \"measure\" > 10",
        "test \"relationship(label, lab.labels.label)\" fails for 2 rows",
        "test \"no ones\" fails for 1 rows",
    ] {
        assert!(text.contains(words), "{words} is not in {text}");
    }
    assert!(!text.contains("accepted_values") && !text.contains("secret"), "{text}");

    project.put("lab.measures", measures(&[(2, Some(1.0), Some("a")), (3, None, None)]));
    assert!(models.compute(&table("facts"), project.as_of(), None, &Standard::default()).await.unwrap().warnings.is_empty());
    project.put("lab.labels", measures(&[(1, None, Some("a")), (2, None, Some("c"))]));
    project.put("lab.measures", measures(&[(2, Some(1.0), Some("c"))]));
    let warnings = models.compute(&table("facts"), project.as_of(), None, &Standard::default()).await.unwrap().warnings;
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("accepted_values(label)") && warnings[0].contains("1 rows"), "{warnings:?}");
    assert_eq!(project.spilled(), 0);
}

#[tokio::test]
async fn a_key_that_is_null_is_refused() {
    let project = Project::new(&[("facts", "SELECT nullif(id, 2) AS id, measure, label FROM lab.measures", CONTRACT)], 64);
    project.put("lab.measures", measures(&[(1, None, None), (2, None, None)]));
    let error = project.models().unwrap().compute(&table("facts"), project.as_of(), None, &Standard::default()).await.unwrap_err();
    assert!(format!("{error:?}").contains("test \"not_null(id)\" fails for 1 rows"), "{error:?}");
}

#[tokio::test]
async fn a_value_that_cannot_be_computed_is_not_shown() {
    let project = Project::new(&[("facts", "SELECT id, CAST(label AS DOUBLE) AS measure, label FROM lab.measures", CONTRACT)], 64);
    project.put("lab.measures", measures(&[(1, None, Some("anna@example.com"))]));
    let error = project.models().unwrap().compute(&table("facts"), project.as_of(), None, &Standard::default()).await.unwrap_err();
    assert_eq!(error.code(), &VALUE, "{error:?}");
    assert!(!format!("{error:?}").contains("anna"), "{error:?}");
}

#[tokio::test]
async fn differences_from_the_contract_are_listed() {
    let sql = "SELECT CAST(id AS INT) AS id, label, measure, 1 AS extra FROM lab.measures";
    let project = Project::new(&[("facts", sql, CONTRACT)], 64);
    project.put("lab.measures", measures(&[]));
    let error = project.models().unwrap().compute(&table("facts"), project.as_of(), None, &Standard::default()).await.unwrap_err();
    assert_eq!(error.code(), &MODEL_SCHEMA);
    let text = format!("{error:?}");
    for words in [
        "facts.sql",
        "column \"id\": the contract says bigint (Int64), the statement gives Int32",
        "column 2: the contract has \"measure\", the statement \"label\"",
        "column \"extra\" is in the statement, but not in the contract",
    ] {
        assert!(text.contains(words), "{words} is not in {text}");
    }
}

#[tokio::test]
async fn mistakes_in_a_statement_are_shown_with_their_line() {
    for (sql, words) in [
        ("SELECT id,\n  mesure AS measure,\n  label\nFROM lab.measures", "line 2, column 3"),
        ("SELECT id,\n  measure\n  label,\nFROM FROM lab.measures", "Line: 4"),
        ("SELECT id, measure, shout(label) AS label FROM lab.measures", "shout"),
    ] {
        let project = Project::new(&[("facts", sql, CONTRACT)], 64);
        project.put("lab.measures", measures(&[]));
        let error = match project.models() {
            Ok(models) => models.compute(&table("facts"), project.as_of(), None, &Standard::default()).await.unwrap_err(),
            Err(error) => error,
        };
        assert_eq!(error.code(), &SQL, "{error:?}");
        let text = format!("{error:?}");
        assert!(text.contains(words) && text.contains("facts.sql"), "{text}");
    }
}

#[tokio::test]
async fn the_graph_comes_from_the_statements() {
    let project = Project::new(
        &[
            ("a", "SELECT f.id, f.measure, z.label FROM facts AS f JOIN z ON f.id = z.id", CONTRACT),
            ("facts", SELECT, CONTRACT),
            ("z", "WITH facts AS (SELECT * FROM lab.measures) SELECT id, measure, label FROM facts", CONTRACT),
        ],
        64,
    );
    let models = project.models().unwrap();
    let order: Vec<String> = models.nodes().iter().map(|node| node.contract.table.to_string()).collect();
    assert_eq!(order, ["facts", "z", "a"]);
    let inputs: Vec<String> = models.nodes()[2].inputs.iter().map(ToString::to_string).collect();
    assert_eq!(inputs, ["facts", "z"]);

    let circle =
        Project::new(&[("a", "SELECT * FROM b", CONTRACT), ("b", "SELECT * FROM c", CONTRACT), ("c", "SELECT * FROM b", CONTRACT)], 64);
    let error = circle.models().unwrap_err();
    assert_eq!(error.code(), &MODEL_CYCLE);
    assert!(error.message().ends_with("b reads c reads b"), "{error:?}");
}

#[tokio::test]
async fn what_nobody_makes_is_named() {
    let project = Project::new(&[("a", "SELECT * FROM missing", CONTRACT)], 64);
    let error = project.models().unwrap_err();
    assert_eq!(error.code(), &MODEL_INPUT);
    assert!(error.message().contains("\"missing\""), "{error:?}");

    let project = Project::new(&[("facts", SELECT, CONTRACT)], 64);
    let models = project.models().unwrap();
    let error = models.compute(&table("facts"), project.as_of(), None, &Standard::default()).await.unwrap_err();
    assert_eq!(error.code(), &MODEL_INPUT);
    assert!(
        error.message().contains("\"lab.measures\"") || error.causes().iter().any(|cause| cause.contains("\"lab.measures\"")),
        "{error:?}"
    );

    let project = Project::new(&[("facts", "SELECT * FROM previous.other", CONTRACT)], 64);
    assert_eq!(project.models().unwrap_err().code(), &MODEL_INPUT);
}

#[test]
fn files_that_do_not_make_a_model_are_named() {
    let project = Project::new(&[("facts", SELECT, CONTRACT)], 64);
    std::fs::remove_file(project.file("facts.toml")).unwrap();
    let error = project.models().unwrap_err();
    assert_eq!(error.code(), &MODEL_FILE);
    assert!(error.message().contains("facts.toml"), "{error:?}");
    std::fs::write(project.file("facts.toml"), CONTRACT).unwrap();
    std::fs::create_dir(project.file("more")).unwrap();
    std::fs::copy(project.file("facts.sql"), project.file("more/facts.sql")).unwrap();
    std::fs::copy(project.file("facts.toml"), project.file("more/facts.toml")).unwrap();
    assert!(project.models().unwrap_err().message().contains("declared by"));
}

#[test]
fn digests_follow_what_a_result_depends_on() {
    let sql = "SELECT id, measure, label FROM lab.measures WHERE id < parameter_int('days', 7)";
    let digest = |sql: &str, contract: &str, parameters: &[(&str, &str)]| {
        let mut project = Project::new(&[("facts", sql, contract)], 64);
        project.set(parameters);
        project.models().unwrap().nodes()[0].digest.clone()
    };
    let base = digest(sql, CONTRACT, &[("days", "3")]);
    assert_eq!(base, digest(sql, CONTRACT, &[("days", "3"), ("other", "1")]));
    assert_ne!(base, digest(sql, CONTRACT, &[("days", "4")]));
    assert_ne!(base, digest(sql, CONTRACT, &[]));
    assert_ne!(base, digest(&format!("{sql} AND id > 0"), CONTRACT, &[("days", "3")]));
    assert_ne!(base, digest(sql, &CONTRACT.replace("text(16)", "text(17)"), &[("days", "3")]));
}

#[tokio::test]
async fn queries_only_read() {
    let project = Project::new(&[("facts", SELECT, CONTRACT)], 64);
    project.put("lab.measures", measures(&[(1, Some(1.5), None)]));
    let models = project.models().unwrap();
    let session = models.session(project.as_of());
    let rows: Vec<_> = session.query("SELECT sum(id) + 0.5 AS total FROM lab.measures").await.unwrap().try_collect().await.unwrap();
    assert!(matches!(rows[0].schema().field(0).data_type(), DataType::Decimal128(..)), "literals with a point are decimals");
    let tables: Vec<_> = session.query("SHOW TABLES").await.unwrap().try_collect().await.unwrap();
    assert!(format!("{tables:?}").contains("measures"));
    for refused in [
        "CREATE TABLE t AS SELECT 1",
        "INSERT INTO lab.measures SELECT 1, 2, '3'",
        "COPY lab.measures TO '/tmp/x.csv'",
        "SET a = 1",
        "SELECT * FROM lab.nothing",
    ] {
        let error = session.query(refused).await.unwrap_err();
        assert_eq!(error.code(), &SQL, "{refused}");
    }
    let absent: TableName = "lab.labels".parse().unwrap();
    assert_eq!(models.export(&absent).await.unwrap_err().code().name, "E-BUG");
}
