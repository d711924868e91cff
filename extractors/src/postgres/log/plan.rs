//! What the log says is to be read of a table, within the run's snapshot.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use pipeline_core::contract::{Contract, Privacy};
use pipeline_core::error::{BUG, Error, Result};
use pipeline_core::extract::{Checkpoint, Cursor};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;

use super::super::catalog::Relation;
use super::super::connection::{Connections, close};
use super::super::copy::{Frame, SourceColumn, Stop, field};
use super::super::error::{CAPTURE, During, LOG, LOST, SLOT, TIMEOUT, failed};
use super::super::snapshot::Snapshot;
use super::super::statement::{identifier, literal};
use super::CaptureOptions;
use super::keys::ByKey;
use super::lsn::Lsn;
use super::read::{Chunk, Keyed};
use super::scan::{Found, Scan, Trouble};
use super::setup::{self, Setup};
use super::{slot, sorted};
use crate::changes::key_contract;

/// How long to wait for the log to be on disk: commits without `synchronous_commit` take a few turns of the log's writer (200 ms each).
const WRITTEN_WITHIN: Duration = Duration::from_secs(30);

/// Between two looks.
const WRITTEN_POLL: Duration = Duration::from_millis(50);

/// What is to be read.
#[derive(Debug)]
pub(in crate::postgres) enum Change {
    /// All of the table. Without a checkpoint if there is no slot yet, as before the first run.
    Whole { checkpoint: Option<Checkpoint>, summary: String },
    /// Rows by their keys; none if nothing changed.
    Rows { checkpoint: Checkpoint, summary: String, statement: String, chunks: Vec<Chunk>, keys: u64 },
}

impl Change {
    /// The checkpoint and the words for a reading of the whole.
    pub(in crate::postgres) fn whole(self) -> Option<(Option<Checkpoint>, String)> {
        match self {
            Self::Whole { checkpoint, summary } => Some((checkpoint, summary)),
            Self::Rows { .. } => None,
        }
    }
}

/// What deciding needs.
pub(in crate::postgres) struct Table<'a> {
    pub(in crate::postgres) connections: &'a Connections,
    /// In the snapshot.
    pub(in crate::postgres) connection: &'a mut PgConnection,
    pub(in crate::postgres) snapshot: &'a Snapshot,
    pub(in crate::postgres) options: &'a CaptureOptions,
    /// Where keys of changed rows go that memory does not hold.
    pub(in crate::postgres) work: &'a Path,
    pub(in crate::postgres) slot: &'a str,
    pub(in crate::postgres) contract: &'a Contract,
    pub(in crate::postgres) relation: &'a Relation,
    /// The select list, and what it arrives as.
    pub(in crate::postgres) list: &'a str,
    pub(in crate::postgres) columns: &'a [SourceColumn],
}

/// Decides what is to be read since a checkpoint.
///
/// # Errors
/// [`CAPTURE`] if server or table are not set up for it; [`SLOT`] if the slot does not reach back to the checkpoint.
pub(in crate::postgres) async fn decide(table: Table<'_>, after: Option<&Checkpoint>) -> Result<Change> {
    let Table { connections, connection, snapshot, options, work, slot, contract, relation, list, columns } = table;
    setup::check_server(connections, connection, options).await?;
    let setup = setup::check_table(connections, connection, options, contract, relation).await?;
    let fingerprint = fingerprint(relation, columns, contract, &setup);
    let since = after.and_then(|after| match &after.upper {
        Cursor::Log(place) => Lsn::of_checkpoint(place),
        Cursor::Whole | Cursor::Number(_) | Cursor::Time(_) => None,
    });
    let what = format!("replication slot \"{slot}\" could not be read");
    let found = slot::find(connections, connection, slot, &what).await?;
    if let Some(found) = &found {
        slot::check_kind(found, slot)?;
    }
    if let Some(since) = since {
        slot::check_reach(found.as_ref(), slot, &contract.table, since)?;
    }
    let Some(confirmed) = found.filter(|found| !found.is_lost).and_then(|found| found.confirmed) else {
        let summary = "the whole table; its replication slot is made first".to_owned();
        return Ok(Change::Whole { checkpoint: None, summary });
    };
    let from = since.unwrap_or(confirmed);
    let Some(shown) = &snapshot.log else {
        return Err(Error::new(&CAPTURE, "the PostgreSQL server is a standby, whose log cannot be read"));
    };
    if shown.end < from {
        return Err(match since {
            Some(_) => {
                Error::new(&SLOT, format!("the log of the PostgreSQL server ends before the last reading of \"{}\"", contract.table))
                    .caused_by("the server was restored from a backup, or is another one")
            }
            // Its first reading must see what the slot does not give any more.
            None => Error::new(&LOST, format!("the run's snapshot is older than replication slot \"{slot}\"")),
        });
    }
    let other = after.filter(|_| since.is_some()).is_some_and(|after| after.fingerprint.as_ref() != Some(&fingerprint));
    let whole = if since.is_none() {
        Some("")
    } else if other {
        Some(", because its columns, its key, its contract or its publication changed")
    } else {
        None
    };
    // Where all is read, only the checkpoint is wanted of the log.
    let keys_max = if whole.is_some() { 0 } else { usize::try_from(options.changes_max).unwrap_or(usize::MAX) };
    let scan = Scan::new(setup.oids.clone(), setup.key.clone(), from, shown.visibility.clone(), keys_max, work);
    let Found { chunks, whole: lacking, held } = scanned(connections, options, slot, &what, scan).await?;
    let place = held.map_or(shown.end, |held| held.min(shown.end)).max(from);
    let checkpoint = Checkpoint { upper: Cursor::Log(place.checkpoint()), fingerprint: Some(fingerprint) };
    if let Some(why) = whole {
        return Ok(Change::Whole { checkpoint: Some(checkpoint), summary: format!("the whole table{why}") });
    }
    if let Some(lacking) = lacking {
        return Ok(Change::Whole { checkpoint: Some(checkpoint), summary: format!("the whole table, because {}", lacking.reason()) });
    }
    let key_contract = key_contract(contract);
    let (by_key, key_columns) = ByKey::new(relation, &relation.columns, list, &key_contract, &setup.key, &setup.key_types);
    let count = chunks.iter().map(|chunk| chunk.keys as u64).sum();
    let summary = if count == 0 { format!("no rows changed since {from}") } else { format!("{count} rows changed since {from}") };
    let statement = by_key.shown();
    let table = Arc::new(Keyed { by_key, contract: key_contract, columns: key_columns });
    let chunks = chunks.into_iter().map(|keys| Chunk { keys, table: Arc::clone(&table) }).collect();
    Ok(Change::Rows { checkpoint, summary, statement, chunks, keys: count })
}

/// Folds the log up to its end now.
async fn scanned(connections: &Connections, options: &CaptureOptions, slot: &str, what: &str, mut scan: Scan) -> Result<Found> {
    // A connection of its own: a slot is read outside of the snapshot.
    let mut connection = connections.open().await?;
    let end = written_end(connections, &mut connection, what).await?;
    // The names of publications are read as identifiers.
    let statement = format!(
        "COPY (SELECT data FROM pg_logical_slot_peek_binary_changes({}, '{end}', NULL, 'proto_version', '1', 'publication_names', {})) \
         TO STDOUT (FORMAT binary)",
        literal(slot),
        literal(&identifier(&options.publication))
    );
    let malformed = |why: &str| Error::new(&LOG, format!("a message of replication slot \"{slot}\" {why}"));
    let reading = async {
        let mut frame = Frame::default();
        let mut chunks = connection.copy_out_raw(&statement).await.map_err(|error| failed(what, &error, During::Executing))?;
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| failed(what, &error, During::Executing))?;
            let take = |tuple: &[u8]| {
                let message = field(tuple, 0).ok_or(Stop::Broken("is empty"))?;
                scan.take(message).map_err(|trouble| match trouble {
                    Trouble::Malformed(wrong) => Stop::Broken(wrong.0),
                    Trouble::Disk(error) => Stop::Failed(sorted::failed(&error)),
                })
            };
            frame.push(&chunk, take).map_err(|stop| match stop {
                Stop::Broken(why) => malformed(why),
                Stop::Failed(error) => error,
            })?;
        }
        if frame.is_ended() { Ok(()) } else { Err(malformed("ends early")) }
    };
    let limited = async { tokio::time::timeout(connections.patience(), reading).await.unwrap_or_else(|_| Err(Error::new(&TIMEOUT, what))) };
    connections.watched("postgresql peek", &statement, limited).await.map_err(|error| match slot::sql_state(&error) {
        // The publication as it was when the change was logged counts.
        Some("42704") => Error::new(&SLOT, format!("replication slot \"{slot}\" holds changes from before its publication was made"))
            .hint(format!("Let its owner execute: SELECT pg_drop_replication_slot({}); then run with --full-refresh.", literal(slot))),
        _ => slot::denied(connections, error),
    })?;
    close(connection).await;
    // Many keys are sorted on disk.
    match tokio::task::spawn_blocking(move || scan.finish()).await {
        Ok(found) => found.map_err(|error| sorted::failed(&error)),
        Err(_) => Err(Error::new(&BUG, "the keys of changed rows were sorted without an end")),
    }
}

/// The end of the log, once all of it is on disk: decoding sees no more than that, but a snapshot shows commits that are not.
async fn written_end(connections: &Connections, connection: &mut PgConnection, what: &str) -> Result<Lsn> {
    const ENDS: &str = "SELECT pg_current_wal_insert_lsn(), pg_current_wal_flush_lsn(), current_setting('wal_block_size')";
    let mut end = None;
    let waiting = async {
        loop {
            let rows = connections.rows(connection, ENDS, what).await?;
            let text = |place: usize| rows.first().and_then(|row| row.get(place)).and_then(Option::as_deref);
            let (Some(inserted), Some(written)) = (text(0).and_then(Lsn::parse), text(1).and_then(Lsn::parse)) else {
                return Err(Error::new(&LOG, what));
            };
            let page_bytes = text(2).and_then(|text| text.parse().ok()).unwrap_or(0);
            let wanted = *end.get_or_insert(inserted.written_end(page_bytes));
            if written >= wanted {
                return Ok(wanted);
            }
            tokio::time::sleep(WRITTEN_POLL).await;
        }
    };
    match tokio::time::timeout(WRITTEN_WITHIN, waiting).await {
        Ok(end) => end,
        Err(_) => {
            let seconds = WRITTEN_WITHIN.as_secs();
            Err(Error::new(&TIMEOUT, what).caused_by(format!("the server did not write its log to disk within {seconds} seconds")))
        }
    }
}

/// What the log says nothing about: if it changes, the whole table is read again.
fn fingerprint(relation: &Relation, columns: &[SourceColumn], contract: &Contract, setup: &Setup) -> String {
    let mut digest = Sha256::new();
    let mut add = |text: &str| {
        digest.update(text.len().to_be_bytes());
        digest.update(text.as_bytes());
    };
    add(&relation.oid.to_string());
    add(&setup.publication);
    for name in &setup.key {
        add(name);
    }
    for column in columns {
        add(&column.name);
        let shape = setup.shapes.iter().find(|(name, _)| *name == column.name);
        add(shape.map_or("", |(_, shape)| shape.as_str()));
    }
    for column in &contract.columns {
        add(column.name.as_str());
        add(&column.from);
        add(&column.data_type.to_string());
        add(match column.privacy {
            Privacy::None | Privacy::Keep => "open",
            Privacy::Hash => "hash",
            Privacy::Mask => "mask",
            Privacy::Drop => "drop",
        });
    }
    hex::encode(digest.finalize())
}
