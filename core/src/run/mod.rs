//! The run loop: what is read, made and loaded, in which order, and what a crash leaves to do.
//!
//! ```text
//! for all tables    prepare → cut → ledger: cut
//! for each table    plan → slices → landing (manifest) → ledger: landed → lake → ledger: loaded, checkpoint
//!                   each slice of a reading that can be continued: landing (parts) → ledger: slice landed
//! for each model    compute → landing (changes)        → ledger: landed → lake → each destination → ledger: done
//! ```
//! A node of this graph begins when all it reads have ended well. The destination's marker is the truth about what is
//! loaded; the ledger is the history, and the memory of what a killed run had landed already.

mod backfill;
mod cut;
mod extract;
mod loading;
mod modelling;
mod reading;
mod replay;
mod report;
mod schedule;
mod selection;
mod state;
mod stop;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use async_trait::async_trait;
use tracing::Instrument;

pub use backfill::{BackfillReport, BackfillRequest, WindowReport};
pub use modelling::inputs_state;
pub use replay::ReplayReport;
pub use report::{Event, Observer, RunKind, RunReport, RunRequest, RunStatus, StepKind, StepReport, StepStatus, Unobserved, WaitsFor};
pub use selection::{SELECTION, Selection};
pub use state::{Landed, LandedSlice, Planned, Reading, RunState};
pub use stop::Stop;

use crate::batch::ByteBudget;
use crate::clock::Clock;
use crate::error::{Code, Error, ErrorKind, Result};
use crate::extract::Extractor;
use crate::landing::{Landing, WriterSettings};
use crate::ledger::{Entry, LEASE, Lease, Ledger};
use crate::load::Loader;
use crate::model::Models;
use crate::name::TableName;
use crate::window::Timestamp;

/// A table of a source, connected.
#[derive(Debug, Clone)]
pub struct SourceTable {
    /// Reads it.
    pub extractor: Arc<dyn Extractor>,
    /// How far before the checkpoint to read again, in microseconds.
    pub lookback_us: i64,
    /// The share of rows (0 to 1) that may be rejected before the step fails.
    pub rejected_share_max: f64,
}

/// Opens the sources of a pipeline. Each run has connections of its own.
#[async_trait]
pub trait Sources: Debug + Send + Sync {
    /// The tables it can open.
    fn tables(&self) -> &[TableName];

    /// Connects and opens these tables.
    async fn open(&self, tables: &BTreeSet<TableName>) -> Result<Vec<SourceTable>>;
}

/// A destination beside the lake, and which models go there.
#[derive(Debug, Clone)]
pub struct Destination {
    /// Brings them there.
    pub loader: Arc<dyn Loader>,
    /// The models.
    pub tables: BTreeSet<TableName>,
}

/// Limits of a run.
#[derive(Debug, Clone, Copy)]
pub struct EngineSettings {
    /// Nodes of the graph that work at once.
    pub steps_in_flight_max: usize,
    /// Slices of one table read at once.
    pub slices_in_flight_max: usize,
    /// Bytes of batches on their way between sources and the landing.
    pub budget_bytes: u64,
    /// How parts are written.
    pub writer: WriterSettings,
    /// How often a step is tried when its trouble may pass.
    pub attempts_max: u32,
    /// The pause after the first failed try; it doubles with each.
    pub pause_ms: u64,
    /// How long to wait for another run's lease.
    pub lease_wait_ms: u64,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            // Two: one waits for its source while the other writes. More only helps on larger machines.
            steps_in_flight_max: 2,
            slices_in_flight_max: 2,
            budget_bytes: 128 << 20,
            writer: WriterSettings::default(),
            attempts_max: 4,
            pause_ms: 500,
            lease_wait_ms: 0,
        }
    }
}

/// What a pipeline consists of, connected.
#[derive(Debug)]
pub struct Parts {
    /// The pipeline's name.
    pub pipeline: String,
    /// Where rows come from.
    pub sources: Arc<dyn Sources>,
    /// What is made of them.
    pub models: Arc<dyn Models>,
    /// The lake.
    pub lake: Arc<dyn Loader>,
    /// Where models go besides.
    pub destinations: Vec<Destination>,
    /// Where snapshots lie.
    pub landing: Landing,
    /// What remembers.
    pub ledger: Arc<dyn Ledger>,
    /// What tells the time.
    pub clock: Arc<dyn Clock>,
    /// Who watches.
    pub observer: Arc<dyn Observer>,
    /// When to stop.
    pub stop: Stop,
}

/// Whether a run that was cut off is continued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// Continue it (the default).
    Continue,
    /// Leave it and begin anew from the checkpoints.
    Restart,
}

/// Runs a pipeline.
#[derive(Debug, Clone)]
pub struct Engine {
    parts: Arc<Parts>,
    settings: EngineSettings,
    budget: ByteBudget,
    // One load of a table at a time: a revision is planned and published under it.
    table_locks: Arc<Mutex<HashMap<TableName, Arc<tokio::sync::Mutex<()>>>>>,
}

/// One run as its steps see it.
#[derive(Debug)]
struct RunContext {
    run: String,
    lease: Lease,
    request: RunRequest,
    state: RunState,
    /// The readings that steps are in, or that earlier attempts left.
    readings: Mutex<BTreeMap<String, Reading>>,
    /// What is newer waits for the next run.
    cut: OnceLock<Option<Timestamp>>,
    /// The same of this attempt alone.
    cut_now: OnceLock<Option<Timestamp>>,
    reports: Mutex<Vec<StepReport>>,
    warnings: Mutex<Vec<String>>,
    /// Destinations that gave no answer: as what error, and when.
    away: Mutex<HashMap<String, (&'static Code, Instant)>>,
}

impl Engine {
    /// An engine for one pipeline.
    #[must_use]
    pub fn new(parts: Parts, settings: EngineSettings) -> Self {
        Self { parts: Arc::new(parts), settings, budget: ByteBudget::new(settings.budget_bytes), table_locks: Arc::default() }
    }

    /// The tables and models with what each reads.
    #[must_use]
    pub fn graph(&self) -> BTreeMap<TableName, Vec<TableName>> {
        let tables = self.parts.sources.tables().iter().map(|table| (table.clone(), Vec::new()));
        let models = self.parts.models.nodes().iter().map(|node| (node.contract.table.clone(), node.reads()));
        tables.chain(models).collect()
    }

    /// Runs once, or continues the run that was cut off.
    ///
    /// # Errors
    /// What made the run impossible as a whole. A run whose steps failed is a report with [`RunStatus::Failed`], and the
    /// first error beside it.
    pub async fn run(&self, request: RunRequest, resume: Resume) -> Result<(RunReport, Option<Error>)> {
        let lease = self.lease().await?;
        let result = self.run_leased(&lease, request, resume).await;
        let released = self.parts.ledger.release(lease).await;
        let report = result?;
        released?;
        Ok(report)
    }

    async fn run_leased(&self, lease: &Lease, request: RunRequest, resume: Resume) -> Result<(RunReport, Option<Error>)> {
        let last = self.last_run(resume).await?;
        let resumed = last.as_ref().is_some_and(|(_, state)| state.status.is_none());
        let (run, request, state) = match last {
            Some((run, state)) if resumed => {
                let request = state.request.clone().unwrap_or(request);
                (run, request, state)
            }
            Some((_, state)) if !request.full_refresh && request.window.is_none() => (new_run_id(), request, state.inherited()),
            _ => (new_run_id(), request, RunState::default()),
        };
        let tables = request.selection.choose(&self.graph())?;
        self.execute(lease, run, request, state, tables, resumed).await
    }

    /// The last run, unless nothing of it shall be used.
    async fn last_run(&self, resume: Resume) -> Result<Option<(String, RunState)>> {
        // Failed runs ended on purpose; only a run without an end was cut off. Backfills resume by their windows.
        const RUNS_LOOKED_AT_MAX: usize = 50;
        if resume == Resume::Restart {
            return Ok(None);
        }
        let runs = self.parts.ledger.runs(Some(&self.parts.pipeline), RUNS_LOOKED_AT_MAX).await?;
        let Some(last) = runs.into_iter().find(|run| run.request.kind == RunKind::Run) else { return Ok(None) };
        let state = RunState::fold(&self.parts.ledger.entries(&last.run).await?);
        Ok(Some((last.run, state)))
    }

    async fn lease(&self) -> Result<Lease> {
        const POLL_MS: u64 = 200;
        let mut waited_ms = 0;
        loop {
            match self.parts.ledger.acquire(&self.parts.pipeline).await {
                Err(error) if error.code() == &LEASE && waited_ms < self.settings.lease_wait_ms => {
                    tokio::time::sleep(std::time::Duration::from_millis(POLL_MS)).await;
                    waited_ms += POLL_MS;
                    self.parts.stop.check()?;
                }
                other => return other,
            }
        }
    }

    async fn execute(
        &self,
        lease: &Lease,
        run: String,
        request: RunRequest,
        state: RunState,
        tables: BTreeSet<TableName>,
        resumed: bool,
    ) -> Result<(RunReport, Option<Error>)> {
        let began = self.parts.clock.now();
        let span = tracing::info_span!("run", otel.name = format!("run {}", self.parts.pipeline), pipeline = %self.parts.pipeline, run = %run, resumed);
        let mut entries = vec![Entry::RunStarted { request: request.clone() }];
        if !resumed {
            // Readings that this run does not come to are handed on to the next one.
            let inherited = state.unloaded().map(|(step, reading)| (step.clone(), reading.clone()));
            entries.extend(inherited.map(|(step, reading)| Entry::ReadingBegun { step, reading }));
        }
        self.parts.ledger.append(lease, &run, &entries).await?;
        self.parts.observer.event_of(&run, &Event::RunStarted { pipeline: self.parts.pipeline.clone() });
        crate::failpoint::reached("run.after_start");
        let context = Arc::new(RunContext {
            run: run.clone(),
            lease: lease.clone(),
            request: request.clone(),
            readings: Mutex::new(state.unloaded().map(|(step, reading)| (step.clone(), reading.clone())).collect()),
            state,
            cut: OnceLock::new(),
            cut_now: OnceLock::new(),
            reports: Mutex::default(),
            warnings: Mutex::default(),
            away: Mutex::default(),
        });
        let error = self.work(&context, tables).instrument(span).await.err();
        let steps = std::mem::take(&mut *context.reports.lock().expect("no holder of this lock panics"));
        // Rows that a lookback read again and that were the same have not moved.
        let moved = steps.iter().any(|step| step.kind == StepKind::Load && matches!(step.status, StepStatus::Done | StepStatus::Resumed));
        let status = match &error {
            Some(error) if error.kind() == ErrorKind::Interrupted => RunStatus::Interrupted,
            Some(_) => RunStatus::Failed,
            None if moved => RunStatus::Done,
            None => RunStatus::Unchanged,
        };
        crate::failpoint::reached("run.before_finish");
        let text = error.as_ref().map(|error| format!("{}: {}", error.code().name, error.message()));
        let finished = Event::RunFinished { pipeline: self.parts.pipeline.clone(), status, error: text.clone() };
        self.parts.observer.event_of(&run, &finished);
        // An interrupted run stays without an end, so that the next one continues it.
        if status != RunStatus::Interrupted {
            self.parts.ledger.append(lease, &run, &[Entry::RunFinished { status, error: text }]).await?;
        }
        let warnings = std::mem::take(&mut *context.warnings.lock().expect("no holder of this lock panics"));
        let report = RunReport {
            run,
            pipeline: self.parts.pipeline.clone(),
            status,
            window: request.window,
            as_of: request.as_of,
            steps,
            warnings,
            resumed,
            duration_ms: milliseconds_between(began, self.parts.clock.now()),
        };
        Ok((report, error))
    }

    async fn work(&self, context: &Arc<RunContext>, tables: BTreeSet<TableName>) -> Result<()> {
        let (made, wanted): (BTreeSet<TableName>, BTreeSet<TableName>) = tables.iter().cloned().partition(TableName::is_model);
        self.parts.models.check(&made).await.map_err(|error| error.context("nothing was begun"))?;
        let opened = if wanted.is_empty() { Vec::new() } else { self.parts.sources.open(&wanted).await? };
        let checks = opened.iter().map(|source| async move {
            let table = &source.extractor.contract().table;
            let checked = self.with_retries(&format!("check {table}"), || source.extractor.check()).await;
            checked.map_err(|error| error.context(format!("table \"{table}\" cannot be read, so nothing was begun")))
        });
        futures::future::try_join_all(checks).await?;
        let sources: HashMap<TableName, SourceTable> =
            opened.into_iter().map(|source| (source.extractor.contract().table.clone(), source)).collect();
        self.take_cut(context, &sources).await?;
        let sources = Arc::new(sources);
        let graph = self.graph();
        let engine = self.clone();
        let shared = Arc::clone(context);
        schedule::run(
            &graph,
            &tables,
            self.settings.steps_in_flight_max,
            &self.parts.stop,
            move |table| {
                let (engine, context, sources) = (engine.clone(), Arc::clone(&shared), Arc::clone(&sources));
                async move {
                    match sources.get(&table) {
                        Some(source) => engine.table(&context, source).await,
                        None => engine.model(&context, &table).await,
                    }
                }
            },
            |table| {
                let kind = if table.is_model() { StepKind::Model } else { StepKind::Extract };
                let name = if table.is_model() { format!("model {table}") } else { format!("extract {table}") };
                let mut report = StepReport::new(&name, kind, StepStatus::Skipped);
                report.note = "not begun: something it reads failed".to_owned();
                self.report(context, report);
            },
        )
        .await
    }

    fn table_lock(&self, table: &TableName) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(self.table_locks.lock().expect("no holder of this lock panics").entry(table.clone()).or_default())
    }

    fn report(&self, context: &RunContext, report: StepReport) {
        self.parts.observer.event_of(&context.run, &Event::StepFinished(report.clone()));
        context.reports.lock().expect("no holder of this lock panics").push(report);
    }

    async fn finish_step(&self, context: &RunContext, report: StepReport) -> Result<()> {
        self.parts.ledger.append(&context.lease, &context.run, &[Entry::StepFinished { report: report.clone() }]).await?;
        self.report(context, report);
        Ok(())
    }

    async fn append(&self, context: &RunContext, entries: &[Entry]) -> Result<()> {
        self.parts.ledger.append(&context.lease, &context.run, entries).await
    }

    /// Tries `work` again while its trouble may pass. The kind of the error decides, nothing else.
    async fn with_retries<T, F>(&self, step: &str, work: impl FnMut() -> F + Send) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send,
    {
        self.with_attempts(step, self.settings.attempts_max, work).await
    }

    async fn with_attempts<T, F>(&self, step: &str, attempts_max: u32, mut work: impl FnMut() -> F + Send) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send,
    {
        let mut attempt = 1;
        loop {
            match work().await {
                Err(error) if error.kind().is_worth_retrying() && attempt < attempts_max => {
                    self.parts.stop.check()?;
                    let pause_ms = self.settings.pause_ms << (attempt - 1);
                    let reason = format!("{} ({})", error.message(), error.code().name);
                    tracing::warn!(step, attempt, error = %error, "step failed and is tried again");
                    self.parts.observer.event(&Event::Retry { step: step.to_owned(), attempt, reason, pause_ms });
                    tokio::time::sleep(std::time::Duration::from_millis(pause_ms)).await;
                    attempt += 1;
                }
                other => return other,
            }
        }
    }
}

fn new_run_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

fn milliseconds_between(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from((to.microseconds() - from.microseconds()) / 1000).unwrap_or(0)
}
