//! Views: read as if they were stored, and never stored.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use futures::TryStreamExt;
use pipeline_core::model::{Computed, Models, Standard};
use pipeline_core::window::Timestamp;
use pipeline_transforms::errors::{MODEL_FILE, MODEL_INPUT, MODEL_TEST};
use pipeline_transforms::lake::LakeModels;

use crate::project::{CONTRACT, Project, table};
use crate::{measures, signs};

fn view(contract: &str) -> String {
    contract.replace("\"full\"", "\"view\"")
}

/// `known` shows the measures that have a label, `facts` is made of the large ones among these.
const KNOWN: &str = "SELECT id, measure, label FROM lab.measures WHERE label IS NOT NULL";
const FACTS: &str = "SELECT id, measure, label FROM known WHERE measure > 1";

fn project(known: &str, contract: &str) -> Project {
    let project = Project::new(&[("facts", FACTS, CONTRACT), ("known", known, contract)], 64);
    project.put("lab.measures", measures(&[(1, Some(1.0), Some("one")), (2, Some(2.0), Some("two")), (3, Some(3.0), None)]));
    project
}

async fn compute(models: &LakeModels, name: &str, as_of: Timestamp) -> pipeline_core::error::Result<Computed> {
    models.compute(&table(name), as_of, None, &Standard::default()).await
}

async fn ids(models: &LakeModels, sql: &str, as_of: Timestamp) -> Vec<i64> {
    let batches: Vec<RecordBatch> = models.session(as_of).query(sql).await.unwrap().try_collect().await.unwrap();
    batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
}

#[tokio::test]
async fn a_view_is_read_as_its_statement_gives_it_now() {
    let project = project(KNOWN, &view(CONTRACT));
    // What the lake still has from when it was stored is nothing to look at.
    project.put("known", measures(&[(9, Some(9.0), Some("old"))]));
    let models = project.models().unwrap();
    let node = |name: &str| models.nodes().iter().find(|node| node.contract.table == table(name)).unwrap();
    assert!(node("known").is_view && !node("facts").is_view);
    assert_eq!((&node("facts").inputs, &node("facts").stored), (&vec![table("known")], &vec![table("lab.measures")]));
    assert_eq!(ids(&models, "SELECT id FROM known ORDER BY id", project.as_of()).await, [1, 2]);
    let computed = compute(&models, "facts", project.as_of()).await.unwrap();
    assert!(computed.read.contains("lab.measures") && !computed.read.contains("known"), "{}", computed.read);
    assert_eq!(signs(&computed.changes.try_collect::<Vec<_>>().await.unwrap()), ["+2"]);
    project.put("lab.measures", measures(&[(4, Some(4.0), Some("four"))]));
    assert_eq!(ids(&models, "SELECT k.id FROM known AS k JOIN marts.known AS again ON k.id = again.id", project.as_of()).await, [4]);
    let of_view = compute(&models, "known", project.as_of()).await.unwrap();
    assert_eq!((of_view.rows, of_view.measured.rows), (1, 1));
    assert!(of_view.changes.try_collect::<Vec<_>>().await.unwrap().is_empty(), "nothing of it is stored");
    assert_eq!(project.spilled(), 0);
    assert!(models.has(&table("known")).await.unwrap());
    models.check(&[table("known"), table("facts")].into()).await.unwrap_err();
}

#[tokio::test]
async fn views_may_read_views_and_ask_for_now() {
    let since = "SELECT id, measure, label FROM known WHERE as_of() > TIMESTAMP '2025-01-01'";
    let project = Project::new(
        &[
            ("facts", "SELECT id, measure, label FROM since", CONTRACT),
            ("known", KNOWN, &view(CONTRACT)),
            ("since", since, &view(CONTRACT)),
        ],
        64,
    );
    project.put("lab.measures", measures(&[(1, Some(1.0), Some("one")), (3, Some(3.0), None)]));
    let models = project.models().unwrap();
    let facts = models.nodes().iter().find(|node| node.contract.table == table("facts")).unwrap().clone();
    assert!(facts.uses_as_of, "as the view does");
    assert_eq!(facts.stored, [table("lab.measures")]);
    for (as_of, rows) in [("2025-06-01T00:00:00Z", vec!["+1"]), ("2024-06-01T00:00:00Z", vec![])] {
        let computed = compute(&models, "facts", as_of.parse().unwrap()).await.unwrap();
        assert_eq!(signs(&computed.changes.try_collect::<Vec<_>>().await.unwrap()), rows);
        assert_eq!(ids(&models, "SELECT id FROM since", as_of.parse().unwrap()).await.len(), rows.len());
    }
    // Another statement of a view is another model all the way up.
    std::fs::write(project.file("known.sql"), format!("{KNOWN} AND id <> 1")).unwrap();
    let changed = project.models().unwrap();
    for name in ["known", "since", "facts"] {
        let digest = |models: &LakeModels| models.models().get(&table(name)).unwrap().digest.clone();
        assert_ne!(digest(&models), digest(&changed), "{name}");
    }
}

#[tokio::test]
async fn what_a_view_shows_is_tested() {
    let tests = "[[tests]]\nkind = \"range\"\ncolumn = \"measure\"\nmax = 1\n";
    let failing = project(KNOWN, &format!("{}{tests}", view(CONTRACT)));
    let error = compute(&failing.models().unwrap(), "known", failing.as_of()).await.unwrap_err();
    assert_eq!(error.code(), &MODEL_TEST);
    let verdicts = failing.models().unwrap().test(&table("known"), failing.as_of(), &Standard::default()).await.unwrap().unwrap();
    assert_eq!(verdicts.iter().filter(|verdict| verdict.fails()).count(), 1);

    let nothing = Project::new(&[("known", KNOWN, &view(CONTRACT))], 64);
    let models = nothing.models().unwrap();
    assert_eq!(models.test(&table("known"), nothing.as_of(), &Standard::default()).await.unwrap(), None, "it reads what is not there yet");
    assert!(!models.has(&table("known")).await.unwrap());
    assert_eq!(compute(&models, "known", nothing.as_of()).await.unwrap_err().code(), &MODEL_INPUT);
    // Its columns are those of the contract, or it cannot be read at all.
    let wrong = project("SELECT CAST(id AS INT) AS id, measure, label FROM lab.measures", &view(CONTRACT));
    let query = wrong.models().unwrap().session(wrong.as_of()).query("SELECT * FROM known").await;
    assert!(format!("{:?}", query.err().unwrap()).contains("the contract says bigint"));
}

#[test]
fn what_cannot_be_a_view_or_read_one_is_refused() {
    let incremental =
        "materialization = \"incremental\"\n[incremental]\nby = [\"id\"]\n[incremental.inputs.known]\nunits = { id = \"id\" }\n";
    let incremental = CONTRACT.replace("materialization = \"full\"\n", incremental);
    let reads = Project::new(&[("facts", FACTS, &incremental), ("known", KNOWN, &view(CONTRACT))], 64);
    let previous = Project::new(&[("known", "SELECT id, measure, label FROM previous.known", &view(CONTRACT))], 64);
    let rules = Project::new(&[("known", "SELECT id, measure, label FROM segments.rules", &view(CONTRACT))], 64);
    let section = Project::new(&[("known", KNOWN, &view(&incremental.replace("\"incremental\"", "\"view\"")))], 64);
    for (project, words) in [
        (reads, "\"known\", which is a view"),
        (previous, "\"previous.known\""),
        (rules, "\"segments.rules\""),
        (section, "materialization is \\\"view\\\""),
    ] {
        let error = project.models().unwrap_err();
        assert_eq!(error.code(), &MODEL_FILE, "{error:?}");
        let text = error.causes().join("\n");
        assert!(text.contains(&words.replace('\\', "")), "{words}: {error:?}");
    }
    // A model that is made of a view has a former result, the view has none.
    let former = "SELECT id, measure, label FROM lab.measures UNION ALL SELECT id, measure, label FROM previous.known";
    let former = Project::new(&[("facts", former, CONTRACT), ("known", "SELECT * FROM facts", &view(CONTRACT))], 64);
    assert_eq!(former.models().unwrap_err().code(), &MODEL_INPUT);
}
