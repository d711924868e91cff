//! Places that rules have to give, taken one after the other.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef, Int64Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{PartitionEvaluator, Signature, Volatility, WindowUDF, WindowUDFImpl};
use sha2::{Digest, Sha256};

use super::Description;

/// The functions of this subject.
pub const DESCRIPTIONS: &[Description] = &[Description {
    name: "allotment",
    signature: "allotment(customer text, rule text, currency text, cost decimal(18,2), is_held_out boolean, customers_max bigint, \
                cost_max decimal(18,2)) OVER (ORDER BY …) -> text",
    meaning: "Goes through the rows in the window's order and gives each customer one rule's place at most: granted, held_out, taken (an \
              earlier row has the customer already) or cut. Where the next one would be more than customers_max, the rule's list ends; \
              where it would make the cost more than cost_max, the rule's list of that currency does. Those held out count for neither. \
              NULL is no limit.",
}];

/// The window functions of this subject.
pub(super) fn functions() -> Vec<WindowUDF> {
    let decimal = DataType::Decimal128(18, 2);
    let arguments = vec![DataType::Utf8, DataType::Utf8, DataType::Utf8, decimal.clone(), DataType::Boolean, DataType::Int64, decimal];
    vec![WindowUDF::from(Allotment { signature: Signature::exact(arguments, Volatility::Immutable) })]
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Allotment {
    signature: Signature,
}

impl WindowUDFImpl for Allotment {
    fn name(&self) -> &str {
        "allotment"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn partition_evaluator(&self, _arguments: PartitionEvaluatorArgs) -> Result<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(Places::default()))
    }

    fn field(&self, arguments: WindowUDFFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(arguments.name(), DataType::Utf8, true)))
    }
}

/// What was given so far.
#[derive(Debug, Default)]
struct Places {
    /// Half a SHA-256 of each customer who has a place: 16 bytes stand for names of any length.
    customers: HashSet<u128>,
    rules: HashMap<String, List>,
}

/// The places of one rule.
#[derive(Debug, Default)]
struct List {
    customers: i64,
    has_ended: bool,
    costs: HashMap<String, Costs>,
}

/// What the places of one rule cost in one currency.
#[derive(Debug, Default)]
struct Costs {
    sum: i128,
    has_ended: bool,
}

fn entry<'a, T: Default>(map: &'a mut HashMap<String, T>, key: &str) -> &'a mut T {
    if !map.contains_key(key) {
        map.insert(key.to_owned(), T::default());
    }
    map.get_mut(key).expect("it was put in if it was not there")
}

impl Places {
    fn place(&mut self, row: &Row<'_>) -> &'static str {
        let digest = Sha256::digest(row.customer.as_bytes());
        let mut half = [0; 16];
        half.copy_from_slice(digest.split_at(16).0);
        let customer = u128::from_be_bytes(half);
        if self.customers.contains(&customer) {
            return "taken";
        }
        let list = entry(&mut self.rules, row.rule);
        if list.has_ended {
            return "cut";
        }
        let costs = entry(&mut list.costs, row.currency);
        if costs.has_ended || row.cost_max.is_some_and(|most| costs.sum + row.cost > most) {
            costs.has_ended = true;
            return "cut";
        }
        if row.customers_max.is_some_and(|most| list.customers + 1 > most) {
            list.has_ended = true;
            return "cut";
        }
        self.customers.insert(customer);
        if row.is_held_out {
            return "held_out";
        }
        costs.sum += row.cost;
        list.customers += 1;
        "granted"
    }
}

struct Row<'a> {
    customer: &'a str,
    rule: &'a str,
    currency: &'a str,
    cost: i128,
    is_held_out: bool,
    customers_max: Option<i64>,
    cost_max: Option<i128>,
}

impl<'a> Row<'a> {
    /// The row at a place; None if it lacks a value that it needs.
    fn at(values: &'a [ArrayRef], at: usize) -> Option<Self> {
        let text = |column: usize| values[column].is_valid(at).then(|| values[column].as_string::<i32>().value(at));
        let money = |column: usize| values[column].is_valid(at).then(|| values[column].as_primitive::<Decimal128Type>().value(at));
        Some(Self {
            customer: text(0)?,
            rule: text(1)?,
            currency: text(2)?,
            cost: money(3)?,
            is_held_out: values[4].is_valid(at).then(|| values[4].as_boolean().value(at))?,
            customers_max: values[5].is_valid(at).then(|| values[5].as_primitive::<Int64Type>().value(at)),
            cost_max: money(6),
        })
    }
}

impl PartitionEvaluator for Places {
    fn supports_bounded_execution(&self) -> bool {
        true
    }

    fn is_causal(&self) -> bool {
        true
    }

    fn evaluate(&mut self, values: &[ArrayRef], range: &Range<usize>) -> Result<ScalarValue> {
        let place = Row::at(values, range.start).map(|row| self.place(&row).to_owned());
        Ok(ScalarValue::Utf8(place))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::context;
    use arrow::util::display::{ArrayFormatter, FormatOptions};

    async fn outcomes(rows: &str) -> Vec<String> {
        let sql = format!(
            "SELECT n, allotment(customer, rule, currency, CAST(cost AS DECIMAL(18, 2)), held, most, CAST(cap AS DECIMAL(18, 2))) \
             OVER (ORDER BY n) AS outcome FROM (VALUES {rows}) AS t(n, customer, rule, currency, cost, held, most, cap) ORDER BY n"
        );
        let batches = context().sql(&sql).await.unwrap().collect().await.unwrap();
        let mut outcomes = Vec::new();
        for batch in &batches {
            let formatter = ArrayFormatter::try_new(batch.column(1), &FormatOptions::default().with_null("NULL")).unwrap();
            outcomes.extend((0..batch.num_rows()).map(|row| formatter.value(row).to_string()));
        }
        outcomes
    }

    #[tokio::test]
    async fn a_customer_has_one_place_and_those_cut_have_another_chance() {
        let rows = "(1, 'a', 'x', 'PLN', 1, false, 1, NULL), (2, 'b', 'x', 'PLN', 1, false, 1, NULL), \
                    (3, 'a', 'y', 'PLN', 1, false, 9, NULL), (4, 'b', 'y', 'PLN', 1, false, 9, NULL), (5, NULL, 'y', 'PLN', 1, false, 9, NULL)";
        assert_eq!(outcomes(rows).await, ["granted", "cut", "taken", "granted", "NULL"]);
    }

    #[tokio::test]
    async fn costs_end_a_list_by_currency_and_those_held_out_cost_nothing() {
        let rows = "(1, 'a', 'x', 'PLN', 6, false, NULL, 10), (2, 'b', 'x', 'PLN', 4, true, NULL, 10), (3, 'c', 'x', 'PLN', 4, false, NULL, 10), \
                    (4, 'd', 'x', 'EUR', 10, false, NULL, 10), (5, 'e', 'x', 'PLN', 0.01, true, NULL, 10), (6, 'f', 'x', 'PLN', 0, false, NULL, 10)";
        assert_eq!(outcomes(rows).await, ["granted", "held_out", "granted", "granted", "cut", "cut"]);
    }
}
