//! All sessions of a process.
//!
//! A look-up takes no lock and writes nothing but the second of the last request. Everything that opens, changes or ends a session takes one, so
//! that of a revocation and a change at the same time the revocation holds. The table is bounded, and so is what one principal can have in it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use papaya::HashMap as SharedMap;
use portcullis_policy::{AuthenticationMethod, Principal, Spelling};

use crate::session::id::{SessionId, SessionKey};
use crate::session::index::Index;
use crate::session::record::{EndCause, Opening, Session};
use crate::session::saved::{SavedSession, SessionChange, SessionStore, Written};

/// How much there may be, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionBounds {
    /// How many sessions at once; at least 1. Default 100,000.
    pub most: usize,
    /// How long a session holds without a request; at least a second. Default 30 min.
    pub idle: Duration,
    /// How long it holds at all; at least a second. Default 12 h.
    pub absolute: Duration,
}

impl Default for SessionBounds {
    fn default() -> Self {
        Self { most: 100_000, idle: Duration::from_secs(30 * 60), absolute: Duration::from_secs(12 * 60 * 60) }
    }
}

/// What a cookie leads to.
#[derive(Debug)]
pub enum Found {
    /// A session that holds.
    Live(Arc<Session>),
    /// One that was ended before its time.
    Ended(EndCause),
    /// None: its time is over, it was ended a while ago, or there never was one.
    None,
}

/// Why there is no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoSession {
    /// There are as many as there may be.
    #[error("there are as many sessions as there may be")]
    Full,
    /// The system gave no random bytes.
    #[error("the system gives no random bytes")]
    NoRandomness,
}

/// A session as a list shows it. Nothing in it opens one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionEntry {
    /// See [`SessionKey::reference`].
    pub reference: String,
    /// As a policy writes it.
    pub principal: String,
    /// The login that opened it.
    pub provider: Box<str>,
    /// When it was opened.
    pub created: Timestamp,
    /// When it was last used.
    pub last_seen: Timestamp,
    /// Until before when it holds if no request comes.
    pub idle_until: Timestamp,
    /// Until before when it holds at all.
    pub until: Timestamp,
    /// The second factor that was shown in it, and when.
    pub raised: Option<(Box<str>, Timestamp)>,
}

/// All sessions.
#[derive(Debug, Default)]
pub struct Sessions {
    table: SharedMap<SessionKey, Arc<Session>>,
    index: Mutex<Index>,
    store: OnceLock<Arc<dyn SessionStore>>,
    opened: AtomicU64,
    revoked: AtomicU64,
}

/// How many sessions one principal has at most: a further one ends that which was not used for longest.
const MOST_OF_ONE: usize = 64;

impl Sessions {
    /// From now on these bounds hold. Sessions that are open keep their times.
    pub fn configure(&self, bounds: SessionBounds) {
        self.index().bounds = bounds;
    }

    /// Calls those who log in from now on by their ids as they are compared.
    pub fn respell(&self, spelling: &Spelling) {
        self.index().spelling = spelling.clone();
    }

    /// From now on what changes goes there, too. The first one counts.
    pub fn keep_in(&self, store: Arc<dyn SessionStore>) {
        let _ = self.store.set(store);
    }

    /// The session of a cookie's value, at this time. `is_used`: a request came with it, which is what keeps it from being idle.
    pub fn find(&self, id: &SessionId, now: Timestamp, is_used: bool) -> Found {
        let table = self.table.pin();
        let Some(session) = table.get(&id.key()) else { return Found::None };
        if let Some(cause) = session.ended() {
            return Found::Ended(cause);
        }
        if !session.is_in_time(now) {
            return Found::None;
        }
        if is_used {
            session.touch(now);
        }
        Found::Live(Arc::clone(session))
    }

    /// The session under this key, as far as it holds at this time. It does not count as used.
    pub fn get(&self, key: &SessionKey, now: Timestamp) -> Option<Arc<Session>> {
        let table = self.table.pin();
        table.get(key).filter(|session| session.ended().is_none() && session.is_in_time(now)).map(Arc::clone)
    }

    /// Opens a session; a browser that had another one before has that ended by [`Self::replace`].
    ///
    /// # Errors
    /// [`NoSession`]
    pub fn open(&self, mut opening: Opening, now: Timestamp) -> Result<(SessionId, Arc<Session>, Written), NoSession> {
        let id = SessionId::random().ok_or(NoSession::NoRandomness)?;
        let mut index = self.index();
        index.spell(&mut opening.principal);
        if self.table.len() >= index.bounds.most {
            self.drop_over(&mut index, now, true);
        }
        if self.table.len() >= index.bounds.most {
            return Err(NoSession::Full);
        }
        let mut changes = Vec::new();
        let session = Arc::new(begin(id.key(), opening, index.bounds, now));
        self.make_room_for(&mut index, &session.principal, &mut changes);
        self.insert(&mut index, &session);
        self.opened.fetch_add(1, Ordering::Relaxed);
        changes.extend(session.unsaved());
        Ok((id, session, self.send(changes)))
    }

    /// Notes that a second factor was shown in a session; `None` where it does not hold any more. `method` is a word of RFC 8176. Give the browser a new
    /// id before it: [`Self::rotate`], so that the old one never has the factor.
    pub fn raise(&self, key: &SessionKey, method: &str, at: Timestamp) -> Option<(Arc<Session>, Written)> {
        self.exchange(key, at, |session| session.raised(method, at))
    }

    /// What the session's provider says of its holder now; `None` where it does not hold any more.
    pub fn renew(&self, key: &SessionKey, mut principal: Principal, now: Timestamp) -> Option<(Arc<Session>, Written)> {
        self.index().spell(&mut principal);
        self.exchange(key, now, |session| session.renewed(principal))
    }

    /// The same session under a new id; the old one opens nothing from now on. `None` where it does not hold any more, or there are no random
    /// bytes.
    pub fn rotate(&self, key: &SessionKey, now: Timestamp) -> Option<(SessionId, Arc<Session>, Written)> {
        let id = SessionId::random()?;
        let mut index = self.index();
        let before = self.get(key, now)?;
        let session = Arc::new(before.rotated(id.key()));
        // Whoever knows the old key can follow it for a while.
        let _ = before.successor.set(session.key);
        before.end(EndCause::Replaced);
        index.remove(&before);
        self.insert(&mut index, &session);
        let mut changes = vec![SessionChange::Remove(*key)];
        changes.extend(session.unsaved());
        Some((id, session, self.send(changes)))
    }

    /// What a session is known by now that was known by this: the same, unless it was rotated.
    pub fn current(&self, key: &SessionKey) -> SessionKey {
        let table = self.table.pin();
        let mut key = *key;
        // Each was given its id once, so it ends; where it was rotated more often than that, it is not followed.
        for _ in 0..16 {
            match table.get(&key).and_then(|session| session.successor.get()) {
                Some(next) => key = *next,
                None => break,
            }
        }
        key
    }

    /// The session of an id that something under way came with: where it was given another id meanwhile, the one that it is by now, with what was
    /// proven *before* that. What somebody has shown at the change is for who has the new id alone. It does not count as used.
    pub fn find_followed(&self, id: &SessionId, now: Timestamp) -> Found {
        let table = self.table.pin();
        let key = id.key();
        let (Some(before), current) = (table.get(&key), self.current(&key)) else { return Found::None };
        if current == key {
            return self.find(id, now, false);
        }
        let Some(session) = table.get(&current) else { return Found::None };
        match session.ended() {
            Some(cause) => Found::Ended(cause),
            None if session.is_in_time(now) => Found::Live(Arc::new(session.as_proven_in(before))),
            None => Found::None,
        }
    }

    /// The browser has another session from now on: this one ends. `false` where it had ended.
    pub fn replace(&self, key: &SessionKey) -> bool {
        self.end(key, EndCause::Replaced).0
    }

    /// Ends a session, and says whether it had not ended. It opens nothing from the moment on at which this returns; [`Written`] ends once a restart
    /// cannot bring it back.
    pub fn end(&self, key: &SessionKey, cause: EndCause) -> (bool, Written) {
        let mut index = self.index();
        let found = self.table.pin().get(key).map(Arc::clone);
        let Some(session) = found else { return (false, Written::now()) };
        let was_open = self.end_one(&mut index, &session, cause);
        (was_open, self.send(vec![SessionChange::Remove(*key)]))
    }

    /// Ends the session that an operator or an event calls so: at least eight characters of [`SessionKey::reference`]. Says whom it was of.
    pub fn revoke(&self, reference: &str) -> (Vec<String>, Written) {
        let fits = |session: &Session| reference.len() >= 8 && session.key.reference().starts_with(reference);
        self.end_all(fits, EndCause::Revoked)
    }

    /// Ends all sessions of a principal, as a policy writes it.
    pub fn revoke_principal(&self, principal: &str) -> (Vec<String>, Written) {
        let spelling = self.index().spelling.clone();
        let principal = spelling.name(principal);
        self.end_all(|session| spelling.name(&session.principal.reference()) == principal, EndCause::Revoked)
    }

    /// Ends what a provider says is over: its session `sid` where it names one, else all of its subject (OpenID Connect Back-Channel Logout 1.0,
    /// section 2.7).
    pub fn revoke_sid(&self, provider: &str, sid: Option<&str>, subject: Option<&str>) -> (Vec<String>, Written) {
        let is_meant = |session: &Session| {
            let is_of = &*session.principal.authentication.provider == provider;
            let is_subject = subject.is_none_or(|subject| *session.subject == *subject);
            is_of && is_subject && sid.is_none_or(|sid| session.sid.as_deref() == Some(sid))
        };
        match (sid, subject) {
            (Some(sid), _) => {
                let mut index = self.index();
                let keys = index.of_sid(provider, sid).to_vec();
                let found = {
                    let table = self.table.pin();
                    let sessions = keys.iter().filter_map(|key| table.get(key));
                    sessions.filter(|session| is_meant(session)).map(Arc::clone).collect()
                };
                self.end_these(&mut index, found, EndCause::LoggedOut)
            }
            (None, Some(_)) => self.end_all(is_meant, EndCause::LoggedOut),
            (None, None) => (Vec::new(), Written::now()),
        }
    }

    /// Takes up what a store has kept; what does not hold any more, or is none, is left out. Says how many are open again.
    pub fn restore(&self, saved: impl IntoIterator<Item = SavedSession>, now: Timestamp) -> usize {
        let mut index = self.index();
        let mut count = 0;
        for saved in saved {
            match Session::restored(&saved) {
                Ok(mut session) if session.is_in_time(now) && self.table.len() < index.bounds.most => {
                    session.principal = index.spelling.principal(session.principal);
                    self.insert(&mut index, &Arc::new(session));
                    count += 1;
                }
                // Its row goes with the next that is pruned.
                Ok(_) | Err(_) => {}
            }
        }
        count
    }

    /// Lets go of what does not hold any more, and has the rest kept as it is. Called now and then.
    pub fn sweep(&self, now: Timestamp) -> Written {
        // To the end: of a session that is ended meanwhile, what is saved here must not come behind its removal.
        let mut index = self.index();
        self.drop_over(&mut index, now, false);
        let table = self.table.pin();
        let open = table.values().filter(|session| session.ended().is_none());
        let written = self.send(open.filter_map(|session| session.unsaved()).collect());
        drop(index);
        written
    }

    /// Has everything written again: the store could not be written to.
    pub fn mark_all(&self) {
        for session in self.table.pin().values() {
            session.is_saved.store(false, Ordering::Release);
        }
    }

    /// The sessions that hold, the last used first, at most so many.
    pub fn entries(&self, now: Timestamp, most: usize) -> Vec<SessionEntry> {
        let table = self.table.pin();
        let holds = |session: &&Arc<Session>| session.ended().is_none() && session.is_in_time(now);
        let mut entries: Vec<SessionEntry> = table.values().filter(holds).map(|session| entry(session)).collect();
        entries.sort_by(|a, b| b.last_seen.cmp(&a.last_seen).then_with(|| a.reference.cmp(&b.reference)));
        entries.truncate(most);
        entries
    }

    /// How many hold or were ended a while ago.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// How many were opened, and how many were ended before their time, since the start.
    pub fn counts(&self) -> (u64, u64) {
        (self.opened.load(Ordering::Relaxed), self.revoked.load(Ordering::Relaxed))
    }
}

fn begin(key: SessionKey, opening: Opening, bounds: SessionBounds, now: Timestamp) -> Session {
    let span = |duration: Duration| SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
    let until = now.saturating_add(span(bounds.absolute)).unwrap_or(Timestamp::MAX);
    let Opening { mut principal, subject, sid, fingerprint, host } = opening;
    principal.authentication.expires = Some(until);
    // Nobody can say when a password was given: what is revoked for having been issued before stays so.
    principal.authentication.issued =
        (principal.authentication.method != AuthenticationMethod::Password).then_some(now);
    principal.authentication.key_id = Some(key.reference().into());
    Session {
        key,
        principal: Arc::new(principal),
        subject,
        sid,
        fingerprint,
        host,
        created: now,
        until,
        idle: span(bounds.idle),
        raised: None,
        seen: now.as_second().into(),
        ended: 0.into(),
        successor: OnceLock::new(),
        is_saved: false.into(),
        saved_seen: 0.into(),
    }
}

fn entry(session: &Session) -> SessionEntry {
    SessionEntry {
        reference: session.key.reference(),
        principal: session.principal.reference(),
        provider: session.principal.authentication.provider.clone(),
        created: session.created,
        last_seen: session.last_seen(),
        idle_until: session.idle_until(),
        until: session.until,
        raised: session.raised.as_ref().map(|raised| (raised.method.clone(), raised.at)),
    }
}

impl Sessions {
    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, changes: Vec<SessionChange>) -> Written {
        match self.store.get() {
            Some(store) if !changes.is_empty() => store.write(changes),
            Some(_) | None => Written::now(),
        }
    }

    fn insert(&self, index: &mut Index, session: &Arc<Session>) {
        index.insert(session);
        self.table.pin().insert(session.key, Arc::clone(session));
    }

    /// Ends it. It stays in the table for a while, so that whoever shows its cookie is told what happened.
    fn end_one(&self, index: &mut Index, session: &Session, cause: EndCause) -> bool {
        let was_open = session.end(cause);
        if was_open {
            index.remove(session);
            self.revoked.fetch_add(1, Ordering::Relaxed);
        }
        was_open
    }

    fn end_all(&self, fits: impl Fn(&Session) -> bool, cause: EndCause) -> (Vec<String>, Written) {
        let mut index = self.index();
        let found: Vec<Arc<Session>> = {
            let table = self.table.pin();
            table.values().filter(|session| session.ended().is_none() && fits(session)).map(Arc::clone).collect()
        };
        self.end_these(&mut index, found, cause)
    }

    fn end_these(&self, index: &mut Index, found: Vec<Arc<Session>>, cause: EndCause) -> (Vec<String>, Written) {
        let ended: Vec<&Arc<Session>> = found.iter().filter(|session| self.end_one(index, session, cause)).collect();
        let changes = ended.iter().map(|session| SessionChange::Remove(session.key)).collect();
        (ended.iter().map(|session| session.principal.reference()).collect(), self.send(changes))
    }

    /// Puts what `change` makes of a session in its place.
    fn exchange(
        &self,
        key: &SessionKey,
        now: Timestamp,
        change: impl FnOnce(&Session) -> Session,
    ) -> Option<(Arc<Session>, Written)> {
        let mut index = self.index();
        let before = self.get(key, now)?;
        let session = Arc::new(change(&before));
        // A provider may call its holder otherwise by now.
        index.remove(&before);
        self.insert(&mut index, &session);
        let changes = session.unsaved().into_iter().collect();
        Some((session, self.send(changes)))
    }

    /// Of one who has as many as there may be, that which was not used for longest ends.
    fn make_room_for(&self, index: &mut Index, principal: &Principal, changes: &mut Vec<SessionChange>) {
        let table = self.table.pin();
        let keys = index.of_principal(&principal.reference());
        let sessions = keys.iter().filter(|_| keys.len() >= MOST_OF_ONE).filter_map(|key| table.get(key));
        if let Some(oldest) = sessions.min_by_key(|session| session.last_seen()).map(Arc::clone) {
            self.end_one(index, &oldest, EndCause::Replaced);
            changes.push(SessionChange::Remove(oldest.key));
        }
    }

    /// Lets go of those whose time is over. `all`: of those that were ended, too, however short a while ago. The store is not told: of two gateways on one
    /// store, one that takes over from the other, only the store knows when a session was last used.
    fn drop_over(&self, index: &mut Index, now: Timestamp, all: bool) {
        let table = self.table.pin();
        let is_over = |session: &&Arc<Session>| !session.is_in_time(now) || session.ended().is_some() && all;
        let over: Vec<Arc<Session>> = table.values().filter(is_over).map(Arc::clone).collect();
        for session in over {
            index.remove(&session);
            table.remove(&session.key);
        }
    }
}
