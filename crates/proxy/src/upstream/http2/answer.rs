//! The body of an answer on its way down a stream.
//!
//! Reading it also sends what is left of the request's body, so that both directions of a stream live in one task. When it is
//! dropped before its end, the stream is reset, and the connection goes on.

use std::task::{Context, Poll};

use bytes::Bytes;
use h2::RecvStream;
use hyper::body::{Body, Frame, SizeHint};

use super::super::deadline::Phase;
use super::super::error::{BoxError, UpstreamError};
use super::exchange::Ride;
use crate::trailers::Way;

/// The body of an answer that comes on a stream.
pub(in crate::upstream) struct StreamedAnswer<B> {
    incoming: RecvStream,
    /// The request, while the answer has not ended.
    ride: Option<Box<Ride<B>>>,
    /// Bytes that are still to come, where their number was said.
    left: Option<u64>,
}

impl<B> StreamedAnswer<B> {
    pub(super) fn new(incoming: RecvStream, mut ride: Box<Ride<B>>, length: Option<u64>) -> Self {
        ride.deadlines.progressed();
        let ride = (!incoming.is_end_stream()).then_some(ride);
        Self { incoming, ride, left: length }
    }
}

impl<B> StreamedAnswer<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    pub(in crate::upstream) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        let Some(ride) = &mut self.ride else { return Poll::Ready(None) };
        if let Poll::Ready(error) = ride.upload.poll(&ride.wire, cx) {
            self.ride = None;
            return Poll::Ready(Some(Err(error)));
        }
        match self.incoming.poll_data(cx) {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(data))) if data.is_empty() => {
                // Of no use but to end a stream; and one of them is hardly worth the time of another task.
                ride.seat.heard();
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(Some(Ok(data))) => return Poll::Ready(Some(self.took(data))),
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(self.broke_off(&error)))),
            Poll::Ready(None) => {
                if let Poll::Ready(end) = self.poll_end(cx) {
                    return Poll::Ready(end);
                }
            }
        }
        let Some(ride) = &mut self.ride else { return Poll::Ready(None) };
        ride.poll_deadline(Phase::Body, cx).map(|late| {
            self.ride = None;
            Some(Err(late))
        })
    }

    /// All data has come; what is behind it?
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        let trailers = match self.incoming.poll_trailers(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(trailers)) => trailers,
            Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(self.broke_off(&error)))),
        };
        let ride = self.ride.take();
        let passing = ride.and_then(|ride| ride.trailers);
        let (Some(fields), Some(passing)) = (trailers, passing) else { return Poll::Ready(None) };
        Poll::Ready(match passing.filter(Way::Down, fields) {
            Ok(fields) if fields.is_empty() => None,
            Ok(fields) => Some(Ok(Frame::trailers(fields))),
            Err(error) => Some(Err(UpstreamError::protocol("the response's end", &error))),
        })
    }

    fn took(&mut self, data: Bytes) -> Result<Frame<Bytes>, UpstreamError> {
        if let Some(ride) = &mut self.ride {
            ride.deadlines.progressed();
            ride.wire.moved();
            ride.seat.heard();
        }
        self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
        // Whoever reads makes room for more; an error here is one that the next piece tells.
        let _ = self.incoming.flow_control().release_capacity(data.len());
        if self.incoming.is_end_stream() {
            self.ride = None;
        }
        Ok(Frame::data(data))
    }

    /// The stream ended before the answer did. What an endpoint that has answered in full does with the rest of the stream (it
    /// resets it where it does not want the rest of the request, RFC 9113 section 8.1) is no error here.
    fn broke_off(&mut self, error: &h2::Error) -> UpstreamError {
        self.ride = None;
        UpstreamError::protocol("the response's body broke off", error)
    }
}

impl<B> StreamedAnswer<B> {
    pub(in crate::upstream) fn is_end_stream(&self) -> bool {
        self.ride.is_none()
    }

    pub(in crate::upstream) fn size_hint(&self) -> SizeHint {
        match (&self.ride, self.left) {
            (None, _) => SizeHint::with_exact(0),
            (Some(_), Some(left)) => SizeHint::with_exact(left),
            (Some(_), None) => SizeHint::default(),
        }
    }
}
