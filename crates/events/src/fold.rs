//! Folds repeats for a sink that wants that: a refusal like one that the sink has just got does not go to it by itself; all that come within
//! the window become one record at its end, which says how many they were, when, and what their ids are.
//!
//! The first of each kind is passed on at once, so that nothing new is ever hidden or late: neither a principal, nor a rule, nor an address
//! that was not there a moment ago. Only the sink that asks for it is told less; the spool, the files and the chain have every event. What is
//! folded is not yet the receiver's: [`Folder::oldest`] holds the sink's place in the spool back until the record was accepted.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{Context, SHA256};
use uuid::Uuid;

use crate::format::{Record, text};
use crate::line::write_text;
use crate::settings::FoldSettings;

/// How many kinds of refusals are known at a time; what is of a further kind is passed on as it is.
const GROUPS: usize = 4_096;
/// How many bytes of lines are held, one for each kind that was repeated.
const HELD_BYTES: usize = 8 * 1024 * 1024;
/// How many ids a record names; it counts them all.
const IDS: usize = 100;

/// What becomes of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It goes to the sink as it is.
    Passes,
    /// It is part of a record that is still to come.
    Held,
}

/// A record that stands for several events.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Folded {
    /// A native line with `count`, `first_time`, `last_time` and `ids`.
    pub(crate) line: Vec<u8>,
    /// The place in the spool of the first of them.
    pub(crate) index: u64,
    /// How many they are.
    pub(crate) events: u64,
}

/// What was passed on within the window, and what has come since.
pub(crate) struct Folder {
    window: Duration,
    groups: HashMap<Key, Group>,
    held_bytes: usize,
}

/// What makes two refusals alike, as a SHA-256.
type Key = [u8; 32];

/// Refusals that are alike.
struct Group {
    /// The end of the window in the time of events.
    until_us: i64,
    /// The same on this machine's clock: a backlog is older than that.
    due: Instant,
    repeats: Option<Repeats>,
}

/// Those that were not passed on.
struct Repeats {
    /// The line of the first, without its chain.
    line: Vec<u8>,
    index: u64,
    events: u64,
    /// Their first and last time, in microseconds of Unix time and as they say it.
    first: (i64, String),
    last: (i64, String),
    /// The first of their ids.
    ids: Vec<String>,
    /// Of all of their ids.
    digest: Context,
}

impl Folder {
    pub(crate) fn new(settings: &FoldSettings) -> Self {
        Self { window: settings.window, groups: HashMap::new(), held_bytes: 0 }
    }

    /// Takes the event in this place of the spool. A record whose window it ends is appended to `done`, to go before it.
    pub(crate) fn take(&mut self, line: &[u8], index: u64, now: Instant, done: &mut Vec<Folded>) -> Fate {
        let Ok(record) = Record::parse(line) else { return Fate::Passes };
        if record.kind.as_ref() != "access.denied" {
            return Fate::Passes;
        }
        let key = key(&record);
        let room = self.held_bytes.saturating_add(line.len()) <= HELD_BYTES;
        match self.groups.get_mut(&key) {
            Some(group) if record.time_us < group.until_us => {
                if let Some(repeats) = &mut group.repeats {
                    repeats.add(&record);
                } else if room {
                    let repeats = group.repeats.insert(Repeats::begin(line, index, &record));
                    self.held_bytes += repeats.line.len();
                } else {
                    return Fate::Passes;
                }
                return Fate::Held;
            }
            Some(_) => done.extend(self.end(&key)),
            None => {}
        }
        if self.groups.len() < GROUPS {
            let window_us = i64::try_from(self.window.as_micros()).unwrap_or(i64::MAX);
            let until_us = record.time_us.saturating_add(window_us);
            self.groups.insert(key, Group { until_us, due: now + self.window, repeats: None });
        }
        Fate::Passes
    }

    /// The records whose window has ended by now, oldest first.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<Folded> {
        self.end_where(|group| group.due <= now)
    }

    /// All that there are: nothing more will come.
    pub(crate) fn all(&mut self) -> Vec<Folded> {
        self.end_where(|_| true)
    }

    /// The place of the first event that is in no record yet.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.groups.values().filter_map(|group| Some(group.repeats.as_ref()?.index)).min()
    }

    /// When the next record is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.groups.values().filter(|group| group.repeats.is_some()).map(|group| group.due).min()
    }

    fn end_where(&mut self, ends: impl Fn(&Group) -> bool) -> Vec<Folded> {
        let keys: Vec<Key> = self.groups.iter().filter(|(_, group)| ends(group)).map(|(key, _)| *key).collect();
        let mut ended: Vec<Folded> = keys.iter().filter_map(|key| self.end(key)).collect();
        ended.sort_by_key(|folded| folded.index);
        ended
    }

    fn end(&mut self, key: &Key) -> Option<Folded> {
        let repeats = self.groups.remove(key)?.repeats?;
        self.held_bytes = self.held_bytes.saturating_sub(repeats.line.len());
        Some(repeats.folded())
    }
}

impl Repeats {
    fn begin(line: &[u8], index: u64, record: &Record<'_>) -> Self {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let moment = (record.time_us, record.time().to_owned());
        let mut repeats = Self {
            line: unchained(line).to_vec(),
            index,
            events: 0,
            first: moment.clone(),
            last: moment,
            ids: Vec::new(),
            digest: Context::new(&SHA256),
        };
        repeats.add(record);
        repeats
    }

    fn add(&mut self, record: &Record<'_>) {
        self.events += 1;
        let moment = || (record.time_us, record.time().to_owned());
        if record.time_us < self.first.0 {
            self.first = moment();
        }
        if record.time_us > self.last.0 {
            self.last = moment();
        }
        let id = record.id.as_ref();
        self.digest.update(id.as_bytes());
        if self.ids.len() < IDS {
            self.ids.push(id.to_owned());
        }
    }

    /// The record has an id of its own, which is the same for the same events: a receiver tells repetitions of a record by it, and takes
    /// none for another that has some events in common with it.
    fn folded(self) -> Folded {
        let Self { line, index, events, first, last, ids, digest } = self;
        let mut name = [0; 16];
        name.iter_mut().zip(digest.finish().as_ref()).for_each(|(to, from)| *to = *from);
        let id = uuid::Builder::from_custom_bytes(name).into_uuid();
        let mut out = with_id(&line, ids.first().map_or("", String::as_str), id);
        out.extend_from_slice(b",\"integrity\":null,\"count\":");
        out.extend_from_slice(itoa::Buffer::new().format(events).as_bytes());
        for (key, time) in [("first_time", &first.1), ("last_time", &last.1)] {
            out.extend_from_slice(format!(",\"{key}\":").as_bytes());
            write_text(&mut out, time);
        }
        out.extend_from_slice(b",\"ids\":");
        for (place, id) in ids.iter().enumerate() {
            out.push(if place == 0 { b'[' } else { b',' });
            write_text(&mut out, id);
        }
        out.extend_from_slice(b"]}");
        Folded { line: out, index, events }
    }
}

/// A line without its end: without what chains it to others, which stands last, and without the bracket behind it. A quote in a text is
/// escaped, so what looks like the key is the key.
fn unchained(line: &[u8]) -> &[u8] {
    const KEY: &[u8] = b",\"integrity\":";
    let at = line.windows(KEY.len()).rposition(|window| window == KEY);
    at.map_or_else(|| line.strip_suffix(b"}").unwrap_or(line), |at| line.get(..at).unwrap_or_default())
}

/// The line with another id: its first key of that name, the one of the request being another.
fn with_id(line: &[u8], old: &str, new: Uuid) -> Vec<u8> {
    let mut written = b"\"id\":".to_vec();
    write_text(&mut written, old);
    let Some(at) = line.windows(written.len()).position(|window| window == written) else { return line.to_vec() };
    let (before, rest) = line.split_at_checked(at).unwrap_or((line, &[]));
    let after = rest.get(written.len()..).unwrap_or_default();
    [before, format!("\"id\":\"{new}\"").as_bytes(), after].concat()
}

/// Refusals are alike if whoever reads one of them knows the others: who asked, from where, for what, and what was answered why.
fn key(record: &Record<'_>) -> Key {
    let Record { policy, identity, request, client, .. } = record;
    let status = record.status.map(|status| status.to_string());
    let path = text(&request.path).map(template);
    let parts = [
        text(&record.decision),
        status.as_deref(),
        text(&record.reason),
        text(&policy.route),
        text(&policy.rule),
        text(&identity.kind),
        text(&identity.id),
        text(&client.ip),
        text(&request.method),
        text(&request.host),
        path.as_deref(),
    ];
    let mut digest = Context::new(&SHA256);
    for part in parts {
        // Each with its length before it, so that no two lists of parts look alike.
        let length = part.map_or(u64::MAX, |part| part.len() as u64);
        digest.update(&length.to_be_bytes());
        digest.update(part.unwrap_or_default().as_bytes());
    }
    let mut key = [0; 32];
    key.iter_mut().zip(digest.finish().as_ref()).for_each(|(to, from)| *to = *from);
    key
}

/// The path with a star for each part that names one thing of many: a number, or what has digits in it and is long.
fn template(path: &str) -> String {
    let is_name = |part: &str| {
        let digits = part.bytes().filter(u8::is_ascii_digit).count();
        digits > 0 && (digits == part.len() || part.len() >= 16)
    };
    let parts: Vec<&str> = path.split('/').map(|part| if is_name(part) { "*" } else { part }).collect();
    parts.join("/")
}

#[cfg(test)]
mod tests;
