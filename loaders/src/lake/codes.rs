//! What can go wrong with the lake.

use deltalake::DeltaTableError;
use deltalake::kernel::transaction::TransactionError;
use pipeline_core::error::{Code, Error, ErrorKind};
use pipeline_core::landing::store_error;
use pipeline_core::load::{FENCED, SCHEMA_CHANGE};

/// The lake cannot be read or written for now.
pub static LAKE: Code = Code {
    name: "E-LAKE",
    kind: ErrorKind::Unavailable,
    meaning: "A Delta table of the lake could not be read or written.",
    remedy: "Check that the lake's folder or bucket can be reached and has space, then run again; a commit is made whole or not at all.",
};

/// The lake refuses this program.
pub static LAKE_DENIED: Code = Code {
    name: "E-LAKE-DENIED",
    kind: ErrorKind::Denied,
    meaning: "The lake's folder or bucket refuses to be read or written with these credentials.",
    remedy: "Grant write permission on the folder, or s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket on the bucket.",
};

/// A snapshot breaks a rule that the lake relies on.
pub static LAKE_KEY: Code = Code {
    name: "E-LAKE-KEY",
    kind: ErrorKind::Data,
    meaning: "Rows to be merged have a NULL in their key, so they could never be found again.",
    remedy: "Declare as key only columns that are never NULL, or correct the source.",
};

/// A merge does not fit in memory.
pub static LAKE_MEMORY: Code = Code {
    name: "E-LAKE-MEMORY",
    kind: ErrorKind::Exhausted,
    meaning: "A load's rows could not be compared or merged with the lake's within the memory limit, not even by joins that spill.",
    remedy: "Raise `memory_limit` in [project], or load smaller windows with `pipeline backfill`.",
};

/// A former state of a table is asked for that is gone.
pub static LAKE_HISTORY: Code = Code {
    name: "E-LAKE-HISTORY",
    kind: ErrorKind::Usage,
    meaning: "The lake does not keep a table any more as it stood so long ago.",
    remedy: "Ask for a later run; `pipeline history NAME` lists them.",
};

/// The codes of this folder.
pub const CODES: &[&Code] = &[&LAKE, &LAKE_DENIED, &LAKE_KEY, &LAKE_MEMORY, &LAKE_HISTORY, &FENCED, &SCHEMA_CHANGE];

/// Whether another commit came first.
pub(super) fn is_conflict(error: &DeltaTableError) -> bool {
    matches!(
        error,
        DeltaTableError::Transaction {
            source: TransactionError::VersionAlreadyExists(_)
                | TransactionError::CommitConflict(_)
                | TransactionError::MaxCommitAttempts(_)
        } | DeltaTableError::VersionAlreadyExists(_)
    )
}

/// Classifies a Delta error. Its text may quote values, so only its kind is kept.
pub(super) fn delta_error(what: &str, error: &DeltaTableError) -> Error {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(deeper) = source {
        if let Some(store) = deeper.downcast_ref::<object_store::Error>() {
            let classified = store_error(what, store);
            // A lake's missing object is no broken snapshot.
            if classified.kind() != ErrorKind::Data {
                return if classified.kind() == ErrorKind::Denied {
                    Error::new(&LAKE_DENIED, what).caused_by("permission denied")
                } else {
                    classified
                };
            }
        }
        if let Some(io) = deeper.downcast_ref::<std::io::Error>() {
            match io.kind() {
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                    return Error::new(&pipeline_core::landing::DISK_FULL, what).caused_by("no space left on the device");
                }
                std::io::ErrorKind::PermissionDenied => return Error::new(&LAKE_DENIED, what).caused_by("permission denied"),
                _ => {}
            }
        }
        source = deeper.source();
    }
    if is_out_of_memory(error) {
        return Error::new(&LAKE_MEMORY, what);
    }
    let text = format!("{error:?}");
    if text.contains("StorageFull") || text.contains("No space left on device") {
        return Error::new(&pipeline_core::landing::DISK_FULL, what).caused_by("no space left on the device");
    }
    tracing::debug!(error = %error, "the lake failed");
    let variant: String = text.chars().take_while(|c| c.is_alphanumeric()).collect();
    Error::new(&LAKE, what).caused_by(variant)
}

/// Whether the query engine ran out of memory. Delta's operations hand on only its text.
pub(super) fn is_out_of_memory(error: &DeltaTableError) -> bool {
    format!("{error:?}").contains("Resources exhausted")
}

/// Classifies a query engine's error in the same way.
pub(super) fn query_error(what: &str, error: datafusion::error::DataFusionError) -> Error {
    if matches!(error.find_root(), datafusion::error::DataFusionError::ResourcesExhausted(_)) {
        return Error::new(&LAKE_MEMORY, what);
    }
    let error = DeltaTableError::from(error);
    delta_error(what, &error)
}
