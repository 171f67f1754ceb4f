//! A small set of fixed size that remembers how often each member was seen. Each member is one atomic word, of 64 bits or, where twelve
//! bits tell its members apart, of 32. When it is full, the member with the lowest count makes room.
//!
//! Counts are sixteenths, on the scale of the profile's epoch (see [`Decay`](crate::decay::Decay)).

use std::fmt::Debug;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// At most `N` members. A member is 44 bits that are not all 0, in a cell of 32 bits 12.
#[derive(Debug)]
pub(crate) struct CountedSet<const N: usize, C = AtomicU64>([C; N]);

/// What holds a member with its count.
pub(crate) trait Cell: Debug {
    fn of(word: u64) -> Self;
    fn load(&self) -> u64;
    fn store(&self, word: u64);
    /// Says whether it was `from` until now.
    fn exchange(&self, from: u64, to: u64) -> bool;
}

impl Cell for AtomicU64 {
    fn of(word: u64) -> Self {
        Self::new(word)
    }

    fn load(&self) -> u64 {
        self.load(Ordering::Relaxed)
    }

    fn store(&self, word: u64) {
        self.store(word, Ordering::Relaxed);
    }

    fn exchange(&self, from: u64, to: u64) -> bool {
        self.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// Of a word the lower half counts: nobody gives it another.
impl Cell for AtomicU32 {
    fn of(word: u64) -> Self {
        Self::new(low(word))
    }

    fn load(&self) -> u64 {
        self.load(Ordering::Relaxed).into()
    }

    fn store(&self, word: u64) {
        self.store(low(word), Ordering::Relaxed);
    }

    fn exchange(&self, from: u64, to: u64) -> bool {
        self.compare_exchange(low(from), low(to), Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

fn low(word: u64) -> u32 {
    u32::try_from(word & 0xffff_ffff).unwrap_or(0)
}

/// Bits of a count. The member's stand above.
const COUNT_BITS: u32 = 20;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;

impl<const N: usize, C: Cell> Default for CountedSet<N, C> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| C::of(0)))
    }
}

/// The member that a hash stands for.
pub(crate) fn member(hash: u64) -> u64 {
    (hash >> COUNT_BITS).max(1)
}

/// The member of a cell of 32 bits that a hash stands for: one in 4,095 that are not the same is taken for it.
pub(crate) fn small_member(hash: u64) -> u64 {
    (hash >> 52).max(1)
}

impl<const N: usize, C: Cell> CountedSet<N, C> {
    /// Counts a member `more` times; a new one at least `first` times. Says whether it is new. Of two threads that note two new
    /// members at one instant one may be forgotten: it is noted at its next sight.
    pub(crate) fn note(&self, member: u64, more: u32, first: u32) -> bool {
        let mut least: Option<(&C, u64)> = None;
        for slot in &self.0 {
            let word = slot.load();
            if word >> COUNT_BITS == member {
                let count = (word & COUNT_MASK).saturating_add(u64::from(more)).min(COUNT_MASK);
                if more > 0 {
                    // A loser of this race was counted once less.
                    slot.exchange(word, pack(member, count));
                }
                return false;
            }
            if least.is_none_or(|(_, best)| (word & COUNT_MASK) < (best & COUNT_MASK)) {
                least = Some((slot, word));
            }
        }
        if let Some((slot, word)) = least {
            let count = u64::from(more.max(first)).min(COUNT_MASK);
            slot.exchange(word, pack(member, count));
        }
        true
    }

    /// The count of a member; 0 of a stranger.
    pub(crate) fn count(&self, member: u64) -> u32 {
        let found = self.0.iter().map(C::load).find(|word| word >> COUNT_BITS == member && *word != 0);
        found.map_or(0, |word| count_of(word).max(1))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|slot| slot.load() == 0)
    }

    /// Halves all counts so many times. Who has none left is forgotten.
    pub(crate) fn halve(&self, times: u32) {
        for slot in &self.0 {
            loop {
                let word = slot.load();
                let count = (word & COUNT_MASK).checked_shr(times).unwrap_or(0);
                if slot.exchange(word, if count == 0 { 0 } else { pack(word >> COUNT_BITS, count) }) {
                    break;
                }
            }
        }
    }

    pub(crate) fn clear(&self) {
        self.0.iter().for_each(|slot| slot.store(0));
    }

    /// The members with their counts, in no order.
    pub(crate) fn members(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        self.words().into_iter().filter(|word| *word != 0).map(|word| (word >> COUNT_BITS, count_of(word)))
    }

    /// The members as words that [`Self::of_words`] reads.
    pub(crate) fn words(&self) -> [u64; N] {
        std::array::from_fn(|index| self.0.get(index).map_or(0, C::load))
    }

    /// What was kept. Any words do.
    pub(crate) fn of_words(words: [u64; N]) -> Self {
        Self(words.map(C::of))
    }
}

fn count_of(word: u64) -> u32 {
    u32::try_from(word & COUNT_MASK).unwrap_or(u32::MAX)
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
    fn half_a_word_holds_a_member_of_twelve_bits() {
        let set = CountedSet::<3, AtomicU32>::default();
        for member in [1, 4_095, small_member(0), small_member(u64::MAX)] {
            set.note(member, 16, 16);
        }
        assert_eq!([1, 4_095, 2].map(|member| set.count(member)), [32, 32, 0]);
        let read = CountedSet::<3, AtomicU32>::of_words(set.words());
        assert_eq!([1, 4_095, 2].map(|member| read.count(member)), [32, 32, 0]);
        (0..100_000).for_each(|_| _ = set.note(1, 31, 16));
        assert_eq!((set.count(1), set.count(4_095)), ((1 << 20) - 1, 32));
        assert!(set.note(7, 0, 16) && set.note(8, 0, 17) && set.note(9, 0, 18));
        assert_eq!([1, 7].map(|member| set.count(member)), [(1 << 20) - 1, 0], "the lowest makes room");
        // Whatever a store holds, half of it counts.
        assert_eq!(CountedSet::<1, AtomicU32>::of_words([u64::MAX]).count(4_095), (1 << 20) - 1);
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
