//! What is usual among all principals: how many of them come from a network, an autonomous system, a country, and how many of those
//! with a role use a route.
//!
//! A count-min sketch (Cormode, Muthukrishnan 2005) of fixed size. It may count too many and never too few, which makes things look
//! more common than they are and so never denies anybody. It is told once of each principal and thing, not of each request. Before it is so
//! full that everything would look common, all counts are halved: 1 MiB knows the habits of some ten thousand principals.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// Counts of principals by what they have in common.
#[derive(Debug)]
pub(crate) struct Commons {
    rows: [Box<[AtomicU32]>; ROWS],
    /// What was added since the counts were last halved.
    added: AtomicUsize,
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
    /// A role and a route, by a hash of both.
    RoleRoute,
}

const ROWS: usize = 4;
/// A power of two, of 16 bits: four such indices are one hash.
const WIDTH: usize = 1 << 16;
const INDEX_BITS: u32 = 16;
/// How much is added before all is halved.
const ADDED_MAX: usize = 4 * WIDTH;

impl Default for Commons {
    fn default() -> Self {
        let row = || (0..WIDTH).map(|_| AtomicU32::new(0)).collect();
        Self { rows: std::array::from_fn(|_| row()), added: AtomicUsize::new(0) }
    }
}

impl Commons {
    /// One principal more has this.
    pub(crate) fn add(&self, kind: Common, what: u64) {
        let least = self.count(kind, what);
        // Only the counters that are lowest rise (Estan, Varghese 2002): the others have counted somebody else.
        for cell in self.cells(kind, what) {
            let _ = cell.compare_exchange(least, least.saturating_add(1), Ordering::Relaxed, Ordering::Relaxed);
        }
        // The one thread that comes to the bound halves; a count that changes meanwhile is off by one.
        if self.added.fetch_add(1, Ordering::Relaxed) + 1 == ADDED_MAX {
            for cell in self.rows.iter().flat_map(|row| row.iter()) {
                let _ =
                    cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| (count > 0).then_some(count / 2));
            }
            self.added.store(ADDED_MAX / 2, Ordering::Relaxed);
        }
    }

    /// How many principals have this, or a few more.
    pub(crate) fn count(&self, kind: Common, what: u64) -> u32 {
        self.cells(kind, what).map(|cell| cell.load(Ordering::Relaxed)).min().unwrap_or(0)
    }

    fn cells(&self, kind: Common, what: u64) -> impl Iterator<Item = &AtomicU32> {
        let hash = mix(what ^ (kind as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        self.rows.iter().zip(0..).filter_map(move |(row, n)| row.get((hash >> (n * INDEX_BITS)) as usize % WIDTH))
    }
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
    fn counts_are_never_too_low_and_seldom_too_high() {
        let commons = Commons::default();
        for what in 0..1_000_u64 {
            for _ in 0..=what % 5 {
                commons.add(Common::Network, what);
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
        let commons = Commons::default();
        for what in 0..1_000_000_u64 {
            commons.add(Common::Network, what);
            if what % 1_000 == 0 {
                commons.add(Common::Country, 49);
            }
        }
        let common = (2_000_000..2_010_000_u64).filter(|what| commons.count(Common::Network, *what) >= 3).count();
        assert!(common < 100, "{common} of 10,000 that nobody has");
        assert!(commons.count(Common::Country, 49) >= 150, "{}", commons.count(Common::Country, 49));
    }

    #[test]
    fn texts_that_differ_hash_differently() {
        let texts = ["", "a", "b", "ab", "ba", "reports", "reports-admin", "reports-admio", "aaaaaaaa", "aaaaaaaaa"];
        let hashes: std::collections::BTreeSet<u64> = texts.iter().map(|text| mix_text(text)).collect();
        assert_eq!(hashes.len(), texts.len());
    }
}
