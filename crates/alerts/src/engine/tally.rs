//! What is counted of one key: times of events, or values with the times each was seen. Exact, and bounded by the threshold.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::settings::Condition;

/// How many values a key remembers under [`Condition::New`]; the one not seen for longest is forgotten first.
pub(crate) const REMEMBERED: usize = 256;

/// The counts of one key, in microseconds of the steady clock.
#[derive(Debug)]
pub(crate) enum Tally {
    /// The last events, at most as many as the threshold, oldest first.
    Events(VecDeque<i64>),
    /// Values.
    Values {
        /// When each was seen.
        seen: HashMap<u64, Seen>,
        /// When a value last had to be forgotten that was not too old: what is new cannot be told from it since.
        forgot_us: Option<i64>,
    },
}

/// When a value was seen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    /// First, since it was last too old.
    first_us: i64,
    last_us: i64,
}

/// What an event brought about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Added {
    /// The condition does not hold.
    Quiet,
    /// It does. What is new is not remembered before [`Tally::learn`].
    Holds,
    /// Whether the value is new is not known: the key has more of them than are remembered.
    Overflowed,
}

impl Tally {
    pub(crate) fn new(condition: Condition) -> Self {
        match condition {
            Condition::Count { .. } => Self::Events(VecDeque::new()),
            Condition::Distinct { .. } | Condition::New { .. } => {
                Self::Values { seen: HashMap::new(), forgot_us: None }
            }
        }
    }

    /// Counts an event, and says whether the condition holds with it.
    pub(crate) fn add(&mut self, condition: Condition, value: u64, now_us: i64) -> Added {
        let horizon = now_us.saturating_sub(condition.window_us());
        match (self, condition) {
            (Self::Events(times), Condition::Count { count, .. }) => {
                while times.front().is_some_and(|time| *time <= horizon) || times.len() >= count.max(1) {
                    times.pop_front();
                }
                times.push_back(now_us);
                holds(times.len() >= count)
            }
            (Self::Values { seen, .. }, Condition::Distinct { count, .. }) => {
                if note(seen, value, horizon, now_us) && seen.len() > count {
                    forget(seen, count, horizon);
                }
                holds(seen.len() >= count && within(seen, horizon) >= count)
            }
            (Self::Values { seen, forgot_us }, Condition::New { .. }) => {
                let known = seen.get_mut(&value).filter(|seen| seen.last_us > horizon);
                if let Some(known) = known {
                    known.last_us = now_us;
                    return Added::Quiet;
                }
                if forgot_us.is_some_and(|time| time > horizon) {
                    remember(seen, forgot_us, value, horizon, now_us);
                    return Added::Overflowed;
                }
                Added::Holds
            }
            // A tally is made for the condition of its rule, which does not change.
            (Self::Events(_), Condition::Distinct { .. } | Condition::New { .. })
            | (Self::Values { .. }, Condition::Count { .. }) => Added::Quiet,
        }
    }

    /// Remembers a value that was new.
    pub(crate) fn learn(&mut self, condition: Condition, value: u64, now_us: i64) {
        let (Self::Values { seen, forgot_us }, Condition::New { .. }) = (self, condition) else { return };
        remember(seen, forgot_us, value, now_us.saturating_sub(condition.window_us()), now_us);
    }

    /// Whether the condition holds still, without a further event.
    pub(crate) fn holds(&self, condition: Condition, now_us: i64) -> bool {
        match (self, condition) {
            // There are never more times than the threshold.
            (Self::Events(times), Condition::Count { count, .. }) => {
                let horizon = now_us.saturating_sub(condition.window_us());
                times.len() >= count && times.front().is_some_and(|time| *time > horizon)
            }
            (_, Condition::Count { count, .. } | Condition::Distinct { count, .. }) => {
                self.count(condition, now_us) >= count
            }
            (_, Condition::New { .. }) => false,
        }
    }

    /// How many events or values there are within the window, at most the threshold; of a new value, 1.
    pub(crate) fn count(&self, condition: Condition, now_us: i64) -> usize {
        let horizon = now_us.saturating_sub(condition.window_us());
        match (self, condition) {
            (_, Condition::New { .. }) => 1,
            (Self::Events(times), _) => times.iter().filter(|time| **time > horizon).count(),
            (Self::Values { seen, .. }, _) => within(seen, horizon),
        }
    }

    /// When the first of those was seen, within the window.
    pub(crate) fn first_us(&self, condition: Condition, now_us: i64) -> i64 {
        let horizon = now_us.saturating_sub(condition.window_us());
        match (self, condition) {
            (_, Condition::New { .. }) => now_us,
            (Self::Events(times), _) => times.iter().copied().find(|time| *time > horizon).unwrap_or(now_us),
            (Self::Values { seen, .. }, _) => {
                let within = seen.values().filter(|seen| seen.last_us > horizon);
                within.map(|seen| seen.first_us.max(horizon)).min().unwrap_or(now_us)
            }
        }
    }

    /// How much it holds.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Events(times) => times.len(),
            Self::Values { seen, .. } => seen.len().saturating_mul(3),
        }
    }
}

fn holds(does: bool) -> Added {
    if does { Added::Holds } else { Added::Quiet }
}

fn remember(seen: &mut HashMap<u64, Seen>, forgot_us: &mut Option<i64>, value: u64, horizon: i64, now_us: i64) {
    note(seen, value, horizon, now_us);
    if seen.len() > REMEMBERED && forget(seen, REMEMBERED, horizon) {
        *forgot_us = Some(now_us);
    }
}

/// Notes that a value was seen, and says whether it was not there.
fn note(seen: &mut HashMap<u64, Seen>, value: u64, horizon: i64, now_us: i64) -> bool {
    let new = Seen { first_us: now_us, last_us: now_us };
    match seen.insert(value, new) {
        Some(old) if old.last_us > horizon => {
            seen.insert(value, Seen { first_us: old.first_us, ..new });
            false
        }
        Some(_) => false,
        None => true,
    }
}

fn within(seen: &HashMap<u64, Seen>, horizon: i64) -> usize {
    seen.values().filter(|seen| seen.last_us > horizon).count()
}

/// Forgets what is too old; and where there are more than `most` still, those not seen for longest: of that it is `true`.
fn forget(seen: &mut HashMap<u64, Seen>, most: usize, horizon: i64) -> bool {
    seen.retain(|_, seen| seen.last_us > horizon);
    let over = seen.len() > most;
    while seen.len() > most {
        let oldest = seen.iter().min_by_key(|(_, seen)| seen.last_us).map(|(value, _)| *value);
        let Some(oldest) = oldest else { break };
        seen.remove(&oldest);
    }
    over
}

impl Condition {
    /// How far back it looks.
    pub(crate) fn window_us(self) -> i64 {
        match self {
            Self::Count { window, .. } | Self::Distinct { window, .. } => micros(window),
            Self::New { memory, .. } => micros(memory),
        }
    }
}

pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
