//! How fast a source may be read: so many bytes a second, whoever reads.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

/// A pace that the readers of one source share. Cheap to clone; without a limit it costs nothing.
#[derive(Debug, Clone, Default)]
pub struct Pace(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    bucket: Mutex<Bucket>,
    began: Instant,
}

impl Pace {
    /// At most so many bytes a second, over any longer time; None reads as fast as the source gives.
    #[must_use]
    pub fn new(bytes_per_second: Option<u64>) -> Self {
        Self(bytes_per_second.map(|rate| Arc::new(Shared { bucket: Mutex::new(Bucket::new(rate)), began: Instant::now() })))
    }

    /// Says that so many bytes were read, and waits until they were allowed to be.
    pub async fn spend(&self, bytes: usize) {
        let Some(shared) = &self.0 else { return };
        let now_us = u64::try_from(shared.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let wait_us = shared.bucket.lock().expect("no holder of this lock panics").take(bytes as u64, now_us);
        if wait_us > 0 {
            tokio::time::sleep(Duration::from_micros(wait_us)).await;
        }
    }
}

/// When what was read so far is paid for. Pure: time is given.
#[derive(Debug)]
struct Bucket {
    bytes_per_second: u64,
    /// The instant at which all that was read has been paid for, in microseconds.
    paid_us: u64,
}

impl Bucket {
    /// What may come at once after a pause: a tenth of a second's worth, so that the rate holds over short times too.
    const BURST_US: u64 = 100_000;

    fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1), paid_us: 0 }
    }

    /// Takes bytes at a time; gives how long to wait.
    fn take(&mut self, bytes: u64, now_us: u64) -> u64 {
        let cost_us = u128::from(bytes) * 1_000_000 / u128::from(self.bytes_per_second);
        let start_us = self.paid_us.max(now_us.saturating_sub(Self::BURST_US));
        self.paid_us = start_us.saturating_add(u64::try_from(cost_us).unwrap_or(u64::MAX));
        self.paid_us.saturating_sub(now_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_holds_whatever_the_pieces_are() {
        for piece in [1_000, 10_000, 1_000_000] {
            let mut bucket = Bucket::new(1_000_000);
            let (mut now_us, mut taken) = (0, 0);
            while taken < 20_000_000 {
                now_us += bucket.take(piece, now_us);
                taken += piece;
            }
            let seconds = now_us / 1_000_000;
            assert!((19..=20).contains(&seconds), "{taken} bytes in {seconds} s, {piece} at once");
        }
    }

    #[test]
    fn a_pause_is_not_made_up_for() {
        let mut bucket = Bucket::new(1_000_000);
        assert_eq!(bucket.take(100_000, 10_000_000), 0, "a tenth of a second's worth at once");
        assert_eq!(bucket.take(500_000, 10_000_000), 500_000);
        assert_eq!(bucket.take(0, 10_100_000), 400_000, "what others wait for is waited for");
    }

    #[tokio::test]
    async fn readers_share_a_pace() {
        let pace = Pace::new(Some(1_000_000));
        let began = Instant::now();
        let readers = (0..4).map(|_| async {
            for _ in 0..5 {
                pace.spend(50_000).await;
            }
        });
        futures::future::join_all(readers).await;
        assert!(began.elapsed() >= Duration::from_millis(880), "a megabyte took {:?}", began.elapsed());
        Pace::default().spend(usize::MAX).await;
    }
}
