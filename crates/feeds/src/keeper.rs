//! All feeds together: which are due, what becomes of what came, and what is told about it.

mod rollback;

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use portcullis_policy::NetworkContent;

use crate::feed::{Base, Current, Feed, FeedState, Held, Now, Report, SAMPLE, remedy};
use crate::guard::{self, Finding, Hold, judge};
use crate::job::{Job, JobError, Outcome, Took};
use crate::list::List;
use crate::obtain::Validators;
use crate::parse::ParseError;
use crate::settings::{FeedSettings, OnStale, Settings};
use crate::store::{self, Kind, Restored, Saved};

pub use rollback::{RollbackError, RollbackTried};

/// Something that happened to a feed and that an operator should know of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The name of the network.
    pub feed: Arc<str>,
    /// What happened.
    pub kind: NoticeKind,
    /// The same in a sentence, with its numbers.
    pub message: String,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NoticeKind {
    /// Another list is in force.
    Updated,
    /// An update is held back.
    Held,
    /// An update failed, and the ones before it did not.
    Failed,
    /// The list is too old.
    Stale,
}

/// What came of an outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// The name of the network.
    pub feed: Arc<str>,
    /// The list in force is what the source says.
    pub is_current: bool,
    /// What came of it, in a sentence.
    pub message: String,
    /// What is to be told.
    pub notices: Vec<Notice>,
}

/// Why an update was not put in force by hand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcceptError {
    /// Nobody has that name.
    #[error("there is no feed of that name")]
    Unknown,
    /// There is nothing to accept.
    #[error("no update of it is held back")]
    NothingHeld,
    /// It is held back because it is none.
    #[error("what is held back is a page and no list: there is nothing in it to put in force")]
    NoList,
    /// Another one is held back than the one that was looked at.
    #[error("the update that is held back is {0}, and not that one: look at it first")]
    Another(Arc<str>),
    /// It could not be put in force.
    #[error("{0}")]
    Activation(String),
}

/// Puts the content of networks in force, or says why not; then it is as if nothing had come.
pub type Activate<'a> = dyn FnMut(&[NetworkContent]) -> Result<(), String> + 'a;

/// Names and prefixes of networks that an update must not touch.
pub type Denied = [(Arc<str>, Arc<[IpNet]>)];

/// All feeds.
#[derive(Debug, Default)]
pub struct Keeper {
    folder: PathBuf,
    feeds: Vec<Feed>,
    /// Only a policy that others have approved puts in force what is held back.
    approved: bool,
}

/// Who accepts a list that the guards hold back.
#[derive(Debug, Clone, Copy)]
enum Accepting {
    /// By hand, after a look at it.
    Somebody,
    /// The configuration, as long as it says so.
    Entry,
}

/// How many lists are fetched at once; each may be as large as its bound.
const AT_ONCE: usize = 4;
/// How long at most until it is looked again, so that a clock that was set forward is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

impl Keeper {
    /// The feeds of a configuration, with what was kept of them.
    pub fn new(settings: &Settings, restored: Vec<Restored>, now: Now) -> Self {
        let feed = |restored| {
            let mut feed = Feed::new(restored, now);
            hold_to_entries(&settings.folder, &mut feed, now);
            feed
        };
        let feeds = restored.into_iter().map(feed).collect();
        Self { folder: settings.folder.clone(), feeds, approved: settings.approved }
    }

    /// What was kept of the feeds of a configuration, in its order, only to be looked at: nothing is held to what the configuration accepts, and nothing
    /// written. `approved`: whether changes take approvals.
    pub fn kept(restored: Vec<Restored>, approved: bool, now: Now) -> Vec<Report> {
        restored.into_iter().map(|restored| Feed::new(restored, now).report(now, approved)).collect()
    }

    /// The feeds of another configuration. One whose source is the same goes on as it was.
    pub fn reconfigure(&mut self, settings: &Settings, restored: Vec<Restored>, now: Now) {
        let mut old = std::mem::take(&mut self.feeds);
        self.folder.clone_from(&settings.folder);
        self.approved = settings.approved;
        for restored in restored {
            let fingerprint = restored.settings.fingerprint();
            let activated = restored.activated();
            let same = old.iter().position(|feed| feed.settings.fingerprint() == fingerprint);
            let mut feed = match same.map(|index| old.swap_remove(index)) {
                Some(mut feed) => {
                    if feed.settings.refresh != restored.settings.refresh {
                        feed.next = now.steady;
                    }
                    feed.settings = restored.settings;
                    // What was loaded comes into force now, and not what this feed knows: that is for `sync`.
                    feed.activated = activated;
                    feed
                }
                None => Feed::new(restored, now),
            };
            hold_to_entries(&self.folder, &mut feed, now);
            self.feeds.push(feed);
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.feeds.is_empty()
    }

    /// What each feed is configured with.
    pub fn settings(&self) -> Vec<Arc<FeedSettings>> {
        self.feeds.iter().map(|feed| Arc::clone(&feed.settings)).collect()
    }

    /// The fetches to be made now. Each is made once, and its outcome given back.
    pub fn due(&mut self, now: Now) -> Vec<Job> {
        let running = self.feeds.iter().filter(|feed| feed.running).count();
        let due = self.feeds.iter_mut().filter(|feed| !feed.running && feed.next <= now.steady);
        due.take(AT_ONCE.saturating_sub(running))
            .map(|feed| {
                feed.running = true;
                let (known, known_list) = feed.known(now);
                Job { settings: Arc::clone(&feed.settings), known, known_list }
            })
            .collect()
    }

    /// Whether there is a feed of that name.
    pub fn has(&self, name: &str) -> bool {
        self.feeds.iter().any(|feed| *feed.settings.name == *name)
    }

    /// Has a feed fetched as soon as may be; false where there is none of that name.
    pub fn ask(&mut self, name: &str, now: Now) -> bool {
        let Some(feed) = self.feed(name) else { return false };
        feed.next = now.steady;
        true
    }

    /// How long until there is something to do.
    pub fn sleep(&self, now: Now) -> Duration {
        let next = self.feeds.iter().map(|feed| feed.wakes(now)).min();
        let running = self.feeds.iter().filter(|feed| feed.running).count();
        let sleep = next.map_or(LONGEST_SLEEP, |next| next.saturating_sub(now.steady)).min(LONGEST_SLEEP);
        // What is due and has to wait for its turn is looked at again when something comes back.
        if running >= AT_ONCE { sleep.max(Duration::from_secs(1)) } else { sleep }
    }

    /// What is in all networks with a source.
    pub fn contents(&self, now: Now) -> Vec<NetworkContent> {
        self.feeds.iter().map(|feed| feed.content(now)).collect()
    }

    /// What is known of each feed, in the order of the configuration.
    pub fn reports(&self, now: Now) -> Vec<Report> {
        self.feeds.iter().map(|feed| feed.report(now, self.approved)).collect()
    }

    /// Judges what came, keeps it, and puts it in force. An outcome of a feed that is gone or has another source is dropped.
    pub fn finish(&mut self, outcome: Outcome, denied: &Denied, now: Now, activate: &mut Activate<'_>) -> Finished {
        let Outcome { settings, result } = outcome;
        let name = Arc::clone(&settings.name);
        let fingerprint = settings.fingerprint();
        let Some(index) = self.feeds.iter().position(|feed| feed.settings.fingerprint() == fingerprint) else {
            let message = format!("the network {name} has another source by now");
            return Finished { feed: name, is_current: false, message, notices: Vec::new() };
        };
        if let Some(feed) = self.feeds.get_mut(index) {
            feed.running = false;
        }
        match result {
            Ok(Took::NotModified(of)) => self.not_modified(index, of.as_deref(), now, activate),
            Ok(Took::List { list, validators }) => self.take(index, list, validators, denied, now, activate),
            Err(JobError::Parse(ParseError::Page)) => {
                let page = Finding { hold: Hold::Page, message: ParseError::Page.to_string() };
                let rolled_back = self.feeds.get(index).filter(|feed| feed.is_rolled_back());
                let findings = [page].into_iter().chain(rolled_back.map(|_| rollback::finding())).collect();
                self.hold(index, None, Validators::default(), findings, now)
            }
            Err(error) => self.fail(index, error.to_string(), now),
        }
    }

    /// Says what has become too old, and puts in force what is not yet. Nobody else does: it is called before each wait.
    pub fn tick(&mut self, now: Now, activate: &mut Activate<'_>) -> Vec<Notice> {
        let mut notices: Vec<Notice> = (0..self.feeds.len()).filter_map(|index| self.stale(index, now)).collect();
        notices.extend(self.feeds.iter_mut().filter_map(|feed| {
            let message = feed.untold.take()?;
            Some(Notice { feed: Arc::clone(&feed.settings.name), kind: NoticeKind::Updated, message })
        }));
        for index in 0..self.feeds.len() {
            notices.extend(self.take_accepted(index, now, activate));
        }
        // What cannot be put in force is tried again the next time.
        let _ = self.sync(now, activate);
        notices
    }

    /// What those networks would hold now that have one of these sources, whatever is in force: the list that is, the one that is held back where
    /// they accept it, or the one before where they do not accept what is in force by that alone.
    pub fn contents_of(&self, settings: &[Arc<FeedSettings>], now: Now) -> Vec<NetworkContent> {
        let of = |feed: &Feed| {
            let wanted = settings.iter().find(|wanted| wanted.fingerprint() == feed.settings.fingerprint())?;
            Some(feed.content_with(wanted, now))
        };
        self.feeds.iter().filter_map(of).collect()
    }

    /// Puts in force what is wanted of all feeds, where something else is.
    ///
    /// # Errors
    /// Why not; it is tried again at the next [`Self::tick`].
    pub fn sync(&mut self, now: Now, activate: &mut Activate<'_>) -> Result<(), String> {
        if self.feeds.iter().all(|feed| feed.activated == feed.wanted(now)) {
            return Ok(());
        }
        activate(&self.contents(now))?;
        self.note_activated(now);
        Ok(())
    }

    fn note_activated(&mut self, now: Now) {
        for feed in &mut self.feeds {
            feed.activated = feed.wanted(now);
        }
    }

    /// Puts in force what is held back, by the whole hash of the list that somebody has looked at: who makes a list can make another with
    /// the same beginning.
    ///
    /// # Errors
    /// [`AcceptError`]: nothing has changed.
    pub fn accept(
        &mut self,
        name: &str,
        sha256: &str,
        now: Now,
        activate: &mut Activate<'_>,
    ) -> Result<Finished, AcceptError> {
        let index = self.feeds.iter().position(|feed| *feed.settings.name == *name).ok_or(AcceptError::Unknown)?;
        let feed = self.feeds.get_mut(index).ok_or(AcceptError::Unknown)?;
        let is_in_force = feed.current.as_ref().is_some_and(|current| **current.list.sha256() == *sha256);
        if feed.held.is_none() && feed.is_rolled_back() && is_in_force {
            return Ok(self.follow_again(index));
        }
        let held = feed.held.as_ref().ok_or(AcceptError::NothingHeld)?;
        let list = Arc::clone(held.list.as_ref().ok_or(AcceptError::NoList)?);
        if **list.sha256() != *sha256 {
            return Err(AcceptError::Another(Arc::clone(list.sha256())));
        }
        let (checked, validators) = (held.checked, held.validators.clone());
        let by = Accepting::Somebody;
        self.put_accepted_in_force(index, by, (list, validators, checked), now, activate)
            .map_err(AcceptError::Activation)
    }

    fn feed(&mut self, name: &str) -> Option<&mut Feed> {
        self.feeds.iter_mut().find(|feed| *feed.settings.name == *name)
    }

    fn take(
        &mut self,
        index: usize,
        list: List,
        validators: Validators,
        denied: &Denied,
        now: Now,
        activate: &mut Activate<'_>,
    ) -> Finished {
        let Some(feed) = self.feeds.get(index) else { return Finished::nothing() };
        if let Some(why) = too_long_ago(&feed.settings, validators.signed, now) {
            return self.fail(index, why, now);
        }
        let before = feed.current.as_ref().and_then(|current| current.validators.signed);
        if before.is_some_and(|before| validators.signed.is_none_or(|signed| signed < before)) {
            let why = "it was signed before the list in force: an older one is given out again".to_owned();
            return self.fail(index, why, now);
        }
        if feed.current.as_ref().is_some_and(|current| current.list.sha256() == list.sha256()) {
            return self.confirm(index, Some(validators), now, activate);
        }
        let base_problem = self.renew_base(index, now);
        let Some(feed) = self.feeds.get(index) else { return Finished::nothing() };
        let old = feed.current.as_ref().map(|current| &*current.list);
        let base = feed.base.as_ref().map(|base| guard::Base { list: &base.list, at: base.at });
        let mut findings = judge(&list, old, base, &feed.settings.guards, denied);
        if feed.is_rolled_back() {
            findings.push(rollback::finding());
        }
        let list = Arc::new(list);
        let is_accepted = feed.acceptance.accepts(&feed.settings, &list);
        if !findings.is_empty() && !is_accepted {
            return self.hold(index, Some(list), validators, findings, now);
        }
        let taken = match is_accepted && !findings.is_empty() {
            true => self.put_accepted_in_force(index, Accepting::Entry, (list, validators, now.wall), now, activate),
            false => self.put_in_force(index, list, validators, now.wall, now, activate),
        };
        match taken {
            Ok(finished) => Finished { message: finished.message + &base_problem, ..finished },
            Err(why) => self.fail(index, why, now),
        }
    }

    /// In force by somebody's word, and what updates are compared with from now on: somebody has looked at it.
    fn put_accepted_in_force(
        &mut self,
        index: usize,
        by: Accepting,
        (list, validators, checked): (Arc<List>, Validators, jiff::Timestamp),
        now: Now,
        activate: &mut Activate<'_>,
    ) -> Result<Finished, String> {
        let accepted = Arc::clone(&list);
        let before = self.feeds.get(index).map(|feed| (feed.acceptance.clone(), feed.saved()));
        let told = self.put_in_force(index, list, validators, checked, now, activate)?;
        let problem = match (self.feeds.get_mut(index), before) {
            (Some(feed), Some((mut acceptance, before))) => {
                match by {
                    Accepting::Somebody => acceptance.standing = None,
                    Accepting::Entry => acceptance.use_up(Arc::clone(accepted.sha256()), before),
                }
                acceptance.rolled_back = false;
                feed.acceptance = acceptance;
                feed.base = Some(Base::new(accepted, now));
                save_base(&self.folder, feed) + &save_acceptance(&self.folder, feed)
            }
            (Some(_) | None, _) => String::new(),
        };
        Ok(Finished { message: told.message + &problem, ..told })
    }

    /// Puts in force what was held back when it was accepted in the configuration.
    fn take_accepted(&mut self, index: usize, now: Now, activate: &mut Activate<'_>) -> Vec<Notice> {
        let Some(feed) = self.feeds.get(index) else { return Vec::new() };
        let (Some(list), Some(held)) = (feed.held_and_accepted().cloned(), feed.held.as_ref()) else {
            return Vec::new();
        };
        let (checked, validators) = (held.checked, held.validators.clone());
        let sha256 = Arc::clone(list.sha256());
        let why = match self.put_accepted_in_force(index, Accepting::Entry, (list, validators, checked), now, activate)
        {
            Ok(finished) => return finished.notices,
            Err(why) => why,
        };
        // It is tried again the next time, and told once.
        let Some(feed) = self.feeds.get_mut(index) else { return Vec::new() };
        if feed.refused.as_ref() == Some(&sha256) {
            return Vec::new();
        }
        let name = Arc::clone(&feed.settings.name);
        let message = format!(
            "the list {sha256} of the network {name} is accepted and could not be put in force: {why}; {}",
            stays(feed)
        );
        feed.refused = Some(sha256);
        vec![Notice { feed: name, kind: NoticeKind::Failed, message }]
    }

    /// The list that updates are compared with follows the one in force from time to time. What is wrong with that, for a message.
    fn renew_base(&mut self, index: usize, now: Now) -> String {
        let Some(feed) = self.feeds.get_mut(index) else { return String::new() };
        let mut problem = if feed.renew_base(now) { save_base(&self.folder, feed) } else { String::new() };
        if feed.settle() {
            problem += &save_acceptance(&self.folder, feed);
        }
        problem
    }

    /// An answer that a list is still the same, about that very list.
    fn not_modified(&mut self, index: usize, of: Option<&str>, now: Now, activate: &mut Activate<'_>) -> Finished {
        let Some(feed) = self.feeds.get_mut(index) else { return Finished::nothing() };
        let name = Arc::clone(&feed.settings.name);
        match (feed.current.as_ref().map(|current| &**current.list.sha256()), of) {
            (Some(current), Some(of)) if current == of => self.confirm(index, None, now, activate),
            (Some(_), Some(_)) => {
                feed.next = now.steady;
                let message = format!("another list of the network {name} is in force by now: it is fetched again");
                Finished { feed: name, is_current: false, message, notices: Vec::new() }
            }
            (None, _) | (_, None) => {
                let why = "the answer says that nothing has changed, and it was not asked that".to_owned();
                self.fail(index, why, now)
            }
        }
    }

    /// The list in force is what the source says.
    fn confirm(
        &mut self,
        index: usize,
        validators: Option<Validators>,
        now: Now,
        activate: &mut Activate<'_>,
    ) -> Finished {
        let folder = self.folder.clone();
        let Some(feed) = self.feeds.get_mut(index) else { return Finished::nothing() };
        let before = feed.state(now);
        let Some(current) = feed.current.as_mut() else { return Finished::nothing() };
        current.checked = now.wall;
        current.aged = (Duration::ZERO, now.steady);
        let mut differs = false;
        if let Some(validators) = validators {
            current.whole = Some(now.steady);
            differs = current.validators != validators;
            current.validators = validators;
        }
        feed.counts.unchanged += 1;
        feed.succeeded(now);
        feed.told = FeedState::Current;
        feed.held = None;
        let name = Arc::clone(&feed.settings.name);
        let mut message = format!("the list of the network {name} is still the same");
        if let (true, Some(current)) = (feed.is_rolled_back(), feed.current.as_ref()) {
            message.push_str(&rollback::in_words(&name, current.list.sha256()));
        }
        let saved = if differs || feed.is_save_due(now) { save(&folder, feed, now) } else { Ok(()) };
        let saved = saved.and_then(|()| store::remove(&folder, &name, Kind::Held));
        if let Err(error) = saved {
            let _ = write!(message, "; it could not be kept on disk: {error}");
        }
        let mut notices = Vec::new();
        if let Err(why) = self.sync(now, activate) {
            return self.fail(index, why, now);
        }
        if before == FeedState::Dropped {
            message.push_str(", and in force again");
            notices.push(Notice { feed: Arc::clone(&name), kind: NoticeKind::Updated, message: message.clone() });
        }
        Finished { feed: name, is_current: true, message, notices }
    }

    fn hold(
        &mut self,
        index: usize,
        list: Option<Arc<List>>,
        validators: Validators,
        findings: Vec<Finding>,
        now: Now,
    ) -> Finished {
        let (folder, approved) = (self.folder.clone(), self.approved);
        let Some(feed) = self.feeds.get_mut(index) else { return Finished::nothing() };
        let name = Arc::clone(&feed.settings.name);
        let hash = |list: &Option<Arc<List>>| list.as_ref().map(|list| Arc::clone(list.sha256()));
        let known = feed.held.as_ref().is_some_and(|held| hash(&held.list) == hash(&list));
        feed.counts.held += 1;
        feed.succeeded(now);
        let reasons: Vec<String> = findings.iter().map(ToString::to_string).collect();
        let mut message = format!("an update of the network {name} is held back: {}", reasons.join("; "));
        if let Some(list) = &list {
            let (sha256, entries) = (list.sha256(), list.len());
            let _ = write!(message, "; {}, sha256 {sha256}; {}", prefixes(entries), stays(feed));
            let _ = write!(message, "; {}", remedy(&name, sha256, approved));
            if feed.settings.accepts(list) && feed.acceptance.is_used(list) {
                message.push_str("; the configuration accepts it, and that counted already: an entry counts once");
            }
        } else {
            let _ = write!(message, "; {}", stays(feed));
        }
        let at = feed.held.as_ref().filter(|_| known).map_or(now.wall, |held| held.at);
        let saved = list.as_ref().map(|list| Saved {
            list: Arc::clone(list),
            checked: now.wall,
            changed: at,
            validators: validators.clone(),
            findings: findings.clone(),
        });
        feed.held = Some(Held::new(list, feed.current.as_ref(), (at, now.wall), validators, findings));
        let kept = match &saved {
            Some(saved) if !known => store::save(&folder, &feed.settings, Kind::Held, saved),
            Some(_) => Ok(()),
            None => store::remove(&folder, &name, Kind::Held),
        };
        if let Err(error) = kept {
            let _ = write!(message, "; it could not be kept on disk: {error}");
        }
        let notice = Notice { feed: Arc::clone(&name), kind: NoticeKind::Held, message: message.clone() };
        Finished { feed: name, is_current: false, message, notices: if known { Vec::new() } else { vec![notice] } }
    }

    fn fail(&mut self, index: usize, why: String, now: Now) -> Finished {
        let Some(feed) = self.feeds.get_mut(index) else { return Finished::nothing() };
        let name = Arc::clone(&feed.settings.name);
        let message = format!("the list of the network {name} could not be refreshed: {why}; {}", stays(feed));
        let first = feed.failures == 0;
        feed.failed(why, now);
        let notice = Notice { feed: Arc::clone(&name), kind: NoticeKind::Failed, message: message.clone() };
        Finished { feed: name, is_current: false, message, notices: if first { vec![notice] } else { Vec::new() } }
    }

    /// In force first, and on disk then: what could not be put in force must not be what the next start begins with.
    fn put_in_force(
        &mut self,
        index: usize,
        list: Arc<List>,
        validators: Validators,
        checked: jiff::Timestamp,
        now: Now,
        activate: &mut Activate<'_>,
    ) -> Result<Finished, String> {
        let folder = self.folder.clone();
        let mut contents = self.contents(now);
        let (Some(feed), Some(content)) = (self.feeds.get_mut(index), contents.get_mut(index)) else {
            return Ok(Finished::nothing());
        };
        *content = store::content(&feed.settings, Some(&list));
        activate(&contents)?;
        let name = Arc::clone(&feed.settings.name);
        let mut message = changes(&name, &feed.settings.source.shown(), feed.current.as_ref(), &list);
        feed.before = feed.saved();
        let aged = (store::age_of(checked, now.wall), now.steady);
        let (whole, saved) = (Some(now.steady), now.steady);
        feed.current = Some(Current { list, checked, changed: now.wall, validators, aged, whole, saved });
        feed.held = None;
        feed.counts.updated += 1;
        feed.succeeded(now);
        feed.told = FeedState::Current;
        let saved = save(&folder, feed, now)
            .and_then(|()| save_before(&folder, feed))
            .and_then(|()| store::remove(&folder, &name, Kind::Held));
        if let Err(error) = saved {
            let _ = write!(message, "; it could not be kept on disk: {error}");
        }
        if feed.settle() {
            message += &save_acceptance(&folder, feed);
        }
        self.note_activated(now);
        let notice = Notice { feed: Arc::clone(&name), kind: NoticeKind::Updated, message: message.clone() };
        Ok(Finished { feed: name, is_current: true, message, notices: vec![notice] })
    }

    /// What is to be said of a feed's age, once.
    fn stale(&mut self, index: usize, now: Now) -> Option<Notice> {
        let feed = self.feeds.get_mut(index)?;
        let state = feed.state(now);
        let before = std::mem::replace(&mut feed.told, state);
        if before == state || !matches!(state, FeedState::Stale | FeedState::Dropped) {
            return None;
        }
        let name = Arc::clone(&feed.settings.name);
        let most = feed.settings.max_age.as_secs();
        let age = match feed.age(now) {
            Some(age) if age != Duration::MAX => format!("was confirmed {} s ago", age.as_secs()),
            _ => "is of no known age, since the clock was set back".to_owned(),
        };
        let then = match feed.settings.on_stale {
            OnStale::Keep => "it stays in force",
            OnStale::Undecided => "whether an address is in it is unknown from now on",
        };
        let message = format!("the list of the network {name} {age}, and max_age is {most} s: {then}");
        Some(Notice { feed: name, kind: NoticeKind::Stale, message })
    }
}

impl Finished {
    fn nothing() -> Self {
        Self { feed: Arc::default(), is_current: false, message: String::new(), notices: Vec::new() }
    }
}

/// Writes the list in force.
fn save(folder: &Path, feed: &mut Feed, now: Now) -> io::Result<()> {
    let Some(saved) = feed.saved() else { return Ok(()) };
    store::save(folder, &feed.settings, Kind::Good, &saved)?;
    if let Some(current) = feed.current.as_mut() {
        current.saved = now.steady;
    }
    Ok(())
}

/// Writes the list before the one in force, where there is one.
fn save_before(folder: &Path, feed: &Feed) -> io::Result<()> {
    match &feed.before {
        Some(before) => store::save(folder, &feed.settings, Kind::Before, before),
        None => store::remove(folder, &feed.settings.name, Kind::Before),
    }
}

/// Writes the list that updates are compared with; says what is wrong with that, for a message.
fn save_base(folder: &Path, feed: &Feed) -> String {
    let saved = feed.saved_base().map(|saved| store::save(folder, &feed.settings, Kind::Base, &saved));
    match saved {
        Some(Err(error)) => format!("; what it is compared with could not be kept on disk: {error}"),
        Some(Ok(())) | None => String::new(),
    }
}

/// Writes what came of the lists that the configuration accepts; says what is wrong with that, for a message.
fn save_acceptance(folder: &Path, feed: &Feed) -> String {
    let saved = feed.acceptance.save(folder, &feed.settings);
    saved
        .err()
        .map_or_else(String::new, |error| format!("; what it takes the place of could not be kept on disk: {error}"))
}

/// Takes back what is in force by an entry that is gone, and forgets entries that are. It is in force when the contents of the keeper are, and told at the next look.
fn hold_to_entries(folder: &Path, feed: &mut Feed, now: Now) {
    let gone = feed.take_back(now);
    let is_pruned = feed.acceptance.prune(&feed.settings);
    let mut problem = String::new();
    if let Some(by) = &gone {
        let name = &feed.settings.name;
        let mut message = format!("the list {by} of the network {name} is accepted no more: ");
        match &feed.current {
            Some(current) => {
                let (entries, sha256) = (prefixes(current.list.len()), current.list.sha256());
                let _ = write!(message, "the one before is in force again, {entries}, sha256 {sha256}");
            }
            None => message.push_str("there was none before, so that whether an address is in it is unknown"),
        }
        // What says that it is to be taken back is the last to go.
        let saved = match feed.current.is_some() {
            true => save(folder, feed, now),
            false => store::remove(folder, &feed.settings.name, Kind::Good)
                .and_then(|()| store::remove(folder, &feed.settings.name, Kind::Base)),
        };
        match saved {
            Err(error) => problem = format!("; that could not be kept on disk: {error}"),
            Ok(()) => problem = save_base(folder, feed),
        }
        feed.untold = Some(message);
    }
    if problem.is_empty() && (gone.is_some() || is_pruned) {
        problem = save_acceptance(folder, feed);
    }
    if let Some(untold) = &mut feed.untold {
        untold.push_str(&problem);
    }
}

/// Why a list is not believed that was signed so long ago, whoever gives it out now.
fn too_long_ago(settings: &FeedSettings, signed: Option<u64>, now: Now) -> Option<String> {
    let most = settings.signature.as_ref()?.max_age?;
    let Some(signed) = signed else {
        return Some("its signature does not say when it was made, and signature.max_age asks for that".to_owned());
    };
    let since = u64::try_from(now.wall.as_second()).unwrap_or_default().saturating_sub(signed);
    (since > most.as_secs()).then(|| {
        format!(
            "it was signed {since} s ago, and signature.max_age is {} s: an old list is given out on and on",
            most.as_secs()
        )
    })
}

fn stays(feed: &Feed) -> &'static str {
    match feed.current {
        Some(_) => "the list in force stays",
        None => "there is none in force, so that whether an address is in it is unknown",
    }
}

fn prefixes(count: usize) -> String {
    if count == 1 { "1 prefix".to_owned() } else { format!("{count} prefixes") }
}

fn changes(name: &str, source: &str, old: Option<&Current>, new: &List) -> String {
    let nothing = List::new(&[]);
    let old = old.map_or(&nothing, |current| &*current.list);
    let (added, removed) = (new.beyond(old, SAMPLE), old.beyond(new, SAMPLE));
    let some = |(count, sample): &(usize, Vec<IpNet>)| {
        let few: Vec<String> = sample.iter().map(ToString::to_string).collect();
        let more = if *count > sample.len() { ", …" } else { "" };
        if few.is_empty() { String::new() } else { format!(" ({}{more})", few.join(", ")) }
    };
    format!(
        "the network {name} has a new list from {source}: {}, {} added{}, {} removed{}; sha256 {}",
        prefixes(new.len()),
        added.0,
        some(&added),
        removed.0,
        some(&removed),
        new.sha256()
    )
}

#[cfg(test)]
mod tests;
