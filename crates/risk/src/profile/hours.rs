//! At which hours of its week a principal comes: 28 blocks of six hours, in UTC.

use std::sync::atomic::{AtomicU32, Ordering};

/// Visits in each block, up to 255; the four of a day in one word.
#[derive(Debug, Default)]
pub(super) struct Hours([AtomicU32; 7]);

const TICKS_PER_BLOCK: u64 = 6 * 3_600 * 16;
/// With fewer visits than this nothing is unusual.
const VISITS_MIN: u32 = 10;

impl Hours {
    pub(super) fn note(&self, now: u64) {
        let (day, shift) = block(now);
        if let Some(word) = self.0.get(day) {
            let counted = |word: u32| (((word >> shift) & 0xff) < 0xff).then(|| word + (1 << shift));
            let _ = word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, counted);
        }
    }

    /// Whether the principal came at this hour before; `None` with too few visits to say.
    pub(super) fn is_usual(&self, now: u64) -> Option<bool> {
        let (day, shift) = block(now);
        let here = self.0.get(day).map_or(0, |word| (word.load(Ordering::Relaxed) >> shift) & 0xff);
        if here > 0 {
            return Some(true);
        }
        (self.count(now).1 >= VISITS_MIN).then_some(false)
    }

    /// Visits in the block of now, and in all.
    pub(super) fn count(&self, now: u64) -> (u32, u32) {
        let (day, shift) = block(now);
        let here = self.0.get(day).map_or(0, |word| (word.load(Ordering::Relaxed) >> shift) & 0xff);
        (here, self.all().iter().map(|visits| u32::from(*visits)).sum())
    }

    /// Monday 00:00 to 06:00 first.
    pub(super) fn all(&self) -> [u8; 28] {
        let mut all = [0; 28];
        for (word, day) in self.0.iter().zip(all.chunks_mut(4)) {
            day.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
        }
        all
    }

    pub(super) fn halve(&self, times: u32) {
        for word in &self.0 {
            let halved =
                |word: u32| Some(u32::from_le_bytes(word.to_le_bytes().map(|n| n.checked_shr(times).unwrap_or(0))));
            let _ = word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, halved);
        }
    }

    pub(super) fn clear(&self) {
        self.0.iter().for_each(|word| word.store(0, Ordering::Relaxed));
    }

    /// Two days to a word, for keeping.
    pub(super) fn words(&self) -> [u64; 4] {
        let day = |n: usize| u64::from(self.0.get(n).map_or(0, |word| word.load(Ordering::Relaxed)));
        std::array::from_fn(|n| day(2 * n) | (day(2 * n + 1) << 32))
    }

    pub(super) fn of_words(words: [u64; 4]) -> Self {
        let day = |n: usize| words.get(n / 2).map_or(0, |word| (word >> (32 * (n % 2))) & 0xffff_ffff);
        Self(std::array::from_fn(|n| AtomicU32::new(u32::try_from(day(n)).unwrap_or(0))))
    }
}

/// The day of the week, and where the block stands in its word. The first of January 1970 was a Thursday.
fn block(now: u64) -> (usize, u32) {
    let block = now / TICKS_PER_BLOCK + 3 * 4;
    (usize::try_from(block / 4 % 7).unwrap_or(0), u32::try_from(block % 4 * 8).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moment::Moment;

    fn ticks(time: &str) -> u64 {
        Moment::from(time.parse::<jiff::Timestamp>().unwrap()).ticks
    }

    #[test]
    fn each_block_of_six_hours_is_counted_by_itself() {
        let hours = Hours::default();
        let monday = ticks("2026-11-23T05:59:59Z");
        for _ in 0..9 {
            hours.note(monday);
        }
        assert_eq!((hours.is_usual(monday), hours.is_usual(monday + 16)), (Some(true), None));
        hours.note(ticks("2026-11-29T18:00:00Z"));
        assert_eq!(hours.is_usual(monday + 16), Some(false));
        let all = hours.all();
        assert_eq!((all[0], all[27], all.iter().map(|n| u32::from(*n)).sum::<u32>()), (9, 1, 10));
        assert_eq!(hours.is_usual(monday + 7 * 24 * 3_600 * 16), Some(true));
        assert_eq!(Hours::of_words(hours.words()).all(), all);
        hours.halve(1);
        assert_eq!((hours.all()[0], hours.all()[27]), (4, 0));
    }

    #[test]
    fn counts_stop_at_their_bound() {
        let hours = Hours::default();
        for _ in 0..1_000 {
            hours.note(0);
        }
        assert_eq!(hours.count(0), (255, 255));
    }
}
