//! The collection of orders. Documents go to the server as they are, inside commands made here: the driver never parses them.

use bson::{RawDocumentBuf, doc};
use mongodb::options::ClientOptions;
use mongodb::{Client, Database};

use crate::document::DocumentWriter;
use crate::error::{Error, Result};
use crate::produce::Chunk;

/// The database and the collection.
const DATABASE: &str = "shop";
const COLLECTION: &str = "orders";

/// A connection to the collection.
#[derive(Debug)]
pub(super) struct Collection {
    database: Database,
}

fn failed(action: &'static str) -> impl FnOnce(mongodb::error::Error) -> Error {
    move |source| Error::Mongodb { action, source: Box::new(source) }
}

impl Collection {
    /// Understands the address; the first command connects.
    pub(super) async fn connect(url: &str) -> Result<Self> {
        let mut options = ClientOptions::parse(url).await.map_err(|_| Error::Address { server: "MongoDB" })?;
        options.app_name.get_or_insert_with(|| "pipeline-demo".to_owned());
        let client = Client::with_options(options).map_err(|_| Error::Address { server: "MongoDB" })?;
        Ok(Self { database: client.database(DATABASE) })
    }

    async fn has_documents(&self) -> Result<bool> {
        let orders = self.database.collection::<RawDocumentBuf>(COLLECTION);
        let count = orders.estimated_document_count().await.map_err(failed("the orders could not be counted"))?;
        Ok(count > 0)
    }

    pub(super) async fn require_empty(&self) -> Result<()> {
        if self.has_documents().await? {
            return Err(Error::NotEmpty { kind: "collection", name: format!("{DATABASE}.{COLLECTION}") });
        }
        Ok(())
    }

    pub(super) async fn require_documents(&self) -> Result<()> {
        if !self.has_documents().await? {
            return Err(Error::NothingToChange { kind: "collection", name: format!("{DATABASE}.{COLLECTION}") });
        }
        Ok(())
    }

    /// Drops the collection, if it is there.
    pub(super) async fn clear(&self) -> Result<()> {
        let orders = self.database.collection::<RawDocumentBuf>(COLLECTION);
        orders.drop().await.map_err(failed("collection \"orders\" could not be dropped"))
    }

    /// Inserts the documents, or replaces those with the same `_id`.
    pub(super) async fn write(&self, chunk: Chunk) -> Result<()> {
        let command = if chunk.upsert { update(&chunk.bytes) } else { insert(&chunk.bytes) };
        let command = RawDocumentBuf::from_bytes(command).expect("the command was written as BSON");
        let reply = self.database.run_raw_command(command).await.map_err(failed("orders could not be written"))?;
        match reply.get_array("writeErrors").ok().and_then(|refused| refused.first()) {
            Some(refused) => Err(Error::Refused { code: refused.as_document().and_then(|error| error.get_i32("code").ok()).unwrap_or(0) }),
            None => Ok(()),
        }
    }

    pub(super) async fn create_indexes(&self) -> Result<()> {
        let command = doc! {
            "createIndexes": COLLECTION,
            "indexes": [
                { "key": { "updatedAt": 1 }, "name": "updatedAt_1" },
                { "key": { "orderNumber": 1 }, "name": "orderNumber_1", "unique": true },
            ],
        };
        self.database.run_command(command).await.map_err(failed("the indexes could not be created"))?;
        Ok(())
    }
}

/// The documents of a chunk, which lie one after the other, each beginning with its length.
fn documents(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, _) = bytes.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length) as usize;
        let (document, rest) = bytes.split_at(length);
        bytes = rest;
        Some(document)
    })
}

fn insert(bytes: &[u8]) -> Vec<u8> {
    let mut command = Vec::with_capacity(bytes.len() + bytes.len() / 64);
    let mut writer = DocumentWriter::new(&mut command);
    writer.text("insert", COLLECTION);
    writer.boolean("ordered", true);
    writer.array("documents");
    for (number, document) in documents(bytes).enumerate() {
        writer.raw_document(&number.to_string(), document);
    }
    writer.end();
    writer.finish();
    command
}

fn update(bytes: &[u8]) -> Vec<u8> {
    let mut command = Vec::with_capacity(bytes.len() + bytes.len() / 8);
    let mut writer = DocumentWriter::new(&mut command);
    writer.text("update", COLLECTION);
    writer.boolean("ordered", true);
    writer.array("updates");
    for (number, document) in documents(bytes).enumerate() {
        writer.document(&number.to_string());
        writer.document("q");
        writer.object_id("_id", object_id(document));
        writer.end();
        writer.raw_document("u", document);
        writer.boolean("upsert", true);
        writer.end();
    }
    writer.end();
    writer.finish();
    command
}

/// The `_id` of an order's document: the first field, after the length, the type and the name with its end.
fn object_id(document: &[u8]) -> [u8; 12] {
    const START: usize = 4 + 1 + 4;
    document[START..START + 12].try_into().expect("the slice has twelve bytes")
}

#[cfg(test)]
mod tests {
    use bson::{Document, oid::ObjectId};

    use super::*;

    #[test]
    fn commands_hold_the_documents() {
        let mut bytes = Vec::new();
        for number in [1, 2] {
            let mut writer = DocumentWriter::new(&mut bytes);
            writer.object_id("_id", [number; 12]);
            writer.text("orderNumber", "x");
            writer.finish();
        }
        let command = Document::from_reader(&mut insert(&bytes).as_slice()).unwrap();
        let first = doc! { "_id": ObjectId::from_bytes([1; 12]), "orderNumber": "x" };
        let second = doc! { "_id": ObjectId::from_bytes([2; 12]), "orderNumber": "x" };
        assert_eq!(command, doc! { "insert": "orders", "ordered": true, "documents": [first.clone(), second.clone()] });
        let command = Document::from_reader(&mut update(&bytes).as_slice()).unwrap();
        let change = |order: Document| doc! { "q": { "_id": order.get_object_id("_id").unwrap() }, "u": order, "upsert": true };
        assert_eq!(command, doc! { "update": "orders", "ordered": true, "updates": [change(first), change(second)] });
    }
}
