use pipeline_core::clock::SystemClock;
use pipeline_core::extract::Cursor;
use pipeline_core::late::LateRows;
use pipeline_core::run::{RunKind, RunRequest, RunStatus, Selection};

use super::*;

async fn ledger(folder: &Path) -> SqliteLedger {
    SqliteLedger::open(&folder.join("ledger.db"), Arc::new(SystemClock)).await.unwrap()
}

fn request() -> RunRequest {
    RunRequest {
        kind: RunKind::Run,
        window: None,
        as_of: "2025-01-01T00:00:00Z".parse().unwrap(),
        selection: Selection::default(),
        full_refresh: false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_file_that_many_make_at_once_is_made_once_and_opened_by_all() {
    for _ in 0..10 {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ledger.db");
        let opening: Vec<_> = (0..8)
            .map(|_| {
                let file = file.clone();
                tokio::spawn(async move { SqliteLedger::open(&file, Arc::new(SystemClock)).await.map(drop) })
            })
            .collect();
        for opened in opening {
            opened.await.unwrap().unwrap();
        }
    }
}

#[tokio::test]
async fn entries_come_back_and_their_indexes_follow() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = ledger(folder.path()).await;
    let lease = ledger.acquire("nightly").await.unwrap();
    let table: TableName = "shop.orders".parse().unwrap();
    let checkpoint = Checkpoint { upper: Cursor::Time("2025-01-01T00:00:00Z".parse().unwrap()), fingerprint: None };
    let window = Window::new("2025-01-01".parse().unwrap(), "2025-01-02".parse().unwrap()).unwrap();
    let mut late = LateRows::default();
    late.record(3_000_000);
    let entries = [
        Entry::RunStarted { request: request() },
        Entry::CheckpointAdvanced { table: table.clone(), checkpoint: checkpoint.clone() },
        Entry::ModelStored { table: table.clone(), basis: Basis { read: "r".to_owned(), own: "1".to_owned() } },
        Entry::ModelStored { table: table.clone(), basis: Basis { read: "r".to_owned(), own: "2".to_owned() } },
        Entry::ModelDone { table: table.clone(), state: "s".to_owned() },
        Entry::ModelMeasured { table: table.clone(), measured: measured(6, false) },
        Entry::ModelMeasured { table: table.clone(), measured: measured(7, false) },
        Entry::WindowDone { window },
        Entry::RowsLate { table: table.clone(), late: late.clone() },
        Entry::RowsLate { table: table.clone(), late: LateRows::default() },
    ];
    ledger.append(&lease, "run-1", &entries).await.unwrap();
    assert_eq!(ledger.runs(None, 10).await.unwrap()[0].status, None);
    ledger.append(&lease, "run-1", &[Entry::RunFinished { status: RunStatus::Done, error: None }]).await.unwrap();
    assert_eq!(ledger.entries("run-1").await.unwrap().len(), 11);
    assert_eq!(ledger.checkpoint("nightly", &table).await.unwrap(), Some(checkpoint));
    assert_eq!(ledger.model_state("nightly", &table).await.unwrap().as_deref(), Some("s"));
    let basis = Basis { read: "r".to_owned(), own: "2".to_owned() };
    assert_eq!(ledger.model_basis("nightly", &table).await.unwrap(), Some(basis), "the latest");
    assert_eq!(ledger.model_basis("other", &table).await.unwrap(), None);
    assert_eq!(ledger.late_rows("nightly", &table, 10).await.unwrap(), [LateRows::default(), late], "the newest first");
    assert_eq!(ledger.late_rows("nightly", &table, 1).await.unwrap(), [LateRows::default()]);
    assert_eq!(ledger.windows_done("nightly").await.unwrap(), [window]);
    assert_eq!(ledger.runs(Some("nightly"), 10).await.unwrap()[0].status, Some(RunStatus::Done));
    assert!(ledger.runs(Some("other"), 10).await.unwrap().is_empty());
}

fn measured(rows: u64, begins_anew: bool) -> Measured {
    Measured { rows, columns: [("mean(total)".to_owned(), 0.1 + 0.2)].into(), begins_anew }
}

#[tokio::test]
async fn a_run_measures_a_model_once_and_a_new_beginning_hides_what_was_before() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = ledger(folder.path()).await;
    let lease = ledger.acquire("nightly").await.unwrap();
    let table: TableName = "orders".parse().unwrap();
    let rows = async |runs_max| ledger.measured("nightly", &table, runs_max).await.unwrap().iter().map(|one| one.rows).collect::<Vec<_>>();
    for (run, rows, begins_anew) in [("1", 10, false), ("2", 20, false), ("3", 30, false), ("3", 31, false)] {
        let entry = Entry::ModelMeasured { table: table.clone(), measured: measured(rows, begins_anew) };
        ledger.append(&lease, run, &[Entry::ModelDone { table: table.clone(), state: "s".to_owned() }, entry]).await.unwrap();
    }
    assert_eq!(rows(30).await, [31, 20, 10], "what a run did again counts once");
    assert_eq!(rows(2).await, [31, 20]);
    assert_eq!(ledger.measured("other", &table, 30).await.unwrap(), []);
    for (run, rows, begins_anew) in [("4", 900, true), ("5", 910, false)] {
        let entry = Entry::ModelMeasured { table: table.clone(), measured: measured(rows, begins_anew) };
        ledger.append(&lease, run, &[entry]).await.unwrap();
    }
    assert_eq!(rows(30).await, [910, 900]);
    assert_eq!(ledger.measured("nightly", &table, 1).await.unwrap(), [measured(910, false)]);
}

#[tokio::test]
async fn a_second_holder_is_refused_and_an_overtaken_one_is_fenced() {
    let folder = tempfile::tempdir().unwrap();
    let first = ledger(folder.path()).await;
    let second = ledger(folder.path()).await;
    let lease = first.acquire("nightly").await.unwrap();
    let refused = second.acquire("nightly").await.unwrap_err();
    assert_eq!(refused.code(), &LEASE);
    assert!(refused.causes()[0].contains("holds the lease since"));
    // Another pipeline is free.
    second.acquire("hourly").await.unwrap();
    first.release(lease.clone()).await.unwrap();
    let newer = second.acquire("nightly").await.unwrap();
    assert_eq!(newer.epoch, lease.epoch + 1);
    let fenced = first.append(&lease, "run-1", &[Entry::RunStarted { request: request() }]).await.unwrap_err();
    assert_eq!(fenced.code(), &FENCED);
}
