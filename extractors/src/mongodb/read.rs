//! Reading a slice: one task fetches batches from the server, one thread decodes them, so that both are busy at once.

use ::bson::{Document, doc};
use futures::StreamExt;
use mongodb::Collection;
use mongodb::raw_batch_cursor::{RawBatch, RawBatchCursor};
use pipeline_core::batch::BatchStream;
use pipeline_core::contract::Contract;
use pipeline_core::error::{Error, Result};
use pipeline_core::privacy::PrivacyKey;
use pipeline_core::quarantine::{Quarantine, Rejected};
use tokio::sync::mpsc;

use super::connection::Connection;
use super::cut::{SharedCuts, State};
use super::error::Failure;
use crate::bson::{self, Decoder, Misfit};
use crate::personal::Personal;
use crate::produce::{Outlet, on_a_thread};

/// How many bytes a reply of the server should have: large enough to make round trips rare, small enough to hold three of them.
const REPLY_BYTES: u64 = 4 << 20;

/// Replies that wait between the network and the decoder.
const REPLIES_WAITING_MAX: usize = 1;

/// What a slice needs to be read.
pub(super) struct Reading {
    pub(super) documents: Collection<Document>,
    /// The collection in words.
    pub(super) place: String,
    pub(super) contract: Contract,
    pub(super) key: Option<PrivacyKey>,
    pub(super) quarantine: Quarantine,
    pub(super) state: State,
    pub(super) connection: Connection,
}

impl Reading {
    /// Opens a cursor. The server would otherwise close one that waits ten minutes for a slow consumer; it still goes with its session, after
    /// half an hour without a word.
    async fn open(&self, filter: Document, documents_per_batch: u32) -> mongodb::error::Result<RawBatchCursor> {
        let Some(read_concern) = self.state.read_concern() else {
            let find = self.documents.find(filter).batch_size(documents_per_batch).no_cursor_timeout(true);
            return find.max_time(self.connection.statement_timeout()).batch().await;
        };
        // The driver has no words for a time outside of a session, and a session reads one thing at once.
        let database = self.documents.client().database(&self.documents.namespace().db);
        let batch_size = i32::try_from(documents_per_batch).unwrap_or(i32::MAX);
        let command = doc! {
            "find": self.documents.name(),
            "filter": filter,
            "batchSize": batch_size,
            "noCursorTimeout": true,
            "maxTimeMS": i64::try_from(self.connection.statement_timeout().as_millis()).unwrap_or(i64::MAX),
            "readConcern": read_concern,
        };
        let mut cursor = database.run_cursor_command(command).batch_size(documents_per_batch);
        if let Some(criteria) = self.documents.selection_criteria() {
            cursor = cursor.selection_criteria(criteria.clone());
        }
        cursor.batch().await
    }
}

/// Opens a cursor and streams what it finds. Dropping the stream ends both sides and closes the cursor at the server.
pub(super) async fn read(reading: Reading, filter: Document, documents_per_batch: u32) -> Result<BatchStream> {
    let mut replies = replies(&reading, filter, documents_per_batch).await?;
    let schema = reading.contract.schema();
    Ok(on_a_thread(schema, move |outlet| decode(&reading, &mut replies, outlet)))
}

/// The server's replies to a question. Dropping the receiver closes the cursor at the server.
pub(super) async fn replies(reading: &Reading, filter: Document, documents_per_batch: u32) -> Result<mpsc::Receiver<Result<RawBatch>>> {
    let (cuts, pace) = (SharedCuts::clone(reading.connection.cuts()), reading.connection.pace().clone());
    reading.connection.calm().await?;
    let failed = move |place: &str, error: &mongodb::error::Error| {
        let failure = Failure::of(error);
        if matches!(failure, Failure::History { .. }) {
            cuts.refuse_history();
        }
        failure.about(format!("{place} could not be read"))
    };
    let mut cursor = reading.open(filter, documents_per_batch).await.map_err(|error| failed(&reading.place, &error))?;
    let (sender, receiver) = mpsc::channel::<Result<RawBatch>>(REPLIES_WAITING_MAX);
    let place = reading.place.clone();
    tokio::spawn(async move {
        loop {
            let reply = tokio::select! {
                reply = cursor.next() => reply,
                () = sender.closed() => return,
            };
            let Some(reply) = reply else { return };
            let reply = reply.map_err(|error| failed(&place, &error));
            if let Ok(reply) = &reply {
                pace.spend(reply.as_raw_document().as_bytes().len()).await;
            }
            let is_last = reply.is_err();
            if sender.send(reply).await.is_err() || is_last {
                return;
            }
        }
    });
    Ok(receiver)
}

/// How many documents of an average size fill about one reply. Where the size is not known, a cautious number.
pub(super) fn documents_per_batch(average_bytes: Option<u64>) -> u32 {
    const CAUTIOUS: u64 = 2_000;
    let documents = average_bytes.filter(|bytes| *bytes > 0).map_or(CAUTIOUS, |bytes| REPLY_BYTES / bytes);
    u32::try_from(documents.clamp(16, 100_000)).unwrap_or(1_000)
}

fn decode(reading: &Reading, replies: &mut mpsc::Receiver<Result<RawBatch>>, outlet: &Outlet) -> Result<()> {
    let mut decoder = Decoder::new(&reading.contract, reading.key.as_ref())?;
    let personal = Personal::of(&reading.contract);
    while let Some(reply) = replies.blocking_recv() {
        let reply = reply?;
        let documents = reply.doc_slices().map_err(|error| Failure::of(&error).about(format!("{} could not be read", reading.place)))?;
        let mut documents = bson::Documents::of_array(documents.as_bytes());
        while let Some(document) = documents.next_document().map_err(|what| broken(&reading.place, what))? {
            if let Err(misfit) = decoder.append(document) {
                let position = bson::identity(document).unwrap_or_else(|| "a document without an _id".to_owned());
                let raw = bson::open_part(document, &personal);
                let Misfit { column, reason } = *misfit;
                let rejected = Rejected { column, reason, position, raw, format: bson::FORMAT.into(), fields: None };
                reading.quarantine.reject(&reading.contract.table, rejected)?;
            }
            if decoder.is_full() && !outlet.put(decoder.finish()?) {
                return Ok(());
            }
        }
        if outlet.is_closed() {
            return Ok(());
        }
    }
    if decoder.rows() > 0 {
        outlet.put(decoder.finish()?);
    }
    if decoder.undeclared() > 0 {
        tracing::info!(table = %reading.contract.table, undeclared_fields = decoder.undeclared(), "collection read");
    }
    Ok(())
}

pub(super) fn broken(place: &str, what: &'static str) -> Error {
    Failure::Reply.about(format!("{place} could not be read")).caused_by(what)
}
