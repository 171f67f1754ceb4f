//! Hands every event to every sink, without ever making a request wait.
//!
//! Each sink has its own lane (a bounded queue) and its own writer thread, so a slow sink harms neither requests nor other
//! sinks. What does not fit is dropped and counted. Sinks are fixed while the process runs; [`Recorder::reopen`] opens their
//! files anew.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::bounds;
use crate::event::Event;
use crate::lane::{Feed, Lane, Queued};
use crate::line::{Record, append_json};
use crate::settings::{Settings, SinkKind, SinkSettings};
use crate::sinks::memory::{Capture, MemorySink};
use crate::sinks::{self, Sink};
use crate::tap::Tap;
use crate::writer::Writer;

pub use crate::lane::SinkStats;

/// Takes events. Clones share the sinks, the numbering and the counters.
#[derive(Debug, Clone)]
pub struct Recorder {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    node: Arc<str>,
    cluster: Option<Arc<str>>,
    /// The number of the last event.
    seq: AtomicU64,
    feeds: Vec<Feed<Event>>,
    tap: OnceLock<Box<dyn Tap>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Why the recorder could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A sink's file cannot be opened.
    #[error("sink `{sink}`: cannot open {}", path.display())]
    Open {
        /// The sink.
        sink: Arc<str>,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A sink's thread cannot be started.
    #[error("sink `{sink}`: cannot start its thread")]
    Thread {
        /// The sink.
        sink: Arc<str>,
        /// Why.
        source: io::Error,
    },
}

impl Recorder {
    /// Opens every sink and starts its thread.
    ///
    /// # Errors
    /// When a file cannot be opened or a thread cannot be started: a gateway that cannot record does not start.
    pub fn start(settings: &Settings) -> Result<Self, StartError> {
        let mut opened = Vec::with_capacity(settings.sinks.len());
        for sink in &settings.sinks {
            opened.push((sink.name.clone(), sink.queue, open(sink)?));
        }
        Self::with_sinks(settings, opened)
    }

    /// A recorder whose one sink, `memory`, keeps at most `queue` waiting events and lets a test read what was written.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn in_memory(queue: usize) -> Result<(Self, Capture), StartError> {
        let capture = Capture::default();
        let sink: Box<dyn Sink> = Box::new(MemorySink(capture.clone()));
        let settings = Settings { node: "test".into(), ..Settings::default() };
        Ok((Self::with_sinks(&settings, vec![("memory".into(), queue, sink)])?, capture))
    }

    pub(crate) fn with_sinks(
        settings: &Settings,
        sinks: Vec<(Arc<str>, usize, Box<dyn Sink>)>,
    ) -> Result<Self, StartError> {
        let mut feeds = Vec::with_capacity(sinks.len());
        let mut threads = Vec::with_capacity(sinks.len());
        for (name, queue, sink) in sinks {
            let (feed, thread) = start_writer(name, queue, sink)?;
            feeds.push(feed);
            threads.push(thread);
        }
        Ok(Self {
            shared: Arc::new(Shared {
                node: Arc::clone(&settings.node),
                cluster: settings.cluster.clone(),
                seq: AtomicU64::new(0),
                feeds,
                tap: OnceLock::new(),
                threads: Mutex::new(threads),
            }),
        })
    }

    /// Numbers and bounds the event, names the node, and hands it to every sink. Never blocks: a sink whose queue is full, or
    /// that was shut down, does not get it, and counts that.
    pub fn record(&self, mut event: Event) {
        event.seq = self.shared.seq.fetch_add(1, Ordering::Relaxed) + 1;
        event.node = Arc::clone(&self.shared.node);
        event.cluster.clone_from(&self.shared.cluster);
        let bytes = bounds::apply(&mut event);
        if let Some(tap) = self.shared.tap.get().filter(|tap| tap.is_looking()) {
            show(tap.as_ref(), &event);
        }
        let queued = Arc::new(Queued { record: event, bytes });
        for feed in &self.shared.feeds {
            feed.offer(&queued);
        }
    }

    /// Lets somebody look on from now on. Of several the first stays.
    pub fn set_tap(&self, tap: Box<dyn Tap>) {
        // It is set once, when the process starts.
        let _ = self.shared.tap.set(tap);
    }

    /// How many events were ever recorded. Each of them is exported, dropped or waiting in every sink.
    pub fn recorded(&self) -> u64 {
        self.shared.seq.load(Ordering::Relaxed)
    }

    /// What became of the events, sink by sink, in the order of the configuration.
    pub fn stats(&self) -> Vec<SinkStats> {
        self.shared.feeds.iter().map(|feed| feed.lane.stats()).collect()
    }

    /// Has every file opened anew at its path, after what was recorded before this call is in the old one (at once, where the
    /// old one cannot be written). Returns at once; what is recorded after it goes to the new file.
    ///
    /// Where the path cannot be opened, the old file goes on taking events, and an error is logged.
    pub fn reopen(&self) {
        for feed in &self.shared.feeds {
            feed.ask_reopen();
        }
    }

    /// Waits until all that was recorded before this call is exported or dropped, for at most `timeout`. Says whether it
    /// came to that.
    pub fn flush(&self, timeout: Duration) -> bool {
        let deadline = deadline(timeout);
        self.shared.feeds.iter().all(|feed| feed.lane.wait_resolved(deadline))
    }

    /// Takes no more events, writes what waits, and ends the threads, in at most about `timeout`. Returns how many events
    /// were left unwritten, over all sinks; they count as dropped (`closed`). A thread that is stuck inside a write is left
    /// behind: it holds nothing but its sink.
    pub fn shutdown(&self, timeout: Duration) -> usize {
        let mut threads = self.shared.threads.lock().unwrap_or_else(PoisonError::into_inner);
        end(&self.shared.feeds, threads.drain(..), timeout)
    }
}

/// Shows an event to who looks on, as the sinks will have it.
fn show(tap: &dyn Tap, event: &Event) {
    let mut line = Vec::new();
    // One that cannot be written is reported by the sinks.
    if append_json(&mut line, event).is_ok() {
        tap.see(line.strip_suffix(b"\n").unwrap_or(&line));
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

/// How long a writer that was told to give up may take to do so.
const ABANDON_GRACE: Duration = Duration::from_millis(100);

/// A timeout beyond what the clock can say means a day.
pub(crate) fn deadline(timeout: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(timeout).unwrap_or(now + Duration::from_secs(24 * 60 * 60))
}

pub(crate) fn open(settings: &SinkSettings) -> Result<Box<dyn Sink>, StartError> {
    sinks::open(&settings.kind).map_err(|source| StartError::Open {
        sink: Arc::clone(&settings.name),
        path: match &settings.kind {
            SinkKind::File { path } => path.clone(),
            SinkKind::Stdout => PathBuf::from("standard output"),
            SinkKind::Remote(kind) => match *kind {},
        },
        source,
    })
}

pub(crate) fn start_writer<R: Record>(
    name: Arc<str>,
    queue: usize,
    sink: Box<dyn Sink>,
) -> Result<(Feed<R>, JoinHandle<()>), StartError> {
    let lane = Arc::new(Lane::new(Arc::clone(&name), queue));
    let (sender, receiver) = sync_channel(lane.channel_capacity());
    let writer = Writer::new(Arc::clone(&lane), receiver, sink);
    let thread = thread::Builder::new()
        .name(format!("sink-{name}"))
        .spawn(move || writer.run())
        .map_err(|source| StartError::Thread { sink: name, source })?;
    // The cell is new, so it is empty: this cannot fail.
    let _ = lane.writer.set(thread.thread().clone());
    Ok((Feed { lane, sender }, thread))
}

#[cfg(test)]
mod tests;
