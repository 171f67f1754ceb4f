//! What becomes of what came: it is judged, and put in force, held back or refused.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use super::accepting::Accepting;
use super::saving::{save, save_acceptance, save_base, save_before};
use super::words::{changes, prefixes, stays};
use super::{Activate, Denied, Finished, Keeper, Notice, NoticeKind, rollback};
use crate::feed::{Current, FeedState, Held, Now, remedy};
use crate::guard::{self, Finding, Hold, judge};
use crate::job::{JobError, Outcome, Took};
use crate::list::List;
use crate::obtain::Validators;
use crate::parse::ParseError;
use crate::settings::FeedSettings;
use crate::store::{self, Kind, Saved};

impl Keeper {
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
    pub(super) fn put_in_force(
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
