//! A list that the guards hold back comes into force all the same: by hand, or as long as the configuration says so.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use super::saving::{save, save_acceptance, save_base};
use super::words::{prefixes, stays};
use super::{Activate, Finished, Keeper, Notice, NoticeKind};
use crate::feed::{Base, Feed, Now};
use crate::list::List;
use crate::obtain::Validators;
use crate::store::{self, Kind};

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

/// Who accepts a list that the guards hold back.
#[derive(Debug, Clone, Copy)]
pub(super) enum Accepting {
    /// By hand, after a look at it.
    Somebody,
    /// The configuration, as long as it says so.
    Entry,
}

impl Keeper {
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

    /// In force by somebody's word, and what updates are compared with from now on: somebody has looked at it.
    pub(super) fn put_accepted_in_force(
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
    pub(super) fn take_accepted(&mut self, index: usize, now: Now, activate: &mut Activate<'_>) -> Vec<Notice> {
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
}

/// Takes back what is in force by an entry that is gone, and forgets entries that are. It is in force when the contents of the keeper are, and told at the next look.
pub(super) fn hold_to_entries(folder: &Path, feed: &mut Feed, now: Now) {
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
