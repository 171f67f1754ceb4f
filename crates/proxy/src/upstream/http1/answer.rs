//! The response's body as it comes over HTTP/1.1.
//!
//! Reading it drives the upstream's connection, also what is left of the request's body. When the body has ended the connection
//! goes back to the pool; when it is dropped before, the connection is closed.

use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::super::Upstream;
use super::super::error::{BoxError, UpstreamError};
use super::Link;

/// A body that comes over a connection of its own.
pub(in crate::upstream) struct LinkedAnswer<B> {
    /// All of it, where it came with the head.
    whole: Option<Bytes>,
    /// The connection, while it is still needed.
    link: Option<Box<Link<B>>>,
    /// It broke off: what has come is not all of it.
    broken: bool,
    /// Where the connection goes afterwards.
    upstream: Rc<Upstream<B>>,
}

impl<B> LinkedAnswer<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    pub(super) fn new(mut link: Box<Link<B>>, upstream: &Rc<Upstream<B>>) -> Self {
        link.deadlines.progressed();
        let whole = link.take_whole();
        let mut body = Self { whole, link: Some(link), broken: false, upstream: Rc::clone(upstream) };
        body.settle_if_over();
        body
    }

    /// The response may be over: then keeps the connection if it is ready for another request, else closes it.
    fn settle_if_over(&mut self) {
        let Some(mut link) = self.link.take_if(|link| link.answer_is_over()) else { return };
        if !link.is_ready_for_another() {
            link.finish_sending();
        }
        if link.is_ready_for_another() {
            self.upstream.idle.put(link);
        }
    }

    pub(in crate::upstream) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        if let Some(whole) = self.whole.take() {
            return Poll::Ready(Some(Ok(Frame::data(whole))));
        }
        let Some(link) = &mut self.link else { return Poll::Ready(None) };
        let piece = link.poll_piece(cx);
        match &piece {
            Poll::Ready(Some(Err(_))) => (self.link, self.broken) = (None, true),
            Poll::Ready(Some(Ok(_)) | None) => self.settle_if_over(),
            Poll::Pending => {}
        }
        piece
    }
}

impl<B> LinkedAnswer<B> {
    pub(in crate::upstream) fn is_end_stream(&self) -> bool {
        self.whole.is_none() && self.link.is_none() && !self.broken
    }

    pub(in crate::upstream) fn size_hint(&self) -> SizeHint {
        let whole = self.whole.as_ref().map_or(0, Bytes::len) as u64;
        match self.link.as_ref().map_or(Some(0), |link| link.length()) {
            Some(length) if !self.broken => SizeHint::with_exact(whole + length),
            Some(_) | None => SizeHint::default(),
        }
    }
}
