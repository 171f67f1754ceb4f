//! What is known of which token, and what is to be asked. Tokens are kept by their hash; the token itself only as long as it waits to be asked
//! for.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use papaya::HashMap;
use tokio::sync::Notify;

use super::Verdict;
use crate::asking::{AHEAD_MS, Asking, EVICTED, Looked};
use crate::secret::SecretText;
use crate::token_cache::TokenHash;

/// Every token that was asked for, or is to be. All times are in milliseconds since 1970.
#[derive(Debug)]
pub(super) struct Cache {
    entries: HashMap<TokenHash, Arc<Entry>>,
    capacity: usize,
    queue: Mutex<VecDeque<(Arc<Entry>, SecretText<'static>)>>,
    max_waiting: usize,
    /// Wakes who asks.
    wake: Notify,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Entry {
    hash: TokenHash,
    known: ArcSwapOption<Known>,
    asking: Asking,
}

#[derive(Debug)]
struct Known {
    verdict: Verdict,
    /// When it was asked for, which is before the provider said it, and until before when it counts.
    asked: i64,
    until: i64,
}

impl Cache {
    pub(super) fn new(capacity: usize, max_waiting: usize) -> Self {
        Self { entries: HashMap::new(), capacity, queue: Mutex::default(), max_waiting, wake: Notify::new() }
    }

    pub(super) fn get(&self, hash: &TokenHash) -> Option<Arc<Entry>> {
        self.entries.pin().get(hash).cloned()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn waiting(&self) -> usize {
        self.queue().len()
    }

    /// Has a token asked for, once.
    pub(super) fn ask(&self, hash: &TokenHash, token: &str, now: i64) -> Looked {
        let mut queue = self.queue();
        // Another request may have asked meanwhile; and what the caller found may have been forgotten.
        let known = self.get(hash);
        if let Some(entry) = known.as_ref().filter(|entry| entry.asking.is_under_way()) {
            return entry.asking.joined();
        }
        if queue.len() >= self.max_waiting {
            return Looked::TooMany;
        }
        let entry = known.unwrap_or_else(|| {
            Arc::new(Entry { hash: *hash, known: ArcSwapOption::empty(), asking: Asking::new(now) })
        });
        entry.asking.begin();
        // Also one that is there: it may just be forgotten, by who has not seen yet that it is asked for. The answer must be found.
        self.entries.pin().insert(*hash, Arc::clone(&entry));
        let looked = entry.asking.joined();
        queue.push_back((entry, SecretText::new(token.to_owned())));
        drop(queue);
        self.wake.notify_one();
        // A flood must not have to wait for its turn to be forgotten.
        if self.entries.len() > self.capacity.saturating_add(self.capacity / EVICTED).saturating_add(1) {
            self.evict(now);
        }
        looked
    }

    /// What is to be asked next, once there is something.
    pub(super) async fn next(&self) -> Job<'_> {
        loop {
            let (next, more) = {
                let mut queue = self.queue();
                (queue.pop_front(), !queue.is_empty())
            };
            if let Some((entry, token)) = next {
                // One word wakes one of those who ask.
                if more {
                    self.wake.notify_one();
                }
                return Job { cache: self, entry, token };
            }
            self.wake.notified().await;
        }
    }

    /// Lets go of everybody who waits: nobody asks any more.
    pub(super) fn abandon(&self) {
        let queue = std::mem::take(&mut *self.queue());
        queue.into_iter().for_each(|(entry, _)| entry.asking.end());
    }

    /// Forgets what says nothing any more, and where there is too much what was seen longest ago.
    pub(super) fn evict(&self, now: i64) {
        let entries = self.entries.pin();
        entries.retain(|_, entry| {
            entry.asking.is_under_way() || entry.young(now).is_some() || entry.has_failed_since(now - 1_000)
        });
        if entries.len() <= self.capacity {
            return;
        }
        let mut by_age: Vec<(i64, TokenHash)> = entries
            .values()
            .filter(|entry| !entry.asking.is_under_way())
            .map(|entry| (entry.asking.seen(), entry.hash))
            .collect();
        by_age.sort_unstable_by_key(|(seen, _)| *seen);
        let surplus = entries.len() - self.capacity + self.capacity / EVICTED;
        for (_, hash) in by_age.into_iter().take(surplus) {
            // Somebody may ask for it since.
            let _ = entries.remove_if(&hash, |_, entry| !entry.asking.is_under_way());
        }
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<(Arc<Entry>, SecretText<'static>)>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question that is under way. Dropping it without a word is one that brought nothing.
pub(super) struct Job<'c> {
    cache: &'c Cache,
    entry: Arc<Entry>,
    token: SecretText<'static>,
}

impl Job<'_> {
    pub(super) fn token(&self) -> &str {
        self.token.expose()
    }

    /// What the provider said, to a question that began at `asked`.
    pub(super) fn found(self, verdict: Verdict, asked: i64, lasts: Duration) {
        let lasts = i64::try_from(lasts.as_millis()).unwrap_or(i64::MAX);
        self.entry.known.store(Some(Arc::new(Known { verdict, asked, until: asked.saturating_add(lasts) })));
        self.entry.asking.answered();
    }

    /// Nothing, for now.
    pub(super) fn failed(self, now: i64) {
        self.entry.asking.failed(now);
    }
}

impl Drop for Job<'_> {
    fn drop(&mut self) {
        // Under the lock, so that nobody begins to wait for what has just ended.
        let _queue = self.cache.queue();
        self.entry.asking.end();
    }
}

impl Entry {
    /// What is known, if it counts still.
    pub(super) fn young(&self, now: i64) -> Option<Verdict> {
        let known = self.known.load();
        let known = known.as_ref().filter(|known| now < known.until && now > known.asked - AHEAD_MS)?;
        self.asking.see(now);
        Some(known.verdict.clone())
    }

    pub(super) fn has_failed_since(&self, time: i64) -> bool {
        self.asking.has_failed_since(time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::Refusal;

    const NOW: i64 = 1_764_400_000_000;

    fn hash(n: u8) -> TokenHash {
        TokenHash([n; 32])
    }

    fn ask(cache: &Cache, n: u8, now: i64) {
        assert!(matches!(cache.ask(&hash(n), "token", now), Looked::Asked { .. }));
    }

    /// What nobody knows any more is forgotten each second, also between the look of a request and its question: the answer was given to an entry
    /// that nobody could find, and the caller was told that the provider cannot be asked.
    #[tokio::test]
    async fn an_answer_is_found_by_who_asked_though_the_entry_was_forgotten_meanwhile() {
        let cache = Cache::new(100, 10);
        ask(&cache, 1, NOW);
        drop(cache.next().await);
        assert!(cache.get(&hash(1)).is_some(), "the caller has found it, with nothing known");
        cache.evict(NOW + 2_000);
        assert!(cache.get(&hash(1)).is_none());
        ask(&cache, 1, NOW + 2_000);
        cache.evict(NOW + 2_000);
        let job = cache.next().await;
        job.found(Verdict::Inactive(Refusal::invalid("no")), NOW + 2_000, Duration::from_secs(60));
        assert!(cache.get(&hash(1)).and_then(|entry| entry.young(NOW + 2_001)).is_some());
    }

    #[tokio::test]
    async fn what_is_asked_for_is_kept_however_full_it_is() {
        let cache = Cache::new(4, 100);
        (0..20).for_each(|n| ask(&cache, n, NOW + i64::from(n)));
        cache.evict(NOW + 10_000);
        assert_eq!(cache.len(), 20, "all are asked for");
        for _ in 0..20 {
            let job = cache.next().await;
            job.found(Verdict::Inactive(Refusal::invalid("no")), NOW, Duration::from_secs(60));
        }
        cache.evict(NOW + 10_000);
        assert_eq!(cache.len(), 4);
    }
}
