//! Keyed hashes: what stands in the place of an e-mail address, a phone number or a name.

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// The project's secret for hashing personal values. It never shows itself.
#[derive(Clone)]
pub struct PrivacyKey(Hmac<Sha256>);

impl PrivacyKey {
    /// A key from secret bytes of any length (RFC 2104).
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        Self(<Hmac<Sha256> as Mac>::new_from_slice(secret).expect("HMAC takes keys of any length"))
    }

    /// HMAC-SHA256 of a value's text, as 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn hash(&self, value: &[u8]) -> String {
        let mut mac = self.0.clone();
        mac.update(value);
        hex::encode(mac.finalize().into_bytes())
    }
}

impl fmt::Debug for PrivacyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivacyKey(…)")
    }
}

/// What a masked value looks like: its presence, nothing else.
pub const MASK: &str = "***";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_rfc_4231_test_case_2() {
        assert_eq!(
            PrivacyKey::new(b"Jefe").hash(b"what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(format!("{:?}", PrivacyKey::new(b"secret")), "PrivacyKey(…)");
    }
}
