//! Counts what each actor does wrong, in a bounded table of small records, and says when it is an offence.
//!
//! Addresses and principals have tables of their own (three quarters and a quarter of `max_actors`), so that a flood of
//! addresses cannot push out a principal. Every request makes a record, also a good one: the share of refusals protects
//! an actor only if its good requests counted before its first error did. In a full table the actor with the fewest
//! requests makes room, and one that is banned or half-way to an offence never does; where all are such, the caller is
//! counted with its neighbourhood (IPv4 /24, IPv6 /48).

use std::net::IpAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::actor::{Keys, Network};
use crate::bucket::{Bucket, Counts, Share};
use crate::moment::{before, in_words, ticks};
use crate::paths::Paths;
use crate::recent::RecentSet;
use crate::settings::{BanSettings, Credentials, Probing, Signatures, Spraying};
use crate::signature::Found;
use crate::table::Table;

/// How many attempted principals are told apart for one address; a higher setting counts as this.
const SPRAYED_MAX: usize = 16;
const NEIGHBOURHOODS_MAX: usize = 1_024;
/// A verified principal was let in from the address within this: 24 hours.
const HEALTHY_TICKS: u64 = 24 * 3_600 * 16;
/// The mark of a healthy principal is renewed at most once a minute, so that a busy address costs reads alone.
const HEALTHY_REFRESH_TICKS: u64 = 60 * 16;
/// Five failures within seconds are five, though each fades a little while the others come.
const TOLERANCE: f64 = 0.98;
/// So many times the level, over so many paths, is an offence whatever the share of good requests (risk.md 1.5).
const FLAGRANT_FACTOR: f64 = 3.0;
const FLAGRANT_PATHS: f64 = 12.0;
/// A path that was refused before counts this much of its weight: a broken client repeats itself.
const REPEAT: f64 = 0.1;

/// The records of all actors.
#[derive(Debug)]
pub(crate) struct Abuse {
    addresses: Table<Record>,
    neighbourhoods: Table<Record>,
    principals: Table<Record>,
    /// When some address last tried too many principals. While that is long ago, no address needs to be looked up.
    latest_spraying: AtomicU64,
}

/// Who is counted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Subject {
    /// The caller's address.
    Address(IpAddr),
    /// A verified principal, by key.
    Principal(u64),
}

/// Under whom it was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    /// The single address.
    Address { key: u64, network: Network, healthy: bool },
    /// The neighbourhood of the address.
    Neighbourhood { key: u64, network: Network },
    /// The principal.
    Principal { key: u64 },
}

impl Counted {
    pub(crate) fn key(self) -> u64 {
        match self {
            Self::Address { key, .. } | Self::Neighbourhood { key, .. } | Self::Principal { key } => key,
        }
    }
}

/// What was done wrong, for the operator, such as `credentials: 5 failed in the last 2m`.
pub(crate) type Offence = String;

/// One failed credential.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FailedCredential {
    /// The key of the account it claims, where it claims one.
    pub(crate) attempted: Option<u64>,
}

/// One refused request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Probe {
    pub(crate) weight: f64,
    pub(crate) path: u64,
}

impl Limits {
    /// Whether requests are looked at for signatures.
    pub(crate) fn signatures(&self) -> bool {
        self.signatures.enabled
    }
}

impl Abuse {
    pub(crate) fn new(max_actors: usize) -> Self {
        let principals = (max_actors / 4).max(1);
        Self {
            addresses: Table::new(max_actors.saturating_sub(principals)),
            neighbourhoods: Table::new(NEIGHBOURHOODS_MAX.min(max_actors)),
            principals: Table::new(principals),
            latest_spraying: AtomicU64::new(0),
        }
    }

    /// One request without offence.
    pub(crate) fn good(&self, keys: &Keys, subject: Subject, limits: &Limits, now: u64) {
        self.with_record(keys, subject, limits, now, |record| {
            record.share.count(false, now);
        });
    }

    /// A verified principal was let in from this address.
    pub(crate) fn healthy(&self, keys: &Keys, address: IpAddr, limits: &Limits, now: u64) {
        let key = keys.network(Network::of_address(address));
        let worth = |record: &Record| record.worth(limits, now);
        let renewed = self.addresses.with_or_insert(key, Record::default, worth, |record| {
            let due = record.healthy.load(Ordering::Relaxed) <= before(now, HEALTHY_REFRESH_TICKS);
            if due {
                record.healthy.store(now, Ordering::Relaxed);
            }
            due
        });
        if renewed == Some(true) {
            self.addresses.mark(key);
        }
    }

    /// Puts back that a verified principal was let in from an address, by its key, at that time.
    pub(crate) fn restore_healthy(&self, key: u64, seen: u64, limits: &Limits, now: u64) -> bool {
        let worth = |record: &Record| record.worth(limits, now);
        let set = |record: &Record| {
            record.healthy.fetch_max(seen.min(now), Ordering::Relaxed);
        };
        self.addresses.with_or_insert(key, Record::default, worth, set).is_some()
    }

    /// Shows the addresses of which that was noted anew, about `most` of them; says whether there are more.
    pub(crate) fn take_healthy(&self, most: usize, mut show: impl FnMut(u64, u64)) -> bool {
        self.addresses.take_marked(most, |key, record| match record.healthy.load(Ordering::Relaxed) {
            0 => {}
            seen => show(key, seen),
        })
    }

    pub(crate) fn mark_healthy(&self) {
        self.addresses.mark_all();
    }

    pub(crate) fn marked(&self) -> usize {
        self.addresses.marked()
    }

    /// How many addresses there can be.
    pub(crate) fn bound(&self) -> usize {
        self.addresses.bound()
    }

    pub(crate) fn take_marks(&self) {
        self.addresses.take_marks();
    }

    pub(crate) fn probe(
        &self,
        keys: &Keys,
        subject: Subject,
        probe: Probe,
        limits: &Limits,
        now: u64,
    ) -> Option<(Counted, Option<Offence>)> {
        self.with_record(keys, subject, limits, now, |record| record.probe(probe, limits, now))
    }

    pub(crate) fn failed_credential(
        &self,
        keys: &Keys,
        address: IpAddr,
        failure: FailedCredential,
        limits: &Limits,
        now: u64,
    ) -> Option<(Counted, Option<Offence>)> {
        self.with_record(keys, Subject::Address(address), limits, now, |record| {
            let (offence, sprayed) = record.failed_credential(failure, limits, now);
            if sprayed {
                self.latest_spraying.fetch_max(now, Ordering::Relaxed);
            }
            offence
        })
    }

    /// A request that nobody sends by accident. It counts beside what else the request counts as.
    pub(crate) fn signature(
        &self,
        keys: &Keys,
        subject: Subject,
        found: Found,
        limits: &Limits,
        now: u64,
    ) -> Option<(Counted, Option<Offence>)> {
        self.with_record(keys, subject, limits, now, |record| record.signature(found, limits, now))
    }

    /// How many principals this address failed as, where that is too many. One atomic load while no address does it.
    pub(crate) fn spraying(&self, keys: &Keys, address: IpAddr, limits: &Limits, now: u64) -> Option<usize> {
        let latest = self.latest_spraying.load(Ordering::Relaxed);
        if latest == 0 || latest < before(now, limits.spraying_window) {
            return None;
        }
        let key = keys.network(Network::of_address(address));
        let sprayed = self.addresses.with(key, |record| record.sprayed(limits, now))?;
        (sprayed >= limits.spraying_principals).then_some(sprayed)
    }

    /// A ban settles what was done: the next offence takes the full level again.
    pub(crate) fn settle(&self, counted: Counted, until: u64) {
        self.table(counted).with(counted.key(), |record| {
            record.settle();
            record.banned_until.fetch_max(until, Ordering::Relaxed);
        });
    }

    pub(crate) fn forget(&self, key: u64) {
        for table in [&self.addresses, &self.neighbourhoods, &self.principals] {
            table.with(key, Record::clear);
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.addresses.len() + self.neighbourhoods.len() + self.principals.len()
    }

    fn table(&self, counted: Counted) -> &Table<Record> {
        match counted {
            Counted::Address { .. } => &self.addresses,
            Counted::Neighbourhood { .. } => &self.neighbourhoods,
            Counted::Principal { .. } => &self.principals,
        }
    }

    /// `None` where there is no room, not even for the neighbourhood: then nobody is charged.
    fn with_record<R>(
        &self,
        keys: &Keys,
        subject: Subject,
        limits: &Limits,
        now: u64,
        act: impl Fn(&Record) -> R,
    ) -> Option<(Counted, R)> {
        let worth = |record: &Record| record.worth(limits, now);
        let address = match subject {
            Subject::Principal(key) => {
                return self
                    .principals
                    .with_or_insert(key, Record::default, worth, &act)
                    .map(|result| (Counted::Principal { key }, result));
            }
            Subject::Address(address) => address,
        };
        let network = Network::of_address(address);
        let key = keys.network(network);
        let counted = self.addresses.with_or_insert(key, Record::default, worth, |record| {
            (Counted::Address { key, network, healthy: record.is_healthy(now) }, act(record))
        });
        counted.or_else(|| {
            let network = Network::neighbourhood(address);
            let key = keys.network(network);
            self.neighbourhoods
                .with_or_insert(key, Record::default, worth, &act)
                .map(|result| (Counted::Neighbourhood { key, network }, result))
        })
    }
}

/// When a level is an offence: `[ban]`, with its times also in the units of the counters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    probing: Probing,
    probing_half: u64,
    credentials: Credentials,
    credentials_half: u64,
    spraying: Spraying,
    spraying_principals: usize,
    spraying_window: u64,
    signatures: Signatures,
    signatures_half: u64,
}

impl Limits {
    pub(crate) fn of(settings: &BanSettings) -> Self {
        let principals = usize::try_from(settings.spraying.principals).unwrap_or(SPRAYED_MAX);
        Self {
            probing: settings.probing,
            probing_half: ticks(settings.probing.half),
            credentials: settings.credentials,
            credentials_half: ticks(settings.credentials.half),
            spraying: settings.spraying,
            spraying_principals: principals.clamp(1, SPRAYED_MAX),
            spraying_window: ticks(settings.spraying.window),
            signatures: settings.signatures,
            signatures_half: ticks(settings.signatures.half),
        }
    }
}

/// What is kept about one actor.
#[derive(Debug, Default)]
struct Record {
    probing: Bucket,
    credentials: Bucket,
    signatures: Bucket,
    share: Share,
    paths: Paths,
    /// The principals it failed as; most actors never fail as any.
    sprayed: OnceLock<Box<RecentSet<SPRAYED_MAX>>>,
    /// When a verified principal was last let in from this address; 0 for never.
    healthy: AtomicU64,
    /// Until when a ban keeps this record from being evicted.
    banned_until: AtomicU64,
}

impl Record {
    fn probe(&self, probe: Probe, limits: &Limits, now: u64) -> Option<Offence> {
        let counts = self.share.count(true, now);
        let is_new = self.paths.note(probe.path, limits.probing_half, now);
        let amount = if is_new { probe.weight } else { probe.weight * REPEAT };
        let level = self.probing.pour(amount, limits.probing_half, now);
        let paths = self.paths.estimate();
        let likely = level >= limits.probing.level * TOLERANCE && counts.refused_at_least() >= limits.probing.ratio;
        let flagrant = level >= FLAGRANT_FACTOR * limits.probing.level * TOLERANCE && paths >= FLAGRANT_PATHS;
        (likely || flagrant).then(|| probing_in_words(level, paths, counts, limits))
    }

    /// The offence, and whether the address has tried too many principals.
    fn failed_credential(&self, failure: FailedCredential, limits: &Limits, now: u64) -> (Option<Offence>, bool) {
        self.share.count(true, now);
        let level = self.credentials.pour(1.0, limits.credentials_half, now);
        let mut is_new = false;
        if let Some(account) = failure.attempted {
            is_new = self.sprayed.get_or_init(Box::default).note(account, now);
        }
        let sprayed = self.sprayed(limits, now);
        let spraying = sprayed >= limits.spraying_principals;
        let offence = if spraying && is_new {
            Some(format!("spraying: {sprayed} principals tried in the last {}", in_words(limits.spraying.window)))
        } else if level >= limits.credentials.level * TOLERANCE {
            Some(format!("credentials: {:.0} failed in the last {}", level.ceil(), in_words(limits.credentials.half)))
        } else {
            None
        };
        (offence, spraying)
    }

    fn signature(&self, found: Found, limits: &Limits, now: u64) -> Option<Offence> {
        let level = self.signatures.pour(found.weight, limits.signatures_half, now);
        (level >= limits.signatures.level * TOLERANCE).then(|| {
            let (most, half) = (limits.signatures.level, in_words(limits.signatures.half));
            format!("signatures: level {level:.1} of {most:.1} in the last {half}, the last one: {}", found.name)
        })
    }

    fn sprayed(&self, limits: &Limits, now: u64) -> usize {
        self.sprayed.get().map_or(0, |sprayed| sprayed.seen_after(before(now, limits.spraying_window)))
    }

    fn is_healthy(&self, now: u64) -> bool {
        let healthy = self.healthy.load(Ordering::Relaxed);
        healthy != 0 && healthy > before(now, HEALTHY_TICKS)
    }

    /// How much the record is worth keeping, `None` if it must stay: banned, or half-way to an offence. One with a healthy
    /// principal is worth more than any without, since a ban's scope hangs on it; then requests count.
    fn worth(&self, limits: &Limits, now: u64) -> Option<u64> {
        let level = self.probing.level(limits.probing_half, now);
        let hot = level >= limits.probing.level / 2.0
            || self.credentials.level(limits.credentials_half, now) >= limits.credentials.level / 2.0
            || self.signatures.level(limits.signatures_half, now) >= limits.signatures.level / 2.0
            || self.sprayed(limits, now) * 2 >= limits.spraying_principals.max(2);
        if hot || self.banned_until.load(Ordering::Relaxed) > now {
            return None;
        }
        Some((u64::from(self.is_healthy(now)) << 32) | self.share.counts(now).total)
    }

    fn settle(&self) {
        self.probing.clear();
        self.credentials.clear();
        self.signatures.clear();
        self.paths.clear();
    }

    fn clear(&self) {
        self.settle();
        self.share.clear();
        self.banned_until.store(0, Ordering::Relaxed);
        if let Some(sprayed) = self.sprayed.get() {
            sprayed.clear();
        }
    }
}

fn probing_in_words(level: f64, paths: f64, counts: Counts, limits: &Limits) -> Offence {
    // An estimate above the number of requests would only puzzle.
    let paths = paths.min(counts.refused as f64);
    format!(
        "probing: level {level:.1} of {:.1} over about {paths:.0} paths in the last {}, {} of {} requests refused",
        limits.probing.level,
        in_words(limits.probing.half),
        counts.refused,
        counts.total
    )
}

#[cfg(test)]
#[path = "abuse_tests.rs"]
mod tests;
