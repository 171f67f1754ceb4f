//! Traces over OTLP: of sampled requests the gateway's spans, the one of its own part and the one of the upstream's.
//!
//! They are for seeing where time goes, not for proof: what does not fit into the bounded queue, or what the receiver does not take in time, is
//! dropped and counted, and no request waits. What is recorded of a request is what an event may hold, and less: no principal, no query, no
//! header but the user agent.

mod sender;
mod spans;

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use crate::access::is_sampled;
use crate::event::Answer;
use crate::lane::{Feed, Lane};
use crate::line::{LineError, Record};
use crate::reason_code::ReasonCode;
use crate::recorder::{StartError, end, start_writer};
use crate::settings::{OnFull, Settings, TraceSettings};
use crate::writer::Writer;
use sender::Sender;

/// One request, as its spans tell it.
#[derive(Debug, Clone)]
pub struct Traced {
    /// The trace it belongs to: 32 hexadecimal digits, not all zero.
    pub trace_id: String,
    /// The caller's span, where the caller named one: 16 hexadecimal digits.
    pub parent: Option<String>,
    /// The request's id, of whose lower half the gateway's span is made.
    pub request: Uuid,
    /// When its head was complete.
    pub started: Timestamp,
    /// From then to the head of its answer.
    pub duration: Duration,
    /// The method.
    pub method: Option<String>,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The host that was asked for.
    pub host: Option<String>,
    /// The port that was asked for.
    pub port: Option<u16>,
    /// The path, without a query.
    pub path: Option<String>,
    /// `1.0`, `1.1` or `2`.
    pub http_version: &'static str,
    /// The client.
    pub client: Option<IpAddr>,
    /// `User-Agent`.
    pub user_agent: Option<String>,
    /// The route.
    pub route: Option<Arc<str>>,
    /// What was decided.
    pub decision: Answer,
    /// Why it was refused, where it was.
    pub reason: Option<ReasonCode>,
    /// The status that the caller got.
    pub status: u16,
    /// The upstream's part, where it was asked.
    pub upstream: Option<Sent>,
}

/// The upstream's part of a request.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The upstream's name.
    pub name: Arc<str>,
    /// How long after the request's start it was sent.
    pub after: Duration,
    /// Its answer's status; none where there was no proper answer.
    pub status: Option<u16>,
}

/// How many bytes of the path and the user agent are told.
const TEXT_BYTES: usize = 1_024;

/// Takes requests. Clones share the queue and the counters.
#[derive(Debug, Clone)]
pub struct Tracer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    feed: Feed<Box<Traced>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    sample: u32,
    counts: Arc<Counts>,
}

/// What became of spans.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    exported: AtomicU64,
    dropped: AtomicU64,
}

/// What became of requests and spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceStats {
    /// Spans that the receiver took.
    pub exported: u64,
    /// Spans that it did not take, or not in time.
    pub dropped: u64,
    /// Requests for which there was no room in the queue.
    pub dropped_queue_full: u64,
}

impl Tracer {
    /// Starts the thread that sends; `None` where the configuration wants no traces.
    ///
    /// # Errors
    /// When what it sends with cannot be set up, or the thread cannot be started.
    pub fn start(settings: &Settings) -> Result<Option<Self>, StartError> {
        let Some(trace) = &settings.trace else { return Ok(None) };
        let (name, counts): (Arc<str>, _) = ("traces".into(), Arc::<Counts>::default());
        let sender = Sender::new(trace, &settings.node, settings.cluster.as_deref(), Arc::clone(&counts))
            .map_err(|source| StartError::Receiver { sink: Arc::clone(&name), source })?;
        Self::with(trace, Box::new(sender), counts).map(Some)
    }

    fn with(
        trace: &TraceSettings,
        sender: Box<dyn crate::sinks::Sink>,
        counts: Arc<Counts>,
    ) -> Result<Self, StartError> {
        let lane = Lane::new("traces".into(), trace.queue, OnFull::Drop);
        let (feed, thread) = start_writer(lane, |lane, receiver| Writer::new(lane, receiver, sender))?;
        let thread = Mutex::new(Some(thread));
        Ok(Self { shared: Arc::new(Shared { feed, thread, sample: trace.sample, counts }) })
    }

    /// Whether a trace is recorded: the same answer for all requests of one trace, in every gateway that samples as much.
    pub fn samples(&self, trace: Uuid) -> bool {
        is_sampled(trace, self.shared.sample)
    }

    /// Hands over a request. Never blocks: one that does not fit is dropped and counted.
    pub fn record(&self, mut traced: Traced) {
        let mut bytes = 512;
        for text in [&mut traced.path, &mut traced.user_agent].into_iter().flatten() {
            text.truncate(text.floor_char_boundary(TEXT_BYTES));
            bytes += text.len();
        }
        self.shared.feed.offer(Box::new(traced), bytes);
    }

    /// What became of all that was handed over.
    pub fn stats(&self) -> TraceStats {
        let Counts { exported, dropped } = &*self.shared.counts;
        TraceStats {
            exported: exported.load(Relaxed),
            dropped: dropped.load(Relaxed),
            dropped_queue_full: self.shared.feed.lane.stats().dropped(),
        }
    }

    /// Takes no more, sends what waits and ends the thread, in at most about `timeout`.
    pub fn shutdown(&self, timeout: Duration) {
        let thread = self.shared.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        end(std::slice::from_ref(&self.shared.feed), thread.into_iter(), timeout);
    }
}

impl Record for Traced {
    fn append(&self, lines: &mut Vec<u8>) -> Result<(), LineError> {
        spans::append(self, lines);
        lines.push(b'\n');
        Ok(())
    }

    fn name(&self) -> String {
        "a request's spans".to_owned()
    }
}
