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
pub mod http1;
mod http2;
mod pool;
mod state;
mod stream;
#[cfg(test)]
mod tests;
mod tls;
mod tunnel;
mod upload;
mod wire;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Body;
use tokio::time::Instant;

use crate::settings::{UpstreamSettings, UpstreamTimeouts};

pub use body::UpstreamBody;
pub use error::{BoxError, FaultKind, TimeoutPhase, UpstreamError};
pub use state::{EndpointReport, EndpointState, UpstreamState, UpstreamStates};
pub use stream::Stream;
pub use tls::{ClientIdentity, ClientTls, ClientTlsError};
pub use tunnel::{Switch, Switched};

use connect::Endpoints;
use deadline::after;
use http2::Pool;
use pool::Idle;
use state::RetryBudget;

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
    /// that over HTTP/1.1 what is about the connection alone is gone, and that its framing is left to the server that passes it on: `Content-Length` stays only where there is no body to tell it, in the answer to a HEAD.
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
            None => self.send_http1(allowed, self.endpoints.choose(started), request).await,
            // It must not make the other's future larger.
            Some(pool) => Box::pin(self.send_multiplexed(pool, allowed, request)).await,
        };
        match &mut sent {
            Ok(response) => response.body_mut().admitted = admitted,
            Err(error) => self.state.failed(error, passage),
        }
        sent
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
