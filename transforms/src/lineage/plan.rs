//! The walk over a logical plan, from the tables up: each node's columns, and what decides about its rows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::common::{Column, DFSchema, DataFusionError, JoinType, Result, TableReference};
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{Aggregate, Distinct, Expr, Join, LogicalPlan, RecursiveQuery, SortExpr, TableScan, Unnest};
use pipeline_core::name::TableName;

use super::{ColumnLineage, Contracts, Direct, Indirect, Influences, InputField};

/// Rounds of a recursive query until its lineage is whole; each brings in at least one field, or is the last.
const ROUNDS_MAX: usize = 100;

/// What is known of a node of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Relation {
    /// Each column of its schema.
    pub(super) columns: Vec<ColumnLineage>,
    /// What decides which rows it has.
    pub(super) rows: Influences,
    /// Whose rows its rows are made from.
    pub(super) rows_of: BTreeSet<InputField>,
}

/// The nodes below an expression: usually one, two for a join's condition.
#[derive(Clone)]
pub(super) struct Scope {
    parts: Vec<(Arc<DFSchema>, Relation)>,
}

impl Scope {
    pub(super) fn of(plan: &LogicalPlan, relation: &Relation) -> Self {
        Self { parts: vec![(Arc::clone(plan.schema()), relation.clone())] }
    }

    fn and(mut self, plan: &LogicalPlan, relation: &Relation) -> Self {
        self.parts.push((Arc::clone(plan.schema()), relation.clone()));
        self
    }

    pub(super) fn column(&self, column: &Column) -> Option<ColumnLineage> {
        self.parts.iter().find_map(|(schema, relation)| {
            let index = schema.maybe_index_of_column(column)?;
            relation.columns.get(index).cloned()
        })
    }

    /// The rows that are counted here.
    pub(super) fn rows_of(&self) -> BTreeSet<InputField> {
        self.parts.iter().flat_map(|(_, relation)| relation.rows_of.iter().cloned()).collect()
    }
}

/// A walk over one statement's plan.
pub(super) struct Walk<'a> {
    pub(super) contracts: &'a Contracts<'a>,
    /// The scopes around a subquery, the nearest last.
    pub(super) outer: Vec<Scope>,
    /// What is known of recursive queries so far, by name.
    recursive: BTreeMap<String, Relation>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(contracts: &'a Contracts<'a>) -> Self {
        Self { contracts, outer: Vec::new(), recursive: BTreeMap::new() }
    }

    /// What a plan's columns and rows come from.
    pub(super) fn relation(&mut self, plan: &LogicalPlan) -> Result<Relation> {
        let relation = match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan)?,
            LogicalPlan::Projection(projection) => {
                let (input, scope) = self.below(&projection.input)?;
                let columns = self.expressions(&projection.expr, &scope)?;
                Relation { columns, ..input }
            }
            LogicalPlan::Filter(filter) => {
                let (mut input, scope) = self.below(&filter.input)?;
                self.influence(&mut input.rows, [&filter.predicate], &scope, Indirect::Filter)?;
                input
            }
            LogicalPlan::Window(window) => {
                let (mut input, scope) = self.below(&window.input)?;
                input.columns.extend(self.expressions(&window.window_expr, &scope)?);
                input
            }
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate)?,
            LogicalPlan::Sort(sort) => {
                let (mut input, scope) = self.below(&sort.input)?;
                self.influence(&mut input.rows, sorted_by(&sort.expr), &scope, Indirect::Sort)?;
                input
            }
            LogicalPlan::Join(join) => self.join(join)?,
            LogicalPlan::Union(union) => {
                let mut inputs = union.inputs.iter().map(|input| self.relation(input)).collect::<Result<Vec<_>>>()?.into_iter();
                let first = inputs.next().unwrap_or_default();
                inputs.fold(first, either)
            }
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let mut relation = self.relation(input)?;
                for column in &relation.columns {
                    relation.rows.add_origin(column, Indirect::GroupBy);
                }
                relation
            }
            LogicalPlan::Distinct(Distinct::On(on)) => {
                let (mut input, scope) = self.below(&on.input)?;
                self.influence(&mut input.rows, &on.on_expr, &scope, Indirect::GroupBy)?;
                self.influence(&mut input.rows, sorted_by(on.sort_expr.as_deref().unwrap_or_default()), &scope, Indirect::Sort)?;
                let columns = self.expressions(&on.select_expr, &scope)?;
                Relation { columns, ..input }
            }
            LogicalPlan::Unnest(unnest) => self.unnest(unnest)?,
            LogicalPlan::RecursiveQuery(query) => self.recursive_query(query)?,
            LogicalPlan::Subquery(subquery) => self.relation(&subquery.subquery)?,
            LogicalPlan::SubqueryAlias(alias) => self.relation(&alias.input)?,
            LogicalPlan::Limit(limit) => self.relation(&limit.input)?,
            LogicalPlan::Repartition(repartition) => self.relation(&repartition.input)?,
            LogicalPlan::Values(values) => {
                let scope = Scope { parts: Vec::new() };
                let mut columns = vec![ColumnLineage::default(); values.schema.fields().len()];
                for row in &values.values {
                    for (column, value) in columns.iter_mut().zip(row) {
                        let origin = self.expression(value, &scope)?;
                        *column = std::mem::take(column).or(&origin);
                    }
                }
                Relation { columns, ..Relation::default() }
            }
            LogicalPlan::EmptyRelation(empty) => {
                Relation { columns: vec![ColumnLineage::default(); empty.schema.fields().len()], ..Relation::default() }
            }
            other => self.unknown(other)?,
        };
        let width = plan.schema().fields().len();
        if relation.columns.len() != width {
            let text = format!("a node of the plan has {width} columns, of which {} were followed", relation.columns.len());
            return Err(DataFusionError::Internal(text));
        }
        Ok(relation)
    }

    fn below(&mut self, input: &LogicalPlan) -> Result<(Relation, Scope)> {
        let relation = self.relation(input)?;
        let scope = Scope::of(input, &relation);
        Ok((relation, scope))
    }

    fn expressions(&mut self, expressions: &[Expr], scope: &Scope) -> Result<Vec<ColumnLineage>> {
        expressions.iter().map(|expression| self.expression(expression, scope)).collect()
    }

    /// Adds what these expressions come from as deciding in this way.
    pub(super) fn influence<'e>(
        &mut self,
        influences: &mut Influences,
        expressions: impl IntoIterator<Item = &'e Expr>,
        scope: &Scope,
        kind: Indirect,
    ) -> Result<()> {
        for expression in expressions {
            let origin = self.expression(expression, scope)?;
            influences.add_origin(&origin, kind);
        }
        Ok(())
    }

    fn scan(&mut self, scan: &TableScan) -> Result<Relation> {
        if let (None, Some(known)) = (scan.table_name.schema(), self.recursive.get(scan.table_name.table())) {
            return Ok(known.clone());
        }
        let table = table_name(&scan.table_name)?;
        let fields = scan.projected_schema.fields().iter();
        let columns = fields.map(|field| ColumnLineage::field_as_it_is(InputField { table: table.clone(), path: field.name().clone() }));
        let mut relation = Relation {
            columns: columns.collect(),
            rows: Influences::default(),
            rows_of: BTreeSet::from([InputField { table: table.clone(), path: String::new() }]),
        };
        let scope = Scope { parts: vec![(Arc::clone(&scan.projected_schema), relation.clone())] };
        self.influence(&mut relation.rows, &scan.filters, &scope, Indirect::Filter)?;
        Ok(relation)
    }

    fn aggregate(&mut self, aggregate: &Aggregate) -> Result<Relation> {
        let (mut input, scope) = self.below(&aggregate.input)?;
        let groups = grouping_set_to_exprlist(&aggregate.group_expr)?;
        self.influence(&mut input.rows, groups.iter().copied(), &scope, Indirect::GroupBy)?;
        let mut columns = groups.into_iter().map(|group| self.expression(group, &scope)).collect::<Result<Vec<_>>>()?;
        if matches!(aggregate.group_expr.first(), Some(Expr::GroupingSet(_))) {
            // Which of the sets a row is of.
            columns.push(ColumnLineage::default());
        }
        columns.extend(self.expressions(&aggregate.aggr_expr, &scope)?);
        Ok(Relation { columns, ..input })
    }

    fn join(&mut self, join: &Join) -> Result<Relation> {
        let (left, left_scope) = self.below(&join.left)?;
        // What stands right of LATERAL may name columns of the left.
        self.outer.push(left_scope.clone());
        let right = self.below(&join.right);
        self.outer.pop();
        let (right, right_scope) = right?;
        let mut rows = left.rows.clone();
        rows.add(&right.rows);
        for (one, other) in &join.on {
            self.influence(&mut rows, [one], &left_scope, Indirect::Join)?;
            self.influence(&mut rows, [other], &right_scope, Indirect::Join)?;
        }
        if let Some(condition) = &join.filter {
            let both = left_scope.and(&join.right, &right);
            self.influence(&mut rows, [condition], &both, Indirect::Join)?;
        }
        let both = |one: &Relation, other: &Relation| one.columns.iter().chain(&other.columns).cloned().collect::<Vec<_>>();
        let (columns, rows_of) = match join.join_type {
            JoinType::Inner | JoinType::Full => (both(&left, &right), &left.rows_of | &right.rows_of),
            JoinType::Left => (both(&left, &right), left.rows_of),
            JoinType::Right => (both(&left, &right), right.rows_of),
            JoinType::LeftSemi | JoinType::LeftAnti => (left.columns, left.rows_of),
            JoinType::RightSemi | JoinType::RightAnti => (right.columns, right.rows_of),
            JoinType::LeftMark => (marked(left.columns, &rows), left.rows_of),
            JoinType::RightMark => (marked(right.columns, &rows), right.rows_of),
        };
        Ok(Relation { columns, rows, rows_of })
    }

    fn unnest(&mut self, unnest: &Unnest) -> Result<Relation> {
        let input = self.relation(&unnest.input)?;
        let mut rows_of = input.rows_of.clone();
        let mut columns = Vec::with_capacity(unnest.dependency_indices.len());
        for (position, index) in unnest.dependency_indices.iter().enumerate() {
            let below = input.columns.get(*index).cloned().unwrap_or_default();
            let is_list = unnest.list_type_columns.iter().any(|(list, _)| list == index);
            let column = if is_list {
                rows_of.extend(below.direct.keys().cloned());
                let mut element = ColumnLineage { fields: below.fields.clone(), ..ColumnLineage::default() };
                element.add(&below, Direct::Transformation);
                element
            } else if unnest.struct_type_columns.contains(index) {
                let name = unnest.schema.field(position).name();
                below.at(self.contracts, name.rsplit('.').next().unwrap_or(name))
            } else {
                below
            };
            columns.push(column);
        }
        Ok(Relation { columns, rows: input.rows, rows_of })
    }

    fn recursive_query(&mut self, query: &RecursiveQuery) -> Result<Relation> {
        let mut known = self.relation(&query.static_term)?;
        let hidden = self.recursive.remove(&query.name);
        for _ in 0..ROUNDS_MAX {
            self.recursive.insert(query.name.clone(), known.clone());
            let next = either(known.clone(), self.relation(&query.recursive_term)?);
            if next == known {
                break;
            }
            known = next;
        }
        self.recursive.remove(&query.name);
        if let Some(hidden) = hidden {
            self.recursive.insert(query.name.clone(), hidden);
        }
        Ok(known)
    }

    /// A node of a kind that is not known: each of its columns may come from all of its inputs'.
    fn unknown(&mut self, plan: &LogicalPlan) -> Result<Relation> {
        let mut all = ColumnLineage::default();
        let mut relation = Relation::default();
        for input in plan.inputs() {
            let below = self.relation(input)?;
            for column in &below.columns {
                all.add(column, Direct::Transformation);
            }
            relation.rows.add(&below.rows);
            relation.rows_of.extend(below.rows_of);
        }
        relation.columns = vec![all; plan.schema().fields().len()];
        Ok(relation)
    }
}

/// The rows of both, one below the other.
fn either(one: Relation, other: Relation) -> Relation {
    let columns = one.columns.into_iter().zip(&other.columns).map(|(one, other)| one.or(other)).collect();
    let mut rows = one.rows;
    rows.add(&other.rows);
    Relation { columns, rows, rows_of: &one.rows_of | &other.rows_of }
}

/// The columns and a mark whether a row of the other side was found.
fn marked(mut columns: Vec<ColumnLineage>, rows: &Influences) -> Vec<ColumnLineage> {
    columns.push(ColumnLineage { indirect: rows.clone(), ..ColumnLineage::default() });
    columns
}

pub(super) fn sorted_by(order: &[SortExpr]) -> impl Iterator<Item = &Expr> {
    order.iter().map(|sort| &sort.expr)
}

/// A scanned table's name: models go without their schema.
pub(crate) fn table_name(reference: &TableReference) -> Result<TableName> {
    let schema = reference.schema().unwrap_or(TableName::MARTS);
    TableName::new(schema, reference.table()).map_err(|error| DataFusionError::External(Box::new(error)))
}
