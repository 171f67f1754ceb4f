//! What was refused lately and may be asked for: kept for an hour in memory, so that whoever asks names an event and nobody has to believe what they say of it.
//!
//! Only refusals on resources that are `requestable` come here, of verified principals, and for the want of a grant. A refusal there takes no lock and looks at a fixed
//! number of places, however much is kept: a table of rings, one for each principal, which stands at one of the few places that its name leads to.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
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
pub struct Requestable {
    /// With a secret of the process, so that nobody can choose names that meet.
    hashing: RandomState,
    /// Made for the first of them. Of each principal one ring.
    places: OnceLock<Box<[ArcSwapOption<Ring>]>>,
    /// When it was swept last, in microseconds on the clock that nobody sets.
    swept: AtomicI64,
}

/// The last refusals of one principal.
#[derive(Debug)]
struct Ring {
    principal: Box<str>,
    kept: [ArcSwapOption<Refused>; OF_ONE],
    /// Where the next one goes.
    next: AtomicUsize,
    /// When the last one was added, in microseconds on the clock that nobody sets.
    last: AtomicI64,
}

/// How long one may be asked about.
pub const KEPT: SignedDuration = SignedDuration::from_hours(1);
/// Of one principal; a further one takes the place of the oldest.
pub const OF_ONE: usize = 16;
/// Principals, at most; of a further one nothing is kept.
const PRINCIPALS: usize = 4_096;
/// Places that a principal may have: of one who finds them all taken nothing is kept until others' refusals are old.
const WINDOW: usize = 16;
/// How often a free place is looked for where another thread takes it at the same moment.
const TRIES: usize = 3;
/// How often it is swept.
const SWEEP_EVERY: SignedDuration = SignedDuration::from_mins(1);

impl Ring {
    fn of(principal: &str) -> Self {
        Self {
            principal: principal.into(),
            kept: std::array::from_fn(|_| ArcSwapOption::empty()),
            next: AtomicUsize::new(0),
            last: AtomicI64::new(i64::MIN),
        }
    }

    fn add(&self, refused: Arc<Refused>) {
        self.last.fetch_max(refused.at.as_microsecond(), Ordering::Relaxed);
        let place = self.next.fetch_add(1, Ordering::Relaxed) % OF_ONE;
        if let Some(place) = self.kept.get(place) {
            place.store(Some(refused));
        }
    }

    /// Nothing in it may be asked about any more.
    fn is_over(&self, steady_now: Timestamp) -> bool {
        let age = steady_now.as_microsecond().saturating_sub(self.last.load(Ordering::Relaxed));
        SignedDuration::from_micros(age) >= KEPT
    }

    /// Lets go of what may not be asked about any more.
    fn sweep(&self, steady_now: Timestamp) {
        for place in &self.kept {
            let found = place.load();
            if found.as_ref().is_some_and(|refused| steady_now.duration_since(refused.at) >= KEPT) {
                // Where another one has just come there, that stays.
                place.compare_and_swap(&found, None);
            }
        }
    }

    fn find(&self, id: Uuid, steady_now: Timestamp) -> Option<Refused> {
        let mut all = self.kept.iter().filter_map(ArcSwapOption::load_full);
        let found = all.find(|refused| refused.id == id && steady_now.duration_since(refused.at) < KEPT)?;
        Some(Refused::clone(&found))
    }
}

impl Requestable {
    /// The places of one principal.
    fn window<'p>(
        &self,
        places: &'p [ArcSwapOption<Ring>],
        principal: &str,
    ) -> impl Iterator<Item = &'p ArcSwapOption<Ring>> + use<'p> {
        let hash = self.hashing.hash_one(principal);
        let first = usize::try_from(hash % PRINCIPALS as u64).unwrap_or(0);
        places.iter().cycle().skip(first).take(WINDOW.min(places.len()))
    }

    /// Keeps one; `false`: there is no room.
    pub(crate) fn note(
        &self,
        id: Uuid,
        principal: &Principal,
        request: KeptRequest,
        [route, message]: [&str; 2],
        steady_now: Timestamp,
    ) -> bool {
        let principal: Box<str> = principal.reference().into();
        let (route, message) = (route.into(), message.into());
        let refused = Arc::new(Refused { id, principal: principal.clone(), request, route, message, at: steady_now });
        let places = self.places.get_or_init(|| (0..PRINCIPALS).map(|_| ArcSwapOption::empty()).collect());
        for _ in 0..TRIES {
            let mut free = None;
            for place in self.window(places, &principal) {
                let found = place.load();
                match &*found {
                    Some(ring) if ring.principal == principal => {
                        // Where it was over and somebody takes its place at this very moment, this one is lost: it is asked about again after the next refusal.
                        ring.add(refused);
                        return true;
                    }
                    Some(ring) if !ring.is_over(steady_now) => {}
                    Some(_) | None => free = free.or(Some((place, found))),
                }
            }
            let Some((place, found)) = free else { return false };
            let ring = Ring::of(&principal);
            ring.add(Arc::clone(&refused));
            let before = place.compare_and_swap(&found, Some(Arc::new(ring)));
            let is_mine = before.as_ref().map(Arc::as_ptr) == found.as_ref().map(Arc::as_ptr);
            if is_mine {
                return true;
            }
        }
        false
    }

    /// Lets go of what may not be asked about any more, once a minute, whoever comes: what somebody was refused is not held for longer than it is of use to them. Called each second.
    pub(crate) fn tend(&self, steady_now: Timestamp) {
        let Some(places) = self.places.get() else { return };
        let since = steady_now.as_microsecond().saturating_sub(self.swept.load(Ordering::Relaxed));
        if SignedDuration::from_micros(since) < SWEEP_EVERY {
            return;
        }
        self.swept.store(steady_now.as_microsecond(), Ordering::Relaxed);
        for place in places {
            let found = place.load();
            match &*found {
                // One that is added to it at this very moment is lost, as where somebody takes its place.
                Some(ring) if ring.is_over(steady_now) => drop(place.compare_and_swap(&found, None)),
                Some(ring) => ring.sweep(steady_now),
                None => {}
            }
        }
    }

    /// The one of this principal whose event is called so, who learns nothing of what others were refused, where it is not too long ago.
    pub fn find_of(&self, principal: &str, id: Uuid, steady_now: Timestamp) -> Option<Refused> {
        let rings = self.window(self.places.get()?, principal).filter_map(ArcSwapOption::load_full);
        rings.filter(|ring| *ring.principal == *principal).find_map(|ring| ring.find(id, steady_now))
    }

    /// The one whose event is called so, whoever's it is: for operators, since it looks at all.
    pub fn find(&self, id: Uuid, steady_now: Timestamp) -> Option<Refused> {
        let rings = self.places.get()?.iter().filter_map(ArcSwapOption::load_full);
        rings.into_iter().find_map(|ring| ring.find(id, steady_now))
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
        let all: Vec<(String, Uuid)> = (0..4 * PRINCIPALS)
            .map(|n| format!("u{n}"))
            .filter_map(|who| Some((who.clone(), note(&requestable, &who, 0)?)))
            .collect();
        // A few places at the ends of no window may stay free.
        assert!((PRINCIPALS * 9 / 10..=PRINCIPALS).contains(&all.len()), "{} of {PRINCIPALS}", all.len());
        let is_kept = |(who, id): &(String, Uuid)| requestable.find_of(&format!("user:{who}"), *id, at(1)).is_some();
        assert!(all.iter().all(is_kept), "and nobody takes another's place");
        let late = (0..).map(|n| format!("late{n}")).find(|who| note(&requestable, who, 10).is_none()).unwrap();
        assert!(note(&requestable, &all[0].0, 10).is_some(), "who is known goes on");
        assert!(note(&requestable, &late, 3_600).is_some());
    }

    #[test]
    fn what_may_not_be_asked_about_any_more_is_let_go_whoever_comes() {
        let requestable = Requestable::default();
        requestable.tend(at(0));
        for (who, seconds) in [("alice", 0), ("bert", 0), ("bert", 10)] {
            note(&requestable, who, seconds).unwrap();
        }
        let held = || {
            let rings = requestable.places.get().unwrap().iter().filter_map(ArcSwapOption::load_full);
            let held = |ring: &Arc<Ring>| ring.kept.iter().filter(|place| place.load().is_some()).count();
            let mut all: Vec<_> = rings.map(|ring| (ring.principal.to_string(), held(&ring))).collect();
            all.sort();
            all
        };
        let of = |who: &str, count| (format!("user:{who}"), count);
        requestable.tend(at(3_599));
        assert_eq!(held(), [of("alice", 1), of("bert", 2)]);
        requestable.tend(at(3_600));
        assert_eq!(held(), [of("alice", 1), of("bert", 2)], "once a minute");
        requestable.tend(at(3_599 + 60));
        assert_eq!(held(), []);
        note(&requestable, "bert", 4_000).unwrap();
        note(&requestable, "bert", 4_100).unwrap();
        requestable.tend(at(4_000 + 3_600));
        assert_eq!(held(), [of("bert", 1)], "what is old goes, and what is not stays");
    }

    #[test]
    fn threads_that_note_at_once_lose_nothing() {
        let requestable = Requestable::default();
        let noted: Vec<(String, Uuid)> = std::thread::scope(|scope| {
            let of_thread = |thread: usize| {
                let requestable = &requestable;
                move || {
                    // Two of each principal from each of eight threads: as many as are kept of one.
                    let each = (0..200).chain(0..200).map(|who| format!("u{who}"));
                    each.map(|who| (who.clone(), note(requestable, &who, thread as i64).unwrap())).collect::<Vec<_>>()
                }
            };
            let threads: Vec<_> = (0..8).map(|thread| scope.spawn(of_thread(thread))).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(noted.len(), 200 * OF_ONE);
        for (who, id) in noted {
            assert!(requestable.find_of(&format!("user:{who}"), id, at(8)).is_some(), "{who}");
        }
    }
}
