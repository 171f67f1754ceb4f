//! The keys of one provider, as requests see them.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use tokio::sync::{Notify, watch};

use super::saved::place;
use crate::jwks::KeySet;
use crate::settings::RemoteKeySource;

/// What no time is.
const NEVER: i64 = i64::MIN;
/// A time that is longer ago than anything.
const EXPIRED: i64 = i64::MIN + 1;

/// The keys that were fetched last. Shared by all workers, by the thread that fetches, and by one configuration after the other as
/// long as the address is the same.
#[derive(Debug)]
pub struct RemoteKeys {
    pub(super) provider: Arc<str>,
    pub(super) source: RemoteKeySource,
    /// What they belong to, where they are kept.
    pub(super) place: [u8; 32],
    held: ArcSwapOption<Held>,
    /// Counts the sets, from 1; 0: none was fetched yet. Remembered tokens belong to one.
    generation: AtomicU64,
    /// When the set was last confirmed, in seconds since 1970; never: the smallest number.
    confirmed: AtomicI64,
    /// Somebody met an unknown key id, or no keys.
    asked: AtomicBool,
    progress: watch::Sender<Progress>,
    /// How many requests wait. Each holds a place among the requests in flight, so they are few.
    waiting: Arc<AtomicUsize>,
    /// Wakes the thread that fetches, once there is one.
    wake: OnceLock<Arc<Notify>>,
}

/// A set and what it was read from.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) set: KeySet,
    /// Which set it is: tokens are remembered for the one that verified them.
    pub(crate) generation: u64,
    /// As it came.
    text: Arc<[u8]>,
}

/// How far the fetches are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Progress {
    /// How many have ended.
    pub(super) ended: u64,
    pub(super) state: State,
    /// The last one succeeded. Before the first: no.
    pub(super) succeeded: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// One ended a short while ago: nobody may ask for another.
    Cooling,
    /// One may be asked for.
    Ready,
    /// One is under way.
    UnderWay,
}

/// What a request that the keys cannot answer may do.
#[derive(Debug)]
pub(crate) enum Recourse {
    /// Wait for the fetch that is under way or was just asked for.
    Wait(KeysAwaited),
    /// None: the last fetch succeeded, a short while ago.
    Current,
    /// None: the last fetch failed, a short while ago.
    Unreachable,
}

/// A fetch that is waited for.
#[derive(Debug)]
pub struct KeysAwaited {
    progress: watch::Receiver<Progress>,
    /// As many fetches have ended once it has.
    ended: u64,
    patience: Duration,
    _place: Option<Place>,
}

/// Who asks for an identity, and whether keys that are just being fetched are waited for.
#[derive(Debug, Clone, Copy)]
pub enum Patience<'a> {
    /// A request that can wait, once. It holds a place among those in flight meanwhile, so few may.
    Request,
    /// Something that is under way already and goes on meanwhile.
    Stream,
    /// Whoever waited for this: its outcome decides.
    Waited(&'a KeysAwaited),
}

/// A place among those who wait, given back when dropped.
#[derive(Debug)]
struct Place(Arc<AtomicUsize>);

/// How many requests may wait for the keys of one provider. What comes beyond is undecided at once: a provider that hangs must not
/// hold the places of callers whose keys are known.
const MOST_WAITING: usize = 256;

impl Place {
    fn take(waiting: &Arc<AtomicUsize>) -> Option<Self> {
        let place = Self(Arc::clone(waiting));
        (waiting.fetch_add(1, Ordering::AcqRel) < MOST_WAITING).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl KeysAwaited {
    /// How long to wait at most: somewhat longer than a fetch may take.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// Ends with the fetch, however that ends. Whoever waits bounds it by [`patience`](Self::patience), and then asks again with this:
    /// what it brought is the answer, and nothing else is waited for.
    pub async fn ended(&mut self) {
        // An error is the end of whoever fetches.
        let _ = self.progress.wait_for(|progress| progress.ended >= self.ended).await;
    }
}

impl RemoteKeys {
    /// `issuer`: whose tokens they verify.
    pub(crate) fn new(provider: &Arc<str>, issuer: &str, source: RemoteKeySource) -> Self {
        let begun = Progress { ended: 0, state: State::Ready, succeeded: false };
        Self {
            provider: Arc::clone(provider),
            place: place(issuer, &source.location),
            source,
            held: ArcSwapOption::empty(),
            generation: AtomicU64::new(0),
            confirmed: AtomicI64::new(NEVER),
            // The first request need not ask: it is fetched as soon as somebody keeps it.
            asked: AtomicBool::new(true),
            progress: watch::Sender::new(begun),
            waiting: Arc::default(),
            wake: OnceLock::new(),
        }
    }

    /// The set, unless there is none or it is too old.
    pub(crate) fn usable(&self, now: Timestamp) -> Option<Arc<Held>> {
        if self.is_fresh(now) { self.held.load_full() } else { None }
    }

    /// Which set tokens are remembered for; `None` where there is none or it is too old.
    pub(crate) fn generation(&self, now: Timestamp) -> Option<u64> {
        self.is_fresh(now).then(|| self.generation.load(Ordering::Acquire))
    }

    /// Whether the set was confirmed no longer than `max_stale` ago.
    fn is_fresh(&self, now: Timestamp) -> bool {
        let confirmed = self.confirmed.load(Ordering::Acquire);
        confirmed != NEVER && now.as_second() < confirmed.saturating_add(self.max_stale())
    }

    fn max_stale(&self) -> i64 {
        i64::try_from(self.source.max_stale.as_secs()).unwrap_or(i64::MAX)
    }

    /// What to do about keys that are missing, or do not have what a token names. Asks for a fetch where that may be.
    pub(crate) fn recourse(&self, patience: Patience<'_>) -> Recourse {
        let Progress { ended, state, succeeded } = *self.progress.borrow();
        let settled = if succeeded { Recourse::Current } else { Recourse::Unreachable };
        if let Patience::Waited(waited) = patience {
            // Of these keys, and not of those of another configuration.
            let is_over = waited.progress.same_channel(&self.progress.subscribe()) && ended >= waited.ended;
            return if is_over { settled } else { Recourse::Unreachable };
        }
        if state == State::Cooling {
            return settled;
        }
        let place = match patience {
            Patience::Stream | Patience::Waited(_) => None,
            Patience::Request => match Place::take(&self.waiting) {
                Some(place) => Some(place),
                None => return Recourse::Unreachable,
            },
        };
        // What is under way was asked for before; it may still bring what this one needs.
        if state == State::Ready
            && !self.asked.swap(true, Ordering::AcqRel)
            && let Some(wake) = self.wake.get()
        {
            wake.notify_one();
        }
        // A discovery document and a key set.
        let patience = self.source.timeout * 2 + Duration::from_secs(1);
        Recourse::Wait(KeysAwaited { progress: self.progress.subscribe(), ended: ended + 1, patience, _place: place })
    }

    /// Whether somebody asks for a fetch.
    pub(super) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    pub(super) fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    pub(super) fn begin(&self) {
        self.asked.store(false, Ordering::Release);
        self.progress.send_modify(|progress| progress.state = State::UnderWay);
    }

    pub(super) fn end(&self, succeeded: bool) {
        self.progress.send_modify(|progress| {
            *progress = Progress { ended: progress.ended + 1, state: State::Cooling, succeeded };
        });
    }

    pub(super) fn cooled(&self) {
        // Nobody who waits need hear of it.
        self.progress.send_if_modified(|progress| {
            if progress.state == State::Cooling {
                progress.state = State::Ready;
            }
            false
        });
    }

    /// What is held is not used any more, whatever the wall clock says.
    pub(super) fn expire(&self) {
        self.confirmed.store(EXPIRED, Ordering::Release);
    }

    /// What is held, as it came.
    pub(super) fn text(&self) -> Option<Arc<[u8]>> {
        self.held.load().as_ref().map(|held| Arc::clone(&held.text))
    }

    /// Holds nothing any more, and never did.
    pub(super) fn forget(&self) {
        self.held.store(None);
        self.confirmed.store(NEVER, Ordering::Release);
    }

    pub(super) fn keys_held(&self) -> usize {
        self.held.load().as_ref().map_or(0, |held| held.set.len())
    }

    /// Holds another set.
    pub(super) fn replace(&self, set: KeySet, text: Arc<[u8]>) {
        // Only the thread that fetches comes here, and whoever begins with what was kept, before there is one.
        let generation = self.generation.load(Ordering::Acquire) + 1;
        self.held.store(Some(Arc::new(Held { set, generation, text })));
        self.generation.store(generation, Ordering::Release);
    }

    /// What is held was just confirmed.
    pub(super) fn confirm(&self, now: Timestamp) {
        self.confirmed.store(now.as_second(), Ordering::Release);
    }

    /// When it was last confirmed, where it was ever fetched.
    pub(super) fn confirmed(&self) -> Option<Timestamp> {
        let confirmed = self.confirmed.load(Ordering::Acquire);
        if confirmed == NEVER { None } else { Timestamp::from_second(confirmed).ok() }
    }

    /// Until before when it may be used.
    pub(super) fn usable_before(&self) -> Option<Timestamp> {
        Timestamp::from_second(self.confirmed()?.as_second().saturating_add(self.max_stale())).ok()
    }

    /// Who is told when a fetch is asked for.
    pub(super) fn wakes(&self, wake: &Arc<Notify>) {
        // The same one for each configuration of a process.
        let _ = self.wake.set(Arc::clone(wake));
    }

    /// What serves a configuration that names the provider in this way: these keys, or others that begin with what these hold, or
    /// nothing where it is another address.
    pub(crate) fn carried_to(self: &Arc<Self>, other: &Arc<Self>) -> Option<Arc<Self>> {
        // Other authorities for the same place leave what was fetched from it as it is.
        if self.provider != other.provider || !self.source.location.is_place_of(&other.source.location) {
            return None;
        }
        if self.source == other.source {
            return Some(Arc::clone(self));
        }
        if let Some(held) = self.held.load_full() {
            other.generation.store(held.generation, Ordering::Release);
            other.held.store(Some(held));
            other.confirmed.store(self.confirmed.load(Ordering::Acquire), Ordering::Release);
        }
        Some(Arc::clone(other))
    }

    /// How long fetching one document may take.
    pub(super) fn patience(&self) -> Duration {
        self.source.timeout
    }
}
