//! The plain counter that most installations have, to compare with: so many errors of an address within a time, and it is banned.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;

/// Bans an address for `length` at its `errors`-th answer of 400 to 499 within `window`.
#[derive(Debug)]
pub struct PlainCounter {
    errors: usize,
    window: Duration,
    length: Duration,
    seen: HashMap<IpAddr, VecDeque<Timestamp>>,
    banned: HashMap<IpAddr, Timestamp>,
}

impl PlainCounter {
    /// Five errors in ten minutes, ten minutes long: the defaults of fail2ban.
    #[must_use]
    pub fn usual() -> Self {
        let ten_minutes = Duration::from_secs(600);
        Self { errors: 5, window: ten_minutes, length: ten_minutes, seen: HashMap::new(), banned: HashMap::new() }
    }

    pub(super) fn is_banned(&self, address: IpAddr, now: Timestamp) -> bool {
        self.banned.get(&address).is_some_and(|until| now < *until)
    }

    pub(super) fn count(&mut self, address: IpAddr, status: u16, now: Timestamp) {
        if !(400..500).contains(&status) {
            return;
        }
        let seen = self.seen.entry(address).or_default();
        seen.push_back(now);
        while seen.front().is_some_and(|first| now.duration_since(*first).unsigned_abs() > self.window) {
            seen.pop_front();
        }
        if seen.len() >= self.errors {
            seen.clear();
            self.banned.insert(address, now.checked_add(self.length).unwrap_or(Timestamp::MAX));
        }
    }
}
