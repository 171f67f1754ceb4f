//! What the access log says of a request: gathered while it is known, and handed over when the answer's body has ended.
//!
//! Without an access log nothing is gathered, and an answer's body costs one comparison for each piece.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Buf as _;
use http::header::{HeaderName, REFERER, USER_AGENT};
use http::{Response, StatusCode, Version};
use hyper::body::{Body, Frame, SizeHint};
use jiff::Timestamp;
use portcullis_events::{AccessEntry, AccessLog, ReasonCode};
use portcullis_policy::Principal;

use crate::layers::respond::Sketch;
use crate::report::event_id;
use crate::trace::Trace;
use crate::transit::{Facts, Transit};
use crate::worker::Worker;

/// What is known of a request whose line is to be written.
#[derive(Debug, Clone)]
pub(crate) struct Entry(AccessEntry);

impl Entry {
    /// Of a request as far as it has come; `None` where there is no access log, or this request is not in its sample.
    pub(crate) fn of(worker: &Worker, transit: &Transit) -> Option<Box<Self>> {
        let log = worker.shared.access_log.as_ref().filter(|log| log.samples(transit.facts.id))?;
        Some(Box::new(Self(gather(log, transit))))
    }

    /// Of a request that panicked, of which only the sketch is left.
    pub(crate) fn of_sketch(worker: &Worker, sketch: &Sketch) -> Option<Box<Self>> {
        worker.shared.access_log.as_ref().filter(|log| log.samples(sketch.id))?;
        let (ip, scheme) = (sketch.connection.peer.ip(), sketch.connection.scheme.as_str());
        let id = event_id(sketch.kept_id.as_ref(), sketch.id);
        Some(Box::new(Self(AccessEntry::new(Timestamp::now(), id, ip, scheme))).refused(ReasonCode::InternalError))
    }

    /// Goes with the answer of a permitted request to where it is sent.
    pub(crate) fn attach<B>(entry: Option<Box<Self>>, response: &mut Response<B>) {
        if let Some(entry) = entry {
            response.extensions_mut().insert(entry);
        }
    }

    /// Takes what was attached.
    pub(crate) fn detach<B>(worker: &Worker, response: &mut Response<B>) -> Option<Box<Self>> {
        worker.shared.access_log.as_ref()?;
        response.extensions_mut().remove()
    }

    /// Why it was refused.
    pub(crate) fn refused(mut self: Box<Self>, code: ReasonCode) -> Box<Self> {
        self.0.reason = Some(code);
        self
    }

    /// The upstream that was chosen.
    pub(crate) fn sent_to(&mut self, upstream: &Arc<str>) {
        self.0.upstream = Some(Arc::clone(upstream));
    }
}

fn gather(log: &AccessLog, transit: &Transit) -> AccessEntry {
    let (head, facts) = (&transit.head, &transit.facts);
    let text =
        |name: HeaderName| head.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let target = facts.target.as_ref();
    let unread = facts.head_refusal.as_ref();
    let (method, path, query) = match (unread, target) {
        (Some(refusal), _) => {
            let target = refusal.target.as_deref().map(|target| target.split_once('?').unwrap_or((target, "")));
            (refusal.method.clone(), target.map(|(path, _)| path.to_owned()), target.map(|(_, query)| query.to_owned()))
        }
        (None, Some(target)) => (
            Some(target.method.to_string()),
            Some(target.path.as_str().to_owned()),
            target.uri.query().map(str::to_owned),
        ),
        (None, None) => {
            (Some(head.method.to_string()), Some(head.uri.path().to_owned()), head.uri.query().map(str::to_owned))
        }
    };
    let id = event_id(facts.kept_id.as_ref(), facts.id);
    AccessEntry {
        trace_id: Trace::of(&head.headers).map(|trace| trace.id()),
        client_ip: facts.client.as_ref().map_or(Some(facts.connection.peer.ip()), |derived| derived.client.ip()),
        user: user(facts),
        method,
        host: target.map(|target| target.host.clone()),
        path,
        query: query.filter(|query| log.has_queries() && !query.is_empty()),
        http_version: match head.version {
            Version::HTTP_10 => "1.0",
            Version::HTTP_2 => "2",
            _ => "1.1",
        },
        route: facts.route_name().cloned(),
        upstream: facts.upstream.and_then(|index| {
            facts.loaded.snapshot.settings.upstreams.get(index).map(|upstream| Arc::clone(&upstream.name))
        }),
        user_agent: text(USER_AGENT).or_else(|| unread.and_then(|refusal| refusal.user_agent.clone())),
        referrer: text(REFERER),
        ..AccessEntry::new(facts.now, id, facts.connection.peer.ip(), facts.scheme.as_str())
    }
}

fn user(facts: &Facts) -> Option<String> {
    facts.principal().map(Principal::reference)
}

/// The body of an answer, and the line that is written when it has ended.
pub struct Logged<B> {
    body: B,
    line: Option<Box<Line<B>>>,
}

/// A line that waits for the end of its answer.
struct Line<B> {
    log: AccessLog,
    entry: AccessEntry,
    started: Instant,
    /// The body was read to its end, or there is none to read.
    ended: bool,
    is_end: fn(&B) -> bool,
}

impl<B: Body> Logged<B> {
    /// A body whose line, where there is an entry, is written at its end.
    pub(crate) fn new(
        worker: &Worker,
        response: Response<B>,
        entry: Option<Box<Entry>>,
        started: Instant,
    ) -> Response<Self> {
        let status = response.status();
        let line = worker.shared.access_log.as_ref().zip(entry).map(|(log, entry)| {
            let entry = AccessEntry { status: status.as_u16(), ..entry.0 };
            // An answer to HEAD is never asked for its body, nor is one of these statuses (RFC 9110 section 6.4.1).
            let bodiless = entry.method.as_deref() == Some("HEAD")
                || matches!(
                    status,
                    StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED | StatusCode::SWITCHING_PROTOCOLS
                );
            Box::new(Line { log: log.clone(), entry, started, ended: bodiless, is_end: B::is_end_stream })
        });
        response.map(|body| Self { body, line })
    }
}

impl<B> Logged<B> {
    /// A body that nothing is written about.
    pub(crate) fn unlogged(body: B) -> Self {
        Self { body, line: None }
    }
}

impl<B> Drop for Logged<B> {
    fn drop(&mut self) {
        if let Some(line) = self.line.take() {
            let mut entry = line.entry;
            entry.complete = line.ended || (line.is_end)(&self.body);
            entry.duration_us = u64::try_from(line.started.elapsed().as_micros()).unwrap_or(u64::MAX);
            line.log.record(entry);
        }
    }
}

impl<B: Body + Unpin> Body for Logged<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.get_mut();
        let polled = ready!(Pin::new(&mut this.body).poll_frame(cx));
        if let Some(line) = &mut this.line {
            match &polled {
                Some(Ok(frame)) => line.entry.bytes_sent += frame.data_ref().map_or(0, |data| data.remaining() as u64),
                Some(Err(_)) => {}
                None => line.ended = true,
            }
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
