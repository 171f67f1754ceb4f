//! What is counted of a provider that is asked: what was known of the tokens that came, what it said, and how long that took.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{Told, Verdict};

/// How many, since it is asked in this way.
#[derive(Debug, Default)]
pub(super) struct Counts {
    remembered: AtomicU64,
    asked: AtomicU64,
    unavailable: AtomicU64,
    malformed: AtomicU64,
    active: AtomicU64,
    inactive: AtomicU64,
    failed: AtomicU64,
    /// By bucket of [`BOUNDS_MS`], and one more.
    took: [AtomicU64; BOUNDS_MS.len() + 1],
    took_us: AtomicU64,
}

/// How long questions took.
#[derive(Debug, Clone, PartialEq)]
pub struct Durations {
    /// The upper bound of each bucket in seconds, the last without one, and how many fell into it (not cumulated).
    pub buckets: Vec<(f64, u64)>,
    /// All together, in seconds.
    pub sum_s: f64,
    /// How many there were.
    pub count: u64,
}

/// The bounds of buckets, in milliseconds.
const BOUNDS_MS: [u32; 10] = [1, 2, 5, 10, 25, 50, 100, 250, 1_000, 5_000];

impl Counts {
    /// A request has brought a token.
    pub(super) fn look(&self, told: &Told) {
        let counter = match told {
            Told::Known(_) => &self.remembered,
            Told::Malformed(_) => &self.malformed,
            Told::Awaited(..) => &self.asked,
            Told::Unavailable(_) => &self.unavailable,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// A question has ended, with this verdict where it was answered.
    pub(super) fn answer(&self, verdict: Option<&Verdict>, took: Duration) {
        let counter = match verdict {
            Some(Verdict::Active(_)) => &self.active,
            Some(Verdict::Inactive(_)) => &self.inactive,
            None => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let bucket = BOUNDS_MS.iter().position(|bound| took <= Duration::from_millis((*bound).into()));
        if let Some(bucket) = self.took.get(bucket.unwrap_or(BOUNDS_MS.len())) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.took_us.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn looked(&self) -> [(&'static str, u64); 4] {
        [
            ("remembered", self.remembered.load(Ordering::Relaxed)),
            ("asked", self.asked.load(Ordering::Relaxed)),
            ("unavailable", self.unavailable.load(Ordering::Relaxed)),
            ("malformed", self.malformed.load(Ordering::Relaxed)),
        ]
    }

    pub(super) fn answers(&self) -> [(&'static str, u64); 3] {
        [
            ("active", self.active.load(Ordering::Relaxed)),
            ("inactive", self.inactive.load(Ordering::Relaxed)),
            ("failed", self.failed.load(Ordering::Relaxed)),
        ]
    }

    pub(super) fn durations(&self) -> Durations {
        let bounds = BOUNDS_MS.iter().map(|bound| f64::from(*bound) / 1e3).chain(std::iter::once(f64::INFINITY));
        let counts = self.took.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum_s = Duration::from_micros(self.took_us.load(Ordering::Relaxed)).as_secs_f64();
        Durations { buckets, sum_s, count }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::Refusal;

    #[test]
    fn each_question_falls_into_one_bucket() {
        let counts = Counts::default();
        let inactive = Verdict::Inactive(Refusal::invalid("no"));
        for (ms, verdict) in [(0, Some(&inactive)), (1, Some(&inactive)), (2, None), (5_000, None), (5_001, None)] {
            counts.answer(verdict, Duration::from_millis(ms));
        }
        assert_eq!(counts.answers(), [("active", 0), ("inactive", 2), ("failed", 3)]);
        let Durations { buckets, sum_s, count } = counts.durations();
        let filled: Vec<(f64, u64)> = buckets.into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(0.001, 2), (0.002, 1), (5.0, 1), (f64::INFINITY, 1)]);
        assert_eq!((count, sum_s), (5, 10.004));
    }
}
