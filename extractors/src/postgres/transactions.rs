//! Which transactions a snapshot that is taken now may not show, and when they began.
//!
//! A row that such a transaction writes with the time of its beginning comes after the snapshot, with an older time than rows that the snapshot
//! shows. So a checkpoint must stay behind all of their beginnings.
//!
//! # What the server tells
//! `pg_stat_activity.xact_start` is when a session's transaction began, whether it has written yet or not. A role sees it of its own sessions, and with
//! `pg_read_all_stats` of all. That others have a transaction is seen all the same: each holds a lock on its own virtual identifier, and
//! `pg_locks` shows these to everybody. Such hidden transactions are waited for, a few seconds: when all that were there at a moment are over,
//! any other began after that moment.
//!
//! A standby shows its own sessions only. What still runs at the primary is seen in the standby's snapshot by number, and waited for likewise;
//! the moment is then that of the last transaction that was replayed. A transaction of the primary that has written nothing yet has no number:
//! at a standby the lookback has to cover how long transactions take before they first write.

use std::time::{Duration, Instant};

use pipeline_core::error::Result;
use pipeline_core::probe::Probe;
use sqlx::PgConnection;

use super::connection::{Connections, close};
use super::snapshot::text;
use super::statement::identifier;

/// How long hidden transactions are waited for.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// The pause before looking again.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// What is open, as far as a role may see it. Vacuums, which have no user, and senders of the log write no rows that anybody reads.
const OPEN: &str = "WITH sessions AS ( \
        SELECT pid, xact_start FROM pg_stat_activity \
        WHERE datname = current_database() AND pid <> pg_backend_pid() \
            AND usesysid IS NOT NULL AND backend_type IS DISTINCT FROM 'walsender') \
    SELECT (extract(epoch FROM least( \
            CASE WHEN NOT pg_is_in_recovery() THEN (SELECT min(xact_start) FROM sessions) END, \
            (SELECT min(prepared) FROM pg_prepared_xacts WHERE database = current_database()), \
            CASE WHEN pg_is_in_recovery() THEN pg_last_xact_replay_timestamp() ELSE clock_timestamp() END)) * 1000000)::bigint, \
        (SELECT string_agg(quote_literal(virtualtransaction), ', ') FROM pg_locks JOIN sessions USING (pid) \
            WHERE locktype = 'virtualxid' AND mode = 'ExclusiveLock' AND xact_start IS NULL AND NOT pg_is_in_recovery()), \
        CASE WHEN pg_is_in_recovery() THEN txid_snapshot_xmax(txid_current_snapshot()) END, \
        pg_is_in_recovery() AND pg_last_xact_replay_timestamp() IS NULL";

/// The oldest instant, in microseconds since 1970, at which a transaction may have begun that a snapshot taken after this call does not show. None
/// if a transaction that cannot be looked into goes on for too long.
pub(super) async fn oldest(connections: &Connections, connection: &mut PgConnection, what: &str) -> Result<Option<i64>> {
    let now = connections.rows(connection, OPEN, what).await?;
    let began_us = text(&now, 0).and_then(|text| text.parse().ok());
    if text(&now, 3).as_deref() == Some("t") {
        // A standby that has replayed nothing since it was started does not say how old what it shows is.
        return Ok(None);
    }
    let is_over = match (text(&now, 1), text(&now, 2)) {
        (None, None) => return Ok(began_us),
        (Some(hidden), _) => {
            format!("SELECT NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'virtualxid' AND virtualtransaction IN ({hidden}))")
        }
        (None, Some(number)) => format!("SELECT txid_snapshot_xmin(txid_current_snapshot()) >= {number}"),
    };
    let waiting_since = Instant::now();
    loop {
        if text(&connections.rows(connection, &is_over, what).await?, 0).as_deref() == Some("t") {
            return Ok(began_us);
        }
        if waiting_since.elapsed() >= WAIT_MAX {
            tracing::warn!("a transaction is open whose beginning cannot be seen; checkpoints stay where they are");
            return Ok(None);
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Whether the beginnings of other roles' transactions can be seen. Without that the checkpoint waits for them, so it is advice, not a fault.
pub(super) async fn health(connections: &Connections) -> Result<Option<Probe>> {
    let what = "the rights of the role could not be looked at";
    let mut connection = connections.open().await?;
    let sql = "SELECT pg_is_in_recovery(), pg_has_role('pg_read_all_stats', 'USAGE')";
    let rows = connections.rows(&mut connection, sql, what).await?;
    close(connection).await;
    let (detail, fix) = match (text(&rows, 0).as_deref(), text(&rows, 1).as_deref()) {
        (Some("t"), _) => (
            "a standby: transactions of the primary that write for the first time late are found by the lookback only",
            Some("Let `lookback` be longer than transactions take before they first write, or read the primary.".to_owned()),
        ),
        (_, Some("f")) => (
            "the role does not see when other roles' transactions began: one that stays open keeps checkpoints where they are",
            Some(format!("Let a superuser execute: GRANT pg_read_all_stats TO {};", identifier(connections.user()))),
        ),
        _ => return Ok(None),
    };
    Ok(Some(Probe { what: "open transactions".to_owned(), ok: true, detail: detail.to_owned(), fix }))
}
