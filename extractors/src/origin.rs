//! What slices of one reading have in common beside their contract.

use pipeline_core::privacy::PrivacyKey;
use sha2::{Digest, Sha256};

/// A digest over where slices are read and how, for [`resumable_as`](pipeline_core::extract::ExtractPlan::resumable_as): with it go the program's
/// version, whose decoders may differ, and a mark of the privacy key, without which one person would have two hashes in one table.
pub(crate) fn digest(parts: &[&str], key: Option<&PrivacyKey>) -> String {
    let mut digest = Sha256::new();
    let mark = key.map(|key| key.hash(b"the same key as before"));
    for part in parts.iter().copied().chain([env!("CARGO_PKG_VERSION"), mark.as_deref().unwrap_or_default()]) {
        digest.update(part.len().to_be_bytes());
        digest.update(part.as_bytes());
    }
    hex::encode(digest.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_place_or_key_is_another_origin() {
        let key = PrivacyKey::new(b"one");
        let origin = digest(&["shop", "orders"], Some(&key));
        assert_eq!(origin, digest(&["shop", "orders"], Some(&PrivacyKey::new(b"one"))));
        for other in [
            digest(&["shop", "orders"], Some(&PrivacyKey::new(b"two"))),
            digest(&["shop", "orders"], None),
            digest(&["shopo", "rders"], Some(&key)),
            digest(&["shop"], Some(&key)),
        ] {
            assert_ne!(origin, other);
        }
    }
}
