//! One exported snapshot for all tables of a run, so that they fit together.
//!
//! A connection of its own opens a transaction, exports its snapshot, and then only waits: what fails elsewhere cannot end it. Every reading
//! imports the snapshot by its name. It is let go when every table of the source has been read; a table that is planned again after it
//! was read begins a new round with a new snapshot.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pipeline_core::error::{BUG, Error, Result};
use pipeline_core::extract::SourceCut;
use pipeline_core::window::Timestamp;
use sqlx::{AssertSqlSafe, PgConnection};
use tokio::sync::Mutex;

use super::connection::{Connections, close};
use super::error::{During, failed};
use super::log::{Lsn, Visibility};
use super::statement::literal;
use super::transactions::oldest;

/// A snapshot that is held open while this value lives.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// Its name at the server.
    pub(super) name: String,
    /// The oldest instant that a transaction which the snapshot does not show may have begun at, in microseconds since 1970: no later than
    /// the snapshot itself. None if the server does not tell: no checkpoint can rely on this snapshot then.
    pub(super) oldest_us: Option<i64>,
    /// What it shows: transactions that were committed at this time by the server's clock, and its place in the server's history.
    pub(super) cut: SourceCut,
    /// When it had been taken, by the server's clock: what it shows with a later time was given that time by somebody.
    pub(super) taken: Timestamp,
    /// Where it stands in the server's log; None at a standby, whose log cannot be read.
    pub(super) log: Option<Place>,
    /// What holds it open; None where every slice has a snapshot of its own.
    holder: Option<PgConnection>,
}

/// Where a snapshot stands in the server's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The end of the log, as far as it was on disk, before the snapshot was taken.
    pub(super) end: Lsn,
    /// Which transactions the snapshot shows.
    pub(super) visibility: Visibility,
}

/// The snapshot of the tables that are being read.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    /// The next table's number.
    next: AtomicUsize,
    /// Tables that are open.
    tables: std::sync::Mutex<HashSet<usize>>,
    round: Mutex<Round>,
}

#[derive(Debug, Default)]
struct Round {
    /// Tables that have been read.
    finished: HashSet<usize>,
    snapshot: Option<Arc<Snapshot>>,
}

impl Snapshots {
    /// Adds a table and gives it a number.
    pub(super) fn join(&self) -> usize {
        let table = self.next.fetch_add(1, Ordering::Relaxed);
        self.open().insert(table);
        table
    }

    /// Takes a table away that will not be read any more.
    pub(super) fn leave(&self, table: usize) {
        self.open().remove(&table);
    }

    fn open(&self) -> std::sync::MutexGuard<'_, HashSet<usize>> {
        self.tables.lock().expect("no holder of this lock panics")
    }

    /// The round's snapshot for a table that is about to be planned.
    pub(super) async fn current(&self, connections: &Connections, table: usize) -> Result<Arc<Snapshot>> {
        let mut round = self.round.lock().await;
        if round.finished.contains(&table) {
            round.finished.clear();
            round.snapshot = None;
        }
        if let Some(snapshot) = &round.snapshot {
            return Ok(Arc::clone(snapshot));
        }
        let snapshot = Arc::new(Snapshot::take(connections).await?);
        round.snapshot = Some(Arc::clone(&snapshot));
        Ok(snapshot)
    }

    /// Forgets a snapshot that turned out to be gone.
    pub(super) async fn forget(&self, gone: &Arc<Snapshot>) {
        let mut round = self.round.lock().await;
        if round.snapshot.as_ref().is_some_and(|current| Arc::ptr_eq(current, gone)) {
            tracing::warn!("the exported snapshot is gone; tables that are read from now on are read in a new one");
            round.snapshot = None;
        }
    }

    /// Says that a table has been read. After the last one the snapshot is let go; gives true then.
    pub(super) async fn finish(&self, table: usize) -> bool {
        let mut round = self.round.lock().await;
        round.finished.insert(table);
        if !self.open().is_subset(&round.finished) {
            return false;
        }
        round.finished.clear();
        if let Some(holder) = round.snapshot.take().and_then(Arc::into_inner).and_then(|snapshot| snapshot.holder) {
            close(holder).await;
        }
        true
    }
}

/// A value of the first row.
pub(super) fn text(rows: &[Vec<Option<String>>], place: usize) -> Option<String> {
    rows.first().and_then(|row| row.get(place)).cloned().flatten()
}

impl Snapshot {
    async fn take(connections: &Connections) -> Result<Self> {
        const WHAT: &str = "a snapshot of the PostgreSQL database could not be taken";
        let mut holder = connections.open().await?;
        let oldest_us = oldest(connections, &mut holder, WHAT).await?;
        // Before the snapshot, so that it shows every transaction whose commit lies before the end of the log.
        let now = "SELECT CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_flush_lsn() END, \
                   (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
        let now = connections.rows(&mut holder, now, WHAT).await?;
        let Some(now_us) = text(&now, 1).and_then(|text| text.parse().ok()) else { return Err(Error::new(&BUG, WHAT)) };
        let at = Timestamp::from_microseconds(now_us);
        if !connections.is_consistent() {
            close(holder).await;
            let cut = SourceCut { place: "a snapshot for each slice".to_owned(), at };
            return Ok(Self { name: String::new(), oldest_us, cut, taken: at, log: None, holder: None });
        }
        // The snapshot may wait long for its last reader, longer than any statement takes.
        sqlx::raw_sql("SET statement_timeout = 0; BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .execute(&mut holder)
            .await
            .map_err(|error| failed(WHAT, &error, During::Executing))?;
        // The statement's snapshot is taken before its expressions are computed: the clock is the last of them.
        let export = "SELECT pg_export_snapshot(), txid_current_snapshot(), (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
        let exported = connections.rows(&mut holder, export, WHAT).await?;
        let (Some(name), Some(taken_us)) = (text(&exported, 0), text(&exported, 2).and_then(|text| text.parse().ok())) else {
            return Err(Error::new(&BUG, WHAT));
        };
        let taken = Timestamp::from_microseconds(taken_us);
        let end = text(&now, 0).and_then(|text| Lsn::parse(&text));
        let shown = text(&exported, 1).unwrap_or_default();
        let place = end.map_or_else(|| format!("transactions {shown}"), |end| format!("log {end}, transactions {shown}"));
        let log = end.zip(Visibility::parse(&shown)).map(|(end, visibility)| Place { end, visibility });
        Ok(Self { name, oldest_us, cut: SourceCut { place, at }, taken, log, holder: Some(holder) })
    }
}

/// Begins a transaction that sees a snapshot; without a name, one of its own.
///
/// # Errors
/// [`super::LOST`] if the snapshot is gone.
pub(super) async fn begin(connection: &mut PgConnection, snapshot: &str, what: &str) -> Result<()> {
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    let statement = match snapshot {
        "" => begin.to_owned(),
        name => format!("{begin}; SET TRANSACTION SNAPSHOT {}", literal(name)),
    };
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(connection).await.map(drop).map_err(|error| failed(what, &error, During::Executing))
}
