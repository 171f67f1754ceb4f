//! Time as the counters keep it: sixteenths of a second since 1970, small enough to share a word with what it dates.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Bits that a tick takes in a packed word. They last until the year 2106, after which time stands still here.
pub(crate) const TICK_BITS: u32 = 36;
pub(crate) const TICK_MASK: u64 = (1 << TICK_BITS) - 1;
const MICROS_PER_TICK: i64 = 62_500;
pub(crate) const TICKS_PER_SECOND: u64 = 16;

/// A time as counters and bans see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Microseconds since 1970, rounded down.
    pub(crate) micros: i64,
    /// Sixteenths of a second since 1970.
    pub(crate) ticks: u64,
}

impl From<Timestamp> for Moment {
    fn from(now: Timestamp) -> Self {
        // jiff rounds towards zero; before 1970 one microsecond is nothing that a ban can be measured by.
        let micros = now.as_microsecond();
        let ticks = u64::try_from(micros / MICROS_PER_TICK).unwrap_or(0).min(TICK_MASK);
        Self { micros, ticks }
    }
}

impl Moment {
    /// The moment as a time, in microseconds.
    pub(crate) fn time(self) -> Timestamp {
        Timestamp::from_microsecond(self.micros).unwrap_or(Timestamp::MAX)
    }
}

/// The time of a tick.
pub(crate) fn time_of(ticks: u64) -> Timestamp {
    let micros = i64::try_from(ticks).unwrap_or(i64::MAX).saturating_mul(MICROS_PER_TICK);
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MAX)
}

/// A duration in ticks, rounded down.
pub(crate) fn ticks(duration: Duration) -> u64 {
    let whole = duration.as_secs().saturating_mul(TICKS_PER_SECOND);
    whole.saturating_add(u64::from(duration.subsec_micros()) / 62_500).min(TICK_MASK)
}

/// A distance in ticks, either way.
pub(crate) fn signed_ticks(distance: SignedDuration) -> i64 {
    i64::try_from(distance.as_micros() / i128::from(MICROS_PER_TICK)).unwrap_or(0)
}

/// A tick in whole seconds since 1970, for what has no room for more. 36 bits of ticks are 32 bits of seconds.
pub(crate) fn seconds(ticks: u64) -> u32 {
    u32::try_from(ticks / TICKS_PER_SECOND).unwrap_or(u32::MAX)
}

/// The lookback of a `window` in ticks that ends now, in whole seconds.
pub(crate) fn seconds_before(now: u64, window: u64) -> u32 {
    seconds(before(now, window))
}

/// The lookback of a `window` that ends now: whatever is dated later than this is inside it.
pub(crate) fn before(now: u64, window: u64) -> u64 {
    now.saturating_sub(window)
}

/// A duration as an operator writes it: `2m`, `1h30m`, `45s`.
pub(crate) fn in_words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds == 0 {
        return format!("{}ms", duration.subsec_millis());
    }
    let parts = [(seconds / 86_400, 'd'), (seconds / 3_600 % 24, 'h'), (seconds / 60 % 60, 'm'), (seconds % 60, 's')];
    parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count}{unit}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_an_operator_writes_them() {
        let check = |millis: u64, expected: &str| assert_eq!(in_words(Duration::from_millis(millis)), expected);
        check(0, "0ms");
        check(250, "250ms");
        check(120_000, "2m");
        check(5_400_000, "1h30m");
        check(90_061_000, "1d1h1m1s");
    }

    #[test]
    fn time_outside_the_range_saturates() {
        assert_eq!(Moment::from(Timestamp::MIN).ticks, 0);
        assert_eq!(Moment::from(Timestamp::MAX).ticks, TICK_MASK);
        assert_eq!(Moment::from(Timestamp::UNIX_EPOCH).ticks, 0);
        assert_eq!(ticks(Duration::MAX), TICK_MASK);
        assert_eq!(ticks(Duration::from_millis(2_500)), 40);
    }
}
