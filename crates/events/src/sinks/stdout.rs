//! JSON lines on standard output, for a container's log collector.
//!
//! A reader that went away (EPIPE) is an error like any other: the events wait and are then dropped and counted, and the
//! gateway goes on. The print macros would panic instead.

use std::io::{self, Write};

use crate::sinks::Sink;

/// Standard output.
pub(crate) struct StdoutSink;

impl Sink for StdoutSink {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        io::stdout().lock().write(lines)
    }

    fn flush(&mut self) -> io::Result<()> {
        // Standard output keeps what it took and could not pass on, and tries again here.
        io::stdout().lock().flush()
    }
}
