//! `pipeline segment`: who is in, why, what a rule would give, and who came and went.
//!
//! Reads the lake and writes nothing. Of customers only ids are shown, and to `why` the values that its conditions ask for.

mod changes;
mod list;
mod preview;
mod why;

use std::sync::Arc;

use futures::TryStreamExt;
use pipeline_core::batch::BatchStream;
use pipeline_core::config::{Discount, SegmentRule};
use pipeline_core::error::{Code, Error, ErrorKind, Result};
use pipeline_core::name::TableName;
use pipeline_core::window::Timestamp;
use pipeline_transforms::errors::MODEL_INPUT;
use serde_json::{Map, Value};

use crate::arguments::{Global, OutputForm, SegmentArguments, SegmentCommand};
use crate::models::LakeModels;
use crate::output::{Printer, rows};
use crate::project::Project;

/// A segment or rule is asked for that does not exist.
pub(crate) static SEGMENT_UNKNOWN: Code = Code {
    name: "E-SEGMENT-UNKNOWN",
    kind: ErrorKind::Usage,
    meaning: "There is no segment and no rule of this name.",
    remedy: "`pipeline segment list` lists the segments and rules.",
};

/// A customer is asked for whom nobody knows.
pub(crate) static CUSTOMER_UNKNOWN: Code = Code {
    name: "E-CUSTOMER-UNKNOWN",
    kind: ErrorKind::Usage,
    meaning: "The lake knows no customer of this id.",
    remedy: "Give the id as `customers.customer_id` has it; `pipeline segment list SEGMENT` shows some.",
};

/// The codes of this command.
pub(crate) const CODES: [&Code; 2] = [&SEGMENT_UNKNOWN, &CUSTOMER_UNKNOWN];

/// The segment of birthdays, and its model.
const BIRTHDAYS: (&str, &str) = ("birthdays", "segment_birthdays");

/// The segment of discounts, its model, and the model that decides.
const DISCOUNTS: (&str, &str) = ("discounts", "segment_discounts");
const DECIDES: &str = "discounts_due";

/// Customers that a terminal gets.
const CUSTOMERS_SHOWN: usize = 20;

pub(crate) async fn segment(global: &Global, printer: Printer, arguments: SegmentArguments) -> Result<()> {
    let project = Project::open(global, printer)?;
    let as_of = |flag: Option<&str>| super::run::as_of(&project, flag);
    let look = async |as_of| Ok::<_, Error>(Look { models: project.models().await?, rules: &project.config.segments, as_of, printer });
    match arguments.command {
        SegmentCommand::List { segment, limit } => Box::pin(list::list(look(as_of(None)?).await?, segment.as_deref(), limit)).await,
        SegmentCommand::Preview { rule, limit, as_of: flag } => {
            Box::pin(preview::preview(look(as_of(flag.as_deref())?).await?, &rule, limit)).await
        }
        SegmentCommand::Why { customer, as_of: flag } => Box::pin(why::why(look(as_of(flag.as_deref())?).await?, &customer)).await,
        SegmentCommand::Diff { segment, since, limit } => {
            let ledger = project.ledger().await?;
            let look = look(as_of(None)?).await?;
            Box::pin(changes::diff(look, ledger.as_ref(), segment.as_deref(), since.as_deref(), limit)).await
        }
    }
}

type Row = Map<String, Value>;

/// What all of them look at.
struct Look<'a> {
    models: Arc<LakeModels>,
    rules: &'a [SegmentRule],
    as_of: Timestamp,
    printer: Printer,
}

impl Look<'_> {
    /// The rows of a query.
    async fn rows(&self, sql: &str) -> Result<Vec<Row>> {
        collect(self.models.query(sql, self.as_of).await?).await
    }

    /// The rows of a query over what the deciding model finds out.
    async fn decisions(&self, sql: &str) -> Result<Vec<Row>> {
        collect(self.models.look_into(&TableName::model(DECIDES)?, self.as_of, sql).await?).await
    }

    /// Refuses to look at what was never made.
    async fn need(&self, models: &[&str]) -> Result<()> {
        for model in models {
            if !self.models.has(&TableName::model(model)?).await? {
                return Err(Error::new(&MODEL_INPUT, format!("model \"{model}\" was not made yet"))
                    .hint("Run the pipeline that makes it first: `pipeline run nightly`."));
            }
        }
        Ok(())
    }

    fn rule(&self, name: &str) -> Result<&SegmentRule> {
        self.rules.iter().find(|rule| rule.name == name).ok_or_else(|| {
            let known: Vec<&str> = self.rules.iter().map(|rule| rule.name.as_str()).collect();
            let hint =
                if known.is_empty() { "Add a section [segments.NAME].".to_owned() } else { format!("Use one of: {}.", known.join(", ")) };
            Error::new(&SEGMENT_UNKNOWN, format!("there is no rule \"{name}\" in the configuration")).hint(hint)
        })
    }

    /// What a name means: a segment as a whole, or one rule.
    async fn chosen(&self, name: Option<&str>) -> Result<Chosen> {
        let Some(name) = name else { return Ok(Chosen::All) };
        if name == BIRTHDAYS.0 || name == BIRTHDAYS.1 {
            return Ok(Chosen::Birthdays);
        }
        if name == DISCOUNTS.0 || name == DISCOUNTS.1 {
            return Ok(Chosen::Discounts);
        }
        // A rule that is not configured any more may still have members.
        let members = format!("SELECT 1 AS found FROM {} WHERE rule = {} LIMIT 1", DISCOUNTS.1, literal(name));
        if self.rules.iter().all(|rule| rule.name != name) && self.rows(&members).await?.is_empty() {
            let known = [BIRTHDAYS.0, DISCOUNTS.0].into_iter().chain(self.rules.iter().map(|rule| rule.name.as_str()));
            let known: Vec<&str> = known.collect();
            return Err(Error::new(&SEGMENT_UNKNOWN, format!("there is no segment or rule \"{name}\""))
                .hint(format!("Use one of: {}.", known.join(", "))));
        }
        Ok(Chosen::Rule(name.to_owned()))
    }

    fn is_human(&self) -> bool {
        self.printer.form == OutputForm::Human
    }

    /// How many customers to show.
    fn limit(&self, asked: Option<usize>) -> usize {
        asked.unwrap_or(if self.is_human() { CUSTOMERS_SHOWN } else { usize::MAX })
    }
}

/// What a command is about.
enum Chosen {
    All,
    Birthdays,
    Discounts,
    Rule(String),
}

impl Chosen {
    fn has_birthdays(&self) -> bool {
        matches!(self, Self::All | Self::Birthdays)
    }

    fn has_discounts(&self) -> bool {
        !matches!(self, Self::Birthdays)
    }

    fn has_rule(&self, name: &str) -> bool {
        match self {
            Self::All | Self::Discounts => true,
            Self::Birthdays => false,
            Self::Rule(rule) => rule == name,
        }
    }
}

async fn collect(mut stream: BatchStream) -> Result<Vec<Row>> {
    let mut found = Vec::new();
    while let Some(batch) = stream.try_next().await? {
        found.extend(rows::objects(&batch)?);
    }
    Ok(found)
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A value of a row as text; empty if it is NULL.
fn text(row: &Row, column: &str) -> String {
    match row.get(column) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn number(row: &Row, column: &str) -> u64 {
    row.get(column).and_then(Value::as_u64).unwrap_or(0)
}

fn is_true(row: &Row, column: &str) -> bool {
    row.get(column).and_then(Value::as_bool).unwrap_or(false)
}

/// `15 %`, `10.00 PLN`.
fn discount_words(kind: &str, discount: &str, currency: &str) -> String {
    if kind == "percent" { format!("{} %", discount.trim_end_matches('0').trim_end_matches('.')) } else { format!("{discount} {currency}") }
}

fn discount_of(rule: &SegmentRule) -> String {
    match &rule.discount {
        Discount::Percent(percent) => discount_words("percent", &percent.to_string(), ""),
        Discount::Amount { amount, currency } => discount_words("amount", &amount.to_string(), currency),
    }
}

/// `12.00 EUR, 40.50 PLN`.
fn money_words(amounts: &[(String, String)]) -> String {
    let words: Vec<String> = amounts.iter().map(|(currency, amount)| format!("{amount} {currency}")).collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discounts_in_words() {
        assert_eq!(discount_words("percent", "20.00", "PLN"), "20 %");
        assert_eq!(discount_words("percent", "12.50", "PLN"), "12.5 %");
        assert_eq!(discount_words("amount", "10.00", "PLN"), "10.00 PLN");
    }
}
