//! The rules at work: each event is counted by each rule that takes it, and what fires is returned.
//!
//! The time is passed in. It never goes back here: a clock that steps back stands still until it has caught up.

mod keys;
mod tally;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use crate::firing::{Firing, Key, Phase};
use crate::settings::{Condition, Containment, Rule};
use crate::sighting::Sighting;

use keys::{Entry, Keys};
use tally::micros;

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
}

/// One rule and what it has counted.
#[derive(Debug)]
struct Counting {
    rule: Arc<Rule>,
    keys: Keys,
    /// From then on something can be new.
    learnt_us: i64,
    /// When each containment of this rule stops counting against its bound.
    contained: VecDeque<i64>,
    fired: u64,
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
    /// How many keys were forgotten for others.
    pub evicted: u64,
    /// How many events counted for nothing, because every key there was room for fires.
    pub crowded: u64,
    /// It still learns what is usual.
    pub learning: bool,
}

/// How many events a firing cites.
const EVIDENCE: usize = 5;
/// How many keys a listing names.
const LISTED: usize = 100;

impl Engine {
    /// Puts rules in force. One that was in force as it is goes on counting where it was; others begin anew.
    pub fn replace(&mut self, rules: &[Arc<Rule>], now: Now) {
        let now_us = self.step(now);
        let mut before = std::mem::take(&mut self.rules);
        let counting = |rule: &Arc<Rule>| match before.iter().position(|old| old.rule == *rule) {
            Some(index) => before.swap_remove(index),
            None => Counting::new(rule, now_us),
        };
        self.rules = rules.iter().map(counting).collect();
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

    /// Whether the rule may contain one key more; if so, that counts.
    pub fn may_contain(&mut self, rule: &Rule, containment: Containment, now: Now) -> bool {
        let now_us = self.step(now);
        let Some(counting) = self.rules.iter_mut().find(|counting| counting.rule.name == rule.name) else {
            return false;
        };
        let counts_for = micros(containment.lasts).max(counting.rule.condition.window_us());
        counting.contained.retain(|until| now_us < *until);
        let room = counting.contained.len() < counting.rule.max_contained;
        if room {
            counting.contained.push_back(now_us.saturating_add(counts_for));
        }
        room
    }

    /// How each rule does, in the order of the configuration.
    pub fn states(&self) -> Vec<RuleState> {
        self.rules.iter().map(|counting| counting.state(self.latest_us)).collect()
    }

    /// Whether some key has fired and holds still, or cools down.
    pub fn is_firing(&self) -> bool {
        self.rules.iter().any(|counting| counting.keys.held().next().is_some())
    }

    fn step(&mut self, now: Now) -> i64 {
        self.latest_us = self.latest_us.max(now.steady_us);
        self.latest_us
    }
}

impl Counting {
    fn new(rule: &Arc<Rule>, now_us: i64) -> Self {
        let learn = match rule.condition {
            Condition::New { learn, .. } => micros(learn),
            Condition::Count { .. } | Condition::Distinct { .. } => 0,
        };
        Self {
            rule: Arc::clone(rule),
            keys: Keys::new(rule.max_keys),
            learnt_us: now_us.saturating_add(learn),
            contained: VecDeque::new(),
            fired: 0,
        }
    }

    fn observe(&mut self, sighting: &Arc<Sighting>, now_us: i64, wall: Timestamp) -> Option<Firing> {
        let Self { rule, keys, .. } = self;
        let key = Key::of(rule.per, sighting)?;
        let value = match rule.condition {
            Condition::Count { .. } => 0,
            Condition::Distinct { of, .. } | Condition::New { of, .. } => sighting.fingerprint(of)?,
        };
        let entry = keys.touch(&key, rule.condition)?;
        let holds = entry.tally.add(rule.condition, value, now_us);
        entry.cite(sighting);
        let weight = entry.tally.weight();
        let muted = || rule.mutes.iter().find(|mute| mute.holds(wall)).map(|mute| Arc::clone(&mute.reason));
        let due = holds && now_us >= self.learnt_us && entry.is_due(now_us, || muted().is_some());
        let firing = due.then(|| {
            let muted = muted();
            entry.fire(now_us.saturating_add(micros(rule.cool_down)), wall, muted.is_some());
            Firing {
                id: Uuid::now_v7(),
                phase: Phase::Fired,
                rule: Arc::clone(rule),
                count: entry.tally.count(rule.condition, now_us),
                since: earlier(wall, now_us.saturating_sub(entry.tally.first_us(rule.condition, now_us))),
                time: wall,
                evidence: entry.evidence(),
                muted,
                actions: Vec::new(),
                key: key.clone(),
            }
        });
        if firing.is_some() {
            self.fired += 1;
            self.keys.hold(&key);
        }
        self.keys.weigh(&key, weight);
        firing
    }

    fn tick(&mut self, now_us: i64, wall: Timestamp, ended: &mut Vec<Firing>) {
        let rule = &self.rule;
        self.keys.release_where(|key, entry| {
            let holds = entry.tally.holds(rule.condition, now_us);
            if !holds && rule.resolve && entry.resolve() {
                ended.push(Firing {
                    id: Uuid::now_v7(),
                    phase: Phase::Resolved,
                    rule: Arc::clone(rule),
                    key: key.clone(),
                    count: entry.tally.count(rule.condition, now_us),
                    since: entry.fired_at(),
                    time: wall,
                    evidence: entry.evidence(),
                    muted: rule.mutes.iter().find(|mute| mute.holds(wall)).map(|mute| Arc::clone(&mute.reason)),
                    actions: Vec::new(),
                });
            }
            !holds && entry.has_cooled_down(now_us)
        });
    }

    fn state(&self, now_us: i64) -> RuleState {
        RuleState {
            rule: Arc::clone(&self.rule),
            fired: self.fired,
            firing: self.keys.held().take(LISTED).cloned().collect(),
            keys: self.keys.len(),
            evicted: self.keys.evicted,
            crowded: self.keys.crowded,
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
