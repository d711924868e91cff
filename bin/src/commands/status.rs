//! `pipeline status` and `pipeline history`: what the ledger remembers.

use pipeline_core::error::{Code, Error, ErrorKind, Result};
use pipeline_core::ledger::{Entry, Ledger, Recorded, RunOverview};
use pipeline_core::run::{RunKind, RunState, RunStatus, StepReport, StepStatus};
use serde_json::json;

use crate::arguments::{Global, HistoryArguments, OutputForm, StatusArguments};
use crate::output::{Printer, Style, count, duration, table};
use crate::project::Project;

/// A run is asked for that the ledger does not know.
pub(crate) static RUN_UNKNOWN: Code = Code {
    name: "E-RUN-UNKNOWN",
    kind: ErrorKind::Usage,
    meaning: "The ledger knows no run, or several, whose id begins like this.",
    remedy: "`pipeline status` lists the latest runs with their ids.",
};

/// Runs listed by `status` without a run.
const RUNS_SHOWN: usize = 10;

/// Runs searched for the beginning of an id.
pub(crate) const RUNS_SEARCHED: usize = 10_000;

pub(crate) async fn status(global: &Global, printer: Printer, arguments: StatusArguments) -> Result<()> {
    let project = Project::open(global, printer)?;
    let ledger = project.ledger().await?;
    let Some(wanted) = arguments.run else {
        let runs = ledger.runs(None, RUNS_SHOWN).await?;
        return list(printer, &runs);
    };
    let run = find(ledger.as_ref(), &wanted).await?;
    let entries = ledger.entries(&run.run).await?;
    show(printer, &run, &entries)
}

/// The run whose id begins like this.
pub(super) async fn find(ledger: &dyn Ledger, wanted: &str) -> Result<RunOverview> {
    let runs = ledger.runs(None, RUNS_SEARCHED).await?;
    let mut found = runs.into_iter().filter(|run| run.run.starts_with(wanted));
    match (found.next(), found.next()) {
        (Some(run), None) => Ok(run),
        _ => Err(Error::new(&RUN_UNKNOWN, format!("no single run has an id that begins with \"{wanted}\""))),
    }
}

pub(crate) async fn history(global: &Global, printer: Printer, arguments: HistoryArguments) -> Result<()> {
    let project = Project::open(global, printer)?;
    project.config.pipeline(&arguments.name)?;
    let ledger = project.ledger().await?;
    let runs = ledger.runs(Some(&arguments.name), arguments.limit).await?;
    list(printer, &runs)
}

fn word(status: Option<RunStatus>) -> (&'static str, Style) {
    match status {
        Some(RunStatus::Done) => ("done", Style::Good),
        Some(RunStatus::Unchanged) => ("unchanged", Style::Dim),
        Some(RunStatus::Failed) => ("failed", Style::Bad),
        Some(RunStatus::Interrupted) => ("interrupted", Style::Warn),
        None => ("not finished", Style::Warn),
    }
}

fn list(printer: Printer, runs: &[RunOverview]) -> Result<()> {
    if printer.form != OutputForm::Human {
        return printer.json(&json!({ "schema_version": 1, "runs": runs }));
    }
    if runs.is_empty() {
        printer.line("no runs yet; begin with `pipeline run nightly`");
        return Ok(());
    }
    let rows = runs.iter().map(|run| {
        let (text, style) = word(run.status);
        let what = match (run.request.kind, run.request.window) {
            (RunKind::Run, None) => "since the checkpoints".to_owned(),
            (RunKind::BackfillModels, _) => "models of a backfill".to_owned(),
            (RunKind::Quarantine, _) => "rejected rows".to_owned(),
            (RunKind::Schema, _) => "a schema".to_owned(),
            (_, Some(window)) => window.to_string(),
            (_, None) => String::new(),
        };
        let took = u64::try_from((run.last_at.microseconds() - run.started_at.microseconds()) / 1000).unwrap_or(0);
        vec![run.run.clone(), run.pipeline.clone(), printer.styled(style, text), seconds(run.started_at), duration(took), what]
    });
    printer.line(table(&["run", "pipeline", "", "began", "took", "what"], &[4], rows));
    Ok(())
}

fn seconds(at: pipeline_core::window::Timestamp) -> String {
    at.to_chrono().format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn show(printer: Printer, run: &RunOverview, entries: &[Recorded]) -> Result<()> {
    let state = RunState::fold(entries);
    let steps: Vec<StepReport> = entries
        .iter()
        .filter_map(|recorded| match &recorded.entry {
            Entry::StepFinished { report } => Some(report.clone()),
            _ => None,
        })
        .collect();
    let error = entries.iter().rev().find_map(|recorded| match &recorded.entry {
        Entry::RunFinished { error, .. } => error.clone(),
        _ => None,
    });
    let cut = entries.iter().rev().find_map(|recorded| match &recorded.entry {
        Entry::CutTaken { cut, sources } => Some((cut, sources)),
        _ => None,
    });
    let to_do: Vec<&str> = steps
        .iter()
        .filter(|step| matches!(step.status, StepStatus::Failed | StepStatus::Skipped))
        .map(|step| step.name.as_str())
        .collect();
    if printer.form != OutputForm::Human {
        let cut = cut.map(|(cut, sources)| json!({ "cut": cut, "sources": sources }));
        return printer.json(&json!({ "schema_version": 1, "run_id": run.run, "cut": cut, "pipeline": run.pipeline, "status": state.status,
            "request": run.request, "started_at": run.started_at, "last_at": run.last_at, "steps": steps, "error": error, "to_do": to_do }));
    }
    let (text, style) = word(state.status);
    printer.line(format!("{} {} {}", printer.styled(Style::Strong, &run.pipeline), run.run, printer.styled(style, text)));
    printer.line(format!("began {}, as of {}", seconds(run.started_at), run.request.as_of));
    if let Some((cut, sources)) = cut {
        if let Some(cut) = cut {
            printer.line(format!("cut at {cut}: what is newer in any source waits for the next run"));
        }
        for (source, cut) in sources {
            printer.line(printer.styled(Style::Dim, format!("  {source} at {} ({})", cut.at, cut.place)));
        }
    }
    for recorded in entries {
        if let Entry::SchemaChanged { table, place, changes } = &recorded.entry {
            printer.line(printer.styled(Style::Dim, format!("schema of {table} ({place}): {}", changes.join(", "))));
        }
    }
    printer.line("");
    printer.line(printer.step_table(&steps));
    let rows: u64 = steps.iter().map(|step| step.rows_rejected).sum();
    printer.line(format!("\n{} rows rejected", count(rows)));
    if let Some(error) = error {
        printer.line(format!("{} {error}", printer.styled(Style::Bad, "error:")));
    }
    match state.status {
        None => printer.line(format!("still to do: run `pipeline run {}` to continue it", run.pipeline)),
        Some(_) if !to_do.is_empty() => printer.line(format!("still to do: {}; the next run does it", to_do.join(", "))),
        Some(_) => {}
    }
    Ok(())
}
