//! A cluster of the program's own processes.

use crate::port;
use crate::project::{Project, Running};

/// A scheduler and executors. Dropping it kills them.
#[derive(Debug)]
pub struct Cluster {
    scheduler: Running,
    executors: Vec<Running>,
    port: u16,
}

impl Cluster {
    /// Starts a scheduler and so many executors with the project's configuration, and makes the project use them.
    ///
    /// # Panics
    /// If one does not start.
    #[must_use]
    pub fn start(project: &mut Project, executors: usize) -> Self {
        let port = port::free();
        let listen = |port: u16| format!("127.0.0.1:{port}");
        // Written before anybody reads it: an executor that finds half of the configuration would look for another lake.
        project.set("project.engine", "ballista").set("cluster.scheduler", listen(port)).set("cluster.partitions", 4);
        let mut scheduler = project.start(&["cluster", "scheduler", "--listen", &listen(port), "-vv"]);
        scheduler.until("it listens", |scheduler| scheduler.stderr().contains("scheduler listens"));
        let executors = (0..executors).map(|_| {
            let (rows, work) = (port::free(), port::free());
            let (scheduler, rows, work) = (listen(port), listen(rows), work.to_string());
            let line = ["cluster", "executor", "--scheduler", &scheduler, "--listen", &rows, "--work-port", &work, "--cores", "2", "-vv"];
            project.start(&line)
        });
        let mut executors: Vec<Running> = executors.collect();
        for executor in &mut executors {
            executor.until("it is registered", |executor| executor.stderr().contains("registration succeed"));
        }
        Self { scheduler, executors, port }
    }

    /// Where the scheduler listens.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Kills an executor in the middle of what it does.
    ///
    /// # Panics
    /// If there is none left.
    pub fn kill_executor(&mut self) {
        drop(self.executors.pop().expect("there is an executor").kill());
    }

    /// Statements that were computed so far.
    #[must_use]
    pub fn statements(&self) -> usize {
        self.scheduler.stderr().matches("Job finished successfully").count()
    }

    /// What scheduler and executors wrote, for those who look for what went wrong.
    #[must_use]
    pub fn log(&self) -> String {
        let executors = self.executors.iter().map(Running::stderr);
        [self.scheduler.stderr()].into_iter().chain(executors).collect::<Vec<_>>().join("\n── executor ──\n")
    }
}
