//! The processes of a cluster: one scheduler, and executors that register with it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ballista_core::ConfigProducer;
use ballista_core::error::BallistaError;
use ballista_core::extension::{SessionConfigExt, ballista_scalar_functions};
use ballista_core::registry::BallistaFunctionRegistry;
use ballista_core::utils::default_session_builder;
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::scheduler_process::{create_scheduler, start_grpc_service_with_listener};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::SessionConfig;
use object_store::ObjectStore;
use pipeline_core::error::{Error, Result};
use pipeline_core::privacy::PrivacyKey;
use tokio::net::TcpListener;
use url::Url;

use super::codec::{Functions, PartCodec, StatementCodec};
use super::executors::{Executors, Server};
use super::remote::MESSAGE_BYTES_MAX;
use super::stages::Stages;
use crate::errors::CLUSTER;

/// Executors say that they live so often; one that has been silent for [`EXECUTOR_SILENT_SECONDS_MAX`] is given up, and its work is done
/// elsewhere.
const HEARTBEAT_SECONDS: u64 = 5;
const EXECUTOR_SILENT_SECONDS_MAX: u64 = 20;

/// How long a scheduler remembers statements that have ended.
const FINISHED_SECONDS_MAX: u64 = 60;

/// How long executors keep a result after its statement has ended. The run fetches it while it writes files of it, part after part.
const RESULT_KEPT_SECONDS: u64 = 6 * 60 * 60;

/// What nothing was written into for so long is left over from a statement that nobody ended, or from an earlier life of the executor.
const ABANDONED_SECONDS: u64 = 7 * 24 * 60 * 60;

/// How long an executor waits for its scheduler to begin.
const SCHEDULER_AWAITED_SECONDS_MAX: u16 = 60;

/// What a scheduler is started with.
#[derive(Debug, Clone)]
pub struct SchedulerOptions {
    /// Where it listens.
    pub address: SocketAddr,
    /// The host name under which executors reach it.
    pub host: String,
    /// The key of `keyed_hash`.
    pub key: Option<PrivacyKey>,
}

/// What an executor is started with.
#[derive(Debug, Clone)]
pub struct ExecutorOptions {
    /// Host and port of the scheduler.
    pub scheduler: (String, u16),
    /// Where it serves rows to other executors and to runs.
    pub address: SocketAddr,
    /// The port at which it takes work; of the same host.
    pub work_port: u16,
    /// The host name under which others reach it; None: the address.
    pub host: Option<String>,
    /// Parts that it computes at once.
    pub cores: usize,
    /// Memory of all parts together, in bytes; beyond it they spill or fail.
    pub memory_limit_bytes: usize,
    /// A folder for what stages hand on, and for spilling.
    pub work: PathBuf,
    /// Where the lake's files are: the URL that tables name, and the store.
    pub store: (Url, Arc<dyn ObjectStore>),
    /// The key of `keyed_hash`.
    pub key: Option<PrivacyKey>,
}

/// Runs a scheduler until the process ends.
///
/// # Errors
/// [`CLUSTER`] if it cannot listen.
pub async fn scheduler(options: SchedulerOptions) -> Result<()> {
    let what = || format!("scheduler could not listen on {}", options.address);
    let listener = TcpListener::bind(options.address).await.map_err(|error| Error::new(&CLUSTER, what()).caused_by(error.kind()))?;
    let functions = Functions::new(options.key);
    let registered = Arc::clone(&functions);
    let config = SchedulerConfig {
        bind_host: options.address.ip().to_string(),
        bind_port: options.address.port(),
        external_host: options.host,
        executor_timeout_seconds: EXECUTOR_SILENT_SECONDS_MAX,
        expire_dead_executor_interval_seconds: HEARTBEAT_SECONDS,
        no_executors_grace_period_seconds: EXECUTOR_SILENT_SECONDS_MAX * 3,
        // A second attempt of a part, or of a stage, beside what is left of the first one: see `executors`.
        task_max_failures: 1,
        stage_max_failures: 1,
        finished_job_data_clean_up_interval_seconds: RESULT_KEPT_SECONDS,
        finished_job_state_clean_up_interval_seconds: FINISHED_SECONDS_MAX,
        grpc_server_max_decoding_message_size: MESSAGE_BYTES_MAX,
        grpc_server_max_encoding_message_size: MESSAGE_BYTES_MAX,
        grpc_client_max_message_size: MESSAGE_BYTES_MAX,
        override_config_producer: Some(configuration()),
        override_session_builder: Some(Arc::new(move |config| {
            let mut state = default_session_builder(config)?;
            registered.register(&mut state)?;
            Ok(state)
        })),
        override_logical_codec: Some(Arc::new(StatementCodec::new(Arc::clone(&functions)))),
        override_physical_codec: Some(Arc::new(PartCodec::new(functions))),
        ..SchedulerConfig::default()
    };
    let failed = |error: BallistaError| Error::new(&CLUSTER, "scheduler could not be started").caused_by(kind_of(&error));
    let cluster = BallistaCluster::new_from_config(&config).await.map_err(failed)?;
    let executors = Arc::new(Executors::new(cluster.cluster_state()));
    let cluster = BallistaCluster::new(Arc::<Executors>::clone(&executors), cluster.job_state());
    let server: Server = create_scheduler(cluster, Arc::new(config)).await.map_err(failed)?;
    executors.serve(server.clone());
    tokio::select! {
        served = start_grpc_service_with_listener(listener, server) => served.map_err(failed),
        () = executors.watch() => Ok(()),
    }
}

/// Runs an executor until it is told to end, or hears nothing of its scheduler.
///
/// # Errors
/// [`CLUSTER`] if it cannot listen, or its scheduler cannot be reached.
pub async fn executor(options: ExecutorOptions) -> Result<()> {
    let work = options.work.join(format!("executor-{}", options.address.port()));
    std::fs::create_dir_all(&work).map_err(unusable(&work))?;
    let functions = Functions::new(options.key);
    let (url, store) = options.store;
    // Beside the work folder, in which Ballista removes what has not changed for long. What an earlier life left is of no use.
    let spill = options.work.join(format!("spill-{}", options.address.port()));
    if spill.exists() {
        std::fs::remove_dir_all(&spill).map_err(unusable(&spill))?;
    }
    std::fs::create_dir_all(&spill).map_err(unusable(&spill))?;
    let config = ExecutorProcessConfig {
        bind_host: options.address.ip().to_string(),
        external_host: options.host,
        port: options.address.port(),
        grpc_port: options.work_port,
        scheduler_host: options.scheduler.0,
        scheduler_port: options.scheduler.1,
        scheduler_connect_timeout_seconds: SCHEDULER_AWAITED_SECONDS_MAX,
        vcores: options.cores.max(1),
        work_dir: Some(work.to_string_lossy().into_owned()),
        job_data_ttl_seconds: ABANDONED_SECONDS,
        job_data_clean_up_interval_seconds: FINISHED_SECONDS_MAX,
        grpc_max_decoding_message_size: MESSAGE_BYTES_MAX,
        grpc_max_encoding_message_size: MESSAGE_BYTES_MAX,
        executor_heartbeat_interval_seconds: HEARTBEAT_SECONDS,
        memory_pool_size: Some(options.memory_limit_bytes as u64),
        override_execution_engine: Some(Arc::new(Stages::default())),
        override_function_registry: Some(Arc::new(functions.registry())),
        override_runtime_producer: Some(Arc::new(move |_: &SessionConfig| {
            let runtime = RuntimeEnvBuilder::new().with_temp_file_path(spill.clone()).build_arc()?;
            runtime.register_object_store(&url, Arc::clone(&store));
            Ok(runtime)
        })),
        override_config_producer: Some(configuration()),
        override_logical_codec: Some(Arc::new(StatementCodec::new(Arc::clone(&functions)))),
        override_physical_codec: Some(Arc::new(PartCodec::new(functions))),
        ..ExecutorProcessConfig::default()
    };
    let (host, port) = (config.scheduler_host.clone(), config.scheduler_port);
    let ended = start_executor_process(Arc::new(config)).await;
    ended.map_err(|error| {
        Error::new(&CLUSTER, format!("executor of the scheduler at {host}:{port} could not run")).caused_by(kind_of(&error))
    })
}

fn unusable(folder: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let what = format!("folder \"{}\" cannot be used by an executor", folder.display());
    move |error| Error::new(&CLUSTER, what).caused_by(error.kind())
}

/// What sessions begin with; a run's settings come on top.
fn configuration() -> ConfigProducer {
    Arc::new(|| SessionConfig::new_with_ballista().with_ballista_grpc_client_max_message_size(MESSAGE_BYTES_MAX as usize))
}

fn kind_of(error: &BallistaError) -> String {
    match error {
        BallistaError::IoError(error) => error.kind().to_string(),
        BallistaError::TonicError(_) | BallistaError::GrpcError(_) | BallistaError::GrpcConnectionError(_) => {
            "the connection failed".to_owned()
        }
        BallistaError::General(text) | BallistaError::Configuration(text) => text.lines().next().unwrap_or_default().to_owned(),
        _ => "it ended early".to_owned(),
    }
}

impl Functions {
    fn registry(&self) -> BallistaFunctionRegistry {
        let mut registry = BallistaFunctionRegistry::default();
        // Its default has no functions of lists.
        registry.scalar_functions.extend(ballista_scalar_functions().into_iter().map(|function| (function.name().to_owned(), function)));
        registry.scalar_functions.extend(self.scalar().map(|function| (function.name().to_owned(), Arc::clone(function))));
        registry.window_functions.extend(self.window().map(|function| (function.name().to_owned(), Arc::clone(function))));
        registry
    }
}
