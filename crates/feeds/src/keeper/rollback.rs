//! Going back to the list before: somebody has seen what the one in force does.
//!
//! From then on every other list is held back until somebody accepts one, or the source gives out again what is in force: whoever has got hold of a
//! source can change a list a little each hour, and only its owner knows when it is right again.

use super::{Activate, Finding, Finished, Hold, Keeper, Notice, NoticeKind, Now, prefixes, save_acceptance, save_base};
use crate::feed::{Base, FeedState, Held};
use crate::store::{self, Kind, Saved, age_of};
use std::fmt::Write as _;
use std::sync::Arc;

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

impl Keeper {
    /// Puts the list before the one in force back, and holds that one back, and all that follow, until somebody accepts one.
    ///
    /// # Errors
    /// [`RollbackError`]: nothing has changed.
    pub fn rollback(&mut self, name: &str, now: Now, activate: &mut Activate<'_>) -> Result<Finished, RollbackError> {
        let index = self.feeds.iter().position(|feed| *feed.settings.name == *name).ok_or(RollbackError::Unknown)?;
        let feed = self.feeds.get(index).ok_or(RollbackError::Unknown)?;
        let (Some(before), Some(gone)) = (feed.before.clone(), feed.saved()) else {
            return Err(RollbackError::NothingBefore);
        };
        let age = age_of(before.checked, now.wall);
        if age > feed.settings.max_age {
            return Err(RollbackError::TooOld(age.as_secs()));
        }
        let folder = self.folder.clone();
        let Saved { list, validators, checked, .. } = before;
        self.put_in_force(index, Arc::clone(&list), validators, checked, now, activate)
            .map_err(RollbackError::Activation)?;
        let Some(feed) = self.feeds.get_mut(index) else { return Err(RollbackError::Unknown) };
        // What was in force is none to go back to.
        feed.before = None;
        feed.acceptance.standing = None;
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
             and so is all that follows, until the source gives out again what is in force or `portcullis feed accept` takes one",
            prefixes(list.len()),
            list.sha256(),
            prefixes(entries),
        );
        let held = Saved { changed: now.wall, findings: findings.clone(), ..gone };
        let saved = store::save(&folder, &feed.settings, Kind::Held, &held)
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

/// Why lists are held back after that.
pub(super) fn finding() -> Finding {
    let message = "somebody went back to the list before: what the source gives out is held back until one is accepted";
    Finding { hold: Hold::RolledBack, message: message.to_owned() }
}
