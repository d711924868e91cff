//! The memory of a statement that runs alone, in parts: for what can spill, for the merges of what was spilled, for all else.
//!
//! The engine's fair pool lets whoever asks first and cannot spill take all there is: one merge opens every file that a sort spilled,
//! and the next finds nothing, although the first would do with two. In parts, and with equal shares of them, all find room.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard};

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::memory_pool::{FairSpillPool, GreedyMemoryPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};

/// How the engine names who merges what a sort spilled; a test holds it to that.
const MERGE: &str = "ExternalSorterMerge";

/// A pool of three parts.
#[derive(Debug)]
pub(crate) struct PartedPool {
    bytes: usize,
    spilling: FairSpillPool,
    merging: EqualShares,
    holding: GreedyMemoryPool,
}

impl PartedPool {
    pub(crate) fn new(bytes: usize) -> Self {
        // A merge of files does with what it gets, and is faster with more.
        let (spilling, merging) = (bytes / 8 * 3, bytes / 2);
        Self {
            bytes,
            spilling: FairSpillPool::new(spilling),
            merging: EqualShares::new(merging),
            holding: GreedyMemoryPool::new(bytes - spilling - merging),
        }
    }

    fn part(&self, consumer: &MemoryConsumer) -> &dyn MemoryPool {
        if consumer.can_spill() {
            &self.spilling
        } else if consumer.name().starts_with(MERGE) {
            &self.merging
        } else {
            &self.holding
        }
    }
}

impl fmt::Display for PartedPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "parted({}, {} and {})", self.spilling, self.merging, self.holding)
    }
}

impl MemoryPool for PartedPool {
    fn name(&self) -> &str {
        "parted"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.part(consumer).register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.part(consumer).unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.part(reservation.consumer()).grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.part(reservation.consumer()).shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        self.part(reservation.consumer()).try_grow(reservation, additional)
    }

    fn reserved(&self) -> usize {
        self.spilling.reserved() + self.merging.reserved() + self.holding.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.bytes)
    }
}

/// A pool of which each consumer can have as much as any other, whether it asks first or last.
#[derive(Debug)]
struct EqualShares {
    bytes: usize,
    held: Mutex<HashMap<usize, usize>>,
}

impl EqualShares {
    fn new(bytes: usize) -> Self {
        Self { bytes, held: Mutex::default() }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<usize, usize>> {
        self.held.lock().expect("no holder of this lock panics")
    }
}

impl fmt::Display for EqualShares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "equal shares(used: {}, pool_size: {})", self.reserved(), self.bytes)
    }
}

impl MemoryPool for EqualShares {
    fn name(&self) -> &str {
        "equal shares"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.held().insert(consumer.id(), 0);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.held().remove(&consumer.id());
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        *self.held().entry(reservation.consumer().id()).or_default() += additional;
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        if let Some(held) = self.held().get_mut(&reservation.consumer().id()) {
            *held = held.saturating_sub(shrink);
        }
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let consumer = reservation.consumer();
        let mut all = self.held();
        let share = self.bytes / all.len().max(1);
        let used: usize = all.values().sum();
        let held = all.entry(consumer.id()).or_default();
        // Who came while there were fewer may hold more than its share of now.
        let room = share.saturating_sub(*held).min(self.bytes.saturating_sub(used));
        if additional > room {
            return Err(DataFusionError::ResourcesExhausted(format!(
                "{} cannot have {additional} bytes beside its {held}, {room} remain of its share",
                consumer.name()
            )));
        }
        *held += additional;
        Ok(())
    }

    fn reserved(&self) -> usize {
        self.held().values().sum()
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
    fn each_kind_finds_room_beside_the_others_however_much_they_took() {
        let pool: Arc<dyn MemoryPool> = Arc::new(PartedPool::new(800));
        let sort = MemoryConsumer::new("ExternalSorter[0]").with_can_spill(true).register(&pool);
        assert!(sort.try_grow(301).is_err());
        sort.try_grow(300).unwrap();
        let table = MemoryConsumer::new("HashJoinInput").register(&pool);
        table.try_grow(100).unwrap();
        assert!(table.try_grow(1).is_err());
        let first = MemoryConsumer::new("ExternalSorterMerge[0]").register(&pool);
        let second = MemoryConsumer::new("ExternalSorterMerge[1]").register(&pool);
        assert!(first.try_grow(201).is_err());
        first.try_grow(200).unwrap();
        second.try_grow(200).unwrap();
        assert_eq!(pool.reserved(), 800);
        drop(second);
        first.try_grow(200).unwrap();
        let third = MemoryConsumer::new("ExternalSorterMerge[2]").register(&pool);
        assert!(third.try_grow(1).is_err(), "the pool is never larger than it is");
        first.shrink(200);
        third.try_grow(200).unwrap();
        assert!(third.try_grow(1).is_err());
        drop((sort, table, first, third));
        assert_eq!(pool.reserved(), 0);
    }
}
