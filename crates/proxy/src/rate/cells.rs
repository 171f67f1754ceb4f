//! The bounded table of rates: every key that a client can choose has its cell here, and there are only so many.
//!
//! A key's hash leads to a set of eight places. A place whose time is over is free; so the table forgets by itself, and what
//! counts is how many keys are in use at once. In a full set the one that has used least makes room, but never one that
//! has used up half of its burst: whoever is close to a limit, or over it, cannot be pushed out by a crowd. If all eight are
//! that far, the newcomer counts in a cell that it shares with other newcomers of the same limit: filling the table frees
//! nobody. The hash is keyed with a secret, so nobody can aim at a set.
//!
//! Two threads that take one place at the same moment can misplace the charge of a single request, and never lose a cell
//! that is worth keeping.

use std::sync::atomic::{AtomicU64, Ordering};

use super::gcra::{Cell, Pace, Taken};

/// The table.
#[derive(Debug)]
pub(super) struct Cells {
    places: Box<[Place]>,
}

/// One place: the key of whom it belongs to, and its cell. The low six bits of a key hold its [`Pace::class`], so that a
/// newcomer can tell whether the place is worth keeping.
#[derive(Debug, Default)]
struct Place {
    key: AtomicU64,
    cell: Cell,
}

const WAYS: usize = 8;
/// 2 MiB.
const PLACES: usize = 128 * 1024;
const CLASS_MASK: u64 = 63;

impl Cells {
    pub(super) fn new() -> Self {
        Self::with_places(PLACES)
    }

    fn with_places(places: usize) -> Self {
        Self { places: (0..places.max(WAYS)).map(|_| Place::default()).collect() }
    }

    /// Takes one request for a key, which is a hash. `shared` is where keys count that find no place.
    pub(super) fn take(&self, hash: u64, pace: &Pace, now_ns: u64, shared: &Cell) -> Taken {
        let key = (hash & !CLASS_MASK) | u64::from(pace.class());
        let set = self.set(hash);
        if let Some(place) = set.iter().find(|place| place.key.load(Ordering::Relaxed) == key) {
            return pace.take(&place.cell, now_ns);
        }
        match claim(set, key, now_ns) {
            Some(place) => pace.take(&place.cell, now_ns),
            None => pace.take(shared, now_ns),
        }
    }

    fn set(&self, hash: u64) -> &[Place] {
        let sets = (self.places.len() / WAYS).max(1);
        // The high bits choose the set, since the low ones are taken off the key.
        let set = usize::try_from(hash >> 32).unwrap_or_default() % sets;
        self.places.get(set * WAYS..).and_then(|rest| rest.get(..WAYS)).unwrap_or(&self.places)
    }
}

/// The place of whoever has used least, now the key's own; `None` if all are worth keeping.
fn claim(set: &[Place], key: u64, now_ns: u64) -> Option<&Place> {
    let (place, used) = set.iter().map(|place| (place, place.cell.used_ns(now_ns))).min_by_key(|(_, used)| *used)?;
    let owner = place.key.load(Ordering::Relaxed);
    let worth_keeping = used > 1 << (owner & CLASS_MASK).min(62);
    if worth_keeping || place.key.compare_exchange(owner, key, Ordering::Relaxed, Ordering::Relaxed).is_err() {
        // Somebody else was faster: for this one request the shared cell does.
        return None;
    }
    place.cell.reset(now_ns);
    Some(place)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn pace(burst: u64) -> Pace {
        Pace::new(10, Duration::from_secs(10), burst)
    }

    /// A hash that leads to the only set of a table of eight places.
    fn hash(of: u64) -> u64 {
        of.wrapping_mul(0x9E37_79B9_7F4A_7C15) & !CLASS_MASK
    }

    fn within(cells: &Cells, key: u64, pace: &Pace, now: u64, shared: &Cell) -> bool {
        matches!(cells.take(hash(key), pace, now, shared), Taken::Within { .. })
    }

    #[test]
    fn a_crowd_pushes_out_nobody_who_has_used_half_of_the_burst() {
        let (cells, pace, shared) = (Cells::with_places(WAYS), pace(8), Cell::default());
        for _ in 0..8 {
            assert!(within(&cells, 1, &pace, SECOND, &shared));
        }
        assert!(!within(&cells, 1, &pace, SECOND, &shared), "used up");
        for newcomer in 2..10_000 {
            assert!(within(&cells, newcomer, &pace, SECOND, &shared), "{newcomer}: an own quota");
        }
        assert!(!within(&cells, 1, &pace, SECOND, &shared), "still used up");
    }

    #[test]
    fn newcomers_to_a_table_full_of_offenders_count_together() {
        let (cells, pace, shared) = (Cells::with_places(WAYS), pace(4), Cell::default());
        for offender in 1..=8 {
            while within(&cells, offender, &pace, SECOND, &shared) {}
        }
        let let_in = (100..200).filter(|newcomer| within(&cells, *newcomer, &pace, SECOND, &shared)).count();
        assert_eq!(let_in, 4, "one burst for all of them");
        for offender in 1..=8 {
            assert!(!within(&cells, offender, &pace, SECOND, &shared), "{offender} is held");
        }
        // When the offenders' time is over, their places are free.
        assert!((300..308).all(|later| within(&cells, later, &pace, 60 * SECOND, &shared)));
    }

    #[test]
    fn limits_of_different_length_are_each_kept_by_their_own_measure() {
        let (cells, shared) = (Cells::with_places(WAYS), Cell::default());
        let slow = Pace::new(2, Duration::from_secs(3_600), 2);
        let fast = pace(2);
        for offender in 1..=8 {
            while within(&cells, offender, &fast, SECOND, &shared) {}
        }
        // 2 s of debt are all of a fast limit's burst, though a slow limit would not notice them.
        assert!(within(&cells, 50, &slow, SECOND, &shared), "in the shared cell");
        for offender in 1..=8 {
            assert!(!within(&cells, offender, &fast, SECOND, &shared));
        }
    }

    #[test]
    fn threads_that_fill_one_set_stay_within_their_limits() {
        let (cells, pace, shared) = (Cells::with_places(WAYS), pace(64), Cell::default());
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let (cells, pace, shared) = (&cells, &pace, &shared);
                scope.spawn(move || {
                    let let_in = (0..2_000).filter(|_| within(cells, thread + 1, pace, SECOND, shared)).count();
                    // A race while the place is taken may put a charge of each other thread upon this one's cell, or take a few
                    // off it; a cell that is half used stays.
                    assert!((64 - 3..=64 + 32 + 64).contains(&let_in), "{let_in}");
                });
            }
        });
    }
}
