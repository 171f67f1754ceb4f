//! The circuit breaker of an upstream, shared by all workers.
//!
//! Closed, it costs a request one relaxed read. It opens when so many requests in a row have failed within a window, whatever
//! the endpoint. While it is open, requests are refused at once, so that they do not queue up behind timeouts; each time the
//! wait is over, one request goes through as a probe. If that fails the wait doubles, up to its bound; any answer closes it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::settings::BreakerSettings;

/// A breaker.
#[derive(Debug)]
pub(super) struct Breaker {
    settings: BreakerSettings,
    started: Instant,
    /// In milliseconds since `started`, until when no request goes through; 0 while it is closed.
    open_until: AtomicU64,
    /// How long it waits for the next probe, in milliseconds.
    wait: AtomicU64,
    /// Some request has failed since the last answer.
    failing: AtomicBool,
    /// When they failed; at most `settings.failures`. Locked only by a request that failed, and by the first that did not.
    failures: Mutex<VecDeque<Instant>>,
    opened: AtomicU64,
}

/// How a request went through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passage {
    /// The circuit is closed.
    Free,
    /// To see whether the upstream works again.
    Probe,
}

impl Breaker {
    pub(super) fn new(settings: BreakerSettings) -> Self {
        Self {
            settings,
            started: Instant::now(),
            open_until: AtomicU64::new(0),
            wait: AtomicU64::new(0),
            failing: AtomicBool::new(false),
            failures: Mutex::default(),
            opened: AtomicU64::new(0),
        }
    }

    /// Lets a request through, or says how long to wait. A probe whose caller leaves is none: the next one comes after
    /// the same wait.
    pub(super) fn admit(&self, now: Instant) -> Result<Passage, Duration> {
        let until = self.open_until.load(Ordering::Relaxed);
        if until == 0 {
            return Ok(Passage::Free);
        }
        let (now, wait) = (self.millis(now), self.wait.load(Ordering::Relaxed));
        if now < until {
            return Err(Duration::from_millis(until - now));
        }
        match self.open_until.compare_exchange(until, now + wait, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => Ok(Passage::Probe),
            // Closed meanwhile, or somebody else is the probe.
            Err(0) => Ok(Passage::Free),
            Err(until) => Err(Duration::from_millis(until.saturating_sub(now))),
        }
    }

    /// The upstream answered. Whether that closed the circuit.
    pub(super) fn succeeded(&self) -> bool {
        if self.failing.load(Ordering::Relaxed) {
            self.failing.store(false, Ordering::Relaxed);
            self.failures.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
        self.open_until.load(Ordering::Relaxed) != 0 && self.open_until.swap(0, Ordering::Relaxed) != 0
    }

    /// The upstream failed. For how long that opened the circuit, or kept it open.
    pub(super) fn failed(&self, passage: Passage, now: Instant) -> Option<Duration> {
        if passage == Passage::Probe {
            let wait = Duration::from_millis(self.wait.load(Ordering::Relaxed)).saturating_mul(2);
            return Some(self.open(wait.min(self.settings.longest.max(self.settings.open)), now));
        }
        if self.open_until.load(Ordering::Relaxed) != 0 {
            // It began before the circuit opened.
            return None;
        }
        self.failing.store(true, Ordering::Relaxed);
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.push_back(now);
        let most = usize::try_from(self.settings.failures).unwrap_or(usize::MAX).max(1);
        while failures.len() > most {
            failures.pop_front();
        }
        let recent =
            failures.front().is_some_and(|first| now.saturating_duration_since(*first) <= self.settings.window);
        if failures.len() < most || !recent {
            return None;
        }
        failures.clear();
        self.opened.fetch_add(1, Ordering::Relaxed);
        Some(self.open(self.settings.open, now))
    }

    fn open(&self, wait: Duration, now: Instant) -> Duration {
        let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX / 2).clamp(1, u64::MAX / 2);
        self.wait.store(millis, Ordering::Relaxed);
        self.open_until.store(self.millis(now).saturating_add(millis).max(1), Ordering::Relaxed);
        wait
    }

    pub(super) fn is_open(&self) -> bool {
        self.open_until.load(Ordering::Relaxed) != 0
    }

    /// How often it opened.
    pub(super) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.started).as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker() -> (Breaker, Instant) {
        let settings = BreakerSettings {
            failures: 3,
            window: Duration::from_secs(10),
            open: Duration::from_secs(5),
            longest: Duration::from_secs(15),
        };
        (Breaker::new(settings), Instant::now())
    }

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn so_many_failures_in_a_row_and_within_the_window_open_it() {
        let check = |failures: &[u64], expected: bool| {
            let (breaker, start) = breaker();
            for second in failures {
                breaker.failed(Passage::Free, after(start, *second));
            }
            assert_eq!(breaker.is_open(), expected, "{failures:?}");
        };
        check(&[1, 1], false);
        check(&[1, 1, 1], true);
        check(&[0, 5, 10], true);
        check(&[0, 5, 11], false);
        check(&[0, 5, 11, 12], true);
        let (breaker, start) = breaker();
        for _ in 0..10 {
            breaker.failed(Passage::Free, start);
            breaker.failed(Passage::Free, start);
            assert!(!breaker.succeeded(), "an answer between them");
        }
        assert!(!breaker.is_open());
    }

    #[test]
    fn an_open_one_lets_one_probe_through_after_each_wait_and_waits_longer_up_to_a_bound() {
        let (breaker, start) = breaker();
        assert_eq!(breaker.admit(start), Ok(Passage::Free));
        for _ in 0..3 {
            breaker.failed(Passage::Free, start);
        }
        assert_eq!(breaker.admit(after(start, 4)), Err(Duration::from_secs(1)));
        assert_eq!(breaker.failed(Passage::Free, after(start, 4)), None, "it began before");
        assert_eq!(breaker.admit(after(start, 5)), Ok(Passage::Probe));
        assert_eq!(breaker.admit(after(start, 5)), Err(Duration::from_secs(5)), "one probe at a time");
        assert_eq!(breaker.failed(Passage::Probe, after(start, 6)), Some(Duration::from_secs(10)));
        assert!(breaker.admit(after(start, 15)).is_err());
        assert_eq!(breaker.admit(after(start, 16)), Ok(Passage::Probe));
        assert_eq!(breaker.failed(Passage::Probe, after(start, 16)), Some(Duration::from_secs(15)), "the bound");
        assert_eq!(breaker.admit(after(start, 31)), Ok(Passage::Probe));
        assert_eq!(breaker.admit(after(start, 46)), Ok(Passage::Probe), "whose caller left");
        assert!(breaker.succeeded());
        assert!(!breaker.is_open() && !breaker.succeeded());
        assert_eq!((breaker.admit(after(start, 46)), breaker.opened()), (Ok(Passage::Free), 1));
    }
}
