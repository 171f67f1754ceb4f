//! What was refused lately and may be asked for: kept for an hour in memory, so that whoever asks names an event and nobody has to believe what they say of it.
//!
//! Only refusals on resources that are `requestable` come here, of verified principals, and for the want of a grant. A refusal there takes a lock for some
//! hundred nanoseconds; nothing else does.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use portcullis_policy::{KeptRequest, Principal};
use uuid::Uuid;

/// A refusal that may be asked about.
#[derive(Debug, Clone)]
pub struct Refused {
    /// The id of its event.
    pub id: Uuid,
    /// Whose request it was, as a policy writes it.
    pub principal: Box<str>,
    /// What was asked, and all that the decision rested on.
    pub request: KeptRequest,
    /// The route, by name.
    pub route: Box<str>,
    /// Why it was refused, for the operator.
    pub message: Box<str>,
    /// By the clock that nobody sets.
    at: Timestamp,
}

/// The refusals that may be asked about.
#[derive(Debug, Default)]
pub struct Requestable(Mutex<HashMap<Box<str>, VecDeque<Refused>>>);

/// How long one may be asked about.
pub const KEPT: SignedDuration = SignedDuration::from_hours(1);
/// Of one principal; a further one takes the place of the oldest.
pub const OF_ONE: usize = 16;
/// Principals; of a further one nothing is kept.
const PRINCIPALS: usize = 2_048;

impl Requestable {
    fn table(&self) -> MutexGuard<'_, HashMap<Box<str>, VecDeque<Refused>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps one.
    pub(crate) fn note(
        &self,
        id: Uuid,
        principal: &Principal,
        request: KeptRequest,
        [route, message]: [&str; 2],
        steady_now: Timestamp,
    ) -> bool {
        let principal: Box<str> = principal.reference().into();
        let mut table = self.table();
        if !table.contains_key(&principal) && table.len() >= PRINCIPALS {
            table.retain(|_, refused| refused.back().is_some_and(|last| steady_now.duration_since(last.at) < KEPT));
            if table.len() >= PRINCIPALS {
                return false;
            }
        }
        let of_it = table.entry(principal.clone()).or_default();
        if of_it.len() >= OF_ONE {
            of_it.pop_front();
        }
        let (route, message) = (route.into(), message.into());
        of_it.push_back(Refused { id, principal, request, route, message, at: steady_now });
        true
    }

    /// The same of one principal, who learns nothing of what others were refused.
    pub fn find_of(&self, principal: &str, id: Uuid, steady_now: Timestamp) -> Option<Refused> {
        let table = self.table();
        let mut of_it = table.get(principal)?.iter();
        of_it.find(|refused| refused.id == id && steady_now.duration_since(refused.at) < KEPT).cloned()
    }

    /// The one whose event is called so, where it is not too long ago.
    pub fn find(&self, id: Uuid, steady_now: Timestamp) -> Option<Refused> {
        let table = self.table();
        let mut all = table.values().flatten();
        all.find(|refused| refused.id == id && steady_now.duration_since(refused.at) < KEPT).cloned()
    }
}

#[cfg(test)]
mod tests {
    use portcullis_policy::KeptText;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn request() -> KeptRequest {
        KeptRequest::new(KeptText { method: "GET", host: "a.test", path: "/x", software: "" }, at(0)).unwrap()
    }

    fn note(requestable: &Requestable, who: &str, seconds: i64) -> Option<Uuid> {
        let id = Uuid::now_v7();
        requestable.note(id, &Principal::user(who), request(), ["app", "no grant"], at(seconds)).then_some(id)
    }

    #[test]
    fn what_was_refused_lately_is_found_by_its_event_and_so_many_of_one() {
        let requestable = Requestable::default();
        let first = note(&requestable, "alice", 0).unwrap();
        assert_eq!(&*requestable.find(first, at(3_599)).unwrap().principal, "user:alice");
        assert!(requestable.find(first, at(3_600)).is_none());
        assert!(requestable.find_of("user:alice", first, at(3_599)).is_some());
        assert!(requestable.find_of("user:alice", first, at(3_600)).is_none());
        assert!(requestable.find_of("user:bert", first, at(0)).is_none(), "it is another's");
        assert!(requestable.find(Uuid::now_v7(), at(0)).is_none());
        let later: Vec<Uuid> = (0..OF_ONE).map(|_| note(&requestable, "alice", 1).unwrap()).collect();
        assert!(requestable.find(first, at(1)).is_none(), "the oldest went");
        assert!(later.iter().all(|id| requestable.find(*id, at(1)).is_some()));
    }

    #[test]
    fn of_too_many_principals_nothing_is_kept_until_others_are_old() {
        let requestable = Requestable::default();
        for who in 0..PRINCIPALS {
            note(&requestable, &format!("u{who}"), 0).unwrap();
        }
        assert!(note(&requestable, "late", 10).is_none());
        assert!(note(&requestable, "u0", 10).is_some(), "who is known goes on");
        assert!(note(&requestable, "late", 3_600).is_some());
    }
}
