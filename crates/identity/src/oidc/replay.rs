//! What may be used once: the `jti` of a logout token, the login that a code is for. Bounded: where it is full, nothing counts as new.
//!
//! What has to be asked about first, as a login at its provider, is [reserved](Replays::reserve) meanwhile: it takes a place for good only once it has turned out to be
//! what it says. So nobody fills the memory with logins that nobody has made.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::secret::sha256;

/// What was used, until when it could be used again.
#[derive(Debug, Default)]
pub struct Replays(Mutex<Used>);

#[derive(Debug, Default)]
struct Used {
    until: HashMap<[u8; 32], Timestamp>,
    /// What is being asked about. Bounded by how many can be asked about at once.
    reserved: HashSet<[u8; 32]>,
}

/// Whether something is used for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// It is, and is noted.
    First,
    /// It was used before.
    Again,
    /// Nobody can say: too much is noted already.
    Full,
}

/// Something that nobody else can use meanwhile. Dropped, it was not used. It goes along with the work that it is for, whoever waits for that.
#[derive(Debug)]
pub struct Reserved {
    replays: Arc<Replays>,
    key: [u8; 32],
}

/// Why something is not reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreserved {
    /// It was used before.
    Used,
    /// Somebody has it now, and may or may not use it.
    Taken,
}

/// How many are noted. What is noted holds for minutes and each has a provider's signature or is a login that a provider has confirmed, so it is far more than there are.
const MOST: usize = 65_536;

impl Replays {
    /// Uses it: `kind` and `text` are what it is, and after `until` it is refused anyway.
    pub fn take(&self, kind: &str, text: &str, until: Timestamp, now: Timestamp) -> Replay {
        self.used().note(key(kind, text), until, now)
    }

    /// Keeps it from others until it is known whether it is to be used.
    ///
    /// # Errors
    /// It was used before, or somebody else has it now.
    pub fn reserve(self: &Arc<Self>, kind: &str, text: &str, now: Timestamp) -> Result<Reserved, Unreserved> {
        let key = key(kind, text);
        let mut used = self.used();
        if used.until.get(&key).is_some_and(|until| now < *until) {
            return Err(Unreserved::Used);
        }
        if !used.reserved.insert(key) {
            return Err(Unreserved::Taken);
        }
        Ok(Reserved { replays: Arc::clone(self), key })
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reserved {
    /// Uses it; after `until` it is refused anyway.
    pub fn take(self, until: Timestamp, now: Timestamp) -> Replay {
        let mut used = self.replays.used();
        let replay = used.note(self.key, until, now);
        // It is locked again when this is dropped.
        drop(used);
        replay
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.replays.used().reserved.remove(&self.key);
    }
}

impl Used {
    fn note(&mut self, key: [u8; 32], until: Timestamp, now: Timestamp) -> Replay {
        if self.until.get(&key).is_some_and(|until| now < *until) {
            return Replay::Again;
        }
        if self.until.len() >= MOST {
            self.until.retain(|_, until| now < *until);
            if self.until.len() >= MOST {
                return Replay::Full;
            }
        }
        self.until.insert(key, until);
        Replay::First
    }
}

fn key(kind: &str, text: &str) -> [u8; 32] {
    sha256(format!("{kind}\0{text}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn what_was_used_is_used_until_its_time_is_over() {
        let replays = Replays::default();
        assert_eq!(replays.take("jti", "a", at(10), at(0)), Replay::First);
        assert_eq!(replays.take("jti", "a", at(10), at(9)), Replay::Again);
        assert_eq!(replays.take("login", "a", at(10), at(9)), Replay::First);
        assert_eq!(replays.take("jti", "b", at(10), at(9)), Replay::First);
        assert_eq!(replays.take("jti", "a", at(20), at(10)), Replay::First);
    }

    #[test]
    fn where_it_is_full_nothing_is_new() {
        let replays = Replays::default();
        for number in 0..MOST {
            assert_eq!(replays.take("jti", &number.to_string(), at(10), at(0)), Replay::First);
        }
        assert_eq!(replays.take("jti", "one more", at(10), at(0)), Replay::Full);
        assert_eq!(replays.take("jti", "0", at(10), at(0)), Replay::Again);
        assert_eq!(replays.take("jti", "one more", at(20), at(10)), Replay::First, "those of before have run out");
    }

    #[test]
    fn what_is_reserved_is_used_by_one_or_by_nobody() {
        let replays = Arc::<Replays>::default();
        let reserved = replays.reserve("login", "a", at(0)).unwrap();
        assert_eq!(replays.reserve("login", "a", at(0)).err(), Some(Unreserved::Taken), "somebody has it");
        drop(reserved);
        let reserved = replays.reserve("login", "a", at(1)).expect("it was not used");
        assert_eq!(reserved.take(at(10), at(1)), Replay::First);
        assert_eq!(replays.reserve("login", "a", at(9)).err(), Some(Unreserved::Used), "it was used");
        assert!(replays.reserve("login", "a", at(10)).is_ok(), "its time is over");
        // However many come to nothing, there is room for what is used.
        for number in 0..=MOST {
            drop(replays.reserve("login", &number.to_string(), at(0)).unwrap());
        }
        assert_eq!(replays.take("login", "b", at(10), at(0)), Replay::First);
    }
}
