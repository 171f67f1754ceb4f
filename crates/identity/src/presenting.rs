//! What a request shows besides its headers, and what callers are told that they may show.

use std::cell::Cell;

use crate::client_certificate::ClientCertificate;
use crate::proof::ProofTarget;
use crate::remote::Patience;
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
    /// How long it may wait.
    pub patience: Patience<'a>,
}

impl<'a> Presenting<'a> {
    /// Nothing.
    pub fn nothing(patience: Patience<'a>) -> Self {
        Self { certificate: None, target: None, proven: None, patience }
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
