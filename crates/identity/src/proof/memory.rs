//! Which proofs were used. Each is good once (RFC 9449 section 11.1), on whichever worker it comes in.
//!
//! It takes a lock, for as long as a look into a small table takes, and after a signature was verified: one of many, by the proof, so
//! that two workers hardly ever meet. Nothing is forgotten before its time: where there is no more room, no proof is accepted until some
//! have become too old to be used again.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// The tables, each with its own lock.
const SHARDS: usize = 64;
/// Of all that is held, one holder of a key may have no more than one part of so many: whoever floods shuts out nobody else.
const SHARE: usize = 8;
/// Holders are counted in so many cells, which keys fall into by a secret of the process.
const CELLS: usize = 1 << 14;

/// The proofs that were used and could be used again.
#[derive(Debug)]
pub(crate) struct ProofMemory {
    shards: Vec<Mutex<Shard>>,
    most: AtomicUsize,
    held: AtomicUsize,
    /// The last second of which it is not known which proofs were used: a process before may have accepted them, or one beside it.
    unknown: AtomicI64,
    /// How many each holder has. Made when the first proof comes.
    holders: OnceLock<Box<[AtomicU32]>>,
    secret: RandomState,
}

#[derive(Debug)]
struct Shard {
    used: HashSet<Id>,
    /// The same in the order in which they came.
    order: VecDeque<Noted>,
    /// No proof that was made up to then counts, for one that was used may have been forgotten.
    forgotten: i64,
}

impl Default for Shard {
    fn default() -> Self {
        Self { used: HashSet::new(), order: VecDeque::new(), forgotten: i64::MIN }
    }
}

#[derive(Debug)]
struct Noted {
    id: Id,
    /// The second in which it was made.
    made: i64,
    /// The second after which it could not be used any more.
    until: i64,
    /// The cell of its holder.
    holder: u16,
}

/// A proof that would be used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Use<'a> {
    /// Its hash, which is of its holder's key and its id.
    pub(crate) hash: &'a [u8; 32],
    /// Its holder: the thumbprint of the key.
    pub(crate) holder: &'a [u8; 32],
    /// The second in which it was made, as it says.
    pub(crate) made: i64,
    /// The second after which it could not be used any more.
    pub(crate) until: i64,
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
    /// It is so old that nobody knows any more.
    Forgotten,
    /// It cannot be noted, so it must not count.
    Full,
}

impl ProofMemory {
    /// For at most so many.
    pub(crate) fn new(most: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        let (most, held, unknown) = (AtomicUsize::new(most), AtomicUsize::new(0), AtomicI64::new(i64::MIN));
        Self { shards, most, held, unknown, holders: OnceLock::new(), secret: RandomState::new() }
    }

    /// Proofs that were made up to this second may have been used elsewhere.
    pub(crate) fn begin_after(&self, second: i64) {
        self.unknown.store(second, Ordering::Release);
    }

    /// Whether it would know that a proof which was made in this second was used.
    pub(crate) fn knows_of(&self, made: i64) -> bool {
        made > self.unknown.load(Ordering::Acquire)
    }

    /// For another number of them from now on. What is held stays.
    pub(crate) fn resize(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// Notes that a proof is used.
    pub(crate) fn use_once(&self, proof: Use<'_>, now: i64) -> Used {
        let (first, rest) = proof.hash.split_at(1);
        let place = usize::from(first.first().copied().unwrap_or_default()) % SHARDS;
        let (Some(shard), Some(id)) = (self.shards.get(place), rest.first_chunk::<16>()) else { return Used::Full };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        self.forget(&mut shard, now);
        if shard.used.contains(id) {
            return Used::Again;
        }
        if proof.made <= shard.forgotten {
            return Used::Forgotten;
        }
        let most = self.most.load(Ordering::Relaxed);
        let (cell, holder) = self.holder(proof.holder);
        let share = u32::try_from(most / SHARE).unwrap_or(u32::MAX).max(1);
        let above_share = holder.fetch_add(1, Ordering::Relaxed) >= share;
        if self.held.fetch_add(1, Ordering::Relaxed) >= most || above_share {
            self.held.fetch_sub(1, Ordering::Relaxed);
            holder.fetch_sub(1, Ordering::Relaxed);
            drop(shard);
            self.forget_everywhere(now);
            return Used::Full;
        }
        shard.used.insert(*id);
        shard.order.push_back(Noted { id: *id, made: proof.made, until: proof.until, holder: cell });
        Used::First
    }

    /// The cell in which this holder's proofs are counted.
    fn holder(&self, holder: &[u8; 32]) -> (u16, &AtomicU32) {
        static NOBODY: AtomicU32 = AtomicU32::new(0);
        let cells = self.holders.get_or_init(|| (0..CELLS).map(|_| AtomicU32::new(0)).collect());
        let cell = self.secret.hash_one(holder) as usize % CELLS;
        (u16::try_from(cell).unwrap_or_default(), cells.get(cell).unwrap_or(&NOBODY))
    }

    /// Forgets what could not be used any more.
    fn forget(&self, shard: &mut Shard, now: i64) {
        while let Some(noted) = shard.order.pop_front_if(|noted| noted.until < now) {
            shard.used.remove(&noted.id);
            shard.forgotten = shard.forgotten.max(noted.made);
            self.held.fetch_sub(1, Ordering::Relaxed);
            if let Some(holder) = self.holders.get().and_then(|cells| cells.get(usize::from(noted.holder))) {
                holder.fetch_sub(1, Ordering::Relaxed);
            }
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
    use super::{ProofMemory, SHARE, Use, Used};
    use crate::secret::sha256;

    fn id(number: usize) -> [u8; 32] {
        sha256(&number.to_le_bytes())
    }

    /// Of a holder for each number, made at zero.
    fn uses(memory: &ProofMemory, number: usize, until: i64, now: i64) -> Used {
        let hash = id(number);
        memory.use_once(Use { hash: &hash, holder: &hash, made: 0, until }, now)
    }

    #[test]
    fn a_proof_is_good_once_until_it_is_too_old_to_matter() {
        // Enough for two holders that fall into one cell.
        let memory = ProofMemory::new(2 * SHARE);
        assert_eq!(uses(&memory, 1, 100, 10), Used::First);
        for now in [10, 50, 100] {
            assert_eq!(uses(&memory, 1, 100, now), Used::Again, "at {now}");
        }
        assert_eq!(uses(&memory, 2, 100, 10), Used::First);
    }

    #[test]
    fn one_that_may_have_been_forgotten_never_counts() {
        let memory = ProofMemory::new(10);
        let hash = id(1);
        let proof = Use { hash: &hash, holder: &hash, made: 40, until: 100 };
        assert_eq!(memory.use_once(proof, 40), Used::First);
        // As after a reload that lets proofs become older.
        assert_eq!(memory.use_once(Use { until: 600, ..proof }, 101), Used::Forgotten);
        assert_eq!(memory.use_once(Use { until: 600, made: 41, ..proof }, 101), Used::First);
    }

    #[test]
    fn a_clock_that_jumps_ahead_and_back_makes_no_used_proof_good() {
        let memory = ProofMemory::new(10);
        let hash = id(1);
        let proof = Use { hash: &hash, holder: &hash, made: 40, until: 100 };
        assert_eq!(memory.use_once(proof, 40), Used::First);
        // Its memory is gone, and with it the time in which it was made.
        assert_eq!(memory.use_once(Use { made: 4_000, until: 4_060, ..proof }, 4_000), Used::First);
        assert_eq!(memory.use_once(proof, 41), Used::Again);
        let other = ProofMemory::new(10);
        assert_eq!(other.use_once(proof, 40), Used::First);
        assert_eq!(other.use_once(proof, 4_000), Used::Forgotten);
        assert_eq!(other.use_once(proof, 41), Used::Forgotten);
    }

    #[test]
    fn what_was_used_before_it_began_is_unknown() {
        let memory = ProofMemory::new(10);
        assert!(memory.knows_of(i64::MIN + 1));
        memory.begin_after(40);
        assert_eq!([39, 40, 41].map(|made| memory.knows_of(made)), [false, false, true]);
    }

    #[test]
    fn it_is_bounded_and_forgets_nothing_before_its_time() {
        let memory = ProofMemory::new(100);
        for number in 0..100 {
            assert_eq!(uses(&memory, number, 50, 1), Used::First, "{number}");
        }
        for number in 100..200 {
            assert_eq!(uses(&memory, number, 50, 50), Used::Full, "{number}");
        }
        assert_eq!(uses(&memory, 7, 50, 50), Used::Again);
        // The first one that finds no room makes some for the others.
        let later = |number| {
            let hash = id(number);
            memory.use_once(Use { hash: &hash, holder: &hash, made: 51, until: 99 }, 51)
        };
        let after: Vec<Used> = (200..300).map(later).collect();
        assert!(after.iter().filter(|used| **used == Used::First).count() >= 98, "{after:?}");
        memory.resize(1_000);
        assert_eq!(later(1_000), Used::First);
        memory.resize(1);
        assert_eq!(later(1_001), Used::Full);
    }

    #[test]
    fn one_holder_takes_its_share_and_no_more() {
        let memory = ProofMemory::new(800);
        let flood = id(1);
        let use_of = |holder: &[u8; 32], number, now| {
            let hash = id(number);
            memory.use_once(Use { hash: &hash, holder, made: now, until: now + 50 }, now)
        };
        let noted = (10..1_000).filter(|number| use_of(&flood, *number, 1) == Used::First).count();
        assert_eq!(noted, 800 / SHARE);
        // One of them may fall into its cell.
        assert!([2, 3, 4].iter().any(|other| use_of(&id(*other), 5_000 + other, 1) == Used::First));
        // And has it again when what it used has become too old.
        let noted = (10_000..11_000).filter(|number| use_of(&flood, *number, 52) == Used::First).count();
        assert_eq!(noted, 800 / SHARE);
    }

    #[test]
    fn of_many_at_once_one_is_the_first() {
        let memory = ProofMemory::new(10_000);
        let firsts: usize = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| (0..500).filter(|number| uses(&memory, *number, 100, 1) == Used::First).count())
                })
                .collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        assert_eq!(firsts, 500);
    }
}
