//! What a request shows besides its headers, and what callers are told that they may show.

use std::cell::{Cell, RefCell};

use crate::client_certificate::ClientCertificate;
use crate::proof::ProofTarget;
use crate::remote::Patience;
use crate::secret::SecretText;
use crate::token_cache::TokenHash;

/// What a request shows besides its headers, which tokens that are bound to their holder are held to; and how long it may wait.
#[derive(Debug, Clone, Copy)]
pub struct Presenting<'a> {
    /// The client certificate of its connection: verified in the handshake, and vouched for by the configuration in force.
    pub certificate: Option<&'a ClientCertificate>,
    /// What it asks for. Without it no proof proves anything.
    pub target: Option<ProofTarget<'a>>,
    /// For which token a proof was accepted for this very request before, so that it is used up: it is not asked for again. Without it
    /// each look asks for one.
    pub proven: Option<&'a Proven>,
    /// What came over its connection before. Without it each token is hashed.
    pub seen: Option<&'a SeenToken>,
    /// How long it may wait.
    pub patience: Patience<'a>,
}

impl<'a> Presenting<'a> {
    /// Nothing.
    pub fn nothing(patience: Patience<'a>) -> Self {
        Self { certificate: None, target: None, proven: None, seen: None, patience }
    }
}

/// For which token the proof of one request was accepted: whoever has to wait for a directory, or goes on as a stream, does not bring another
/// one. What else a request was accepted by proves nothing here.
#[derive(Debug, Default)]
pub struct Proven(Cell<Option<[u8; 32]>>);

impl Proven {
    pub(crate) fn is_of(&self, token: &TokenHash) -> bool {
        self.0.get() == Some(token.0)
    }

    pub(crate) fn note(&self, token: &TokenHash) {
        self.0.set(Some(token.0));
    }
}

/// The token that came last over a connection, and its hash: a caller shows the same one with each request, and hashing it is most of what it
/// costs to know a token again. It spares the hash and nothing else: whether the token still holds is asked each time.
#[derive(Debug, Default)]
pub struct SeenToken(RefCell<Option<(SecretText<'static>, TokenHash)>>);

/// A longer token is hashed each time, so that a connection does not grow much by it.
const MOST_SEEN_BYTES: usize = 2_048;

impl SeenToken {
    pub(crate) fn hash(&self, token: &str) -> TokenHash {
        if let Ok(seen) = self.0.try_borrow()
            && let Some((text, hash)) = &*seen
            && is_same(text.expose().as_bytes(), token.as_bytes())
        {
            return *hash;
        }
        let hash = TokenHash::of(token);
        if token.len() <= MOST_SEEN_BYTES
            && let Ok(mut seen) = self.0.try_borrow_mut()
        {
            *seen = Some((SecretText::new(token.to_owned()), hash));
        }
        hash
    }
}

/// Looks at every byte, whatever differs: somebody else may have sent the other one over the same connection, where a proxy is in front, and how
/// long this takes is not to tell how much of it was right.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let differences = one.iter().zip(other).fold(0, |all: u8, (one, other)| all | (one ^ other));
    one.len() == other.len() && differences == 0
}

/// Whether callers may prove to hold the key of their token (DPoP, RFC 9449), for who has none yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProofOffer {
    /// Nobody asks for it. Tokens that are bound to a key are held to it all the same.
    Unasked,
    /// Some provider's tokens must be bound.
    Beside,
    /// All of them must be bound to a key.
    Only,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_was_seen_has_the_hash_it_had_and_no_other_has() {
        let seen = SeenToken::default();
        let long = "x".repeat(MOST_SEEN_BYTES + 1);
        for token in ["aaaa", "aaaa", "aaab", "aaa", "aaaaa", "", "", "baaa", "aaaa", &long, &long, "aaaa"] {
            assert_eq!(seen.hash(token), TokenHash::of(token), "{token}");
        }
    }

    #[test]
    fn the_last_one_alone_is_kept_and_never_shown() {
        let seen = SeenToken::default();
        let kept = || seen.0.borrow().as_ref().map(|(text, _)| text.expose().to_owned());
        for (token, expected) in [("one", "one"), ("two", "two"), (&*"y".repeat(MOST_SEEN_BYTES + 1), "two")] {
            seen.hash(token);
            assert_eq!(kept().as_deref(), Some(expected));
        }
        assert!(!format!("{seen:?}").contains("two"));
    }
}
