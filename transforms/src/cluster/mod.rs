//! Statements on several machines: a scheduler plans them and hands their parts to executors (Ballista).
//!
//! ```text
//! run ── optimized statement, tables as lists of files ──> scheduler ── stages ──> executors ── shuffled rows ──> executors
//!  └────────────────────────────────────── rows of the result <─────────────────────────────────────────────────────┘
//! ```
//! Scheduler, executors and runs are the same program with the same configuration, so that the functions are the same, the lake is
//! found under the same name, and the privacy key never travels: a plan holds a fingerprint of it, and a machine with another key
//! refuses the plan. What depends on the run (`as_of()`, parameters) is computed before a statement leaves.
//!
//! Only whole statements of models go to the cluster. What touches few rows (units of incremental models, checks, comparisons) is
//! done where the run is: it would cost more to hand it out.

mod codec;
mod executors;
mod files;
mod nodes;
mod remote;
mod stages;

pub use nodes::{ExecutorOptions, SchedulerOptions, executor, scheduler};
pub(crate) use remote::{context, failure};
