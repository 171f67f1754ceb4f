//! Small secrets that a browser keeps for the gateway, sealed: what a login under way needs is in its cookie, so that a million logins
//! that nobody ends cost no memory.
//!
//! AES-256-GCM (NIST SP 800-38D) with a random nonce of 96 bits. One key may seal 2^32 texts; a gateway that begins a thousand logins each second
//! with one key for a month is below that.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use data_encoding::BASE64URL_NOPAD;

use crate::secret::sha256;

/// What seals.
pub struct SealKey(RandomizedNonceKey);

/// The longest text that is sealed, in bytes: sealed and encoded it must fit into a cookie.
const MAX_TEXT: usize = 2_900;

/// Why nothing was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealProblem {
    /// It is too long.
    #[error("it is longer than a cookie can hold")]
    TooLong,
    /// The system gave no random bytes.
    #[error("it cannot be sealed")]
    Failed,
}

impl SealKey {
    /// A key that nobody else has; `None` where the system gives no random bytes.
    pub fn random() -> Option<Self> {
        let mut bytes = [0; 32];
        aws_lc_rs::rand::fill(&mut bytes).ok()?;
        RandomizedNonceKey::new(&AES_256_GCM, &bytes).ok().map(Self)
    }

    /// The key that is derived from a secret of full entropy: several gateways that share it open what one of them sealed.
    pub fn from_secret(secret: &[u8]) -> Option<Self> {
        let bytes = sha256(&[b"portcullis seal\0".as_slice(), secret].concat());
        RandomizedNonceKey::new(&AES_256_GCM, &bytes).ok().map(Self)
    }

    /// Seals a text for one purpose, as base64url.
    ///
    /// # Errors
    /// It is too long, or there are no random bytes.
    pub fn seal(&self, text: &[u8], purpose: &'static str) -> Result<String, SealProblem> {
        if text.len() > MAX_TEXT {
            return Err(SealProblem::TooLong);
        }
        let mut sealed = text.to_vec();
        let nonce = self.0.seal_in_place_append_tag(Aad::from(purpose.as_bytes()), &mut sealed);
        let nonce = nonce.map_err(|_| SealProblem::Failed)?;
        Ok(BASE64URL_NOPAD.encode(&[nonce.as_ref().as_slice(), &sealed].concat()))
    }

    /// Opens what this key sealed for this purpose; `None`: it did not, or somebody has changed it.
    pub fn open(&self, sealed: &str, purpose: &'static str) -> Option<Vec<u8>> {
        let bytes = BASE64URL_NOPAD.decode(sealed.as_bytes()).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let text = self.0.open_in_place(nonce, Aad::from(purpose.as_bytes()), &mut sealed).ok()?;
        Some(text.to_vec())
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SealKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_its_key_for_its_purpose_and_unchanged() {
        let key = SealKey::random().unwrap();
        let sealed = key.seal(b"state", "login").unwrap();
        assert_eq!(key.open(&sealed, "login").as_deref(), Some(b"state".as_slice()));
        assert_eq!(key.open(&sealed, "form"), None);
        assert_eq!(SealKey::random().unwrap().open(&sealed, "login"), None);
        assert_ne!(key.seal(b"state", "login").unwrap(), sealed);
        for place in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            assert_eq!(key.open(std::str::from_utf8(&changed).unwrap(), "login"), None, "{place}");
        }
        for wrong in ["", "AAAA", &sealed[..10], &format!("{sealed}=")] {
            assert_eq!(key.open(wrong, "login"), None, "{wrong}");
        }
    }

    #[test]
    fn two_that_share_a_secret_open_what_the_other_sealed() {
        let key = || SealKey::from_secret(b"thirty-two bytes of real entropy").unwrap();
        assert_eq!(key().open(&key().seal(b"x", "login").unwrap(), "login").as_deref(), Some(b"x".as_slice()));
        assert_eq!(SealKey::from_secret(b"another").unwrap().open(&key().seal(b"x", "login").unwrap(), "login"), None);
    }

    #[test]
    fn what_is_sealed_fits_into_a_cookie() {
        let key = SealKey::random().unwrap();
        assert!(key.seal(&[b'x'; MAX_TEXT], "login").unwrap().len() <= 3_950);
        assert_eq!(key.seal(&[b'x'; MAX_TEXT + 1], "login"), Err(SealProblem::TooLong));
    }
}
