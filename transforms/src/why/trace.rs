//! Which rows of the tables below a plan make the rows asked for above it.
//!
//! The restriction goes down node by node. Where a node computes a column so that nothing can be said of its input in the input's own
//! columns (an aggregate, a window, an element of a list), the node itself is asked for the rows that meet the restriction, and
//! their groups, keys or rows are what is asked for below. So the answer is exact, except where a note says otherwise.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, JoinType, Result};
use datafusion::dataframe::DataFrame;
use datafusion::datasource::MemTable;
use datafusion::logical_expr::utils::{split_conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Distinct, EmptyRelation, Expr, Filter, Join, LogicalPlan, LogicalPlanBuilder, Operator, Projection, TableScan,
    Unnest,
};
use futures::future::BoxFuture;
use pipeline_core::name::TableName;

use super::restriction::{Membership, Restriction, column};
use super::words::words;
use crate::lineage::table_name;
use crate::model::PREVIOUS;
use crate::session::{Session, at_most};

/// Rows of a table that one place of a statement takes.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) table: TableName,
    /// They, with all columns.
    pub(super) rows: LogicalPlan,
    /// By what they are found.
    pub(super) found_by: Vec<String>,
}

/// Values of one set that are held in memory; of more, the plan that gives them is asked wherever they are needed.
const VALUES_MAX: usize = 200_000;

/// A walk over one statement's plan.
#[derive(Debug)]
pub(super) struct Trace<'a> {
    pub(super) leaves: Vec<Leaf>,
    /// What was not followed, and why.
    pub(super) notes: BTreeSet<String>,
    session: &'a Session,
    sets: usize,
}

impl<'a> Trace<'a> {
    pub(super) fn new(session: &'a Session) -> Self {
        Self { leaves: Vec::new(), notes: BTreeSet::new(), session, sets: 0 }
    }

    /// Follows a restriction down. Returns the plan with each table cut down to the rows found.
    pub(super) fn follow<'b>(&'b mut self, plan: &'b LogicalPlan, asked: Restriction) -> BoxFuture<'b, Result<LogicalPlan>> {
        Box::pin(self.followed(plan, asked))
    }

    async fn followed(&mut self, plan: &LogicalPlan, asked: Restriction) -> Result<LogicalPlan> {
        if asked.is_never_met() {
            return Ok(nothing(plan));
        }
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan, plan, &asked),
            LogicalPlan::Projection(projection) => {
                let pushed = asked.pushed(plan.schema(), &|index| Some(projection.expr[index].clone().unalias()))?;
                self.not_followed(&pushed.lost, "computed by a subquery");
                let input = self.follow(&projection.input, pushed.restriction).await?;
                let schema = Arc::clone(&projection.schema);
                Ok(LogicalPlan::Projection(Projection::try_new_with_schema(projection.expr.clone(), Arc::new(input), schema)?))
            }
            LogicalPlan::Filter(filter) => self.filter(filter, asked).await,
            LogicalPlan::Aggregate(aggregate) => self.aggregate(plan, aggregate, &asked).await,
            LogicalPlan::Window(window) => {
                let width = window.input.schema().fields().len();
                let kept: Vec<usize> = (0..width).collect();
                self.through(plan, &window.input, &asked, &|index| kept.get(index).copied()).await
            }
            LogicalPlan::Unnest(unnest) => self.unnest(plan, unnest, &asked).await,
            LogicalPlan::Join(join) => self.join(plan, join, asked).await,
            LogicalPlan::Union(union) => {
                let mut inputs = Vec::with_capacity(union.inputs.len());
                for input in &union.inputs {
                    let pushed = asked.pushed(plan.schema(), &|index| Some(column(input.schema(), index)))?;
                    inputs.push(self.follow(input, pushed.restriction).await?);
                }
                plan.with_new_exprs(Vec::new(), inputs)
            }
            LogicalPlan::Limit(limit) => {
                self.notes.insert("a LIMIT keeps some of the rows; all that it chose from are shown".to_owned());
                let input = self.follow(&limit.input, asked).await?;
                plan.with_new_exprs(plan.expressions(), vec![input])
            }
            LogicalPlan::Distinct(Distinct::On(on)) => {
                let pushed = asked.pushed(plan.schema(), &|index| Some(on.select_expr[index].clone().unalias()))?;
                self.not_followed(&pushed.lost, "computed by a subquery");
                let input = self.follow(&on.input, pushed.restriction).await?;
                plan.with_new_exprs(plan.expressions(), vec![input])
            }
            LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Distinct(Distinct::All(_))
            | LogicalPlan::Sort(_)
            | LogicalPlan::Subquery(_)
            | LogicalPlan::Repartition(_) => {
                let input = *plan.inputs().first().expect("these nodes have one input");
                let pushed = asked.pushed(plan.schema(), &|index| Some(column(input.schema(), index)))?;
                let input = self.follow(input, pushed.restriction).await?;
                plan.with_new_exprs(plan.expressions(), vec![input])
            }
            LogicalPlan::Values(_) | LogicalPlan::EmptyRelation(_) => Ok(plan.clone()),
            other => {
                for table in tables_of(other)? {
                    self.notes.insert(format!("{table} is read by a part of the statement that is not followed (WITH RECURSIVE)"));
                }
                Ok(plan.clone())
            }
        }
    }

    fn scan(&mut self, scan: &TableScan, plan: &LogicalPlan, asked: &Restriction) -> Result<LogicalPlan> {
        if scan.table_name.schema() == Some(PREVIOUS) {
            self.notes.insert(format!(
                "{} also keeps rows that it had before the run; the lake shows the present only, so they are not followed",
                scan.table_name.table()
            ));
            return Ok(plan.clone());
        }
        let rows = asked.applied(plan)?;
        let mut found_by: Vec<String> =
            asked.conditions.iter().filter(|condition| condition.asked).map(|condition| words(&condition.predicate)).collect();
        for membership in &asked.memberships {
            found_by.extend(membership.on.iter().map(|(on, _)| words(on)));
        }
        let mut seen = BTreeSet::new();
        found_by.retain(|words| seen.insert(words.clone()));
        self.leaves.push(Leaf { table: table_name(&scan.table_name)?, rows: rows.clone(), found_by });
        Ok(rows)
    }

    async fn filter(&mut self, filter: &Filter, mut asked: Restriction) -> Result<LogicalPlan> {
        for conjunct in split_conjunction(&filter.predicate) {
            if !has_subquery(conjunct) {
                asked.require(conjunct.clone());
                continue;
            }
            let Expr::InSubquery(within) = conjunct else {
                self.unfollowed_subqueries(conjunct)?;
                continue;
            };
            if within.negated || !within.subquery.outer_ref_columns.is_empty() || has_subquery(&within.expr) {
                self.unfollowed_subqueries(conjunct)?;
                continue;
            }
            let below = &within.subquery.subquery;
            let asked_for = self.values(&asked.applied(&filter.input)?, std::slice::from_ref(within.expr.as_ref())).await?;
            let member = Membership { on: vec![(column(below.schema(), 0), 0)], values: asked_for, nulls_match: false };
            self.follow(below, Restriction { memberships: vec![member], ..Restriction::default() }).await?;
            let values = self.values(below, &[column(below.schema(), 0)]).await?;
            asked.memberships.push(Membership { on: vec![(within.expr.as_ref().clone(), 0)], values, nulls_match: false });
        }
        let input = self.follow(&filter.input, asked).await?;
        Ok(LogicalPlan::Filter(Filter::try_new(filter.predicate.clone(), Arc::new(input))?))
    }

    async fn aggregate(&mut self, plan: &LogicalPlan, aggregate: &Aggregate, asked: &Restriction) -> Result<LogicalPlan> {
        let groups = match aggregate.group_expr.first() {
            Some(Expr::GroupingSet(_)) => {
                self.notes.insert("rows of GROUPING SETS are not told apart: all rows of all sets are shown".to_owned());
                &[]
            }
            _ => aggregate.group_expr.as_slice(),
        };
        let pushed = asked.pushed(plan.schema(), &|index| groups.get(index).cloned().map(Expr::unalias))?;
        let mut below = pushed.restriction;
        if !pushed.lost.is_empty() && !groups.is_empty() {
            let keys: Vec<Expr> = (0..groups.len()).map(|index| column(plan.schema(), index)).collect();
            let values = self.values(&asked.applied(plan)?, &keys).await?;
            let on = groups.iter().cloned().map(Expr::unalias).zip(0..).collect();
            below.memberships.push(Membership { on, values, nulls_match: true });
        }
        let input = self.follow(&aggregate.input, below).await?;
        Ok(LogicalPlan::Aggregate(Aggregate::try_new_with_schema(
            Arc::new(input),
            aggregate.group_expr.clone(),
            aggregate.aggr_expr.clone(),
            Arc::clone(&aggregate.schema),
        )?))
    }

    async fn unnest(&mut self, plan: &LogicalPlan, unnest: &Unnest, asked: &Restriction) -> Result<LogicalPlan> {
        let kept = |index: usize| {
            let below = *unnest.dependency_indices.get(index)?;
            let is_taken_apart =
                unnest.list_type_columns.iter().any(|(list, _)| *list == below) || unnest.struct_type_columns.contains(&below);
            (!is_taken_apart).then_some(below)
        };
        self.through(plan, &unnest.input, asked, &kept).await
    }

    /// Through a node that keeps the rows of its input, each perhaps several times, and adds columns to them: `kept` tells which
    /// column of the input a column is.
    async fn through(
        &mut self,
        plan: &LogicalPlan,
        input: &LogicalPlan,
        asked: &Restriction,
        kept: &(dyn Fn(usize) -> Option<usize> + Sync),
    ) -> Result<LogicalPlan> {
        let pushed = asked.pushed(plan.schema(), &|index| kept(index).map(|below| column(input.schema(), below)))?;
        let mut below = pushed.restriction;
        if !pushed.lost.is_empty() {
            let comparable: Vec<(usize, usize)> = (0..plan.schema().fields().len())
                .filter(|index| is_comparable(plan.schema().field(*index).data_type()))
                .filter_map(|index| Some((index, kept(index)?)))
                .collect();
            let keys: Vec<Expr> = comparable.iter().map(|(index, _)| column(plan.schema(), *index)).collect();
            let values = self.values(&asked.applied(plan)?, &keys).await?;
            let on = comparable.iter().map(|(_, below)| column(input.schema(), *below)).zip(0..).collect();
            below.memberships.push(Membership { on, values, nulls_match: true });
        }
        let input = self.follow(input, below).await?;
        plan.with_new_exprs(plan.expressions(), vec![input])
    }

    async fn join(&mut self, plan: &LogicalPlan, join: &Join, asked: Restriction) -> Result<LogicalPlan> {
        let (left, right) = (join.left.schema(), join.right.schema());
        let width = left.fields().len();
        let pairs = equal_pairs(join);
        let (left_keys, right_keys): (Vec<Expr>, Vec<Expr>) = pairs.into_iter().unzip();
        let of_left = asked.pushed(plan.schema(), &|index| (index < width).then(|| column(left, index)))?;
        if matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti) {
            return self.half_join(plan, join, of_left.restriction, (left_keys, right_keys)).await;
        }
        if !matches!(join.join_type, JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full) {
            for table in tables_of(plan)? {
                self.notes.insert(format!("{table} is read by a join of a kind that is not followed"));
            }
            return Ok(plan.clone());
        }
        let of_right = asked.pushed(plan.schema(), &|index| (index >= width).then(|| column(right, index - width)))?;
        let rows = asked.applied(plan)?;
        let mut sides = Vec::with_capacity(2);
        for (side, pushed, keys, is_preserved) in [
            (&join.left, of_left, left_keys, matches!(join.join_type, JoinType::Left | JoinType::Full)),
            (&join.right, of_right, right_keys, matches!(join.join_type, JoinType::Right | JoinType::Full)),
        ] {
            let mut below = pushed.restriction;
            // Rows that are kept without a partner need one only if the other side says which are asked for.
            if !asked.is_empty() && (!is_preserved || !pushed.lost.is_empty()) {
                let keys = if keys.is_empty() && !pushed.lost.is_empty() { comparable(side.schema()) } else { keys };
                if !keys.is_empty() {
                    let values = self.values(&rows, &keys).await?;
                    below.memberships.push(Membership { on: keys.into_iter().zip(0..).collect(), values, nulls_match: is_preserved });
                }
            }
            sides.push(self.follow(side, below).await?);
        }
        plan.with_new_exprs(plan.expressions(), sides)
    }

    /// A join that only asks whether there is a partner.
    async fn half_join(
        &mut self,
        plan: &LogicalPlan,
        join: &Join,
        mut asked: Restriction,
        (left_keys, right_keys): (Vec<Expr>, Vec<Expr>),
    ) -> Result<LogicalPlan> {
        let rows = asked.applied(plan)?;
        let is_anti = join.join_type == JoinType::LeftAnti;
        let right = if is_anti {
            for table in tables_of(&join.right)? {
                self.notes.insert(format!("{table} is also read to see that it has no such row: nothing of it is shown for that"));
            }
            nothing(&join.right)
        } else {
            let mut below = Restriction::default();
            if !right_keys.is_empty() {
                let values = self.values(&rows, &left_keys).await?;
                below.memberships.push(Membership { on: right_keys.into_iter().zip(0..).collect(), values, nulls_match: false });
            }
            self.follow(&join.right, below).await?
        };
        if !left_keys.is_empty() {
            let values = self.values(&rows, &left_keys).await?;
            asked.memberships.push(Membership { on: left_keys.into_iter().zip(0..).collect(), values, nulls_match: is_anti });
        }
        let left = self.follow(&join.left, asked).await?;
        plan.with_new_exprs(plan.expressions(), vec![left, right])
    }

    /// The values that expressions have in the rows of a plan, as a table of its own. They are found out once: each plan that asks for them would
    /// run all those again that they come from.
    async fn values(&mut self, rows: &LogicalPlan, expressions: &[Expr]) -> Result<Arc<LogicalPlan>> {
        self.sets += 1;
        let columns = expressions.iter().enumerate().map(|(index, expression)| expression.clone().alias(format!("k{index}")));
        let plan = LogicalPlanBuilder::from(rows.clone()).project(columns.collect::<Vec<_>>())?.distinct()?.build()?;
        let context = self.session.context();
        let found = {
            let _turn = self.session.engine().turns().beside_others().await;
            at_most(DataFrame::new(context.state(), plan.clone()), VALUES_MAX).await?
        };
        let plan = match found {
            Some((schema, batches)) => context.read_table(Arc::new(MemTable::try_new(schema, vec![batches])?))?.logical_plan().clone(),
            None => plan,
        };
        LogicalPlanBuilder::from(plan).alias(format!("asked{}", self.sets))?.build().map(Arc::new)
    }

    fn not_followed(&mut self, lost: &[String], why: &str) {
        for name in lost {
            self.notes.insert(format!("{name} is {why}: rows are not narrowed by it"));
        }
    }

    fn unfollowed_subqueries(&mut self, predicate: &Expr) -> Result<()> {
        let mut tables = BTreeSet::new();
        predicate.apply(|node| {
            let subquery = match node {
                Expr::InSubquery(within) => Some(&within.subquery),
                Expr::Exists(exists) => Some(&exists.subquery),
                Expr::ScalarSubquery(subquery) => Some(subquery),
                Expr::SetComparison(comparison) => Some(&comparison.subquery),
                _ => None,
            };
            if let Some(subquery) = subquery {
                tables.extend(tables_of(&subquery.subquery)?);
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        for table in tables {
            self.notes.insert(format!("{table} is read by a condition with a subquery, which is not followed"));
        }
        Ok(())
    }
}

/// No rows, of the same columns.
fn nothing(plan: &LogicalPlan) -> LogicalPlan {
    LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: false, schema: Arc::clone(plan.schema()) })
}

/// What both sides of a join have to have the same of: expressions over the left and over the right.
fn equal_pairs(join: &Join) -> Vec<(Expr, Expr)> {
    let mut pairs = join.on.clone();
    let within = |expression: &Expr, schema: &DFSchema| {
        let columns = expression.column_refs();
        !columns.is_empty() && columns.into_iter().all(|column| schema.maybe_index_of_column(column).is_some())
    };
    for conjunct in join.filter.iter().cloned().flat_map(split_conjunction_owned) {
        let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = conjunct else { continue };
        if within(&left, join.left.schema()) && within(&right, join.right.schema()) {
            pairs.push((*left, *right));
        } else if within(&right, join.left.schema()) && within(&left, join.right.schema()) {
            pairs.push((*right, *left));
        }
    }
    pairs.retain(|(left, right)| !has_subquery(left) && !has_subquery(right));
    pairs
}

/// The columns by which rows can be told apart.
fn comparable(schema: &DFSchema) -> Vec<Expr> {
    (0..schema.fields().len()).filter(|index| is_comparable(schema.field(*index).data_type())).map(|index| column(schema, index)).collect()
}

fn is_comparable(data_type: &DataType) -> bool {
    !data_type.is_nested()
}

fn has_subquery(expression: &Expr) -> bool {
    let is_subquery = |node: &Expr| {
        matches!(
            node,
            Expr::InSubquery(_) | Expr::Exists(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_) | Expr::OuterReferenceColumn(..)
        )
    };
    expression.exists(|node| Ok(is_subquery(node))).expect("the closure does not fail")
}

/// The tables that a plan reads.
fn tables_of(plan: &LogicalPlan) -> Result<BTreeSet<TableName>> {
    let mut tables = BTreeSet::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            tables.insert(table_name(&scan.table_name)?);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(tables)
}
