//! Many windows: tables window by window, then the models once.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tracing::Instrument;

use super::report::{RunKind, RunReport, RunRequest, RunStatus};
use super::{Engine, RunState, new_run_id};
use crate::error::{BUG, Error, Result};
use crate::ledger::Entry;
use crate::name::TableName;
use crate::window::Window;

/// What a backfill shall do.
#[derive(Debug, Clone)]
pub struct BackfillRequest {
    /// The windows, in the order to work through them.
    pub windows: Vec<Window>,
    /// Windows at once.
    pub parallel: usize,
    /// Whether windows that an earlier call completed are done again.
    pub restart: bool,
    /// What each run shall do; kind and window are set for each.
    pub template: RunRequest,
}

/// How one window ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WindowReport {
    /// The window.
    pub window: Window,
    /// How it ended; None: an earlier call had completed it.
    pub status: Option<RunStatus>,
    /// The run that did it.
    pub run: Option<String>,
    /// Rows read.
    pub rows_in: u64,
    /// Rows that did not fit.
    pub rows_rejected: u64,
    /// What went wrong.
    pub error: Option<String>,
}

/// How a backfill ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackfillReport {
    /// The pipeline.
    pub pipeline: String,
    /// The windows, in the order asked for.
    pub windows: Vec<WindowReport>,
    /// The run that made the models; None if it was not begun.
    pub models: Option<RunReport>,
}

impl Engine {
    /// Works through windows. One that fails does not stop the others; the models are made when at least one window
    /// moved data and none was interrupted.
    ///
    /// # Errors
    /// What made the whole impossible. Failed windows are in the report, with the first error beside it.
    pub async fn backfill(&self, request: BackfillRequest) -> Result<(BackfillReport, Option<Error>)> {
        let lease = self.lease().await?;
        let result = self.backfill_leased(&lease, request).await;
        let released = self.parts.ledger.release(lease).await;
        let report = result?;
        released?;
        Ok(report)
    }

    async fn backfill_leased(&self, lease: &crate::ledger::Lease, request: BackfillRequest) -> Result<(BackfillReport, Option<Error>)> {
        let chosen = request.template.selection.choose(&self.graph())?;
        let (models, tables): (BTreeSet<TableName>, BTreeSet<TableName>) = chosen.into_iter().partition(TableName::is_model);
        let done = if request.restart { Vec::new() } else { self.parts.ledger.windows_done(&self.parts.pipeline).await? };
        let reports: Arc<Mutex<Vec<Option<WindowReport>>>> = Arc::new(Mutex::new(vec![None; request.windows.len()]));
        let first_error: Arc<Mutex<Option<Error>>> = Arc::default();
        let mut waiting = request.windows.iter().copied().enumerate();
        let mut working: JoinSet<()> = JoinSet::new();
        loop {
            while working.len() < request.parallel.max(1) && !self.parts.stop.is_asked() {
                let Some((index, window)) = waiting.next() else { break };
                if done.contains(&window) {
                    let report = WindowReport { window, status: None, run: None, rows_in: 0, rows_rejected: 0, error: None };
                    set(&reports, index, report);
                    continue;
                }
                let (engine, lease, tables) = (self.clone(), lease.clone(), tables.clone());
                let (reports, first_error) = (Arc::clone(&reports), Arc::clone(&first_error));
                let run_request = RunRequest { kind: RunKind::BackfillWindow, window: Some(window), ..request.template.clone() };
                working.spawn(
                    async move {
                        let (report, error) = engine.window(&lease, run_request, tables, window).await;
                        set(&reports, index, report);
                        if let Some(error) = error {
                            first_error.lock().expect("no holder of this lock panics").get_or_insert(error);
                        }
                    }
                    .in_current_span(),
                );
            }
            match working.join_next().await {
                None => break,
                Some(Ok(())) => {}
                Some(Err(_)) => return Err(Error::new(&BUG, "a window of the backfill stopped without a word")),
            }
        }
        let windows: Vec<WindowReport> = reports.lock().expect("no holder of this lock panics").iter().flatten().cloned().collect();
        let mut first_error = first_error.lock().expect("no holder of this lock panics").take();
        if first_error.is_none() && self.parts.stop.is_asked() {
            first_error = self.parts.stop.check().err();
        }
        let mut model_report = None;
        if !self.parts.stop.is_asked() && !models.is_empty() {
            let run_request = RunRequest { kind: RunKind::BackfillModels, window: None, ..request.template };
            let (report, error) = self.execute(lease, new_run_id(), run_request, RunState::default(), models, false).await?;
            model_report = Some(report);
            first_error = first_error.or(error);
        }
        Ok((BackfillReport { pipeline: self.parts.pipeline.clone(), windows, models: model_report }, first_error))
    }

    async fn window(
        &self,
        lease: &crate::ledger::Lease,
        request: RunRequest,
        tables: BTreeSet<TableName>,
        window: Window,
    ) -> (WindowReport, Option<Error>) {
        let run = new_run_id();
        let mut report =
            WindowReport { window, status: Some(RunStatus::Failed), run: Some(run.clone()), rows_in: 0, rows_rejected: 0, error: None };
        let result = self.execute(lease, run.clone(), request, RunState::default(), tables, false).await;
        let error = match result {
            Ok((ran, error)) => {
                report.status = Some(ran.status);
                for step in ran.steps.iter().filter(|step| step.kind == super::StepKind::Extract) {
                    report.rows_in += step.rows_in;
                    report.rows_rejected += step.rows_rejected;
                }
                match error {
                    Some(error) => Some(error),
                    None => self.parts.ledger.append(lease, &run, &[Entry::WindowDone { window }]).await.err(),
                }
            }
            Err(error) => Some(error),
        };
        report.error = error.as_ref().map(|error| error.message().to_owned());
        (report, error)
    }
}

fn set(reports: &Mutex<Vec<Option<WindowReport>>>, index: usize, report: WindowReport) {
    if let Some(place) = reports.lock().expect("no holder of this lock panics").get_mut(index) {
        *place = Some(report);
    }
}
