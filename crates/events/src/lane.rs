//! One sink's lane: how many events may wait for it, what became of each, and what its writer is asked to do.
//!
//! The lane is shared by everyone who records and by the sink's one writer thread. Recording touches only atomics: it reserves a
//! place, and what holds a place is then sent on through channels that need no bound of their own. Every event that is offered
//! ends in exactly one counter: exported, or dropped by one cause, or passed over by the sink's filter.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::Instant;

use crate::event::Event;
use crate::filter::Filter;
use crate::receipt::Waiting;
use crate::settings::OnFull;
use crate::trouble::Trouble;

/// About how many bytes of events may wait in one lane, whatever its capacity in events: long paths and user agents, which
/// the caller chooses, must not multiply the memory that a stuck sink takes.
pub(crate) const MAX_WAITING_BYTES: usize = 128 * 1024 * 1024;

/// The most events that a lane can be told to hold.
pub(crate) const MAX_CAPACITY: usize = 1 << 20;

/// What becomes lines, on its way to one writer.
#[derive(Debug)]
pub(crate) struct Queued<R> {
    pub(crate) record: R,
    /// About how much memory its events hold.
    pub(crate) bytes: usize,
    /// How many events it is.
    pub(crate) events: usize,
    /// Answers that wait until it is written.
    pub(crate) waiting: Waiting,
}

/// What travels to a writer.
#[derive(Debug)]
pub(crate) enum Message<R> {
    /// Write this.
    Lines(Queued<R>),
    /// Open the target anew, unless that was done after this many requests.
    Reopen(u64),
    /// Look at what the lane asks for.
    Wake,
}

/// Why an event was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DropCause {
    /// Too many events, or too many bytes of them, were waiting.
    QueueFull,
    /// The recorder was shut down, or its time to shut down was over.
    Closed,
    /// The event could not be serialized.
    Error,
    /// Its caller went away without an answer while the sink was full, as so many others had that there was no memory for more.
    HungUp,
}

/// A place in a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// There was room.
    Free,
    /// There was none, and the lane lets answers wait for it.
    Over,
}

/// The sending end of a lane.
#[derive(Debug)]
pub(crate) struct Feed<R> {
    pub(crate) lane: Arc<Lane>,
    pub(crate) sender: Sender<Message<R>>,
}

impl<R> Feed<R> {
    /// Hands over one record of one event, or drops and counts it. Never blocks.
    pub(crate) fn offer(&self, record: R, bytes: usize) {
        match self.lane.reserve(bytes) {
            Ok(_) => self.pass(Queued { record, bytes, events: 1, waiting: Waiting::default() }),
            Err(cause) => self.lane.count_dropped(cause, 1),
        }
    }

    /// Hands over what has a place already. Never blocks.
    pub(crate) fn pass(&self, queued: Queued<R>) {
        let (events, bytes) = (queued.events, queued.bytes);
        // INVARIANT: what is sent holds places, and there are no more places than the lane's capacity: so the channel is bounded.
        if let Err(unsent) = self.sender.send(Message::Lines(queued)) {
            // An answer that waits for it hears that it is lost when it is dropped.
            self.lane.resolve_dropped(DropCause::Closed, events, bytes, || drop(unsent));
        }
    }

    /// Has the writer open its target anew after what was passed before.
    pub(crate) fn pass_reopen(&self, request: u64) {
        // A writer that is gone has nothing to open.
        let _ = self.sender.send(Message::Reopen(request));
    }

    /// Makes the writer look at what the lane asks for, wherever it waits.
    pub(crate) fn nudge(&self) {
        if !self.lane.wake_pending.swap(true, SeqCst) {
            // Of a writer that is gone nothing is wanted.
            let _ = self.sender.send(Message::Wake);
        }
        self.lane.unpark();
    }

    pub(crate) fn ask_reopen(&self) {
        let request = self.lane.ask_reopen();
        self.pass_reopen(request);
    }

    pub(crate) fn close(&self) {
        self.lane.close();
        self.nudge();
    }

    pub(crate) fn abandon(&self) {
        self.lane.abandoned.store(true, SeqCst);
        self.nudge();
    }
}

/// The state and the counters of one sink.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) name: Arc<str>,
    capacity: usize,
    /// How many may wait at all: more than the capacity where answers wait for a place.
    most: usize,
    /// What the sink takes; `None`: everything.
    filter: Option<Filter>,
    /// Whether it takes permits that were recorded by chance, where there is no filter.
    permits: bool,
    /// Events accepted and not yet exported or dropped, those in the writer's hands included.
    depth: AtomicUsize,
    /// About how much memory they hold.
    waiting_bytes: AtomicUsize,
    /// Events ever accepted.
    accepted: AtomicU64,
    exported: AtomicU64,
    failed: AtomicU64,
    dropped_queue_full: AtomicU64,
    dropped_closed: AtomicU64,
    dropped_error: AtomicU64,
    dropped_hung_up: AtomicU64,
    filtered: AtomicU64,
    /// Why it cannot be written at the moment.
    pub(crate) trouble: Trouble,
    closed: AtomicBool,
    abandoned: AtomicBool,
    /// How often reopening was asked for.
    reopens: AtomicU64,
    pub(crate) wake_pending: AtomicBool,
    pub(crate) writer: OnceLock<Thread>,
    progress: Mutex<Progress>,
    progressed: Condvar,
}

#[derive(Debug, Default)]
struct Progress {
    /// Events that were accepted and then exported or dropped.
    resolved: u64,
    /// The writer has returned.
    finished: bool,
}

impl Lane {
    pub(crate) fn new(name: Arc<str>, capacity: usize, on_full: OnFull) -> Self {
        let capacity = capacity.clamp(1, MAX_CAPACITY);
        Self {
            name,
            capacity,
            filter: None,
            permits: false,
            // Each event beyond the capacity keeps an answer waiting, or has none.
            most: match on_full {
                OnFull::Drop => capacity,
                OnFull::Block => capacity + BLOCKED,
            },
            depth: AtomicUsize::new(0),
            waiting_bytes: AtomicUsize::new(0),
            accepted: AtomicU64::new(0),
            exported: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            dropped_queue_full: AtomicU64::new(0),
            dropped_closed: AtomicU64::new(0),
            dropped_error: AtomicU64::new(0),
            dropped_hung_up: AtomicU64::new(0),
            filtered: AtomicU64::new(0),
            trouble: Trouble::default(),
            closed: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            reopens: AtomicU64::new(0),
            wake_pending: AtomicBool::new(false),
            writer: OnceLock::new(),
            progress: Mutex::default(),
            progressed: Condvar::new(),
        }
    }

    /// The same for a sink that does not take everything.
    pub(crate) fn with_filter(self, filter: Filter) -> Self {
        Self { filter: (!filter.is_open()).then_some(filter), ..self }
    }

    /// The same for the spool, out of which some sink gets permits.
    pub(crate) fn with_permits(self, permits: bool) -> Self {
        Self { permits, ..self }
    }

    /// Whether the sink takes this event. One that it does not take is counted.
    pub(crate) fn wants(&self, event: &Event) -> bool {
        let wants = self.takes(event);
        if !wants {
            self.count_filtered();
        }
        wants
    }

    pub(crate) fn count_filtered(&self) {
        self.filtered.fetch_add(1, SeqCst);
    }

    /// The same without counting.
    pub(crate) fn takes(&self, event: &Event) -> bool {
        match &self.filter {
            Some(filter) => filter.takes(event),
            None => self.permits || !event.is_sampled_permit(),
        }
    }

    /// Takes a place for one event of about this many bytes.
    pub(crate) fn reserve(&self, bytes: usize) -> Result<Place, DropCause> {
        let Some(before) = raise(&self.depth, 1, self.most) else { return Err(self.no_room()) };
        let Some(bytes_before) = raise(&self.waiting_bytes, bytes, self.most_bytes()) else {
            self.depth.fetch_sub(1, SeqCst);
            return Err(self.no_room());
        };
        // INVARIANT: reserve first, then look at `closed`; the writer looks at `closed` first and then at `depth`. So either
        // this event is refused here, or the writer waits for it.
        if self.closed.load(SeqCst) {
            self.release(1, bytes);
            return Err(DropCause::Closed);
        }
        self.accepted.fetch_add(1, SeqCst);
        let fits = before < self.capacity && bytes_before + bytes <= MAX_WAITING_BYTES;
        Ok(if fits { Place::Free } else { Place::Over })
    }

    /// Why there is no room: nobody should wait for room in a lane that is closed.
    fn no_room(&self) -> DropCause {
        if self.is_closed() { DropCause::Closed } else { DropCause::QueueFull }
    }

    /// Takes a place for one event that goes to the writer together with one that has a place already. It is there even where the lane is
    /// full or closed.
    pub(crate) fn reserve_beside(&self, bytes: usize) {
        // INVARIANT: the writer of a closed lane goes on while there is anything it has not written, and the other event is that.
        self.reserve_first(1, bytes);
    }

    /// Takes places for so many events, whether or not there is room: for what must be written before anything else is.
    pub(crate) fn reserve_first(&self, events: usize, bytes: usize) {
        self.depth.fetch_add(events, SeqCst);
        self.waiting_bytes.fetch_add(bytes, SeqCst);
        self.accepted.fetch_add(events as u64, SeqCst);
    }

    /// Whether answers wait for a place here.
    pub(crate) fn blocks(&self) -> bool {
        self.most > self.capacity
    }

    /// What has a place turned out to hold so many more bytes. That is never refused: the next ones are.
    pub(crate) fn grow(&self, bytes: usize) {
        self.waiting_bytes.fetch_add(bytes, SeqCst);
    }

    fn most_bytes(&self) -> usize {
        if self.blocks() { 2 * MAX_WAITING_BYTES } else { MAX_WAITING_BYTES }
    }

    fn release(&self, events: usize, bytes: usize) {
        self.waiting_bytes.fetch_sub(bytes, SeqCst);
        self.depth.fetch_sub(events, SeqCst);
    }

    /// Events are written. `tell` tells the answers that wait for them.
    pub(crate) fn resolve_exported(&self, events: usize, bytes: usize, tell: impl FnOnce()) {
        self.exported.fetch_add(events as u64, SeqCst);
        self.resolve(events, bytes, tell);
    }

    /// Events are lost. `tell` tells the answers that wait for them.
    pub(crate) fn resolve_dropped(&self, cause: DropCause, events: usize, bytes: usize, tell: impl FnOnce()) {
        self.count_dropped(cause, events as u64);
        self.resolve(events, bytes, tell);
    }

    /// INVARIANT: counted first, then told to the answers, then to whoever waits for the lane: nobody is told of an event that the counters do
    /// not show, and after a flush no answer waits for what it has written.
    fn resolve(&self, events: usize, bytes: usize, tell: impl FnOnce()) {
        self.release(events, bytes);
        tell();
        self.progress().resolved += events as u64;
        self.progressed.notify_all();
    }

    pub(crate) fn count_dropped(&self, cause: DropCause, events: u64) {
        let counter = match cause {
            DropCause::QueueFull => &self.dropped_queue_full,
            DropCause::Closed => &self.dropped_closed,
            DropCause::Error => &self.dropped_error,
            DropCause::HungUp => &self.dropped_hung_up,
        };
        counter.fetch_add(events, SeqCst);
    }

    pub(crate) fn count_failed_attempt(&self) {
        self.failed.fetch_add(1, SeqCst);
    }

    pub(crate) fn finish(&self) {
        self.progress().finished = true;
        self.progressed.notify_all();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(SeqCst)
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned.load(SeqCst)
    }

    pub(crate) fn depth(&self) -> usize {
        self.depth.load(SeqCst)
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, SeqCst);
    }

    /// Wakes a writer that pauses.
    pub(crate) fn unpark(&self) {
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }

    /// Asks for reopening, and says the how manieth request that is. A writer that cannot write heeds it at once.
    pub(crate) fn ask_reopen(&self) -> u64 {
        let request = self.reopens.fetch_add(1, SeqCst) + 1;
        self.unpark();
        request
    }

    /// How often reopening was asked for.
    pub(crate) fn reopens(&self) -> u64 {
        self.reopens.load(SeqCst)
    }

    /// Waits until every event accepted before this call was exported or dropped. Says whether it came to that.
    pub(crate) fn wait_resolved(&self, deadline: Instant) -> bool {
        let target = self.accepted.load(SeqCst);
        self.wait(deadline, |progress| progress.resolved >= target)
    }

    /// Waits until the writer has returned. Says whether it has.
    pub(crate) fn wait_finished(&self, deadline: Instant) -> bool {
        self.wait(deadline, |progress| progress.finished)
    }

    fn wait(&self, deadline: Instant, done: impl Fn(&Progress) -> bool) -> bool {
        let time = deadline.saturating_duration_since(Instant::now());
        let waited = self.progressed.wait_timeout_while(self.progress(), time, |progress| !done(progress));
        let (progress, _timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        done(&progress)
    }

    /// Two plain numbers cannot be left half changed, so a poisoned lock is as good as any.
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stats(&self) -> SinkStats {
        SinkStats {
            name: Arc::clone(&self.name),
            exported: self.exported.load(SeqCst),
            failed: self.failed.load(SeqCst),
            dropped_queue_full: self.dropped_queue_full.load(SeqCst),
            dropped_closed: self.dropped_closed.load(SeqCst),
            dropped_error: self.dropped_error.load(SeqCst),
            dropped_hung_up: self.dropped_hung_up.load(SeqCst),
            refused: 0,
            dropped_lost: 0,
            dropped_spool_full: 0,
            dropped_damaged: 0,
            filtered: self.filtered.load(SeqCst),
            queue_depth: self.depth(),
            queue_capacity: self.capacity,
            trouble: self.trouble.why(),
        }
    }
}

/// Adds `amount` unless that would exceed `most`; says what was there before.
fn raise(counter: &AtomicUsize, amount: usize, most: usize) -> Option<usize> {
    counter.fetch_update(SeqCst, SeqCst, |now| now.checked_add(amount).filter(|raised| *raised <= most)).ok()
}

/// How many events may wait beyond a lane's capacity where answers wait for them. An answer that finds no place even here waits with
/// its event in hand (`scribe`).
const BLOCKED: usize = if cfg!(test) { 1_024 } else { 65_536 };

/// What became of the events of one sink. At rest, all that was recorded is
/// `exported + dropped() + filtered + queue_depth`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkStats {
    /// The sink's name.
    pub name: Arc<str>,
    /// Events written: `portcullis_events_exported_total{result="ok"}`.
    pub exported: u64,
    /// Attempts to write a batch that failed: `portcullis_events_exported_total{result="failed"}`. The batch is kept and
    /// tried again, so a failed attempt is no loss.
    pub failed: u64,
    /// Events dropped because too many waited: `portcullis_events_dropped_total{cause="queue_full"}`.
    pub dropped_queue_full: u64,
    /// Events dropped because the recorder was shut down, or because shutting down took too long: `cause="closed"`.
    pub dropped_closed: u64,
    /// Events dropped because they could not be serialized: `cause="error"`.
    pub dropped_error: u64,
    /// Events whose caller went away while the sink was full and more of those waited than there is memory for: `cause="hung_up"`.
    pub dropped_hung_up: u64,
    /// Events that a remote sink refused for good, and that are among its dead letters: `cause="refused"`.
    pub refused: u64,
    /// Events that a remote sink refused for good, and that could not be written among its dead letters either: `cause="lost"`.
    pub dropped_lost: u64,
    /// Events that the spool had no more room for: `cause="spool_full"`.
    pub dropped_spool_full: u64,
    /// Events whose record in the spool was damaged: `cause="damaged"`.
    pub dropped_damaged: u64,
    /// Events that the sink's own filter passed over.
    pub filtered: u64,
    /// Events that wait, those being written included: `portcullis_event_queue_depth`.
    pub queue_depth: usize,
    /// How many may wait.
    pub queue_capacity: usize,
    /// Why the last attempt failed, one sentence for the operator; `None` where it did not: `portcullis_event_sink_failing`.
    pub trouble: Option<Arc<str>>,
}

impl SinkStats {
    /// Events dropped, whatever the cause.
    pub fn dropped(&self) -> u64 {
        self.dropped_by_cause().iter().map(|(_, events)| events).sum()
    }

    /// The drops by their cause, as the metric's label says it.
    pub fn dropped_by_cause(&self) -> [(&'static str, u64); 8] {
        [
            ("queue_full", self.dropped_queue_full),
            ("hung_up", self.dropped_hung_up),
            ("closed", self.dropped_closed),
            ("error", self.dropped_error),
            ("spool_full", self.dropped_spool_full),
            ("damaged", self.dropped_damaged),
            ("refused", self.refused),
            ("lost", self.dropped_lost),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(capacity: usize, on_full: OnFull) -> Lane {
        Lane::new("test".into(), capacity, on_full)
    }

    #[test]
    fn a_lane_holds_as_many_events_as_it_says_and_not_one_more() {
        let lane = lane(2, OnFull::Drop);
        let places = [lane.reserve(1), lane.reserve(1), lane.reserve(1)];
        assert_eq!(places, [Ok(Place::Free), Ok(Place::Free), Err(DropCause::QueueFull)]);
        lane.resolve_exported(1, 1, || {});
        assert_eq!(lane.reserve(1), Ok(Place::Free));
    }

    #[test]
    fn a_lane_holds_no_more_bytes_than_its_bound() {
        let lane = lane(10, OnFull::Drop);
        assert_eq!(lane.reserve(MAX_WAITING_BYTES - 1), Ok(Place::Free));
        assert_eq!(lane.reserve(2), Err(DropCause::QueueFull));
        assert_eq!(lane.reserve(1), Ok(Place::Free));
        assert_eq!(lane.depth(), 2);
    }

    #[test]
    fn a_lane_that_blocks_says_who_waits_and_has_a_bound_of_its_own() {
        let lane = lane(1, OnFull::Block);
        assert_eq!(lane.reserve(1), Ok(Place::Free));
        for _ in 0..BLOCKED {
            assert_eq!(lane.reserve(1), Ok(Place::Over));
        }
        assert_eq!(lane.reserve(1), Err(DropCause::QueueFull));
        let heavy = self::lane(9, OnFull::Block);
        let places = [MAX_WAITING_BYTES, 1, MAX_WAITING_BYTES].map(|bytes| heavy.reserve(bytes));
        assert_eq!(places, [Ok(Place::Free), Ok(Place::Over), Err(DropCause::QueueFull)]);
    }

    #[test]
    fn what_is_longer_than_it_looked_leaves_less_room() {
        let lane = lane(10, OnFull::Drop);
        assert_eq!(lane.reserve(10), Ok(Place::Free));
        lane.grow(MAX_WAITING_BYTES);
        assert_eq!(lane.reserve(1), Err(DropCause::QueueFull));
        lane.resolve_exported(1, 10 + MAX_WAITING_BYTES, || {});
        assert_eq!((lane.reserve(1), lane.waiting_bytes.load(SeqCst)), (Ok(Place::Free), 1));
    }

    #[test]
    fn a_closed_lane_takes_nothing_and_keeps_nothing_reserved() {
        let lane = lane(10, OnFull::Drop);
        lane.close();
        assert_eq!(lane.reserve(5), Err(DropCause::Closed));
        assert_eq!((lane.depth(), lane.waiting_bytes.load(SeqCst), lane.accepted.load(SeqCst)), (0, 0, 0));
        // Nor is there a place to be waited for in one that was full when it was closed, of events or of bytes.
        for (capacity, bytes) in [(1, 1), (9, MAX_WAITING_BYTES)] {
            let lane = self::lane(capacity, OnFull::Drop);
            assert_eq!((lane.reserve(bytes), lane.reserve(1)), (Ok(Place::Free), Err(DropCause::QueueFull)));
            lane.close();
            assert_eq!(lane.reserve(1), Err(DropCause::Closed));
        }
    }

    #[test]
    fn a_capacity_is_at_least_one_and_has_a_bound() {
        for (asked, held) in [(0, 1), (1, 1), (65_536, 65_536), (usize::MAX, MAX_CAPACITY)] {
            assert_eq!(lane(asked, OnFull::Drop).stats().queue_capacity, held);
        }
    }
}
