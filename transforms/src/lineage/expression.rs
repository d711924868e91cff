//! The walk over one expression: what its value comes from.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::expr::{AggregateFunction, ScalarFunction, WindowFunction};
use datafusion::logical_expr::{Case, Expr, Subquery, WindowFunctionDefinition};

use super::plan::{Scope, Walk, sorted_by};
use super::{ColumnLineage, Direct, Indirect, Setting};
use crate::functions::bound::PARAMETER_FUNCTIONS;

impl Walk<'_> {
    /// What an expression's value comes from.
    pub(super) fn expression(&mut self, expression: &Expr, scope: &Scope) -> Result<ColumnLineage> {
        match expression {
            Expr::Column(column) => scope.column(column).ok_or_else(|| unknown(&column.name)),
            Expr::OuterReferenceColumn(_, column) => {
                self.outer.iter().rev().find_map(|scope| scope.column(column)).ok_or_else(|| unknown(&column.name))
            }
            Expr::Alias(alias) => self.expression(&alias.expr, scope),
            Expr::Literal(..) => Ok(ColumnLineage::default()),
            Expr::Case(case) => self.case(case, scope),
            Expr::ScalarFunction(function) => self.scalar_function(function, scope),
            Expr::AggregateFunction(function) => self.aggregate_function(function, scope),
            Expr::WindowFunction(function) => self.window_function(function, scope),
            Expr::InSubquery(of) => {
                let mut origin = self.subquery(&of.subquery, scope)?;
                origin.add(&self.expression(&of.expr, scope)?, Direct::Transformation);
                Ok(as_computed(&origin))
            }
            Expr::SetComparison(of) => {
                let mut origin = self.subquery(&of.subquery, scope)?;
                origin.add(&self.expression(&of.expr, scope)?, Direct::Transformation);
                Ok(as_computed(&origin))
            }
            Expr::ScalarSubquery(subquery) => self.subquery(subquery, scope),
            Expr::Exists(exists) => {
                // Which columns it selects does not matter: only whether there is a row.
                let origin = self.subquery(&exists.subquery, scope)?;
                Ok(ColumnLineage { indirect: origin.indirect, settings: origin.settings, ..ColumnLineage::default() })
            }
            // Arguments of lambdas are elements of the other arguments, which are among the children.
            Expr::LambdaVariable(_) => Ok(ColumnLineage::default()),
            other => self.children(other, scope),
        }
    }

    /// All that an operator or function takes, computed with.
    fn children(&mut self, expression: &Expr, scope: &Scope) -> Result<ColumnLineage> {
        let mut origin = ColumnLineage::default();
        expression.apply_children(|child| {
            origin.add(&self.expression(child, scope)?, Direct::Transformation);
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(origin)
    }

    fn all(&mut self, expressions: &[Expr], scope: &Scope, kind: Direct) -> Result<ColumnLineage> {
        let mut origin = ColumnLineage::default();
        for expression in expressions {
            origin.add(&self.expression(expression, scope)?, kind);
        }
        Ok(origin)
    }

    fn case(&mut self, case: &Case, scope: &Scope) -> Result<ColumnLineage> {
        let mut origin = ColumnLineage::default();
        let results = case.when_then_expr.iter().map(|(_, then)| then).chain(&case.else_expr);
        for result in results {
            let result = self.expression(result, scope)?;
            // A struct chosen by a condition has the same fields.
            let chosen = as_computed(&result);
            origin = origin.or(&ColumnLineage { fields: result.fields, ..chosen });
        }
        let conditions = case.expr.iter().chain(case.when_then_expr.iter().map(|(when, _)| when));
        let mut influences = std::mem::take(&mut origin.indirect);
        self.influence(&mut influences, conditions.map(AsRef::as_ref), scope, Indirect::Conditional)?;
        origin.indirect = influences;
        Ok(origin)
    }

    /// The one column of a subquery, and what decides about its rows.
    fn subquery(&mut self, subquery: &Subquery, scope: &Scope) -> Result<ColumnLineage> {
        self.outer.push(scope.clone());
        let relation = self.relation(&subquery.subquery);
        self.outer.pop();
        let relation = relation?;
        let mut origin = relation.columns.into_iter().next().unwrap_or_default();
        origin.indirect.add(&relation.rows);
        Ok(origin)
    }

    fn scalar_function(&mut self, function: &ScalarFunction, scope: &Scope) -> Result<ColumnLineage> {
        let arguments = &function.args;
        let mut values = Vec::with_capacity(arguments.len());
        for argument in arguments {
            values.push(self.expression(argument, scope)?);
        }
        let text = |index: usize| arguments.get(index).and_then(literal_text);
        match (function.name(), values.as_slice()) {
            ("as_of", _) => Ok(ColumnLineage::of_setting(Setting::AsOf)),
            (name, _) if PARAMETER_FUNCTIONS.contains(&name) => {
                Ok(ColumnLineage::of_setting(Setting::Parameter(text(0).unwrap_or_default().to_owned())))
            }
            ("keyed_hash", values) => {
                let mut origin = computed(values);
                origin.settings.insert(Setting::Key);
                Ok(origin)
            }
            // A field of a struct; several names lead on into it.
            ("get_field", [of, ..]) if (1..arguments.len()).all(|index| text(index).is_some()) => {
                Ok((1..arguments.len()).filter_map(text).fold(of.clone(), |origin, name| origin.at(self.contracts, name)))
            }
            ("named_struct", values) => {
                let mut origin = computed(values);
                for (index, value) in values.iter().enumerate().filter(|(index, _)| index % 2 == 1) {
                    origin.fields.insert(text(index - 1).unwrap_or_default().to_owned(), value.clone());
                }
                Ok(origin)
            }
            ("struct" | "row", values) => {
                let mut origin = computed(values);
                origin.fields = values.iter().enumerate().map(|(index, value)| (format!("c{index}"), value.clone())).collect();
                Ok(origin)
            }
            // The second value decides whether the first stands.
            ("nullif", [value, other]) => {
                let mut origin = as_computed(value);
                origin.indirect.add_origin(other, Indirect::Conditional);
                Ok(origin)
            }
            // list_find(list, field, value, result): the element is chosen by `field`, and gives `result`.
            ("list_find", [list, _, value, _]) if text(1).is_some() && text(3).is_some() => {
                let mut origin = as_computed(&list.at(self.contracts, text(3).unwrap_or_default()));
                origin.indirect.add_origin(&list.at(self.contracts, text(1).unwrap_or_default()), Indirect::Conditional);
                origin.indirect.add_origin(value, Indirect::Conditional);
                Ok(origin)
            }
            ("list_sum", [list, _]) if text(1).is_some() => Ok(as_computed(&list.at(self.contracts, text(1).unwrap_or_default()))),
            (_, values) => Ok(computed(values)),
        }
    }

    fn aggregate_function(&mut self, function: &AggregateFunction, scope: &Scope) -> Result<ColumnLineage> {
        let parameters = &function.params;
        let mut origin = self.all(&parameters.args, scope, Direct::Aggregation)?;
        count_rows(&mut origin, scope);
        let mut influences = std::mem::take(&mut origin.indirect);
        self.influence(&mut influences, parameters.filter.as_deref(), scope, Indirect::Filter)?;
        self.influence(&mut influences, sorted_by(&parameters.order_by), scope, Indirect::Sort)?;
        origin.indirect = influences;
        Ok(origin)
    }

    fn window_function(&mut self, function: &WindowFunction, scope: &Scope) -> Result<ColumnLineage> {
        let parameters = &function.params;
        let is_aggregate = matches!(function.fun, WindowFunctionDefinition::AggregateUDF(_));
        let kind = if is_aggregate { Direct::Aggregation } else { Direct::Transformation };
        let mut origin = self.all(&parameters.args, scope, kind)?;
        if is_aggregate || (parameters.partition_by.is_empty() && parameters.order_by.is_empty()) {
            count_rows(&mut origin, scope);
        }
        let mut influences = std::mem::take(&mut origin.indirect);
        let window = parameters.partition_by.iter().chain(sorted_by(&parameters.order_by));
        self.influence(&mut influences, window, scope, Indirect::Window)?;
        self.influence(&mut influences, parameters.filter.as_deref(), scope, Indirect::Filter)?;
        origin.indirect = influences;
        Ok(origin)
    }
}

/// `count(*)` has no argument but the rows.
fn count_rows(origin: &mut ColumnLineage, scope: &Scope) {
    if origin.direct.is_empty() && origin.indirect.fields.is_empty() && origin.settings.is_empty() {
        origin.direct = scope.rows_of().into_iter().map(|rows| (rows, Direct::Aggregation)).collect();
    }
}

fn as_computed(origin: &ColumnLineage) -> ColumnLineage {
    computed(std::slice::from_ref(origin))
}

fn computed(values: &[ColumnLineage]) -> ColumnLineage {
    let mut origin = ColumnLineage::default();
    for value in values {
        origin.add(value, Direct::Transformation);
    }
    origin
}

fn literal_text(expression: &Expr) -> Option<&str> {
    match expression {
        Expr::Literal(ScalarValue::Utf8(Some(text)) | ScalarValue::LargeUtf8(Some(text)) | ScalarValue::Utf8View(Some(text)), _) => {
            Some(text)
        }
        _ => None,
    }
}

fn unknown(column: &str) -> DataFusionError {
    DataFusionError::Internal(format!("column \"{column}\" is not among those of the node below"))
}
