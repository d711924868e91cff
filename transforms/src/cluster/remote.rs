//! What a run needs of a cluster: sessions whose statements are computed there, and the errors that come back.

use std::sync::Arc;

use ballista_core::extension::{SessionConfigExt, SessionStateExt};
use datafusion::common::DataFusionError;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::prelude::{SessionConfig, SessionContext};
use pipeline_core::error::{Error, Result};
use pipeline_core::privacy::PrivacyKey;

use super::codec::{Functions, StatementCodec};
use crate::errors::{CLUSTER, MEMORY, SQL, VALUE};
use crate::session::{Cluster, JoinsBy};

/// A statement names every file that it reads, so messages may be large.
pub(super) const MESSAGE_BYTES_MAX: u32 = 256 * 1024 * 1024;

/// A context whose statements a cluster computes.
pub(crate) fn context(
    cluster: &Cluster,
    config: SessionConfig,
    joins: JoinsBy,
    runtime: Arc<RuntimeEnv>,
    key: Option<PrivacyKey>,
) -> Result<SessionContext> {
    let mut config = config
        .with_target_partitions(cluster.partitions.max(1))
        .upgrade_for_ballista()
        // The planner that plans anew as it goes computes some statements' stages again and again (Ballista 55.0).
        .with_ballista_adaptive_query_planner(false)
        // A scheduler turns some joins that hold one side into others (Ballista 55.0), below operators that were planned for the
        // partitions of the former: rows would be lost. Without thresholds there are no joins to turn.
        .with_ballista_broadcast_join_threshold_bytes(0)
        .with_ballista_broadcast_join_threshold_rows(0)
        .with_ballista_grpc_client_max_message_size(MESSAGE_BYTES_MAX as usize)
        .with_ballista_logical_extension_codec(Arc::new(StatementCodec::new(Functions::new(key))));
    let optimizer = &mut config.options_mut().optimizer;
    optimizer.hash_join_single_partition_threshold = 0;
    optimizer.hash_join_single_partition_threshold_rows = 0;
    optimizer.prefer_hash_join = joins == JoinsBy::Hash;
    let state = SessionStateBuilder::new().with_config(config).with_runtime_env(runtime).with_default_features().build();
    let state = state.upgrade_for_ballista(cluster.scheduler.clone());
    let state =
        state.map_err(|_| Error::new(&CLUSTER, "models cannot be computed on the cluster").caused_by("its address cannot be used"))?;
    Ok(SessionContext::new_with_state(state))
}

/// The error of ours for what a cluster answered. Its texts may hold values, so only what kind of trouble they speak of is kept.
pub(crate) fn failure(what: String, error: DataFusionError) -> Error {
    let text = error.to_string();
    tracing::debug!(error = %text.lines().next().unwrap_or_default(), "the cluster failed");
    let speaks_of = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if speaks_of(&["Resources exhausted", "Failed to allocate additional"]) {
        return Error::new(&MEMORY, what).caused_by("an executor has too little memory");
    }
    if speaks_of(&["different privacy keys"]) {
        return Error::new(&CLUSTER, what)
            .caused_by("the machines of the cluster have different privacy keys")
            .hint("Start its scheduler and executors with the `key` of [project.privacy] that the run has.");
    }
    if speaks_of(&["failed to serialize logical plan", "NotImplemented", "not implemented", "does not satisfy"]) {
        return Error::new(&SQL, what)
            .caused_by("the statement cannot be handed to a cluster")
            .hint("Set engine = \"local\" in [project], or write the statement otherwise.");
    }
    if speaks_of(&["Cast error", "Divide by zero", "overflow", "Parser error: ", "was given"]) {
        return Error::new(&VALUE, what).caused_by("a value could not be computed");
    }
    if speaks_of(&["transport error", "Connection refused", "GrpcConnectionError", "GrpcConnection", "tcp connect error", "dns error"]) {
        return Error::new(&CLUSTER, what).caused_by("its scheduler cannot be reached");
    }
    if speaks_of(&["no executors", "no active executors", "No executors", "Cancelled"]) {
        return Error::new(&CLUSTER, what).caused_by("it has no executors, or has lost one meanwhile");
    }
    if speaks_of(&["rejected by executor"]) {
        return Error::new(&CLUSTER, what)
            .caused_by("an executor refused its part")
            .hint("Start all executors with the same version of the program, and with the `key` of [project.privacy] that the run has.");
    }
    Error::new(&CLUSTER, what).caused_by("its scheduler gave up; what it says stands in its log, and with -vv here")
}
