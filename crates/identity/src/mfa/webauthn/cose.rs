//! The public key of a passkey (RFC 9052 and 9053), and the signatures that it verifies: ES256, EdDSA and RS256.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};

use super::cbor::Item;

/// What an authenticator is asked for, the preferred one first (the IANA registry of COSE algorithms).
pub(super) const ALGORITHMS: [i64; 3] = [ES256, EDDSA, RS256];
const ES256: i64 = -7;
const EDDSA: i64 = -8;
const RS256: i64 = -257;

// Labels of a key: its type, its algorithm, its curve or modulus, its coordinates or exponent.
const KTY: i64 = 1;
const ALG: i64 = 3;
const FIRST: i64 = -1;
const SECOND: i64 = -2;
const THIRD: i64 = -3;
const OKP: i64 = 1;
const EC2: i64 = 2;
const RSA: i64 = 3;
const P256: i64 = 1;
const ED25519_CURVE: i64 = 6;

/// 2,048 to 4,096 bits.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=512;
/// An exponent of 3 to 4 bytes: 65537 is what there is.
const EXPONENT_BYTES: std::ops::RangeInclusive<usize> = 1..=4;

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PublicKey<'k> {
    /// A point of P-256, not compressed.
    Es256([u8; 65]),
    /// A point of Ed25519.
    EdDsa(&'k [u8]),
    /// A modulus and an exponent.
    Rs256 { n: &'k [u8], e: &'k [u8] },
}

impl<'k> PublicKey<'k> {
    /// `None`: another kind of key, or one that is malformed.
    pub(super) fn read(key: &Item<'k>) -> Option<Self> {
        let label = |label: i64| key.get(&Item::Integer(label));
        let number = |name: i64| label(name).and_then(Item::as_integer);
        let bytes = |name: i64| label(name).and_then(Item::as_bytes);
        match (number(KTY)?, number(ALG)?) {
            (EC2, ES256) if number(FIRST)? == P256 => {
                let (x, y): (&[u8; 32], &[u8; 32]) = (bytes(SECOND)?.try_into().ok()?, bytes(THIRD)?.try_into().ok()?);
                let mut point = [4; 65];
                for (to, from) in point.iter_mut().skip(1).zip(x.iter().chain(y)) {
                    *to = *from;
                }
                Some(Self::Es256(point))
            }
            (OKP, EDDSA) if number(FIRST)? == ED25519_CURVE => {
                let x = bytes(SECOND)?;
                (x.len() == 32).then_some(Self::EdDsa(x))
            }
            (RSA, RS256) => {
                let (n, e) = (bytes(FIRST)?, bytes(SECOND)?);
                let is_sound = MODULUS_BYTES.contains(&n.len())
                    && EXPONENT_BYTES.contains(&e.len())
                    && n.first().is_some_and(|first| *first >= 0x80)
                    && e.last().is_some_and(|last| last & 1 == 1);
                is_sound.then_some(Self::Rs256 { n, e })
            }
            _ => None,
        }
    }

    /// Whether it made that signature.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Es256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(message, signature).is_ok()
            }
            Self::EdDsa(x) => UnparsedPublicKey::new(&ED25519, x).verify(message, signature).is_ok(),
            Self::Rs256 { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
            }
        }
    }
}
