//! Which proofs were used. Each is good once (RFC 9449 section 11.1), on whichever worker it comes in.
//!
//! It takes a lock, for as long as a look into a small table takes, and after a signature was verified: one of many, by the proof, so
//! that two workers hardly ever meet. Nothing is forgotten before its time: where there is no more room, no proof is accepted until some
//! have become too old to be used again.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// The tables, each with its own lock.
const SHARDS: usize = 64;

/// The proofs that were used and could be used again.
#[derive(Debug)]
pub(crate) struct ProofMemory {
    shards: Vec<Mutex<Shard>>,
    most: AtomicUsize,
    held: AtomicUsize,
}

#[derive(Debug, Default)]
struct Shard {
    used: HashSet<Id>,
    /// The same in the order in which they came, each with the second after which it could not be used any more.
    order: VecDeque<(i64, Id)>,
}

/// Half of a SHA-256: nobody finds two proofs with the same one.
type Id = [u8; 16];

/// What is known of a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Used {
    /// It was not used before, and is now.
    First,
    /// It was.
    Again,
    /// It cannot be noted, so it must not count.
    Full,
}

impl ProofMemory {
    /// For at most so many.
    pub(crate) fn new(most: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, most: AtomicUsize::new(most), held: AtomicUsize::new(0) }
    }

    /// For another number of them from now on. What is held stays.
    pub(crate) fn resize(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// Notes that the proof with this hash is used, which could be used until that second.
    pub(crate) fn use_once(&self, hash: &[u8; 32], until: i64, now: i64) -> Used {
        let (first, rest) = hash.split_at(1);
        let place = usize::from(first.first().copied().unwrap_or_default()) % SHARDS;
        let (Some(shard), Some(id)) = (self.shards.get(place), rest.first_chunk::<16>()) else { return Used::Full };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        self.forget(&mut shard, now);
        if shard.used.contains(id) {
            return Used::Again;
        }
        if self.held.fetch_add(1, Ordering::Relaxed) >= self.most.load(Ordering::Relaxed) {
            self.held.fetch_sub(1, Ordering::Relaxed);
            drop(shard);
            self.forget_everywhere(now);
            return Used::Full;
        }
        shard.used.insert(*id);
        shard.order.push_back((until, *id));
        Used::First
    }

    /// Forgets what could not be used any more.
    fn forget(&self, shard: &mut Shard, now: i64) {
        while let Some((until, _)) = shard.order.front()
            && *until < now
            && let Some((_, id)) = shard.order.pop_front()
        {
            shard.used.remove(&id);
            self.held.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The next proof finds room, if there is any.
    fn forget_everywhere(&self, now: i64) {
        for shard in &self.shards {
            // Whoever has it forgets by itself.
            if let Ok(mut shard) = shard.try_lock() {
                self.forget(&mut shard, now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ProofMemory, Used};
    use crate::secret::sha256;

    fn id(number: usize) -> [u8; 32] {
        sha256(&number.to_le_bytes())
    }

    #[test]
    fn a_proof_is_good_once_until_it_is_too_old_to_matter() {
        let memory = ProofMemory::new(10);
        assert_eq!(memory.use_once(&id(1), 100, 10), Used::First);
        for now in [10, 50, 100] {
            assert_eq!(memory.use_once(&id(1), 100, now), Used::Again, "at {now}");
        }
        assert_eq!(memory.use_once(&id(2), 100, 10), Used::First);
        // Whoever asks then has another reason to refuse it.
        assert_eq!(memory.use_once(&id(1), 200, 101), Used::First);
    }

    #[test]
    fn it_is_bounded_and_forgets_nothing_before_its_time() {
        let memory = ProofMemory::new(100);
        for number in 0..100 {
            assert_eq!(memory.use_once(&id(number), 50, 1), Used::First, "{number}");
        }
        for number in 100..200 {
            assert_eq!(memory.use_once(&id(number), 50, 50), Used::Full, "{number}");
        }
        assert_eq!(memory.use_once(&id(7), 50, 50), Used::Again);
        // The first one that finds no room makes some for the others.
        let after: Vec<Used> = (200..300).map(|number| memory.use_once(&id(number), 99, 51)).collect();
        assert!(after.iter().filter(|used| **used == Used::First).count() >= 98, "{after:?}");
        memory.resize(1_000);
        assert_eq!(memory.use_once(&id(1_000), 99, 51), Used::First);
        memory.resize(1);
        assert_eq!(memory.use_once(&id(1_001), 99, 51), Used::Full);
    }

    #[test]
    fn of_many_at_once_one_is_the_first() {
        let memory = ProofMemory::new(10_000);
        let firsts: usize = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        (0..500).filter(|number| memory.use_once(&id(*number), 100, 1) == Used::First).count()
                    })
                })
                .collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        assert_eq!(firsts, 500);
    }
}
