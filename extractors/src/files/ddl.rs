//! Just enough of PostgreSQL's DDL to know the columns of a COPY file: types, domains and tables of a `pg_dump --schema-only`.
//!
//! Everything else in the text (functions, comments, constraints, indexes) is passed over, statement by statement.

use std::cell::Cell;
use std::collections::HashMap;

use crate::postgres::{CompositeField, PostgresType};

/// Most fields of one type, counted through all types in it: row types of row types multiply.
const FIELDS_MAX: usize = 10_000;

/// A column as its table's DDL declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DdlColumn {
    pub(super) name: String,
    /// The type in words, one space between them: `numeric(12,2)`, `timestamp with time zone`, `text[]`, `payments.kind`.
    pub(super) type_text: String,
    /// Whether the server computes it (`GENERATED ALWAYS AS (…)`): COPY leaves such columns out.
    pub(super) is_computed: bool,
}

/// What a schema file declares.
#[derive(Debug, Default)]
pub(super) struct Ddl {
    /// Tables by `schema.table` (or `table`, where the DDL says no schema).
    pub(super) tables: HashMap<String, Vec<DdlColumn>>,
    /// Names of enumerated types.
    pub(super) enums: Vec<String>,
    /// Domains with the types they stand for.
    pub(super) domains: HashMap<String, String>,
    /// Composite types with their fields.
    pub(super) composites: HashMap<String, Vec<DdlColumn>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Quoted(String),
    Text,
    Mark(char),
}

impl Token {
    fn is_word(&self, word: &str) -> bool {
        matches!(self, Self::Word(found) if found == word)
    }

    fn is_mark(&self, mark: char) -> bool {
        *self == Self::Mark(mark)
    }

    fn name(&self) -> Option<&str> {
        match self {
            Self::Word(name) | Self::Quoted(name) => Some(name),
            Self::Text | Self::Mark(_) => None,
        }
    }
}

impl Ddl {
    /// Reads a schema file. What is not understood is passed over: a table that is needed and missing is the caller's error.
    pub(super) fn parse(text: &str) -> Self {
        let mut ddl = Self::default();
        // Where names have no schema, the one last set counts; pg_dump clears it and writes names in full.
        let mut search_path: Option<String> = None;
        for statement in tokens(text).split(|token| token.is_mark(';')) {
            match statement {
                [set, path, _, name, ..] if set.is_word("set") && path.is_word("search_path") => {
                    search_path = name.name().map(str::to_owned);
                }
                [create, rest @ ..] if create.is_word("create") => ddl.create(rest, search_path.as_deref()),
                _ => {}
            }
        }
        ddl
    }

    fn create(&mut self, statement: &[Token], search_path: Option<&str>) {
        let skipped = ["unlogged", "global", "local", "temporary", "temp"];
        let start = statement.iter().position(|token| !skipped.iter().any(|word| token.is_word(word))).unwrap_or(0);
        let Some((what, mut rest)) = statement.get(start..).and_then(<[Token]>::split_first) else { return };
        if let [a, b, c, after @ ..] = rest
            && a.is_word("if")
            && b.is_word("not")
            && c.is_word("exists")
        {
            rest = after;
        }
        let Some((name, rest)) = qualified(rest, search_path) else { return };
        if what.is_word("table") {
            if let Some(columns) = columns(rest) {
                self.tables.insert(name, columns);
            }
        } else if what.is_word("type") {
            match rest {
                [r#as, r#enum, ..] if r#as.is_word("as") && r#enum.is_word("enum") => self.enums.push(name),
                [r#as, after @ ..] if r#as.is_word("as") => {
                    if let Some(fields) = columns(after) {
                        self.composites.insert(name, fields);
                    }
                }
                _ => {}
            }
        } else if what.is_word("domain") {
            let rest = if rest.first().is_some_and(|token| token.is_word("as")) { rest.get(1..).unwrap_or_default() } else { rest };
            self.domains.insert(name, type_text(rest));
        }
    }

    /// The type of a name that is not built in: an enumerated type, a domain, a composite type. None if the text does not declare it.
    pub(super) fn named(&self, name: &str) -> Option<PostgresType> {
        self.named_within(name, 0, &Cell::new(FIELDS_MAX))
    }

    fn named_within(&self, name: &str, depth: usize, fields_left: &Cell<usize>) -> Option<PostgresType> {
        // Domains of domains end; a text that says otherwise is wrong.
        const DEPTH_MAX: usize = 32;
        if depth > DEPTH_MAX {
            return None;
        }
        let resolve = |text: &str| {
            let deeper = |name: &str| self.named_within(name, depth + 1, fields_left);
            PostgresType::parse(text, &deeper).unwrap_or_else(|| PostgresType::Other(text.to_owned()))
        };
        let is_it = |declared: &str| {
            declared == name
                || (!name.contains('.') && declared.rsplit('.').next() == Some(name))
                || name.rsplit('.').next() == Some(declared)
        };
        if self.enums.iter().any(|declared| is_it(declared)) {
            return Some(PostgresType::Text);
        }
        if let Some((_, base)) = self.domains.iter().find(|(declared, _)| is_it(declared)) {
            return Some(resolve(base));
        }
        let (_, fields) = self.composites.iter().find(|(declared, _)| is_it(declared))?;
        fields_left.set(fields_left.get().checked_sub(fields.len())?);
        let fields = fields.iter().map(|field| CompositeField { name: field.name.clone(), type_: resolve(&field.type_text) }).collect();
        Some(PostgresType::Composite(fields))
    }

    /// The columns of `schema.table`; of `table` in the only schema that has one, if no schema is asked for.
    pub(super) fn table(&self, relation: &str) -> Option<&[DdlColumn]> {
        if let Some(columns) = self.tables.get(relation) {
            return Some(columns);
        }
        let bare = relation.rsplit('.').next()?;
        let mut same = self
            .tables
            .iter()
            .filter(|(name, _)| name.rsplit('.').next() == Some(bare) && (!relation.contains('.') || !name.contains('.')));
        match (same.next(), same.next()) {
            (Some((_, columns)), None) => Some(columns),
            _ => None,
        }
    }
}

/// `schema.name` or `name` at the head, and what follows.
fn qualified<'a>(tokens: &'a [Token], search_path: Option<&str>) -> Option<(String, &'a [Token])> {
    match tokens {
        [schema, dot, name, rest @ ..] if dot.is_mark('.') => Some((format!("{}.{}", schema.name()?, name.name()?), rest)),
        [name, rest @ ..] => {
            let name = name.name()?;
            Some((search_path.map_or_else(|| name.to_owned(), |schema| format!("{schema}.{name}")), rest))
        }
        [] => None,
    }
}

/// The column definitions in the parentheses at the head. None if there are none (`CREATE TABLE … PARTITION OF …`).
fn columns(tokens: &[Token]) -> Option<Vec<DdlColumn>> {
    let (open, mut rest) = tokens.split_first()?;
    if !open.is_mark('(') {
        return None;
    }
    let mut columns = Vec::new();
    loop {
        let (entry, after, ended) = entry(rest);
        // Constraints of the whole table begin with a keyword; a column of such a name is quoted.
        let constraint = ["constraint", "primary", "unique", "check", "foreign", "exclude", "like"];
        if let Some((head, definition)) = entry.split_first()
            && let Some(name) = head.name()
            && !constraint.iter().any(|word| head.is_word(word))
        {
            let is_computed = definition.windows(4).any(|window| match window {
                [generated, always, r#as, open] => {
                    generated.is_word("generated") && always.is_word("always") && r#as.is_word("as") && open.is_mark('(')
                }
                _ => false,
            });
            columns.push(DdlColumn { name: name.to_owned(), type_text: type_text(definition), is_computed });
        }
        if ended {
            return Some(columns);
        }
        rest = after;
    }
}

/// The tokens up to the next comma, or to the closing parenthesis, at this depth.
fn entry(tokens: &[Token]) -> (&[Token], &[Token], bool) {
    let mut depth = 0_usize;
    for (place, token) in tokens.iter().enumerate() {
        match token {
            Token::Mark('(' | '[') => depth += 1,
            Token::Mark(')') if depth == 0 => return (tokens.get(..place).unwrap_or_default(), &[], true),
            Token::Mark(')' | ']') => depth = depth.saturating_sub(1),
            Token::Mark(',') if depth == 0 => {
                return (tokens.get(..place).unwrap_or_default(), tokens.get(place + 1..).unwrap_or_default(), false);
            }
            _ => {}
        }
    }
    (tokens, &[], true)
}

/// The type at the head, in words.
fn type_text(tokens: &[Token]) -> String {
    // What may follow a type in a column's or a domain's definition.
    const ENDS: &[&str] = &[
        "not",
        "null",
        "default",
        "primary",
        "unique",
        "references",
        "check",
        "constraint",
        "collate",
        "generated",
        "storage",
        "compression",
    ];
    let mut text = String::new();
    let mut depth = 0_usize;
    for token in tokens {
        if depth == 0 && ENDS.iter().any(|word| token.is_word(word)) {
            break;
        }
        match token {
            Token::Mark(mark) => {
                depth = match mark {
                    '(' | '[' => depth + 1,
                    ')' | ']' => depth.saturating_sub(1),
                    _ => depth,
                };
                text.push(*mark);
            }
            // `"char"` in quotes is a type of its own.
            Token::Quoted(word) if word == "char" => text.push_str("\"char\""),
            Token::Word(word) | Token::Quoted(word) => {
                if text.ends_with(|last: char| last.is_alphanumeric() || last == '_' || last == ')' || last == '"') {
                    text.push(' ');
                }
                text.push_str(word);
            }
            Token::Text => break,
        }
    }
    text
}

/// Words in lower case, quoted names as they are, texts without their content, marks.
fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let after = rest.strip_prefix(first).unwrap_or_default();
        if rest.starts_with("--") {
            rest = rest.split_once('\n').map_or("", |(_, after)| after);
        } else if rest.starts_with("/*") {
            rest = past_comment(rest);
        } else if first == '\'' {
            rest = past_quote(after, '\'').1;
            tokens.push(Token::Text);
        } else if first == '"' {
            let (name, after) = past_quote(after, '"');
            tokens.push(Token::Quoted(name));
            rest = after;
        } else if first == '$'
            && let Some(after) = past_dollars(rest)
        {
            tokens.push(Token::Text);
            rest = after;
        } else if first.is_alphanumeric() || first == '_' {
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).unwrap_or(rest.len());
            let (word, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
            tokens.push(Token::Word(word.to_lowercase()));
            rest = after;
        } else {
            if !first.is_whitespace() {
                tokens.push(Token::Mark(first));
            }
            rest = after;
        }
    }
    tokens
}

/// The content up to a closing quote, where two quotes stand for one, and what follows.
fn past_quote(text: &str, quote: char) -> (String, &str) {
    let mut content = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character == quote {
            let rest = characters.as_str();
            match rest.strip_prefix(quote) {
                Some(after) => {
                    content.push(quote);
                    characters = after.chars();
                }
                None => return (content, rest),
            }
        } else {
            content.push(character);
        }
    }
    (content, "")
}

/// What follows a comment, which may hold others.
fn past_comment(text: &str) -> &str {
    let mut depth = 0_usize;
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("/*") {
            depth += 1;
            rest = after;
        } else if let Some(after) = rest.strip_prefix("*/") {
            depth -= 1;
            rest = after;
            if depth == 0 {
                break;
            }
        } else {
            let mut characters = rest.chars();
            characters.next();
            rest = characters.as_str();
        }
    }
    rest
}

/// What follows `$tag$ … $tag$`; None if this is no such text.
fn past_dollars(text: &str) -> Option<&str> {
    let (tag, after) = text.strip_prefix('$')?.split_once('$')?;
    if !tag.chars().all(|c| c.is_alphanumeric() || c == '_') {
        return None;
    }
    let closing = format!("${tag}$");
    Some(after.split_once(closing.as_str()).map_or("", |(_, rest)| rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DDL: &str = r#"
-- a dump; with a semicolon
SET search_path = payments;
CREATE TYPE payments.kind AS ENUM ('authorization', 'it''s, (odd)');
CREATE TYPE point3 AS (x double precision, "Y" numeric(4,1)[]);
CREATE DOMAIN public.money_amount AS numeric(12,2) NOT NULL CHECK (VALUE >= 0);
CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $body$ BEGIN; CREATE TABLE no (a int); END $body$;
CREATE TABLE IF NOT EXISTS payments.transactions (
    id bigint PRIMARY KEY /* a comment, /* nested, */ with commas */,
    "Order, id" text NOT NULL DEFAULT 'a, b',
    kind payments.kind NOT NULL,
    amount numeric(12, 2) DEFAULT round(1.5, 2) CHECK (amount > (0)),
    fee public.money_amount,
    at timestamp(3) with time zone DEFAULT now(),
    tags text[] NOT NULL,
    code character varying(3) COLLATE "C",
    total numeric GENERATED ALWAYS AS (amount * 2) STORED,
    serial int GENERATED ALWAYS AS IDENTITY,
    CONSTRAINT c CHECK (amount > 0), UNIQUE (id, kind)
);
CREATE TABLE couriers (id int);
CREATE TABLE payments.part PARTITION OF payments.transactions FOR VALUES IN (1);
"#;

    #[test]
    fn columns_and_their_types_are_found() {
        let ddl = Ddl::parse(DDL);
        let found: Vec<_> = ddl.table("payments.transactions").unwrap().iter().map(|c| (c.name.as_str(), c.type_text.as_str())).collect();
        assert_eq!(
            found,
            [
                ("id", "bigint"),
                ("Order, id", "text"),
                ("kind", "payments.kind"),
                ("amount", "numeric(12,2)"),
                ("fee", "public.money_amount"),
                ("at", "timestamp(3) with time zone"),
                ("tags", "text[]"),
                ("code", "character varying(3)"),
                ("total", "numeric"),
                ("serial", "int"),
            ]
        );
        let computed: Vec<_> =
            ddl.table("payments.transactions").unwrap().iter().filter(|c| c.is_computed).map(|c| c.name.as_str()).collect();
        assert_eq!(computed, ["total"]);
        assert_eq!(ddl.enums, ["payments.kind"]);
        assert_eq!(ddl.domains["public.money_amount"], "numeric(12,2)");
        assert_eq!(
            ddl.composites["payments.point3"][1],
            DdlColumn { name: "Y".to_owned(), type_text: "numeric(4,1)[]".to_owned(), is_computed: false }
        );
        assert_eq!(ddl.named("kind"), Some(PostgresType::Text));
        assert_eq!(ddl.named("public.money_amount"), Some(PostgresType::Numeric));
        let Some(PostgresType::Composite(fields)) = ddl.named("point3") else { panic!("a composite type") };
        assert_eq!(fields[1].type_, PostgresType::Array(Box::new(PostgresType::Numeric)));
        assert_eq!(ddl.named("payments.nothing"), None);
        assert_eq!(ddl.table("couriers").unwrap().len(), 1, "found in the only schema that has it");
        assert!(ddl.table("payments.part").is_none() && ddl.table("no").is_none());
    }

    #[test]
    fn unfinished_text_is_no_danger() {
        for text in ["CREATE TABLE a (", "CREATE TABLE a (b int", "/* ", "'", "\"", "$a$", "CREATE TYPE", "create table a (b", "*/", "$$"] {
            Ddl::parse(text);
        }
    }

    #[test]
    fn types_that_hold_themselves_come_to_an_end() {
        let itself = Ddl::parse("CREATE TYPE a AS (x a, y a, z a);");
        assert!(itself.named("a").is_some(), "known as far as it was followed");
        let mut doubled = String::from("CREATE TYPE t0 AS (x int, y int);");
        for level in 1..30 {
            doubled.push_str(&format!("CREATE TYPE t{level} AS (x t{}, y t{});", level - 1, level - 1));
        }
        assert!(Ddl::parse(&doubled).named("t29").is_some());
        let deep = format!("int{}", "[]".repeat(200_000));
        assert_eq!(PostgresType::parse(&deep, &|_| None), Some(PostgresType::Array(Box::new(PostgresType::Int4))));
    }
}
