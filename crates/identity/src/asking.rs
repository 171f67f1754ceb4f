//! Something that is asked elsewhere, once for all who wait for it: whether that is under way, when it last brought nothing, and when somebody last had a use
//! for the answer. What the answer is, and in which order is asked, is for each to say (`directory`, `introspection`).
//!
//! All times are in milliseconds since 1970. A request reads atomics here and waits for nobody.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use tokio::sync::watch;

/// What no time is.
const NEVER: i64 = i64::MIN;
/// How exactly it is known when there was last a use for it: often enough, and no write for each request.
pub(crate) const SEEN_MS: i64 = 200;
/// Clocks of requests differ by their way; what seems to lie further ahead is of another clock.
pub(crate) const AHEAD_MS: i64 = 5_000;
/// Of what is remembered, one in so many goes at once when it is full.
pub(crate) const EVICTED: usize = 16;

/// How it stands with the asking.
#[derive(Debug)]
pub(crate) struct Asking {
    seen: AtomicI64,
    failed: AtomicI64,
    /// It is in the queue, or being asked.
    is_under_way: AtomicBool,
    /// How many questions have ended.
    ended: watch::Sender<u64>,
}

/// What came of asking.
pub(crate) enum Looked {
    /// It will be asked: as many questions have ended then.
    Asked { ended: watch::Receiver<u64>, count: u64 },
    /// Too many wait.
    TooMany,
}

impl Asking {
    /// Of what nobody has asked yet.
    pub(crate) fn new(now: i64) -> Self {
        Self {
            seen: AtomicI64::new(now),
            failed: AtomicI64::new(NEVER),
            is_under_way: AtomicBool::new(false),
            ended: watch::Sender::new(0),
        }
    }

    pub(crate) fn is_under_way(&self) -> bool {
        self.is_under_way.load(Ordering::Acquire)
    }

    /// It goes into the queue. False: it was there.
    pub(crate) fn begin(&self) -> bool {
        !self.is_under_way.swap(true, Ordering::AcqRel)
    }

    /// For who waits until the question that is under way has ended.
    pub(crate) fn joined(&self) -> Looked {
        let ended = self.ended.subscribe();
        let count = *ended.borrow() + 1;
        Looked::Asked { ended, count }
    }

    /// It has brought what was asked for.
    pub(crate) fn answered(&self) {
        self.failed.store(NEVER, Ordering::Release);
    }

    /// It has brought nothing, for now.
    pub(crate) fn failed(&self, now: i64) {
        self.failed.store(now, Ordering::Release);
    }

    pub(crate) fn has_failed_since(&self, time: i64) -> bool {
        self.failed.load(Ordering::Acquire) > time
    }

    /// It is over, however it ended: whoever waits goes on.
    pub(crate) fn end(&self) {
        self.is_under_way.store(false, Ordering::Release);
        self.ended.send_modify(|ended| *ended += 1);
    }

    /// Somebody has a use for it.
    pub(crate) fn see(&self, now: i64) {
        if now.saturating_sub(self.seen.load(Ordering::Relaxed)) > SEEN_MS {
            self.seen.store(now, Ordering::Relaxed);
        }
    }

    /// When somebody last had, at most [`SEEN_MS`] too early.
    pub(crate) fn seen(&self) -> i64 {
        self.seen.load(Ordering::Relaxed)
    }
}
