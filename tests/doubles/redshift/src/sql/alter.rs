//! ALTER TABLE: one change a statement, the few that Redshift has.

use serde_json::json;

use super::attributes::Attributes;
use super::cursor::{Cursor, names};
use super::data_type::DataType;
use super::error::SqlError;
use super::name::{RelationName, literal, quote, stored};
use super::plan::{Definition, Plan};
use super::rewrite::Rewriting;
use super::table::{self, Column};

/// ALTER TABLE, after those words.
pub(crate) fn alter(cursor: &mut Cursor<'_>, rewriting: &Rewriting) -> Result<Plan, SqlError> {
    let table = cursor.relation()?;
    let head = format!("ALTER TABLE {}", table.sql());
    if cursor.accept(&["add"]) {
        return add(cursor, &table, &head, rewriting);
    }
    if cursor.accept(&["drop"]) {
        return drop(cursor, &table, &head);
    }
    if cursor.accept(&["alter"]) {
        return alter_part(cursor, &table);
    }
    if cursor.accept(&["rename", "to"]) {
        let to = cursor.name()?;
        cursor.expect_end()?;
        return Ok(define(format!("{head} RENAME TO {}", quote(&to))));
    }
    if cursor.accept(&["rename"]) {
        cursor.accept(&["column"]);
        let from = cursor.name()?;
        cursor.expect(&["to"])?;
        let to = super::name::given_column(cursor.take()?)?;
        cursor.expect_end()?;
        let after = vec![format!(
            "SELECT _redshift.rename_column({}::regclass, {}, {})",
            table.literal(),
            literal(&stored(&from)),
            literal(&stored(&to))
        )];
        return Ok(Plan::Define(Definition {
            after,
            ..Definition::new(format!("{head} RENAME COLUMN {} TO {}", quote(&from), quote(&to)))
        }));
    }
    if cursor.accept(&["owner", "to"]) {
        let owner = cursor.name()?;
        cursor.expect_end()?;
        return Ok(define(format!("{head} OWNER TO {}", quote(&owner))));
    }
    if cursor.accept(&["append", "from"]) {
        let source = cursor.relation()?;
        if !cursor.at_end() {
            return Err(SqlError::beyond_double("IGNOREEXTRA and FILLTARGET of ALTER TABLE APPEND"));
        }
        return Ok(Plan::Alone {
            statements: vec![
                format!("INSERT INTO {} SELECT * FROM {}", table.sql(), source.sql()),
                format!("DELETE FROM {}", source.sql()),
            ],
            refusal: "ALTER TABLE APPEND cannot run inside a transaction block".to_owned(),
        });
    }
    if cursor.is_words(&["row", "level", "security"]) || cursor.is_words(&["masking"]) {
        return Err(SqlError::beyond_double("row-level security and masking"));
    }
    Err(cursor.unexpected())
}

fn define(sql: String) -> Plan {
    Plan::Define(Definition::new(sql))
}

fn add(cursor: &mut Cursor<'_>, table: &RelationName, head: &str, rewriting: &Rewriting) -> Result<Plan, SqlError> {
    let mut attempt = cursor.clone();
    if let Some((_, columns)) = table::constraint(&mut attempt)? {
        attempt.expect_end()?;
        let columns: Vec<String> = columns.iter().map(|column| stored(column)).collect();
        return Ok(define(format!(
            "SELECT _redshift.informational({}::regclass, {}::jsonb)",
            table.literal(),
            literal(&json!(columns).to_string())
        )));
    }
    cursor.accept(&["column"]);
    if cursor.is_word("if") {
        return Err(SqlError::syntax("if"));
    }
    if table::constraint(&mut cursor.clone()).is_err() || super::cursor::list(cursor.rest()).len() > 1 {
        return Err(SqlError::syntax(","));
    }
    let column = Column::parse(cursor.rest(), table)?;
    if column.distkey || column.sortkey || column.constrained || column.identity.is_some() {
        return Err(SqlError::unsupported(format!(
            "ALTER TABLE ADD COLUMN \"{}\" cannot be DISTKEY, SORTKEY, UNIQUE, PRIMARY KEY, REFERENCES or IDENTITY",
            column.name
        )));
    }
    if column.not_null && column.default.as_ref().is_none_or(|value| value.iter().any(|token| token.is_word("null"))) {
        return Err(SqlError::unsupported("ALTER TABLE ADD COLUMN defined as NOT NULL must have a non-null default expression"));
    }
    let after = vec![table::adopt(table, &json!({}), &[column.remembered()])];
    Ok(Plan::Define(Definition { after, ..Definition::new(format!("{head} ADD COLUMN {}", column.sql(rewriting)?)) }))
}

fn drop(cursor: &mut Cursor<'_>, table: &RelationName, head: &str) -> Result<Plan, SqlError> {
    if cursor.accept(&["constraint"]) {
        return Err(SqlError::beyond_double("ALTER TABLE DROP CONSTRAINT: constraints have no effect and are not kept by name"));
    }
    cursor.accept(&["column"]);
    let column = cursor.name()?;
    let cascade = cursor.accept(&["cascade"]);
    if !cascade {
        cursor.accept(&["restrict"]);
    }
    cursor.expect_end()?;
    let before = vec![format!("SELECT _redshift.check_column_drop({}::regclass, {})", table.literal(), literal(&stored(&column)))];
    let sql = format!("{head} DROP COLUMN {}{}", quote(&column), if cascade { " CASCADE" } else { "" });
    // Another column may take its name.
    let after = vec![format!("SELECT _redshift.forget_column({}::regclass, {})", table.literal(), literal(&stored(&column)))];
    Ok(Plan::Define(Definition { before, after, ..Definition::new(sql) }))
}

fn alter_part(cursor: &mut Cursor<'_>, table: &RelationName) -> Result<Plan, SqlError> {
    if cursor.accept(&["column"]) {
        let column = cursor.name()?;
        if cursor.accept(&["type"]) {
            let kind = DataType::parse(cursor, &format!("{}.{column}", table.name))?;
            cursor.expect_end()?;
            let DataType::Varchar { bytes } = kind else {
                return Err(SqlError::unsupported(format!(
                    "cannot alter column \"{column}\" to type {kind}, only the size of VARCHAR columns can be altered"
                )));
            };
            return Ok(Plan::Alone {
                statements: vec![format!(
                    "SELECT _redshift.alter_varchar({}::regclass, {}, {bytes})",
                    table.literal(),
                    literal(&stored(&column))
                )],
                refusal: "ALTER TABLE ALTER COLUMN cannot run inside a transaction block".to_owned(),
            });
        }
        if cursor.accept(&["encode"]) {
            let encoding = cursor.take()?.near().to_owned();
            cursor.expect_end()?;
            return Ok(define(format!(
                "SELECT _redshift.alter_encoding({}::regclass, {}, {})",
                table.literal(),
                literal(&stored(&column)),
                literal(&encoding)
            )));
        }
        return Err(cursor.unexpected());
    }
    let mut attributes = Attributes::default();
    let remembered = if cursor.accept(&["distkey"]) {
        json!({ "distkey": stored(&cursor.name()?) })
    } else if cursor.is_words(&["diststyle", "key", "distkey"]) {
        cursor.expect(&["diststyle", "key", "distkey"])?;
        json!({ "distkey": stored(&cursor.name()?) })
    } else if cursor.accept(&["sortkey", "none"]) || cursor.accept(&["sortkey", "auto"]) {
        json!({ "sortkey": [] })
    } else if cursor.is_symbol("(") {
        json!({ "sortkey": names(cursor.group()?)?.iter().map(|column| stored(column)).collect::<Vec<_>>() })
    } else if attributes.parse(cursor)? {
        attributes.changed()
    } else {
        return Err(cursor.unexpected());
    };
    cursor.expect_end()?;
    Ok(define(format!("SELECT _redshift.alter_attributes({}::regclass, {}::jsonb)", table.literal(), literal(&remembered.to_string()))))
}

#[cfg(test)]
mod tests {
    use super::super::token::{Reading, tokenize};
    use super::*;

    fn altered(text: &str) -> Result<Plan, SqlError> {
        let tokens = tokenize(text, Reading::default()).unwrap();
        let mut cursor = Cursor::new(&tokens);
        cursor.expect(&["alter", "table"])?;
        alter(&mut cursor, &Rewriting::default())
    }

    #[test]
    fn one_column_is_added_at_a_time() {
        let Plan::Define(definition) = altered("alter table t add column a varchar(10) default 'x' encode lzo").unwrap() else { panic!() };
        assert_eq!(definition.sql, "ALTER TABLE \"t\" ADD COLUMN \"a\" character varying(10) DEFAULT 'x'");
        for text in [
            "alter table t add column a int, add column b int",
            "alter table t add column if not exists a int",
            "alter table t add column a int unique",
            "alter table t add column a int distkey",
            "alter table t add column a int identity(1,1)",
            "alter table t add column a int not null",
            "alter table t add column a int not null default null",
        ] {
            assert!(altered(text).is_err(), "{text}");
        }
        assert!(altered("alter table t add column a int not null default 0").is_ok());
        assert!(altered("alter table t add column a decimal(10,2)").is_ok());
    }

    #[test]
    fn only_varchars_change_their_size_and_only_alone() {
        assert!(matches!(altered("alter table t alter column a type varchar(300)").unwrap(), Plan::Alone { .. }));
        for text in [
            "alter table t alter column a type bigint",
            "alter table t alter column a drop not null",
            "alter table t alter column a set not null",
            "alter table t alter column a set default 1",
            "alter table t alter a type varchar(10)",
            "alter table t alter column a type varchar(10) using a::text",
            "alter table t drop column if exists a",
            "alter table t drop column a, drop column b",
            "alter table t enable row level security",
        ] {
            assert!(altered(text).is_err(), "{text}");
        }
    }

    #[test]
    fn keys_added_later_are_informational() {
        let Plan::Define(definition) = altered("alter table t add primary key (a)").unwrap() else { panic!() };
        assert!(definition.sql.starts_with("SELECT _redshift.informational"));
    }
}
