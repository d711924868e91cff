//! Progress of a run: bars in a terminal, lines or JSON elsewhere.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use pipeline_core::run::{Event, Observer, StepKind, StepStatus, Unobserved, WaitsFor};

use super::{Printer, Style, count, duration, size};
use crate::arguments::ProgressForm;

/// Steps that took this long are worth a line of their own beside the bars.
const SLOW_STEP_MS: u64 = 5_000;

/// A watcher in the printer's form.
pub(crate) fn progress(printer: Printer) -> Arc<dyn Observer> {
    match printer.progress {
        ProgressForm::None => Arc::new(Unobserved),
        ProgressForm::Bar => Arc::new(Bars { printer, bars: MultiProgress::new(), steps: Mutex::default() }),
        ProgressForm::Json => Arc::new(JsonLines { printer }),
        ProgressForm::Auto | ProgressForm::Log => Arc::new(LogLines { printer }),
    }
}

#[derive(Debug)]
struct Bars {
    printer: Printer,
    bars: MultiProgress,
    steps: Mutex<HashMap<String, Step>>,
}

#[derive(Debug)]
struct Step {
    bar: ProgressBar,
    began: Instant,
}

impl Bars {
    fn print(&self, line: String) {
        // Above the bars, so that it stays.
        drop(self.bars.println(line));
    }
}

impl Observer for Bars {
    fn event(&self, event: &Event) {
        let mut steps = self.steps.lock().expect("no holder of this lock panics");
        match event {
            // The command itself tells how a run begins and ends.
            Event::RunStarted { .. } | Event::RunFinished { .. } => {}
            Event::StepStarted { step, kind, rows_estimated } => {
                let rows = rows_estimated.filter(|rows| *rows > 0);
                let bar = match (kind, rows) {
                    (StepKind::Extract, Some(rows)) => ProgressBar::new(rows)
                        .with_style(style("  {spinner:.cyan} {prefix:34} {bar:24.cyan/dim} {percent:>3}%  {msg} {eta:.dim}")),
                    // One transaction has no half-way.
                    (_, rows) => ProgressBar::new_spinner()
                        .with_style(style("  {spinner:.cyan} {prefix:34} {msg} {elapsed:.dim}"))
                        .with_message(rows.map_or_else(String::new, |rows| format!("{} rows ", count(rows)))),
                };
                let bar = self.bars.add(bar.with_prefix(step.clone()));
                bar.enable_steady_tick(Duration::from_millis(120));
                steps.insert(step.clone(), Step { bar, began: Instant::now() });
            }
            Event::Progress { step, rows, bytes, waits_for } => {
                if let Some(step) = steps.get(step) {
                    let milliseconds = u64::try_from(step.began.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
                    let side = match waits_for {
                        WaitsFor::Source => "waits for the source",
                        WaitsFor::Destination => "waits for the destination",
                    };
                    step.bar.set_position(*rows);
                    step.bar.set_message(format!(
                        "{} rows  {}/s  {}/s  {side}",
                        count(*rows),
                        count(rows * 1000 / milliseconds),
                        size(bytes * 1000 / milliseconds)
                    ));
                }
            }
            Event::StepFinished(report) => {
                if let Some(step) = steps.remove(&report.name) {
                    step.bar.finish_and_clear();
                    self.bars.remove(&step.bar);
                }
                // What went well and fast is in the summary; here it would only push the bars around.
                let is_news = matches!(report.status, StepStatus::Failed | StepStatus::Skipped) || report.duration_ms >= SLOW_STEP_MS;
                if report.status != StepStatus::Unchanged && is_news {
                    self.print(finished_line(&self.printer, report));
                }
            }
            Event::Retry { step, reason, pause_ms, .. } => {
                self.print(format!("  {} {step}: {reason}; again in {}", self.printer.styled_error(Style::Warn, "↻"), duration(*pause_ms)));
            }
            Event::Warning { message } => self.print(format!("  {} {message}", self.printer.styled_error(Style::Warn, "!"))),
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("the template is one of two that are tested")
        .tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ")
        .progress_chars("━╸─")
}

fn finished_line(printer: &Printer, report: &pipeline_core::run::StepReport) -> String {
    let sign = match report.status {
        StepStatus::Done | StepStatus::Resumed => printer.styled_error(Style::Good, "✓"),
        StepStatus::Unchanged => printer.styled_error(Style::Dim, "="),
        StepStatus::Failed => printer.styled_error(Style::Bad, "✗"),
        StepStatus::Skipped => printer.styled_error(Style::Warn, "–"),
    };
    let rows = if report.rows_out > 0 || report.status == StepStatus::Done {
        format!("{} rows", count(report.rows_out))
    } else {
        report.note.clone()
    };
    format!("  {sign} {:34} {:>10}  {rows}", report.name, duration(report.duration_ms))
}

#[derive(Debug)]
struct LogLines {
    printer: Printer,
}

impl Observer for LogLines {
    fn event(&self, event: &Event) {
        match event {
            Event::RunStarted { .. } | Event::RunFinished { .. } | Event::StepStarted { .. } | Event::Progress { .. } => {}
            Event::StepFinished(report) if report.status == StepStatus::Unchanged => {}
            Event::StepFinished(report) => self.printer.note(finished_line(&self.printer, report)),
            Event::Retry { step, reason, pause_ms, .. } => {
                self.printer.note(format!("  retry {step}: {reason}; again in {}", duration(*pause_ms)))
            }
            Event::Warning { message } => self.printer.note(format!("  warning: {message}")),
        }
    }
}

#[derive(Debug)]
struct JsonLines {
    printer: Printer,
}

impl Observer for JsonLines {
    fn event(&self, event: &Event) {
        let object = match event {
            Event::RunStarted { .. } | Event::RunFinished { .. } => return,
            Event::StepStarted { step, kind, rows_estimated } => {
                serde_json::json!({"event": "step_started", "step": step, "kind": kind, "rows_estimated": rows_estimated})
            }
            Event::Progress { step, rows, bytes, waits_for } => {
                let side = match waits_for {
                    WaitsFor::Source => "source",
                    WaitsFor::Destination => "destination",
                };
                serde_json::json!({"event": "progress", "step": step, "rows": rows, "bytes": bytes, "waits_for": side})
            }
            Event::StepFinished(report) => serde_json::json!({"event": "step_finished", "report": report}),
            Event::Retry { step, attempt, reason, pause_ms } => {
                serde_json::json!({"event": "retry", "step": step, "attempt": attempt, "reason": reason, "pause_ms": pause_ms})
            }
            Event::Warning { message } => serde_json::json!({"event": "warning", "message": message}),
        };
        self.printer.note(object);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_valid() {
        style("  {spinner:.cyan} {prefix:34} {bar:24.cyan/dim} {percent:>3}%  {msg} {eta:.dim}");
        style("  {spinner:.cyan} {prefix:34} {msg} {elapsed:.dim}");
    }
}
