//! An answer on its way down a stream.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::header::{
    CONNECTION, CONTENT_LENGTH, DATE, HeaderMap, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::{Response, StatusCode};
use hyper::body::Body;
use tokio::time::Instant;

use crate::upstream::BoxError;
use crate::watched::Terminated;
use crate::wire::alarm::Alarm;

/// At most so much of an answer is handed to h2 at once: the largest frame that every client takes (RFC 9113 §4.2).
pub(super) const PIECE: usize = 16 * 1024;

/// Sends an answer to its end, or resets the stream where that cannot be reached. `bodiless` is an answer to HEAD. Gives whether it
/// reached its end.
pub(super) async fn send<B>(
    mut respond: SendResponse<Bytes>,
    response: Response<B>,
    bodiless: bool,
    date: HeaderValue,
    stall_after: Duration,
) -> bool
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let (mut head, body) = response.into_parts();
    finish(&mut head.headers, head.status, (!bodiless).then_some(&body), date);
    let ends = bodiless || body.is_end_stream();
    let Ok(mut stream) = respond.send_response(Response::from_parts(head, ()), ends) else { return false };
    if ends {
        return true;
    }
    let mut sender = Sender { stream: &mut stream, stall_after, alarm: Alarm::default() };
    match sender.send_body(body).await {
        Ok(()) => true,
        Err(reason) => {
            // Nothing to say to a stream that is gone. For the others, what was sent before goes out first: a reset drops what
            // still waits.
            if let Some(reason) = reason {
                tokio::task::yield_now().await;
                stream.send_reset(reason);
            }
            false
        }
    }
}

/// Fields that are of the connection are none of an answer's (RFC 9113 §8.2.2); a length is told where it is known, and a date always
/// (RFC 9110 §6.6.1). Without a body nothing is known of its length: what the answer to HEAD says of it is the upstream's.
fn finish<B: Body>(headers: &mut HeaderMap, status: StatusCode, body: Option<&B>, date: HeaderValue) {
    const OTHERS: [HeaderName; 2] =
        [HeaderName::from_static("keep-alive"), HeaderName::from_static("proxy-connection")];
    for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE, TE] {
        headers.remove(name);
    }
    for name in OTHERS {
        headers.remove(name);
    }
    if !headers.contains_key(DATE) {
        headers.insert(DATE, date);
    }
    let may_have_a_body = !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if let Some(length) = body.and_then(|body| body.size_hint().exact()).filter(|_| may_have_a_body)
        && !headers.contains_key(CONTENT_LENGTH)
    {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// What sends one body.
struct Sender<'s> {
    stream: &'s mut SendStream<Bytes>,
    stall_after: Duration,
    alarm: Alarm,
}

/// Why a body was not sent to its end: with the reason that the stream is to be reset with, or `None` where it is gone.
type Cut = Option<Reason>;

impl Sender<'_> {
    async fn send_body<B>(&mut self, body: B) -> Result<(), Cut>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        let mut body = pin!(body);
        loop {
            let frame = poll_fn(|cx| {
                if self.is_gone(cx) {
                    return Poll::Ready(Err(None));
                }
                body.as_mut().poll_frame(cx).map(Ok)
            })
            .await?;
            let frame = match frame {
                None => return self.put(Bytes::new(), true),
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Err(Some(reset_for(&error.into()))),
            };
            match frame.into_data() {
                Ok(data) => {
                    let ends = body.is_end_stream();
                    self.send_data(data, ends).await?;
                    if ends {
                        return Ok(());
                    }
                }
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        return self.stream.send_trailers(trailers).map_err(|_| None);
                    }
                }
            }
        }
    }

    async fn send_data(&mut self, mut data: Bytes, ends: bool) -> Result<(), Cut> {
        if data.is_empty() {
            // An empty frame would say nothing.
            return if ends { self.put(data, true) } else { Ok(()) };
        }
        while !data.is_empty() {
            // Only now that there is something to send: what one stream reserves, others do not get.
            self.stream.reserve_capacity(data.len().min(PIECE));
            let room = self.room().await?;
            let piece = data.split_to(room.min(data.len()));
            self.put(piece, ends && data.is_empty())?;
        }
        Ok(())
    }

    /// How many bytes the client takes now; at least 1.
    async fn room(&mut self) -> Result<usize, Cut> {
        let mut since = None;
        poll_fn(|cx| {
            loop {
                if self.stream.capacity() > 0 {
                    return Poll::Ready(Ok(self.stream.capacity()));
                }
                if self.is_gone(cx) {
                    return Poll::Ready(Err(None));
                }
                match self.stream.poll_capacity(cx) {
                    Poll::Ready(Some(Ok(_))) => {}
                    Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(Err(None)),
                    Poll::Pending => {
                        // One who asks for an answer and never takes it holds it in memory, and its upstream with it.
                        let since = *since.get_or_insert_with(Instant::now);
                        ready!(self.alarm.poll_passed(cx, since + self.stall_after));
                        return Poll::Ready(Err(Some(Reason::CANCEL)));
                    }
                }
            }
        })
        .await
    }

    fn put(&mut self, data: Bytes, ends: bool) -> Result<(), Cut> {
        self.stream.send_data(data, ends).map_err(|_| None)
    }

    /// Whether the client has reset the stream, or is gone.
    fn is_gone(&mut self, cx: &mut Context<'_>) -> bool {
        self.stream.poll_reset(cx).is_ready()
    }
}

/// What a stream is reset with whose answer broke off: the gateway's own decision, or a failure behind it.
fn reset_for(error: &BoxError) -> Reason {
    if error.is::<Terminated>() { Reason::CANCEL } else { Reason::INTERNAL_ERROR }
}
