//! Whether a server and a table are set up for change capture, and the statement that does what is missing.

use std::collections::HashSet;

use pipeline_core::contract::Contract;
use pipeline_core::error::{Error, Result};
use sqlx::PgConnection;

use super::super::catalog::Relation;
use super::super::connection::Connections;
use super::super::error::CAPTURE;
use super::super::statement::{identifier, literal};
use super::CaptureOptions;

/// What capturing a table needs to know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setup {
    /// Its object identifier and those of its partitions.
    pub(super) oids: HashSet<u32>,
    /// The key's columns by their names in the source.
    pub(super) key: Vec<String>,
    /// Their types in SQL.
    pub(super) key_types: Vec<String>,
    /// Each column's name, with its number and its exact type: both differ when an ALTER TABLE wrote its values anew.
    pub(super) shapes: Vec<(String, String)>,
    /// Changes when the publication, or the table's place in it, is made anew or altered.
    pub(super) publication: String,
}

/// That the server logs what decoding needs, and has the publication.
///
/// # Errors
/// [`CAPTURE`] with the statement that does what is missing.
pub(super) async fn check_server(connections: &Connections, connection: &mut PgConnection, options: &CaptureOptions) -> Result<()> {
    let sql = format!(
        "SELECT current_setting('wal_level'), pg_is_in_recovery(), \
         (SELECT pubinsert AND pubupdate AND pubdelete AND pubtruncate FROM pg_publication WHERE pubname = {})",
        literal(&options.publication)
    );
    let rows = connections.rows(connection, &sql, "the PostgreSQL server could not be asked about change capture").await?;
    let text = |place: usize| rows.first().and_then(|row| row.get(place)).and_then(Option::as_deref);
    if text(0) != Some("logical") {
        return Err(Error::new(
            &CAPTURE,
            format!("the PostgreSQL server logs too little for change capture: wal_level is \"{}\"", text(0).unwrap_or_default()),
        )
        .hint("Let a superuser execute: ALTER SYSTEM SET wal_level = 'logical'; and start the server anew."));
    }
    if text(1) == Some("t") {
        return Err(Error::new(&CAPTURE, "the PostgreSQL server is a standby, which has no replication slots of its own")
            .hint("Let `url` lead to the primary, or set `capture = \"cursor\"`."));
    }
    let publication = identifier(&options.publication);
    match text(2) {
        Some("t") => Ok(()),
        Some(_) => Err(Error::new(&CAPTURE, format!("publication \"{}\" leaves out some kinds of changes", options.publication))
            .hint(format!("Let its owner execute: ALTER PUBLICATION {publication} SET (publish = 'insert, update, delete, truncate');"))),
        None => Err(Error::new(&CAPTURE, format!("publication \"{}\" does not exist in the PostgreSQL database", options.publication))
            .hint(format!(
                "Let a superuser execute: CREATE PUBLICATION {publication} FOR ALL TABLES WITH (publish_via_partition_root = true);"
            ))),
    }
}

/// Looks a table's setting-up over.
///
/// # Errors
/// [`CAPTURE`] with the statement that does what is missing.
pub(super) async fn check_table(
    connections: &Connections,
    connection: &mut PgConnection,
    options: &CaptureOptions,
    contract: &Contract,
    relation: &Relation,
) -> Result<Setup> {
    let table = &contract.table;
    let wrong = |what: String| Error::new(&CAPTURE, format!("table \"{table}\" {what}"));
    if contract.key.is_empty() {
        return Err(wrong("has no key, so its changes cannot be told apart".to_owned())
            .hint("Declare its `key`, or set `capture = \"cursor\"` in the table's section."));
    }
    let what = format!("table \"{table}\" could not be checked for change capture");
    let oid = relation.oid;
    let kinds = connections
        .rows(connection, &format!("SELECT relkind IN ('r', 'p'), relpersistence = 'p' FROM pg_class WHERE oid = {oid}"), &what)
        .await?;
    if !kinds.iter().flatten().all(|is| is.as_deref() == Some("t")) {
        return Err(wrong("is a view, a foreign table or not logged, so the log does not have its changes".to_owned())
            .hint("Set `capture = \"cursor\"` in the table's section."));
    }
    let columns = connections
        .rows(
            connection,
            &format!(
                "SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, c.relreplident = 'f' OR a.attnum = ANY(i.indkey), a.attnum \
                 FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid LEFT JOIN pg_index i ON i.indrelid = c.oid \
                 AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END \
                 WHERE c.oid = {oid} AND a.attnum > 0 AND NOT a.attisdropped"
            ),
            &what,
        )
        .await?;
    let value = |row: &[Option<String>], place: usize| row.get(place).cloned().flatten().unwrap_or_default();
    let shapes = columns.iter().map(|row| (value(row, 0), format!("{} {}", value(row, 4), value(row, 1)))).collect();
    let (mut key, mut key_types) = (Vec::new(), Vec::new());
    for name in &contract.key {
        let from = contract.column(name).map(|column| column.from.as_str()).unwrap_or_default();
        let Some(column) = columns.iter().find(|column| column.first().is_some_and(|name| name.as_deref() == Some(from))) else {
            return Err(wrong(format!("has the key \"{name}\", which is a part of a column")).hint("Declare a key of whole columns."));
        };
        let text = |place: usize| column.get(place).and_then(Option::as_deref).unwrap_or_default();
        if text(2) != "t" {
            return Err(wrong(format!("may have NULL in its key \"{name}\"")).hint(format!(
                "Let its owner execute: ALTER TABLE {} ALTER COLUMN {} SET NOT NULL;",
                relation.name,
                identifier(from)
            )));
        }
        if text(3) != "t" {
            return Err(wrong(format!("does not log the key \"{name}\" of rows that are changed or deleted")).hint(format!(
                "Let its owner execute: ALTER TABLE {} REPLICA IDENTITY FULL; or declare its primary key as `key`.",
                relation.name
            )));
        }
        if text(1).ends_with("[]") {
            return Err(
                wrong(format!("has the key \"{name}\", which is an array")).hint("Set `capture = \"cursor\"` in the table's section.")
            );
        }
        key.push(from.to_owned());
        key_types.push(text(1).to_owned());
    }
    let oids: HashSet<u32> = connections
        .rows(
            connection,
            &format!(
                "WITH RECURSIVE tree (oid) AS (SELECT {oid}::oid UNION SELECT i.inhrelid FROM tree JOIN pg_inherits i ON i.inhparent = tree.oid) \
                 SELECT oid FROM tree"
            ),
            &what,
        )
        .await?
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|oid| oid.parse().ok())
        .collect();
    let publication = publication(connections, connection, options, relation, &oids, &what).await?;
    Ok(Setup { oids, key, key_types, shapes, publication })
}

/// That the publication has the table whole, and what tells whether that stays so.
async fn publication(
    connections: &Connections,
    connection: &mut PgConnection,
    options: &CaptureOptions,
    relation: &Relation,
    oids: &HashSet<u32>,
    what: &str,
) -> Result<String> {
    let name = literal(&options.publication);
    // The version of the publication's own row tells that its settings changed (`xmin`); its members are rows of their own. Row
    // filters and lists of columns are of PostgreSQL 15, so older servers lack the catalog's columns: a row as JSON has what there is.
    let sql = format!(
        "SELECT p.oid || ':' || p.xmin, p.puballtables, \
         (SELECT string_agg(r.prrelid || '.' || r.oid || '.' || r.xmin, ',' ORDER BY r.prrelid) FROM pg_publication_rel r \
          WHERE r.prpubid = p.oid AND r.prrelid = ANY('{{{members}}}')), \
         EXISTS (SELECT FROM pg_publication_rel r WHERE r.prpubid = p.oid AND r.prrelid = ANY('{{{members}}}') \
          AND (to_jsonb(r) ->> 'prqual' IS NOT NULL OR to_jsonb(r) ->> 'prattrs' IS NOT NULL)), \
         EXISTS (SELECT FROM pg_publication_tables t JOIN pg_namespace n ON n.nspname = t.schemaname \
          JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename \
          WHERE t.pubname = p.pubname AND c.oid = ANY('{{{members}}}')) \
         FROM pg_publication p WHERE p.pubname = {name}",
        members = {
            let mut members: Vec<String> = oids.iter().map(u32::to_string).collect();
            members.sort_unstable();
            members.join(",")
        }
    );
    let rows = connections.rows(connection, &sql, what).await?;
    let text = |place: usize| rows.first().and_then(|row| row.get(place)).and_then(Option::as_deref).unwrap_or_default();
    let wrong = |what: &str| Error::new(&CAPTURE, format!("publication \"{}\" {what} table \"{}\"", options.publication, relation.name));
    let publication = identifier(&options.publication);
    if text(3) == "t" {
        return Err(wrong("has only some rows or columns of").hint(format!(
            "Let its owner execute: ALTER PUBLICATION {publication} DROP TABLE {table}; ALTER PUBLICATION {publication} ADD TABLE {table};",
            table = relation.name
        )));
    }
    if text(4) != "t" {
        return Err(
            wrong("does not have").hint(format!("Let its owner execute: ALTER PUBLICATION {publication} ADD TABLE {};", relation.name))
        );
    }
    Ok(format!("{}/{}", text(0), text(2)))
}
