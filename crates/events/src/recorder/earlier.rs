//! What the process before has left: the end of the chain, whether it stopped in order, and what one place has that another lacks.
//!
//! A process that is killed leaves its files and the spool at different events. The chain goes on from the newest of them all, or it
//! would have two successors of one line; and a place that ends earlier is given the lines it lacks.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::end::{End, FARTHEST, Order};
use crate::chain::{Chain, Hash};
use crate::lane::{Feed, Queued};
use crate::line::Lines;
use crate::receipt::Waiting;
use crate::settings::{Settings, SinkSettings};
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
    /// A place of which nobody can tell whether it ends later.
    rival: Option<String>,
}

impl Earlier {
    /// Two places of which nobody can tell which ends later.
    pub(super) fn undecided(&self) -> Option<(&str, &str)> {
        self.rival.as_deref().map(|rival| (&*self.place, rival))
    }
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
        let (place, time) = (end.place.clone(), end.last.time.clone());
        Self { place, time, in_order: end.in_order, hash: end.hash, rival: None }
    }
}

/// The ends of all places that get every event.
pub(super) struct Ends {
    /// Of each sink, in their order; and at last that of the spool.
    ends: Vec<Option<End>>,
    /// Which of them is the newest.
    newest: Option<usize>,
    /// One that nobody can tell to be older.
    rival: Option<usize>,
}

impl Ends {
    /// Looks at the file of each sink that gets every event, and at the spool in this folder. What a filter passed over would be missing
    /// from the chain.
    pub(super) fn look<'s>(sinks: impl Iterator<Item = &'s SinkSettings>, spool: Option<(&Path, &Found)>) -> Self {
        let end = |sink: &SinkSettings| {
            let path = sink.native_file().filter(|_| sink.filter.is_open())?;
            End::of_file(path)
        };
        let spool = spool.and_then(|(folder, found)| End::of_spool(folder, found.tail.clone()));
        Self::of(sinks.map(end).chain([spool]).collect())
    }

    fn of(ends: Vec<Option<End>>) -> Self {
        let there: Vec<(usize, &End)> =
            ends.iter().enumerate().filter_map(|(place, end)| Some((place, end.as_ref()?))).collect();
        let mut newest = there.first().copied();
        // Each turn finds a later one, so there are no more turns than places. It may take some: two that end far from each other are
        // perhaps only joined by a third one.
        for _ in &there {
            let later = newest.and_then(|(_, end)| there.iter().find(|(_, other)| other.order(end) == Order::Later));
            match later {
                Some(later) => newest = Some(*later),
                None => break,
            }
        }
        let rival = newest.and_then(|(_, end)| there.iter().find(|(_, other)| other.order(end) == Order::Unknown));
        let (newest, rival) = (newest.map(|(place, _)| place), rival.map(|(place, _)| *place));
        Self { ends, newest, rival }
    }

    fn at(&self, place: Option<usize>) -> Option<&End> {
        self.ends.get(place?)?.as_ref()
    }

    /// The last event of the process before.
    pub(super) fn earlier(&self) -> Option<Earlier> {
        let newest = self.at(self.newest)?;
        let rival = self.at(self.rival).map(|rival| rival.place.clone());
        Some(Earlier { rival, ..Earlier::from(newest) })
    }

    /// What the file of this sink lacks.
    pub(super) fn missing_in_file(&self, sink: usize) -> Vec<u8> {
        self.missing(sink)
    }

    /// What the spool lacks.
    pub(super) fn missing_in_spool(&self) -> Vec<u8> {
        self.missing(self.ends.len().saturating_sub(1))
    }

    /// A place without any event is new, or was cleared: it lacks nothing.
    fn missing(&self, place: usize) -> Vec<u8> {
        let end = self.at(Some(place)).filter(|end| end.hash.is_some());
        // Without a hash, as with `integrity = "off"`, nobody can tell.
        let Some((newest, end)) = self.at(self.newest).zip(end) else { return Vec::new() };
        newest.lines_after(end).unwrap_or_else(|| {
            let (place, other) = (&end.place, &newest.place);
            tracing::warn!(%place, %other, "the last event of one place is not among the last ones of another: what it lacks is not added");
            Vec::new()
        })
    }
}

/// So many bytes of lines go to a writer at once.
const GROUP_BYTES: usize = 256 * 1024;

/// Has the writer of a place give it the lines that it lacks, before anything else: like all that waits for it, they are kept until they are
/// written, however long the place takes nothing.
pub(super) fn catch_up(feed: &Feed<Lines>, lines: &[u8]) {
    if lines.is_empty() {
        return;
    }
    let mut events = 0;
    let mut group = Vec::new();
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        if !group.is_empty() && group.len() + line.len() > GROUP_BYTES {
            events += pass_first(feed, std::mem::take(&mut group));
        }
        group.extend_from_slice(line);
    }
    events += pass_first(feed, group);
    tracing::warn!(
        sink = &*feed.lane.name,
        events,
        "events that the last process had written elsewhere, and not here when it ended, are added"
    );
}

fn pass_first(feed: &Feed<Lines>, lines: Vec<u8>) -> usize {
    let (bytes, events) = (lines.len(), lines.iter().filter(|byte| **byte == b'\n').count());
    feed.lane.reserve_first(events, bytes);
    feed.pass(Queued { record: Lines(Arc::new(lines)), bytes, events, waiting: Waiting::default() });
    events
}

/// The chain that the next event continues.
pub(super) fn chain(settings: &Settings, earlier: Option<&Earlier>) -> Chain {
    let keeps = settings.spool.is_some() || settings.sinks.iter().any(|sink| sink.native_file().is_some());
    match earlier {
        Some(Earlier { place, rival: Some(rival), .. }) => Chain::begin(&format!(
            "neither the last event in {place} nor that in {rival} is among the last {} MiB of the other",
            FARTHEST >> 20
        )),
        Some(Earlier { hash: Some(hash), .. }) => Chain::After(*hash),
        Some(earlier) => Chain::begin(&format!("the last event in {} bears no hash that is right", earlier.place)),
        None if keeps => Chain::begin("no earlier event is there"),
        None => Chain::begin("neither a file nor a spool keeps events from one start to the next"),
    }
}
