//! The user's wish to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, INTERRUPTED, Result};

/// Set by the first Ctrl-C: no new step begins and readings are dropped, but a publication in flight ends. Cheap to share.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks the run to stop.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was asked.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// An error if it was asked.
    ///
    /// # Errors
    /// [`INTERRUPTED`].
    pub fn check(&self) -> Result<()> {
        if self.is_asked() { Err(Error::new(&INTERRUPTED, "the run was interrupted")) } else { Ok(()) }
    }
}
