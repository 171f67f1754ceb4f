//! Whose turn it is on the pages that ask who it is: one visit of a principal after the other, and not too often (a generic cell rate, ATM Forum TM 4.0).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use portcullis_policy::{Principal, PrincipalKind};

/// One visit in this time,
const EACH: SignedDuration = SignedDuration::from_secs(1);
/// and so much ahead of it: sixty at once.
const AHEAD: SignedDuration = SignedDuration::from_secs(60);
/// Principals that are counted at once. Who has not come for a minute is not.
const MOST: usize = 8_192;

/// Why it is not its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OutOfTurn {
    /// It comes too often, or a visit of it is under way.
    TooOften {
        /// When it is; at least 1.
        retry_after_s: u64,
    },
    /// No more principals can be counted.
    TooMany,
}

type Who = (PrincipalKind, Box<str>);

/// Whose turn it is.
#[derive(Debug, Clone, Default)]
pub(super) struct Turns(Arc<Mutex<HashMap<Who, One>>>);

#[derive(Debug, Clone, Copy)]
struct One {
    /// When all that it used has come back, on the clock that nobody sets.
    until: Timestamp,
    is_here: bool,
}

/// A visit under way; dropped, it is over.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Turns,
    who: Who,
}

impl Turns {
    /// Takes a turn for one visit. `now` is on the clock that nobody sets.
    ///
    /// # Errors
    /// It is not its turn: nothing was used up.
    pub(super) fn take(&self, principal: &Principal, now: Timestamp) -> Result<Turn, OutOfTurn> {
        let who = (principal.kind, principal.id.clone());
        let mut all = self.all();
        if all.len() >= MOST && !all.contains_key(&who) {
            all.retain(|_, one| one.is_here || one.until > now);
            if all.len() >= MOST {
                return Err(OutOfTurn::TooMany);
            }
        }
        let one = all.entry(who.clone()).or_insert(One { until: now, is_here: false });
        let until = one.until.max(now).saturating_add(EACH).unwrap_or(Timestamp::MAX);
        let early = until.duration_since(now).saturating_sub(AHEAD);
        if one.is_here || early.is_positive() {
            let retry_after_s = u64::try_from(early.as_secs()).unwrap_or_default().saturating_add(1);
            return Err(OutOfTurn::TooOften { retry_after_s });
        }
        *one = One { until, is_here: true };
        drop(all);
        Ok(Turn { turns: self.clone(), who })
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Who, One>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(one) = self.turns.all().get_mut(&self.who) {
            one.is_here = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    #[test]
    fn one_visit_of_each_at_once_and_sixty_and_then_one_a_second() {
        let turns = Turns::default();
        let (alice, bob) = (Principal::user("alice"), Principal::user("bob"));
        let here = turns.take(&alice, at(0)).unwrap();
        assert_eq!(turns.take(&alice, at(0)).unwrap_err(), OutOfTurn::TooOften { retry_after_s: 1 });
        assert!(turns.take(&bob, at(0)).is_ok() && turns.take(&Principal::service("alice"), at(0)).is_ok());
        drop(here);
        for _ in 1..60 {
            turns.take(&alice, at(0)).unwrap();
        }
        assert_eq!(turns.take(&alice, at(0)).unwrap_err(), OutOfTurn::TooOften { retry_after_s: 2 });
        assert!(turns.take(&bob, at(0)).is_ok());
        assert!(
            turns.take(&alice, at(1)).is_ok()
                && turns.take(&alice, at(1)).is_err()
                && turns.take(&alice, at(2)).is_ok()
        );
    }

    #[test]
    fn so_many_are_counted_and_who_has_not_come_of_late_makes_room() {
        let turns = Turns::default();
        for n in 0..MOST {
            turns.take(&Principal::user(&n.to_string()), at(0)).unwrap();
        }
        assert_eq!(turns.take(&Principal::user("late"), at(0)).unwrap_err(), OutOfTurn::TooMany);
        assert!(turns.take(&Principal::user("late"), at(1)).is_ok());
        assert_eq!(turns.all().len(), 1);
    }
}
