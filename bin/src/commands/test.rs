//! `pipeline test`: the data tests alone, over the lake as it stands. Makes nothing and measures nothing for later.

use std::collections::BTreeMap;

use pipeline_core::error::{Code, Error, ErrorKind, Result};
use pipeline_core::ledger::Ledger;
use pipeline_core::model::{FORMER_RUNS_MAX, Standard};
use pipeline_core::name::TableName;
use pipeline_core::window::Timestamp;
use pipeline_transforms::compute::{Outcome, Verdict};
use pipeline_transforms::model::Severity;
use serde_json::{Value, json};

use crate::arguments::{Global, OutputForm, TestArguments};
use crate::output::{Printer, Style, count, plural};
use crate::project::Project;

/// Data tests fail.
pub(crate) static TESTS_FAIL: Code = Code {
    name: "E-TESTS-FAIL",
    kind: ErrorKind::Data,
    meaning: "Data tests of severity error fail on the tables as the lake holds them.",
    remedy: "See the rows with `pipeline query` and the query shown below the test, then correct the source, the model or the test.",
};

/// What the tests of a model found; None if there is no table yet.
struct Tested {
    table: TableName,
    verdicts: Option<Vec<Verdict>>,
}

/// What a test comes to, in all.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Passed,
    NotAsked,
    Warned,
    Failed,
}

impl End {
    fn of(verdict: &Verdict) -> Self {
        match (&verdict.outcome, verdict.severity) {
            (Outcome::Passed, _) => Self::Passed,
            (Outcome::NotAsked(_), _) => Self::NotAsked,
            (Outcome::Rows { .. } | Outcome::Table(_), Severity::Warn) => Self::Warned,
            (Outcome::Rows { .. } | Outcome::Table(_), Severity::Error) => Self::Failed,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::NotAsked => "not_asked",
            Self::Warned => "warned",
            Self::Failed => "failed",
        }
    }

    fn sign(self, printer: Printer) -> String {
        match self {
            Self::Passed => printer.styled(Style::Good, "✓"),
            Self::NotAsked => printer.styled(Style::Dim, "·"),
            Self::Warned => printer.styled(Style::Warn, "!"),
            Self::Failed => printer.styled(Style::Bad, "✗"),
        }
    }
}

impl Tested {
    fn count(&self, end: End) -> usize {
        self.verdicts.iter().flatten().filter(|verdict| End::of(verdict) == end).count()
    }
}

pub(crate) async fn test(global: &Global, printer: Printer, arguments: TestArguments) -> Result<()> {
    let project = Project::open(global, printer)?;
    let as_of = super::run::as_of(&project, arguments.as_of.as_deref())?;
    let models = project.models_of(&arguments.name).await?;
    let tables = project.tables(&arguments.name)?.into_iter().map(|table| (table, Vec::new()));
    let graph: BTreeMap<TableName, Vec<TableName>> = models.reads().into_iter().chain(tables).collect();
    let chosen = super::run::selection(arguments.select).choose(&graph)?;
    let ledger = project.ledger().await?;
    let mut tested = Vec::new();
    for (table, _) in models.reads().into_iter().filter(|(table, _)| chosen.contains(table)) {
        // The newest measure is of the table that is tested: it is held against those before, as in its run.
        let former = ledger.measured(&arguments.name, &table, FORMER_RUNS_MAX + 1).await?.into_iter().skip(1).collect();
        let verdicts = models.test(&table, as_of, &Standard { former, is_of_the_past: false }).await?;
        tested.push(Tested { table, verdicts });
    }
    let all = |end| tested.iter().map(|tested| tested.count(end)).sum::<usize>();
    let (failed, warned) = (all(End::Failed), all(End::Warned));
    if printer.form == OutputForm::Human {
        show(printer, &arguments.name, as_of, &tested, global.verbose > 0);
    } else {
        let status = match (failed, warned) {
            (0, 0) => End::Passed,
            (0, _) => End::Warned,
            _ => End::Failed,
        };
        let missing: Vec<&TableName> = tested.iter().filter(|tested| tested.verdicts.is_none()).map(|tested| &tested.table).collect();
        let tests: Vec<Value> = tested.iter().flat_map(entries).collect();
        printer.json(&json!({ "schema_version": 1, "pipeline": arguments.name, "as_of": as_of, "status": status.name(),
            "passed": all(End::Passed), "warned": warned, "failed": failed, "not_asked": all(End::NotAsked), "missing": missing, "tests": tests }))?;
    }
    if failed == 0 {
        return Ok(());
    }
    let names = tested.iter().filter(|tested| tested.count(End::Failed) > 0).map(|tested| format!("\"{}\"", tested.table));
    let names: Vec<String> = names.collect();
    Err(Error::new(&TESTS_FAIL, format!("{} of severity error failed, of {}", plural(failed, "data test"), names.join(", "))))
}

fn entries(tested: &Tested) -> Vec<Value> {
    let entry = |verdict: &Verdict| {
        let failing = match &verdict.outcome {
            Outcome::Rows { count, .. } => Some(*count),
            Outcome::Passed | Outcome::NotAsked(_) | Outcome::Table(_) => None,
        };
        json!({ "model": tested.table, "test": verdict.test, "severity": verdict.severity.name(), "status": End::of(verdict).name(),
            "failing": failing, "message": words(verdict), "query": verdict.query })
    };
    tested.verdicts.iter().flatten().map(entry).collect()
}

/// What there is to say of a test; None if it passed.
fn words(verdict: &Verdict) -> Option<String> {
    match &verdict.outcome {
        Outcome::Passed => None,
        Outcome::Rows { count: rows, counted } => {
            let noun = if *rows == 1 { counted.trim_end_matches('s') } else { counted };
            let verb = if *rows == 1 { "fails" } else { "fail" };
            Some(format!("{} {noun} {verb} it", count(*rows)))
        }
        Outcome::NotAsked(why) | Outcome::Table(why) => Some(why.clone()),
    }
}

/// A line for each model, and below it each test that is not just passed.
fn show(printer: Printer, pipeline: &str, as_of: Timestamp, tested: &[Tested], is_verbose: bool) {
    printer.line(format!("{} {}", printer.styled(Style::Strong, pipeline), printer.styled(Style::Dim, format!("as of {as_of}"))));
    let width = tested.iter().map(|tested| tested.table.to_string().chars().count()).max().unwrap_or(0);
    for one in tested {
        let name = format!("{:width$}", one.table.to_string());
        let Some(verdicts) = &one.verdicts else {
            let (sign, what) = (printer.styled(Style::Dim, "·"), printer.styled(Style::Dim, "not made yet"));
            printer.line(format!("{sign} {}  {what}", printer.styled(Style::Key, name)));
            continue;
        };
        let worst = [End::Failed, End::Warned].into_iter().find(|end| one.count(*end) > 0).unwrap_or(End::Passed);
        let counted = [(End::Passed, "passed"), (End::Warned, "warn"), (End::Failed, "failed"), (End::NotAsked, "not asked")];
        let counted = counted.into_iter().map(|(end, word)| (one.count(end), word)).filter(|(number, _)| *number > 0);
        let counted: Vec<String> = counted.map(|(number, word)| format!("{number} {word}")).collect();
        let counted = printer.styled(if worst == End::Passed { Style::Dim } else { Style::Strong }, counted.join(" · "));
        printer.line(format!("{} {}  {counted}", worst.sign(printer), printer.styled(Style::Key, name)));
        for verdict in verdicts {
            let end = End::of(verdict);
            if !is_verbose && matches!(end, End::Passed | End::NotAsked) {
                continue;
            }
            let what = words(verdict).map_or(String::new(), |words| format!(": {words}"));
            printer.line(format!("    {} {}{what}", end.sign(printer), verdict.test));
            if verdict.fails() {
                printer.line(format!("      {}", printer.styled(Style::Dim, &verdict.query)));
            }
        }
    }
    let all = |end| tested.iter().map(|tested| tested.count(end)).sum::<usize>();
    let tests: usize = tested.iter().map(|tested| tested.verdicts.iter().flatten().count()).sum();
    let mut ends = vec![format!("{} passed", count(all(End::Passed) as u64))];
    let styled = [(End::Warned, "warn", Style::Warn), (End::Failed, "failed", Style::Bad), (End::NotAsked, "not asked", Style::Dim)];
    for (end, word, style) in styled.into_iter().filter(|(end, ..)| all(*end) > 0) {
        ends.push(printer.styled(style, format!("{} {word}", count(all(end) as u64))));
    }
    printer.line(format!("{} of {}: {}", plural(tests, "test"), plural(tested.len(), "model"), ends.join(" · ")));
    if all(End::NotAsked) > 0 && !is_verbose {
        printer.line(printer.styled(Style::Dim, "tests against former runs are not asked while these are too few; -v shows every test"));
    }
}
