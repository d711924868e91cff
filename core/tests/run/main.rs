//! The run loop over parts in memory: what moves, what does not, and what a death between any two ledger entries leaves.
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails, as it should")]

mod memory;
mod readings;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use memory::{Asked, MemoryLedger, MemoryLoader, Rows, TestClock, TestModels, TestSource, objects};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use pipeline_core::error::ErrorKind;
use pipeline_core::landing::Landing;
use pipeline_core::ledger::Ledger;
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
    asked: Asked,
    /// Whether `doubled` keeps what only former runs could make.
    keeps_former: bool,
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
            asked: Asked::default(),
            keeps_former: false,
        }
    }

    fn engine(&self) -> Engine {
        let lake: Arc<MemoryLoader> = Arc::clone(&self.lake);
        let warehouse: Arc<MemoryLoader> = Arc::clone(&self.warehouse);
        let mut models = TestModels::new(Arc::clone(&self.lake), Arc::clone(&self.asked));
        models.nodes[0].keeps_former = self.keeps_former;
        let parts = Parts {
            pipeline: "nightly".to_owned(),
            sources: Arc::new(self.source.clone()),
            models: Arc::new(models),
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

    /// A world whose second run, over one row that changed, died after so many entries; None if it came to its end before.
    async fn cut_off_after(entries: usize) -> Option<Self> {
        let world = Self::new();
        world.run().await;
        world.source.rows.lock().unwrap().insert(3, (999, 100));
        *world.ledger.dies_after.lock().unwrap() = Some(world.ledger.len() + entries);
        let died = world.engine().run(request(), Resume::Continue).await;
        world.ledger.revive();
        (!died.is_ok_and(|(_, error)| error.is_none())).then_some(world)
    }

    /// Loads a window again, after which all is as the source has it.
    async fn backfill(&self, from: i64, to: i64) {
        let window = Window::new(Timestamp::from_microseconds(from), Timestamp::from_microseconds(to)).unwrap();
        let request = BackfillRequest { windows: vec![window], parallel: 1, restart: false, template: request() };
        let (_, error) = self.engine().backfill(request).await.unwrap();
        assert!(error.is_none(), "{error:?}");
        self.check();
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
        let measured = world.ledger.measured("nightly", &table("doubled"), 30).await.unwrap();
        assert_eq!(measured.iter().map(|one| one.rows).collect::<Vec<_>>(), [20], "measured once, after {dies_after} entries");
        assert_eq!(world.run().await, RunStatus::Unchanged, "after {dies_after} entries");
    }
}

#[tokio::test]
async fn a_result_is_held_against_former_runs_unless_it_is_changed_on_purpose() {
    let world = World::new();
    let mut next = 1000;
    let mut night = async |request: RunRequest| {
        next += 1;
        world.source.rows.lock().unwrap().insert(next, (5, next));
        let (report, error) = world.engine().run(request, Resume::Continue).await.unwrap();
        assert!(error.is_none(), "{error:?}");
        report.warnings.into_iter().find_map(|warning| warning.strip_prefix("doubled ").map(str::to_owned)).unwrap()
    };
    assert_eq!(night(request()).await, "after ");
    assert_eq!(night(request()).await, "after 21");
    assert_eq!(night(request()).await, "after 22 21");
    assert_eq!(night(RunRequest { full_refresh: true, ..request() }).await, "after ");
    assert_eq!(night(request()).await, "after 24");
    // A window that ended two days before the run's now.
    let window = Window::new(Timestamp::from_microseconds(0), Timestamp::from_microseconds(9_000)).unwrap();
    let as_of = Timestamp::from_microseconds(9_000 + 2 * 24 * 60 * 60 * 1_000_000);
    assert_eq!(night(RunRequest { window: Some(window), as_of, ..request() }).await, "after ");
    assert_eq!(night(request()).await, "after 26");
    // Nothing is new: the tables are not measured again, but they are older.
    let (report, _) = world.engine().run(request(), Resume::Continue).await.unwrap();
    assert_eq!(report.warnings, ["doubled is older than before", "listed is older than before"]);
    let measured = world.ledger.measured("nightly", &table("doubled"), 30).await.unwrap();
    assert_eq!(measured.iter().map(|one| one.rows).collect::<Vec<_>>(), [27, 26]);
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
async fn a_model_goes_on_from_what_its_table_was_made_from() {
    let world = World::new();
    let doubled = table("doubled");
    let since = |world: &World| {
        let mut asked = std::mem::take(&mut *world.asked.lock().unwrap());
        asked.retain(|(table, _)| *table == doubled);
        asked.pop().unwrap().1.map(|basis| (basis.read, basis.own))
    };
    world.run().await;
    assert_eq!(since(&world), None);
    for revision in ["1", "2"] {
        world.source.rows.lock().unwrap().insert(3, (999, 100 + revision.parse::<i64>().unwrap()));
        world.run().await;
        assert_eq!(since(&world), Some((revision.to_owned(), revision.to_owned())));
    }
    drop(world.engine().run(RunRequest { full_refresh: true, ..request() }, Resume::Continue).await.unwrap());
    assert_eq!(since(&world), None, "a whole refresh trusts nothing");
}

#[tokio::test]
async fn a_run_that_goes_on_looks_again_at_a_table_that_somebody_changed_meanwhile() {
    let doubled = table("doubled");
    let (mut disturbed, mut again) = (0, 0);
    for entries in 1.. {
        let Some(world) = World::cut_off_after(entries).await else { break };
        if !world.ledger.has_loaded_twice("model doubled") {
            continue;
        }
        world.lake.disturb(&doubled);
        world.asked.lock().unwrap().clear();
        world.run().await;
        // Nothing is recorded of the table as it stands, unless a result was compared with it.
        let basis = world.ledger.model_basis("nightly", &doubled).await.unwrap().unwrap();
        let is_compared = world.asked.lock().unwrap().iter().any(|(table, _)| *table == doubled);
        assert!(basis.own != "102" || is_compared, "after {entries} entries");
        again += u32::from(is_compared);
        world.check();
        disturbed += 1;
    }
    assert!(disturbed > 2 && again > 1, "{disturbed} {again}");
}

#[tokio::test]
async fn a_run_that_goes_on_does_not_take_back_what_a_backfill_brought_meanwhile() {
    let mut continued = 0;
    for entries in 1.. {
        let Some(world) = World::cut_off_after(entries).await else { break };
        // The table is loaded, so that only the models are still to be made, or half made.
        if !world.ledger.has_loaded_twice("extract shop.numbers") {
            continue;
        }
        world.source.rows.lock().unwrap().insert(3, (111, 102));
        world.backfill(100, 110).await;
        world.run().await;
        world.check();
        continued += 1;
    }
    assert!(continued > 4, "{continued}");
}

#[tokio::test]
async fn a_run_that_goes_on_does_not_bring_back_what_was_corrected_meanwhile() {
    let mut continued = 0;
    for entries in 1.. {
        let Some(world) = World::cut_off_after(entries).await else { break };
        if !world.ledger.has_loaded_twice("extract shop.numbers") {
            continue;
        }
        // The row is again as it was, and with it the models' tables, which a backfill may leave as they are.
        let before = (30, 3);
        world.source.rows.lock().unwrap().insert(3, before);
        world.lake.put(&table("shop.numbers"), 3, before);
        world.backfill(200, 210).await;
        world.run().await;
        world.check();
        continued += 1;
    }
    assert!(continued > 4, "{continued}");
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
async fn a_lake_that_lost_what_only_former_runs_knew_does_not_take_the_place_of_a_warehouse_that_has_it() {
    let mut world = World { keeps_former: true, ..World::new() };
    world.run().await;
    let kept = world.warehouse.rows(&table("doubled"));
    world.lake = MemoryLoader::new("lake");
    world.ledger = Arc::default();
    world.source.rows.lock().unwrap().insert(60, (6, 300));
    let (report, error) = world.engine().run(request(), Resume::Continue).await.unwrap();
    assert_eq!((report.status, error.unwrap().code().name), (RunStatus::Failed, "E-FORMER-LOST"));
    assert_eq!(world.warehouse.rows(&table("doubled")), kept);
    // Who says so begins anew.
    let (_, error) = world.engine().run(RunRequest { full_refresh: true, ..request() }, Resume::Continue).await.unwrap();
    assert!(error.is_none(), "{error:?}");
    world.check();
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
