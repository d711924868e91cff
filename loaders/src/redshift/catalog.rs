//! Tables as they are and as they should be: the statements between, and what no statement can mend.

use pipeline_core::contract::{CONTRACT, Contract};
use pipeline_core::error::{Error, Result};
use pipeline_core::load::{Change, Distribution, Layout, SCHEMA_CHANGE};

use super::sql::{Ident, Literal, Purpose, Relation, Statement, list};
use super::types::{WarehouseType, column_types};

/// The schema of this program's own tables.
pub(super) const META_SCHEMA: &str = "pipeline_meta";

/// The table of loads: one row for each, the greatest revision of a pipeline's table counts.
pub(super) const META_TABLE: &str = "loads";

/// Columns whose NOT NULL goes in one transaction: four statements each, and one for all, are within the Data API's limit.
const LOOSENED_AT_ONCE_MAX: usize = 9;

/// The columns of the table of loads.
const META_COLUMNS: &[(&str, &str)] = &[
    ("pipeline", "VARCHAR(256) NOT NULL"),
    ("table_name", "VARCHAR(256) NOT NULL"),
    ("revision", "BIGINT NOT NULL"),
    ("digest", "VARCHAR(64) NOT NULL"),
    ("load_id", "VARCHAR(1024) NOT NULL"),
    ("run", "VARCHAR(256) NOT NULL"),
    ("mode", "VARCHAR(16) NOT NULL"),
    ("base", "BIGINT"),
    ("rows_written", "BIGINT NOT NULL"),
    ("rows_deleted", "BIGINT NOT NULL"),
    ("rows_unchanged", "BIGINT NOT NULL"),
    ("loaded_at", "TIMESTAMP NOT NULL"),
];

/// The table of loads.
pub(super) fn meta_relation() -> Relation {
    Relation::new(META_SCHEMA, META_TABLE).expect("both names are plain")
}

/// A column as the catalog tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredColumn {
    /// Its name.
    pub(super) name: String,
    /// Its type; None for types that no contract makes.
    pub(super) data_type: Option<WarehouseType>,
    /// Its type in the catalog's words.
    pub(super) words: String,
    /// Whether NULL fits.
    pub(super) nullable: bool,
}

/// Reads the columns of tables; the rows are read by [`stored_columns`].
pub(super) fn read_columns(tables: &[&Relation]) -> Result<Statement> {
    let mut wanted = Vec::new();
    for table in tables {
        let schema = Literal::new(table.schema())?;
        wanted.push(format!("(table_schema = {schema} AND table_name = {})", Literal::new(table.table())?));
    }
    let text = format!(
        "SELECT table_schema, table_name, column_name, data_type, character_maximum_length, numeric_precision, numeric_scale, is_nullable \
         FROM svv_columns WHERE {} ORDER BY table_schema, table_name, ordinal_position",
        super::sql::joined(wanted, " OR ")
    );
    Ok(Statement::new(Purpose::Catalog, text))
}

/// One table's columns among the rows of [`read_columns`]; None if the table does not exist.
pub(super) fn stored_columns(rows: &[Vec<Option<String>>], table: &Relation) -> Option<Vec<StoredColumn>> {
    let columns: Vec<StoredColumn> = rows
        .iter()
        .filter_map(|row| match row.as_slice() {
            [Some(schema), Some(name), Some(column), Some(data_type), length, precision, scale, nullable]
                if schema.trim() == table.schema() && name.trim() == table.table() =>
            {
                let number = |text: &Option<String>| text.as_deref().and_then(|text| text.trim().parse::<u32>().ok());
                let small = |text: &Option<String>| number(text).and_then(|number| u8::try_from(number).ok());
                let scale = small(scale).and_then(|scale| i8::try_from(scale).ok());
                let parsed = WarehouseType::of_catalog(data_type.trim(), number(length), small(precision), scale);
                Some(StoredColumn {
                    name: column.trim().to_owned(),
                    words: parsed.map_or_else(|| data_type.trim().to_uppercase(), |parsed| parsed.to_string()),
                    data_type: parsed,
                    nullable: nullable.as_deref().is_none_or(|word| !word.trim().eq_ignore_ascii_case("no")),
                })
            }
            _ => None,
        })
        .collect();
    (!columns.is_empty()).then_some(columns)
}

/// Which of these schemas exist.
pub(super) fn read_schemas(schemas: &[&str]) -> Result<Statement> {
    let names = schemas.iter().map(|schema| Literal::new(schema)).collect::<Result<Vec<_>>>()?;
    Ok(Statement::new(Purpose::Catalog, format!("SELECT nspname FROM pg_namespace WHERE nspname IN ({})", list(names))))
}

/// What must be done, in this order: `together` in transactions, then each of `whole` as one transaction, then each of `alone` by
/// itself, because Redshift runs it in no transaction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Plan {
    /// For people.
    pub(super) changes: Vec<Change>,
    /// Statements that may run in one transaction.
    pub(super) together: Vec<Statement>,
    /// Statements that belong together: all of a list or none.
    pub(super) whole: Vec<Vec<Statement>>,
    /// Statements that may not run in one.
    pub(super) alone: Vec<Statement>,
}

impl Plan {
    fn change(&mut self, sign: char, what: String, statement: &Statement) {
        self.changes.push(Change { sign, what, statement: Some(statement.text.clone()) });
    }

    /// Adds a schema that is missing.
    pub(super) fn create_schema(&mut self, schema: &str) -> Result<()> {
        let statement = Statement::new(Purpose::Define, format!("CREATE SCHEMA IF NOT EXISTS {}", Ident::new(schema)?));
        self.change('+', format!("schema {schema}"), &statement);
        self.together.push(statement);
        Ok(())
    }

    /// Adds the table of loads.
    pub(super) fn create_meta(&mut self) {
        let columns = META_COLUMNS.iter().map(|(name, data_type)| format!("\"{name}\" {data_type}"));
        let text = format!("CREATE TABLE IF NOT EXISTS {} ({})", meta_relation(), list(columns));
        let statement = Statement::new(Purpose::Define, text);
        self.change('+', format!("table {META_SCHEMA}.{META_TABLE} ({} columns)", META_COLUMNS.len()), &statement);
        self.together.push(statement);
    }
}

/// Compares a table with its contract and adds what must be done. `meta_exists` tells whether there can be markers of an
/// earlier table of this name: they do not hold for a new one.
///
/// # Errors
/// [`SCHEMA_CHANGE`] with a table of differences when only a loss would make them agree; [`super::UNFIT_TYPE`]; [`CONTRACT`]
/// when the layout names columns that do not exist.
pub(super) fn compare(
    plan: &mut Plan,
    contract: &Contract,
    layout: &Layout,
    table: &Relation,
    stored: Option<&[StoredColumn]>,
    meta_exists: bool,
) -> Result<()> {
    let types = column_types(contract)?;
    check_layout(contract, layout)?;
    match stored {
        None => create(plan, contract, layout, table, &types, meta_exists),
        Some(stored) => alter(plan, contract, layout, table, &types, stored),
    }
}

fn check_layout(contract: &Contract, layout: &Layout) -> Result<()> {
    let key = match &layout.distribution {
        Distribution::Key(column) => Some(column),
        Distribution::Auto | Distribution::Even | Distribution::All => None,
    };
    match key.into_iter().chain(&layout.sort).find(|column| contract.column(column).is_none()) {
        None => Ok(()),
        Some(column) => {
            let what = format!("table \"{}\" is distributed or sorted by \"{column}\", which is not one of its columns", contract.table);
            Err(Error::new(&CONTRACT, what))
        }
    }
}

fn create(
    plan: &mut Plan,
    contract: &Contract,
    layout: &Layout,
    table: &Relation,
    types: &[WarehouseType],
    meta_exists: bool,
) -> Result<()> {
    let mut columns = Vec::with_capacity(types.len());
    for (column, data_type) in contract.columns.iter().zip(types) {
        let null = if column.nullable { "" } else { " NOT NULL" };
        columns.push(format!("{} {data_type}{null}", Ident::column(column.name.as_str())?));
    }
    let text = format!("CREATE TABLE {table} ({}){}", list(columns), attributes(layout)?);
    let statement = Statement::new(Purpose::Define, text);
    plan.change('+', format!("table {} ({} columns)", table.plain(), types.len()), &statement);
    plan.together.push(statement);
    if meta_exists {
        let name = Literal::new(&table.plain())?;
        plan.together.push(Statement::new(Purpose::Define, format!("DELETE FROM {} WHERE table_name = {name}", meta_relation())));
    }
    if !contract.description.is_empty() {
        let words = Literal::of_words(&contract.description);
        plan.together.push(Statement::new(Purpose::Define, format!("COMMENT ON TABLE {table} IS {words}")));
    }
    for column in contract.columns.iter().filter(|column| !column.description.is_empty()) {
        plan.together.push(comment(table, &Ident::column(column.name.as_str())?, &column.description));
    }
    Ok(())
}

fn comment(table: &Relation, column: &Ident, description: &str) -> Statement {
    let words = Literal::of_words(description);
    Statement::new(Purpose::Define, format!("COMMENT ON COLUMN {} IS {words}", table.column(column)))
}

/// Distribution and sort keys as CREATE TABLE takes them; nothing where Redshift shall decide.
pub(super) fn attributes(layout: &Layout) -> Result<String> {
    let mut text = distribution(&layout.distribution)?;
    if !layout.sort.is_empty() {
        let columns = layout.sort.iter().map(|column| Ident::column(column.as_str())).collect::<Result<Vec<_>>>()?;
        text.push_str(&format!(" SORTKEY ({})", list(columns)));
    }
    Ok(text)
}

/// The distribution as CREATE TABLE takes it.
pub(super) fn distribution(distribution: &Distribution) -> Result<String> {
    Ok(match distribution {
        Distribution::Auto => String::new(),
        Distribution::Even => " DISTSTYLE EVEN".to_owned(),
        Distribution::All => " DISTSTYLE ALL".to_owned(),
        Distribution::Key(column) => format!(" DISTSTYLE KEY DISTKEY ({})", Ident::column(column.as_str())?),
    })
}

/// One line of the table of differences.
struct Difference {
    column: String,
    stored: String,
    wanted: String,
}

fn alter(
    plan: &mut Plan,
    contract: &Contract,
    layout: &Layout,
    table: &Relation,
    types: &[WarehouseType],
    stored: &[StoredColumn],
) -> Result<()> {
    let mut differences = Vec::new();
    let mut loosened = Vec::new();
    for (column, wanted) in contract.columns.iter().zip(types) {
        let name = column.name.as_str();
        let ident = Ident::column(name)?;
        let Some(found) = stored.iter().find(|stored| stored.name == name) else {
            // NOT NULL would need a default for the rows that are there.
            let statement = Statement::new(Purpose::Define, format!("ALTER TABLE {table} ADD COLUMN {ident} {wanted}"));
            plan.change('+', format!("column {}.{name} {wanted}", table.plain()), &statement);
            plan.together.push(statement);
            if !column.description.is_empty() {
                plan.together.push(comment(table, &ident, &column.description));
            }
            continue;
        };
        let null = if found.nullable { "" } else { " NOT NULL" };
        let differs = |wanted: String| Difference { column: name.to_owned(), stored: format!("{}{null}", found.words), wanted };
        let must_loosen = column.nullable && !found.nullable;
        match (found.data_type, *wanted) {
            (Some(WarehouseType::Varchar { bytes: has }), WarehouseType::Varchar { bytes: wants }) if has < wants && must_loosen => {}
            (Some(WarehouseType::Varchar { bytes: has }), WarehouseType::Varchar { bytes: wants }) if has < wants => {
                let text = format!("ALTER TABLE {table} ALTER COLUMN {ident} TYPE {wanted}");
                let statement = Statement::new(Purpose::Define, text);
                plan.change('~', format!("column {}.{name} {} becomes {wanted}", table.plain(), found.words), &statement);
                plan.alone.push(statement);
            }
            // A wider column holds all that the contract allows.
            (Some(WarehouseType::Varchar { .. }), WarehouseType::Varchar { .. }) => {}
            (Some(has), wanted) if has == wanted => {}
            (_, wanted) => {
                differences.push(differs(wanted.to_string()));
                continue;
            }
        }
        // Redshift drops no column that a table is distributed or sorted by.
        let is_key = layout.sort.contains(&column.name) || layout.distribution == Distribution::Key(column.name.clone());
        if must_loosen && is_key {
            differences.push(differs(format!("{wanted} (NULL allowed)")));
        } else if must_loosen {
            let data_type = match (found.data_type, *wanted) {
                (Some(WarehouseType::Varchar { bytes: has }), WarehouseType::Varchar { bytes: wants }) if has > wants => {
                    WarehouseType::Varchar { bytes: has }
                }
                (_, wanted) => wanted,
            };
            loosened.push(Loosened { name, data_type, was: found.words.clone(), description: &column.description });
        }
    }
    for extra in stored {
        if !contract.columns.iter().any(|column| column.name.as_str() == extra.name) {
            differences.push(Difference { column: extra.name.clone(), stored: extra.words.clone(), wanted: "not declared".to_owned() });
        }
    }
    if differences.is_empty() {
        return loosen(plan, table, &loosened);
    }
    let mut error = Error::new(&SCHEMA_CHANGE, format!("table \"{}\" in the warehouse and its contract differ", table.plain()));
    for difference in differences {
        let Difference { column, stored, wanted } = difference;
        error = error.caused_by(format!("column \"{column}\": the warehouse has {stored}, the contract {wanted}"));
    }
    Err(error)
}

/// A column that gets to hold NULL.
struct Loosened<'a> {
    name: &'a str,
    data_type: WarehouseType,
    was: String,
    description: &'a str,
}

/// Redshift has no statement that takes NOT NULL away: another column takes the place of each, with its values. Whoever reads the table meanwhile sees
/// it as it was; a view that is bound to the column keeps it from being dropped, and the warehouse says so.
fn loosen(plan: &mut Plan, table: &Relation, columns: &[Loosened<'_>]) -> Result<()> {
    for columns in columns.chunks(LOOSENED_AT_ONCE_MAX) {
        let mut batch: [Vec<Statement>; 4] = Default::default();
        let mut values = Vec::with_capacity(columns.len());
        for Loosened { name, data_type, was, description } in columns {
            let (ident, new) = (Ident::column(name)?, Ident::column(&format!("{name}_nullable"))?);
            let define = |text: String| Statement::new(Purpose::Define, text);
            let [add, drop, rename, describe] = &mut batch;
            add.push(define(format!("ALTER TABLE {table} ADD COLUMN {new} {data_type}")));
            values.push(format!("{new} = {ident}"));
            drop.push(define(format!("ALTER TABLE {table} DROP COLUMN {ident}")));
            let renamed = define(format!("ALTER TABLE {table} RENAME COLUMN {new} TO {ident}"));
            plan.change('~', format!("column {}.{name} {was} NOT NULL becomes {data_type}", table.plain()), &renamed);
            rename.push(renamed);
            if !description.is_empty() {
                describe.push(comment(table, &ident, description));
            }
        }
        let [mut statements, drop, rename, describe] = batch;
        statements.push(Statement::new(Purpose::Define, format!("UPDATE {table} SET {}", list(values))));
        statements.extend(drop.into_iter().chain(rename).chain(describe));
        plan.whole.push(statements);
    }
    Ok(())
}

#[cfg(test)]
#[path = "catalog_tests.rs"]
mod tests;
