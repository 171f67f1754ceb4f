//! Where passwords are checked: beside the requests, by a few threads, one attempt each at a time.
//!
//! A check costs some tens of milliseconds and 19 MiB or more, on purpose. So there are as many at once as there are threads, as many more wait as
//! are agreed, and what comes beyond is told so (503) at once: never that the password is wrong. Requests that bring the same name and
//! password meanwhile share one check.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::hmac;
use aws_lc_rs::rand;
use jiff::Timestamp;
use tokio::sync::watch;

use super::hash::PasswordHash;
use super::lockout::{Attempt, Locked, Lockouts};

/// For each check that may wait, so many requests may.
const REQUESTS_EACH: usize = 4;
/// Nobody waits longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The queue of checks, and who failed how often. One for the process: a reload goes on with it.
pub struct PasswordBench {
    key: hmac::Key,
    lockouts: Lockouts,
    queue: Mutex<Queue>,
    ready: Condvar,
    max_waiting: usize,
    waiting: Arc<AtomicUsize>,
    counts: Counts,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Arc<Job>>,
    /// Those that wait and those that are checked.
    pending: HashMap<Mark, Arc<Job>>,
    is_closed: bool,
}

/// What stands for a name and a password: a hash with a key that lives as long as the process, so that what is remembered tells nothing
/// without the process's memory.
pub(super) type Mark = [u8; 32];

/// One check.
struct Job {
    mark: Mark,
    hash: Arc<PasswordHash>,
    password: Box<str>,
    attempt: Option<Attempt>,
    now: i64,
    verdict: watch::Sender<Option<Verdict>>,
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The password has the hash.
    Right,
    /// It has not.
    Wrong,
    /// There was no memory for it, or nobody checks any more.
    None,
}

/// Why there is no check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// There were too many failures.
    Locked(Locked),
    /// Too many wait.
    Full,
}

/// A check that is waited for.
pub struct PasswordAwaited {
    job: Arc<Job>,
    verdict: watch::Receiver<Option<Verdict>>,
    _place: Place,
}

/// How checks ended, since the start.
#[derive(Debug, Default)]
struct Counts {
    right: AtomicU64,
    wrong: AtomicU64,
    locked: AtomicU64,
    full: AtomicU64,
}

/// How the checking of passwords goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswordReport {
    /// Checks since the start, by result.
    pub checks: [(&'static str, u64); 4],
    /// Checks that wait now, or are under way.
    pub pending: usize,
}

/// A place among those who wait, given back when dropped.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl PasswordAwaited {
    /// How long to wait at most.
    pub fn patience(&self) -> Duration {
        PATIENCE
    }

    /// Ends with the check, however that ends.
    pub async fn ended(&mut self) {
        // An error is the end of who checks.
        let _ = self.verdict.wait_for(Option::is_some).await;
    }

    /// What came of it, where it was of this name and password, held against this hash.
    pub(super) fn verdict_of(&self, mark: &Mark, hash: &PasswordHash) -> Option<Verdict> {
        let is_same = self.job.mark == *mark && *self.job.hash == *hash;
        if is_same { *self.verdict.borrow() } else { None }
    }
}

impl PasswordBench {
    /// One on which so many may wait. Nothing is checked until some thread [works](Self::work).
    pub(crate) fn new(max_waiting: usize) -> Self {
        let mut key = [0; 32];
        // Without random bytes there is no key that somebody else has not: then nothing is ever found again, which costs a check each time.
        let is_random = rand::fill(&mut key).is_ok();
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            lockouts: Lockouts::default(),
            queue: Mutex::default(),
            ready: Condvar::new(),
            max_waiting: if is_random { max_waiting } else { 0 },
            waiting: Arc::default(),
            counts: Counts::default(),
        }
    }

    /// What stands for them. Fields of fixed size and with their length: no two of them are encoded alike.
    pub(super) fn mark(&self, name: &str, password: &str) -> Mark {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&(name.len() as u64).to_le_bytes());
        context.update(name.as_bytes());
        context.update(password.as_bytes());
        let mut mark = [0; 32];
        for (to, from) in mark.iter_mut().zip(context.sign().as_ref()) {
            *to = *from;
        }
        mark
    }

    /// Begins a check, or joins the one that is under way. `from`: the client's address, whose failures are counted; `None` for who was verified
    /// before and is only looked at again.
    pub(super) fn ask(
        &self,
        check: Check<'_>,
        from: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<PasswordAwaited, Refused> {
        let now = now.as_second();
        let mut queue = self.queue();
        if let Some(job) = queue.pending.get(&check.mark).filter(|job| *job.hash == **check.hash) {
            return self.awaited(job).ok_or(Refused::Full);
        }
        if queue.pending.len() >= self.max_waiting || queue.is_closed {
            self.counts.full.fetch_add(1, Ordering::Relaxed);
            return Err(Refused::Full);
        }
        let begin = |address| self.lockouts.begin(check.name, check.is_known, address, now);
        let attempt = from.map(begin).transpose().map_err(|locked| {
            self.counts.locked.fetch_add(1, Ordering::Relaxed);
            Refused::Locked(locked)
        })?;
        let job = Arc::new(Job {
            mark: check.mark,
            hash: Arc::clone(check.hash),
            password: Box::from(check.password),
            attempt,
            now,
            verdict: watch::Sender::new(None),
        });
        let Some(awaited) = self.awaited(&job) else {
            if let Some(attempt) = attempt {
                self.lockouts.withdrawn(attempt);
            }
            return Err(Refused::Full);
        };
        queue.pending.insert(check.mark, Arc::clone(&job));
        queue.waiting.push_back(job);
        drop(queue);
        self.ready.notify_one();
        Ok(awaited)
    }

    /// In how many seconds the next attempt from this address for this name is looked at, if not now.
    pub fn wait(&self, name: &str, address: IpAddr, now: Timestamp) -> Option<u64> {
        self.lockouts.wait(name, address, now.as_second()).map(|Locked(seconds)| seconds)
    }

    fn awaited(&self, job: &Arc<Job>) -> Option<PasswordAwaited> {
        let place = Place(Arc::clone(&self.waiting));
        let most = self.max_waiting.saturating_mul(REQUESTS_EACH);
        // One that is too many goes back at once.
        (self.waiting.fetch_add(1, Ordering::AcqRel) < most).then(|| PasswordAwaited {
            job: Arc::clone(job),
            verdict: job.verdict.subscribe(),
            _place: place,
        })
    }

    /// Checks one after the other, until it is [closed](Self::close). As many threads may do so as there are to be checks at once.
    pub fn work(&self) {
        while let Some(job) = self.next() {
            let verdict = match job.hash.is_of(&job.password) {
                Some(true) => Verdict::Right,
                Some(false) => Verdict::Wrong,
                None => Verdict::None,
            };
            self.finish(&job, verdict);
        }
    }

    fn next(&self) -> Option<Arc<Job>> {
        let mut queue = self.queue();
        loop {
            if queue.is_closed {
                return None;
            }
            match queue.waiting.pop_front() {
                Some(job) => return Some(job),
                None => queue = self.ready.wait(queue).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    fn finish(&self, job: &Job, verdict: Verdict) {
        let attempt = job.attempt;
        match verdict {
            Verdict::Right => {
                self.counts.right.fetch_add(1, Ordering::Relaxed);
                attempt.into_iter().for_each(|attempt| self.lockouts.succeeded(attempt, job.now));
            }
            Verdict::Wrong => {
                self.counts.wrong.fetch_add(1, Ordering::Relaxed);
            }
            Verdict::None => attempt.into_iter().for_each(|attempt| self.lockouts.withdrawn(attempt)),
        }
        // First, so that nobody joins what has ended.
        let mut queue = self.queue();
        if queue.pending.get(&job.mark).is_some_and(|pending| std::ptr::eq(&raw const **pending, job)) {
            queue.pending.remove(&job.mark);
        }
        drop(queue);
        job.verdict.send_replace(Some(verdict));
    }

    /// Nothing is checked any more: the threads end, and whoever waits hears so.
    pub fn close(&self) {
        let mut queue = self.queue();
        queue.is_closed = true;
        let left: Vec<Arc<Job>> = queue.waiting.drain(..).collect();
        drop(queue);
        for job in left {
            self.finish(&job, Verdict::None);
        }
        self.ready.notify_all();
    }

    /// How it goes.
    pub fn report(&self) -> PasswordReport {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Counts { right, wrong, locked, full } = &self.counts;
        let checks =
            [("right", count(right)), ("wrong", count(wrong)), ("locked", count(locked)), ("full", count(full))];
        PasswordReport { checks, pending: self.queue().pending.len() }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is to be checked.
#[derive(Clone, Copy)]
pub(super) struct Check<'c> {
    pub(super) mark: Mark,
    pub(super) name: &'c str,
    pub(super) password: &'c str,
    /// Somebody has this name.
    pub(super) is_known: bool,
    pub(super) hash: &'c Arc<PasswordHash>,
}

impl fmt::Debug for PasswordBench {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("PasswordBench").field("report", &self.report()).finish_non_exhaustive()
    }
}

impl fmt::Debug for PasswordAwaited {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("PasswordAwaited").field("verdict", &*self.verdict.borrow()).finish_non_exhaustive()
    }
}
