//! A sink that keeps its lines, for tests: what a recorder wrote can be waited for and read back.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::sinks::Sink;

/// How many lines are kept at most; a further one is an error, so that a test notices.
const MAX_LINES: usize = 100_000;

/// The lines that a recorder made by [`Recorder::in_memory`](crate::Recorder::in_memory) has written.
#[derive(Debug, Clone, Default)]
pub struct Capture {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    lines: Mutex<VecDeque<String>>,
    grown: Condvar,
}

impl Capture {
    /// The lines so far, without their line feeds, oldest first.
    pub fn lines(&self) -> Vec<String> {
        self.locked().iter().cloned().collect()
    }

    /// The events so far, oldest first. A line that is no JSON is `null`, which no event is.
    pub fn events(&self) -> Vec<Value> {
        parse(&self.locked())
    }

    /// Waits until there are `count` events, for at most `timeout`, and returns all there are then.
    pub fn wait_for(&self, count: usize, timeout: Duration) -> Vec<Value> {
        let waited = self.shared.grown.wait_timeout_while(self.locked(), timeout, |lines| lines.len() < count);
        parse(&waited.unwrap_or_else(PoisonError::into_inner).0)
    }

    /// Forgets the lines so far.
    pub fn clear(&self) {
        self.locked().clear();
    }

    fn locked(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.shared.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn parse(lines: &VecDeque<String>) -> Vec<Value> {
    lines.iter().map(|line| serde_json::from_str(line).unwrap_or_default()).collect()
}

/// The end of a [`Capture`] that a writer thread holds.
pub(crate) struct MemorySink(pub(crate) Capture);

impl Sink for MemorySink {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let text = std::str::from_utf8(lines).map_err(io::Error::other)?;
        let mut kept = self.0.locked();
        if kept.len() >= MAX_LINES {
            return Err(io::ErrorKind::StorageFull.into());
        }
        kept.extend(text.lines().map(str::to_owned));
        self.0.shared.grown.notify_all();
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
