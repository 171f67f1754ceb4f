//! The keys of one rule: bounded, and a key that has fired is never forgotten for another, since it would fire again at once.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;

use super::tally::Tally;
use crate::firing::Key;
use crate::settings::Condition;
use crate::sighting::Sighting;

/// How much all keys of a rule may hold together: times, and twice the values.
const MOST_HELD: usize = 1 << 20;

/// The keys of one rule.
#[derive(Debug)]
pub(crate) struct Keys {
    bound: usize,
    entries: HashMap<Key, Entry>,
    /// Those that do not fire, by their last use.
    idle: BTreeMap<u64, Key>,
    /// Those that do.
    held: BTreeSet<Key>,
    uses: u64,
    weight: usize,
    /// Keys forgotten for others.
    pub(crate) evicted: u64,
    /// Events for which there was no room.
    pub(crate) crowded: u64,
}

/// What is kept of a key.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) tally: Tally,
    /// The last events, newest first.
    pub(crate) cited: VecDeque<Arc<Sighting>>,
    /// Its last use.
    used: u64,
    weight: usize,
    fire: Option<Fire>,
}

/// A key that has fired.
#[derive(Debug, Clone, Copy)]
struct Fire {
    at: Timestamp,
    /// Until then it does not fire again.
    quiet_until_us: i64,
    muted: bool,
    resolved: bool,
}

impl Keys {
    pub(crate) fn new(bound: usize) -> Self {
        Self {
            bound: bound.max(1),
            entries: HashMap::new(),
            idle: BTreeMap::new(),
            held: BTreeSet::new(),
            uses: 0,
            weight: 0,
            evicted: 0,
            crowded: 0,
        }
    }

    /// The entry of a key, a new one where there is none; `None` where all the room is taken by keys that fire.
    pub(crate) fn touch(&mut self, key: &Key, condition: Condition) -> Option<&mut Entry> {
        self.uses += 1;
        match self.entries.get(key) {
            Some(entry) => {
                // One that fires is not among the idle.
                if let Some(key) = self.idle.remove(&entry.used) {
                    self.idle.insert(self.uses, key);
                }
            }
            None => {
                if self.entries.len() >= self.bound && !self.evict() {
                    self.crowded += 1;
                    return None;
                }
                self.idle.insert(self.uses, key.clone());
                let tally = Tally::new(condition);
                self.entries
                    .insert(key.clone(), Entry { tally, cited: VecDeque::new(), used: 0, weight: 0, fire: None });
            }
        }
        let entry = self.entries.get_mut(key)?;
        entry.used = self.uses;
        Some(entry)
    }

    /// Forgets the key that was not used for longest, of those that do not fire.
    fn evict(&mut self) -> bool {
        let Some((_, key)) = self.idle.pop_first() else { return false };
        if let Some(entry) = self.entries.remove(&key) {
            self.weight = self.weight.saturating_sub(entry.weight);
        }
        self.evicted += 1;
        true
    }

    /// Notes how much a key holds, and makes room where all together hold too much.
    pub(crate) fn weigh(&mut self, key: &Key, weight: usize) {
        if let Some(entry) = self.entries.get_mut(key) {
            self.weight = self.weight.saturating_sub(entry.weight).saturating_add(weight);
            entry.weight = weight;
        }
        while self.weight > MOST_HELD && self.idle.len() > 1 && self.evict() {}
    }

    /// Keeps a key until it is released.
    pub(crate) fn hold(&mut self, key: &Key) {
        if let Some(entry) = self.entries.get(key) {
            self.idle.remove(&entry.used);
            self.held.insert(key.clone());
        }
    }

    /// Releases the keys of which this is true: they have never fired.
    pub(crate) fn release_where(&mut self, mut is_over: impl FnMut(&Key, &mut Entry) -> bool) {
        let Self { entries, idle, held, .. } = self;
        held.retain(|key| {
            let Some(entry) = entries.get_mut(key) else { return false };
            let over = is_over(key, entry);
            if over {
                entry.fire = None;
                idle.insert(entry.used, key.clone());
            }
            !over
        });
    }

    pub(crate) fn held(&self) -> impl Iterator<Item = &Key> {
        self.held.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

impl Entry {
    /// Whether it may fire: it has not, or has cooled down; or nobody was told, and now somebody would be.
    pub(crate) fn is_due(&self, now_us: i64, is_muted: impl FnOnce() -> bool) -> bool {
        match &self.fire {
            None => true,
            Some(fire) => now_us >= fire.quiet_until_us || fire.muted && !is_muted(),
        }
    }

    pub(crate) fn fire(&mut self, quiet_until_us: i64, at: Timestamp, muted: bool) {
        self.fire = Some(Fire { at, quiet_until_us, muted, resolved: false });
    }

    pub(crate) fn has_cooled_down(&self, now_us: i64) -> bool {
        self.fire.is_none_or(|fire| now_us >= fire.quiet_until_us)
    }

    pub(crate) fn fired_at(&self) -> Timestamp {
        self.fire.map_or(Timestamp::UNIX_EPOCH, |fire| fire.at)
    }

    /// Notes that it holds no longer; `false` where that was noted already.
    pub(crate) fn resolve(&mut self) -> bool {
        self.fire.as_mut().is_some_and(|fire| !std::mem::replace(&mut fire.resolved, true))
    }
}
