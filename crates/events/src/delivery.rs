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
use crate::fold::{Fate, Folded, Folder};
use crate::settings::{FoldSettings, RetrySettings};
use crate::sinks::post::LONGEST_PAUSE;
use crate::sinks::{BatchLimits, Delivery, Line, Remote};
use crate::spool::cursor::Cursor;
use crate::spool::{Reader, Spool};
use crate::trouble::Trouble;

/// How long a batch that is not full waits for more.
const LINGER: Duration = Duration::from_millis(50);
/// How often the cursor is written at most while batches follow each other.
const SAVE_INTERVAL: Duration = Duration::from_millis(100);
/// How often an idle thread looks around.
const IDLE: Duration = Duration::from_secs(1);
/// How often dead letters are tried to be written, and the longest pause between two attempts.
const LETTER_ATTEMPTS: u32 = 10;
const LETTER_PAUSE: Duration = Duration::from_secs(5);
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
    /// Refused for good, and among the dead letters.
    pub(crate) refused: AtomicU64,
    /// Refused for good, and not even there.
    pub(crate) lost: AtomicU64,
    pub(crate) given_up: AtomicU64,
    pub(crate) damaged: AtomicU64,
    pub(crate) filtered: AtomicU64,
    /// Why it cannot deliver at the moment.
    pub(crate) trouble: Trouble,
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
            lost: AtomicU64::new(0),
            given_up: AtomicU64::new(0),
            damaged: AtomicU64::new(0),
            filtered: AtomicU64::new(0),
            trouble: Trouble::default(),
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
    /// What becomes of repeats; `None`: nothing.
    folder: Option<Folder>,
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
    events: Vec<Entry>,
}

/// One line.
struct Entry {
    /// Where it ends.
    end: usize,
    /// The number of its event, or of the first for which it stands.
    index: u64,
    /// For how many events it stands.
    events: u64,
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
            folder: None,
            batch: Batch::default(),
            pause,
            failing_since: None,
            saved,
        }
    }

    /// The same for a sink that does not take everything, or a spool with permits in it, which are not for everybody.
    pub(crate) fn with_filter(self, filter: Filter, permits: bool) -> Self {
        Self { filter: (permits || !filter.is_open()).then_some(filter), ..self }
    }

    /// The same for a sink that gets repeats as one record.
    pub(crate) fn with_fold(self, fold: Option<&FoldSettings>) -> Self {
        Self { folder: fold.map(Folder::new), ..self }
    }

    /// Carries until the spool is closed and everything was delivered, or the delivery is abandoned.
    pub(crate) fn run(mut self) {
        // Whoever waits for the end must be told even if a sink panics.
        let _finish = FinishOnDrop(Arc::clone(&self.state));
        while !self.state.abandoned.load(SeqCst) {
            // Looked at first: what was appended before the closing is read after it.
            let closed = self.spool.is_closed();
            if let Err(error) = self.fill(closed) {
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
            self.spool.wait_for(self.reader.next(), self.idle());
        }
        self.save(true);
    }

    /// How long to wait for the next event: not longer than for the end of a window.
    fn idle(&self) -> Duration {
        let due = self.folder.as_ref().and_then(Folder::next_due);
        due.map_or(IDLE, |due| due.saturating_duration_since(Instant::now()).min(IDLE))
    }

    /// Fills the batch with what is there, and waits a little for more. `last`: nothing more will come.
    fn fill(&mut self, last: bool) -> io::Result<()> {
        self.batch.lines.clear();
        self.batch.events.clear();
        let limits = self.remote.limits();
        if let Some(folder) = &mut self.folder {
            folder.due(Instant::now()).into_iter().for_each(|folded| self.batch.push_folded(&folded));
        }
        let filled = self.read(limits);
        if let Some(folder) = self.folder.as_mut().filter(|_| last && self.batch.events.is_empty()) {
            folder.all().into_iter().for_each(|folded| self.batch.push_folded(&folded));
        }
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
            self.take(start, index);
        }
        Ok(())
    }

    /// Takes the line that begins there into the batch, or has it folded.
    fn take(&mut self, start: usize, index: u64) {
        let Some(folder) = &mut self.folder else { return self.batch.push(index) };
        let line = self.batch.lines.split_off(start);
        let mut ended = Vec::new();
        let fate = folder.take(&line, index, Instant::now(), &mut ended);
        ended.iter().for_each(|folded| self.batch.push_folded(folded));
        if fate == Fate::Passes {
            self.batch.lines.extend_from_slice(&line);
            self.batch.push(index);
        }
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
                    self.accepted(self.batch.stands_for(done..done + count));
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
                    let buried = self.batch.counted(done, &refused);
                    if !self.bury(done, &refused, &why) {
                        return false;
                    }
                    self.accepted(self.batch.stands_for(done..done + count).saturating_sub(buried));
                    done += count;
                }
                Delivery::TooLarge if lines.len() > 1 => most = lines.len() / 2,
                Delivery::TooLarge => {
                    if !self.bury(done, &[0], "it is too large for the receiver") {
                        return false;
                    }
                    done += 1;
                }
                Delivery::Retry { after, why } => {
                    match self.retry_or_give_up(done, lines.len(), self.retry.give_up, after, &why) {
                        After::Again => continue,
                        After::GivenUp(events) => done += events,
                        After::Abandoned => return false,
                    }
                }
                Delivery::Barred { after, why } => {
                    let give_up = Some(self.retry.give_up.unwrap_or(BARRED));
                    match self.retry_or_give_up(done, lines.len(), give_up, after, &why) {
                        After::Again => continue,
                        After::GivenUp(events) => done += events,
                        After::Abandoned => return false,
                    }
                }
            }
            self.took(self.batch.after(done, self.reader.next()));
        }
        true
    }

    fn accepted(&mut self, events: u64) {
        self.state.exported.fetch_add(events, SeqCst);
        (self.pause, self.failing_since) = (self.retry.first, None);
        if self.state.trouble.end() {
            tracing::info!(sink = %self.state.name, "event sink delivers again");
        }
    }

    /// What is done about so many events from a place on that failed.
    fn retry_or_give_up(
        &mut self,
        from: usize,
        events: usize,
        give_up: Option<Duration>,
        after: Option<Duration>,
        why: &str,
    ) -> After {
        let failing = self.failing_since.map_or(Duration::ZERO, |since| since.elapsed());
        if give_up.is_none_or(|longest| failing < longest) {
            return if self.failed(after, why) { After::Again } else { After::Abandoned };
        }
        if !self.bury(from, &(0..events).collect::<Vec<_>>(), &format!("given up: {why}")) {
            return After::Abandoned;
        }
        self.state.failed.fetch_add(1, SeqCst);
        self.state.trouble.note(why);
        // What comes behind has its own time: it may be mended by then.
        self.failing_since = None;
        After::GivenUp(events)
    }

    /// Pauses after an attempt that failed. Says `false` when the delivery was abandoned.
    fn failed(&mut self, after: Option<Duration>, why: &str) -> bool {
        self.state.failed.fetch_add(1, SeqCst);
        self.failing_since.get_or_insert_with(Instant::now);
        if self.state.trouble.note(why) {
            tracing::error!(sink = %self.state.name, %why, "event sink cannot deliver; events wait in the spool");
        }
        let pause = pause_for(self.pause, after);
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

    /// Puts events of the batch, by their places after `from`, among the dead letters. Says `false` when the delivery was abandoned
    /// before they were on the disk.
    fn bury(&mut self, from: usize, places: &[usize], why: &str) -> bool {
        let (events, mut lost) = (self.batch.counted(from, places), 0);
        for attempt in 1.. {
            let Err(error) = self.write_letters(from, places, why) else { break };
            tracing::error!(sink = %self.state.name, attempt, %error, "dead letters cannot be written");
            if attempt == LETTER_ATTEMPTS {
                // A disk that takes nothing must not hold up for ever what the receiver would take.
                lost = events;
                break;
            }
            if !self.rest(self.retry.longest.min(LETTER_PAUSE)) {
                return false;
            }
        }
        self.state.refused.fetch_add(events - lost, SeqCst);
        self.state.lost.fetch_add(lost, SeqCst);
        tracing::error!(sink = %self.state.name, events, lost, %why, "events were refused for good");
        true
    }

    /// All of them, on the disk. After an attempt that failed some may stand there twice.
    fn write_letters(&mut self, from: usize, places: &[usize], why: &str) -> io::Result<()> {
        for place in places {
            if let Some(line) = self.batch.line(from + place) {
                self.dead_letters.write(&self.state.name, why, line)?;
            }
        }
        self.dead_letters.sync()
    }

    /// Everything before this is done with, but for what is still to be folded.
    fn took(&self, next: u64) {
        let held = self.folder.as_ref().and_then(Folder::oldest);
        self.spool.took(self.state.place, held.map_or(next, |held| next.min(held)));
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

/// What becomes of events that failed.
enum After {
    /// They come again.
    Again,
    /// So many of them are dead letters.
    GivenUp(usize),
    /// They stay in the spool.
    Abandoned,
}

/// How long a receiver is asked that refuses the gateway itself, where the configuration does not say when to give up. A role may
/// take half an hour to be in effect, and whoever is to mend a credential may sleep.
const BARRED: Duration = Duration::from_secs(24 * 60 * 60);

/// The pause after an attempt that failed, at least what the receiver asked for. One that asks for more than an hour is not believed.
fn pause_for(pause: Duration, asked: Option<Duration>) -> Duration {
    jittered(pause).max(asked.unwrap_or_default().min(LONGEST_PAUSE))
}

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

    /// The line that was appended last, with its number.
    fn push(&mut self, index: u64) {
        self.events.push(Entry { end: self.lines.len(), index, events: 1 });
    }

    fn push_folded(&mut self, folded: &Folded) {
        self.lines.extend_from_slice(&folded.line);
        self.events.push(Entry { end: self.lines.len(), index: folded.index, events: folded.events });
    }

    fn line(&self, place: usize) -> Option<&[u8]> {
        let start = place.checked_sub(1).map_or(Some(0), |before| self.events.get(before).map(|entry| entry.end))?;
        self.lines.get(start..self.events.get(place)?.end)
    }

    /// For how many events these lines stand.
    fn stands_for(&self, places: std::ops::Range<usize>) -> u64 {
        self.events.get(places).unwrap_or_default().iter().map(|entry| entry.events).sum()
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

    /// The same of lines by their places after `from`.
    fn counted(&self, from: usize, places: &[usize]) -> u64 {
        places.iter().map(|place| self.stands_for(from + place..from + place + 1)).sum()
    }

    /// The number of the first event that is not done when so many lines of the batch are. A record of several stands behind the
    /// events that came between them.
    fn after(&self, done: usize, end: u64) -> u64 {
        self.events.get(done..).unwrap_or_default().iter().map(|entry| entry.index).min().unwrap_or(end)
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
