//! Turns at a bounded memory: statements usually share it, and one that found too little has it alone.
//!
//! What several statements need together is not known before they run. So each runs beside the others first. If it finds too little, it
//! lets go of everything and waits until it is alone; then either it passes or the memory is too small for it, whatever else runs.

use std::sync::Arc;

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// The turns at one memory. Clones are the same turns.
#[derive(Debug, Clone, Default)]
pub struct Turns(Arc<RwLock<()>>);

/// A turn, which ends when it is dropped.
#[derive(Debug)]
pub struct Turn {
    _beside_others: Option<OwnedRwLockReadGuard<()>>,
    _alone: Option<OwnedRwLockWriteGuard<()>>,
}

impl Turns {
    /// A turn that others may have at the same time. Waits for one who is alone, or wants to be. Who holds a turn must not ask for
    /// another one.
    pub async fn beside_others(&self) -> Turn {
        Turn { _beside_others: Some(Arc::clone(&self.0).read_owned().await), _alone: None }
    }

    /// A turn that nobody else has. Waits until all others have ended theirs.
    pub async fn alone(&self) -> Turn {
        Turn { _beside_others: None, _alone: Some(Arc::clone(&self.0).write_owned().await) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn who_is_alone_waits_for_the_others_and_they_for_it() {
        let turns = Turns::default();
        let (first, second) = (turns.beside_others().await, turns.beside_others().await);
        let is_waiting =
            async |wait: &mut tokio::task::JoinHandle<Turn>| tokio::time::timeout(Duration::from_millis(20), wait).await.is_err();
        let alone = |turns: Turns| tokio::spawn(async move { turns.alone().await });
        let mut third = alone(turns.clone());
        assert!(is_waiting(&mut third).await);
        drop(first);
        assert!(is_waiting(&mut third).await);
        drop(second);
        let third = third.await.unwrap();
        let mut fourth = tokio::spawn(async move { turns.beside_others().await });
        assert!(is_waiting(&mut fourth).await);
        drop(third);
        fourth.await.unwrap();
    }
}
