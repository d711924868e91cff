//! One check of `pipeline doctor`.

use serde::{Deserialize, Serialize};

/// What was tried, and how it went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// What was tried: `destination warehouse: COPY's role`.
    pub what: String,
    /// Whether it works.
    pub ok: bool,
    /// What was found.
    pub detail: String,
    /// What to do if it does not work: a statement, a policy, a sentence.
    pub fix: Option<String>,
}
