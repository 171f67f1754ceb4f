//! Looks for spikes of refusals, and keeps what they were explained by.

mod deeds;
mod keeping;
mod states;
mod ways;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use portcullis_events::{Event, EventKind};
use portcullis_identity::revocation::Revocation;
use portcullis_insight::SpikeSettings;
use portcullis_insight::spike::{
    BucketCounts, ChangeKind, Deed, Due, Explained, Found, InForce, Lookout, Moment, Parts, RecentChange, Remembered,
};
use portcullis_policy::Policy;
use portcullis_proxy::Shared;
use portcullis_risk::BanEntry;
use portcullis_store::{SpikeBook, SpikesOf};
use uuid::Uuid;

pub(crate) use deeds::BY_HAND;
use deeds::Deeds;
pub(crate) use keeping::{Begun, Unsaved, found_in, parts_of};
use states::Kept;
pub(crate) use states::State;
pub(crate) use ways::WaysBack;

use crate::feeding::Feeds;
use crate::governing::Governing;

/// Spikes that are kept.
const FOUND: usize = 64;

/// A spike that was explained.
#[derive(Debug, Clone)]
pub(crate) struct Spike {
    /// The id of its first event.
    pub(crate) id: Uuid,
    /// What was said of it last.
    pub(crate) explained: Explained,
    /// Which spike of this process; `None`: of one before.
    number: Option<u64>,
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
    deeds: Deeds,
    /// What is around the policy in force.
    parts: Parts,
    /// What comes into force around the next one, and the authenticator by which that is known: until then other policies may come, of lists, of
    /// thresholds or of a rollout.
    coming: Option<(Arc<portcullis_identity::Authenticator>, Parts)>,
    /// What was in force lately, the oldest first; of earlier processes, too.
    states: Vec<State>,
    states_changed: bool,
    /// The spikes of which something else is to be written.
    unwritten: Vec<Uuid>,
}

impl Spiking {
    pub(crate) fn new(settings: SpikeSettings, begun: Begun, shared: &Shared) -> (Self, Option<SpikeBook>) {
        let Begun { parts, book, known } = begun;
        let now = Moment { steady: std::time::Duration::ZERO, wall: Timestamp::now() };
        let snapshot = shared.snapshot().load();
        let staged = snapshot.staged.as_ref().map(|staged| Arc::clone(&staged.policy));
        let lookout = Lookout::new(settings, now).going_on_from(known.usual.as_ref(), known.remembered);
        let (policy, put) = (Arc::clone(&snapshot.policy), put_of(shared));
        let in_force = InForce { policy, staged, reading: 0, parts: parts.clone(), put };
        let mut states = known.states;
        states::push(&mut states, State::of(&in_force, now.wall, true));
        let spiking = Self {
            lookout,
            started: Instant::now(),
            in_force,
            authenticator: Arc::clone(&snapshot.authenticator),
            found: known.found.into(),
            deeds: Deeds::default(),
            parts,
            coming: None,
            states,
            states_changed: true,
            unwritten: Vec::new(),
        };
        (spiking, book)
    }

    /// What an earlier process had in force, and this one when it began; with the policy of now, and how far back a change is a suspect.
    pub(crate) fn states(&self) -> (Vec<State>, Arc<Policy>, std::time::Duration) {
        (self.states.clone(), Arc::clone(&self.in_force.policy), self.lookout.settings().lookback)
    }

    /// Notes what an earlier process or this one changed as it began.
    pub(crate) fn note(&mut self, changes: Vec<RecentChange>) {
        changes.into_iter().for_each(|change| self.lookout.note(change));
    }

    /// Another configuration comes into force in a moment, with this around its policy.
    pub(crate) fn read_anew(&mut self, parts: Parts, authenticator: &Arc<portcullis_identity::Authenticator>) {
        self.coming = Some((Arc::clone(authenticator), parts));
    }

    /// A provider does not have some of its keys any more.
    pub(crate) fn keys_went(&mut self, provider: &str, at: Timestamp) {
        let policy = Arc::clone(&self.in_force.policy);
        let (kind, before, after) = (ChangeKind::Keys, Arc::clone(&policy), policy);
        let (at, about) = (a_moment_before(at), provider.to_owned());
        self.lookout.note(RecentChange { at, kind, before, together: None, after, about });
    }

    /// An operator did something: with the bans and the revocations that are in force now, who it was, and what was said of it; `None`: that is not
    /// known.
    pub(crate) fn operator_did(&mut self, in_force: (&[BanEntry], &[Arc<Revocation>]), by: Option<(&str, &str)>) {
        if self.deeds.renew(in_force, by) {
            self.lookout.hurry();
        }
    }

    /// What operators did lately.
    pub(crate) fn deeds(&self) -> Vec<Deed> {
        self.deeds.at(Timestamp::now())
    }

    /// What is to be written since this was asked the last time.
    pub(crate) fn take_unsaved(&mut self) -> Unsaved {
        let unwritten = std::mem::take(&mut self.unwritten);
        Unsaved {
            usual: self.lookout.usual(),
            states: std::mem::take(&mut self.states_changed).then(|| self.states.clone()),
            found: self.found.iter().filter(|spike| unwritten.contains(&spike.id)).cloned().collect(),
        }
    }

    /// That could not be written, or another process writes: what it has put in the place of this one's is to be written anew, should that end first.
    pub(crate) fn give_back(&mut self, unsaved: &Unsaved) {
        self.states_changed = true;
        self.unwritten.extend(unsaved.found.iter().map(|spike| spike.id));
    }

    /// Whoever was let in before the process began, and how spikes are looked for.
    pub(crate) fn remembered(&self) -> (Arc<Remembered>, SpikeSettings) {
        (Arc::clone(self.lookout.remembered()), *self.lookout.settings())
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
        let staged = snapshot.staged.as_ref().map(|staged| Arc::clone(&staged.policy));
        let is_same = Arc::ptr_eq(&snapshot.policy, &self.in_force.policy);
        if is_same && staged.as_ref().map(Arc::as_ptr) == self.in_force.staged.as_ref().map(Arc::as_ptr) {
            return;
        }
        let is_read_anew = !Arc::ptr_eq(&snapshot.authenticator, &self.authenticator);
        let reading = self.in_force.reading + usize::from(is_read_anew);
        if let Some((_, parts)) = self.coming.take_if(|(coming, _)| Arc::ptr_eq(coming, &snapshot.authenticator)) {
            self.parts = parts;
        }
        let (policy, parts, put) = (Arc::clone(&snapshot.policy), self.parts.clone(), put_of(shared));
        let before = std::mem::replace(&mut self.in_force, InForce { policy, staged, reading, parts, put });
        self.authenticator = Arc::clone(&snapshot.authenticator);
        let at = a_moment_before(at);
        let after = &self.in_force;
        let changes = after.changes_from(&before, at);
        if changes.iter().any(|change| change.kind != ChangeKind::Rollout) {
            states::push(&mut self.states, State::of(after, at, false));
            self.states_changed = true;
        }
        changes.into_iter().for_each(|change| self.lookout.note(change));
    }

    /// Keeps it, and says it where it is news.
    fn tell(&mut self, found: Found, shared: &Shared, now: Timestamp) -> Option<Event> {
        let Found { spike: number, explained, is_news } = found;
        let words = explained.in_words().join("; ");
        let mut event = shared.event(EventKind::SpikeExplained, now);
        let known = self.found.iter_mut().find(|known| known.number == Some(number));
        let words = match known {
            Some(known) => {
                known.explained = explained;
                self.unwritten.push(known.id);
                format!("spike {} looked at again: {words}", known.id)
            }
            None => {
                if self.found.len() >= FOUND {
                    self.found.pop_front();
                }
                self.unwritten.push(event.id);
                self.found.push_back(Spike { id: event.id, explained, number: Some(number) });
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

/// The calibration that was put in force last, whatever the policy says of it.
fn put_of(shared: &Shared) -> Option<Arc<str>> {
    shared.risk.calibration_put().map(|put| Arc::clone(&put.id))
}

/// It came a moment ago at most: nothing may have been refused before it that it turned.
fn a_moment_before(at: Timestamp) -> Timestamp {
    at.checked_sub(SignedDuration::from_secs(1)).unwrap_or(at)
}

/// What changed from one process to the next, and just before one ended. It compiles the policies of before, and looks for the lists of before, where they are
/// kept.
pub(crate) fn changes_over_starts(
    (states, present, lookback): (Vec<State>, Arc<Policy>, std::time::Duration),
    (governing, feeds): (Option<&Governing>, &Feeds),
    shared: &Shared,
) -> Vec<RecentChange> {
    let policy_of = |state: &State| {
        let loaded = governing?.loaded(state.version).ok()?;
        let policy = loaded.policy.numbered(state.version);
        (policy.sha256() == state.sha256).then(|| Arc::new(policy))
    };
    let calibrated = |policy: &Policy, id: Option<&str>| {
        let Some(id) = id else { return Some(policy.with_calibration(None)) };
        let made = shared.risk.calibration_named(id)?;
        Some(policy.with_calibration(Some((Arc::clone(&made.id), made.thresholds))))
    };
    // Held for a moment each: nobody who changes a list waits for policies that are compiled.
    let list_of = |name: &str, sha256: Option<&str>| feeds.keeper().content_by(name, sha256);
    states::changes(&states, &present, (Timestamp::now(), lookback), &Kept { policy_of, calibrated, list_of })
}

/// Writes what is to be written, and who was let in, where that is due; what is not written is so the next time.
pub(crate) fn write(
    book: &mut SpikeBook,
    unsaved: &Unsaved,
    remembered: Option<&Remembered>,
    is_last: bool,
) -> Result<SpikesOf, String> {
    keeping::write(book, (unsaved, remembered), (Timestamp::now(), is_last))
}
