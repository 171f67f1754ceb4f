//! Hands every event to every sink, without ever making a request wait unless the configuration wants that.
//!
//! Who records reserves a place in the lane of each sink, and passes the event to the recorder's one thread (`scribe`), which
//! numbers it, makes one line of it and hands that line on. Each sink has its own lane and its own thread, so a slow sink harms
//! neither requests nor other sinks. What does not fit is dropped and counted. Sinks are fixed while the process runs;
//! [`Recorder::reopen`] opens their files anew.

mod earlier;
pub(crate) mod end;
mod start;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::bounds;
use crate::delivery::DeliveryState;
use crate::event::Event;
use crate::lane::{DropCause, Feed, Place};
use crate::line::Lines;
use crate::receipt::{Awaited, Blocked, Receipt};
use crate::scribe::{Entry, Intake};
use crate::settings::{Settings, SinkSettings};
use crate::sinks::memory::Capture;
use crate::sinks::wire;
use crate::spool::{Spool, SpoolStats};
use crate::tap::{Tap, Watch};

pub use crate::lane::SinkStats;
pub use earlier::Earlier;
pub use start::StartError;
pub(crate) use start::{open, start_writer};

/// So many events that no sink takes wait to be shown.
const UNPLACED_MAX: usize = 1_024;

/// The most sinks: each has one bit in the set of those that take an event.
pub const MAX_SINKS: usize = 60;

/// Takes events. Clones share the sinks, the numbering and the counters.
#[derive(Debug, Clone)]
pub struct Recorder {
    shared: Arc<Shared>,
}

/// What those who record and the recorder's thread share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) counts: Counts,
    /// Those of the local sinks, and the spool's.
    pub(crate) feeds: Vec<Feed<Lines>>,
    /// What an answer waits for where every event must be on disk first: one bit for each feed.
    durable: u64,
    /// What no answer goes without: these, and the feeds of sinks that block.
    kept: u64,
    intake: Sender<Intake>,
    /// How many events wait to be shown that have a place in no lane, which would bound them.
    pub(crate) unplaced: AtomicUsize,
    /// The sinks in the order of the configuration.
    sinks: Vec<SinkPlace>,
    /// What the configuration says of each.
    settings: Vec<SinkSettings>,
    spooling: Option<Spooling>,
    earlier: Option<Earlier>,
    pub(crate) tap: OnceLock<Box<dyn Tap>>,
    watch: OnceLock<Box<dyn Watch>>,
    threads: Mutex<Threads>,
}

/// Where a sink of the configuration is found.
#[derive(Debug, Clone, Copy)]
enum SinkPlace {
    /// It has this feed.
    Local(usize),
    /// It has this delivery.
    Remote(usize),
}

/// The spool and what is carried out of it.
#[derive(Debug)]
struct Spooling {
    spool: Arc<Spool>,
    /// The feed of its lane.
    feed: usize,
    deliveries: Vec<Arc<DeliveryState>>,
}

#[derive(Debug, Default)]
struct Threads {
    /// One for each feed.
    writers: Vec<JoinHandle<()>>,
    couriers: Vec<JoinHandle<()>>,
    scribe: Option<JoinHandle<()>>,
}

/// How many events there were. What was recorded has been passed to the thread, or was lost or unwanted from the start.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) recorded: AtomicU64,
    /// Events that no sink had room for.
    pub(crate) lost: AtomicU64,
    /// Events that no sink is there for.
    pub(crate) unwanted: AtomicU64,
    pub(crate) closed: AtomicBool,
    /// Answers that a full sink held up.
    blocked: Arc<Blocked>,
}

impl Counts {
    /// How many events were passed to the recorder's thread, or are about to be.
    pub(crate) fn passed(&self) -> u64 {
        // What was recorded is counted first, so this is never too small.
        let away = self.lost.load(SeqCst) + self.unwanted.load(SeqCst);
        self.recorded.load(SeqCst).saturating_sub(away)
    }
}

impl Recorder {
    /// Opens every sink and starts its thread.
    ///
    /// # Errors
    /// When a file cannot be opened or a thread cannot be started: a gateway that cannot record does not start.
    pub fn start(settings: &Settings) -> Result<Self, StartError> {
        start::start(settings)
    }

    /// A recorder whose one sink, `memory`, keeps at most `queue` waiting events and lets a test read what was written.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn in_memory(queue: usize) -> Result<(Self, Capture), StartError> {
        start::in_memory(queue)
    }

    /// Bounds the event and has it numbered, written as a line and handed to every sink. Never blocks: a sink whose queue is full,
    /// or that was shut down, does not get it, and counts that.
    pub fn record(&self, event: Event) {
        // Nobody waits for an answer that must not be sent before.
        drop(self.take(event, false));
    }

    /// The same for an event whose answer is still to be sent: not before the receipt is settled. Usually it is from the start.
    pub fn record_answered(&self, event: Event) -> Receipt {
        self.take(event, true)
    }

    /// `answered`: an answer may be made to wait for it.
    fn take(&self, mut event: Event, answered: bool) -> Receipt {
        let bytes = bounds::apply(&mut event);
        let counts = &self.shared.counts;
        // INVARIANT: counted first, then passed on; the thread compares what it has got with what was counted.
        counts.recorded.fetch_add(1, SeqCst);
        let (durable, kept) = if answered { (self.shared.durable, self.shared.kept) } else { (0, 0) };
        let Taken { takers, over, missing, without } = self.reserve(&event, bytes, answered);
        if takers | missing == 0 {
            // What has no number leaves no gap among them.
            let unwanted = without == 0 || event.is_sampled_permit();
            let counter = if unwanted { &counts.unwanted } else { &counts.lost };
            counter.fetch_add(1, SeqCst);
            self.shared.show_beside(event);
            return if without & kept == 0 { Receipt::default() } else { Receipt::lost() };
        }
        let lost_before = counts.lost.load(SeqCst);
        let full = over | missing;
        let (awaited, receipt) = match full | (durable & takers) {
            0 => (None, Receipt::default()),
            sinks => {
                let (awaited, receipt) = Awaited::new(sinks, (answered && full != 0).then_some(&counts.blocked));
                (Some(awaited), receipt)
            }
        };
        let entry = Box::new(Entry { event, bytes, takers, missing, lost_before, awaited });
        if self.shared.intake.send(Intake::Event(entry)).is_err() {
            counts.lost.fetch_add(1, SeqCst);
            self.shared.drop_places(takers, bytes, DropCause::Closed);
        }
        // Where a sink that must have it is closed, that it gets to the others does not help.
        if without & kept == 0 { receipt } else { Receipt::lost() }
    }

    /// Takes a place in the lane of each sink.
    fn reserve(&self, event: &Event, bytes: usize, answered: bool) -> Taken {
        let mut taken = Taken::default();
        for (index, feed) in self.shared.feeds.iter().enumerate() {
            let bit = 1 << index;
            if !feed.lane.wants(event) {
                continue;
            }
            match feed.lane.reserve(bytes) {
                Ok(Place::Free) => taken.takers |= bit,
                Ok(Place::Over) => {
                    taken.takers |= bit;
                    taken.over |= bit;
                }
                // What is set to block drops nothing of which an answer can be held back.
                Err(DropCause::QueueFull) if answered && self.shared.kept & bit != 0 => {
                    taken.missing |= bit;
                }
                Err(cause) => {
                    feed.lane.count_dropped(cause, 1);
                    taken.without |= bit;
                }
            }
        }
        taken
    }

    /// Lets somebody look on from now on. Of several the first stays.
    pub fn set_tap(&self, tap: Box<dyn Tap>) {
        // It is set once, when the process starts.
        let _ = self.shared.tap.set(tap);
    }

    /// Has somebody watch the events from now on. Of several the first stays.
    pub fn set_watch(&self, watch: Box<dyn Watch>) {
        // It is set once, when the process starts.
        let _ = self.shared.watch.set(watch);
    }

    /// How many events were ever recorded. Each of them is exported, dropped or waiting in every sink.
    pub fn recorded(&self) -> u64 {
        self.shared.counts.recorded.load(SeqCst)
    }

    /// What became of the events, sink by sink, in the order of the configuration; last that of the spool, `(spool)`, where no sink is fed
    /// from it.
    pub fn stats(&self) -> Vec<SinkStats> {
        let local = |feed: usize| self.shared.feeds.get(feed).map(|feed| feed.lane.stats());
        let of = |sink: &SinkPlace| match *sink {
            SinkPlace::Local(feed) => local(feed),
            SinkPlace::Remote(delivery) => {
                let spooling = self.shared.spooling.as_ref()?;
                spooling.stats(delivery, local(spooling.feed)?)
            }
        };
        let alone = self.shared.spooling.as_ref().filter(|spooling| spooling.deliveries.is_empty());
        self.shared.sinks.iter().filter_map(of).chain(alone.and_then(|spooling| local(spooling.feed))).collect()
    }

    /// How many answers a full sink with `on_full = "block"` has held up, and how long they waited together, as far as that is over.
    pub fn blocked(&self) -> (u64, Duration) {
        let blocked = &self.shared.counts.blocked;
        (blocked.answers.load(SeqCst), blocked.time())
    }

    /// What a sink makes of a native line, as it leaves: without secrets, and before it is compressed and encrypted. `None` where there
    /// is no such sink, or the line is no event.
    pub fn wire(&self, sink: &str, line: &[u8]) -> Option<String> {
        let settings = self.shared.settings.iter().find(|settings| &*settings.name == sink)?;
        wire::shown(settings, line).ok()
    }

    /// How full the spool is, where there is one.
    pub fn spool_stats(&self) -> Option<SpoolStats> {
        self.shared.spooling.as_ref().map(|spooling| spooling.spool.stats())
    }

    /// What the process before this one left, where its last event was found.
    pub fn earlier(&self) -> Option<&Earlier> {
        self.shared.earlier.as_ref()
    }

    /// Has every file opened anew at its path, after what was recorded before this call is in the old one (at once, where the
    /// old one cannot be written). Returns at once; what is recorded after it goes to the new file.
    ///
    /// Where the path cannot be opened, the old file goes on taking events, and an error is logged.
    pub fn reopen(&self) {
        let requests = self.shared.feeds.iter().map(|feed| feed.lane.ask_reopen()).collect();
        // A thread that is gone has left no lane to reopen.
        let _ = self.shared.intake.send(Intake::Reopen(requests));
    }

    /// Waits until all that was recorded before this call is exported or dropped, for at most `timeout`. Says whether it
    /// came to that.
    pub fn flush(&self, timeout: Duration) -> bool {
        let deadline = deadline(timeout);
        let written = self.shared.feeds.iter().all(|feed| feed.lane.wait_resolved(deadline));
        written && self.shared.spooling.as_ref().is_none_or(|spooling| spooling.spool.wait_taken(deadline))
    }

    /// Takes no more events, writes what waits, and ends the threads, in at most about `timeout`. Returns how many events
    /// were left unwritten, over all sinks; they count as dropped (`closed`). What a remote sink has not taken by then stays in the
    /// spool. A thread that is stuck inside a write is left behind. Where none is, the files and the spool are free for another recorder
    /// once this one and its clones are dropped.
    pub fn shutdown(&self, timeout: Duration) -> usize {
        let deadline = deadline(timeout);
        let mut threads = self.shared.threads.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.feeds.iter().for_each(|feed| feed.lane.close());
        self.shared.counts.closed.store(true, SeqCst);
        // A thread that is gone needs no waking.
        let _ = self.shared.intake.send(Intake::Wake);
        let left = end(&self.shared.feeds, threads.writers.drain(..), timeout);
        if let Some(spooling) = &self.shared.spooling {
            spooling.end(threads.couriers.drain(..), deadline);
        }
        // It holds the sinks and the spool, and ends by itself once everything is handed on.
        if let Some(scribe) = threads.scribe.take() {
            let given = deadline.max(Instant::now() + ABANDON_GRACE);
            while !scribe.is_finished() && Instant::now() < given {
                thread::park_timeout(END_POLL);
            }
            if scribe.is_finished() && scribe.join().is_err() {
                tracing::error!("the recorder's thread panicked");
            }
        }
        left
    }
}

impl Spooling {
    fn stats(&self, delivery: usize, lane: SinkStats) -> Option<SinkStats> {
        let state = self.deliveries.get(delivery)?;
        let waiting = usize::try_from(self.spool.waiting(state.place)).unwrap_or(usize::MAX);
        Some(SinkStats {
            name: Arc::clone(&state.name),
            exported: state.exported.load(SeqCst),
            failed: state.failed.load(SeqCst),
            refused: state.refused.load(SeqCst),
            dropped_lost: state.lost.load(SeqCst),
            dropped_spool_full: state.given_up.load(SeqCst),
            dropped_damaged: state.damaged.load(SeqCst),
            filtered: state.filtered.load(SeqCst),
            queue_depth: waiting.saturating_add(lane.queue_depth),
            // What cannot be written to the spool does not come to the receiver either.
            trouble: state.trouble.why().or(lane.trouble),
            ..lane
        })
    }

    /// Lets the sinks have what they can take until the deadline. One whose receiver is down is not waited for: what it has not taken is
    /// safe in the spool.
    fn end(&self, couriers: impl Iterator<Item = JoinHandle<()>>, deadline: Instant) {
        let failed = |delivery: &Arc<DeliveryState>| delivery.failed.load(SeqCst);
        let before: Vec<u64> = self.deliveries.iter().map(failed).collect();
        // Closing ends the pauses, so each makes one more attempt.
        self.spool.close();
        let patience = Instant::now() + LAST_ATTEMPT;
        while !self.spool.wait_taken(deadline.min(Instant::now() + LAST_ATTEMPT_POLL)) && Instant::now() < deadline {
            let is_done = |(delivery, before): (&Arc<DeliveryState>, &u64)| {
                let is_down = delivery.trouble.is_there() && (failed(delivery) > *before || Instant::now() >= patience);
                is_down || self.spool.waiting(delivery.place) == 0
            };
            if self.deliveries.iter().zip(&before).all(is_done) {
                break;
            }
        }
        self.deliveries.iter().for_each(|delivery| delivery.abandon());
        for (delivery, thread) in self.deliveries.iter().zip(couriers) {
            thread.thread().unpark();
            // One whose receiver is well ends at once.
            let patience = Instant::now() + ABANDON_GRACE;
            let given = if delivery.trouble.is_there() { patience } else { deadline.max(patience) };
            while !delivery.finished.load(SeqCst) && Instant::now() < given {
                thread::park_timeout(END_POLL);
            }
            if delivery.finished.load(SeqCst) && thread.join().is_err() {
                tracing::error!(sink = %delivery.name, "the delivery of an event sink panicked");
            }
            let waiting = self.spool.waiting(delivery.place);
            if waiting > 0 {
                tracing::info!(sink = %delivery.name, events = waiting, "events stay in the spool for the next start");
            }
        }
    }
}

/// Of each feed one bit.
#[derive(Default)]
struct Taken {
    /// Those that have a place for the event.
    takers: u64,
    /// Of those, the ones that are full and let its answer wait.
    over: u64,
    /// Those that will have one, for which its answer waits.
    missing: u64,
    /// Those that do not get it.
    without: u64,
}

impl Shared {
    /// Shows an event to whoever watches.
    pub(crate) fn show(&self, event: &Event) {
        if let Some(watch) = self.watch.get().filter(|watch| watch.is_looking()) {
            watch.see(event);
        }
    }

    /// Has an event shown by the recorder's thread that no sink takes. Where many of them wait already, it is shown here and now.
    fn show_beside(&self, event: Event) {
        if !self.watch.get().is_some_and(|watch| watch.is_looking()) {
            return;
        }
        if self.unplaced.fetch_add(1, SeqCst) < UNPLACED_MAX {
            match self.intake.send(Intake::Unplaced(Box::new(event))) {
                Ok(()) => return,
                // There is no thread any more, and nobody to be told.
                Err(_) => {
                    self.unplaced.fetch_sub(1, SeqCst);
                    return;
                }
            }
        }
        self.unplaced.fetch_sub(1, SeqCst);
        self.show(&event);
    }

    /// Takes a place in every lane for an event that follows at once on one that has a place in these lanes. Those that have none for it
    /// count it as dropped. `None`: some would take it, and none has a place; nothing is counted then, and it can come again.
    pub(crate) fn reserve_beside(&self, event: &Event, bytes: usize, others: u64) -> Option<u64> {
        let (mut takers, mut filtered, mut without) = (0, Vec::new(), Vec::new());
        for (index, feed) in self.feeds.iter().enumerate() {
            let bit = 1 << index;
            if !feed.lane.takes(event) {
                filtered.push(feed);
            } else if others & bit != 0 {
                feed.lane.reserve_beside(bytes);
                takers |= bit;
            } else {
                match feed.lane.reserve(bytes) {
                    Ok(_) => takers |= bit,
                    Err(cause) => without.push((feed, cause)),
                }
            }
        }
        if takers == 0 && !without.is_empty() {
            return None;
        }
        without.into_iter().for_each(|(feed, cause)| feed.lane.count_dropped(cause, 1));
        filtered.into_iter().for_each(|feed| feed.lane.count_filtered());
        Some(takers)
    }

    /// The event that has these places holds so many more bytes.
    pub(crate) fn grow_places(&self, takers: u64, bytes: usize) {
        for (index, feed) in self.feeds.iter().enumerate() {
            if takers & 1 << index != 0 {
                feed.lane.grow(bytes);
            }
        }
    }

    /// Gives back the places of an event that goes nowhere.
    pub(crate) fn drop_places(&self, takers: u64, bytes: usize, cause: DropCause) {
        for (index, feed) in self.feeds.iter().enumerate() {
            if takers & 1 << index != 0 {
                feed.lane.resolve_dropped(cause, 1, bytes, || {});
            }
        }
    }
}

/// Closes lanes, has what waits written, and ends their threads. Returns how much was left unwritten.
pub(crate) fn end<R>(feeds: &[Feed<R>], threads: impl Iterator<Item = JoinHandle<()>>, timeout: Duration) -> usize {
    let deadline = deadline(timeout);
    feeds.iter().for_each(Feed::close);
    let mut left = 0;
    for feed in feeds {
        if !feed.lane.wait_finished(deadline) {
            left += feed.lane.depth();
            feed.abandon();
        }
    }
    for (feed, thread) in feeds.iter().zip(threads) {
        // A retry that was waiting drops its events within moments; a write that hangs is not waited for.
        if feed.lane.wait_finished(Instant::now() + ABANDON_GRACE) && thread.join().is_err() {
            tracing::error!(sink = %feed.lane.name, "the writer of an event sink panicked");
        }
    }
    left
}

/// How long a receiver that was down has for one more attempt when the process ends, and how often it is looked.
const LAST_ATTEMPT: Duration = Duration::from_secs(1);
const LAST_ATTEMPT_POLL: Duration = Duration::from_millis(20);

/// How long a writer that was told to give up may take to do so.
const ABANDON_GRACE: Duration = Duration::from_millis(100);

/// How often it is looked whether a thread has ended.
const END_POLL: Duration = Duration::from_millis(5);

/// A timeout beyond what the clock can say means a day.
pub(crate) fn deadline(timeout: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(timeout).unwrap_or(now + Duration::from_secs(24 * 60 * 60))
}

#[cfg(test)]
pub(crate) mod testing {
    pub(crate) use super::start::{Opened, Target, assemble};

    /// What `ask` gives once it gives something.
    pub(crate) fn until<T>(patience: std::time::Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
        let deadline = super::deadline(patience);
        loop {
            let given = ask();
            if given.is_some() || std::time::Instant::now() >= deadline {
                return given;
            }
            // Not so often that what is waited for gets no turn.
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    impl super::Recorder {
        /// Waits until everything recorded so far is in its file or in the spool.
        pub(crate) fn written(&self, timeout: std::time::Duration) -> bool {
            let deadline = super::deadline(timeout);
            self.shared.feeds.iter().all(|feed| feed.lane.wait_resolved(deadline))
        }
    }
}

#[cfg(test)]
mod receipts_tests;
#[cfg(test)]
mod restart_tests;
#[cfg(test)]
mod tests;
