//! Who and what was let in, kept beyond the process: without it everybody is a stranger after a start, and a lock-out looks like an attack.
//!
//! Networks and places are numbers, of principals the names. Each is kept with the day on which it was let in last, for thirty days, and of each
//! the last ones alone where there are very many.

use std::collections::HashMap;
use std::hash::Hash;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::sample::Outlook;
use crate::spike::SpikeSettings;
use crate::spike::cause::FIRST_CALLERS;
use crate::spike::familiar::Familiar;

/// Of each kind of thing so many are kept.
const MOST: usize = 8_192;
/// Names that are longer, in bytes, are not kept.
const LONGEST: usize = 512;
/// For so many days.
const DAYS: u32 = 30;
const DAY_S: i64 = 24 * 60 * 60;

/// What is remembered of those who were let in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Remembered {
    pub(super) networks: Days<u64>,
    pub(super) people: Days<u64>,
    /// The kind of a principal, by its word, and its id.
    pub(super) principals: Days<(String, String)>,
    pub(super) software: Days<String>,
    pub(super) places: Days<u64>,
    pub(super) regulars: Days<(u64, u64)>,
}

/// Things, and on which day since 1970 each was there last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Days<T: Eq + Hash>(Vec<(T, u32)>);

impl<T: Eq + Hash> Default for Days<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Eq + Hash + Ord + Clone> Days<T> {
    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|(one, _)| one)
    }

    /// The same with those that are there today, and without those that were not for long.
    fn renewed(&self, there: impl Iterator<Item = T>, today: u32) -> Self {
        let mut days: HashMap<T, u32> = HashMap::new();
        // One of the future is of a clock that went wrong, and is of today.
        let known = self.0.iter().map(|(one, day)| (one.clone(), (*day).min(today)));
        for (one, day) in known.chain(there.map(|one| (one, today))) {
            let last = days.entry(one).or_insert(day);
            *last = (*last).max(day);
        }
        let mut kept: Vec<(T, u32)> = days.into_iter().filter(|(_, day)| today.saturating_sub(*day) <= DAYS).collect();
        kept.sort_unstable_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        kept.truncate(MOST);
        Self(kept)
    }
}

impl Remembered {
    /// The same with whoever was let in by this sample, as of now.
    #[must_use]
    pub fn renewed(&self, sample: &Outlook, settings: &SpikeSettings, now: Timestamp) -> Self {
        let familiar = Familiar::of(sample, &Self::default(), now, settings.at_least(FIRST_CALLERS.0, FIRST_CALLERS.1));
        let today = day(now);
        let is_short = |name: &String| name.len() <= LONGEST;
        let principals = familiar.principals.iter().map(|(kind, id)| (kind.as_str().to_owned(), id.to_string()));
        let software = familiar.software.iter().map(ToString::to_string);
        Self {
            networks: self.networks.renewed(familiar.networks.iter().copied(), today),
            people: self.people.renewed(familiar.people.iter().copied(), today),
            principals: self.principals.renewed(principals.filter(|(_, id)| is_short(id)), today),
            software: self.software.renewed(software.filter(is_short), today),
            places: self.places.renewed(familiar.places.iter().copied(), today),
            regulars: self.regulars.renewed(familiar.regulars.iter().copied(), today),
        }
    }

    /// The same without what is too old by now; what was read is no more than what is kept.
    #[must_use]
    pub fn as_of(&self, now: Timestamp) -> Self {
        self.renewed(&Outlook::default(), &SpikeSettings::default(), now)
    }
}

fn day(time: Timestamp) -> u32 {
    u32::try_from(time.as_second().div_euclid(DAY_S)).unwrap_or_default()
}
