//! Proof that a caller holds the key that its token is bound to (DPoP, RFC 9449): a small token of its own in the header `DPoP`, signed
//! for this method and this address, now, once.
//!
//! The order is fixed. Whose key it is comes before its signature, so that only the holder of a token has the gateway verify anything;
//! and that a proof was used is noted last, so that one that is bad for another reason uses up nothing.

mod memory;
mod nonce;
mod target;

use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use portcullis_policy::CredentialProblemKind as Kind;
use serde_json::Value;

use crate::claims::numeric_date;
use crate::credentials::DPOP;
use crate::jws::ProofJws;
use crate::refusal::{Challenge, Refusal, excerpt};
use crate::secret::sha256;
use crate::settings::{DpopSettings, ProofAlgorithm};
use crate::strict_json::{self, Object};

pub(crate) use memory::ProofMemory;
use memory::{Use, Used};
use nonce::Nonces;
pub use target::ProofTarget;

/// The longest proof that is looked at, in bytes.
const MAX_PROOF_BYTES: usize = 8 * 1024;
/// The longest `jti` of a proof, in bytes.
const MAX_ID_BYTES: usize = 256;

/// How proofs are verified.
#[derive(Debug)]
pub(crate) struct Proofs {
    settings: DpopSettings,
    max_age: SignedDuration,
    leeway: SignedDuration,
    /// Which were used. It outlives a reload.
    memory: Arc<ProofMemory>,
    nonces: Nonces,
}

/// A proof that proves nothing.
#[derive(Debug)]
pub(crate) enum Unproven {
    /// It is bad, or not there.
    Bad(Refusal, Option<Challenge>),
    /// Whether it was used before cannot be known: no further one can be remembered.
    Full,
}

impl From<Refusal> for Unproven {
    fn from(refusal: Refusal) -> Self {
        Self::Bad(refusal, None)
    }
}

impl Proofs {
    pub(crate) fn new(settings: &DpopSettings) -> Self {
        let bounded = |duration| SignedDuration::try_from(duration).unwrap_or(SignedDuration::ZERO);
        Self {
            max_age: bounded(settings.max_age),
            leeway: bounded(settings.leeway),
            memory: Arc::new(ProofMemory::new(settings.remembered)),
            nonces: Nonces::random(bounded(settings.nonce_lifetime)),
            settings: settings.clone(),
        }
    }

    /// Goes on with what another configuration remembers, so that a reload lets no proof be used again.
    pub(crate) fn adopt(&mut self, previous: &Self) {
        self.memory = Arc::clone(&previous.memory);
        self.memory.resize(self.settings.remembered);
        self.nonces = previous.nonces.with_lifetime(self.nonces.lifetime());
    }

    /// The process has begun: proofs that were made until then may have been used in another one.
    pub(crate) fn begin_after(&self, then: Timestamp) {
        self.memory.begin_after(then.as_second());
    }

    /// The algorithms, as a challenge names them.
    pub(crate) fn algorithms(&self) -> String {
        let names: Vec<_> = self.settings.algorithms.iter().map(|algorithm| algorithm.as_str()).collect();
        names.join(" ")
    }

    /// Whether the headers prove that the caller holds the key with this thumbprint, for the token with this SHA-256, here and now. A good
    /// proof is good once.
    pub(crate) fn check(
        &self,
        headers: &HeaderMap,
        thumbprint: &[u8; 32],
        token: &[u8; 32],
        target: Option<&ProofTarget<'_>>,
        now: Timestamp,
    ) -> Result<(), Unproven> {
        let bad = |refusal| Unproven::Bad(refusal, Some(Challenge::BadProof));
        let claims = self.verify(headers, thumbprint).map_err(bad)?;
        check_target(&claims, target).map_err(bad)?;
        check_token(&claims, token).map_err(bad)?;
        let id = read_id(&claims).map_err(bad)?;
        let made = self.check_age(&claims, now).map_err(bad)?;
        self.check_nonce(&claims, made, now)?;
        // One id of one key: another holder may happen to choose the same.
        let used = sha256(&[&thumbprint[..], id.as_bytes()].concat());
        let (made, now) = (made.as_second(), now.as_second());
        let until = made.saturating_add(self.max_age.as_secs()).saturating_add(1);
        match self.memory.use_once(Use { hash: &used, holder: thumbprint, made, until }, now) {
            Used::First => Ok(()),
            Used::Forgotten => Err(bad(Refusal::new(Kind::Expired, "the proof was made too long ago"))),
            Used::Again => Err(bad(Refusal::invalid("the proof was used before: each request needs one of its own"))),
            Used::Full => Err(Unproven::Full),
        }
    }

    /// The claims of the one proof, whose key is the one that the token is bound to.
    fn verify(&self, headers: &HeaderMap, thumbprint: &[u8; 32]) -> Result<Object, Refusal> {
        let mut proofs = headers.get_all(&DPOP).iter();
        let proof = match (proofs.next(), proofs.next()) {
            (Some(proof), None) => proof,
            (None, _) => return Err(Refusal::invalid("the token is bound to a key, and no `dpop` header proves it")),
            (Some(_), Some(_)) => return Err(Refusal::new(Kind::Ambiguous, "two `dpop` headers")),
        };
        let text = proof.to_str().map_err(|_| Refusal::invalid("the header `dpop` is not visible ASCII"))?;
        if text.len() > MAX_PROOF_BYTES {
            return Err(Refusal::invalid(format!("the proof is longer than {MAX_PROOF_BYTES} bytes")));
        }
        let jws = ProofJws::parse(text)?;
        let algorithm = ProofAlgorithm::from(jws.algorithm);
        if !self.settings.algorithms.contains(&algorithm) {
            return Err(Refusal::invalid(format!("proofs signed with {} are not accepted", algorithm.as_str())));
        }
        if jws.thumbprint != *thumbprint {
            return Err(Refusal::invalid("the proof's key is not the one that the token is bound to"));
        }
        jws.verify()?;
        strict_json::parse_object(&jws.payload)
            .map_err(|problem| Refusal::invalid(format!("the proof's payload is {problem}")))
    }

    /// It was made a short while ago (RFC 9449 section 11.1). That one is too old happens to a slow caller, and that it is too young to one
    /// whose clock is ahead: neither is an attack.
    fn check_age(&self, claims: &Object, now: Timestamp) -> Result<Timestamp, Refusal> {
        let made = numeric_date(claims, "iat")?.ok_or_else(|| missing("iat"))?;
        let age = now.duration_since(made);
        if age > self.max_age {
            return Err(Refusal::new(Kind::Expired, format!("the proof was made at {made}, too long ago")));
        }
        if -age > self.leeway {
            return Err(Refusal::new(Kind::NotYetValid, format!("the proof was made at {made}, which is yet to come")));
        }
        Ok(made)
    }

    /// It has a nonce that the gateway gave a short while ago (RFC 9449 section 9), where that is demanded, or where it was made before it is
    /// known which proofs were used: with a nonce of this process it can have been used in no other.
    fn check_nonce(&self, claims: &Object, made: Timestamp, now: Timestamp) -> Result<(), Unproven> {
        if !self.settings.nonce && self.memory.knows_of(made.as_second()) {
            return Ok(());
        }
        let (kind, why) = match claims.get("nonce") {
            Some(Value::String(nonce)) if self.nonces.is_good(nonce, now) => return Ok(()),
            Some(Value::String(_)) => (Kind::Expired, "the proof's nonce is old, or none that was given here"),
            Some(_) => (Kind::Invalid, "the proof's `nonce` is not a string"),
            // Nobody has one to begin with.
            None => (Kind::Expired, "the proof has no nonce yet"),
        };
        Err(Unproven::Bad(Refusal::new(kind, why), Some(Challenge::UseNonce(self.nonces.give(now)))))
    }
}

/// `htm` and `htu` are those of the request that was decided on (RFC 9449 section 4.3).
fn check_target(claims: &Object, target: Option<&ProofTarget<'_>>) -> Result<(), Refusal> {
    let target = target.ok_or_else(|| Refusal::invalid("it is not known what the proof should be for"))?;
    let method = text(claims, "htm")?;
    if method != target.method {
        return Err(Refusal::invalid(format!("the proof is for the method {}", excerpt(method))));
    }
    let address = text(claims, "htu")?;
    if !target.is_at(address) {
        return Err(Refusal::invalid(format!("the proof is for {}, and this is {target}", excerpt(shown(address)))));
    }
    Ok(())
}

/// An address without what may be secret in it: its query, and who is named before `@`.
fn shown(address: &str) -> &str {
    let address = address.split(['?', '#']).next().unwrap_or_default();
    address.rsplit_once('@').map_or(address, |(_, place)| place)
}

/// `ath` is the hash of the token that it comes with.
fn check_token(claims: &Object, token: &[u8; 32]) -> Result<(), Refusal> {
    if text(claims, "ath")?.as_bytes() == BASE64URL_NOPAD.encode(token).as_bytes() {
        return Ok(());
    }
    Err(Refusal::invalid("the proof is for another token (`ath`)"))
}

fn read_id(claims: &Object) -> Result<&str, Refusal> {
    let id = text(claims, "jti")?;
    if id.is_empty() || id.len() > MAX_ID_BYTES {
        return Err(Refusal::invalid("the proof's `jti` is empty or longer than 256 bytes"));
    }
    Ok(id)
}

fn text<'c>(claims: &'c Object, name: &str) -> Result<&'c str, Refusal> {
    match claims.get(name) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(Refusal::invalid(format!("the proof's `{name}` is not a string"))),
        None => Err(missing(name)),
    }
}

fn missing(name: &str) -> Refusal {
    Refusal::invalid(format!("the proof has no `{name}`"))
}

#[cfg(test)]
mod tests;
