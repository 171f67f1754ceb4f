//! What can be revoked: how an operator names it, and when one that was stops being it.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use portcullis_policy::{PrincipalKind, Spelling};

use super::table::{KEYS, Place, TOKENS, place_of};
use crate::binding::MAX_ID_BYTES;
use crate::claims::MAX_TEXT_BYTES;

/// What has ended is forgotten so much later, where there is room.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(24);

/// The longest id of a principal, in bytes: that of its issuer, behind a provider's prefix.
const MAX_PRINCIPAL_BYTES: usize = 2 * MAX_TEXT_BYTES;

/// What counts no longer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Revoked {
    /// Tokens with this `jti`, of whatever issuer.
    Token(Box<str>),
    /// The API key with this id.
    Key(Box<str>),
    /// All that this principal was issued until a moment, and what does not say when it was issued.
    Principal(PrincipalKind, Box<str>),
}

/// A withdrawal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Of what.
    pub what: Revoked,
    /// Of a principal: what was issued later counts. Of the others it says nothing.
    pub before: Timestamp,
    /// When it was made.
    pub made: Timestamp,
    /// When it ends, where it does: what it is about has expired by then.
    pub until: Option<Timestamp>,
    /// Why, for the operator.
    pub reason: Box<str>,
}

impl Revoked {
    /// Reads what an operator writes: `token`, `key` or `principal`, and its name.
    pub fn parse(what: &str, name: &str) -> Option<Self> {
        match what {
            "token" if !name.is_empty() && name.len() <= MAX_ID_BYTES => Some(Self::Token(name.into())),
            "key" if crate::api_key::is_key_id(name) => Some(Self::Key(name.into())),
            "principal" => {
                let (kind, id) = name.split_once(':')?;
                let kinds = [PrincipalKind::User, PrincipalKind::Service, PrincipalKind::Certificate];
                let kind = kinds.into_iter().find(|known| known.as_str() == kind)?;
                let sound = !id.is_empty() && id.len() <= MAX_PRINCIPAL_BYTES && !id.chars().any(char::is_control);
                sound.then(|| Self::Principal(kind, id.into()))
            }
            _ => None,
        }
    }

    pub(super) fn no_room(&self) -> super::RevokeError {
        match self {
            Self::Token(_) => {
                super::RevokeError::Full("tokens", "revoke the principal, which ends all of its tokens, or lift some")
            }
            Self::Key(_) | Self::Principal(..) => super::RevokeError::Full("keys and principals", "lift some"),
        }
    }

    pub(super) fn place(&self) -> Place<'_> {
        match self {
            Self::Token(name) => (TOKENS, name),
            Self::Key(name) => (KEYS, name),
            Self::Principal(kind, id) => (place_of(*kind), id),
        }
    }

    /// The same, a principal's id as it is compared.
    #[must_use]
    pub fn spelled(self, spelling: &Spelling) -> Self {
        match self {
            Self::Principal(kind, id) => Self::Principal(kind, spelling.id(kind, &id).into()),
            Self::Token(_) | Self::Key(_) => self,
        }
    }

    /// The word for its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Token(_) => "token",
            Self::Key(_) => "key",
            Self::Principal(..) => "principal",
        }
    }

    /// Its name, as an operator writes it.
    pub fn name(&self) -> String {
        match self {
            Self::Token(name) | Self::Key(name) => name.to_string(),
            Self::Principal(kind, id) => format!("{}:{id}", kind.as_str()),
        }
    }
}

impl fmt::Display for Revoked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.kind(), self.name().escape_debug())
    }
}

impl Revocation {
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| now >= until)
    }

    /// It ended so long ago that it is forgotten. Until then a clock that jumped ahead and is set back has cost nothing.
    pub(super) fn is_past(&self, now: Timestamp) -> bool {
        now.checked_sub(REMEMBERED).is_ok_and(|then| self.is_over(then))
    }
}
