//! How many of something are there at once for each key (connections of a client, requests of a principal): counted for the
//! whole process, exactly, by one atomic word each.
//!
//! A word holds a key's hash and its count, and is free when the count is 0, so nothing has to be forgotten: who has nothing
//! open has no word. A key's hash leads to a set of 32 words. The table is made four times as large as what can be open
//! at once, so that a set is never full but by a freak; then the newcomer is turned away. The hash is keyed with a secret.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// The table.
#[derive(Debug)]
pub struct Seats {
    hashing: RandomState,
    words: Box<[AtomicU64]>,
}

/// One place that is taken, given back when this is dropped.
#[derive(Debug)]
pub struct Seat {
    seats: Arc<Seats>,
    place: usize,
}

const WAYS: usize = 32;
/// A count, which stays below the hash in a word.
const COUNT_BITS: u32 = 20;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
/// 32 MiB; more keys than a process has file descriptors for.
const WORDS_MAX: usize = 4 * 1024 * 1024;
/// How often a word is tried again that others change meanwhile.
const ATTEMPTS: usize = 64;

impl Seats {
    /// A table for so many open at once over all keys.
    pub fn new(open_at_once: usize) -> Arc<Self> {
        let words = open_at_once.saturating_mul(4).clamp(1_024, WORDS_MAX).next_multiple_of(WAYS);
        Arc::new(Self { hashing: RandomState::new(), words: (0..words).map(|_| AtomicU64::new(0)).collect() })
    }

    /// Takes a place for the key; `None` if it has `most` already (or if its set is full).
    pub fn take(self: &Arc<Self>, key: impl Hash, most: u64) -> Option<Seat> {
        let hash = self.hashing.hash_one(key);
        // Zero would be a free word.
        let mark = (hash | 1 << COUNT_BITS) & !COUNT_MASK;
        let first = usize::try_from(hash & u64::from(u32::MAX)).unwrap_or_default() % (self.words.len() / WAYS) * WAYS;
        let most = most.min(COUNT_MASK);
        for _ in 0..ATTEMPTS {
            match self.find(first, mark)? {
                Found::Own(_, word) if word & COUNT_MASK >= most => return None,
                Found::Own(place, word) => {
                    if self.exchange(place, word, word + 1) {
                        return Some(Seat { seats: Arc::clone(self), place });
                    }
                }
                Found::Free(_) if most == 0 => return None,
                Found::Free(place) => {
                    if self.exchange(place, 0, mark + 1) {
                        let seat = Seat { seats: Arc::clone(self), place };
                        if self.is_alone(first, place, mark) {
                            return Some(seat);
                        }
                        // Another thread began to count the same key elsewhere at the same moment. At least one of both
                        // sees the other, since all of this is in one order; it gives way and joins.
                        drop(seat);
                    }
                }
            }
        }
        None
    }

    /// How many the key has.
    #[cfg(test)]
    fn count(&self, key: impl Hash) -> u64 {
        let mark = (self.hashing.hash_one(key) | 1 << COUNT_BITS) & !COUNT_MASK;
        self.words
            .iter()
            .map(|word| word.load(Ordering::SeqCst))
            .filter(|word| word & !COUNT_MASK == mark)
            .map(|word| word & COUNT_MASK)
            .sum()
    }

    /// The key's word, or a free one; `None` if all are others'.
    fn find(&self, first: usize, mark: u64) -> Option<Found> {
        let mut free = None;
        for (offset, word) in self.set(first).iter().enumerate() {
            let word = word.load(Ordering::SeqCst);
            if word != 0 && word & !COUNT_MASK == mark {
                return Some(Found::Own(first + offset, word));
            }
            if word == 0 && free.is_none() {
                free = Some(Found::Free(first + offset));
            }
        }
        free
    }

    fn is_alone(&self, first: usize, place: usize, mark: u64) -> bool {
        let others = self.set(first).iter().enumerate().filter(|(offset, _)| first + offset != place);
        !others.map(|(_, word)| word.load(Ordering::SeqCst)).any(|word| word & !COUNT_MASK == mark)
    }

    fn set(&self, first: usize) -> &[AtomicU64] {
        self.words.get(first..).and_then(|rest| rest.get(..WAYS)).unwrap_or_default()
    }

    fn exchange(&self, place: usize, from: u64, to: u64) -> bool {
        self.words
            .get(place)
            .is_some_and(|word| word.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst).is_ok())
    }
}

enum Found {
    Own(usize, u64),
    Free(usize),
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some(word) = self.seats.words.get(self.place) else { return };
        // The last one frees the word. INVARIANT: while a seat is out, its word's count is at least 1.
        let leave = |word: u64| Some(if word & COUNT_MASK <= 1 { 0 } else { word - 1 });
        let _ = word.fetch_update(Ordering::SeqCst, Ordering::SeqCst, leave);
    }
}

/// A table that is made when somebody first needs it.
#[derive(Debug, Default)]
pub struct LazySeats(OnceLock<Arc<Seats>>);

impl LazySeats {
    /// The table, made for so many open at once if it is not there yet.
    pub fn get_or_make(&self, open_at_once: usize) -> &Arc<Seats> {
        self.0.get_or_init(|| Seats::new(open_at_once))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_at_most_its_number_of_seats_and_they_come_back() {
        let seats = Seats::new(10);
        let first = seats.take("a", 2).unwrap();
        let _second = seats.take("a", 2).unwrap();
        assert!(seats.take("a", 2).is_none());
        let _other = seats.take("b", 1).unwrap();
        assert!(seats.take("b", 1).is_none());
        drop(first);
        assert_eq!(seats.count("a"), 1);
        let _third = seats.take("a", 2).unwrap();
        assert!(seats.take("a", 2).is_none());
        assert!(seats.take("c", 0).is_none());
        assert!(seats.take("a", 3).is_some(), "a raised limit holds at once");
    }

    #[test]
    fn threads_never_have_more_than_the_limit_and_leave_nothing_behind() {
        let seats = Seats::new(10);
        let open = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..20_000 {
                        let Some(seat) = seats.take(round % 2, 1) else { continue };
                        if round % 2 == 0 {
                            assert_eq!(open.fetch_add(1, Ordering::SeqCst), 0, "two at once");
                            open.fetch_sub(1, Ordering::SeqCst);
                        }
                        drop(seat);
                    }
                });
            }
        });
        assert!(seats.words.iter().all(|word| word.load(Ordering::SeqCst) == 0));
    }

    #[test]
    fn a_set_that_is_full_turns_newcomers_away_and_forgets_nobody() {
        let seats =
            Arc::new(Seats { hashing: RandomState::new(), words: (0..WAYS).map(|_| AtomicU64::new(0)).collect() });
        let taken: Vec<_> = (0..WAYS).map(|key| seats.take(key, 5).unwrap()).collect();
        assert!(seats.take(WAYS, 5).is_none());
        assert!((0..WAYS).all(|key| seats.count(key) == 1));
        drop(taken);
        assert!(seats.take(WAYS, 5).is_some());
    }
}
