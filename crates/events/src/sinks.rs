//! Where events end up. A sink takes bytes; batching, retries and counting are the writer's.

mod file;
pub mod memory;
mod stdout;

use std::io;

use crate::settings::SinkKind;

/// A place that takes lines, owned by one writer thread. A call may block: it holds up nobody but its own thread.
pub(crate) trait Sink: Send {
    /// Takes some of `lines` and says how many bytes, like [`io::Write::write`]. What it does not take is offered again,
    /// from that byte, until it is taken.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize>;

    /// Makes sure that what was taken has left the process.
    fn flush(&mut self) -> io::Result<()>;

    /// Opens the target anew, where that means anything. On an error the old target stays.
    fn reopen(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Opens what the configuration names.
pub(crate) fn open(kind: &SinkKind) -> io::Result<Box<dyn Sink>> {
    Ok(match kind {
        SinkKind::Stdout => Box::new(stdout::StdoutSink),
        SinkKind::File { path } => Box::new(file::FileSink::open(path.clone())?),
    })
}
