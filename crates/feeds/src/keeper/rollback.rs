//! Going back to the list before: somebody has seen what the one in force does.
//!
//! From then on every other list is held back until somebody accepts one, whatever the source gives out in between: whoever has got hold of a source
//! can change a list a little each hour, give out the good one once, or a page, and only its owner knows when it is right again.

use super::saving::{save_acceptance, save_base};
use super::words::prefixes;
use super::{Activate, Finished, Keeper, Notice, NoticeKind};
use crate::feed::{Base, Feed, FeedState, Held, Now, SAMPLE};
use crate::guard::{Finding, Hold};
use crate::store::{self, Kind, Saved, age_of};
use ipnet::IpNet;
use portcullis_policy::NetworkContent;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

/// Why there was no going back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RollbackError {
    /// Nobody has that name.
    #[error("there is no feed of that name")]
    Unknown,
    /// Nothing was in force before, or that is not kept any more.
    #[error("no list of before the one in force is kept")]
    NothingBefore,
    /// It would be unknown at once whether an address is in it.
    #[error("the list before was confirmed {0} s ago, which is more than max_age: put fixed `addresses` in its place")]
    TooOld(u64),
    /// It could not be put in force.
    #[error("{0}")]
    Activation(String),
}

/// What going back would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RollbackTried {
    /// What the network would hold.
    pub content: NetworkContent,
    /// The SHA-256 of the list before.
    pub sha256: Arc<str>,
    /// How many prefixes it has.
    pub entries: usize,
    /// How long ago it was confirmed.
    pub age: Duration,
    /// The SHA-256 of the list in force, which would be held back.
    pub gone: Arc<str>,
    /// How many prefixes that has.
    pub gone_entries: usize,
    /// How many prefixes of the list before are not in force, and a few of them.
    pub added: (usize, Vec<IpNet>),
    /// How many prefixes in force it does not have, and a few of them.
    pub removed: (usize, Vec<IpNet>),
}

/// A feed that can be gone back from, and to what.
struct Back<'k> {
    index: usize,
    feed: &'k Feed,
    before: Saved,
    gone: Saved,
    /// How long ago the list before was confirmed.
    age: Duration,
}

impl Keeper {
    /// What a network would hold with the list of this hash, or with none: where that is kept, be it in force, before that, compared with, or held back.
    pub fn content_by(&self, name: &str, sha256: Option<&str>) -> Option<NetworkContent> {
        let feed = self.feeds.iter().find(|feed| *feed.settings.name == *name)?;
        let Some(sha256) = sha256 else { return Some(store::content(&feed.settings, None)) };
        let standing = feed.acceptance.standing.as_ref().and_then(|standing| standing.before.as_ref());
        let kept = [
            feed.current.as_ref().map(|current| &current.list),
            feed.before.as_ref().map(|before| &before.list),
            feed.base.as_ref().map(|base| &base.list),
            feed.held.as_ref().and_then(|held| held.list.as_ref()),
            standing.map(|before| &before.list),
        ];
        let list = kept.into_iter().flatten().find(|list| **list.sha256() == *sha256)?;
        Some(store::content(&feed.settings, Some(list)))
    }

    /// The feeds that can be gone back from: of them a list of before is kept that is young enough.
    pub fn can_go_back(&self, now: Now) -> Vec<Arc<str>> {
        let can = |feed: &&Feed| {
            let young = |before: &Saved| age_of(before.checked, now.wall) <= feed.settings.max_age;
            feed.current.is_some() && feed.before.as_ref().is_some_and(young)
        };
        self.feeds.iter().filter(can).map(|feed| Arc::clone(&feed.settings.name)).collect()
    }

    /// What [`Self::rollback`] would do. Nothing is changed.
    ///
    /// # Errors
    /// [`RollbackError`]: it would not be done.
    pub fn try_rollback(&self, name: &str, now: Now) -> Result<RollbackTried, RollbackError> {
        let Back { feed, before, gone, age, .. } = self.back(name, now)?;
        Ok(RollbackTried {
            content: store::content(&feed.settings, Some(&before.list)),
            sha256: Arc::clone(before.list.sha256()),
            entries: before.list.len(),
            age,
            gone: Arc::clone(gone.list.sha256()),
            gone_entries: gone.list.len(),
            added: before.list.beyond(&gone.list, SAMPLE),
            removed: gone.list.beyond(&before.list, SAMPLE),
        })
    }

    fn back(&self, name: &str, now: Now) -> Result<Back<'_>, RollbackError> {
        let index = self.feeds.iter().position(|feed| *feed.settings.name == *name).ok_or(RollbackError::Unknown)?;
        let feed = self.feeds.get(index).ok_or(RollbackError::Unknown)?;
        let (Some(before), Some(gone)) = (feed.before.clone(), feed.saved()) else {
            return Err(RollbackError::NothingBefore);
        };
        let age = age_of(before.checked, now.wall);
        if age > feed.settings.max_age {
            return Err(RollbackError::TooOld(age.as_secs()));
        }
        Ok(Back { index, feed, before, gone, age })
    }

    /// Puts the list before the one in force back, and holds that one back, and all that follow, until somebody accepts one.
    ///
    /// # Errors
    /// [`RollbackError`]: nothing has changed.
    pub fn rollback(&mut self, name: &str, now: Now, activate: &mut Activate<'_>) -> Result<Finished, RollbackError> {
        let Back { index, feed, before, gone, age } = self.back(name, now)?;
        let folder = self.folder.clone();
        let was = feed.acceptance.clone();
        let mut acceptance = was.clone();
        acceptance.roll_back(&feed.settings, &gone.list);
        // That it is held back is on the disk before it is in force: whoever is killed in between holds back what follows.
        let settings = Arc::clone(&feed.settings);
        let fact = acceptance.save(&folder, &settings);
        let Saved { list, validators, checked, .. } = before;
        self.put_in_force(index, Arc::clone(&list), validators, checked, now, activate).map_err(|why| {
            // Nothing has changed; where that cannot be written, the next start holds back what it need not.
            let _ = was.save(&folder, &settings);
            RollbackError::Activation(why)
        })?;
        let Some(feed) = self.feeds.get_mut(index) else { return Err(RollbackError::Unknown) };
        // What was in force is none to go back to.
        feed.before = None;
        feed.acceptance = acceptance;
        feed.base = Some(Base::new(Arc::clone(&list), now));
        if let Some(current) = feed.current.as_mut() {
            current.whole = None;
            current.aged = (age, now.steady);
        }
        feed.told = FeedState::Current;
        let findings = vec![finding()];
        let (sha256, entries) = (Arc::clone(gone.list.sha256()), gone.list.len());
        let mut message = format!(
            "the network {name} has the list before again, {}, sha256 {}; the one that was in force is held back, {}, sha256 {sha256}, \
             and so is all that follows, until `portcullis feed accept` takes one",
            prefixes(list.len()),
            list.sha256(),
            prefixes(entries),
        );
        let held = Saved { changed: now.wall, findings: findings.clone(), ..gone };
        let saved = fact
            .and_then(|()| store::save(&folder, &feed.settings, Kind::Held, &held))
            .and_then(|()| store::remove(&folder, &feed.settings.name, Kind::Before));
        if let Err(error) = saved {
            let _ = write!(message, "; it could not be kept on disk: {error}");
        }
        let times = (now.wall, held.checked);
        feed.held = Some(Held::new(Some(held.list), feed.current.as_ref(), times, held.validators, findings));
        message += &save_base(&folder, feed);
        message += &save_acceptance(&folder, feed);
        let feed = Arc::clone(&feed.settings.name);
        let notice = Notice { feed: Arc::clone(&feed), kind: NoticeKind::Updated, message: message.clone() };
        Ok(Finished { feed, is_current: false, message, notices: vec![notice] })
    }
}

impl Keeper {
    /// The list in force was looked at, and the source, which gives it out again: it is followed from now on.
    pub(super) fn follow_again(&mut self, index: usize) -> Finished {
        let Some(feed) = self.feeds.get_mut(index) else { return Finished::nothing() };
        feed.acceptance.rolled_back = false;
        let name = Arc::clone(&feed.settings.name);
        let mut message =
            format!("the list in force of the network {name} is accepted, and its source is followed again");
        message += &save_acceptance(&self.folder, feed);
        Finished { feed: name, is_current: true, message, notices: Vec::new() }
    }
}

/// That everything else is held back, beside the list in force.
pub(super) fn in_words(name: &str, sha256: &str) -> String {
    format!(
        "; somebody went back to it, and every other one is held back: `portcullis feed accept {name} --sha256 {sha256}` follows the source again"
    )
}

/// Why lists are held back after that.
pub(super) fn finding() -> Finding {
    let message = "somebody went back to the list before: what the source gives out is held back until one is accepted";
    Finding { hold: Hold::RolledBack, message: message.to_owned() }
}
