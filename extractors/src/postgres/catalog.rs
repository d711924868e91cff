//! What the server's catalog says of a relation.

use std::collections::{HashMap, HashSet};

use pipeline_core::error::{Error, Result};
use sqlx::PgConnection;

use super::connection::Connections;
use super::copy::Labels;
use super::error::{GRANT, TABLE};
use super::statement::{identifier, literal};
use super::types::{CompositeField, PostgresType};
use crate::nearest::nearest;

/// Names shown where a relation is looked for in vain.
const NAMES_LISTED_MAX: usize = 10_000;

/// A column of a relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    /// `pg_attribute.attnum`
    pub(super) number: i16,
    pub(super) type_: PostgresType,
    /// The numbers of `hashenum`, where it is an enumerated type and the server has that function.
    pub(super) labels: Option<Labels>,
    /// Whether the user may read it.
    pub(super) is_readable: bool,
}

/// A table that holds rows itself: the relation, a partition of it, or one that inherits from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leaf {
    /// Its name in SQL.
    pub(super) name: String,
    /// Pages it has now; None if its rows are not in pages of a heap.
    pub(super) pages: Option<u64>,
    /// Whether the user may read it by itself, and sees the same rows then: policies of a partition do not count for the whole.
    pub(super) is_readable: bool,
    /// Rows as estimated when it was last analyzed.
    pub(super) rows: Option<u64>,
}

/// A relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Relation {
    /// Its object identifier.
    pub(super) oid: u32,
    /// Its name in SQL.
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    /// Where its rows are. A view has none.
    pub(super) leaves: Vec<Leaf>,
    /// Whether the user may read all of it, with its system columns.
    pub(super) is_readable: bool,
    /// Whether policies decide which rows the user sees.
    pub(super) has_policies: bool,
}

impl Relation {
    /// Whether its rows can be told apart by where they are.
    pub(super) fn has_places(&self) -> bool {
        self.is_readable && !self.leaves.is_empty() && self.leaves.iter().all(|leaf| leaf.pages.is_some())
    }

    /// Rows as estimated when its tables were last analyzed; None if one never was.
    pub(super) fn rows(&self) -> Option<u64> {
        if self.leaves.is_empty() {
            return None;
        }
        self.leaves.iter().map(|leaf| leaf.rows).sum()
    }
}

/// Asks the catalog of one database.
pub(super) struct Catalog<'a> {
    pub(super) connections: &'a Connections,
    pub(super) connection: &'a mut PgConnection,
    /// The relation's name as configured.
    pub(super) relation: &'a str,
}

type Rows = Vec<Vec<Option<String>>>;

/// A value of a row of the catalog; empty where it is NULL.
fn value(row: &[Option<String>], place: usize) -> &str {
    row.get(place).and_then(Option::as_deref).unwrap_or_default()
}

fn number<T: std::str::FromStr + Default>(row: &[Option<String>], place: usize) -> T {
    value(row, place).parse().unwrap_or_default()
}

fn is_true(row: &[Option<String>], place: usize) -> bool {
    value(row, place) == "t"
}

impl Catalog<'_> {
    async fn rows(&mut self, sql: &str) -> Result<Rows> {
        let what = format!("the catalog could not be asked about table \"{}\"", self.relation);
        self.connections.rows(self.connection, sql, &what).await
    }

    /// Looks a relation up.
    ///
    /// # Errors
    /// [`TABLE`] if it is not there, naming the most similar one; [`GRANT`] if its schema is closed to the user.
    pub(super) async fn find(&mut self) -> Result<Relation> {
        let sql = format!(
            "SELECT c.oid, n.nspname, c.relname, has_table_privilege(c.oid, 'SELECT'), c.relrowsecurity FROM pg_class c \
             JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass({}) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')",
            literal(self.relation)
        );
        let found = match self.rows(&sql).await {
            Ok(rows) => rows,
            // A name that cannot be read as one (SQLSTATE 42601, 42602) names nothing.
            Err(error) if error.causes().iter().any(|cause| cause.contains("SQLSTATE 4260")) => return Err(self.missing(&[])),
            Err(error) if error.code() == &GRANT => {
                let schema = self.relation.split('.').next().unwrap_or_default();
                return Err(error
                    .hint(format!("Let its owner execute: GRANT USAGE ON SCHEMA {schema} TO {};", identifier(self.connections.user()))));
            }
            Err(error) => return Err(error),
        };
        let Some(row) = found.first() else {
            let names = self
                .rows(&format!(
                    "SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') \
                     ORDER BY 1 LIMIT {NAMES_LISTED_MAX}"
                ))
                .await?;
            let names: Vec<&str> = names.iter().map(|row| value(row, 0)).collect();
            return Err(self.missing(&names));
        };
        let oid = number(row, 0);
        let name = format!("{}.{}", identifier(value(row, 1)), identifier(value(row, 2)));
        let (is_readable, has_policies) = (is_true(row, 3), is_true(row, 4));
        let columns = self.columns(oid).await?;
        let leaves = self.leaves(oid).await?;
        Ok(Relation { oid, name, columns, leaves, is_readable, has_policies })
    }

    fn missing(&self, names: &[&str]) -> Error {
        let error = Error::new(&TABLE, format!("table \"{}\" does not exist in the PostgreSQL database", self.relation));
        let bare = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
        let near = nearest(self.relation, names.iter().copied())
            .or_else(|| names.iter().copied().find(|name| bare(name) == bare(self.relation)))
            .or_else(|| {
                let bares: Vec<String> = names.iter().map(|name| bare(name)).collect();
                let near = nearest(&bare(self.relation), bares.iter().map(String::as_str))?.to_owned();
                names.iter().copied().find(|name| bare(name) == near)
            });
        match near {
            Some(name) => error.hint(format!("Did you mean \"{name}\"? Set `relation = \"{name}\"` in the table's section.")),
            None => error,
        }
    }

    async fn columns(&mut self, oid: u32) -> Result<Vec<Column>> {
        let rows = self
            .rows(&format!(
                "SELECT attname, attnum, atttypid, has_column_privilege({oid}::oid, attnum, 'SELECT') FROM pg_attribute \
                 WHERE attrelid = {oid} AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
            ))
            .await?;
        let types = self.types(rows.iter().map(|row| number(row, 2)).collect()).await?;
        let labels = self.labels(&types).await?;
        Ok(rows
            .iter()
            .map(|row| Column {
                name: value(row, 0).to_owned(),
                number: number(row, 1),
                type_: types.resolve(number(row, 2), 0),
                labels: labels.get(&number(row, 2)).cloned(),
                is_readable: is_true(row, 3),
            })
            .collect())
    }

    /// Everything about the types that are not built in, and about those they are made of.
    async fn types(&mut self, mut wanted: Vec<u32>) -> Result<Types> {
        let mut types = Types::default();
        loop {
            wanted.retain(|oid| *oid != 0 && PostgresType::of_oid(*oid).is_none() && !types.0.contains_key(oid));
            if wanted.is_empty() {
                return Ok(types);
            }
            let distinct: HashSet<u32> = wanted.iter().copied().collect();
            let list = distinct.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
            // Servers before PostgreSQL 14 have no multiranges, and no such column.
            let rows = self
                .rows(&format!(
                    "SELECT t.oid, t.typname, t.typtype, t.typbasetype, CASE WHEN t.typcategory = 'A' AND t.typlen = -1 THEN t.typelem ELSE 0 END, \
                     t.typrelid, r.rngsubtype, r.rngtypid = t.oid, CASE WHEN t.typtype = 'e' AND has_schema_privilege(t.typnamespace, 'USAGE') \
                     AND to_regprocedure('pg_catalog.hashenum(anyenum)') IS NOT NULL THEN format_type(t.oid, NULL) END FROM pg_type t LEFT JOIN pg_range r \
                     ON r.rngtypid = t.oid OR to_jsonb(r) ->> 'rngmultitypid' = t.oid::text WHERE t.oid IN ({list})"
                ))
                .await?;
            let mut next = Vec::new();
            for row in &rows {
                let (oid, name) = (number(row, 0), value(row, 1));
                let shape = match value(row, 2) {
                    "e" => Shape::Enumeration(row.get(8).cloned().flatten()),
                    "d" => Shape::Domain(number(row, 3)),
                    "r" if is_true(row, 7) => Shape::Range(number(row, 6)),
                    "m" => Shape::Multirange(number(row, 6)),
                    "c" => Shape::Composite(self.fields(number(row, 5)).await?),
                    // Vectors of the catalog are sent as arrays are, and printed otherwise.
                    "b" if number::<u32>(row, 4) != 0 && !matches!(name, "int2vector" | "oidvector") => Shape::Array(number(row, 4)),
                    "b" if name == "citext" => Shape::Text,
                    _ => Shape::Other(name.to_owned()),
                };
                match &shape {
                    Shape::Domain(inner) | Shape::Range(inner) | Shape::Multirange(inner) | Shape::Array(inner) => next.push(*inner),
                    Shape::Composite(fields) => next.extend(fields.iter().map(|(_, oid)| *oid)),
                    Shape::Text | Shape::Enumeration(_) | Shape::Other(_) => {}
                }
                types.0.insert(oid, shape);
            }
            // A type that the catalog does not know any more is asked for once only.
            for oid in distinct {
                types.0.entry(oid).or_insert_with(|| Shape::Other(format!("type {oid}")));
            }
            wanted = next;
        }
    }

    /// The numbers of the labels of every enumerated type.
    async fn labels(&mut self, types: &Types) -> Result<HashMap<u32, Labels>> {
        let enumerations = types.0.iter().filter_map(|(oid, shape)| match shape {
            Shape::Enumeration(Some(name)) => Some((*oid, name)),
            _ => None,
        });
        let questions: Vec<String> = enumerations
            .map(|(oid, name)| format!("SELECT {oid}, pg_catalog.hashenum(label), label::text FROM pg_catalog.unnest(pg_catalog.enum_range(NULL::{name})) AS label"))
            .collect();
        if questions.is_empty() {
            return Ok(HashMap::new());
        }
        let mut numbers: HashMap<u32, Vec<(i32, String)>> = HashMap::new();
        for row in self.rows(&questions.join(" UNION ALL ")).await? {
            numbers.entry(number(&row, 0)).or_default().push((number(&row, 1), value(&row, 2).to_owned()));
        }
        Ok(numbers.into_iter().filter_map(|(oid, labels)| Some((oid, Labels::new(labels)?))).collect())
    }

    async fn fields(&mut self, relation: u32) -> Result<Vec<(String, u32)>> {
        let rows = self
            .rows(&format!(
                "SELECT attname, atttypid FROM pg_attribute WHERE attrelid = {relation} AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
            ))
            .await?;
        Ok(rows.iter().map(|row| (value(row, 0).to_owned(), number(row, 1))).collect())
    }

    async fn leaves(&mut self, oid: u32) -> Result<Vec<Leaf>> {
        let rows = self
            .rows(&format!(
                "WITH RECURSIVE tree AS (SELECT {oid}::oid AS oid UNION SELECT i.inhrelid FROM pg_inherits i JOIN tree ON i.inhparent = tree.oid) \
                 SELECT n.nspname, c.relname, has_table_privilege(c.oid, 'SELECT') AND NOT c.relrowsecurity, \
                 CASE WHEN c.relkind IN ('r', 'm') AND a.amname = 'heap' THEN pg_relation_size(c.oid) / current_setting('block_size')::int END, c.reltuples::bigint \
                 FROM tree JOIN pg_class c ON c.oid = tree.oid JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_am a ON a.oid = c.relam \
                 WHERE c.relkind IN ('r', 'm', 'f') ORDER BY c.oid"
            ))
            .await?;
        Ok(rows
            .iter()
            .map(|row| Leaf {
                name: format!("{}.{}", identifier(value(row, 0)), identifier(value(row, 1))),
                is_readable: is_true(row, 2),
                pages: value(row, 3).parse().ok(),
                // Minus one stands for never analyzed.
                rows: value(row, 4).parse().ok(),
            })
            .collect())
    }

    /// Whether an index begins with a column, so that its greatest value and ranges of it are found without reading the table.
    pub(super) async fn has_index(&mut self, relation: &Relation, column: &Column) -> Result<bool> {
        let rows = self
            .rows(&format!(
                "SELECT EXISTS (SELECT FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam \
                 WHERE i.indrelid = {} AND i.indisvalid AND i.indpred IS NULL AND i.indkey[0] = {} AND a.amname = 'btree')",
                relation.oid, column.number
            ))
            .await?;
        Ok(rows.first().is_some_and(|row| is_true(row, 0)))
    }
}

/// The shapes of types by their object identifiers.
#[derive(Debug, Default)]
struct Types(HashMap<u32, Shape>);

#[derive(Debug)]
enum Shape {
    Text,
    /// Its name in SQL, if its labels can be asked for as numbers.
    Enumeration(Option<String>),
    Domain(u32),
    Range(u32),
    Multirange(u32),
    Array(u32),
    Composite(Vec<(String, u32)>),
    Other(String),
}

impl Types {
    fn resolve(&self, oid: u32, depth: usize) -> PostgresType {
        /// Deeper than any type that a server would accept.
        const DEPTH_MAX: usize = 32;
        if let Some(type_) = PostgresType::of_oid(oid) {
            return type_;
        }
        let inner = |oid: &u32| Box::new(self.resolve(*oid, depth + 1));
        match self.0.get(&oid) {
            _ if depth > DEPTH_MAX => PostgresType::Other(format!("type {oid}")),
            None => PostgresType::Other(format!("type {oid}")),
            Some(Shape::Text | Shape::Enumeration(_)) => PostgresType::Text,
            Some(Shape::Other(name)) => PostgresType::Other(name.clone()),
            Some(Shape::Domain(base)) => *inner(base),
            Some(Shape::Range(subtype)) => PostgresType::Range(inner(subtype)),
            Some(Shape::Multirange(subtype)) => PostgresType::Multirange(inner(subtype)),
            Some(Shape::Array(element)) => PostgresType::Array(inner(element)),
            Some(Shape::Composite(fields)) => PostgresType::Composite(
                fields.iter().map(|(name, oid)| CompositeField { name: name.clone(), type_: *inner(oid) }).collect(),
            ),
        }
    }
}
