//! A small set of fixed size that remembers what was seen last, each member one atomic word.
//!
//! Members are 28 bits of a secret keyed hash. In the largest set, of 16, a stranger passes for a member once in 16
//! million times, and nobody can search for such a stranger.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::moment::{TICK_BITS, TICK_MASK};

/// At most `N` members with the time each was last seen.
#[derive(Debug)]
pub(crate) struct RecentSet<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for RecentSet<N> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

/// A member's time is written again only when it is older than this, so that a busy member costs reads alone.
const REFRESH_TICKS: u64 = 16 * 16;

impl<const N: usize> RecentSet<N> {
    /// Notes that `key` was seen, and says whether it was no member; over `N` members, the one not seen for longest makes
    /// room. Two threads that note two new members at one instant may keep one of them: it is noted at its next sight.
    pub(crate) fn note(&self, key: u64, now: u64) -> bool {
        let tag = tag(key);
        let mut oldest: Option<(&AtomicU64, u64)> = None;
        for slot in &self.0 {
            let word = slot.load(Ordering::Relaxed);
            if word != 0 && word >> TICK_BITS == tag {
                if now > (word & TICK_MASK) + REFRESH_TICKS {
                    slot.store(pack(tag, now), Ordering::Relaxed);
                }
                return false;
            }
            if oldest.is_none_or(|(_, best)| (word & TICK_MASK) < (best & TICK_MASK)) {
                oldest = Some((slot, word));
            }
        }
        if let Some((slot, word)) = oldest {
            // A loser of this race only forgets what it was about to remember.
            let _ = slot.compare_exchange(word, pack(tag, now), Ordering::Relaxed, Ordering::Relaxed);
        }
        true
    }

    /// How many members were seen after `since`.
    pub(crate) fn seen_after(&self, since: u64) -> usize {
        self.0
            .iter()
            .map(|slot| slot.load(Ordering::Relaxed))
            .filter(|&word| word != 0 && (word & TICK_MASK) > since)
            .count()
    }

    /// The members as words that [`Self::of_words`] reads.
    pub(crate) fn words(&self) -> [u64; N] {
        std::array::from_fn(|index| self.0.get(index).map_or(0, |slot| slot.load(Ordering::Relaxed)))
    }

    /// A set with these members. None of them was seen later than `now`.
    pub(crate) fn of_words(words: [u64; N], now: u64) -> Self {
        Self(words.map(|word| {
            let seen = (word & TICK_MASK).min(now);
            AtomicU64::new(if word == 0 { 0 } else { pack(tag(word), seen) })
        }))
    }

    /// Whether one of those that were seen after `since` is as described: its 28 bits.
    pub(crate) fn any_seen_after(&self, since: u64, is: impl Fn(u64) -> bool) -> bool {
        self.0
            .iter()
            .map(|slot| slot.load(Ordering::Relaxed))
            .any(|word| word != 0 && (word & TICK_MASK) > since && is(tag(word)))
    }

    /// How many members but this one were seen after `since`.
    pub(crate) fn others_seen_after(&self, since: u64, key: u64) -> usize {
        let tag = tag(key);
        let words = self.0.iter().map(|slot| slot.load(Ordering::Relaxed));
        words.filter(|&word| word != 0 && (word & TICK_MASK) > since && word >> TICK_BITS != tag).count()
    }

    /// When a member was noted last; `None` of a stranger.
    pub(crate) fn seen(&self, key: u64) -> Option<u64> {
        let tag = tag(key);
        let mut words = self.0.iter().map(|slot| slot.load(Ordering::Relaxed));
        words.find(|&word| word != 0 && word >> TICK_BITS == tag).map(|word| word & TICK_MASK)
    }

    /// When any member was noted last; 0 of an empty set.
    pub(crate) fn latest(&self) -> u64 {
        self.0.iter().map(|slot| slot.load(Ordering::Relaxed) & TICK_MASK).max().unwrap_or(0)
    }

    /// Notes a member that was not noted after `since`; of one that was, the time stays.
    pub(crate) fn note_first(&self, key: u64, since: u64, now: u64) {
        if self.seen(key).is_none_or(|seen| seen <= since) {
            self.note(key, now);
        }
    }

    pub(crate) fn clear(&self) {
        for slot in &self.0 {
            slot.store(0, Ordering::Relaxed);
        }
    }
}

fn tag(key: u64) -> u64 {
    key >> TICK_BITS
}

/// A free slot is 0, so a member noted at the beginning of time counts as seen one tick later.
fn pack(tag: u64, now: u64) -> u64 {
    (tag << TICK_BITS) | (now & TICK_MASK).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u64) -> u64 {
        n << TICK_BITS
    }

    #[test]
    fn the_member_not_seen_for_longest_makes_room() {
        let set = RecentSet::<3>::default();
        assert_eq!(set.seen(key(0)), None);
        for (n, at) in [(0, 1_000), (1, 2_000), (2, 3_000), (0, 4_000), (7, 5_000)] {
            set.note(key(n), at);
        }
        let members: Vec<u64> = (0..10).filter(|&n| set.seen(key(n)).is_some()).collect();
        assert_eq!(members, [0, 2, 7]);
        assert_eq!(set.seen_after(3_000), 2);
        assert_eq!(set.seen_after(5_000), 0);
        set.clear();
        assert_eq!(set.words(), [0; 3]);
    }

    #[test]
    fn a_set_is_read_as_it_was_written_and_nothing_was_seen_in_the_future() {
        let set = RecentSet::<3>::default();
        set.note(key(0), 1_000);
        set.note(key(5), 9_000);
        let read = RecentSet::of_words(set.words(), 5_000);
        let members: Vec<u64> = (0..10).filter(|&n| read.seen(key(n)).is_some()).collect();
        assert_eq!(members, [0, 5]);
        assert_eq!((read.seen_after(999), read.seen_after(1_000), read.seen_after(5_000)), (2, 1, 0));
    }

    #[test]
    fn the_first_time_stays_until_it_is_old() {
        let set = RecentSet::<3>::default();
        set.note_first(key(1), 0, 1_000);
        set.note_first(key(1), 500, 2_000);
        assert_eq!((set.seen(key(1)), set.seen(key(2))), (Some(1_000), None));
        set.note_first(key(1), 1_000, 3_000);
        set.note(key(2), 4_000);
        assert_eq!((set.seen(key(1)), set.latest()), (Some(3_000), 4_000));
        let others = |since, n| set.others_seen_after(since, key(n));
        assert_eq!((others(0, 1), others(0, 3), others(3_000, 1), others(3_000, 2)), (1, 2, 1, 0));
    }

    #[test]
    fn a_member_seen_again_is_one_member() {
        let set = RecentSet::<3>::default();
        for at in 0..1_000 {
            set.note(key(1), at);
        }
        assert_eq!(set.seen_after(0), 1);
    }
}
