//! The run loop over parts in memory: what moves, what does not, and what a death between any two ledger entries leaves.
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails, as it should")]

mod memory;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::TryStreamExt;
use memory::{MemoryLedger, MemoryLoader, Rows, TestClock, TestModels, TestSource, objects};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use pipeline_core::error::{BUG, Code, ErrorKind};
use pipeline_core::landing::{LANDING, Landing};
use pipeline_core::name::TableName;
use pipeline_core::run::{
    BackfillRequest, Destination, Engine, EngineSettings, Parts, Resume, RunKind, RunRequest, RunStatus, Selection, Stop, Unobserved,
};
use pipeline_core::window::{Timestamp, Window};

struct World {
    source: TestSource,
    lake: Arc<MemoryLoader>,
    warehouse: Arc<MemoryLoader>,
    ledger: Arc<MemoryLedger>,
    store: Arc<dyn ObjectStore>,
}

fn table(name: &str) -> TableName {
    name.parse().unwrap()
}

impl World {
    fn new() -> Self {
        let rows: Rows = (0..20).map(|id| (id, (id * 10, id))).collect();
        Self {
            source: TestSource::new(table("shop.numbers"), rows),
            lake: MemoryLoader::new("lake"),
            warehouse: MemoryLoader::new("warehouse"),
            ledger: Arc::default(),
            store: Arc::new(InMemory::new()),
        }
    }

    fn engine(&self) -> Engine {
        let lake: Arc<MemoryLoader> = Arc::clone(&self.lake);
        let warehouse: Arc<MemoryLoader> = Arc::clone(&self.warehouse);
        let parts = Parts {
            pipeline: "nightly".to_owned(),
            sources: Arc::new(self.source.clone()),
            models: Arc::new(TestModels::new(Arc::clone(&self.lake))),
            lake,
            destinations: vec![Destination { loader: warehouse, tables: [table("doubled"), table("listed")].into() }],
            landing: Landing::new(Arc::clone(&self.store), Path::from("landing"), "memory:///landing"),
            ledger: Arc::<MemoryLedger>::clone(&self.ledger),
            clock: Arc::new(TestClock::default()),
            observer: Arc::new(Unobserved),
            stop: Stop::default(),
        };
        // One slice after the other, so that it is known which are landed when something breaks.
        Engine::new(parts, EngineSettings { pause_ms: 1, slices_in_flight_max: 1, ..EngineSettings::default() })
    }

    fn check(&self) {
        let source = self.source.rows.lock().unwrap().clone();
        let doubled: Rows = source.iter().map(|(id, row)| (*id, (row.0 * 2, row.1))).collect();
        assert_eq!(self.lake.rows(&table("shop.numbers")), source);
        for name in ["doubled", "listed"] {
            assert_eq!(self.lake.rows(&table(name)), doubled, "{name} in the lake");
            assert_eq!(self.warehouse.rows(&table(name)), doubled, "{name} in the warehouse");
        }
    }

    /// A run of a selection without the table.
    async fn run_nothing(&self) {
        let selection = Selection { only: vec!["doubled".to_owned()], ..Selection::default() };
        drop(self.engine().run(RunRequest { selection, ..request() }, Resume::Continue).await);
    }

    async fn run(&self) -> RunStatus {
        let (report, error) = self.engine().run(request(), Resume::Continue).await.unwrap();
        assert!(error.is_none(), "{error:?}");
        report.status
    }
}

fn request() -> RunRequest {
    RunRequest {
        kind: RunKind::Run,
        window: None,
        as_of: Timestamp::from_microseconds(0),
        selection: Selection::default(),
        full_refresh: false,
    }
}

#[tokio::test]
async fn the_second_run_moves_nothing_and_the_third_only_what_changed() {
    let world = World::new();
    assert_eq!(world.run().await, RunStatus::Done);
    world.check();
    let commits = world.lake.commits.load(Ordering::Relaxed);
    let landed = objects(&world.store).await;
    assert_eq!(world.run().await, RunStatus::Unchanged);
    assert_eq!(world.lake.commits.load(Ordering::Relaxed), commits);
    assert_eq!(objects(&world.store).await, landed);
    world.source.rows.lock().unwrap().insert(3, (999, 100));
    assert_eq!(world.run().await, RunStatus::Done);
    world.check();
}

#[tokio::test]
async fn a_death_after_any_ledger_entry_is_mended_by_the_next_run() {
    let undisturbed = World::new();
    undisturbed.run().await;
    let entries = undisturbed.ledger.len();
    assert!(entries > 12);
    for dies_after in 0..entries {
        let world = World::new();
        *world.ledger.dies_after.lock().unwrap() = Some(dies_after);
        let died = world.engine().run(request(), Resume::Continue).await;
        assert!(died.is_err() || died.is_ok_and(|(_, error)| error.is_some()), "after {dies_after} entries");
        world.ledger.revive();
        world.run().await;
        world.check();
        assert_eq!(world.run().await, RunStatus::Unchanged, "after {dies_after} entries");
    }
}

#[tokio::test]
async fn a_death_in_a_reading_that_can_be_continued_costs_only_slices_that_were_not_landed() {
    let resumable = || {
        let world = World::new();
        world.source.resumable.store(true, Ordering::Relaxed);
        *world.source.rejected.lock().unwrap() = 3;
        world
    };
    let undisturbed = resumable();
    undisturbed.run().await;
    let entries = undisturbed.ledger.len();
    let mut continued = 0;
    for dies_after in 0..entries {
        let world = resumable();
        *world.ledger.dies_after.lock().unwrap() = Some(dies_after);
        drop(world.engine().run(request(), Resume::Continue).await);
        world.ledger.revive();
        let landed = world.ledger.slices_landed();
        world.source.reads.lock().unwrap().clear();
        // Rows of both halves change, and one is new: whatever is read when, the run ends with the table as it is.
        for (id, at) in [(0, 100), (1, 101), (70, 102)] {
            world.source.rows.lock().unwrap().insert(id, (id + 1000, at));
        }
        let (report, error) = world.engine().run(request(), Resume::Continue).await.unwrap();
        assert!(error.is_none(), "{error:?}");
        let read = world.source.reads.lock().unwrap().clone();
        assert!(landed.iter().all(|half| !read.contains(half)), "after {dies_after} entries: {landed:?} landed, {read:?} read");
        if landed == [0] {
            continued += 1;
            let step = |name: &str| report.steps.iter().find(|step| step.name == name).unwrap();
            let extract = step("extract shop.numbers");
            assert!(extract.note.contains("1 of its 2 slices had been landed before"), "{extract:?}");
            // A row that changed before its slice was read is not in it; the lookback brings three rows again.
            assert_eq!((extract.rows_rejected, extract.rows_out, step("follow shop.numbers").rows_out), (3, 19, 6), "{extract:?}");
            world.check();
        }
        world.run().await;
        world.check();
        assert_eq!(world.run().await, RunStatus::Unchanged, "after {dies_after} entries");
    }
    assert_eq!(continued, 1, "a death between the two slices was among them");
}

#[tokio::test]
async fn a_model_that_was_landed_before_a_table_moved_is_made_again_by_the_next_run() {
    for entries in 1.. {
        let world = World::new();
        let table_alone = Selection { only: vec!["shop.numbers".to_owned()], ..Selection::default() };
        world.engine().run(RunRequest { selection: table_alone, ..request() }, Resume::Continue).await.unwrap();
        // The table has nothing new, so it is not landed when the models are made; then the process dies.
        *world.ledger.dies_after.lock().unwrap() = Some(world.ledger.len() + entries);
        let died = world.engine().run(request(), Resume::Continue).await;
        world.ledger.revive();
        if died.is_ok_and(|(_, error)| error.is_none()) {
            assert!(entries > 10);
            break;
        }
        world.source.rows.lock().unwrap().insert(3, (999, 100));
        world.run().await;
        world.run().await;
        world.check();
    }
}

#[tokio::test]
async fn a_run_after_a_failed_one_reads_what_was_not_landed_unless_all_is_asked_for() {
    let broken = async |code: &'static Code, times: u32| {
        let world = World::new();
        world.source.resumable.store(true, Ordering::Relaxed);
        *world.source.breaks.lock().unwrap() = Some((1, code, times));
        let (_, error) = world.engine().run(request(), Resume::Continue).await.unwrap();
        assert_eq!(error.is_some(), *world.source.reads.lock().unwrap() == [0]);
        world
    };
    let again = async |world: &World, request: RunRequest, resume: Resume| {
        *world.source.breaks.lock().unwrap() = None;
        let (report, error) = world.engine().run(request, resume).await.unwrap();
        assert!(error.is_none() && !report.resumed, "{error:?}");
        world.check();
        (world.source.reads.lock().unwrap().clone(), report.warnings)
    };
    // Within one run: the second attempt of the table goes on.
    let world = broken(&LANDING, 2).await;
    assert_eq!(*world.source.reads.lock().unwrap(), [0, 1]);
    world.check();
    let world = broken(&BUG, 9).await;
    assert_eq!(again(&world, request(), Resume::Continue).await.0, [0, 1]);
    // Also over a run that does not come to it.
    let world = broken(&BUG, 9).await;
    world.run_nothing().await;
    assert_eq!(again(&world, request(), Resume::Continue).await.0, [0, 1]);
    for (request, resume) in [(RunRequest { full_refresh: true, ..request() }, Resume::Continue), (request(), Resume::Restart)] {
        let world = broken(&BUG, 9).await;
        assert_eq!(again(&world, request, resume).await.0, [0, 0, 1]);
    }
    // The source says no.
    let world = broken(&BUG, 9).await;
    world.source.resumable.store(false, Ordering::Relaxed);
    assert_eq!(again(&world, request(), Resume::Continue).await.0, [0, 0, 1]);
    // What lies in the landing is not what was written.
    let world = broken(&BUG, 9).await;
    let landed: Vec<_> = world.store.list(None).try_collect().await.unwrap();
    let part = landed.iter().find(|object| object.location.as_ref().contains("part-")).unwrap();
    world.store.put(&part.location, "other bytes".into()).await.unwrap();
    let (read, warnings) = again(&world, request(), Resume::Continue).await;
    assert!(read == [0, 0, 1] && warnings.iter().any(|warning| warning.contains("slice 0 is read again")), "{read:?} {warnings:?}");
}

#[tokio::test]
async fn lost_answers_are_asked_again_without_loading_twice() {
    let world = World::new();
    world.lake.lost_answers.store(2, Ordering::Relaxed);
    world.warehouse.lost_answers.store(1, Ordering::Relaxed);
    world.warehouse.refusals.store(1, Ordering::Relaxed);
    assert_eq!(world.run().await, RunStatus::Done);
    world.check();
    assert_eq!(world.lake.commits.load(Ordering::Relaxed), 3);
    assert_eq!(world.warehouse.commits.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_destination_that_failed_catches_up_by_the_whole_table() {
    let world = World::new();
    world.warehouse.refusals.store(1000, Ordering::Relaxed);
    let (report, error) = world.engine().run(request(), Resume::Continue).await.unwrap();
    assert_eq!(report.status, RunStatus::Failed);
    assert_eq!(error.unwrap().kind(), ErrorKind::Unavailable);
    world.warehouse.refusals.store(0, Ordering::Relaxed);
    world.source.rows.lock().unwrap().insert(50, (5, 200));
    assert_eq!(world.run().await, RunStatus::Done);
    world.check();
}

#[tokio::test]
async fn a_lake_that_was_lost_is_made_again_above_the_warehouse() {
    let mut world = World::new();
    world.run().await;
    world.source.rows.lock().unwrap().insert(60, (6, 300));
    world.run().await;
    world.lake = MemoryLoader::new("lake");
    world.ledger = Arc::default();
    assert_eq!(world.run().await, RunStatus::Done);
    world.check();
    assert_eq!(world.run().await, RunStatus::Unchanged);
}

#[tokio::test]
async fn a_death_while_a_lost_lake_is_made_again_is_mended_by_the_next_run() {
    for dies_after in 0..40 {
        let mut world = World::new();
        world.run().await;
        world.source.rows.lock().unwrap().insert(60, (6, 300));
        world.run().await;
        world.lake = MemoryLoader::new("lake");
        world.ledger = Arc::default();
        *world.ledger.dies_after.lock().unwrap() = Some(dies_after);
        drop(world.engine().run(request(), Resume::Continue).await);
        world.ledger.revive();
        world.run().await;
        world.check();
        assert_eq!(world.run().await, RunStatus::Unchanged, "after {dies_after} entries");
    }
}

#[tokio::test]
async fn too_many_rejected_rows_fail_the_run_before_anything_is_published() {
    let world = World::new();
    *world.source.rejected.lock().unwrap() = 100;
    let (report, error) = world.engine().run(request(), Resume::Continue).await.unwrap();
    assert_eq!(report.status, RunStatus::Failed);
    let error = error.unwrap();
    assert_eq!(error.code().name, "E-REJECTED");
    assert!(error.causes().iter().any(|cause| cause.contains("column \"value\": odd (100 rows)")), "{error:?}");
    assert_eq!(world.lake.commits.load(Ordering::Relaxed), 0);
    *world.source.rejected.lock().unwrap() = 1;
    assert_eq!(world.run().await, RunStatus::Done);
    world.check();
}

#[tokio::test]
async fn a_backfill_in_windows_equals_one_run_and_does_only_what_is_missing() {
    let world = World::new();
    let window = |from: i64, to: i64| Window::new(Timestamp::from_microseconds(from), Timestamp::from_microseconds(to)).unwrap();
    let windows = vec![window(0, 5), window(5, 10), window(10, 15), window(15, 20)];
    let request = BackfillRequest { windows: windows.clone(), parallel: 2, restart: false, template: request() };
    *world.ledger.dies_after.lock().unwrap() = Some(15);
    let died = world.engine().backfill(request.clone()).await;
    assert!(died.is_err() || died.is_ok_and(|(_, error)| error.is_some()));
    world.ledger.revive();
    let (report, error) = world.engine().backfill(request.clone()).await.unwrap();
    assert!(error.is_none(), "{error:?}");
    assert_eq!(report.windows.len(), 4);
    world.check();
    let (again, error) = world.engine().backfill(request).await.unwrap();
    assert!(error.is_none());
    assert!(again.windows.iter().all(|window| window.status.is_none()));
    world.check();
}

#[tokio::test]
async fn a_second_run_at_once_is_refused() {
    let world = World::new();
    let first = world.engine();
    let second = world.engine();
    let (one, two) = tokio::join!(first.run(request(), Resume::Continue), second.run(request(), Resume::Continue));
    let refused = [one.err(), two.err()].into_iter().flatten().collect::<Vec<_>>();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].kind(), ErrorKind::Conflict);
}
