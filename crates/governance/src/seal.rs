//! Encryption of a backup: AES-256-GCM in chunks, so that it needs little memory, and each chunk is authentic before anything of it is used.
//!
//! Each file has a key of its own, derived from the one in the key file and 32 random bytes (HKDF-SHA-256, RFC 5869). The nonce of a chunk is its
//! number and whether it is the last one, so that none can be moved, left out or cut off (the construction is known as STREAM).

use std::io::{self, Read, Write};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, rand};

/// What an encrypted file begins with.
pub(crate) const MAGIC: &[u8; 20] = b"PORTCULLIS-SEALED/1\n";
/// Of plain text in a chunk.
const CHUNK: usize = 1 << 20;
const TAG: usize = 16;
const SALT: usize = 32;
const PURPOSE: &[u8] = b"portcullis-backup-v1";

/// The key of backups, which nothing shows.
#[derive(Clone)]
pub struct BackupKey([u8; 32]);

impl std::fmt::Debug for BackupKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("BackupKey")
    }
}

impl BackupKey {
    /// Reads a key file: 64 digits of hex.
    pub fn from_text(text: &str) -> Option<Self> {
        let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.trim().as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }

    /// Makes a key, and gives it as the key file has it.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn generate() -> Result<(Self, String), crate::KeyError> {
        let mut bytes = [0; 32];
        rand::fill(&mut bytes).map_err(|_| crate::KeyError::NoRandomness)?;
        Ok((Self(bytes), format!("{}\n", data_encoding::HEXLOWER.encode(&bytes))))
    }

    fn of_file(&self, salt: &[u8]) -> io::Result<LessSafeKey> {
        let failed = |_| io::Error::other("no key could be derived");
        let derived = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(&self.0);
        let mut bytes = [0; 32];
        derived.expand(&[PURPOSE], hkdf::HKDF_SHA256).and_then(|okm| okm.fill(&mut bytes)).map_err(failed)?;
        Ok(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &bytes).map_err(failed)?))
    }
}

fn nonce(number: u64, last: bool) -> Nonce {
    let mut bytes = [0; 12];
    if let Some((head, tail)) = bytes.split_at_mut_checked(11) {
        if let Some(place) = head.get_mut(3..) {
            place.copy_from_slice(&number.to_be_bytes());
        }
        tail.fill(u8::from(last));
    }
    Nonce::assume_unique_for_key(bytes)
}

/// Encrypts.
///
/// # Errors
/// Reading, writing, or no random bytes.
pub(crate) fn seal(key: &BackupKey, plain: &mut dyn Read, out: &mut dyn Write) -> io::Result<()> {
    let mut salt = [0; SALT];
    rand::fill(&mut salt).map_err(|_| io::Error::other("the system gives no random bytes"))?;
    let key = key.of_file(&salt)?;
    out.write_all(MAGIC)?;
    out.write_all(&salt)?;
    let (mut number, mut chunk) = (0, fill(plain, CHUNK)?);
    loop {
        let next = if chunk.len() == CHUNK { fill(plain, CHUNK)? } else { Vec::new() };
        let last = next.is_empty();
        let sealed = key.seal_in_place_append_tag(nonce(number, last), Aad::from(MAGIC), &mut chunk);
        sealed.map_err(|_| io::Error::other("it could not be encrypted"))?;
        out.write_all(&chunk)?;
        if last {
            return Ok(());
        }
        (number, chunk) = (number + 1, next);
    }
}

/// Decrypts what comes after [`MAGIC`].
///
/// # Errors
/// Reading, writing, another key, or a file that was changed or cut.
pub(crate) fn open(key: &BackupKey, sealed: &mut dyn Read, out: &mut dyn Write) -> io::Result<()> {
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, "it was encrypted with another key, or it was changed");
    let salt = fill(sealed, SALT)?;
    let key = key.of_file(&salt)?;
    let (mut number, mut chunk) = (0, fill(sealed, CHUNK + TAG)?);
    loop {
        let next = if chunk.len() == CHUNK + TAG { fill(sealed, CHUNK + TAG)? } else { Vec::new() };
        let last = next.is_empty();
        let plain = key.open_in_place(nonce(number, last), Aad::from(MAGIC), &mut chunk).map_err(|_| wrong())?;
        out.write_all(plain)?;
        if last {
            return Ok(());
        }
        (number, chunk) = (number + 1, next);
    }
}

/// As much as there is, up to a length.
fn fill(from: &mut dyn Read, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(length as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(key: &BackupKey, plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        seal(key, &mut &plain[..], &mut out).unwrap();
        out
    }

    fn opened(key: &BackupKey, sealed: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        open(key, &mut &sealed[MAGIC.len()..], &mut out).map(|()| out)
    }

    #[test]
    fn every_length_comes_back_as_it_was() {
        let (key, text) = BackupKey::generate().unwrap();
        let same = BackupKey::from_text(&text).unwrap();
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 7] {
            let plain: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            let sealed = sealed(&key, &plain);
            assert_eq!(opened(&same, &sealed).unwrap(), plain, "{length}");
            assert!(!sealed.windows(16).any(|window| window == &plain[..16.min(length)]) || length < 16);
        }
    }

    #[test]
    fn what_was_changed_cut_or_moved_is_refused() {
        let (key, _) = BackupKey::generate().unwrap();
        let plain = vec![7; 2 * CHUNK + 10];
        let good = sealed(&key, &plain);
        let (head, part) = (MAGIC.len() + SALT, CHUNK + TAG);
        for at in [MAGIC.len(), head, head + part, good.len() - 1] {
            let mut changed = good.clone();
            changed[at] ^= 1;
            assert!(opened(&key, &changed).is_err(), "{at}");
        }
        for end in [head, head + 5, head + part, head + 2 * part, good.len() - 1] {
            assert!(opened(&key, &good[..end]).is_err(), "cut at {end}");
        }
        let swapped =
            [&good[..head], &good[head + part..head + 2 * part], &good[head..head + part], &good[head + 2 * part..]]
                .concat();
        assert!(opened(&key, &swapped).is_err());
        assert!(opened(&BackupKey::generate().unwrap().0, &good).is_err());
        assert_ne!(sealed(&key, &plain), good, "each file has a key of its own");
        assert!(BackupKey::from_text("00").is_none());
    }
}
