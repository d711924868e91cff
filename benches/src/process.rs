//! A child process, watched until it ends: wall time, processor time, peak memory.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Between two looks at the process. What it uses after the last look is not counted.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// The kernel's unit of processor time in `/proc/PID/stat`, which is 100 on every Linux that Rust runs on (`man 5 proc`, `man 7 time`).
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process took.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) wall_seconds: f64,
    /// User and system time of all its threads.
    pub(crate) cpu_seconds: f64,
    /// The most memory it ever held: the kernel's `VmHWM`.
    pub(crate) peak_memory_mb: f64,
    pub(crate) stdout: String,
}

impl Taken {
    /// The number that the output begins with, whose digits may be grouped.
    pub(crate) fn first_number(&self) -> Option<u64> {
        self.stdout.split_whitespace().next()?.replace(',', "").parse().ok()
    }
}

/// The optimized program beside this one.
pub(crate) fn program() -> io::Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("pipeline");
    if program.is_file() {
        return Ok(program);
    }
    Err(io::Error::other(format!("\"{}\" is not built: run cargo build --release", program.display())))
}

/// Runs a command to its end; fails if it fails.
pub(crate) fn run(command: &mut Command, folder: &Path) -> io::Result<Taken> {
    let (output, complaints) = (folder.join("stdout"), folder.join("stderr"));
    let started = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(File::create(&output)?).stderr(File::create(&complaints)?).spawn()?;
    let (mut cpu_seconds, mut peak_memory_mb) = (0.0, 0.0);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if let Some((cpu, peak)) = look(child.id()) {
            (cpu_seconds, peak_memory_mb) = (cpu, peak);
        }
        sleep(LOOK_INTERVAL);
    };
    let wall_seconds = started.elapsed().as_secs_f64();
    let stdout = std::fs::read_to_string(&output)?;
    if status.success() {
        return Ok(Taken { wall_seconds, cpu_seconds, peak_memory_mb, stdout });
    }
    let complaints = std::fs::read_to_string(&complaints)?;
    Err(io::Error::other(format!("{complaints}\n{command:?} ended with {status}")))
}

fn look(process: u32) -> Option<(f64, f64)> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The second field is the name in parentheses, which may hold spaces; user and system time are the 14th and 15th.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: f64 = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: f64 = peak.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some((ticks / TICKS_PER_SECOND, kilobytes / 1024.0))
}
