//! One connection of HTTP/1.1 to an upstream, with the exchange that it carries now.
//!
//! The task that serves the caller drives it: no task, no queue and no second waker stands between the two connections. Both
//! directions move whenever it is polled, so that an upstream may answer before it has read all of a request.

use std::io::{self, IoSlice};
use std::mem;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::HeaderMap;
use hyper::body::{Body, Frame};
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::task::coop::has_budget_remaining;
use tokio::time::Instant;

use super::super::connect::Visit;
use super::super::deadline::{Alarm, Deadlines, Phase};
use super::super::error::{BoxError, FaultKind, UpstreamError};
use super::super::stream::Stream;
use super::super::upload::passing;
use super::super::wire::Wire;
use super::head::{self, FIELDS_MAX, Framing, HEAD_BYTES_MAX, Head};
use super::request::{Outgoing, Unwritten};
use super::room::Room;
use crate::trailers::{Trailers, Way};
use crate::wire::framing::{ChunkedProgress, ChunkedTracker};

/// How many interim answers (100, 103 and others) may come before the answer.
const INTERIM_MAX: u32 = 1000;
/// What an idle connection keeps of its buffers.
const KEPT_BYTES: usize = 16 * 1024;

/// A connection, and the exchange on it.
pub(in crate::upstream) struct Link<B> {
    stream: Stream,
    /// What is being asked.
    request: Option<Box<Outgoing<B>>>,
    unwritten: Unwritten,
    /// What was written must be flushed: TLS holds some of it.
    unflushed: bool,
    /// The upstream no longer takes anything: what is written goes nowhere.
    pub(in crate::upstream) write_failed: bool,
    /// It carried an exchange before, and nothing of this one was written yet.
    stale: bool,
    /// What came and was not taken.
    input: BytesMut,
    /// How much memory `input` is a part of.
    held: usize,
    /// So much of it is known not to hold the end of a head.
    seen: usize,
    room: Room,
    /// A byte of an answer has come.
    answered: bool,
    /// The upstream's side has ended.
    ended: bool,
    interim: u32,
    body: Incoming,
    pub(in crate::upstream) wire: Wire,
    pub(in crate::upstream) deadlines: Deadlines,
    alarm: Alarm,
    /// The place of the endpoint it leads to.
    pub(in crate::upstream) place: usize,
    /// The request that it carries, where they are counted.
    pub(in crate::upstream) visit: Option<Visit>,
    /// Which trailers of the answer pass, if any.
    trailers: Option<Trailers>,
    /// How long it may wait for another request, as the upstream says.
    pub(in crate::upstream) keep_for: Duration,
    /// No further request may go over it.
    pub(in crate::upstream) last: bool,
    pub(in crate::upstream) idle_since: Instant,
}

/// What is left of the answer's body.
enum Incoming {
    /// Nothing; or no answer has come.
    Over,
    Length(u64),
    Chunked(Box<ChunkedTracker>),
    /// What comes until the connection ends.
    Close,
}

/// Why there is no answer.
pub(super) enum Unanswered {
    /// The connection had ended before anything was written.
    NotWritten,
    /// It ended without a byte of an answer.
    Silent,
    /// Something else, which no second try can help.
    Final(UpstreamError),
}

impl<B> Link<B> {
    pub(in crate::upstream) fn new((stream, place): (Stream, usize), deadlines: Deadlines) -> Box<Self> {
        Box::new(Self {
            stream,
            request: None,
            unwritten: Unwritten::default(),
            unflushed: false,
            write_failed: false,
            stale: false,
            input: BytesMut::new(),
            held: 0,
            seen: 0,
            room: Room::new(),
            answered: false,
            ended: false,
            interim: 0,
            body: Incoming::Over,
            wire: Wire::default(),
            deadlines,
            alarm: Alarm::default(),
            place,
            visit: None,
            trailers: None,
            keep_for: Duration::MAX,
            last: false,
            idle_since: Instant::now(),
        })
    }

    /// Begins another exchange on a connection that was kept.
    pub(super) fn renew(&mut self, deadlines: Deadlines, visit: Option<Visit>) {
        (self.deadlines, self.visit, self.stale, self.answered, self.interim) = (deadlines, visit, true, false, 0);
    }

    /// Takes the connection out of HTTP, for one that has switched protocols: the stream, and what has been read from it behind
    /// the head of the answer.
    pub(in crate::upstream) fn into_stream(self) -> (Stream, Bytes) {
        (self.stream, self.input.freeze())
    }

    /// The request as it was, where it was not written or may be written again.
    pub(super) fn take_request(&mut self) -> Option<Box<Outgoing<B>>> {
        self.request.take()
    }

    /// Whether the exchange is over in both directions and another may follow. In doubt it may not: bytes left over from
    /// one exchange must never become part of another (security rule F2).
    pub(in crate::upstream) fn is_ready_for_another(&self) -> bool {
        let sent = self.wire.upload_over.get() && self.unwritten.is_empty() && !self.unflushed && !self.write_failed;
        sent && self.answer_is_over() && self.input.is_empty() && !self.ended && !self.last
    }

    /// The connection waits for another request from now on.
    pub(in crate::upstream) fn rest(&mut self) {
        (self.request, self.visit, self.trailers) = (None, None, None);
        if self.held > KEPT_BYTES {
            (self.input, self.held) = (BytesMut::new(), 0);
        }
        self.unwritten.shrink_to(KEPT_BYTES);
        self.idle_since = Instant::now();
        // The task that waited for it may be gone long before it is used again: nobody is woken meanwhile.
        self.stream.forget_waker();
    }

    /// How much memory its input takes.
    #[cfg(test)]
    pub(in crate::upstream) fn held(&self) -> usize {
        self.held
    }

    /// Whether all of the answer has been read.
    pub(super) fn answer_is_over(&self) -> bool {
        matches!(self.body, Incoming::Over)
    }

    /// How many bytes of the answer's body are still to come, where that is known.
    pub(super) fn length(&self) -> Option<u64> {
        match self.body {
            Incoming::Over => Some(0),
            Incoming::Length(left) => Some(left),
            Incoming::Chunked(_) | Incoming::Close => None,
        }
    }

    /// Writes what there is to write. `false` when the upstream takes no more at the moment.
    ///
    /// A failed write is not reported but noted: an upstream that answers early and closes (a 413, say) makes writes fail
    /// while its answer still waits to be read. If there is none, the next read fails.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> bool {
        while !self.unwritten.is_empty() {
            match poll_write_some(&mut self.stream, &self.unwritten, cx) {
                Poll::Ready(Ok(written)) if written > 0 => {
                    self.wire.moved();
                    self.stale = false;
                    self.unflushed = true;
                    self.unwritten.wrote(written);
                }
                Poll::Ready(Ok(_) | Err(_)) => {
                    self.write_failed = true;
                    (self.unwritten, self.unflushed, self.stale) = (Unwritten::default(), false, false);
                }
                Poll::Pending => return false,
            }
        }
        if self.unflushed {
            match Pin::new(&mut self.stream).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(_)) => (self.unflushed, self.write_failed) = (false, true),
                Poll::Pending => return false,
            }
        }
        true
    }

    /// Reads once. Ready with how many bytes came; 0 is the end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Ok(0));
        }
        let room = self.room.next();
        if self.input.capacity() - self.input.len() < room && !self.input.try_reclaim(room) {
            // What came before is still in use: the next piece gets memory of its own, and no more than it needs.
            let mut fresh = BytesMut::with_capacity(self.input.len() + room);
            fresh.extend_from_slice(&self.input);
            self.input = fresh;
            self.held = self.input.capacity();
        }
        let read = ready!(pin!(self.stream.read_buf(&mut (&mut self.input).limit(room))).poll(cx));
        match read {
            Ok(0) | Err(_) => self.ended = true,
            Ok(bytes) => {
                self.room.took(bytes);
                self.answered = true;
                self.wire.moved();
            }
        }
        Poll::Ready(read)
    }

    /// The answer's head, if it is there.
    fn take_head(&mut self) -> Result<Option<Head>, &'static str> {
        while let Some(end) = head::end_of_head(&self.input, self.seen) {
            if end > HEAD_BYTES_MAX {
                return Err("the head is too long");
            }
            self.seen = 0;
            let bytes = self.input.split_to(end).freeze();
            let head = head::read(&bytes, self.request.as_ref().is_some_and(|it| it.is_head()), self.spare_headers())?;
            if !head.status.is_informational() || head.status == http::StatusCode::SWITCHING_PROTOCOLS {
                return Ok(Some(head));
            }
            self.interim += 1;
            if self.interim > INTERIM_MAX {
                return Err("too many interim answers");
            }
        }
        self.seen = self.input.len();
        if self.seen > HEAD_BYTES_MAX { Err("the head is too long") } else { Ok(None) }
    }

    /// A map for the answer's fields: that of the request, where it is not needed any more.
    fn spare_headers(&mut self) -> HeaderMap {
        match &mut self.request {
            Some(request) if request.is_taken() => {
                let mut headers = mem::take(&mut request.headers);
                headers.clear();
                headers
            }
            _ => HeaderMap::new(),
        }
    }

    /// What the head says is how the body comes.
    fn expect_body(&mut self, head: &Head) {
        self.last |= head.last;
        if let Some(keep_for) = head.keep_for {
            self.keep_for = keep_for;
        }
        self.body = match head.framing {
            Framing::Empty => Incoming::Over,
            Framing::Length(length) => {
                self.room.expect(usize::try_from(length).unwrap_or(usize::MAX));
                Incoming::Length(length)
            }
            Framing::Close => Incoming::Close,
            Framing::Chunked => {
                let mut tracker = ChunkedTracker::of_an_answer(FIELDS_MAX);
                if self.trailers.is_some() {
                    tracker.keep_trailers();
                }
                Incoming::Chunked(Box::new(tracker))
            }
        };
    }

    /// The next piece of the body that has been read; `None` where nothing is there, or nothing more will come.
    fn take_piece(&mut self) -> Result<Option<Frame<Bytes>>, UpstreamError> {
        if self.input.is_empty() {
            return Ok(None);
        }
        match &mut self.body {
            Incoming::Over => Ok(None),
            Incoming::Close => Ok(Some(Frame::data(self.input.split().freeze()))),
            Incoming::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(self.input.len());
                *left -= taken as u64;
                if *left == 0 {
                    self.body = Incoming::Over;
                }
                Ok(Some(Frame::data(self.input.split_to(taken).freeze())))
            }
            Incoming::Chunked(tracker) => {
                let piece = tracker.next_piece(&self.input);
                self.input.advance(piece.framing);
                if piece.data > 0 {
                    return Ok(Some(Frame::data(self.input.split_to(piece.data).freeze())));
                }
                match piece.progress {
                    ChunkedProgress::More => Ok(None),
                    ChunkedProgress::Malformed(what) => Err(broke_off(what)),
                    ChunkedProgress::Ended => {
                        let fields = tracker.take_trailers();
                        self.body = Incoming::Over;
                        let Some(fields) = fields.filter(|fields| !fields.is_empty()) else { return Ok(None) };
                        let passed = passing(self.trailers.as_ref(), Way::Down, Frame::trailers(*fields));
                        let passed = passed.map_err(|error| UpstreamError::protocol("the response's end", &error))?;
                        Ok(passed.map(Frame::trailers))
                    }
                }
            }
        }
    }
}

impl<B> Link<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// Sends a request from now on.
    pub(super) fn begin(&mut self, request: Box<Outgoing<B>>) {
        self.wire.upload_over.set(false);
        self.trailers.clone_from(&request.trailers);
        request.write_head(&mut self.unwritten.before);
        self.request = Some(request);
    }

    /// Whether the connection has ended while it waited. The kernel is asked, because the event loop may not have heard yet: for
    /// what may not be sent twice.
    pub(super) fn has_ended(&self) -> bool {
        self.stream.look().is_some()
    }

    /// Moves what is to be sent as far as it goes.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<(), UpstreamError> {
        loop {
            if let Some(request) = self.request.as_mut().filter(|_| !self.wire.upload_over.get() && !self.write_failed)
                && let Poll::Ready(taken) = request.poll_body(&mut self.unwritten, &self.wire, cx)
            {
                taken?;
                self.wire.upload_over.set(true);
            }
            if self.unwritten.is_empty() && !self.unflushed {
                return Ok(());
            }
            let blocked = !self.poll_write(cx);
            self.wire.write_blocked.set(blocked);
            if blocked || self.wire.upload_over.get() {
                return Ok(());
            }
        }
    }

    /// What can still be sent at once, for an exchange whose answer is over.
    pub(super) fn finish_sending(&mut self) {
        // An error of the request's body shows in that it is not over.
        let _ = self.poll_send(&mut Context::from_waker(Waker::noop()));
    }

    /// Ready with the answer's head.
    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Head, Unanswered>> {
        let failed = |what| Poll::Ready(Err(Unanswered::Final(no_head(what))));
        let mut heard = false;
        if self.stale {
            if !has_budget_remaining() {
                // Nobody would look whether it has something to say.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            // Whatever it says before it was asked, it is not the answer.
            if self.poll_read(cx).is_ready() {
                return Poll::Ready(Err(Unanswered::NotWritten));
            }
            heard = true;
        }
        loop {
            if let Err(error) = self.poll_send(cx) {
                return Poll::Ready(Err(Unanswered::Final(error)));
            }
            // What comes after it was found silent wakes the task.
            if mem::take(&mut heard) {
                break;
            }
            match self.poll_read(cx) {
                Poll::Pending => break,
                Poll::Ready(Ok(read)) if read > 0 => match self.take_head() {
                    Ok(Some(head)) => {
                        self.expect_body(&head);
                        return Poll::Ready(Ok(head));
                    }
                    Ok(None) => {}
                    Err(what) => return failed(what),
                },
                Poll::Ready(Ok(_) | Err(_)) if !self.answered => return Poll::Ready(Err(Unanswered::Silent)),
                Poll::Ready(Ok(_)) => return failed("the connection ended in it"),
                Poll::Ready(Err(error)) => return failed(&error.to_string()),
            }
        }
        let sent = self.wire.upload_over.get() && !self.wire.write_blocked.get();
        let phase = if sent { Phase::Head } else { Phase::Upload };
        self.deadlines.poll(phase, &self.wire, &mut self.alarm, cx).map(|late| Err(Unanswered::Final(late)))
    }

    /// Ready with the next piece of the answer's body, or `None` at its end. What is left of the request goes on meanwhile.
    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        loop {
            match self.take_piece() {
                Ok(Some(piece)) => {
                    self.deadlines.progressed();
                    return Poll::Ready(Some(Ok(piece)));
                }
                Ok(None) if self.answer_is_over() => return Poll::Ready(None),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
            if let Err(error) = self.poll_send(cx) {
                return Poll::Ready(Some(Err(error)));
            }
            match self.poll_read(cx) {
                Poll::Pending => break,
                Poll::Ready(Ok(read)) if read > 0 => {}
                // After a failed write nothing tells the end of a connection from its reset.
                Poll::Ready(Ok(_)) if matches!(self.body, Incoming::Close) && !self.write_failed => {
                    self.body = Incoming::Over;
                    return Poll::Ready(None);
                }
                Poll::Ready(Ok(_)) => return Poll::Ready(Some(Err(broke_off("the connection ended")))),
                Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(broke_off(&error.to_string())))),
            }
        }
        self.deadlines.poll(Phase::Body, &self.wire, &mut self.alarm, cx).map(|late| Some(Err(late)))
    }

    /// The body, where all of it came with the head.
    pub(super) fn take_whole(&mut self) -> Option<Bytes> {
        let Incoming::Length(length) = self.body else { return None };
        let length = usize::try_from(length).ok().filter(|length| *length <= self.input.len())?;
        self.body = Incoming::Over;
        Some(self.input.split_to(length).freeze())
    }
}

fn no_head(what: &str) -> UpstreamError {
    UpstreamError::new(FaultKind::Protocol, format!("no valid response head: {what}"))
}

fn broke_off(what: &str) -> UpstreamError {
    UpstreamError::new(FaultKind::Protocol, format!("the response's body broke off: {what}"))
}

/// Writes some of this: as one buffer, where it is one.
fn poll_write_some(stream: &mut Stream, unwritten: &Unwritten, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    let Unwritten { before, piece, after, .. } = unwritten;
    let stream = Pin::new(stream);
    match (before.is_empty(), piece.is_empty()) {
        (false, true) if after.is_empty() => stream.poll_write(cx, before),
        (true, false) if after.is_empty() => stream.poll_write(cx, piece),
        _ => stream.poll_write_vectored(cx, &[IoSlice::new(before), IoSlice::new(piece), IoSlice::new(after)]),
    }
}
