//! Carries events from the spool to one remote sink, in its own thread, each at least once and in order.
//!
//! A batch stays in hand until the sink has accepted it or refused it for good; only then the cursor moves on. A sink that cannot take
//! it now is asked again after a growing pause; the spool holds what comes meanwhile. What it refuses goes to the dead letters.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use crate::dead_letter::DeadLetters;
use crate::filter::Filter;
use crate::settings::RetrySettings;
use crate::sinks::{BatchLimits, Delivery, Line, Remote};
use crate::spool::cursor::Cursor;
use crate::spool::{Reader, Spool};

/// How long a batch that is not full waits for more.
const LINGER: Duration = Duration::from_millis(50);
/// How often the cursor is written at most while batches follow each other.
const SAVE_INTERVAL: Duration = Duration::from_millis(100);
/// How often an idle thread looks around.
const IDLE: Duration = Duration::from_secs(1);
/// The pause after the spool could not be read.
const READ_PAUSE: Duration = Duration::from_secs(1);

/// What became of one sink's events, and what it is asked to do.
#[derive(Debug)]
pub(crate) struct DeliveryState {
    pub(crate) name: Arc<str>,
    /// The sink's place in the spool.
    pub(crate) place: usize,
    pub(crate) exported: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) given_up: AtomicU64,
    pub(crate) damaged: AtomicU64,
    pub(crate) filtered: AtomicU64,
    pub(crate) failing: AtomicBool,
    pub(crate) finished: AtomicBool,
    abandoned: AtomicBool,
}

impl DeliveryState {
    pub(crate) fn new(name: Arc<str>, place: usize) -> Self {
        Self {
            name,
            place,
            exported: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            given_up: AtomicU64::new(0),
            damaged: AtomicU64::new(0),
            filtered: AtomicU64::new(0),
            failing: AtomicBool::new(false),
            finished: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
        }
    }

    /// Has the thread end soon, whatever it has in hand: that stays in the spool.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, SeqCst);
    }
}

/// The state of the thread.
pub(crate) struct Courier {
    state: Arc<DeliveryState>,
    spool: Arc<Spool>,
    reader: Reader,
    cursor: Cursor,
    remote: Box<dyn Remote>,
    retry: RetrySettings,
    dead_letters: DeadLetters,
    /// What the sink takes; `None`: everything.
    filter: Option<Filter>,
    batch: Batch,
    pause: Duration,
    /// Since when what is in hand has failed.
    failing_since: Option<Instant>,
    saved: Instant,
}

/// Events in hand.
#[derive(Default)]
struct Batch {
    lines: Vec<u8>,
    /// Where each line ends, and its number.
    events: Vec<(usize, u64)>,
}

impl Courier {
    pub(crate) fn new(
        state: Arc<DeliveryState>,
        spool: Arc<Spool>,
        cursor: Cursor,
        remote: Box<dyn Remote>,
        retry: RetrySettings,
        dead_letters: DeadLetters,
    ) -> Self {
        let reader = Reader::new(Arc::clone(&spool), state.place);
        let (pause, saved, filter) = (retry.first, Instant::now(), None);
        Self {
            state,
            spool,
            reader,
            cursor,
            remote,
            retry,
            dead_letters,
            filter,
            batch: Batch::default(),
            pause,
            failing_since: None,
            saved,
        }
    }

    /// The same for a sink that does not take everything.
    pub(crate) fn with_filter(self, filter: Filter) -> Self {
        Self { filter: (!filter.is_open()).then_some(filter), ..self }
    }

    /// Carries until the spool is closed and everything was delivered, or the delivery is abandoned.
    pub(crate) fn run(mut self) {
        // Whoever waits for the end must be told even if a sink panics.
        let _finish = FinishOnDrop(Arc::clone(&self.state));
        while !self.state.abandoned.load(SeqCst) {
            // Looked at first: what was appended before the closing is read after it.
            let closed = self.spool.is_closed();
            if let Err(error) = self.fill() {
                tracing::error!(sink = %self.state.name, %error, "the spool cannot be read");
                self.rest(READ_PAUSE);
            }
            if !self.batch.events.is_empty() {
                if !self.deliver() {
                    break;
                }
                self.save(false);
                continue;
            }
            self.took(self.reader.next());
            self.save(true);
            if closed {
                break;
            }
            self.spool.wait_for(self.reader.next(), IDLE);
        }
        self.save(true);
    }

    /// Fills the batch with what is there, and waits a little for more.
    fn fill(&mut self) -> io::Result<()> {
        self.batch.lines.clear();
        self.batch.events.clear();
        let limits = self.remote.limits();
        let filled = self.read(limits);
        if filled.is_ok() && !self.batch.events.is_empty() && !self.batch.is_full(limits) && !self.spool.is_closed() {
            thread::park_timeout(LINGER);
            self.read(limits)?;
        }
        filled
    }

    fn read(&mut self, limits: BatchLimits) -> io::Result<()> {
        while !self.batch.is_full(limits) {
            let start = self.batch.lines.len();
            let read = self.reader.read(&mut self.batch.lines);
            let gaps = self.reader.take_gaps();
            if gaps.given_up + gaps.damaged > 0 {
                self.state.given_up.fetch_add(gaps.given_up, SeqCst);
                self.state.damaged.fetch_add(gaps.damaged, SeqCst);
                let (given_up, damaged) = (gaps.given_up, gaps.damaged);
                tracing::error!(sink = %self.state.name, given_up, damaged, "events were lost in the spool");
            }
            let Some(index) = read? else { break };
            let line = self.batch.lines.get(start..).unwrap_or_default();
            if self.filter.as_ref().is_some_and(|filter| !filter.takes_line(line)) {
                self.batch.lines.truncate(start);
                self.state.filtered.fetch_add(1, SeqCst);
                continue;
            }
            self.batch.events.push((self.batch.lines.len(), index));
        }
        Ok(())
    }

    /// Delivers the batch, however long it takes. Says `false` when the delivery was abandoned.
    fn deliver(&mut self) -> bool {
        let limits = self.remote.limits();
        let mut done = 0;
        let mut most = limits.events.max(1);
        while done < self.batch.events.len() {
            let lines = self.batch.lines(done, most, limits.bytes);
            match self.remote.deliver(&lines) {
                Delivery::Accepted => {
                    let count = lines.len();
                    self.accepted(count as u64);
                    done += count;
                }
                Delivery::Refused { which, why } => {
                    let count = lines.len();
                    // The places are a receiver's word. One that names none that there is refuses all: none is lost.
                    let mut refused: Vec<usize> = which.into_iter().filter(|place| *place < count).collect();
                    refused.sort_unstable();
                    refused.dedup();
                    if refused.is_empty() {
                        refused = (0..count).collect();
                    }
                    self.bury(done, &refused, &why);
                    self.accepted((count - refused.len()) as u64);
                    done += count;
                }
                Delivery::TooLarge if lines.len() > 1 => most = lines.len() / 2,
                Delivery::TooLarge => {
                    self.bury(done, &[0], "it is too large for the receiver");
                    done += 1;
                }
                Delivery::Retry { why, .. } if self.gives_up() => {
                    let all: Vec<usize> = (0..lines.len()).collect();
                    self.bury(done, &all, &format!("given up: {why}"));
                    self.failing_since = None;
                    done += all.len();
                }
                Delivery::Retry { after, why } => {
                    if !self.failed(after, &why) {
                        return false;
                    }
                    continue;
                }
            }
            self.took(self.batch.after(done, self.reader.next()));
        }
        true
    }

    fn accepted(&mut self, events: u64) {
        self.state.exported.fetch_add(events, SeqCst);
        self.pause = self.retry.first;
        self.failing_since = None;
        if self.state.failing.swap(false, SeqCst) {
            tracing::info!(sink = %self.state.name, "event sink delivers again");
        }
    }

    /// Whether what is in hand has failed for as long as the configuration lets it.
    fn gives_up(&self) -> bool {
        let failing = self.failing_since.map_or(Duration::ZERO, |since| since.elapsed());
        self.retry.give_up.is_some_and(|longest| failing >= longest)
    }

    /// Pauses after an attempt that failed. Says `false` when the delivery was abandoned.
    fn failed(&mut self, after: Option<Duration>, why: &str) -> bool {
        self.state.failed.fetch_add(1, SeqCst);
        self.failing_since.get_or_insert_with(Instant::now);
        if !self.state.failing.swap(true, SeqCst) {
            tracing::error!(sink = %self.state.name, %why, "event sink cannot deliver; events wait in the spool");
        }
        let pause = jittered(self.pause).max(after.unwrap_or_default().min(LONGEST_ASKED));
        self.pause = self.pause.saturating_mul(2).min(self.retry.longest);
        self.rest(pause)
    }

    /// Says `false` when the delivery was abandoned meanwhile. A spool that is closed meanwhile ends the pause: there may be no
    /// later attempt.
    fn rest(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        let closed = self.spool.is_closed();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let abandoned = self.state.abandoned.load(SeqCst);
            if left.is_zero() || abandoned || (!closed && self.spool.is_closed()) {
                return !abandoned;
            }
            thread::park_timeout(left.min(Duration::from_millis(100)));
        }
    }

    /// Puts events of the batch, by their places after `from`, among the dead letters.
    fn bury(&mut self, from: usize, places: &[usize], why: &str) {
        let mut lost = 0_u64;
        for place in places {
            let Some(line) = self.batch.line(from + place) else { continue };
            if let Err(error) = self.dead_letters.write(&self.state.name, why, line) {
                lost += 1;
                tracing::error!(sink = %self.state.name, %error, "a dead letter cannot be written");
            }
        }
        self.state.refused.fetch_add(places.len() as u64, SeqCst);
        tracing::error!(sink = %self.state.name, events = places.len(), lost, %why, "events were refused for good");
    }

    fn took(&self, next: u64) {
        self.spool.took(self.state.place, next);
    }

    /// Writes the cursor, at once or if it is time. Where it cannot be written, events may come twice after a restart.
    fn save(&mut self, at_once: bool) {
        if !at_once && self.saved.elapsed() < SAVE_INTERVAL {
            return;
        }
        self.saved = Instant::now();
        if let Err(error) = self.cursor.save(self.spool.taken(self.state.place)) {
            tracing::error!(sink = %self.state.name, %error, "the sink's place in the spool cannot be saved");
        }
    }
}

/// A receiver that asks for a longer pause is not believed.
const LONGEST_ASKED: Duration = Duration::from_secs(15 * 60);

/// Between a half and the whole of a pause, by chance: senders that failed together should not come back together.
fn jittered(pause: Duration) -> Duration {
    let half = pause / 2;
    let chance = RandomState::new().build_hasher().finish() % 1_001;
    half + half.saturating_mul(u32::try_from(chance).unwrap_or_default()) / 1_000
}

impl Batch {
    fn is_full(&self, limits: BatchLimits) -> bool {
        self.events.len() >= limits.events.max(1) || self.lines.len() >= limits.bytes
    }

    fn line(&self, place: usize) -> Option<&[u8]> {
        let start = place.checked_sub(1).map_or(Some(0), |before| self.events.get(before).map(|(end, _)| *end))?;
        self.lines.get(start..self.events.get(place)?.0)
    }

    /// Lines from a place on: at most so many, and as many bytes, but at least one.
    fn lines(&self, from: usize, events: usize, bytes: usize) -> Vec<Line<'_>> {
        let mut size = 0;
        (from..self.events.len())
            .map_while(|place| self.line(place))
            .take(events)
            .enumerate()
            .take_while(|(number, line)| {
                size += line.len();
                *number == 0 || size <= bytes
            })
            .map(|(_, json)| Line { json })
            .collect()
    }

    /// The number of the first event that is not done when so many of the batch are.
    fn after(&self, done: usize, end: u64) -> u64 {
        self.events.get(done).map_or(end, |(_, index)| *index)
    }
}

/// Tells whoever waits that the thread is gone.
struct FinishOnDrop(Arc<DeliveryState>);

impl Drop for FinishOnDrop {
    fn drop(&mut self) {
        self.0.finished.store(true, SeqCst);
    }
}

#[cfg(test)]
mod tests;
