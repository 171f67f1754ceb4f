//! Keys of approvers: Ed25519 (RFC 8032), in PEM (RFC 7468, RFC 8410).

use std::fmt;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use data_encoding::{BASE64, HEXLOWER};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};

use crate::encrypted;
use crate::hash::Hash;

/// Why a key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It is no private key in PEM with PKCS #8 within.
    #[error("it is no private key for Ed25519 in the form of PKCS #8 and PEM (`-----BEGIN PRIVATE KEY-----`)")]
    Private,
    /// It is encrypted.
    #[error("it is encrypted, and its passphrase is needed")]
    Encrypted,
    /// It cannot be decrypted.
    #[error("the passphrase is wrong, or the file is damaged")]
    Passphrase,
    /// It is encrypted in a way that is not read, or that would take too long.
    #[error(
        "it is encrypted otherwise than by PBES2 with AES and PBKDF2 (HMAC with SHA-2, at most 10,000,000 rounds) or scrypt (at most 256 MiB): `openssl pkcs8 -topk8 -v2 aes-256-cbc` makes such a key"
    )]
    Scheme,
    /// It is no public key in PEM.
    #[error("it is no public key for Ed25519 in PEM (`-----BEGIN PUBLIC KEY-----`)")]
    Public,
    /// Anybody can make signatures that it verifies, or one signature would be valid under several forms of it.
    #[error(
        "it is a public key that verifies what nobody signed: a point of small order, or not in its one form (RFC 8032 section 5.1)"
    )]
    Weak,
    /// The system gave no random bytes.
    #[error("no key can be made: the system gives no random bytes")]
    NoRandomness,
}

/// The private key, which no log and no report shows.
pub struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    /// Reads a key, such as `openssl genpkey -algorithm ed25519` makes.
    ///
    /// # Errors
    /// When it is none.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        if encrypted::is_encrypted(pem) {
            return Err(KeyError::Encrypted);
        }
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|_| KeyError::Private)?;
        Self::from_der(der.secret_pkcs8_der())
    }

    pub(crate) fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map(Self).map_err(|_| KeyError::Private)
    }

    /// As PKCS #8 has it: whoever sees that can sign.
    pub(crate) fn secret_der(&self) -> Result<Pkcs8V1Der<'_>, KeyError> {
        self.0.as_der().map_err(|_| KeyError::NoRandomness)
    }

    /// Makes a key, and gives it in PEM, too.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn generate() -> Result<(Self, String), KeyError> {
        let pair = Ed25519KeyPair::generate().map_err(|_| KeyError::NoRandomness)?;
        let key = Self(pair);
        let text = pem("PRIVATE KEY", key.secret_der()?.as_ref());
        Ok((key, text))
    }

    /// What verifies its signatures.
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; 32];
        // INVARIANT: a public key of Ed25519 has 32 bytes (RFC 8032 section 5.1.5).
        bytes.copy_from_slice(self.0.public_key().as_ref());
        PublicKey(bytes)
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        let mut bytes = [0; 64];
        // INVARIANT: a signature of Ed25519 has 64 bytes (RFC 8032 section 5.1.6).
        bytes.copy_from_slice(self.0.sign(message).as_ref());
        bytes
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SigningKey({})", self.public().id())
    }
}

/// What verifies signatures, and may be known to everybody.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicKey(pub(crate) [u8; 32]);

/// What stands before the 32 bytes of a key in its `SubjectPublicKeyInfo` (RFC 8410 section 4).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

impl PublicKey {
    /// Reads a key in PEM. One that is weak is none.
    ///
    /// # Errors
    /// When it is none.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_| KeyError::Public)?;
        let bytes: Option<[u8; 32]> = der.as_ref().strip_prefix(&SPKI).and_then(|bytes| bytes.try_into().ok());
        Self::from_bytes(bytes.ok_or(KeyError::Public)?)
    }

    /// The key of these 32 bytes.
    ///
    /// # Errors
    /// When it is weak.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, KeyError> {
        if is_weak(bytes) { Err(KeyError::Weak) } else { Ok(Self(bytes)) }
    }

    /// The key in PEM.
    pub fn to_pem(self) -> String {
        pem("PUBLIC KEY", &[&SPKI[..], &self.0].concat())
    }

    /// What lists call it: the first eight bytes of the SHA-256 of its 32.
    pub fn id(self) -> String {
        HEXLOWER.encode(Hash::of(&self.0).0.get(..8).unwrap_or_default())
    }

    /// The library refuses a signature whose second half is not below the group's order, so that there is one form of each.
    pub(crate) fn verifies(self, message: &[u8], signature: &[u8; 64]) -> bool {
        !is_weak(self.0) && UnparsedPublicKey::new(&ED25519, self.0).verify(message, signature).is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PublicKey({})", self.id())
    }
}

/// The y of the points of order 1, 2, 4 and 8 (two of them), little-endian.
const SMALL_ORDER: [&str; 5] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
];

/// Whether a key is a point of small order, under which anybody can sign, or is not written in its one form: y below the prime 2^255 - 19.
fn is_weak(mut y: [u8; 32]) -> bool {
    if let Some(last) = y.last_mut() {
        // The sign of x.
        *last &= 0x7f;
    }
    let [first, middle @ .., last] = y;
    let beyond_prime = first >= 0xed && middle.iter().all(|byte| *byte == 0xff) && last == 0x7f;
    let text = HEXLOWER.encode(&y);
    beyond_prime || SMALL_ORDER.contains(&text.as_str())
}

/// A block of PEM (RFC 7468).
pub(crate) fn pem(label: &str, bytes: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in BASE64.encode(bytes).as_bytes().chunks(64) {
        text.push_str(std::str::from_utf8(line).unwrap_or_default());
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_are_written() {
        let (key, private) = SigningKey::generate().unwrap();
        assert_eq!(SigningKey::from_pem(private.as_bytes()).unwrap().public(), key.public());
        assert_eq!(PublicKey::from_pem(key.public().to_pem().as_bytes()), Ok(key.public()));
        assert_eq!(PublicKey::from_pem(private.as_bytes()), Err(KeyError::Public));
        assert_eq!(SigningKey::from_pem(key.public().to_pem().as_bytes()).unwrap_err(), KeyError::Private);
        assert!(!format!("{key:?}").contains("MC4"));
    }

    #[test]
    fn a_key_that_verifies_what_nobody_signed_is_none() {
        for point in SMALL_ORDER {
            let mut bytes: [u8; 32] = HEXLOWER.decode(point.as_bytes()).unwrap().try_into().unwrap();
            assert_eq!(PublicKey::from_bytes(bytes), Err(KeyError::Weak), "{point}");
            bytes[31] |= 0x80;
            assert_eq!(PublicKey::from_bytes(bytes), Err(KeyError::Weak), "{point} with the sign of x");
        }
        // The prime itself and all up to 2^255 - 1 are other ways to write 0 to 18.
        let mut beyond = [0xff; 32];
        beyond[31] = 0x7f;
        for first in 0xed..=0xff {
            beyond[0] = first;
            assert_eq!(PublicKey::from_bytes(beyond), Err(KeyError::Weak), "{first:#x}");
        }
        beyond[0] = 0xeb;
        assert!(PublicKey::from_bytes(beyond).is_ok());
    }

    #[test]
    fn a_signature_has_one_form() {
        let (key, _) = SigningKey::generate().unwrap();
        let signature = key.sign(b"text");
        assert!(key.public().verifies(b"text", &signature));
        assert!(!key.public().verifies(b"texu", &signature));
        // The order of the group, little-endian (RFC 8032 section 5.1): added to S, the equation still holds.
        let order = HEXLOWER.decode(b"edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap();
        let mut other = signature;
        let mut carry = 0u16;
        for (byte, add) in other[32..].iter_mut().zip(order) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            *byte = sum as u8;
            carry = sum >> 8;
        }
        assert_ne!(other, signature);
        assert!(!key.public().verifies(b"text", &other));
    }
}
