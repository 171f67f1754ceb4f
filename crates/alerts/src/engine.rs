//! The rules at work: each event is counted by each rule that takes it, and what fires is returned.
//!
//! The time is passed in. It never goes back here: a clock that steps back stands still until it has caught up.

mod keys;
mod tally;

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use tests::rule_for_tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use crate::firing::{Firing, Key, Phase};
use crate::settings::{Condition, Containment, Mute, Rule};
use crate::sighting::Sighting;
use crate::stats::{Losses, Stats};

use keys::{Entry, Fire, Keys};
use tally::{Added, micros};

/// What time it is, by two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Microseconds on a clock that goes evenly, from any beginning.
    pub steady_us: i64,
    /// The time of day, which somebody may set.
    pub wall: Timestamp,
}

/// All rules and what they have counted.
#[derive(Debug, Default)]
pub struct Engine {
    rules: Vec<Counting>,
    latest_us: i64,
    /// What a rule could not keep is counted there.
    stats: Arc<Stats>,
    by_hand: Arc<MutesByHand>,
}

/// What an operator has muted: a rule by its name, or all.
pub(crate) type MutesByHand = BTreeMap<Option<Arc<str>>, Mute>;

/// One rule and what it has counted.
#[derive(Debug)]
struct Counting {
    rule: Arc<Rule>,
    keys: Keys,
    /// From then on something can be new.
    learnt_us: i64,
    /// The keys that this rule has contained, and until when each counts against its bound.
    contained: HashMap<Key, i64>,
    /// Until then it is not said again that too many keys fire.
    crowded_until_us: i64,
    by_hand: Arc<MutesByHand>,
    fired: u64,
    losses: Arc<Losses>,
}

/// How a rule does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleState {
    /// The rule.
    pub rule: Arc<Rule>,
    /// How often it has fired.
    pub fired: u64,
    /// The keys that have fired and hold still, or cool down. At most 100.
    pub firing: Vec<Key>,
    /// How many keys are kept apart.
    pub keys: usize,
    /// How many keys were forgotten for others, since the process began.
    pub evicted: u64,
    /// How many events made a key fire for which there was no room among those that fire, likewise.
    pub crowded: u64,
    /// How many events had a value of which nobody knows whether it is new, likewise.
    pub overflowed: u64,
    /// Why nobody is told at this time of day.
    pub muted: Option<Arc<str>>,
    /// It still learns what is usual.
    pub learning: bool,
}

/// How many events a firing cites.
const EVIDENCE: usize = 5;
/// How many keys a listing names.
const LISTED: usize = 100;

impl Engine {
    /// One that counts there what it cannot keep.
    pub(crate) fn counting_in(stats: Arc<Stats>) -> Self {
        Self { stats, ..Self::default() }
    }

    /// Puts rules in force. One that counts as it did goes on where it was; others begin anew.
    pub fn replace(&mut self, rules: &[Arc<Rule>], now: Now) {
        let now_us = self.step(now);
        let mut before = std::mem::take(&mut self.rules);
        let counting = |rule: &Arc<Rule>| match before.iter().position(|old| old.rule.counts_like(rule)) {
            Some(index) => Counting { rule: Arc::clone(rule), ..before.swap_remove(index) },
            None => {
                let new = Counting::new(rule, self.stats.losses_of(&rule.name), now_us);
                Counting { by_hand: Arc::clone(&self.by_hand), ..new }
            }
        };
        self.rules = rules.iter().map(counting).collect();
    }

    /// Puts in force what an operator has muted, and nothing else of the kind.
    pub(crate) fn mute_by_hand(&mut self, mutes: &Arc<MutesByHand>) {
        self.by_hand = Arc::clone(mutes);
        for counting in &mut self.rules {
            counting.by_hand = Arc::clone(mutes);
        }
    }

    /// Counts an event for the rules at these places. What fires is appended.
    pub fn observe(&mut self, sighting: &Arc<Sighting>, takers: &[usize], now: Now, fired: &mut Vec<Firing>) {
        let now_us = self.step(now);
        for index in takers {
            let Some(counting) = self.rules.get_mut(*index) else { continue };
            fired.extend(counting.observe(sighting, now_us, now.wall));
        }
    }

    /// Looks which keys hold no longer. Called each second or so.
    pub fn tick(&mut self, now: Now, ended: &mut Vec<Firing>) {
        let now_us = self.step(now);
        for counting in &mut self.rules {
            counting.tick(now_us, now.wall, ended);
        }
    }

    /// Whether the rule may contain this key: it does already, or one more is within its bound.
    pub fn may_contain(&mut self, rule: &Rule, key: &Key, now: Now) -> bool {
        let now_us = self.step(now);
        let Some(counting) = self.rules.iter_mut().find(|counting| counting.rule.name == rule.name) else {
            return false;
        };
        counting.contained.retain(|_, until| now_us < *until);
        counting.contained.contains_key(key) || counting.contained.len() < counting.rule.max_contained
    }

    /// Counts a key that was contained, as long as the window or the containment lasts.
    pub fn note_contained(&mut self, rule: &Rule, key: &Key, containment: Containment, now: Now) {
        let now_us = self.step(now);
        let Some(counting) = self.rules.iter_mut().find(|counting| counting.rule.name == rule.name) else { return };
        let lasts = micros(containment.lasts).max(counting.rule.condition.window_us());
        let until = counting.contained.entry(key.clone()).or_default();
        *until = now_us.saturating_add(lasts).max(*until);
    }

    /// How each rule does, in the order of the configuration.
    pub fn states(&self, wall: Timestamp) -> Vec<RuleState> {
        self.rules.iter().map(|counting| counting.state(self.latest_us, wall)).collect()
    }

    /// Whether some key has fired and holds still, or cools down.
    pub fn is_firing(&self) -> bool {
        self.rules.iter().any(|counting| counting.keys.firing().next().is_some())
    }

    fn step(&mut self, now: Now) -> i64 {
        self.latest_us = self.latest_us.max(now.steady_us);
        self.latest_us
    }
}

impl Counting {
    fn new(rule: &Arc<Rule>, losses: Arc<Losses>, now_us: i64) -> Self {
        let learn = match rule.condition {
            Condition::New { learn, .. } => micros(learn),
            Condition::Count { .. } | Condition::Distinct { .. } => 0,
        };
        Self {
            rule: Arc::clone(rule),
            keys: Keys::new(rule.max_keys, Arc::clone(&losses)),
            learnt_us: now_us.saturating_add(learn),
            contained: HashMap::new(),
            crowded_until_us: i64::MIN,
            by_hand: Arc::default(),
            fired: 0,
            losses,
        }
    }

    fn observe(&mut self, sighting: &Arc<Sighting>, now_us: i64, wall: Timestamp) -> Option<Firing> {
        let condition = self.rule.condition;
        let key = Key::of(self.rule.per, sighting)?;
        let value = match condition {
            Condition::Count { .. } => 0,
            Condition::Distinct { of, .. } => sighting.counted(of)?,
            Condition::New { of, .. } => sighting.fingerprint(of)?,
        };
        let entry = self.keys.touch(&key, condition, now_us)?;
        let added = entry.tally.add(condition, value, now_us);
        entry.cite(sighting);
        if added == Added::Overflowed {
            self.losses.count_overflowed();
        }
        let learning = now_us < self.learnt_us;
        let firing = match added {
            Added::Holds if !learning => self.fire(&key, sighting.is_told_always(), now_us, wall),
            Added::Holds | Added::Quiet | Added::Overflowed => None,
        };
        // What came while the rule could not fire, or nobody was told, is new still: it is told of as soon as that can be.
        let told = firing.as_ref().is_some_and(|firing| firing.muted.is_none() && firing.key == key);
        if (learning || told)
            && added == Added::Holds
            && let Some(entry) = self.keys.entry_mut(&key)
        {
            entry.tally.learn(condition, value, now_us);
        }
        self.keys.weigh(&key);
        firing
    }

    /// Fires for a key that holds, unless it has not cooled down. `always`: no mute holds.
    fn fire(&mut self, key: &Key, always: bool, now_us: i64, wall: Timestamp) -> Option<Firing> {
        let mute = if always { None } else { self.muted(wall) };
        let mut muted = None;
        match self.keys.fire_of(key) {
            Some(fire) if now_us < fire.quiet_until_us => {
                // Nobody was told, and now somebody would be.
                let was_muted = fire.muted.is_some();
                if !was_muted || mute.is_some() {
                    return None;
                }
            }
            Some(_) | None => muted = mute,
        }
        let quiet_until_us = now_us.saturating_add(micros(self.rule.cool_down));
        if self.keys.fire(key, Fire::new(wall, quiet_until_us, muted.clone())) {
            self.fired += 1;
            return self.firing(Phase::Fired, key.clone(), muted, now_us, wall);
        }
        self.losses.count_crowded();
        if now_us < self.crowded_until_us {
            return None;
        }
        self.crowded_until_us = quiet_until_us;
        self.fired += 1;
        let firing = self.firing(Phase::Fired, key.clone(), muted, now_us, wall)?;
        Some(Firing { key: Key::Others, count: self.rule.max_keys, since: wall, ..firing })
    }

    /// What is known of a key, as a firing or its end.
    fn firing(&self, phase: Phase, key: Key, muted: Option<Arc<str>>, now_us: i64, wall: Timestamp) -> Option<Firing> {
        let entry = self.keys.entry(&key)?;
        let condition = self.rule.condition;
        Some(Firing {
            id: Uuid::now_v7(),
            phase,
            rule: Arc::clone(&self.rule),
            count: entry.tally.count(condition, now_us),
            since: earlier(wall, now_us.saturating_sub(entry.tally.first_us(condition, now_us))),
            time: wall,
            evidence: entry.evidence(),
            muted,
            actions: Vec::new(),
            key,
        })
    }

    /// Why nobody is told at this time of day.
    fn muted(&self, wall: Timestamp) -> Option<Arc<str>> {
        let by_hand = [Some(Arc::clone(&self.rule.name)), None];
        let by_hand = by_hand.iter().filter_map(|name| self.by_hand.get(name));
        let mut mutes = self.rule.mutes.iter().chain(by_hand);
        mutes.find(|mute| mute.holds(wall)).map(|mute| Arc::clone(&mute.reason))
    }

    fn tick(&mut self, now_us: i64, wall: Timestamp, ended: &mut Vec<Firing>) {
        let (condition, resolve) = (self.rule.condition, self.rule.resolve);
        let mut over = Vec::new();
        self.keys.release_where(|key, fire, entry| {
            let holds = entry.is_some_and(|entry| entry.tally.holds(condition, now_us));
            if !holds && resolve && entry.is_some() && fire.resolve() {
                over.push((key.clone(), fire.at, fire.muted.clone()));
            }
            !holds && now_us >= fire.quiet_until_us
        });
        for (key, since, was_muted) in over {
            // Who was not told that it began is not told that it is over.
            let muted = was_muted.or_else(|| self.muted(wall));
            let firing = self.firing(Phase::Resolved, key, muted, now_us, wall);
            ended.extend(firing.map(|firing| Firing { since, ..firing }));
        }
    }

    fn state(&self, now_us: i64, wall: Timestamp) -> RuleState {
        let [evicted, crowded, overflowed] = self.losses.counts();
        RuleState {
            rule: Arc::clone(&self.rule),
            fired: self.fired,
            firing: self.keys.firing().take(LISTED).cloned().collect(),
            keys: self.keys.len(),
            evicted,
            crowded,
            overflowed,
            muted: self.muted(wall),
            learning: now_us < self.learnt_us,
        }
    }
}

impl Entry {
    fn cite(&mut self, sighting: &Arc<Sighting>) {
        self.cited.push_front(Arc::clone(sighting));
        self.cited.truncate(EVIDENCE);
    }

    fn evidence(&self) -> Vec<Arc<Sighting>> {
        self.cited.iter().cloned().collect()
    }
}

/// The wall clock, so many microseconds ago.
fn earlier(wall: Timestamp, us: i64) -> Timestamp {
    wall.checked_sub(jiff::SignedDuration::from_micros(us.max(0))).unwrap_or(wall)
}
