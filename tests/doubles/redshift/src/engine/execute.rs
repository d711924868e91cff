//! One statement, from its text to its outcome.

use std::sync::atomic::{AtomicBool, Ordering};

use futures::TryStreamExt;
use sqlx::{AssertSqlSafe, Either, Executor, Row, SqlSafeStr, Statement};

use super::connection::{Connection, Failure, Outcome, Surroundings};
use super::result::{ResultColumn, ResultSet, Source};
use crate::copy::load::{self, CopyError};
use crate::postgres::catalog;
use crate::postgres::errors::translate;
use crate::sql::error::SqlError;
use crate::sql::name::{self, RelationName};
use crate::sql::plan::{Definition, Plan, gives_rows, plan};
use crate::sql::rewrite::Rewriting;
use crate::sql::token::{Token, split, tokenize};
use crate::sql::view;

/// A Data API parameter.
pub(crate) type Parameter = (String, String);

impl Connection {
    /// Runs one statement, in the open transaction or in one of its own.
    pub(crate) async fn execute(
        &mut self,
        text: &str,
        parameters: &[Parameter],
        query_id: i64,
        surroundings: &Surroundings,
    ) -> Result<Outcome, Failure> {
        let outcome = Box::pin(self.attempt(text, parameters, query_id, surroundings)).await;
        if outcome.is_err() && self.in_transaction {
            self.failed = true;
        }
        outcome
    }

    async fn attempt(
        &mut self,
        text: &str,
        parameters: &[Parameter],
        query_id: i64,
        surroundings: &Surroundings,
    ) -> Result<Outcome, Failure> {
        let tokens = self.tokens(text, parameters)?;
        let mut planned = plan(&tokens, &Rewriting::default());
        if self.failed && !matches!(planned, Ok(Plan::Commit | Plan::Rollback)) {
            return Err(SqlError::new("25P02", "current transaction is aborted, commands ignored until end of transaction block").into());
        }
        // A lock is to be held before the transaction's snapshot is taken: so nothing is looked up before.
        let own = !self.in_transaction && planned.as_ref().is_ok_and(needs_transaction);
        if own {
            self.begin(surroundings.isolation).await?;
        }
        let outcome = match &planned {
            Ok(Plan::Begin { .. } | Plan::Commit | Plan::Rollback | Plan::Truncate { .. } | Plan::Lock { .. } | Plan::Outside { .. }) => {
                Ok(())
            }
            Ok(Plan::Change { target, .. }) => self.lock_for_writing(target).await,
            Ok(Plan::Copy(command)) => self.lock_for_writing(&command.table).await,
            _ => Ok(()),
        };
        let outcome = match outcome {
            Ok(()) => match self.plan_again(&tokens, &planned).await {
                Ok(Some(again)) => {
                    planned = again;
                    Ok(())
                }
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        let outcome = match outcome.and(planned) {
            Ok(planned) => Box::pin(self.perform(planned, gives_rows(&tokens), query_id, surroundings)).await,
            Err(error) => Err(error.into()),
        };
        if !own {
            return outcome;
        }
        match outcome {
            Ok(outcome) => {
                self.commit().await?;
                Ok(outcome)
            }
            Err(failure) => {
                self.rollback().await?;
                Err(failure)
            }
        }
    }

    fn tokens(&self, text: &str, parameters: &[Parameter]) -> Result<Vec<Token>, SqlError> {
        let tokens = tokenize(text, self.reading)?;
        let statements = split(&tokens);
        let [statement] = statements.as_slice() else {
            return Err(if statements.is_empty() {
                SqlError::end_of_input()
            } else {
                SqlError::new("42601", "cannot insert multiple commands into a prepared statement")
            });
        };
        statement
            .iter()
            .map(|token| match token {
                Token::Parameter(wanted) => match parameters.iter().find(|(name, _)| name == wanted) {
                    Some((_, value)) => Ok(Token::Text(value.clone())),
                    None => Err(SqlError::syntax(&format!(":{wanted}"))),
                },
                other => Ok(other.clone()),
            })
            .collect()
    }

    /// Plans once more with what the catalog knows, where that can make a difference.
    async fn plan_again(&mut self, tokens: &[Token], planned: &Result<Plan, SqlError>) -> Result<Option<Result<Plan, SqlError>>, SqlError> {
        let reads = tokens.iter().any(|token| ["select", "from", "using", "merge", "set", "values"].iter().any(|word| token.is_word(word)));
        let steps = tokens.iter().any(|token| token.is_symbol(".") || token.is_symbol("["));
        if !reads
            || !steps
            || !matches!(planned, Ok(Plan::Query { .. } | Plan::Change { .. } | Plan::Define(_)))
            || !CATALOG_MATTERS.load(Ordering::Relaxed)
        {
            return Ok(None);
        }
        let failure = |error| translate(&error);
        let mut super_columns = catalog::super_columns(&mut self.postgres).await.map_err(failure)?;
        super_columns.retain(|column| !names_relation(tokens, column));
        let views = catalog::late_views(&mut self.postgres).await.map_err(failure)?;
        if super_columns.is_empty() && views.is_empty() {
            return Ok(None);
        }
        let defines_view =
            tokens.first().is_some_and(|token| token.is_word("create")) && tokens.iter().any(|token| token.is_word("binding"));
        let mut tokens = tokens.to_vec();
        if !views.is_empty() && !defines_view {
            let views = views
                .into_iter()
                .map(|(schema, name, query)| Ok((schema, name, tokenize(&query, self.reading)?)))
                .collect::<Result<Vec<_>, SqlError>>()?;
            tokens = view::expand(&tokens, &views)?;
        }
        Ok(Some(plan(&tokens, &Rewriting { super_columns })))
    }

    /// Writers of one table wait for each other; readers do not wait.
    async fn lock_for_writing(&mut self, table: &RelationName) -> Result<(), SqlError> {
        self.run(&format!("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", table.sql())).await.map(drop)
    }

    async fn perform(&mut self, planned: Plan, gives_rows: bool, query_id: i64, surroundings: &Surroundings) -> Result<Outcome, Failure> {
        match planned {
            Plan::Begin { isolation } => {
                // A second BEGIN is a warning in PostgreSQL, and no more here.
                if !self.in_transaction {
                    self.begin(isolation.as_deref().unwrap_or(surroundings.isolation)).await?;
                }
            }
            Plan::Commit => self.commit().await?,
            Plan::Rollback => self.rollback().await?,
            Plan::Set { sql, case_sensitive } => {
                self.run(&sql).await?;
                if let Some(case_sensitive) = case_sensitive {
                    self.reading.case_sensitive = case_sensitive;
                }
            }
            Plan::Query { sql } => return Ok(self.query(&sql, gives_rows).await?),
            Plan::Change { before, statements, .. } => return Ok(self.change(&before, &statements).await?),
            Plan::Define(definition) => self.define(&definition).await?,
            Plan::Truncate { table } => self.truncate(&table, surroundings).await?,
            Plan::Lock { tables } => {
                let listed = tables.iter().map(RelationName::sql).collect::<Vec<_>>().join(", ");
                self.run(&format!("LOCK TABLE {listed} IN ACCESS EXCLUSIVE MODE")).await?;
            }
            Plan::Alone { statements, refusal } => {
                self.refuse_in_transaction(&refusal)?;
                self.begin(surroundings.isolation).await?;
                let done = self.change(&[], &statements).await;
                match done {
                    Ok(outcome) => {
                        self.commit().await?;
                        return Ok(outcome);
                    }
                    Err(error) => {
                        self.rollback().await?;
                        return Err(error.into());
                    }
                }
            }
            Plan::Outside { sql, refusal } => {
                self.refuse_in_transaction(&refusal)?;
                self.run(&sql).await?;
            }
            Plan::Copy(command) => {
                let loaded = load::run(&mut self.postgres, &surroundings.storage, &command, &surroundings.roles).await;
                let loaded = loaded.map_err(|error| match error {
                    CopyError::Statement(error) => Failure::from(error),
                    CopyError::Load(failure) => Failure { error: failure.statement_error(query_id, self.process_id), load: Some(failure) },
                })?;
                self.run(&format!("SELECT set_config('redshift.last_copy_id', '{query_id}', false)")).await?;
                return Ok(Outcome { rows: loaded.rows, result: None, loaded: Some(loaded) });
            }
        }
        Ok(Outcome::default())
    }

    fn refuse_in_transaction(&self, refusal: &str) -> Result<(), SqlError> {
        if self.in_transaction { Err(SqlError::new("25001", refusal)) } else { Ok(()) }
    }

    async fn truncate(&mut self, table: &RelationName, surroundings: &Surroundings) -> Result<(), SqlError> {
        if self.in_transaction {
            self.commit().await?;
        }
        self.begin(surroundings.isolation).await?;
        match self.run(&format!("TRUNCATE TABLE {}", table.sql())).await {
            Ok(_) => self.commit().await,
            Err(error) => {
                self.rollback().await?;
                Err(error)
            }
        }
    }

    async fn define(&mut self, definition: &Definition) -> Result<(), SqlError> {
        if definition.sql.contains("jsonb") || definition.sql.contains("create_late_view") {
            CATALOG_MATTERS.store(true, Ordering::Relaxed);
        }
        for (short, given) in name::shortened() {
            self.run(&format!(
                "INSERT INTO _redshift.long_names VALUES ({}, {}) ON CONFLICT DO NOTHING",
                name::literal(&short),
                name::literal(&given)
            ))
            .await?;
        }
        for sql in definition.before.iter().chain([&definition.sql]).chain(&definition.after) {
            self.run(sql).await?;
        }
        Ok(())
    }

    /// The rows affected are the last statement's that affects any.
    async fn change(&mut self, before: &[String], statements: &[String]) -> Result<Outcome, SqlError> {
        for sql in before {
            self.run(sql).await?;
        }
        let mut rows = 0;
        for sql in statements {
            let affected = self.run(sql).await?;
            if affected > 0 {
                rows = affected;
            }
        }
        Ok(Outcome { rows, ..Outcome::default() })
    }

    async fn query(&mut self, sql: &str, gives_rows: bool) -> Result<Outcome, SqlError> {
        let mut result = ResultSet::default();
        {
            let mut stream = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch_many(&mut self.postgres);
            while let Some(step) = stream.try_next().await.map_err(|error| translate(&error))? {
                if let Either::Right(row) = step {
                    result.push(&row)?;
                }
            }
        }
        if result.columns.is_empty() {
            let prepared = self.postgres.prepare(AssertSqlSafe(sql.to_owned()).into_sql_str()).await.map_err(|error| translate(&error))?;
            result.columns = prepared.columns().iter().map(ResultColumn::new).collect();
        }
        self.describe(&mut result).await?;
        Ok(Outcome { rows: result.rows.len() as u64, result: gives_rows.then_some(result), loaded: None })
    }

    /// Adds what the catalog knows of the result's columns.
    async fn describe(&mut self, result: &mut ResultSet) -> Result<(), SqlError> {
        let origins: Vec<String> =
            result.columns.iter().filter_map(|column| column.origin).map(|(relation, number)| format!("({relation}, {number})")).collect();
        if origins.is_empty() {
            return Ok(());
        }
        let sql = format!(
            "SELECT a.attrelid::bigint, a.attnum, a.atttypmod, a.attnotnull, n.nspname::text, c.relname::text, pg_get_expr(d.adbin, d.adrelid) \
             FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum WHERE (a.attrelid::bigint, a.attnum::integer) IN ({})",
            origins.join(", ")
        );
        let failure = |error| translate(&error);
        for row in sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut self.postgres).await.map_err(failure)? {
            let relation: i64 = row.try_get(0).map_err(failure)?;
            let number: i16 = row.try_get(1).map_err(failure)?;
            let source = Source {
                modifier: row.try_get(2).map_err(failure)?,
                not_null: row.try_get(3).map_err(failure)?,
                schema: row.try_get(4).map_err(failure)?,
                table: name::shown(&row.try_get::<String, _>(5).map_err(failure)?),
                default: row.try_get(6).map_err(failure)?,
            };
            for column in &mut result.columns {
                if column.origin.is_some_and(|(found, attribute)| i64::from(found) == relation && attribute == number) {
                    column.source = Some(source.clone());
                }
            }
        }
        Ok(())
    }
}

/// Whether a statement has a relation or an alias of this name: then a dot after it is no navigation into a SUPER column.
fn names_relation(tokens: &[Token], name: &str) -> bool {
    const BEFORE: [&str; 6] = ["from", "join", "into", "update", "using", "as"];
    tokens.iter().enumerate().filter(|(_, token)| BEFORE.iter().any(|word| token.is_word(word))).any(|(place, _)| {
        let dotted =
            tokens.iter().skip(place + 1).take_while(|token| matches!(token, Token::Word(_) | Token::Quoted(_)) || token.is_symbol("."));
        let parts: Vec<&Token> = dotted.collect();
        // The relation's own name ends the dotted one; an alias may follow.
        let end = parts.chunks(2).position(|pair| !pair.get(1).is_some_and(|dot| dot.is_symbol("."))).map_or(0, |pairs| pairs * 2);
        parts.iter().skip(end).take(2).any(|part| part.near() == name)
    })
}

/// Whether some database of this process has SUPER columns or late-binding views: until then nothing is looked up.
static CATALOG_MATTERS: AtomicBool = AtomicBool::new(false);

/// Tells that databases from before this process may have such.
pub(crate) fn catalog_may_matter() {
    CATALOG_MATTERS.store(true, Ordering::Relaxed);
}

fn needs_transaction(planned: &Plan) -> bool {
    matches!(planned, Plan::Query { .. } | Plan::Change { .. } | Plan::Define(_) | Plan::Copy(_) | Plan::Set { .. } | Plan::Lock { .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::token::Reading;

    #[test]
    fn relations_and_aliases_are_told_from_columns() {
        let tokens = tokenize("select payload.a, items.b, i.c from shop.items i join mart.orders on true", Reading::default()).unwrap();
        for (name, expected) in [("items", true), ("orders", true), ("i", true), ("payload", false), ("shop", false)] {
            assert_eq!(names_relation(&tokens, name), expected, "{name}");
        }
    }
}
