//! Whole nights: generated dumps into an embedded lake with all models, at growing sizes.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use serde_json::Value;

use crate::process::{Taken, program, run};
use crate::table::{grouped, print};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How many of the longest steps are listed.
const LONGEST_STEPS: usize = 12;

/// Sizes, and what the program may use.
#[derive(Debug, Args)]
pub(crate) struct Night {
    /// Orders at size 1
    #[arg(long, default_value_t = 250_000)]
    orders: u64,
    /// Sizes to run, as multiples of --orders
    #[arg(long, value_delimiter = ',', default_value = "1,4")]
    sizes: Vec<u64>,
    /// `project.memory_limit` of the program
    #[arg(long, default_value = "1GiB")]
    memory: String,
    /// The project whose pipelines.toml and models are used
    #[arg(long, default_value = ".")]
    project: PathBuf,
    /// Where dumps and lake are written; removed afterwards
    #[arg(long)]
    within: Option<PathBuf>,
}

/// One run of the program.
struct Run {
    size: u64,
    name: &'static str,
    taken: Taken,
    report: Value,
}

impl Night {
    /// Runs all sizes and prints the tables.
    pub(crate) fn measure(&self) -> Result<()> {
        let mut runs = Vec::new();
        for size in &self.sizes {
            runs.extend(self.nights(*size)?);
        }
        let rows: Vec<Vec<String>> = runs.iter().map(summary).collect();
        print(&["orders", "night", "rows read", "rows loaded", "wall s", "CPU s", "peak MB"], &rows);
        for run in runs.iter().filter(|run| run.name == "first") {
            println!("First night over {} orders, `memory_limit = {}`:\n", grouped(run.size * self.orders), self.memory);
            stages(&run.report);
            longest(&run.report);
        }
        let firsts: Vec<&Run> = runs.iter().filter(|run| run.name == "first").collect();
        for pair in firsts.windows(2) {
            let exponent = growth(pair, |run| run.taken.wall_seconds);
            println!("From {}x to {}x the time grows as rows^{exponent:.2}.", pair[0].size, pair[1].size);
        }
        Ok(())
    }

    fn nights(&self, size: u64) -> Result<Vec<Run>> {
        let folder = match &self.within {
            Some(within) => tempfile::tempdir_in(within)?,
            None => tempfile::tempdir()?,
        };
        let orders = self.orders * size;
        let project = std::path::absolute(&self.project)?;
        let dumps = folder.path().join("dumps");
        let mut runs = Vec::new();
        self.generate(&project, &dumps, orders, 0)?;
        for name in ["first", "no changes"] {
            runs.push(self.night(&project, folder.path(), &dumps, size, name)?);
        }
        std::fs::remove_dir_all(&dumps)?;
        self.generate(&project, &dumps, orders, 1)?;
        runs.push(self.night(&project, folder.path(), &dumps, size, "1 % changes")?);
        Ok(runs)
    }

    fn generate(&self, project: &Path, dumps: &Path, orders: u64, change_percent: u32) -> Result<()> {
        eprintln!("generating {} orders, {change_percent} % changed", grouped(orders));
        let mut command = Command::new(program()?);
        command.current_dir(project).args(["demo", "generate", "--stores", "400", "--days", "365", "--quiet", "--to"]).arg(dumps);
        command.args(["--orders", &orders.to_string(), "--customers", &(orders / 4).to_string()]);
        if change_percent > 0 {
            command.args(["--change-percent", &change_percent.to_string()]);
        }
        run(&mut command, dumps.parent().ok_or("the dumps lie in a folder")?)?;
        Ok(())
    }

    fn night(&self, project: &Path, folder: &Path, dumps: &Path, size: u64, name: &'static str) -> Result<Run> {
        eprintln!("night: {name}");
        let answers: Value = serde_json::from_str(&std::fs::read_to_string(dumps.join("answers.json"))?)?;
        let as_of = answers["as_of"].as_str().ok_or("the answers have no as_of")?;
        let at = |name: &str| folder.join(name).display().to_string();
        let mut command = Command::new(program()?);
        command.current_dir(project).args(["run", "nightly", "--output", "json", "--progress", "none"]);
        for (key, value) in [
            ("project.memory_limit", self.memory.clone()),
            ("project.landing", at("landing")),
            ("project.lake", at("lake")),
            ("project.work", at("work")),
            ("project.ledger", at("ledger.db")),
            ("project.as_of", as_of.to_owned()),
            ("sources.shop.path", at("dumps/mongodb/shop")),
            ("sources.platform.path", at("dumps/postgres")),
        ] {
            command.args(["--set", &format!("{key}={value}")]);
        }
        let taken = run(&mut command, folder)?;
        let report = serde_json::from_str(&taken.stdout)?;
        Ok(Run { size, name, taken, report })
    }
}

fn steps(report: &Value) -> &[Value] {
    report["steps"].as_array().map_or(&[], Vec::as_slice)
}

fn number(step: &Value, key: &str) -> u64 {
    step[key].as_u64().unwrap_or(0)
}

fn total(report: &Value, kind: &str, key: &str) -> u64 {
    steps(report).iter().filter(|step| step["kind"] == kind).map(|step| number(step, key)).sum()
}

fn summary(run: &Run) -> Vec<String> {
    let orders = steps(&run.report).iter().find(|step| step["name"] == "extract shop.orders").map_or(0, |step| number(step, "rows_in"));
    vec![
        if run.name == "first" { grouped(orders) } else { String::new() },
        run.name.to_owned(),
        grouped(total(&run.report, "extract", "rows_in")),
        grouped(total(&run.report, "load", "rows_out")),
        format!("{:.1}", run.taken.wall_seconds),
        format!("{:.1}", run.taken.cpu_seconds),
        format!("{:.0}", run.taken.peak_memory_mb),
    ]
}

/// Rows per second of each stage: rows over the time in which at least its steps ran, added up. Steps run side by side, so
/// the times add up to more than the wall time.
fn stages(report: &Value) {
    let mut found: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for step in steps(report) {
        let entry = found.entry(step["kind"].as_str().unwrap_or("")).or_default();
        entry.0 += number(step, "rows_out");
        entry.1 += number(step, "duration_ms");
    }
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|(kind, (rows, milliseconds))| vec![(*kind).to_owned(), grouped(*rows), seconds(*milliseconds), rate(*rows, *milliseconds)])
        .collect();
    print(&["stage", "rows", "seconds of its steps, added up", "rows/s"], &rows);
}

fn longest(report: &Value) {
    let mut longest: Vec<&Value> = steps(report).iter().collect();
    longest.sort_by_key(|step| std::cmp::Reverse(number(step, "duration_ms")));
    let rows: Vec<Vec<String>> = longest
        .iter()
        .take(LONGEST_STEPS)
        .map(|step| {
            let (rows, milliseconds) = (number(step, "rows_out"), number(step, "duration_ms"));
            vec![step["name"].as_str().unwrap_or("").to_owned(), grouped(rows), seconds(milliseconds), rate(rows, milliseconds)]
        })
        .collect();
    print(&["longest steps", "rows", "seconds", "rows/s"], &rows);
}

fn seconds(milliseconds: u64) -> String {
    format!("{}.{}", milliseconds / 1000, milliseconds % 1000 / 100)
}

fn rate(rows: u64, milliseconds: u64) -> String {
    (rows * 1000).checked_div(milliseconds).map_or_else(|| "–".to_owned(), grouped)
}

#[expect(clippy::cast_precision_loss, reason = "sizes are small numbers")]
fn growth(pair: &[&Run], of: impl Fn(&Run) -> f64) -> f64 {
    (of(pair[1]) / of(pair[0])).ln() / (pair[1].size as f64 / pair[0].size as f64).ln()
}
