//! Failed credentials by the account they claim. What is claimed is not verified, so this is only ever novelty: it can
//! ask the account's owner for a step-up, and never refuses or bans anybody.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::bucket::Bucket;
use crate::moment::before;
use crate::recent::RecentSet;
use crate::table::Table;

/// Ten minutes.
const WINDOW_TICKS: u64 = 600 * 16;
/// Failures, of which half are forgotten after the window.
const FAILURES_MIN: f64 = 5.0;
/// Distinct networks within the window.
const NETWORKS_MIN: usize = 3;
/// Five failures within seconds are five, though each fades a little while the others come.
const TOLERANCE: f64 = 0.98;

/// Keyed by claimed id.
#[derive(Debug)]
pub(crate) struct Accounts {
    table: Table<Failures>,
    /// When some account was last under attack. While that is long ago, nobody needs to be looked up.
    latest: AtomicU64,
}

#[derive(Debug, Default)]
struct Failures {
    level: Bucket,
    networks: RecentSet<8>,
}

/// An account that failed often and from several networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AccountAttack {
    /// Failures, at least 5.
    pub(crate) failures: u32,
    /// Networks they came from, 3 to 8.
    pub(crate) networks: usize,
}

impl Accounts {
    pub(crate) fn new(bound: usize) -> Self {
        Self { table: Table::new(bound), latest: AtomicU64::new(0) }
    }

    pub(crate) fn note(&self, account: u64, network: u64, now: u64) {
        let worth =
            |failures: &Failures| Some(level_as_integer(failures.level.level(WINDOW_TICKS, now) * 1_000.0).into());
        let attack = self.table.with_or_insert(account, Failures::default, worth, |failures| {
            failures.level.pour(1.0, WINDOW_TICKS, now);
            failures.networks.note(network, now);
            failures.attack(now)
        });
        if attack.flatten().is_some() {
            self.latest.fetch_max(now, Ordering::Relaxed);
        }
    }

    /// The attack on this account, where there is one. One atomic load while no account is under attack.
    pub(crate) fn attack(&self, account: impl FnOnce() -> u64, now: u64) -> Option<AccountAttack> {
        let latest = self.latest.load(Ordering::Relaxed);
        if latest == 0 || latest < before(now, WINDOW_TICKS) {
            return None;
        }
        self.table.with(account(), |failures| failures.attack(now)).flatten()
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }
}

impl Failures {
    fn attack(&self, now: u64) -> Option<AccountAttack> {
        let level = self.level.level(WINDOW_TICKS, now);
        let networks = self.networks.seen_after(before(now, WINDOW_TICKS));
        (level >= FAILURES_MIN * TOLERANCE && networks >= NETWORKS_MIN)
            .then(|| AccountAttack { failures: level_as_integer(level.ceil()), networks })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "levels are 0 to 16,383, here at most times 1,000"
)]
fn level_as_integer(level: f64) -> u32 {
    level as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 28_000_000_000;

    #[test]
    fn an_attack_takes_five_failures_from_three_networks() {
        let check = |failures: u64, networks: u64, later: u64, expected: bool| {
            let accounts = Accounts::new(64);
            for n in 0..failures {
                accounts.note(7, (n % networks) << 40, NOW);
            }
            assert_eq!(accounts.attack(|| 7, NOW + later).is_some(), expected, "{failures} from {networks}");
            assert_eq!(accounts.attack(|| 8, NOW + later), None);
        };
        check(4, 3, 0, false);
        check(5, 2, 0, false);
        check(5, 3, 0, true);
        check(5, 3, WINDOW_TICKS, false);
        check(100, 3, WINDOW_TICKS - 1, true);
        check(100, 3, WINDOW_TICKS, false);
    }

    #[test]
    fn many_names_do_not_push_out_an_account_under_attack() {
        let accounts = Accounts::new(64);
        for n in 0..6_u64 {
            accounts.note(7, n << 40, NOW);
        }
        for name in 0..10_000_u64 {
            accounts.note(1_000 + name, 1 << 40, NOW);
        }
        assert!(accounts.len() <= 64);
        assert_eq!(accounts.attack(|| 7, NOW), Some(AccountAttack { failures: 6, networks: 6 }));
    }
}
