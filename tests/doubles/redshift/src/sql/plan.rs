//! From a statement's tokens to what is to be done on PostgreSQL. Pure: nothing here touches a server.

use super::attributes::Attributes;
use super::cursor::Cursor;
use super::error::SqlError;
use super::merge;
use super::name::RelationName;
use super::object;
use super::refuse;
use super::rewrite::{Rewriting, expressions, render};
use super::setting;
use super::table;
use super::token::Token;
use super::view;
use crate::copy::command::CopyCommand;

/// What a statement comes to.
#[derive(Debug)]
pub(crate) enum Plan {
    Begin {
        isolation: Option<String>,
    },
    Commit,
    Rollback,
    /// A session's setting: `sql` for PostgreSQL, and what the double itself must know.
    Set {
        sql: String,
        case_sensitive: Option<bool>,
    },
    /// Gives rows.
    Query {
        sql: String,
    },
    /// Changes a table's rows: writers of one table wait for each other.
    Change {
        target: RelationName,
        before: Vec<String>,
        statements: Vec<String>,
    },
    /// Ordinary DDL: part of the transaction.
    Define(Definition),
    /// Commits what was open, then truncates, then commits.
    Truncate {
        table: RelationName,
    },
    /// Takes locks, before any snapshot.
    Lock {
        tables: Vec<RelationName>,
    },
    /// Refused inside a transaction, else run in one of its own.
    Alone {
        statements: Vec<String>,
        refusal: String,
    },
    /// Refused inside a transaction, else run outside of any.
    Outside {
        sql: String,
        refusal: String,
    },
    Copy(Box<CopyCommand>),
}

/// A definition, with what is to be checked before and remembered after it, all in one transaction.
#[derive(Debug, Clone, Default)]
pub(crate) struct Definition {
    pub(crate) before: Vec<String>,
    pub(crate) sql: String,
    pub(crate) after: Vec<String>,
}

impl Definition {
    pub(crate) fn new(sql: String) -> Self {
        Self { sql, ..Self::default() }
    }
}

/// Whether the statement is of the kind whose result a client can fetch.
pub(crate) fn gives_rows(tokens: &[Token]) -> bool {
    match tokens.first() {
        Some(Token::Word(word)) if word == "with" => main_verb(tokens).is_some_and(|verb| verb.is_word("select")),
        Some(Token::Word(word)) if word == "select" => into(tokens).is_none(),
        Some(Token::Word(word)) => ["show", "explain"].contains(&word.as_str()),
        Some(token) => token.is_symbol("("),
        None => false,
    }
}

/// Plans one statement.
pub(crate) fn plan(tokens: &[Token], rewriting: &Rewriting) -> Result<Plan, SqlError> {
    let mut cursor = Cursor::new(tokens);
    let first = tokens.first().ok_or_else(SqlError::end_of_input)?;
    if first.is_symbol("(") {
        return query(tokens, rewriting);
    }
    let Token::Word(verb) = first else { return Err(SqlError::syntax(first.near())) };
    if ["select", "with"].contains(&verb.as_str()) {
        return query_or_change(tokens, rewriting);
    }
    cursor.take()?;
    match verb.as_str() {
        "insert" => insert(tokens, rewriting),
        "update" => update(tokens, tokens, rewriting),
        "delete" => delete(tokens, 0, rewriting),
        "merge" => merge::merge(&mut cursor, rewriting),
        "copy" => Ok(Plan::Copy(Box::new(CopyCommand::parse(&mut cursor)?))),
        "create" => create(&mut cursor, tokens, rewriting),
        "alter" => object::alter(&mut cursor, rewriting),
        "drop" => object::drop(&mut cursor),
        "truncate" => truncate(&mut cursor),
        "lock" => lock(&mut cursor),
        "begin" | "start" => setting::begin(&mut cursor, verb),
        "commit" | "end" => setting::end(&mut cursor).map(|()| Plan::Commit),
        "rollback" | "abort" => setting::end(&mut cursor).map(|()| Plan::Rollback),
        "savepoint" | "release" => {
            Err(SqlError::unsupported(format!("SQL command \"{}\" not supported on Redshift tables.", verb.to_uppercase())))
        }
        "set" | "reset" => setting::set(&mut cursor, verb),
        "show" => setting::show(&mut cursor),
        "explain" => explain(&mut cursor, rewriting),
        "analyze" | "analyse" => object::analyze(&mut cursor),
        "vacuum" => object::vacuum(&mut cursor),
        "comment" => object::comment(&mut cursor, tokens),
        "grant" | "revoke" => object::grant(&mut cursor, verb),
        "refresh" => view::refresh(&mut cursor),
        "values" => Err(SqlError::syntax("values")),
        "unload" | "call" | "declare" | "close" | "prepare" | "execute" | "deallocate" | "attach" | "detach" | "cancel" => {
            Err(SqlError::beyond_double(&verb.to_uppercase()))
        }
        "fetch" => Err(SqlError::beyond_double("cursors")),
        other => Err(SqlError::syntax(other)),
    }
}

/// A query's text for PostgreSQL.
pub(crate) fn query_sql(tokens: &[Token], rewriting: &Rewriting) -> Result<String, SqlError> {
    refuse::query(tokens)?;
    Ok(render(&expressions(tokens, rewriting)?))
}

fn query(tokens: &[Token], rewriting: &Rewriting) -> Result<Plan, SqlError> {
    Ok(Plan::Query { sql: query_sql(tokens, rewriting)? })
}

/// The verb that follows a WITH clause's queries.
fn main_verb(tokens: &[Token]) -> Option<&Token> {
    tokens.get(main_verb_index(tokens)?)
}

fn main_verb_index(tokens: &[Token]) -> Option<usize> {
    const VERBS: [&str; 5] = ["select", "insert", "update", "delete", "merge"];
    let mut depth = 0_usize;
    tokens.iter().position(|token| {
        if token.is_symbol("(") {
            depth += 1;
        } else if token.is_symbol(")") {
            depth = depth.saturating_sub(1);
        }
        depth == 0 && VERBS.iter().any(|verb| token.is_word(verb))
    })
}

fn query_or_change(tokens: &[Token], rewriting: &Rewriting) -> Result<Plan, SqlError> {
    let index = main_verb_index(tokens).ok_or_else(SqlError::end_of_input)?;
    let main = tokens.get(index..).unwrap_or_default();
    match main.first() {
        Some(Token::Word(verb)) if verb == "update" => update(main, tokens, rewriting),
        Some(Token::Word(verb)) if verb == "delete" => delete(tokens, index, rewriting),
        Some(Token::Word(verb)) if verb != "select" => Err(SqlError::syntax(verb)),
        _ => match into(tokens) {
            Some(place) => select_into(tokens, place, rewriting),
            None => query(tokens, rewriting),
        },
    }
}

/// Where `INTO` stands in a SELECT, outside parentheses.
fn into(tokens: &[Token]) -> Option<usize> {
    let mut depth = 0_usize;
    tokens.iter().position(|token| {
        if token.is_symbol("(") {
            depth += 1;
        } else if token.is_symbol(")") {
            depth = depth.saturating_sub(1);
        }
        depth == 0 && token.is_word("into")
    })
}

fn select_into(tokens: &[Token], place: usize, rewriting: &Rewriting) -> Result<Plan, SqlError> {
    let mut cursor = Cursor::new(tokens.get(place + 1..).unwrap_or_default());
    let temporary = cursor.accept(&["temp"]) || cursor.accept(&["temporary"]);
    cursor.accept(&["table"]);
    let table = cursor.relation()?;
    let mut selected = tokens.get(..place).unwrap_or_default().to_vec();
    selected.extend_from_slice(cursor.rest());
    refuse::table_query(&selected)?;
    let query = query_sql(&selected, rewriting)?;
    let kind = if temporary || table.is_hash() { "TEMP TABLE" } else { "TABLE" };
    let after = vec![table::adopt(&table, &Attributes::default().remembered(), &[])];
    Ok(Plan::Define(Definition { after, ..Definition::new(format!("CREATE {kind} {} AS {query}", table.sql())) }))
}

fn insert(tokens: &[Token], rewriting: &Rewriting) -> Result<Plan, SqlError> {
    let mut cursor = Cursor::new(tokens);
    cursor.expect(&["insert", "into"])?;
    let target = cursor.relation()?;
    if cursor.is_symbol("(") && !cursor.peek_after(1).is_some_and(|token| token.is_word("select") || token.is_word("with")) {
        super::cursor::names(cursor.clone().group()?)?;
    }
    refuse::change(tokens)?;
    let sql = render(&expressions(tokens, rewriting)?);
    Ok(Plan::Change { target, before: Vec::new(), statements: vec![sql] })
}

fn update(main: &[Token], tokens: &[Token], rewriting: &Rewriting) -> Result<Plan, SqlError> {
    let mut cursor = Cursor::new(main);
    cursor.expect(&["update"])?;
    let target = cursor.relation()?;
    refuse::change(tokens)?;
    let sql = render(&expressions(tokens, rewriting)?);
    Ok(Plan::Change { target, before: Vec::new(), statements: vec![sql] })
}

/// DELETE may leave out FROM.
fn delete(tokens: &[Token], index: usize, rewriting: &Rewriting) -> Result<Plan, SqlError> {
    let mut cursor = Cursor::new(tokens.get(index..).unwrap_or_default());
    cursor.expect(&["delete"])?;
    let mut tokens = tokens.to_vec();
    if !cursor.accept(&["from"]) {
        tokens.insert(index + 1, Token::word("from"));
    }
    let target = cursor.relation()?;
    refuse::change(&tokens)?;
    let sql = render(&expressions(&tokens, rewriting)?);
    Ok(Plan::Change { target, before: Vec::new(), statements: vec![sql] })
}

fn truncate(cursor: &mut Cursor<'_>) -> Result<Plan, SqlError> {
    cursor.accept(&["table"]);
    let table = cursor.relation()?;
    cursor.expect_end()?;
    Ok(Plan::Truncate { table })
}

fn lock(cursor: &mut Cursor<'_>) -> Result<Plan, SqlError> {
    cursor.accept(&["table"]);
    let mut tables = vec![cursor.relation()?];
    while cursor.accept_symbol(",") {
        tables.push(cursor.relation()?);
    }
    cursor.expect_end()?;
    Ok(Plan::Lock { tables })
}

fn explain(cursor: &mut Cursor<'_>, rewriting: &Rewriting) -> Result<Plan, SqlError> {
    let verbose = cursor.accept(&["verbose"]);
    if cursor.is_word("analyze") || cursor.is_symbol("(") && cursor.peek_after(1).is_some_and(|token| !token.is_word("select")) {
        return Err(cursor.unexpected());
    }
    let sql = match plan(cursor.rest(), rewriting)? {
        Plan::Query { sql } => sql,
        Plan::Change { statements, .. } if statements.len() == 1 => statements.into_iter().next().unwrap_or_default(),
        _ => return Err(cursor.unexpected()),
    };
    Ok(Plan::Query { sql: format!("EXPLAIN {}{sql}", if verbose { "VERBOSE " } else { "" }) })
}

fn create(cursor: &mut Cursor<'_>, tokens: &[Token], rewriting: &Rewriting) -> Result<Plan, SqlError> {
    let replace = cursor.accept(&["or", "replace"]);
    if cursor.accept(&["view"]) {
        return view::create(cursor, replace, rewriting);
    }
    if cursor.accept(&["materialized", "view"]) && !replace {
        return view::create_materialized(cursor, rewriting);
    }
    let table = ["table", "local", "temp", "temporary"].iter().any(|word| cursor.is_word(word));
    if table && !replace {
        return table::create(cursor, rewriting);
    }
    object::create(cursor, tokens, replace)
}

#[cfg(test)]
mod tests {
    use super::super::token::{Reading, tokenize};
    use super::*;

    pub(crate) fn planned(text: &str) -> Result<Plan, SqlError> {
        plan(&tokenize(text, Reading::default()).unwrap(), &Rewriting::default())
    }

    #[test]
    fn queries_and_changes_are_told_apart() {
        assert!(matches!(planned("select 1").unwrap(), Plan::Query { .. }));
        assert!(matches!(planned("(select 1) union (select 2)").unwrap(), Plan::Query { .. }));
        assert!(matches!(planned("with a as (select 1) select * from a").unwrap(), Plan::Query { .. }));
        assert!(matches!(planned("with a as (select 1 as i) delete from t using a where t.i = a.i").unwrap(), Plan::Change { .. }));
        assert!(matches!(planned("select a into #t from u").unwrap(), Plan::Define(_)));
        assert!(planned("with a as (select 1) insert into t select * from a").is_err());
        assert!(
            planned("with a as (select 1) merge into t using a on true when matched then delete when not matched then insert values (1)")
                .is_err()
        );
        assert!(planned("values (1)").is_err());
    }

    #[test]
    fn delete_needs_no_from() {
        let Plan::Change { statements, target, .. } = planned("delete mart.t where a = 1").unwrap() else { panic!() };
        assert_eq!(statements, ["delete from mart . t where a = 1"]);
        assert_eq!(target.to_string(), "mart.t");
    }

    #[test]
    fn statements_of_postgres_alone_are_refused() {
        for text in [
            "create index i on t (a)",
            "create unique index i on t (a)",
            "create sequence s",
            "create trigger g before insert on t for each row execute function f()",
            "create rule r as on insert to t do nothing",
            "create type mood as enum ('a')",
            "create domain d as int",
            "create extension postgis",
            "savepoint a",
            "rollback to savepoint a",
            "release savepoint a",
            "create policy p on t",
            "reindex table t",
            "listen a",
            "do $$ begin end $$",
            "table t",
            "insert into t (tag) values (1)",
            "truncate a, b",
            "explain analyze select 1",
            "copy t from stdin",
            "create table t partition of u for values in (1)",
        ] {
            assert!(planned(text).is_err(), "{text}");
        }
    }

    #[test]
    fn lock_names_its_tables() {
        let Plan::Lock { tables } = planned("lock ops.ledger, mart.t").unwrap() else { panic!() };
        assert_eq!(tables.len(), 2);
    }
}
