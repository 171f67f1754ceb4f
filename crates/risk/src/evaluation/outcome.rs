//! What came of a replay, by address and in all.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::rates::Share;

/// What came of one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ActorOutcome {
    /// Its requests.
    pub requests: u64,
    /// Those that the application answered below 400.
    pub good: u64,
    /// Those that it answered with 400 to 499.
    pub errors: u64,
    /// Which of its requests was the one that it was banned for, from 1.
    pub banned_at: Option<u64>,
    /// Good ones that would have been refused.
    pub good_refused: u64,
    /// All that would have been refused.
    pub refused: u64,
}

/// What came of all addresses.
#[derive(Debug, Clone, Default)]
pub struct Outcomes(pub BTreeMap<IpAddr, ActorOutcome>);

/// What an evaluation comes to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Figures {
    /// Attackers that were banned.
    pub detected: Share,
    /// Which of its requests each of those was banned for.
    until_ban: Vec<u64>,
    /// Others that were banned.
    pub wrong_bans: Share,
    /// Good requests of others that would have been refused: the rate of false 403s.
    pub false_refusals: Share,
    /// Requests of attackers that would have been refused.
    pub attack_refused: Share,
}

impl Outcomes {
    /// The figures, where these addresses are the attackers.
    #[must_use]
    pub fn figures(&self, attackers: &BTreeSet<IpAddr>) -> Figures {
        let mut figures = Figures::default();
        for (address, outcome) in &self.0 {
            let banned = u64::from(outcome.banned_at.is_some());
            if attackers.contains(address) {
                figures.detected += Share { part: banned, whole: 1 };
                figures.attack_refused += Share { part: outcome.refused, whole: outcome.requests };
                figures.until_ban.extend(outcome.banned_at);
            } else {
                figures.wrong_bans += Share { part: banned, whole: 1 };
                figures.false_refusals += Share { part: outcome.good_refused, whole: outcome.good };
            }
        }
        figures
    }
}

impl Figures {
    /// Which request attackers were banned for: the median; `None` where nobody was.
    #[must_use]
    pub fn requests_until_ban(&self) -> Option<u64> {
        let mut sorted = self.until_ban.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied()
    }

    /// Adds those of another case.
    pub fn add(&mut self, other: Self) {
        self.detected += other.detected;
        self.until_ban.extend(other.until_ban);
        self.wrong_bans += other.wrong_bans;
        self.false_refusals += other.false_refusals;
        self.attack_refused += other.attack_refused;
    }
}
