//! Batches on their way: a schema and the batches that follow it, and a budget in bytes for running ahead.
//!
//! Streams are pulled: nothing is produced before it is asked for, unless [`BatchStream::buffered`] runs the producer ahead
//! inside a [`ByteBudget`]. At most one `buffered` stands in a chain, and the engine places it: a second one on the same
//! budget could wait for bytes that its own consumer holds.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::stream::{BoxStream, Stream, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::error::{BUG, Error, Result};

/// A schema and the batches that follow it. Dropping the stream stops its producers.
pub struct BatchStream {
    schema: SchemaRef,
    inner: BoxStream<'static, Result<RecordBatch>>,
}

impl BatchStream {
    /// A stream of batches that all have `schema`; a batch that does not is an error of ours and ends the stream.
    pub fn new(schema: SchemaRef, batches: impl Stream<Item = Result<RecordBatch>> + Send + 'static) -> Self {
        let expected = Arc::clone(&schema);
        let inner = batches
            .map(move |batch| {
                let batch = batch?;
                if batch.schema_ref() == &expected {
                    Ok(batch)
                } else {
                    Err(Error::new(&BUG, "a batch does not follow the schema of its stream"))
                }
            })
            .boxed();
        Self { schema, inner }
    }

    /// A stream of batches at hand.
    #[must_use]
    pub fn of(schema: SchemaRef, batches: Vec<RecordBatch>) -> Self {
        Self::new(schema, futures::stream::iter(batches.into_iter().map(Ok)))
    }

    /// The schema of every batch.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Runs the producer ahead of the consumer by at most `budget` bytes. A batch larger than the whole budget passes alone.
    #[must_use]
    pub fn buffered(self, budget: &ByteBudget) -> Self {
        // The budget bounds what waits; the channel's own length only bounds how many tiny batches may.
        const BATCHES_WAITING_MAX: usize = 64;
        let (sender, receiver) = mpsc::channel::<(Result<RecordBatch>, Option<OwnedSemaphorePermit>)>(BATCHES_WAITING_MAX);
        let schema = self.schema();
        let budget = budget.clone();
        let mut inner = self.inner;
        let task = tokio::spawn(async move {
            while let Some(batch) = inner.next().await {
                let permit = match &batch {
                    Ok(batch) => Some(budget.take(batch.get_array_memory_size()).await),
                    Err(_) => None,
                };
                if sender.send((batch, permit)).await.is_err() {
                    return;
                }
            }
        });
        let stream = Ahead { receiver, held: None, task: AbortOnDrop(task) };
        Self { schema, inner: stream.boxed() }
    }
}

impl Stream for BatchStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.inner.poll_next_unpin(cx)
    }
}

impl std::fmt::Debug for BatchStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchStream").field("columns", &self.schema.fields().len()).finish_non_exhaustive()
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Ahead {
    receiver: mpsc::Receiver<(Result<RecordBatch>, Option<OwnedSemaphorePermit>)>,
    // The bytes of batch N return to the budget when the consumer asks for batch N + 1.
    held: Option<OwnedSemaphorePermit>,
    task: AbortOnDrop,
}

impl Stream for Ahead {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.held = None;
        match self.receiver.poll_recv(cx) {
            Poll::Ready(Some((batch, permit))) => {
                self.held = permit;
                Poll::Ready(Some(batch))
            }
            Poll::Ready(None) => {
                // A producer that panicked must not look like one that finished.
                if self.task.0.is_finished() {
                    Poll::Ready(None)
                } else {
                    Pin::new(&mut self.task.0).poll(cx).map(|ended| match ended {
                        Ok(()) => None,
                        Err(_) => Some(Err(Error::new(&BUG, "a producer of batches stopped without a word"))),
                    })
                }
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Bytes that may be on their way at once, shared by the steps of a run.
#[derive(Debug, Clone)]
pub struct ByteBudget {
    kibibytes: Arc<Semaphore>,
    kibibytes_max: u32,
}

impl ByteBudget {
    /// A budget of `bytes_max` bytes, counted in whole KiB.
    #[must_use]
    pub fn new(bytes_max: u64) -> Self {
        let kibibytes = u32::try_from((bytes_max / 1024).max(1)).unwrap_or(u32::MAX >> 4).min(u32::MAX >> 4);
        Self { kibibytes: Arc::new(Semaphore::new(kibibytes as usize)), kibibytes_max: kibibytes }
    }

    /// Waits for `bytes`; more than the whole budget counts as the whole budget.
    pub async fn take(&self, bytes: usize) -> OwnedSemaphorePermit {
        let kibibytes = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).clamp(1, self.kibibytes_max);
        Arc::clone(&self.kibibytes).acquire_many_owned(kibibytes).await.expect("the budget's semaphore is never closed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int32Array;
    use arrow::datatypes::{DataType, Field, Schema};

    fn batch(rows: i32) -> RecordBatch {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int32, false)]));
        RecordBatch::try_new(schema, vec![Arc::new(Int32Array::from_iter_values(0..rows))]).unwrap()
    }

    #[tokio::test]
    async fn a_buffered_stream_delivers_everything_even_when_a_batch_exceeds_the_budget() {
        let batches: Vec<_> = (1..20).map(|n| batch(n * 1000)).collect();
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        let mut stream = BatchStream::of(batches[0].schema(), batches).buffered(&ByteBudget::new(2048));
        let mut seen = 0;
        while let Some(batch) = stream.next().await {
            seen += batch.unwrap().num_rows();
        }
        assert_eq!(seen, rows);
    }

    #[tokio::test]
    async fn a_batch_of_another_schema_is_an_error() {
        let schema = Arc::new(Schema::new(vec![Field::new("m", DataType::Int32, false)]));
        let mut stream = BatchStream::of(schema, vec![batch(1)]);
        assert!(stream.next().await.unwrap().is_err());
    }
}
