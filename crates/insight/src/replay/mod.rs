//! Replay of what was recorded: native events and lines of the access log, one after another, in bounded memory.
//!
//! A native event says what its decision rested on (`facts`), and is decided on again exactly. An event of an older version, and a line of
//! the access log of somebody who was verified, do not: what such a one was answered counts only where the answer cannot depend on it.

mod line;

use portcullis_policy::Policy;
use schemars::JsonSchema;
use serde::Serialize;

use crate::again::Missing;
use crate::counts::{Count, Counts};
use crate::impact::{Impact, PolicyId, Stamped, Tally};
use crate::words::{counted, number};

pub use line::{Recorded, read};

/// The value of `schema`.
pub const SCHEMA: &str = "portcullis.replay/1";

/// What a replay found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Replayed {
    /// The shape of this report.
    pub schema: &'static str,
    /// The policy in force.
    pub present: PolicyId,
    /// The policy that would be.
    pub candidate: PolicyId,
    /// Lines that were read.
    pub lines: u64,
    /// When the first and the last replayed request were made.
    pub since: Option<String>,
    /// The same.
    pub until: Option<String>,
    /// How many of the replayed requests were permitted at the time: of these alone it is seen who would newly be denied.
    pub permitted: u64,
    /// What changes.
    pub impact: Impact,
    /// Requests that were refused before the policy was asked, by their reason.
    pub not_asked: Vec<Count>,
    /// Events of other kinds.
    pub other_events: u64,
    /// Lines that are no event: cut short, too long, or of another format.
    pub unreadable: u64,
}

/// Replays line by line.
#[derive(Debug)]
pub struct Replay<'p> {
    policies: [&'p Policy; 2],
    /// Of the present one.
    version: Option<u64>,
    tally: Tally<'p>,
    lines: u64,
    span: Option<(jiff::Timestamp, jiff::Timestamp)>,
    permitted: u64,
    not_asked: Counts,
    other_events: u64,
    unreadable: u64,
}

impl<'p> Replay<'p> {
    /// Of nothing yet.
    pub fn new(present: &'p Policy, candidate: &'p Policy) -> Self {
        Self {
            policies: [present, candidate],
            version: Some(present.version()),
            tally: Tally::new(present, candidate),
            lines: 0,
            span: None,
            permitted: 0,
            not_asked: Counts::default(),
            other_events: 0,
            unreadable: 0,
        }
    }

    /// The present policy has this number; `None`: nobody knows it. Without it, the one that it says itself.
    #[must_use]
    pub fn with_version(self, version: Option<u64>) -> Self {
        Self { version, ..self }
    }

    /// One line, without its line feed.
    pub fn add(&mut self, line: &[u8]) {
        self.lines = self.lines.saturating_add(1);
        match read(line) {
            Recorded::Decision { request, unknown, permitted } => {
                let now = request.now;
                let (first, last) = self.span.unwrap_or((now, now));
                self.span = Some((first.min(now), last.max(now)));
                self.permitted = self.permitted.saturating_add(u64::from(permitted == Some(true)));
                self.tally.add(&request, &unknown, permitted, 1);
            }
            Recorded::Incomplete(missing) => self.tally.add_missing(missing, 1),
            Recorded::NotAsked(reason) => self.not_asked.add(&reason, 1),
            Recorded::Other => self.other_events = self.other_events.saturating_add(1),
            Recorded::Unreadable => self.note_unreadable(0),
        }
    }

    /// So many lines could not be read at all, beyond those that were handed over.
    pub fn note_unreadable(&mut self, lines: u64) {
        self.lines = self.lines.saturating_add(lines);
        self.unreadable = self.unreadable.saturating_add(lines.max(1));
    }

    /// What was found.
    pub fn finish(self) -> Stamped<Replayed> {
        let [present, candidate] = self.policies;
        let present = PolicyId { version: self.version, ..PolicyId::of(present) };
        Stamped::new(Replayed {
            schema: SCHEMA,
            candidate: PolicyId::of_candidate(candidate, &present),
            present,
            lines: self.lines,
            since: self.span.map(|(first, _)| first.to_string()),
            until: self.span.map(|(_, last)| last.to_string()),
            permitted: self.permitted,
            impact: self.tally.finish(),
            not_asked: self.not_asked.shown(),
            other_events: self.other_events,
            unreadable: self.unreadable,
        })
    }
}

impl Replayed {
    /// Not one request could be decided on again: that nothing would change was not seen then.
    pub fn is_blind(&self) -> bool {
        self.impact.requests == 0
    }

    /// What it says, in sentences.
    pub fn in_words(&self) -> Vec<String> {
        let impact = &self.impact;
        let whole = counted(impact.requests, "recorded request", "recorded requests");
        let mut lines = impact.in_words(&whole);
        lines.push(match self.permitted {
            0 => "no permitted request was among them: who would newly be denied cannot be seen".to_owned(),
            permitted => {
                format!("{} among them", counted(permitted, "permitted request was", "permitted requests were"))
            }
        });
        let missing: u64 = impact.not_replayed.iter().map(|count| count.requests).sum();
        if missing > 0 {
            lines.push(format!("{} could not be replayed:", counted(missing, "request", "requests")));
            lines.extend(impact.not_replayed.iter().map(|count| {
                let known = Missing::ALL.into_iter().find(|missing| missing.as_str() == count.name);
                format!("  {} {}", number(count.requests), known.map_or(count.name.as_str(), |it| it.in_words()))
            }));
        }
        let not_asked: u64 = self.not_asked.iter().map(|count| count.requests).sum();
        if not_asked > 0 {
            let reasons: Vec<String> =
                self.not_asked.iter().take(3).map(|count| format!("{} {}", count.name, count.requests)).collect();
            let what = counted(not_asked, "was refused", "were refused");
            lines.push(format!("{what} before any policy was asked ({})", reasons.join(", ")));
        }
        if self.unreadable > 0 {
            lines.push(format!("{} could not be read", counted(self.unreadable, "line", "lines")));
        }
        if let (Some(since), Some(until)) = (&self.since, &self.until) {
            lines.push(format!("from {since} to {until}"));
        }
        lines
    }
}

#[cfg(test)]
mod tests;
