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
    /// The hash, where it is the same token.
    pub(crate) fn hash(&self, token: &str) -> Option<TokenHash> {
        let seen = self.0.try_borrow().ok()?;
        let (text, hash) = seen.as_ref()?;
        is_same(text.expose().as_bytes(), token.as_bytes()).then_some(*hash)
    }

    /// A token that holds came over the connection. Of one that does not nothing is kept.
    pub(crate) fn note(&self, token: &str, hash: TokenHash) {
        if token.len() > MOST_SEEN_BYTES {
            return;
        }
        if let Ok(mut seen) = self.0.try_borrow_mut() {
            *seen = Some((SecretText::new(token.to_owned()), hash));
        }
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
    fn the_token_that_came_last_has_the_hash_it_had_and_no_other_has_one() {
        let seen = SeenToken::default();
        let long = "x".repeat(MOST_SEEN_BYTES + 1);
        assert_eq!(seen.hash("a"), None);
        for token in ["aaaa", "aaab", "aaa", "aaaaa", "", "baaa"] {
            seen.note(token, TokenHash::of(token));
            for other in ["aaaa", "aaab", "aaa", "aaaaa", "", "baaa", &long] {
                assert_eq!(seen.hash(other), (other == token).then(|| TokenHash::of(token)), "{token} {other}");
            }
        }
        seen.note(&long, TokenHash::of(&long));
        assert_eq!((seen.hash(&long), seen.hash("baaa").is_some()), (None, true), "it is too long");
        assert!(!format!("{seen:?}").contains("baaa"));
    }
}
