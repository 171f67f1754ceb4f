//! All feeds together: which are due, what becomes of what came, and what is told about it.

mod accepting;
mod rollback;
mod saving;
mod taking;
mod words;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use portcullis_policy::NetworkContent;

use crate::feed::{Feed, FeedState, Now, Report};
use crate::job::Job;
use crate::settings::{FeedSettings, OnStale, Settings};
use crate::store::Restored;

use accepting::hold_to_entries;

pub use accepting::AcceptError;
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

    fn feed(&mut self, name: &str) -> Option<&mut Feed> {
        self.feeds.iter_mut().find(|feed| *feed.settings.name == *name)
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

#[cfg(test)]
mod tests;
