//! What those who hold a role do in an hour: whoever does no more than its peers does nothing unusual, even where it is new to it.
//!
//! Each hour of a principal that has ended goes into the habit of each of its roles and groups. 1,024 of these are kept; roles beyond share one
//! with others. Not kept over a restart: it is learnt within hours.

use crate::habit::Habit;

/// What is counted of an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    Requests,
    /// Of 64 KiB.
    Exported,
}

#[derive(Debug)]
pub(crate) struct Peers {
    requests: Box<[Habit]>,
    exported: Box<[Habit]>,
}

const SLOTS: usize = 1_024;

impl Peers {
    pub(crate) fn new() -> Self {
        let slots = || (0..SLOTS).map(|_| Habit::default()).collect();
        Self { requests: slots(), exported: slots() }
    }

    /// Somebody who holds these roles did so much in an hour that has ended.
    pub(crate) fn learn(&self, measure: Measure, roles: &[u64], count: u32) {
        roles.iter().filter_map(|role| self.habit(measure, *role)).for_each(|habit| habit.learn(count));
    }

    /// Whether so much in an hour is nothing special for somebody who holds one of these roles.
    pub(crate) fn are_used_to(&self, measure: Measure, roles: &[u64], count: u32) -> bool {
        roles.iter().filter_map(|role| self.habit(measure, *role)).any(|habit| habit.is_used_to(count))
    }

    fn habit(&self, measure: Measure, role: u64) -> Option<&Habit> {
        let slots = match measure {
            Measure::Requests => &self.requests,
            Measure::Exported => &self.exported,
        };
        slots.get(usize::try_from(role >> 32).unwrap_or(0) % SLOTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commons::mix;

    #[test]
    fn what_the_peers_do_is_nothing_special() {
        let peers = Peers::new();
        let [crawler, clerk] = [1, 2].map(mix);
        for _ in 0..20 {
            peers.learn(Measure::Requests, &[crawler], 5_000);
            peers.learn(Measure::Requests, &[clerk], 50);
        }
        let used = |roles: &[u64], count| peers.are_used_to(Measure::Requests, roles, count);
        assert!(used(&[crawler], 5_000) && used(&[clerk, crawler], 5_000) && used(&[clerk], 50));
        assert!(!used(&[clerk], 5_000) && !used(&[crawler], 50_000) && !used(&[], 1));
        assert!(!peers.are_used_to(Measure::Exported, &[crawler], 1), "nothing is known of that");
    }
}
