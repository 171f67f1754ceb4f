//! The response's body on its way to the caller.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::error::{BoxError, UpstreamError};
use super::http1::LinkedAnswer;
use super::http2::StreamedAnswer;
use super::state::Admitted;

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
            Answer::Http1(answer) => answer.is_end_stream(),
            Answer::Http2(answer) => answer.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.answer {
            Answer::Http1(answer) => answer.size_hint(),
            Answer::Http2(answer) => answer.size_hint(),
        }
    }
}
