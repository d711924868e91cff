//! Reading changed rows by their keys, as changes.

use std::sync::Arc;

use pipeline_core::batch::BatchStream;
use pipeline_core::contract::Contract;
use pipeline_core::error::{Error, Result};
use pipeline_core::extract::Slice;

use super::super::copy::{Decoder, SourceColumn};
use super::super::error::{During, TIMEOUT, failed};
use super::super::read::{Copy, Reading, Sender, copied, streamed};
use super::super::snapshot::begin;
use super::keys::ByKey;
use super::sorted;
use crate::changes::marked;

/// Rows that one slice reads.
#[derive(Debug, Clone)]
pub(in crate::postgres) struct Chunk {
    pub(super) keys: sorted::Chunk,
    pub(super) table: Arc<Keyed>,
}

/// A table whose rows are read by their keys.
#[derive(Debug)]
pub(super) struct Keyed {
    pub(super) by_key: ByKey,
    /// The key alone.
    pub(super) contract: Contract,
    /// What the keys of rows that are gone arrive as.
    pub(super) columns: Vec<SourceColumn>,
}

impl Chunk {
    /// What it covers, in words.
    pub(in crate::postgres) fn summary(&self, relation: &str) -> String {
        format!("{relation}, {} changed rows", self.keys.keys)
    }
}

/// Starts reading a chunk.
pub(in crate::postgres) fn read(reading: Reading, snapshot: String, chunk: Chunk, slice: &Slice) -> Result<BatchStream> {
    let key = || reading.key.clone();
    let present = Decoder::new(&reading.contract, &reading.columns, key())?.rejecting_to(&reading.quarantine, &slice.summary);
    let absent = Decoder::new(&chunk.table.contract, &chunk.table.columns, key())?.rejecting_to(&reading.quarantine, &slice.summary);
    let schema = reading.contract.changes_schema();
    Ok(streamed(schema, |sender| changes(reading, snapshot, chunk, present, absent, sender)))
}

async fn changes(
    reading: Reading,
    snapshot: String,
    chunk: Chunk,
    mut present: Decoder,
    mut absent: Decoder,
    sender: Sender,
) -> Result<()> {
    let what = format!("table \"{}\" could not be read", reading.relation);
    let mut lent = reading.connections.lend().await?;
    reading.connections.calm(&mut lent.connection).await?;
    begin(&mut lent.connection, &snapshot, &what).await?;
    let contract = &reading.contract;
    let keys = chunk.keys.read().map_err(|error| sorted::failed(&error))?;
    let work = async {
        // Both statements hold keys, which are values: spans show them without.
        let present_rows = chunk.table.by_key.present(&keys);
        let rows = Copy { query: &present_rows, what: &what, pace: reading.connections.pace(), sender: &sender };
        if !copied(&mut lent.connection, &rows, &mut present, |batch| marked(contract, &batch, false)).await? {
            return Ok(false);
        }
        drop(present_rows);
        let absent_keys = chunk.table.by_key.absent(&keys);
        let gone = Copy { query: &absent_keys, what: &what, pace: reading.connections.pace(), sender: &sender };
        if !copied(&mut lent.connection, &gone, &mut absent, |batch| marked(contract, &batch, true)).await? {
            return Ok(false);
        }
        tracing::Span::current().record("rows", present.tuples() + absent.tuples());
        Ok(true)
    };
    let limited =
        async { tokio::time::timeout(reading.connections.patience(), work).await.unwrap_or_else(|_| Err(Error::new(&TIMEOUT, &*what))) };
    let shown = format!("COPY rows of \"{}\" by key", reading.relation);
    let is_whole = reading.connections.watched(&format!("postgresql copy {}", reading.relation), &shown, limited).await?;
    if is_whole {
        sqlx::raw_sql("COMMIT").execute(&mut lent.connection).await.map_err(|error| failed(&*what, &error, During::Executing))?;
        lent.give_back();
    }
    // Only now may the server let go of what was read.
    drop(reading.snapshot);
    Ok(())
}
