//! What the change stream says is to be read of a collection.

use std::time::Duration;

use ::bson::{Bson, Document, Timestamp as ClusterTime, doc};
use mongodb::change_stream::event::OperationType;
use mongodb::error::ErrorKind as DriverKind;
use pipeline_core::contract::{Contract, Privacy};
use pipeline_core::error::{Error, Result};
use pipeline_core::extract::{Checkpoint, Cursor};
use pipeline_core::name::TableName;
use pipeline_core::probe::Probe;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::super::connection::Connection;
use super::super::cut::Cut;
use super::super::error::{CAPTURE, Failure, HISTORY};
use super::CaptureOptions;
use super::read::Chunk;
use super::scan::{Kind, Scan, Whole, has_passed};

/// How long the server waits for a change before it says that there is none.
const AWAIT: Duration = Duration::from_millis(100);

/// How long a stream may say nothing without having reached its end: an idle shard writes to its log every ten seconds.
const SILENT_MAX: Duration = Duration::from_secs(60);

/// The server's log does not reach back to the beginning of the stream: ChangeStreamHistoryLost, ChangeStreamFatalError, OplogQueryMinTsMissing.
const HISTORY_LOST: [i32; 3] = [286, 280, 326];

/// BSONObjectTooLarge.
const TOO_LARGE: i32 = 10_334;

/// What is to be read.
#[derive(Debug)]
pub(in crate::mongodb) enum Change {
    /// All of the collection.
    Whole { checkpoint: Checkpoint, summary: String },
    /// Documents by their identifiers; none if nothing changed.
    Documents { checkpoint: Checkpoint, summary: String, chunks: Vec<Chunk>, count: u64 },
}

/// What deciding needs.
pub(in crate::mongodb) struct Collection<'a> {
    pub(in crate::mongodb) connection: &'a Connection,
    pub(in crate::mongodb) name: &'a str,
    pub(in crate::mongodb) contract: &'a Contract,
    pub(in crate::mongodb) options: &'a CaptureOptions,
    pub(in crate::mongodb) cut: Cut,
    /// The collection's own identifier: a collection that is made anew has another.
    pub(in crate::mongodb) uuid: Option<Bson>,
}

/// Decides what is to be read since a checkpoint.
///
/// # Errors
/// [`CAPTURE`] if deployment or contract cannot be captured; [`HISTORY`] if the server's log does not reach back to the checkpoint.
pub(in crate::mongodb) async fn decide(collection: Collection<'_>, after: Option<&Checkpoint>) -> Result<Change> {
    let Collection { contract, options, cut, .. } = &collection;
    check_key(contract)?;
    let Some(until) = cut.time else {
        return Err(Error::new(&CAPTURE, "the MongoDB server is no member of a replica set, so it has no change streams")
            .hint("Make it a replica set of one (start mongod with --replSet, then rs.initiate()), or set `capture = \"cursor\"`."));
    };
    let fingerprint = fingerprint(contract, collection.uuid.as_ref());
    let since = after.and_then(|after| match &after.upper {
        Cursor::Log(place) => time_of(place),
        Cursor::Whole | Cursor::Number(_) | Cursor::Time(_) => None,
    });
    let upper = Cursor::Log(place_of(since.map_or(until, |since| since.max(until))));
    let checkpoint = Checkpoint { upper, fingerprint: Some(fingerprint) };
    let whole = |checkpoint, why: &str| {
        let because = if why.is_empty() { String::new() } else { format!(", because {why}") };
        Ok(Change::Whole { checkpoint, summary: format!("the whole collection{because}") })
    };
    let Some(since) = since else { return whole(checkpoint, "") };
    if after.is_some_and(|after| after.fingerprint != checkpoint.fingerprint) {
        return whole(checkpoint, "it was made anew, or its contract changed");
    }
    if until <= since {
        let summary = format!("no documents changed since {}", shown(since));
        return Ok(Change::Documents { checkpoint, summary, chunks: Vec::new(), count: 0 });
    }
    let scan = Scan::new(until, usize::try_from(options.changes_max).unwrap_or(usize::MAX));
    let scan = match scanned(&collection, since, until, scan).await {
        Ok(scan) => scan,
        Err(error) if error.code() == &HISTORY && options.reread_when_lost => {
            return whole(checkpoint, "the server's log does not reach back to the last reading");
        }
        Err(error) => return Err(error),
    };
    match scan.finish() {
        Err(why) => whole(checkpoint, why.reason()),
        Ok(identifiers) => {
            let count = identifiers.len() as u64;
            let summary = match count {
                0 => format!("no documents changed since {}", shown(since)),
                1 => format!("1 document changed since {}", shown(since)),
                _ => format!("{count} documents changed since {}", shown(since)),
            };
            let chunks = identifiers.chunks().into_iter().map(|identifiers| Chunk { identifiers }).collect();
            Ok(Change::Documents { checkpoint, summary, chunks, count })
        }
    }
}

/// That the key is read from the identifier: it is all that a deletion names.
fn check_key(contract: &Contract) -> Result<()> {
    let of_identifier = |from: &str| from == "_id" || from.starts_with("_id.");
    let mut key = contract.columns.iter().filter(|column| contract.key.contains(&column.name));
    if !contract.key.is_empty() && key.all(|column| of_identifier(&column.from)) {
        return Ok(());
    }
    Err(Error::new(
        &CAPTURE,
        format!("the key of table \"{}\" is not read from \"_id\", which is all that a deletion names", contract.table),
    )
    .hint("Declare the column that is read `from _id` as the key, or set `capture = \"cursor\"` for the table."))
}

/// Folds the stream of changes after `since`, up to `until`.
async fn scanned(collection: &Collection<'_>, since: ClusterTime, until: ClusterTime, mut scan: Scan) -> Result<Scan> {
    let connection = collection.connection;
    let about = || format!("the changes of collection \"{}\" could not be read", collection.name);
    let failed = |error: &mongodb::error::Error| match &*error.kind {
        DriverKind::Command(command) if HISTORY_LOST.contains(&command.code) => Error::new(
            &HISTORY,
            format!("the log of the MongoDB server does not reach back to the last reading of \"{}\"", collection.contract.table),
        )
        .caused_by(Failure::of(error)),
        _ => Failure::of(error).about(about()),
    };
    // The server waits until it has come to this time before it answers.
    let mut session = connection.database().client().start_session().await.map_err(|error| failed(&error))?;
    session.advance_operation_time(until);
    let documents = connection.database().collection::<Document>(collection.name);
    // The documents themselves are read later.
    let names_only = doc! {"$project": {"operationType": 1, "documentKey": 1, "ns": 1, "clusterTime": 1}};
    let opened = documents
        .watch()
        .pipeline([names_only])
        .start_at_operation_time(ClusterTime { time: since.time, increment: since.increment.saturating_add(1) })
        .max_await_time(AWAIT)
        .session(&mut session)
        .await;
    let mut stream = opened.map_err(|error| failed(&error))?;
    let mut heard = Instant::now();
    loop {
        match stream.next_if_any(&mut session).await {
            Ok(Some(event)) => {
                heard = Instant::now();
                if !scan.take(kind(&event.operation_type), event.cluster_time, event.document_key.as_ref()) {
                    return Ok(scan);
                }
            }
            Ok(None) => {
                let token = stream.resume_token().and_then(|token| ::bson::serialize_to_bson(&token).ok());
                let data = token.as_ref().and_then(Bson::as_document).and_then(|token| token.get_str("_data").ok());
                if !stream.is_alive() || has_passed(data, until) {
                    return Ok(scan);
                }
                if heard.elapsed() > SILENT_MAX {
                    return Err(Failure::Silent { seconds: SILENT_MAX.as_secs() }.about(about()));
                }
            }
            Err(error) => match &*error.kind {
                DriverKind::Command(command) if command.code == TOO_LARGE => {
                    scan.give_up(Whole::TooLarge);
                    return Ok(scan);
                }
                _ => return Err(failed(&error)),
            },
        }
    }
}

fn kind(operation: &OperationType) -> Kind {
    match operation {
        OperationType::Insert | OperationType::Update | OperationType::Replace | OperationType::Delete => Kind::Document,
        OperationType::Drop | OperationType::Rename | OperationType::DropDatabase | OperationType::Invalidate => Kind::Collection,
        _ => Kind::Other,
    }
}

/// Ten digits each, which compare as the times do.
fn place_of(time: ClusterTime) -> String {
    format!("{:010}.{:010}", time.time, time.increment)
}

fn time_of(place: &str) -> Option<ClusterTime> {
    let (time, increment) = place.split_once('.')?;
    Some(ClusterTime { time: time.parse().ok()?, increment: increment.parse().ok()? })
}

fn shown(time: ClusterTime) -> String {
    pipeline_core::window::Timestamp::from_microseconds(i64::from(time.time) * 1_000_000).to_string()
}

/// What the stream says nothing about: if it changes, the whole collection is read again.
fn fingerprint(contract: &Contract, uuid: Option<&Bson>) -> String {
    let mut digest = Sha256::new();
    let mut add = |text: &str| {
        digest.update(text.len().to_be_bytes());
        digest.update(text.as_bytes());
    };
    add(&uuid.map(Bson::to_string).unwrap_or_default());
    for name in &contract.key {
        add(name.as_str());
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

/// Whether the server's log reaches back to the last reading.
pub(in crate::mongodb) fn reach(
    oldest: Option<ClusterTime>,
    table: &TableName,
    after: Option<&Checkpoint>,
    options: &CaptureOptions,
) -> Probe {
    let since = after.and_then(|after| match &after.upper {
        Cursor::Log(place) => time_of(place),
        Cursor::Whole | Cursor::Number(_) | Cursor::Time(_) => None,
    });
    let is_lost = oldest.zip(since).is_some_and(|(oldest, since)| oldest > since);
    let detail = match (oldest, is_lost) {
        (None, _) => "how far back it reaches is not shown to this user".to_owned(),
        (Some(oldest), false) => format!("reaches back to {}", shown(oldest)),
        (Some(oldest), true) => format!("reaches back to {} only, which is after the last reading of table \"{table}\"", shown(oldest)),
    };
    let fix = match (is_lost, options.reread_when_lost) {
        (false, _) => None,
        (true, true) => Some("The next run reads the collection whole, as `reread_when_lost` allows; run more often, or let the server keep more of its log.".to_owned()),
        (true, false) => Some(HISTORY.remedy.to_owned()),
    };
    Probe { what: "log of changes".to_owned(), ok: !is_lost || options.reread_when_lost, detail, fix }
}

/// The time of the oldest operation in the server's log; None where it may not be looked at.
pub(in crate::mongodb) async fn oldest(connection: &Connection) -> Option<ClusterTime> {
    let log = connection.database().client().database("local").collection::<Document>("oplog.rs");
    let first = log.find_one(doc! {}).sort(doc! {"$natural": 1}).projection(doc! {"ts": 1}).await.ok()??;
    first.get_timestamp("ts").ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_compare_as_their_times_do() {
        let time = |time: u32, increment: u32| ClusterTime { time, increment };
        let times = [time(0, 0), time(9, 100), time(10, 2), time(10, 11), time(u32::MAX, u32::MAX)];
        let places: Vec<String> = times.iter().map(|time| place_of(*time)).collect();
        assert!(places.is_sorted());
        assert_eq!(places.iter().filter_map(|place| time_of(place)).collect::<Vec<_>>(), times);
        assert_eq!((time_of("0000000000ABCDEF"), time_of("a.b")), (None, None));
    }

    #[test]
    fn a_log_that_begins_after_the_last_reading_is_told_before_the_run() {
        let table = TableName::new("shop", "orders").unwrap();
        let time = |time: u32| ClusterTime { time, increment: 1 };
        let after = Checkpoint { upper: Cursor::Log(place_of(time(10))), fingerprint: None };
        let told = |oldest, reread_when_lost| {
            let options = CaptureOptions { reread_when_lost, ..CaptureOptions::default() };
            let probe = reach(oldest, &table, Some(&after), &options);
            (probe.ok, probe.fix.is_some())
        };
        assert_eq!(told(None, false), (true, false));
        assert_eq!(told(Some(time(10)), false), (true, false));
        assert_eq!(told(Some(time(11)), false), (false, true));
        assert_eq!(told(Some(time(11)), true), (true, true), "it is read whole, which its keeper should know");
    }
}
