//! The keys of one rule: what is counted of each, and which of them have fired.
//!
//! Both are bounded, and whoever makes up keys must not push out those that matter. A key that was seen once is forgotten before any that was
//! seen again within its window (a segmented LRU): half of the room is for those, so that a flood of new keys passes by an offender who comes
//! back, and the worst that a flood of returning ones can do is what it could do to half of the room. That a key has fired is kept apart from what
//! it has counted, so it is quiet until it has cooled down, whatever was forgotten meanwhile.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;

use super::tally::Tally;
use crate::firing::Key;
use crate::settings::Condition;
use crate::sighting::Sighting;
use crate::stats::Losses;

/// How much all keys of a rule may hold together: times, and thrice the values.
const MOST_HELD: usize = 1 << 20;

/// The keys of one rule.
#[derive(Debug)]
pub(crate) struct Keys {
    bound: usize,
    most_held: usize,
    entries: HashMap<Key, Entry>,
    /// Those that were seen once, or not again for long, by their last use.
    fresh: BTreeMap<u64, Key>,
    /// Those that were seen again, by their last use. At most half of all.
    returning: BTreeMap<u64, Key>,
    /// Those that have fired, and hold still or cool down.
    fires: BTreeMap<Key, Fire>,
    uses: u64,
    /// What was seen by then counts no longer.
    horizon_us: i64,
    weight: usize,
    returning_weight: usize,
    losses: Arc<Losses>,
}

/// What is kept of a key.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) tally: Tally,
    /// The last events, newest first.
    pub(crate) cited: VecDeque<Arc<Sighting>>,
    /// Its last use, as a number and as a time.
    used: u64,
    used_us: i64,
    returning: bool,
    weight: usize,
}

/// A key that has fired.
#[derive(Debug, Clone)]
pub(crate) struct Fire {
    /// When.
    pub(crate) at: Timestamp,
    /// Until then it does not fire again.
    pub(crate) quiet_until_us: i64,
    /// Why nobody was told.
    pub(crate) muted: Option<Arc<str>>,
    /// That it holds no longer was said; or what it had counted was forgotten, and nobody knows.
    resolved: bool,
}

impl Keys {
    pub(crate) fn new(bound: usize, losses: Arc<Losses>) -> Self {
        Self::holding(bound, MOST_HELD, losses)
    }

    fn holding(bound: usize, most_held: usize, losses: Arc<Losses>) -> Self {
        Self {
            bound: bound.max(1),
            most_held,
            entries: HashMap::new(),
            fresh: BTreeMap::new(),
            returning: BTreeMap::new(),
            fires: BTreeMap::new(),
            uses: 0,
            horizon_us: i64::MIN,
            weight: 0,
            returning_weight: 0,
            losses,
        }
    }

    /// The entry of a key, a new one where there is none.
    pub(crate) fn touch(&mut self, key: &Key, condition: Condition, now_us: i64) -> Option<&mut Entry> {
        self.uses += 1;
        self.horizon_us = now_us.saturating_sub(condition.window_us());
        if let Some(entry) = self.entries.get_mut(key) {
            if entry.returning {
                self.returning.remove(&entry.used);
            } else {
                self.fresh.remove(&entry.used);
                self.returning_weight = self.returning_weight.saturating_add(entry.weight);
            }
            (entry.used, entry.used_us, entry.returning) = (self.uses, now_us, true);
            self.returning.insert(self.uses, key.clone());
            self.settle();
        } else {
            if self.entries.len() >= self.bound {
                self.evict(key);
            }
            self.fresh.insert(self.uses, key.clone());
            let (tally, cited) = (Tally::new(condition), VecDeque::new());
            let entry = Entry { tally, cited, used: self.uses, used_us: now_us, returning: false, weight: 0 };
            self.entries.insert(key.clone(), entry);
        }
        self.entries.get_mut(key)
    }

    /// The entry of a key, where there is one.
    pub(crate) fn entry(&self, key: &Key) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// The same, to change what it has counted of the event that touched it.
    pub(crate) fn entry_mut(&mut self, key: &Key) -> Option<&mut Entry> {
        self.entries.get_mut(key)
    }

    /// Notes how much a key holds, and makes room where all together hold too much.
    pub(crate) fn weigh(&mut self, key: &Key) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let weight = entry.tally.weight();
        self.weight = self.weight.saturating_sub(entry.weight).saturating_add(weight);
        if entry.returning {
            self.returning_weight = self.returning_weight.saturating_sub(entry.weight).saturating_add(weight);
        }
        entry.weight = weight;
        self.settle();
        while self.weight > self.most_held && self.entries.len() > 1 && self.evict(key) {}
    }

    /// Puts those that were not seen for longest back among the fresh ones, while the returning have more than half of the room.
    fn settle(&mut self) {
        let is_over =
            |keys: &Self| keys.returning.len() > (keys.bound / 2).max(1) || keys.returning_weight > keys.most_held / 2;
        while self.returning.len() > 1 && is_over(self) {
            let Some((_, key)) = self.returning.pop_first() else { return };
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            self.uses += 1;
            (entry.used, entry.returning) = (self.uses, false);
            self.returning_weight = self.returning_weight.saturating_sub(entry.weight);
            self.fresh.insert(self.uses, key);
        }
    }

    /// Forgets what a key has counted, another one than this.
    fn evict(&mut self, spared: &Key) -> bool {
        let oldest = |keys: &BTreeMap<u64, Key>| {
            let (_, key) = keys.first_key_value().filter(|(_, key)| *key != spared)?;
            self.entries.get(key).map(|entry| entry.used_us)
        };
        let place = match (oldest(&self.fresh), oldest(&self.returning)) {
            (_, Some(used_us)) if used_us <= self.horizon_us => &mut self.returning,
            (Some(_), _) => &mut self.fresh,
            (None, Some(_)) => &mut self.returning,
            (None, None) => return false,
        };
        let Some((_, key)) = place.pop_first() else { return false };
        if let Some(entry) = self.entries.remove(&key) {
            self.weight = self.weight.saturating_sub(entry.weight);
            if entry.returning {
                self.returning_weight = self.returning_weight.saturating_sub(entry.weight);
            }
        }
        if let Some(fire) = self.fires.get_mut(&key) {
            fire.resolved = true;
        }
        self.losses.count_evicted();
        true
    }

    /// How it fired, where it has and holds still or cools down.
    pub(crate) fn fire_of(&self, key: &Key) -> Option<&Fire> {
        self.fires.get(key)
    }

    /// Notes that a key fires. `false`: too many do.
    pub(crate) fn fire(&mut self, key: &Key, fire: Fire) -> bool {
        let room = self.fires.len() < self.bound || self.fires.contains_key(key);
        if room {
            self.fires.insert(key.clone(), fire);
        }
        room
    }

    /// Forgets that those have fired of which this is true. It gets what they have counted, where that is known.
    pub(crate) fn release_where(&mut self, mut is_over: impl FnMut(&Key, &mut Fire, Option<&Entry>) -> bool) {
        let Self { entries, fires, .. } = self;
        fires.retain(|key, fire| !is_over(key, fire, entries.get(key)));
    }

    /// Those that have fired, and hold still or cool down.
    pub(crate) fn firing(&self) -> impl Iterator<Item = &Key> {
        self.fires.keys()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

impl Fire {
    pub(crate) fn new(at: Timestamp, quiet_until_us: i64, muted: Option<Arc<str>>) -> Self {
        Self { at, quiet_until_us, muted, resolved: false }
    }

    /// Notes that it holds no longer; `false` where there is nothing to say of that.
    pub(crate) fn resolve(&mut self) -> bool {
        !std::mem::replace(&mut self.resolved, true)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const COUNT: Condition = Condition::Count { count: 100, window: Duration::from_secs(1_000) };

    fn key(number: u32) -> Key {
        Key::Text(number.to_string().into())
    }

    fn see(keys: &mut Keys, number: u32) {
        let entry = keys.touch(&key(number), COUNT, 1).unwrap();
        entry.tally.add(COUNT, 0, 1);
        keys.weigh(&key(number));
    }

    fn count(keys: &Keys, number: u32) -> usize {
        keys.entries.get(&key(number)).map_or(0, |entry| entry.tally.weight())
    }

    #[test]
    fn who_comes_back_is_not_pushed_out_by_those_who_come_once() {
        let mut keys = Keys::new(10, Arc::default());
        for flood in 0..1_000 {
            // Only at each two hundredth of the flood.
            if flood % 200 == 0 || flood == 1 {
                see(&mut keys, 5_000);
            }
            see(&mut keys, 10_000 + flood);
        }
        assert_eq!((count(&keys, 5_000), keys.len()), (6, 10));
        // Those who come back, too, have half of the room, so that there is always some for who is new.
        let mut keys = Keys::new(10, Arc::default());
        for number in (0..20).flat_map(|number| [number, number]) {
            see(&mut keys, number);
        }
        see(&mut keys, 100);
        (200..204).for_each(|number| see(&mut keys, number));
        see(&mut keys, 100);
        assert_eq!(count(&keys, 100), 2);
    }

    #[test]
    fn a_key_that_has_fired_is_known_for_it_whatever_it_had_counted() {
        let mut keys = Keys::new(2, Arc::default());
        let fire = Fire::new(Timestamp::UNIX_EPOCH, 100, None);
        see(&mut keys, 1);
        assert!(keys.fire(&key(1), fire.clone()));
        (2..9).for_each(|number| see(&mut keys, number));
        assert_eq!(count(&keys, 1), 0);
        assert!(keys.fire_of(&key(1)).is_some());
        keys.release_where(|_, fire, entry| {
            assert!(entry.is_none() && !fire.resolve(), "what nobody knows is not said");
            false
        });
        assert!(keys.fire(&key(2), fire.clone()) && !keys.fire(&key(3), fire.clone()) && keys.fire(&key(1), fire));
    }

    proptest! {
        #[test]
        fn the_bounds_hold_and_what_is_added_up_is_what_there_is(
            bound in 1_usize..12,
            most_held in 4_usize..60,
            seen in proptest::collection::vec(0_u32..24, 1..300),
        ) {
            let mut keys = Keys::holding(bound, most_held, Arc::default());
            for number in seen {
                see(&mut keys, number);
                prop_assert!(count(&keys, number) > 0, "the one that was just seen is there");
                prop_assert!(keys.len() <= bound);
                let weight: usize = keys.entries.values().map(|entry| entry.weight).sum();
                let returning: usize =
                    keys.entries.values().filter(|entry| entry.returning).map(|entry| entry.weight).sum();
                prop_assert_eq!((keys.weight, keys.returning_weight), (weight, returning));
                prop_assert!(weight <= most_held || keys.len() == 1);
                prop_assert_eq!(keys.fresh.len() + keys.returning.len(), keys.len());
                for (used, key) in keys.fresh.iter().chain(&keys.returning) {
                    prop_assert_eq!(keys.entries.get(key).map(|entry| entry.used), Some(*used));
                }
            }
        }
    }
}
