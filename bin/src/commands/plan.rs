//! `pipeline plan`: what a run would read, make and load. Reads only.

use std::collections::BTreeSet;

use pipeline_core::error::Result;
use pipeline_core::extract::Request;
use pipeline_core::late::{self, LateRows, LookbackProposal};
use pipeline_core::load::{Change, Layout, Load, LoadId, Mode};
use pipeline_core::model::{ModelNode, Models, Whole};
use pipeline_core::name::TableName;
use pipeline_core::run::{Stop, inputs_state};
use pipeline_core::window::Timestamp;
use serde::Serialize;

use crate::arguments::{Global, OutputForm, PlanArguments};
use crate::output::{Printer, Style, count, progress, table};
use crate::project::{Connected, Project};

/// Why a model is not made.
const NOTHING: &str = "nothing: all it reads is as before";

#[derive(Debug, Serialize)]
struct Plan {
    schema_version: u32,
    pipeline: String,
    tables: Vec<TablePlan>,
    models: Vec<ModelPlan>,
    changes: Vec<DestinationChange>,
    loads: Vec<LoadPlan>,
}

#[derive(Debug, Serialize)]
struct TablePlan {
    table: TableName,
    slices: usize,
    rows_estimated: Option<u64>,
    what: String,
    statement: String,
    lookback: Option<Lookback>,
}

/// How late rows of a table came, and what its lookback should be.
#[derive(Debug, Serialize)]
struct Lookback {
    lookback_s: u64,
    proposal: LookbackProposal,
}

#[derive(Debug, Serialize)]
struct ModelPlan {
    table: TableName,
    reads: Vec<TableName>,
    reason: &'static str,
    how: String,
    destinations: Vec<String>,
}

#[derive(Debug, Serialize)]
struct DestinationChange {
    destination: String,
    #[serde(flatten)]
    change: Change,
}

#[derive(Debug, Serialize)]
struct LoadPlan {
    table: TableName,
    destination: String,
    statements: Vec<String>,
}

pub(crate) async fn plan(global: &Global, printer: Printer, arguments: PlanArguments) -> Result<()> {
    let project = Project::open(global, printer)?;
    let connected = project.connect(&arguments.name, progress(printer), Stop::default()).await?;
    let selection = super::run::selection(arguments.select.clone());
    let chosen = selection.choose(&connected.graph())?;
    let plan = make(&connected, &chosen, arguments.full_refresh).await?;
    if printer.form == OutputForm::Human {
        show(printer, &plan, arguments.sql);
        Ok(())
    } else {
        printer.json(&plan)
    }
}

async fn make(connected: &Connected, chosen: &BTreeSet<TableName>, full_refresh: bool) -> Result<Plan> {
    let mut plan = Plan {
        schema_version: 1,
        pipeline: connected.pipeline.clone(),
        tables: Vec::new(),
        models: Vec::new(),
        changes: Vec::new(),
        loads: Vec::new(),
    };
    let wanted: BTreeSet<TableName> = chosen.iter().filter(|table| !table.is_model()).cloned().collect();
    let mut changing: BTreeSet<TableName> = BTreeSet::new();
    for source in if wanted.is_empty() { Vec::new() } else { connected.sources.open(&wanted).await? } {
        let table = source.extractor.contract().table.clone();
        let after = if full_refresh { None } else { connected.ledger.checkpoint(&connected.pipeline, &table).await? };
        let request = Request {
            window: None,
            rejected: None,
            cut: None,
            lookback_us: source.lookback_us,
            slices_wanted: connected.slices_in_flight_max,
        };
        let planned = source.extractor.plan(&request, after.as_ref()).await;
        let finished = source.extractor.finish().await;
        let planned = planned?;
        finished?;
        if !planned.slices.is_empty() {
            changing.insert(table.clone());
        }
        for change in connected.lake.compare(source.extractor.contract(), &Layout::default()).await? {
            plan.changes.push(DestinationChange { destination: "lake".to_owned(), change });
        }
        plan.tables.push(TablePlan {
            lookback: lookback(connected, &table, source.lookback_us).await?,
            table,
            slices: planned.slices.len(),
            rows_estimated: planned.rows_estimated,
            what: planned.summary,
            statement: planned.statement,
        });
    }
    for node in connected.models.nodes().iter().filter(|node| chosen.contains(&node.contract.table)) {
        let name = &node.contract.table;
        // Models that follow the day are told before this counts.
        let some_day = Timestamp::from_microseconds(0);
        let made_from = connected.ledger.model_state(&connected.pipeline, name).await?;
        let is_same = made_from.as_ref() == Some(&inputs_state(connected.lake.as_ref(), &connected.pipeline, node, some_day).await?);
        let basis = connected.ledger.model_basis(&connected.pipeline, name).await?;
        let whole = connected.models.whole_because(name, basis.as_ref()).await?;
        // Of a view nothing is stored but that it was tested.
        let stored = if node.is_view { None } else { connected.lake.marker(&connected.pipeline, name).await? };
        let has_result = if node.is_view { made_from.is_some() } else { stored.is_some() };
        let reason = if !has_result {
            "new"
        } else if node.reads().iter().any(|input| changing.contains(input)) {
            "what it reads changes"
        } else if node.uses_as_of {
            "depends on the day"
        } else if full_refresh {
            "full refresh"
        } else if is_same {
            NOTHING
        } else if whole == Some(Whole::OtherModel) {
            "the model itself changed"
        } else {
            "it, or what it reads, changed since"
        };
        if reason != NOTHING {
            changing.insert(name.clone());
        }
        if node.is_view {
            let how = "a view: tested, and nothing stored".to_owned();
            plan.models.push(ModelPlan { table: name.clone(), reads: node.inputs.clone(), reason, how, destinations: Vec::new() });
            continue;
        }
        let mut loaders = vec![("lake".to_owned(), &connected.lake, node.contract.clone())];
        let beside = connected.destinations.iter().filter(|to| to.tables.contains(name));
        loaders.extend(beside.map(|to| (to.loader.name().to_owned(), &to.loader, node.published_contract())));
        for (destination, loader, contract) in &loaders {
            for change in loader.compare(contract, &node.layout).await? {
                plan.changes.push(DestinationChange { destination: destination.clone(), change });
            }
            let base = stored.as_ref().map(|marker| marker.revision);
            let id = LoadId {
                pipeline: connected.pipeline.clone(),
                table: contract.table.clone(),
                revision: base.unwrap_or(0) + 1,
                digest: "…".to_owned(),
            };
            let load =
                Load { id, run: "…".to_owned(), mode: Mode::Changes, base, contract: contract.clone(), layout: node.layout.clone() };
            let statements = loader.describe(&load);
            if !statements.is_empty() {
                plan.loads.push(LoadPlan { table: contract.table.clone(), destination: destination.clone(), statements });
            }
        }
        let how = how(node, whole.filter(|_| stored.is_some()), stored.is_some() && !full_refresh);
        let destinations = loaders.into_iter().map(|(name, ..)| name).collect();
        plan.models.push(ModelPlan { table: name.clone(), reads: node.inputs.clone(), reason, how, destinations });
    }
    Ok(plan)
}

/// How a model would be computed, as far as that is known before its inputs are read: which of its units, only a run can tell.
fn how(node: &ModelNode, whole: Option<Whole>, has_result: bool) -> String {
    let Some(by) = &node.incremental_by else { return "whole".to_owned() };
    let by: Vec<String> = by.iter().map(ToString::to_string).collect();
    let by = by.join(", ");
    match whole {
        None if has_result => format!("touched units by {by}"),
        None => format!("whole this time, then by {by}"),
        Some(reason) => format!("whole: {reason}"),
    }
}

/// What the latest runs measured; None if the lookback brought nothing.
async fn lookback(connected: &Connected, table: &TableName, lookback_us: i64) -> Result<Option<Lookback>> {
    const RUNS_MAX: usize = 30;
    let runs = connected.ledger.late_rows(&connected.pipeline, table, RUNS_MAX).await?;
    let mut late = LateRows::default();
    runs.iter().for_each(|run| late.add(run));
    let lookback_s = u64::try_from(lookback_us).unwrap_or(0) / 1_000_000;
    Ok(late.propose(lookback_us, runs.len() as u64).map(|proposal| Lookback { lookback_s, proposal }))
}

fn show_lookbacks(printer: Printer, plan: &Plan) {
    let measured: Vec<_> = plan.tables.iter().filter_map(|planned| Some((&planned.table, planned.lookback.as_ref()?))).collect();
    if measured.is_empty() {
        return;
    }
    printer.line(printer.styled(Style::Strong, "\nrows that came late"));
    let rows = measured.into_iter().map(|(table, Lookback { lookback_s, proposal })| {
        let spelled = format!("lookback = \"{}\"", late::spell_s(proposal.lookback_s));
        let advice = if proposal.is_too_short {
            printer.styled(Style::Warn, format!("{spelled}: the present one is nearly used up, and later rows may be missed"))
        } else if proposal.lookback_s == *lookback_s {
            "as it should be".to_owned()
        } else {
            format!("{spelled} would find 99.9 % of them")
        };
        vec![
            format!("  {}", printer.styled(Style::Key, table)),
            count(proposal.rows),
            count(proposal.runs),
            late::spell_s(proposal.covers_s),
            late::spell_s(*lookback_s),
            advice,
        ]
    });
    printer.line(table(&["  table", "rows", "runs", "99.9 % within", "lookback", "proposal"], &[1, 2, 3, 4], rows));
}

fn show_models(printer: Printer, plan: &Plan) {
    let rows = plan.models.iter().map(|model| {
        let reads: Vec<String> = model.reads.iter().map(ToString::to_string).collect();
        vec![
            format!("  {}", printer.styled(Style::Key, &model.table)),
            model.reason.to_owned(),
            model.how.clone(),
            reads.join(", "),
            model.destinations.join(", "),
        ]
    });
    printer.line(table(&["  model", "why", "how", "from", "into"], &[], rows));
}

fn show(printer: Printer, plan: &Plan, with_statements: bool) {
    let heading = |text: &str| printer.line(printer.styled(Style::Strong, text));
    heading(&format!("{} would read", plan.pipeline));
    let rows = plan.tables.iter().map(|planned| {
        let rows = match planned.rows_estimated {
            _ if planned.slices == 0 => printer.styled(Style::Dim, "nothing"),
            Some(rows) => format!("≈ {}", count(rows)),
            None => "?".to_owned(),
        };
        vec![format!("  {}", printer.styled(Style::Key, &planned.table)), rows, planned.slices.to_string(), planned.what.clone()]
    });
    printer.line(table(&["  table", "rows", "slices", "what"], &[1, 2], rows));
    show_lookbacks(printer, plan);
    if !plan.models.is_empty() {
        heading("\nand make");
        show_models(printer, plan);
    }
    if !plan.changes.is_empty() {
        heading("\nafter these changes of tables");
        for changed in &plan.changes {
            let style = match changed.change.sign {
                '+' => Style::Good,
                '-' => Style::Bad,
                _ => Style::Warn,
            };
            printer.line(format!(
                "  {} {} {}",
                printer.styled(style, changed.change.sign),
                printer.styled(Style::Dim, &changed.destination),
                changed.change.what
            ));
            if let Some(statement) = changed.change.statement.as_ref().filter(|_| with_statements) {
                indented(printer, statement);
            }
        }
    }
    if with_statements {
        heading("\nby these statements");
        for planned in &plan.tables {
            indented(printer, &planned.statement);
        }
        for load in &plan.loads {
            printer.line(format!("  {} {}", printer.styled(Style::Dim, &load.destination), printer.styled(Style::Key, &load.table)));
            for statement in &load.statements {
                indented(printer, statement);
            }
        }
    } else {
        printer.line(printer.styled(Style::Dim, "\n--sql shows every statement"));
    }
}

fn indented(printer: Printer, statement: &str) {
    for line in statement.lines() {
        printer.line(format!("      {line}"));
    }
}
