//! `pipeline run`.

use pipeline_core::error::{Error, Result};
use pipeline_core::quarantine::REJECTED;
use pipeline_core::run::{Resume, RunKind, RunReport, RunRequest, RunStatus, Selection, StepKind, StepReport, Stop};
use pipeline_core::window::{Timestamp, Window};
use serde_json::json;

use crate::arguments::{Global, OutputForm, PlanArguments, RunArguments, SelectArguments};
use crate::openlineage::Telling;
use crate::output::{Printer, progress};
use crate::project::Project;

pub(crate) async fn run(global: &Global, printer: Printer, arguments: RunArguments) -> Result<()> {
    if arguments.dry_run {
        let plan = PlanArguments { name: arguments.name, select: arguments.select, full_refresh: arguments.full_refresh, sql: false };
        return super::plan::plan(global, printer, plan).await;
    }
    let mut project = Project::open(global, printer)?;
    if arguments.strict {
        project = project.rejecting_nothing();
    }
    let telemetry = project.start_telemetry(global)?;
    let request = RunRequest {
        kind: RunKind::Run,
        window: window(&project, arguments.from.as_deref(), arguments.to.as_deref())?,
        as_of: as_of(&project, arguments.as_of.as_deref())?,
        selection: selection(arguments.select),
        full_refresh: arguments.full_refresh,
    };
    let resume = if arguments.restart { Resume::Restart } else { Resume::Continue };
    let stop = stop_on_signals(printer);
    project.sweep().await;
    let telling = Telling::start(&project).await?;
    let engine = project.engine(&arguments.name, telling.beside(progress(printer)), stop, arguments.lock_wait).await?;
    let result = engine.run(request, resume).await;
    drop(engine);
    telling.finish(printer).await;
    telemetry.finish().await;
    let (report, error) = result?;
    print(printer, &report)?;
    if let Some(error) = error {
        return Err(error);
    }
    let rejected: u64 = report.steps.iter().map(|step| step.rows_rejected).sum();
    if arguments.strict && rejected > 0 {
        return Err(Error::new(&REJECTED, format!("{rejected} rows were rejected, and --strict allows none")));
    }
    Ok(())
}

/// The window of `--from` and `--to`, in the project's zone.
pub(crate) fn window(project: &Project, from: Option<&str>, to: Option<&str>) -> Result<Option<Window>> {
    let zone = project.config.project.time_zone;
    match (from, to) {
        (Some(from), Some(to)) => Window::new(Timestamp::parse_in(from, zone)?, Timestamp::parse_in(to, zone)?).map(Some),
        _ => Ok(None),
    }
}

/// "Now" for models: the flag, else the configuration, else the clock.
pub(crate) fn as_of(project: &Project, flag: Option<&str>) -> Result<Timestamp> {
    match flag {
        Some(text) => Timestamp::parse_in(text, project.config.project.time_zone),
        None => Ok(project.config.project.as_of.unwrap_or_else(|| project.clock.now())),
    }
}

pub(crate) fn selection(select: SelectArguments) -> Selection {
    Selection { only: select.only, skip: select.skip }
}

/// The first Ctrl-C (or SIGTERM) asks to stop; the second ends the process at once, which is safe as well.
pub(crate) fn stop_on_signals(printer: Printer) -> Stop {
    let stop = Stop::default();
    let asked = stop.clone();
    tokio::spawn(async move {
        let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) else { return };
        loop {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            if asked.is_asked() {
                end_now();
            }
            asked.ask();
            printer.note("stopping: the publication in flight is finished first; once more to stop at once");
        }
    });
    stop
}

#[expect(clippy::disallowed_methods, reason = "the user asked twice to end at once; markers in the destinations make it safe")]
fn end_now() -> ! {
    std::process::exit(i32::from(pipeline_core::error::ErrorKind::Interrupted.exit_code()))
}

/// A query worth making first: of the stores if they are there, else of what else was made or read.
fn look_at(steps: &[StepReport]) -> String {
    let made = |kind: StepKind| steps.iter().filter(move |step| step.kind == kind).filter_map(|step| step.name.split(' ').nth(1));
    let order = |table: &str| if table == "coverage_stores" { " ORDER BY revenue DESC" } else { "" };
    let table = made(StepKind::Model).find(|table| *table == "coverage_stores").or_else(|| made(StepKind::Model).next());
    let table = table.or_else(|| made(StepKind::Extract).next());
    table.map_or("pipeline query --help".to_owned(), |table| format!("pipeline query \"SELECT * FROM {table}{} LIMIT 10\"", order(table)))
}

fn print(printer: Printer, report: &RunReport) -> Result<()> {
    let next = match report.status {
        RunStatus::Done | RunStatus::Unchanged => look_at(&report.steps),
        RunStatus::Failed | RunStatus::Interrupted => format!("pipeline run {}", report.pipeline),
    };
    if printer.form == OutputForm::Human {
        printer.run_summary(report, &next);
        return Ok(());
    }
    let steps: Vec<_> = report
        .steps
        .iter()
        .map(|step| {
            json!({ "name": step.name, "kind": step.kind, "status": step.status, "rows_in": step.rows_in, "rows_out": step.rows_out,
            "rows_rejected": step.rows_rejected, "bytes": step.bytes, "duration_ms": step.duration_ms, "note": step.note })
        })
        .collect();
    printer.json(&json!({ "schema_version": 1, "run_id": report.run, "pipeline": report.pipeline, "status": report.status, "window": report.window,
        "as_of": report.as_of, "resumed": report.resumed, "steps": steps, "warnings": report.warnings, "duration_ms": report.duration_ms, "next": next }))
}
