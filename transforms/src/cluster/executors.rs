//! What a scheduler knows of its executors, with one rule more: no statement outlives an executor that was lost while it ran.
//!
//! Ballista 55.0 would go on: it computes the stages of the lost executor again, and forgets that rows of their first attempt were already handed on, so that
//! they count twice, and that the others' processors are free again. Here the statement ends before the loss is known, and the run asks for it again.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use ballista_core::JobId;
use ballista_core::error::Result;
use ballista_core::serde::protobuf::ExecutorHeartbeat;
use ballista_core::serde::scheduler::{ExecutorData, ExecutorMetadata};
use ballista_scheduler::cluster::{BoundTask, ClusterState, ClusterStateEventStream, ExecutorSlot};
use ballista_scheduler::config::TaskDistributionPolicy;
use ballista_scheduler::scheduler_server::SchedulerServer;
use ballista_scheduler::state::task_manager::JobInfoCache;
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};

/// How often it is looked whether there are executors.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// How long a statement waits for the first executor.
const EXECUTORS_AWAITED_MAX: Duration = Duration::from_secs(60);

pub(super) type Server = SchedulerServer<LogicalPlanNode, PhysicalPlanNode>;

/// The executors of a scheduler.
pub(super) struct Executors {
    inner: Arc<dyn ClusterState>,
    server: OnceLock<Server>,
}

impl Executors {
    pub(super) fn new(inner: Arc<dyn ClusterState>) -> Self {
        Self { inner, server: OnceLock::new() }
    }

    /// Whose statements end with an executor.
    pub(super) fn serve(&self, server: Server) {
        self.server.get_or_init(|| server);
    }

    /// Ends all statements that run.
    async fn end_statements(&self) -> Result<()> {
        let Some(server) = self.server.get() else { return Ok(()) };
        for job in server.state.task_manager.get_running_job_cache().keys() {
            server.cancel_job(job.clone()).await?;
        }
        Ok(())
    }

    /// Ends statements that have waited long enough for an executor to come. Never returns.
    pub(super) async fn watch(&self) {
        let mut missed_since: Option<Instant> = None;
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let waits = self.server.get().is_some_and(|server| !server.state.task_manager.get_running_job_cache().is_empty());
            if !waits || !self.inner.executor_heartbeats().is_empty() {
                missed_since = None;
            } else if missed_since.get_or_insert_with(Instant::now).elapsed() > EXECUTORS_AWAITED_MAX {
                tracing::warn!("statements are given up: there is no executor");
                if self.end_statements().await.is_err() {
                    tracing::warn!("a statement could not be given up");
                }
                missed_since = None;
            }
        }
    }
}

#[async_trait]
impl ClusterState for Executors {
    async fn init(&self) -> Result<()> {
        self.inner.init().await
    }

    async fn bind_schedulable_tasks(
        &self,
        distribution: TaskDistributionPolicy,
        active_jobs: Arc<HashMap<JobId, JobInfoCache>>,
        executors: Option<HashSet<String>>,
    ) -> Result<Vec<BoundTask>> {
        self.inner.bind_schedulable_tasks(distribution, active_jobs, executors).await
    }

    async fn unbind_tasks(&self, executor_slots: Vec<ExecutorSlot>) -> Result<()> {
        self.inner.unbind_tasks(executor_slots).await
    }

    async fn register_executor(&self, metadata: ExecutorMetadata, spec: ExecutorData) -> Result<()> {
        let (host, port) = (metadata.host.clone(), metadata.port);
        self.inner.register_executor(metadata, spec).await?;
        tracing::info!(host, port, "an executor came");
        Ok(())
    }

    async fn save_executor_metadata(&self, metadata: ExecutorMetadata) -> Result<()> {
        self.inner.save_executor_metadata(metadata).await
    }

    async fn get_executor_metadata(&self, executor_id: &str) -> Result<ExecutorMetadata> {
        self.inner.get_executor_metadata(executor_id).await
    }

    async fn registered_executor_metadata(&self) -> Vec<ExecutorMetadata> {
        self.inner.registered_executor_metadata().await
    }

    async fn save_executor_heartbeat(&self, heartbeat: ExecutorHeartbeat) -> Result<()> {
        self.inner.save_executor_heartbeat(heartbeat).await
    }

    /// Called before the scheduler hears of the loss, which it waits for.
    async fn remove_executor(&self, executor_id: &str) -> Result<()> {
        tracing::warn!("an executor is gone, and what runs is given up");
        self.end_statements().await?;
        self.inner.remove_executor(executor_id).await
    }

    fn executor_heartbeats(&self) -> HashMap<String, ExecutorHeartbeat> {
        self.inner.executor_heartbeats()
    }

    fn get_executor_heartbeat(&self, executor_id: &str) -> Option<ExecutorHeartbeat> {
        self.inner.get_executor_heartbeat(executor_id)
    }

    async fn cluster_state_events(&self) -> Result<ClusterStateEventStream> {
        self.inner.cluster_state_events().await
    }
}
