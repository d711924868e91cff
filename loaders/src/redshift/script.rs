//! One load as one transaction.
//!
//! ```text
//! LOCK        the table of loads: loads commit one after the other, and the snapshot is taken after the wait
//! guard       fails, and with it the transaction, unless this load is the next one
//! stage       a temporary table with the file's columns
//! COPY        the parts, by their manifest
//! (merge)     rows that are older than the stored or equal to them go
//! mark        the marker row, with the counts of what follows
//! DELETE      rows that are replaced or gone
//! INSERT      the new ones
//! read        the marker row back
//! ```
//! A batch that is sent again, by this process or by one that was started after a crash, fails at the guard: the caller then
//! looks at the marker and finds its own load. So no statement needs to know whether it runs for the first time.
//!
//! TRUNCATE is not used: it would commit. MERGE is not used: it cannot keep newer rows. A merge's parts hold each key once: see
//! [`super::distinct`].

use pipeline_core::contract::{CONTRACT, Contract, DELETED_COLUMN};
use pipeline_core::error::{BUG, Error, Result};
use pipeline_core::load::{Load, LoadId, Mode};

use super::catalog::{distribution, meta_relation};
use super::copy;
use super::options::Role;
use super::sql::{Ident, Literal, Purpose, Relation, STATEMENT_BYTES_MAX, Statement, joined, list};
use super::types::{WarehouseType, column_types};

/// The temporary table that COPY fills.
const STAGE: &str = "pipeline_stage";

/// What the marker query returns, in this order.
pub(super) const MARKER_COLUMNS: &str = "revision, digest, rows_written, rows_deleted, rows_unchanged";

/// Reads the marker of a table. It fails like a missing table of loads when the table itself is missing: markers of a table that
/// somebody dropped say nothing.
pub(super) fn read_marker(pipeline: &str, target: &Relation) -> Result<Statement> {
    let loads = loads_of(pipeline, target)?;
    let text = format!(
        "SELECT {MARKER_COLUMNS} FROM {} WHERE {loads} AND NOT EXISTS (SELECT 1 FROM {target} WHERE 1 = 0) ORDER BY revision DESC LIMIT 1",
        meta_relation()
    );
    Ok(Statement::new(Purpose::Read, text))
}

/// The table goes by the name it has in the warehouse: two destinations may share a database and differ in their schema.
fn loads_of(pipeline: &str, target: &Relation) -> Result<String> {
    Ok(format!("pipeline = {} AND table_name = {}", Literal::new(pipeline)?, Literal::new(&target.plain())?))
}

/// The transaction of a load. `manifest_url` is None when the snapshot has no rows: COPY of nothing is not defined.
///
/// # Errors
/// [`super::UNFIT_TYPE`], [`CONTRACT`] for a merge without a key or by one that can be NULL.
pub(super) fn transaction(load: &Load, target: &Relation, manifest_url: Option<&str>, role: &Role) -> Result<Vec<Statement>> {
    let table = Table::new(load, target)?;
    let mut statements = vec![Statement::new(Purpose::Lock, format!("LOCK {}", meta_relation())), guard(load, target)?];
    if let Some(url) = manifest_url {
        statements.push(table.create(load.mode == Mode::Changes)?);
        statements.push(copy::statement(&table.stage, &table.file_columns, url, role)?);
    }
    match (load.mode, manifest_url.is_some()) {
        (Mode::Replace, is_filled) => {
            let mut from = vec![Count::of_table("before", target)];
            if is_filled {
                from.push(Count::of_table("staged", &table.stage));
            }
            let written = if is_filled { "staged.n" } else { "0" };
            statements.push(mark(load, target, &Counts { written, deleted: "before.n", unchanged: "0" }, &from)?);
            statements.push(Statement::new(Purpose::Delete, format!("DELETE FROM {target}")));
            if is_filled {
                statements.push(table.insert(&table.stage, ""));
            }
        }
        (Mode::Append, true) => {
            statements.push(mark(load, target, &Counts { written: "staged.n", ..NOTHING }, &[Count::of_table("staged", &table.stage)])?);
            statements.push(table.insert(&table.stage, ""));
        }
        (Mode::Merge, true) => table.merge(load, &mut statements)?,
        (Mode::Changes, true) => table.change(load, &mut statements)?,
        (Mode::Append | Mode::Merge | Mode::Changes, false) => statements.push(mark(load, target, &NOTHING, &[])?),
    }
    let text = format!(
        "SELECT {MARKER_COLUMNS} FROM {} WHERE {} AND revision = {}",
        meta_relation(),
        loads_of(&load.id.pipeline, target)?,
        load.id.revision
    );
    statements.push(Statement::new(Purpose::Read, text));
    if let Some(long) = statements.iter().find(|statement| statement.text.len() > STATEMENT_BYTES_MAX) {
        let what = format!("table \"{}\" has too many columns for one {} statement", load.id.table, long.purpose.name());
        return Err(Error::new(&super::UNFIT_TYPE, what).hint("Split the table: the Data API takes statements of at most 100 KB."));
    }
    Ok(statements)
}

/// Fails the transaction unless this load is the next one. The text that is not a number depends on the stored rows, so that it
/// is converted only when the condition holds, never while the statement is planned.
fn guard(load: &Load, target: &Relation) -> Result<Statement> {
    let is_next = match (load.mode, load.base) {
        (Mode::Changes, base) => format!("= {}", base.unwrap_or(0)),
        (Mode::Replace | Mode::Append | Mode::Merge, _) => format!("< {}", load.id.revision),
    };
    let text = format!(
        "SELECT CAST(CASE WHEN COALESCE(MAX(revision), 0) {is_next} THEN '1' ELSE 'overtaken' END AS INTEGER) AS is_next FROM {} WHERE {}",
        meta_relation(),
        loads_of(&load.id.pipeline, target)?
    );
    Ok(Statement::new(Purpose::Guard, text))
}

/// A query that counts, by the name its result goes by.
struct Count {
    name: &'static str,
    query: String,
}

impl Count {
    fn of_table(name: &'static str, table: &Relation) -> Self {
        Self { name, query: format!("SELECT COUNT(*) AS n FROM {table}") }
    }
}

/// The counts that a marker row keeps, as expressions over [`Count`]s.
struct Counts {
    written: &'static str,
    deleted: &'static str,
    unchanged: &'static str,
}

const NOTHING: Counts = Counts { written: "0", deleted: "0", unchanged: "0" };

fn mark(load: &Load, target: &Relation, counts: &Counts, from: &[Count]) -> Result<Statement> {
    let LoadId { pipeline, revision, digest, .. } = &load.id;
    let mode = match load.mode {
        Mode::Replace => "replace",
        Mode::Append => "append",
        Mode::Merge => "merge",
        Mode::Changes => "changes",
    };
    let base = load.base.map_or_else(|| "CAST(NULL AS BIGINT)".to_owned(), |base| base.to_string());
    let from = joined(from.iter().map(|Count { name, query }| format!("({query}) AS {name}")), " CROSS JOIN ");
    let text = format!(
        "INSERT INTO {} (pipeline, table_name, revision, digest, load_id, run, mode, base, rows_written, rows_deleted, rows_unchanged, loaded_at) \
         SELECT {}, {}, {revision}, {}, {}, {}, '{mode}', {base}, {}, {}, {}, GETDATE(){}{from}",
        meta_relation(),
        Literal::new(pipeline)?,
        Literal::new(&target.plain())?,
        Literal::new(digest)?,
        Literal::new(&load.id.to_string())?,
        Literal::new(&load.run)?,
        counts.written,
        counts.deleted,
        counts.unchanged,
        if from.is_empty() { "" } else { " FROM " },
    );
    Ok(Statement::new(Purpose::Mark, text))
}

/// What the statements of one load share.
struct Table<'a> {
    load: &'a Load,
    target: &'a Relation,
    stage: Relation,
    columns: Vec<(Ident, WarehouseType)>,
    file_columns: Vec<Ident>,
    deleted: Ident,
}

impl<'a> Table<'a> {
    fn new(load: &'a Load, target: &'a Relation) -> Result<Self> {
        let types = column_types(&load.contract)?;
        let mut columns = Vec::with_capacity(types.len());
        for (column, data_type) in load.contract.columns.iter().zip(types) {
            columns.push((Ident::column(column.name.as_str())?, data_type));
        }
        let deleted = Ident::column(DELETED_COLUMN)?;
        let mut file_columns: Vec<Ident> = columns.iter().map(|(ident, _)| ident.clone()).collect();
        if load.mode == Mode::Changes {
            file_columns.push(deleted.clone());
        }
        if matches!(load.mode, Mode::Merge | Mode::Changes) {
            check_key(&load.contract)?;
        }
        let stage = Relation::temporary(STAGE)?;
        Ok(Self { load, target, stage, columns, file_columns, deleted })
    }

    /// A temporary table of the file's columns, spread like the table it will meet, so that rows meet on their own node.
    fn create(&self, with_deleted: bool) -> Result<Statement> {
        let mut columns: Vec<String> = self.columns.iter().map(|(ident, data_type)| format!("{ident} {data_type}")).collect();
        if with_deleted {
            columns.push(format!("{} {}", self.deleted, WarehouseType::Boolean));
        }
        let text = format!("CREATE TEMP TABLE {} ({}){}", self.stage, list(columns), distribution(&self.load.layout.distribution)?);
        Ok(Statement::new(Purpose::Stage, text))
    }

    fn names(&self) -> String {
        list(self.columns.iter().map(|(ident, _)| ident))
    }

    fn insert(&self, from: &Relation, condition: &str) -> Statement {
        let names = self.names();
        Statement::new(Purpose::Insert, format!("INSERT INTO {} ({names}) SELECT {names} FROM {from}{condition}", self.target))
    }

    fn keys(&self) -> impl Iterator<Item = &(Ident, WarehouseType)> {
        let named = |ident: &Ident| self.load.contract.key.iter().any(|key| format!("\"{key}\"") == ident.to_string());
        self.columns.iter().filter(move |(ident, _)| named(ident))
    }

    /// Whether a row of the table and one of `other` have the same key.
    fn same_key(&self, other: &Relation) -> String {
        joined(self.keys().map(|(ident, data_type)| same(&self.target.column(ident), &other.column(ident), *data_type)), " AND ")
    }

    /// Whether a row of the table and one of `other` have the same values. Redshift has no IS NOT DISTINCT FROM.
    fn same_values(&self, other: &Relation) -> String {
        let is_key = |ident: &Ident| self.keys().any(|(key, _)| key == ident);
        let conditions = self.columns.iter().filter(|(ident, _)| !is_key(ident)).map(|(ident, data_type)| {
            let (a, b) = (self.target.column(ident), other.column(ident));
            let equal = same(&a, &b, *data_type);
            if self.is_nullable(ident) { format!("({equal} OR ({a} IS NULL AND {b} IS NULL))") } else { equal }
        });
        joined(std::iter::once(self.same_key(other)).chain(conditions), " AND ")
    }

    fn is_nullable(&self, ident: &Ident) -> bool {
        self.columns.iter().zip(&self.load.contract.columns).any(|((name, _), column)| name == ident && column.nullable)
    }

    fn merge(&self, load: &Load, statements: &mut Vec<Statement>) -> Result<()> {
        let (target, stage) = (self.target, &self.stage);
        let (same_key, same_values) = (self.same_key(stage), self.same_values(stage));
        if let Some(cursor) = &load.contract.cursor {
            let cursor = Ident::column(cursor.as_str())?;
            let (stored, new) = (target.column(&cursor), stage.column(&cursor));
            // NULL is older than everything.
            let text = format!(
                "DELETE FROM {stage} USING {target} WHERE {same_key} AND ({stored} > {new} OR ({stored} IS NOT NULL AND {new} IS NULL))"
            );
            statements.push(Statement::new(Purpose::DropStale, text));
        }
        let same = Count { name: "same", query: format!("SELECT COUNT(*) AS n FROM {stage} JOIN {target} ON {same_values}") };
        let counts = Counts { written: "staged.n - same.n", deleted: "0", unchanged: "same.n" };
        statements.push(mark(load, target, &counts, &[Count::of_table("staged", stage), same])?);
        statements.push(Statement::new(Purpose::DropSame, format!("DELETE FROM {stage} USING {target} WHERE {same_values}")));
        statements.push(Statement::new(Purpose::Delete, format!("DELETE FROM {target} USING {stage} WHERE {same_key}")));
        statements.push(self.insert(stage, ""));
        Ok(())
    }

    fn change(&self, load: &Load, statements: &mut Vec<Statement>) -> Result<()> {
        let (target, stage, deleted) = (self.target, &self.stage, &self.deleted);
        let same_key = self.same_key(stage);
        let new = Count { name: "new_rows", query: format!("SELECT COUNT(*) AS n FROM {stage} WHERE NOT {deleted}") };
        let gone = format!("SELECT COUNT(*) AS n FROM {target} JOIN {stage} ON {same_key} WHERE {}", stage.column(deleted));
        let counts = Counts { written: "new_rows.n", deleted: "gone.n", unchanged: "0" };
        statements.push(mark(load, target, &counts, &[new, Count { name: "gone", query: gone }])?);
        statements.push(Statement::new(Purpose::Delete, format!("DELETE FROM {target} USING {stage} WHERE {same_key}")));
        statements.push(self.insert(stage, &format!(" WHERE NOT {deleted}")));
        Ok(())
    }
}

/// Equality that sees trailing blanks, which Redshift's own does not.
fn same(a: &str, b: &str, data_type: WarehouseType) -> String {
    if data_type.ignores_trailing_blanks() {
        format!("({a} = {b} AND OCTET_LENGTH({a}) = OCTET_LENGTH({b}))")
    } else {
        format!("{a} = {b}")
    }
}

fn check_key(contract: &Contract) -> Result<()> {
    if contract.key.is_empty() {
        return Err(Error::new(&CONTRACT, format!("table \"{}\" has no key to find its rows by", contract.table)));
    }
    for key in &contract.key {
        let column = contract.column(key).ok_or_else(|| Error::new(&BUG, format!("key \"{key}\" is not a column")))?;
        if column.nullable {
            return Err(Error::new(&CONTRACT, format!("table \"{}\" lets the key column \"{key}\" be NULL", contract.table))
                .hint("Declare the key column as not null: NULL equals nothing, so such rows would be added again by every load."));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "script_tests.rs"]
mod tests;
