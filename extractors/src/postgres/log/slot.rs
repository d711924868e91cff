//! Slots: places in the log that the server remembers.

use std::sync::Arc;

use pipeline_core::error::{Error, Result};
use pipeline_core::extract::{Checkpoint, Cursor};
use pipeline_core::name::TableName;
use sha2::{Digest, Sha256};
use sqlx::PgConnection;

use super::super::connection::{Connections, close};
use super::super::error::{CAPTURE, GRANT, SLOT};
use super::super::statement::{identifier, literal};
use super::CaptureOptions;
use super::lsn::Lsn;

/// Longest name of a slot (`NAMEDATALEN` less its end).
const NAME_BYTES_MAX: usize = 63;

/// A slot as `pg_replication_slots` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slot {
    /// What was committed before is not given any more.
    pub(super) confirmed: Option<Lsn>,
    /// Whether the server removed the log that it needs.
    pub(super) is_lost: bool,
    /// Whether it is of another database or of another output plugin.
    pub(super) is_foreign: bool,
    /// Log that the server keeps for it.
    pub(super) kept_bytes: u64,
    /// Log behind its place.
    pub(super) behind_bytes: u64,
    /// Log that the server would still keep (`max_slot_wal_keep_size`); None without a limit.
    pub(super) safe_bytes: Option<i64>,
}

/// The name of a table's slot: lower-case letters, digits and underscores (PostgreSQL 15 documentation, 27.2.6.1).
pub(in crate::postgres) fn name(options: &CaptureOptions, table: &TableName) -> String {
    let whole = format!("{}_{}_{}", options.slot_prefix, table.schema(), table.table());
    let plain: String = whole.chars().map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '_' }).collect();
    if plain == whole && plain.len() <= NAME_BYTES_MAX {
        return plain;
    }
    // Other names must stay other names when characters are replaced or cut off.
    let digest = hex::encode(Sha256::digest(whole.as_bytes()));
    let tail: String = digest.chars().take(8).collect();
    let head: String = plain.chars().take(NAME_BYTES_MAX - 9).collect();
    format!("{head}_{tail}")
}

/// Looks a slot up. `pg_current_wal_lsn` is not to be had on a standby, which has no slots to read from either.
pub(super) async fn find(connections: &Connections, connection: &mut PgConnection, slot: &str, what: &str) -> Result<Option<Slot>> {
    let current = "CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END";
    let sql = format!(
        "SELECT confirmed_flush_lsn, coalesce(wal_status, 'lost') = 'lost', \
         plugin IS DISTINCT FROM 'pgoutput' OR database IS DISTINCT FROM current_database(), \
         greatest(0, ({current}) - restart_lsn)::bigint, greatest(0, ({current}) - confirmed_flush_lsn)::bigint, safe_wal_size \
         FROM pg_replication_slots WHERE slot_name = {}",
        literal(slot)
    );
    let rows = connections.rows(connection, &sql, what).await?;
    Ok(rows.first().map(|row| {
        let text = |place: usize| row.get(place).and_then(Option::as_deref);
        Slot {
            confirmed: text(0).and_then(Lsn::parse),
            is_lost: text(1) == Some("t"),
            is_foreign: text(2) == Some("t"),
            kept_bytes: text(3).and_then(|text| text.parse().ok()).unwrap_or(0),
            behind_bytes: text(4).and_then(|text| text.parse().ok()).unwrap_or(0),
            safe_bytes: text(5).and_then(|text| text.parse().ok()),
        }
    }))
}

/// Makes a table's slot if there is none, and anew if the server has lost it: what that loses, the plan finds out from the checkpoint.
///
/// # Errors
/// [`CAPTURE`] if the server is not set up for it; [`GRANT`] if the user may not.
pub(in crate::postgres) async fn prepare(connections: &Arc<Connections>, slot: &str, options: &CaptureOptions) -> Result<()> {
    let what = format!("replication slot \"{slot}\" could not be made");
    let mut connection = connections.open().await?;
    // A slot that is older than its publication cannot be read.
    super::setup::check_server(connections, &mut connection, options).await?;
    let found = find(connections, &mut connection, slot, &what).await?;
    if let Some(found) = &found {
        check_kind(found, slot)?;
    }
    if found.as_ref().is_some_and(|found| found.is_lost) {
        tracing::warn!(slot, "a replication slot was lost and is made anew");
        let sql = format!("SELECT pg_drop_replication_slot({})", literal(slot));
        connections.rows(&mut connection, &sql, &what).await.map_err(|error| denied(connections, error))?;
    }
    if found.is_none_or(|found| found.is_lost) {
        let sql = format!("SELECT pg_create_logical_replication_slot({}, 'pgoutput')", literal(slot));
        connections.rows(&mut connection, &sql, &what).await.map_err(|error| match sql_state(&error) {
            Some("53400") => {
                error.hint("Raise max_replication_slots in postgresql.conf, and start the server anew: each captured table has a slot.")
            }
            _ => denied(connections, error),
        })?;
    }
    close(connection).await;
    Ok(())
}

pub(super) fn check_kind(found: &Slot, slot: &str) -> Result<()> {
    if !found.is_foreign {
        return Ok(());
    }
    Err(Error::new(&CAPTURE, format!("replication slot \"{slot}\" belongs to another database or another output plugin"))
        .hint("Set `slot_prefix` in the source's section to a name of this pipeline's own."))
}

/// The SQLSTATE that an error shows.
pub(super) fn sql_state(error: &Error) -> Option<&str> {
    error.causes().iter().find_map(|cause| cause.rsplit_once("SQLSTATE ")).map(|(_, state)| state)
}

/// A refusal for want of the right to replicate, with the statement that gives it.
pub(super) fn denied(connections: &Connections, error: Error) -> Error {
    if error.code() != &GRANT {
        return error;
    }
    let user = identifier(connections.user());
    error.hint(format!("Let a superuser execute: ALTER ROLE {user} REPLICATION; (on Amazon RDS: GRANT rds_replication TO {user};)"))
}

/// Lets the server forget what lies before a checkpoint. A slot that is gone, or further already, is left as it is.
pub(in crate::postgres) async fn committed(connections: &Connections, slot: &str, checkpoint: &Checkpoint) -> Result<()> {
    let Cursor::Log(place) = &checkpoint.upper else { return Ok(()) };
    let what = format!("replication slot \"{slot}\" could not be moved");
    let Some(place) = Lsn::of_checkpoint(place) else { return Ok(()) };
    let mut connection = connections.open().await?;
    let sql = format!(
        "SELECT pg_replication_slot_advance(slot_name, '{place}') FROM pg_replication_slots \
         WHERE slot_name = {} AND confirmed_flush_lsn < '{place}'",
        literal(slot)
    );
    connections.rows(&mut connection, &sql, &what).await?;
    close(connection).await;
    Ok(())
}

/// That a slot still gives what was committed since a checkpoint.
pub(super) fn check_reach(found: Option<&Slot>, slot: &str, table: &TableName, since: Lsn) -> Result<()> {
    let why = match found {
        None => "it is gone",
        Some(found) if found.is_lost => "the server removed its log, which had grown beyond max_slot_wal_keep_size",
        Some(found) if found.confirmed.is_none_or(|confirmed| confirmed > since) => {
            "it was made anew or moved on since, by a run that is not this pipeline's, for example"
        }
        Some(_) => return Ok(()),
    };
    Err(Error::new(&SLOT, format!("replication slot \"{slot}\" no longer holds the changes of table \"{table}\" since its last reading"))
        .caused_by(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_slots_are_what_the_server_takes_and_stay_apart() {
        let named = |prefix: &str, table: &str| {
            let options = CaptureOptions { slot_prefix: prefix.to_owned(), ..CaptureOptions::default() };
            name(&options, &TableName::new("platform", table).unwrap())
        };
        assert_eq!(named("pipeline", "transactions"), "pipeline_platform_transactions");
        let (upper, lower) = (named("Night", "t"), named("night", "t"));
        assert_ne!(upper, lower);
        let long = "x".repeat(60);
        for name in [upper, named("pipeline", &long), named("żur", "t")] {
            assert!(
                name.len() <= NAME_BYTES_MAX && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'),
                "{name}"
            );
        }
        assert_ne!(named("pipeline", &long), named("pipeline", &format!("{long}y")));
    }

    #[test]
    fn a_slot_reaches_back_to_a_checkpoint_or_says_why_not() {
        let table = TableName::new("platform", "t").unwrap();
        let slot = |confirmed: u64, is_lost| Slot {
            confirmed: Some(Lsn(confirmed)),
            is_lost,
            is_foreign: false,
            kept_bytes: 0,
            behind_bytes: 0,
            safe_bytes: None,
        };
        let check = |slot: Option<Slot>| check_reach(slot.as_ref(), "s", &table, Lsn(10));
        assert!(check(Some(slot(9, false))).is_ok() && check(Some(slot(10, false))).is_ok());
        for broken in [None, Some(slot(11, false)), Some(slot(9, true))] {
            assert_eq!(check(broken).unwrap_err().code(), &SLOT);
        }
    }
}
