//! How counts fade: by half in 30 days, without anybody touching them.
//!
//! Counts are kept on the scale of an epoch day. What is counted later counts for more, by 2 to the power of the days since in
//! 30; what is read is divided by that. Each 30 days the epoch moves, and everything kept is halved, exactly. So nothing is rounded
//! away day by day, and a profile that nobody touches costs nothing.

/// Days in which counts halve.
pub(crate) const HALF_DAYS: u32 = 30;
/// What one sight counts in the unit that counts are kept in.
pub(crate) const ONCE: u32 = 16;

const TICKS_PER_DAY: u64 = 16 * 86_400;

/// The day of a time in ticks, from 1970.
pub(crate) fn day(ticks: u64) -> u32 {
    u32::try_from(ticks / TICKS_PER_DAY).unwrap_or(u32::MAX)
}

/// The distance of a day from the epoch of counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decay {
    /// How often everything is to be halved.
    pub(crate) halvings: u32,
    days: usize,
}

impl Decay {
    /// A day before the epoch counts as the epoch: clocks step back.
    pub(crate) fn between(epoch: u32, today: u32) -> Self {
        let days = today.saturating_sub(epoch);
        Self { halvings: days / HALF_DAYS, days: usize::try_from(days % HALF_DAYS).unwrap_or(0) }
    }

    /// What a kept count is worth today.
    pub(crate) fn read(self, count: u32) -> u32 {
        let factor = FADED_Q16.get(self.days).copied().unwrap_or(1 << 16);
        let faded = (u64::from(count) * factor + (1 << 15)) >> 16;
        u32::try_from(faded.checked_shr(self.halvings).unwrap_or(0)).unwrap_or(u32::MAX)
    }

    /// What one sight of today is kept as, after the halvings.
    pub(crate) fn once(self) -> u32 {
        GROWN.get(self.days).copied().unwrap_or(ONCE)
    }
}

/// round(65,536 · 2^(−d/30))
const FADED_Q16: [u64; 30] = [
    65_536, 64_039, 62_576, 61_147, 59_751, 58_386, 57_052, 55_749, 54_476, 53_232, 52_016, 50_828, 49_667, 48_533,
    47_424, 46_341, 45_283, 44_248, 43_238, 42_250, 41_285, 40_342, 39_421, 38_520, 37_641, 36_781, 35_941, 35_120,
    34_318, 33_534,
];

/// round(16 · 2^(d/30))
const GROWN: [u32; 30] = [
    16, 16, 17, 17, 18, 18, 18, 19, 19, 20, 20, 21, 21, 22, 22, 23, 23, 24, 24, 25, 25, 26, 27, 27, 28, 29, 29, 30, 31,
    31,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_the_formula() {
        for (days, (faded, grown)) in (0..).zip(FADED_Q16.iter().zip(GROWN)) {
            let power = (f64::from(days) / 30.0).exp2();
            assert!((*faded as f64 - 65_536.0 / power).abs() <= 0.5, "{days}");
            assert!((f64::from(grown) - 16.0 * power).abs() <= 0.5, "{days}");
        }
    }

    #[test]
    fn counts_fade_by_half_in_thirty_days() {
        let check =
            |days: u32, expected: u32| assert_eq!(Decay::between(100, 100 + days).read(1_600), expected, "{days}");
        check(0, 1_600);
        check(15, 1_131);
        check(30, 800);
        check(60, 400);
        check(300, 1);
        check(400, 0);
        check(u32::MAX - 100, 0);
        assert_eq!(Decay::between(100, 99).read(1_600), 1_600);
    }

    #[test]
    fn what_is_counted_later_is_not_faded_yet() {
        for days in 0..30 {
            let decay = Decay::between(100, 100 + days);
            assert!(decay.read(decay.once() * 100).abs_diff(1_600) <= 50, "{days}");
        }
    }
}
