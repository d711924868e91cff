//! Named points at which a test kills the process, to prove that a crash there loses and repeats nothing.
//!
//! `PIPELINE_FAILPOINT=name` ends the process with SIGKILL when `name` is reached for the first time,
//! `PIPELINE_FAILPOINT=name:3` at the third time. Without the variable a point costs one atomic load.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock};

/// Every point, in the order a run meets them. A name that is not here is an error of ours.
pub const NAMES: &[&str] = &[
    "run.after_start",
    "run.after_cut",
    "extract.after_plan",
    "extract.before_slice_recorded",
    "ledger.after_slice",
    "landing.after_part",
    "landing.before_manifest",
    "landing.after_manifest",
    "ledger.after_landed",
    "load.before_prepare",
    "load.before_stage",
    "load.after_stage",
    "lake.before_commit",
    "lake.after_commit",
    "redshift.before_publish",
    "redshift.after_publish",
    "load.after_publish",
    "ledger.after_loaded",
    "ledger.after_checkpoint",
    "extract.after_committed",
    "model.after_compute",
    "model.before_stored",
    "replay.before_settled",
    "run.before_finish",
];

struct Armed {
    name: String,
    nth: u64,
}

fn armed() -> Option<&'static Armed> {
    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
    ARMED
        .get_or_init(|| {
            #[expect(clippy::disallowed_methods, reason = "tests arm a point from outside the process; configuration must not know of it")]
            let text = std::env::var("PIPELINE_FAILPOINT").ok()?;
            let (name, nth) = text.split_once(':').unwrap_or((&text, "1"));
            Some(Armed { name: name.to_owned(), nth: nth.parse().unwrap_or(1) })
        })
        .as_ref()
}

/// Ends the process here if the point is armed.
pub fn reached(name: &'static str) {
    debug_assert!(NAMES.contains(&name), "failpoint {name} is not in the list");
    let Some(armed) = armed() else { return };
    if armed.name != name {
        return;
    }
    static COUNTS: OnceLock<Mutex<HashMap<&'static str, u64>>> = OnceLock::new();
    let mut counts = COUNTS.get_or_init(Mutex::default).lock().expect("no holder of this lock panics");
    let count = counts.entry(name).or_default();
    *count += 1;
    if *count == armed.nth {
        die();
    }
}

/// Ends the process as `kill -9` does: no destructor runs, nothing is flushed.
fn die() -> ! {
    let id = std::process::id().to_string();
    // Without `kill`, abort is the nearest thing: it runs no destructor either.
    let killed = std::process::Command::new("kill").args(["-9", &id]).status();
    drop(killed);
    std::process::abort()
}
