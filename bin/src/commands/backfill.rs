//! `pipeline backfill`.

use chrono::NaiveTime;
use pipeline_core::error::{Error, Result};
use pipeline_core::ledger::Ledger;
use pipeline_core::run::{BackfillReport, BackfillRequest, RunKind, RunRequest, RunStatus, StepKind};
use pipeline_core::window::{TIME, Timestamp, Window, WindowLength};
use serde_json::json;

use crate::arguments::{BackfillArguments, Global, OutputForm};
use crate::openlineage::Telling;
use crate::output::{Printer, Style, count, duration, progress, table};
use crate::project::Project;

/// More windows than this are a mistake in --window.
const WINDOWS_MAX: usize = 10_000;

pub(crate) async fn backfill(global: &Global, printer: Printer, arguments: BackfillArguments) -> Result<()> {
    let project = Project::open(global, printer)?;
    let zone = project.config.project.time_zone;
    let range = Window::new(Timestamp::parse_in(&arguments.from, zone)?, Timestamp::parse_in(&arguments.to, zone)?)?;
    let length: WindowLength = arguments.window.parse()?;
    let mut windows = range.cut(length, zone, WINDOWS_MAX)?;
    if arguments.newest_first {
        windows.reverse();
    }
    let between = arguments.between.as_deref().map(parse_between).transpose()?;
    project.config.pipeline(&arguments.name)?;
    let done = if arguments.restart { Vec::new() } else { project.ledger().await?.windows_done(&arguments.name).await? };
    let selection = super::run::selection(arguments.select.clone());
    let template = RunRequest {
        kind: RunKind::BackfillWindow,
        window: None,
        as_of: super::run::as_of(&project, arguments.as_of.as_deref())?,
        selection: selection.clone(),
        full_refresh: false,
    };
    let telemetry = project.start_telemetry(global)?;
    let stop = super::run::stop_on_signals(printer);
    let telling = Telling::start(&project).await?;
    let engine = project.engine(&arguments.name, telling.beside(progress(printer)), stop.clone(), arguments.lock_wait).await?;
    let chosen = selection.choose(&engine.graph())?;
    let tables: Vec<String> = chosen.iter().filter(|table| !table.is_model()).map(ToString::to_string).collect();
    announce(printer, &windows, &done, &tables, chosen.len() - tables.len());
    if arguments.dry_run {
        if printer.form != OutputForm::Human {
            let list: Vec<_> =
                windows.iter().map(|window| json!({ "window": window, "done": done.contains(window), "tables": tables })).collect();
            printer.json(&json!({ "schema_version": 1, "pipeline": arguments.name, "windows": list }))?;
        }
        return Ok(());
    }
    if let Some((from, to)) = between {
        // Outside the allowed hours no new window begins: the wish to stop is raised when they end.
        let now = project.clock.now().to_chrono().with_timezone(&zone).time();
        if !inside(now, from, to) {
            return Err(Error::new(&TIME, format!("it is outside {}-{}", from.format("%H:%M"), to.format("%H:%M"))).hint(
                "Start the backfill inside the hours of --between; a scheduler can do so every night, and only what is missing is done.",
            ));
        }
        let seconds = (to - now).num_seconds().rem_euclid(86_400).unsigned_abs();
        let stop = stop.clone();
        tokio::spawn(async move {
            tokio::time::sleep(std::time::Duration::from_secs(seconds)).await;
            stop.ask();
        });
    }
    project.sweep().await;
    let began = project.clock.now();
    let request = BackfillRequest { windows, parallel: usize::from(arguments.parallel), restart: arguments.restart, template };
    let result = engine.backfill(request).await;
    drop(engine);
    telling.finish(printer).await;
    telemetry.finish().await;
    let (report, error) = result?;
    let took = u64::try_from((project.clock.now().microseconds() - began.microseconds()) / 1000).unwrap_or(0);
    print(printer, &report, took)?;
    match error {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

fn announce(printer: Printer, windows: &[Window], done: &[Window], tables: &[String], models: usize) {
    if printer.quiet {
        return;
    }
    let rows = windows.iter().enumerate().map(|(index, window)| {
        let state =
            if done.contains(window) { printer.styled_error(Style::Dim, "done before") } else { printer.styled_error(Style::Key, "to do") };
        vec![(index + 1).to_string(), window.from.to_string(), window.to.to_string(), state]
    });
    printer.note(table(&["", "from", "to (not included)", ""], &[0], rows));
    printer.note(format!("each reads and merges: {}; {models} models are made at the end\n", tables.join(", ")));
}

fn parse_between(text: &str) -> Result<(NaiveTime, NaiveTime)> {
    let time = |text: &str| NaiveTime::parse_from_str(text.trim(), "%H:%M").ok();
    text.split_once('-')
        .and_then(|(from, to)| Some((time(from)?, time(to)?)))
        .ok_or_else(|| Error::new(&TIME, format!("\"{text}\" is not a range of hours")).hint("Write it as --between 01:00-05:00."))
}

/// Whether a time of day lies in a range that may run over midnight.
fn inside(now: NaiveTime, from: NaiveTime, to: NaiveTime) -> bool {
    if from <= to { from <= now && now < to } else { now >= from || now < to }
}

fn print(printer: Printer, report: &BackfillReport, took_ms: u64) -> Result<()> {
    if printer.form != OutputForm::Human {
        return printer.json(&json!({ "schema_version": 1, "pipeline": report.pipeline, "windows": report.windows, "models": report.models, "duration_ms": took_ms }));
    }
    let status = |status: Option<RunStatus>| match status {
        None => printer.styled(Style::Dim, "done before"),
        Some(RunStatus::Done) => printer.styled(Style::Good, "done"),
        Some(RunStatus::Unchanged) => printer.styled(Style::Dim, "nothing in it"),
        Some(RunStatus::Failed) => printer.styled(Style::Bad, "failed"),
        Some(RunStatus::Interrupted) => printer.styled(Style::Warn, "interrupted"),
    };
    let rows = report.windows.iter().map(|window| {
        let number = |number: u64| if number == 0 { String::new() } else { count(number) };
        vec![
            window.window.to_string(),
            status(window.status),
            number(window.rows_in),
            number(window.rows_rejected),
            window.error.clone().unwrap_or_default(),
        ]
    });
    printer.line(table(&["window", "", "rows in", "rejected", ""], &[2, 3], rows));
    let done = report.windows.iter().filter(|window| !matches!(window.status, Some(RunStatus::Failed | RunStatus::Interrupted))).count();
    let models = report.models.as_ref().map_or(0, |models| models.steps.iter().filter(|step| step.kind == StepKind::Model).count());
    printer.line(format!(
        "\n{} {done} of {} windows, {models} models, {}",
        printer.styled(Style::Strong, &report.pipeline),
        report.windows.len(),
        duration(took_ms)
    ));
    if done < report.windows.len() {
        printer.line(format!("  {} the same command again does only what is missing", printer.styled(Style::Dim, "next")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_may_run_over_midnight() {
        let (from, to) = parse_between("22:00-05:00").unwrap();
        let at = |hour| NaiveTime::from_hms_opt(hour, 0, 0).unwrap();
        assert!(inside(at(23), from, to) && inside(at(4), from, to) && !inside(at(5), from, to) && !inside(at(12), from, to));
        assert!(parse_between("dawn").is_err());
    }
}
