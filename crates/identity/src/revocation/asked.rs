//! What a request is held to: whether what somebody was verified by is revoked.

use std::sync::atomic::Ordering;

use jiff::{SignedDuration, Timestamp};
use portcullis_policy::{AuthenticationMethod, CredentialProblemKind as Kind, Principal};

use super::table::{KEYS, TOKENS, place_of};
use super::{Revocation, Revocations};
use crate::refusal::{Refusal, excerpt};

/// How far the clock of an issuer may be ahead.
pub const AHEAD: SignedDuration = SignedDuration::from_secs(60);

impl Revocations {
    /// What is wrong with a token of this id.
    pub(crate) fn of_token(&self, id: Option<&str>, now: Timestamp) -> Result<(), Refusal> {
        if self.count.load(Ordering::Acquire) == 0 {
            return Ok(());
        }
        let Some(id) = id else { return Ok(()) };
        match self.find_at((TOKENS, id), now) {
            None => Ok(()),
            Some(found) => Err(refusal("the token", &found)),
        }
    }

    /// What is wrong with what a principal was verified by.
    pub(crate) fn of_principal(&self, principal: &Principal, now: Timestamp) -> Result<(), Refusal> {
        if self.count.load(Ordering::Acquire) == 0 {
            return Ok(());
        }
        let authentication = &principal.authentication;
        if authentication.method == AuthenticationMethod::ApiKey
            && let Some(id) = &authentication.key_id
            && let Some(found) = self.find_at((KEYS, id), now)
        {
            return Err(refusal(&format!("the API key {}", excerpt(id)), &found));
        }
        // What says that it will be issued says nothing: the clock of an issuer is ahead by a minute at most.
        let believable = now.saturating_add(AHEAD).unwrap_or(now);
        let counts_since = |before| authentication.issued.is_some_and(|issued| issued > before && issued <= believable);
        let spelling = self.spelling.load();
        match self.find_at((place_of(principal.kind), &spelling.id(principal.kind, &principal.id)), now) {
            Some(found) if !counts_since(found.before) => {
                let what = match authentication.issued {
                    Some(issued) => format!(
                        "the credential was issued at {issued}; what {} has until {:.0}",
                        excerpt(&principal.reference()),
                        found.before
                    ),
                    None => format!(
                        "nobody knows when the credential was issued; what {} has until {:.0}",
                        excerpt(&principal.reference()),
                        found.before
                    ),
                };
                Err(refusal(&what, &found))
            }
            Some(_) | None => Ok(()),
        }
    }
}

fn refusal(what: &str, found: &Revocation) -> Refusal {
    let detail = format!("{what} was revoked at {:.0}: {}", found.made, found.reason.escape_debug());
    Refusal::new(Kind::Revoked, detail)
}
