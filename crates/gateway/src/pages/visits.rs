//! The visits of the pages that ask who it is: one of a principal after the other, and not too often, as [`rate`] counts it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use portcullis_policy::{Principal, PrincipalKind};
use portcullis_proxy::rate::{self, Cell, Pace, Taken};

/// So many visits in the window, and as many at once.
const VISITS: u64 = 60;
/// The window.
const WINDOW: Duration = Duration::from_secs(60);
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
#[derive(Debug, Clone)]
pub(super) struct Visits {
    pace: Pace,
    all: Arc<Mutex<HashMap<Who, One>>>,
}

#[derive(Debug, Default)]
struct One {
    /// What it used, on the clock that nobody sets.
    cell: Cell,
    is_here: bool,
}

/// A visit under way; dropped, it is over.
#[derive(Debug)]
pub(super) struct Turn {
    visits: Visits,
    who: Who,
}

impl Default for Visits {
    fn default() -> Self {
        Self { pace: Pace::new(VISITS, WINDOW, VISITS), all: Arc::default() }
    }
}

impl Visits {
    /// Takes a turn for one visit. `now` is on the clock that nobody sets.
    ///
    /// # Errors
    /// It is not its turn: nothing was used up.
    pub(super) fn take(&self, principal: &Principal, now: Timestamp) -> Result<Turn, OutOfTurn> {
        let now_ns = u64::try_from(now.as_nanosecond()).unwrap_or_default();
        let who = (principal.kind, principal.id.clone());
        let mut all = self.all();
        if all.len() >= MOST && !all.contains_key(&who) {
            all.retain(|_, one| one.is_here || !one.cell.is_unused(now_ns));
            if all.len() >= MOST {
                return Err(OutOfTurn::TooMany);
            }
        }
        let one = all.entry(who.clone()).or_default();
        if one.is_here {
            return Err(OutOfTurn::TooOften { retry_after_s: 1 });
        }
        if let Taken::Over { wait_ns } = self.pace.take(&one.cell, now_ns) {
            return Err(OutOfTurn::TooOften { retry_after_s: rate::seconds(wait_ns).max(1) });
        }
        one.is_here = true;
        drop(all);
        Ok(Turn { visits: self.clone(), who })
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Who, One>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(one) = self.visits.all().get_mut(&self.who) {
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
        let visits = Visits::default();
        let (alice, bob) = (Principal::user("alice"), Principal::user("bob"));
        let here = visits.take(&alice, at(0)).unwrap();
        assert_eq!(visits.take(&alice, at(0)).unwrap_err(), OutOfTurn::TooOften { retry_after_s: 1 });
        assert!(visits.take(&bob, at(0)).is_ok() && visits.take(&Principal::service("alice"), at(0)).is_ok());
        drop(here);
        for _ in 1..60 {
            visits.take(&alice, at(0)).unwrap();
        }
        // Whoever comes when it is told to is let in.
        assert_eq!(visits.take(&alice, at(0)).unwrap_err(), OutOfTurn::TooOften { retry_after_s: 1 });
        assert!(visits.take(&bob, at(0)).is_ok());
        assert!(
            visits.take(&alice, at(1)).is_ok()
                && visits.take(&alice, at(1)).is_err()
                && visits.take(&alice, at(2)).is_ok()
        );
    }

    #[test]
    fn so_many_are_counted_and_who_has_not_come_of_late_makes_room() {
        let visits = Visits::default();
        for n in 0..MOST {
            visits.take(&Principal::user(&n.to_string()), at(0)).unwrap();
        }
        assert_eq!(visits.take(&Principal::user("late"), at(0)).unwrap_err(), OutOfTurn::TooMany);
        assert!(visits.take(&Principal::user("late"), at(1)).is_ok());
        assert_eq!(visits.all().len(), 1);
    }
}
