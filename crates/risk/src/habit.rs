//! How much somebody does in an hour, and whether this hour is far beyond that: an exponentially weighted mean of the hours in which it
//! did anything, and of how far they were off it.
//!
//! One word of 64 bits, in integers, so that a replay gives the same answer everywhere: the hour, how many hours are known, the count of the
//! hour, and mean and deviation in quarters with a precision of about one in 128.

use std::sync::atomic::{AtomicU64, Ordering};

/// A habit. What two threads count at one instant may be counted once less: that takes nothing from anybody.
#[derive(Debug, Default)]
pub(crate) struct Habit(AtomicU64);

/// More than usual by far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unusual {
    /// What was counted in this hour so far.
    pub(crate) now: u32,
    /// The mean, in quarters.
    pub(crate) mean: u32,
    /// What hours are off it by, as a standard deviation in quarters.
    pub(crate) deviation: u32,
}

impl Unusual {
    /// `900 requests in this hour, 40 on average`
    pub(crate) fn in_words(self, what: &str) -> String {
        format!("{} {what} in this hour, {} on average", self.now, self.mean.div_ceil(4))
    }

    /// More than four deviations above the mean.
    pub(crate) fn is_far(self) -> bool {
        u64::from(self.now) * 4 > u64::from(self.mean) + 4 * u64::from(self.deviation)
    }
}

const HOUR_TICKS: u64 = 3_600 * 16;
/// So many hours must be known before one can be unusual.
pub(crate) const HOURS_MIN: u64 = 12;
const HOURS_MAX: u64 = 15;
const COUNT_MAX: u64 = (1 << 18) - 1;
/// Less than that in an hour is never much.
pub(crate) const COUNT_MIN: u64 = 100;
/// The least that hours are taken to be off their mean by, in quarters: five.
const DEVIATION_MIN: u64 = 20;
/// One hour moves the mean by an eighth.
const ALPHA: i64 = 8;
/// Tries to count while other threads do.
const TRIES: usize = 4;

/// The parts of the word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Parts {
    /// Of 20 bits: until the year 2089.
    hour: u64,
    known: u64,
    count: u64,
    /// In quarters, as is `off`.
    mean: u64,
    /// The mean absolute deviation.
    off: u64,
}

impl Habit {
    /// Counts, and says what was counted in an hour that has ended, where one has.
    pub(crate) fn note(&self, more: u32, now: u64) -> Option<u32> {
        let hour = hour_of(now);
        let mut word = self.0.load(Ordering::Relaxed);
        for _ in 0..TRIES {
            let parts = Parts::of(word);
            let (next, ended) = if parts.hour == hour || word == 0 {
                (Parts { hour, count: (parts.count + u64::from(more)).min(COUNT_MAX), ..parts }, None)
            } else {
                (Parts { hour, count: u64::from(more).min(COUNT_MAX), ..parts.with(parts.count) }, Some(parts.count))
            };
            match self.0.compare_exchange_weak(word, next.word(), Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return ended.and_then(|count| u32::try_from(count).ok()).filter(|count| *count > 0),
                Err(found) => word = found,
            }
        }
        None
    }

    /// Takes an hour of somebody else's into the mean: how a habit of many is kept.
    pub(crate) fn learn(&self, count: u32) {
        let word = self.0.load(Ordering::Relaxed);
        let next = Parts::of(word).with(u64::from(count).min(COUNT_MAX));
        // A loser of this race is not taken in.
        let _ = self.0.compare_exchange(word, next.word(), Ordering::Relaxed, Ordering::Relaxed);
    }

    /// What is far more in this hour than usual; `None` where it is not, or too little is known.
    pub(crate) fn unusual(&self, now: u64) -> Option<Unusual> {
        let parts = Parts::of(self.0.load(Ordering::Relaxed));
        let known = parts.hour == hour_of(now) && parts.known >= HOURS_MIN && parts.count >= COUNT_MIN;
        if !known {
            return None;
        }
        let unusual = parts.compared(parts.count);
        unusual.is_far().then_some(unusual)
    }

    /// Whether so much in an hour is nothing special here; false where too little is known.
    pub(crate) fn is_used_to(&self, count: u32) -> bool {
        let parts = Parts::of(self.0.load(Ordering::Relaxed));
        parts.known >= HOURS_MIN && !parts.compared(u64::from(count)).is_far()
    }

    pub(crate) fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    pub(crate) fn word(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Puts back what was kept. Any word does.
    pub(crate) fn put(&self, word: u64) {
        self.0.store(word, Ordering::Relaxed);
    }

    /// What was kept. Any word does.
    pub(crate) fn of_word(word: u64) -> Self {
        Self(AtomicU64::new(word))
    }
}

/// A kept word with its hour moved by so many ticks.
pub(crate) fn moved(word: u64, by: i64) -> u64 {
    let parts = Parts::of(word);
    if word == 0 {
        return 0;
    }
    let hours = by.div_euclid(3_600 * 16);
    Parts { hour: parts.hour.saturating_add_signed(hours).min((1 << 20) - 1), ..parts }.word()
}

/// Where the hour stands in a word.
const HOUR_SHIFT: u32 = 44;

fn hour_of(now: u64) -> u64 {
    (now / HOUR_TICKS) & ((1 << 20) - 1)
}

impl Parts {
    fn of(word: u64) -> Self {
        Self {
            hour: word >> HOUR_SHIFT,
            known: (word >> 40) & 0xf,
            count: (word >> 22) & COUNT_MAX,
            mean: widen((word >> 11) & 0x7ff),
            off: widen(word & 0x7ff),
        }
    }

    fn word(self) -> u64 {
        (self.hour << HOUR_SHIFT)
            | (self.known << 40)
            | (self.count << 22)
            | (narrow(self.mean) << 11)
            | narrow(self.off)
    }

    /// With one more hour known. One that is far off counts as if it were at the border: what is unusual does not become usual at once.
    fn with(self, count: u64) -> Self {
        let whole = count.saturating_mul(4);
        if self.known == 0 {
            return Self { known: 1, mean: whole, off: whole / 2, ..self };
        }
        let border = self.mean + 4 * u64::from(self.compared(0).deviation);
        let whole = if self.known >= HOURS_MIN { whole.min(border) } else { whole };
        let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let error = signed(whole) - signed(self.mean);
        let mean = signed(self.mean) + error / ALPHA;
        let off = signed(self.off) + (error.abs() - signed(self.off)) / ALPHA;
        let unsigned = |value: i64| u64::try_from(value).unwrap_or(0);
        Self { known: (self.known + 1).min(HOURS_MAX), mean: unsigned(mean), off: unsigned(off), ..self }
    }

    /// A count beside what is usual. Counts that come by chance are off by the root of their mean; and a quarter more than their mean
    /// absolute deviation is the standard deviation of what is spread evenly about its mean.
    fn compared(self, count: u64) -> Unusual {
        let by_chance = 2 * self.mean.isqrt();
        let deviation = (self.off + self.off / 4).max(by_chance).max(DEVIATION_MIN);
        let bits = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        Unusual { now: bits(count), mean: bits(self.mean), deviation: bits(deviation) }
    }
}

/// 11 bits to a number: 4 of an exponent and 7 behind the leading one; below 128 the number itself.
fn widen(bits: u64) -> u64 {
    let (exponent, fraction) = (bits >> 7, bits & 0x7f);
    if exponent == 0 { fraction } else { (128 + fraction) << (exponent - 1) }
}

/// The nearest that 11 bits can say; what is more is the most: about four million.
fn narrow(value: u64) -> u64 {
    if value < 128 {
        return value;
    }
    let exponent = u64::from(value.ilog2()) - 6;
    let shift = exponent - 1;
    let rounded = if shift == 0 { value } else { (value + (1 << (shift - 1))) >> shift };
    let (exponent, rounded) = if rounded == 256 { (exponent + 1, 128) } else { (exponent, rounded) };
    if exponent > 15 { 0x7ff } else { (exponent << 7) | (rounded & 0x7f) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 28_000_000_000 / HOUR_TICKS * HOUR_TICKS;

    fn hour(n: u64) -> u64 {
        NOW + n * HOUR_TICKS
    }

    /// With so many requests in each of so many hours.
    fn used_to(hours: u64, each: u32) -> Habit {
        let habit = Habit::default();
        for n in 0..hours {
            (0..each).for_each(|_| _ = habit.note(1, hour(n)));
        }
        habit
    }

    #[test]
    fn far_more_than_in_any_hour_before_is_unusual() {
        let check = |hours: u64, each: u32, now: u32, expected: bool| {
            let habit = used_to(hours, each);
            habit.note(now, hour(hours));
            assert_eq!(habit.unusual(hour(hours)).is_some(), expected, "{hours} hours of {each}, then {now}");
        };
        check(11, 40, 10_000, false);
        check(13, 40, 10_000, true);
        check(40, 40, 60, false);
        check(40, 40, 99, false);
        check(40, 40, 100, true);
        check(40, 0, 10_000, false);
        check(40, 1_000, 1_100, false);
        check(40, 1_000, 2_000, true);
        check(40, 1, 99, false);
    }

    #[test]
    fn an_hour_is_told_when_the_next_begins_and_ends_with_it() {
        let habit = Habit::default();
        assert_eq!((habit.note(3, hour(1)), habit.note(4, hour(1))), (None, None));
        assert_eq!((habit.note(1, hour(5)), habit.note(1, hour(6))), (Some(7), Some(1)));
        let habit = used_to(40, 40);
        habit.note(5_000, hour(40));
        assert!(habit.unusual(hour(40)).is_some_and(|unusual| unusual.now == 5_000));
        assert_eq!(habit.unusual(hour(41)), None);
    }

    #[test]
    fn one_hour_of_much_does_not_make_much_usual() {
        let habit = used_to(40, 40);
        habit.note(100_000, hour(40));
        habit.note(1_000, hour(41));
        assert!(habit.unusual(hour(41)).is_some());
        // Who does it again and again is used to it.
        (41..140).for_each(|n| _ = habit.note(1_000, hour(n)));
        assert_eq!(habit.unusual(hour(139)), None);
    }

    #[test]
    fn a_habit_of_many_knows_what_one_of_them_does() {
        let peers = Habit::default();
        assert!(!peers.is_used_to(1));
        (0..20).for_each(|_| peers.learn(500));
        assert!(peers.is_used_to(500) && !peers.is_used_to(50_000));
    }

    #[test]
    fn numbers_are_kept_to_one_in_a_hundred() {
        for value in (0..3_000_u64).chain([4_095, 65_535, 1_000_000, 4_000_000]) {
            let kept = widen(narrow(value));
            assert!(kept.abs_diff(value) * 200 <= value, "{value}: {kept}");
        }
        assert_eq!(narrow(u64::MAX >> 1), 0x7ff);
    }

    proptest! {
        #[test]
        fn any_word_can_be_counted_on(word in any::<u64>(), more in any::<u32>(), now in 0..1_u64 << 36, by in any::<i64>()) {
            let habit = Habit::of_word(word);
            habit.note(more, now);
            habit.learn(more);
            let unusual = habit.unusual(now);
            prop_assert!(unusual.is_none_or(|unusual| unusual.is_far()));
            habit.is_used_to(more);
            moved(word, by);
        }
    }
}
