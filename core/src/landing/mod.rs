//! Where snapshots lie: immutable Parquet parts, with a manifest written last.
//!
//! ```text
//! <pipeline>/<run>/<step>/<attempt>/part-00000.parquet   never overwritten: the attempt's id is new each time
//! <pipeline>/<run>/<step>/<attempt>/quarantine.parquet   rejected rows, if any
//! <pipeline>/<run>/<step>/<attempt>/manifest.json        conditional put; a snapshot without it does not exist
//! ```
//! A reading that was continued names parts of its earlier attempts too: the ledger knew them with their checksums.
//!
//! The same code writes to a local folder and to S3; a part larger than a few MiB goes up in several parts, which are
//! aborted when the writer fails. What a killed process left behind has no manifest: nobody reads it, and
//! [`Landing::clean`] removes it.

mod dictionary;
mod manifest;
mod writer;

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use sha2::{Digest, Sha256};

pub use dictionary::with_dictionaries;
pub use manifest::{MANIFEST_FILE, Manifest, Part, Snapshot};
pub use writer::{PART_BYTES_MAX, PartWriter, ROW_GROUP_MEMORY_BYTES_MAX, SnapshotWriter, WriterSettings};

use crate::error::{Code, Error, ErrorKind, Result};

/// The landing cannot be written or read for now.
pub static LANDING: Code = Code {
    name: "E-LANDING",
    kind: ErrorKind::Unavailable,
    meaning: "The place where snapshots are landed could not be read or written.",
    remedy: "Check that the folder or bucket exists and can be reached, then run again; nothing was published.",
};

/// The landing refuses this program.
pub static LANDING_DENIED: Code = Code {
    name: "E-LANDING-DENIED",
    kind: ErrorKind::Denied,
    meaning: "The place where snapshots are landed refuses to be read or written with these credentials.",
    remedy: "Grant s3:PutObject, s3:GetObject, s3:ListBucket, s3:DeleteObject and s3:AbortMultipartUpload on the bucket, or write permission on the folder; `pipeline doctor` tries each.",
};

/// The landing's bucket does not exist.
pub static LANDING_MISSING: Code = Code {
    name: "E-LANDING-MISSING",
    kind: ErrorKind::Usage,
    meaning: "The bucket in which snapshots are to be landed does not exist. Buckets are never made by themselves.",
    remedy: "Correct `landing` in [project], or make the bucket in the region of [aws].",
};

/// The disk is full.
pub static DISK_FULL: Code = Code {
    name: "E-DISK-FULL",
    kind: ErrorKind::Exhausted,
    meaning: "A file could not be written because the disk is full.",
    remedy: "Free space, or move `landing`, `lake` or `work` to a larger disk, then run again: what was published is whole, the rest is still to do.",
};

/// A snapshot's bytes are not those that were written.
pub static SNAPSHOT: Code = Code {
    name: "E-SNAPSHOT",
    kind: ErrorKind::Data,
    meaning: "A landed snapshot is missing parts, or its bytes differ from the checksums in its manifest.",
    remedy: "Somebody changed or removed landed files. Run again with --restart: the table is read anew.",
};

/// A place for snapshots: a folder or a prefix in a bucket.
#[derive(Debug, Clone)]
pub struct Landing {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    url: String,
}

impl Landing {
    /// A landing under `prefix` of `store`; `url` is how people and COPY statements name that place, without a slash at its end.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>, prefix: Path, url: impl Into<String>) -> Self {
        Self { store, prefix, url: url.into() }
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.store)
    }

    /// How people and COPY statements name the place: `s3://bucket/prefix` or `file:///folder`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The full path of a key relative to the landing.
    #[must_use]
    pub fn path(&self, key: &str) -> Path {
        Path::from_iter(self.prefix.parts().map(|part| part.as_ref().to_owned()).chain(key.split('/').map(str::to_owned)))
    }

    /// The full URL of a key relative to the landing.
    #[must_use]
    pub fn url_of(&self, key: &str) -> String {
        format!("{}/{key}", self.url)
    }

    /// Writes a small object that must not exist yet.
    ///
    /// # Errors
    /// [`SNAPSHOT`] if it exists with other content; [`LANDING`] and kin otherwise. The same content again is no error: an
    /// answer that was lost after the object was written ends here.
    pub async fn create(&self, key: &str, content: Vec<u8>) -> Result<()> {
        let path = self.path(key);
        let content = Bytes::from(content);
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(&path, content.clone().into(), options).await {
            Ok(_) => Ok(()),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                if self.get(key).await? == content {
                    Ok(())
                } else {
                    Err(Error::new(&SNAPSHOT, format!("landing object \"{key}\" exists with other content")))
                }
            }
            Err(error) => Err(write_error(&format!("landing object \"{}\" could not be written", self.url_of(key)), &error)),
        }
    }

    /// Reads a small object.
    ///
    /// # Errors
    /// [`SNAPSHOT`] if it does not exist; [`LANDING`] and kin otherwise.
    pub async fn get(&self, key: &str) -> Result<Bytes> {
        let what = format!("landing object \"{key}\" could not be read");
        let found = self.store.get(&self.path(key)).await.map_err(|error| store_error(&what, &error))?;
        found.bytes().await.map_err(|error| store_error(&what, &error))
    }

    /// Opens the snapshot whose manifest has this key.
    ///
    /// # Errors
    /// [`SNAPSHOT`] if there is none or it cannot be understood.
    pub async fn open(&self, manifest_key: &str) -> Result<Snapshot> {
        let bytes = self.get(manifest_key).await?;
        let manifest = Manifest::from_json(&bytes, manifest_key)?;
        Ok(Snapshot::new(self.clone(), manifest_key.to_owned(), manifest))
    }

    /// Compares every part's length and SHA-256 with the manifest.
    ///
    /// # Errors
    /// [`SNAPSHOT`] naming the first part that differs.
    pub async fn verify(&self, manifest: &Manifest) -> Result<()> {
        self.verify_parts(&manifest.parts).await
    }

    /// Compares parts' lengths and SHA-256 with what was written down of them.
    ///
    /// # Errors
    /// [`SNAPSHOT`] naming the first part that differs or is gone.
    pub async fn verify_parts(&self, parts: &[Part]) -> Result<()> {
        for part in parts {
            let what = format!("landed part \"{}\" could not be read", part.key);
            let found = self.store.get(&self.path(&part.key)).await.map_err(|error| store_error(&what, &error))?;
            let mut stream = found.into_stream();
            let mut hash = Sha256::new();
            let mut bytes = 0_u64;
            while let Some(chunk) = stream.next().await {
                let chunk = chunk.map_err(|error| store_error(&what, &error))?;
                bytes += chunk.len() as u64;
                hash.update(&chunk);
            }
            if bytes != part.bytes || hex::encode(hash.finalize()) != part.sha256 {
                return Err(Error::new(&SNAPSHOT, format!("landed part \"{}\" differs from its checksum", part.key)));
            }
        }
        Ok(())
    }

    /// Removes everything below a key, such as an attempt that never finished. Returns how many objects went.
    ///
    /// # Errors
    /// [`LANDING`] and kin.
    pub async fn clean(&self, key: &str) -> Result<u64> {
        let what = format!("landing folder \"{key}\" could not be cleaned");
        let prefix = self.path(key);
        let found: Vec<Path> = self
            .store
            .list(Some(&prefix))
            .map_ok(|object| object.location)
            .try_collect()
            .await
            .map_err(|error| store_error(&what, &error))?;
        let mut removed = 0;
        for path in found {
            match self.store.delete(&path).await {
                Ok(()) => removed += 1,
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(store_error(&what, &error)),
            }
        }
        Ok(removed)
    }
}

/// The same for writing, where only a bucket can be missing.
fn write_error(what: &str, error: &object_store::Error) -> Error {
    match error {
        object_store::Error::NotFound { .. } => Error::new(&LANDING_MISSING, what).caused_by("there is no such bucket"),
        error => store_error(what, error),
    }
}

/// Classifies an object store's error; its text names a path or a bucket, never data.
#[must_use]
pub fn store_error(what: &str, error: &object_store::Error) -> Error {
    let denied = matches!(error, object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. });
    let missing = matches!(error, object_store::Error::NotFound { .. });
    let mut full = false;
    let mut local_denied = false;
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(deeper) = source {
        if let Some(io) = deeper.downcast_ref::<std::io::Error>() {
            full |= io.kind() == std::io::ErrorKind::StorageFull || io.kind() == std::io::ErrorKind::QuotaExceeded;
            local_denied |= io.kind() == std::io::ErrorKind::PermissionDenied;
        }
        source = deeper.source();
    }
    if full {
        Error::new(&DISK_FULL, what).caused_by("no space left on the device")
    } else if denied || local_denied {
        Error::new(&LANDING_DENIED, what).caused_by("permission denied")
    } else if missing {
        Error::new(&SNAPSHOT, what).caused_by("there is no such object or bucket")
    } else {
        Error::new(&LANDING, what).caused_by(short_cause(error))
    }
}

fn short_cause(error: &object_store::Error) -> String {
    // The deepest cause says what went wrong; what stands above it repeats the request, whose URL may be signed.
    let mut deepest: &dyn std::error::Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    let text = deepest.to_string();
    let line: String = text.lines().next().unwrap_or_default().chars().take(200).collect();
    if line.contains('?') { "the store did not answer as it should".to_owned() } else { line }
}
