//! Who looks up: a few connections, each asked by one task, and a probe that says when a directory that failed answers again.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use portcullis_ldap::{Connection, LdapError, Security};
use tokio::time::{sleep, timeout};

use super::cache::Job;
use super::lookup::Lookup;
use super::{Directory, Verdict};

/// After a look-up that failed the same one is not asked for again before this time is over, in milliseconds.
pub(super) const RETRY_MS: i64 = 1_000;
/// A directory that does not answer is tried again after this time; one that refuses the password after twice as long each time, up to
/// [`LONGEST_PROBE`], so that the account is not locked.
const PROBE: Duration = Duration::from_secs(1);
const LONGEST_PROBE: Duration = Duration::from_secs(60);
/// How often those in use are looked over, at most and at least.
const TICK: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// RFC 4511 appendix A.
const INVALID_CREDENTIALS: i32 = 49;
/// Active Directory's, in `supportedCapabilities` (MS-ADTS 3.1.1.3.4.3.1).
const ACTIVE_DIRECTORY: &str = "1.2.840.113556.1.4.800";
/// The longest problem that is kept, in bytes.
const MAX_PROBLEM: usize = 512;

/// Something that happened to a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryNotice {
    /// Its name.
    pub directory: Arc<str>,
    /// What.
    pub kind: DirectoryNoticeKind,
    /// In a sentence.
    pub message: String,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DirectoryNoticeKind {
    /// It does not answer, or not as it should. Said once until it does.
    Failed,
    /// It answers again.
    Recovered,
}

/// What a directory needs of whoever has it asked.
#[derive(Clone, Copy)]
pub struct DirectoryHost<'h> {
    /// The time.
    pub clock: &'h (dyn Fn() -> Timestamp + Sync),
    /// Hears what happens.
    pub tell: &'h (dyn Fn(DirectoryNotice) + Sync),
}

impl DirectoryHost<'_> {
    /// In milliseconds since 1970.
    fn now(self) -> i64 {
        (self.clock)().as_millisecond()
    }
}

/// How a directory is.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// No server lets us in.
    down: AtomicBool,
    /// When it last answered, in milliseconds since 1970; 0: never.
    answered: AtomicI64,
    /// The server that was good last.
    preferred: AtomicUsize,
    problem: Mutex<Option<String>>,
}

impl Health {
    pub(super) fn is_down(&self) -> bool {
        self.down.load(Ordering::Acquire)
    }

    pub(super) fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn answered(&self) -> Option<Timestamp> {
        let at = self.answered.load(Ordering::Acquire);
        if at == 0 { None } else { Timestamp::from_millisecond(at).ok() }
    }
}

/// A connection, and what its server can.
pub(super) struct Bound {
    pub(super) connection: Connection,
    pub(super) has_matching_rule: bool,
    /// It has answered before: where it ends now, that may be an old connection and no fault.
    is_used: bool,
}

/// Why no server lets us in.
pub(super) struct Closed {
    pub(super) message: String,
    /// One of them refuses the password.
    is_refused: bool,
}

impl Directory {
    /// Looks up whoever is asked for, for as long as it is polled. It needs a tokio runtime with IO and time.
    pub async fn run(&self, host: DirectoryHost<'_>) {
        struct Abandon<'d>(&'d Directory);
        impl Drop for Abandon<'_> {
            fn drop(&mut self) {
                self.0.cache.abandon();
            }
        }
        let _abandon = Abandon(self);
        let askers = (0..self.settings.connections.max(1)).map(|_| self.ask(host));
        tokio::join!(join_all(askers), self.probe(host), self.tend(host));
    }

    /// One connection, and one look-up after the other on it.
    async fn ask(&self, host: DirectoryHost<'_>) {
        let mut bound = None;
        loop {
            let job = self.cache.next().await;
            self.look_up(job, &mut bound, host).await;
            if self.cache.is_over() {
                self.cache.evict(&self.settings, host.now());
            }
        }
    }

    async fn look_up(&self, job: Job<'_>, bound: &mut Option<Bound>, host: DirectoryHost<'_>) {
        loop {
            let asked = host.now();
            let mut open = match bound.take() {
                Some(open) => open,
                None => match self.open().await {
                    Ok(open) => open,
                    Err(closed) => {
                        self.counts.failed.fetch_add(1, Ordering::Relaxed);
                        self.fail(true, closed.message, host);
                        return job.failed(host.now());
                    }
                },
            };
            let lookup = Lookup {
                settings: &self.settings,
                namespace: &self.namespace,
                has_matching_rule: open.has_matching_rule,
                id: &job.subject.id,
                email: job.subject.email.as_deref(),
            };
            let result = timeout(self.settings.timeout, lookup.run(&mut open.connection)).await;
            match result {
                Ok(Ok(verdict)) => {
                    open.is_used = true;
                    *bound = open.connection.is_usable().then_some(open);
                    self.count(&verdict);
                    job.found(verdict, asked);
                    return self.succeed(host);
                }
                // The server let go of a connection that was idle. A new one tells more.
                Ok(Err(LdapError::Io(_) | LdapError::Disconnected)) if open.is_used => {}
                Ok(Err(error)) => {
                    if error.leaves_connection() {
                        *bound = Some(open);
                    }
                    self.counts.failed.fetch_add(1, Ordering::Relaxed);
                    self.fail(false, error.to_string(), host);
                    return job.failed(host.now());
                }
                Err(_) => {
                    self.counts.failed.fetch_add(1, Ordering::Relaxed);
                    self.fail(false, format!("a look-up took longer than {:?}", self.settings.timeout), host);
                    return job.failed(host.now());
                }
            }
        }
    }

    fn count(&self, verdict: &Verdict) {
        let count = match verdict {
            Verdict::Found { .. } => &self.counts.found,
            Verdict::NotFound => &self.counts.not_found,
            Verdict::Disabled => &self.counts.disabled,
            Verdict::Unusable(_) => &self.counts.unusable,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection to the first server that lets us in, beginning with the one that did last.
    pub(super) async fn open(&self) -> Result<Bound, Closed> {
        let servers = &self.settings.servers;
        let first = self.health.preferred.load(Ordering::Relaxed);
        let mut closed = Closed { message: "no server is configured".to_owned(), is_refused: false };
        let mut messages: Vec<String> = Vec::new();
        for step in 0..servers.len() {
            let place = (first + step) % servers.len();
            let Some(server) = servers.get(place) else { continue };
            let opened = timeout(self.settings.timeout, self.open_one(place)).await;
            let problem = match opened {
                Ok(Ok(bound)) => {
                    self.health.preferred.store(place, Ordering::Relaxed);
                    return Ok(bound);
                }
                Ok(Err(error)) => {
                    closed.is_refused |= matches!(error, LdapError::Refused { code: INVALID_CREDENTIALS, .. });
                    error.to_string()
                }
                Err(_) => format!("no answer within {:?}", self.settings.timeout),
            };
            messages.push(format!("{server}: {problem}"));
        }
        if !messages.is_empty() {
            closed.message = messages.join("; ");
        }
        Err(closed)
    }

    async fn open_one(&self, place: usize) -> Result<Bound, LdapError> {
        let server = self.settings.servers.get(place).ok_or(LdapError::Unfilled)?;
        let security = Security { start_tls: self.settings.start_tls, roots: &self.settings.roots };
        let mut connection = Connection::open(server, security).await?;
        if let Some(bind) = &self.settings.bind {
            connection.bind(&bind.dn, &bind.password).await?;
        }
        let has_matching_rule = connection.capabilities().await?.iter().any(|each| each == ACTIVE_DIRECTORY);
        Ok(Bound { connection, has_matching_rule, is_used: false })
    }

    /// Tries it at the start, and whenever nothing lets us in until something does.
    async fn probe(&self, host: DirectoryHost<'_>) {
        let mut wait = Duration::ZERO;
        let mut is_first = true;
        loop {
            sleep(wait).await;
            wait = PROBE.max(wait);
            if !is_first && !self.health.is_down() {
                wait = PROBE;
                continue;
            }
            is_first = false;
            match self.open().await {
                Ok(bound) => {
                    wait = PROBE;
                    self.succeed(host);
                    // A server that hangs now must not keep us.
                    let _ = timeout(PROBE, bound.connection.close()).await;
                }
                Err(closed) => {
                    wait = if closed.is_refused { (wait * 2).min(LONGEST_PROBE) } else { PROBE };
                    self.fail(true, closed.message, host);
                }
            }
        }
    }

    /// Has those looked up who are in use, and forgets those who are not.
    async fn tend(&self, host: DirectoryHost<'_>) {
        let shorter = self.settings.refresh.min(self.settings.negative);
        let tick = (shorter / 10).clamp(TICK.0, TICK.1);
        let mut since_eviction = Duration::ZERO;
        loop {
            sleep(tick).await;
            if !self.health.is_down() {
                self.cache.ask_ahead(&self.settings, host.now());
            }
            since_eviction += tick;
            if since_eviction >= Duration::from_secs(10) {
                since_eviction = Duration::ZERO;
                self.cache.evict(&self.settings, host.now());
            }
        }
    }

    fn succeed(&self, host: DirectoryHost<'_>) {
        self.health.answered.store(host.now(), Ordering::Release);
        self.health.down.store(false, Ordering::Release);
        let before = self.health.problem.lock().unwrap_or_else(PoisonError::into_inner).take();
        if before.is_some() {
            let message = format!("the directory {} answers again", self.name());
            (host.tell)(self.notice(DirectoryNoticeKind::Recovered, message));
        }
    }

    /// `is_down`: no server lets us in.
    fn fail(&self, is_down: bool, mut problem: String, host: DirectoryHost<'_>) {
        problem.truncate(problem.floor_char_boundary(MAX_PROBLEM));
        if is_down {
            self.health.down.store(true, Ordering::Release);
        }
        let message = format!("the directory {} does not answer as it should: {problem}", self.name());
        let before = self.health.problem.lock().unwrap_or_else(PoisonError::into_inner).replace(problem);
        if before.is_none() {
            (host.tell)(self.notice(DirectoryNoticeKind::Failed, message));
        }
    }

    fn notice(&self, kind: DirectoryNoticeKind, message: String) -> DirectoryNotice {
        DirectoryNotice { directory: Arc::clone(self.name()), kind, message }
    }
}
