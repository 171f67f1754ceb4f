//! How many events there are, by what they are about and over time.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use jiff::Timestamp;

use crate::facts::Facts;
use crate::files::EventFile;
use crate::filter::Filter;
use crate::index::Index;
use crate::plan::Plan;
use crate::scan::{Trouble, scan};

/// Different values that are counted one by one; what comes after is counted together.
pub(crate) const MAX_VALUES: usize = 500_000;
/// The finest piece of time.
pub(crate) const MINUTE_US: i64 = 60 * 1_000_000;
/// Into how many pieces a time span is cut, at most.
const PIECES: i64 = 60;

/// One value and how often it was there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// The value.
    pub value: String,
    /// How often.
    pub events: u64,
}

/// What a count came to.
#[derive(Debug)]
pub struct Stats {
    /// Events that the filter wants.
    pub events: u64,
    /// Refusals among them.
    pub refusals: u64,
    /// The reason codes that came most, the most first; and so on.
    pub reasons: Vec<Count>,
    /// Routes.
    pub routes: Vec<Count>,
    /// Principals.
    pub principals: Vec<Count>,
    /// Client addresses.
    pub addresses: Vec<Count>,
    /// Where the first piece of time begins, and how long each is. `None`: there is no event.
    pub pieces: Option<(Timestamp, i64)>,
    /// Events in each piece of time, in seconds.
    pub series: Vec<u64>,
    /// What could not be read.
    pub trouble: Trouble,
}

/// Counts the events of these files that the filter wants; of each list the `top` first. An index of them makes it quick, and
/// changes nothing else.
pub fn stats(files: &[EventFile], index: Option<&Index>, filter: &Filter, top: usize) -> Stats {
    let (plan, usable) = Plan::best(index, files, filter);
    let mut trouble = Trouble { index: usable.err(), ..Trouble::default() };
    let mut tally = Tally::default();
    let asked = index.filter(|_| !plan.indexed.is_empty()).map(|index| {
        (trouble.too_long, trouble.malformed) = plan.unreadable;
        index.count(&plan.numbers(), filter, &mut tally)
    });
    if let Some(Err(error)) = asked {
        // It cannot be relied on: everything is read instead.
        trouble = Trouble { index: Some(error), ..Trouble::default() };
        tally = Tally::default();
        read(&Plan::reading(files, filter), &mut tally, &mut trouble);
    } else {
        read(&plan, &mut tally, &mut trouble);
    }
    tally.into_stats(filter, top, trouble)
}

fn read(plan: &Plan<'_>, tally: &mut Tally, trouble: &mut Trouble) {
    for part in &plan.parts {
        scan(part, trouble, &mut |facts, _| tally.add(&facts));
    }
}

/// A count under way.
#[derive(Debug, Default)]
pub struct Tally {
    events: u64,
    refusals: u64,
    reasons: HashMap<Box<str>, u64>,
    routes: HashMap<Box<str>, u64>,
    principals: HashMap<Box<str>, u64>,
    addresses: HashMap<IpAddr, u64>,
    /// By minute since the epoch.
    minutes: BTreeMap<i64, u64>,
}

impl Tally {
    /// Counts one event.
    pub fn add(&mut self, facts: &Facts) {
        self.add_events(1, facts.is_refusal());
        let texts = [&facts.reason, &facts.route, &facts.principal];
        for (values, text) in [&mut self.reasons, &mut self.routes, &mut self.principals].into_iter().zip(texts) {
            if let Some(text) = text {
                count(values, text, 1);
            }
        }
        if let Some(address) = facts.address {
            self.add_address(address, 1);
        }
        self.add_minute(facts.time_us.div_euclid(MINUTE_US), 1);
    }

    pub(crate) fn add_events(&mut self, events: u64, are_refusals: bool) {
        self.events += events;
        self.refusals += if are_refusals { events } else { 0 };
    }

    pub(crate) fn add_reason(&mut self, reason: &str, events: u64) {
        count(&mut self.reasons, reason, events);
    }

    pub(crate) fn add_route(&mut self, route: &str, events: u64) {
        count(&mut self.routes, route, events);
    }

    pub(crate) fn add_principal(&mut self, principal: &str, events: u64) {
        count(&mut self.principals, principal, events);
    }

    pub(crate) fn add_address(&mut self, address: IpAddr, events: u64) {
        if self.addresses.len() < MAX_VALUES || self.addresses.contains_key(&address) {
            *self.addresses.entry(address).or_default() += events;
        }
    }

    /// `minute`: since the epoch.
    pub(crate) fn add_minute(&mut self, minute: i64, events: u64) {
        if self.minutes.len() < MAX_VALUES || self.minutes.contains_key(&minute) {
            *self.minutes.entry(minute).or_default() += events;
        }
    }

    pub(crate) fn into_stats(self, filter: &Filter, top: usize, trouble: Trouble) -> Stats {
        let (pieces, series) = self.series(filter);
        let addresses = self.addresses.into_iter().map(|(address, events)| (address.to_string(), events));
        Stats {
            events: self.events,
            refusals: self.refusals,
            reasons: most(owned(self.reasons), top),
            routes: most(owned(self.routes), top),
            principals: most(owned(self.principals), top),
            addresses: most(addresses, top),
            pieces,
            series,
            trouble,
        }
    }

    /// The minutes gathered into at most so many pieces, of a length that a person can say.
    fn series(&self, filter: &Filter) -> (Option<(Timestamp, i64)>, Vec<u64>) {
        let (Some((first, _)), Some((last, _))) = (self.minutes.first_key_value(), self.minutes.last_key_value())
        else {
            return (None, Vec::new());
        };
        let minute = |at: Timestamp| at.as_microsecond().div_euclid(MINUTE_US);
        let first = filter.since.map_or(*first, minute).min(*first);
        let last = filter.until.map_or(*last, |until| minute(until).max(*last));
        let span = last - first + 1;
        let length = LENGTHS.into_iter().find(|length| span <= length * PIECES).unwrap_or(span / PIECES + 1);
        let first = first - first.rem_euclid(length);
        let index = |minute: i64| usize::try_from((minute - first) / length).unwrap_or_default();
        let mut series = vec![0; index(last) + 1];
        for (minute, events) in &self.minutes {
            if let Some(piece) = series.get_mut(index(*minute)) {
                *piece += events;
            }
        }
        let begin = Timestamp::from_second(first * 60).ok();
        (begin.map(|begin| (begin, length * 60)), series)
    }
}

/// Lengths of a piece, in minutes: up to a week.
const LENGTHS: [i64; 11] = [1, 2, 5, 10, 15, 30, 60, 180, 360, 1_440, 10_080];

fn count(values: &mut HashMap<Box<str>, u64>, value: &str, more: u64) {
    if let Some(events) = values.get_mut(value) {
        *events += more;
    } else if values.len() < MAX_VALUES {
        values.insert(value.into(), more);
    }
}

fn owned(values: HashMap<Box<str>, u64>) -> impl Iterator<Item = (String, u64)> {
    values.into_iter().map(|(value, events)| (value.into_string(), events))
}

/// The values that came most; of equals the first in the alphabet, so that two counts of the same are the same.
fn most(values: impl Iterator<Item = (String, u64)>, top: usize) -> Vec<Count> {
    let mut counts: Vec<Count> = values.map(|(value, events)| Count { value, events }).collect();
    counts.sort_by(|a, b| b.events.cmp(&a.events).then_with(|| a.value.cmp(&b.value)));
    counts.truncate(top);
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(second: i64, reason: &str, address: &str) -> Facts {
        Facts {
            time_us: second * 1_000_000,
            seq: 1,
            id: uuid::Uuid::nil(),
            kind: "access.denied".into(),
            reason: Some(reason.into()),
            route: None,
            principal: None,
            address: address.parse().ok(),
        }
    }

    #[test]
    fn the_most_comes_first_and_equals_by_name() {
        let mut tally = Tally::default();
        for (second, reason) in [(0, "b"), (1, "a"), (61, "c"), (62, "c"), (600, "a"), (601, "b")] {
            tally.add(&facts(second, reason, "192.0.2.1"));
        }
        let stats = tally.into_stats(&Filter::default(), 2, Trouble::default());
        let count = |value: &str, events| Count { value: value.to_owned(), events };
        assert_eq!(stats.reasons, [count("a", 2), count("b", 2)]);
        assert_eq!(stats.addresses, [count("192.0.2.1", 6)]);
        assert_eq!((stats.events, stats.refusals), (6, 6));
        assert_eq!(stats.pieces, Some((Timestamp::UNIX_EPOCH, 60)));
        assert_eq!(stats.series, [2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    }

    #[test]
    fn a_long_time_is_cut_into_a_few_pieces() {
        let mut tally = Tally::default();
        tally.add(&facts(0, "a", ""));
        let filter = Filter { until: Timestamp::from_second(86_400).ok(), ..Filter::default() };
        let stats = tally.into_stats(&filter, 2, Trouble::default());
        assert_eq!(stats.pieces, Some((Timestamp::UNIX_EPOCH, 1_800)));
        assert_eq!(stats.series.len(), 49);
        assert_eq!(stats.series.iter().sum::<u64>(), 1);
        assert!(Tally::default().into_stats(&filter, 2, Trouble::default()).pieces.is_none());
    }
}
