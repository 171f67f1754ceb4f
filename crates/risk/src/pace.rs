//! How often something happens, in one word: the generic cell rate algorithm (ITU-T I.371), whose burst is all that fits into the window.

use std::sync::atomic::{AtomicI64, Ordering};

/// So many times in a while.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    /// In microseconds.
    window: i64,
    /// How much of the window one time takes.
    interval: i64,
}

impl Limit {
    /// `times` in `window` microseconds.
    pub(crate) const fn new(times: u32, window: i64) -> Self {
        // A cast that widens; `From` is not const.
        let times = times as i64;
        Self { window, interval: window / if times > 0 { times } else { 1 } }
    }

    /// Nothing is noted further ahead than two windows, and threads differ by little: what is, comes from before a clock was set back.
    fn is_of_another_time(self, full: i64, now: i64) -> bool {
        full.saturating_sub(now) > self.window.saturating_mul(4)
    }
}

/// When all that happened would have happened, had it come evenly, in microseconds since 1970: the theoretical arrival time.
#[derive(Debug, Default)]
pub(crate) struct Pace(AtomicI64);

impl Pace {
    /// Notes that it happened once more, at this time in microseconds. Says whether that is more often than the limit.
    pub(crate) fn note(&self, limit: Limit, now: i64) -> bool {
        let most = now.saturating_add(limit.window.saturating_mul(2));
        let mut full = self.0.load(Ordering::Relaxed);
        loop {
            let from = if limit.is_of_another_time(full, now) { now } else { full.max(now) };
            let after = from.saturating_add(limit.interval).min(most);
            match self.0.compare_exchange_weak(full, after, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return after.saturating_sub(now) > limit.window,
                Err(current) => full = current,
            }
        }
    }

    /// Whether it may happen once more.
    pub(crate) fn has_room(&self, limit: Limit, now: i64) -> bool {
        let full = self.0.load(Ordering::Relaxed);
        limit.is_of_another_time(full, now) || full.saturating_sub(now) <= limit.window.saturating_sub(limit.interval)
    }

    /// Forgets what happened.
    pub(crate) fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;
    const NOW: i64 = 1_700_000_000 * SECOND;

    #[test]
    fn as_much_as_fits_has_room_at_once_and_then_as_much_as_ends() {
        let (pace, limit) = (Pace::default(), Limit::new(4, 8 * SECOND));
        for n in 0..4 {
            assert!(pace.has_room(limit, NOW), "{n}");
            assert!(!pace.note(limit, NOW), "{n}");
        }
        assert!(!pace.has_room(limit, NOW) && pace.note(limit, NOW), "the fifth");
        // One was too many, so the next has room after two intervals.
        assert!(!pace.has_room(limit, NOW + 4 * SECOND - 1));
        assert!(pace.has_room(limit, NOW + 4 * SECOND));
        pace.clear();
        assert!(pace.has_room(limit, NOW));
    }

    #[test]
    fn a_flood_is_over_soon_after_its_end_however_long_it_was() {
        let (pace, limit) = (Pace::default(), Limit::new(4, 8 * SECOND));
        let exceeded = (0..10_000).filter(|_| pace.note(limit, NOW)).count();
        assert_eq!(exceeded, 10_000 - 4, "it does not begin anew by going on");
        assert!(!pace.has_room(limit, NOW + 9 * SECOND));
        assert!(pace.has_room(limit, NOW + 16 * SECOND));
    }

    #[test]
    fn a_clock_that_steps_back_makes_nobody_a_flood() {
        let (pace, limit) = (Pace::default(), Limit::new(4, 8 * SECOND));
        pace.note(limit, NOW);
        let back = NOW - 3_600 * SECOND;
        assert!(pace.has_room(limit, back) && !pace.note(limit, back));
    }
}
