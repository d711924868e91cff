//! `pipeline why`: the rows behind a number.

use arrow::array::RecordBatch;
use pipeline_core::error::Result;
use pipeline_core::ledger::Ledger;
use pipeline_core::name::TableName;
use pipeline_core::run::RunKind;
use pipeline_core::window::Timestamp;
use pipeline_transforms::why::{Input, Why};
use serde_json::json;

use crate::arguments::{Global, OutputForm, WhyArguments};
use crate::output::{Printer, Style, count, rows, table};
use crate::project::Project;

/// Runs among which the latest that made models is looked for.
const RUNS_SEARCHED: usize = 100;

/// Columns of a table that fit beside each other; all of them are in the JSON.
const COLUMNS_SHOWN: usize = 9;

/// Characters of a value that are shown to people.
const VALUE_CHARACTERS_MAX: usize = 40;

pub(crate) async fn why(global: &Global, printer: Printer, arguments: WhyArguments) -> Result<()> {
    let project = Project::open(global, printer)?;
    let asked: TableName = arguments.table.parse()?;
    let as_of = as_of(&project, arguments.as_of.as_deref()).await?;
    let models = project.models().await?;
    let why = models.why(&asked, &arguments.key, as_of, arguments.limit).await?;
    if printer.form == OutputForm::Human { show(printer, &why) } else { print(printer, &why, as_of) }
}

/// "Now" for models: the flag, else that of the latest run that made models, else as for a run.
async fn as_of(project: &Project, flag: Option<&str>) -> Result<Timestamp> {
    if flag.is_none() {
        let runs = project.ledger().await?.runs(None, RUNS_SEARCHED).await?;
        let made = |kind: RunKind| matches!(kind, RunKind::Run | RunKind::BackfillModels);
        if let Some(run) = runs.iter().find(|run| run.status.is_some() && made(run.request.kind)) {
            return Ok(run.request.as_of);
        }
    }
    super::run::as_of(project, flag)
}

fn print(printer: Printer, why: &Why, as_of: Timestamp) -> Result<()> {
    let objects = |batches: &[RecordBatch]| -> Result<Vec<serde_json::Value>> {
        batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| rows::object(batch, row))).collect()
    };
    let inputs = why.inputs.iter().map(|input| -> Result<serde_json::Value> {
        Ok(json!({
            "table": input.table, "read_by": input.read_by, "rows": input.rows, "rows_in_all": input.rows_in_all,
            "found_by": input.found_by, "notes": input.notes, "shown": objects(&input.shown)?,
        }))
    });
    let key: serde_json::Map<String, serde_json::Value> =
        why.key.iter().map(|(name, value)| (name.to_string(), value.clone().into())).collect();
    printer.json(&json!({
        "schema_version": 1, "table": why.table, "key": key, "as_of": as_of, "row": rows::object(&why.row, 0)?,
        "differs": why.differs, "inputs": inputs.collect::<Result<Vec<_>>>()?,
    }))
}

fn show(printer: Printer, why: &Why) -> Result<()> {
    printer.line(printer.styled(Style::Strong, &why.table));
    let values = rows::texts(&why.row.slice(0, 1))?.into_iter().next().unwrap_or_default();
    let fields = why.row.schema();
    let lines = fields.fields().iter().zip(values).map(|(field, value)| vec![field.name().clone(), short(&value)]);
    printer.line(table(&["column", "value"], &[], lines));
    printer.line("");
    if why.differs.is_empty() {
        printer.line(format!(
            "{}: computed again from these rows alone, every column has the same value",
            printer.styled(Style::Good, "whole")
        ));
    } else {
        printer.line(format!(
            "{}: computed again from these rows alone, other columns have the same value, but not {}: they also depend on rows that are \
             ranked or counted beside these, or the tables have changed since",
            printer.styled(Style::Warn, "not whole"),
            why.differs.join(", ")
        ));
    }
    for input in &why.inputs {
        show_input(printer, input)?;
    }
    Ok(())
}

fn show_input(printer: Printer, input: &Input) -> Result<()> {
    let readers: Vec<String> = input.read_by.iter().map(ToString::to_string).collect();
    printer.line(format!(
        "\n{}  {} of {} rows, read by {}",
        printer.styled(Style::Strong, &input.table),
        count(input.rows),
        count(input.rows_in_all),
        readers.join(", ")
    ));
    if !input.found_by.is_empty() {
        let found_by: Vec<&str> = input.found_by.iter().map(String::as_str).collect();
        printer.line(printer.styled(Style::Dim, format!("by {}", found_by.join("; "))));
    }
    for note in &input.notes {
        printer.line(format!("{} {note}", printer.styled(Style::Warn, "note:")));
    }
    if input.rows == 0 {
        return Ok(());
    }
    let fields = input.schema.fields();
    let shown = fields.len().min(COLUMNS_SHOWN);
    let headings: Vec<&str> = fields.iter().take(shown).map(|field| field.name().as_str()).collect();
    let right: Vec<usize> = (0..shown).filter(|index| rows::is_number(&fields[*index])).collect();
    let mut lines = Vec::new();
    for batch in &input.shown {
        lines.extend(rows::texts(batch)?.into_iter().map(|row| row.iter().take(shown).map(|value| short(value)).collect::<Vec<_>>()));
    }
    let lines_shown = lines.len() as u64;
    printer.line(table(&headings, &right, lines));
    let mut more = Vec::new();
    if input.rows > lines_shown {
        more.push(format!("{} more rows: --limit", count(input.rows - lines_shown)));
    }
    if fields.len() > shown {
        more.push(format!("{} more columns: --output json", fields.len() - shown));
    }
    if !more.is_empty() {
        printer.line(printer.styled(Style::Dim, more.join(" · ")));
    }
    Ok(())
}

/// A value that leaves room for others.
fn short(value: &str) -> String {
    if value.chars().count() <= VALUE_CHARACTERS_MAX {
        return value.to_owned();
    }
    let start: String = value.chars().take(VALUE_CHARACTERS_MAX - 1).collect();
    format!("{start}…")
}
