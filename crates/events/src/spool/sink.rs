//! Appends what the recorder writes to the spool's last segment. It is the sink of the spool's own lane: batches, attempts that
//! fail and counting are its writer's.

use std::fs::File;
use std::io::{self, Write as _};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::{Segment, Spool, State, record, segment};
use crate::settings::OnFull;
use crate::sinks::Sink;
use crate::sinks::durable::Durability;

/// How long the appender waits at a time for a sink that blocks.
const ROOM: Duration = Duration::from_secs(1);

/// The appending end of a spool.
pub(crate) struct SpoolSink {
    spool: Arc<Spool>,
    file: File,
    current: Segment,
    durability: Durability,
    records: Vec<u8>,
}

impl SpoolSink {
    /// Goes on with the last segment.
    pub(crate) fn open(spool: Arc<Spool>, durability: Durability) -> io::Result<Self> {
        let last = spool.state().segments.back().copied();
        let current = last.ok_or(io::ErrorKind::NotFound)?;
        let file = segment::open_to_append(&spool.folder, current.first)?;
        Ok(Self { spool, file, current, durability, records: Vec::new() })
    }

    /// Makes room for so many bytes, by the rules of the sinks.
    fn make_room(&self, bytes: u64) -> io::Result<()> {
        let deadline = Instant::now() + ROOM;
        let mut state = self.spool.state();
        loop {
            let passed = state.reclaim();
            if !passed.is_empty() {
                drop(state);
                self.spool.delete(&passed);
                state = self.spool.state();
                continue;
            }
            if state.bytes() + bytes <= self.spool.max_size || !state.holds_more_than_the_first() {
                return Ok(());
            }
            if !is_kept(&state) {
                let oldest = state.segments.pop_front();
                drop(state);
                self.give_up(oldest.as_slice());
                state = self.spool.state();
                continue;
            }
            let time = deadline.saturating_duration_since(Instant::now());
            if time.is_zero() {
                state.appender = Some(thread::current());
                return Err(io::Error::new(io::ErrorKind::StorageFull, "the spool is full, and a sink blocks"));
            }
            state = self.spool.changed.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whose events these were counts them when it comes to the gap.
    fn give_up(&self, segments: &[Segment]) {
        self.spool.delete(segments);
        tracing::error!(
            path = %self.spool.folder.display(),
            "the spool is full: its oldest events are given up for the sinks that do not have them yet"
        );
    }

    /// Begins a new segment, where the last one is as large as it may be.
    pub(super) fn roll(&mut self, first: u64, bytes: u64) -> io::Result<()> {
        let is_empty = self.current.length <= segment::HEADER;
        if is_empty || self.current.length + bytes <= self.spool.segment_size {
            return Ok(());
        }
        self.sync()?;
        self.file = segment::create(&self.spool.folder, first)?;
        self.current = Segment { first, length: segment::HEADER };
        self.spool.state().segments.push_back(self.current);
        Ok(())
    }
}

/// Whether the oldest segment holds something for a sink that blocks.
fn is_kept(state: &State) -> bool {
    let end = state.segments.get(1).map_or(state.next, |second| second.first);
    state.sinks.iter().any(|sink| sink.on_full == OnFull::Block && sink.next < end)
}

impl Sink for SpoolSink {
    /// Takes all lines or none.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let mut next = self.spool.state().next;
        let first = next;
        self.records.clear();
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            record::append(&mut self.records, next, line.strip_suffix(b"\n").unwrap_or(line));
            next += 1;
        }
        let bytes = self.records.len() as u64;
        self.make_room(bytes)?;
        self.roll(first, bytes)?;
        if let Err(error) = self.file.write_all(&self.records) {
            // What was written of it would stand before the next attempt. If it cannot be cut off, readers pass over it.
            if self.file.set_len(self.current.length).is_err() {
                self.current.length = self.file.metadata()?.len();
            }
            return Err(error);
        }
        self.current.length += bytes;
        self.durability.wrote();
        let mut state = self.spool.state();
        state.next = next;
        if let Some(last) = state.segments.back_mut() {
            *last = self.current;
        }
        drop(state);
        self.spool.changed.notify_all();
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.durability.flush(&self.file)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.durability.sync(&self.file)
    }

    fn sync_due(&self) -> Option<Instant> {
        self.durability.due()
    }
}
