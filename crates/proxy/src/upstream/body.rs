//! The response's body on its way to the caller.
//!
//! Reading it drives the upstream's connection, also what is left of the request's body, so no task and no queue stands
//! between the two connections. When the body has ended the connection goes back to the pool; when it is dropped before, the
//! connection is closed.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::Upstream;
use super::error::{BoxError, UpstreamError};
use super::http2::StreamedAnswer;
use super::pool::Link;
use super::state::Admitted;
use super::upload::passing;
use crate::trailers::{Trailers, Way};

/// A response's body, streamed. Trailers are dropped, unless they pass. An error means that the response is incomplete: the caller's
/// connection must not end as if it were whole, which hyper sees to when the error is passed on to it.
pub struct UpstreamBody<B> {
    answer: Answer<B>,
    /// The request's place among those to the upstream, where their number is limited.
    pub(super) admitted: Option<Admitted>,
}

/// How it comes.
pub(super) enum Answer<B> {
    /// Over a connection of its own.
    Http1(LinkedAnswer<B>),
    /// On a stream.
    Http2(Box<StreamedAnswer<B>>),
}

impl<B> UpstreamBody<B> {
    pub(super) fn new(answer: Answer<B>) -> Self {
        Self { answer, admitted: None }
    }
}

/// A body that comes over HTTP/1.1.
pub(super) struct LinkedAnswer<B> {
    incoming: Incoming,
    /// The connection, while it is still needed.
    link: Option<Box<Link<B>>>,
    /// Where it goes afterwards.
    upstream: Rc<Upstream<B>>,
    trailers: Option<Trailers>,
}

impl<B> LinkedAnswer<B> {
    pub(super) fn new(incoming: Incoming, mut link: Box<Link<B>>, upstream: &Rc<Upstream<B>>) -> Self {
        link.deadlines.progressed();
        let trailers = link.trailers.take();
        let ended = incoming.is_end_stream();
        let mut body = Self { incoming, link: Some(link), upstream: Rc::clone(upstream), trailers };
        // A small response is often read as a whole together with its head: what is left of it waits in `incoming`.
        if ended || body.link.as_ref().is_some_and(|link| link.is_ready_for_another()) {
            body.settle();
        }
        body
    }

    /// The response is over: keeps the connection if it is ready for another request, else closes it.
    fn settle(&mut self) {
        let Some(mut link) = self.link.take() else { return };
        if link.is_ready_for_another() || (link.drive() && link.is_ready_for_another()) {
            self.upstream.idle.put(link);
        }
    }

    /// The next piece that has been read. While there is a connection nobody is woken for one: it is looked for after each drive.
    fn poll_read_piece(&mut self) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        self.poll_piece(&mut Context::from_waker(Waker::noop()))
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        loop {
            match Pin::new(&mut self.incoming).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(frame))) if frame.is_data() => {
                    if let Some(link) = &mut self.link {
                        link.deadlines.progressed();
                    }
                    if self.incoming.is_end_stream() {
                        self.settle();
                    }
                    return Poll::Ready(Some(Ok(frame)));
                }
                Poll::Ready(Some(Ok(frame))) => match passing(self.trailers.as_ref(), Way::Down, frame) {
                    Ok(None) => {}
                    Ok(Some(fields)) => return Poll::Ready(Some(Ok(Frame::trailers(fields)))),
                    Err(error) => {
                        self.link = None;
                        return Poll::Ready(Some(Err(UpstreamError::protocol("the response's end", &error))));
                    }
                },
                Poll::Ready(None) => {
                    self.settle();
                    return Poll::Ready(None);
                }
                Poll::Ready(Some(Err(error))) => {
                    let upload_error = self.link.take().and_then(|link| link.wire.upload_error.take());
                    let error = upload_error.map_or_else(
                        || UpstreamError::protocol("the response's body broke off", &error),
                        UpstreamError::request_body,
                    );
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }
}

impl<B> LinkedAnswer<B> {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        if self.link.is_none() {
            return self.poll_piece(cx);
        }
        if let piece @ Poll::Ready(_) = self.poll_read_piece() {
            return piece;
        }
        if let Some(link) = &mut self.link {
            // Whether it goes on or has ended, what it read waits in `incoming` now.
            let _ = link.drive();
        }
        if let piece @ Poll::Ready(_) = self.poll_read_piece() {
            return piece;
        }
        let Some(link) = &mut self.link else { return Poll::Pending };
        link.poll_body_deadline(cx).map(|timeout| {
            self.link = None;
            Some(Err(timeout))
        })
    }
}

impl<B> Body for UpstreamBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        match &mut self.get_mut().answer {
            Answer::Http1(answer) => answer.poll_frame(cx),
            Answer::Http2(answer) => answer.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.answer {
            Answer::Http1(answer) => answer.incoming.is_end_stream(),
            Answer::Http2(answer) => answer.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.answer {
            Answer::Http1(answer) => answer.incoming.size_hint(),
            Answer::Http2(answer) => answer.size_hint(),
        }
    }
}
