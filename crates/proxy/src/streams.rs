//! What may live long on one worker: tunnels, answers that stream, requests that wait. Each is decided on again now and then,
//! and told when the gateway goes.
//!
//! An ordinary request costs a place in a table while it waits for its upstream, and no timer. The worker looks through the
//! table each second and wakes what is due; the woken task itself decides, on the facts that it owns. So nothing is shared, and
//! a request that is over within seconds is never looked at twice.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::snapshot::Snapshot;
use crate::worker::Worker;

/// What a stream is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// Find out whether it is still permitted, and say so by [`Watch::permitted`], or end.
    Recheck,
    /// The gateway stops now.
    Stop,
}

/// How long a request is left alone when the policy changes. Most are over by then.
const SETTLED_AFTER: Duration = Duration::from_secs(5);

/// The streams of one worker.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    table: RefCell<Table>,
}

#[derive(Debug, Default)]
struct Table {
    places: Vec<Option<Place>>,
    free: Vec<usize>,
    /// The configuration that was in force when the table was last looked through.
    seen: Option<Arc<Snapshot>>,
    /// What was lent then, by its generation.
    lent: u64,
}

#[derive(Debug)]
struct Place {
    waker: Waker,
    /// When it was last decided on.
    decided: Instant,
    /// That was under a configuration that is no longer in force.
    stale: bool,
    /// A tunnel: never to be left alone.
    tunnel: bool,
    word: Option<Word>,
}

impl Streams {
    /// Looks for what is due at `now`, when this configuration is in force and this is lent, and wakes it. Called each second.
    pub(crate) fn sweep(&self, now: Instant, in_force: &Arc<Snapshot>, lent: u64) {
        let recheck = in_force.settings.limits.recheck;
        let settled = recheck.min(SETTLED_AFTER);
        let mut table = self.table.borrow_mut();
        let before = table.seen.replace(Arc::clone(in_force));
        let lent_otherwise = std::mem::replace(&mut table.lent, lent) != lent;
        let changed = lent_otherwise || before.is_some_and(|before| !Arc::ptr_eq(&before, in_force));
        let mut due = Vec::new();
        for place in table.places.iter_mut().flatten().filter(|place| place.word.is_none()) {
            place.stale |= changed;
            let age = now.saturating_duration_since(place.decided);
            if age >= recheck || (place.stale && (place.tunnel || age >= settled)) {
                place.word = Some(Word::Recheck);
                due.push(place.waker.clone());
            }
        }
        drop(table);
        // A waker may run code, and must not find the table borrowed.
        due.into_iter().for_each(Waker::wake);
    }

    /// Tells all that the gateway stops.
    pub(crate) fn stop(&self) {
        let mut told = Vec::new();
        for place in self.table.borrow_mut().places.iter_mut().flatten() {
            place.word = Some(Word::Stop);
            told.push(place.waker.clone());
        }
        told.into_iter().for_each(Waker::wake);
    }

    /// How many there are.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.table.borrow().places.iter().flatten().count()
    }

    fn enter(&self, place: Place) -> usize {
        let table = &mut *self.table.borrow_mut();
        if let Some((index, free)) = table.free.pop().and_then(|index| Some((index, table.places.get_mut(index)?))) {
            *free = Some(place);
            return index;
        }
        table.places.push(Some(place));
        table.places.len() - 1
    }

    fn leave(&self, index: usize) {
        let table = &mut *self.table.borrow_mut();
        if let Some(place) = table.places.get_mut(index).filter(|place| place.is_some()) {
            *place = None;
            table.free.push(index);
        }
    }
}

/// One request's place among the streams, taken when it first has to wait and given back when this is dropped.
pub(crate) struct Watch {
    worker: Rc<Worker>,
    place: Option<usize>,
    decided: Instant,
    tunnel: bool,
}

impl Watch {
    /// For a request that was decided on at `decided`.
    pub(crate) fn new(worker: &Rc<Worker>, decided: Instant) -> Self {
        Self { worker: Rc::clone(worker), place: None, decided, tunnel: false }
    }

    /// It becomes a tunnel.
    pub(crate) fn becomes_tunnel(&mut self) {
        self.tunnel = true;
        self.with_place(|place| {
            place.tunnel = true;
            place.stale = true;
        });
    }

    /// Whose place it is.
    pub(crate) fn worker(&self) -> &Rc<Worker> {
        &self.worker
    }

    /// Whether it had to wait before.
    pub(crate) fn is_entered(&self) -> bool {
        self.place.is_some()
    }

    /// Ready with what it is told; else the task is woken when there is something. It stays ready until
    /// [`Self::permitted`].
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Word> {
        let Some(index) = self.place else {
            let (waker, decided, tunnel) = (cx.waker().clone(), self.decided, self.tunnel);
            // A tunnel may have been decided on under a configuration that was replaced before it came here.
            self.place = Some(self.worker.streams.enter(Place { waker, decided, stale: tunnel, tunnel, word: None }));
            return Poll::Pending;
        };
        let mut table = self.worker.streams.table.borrow_mut();
        let Some(Some(place)) = table.places.get_mut(index) else { return Poll::Pending };
        match place.word {
            Some(word) => Poll::Ready(word),
            None => {
                place.waker.clone_from(cx.waker());
                Poll::Pending
            }
        }
    }

    /// It was decided on again just now, and is permitted.
    pub(crate) fn permitted(&mut self) {
        self.decided = Instant::now();
        let decided = self.decided;
        self.with_place(|place| {
            place.decided = decided;
            place.stale = false;
            place.word = None;
        });
    }

    fn with_place(&self, change: impl FnOnce(&mut Place)) {
        let mut table = self.worker.streams.table.borrow_mut();
        if let Some(Some(place)) = self.place.and_then(|index| table.places.get_mut(index)) {
            change(place);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(index) = self.place {
            self.worker.streams.leave(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use portcullis_policy::{Activation, PrincipalKind};

    use super::*;
    use crate::layers::tests::worker;
    use crate::lending::LentTo;
    use crate::settings::Limits;

    /// A stream that has taken its place, `age` ago.
    fn entered(worker: &Rc<Worker>, age: Duration, tunnel: bool) -> Watch {
        let mut watch = Watch::new(worker, Instant::now().checked_sub(age).unwrap());
        watch.tunnel = tunnel;
        assert!(told(&mut watch).is_none());
        watch
    }

    fn told(watch: &mut Watch) -> Option<Word> {
        match watch.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(word) => Some(word),
            Poll::Pending => None,
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_lives_long_is_asked_about_every_recheck() {
        // Far enough apart for a machine that is held up in between.
        let (worker, _) = worker(Limits { recheck: 200 * SECOND, ..Limits::default() });
        let mut young = entered(&worker, 100 * SECOND, false);
        let mut old = entered(&worker, 201 * SECOND, false);
        worker.recheck_streams();
        assert_eq!((told(&mut young), told(&mut old)), (None, Some(Word::Recheck)));
        worker.recheck_streams();
        assert_eq!(told(&mut old), Some(Word::Recheck), "until it has an answer");
        old.permitted();
        worker.recheck_streams();
        assert_eq!(told(&mut old), None, "and then not for another while");
    }

    #[test]
    fn a_new_configuration_asks_about_all_but_young_requests() {
        let (worker, _) = worker(Limits { recheck: 20 * SECOND, ..Limits::default() });
        worker.recheck_streams();
        let mut tunnel = entered(&worker, Duration::ZERO, true);
        let mut young = entered(&worker, Duration::ZERO, false);
        let mut old = entered(&worker, 6 * SECOND, false);
        worker.recheck_streams();
        assert_eq!(told(&mut tunnel), Some(Word::Recheck), "it may have come while the configuration changed");
        tunnel.permitted();
        worker.recheck_streams();
        assert_eq!((told(&mut tunnel), told(&mut young), told(&mut old)), (None, None, None));
        let snapshot = worker.shared.snapshot().load();
        let authenticator = portcullis_identity::Authenticator::new(Default::default()).unwrap();
        let again = Snapshot::new(Arc::clone(&snapshot.policy), snapshot.settings.clone(), authenticator);
        worker.shared.replace(again);
        worker.recheck_streams();
        let asked = Some(Word::Recheck);
        assert_eq!((told(&mut tunnel), told(&mut young), told(&mut old)), (asked, None, asked));
        // It is not forgotten: its turn comes when it has settled.
        worker.streams.sweep(Instant::now() + 6 * SECOND, &worker.shared.snapshot().load_full(), 0);
        assert_eq!(told(&mut young), asked);
    }

    #[test]
    fn what_is_lent_otherwise_asks_about_all_but_young_requests() {
        let (worker, _) = worker(Limits { recheck: 20 * SECOND, ..Limits::default() });
        let mut tunnel = entered(&worker, Duration::ZERO, true);
        let mut old = entered(&worker, 6 * SECOND, false);
        worker.recheck_streams();
        tunnel.permitted();
        worker.recheck_streams();
        assert_eq!((told(&mut tunnel), told(&mut old)), (None, None));
        worker.shared.lending.replace(Vec::new(), Vec::new());
        worker.recheck_streams();
        assert_eq!((told(&mut tunnel), told(&mut old)), (None, None), "as before, nothing is lent");
        let (kind, until) = (PrincipalKind::User, Timestamp::MAX);
        let lent = LentTo { kind, id: "alice".into(), activation: Activation::of("on-call", until), deadline: until };
        worker.shared.lending.replace(vec![lent], Vec::new());
        worker.recheck_streams();
        assert_eq!((told(&mut tunnel), told(&mut old)), (Some(Word::Recheck), Some(Word::Recheck)));
        tunnel.permitted();
        old.permitted();
        worker.recheck_streams();
        assert_eq!((told(&mut tunnel), told(&mut old)), (None, None), "once");
    }

    #[test]
    fn a_stop_is_told_to_all_and_places_are_used_again() {
        let (worker, _) = worker(Limits::default());
        let mut watches: Vec<Watch> = (0..3).map(|_| entered(&worker, SECOND, false)).collect();
        watches.remove(1);
        assert_eq!(worker.streams.len(), 2);
        watches.push(entered(&worker, SECOND, true));
        assert_eq!((worker.streams.len(), worker.streams.table.borrow().places.len()), (3, 3));
        worker.streams.stop();
        assert!(watches.iter_mut().all(|watch| told(watch) == Some(Word::Stop)));
        drop(watches);
        assert_eq!(worker.streams.len(), 0);
        assert!(told(&mut Watch::new(&worker, Instant::now())).is_none());
    }
}
