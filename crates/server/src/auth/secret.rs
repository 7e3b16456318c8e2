//! Secrets that we give out.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRngCore as _;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// Random bytes in a secret: past guessing, whatever the rate.
const SECRET_BYTES: usize = 32;
/// The longest text that is hashed to look it up; what is longer is none of ours.
const MAX_SECRET: usize = 128;

/// A new secret: a prefix, so that secret scanners know it, and 256 random bits.
pub fn generate(prefix: &str) -> SecretString {
    let mut bytes = [0; SECRET_BYTES];
    #[expect(
        clippy::expect_used,
        reason = "a system without randomness can keep no secret; nothing may go on"
    )]
    rand::rngs::OsRng
        .try_fill_bytes(&mut bytes)
        .expect("the system gives random bytes");
    format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes)).into()
}

/// What the store keeps of a secret: its SHA-256 in hexadecimal. None for what can't be one.
pub fn hash(secret: &str) -> Option<String> {
    use std::fmt::Write as _;
    if secret.is_empty() || secret.len() > MAX_SECRET {
        return None;
    }
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(secret) {
        let _ = write!(hex, "{byte:02x}");
    }
    Some(hex)
}

/// What the store keeps of a secret of ours.
pub fn hash_of(secret: &SecretString) -> String {
    hash(secret.expose_secret()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_differ_and_carry_their_prefix() {
        let (one, two) = (generate("mst_"), generate("mst_"));
        assert_ne!(one.expose_secret(), two.expose_secret());
        assert!(one.expose_secret().starts_with("mst_"));
        assert_eq!(one.expose_secret().len(), 4 + 43);
    }

    #[test]
    fn hashes_are_sha256_of_plausible_secrets_only() {
        assert_eq!(
            hash("abc").as_deref(),
            Some("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        );
        assert_eq!(hash(""), None);
        assert_eq!(hash(&"x".repeat(MAX_SECRET + 1)), None);
    }
}
