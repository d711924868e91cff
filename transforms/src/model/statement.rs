//! What a statement reads and asks for, from its syntax tree.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;

use datafusion::common::DataFusionError;
use datafusion::sql::parser::{DFParserBuilder, Statement as Parsed};
use datafusion::sql::resolve::resolve_table_references;
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Statement as SqlStatement, Value, visit_expressions,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use pipeline_core::error::{Error, Result};
use pipeline_core::name::TableName;

use crate::errors::{SQL, failure};
use crate::functions::bound::PARAMETER_FUNCTIONS;

/// Functions whose result is another one each time, so that a run could not be repeated.
const UNREPEATABLE: &[&str] =
    &["now", "current_timestamp", "current_date", "current_time", "localtimestamp", "today", "random", "rand", "uuid", "gen_random_uuid"];

/// What a model's statement reads and asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Statement {
    /// Tables, in order of their names, each once; common table expressions are none.
    pub(super) reads: Vec<TableName>,
    /// Names of parameters.
    pub(super) parameters: BTreeSet<String>,
    /// Whether it calls `as_of()`.
    pub(super) uses_as_of: bool,
    /// Whether it calls `keyed_hash(…)`.
    pub(super) uses_key: bool,
}

impl Statement {
    pub(super) fn parse(sql: &str, file: &Path) -> Result<Self> {
        let what = || format!("statement in file \"{}\" cannot be used", file.display());
        let parsed = parse(sql).map_err(|error| failure(what(), error))?;
        if !matches!(&parsed, Parsed::Statement(statement) if matches!(**statement, SqlStatement::Query(_))) {
            return Err(Error::new(&SQL, what())
                .caused_by("it is not one SELECT")
                .hint("Write the model as one SELECT, with WITH if need be."));
        }
        let mut statement = Self { reads: read_tables(&parsed).map_err(|error| error.context(what()))?, ..Self::default() };
        let Parsed::Statement(query) = &parsed else { return Ok(statement) };
        let problem = visit_expressions(query.as_ref(), |expression| match statement.call(expression) {
            Ok(()) => ControlFlow::Continue(()),
            Err(problem) => ControlFlow::Break(problem),
        });
        match problem {
            ControlFlow::Continue(()) => Ok(statement),
            ControlFlow::Break(problem) => Err(Error::new(&SQL, what()).caused_by(problem)),
        }
    }

    /// The common table expressions of a statement; empty if it has none.
    pub(super) fn with(sql: &str, file: &Path) -> Result<String> {
        let parsed = parse(sql).map_err(|error| failure(format!("statement in file \"{}\" cannot be used", file.display()), error))?;
        let with = match parsed {
            Parsed::Statement(statement) => match *statement {
                SqlStatement::Query(query) => query.with.map(|with| with.to_string()),
                _ => None,
            },
            _ => None,
        };
        Ok(with.unwrap_or_default())
    }

    fn call(&mut self, expression: &Expr) -> Result<(), String> {
        let Expr::Function(function) = expression else { return Ok(()) };
        let name = function.name.to_string().to_lowercase();
        if UNREPEATABLE.contains(&name.as_str()) {
            return Err(format!("function \"{name}\" gives something else each time; as_of() is the run's now"));
        }
        self.uses_as_of |= name == "as_of";
        self.uses_key |= name == "keyed_hash";
        if PARAMETER_FUNCTIONS.contains(&name.as_str()) {
            let parameter = match &function.args {
                FunctionArguments::List(list) => match list.args.first() {
                    Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value)))) => match &value.value {
                        Value::SingleQuotedString(name) => Some(name.clone()),
                        _ => None,
                    },
                    _ => None,
                },
                _ => None,
            };
            self.parameters.insert(parameter.ok_or_else(|| format!("function \"{name}\" is called without a quoted name"))?);
        }
        Ok(())
    }
}

fn parse(sql: &str) -> Result<Parsed, DataFusionError> {
    let mut statements = DFParserBuilder::new(sql).with_dialect(&PostgreSqlDialect {}).build()?.parse_statements()?;
    match (statements.pop_front(), statements.is_empty()) {
        (Some(statement), true) => Ok(statement),
        (None, _) => Err(DataFusionError::Plan("there is no statement".to_owned())),
        (Some(_), false) => Err(DataFusionError::Plan("there is more than one statement".to_owned())),
    }
}

/// The tables that a parsed query reads.
fn read_tables(parsed: &Parsed) -> Result<Vec<TableName>> {
    let (references, _) = resolve_table_references(parsed, true).map_err(|error| failure("tables cannot be resolved", error))?;
    let mut tables = BTreeSet::new();
    for reference in references {
        if reference.catalog().is_some() {
            return Err(
                Error::new(&SQL, format!("table \"{reference}\" has too many parts")).hint("Write schema.table, or a model's name alone.")
            );
        }
        tables.insert(match reference.schema() {
            Some(schema) => TableName::new(schema, reference.table())?,
            None => TableName::model(reference.table())?,
        });
    }
    Ok(tables.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(sql: &str) -> Result<Statement> {
        Statement::parse(sql, Path::new("sql/example.sql"))
    }

    #[test]
    fn tables_and_parameters_are_found_wherever_they_stand() {
        let found = statement(
            "WITH orders AS (SELECT * FROM shop.orders WHERE placed_at < As_Of()) \
             SELECT * FROM orders o JOIN stores USING (store_id) \
             WHERE EXISTS (SELECT 1 FROM previous.example p WHERE p.id = o.id AND p.n > parameter_int('days')) \
             ORDER BY keyed_hash(o.id), parameter('leap_day', 'feb28')",
        )
        .unwrap();
        let names: Vec<String> = found.reads.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["stores", "previous.example", "shop.orders"]);
        assert_eq!(found.parameters.iter().collect::<Vec<_>>(), ["days", "leap_day"]);
        assert!(found.uses_as_of && found.uses_key);
    }

    #[test]
    fn what_could_not_be_repeated_is_refused() {
        for (sql, words) in [
            ("SELECT now() AS at", "as_of()"),
            ("SELECT * FROM a WHERE at > current_date", "current_date"),
            ("SELECT parameter_int(name) FROM a", "quoted name"),
            ("DELETE FROM a", "not one SELECT"),
            ("SELECT 1; SELECT 2", "more than one"),
            ("SELECT a FROM b WHERE", "Expected"),
            ("SELECT * FROM a.b.c", "too many parts"),
        ] {
            let error = statement(sql).unwrap_err();
            assert!(format!("{error:?}").contains(words), "{sql}: {error:?}");
            assert!(format!("{error:?}").contains("sql/example.sql"), "{error:?}");
        }
    }
}
