//! Redshift's catalog in PostgreSQL: schema `_redshift`, made in every database the double serves.

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Row};

use crate::sql::name;

/// In the order they build on each other.
const PARTS: [&str; 4] = [
    include_str!("catalog/tables.sql"),
    include_str!("catalog/definitions.sql"),
    include_str!("catalog/functions.sql"),
    include_str!("catalog/views.sql"),
];

/// The settings of every connection that runs statements. A backslash escapes in strings, as on Redshift.
pub(crate) const SESSION_SETTINGS: [(&str, &str); 9] = [
    ("search_path", "\"$user\", public, _redshift"),
    ("timezone", "UTC"),
    ("datestyle", "ISO, MDY"),
    ("bytea_output", "hex"),
    ("standard_conforming_strings", "off"),
    ("escape_string_warning", "off"),
    ("backslash_quote", "on"),
    ("client_min_messages", "warning"),
    ("jit", "off"),
];

/// Makes the databases that are missing, and the catalog in each.
pub(crate) async fn prepare(options: &PgConnectOptions, databases: &[String]) -> Result<(), sqlx::Error> {
    let mut server = options.clone().database("postgres").connect().await?;
    for database in databases {
        let exists =
            sqlx::query("SELECT 1 FROM pg_catalog.pg_database WHERE datname = $1").bind(database).fetch_optional(&mut server).await?;
        if exists.is_none() {
            sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE \"{}\"", database.replace('"', "\"\"")))).execute(&mut server).await?;
        }
        let mut connection = options.clone().database(database).connect().await?;
        for part in PARTS {
            sqlx::raw_sql(part).execute(&mut connection).await?;
        }
        for row in sqlx::raw_sql("SELECT short, name FROM _redshift.long_names").fetch_all(&mut connection).await? {
            name::remember(row.try_get(0)?, row.try_get(1)?);
        }
    }
    Ok(())
}

/// Columns of type SUPER anywhere in the database, by name.
pub(crate) async fn super_columns(connection: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    let sql = "SELECT DISTINCT attname::text FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
               WHERE a.atttypid = 'jsonb'::regtype AND a.attnum > 0 AND NOT a.attisdropped AND n.nspname NOT IN ('pg_catalog', 'information_schema', '_redshift')";
    let rows = sqlx::raw_sql(sql).fetch_all(connection).await?;
    rows.iter().map(|row| row.try_get::<String, _>(0).map(|name| name::shown(&name))).collect()
}

/// Late-binding views: schema, name, query.
pub(crate) async fn late_views(connection: &mut PgConnection) -> Result<Vec<(String, String, String)>, sqlx::Error> {
    let rows = sqlx::raw_sql("SELECT schema_name, view_name, query FROM _redshift.late_views").fetch_all(connection).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))).collect()
}
