//! The guards: what a list must not do to take the place of another one without somebody looking at it.
//!
//! What the list in force already has is not held against a new one: somebody accepted it, or it was there before.

use std::fmt;
use std::sync::Arc;
use std::sync::LazyLock;

use ipnet::IpNet;
use jiff::{Timestamp, Unit};
use serde::{Deserialize, Serialize};

use crate::list::List;
use crate::ranges::Ranges;
use crate::settings::Guards;

/// Why an update is held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// Nothing is in it.
    Empty,
    /// It is a page and no list.
    Page,
    /// It has fewer entries than a list must have.
    TooFew,
    /// Too much of the list in force is gone.
    Shrink,
    /// Too much has come.
    Growth,
    /// A prefix is wider than anybody's own network.
    OverBroad,
    /// A prefix of private, reserved or documentation addresses.
    Bogon,
    /// A prefix that is denied where this network is allowed.
    Denied,
    /// Somebody went back to the list before, and has accepted none since.
    RolledBack,
}

impl Hold {
    /// The word that events and reports use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Page => "page",
            Self::TooFew => "too_few",
            Self::Shrink => "shrink",
            Self::Growth => "growth",
            Self::OverBroad => "over_broad",
            Self::Bogon => "bogon",
            Self::Denied => "denied",
            Self::RolledBack => "rolled_back",
        }
    }
}

/// One reason to hold an update back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Which guard.
    pub hold: Hold,
    /// Its numbers, in a sentence.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.hold.as_str(), self.message)
    }
}

/// A name and its prefixes.
pub(crate) type Denied = [(Arc<str>, Arc<[IpNet]>)];

/// What was in force a while ago, and when: so that many small steps are as much as one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Base<'l> {
    pub(crate) list: &'l List,
    pub(crate) at: Timestamp,
}

/// Every reason to hold `new` back; none: it may take the place of `old`.
pub(crate) fn judge(
    new: &List,
    old: Option<&List>,
    base: Option<Base<'_>>,
    guards: &Guards,
    denied: &Denied,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |hold, message: Option<String>| findings.extend(message.map(|message| Finding { hold, message }));
    if new.is_empty() {
        find(Hold::Empty, Some("there is no entry in it".to_owned()));
        return findings;
    }
    find(Hold::TooFew, too_few(new, guards));
    if let Some(old) = old.filter(|old| !old.is_empty()) {
        let base = base.filter(|base| !base.list.is_empty() && base.list.sha256() != old.sha256());
        let since = |check: fn(&List, &List, &Guards) -> Option<String>| {
            let base = base?;
            Some(format!(
                "since {}: {}",
                base.at.round(Unit::Second).unwrap_or(base.at),
                check(new, base.list, guards)?
            ))
        };
        find(Hold::Shrink, shrink(new, old, guards).or_else(|| since(shrink)));
        find(Hold::Growth, growth(new, old, guards).or_else(|| since(growth)));
    }
    let nothing = List::new(&[]);
    let old = old.unwrap_or(&nothing);
    let fresh = || new.prefixes().iter().filter(|prefix| !old.ranges().cover(prefix));
    let wide = sample(fresh().filter(|prefix| is_over_broad(prefix)), "is wider than /12, or /29 for IPv6");
    find(Hold::OverBroad, wide.or_else(|| dense(new, old)));
    if !guards.private {
        let bogons = &*BOGONS;
        find(
            Hold::Bogon,
            sample(fresh().filter(|prefix| bogons.touch(prefix)), "is private, reserved or for documentation"),
        );
    }
    for (name, prefixes) in denied {
        let ranges = Ranges::of(prefixes);
        let what = format!("overlaps the network {name}, which is denied where this one is allowed");
        find(Hold::Denied, sample(fresh().filter(|prefix| ranges.touch(prefix)), &what));
    }
    findings
}

fn too_few(new: &List, guards: &Guards) -> Option<String> {
    let (entries, least) = (new.written(), guards.min_entries);
    (entries < least).then(|| format!("{entries} entries, and min_entries is {least}"))
}

/// What of the list in force is not in the new one, whatever else has come in its place.
fn shrink(new: &List, old: &List, guards: &Guards) -> Option<String> {
    let measured = measures(old, new).map(|measure| (share(measure.apart, measure.whole), measure));
    let worst = measured.into_iter().filter(|(share, _)| *share > guards.max_shrink).max_by_key(|(share, _)| *share);
    worst.map(|(share, Measure { what, apart, whole })| {
        let (share, most) = (percent(share), percent(guards.max_shrink));
        format!("{share} of the {what} in force are gone: {apart} of {whole}, and max_shrink is {most}")
    })
}

/// What is not in the list in force, for what of that list. The addresses of a few prefixes may grow manifold without being many.
fn growth(new: &List, old: &List, guards: &Guards) -> Option<String> {
    let few = |measure: &Measure| {
        (measure.what == V4 && measure.apart <= 1 << 16) || (measure.what == V6 && measure.apart <= 1 << 32)
    };
    let wholes = measures(old, new).map(|measure| measure.whole);
    let measured = measures(new, old).into_iter().zip(wholes).filter(|(measure, _)| !few(measure));
    measured
        .map(|(measure, before)| (share(measure.apart, before), measure, before))
        .filter(|(share, ..)| *share > guards.max_grow)
        .max_by_key(|(share, ..)| *share)
        .map(|(share, Measure { what, apart, .. }, before)| {
            let share = if before == 0 { "for none before".to_owned() } else { format!("{} more", percent(share)) };
            format!("{share} {what}: {apart} new ones beside {before}, and max_grow is {}", percent(guards.max_grow))
        })
}

const V4: &str = "IPv4 addresses";
const V6: &str = "IPv6 /64 networks";

/// How much of a list is not in another one.
struct Measure {
    what: &'static str,
    apart: u128,
    whole: u128,
}

fn measures(list: &List, other: &List) -> [Measure; 3] {
    let (v4, v6) = list.ranges().common(other.ranges());
    let measure = |what, whole: u128, common| Measure { what, apart: whole.saturating_sub(common), whole };
    // A prefix of which a part is in the other is the addresses' matter.
    let met = list.prefixes().iter().filter(|prefix| other.ranges().touch(prefix)).count();
    [
        measure("prefixes", list.len() as u128, met as u128),
        measure(V4, list.ranges().v4_addresses(), v4),
        measure(V6, list.ranges().v6_subnets(), v6),
    ]
}

/// In hundredths of a percent, rounded up so that what is just over a bound is over it.
fn share(part: u128, whole: u128) -> u32 {
    if part == 0 {
        return 0;
    }
    if whole == 0 {
        return u32::MAX;
    }
    // At most 2^64 of anything, times 10,000.
    u32::try_from(part.saturating_mul(10_000).div_ceil(whole)).unwrap_or(u32::MAX)
}

fn percent(share: u32) -> String {
    let (whole, rest) = (share / 100, share % 100);
    if rest == 0 { format!("{whole} %") } else { format!("{whole}.{rest:02} %") }
}

/// The least that somebody's own networks are wide: no registry gives anybody more at once.
fn is_over_broad(prefix: &IpNet) -> bool {
    match prefix {
        IpNet::V4(net) => net.prefix_len() < 12,
        IpNet::V6(net) => net.prefix_len() < 29,
    }
}

/// As much as wide prefixes would be, in narrow ones.
fn dense(new: &List, old: &List) -> Option<String> {
    let known = old.ranges().dense_eighths();
    let fresh: Vec<u8> = new.ranges().dense_eighths().into_iter().filter(|eighth| !known.contains(eighth)).collect();
    if let Some(first) = fresh.first() {
        let more = if fresh.len() > 1 { format!(" and of {} more /8", fresh.len() - 1) } else { String::new() };
        return Some(format!("more than half of {first}.0.0.0/8{more} is in it"));
    }
    let (before, after) = (old.ranges().v4_addresses(), new.ranges().v4_addresses());
    (after > MOST_ADDRESSES && before <= MOST_ADDRESSES)
        .then(|| format!("{after} IPv4 addresses are more than a sixteenth of all"))
}

/// A sixteenth of all there are.
const MOST_ADDRESSES: u128 = 1 << 28;

/// The first few of some prefixes and how many they are; `None` without one.
fn sample<'p>(found: impl Iterator<Item = &'p IpNet>, what: &str) -> Option<String> {
    let mut few = Vec::new();
    let mut more = 0usize;
    for prefix in found {
        if few.len() < SAMPLE {
            few.push(prefix.to_string());
        } else {
            more += 1;
        }
    }
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!few.is_empty()).then(|| format!("{}{rest} {what}", few.join(", ")))
}

const SAMPLE: usize = 3;

/// Addresses that no list of public networks has: the special-purpose registries of IANA (RFC 6890), as far as they are not
/// reachable for everybody, multicast, and what is not given out.
static BOGONS: LazyLock<Ranges> = LazyLock::new(|| {
    let parsed = SPECIAL.iter().filter_map(|text| text.parse().ok()).collect::<Vec<IpNet>>();
    debug_assert_eq!(parsed.len(), SPECIAL.len());
    Ranges::of(&parsed)
});

const SPECIAL: &[&str] = &[
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/8",
    "100::/64",
    "2001:db8::/32",
    "3fff::/20",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
];

#[cfg(test)]
mod tests;
