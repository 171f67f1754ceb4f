//! What the gate and the service of one connection tell each other, on one thread.
//!
//! An exchange is one head and its answer. The gate opens it when it lets a head through and lets no other through
//! until it is over, so that at most one head event ever waits, and the clock for an idle connection does not run while
//! an answer is on its way.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use tokio::time::{Instant, sleep};

use super::gate::FIRST_BYTE_GRACE;
use super::head::HeadFacts;
use super::refusal::HeadRefusal;

/// What stands behind the request that hyper gives to the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeadEvent {
    /// The request is the client's own; its head passed.
    Accepted(HeadFacts),
    /// The request is a stand-in; answer this refusal instead. The connection closes behind the answer.
    Refused(HeadRefusal),
}

/// Why a request's body could not be read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyProblem {
    /// The chunked framing is broken. The text is for the operator.
    Malformed(&'static str),
    /// Nothing came for the idle time.
    TimedOut,
    /// The client ended the connection in the middle.
    Truncated,
}

/// The service's and the worker's end of a gate. Clones are the same gate.
#[derive(Debug, Clone)]
pub struct GateHandle {
    shared: Rc<Shared>,
}

impl Default for GateHandle {
    fn default() -> Self {
        Self::new()
    }
}

impl GateHandle {
    /// The handle of a connection before there is a gate on it.
    #[must_use]
    pub fn new() -> Self {
        Self { shared: Shared::new() }
    }

    pub(super) fn shared(&self) -> &Rc<Shared> {
        &self.shared
    }

    /// What the request is that hyper just called the service with, and the exchange that it opened. Call it exactly
    /// once at the beginning of each call; `None` would mean that hyper made up a request, so refuse that one.
    #[must_use]
    pub fn next_head(&self) -> Option<(HeadEvent, Exchange)> {
        let event = self.shared.head.borrow_mut().take()?;
        Some((event, Exchange { shared: Rc::clone(&self.shared) }))
    }

    /// Why the body of the current request ended early, if it did. Kept until the next head.
    #[must_use]
    pub fn body_problem(&self) -> Option<BodyProblem> {
        self.shared.body_problem.get()
    }

    /// Whether a head was let through that the service was not called for: hyper answered it by itself.
    #[must_use]
    pub fn has_unanswered_head(&self) -> bool {
        self.shared.head.borrow().is_some()
    }

    /// From now on bytes pass in both directions unread and without deadlines. Call it before a 101 (or a 2xx to
    /// CONNECT) is returned to hyper, then take the connection apart with hyper's `into_parts`.
    pub fn set_upgraded(&self) {
        self.shared.upgraded.set(true);
    }

    /// Whether `set_upgraded` was called.
    #[must_use]
    pub fn is_upgraded(&self) -> bool {
        self.shared.upgraded.get()
    }

    /// The worker drains: close the connection as soon as it is idle, at once if it is. One that never sent a byte has
    /// half a second left, since its request may be on its way.
    pub fn drain(&self) {
        if self.shared.draining_since.get().is_none() {
            self.shared.draining_since.set(Some(Instant::now()));
            self.shared.wake();
        }
    }

    /// Since when the connection drains; the task of this waker is woken when that begins. For a connection without a gate.
    pub(crate) fn poll_drain(&self, waker: &Waker) -> Option<Instant> {
        self.shared.park_reader(waker, false);
        self.shared.draining_since()
    }

    /// Whether the connection drains: the answer should carry `Connection: close`.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.shared.draining_since.get().is_some()
    }
}

impl GateHandle {
    /// Ends when the worker drains and what the connection began before its first head has had as long as one that never sent
    /// a byte has. For that time alone: once there is a gate, it holds this by itself.
    pub(crate) async fn overdue(&self) {
        poll_fn(|cx| {
            self.shared.park_reader(cx.waker(), false);
            if self.is_draining() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        sleep(FIRST_BYTE_GRACE).await;
    }
}

/// One head and its answer. It is over when this is dropped: keep it with the answer's body until that has ended.
/// Dropping it early is safe, but starts the idle clock early.
#[derive(Debug)]
pub struct Exchange {
    shared: Rc<Shared>,
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.shared.end_exchange();
    }
}

/// Whether the server behind the gate may be taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// Nobody asked.
    No,
    /// It is to be, if nothing is under way.
    Asked,
    /// Nothing is under way.
    Granted,
}

/// The state that both ends see.
#[derive(Debug)]
pub(super) struct Shared {
    head: RefCell<Option<HeadEvent>>,
    in_exchange: Cell<bool>,
    idle_since: Cell<Instant>,
    draining_since: Cell<Option<Instant>>,
    upgraded: Cell<bool>,
    body_problem: Cell<Option<BodyProblem>>,
    /// The gate holds something that it can act on only when the exchange is over.
    waits_for_exchange: Cell<bool>,
    rest: Cell<Rest>,
    reader: RefCell<Option<Waker>>,
}

impl Shared {
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self {
            head: RefCell::new(None),
            in_exchange: Cell::new(false),
            idle_since: Cell::new(Instant::now()),
            draining_since: Cell::new(None),
            upgraded: Cell::new(false),
            body_problem: Cell::new(None),
            waits_for_exchange: Cell::new(false),
            rest: Cell::new(Rest::No),
            reader: RefCell::new(None),
        })
    }

    /// Opens the exchange for a head that the next bytes to hyper will stand for.
    pub(super) fn open_exchange(&self, event: HeadEvent) {
        self.body_problem.set(None);
        self.in_exchange.set(true);
        self.rest.set(Rest::No);
        *self.head.borrow_mut() = Some(event);
    }

    pub(super) fn in_exchange(&self) -> bool {
        self.in_exchange.get()
    }

    pub(super) fn is_upgraded(&self) -> bool {
        self.upgraded.get()
    }

    pub(super) fn draining_since(&self) -> Option<Instant> {
        self.draining_since.get()
    }

    pub(super) fn idle_since(&self) -> Instant {
        self.idle_since.get()
    }

    /// The connection did something just now.
    pub(super) fn touch(&self) {
        self.idle_since.set(Instant::now());
    }

    pub(super) fn set_body_problem(&self, problem: BodyProblem) {
        self.body_problem.set(Some(problem));
    }

    /// The next read says whether anything is under way.
    pub(super) fn ask_for_rest(&self) {
        self.rest.set(Rest::Asked);
    }

    /// Nothing is under way: no exchange, no part of a head, no byte that the client does not take.
    pub(super) fn grant_rest(&self) {
        if self.rest.get() == Rest::Asked {
            self.rest.set(Rest::Granted);
        }
    }

    /// Whether that was granted. Asking is over with this.
    pub(super) fn takes_rest(&self) -> bool {
        self.rest.replace(Rest::No) == Rest::Granted
    }

    /// Remembers whom to wake when the exchange ends or the worker drains. `waits` says that the end of the exchange
    /// matters to the reader: most often it does not, and a wake for each request would cost a poll for nothing.
    pub(super) fn park_reader(&self, waker: &Waker, waits: bool) {
        self.waits_for_exchange.set(waits);
        let mut reader = self.reader.borrow_mut();
        match &mut *reader {
            Some(known) => known.clone_from(waker),
            None => *reader = Some(waker.clone()),
        }
    }

    fn end_exchange(&self) {
        self.in_exchange.set(false);
        self.touch();
        if self.waits_for_exchange.get() || self.draining_since.get().is_some() {
            self.wake();
        }
    }

    fn wake(&self) {
        // Cloned first: a waker may run code, and must not find the cell borrowed.
        let reader = self.reader.borrow().clone();
        if let Some(waker) = reader {
            waker.wake();
        }
    }
}
