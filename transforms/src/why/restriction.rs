//! What rows of a plan's node are asked for, and how that is said of the node below.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, NullEquality, Result, ScalarValue};
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{BinaryExpr, Expr, Filter, Join, JoinConstraint, JoinType, LogicalPlan, Operator};

/// The rows asked for of a node: those that meet all conditions and are members of all sets.
#[derive(Debug, Clone, Default)]
pub(super) struct Restriction {
    pub(super) conditions: Vec<Condition>,
    pub(super) memberships: Vec<Membership>,
}

/// A condition over a node's columns.
#[derive(Debug, Clone)]
pub(super) struct Condition {
    pub(super) predicate: Expr,
    /// Whether it says which row is asked for, instead of being one of the statement's own.
    pub(super) asked: bool,
}

/// A set of values that expressions over a node's columns are among.
#[derive(Debug, Clone)]
pub(super) struct Membership {
    /// Each expression with the column of `values` that it is compared with.
    pub(super) on: Vec<(Expr, usize)>,
    pub(super) values: Arc<LogicalPlan>,
    /// Whether NULL is among them like any value.
    pub(super) nulls_match: bool,
}

/// A restriction said of the node below, and the columns by which it could not be said.
pub(super) struct Pushed {
    pub(super) restriction: Restriction,
    pub(super) lost: Vec<String>,
}

impl Restriction {
    pub(super) fn is_empty(&self) -> bool {
        self.conditions.is_empty() && self.memberships.is_empty()
    }

    /// Adds a condition of the statement's own, each of its conjuncts by itself.
    pub(super) fn require(&mut self, predicate: Expr) {
        self.conditions.extend(split_conjunction_owned(predicate).into_iter().map(|predicate| Condition { predicate, asked: false }));
    }

    /// Whether a condition compares two different constants: no row is asked for at all.
    pub(super) fn is_never_met(&self) -> bool {
        self.conditions.iter().any(|condition| match &condition.predicate {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => match (left.as_ref(), right.as_ref()) {
                (Expr::Literal(one, _), Expr::Literal(other, _)) => {
                    let other = other.cast_to(&one.data_type());
                    !one.is_null() && other.is_ok_and(|other| !other.is_null() && other != *one)
                }
                _ => false,
            },
            _ => false,
        })
    }

    /// The rows of `plan` that are asked for.
    pub(super) fn applied(&self, plan: &LogicalPlan) -> Result<LogicalPlan> {
        let mut plan = plan.clone();
        if let Some(predicate) = conjunction(self.conditions.iter().map(|condition| condition.predicate.clone())) {
            plan = LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(plan))?);
        }
        for membership in &self.memberships {
            let columns = membership.values.schema().columns();
            let on = membership.on.iter().map(|(one, index)| (one.clone(), Expr::Column(columns[*index].clone())));
            let nulls = if membership.nulls_match { NullEquality::NullEqualsNull } else { NullEquality::NullEqualsNothing };
            let (left, right) = (Arc::new(plan), Arc::clone(&membership.values));
            plan = LogicalPlan::Join(Join::try_new(left, right, on.collect(), None, JoinType::LeftSemi, JoinConstraint::On, nulls, false)?);
        }
        Ok(plan)
    }

    /// The same said of another node: `map` gives, for a column of this one, an expression over that one's; None if there is none.
    pub(super) fn pushed(&self, schema: &DFSchema, map: &dyn Fn(usize) -> Option<Expr>) -> Result<Pushed> {
        let known = self.equal_to_constants(schema);
        // Where a column cannot be said, its value may do.
        let with_constants = |index: usize| map(index).or_else(|| known.get(&index).cloned());
        let mut pushed = Pushed { restriction: Self::default(), lost: Vec::new() };
        for condition in &self.conditions {
            let said = match substituted(&condition.predicate, schema, map)? {
                Some(said) => Some(said),
                None if constant_of(&condition.predicate, schema).is_some() => None,
                None => substituted(&condition.predicate, schema, &with_constants)?,
            };
            match said {
                Some(predicate) => pushed.restriction.conditions.push(Condition { predicate, asked: condition.asked }),
                None => pushed.lost.extend(condition.predicate.column_refs().into_iter().map(|column| column.name.clone())),
            }
        }
        for membership in &self.memberships {
            let mut on = Vec::new();
            for (expression, index) in &membership.on {
                match substituted(expression, schema, map)? {
                    Some(said) => on.push((said, *index)),
                    None => pushed.lost.extend(expression.column_refs().into_iter().map(|column| column.name.clone())),
                }
            }
            if !on.is_empty() {
                pushed.restriction.memberships.push(Membership { on, ..membership.clone() });
            }
        }
        pushed.lost.sort();
        pushed.lost.dedup();
        Ok(pushed)
    }

    /// Columns that the conditions say are equal to a constant.
    fn equal_to_constants(&self, schema: &DFSchema) -> BTreeMap<usize, Expr> {
        self.conditions.iter().filter_map(|condition| constant_of(&condition.predicate, schema)).collect()
    }
}

/// `column = constant`, also below a cast of whole numbers that keeps the constant.
fn constant_of(predicate: &Expr, schema: &DFSchema) -> Option<(usize, Expr)> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = predicate else { return None };
    let (of, value) = match (left.as_ref(), right.as_ref()) {
        (of, Expr::Literal(value, _)) | (Expr::Literal(value, _), of) => (of, value),
        _ => return None,
    };
    match of {
        Expr::Column(column) => Some((schema.maybe_index_of_column(column)?, Expr::Literal(value.clone(), None))),
        Expr::Cast(Cast { expr, .. }) => {
            let Expr::Column(column) = expr.as_ref() else { return None };
            let index = schema.maybe_index_of_column(column)?;
            let data_type = schema.field(index).data_type();
            let same = |data_type: &DataType| data_type.is_integer() && value.data_type().is_integer();
            let below = same(data_type).then(|| value.cast_to(data_type).ok()).flatten()?;
            let again: ScalarValue = below.cast_to(&value.data_type()).ok()?;
            (again == *value).then_some((index, Expr::Literal(below, None)))
        }
        _ => None,
    }
}

/// An expression with every column replaced; None if one cannot be, or if a subquery stands in it.
fn substituted(expression: &Expr, schema: &DFSchema, map: &dyn Fn(usize) -> Option<Expr>) -> Result<Option<Expr>> {
    let mut is_whole = true;
    let said = expression.clone().transform_up(|node| {
        Ok(match &node {
            Expr::Column(column) => match schema.maybe_index_of_column(column).and_then(map) {
                Some(below) => Transformed::yes(below),
                None => {
                    is_whole = false;
                    Transformed::no(node)
                }
            },
            Expr::OuterReferenceColumn(..)
            | Expr::ScalarSubquery(_)
            | Expr::InSubquery(_)
            | Expr::Exists(_)
            | Expr::SetComparison(_)
            | Expr::AggregateFunction(_)
            | Expr::WindowFunction(_) => {
                is_whole = false;
                Transformed::no(node)
            }
            _ => Transformed::no(node),
        })
    })?;
    Ok(is_whole.then_some(said.data))
}

/// A node's column as an expression.
pub(super) fn column(schema: &DFSchema, index: usize) -> Expr {
    Expr::Column(Column::from(schema.qualified_field(index)))
}
