//! A count out of the index: by the numbers that it has for words, which become words once and not for each event.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

use super::{Index, IndexError, What};
use crate::facts::REFUSAL;
use crate::stats::{MAX_VALUES, MINUTE_US, Tally};

/// How often each number was there.
type Counts<N> = HashMap<N, u64>;

/// A count under way.
#[derive(Debug)]
pub(super) struct ByNumber {
    /// The number of the kind that is a refusal; `None`: there is none.
    refusal: Option<i64>,
    events: u64,
    refusals: u64,
    reasons: Counts<i64>,
    routes: Counts<i64>,
    principals: Counts<i64>,
    addresses: Counts<[u8; 16]>,
    /// By minute since the epoch.
    minutes: Counts<i64>,
}

/// What is counted of one event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) time_us: i64,
    pub(super) kind: i64,
    pub(super) reason: Option<i64>,
    pub(super) route: Option<i64>,
    pub(super) principal: Option<i64>,
    pub(super) address: Option<[u8; 16]>,
}

impl ByNumber {
    pub(super) fn of(index: &Index) -> Result<Self, IndexError> {
        let refusal = index.words(What::Kind)?.iter().find(|(_, kind)| &***kind == REFUSAL).map(|(number, _)| *number);
        let (reasons, routes, principals) = (HashMap::new(), HashMap::new(), HashMap::new());
        let (addresses, minutes) = (HashMap::new(), HashMap::new());
        Ok(Self { refusal, events: 0, refusals: 0, reasons, routes, principals, addresses, minutes })
    }

    /// Counts one event.
    pub(super) fn event(&mut self, row: &Row) {
        self.kind(row.kind, 1);
        let words =
            [(&mut self.reasons, row.reason), (&mut self.routes, row.route), (&mut self.principals, row.principal)];
        for (counts, word) in words {
            if let Some(number) = word {
                *counts.entry(number).or_default() += 1;
            }
        }
        if let Some(address) = row.address {
            self.address(address, 1);
        }
        self.minute(row.time_us.div_euclid(MINUTE_US), 1);
    }

    pub(super) fn kind(&mut self, kind: i64, events: u64) {
        self.events += events;
        self.refusals += if self.refusal == Some(kind) { events } else { 0 };
    }

    /// There are no more words than the index has.
    pub(super) fn word(&mut self, what: What, number: i64, events: u64) {
        let counts = match what {
            What::Kind => return self.kind(number, events),
            What::Reason => &mut self.reasons,
            What::Route => &mut self.routes,
            What::Principal => &mut self.principals,
        };
        *counts.entry(number).or_default() += events;
    }

    pub(super) fn address(&mut self, address: [u8; 16], events: u64) {
        add(&mut self.addresses, address, events);
    }

    /// `minute`: since the epoch.
    pub(super) fn minute(&mut self, minute: i64, events: u64) {
        add(&mut self.minutes, minute, events);
    }

    /// Adds it all to a tally.
    pub(super) fn into_tally(self, index: &Index, tally: &mut Tally) -> Result<(), IndexError> {
        tally.add_events(self.refusals, true);
        tally.add_events(self.events - self.refusals, false);
        for (what, counts) in
            [(What::Reason, self.reasons), (What::Route, self.routes), (What::Principal, self.principals)]
        {
            let words = index.words(what)?;
            // What comes most comes first: there the tally has room for it, however many there are.
            for (number, events) in most_first(counts) {
                let Some(word) = words.get(&number) else { continue };
                match what {
                    What::Reason => tally.add_reason(word, events),
                    What::Route => tally.add_route(word, events),
                    What::Principal => tally.add_principal(word, events),
                    What::Kind => {}
                }
            }
        }
        for (address, events) in most_first(self.addresses) {
            tally.add_address(IpAddr::from(address).to_canonical(), events);
        }
        self.minutes.into_iter().for_each(|(minute, events)| tally.add_minute(minute, events));
        Ok(())
    }
}

/// What is new where there is no more room is not counted.
fn add<N: Hash + Eq>(counts: &mut Counts<N>, number: N, events: u64) {
    if counts.len() < MAX_VALUES || counts.contains_key(&number) {
        *counts.entry(number).or_default() += events;
    }
}

fn most_first<N>(counts: Counts<N>) -> Vec<(N, u64)> {
    let mut counts: Vec<(N, u64)> = counts.into_iter().collect();
    counts.sort_unstable_by_key(|(_, events)| std::cmp::Reverse(*events));
    counts
}
