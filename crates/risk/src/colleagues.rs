//! Which principals come from a network, as far as that excuses others: three of them make it a place where colleagues are.
//!
//! Counted exactly, since it takes a journey from the score: a network holds the last four of its principals, each once, however often it comes
//! back. Nobody makes a network one of colleagues alone. Bounded; the network not seen for longest of a sample makes room, and then looks like one of
//! nobody's, which takes nothing from the score.

use crate::commons::mix;
use crate::moment::before;
use crate::recent::RecentSet;
use crate::table::Table;

/// Keyed by the member of a network.
#[derive(Debug)]
pub(crate) struct Colleagues(Table<RecentSet<PRINCIPALS_MAX>>);

/// The caller, and as many others as make a difference.
const PRINCIPALS_MAX: usize = 4;
/// Who was there within this counts: 30 days.
const THERE_TICKS: u64 = 30 * 24 * 3_600 * 16;

impl Colleagues {
    pub(crate) fn new(bound: usize) -> Self {
        Self(Table::new(bound))
    }

    /// A principal came from a network. Where both are known it allocates nothing.
    pub(crate) fn note(&self, network: u64, principal: u64, now: u64) {
        let worth = |there: &RecentSet<PRINCIPALS_MAX>| Some(there.latest());
        // A table that is full of what is worth keeping keeps that.
        let _ = self.0.with_or_insert(key(network), RecentSet::default, worth, |there| there.note(principal, now));
    }

    /// How many others came from a network, of three at most that make a difference (four where the principal itself is not among the last).
    pub(crate) fn others(&self, network: u64, principal: u64, now: u64) -> u32 {
        let since = before(now, THERE_TICKS);
        let others = self.0.with(key(network), |there| there.others_seen_after(since, principal)).unwrap_or(0);
        u32::try_from(others).unwrap_or(u32::MAX)
    }
}

/// Members are 44 bits; the table wants keys that are spread over a word.
fn key(network: u64) -> u64 {
    mix(network).max(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 28_000_000_000;

    fn principal(n: u64) -> u64 {
        n << 40
    }

    #[test]
    fn one_principal_is_one_however_often_it_comes_back() {
        let colleagues = Colleagues::new(8);
        for n in 0..100 {
            colleagues.note(7, principal(1), NOW + n * 10_000);
            colleagues.note(8, principal(1), NOW + n * 10_000);
        }
        let others = |who, later| colleagues.others(7, principal(who), NOW + later);
        assert_eq!((others(1, 0), others(2, 0)), (0, 1));
        (2..4).for_each(|n| colleagues.note(7, principal(n), NOW));
        assert_eq!((others(1, 0), others(9, 0)), (2, 3));
        assert_eq!(colleagues.others(9, principal(9), NOW), 0);
        // Who has not been there for a month does not count.
        assert_eq!((others(9, THERE_TICKS - 1), others(9, THERE_TICKS)), (3, 1));
    }

    #[test]
    fn a_network_that_is_used_outlasts_many_that_are_not() {
        let colleagues = Colleagues::new(64);
        for n in 0..10_000 {
            if n % 8 == 0 {
                (1..4).for_each(|who| colleagues.note(7, principal(who), NOW + 1_000 * n));
            }
            colleagues.note(1_000 + n, principal(99), NOW + n);
        }
        assert_eq!(colleagues.others(7, principal(99), NOW), 3);
        assert!(colleagues.0.len() <= 64);
    }
}
