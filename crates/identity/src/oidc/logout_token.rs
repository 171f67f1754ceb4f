//! Logout tokens: how a provider says that somebody's session is over, from its server to the gateway (OpenID Connect Back-Channel Logout 1.0, section 2).

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{NotAdmitted, RelyingParty, Replay, Replays};
use crate::claims::{is_sound, numeric_date};
use crate::remote::Patience;
use crate::settings::TokenTypes;

/// The event that makes a token a logout token (section 2.4).
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// A logout token that was made longer ago says nothing about now.
const MAX_AGE: SignedDuration = SignedDuration::from_mins(5);

/// Whose session is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedOut {
    /// The provider's session.
    pub sid: Option<Box<str>>,
    /// The subject, as the provider writes it.
    pub subject: Option<Box<str>>,
}

/// Why a logout token ends nothing.
#[derive(Debug)]
pub enum LogoutTokenProblem {
    /// It is no token of this provider for this client.
    NotAdmitted(NotAdmitted),
    /// It is none of the logout: what is wrong.
    NotOne(&'static str),
    /// It was used before.
    Again,
    /// Nobody can say whether it was used before.
    Full,
}

impl RelyingParty {
    /// Whose session is over by this token (section 2.6).
    ///
    /// # Errors
    /// [`LogoutTokenProblem`]
    pub fn logged_out(
        &self,
        token: &str,
        replays: &Replays,
        now: Timestamp,
        patience: Patience<'_>,
    ) -> Result<LoggedOut, LogoutTokenProblem> {
        let not_one = |why| Err(LogoutTokenProblem::NotOne(why));
        let proven = self
            .tokens
            .prove_as(Some(TokenTypes::Logout), token, now, patience)
            .map_err(|unverified| LogoutTokenProblem::NotAdmitted(unverified.into()))?;
        let claims = &proven.claims;
        match claims.get("events").and_then(Value::as_object).and_then(|events| events.get(EVENT)) {
            Some(Value::Object(_)) => {}
            Some(_) | None => return not_one("its `events` do not say that it is of a logout"),
        }
        // What keeps an id token from being one.
        if claims.contains_key("nonce") {
            return not_one("it has a `nonce`, which no logout token has");
        }
        let Ok(Some(issued)) = numeric_date(claims, "iat") else { return not_one("it does not say when it was made") };
        if now.duration_since(issued) > MAX_AGE {
            return not_one("it was made more than five minutes ago");
        }
        let text = |name: &str| match claims.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if !text.is_empty() && is_sound(text) => Ok(Some(Box::from(text.as_str()))),
            Some(_) => Err(LogoutTokenProblem::NotOne("its `sub`, `sid` or `jti` is no text that can be used")),
        };
        let (sid, subject, id) = (text("sid")?, text("sub")?, text("jti")?);
        if sid.is_none() && subject.is_none() {
            return not_one("it names neither a session nor a subject");
        }
        let Some(id) = id else { return not_one("it has no `jti`") };
        let until = issued.saturating_add(MAX_AGE + SignedDuration::from_mins(2)).unwrap_or(Timestamp::MAX);
        // Its signature and its times hold: only now is anything kept of it.
        match replays.take(&format!("jti {}", self.settings.name), &id, until, now) {
            Replay::First => Ok(LoggedOut { sid, subject }),
            Replay::Again => Err(LogoutTokenProblem::Again),
            Replay::Full => Err(LogoutTokenProblem::Full),
        }
    }
}
