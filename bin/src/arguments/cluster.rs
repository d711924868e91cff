//! What is typed to run the machines of a cluster.

use std::net::SocketAddr;

use clap::{Args, Subcommand};

/// `pipeline cluster`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ClusterArguments {
    /// Which machine.
    #[command(subcommand)]
    pub(crate) command: ClusterCommand,
}

/// The machines of a cluster.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Plans statements and hands their parts to executors; a cluster has one
    Scheduler(SchedulerArguments),
    /// Computes parts of statements; a cluster has as many as it needs
    Executor(ExecutorArguments),
}

/// `pipeline cluster scheduler`.
#[derive(Debug, Clone, Args)]
pub(crate) struct SchedulerArguments {
    /// Where it listens. Whoever can reach it can read the lake: keep it in a private network.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:50050", env = "PIPELINE_LISTEN", hide_env = true)]
    pub(crate) listen: SocketAddr,
    /// The name under which executors reach it; the address if not given.
    #[arg(long, value_name = "NAME", env = "PIPELINE_HOST", hide_env = true)]
    pub(crate) host: Option<String>,
}

/// `pipeline cluster executor`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ExecutorArguments {
    /// The scheduler; that of the configuration if not given.
    #[arg(long, value_name = "HOST:PORT", env = "PIPELINE_SCHEDULER", hide_env = true)]
    pub(crate) scheduler: Option<String>,
    /// Where it serves rows to other executors and to runs.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:50051", env = "PIPELINE_LISTEN", hide_env = true)]
    pub(crate) listen: SocketAddr,
    /// The port at which it takes work, of the same address.
    #[arg(long, value_name = "PORT", default_value_t = 50052, env = "PIPELINE_WORK_PORT", hide_env = true)]
    pub(crate) work_port: u16,
    /// The name under which others reach it; the address if not given.
    #[arg(long, value_name = "NAME", env = "PIPELINE_HOST", hide_env = true)]
    pub(crate) host: Option<String>,
    /// Parts of statements that it computes at once; as many as it has processors if not given.
    #[arg(long, value_name = "N", env = "PIPELINE_CORES", hide_env = true)]
    pub(crate) cores: Option<usize>,
}
