//! The memory of a statement that runs alone: a half for what can spill, a half for what cannot.
//!
//! The engine's fair pool lets the first sort of a plan take all there is. What cannot spill and asks later, such as the merge of another
//! sort's runs, finds nothing then, although the first would spill if it were asked. With a half of its own it finds room.

use std::fmt;

use datafusion::common::Result;
use datafusion::execution::memory_pool::{FairSpillPool, GreedyMemoryPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};

/// A pool of two halves.
#[derive(Debug)]
pub(crate) struct HalvedPool {
    bytes: usize,
    spilling: FairSpillPool,
    holding: GreedyMemoryPool,
}

impl HalvedPool {
    pub(crate) fn new(bytes: usize) -> Self {
        Self { bytes, spilling: FairSpillPool::new(bytes / 2), holding: GreedyMemoryPool::new(bytes - bytes / 2) }
    }

    fn half(&self, consumer: &MemoryConsumer) -> &dyn MemoryPool {
        if consumer.can_spill() { &self.spilling } else { &self.holding }
    }
}

impl fmt::Display for HalvedPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "halved({} and {})", self.spilling, self.holding)
    }
}

impl MemoryPool for HalvedPool {
    fn name(&self) -> &str {
        "halved"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.half(consumer).register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.half(consumer).unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.half(reservation.consumer()).grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.half(reservation.consumer()).shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        self.half(reservation.consumer()).try_grow(reservation, additional)
    }

    fn reserved(&self) -> usize {
        self.spilling.reserved() + self.holding.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn what_cannot_spill_finds_room_beside_a_sort_that_took_all() {
        let pool: Arc<dyn MemoryPool> = Arc::new(HalvedPool::new(1_000));
        let sort = MemoryConsumer::new("sort").with_can_spill(true).register(&pool);
        assert!(sort.try_grow(501).is_err());
        sort.try_grow(500).unwrap();
        let merge = MemoryConsumer::new("merge").register(&pool);
        merge.try_grow(500).unwrap();
        assert!(merge.try_grow(1).is_err());
        assert_eq!(pool.reserved(), 1_000);
        drop((sort, merge));
        assert_eq!(pool.reserved(), 0);
    }
}
