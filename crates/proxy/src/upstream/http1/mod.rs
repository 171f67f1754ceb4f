//! HTTP/1.1 to upstreams (RFC 9112): one request at a time on a connection, which waits for another afterwards.
//!
//! The connection is driven by the task that serves the caller, and by nothing else. hyper's client would stand between with a
//! channel and a waker of its own, which cost a sixth of what a small request costs. What the upstream says is read strictly
//! ([`head`]); a connection of which there is any doubt is not used again.

mod answer;
pub mod head;
mod link;
mod request;
mod room;

use std::future::poll_fn;
use std::rc::Rc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Body;
use tokio::time::Instant;

use super::body::Answer;
use super::deadline::{Deadlines, after};
use super::error::{BoxError, FaultKind, UpstreamError};
use super::stream::Stream;
use super::tunnel::{Switch, Switched};
use super::{Allowed, Upstream, UpstreamBody};
use crate::settings::UpstreamTimeouts;

pub(super) use answer::LinkedAnswer;
pub(super) use link::Link;
#[cfg(test)]
pub(super) use room::PIECE_BYTES_MAX;

use head::Head;
use link::Unanswered;
use request::Outgoing;

impl<B> Upstream<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    /// Sends a request over HTTP/1.1, to the endpoint at this place if it takes it.
    pub(super) async fn send_http1(
        self: &Rc<Self>,
        allowed: Allowed<'_>,
        place: usize,
        request: Request<B>,
    ) -> Result<Response<UpstreamBody<B>>, UpstreamError> {
        let started = allowed.started;
        let mut request = Box::new(Outgoing::new(request));
        let repeatable = request.is_repeatable();
        while let Some(mut link) = self.idle.take(place, started) {
            if !repeatable && link.has_ended() {
                continue;
            }
            link.renew(Deadlines::new(*allowed.timeouts, started, started), self.endpoints.visit(place));
            match self.exchange(link, request).await {
                Ok(response) => return Ok(response),
                Err(Failure::NotWritten(unsent)) => request = unsent,
                Err(Failure::Unanswered(unanswered, error)) => {
                    request = self.again(unanswered, error)?;
                    break;
                }
                Err(Failure::Final(error)) => return Err(error),
            }
        }
        // Where there is another endpoint, it may answer what the first one did not.
        // A fresh connection is boxed: it is the rarer case, and large.
        match Box::pin(self.send_freshly(allowed, place, request)).await {
            Ok(response) => Ok(response),
            Err(Failure::Unanswered(unanswered, error)) if self.endpoints.len() > 1 => {
                let request = self.again(unanswered, error)?;
                let place = self.endpoints.other(place, started);
                Box::pin(self.send_freshly(allowed, place, request)).await.map_err(Failure::into_error)
            }
            Err(failure) => Err(failure.into_error()),
        }
    }

    /// Sends a request over a connection of which it is the first.
    async fn send_freshly(
        self: &Rc<Self>,
        allowed: Allowed<'_>,
        place: usize,
        request: Box<Outgoing<B>>,
    ) -> Result<Response<UpstreamBody<B>>, Failure<B>> {
        let connect = allowed.timeouts.connect;
        let connected = self.endpoints.connect(place, connect, allowed.end()).await.map_err(Failure::Final)?;
        self.send_over(allowed, connected, request).await
    }

    /// The same over this connection, to the endpoint at this place.
    async fn send_over(
        self: &Rc<Self>,
        allowed: Allowed<'_>,
        (stream, place): (Stream, usize),
        request: Box<Outgoing<B>>,
    ) -> Result<Response<UpstreamBody<B>>, Failure<B>> {
        let deadlines = Deadlines::new(*allowed.timeouts, allowed.started, Instant::now());
        let mut link = Link::new((stream, place), deadlines);
        link.visit = self.endpoints.visit(place);
        self.exchange(link, request).await
    }

    /// Sends a request over HTTP/1.1 to the endpoint at `place`, over this connection if there is one.
    pub(super) async fn send_on(
        self: &Rc<Self>,
        allowed: Allowed<'_>,
        place: usize,
        stream: Option<Stream>,
        request: Request<B>,
    ) -> Result<Response<UpstreamBody<B>>, UpstreamError> {
        match stream {
            None => self.send_http1(allowed, place, request).await,
            Some(stream) => {
                let request = Box::new(Outgoing::new(request));
                self.send_over(allowed, (stream, place), request).await.map_err(Failure::into_error)
            }
        }
    }

    /// The request for a further attempt, if the budget has one.
    fn again(&self, request: Box<Outgoing<B>>, error: UpstreamError) -> Result<Box<Outgoing<B>>, UpstreamError> {
        if self.may_retry() { Ok(request) } else { Err(error) }
    }

    async fn exchange(
        self: &Rc<Self>,
        mut link: Box<Link<B>>,
        request: Box<Outgoing<B>>,
    ) -> Result<Response<UpstreamBody<B>>, Failure<B>> {
        let place = link.place;
        link.begin(request);
        let mut exchanged = match poll_fn(|cx| link.poll_head(cx)).await {
            Ok(head) => self.answered(link, head).map_err(Failure::Final),
            Err(unanswered) => Err(Failure::of(unanswered, &mut link)),
        };
        if let Err(Failure::Unanswered(_, error) | Failure::Final(error)) = &mut exchanged {
            self.state.failed_at(place, error);
        }
        exchanged
    }

    /// The head has come.
    fn answered(self: &Rc<Self>, link: Box<Link<B>>, head: Head) -> Result<Response<UpstreamBody<B>>, UpstreamError> {
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(UpstreamError::new(FaultKind::Protocol, "switched protocols without having been asked to"));
        }
        self.state.answered(link.place, head.status);
        let (body, parts) = (UpstreamBody::new(Answer::Http1(LinkedAnswer::new(link, self))), head);
        Ok(response(parts, body))
    }

    /// Sends a request that asks for another protocol, over a connection of its own.
    pub(super) async fn switch_now(
        self: &Rc<Self>,
        Allowed { started, timeouts }: Allowed<'_>,
        request: Request<B>,
    ) -> Result<Switch<B>, UpstreamError> {
        let end = after(started, timeouts.total);
        let place = self.endpoints.choose(started);
        let connected = self.endpoints.connect(place, timeouts.connect, end).await?;
        let mut link = Link::new(connected, Deadlines::new(*timeouts, started, Instant::now()));
        link.begin(Box::new(Outgoing::new(request)));
        let head = match poll_fn(|cx| link.poll_head(cx)).await {
            Ok(head) => head,
            Err(unanswered) => return Err(Failure::of(unanswered, &mut link).into_error()),
        };
        // Whatever it answers, it was asked for something that is no part of HTTP.
        link.last = true;
        if head.status != StatusCode::SWITCHING_PROTOCOLS {
            return self.answered(link, head).map(Switch::Answered);
        }
        self.state.answered(link.place, head.status);
        let (stream, early) = link.into_stream();
        let (head, ()) = response(head, ()).into_parts();
        Ok(Switch::Switched(head, Switched { stream, early, admitted: None }))
    }
}

/// Asks over a connection of its own; only the head of the answer is read, and that as any other is.
pub(super) async fn ask(
    stream: Stream,
    request: Request<()>,
    timeouts: UpstreamTimeouts,
) -> Result<StatusCode, UpstreamError> {
    let now = Instant::now();
    let mut link = Link::new((stream, 0), Deadlines::new(timeouts, now, now));
    link.begin(Box::new(Outgoing::new(request.map(|()| Empty::<Bytes>::new()))));
    match poll_fn(|cx| link.poll_head(cx)).await {
        Ok(head) => Ok(head.status),
        Err(unanswered) => Err(Failure::of(unanswered, &mut link).into_error()),
    }
}

/// A response with this head.
fn response<T>(head: Head, body: T) -> Response<T> {
    let mut response = Response::new(body);
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    if let Some(reason) = head.reason {
        response.extensions_mut().insert(reason);
    }
    response
}

/// How an exchange failed before its head came.
enum Failure<B> {
    /// The connection had ended before: nothing was written.
    NotWritten(Box<Outgoing<B>>),
    /// Written over a connection that then ended without a byte; it may be sent once more.
    Unanswered(Box<Outgoing<B>>, UpstreamError),
    /// Nothing more to try.
    Final(UpstreamError),
}

impl<B: Body<Data = Bytes>> Failure<B> {
    fn of(unanswered: Unanswered, link: &mut Link<B>) -> Self {
        let silent = || UpstreamError::new(FaultKind::Protocol, "no valid response head: the connection ended");
        match (unanswered, link.take_request()) {
            // What was taken of a body went with the connection.
            (Unanswered::NotWritten, Some(request)) if request.is_whole() => Self::NotWritten(request),
            (Unanswered::Silent, Some(request)) if request.is_repeatable() => Self::Unanswered(request, silent()),
            (Unanswered::NotWritten | Unanswered::Silent, _) => Self::Final(silent()),
            (Unanswered::Final(error), _) => Self::Final(error),
        }
    }

    fn into_error(self) -> UpstreamError {
        match self {
            Self::NotWritten(_) => UpstreamError::new(FaultKind::Protocol, "the connection ended"),
            Self::Unanswered(_, error) | Self::Final(error) => error,
        }
    }
}
