//! Waiting for a server that others need more.

use std::time::{Duration, Instant};

use pipeline_core::error::Result;

/// The first pause for a slow server; it doubles with each.
const PAUSE_FIRST: Duration = Duration::from_millis(500);

/// The longest single pause.
const PAUSE_LONGEST: Duration = Duration::from_secs(30);

/// How long to wait for a server to become faster.
const PAUSE_MAX: Duration = Duration::from_secs(15 * 60);

/// Waits while a server takes longer than `limit` to answer the least of questions. After [`PAUSE_MAX`] it is read all the same, or a server
/// that is always slow would never be.
pub(crate) async fn calm<W>(limit: Option<Duration>, mut ask: impl FnMut() -> W) -> Result<()>
where
    W: Future<Output = Result<()>>,
{
    let Some(limit) = limit else { return Ok(()) };
    let began = Instant::now();
    let mut pause = PAUSE_FIRST;
    loop {
        let asked = Instant::now();
        ask().await?;
        let latency = asked.elapsed();
        if latency <= limit || began.elapsed() >= PAUSE_MAX {
            return Ok(());
        }
        let milliseconds = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(latency_ms = milliseconds(latency), pause_ms = milliseconds(pause), "the source is slow to answer; reading waits");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_LONGEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[tokio::test]
    async fn a_slow_server_is_waited_for_and_a_fast_one_is_not() {
        let asked = Cell::new(0);
        let answers = || {
            asked.set(asked.get() + 1);
            let is_slow = asked.get() < 3;
            async move {
                if is_slow {
                    std::thread::sleep(Duration::from_millis(30));
                }
                Ok(())
            }
        };
        let began = Instant::now();
        calm(Some(Duration::from_millis(20)), answers).await.unwrap();
        assert!(asked.get() == 3 && began.elapsed() >= PAUSE_FIRST * 3, "two pauses");
        calm(None, || async { panic!("nothing is asked") }).await.unwrap();
    }
}
