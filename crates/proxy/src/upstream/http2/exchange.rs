//! One request on a stream of its own: its head, its body on the way up, and the wait for the head of the answer.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::RecvStream;
use h2::client::ResponseFuture;
use http::header::{CONTENT_LENGTH, HOST, HeaderValue, TRANSFER_ENCODING};
use http::uri::{Authority, Scheme};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::Body;
use tokio::time::Instant;

use crate::settings::EndpointScheme;
use crate::trailers::Trailers;

use super::super::body::Answer;
use super::super::connect::Visit;
use super::super::deadline::{Alarm, Deadlines, Phase};
use super::super::error::{BoxError, FaultKind, UpstreamError};
use super::super::wire::Wire;
use super::super::{Allowed, Upstream, UpstreamBody, upload};
use super::StreamedAnswer;
use super::channel::Seat;
use super::upload::{Source, Upload};

/// What is to be sent.
pub(super) struct Sent<'a, B> {
    pub(super) head: &'a http::request::Parts,
    pub(super) source: Source<B>,
    pub(super) place: usize,
    /// How long the whole exchange may take.
    pub(super) allowed: Allowed<'a>,
    /// Which trailers pass, if any.
    pub(super) trailers: Option<&'a Trailers>,
}

/// Why there is no answer, and the body, as far as it is still there.
pub(super) struct Failed<B> {
    pub(super) error: UpstreamError,
    pub(super) lost: Lost,
    pub(super) source: Source<B>,
}

/// What became of a request without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// Nothing of it was sent; or it was sent while the endpoint took its leave in order, and did not look at it any more.
    Unsent,
    /// The endpoint says that it did not begin to process it.
    Refused,
    /// The connection ended; nobody knows how far it got.
    Unanswered,
    /// There is nothing more to try.
    Final,
}

/// A request under way on a stream. When it is dropped, the stream is reset unless it has ended.
pub(in crate::upstream) struct Ride<B> {
    pub(super) upload: Upload<B>,
    pub(super) seat: Seat,
    pub(super) wire: Wire,
    pub(super) deadlines: Deadlines,
    alarm: Alarm,
    _visit: Option<Visit>,
    /// Which trailers of the answer pass, if any.
    pub(super) trailers: Option<Trailers>,
}

impl<B> Upstream<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    /// Sends a request on a stream of its own, and waits for the head of the answer.
    pub(super) async fn exchange_stream(
        self: &Rc<Self>,
        mut seat: Seat,
        Sent { head, source, place, allowed, trailers }: Sent<'_, B>,
    ) -> Result<Response<UpstreamBody<B>>, Box<Failed<B>>> {
        let failed = |error, lost, source| Err(Box::new(Failed { error, lost, source }));
        let secure = self.endpoints.endpoint(place).is_some_and(|endpoint| endpoint.scheme == EndpointScheme::Https);
        let request = match stream_head(head, source.length(), secure) {
            Ok(request) => request,
            Err(error) => return failed(error, Lost::Final, source),
        };
        let (mut answer, stream) = match seat.sender.send_request(request, source.is_empty()) {
            Ok(sent) => sent,
            Err(error) => return failed(UpstreamError::protocol("not sent", &error), Lost::Unsent, source),
        };
        let mut ride = Box::new(Ride {
            upload: Upload::new(source, stream),
            seat,
            wire: Wire::default(),
            deadlines: Deadlines::new(*allowed.timeouts, allowed.started, Instant::now()),
            alarm: Alarm::default(),
            _visit: self.endpoints.visit(place),
            trailers: trailers.cloned(),
        });
        match poll_fn(|cx| ride.poll_head(&mut answer, cx)).await {
            Ok(response) => {
                ride.seat.heard();
                ride.upload.source.forget();
                self.answered_on_stream(ride, place, response, head.method == Method::HEAD)
            }
            Err((error, lost)) => {
                let Ride { upload, .. } = *ride;
                failed(error, lost, upload.source)
            }
        }
    }

    /// The head has come.
    fn answered_on_stream(
        self: &Rc<Self>,
        ride: Box<Ride<B>>,
        place: usize,
        response: Response<RecvStream>,
        to_head: bool,
    ) -> Result<Response<UpstreamBody<B>>, Box<Failed<B>>> {
        let failed =
            |error, ride: Box<Ride<B>>| Box::new(Failed { error, lost: Lost::Final, source: ride.upload.source });
        let (mut head, incoming) = response.into_parts();
        if head.status.is_informational() {
            let error = UpstreamError::new(FaultKind::Protocol, "an answer that is none");
            return Err(failed(error, ride));
        }
        let length = head.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        head.version = Version::HTTP_11;
        if let Err(error) = reframe(&mut head.headers, to_head && head.status != StatusCode::NO_CONTENT) {
            return Err(failed(error, ride));
        }
        self.state.answered(place, head.status);
        let length = length.filter(|_| !to_head);
        let body = UpstreamBody::new(Answer::Http2(Box::new(StreamedAnswer::new(incoming, ride, length))));
        Ok(Response::from_parts(head, body))
    }
}

impl<B> Ride<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    fn poll_head(
        &mut self,
        answer: &mut ResponseFuture,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<RecvStream>, (UpstreamError, Lost)>> {
        if let Poll::Ready(error) = self.upload.poll(&self.wire, cx) {
            return Poll::Ready(Err((error, Lost::Final)));
        }
        match Pin::new(answer).poll(cx) {
            Poll::Ready(Ok(response)) => Poll::Ready(Ok(response)),
            Poll::Ready(Err(error)) => {
                Poll::Ready(Err((UpstreamError::protocol("no answer", &error), lost_by(&error))))
            }
            Poll::Pending => {
                let sent = self.wire.upload_over.get() && !self.wire.write_blocked.get();
                self.poll_deadline(if sent { Phase::Head } else { Phase::Upload }, cx)
                    .map(|late| Err((late, Lost::Final)))
            }
        }
    }

    /// Ready when the wait has been too long.
    pub(super) fn poll_deadline(&mut self, phase: Phase, cx: &mut Context<'_>) -> Poll<UpstreamError> {
        let late = self.deadlines.poll(phase, &self.wire, &mut self.alarm, cx);
        if let Poll::Ready(UpstreamError { kind: FaultKind::Timeout(_), .. }) = &late {
            self.seat.doubt();
        }
        late
    }
}

/// What became of a request whose stream ended with this error.
fn lost_by(error: &h2::Error) -> Lost {
    if error.is_remote() && error.is_go_away() {
        // A stream that `GOAWAY` ends is one behind the last that the endpoint looks at (RFC 9113 section 6.8).
        return if error.reason() == Some(h2::Reason::NO_ERROR) { Lost::Unsent } else { Lost::Refused };
    }
    if error.is_remote() && error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM) {
        return Lost::Refused;
    }
    if error.is_io() || error.is_go_away() { Lost::Unanswered } else { Lost::Final }
}

/// Takes the framing off a response, which the server that passes it on makes anew (security rule F1). In the answer to a
/// HEAD the length is no framing but a statement about the resource: one valid length stays.
fn reframe(headers: &mut HeaderMap, keep_length: bool) -> Result<(), UpstreamError> {
    let (mut encoded, mut lengths, mut valid) = (false, 0, true);
    for (name, value) in &*headers {
        if *name == TRANSFER_ENCODING {
            encoded = true;
            // Whatever else it says, the body would be passed on encoded and without a word about it.
            if !value.as_bytes().eq_ignore_ascii_case(b"chunked") {
                return Err(UpstreamError::new(FaultKind::Protocol, "a transfer coding other than chunked"));
            }
        } else if *name == CONTENT_LENGTH {
            lengths += 1;
            valid &= !value.is_empty() && value.as_bytes().iter().all(u8::is_ascii_digit);
        }
    }
    if encoded {
        headers.remove(TRANSFER_ENCODING);
    }
    if lengths > 0 && (encoded || !keep_length || !valid || lengths > 1) {
        headers.remove(CONTENT_LENGTH);
    }
    Ok(())
}

/// The head of a request as HTTP/2 carries it (RFC 9113 section 8.3.1): `:authority` says what `Host` said, and no field is
/// about framing.
fn stream_head(head: &http::request::Parts, length: Option<u64>, secure: bool) -> Result<Request<()>, UpstreamError> {
    // The gate lets none of these through; were one to come, it would be its sender's fault.
    let unfit = |what| UpstreamError::new(FaultKind::RequestBody, what);
    let mut headers = head.headers.clone();
    let host = headers.remove(HOST).ok_or_else(|| unfit("a request without a host"))?;
    let authority = Authority::try_from(host.as_bytes()).map_err(|_| unfit("a host that is no authority"))?;
    headers.remove(TRANSFER_ENCODING);
    let had_length = headers.remove(CONTENT_LENGTH).is_some();
    match length {
        Some(0) if !had_length && !upload::usually_has_a_body(&head.method) => {}
        Some(length) => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        None => {}
    }
    let mut target = head.uri.clone().into_parts();
    target.scheme = Some(if secure { Scheme::HTTPS } else { Scheme::HTTP });
    target.authority = Some(authority);
    let mut request = Request::new(());
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = Uri::from_parts(target).map_err(|_| unfit("a target that is none of HTTP/2"))?;
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = headers;
    Ok(request)
}
