//! The request's body on its way up a stream, and back for a second try.
//!
//! What has been taken of a body is kept until the head of the answer comes, up to a bound, so that a request that the endpoint
//! did not begin to process can go elsewhere. The pieces are shared with what is being sent, not copied.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::SendStream;
use http::HeaderMap;
use hyper::body::Body;

use crate::trailers::{Trailers, Way};

use super::super::error::{BoxError, UpstreamError};
use super::super::upload::passing;
use super::super::wire::Wire;

/// The most of a body that is kept for a second try; the second try of a request with a larger one is its sender's.
const KEPT_BYTES_MAX: usize = 64 * 1024;
/// The most pieces that are kept.
const KEPT_PIECES_MAX: usize = 64;

/// A request's body, and what was taken of it.
pub(super) struct Source<B> {
    body: B,
    /// The request has none.
    empty: bool,
    /// What its length was said to be, before any of it was taken.
    length: Option<u64>,
    kept: Vec<Bytes>,
    kept_bytes: usize,
    /// How many of `kept` have been sent on this stream.
    position: usize,
    /// All that was taken is in `kept`.
    whole: bool,
    /// The body has nothing more to give.
    ended: bool,
    /// Which trailers pass, if any.
    passing: Option<Trailers>,
    /// What came behind the body, kept as its pieces are.
    trailers: Option<HeaderMap>,
}

/// A piece of data, and whether it is the last of all.
type Data = (Bytes, bool);

/// What comes next.
enum Piece {
    Data(Data),
    Trailers(HeaderMap),
}

impl<B> Source<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    pub(super) fn new(body: B, passing: Option<Trailers>) -> Self {
        let empty = body.is_end_stream();
        let length = if empty { Some(0) } else { body.size_hint().exact() };
        Self {
            body,
            empty,
            length,
            kept: Vec::new(),
            kept_bytes: 0,
            position: 0,
            whole: true,
            ended: empty,
            passing,
            trailers: None,
        }
    }

    /// Whether there is nothing to send.
    pub(super) fn is_empty(&self) -> bool {
        self.empty
    }

    /// Its length, where that is known.
    pub(super) fn length(&self) -> Option<u64> {
        self.length
    }

    /// The body, if nothing was taken of it.
    pub(super) fn into_unread(self) -> Option<B> {
        (self.kept.is_empty() && self.whole).then_some(self.body)
    }

    /// Begins anew, if all that was taken is still there.
    pub(super) fn rewind(&mut self) -> bool {
        self.position = 0;
        self.whole
    }

    /// There will be no second try.
    pub(super) fn forget(&mut self) {
        // Trailers that are there have been sent: nothing comes behind them.
        self.kept.drain(..self.position.min(self.kept.len()));
        self.position = 0;
        self.whole = false;
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, BoxError>>> {
        if let Some(piece) = self.kept.get(self.position) {
            let piece = piece.clone();
            self.position += 1;
            let last = self.ended && self.trailers.is_none() && self.position == self.kept.len();
            return Poll::Ready(Some(Ok(Piece::Data((piece, last)))));
        }
        if let Some(fields) = self.trailers.as_ref().filter(|_| self.ended) {
            return Poll::Ready(Some(Ok(Piece::Trailers(fields.clone()))));
        }
        while !self.ended {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => self.ended = true,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error.into()))),
                Poll::Ready(Some(Ok(frame))) => {
                    let piece = match frame.into_data() {
                        Ok(piece) => piece,
                        Err(frame) => match passing(self.passing.as_ref(), Way::Up, frame) {
                            Ok(None) => continue,
                            Ok(Some(fields)) => {
                                self.ended = true;
                                self.trailers = Some(fields.clone());
                                return Poll::Ready(Some(Ok(Piece::Trailers(fields))));
                            }
                            Err(error) => return Poll::Ready(Some(Err(error.into()))),
                        },
                    };
                    self.ended = self.body.is_end_stream();
                    self.keep(&piece);
                    return Poll::Ready(Some(Ok(Piece::Data((piece, self.ended)))));
                }
            }
        }
        Poll::Ready(None)
    }

    fn keep(&mut self, piece: &Bytes) {
        if !self.whole {
            return;
        }
        self.kept_bytes = self.kept_bytes.saturating_add(piece.len());
        if self.kept_bytes > KEPT_BYTES_MAX || self.kept.len() >= KEPT_PIECES_MAX {
            self.kept = Vec::new();
            self.position = 0;
            self.whole = false;
            return;
        }
        self.kept.push(piece.clone());
        self.position = self.kept.len();
    }
}

/// Sends a body over a stream, no faster than the endpoint takes it.
pub(super) struct Upload<B> {
    pub(super) source: Source<B>,
    stream: SendStream<Bytes>,
    /// Taken from the source, and waiting until the endpoint takes more.
    in_hand: Option<Data>,
    over: bool,
}

impl<B> Upload<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    pub(super) fn new(source: Source<B>, stream: SendStream<Bytes>) -> Self {
        let over = source.is_empty();
        Self { source, stream, in_hand: None, over }
    }

    /// Sends as much as goes. Ready with the error of the body itself; what else ends the stream is told by the answer.
    pub(super) fn poll(&mut self, wire: &Wire, cx: &mut Context<'_>) -> Poll<UpstreamError> {
        if !self.over {
            match self.poll_send(wire, cx) {
                Poll::Pending => wire.write_blocked.set(self.in_hand.is_some()),
                Poll::Ready(Ok(())) => self.over = true,
                Poll::Ready(Err(error)) => {
                    self.over = true;
                    return Poll::Ready(UpstreamError::request_body(error));
                }
            }
        }
        if self.over {
            wire.write_blocked.set(false);
            wire.upload_over.set(true);
        }
        Poll::Pending
    }

    fn poll_send(&mut self, wire: &Wire, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        loop {
            // Also so that this task hears of it while it waits for the body.
            if self.stream.poll_reset(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let Some((piece, last)) = &mut self.in_hand else {
                match self.source.poll_piece(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Some(Ok(Piece::Data(data)))) => {
                        wire.moved();
                        self.in_hand = Some(data);
                    }
                    Poll::Ready(Some(Ok(Piece::Trailers(fields)))) => {
                        wire.moved();
                        let _ = self.stream.send_trailers(fields);
                        return Poll::Ready(Ok(()));
                    }
                    Poll::Ready(Some(Err(error))) => {
                        self.stream.send_reset(h2::Reason::CANCEL);
                        return Poll::Ready(Err(error));
                    }
                    Poll::Ready(None) => {
                        // Where the stream has ended meanwhile, the answer tells why.
                        let _ = self.stream.send_data(Bytes::new(), true);
                        return Poll::Ready(Ok(()));
                    }
                }
                continue;
            };
            // Not all of a large piece at once: it would be buffered, and its stream would hold what others could use.
            self.stream.reserve_capacity(piece.len().min(CLAIM_BYTES_MAX));
            while self.stream.capacity() == 0 && !piece.is_empty() {
                match self.stream.poll_capacity(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Some(Ok(_))) => {}
                    Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(Ok(())),
                }
            }
            let part = piece.split_to(piece.len().min(self.stream.capacity()));
            let whole = piece.is_empty();
            let last = *last && whole;
            if whole {
                self.in_hand = None;
            }
            wire.moved();
            if self.stream.send_data(part, last).is_err() || last {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

/// How much of the endpoint's window a stream asks for at once: a frame, as large as every endpoint takes it.
const CLAIM_BYTES_MAX: usize = 16 * 1024;
