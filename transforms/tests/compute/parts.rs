//! Incremental models over tables with former states: what is computed, and when all of it is.

use futures::TryStreamExt;
use pipeline_core::ledger::Basis;
use pipeline_core::model::{Models, Standard};
use pipeline_transforms::compute::PartsBounds;
use pipeline_transforms::errors::{MODEL_FILE, MODEL_INPUT, MODEL_SCHEMA, MODEL_TEST, SQL};
use pipeline_transforms::lake::LakeModels;

use crate::project::{CONTRACT, Project, table};
use crate::{measures, signs};

const SELECT: &str = "SELECT m.id, m.measure, l.label FROM lab.measures AS m LEFT JOIN lab.labels AS l ON m.id = l.id";

const SECTION: &str = r#"materialization = "incremental"
[incremental]
by = ["id"]
[incremental.inputs."lab.measures"]
units = { id = "id" }
[incremental.inputs."lab.labels"]
units = "SELECT id FROM changed.rows"
rows = { id = "id" }
"#;

fn contract() -> String {
    CONTRACT.replace("materialization = \"full\"\n", SECTION)
}

/// Six measures with labels, and the table that follows from them.
fn project(contract: &str) -> Project {
    let project = Project::new(&[("facts", SELECT, contract)], 64);
    project.put("lab.measures", measures(&[1, 2, 3, 4, 5, 6].map(|id| (id, Some(id as f64), None))));
    project.put("lab.labels", measures(&[(1, None, Some("one")), (2, None, Some("two"))]));
    let facts = [
        (1, Some(1.0), Some("one")),
        (2, Some(2.0), Some("two")),
        (3, Some(3.0), None),
        (4, Some(4.0), None),
        (5, Some(5.0), None),
        (6, Some(6.0), None),
    ];
    project.put("facts", measures(&facts));
    project
}

async fn compute(project: &Project, since: Option<&Basis>) -> (Vec<String>, String, Basis) {
    let models = project.models().unwrap();
    let computed = models.compute(&table("facts"), project.as_of(), since, &Standard::default()).await.unwrap();
    let own = models.state(&table("facts")).await.unwrap().unwrap();
    let changes: Vec<_> = computed.changes.try_collect().await.unwrap();
    (signs(&changes), computed.note, Basis { read: computed.read, own })
}

#[tokio::test]
async fn only_touched_units_are_computed() {
    let project = project(&contract());
    let (changes, note, basis) = compute(&project, None).await;
    assert!(changes.is_empty(), "{changes:?}");
    assert_eq!(note, "computed whole: there is no earlier result to go on from");
    // Nothing changed, and then something that nobody looks at.
    let untouched = (Vec::new(), "0 of 6 units by id".to_owned());
    let (changes, note, _) = compute(&project, Some(&basis)).await;
    assert_eq!((changes, note), untouched);
    project.put("lab.measures", measures(&[1, 2, 3, 4, 5, 6].map(|id| (id, Some(id as f64), Some("unread")))));
    let (changes, note, _) = compute(&project, Some(&basis)).await;
    assert_eq!((changes, note), untouched);
    // A row that changed, a new one and one that is gone.
    project.put(
        "lab.measures",
        measures(&[
            (1, Some(1.0), None),
            (2, Some(2.5), None),
            (3, Some(3.0), None),
            (4, Some(4.0), None),
            (5, Some(5.0), None),
            (7, None, None),
        ]),
    );
    let (changes, note, _) = compute(&project, Some(&basis)).await;
    assert_eq!(changes, ["+2", "+7", "-6"]);
    assert_eq!(note, "3 of 6 units by id computed anew");
    // One that another input touches as well; what is computed need not differ.
    project.put("lab.labels", measures(&[(1, Some(9.9), Some("one")), (2, None, Some("zwei"))]));
    let (changes, note, _) = compute(&project, Some(&basis)).await;
    assert_eq!(changes, ["+2", "+7", "-6"]);
    assert_eq!(note, "3 of 6 units by id computed anew");
    assert_eq!(project.spilled(), 0, "nothing stays in the spill folder");
}

#[tokio::test]
async fn what_is_not_as_recorded_makes_the_model_whole() {
    let mut project = project(&contract());
    let (_, _, basis) = compute(&project, None).await;
    let more = |id: i64| (id, Some(0.5), None);
    project.put(
        "lab.measures",
        measures(&[(1, Some(1.0), None), more(2), (3, Some(3.0), None), (4, Some(4.0), None), (5, Some(5.0), None), (6, Some(6.0), None)]),
    );
    let told = async |project: &Project, basis: &Basis| {
        let (changes, note, _) = compute(project, Some(basis)).await;
        assert_eq!(changes, ["+2"], "the result does not depend on what is known: {note}");
        note
    };
    assert_eq!(told(&project, &basis).await, "1 of 6 units by id computed anew");
    for (from, to, reason) in [
        ("\"own\":\"1\"", "\"own\":\"0\"", "its table was changed from outside"),
        ("lab.labels\\\":\\\"1", "lab.labels\\\":\\\"99", "what changed in \"lab.labels\" cannot be told"),
        ("lab.labels\\\":", "lab.other\\\":", "\"lab.labels\" is new"),
        ("\\\"digest\\\":\\\"", "\\\"digest\\\":\\\"0", "its statement, contract or parameters changed"),
        ("\\\"program\\\":\\\"", "\\\"program\\\":\\\"0", "another version of the program made the table"),
        ("{\\\"program", "[\\\"program", "another version of the program made the table"),
    ] {
        let text = serde_json::to_string(&basis).unwrap();
        let changed = text.replace(from, to);
        assert_ne!(text, changed, "{from}");
        assert_eq!(told(&project, &serde_json::from_str(&changed).unwrap()).await, format!("computed whole: {reason}"));
    }
    // Most of the units.
    project.put("lab.measures", measures(&[1, 2, 3, 4, 5, 6].map(more)));
    let (changes, note, _) = compute(&project, Some(&basis)).await;
    assert_eq!(changes.len(), 6);
    assert_eq!(note, "computed whole: 6 of 6 units by id are touched");
    project.set(&[("unread", "1")]);
    assert_eq!(compute(&project, Some(&basis)).await.1, note);
    // More rows than are held in memory: each of the six as it was and as it is.
    for (changed_rows_max, reason) in [(11, "more than 11 rows changed"), (12, "6 of 6 units by id are touched")] {
        let models = project.models().unwrap().bounded_by(PartsBounds { changed_rows_max, ..PartsBounds::default() });
        let computed = models.compute(&table("facts"), project.as_of(), Some(&basis), &Standard::default()).await.unwrap();
        assert_eq!(computed.note, format!("computed whole: {reason}"));
    }
}

#[tokio::test]
async fn units_that_the_table_has_not_yet_do_not_make_it_whole() {
    let project = project(&contract());
    let (_, _, basis) = compute(&project, None).await;
    let rows: Vec<_> = (2..=20).map(|id| (id, Some(id as f64), None)).collect();
    project.put("lab.measures", measures(&rows));
    let (changes, note, _) = compute(&project, Some(&basis)).await;
    assert_eq!(changes.len(), 15, "{changes:?}");
    assert_eq!(note, "15 units by id, 1 of the table's 6 among them, computed anew");
    project.put("facts", measures(&[]));
    let (_, _, basis) = compute(&project, None).await;
    project.put("lab.measures", measures(&rows[1..]));
    let (changes, note, _) = compute(&project, Some(&basis)).await;
    assert_eq!((changes.len(), note.as_str()), (18, "computed whole: 1 units by id, 0 of the table's 0 among them, are touched"));
}

#[tokio::test]
async fn tests_that_ask_for_several_rows_see_the_whole_table() {
    let tests = r#"
[[tests]]
kind = "unique"
column = "measure"
[[tests]]
kind = "range"
column = "measure"
max = 100
"#;
    let project = project(&format!("{}{tests}", contract()));
    let (_, _, basis) = compute(&project, None).await;
    // Twice the measure of a row that is not computed anew.
    project.put(
        "lab.measures",
        measures(&[
            (1, Some(1.0), None),
            (2, Some(2.0), None),
            (3, Some(3.0), None),
            (4, Some(4.0), None),
            (5, Some(5.0), None),
            (6, Some(1.0), None),
        ]),
    );
    let models = project.models().unwrap();
    let error = models.compute(&table("facts"), project.as_of(), Some(&basis), &Standard::default()).await.unwrap_err();
    assert_eq!(error.code(), &MODEL_TEST);
    assert!(format!("{error:?}").contains("test \"unique(measure)\" fails for 1 keys"), "{error:?}");
    project.put(
        "lab.measures",
        measures(&[
            (1, Some(1.0), None),
            (2, Some(2.0), None),
            (3, Some(3.0), None),
            (4, Some(4.0), None),
            (5, Some(5.0), None),
            (6, Some(101.0), None),
        ]),
    );
    let error = models.compute(&table("facts"), project.as_of(), Some(&basis), &Standard::default()).await.unwrap_err();
    assert!(format!("{error:?}").contains("test \"range(measure)\" fails for 1 rows"), "{error:?}");
}

#[tokio::test]
async fn what_only_warns_is_told_each_time_also_of_rows_that_were_not_computed() {
    let tests = "\n[[tests]]\nkind = \"not_null\"\ncolumn = \"label\"\nseverity = \"warn\"\n";
    let project = project(&format!("{}{tests}", contract()));
    let (_, _, basis) = compute(&project, None).await;
    let warnings = async |rows: u64| {
        let models = project.models().unwrap();
        let computed = models.compute(&table("facts"), project.as_of(), Some(&basis), &Standard::default()).await.unwrap();
        assert_eq!(computed.rows, rows, "{}", computed.note);
        computed.warnings.join("\n")
    };
    // Four of the six have no label.
    let told = warnings(0).await;
    assert!(told.contains("4 rows"), "{told}");
    let labels = [(1, None, Some("one")), (2, None, Some("two")), (3, None, Some("three"))];
    project.put("lab.labels", measures(&labels));
    let told = warnings(1).await;
    assert!(told.contains("3 rows"), "{told}");
}

async fn refused(sql: &str, contract: &str) -> pipeline_core::error::Error {
    let project = Project::new(&[("facts", sql, contract)], 64);
    project.put("lab.measures", measures(&[]));
    project.put("lab.labels", measures(&[]));
    let models: LakeModels = match project.models() {
        Ok(models) => models,
        Err(error) => return error,
    };
    let source = |name: &str| {
        let mut contract = crate::contract(&models, "facts");
        contract.table = name.parse().unwrap();
        contract
    };
    let sources = vec![source("lab.measures"), source("lab.labels")];
    let session = models.session(project.as_of());
    let made = [table("facts")].into();
    pipeline_transforms::compute::check_models(&session, models.models(), &sources, &made).await.unwrap_err()
}

#[tokio::test]
async fn units_that_cannot_be_right_are_refused_before_any_data() {
    let contract = contract();
    for (from, to, code, words) in [
        ("units = { id = \"id\" }", "units = { id = \"ident\" }", &SQL, "ident"),
        (
            "units = { id = \"id\" }",
            "units = { id = \"measure\" }",
            &MODEL_SCHEMA,
            "`units` gives column \"id\" as Float64, and the contract says Int64",
        ),
        ("SELECT id FROM changed.rows", "SELECT id AS ident FROM changed.rows", &MODEL_SCHEMA, "`units` does not give column \"id\""),
        ("SELECT id FROM changed.rows", "SELECT id, label FROM changed.rows", &MODEL_SCHEMA, "not in `by`"),
        ("SELECT id FROM changed.rows", "SELECT id FROM lab.other", &MODEL_INPUT, "\"lab.other\""),
        ("SELECT id FROM changed.rows", "SELECT id FROM changed.units", &MODEL_INPUT, "\"changed.units\""),
        ("SELECT id FROM changed.rows", "SELECT id FROM changed.rows WHERE as_of() IS NOT NULL", &MODEL_FILE, "as_of()"),
        ("rows = { id = \"id\" }", "rows = { id = \"label\" }", &MODEL_SCHEMA, "`rows` gives column \"id\" as Utf8"),
        ("rows = { id = \"id\" }", "rows = \"SELECT id FROM lab.labels\"", &SQL, "label"),
        ("lab.labels\"]", "lab.others\"]", &MODEL_FILE, "says nothing of \"lab.labels\""),
    ] {
        let changed = contract.replace(from, to);
        assert_ne!(changed, contract, "{from}");
        let error = refused(SELECT, &changed).await;
        assert_eq!(error.code(), code, "{to}: {error:?}");
        let text = format!("{error:?}");
        assert!(text.contains(words) && text.contains("facts.toml"), "{to}: {text}");
    }
    let by_itself = SELECT.replace("m.measure", "CASE WHEN as_of() IS NULL THEN m.measure END AS measure");
    assert!(format!("{:?}", refused(&by_itself, &contract).await).contains("rows change by themselves"));
    let of_itself = format!("{SELECT} LEFT JOIN previous.facts AS p ON p.id = m.id");
    assert!(format!("{:?}", refused(&of_itself, &contract).await).contains("its own former result"));
}
