//! MERGE with Redshift's grammar: both clauses once each and in order, no conditions, no alias on the target.

use super::cursor::Cursor;
use super::error::SqlError;
use super::name::RelationName;
use super::plan::Plan;
use super::rewrite::{Rewriting, expressions, render};
use super::token::Token;

/// MERGE, after that word.
pub(crate) fn merge(cursor: &mut Cursor<'_>, rewriting: &Rewriting) -> Result<Plan, SqlError> {
    refuse_partial_super(cursor.rest(), rewriting)?;
    cursor.expect(&["into"])?;
    let target = cursor.relation()?;
    cursor.expect(&["using"])?;
    let source = Source::parse(cursor, &target)?;
    cursor.expect(&["on"])?;
    let condition = cursor.until(&["when", "remove"])?.to_vec();
    if condition.is_empty() {
        return Err(cursor.unexpected());
    }
    let on = render(&expressions(&condition, rewriting)?);
    let source_sql = source.sql(rewriting)?;
    let mut before = Vec::new();
    if let Source::Relation { name, .. } = &source {
        before.push(format!("SELECT _redshift.check_merge_source({}::regclass, {}::regclass)", name.literal(), target.literal()));
    }
    if cursor.accept(&["remove", "duplicates"]) {
        cursor.expect_end()?;
        return Ok(remove_duplicates(target, &source_sql, &on, &source.label(), before));
    }
    let matched = matched(cursor, rewriting)?;
    let not_matched = not_matched(cursor, rewriting)?;
    cursor.expect_end()?;
    let sql =
        format!("MERGE INTO {} USING {source_sql} ON {on} WHEN MATCHED THEN {matched} WHEN NOT MATCHED THEN {not_matched}", target.sql());
    Ok(Plan::Change { target, before, statements: vec![sql] })
}

enum Source {
    Relation { name: RelationName, alias: Option<String> },
    Query { query: Vec<Token>, alias: Option<String> },
}

impl Source {
    fn parse(cursor: &mut Cursor<'_>, target: &RelationName) -> Result<Self, SqlError> {
        if cursor.is_symbol("(") {
            let query = cursor.group()?.to_vec();
            let names_target = query.iter().any(|token| matches!(token, Token::Word(word) | Token::Quoted(word) if *word == target.name));
            if names_target {
                return Err(reads_target());
            }
            super::refuse::query(&query)?;
            return Ok(Self::Query { query, alias: alias(cursor)? });
        }
        let name = cursor.relation()?;
        if name == *target {
            return Err(SqlError::unsupported("Source table and target table in MERGE cannot be the same."));
        }
        Ok(Self::Relation { name, alias: alias(cursor)? })
    }

    fn sql(&self, rewriting: &Rewriting) -> Result<String, SqlError> {
        Ok(match self {
            Self::Relation { name, alias: None } => name.sql(),
            Self::Relation { name, alias: Some(alias) } => format!("{} AS {}", name.sql(), super::name::quote(alias)),
            Self::Query { query, .. } => format!("({}) AS {}", render(&expressions(query, rewriting)?), self.label()),
        })
    }

    fn label(&self) -> String {
        match self {
            Self::Relation { alias: Some(alias), .. } | Self::Query { alias: Some(alias), .. } => super::name::quote(alias),
            Self::Relation { name, alias: None } => super::name::quote(&name.name),
            Self::Query { alias: None, .. } => "\"merge source\"".to_owned(),
        }
    }
}

fn reads_target() -> SqlError {
    SqlError::unsupported("Source view/subquery in Merge statement cannot reference target table.")
}

fn alias(cursor: &mut Cursor<'_>) -> Result<Option<String>, SqlError> {
    if cursor.accept(&["as"]) || !cursor.is_word("on") {
        return Ok(Some(cursor.name()?));
    }
    Ok(None)
}

fn matched(cursor: &mut Cursor<'_>, rewriting: &Rewriting) -> Result<String, SqlError> {
    cursor.expect(&["when", "matched", "then"])?;
    if cursor.accept(&["delete"]) {
        return Ok("DELETE".to_owned());
    }
    cursor.expect(&["update", "set"])?;
    let assignments = cursor.until(&["when"])?;
    for assignment in super::cursor::list(assignments) {
        if !assignment.get(1).is_some_and(|token| token.is_symbol("=")) {
            return Err(SqlError::syntax(assignment.get(1).or(assignment.first()).map_or(",", Token::near)));
        }
    }
    super::refuse::query(assignments)?;
    Ok(format!("UPDATE SET {}", render(&expressions(assignments, rewriting)?)))
}

fn not_matched(cursor: &mut Cursor<'_>, rewriting: &Rewriting) -> Result<String, SqlError> {
    // Missing here means a MERGE with one clause only.
    cursor.expect(&["when", "not", "matched", "then", "insert"])?;
    let mut columns = String::new();
    if cursor.is_symbol("(") {
        let named = super::cursor::names(cursor.group()?)?;
        columns = format!(" ({})", named.iter().map(|column| super::name::quote(column)).collect::<Vec<_>>().join(", "));
    }
    cursor.expect(&["values"])?;
    let values = cursor.group()?;
    super::refuse::query(values)?;
    Ok(format!("INSERT{columns} VALUES ({})", render(&expressions(values, rewriting)?)))
}

/// Matching target rows give way to the source's: of several equal target rows one remains.
fn remove_duplicates(target: RelationName, source: &str, on: &str, label: &str, mut before: Vec<String>) -> Plan {
    let sql = target.sql();
    before.push(format!(
        "SELECT _redshift.refuse_multiple_matches(EXISTS (SELECT 1 FROM {sql} JOIN {source} ON {on} GROUP BY {sql}.ctid HAVING count(*) > 1))"
    ));
    let statements = vec![
        format!("CREATE TEMP TABLE \"_redshift merge\" ON COMMIT DROP AS SELECT {label}.* FROM {source}"),
        format!("DELETE FROM {sql} USING {source} WHERE {on}"),
        format!("INSERT INTO {sql} SELECT * FROM \"_redshift merge\""),
        "DROP TABLE \"_redshift merge\"".to_owned(),
    ];
    Plan::Change { target, before, statements }
}

fn refuse_partial_super(tokens: &[Token], rewriting: &Rewriting) -> Result<(), SqlError> {
    let partial = tokens.windows(2).any(|pair| match pair {
        [Token::Word(column) | Token::Quoted(column), step] => {
            rewriting.super_columns.contains(column) && (step.is_symbol(".") || step.is_symbol("["))
        }
        _ => false,
    });
    if partial { Err(SqlError::unsupported("Partial reference of SUPER column is not supported in MERGE statement.")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::super::token::{Reading, tokenize};
    use super::*;

    fn merged(text: &str) -> Result<Plan, SqlError> {
        let tokens = tokenize(text, Reading::default()).unwrap();
        let mut cursor = Cursor::new(&tokens);
        cursor.expect(&["merge"])?;
        merge(&mut cursor, &Rewriting { super_columns: vec!["payload".to_owned()] })
    }

    #[test]
    fn the_documented_form_passes() {
        let plan = merged("merge into mart.t using stage s on mart.t.id = s.id when matched then update set a = s.a, b = s.b when not matched then insert (id, a, b) values (s.id, s.a, s.b)").unwrap();
        let Plan::Change { target, statements, .. } = plan else { panic!() };
        assert_eq!(target.name, "t");
        assert_eq!(
            statements,
            [
                "MERGE INTO \"mart\".\"t\" USING \"stage\" AS \"s\" ON mart . t . id = s . id WHEN MATCHED THEN UPDATE SET a = s . a , b = s . b WHEN NOT MATCHED THEN INSERT (\"id\", \"a\", \"b\") VALUES (s . id , s . a , s . b)"
            ]
        );
        assert!(merged("merge into t using (select id, a from u) s on t.id = s.id when matched then delete when not matched then insert values (s.id, s.a)").is_ok());
        assert!(merged("merge into t using s on t.id = s.id remove duplicates").is_ok());
    }

    #[test]
    fn everything_else_is_refused() {
        let tail = "when matched then update set a = s.a when not matched then insert values (s.id, s.a)";
        for text in [
            format!("merge into t as x using s on x.id = s.id {tail}"),
            format!("merge into t x using s on x.id = s.id {tail}"),
            "merge into t using s on t.id = s.id when matched then update set a = s.a".to_owned(),
            "merge into t using s on t.id = s.id when not matched then insert values (s.id, s.a)".to_owned(),
            "merge into t using s on t.id = s.id when not matched then insert values (s.id, s.a) when matched then delete".to_owned(),
            "merge into t using s on t.id = s.id when matched and s.a > 1 then delete when not matched then insert values (s.id)"
                .to_owned(),
            "merge into t using s on t.id = s.id when matched then delete when not matched and s.a > 1 then insert values (s.id)"
                .to_owned(),
            "merge into t using s on t.id = s.id when matched then do nothing when not matched then insert values (s.id)".to_owned(),
            "merge into t using s on t.id = s.id when matched then update set t.a = s.a when not matched then insert values (s.id)"
                .to_owned(),
            "merge into t using s on t.id = s.id when matched then delete when not matched by source then delete".to_owned(),
            format!("merge into t using t on t.id = t.id {tail}"),
            format!("merge into t using (select * from t) s on t.id = s.id {tail}"),
            "merge into t using s on t.id = s.id when matched then update set a = s.payload.x when not matched then insert values (s.id)"
                .to_owned(),
            format!("merge into t using s on t.id = s.id {tail} when matched then delete"),
        ] {
            assert!(merged(&text).is_err(), "{text}");
        }
    }
}
