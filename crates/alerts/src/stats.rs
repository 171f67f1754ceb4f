//! What is counted about alerts, by names that the configuration has.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The counters. They outlive a reload.
#[derive(Debug, Default)]
pub struct Stats {
    fired: Mutex<BTreeMap<Arc<str>, u64>>,
    notifications: Mutex<BTreeMap<(Arc<str>, Delivered), u64>>,
    missed: AtomicU64,
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
