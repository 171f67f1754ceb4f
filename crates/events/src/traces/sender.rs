//! Sends spans in batches: OTLP over HTTP in JSON (`POST /v1/traces`).
//!
//! It is the sink of the lane that requests are handed over in: each line is the spans of one request. Lines are gathered for a moment; what the
//! receiver does not take for the time being is kept as long as there is room, and then the oldest is dropped.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use http::HeaderMap;
use serde::Deserialize;

use super::{Counts, spans};
use crate::settings::TraceSettings;
use crate::sinks::Sink;
use crate::sinks::http::headers;
use crate::sinks::post::{self, Client};

/// Requests in one body.
const BATCH: usize = 512;
/// How long the first of a batch waits for more.
const GATHER: Duration = Duration::from_secs(1);
/// Requests that are kept for a receiver that does not take them.
const KEPT: usize = 2_048;
/// The pause after an attempt that failed; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The sending end.
pub(super) struct Sender {
    client: Client,
    headers: HeaderMap,
    gzip: bool,
    /// The body up to the spans.
    begin: Vec<u8>,
    /// The spans of each request, and how many they are.
    lines: VecDeque<Vec<u8>>,
    /// When the next attempt is made.
    due: Option<Instant>,
    pause: Duration,
    failing: bool,
    counts: Arc<Counts>,
}

/// What a receiver says of a batch that it took in part.
#[derive(Deserialize)]
struct Answered {
    #[serde(default, rename = "partialSuccess")]
    partial: Option<Partial>,
}

#[derive(Deserialize)]
struct Partial {
    /// A 64-bit number is text in this encoding; some write it as a number.
    #[serde(default, rename = "rejectedSpans")]
    rejected: Option<serde_json::Value>,
}

impl Sender {
    pub(super) fn new(
        settings: &TraceSettings,
        node: &str,
        cluster: Option<&str>,
        counts: Arc<Counts>,
    ) -> io::Result<Self> {
        Ok(Self {
            client: Client::new(settings.target.clone())?,
            headers: headers(&settings.headers, &settings.auth, "Bearer", "application/json", settings.gzip)?,
            gzip: settings.gzip,
            begin: spans::begin(node, cluster),
            lines: VecDeque::new(),
            due: None,
            pause: FIRST_PAUSE,
            failing: false,
            counts,
        })
    }

    /// Sends what is there, batch by batch, until there is nothing left or the receiver does not take it.
    fn send_all(&mut self) {
        while !self.lines.is_empty() {
            let count = self.lines.len().min(BATCH);
            match self.send(count) {
                Ok(()) => {
                    self.pause = FIRST_PAUSE;
                    if std::mem::take(&mut self.failing) {
                        tracing::info!("traces are sent again");
                    }
                }
                Err(why) => {
                    if !std::mem::replace(&mut self.failing, true) {
                        tracing::error!(%why, "traces cannot be sent; some are kept, and dropped when there are too many");
                    }
                    self.due = Some(Instant::now() + self.pause);
                    self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                    return;
                }
            }
        }
        self.due = None;
    }

    /// Sends the oldest `count` requests. Those that were taken, or never will be, are gone afterwards.
    fn send(&mut self, count: usize) -> Result<(), String> {
        let mut body = self.begin.clone();
        for (place, line) in self.lines.iter().take(count).enumerate() {
            if place > 0 {
                body.push(b',');
            }
            body.extend_from_slice(line);
        }
        body.extend_from_slice(spans::END);
        let body = post::packed(body, self.gzip).map_err(|error| error.to_string())?;
        let answer = self.client.post(&self.headers, body).map_err(|error| error.to_string())?;
        let spans: u64 = self.lines.iter().take(count).map(|line| spans_in(line)).sum();
        match answer.status {
            200..=299 => {
                let rejected = rejected(answer.body.as_deref().unwrap_or_default()).min(spans);
                self.counts.exported.fetch_add(spans - rejected, Relaxed);
                self.counts.dropped.fetch_add(rejected, Relaxed);
            }
            // The protocol has these tried again, and nothing else.
            429 | 502..=504 => return Err(format!("the receiver asks to wait ({})", answer.status)),
            status => {
                self.counts.dropped.fetch_add(spans, Relaxed);
                tracing::error!(status, spans, said = %answer.said(), "the receiver refuses spans, which are dropped");
            }
        }
        self.lines.drain(..count);
        Ok(())
    }

    /// Drops the oldest that there is no room for.
    fn bound(&mut self) {
        let over = self.lines.len().saturating_sub(KEPT);
        let dropped: u64 = self.lines.drain(..over).map(|line| spans_in(&line)).sum();
        self.counts.dropped.fetch_add(dropped, Relaxed);
    }
}

/// How many spans a line holds: each names its trace once, and a quote in a text is escaped.
fn spans_in(line: &[u8]) -> u64 {
    const KEY: &[u8] = b"\"traceId\":";
    line.windows(KEY.len()).filter(|window| *window == KEY).count() as u64
}

/// How many spans a receiver says it did not take.
fn rejected(body: &[u8]) -> u64 {
    let answered = serde_json::from_slice::<Answered>(body).ok();
    let rejected = answered.and_then(|answered| answered.partial?.rejected);
    rejected.and_then(|number| number.as_u64().or_else(|| number.as_str()?.parse().ok())).unwrap_or(0)
}

impl Sink for Sender {
    /// Takes all lines: they are sent in a moment.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let each = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        self.lines.extend(each.map(<[u8]>::to_vec));
        self.bound();
        if !self.lines.is_empty() {
            self.due.get_or_insert_with(|| Instant::now() + GATHER);
        }
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // While requests come without a pause nobody else looks at the time.
        let is_due = self.due.is_some_and(|due| due <= Instant::now());
        if is_due || (self.lines.len() >= BATCH && !self.failing) {
            self.send_all();
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.send_all();
        Ok(())
    }

    fn sync_due(&self) -> Option<Instant> {
        self.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_taken_is_read_in_both_of_its_forms() {
        for (body, expected) in [
            (r#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"no"}}"#, 3),
            (r#"{"partialSuccess":{"rejectedSpans":4}}"#, 4),
            (r#"{"partialSuccess":{}}"#, 0),
            (r#"{"partialSuccess":null}"#, 0),
            ("{}", 0),
            ("", 0),
            ("rubbish", 0),
            (r#"{"partialSuccess":{"rejectedSpans":-1}}"#, 0),
        ] {
            assert_eq!(rejected(body.as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn spans_are_counted_whatever_stands_in_them() {
        assert_eq!(spans_in(br#"{"traceId":"a","name":"\"traceId\":"},{"traceId":"a"}"#), 2);
        assert_eq!(spans_in(b""), 0);
    }
}
