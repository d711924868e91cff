//! The manifest: what a snapshot consists of.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Landing, SNAPSHOT};
use crate::contract::Contract;
use crate::error::{Error, Result};
use crate::extract::Checkpoint;
use crate::ledger::Measured;
use crate::quarantine::{Quarantine, Rejected};

/// The manifest's file name.
pub const MANIFEST_FILE: &str = "manifest.json";

/// The version of the manifest's form that this program writes, and the only one it reads.
const FORMAT_VERSION: u32 = 1;

/// One file of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its key, relative to the landing.
    pub key: String,
    /// Rows in it.
    pub rows: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// SHA-256 of its bytes, hexadecimal.
    pub sha256: String,
}

/// What a snapshot consists of. Written last, and only once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The form of this file.
    pub format_version: u32,
    /// The run that made it.
    pub run: String,
    /// The step that made it.
    pub step: String,
    /// The table's contract when it was made.
    pub contract: Contract,
    /// Whether the rows are changes (with `_deleted`) or plain rows.
    pub is_changes: bool,
    /// The parts, in order.
    pub parts: Vec<Part>,
    /// The rejected rows.
    pub quarantine: Option<Part>,
    /// Rows in all parts.
    pub rows: u64,
    /// Bytes in all parts.
    pub bytes: u64,
    /// The checkpoint that holds once this is loaded.
    pub checkpoint: Option<Checkpoint>,
    /// The checkpoint that the reading went on from: rows whose cursor lies at or before it came late.
    #[serde(default)]
    pub after: Option<Checkpoint>,
    /// What a model was made from, as the ledger's `ModelDone` names it.
    #[serde(default)]
    pub inputs: Option<String>,
    /// The revision of a model's table that these changes lead from; 0 if it was not there. None in manifests of older versions.
    #[serde(default)]
    pub compared_with: Option<i64>,
    /// What a model's whole table measures once these changes are in it.
    #[serde(default)]
    pub measured: Option<Measured>,
    /// Whether the rows may be of several moments, because more than one attempt read them: what changed since the checkpoint has to follow.
    #[serde(default)]
    pub is_of_moments: bool,
}

impl Manifest {
    /// An empty manifest of the current form.
    #[must_use]
    pub fn new(run: &str, step: &str, contract: Contract, is_changes: bool) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            run: run.to_owned(),
            step: step.to_owned(),
            contract,
            is_changes,
            parts: Vec::new(),
            quarantine: None,
            rows: 0,
            bytes: 0,
            checkpoint: None,
            after: None,
            inputs: None,
            compared_with: None,
            measured: None,
            is_of_moments: false,
        }
    }

    /// SHA-256 over the parts' checksums and the contract: names the content whatever it is called.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for part in &self.parts {
            hash.update(part.sha256.as_bytes());
            hash.update(b"\n");
        }
        hash.update(serde_json::to_vec(&self.contract).expect("a contract is always JSON"));
        hex::encode(hash.finalize())
    }

    /// The manifest as JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("a manifest is always JSON")
    }

    pub(super) fn from_json(bytes: &[u8], key: &str) -> Result<Self> {
        let manifest: Self =
            serde_json::from_slice(bytes).map_err(|_| Error::new(&SNAPSHOT, format!("landing manifest \"{key}\" cannot be understood")))?;
        if manifest.format_version == FORMAT_VERSION {
            Ok(manifest)
        } else {
            Err(Error::new(&SNAPSHOT, format!("landing manifest \"{key}\" has form {}, not {FORMAT_VERSION}", manifest.format_version))
                .hint("Use the version of the program that wrote it, or run again with --restart."))
        }
    }
}

/// A snapshot that exists.
#[derive(Debug, Clone)]
pub struct Snapshot {
    landing: Landing,
    manifest_key: String,
    manifest: Manifest,
}

impl Snapshot {
    pub(super) fn new(landing: Landing, manifest_key: String, manifest: Manifest) -> Self {
        Self { landing, manifest_key, manifest }
    }

    /// Where it lies.
    #[must_use]
    pub fn landing(&self) -> &Landing {
        &self.landing
    }

    /// The rows that did not fit when it was made.
    ///
    /// # Errors
    /// [`LANDING`](super::LANDING) and kin if they cannot be read, [`SNAPSHOT`] if they cannot be understood.
    pub async fn rejected(&self) -> Result<Vec<Rejected>> {
        match &self.manifest.quarantine {
            Some(part) => Quarantine::read(self.landing.get(&part.key).await?),
            None => Ok(Vec::new()),
        }
    }

    /// The manifest's key in the landing.
    #[must_use]
    pub fn manifest_key(&self) -> &str {
        &self.manifest_key
    }

    /// What it consists of.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }
}
