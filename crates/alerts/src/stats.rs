//! What is counted about alerts, by names that the configuration has.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The counters. They outlive a reload.
#[derive(Debug, Default)]
pub struct Stats {
    fired: Mutex<BTreeMap<Arc<str>, u64>>,
    notifications: Mutex<BTreeMap<(Arc<str>, Delivered), u64>>,
    losses: Mutex<BTreeMap<Arc<str>, Arc<Losses>>>,
    missed: AtomicU64,
}

/// What a rule could not keep, for its bounds.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    evicted: AtomicU64,
    crowded: AtomicU64,
    overflowed: AtomicU64,
}

impl Losses {
    /// A key was forgotten for another.
    pub(crate) fn count_evicted(&self) {
        self.evicted.fetch_add(1, Ordering::Relaxed);
    }

    /// A key fires for which there is no room among those that fire.
    pub(crate) fn count_crowded(&self) {
        self.crowded.fetch_add(1, Ordering::Relaxed);
    }

    /// Nobody knows whether a value is new.
    pub(crate) fn count_overflowed(&self) {
        self.overflowed.fetch_add(1, Ordering::Relaxed);
    }

    /// The three, in this order.
    pub(crate) fn counts(&self) -> [u64; 3] {
        [&self.evicted, &self.crowded, &self.overflowed].map(|count| count.load(Ordering::Relaxed))
    }
}

/// What became of a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Delivered {
    /// It was taken.
    Sent,
    /// An attempt failed, and another one follows.
    Retried,
    /// It was given up.
    Failed,
    /// There was no room for it to wait.
    Dropped,
}

impl Delivered {
    /// The word of the metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Retried => "retried",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }
}

impl Stats {
    /// How often each rule has fired.
    pub fn fired(&self) -> Vec<(Arc<str>, u64)> {
        let fired = self.fired.lock().unwrap_or_else(PoisonError::into_inner);
        fired.iter().map(|(name, count)| (Arc::clone(name), *count)).collect()
    }

    /// What became of notifications, by notifier.
    pub fn notifications(&self) -> Vec<(Arc<str>, Delivered, u64)> {
        let notifications = self.notifications.lock().unwrap_or_else(PoisonError::into_inner);
        notifications.iter().map(|((name, result), count)| (Arc::clone(name), *result, *count)).collect()
    }

    /// What each rule could not keep: keys forgotten for others, events that made a key fire for which there was no room, and events with a
    /// value of which nobody knows whether it is new.
    pub fn losses(&self) -> Vec<(Arc<str>, [u64; 3])> {
        let losses = self.losses.lock().unwrap_or_else(PoisonError::into_inner);
        losses.iter().map(|(name, losses)| (Arc::clone(name), losses.counts())).collect()
    }

    /// Where those of a rule of this name are counted. They outlive the rule.
    pub(crate) fn losses_of(&self, rule: &Arc<str>) -> Arc<Losses> {
        let mut losses = self.losses.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(losses.entry(Arc::clone(rule)).or_default())
    }

    /// Events that no rule has seen, because too many waited.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// Has a rule's name in the metrics before it fires.
    pub(crate) fn know(&self, rule: &Arc<str>) {
        self.fired.lock().unwrap_or_else(PoisonError::into_inner).entry(Arc::clone(rule)).or_default();
    }

    pub(crate) fn count_fired(&self, rule: &Arc<str>) {
        *self.fired.lock().unwrap_or_else(PoisonError::into_inner).entry(Arc::clone(rule)).or_default() += 1;
    }

    pub(crate) fn count_notification(&self, notifier: &Arc<str>, result: Delivered) {
        let mut notifications = self.notifications.lock().unwrap_or_else(PoisonError::into_inner);
        *notifications.entry((Arc::clone(notifier), result)).or_default() += 1;
    }

    pub(crate) fn count_missed(&self) {
        self.missed.fetch_add(1, Ordering::Relaxed);
    }
}
