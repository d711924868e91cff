//! Rules of segments as statements read them: `segments.rules` and `segments.matches`.
//!
//! | relation | one row is | columns |
//! |---|---|---|
//! | `segments.rules` | a rule, and a currency if it has caps by currency | what the configuration says of it |
//! | `segments.matches` | a customer whom a rule is for | `customer_id`, `rule`, `reason` |
//!
//! Both are views made from the configuration, so a model that reads them is a statement like any other: the optimizer sees
//! through them, and what they read is what the model reads. A predicate is one expression over the columns of
//! `customer_features`; subqueries may read that and `customer_preferences`, and nothing can be written or differ from call to call.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Statement as SqlStatement, Visit, Visitor};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;
use pipeline_core::config::{CostCap, Discount, SegmentRule};
use pipeline_core::error::{Error, Result};
use pipeline_core::name::TableName;

use super::statement::Statement;
use crate::errors::{RULE, located};
use crate::session::Session;

/// The schema in which statements read the rules.
pub const SEGMENTS: &str = "segments";

/// The tables that a predicate may read: the first is the one whose columns it is about.
const READABLE: [&str; 2] = ["customer_features", "customer_preferences"];

/// The rules of a project, the one that wins first.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rules {
    rules: Vec<SegmentRule>,
    /// What the predicates read and ask for.
    pub(super) statement: Statement,
}

impl Rules {
    /// Reads the predicates.
    ///
    /// # Errors
    /// [`RULE`] with the rule's name and place if one is not a single expression, reads what it may not, or could not be repeated.
    pub fn new(rules: &[SegmentRule]) -> Result<Self> {
        for rule in rules {
            let expression = parse(rule)?;
            refuse_statements(rule, &expression)?;
            let reads = Statement::parse(&match_of(rule), Path::new("pipelines.toml")).map_err(|error| {
                let cause = error.causes().last().cloned().unwrap_or_default();
                refused(rule).caused_by(cause)
            })?;
            let allowed: BTreeSet<TableName> = READABLE.iter().map(|name| TableName::model(name)).collect::<Result<_>>()?;
            if let Some(other) = reads.reads.iter().find(|table| !allowed.contains(table)) {
                return Err(refused(rule).caused_by(format!("it reads table \"{other}\"")).hint(format!(
                    "A predicate is about the columns of {}; a subquery in it may also read {}.",
                    READABLE[0], READABLE[1]
                )));
            }
        }
        let mut all = Self { rules: rules.to_vec(), statement: Statement::default() };
        all.statement = Statement::parse(&all.matches(), Path::new("pipelines.toml"))?;
        Ok(all)
    }

    /// The rules, the one that wins first.
    #[must_use]
    pub fn rules(&self) -> &[SegmentRule] {
        &self.rules
    }

    /// The statement of `segments.matches`.
    pub(crate) fn matches(&self) -> String {
        let none =
            "SELECT CAST(NULL AS VARCHAR) AS customer_id, CAST(NULL AS VARCHAR) AS rule, CAST(NULL AS VARCHAR) AS reason WHERE false";
        union(self.rules.iter().map(match_of), none)
    }

    /// The statement of `segments.rules`.
    pub(crate) fn rows(&self) -> String {
        let none = format!("SELECT * FROM ({}) AS r WHERE false", row("", 0, ("", "0"), "NULL", [0, 0], "NULL", "NULL", ""));
        union(self.rules.iter().flat_map(rows_of), &none)
    }

    /// Makes both relations known to a session that has the tables which the predicates read.
    pub(crate) async fn register(&self, session: &Session) -> Result<()> {
        for (name, sql) in [("rules", self.rows()), ("matches", self.matches())] {
            let frame = session.select(&sql).await.map_err(|error| located("the rules of segments cannot be used", error).1)?;
            session.register_table(SEGMENTS, name, frame.into_view());
        }
        Ok(())
    }

    /// Plans each predicate and reason, so that a mistake is known with its rule before anything is read.
    pub(crate) async fn check(&self, session: &Session) -> Result<()> {
        let [features, _] = READABLE;
        for rule in &self.rules {
            let condition = format!("SELECT (\n{}\n) AS fits FROM {features}", rule.predicate);
            let planned = session.select(&condition).await;
            let frame = planned.map_err(|error| mistake(rule, "predicate", error))?;
            let given = frame.schema().field(0).data_type().clone();
            if given != DataType::Boolean {
                return Err(refused(rule)
                    .caused_by(format!("it gives {given}, not true or false"))
                    .hint("Write a condition, such as recency_days > 60."));
            }
            let reason = format!("SELECT {} AS reason FROM {features}", reason_of(rule));
            session.select(&reason).await.map_err(|error| mistake(rule, "reason", error))?;
            // Some subqueries pass for SQL and cannot be computed all the same.
            let whole = session.select(&match_of(rule)).await.map_err(|error| mistake(rule, "predicate", error))?;
            Box::pin(whole.create_physical_plan()).await.map_err(|error| mistake(rule, "predicate", error))?;
        }
        Ok(())
    }

    /// All that decides what the rules give.
    pub(super) fn digest_text(&self) -> String {
        format!("{}\n{}", self.rows(), self.matches())
    }
}

/// The parts of a rule's predicate that all have to hold, as they are written.
///
/// # Errors
/// [`RULE`] if it cannot be parsed.
pub fn conditions(rule: &SegmentRule) -> Result<Vec<Condition>> {
    let mut parts = Vec::new();
    split(parse(rule)?, &mut parts);
    Ok(parts.iter().map(Condition::of).collect())
}

/// A part of a predicate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The expression.
    pub sql: String,
    /// The names that it mentions outside of subqueries.
    pub columns: Vec<String>,
    /// Whether it has a subquery.
    pub has_subquery: bool,
}

impl Condition {
    fn of(expression: &Expr) -> Self {
        let mut names = Names::default();
        let walked = expression.visit(&mut names);
        debug_assert!(walked.is_continue(), "the visitor never breaks");
        Self { sql: expression.to_string(), columns: names.columns, has_subquery: names.has_subquery }
    }
}

#[derive(Default)]
struct Names {
    columns: Vec<String>,
    depth: usize,
    has_subquery: bool,
}

impl Visitor for Names {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &datafusion::sql::sqlparser::ast::Query) -> ControlFlow<()> {
        self.depth += 1;
        self.has_subquery = true;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &datafusion::sql::sqlparser::ast::Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        let name = match expression {
            Expr::Identifier(name) => Some(name),
            Expr::CompoundIdentifier(parts) => parts.last(),
            _ => None,
        };
        if let (0, Some(name)) = (self.depth, name) {
            let name = if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() };
            if !self.columns.contains(&name) {
                self.columns.push(name);
            }
        }
        ControlFlow::Continue(())
    }
}

fn split(expression: Expr, parts: &mut Vec<Expr>) {
    match expression {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            split(*left, parts);
            split(*right, parts);
        }
        Expr::Nested(inner) if matches!(*inner, Expr::BinaryOp { op: BinaryOperator::And, .. }) => split(*inner, parts),
        other => parts.push(other),
    }
}

fn parse(rule: &SegmentRule) -> Result<Expr> {
    let wrong =
        |cause: String| refused(rule).caused_by(cause).hint("Write one condition, such as lifecycle_stage = 'lapsed' AND orders >= 2.");
    let mut parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(&rule.predicate).map_err(|error| wrong(error.to_string()))?;
    let expression = parser.parse_expr().map_err(|error| wrong(error.to_string()))?;
    match parser.next_token() {
        rest if rest.token == Token::EOF => Ok(expression),
        rest => Err(wrong(format!(
            "it goes on after its end, at line {}, column {} of the predicate",
            rest.span.start.line, rest.span.start.column
        ))),
    }
}

/// Queries can hold statements that write.
fn refuse_statements(rule: &SegmentRule, expression: &Expr) -> Result<()> {
    struct Statements;
    impl Visitor for Statements {
        type Break = ();
        fn pre_visit_statement(&mut self, _statement: &SqlStatement) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
    }
    if expression.visit(&mut Statements).is_break() {
        return Err(refused(rule).caused_by("it holds a statement that writes").hint("A predicate only reads."));
    }
    Ok(())
}

fn refused(rule: &SegmentRule) -> Error {
    Error::new(&RULE, format!("the predicate of rule \"{}\" cannot be used", rule.name)).caused_by(&rule.place)
}

/// The error of a rule whose query cannot be planned. In the query its predicate begins on the second line.
fn mistake(rule: &SegmentRule, what: &str, error: datafusion::common::DataFusionError) -> Error {
    let (place, error) = located(format!("the {what} of rule \"{}\" cannot be used", rule.name), error);
    let causes = error.causes().to_vec();
    let error = Error::new(&RULE, error.message()).caused_by(&rule.place);
    let error = causes.into_iter().fold(error, Error::caused_by);
    match place {
        Some((line, column)) if what == "predicate" && line > 1 => {
            error.caused_by(format!("line {}, column {column} of the predicate", line - 1))
        }
        _ => error,
    }
}

fn match_of(rule: &SegmentRule) -> String {
    format!(
        "SELECT customer_id, {} AS rule, {} AS reason FROM {} WHERE (\n{}\n)",
        text(&rule.name),
        reason_of(rule),
        READABLE[0],
        rule.predicate
    )
}

/// The reason as an expression: `{column}` is the customer's value of it.
fn reason_of(rule: &SegmentRule) -> String {
    let mut parts = Vec::new();
    let mut rest = rule.reason.as_str();
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, tail)) = after.split_once('}') else { break };
        parts.push(text(before));
        parts.push(format!("coalesce(CAST(\"{}\" AS VARCHAR), '?')", name.trim().replace('"', "\"\"")));
        rest = tail;
    }
    parts.push(text(rest));
    parts.join(" || ")
}

fn rows_of(rule: &SegmentRule) -> Vec<String> {
    let (kind, discount, currency) = match &rule.discount {
        Discount::Percent(percent) => ("percent", percent, None),
        Discount::Amount { amount, currency } => ("amount", amount, Some(currency.clone())),
    };
    let caps = match &rule.max_expected_cost {
        CostCap::None => vec![(currency, None)],
        CostCap::Each(cap) => vec![(currency, Some(cap))],
        CostCap::Of(caps) => caps.iter().map(|(currency, cap)| (Some(currency.clone()), Some(cap))).collect(),
    };
    let number = |number: Option<String>| number.unwrap_or_else(|| "NULL".to_owned());
    let row_of = |(currency, cap): (Option<String>, Option<&pipeline_core::config::Hundredths>)| {
        row(
            &rule.name,
            rule.priority,
            (kind, &discount.to_string()),
            &currency.map_or_else(|| "NULL".to_owned(), |currency| text(&currency)),
            [rule.valid_days, rule.again_after_days],
            &number(rule.max_customers.map(|customers| customers.to_string())),
            &number(cap.map(ToString::to_string)),
            &hold_out_below(rule.hold_out),
        )
    };
    caps.into_iter().map(row_of).collect()
}

#[expect(clippy::too_many_arguments, reason = "one for each column of a row")]
fn row(
    name: &str,
    priority: u32,
    (kind, discount): (&str, &str),
    currency: &str,
    [valid_days, again_after_days]: [u32; 2],
    max_customers: &str,
    max_expected_cost: &str,
    hold_out_below: &str,
) -> String {
    format!(
        "SELECT {} AS rule, CAST({priority} AS BIGINT) AS priority, {} AS discount_kind, CAST({discount} AS DECIMAL(18, 2)) AS discount, \
         CAST({currency} AS VARCHAR) AS currency, CAST({valid_days} AS BIGINT) AS valid_days, \
         CAST({again_after_days} AS BIGINT) AS again_after_days, CAST({max_customers} AS BIGINT) AS max_customers, \
         CAST({max_expected_cost} AS DECIMAL(18, 2)) AS max_expected_cost, {} AS hold_out_below",
        text(name),
        text(kind),
        text(hold_out_below)
    )
}

/// The text that the first eight hexadecimal digits of a hash are below with this probability.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share is 0 to 1")]
fn hold_out_below(share: f64) -> String {
    let bound = (share * f64::from(u32::MAX)) as u32;
    if share >= 1.0 { "g".to_owned() } else { format!("{bound:08x}") }
}

fn text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn union(parts: impl Iterator<Item = String>, none: &str) -> String {
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() { none.to_owned() } else { parts.join("\nUNION ALL\n") }
}

/// Rules that models share.
pub(super) fn none() -> Arc<Rules> {
    Arc::new(Rules::default())
}
