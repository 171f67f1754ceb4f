//! One sink's lane: how many events may wait for it, what became of each, and what its writer is asked to do.
//!
//! The lane is shared by everyone who records and by the sink's one writer thread. Recording touches only atomics. Every event
//! that is offered ends in exactly one counter: exported, or dropped by one cause.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::Instant;

/// About how many bytes of events may wait in one lane, whatever its capacity in events: long paths and user agents, which
/// the caller chooses, must not multiply the memory that a stuck sink takes.
pub(crate) const MAX_WAITING_BYTES: usize = 128 * 1024 * 1024;

/// The most events that a lane can be told to hold: its channel is allocated at once.
pub(crate) const MAX_CAPACITY: usize = 1 << 20;

/// "No reopening is asked for."
const NEVER: u64 = u64::MAX;

/// An event on its way, shared by all lanes; or whatever else becomes a line.
#[derive(Debug)]
pub(crate) struct Queued<R> {
    pub(crate) record: R,
    /// About how much memory it holds.
    pub(crate) bytes: usize,
}

/// What travels to a writer.
#[derive(Debug)]
pub(crate) enum Message<R> {
    /// Write this.
    Event(Arc<Queued<R>>),
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
}

/// The sending end of a lane.
#[derive(Debug)]
pub(crate) struct Feed<R> {
    pub(crate) lane: Arc<Lane>,
    pub(crate) sender: SyncSender<Message<R>>,
}

impl<R> Feed<R> {
    /// Hands over an event, or drops and counts it. Never blocks.
    pub(crate) fn offer(&self, queued: &Arc<Queued<R>>) {
        if let Err(cause) = self.lane.reserve(queued.bytes) {
            self.lane.count_dropped(cause, 1);
            return;
        }
        // INVARIANT: the channel has room for every reservation and one wake, so only a writer that is gone can refuse.
        if self.sender.try_send(Message::Event(Arc::clone(queued))).is_err() {
            self.lane.resolve_dropped(DropCause::Closed, 1, queued.bytes);
        }
    }

    /// Makes the writer look at what the lane asks for, wherever it waits.
    pub(crate) fn nudge(&self) {
        if !self.lane.wake_pending.swap(true, SeqCst) {
            // A full channel means a writer that is not idle and will look anyway.
            let _ = self.sender.try_send(Message::Wake);
        }
        if let Some(writer) = self.lane.writer.get() {
            writer.unpark();
        }
    }

    pub(crate) fn ask_reopen(&self) {
        // Of two requests that the writer has not seen yet the earlier counts: one opening serves both.
        self.lane.reopen_after.fetch_min(self.lane.accepted.load(SeqCst), SeqCst);
        self.nudge();
    }

    pub(crate) fn close(&self) {
        self.lane.closed.store(true, SeqCst);
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
    closed: AtomicBool,
    abandoned: AtomicBool,
    /// Reopen once this many events were taken; `NEVER` otherwise.
    reopen_after: AtomicU64,
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
    pub(crate) fn new(name: Arc<str>, capacity: usize) -> Self {
        Self {
            name,
            capacity: capacity.clamp(1, MAX_CAPACITY),
            depth: AtomicUsize::new(0),
            waiting_bytes: AtomicUsize::new(0),
            accepted: AtomicU64::new(0),
            exported: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            dropped_queue_full: AtomicU64::new(0),
            dropped_closed: AtomicU64::new(0),
            dropped_error: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            reopen_after: AtomicU64::new(NEVER),
            wake_pending: AtomicBool::new(false),
            writer: OnceLock::new(),
            progress: Mutex::default(),
            progressed: Condvar::new(),
        }
    }

    /// How many messages its channel must hold: every reservation and one wake.
    pub(crate) fn channel_capacity(&self) -> usize {
        self.capacity + 1
    }

    fn reserve(&self, bytes: usize) -> Result<(), DropCause> {
        if !raise(&self.depth, 1, self.capacity) {
            return Err(DropCause::QueueFull);
        }
        if !raise(&self.waiting_bytes, bytes, MAX_WAITING_BYTES) {
            self.depth.fetch_sub(1, SeqCst);
            return Err(DropCause::QueueFull);
        }
        // INVARIANT: reserve first, then look at `closed`; the writer looks at `closed` first and then at `depth`. So either
        // this event is refused here, or the writer waits for it.
        if self.closed.load(SeqCst) {
            self.release(1, bytes);
            return Err(DropCause::Closed);
        }
        self.accepted.fetch_add(1, SeqCst);
        Ok(())
    }

    fn release(&self, events: usize, bytes: usize) {
        self.waiting_bytes.fetch_sub(bytes, SeqCst);
        self.depth.fetch_sub(events, SeqCst);
    }

    pub(crate) fn resolve_exported(&self, events: usize, bytes: usize) {
        self.exported.fetch_add(events as u64, SeqCst);
        self.resolve(events, bytes);
    }

    pub(crate) fn resolve_dropped(&self, cause: DropCause, events: usize, bytes: usize) {
        self.count_dropped(cause, events as u64);
        self.resolve(events, bytes);
    }

    fn resolve(&self, events: usize, bytes: usize) {
        self.release(events, bytes);
        self.progress().resolved += events as u64;
        self.progressed.notify_all();
    }

    fn count_dropped(&self, cause: DropCause, events: u64) {
        let counter = match cause {
            DropCause::QueueFull => &self.dropped_queue_full,
            DropCause::Closed => &self.dropped_closed,
            DropCause::Error => &self.dropped_error,
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

    /// Whether reopening is asked for, once `taken` events were taken.
    pub(crate) fn reopen_due(&self, taken: u64) -> bool {
        self.reopen_after.load(SeqCst) <= taken
    }

    /// Whether reopening is asked for at all. Forgets the request.
    pub(crate) fn take_reopen(&self) -> bool {
        self.reopen_after.swap(NEVER, SeqCst) != NEVER
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
            queue_depth: self.depth(),
            queue_capacity: self.capacity,
        }
    }
}

/// Adds `amount` unless that would exceed `most`; says whether it did.
fn raise(counter: &AtomicUsize, amount: usize, most: usize) -> bool {
    counter.fetch_update(SeqCst, SeqCst, |now| now.checked_add(amount).filter(|raised| *raised <= most)).is_ok()
}

/// What became of the events of one sink. At rest, all that was recorded is
/// `exported + dropped() + queue_depth`.
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
    /// Events that wait, those being written included: `portcullis_event_queue_depth`.
    pub queue_depth: usize,
    /// How many may wait.
    pub queue_capacity: usize,
}

impl SinkStats {
    /// Events dropped, whatever the cause.
    pub fn dropped(&self) -> u64 {
        self.dropped_queue_full + self.dropped_closed + self.dropped_error
    }

    /// The drops by their cause, as the metric's label says it.
    pub fn dropped_by_cause(&self) -> [(&'static str, u64); 3] {
        [("queue_full", self.dropped_queue_full), ("closed", self.dropped_closed), ("error", self.dropped_error)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_holds_as_many_events_as_it_says_and_not_one_more() {
        let lane = Lane::new("test".into(), 2);
        assert_eq!([lane.reserve(1), lane.reserve(1), lane.reserve(1)], [Ok(()), Ok(()), Err(DropCause::QueueFull)]);
        lane.resolve_exported(1, 1);
        assert_eq!(lane.reserve(1), Ok(()));
    }

    #[test]
    fn a_lane_holds_no_more_bytes_than_its_bound() {
        let lane = Lane::new("test".into(), 10);
        assert_eq!(lane.reserve(MAX_WAITING_BYTES - 1), Ok(()));
        assert_eq!(lane.reserve(2), Err(DropCause::QueueFull));
        assert_eq!(lane.reserve(1), Ok(()));
        assert_eq!(lane.depth(), 2);
    }

    #[test]
    fn a_closed_lane_takes_nothing_and_keeps_nothing_reserved() {
        let lane = Lane::new("test".into(), 10);
        lane.closed.store(true, SeqCst);
        assert_eq!(lane.reserve(5), Err(DropCause::Closed));
        assert_eq!((lane.depth(), lane.waiting_bytes.load(SeqCst), lane.accepted.load(SeqCst)), (0, 0, 0));
    }

    #[test]
    fn a_capacity_is_at_least_one_and_has_a_bound() {
        for (asked, held) in [(0, 1), (1, 1), (65_536, 65_536), (usize::MAX, MAX_CAPACITY)] {
            assert_eq!(Lane::new("test".into(), asked).stats().queue_capacity, held);
        }
    }

    #[test]
    fn the_earlier_of_two_requests_to_reopen_counts() {
        let lane = Lane::new("test".into(), 10);
        assert!(!lane.reopen_due(u64::MAX - 1));
        lane.reopen_after.fetch_min(3, SeqCst);
        lane.reopen_after.fetch_min(7, SeqCst);
        assert!(!lane.reopen_due(2) && lane.reopen_due(3));
        assert!(lane.take_reopen() && !lane.take_reopen());
    }
}
