//! A small set of fixed size that remembers how often each member was seen. Each member is one atomic word. When it is full, the
//! member with the lowest count makes room.
//!
//! Counts are sixteenths, on the scale of the profile's epoch (see [`Decay`](crate::decay::Decay)).

use std::sync::atomic::{AtomicU64, Ordering};

/// At most `N` members. A member is 44 bits that are not all 0.
#[derive(Debug)]
pub(crate) struct CountedSet<const N: usize>([AtomicU64; N]);

/// Bits of a count. The member's stand above.
const COUNT_BITS: u32 = 20;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;

impl<const N: usize> Default for CountedSet<N> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

/// The member that a hash stands for.
pub(crate) fn member(hash: u64) -> u64 {
    (hash >> COUNT_BITS).max(1)
}

impl<const N: usize> CountedSet<N> {
    /// Counts a member `more` times; a new one at least `first` times. Says whether it is new. Of two threads that note two new
    /// members at one instant one may be forgotten: it is noted at its next sight.
    pub(crate) fn note(&self, member: u64, more: u32, first: u32) -> bool {
        let mut least: Option<(&AtomicU64, u64)> = None;
        for slot in &self.0 {
            let word = slot.load(Ordering::Relaxed);
            if word >> COUNT_BITS == member {
                let count = (word & COUNT_MASK).saturating_add(u64::from(more)).min(COUNT_MASK);
                if more > 0 {
                    // A loser of this race was counted once less.
                    let _ = slot.compare_exchange(word, pack(member, count), Ordering::Relaxed, Ordering::Relaxed);
                }
                return false;
            }
            if least.is_none_or(|(_, best)| (word & COUNT_MASK) < (best & COUNT_MASK)) {
                least = Some((slot, word));
            }
        }
        if let Some((slot, word)) = least {
            let count = u64::from(more.max(first)).min(COUNT_MASK);
            let _ = slot.compare_exchange(word, pack(member, count), Ordering::Relaxed, Ordering::Relaxed);
        }
        true
    }

    /// The count of a member; 0 of a stranger.
    pub(crate) fn count(&self, member: u64) -> u32 {
        self.members().find(|(each, _)| *each == member).map_or(0, |(_, count)| count.max(1))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members().next().is_none()
    }

    /// Halves all counts so many times. Who has none left is forgotten.
    pub(crate) fn halve(&self, times: u32) {
        for slot in &self.0 {
            let _ = slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
                let count = (word & COUNT_MASK).checked_shr(times).unwrap_or(0);
                Some(if count == 0 { 0 } else { pack(word >> COUNT_BITS, count) })
            });
        }
    }

    pub(crate) fn clear(&self) {
        self.0.iter().for_each(|slot| slot.store(0, Ordering::Relaxed));
    }

    /// The members with their counts, in no order.
    pub(crate) fn members(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        self.words()
            .into_iter()
            .filter(|word| *word != 0)
            .map(|word| (word >> COUNT_BITS, u32::try_from(word & COUNT_MASK).unwrap_or(u32::MAX)))
    }

    /// The members as words that [`Self::of_words`] reads.
    pub(crate) fn words(&self) -> [u64; N] {
        std::array::from_fn(|index| self.0.get(index).map_or(0, |slot| slot.load(Ordering::Relaxed)))
    }

    /// What was kept. Any words do.
    pub(crate) fn of_words(words: [u64; N]) -> Self {
        Self(words.map(AtomicU64::new))
    }
}

fn pack(member: u64, count: u64) -> u64 {
    (member << COUNT_BITS) | count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_member_with_the_lowest_count_makes_room() {
        let set = CountedSet::<3>::default();
        assert!(set.is_empty());
        for (member, more, is_new) in [(1, 16, true), (2, 16, true), (3, 16, true), (1, 16, false), (3, 0, false)] {
            assert_eq!(set.note(member, more, 16), is_new, "{member}");
        }
        set.note(3, 8, 16);
        assert!(set.note(4, 0, 16));
        assert_eq!([1, 2, 3, 4].map(|member| set.count(member)), [32, 0, 24, 16]);
    }

    #[test]
    fn counts_halve_until_they_are_gone_and_never_overflow() {
        let set = CountedSet::<2>::default();
        set.note(1, 16, 16);
        set.note(2, u32::MAX, 16);
        set.note(2, u32::MAX, 16);
        assert_eq!(set.count(2), (1 << 20) - 1);
        set.halve(4);
        assert_eq!(set.count(1), 1);
        set.halve(1);
        assert_eq!(set.count(1), 0);
        set.halve(200);
        assert!(set.is_empty());
    }
}
