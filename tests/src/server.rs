//! A server's process: started in a group of its own, awaited, ended.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::keeper;

/// How long a server may take to answer. Generous: the machine may be compiling at the same time.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a server may take to end before it is killed.
const END_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two looks.
const POLL_INTERVAL: Duration = Duration::from_millis(25);
/// Starts before giving up: another process may have taken a port in between.
const STARTS_MAX: u32 = 4;

/// A running server. Dropping it ends it and removes its folder.
#[derive(Debug)]
pub(crate) struct Server {
    name: &'static str,
    child: Child,
    signal: &'static str,
    folder: PathBuf,
    log: PathBuf,
}

/// Why a start failed.
#[derive(Debug)]
pub(crate) struct StartError {
    message: String,
    /// Whether another start may succeed: not if the server ran all the time and never answered.
    may_pass: bool,
}

impl Server {
    /// Starts a program. Its output goes to a file in `folder`, which is removed with the server.
    ///
    /// `signal` asks it to end: KILL where nothing is worth saving.
    pub(crate) fn spawn(name: &'static str, signal: &'static str, folder: &Path, command: &mut Command) -> Self {
        let log = folder.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log).expect("the folder is ours");
        let errors = output.try_clone().expect("an open file can be opened twice");
        let program = command.get_program().to_os_string();
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: program \"{}\" could not be started: {error}", program.display()));
        keeper::watch(signal, child.id());
        Self { name, child, signal, folder: folder.to_path_buf(), log }
    }

    /// Waits until `probe` gives a value.
    ///
    /// # Errors
    /// If the process ends before, or the time is over: with the end of its output.
    pub(crate) fn ready<T>(mut self, mut probe: impl FnMut() -> Option<T>) -> Result<(Self, T), StartError> {
        let deadline = Instant::now() + READY_TIMEOUT;
        loop {
            if let Some(value) = probe() {
                // What answered may be another process' server on the port that this one wanted.
                if self.is_running() {
                    return Ok((self, value));
                }
            }
            if !self.is_running() {
                let message = format!("{} ended before it answered; its output ends with:\n{}", self.name, self.log_end());
                return Err(StartError { message, may_pass: true });
            }
            if Instant::now() > deadline {
                let message = format!("{} did not answer within {READY_TIMEOUT:?}; its output ends with:\n{}", self.name, self.log_end());
                return Err(StartError { message, may_pass: false });
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// What it printed so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    fn log_end(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines.iter().skip(lines.len().saturating_sub(20)).map(|line| format!("    {line}\n")).collect()
    }

    /// Ends the process and waits for it; the folder stays.
    pub(crate) fn end(&mut self) {
        let group = self.child.id();
        if self.is_running() {
            keeper::signal(self.signal, group);
        }
        let deadline = Instant::now() + END_TIMEOUT;
        while self.is_running() {
            if Instant::now() > deadline {
                keeper::signal("KILL", group);
                drop(self.child.wait());
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        keeper::forget(self.signal, group);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// Starts a server, again with other ports if it ends at once.
///
/// # Panics
/// If no start succeeds.
pub(crate) fn start<T>(mut attempt: impl FnMut() -> Result<T, StartError>) -> T {
    let mut starts = 0;
    loop {
        starts += 1;
        match attempt() {
            Ok(server) => return server,
            Err(error) if error.may_pass && starts < STARTS_MAX => {}
            Err(error) => panic!("{}", error.message),
        }
    }
}
