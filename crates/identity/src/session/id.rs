//! What a session is known by: a secret that only the browser has, and its hash.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};

/// Keeps these hashes apart from hashes of anything else.
const LABEL: &[u8] = b"portcullis session\0";

/// The id in the cookie: 256 random bits. `Debug` hides it, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionId([u8; 32]);

/// The SHA-256 of a [`SessionId`]. It opens nothing, and so may be kept and shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionKey([u8; 32]);

impl SessionId {
    /// A new one; `None` where the system gives no random bytes.
    pub fn random() -> Option<Self> {
        let mut bytes = [0; 32];
        aws_lc_rs::rand::fill(&mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// Reads what [`Self::expose`] wrote: 43 characters of base64url, in their one canonical spelling.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 43 {
            return None;
        }
        BASE64URL_NOPAD.decode(text.as_bytes()).ok()?.try_into().ok().map(Self)
    }

    /// The secret, as it stands in the cookie.
    pub fn expose(&self) -> String {
        BASE64URL_NOPAD.encode(&self.0)
    }

    /// What the table and the store know it by.
    pub fn key(&self) -> SessionKey {
        let mut context = Context::new(&SHA256);
        context.update(LABEL);
        context.update(&self.0);
        SessionKey::from_digest(context.finish().as_ref())
    }
}

impl SessionKey {
    /// Characters of [`Self::reference`].
    pub const REFERENCE: usize = 16;

    fn from_digest(digest: &[u8]) -> Self {
        let mut key = [0; 32];
        for (to, from) in key.iter_mut().zip(digest) {
            *to = *from;
        }
        Self(key)
    }

    /// From the bytes that a store has.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// For a store.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// What people and events call the session: the first 64 bits in hex. Somebody who would make a second session with the same one has to
    /// open about four thousand million.
    pub fn reference(&self) -> String {
        HEXLOWER.encode(&self.0).chars().take(Self::REFERENCE).collect()
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SessionId(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_spelling_and_hides_itself() {
        let id = SessionId::random().unwrap();
        let text = id.expose();
        assert_eq!(SessionId::parse(&text), Some(id.clone()));
        assert!(!format!("{id:?}").contains(&text));
        assert_ne!(SessionId::random().unwrap(), id);
        for wrong in
            ["", "x", &text[1..], &format!("{text}="), &format!("{text}A"), &text.replace('_', "/").replace('-', "+")]
        {
            if *wrong != *text {
                assert_eq!(SessionId::parse(wrong), None, "{wrong}");
            }
        }
        // The last character has two bits that must be zero.
        let stray = format!("{}B", &"A".repeat(42));
        assert_eq!(SessionId::parse(&stray), None);
    }

    #[test]
    fn the_key_is_a_hash_under_a_label_of_its_own() {
        let id = SessionId([7; 32]);
        let plain = SessionKey::from_bytes(crate::secret::sha256(&[7; 32]));
        assert_ne!(id.key(), plain);
        assert_eq!(id.key(), SessionId([7; 32]).key());
        assert_eq!(id.key().reference().len(), SessionKey::REFERENCE);
    }
}
