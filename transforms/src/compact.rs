//! Batches that a sort can hold.
//!
//! A sort counts the whole memory of each batch that it is given. An aggregation hands out slices of one batch of all its groups, and a window
//! over a whole partition hands that out in one piece: the more rows, the larger, until not one of them fits into a sort's share of
//! the memory, and there is nothing yet that could be spilled. So such batches are cut and copied before they are sorted.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result};
use datafusion::config::ConfigOptions;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::{StreamExt, stream};

/// A batch may hold so many times the memory that its rows take before they are copied.
const WASTE_MAX: usize = 2;

/// Puts a [`Compacted`] below each sort.
#[derive(Debug)]
pub(crate) struct CompactBelowSorts;

impl PhysicalOptimizerRule for CompactBelowSorts {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let rows_max = usize::from(config.execution.batch_size);
        plan.transform_up(|node| {
            // One that keeps the first few rows holds little, and speaks with what is below it.
            let Some(sort) = node.downcast_ref::<SortExec>().filter(|sort| sort.fetch().is_none()) else {
                return Ok(Transformed::no(node));
            };
            let input = Arc::new(Compacted { input: Arc::clone(sort.input()), rows_max });
            let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
            Ok(Transformed::yes(node.replace_children(vec![input], options)?))
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "compact_below_sorts"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The same rows in batches that hold no more than they show.
#[derive(Debug)]
struct Compacted {
    input: Arc<dyn ExecutionPlan>,
    rows_max: usize,
}

impl DisplayAs for Compacted {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Compacted: rows_max={}", self.rows_max)
    }
}

impl ExecutionPlan for Compacted {
    fn name(&self) -> &'static str {
        "Compacted"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(&self, _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match <[_; 1]>::try_from(children) {
            Ok([input]) => Ok(Arc::new(Self { input, rows_max: self.rows_max })),
            Err(_) => Err(DataFusionError::Internal("Compacted has one input".to_owned())),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows_max = self.rows_max;
        let rows = self.input.execute(partition, context)?;
        let schema = rows.schema();
        let rows = rows.flat_map(move |batch| match batch {
            Ok(batch) => stream::iter(parts(batch, rows_max)).left_stream(),
            Err(error) => stream::once(async move { Err(error) }).right_stream(),
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }
}

/// A batch in parts of at most so many rows, none of which holds memory of the others.
fn parts(batch: RecordBatch, rows_max: usize) -> impl Iterator<Item = Result<RecordBatch>> {
    let rows = batch.num_rows();
    let fits = rows <= rows_max && batch.get_array_memory_size() <= shown_bytes(&batch).saturating_mul(WASTE_MAX);
    let whole = fits.then(|| Ok(batch.clone()));
    let cuts = (0..if fits { 0 } else { rows }).step_by(rows_max).map(move |from| copied(&batch, from, rows_max.min(rows - from)));
    whole.into_iter().chain(cuts)
}

fn copied(batch: &RecordBatch, from: usize, rows: usize) -> Result<RecordBatch> {
    let indices = u32::try_from(from + rows).map_err(|_| DataFusionError::Internal("a batch has more rows than it can have".to_owned()))?;
    let indices = UInt32Array::from_iter_values(indices - rows as u32..indices);
    Ok(take_record_batch(batch, &indices)?)
}

/// The memory that the rows take; all that the batch holds where this cannot be told.
fn shown_bytes(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size())).sum()
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};
    use arrow::compute::concat_batches;

    use super::*;

    fn batch(rows: i64) -> RecordBatch {
        let numbers = Int64Array::from_iter_values(0..rows);
        let texts = StringArray::from_iter_values((0..rows).map(|row| format!("a text of row {row}")));
        RecordBatch::try_from_iter([("number", Arc::new(numbers) as _), ("text", Arc::new(texts) as _)]).unwrap()
    }

    fn sizes(batch: &RecordBatch, rows_max: usize) -> Vec<(usize, usize)> {
        let parts: Vec<RecordBatch> = parts(batch.clone(), rows_max).collect::<Result<_>>().unwrap();
        assert_eq!(&concat_batches(&batch.schema(), &parts).unwrap(), batch);
        parts.iter().map(|part| (part.num_rows(), part.get_array_memory_size())).collect()
    }

    #[test]
    fn a_batch_that_fits_is_left_as_it_is() {
        // Copied once, it has no more room than it needs.
        let whole = copied(&batch(100), 0, 100).unwrap();
        assert_eq!(sizes(&whole, 100), [(100, whole.get_array_memory_size())]);
        let parts: Vec<RecordBatch> = parts(whole.clone(), 100).collect::<Result<_>>().unwrap();
        assert!(Arc::ptr_eq(parts[0].column(1), whole.column(1)), "it was copied");
    }

    #[test]
    fn a_large_batch_is_cut_and_a_slice_let_go_of_the_rest() {
        let whole = batch(10_000);
        let parts = sizes(&whole, 4096);
        assert_eq!(parts.iter().map(|(rows, _)| *rows).collect::<Vec<_>>(), [4096, 4096, 1808]);
        assert!(parts.iter().all(|(_, bytes)| *bytes < whole.get_array_memory_size() * 2 / 3), "{parts:?}");
        let slice = whole.slice(9_000, 10);
        assert_eq!(slice.get_array_memory_size(), whole.get_array_memory_size());
        assert!(sizes(&slice, 4096)[0].1 < 4096);
    }

    /// A window over all rows hands them out as one batch, which is larger than all the memory that the sort after it may have.
    #[tokio::test]
    async fn a_batch_larger_than_the_memory_can_be_sorted() {
        let spill = std::env::temp_dir().join(format!("pipeline-compact-{}", std::process::id()));
        let engine = crate::session::Engine::new(crate::session::Options {
            memory_limit_bytes: 24 << 20,
            spill_directory: spill.clone(),
            target_partitions: 2,
            parameters: std::collections::BTreeMap::new(),
            key: None,
        })
        .unwrap();
        let session = engine.session("2025-11-04T06:00:00Z".parse().unwrap(), None);
        let numbers = "SELECT unnest(range(0, 300000)) AS number";
        let texts = format!(
            "SELECT number, concat('a text that is made a little longer for row ', number * 7919 % 300000) AS text FROM ({numbers})"
        );
        let windowed = format!("SELECT number, text, count(*) OVER () AS total FROM ({texts})");
        let mut rows = session.query(&format!("SELECT * FROM ({windowed}) ORDER BY text")).await.unwrap();
        let (mut count, mut last) = (0, String::new());
        while let Some(batch) = rows.next().await {
            let batch = batch.unwrap();
            let texts = arrow::array::AsArray::as_string::<i32>(batch.column(1));
            for text in texts.iter().flatten() {
                assert!(last.as_str() <= text);
                text.clone_into(&mut last);
            }
            count += batch.num_rows();
        }
        assert_eq!(count, 300_000);
        std::fs::remove_dir_all(spill).unwrap();
    }
}
