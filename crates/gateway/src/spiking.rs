//! Looks for spikes of refusals, and keeps what they were explained by.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use portcullis_events::{Event, EventKind};
use portcullis_insight::SpikeSettings;
use portcullis_insight::spike::{
    BucketCounts, ChangeKind, Due, Explained, Found, InForce, Lookout, Moment, RecentChange,
};
use portcullis_proxy::Shared;
use uuid::Uuid;

/// Spikes that are kept.
const FOUND: usize = 64;

/// A spike that was explained.
#[derive(Debug, Clone)]
pub(crate) struct Spike {
    /// The id of its first event.
    pub(crate) id: Uuid,
    /// What was said of it last.
    pub(crate) explained: Explained,
    number: u64,
}

/// What looks for spikes.
#[derive(Debug)]
pub(crate) struct Spiking {
    lookout: Lookout,
    started: Instant,
    in_force: InForce,
    /// The one that `in_force` was made of: another one may be at the same place once it is gone.
    authenticator: Arc<portcullis_identity::Authenticator>,
    found: VecDeque<Spike>,
}

impl Spiking {
    pub(crate) fn new(settings: SpikeSettings, shared: &Shared) -> Self {
        let now = Moment { steady: std::time::Duration::ZERO, wall: Timestamp::now() };
        let snapshot = shared.snapshot().load();
        let staged = snapshot.staged.as_ref().map(|staged| Arc::clone(&staged.policy));
        Self {
            lookout: Lookout::new(settings, now),
            started: Instant::now(),
            in_force: InForce { policy: Arc::clone(&snapshot.policy), staged, reading: 0 },
            authenticator: Arc::clone(&snapshot.authenticator),
            found: VecDeque::new(),
        }
    }

    /// Those that were found, the last one first.
    pub(crate) fn found(&self) -> Vec<Spike> {
        self.found.iter().rev().cloned().collect()
    }

    /// What is usual is not known yet.
    pub(crate) fn is_learning(&self) -> bool {
        self.lookout.is_learning()
    }

    /// Called several times in each bucket. A spike that is to be explained, and told of with [`Self::told`].
    pub(crate) fn tick(&mut self, shared: &Shared) -> Option<Due> {
        let now = Moment { steady: self.started.elapsed(), wall: Timestamp::now() };
        self.note_changes(shared, now.wall);
        let tallied = shared.sampling.as_ref()?.tallied();
        let counted = BucketCounts { requests: tallied.requests, refused: tallied.refused + tallied.upstream_refused };
        self.lookout.look(now, counted)
    }

    /// What was due is explained; `None`: that came to nothing. The event of a spike of which there is something to say.
    pub(crate) fn told(&mut self, due: Due, explained: Option<Explained>, shared: &Shared) -> Option<Event> {
        let found = self.lookout.told(due, explained)?;
        self.tell(found, shared, Timestamp::now())
    }

    /// Another policy is in force, or other lists of its networks, or another one for some callers.
    fn note_changes(&mut self, shared: &Shared, at: Timestamp) {
        let snapshot = shared.snapshot().load();
        let is_same = Arc::ptr_eq(&snapshot.policy, &self.in_force.policy);
        if is_same && snapshot.staged.is_some() == self.in_force.staged.is_some() {
            return;
        }
        let is_read_anew = !Arc::ptr_eq(&snapshot.authenticator, &self.authenticator);
        let reading = self.in_force.reading + usize::from(is_read_anew);
        let staged = snapshot.staged.as_ref().map(|staged| Arc::clone(&staged.policy));
        let now = InForce { policy: Arc::clone(&snapshot.policy), staged, reading };
        let before = std::mem::replace(&mut self.in_force, now);
        self.authenticator = Arc::clone(&snapshot.authenticator);
        // It came a moment ago at most: nothing may have been refused before it that it turned.
        let at = at.checked_sub(SignedDuration::from_secs(1)).unwrap_or(at);
        let after = &self.in_force;
        if let Some(kind) = after.change_from(&before) {
            let change = RecentChange { at, kind, before: before.policy.clone(), after: Arc::clone(&after.policy) };
            self.lookout.note(change);
        }
        if let Some(staged) = after.staged.as_ref().filter(|_| after.stages_other_than(&before)) {
            let (before, after) = (Arc::clone(&after.policy), Arc::clone(staged));
            self.lookout.note(RecentChange { at, kind: ChangeKind::Rollout, before, after });
        }
    }

    /// Keeps it, and says it where it is news.
    fn tell(&mut self, found: Found, shared: &Shared, now: Timestamp) -> Option<Event> {
        let Found { spike: number, explained, is_news } = found;
        let words = explained.in_words().join("; ");
        let snapshot = shared.snapshot().load();
        let mut event = Event::new(EventKind::SpikeExplained, Uuid::now_v7(), now);
        event.policy.version = Some(snapshot.policy.version());
        event.policy.sha256 = Some(snapshot.policy_sha256.clone());
        let known = self.found.iter_mut().find(|known| known.number == number);
        let words = match known {
            Some(known) => {
                known.explained = explained;
                format!("spike {} looked at again: {words}", known.id)
            }
            None => {
                if self.found.len() >= FOUND {
                    self.found.pop_front();
                }
                self.found.push_back(Spike { id: event.id, explained, number });
                words
            }
        };
        if !is_news {
            return None;
        }
        tracing::warn!(spike = words, "more refusals than usual");
        event.message = Some(words);
        Some(event)
    }
}
