//! `pipeline segment diff`: who came and who went.

use std::collections::BTreeMap;

use pipeline_core::error::{Error, Result};
use pipeline_core::ledger::Ledger;
use pipeline_core::name::TableName;
use pipeline_loaders::lake::{Commit, LAKE_HISTORY};
use serde_json::{Value, json};

use super::{BIRTHDAYS, Chosen, DISCOUNTS, Look, Row, collect, is_true, text};
use crate::commands::status;
use crate::output::{Style, count, table};

/// From when changes are looked at.
enum Since {
    /// The latest run, with what it did.
    Before(String),
    /// The end of a run, without what it did.
    After(String),
}

impl Since {
    /// Whether a run's commits are among the changes. Ids of runs grow with time.
    fn counts(&self, run: &str) -> bool {
        match self {
            Self::Before(latest) => run >= latest.as_str(),
            Self::After(earlier) => run > earlier.as_str(),
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Before(run) => format!("in run {run}"),
            Self::After(run) => format!("since run {run}"),
        }
    }
}

pub(super) async fn diff(
    look: Look<'_>,
    ledger: &dyn Ledger,
    segment: Option<&str>,
    since: Option<&str>,
    limit: Option<usize>,
) -> Result<()> {
    look.need(&[BIRTHDAYS.1, DISCOUNTS.1]).await?;
    let since = match since {
        Some(wanted) => Since::After(status::find(ledger, wanted).await?.run),
        None => match ledger.runs(None, 1).await?.into_iter().next() {
            Some(latest) => Since::Before(latest.run),
            None => return Err(Error::new(&status::RUN_UNKNOWN, "there was no run yet").hint("Begin with `pipeline run nightly`.")),
        },
    };
    // A rule that went altogether is neither configured nor has members; its customers went all the same.
    let chosen = match segment {
        Some(name) => look.chosen(Some(name)).await?,
        None => Chosen::All,
    };
    let mut changed: Vec<Row> = Vec::new();
    if chosen.has_discounts() {
        let discounts = changes(&look, &since, DISCOUNTS.1, &["customer_id", "rule", "valid_from"], "rule", "is_held_out").await?;
        changed.extend(discounts.into_iter().filter(|row| chosen.has_rule(&text(row, "rule"))));
    }
    if chosen.has_birthdays() {
        changed.extend(changes(&look, &since, BIRTHDAYS.1, &["customer_id", "birthday_on"], "NULL", "false").await?);
    }
    report(&look, &since, changed, limit)
}

/// The keys that came to a segment and that went from it.
async fn changes(look: &Look<'_>, since: &Since, model: &str, keys: &[&str], rule: &str, is_held_out: &str) -> Result<Vec<Row>> {
    let name = TableName::model(model)?;
    let commits = look.models.commits(&name).await?;
    let version = match standing_before(&commits, since) {
        Standing::Unchanged => return Ok(Vec::new()),
        Standing::At(version) => Some(version),
        Standing::Nothing => None,
        Standing::Forgotten => {
            return Err(Error::new(&LAKE_HISTORY, format!("what table \"{name}\" held {} is not kept any more", since.words())));
        }
    };
    let same: Vec<String> = keys.iter().map(|key| format!("one.{key} = other.{key}")).collect();
    let segment = if model == BIRTHDAYS.1 { BIRTHDAYS.0 } else { DISCOUNTS.0 };
    let part = |change: &str, one: &str, other: &str| {
        format!(
            "SELECT customer_id, '{segment}' AS segment, CAST({rule} AS VARCHAR) AS rule, '{change}' AS change, {is_held_out} AS is_held_out \
             FROM {one} AS one WHERE NOT EXISTS (SELECT 1 FROM {other} AS other WHERE {})",
            same.join(" AND ")
        )
    };
    let former = format!("former.{model}");
    let sql = format!(
        "SELECT * FROM ({} UNION ALL {}) AS changes ORDER BY segment, rule, change, customer_id",
        part("came", model, &former),
        part("went", &former, model)
    );
    collect(look.models.query_former(&name, version, &sql, look.as_of).await?).await
}

/// How a table stood before the first commit that counts.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    /// As it stands now.
    Unchanged,
    /// At this version.
    At(u64),
    /// It was not there.
    Nothing,
    /// Nobody knows any more.
    Forgotten,
}

fn standing_before(commits: &[Commit], since: &Since) -> Standing {
    let first = commits.iter().position(|commit| commit.run.as_deref().is_some_and(|run| since.counts(run)));
    let Some(first) = first else { return Standing::Unchanged };
    match commits[first].version {
        0 => Standing::Nothing,
        // Of what came before, the log has nothing: it may count as well.
        _ if first == 0 => Standing::Forgotten,
        version => Standing::At(version - 1),
    }
}

fn report(look: &Look<'_>, since: &Since, changed: Vec<Row>, limit: Option<usize>) -> Result<()> {
    let mut sums: BTreeMap<(String, String), (u64, u64)> = BTreeMap::new();
    for row in &changed {
        let sum = sums.entry((text(row, "segment"), text(row, "rule"))).or_default();
        if text(row, "change") == "came" { sum.0 += 1 } else { sum.1 += 1 }
    }
    let limit = look.limit(limit);
    let all = changed.len();
    if !look.is_human() {
        let rule = |rule: &String| if rule.is_empty() { Value::Null } else { Value::from(rule.as_str()) };
        let segments: Vec<Value> = sums
            .iter()
            .map(|((segment, name), (came, went))| json!({ "segment": segment, "rule": rule(name), "came": came, "went": went }))
            .collect();
        let (run, counts_itself) = match since {
            Since::Before(run) => (run, true),
            Since::After(run) => (run, false),
        };
        let customers: Vec<Value> = changed.into_iter().take(limit).map(Value::Object).collect();
        return look.printer.json(
            &json!({ "schema_version": 1, "run": run, "includes_run": counts_itself, "segments": segments, "customers": customers }),
        );
    }
    let printer = look.printer;
    printer.line(format!("{} {}", printer.styled(Style::Strong, "came and went"), since.words()));
    if sums.is_empty() {
        printer.line("nobody");
        return Ok(());
    }
    let rows = sums.iter().map(|((segment, rule), (came, went))| vec![segment.clone(), rule.clone(), count(*came), count(*went)]);
    printer.line(table(&["segment", "rule", "came", "went"], &[2, 3], rows));
    printer.line("");
    let rows = changed.iter().take(limit).map(|row| {
        let change = if text(row, "change") == "came" { printer.styled(Style::Good, "+") } else { printer.styled(Style::Bad, "-") };
        let held_out = if is_true(row, "is_held_out") { printer.styled(Style::Dim, "held out") } else { String::new() };
        vec![change, text(row, "customer_id"), text(row, "segment"), text(row, "rule"), held_out]
    });
    printer.line(table(&["", "customer", "segment", "rule", ""], &[], rows));
    if all > limit {
        printer.note(format!("{limit} of {} customers; --limit shows more", count(all as u64)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(version: u64, run: Option<&str>) -> Commit {
        Commit { version, run: run.map(str::to_owned) }
    }

    #[test]
    fn what_stood_before_a_run_is_what_its_first_commit_changed() {
        let commits = [commit(0, None), commit(1, Some("01")), commit(2, None), commit(3, Some("03")), commit(4, Some("03"))];
        assert_eq!(standing_before(&commits, &Since::Before("03".to_owned())), Standing::At(2));
        assert_eq!(standing_before(&commits, &Since::After("01".to_owned())), Standing::At(2));
        // A run that changed nothing has no commit.
        assert_eq!(standing_before(&commits, &Since::Before("04".to_owned())), Standing::Unchanged);
        assert_eq!(standing_before(&commits, &Since::After("03".to_owned())), Standing::Unchanged);
        assert_eq!(standing_before(&commits, &Since::After("00".to_owned())), Standing::At(0));
        assert_eq!(standing_before(&commits[3..], &Since::Before("03".to_owned())), Standing::Forgotten);
        assert_eq!(standing_before(&[commit(0, Some("01"))], &Since::Before("01".to_owned())), Standing::Nothing);
    }
}
