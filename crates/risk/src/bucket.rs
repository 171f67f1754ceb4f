//! Counters that forget: a leaky bucket with a half-life, and the share of refused requests. Each is one atomic word.
//!
//! They only count. What a level means is decided where it is compared.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::moment::{TICK_BITS, TICK_MASK};

/// A level that halves in a given time: 28 bits of level with 14 behind the point, 36 bits of time.
#[derive(Debug, Default)]
pub(crate) struct Bucket(AtomicU64);

const LEVEL_UNIT: f64 = 16_384.0;
const LEVEL_MAX: f64 = ((1_u64 << (64 - TICK_BITS)) - 1) as f64;

impl Bucket {
    /// Adds `amount` and returns the new level. Levels saturate at 16,383.
    pub(crate) fn pour(&self, amount: f64, half: u64, now: u64) -> f64 {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let (level, since) = (decayed(word, half, now) + amount, now.max(word & TICK_MASK));
            let next = pack(level, since);
            match self.0.compare_exchange_weak(word, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return level,
                Err(current) => word = current,
            }
        }
    }

    /// The level now.
    pub(crate) fn level(&self, half: u64, now: u64) -> f64 {
        decayed(self.0.load(Ordering::Relaxed), half, now)
    }

    /// The level as it was when it last changed, and when that was, in ticks.
    pub(crate) fn parts(&self) -> (f64, u64) {
        let word = self.0.load(Ordering::Relaxed);
        ((word >> TICK_BITS) as f64 / LEVEL_UNIT, word & TICK_MASK)
    }

    /// A bucket with this level at that time.
    pub(crate) fn of_parts(level: f64, since: u64) -> Self {
        Self(AtomicU64::new(pack(level, since.min(TICK_MASK))))
    }

    pub(crate) fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// level · 2^(−elapsed / half). A clock that steps back does not raise a level.
fn decayed(word: u64, half: u64, now: u64) -> f64 {
    let level = (word >> TICK_BITS) as f64 / LEVEL_UNIT;
    let elapsed = now.saturating_sub(word & TICK_MASK);
    if level <= 0.0 || elapsed == 0 {
        return level;
    }
    level * (-(elapsed as f64) / (half.max(1) as f64)).exp2()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 28 bits just before")]
fn pack(level: f64, since: u64) -> u64 {
    let level = (level * LEVEL_UNIT).round().clamp(0.0, LEVEL_MAX) as u64;
    (level << TICK_BITS) | (since & TICK_MASK)
}

/// How many requests there were, and how many of them were refused. Both halve at every full hour, and when they grow
/// over 4 million, so the share stays while old requests fade: 22 bits total, 22 bits refused, 20 bits hour.
#[derive(Debug, Default)]
pub(crate) struct Share(AtomicU64);

const COUNT_BITS: u32 = 22;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
const HOUR_BITS: u32 = 20;
const HOUR_MASK: u64 = (1 << HOUR_BITS) - 1;
const TICKS_PER_HOUR: u64 = 3_600 * 16;

/// The two counts of a [`Share`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) total: u64,
    pub(crate) refused: u64,
}

impl Share {
    /// Counts one request and returns the counts, this one included.
    pub(crate) fn count(&self, refused: bool, now: u64) -> Counts {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let mut counts = faded(word, now);
            if counts.total >= COUNT_MASK {
                counts = Counts { total: counts.total / 2, refused: counts.refused / 2 };
            }
            counts.total += 1;
            counts.refused += u64::from(refused);
            let next = (counts.total << (COUNT_BITS + HOUR_BITS)) | (counts.refused << HOUR_BITS) | hour(now);
            match self.0.compare_exchange_weak(word, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return counts,
                Err(current) => word = current,
            }
        }
    }

    pub(crate) fn counts(&self, now: u64) -> Counts {
        faded(self.0.load(Ordering::Relaxed), now)
    }

    pub(crate) fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

fn hour(now: u64) -> u64 {
    (now / TICKS_PER_HOUR) & HOUR_MASK
}

fn faded(word: u64, now: u64) -> Counts {
    let hours = hour(now).wrapping_sub(word & HOUR_MASK) & HOUR_MASK;
    // A clock that stepped back shows as almost all of the range.
    let shift = if hours > HOUR_MASK / 2 { 0 } else { u32::try_from(hours).unwrap_or(u32::MAX).min(COUNT_BITS) };
    Counts { total: (word >> (COUNT_BITS + HOUR_BITS)) >> shift, refused: ((word >> HOUR_BITS) & COUNT_MASK) >> shift }
}

impl Counts {
    /// The lower bound of the Wilson score interval for the refused share (Wilson 1927), one-sided 95 %: z = 1.64.
    /// A few refusals among few requests say little, and so give little.
    pub(crate) fn refused_at_least(self) -> f64 {
        const Z: f64 = 1.64;
        if self.total == 0 {
            return 0.0;
        }
        let n = self.total as f64;
        let p = self.refused.min(self.total) as f64 / n;
        let centre = p + Z * Z / (2.0 * n);
        let spread = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
        ((centre - spread) / (1.0 + Z * Z / n)).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 28_000_000_000;

    #[test]
    fn a_bucket_halves_in_its_half_life() {
        let bucket = Bucket::default();
        bucket.pour(4.0, 160, NOW);
        let check = |later: u64, expected: f64| {
            let level = bucket.level(160, NOW + later);
            assert!((level - expected).abs() < 0.001, "{later}: {level}");
        };
        check(0, 4.0);
        check(160, 2.0);
        check(320, 1.0);
        check(1 << 30, 0.0);
        // The clock stepped back: nothing is added.
        assert!(bucket.level(160, NOW - 1_000) <= 4.0);
        assert!((bucket.pour(1.0, 160, NOW - 1_000) - 5.0).abs() < 0.001);
        assert!((bucket.level(160, NOW) - 5.0).abs() < 0.001);
    }

    #[test]
    fn a_bucket_saturates_and_survives_a_half_life_of_zero() {
        let bucket = Bucket::default();
        bucket.pour(1e12, 160, NOW);
        assert!((16_383.0..16_384.0).contains(&bucket.level(160, NOW)));
        assert!(bucket.level(0, NOW + 100) < 0.001);
    }

    #[test]
    fn a_share_keeps_its_ratio_while_it_fades() {
        let share = Share::default();
        for request in 0..40 {
            share.count(request % 4 == 0, NOW);
        }
        assert_eq!(share.counts(NOW), Counts { total: 40, refused: 10 });
        assert_eq!(share.counts(NOW + TICKS_PER_HOUR), Counts { total: 20, refused: 5 });
        assert_eq!(share.counts(NOW + 100 * TICKS_PER_HOUR), Counts { total: 0, refused: 0 });
        assert_eq!(share.counts(NOW - 2 * TICKS_PER_HOUR), Counts { total: 40, refused: 10 });
    }

    #[test]
    fn a_full_share_halves_instead_of_overflowing() {
        let full = (COUNT_MASK << (COUNT_BITS + HOUR_BITS)) | ((COUNT_MASK / 2) << HOUR_BITS) | hour(NOW);
        let share = Share(AtomicU64::new(full));
        let counts = share.count(true, NOW);
        assert_eq!(counts.total, COUNT_MASK / 2 + 1);
        assert!((0.24..0.26).contains(&(counts.refused as f64 / counts.total as f64 / 2.0)), "{counts:?}");
    }

    #[test]
    fn the_wilson_bound_is_that_of_the_formula() {
        let check = |refused: u64, total: u64, expected: f64| {
            let bound = Counts { total, refused }.refused_at_least();
            assert!((bound - expected).abs() < 0.001, "{refused}/{total}: {bound}");
        };
        check(0, 0, 0.0);
        check(0, 10, 0.0);
        // With all refused it is n / (n + z²).
        check(4, 4, 4.0 / (4.0 + 1.64 * 1.64));
        check(5, 10, 0.2695);
        check(50, 100, 0.4191);
    }
}
