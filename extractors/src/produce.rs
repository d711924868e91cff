//! Batches made on a thread of their own, because decoding and decompressing would hold up the others.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use pipeline_core::batch::BatchStream;
use pipeline_core::error::{BUG, Error, Result};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Batches that wait between the thread and its consumer: one being made while one is being taken.
const BATCHES_WAITING_MAX: usize = 1;

/// Where a producing thread puts its batches.
#[derive(Debug)]
pub(crate) struct Outlet(mpsc::Sender<Result<RecordBatch>>);

impl Outlet {
    /// Hands a batch on and waits until there is room. False if nobody wants more.
    pub(crate) fn put(&self, batch: RecordBatch) -> bool {
        self.0.blocking_send(Ok(batch)).is_ok()
    }

    /// Whether nobody wants more.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

struct State {
    receiver: mpsc::Receiver<Result<RecordBatch>>,
    thread: Option<JoinHandle<Result<()>>>,
}

/// A stream of what `work` puts into its outlet; its error, or its panic, is the stream's last item. Dropping the stream makes the next
/// `put` say so.
pub(crate) fn on_a_thread(schema: SchemaRef, work: impl FnOnce(&Outlet) -> Result<()> + Send + 'static) -> BatchStream {
    let (sender, receiver) = mpsc::channel(BATCHES_WAITING_MAX);
    let thread = tokio::task::spawn_blocking(move || work(&Outlet(sender)));
    let state = State { receiver, thread: Some(thread) };
    let batches = futures::stream::unfold(state, |mut state| async move {
        if let Some(batch) = state.receiver.recv().await {
            return Some((batch, state));
        }
        // The thread has let go of its outlet: how did it end?
        match state.thread.take()?.await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some((Err(error), state)),
            Err(_) => Some((Err(Error::new(&BUG, "a reading thread stopped without a word")), state)),
        }
    });
    BatchStream::new(schema, batches)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::Schema;
    use futures::StreamExt;
    use std::sync::Arc;

    #[tokio::test]
    async fn errors_and_panics_end_the_stream_with_a_word() {
        let schema = Arc::new(Schema::empty());
        let mut stream = on_a_thread(Arc::clone(&schema), |_| Err(Error::new(&BUG, "no")));
        assert_eq!(stream.next().await.unwrap().unwrap_err().message(), "no");
        assert!(stream.next().await.is_none());
        let mut stream = on_a_thread(schema, |_| panic!("on purpose"));
        assert!(stream.next().await.unwrap().is_err());
        assert!(stream.next().await.is_none());
    }
}
