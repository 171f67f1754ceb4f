//! Tokens that were verified, so that a caller who comes again costs one hash instead of one signature.
//!
//! Only success is remembered, and never longer than the token holds. What a principal may do is not remembered: that
//! is decided anew on every request. A token is remembered for the set of keys that verified it, and a cache belongs to one
//! [`Authenticator`](crate::Authenticator), of which a reload builds a new one. So no token outlives a removed key.
//!
//! A lookup takes no lock and allocates nothing. An insertion takes one, which a signature verification just paid for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use papaya::HashMap;
use portcullis_policy::Principal;

use crate::binding::Terms;
use crate::secret::sha256;

/// How many entries an insertion looks at before it evicts one in use. It bounds the time that the lock is held.
const MAX_SWEEP: usize = 64;

/// SHA-256 of a token's text. Tokens are looked up by it, so that none is kept in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TokenHash(pub(crate) [u8; 32]);

impl TokenHash {
    pub(crate) fn of(token: &str) -> Self {
        Self(sha256(token.as_bytes()))
    }

    /// What stands for a secret that could be guessed: a hash with a key, so that it cannot.
    pub(crate) fn keyed(mark: [u8; 32]) -> Self {
        Self(mark)
    }
}

/// Which provider verified which token, with which set of its keys. Fields of fixed size: no two of them are encoded alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct CacheKey {
    pub(crate) provider: (usize, u64),
    pub(crate) token: TokenHash,
}

/// A bounded map from verified tokens to their principals. Memory: its capacity times the size of a principal, which
/// the size of a token bounds (16 KiB, typically under 1 KiB).
#[derive(Debug)]
pub(crate) struct TokenCache {
    tokens: HashMap<CacheKey, CachedToken>,
    ring: Mutex<Ring>,
    capacity: usize,
}

#[derive(Debug)]
struct CachedToken {
    principal: Arc<Principal>,
    terms: Terms,
    valid_from: Timestamp,
    valid_before: Timestamp,
    /// Looked up since the hand last passed.
    used: AtomicBool,
}

/// The clock of the eviction: every key of the map has a slot here, so the map never outgrows the slots.
#[derive(Debug, Default)]
struct Ring {
    slots: Vec<CacheKey>,
    hand: usize,
}

impl TokenCache {
    /// `capacity` is at least 1.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { tokens: HashMap::new(), ring: Mutex::default(), capacity: capacity.max(1) }
    }

    /// What becomes of a token that was verified and holds now.
    pub(crate) fn look<R>(
        &self,
        key: &CacheKey,
        now: Timestamp,
        then: impl FnOnce(&Arc<Principal>, &Terms) -> R,
    ) -> Option<R> {
        let tokens = self.tokens.pin();
        let cached = tokens.get(key)?;
        if now >= cached.valid_before {
            tokens.remove(key);
            return None;
        }
        if now < cached.valid_from {
            return None;
        }
        // Reading first keeps the cache line shared among the cores that use the same token.
        if !cached.used.load(Ordering::Relaxed) {
            cached.used.store(true, Ordering::Relaxed);
        }
        Some(then(&cached.principal, &cached.terms))
    }

    #[cfg(test)]
    fn get(&self, key: &CacheKey, now: Timestamp) -> Option<Arc<Principal>> {
        self.look(key, now, |principal, _| Arc::clone(principal))
    }

    /// Remembers a verified token from `valid_from` until before `valid_before`.
    pub(crate) fn insert(
        &self,
        key: CacheKey,
        (principal, terms): (Arc<Principal>, Terms),
        valid_from: Timestamp,
        valid_before: Timestamp,
    ) {
        let cached = CachedToken { principal, terms, valid_from, valid_before, used: AtomicBool::new(false) };
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let tokens = self.tokens.pin();
        if !tokens.contains_key(&key) {
            if ring.slots.len() < self.capacity {
                ring.slots.push(key);
            } else {
                let victim = ring.replace(key, |key| {
                    tokens.get(key).is_some_and(|cached| cached.used.swap(false, Ordering::Relaxed))
                });
                if let Some(victim) = victim {
                    tokens.remove(&victim);
                }
            }
        }
        // Still under the lock: the map's keys are always a subset of the slots.
        tokens.insert(key, cached);
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.tokens.pin().iter().count()
    }
}

impl Ring {
    /// Puts a key in the place of the first one that was not used since the hand last passed; returns that one.
    fn replace(&mut self, key: CacheKey, mut take_used: impl FnMut(&CacheKey) -> bool) -> Option<CacheKey> {
        for _ in 0..MAX_SWEEP {
            match self.slots.get(self.hand) {
                Some(slot) if take_used(slot) => self.advance(),
                _ => break,
            }
        }
        let victim = self.slots.get_mut(self.hand).map(|slot| std::mem::replace(slot, key));
        self.advance();
        victim
    }

    fn advance(&mut self) {
        self.hand = (self.hand + 1) % self.slots.len().max(1);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;
    use portcullis_policy::Principal;

    use super::{CacheKey, TokenCache, TokenHash};
    use crate::binding::Terms;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn key(provider: usize, token: &str) -> CacheKey {
        CacheKey { provider: (provider, 0), token: TokenHash::of(token) }
    }

    fn principal(id: &str) -> Arc<Principal> {
        Arc::new(Principal::user(id))
    }

    fn remember(cache: &TokenCache, token: &str) {
        cache.insert(key(0, token), (principal(token), Terms::default()), at(10), at(20));
    }

    fn knows(cache: &TokenCache, token: &str) -> bool {
        cache.get(&key(0, token), at(15)).is_some()
    }

    #[test]
    fn a_token_is_known_only_while_it_holds() {
        for (now, expected) in [(9, false), (10, true), (19, true), (20, false), (21, false)] {
            let cache = TokenCache::new(4);
            remember(&cache, "a");
            assert_eq!(cache.get(&key(0, "a"), at(now)).is_some(), expected, "at {now}");
        }
    }

    #[test]
    fn an_expired_token_is_dropped_and_an_early_one_is_not() {
        let cache = TokenCache::new(4);
        remember(&cache, "a");
        assert!(cache.get(&key(0, "a"), at(9)).is_none());
        assert!(knows(&cache, "a"));
        assert!(cache.get(&key(0, "a"), at(20)).is_none());
        assert_eq!(cache.len(), 0);
    }

    #[test]
    fn a_token_is_known_to_its_provider_alone() {
        let cache = TokenCache::new(4);
        remember(&cache, "a");
        assert!(cache.get(&key(1, "a"), at(15)).is_none());
        assert!(!knows(&cache, "b"));
    }

    #[test]
    fn a_burst_never_grows_the_cache_past_its_bound() {
        let cache = TokenCache::new(8);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let cache = &cache;
                scope.spawn(move || {
                    for number in 0..500 {
                        remember(cache, &format!("{thread}-{number}"));
                        // Keys that come back, and lookups that compete with evictions.
                        remember(cache, "common");
                        knows(cache, "common");
                        let _ = cache.get(&key(0, &format!("{thread}-{number}")), at(20));
                    }
                });
            }
        });
        assert!(cache.len() <= 8, "{}", cache.len());
    }

    #[test]
    fn the_newest_token_is_always_kept() {
        for capacity in [0, 1, 2, 100] {
            let cache = TokenCache::new(capacity);
            for number in 0..300 {
                let token = number.to_string();
                remember(&cache, &token);
                assert!(knows(&cache, &token), "capacity {capacity}, token {number}");
                assert!(cache.len() <= capacity.max(1));
            }
        }
    }

    #[test]
    fn a_token_in_use_outlives_those_that_are_not() {
        let cache = TokenCache::new(8);
        remember(&cache, "busy");
        for number in 0..100 {
            assert!(knows(&cache, "busy"), "before token {number}");
            remember(&cache, &number.to_string());
        }
        assert!(!knows(&cache, "0"));
    }

    #[test]
    fn remembering_a_token_again_takes_no_second_place() {
        let cache = TokenCache::new(2);
        remember(&cache, "a");
        for _ in 0..10 {
            remember(&cache, "b");
        }
        assert!(knows(&cache, "a") && knows(&cache, "b"));
    }
}
