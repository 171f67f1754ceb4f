//! What survives a restart: as a store takes it from an engine, and as the next engine begins with it.
//!
//! The engine is the truth and a store its copy. A change sets one bit of its record, and a store asks now and then for what is marked:
//! so nothing queues up, however much changes, what changes often is written once, and a store that could not write for a while asks
//! for everything again ([`RiskEngine::mark_all`]). What must be written at once (a ban, its end by hand, what an alert demands) also
//! wakes whoever [watches](RiskEngine::watch).
//!
//! **Time.** What is saved says the time of day; an engine goes by a clock that no one sets. [`Reading`] is one moment by both. A clock
//! that was set back while nobody ran neither ends nor prolongs a ban: then no time has passed ([`Downtime`]).

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use jiff::{SignedDuration, Timestamp};
use portcullis_policy::{Ban, BanScope, Containment};

use crate::actor::Actor;
use crate::ban::Imposed;
use crate::by_hand::MAX_NETWORKS as NETWORKS_MAX;
use crate::contain::{Demand, MOST as DEMANDS_MAX};
use crate::engine::RiskEngine;
use crate::evidence::BanSample;
use crate::moment::{Moment, signed_ticks, time_of};
use crate::profile;

/// Keeps what survives a restart. It may block: it is never called from a request.
pub trait StateStore {
    /// Why it cannot.
    type Error;

    /// The secret of the engine whose state it keeps. It is made with the store, and stays.
    fn secret(&self) -> Secret;

    /// Gives an engine, made with [`Self::secret`], everything that is kept.
    ///
    /// # Errors
    /// What is kept cannot be read. The engine may have got some of it.
    fn restore(&mut self, engine: &RiskEngine, now: Reading) -> Result<Restored, Self::Error>;

    /// Writes changes: all of them, or none.
    ///
    /// # Errors
    /// Why they are not written.
    fn save(&mut self, changes: &Changes, now: Reading) -> Result<(), Self::Error>;
}

/// What an engine hashes names, addresses and paths with. Without it the keys of what is kept mean nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret([u8; 16]);

impl Secret {
    /// A new one, of the system's randomness.
    pub fn random() -> Self {
        // Each state has a key of 128 random bits; two values of it under that key are as hard to guess.
        let state = RandomState::new();
        let halves = [state.hash_one(0_u8), state.hash_one(1_u8)];
        Self(u128::from(halves[0]).rotate_left(64).wrapping_add(halves[1].into()).to_le_bytes())
    }

    /// The one that was kept.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// To keep it, where nobody else can read it.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

/// One moment by two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// By the engine's, which only moves forward and evenly.
    pub steady: Timestamp,
    /// By the time of day, which may be set.
    pub wall: Timestamp,
}

impl Reading {
    /// The moment at which an engine begins: its clock is set by the time of day.
    pub fn beginning(now: Timestamp) -> Self {
        Self { steady: now, wall: now }
    }

    /// How far the time of day is ahead of the engine's clock. Another value than before: the clock was set, and what was saved by it is off.
    pub fn offset(&self) -> SignedDuration {
        self.wall.duration_since(self.steady)
    }

    fn to_wall(self, time: Timestamp) -> Timestamp {
        time.saturating_add(self.offset()).unwrap_or(time)
    }
}

/// From the last writing of a store to the beginning of an engine.
#[derive(Debug, Clone, Copy)]
pub struct Downtime {
    now: Reading,
    /// Now by the time of day, and no earlier than the last writing.
    reference: Timestamp,
}

impl Downtime {
    /// `last` is when the store was last written, by the time of day.
    pub fn new(now: Reading, last: Timestamp) -> Self {
        Self { now, reference: now.wall.max(last) }
    }

    /// What was saved as this time of day, by the engine's clock.
    fn steady(&self, saved: Timestamp) -> Timestamp {
        let passed = self.reference.duration_since(saved);
        self.now.steady.saturating_sub(passed).unwrap_or(Timestamp::MIN)
    }

    /// The same of something past: it is never in the future.
    fn steady_past(&self, saved: Timestamp) -> Timestamp {
        self.steady(saved).min(self.now.steady)
    }

    /// When a ban ends by the engine's clock: never later than its whole length from now.
    fn end(&self, began: Timestamp, until: Timestamp) -> Timestamp {
        let length = until.duration_since(began).max(SignedDuration::ZERO);
        self.steady(until).min(self.now.steady.saturating_add(length).unwrap_or(Timestamp::MAX))
    }
}

/// What is kept of one actor: its last ban, in force or past, and how many offences are not forgotten.
#[derive(Debug, Clone, PartialEq)]
pub struct SavedBan {
    /// Whom it is on.
    pub actor: Actor,
    /// Whom it refuses.
    pub scope: BanScope,
    /// When it began, by the time of day as all times here.
    pub began: Timestamp,
    /// When it ends.
    pub until: Timestamp,
    /// The offence that led to it is the actor's so many-th; 0 for a ban by hand.
    pub offences: u32,
    /// Why.
    pub cause: Box<str>,
    /// It refuses nobody and is only reported.
    pub simulated: bool,
    /// The past offences as they were at `past_at`; they fade since.
    pub past: f64,
    /// See `past`.
    pub past_at: Timestamp,
    /// The last requests that led to it, newest first. At most five.
    pub evidence: Arc<[BanSample]>,
}

/// What is kept of something that an alert demands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedDemand {
    /// What, and of whom.
    pub demand: Demand,
    /// The alert.
    pub alert: Box<str>,
    /// Since when, by the time of day as all times here.
    pub since: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// It is only reported.
    pub simulated: bool,
}

/// What has changed.
#[derive(Debug, Default, PartialEq)]
pub struct Changes {
    /// Whose bans and offences are forgotten. It comes before `bans`.
    pub lifted: Vec<Actor>,
    /// Bans and offences.
    pub bans: Vec<SavedBan>,
    /// What is demanded no longer, and by which alert. It comes before `demands`.
    pub released: Vec<(Demand, Box<str>)>,
    /// What is demanded.
    pub demands: Vec<SavedDemand>,
    /// Profiles by key, in a form that only this crate reads.
    pub profiles: Vec<(u64, Vec<u8>)>,
    /// When a verified principal was last let in from an address, by its key.
    pub healthy: Vec<(u64, Timestamp)>,
    /// What is kept as a whole, by its name, in forms that only this crate reads.
    pub notes: Vec<(&'static str, Vec<u8>)>,
    /// There is more.
    pub more: bool,
}

/// The names of what is kept as a whole.
pub const NOTES: [&str; 3] = [CALIBRATIONS, PASSED, PEERS];
const CALIBRATIONS: &str = "calibrations";
const PASSED: &str = "passed";
const PEERS: &str = "peers";

impl Changes {
    /// Whether nothing has changed.
    pub fn is_empty(&self) -> bool {
        let Self { lifted, bans, released, demands, profiles, healthy, notes, more: _ } = self;
        let of_bans = lifted.is_empty() && bans.is_empty();
        let of_demands = released.is_empty() && demands.is_empty();
        of_bans && of_demands && profiles.is_empty() && healthy.is_empty() && notes.is_empty()
    }
}

/// What an engine began with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Restored {
    /// Bans that are in force.
    pub bans: usize,
    /// Actors whose ban has ended, and whose offences are remembered.
    pub past: usize,
    /// Profiles.
    pub profiles: usize,
    /// Addresses from which principals were let in.
    pub healthy: usize,
    /// What alerts demand.
    pub demands: usize,
    /// What could not be read in this version, or had no room.
    pub forgotten: usize,
}

/// What a store has to be told, besides the marks of the tables.
#[derive(Default)]
pub(crate) struct Journal {
    watch: OnceLock<Box<dyn Fn() + Send + Sync>>,
    lifted: Mutex<Vec<Actor>>,
    networks: AtomicBool,
    /// Whatever is demanded is to be written.
    all_demands: AtomicBool,
    /// What was demanded or released since. Which of both is asked of the engine.
    demands: Mutex<Vec<(Demand, Box<str>)>>,
}

/// Lifted bans, and demands that were made or released, that wait to be written. Beyond that what was lifted or released may come back after
/// a restart.
const LIFTED_MAX: usize = 10_000;

impl fmt::Debug for Journal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Journal").field("watched", &self.watch.get().is_some()).finish_non_exhaustive()
    }
}

impl Journal {
    /// Some ban has changed whose record is marked.
    pub(crate) fn ban_changed(&self) {
        if let Some(watch) = self.watch.get() {
            watch();
        }
    }

    pub(crate) fn networks_changed(&self) {
        self.networks.store(true, Ordering::Release);
        self.ban_changed();
    }

    /// It was changed already, so that whoever takes this finds it as it is.
    pub(crate) fn demand_changed(&self, demand: &Demand, alert: &str) {
        let mut demands = self.demands.lock().unwrap_or_else(PoisonError::into_inner);
        if self.watch.get().is_some() && demands.len() < LIFTED_MAX {
            demands.push((demand.clone(), alert.into()));
        } else {
            self.all_demands.store(true, Ordering::Release);
        }
        drop(demands);
        self.ban_changed();
    }

    fn waiting(&self) -> usize {
        let lists = [&self.networks, &self.all_demands].into_iter().filter(|list| list.load(Ordering::Relaxed)).count();
        let demands = self.demands.lock().unwrap_or_else(PoisonError::into_inner).len();
        self.lifted.lock().unwrap_or_else(PoisonError::into_inner).len() + demands + lists
    }

    pub(crate) fn lifted(&self, actor: &Actor) {
        if self.watch.get().is_none() {
            return;
        }
        let mut lifted = self.lifted.lock().unwrap_or_else(PoisonError::into_inner);
        if lifted.len() < LIFTED_MAX {
            lifted.push(actor.clone());
        }
        drop(lifted);
        self.ban_changed();
    }
}

impl RiskEngine {
    /// The secret that its keys are made with.
    pub fn secret(&self) -> Secret {
        self.keys.secret()
    }

    /// Of the secret and the way that keys are made: where it is another one, kept keys mean nothing.
    pub fn fingerprint(&self) -> u64 {
        self.keys.fingerprint()
    }

    /// Has somebody called whenever something changes that must be written at once. It is called from requests, so it must neither wait nor
    /// take long. Only the first one counts.
    pub fn watch(&self, watch: Box<dyn Fn() + Send + Sync>) {
        // Nobody who begins to watch twice has lost anything: both are the store's.
        let _ = self.journal.watch.set(watch);
    }

    /// What must be written at once, about `most` bans of it.
    pub fn urgent_changes(&self, most: usize, now: Reading) -> Changes {
        let lifted = std::mem::take(&mut *self.journal.lifted.lock().unwrap_or_else(PoisonError::into_inner));
        let mut changes = Changes { lifted, ..Changes::default() };
        // Who was banned anew since is written after the row is gone, also where that was written already.
        for actor in &changes.lifted {
            let bans = &mut changes.bans;
            match self.table_of(actor) {
                Some(table) => {
                    table.show(self.keys.actor(actor), |actor, imposed, past| {
                        bans.push(saved(actor, imposed, past, now))
                    });
                }
                None => self.journal.networks.store(true, Ordering::Release),
            }
        }
        for table in self.ban_tables() {
            let room = most.saturating_sub(changes.bans.len());
            let bans = &mut changes.bans;
            let more = table.take_changed(room, |actor, imposed, past| bans.push(saved(actor, imposed, past, now)));
            changes.more |= more;
        }
        if self.journal.networks.swap(false, Ordering::AcqRel) {
            let bans = &mut changes.bans;
            self.network_bans.for_each(|actor, imposed| bans.push(saved(&actor, imposed, (0.0, 0), now)));
        }
        self.take_demands(&mut changes, now);
        changes.notes.extend(self.calibrations.take_changed().map(|kept| (CALIBRATIONS, kept)));
        changes
    }

    fn take_demands(&self, changes: &mut Changes, now: Reading) {
        let changed = std::mem::take(&mut *self.journal.demands.lock().unwrap_or_else(PoisonError::into_inner));
        let all = self.journal.all_demands.swap(false, Ordering::AcqRel);
        for (demand, alert) in changed {
            match self.demands.find(&demand, &alert) {
                Some(_) if all => {}
                Some(saved) => changes.demands.push(saved),
                None => changes.released.push((demand, alert)),
            }
        }
        if all {
            changes.demands = self.demands.all();
        }
        changes.demands.iter_mut().for_each(|demand| demand.until = now.to_wall(demand.until));
    }

    /// What else has changed, about `most` profiles and as many addresses of it.
    pub fn changes(&self, most: usize, now: Reading) -> Changes {
        let mut changes = Changes::default();
        let profiles = &mut changes.profiles;
        let more_profiles = self.profiles.take_changed(most, |key, kept| profiles.push((key, kept)));
        let healthy = &mut changes.healthy;
        let more_healthy = self.abuse.take_healthy(most, |key, seen| healthy.push((key, now.to_wall(time_of(seen)))));
        let ticks = Moment::from(now.steady).ticks;
        changes.notes.extend(self.passed.take_changed(ticks).map(|kept| (PASSED, kept)));
        changes.notes.extend(self.profiles.peers.take_changed(ticks).map(|kept| (PEERS, kept)));
        changes.more = more_profiles || more_healthy;
        changes
    }

    /// The end comes: what is only written now and then is handed out next, if it has changed.
    pub fn hurry(&self) {
        self.passed.hurry();
        self.profiles.peers.hurry();
    }

    /// Marks everything as changed but the bans that were lifted and what was released: what was handed out may not have been written.
    pub fn mark_all(&self) {
        self.mark_times();
        self.profiles.mark_all();
        self.calibrations.mark();
        self.passed.mark();
        self.profiles.peers.mark();
    }

    /// Marks what is kept by the time of day: all bans, all that is demanded, and when principals were let in.
    pub fn mark_times(&self) {
        self.ban_tables().iter().for_each(|table| table.mark_all());
        self.journal.networks.store(true, Ordering::Release);
        self.journal.all_demands.store(true, Ordering::Release);
        self.abuse.mark_healthy();
    }

    /// How many records are marked as changed; lists that are kept as a whole count as one.
    pub fn marked(&self) -> usize {
        let bans: usize = self.ban_tables().iter().map(|table| table.marked()).sum();
        bans + usize::from(self.calibrations.has_changed())
            + self.journal.waiting()
            + self.profiles.marked()
            + self.abuse.marked()
    }

    /// Puts back what was kept of an actor, by what is known of it since. Says whether a ban is in force; `None`: there was no room.
    pub fn restore_ban(&self, saved: SavedBan, downtime: &Downtime) -> Option<bool> {
        let SavedBan { actor, scope, began, until, offences, cause, simulated, past, past_at, evidence } = saved;
        let (now, until) = (downtime.now.steady, downtime.end(began, until));
        let ban = Arc::new(Ban { scope, until, offences, cause, simulated });
        let imposed = Imposed { ban, began: downtime.steady_past(began), evidence };
        let past = (past, Moment::from(downtime.steady_past(past_at)).ticks);
        let in_force = now < until;
        match (self.table_of(&actor), &actor) {
            (Some(table), _) => {
                let key = self.keys.actor(&actor);
                table.restore(actor, key, imposed, past, Moment::from(now)).then_some(in_force)
            }
            (None, Actor::Network(network)) if in_force => {
                self.network_bans.put(network.trunc(), &imposed, now).ok()?;
                self.neighbourhood_bans.ask_until(until);
                Some(true)
            }
            // Of other networks there are no offences to remember.
            (None, Actor::Network(_)) => Some(false),
            (None, Actor::Principal { .. }) => None,
        }
    }

    /// Puts back a profile as it was kept. Its times are by the engine's clock of then: the time of day is ahead of that by `ahead`. Says whether
    /// it could be read and there was room.
    pub fn restore_profile(&self, key: u64, kept: &[u8], ahead: SignedDuration, downtime: &Downtime) -> bool {
        let by = ahead.saturating_add(downtime.now.steady.duration_since(downtime.reference));
        let kept = profile::moved(kept, signed_ticks(by));
        self.profiles.restore(key, &kept, Moment::from(downtime.now.steady).ticks)
    }

    /// Puts back that a verified principal was let in from an address, by its key. Says whether there was room.
    pub fn restore_healthy(&self, key: u64, seen: Timestamp, downtime: &Downtime) -> bool {
        let now = Moment::from(downtime.now.steady).ticks;
        let seen = Moment::from(downtime.steady_past(seen)).ticks;
        self.restore_healthy_at(key, seen, now)
    }

    /// Puts back what an alert demands. Says whether it is in force; `None`: there was no room.
    pub fn restore_demand(&self, saved: SavedDemand, downtime: &Downtime) -> Option<bool> {
        let SavedDemand { demand, alert, since, until, simulated } = saved;
        let (now, until) = (downtime.now.steady, downtime.steady(until));
        if until <= now {
            return Some(false);
        }
        // Since when counts by the time of day, as what is issued does.
        let containment = Arc::new(Containment { alert, since, until, simulated });
        self.demands.put(&demand, &containment, now).ok().map(|()| true)
    }

    /// Puts back what was kept as a whole. Says whether it could be read.
    pub fn restore_note(&self, name: &str, kept: &[u8]) -> bool {
        match name {
            CALIBRATIONS => self.calibrations.restore(kept),
            PASSED => self.passed.restore(kept),
            PEERS => self.profiles.peers.restore(kept),
            _ => false,
        }
    }

    /// Everything was put back: from now on changes are marked.
    pub fn begin(&self) {
        self.profiles.take_marks();
        self.abuse.take_marks();
        self.ban_tables().iter().for_each(|table| table.take_marks());
    }

    /// How much of what is kept can be of use.
    pub fn bounds(&self) -> Bounds {
        let forgets_after = self.forget_half().saturating_mul(8);
        Bounds {
            bans: self.ban_tables().iter().map(|table| table.bound()).sum::<usize>() + NETWORKS_MAX,
            profiles: self.profiles.bound(),
            addresses: self.abuse.bound(),
            demands: DEMANDS_MAX,
            forgets_after: SignedDuration::try_from(forgets_after).unwrap_or(SignedDuration::MAX),
        }
    }
}

/// How much of what is kept an engine can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Actors with a ban or past offences.
    pub bans: usize,
    /// Profiles.
    pub profiles: usize,
    /// Addresses from which principals were let in.
    pub addresses: usize,
    /// What alerts demand.
    pub demands: usize,
    /// So long after its end a ban says nothing more of its actor: the offences have faded.
    pub forgets_after: SignedDuration,
}

fn saved(actor: &Actor, imposed: &Imposed, (past, past_at): (f64, u64), now: Reading) -> SavedBan {
    let Imposed { ban, began, evidence } = imposed;
    SavedBan {
        actor: actor.clone(),
        scope: ban.scope,
        began: now.to_wall(*began),
        until: now.to_wall(ban.until),
        offences: ban.offences,
        cause: ban.cause.clone(),
        simulated: ban.simulated,
        past,
        past_at: now.to_wall(time_of(past_at)),
        evidence: Arc::clone(evidence),
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
