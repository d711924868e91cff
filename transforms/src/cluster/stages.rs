//! How executors compute a stage: as Ballista does, but for two things.
//!
//! A stage whose operators are not given what they need is refused. A scheduler changes plans after they were checked; where it
//! leaves an operator that reads one partition above several, the rows of the others would be missing, and nobody would know.
//!
//! The operators' measures stay where they are. A scheduler adds up the measures of a stage's tasks by position. Tasks whose part of a union is empty have other operators than
//! their siblings, so that the positions differ; Ballista 55.0 then refuses the task's success, and waits for it for ever.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use ballista_core::JobId;
use ballista_core::execution_plans::ShuffleReaderExec;
use ballista_core::serde::protobuf::{RuntimeStatsReport, ShuffleWritePartition, TaskColumnStats, WindowStateReport};
use ballista_executor::execution_engine::{DefaultExecutionEngine, ExecutionEngine, QueryStageExecutor};
use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::execution::TaskContext;
use datafusion::physical_optimizer::sanity_checker::check_plan_sanity;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::prelude::SessionConfig;

/// Makes [`Stage`]s.
#[derive(Default)]
pub(super) struct Stages(DefaultExecutionEngine);

impl ExecutionEngine for Stages {
    fn create_query_stage_exec(
        &self,
        job: JobId,
        stage: usize,
        task: usize,
        partitions: Vec<usize>,
        plan: Arc<dyn ExecutionPlan>,
        work: &str,
        config: &SessionConfig,
    ) -> Result<Arc<dyn QueryStageExecutor>> {
        check(&plan, config)?;
        tracing::debug!(%job, stage, task, "a part is computed");
        Ok(Arc::new(Stage(self.0.create_query_stage_exec(job, stage, task, partitions, plan, work, config)?)))
    }
}

/// Refuses a plan in which an operator is not given the partitions or the order that it needs.
fn check(plan: &Arc<dyn ExecutionPlan>, config: &SessionConfig) -> Result<()> {
    plan.apply(|operator| {
        // What another stage has sorted is in order, and its reader does not say so.
        let merges_sorted_stage =
            operator.is::<SortPreservingMergeExec>() && operator.children().iter().all(|child| child.is::<ShuffleReaderExec>());
        if !merges_sorted_stage {
            check_plan_sanity(operator, &config.options().optimizer)?;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

/// A stage without measures.
#[derive(Debug)]
struct Stage(Arc<dyn QueryStageExecutor>);

impl fmt::Display for Stage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[async_trait]
impl QueryStageExecutor for Stage {
    async fn execute_query_stage(&self, task: usize, context: Arc<TaskContext>) -> Result<Vec<ShuffleWritePartition>> {
        self.0.execute_query_stage(task, context).await
    }

    fn collect_plan_metrics(&self) -> Vec<MetricsSet> {
        Vec::new()
    }

    fn collect_runtime_stats_reports(&self) -> Vec<RuntimeStatsReport> {
        self.0.collect_runtime_stats_reports()
    }

    fn collect_window_state_reports(&self) -> Result<Vec<WindowStateReport>> {
        self.0.collect_window_state_reports()
    }

    fn collect_column_stats(&self) -> Vec<TaskColumnStats> {
        self.0.collect_column_stats()
    }
}
