//! Views: bound, late-binding and materialized.

use super::attributes::Attributes;
use super::cursor::{Cursor, names};
use super::error::SqlError;
use super::name::{RelationName, literal, quote, stored};
use super::plan::{Definition, Plan, query_sql};
use super::rewrite::{Rewriting, render};
use super::table;
use super::token::Token;

const LATE: [&str; 4] = ["with", "no", "schema", "binding"];

/// CREATE [OR REPLACE] VIEW, after those words.
pub(crate) fn create(cursor: &mut Cursor<'_>, replace: bool, rewriting: &Rewriting) -> Result<Plan, SqlError> {
    let view = cursor.relation()?;
    let columns = if cursor.is_symbol("(") { names(cursor.group()?)? } else { Vec::new() };
    cursor.expect(&["as"])?;
    let mut query = cursor.rest();
    let late = query.len() > LATE.len() && query.iter().rev().zip(LATE.iter().rev()).all(|(token, word)| token.is_word(word));
    if late {
        query = query.get(..query.len() - LATE.len()).unwrap_or_default();
    }
    let sql = query_sql(query, rewriting)?;
    if late {
        if !columns.is_empty() {
            return Err(SqlError::beyond_double("column names of a late-binding view"));
        }
        require_schemas(query)?;
        let schema = view.schema.clone().unwrap_or_else(|| "public".to_owned());
        let create = format!(
            "SELECT _redshift.create_late_view({}, {}, {}, {replace})",
            literal(&stored(&schema)),
            literal(&stored(&view.name)),
            literal(&render(query))
        );
        return Ok(Plan::Define(Definition::new(create)));
    }
    let listed = if columns.is_empty() {
        String::new()
    } else {
        format!(" ({})", columns.iter().map(|column| quote(column)).collect::<Vec<_>>().join(", "))
    };
    let head = if replace { "CREATE OR REPLACE VIEW" } else { "CREATE VIEW" };
    let before = vec![format!("SELECT _redshift.remember_view({})", view.literal())];
    let after = vec![format!("SELECT _redshift.check_view({})", view.literal())];
    Ok(Plan::Define(Definition { before, sql: format!("{head} {}{listed} AS {sql}", view.sql()), after }))
}

/// A late-binding view's relations must be written with their schema.
fn require_schemas(query: &[Token]) -> Result<(), SqlError> {
    let defined: Vec<&Token> = query
        .windows(3)
        .filter_map(
            |three| if let [name, as_word, open] = three { (as_word.is_word("as") && open.is_symbol("(")).then_some(name) } else { None },
        )
        .collect();
    for (index, token) in query.iter().enumerate() {
        if !token.is_word("from") && !token.is_word("join") {
            continue;
        }
        let Some(relation @ (Token::Word(name) | Token::Quoted(name))) = query.get(index + 1) else { continue };
        let qualified = query.get(index + 2).is_some_and(|next| next.is_symbol("."));
        let call = query.get(index + 2).is_some_and(|next| next.is_symbol("("));
        let extract = index >= 2 && query.get(index - 2).is_some_and(|open| open.is_symbol("("));
        if !qualified && !call && !extract && !defined.contains(&relation) && !relation.is_word("select") {
            return Err(SqlError::new(
                "42601",
                format!("relation \"{name}\" must be qualified with a schema in a view with no schema binding"),
            ));
        }
    }
    Ok(())
}

/// CREATE MATERIALIZED VIEW, after those words.
pub(crate) fn create_materialized(cursor: &mut Cursor<'_>, rewriting: &Rewriting) -> Result<Plan, SqlError> {
    let view = cursor.relation()?;
    let mut attributes = Attributes::default();
    loop {
        if cursor.accept(&["auto", "refresh"]) {
            if !cursor.accept(&["yes"]) && !cursor.accept(&["no"]) {
                return Err(cursor.unexpected());
            }
        } else if !attributes.parse(cursor)? {
            break;
        }
    }
    cursor.expect(&["as"])?;
    let query = cursor.rest();
    let last = query.iter().rev().take(2).collect::<Vec<_>>();
    if matches!(last.as_slice(), [data, _] if data.is_word("data")) {
        return Err(SqlError::syntax("with"));
    }
    let mut depth = 0_usize;
    for token in query {
        if token.is_symbol("(") {
            depth += 1;
        } else if token.is_symbol(")") {
            depth = depth.saturating_sub(1);
        } else if depth == 0 && ["order", "limit", "offset"].iter().any(|word| token.is_word(word)) {
            return Err(SqlError::unsupported("ORDER BY, LIMIT and OFFSET are not supported in materialized views"));
        }
    }
    let sql = format!("CREATE MATERIALIZED VIEW {} AS {}", view.sql(), query_sql(query, rewriting)?);
    let after = vec![remember(&view, &attributes)];
    Ok(Plan::Define(Definition { after, ..Definition::new(sql) }))
}

fn remember(view: &RelationName, attributes: &Attributes) -> String {
    table::adopt(view, &attributes.remembered(), &[])
}

/// REFRESH, after that word.
pub(crate) fn refresh(cursor: &mut Cursor<'_>) -> Result<Plan, SqlError> {
    cursor.expect(&["materialized", "view"])?;
    let view = cursor.relation()?;
    if !cursor.accept(&["restrict"]) {
        cursor.accept(&["cascade"]);
    }
    cursor.expect_end()?;
    Ok(Plan::Define(Definition::new(format!("REFRESH MATERIALIZED VIEW {}", view.sql()))))
}

/// Puts late-binding views' queries where their names stand. `views` holds schema, name and query tokens.
pub(crate) fn expand(tokens: &[Token], views: &[(String, String, Vec<Token>)]) -> Result<Vec<Token>, SqlError> {
    expand_within(tokens, views, 0)
}

/// How deep late-binding views may stand on each other; a cycle is found by it.
const DEPTH_MAX: usize = 16;

fn expand_within(tokens: &[Token], views: &[(String, String, Vec<Token>)], depth: usize) -> Result<Vec<Token>, SqlError> {
    if depth > DEPTH_MAX {
        return Err(SqlError::new("42P17", "infinite recursion detected in late binding views"));
    }
    let mut out = Vec::with_capacity(tokens.len());
    let mut index = 0;
    while let Some(token) = tokens.get(index) {
        let relation = out.last().is_some_and(|before: &Token| before.is_word("from") || before.is_word("join") || before.is_symbol(","));
        let (used, name) = match (token, tokens.get(index + 1), tokens.get(index + 2)) {
            (Token::Word(schema) | Token::Quoted(schema), Some(dot), Some(Token::Word(name) | Token::Quoted(name)))
                if dot.is_symbol(".") =>
            {
                (3, Some((schema.as_str(), name.as_str())))
            }
            (Token::Word(name) | Token::Quoted(name), _, _) => (1, Some(("public", name.as_str()))),
            _ => (1, None),
        };
        let called = tokens.get(index + used).is_some_and(|next| next.is_symbol(".") || next.is_symbol("("));
        let view = name
            .filter(|_| relation && !called)
            .and_then(|(schema, name)| views.iter().find(|view| view.0 == stored(schema) && view.1 == stored(name)));
        let Some((_, name, query)) = view else {
            out.push(token.clone());
            index += 1;
            continue;
        };
        out.push(Token::symbol("("));
        out.extend(expand_within(query, views, depth + 1)?);
        out.push(Token::symbol(")"));
        index += used;
        let aliased = matches!(tokens.get(index), Some(Token::Quoted(_)))
            || matches!(tokens.get(index), Some(Token::Word(word)) if word == "as" || !super::name::is_reserved(word));
        if !aliased {
            out.push(Token::word("as"));
            out.push(Token::Quoted(name.clone()));
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::super::token::{Reading, tokenize};
    use super::*;

    fn tokens(text: &str) -> Vec<Token> {
        tokenize(text, Reading::default()).unwrap()
    }

    fn planned(text: &str) -> Result<Plan, SqlError> {
        super::super::plan::plan(&tokens(text), &Rewriting::default())
    }

    #[test]
    fn late_binding_views_are_kept_as_text_and_need_schemas() {
        let Plan::Define(definition) = planned("create or replace view mart.v as select a from mart.t with no schema binding").unwrap()
        else {
            panic!()
        };
        assert_eq!(definition.sql, "SELECT _redshift.create_late_view('mart', 'v', 'select a from mart . t', true)");
        assert!(planned("create view mart.v as select a from t with no schema binding").is_err());
        assert!(planned("create view mart.v as with c as (select 1 as a) select a from c with no schema binding").is_ok());
    }

    #[test]
    fn late_binding_views_are_put_where_their_names_stand() {
        let views = vec![("mart".to_owned(), "v".to_owned(), tokens("select a from mart.t"))];
        assert_eq!(
            render(&expand(&tokens("select * from mart.v where a = 1"), &views).unwrap()),
            "select * from ( select a from mart . t ) as \"v\" where a = 1"
        );
        assert_eq!(render(&expand(&tokens("select x.a from mart.v x"), &views).unwrap()), "select x . a from ( select a from mart . t ) x");
        let cycle = vec![("mart".to_owned(), "v".to_owned(), tokens("select a from mart.v"))];
        assert!(expand(&tokens("select * from mart.v"), &cycle).is_err());
    }

    #[test]
    fn bound_views_compare_their_columns() {
        let Plan::Define(definition) = planned("create or replace view mart.v as select 1 as a").unwrap() else { panic!() };
        assert_eq!(definition.after, ["SELECT _redshift.check_view('\"mart\".\"v\"')"]);
    }

    #[test]
    fn materialized_views_keep_to_redshifts_grammar() {
        assert!(planned("create materialized view m diststyle all sortkey(a) auto refresh yes as select a from t").is_ok());
        for text in [
            "create materialized view m as select a from t order by a",
            "create materialized view m as select a from t limit 1",
            "create materialized view if not exists m as select a from t",
            "create materialized view m as select a from t with no data",
            "create or replace materialized view m as select 1",
            "refresh materialized view concurrently m",
        ] {
            assert!(planned(text).is_err(), "{text}");
        }
    }
}
