//! Readings that go on where they were cut off, what follows them, and readings that find nothing.

use std::sync::atomic::Ordering;

use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use pipeline_core::error::{BUG, Code};
use pipeline_core::landing::LANDING;
use pipeline_core::run::{Resume, RunRequest, RunStatus};

use super::{World, request, table};

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

/// A first reading that dies between its slices.
async fn cut_off(world: &World, request: RunRequest) {
    world.source.resumable.store(true, Ordering::Relaxed);
    for entries in 1.. {
        *world.ledger.dies_after.lock().unwrap() = Some(world.ledger.len() + entries);
        let died = world.engine().run(request.clone(), Resume::Restart).await;
        assert!(!died.is_ok_and(|(_, error)| error.is_none()), "no death left one slice landed");
        world.ledger.revive();
        if world.ledger.slices_landed() == [0] {
            return;
        }
    }
}

#[tokio::test]
async fn nothing_of_several_moments_is_loaded_without_what_follows_it() {
    let world = World::new();
    cut_off(&world, request()).await;
    world.source.rows.lock().unwrap().insert(0, (1000, 100));
    *world.source.breaks_behind.lock().unwrap() = Some(&BUG);
    let (report, error) = world.engine().run(request(), Resume::Continue).await.unwrap();
    assert!(error.is_some_and(|error| error.code() == &BUG));
    assert!(report.steps.iter().any(|step| step.name == "follow shop.numbers" && step.code.is_some()), "{report:?}");
    assert!(world.lake.rows(&table("shop.numbers")).is_empty());
    *world.source.breaks_behind.lock().unwrap() = None;
    world.source.reads.lock().unwrap().clear();
    world.run().await;
    world.check();
    assert!(world.source.reads.lock().unwrap().is_empty(), "the slices were there");
}

#[tokio::test]
async fn a_death_behind_what_follows_asks_the_source_for_nothing_that_it_forgot() {
    for full_refresh in [false, true] {
        for changes in [false, true] {
            for entries in 1.. {
                let world = World::new();
                if full_refresh {
                    world.run().await;
                }
                let asked = RunRequest { full_refresh, ..request() };
                cut_off(&world, asked.clone()).await;
                if changes {
                    world.source.rows.lock().unwrap().insert(0, (1000, 100));
                }
                *world.ledger.dies_after.lock().unwrap() = Some(world.ledger.len() + entries);
                let died = world.engine().run(asked.clone(), Resume::Continue).await;
                world.ledger.revive();
                if died.is_ok_and(|(_, error)| error.is_none()) {
                    assert!(entries > 10);
                    break;
                }
                world.source.rows.lock().unwrap().insert(1, (1001, 101));
                // The source refuses to go back behind what it was told that is safe.
                world.run().await;
                world.run().await;
                world.check();
            }
        }
    }
}

#[tokio::test]
async fn what_follows_a_reading_is_weighed_with_it() {
    let world = World::new();
    cut_off(&world, request()).await;
    *world.source.rejected.lock().unwrap() = 8;
    world.source.rows.lock().unwrap().insert(1, (1001, 100));
    let (report, error) = world.engine().run(request(), Resume::Continue).await.unwrap();
    assert!(error.is_none(), "{error:?}");
    let behind = report.steps.iter().find(|step| step.name == "follow shop.numbers").unwrap();
    assert!(behind.rows_rejected > behind.rows_out, "by itself that were too many: {behind:?}");
    world.check();
    let world = World::new();
    cut_off(&world, request()).await;
    *world.source.rejected.lock().unwrap() = 60;
    world.source.rows.lock().unwrap().insert(1, (1001, 100));
    let (_, error) = world.engine().run(request(), Resume::Continue).await.unwrap();
    let error = error.unwrap();
    assert!(format!("{error:?}").contains("60 of 83 rows"), "{error:?}");
    assert!(world.lake.rows(&table("shop.numbers")).is_empty());
}

#[tokio::test]
async fn a_table_that_was_emptied_is_empty_once_it_is_read_whole() {
    let world = World::new();
    world.run().await;
    world.source.rows.lock().unwrap().clear();
    world.run().await;
    assert_eq!(world.lake.rows(&table("shop.numbers")).len(), 20, "a cursor tells nothing of what was deleted");
    let (_, error) = world.engine().run(RunRequest { full_refresh: true, ..request() }, Resume::Continue).await.unwrap();
    assert!(error.is_none(), "{error:?}");
    world.check();
}
