//! Signatures of lists, in the form of minisign: Ed25519 over the BLAKE2b hash of the list.

use std::fmt;
use std::sync::Arc;

use minisign_verify::Signature;

/// A public key of minisign, such as `RWQ…`.
#[derive(Clone)]
pub struct PublicKey {
    text: Arc<str>,
    key: minisign_verify::PublicKey,
}

impl PublicKey {
    /// The key of the line that `minisign -G` prints. The error is a sentence for the person who wrote it.
    ///
    /// # Errors
    /// What is no such key.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let key = minisign_verify::PublicKey::from_base64(text).map_err(|_| "is no public key of minisign")?;
        Ok(Self { text: text.into(), key })
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether the signature is this key's for these bytes, and when it was made: the trusted comment, which is signed, too, says so
    /// where it was made by minisign itself.
    ///
    /// # Errors
    /// Why not, in a sentence.
    pub(crate) fn verify(&self, bytes: &[u8], signature: &[u8]) -> Result<Option<u64>, String> {
        let text = std::str::from_utf8(signature).map_err(|_| "the signature is no text".to_owned())?;
        let signature = Signature::decode(text).map_err(|error| format!("the signature cannot be read: {error}"))?;
        // The older kind signs the list itself; whoever signs today uses the other.
        self.key.verify(bytes, &signature, false).map_err(|error| format!("the signature does not hold: {error}"))?;
        let stamp = |part: &str| part.strip_prefix("timestamp:")?.parse().ok();
        Ok(signature.trusted_comment().split_ascii_whitespace().find_map(stamp))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("PublicKey").field(&self.text).finish()
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for PublicKey {}

#[cfg(test)]
mod tests {
    use super::*;

    // The example of minisign-verify's own documentation, made with minisign.
    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    const SIGNATURE: &str = "untrusted comment: signature from minisign secret key\n\
        RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=\n\
        trusted comment: timestamp:1556193335\tfile:test\n\
        y/rUw2y8/hOUYjZU71eHp/Wo1KZ40fGy2VJEDl34XMJM+TX48Ss/17u3IvIfbVR1FkZZSNCisQbuQY+bHwhEBg==";

    #[test]
    fn a_signature_holds_for_its_bytes_and_its_key_alone() {
        let key = PublicKey::parse(KEY).unwrap();
        assert_eq!(key.verify(b"test", SIGNATURE.as_bytes()), Ok(Some(1_556_193_335)));
        let fails = |bytes: &[u8], signature: &[u8], fragment: &str| {
            let problem = key.verify(bytes, signature).unwrap_err();
            assert!(problem.contains(fragment), "{problem}");
        };
        fails(b"Test", SIGNATURE.as_bytes(), "does not hold");
        fails(b"test", SIGNATURE.replace("timestamp:1556193335", "timestamp:1556193336").as_bytes(), "does not hold");
        fails(b"test", b"", "cannot be read");
        fails(b"test", b"\xff", "no text");
        fails(b"test", b"<html>", "cannot be read");
        assert!(PublicKey::parse("RWQ").is_err() && PublicKey::parse("").is_err());
    }
}
