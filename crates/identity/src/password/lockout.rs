//! How often a password may be tried.
//!
//! Whoever fails waits, longer each time, and nobody can make somebody else wait for good:
//!
//! - **From one network for one name**: five attempts, then one after 30 s, 60 s and so on up to 15 minutes, until one succeeds or a day has passed.
//! - **For one name from all networks that are strange to it**: twenty at once, then one in five minutes. That bounds a botnet.
//! - **From one network for all names**: thirty at once, then one a minute. That bounds who tries one password with many names.
//! - **From a network that the name was verified from in the last 30 days**, only the first rule counts, with a count of its own. So who guesses at
//!   a name from elsewhere uses up nothing of its owner's where the owner usually is.
//!
//! An attempt counts as failed from its beginning on, until it has succeeded: many at once are no way around. A success takes back what it was
//! counted as and no more, but for the count of its own network and name, which begins anew. What counts is a network: an address of IPv4, 64 bits of
//! IPv6. A name that nobody has is counted like any other, so waiting tells nothing about who exists.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// From one network for one name: attempts before anybody waits, the first wait, the longest, and after what time it begins anew, in seconds.
const FREE: u32 = 5;
const FIRST_WAIT: i64 = 30;
const LONGEST_WAIT: i64 = 15 * 60;
const FORGOTTEN_AFTER: i64 = 24 * 60 * 60;
/// For one name from everywhere, where it was never verified from.
const BY_NAME: Rate = Rate { burst: 20, every: 5 * 60 };
/// From one network for all names.
const BY_NETWORK: Rate = Rate { burst: 30, every: 60 };
/// Networks that a name is at home in, and for how long.
const HOMES: usize = 16;
const AT_HOME_FOR: i64 = 30 * 24 * 60 * 60;

/// Bounds of what is remembered. Where strange names or networks are more, those that were idle longest are forgotten; names that somebody has are not.
const STRANGE_NAMES: usize = 16_384;
const NETWORKS: usize = 16_384;
const PAIRS: usize = 32_768;

/// Who failed how often. All times are seconds since 1970.
#[derive(Debug, Default)]
pub(crate) struct Lockouts {
    hasher: RandomState,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By the keyed hash of the name.
    names: HashMap<u64, Name>,
    pairs: HashMap<(u64, Network), Waits>,
    networks: HashMap<Network, Bucket>,
}

/// What a client's address counts as.
type Network = u128;

/// An attempt that has begun.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt {
    name: u64,
    network: Network,
    at_home: bool,
}

/// It may not begin before so many seconds have passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Locked(pub(crate) u64);

#[derive(Debug)]
struct Name {
    is_known: bool,
    strangers: Bucket,
    homes: Vec<Home>,
    last: i64,
}

#[derive(Debug)]
struct Home {
    network: Network,
    verified: i64,
    waits: Waits,
}

/// Failures in a row, and when the next attempt may be.
#[derive(Debug, Clone, Copy, Default)]
struct Waits {
    failures: u32,
    last: i64,
    until: i64,
}

/// As many at once, and one more each so many seconds.
#[derive(Debug, Clone, Copy)]
struct Rate {
    burst: i64,
    every: i64,
}

/// When a bucket that leaks at its rate is empty.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket(i64);

impl Lockouts {
    /// Begins an attempt, which counts as failed until it [succeeds](Self::succeeded) or is [taken back](Self::withdrawn). `is_known`: somebody has
    /// this name.
    pub(crate) fn begin(&self, name: &str, is_known: bool, address: IpAddr, now: i64) -> Result<Attempt, Locked> {
        let (name, network) = (self.hasher.hash_one(name), network(address));
        let mut state = self.state();
        if let Some(home) = state.names.get_mut(&name).and_then(|name| name.home(network, now)) {
            home.waits.wait(now).map_or(Ok(()), Err)?;
            home.waits.fail(now);
            return Ok(Attempt { name, network, at_home: true });
        }
        if let Some(longest) = state.longest_wait(name, network, now) {
            return Err(longest);
        }
        state.make_room(now);
        let State { names, pairs, networks } = &mut *state;
        let of_name = names.entry(name).or_insert_with(|| Name::new(now));
        of_name.is_known |= is_known;
        of_name.last = now;
        of_name.strangers.add(BY_NAME, now);
        pairs.entry((name, network)).or_default().fail(now);
        networks.entry(network).or_default().add(BY_NETWORK, now);
        Ok(Attempt { name, network, at_home: false })
    }

    /// How long the next attempt from there for this name would have to wait, which is not counted as one.
    pub(crate) fn wait(&self, name: &str, address: IpAddr, now: i64) -> Option<Locked> {
        let (name, network) = (self.hasher.hash_one(name), network(address));
        let mut state = self.state();
        if let Some(home) = state.names.get_mut(&name).and_then(|name| name.home(network, now)) {
            return home.waits.wait(now);
        }
        state.longest_wait(name, network, now)
    }

    /// It was the right password.
    pub(crate) fn succeeded(&self, attempt: Attempt, now: i64) {
        let mut state = self.state();
        state.take_back(attempt);
        let Attempt { name, network, .. } = attempt;
        state.pairs.remove(&(name, network));
        let name = state.names.entry(name).or_insert_with(|| Name::new(now));
        name.is_known = true;
        name.verified_from(network, now);
    }

    /// It was never judged.
    pub(crate) fn withdrawn(&self, attempt: Attempt) {
        let mut state = self.state();
        state.take_back(attempt);
        let Attempt { name, network, at_home } = attempt;
        let waits = if at_home {
            let name = state.names.get_mut(&name);
            name.and_then(|name| name.homes.iter_mut().find(|home| home.network == network)).map(|home| &mut home.waits)
        } else {
            state.pairs.get_mut(&(name, network))
        };
        if let Some(waits) = waits {
            waits.failures = waits.failures.saturating_sub(1);
            waits.until = 0;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Of a network that the name is not at home in.
    fn longest_wait(&self, name: u64, network: Network, now: i64) -> Option<Locked> {
        let waits = [
            self.pairs.get(&(name, network)).and_then(|pair| pair.wait(now)),
            self.names.get(&name).and_then(|name| name.strangers.wait(BY_NAME, now)),
            self.networks.get(&network).and_then(|bucket| bucket.wait(BY_NETWORK, now)),
        ];
        waits.into_iter().flatten().max_by_key(|locked| locked.0)
    }

    fn take_back(&mut self, attempt: Attempt) {
        if attempt.at_home {
            return;
        }
        if let Some(name) = self.names.get_mut(&attempt.name) {
            name.strangers.take_back(BY_NAME);
        }
        if let Some(bucket) = self.networks.get_mut(&attempt.network) {
            bucket.take_back(BY_NETWORK);
        }
    }

    /// Forgets what says nothing any more where a table is full; and if that is not enough, a sixteenth of it: what was idle longest.
    fn make_room(&mut self, now: i64) {
        shrink(&mut self.networks, NETWORKS, |bucket| bucket.0, now);
        shrink(&mut self.pairs, PAIRS, |pair| pair.last.saturating_add(FORGOTTEN_AFTER), now);
        let strange = self.names.len().saturating_sub(STRANGE_NAMES);
        if strange > 0 && self.names.values().filter(|name| !name.is_known).count() >= STRANGE_NAMES {
            let mut idle: Vec<i64> = self.names.values().filter(|name| !name.is_known).map(|name| name.last).collect();
            idle.sort_unstable();
            let limit = idle.get(STRANGE_NAMES / 16).copied().unwrap_or(now);
            self.names.retain(|_, name| name.is_known || name.last > limit);
        }
    }
}

/// `until`: when an entry says nothing any more.
fn shrink<K: Copy + Eq + std::hash::Hash, V>(
    map: &mut HashMap<K, V>,
    most: usize,
    until: impl Fn(&V) -> i64,
    now: i64,
) {
    if map.len() < most {
        return;
    }
    map.retain(|_, value| until(value) > now);
    if map.len() >= most {
        let mut by_end: Vec<(i64, K)> = map.iter().map(|(key, value)| (until(value), *key)).collect();
        by_end.sort_unstable_by_key(|(end, _)| *end);
        for (_, key) in by_end.into_iter().take(most / 16 + 1) {
            map.remove(&key);
        }
    }
}

impl Name {
    fn new(now: i64) -> Self {
        Self { is_known: false, strangers: Bucket::default(), homes: Vec::new(), last: now }
    }

    fn home(&mut self, network: Network, now: i64) -> Option<&mut Home> {
        let home = self.homes.iter_mut().find(|home| home.network == network)?;
        (home.verified.saturating_add(AT_HOME_FOR) > now).then_some(home)
    }

    fn verified_from(&mut self, network: Network, now: i64) {
        let fresh = Home { network, verified: now, waits: Waits::default() };
        if let Some(home) = self.homes.iter_mut().find(|home| home.network == network) {
            *home = fresh;
            return;
        }
        if self.homes.len() >= HOMES {
            let oldest = self.homes.iter().enumerate().min_by_key(|(_, home)| home.verified).map(|(place, _)| place);
            if let Some(oldest) = oldest {
                self.homes.swap_remove(oldest);
            }
        }
        self.homes.push(fresh);
    }
}

impl Waits {
    fn wait(&self, now: i64) -> Option<Locked> {
        let left = self.until.min(now.saturating_add(LONGEST_WAIT)).saturating_sub(now);
        u64::try_from(left).ok().filter(|left| *left > 0).map(Locked)
    }

    fn fail(&mut self, now: i64) {
        if self.last.saturating_add(FORGOTTEN_AFTER) <= now {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        self.last = now;
        let wait = match self.failures.checked_sub(FREE) {
            None => 0,
            Some(doublings) => FIRST_WAIT.checked_shl(doublings.min(10)).unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT),
        };
        self.until = now.saturating_add(wait);
    }
}

impl Bucket {
    fn wait(self, rate: Rate, now: i64) -> Option<Locked> {
        // A clock that was set back makes nobody wait longer than a full bucket does.
        let full = rate.burst.saturating_mul(rate.every);
        let empty_in = self.0.saturating_sub(now).min(full);
        let left = empty_in.saturating_sub(full.saturating_sub(rate.every));
        u64::try_from(left).ok().filter(|left| *left > 0).map(Locked)
    }

    fn add(&mut self, rate: Rate, now: i64) {
        let full = rate.burst.saturating_mul(rate.every);
        self.0 = self.0.clamp(now, now.saturating_add(full)).saturating_add(rate.every);
    }

    fn take_back(&mut self, rate: Rate) {
        self.0 = self.0.saturating_sub(rate.every);
    }
}

/// An address of IPv4 for itself, one of IPv6 with all that share its first 64 bits: one subscriber has these.
fn network(address: IpAddr) -> Network {
    match address.to_canonical() {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address) & !u128::from(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 60 * 60;
    const START: i64 = 1_800_000_000;

    fn address(number: u32) -> IpAddr {
        IpAddr::from(u32::to_be_bytes(0x0a00_0000 + number))
    }

    /// How many attempts of a day are let through, where somebody tries all the time with these names from these networks.
    fn guesses(lockouts: &Lockouts, names: &[&str], networks: u32, seconds: i64) -> u32 {
        let mut begun = 0;
        // All waits are multiples of this.
        for second in (0..seconds).step_by(10) {
            for name in names {
                for network in 0..networks {
                    begun += u32::from(lockouts.begin(name, true, address(network), START + second).is_ok());
                }
            }
        }
        begun
    }

    /// The numbers that docs/identity-passwords.md gives.
    #[test]
    fn so_many_guesses_are_possible_in_a_day() {
        assert_eq!(guesses(&Lockouts::default(), &["alice"], 1, DAY), 104, "from one network at one name");
        assert_eq!(guesses(&Lockouts::default(), &["alice"], 10, DAY), 307, "from all networks at one name");
        let names: Vec<String> = (0..60).map(|number| format!("user-{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(guesses(&Lockouts::default(), &names, 1, DAY), 1_469, "from one network at all names");
    }

    #[test]
    fn who_guesses_from_elsewhere_locks_nobody_out_at_home() {
        let lockouts = Lockouts::default();
        let home = address(1_000);
        let first = lockouts.begin("alice", true, home, START).unwrap();
        lockouts.succeeded(first, START);
        guesses(&lockouts, &["alice"], 40, 3_600);
        let now = START + 3_595;
        assert!(lockouts.begin("alice", true, address(2_000), now).is_err(), "a stranger waits");
        for attempt in 0..FREE {
            assert!(lockouts.begin("alice", true, home, now).is_ok(), "{attempt}");
        }
        assert_eq!(lockouts.begin("alice", true, home, now).unwrap_err(), Locked(30), "and has a count of its own");
        // What is not seen for a month is no home any more.
        assert!(lockouts.begin("alice", true, home, START + 30 * DAY - 1).is_ok());
        let name =
            |lockouts: &Lockouts| lockouts.begin("alice", true, home, START + 30 * DAY).map(|attempt| attempt.at_home);
        assert_eq!(name(&lockouts), Ok(false));
    }

    impl PartialEq for Attempt {
        fn eq(&self, other: &Self) -> bool {
            (self.name, self.network, self.at_home) == (other.name, other.network, other.at_home)
        }
    }

    #[test]
    fn one_network_cannot_use_up_what_all_strangers_have() {
        let lockouts = Lockouts::default();
        guesses(&lockouts, &["alice"], 1, 3 * 3_600);
        assert!(lockouts.begin("alice", true, address(7), START + 3 * 3_600).is_ok());
    }

    #[test]
    fn waits_grow_and_end() {
        let lockouts = Lockouts::default();
        let begin = |now: i64| lockouts.begin("alice", true, address(1), START + now).map(|_| ());
        for _ in 0..5 {
            assert_eq!(begin(0), Ok(()));
        }
        assert_eq!(begin(0), Err(Locked(30)));
        assert_eq!(begin(29), Err(Locked(1)));
        assert_eq!(begin(30), Ok(()));
        assert_eq!(begin(30), Err(Locked(60)));
        assert_eq!(begin(90), Ok(()));
        assert_eq!(begin(90), Err(Locked(120)));
        // A day without a failure, and it begins anew.
        assert_eq!(begin(90 + DAY), Ok(()));
        assert_eq!(begin(90 + DAY), Ok(()));
    }

    #[test]
    fn the_next_wait_can_be_asked_for_without_an_attempt() {
        let lockouts = Lockouts::default();
        let wait = |from: u32, now: i64| lockouts.wait("alice", address(from), START + now);
        for number in 0..5 {
            assert_eq!(wait(1, 0), None, "{number}");
            assert!(lockouts.begin("alice", true, address(1), START).is_ok());
        }
        assert_eq!((wait(1, 0), wait(1, 29), wait(1, 30)), (Some(Locked(30)), Some(Locked(1)), None));
        assert_eq!(wait(2, 0), None, "from elsewhere there is room");
        // At home it is the owner's own count.
        let attempt = lockouts.begin("alice", true, address(1), START + 30).unwrap();
        lockouts.succeeded(attempt, START + 30);
        assert_eq!(wait(1, 30), None);
        for _ in 0..5 {
            assert!(lockouts.begin("alice", true, address(1), START + 31).is_ok());
        }
        assert_eq!(wait(1, 31), Some(Locked(30)));
    }

    #[test]
    fn a_success_begins_anew_for_its_own_name_alone() {
        let lockouts = Lockouts::default();
        let begin = |name: &str| lockouts.begin(name, true, address(1), START);
        for _ in 0..4 {
            begin("alice").unwrap();
            begin("bob").unwrap();
        }
        lockouts.succeeded(begin("alice").unwrap(), START);
        for _ in 0..5 {
            begin("alice").unwrap();
        }
        assert!(begin("alice").is_err());
        begin("bob").unwrap();
        assert!(begin("bob").is_err(), "the success of another name is none of bob's");
    }

    #[test]
    fn many_at_once_are_no_way_around() {
        let lockouts = Lockouts::default();
        let begun: Vec<_> = (0..100).map(|_| lockouts.begin("alice", true, address(1), START)).collect();
        assert_eq!(begun.iter().filter(|attempt| attempt.is_ok()).count(), 5);
        // Those that were never judged are as if they had not been.
        for attempt in begun.into_iter().flatten() {
            lockouts.withdrawn(attempt);
        }
        let again = (0..100).filter(|_| lockouts.begin("alice", true, address(1), START).is_ok()).count();
        assert_eq!(again, 5);
    }

    #[test]
    fn a_name_that_nobody_has_waits_like_one_that_somebody_has() {
        let lockouts = Lockouts::default();
        for name in ["alice", "nobody"] {
            let outcomes: Vec<_> =
                (0..8).map(|_| lockouts.begin(name, name == "alice", address(1), START).map(|_| ())).collect();
            let expected = [Ok(()), Ok(()), Ok(()), Ok(()), Ok(()), Err(Locked(30)), Err(Locked(30)), Err(Locked(30))];
            assert_eq!(outcomes, expected, "{name}");
        }
    }

    #[test]
    fn all_of_one_subscriber_of_ipv6_is_one_network() {
        let check = |one: &str, other: &str, same: bool| {
            let of = |text: &str| network(text.parse().unwrap());
            assert_eq!(of(one) == of(other), same, "{one} {other}");
        };
        check("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true);
        check("2001:db8:1:2::1", "2001:db8:1:3::1", false);
        check("192.0.2.1", "192.0.2.2", false);
        check("192.0.2.1", "::ffff:192.0.2.1", true);
    }

    #[test]
    fn what_is_remembered_has_bounds_and_names_that_exist_stay() {
        let lockouts = Lockouts::default();
        for _ in 0..5 {
            lockouts.begin("alice", true, address(1), START).unwrap();
        }
        for number in 0..40_000_u32 {
            let name = format!("nobody-{number}");
            let _ = lockouts.begin(&name, false, address(100 + number), START + i64::from(number / 100));
        }
        let state = lockouts.state();
        assert!(
            state.networks.len() <= NETWORKS && state.pairs.len() <= PAIRS,
            "{} {}",
            state.networks.len(),
            state.pairs.len()
        );
        assert!(state.names.len() <= STRANGE_NAMES + 2, "{}", state.names.len());
        assert!(state.names.values().any(|name| name.is_known));
    }

    #[test]
    fn a_clock_that_was_set_back_locks_nobody_out_for_longer() {
        let lockouts = Lockouts::default();
        for _ in 0..6 {
            let _ = lockouts.begin("alice", true, address(1), START);
        }
        let Err(Locked(wait)) = lockouts.begin("alice", true, address(1), START - 10 * DAY) else { panic!("it waits") };
        assert!(wait <= 900, "{wait}");
    }
}
