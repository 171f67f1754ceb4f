//! What those who hold a role do in an hour: whoever does no more than its peers does nothing unusual, even where it is new to it.
//!
//! Each hour of a principal that has ended goes into the habit of each of its roles and groups. 1,024 of these are kept; roles beyond share one
//! with others. They outlast the process where there is a store, at most five minutes old.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::habit::Habit;
use crate::moment::before;

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
    changed: AtomicBool,
    /// When they were last handed out to be kept, in ticks.
    kept: AtomicU64,
}

const SLOTS: usize = 1_024;
/// They are kept as often as this: five minutes.
const KEEP_TICKS: u64 = 5 * 60 * 16;

impl Peers {
    pub(crate) fn new() -> Self {
        let slots = || (0..SLOTS).map(|_| Habit::default()).collect();
        Self { requests: slots(), exported: slots(), changed: AtomicBool::new(false), kept: AtomicU64::new(0) }
    }

    /// Somebody who holds these roles did so much in an hour that has ended.
    pub(crate) fn learn(&self, measure: Measure, roles: &[u64], count: u32) {
        for habit in roles.iter().filter_map(|role| self.habit(measure, *role)) {
            habit.learn(count);
            self.changed.store(true, Ordering::Relaxed);
        }
    }

    /// Whether so much in an hour is nothing special for somebody who holds one of these roles.
    pub(crate) fn are_used_to(&self, measure: Measure, roles: &[u64], count: u32) -> bool {
        roles.iter().filter_map(|role| self.habit(measure, *role)).any(|habit| habit.is_used_to(count))
    }

    /// What is kept, where it has changed and was last kept a while ago: 16 KiB.
    pub(crate) fn take_changed(&self, now: u64) -> Option<Vec<u8>> {
        if self.kept.load(Ordering::Relaxed) > before(now, KEEP_TICKS) || !self.changed.swap(false, Ordering::Relaxed) {
            return None;
        }
        self.kept.store(now, Ordering::Relaxed);
        Some(self.all().flat_map(|habit| habit.word().to_le_bytes()).collect())
    }

    /// What was handed out may not have been kept. Where nothing was ever learnt there is nothing to keep.
    pub(crate) fn mark(&self) {
        if self.all().any(|habit| habit.word() != 0) {
            self.changed.store(true, Ordering::Relaxed);
            self.hurry();
        }
    }

    /// What has changed is handed out next, whenever that was last.
    pub(crate) fn hurry(&self) {
        self.kept.store(0, Ordering::Relaxed);
    }

    /// Puts back what was kept. Says whether it could be read: any words can be.
    pub(crate) fn restore(&self, kept: &[u8]) -> bool {
        let (words, more) = kept.as_chunks::<8>();
        let is_whole = more.is_empty() && words.len() == 2 * SLOTS;
        if is_whole {
            self.all().zip(words).for_each(|(habit, word)| habit.put(u64::from_le_bytes(*word)));
        }
        is_whole
    }

    fn all(&self) -> impl Iterator<Item = &Habit> {
        self.requests.iter().chain(&self.exported)
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

    #[test]
    fn what_peers_do_outlasts_the_process() {
        const NOW: u64 = 28_000_000_000;
        let peers = Peers::new();
        let [crawler, clerk] = [1, 2].map(mix);
        peers.mark();
        assert_eq!(peers.take_changed(NOW), None);
        (0..20).for_each(|_| peers.learn(Measure::Requests, &[crawler], 5_000));
        peers.learn(Measure::Exported, &[], 5_000);
        let kept = peers.take_changed(NOW).unwrap();
        peers.learn(Measure::Requests, &[crawler], 5_000);
        assert_eq!((kept.len(), peers.take_changed(NOW + KEEP_TICKS - 1)), (16_384, None), "not each time");
        assert!(peers.take_changed(NOW + KEEP_TICKS).is_some_and(|kept| kept.len() == 16_384));
        assert_eq!(peers.take_changed(NOW + 2 * KEEP_TICKS), None, "nothing is new");
        peers.mark();
        assert!(peers.take_changed(NOW + 2 * KEEP_TICKS).is_some(), "a store that failed gets it again");
        let again = Peers::new();
        assert!(again.restore(&kept) && !again.restore(&kept[1..]) && !again.restore(&[]));
        assert!(again.are_used_to(Measure::Requests, &[crawler], 5_000));
        assert!(!again.are_used_to(Measure::Requests, &[clerk], 5_000));
        assert!(!again.are_used_to(Measure::Exported, &[crawler], 1));
    }
}
