//! One feed: its list, its age, what is held back, and when it is fetched next.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::acceptance::Acceptance;
use crate::guard::Finding;
use crate::list::List;
use crate::obtain::Validators;
use crate::settings::{FeedSettings, OnStale};
use crate::store::{self, Restored, Saved, age_of};

/// A moment: by the clock on the wall, and by one that only moves forward, evenly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// For what is told and kept.
    pub wall: Timestamp,
    /// Since whatever beginning, the same one for all moments: for what is waited for.
    pub steady: Duration,
}

/// What a feed's network is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedState {
    /// No list was ever loaded: whether an address is in the network is unknown.
    Never,
    /// The list in force is young enough.
    Current,
    /// It is too old, and stays in force.
    Stale,
    /// It is too old, and no longer in force: whether an address is in the network is unknown.
    Dropped,
}

impl FeedState {
    /// The word of reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never_loaded",
            Self::Current => "current",
            Self::Stale => "stale",
            Self::Dropped => "dropped",
        }
    }
}

/// How updates went since the process started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// That put a new list in force.
    pub updated: u64,
    /// That found the same list.
    pub unchanged: u64,
    /// That were held back.
    pub held: u64,
    /// That failed.
    pub failed: u64,
}

/// What is known of a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The name of the network.
    pub name: Arc<str>,
    /// Where its list comes from.
    pub source: String,
    /// What the network is worth.
    pub state: FeedState,
    /// How many prefixes are in force from the list.
    pub entries: usize,
    /// How many addresses and prefixes the configuration adds.
    pub fixed: usize,
    /// The SHA-256 of the list in force.
    pub sha256: Option<Arc<str>>,
    /// How long ago the list in force was confirmed; `None` without one, or where nobody knows.
    pub age: Option<Duration>,
    /// Since when the list in force is as it is.
    pub changed: Option<Timestamp>,
    /// In how long it is fetched next; zero while it is being fetched.
    pub next: Duration,
    /// When the last fetch failed, and why; `None` once one succeeded.
    pub error: Option<(Timestamp, String)>,
    /// The update that is held back.
    pub held: Option<HeldReport>,
    /// Somebody went back to the list before, and has accepted none since: every other list is held back.
    pub rolled_back: bool,
    /// How updates went.
    pub counts: Counts,
}

/// What is known of an update that is held back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldReport {
    /// The SHA-256 of its list; `None` where there is none that could be put in force.
    pub sha256: Option<Arc<str>>,
    /// How many prefixes it has.
    pub entries: usize,
    /// Since when it is held.
    pub since: Timestamp,
    /// Why.
    pub findings: Vec<Finding>,
    /// How many of its prefixes the list in force does not have, and a few of them.
    pub added: (usize, Vec<ipnet::IpNet>),
    /// How many prefixes of the list in force it does not have, and a few of them.
    pub removed: (usize, Vec<ipnet::IpNet>),
    /// What puts it in force, in words; `None`: nothing.
    pub remedy: Option<String>,
}

/// What puts a list in force that is held back. `approved`: only a policy that others have approved does.
pub(crate) fn remedy(name: &str, sha256: &str, approved: bool) -> String {
    match approved {
        false => format!("`portcullis feed accept {name} --sha256 {sha256}` puts it in force"),
        true => format!(
            "changes need approvals here: a policy whose source of the network {name} says `accepted = [\"{sha256}\"]` puts it in force, once it is approved"
        ),
    }
}

#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) settings: Arc<FeedSettings>,
    pub(crate) current: Option<Current>,
    pub(crate) held: Option<Held>,
    /// What was in force before the list that is: what somebody can go back to.
    pub(crate) before: Option<Saved>,
    /// What updates are compared with, besides the list in force.
    pub(crate) base: Option<Base>,
    /// What came of the lists that the configuration accepts.
    pub(crate) acceptance: Acceptance,
    /// What is to be told at the next look: what was taken back.
    pub(crate) untold: Option<String>,
    /// The list that is accepted and could not be put in force, where that was told.
    pub(crate) refused: Option<Arc<str>>,
    /// By the steady clock.
    pub(crate) next: Duration,
    pub(crate) running: bool,
    /// How many failures have followed each other.
    pub(crate) failures: u32,
    pub(crate) error: Option<(Timestamp, String)>,
    pub(crate) counts: Counts,
    /// What was last told about its age.
    pub(crate) told: FeedState,
    /// What is in force of it.
    pub(crate) activated: Activated,
}

/// Which list decides, and whether anything does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Activated {
    pub(crate) sha256: Option<Arc<str>>,
    pub(crate) fixed: Arc<[ipnet::IpNet]>,
}

/// The list in force.
#[derive(Debug)]
pub(crate) struct Current {
    pub(crate) list: Arc<List>,
    pub(crate) checked: Timestamp,
    pub(crate) changed: Timestamp,
    pub(crate) validators: Validators,
    /// Its age at a moment of the steady clock.
    pub(crate) aged: (Duration, Duration),
    /// When it last came whole, by the steady clock; `None`: not since the start. What was on the disk is asked for whole once: who could write
    /// there could have written what the source is told to know, and a source that says "unchanged" would confirm it for ever.
    pub(crate) whole: Option<Duration>,
    /// When it was last written to the disk, by the steady clock.
    pub(crate) saved: Duration,
}

/// The list that was in force when the time began over which updates are compared.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) list: Arc<List>,
    pub(crate) at: Timestamp,
    /// Its age at a moment of the steady clock.
    aged: (Duration, Duration),
}

/// An update that is held back.
#[derive(Debug)]
pub(crate) struct Held {
    /// `None`: a page, of which there is nothing to put in force.
    pub(crate) list: Option<Arc<List>>,
    /// Since when it is held.
    pub(crate) at: Timestamp,
    /// When it was last given out.
    pub(crate) checked: Timestamp,
    pub(crate) added: (usize, Vec<ipnet::IpNet>),
    pub(crate) removed: (usize, Vec<ipnet::IpNet>),
    pub(crate) validators: Validators,
    pub(crate) findings: Vec<Finding>,
}

/// How many prefixes of what was added and removed are named.
pub(crate) const SAMPLE: usize = 5;
/// A list that is only ever confirmed is fetched whole this often: who answers 304 need not know what is kept here.
const WHOLE_EVERY: Duration = Duration::from_secs(24 * 60 * 60);
/// That a list was confirmed is written once in this part of the age that it may have.
const SAVED_PER_MAX_AGE: u32 = 20;
/// The first pause after a failure; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(30);

impl Feed {
    pub(crate) fn new(restored: Restored, now: Now) -> Self {
        let activated = restored.activated();
        let Restored { settings, good, held, before, base, acceptance, .. } = restored;
        let base = base.map(|base| Base::restored(base, now));
        let current = good.map(|good| Current::restored(good, now));
        let held = held.map(|held| {
            let times = (held.changed, held.checked);
            Held::new(Some(held.list), current.as_ref(), times, held.validators, held.findings)
        });
        let mut feed = Self {
            settings,
            current,
            held,
            before,
            base,
            acceptance,
            untold: None,
            refused: None,
            next: now.steady,
            running: false,
            failures: 0,
            error: None,
            counts: Counts::default(),
            told: FeedState::Current,
            activated,
        };
        // What is young enough is not fetched again because the process was started again.
        let left = feed.age(now).map(|age| feed.settings.refresh.saturating_sub(age));
        feed.next = now.steady.saturating_add(jittered(left.unwrap_or_default()));
        feed
    }

    /// How long ago the list in force was confirmed, by whichever clock says longer. `Duration::MAX`: nobody knows.
    pub(crate) fn age(&self, now: Now) -> Option<Duration> {
        let current = self.current.as_ref()?;
        let (age, at) = current.aged;
        let steady = age.saturating_add(now.steady.saturating_sub(at));
        // Set back, the clock on the wall says nothing; set forward, it says more than is true, which only fetches sooner.
        let wall = Duration::try_from(now.wall.duration_since(current.checked)).unwrap_or_default();
        Some(steady.max(wall))
    }

    pub(crate) fn state(&self, now: Now) -> FeedState {
        match self.age(now) {
            None => FeedState::Never,
            Some(age) if age <= self.settings.max_age => FeedState::Current,
            Some(_) => match self.settings.on_stale {
                OnStale::Keep => FeedState::Stale,
                OnStale::Undecided => FeedState::Dropped,
            },
        }
    }

    /// Whether somebody went back to the list before, and has accepted none since.
    pub(crate) fn is_rolled_back(&self) -> bool {
        self.acceptance.rolled_back
    }

    /// The list that is held back though it was accepted in advance: it was there before anybody accepted it.
    pub(crate) fn held_and_accepted(&self) -> Option<&Arc<List>> {
        self.held.as_ref()?.list.as_ref().filter(|list| self.acceptance.accepts(&self.settings, list))
    }

    /// What was in force before a list that the settings accepted and accept no more is in force again, and what updates are compared with. The entry that
    /// is gone, where there is one.
    pub(crate) fn take_back(&mut self, now: Now) -> Option<Arc<str>> {
        self.acceptance.taken_back_by(&self.settings)?;
        let standing = self.acceptance.standing.take()?;
        // That was in force by the entry that is gone, or came before it.
        self.before = None;
        self.current = standing.before.map(|before| Current::restored(before, now));
        self.base = self.current.as_ref().map(|current| Base::new(Arc::clone(&current.list), now));
        self.held = self.held.take().map(|held| {
            let times = (held.at, held.checked);
            Held::new(held.list, self.current.as_ref(), times, held.validators, held.findings)
        });
        // Whole, and at once: what the source gives out is judged anew.
        self.next = now.steady;
        Some(standing.by)
    }

    /// Whether nothing that is in force is there by the acceptance that stood until now, so that it stands no more.
    pub(crate) fn settle(&mut self) -> bool {
        let Some(by) = self.acceptance.standing.as_ref().map(|standing| &standing.by) else { return false };
        let current = self.current.as_ref().map(|current| current.list.sha256());
        let base = self.base.as_ref().map(|base| base.list.sha256());
        let is_over = current != Some(by) && base != Some(by);
        if is_over {
            self.acceptance.standing = None;
        }
        is_over
    }

    /// What the network would hold with other settings of the same source: the list in force, or what those accept, or what was before what they do not accept.
    pub(crate) fn content_with(&self, wanted: &FeedSettings, now: Now) -> portcullis_policy::NetworkContent {
        let held = self.held.as_ref().and_then(|held| held.list.as_ref());
        if let Some(list) = held.filter(|list| self.acceptance.accepts(wanted, list)) {
            return store::content(wanted, Some(list));
        }
        let Some(standing) = self.acceptance.taken_back_by(wanted) else { return self.content(now) };
        let is_in_force =
            |before: &&Saved| wanted.on_stale == OnStale::Keep || age_of(before.checked, now.wall) <= wanted.max_age;
        store::content(wanted, standing.before.as_ref().filter(is_in_force).map(|before| &before.list))
    }

    /// The list that decides.
    pub(crate) fn list_in_force(&self, now: Now) -> Option<&Arc<List>> {
        match self.state(now) {
            FeedState::Current | FeedState::Stale => self.current.as_ref().map(|current| &current.list),
            FeedState::Never | FeedState::Dropped => None,
        }
    }

    /// What is to be in force of it.
    pub(crate) fn wanted(&self, now: Now) -> Activated {
        let sha256 = self.list_in_force(now).map(|list| Arc::clone(list.sha256()));
        Activated { sha256, fixed: Arc::clone(&self.settings.fixed) }
    }

    /// When something is to be done next, by the steady clock: a fetch, or to say that it is stale.
    pub(crate) fn wakes(&self, now: Now) -> Duration {
        let stale = self.age(now).and_then(|age| {
            let left = self.settings.max_age.checked_sub(age)?;
            now.steady.checked_add(left)?.checked_add(Duration::from_millis(1))
        });
        let fetch = if self.running { Duration::MAX } else { self.next };
        stale.unwrap_or(Duration::MAX).min(fetch)
    }

    pub(crate) fn succeeded(&mut self, now: Now) {
        self.failures = 0;
        self.error = None;
        self.next = now.steady.saturating_add(jittered(self.settings.refresh));
    }

    pub(crate) fn failed(&mut self, why: String, now: Now) {
        self.counts.failed += 1;
        self.failures = self.failures.saturating_add(1);
        self.error = Some((now.wall, why));
        let doubled = FIRST_PAUSE.saturating_mul(1 << (self.failures - 1).min(16));
        self.next = now.steady.saturating_add(jittered(doubled.min(self.settings.refresh)));
    }

    /// What a fetch need not bring again, and the list that it is of.
    pub(crate) fn known(&self, now: Now) -> (Validators, Option<Arc<str>>) {
        let is_recent = |whole: Duration| now.steady.saturating_sub(whole) < WHOLE_EVERY;
        let current = self.current.as_ref().filter(|current| current.whole.is_some_and(is_recent));
        current.map(|current| (current.validators.clone(), Some(Arc::clone(current.list.sha256())))).unwrap_or_default()
    }

    /// Whether it is time to write that the list was confirmed: each time would be a whole list.
    pub(crate) fn is_save_due(&self, now: Now) -> bool {
        let since = self.current.as_ref().map(|current| now.steady.saturating_sub(current.saved));
        since.is_some_and(|since| since >= self.settings.max_age / SAVED_PER_MAX_AGE)
    }

    /// Compares with the list in force from now on, where the time is over for which another one was compared with. Says whether it does.
    pub(crate) fn renew_base(&mut self, now: Now) -> bool {
        let over = self.settings.guards.compare_over;
        let Some(current) = self.current.as_ref() else { return false };
        let is_due = self.base.as_ref().is_none_or(|base| base.age(now) >= over);
        if is_due {
            self.base = Some(Base::new(Arc::clone(&current.list), now));
        }
        is_due
    }

    pub(crate) fn saved_base(&self) -> Option<Saved> {
        let base = self.base.as_ref()?;
        Some(Saved {
            list: Arc::clone(&base.list),
            checked: base.at,
            changed: base.at,
            validators: Validators::default(),
            findings: Vec::new(),
        })
    }

    pub(crate) fn saved(&self) -> Option<Saved> {
        let current = self.current.as_ref()?;
        Some(Saved {
            list: Arc::clone(&current.list),
            checked: current.checked,
            changed: current.changed,
            validators: current.validators.clone(),
            findings: Vec::new(),
        })
    }

    pub(crate) fn content(&self, now: Now) -> portcullis_policy::NetworkContent {
        store::content(&self.settings, self.list_in_force(now))
    }

    pub(crate) fn report(&self, now: Now, approved: bool) -> Report {
        let current = self.current.as_ref();
        Report {
            name: Arc::clone(&self.settings.name),
            source: self.settings.source.shown(),
            state: self.state(now),
            entries: self.list_in_force(now).map_or(0, |list| list.len()),
            fixed: self.settings.fixed.len(),
            sha256: current.map(|current| Arc::clone(current.list.sha256())),
            age: self.age(now).filter(|age| *age != Duration::MAX),
            changed: current.map(|current| current.changed),
            next: if self.running { Duration::ZERO } else { self.next.saturating_sub(now.steady) },
            error: self.error.clone(),
            held: self.held.as_ref().map(|held| self.held_report(held, approved)),
            rolled_back: self.is_rolled_back(),
            counts: self.counts,
        }
    }

    fn held_report(&self, held: &Held, approved: bool) -> HeldReport {
        let new = held.list.as_ref();
        HeldReport {
            sha256: new.map(|list| Arc::clone(list.sha256())),
            entries: new.map_or(0, |list| list.len()),
            since: held.at,
            findings: held.findings.clone(),
            added: held.added.clone(),
            removed: held.removed.clone(),
            remedy: new.map(|list| remedy(&self.settings.name, list.sha256(), approved)),
        }
    }
}

impl Current {
    /// What was kept.
    fn restored(good: Saved, now: Now) -> Self {
        Self {
            aged: (age_of(good.checked, now.wall), now.steady),
            whole: None,
            saved: now.steady,
            list: good.list,
            checked: good.checked,
            changed: good.changed,
            validators: good.validators,
        }
    }
}

impl Base {
    pub(crate) fn new(list: Arc<List>, now: Now) -> Self {
        Self { list, at: now.wall, aged: (Duration::ZERO, now.steady) }
    }

    /// Where nobody knows how old it is, it begins anew: that compares for longer and never for less.
    fn restored(saved: Saved, now: Now) -> Self {
        let age = age_of(saved.checked, now.wall);
        let age = if age == Duration::MAX { Duration::ZERO } else { age };
        Self { list: saved.list, at: saved.checked, aged: (age, now.steady) }
    }

    fn age(&self, now: Now) -> Duration {
        self.aged.0.saturating_add(now.steady.saturating_sub(self.aged.1))
    }
}

impl Held {
    /// An update beside the list in force; `times` are since when it is held, and when it was last given out.
    pub(crate) fn new(
        list: Option<Arc<List>>,
        current: Option<&Current>,
        times: (Timestamp, Timestamp),
        validators: Validators,
        findings: Vec<Finding>,
    ) -> Self {
        let nothing = Arc::new(List::new(&[]));
        let old = current.map_or(&nothing, |current| &current.list);
        let (added, removed) = match &list {
            Some(new) => (new.beyond(old, SAMPLE), old.beyond(new, SAMPLE)),
            None => Default::default(),
        };
        Self { list, at: times.0, checked: times.1, added, removed, validators, findings }
    }
}

/// A tenth more or less: gateways that were started together do not fetch together.
fn jittered(time: Duration) -> Duration {
    let random = u32::try_from(RandomState::new().hash_one(0) % 2_001).unwrap_or_default();
    (time / 10_000).saturating_mul(9_000 + random)
}
