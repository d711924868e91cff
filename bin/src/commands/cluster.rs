//! `pipeline cluster`: the machines that compute models together.

use pipeline_core::error::Result;

use crate::arguments::{ClusterArguments, Global};
use crate::output::Printer;

#[cfg(not(feature = "cluster"))]
pub(crate) async fn cluster(_global: &Global, _printer: Printer, _arguments: ClusterArguments) -> Result<()> {
    Err(pipeline_core::error::Error::new(&pipeline_transforms::errors::CLUSTER, "there is no cluster to run")
        .caused_by("this program was built without clusters")
        .hint("Build it with `cargo build --release --features cluster`."))
}

#[cfg(feature = "cluster")]
pub(crate) use with_clusters::cluster;

#[cfg(feature = "cluster")]
mod with_clusters {
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use pipeline_core::config::{Address, CONFIG};
    use pipeline_core::error::Error;
    use pipeline_transforms::cluster::{ExecutorOptions, SchedulerOptions, executor, scheduler};
    use pipeline_transforms::errors::CLUSTER;

    use super::{ClusterArguments, Global, Printer, Result};
    use crate::arguments::{ClusterCommand, ExecutorArguments, SchedulerArguments};
    use crate::project::Project;

    pub(crate) async fn cluster(global: &Global, printer: Printer, arguments: ClusterArguments) -> Result<()> {
        let project = Project::open(global, printer)?;
        let telemetry = project.start_telemetry(global)?;
        let ended = match arguments.command {
            ClusterCommand::Scheduler(arguments) => run_scheduler(&project, printer, arguments).await,
            ClusterCommand::Executor(arguments) => run_executor(&project, printer, arguments).await,
        };
        telemetry.finish().await;
        ended
    }

    async fn run_scheduler(project: &Project, printer: Printer, arguments: SchedulerArguments) -> Result<()> {
        let address = arguments.listen;
        if address.ip().is_unspecified() && arguments.host.is_none() {
            return Err(Error::new(
                &CONFIG,
                format!("a scheduler that listens on {address} has to say under which name executors reach it"),
            )
            .hint("Give --host NAME, the name or address of this machine."));
        }
        let options =
            SchedulerOptions { address, host: arguments.host.unwrap_or_else(|| address.ip().to_string()), key: project.key().await? };
        printer.note(format!("scheduler listens on {address}; end it with Ctrl-C"));
        tokio::select! {
            ended = scheduler(options) => ended,
            () = told_to_end() => Ok(()),
        }
    }

    async fn run_executor(project: &Project, printer: Printer, arguments: ExecutorArguments) -> Result<()> {
        let scheduler = match &arguments.scheduler {
            Some(text) => Address::parse(text).ok_or_else(|| {
                Error::new(&CONFIG, "--scheduler is not written as HOST:PORT").hint("Write it as scheduler.internal:50050.")
            })?,
            None => project.config.cluster.scheduler.clone().ok_or_else(|| {
                Error::new(&CONFIG, "an executor needs to know where its scheduler is")
                    .hint("Give --scheduler HOST:PORT, or set `scheduler` in [cluster] of the configuration.")
            })?,
        };
        let address = arguments.listen;
        let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let memory_limit_bytes = project.config.project.settings.memory_limit_bytes / 4 * 3;
        let options = ExecutorOptions {
            scheduler: (scheduler.host.clone(), scheduler.port),
            address,
            work_port: arguments.work_port,
            host: arguments.host,
            cores: arguments.cores.unwrap_or(processors),
            memory_limit_bytes: usize::try_from(memory_limit_bytes).unwrap_or(usize::MAX),
            work: PathBuf::from(project.config.place(&project.config.project.work)).join("cluster"),
            store: project.lake().await?.store(),
            key: project.key().await?,
        };
        printer.note(format!("executor {address} works for the scheduler at {scheduler}; end it with Ctrl-C"));
        let is_told = Arc::new(AtomicBool::new(false));
        let tells = Arc::clone(&is_told);
        tokio::spawn(async move {
            told_to_end().await;
            tells.store(true, Ordering::Relaxed);
        });
        executor(options).await?;
        match is_told.load(Ordering::Relaxed) {
            true => Ok(()),
            // Whatever keeps it running shall start it again.
            false => Err(Error::new(&CLUSTER, format!("executor {address} ended, because the scheduler at {scheduler} gave no answer"))),
        }
    }

    async fn told_to_end() {
        let interrupted = tokio::signal::ctrl_c();
        let Ok(mut terminated) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) else {
            interrupted.await.ok();
            return;
        };
        tokio::select! {
            _ = interrupted => {}
            _ = terminated.recv() => {}
        }
    }
}
