//! Users with passwords, for small installations and for the first operator: HTTP Basic (RFC 7617).
//!
//! `Passwords` is what requests look at. A password that was verified a short while ago is found by a keyed hash, without a lock; every other one is
//! checked on a [`PasswordBench`] beside the requests, and the request waits for that, once. What is remembered belongs to one
//! configuration: a reload forgets it, so a password that was changed, and a user that was disabled, are out with it.
//!
//! An unknown name costs what a wrong password costs, and is told alike (security.md, T5). That an account is disabled or has expired is told
//! only to who knows its password.

mod bench;
mod hash;
mod lockout;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use portcullis_policy::{
    Authentication, AuthenticationMethod, CredentialProblemKind as Kind, GroupClaim, Principal, PrincipalKind,
};

use crate::binding::Terms;
use crate::refusal::{Refusal, Rejection};
use crate::settings::{PasswordProvider, Settings, UserRecord};
use crate::token_cache::{CacheKey, TokenCache, TokenHash};

use bench::{Check, Refused, Verdict};
use lockout::Locked;

pub use bench::{PasswordAwaited, PasswordBench, PasswordReport};
pub(crate) use hash::is_password;
pub use hash::{LEAST_CHARACTERS, LEAST_MEMORY_KIB, LEAST_PASSES, MOST_BYTES, PasswordHash, PasswordHashError};

/// A user's name is no longer, in bytes.
pub const MOST_NAME_BYTES: usize = 128;
/// Verified passwords that are remembered.
const REMEMBERED: usize = 16_384;

/// Whether text may be a user's name: 1 to 128 bytes, no control character, no colon (RFC 7617 ends the name there) and no comma, and no space
/// around it.
pub fn is_user_name(text: &str) -> bool {
    let is_good = |character: char| !character.is_control() && !matches!(character, ':' | ',');
    (1..=MOST_NAME_BYTES).contains(&text.len()) && text.trim() == text && text.chars().all(is_good)
}

/// The users of all providers.
#[derive(Debug)]
pub(crate) struct Passwords {
    users: HashMap<Box<str>, User>,
    /// What an unknown name is held against: as costly as the costliest hash there is.
    decoy: Arc<PasswordHash>,
    verified: TokenCache,
    bench: Arc<PasswordBench>,
}

#[derive(Debug)]
struct User {
    hash: Arc<PasswordHash>,
    disabled: bool,
    expires: Option<Timestamp>,
    provider: Arc<str>,
    id: Box<str>,
    groups: Vec<GroupClaim>,
    remember: Duration,
}

/// What is said of a name and a password.
#[derive(Debug)]
pub(crate) enum Judged {
    /// They are a user's.
    Verified(Arc<Principal>),
    /// They are not, or the user's do not count.
    Rejected(Rejection),
    /// It is being looked at.
    Awaited(PasswordAwaited),
    /// It is not looked at.
    Unchecked(Unchecked),
}

/// Why a password was not looked at. Nothing is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unchecked {
    /// There were too many failures for this name or from this network: in how many seconds it is looked at again.
    Locked {
        /// Seconds.
        retry_after_s: u64,
        /// The name, **unverified**.
        attempted: Box<str>,
    },
    /// Too many wait for their check.
    Full,
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Asks<'a> {
    /// A request from this address.
    Request(IpAddr),
    /// A request that has waited for this.
    Waited(&'a PasswordAwaited, IpAddr),
    /// A stream that is under way, whose caller was verified when it began.
    Stream(Option<&'a PasswordAwaited>),
}

impl Passwords {
    pub(crate) fn new(settings: &Settings) -> Self {
        let users = settings.password.iter().flat_map(|provider| {
            provider.users.iter().map(|record| (Box::from(record.name.as_str()), User::new(provider, record)))
        });
        let users: HashMap<Box<str>, User> = users.collect();
        let costliest = users.values().map(|user| &user.hash).max_by_key(|hash| hash.cost());
        Self {
            decoy: Arc::new(costliest.map_or_else(PasswordHash::any_decoy, |hash| hash.decoy())),
            users,
            verified: TokenCache::new(REMEMBERED),
            bench: Arc::new(PasswordBench::new(settings.password_waiting)),
        }
    }

    /// Goes on with the bench of the configuration before: who failed stays so.
    pub(crate) fn adopt(&mut self, previous: &Self) {
        self.bench = Arc::clone(&previous.bench);
    }

    pub(crate) fn bench(&self) -> &Arc<PasswordBench> {
        &self.bench
    }

    /// Whether they are a user's, at this time.
    pub(crate) fn check(&self, name: &str, password: &str, asks: Asks<'_>, now: Timestamp) -> Judged {
        let mark = self.bench.mark(name, password);
        let key = CacheKey { provider: (0, 0), token: TokenHash::keyed(mark) };
        if let Some(principal) = self.verified.look(&key, now, |principal, _| Arc::clone(principal)) {
            return Judged::Verified(principal);
        }
        let user = self.users.get(name);
        let hash = user.map_or(&self.decoy, |user| &user.hash);
        let (waited, from) = match asks {
            Asks::Request(address) => (None, Some(address)),
            Asks::Waited(awaited, address) => (Some(awaited), Some(address)),
            Asks::Stream(awaited) => (awaited, None),
        };
        match waited.and_then(|awaited| awaited.verdict_of(&mark, hash)) {
            Some(Verdict::Right) => self.right(user, key, name, now),
            Some(Verdict::Wrong) => Judged::Rejected(self.wrong(user, name)),
            Some(Verdict::None) => Judged::Unchecked(Unchecked::Full),
            None => {
                let check = Check { mark, name, password, is_known: user.is_some(), hash };
                match self.bench.ask(check, from, now) {
                    Ok(awaited) => Judged::Awaited(awaited),
                    Err(Refused::Full) => Judged::Unchecked(Unchecked::Full),
                    Err(Refused::Locked(Locked(retry_after_s))) => Judged::Unchecked(Unchecked::Locked {
                        retry_after_s,
                        attempted: Box::from(claimed(user, name)),
                    }),
                }
            }
        }
    }

    /// What of a user says whether a session that the password opened still holds, as a number; `None`: there is none, it is disabled, or it has
    /// expired.
    pub(crate) fn fingerprint(&self, name: &str, provider: &str, now: Timestamp) -> Option<u64> {
        let user = self.users.get(name)?;
        let counts = !user.disabled && *user.provider == *provider && user.expires.is_none_or(|expires| now < expires);
        let groups = user.groups.iter().map(|group| &*group.name).collect::<Vec<_>>().join(",");
        let text = [&*user.hash.to_string(), &*user.id, &groups].join("\0");
        let hash = crate::secret::sha256(text.as_bytes());
        counts.then(|| hash.first_chunk().map_or(0, |first| u64::from_le_bytes(*first)))
    }

    fn right(&self, user: Option<&User>, key: CacheKey, name: &str, now: Timestamp) -> Judged {
        // The decoy has no password; were one found, it would be nobody's.
        let Some(user) = user else { return Judged::Rejected(self.wrong(None, name)) };
        let reject =
            |refusal: Refusal| Judged::Rejected(Rejection::new(refusal.by(Some(&user.provider)), Some(&user.id)));
        if user.disabled {
            return reject(Refusal::new(Kind::Revoked, "the user is disabled"));
        }
        if let Some(expires) = user.expires.filter(|expires| now >= *expires) {
            return reject(Refusal::new(Kind::Expired, format!("the user expired at {expires}")));
        }
        let principal = Arc::new(user.principal(now));
        let until = now.saturating_add(user.remember).unwrap_or(now);
        let until = user.expires.map_or(until, |expires| until.min(expires));
        // A password is bound to nobody but who knows it.
        self.verified.insert(key, (Arc::clone(&principal), Terms::default()), now, until);
        Judged::Verified(principal)
    }

    fn wrong(&self, user: Option<&User>, name: &str) -> Rejection {
        let provider = user.map(|user| &*user.provider);
        // The same words for both; the provider is for the operator's event, which says no more than the file does.
        Rejection::new(Refusal::invalid("unknown user or wrong password").by(provider), Some(claimed(user, name)))
    }
}

/// Whom a name claims to be: the principal as events and risk know it, with its provider's prefix, where there is one of that name.
fn claimed<'n>(user: Option<&'n User>, name: &'n str) -> &'n str {
    user.map_or(name, |user| &user.id)
}

impl User {
    fn new(provider: &PasswordProvider, record: &UserRecord) -> Self {
        let groups = record.groups.iter();
        Self {
            hash: Arc::new(record.hash.clone()),
            disabled: record.disabled,
            expires: record.expires,
            provider: Arc::clone(&provider.name),
            id: format!("{}{}", provider.prefix, record.name).into(),
            // They are the operator's own, so they are trusted.
            groups: groups.map(|name| GroupClaim { name: Box::from(name.as_str()), trusted: true }).collect(),
            remember: provider.remember,
        }
    }

    /// Verified at this time.
    fn principal(&self, now: Timestamp) -> Principal {
        Principal {
            kind: PrincipalKind::User,
            id: self.id.clone(),
            name: None,
            email: None,
            groups: self.groups.clone(),
            directory: None,
            roles: Vec::new(),
            device: None,
            scope: None,
            authentication: Authentication {
                method: AuthenticationMethod::Password,
                provider: Box::from(&*self.provider),
                issuer: None,
                key_id: None,
                acr: None,
                // RFC 8176 section 2.
                amr: vec![Box::from("pwd")],
                auth_time: Some(now),
                // A password is not issued: one that an alert revokes is refused, however late it was verified.
                issued: None,
                expires: self.expires,
                stated_mfa: false,
            },
        }
    }
}

#[cfg(test)]
mod tests;
