//! Looks for spikes of refusals, bucket by bucket, and keeps what they were explained by.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use portcullis_events::{Event, EventKind};
use portcullis_insight::spike::{BucketCounts, ChangeKind, Charts, Explained, RecentChange, Standing, Window, explain};
use portcullis_insight::{Outlook, SpikeSettings};
use portcullis_policy::Policy;
use portcullis_proxy::Shared;
use portcullis_proxy::sampling::Tallied;
use uuid::Uuid;

/// Changes that are kept as suspects.
const CHANGES: usize = 8;
/// Beginnings of buckets that are kept: a spike that lasts longer is said to have begun with the first of them.
const MOST_BEGINNINGS: usize = 1_024;
/// Spikes that are kept.
const FOUND: usize = 64;

/// A spike that was explained.
#[derive(Debug, Clone)]
pub(crate) struct Spike {
    /// The id of its event.
    pub(crate) id: Uuid,
    pub(crate) explained: Explained,
}

/// What looks for spikes.
#[derive(Debug)]
pub(crate) struct Spiking {
    settings: SpikeSettings,
    charts: Charts,
    /// The last ones, the oldest first.
    changes: VecDeque<RecentChange>,
    present: Arc<Policy>,
    /// When the bucket began that is being filled, and what was counted until then.
    began: Instant,
    began_at: Timestamp,
    counted: Tallied,
    /// When those that are over began, the oldest first.
    beginnings: VecDeque<Timestamp>,
    learning: bool,
    /// This spike has been explained.
    told: bool,
    found: VecDeque<Spike>,
}

impl Spiking {
    pub(crate) fn new(settings: SpikeSettings, shared: &Shared) -> Self {
        Self {
            charts: Charts::new(settings.min_excess),
            settings,
            changes: VecDeque::new(),
            present: Arc::clone(&shared.snapshot().load().policy),
            began: Instant::now(),
            began_at: Timestamp::now(),
            counted: Tallied::default(),
            beginnings: VecDeque::new(),
            learning: true,
            told: false,
            found: VecDeque::new(),
        }
    }

    /// Those that were found, the last one first.
    pub(crate) fn found(&self) -> Vec<Spike> {
        self.found.iter().rev().cloned().collect()
    }

    /// What is usual is not known yet.
    pub(crate) fn is_learning(&self) -> bool {
        self.learning
    }

    /// Called several times in each bucket. The event of a spike that has just been explained.
    pub(crate) fn tick(&mut self, shared: &Shared, sample: impl FnOnce() -> Outlook) -> Option<Event> {
        let wall = Timestamp::now();
        self.note_change(shared, wall);
        if self.began.elapsed() < self.settings.bucket {
            return None;
        }
        let now = shared.sampling.as_ref()?.tallied();
        let counts = BucketCounts {
            requests: now.requests.saturating_sub(self.counted.requests),
            refused: (now.refused + now.upstream_refused)
                .saturating_sub(self.counted.refused + self.counted.upstream_refused),
        };
        (self.began, self.counted) = (Instant::now(), now);
        if self.beginnings.len() >= MOST_BEGINNINGS {
            self.beginnings.pop_front();
        }
        self.beginnings.push_back(std::mem::replace(&mut self.began_at, wall));
        let standing = self.charts.add(counts);
        self.learning = standing == Standing::Learning;
        let Standing::Spike { buckets, observed, expected, new } = standing else {
            self.told = false;
            return None;
        };
        // One bucket more, so that there is enough to look at.
        if new || self.told {
            return None;
        }
        self.told = true;
        // Buckets are as long as they are: a busy machine may take longer to come by.
        let buckets = usize::try_from(buckets).unwrap_or(usize::MAX);
        let first = self.beginnings.len().saturating_sub(buckets.max(1));
        let onset = self.beginnings.get(first).copied().unwrap_or(wall);
        let window = Window { onset, until: wall, observed, expected: whole(expected) };
        let lookback = SignedDuration::try_from(self.settings.lookback).unwrap_or(SignedDuration::MAX);
        let explained = explain(&window, &sample(), self.changes.make_contiguous(), lookback);
        Some(self.tell(explained, shared, wall))
    }

    /// Another policy is in force, or other lists of its networks.
    fn note_change(&mut self, shared: &Shared, at: Timestamp) {
        let snapshot = shared.snapshot().load();
        if Arc::ptr_eq(&snapshot.policy, &self.present) {
            return;
        }
        let after = Arc::clone(&snapshot.policy);
        let before = std::mem::replace(&mut self.present, Arc::clone(&after));
        let Some(kind) = kind_of_change(&before, &after) else { return };
        if self.changes.len() >= CHANGES {
            self.changes.pop_front();
        }
        // It came a moment ago at most: nothing may have been refused before it that it turned.
        let at = at.checked_sub(SignedDuration::from_secs(1)).unwrap_or(at);
        self.changes.push_back(RecentChange { at, kind, before, after });
    }

    fn tell(&mut self, explained: Explained, shared: &Shared, now: Timestamp) -> Event {
        let words = explained.in_words();
        tracing::warn!(spike = words.join("; "), "more refusals than usual");
        let mut event = Event::new(EventKind::SpikeExplained, Uuid::now_v7(), now);
        let snapshot = shared.snapshot().load();
        event.policy.version = Some(snapshot.policy.version());
        event.policy.sha256 = Some(snapshot.policy_sha256.clone());
        event.message = Some(words.join("; "));
        if self.found.len() >= FOUND {
            self.found.pop_front();
        }
        self.found.push_back(Spike { id: event.id, explained });
        event
    }
}

/// A count that is not whole, rounded.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of refusals, never negative")]
fn whole(count: f64) -> u64 {
    count.round() as u64
}

/// What became another. Thresholds that were worked out anew are no suspect: what they turn is judged by them, and they are said where risk is.
fn kind_of_change(before: &Policy, after: &Policy) -> Option<ChangeKind> {
    match (before.sha256() == after.sha256(), before.calibration() == after.calibration()) {
        (false, _) => Some(ChangeKind::Policy),
        (true, true) => Some(ChangeKind::Feed),
        (true, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use portcullis_policy::{PolicyDraft, RiskThresholds};

    use super::*;

    #[test]
    fn a_calibration_is_blamed_on_no_list() {
        let policy = |sha256: &str| Policy::compile(&PolicyDraft { sha256: sha256.into(), ..PolicyDraft::default() });
        let [one, other] = ["aa", "bb"].map(|sha256| policy(sha256).unwrap().0);
        let calibrated = |id: &str, step_up_mnats: i32| {
            let thresholds = RiskThresholds { step_up_mnats, deny_mnats: step_up_mnats + 2_000 };
            one.with_calibration(Some((id.into(), [Some(thresholds); 3])))
        };
        let (first, second) = (calibrated("c1-00000000", 1_000), calibrated("c2-00000000", 3_000));
        let check = |before: &Policy, after: &Policy, expected: Option<ChangeKind>| {
            assert_eq!(kind_of_change(before, after), expected);
        };
        check(&one, &other, Some(ChangeKind::Policy));
        check(&one, &one, Some(ChangeKind::Feed));
        check(&first, &first, Some(ChangeKind::Feed));
        check(&one, &first, None);
        check(&first, &second, None);
        check(&second, &one, None);
        check(&first, &other, Some(ChangeKind::Policy));
    }
}
