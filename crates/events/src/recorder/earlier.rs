//! What the process before has left: the end of the chain, whether it stopped in order, and what one place has that another lacks.
//!
//! A process that is killed leaves its files and the spool at different events. The chain goes on from the newest of them all, or it
//! would have two successors of one line; and a place that ends earlier is given the lines it lacks.

use std::fmt;
use std::io;

use super::end::End;
use crate::chain::{Chain, Hash};
use crate::settings::{Settings, SinkSettings};
use crate::sinks::Sink;
use crate::spool::Found;

/// The last event of the process before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Earlier {
    /// Where it was found.
    pub place: String,
    /// Its time, as it says.
    pub time: String,
    /// Whether it was the last that a process records when it stops in order.
    pub in_order: bool,
    /// Its hash, where it bears one that is right.
    hash: Option<Hash>,
}

impl fmt::Display for Earlier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, time, .. } = self;
        if self.in_order {
            return write!(formatter, "the process before it stopped in order at {time}");
        }
        write!(
            formatter,
            "the process before it did not stop in order: the last event in {place} is of {time}, and later ones may be lost"
        )
    }
}

impl From<&End> for Earlier {
    fn from(end: &End) -> Self {
        Self { place: end.place.clone(), time: end.last.time.clone(), in_order: end.in_order, hash: end.hash }
    }
}

/// The ends of all places that get every event.
pub(super) struct Ends {
    /// Of each sink, in their order.
    files: Vec<Option<End>>,
    spool: Option<End>,
}

impl Ends {
    /// Looks at the file of each sink that gets every event, and at the spool. What a filter passed over would be missing from the
    /// chain.
    pub(super) fn look<'s>(sinks: impl Iterator<Item = &'s SinkSettings>, spool: Option<&Found>) -> Self {
        let end = |sink: &SinkSettings| {
            let path = sink.native_file().filter(|_| sink.filter.is_open())?;
            End::of_file(path)
        };
        let spool = spool.and_then(|found| End::of("the spool".to_owned(), found.tail.clone()));
        Self { files: sinks.map(end).collect(), spool }
    }

    fn newest(&self) -> Option<&End> {
        let all = self.spool.iter().chain(self.files.iter().flatten());
        all.reduce(|newest, end| if end.is_later_than(newest) { end } else { newest })
    }

    /// The last event of the process before.
    pub(super) fn earlier(&self) -> Option<Earlier> {
        self.newest().map(Earlier::from)
    }

    /// What the file of this sink lacks.
    pub(super) fn missing_in_file(&self, sink: usize) -> &[u8] {
        self.missing(self.files.get(sink).and_then(Option::as_ref))
    }

    /// What the spool lacks.
    pub(super) fn missing_in_spool(&self) -> &[u8] {
        self.missing(self.spool.as_ref())
    }

    /// A place without any event is new, or was cleared: it lacks nothing.
    fn missing(&self, end: Option<&End>) -> &[u8] {
        // Without a hash, as with `integrity = "off"`, nobody can tell.
        let Some((newest, end)) = self.newest().zip(end.filter(|end| end.hash.is_some())) else { return &[] };
        newest.lines_after(end).unwrap_or_else(|| {
            let (place, other) = (&end.place, &newest.place);
            tracing::warn!(%place, %other, "the last event of one place is not among the last ones of another: what it lacks is not added");
            &[]
        })
    }
}

/// Gives a place the lines that it lacks. Where that fails they stay missing there, which the log says and an audit finds.
pub(super) fn catch_up(name: &str, sink: &mut dyn Sink, lines: &[u8]) {
    if lines.is_empty() {
        return;
    }
    let events = lines.iter().filter(|byte| **byte == b'\n').count();
    match write_all(sink, lines) {
        Ok(()) => tracing::warn!(
            sink = name,
            events,
            "events that the last process had written elsewhere, and not here when it ended, were added"
        ),
        Err(error) => {
            tracing::error!(sink = name, events, %error, "events that the last process had not written here stay missing");
            // So that no half line stays at its end.
            let _ = sink.reopen();
        }
    }
}

fn write_all(sink: &mut dyn Sink, mut lines: &[u8]) -> io::Result<()> {
    while !lines.is_empty() {
        let taken = sink.write(lines)?;
        if taken == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        lines = lines.get(taken..).unwrap_or_default();
    }
    sink.flush()?;
    sink.sync()
}

/// The chain that the next event continues.
pub(super) fn chain(settings: &Settings, earlier: Option<&Earlier>) -> Chain {
    let keeps = settings.spool.is_some() || settings.sinks.iter().any(|sink| sink.native_file().is_some());
    match earlier {
        Some(Earlier { hash: Some(hash), .. }) => Chain::After(*hash),
        Some(earlier) => Chain::begin(&format!("the last event in {} bears no hash that is right", earlier.place)),
        None if keeps => Chain::begin("no earlier event is there"),
        None => Chain::begin("neither a file nor a spool keeps events from one start to the next"),
    }
}
