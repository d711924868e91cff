//! A cluster of the program's own processes.

use std::collections::BTreeSet;

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
        let executors: Vec<Running> = executors.collect();
        scheduler.until("they came", |scheduler| scheduler.stderr().matches("an executor came").count() >= executors.len());
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

    /// Lets an executor stand still: it is reached, and answers nobody.
    ///
    /// # Panics
    /// If there is none left.
    pub fn freeze_executor(&mut self) {
        self.executors.first_mut().expect("there is an executor").stop();
    }

    /// Statements of which the executors that are left have computed parts.
    #[must_use]
    pub fn statements(&self) -> usize {
        let log: Vec<String> = self.executors.iter().map(Running::stderr).collect();
        let jobs = log.iter().flat_map(|log| log.lines()).filter(|line| line.contains("a part is computed"));
        let job = |line: &str| Some(line.split_once("job=")?.1.split_whitespace().next()?.to_owned());
        jobs.filter_map(job).collect::<BTreeSet<_>>().len()
    }

    /// What scheduler and executors wrote, for those who look for what went wrong.
    #[must_use]
    pub fn log(&self) -> String {
        let executors = self.executors.iter().map(Running::stderr);
        [self.scheduler.stderr()].into_iter().chain(executors).collect::<Vec<_>>().join("\n── executor ──\n")
    }
}
