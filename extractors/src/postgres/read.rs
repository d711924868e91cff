//! Reading a slice: a task copies from the server and decodes, while the consumer writes what is decoded already.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::StreamExt;
use pipeline_core::batch::BatchStream;
use pipeline_core::contract::Contract;
use pipeline_core::error::{BUG, Error, Result};
use pipeline_core::extract::Slice;
use pipeline_core::pace::Pace;
use pipeline_core::privacy::PrivacyKey;
use pipeline_core::quarantine::Quarantine;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::Instrument;

use super::connection::Connections;
use super::copy::{Decoder, SourceColumn};
use super::error::{During, LOST, TIMEOUT, failed};
use super::snapshot::{Snapshot, begin};

/// Batches that wait between the task and its consumer: one being made while one is being taken.
const BATCHES_WAITING_MAX: usize = 1;

/// What a slice reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Range {
    /// The query whose rows it copies.
    pub(super) query: String,
    /// The files that the ranges of pages are counted in; None if it names no pages.
    #[serde(default)]
    pub(super) storage: Option<Storage>,
}

/// The files of a relation and all below it. `VACUUM FULL`, `CLUSTER` and the like make new ones, in which no page has the rows that it had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Storage {
    relation: u32,
    digest: String,
}

impl Storage {
    /// What they are now, whatever snapshot the connection reads in.
    pub(super) async fn of(connections: &Connections, connection: &mut PgConnection, relation: u32, what: &str) -> Result<Self> {
        let sql = format!(
            "WITH RECURSIVE tree AS (SELECT {relation}::oid AS oid UNION SELECT i.inhrelid FROM pg_inherits i JOIN tree ON i.inhparent = tree.oid) \
             SELECT md5(string_agg(c.oid::text || ':' || coalesce(pg_relation_filenode(c.oid)::text, ''), ',' ORDER BY c.oid)) \
             FROM tree JOIN pg_class c ON c.oid = tree.oid"
        );
        let rows = connections.rows(connection, &sql, what).await?;
        let digest = rows.into_iter().next().and_then(|row| row.into_iter().next().flatten()).unwrap_or_default();
        Ok(Self { relation, digest })
    }

    /// That no file was replaced until now. The statement before in the same transaction keeps them.
    async fn check(&self, connections: &Connections, connection: &mut PgConnection, what: &str) -> Result<()> {
        if Self::of(connections, connection, self.relation, what).await? == *self {
            return Ok(());
        }
        Err(Error::new(&LOST, what).caused_by("its rows were moved while it was being read (VACUUM FULL, CLUSTER or another rewriting)"))
    }
}

/// What reading a slice needs.
pub(super) struct Reading {
    pub(super) connections: Arc<Connections>,
    /// Held, so that the server keeps it.
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) columns: Vec<SourceColumn>,
    pub(super) relation: String,
    pub(super) contract: Contract,
    pub(super) key: Option<PrivacyKey>,
    pub(super) quarantine: Quarantine,
}

struct Waiting {
    receiver: mpsc::Receiver<Result<RecordBatch>>,
    task: Option<AbortOnDrop>,
}

/// A task that ends with this value: dropping the stream closes the connection, which ends the statement.
struct AbortOnDrop(JoinHandle<Result<()>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts reading a slice.
pub(super) fn read(reading: Reading, slice: &Slice) -> Result<BatchStream> {
    let range: Range =
        serde_json::from_value(slice.range.clone()).map_err(|_| Error::new(&BUG, "a slice of a table holds a range that no plan made"))?;
    let decoder = Decoder::new(&reading.contract, &reading.columns, reading.key.clone())?.rejecting_to(&reading.quarantine, &slice.summary);
    let schema = reading.contract.schema();
    Ok(streamed(schema, |sender| copy(reading, range, decoder, sender)))
}

/// Where a task puts its batches.
pub(super) type Sender = mpsc::Sender<Result<RecordBatch>>;

/// The batches of a task, which runs while they are taken and ends when they are dropped.
pub(super) fn streamed<W>(schema: SchemaRef, work: impl FnOnce(Sender) -> W) -> BatchStream
where
    W: Future<Output = Result<()>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(BATCHES_WAITING_MAX);
    // The task's spans belong to the slice that it reads.
    let task = tokio::spawn(work(sender).instrument(tracing::Span::current()));
    let waiting = Waiting { receiver, task: Some(AbortOnDrop(task)) };
    let batches = futures::stream::unfold(waiting, |mut waiting| async move {
        if let Some(batch) = waiting.receiver.recv().await {
            return Some((batch, waiting));
        }
        // The task has let go of its end: how did it go?
        let mut task = waiting.task.take()?;
        match (&mut task.0).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some((Err(error), waiting)),
            Err(_) => Some((Err(Error::new(&BUG, "the task that reads a slice stopped without a word")), waiting)),
        }
    });
    BatchStream::new(schema, batches)
}

/// A query whose rows are copied.
pub(super) struct Copy<'a> {
    pub(super) query: &'a str,
    /// What an error says could not be done.
    pub(super) what: &'a str,
    pub(super) pace: &'a Pace,
    pub(super) sender: &'a Sender,
}

/// Copies a query's rows, each batch changed by `form`. False if nobody wants more.
pub(super) async fn copied(
    connection: &mut PgConnection,
    copy: &Copy<'_>,
    decoder: &mut Decoder,
    form: impl Fn(RecordBatch) -> Result<RecordBatch>,
) -> Result<bool> {
    let statement = format!("COPY ({}) TO STDOUT (FORMAT binary)", copy.query);
    let mut chunks = connection.copy_out_raw(&statement).await.map_err(|error| failed(copy.what, &error, During::Executing))?;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| failed(copy.what, &error, During::Executing))?;
        copy.pace.spend(chunk.len()).await;
        decoder.push(&chunk)?;
        while let Some(batch) = decoder.take_batch() {
            if copy.sender.send(Ok(form(batch)?)).await.is_err() {
                return Ok(false);
            }
        }
    }
    decoder.finish()?;
    Ok(match decoder.take_batch() {
        Some(batch) => copy.sender.send(Ok(form(batch)?)).await.is_ok(),
        None => true,
    })
}

async fn copy(reading: Reading, range: Range, mut decoder: Decoder, sender: Sender) -> Result<()> {
    let what = format!("table \"{}\" could not be read", reading.relation);
    let mut lent = reading.connections.lend().await?;
    reading.connections.calm(&mut lent.connection).await?;
    begin(&mut lent.connection, &reading.snapshot.name, &what).await?;
    let statement = format!("COPY ({}) TO STDOUT (FORMAT binary)", range.query);
    let copying = async {
        let rows = Copy { query: &range.query, what: &what, pace: reading.connections.pace(), sender: &sender };
        let is_whole = copied(&mut lent.connection, &rows, &mut decoder, Ok).await?;
        tracing::Span::current().record("rows", decoder.tuples());
        Ok(is_whole)
    };
    // The server ends a statement that takes too long; this ends one whose server has gone silent.
    let limited =
        async { tokio::time::timeout(reading.connections.patience(), copying).await.unwrap_or_else(|_| Err(Error::new(&TIMEOUT, &*what))) };
    let is_whole = reading.connections.watched(&format!("postgresql copy {}", reading.relation), &statement, limited).await?;
    if let Some(storage) = range.storage.filter(|_| is_whole) {
        storage.check(&reading.connections, &mut lent.connection, &what).await?;
    }
    if is_whole {
        sqlx::raw_sql("COMMIT").execute(&mut lent.connection).await.map_err(|error| failed(&*what, &error, During::Executing))?;
        lent.give_back();
    }
    // Only now may the server let go of what was read.
    drop(reading.snapshot);
    Ok(())
}
