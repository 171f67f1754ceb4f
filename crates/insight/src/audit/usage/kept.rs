//! Usage in the form in which it is kept: what has changed, what comes back, and what is forgotten.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use ipnet::IpNet;
use portcullis_policy::RuleKind;

use super::observed::Observed;
use super::row::{Row, Seen, SeenPrincipal, seconds};
use super::{ActionKey, MOST_ADDRESSES, MOST_PRINCIPALS, MOST_ROWS, MOST_RULES, Room, Usage};

const DAY_S: i64 = 24 * 60 * 60;

/// What is to be written down.
#[derive(Debug, Clone, Default)]
pub(super) struct Changed {
    pub(super) principals: HashSet<u32>,
    pub(super) rows: BTreeSet<(u32, u32)>,
    pub(super) addresses: HashSet<IpNet>,
    pub(super) rules: HashSet<(RuleKind, Box<str>)>,
    pub(super) marks: bool,
    /// The beginnings of the spans that were observed, and are longer now.
    pub(super) observed: BTreeSet<i64>,
    /// When they were written last.
    pub(super) written: i64,
}

/// A part of usage in the form in which it is kept.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Kept {
    /// Since when everything is counted.
    pub since: Option<i64>,
    /// Since when all addresses are.
    pub addresses_since: Option<i64>,
    /// When there was last no room for a use; `None`: there always was.
    pub crowded: Option<i64>,
    /// Spans of time in which somebody counted, from and until.
    pub observed: Vec<(i64, i64)>,
    /// Before when what was not used is forgotten.
    pub forgotten: Option<i64>,
    /// Who was seen.
    pub principals: Vec<SeenPrincipal>,
    /// Rows: whose, what, how. The first number is a place in `principals`.
    pub rows: Vec<(usize, ActionKey, Row)>,
    /// Addresses.
    pub addresses: Vec<(IpNet, Seen)>,
    /// Rules that decided.
    pub rules: Vec<(RuleKind, Box<str>, Seen)>,
}

impl Usage {
    /// What was kept. What there is no room for is left out, and marked.
    pub fn restored(kept: Kept) -> Self {
        let mut usage = Self {
            since: kept.since,
            addresses_since: kept.addresses_since,
            crowded: kept.crowded,
            forgotten: kept.forgotten,
            observed: Observed::of(kept.observed),
            noted: kept.since.unwrap_or_default(),
            ..Self::default()
        };
        let ids: Vec<Option<u32>> =
            kept.principals.into_iter().map(|seen| usage.add_principal(seen, MOST_PRINCIPALS)).collect();
        for (place, action, row) in kept.rows {
            let id = ids.get(place).copied().flatten();
            let key = id.and_then(|id| Some((id, usage.action_id(&action.0, &action.1)?)));
            match key.filter(|key| usage.room_for(*key, MOST_ROWS) == Room::Free) {
                Some(key) => {
                    usage.rows.insert(key, row);
                }
                None => usage.note_crowded(i64::from(row.last)),
            }
        }
        usage.addresses = kept.addresses.into_iter().take(2 * MOST_ADDRESSES).collect();
        usage.rules = kept.rules.into_iter().take(MOST_RULES).map(|(kind, name, seen)| ((kind, name), seen)).collect();
        usage.changed = Changed::default();
        usage.noted = usage.times().map(i64::from).fold(usage.noted, i64::max);
        if usage.observed.is_empty()
            && let Some(since) = usage.since
        {
            // An earlier version did not write when it counted.
            usage.observed = usage.days_with_something(since);
            usage.changed.observed = usage.observed.spans().map(|(began, _)| began).collect();
            usage.changed.marks = !usage.observed.is_empty();
        }
        usage
    }

    /// The times at which something was counted, as far as they are known.
    fn times(&self) -> impl Iterator<Item = u32> + '_ {
        let rows = self.rows.values().flat_map(|row| [row.first, row.last, row.last_denied]);
        let seen = self.addresses.values().chain(self.rules.values()).flat_map(|seen| [seen.first, seen.last]);
        rows.chain(seen).filter(|time| *time > 0)
    }

    /// The days on which something was counted, and so somebody counted.
    fn days_with_something(&self, since: i64) -> Observed {
        let day = |time: u32| i64::from(time).div_euclid(DAY_S);
        let mut days: BTreeSet<i64> = self.times().map(day).collect();
        for row in self.rows.values().filter(|row| row.last > 0) {
            days.extend((0..32).filter(|back| row.days & (1 << back) != 0).map(|back| day(row.last) - back));
        }
        let last = self.times().map(i64::from).max().unwrap_or(since);
        let whole = days.into_iter().map(|day| ((day * DAY_S).max(since), ((day + 1) * DAY_S).min(last)));
        Observed::of(whole)
    }

    /// What has changed since the last time, at most so many rows of each kind.
    pub fn take_changes(&mut self, most: usize) -> Kept {
        let observed = std::mem::take(&mut self.changed.observed);
        let observed = observed.into_iter().filter_map(|began| Some((began, self.observed.until(began)?))).collect();
        let mut kept = Kept {
            since: self.since,
            addresses_since: self.addresses_since,
            crowded: self.crowded,
            forgotten: self.forgotten,
            observed,
            ..Kept::default()
        };
        if let Some((_, until)) = kept.observed.last() {
            self.changed.written = *until;
        }
        let mut places: HashMap<u32, usize> = HashMap::new();
        let mut rows: Vec<(u32, u32)> = Vec::new();
        while rows.len() < most
            && let Some(key) = self.changed.rows.pop_first()
        {
            rows.push(key);
        }
        let mut ids: Vec<u32> = self.changed.principals.drain().collect();
        ids.extend(rows.iter().map(|(id, _)| *id));
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            if let Some(seen) = self.principals.get(id as usize) {
                places.insert(id, kept.principals.len());
                kept.principals.push(seen.clone());
            }
        }
        for (id, action) in rows {
            let (Some(place), Some(key), Some(row)) =
                (places.get(&id), self.actions.get(action as usize), self.rows.get(&(id, action)))
            else {
                continue;
            };
            kept.rows.push((*place, key.clone(), *row));
        }
        let addresses: Vec<IpNet> = self.changed.addresses.iter().take(most).copied().collect();
        for address in addresses {
            self.changed.addresses.remove(&address);
            kept.addresses.extend(self.addresses.get(&address).map(|seen| (address, *seen)));
        }
        let rules: Vec<_> = self.changed.rules.iter().take(most).cloned().collect();
        for key in rules {
            self.changed.rules.remove(&key);
            if let Some(seen) = self.rules.get(&key) {
                kept.rules.push((key.0, key.1, *seen));
            }
        }
        self.changed.marks = false;
        kept
    }

    /// What was taken could not be written: it has changed still.
    pub fn give_back(&mut self, kept: &Kept) {
        let whose: Vec<Option<u32>> = kept.principals.iter().map(|seen| self.id_of(&seen.reference())).collect();
        self.changed.principals.extend(whose.iter().flatten());
        for (place, action, _) in &kept.rows {
            if let (Some(id), Some(action)) = (whose.get(*place).copied().flatten(), self.by_action.get(action)) {
                self.changed.rows.insert((id, *action));
            }
        }
        self.changed.addresses.extend(kept.addresses.iter().map(|(address, _)| *address));
        self.changed.rules.extend(kept.rules.iter().map(|(kind, name, _)| (*kind, name.clone())));
        self.changed.observed.extend(kept.observed.iter().map(|(began, _)| *began));
        self.changed.marks = true;
    }

    /// Whether something has changed since the last time.
    pub fn has_changes(&self) -> bool {
        let Changed { principals, rows, addresses, rules, marks, observed: _, written: _ } = &self.changed;
        *marks || !(principals.is_empty() && rows.is_empty() && addresses.is_empty() && rules.is_empty())
    }

    /// Forgets what was neither used nor refused since then, in seconds since 1970: there is room for others again. What is not used within the
    /// window of an audit is unused, whether it is remembered or not.
    pub fn prune(&mut self, before: i64) {
        self.forgotten = self.forgotten.max(Some(before));
        self.observed.prune(before, i64::MAX);
        let before = seconds(before);
        self.rows.retain(|_, row| row.last >= before || row.last_denied >= before);
        self.addresses.retain(|_, seen| seen.last >= before);
        self.rules.retain(|_, seen| seen.last >= before);
        // Numbers are places: whoever stays moves up.
        let whose: BTreeSet<u32> = self.rows.keys().map(|(id, _)| *id).collect();
        let what: BTreeSet<u32> = self.rows.keys().map(|(_, action)| *action).collect();
        let (principals, ids) = moved_up(&self.principals, &whose);
        let (actions, places) = moved_up(&self.actions, &what);
        let moved = |(id, action): &(u32, u32)| Some((*ids.get(id)?, *places.get(action)?));
        self.rows = self.rows.iter().filter_map(|(key, row)| Some((moved(key)?, *row))).collect();
        self.changed.rows = self.changed.rows.iter().filter_map(moved).collect();
        self.changed.principals = self.changed.principals.iter().filter_map(|id| ids.get(id).copied()).collect();
        self.by_who = (0..).zip(&principals).map(|(id, seen)| ((seen.kind, seen.id.clone()), id)).collect();
        self.by_action = (0..).zip(&actions).map(|(id, key)| (key.clone(), id)).collect();
        (self.principals, self.actions) = (principals, actions);
        self.changed.addresses.retain(|address| self.addresses.contains_key(address));
        self.changed.rules.retain(|key| self.rules.contains_key(key));
    }
}

/// Those at these places, and the new place of each.
fn moved_up<T: Clone>(all: &[T], places: &BTreeSet<u32>) -> (Vec<T>, BTreeMap<u32, u32>) {
    let stay = places.iter().filter_map(|place| Some((*place, all.get(*place as usize)?.clone())));
    let (places, stay): (Vec<u32>, Vec<T>) = stay.unzip();
    (stay, places.into_iter().zip(0..).collect())
}
