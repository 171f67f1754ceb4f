//! A session as a store keeps it, and the trait by which it is kept.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use jiff::{SignedDuration, Timestamp};
use portcullis_policy::{Authentication, AuthenticationMethod, Device, GroupClaim, Principal, PrincipalKind};
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use crate::session::id::SessionKey;
use crate::session::record::{Raised, Session};

/// What a store has of a session. Times are by the time of day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedSession {
    /// What it is known by: a hash, which opens nothing.
    pub key: SessionKey,
    /// The login that opened it.
    pub provider: Arc<str>,
    /// See [`Opening`](crate::session::Opening).
    pub subject: Box<str>,
    /// See [`Opening`](crate::session::Opening).
    pub sid: Option<Box<str>>,
    /// See [`Opening`](crate::session::Opening).
    pub fingerprint: u64,
    /// When it was opened.
    pub created: Timestamp,
    /// Until before when it holds.
    pub until: Timestamp,
    /// For how long without a request, in seconds.
    pub idle_s: i64,
    /// The last request that was noted: up to a minute before the last one that came.
    pub seen: Timestamp,
    /// The principal, its second factor and its host, as JSON.
    pub content: String,
}

/// Why a row is no session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a session cannot be read: {0}")]
pub struct SavedSessionError(&'static str);

/// A change to what is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionChange {
    /// It is there now, or is otherwise.
    Save(Box<SavedSession>),
    /// It was last used then.
    Seen(SessionKey, Timestamp),
    /// It is over.
    Remove(SessionKey),
}

/// Where sessions are kept. Calling it waits for nothing.
pub trait SessionStore: Send + Sync + fmt::Debug {
    /// Makes these changes, in this order, behind all that came before. [`Written`] ends once they are on the disk.
    fn write(&self, changes: Vec<SessionChange>) -> Written;
}

/// Ends when changes are on the disk, or will not be before a restart.
#[derive(Debug)]
pub struct Written(State);

/// Says what came of changes. Dropped, it says that the store has ended.
#[derive(Debug)]
pub struct Writing(oneshot::Sender<Result<(), String>>);

impl Writing {
    /// They are on the disk, or not, as the text says.
    pub fn end(self, written: Result<(), String>) {
        // Whoever waited may be gone.
        let _ = self.0.send(written);
    }
}

#[derive(Debug)]
enum State {
    Done(Result<(), String>),
    Waits(oneshot::Receiver<Result<(), String>>),
}

impl Written {
    /// Nothing is to be waited for.
    pub fn now() -> Self {
        Self(State::Done(Ok(())))
    }

    /// It will not be done, as the text says.
    pub fn failed(why: impl Into<String>) -> Self {
        Self(State::Done(Err(why.into())))
    }

    /// What is waited for, and what ends the waiting.
    pub fn pair() -> (Writing, Self) {
        let (sender, receiver) = oneshot::channel();
        (Writing(sender), Self(State::Waits(receiver)))
    }

    /// Waits. Whoever does so bounds it.
    ///
    /// # Errors
    /// Why it is not on the disk.
    pub async fn ended(self) -> Result<(), String> {
        match self.0 {
            State::Done(result) => result,
            State::Waits(receiver) => receiver.await.unwrap_or_else(|_| Err(GONE.to_owned())),
        }
    }

    /// The same on a thread that may block.
    ///
    /// # Errors
    /// Why it is not on the disk.
    pub fn wait(self) -> Result<(), String> {
        match self.0 {
            State::Done(result) => result,
            State::Waits(receiver) => parked(receiver).unwrap_or_else(|_| Err(GONE.to_owned())),
        }
    }
}

/// Waits for what comes on this thread, also where a runtime is entered on it, as at the end of the process.
fn parked<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}

const GONE: &str = "the store has ended";

impl Session {
    /// For a store.
    pub fn saved(&self) -> SavedSession {
        SavedSession {
            key: self.key,
            provider: (&*self.principal.authentication.provider).into(),
            subject: self.subject.clone(),
            sid: self.sid.clone(),
            fingerprint: self.fingerprint,
            created: self.created,
            until: self.until,
            idle_s: self.idle.as_secs(),
            seen: self.last_seen(),
            content: json!({
                "principal": written(&self.principal),
                "raised": self.raised.as_ref().map(raised),
                "host": self.host,
            })
            .to_string(),
        }
    }

    /// From a store.
    pub(super) fn restored(saved: &SavedSession) -> Result<Self, SavedSessionError> {
        let wrong = SavedSessionError;
        let content: Value = serde_json::from_str(&saved.content).map_err(|_| wrong("its content is no JSON"))?;
        let principal = content.get("principal").and_then(Value::as_object).ok_or(wrong("it has no principal"))?;
        let principal = read(principal, saved)?;
        let raised = match content.get("raised") {
            None | Some(Value::Null) => None,
            Some(raised) => Some(Raised {
                method: text(raised, "method").ok_or(wrong("a factor without a method"))?,
                at: time(raised, "at").ok_or(wrong("a factor without a time"))?,
            }),
        };
        if saved.idle_s <= 0 || saved.until <= saved.created {
            return Err(wrong("times that hold nothing"));
        }
        let seen = saved.seen.as_second();
        Ok(Self {
            key: saved.key,
            principal: Arc::new(principal),
            subject: saved.subject.clone(),
            sid: saved.sid.clone(),
            fingerprint: saved.fingerprint,
            // An earlier version did not note it.
            host: text(&content, "host"),
            created: saved.created,
            until: saved.until,
            idle: SignedDuration::from_secs(saved.idle_s),
            raised,
            seen: AtomicI64::new(seen),
            ended: AtomicU8::new(0),
            successor: OnceLock::new(),
            is_saved: AtomicBool::new(true),
            saved_seen: AtomicI64::new(seen),
        })
    }

    /// What of it the store does not have yet; afterwards it counts as written.
    pub(super) fn unsaved(&self) -> Option<SessionChange> {
        let seen = self.seen.load(Ordering::Relaxed);
        if !self.is_saved.swap(true, Ordering::AcqRel) {
            self.saved_seen.store(seen, Ordering::Relaxed);
            return Some(SessionChange::Save(Box::new(self.saved())));
        }
        let before = self.saved_seen.swap(seen, Ordering::Relaxed);
        (before != seen).then(|| SessionChange::Seen(self.key, self.last_seen()))
    }
}

/// Exhaustive on purpose: a new part of a principal must be given its place here. Groups of a directory are not kept: they are looked
/// up. Nor is where a credential may be used: API keys alone say that, and they open no session.
fn written(principal: &Principal) -> Value {
    let Principal { kind, id, name, email, groups, directory: _, roles, device, scope: _, authentication } = principal;
    let Authentication { method, provider: _, issuer, key_id, acr, amr, auth_time, issued, expires: _, stated_mfa: _ } =
        authentication;
    let group = |group: &GroupClaim| json!({ "name": group.name, "trusted": group.trusted });
    json!({
        "kind": kind.as_str(),
        "id": id,
        "name": name,
        "email": email,
        "groups": groups.iter().map(group).collect::<Vec<_>>(),
        "roles": roles,
        "device": device.as_ref().map(|device| json!({ "id": device.id, "compliant": device.compliant })),
        "method": method.as_str(),
        "issuer": issuer,
        "key_id": key_id,
        "acr": acr,
        "amr": amr,
        "auth_time": auth_time.map(|at| at.as_microsecond()),
        "issued": issued.map(|at| at.as_microsecond()),
    })
}

fn raised(raised: &Raised) -> Value {
    json!({ "method": raised.method, "at": raised.at.as_microsecond() })
}

fn read(object: &Map<String, Value>, saved: &SavedSession) -> Result<Principal, SavedSessionError> {
    let wrong = SavedSessionError;
    let value = Value::Object(object.clone());
    let kind = match value.get("kind").and_then(Value::as_str) {
        Some("user") => PrincipalKind::User,
        Some("service") => PrincipalKind::Service,
        _ => return Err(wrong("a principal of no kind")),
    };
    let method = match value.get("method").and_then(Value::as_str) {
        Some("oidc") => AuthenticationMethod::Oidc,
        Some("password") => AuthenticationMethod::Password,
        _ => return Err(wrong("an unknown method of login")),
    };
    let groups = elements(&value, "groups")?.iter().map(|group| {
        let trusted = group.get("trusted").and_then(Value::as_bool);
        Some(GroupClaim { name: text(group, "name")?, trusted: trusted? })
    });
    let texts = |key| {
        elements(&value, key)?
            .iter()
            .map(|text| text.as_str().map(Box::from))
            .collect::<Option<Vec<_>>>()
            .ok_or(wrong("a list of no texts"))
    };
    let device = match value.get("device") {
        None | Some(Value::Null) => None,
        Some(device) => Some(Device {
            id: text(device, "id").ok_or(wrong("a device without an id"))?,
            compliant: device.get("compliant").and_then(Value::as_bool),
        }),
    };
    Ok(Principal {
        kind,
        id: text(&value, "id").ok_or(wrong("a principal without an id"))?,
        name: text(&value, "name"),
        email: text(&value, "email"),
        groups: groups.collect::<Option<Vec<_>>>().ok_or(wrong("a group that is none"))?,
        directory: None,
        roles: texts("roles")?,
        device,
        scope: None,
        authentication: Authentication {
            method,
            provider: Box::from(&*saved.provider),
            issuer: text(&value, "issuer"),
            key_id: text(&value, "key_id"),
            acr: text(&value, "acr"),
            amr: texts("amr")?,
            auth_time: time(&value, "auth_time"),
            issued: time(&value, "issued"),
            expires: Some(saved.until),
            stated_mfa: false,
        },
    })
}

fn elements<'v>(value: &'v Value, key: &str) -> Result<&'v [Value], SavedSessionError> {
    value.get(key).and_then(Value::as_array).map(Vec::as_slice).ok_or(SavedSessionError("a list that is missing"))
}

fn text(value: &Value, key: &str) -> Option<Box<str>> {
    value.get(key).and_then(Value::as_str).map(Box::from)
}

fn time(value: &Value, key: &str) -> Option<Timestamp> {
    value.get(key).and_then(Value::as_i64).and_then(|micros| Timestamp::from_microsecond(micros).ok())
}
