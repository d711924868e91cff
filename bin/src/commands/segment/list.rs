//! `pipeline segment list`: segments and rules with their members.

use pipeline_core::error::Result;
use serde_json::{Value, json};

use super::{BIRTHDAYS, Chosen, DISCOUNTS, Look, Row, discount_of, discount_words, is_true, literal, money_words, number, text};
use crate::output::{Style, count, table};

/// A segment, or a rule of one.
struct Summary {
    segment: &'static str,
    rule: Option<String>,
    discount: Option<String>,
    is_configured: bool,
    members: u64,
    held_out: u64,
    /// By currency.
    costs: Vec<(String, String)>,
    valid_from: String,
    valid_to: String,
}

pub(super) async fn list(look: Look<'_>, segment: Option<&str>, limit: Option<usize>) -> Result<()> {
    look.need(&[BIRTHDAYS.1, DISCOUNTS.1]).await?;
    let chosen = look.chosen(segment).await?;
    let mut summaries = Vec::new();
    if chosen.has_discounts() {
        summaries
            .extend(discounts(&look).await?.into_iter().filter(|summary| summary.rule.as_ref().is_some_and(|rule| chosen.has_rule(rule))));
    }
    if chosen.has_birthdays() {
        summaries.push(birthdays(&look).await?);
    }
    let customers = if segment.is_some() { customers(&look, &chosen, look.limit(limit)).await? } else { Vec::new() };
    if !look.is_human() {
        let summaries: Vec<Value> = summaries.iter().map(Summary::json).collect();
        let mut object = json!({ "schema_version": 1, "as_of": look.as_of, "segments": summaries });
        if segment.is_some() {
            object["customers"] = customers.into_iter().map(Value::Object).collect();
        }
        return look.printer.json(&object);
    }
    let headings = ["segment", "rule", "discount", "members", "held out", "expected cost", "valid from", "to"];
    let rows = summaries.iter().map(|summary| {
        let rule = summary.rule.clone().unwrap_or_default();
        let rule = if summary.is_configured { rule } else { format!("{rule} (no longer configured)") };
        vec![
            look.printer.styled(Style::Key, summary.segment),
            rule,
            summary.discount.clone().unwrap_or_default(),
            count(summary.members),
            count(summary.held_out),
            money_words(&summary.costs),
            summary.valid_from.clone(),
            summary.valid_to.clone(),
        ]
    });
    look.printer.line(table(&headings, &[3, 4, 5], rows));
    if segment.is_some() {
        show_customers(&look, &customers, summaries.iter().map(|summary| summary.members + summary.held_out).sum());
    }
    Ok(())
}

impl Summary {
    fn json(&self) -> Value {
        let costs: Vec<Value> = self.costs.iter().map(|(currency, amount)| json!({ "currency": currency, "amount": amount })).collect();
        let date = |text: &str| if text.is_empty() { Value::Null } else { Value::from(text) };
        json!({ "segment": self.segment, "rule": self.rule, "discount": self.discount, "is_configured": self.is_configured,
            "members": self.members, "held_out": self.held_out, "expected_cost": costs, "valid_from": date(&self.valid_from),
            "valid_to": date(&self.valid_to) })
    }
}

async fn birthdays(look: &Look<'_>) -> Result<Summary> {
    let sql = format!("SELECT count(*) AS members, min(valid_from) AS valid_from, max(valid_to) AS valid_to FROM {}", BIRTHDAYS.1);
    let row = look.rows(&sql).await?.into_iter().next().unwrap_or_default();
    Ok(Summary {
        segment: BIRTHDAYS.0,
        rule: None,
        discount: None,
        is_configured: true,
        members: number(&row, "members"),
        held_out: 0,
        costs: Vec::new(),
        valid_from: text(&row, "valid_from"),
        valid_to: text(&row, "valid_to"),
    })
}

/// The rules in order of priority, then those that are not configured any more and still have members.
async fn discounts(look: &Look<'_>) -> Result<Vec<Summary>> {
    let new = |rule: &str, discount: Option<String>, is_configured: bool| Summary {
        segment: DISCOUNTS.0,
        rule: Some(rule.to_owned()),
        discount,
        is_configured,
        members: 0,
        held_out: 0,
        costs: Vec::new(),
        valid_from: String::new(),
        valid_to: String::new(),
    };
    let mut summaries: Vec<Summary> = look.rules.iter().map(|rule| new(&rule.name, Some(discount_of(rule)), true)).collect();
    let sql = format!(
        "SELECT rule, currency, count(*) FILTER (WHERE NOT is_held_out) AS members, count(*) FILTER (WHERE is_held_out) AS held_out, \
         sum(expected_cost) AS expected_cost, min(valid_from) AS valid_from, max(valid_to) AS valid_to \
         FROM {} GROUP BY rule, currency ORDER BY rule, currency",
        DISCOUNTS.1
    );
    for row in look.rows(&sql).await? {
        let name = text(&row, "rule");
        let at = summaries.iter().position(|summary| summary.rule.as_deref() == Some(&name)).unwrap_or_else(|| {
            summaries.push(new(&name, None, false));
            summaries.len() - 1
        });
        let summary = &mut summaries[at];
        summary.members += number(&row, "members");
        summary.held_out += number(&row, "held_out");
        summary.costs.push((text(&row, "currency"), text(&row, "expected_cost")));
        let (from, to) = (text(&row, "valid_from"), text(&row, "valid_to"));
        if summary.valid_from.is_empty() || from < summary.valid_from {
            summary.valid_from = from;
        }
        summary.valid_to = std::mem::take(&mut summary.valid_to).max(to);
    }
    Ok(summaries)
}

async fn customers(look: &Look<'_>, chosen: &Chosen, limit: usize) -> Result<Vec<Row>> {
    let limit = if limit == usize::MAX { String::new() } else { format!(" LIMIT {limit}") };
    let sql = match chosen {
        Chosen::Birthdays => {
            format!("SELECT customer_id, birthday_on, valid_from, valid_to FROM {} ORDER BY birthday_on, customer_id{limit}", BIRTHDAYS.1)
        }
        chosen => {
            let only = match chosen {
                Chosen::Rule(rule) => format!(" WHERE rule = {}", literal(rule)),
                _ => String::new(),
            };
            format!(
                "SELECT customer_id, rule, discount_kind, discount, currency, valid_from, valid_to, is_held_out, expected_cost, reason \
                 FROM {}{only} ORDER BY rule, is_held_out, expected_return DESC, customer_id{limit}",
                DISCOUNTS.1
            )
        }
    };
    look.rows(&sql).await
}

fn show_customers(look: &Look<'_>, customers: &[Row], all: u64) {
    if customers.is_empty() {
        return;
    }
    let printer = look.printer;
    printer.line("");
    if customers.iter().any(|row| row.contains_key("birthday_on")) {
        let rows =
            customers.iter().map(|row| ["customer_id", "birthday_on", "valid_from", "valid_to"].map(|name| text(row, name)).to_vec());
        printer.line(table(&["customer", "birthday", "valid from", "to"], &[], rows));
    } else {
        let rows = customers.iter().map(|row| {
            let discount = discount_words(&text(row, "discount_kind"), &text(row, "discount"), &text(row, "currency"));
            let discount = if is_true(row, "is_held_out") { printer.styled(Style::Dim, "held out") } else { discount };
            vec![
                text(row, "customer_id"),
                text(row, "rule"),
                discount,
                format!("{} {}", text(row, "expected_cost"), text(row, "currency")),
                text(row, "valid_from"),
                text(row, "valid_to"),
                text(row, "reason"),
            ]
        });
        printer.line(table(&["customer", "rule", "discount", "expected cost", "valid from", "to", "why"], &[3], rows));
    }
    if (customers.len() as u64) < all {
        printer.note(format!("{} of {} customers; --limit shows more", customers.len(), count(all)));
    }
}
