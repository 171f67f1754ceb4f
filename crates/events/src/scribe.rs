//! The recorder's one thread: numbers each event, makes one line of it, and hands groups of lines to the sinks' lanes.
//!
//! Because there is one such thread in a process, the order of the lines is the order of their numbers, and it is the same in
//! every sink. It waits for no sink: an event has its places before it comes here, or, where a sink that blocks has none left, it stays
//! aside until there is one. So there are at most as many aside as requests under way, and as many of callers that went away meanwhile
//! without an answer as a bound of bytes lets stay.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use uuid::Uuid;

use crate::bounds;
use crate::chain::Chain;
use crate::checkpoint::CheckpointSettings;
use crate::event::{Event, EventKind};
use crate::lane::{DropCause, Queued};
use crate::line::{Lines, append_json};
use crate::receipt::{Awaited, Waiting};
use crate::recorder::{Counts, Shared};
use crate::settings::Settings;

/// A group is handed on once it has this many events,
const GROUP_EVENTS: usize = 256;
/// or this many bytes, or nothing more waits.
const GROUP_BYTES: usize = 256 * 1024;
/// While events come one after another, this long is waited between two groups: a thread that is woken for each event costs
/// the workers a switch for each. An event that comes alone is handed on at once.
const GATHER: Duration = Duration::from_millis(2);
/// How long a closing thread waits at a time for an event that is just being handed over.
const LAST_EVENTS_POLL: Duration = Duration::from_millis(5);
/// How often a place is looked for, for the events that have none.
const PLACE_POLL: Duration = Duration::from_millis(20);
/// How many bytes of events stay aside whose callers went away: they were refused all the same, and whoever hangs up must not thereby make
/// his event go away. Each request under way has its own bound; without one here, memory would have none.
const HUNG_UP_BYTES: usize = if cfg!(test) { 64 * 1024 } else { 64 * 1024 * 1024 };
/// How long after a checkpoint that no sink had room for the next one is tried.
const CHECKPOINT_RETRY: Duration = Duration::from_secs(1);

/// What comes from those who record.
#[derive(Debug)]
pub(crate) enum Intake {
    /// Write this.
    Event(Box<Entry>),
    /// Show this to whoever watches: no sink takes it.
    Unplaced(Box<Event>),
    /// Have each sink opened anew, with the number of its request.
    Reopen(Vec<u64>),
    /// Look whether the recorder was closed.
    Wake,
}

/// An event that has its places.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) event: Event,
    /// About how much memory it holds.
    pub(crate) bytes: usize,
    /// The sinks in whose lanes it has a place, one bit for each.
    pub(crate) takers: u64,
    /// The sinks that are still to give it one, for which its answer waits.
    pub(crate) missing: u64,
    /// How many events had been lost when it was recorded: its number leaves room for them.
    pub(crate) lost_before: u64,
    pub(crate) awaited: Option<Awaited>,
}

/// The state of the thread.
pub(crate) struct Scribe {
    shared: Arc<Shared>,
    intake: Receiver<Intake>,
    node: Arc<str>,
    cluster: Option<Arc<str>>,
    chain: Option<Chain>,
    /// When the chain is signed, where it is.
    checkpoints: Option<Checkpoints>,
    /// The number of the last line.
    seq: u64,
    /// Events ever taken off the channel.
    taken: u64,
    /// Events lost before the last one that was numbered.
    lost: u64,
    /// Events that have no number.
    unnumbered: u64,
    group: Group,
    /// Events that have not all their places yet, the oldest first.
    aside: VecDeque<Entry>,
    /// When a group was last handed on that was not full.
    last_small_group: Option<Instant>,
}

/// How much of the chain is not signed yet.
struct Checkpoints {
    settings: CheckpointSettings,
    /// Events since the last checkpoint, and when the first of them was written.
    events: u64,
    since: Instant,
    /// After one that no sink had room for, not before this.
    not_before: Option<Instant>,
}

impl Checkpoints {
    fn new(settings: CheckpointSettings) -> Self {
        Self { settings, events: 0, since: Instant::now(), not_before: None }
    }

    fn due(&self) -> Option<Instant> {
        self.not_before.or_else(|| self.since.checked_add(self.settings.every))
    }
}

/// Lines that are handed on together, and what is known of each.
#[derive(Default)]
struct Group {
    lines: Vec<u8>,
    events: Vec<Written>,
    awaited: Vec<Awaited>,
}

/// One line of a group.
struct Written {
    /// Where it ends, its line feed included.
    end: usize,
    bytes: usize,
    takers: u64,
}

impl Scribe {
    /// The thread of these settings, which goes on with this chain.
    pub(crate) fn new(
        settings: &Settings,
        shared: Arc<Shared>,
        intake: Receiver<Intake>,
        chain: Option<Chain>,
    ) -> Self {
        Self {
            shared,
            intake,
            node: Arc::clone(&settings.node),
            cluster: settings.cluster.clone(),
            checkpoints: settings.checkpoint.clone().filter(|_| chain.is_some()).map(Checkpoints::new),
            chain,
            seq: 0,
            taken: 0,
            lost: 0,
            unnumbered: 0,
            group: Group::default(),
            aside: VecDeque::new(),
            last_small_group: None,
        }
    }

    /// Hands on until the recorder is closed and nothing is left.
    pub(crate) fn run(mut self) {
        while let Some(first) = self.next() {
            self.find_places();
            let reopen = self.collect(first);
            if self.checkpoint_due().is_some_and(|due| due <= Instant::now()) {
                self.checkpoint(0);
            }
            // Where an answer waits for its event, nobody makes it wait for others.
            let small = !self.group.events.is_empty() && !self.group.is_full() && self.group.awaited.is_empty();
            self.last_small_group = small.then(Instant::now);
            self.hand_on();
            for (feed, request) in self.shared.feeds.iter().zip(reopen) {
                feed.pass_reopen(request);
            }
        }
    }

    /// The next message, after letting some pile up if they are coming quickly; `None` once the recorder is closed and nothing is
    /// left or on its way.
    fn next(&self) -> Option<Intake> {
        let closed = || self.shared.counts.closed.load(SeqCst);
        if self.last_small_group.is_some_and(|then| then.elapsed() < GATHER) && !closed() {
            thread::park_timeout(GATHER);
        }
        loop {
            let open = !closed();
            let patience = match (open, self.aside.is_empty(), self.checkpoint_due()) {
                (true, true, None) => return self.intake.recv().ok(),
                (true, true, Some(due)) => due.saturating_duration_since(Instant::now()),
                (true, false, _) => PLACE_POLL,
                (false, ..) => LAST_EVENTS_POLL,
            };
            match self.intake.recv_timeout(patience) {
                Ok(message) => return Some(message),
                Err(RecvTimeoutError::Timeout) if open || !self.aside.is_empty() => return Some(Intake::Wake),
                Err(RecvTimeoutError::Timeout) if self.shared.counts.passed() > self.taken => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// Gives places to events that had none, the oldest first. Of those whose callers went away, the latest go where there are too many.
    fn find_places(&mut self) {
        let mut hung_up = 0;
        for mut entry in std::mem::take(&mut self.aside) {
            let forsaken = entry.awaited.as_ref().is_none_or(Awaited::is_forsaken);
            if !self.group.is_full() {
                let may_stay = !forsaken || hung_up + entry.bytes <= HUNG_UP_BYTES;
                self.find_place(&mut entry, may_stay);
            }
            if entry.missing == 0 {
                self.write(&mut entry);
            } else {
                hung_up += if forsaken { entry.bytes } else { 0 };
                self.aside.push_back(entry);
            }
        }
    }

    /// Looks for the places that an event still needs; where it may not stay, it does without those that there are none of.
    fn find_place(&self, entry: &mut Entry, may_stay: bool) {
        for (index, feed) in self.shared.feeds.iter().enumerate() {
            let bit = 1 << index;
            if entry.missing & bit == 0 {
                continue;
            }
            let cause = match feed.lane.reserve(entry.bytes) {
                Ok(_) => {
                    entry.takers |= bit;
                    entry.missing &= !bit;
                    continue;
                }
                Err(DropCause::QueueFull) if may_stay => continue,
                Err(DropCause::QueueFull) => DropCause::HungUp,
                // There will be no place any more.
                Err(cause) => cause,
            };
            feed.lane.count_dropped(cause, 1);
            entry.awaited.iter().for_each(|awaited| awaited.lose(bit));
            entry.missing &= !bit;
        }
    }

    /// Fills the group with what waits. Returns the requests to reopen that follow on it.
    fn collect(&mut self, first: Intake) -> Vec<u64> {
        let mut message = first;
        loop {
            match message {
                Intake::Event(mut entry) if entry.missing == 0 => self.write(&mut entry),
                Intake::Event(entry) => self.aside.push_back(*entry),
                Intake::Unplaced(event) => {
                    self.shared.unplaced.fetch_sub(1, SeqCst);
                    self.shared.show(&event);
                }
                Intake::Reopen(requests) => return requests,
                Intake::Wake => {}
            }
            if self.group.is_full() {
                return Vec::new();
            }
            let Ok(next) = self.intake.try_recv() else { return Vec::new() };
            message = next;
        }
    }

    /// Makes a line of an event that has its places. The event stays where it is: it is too large to be moved about.
    fn write(&mut self, entry: &mut Entry) {
        let Entry { event, bytes, takers, missing: _, lost_before, awaited } = entry;
        let (bytes, takers) = (*bytes, *takers);
        if takers == 0 {
            self.shared.show(event);
            // What has no number leaves no gap among them.
            let Counts { lost, unwanted, .. } = &self.shared.counts;
            if event.is_sampled_permit() { unwanted } else { lost }.fetch_add(1, SeqCst);
            return;
        }
        self.taken += 1;
        // Each who records sees the count of the lost at another moment; a number never goes back.
        self.lost = self.lost.max(*lost_before);
        let numbered = !event.is_sampled_permit();
        self.unnumbered += u64::from(!numbered);
        event.seq = if numbered { self.taken + self.lost - self.unnumbered } else { 0 };
        if numbered {
            self.seq = event.seq;
        }
        let kind = event.kind;
        event.node = Arc::clone(&self.node);
        event.cluster.clone_from(&self.cluster);
        self.shared.show(event);
        let start = self.group.lines.len();
        if let Err(error) = append_json(&mut self.group.lines, event) {
            tracing::error!(event = %event.id, %error, "it cannot be serialized");
            self.shared.drop_places(takers, bytes, DropCause::Error);
            return;
        }
        if let Some(chain) = self.chain.as_mut().filter(|_| numbered) {
            chain.seal(&mut self.group.lines, start);
        }
        if let Some(tap) = self.shared.tap.get().filter(|tap| tap.is_looking()) {
            let line = self.group.lines.get(start..).unwrap_or_default();
            tap.see(line.strip_suffix(b"\n").unwrap_or(line));
        }
        // A line may be longer than what it was made of, such as by its escapes; and it is the line that waits in the lanes.
        let held = bytes.max(self.group.lines.len() - start);
        if held > bytes {
            self.shared.grow_places(takers, held - bytes);
        }
        self.group.events.push(Written { end: self.group.lines.len(), bytes: held, takers });
        self.group.awaited.extend(awaited.take());
        if numbered {
            self.sealed(kind, takers);
        }
    }

    /// When the next checkpoint is due, where anything is to be covered by it.
    fn checkpoint_due(&self) -> Option<Instant> {
        self.checkpoints.as_ref().filter(|checkpoints| checkpoints.events > 0)?.due()
    }

    /// An event was sealed that has its place in these lanes.
    fn sealed(&mut self, kind: EventKind, takers: u64) {
        let Some(checkpoints) = &mut self.checkpoints else { return };
        if kind == EventKind::IntegrityCheckpoint {
            return;
        }
        if checkpoints.events == 0 {
            checkpoints.since = Instant::now();
        }
        checkpoints.events += 1;
        // Nothing comes after a stop, so that no later checkpoint would cover it.
        let many = checkpoints.events >= checkpoints.settings.events
            && checkpoints.not_before.is_none_or(|pause| pause <= Instant::now());
        if many || kind == EventKind::GatewayStopped {
            self.checkpoint(takers);
        }
    }

    /// Writes a checkpoint behind the last line; `beside`: the lanes in which that has its place.
    fn checkpoint(&mut self, beside: u64) {
        let (Some(checkpoints), Some(Chain::After(hash))) = (&mut self.checkpoints, &self.chain) else { return };
        let mut event = Event::new(EventKind::IntegrityCheckpoint, Uuid::now_v7(), Timestamp::now());
        let made = checkpoints.settings.key.sign(&self.node, &format!("{:.6}", event.time), self.seq, hash);
        event.message = Some(format!("the chain up to event {} is signed with the key {}", made.seq, made.key));
        event.checkpoint = Some(Box::new(made));
        let bytes = bounds::apply(&mut event);
        let Some(takers) = self.shared.reserve_beside(&event, bytes, beside) else {
            // It is no event yet, so that none is missing. If nothing more is recorded, nothing else would ask for it again.
            checkpoints.not_before = Some(Instant::now() + CHECKPOINT_RETRY);
            return;
        };
        (checkpoints.events, checkpoints.not_before) = (0, None);
        let counts = &self.shared.counts;
        counts.recorded.fetch_add(1, SeqCst);
        if takers == 0 {
            // No sink takes checkpoints.
            counts.unwanted.fetch_add(1, SeqCst);
            return;
        }
        let lost_before = self.lost;
        self.write(&mut Entry { event, bytes, takers, missing: 0, lost_before, awaited: None });
    }

    /// Hands the group to the lanes in which its events have a place.
    fn hand_on(&mut self) {
        let group = std::mem::take(&mut self.group);
        if group.events.is_empty() {
            return;
        }
        self.group.lines.reserve(group.lines.len().min(GROUP_BYTES));
        let all = group.events.iter().fold(u64::MAX, |all, event| all & event.takers);
        let waiting = Waiting::new(group.awaited);
        let whole = Lines(Arc::new(group.lines));
        let bytes = group.events.iter().map(|event| event.bytes).sum();
        for (index, feed) in self.shared.feeds.iter().enumerate() {
            let bit = 1 << index;
            if all & bit != 0 {
                let (record, events) = (whole.clone(), group.events.len());
                feed.pass(Queued { record, bytes, events, waiting: waiting.clone() });
            } else if let Some(part) = part(&whole, &group.events, bit) {
                feed.pass(Queued { waiting: waiting.clone(), ..part });
            }
        }
    }
}

impl Group {
    fn is_full(&self) -> bool {
        self.events.len() >= GROUP_EVENTS || self.lines.len() >= GROUP_BYTES
    }
}

/// The lines of a group that one sink gets, where it does not get all.
fn part(whole: &Lines, events: &[Written], bit: u64) -> Option<Queued<Lines>> {
    let (mut lines, mut count, mut bytes, mut start) = (Vec::new(), 0, 0, 0);
    for event in events {
        if event.takers & bit != 0 {
            lines.extend_from_slice(whole.0.get(start..event.end).unwrap_or_default());
            count += 1;
            bytes += event.bytes;
        }
        start = event.end;
    }
    let record = Lines(Arc::new(lines));
    (count > 0).then_some(Queued { record, bytes, events: count, waiting: Waiting::default() })
}
