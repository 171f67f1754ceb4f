//! What one key has had: times of events, or values with the time each was last seen. Exact, and bounded by the threshold.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::settings::Condition;

/// How many values a key remembers under [`Condition::New`]; the one not seen for longest is forgotten first.
const REMEMBERED: usize = 256;

/// The counts of one key, in microseconds of the steady clock.
#[derive(Debug)]
pub(crate) enum Tally {
    /// The last events, at most as many as the threshold, oldest first.
    Events(VecDeque<i64>),
    /// Values, and when each was last seen.
    Values {
        last: HashMap<u64, i64>,
        /// When a new value last came.
        new_us: i64,
    },
}

impl Tally {
    pub(crate) fn new(condition: Condition) -> Self {
        match condition {
            Condition::Count { .. } => Self::Events(VecDeque::new()),
            Condition::Distinct { .. } | Condition::New { .. } => {
                Self::Values { last: HashMap::new(), new_us: i64::MIN }
            }
        }
    }

    /// Counts an event, and says whether the condition holds with it.
    pub(crate) fn add(&mut self, condition: Condition, value: u64, now_us: i64) -> bool {
        let horizon = now_us.saturating_sub(condition.window_us());
        match (self, condition) {
            (Self::Events(times), Condition::Count { count, .. }) => {
                while times.front().is_some_and(|time| *time <= horizon) || times.len() >= count.max(1) {
                    times.pop_front();
                }
                times.push_back(now_us);
                times.len() >= count
            }
            (Self::Values { last, .. }, Condition::Distinct { count, .. }) => {
                if last.insert(value, now_us).is_none() && last.len() > count {
                    last.retain(|_, time| *time > horizon);
                    if last.len() > count {
                        forget_oldest(last);
                    }
                }
                last.len() >= count && within(last, horizon) >= count
            }
            (Self::Values { last, new_us }, Condition::New { .. }) => {
                let is_new = last.insert(value, now_us).is_none_or(|time| time <= horizon);
                if last.len() > REMEMBERED {
                    forget_oldest(last);
                }
                if is_new {
                    *new_us = now_us;
                }
                is_new
            }
            // A tally is made for the condition of its rule, which does not change.
            (Self::Events(_), Condition::Distinct { .. } | Condition::New { .. })
            | (Self::Values { .. }, Condition::Count { .. }) => false,
        }
    }

    /// Whether the condition holds still, without a further event.
    pub(crate) fn holds(&self, condition: Condition, now_us: i64) -> bool {
        match condition {
            Condition::Count { count, .. } | Condition::Distinct { count, .. } => {
                self.count(condition, now_us) >= count
            }
            Condition::New { .. } => false,
        }
    }

    /// How many events or values there are within the window, at most the threshold; of a new value, 1.
    pub(crate) fn count(&self, condition: Condition, now_us: i64) -> usize {
        let horizon = now_us.saturating_sub(condition.window_us());
        match (self, condition) {
            (_, Condition::New { .. }) => 1,
            (Self::Events(times), _) => times.iter().filter(|time| **time > horizon).count(),
            (Self::Values { last, .. }, _) => within(last, horizon),
        }
    }

    /// When the first of those was seen.
    pub(crate) fn first_us(&self, condition: Condition, now_us: i64) -> i64 {
        let horizon = now_us.saturating_sub(condition.window_us());
        match (self, condition) {
            (Self::Values { new_us, .. }, Condition::New { .. }) => *new_us,
            (Self::Events(times), _) => times.iter().copied().find(|time| *time > horizon).unwrap_or(now_us),
            (Self::Values { last, .. }, _) => {
                last.values().copied().filter(|time| *time > horizon).min().unwrap_or(now_us)
            }
        }
    }

    /// How much it holds.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Events(times) => times.len(),
            Self::Values { last, .. } => last.len().saturating_mul(2),
        }
    }
}

fn within(last: &HashMap<u64, i64>, horizon: i64) -> usize {
    last.values().filter(|time| **time > horizon).count()
}

fn forget_oldest(last: &mut HashMap<u64, i64>) {
    if let Some(oldest) = last.iter().min_by_key(|(_, time)| **time).map(|(value, _)| *value) {
        last.remove(&oldest);
    }
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
