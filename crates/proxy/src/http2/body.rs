//! The body of a request that came on a stream.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use http::HeaderMap;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::meter::Meter;
use crate::wire::BodyProblem;
use crate::wire::alarm::Alarm;

/// What a client waits for before it sends its body (RFC 9110 §10.1.1). The body's reader asks for it, the exchange sends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Continue {
    /// It waits for nothing, or has been told.
    #[default]
    Unasked,
    /// It waits, and nobody has read yet.
    Expected,
    /// Somebody reads: tell it.
    Wanted,
}

/// What the exchange has to know of its request's body, wherever that is.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) go_on: Cell<Continue>,
    /// It came to its end, or broke off, and whoever reads it knows.
    pub(crate) over: Cell<bool>,
}

/// A body as it comes, with its trailers. Boxed, so that requests of HTTP/1 are no larger for it.
#[derive(Debug)]
pub struct StreamBody(Box<Incoming>);

#[derive(Debug)]
struct Incoming {
    stream: RecvStream,
    /// Bytes that are to come, where the client said.
    left: Option<u64>,
    data_over: bool,
    over: bool,
    idle_timeout: Duration,
    waits_since: Option<Instant>,
    alarm: Alarm,
    progress: Rc<Progress>,
    meter: Rc<RefCell<Meter>>,
}

impl StreamBody {
    /// The body of a stream whose head announced this length, if any. It fails when nothing comes for the idle time.
    pub(super) fn new(
        stream: RecvStream,
        length: Option<u64>,
        idle_timeout: Duration,
        progress: Rc<Progress>,
        meter: Rc<RefCell<Meter>>,
    ) -> Self {
        let over = stream.is_end_stream();
        progress.over.set(over);
        Self(Box::new(Incoming {
            stream,
            left: length,
            data_over: over,
            over,
            idle_timeout,
            waits_since: None,
            alarm: Alarm::default(),
            progress,
            meter,
        }))
    }
}

impl Incoming {
    fn end(&mut self) {
        self.over = true;
        self.progress.over.set(true);
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        while !self.data_over {
            match self.stream.poll_data(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(data))) => {
                    // The window opens again as far as the body was read. An error means that the stream is gone, and its next
                    // piece will say so.
                    let _ = self.stream.flow_control().release_capacity(data.len());
                    self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                    if !data.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => self.data_over = true,
            }
        }
        match self.stream.poll_trailers(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(trailers)) => {
                self.end();
                Poll::Ready(trailers.map(|trailers: HeaderMap| Ok(Frame::trailers(trailers))))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Some(Err(error))),
        }
    }
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = BodyBroken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyBroken>>> {
        let incoming = &mut *self.get_mut().0;
        if incoming.over {
            return Poll::Ready(None);
        }
        match incoming.poll_piece(cx) {
            Poll::Ready(piece) => {
                incoming.waits_since = None;
                Poll::Ready(piece.map(|piece| {
                    piece.map_err(|error| {
                        incoming.end();
                        BodyBroken(problem_of(&error))
                    })
                }))
            }
            Poll::Pending => {
                if incoming.progress.go_on.get() == Continue::Expected {
                    incoming.progress.go_on.set(Continue::Wanted);
                }
                let mut since = *incoming.waits_since.get_or_insert_with(Instant::now);
                loop {
                    ready!(incoming.alarm.poll_passed(cx, since + incoming.idle_timeout));
                    // A frame that comes slowly comes all the same.
                    let came = incoming.meter.borrow().receiving(incoming.stream.stream_id().as_u32());
                    match came.filter(|came| *came > since) {
                        Some(came) => since = came,
                        None => break,
                    }
                }
                incoming.end();
                Poll::Ready(Some(Err(BodyBroken(BodyProblem::TimedOut))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.over || self.0.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_end_stream() {
            return SizeHint::with_exact(0);
        }
        self.0.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// h2 ends a stream whose body breaks the protocol, such as one of another length than was announced (RFC 9113 §8.1.1); anything
/// else is the client's going away.
fn problem_of(error: &h2::Error) -> BodyProblem {
    if error.is_library() && error.reason() == Some(h2::Reason::PROTOCOL_ERROR) {
        BodyProblem::Malformed("a body that is not as long as it was announced, or trailers that are malformed")
    } else {
        BodyProblem::Truncated
    }
}

/// A request's body that did not come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyBroken(pub BodyProblem);

impl fmt::Display for BodyBroken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.0 {
            BodyProblem::Malformed(detail) => detail,
            BodyProblem::TimedOut => "nothing more came of the body in time",
            BodyProblem::Truncated => "the client went away in the middle of the body",
        })
    }
}

impl std::error::Error for BodyBroken {}
