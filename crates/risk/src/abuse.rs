//! Counts what each actor does wrong, in a bounded table of small records, and says when it is an offence.
//!
//! Addresses and principals have tables of their own (three quarters and a quarter of `max_actors`), so that a flood of
//! addresses cannot push out a principal. Every request makes a record, also a good one: the share of refusals protects
//! an actor only if its good requests counted before its first error did. In a full table the actor with the fewest
//! requests makes room, and one that is banned or half-way to an offence never does; where all are such, the caller is
//! counted with its neighbourhood (IPv4 /24, IPv6 /48).

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::actor::{Keys, Network};
use crate::bucket::{Bucket, Counts, Share};
use crate::moment::{Moment, TICKS_PER_SECOND, before, in_words, seconds, seconds_before, ticks};
use crate::pace::{Limit, Pace};
use crate::paths::{LastPaths, PathMap};
use crate::recent::RecentSet;
use crate::settings::{BanSettings, Credentials, Flood, Probing, Signatures, Spraying};
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
/// Whoever is refused on fewer paths looks for nothing: a monitor, or a client that does not give up.
const FEWEST_PATHS: f64 = 2.5;
/// Passwords are tried on one path: so many times the level is guessing.
pub(crate) const GUESSING_FACTOR: f64 = 3.0;
/// A path that was refused before counts this much of its weight: a broken client repeats itself.
const REPEAT: f64 = 0.1;

/// The records of all actors.
#[derive(Debug)]
pub(crate) struct Abuse {
    addresses: Table<Record>,
    neighbourhoods: Table<Record>,
    principals: Table<Record>,
    /// What else is known of those who were refused of late.
    details: Table<Detail>,
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

/// What was done wrong, for the operator, such as `credentials: 5 failed in the last 2m`. Its first word says what kind it is, also of a
/// ban that a store has kept.
pub(crate) type Offence = String;

const CREDENTIALS: &str = "credentials";
const SPRAYING: &str = "spraying";

/// Whether it was credentials that failed.
pub(crate) fn is_for_credentials(offence: &str) -> bool {
    offence.split_once(':').is_some_and(|(kind, _)| matches!(kind, CREDENTIALS | SPRAYING))
}

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
    /// How many times the level it takes where there are few paths; `None`: then it is no probing at all.
    pub(crate) on_few_paths: Option<f64>,
}

impl Limits {
    /// Whether requests are looked at for signatures.
    pub(crate) fn signatures(&self) -> bool {
        self.signatures.enabled
    }

    /// Whether requests are counted whatever became of them.
    pub(crate) fn floods(&self) -> bool {
        self.flood.enabled
    }
}

impl Abuse {
    pub(crate) fn new(max_actors: usize) -> Self {
        let principals = (max_actors / 4).max(1);
        Self {
            addresses: Table::new(max_actors.saturating_sub(principals)),
            neighbourhoods: Table::new(NEIGHBOURHOODS_MAX.min(max_actors)),
            principals: Table::new(principals),
            details: Table::new(principals),
            latest_spraying: AtomicU64::new(0),
        }
    }

    /// One request without offence.
    pub(crate) fn good(&self, keys: &Keys, subject: Subject, limits: &Limits, now: u64) {
        self.with_record(keys, subject, limits, now, |record, _| {
            record.share.count(false, now);
        });
    }

    /// A verified principal was let in from this address.
    pub(crate) fn healthy(&self, keys: &Keys, address: IpAddr, limits: &Limits, now: u64) {
        let key = keys.network(Network::of_address(address));
        let worth = |record: &Record| record.worth(limits, now);
        let renewed = self.addresses.with_or_insert(key, Record::default, worth, |record| {
            let due = record.healthy.load(Ordering::Relaxed) <= seconds_before(now, HEALTHY_REFRESH_TICKS);
            if due {
                record.healthy.store(seconds(now), Ordering::Relaxed);
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
            record.healthy.fetch_max(seconds(seen.min(now)), Ordering::Relaxed);
        };
        self.addresses.with_or_insert(key, Record::default, worth, set).is_some()
    }

    /// Shows the addresses of which that was noted anew, about `most` of them; says whether there are more.
    pub(crate) fn take_healthy(&self, most: usize, mut show: impl FnMut(u64, u64)) -> bool {
        self.addresses.take_marked(most, |key, record| match record.healthy.load(Ordering::Relaxed) {
            0 => {}
            seen => show(key, u64::from(seen) * TICKS_PER_SECOND),
        })
    }

    pub(crate) fn mark_healthy(&self) {
        self.addresses.mark_all();
    }

    pub(crate) fn marked(&self) -> usize {
        self.addresses.marked()
    }

    /// How many principals were active of late, and from how many addresses principals were let in within 24 hours. It looks at every
    /// record.
    pub(crate) fn known(&self, now: u64) -> usize {
        let mut known = 0;
        self.principals.for_each(|record| known += usize::from(record.share.counts(now).total > 0));
        self.addresses.for_each(|record| known += usize::from(record.is_healthy(now)));
        known
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
        self.with_record(keys, subject, limits, now, |record, key| {
            let (is_new, known) = self.with_detail(key, limits, now, |detail| {
                let last = detail.map(|detail| &detail.paths);
                let is_new = record.paths.note(probe.path, last, limits.probing_half, now);
                (is_new, last.map_or(0, |last| last.seen_after(0)))
            });
            record.probe(probe, is_new, known, limits, now)
        })
    }

    /// One request, whatever became of it.
    pub(crate) fn flood(
        &self,
        keys: &Keys,
        subject: Subject,
        limits: &Limits,
        now: Moment,
    ) -> Option<(Counted, Option<Offence>)> {
        self.with_record(keys, subject, limits, now.ticks, |record, _| record.flood(limits, now))
    }

    pub(crate) fn failed_credential(
        &self,
        keys: &Keys,
        address: IpAddr,
        failure: FailedCredential,
        limits: &Limits,
        now: u64,
    ) -> Option<(Counted, Option<Offence>)> {
        self.with_record(keys, Subject::Address(address), limits, now, |record, key| {
            let (offence, sprayed) = match failure.attempted {
                Some(account) => self.with_detail(key, limits, now, |detail| {
                    let is_new = detail.is_some_and(|detail| detail.sprayed.note(account, now));
                    let sprayed = detail.map_or(0, |detail| detail.sprayed(limits, now));
                    record.failed_credential(is_new, sprayed, limits, now)
                }),
                None => record.failed_credential(false, 0, limits, now),
            };
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
        self.with_record(keys, subject, limits, now, |record, _| record.signature(found, limits, now))
    }

    /// How many principals this address failed as, where that is too many. One atomic load while no address does it.
    pub(crate) fn spraying(&self, keys: &Keys, address: IpAddr, limits: &Limits, now: u64) -> Option<usize> {
        let latest = self.latest_spraying.load(Ordering::Relaxed);
        if latest == 0 || latest < before(now, limits.spraying_window) {
            return None;
        }
        let key = keys.network(Network::of_address(address));
        let sprayed = self.details.with(key, |detail| detail.sprayed(limits, now))?;
        (sprayed >= limits.spraying_principals).then_some(sprayed)
    }

    /// A ban settles what was done: the next offence takes the full level again.
    pub(crate) fn settle(&self, counted: Counted, until: u64) {
        self.table(counted).with(counted.key(), |record| {
            record.settle();
            record.banned_until.fetch_max(seconds(until), Ordering::Relaxed);
        });
        self.details.with(counted.key(), |detail| detail.paths.clear());
    }

    pub(crate) fn forget(&self, key: u64) {
        for table in [&self.addresses, &self.neighbourhoods, &self.principals] {
            table.with(key, Record::clear);
        }
        self.details.remove(key);
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
        act: impl Fn(&Record, u64) -> R,
    ) -> Option<(Counted, R)> {
        let worth = |record: &Record| record.worth(limits, now);
        let address = match subject {
            Subject::Principal(key) => {
                return self
                    .principals
                    .with_or_insert(key, Record::default, worth, |record| act(record, key))
                    .map(|result| (Counted::Principal { key }, result));
            }
            Subject::Address(address) => address,
        };
        let network = Network::of_address(address);
        let key = keys.network(network);
        let counted = self.addresses.with_or_insert(key, Record::default, worth, |record| {
            (Counted::Address { key, network, healthy: record.is_healthy(now) }, act(record, key))
        });
        counted.or_else(|| {
            let network = Network::neighbourhood(address);
            let key = keys.network(network);
            self.neighbourhoods
                .with_or_insert(key, Record::default, worth, |record| act(record, key))
                .map(|result| (Counted::Neighbourhood { key, network }, result))
        })
    }
}

impl Abuse {
    /// What else is known of an actor that was refused; `None` where there is no room for it.
    fn with_detail<R>(&self, key: u64, limits: &Limits, now: u64, act: impl Fn(Option<&Detail>) -> R) -> R {
        let worth = |detail: &Detail| detail.worth(limits, now);
        let found = self.details.with_or_insert(key, Detail::default, worth, |detail| {
            detail.touched.store(seconds(now), Ordering::Relaxed);
            act(Some(detail))
        });
        found.unwrap_or_else(|| act(None))
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
    flood: Flood,
    flood_limit: Limit,
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
            flood: settings.flood,
            flood_limit: Limit::new(settings.flood.requests, micros(settings.flood.window)),
        }
    }
}

/// What is kept about one actor, in 64 bytes.
#[derive(Debug, Default)]
struct Record {
    probing: Bucket,
    credentials: Bucket,
    signatures: Bucket,
    share: Share,
    flood: Pace,
    paths: PathMap,
    /// When a verified principal was last let in from this address, in seconds since 1970; 0 for never.
    healthy: AtomicU32,
    /// Until when a ban keeps this record from being evicted, in seconds since 1970.
    banned_until: AtomicU32,
}

const _: () = assert!(size_of::<Record>() <= 64, "an attacker with many addresses must not cost more");

/// What else is kept about one of those who were refused: most actors never are.
#[derive(Debug, Default)]
struct Detail {
    /// The last paths.
    paths: LastPaths,
    /// The principals it failed as.
    sprayed: RecentSet<SPRAYED_MAX>,
    /// In seconds since 1970.
    touched: AtomicU32,
}

impl Detail {
    fn sprayed(&self, limits: &Limits, now: u64) -> usize {
        self.sprayed.seen_after(before(now, limits.spraying_window))
    }

    /// The one touched longest ago goes first; one that is half-way to spraying never does.
    fn worth(&self, limits: &Limits, now: u64) -> Option<u64> {
        let hot = self.sprayed(limits, now) * 2 >= limits.spraying_principals.max(2);
        (!hot).then(|| self.touched.load(Ordering::Relaxed).into())
    }
}

impl Record {
    /// `known`: so many paths are told apart for certain.
    fn probe(&self, probe: Probe, is_new: bool, known: usize, limits: &Limits, now: u64) -> Option<Offence> {
        let counts = self.share.count(true, now);
        let amount = if is_new { probe.weight } else { probe.weight * REPEAT };
        let level = self.probing.pour(amount, limits.probing_half, now);
        // Of four paths the bits alone would take one in six hundred for two.
        let paths = self.paths.estimate().max(known as f64);
        let is_over = |factor: f64| level >= factor * limits.probing.level * TOLERANCE;
        let looks_around = if paths >= FEWEST_PATHS { is_over(1.0) } else { probe.on_few_paths.is_some_and(is_over) };
        let likely = looks_around && counts.refused_at_least() >= limits.probing.ratio;
        let flagrant = is_over(FLAGRANT_FACTOR) && paths >= FLAGRANT_PATHS;
        (likely || flagrant).then(|| probing_in_words(level, paths, counts, limits))
    }

    /// The offence, and whether the address has tried too many principals.
    fn failed_credential(&self, is_new: bool, sprayed: usize, limits: &Limits, now: u64) -> (Option<Offence>, bool) {
        self.share.count(true, now);
        let level = self.credentials.pour(1.0, limits.credentials_half, now);
        let spraying = sprayed >= limits.spraying_principals;
        let offence = if spraying && is_new {
            Some(format!("{SPRAYING}: {sprayed} principals tried in the last {}", in_words(limits.spraying.window)))
        } else if level >= limits.credentials.level * TOLERANCE {
            Some(format!("{CREDENTIALS}: {:.0} failed in the last {}", level.ceil(), in_words(limits.credentials.half)))
        } else {
            None
        };
        (offence, spraying)
    }

    /// More requests than fit into the window.
    fn flood(&self, limits: &Limits, now: Moment) -> Option<Offence> {
        self.flood.note(limits.flood_limit, now.micros).then(|| {
            format!("flood: more than {} requests in {}", limits.flood.requests, in_words(limits.flood.window))
        })
    }

    fn signature(&self, found: Found, limits: &Limits, now: u64) -> Option<Offence> {
        let level = self.signatures.pour(found.weight, limits.signatures_half, now);
        (level >= limits.signatures.level * TOLERANCE).then(|| {
            let (most, half) = (limits.signatures.level, in_words(limits.signatures.half));
            format!("signatures: level {level:.1} of {most:.1} in the last {half}, the last one: {}", found.name)
        })
    }

    fn is_healthy(&self, now: u64) -> bool {
        let healthy = self.healthy.load(Ordering::Relaxed);
        healthy != 0 && healthy > seconds_before(now, HEALTHY_TICKS)
    }

    /// How much the record is worth keeping, `None` if it must stay: banned, or half-way to an offence. One with a healthy
    /// principal is worth more than any without, since a ban's scope hangs on it; then requests count.
    fn worth(&self, limits: &Limits, now: u64) -> Option<u64> {
        let level = self.probing.level(limits.probing_half, now);
        let hot = level >= limits.probing.level / 2.0
            || self.credentials.level(limits.credentials_half, now) >= limits.credentials.level / 2.0
            || self.signatures.level(limits.signatures_half, now) >= limits.signatures.level / 2.0;
        if hot || self.banned_until.load(Ordering::Relaxed) > seconds(now) {
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
        self.flood.clear();
    }
}

fn micros(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
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
