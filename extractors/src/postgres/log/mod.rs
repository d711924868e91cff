//! Change capture: what changed in a table, deletions too, from the server's log, in batches.
//!
//! # How a table is read
//! ```text
//! prepare    a logical slot for the table, if there is none: the server keeps its log from there on
//! plan       L0 = end of the log; the run's snapshot S; L1 = end of the log, once it is on disk
//!            the first time: the whole table as S shows it
//!            later: the log from the checkpoint to L1 (peeked, pgoutput) → keys of rows that changed
//! read       those rows as S shows them; keys that S does not show are deleted
//! committed  the slot moves to the checkpoint
//! ```
//! The log says *which* rows changed; what they are is read from the table. So values that the log leaves out (unchanged TOAST), changes of the
//! key, and a row that changed a thousand times all come to one reading of the row, by the same decoder as any other reading; and because
//! all of S's changes lie before L1, the table is exactly as S shows it: one cut with all other tables of the run.
//!
//! # The checkpoint
//! is the commit of the first transaction that S does not show, or L0: every transaction whose commit lies before it is in S. L0 alone would
//! not do, since a commit is in the log a moment before others see it. What lies between the checkpoint and L1 is read again next time, which
//! changes nothing.
//!
//! # When the whole table is read again
//! After a TRUNCATE; when more keys changed than `changes_max`; when the table's columns, the contract's, the key, or the publication are
//! not what they were: a server does not log what an ALTER TABLE does to rows. It does not log either that a partition with rows in it
//! was attached or detached: then `--full-refresh` is for the user to ask.
//!
//! # What it costs
//! A slot for each table: it decodes the log since the checkpoint once a run, and keeps the log on the server's disk until the next
//! run. `max_slot_wal_keep_size` bounds that; a slot that was lost to it is an error that asks for a full refresh.

mod health;
mod keys;
mod lsn;
mod message;
mod plan;
mod read;
mod scan;
mod setup;
mod slot;
mod sorted;

pub(super) use health::health;
pub(super) use lsn::{Lsn, Visibility};
pub(super) use plan::{Change, Table, decide};
pub(super) use read::{Chunk, read};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use scan::fold_messages;
pub(super) use slot::{committed, name, prepare};

/// Most changed rows that are read by their keys, if the configuration says nothing. Beyond, reading the whole table is about as fast. Memory
/// holds few of them at once: see `sorted`.
pub(super) const CHANGES_MAX_DEFAULT: u64 = 1_000_000;

/// The publication that a source's changes come from, if the configuration says nothing.
pub(super) const PUBLICATION_DEFAULT: &str = "pipeline";

/// What the names of slots begin with, if the configuration says nothing.
pub(super) const SLOT_PREFIX_DEFAULT: &str = "pipeline";

/// How a source's changes are captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureOptions {
    /// The publication with the tables.
    pub publication: String,
    /// What the names of slots begin with. Two pipelines that read the same table need two.
    pub slot_prefix: String,
    /// Most rows that are read one by one in a run.
    pub changes_max: u64,
}

impl Default for CaptureOptions {
    fn default() -> Self {
        Self { publication: PUBLICATION_DEFAULT.to_owned(), slot_prefix: SLOT_PREFIX_DEFAULT.to_owned(), changes_max: CHANGES_MAX_DEFAULT }
    }
}
