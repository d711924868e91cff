//! `pipeline quarantine`: the rows that did not fit, as the runs kept them.

use std::collections::{BTreeMap, BTreeSet};

use pipeline_core::error::{Code, Error, ErrorKind, Result};
use pipeline_core::ledger::{Entry, Ledger};
use pipeline_core::name::TableName;
use pipeline_core::quarantine::Rejected;
use pipeline_core::window::Timestamp;
use pipeline_extractors::rejected_text;
use serde_json::{Value, json};

use super::settle;
use crate::arguments::{Global, OutputForm, QuarantineArguments, QuarantineCommand};
use crate::output::{Printer, Style, count, table};
use crate::project::Project;

/// A table is asked for of which nothing was rejected.
pub(crate) static QUARANTINE_EMPTY: Code = Code {
    name: "E-QUARANTINE-EMPTY",
    kind: ErrorKind::Usage,
    meaning: "The quarantine holds no rows of this table.",
    remedy: "`pipeline quarantine list` lists the tables that have some.",
};

/// Runs that are looked at, newest first.
const RUNS_SEARCHED: usize = 10_000;

/// Characters of a row that a terminal gets; `--output json` gives all.
const ROW_CHARACTERS_SHOWN: usize = 400;

/// Groups of four bytes that a terminal gets of a row without a text; `--output json` gives all.
const BYTE_GROUPS_SHOWN: usize = 24;

/// Values that a terminal gets of a row.
const VALUES_SHOWN: usize = 5;

/// A row that did not fit, and when it was met.
pub(super) struct Kept {
    pub(super) table: TableName,
    pub(super) pipeline: String,
    run: String,
    at: Timestamp,
    pub(super) row: Rejected,
    /// Where the source has what did not fit.
    source_path: Option<String>,
}

impl Kept {
    fn document(&self) -> Option<Value> {
        rejected_text(&self.row).and_then(|text| serde_json::from_str(&text).ok())
    }

    /// The values where the source has what did not fit: several if it is in a list.
    fn values(&self) -> Vec<Value> {
        let mut found = Vec::new();
        if let (Some(document), Some(path)) = (self.document(), &self.source_path) {
            values_at(&document, path, &mut found);
        }
        found
    }
}

/// The values at a path. In lists each element is looked into, unless the path counts them.
fn values_at(within: &Value, path: &str, found: &mut Vec<Value>) {
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    let next = match within {
        Value::Object(fields) => fields.get(name),
        Value::Array(elements) => match name.parse::<usize>() {
            Ok(index) => elements.get(index),
            Err(_) => return elements.iter().for_each(|element| values_at(element, path, found)),
        },
        _ => None,
    };
    match (next, rest) {
        (Some(next), Some(rest)) => values_at(next, rest, found),
        (Some(value), None) => found.push(value.clone()),
        (None, _) => {}
    }
}

/// Everything kept, oldest first; and how many snapshots were removed since.
pub(super) struct Held {
    pub(super) kept: Vec<Kept>,
    snapshots_gone: usize,
}

pub(crate) async fn quarantine(global: &Global, printer: Printer, arguments: QuarantineArguments) -> Result<()> {
    let project = Project::open(global, printer)?;
    let held = read(&project).await?;
    if held.snapshots_gone > 0 {
        printer.note(format!("{} snapshots with rejected rows are no longer in the landing", held.snapshots_gone));
    }
    match arguments.command {
        QuarantineCommand::List => list(printer, &held.kept),
        QuarantineCommand::Show { table, limit } => show(printer, &held.kept, &table, limit),
        QuarantineCommand::Replay { table } => settle::replay(&project, printer, held.kept, &table).await,
        QuarantineCommand::Drop { table, column, yes } => {
            settle::forget(&project, printer, held.kept, &table, column.as_deref(), yes).await
        }
    }
}

/// A row that is read again by every run (because of a lookback) is kept once, as it was met last. What was replayed or dropped since is left
/// out, and what was rejected before `--full-refresh` read the whole table anew.
async fn read(project: &Project) -> Result<Held> {
    let ledger = project.ledger().await?;
    let landing = project.landing().await?;
    let mut rows: BTreeMap<(TableName, String, String), Kept> = BTreeMap::new();
    let mut snapshots_gone = 0;
    let mut runs = ledger.runs(None, RUNS_SEARCHED).await?;
    runs.reverse();
    for run in runs {
        for recorded in ledger.entries(&run.run).await? {
            let manifest = match recorded.entry {
                Entry::Landed { manifest, rejected: 1.., .. } => manifest,
                Entry::RejectedSettled { table, positions, .. } => {
                    let settled: BTreeSet<String> = positions.into_iter().collect();
                    rows.retain(|(of, position, _), _| *of != table || !settled.contains(position));
                    continue;
                }
                Entry::Loaded { step, .. } if run.request.full_refresh && run.request.window.is_none() => {
                    if let Some(table) = step.strip_prefix("extract ") {
                        rows.retain(|(of, ..), kept| of.to_string() != table || kept.run == run.run);
                    }
                    continue;
                }
                _ => continue,
            };
            let Ok(snapshot) = landing.open(&manifest).await else {
                snapshots_gone += 1;
                continue;
            };
            let table = snapshot.manifest().contract.table.clone();
            for row in snapshot.rejected().await? {
                let place = (table.clone(), row.position.clone(), row.column.clone());
                let source_path = snapshot.manifest().contract.source_path(&row.column);
                rows.insert(
                    place,
                    Kept { table: table.clone(), pipeline: run.pipeline.clone(), run: run.run.clone(), at: recorded.at, row, source_path },
                );
            }
        }
    }
    Ok(Held { kept: rows.into_values().collect(), snapshots_gone })
}

/// The rows of one cause.
struct Cause {
    rows: u64,
    first: Timestamp,
    last: Timestamp,
    runs: BTreeSet<String>,
}

fn list(printer: Printer, kept: &[Kept]) -> Result<()> {
    let mut causes: BTreeMap<(String, &str, &str), Cause> = BTreeMap::new();
    for row in kept {
        let new = || Cause { rows: 0, first: row.at, last: row.at, runs: BTreeSet::new() };
        let cause = causes.entry((row.table.to_string(), &row.row.column, &row.row.reason)).or_insert_with(new);
        cause.rows += 1;
        cause.first = cause.first.min(row.at);
        cause.last = cause.last.max(row.at);
        cause.runs.insert(row.run.clone());
    }
    if printer.form != OutputForm::Human {
        let causes = causes.iter().map(|((table, column, reason), cause)| {
            json!({ "table": table, "column": column, "reason": reason, "rows": cause.rows, "first_at": cause.first, "last_at": cause.last,
                "runs": cause.runs, "fix": fix(reason) })
        });
        let causes: Vec<Value> = causes.collect();
        return printer.json(&json!({ "schema_version": 1, "causes": causes }));
    }
    if causes.is_empty() {
        printer.line("no row was rejected");
        return Ok(());
    }
    let rows = causes.iter().map(|((table, column, reason), cause)| {
        vec![table.clone(), (*column).to_owned(), count(cause.rows), day(cause.last), (*reason).to_owned()]
    });
    printer.line(table(&["table", "column", "rows", "last met", "cause"], &[2], rows));
    let fixes: BTreeSet<&str> = causes.keys().map(|(_, _, reason)| fix(reason)).collect();
    printer.line("");
    for fix in fixes {
        printer.line(format!("{} {fix}", printer.styled(Style::Dim, "fix:")));
    }
    let next = "`pipeline quarantine show TABLE` shows the rows, `… replay TABLE` reads them again once they are mended, `… drop TABLE` does without";
    printer.line(format!("{} {next}", printer.styled(Style::Dim, "next:")));
    Ok(())
}

fn show(printer: Printer, kept: &[Kept], table: &str, limit: usize) -> Result<()> {
    let rows: Vec<&Kept> = kept.iter().filter(|row| row.table.to_string() == table).collect();
    if rows.is_empty() {
        return Err(Error::new(&QUARANTINE_EMPTY, format!("no row of table \"{table}\" is in quarantine")));
    }
    if printer.form != OutputForm::Human {
        let shown: Vec<Value> = rows.iter().take(limit).map(|row| as_json(row)).collect();
        return printer.json(&json!({ "schema_version": 1, "table": table, "rows_total": rows.len(), "rows": shown }));
    }
    for row in rows.iter().take(limit) {
        let Rejected { column, reason, position, raw, format, .. } = &row.row;
        printer.line(format!("{}  {position}", printer.styled(Style::Strong, column)));
        printer.line(format!("  {reason}"));
        let values: Vec<String> = row.values().iter().take(VALUES_SHOWN).map(|value| shortened(value.to_string())).collect();
        if let (Some(path), false) = (&row.source_path, values.is_empty()) {
            printer.line(format!("  {path}: {}", printer.styled(Style::Warn, values.join(", "))));
        }
        let text =
            rejected_text(&row.row).map_or_else(|| format!("{} bytes of {format}: {}", count(raw.len() as u64), bytes(raw)), shortened);
        printer.line(format!("  {}", printer.styled(Style::Dim, text)));
    }
    if rows.len() > limit {
        printer.note(format!("{} of {} rows; --limit shows more", limit, rows.len()));
    }
    Ok(())
}

fn as_json(kept: &Kept) -> Value {
    let Rejected { column, reason, position, raw, format, .. } = &kept.row;
    json!({ "column": column, "reason": reason, "position": position, "run": kept.run, "at": kept.at, "format": format,
        "bytes": raw.len(), "raw": hex(raw), "source_path": kept.source_path, "values": kept.values(), "row": kept.document() })
}

fn hex(raw: &[u8]) -> String {
    raw.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The first bytes of a row that is no text, in groups of four.
fn bytes(raw: &[u8]) -> String {
    let groups: Vec<String> = raw.chunks(4).take(BYTE_GROUPS_SHOWN).map(hex).collect();
    let more = if raw.len() > 4 * BYTE_GROUPS_SHOWN { " …" } else { "" };
    format!("{}{more}", groups.join(" "))
}

fn shortened(text: String) -> String {
    match text.char_indices().nth(ROW_CHARACTERS_SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

fn day(at: Timestamp) -> String {
    at.to_chrono().format("%Y-%m-%d %H:%M UTC").to_string()
}

/// What mends rows of a cause, in general: reasons are sentences about types, NULLs and broken bytes.
fn fix(reason: &str) -> &'static str {
    if reason.contains("NULL") || reason.contains("missing") {
        "let the column be NULL in the contract (without `not null`), or fill the value in the source"
    } else if reason.contains("UTF-8") || reason.contains("document") || reason.contains("bytes") {
        "mend the row in the source; then `pipeline quarantine replay` reads it again"
    } else {
        "correct the value in the source, or declare the column so that it fits (`text` and `json` take more); then `pipeline quarantine replay` reads it again"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_in_lists_too() {
        let document = json!({"items": [{"unitPrice": 1.5}, {"unitPrice": "2"}, {}], "at": {"coordinates": [7, 8]}});
        let at = |path: &str| {
            let mut found = Vec::new();
            values_at(&document, path, &mut found);
            Value::from(found)
        };
        assert_eq!(at("items.unitPrice"), json!([1.5, "2"]));
        assert_eq!(at("at.coordinates.1"), json!([8]));
        assert_eq!(at("at.nothing.1"), json!([]));
    }

    #[test]
    fn long_rows_are_cut_between_characters() {
        assert_eq!(shortened("ż".repeat(400)), "ż".repeat(400));
        assert_eq!(shortened("ż".repeat(401)), format!("{}…", "ż".repeat(400)));
    }
}
