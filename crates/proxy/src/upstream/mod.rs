//! The way to the upstreams: a pool of connections per worker and upstream, and one exchange over one of them.
//!
//! Everything here stays on one thread. With HTTP/1.1 nothing is spawned: the task that serves the caller drives the upstream's
//! connection as well, so a proxied request needs no wake-up of another task and no queue. A connection of HTTP/2 has a task
//! of its own, because many requests share it. Bodies stream in both directions. What a request
//! may carry upstream is the business of [`headers`]; whether it may go at all was decided before.

mod body;
mod breaker;
mod connect;
mod deadline;
mod error;
pub mod headers;
mod health;
mod http2;
mod pool;
mod rouser;
mod state;
mod stream;
#[cfg(test)]
mod tests;
mod tls;
mod tunnel;
mod upload;
mod wire;

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};
use http::{HeaderName, Method, Request, Response, StatusCode, Version};
use hyper::body::{Body, Incoming};
use hyper::client::conn::TrySendError;
use tokio::task::unconstrained;
use tokio::time::Instant;

use crate::settings::{UpstreamSettings, UpstreamTimeouts};

pub use body::UpstreamBody;
use body::{Answer, LinkedAnswer};
pub use error::{BoxError, FaultKind, TimeoutPhase, UpstreamError};
pub use state::{EndpointReport, EndpointState, UpstreamState, UpstreamStates};
pub use stream::Stream;
pub use tls::{ClientIdentity, ClientTls, ClientTlsError};
pub use tunnel::{Switch, Switched};

use connect::Endpoints;
use deadline::{Deadlines, after};
use http2::Pool;
use pool::{Idle, Link};
use state::{RetryBudget, keep_alive_timeout};
use upload::Upload;

/// One upstream as one worker sees it. `B` is the type of the requests' bodies.
pub struct Upstream<B> {
    name: Arc<str>,
    timeouts: UpstreamTimeouts,
    endpoints: Endpoints,
    state: Arc<UpstreamState>,
    retries: RetryBudget,
    idle: Idle<B>,
    /// The connections of HTTP/2, where that may be spoken.
    http2: Option<Pool>,
    /// Somebody checks its endpoints.
    tended: Cell<bool>,
}

impl<B> Upstream<B> {
    /// An upstream without any connection yet, and what all workers know of it.
    pub fn new(settings: &UpstreamSettings, state: Arc<UpstreamState>) -> Rc<Self> {
        Rc::new(Self {
            name: Arc::clone(&settings.name),
            timeouts: settings.timeouts,
            endpoints: Endpoints::new(settings, Arc::clone(&state)),
            state,
            retries: RetryBudget::new(settings.retry_percent),
            idle: Idle::new(settings.max_idle, settings.timeouts.keep_alive),
            http2: Pool::of(settings),
            tended: Cell::new(false),
        })
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// How many connections of HTTP/1.1 wait for a request; at most `max_idle`.
    pub fn idle_connections(&self) -> usize {
        self.idle.len()
    }

    /// Closes the connections that have waited longer than `timeouts.keep_alive`. Traffic does so by itself; call it now and
    /// then (each second, say) so that an upstream without traffic is let go as well.
    pub fn discard_expired(&self) {
        let now = Instant::now();
        self.idle.discard_expired(now);
        if let Some(pool) = &self.http2 {
            pool.discard_expired(now);
        }
    }

    /// Takes one retry out of the budget, if there is one.
    fn may_retry(&self) -> bool {
        let may = self.retries.spend();
        let counter = if may { &self.state.retries } else { &self.state.over_budget };
        counter.fetch_add(1, Ordering::Relaxed);
        may
    }
}

impl<B> Upstream<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    /// Sends a request and waits for the head of its response; the bodies go on while the response's body is read.
    ///
    /// The request goes in origin-form with the headers it has, except that its framing is made anew and its
    /// trailers are dropped, unless its extensions hold [`crate::trailers::Trailers`]. The response keeps its headers, except
    /// that its framing is left to the server that passes it on: `Content-Length` stays only where there is no body to tell it, in the answer to a HEAD.
    ///
    /// An idle connection that turns out to be closed costs nothing: the request was not written and goes over another. If
    /// it was written and no byte of an answer came, it is sent again, over a fresh connection, provided that it has no
    /// body, its method is idempotent, and the retries' share of all requests is not used up: once after a connection that
    /// was kept, and once to another endpoint, where there is one. What an endpoint says over HTTP/2 that it did not begin to
    /// process is sent again whatever it is, as long as what was taken of its body is still there.
    ///
    /// Whatever it ends with is noted for the circuit breaker.
    ///
    /// `timeouts` are those of this request, where they are not the upstream's own; `keep_alive` among them is not looked at.
    ///
    /// # Errors
    /// See [`FaultKind`]. Errors after the head come out of the body.
    pub async fn send(
        self: &Rc<Self>,
        request: Request<B>,
        timeouts: Option<&UpstreamTimeouts>,
    ) -> Result<Response<UpstreamBody<B>>, UpstreamError> {
        let started = Instant::now();
        let allowed = Allowed { started, timeouts: timeouts.unwrap_or(&self.timeouts) };
        let admitted = self.state.enter()?;
        let passage = self.state.admit(started)?;
        self.retries.earn();
        let mut sent = match &self.http2 {
            // Boxed: it goes through several hands, each of which would move it.
            None => self.send_http1(allowed, self.endpoints.choose(started), Box::new(upload::prepare(request))).await,
            // It must not make the other's future larger.
            Some(pool) => Box::pin(self.send_multiplexed(pool, allowed, request)).await,
        };
        match &mut sent {
            Ok(response) => response.body_mut().admitted = admitted,
            Err(error) => self.state.failed(error, passage),
        }
        sent
    }

    /// Sends a request over HTTP/1.1, to the endpoint at this place if it takes it.
    async fn send_http1(
        self: &Rc<Self>,
        allowed: Allowed<'_>,
        place: usize,
        mut request: Box<Request<Upload<B>>>,
    ) -> Result<Response<UpstreamBody<B>>, UpstreamError> {
        let started = allowed.started;
        let repeatable = request.body().is_empty() && upload::is_idempotent(request.method());
        while let Some(mut link) = self.idle.take(place, started) {
            link.deadlines = Deadlines::new(*allowed.timeouts, started, started);
            link.visit = self.endpoints.visit(place);
            link.wire.begin();
            if repeatable {
                link.wire.remember_head();
            } else {
                link.wire.look_first();
            }
            match self.exchange(link, request).await {
                Ok(response) => return Ok(response),
                Err(Failure::NotWritten(unsent, _)) => request = unsent,
                Err(Failure::Unanswered(head, error)) => {
                    request = self.again(&head, error)?;
                    break;
                }
                Err(Failure::Final(error)) => return Err(error),
            }
        }
        // Where there is another endpoint, it may answer what the first one did not.
        // A fresh connection is boxed: it is the rarer case, and large.
        if !repeatable || self.endpoints.len() < 2 {
            return Box::pin(self.send_freshly(allowed, place, request, false)).await.map_err(Failure::into_error);
        }
        match Box::pin(self.send_freshly(allowed, place, request, true)).await {
            Ok(response) => Ok(response),
            Err(Failure::Unanswered(head, error)) => {
                let request = self.again(&head, error)?;
                let place = self.endpoints.other(place, started);
                Box::pin(self.send_freshly(allowed, place, request, false)).await.map_err(Failure::into_error)
            }
            Err(failure) => Err(failure.into_error()),
        }
    }

    /// Sends a request over a connection of which it is the first.
    async fn send_freshly(
        self: &Rc<Self>,
        allowed: Allowed<'_>,
        place: usize,
        request: Box<Request<Upload<B>>>,
        remember: bool,
    ) -> Result<Response<UpstreamBody<B>>, Failure<B>> {
        let connect = allowed.timeouts.connect;
        let connected = self.endpoints.connect(place, connect, allowed.end()).await.map_err(Failure::Final)?;
        self.send_over(allowed, connected, request, remember).await
    }

    /// The same over this connection, to the endpoint at this place.
    async fn send_over(
        self: &Rc<Self>,
        allowed: Allowed<'_>,
        (stream, place): (Stream, usize),
        request: Box<Request<Upload<B>>>,
        remember: bool,
    ) -> Result<Response<UpstreamBody<B>>, Failure<B>> {
        let deadlines = Deadlines::new(*allowed.timeouts, allowed.started, Instant::now());
        let mut link = Link::open((stream, place), deadlines).await.map_err(Failure::Final)?;
        link.visit = self.endpoints.visit(place);
        if remember {
            link.wire.remember_head();
        }
        self.exchange(link, request).await
    }

    /// The request for a further attempt, if the budget has one.
    fn again(&self, head: &[u8], error: UpstreamError) -> Result<Box<Request<Upload<B>>>, UpstreamError> {
        if !self.may_retry() {
            return Err(error);
        }
        upload::again(head).map(Box::new).ok_or(error)
    }

    async fn exchange(
        self: &Rc<Self>,
        mut link: Box<Link<B>>,
        request: Box<Request<Upload<B>>>,
    ) -> Result<Response<UpstreamBody<B>>, Failure<B>> {
        let (to_head, place) = (*request.method() == Method::HEAD, link.place);
        link.trailers = request.body().trailers().cloned();
        let mut exchanged = match head_of_answer(&mut link, request).await {
            Ok(Ok(response)) => self.answered(link, response, to_head).map_err(Failure::Final),
            Ok(Err(mut failed)) => Err(match failed.take_message() {
                Some(unsent) => {
                    Failure::NotWritten(Box::new(unsent), UpstreamError::protocol("not sent", &failed.into_error()))
                }
                None => Failure::written(&link, &failed.into_error()),
            }),
            Err(error) => Err(Failure::Final(error)),
        };
        if let Err(Failure::Unanswered(_, error) | Failure::Final(error)) = &mut exchanged {
            self.state.failed_at(place, error);
        }
        exchanged
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
        let keep_alive = head.headers.iter().find(|(name, _)| **name == KEEP_ALIVE);
        if let Some(timeout) = keep_alive.and_then(|(_, value)| keep_alive_timeout(value.as_bytes())) {
            link.keep_for = timeout;
        }
        head.version = Version::HTTP_11;
        reframe(&mut head.headers, to_head && head.status != StatusCode::NO_CONTENT)?;
        self.state.answered(link.place, head.status);
        Ok(Response::from_parts(head, UpstreamBody::new(Answer::Http1(LinkedAnswer::new(incoming, link, self)))))
    }
}

/// How long one exchange may take, from when on.
#[derive(Debug, Clone, Copy)]
struct Allowed<'t> {
    started: Instant,
    timeouts: &'t UpstreamTimeouts,
}

impl Allowed<'_> {
    /// When all of it must be over.
    fn end(&self) -> Instant {
        after(self.started, self.timeouts.total)
    }
}

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// Sends a request over a connection and drives it until the head of the answer is there, or hyper gives up on the request.
///
/// # Errors
/// The connection ended, or a deadline passed.
async fn head_of_answer<B>(
    link: &mut Link<B>,
    mut request: Box<Request<Upload<B>>>,
) -> Result<Result<Response<Incoming>, TrySendError<Request<Upload<B>>>>, UpstreamError>
where
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<BoxError>,
{
    request.body_mut().go_over(&link.wire);
    // Driving the connection settles the answer, which is looked at each time after that: nobody need be woken for it. So it must
    // not be put off for a budget's sake either, since nobody would come back to it.
    let mut answer = pin!(unconstrained(link.sender.try_send_request(*request)));
    let mut unwoken = Context::from_waker(Waker::noop());
    poll_fn(|cx| {
        let open = link.drive();
        match answer.as_mut().poll(&mut unwoken) {
            Poll::Ready(answer) => Poll::Ready(Ok(answer)),
            Poll::Pending if open => link.poll_head_deadline(cx).map(Err),
            Poll::Pending => Poll::Ready(Err(UpstreamError::new(FaultKind::Protocol, "the connection ended"))),
        }
    })
    .await
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
