//! What a run did, for people.

use pipeline_core::run::{RunReport, RunStatus, StepKind, StepReport, StepStatus};

use super::{Printer, Style, count, duration, size, table};

impl Printer {
    /// The steps and the last lines of a run.
    pub(crate) fn run_summary(&self, report: &RunReport, next: &str) {
        if !self.quiet {
            if let Some(table) = self.table_table(&report.steps) {
                self.note(format!("\n{table}"));
            }
            self.note("");
            for warning in &report.warnings {
                self.note(format!("{} {warning}\n", self.styled_error(Style::Warn, "warning:")));
            }
        }
        let sum =
            |kind: StepKind, of: fn(&StepReport) -> u64| -> u64 { report.steps.iter().filter(|step| step.kind == kind).map(of).sum() };
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

    /// What happened to each table that moved or failed: a row a table, a column a destination. None if nothing did.
    fn table_table(&self, steps: &[StepReport]) -> Option<String> {
        let mut destinations: Vec<&str> = Vec::new();
        let mut tables: Vec<Row<'_>> = Vec::new();
        for step in steps.iter().filter(|step| step.status != StepStatus::Unchanged) {
            let mut words = step.name.split(' ');
            let (verb, second, third) = (words.next().unwrap_or_default(), words.next().unwrap_or_default(), words.next());
            let name = if verb == "load" { third.unwrap_or_default() } else { second };
            let index = tables.iter().position(|row| row.name == name).unwrap_or_else(|| {
                tables.push(Row::new(name));
                tables.len() - 1
            });
            let row = &mut tables[index];
            row.duration_ms += step.duration_ms;
            if matches!(step.status, StepStatus::Failed | StepStatus::Skipped) {
                row.trouble = Some(if step.status == StepStatus::Failed { format!("{verb} failed") } else { "not begun".to_owned() });
            }
            if step.kind == StepKind::Load {
                if !destinations.contains(&second) {
                    destinations.push(second);
                }
                // A reading that was continued is loaded in two parts.
                match row.loaded.iter_mut().find(|(destination, _)| *destination == second) {
                    Some((_, rows)) => *rows += step.rows_out,
                    None => row.loaded.push((second, step.rows_out)),
                }
                row.bytes = row.bytes.max(step.bytes);
            } else {
                row.is_model = step.kind == StepKind::Model;
                row.rows += step.rows_in;
                row.rejected += step.rows_rejected;
                row.waited_ms.0 += step.waited_source_ms;
                row.waited_ms.1 += step.waited_destination_ms;
                row.own_ms += step.duration_ms;
            }
        }
        if tables.is_empty() {
            return None;
        }
        tables.sort_by(|a, b| (a.is_model, a.name).cmp(&(b.is_model, b.name)));
        destinations.sort_unstable();
        let mut headings = vec!["table", "rows", "rejected"];
        headings.extend(&destinations);
        headings.extend(["bytes", "time", "rows/s", "waited for", ""]);
        let right: Vec<usize> = (1..headings.len() - 2).collect();
        let number = |number: u64| if number == 0 { String::new() } else { count(number) };
        let rows = tables.iter().map(|row| {
            let mut cells = vec![self.styled_error(Style::Key, row.name), count(row.rows), number(row.rejected)];
            for destination in &destinations {
                let loaded = row.loaded.iter().find(|(name, _)| name == destination);
                cells.push(loaded.map_or(String::new(), |(_, rows)| count(*rows)));
            }
            let rate = if row.own_ms >= 50 && row.rows > 0 { count(row.rows * 1000 / row.own_ms) } else { String::new() };
            let waited = match row.waited_ms {
                (source, destination) if source.max(destination) < 200 => "",
                (source, destination) if source >= destination => "source",
                _ => "destination",
            };
            cells.extend([
                if row.bytes == 0 { String::new() } else { size(row.bytes) },
                duration(row.duration_ms),
                rate,
                waited.to_owned(),
            ]);
            cells.push(row.trouble.as_ref().map_or(String::new(), |trouble| self.styled_error(Style::Bad, trouble)));
            cells
        });
        Some(table(&headings, &right, rows))
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
            vec![
                step.name.clone(),
                status,
                number(step.rows_in),
                number(step.rows_out),
                number(step.rows_rejected),
                bytes,
                duration(step.duration_ms),
                rate,
                waited,
                note,
            ]
        });
        table(&["step", "", "rows in", "rows out", "rejected", "bytes", "time", "speed", "waited for", ""], &[2, 3, 4, 5, 6, 7], rows)
    }
}

struct Row<'a> {
    name: &'a str,
    is_model: bool,
    rows: u64,
    rejected: u64,
    loaded: Vec<(&'a str, u64)>,
    bytes: u64,
    duration_ms: u64,
    own_ms: u64,
    waited_ms: (u64, u64),
    trouble: Option<String>,
}

impl<'a> Row<'a> {
    fn new(name: &'a str) -> Self {
        Self {
            name,
            is_model: false,
            rows: 0,
            rejected: 0,
            loaded: Vec::new(),
            bytes: 0,
            duration_ms: 0,
            own_ms: 0,
            waited_ms: (0, 0),
            trouble: None,
        }
    }
}
