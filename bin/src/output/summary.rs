//! What a run did, for people.

use pipeline_core::run::{RunReport, RunStatus, StepKind, StepReport, StepStatus};

use super::{Printer, Style, count, duration, size, table};

impl Printer {
    /// The steps and the last lines of a run.
    pub(crate) fn run_summary(&self, report: &RunReport, next: &str) {
        if !self.quiet {
            self.note("");
            self.note(self.step_table(&report.steps));
            for warning in &report.warnings {
                self.note(format!("{} {warning}", self.styled_error(Style::Warn, "warning:")));
            }
            self.note("");
        }
        let sum = |kind: StepKind, of: fn(&StepReport) -> u64| -> u64 { report.steps.iter().filter(|step| step.kind == kind).map(of).sum() };
        let (read, rejected) = (sum(StepKind::Extract, |step| step.rows_in), sum(StepKind::Extract, |step| step.rows_rejected));
        let (loaded, bytes) = (sum(StepKind::Load, |step| step.rows_out), sum(StepKind::Load, |step| step.bytes));
        let heading = match report.status {
            RunStatus::Done if report.resumed => self.styled(Style::Good, "done, continuing the run that was cut off"),
            RunStatus::Done => self.styled(Style::Good, "done"),
            RunStatus::Unchanged => self.styled(Style::Good, "nothing has changed: no data moved"),
            RunStatus::Failed => self.styled(Style::Bad, "failed; what is published is whole, the rest is still to do"),
            RunStatus::Interrupted => self.styled(Style::Warn, "interrupted; run again to continue"),
        };
        self.line(format!("{} {}", self.styled(Style::Strong, &report.pipeline), heading));
        if report.status != RunStatus::Unchanged {
            self.line(format!(
                "  {} read · {} rejected · {} loaded · {} · {}",
                count(read),
                count(rejected),
                count(loaded),
                size(bytes),
                duration(report.duration_ms)
            ));
        }
        self.line(format!("  {} {}", self.styled(Style::Dim, "run "), report.run));
        self.line(format!("  {} {}", self.styled(Style::Dim, "next"), self.styled(Style::Key, next)));
    }

    /// The steps of a run as a table.
    pub(crate) fn step_table(&self, steps: &[StepReport]) -> String {
        let mut steps: Vec<&StepReport> = steps.iter().collect();
        steps.sort_by_key(|step| step.kind);
        let rows = steps.iter().map(|step| {
            let status = match step.status {
                StepStatus::Done => self.styled_error(Style::Good, "done"),
                StepStatus::Unchanged => self.styled_error(Style::Dim, "unchanged"),
                StepStatus::Resumed => self.styled_error(Style::Good, "resumed"),
                StepStatus::Failed => self.styled_error(Style::Bad, "failed"),
                StepStatus::Skipped => self.styled_error(Style::Warn, "skipped"),
            };
            let number = |number: u64| if number == 0 { String::new() } else { count(number) };
            let waited = if step.duration_ms < 1000 {
                String::new()
            } else if step.waited_source_ms >= step.waited_destination_ms && step.waited_source_ms > 0 {
                "source".to_owned()
            } else if step.waited_destination_ms > 0 {
                "destination".to_owned()
            } else {
                String::new()
            };
            let rate = if step.duration_ms >= 100 && step.rows_in > 0 && step.status == StepStatus::Done {
                format!("{}/s", count(step.rows_in * 1000 / step.duration_ms))
            } else {
                String::new()
            };
            let bytes = if step.bytes == 0 || step.status == StepStatus::Unchanged { String::new() } else { size(step.bytes) };
            let note = if step.status == StepStatus::Done && step.kind == StepKind::Extract { String::new() } else { step.note.clone() };
            vec![step.name.clone(), status, number(step.rows_in), number(step.rows_out), number(step.rows_rejected), bytes, duration(step.duration_ms), rate, waited, note]
        });
        table(&["step", "", "rows in", "rows out", "rejected", "bytes", "time", "speed", "waited for", ""], &[2, 3, 4, 5, 6, 7], rows)
    }
}
