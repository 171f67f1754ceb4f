//! Checkpoints: now and then an event says how far the chain has come, and is signed (Ed25519, RFC 8032).
//!
//! The hashes of the chain have no key, so that who can write a file can compute them anew. A signature they cannot make: a checkpoint
//! names the hash of the line before it, in which all lines before that are, so that none of them can be another without the
//! signature being wrong. What comes after the last checkpoint is not covered yet.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use data_encoding::{BASE64, HEXLOWER};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use serde::{Deserialize, Serialize};

use crate::chain::{self, Hash};
use crate::event::EventKind;

/// `[event] checkpoint`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointSettings {
    /// What signs.
    pub key: SigningKey,
    /// The longest time from an event to the checkpoint that covers it. Default 1 min.
    pub every: Duration,
    /// The most events between two checkpoints. Default 10,000.
    pub events: u64,
}

/// The default of [`CheckpointSettings::every`].
pub const EVERY: Duration = Duration::from_secs(60);
/// The default of [`CheckpointSettings::events`].
pub const EVENTS: u64 = 10_000;

/// Why a key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It is no private key in PEM with PKCS #8 within.
    #[error("it is no private key for Ed25519 in the form of PKCS #8 and PEM (`-----BEGIN PRIVATE KEY-----`)")]
    Private,
    /// It is no public key in PEM.
    #[error("it is no public key for Ed25519 in PEM (`-----BEGIN PUBLIC KEY-----`)")]
    Public,
    /// The system gave no random bytes.
    #[error("no key can be made: the system gives no random bytes")]
    NoRandomness,
}

/// The private key, which no log and no report shows.
#[derive(Clone)]
pub struct SigningKey(Arc<Ed25519KeyPair>);

impl SigningKey {
    /// Reads a key in the form of PKCS #8 and PEM, such as `openssl genpkey -algorithm ed25519` makes.
    ///
    /// # Errors
    /// When it is none.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|_| KeyError::Private)?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der());
        pair.map(|pair| Self(Arc::new(pair))).map_err(|_| KeyError::Private)
    }

    /// Makes a key, and gives it in PEM, too: to be written where only the gateway may read it.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn generate() -> Result<(Self, String), KeyError> {
        let pair = Ed25519KeyPair::generate().map_err(|_| KeyError::NoRandomness)?;
        let der: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| KeyError::NoRandomness)?;
        let text = pem("PRIVATE KEY", der.as_ref());
        Ok((Self(Arc::new(pair)), text))
    }

    /// What verifies its signatures.
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; 32];
        // INVARIANT: a public key of Ed25519 has 32 bytes (RFC 8032 section 5.1.5).
        bytes.copy_from_slice(self.0.public_key().as_ref());
        PublicKey(bytes)
    }

    /// The checkpoint behind this line.
    pub(crate) fn sign(&self, node: &str, time: &str, seq: u64, hash: &Hash) -> Checkpoint {
        let hash = chain::shown(hash);
        let signature = self.0.sign(signed_text(node, time, seq, &hash).as_bytes());
        Checkpoint { seq, hash, key: self.public().id(), signature: BASE64.encode(signature.as_ref()) }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SigningKey({})", self.public().id())
    }
}

impl PartialEq for SigningKey {
    fn eq(&self, other: &Self) -> bool {
        self.public() == other.public()
    }
}

impl Eq for SigningKey {}

/// What verifies signatures, and may be known to everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

/// What stands before the 32 bytes of a key in its `SubjectPublicKeyInfo` (RFC 8410 section 4).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

impl PublicKey {
    /// Reads a key in PEM.
    ///
    /// # Errors
    /// When it is none.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_| KeyError::Public)?;
        let bytes = der.as_ref().strip_prefix(&SPKI).and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(KeyError::Public)
    }

    /// The key in PEM.
    pub fn to_pem(self) -> String {
        pem("PUBLIC KEY", &[&SPKI[..], &self.0].concat())
    }

    /// What checkpoints call it: the first eight bytes of the SHA-256 of its 32.
    pub fn id(self) -> String {
        let hash = digest(&SHA256, &self.0);
        HEXLOWER.encode(hash.as_ref().get(..8).unwrap_or_default())
    }

    fn verifies(self, text: &str, signature: &str) -> bool {
        let Ok(signature) = BASE64.decode(signature.as_bytes()) else { return false };
        UnparsedPublicKey::new(&ED25519, self.0).verify(text.as_bytes(), &signature).is_ok()
    }
}

/// A block of PEM (RFC 7468).
fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in BASE64.encode(der).as_bytes().chunks(64) {
        text.push_str(std::str::from_utf8(line).unwrap_or_default());
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

/// `checkpoint` of an event of the kind `integrity.checkpoint`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The number of the event before it.
    pub seq: u64,
    /// The hash of the line before it, as that line has it.
    pub hash: String,
    /// Which key signed.
    pub key: String,
    /// The signature, in Base64 (RFC 4648 section 4).
    pub signature: String,
}

/// What is signed. Each value has a line of its own, and none can hold a line feed but `node`, which is one of the configuration's names.
fn signed_text(node: &str, time: &str, seq: u64, hash: &str) -> String {
    format!("portcullis.checkpoint/1\nnode {node}\ntime {time}\nseq {seq}\nhash {hash}\n")
}

/// What is read of the event.
#[derive(Deserialize)]
struct Line {
    node: String,
    time: String,
    checkpoint: Checkpoint,
}

/// Whether a line is a checkpoint. Nothing before `kind` is a caller's word.
pub(crate) fn is_checkpoint(kind: &[u8]) -> bool {
    kind == EventKind::IntegrityCheckpoint.as_str().as_bytes()
}

/// What is wrong with a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadCheckpoint {
    /// It cannot be read.
    Unreadable,
    /// It names another line than the one before it.
    WrongLine,
    /// It was signed with a key of this id, which is none of those that were given.
    UnknownKey(String),
    /// Its signature is wrong.
    WrongSignature,
}

/// Holds a line to its signature; `prev`: the hash that it follows on. Says of which time it is.
pub(crate) fn verify(line: &[u8], prev: Option<&Hash>, keys: &[PublicKey]) -> Result<String, BadCheckpoint> {
    let Line { node, time, checkpoint } = serde_json::from_slice(line).map_err(|_| BadCheckpoint::Unreadable)?;
    let Checkpoint { seq, hash, key: id, signature } = checkpoint;
    if prev.map(chain::shown).as_ref() != Some(&hash) {
        return Err(BadCheckpoint::WrongLine);
    }
    let Some(key) = keys.iter().find(|key| key.id() == id) else { return Err(BadCheckpoint::UnknownKey(id)) };
    if !key.verifies(&signed_text(&node, &time, seq, &hash), &signature) {
        return Err(BadCheckpoint::WrongSignature);
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with `openssl genpkey -algorithm ed25519` and `openssl pkey -pubout`.
    const PRIVATE: &str = include_str!("checkpoint/private.pem");
    const PUBLIC: &str = include_str!("checkpoint/public.pem");

    #[test]
    fn keys_of_other_tools_are_read_and_written_as_they_write_them() {
        let key = SigningKey::from_pem(PRIVATE.as_bytes()).unwrap();
        assert_eq!(key.public(), PublicKey::from_pem(PUBLIC.as_bytes()).unwrap());
        assert_eq!(key.public().to_pem(), PUBLIC);
        let (made, text) = SigningKey::generate().unwrap();
        assert_eq!(SigningKey::from_pem(text.as_bytes()).unwrap(), made);
        assert_ne!(made, key);
        assert!(!format!("{key:?}").contains("MC4"));
        for wrong in ["", PUBLIC, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
            assert_eq!(SigningKey::from_pem(wrong.as_bytes()).unwrap_err(), KeyError::Private, "{wrong}");
        }
        for wrong in ["", PRIVATE, "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"] {
            assert_eq!(PublicKey::from_pem(wrong.as_bytes()), Err(KeyError::Public), "{wrong}");
        }
    }

    #[test]
    fn a_signature_is_for_one_line_one_time_and_one_node() {
        let key = SigningKey::from_pem(PRIVATE.as_bytes()).unwrap();
        let hash = [7; 32];
        let made = key.sign("gw-1", "2026-11-28T19:04:12.697123Z", 41, &hash);
        let line = |node: &str, time: &str, checkpoint: &Checkpoint| {
            serde_json::json!({ "node": node, "time": time, "checkpoint": checkpoint }).to_string().into_bytes()
        };
        let time = "2026-11-28T19:04:12.697123Z";
        let check = |line: &[u8], prev: &Hash| verify(line, Some(prev), &[key.public()]);
        assert_eq!(check(&line("gw-1", time, &made), &hash), Ok(time.to_owned()));
        assert_eq!(check(&line("gw-2", time, &made), &hash), Err(BadCheckpoint::WrongSignature));
        assert_eq!(check(&line("gw-1", "2026", &made), &hash), Err(BadCheckpoint::WrongSignature));
        assert_eq!(check(&line("gw-1", time, &made), &[8; 32]), Err(BadCheckpoint::WrongLine));
        let other = Checkpoint { seq: 42, ..made.clone() };
        assert_eq!(check(&line("gw-1", time, &other), &hash), Err(BadCheckpoint::WrongSignature));
        assert_eq!(check(b"{}", &hash), Err(BadCheckpoint::Unreadable));
        let (stranger, _) = SigningKey::generate().unwrap();
        assert_eq!(
            check(&line("gw-1", time, &stranger.sign("gw-1", time, 41, &hash)), &hash),
            Err(BadCheckpoint::UnknownKey(stranger.public().id()))
        );
        let posing = Checkpoint { key: key.public().id(), ..stranger.sign("gw-1", time, 41, &hash) };
        assert_eq!(check(&line("gw-1", time, &posing), &hash), Err(BadCheckpoint::WrongSignature));
    }
}
