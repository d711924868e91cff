//! Change capture: what changed in a collection, deletions too, from the deployment's change stream, in batches.
//!
//! # How a table is read
//! ```text
//! plan       T1 = the run's cluster time
//!            the first time: the whole collection as of T1
//!            later: the change stream after the checkpoint, up to T1 → identifiers of documents that changed
//! read       those documents as of T1; identifiers that are not there are deleted
//! ```
//! The stream says *which* documents changed; what they are is read from the collection, by the same decoder as any other reading. A document
//! that changed a thousand times is read once, and nothing depends on pre- or post-images being kept.
//!
//! # The checkpoint
//! is the cluster time T1, of which the next stream begins with the operation after it. A resume token would say the same less plainly: it is the
//! token of one event, of which a quiet collection has none, while a time is known for every run. A stream that begins at
//! a time is as safe as one that begins at a token: the server refuses both when its log does not reach back that far.
//!
//! # When the whole collection is read again
//! When more documents changed than `changes_max`; when the collection was dropped, renamed, or made anew; when the contract changed; and,
//! if `reread_when_lost` allows it, when the server's log does not reach back to the checkpoint.
//!
//! # What is read later than T1
//! Where the server does not show T1 any more (see [`super::cut`]), documents are read as they are now. What they become after T1 comes again
//! with the next stream, so nothing is lost or doubled; only this run sees them a moment younger than the rest.

mod keys;
mod plan;
mod read;
mod scan;

pub(super) use keys::Identifiers;
pub(super) use plan::{Change, Collection, decide, oldest, reach};
pub(super) use read::{Chunk, read};

/// Most identifiers of changed documents that are held, if the configuration says nothing: some 100 MB of them. Beyond, reading the whole
/// collection is about as fast.
pub(super) const CHANGES_MAX_DEFAULT: u64 = 1_000_000;

/// How a source's changes are captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureOptions {
    /// Most documents that are read one by one in a run.
    pub changes_max: u64,
    /// Whether a collection is read whole when the server's log does not reach back to the last reading; else that is an error.
    pub reread_when_lost: bool,
}

impl Default for CaptureOptions {
    fn default() -> Self {
        Self { changes_max: CHANGES_MAX_DEFAULT, reread_when_lost: false }
    }
}
