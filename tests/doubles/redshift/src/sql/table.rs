//! CREATE TABLE: Redshift's grammar checked, its physical attributes taken out and remembered, keys dropped because
//! Redshift does not enforce them.

use serde_json::{Value, json};

use super::attributes::{Attributes, not_a_key};
use super::cursor::{Cursor, list, names};
use super::data_type::DataType;
use super::error::SqlError;
use super::name::{self, RelationName, literal, quote};
use super::plan::{Definition, Plan};
use super::rewrite::{Rewriting, expressions, render};
use super::token::Token;

/// Developer guide, "Quotas and limits".
const COLUMNS_MAX: usize = 1600;
const ENCODINGS: &str = " raw az64 bytedict delta delta32k lzo mostly8 mostly16 mostly32 runlength text255 text32k zstd auto ";

/// A column as declared.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: DataType,
    pub(crate) default: Option<Vec<Token>>,
    /// Seed, step, and whether given values are allowed.
    pub(crate) identity: Option<(i64, i64, bool)>,
    pub(crate) encoding: Option<String>,
    pub(crate) distkey: bool,
    pub(crate) sortkey: bool,
    pub(crate) not_null: bool,
    /// UNIQUE, PRIMARY KEY or REFERENCES: informational.
    pub(crate) constrained: bool,
}

const COLUMN_WORDS: [&str; 12] =
    ["default", "identity", "generated", "encode", "distkey", "sortkey", "collate", "not", "null", "unique", "primary", "references"];

impl Column {
    /// Reads one column's definition to its end.
    pub(crate) fn parse(tokens: &[Token], table: &RelationName) -> Result<Self, SqlError> {
        let mut cursor = Cursor::new(tokens);
        let column = name::given_column(cursor.take()?)?;
        let kind = DataType::parse(&mut cursor, &format!("{}.{column}", table.name))?;
        let mut parsed = Self {
            name: column,
            kind,
            default: None,
            identity: None,
            encoding: None,
            distkey: false,
            sortkey: false,
            not_null: false,
            constrained: false,
        };
        while !cursor.at_end() {
            parsed.attribute(&mut cursor)?;
        }
        parsed.check()?;
        Ok(parsed)
    }

    fn attribute(&mut self, cursor: &mut Cursor<'_>) -> Result<(), SqlError> {
        if cursor.accept(&["default"]) {
            let value = if cursor.accept(&["null"]) { vec![Token::word("null")] } else { cursor.until(&COLUMN_WORDS)?.to_vec() };
            self.default = Some(value);
        } else if cursor.accept(&["generated", "by", "default", "as", "identity"]) {
            self.identity = Some(identity(cursor, true)?);
        } else if cursor.accept(&["identity"]) {
            self.identity = Some(identity(cursor, false)?);
        } else if cursor.accept(&["encode"]) {
            self.encoding = Some(encoding(cursor, &self.kind)?);
        } else if cursor.accept(&["distkey"]) {
            self.distkey = true;
        } else if cursor.accept(&["sortkey"]) {
            self.sortkey = true;
        } else if cursor.accept(&["collate"]) {
            if !cursor.accept(&["case_sensitive"]) && !cursor.accept(&["cs"]) {
                return Err(SqlError::beyond_double("COLLATE CASE_INSENSITIVE"));
            }
        } else if cursor.accept(&["not", "null"]) {
            self.not_null = true;
        } else if cursor.accept(&["unique"]) {
            self.constrained = true;
        } else if cursor.accept(&["primary", "key"]) {
            self.constrained = true;
            self.not_null = true;
        } else if cursor.accept(&["references"]) {
            self.constrained = true;
            cursor.relation()?;
            if cursor.is_symbol("(") {
                names(cursor.group()?)?;
            }
        } else if !cursor.accept(&["null"]) {
            return Err(cursor.unexpected());
        }
        Ok(())
    }

    fn check(&self) -> Result<(), SqlError> {
        if self.identity.is_some() && !matches!(self.kind, DataType::Integer | DataType::BigInt) {
            return Err(SqlError::unsupported(format!("Invalid IDENTITY column type for column \"{}\".", self.name)));
        }
        if (self.distkey || self.sortkey) && !self.kind.is_scalar() {
            return Err(not_a_key(&self.name));
        }
        Ok(())
    }

    /// The definition for PostgreSQL: no key, no physical attribute.
    pub(crate) fn sql(&self, rewriting: &Rewriting) -> Result<String, SqlError> {
        let mut sql = format!("{} {}", quote(&self.name), self.kind.postgres());
        if let Some(default) = &self.default {
            sql.push_str(&format!(" DEFAULT {}", render(&expressions(default, rewriting)?)));
        }
        if let Some((seed, step, given)) = self.identity {
            let always = if given { "BY DEFAULT" } else { "ALWAYS" };
            sql.push_str(&format!(" GENERATED {always} AS IDENTITY (START WITH {seed} INCREMENT BY {step})"));
        }
        if self.not_null {
            sql.push_str(" NOT NULL");
        }
        Ok(sql)
    }

    /// What PostgreSQL's catalog cannot hold.
    pub(crate) fn remembered(&self) -> Value {
        let bounded = matches!(self.kind, DataType::Varbyte { bounded: true, .. });
        let varbyte = if let DataType::Varbyte { bytes, .. } = self.kind { Some(bytes) } else { None };
        json!({
            "name": name::stored(&self.name),
            "encoding": self.encoding.clone().unwrap_or_else(|| default_encoding(&self.kind, self.sortkey).to_owned()),
            "varbyte_bytes": varbyte,
            "varbyte_bounded": bounded,
            "constrained": self.constrained,
        })
    }
}

/// Developer guide, "Compression encodings": what a column gets when none is named.
fn default_encoding(kind: &DataType, sorts: bool) -> &'static str {
    match kind {
        _ if sorts => "none",
        DataType::Boolean | DataType::Real | DataType::Double => "none",
        DataType::Char { .. } | DataType::Varchar { .. } | DataType::Varbyte { .. } => "lzo",
        DataType::Super => "zstd",
        _ => "az64",
    }
}

fn identity(cursor: &mut Cursor<'_>, given: bool) -> Result<(i64, i64, bool), SqlError> {
    cursor.expect_symbol("(")?;
    let seed = cursor.number()?;
    cursor.expect_symbol(",")?;
    let step = cursor.number()?;
    cursor.expect_symbol(")")?;
    Ok((seed, step, given))
}

fn encoding(cursor: &mut Cursor<'_>, kind: &DataType) -> Result<String, SqlError> {
    let Token::Word(word) = cursor.take()? else { return Err(cursor.unexpected()) };
    if !ENCODINGS.contains(&format!(" {word} ")) {
        return Err(SqlError::new("42601", format!("invalid encoding \"{word}\" specified for column")));
    }
    let az64 = matches!(
        kind,
        DataType::SmallInt
            | DataType::Integer
            | DataType::BigInt
            | DataType::Decimal { .. }
            | DataType::Date
            | DataType::Time
            | DataType::TimeTz
            | DataType::Timestamp
            | DataType::TimestampTz
            | DataType::Interval { .. }
    );
    let text = matches!(kind, DataType::Varchar { .. });
    if (word == "az64" && !az64) || (["text255", "text32k"].contains(&word.as_str()) && !text) {
        return Err(SqlError::new("42804", format!("invalid encoding \"{word}\" specified for column of type {kind}")));
    }
    Ok(if word == "raw" { "none".to_owned() } else { word.clone() })
}

/// A column list's table constraints: informational, but the columns must exist.
pub(crate) fn constraint(cursor: &mut Cursor<'_>) -> Result<Option<(bool, Vec<String>)>, SqlError> {
    if cursor.accept(&["constraint"]) {
        cursor.name()?;
    }
    if cursor.accept(&["primary", "key"]) {
        return Ok(Some((true, names(cursor.group()?)?)));
    }
    if cursor.accept(&["unique"]) {
        return Ok(Some((false, names(cursor.group()?)?)));
    }
    if cursor.accept(&["foreign", "key"]) {
        let columns = names(cursor.group()?)?;
        cursor.expect(&["references"])?;
        cursor.relation()?;
        if cursor.is_symbol("(") {
            names(cursor.group()?)?;
        }
        return Ok(Some((false, columns)));
    }
    Ok(None)
}

/// CREATE TABLE, after `CREATE`.
pub(crate) fn create(cursor: &mut Cursor<'_>, rewriting: &Rewriting) -> Result<Plan, SqlError> {
    cursor.accept(&["local"]);
    let temporary = cursor.accept(&["temp"]) || cursor.accept(&["temporary"]);
    cursor.expect(&["table"])?;
    let if_not_exists = cursor.accept(&["if", "not", "exists"]);
    let table = cursor.relation()?;
    let temporary = temporary || table.is_hash();
    if temporary && table.schema.is_some() {
        return Err(SqlError::new("42P16", "cannot create temporary relation in non-temporary schema"));
    }
    let head = format!(
        "CREATE {}TABLE {}{}",
        if temporary { "TEMP " } else { "" },
        if if_not_exists { "IF NOT EXISTS " } else { "" },
        table.sql()
    );
    let is_query = !cursor.is_symbol("(") || is_name_list(cursor.peek_after(2));
    if is_query { create_from_query(cursor, &table, &head, rewriting) } else { create_from_columns(cursor, &table, &head, rewriting) }
}

/// In `(a, b) AS` a comma or the end follows the first name; in a definition a type does.
fn is_name_list(second: Option<&Token>) -> bool {
    second.is_some_and(|token| token.is_symbol(",") || token.is_symbol(")"))
}

fn create_from_query(cursor: &mut Cursor<'_>, table: &RelationName, head: &str, rewriting: &Rewriting) -> Result<Plan, SqlError> {
    let mut attributes = Attributes::default();
    let columns = if cursor.is_symbol("(") { names(cursor.group()?)? } else { Vec::new() };
    attributes.parse_all(cursor)?;
    cursor.expect(&["as"])?;
    attributes.check_counts()?;
    super::refuse::table_query(cursor.rest())?;
    let query = render(&expressions(cursor.rest(), rewriting)?);
    let listed = if columns.is_empty() {
        String::new()
    } else {
        format!(" ({})", columns.iter().map(|column| quote(column)).collect::<Vec<_>>().join(", "))
    };
    Ok(Plan::Define(Definition {
        after: vec![adopt(table, &attributes.remembered(), &[])],
        ..Definition::new(format!("{head}{listed} AS {query}"))
    }))
}

fn create_from_columns(cursor: &mut Cursor<'_>, table: &RelationName, head: &str, rewriting: &Rewriting) -> Result<Plan, SqlError> {
    let mut attributes = Attributes::default();
    let mut columns: Vec<Column> = Vec::new();
    let mut parent = None;
    let mut constraints = Vec::new();
    let mut parts = Vec::new();
    for item in list(cursor.group()?) {
        let mut item_cursor = Cursor::new(item);
        if item_cursor.accept(&["like"]) {
            let name = item_cursor.relation()?;
            let defaults = item_cursor.accept(&["including", "defaults"]);
            if !defaults {
                item_cursor.accept(&["excluding", "defaults"]);
            }
            item_cursor.expect_end()?;
            parts.push(format!("LIKE {}{}", name.sql(), if defaults { " INCLUDING DEFAULTS" } else { "" }));
            parent = Some(name);
        } else if let Some(found) = constraint(&mut item_cursor)? {
            item_cursor.expect_end()?;
            constraints.push(found);
        } else {
            columns.push(Column::parse(item, table)?);
        }
    }
    for (primary, named) in constraints {
        for key in named {
            let Some(column) = columns.iter_mut().find(|column| column.name == key) else {
                return Err(SqlError::new("42703", format!("column \"{key}\" named in key does not exist")));
            };
            column.constrained = true;
            column.not_null |= primary;
        }
    }
    attributes.parse_all(cursor)?;
    cursor.expect_end()?;
    if columns.len() > COLUMNS_MAX {
        return Err(SqlError::new("54011", format!("tables can have at most {COLUMNS_MAX} columns")));
    }
    if parent.is_some() && attributes.given {
        return Err(SqlError::new("42601", "DISTSTYLE, DISTKEY, SORTKEY and BACKUP cannot be given with LIKE"));
    }
    attributes.settle(&columns)?;
    for column in &columns {
        parts.push(column.sql(rewriting)?);
    }
    let remembered: Vec<Value> = columns.iter().map(Column::remembered).collect();
    let mut after = Vec::new();
    if let Some(parent) = parent {
        after.push(format!("SELECT _redshift.inherit({}::regclass, {}::regclass)", table.literal(), parent.literal()));
    }
    after.push(adopt(table, &attributes.remembered(), &remembered));
    Ok(Plan::Define(Definition { after, ..Definition::new(format!("{head} ({})", parts.join(", "))) }))
}

/// Byte limits as checks, and the physical attributes remembered.
pub(crate) fn adopt(table: &RelationName, attributes: &Value, columns: &[Value]) -> String {
    format!(
        "SELECT _redshift.adopt({}::regclass, {}::jsonb, {}::jsonb)",
        table.literal(),
        literal(&attributes.to_string()),
        literal(&Value::from(columns.to_vec()).to_string())
    )
}

#[cfg(test)]
mod tests {
    use super::super::token::{Reading, tokenize};
    use super::*;

    fn created(text: &str) -> Result<Definition, SqlError> {
        let tokens = tokenize(text, Reading::default()).unwrap();
        let mut cursor = Cursor::new(&tokens);
        cursor.expect(&["create"])?;
        match create(&mut cursor, &Rewriting::default())? {
            Plan::Define(definition) => Ok(definition),
            other => panic!("not a definition: {other:?}"),
        }
    }

    #[test]
    fn physical_attributes_go_and_are_remembered() {
        let definition = created(
            "create table mart.orders (id bigint not null encode az64 distkey, placed_at timestamptz sortkey, total decimal(12,2) default 0, note varchar(20), primary key (id)) diststyle key",
        )
        .unwrap();
        assert_eq!(
            definition.sql,
            "CREATE TABLE \"mart\".\"orders\" (\"id\" bigint NOT NULL, \"placed_at\" timestamp with time zone, \"total\" numeric(12,2) DEFAULT 0, \"note\" character varying(20))"
        );
        let after = definition.after.join(";");
        assert!(after.contains("\"diststyle\":\"KEY(id)\""), "{after}");
        assert!(after.contains("\"sortkey\":[\"placed_at\"]"), "{after}");
    }

    #[test]
    fn keys_are_dropped_but_a_primary_keys_columns_are_not_null() {
        let definition = created("create table t (a int, b int unique, primary key (a))").unwrap();
        assert_eq!(definition.sql, "CREATE TABLE \"t\" (\"a\" integer NOT NULL, \"b\" integer)");
    }

    #[test]
    fn identity_is_put_in_postgres_words() {
        let definition = created("create table t (id bigint identity(1,1), other int generated by default as identity(5,2))").unwrap();
        assert!(definition.sql.contains("GENERATED ALWAYS AS IDENTITY (START WITH 1 INCREMENT BY 1)"));
        assert!(definition.sql.contains("GENERATED BY DEFAULT AS IDENTITY (START WITH 5 INCREMENT BY 2)"));
    }

    #[test]
    fn temporary_tables_have_no_schema() {
        assert!(created("create table #stage (a int)").unwrap().sql.starts_with("CREATE TEMP TABLE \"#stage\""));
        assert!(created("create temp table mart.stage (a int)").is_err());
        assert_eq!(
            created("create temp table stage (like mart.orders including defaults)").unwrap().sql,
            "CREATE TEMP TABLE \"stage\" (LIKE \"mart\".\"orders\" INCLUDING DEFAULTS)"
        );
        assert!(created("create temp table stage (like mart.orders) diststyle even").is_err());
    }

    #[test]
    fn wrong_keys_and_postgres_features_are_refused() {
        for text in [
            "create table t (a int distkey, b int distkey)",
            "create table t (a int) distkey(b)",
            "create table t (a super) distkey(a)",
            "create table t (a super sortkey)",
            "create table t (a int) diststyle even distkey(a)",
            "create table t (a int) diststyle key",
            "create table t (a int) diststyle round",
            "create table t (a int) sortkey(a, c)",
            "create table t (a int check (a > 0))",
            "create table t (a int, check (a > 0))",
            "create table t (a serial)",
            "create table t (a int) partition by range (a)",
            "create table t (a int) inherits (u)",
            "create table t (a int, exclude using gist (a with =))",
            "create table t (a int generated always as (1 + 1) stored)",
            "create table t (tag int)",
            "create table t (\"oid\" int)",
            "create table t (a varchar(10) encode az64)",
            "create table t (a int encode gzip)",
            "create unlogged table t (a int)",
            "create table t (a varchar identity(1,1))",
            "create table t (a int) interleaved sortkey(a,a,a,a,a,a,a,a,a)",
        ] {
            assert!(created(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_table_from_a_query_keeps_its_attributes() {
        let definition = created("create table t diststyle all sortkey(a) as select nvl(a, 0) as a from u").unwrap();
        assert_eq!(definition.sql, "CREATE TABLE \"t\" AS select coalesce ( a , 0 ) as a from u");
        assert!(definition.after.join("").contains("\"ALL\""));
        assert!(created("create table t as select distinct on (a) a from u").is_err());
    }
}
