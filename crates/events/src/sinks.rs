//! Where events end up: what a sink has to be able to do, and nothing of how it is fed.
//!
//! A local sink (`Sink`) takes bytes from its lane; batching, retries and counting are the writer's. A remote sink
//! (`Remote`) is given batches of lines out of the spool and says of each batch what became of it; the cursor, the pauses and
//! the dead letters are the delivery's.

pub(crate) mod durable;
mod file;
pub(crate) mod http;
#[cfg(feature = "kafka")]
mod kafka;
pub mod memory;
mod otlp;
mod outcome;
pub(crate) mod post;
pub(crate) mod rotation;
mod sentinel;
mod stdout;
mod syslog;
#[cfg(test)]
mod testing;
mod tls;
pub(crate) mod wire;

use std::io;
use std::time::{Duration, Instant};

use crate::settings::{RemoteKind, SinkKind, SinkSettings};
use durable::Durability;

/// A place that takes lines, owned by one writer thread. A call may block: it holds up nobody but its own thread.
pub(crate) trait Sink: Send {
    /// Takes some of `lines` and says how many bytes, like [`io::Write::write`]. What it does not take is offered again,
    /// from that byte, until it is taken.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize>;

    /// Makes sure that what was taken has left the process.
    fn flush(&mut self) -> io::Result<()>;

    /// Forces what was written to the disk, where that means anything and is not done yet.
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// When [`Self::sync`] is to be called if nothing more comes.
    fn sync_due(&self) -> Option<Instant> {
        None
    }

    /// Opens the target anew, where that means anything. On an error the old target stays.
    fn reopen(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One native event: one object of JSON in UTF-8, without its line feed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    /// The bytes of the line.
    pub(crate) json: &'a [u8],
}

/// A place over a network, owned by one thread of its own. A call may block; what is async in it runs on a runtime in that
/// thread. It must come to an end by itself: every wait inside has a deadline.
pub(crate) trait Remote: Send {
    /// Hands over one batch, oldest first: never empty, already filtered, and within [`Remote::limits`]. The same batch comes again
    /// until it is accepted or refused, and perhaps once more after a restart: delivery is at least once, and the receiver
    /// tells repetitions by the event's `id`.
    fn deliver(&mut self, batch: &[Line<'_>]) -> Delivery;

    /// How much one call may be given.
    fn limits(&self) -> BatchLimits;
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// The receiver has it, as far as its protocol can say.
    Accepted,
    /// Not now: the same batch comes again after a pause, at least `after` where the receiver said so.
    Retry {
        /// What the receiver asked to wait, such as by `Retry-After`.
        after: Option<Duration>,
        /// For the operator: one sentence, without secrets.
        why: String,
    },
    /// Not as the gateway is set up now: the receiver does not accept its credential, or there is none at this address. Somebody may
    /// mend that while it runs, so the same batch comes again; but not for ever.
    Barred {
        /// What the receiver asked to wait.
        after: Option<Duration>,
        /// For the operator: one sentence, without secrets.
        why: String,
    },
    /// Never: these events go to the dead letters, the others of the batch were accepted.
    Refused {
        /// Places in the batch, from 0; empty: all of them.
        which: Vec<usize>,
        /// For the operator: one sentence, without secrets.
        why: String,
    },
    /// Too much at once: its halves come next. One event that is too large alone is a dead letter.
    TooLarge,
}

/// How much a remote sink takes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchLimits {
    /// The most events in one call, at least 1.
    pub(crate) events: usize,
    /// The most bytes of native lines in one call. A single line that is longer comes alone.
    pub(crate) bytes: usize,
}

/// Makes the sender that the configuration names. It connects when there is something to send.
///
/// # Errors
/// When TLS cannot be set up, or a header cannot be sent.
pub(crate) fn open_remote(kind: &RemoteKind) -> io::Result<Box<dyn Remote>> {
    Ok(match kind {
        RemoteKind::Syslog(settings) => Box::new(syslog::SyslogSink::open(settings.clone())?),
        RemoteKind::Http(settings) => Box::new(http::HttpSink::open(settings.clone())?),
        RemoteKind::Sentinel(settings) => Box::new(sentinel::SentinelSink::open(settings.clone())?),
        RemoteKind::Otlp(settings) => Box::new(otlp::OtlpSink::open(settings.clone())?),
        #[cfg(feature = "kafka")]
        RemoteKind::Kafka(settings) => Box::new(kafka::KafkaSink::open(settings.clone())?),
        #[cfg(not(feature = "kafka"))]
        RemoteKind::Kafka(_) => {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "this program was built without Kafka"));
        }
    })
}

/// Opens what the configuration names.
pub(crate) fn open(settings: &SinkSettings, durability: Durability) -> io::Result<Box<dyn Sink>> {
    Ok(match &settings.kind {
        SinkKind::Stdout => Box::new(stdout::StdoutSink),
        SinkKind::File { path } => {
            let file = file::FileSink::open(path.clone(), durability)?;
            Box::new(file.rotated(settings.rotation.as_ref())?)
        }
        SinkKind::Remote(_) => return Err(io::ErrorKind::Unsupported.into()),
    })
}
