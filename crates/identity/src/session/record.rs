//! One session: who it is, how that was proven, and how long it holds.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use jiff::{SignedDuration, Timestamp};
use portcullis_policy::Principal;

use crate::session::id::SessionKey;

/// What a login opens a session with.
#[derive(Debug, Clone)]
pub struct Opening {
    /// Who it is. `authentication.provider` names the login that vouches for it.
    pub principal: Principal,
    /// The subject as the provider itself writes it, without a prefix: what its logout tokens name.
    pub subject: Box<str>,
    /// The provider's own session, where it named one (`sid`, OpenID Connect Back-Channel Logout 1.0).
    pub sid: Option<Box<str>>,
    /// What the login's settings were, as a number: a session ends with the settings that it was opened under.
    pub fingerprint: u64,
    /// Host and port at which the browser logged in, where that is known.
    pub host: Option<Box<str>>,
}

/// A second factor that was shown in this session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raised {
    /// Which, as `amr` names it (RFC 8176), such as `otp` or `hwk`.
    pub method: Box<str>,
    /// When.
    pub at: Timestamp,
}

/// Why a session does not count any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndCause {
    /// Its holder has logged out, here or at the provider.
    LoggedOut,
    /// An operator said that it is over.
    Revoked,
    /// The browser has another one instead.
    Replaced,
}

/// A session. What changes while it lives is atomic; whatever else changes makes another one under the same key.
#[derive(Debug)]
pub struct Session {
    /// What it is known by.
    pub key: SessionKey,
    /// Who it is: the same place in memory for each request.
    pub principal: Arc<Principal>,
    /// See [`Opening`].
    pub subject: Box<str>,
    /// See [`Opening`].
    pub sid: Option<Box<str>>,
    /// See [`Opening`].
    pub fingerprint: u64,
    /// See [`Opening`]. Its cookie belongs there; sent anywhere else by hand it opens the session as well, but not where only one that was opened there counts.
    pub host: Option<Box<str>>,
    /// When it was opened: the login, whatever was raised or rotated since.
    pub created: Timestamp,
    /// Until before when it holds, however much it is used.
    pub until: Timestamp,
    /// For how long without a request it holds.
    pub idle: SignedDuration,
    /// The last second factor that was shown in it.
    pub raised: Option<Raised>,
    /// The last request, in seconds since 1970.
    pub(super) seen: AtomicI64,
    /// An [`EndCause`], and 0 while it has none.
    pub(super) ended: AtomicU8,
    /// What it is known by now, where it was given another id.
    pub(super) successor: OnceLock<SessionKey>,
    /// What the store has is what is here, but for `seen`.
    pub(super) is_saved: AtomicBool,
    /// The `seen` that the store has.
    pub(super) saved_seen: AtomicI64,
}

impl Session {
    /// When it was last used, to the second.
    pub fn last_seen(&self) -> Timestamp {
        Timestamp::from_second(self.seen.load(Ordering::Relaxed)).unwrap_or(self.created)
    }

    /// Until before when it holds if no request comes.
    pub fn idle_until(&self) -> Timestamp {
        self.last_seen().saturating_add(self.idle).unwrap_or(Timestamp::MAX).min(self.until)
    }

    /// Whether neither of its expiries has come, by this time.
    pub fn is_in_time(&self, now: Timestamp) -> bool {
        now < self.idle_until()
    }

    /// Why it was ended, if it was.
    pub fn ended(&self) -> Option<EndCause> {
        match self.ended.load(Ordering::Acquire) {
            0 => None,
            LOGGED_OUT => Some(EndCause::LoggedOut),
            REPLACED => Some(EndCause::Replaced),
            _ => Some(EndCause::Revoked),
        }
    }

    /// Ends it; what ended it first stays the cause.
    pub(super) fn end(&self, cause: EndCause) -> bool {
        let cause = match cause {
            EndCause::LoggedOut => LOGGED_OUT,
            EndCause::Revoked => REVOKED,
            EndCause::Replaced => REPLACED,
        };
        self.ended.compare_exchange(0, cause, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// A request came.
    pub(super) fn touch(&self, now: Timestamp) {
        let second = now.as_second();
        // Reading first keeps the cache line shared; a clock that was set back makes nothing older.
        if self.seen.load(Ordering::Relaxed) < second {
            self.seen.fetch_max(second, Ordering::Relaxed);
        }
    }

    /// The same session with a second factor: it counts as an authentication at that time, and its method stands beside the others.
    pub(super) fn raised(&self, method: &str, at: Timestamp) -> Self {
        let principal = self.principal_with(method, at);
        self.with(self.key, Arc::new(principal), Some(Raised { method: method.into(), at }))
    }

    /// Its principal, with a second factor that was shown at that time. The session does not have it: what was shown for one thing alone counts for nothing else.
    pub fn principal_with(&self, method: &str, at: Timestamp) -> Principal {
        let mut principal = Principal::clone(&self.principal);
        let authentication = &mut principal.authentication;
        for value in [method, "mfa"] {
            if !authentication.amr.iter().any(|known| &**known == value) {
                authentication.amr.push(value.into());
            }
        }
        authentication.auth_time = Some(authentication.auth_time.map_or(at, |before| before.max(at)));
        principal
    }

    /// The same session under another key.
    pub(super) fn rotated(&self, key: SessionKey) -> Self {
        let mut principal = Principal::clone(&self.principal);
        principal.authentication.key_id = Some(key.reference().into());
        self.with(key, Arc::new(principal), self.raised.clone())
    }

    /// The same session as far as it was proven in an earlier one of it: without what was shown since.
    pub(super) fn as_proven_in(&self, before: &Self) -> Self {
        let mut principal = Principal::clone(&self.principal);
        let (authentication, then) = (&mut principal.authentication, &before.principal.authentication);
        authentication.acr.clone_from(&then.acr);
        authentication.amr.clone_from(&then.amr);
        authentication.auth_time = then.auth_time;
        self.with(self.key, Arc::new(principal), before.raised.clone())
    }

    /// The same session with what its provider says of its holder now.
    pub(super) fn renewed(&self, mut principal: Principal) -> Self {
        // What was shown here does not end because the provider was asked again.
        if let Some(raised) = &self.raised {
            let authentication = &mut principal.authentication;
            for value in [&*raised.method, "mfa"] {
                if !authentication.amr.iter().any(|known| &**known == value) {
                    authentication.amr.push(value.into());
                }
            }
            authentication.auth_time = Some(authentication.auth_time.map_or(raised.at, |at| at.max(raised.at)));
        }
        principal.authentication.key_id = self.principal.authentication.key_id.clone();
        principal.authentication.expires = Some(self.until);
        principal.authentication.issued = self.principal.authentication.issued;
        self.with(self.key, Arc::new(principal), self.raised.clone())
    }

    fn with(&self, key: SessionKey, principal: Arc<Principal>, raised: Option<Raised>) -> Self {
        Self {
            key,
            principal,
            subject: self.subject.clone(),
            sid: self.sid.clone(),
            fingerprint: self.fingerprint,
            host: self.host.clone(),
            created: self.created,
            until: self.until,
            idle: self.idle,
            raised,
            seen: AtomicI64::new(self.seen.load(Ordering::Relaxed)),
            ended: AtomicU8::new(0),
            successor: OnceLock::new(),
            is_saved: AtomicBool::new(false),
            saved_seen: AtomicI64::new(0),
        }
    }
}

const LOGGED_OUT: u8 = 1;
const REVOKED: u8 = 2;
const REPLACED: u8 = 3;
