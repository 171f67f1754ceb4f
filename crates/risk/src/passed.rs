//! The scores of good traffic, counted: what thresholds are worked out from.
//!
//! What counts is a visit: of each user, on resources of each sensitivity, one request in ten minutes, and one in twelve hours whose score is raised:
//! whoever is asked and answers is not asked again for so long. So a busy script weighs no more than a person, and an account that scores high all
//! day, while the risk is only watched, weighs as much as one prompt in the morning and one in the evening. Only what the gateway learns from is
//! counted: what was permitted at a low risk, or after a doubt that was answered.
//!
//! A request costs one look at a cache line, and no lock. Bounded: 221 counters for each sensitivity, 32,768 visits and 8,192 raised ones; where
//! more users come within these times, some are counted more often.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::commons::mix;
use crate::moment::before;
use crate::recent::RecentSet;

/// Scores are told apart by so much, in milli-nats.
pub(crate) const STEP_MNATS: i32 = 50;
/// From 0, with all that is below, to 11 nats, the most that a score can be.
pub(crate) const BUCKETS: usize = 221;

/// How often each score was counted: of low, normal and high sensitivity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Counts(pub(crate) [[u32; BUCKETS]; 3]);

#[derive(Debug)]
pub(crate) struct Passed {
    counts: [Box<[AtomicU32]>; 3],
    visits: Box<[RecentSet<8>]>,
    raised: Box<[RecentSet<8>]>,
    changed: AtomicBool,
    /// When they were last handed out to be kept, in ticks.
    kept: AtomicU64,
}

const VISIT_SETS: usize = 4_096;
const RAISED_SETS: usize = 1_024;
/// A visit: ten minutes.
const VISIT_TICKS: u64 = 10 * 60 * 16;
/// As long as a passed step-up counts: twelve hours.
const RAISED_TICKS: u64 = 12 * 3_600 * 16;
/// They are kept as often as this: five minutes.
const KEEP_TICKS: u64 = 5 * 60 * 16;

impl Passed {
    pub(crate) fn new() -> Self {
        let row = || (0..BUCKETS).map(|_| AtomicU32::new(0)).collect();
        Self {
            counts: [row(), row(), row()],
            visits: (0..VISIT_SETS).map(|_| RecentSet::default()).collect(),
            raised: (0..RAISED_SETS).map(|_| RecentSet::default()).collect(),
            changed: AtomicBool::new(false),
            kept: AtomicU64::new(0),
        }
    }

    /// A principal was let in. `sensitivity`: 0 low, 1 normal, 2 high.
    pub(crate) fn note(&self, principal: u64, sensitivity: usize, mnats: i32, now: u64) {
        let bucket = bucket(mnats);
        let (sets, lasts) = if bucket > 0 { (&self.raised, RAISED_TICKS) } else { (&self.visits, VISIT_TICKS) };
        let key = mix(principal ^ (sensitivity as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let Some(visits) = sets.get(usize::try_from(key & 0xffff_ffff).unwrap_or(0) % sets.len()) else { return };
        if visits.seen(key).is_some_and(|seen| seen > before(now, lasts)) {
            return;
        }
        visits.note(key, now);
        if let Some(count) = self.counts.get(sensitivity).and_then(|row| row.get(bucket)) {
            count.fetch_add(1, Ordering::Relaxed);
            self.changed.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        let count = |row: usize, bucket: usize| {
            self.counts.get(row).and_then(|row| row.get(bucket)).map_or(0, |count| count.load(Ordering::Relaxed))
        };
        Counts(std::array::from_fn(|row| std::array::from_fn(|bucket| count(row, bucket))))
    }

    /// Halves all: what comes later counts for more. What is counted meanwhile may be lost.
    pub(crate) fn fade(&self) {
        for count in self.counts.iter().flat_map(|row| row.iter()) {
            count.store(count.load(Ordering::Relaxed) / 2, Ordering::Relaxed);
        }
        self.changed.store(true, Ordering::Relaxed);
    }

    /// What is kept, where it has changed and was last kept a while ago.
    pub(crate) fn take_changed(&self, now: u64) -> Option<Vec<u8>> {
        if self.kept.load(Ordering::Relaxed) > before(now, KEEP_TICKS) || !self.changed.swap(false, Ordering::Relaxed) {
            return None;
        }
        self.kept.store(now, Ordering::Relaxed);
        Some(self.counts().encode())
    }

    /// What was handed out may not have been kept. Where nothing was ever counted there is nothing to keep.
    pub(crate) fn mark(&self) {
        if self.counts().totals() != [0; 3] {
            self.changed.store(true, Ordering::Relaxed);
            self.hurry();
        }
    }

    /// What has changed is handed out next, whenever that was last.
    pub(crate) fn hurry(&self) {
        self.kept.store(0, Ordering::Relaxed);
    }

    /// Puts back what was kept. Says whether it could be read.
    pub(crate) fn restore(&self, kept: &[u8]) -> bool {
        let Some(Counts(counts)) = Counts::decode(kept) else { return false };
        for (row, kept) in self.counts.iter().zip(counts) {
            row.iter().zip(kept).for_each(|(count, kept)| count.store(kept, Ordering::Relaxed));
        }
        true
    }
}

/// The bucket of a score. All below the first step are in the first: they ask nobody.
pub(crate) fn bucket(mnats: i32) -> usize {
    usize::try_from(mnats / STEP_MNATS).unwrap_or(0).min(BUCKETS - 1)
}

impl Counts {
    /// How many of each sensitivity.
    pub(crate) fn totals(&self) -> [u64; 3] {
        self.0.map(|row| row.iter().map(|count| u64::from(*count)).sum())
    }

    /// Bytes that are the same for the same counts.
    pub(crate) fn encode(&self) -> Vec<u8> {
        self.0.iter().flatten().flat_map(|count| count.to_le_bytes()).collect()
    }

    fn decode(kept: &[u8]) -> Option<Self> {
        let (words, rest) = kept.as_chunks::<4>();
        if !rest.is_empty() || words.len() != 3 * BUCKETS {
            return None;
        }
        let word = |index: usize| words.get(index).map_or(0, |word| u32::from_le_bytes(*word));
        Some(Self(std::array::from_fn(|row| std::array::from_fn(|bucket| word(row * BUCKETS + bucket)))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 28_000_000_000;

    fn principal(n: u64) -> u64 {
        mix(n + 1)
    }

    #[test]
    fn a_user_counts_once_in_ten_minutes_and_once_in_twelve_hours_with_a_raised_score() {
        let passed = Passed::new();
        for n in 0..100 {
            passed.note(principal(1), 1, 0, NOW + n);
            passed.note(principal(1), 1, 1_230, NOW + n);
            passed.note(principal(1), 2, -500, NOW + n);
        }
        let Counts([low, normal, high]) = passed.counts();
        assert_eq!((normal[0], normal[24], high[0]), (1, 1, 1));
        assert_eq!(low.iter().sum::<u32>(), 0);
        passed.note(principal(1), 1, 0, NOW + VISIT_TICKS - 1);
        assert_eq!(passed.counts().totals(), [0, 2, 1]);
        passed.note(principal(1), 1, 0, NOW + VISIT_TICKS);
        passed.note(principal(2), 1, 0, NOW);
        assert_eq!(passed.counts().totals(), [0, 4, 1]);
        passed.note(principal(1), 1, 4_000, NOW + RAISED_TICKS - 1);
        assert_eq!(passed.counts().totals(), [0, 4, 1], "raised once, whatever it comes to");
        passed.note(principal(1), 1, 4_000, NOW + RAISED_TICKS);
        assert_eq!(passed.counts().totals(), [0, 5, 1]);
    }

    /// While the risk is only watched, what scores high is let in and counted: of one account among few, too little to matter.
    #[test]
    fn one_account_that_scores_high_all_day_is_two_visits_of_it() {
        let passed = Passed::new();
        for minute in 0..24 * 60 {
            let now = NOW + minute * 60 * 16;
            passed.note(principal(0), 1, 4_000 + i32::try_from(minute).unwrap(), now);
            if (480..960).contains(&minute) {
                (1..=20).for_each(|n| passed.note(principal(n), 1, 0, now));
            }
        }
        let Counts([_, normal, _]) = passed.counts();
        let raised: u32 = normal[1..].iter().sum();
        assert_eq!((raised, normal[0]), (2, 20 * 48));
    }

    #[test]
    fn scores_are_told_apart_by_fiftieths() {
        let check = |mnats: i32, expected: usize| assert_eq!(bucket(mnats), expected, "{mnats}");
        check(i32::MIN, 0);
        check(0, 0);
        check(49, 0);
        check(50, 1);
        check(1_999, 39);
        check(2_000, 40);
        check(11_000, 220);
        check(i32::MAX, 220);
    }

    #[test]
    fn counts_are_kept_now_and_then_and_read_again() {
        let passed = Passed::new();
        assert_eq!(passed.take_changed(NOW), None);
        (0..1_000).for_each(|n| passed.note(principal(n), 0, 100, NOW));
        let kept = passed.take_changed(NOW).unwrap();
        assert_eq!(kept.len(), 3 * 221 * 4);
        passed.note(principal(9_999), 0, 100, NOW);
        assert_eq!(passed.take_changed(NOW + KEEP_TICKS - 1), None);
        assert!(passed.take_changed(NOW + KEEP_TICKS).is_some());
        let other = Passed::new();
        assert!(other.restore(&kept) && !other.restore(&kept[1..]) && !other.restore(&[]));
        assert_eq!(other.counts().totals(), [1_000, 0, 0]);
        other.fade();
        assert_eq!(other.counts().totals(), [500, 0, 0]);
    }

    #[test]
    fn many_users_are_counted_about_once_each() {
        let passed = Passed::new();
        for round in 0..10 {
            (0..8_000).for_each(|n| passed.note(principal(n), 1, 0, NOW + round));
        }
        let [_, normal, _] = passed.counts().totals();
        assert!((8_000..8_200).contains(&normal), "{normal}");
    }
}
