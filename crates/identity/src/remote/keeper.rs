//! When key sets are fetched, and what becomes of what comes.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;
use tokio::sync::Notify;

use super::job::{Brought, KeyFetchError, KeyJob, KeyOutcome, Tag};
use super::keys::{RemoteKeys, State};
use super::saved::SavedKeys;
use crate::jwks::KeySet;

/// Keeps the key sets of a configuration current. Each moment is passed in: `wall` for how old a set is, `steady` (since any fixed
/// start) for when something is due.
#[derive(Debug)]
pub struct KeyKeeper {
    watched: Vec<Watched>,
    wake: Arc<Notify>,
}

#[derive(Debug)]
struct Watched {
    keys: Arc<RemoteKeys>,
    /// When it is fetched although nobody asks.
    next: Duration,
    /// From when on somebody may ask.
    cooled: Duration,
    under_way: bool,
    tag: Option<Tag>,
    /// From when on what is held is too old, whatever the wall clock says.
    stale_from: Option<Duration>,
    /// It was confirmed, and that was not asked for yet.
    unsaved: bool,
    fetches: u64,
    failures: u64,
    problem: Option<(&'static str, String)>,
    is_stale: bool,
}

/// Has providers begin with the keys that were kept, each with those of its issuer and address, and says what became of it. Nobody
/// fetches yet.
pub(crate) fn restore(all: &[Arc<RemoteKeys>], saved: &[SavedKeys], now: Timestamp) -> Vec<KeyNotice> {
    let begin = |keys: &Arc<RemoteKeys>| {
        let kept = saved.iter().find(|kept| kept.place == keys.place)?;
        let name = &keys.provider;
        let (kind, message) = match keys.restore(kept, now) {
            Ok(Some(count)) => {
                let since = keys.confirmed().map_or_else(String::new, |at| format!(", confirmed at {at}"));
                let message = format!("the keys of {name}: {count} of before the start in force{since}");
                (KeyNoticeKind::Updated, message)
            }
            Ok(None) => return None,
            Err(problem) => {
                let message = format!("the keys of {name} of before the start are not used: {problem}");
                (KeyNoticeKind::Failed, message)
            }
        };
        Some(KeyNotice { provider: Arc::clone(name), kind, message, withdrawn: 0 })
    };
    all.iter().filter_map(begin).collect()
}

/// Something that happened to a provider's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyNotice {
    /// The provider's name.
    pub provider: Arc<str>,
    /// What.
    pub kind: KeyNoticeKind,
    /// In a sentence.
    pub message: String,
    /// How many keys that had an id are not there any more.
    pub withdrawn: usize,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyNoticeKind {
    /// There is a set, where there was none or another one; or it can be fetched again.
    Updated,
    /// It cannot be fetched or used; what was fetched last goes on. Said once until it succeeds again.
    Failed,
    /// It could not be fetched for so long that what was fetched last is too old: no token can be judged.
    Stale,
}

/// How the keys of one provider are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyReport {
    /// The provider's name.
    pub provider: Arc<str>,
    /// Where they come from, without a query.
    pub address: String,
    /// How many of them are in force; 0: none was fetched yet.
    pub keys: usize,
    /// When they were last confirmed.
    pub confirmed: Option<Timestamp>,
    /// Until before when they may be used unless they are confirmed again.
    pub usable_before: Option<Timestamp>,
    /// They may not be used any more, or never could: tokens of this provider cannot be judged.
    pub is_missing: bool,
    /// How often they were fetched or tried to be, since the start.
    pub fetches: u64,
    /// How often in vain.
    pub failures: u64,
    /// Why the last time failed, if it did.
    pub problem: Option<String>,
}

impl Default for KeyKeeper {
    fn default() -> Self {
        Self { watched: Vec::new(), wake: Arc::new(Notify::new()) }
    }
}

impl KeyKeeper {
    /// Keeps the keys of another configuration from now on. Those that it has in common with the one before go on as they were.
    pub fn watch(&mut self, keys: Vec<Arc<RemoteKeys>>, steady: Duration) {
        let mut before = std::mem::take(&mut self.watched);
        for keys in keys {
            keys.wakes(&self.wake);
            let place = before.iter().position(|watched| Arc::ptr_eq(&watched.keys, &keys));
            self.watched.push(place.map_or_else(|| Watched::new(keys, steady), |place| before.swap_remove(place)));
        }
        // Nobody fetches these any more.
        before.iter().for_each(|gone| gone.keys.end(false));
    }

    /// What wakes whoever waits for something to be due.
    pub fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }

    /// Lets what has cooled down be asked for again, and says what became too old.
    pub fn tick(&mut self, wall: Timestamp, steady: Duration) -> Vec<KeyNotice> {
        let mut notices = Vec::new();
        for watched in &mut self.watched {
            if steady >= watched.cooled {
                watched.keys.cooled();
            }
            // A wall clock that was set back makes nothing fresher.
            if watched.stale_from(wall, steady).is_some_and(|from| steady >= from) {
                watched.keys.expire();
            }
            // Those that were never there were said to fail.
            let is_stale = watched.keys.keys_held() > 0 && watched.keys.generation(wall).is_none();
            if is_stale && !watched.is_stale {
                let since = watched.keys.confirmed().map_or_else(String::new, |at| format!(" since {at}"));
                let why = watched.problem.as_ref().map_or("no fetch ended", |(_, problem)| problem);
                let message = format!(
                    "the keys of {} were not confirmed{since} and are not used any more: {why}",
                    watched.keys.provider
                );
                notices.push(watched.notice(KeyNoticeKind::Stale, message));
            }
            watched.is_stale = is_stale;
        }
        notices
    }

    /// The fetches to be made now. Each must be given back to [`finish`](Self::finish).
    pub fn due(&mut self, steady: Duration) -> Vec<KeyJob> {
        let due = self.watched.iter_mut().filter_map(|watched| {
            let asked = watched.keys.is_asked() && steady >= watched.cooled;
            if watched.under_way || !(asked || steady >= watched.next) {
                return None;
            }
            watched.under_way = true;
            watched.fetches += 1;
            watched.keys.begin();
            Some(KeyJob { keys: Arc::clone(&watched.keys), known: watched.tag.clone() })
        });
        due.collect()
    }

    /// How long nothing is due unless somebody asks.
    pub fn sleep(&self, wall: Timestamp, steady: Duration) -> Duration {
        let each = self.watched.iter().map(|watched| {
            let until = |moment: Duration| moment.saturating_sub(steady);
            let stale = watched.keys.usable_before().filter(|_| !watched.is_stale);
            let stale = stale.map(|at| Duration::try_from(at.duration_since(wall)).unwrap_or_default());
            let cooled = (watched.keys.progress().state == State::Cooling).then(|| until(watched.cooled));
            let next = (!watched.under_way).then(|| until(watched.next));
            [stale, cooled, next].into_iter().flatten().min().unwrap_or(LONGEST)
        });
        each.min().unwrap_or(LONGEST).clamp(SHORTEST, LONGEST)
    }

    /// Puts in force what came, or keeps what there is.
    pub fn finish(&mut self, outcome: KeyOutcome, wall: Timestamp, steady: Duration) -> Vec<KeyNotice> {
        let KeyOutcome { keys, result } = outcome;
        let failed = |error: KeyFetchError| (error.kind(), error.to_string());
        let result =
            result.map_err(failed).and_then(|brought| take(&keys, brought).map_err(|problem| ("set", problem)));
        let Some(watched) = self.watched.iter_mut().find(|watched| Arc::ptr_eq(&watched.keys, &keys)) else {
            // Another configuration came meanwhile. Who waits for these is let go.
            keys.end(false);
            return Vec::new();
        };
        watched.under_way = false;
        watched.cooled = steady.saturating_add(keys.source.cooldown);
        let mut withdrawn = 0;
        let notice = match result {
            Ok(taken) => {
                keys.confirm(wall);
                watched.stale_from = Some(steady.saturating_add(keys.source.max_stale));
                watched.unsaved = true;
                watched.next = steady.saturating_add(spread(keys.source.refresh, &keys.provider, watched.fetches));
                let recovered = watched.problem.take().is_some();
                watched.is_stale = false;
                let of = |what: String| format!("the keys of {}: {what}", keys.provider);
                match taken {
                    Taken::Same if recovered => Some((KeyNoticeKind::Updated, of("confirmed again".to_owned()))),
                    Taken::Same => None,
                    Taken::Other { tag, keys: count, withdrawn: gone, skipped } => {
                        watched.tag = tag;
                        withdrawn = gone;
                        let skipped = skipped.map_or_else(String::new, |why| format!("; left out: {why}"));
                        Some((KeyNoticeKind::Updated, of(format!("{count} in force{skipped}"))))
                    }
                }
            }
            Err((kind, problem)) => {
                watched.failures += 1;
                watched.next = steady.saturating_add(keys.source.cooldown.min(keys.source.refresh));
                let problem = cut(&problem);
                // The text may be the peer's, and another one each time.
                let news = watched.problem.as_ref().is_none_or(|(before, _)| *before != kind);
                let message = format!("the keys of {} are not fetched: {problem}", keys.provider);
                watched.problem = Some((kind, problem));
                news.then_some((KeyNoticeKind::Failed, message))
            }
        };
        keys.end(watched.problem.is_none());
        let notice = notice.map(|(kind, message)| KeyNotice { withdrawn, ..watched.notice(kind, message) });
        notice.into_iter().collect()
    }

    /// What was confirmed since this was asked the last time, so that it can be kept.
    pub fn take_unsaved(&mut self) -> Vec<SavedKeys> {
        let saved =
            |watched: &mut Watched| std::mem::take(&mut watched.unsaved).then(|| watched.keys.saved()).flatten();
        self.watched.iter_mut().filter_map(saved).collect()
    }

    /// How the keys of each provider are.
    pub fn reports(&self, wall: Timestamp) -> Vec<KeyReport> {
        let each = self.watched.iter().map(|watched| KeyReport {
            provider: Arc::clone(&watched.keys.provider),
            address: watched.keys.source.location.shown(),
            keys: watched.keys.keys_held(),
            confirmed: watched.keys.confirmed(),
            usable_before: watched.keys.usable_before(),
            is_missing: watched.keys.generation(wall).is_none(),
            fetches: watched.fetches,
            failures: watched.failures,
            problem: watched.problem.as_ref().map(|(_, problem)| problem.clone()),
        });
        each.collect()
    }
}

/// Nothing is looked at more often.
const SHORTEST: Duration = Duration::from_millis(10);
/// Nothing is looked at more seldom.
const LONGEST: Duration = Duration::from_secs(60);
/// The longest problem that is kept, in bytes.
const MAX_PROBLEM: usize = 512;

impl Watched {
    fn new(keys: Arc<RemoteKeys>, steady: Duration) -> Self {
        Self {
            keys,
            next: steady,
            cooled: steady,
            under_way: false,
            tag: None,
            stale_from: None,
            unsaved: false,
            fetches: 0,
            failures: 0,
            problem: None,
            is_stale: false,
        }
    }

    /// From when on what is held is too old. What was kept, or carried through a reload, has as long as the wall clock leaves it.
    fn stale_from(&mut self, wall: Timestamp, steady: Duration) -> Option<Duration> {
        if self.stale_from.is_none() {
            let left = Duration::try_from(self.keys.usable_before()?.duration_since(wall)).unwrap_or_default();
            self.stale_from = Some(steady.saturating_add(left.min(self.keys.source.max_stale)));
        }
        self.stale_from
    }

    fn notice(&self, kind: KeyNoticeKind, message: String) -> KeyNotice {
        KeyNotice { provider: Arc::clone(&self.keys.provider), kind, message, withdrawn: 0 }
    }
}

/// What was done with a set.
enum Taken {
    Same,
    Other { tag: Option<Tag>, keys: usize, withdrawn: usize, skipped: Option<String> },
}

/// Holds a set that can be used.
fn take(keys: &RemoteKeys, brought: Brought) -> Result<Taken, String> {
    let Brought::Set { text, tag } = brought else { return Ok(Taken::Same) };
    if keys.text().is_some_and(|held| *held == *text) {
        return Ok(Taken::Same);
    }
    let text = String::from_utf8(text).map_err(|_| "the key set is not UTF-8".to_owned())?;
    let listed =
        |problems: &[crate::KeySetProblem]| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let (set, skipped) = KeySet::parse_published(&text).map_err(|problems| listed(&problems))?;
    let before = keys.text().and_then(|text| KeySet::parse_published(std::str::from_utf8(&text).ok()?).ok());
    let withdrawn = before.map_or(0, |(before, _)| before.without(&set));
    let skipped = (!skipped.is_empty()).then(|| cut(&listed(&skipped)));
    let taken = Taken::Other { tag, keys: set.len(), withdrawn, skipped };
    keys.replace(set, text.into_bytes().into());
    Ok(taken)
}

/// A tenth more or less, so that a thousand gateways do not ask at the same moment.
fn spread(refresh: Duration, provider: &str, count: u64) -> Duration {
    let mixed = digest(&SHA256, format!("{provider}\n{count}").as_bytes());
    let byte = u32::from(mixed.as_ref().first().copied().unwrap_or(128));
    // From 90 % to 110 %.
    refresh.saturating_mul(900 + byte * 200 / 255) / 1_000
}

fn cut(text: &str) -> String {
    let (cut, rest) = text.split_at(text.floor_char_boundary(MAX_PROBLEM));
    if rest.is_empty() { cut.to_owned() } else { format!("{cut}…") }
}

#[cfg(test)]
mod tests;
