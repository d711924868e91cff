//! Schemas, roles, grants, comments, maintenance: the statements around tables.

use super::alter;
use super::cursor::Cursor;
use super::error::SqlError;
use super::name::{literal, quote, stored};
use super::plan::{Definition, Plan};
use super::rewrite::{Rewriting, render};
use super::token::Token;

fn define(sql: String) -> Plan {
    Plan::Define(Definition::new(sql))
}

/// CREATE of anything but tables and views.
pub(crate) fn create(cursor: &mut Cursor<'_>, tokens: &[Token], replace: bool) -> Result<Plan, SqlError> {
    if replace {
        return Err(if cursor.is_word("function") || cursor.is_word("procedure") {
            SqlError::beyond_double("functions and procedures")
        } else {
            cursor.unexpected()
        });
    }
    if cursor.accept(&["schema"]) {
        let absent = if cursor.accept(&["if", "not", "exists"]) { "IF NOT EXISTS " } else { "" };
        let schema = cursor.name()?;
        let owner = if cursor.accept(&["authorization"]) { format!(" AUTHORIZATION {}", quote(&cursor.name()?)) } else { String::new() };
        if cursor.accept(&["quota"]) {
            while !cursor.at_end() {
                cursor.take()?;
            }
        }
        cursor.expect_end()?;
        return Ok(define(format!("CREATE SCHEMA {absent}{}{owner}", quote(&schema))));
    }
    if cursor.accept(&["role"]) || cursor.accept(&["group"]) {
        let role = cursor.name()?;
        cursor.expect_end()?;
        return Ok(define(format!("CREATE ROLE {}", quote(&role))));
    }
    if cursor.accept(&["user"]) {
        let user = cursor.name()?;
        cursor.accept(&["with"]);
        cursor.expect(&["password"])?;
        if !cursor.accept(&["disable"]) {
            cursor.text()?;
        }
        cursor.expect_end()?;
        return Ok(define(format!("CREATE ROLE {} LOGIN", quote(&user))));
    }
    if cursor.is_word("database") || cursor.is_words(&["external", "table"]) || cursor.is_word("library") || cursor.is_word("tablespace") {
        return alone("CREATE", cursor);
    }
    if ["function", "procedure", "external", "datashare", "model", "rls", "masking", "identity"].iter().any(|word| cursor.is_word(word)) {
        return Err(SqlError::beyond_double(&format!("CREATE {}", cursor.peek().map_or("", Token::near).to_uppercase())));
    }
    if [
        "index",
        "unique",
        "trigger",
        "sequence",
        "rule",
        "type",
        "domain",
        "extension",
        "policy",
        "aggregate",
        "operator",
        "cast",
        "event",
        "publication",
        "statistics",
    ]
    .iter()
    .any(|word| cursor.is_word(word))
    {
        return Err(SqlError::unsupported(format!("SQL command \"{}\" not supported on Redshift tables.", render(tokens))));
    }
    Err(cursor.unexpected())
}

/// What Redshift runs outside transactions only, and the double not at all.
fn alone(verb: &str, cursor: &Cursor<'_>) -> Result<Plan, SqlError> {
    let object = cursor
        .rest()
        .iter()
        .take_while(|token| ["database", "external", "table", "library", "tablespace"].iter().any(|word| token.is_word(word)));
    let what = format!("{verb} {}", object.map(Token::near).collect::<Vec<_>>().join(" ").to_uppercase());
    let absent = SqlError::beyond_double(&what);
    let raise = format!("SELECT _redshift.raise({}, {})", literal(&absent.code), literal(&absent.message));
    Ok(Plan::Alone { statements: vec![raise], refusal: format!("{what} cannot run inside a transaction block") })
}

/// ALTER, after that word.
pub(crate) fn alter(cursor: &mut Cursor<'_>, rewriting: &Rewriting) -> Result<Plan, SqlError> {
    if cursor.accept(&["table"]) {
        return alter::alter(cursor, rewriting);
    }
    if cursor.accept(&["schema"]) {
        let schema = cursor.name()?;
        let renamed = cursor.accept(&["rename", "to"]);
        if !renamed {
            cursor.expect(&["owner", "to"])?;
        }
        let to = cursor.name()?;
        cursor.expect_end()?;
        return Ok(define(format!("ALTER SCHEMA {} {} TO {}", quote(&schema), if renamed { "RENAME" } else { "OWNER" }, quote(&to))));
    }
    if cursor.accept(&["default", "privileges"]) {
        let rest = roles(cursor.rest());
        return Ok(define(format!("ALTER DEFAULT PRIVILEGES {}", render(&rest))));
    }
    if cursor.is_word("database") || cursor.is_words(&["external", "table"]) {
        return alone("ALTER", cursor);
    }
    if ["datashare", "user", "group", "role", "materialized", "view", "function", "procedure", "rls", "masking", "external", "system"]
        .iter()
        .any(|word| cursor.is_word(word))
    {
        return Err(SqlError::beyond_double(&format!("ALTER {}", cursor.peek().map_or("", Token::near).to_uppercase())));
    }
    Err(cursor.unexpected())
}

/// DROP, after that word.
pub(crate) fn drop(cursor: &mut Cursor<'_>) -> Result<Plan, SqlError> {
    if cursor.is_word("database") || cursor.is_words(&["external", "table"]) || cursor.is_word("library") || cursor.is_word("tablespace") {
        return alone("DROP", cursor);
    }
    let kind = if cursor.accept(&["table"]) {
        "TABLE"
    } else if cursor.accept(&["materialized", "view"]) {
        "MATERIALIZED VIEW"
    } else if cursor.accept(&["view"]) {
        "VIEW"
    } else if cursor.accept(&["schema"]) {
        "SCHEMA"
    } else if cursor.accept(&["role"]) || cursor.accept(&["user"]) || cursor.accept(&["group"]) {
        "ROLE"
    } else {
        return Err(cursor.unexpected());
    };
    let exists = cursor.accept(&["if", "exists"]);
    let mut names = vec![cursor.relation()?];
    while cursor.accept_symbol(",") {
        names.push(cursor.relation()?);
    }
    let behaviour = if cursor.accept(&["cascade"]) {
        " CASCADE"
    } else {
        cursor.accept(&["restrict"]);
        ""
    };
    cursor.expect_end()?;
    if kind == "VIEW" {
        let views = names.iter().map(|view| {
            let schema = view.schema.clone().unwrap_or_else(|| "public".to_owned());
            format!(
                "SELECT _redshift.drop_view({}, {}, {}, {exists}, {})",
                literal(&stored(&schema)),
                literal(&stored(&view.name)),
                view.literal(),
                !behaviour.is_empty()
            )
        });
        return Ok(define(views.collect::<Vec<_>>().join("; ")));
    }
    let listed = names.iter().map(super::name::RelationName::sql).collect::<Vec<_>>().join(", ");
    let sql = format!("DROP {kind} {}{listed}{behaviour}", if exists { "IF EXISTS " } else { "" });
    // Late-binding views go with their schema.
    let after = if kind == "SCHEMA" {
        vec!["DELETE FROM _redshift.late_views WHERE to_regnamespace(quote_ident(schema_name)) IS NULL".to_owned()]
    } else {
        Vec::new()
    };
    Ok(Plan::Define(Definition { after, ..Definition::new(sql) }))
}

/// ANALYZE, after that word. `ANALYZE COMPRESSION` is a report the double cannot give.
pub(crate) fn analyze(cursor: &mut Cursor<'_>) -> Result<Plan, SqlError> {
    if cursor.is_word("compression") {
        return Err(SqlError::beyond_double("ANALYZE COMPRESSION"));
    }
    cursor.accept(&["verbose"]);
    if cursor.at_end() {
        return Ok(define("ANALYZE".to_owned()));
    }
    let table = cursor.relation()?;
    if cursor.is_symbol("(") {
        super::cursor::names(cursor.group()?)?;
    } else if !cursor.accept(&["predicate", "columns"]) {
        cursor.accept(&["all", "columns"]);
    }
    cursor.expect_end()?;
    Ok(define(format!("ANALYZE {}", table.sql())))
}

/// VACUUM, after that word.
pub(crate) fn vacuum(cursor: &mut Cursor<'_>) -> Result<Plan, SqlError> {
    let kinds: [&[&str]; 5] = [&["full"], &["sort", "only"], &["delete", "only"], &["reindex"], &["recluster"]];
    let _kind = kinds.iter().find(|kind| cursor.accept(kind));
    let refusal = "VACUUM cannot run inside a transaction block".to_owned();
    if cursor.at_end() {
        return Ok(Plan::Outside { sql: "VACUUM".to_owned(), refusal });
    }
    let table = cursor.relation()?;
    if cursor.accept(&["to"]) {
        cursor.number()?;
        cursor.expect(&["percent"])?;
    }
    cursor.accept(&["boost"]);
    cursor.expect_end()?;
    Ok(Plan::Outside { sql: format!("VACUUM {}", table.sql()), refusal })
}

/// COMMENT ON TABLE, COLUMN, VIEW, SCHEMA, DATABASE, CONSTRAINT.
pub(crate) fn comment(cursor: &mut Cursor<'_>, tokens: &[Token]) -> Result<Plan, SqlError> {
    cursor.expect(&["on"])?;
    if !["table", "column", "view", "schema", "database"].iter().any(|word| cursor.is_word(word)) {
        return Err(if cursor.is_word("constraint") { SqlError::beyond_double("comments on constraints") } else { cursor.unexpected() });
    }
    Ok(define(render(tokens)))
}

/// Privileges PostgreSQL has as well.
const PRIVILEGES: [&str; 10] = ["select", "insert", "update", "delete", "references", "usage", "create", "temporary", "temp", "all"];

/// GRANT and REVOKE, after the first word.
pub(crate) fn grant(cursor: &mut Cursor<'_>, verb: &str) -> Result<Plan, SqlError> {
    if cursor.accept(&["role"]) {
        let role = cursor.name()?;
        let link = if verb == "grant" { "to" } else { "from" };
        cursor.expect(&[link])?;
        let member = roles(cursor.rest());
        return Ok(define(format!("{verb} {} {link} {}", quote(&role), render(&member))));
    }
    let Some(Token::Word(privilege)) = cursor.peek() else { return Err(cursor.unexpected()) };
    let option = cursor.is_words(&["grant", "option", "for"]);
    if !option && !PRIVILEGES.contains(&privilege.as_str()) {
        return Err(SqlError::beyond_double(&format!("{} {}", verb.to_uppercase(), privilege.to_uppercase())));
    }
    if cursor.rest().windows(2).any(|pair| matches!(pair, [on, object] if on.is_word("on") && ["datashare", "model", "language", "function", "procedure"].iter().any(|word| object.is_word(word)))) {
        return Err(SqlError::beyond_double("grants on datashares, models, languages, functions and procedures"));
    }
    Ok(define(format!("{verb} {}", render(&roles(cursor.rest())))))
}

/// `ROLE r` is `r` in PostgreSQL.
fn roles(tokens: &[Token]) -> Vec<Token> {
    tokens.iter().filter(|token| !token.is_word("role")).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::super::token::{Reading, tokenize};
    use super::*;

    fn planned(text: &str) -> Result<Plan, SqlError> {
        super::super::plan::plan(&tokenize(text, Reading::default()).unwrap(), &Rewriting::default())
    }

    fn defined(text: &str) -> String {
        match planned(text).unwrap() {
            Plan::Define(definition) => definition.sql,
            other => panic!("not a definition: {other:?}"),
        }
    }

    #[test]
    fn grants_to_roles_are_put_in_postgres_words() {
        assert_eq!(defined("grant usage on schema mart to role analyst"), "grant usage on schema mart to analyst");
        assert_eq!(
            defined("grant select on all tables in schema mart to group readers"),
            "grant select on all tables in schema mart to group readers"
        );
        assert_eq!(defined("grant role analyst to bob"), "grant \"analyst\" to bob");
        assert!(planned("grant assumerole on default to bob for copy").is_err());
        assert!(planned("grant usage on datashare d to namespace 'x'").is_err());
    }

    #[test]
    fn what_runs_alone_says_so() {
        assert!(matches!(planned("vacuum full mart.t to 99 percent").unwrap(), Plan::Outside { .. }));
        let Plan::Alone { refusal, .. } = planned("create database other").unwrap() else { panic!() };
        assert_eq!(refusal, "CREATE DATABASE cannot run inside a transaction block");
        assert!(matches!(planned("drop external table s.t").unwrap(), Plan::Alone { .. }));
    }

    #[test]
    fn schemas_tables_and_comments() {
        assert_eq!(defined("create schema if not exists mart quota unlimited"), "CREATE SCHEMA IF NOT EXISTS \"mart\"");
        assert_eq!(defined("drop table if exists mart.t, u cascade"), "DROP TABLE IF EXISTS \"mart\".\"t\", \"u\" CASCADE");
        assert_eq!(defined("comment on column mart.t.a is 'it''s'"), "comment on column mart . t . a is 'it''s'");
        assert_eq!(defined("analyze mart.t predicate columns"), "ANALYZE \"mart\".\"t\"");
        assert!(planned("analyze compression t").is_err());
        assert!(planned("drop index i").is_err());
    }
}
