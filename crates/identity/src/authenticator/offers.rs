//! What callers may bring, and are told that they may.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::Authenticator;
use crate::presenting::ProofOffer;
use crate::settings::Bound;

impl Authenticator {
    /// Whether bearer tokens are accepted at all.
    pub fn accepts_tokens(&self) -> bool {
        self.sources.reads_tokens()
    }

    /// Whether there are users with passwords.
    pub fn accepts_passwords(&self) -> bool {
        self.sources.reads_passwords()
    }

    /// Whether a request with these headers brings something that would be verified as a credential, and that nobody can guess: a password is
    /// none. It verifies nothing.
    pub fn is_credential_brought(&self, headers: &HeaderMap) -> bool {
        !self.is_password_brought(headers) && self.sources.carrier(headers).is_some()
    }

    /// Whether a request with these headers brings a password (RFC 7617), accepted here or not: something that can be guessed.
    pub fn is_password_brought(&self, headers: &HeaderMap) -> bool {
        const BASIC: &[u8] = b"basic ";
        let begins =
            |value: &HeaderValue| value.as_bytes().get(..BASIC.len()).is_some_and(|it| it.eq_ignore_ascii_case(BASIC));
        headers.get_all(AUTHORIZATION).iter().any(begins)
    }

    /// Whether callers are told that they may prove to hold the key of their token.
    pub fn proof_offer(&self) -> ProofOffer {
        let asked = self.introspection.iter().map(|introspection| introspection.demand());
        let mut demands = self.tokens.demands().chain(asked).peekable();
        let some = demands.peek().is_some();
        let (mut any, mut all) = (false, some);
        for demanded in demands {
            any |= matches!(demanded, Bound::Dpop | Bound::Either);
            all &= demanded == Bound::Dpop;
        }
        match (any, all) {
            (_, true) => ProofOffer::Only,
            (true, false) => ProofOffer::Beside,
            (false, false) => ProofOffer::Unasked,
        }
    }

    /// The algorithms that may sign proofs, separated by spaces, as a challenge names them.
    pub fn proof_algorithms(&self) -> String {
        self.proofs.algorithms()
    }

    /// The headers that carry credentials: `authorization` and the proof that goes with it, always, and the header of each API-key
    /// provider. The upstream does not see them unless its route asks for it.
    pub fn credential_headers(&self) -> &[HeaderName] {
        &self.credential_headers
    }
}
