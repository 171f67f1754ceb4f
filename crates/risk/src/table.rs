//! A bounded map that many threads read and fill without a lock. When it is full, the least worth keeping of a sample
//! makes room, and what is pinned never does.
//!
//! Keys are hashes from [`Keys`](crate::actor::Keys), so the map hashes no further. Values are changed through their own
//! atomics. A value that is being changed while it is evicted loses that change, and nothing else.

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use papaya::HashMap;

/// At most as many entries as there are slots. Every entry owns one slot, which holds its key, and one bit that says whether it
/// was changed since somebody last took what had changed.
#[derive(Debug)]
pub(crate) struct Table<V> {
    map: HashMap<u64, Entry<V>, BuildHasherDefault<Prehashed>>,
    slots: Box<[AtomicU64]>,
    marks: Box<[AtomicU64]>,
    /// Every entry that is asked for by [`Self::with_or_insert`] is marked.
    marks_all: bool,
    /// How many slots were ever handed out; from then on they change owners.
    filled: AtomicUsize,
    /// Where the next sample begins.
    hand: AtomicUsize,
    /// How many samples are taken before the table counts as full.
    samples: usize,
}

#[derive(Debug)]
struct Entry<V> {
    slot: usize,
    value: V,
}

/// What an entry of a full [kept](Table::kept) table takes, in bytes: the value with its slot and its key; their place in the map, of nine bytes where two
/// places in five are taken at least; the slot itself, and the bit of its mark.
#[cfg(test)]
pub(crate) const fn entry_size<V>() -> usize {
    size_of::<(u64, Entry<V>)>() + 23 + size_of::<AtomicU64>() + 1
}

const FREE: u64 = 0;
const CLAIMED: u64 = 1;
const SAMPLE: usize = 16;

impl<V> Table<V> {
    /// A table of at most `bound` entries (at least one) that looks at 64 of them to find one that may go.
    pub(crate) fn new(bound: usize) -> Self {
        Self::with_samples(bound, 4, false)
    }

    /// The same, and every entry that is asked for in order to change it counts as changed. Its map has the size that it needs when it is full, a power of two
    /// of which four fifths are enough: what grows leaves what it was before behind, for a while.
    pub(crate) fn kept(bound: usize) -> Self {
        let map = HashMap::builder().hasher(BuildHasherDefault::default()).capacity(bound - bound / 16).build();
        Self { map, ..Self::with_samples(bound, 4, true) }
    }

    /// A table that looks at every entry before it counts as full.
    pub(crate) fn exhaustive(bound: usize) -> Self {
        Self::with_samples(bound, bound / SAMPLE + 1, false)
    }

    fn with_samples(bound: usize, samples: usize, marks_all: bool) -> Self {
        let bound = bound.max(1);
        Self {
            map: HashMap::default(),
            // A slot that was never handed out is claimed, not free: else a sample could take it from its first owner.
            slots: (0..bound).map(|_| AtomicU64::new(CLAIMED)).collect(),
            marks: (0..bound.div_ceil(64)).map(|_| AtomicU64::new(0)).collect(),
            marks_all,
            filled: AtomicUsize::new(0),
            hand: AtomicUsize::new(0),
            samples,
        }
    }

    /// What `look` makes of the entry, where there is one.
    pub(crate) fn with<R>(&self, key: u64, look: impl FnOnce(&V) -> R) -> Option<R> {
        self.map.pin().get(&key).map(|entry| look(&entry.value))
    }

    /// The same, after making the entry where there is none. `worth` is how much an entry is worth keeping, `None` if it
    /// must stay; the answer is `None` where all that were looked at must stay.
    pub(crate) fn with_or_insert<R>(
        &self,
        key: u64,
        make: impl FnOnce() -> V,
        worth: impl Fn(&V) -> Option<u64>,
        look: impl FnOnce(&V) -> R,
    ) -> Option<R> {
        let map = self.map.pin();
        let change = |entry: &Entry<V>| {
            let seen = look(&entry.value);
            if self.marks_all {
                self.mark_lazily(entry.slot);
            }
            Some(seen)
        };
        if let Some(entry) = map.get(&key) {
            return change(entry);
        }
        let slot = self.take_slot(&worth)?;
        match map.try_insert(key, Entry { slot, value: make() }) {
            Ok(entry) => {
                self.set(slot, key);
                change(entry)
            }
            Err(occupied) => {
                // Another thread made it first: its entry counts, and our slot is free again.
                self.set(slot, FREE);
                change(occupied.current)
            }
        }
    }

    /// Marks an entry as changed. What was changed before is seen by whoever takes the mark.
    pub(crate) fn mark(&self, key: u64) {
        if let Some(entry) = self.map.pin().get(&key)
            && let Some(word) = self.marks.get(entry.slot / 64)
        {
            word.fetch_or(1 << (entry.slot % 64), Ordering::AcqRel);
        }
    }

    /// Marks every entry.
    pub(crate) fn mark_all(&self) {
        self.marks.iter().for_each(|word| word.store(u64::MAX, Ordering::Release));
    }

    /// How many entries there can be.
    pub(crate) fn bound(&self) -> usize {
        self.slots.len()
    }

    /// Takes all marks, and shows nothing.
    pub(crate) fn take_marks(&self) {
        self.marks.iter().for_each(|word| word.store(0, Ordering::Release));
    }

    /// Takes the marks of about `most` entries (up to 63 more) and shows these entries. Says whether marks are left.
    pub(crate) fn take_marked(&self, most: usize, mut show: impl FnMut(u64, &V)) -> bool {
        let map = self.map.pin();
        let mut shown = 0;
        for (word, slots) in self.marks.iter().zip(self.slots.chunks(64)) {
            if word.load(Ordering::Relaxed) == 0 {
                continue;
            }
            if shown >= most {
                return true;
            }
            let bits = word.swap(0, Ordering::AcqRel);
            for (_, slot) in slots.iter().enumerate().filter(|(bit, _)| bits & (1 << bit) != 0) {
                let key = slot.load(Ordering::SeqCst);
                // A slot without an owner has no key of the map.
                if let Some(entry) = map.get(&key) {
                    show(key, &entry.value);
                    shown += 1;
                }
            }
        }
        false
    }

    /// How many entries are marked.
    pub(crate) fn marked(&self) -> usize {
        self.marks.iter().map(|word| word.load(Ordering::Relaxed).count_ones() as usize).sum()
    }

    /// A mark that is set already is not set again, so that an entry that is always in use costs reads alone. A change that is made at the
    /// very instant at which the mark is taken may have to wait for the next one.
    fn mark_lazily(&self, slot: usize) {
        let bit = 1 << (slot % 64);
        if let Some(word) = self.marks.get(slot / 64)
            && word.load(Ordering::Relaxed) & bit == 0
        {
            word.fetch_or(bit, Ordering::AcqRel);
        }
    }

    /// Removes the entry and says whether there was one.
    pub(crate) fn remove(&self, key: u64) -> bool {
        let map = self.map.pin();
        let Some(entry) = map.get(&key) else { return false };
        let Some(slot) = self.slots.get(entry.slot) else { return false };
        // INVARIANT: whoever changes the slot from the key removes the entry, so no slot is freed twice.
        if slot.compare_exchange(key, CLAIMED, Ordering::SeqCst, Ordering::SeqCst).is_err() {
            return false;
        }
        map.remove(&key);
        slot.store(FREE, Ordering::SeqCst);
        true
    }

    /// Looks at every entry, in no order.
    pub(crate) fn for_each(&self, mut look: impl FnMut(&V)) {
        self.map.pin().iter().for_each(|(_, entry)| look(&entry.value));
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    fn take_slot(&self, worth: &impl Fn(&V) -> Option<u64>) -> Option<usize> {
        let bound = self.slots.len();
        let fresh = self
            .filled
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |filled| (filled < bound).then_some(filled + 1));
        if fresh.is_ok() {
            return fresh.ok();
        }
        (0..self.samples).find_map(|_| self.evict_from_sample(worth))
    }

    fn evict_from_sample(&self, worth: &impl Fn(&V) -> Option<u64>) -> Option<usize> {
        let map = self.map.pin();
        let bound = self.slots.len();
        let start = self.hand.fetch_add(SAMPLE, Ordering::Relaxed);
        let mut least: Option<(u64, usize, u64)> = None;
        for offset in 0..SAMPLE.min(bound) {
            let index = start.wrapping_add(offset) % bound;
            let key = self.slots.get(index)?.load(Ordering::SeqCst);
            if key == FREE && self.exchange(index, FREE, CLAIMED) {
                return Some(index);
            }
            let Some(worth) = map.get(&key).and_then(|entry| worth(&entry.value)) else { continue };
            if least.is_none_or(|(best, _, _)| worth < best) {
                least = Some((worth, index, key));
            }
        }
        let (_, index, key) = least?;
        if !self.exchange(index, key, CLAIMED) {
            return None;
        }
        // It may have become worth keeping since it was looked at.
        if map.get(&key).is_some_and(|entry| worth(&entry.value).is_none()) {
            self.set(index, key);
            return None;
        }
        map.remove(&key);
        Some(index)
    }

    fn exchange(&self, index: usize, from: u64, to: u64) -> bool {
        self.slots
            .get(index)
            .is_some_and(|slot| slot.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst).is_ok())
    }

    fn set(&self, index: usize, key: u64) {
        if let Some(slot) = self.slots.get(index) {
            slot.store(key, Ordering::SeqCst);
        }
    }
}

/// The keys are hashes already.
#[derive(Debug, Default)]
struct Prehashed(u64);

impl Hasher for Prehashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }

    fn write(&mut self, bytes: &[u8]) {
        // Only u64 keys come here; any other type would still hash, if badly.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(table: &Table<u64>, key: u64, value: u64) -> Option<u64> {
        // Even values may go, the smallest first; odd ones must stay.
        table.with_or_insert(key, || value, |value| (value % 2 == 0).then_some(*value), |value| *value)
    }

    #[test]
    fn a_full_table_evicts_the_least_and_never_the_pinned() {
        let table = Table::new(4);
        for (key, value) in [(10, 7), (11, 4), (12, 2), (13, 8)] {
            assert_eq!(put(&table, key, value), Some(value));
        }
        assert_eq!(put(&table, 14, 5), Some(5));
        assert_eq!(table.with(12, |value| *value), None, "the least went");
        assert_eq!(put(&table, 15, 9), Some(9));
        assert_eq!(put(&table, 16, 1), Some(1));
        assert_eq!(put(&table, 17, 3), None, "all are pinned");
        assert_eq!(table.len(), 4);
        assert_eq!(table.with(10, |value| *value), Some(7));
        assert!(table.remove(10));
        assert!(!table.remove(10));
        assert_eq!(put(&table, 17, 3), Some(3), "the freed slot is found");
        assert_eq!(table.len(), 4);
    }

    #[test]
    fn what_was_marked_is_taken_once_and_in_portions() {
        let table = Table::kept(200);
        (10..210).for_each(|key| assert_eq!(put(&table, key, key * 2), Some(key * 2)));
        assert_eq!(table.marked(), 200);
        let mut seen = Vec::new();
        while table.take_marked(50, |key, value| seen.push((key, *value))) {
            assert!(seen.len() >= 50);
        }
        seen.sort_unstable();
        assert_eq!(seen, (10..210).map(|key| (key, key * 2)).collect::<Vec<_>>());
        assert!(!table.take_marked(50, |_, _| panic!("nothing has changed")));
        put(&table, 17, 0);
        table.mark(11);
        table.mark(9_999);
        let mut seen = Vec::new();
        table.take_marked(50, |key, _| seen.push(key));
        seen.sort_unstable();
        assert_eq!(seen, [11, 17]);
        // Marks of what has gone are of nobody.
        table.mark_all();
        assert!(table.remove(12));
        let mut count = 0;
        while table.take_marked(1, |key, _| {
            assert_ne!(key, 12);
            count += 1;
        }) {}
        assert_eq!(count, 199);
        let plain = Table::new(4);
        put(&plain, 10, 2);
        assert_eq!(plain.marked(), 0, "only what is marked by hand");
    }

    #[test]
    fn an_existing_entry_is_not_made_again() {
        let table = Table::new(4);
        put(&table, 10, 7);
        assert_eq!(put(&table, 10, 9), Some(7));
    }

    #[test]
    fn the_bound_holds_while_threads_fill_and_remove() {
        let table = Table::new(64);
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let table = &table;
                scope.spawn(move || {
                    for round in 0..5_000_u64 {
                        let key = 2 + (round * 7 + thread * 3) % 300;
                        put(table, key, key * 2);
                        if round % 5 == 0 {
                            table.remove(key);
                        }
                    }
                });
            }
        });
        assert!(table.len() <= 64, "{}", table.len());
        let owned = table.slots.iter().filter(|slot| slot.load(Ordering::SeqCst) > CLAIMED).count();
        assert_eq!(owned, table.len(), "every entry owns one slot");
    }
}
