//! Secrets of factors at rest: AES-256-GCM (NIST SP 800-38D) with a random nonce of 96 bits.
//!
//! What is sealed belongs to one row: the principal, the factor and its kind go into the tag, so that a row which somebody copies to another
//! principal, or under another id, does not open. There is one key that seals, and may be another one that only opens, while keys are exchanged; each
//! row names its key by a number that is derived from it. One key may seal 2^32 times, which is more than there are factors and uses of them.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use data_encoding::{BASE64, BASE64_NOPAD, HEXLOWER_PERMISSIVE};

use crate::mfa::factor::{FactorId, FactorKind};
use crate::secret::sha256;

/// What seals, and what opened before.
pub struct FactorKeys {
    current: FactorKey,
    other: Option<FactorKey>,
}

/// A key of 256 bits.
pub struct FactorKey {
    key: RandomizedNonceKey,
    number: i64,
}

/// Why text is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key is 32 bytes in base64 or hexadecimal, such as `openssl rand -base64 32` makes it")]
pub struct FactorKeyError;

/// Something sealed, and which key did it.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The number of the key.
    pub key: i64,
    /// The nonce, what was sealed, and the tag.
    pub bytes: Box<[u8]>,
}

/// Why something does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It was sealed with a key that is not there.
    #[error("it was sealed with another key than `key` and `other_key` of [mfa]")]
    OtherKey,
    /// It is not what was sealed, or of another row.
    #[error("it was changed, or is not of this row")]
    Changed,
}

impl FactorKey {
    /// A key as a file has it.
    ///
    /// # Errors
    /// It is not 32 bytes.
    pub fn parse(text: &str) -> Result<Self, FactorKeyError> {
        let text = text.trim().as_bytes();
        let decoded = HEXLOWER_PERMISSIVE.decode(text).or_else(|_| BASE64.decode(text));
        let decoded = decoded.or_else(|_| BASE64_NOPAD.decode(text)).map_err(|_| FactorKeyError)?;
        let bytes: [u8; 32] = decoded.try_into().map_err(|_| FactorKeyError)?;
        // Nobody has this one by chance.
        if bytes.iter().all(|byte| Some(byte) == bytes.first()) {
            return Err(FactorKeyError);
        }
        let key = RandomizedNonceKey::new(&AES_256_GCM, &bytes).map_err(|_| FactorKeyError)?;
        let hash = sha256(&[b"portcullis factor key\0".as_slice(), &bytes].concat());
        let number = hash.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        Ok(Self { key, number: number.cast_signed() })
    }
}

impl FactorKeys {
    /// One that seals, and one that only opens.
    pub fn new(current: FactorKey, other: Option<FactorKey>) -> Self {
        Self { current, other }
    }

    /// Seals what belongs to this row; `None` where there are no random bytes.
    pub(crate) fn seal(&self, principal: &str, id: FactorId, kind: FactorKind, plain: &[u8]) -> Option<Sealed> {
        let mut sealed = plain.to_vec();
        let row = row(principal, id, kind);
        let nonce = self.current.key.seal_in_place_append_tag(Aad::from(&row), &mut sealed).ok()?;
        let bytes = [nonce.as_ref().as_slice(), &sealed].concat().into_boxed_slice();
        Some(Sealed { key: self.current.number, bytes })
    }

    /// Opens what was sealed for this row.
    pub(crate) fn open(
        &self,
        principal: &str,
        id: FactorId,
        kind: FactorKind,
        sealed: &Sealed,
    ) -> Result<Vec<u8>, OpenError> {
        let mut keys = std::iter::once(&self.current).chain(&self.other);
        let key = keys.find(|key| key.number == sealed.key).ok_or(OpenError::OtherKey)?;
        let (nonce, rest) = sealed.bytes.split_at_checked(NONCE_LEN).ok_or(OpenError::Changed)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| OpenError::Changed)?;
        let mut rest = rest.to_vec();
        let plain = key.key.open_in_place(nonce, Aad::from(&row(principal, id, kind)), &mut rest);
        plain.map(|plain| plain.to_vec()).map_err(|_| OpenError::Changed)
    }

    /// The number of the key that only opens, where it is another one.
    pub(crate) fn other(&self) -> Option<i64> {
        self.other.as_ref().map(|key| key.number).filter(|number| *number != self.current.number)
    }

    /// The numbers of all that open.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = i64> {
        std::iter::once(&self.current).chain(&self.other).map(|key| key.number)
    }

    /// Whether what the key of this number has sealed opens.
    pub(crate) fn has(&self, number: i64) -> bool {
        self.numbers().any(|known| known == number)
    }
}

/// What a row is told apart by. Fields of fixed size or with their length: no two of them are encoded alike.
fn row(principal: &str, id: FactorId, kind: FactorKind) -> Vec<u8> {
    let length = (principal.len() as u64).to_le_bytes();
    [b"portcullis factor 1\0".as_slice(), &length, principal.as_bytes(), &id.0, &[kind.number()]].concat()
}

impl fmt::Debug for FactorKeys {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("FactorKeys(…)")
    }
}

impl fmt::Debug for FactorKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("FactorKey(…)")
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Sealed({} bytes)", self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: FactorId = FactorId([1; 16]);
    const TWO: FactorId = FactorId([2; 16]);

    fn key(byte: u8) -> FactorKey {
        let mut bytes = [byte; 32];
        bytes[31] = 0;
        FactorKey::parse(&BASE64.encode(&bytes)).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_in_its_own_row_alone() {
        let keys = FactorKeys::new(key(1), None);
        let sealed = keys.seal("user:alice", ONE, FactorKind::Totp, b"secret").unwrap();
        let open = |principal: &str, id, kind| keys.open(principal, id, kind, &sealed);
        assert_eq!(open("user:alice", ONE, FactorKind::Totp).as_deref(), Ok(b"secret".as_slice()));
        assert_eq!(open("user:mallory", ONE, FactorKind::Totp), Err(OpenError::Changed));
        assert_eq!(open("user:alice", TWO, FactorKind::Totp), Err(OpenError::Changed));
        assert_eq!(open("user:alice", ONE, FactorKind::Recovery), Err(OpenError::Changed));
        assert_ne!(keys.seal("user:alice", ONE, FactorKind::Totp, b"secret").unwrap(), sealed);
        for place in 0..sealed.bytes.len() {
            let mut changed = sealed.clone();
            changed.bytes[place] ^= 1;
            assert_eq!(keys.open("user:alice", ONE, FactorKind::Totp, &changed), Err(OpenError::Changed), "{place}");
        }
        let short = Sealed { bytes: Box::from([0; 5]), ..sealed };
        assert_eq!(keys.open("user:alice", ONE, FactorKind::Totp, &short), Err(OpenError::Changed));
    }

    #[test]
    fn keys_are_exchanged_without_a_gap() {
        let old = FactorKeys::new(key(1), None);
        let sealed = old.seal("user:alice", ONE, FactorKind::Totp, b"secret").unwrap();
        let both = FactorKeys::new(key(2), Some(key(1)));
        assert!(both.open("user:alice", ONE, FactorKind::Totp, &sealed).is_ok() && both.current.number != sealed.key);
        let again = both.seal("user:alice", ONE, FactorKind::Totp, b"secret").unwrap();
        let new = FactorKeys::new(key(2), None);
        assert!(new.open("user:alice", ONE, FactorKind::Totp, &again).is_ok() && new.current.number == again.key);
        assert_eq!(new.open("user:alice", ONE, FactorKind::Totp, &sealed), Err(OpenError::OtherKey));
        // A row that claims the key of now was not sealed with it.
        let claimed = Sealed { key: again.key, ..sealed };
        assert_eq!(new.open("user:alice", ONE, FactorKind::Totp, &claimed), Err(OpenError::Changed));
    }

    #[test]
    fn a_key_is_32_bytes_that_somebody_has_made() {
        let bytes: Vec<u8> = (0..32).collect();
        for text in [
            BASE64.encode(&bytes),
            BASE64_NOPAD.encode(&bytes),
            format!("{}\n", data_encoding::HEXLOWER.encode(&bytes)),
        ] {
            assert!(FactorKey::parse(&text).is_ok(), "{text}");
        }
        for text in ["", "key", &BASE64.encode(&bytes[1..]), &BASE64.encode(&[7; 32]), &"0".repeat(64)] {
            assert_eq!(FactorKey::parse(text).map(|_| ()), Err(FactorKeyError), "{text}");
        }
        assert_eq!(format!("{:?}", FactorKeys::new(key(1), Some(key(2)))), "FactorKeys(…)");
    }
}
