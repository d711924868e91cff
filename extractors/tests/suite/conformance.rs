//! The promises of [`Extractor`], for any source.

use std::collections::HashSet;
use std::time::Duration;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use futures::StreamExt;
use pipeline_core::error::Result;
use pipeline_core::extract::{Checkpoint, ExtractPlan, Extractor, Request, Slice};
use pipeline_core::quarantine::Quarantine;

/// Says how much a suite tried, past the test runner, which keeps what passing tests print.
#[expect(clippy::explicit_write, reason = "the runner would keep what the macros print")]
pub(crate) fn tried(what: &str) {
    use std::io::Write;
    writeln!(std::io::stderr(), "tried: {what}").unwrap();
}

/// Everything, for two workers, without lookback.
pub(crate) fn everything() -> Request {
    Request { window: None, rejected: None, cut: None, lookback_us: 0, slices_wanted: 2 }
}

/// Reads one slice as one batch.
pub(crate) async fn read_slice(extractor: &dyn Extractor, slice: &Slice, quarantine: &Quarantine) -> Result<RecordBatch> {
    let schema = extractor.contract().schema();
    let mut stream = extractor.read(slice, quarantine).await?;
    assert_eq!(stream.schema(), schema, "a stream has its contract's schema");
    let mut batches = Vec::new();
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        assert_eq!(batch.schema(), schema, "a batch has its stream's schema");
        assert!(batch.num_rows() > 0 && batch.num_rows() <= 8_192, "a batch of {} rows", batch.num_rows());
        batches.push(batch);
    }
    Ok(concat_batches(&schema, &batches).unwrap())
}

/// Reads a whole plan as one batch.
pub(crate) async fn read_plan(extractor: &dyn Extractor, plan: &ExtractPlan, quarantine: &Quarantine) -> Result<RecordBatch> {
    let mut batches = Vec::new();
    for slice in &plan.slices {
        batches.push(read_slice(extractor, slice, quarantine).await?);
    }
    Ok(concat_batches(&extractor.contract().schema(), &batches).unwrap())
}

/// The first column, which is text, in order.
pub(crate) fn keys(batch: &RecordBatch) -> Vec<String> {
    let column = batch.column(0).as_string::<i32>();
    (0..column.len()).map(|row| column.value(row).to_owned()).collect()
}

/// Checks the promises for a source of `rows` rows whose first column is a unique text. Gives the checkpoint.
pub(crate) async fn holds(extractor: &dyn Extractor, rows: usize, slices_min: usize) -> Option<Checkpoint> {
    let plan = extractor.plan(&everything(), None).await.unwrap();
    assert!(plan.slices.len() >= slices_min, "{} slices", plan.slices.len());
    assert_eq!(serde_json::from_str::<ExtractPlan>(&serde_json::to_string(&plan).unwrap()).unwrap(), plan, "a plan can be written down");
    let mut seen = HashSet::new();
    for (index, slice) in plan.slices.iter().enumerate() {
        assert_eq!(slice.index as usize, index);
        let (first, second) = (Quarantine::new(), Quarantine::new());
        let batch = read_slice(extractor, slice, &first).await.unwrap();
        assert_eq!(batch, read_slice(extractor, slice, &second).await.unwrap(), "a slice read twice is the same");
        assert_eq!(*first.drain(), *second.drain(), "and rejects the same rows");
        for key in keys(&batch) {
            assert!(seen.insert(key.clone()), "row {key} is in two slices");
        }
    }
    assert_eq!(seen.len(), rows, "no row is left out");
    stops_when_dropped(extractor, &plan).await;
    extractor.finish().await.unwrap();
    plan.checkpoint
}

/// A stream that is dropped after its first batch ends its thread and its tasks soon.
async fn stops_when_dropped(extractor: &dyn Extractor, plan: &ExtractPlan) {
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    for slice in &plan.slices {
        let mut stream = extractor.read(slice, &Quarantine::new()).await.unwrap();
        stream.next().await.unwrap().unwrap();
        drop(stream);
    }
    let ended = async {
        while tokio::runtime::Handle::current().metrics().num_alive_tasks() > tasks {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ended).await.expect("a dropped stream leaves tasks behind");
}
