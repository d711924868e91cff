//! Reading changed rows by their keys, as changes.

use pipeline_core::batch::BatchStream;
use pipeline_core::contract::Contract;
use pipeline_core::error::{Error, Result};
use pipeline_core::extract::Slice;

use super::super::copy::{Decoder, SourceColumn};
use super::super::error::{During, TIMEOUT, failed};
use super::super::read::{Copy, Reading, Sender, copied, streamed};
use super::super::snapshot::begin;
use crate::changes::marked;

/// Rows that one slice reads.
#[derive(Debug, Clone)]
pub(in crate::postgres) struct Chunk {
    /// The rows that are there.
    pub(super) present: String,
    /// The keys of those that are not.
    pub(super) absent: String,
    /// How many keys.
    pub(super) keys: usize,
    /// The key alone.
    pub(super) key_contract: Contract,
    /// What [`Self::absent`] arrives as.
    pub(super) key_columns: Vec<SourceColumn>,
}

impl Chunk {
    /// What it covers, in words.
    pub(in crate::postgres) fn summary(&self, relation: &str) -> String {
        format!("{relation}, {} changed rows", self.keys)
    }
}

/// Starts reading a chunk.
pub(in crate::postgres) fn read(reading: Reading, snapshot: String, chunk: Chunk, slice: &Slice) -> Result<BatchStream> {
    let key = || reading.key.clone();
    let present = Decoder::new(&reading.contract, &reading.columns, key())?.rejecting_to(&reading.quarantine, &slice.summary);
    let absent = Decoder::new(&chunk.key_contract, &chunk.key_columns, key())?.rejecting_to(&reading.quarantine, &slice.summary);
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
    let work = async {
        // Both statements hold keys, which are values: spans show them without.
        let rows = Copy { query: &chunk.present, what: &what, pace: reading.connections.pace(), sender: &sender };
        if !copied(&mut lent.connection, &rows, &mut present, |batch| marked(contract, &batch, false)).await? {
            return Ok(false);
        }
        let keys = Copy { query: &chunk.absent, what: &what, pace: reading.connections.pace(), sender: &sender };
        if !copied(&mut lent.connection, &keys, &mut absent, |batch| marked(contract, &batch, true)).await? {
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
