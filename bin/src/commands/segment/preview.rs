//! `pipeline segment preview`: what a rule would give now.

use pipeline_core::error::Result;
use serde_json::{Value, json};

use super::{DISCOUNTS, Look, Row, discount_of, literal, money_words, number, text};
use crate::output::{Style, count, table};

/// What became of those whom a rule is for, in the order of the questions, with words for people.
const OUTCOMES: &[(&str, &str)] = &[
    ("not_reachable", "no consent, or left"),
    ("no_basket", "no order within a year to reckon with"),
    ("other_currency", "other currency"),
    ("has_discount", "has a discount already, or is held out"),
    ("has_birthday", "a birthday's offer runs meanwhile"),
    ("had_lately", "had this rule's discount lately"),
    ("taken", "another rule comes first"),
    ("cut", "cut by max_customers or max_expected_cost"),
    ("held_out", "held out"),
    ("granted", "would be given it"),
];

/// Words for what became of a customer.
pub(super) fn outcome_words(outcome: &str) -> &'static str {
    OUTCOMES.iter().find(|(name, _)| *name == outcome).map_or("", |(_, words)| words)
}

/// Every decision about whom the rules are for, one row a customer and rule.
pub(super) const DECISIONS: &str = "SELECT customer_id, rule, left_out AS outcome, currency, CAST(NULL AS DECIMAL(18, 2)) AS expected_cost, \
     CAST(NULL AS DECIMAL(18, 2)) AS expected_return FROM matching WHERE left_out IS NOT NULL \
     UNION ALL SELECT customer_id, rule, outcome, currency, expected_cost, expected_return FROM decided";

pub(super) async fn preview(look: Look<'_>, name: &str, limit: Option<usize>) -> Result<()> {
    let rule = look.rule(name)?;
    look.need(&["customers", "customer_features", "customer_preferences", "birthdays_due"]).await?;
    let rule_is = format!("rule = {}", literal(name));
    let sql = format!(
        "SELECT outcome, currency, count(*) AS customers, sum(expected_cost) AS expected_cost, sum(expected_return) AS expected_return \
         FROM ({DECISIONS}) AS decisions WHERE {rule_is} GROUP BY outcome, currency ORDER BY outcome, currency"
    );
    let counted = look.decisions(&sql).await?;
    let customers =
        |outcome: &str| counted.iter().filter(|row| text(row, "outcome") == outcome).map(|row| number(row, "customers")).sum::<u64>();
    let of_granted = |column: &str| -> Vec<(String, String)> {
        let granted = counted.iter().filter(|row| text(row, "outcome") == "granted");
        granted.map(|row| (text(row, "currency"), text(row, column))).collect()
    };
    let matched: u64 = counted.iter().map(|row| number(row, "customers")).sum();
    let (costs, returns) = (of_granted("expected_cost"), of_granted("expected_return"));
    let shown = look.limit(limit);
    let limit = if shown == usize::MAX { String::new() } else { format!(" LIMIT {shown}") };
    let first = look
        .decisions(&format!(
            "SELECT customer_id, currency, expected_cost, expected_return, valid_from, valid_to, reason FROM decided \
             WHERE {rule_is} AND outcome = 'granted' ORDER BY place, currency, customer_id{limit}"
        ))
        .await?;
    let standing = standing(&look, &rule_is).await?;
    let printer = look.printer;
    if !look.is_human() {
        let outcomes: serde_json::Map<String, Value> =
            OUTCOMES.iter().map(|(outcome, _)| ((*outcome).to_owned(), Value::from(customers(outcome)))).collect();
        let money = |amounts: &[(String, String)]| -> Value {
            amounts.iter().map(|(currency, amount)| json!({ "currency": currency, "amount": amount })).collect()
        };
        return printer.json(
            &json!({ "schema_version": 1, "rule": name, "as_of": look.as_of, "discount": discount_of(rule), "matched": matched,
            "outcomes": outcomes, "expected_cost": money(&costs), "expected_return": money(&returns),
            "has_now": { "members": number(&standing, "members"), "held_out": number(&standing, "held_out") },
            "customers": first.into_iter().map(Value::Object).collect::<Vec<_>>() }),
        );
    }
    printer.line(format!(
        "{} {}, {} days, priority {}, as of {}",
        printer.styled(Style::Strong, name),
        discount_of(rule),
        rule.valid_days,
        rule.priority,
        look.as_of
    ));
    if !rule.description.is_empty() {
        printer.line(printer.styled(Style::Dim, &rule.description));
    }
    let mut rows = vec![vec!["matched".to_owned(), count(matched)]];
    for (outcome, words) in OUTCOMES {
        let customers = customers(outcome);
        if customers > 0 || ["cut", "held_out", "granted"].contains(outcome) {
            rows.push(vec![format!("  {words}"), count(customers)]);
        }
    }
    printer.line(table(&["", "customers"], &[1], rows));
    if !costs.is_empty() {
        printer.line(format!("\nexpected cost {}, return {}", printer.styled(Style::Strong, money_words(&costs)), money_words(&returns)));
    }
    let members = number(&standing, "members");
    if members > 0 {
        printer.line(format!("{} have its discount now, {} are held out", count(members), count(number(&standing, "held_out"))));
    }
    if !first.is_empty() {
        printer.line("");
        let rows = first.iter().map(|row| {
            vec![
                text(row, "customer_id"),
                format!("{} {}", text(row, "expected_cost"), text(row, "currency")),
                format!("{} {}", text(row, "expected_return"), text(row, "currency")),
                text(row, "valid_from"),
                text(row, "valid_to"),
                text(row, "reason"),
            ]
        });
        printer.line(table(&["customer", "expected cost", "return", "valid from", "to", "why"], &[1, 2], rows));
    }
    printer.note(printer.styled_error(Style::Dim, "nothing was written; a run gives it"));
    Ok(())
}

/// Who has the rule's discount as of the last run.
async fn standing(look: &Look<'_>, rule_is: &str) -> Result<Row> {
    if look.need(&[DISCOUNTS.1]).await.is_err() {
        return Ok(Row::new());
    }
    let sql = format!(
        "SELECT count(*) FILTER (WHERE NOT is_held_out) AS members, count(*) FILTER (WHERE is_held_out) AS held_out FROM {} WHERE {rule_is}",
        DISCOUNTS.1
    );
    Ok(look.rows(&sql).await?.into_iter().next().unwrap_or_default())
}
