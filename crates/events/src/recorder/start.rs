//! Starts a recorder: opens the spool and the sinks, finds the end of the chain, and starts a thread for each.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};

use super::earlier::{self, Earlier, Ends};
use super::{Counts, MAX_SINKS, Recorder, Shared, SinkPlace, Spooling, Threads};
use crate::dead_letter::DeadLetters;
use crate::delivery::{Courier, DeliveryState};
use crate::format::Format;
use crate::lane::{Feed, Lane, Message};
use crate::line::{Lines, Record};
use crate::scribe::Scribe;
use crate::settings::{Fsync, Integrity, OnFull, QUEUE, RemoteKind, Settings, SinkKind, SinkSettings};
use crate::sinks::durable::Durability;
use crate::sinks::memory::{Capture, MemorySink};
use crate::sinks::{self, Remote, Sink};
use crate::spool::cursor::{Cursor, file_name};
use crate::spool::{Found, Spool, SpoolSink};
use crate::writer::Writer;

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
    /// The spool cannot be used.
    #[error("the spool {} cannot be used", path.display())]
    Spool {
        /// Its folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A remote sink has no spool to be fed from.
    #[error("sink `{0}` needs a spool")]
    NoSpool(Arc<str>),
    /// What a sink sends with over a network cannot be set up.
    #[error("sink `{sink}`: what it sends with cannot be set up")]
    Receiver {
        /// The sink.
        sink: Arc<str>,
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
    /// There are more sinks than [`MAX_SINKS`].
    #[error("{0} sinks are more than {MAX_SINKS}")]
    TooManySinks(usize),
}

/// A sink that is open.
pub(crate) struct Opened {
    pub(crate) settings: SinkSettings,
    pub(crate) target: Target,
}

/// How a sink is fed.
pub(crate) enum Target {
    /// From its lane.
    Local(Box<dyn Sink>),
    /// From the spool.
    Remote(Box<dyn Remote>),
}

/// Opens every sink and starts its thread.
pub(super) fn start(settings: &Settings) -> Result<Recorder, StartError> {
    let mut opened = Vec::with_capacity(settings.sinks.len());
    for sink in &settings.sinks {
        let target = match &sink.kind {
            SinkKind::Stdout | SinkKind::File { .. } => Target::Local(open(sink, durability(settings))?),
            SinkKind::Remote(kind) => Target::Remote(open_remote(&sink.name, kind)?),
        };
        opened.push(Opened { settings: sink.clone(), target });
    }
    assemble(settings, opened)
}

/// A recorder with one sink that a test can read.
pub(super) fn in_memory(queue: usize) -> Result<(Recorder, Capture), StartError> {
    let capture = Capture::default();
    let target = Target::Local(Box::new(MemorySink(capture.clone())));
    let settings = Settings { node: "test".into(), ..Settings::default() };
    let sink = SinkSettings { queue, ..SinkSettings::new("memory", SinkKind::Stdout) };
    Ok((assemble(&settings, vec![Opened { settings: sink, target }])?, capture))
}

pub(crate) fn open(settings: &SinkSettings, durability: Durability) -> Result<Box<dyn Sink>, StartError> {
    sinks::open(settings, durability).map_err(|source| StartError::Open {
        sink: Arc::clone(&settings.name),
        path: match &settings.kind {
            SinkKind::File { path } => path.clone(),
            SinkKind::Stdout => PathBuf::from("standard output"),
            SinkKind::Remote(_) => PathBuf::from("its receiver"),
        },
        source,
    })
}

fn open_remote(name: &Arc<str>, kind: &RemoteKind) -> Result<Box<dyn Remote>, StartError> {
    sinks::open_remote(kind).map_err(|source| StartError::Receiver { sink: Arc::clone(name), source })
}

fn durability(settings: &Settings) -> Durability {
    Durability::new(settings.fsync, settings.fsync_interval)
}

/// Starts the threads of sinks that are open.
pub(crate) fn assemble(settings: &Settings, sinks: Vec<Opened>) -> Result<Recorder, StartError> {
    if sinks.len() > MAX_SINKS {
        return Err(StartError::TooManySinks(sinks.len()));
    }
    let (mut spool, found) = open_spool(settings)?.unzip();
    let folder = spool.as_ref().map(Spool::folder);
    let ends = Ends::look(sinks.iter().map(|sink| &sink.settings), folder.zip(found.as_ref()));
    let earlier = ends.earlier();
    if let Some(torn) = found.as_ref().map(|found| found.torn).filter(|torn| *torn > 0) {
        tracing::warn!(
            bytes = torn,
            "an event that was being written to the spool when the last process ended was cut off"
        );
    }
    if let Some(lost) = found.as_ref().map(|found| found.lost).filter(|lost| *lost > 0) {
        tracing::error!(
            events = lost,
            "the spool ends before what its receivers have had: so many events were lost in it"
        );
    }
    if let Some((place, rival)) = earlier.as_ref().and_then(Earlier::undecided) {
        tracing::error!(place, rival, "nobody can tell which of two places ends later: a new chain begins");
    }
    if let Some(earlier) = earlier.as_ref().filter(|earlier| !earlier.in_order) {
        let (place, time) = (&earlier.place, &earlier.time);
        tracing::warn!(%place, %time, "the last process did not stop in order; its last events may be missing");
    }
    let mut parts = Parts { fsync: settings.fsync, ..Parts::default() };
    parts.settings = sinks.iter().map(|sink| sink.settings.clone()).collect();
    let mut remotes = Vec::new();
    for (place, Opened { settings, target }) in sinks.into_iter().enumerate() {
        match target {
            Target::Local(sink) => parts.add_local(settings, sink, &ends.missing_in_file(place))?,
            Target::Remote(remote) => {
                parts.places.push(SinkPlace::Remote(remotes.len()));
                remotes.push((settings, remote));
            }
        }
    }
    let spooling = match spool.take() {
        Some(spool) => Some(parts.add_spool(settings, Arc::new(spool), remotes, &ends.missing_in_spool())?),
        None => match remotes.first() {
            Some((sink, _)) => return Err(StartError::NoSpool(Arc::clone(&sink.name))),
            None => None,
        },
    };
    parts.finish(settings, spooling, earlier)
}

fn open_spool(settings: &Settings) -> Result<Option<(Spool, Found)>, StartError> {
    let Some(spool) = &settings.spool else { return Ok(None) };
    Spool::open(spool).map(Some).map_err(|source| StartError::Spool { path: spool.path.clone(), source })
}

/// What the spool's own lane is called.
const SPOOL: &str = "(spool)";

/// What is started so far.
#[derive(Default)]
struct Parts {
    fsync: Fsync,
    feeds: Vec<Feed<Lines>>,
    durable: u64,
    /// These, and those that block.
    kept: u64,
    places: Vec<SinkPlace>,
    settings: Vec<SinkSettings>,
    threads: Threads,
}

impl Parts {
    fn add_local(&mut self, settings: SinkSettings, sink: Box<dyn Sink>, missing: &[u8]) -> Result<(), StartError> {
        let on_disk = matches!(settings.kind, SinkKind::File { .. });
        self.places.push(SinkPlace::Local(self.feeds.len()));
        let lane = Lane::new(settings.name, settings.queue, settings.on_full).with_filter(settings.filter);
        self.add_feed(lane, sink, on_disk, settings.format, missing)
    }

    /// `missing`: native lines that the place lacks; they come first.
    fn add_feed(
        &mut self,
        lane: Lane,
        sink: Box<dyn Sink>,
        on_disk: bool,
        format: Format,
        missing: &[u8],
    ) -> Result<(), StartError> {
        let bit = 1 << self.feeds.len();
        if on_disk && self.fsync == Fsync::Always {
            self.durable |= bit;
            self.kept |= bit;
        }
        if lane.blocks() {
            self.kept |= bit;
        }
        let (feed, thread) =
            start_writer(lane, |lane, receiver| Writer::new(lane, receiver, sink).of_groups(bit, format))?;
        earlier::catch_up(&feed, missing);
        self.feeds.push(feed);
        self.threads.writers.push(thread);
        Ok(())
    }

    /// Every remote sink has its place in the spool before anything is appended: so nothing is taken for passed.
    fn add_spool(
        &mut self,
        settings: &Settings,
        spool: Arc<Spool>,
        remotes: Vec<(SinkSettings, Box<dyn Remote>)>,
        missing: &[u8],
    ) -> Result<Spooling, StartError> {
        let failed = |source| StartError::Spool { path: spool.folder().to_owned(), source };
        let queue = remotes.iter().map(|(sink, _)| sink.queue).max().unwrap_or(QUEUE);
        let blocks = remotes.iter().any(|(sink, _)| sink.on_full == OnFull::Block);
        let permits = remotes.iter().any(|(sink, _)| sink.filter.asks_for_permits());
        let mut deliveries = Vec::with_capacity(remotes.len());
        let mut couriers = Vec::with_capacity(remotes.len());
        for (sink, remote) in remotes {
            let cursor = Cursor::open(spool.folder(), &sink.name);
            let place = spool.add_sink(cursor.saved(), sink.on_full);
            let state = Arc::new(DeliveryState::new(Arc::clone(&sink.name), place));
            let path = sink.dead_letter.path;
            let path = path.unwrap_or_else(|| spool.folder().join(format!("dead-{}.jsonl", file_name(&sink.name))));
            let letters = DeadLetters::new(path, sink.dead_letter.max_size);
            couriers.push(
                Courier::new(Arc::clone(&state), Arc::clone(&spool), cursor, remote, sink.retry, letters)
                    .with_filter(sink.filter, permits)
                    .with_fold(sink.fold.as_ref()),
            );
            deliveries.push(state);
        }
        for (courier, state) in couriers.into_iter().zip(&deliveries) {
            self.threads.couriers.push(spawn(&state.name, move || courier.run())?);
        }
        let feed = self.feeds.len();
        let sink = SpoolSink::open(Arc::clone(&spool), durability(settings)).map_err(failed)?;
        let on_full = if blocks { OnFull::Block } else { OnFull::Drop };
        // Its name is that of no sink: `[[sink]]` may not have it.
        let lane = Lane::new(SPOOL.into(), queue, on_full).with_permits(permits);
        self.add_feed(lane, Box::new(sink), true, Format::Native, missing)?;
        Ok(Spooling { spool, feed, deliveries })
    }

    fn finish(
        self,
        settings: &Settings,
        spooling: Option<Spooling>,
        earlier: Option<Earlier>,
    ) -> Result<Recorder, StartError> {
        let (intake, received) = channel();
        let chain = (settings.integrity == Integrity::Chain).then(|| earlier::chain(settings, earlier.as_ref()));
        let shared = Arc::new(Shared {
            counts: Counts::default(),
            feeds: self.feeds,
            durable: self.durable,
            kept: self.kept,
            intake,
            unplaced: AtomicUsize::new(0),
            sinks: self.places,
            settings: self.settings,
            spooling,
            earlier,
            tap: OnceLock::new(),
            watch: OnceLock::new(),
            threads: Mutex::default(),
        });
        let scribe = Scribe::new(settings, Arc::clone(&shared), received, chain);
        let scribe = Some(spawn(&"recorder".into(), move || scribe.run())?);
        *shared.threads.lock().unwrap_or_else(PoisonError::into_inner) = Threads { scribe, ..self.threads };
        Ok(Recorder { shared })
    }
}

fn spawn(name: &Arc<str>, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StartError> {
    let thread = thread::Builder::new().name(format!("sink-{name}")).spawn(run);
    thread.map_err(|source| StartError::Thread { sink: Arc::clone(name), source })
}

/// Starts the thread of a lane.
pub(crate) fn start_writer<R: Record>(
    lane: Lane,
    make: impl FnOnce(Arc<Lane>, Receiver<Message<R>>) -> Writer<R>,
) -> Result<(Feed<R>, JoinHandle<()>), StartError> {
    let lane = Arc::new(lane);
    let (sender, receiver) = channel();
    let writer = make(Arc::clone(&lane), receiver);
    let thread = spawn(&lane.name, move || writer.run())?;
    // The cell is new, so it is empty: this cannot fail.
    let _ = lane.writer.set(thread.thread().clone());
    Ok((Feed { lane, sender }, thread))
}
