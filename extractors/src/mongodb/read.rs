//! Reading a slice: one task fetches batches from the server, one thread decodes them, so that both are busy at once.

use ::bson::Document;
use futures::StreamExt;
use mongodb::Collection;
use mongodb::raw_batch_cursor::RawBatch;
use pipeline_core::batch::BatchStream;
use pipeline_core::contract::Contract;
use pipeline_core::error::{Error, Result};
use pipeline_core::privacy::PrivacyKey;
use pipeline_core::quarantine::{Quarantine, Rejected};
use tokio::sync::mpsc;

use super::error::Failure;
use crate::bson::{self, Decoder};
use crate::personal::Personal;
use crate::produce::{Outlet, on_a_thread};

/// How many bytes a reply of the server should have: large enough to make round trips rare, small enough to hold three of them.
pub(super) const REPLY_BYTES: u64 = 4 << 20;

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
}

/// Opens a cursor and streams what it finds. Dropping the stream ends both sides and closes the cursor at the server.
pub(super) async fn read(reading: Reading, filter: Document, documents_per_batch: u32) -> Result<BatchStream> {
    let failed = |place: &str, error: &mongodb::error::Error| Failure::of(error).about(format!("{place} could not be read"));
    // The server would otherwise close a cursor that waits ten minutes for a slow consumer; it still goes with its session, after half an
    // hour without a word.
    let find = reading.documents.find(filter).batch_size(documents_per_batch).no_cursor_timeout(true);
    let mut cursor = find.batch().await.map_err(|error| failed(&reading.place, &error))?;
    let (sender, mut receiver) = mpsc::channel::<Result<RawBatch>>(REPLIES_WAITING_MAX);
    let place = reading.place.clone();
    tokio::spawn(async move {
        loop {
            let reply = tokio::select! {
                reply = cursor.next() => reply,
                () = sender.closed() => return,
            };
            let Some(reply) = reply else { return };
            let reply = reply.map_err(|error| failed(&place, &error));
            let is_last = reply.is_err();
            if sender.send(reply).await.is_err() || is_last {
                return;
            }
        }
    });
    let schema = reading.contract.schema();
    Ok(on_a_thread(schema, move |outlet| decode(&reading, &mut receiver, outlet)))
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
                let rejected = Rejected { column: misfit.column, reason: misfit.reason, position, raw, format: bson::FORMAT.into() };
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

fn broken(place: &str, what: &'static str) -> Error {
    Failure::Reply.about(format!("{place} could not be read")).caused_by(what)
}
