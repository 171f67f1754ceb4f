//! What may be used once: the `jti` of a logout token, the login that a code is for. Bounded: where it is full, nothing counts as new.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use crate::secret::sha256;

/// What was used, until when it could be used again.
#[derive(Debug, Default)]
pub struct Replays(Mutex<HashMap<[u8; 32], Timestamp>>);

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

/// How many are noted. What is noted holds for minutes and each needs a provider's signature or a login, so it is far more than there are.
const MOST: usize = 65_536;

impl Replays {
    /// Uses it: `kind` and `text` are what it is, and after `until` it is refused anyway.
    pub fn take(&self, kind: &str, text: &str, until: Timestamp, now: Timestamp) -> Replay {
        let key = sha256(format!("{kind}\0{text}").as_bytes());
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if used.get(&key).is_some_and(|until| now < *until) {
            return Replay::Again;
        }
        if used.len() >= MOST {
            used.retain(|_, until| now < *until);
            if used.len() >= MOST {
                return Replay::Full;
            }
        }
        used.insert(key, until);
        Replay::First
    }
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
}
