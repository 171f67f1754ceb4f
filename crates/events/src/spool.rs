//! The spool: what remote sinks are to get, on disk between the recorder and them, so that neither an outage of a receiver nor a
//! restart loses an event.
//!
//! One folder, for one process at a time: segments of numbered, checksummed records, and a cursor for each sink. Whoever appends is the
//! one thread of the spool's lane ([`SpoolSink`]); each sink reads with a [`Reader`] of its own. A segment is deleted once every
//! sink has passed it, or, at the bound, before a sink has that lets events be dropped: that is counted for that sink alone.
//!
//! A lock is held only to look at a few numbers, and no request ever waits for it.

pub(crate) mod cursor;
mod reader;
mod record;
pub(crate) mod segment;
mod sink;

use std::collections::VecDeque;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use crate::recorder::end::TAIL;
use crate::settings::{OnFull, SpoolSettings};

pub(crate) use reader::Reader;
pub(crate) use sink::SpoolSink;

/// The spool of a process.
#[derive(Debug)]
pub(crate) struct Spool {
    folder: PathBuf,
    max_size: u64,
    segment_size: u64,
    state: Mutex<State>,
    /// Something was appended, taken or closed.
    changed: Condvar,
    /// Files that were set aside, at this start or an earlier one.
    set_aside: usize,
    /// Held as long as the process uses the folder.
    _lock: File,
}

/// What is in the folder, and how far the sinks have got.
#[derive(Debug, Default)]
struct State {
    /// Oldest first; the last one is appended to.
    segments: VecDeque<Segment>,
    /// The number of the next event.
    next: u64,
    sinks: Vec<Progress>,
    closed: bool,
    /// The thread that appends, where it waits for room.
    appender: Option<Thread>,
}

/// One file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Segment {
    /// The number of its first event.
    first: u64,
    /// How many bytes of it are whole.
    length: u64,
}

/// How far one sink has got.
#[derive(Debug, Clone, Copy)]
struct Progress {
    /// The number of the first event that it has not taken.
    next: u64,
    on_full: OnFull,
}

/// What was found in the folder at the start.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Bytes of an event that was being written when the process before died; they were cut off.
    pub(crate) torn: u64,
    /// The last lines, each with its line feed.
    pub(crate) tail: Vec<u8>,
    /// Events that sinks have had already and that are not in the folder any more, as after a loss of power. Their numbers are not given
    /// out again: a sink whose place is beyond the end would pass over as many new events.
    pub(crate) lost: u64,
}

/// How full it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpoolStats {
    /// Bytes on the disk.
    pub bytes: u64,
    /// How many there may be.
    pub max_bytes: u64,
    /// Files.
    pub segments: usize,
    /// Files that could not be read at a start, set aside as `.damaged`, and are there still: no sink gets what was in them, and nobody can say how
    /// many events that was.
    pub set_aside: usize,
}

impl Spool {
    /// Opens the folder, makes it where it is not there, and cuts off what was left half written.
    pub(crate) fn open(settings: &SpoolSettings) -> io::Result<(Self, Found)> {
        let folder = settings.path.clone();
        fs::create_dir_all(&folder)?;
        let lock = lock(&folder)?;
        let (mut state, mut found) = recover(&folder)?;
        if let Some(highest) = cursor::highest(&folder)?.filter(|highest| *highest > state.next) {
            found.lost = highest - state.next;
            state.next = highest;
        }
        if state.segments.is_empty() || found.lost > 0 {
            segment::create(&folder, state.next)?;
            state.segments.push_back(Segment { first: state.next, length: segment::HEADER });
        }
        let spool = Self {
            folder,
            max_size: settings.max_size,
            segment_size: settings.segment_size,
            state: Mutex::new(state),
            changed: Condvar::new(),
            set_aside: segment::set_aside(&settings.path)?,
            _lock: lock,
        };
        Ok((spool, found))
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Adds a sink that has got as far as `saved`, or begins with the oldest event that is there. Returns its place.
    pub(crate) fn add_sink(&self, saved: Option<u64>, on_full: OnFull) -> usize {
        let mut state = self.state();
        let next = saved.filter(|saved| *saved <= state.next).unwrap_or(state.oldest());
        state.sinks.push(Progress { next, on_full });
        state.sinks.len() - 1
    }

    /// How many events wait for a sink.
    pub(crate) fn waiting(&self, sink: usize) -> u64 {
        let state = self.state();
        state.sinks.get(sink).map_or(0, |progress| state.next.saturating_sub(progress.next))
    }

    /// The number of the first event that a sink has not taken.
    pub(crate) fn taken(&self, sink: usize) -> u64 {
        let state = self.state();
        state.sinks.get(sink).map_or(state.next, |progress| progress.next)
    }

    /// A sink has taken, or given up, everything before `next`.
    pub(crate) fn took(&self, sink: usize, next: u64) {
        let mut state = self.state();
        if let Some(progress) = state.sinks.get_mut(sink) {
            progress.next = progress.next.max(next);
        }
        let passed = state.reclaim();
        if let Some(appender) = state.appender.take_if(|_| !passed.is_empty()) {
            appender.unpark();
        }
        drop(state);
        self.changed.notify_all();
        self.delete(&passed);
    }

    /// Deletes files that are in the state no more. One that cannot be deleted is logged.
    fn delete(&self, segments: &[Segment]) {
        for segment in segments {
            let path = segment::path(&self.folder, segment.first);
            if let Err(error) = fs::remove_file(&path) {
                tracing::error!(path = %path.display(), %error, "a segment of the spool cannot be deleted");
            }
        }
    }

    /// Waits until there is an event of this number or a later one, the spool was closed, or `timeout` is over.
    pub(crate) fn wait_for(&self, index: u64, timeout: Duration) {
        let waited =
            self.changed.wait_timeout_while(self.state(), timeout, |state| state.next <= index && !state.closed);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Waits until every sink has got as far as the spool now is. Says whether it came to that.
    pub(crate) fn wait_taken(&self, deadline: Instant) -> bool {
        let state = self.state();
        let target = state.next;
        let behind = |state: &mut State| state.sinks.iter().any(|sink| sink.next < target);
        let time = deadline.saturating_duration_since(Instant::now());
        let waited = self.changed.wait_timeout_while(state, time, behind);
        let (mut state, _timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        !behind(&mut state)
    }

    /// Nothing more will be appended: whoever has read everything is done.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// How full it is.
    pub(crate) fn stats(&self) -> SpoolStats {
        let state = self.state();
        SpoolStats {
            bytes: state.bytes(),
            max_bytes: self.max_size,
            segments: state.segments.len(),
            set_aside: self.set_aside,
        }
    }

    /// Plain numbers: a poisoned lock is as good as any.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes out what every sink has passed. The files are deleted without the lock: that can take its time.
    fn reclaim(&mut self) -> Vec<Segment> {
        let passed = self.sinks.iter().map(|sink| sink.next).min().unwrap_or(self.next);
        let mut gone = Vec::new();
        while self.holds_more_than_the_first() && self.segments.get(1).is_some_and(|second| second.first <= passed) {
            gone.extend(self.segments.pop_front());
        }
        gone
    }

    /// Whether there is an event behind the first segment. A segment that was just begun may be empty, and stay so where the disk is full;
    /// the one before it then holds the end of the chain, and without that the next start could not tell what the spool lacks.
    fn holds_more_than_the_first(&self) -> bool {
        self.segments.get(1).is_some_and(|second| second.first < self.next)
    }

    fn oldest(&self) -> u64 {
        self.segments.front().map_or(self.next, |segment| segment.first)
    }

    fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.length).sum()
    }
}

/// Two processes in one folder would write over each other.
fn lock(folder: &Path) -> io::Result<File> {
    let file = File::options().create(true).truncate(false).write(true).open(folder.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(io::Error::new(io::ErrorKind::ResourceBusy, "another process uses it")),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Looks at what a process before has left.
fn recover(folder: &Path) -> io::Result<(State, Found)> {
    let mut state = State { next: 1, ..State::default() };
    let mut found = Found::default();
    let firsts = segment::list(folder)?;
    let last = firsts.last().copied();
    let mut scanned = None;
    for first in firsts {
        let length = match fs::metadata(segment::path(folder, first)) {
            Ok(metadata) => metadata.len(),
            // Whoever reads goes on behind it, and counts what was in it.
            Err(error) if segment::is_unreadable(&error) => 0,
            Err(error) => return Err(error),
        };
        if Some(first) != last {
            state.segments.push_back(Segment { first, length });
            continue;
        }
        let scan = match segment::scan(folder, first) {
            Ok(scan) if scan.next.is_some() || segment::open_to_read(folder, first).is_ok() => scan,
            // The process died while it made the file, so that nothing is in it; or the disk gives nothing of it any more.
            Ok(_) => {
                set_aside(folder, first)?;
                state.next = first;
                continue;
            }
            Err(error) if is_none(&error) => {
                set_aside(folder, first)?;
                state.next = first;
                continue;
            }
            Err(error) => return Err(error),
        };
        if scan.torn > 0 {
            segment::open_to_append(folder, first)?.set_len(scan.end)?;
            found.torn = scan.torn;
        }
        state.next = scan.next.unwrap_or(first);
        found.tail = scan.tail;
        scanned = Some(first);
        state.segments.push_back(Segment { first, length: scan.end });
    }
    // What another place ends with may be some way back.
    for before in state.segments.iter().rev().filter(|segment| Some(segment.first) != scanned) {
        if found.tail.len() >= TAIL {
            break;
        }
        match segment::scan(folder, before.first) {
            Ok(scan) => found.tail = [scan.tail, std::mem::take(&mut found.tail)].concat(),
            // Whoever reads it will say so.
            Err(error) if is_none(&error) => break,
            Err(error) => return Err(error),
        }
    }
    Ok((state, found))
}

/// Whether an error says that there is no segment to be read: none was written to its end, it is something else, or the disk does not
/// give it.
fn is_none(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData) || segment::is_unreadable(error)
}

/// A file that is no segment must not stand in the way of a new one; and nothing is deleted that somebody may want to look at.
fn set_aside(folder: &Path, first: u64) -> io::Result<()> {
    let path = segment::path(folder, first);
    let readable = !segment::open_to_read(folder, first).is_err_and(|error| segment::is_unreadable(&error));
    if readable && fs::metadata(&path)?.len() <= segment::HEADER {
        return fs::remove_file(path);
    }
    tracing::error!(path = %path.display(), "a file of the spool cannot be read; it is set aside as .damaged");
    fs::rename(&path, path.with_extension(segment::DAMAGED))
}

#[cfg(test)]
mod tests;
