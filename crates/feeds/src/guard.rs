//! The guards: what a list must not do to take the place of another one without somebody looking at it.
//!
//! What the list in force already has is not held against a new one: somebody accepted it, or it was there before.

use std::fmt;
use std::sync::Arc;
use std::sync::LazyLock;

use ipnet::IpNet;
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

/// Every reason to hold `new` back; none: it may take the place of `old`.
pub(crate) fn judge(new: &List, old: Option<&List>, guards: &Guards, denied: &Denied) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |hold, message: Option<String>| findings.extend(message.map(|message| Finding { hold, message }));
    if new.is_empty() {
        find(Hold::Empty, Some("there is no entry in it".to_owned()));
        return findings;
    }
    find(Hold::TooFew, too_few(new, guards));
    if let Some(old) = old.filter(|old| !old.is_empty()) {
        find(Hold::Shrink, shrink(new, old, guards));
        find(Hold::Growth, growth(new, old, guards));
    }
    let nothing = List::new(&[]);
    let old = old.unwrap_or(&nothing);
    let fresh = || new.prefixes().iter().filter(|prefix| !old.ranges().cover(prefix));
    find(Hold::OverBroad, sample(fresh().filter(|prefix| is_over_broad(prefix)), "is wider than /12, or /29 for IPv6"));
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

/// Fewer prefixes count only where addresses are gone, since the same addresses can be written in fewer.
fn shrink(new: &List, old: &List, guards: &Guards) -> Option<String> {
    if new.ranges().cover_all(old.ranges()) {
        return None;
    }
    let gone = |before: u128, after: u128| share(before.saturating_sub(after), before);
    let fewer = worst(new, old, gone, guards.max_shrink).map(|(share, what, before, after)| {
        format!(
            "{} fewer {what}: {before} become {after}, and max_shrink is {}",
            percent(share),
            percent(guards.max_shrink)
        )
    });
    fewer.or_else(|| replaced(old, new, old, guards.max_shrink, "of the prefixes in force are gone", "max_shrink"))
}

/// What is in one list and not in the other, measured by the list in force: as many others in place of those that are gone are no
/// smaller list, and no larger one.
fn replaced(one: &List, other: &List, in_force: &List, most: u32, what: &str, key: &str) -> Option<String> {
    let (count, whole) = (one.beyond(other, 0).0, in_force.len());
    let share = share(count as u128, whole as u128);
    (share > most)
        .then(|| format!("{} {what}: {count}, of {whole} in force, and {key} is {}", percent(share), percent(most)))
}

/// The addresses of a few prefixes may grow manifold without being many.
fn growth(new: &List, old: &List, guards: &Guards) -> Option<String> {
    let come = |before: u128, after: u128| share(after.saturating_sub(before), before);
    let few = |what: &str, before: u128, after: u128| {
        let more = after.saturating_sub(before);
        (what == V4 && more <= 1 << 16) || (what == V6 && more <= 1 << 32)
    };
    let measured = measures(new, old).into_iter().filter(|(what, before, after)| !few(what, *before, *after));
    measured
        .map(|(what, before, after)| (come(before, after), what, before, after))
        .filter(|(share, ..)| *share > guards.max_grow)
        .max_by_key(|(share, ..)| *share)
        .map(|(share, what, before, after)| {
            let share = if before == 0 { "all of them new".to_owned() } else { format!("{} more", percent(share)) };
            format!("{share} {what}: {before} become {after}, and max_grow is {}", percent(guards.max_grow))
        })
        .or_else(|| replaced(new, old, old, guards.max_grow, "are prefixes that were not there", "max_grow"))
}

const V4: &str = "IPv4 addresses";
const V6: &str = "IPv6 /64 networks";

fn measures(new: &List, old: &List) -> [(&'static str, u128, u128); 3] {
    [
        ("prefixes", old.len() as u128, new.len() as u128),
        (V4, old.ranges().v4_addresses(), new.ranges().v4_addresses()),
        (V6, old.ranges().v6_subnets(), new.ranges().v6_subnets()),
    ]
}

/// The measure that changed most, where that is more than `most`.
fn worst(
    new: &List,
    old: &List,
    changed: impl Fn(u128, u128) -> u32,
    most: u32,
) -> Option<(u32, &'static str, u128, u128)> {
    measures(new, old)
        .into_iter()
        .map(|(what, before, after)| (changed(before, after), what, before, after))
        .filter(|(share, ..)| *share > most)
        .max_by_key(|(share, ..)| *share)
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
