//! The arithmetic of a rate, on one atomic number: no clock, no table.
//!
//! A cell holds the time at which everything that was used will have come back ("theoretical arrival time" in ITU-T I.371).
//! Each request moves it on by one interval; where that would lead further ahead than the burst, the request is one too
//! many. So a cell in the past is as good as a new one, and state that nobody uses ends by itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// One rate's state: when everything used will have come back, in nanoseconds of the clock that it is asked by. Whoever
/// waits for a new one is as well off with one whose time is over.
#[derive(Debug, Default)]
pub struct Cell(AtomicU64);

/// How fast a limit lets requests through. Times are in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Between two requests in the long run. Rounded up: never faster than what was configured.
    interval_ns: u64,
    /// How long the whole burst takes to come back.
    burst_ns: u64,
}

/// What a cell said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It had one left.
    Within {
        /// How many more could follow at once.
        left: u64,
        /// When all will have come back.
        reset_ns: u64,
    },
    /// It had none left; nothing was taken.
    Over {
        /// When the next one will have come back.
        wait_ns: u64,
    },
}

/// Far beyond what a configuration may ask for, and far from the end of the numbers.
const BURST_NS_MAX: u64 = 400 * 24 * 3_600 * 1_000_000_000;

impl Cell {
    /// How long it takes, from a time on, until everything used has come back, in nanoseconds.
    pub(super) fn used_ns(&self, now_ns: u64) -> u64 {
        self.0.load(Ordering::Relaxed).saturating_sub(now_ns)
    }

    /// Whether nothing of it is used at this time: it is as good as a new one.
    pub fn is_unused(&self, now_ns: u64) -> bool {
        self.used_ns(now_ns) == 0
    }

    /// It begins anew.
    pub(super) fn reset(&self, now_ns: u64) {
        self.0.store(now_ns, Ordering::Relaxed);
    }
}

impl Pace {
    /// So many requests in each window in the long run, and `burst` of them at once; 0 counts as 1.
    pub fn new(requests: u64, window: Duration, burst: u64) -> Self {
        let window_ns = u64::try_from(window.as_nanos()).unwrap_or(BURST_NS_MAX).clamp(1, BURST_NS_MAX);
        let interval_ns = window_ns.div_ceil(requests.max(1));
        let burst_ns = interval_ns.saturating_mul(burst.max(1)).min(BURST_NS_MAX).max(interval_ns);
        Self { interval_ns, burst_ns }
    }

    /// The power of two, at most half of the burst's time, above which a cell is worth keeping for itself.
    pub(super) fn class(&self) -> u32 {
        (self.burst_ns / 2).max(1).ilog2()
    }

    /// How long so many requests take at the pace of the limit.
    pub(super) fn spread_ns(&self, requests: u64) -> u64 {
        self.interval_ns.saturating_mul(requests)
    }

    /// Takes one request from a cell.
    pub fn take(&self, cell: &Cell, now_ns: u64) -> Taken {
        let mut restored = cell.0.load(Ordering::Relaxed);
        loop {
            let next = restored.max(now_ns).saturating_add(self.interval_ns);
            let ahead = next.saturating_sub(now_ns);
            if ahead > self.burst_ns {
                return Taken::Over { wait_ns: ahead - self.burst_ns };
            }
            match cell.0.compare_exchange_weak(restored, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Taken::Within { left: (self.burst_ns - ahead) / self.interval_ns, reset_ns: ahead },
                Err(current) => restored = current,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn pace(requests: u64, window_s: u64, burst: u64) -> Pace {
        Pace::new(requests, Duration::from_secs(window_s), burst)
    }

    #[test]
    fn a_burst_is_exact_and_comes_back_one_by_one() {
        let (pace, cell) = (pace(60, 60, 3), Cell::default());
        let check = |at: u64, expected: Taken| assert_eq!(pace.take(&cell, at), expected, "at {at}");
        let start = 5 * SECOND;
        check(start, Taken::Within { left: 2, reset_ns: SECOND });
        check(start, Taken::Within { left: 1, reset_ns: 2 * SECOND });
        check(start, Taken::Within { left: 0, reset_ns: 3 * SECOND });
        check(start, Taken::Over { wait_ns: SECOND });
        check(start + SECOND - 1, Taken::Over { wait_ns: 1 });
        check(start + SECOND, Taken::Within { left: 0, reset_ns: 3 * SECOND });
        check(start + SECOND, Taken::Over { wait_ns: SECOND });
        check(start + 100 * SECOND, Taken::Within { left: 2, reset_ns: SECOND });
    }

    #[test]
    fn extremes_neither_overflow_nor_let_everything_through() {
        for (requests, window_s, burst) in
            [(1, u64::MAX, u64::MAX), (u64::MAX, 1, u64::MAX), (1, 0, 1), (0, 0, 0), (1, 86_400, 1_000_000_000)]
        {
            let pace = pace(requests, window_s, burst);
            assert!(pace.interval_ns >= 1 && pace.burst_ns >= pace.interval_ns && pace.burst_ns <= BURST_NS_MAX);
            let cell = Cell(AtomicU64::new(u64::MAX));
            assert!(matches!(pace.take(&cell, 0), Taken::Over { .. }), "{requests} {window_s} {burst}");
            assert!(matches!(pace.take(&Cell::default(), u64::MAX - 1), Taken::Within { .. } | Taken::Over { .. }));
        }
    }

    #[test]
    fn threads_together_get_no_more_than_the_burst() {
        let (pace, cell) = (pace(1, 3_600, 1_000), Cell::default());
        let taken: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| (0..1_000).filter(|_| matches!(pace.take(&cell, 1), Taken::Within { .. })).count())
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(taken, 1_000);
    }

    proptest! {
        /// In no stretch of time does a cell let more through than the burst and what comes back meanwhile.
        #[test]
        fn no_stretch_of_time_lets_more_through(
            requests in 1_u64..50, window_s in 1_u64..20, burst in 1_u64..60,
            steps in proptest::collection::vec(0_u64..500_000_000, 1..200),
        ) {
            let (pace, cell) = (pace(requests, window_s, burst), Cell::default());
            let mut now = SECOND;
            let mut let_through = Vec::new();
            for step in steps {
                now += step;
                if let Taken::Within { left, reset_ns } = pace.take(&cell, now) {
                    prop_assert!(left < burst && reset_ns <= pace.burst_ns);
                    let_through.push(now);
                }
            }
            for (first, from) in let_through.iter().enumerate() {
                for (count, until) in let_through.iter().skip(first).enumerate() {
                    let allowed = burst + (until - from) / pace.interval_ns;
                    prop_assert!((count as u64) < allowed, "{count} from {from} until {until}");
                }
            }
        }
    }
}
