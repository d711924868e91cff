//! The program `pipeline` in a folder of its own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::{keeper, place};

/// No command of a test takes so long, on any machine.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(900);
/// Between two looks at a running command.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// The signal of `kill -9`.
const SIGKILL: i32 = 9;

/// A row of a query: column to value, in the form that `pipeline query --output json` gives it.
pub type Row = Map<String, Value>;

/// A folder with a `pipelines.toml`, in which the program is run. Dropping it removes the folder.
///
/// The configuration is the repository's, so that tests prove the one that users get; its paths lead to the repository's
/// models and fixtures, and what the program writes lies in the folder.
#[derive(Debug)]
pub struct Project {
    folder: PathBuf,
    configuration: toml::Table,
    environment: BTreeMap<String, OsString>,
    through: Vec<OsString>,
}

impl Default for Project {
    fn default() -> Self {
        Self::new()
    }
}

impl Project {
    /// A project with the repository's configuration: pipeline `nightly` over the demonstration data, unless changed.
    ///
    /// # Panics
    /// If the repository's configuration cannot be read.
    #[must_use]
    pub fn new() -> Self {
        let file = place::repository().join("pipelines.toml");
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("\"{}\" could not be read: {error}", file.display()));
        let mut configuration: toml::Table =
            toml::from_str(&text).unwrap_or_else(|error| panic!("\"{}\" is not TOML: {error}", file.display()));
        lead_to_repository(&mut configuration);
        if let Some(toml::Value::Table(section)) = configuration.get_mut("project") {
            section.insert("models".to_owned(), text_of(&place::repository().join("sql")).into());
        }
        let project = Self { folder: keeper::folder("project"), configuration, environment: BTreeMap::new(), through: Vec::new() };
        project.write();
        project
    }

    /// The folder of the configuration.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A folder of models of the project's own, empty, to be filled or not.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn empty_models(&mut self) -> PathBuf {
        let folder = self.folder().join("models");
        std::fs::create_dir_all(&folder).expect("the project's folder can be written");
        self.set("project.models", folder.to_str().expect("the folder is temporary, its name is plain"));
        folder
    }

    /// Sets a value of the configuration: `project.memory_limit`, `profiles.local.sources.shop.path`. Sections that are missing
    /// are made.
    ///
    /// # Panics
    /// If a part of the path is a value and not a section.
    pub fn set(&mut self, path: &str, value: impl Into<toml::Value>) -> &mut Self {
        let (sections, key) = path.rsplit_once('.').unwrap_or(("", path));
        let mut table = &mut self.configuration;
        for section in sections.split('.').filter(|section| !section.is_empty()) {
            let entry = table.entry(section.to_owned()).or_insert_with(|| toml::Table::new().into());
            table = entry.as_table_mut().unwrap_or_else(|| panic!("\"{section}\" in \"{path}\" is no section"));
        }
        table.insert(key.to_owned(), value.into());
        self.write();
        self
    }

    /// Removes a value or a section of the configuration.
    ///
    /// # Panics
    /// If it is not there.
    pub fn remove(&mut self, path: &str) -> &mut Self {
        let (sections, key) = path.rsplit_once('.').unwrap_or(("", path));
        let mut table = Some(&mut self.configuration);
        for section in sections.split('.').filter(|section| !section.is_empty()) {
            table = table.and_then(|table| table.get_mut(section)).and_then(toml::Value::as_table_mut);
        }
        assert!(table.is_some_and(|table| table.remove(key).is_some()), "\"{path}\" is not in the configuration");
        self.write();
        self
    }

    fn write(&self) {
        let text = toml::to_string(&self.configuration).expect("a table can be written");
        std::fs::write(self.folder.join("pipelines.toml"), text).expect("the folder is ours");
    }

    /// Sets an environment variable of the program. It sees these, a search path and nothing else of the test's environment.
    pub fn environment(&mut self, name: &str, value: impl Into<OsString>) -> &mut Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    /// Removes an environment variable again.
    pub fn without(&mut self, name: &str) -> &mut Self {
        self.environment.remove(name);
        self
    }

    /// Uses this profile of the configuration.
    pub fn profile(&mut self, name: &str) -> &mut Self {
        self.environment("PIPELINE_PROFILE", name)
    }

    /// Gives each command a disk of its own at this folder, empty and so small. Only the command sees it, and it is
    /// gone with the command.
    ///
    /// # Panics
    /// If the folder cannot be made.
    pub fn disk(&mut self, folder: &Path, bytes: u64) -> &mut Self {
        std::fs::create_dir_all(folder).unwrap_or_else(|error| panic!("\"{}\" could not be made: {error}", folder.display()));
        let script = r#"mount -t tmpfs -o "size=$1" tmpfs "$2" && shift 2 && exec "$@""#;
        self.through = ["unshare", "--map-root-user", "--mount", "sh", "-c", script, "disk"].map(OsString::from).into();
        self.through.extend([bytes.to_string().into(), folder.as_os_str().to_owned()]);
        self
    }

    /// Takes away what [`Self::disk`] gave.
    pub fn own_disk(&mut self) -> &mut Self {
        self.through.clear();
        self
    }

    /// Runs the program to its end.
    ///
    /// # Panics
    /// If it is not built, or takes longer than 15 minutes.
    #[must_use]
    pub fn pipeline<S: AsRef<str>>(&self, arguments: &[S]) -> Outcome {
        self.start(arguments).wait()
    }

    /// Runs the program until it kills itself at a named point (`core/src/failpoint.rs`), at the `count`th time it gets there.
    ///
    /// # Panics
    /// If it ends in another way: then the point was not reached.
    pub fn kill_at<S: AsRef<str>>(&self, point: &str, count: u32, arguments: &[S]) -> Outcome {
        let outcome = self.launch(arguments, &[("PIPELINE_FAILPOINT", format!("{point}:{count}"))]).wait();
        assert_eq!(outcome.signal, Some(SIGKILL), "the program was not killed at \"{point}\":\n{outcome}");
        outcome
    }

    /// Starts the program and lets it run.
    ///
    /// # Panics
    /// If it is not built.
    #[must_use]
    pub fn start<S: AsRef<str>>(&self, arguments: &[S]) -> Running {
        self.launch(arguments, &[])
    }

    fn launch<S: AsRef<str>>(&self, arguments: &[S], environment: &[(&str, String)]) -> Running {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let program = place::program("pipeline");
        let mut command = match self.through.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(&program);
                command
            }
            None => Command::new(&program),
        };
        // Files, because nobody reads a pipe while waiting; beside the folder, because tests look at what is in it.
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let output = |name: &str| keeper::root().join(format!("command-{number}.{name}"));
        let (stdout, stderr) = (output("stdout"), output("stderr"));
        let create = |path: &Path| File::create(path).expect("the process' temporary folder can be written");
        command
            .args(arguments.iter().map(AsRef::as_ref))
            .current_dir(&self.folder)
            .env_clear()
            .env("PATH", place::environment("PATH").unwrap_or_default())
            .env("HOME", &self.folder)
            .env("LANG", "C.UTF-8")
            .env("NO_COLOR", "1")
            // Never asks a cloud's metadata service for credentials.
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .envs(&self.environment)
            .envs(environment.iter().map(|(name, value)| (*name, value)))
            .stdin(Stdio::null())
            .stdout(create(&stdout))
            .stderr(create(&stderr))
            .process_group(0);
        let child = command.spawn().unwrap_or_else(|error| panic!("the program could not be started: {error}"));
        keeper::watch("KILL", child.id());
        let line = arguments.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(" ");
        Running { child, line, stdout, stderr, memory_bytes_peak: 0, started: Instant::now() }
    }

    /// The rows of a query on the lake.
    ///
    /// # Panics
    /// If the query fails.
    #[must_use]
    pub fn query(&self, sql: &str) -> Vec<Row> {
        self.pipeline(&["query", sql, "--output", "json"]).succeeded().rows()
    }

    /// The single value of a query on the lake, as text.
    ///
    /// # Panics
    /// If the query fails, or gives another number of values than one.
    #[must_use]
    pub fn value(&self, sql: &str) -> String {
        let rows = self.query(sql);
        assert!(rows.len() == 1 && rows[0].len() == 1, "the query gives {} rows, and not one value", rows.len());
        rows[0].values().next().map(text_of_value).unwrap_or_default()
    }

    /// All rows of a query on the lake as JSON texts in alphabetical order: what two lakes are compared by.
    ///
    /// # Panics
    /// If the query fails.
    #[must_use]
    pub fn contents(&self, sql: &str) -> Vec<String> {
        let outcome = self.pipeline(&["query", sql, "--output", "ndjson"]);
        let mut lines: Vec<String> = outcome.succeeded().stdout.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// A JSON value as text, without quotes.
pub(crate) fn text_of_value(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn text_of(path: &Path) -> String {
    path.to_str().expect("the repository's path is text").to_owned()
}

/// Paths into `tests/` become absolute: the copy of the configuration lies elsewhere.
fn lead_to_repository(table: &mut toml::Table) {
    for (_, value) in table.iter_mut() {
        match value {
            toml::Value::Table(table) => lead_to_repository(table),
            toml::Value::String(text) => {
                let (scheme, path) = text.strip_prefix("file:").map_or(("", text.as_str()), |path| ("file:", path));
                if path.starts_with("tests/") {
                    *text = format!("{scheme}{}", text_of(&place::repository().join(path)));
                }
            }
            _ => {}
        }
    }
}

/// A program that runs. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    line: String,
    stdout: PathBuf,
    stderr: PathBuf,
    memory_bytes_peak: u64,
    started: Instant,
}

impl Running {
    /// The process' id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to standard error so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        read(&self.stderr)
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until `condition` holds, for a minute at most.
    ///
    /// # Panics
    /// If it never does, or the program ends before.
    pub fn until(&mut self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !condition(self) {
            assert!(self.is_running(), "the program ended before {what}:\n{}", self.stderr());
            assert!(Instant::now() < deadline, "waited a minute in vain for {what}:\n{}", self.stderr());
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Sends a signal: `INT`, `TERM`, `KILL`.
    pub fn signal(&self, signal: &str) {
        keeper::signal(signal, self.child.id());
    }

    /// Stops it where it is, and waits until every thread stands still: one that is in the middle of a system call ends that first.
    ///
    /// # Panics
    /// If one has not stopped after a minute, or the program ends before.
    pub fn stop(&mut self) {
        self.signal("STOP");
        self.until("all its threads stand still", |stopped| {
            let threads = std::fs::read_dir(format!("/proc/{}/task", stopped.id())).expect("Linux lists the threads of a running program");
            // The state follows the name, which stands in brackets and may hold anything (proc_pid_stat(5)).
            threads.flatten().all(|thread| {
                std::fs::read_to_string(thread.path().join("stat"))
                    .is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('T')))
            })
        });
    }

    /// Kills it as `kill -9` does.
    #[must_use]
    pub fn kill(self) -> Outcome {
        self.signal("KILL");
        self.wait()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it takes longer than 15 minutes.
    #[must_use]
    pub fn wait(mut self) -> Outcome {
        let deadline = self.started + COMMAND_TIMEOUT;
        let status = loop {
            if let Some(peak) = memory_bytes_peak(self.child.id()) {
                self.memory_bytes_peak = peak;
            }
            match self.child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) => {}
                Err(error) => panic!("the program could not be waited for: {error}"),
            }
            assert!(Instant::now() < deadline, "`pipeline {}` did not end within {COMMAND_TIMEOUT:?}:\n{}", self.line, self.stderr());
            std::thread::sleep(POLL_INTERVAL);
        };
        Outcome::new(&self, status)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.is_running() {
            keeper::signal("KILL", self.child.id());
            drop(self.child.wait());
        }
        keeper::forget("KILL", self.child.id());
        for path in [&self.stdout, &self.stderr] {
            drop(std::fs::remove_file(path));
        }
    }
}

/// The kernel's own high-water mark. It belongs to the process, so it is there only while that runs.
fn memory_bytes_peak(process: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kibibytes| kibibytes << 10)
}

fn read(path: &Path) -> String {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// How a program ended and what it wrote.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The arguments.
    pub line: String,
    /// The exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Resident memory at most, as last seen before its end; 0 where the system does not tell.
    pub memory_bytes_peak: u64,
    /// From start to end.
    pub took: Duration,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let end = match (self.code, self.signal) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "an unknown end".to_owned(),
        };
        writeln!(f, "`pipeline {}` ended with {end} after {:?}", self.line, self.took)?;
        writeln!(f, "--- standard output\n{}", self.stdout.trim_end())?;
        write!(f, "--- standard error\n{}", self.stderr.trim_end())
    }
}

impl Outcome {
    fn new(running: &Running, status: ExitStatus) -> Self {
        Self {
            line: running.line.clone(),
            code: status.code(),
            signal: status.signal(),
            stdout: read(&running.stdout),
            stderr: read(&running.stderr),
            memory_bytes_peak: running.memory_bytes_peak,
            took: running.started.elapsed(),
        }
    }

    /// Itself, if the exit code is 0.
    ///
    /// # Panics
    /// If not; with all that the program wrote.
    pub fn succeeded(&self) -> &Self {
        self.exited(0)
    }

    /// Itself, if this is the exit code.
    ///
    /// # Panics
    /// If not; with all that the program wrote.
    pub fn exited(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// Standard output as one JSON document.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("standard output is not JSON ({error}): {self}"))
    }

    /// Standard output as rows.
    ///
    /// # Panics
    /// If it is no array of objects.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("standard output is no list of rows ({error}): {self}"))
    }

    /// The `error` object that `--output json` writes to standard error.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn error(&self) -> Value {
        // Before it there may be progress, or lines of the log.
        let objects = self.stderr.match_indices('{').filter_map(|(start, _)| self.stderr.get(start..)).filter_map(|text| {
            let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
            values.next().and_then(Result::ok)
        });
        let found = objects.filter_map(|object| object.get("error").cloned()).reduce(|_, later| later);
        found.unwrap_or_else(|| panic!("standard error has no error object: {self}"))
    }

    /// Whether nothing that the program wrote contains this: a secret, a value of a row.
    #[must_use]
    pub fn keeps_secret(&self, text: &str) -> bool {
        !self.stdout.contains(text) && !self.stderr.contains(text)
    }
}
