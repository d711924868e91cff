//! ListDatabases, ListSchemas, ListTables and DescribeTable: they ask the catalog at once.

use std::sync::Arc;

use serde_json::{Value, json};
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::input::Input;
use super::operations::{Response, page, paged, target};
use crate::service::double::Double;
use crate::service::error::ServiceError;

/// The longest catalog page.
const PAGE_SIZE_MAX: i64 = 1000;

fn database_error(_: sqlx::Error) -> ServiceError {
    ServiceError::new("DatabaseConnectionException", 500, "The database cannot be reached, or does not exist")
}

/// The database whose catalog is asked for.
fn database(input: &Input) -> Result<String, ServiceError> {
    target(input).map(|target| target.database)
}

async fn rows(double: &Arc<Double>, database: &str, sql: &'static str, binds: &[Option<String>]) -> Result<Vec<PgRow>, ServiceError> {
    let query = binds.iter().fold(sqlx::query(sql), |query, bind| query.bind(bind.clone()));
    query.fetch_all(&double.pool(database)).await.map_err(database_error)
}

fn text(row: &PgRow, index: usize) -> Option<String> {
    row.try_get::<Option<String>, _>(index).ok().flatten()
}

/// ListDatabases.
pub(super) async fn databases(double: &Arc<Double>, input: &Input) -> Result<Response, ServiceError> {
    let page = page(input, PAGE_SIZE_MAX)?;
    let sql = "SELECT datname::text FROM pg_catalog.pg_database WHERE NOT datistemplate AND datname <> 'postgres' ORDER BY datname";
    let rows = rows(double, &database(input)?, sql, &[]).await?;
    Ok(paged("Databases", rows.iter().map(|row| json!(text(row, 0))).collect(), page).into())
}

/// ListSchemas.
pub(super) async fn schemas(double: &Arc<Double>, input: &Input) -> Result<Response, ServiceError> {
    let page = page(input, PAGE_SIZE_MAX)?;
    let sql = "SELECT nspname::text FROM pg_catalog.pg_namespace WHERE nspname <> '_redshift' AND nspname !~ '^pg_(toast|temp)' AND ($1::text IS NULL OR nspname LIKE $1) ORDER BY nspname";
    let rows = rows(double, &database(input)?, sql, &[input.text("SchemaPattern", usize::MAX)?]).await?;
    Ok(paged("Schemas", rows.iter().map(|row| json!(text(row, 0))).collect(), page).into())
}

/// ListTables.
pub(super) async fn tables(double: &Arc<Double>, input: &Input) -> Result<Response, ServiceError> {
    let page = page(input, PAGE_SIZE_MAX)?;
    let sql = "SELECT table_schema::text, table_name::text, CASE WHEN table_schema IN ('pg_catalog', 'information_schema') THEN CASE table_type WHEN 'VIEW' THEN 'SYSTEM VIEW' ELSE 'SYSTEM TABLE' END \
               WHEN table_type = 'VIEW' THEN 'VIEW' ELSE 'TABLE' END FROM _redshift.svv_tables \
               WHERE ($1::text IS NULL OR table_schema::text LIKE $1) AND ($2::text IS NULL OR table_name::text LIKE $2) AND table_schema::text !~ '^pg_temp' ORDER BY 1, 2";
    let binds = [input.text("SchemaPattern", usize::MAX)?, input.text("TablePattern", usize::MAX)?];
    let rows = rows(double, &database(input)?, sql, &binds).await?;
    let tables = rows.iter().map(|row| json!({ "schema": text(row, 0), "name": text(row, 1), "type": text(row, 2) })).collect();
    Ok(paged("Tables", tables, page).into())
}

/// DescribeTable.
pub(super) async fn describe(double: &Arc<Double>, input: &Input) -> Result<Response, ServiceError> {
    let page = page(input, PAGE_SIZE_MAX)?;
    let table = input.required_text("Table", usize::MAX)?;
    let sql = "SELECT nspname::text, _redshift.full_name(relname), _redshift.full_name(attname), CASE type_name WHEN 'character varying' THEN 'varchar' WHEN 'character' THEN 'bpchar' WHEN 'integer' THEN 'int4' \
               WHEN 'bigint' THEN 'int8' WHEN 'smallint' THEN 'int2' WHEN 'boolean' THEN 'bool' WHEN 'double precision' THEN 'float8' WHEN 'real' THEN 'float4' WHEN 'timestamp without time zone' THEN 'timestamp' \
               WHEN 'timestamp with time zone' THEN 'timestamptz' WHEN 'binary varying' THEN 'varbyte' ELSE type_name END, coalesce(length, 0)::bigint, coalesce(precision, length, 0)::bigint, coalesce(scale, 0)::bigint, \
               attnotnull, default_text FROM _redshift.shown_columns WHERE _redshift.full_name(relname) = $1 AND ($2::text IS NULL OR nspname = $2) ORDER BY nspname, attnum";
    let binds = [Some(table.clone()), input.text("Schema", usize::MAX)?];
    let rows = rows(double, &database(input)?, sql, &binds).await?;
    let columns = rows.iter().map(column).collect();
    let mut body = paged("ColumnList", columns, page);
    if let Some(object) = body.as_object_mut() {
        object.insert("TableName".to_owned(), Value::String(table));
    }
    Ok(body.into())
}

fn column(row: &PgRow) -> Value {
    let number = |index: usize| row.try_get::<i64, _>(index).unwrap_or(0);
    let type_name = text(row, 3).unwrap_or_default();
    let mut column = json!({
        "schemaName": text(row, 0),
        "tableName": text(row, 1),
        "name": text(row, 2),
        "label": text(row, 2),
        "isCaseSensitive": type_name == "varchar" || type_name == "bpchar",
        "isCurrency": false,
        "isSigned": (["int2", "int4", "int8", "float4", "float8", "numeric"].contains(&type_name.as_str())),
        "length": number(4),
        "precision": number(5),
        "scale": number(6),
        "nullable": i32::from(!row.try_get::<bool, _>(7).unwrap_or(false)),
        "typeName": type_name,
    });
    if let (Some(default), Some(object)) = (text(row, 8), column.as_object_mut()) {
        object.insert("columnDefault".to_owned(), Value::String(default));
    }
    column
}
