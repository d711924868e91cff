//! `pipeline segment why`: which rules a customer fits, which condition fails, and what wins.

use pipeline_core::config::SegmentRule;
use pipeline_core::error::{Error, Result};
use pipeline_transforms::model::rules::{Condition, conditions};
use serde_json::{Map, Value, json};

use super::preview::{DECISIONS, outcome_words};
use super::{BIRTHDAYS, CUSTOMER_UNKNOWN, DISCOUNTS, Look, Row, discount_of, discount_words, is_true, literal, text};
use crate::output::{Style, table};

/// What a rule says of the customer.
struct Verdict<'a> {
    rule: &'a SegmentRule,
    conditions: Vec<Answer>,
    /// What became of the customer, if all conditions hold.
    outcome: Option<String>,
    /// Whether the rule holds the customer out, if it comes to that.
    is_drawn: bool,
}

/// Whether a condition holds.
struct Answer {
    condition: Condition,
    /// None: a value that it asks for is not known.
    holds: Option<bool>,
    /// The values that it asks for.
    values: Map<String, Value>,
}

pub(super) async fn why(look: Look<'_>, customer: &str) -> Result<()> {
    look.need(&["customers", "customer_features", "customer_preferences", "birthdays_due", "offers", BIRTHDAYS.1, DISCOUNTS.1]).await?;
    let is_customer = format!("customer_id = {}", literal(customer));
    let person = format!(
        "SELECT coalesce(marketing_opt_in, false) AS has_consent, deleted_at IS NOT NULL AS has_left, \
         local_date(as_of(), coalesce(known_time_zone(time_zone), 'UTC')) AS today FROM customers WHERE {is_customer}"
    );
    // Who asked knows the id; a log that keeps the error should not.
    let person = look.rows(&person).await?.into_iter().next();
    let person = person.ok_or_else(|| Error::new(&CUSTOMER_UNKNOWN, "the lake knows no customer of this id"))?;
    let features = look.rows(&format!("SELECT * FROM customer_features WHERE {is_customer}")).await?.into_iter().next();
    let today = literal(&text(&person, "today"));
    let offers = look
        .rows(&format!(
            "SELECT kind, rule, discount_kind, discount, currency, valid_from, valid_to FROM offers \
             WHERE {is_customer} AND valid_to >= CAST({today} AS DATE) ORDER BY valid_from, kind, rule"
        ))
        .await?;
    let birthday = look.rows(&format!("SELECT birthday_on, valid_from, valid_to FROM {} WHERE {is_customer}", BIRTHDAYS.1)).await?;
    let standing = look
        .rows(&format!(
            "SELECT rule, discount_kind, discount, currency, valid_from, valid_to, is_held_out, expected_cost, reason FROM {} WHERE {is_customer}",
            DISCOUNTS.1
        ))
        .await?
        .into_iter()
        .next();
    let verdicts = verdicts(&look, &is_customer, customer, features.as_ref()).await?;
    let wins = wins(standing.as_ref(), &verdicts);
    if look.is_human() {
        show(&look, customer, &person, features.as_ref(), &offers, &birthday, &verdicts, &wins);
        return Ok(());
    }
    let rules: Vec<Value> = verdicts.iter().map(Verdict::json).collect();
    look.printer.json(&json!({ "schema_version": 1, "customer": customer, "as_of": look.as_of, "has_consent": is_true(&person, "has_consent"),
        "has_left": is_true(&person, "has_left"), "birthday": birthday.into_iter().next(), "offers": offers, "has_now": standing, "rules": rules,
        "wins": wins.0, "wins_why": wins.1 }))
}

async fn verdicts<'a>(look: &'a Look<'_>, is_customer: &str, customer: &str, features: Option<&Row>) -> Result<Vec<Verdict<'a>>> {
    let decided = look.decisions(&format!("SELECT rule, outcome FROM ({DECISIONS}) AS decisions WHERE {is_customer}")).await?;
    let drawn = format!(
        "SELECT DISTINCT rule, substr(keyed_hash('hold-out ' || rule || ' ' || {}), 1, 8) < hold_out_below AS is_drawn FROM segments.rules",
        literal(customer)
    );
    let drawn = look.decisions(&drawn).await?;
    let of = |rows: &[Row], rule: &str| rows.iter().find(|row| text(row, "rule") == rule).cloned();
    let mut verdicts = Vec::with_capacity(look.rules.len());
    for rule in look.rules {
        let mut answers = Vec::new();
        for condition in conditions(rule)? {
            answers.push(answer(look, is_customer, condition, features).await?);
        }
        verdicts.push(Verdict {
            rule,
            conditions: answers,
            outcome: of(&decided, &rule.name).map(|row| text(&row, "outcome")),
            is_drawn: of(&drawn, &rule.name).is_some_and(|row| is_true(&row, "is_drawn")),
        });
    }
    Ok(verdicts)
}

async fn answer(look: &Look<'_>, is_customer: &str, condition: Condition, features: Option<&Row>) -> Result<Answer> {
    let Some(features) = features else { return Ok(Answer { condition, holds: None, values: Map::new() }) };
    let known = |name: &&String| features.contains_key(*name) && *name != "customer_id";
    let values = condition.columns.iter().filter(known).map(|name| (name.clone(), features[name].clone())).collect();
    let sql = &condition.sql;
    let holds = if condition.has_subquery {
        // A subquery stands in a WHERE, which does not tell unknown from false.
        let found = look.rows(&format!("SELECT count(*) AS found FROM customer_features WHERE {is_customer} AND ({sql})")).await?;
        Some(found.first().is_some_and(|row| super::number(row, "found") > 0))
    } else {
        let row = look.rows(&format!("SELECT ({sql}) AS holds FROM customer_features WHERE {is_customer}")).await?;
        row.first().and_then(|row| row["holds"].as_bool())
    };
    Ok(Answer { condition, holds, values })
}

/// The rule that the customer has something by, or would have, and how that is.
fn wins(standing: Option<&Row>, verdicts: &[Verdict<'_>]) -> (Option<String>, String) {
    if let Some(row) = standing {
        let how = if is_true(row, "is_held_out") { "held out" } else { "granted" };
        return (Some(text(row, "rule")), format!("{how} since {}, until {}", text(row, "valid_from"), text(row, "valid_to")));
    }
    let next = verdicts.iter().find(|verdict| matches!(verdict.outcome.as_deref(), Some("granted" | "held_out")));
    match next {
        Some(verdict) => {
            let outcome = if verdict.outcome.as_deref() == Some("held_out") {
                "would be held out by the next run"
            } else {
                "the next run would grant it"
            };
            (Some(verdict.rule.name.clone()), outcome.to_owned())
        }
        None => (None, "no rule gives this customer anything now".to_owned()),
    }
}

impl Verdict<'_> {
    fn is_match(&self) -> bool {
        !self.conditions.is_empty() && self.conditions.iter().all(|answer| answer.holds == Some(true))
    }

    fn json(&self) -> Value {
        let conditions: Vec<Value> = self
            .conditions
            .iter()
            .map(|answer| json!({ "condition": answer.condition.sql, "holds": answer.holds, "values": answer.values }))
            .collect();
        json!({ "rule": self.rule.name, "priority": self.rule.priority, "matches": self.is_match(), "outcome": self.outcome,
            "would_be_held_out": self.is_drawn, "conditions": conditions })
    }
}

#[expect(clippy::too_many_arguments, reason = "each is a part of what is shown")]
fn show(
    look: &Look<'_>,
    customer: &str,
    person: &Row,
    features: Option<&Row>,
    offers: &[Row],
    birthday: &[Row],
    verdicts: &[Verdict<'_>],
    wins: &(Option<String>, String),
) {
    let printer = look.printer;
    let yes = |truth: bool| if truth { "yes" } else { "no" };
    printer.line(format!("{} {customer}, as of {}", printer.styled(Style::Strong, "customer"), look.as_of));
    let stage = features.map_or("not among customer_features".to_owned(), |row| format!("stage {}", text(row, "lifecycle_stage")));
    printer.line(format!(
        "consent to marketing: {} · has left: {} · {stage}",
        yes(is_true(person, "has_consent")),
        yes(is_true(person, "has_left"))
    ));
    match birthday.first() {
        Some(row) => printer.line(format!(
            "birthday on {}, its offer runs from {} to {}",
            text(row, "birthday_on"),
            text(row, "valid_from"),
            text(row, "valid_to")
        )),
        None => printer.line("no birthday ahead that is greeted"),
    }
    for row in offers {
        let what = if text(row, "kind") == "discount" {
            let discount = discount_words(&text(row, "discount_kind"), &text(row, "discount"), &text(row, "currency"));
            format!("discount of {discount} by rule {}", text(row, "rule"))
        } else {
            text(row, "kind")
        };
        printer.line(format!("offer: {what}, {} to {}", text(row, "valid_from"), text(row, "valid_to")));
    }
    for verdict in verdicts {
        let says = match (&verdict.outcome, verdict.is_match()) {
            (Some(outcome), _) => printer.styled(Style::Good, format!("fits: {}", outcome_words(outcome))),
            (None, true) => printer.styled(Style::Good, "fits"),
            (None, false) => printer.styled(Style::Dim, "does not fit"),
        };
        let drawn = if verdict.is_drawn { " · held out if it comes to that" } else { "" };
        printer.line(format!(
            "\n{} {}, priority {}: {says}{}",
            printer.styled(Style::Key, &verdict.rule.name),
            discount_of(verdict.rule),
            verdict.rule.priority,
            printer.styled(Style::Dim, drawn)
        ));
        let rows = verdict.conditions.iter().map(|answer| {
            let holds = match answer.holds {
                Some(true) => printer.styled(Style::Good, "yes"),
                Some(false) => printer.styled(Style::Bad, "no"),
                None => printer.styled(Style::Warn, "unknown"),
            };
            let values: Vec<String> = answer.values.iter().map(|(name, value)| format!("{name} is {}", shown(value))).collect();
            vec![format!("  {holds}"), answer.condition.sql.clone(), printer.styled(Style::Dim, values.join(", "))]
        });
        let lines = table(&["", "", ""], &[], rows);
        printer.line(lines.lines().skip(1).collect::<Vec<_>>().join("\n"));
    }
    let (rule, how) = wins;
    let rule = rule.as_deref().unwrap_or("nobody");
    printer.line(format!("\n{} {}: {how}", printer.styled(Style::Strong, "wins"), printer.styled(Style::Key, rule)));
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "not known".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
