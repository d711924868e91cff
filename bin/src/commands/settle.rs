//! `pipeline quarantine replay` and `drop`: rejected rows come home, or nobody waits for them any more.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, IsTerminal, Write};

use pipeline_core::error::{Code, Error, ErrorKind, Result};
use pipeline_core::name::TableName;
use pipeline_core::run::{ReplayReport, RunKind, RunRequest, Selection};
use serde_json::{Value, json};

use super::quarantine::{Kept, QUARANTINE_EMPTY};
use super::run::stop_on_signals;
use crate::arguments::OutputForm;
use crate::output::{Printer, count, progress};
use crate::project::Project;

/// Something is to be done for good, and nobody said yes.
pub(crate) static NOT_CONFIRMED: Code = Code {
    name: "E-NOT-CONFIRMED",
    kind: ErrorKind::Usage,
    meaning: "Something that cannot be undone was asked for, and was not confirmed.",
    remedy: "Answer with \"yes\", or pass --yes where nobody can be asked.",
};

/// The positions of a table's rejected rows, by the pipeline that met them.
fn positions(kept: Vec<Kept>, table: &str, column: Option<&str>) -> Result<(TableName, BTreeMap<String, BTreeSet<String>>)> {
    let mut name = None;
    let mut by_pipeline: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in kept {
        if row.table.to_string() == table && column.is_none_or(|column| row.row.column == column) {
            by_pipeline.entry(row.pipeline).or_default().insert(row.row.position);
            name = Some(row.table);
        }
    }
    match name {
        Some(name) => Ok((name, by_pipeline)),
        None => Err(Error::new(&QUARANTINE_EMPTY, format!("no row of table \"{table}\" is in quarantine"))),
    }
}

fn request(project: &Project, table: &TableName) -> Result<RunRequest> {
    Ok(RunRequest {
        kind: RunKind::Quarantine,
        window: None,
        as_of: super::run::as_of(project, None)?,
        selection: Selection { only: vec![table.to_string()], skip: Vec::new() },
        full_refresh: false,
    })
}

pub(super) async fn replay(project: &Project, printer: Printer, kept: Vec<Kept>, table: &str) -> Result<()> {
    let (table, by_pipeline) = positions(kept, table, None)?;
    let stop = stop_on_signals(printer);
    let mut reports: Vec<(String, ReplayReport)> = Vec::new();
    for (pipeline, positions) in by_pipeline {
        let engine = project.engine(&pipeline, progress(printer), stop.clone(), 0).await?;
        let report = engine.replay(&table, &positions, request(project, &table)?).await?;
        reports.push((pipeline, report));
    }
    if printer.form != OutputForm::Human {
        let replays: Vec<Value> = reports
            .iter()
            .map(|(pipeline, report)| {
                json!({ "pipeline": pipeline, "run_id": report.run, "came_home": report.came_home, "still_rejected": report.still_rejected,
                    "gone": report.gone })
            })
            .collect();
        return printer.json(&json!({ "schema_version": 1, "table": table, "replays": replays }));
    }
    for (pipeline, report) in &reports {
        let ReplayReport { came_home, still_rejected, gone, .. } = report;
        printer.line(format!(
            "{table}: {} came into the lake · {} still do not fit · {} are gone from the source",
            count(*came_home),
            count(*still_rejected),
            count(*gone)
        ));
        if *came_home > 0 {
            printer.line(format!("next: `pipeline run {pipeline}` brings them into the models and on"));
        } else if *still_rejected > 0 {
            printer.line("next: `pipeline quarantine list` says why they do not fit");
        }
    }
    Ok(())
}

pub(super) async fn forget(
    project: &Project,
    printer: Printer,
    kept: Vec<Kept>,
    table: &str,
    column: Option<&str>,
    yes: bool,
) -> Result<()> {
    let (table, by_pipeline) = positions(kept, table, column)?;
    let rows: usize = by_pipeline.values().map(BTreeSet::len).sum();
    let what = format!("{} rejected {} of \"{table}\"", count(rows as u64), if rows == 1 { "row" } else { "rows" });
    if !yes && !is_confirmed(&what) {
        return Err(Error::new(&NOT_CONFIRMED, format!("{what} were not dropped")));
    }
    let stop = stop_on_signals(printer);
    for (pipeline, positions) in &by_pipeline {
        let engine = project.engine(pipeline, progress(printer), stop.clone(), 0).await?;
        engine.drop_rejected(&table, positions, request(project, &table)?).await?;
    }
    if printer.form == OutputForm::Human {
        printer.line(format!("{what} dropped; `pipeline history` remembers it"));
        return Ok(());
    }
    printer.json(&json!({ "schema_version": 1, "table": table, "dropped": rows }))
}

/// Asks somebody who sits at a terminal.
fn is_confirmed(what: &str) -> bool {
    let (mut input, mut error) = (std::io::stdin().lock(), std::io::stderr().lock());
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return false;
    }
    let mut answer = String::new();
    let asked = write!(error, "Do without {what}? They will not be listed any more. (yes/no) ").and_then(|()| error.flush());
    asked.is_ok() && input.read_line(&mut answer).is_ok() && answer.trim() == "yes"
}
