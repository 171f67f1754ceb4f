//! The one thread that writes: what must be written at once, and now and then the rest.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use portcullis_risk::state::{Changes, Reading};
use portcullis_risk::{Actor, Demand, RiskEngine};

use crate::clock::CLOCK_WAS_SET;
use crate::database::Database;
use crate::stats::{Counts, StoreStats};

/// Whose state is kept.
pub trait Source: Send + Sync + 'static {
    /// The engine.
    fn risk(&self) -> &RiskEngine;
    /// Now.
    fn now(&self) -> Reading;
}

/// The running thread. Without [`Self::shutdown`] it ends with the process.
#[derive(Debug)]
pub struct Keeping {
    counts: Arc<Counts>,
    path: PathBuf,
    stop: Arc<AtomicBool>,
    wake: SyncSender<()>,
    ended: Mutex<Receiver<()>>,
}

/// How often it is looked what else there is to write.
const EVERY: Duration = Duration::from_secs(2);
/// So much of that is written then; more at most every [`SELDOM`], which is what a process that is killed can lose. A record is a page of the
/// file for itself, since its key is a hash.
const LITTLE: usize = 250;
const SELDOM: Duration = Duration::from_secs(30);
/// What must be written at once is, but where that was done this short a time ago: then what comes is gathered, so that a flood of bans is some
/// twenty writes a second.
const GATHER: Duration = Duration::from_millis(40);
/// Records in one transaction.
const BATCH: usize = 1_000;
/// After a failure; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Though nothing changes, the time is noted: a clock that was set back is told by it.
const HEARTBEAT: Duration = Duration::from_secs(60);
/// How often what says nothing any more is removed.
const PRUNE_EVERY: Duration = Duration::from_secs(10 * 60);
/// Lifted bans, and released demands, that could not be written yet.
const LIFTED_MAX: usize = 10_000;

impl Keeping {
    /// Begins to keep what the source has from now on.
    ///
    /// # Errors
    /// There is no thread.
    pub fn start(database: Database, source: Arc<dyn Source>) -> io::Result<Self> {
        let counts = Arc::<Counts>::default();
        let stop = Arc::<AtomicBool>::default();
        let path = database.path.clone();
        let (wake, woken) = sync_channel(1);
        let (ending, ended) = sync_channel(1);
        let watch = wake.clone();
        source.risk().watch(Box::new(move || {
            // A wake-up that waits already is enough.
            let _ = watch.try_send(());
        }));
        let offset = source.now().offset();
        let writer = Writer {
            database,
            source,
            counts: Arc::clone(&counts),
            unwritten_lifts: Vec::new(),
            unwritten_releases: Vec::new(),
            offset,
            pause: FIRST_PAUSE,
            retry: None,
            last: Instant::now(),
            next: Instant::now() + EVERY,
            woken: None,
            written_rest: None,
            next_prune: Instant::now(),
        };
        let stopped = Arc::clone(&stop);
        thread::Builder::new().name("store".to_owned()).spawn(move || {
            writer.run(&woken, &stopped);
            // Whoever waits for the end may have given up.
            let _ = ending.try_send(());
        })?;
        Ok(Self { counts, path, stop, wake, ended: Mutex::new(ended) })
    }

    /// How it does.
    pub fn stats(&self, source: &dyn Source) -> StoreStats {
        self.counts.stats(&self.path, source.risk().marked())
    }

    /// Why the last write failed; `None` where it did not.
    pub fn trouble(&self) -> Option<Arc<str>> {
        self.counts.trouble()
    }

    /// Writes what has changed, and ends. Says whether that was done within `timeout`, all of it.
    pub fn shutdown(&self, timeout: Duration) -> bool {
        self.stop.store(true, Ordering::Release);
        let _ = self.wake.try_send(());
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(timeout);
        ended.is_ok() && self.trouble().is_none()
    }
}

struct Writer {
    database: Database,
    source: Arc<dyn Source>,
    counts: Arc<Counts>,
    /// Of transactions that failed. Everything else is marked again.
    unwritten_lifts: Vec<Actor>,
    unwritten_releases: Vec<(Demand, Box<str>)>,
    /// The rows of the file are by this.
    offset: SignedDuration,
    pause: Duration,
    /// After a failure: when it is tried again.
    retry: Option<Instant>,
    last: Instant,
    next: Instant,
    /// When it last wrote because it was woken.
    woken: Option<Instant>,
    /// When the rest was last written, all of it; `None` where that failed.
    written_rest: Option<Instant>,
    next_prune: Instant,
}

/// The transaction was not written; that is counted and said already.
struct Failed;

/// Whether it is time for what can wait: so many records, so long after the last time.
pub(crate) fn rest_is_due(records: usize, since: Option<Duration>) -> bool {
    records <= LITTLE || since.is_none_or(|since| since >= SELDOM)
}

impl Writer {
    fn run(mut self, woken: &Receiver<()>, stop: &AtomicBool) {
        // At once, so that whoever had the file before knows.
        let _ = self.write_nothing();
        loop {
            let due = self.retry.unwrap_or(self.next).saturating_duration_since(Instant::now());
            let was_woken = match woken.recv_timeout(due) {
                Ok(()) => true,
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => return self.end(),
            };
            if stop.load(Ordering::Acquire) {
                return self.end();
            }
            if self.retry.is_some_and(|retry| Instant::now() < retry) {
                continue;
            }
            self.retry = None;
            if was_woken {
                // One alone is on the disk at once; the thread of the request that made it goes on meanwhile.
                thread::sleep(GATHER.saturating_sub(self.woken.map_or(GATHER, |woken| woken.elapsed())));
                self.woken = Some(Instant::now());
            }
            // A failure is tried again after its pause, whatever comes.
            let _ = self.write();
        }
    }

    /// What must be written at once, and if it is time the rest.
    fn write(&mut self) -> Result<(), Failed> {
        self.counts.under_way.store(1, Ordering::SeqCst);
        let written = self.write_what_is_due();
        self.counts.under_way.store(0, Ordering::SeqCst);
        written
    }

    fn write_what_is_due(&mut self) -> Result<(), Failed> {
        self.write_urgent()?;
        if Instant::now() < self.next {
            return Ok(());
        }
        self.next = Instant::now() + EVERY;
        if rest_is_due(self.source.risk().marked(), self.written_rest.map(|written| written.elapsed())) {
            self.write_rest()?;
            self.written_rest = Some(Instant::now());
        }
        if self.last.elapsed() >= HEARTBEAT {
            self.write_nothing()?;
        }
        self.prune()
    }

    fn write_urgent(&mut self) -> Result<(), Failed> {
        loop {
            let now = self.now()?;
            let mut changes = self.source.risk().urgent_changes(BATCH, now);
            changes.lifted.splice(..0, std::mem::take(&mut self.unwritten_lifts));
            changes.released.splice(..0, std::mem::take(&mut self.unwritten_releases));
            let more = changes.more;
            if !changes.is_empty() {
                self.save(changes, now)?;
            }
            if !more {
                return Ok(());
            }
        }
    }

    fn write_rest(&mut self) -> Result<(), Failed> {
        loop {
            let now = self.now()?;
            let changes = self.source.risk().changes(BATCH, now);
            let more = changes.more;
            if !changes.is_empty() {
                self.save(changes, now)?;
            }
            if !more {
                return Ok(());
            }
            self.write_urgent()?;
        }
    }

    /// Notes the time alone.
    fn write_nothing(&mut self) -> Result<(), Failed> {
        let now = self.now()?;
        self.save(Changes::default(), now)
    }

    fn save(&mut self, changes: Changes, now: Reading) -> Result<(), Failed> {
        match self.database.write(&changes, now) {
            Ok(again) => {
                let Changes { lifted, bans, released, demands, profiles, healthy, notes, more: _ } = &changes;
                let of_demands = released.len() + demands.len();
                let rows = lifted.len() + bans.len() + of_demands + profiles.len() + healthy.len() + notes.len();
                if again {
                    self.source.risk().mark_all();
                }
                self.counts.rows.fetch_add(rows as u64, Ordering::Relaxed);
                self.succeeded();
                Ok(())
            }
            Err(error) => {
                self.unwritten_lifts.extend(changes.lifted);
                self.unwritten_lifts.truncate(LIFTED_MAX);
                self.unwritten_releases.extend(changes.released);
                self.unwritten_releases.truncate(LIFTED_MAX);
                Err(self.failed(&error.trouble.to_string()))
            }
        }
    }

    fn succeeded(&mut self) {
        self.counts.written.fetch_add(1, Ordering::Relaxed);
        self.counts.last_written.store(self.source.now().wall.as_microsecond(), Ordering::Relaxed);
        (self.pause, self.last) = (FIRST_PAUSE, Instant::now());
        if self.counts.set_trouble(None).is_some() {
            tracing::info!(path = %self.database.path.display(), "the store is written to again");
        }
    }

    fn failed(&mut self, why: &str) -> Failed {
        self.counts.failed.fetch_add(1, Ordering::Relaxed);
        self.retry = Some(Instant::now() + self.pause);
        // All of it is tried again then.
        (self.next, self.written_rest) = (Instant::now(), None);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.source.risk().mark_all();
        if self.counts.set_trouble(Some(why.into())).is_none() {
            let path = self.database.path.display();
            tracing::error!(%path, error = why, "the store cannot be written: a restart would lose what changes now");
        }
        Failed
    }

    /// Now. What was written by a time of day that was set since is brought to that of now first, as one transaction, and then written again
    /// as the engine has it.
    fn now(&mut self) -> Result<Reading, Failed> {
        let now = self.source.now();
        let by = now.offset() - self.offset;
        if by.abs() > CLOCK_WAS_SET {
            if let Err(error) = self.database.follow_the_clock(by, now) {
                return Err(self.failed(&error.trouble.to_string()));
            }
            self.offset = now.offset();
            self.source.risk().mark_times();
        }
        Ok(now)
    }

    fn prune(&mut self) -> Result<(), Failed> {
        if Instant::now() < self.next_prune {
            return Ok(());
        }
        self.next_prune = Instant::now() + PRUNE_EVERY;
        let now = self.now()?;
        let pruned = self.database.prune(&self.source.risk().bounds(), now);
        match pruned {
            Ok(()) => Ok(()),
            Err(error) => Err(self.failed(&error.trouble.to_string())),
        }
    }

    /// Writes all that is left, and closes the file.
    fn end(mut self) {
        self.source.risk().hurry();
        let written = self.write_urgent().and_then(|()| self.write_rest());
        // The time of the end, by which the next start tells how long nobody ran.
        let written = written.and_then(|()| self.write_nothing());
        if written.is_err() {
            tracing::error!("the state at the end is not in the store");
        }
        if let Err(error) = self.database.close() {
            tracing::error!(%error, "the store was not closed in order");
        }
    }
}
