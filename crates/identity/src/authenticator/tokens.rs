//! Tokens: remembered, verified or asked about, and held to whom they are bound to.

use std::sync::Arc;

use http::HeaderMap;
use jiff::Timestamp;
use portcullis_policy::{CredentialProblemKind, Principal};

use super::Authenticator;
use crate::binding::{Binding, Terms};
use crate::credentials::Scheme;
use crate::introspection::{Told, Verdict};
use crate::jws::Jws;
use crate::jwt::Unverified;
use crate::presenting::Presenting;
use crate::proof::Unproven;
use crate::refusal::{Challenge, Refusal, Rejection};
use crate::remote::Patience;
use crate::token_cache::{CacheKey, TokenHash};

/// A token as it came.
pub(super) struct Shown<'a> {
    pub(super) scheme: Scheme,
    pub(super) token: &'a str,
    pub(super) headers: &'a HeaderMap,
}

impl Authenticator {
    pub(super) fn verify_token(
        &self,
        shown: &Shown<'_>,
        now: Timestamp,
        presenting: &Presenting<'_>,
    ) -> Result<Arc<Principal>, Unverified> {
        let known = presenting.seen.and_then(|seen| seen.hash(shown.token));
        let hash = known.unwrap_or_else(|| TokenHash::of(shown.token));
        let hold = |principal: &Arc<Principal>, terms: &Terms| {
            // First, so that one that counts no longer uses up no proof.
            let counts = self.revocations.of_token(terms.id.as_deref(), now).map_err(Unproven::from);
            let held = counts.and_then(|()| self.hold(&terms.binding, shown, &hash, now, presenting));
            held.map(|()| Arc::clone(principal)).map_err(|unproven| unproven.of(principal))
        };
        // Once it is remembered here it comes again, and its hash with it; whether it holds is asked again all the same.
        let noted = |held: Result<Arc<Principal>, Unverified>| {
            if let (Some(seen), None, Ok(_)) = (presenting.seen, known, &held) {
                seen.note(shown.token, hash);
            }
            held
        };
        let cached = self.tokens.current(now).find_map(|provider| {
            self.cache.look(&CacheKey { provider, token: hash }, now, |principal, terms| hold(principal, terms))
        });
        if let Some(held) = cached {
            return noted(held);
        }
        if let Some(introspection) = self.introspection.as_ref().filter(|_| !Jws::is_signed(shown.token)) {
            let is_first = matches!(presenting.patience, Patience::Request);
            return match introspection.look(shown.token, &hash, now, is_first) {
                Told::Known(Verdict::Active(held)) => noted(hold(&held.principal, &held.terms)),
                Told::Known(Verdict::Inactive(refusal)) | Told::Malformed(refusal) => {
                    Err(Rejection::new(refusal.by(Some(introspection.name())), None).into())
                }
                Told::Awaited(awaited, otherwise) => Err(Unverified::AwaitedToken(awaited, otherwise)),
                Told::Unavailable(detail) => Err(Unverified::NoAnswer(detail)),
            };
        }
        let verified = self.tokens.verify(shown.token, now, presenting.patience)?;
        let principal = Arc::new(verified.principal);
        let held = hold(&principal, &verified.terms);
        // The token itself holds, whoever shows it.
        let key = CacheKey { provider: verified.provider, token: hash };
        self.cache.insert(key, (principal, verified.terms), verified.valid_from, verified.valid_before);
        held
    }

    /// Whether who shows a token that holds is who it is bound to. One that is bound to nothing is anybody's, as a bearer token.
    fn hold(
        &self,
        binding: &Binding,
        shown: &Shown<'_>,
        hash: &TokenHash,
        now: Timestamp,
        presenting: &Presenting<'_>,
    ) -> Result<(), Unproven> {
        if let Some(bound) = &binding.certificate {
            match presenting.certificate {
                Some(certificate) => certificate.is_bound(bound, now)?,
                None => {
                    let detail = "the token is bound to a client certificate, and the connection has none that counts";
                    return Err(Refusal::new(CredentialProblemKind::CertificateRequired, detail).into());
                }
            }
        }
        let misused = |detail: &str| Err(Unproven::Bad(Refusal::invalid(detail), Some(Challenge::BadToken)));
        match (&binding.key, shown.scheme) {
            (None, Scheme::Bearer) => Ok(()),
            // RFC 9449 section 7.1: a proof for a token that demands none proves nothing.
            (None, Scheme::Dpop) => misused("the token is bound to no key, and came under the scheme DPoP"),
            // RFC 9449 section 7.2: whoever stole it would leave the proof out.
            (Some(_), Scheme::Bearer) => misused("the token is bound to a key, and came as a bearer token"),
            (Some(_), Scheme::Dpop) if presenting.proven.is_some_and(|proven| proven.is_of(hash)) => Ok(()),
            (Some(key), Scheme::Dpop) => {
                self.proofs.check(shown.headers, key, &hash.0, presenting.target.as_ref(), now)?;
                if let Some(proven) = presenting.proven {
                    proven.note(hash);
                }
                Ok(())
            }
        }
    }
}

impl Unproven {
    /// What that makes of the token of this principal.
    fn of(self, principal: &Principal) -> Unverified {
        match self {
            Self::Full => Unverified::NoMemory,
            Self::Bad(refusal, challenge) => {
                let problem = refusal.by(Some(&principal.authentication.provider));
                Unverified::Rejected(Rejection { challenge, ..Rejection::new(problem, Some(&principal.id)) })
            }
        }
    }
}
