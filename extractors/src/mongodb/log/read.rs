//! Reading changed documents by their identifiers, as changes.

use std::collections::HashSet;

use ::bson::{Bson, RawDocument, doc};
use pipeline_core::batch::BatchStream;
use pipeline_core::error::Result;
use pipeline_core::quarantine::Rejected;

use super::super::error::Failure;
use super::super::read::{Reading, broken, documents_per_batch, replies};
use super::keys::{Identity, document_of};
use crate::bson::{self, Decoder, Misfit};
use crate::changes::{key_contract, marked};
use crate::personal::Personal;
use crate::produce::on_a_thread;

/// Documents that one slice reads.
#[derive(Debug, Clone)]
pub(in crate::mongodb) struct Chunk {
    pub(super) identifiers: Vec<Bson>,
}

impl Chunk {
    /// What it covers, in words.
    pub(in crate::mongodb) fn summary(&self) -> String {
        format!("{} changed documents", self.identifiers.len())
    }
}

/// Starts reading a chunk.
pub(in crate::mongodb) async fn read(reading: Reading, chunk: Chunk) -> Result<BatchStream> {
    let filter = doc! {"_id": {"$in": chunk.identifiers.clone()}};
    let mut replies = replies(&reading, filter, documents_per_batch(None)).await?;
    let schema = reading.contract.changes_schema();
    Ok(on_a_thread(schema, move |outlet| {
        let contract = &reading.contract;
        let mut present = Decoder::new(contract, reading.key.as_ref())?;
        let personal = Personal::of(contract);
        let mut missing: HashSet<Identity> = chunk.identifiers.iter().filter_map(Identity::of).collect();
        while let Some(reply) = replies.blocking_recv() {
            let reply = reply?;
            let documents =
                reply.doc_slices().map_err(|error| Failure::of(&error).about(format!("{} could not be read", reading.place)))?;
            let mut documents = bson::Documents::of_array(documents.as_bytes());
            while let Some(document) = documents.next_document().map_err(|what| broken(&reading.place, what))? {
                if let Some(identity) = identity_of(document) {
                    missing.remove(&identity);
                }
                if let Err(misfit) = present.append(document) {
                    let position = bson::identity(document).unwrap_or_else(|| "a document without an _id".to_owned());
                    let raw = bson::open_part(document, &personal);
                    let Misfit { column, reason } = *misfit;
                    let rejected = Rejected { column, reason, position, raw, format: bson::FORMAT.into(), fields: None };
                    reading.quarantine.reject(&contract.table, rejected)?;
                }
                if present.is_full() && !outlet.put(marked(contract, &present.finish()?, false)?) {
                    return Ok(());
                }
            }
        }
        if present.rows() > 0 && !outlet.put(marked(contract, &present.finish()?, false)?) {
            return Ok(());
        }
        let mut absent = Decoder::new(&key_contract(contract), reading.key.as_ref())?;
        for identifier in &chunk.identifiers {
            let is_missing = Identity::of(identifier).is_some_and(|identity| missing.contains(&identity));
            let Some(document) = document_of(identifier).filter(|_| is_missing) else { continue };
            // An identifier that does not fit the key never came here, so there is nothing to delete.
            drop(absent.append(document.as_bytes()));
            if absent.is_full() && !outlet.put(marked(contract, &absent.finish()?, true)?) {
                return Ok(());
            }
        }
        if absent.rows() > 0 {
            outlet.put(marked(contract, &absent.finish()?, true)?);
        }
        Ok(())
    }))
}

fn identity_of(document: &[u8]) -> Option<Identity> {
    let identifier = RawDocument::from_bytes(document).ok()?.get("_id").ok()??;
    Identity::of(&Bson::try_from(identifier).ok()?)
}
