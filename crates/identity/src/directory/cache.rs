//! What is known of whom, and who is to be looked up.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use papaya::HashMap;
use portcullis_policy::Principal;
use tokio::sync::Notify;

use super::Verdict;
use crate::asking::{AHEAD_MS, Asking, EVICTED, Looked, SEEN_MS};
use crate::settings::LdapDirectory;

/// Everybody who was looked up, or is to be. All times are in milliseconds since 1970.
#[derive(Debug)]
pub(super) struct Cache {
    subjects: HashMap<Box<str>, Arc<Subject>>,
    capacity: usize,
    queue: Mutex<Queue>,
    max_waiting: usize,
    /// Wakes who looks up.
    wake: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    /// Somebody waits for these.
    waiting: VecDeque<Arc<Subject>>,
    /// These are looked up before anybody has to wait.
    ahead: VecDeque<Arc<Subject>>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) key: Box<str>,
    pub(super) id: Box<str>,
    pub(super) email: Option<Box<str>>,
    known: ArcSwapOption<Known>,
    asking: Asking,
}

/// What was found.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) verdict: Verdict,
    /// When it was asked for, which is before the directory said it.
    asked: i64,
    /// The last principal that it was added to, and what that made: the next request of the same token finds it.
    merged: ArcSwapOption<(Arc<Principal>, Arc<Principal>)>,
}

impl Cache {
    pub(super) fn new(capacity: usize, max_waiting: usize) -> Self {
        let (subjects, queue) = (HashMap::new(), Mutex::new(Queue::default()));
        Self { subjects, capacity, queue, max_waiting, wake: Notify::new() }
    }

    pub(super) fn get(&self, key: &str) -> Option<Arc<Subject>> {
        self.subjects.pin().get(key).cloned()
    }

    pub(super) fn len(&self) -> usize {
        self.subjects.len()
    }

    pub(super) fn waiting(&self) -> usize {
        let queue = self.queue();
        queue.waiting.len() + queue.ahead.len()
    }

    /// Has somebody looked up. `known` is who was found in the cache.
    pub(super) fn ask(&self, id: &str, email: Option<&str>, known: Option<Arc<Subject>>, now: i64) -> Looked {
        let mut queue = self.queue();
        let key = || email.map_or_else(|| id.into(), |email| format!("{id}\0{email}").into_boxed_str());
        // Another request may have asked meanwhile.
        let known = known.or_else(|| self.get(&key()));
        if let Some(subject) = known.as_ref().filter(|subject| subject.asking.is_under_way()) {
            // One that is looked up ahead is now waited for.
            if let Some(place) = queue.ahead.iter().position(|ahead| Arc::ptr_eq(ahead, subject))
                && let Some(ahead) = queue.ahead.remove(place)
            {
                queue.waiting.push_back(ahead);
            }
            return subject.asking.joined();
        }
        if queue.waiting.len() >= self.max_waiting {
            return Looked::TooMany;
        }
        let subject = known.unwrap_or_else(|| {
            let subject = Arc::new(Subject {
                key: key(),
                id: id.into(),
                email: email.map(Box::from),
                known: ArcSwapOption::empty(),
                asking: Asking::new(now),
            });
            self.subjects.pin().insert(subject.key.clone(), Arc::clone(&subject));
            subject
        });
        subject.asking.begin();
        let looked = subject.asking.joined();
        queue.waiting.push_back(subject);
        drop(queue);
        self.wake.notify_one();
        looked
    }

    /// Asks for everybody who is in use and will soon be too old.
    pub(super) fn ask_ahead(&self, settings: &LdapDirectory, now: i64) {
        let due: Vec<Arc<Subject>> = {
            let subjects = self.subjects.pin();
            subjects.values().filter(|subject| subject.is_due(settings, now)).cloned().collect()
        };
        let mut queue = self.queue();
        for subject in due {
            if subject.asking.begin() {
                queue.ahead.push_back(subject);
                self.wake.notify_one();
            }
        }
    }

    /// Who is to be looked up next, once there is somebody.
    pub(super) async fn next(&self) -> Job<'_> {
        loop {
            let (subject, more) = {
                let mut queue = self.queue();
                let subject = queue.waiting.pop_front().or_else(|| queue.ahead.pop_front());
                (subject, !queue.waiting.is_empty() || !queue.ahead.is_empty())
            };
            if let Some(subject) = subject {
                // One word wakes one of those who look up.
                if more {
                    self.wake.notify_one();
                }
                return Job { cache: self, subject };
            }
            self.wake.notified().await;
        }
    }

    /// Lets go of everybody who waits: nobody looks up any more.
    pub(super) fn abandon(&self) {
        let queue = std::mem::take(&mut *self.queue());
        for subject in queue.waiting.into_iter().chain(queue.ahead) {
            subject.asking.end();
        }
    }

    /// Forgets those who were seen longest ago, where there are too many, and those who count for nothing any more.
    pub(super) fn evict(&self, settings: &LdapDirectory, now: i64) {
        let subjects = self.subjects.pin();
        let stale = millis(settings.max_stale);
        let gone =
            |subject: &Subject| !subject.asking.is_under_way() && now.saturating_sub(subject.asking.seen()) > stale;
        subjects.retain(|_, subject| !gone(subject));
        if subjects.len() <= self.capacity {
            return;
        }
        let mut by_age: Vec<(i64, &Arc<Subject>)> = subjects
            .values()
            .filter(|subject| !subject.asking.is_under_way())
            .map(|subject| (subject.asking.seen(), subject))
            .collect();
        by_age.sort_unstable_by_key(|(seen, _)| *seen);
        let surplus = subjects.len() - self.capacity + self.capacity / EVICTED;
        for (_, subject) in by_age.into_iter().take(surplus) {
            subjects.remove(&*subject.key);
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.subjects.len() > self.capacity
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A look-up that is under way. Dropping it without a word is one that brought nothing.
pub(super) struct Job<'c> {
    cache: &'c Cache,
    pub(super) subject: Arc<Subject>,
}

impl Job<'_> {
    /// What was found, by a look-up that began at `asked`.
    pub(super) fn found(self, verdict: Verdict, asked: i64) {
        self.subject.known.store(Some(Arc::new(Known { verdict, asked, merged: ArcSwapOption::empty() })));
        self.subject.asking.answered();
    }

    /// Nothing, for now.
    pub(super) fn failed(self, now: i64) {
        self.subject.asking.failed(now);
    }
}

impl Drop for Job<'_> {
    fn drop(&mut self) {
        // Under the lock, so that nobody begins to wait for what has just ended.
        let _queue = self.cache.queue();
        self.subject.asking.end();
    }
}

impl Subject {
    /// What is known, if it is young enough to be used as it is.
    pub(super) fn young(&self, settings: &LdapDirectory, now: i64) -> Option<Arc<Known>> {
        self.asking.see(now);
        let known = self.known.load();
        let known = known.as_ref()?;
        let age = now.saturating_sub(known.asked);
        (age < millis(known.lifetime(settings)) && age > -AHEAD_MS).then(|| Arc::clone(known))
    }

    /// What is known, if it may stand in for what cannot be asked.
    pub(super) fn last_good(&self, settings: &LdapDirectory, now: i64) -> Option<Arc<Known>> {
        let known = self.known.load_full()?;
        let is_answer = !matches!(known.verdict, Verdict::Unusable(_));
        (is_answer && now.saturating_sub(known.asked) < millis(settings.max_stale)).then_some(known)
    }

    pub(super) fn has_failed_since(&self, time: i64) -> bool {
        self.asking.has_failed_since(time)
    }

    /// Whether it is in use, and three quarters of its time are over.
    fn is_due(&self, settings: &LdapDirectory, now: i64) -> bool {
        let known = self.known.load();
        let Some(known) = known.as_ref() else { return false };
        let lifetime = millis(known.lifetime(settings));
        let age = now.saturating_sub(known.asked);
        let is_used = self.asking.seen() > known.asked.saturating_add(SEEN_MS);
        is_used && age >= lifetime / 4 * 3 && !self.asking.is_under_way()
    }
}

impl Known {
    fn lifetime(&self, settings: &LdapDirectory) -> Duration {
        match self.verdict {
            Verdict::Found { .. } | Verdict::Disabled => settings.refresh,
            Verdict::NotFound | Verdict::Unusable(_) => settings.negative,
        }
    }

    /// What `name` makes of the principal; made once for the requests of one token.
    pub(super) fn merged(
        &self,
        principal: &Arc<Principal>,
        name: impl FnOnce(&Principal) -> Result<Principal, String>,
    ) -> Result<Arc<Principal>, String> {
        if let Some(last) = &*self.merged.load()
            && Arc::ptr_eq(&last.0, principal)
        {
            return Ok(Arc::clone(&last.1));
        }
        let named = name(principal)?;
        // Who is not found stays as the provider made them.
        let named = if named == **principal { Arc::clone(principal) } else { Arc::new(named) };
        self.merged.store(Some(Arc::new((Arc::clone(principal), Arc::clone(&named)))));
        Ok(named)
    }
}

pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
