//! What is usual among all principals: how many of them come from a network, an autonomous system, a country, and how many of those
//! with a role use a route.
//!
//! A count-min sketch (Cormode, Muthukrishnan 2005) of fixed size. It is an estimate, so it decides only how much what is new says, and
//! never takes anything from evidence: who else uses a network, where that excuses anybody, is counted exactly
//! ([`colleagues`](crate::colleagues)). Before it is so full that everything would look common, all counts are halved, a part with each that is added.
//!
//! A filter (Bloom 1970) remembers which principal was counted for what, so that one that forgets a network and comes back is not counted again:
//! from one halving to the next each counts once. One or two in a hundred are taken for another at worst, and are then not counted at all.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// Counts of principals by what they have in common.
#[derive(Debug)]
pub(crate) struct Commons {
    rows: [Box<[AtomicU32]>; ROWS],
    /// Which principal was counted for what.
    told: Box<[AtomicU64]>,
    /// What was added since the counts were last halved.
    added: AtomicUsize,
    /// How many of the counters and of the words of the filter are halved; all of them, while nothing is to be.
    halved: AtomicUsize,
}

/// What principals can have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Common {
    /// A network, by its member.
    Network,
    /// An autonomous system.
    Asn,
    /// A country.
    Country,
    /// A role or group, by its hash: the principals that hold it.
    Role,
    /// A role and a route, by a hash of the one and the place of the other.
    RoleRoute,
}

const ROWS: usize = 4;
/// The width of a row: a power of two, no less than there are principals. 1 MiB to 16 MiB of counters, and half of that for the filter.
const WIDTH_MIN: usize = 1 << 16;
const WIDTH_MAX: usize = 1 << 20;
/// How much is added before all is halved, for each counter of a row.
const ADDED_PER_CELL: usize = 4;
/// How many counters one that comes halves: some microseconds of work.
const HALVED_AT_ONCE: usize = 1_024;

impl Commons {
    /// Of a size for so many principals.
    pub(crate) fn new(principals: usize) -> Self {
        let width = principals.clamp(WIDTH_MIN, WIDTH_MAX).next_power_of_two();
        let row = || (0..width).map(|_| AtomicU32::new(0)).collect();
        // 64 bits for each counter of a row: at most one in eight is ever set.
        let told = (0..width).map(|_| AtomicU64::new(0)).collect();
        Self {
            rows: std::array::from_fn(|_| row()),
            told,
            added: AtomicUsize::new(0),
            halved: AtomicUsize::new(usize::MAX / 2),
        }
    }

    /// This principal has this, too. Told again it changes nothing.
    pub(crate) fn add(&self, kind: Common, what: u64, principal: u64) {
        if !self.tell(kind, what, principal) {
            return;
        }
        let least = self.count(kind, what);
        // Only the counters that are lowest rise (Estan, Varghese 2002): the others have counted somebody else.
        for cell in self.cells(kind, what) {
            let _ = cell.compare_exchange(least, least.saturating_add(1), Ordering::Relaxed, Ordering::Relaxed);
        }
        // The one thread that comes to the bound has the halving begin.
        let added_max = ADDED_PER_CELL * self.told.len();
        if self.added.fetch_add(1, Ordering::Relaxed) + 1 == added_max {
            self.added.store(added_max / 2, Ordering::Relaxed);
            self.halved.store(0, Ordering::Relaxed);
        }
        self.halve_some();
    }

    /// Halves the next of the counts, and forgets who was counted for them, where that has begun: each that comes does a part of it, so that no
    /// request does it all. Meanwhile some counts are halved and others not yet.
    fn halve_some(&self) {
        let (width, all) = (self.told.len(), (ROWS + 1) * self.told.len());
        if self.halved.load(Ordering::Relaxed) >= all {
            return;
        }
        let from = self.halved.fetch_add(HALVED_AT_ONCE, Ordering::Relaxed);
        for place in from..from.saturating_add(HALVED_AT_ONCE).min(all) {
            match self.rows.get(place / width) {
                Some(row) => {
                    let halved = |count: u32| (count > 0).then_some(count / 2);
                    if let Some(cell) = row.get(place % width) {
                        let _ = cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, halved);
                    }
                }
                None => {
                    if let Some(word) = self.told.get(place % width) {
                        word.store(0, Ordering::Relaxed);
                    }
                }
            }
        }
    }

    /// Notes that a principal is counted for this, and says whether it was not.
    fn tell(&self, kind: Common, what: u64, principal: u64) -> bool {
        let hash = mix(hash_of(kind, what) ^ principal.rotate_left(29));
        let mut is_new = false;
        for bit in [hash, mix(!hash)] {
            let word = self.told.get((bit >> 6) as usize & (self.told.len() - 1));
            let mask = 1 << (bit & 63);
            is_new |= word.is_some_and(|word| word.fetch_or(mask, Ordering::Relaxed) & mask == 0);
        }
        is_new
    }

    /// About how many principals have this.
    pub(crate) fn count(&self, kind: Common, what: u64) -> u32 {
        self.cells(kind, what).map(|cell| cell.load(Ordering::Relaxed)).min().unwrap_or(0)
    }

    fn cells(&self, kind: Common, what: u64) -> impl Iterator<Item = &AtomicU32> {
        let hash = hash_of(kind, what);
        // Two hashes make as many as are needed (Kirsch, Mitzenmacher 2006).
        let step = (hash >> 32) | 1;
        let index = move |n: u64| hash.wrapping_add(n.wrapping_mul(step)) & 0xffff_ffff;
        self.rows.iter().zip(0..).filter_map(move |(row, n)| row.get(index(n) as usize & (row.len() - 1)))
    }
}

fn hash_of(kind: Common, what: u64) -> u64 {
    mix(what ^ (kind as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// Spreads what is no hash yet, or joins two (the finalizer of SplitMix64). What an attacker could choose is hashed with a secret before.
pub(crate) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// A hash of a text that the operator chose: a route, a role.
pub(crate) fn mix_text(text: &str) -> u64 {
    text.as_bytes().chunks(8).fold(text.len() as u64, |hash, chunk| {
        let word = chunk.iter().fold(0, |word: u64, byte| (word << 8) | u64::from(*byte));
        mix(hash.rotate_left(23) ^ word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_hardly_ever_wrong_while_there_is_room() {
        let commons = Commons::new(1);
        for what in 0..1_000_u64 {
            for principal in 0..=what % 5 {
                commons.add(Common::Network, what, principal);
            }
        }
        let over =
            (0..1_000_u64).filter(|what| u64::from(commons.count(Common::Network, *what)) > what % 5 + 1).count();
        assert!((0..1_000_u64).all(|what| u64::from(commons.count(Common::Network, what)) > what % 5));
        assert!(over < 20, "{over}");
        assert_eq!(commons.count(Common::Asn, 4), 0);
    }

    #[test]
    fn what_few_share_stays_rare_however_much_was_seen() {
        let commons = Commons::new(1);
        for what in 0..1_000_000_u64 {
            commons.add(Common::Network, what, mix(what));
            if what % 1_000 == 0 {
                commons.add(Common::Country, 49, mix(what));
            }
        }
        let common = (2_000_000..2_010_000_u64).filter(|what| commons.count(Common::Network, *what) >= 3).count();
        assert!(common < 100, "{common} of 10,000 that nobody has");
        assert!(commons.count(Common::Country, 49) >= 150, "{}", commons.count(Common::Country, 49));
    }

    #[test]
    fn counts_are_halved_a_part_at_a_time_and_each_once() {
        let commons = Commons::new(1);
        (0..64).for_each(|principal| commons.add(Common::Country, 49, mix(principal)));
        commons.added.store(ADDED_PER_CELL * WIDTH_MIN - 1, Ordering::Relaxed);
        commons.add(Common::Network, 1, mix(1));
        assert_eq!(commons.halved.load(Ordering::Relaxed), HALVED_AT_ONCE);
        let parts = (ROWS + 1) * WIDTH_MIN / HALVED_AT_ONCE;
        (1..parts as u64).for_each(|n| commons.add(Common::Network, 1_000 + n, mix(n)));
        assert_eq!(commons.count(Common::Country, 49), 32);
        (0..100).for_each(|n| commons.add(Common::Network, 5_000 + n, mix(n)));
        assert_eq!(commons.count(Common::Country, 49), 32, "once");
        commons.add(Common::Country, 49, mix(1));
        assert_eq!(commons.count(Common::Country, 49), 33, "who was counted is counted anew");
    }

    #[test]
    fn a_principal_counts_once_however_often_it_comes_back() {
        let commons = Commons::new(1);
        for _ in 0..1_000 {
            commons.add(Common::Asn, 7, mix(1));
        }
        assert_eq!(commons.count(Common::Asn, 7), 1);
        commons.add(Common::Asn, 7, mix(2));
        assert_eq!((commons.count(Common::Asn, 7), commons.count(Common::Asn, 8)), (2, 0));
    }

    #[test]
    fn it_is_as_wide_as_there_are_principals() {
        let wide = |principals| Commons::new(principals).rows.map(|row| row.len());
        assert_eq!(wide(0), [WIDTH_MIN; ROWS]);
        assert_eq!(wide(100_000), [1 << 17; ROWS]);
        assert_eq!(wide(usize::MAX), [WIDTH_MAX; ROWS]);
    }

    #[test]
    fn texts_that_differ_hash_differently() {
        let texts = ["", "a", "b", "ab", "ba", "reports", "reports-admin", "reports-admio", "aaaaaaaa", "aaaaaaaaa"];
        let hashes: std::collections::BTreeSet<u64> = texts.iter().map(|text| mix_text(text)).collect();
        assert_eq!(hashes.len(), texts.len());
    }
}
