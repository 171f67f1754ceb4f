//! The one thread that writes for a sink: takes what waits, makes lines of it, writes them in batches of whole lines.
//!
//! A batch that cannot be written is kept and tried again, from the byte where the sink stopped, with a growing pause; what
//! piles up behind it meanwhile is bounded by the lane. It never gives up on its own: a disk that has room again goes on where
//! it stopped. Only `abandon`, at the end of a shutdown, makes it drop what it holds.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::format::Format;
use crate::lane::{DropCause, Lane, Message, Queued};
use crate::line::{LineError, Record};
use crate::receipt::Waiting;
use crate::sinks::Sink;

/// A batch is written once it has this many events,
const BATCH_EVENTS: usize = 256;
/// or this many bytes, or nothing more waits.
const BATCH_BYTES: usize = 256 * 1024;
/// A buffer that one huge batch has grown beyond this is given back.
const KEPT_BUFFER_BYTES: usize = 2 * BATCH_BYTES;
/// The pause after a first failure; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How often losses are logged at most.
const LOSS_REPORT_INTERVAL: Duration = Duration::from_secs(10);
/// While events come one after another, this long is waited between two batches: a thread that is woken for each event costs
/// the workers a switch for each. An event that comes alone is written at once.
const GATHER: Duration = Duration::from_millis(2);
/// How long a closing writer waits at a time for an event that is just being handed over.
const LAST_EVENTS_POLL: Duration = Duration::from_millis(5);

/// The state of the thread.
pub(crate) struct Writer<R> {
    lane: Arc<Lane>,
    receiver: Receiver<Message<R>>,
    sink: Box<dyn Sink>,
    /// What stands for this sink in a receipt.
    bit: u64,
    /// Whether single events come, which are worth gathering.
    gathers: bool,
    /// What is made of native lines.
    format: Format,
    batch: Batch,
    /// How many requests to reopen were answered.
    reopened: u64,
    /// When a batch was last written that was not full.
    last_small_batch: Option<Instant>,
    reported_losses: u64,
    last_loss_report: Option<Instant>,
    /// It was told to give up, and has dropped what it could not write.
    has_given_up: bool,
}

impl<R: Record> Writer<R> {
    pub(crate) fn new(lane: Arc<Lane>, receiver: Receiver<Message<R>>, sink: Box<dyn Sink>) -> Self {
        Self {
            lane,
            receiver,
            sink,
            bit: 0,
            gathers: true,
            format: Format::Native,
            batch: Batch::default(),
            reopened: 0,
            last_small_batch: None,
            reported_losses: 0,
            last_loss_report: None,
            has_given_up: false,
        }
    }

    /// The same for groups of native lines, which were gathered before and are written in this form: `bit` stands for this sink in
    /// their receipts.
    pub(crate) fn of_groups(self, bit: u64, format: Format) -> Self {
        Self { bit, gathers: false, format, ..self }
    }

    /// Writes until the lane is closed and empty.
    pub(crate) fn run(mut self) {
        // Whoever waits for the end must be told even if a sink panics.
        let _finish = FinishOnDrop(Arc::clone(&self.lane));
        while let Some(reopen) = self.collect() {
            if self.batch.events > 0 {
                self.last_small_batch = (!self.batch.is_full()).then(Instant::now);
                self.deliver();
            }
            // Everything that was recorded before the request is written by now, and goes to the old file.
            if reopen > self.reopened {
                self.reopen(reopen);
            }
            self.report_losses();
        }
        self.sync();
    }

    /// Fills the batch with what waits, after waiting for the first. Says which request to reopen follows on it, 0 for none; `None`
    /// when there is nothing more to come.
    fn collect(&mut self) -> Option<u64> {
        self.batch.clear();
        self.gather();
        let mut message = self.next()?;
        loop {
            match message {
                Message::Wake => self.lane.wake_pending.store(false, SeqCst),
                Message::Reopen(request) => return Some(request),
                Message::Lines(queued) => self.take(queued),
            }
            if self.batch.is_full() {
                return Some(0);
            }
            let Ok(next) = self.receiver.try_recv() else { return Some(0) };
            message = next;
        }
    }

    /// Lets events pile up for a moment if they are coming quickly.
    fn gather(&self) {
        let quickly = self.gathers && self.last_small_batch.is_some_and(|then| then.elapsed() < GATHER);
        if quickly && !self.lane.is_closed() {
            thread::park_timeout(GATHER);
        }
    }

    /// The next message; `None` once the lane is closed and nothing is left or on its way.
    fn next(&mut self) -> Option<Message<R>> {
        loop {
            if self.lane.is_closed() {
                match self.receiver.recv_timeout(LAST_EVENTS_POLL) {
                    Ok(message) => return Some(message),
                    Err(RecvTimeoutError::Timeout) if self.lane.depth() > 0 => continue,
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
                }
            }
            let Some(due) = self.sink.sync_due() else { return self.receiver.recv().ok() };
            match self.receiver.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(message) => return Some(message),
                Err(RecvTimeoutError::Timeout) => self.sync(),
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// Forces to the disk what was written and is not there yet.
    fn sync(&mut self) {
        if let Err(error) = self.sink.sync() {
            self.lane.count_failed_attempt();
            tracing::error!(sink = %self.lane.name, %error, "what was written cannot be forced to the disk");
        }
    }

    fn take(&mut self, queued: Queued<R>) {
        match self.batch.add(&queued, self.format) {
            Ok(0) => {}
            // Each line was made by the gateway itself a moment ago.
            Ok(lost) => {
                tracing::error!(sink = %self.lane.name, events = lost, "lines cannot be brought into the sink's format");
                self.lane.resolve_dropped(DropCause::Error, lost, 0, || {});
            }
            Err(error) => {
                let name = queued.record.name();
                tracing::error!(sink = %self.lane.name, %name, %error, "it cannot be serialized");
                let lose = || queued.waiting.lose(self.bit);
                self.lane.resolve_dropped(DropCause::Error, queued.events, queued.bytes, lose);
            }
        }
    }

    /// Writes the batch, however long it takes.
    fn deliver(&mut self) {
        if self.has_given_up {
            return self.give_up();
        }
        let mut pause = FIRST_PAUSE;
        while let Err(error) = self.batch.write_to(&mut *self.sink) {
            self.lane.count_failed_attempt();
            self.note_failure(&error);
            if self.lane.is_abandoned() {
                return self.give_up();
            }
            // A request to reopen may be the cure: the old file need not take the rest first.
            let request = self.lane.reopens();
            if request > self.reopened {
                self.reopen(request);
                continue;
            }
            self.report_losses();
            thread::park_timeout(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        self.note_success();
        let report = || self.batch.waiting.iter().for_each(|waiting| waiting.report(self.bit));
        self.lane.resolve_exported(self.batch.events, self.batch.held_bytes, report);
    }

    /// Drops the batch, and with it all that follows, also where there would be room for that: a place that ends earlier than another is given by
    /// the next start what it lacks, and one with a hole is not.
    fn give_up(&mut self) {
        self.has_given_up = true;
        let lose = || self.batch.waiting.iter().for_each(|waiting| waiting.lose(self.bit));
        self.lane.resolve_dropped(DropCause::Closed, self.batch.events, self.batch.held_bytes, lose);
    }

    /// Answers this request to reopen and those before it.
    fn reopen(&mut self, request: u64) {
        self.reopened = request;
        match self.sink.reopen() {
            Ok(()) => {
                self.batch.rewind_to_line();
                tracing::info!(sink = %self.lane.name, "event sink reopened");
            }
            // The old file goes on taking events: a bad reopening loses nothing.
            Err(error) => tracing::error!(sink = %self.lane.name, %error, "event sink cannot be reopened"),
        }
    }

    fn note_failure(&mut self, error: &io::Error) {
        if self.lane.trouble.note(&error.to_string()) {
            tracing::error!(sink = %self.lane.name, %error, "event sink cannot write; events wait");
        }
    }

    fn note_success(&mut self) {
        if self.lane.trouble.end() {
            tracing::info!(sink = %self.lane.name, "event sink writes again");
        }
    }

    /// Logs drops here and not where they happen: that is on a request's path, and there may be thousands a second.
    fn report_losses(&mut self) {
        let lost = self.lane.stats().dropped();
        let due = self.last_loss_report.is_none_or(|last| last.elapsed() >= LOSS_REPORT_INTERVAL);
        if lost > self.reported_losses && due {
            tracing::error!(sink = %self.lane.name, events = lost - self.reported_losses, "events were dropped");
            self.reported_losses = lost;
            self.last_loss_report = Some(Instant::now());
        }
    }
}

/// Tells the lane that its writer is gone.
struct FinishOnDrop(Arc<Lane>);

impl Drop for FinishOnDrop {
    fn drop(&mut self) {
        self.0.finish();
    }
}

/// Serialized events, and how far the sink has taken them.
#[derive(Default)]
struct Batch {
    /// Whole lines.
    lines: Vec<u8>,
    /// How many bytes of them the sink has taken.
    written: usize,
    events: usize,
    /// How much memory the events themselves hold.
    held_bytes: usize,
    /// Answers that wait until it is written.
    waiting: Vec<Waiting>,
}

impl Batch {
    fn clear(&mut self) {
        self.lines.clear();
        if self.lines.capacity() > KEPT_BUFFER_BYTES {
            self.lines.shrink_to(BATCH_BYTES);
        }
        self.written = 0;
        self.events = 0;
        self.held_bytes = 0;
        self.waiting.clear();
    }

    fn is_full(&self) -> bool {
        self.events >= BATCH_EVENTS || self.lines.len() >= BATCH_BYTES
    }

    /// Says how many lines could not be brought into this form, and are left out.
    fn add<R: Record>(&mut self, queued: &Queued<R>, format: Format) -> Result<usize, LineError> {
        let start = self.lines.len();
        queued.record.append(&mut self.lines)?;
        let lost = if format == Format::Native { 0 } else { self.reshape(start, format).min(queued.events) };
        self.events += queued.events - lost;
        self.held_bytes += queued.bytes;
        if !queued.waiting.is_empty() {
            self.waiting.push(queued.waiting.clone());
        }
        Ok(lost)
    }

    /// Brings the native lines from `start` on into another form. Says how many cannot be.
    fn reshape(&mut self, start: usize, format: Format) -> usize {
        let native = self.lines.split_off(start);
        let mut lost = 0;
        for line in native.split_inclusive(|byte| *byte == b'\n') {
            match format.append(line, &mut self.lines) {
                Ok(()) => self.lines.push(b'\n'),
                Err(_no_event) => lost += 1,
            }
        }
        lost
    }

    /// Writes what the sink has not taken yet, usually all of it at once, and flushes.
    fn write_to(&mut self, sink: &mut dyn Sink) -> io::Result<()> {
        while let Some(rest) = self.lines.get(self.written..).filter(|rest| !rest.is_empty()) {
            match sink.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(taken) => self.written = self.written.saturating_add(taken).min(self.lines.len()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        // What could not be forced to the disk is written again: better twice than a word about it that is not true.
        sink.flush().inspect_err(|_| self.written = 0)
    }

    /// Goes back to the start of a line that was taken in part: a new file must get it whole.
    fn rewind_to_line(&mut self) {
        let taken = self.lines.get(..self.written).unwrap_or_default();
        self.written = taken.iter().rposition(|byte| *byte == b'\n').map_or(0, |line_feed| line_feed + 1);
    }
}

#[cfg(test)]
mod tests;
