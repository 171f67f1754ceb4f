//! The way to the upstreams: a pool of HTTP/1.1 connections per worker and upstream, and one exchange over one of them.
//!
//! Everything here stays on one thread, and nothing is spawned: the task that serves the caller drives the upstream's
//! connection as well, so a proxied request needs no wake-up of another task and no queue. Bodies stream in both directions.
//! What a request may carry upstream is the business of [`headers`]; whether it may go at all was decided before.

mod body;
mod connect;
mod deadline;
mod error;
pub mod headers;
mod pool;
mod stream;
#[cfg(test)]
mod tests;
mod tls;
mod tunnel;
mod upload;
mod wire;

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::{Body, Incoming};
use tokio::time::Instant;

use crate::settings::{UpstreamSettings, UpstreamTimeouts};

pub use body::UpstreamBody;
pub use error::{BoxError, FaultKind, TimeoutPhase, UpstreamError};
pub use stream::Stream;
pub use tls::{ClientIdentity, ClientTls, ClientTlsError};
pub use tunnel::{Switch, Switched};

use connect::Endpoints;
use deadline::{Deadlines, after};
use pool::{Idle, Link};
use upload::Upload;

/// One upstream as one worker sees it. `B` is the type of the requests' bodies.
pub struct Upstream<B> {
    name: Arc<str>,
    timeouts: UpstreamTimeouts,
    endpoints: Endpoints,
    idle: Idle<B>,
}

impl<B> Upstream<B> {
    /// An upstream without any connection yet.
    pub fn new(settings: &UpstreamSettings) -> Rc<Self> {
        Rc::new(Self {
            name: Arc::clone(&settings.name),
            timeouts: settings.timeouts,
            endpoints: Endpoints::new(settings),
            idle: Idle::new(settings.max_idle, settings.timeouts.keep_alive),
        })
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// How many connections wait for a request; at most `max_idle`.
    pub fn idle_connections(&self) -> usize {
        self.idle.len()
    }

    /// Closes the connections that have waited longer than `timeouts.keep_alive`. Traffic does so by itself; call it now and
    /// then (each second, say) so that an upstream without traffic is let go as well.
    pub fn discard_expired(&self) {
        self.idle.discard_expired(Instant::now());
    }
}

impl<B> Upstream<B>
where
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<BoxError>,
{
    /// Sends a request and waits for the head of its response; the bodies go on while the response's body is read.
    ///
    /// The request goes as HTTP/1.1 in origin-form with the headers it has, except that its framing is made anew and its
    /// trailers are dropped. The response keeps its headers, except that its framing is left to the server that passes it
    /// on: `Content-Length` stays only where there is no body to tell it, in the answer to a HEAD.
    ///
    /// An idle connection that turns out to be closed costs nothing: the request was not written and goes over another. If
    /// it was written and no byte of an answer came, it is sent once more, over a fresh connection, provided that it has no
    /// body and its method is idempotent.
    ///
    /// # Errors
    /// See [`FaultKind`]. Errors after the head come out of the body.
    pub async fn send(self: &Rc<Self>, request: Request<B>) -> Result<Response<UpstreamBody<B>>, UpstreamError> {
        let started = Instant::now();
        let mut request = upload::prepare(request);
        let repeatable = request.body().is_empty() && upload::is_idempotent(request.method());
        let place = self.endpoints.turn();
        while let Some(mut link) = self.idle.take(place, started) {
            link.deadlines = Deadlines::new(self.timeouts, started, started);
            link.wire.begin();
            if repeatable {
                link.wire.remember_head();
            } else {
                link.wire.look_first();
            }
            match self.exchange(link, request).await {
                Ok(response) => return Ok(response),
                Err(Failure::NotWritten(unsent, _)) => request = *unsent,
                Err(Failure::Unanswered(head, error)) => match upload::again(&head) {
                    Some(again) => {
                        request = again;
                        break;
                    }
                    None => return Err(error),
                },
                Err(Failure::Final(error)) => return Err(error),
            }
        }
        let end = after(started, self.timeouts.total);
        let connected = self.endpoints.connect(place, self.timeouts.connect, end).await?;
        let link = Link::open(connected, Deadlines::new(self.timeouts, started, Instant::now())).await?;
        self.exchange(link, request).await.map_err(Failure::into_error)
    }

    async fn exchange(
        self: &Rc<Self>,
        mut link: Box<Link<B>>,
        mut request: Request<Upload<B>>,
    ) -> Result<Response<UpstreamBody<B>>, Failure<B>> {
        let to_head = *request.method() == Method::HEAD;
        request.body_mut().go_over(&link.wire);
        let mut answer = pin!(link.sender.try_send_request(request));
        let head = poll_fn(|cx| {
            let open = link.drive(cx);
            match answer.as_mut().poll(cx) {
                Poll::Ready(answer) => Poll::Ready(Ok(answer)),
                Poll::Pending if open => link.poll_head_deadline(cx).map(Err),
                Poll::Pending => Poll::Ready(Err(UpstreamError::new(FaultKind::Protocol, "the connection ended"))),
            }
        });
        match head.await {
            Ok(Ok(response)) => self.answered(link, response, to_head).map_err(Failure::Final),
            Ok(Err(mut failed)) => Err(match failed.take_message() {
                Some(unsent) => {
                    Failure::NotWritten(Box::new(unsent), UpstreamError::protocol("not sent", &failed.into_error()))
                }
                None => Failure::written(&link, &failed.into_error()),
            }),
            Err(error) => Err(Failure::Final(error)),
        }
    }

    /// The head has come.
    fn answered(
        self: &Rc<Self>,
        mut link: Box<Link<B>>,
        response: Response<Incoming>,
        to_head: bool,
    ) -> Result<Response<UpstreamBody<B>>, UpstreamError> {
        let (mut head, incoming) = response.into_parts();
        if head.status == StatusCode::SWITCHING_PROTOCOLS
            || head.extensions.get::<hyper::upgrade::OnUpgrade>().is_some()
        {
            return Err(UpstreamError::new(FaultKind::Protocol, "switched protocols without having been asked to"));
        }
        // HTTP/1.0 has too many ideas of what keeps a connection open.
        link.last |= head.version != Version::HTTP_11;
        head.version = Version::HTTP_11;
        reframe(&mut head.headers, to_head && head.status != StatusCode::NO_CONTENT)?;
        Ok(Response::from_parts(head, UpstreamBody::new(incoming, link, self)))
    }
}

/// Takes the framing off a response, which the server that passes it on makes anew (security rule F1). In the answer to a
/// HEAD the length is no framing but a statement about the resource: one valid length stays.
fn reframe(headers: &mut HeaderMap, keep_length: bool) -> Result<(), UpstreamError> {
    let encoded = headers.contains_key(TRANSFER_ENCODING);
    if encoded {
        // Whatever else it says, the body would be passed on encoded and without a word about it.
        let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
        if !codings.all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
            return Err(UpstreamError::new(FaultKind::Protocol, "a transfer coding other than chunked"));
        }
        headers.remove(TRANSFER_ENCODING);
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let valid =
        lengths.next().is_some_and(|length| length.as_bytes().iter().all(u8::is_ascii_digit) && !length.is_empty());
    if encoded || !keep_length || !valid || lengths.next().is_some() {
        headers.remove(CONTENT_LENGTH);
    }
    Ok(())
}

/// How an exchange failed before its head came.
enum Failure<B> {
    /// The connection had ended before: nothing was written.
    NotWritten(Box<Request<Upload<B>>>, UpstreamError),
    /// Written over a connection that was used before, which then ended without a byte; this head may be sent once more.
    Unanswered(Vec<u8>, UpstreamError),
    /// Nothing more to try.
    Final(UpstreamError),
}

impl<B> Failure<B> {
    /// hyper gave up on a request that it had begun to write.
    fn written(link: &Link<B>, error: &hyper::Error) -> Self {
        if let Some(error) = link.wire.upload_error.take() {
            return Self::Final(UpstreamError::request_body(error));
        }
        let fault = UpstreamError::protocol("no valid response head", error);
        match link.wire.unanswered_head() {
            Some(head) => Self::Unanswered(head, fault),
            None => Self::Final(fault),
        }
    }

    fn into_error(self) -> UpstreamError {
        match self {
            Self::NotWritten(_, error) | Self::Unanswered(_, error) | Self::Final(error) => error,
        }
    }
}
