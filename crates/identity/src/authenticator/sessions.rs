//! Sessions of browsers: whose they are, and whether the login that opened one still stands.

use std::sync::Arc;

use http::HeaderMap;
use jiff::Timestamp;
use portcullis_policy::{CredentialProblem, CredentialProblemKind, Principal};

use super::Authenticator;
use crate::refusal::Refusal;
use crate::remote::Patience;
use crate::session::{CookieKind, EndCause, Found, Session, SessionId, cookie_value};

impl Authenticator {
    /// The principal of a session that holds, and that was opened by a login which still stands in the configuration as it did then.
    pub(super) fn session(
        &self,
        id: &str,
        now: Timestamp,
        patience: Patience<'_>,
    ) -> Result<Arc<Principal>, CredentialProblem> {
        let Some(id) = SessionId::parse(id) else {
            return Err(Refusal::invalid("the cookie of the session is not one that this gateway gave").by(None));
        };
        let over = |kind, detail: &str, provider: Option<&str>| Err(Refusal::new(kind, detail).by(provider));
        let found = match patience {
            Patience::Request => self.sessions.find(&id, now, true),
            // What goes on already is no request, and goes on where its session was given another id.
            Patience::Waited(_) | Patience::Stream => self.sessions.find_followed(&id, now),
        };
        match found {
            Found::Live(session) if self.is_current(&session, now) => Ok(Arc::clone(&session.principal)),
            Found::Live(session) => {
                let detail = "the login that opened the session is not configured any more as it was then";
                over(CredentialProblemKind::Expired, detail, Some(&session.principal.authentication.provider))
            }
            Found::Ended(EndCause::Revoked) => over(CredentialProblemKind::Revoked, "the session was revoked", None),
            Found::Ended(EndCause::LoggedOut | EndCause::Replaced) | Found::None => {
                over(CredentialProblemKind::Expired, "the session is over, or there never was one with this id", None)
            }
        }
    }

    /// Whether the cookie of a session is there and opens none any more. It uses none.
    pub fn is_session_over(&self, headers: &HeaderMap, now: Timestamp) -> bool {
        let ids = [true, false].into_iter().filter_map(|secure| cookie_value(headers, CookieKind::Session, secure));
        let mut found = ids.map(|text| SessionId::parse(text).map(|id| self.sessions.find(&id, now, false))).peekable();
        found.peek().is_some() && !found.any(|found| matches!(found, Some(Found::Live(_))))
    }

    /// Whether the login that opened a session is configured as it was then.
    pub fn is_current(&self, session: &Session, now: Timestamp) -> bool {
        let provider = &*session.principal.authentication.provider;
        self.logins.iter().any(|(name, fingerprint)| **name == *provider && *fingerprint == session.fingerprint)
            || self.user_fingerprint(&session.subject, provider, now) == Some(session.fingerprint)
    }

    /// What a session has to be opened with by a local user of this name; `None` where there is none that counts.
    pub fn user_fingerprint(&self, name: &str, provider: &str, now: Timestamp) -> Option<u64> {
        self.passwords.as_ref()?.fingerprint(name, provider, now)
    }
}
