//! A connection of HTTP/1: a gate, and hyper's server behind it as long as there is something to serve.
//!
//! hyper's server keeps two buffers of 8 KiB however long nothing comes. So it is not made before the first byte is there, and a
//! while after the last answer it is taken apart again. What rests is the gate, which holds no buffer. A busy connection is not
//! touched: making a server for each request would cost more than the memory is worth.

use std::error::Error as StdError;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::rt::Write as _;
use hyper::server::conn::http1::Connection;
use hyper::service::HttpService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::alarm::Alarm;
use super::exchange::Shared;
use super::{Gate, GateHandle, WireLimits, http1_builder};

/// How long after an answer hyper's server is taken apart. Soon: what one connection gives back the next one takes, so that many
/// that ask one after the other, and then rest, never hold buffers all at once. A connection that asks more often keeps its server.
const REST_AFTER: Duration = Duration::from_millis(50);

/// How a connection ended.
pub struct Ended<IO> {
    /// What hyper says about it.
    pub served: hyper::Result<()>,
    /// The gate, for a connection that was upgraded.
    pub gate: Box<Gate<IO>>,
    /// What hyper had read and not taken for HTTP. It came before what the gate holds.
    pub read: Bytes,
}

/// Serves a connection until it ends, or was upgraded. The gate is boxed because it is handed back and forth.
pub async fn serve<IO, S>(
    mut gate: Box<Gate<IO>>,
    handle: &GateHandle,
    limits: &WireLimits,
    mut service: S,
) -> Ended<IO>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    S: HttpService<Incoming>,
    S::ResBody: 'static,
    S::Error: Into<Box<dyn StdError + Send + Sync>>,
    <S::ResBody as Body>::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    loop {
        poll_fn(|cx| gate.poll_stirred(cx)).await;
        if gate.is_over() {
            // What fails here was closed before.
            let _ = poll_fn(|cx| Pin::new(&mut *gate).poll_shutdown(cx)).await;
            return Ended { served: Ok(()), gate, read: Bytes::new() };
        }
        let mut http = Box::new(http1_builder(limits).serve_connection(gate, service));
        let mut idle = Idle { shared: handle.shared(), limits, alarm: Alarm::default(), denied: None };
        let served = poll_fn(|cx| idle.poll_serve(&mut http, cx)).await;
        let parts = http.into_parts();
        match served {
            // INVARIANT: at rest hyper has read nothing that it has not served: else the connection ends here.
            None if parts.read_buf.is_empty() => (gate, service) = (parts.io, parts.service),
            None => return Ended { served: Ok(()), gate: parts.io, read: parts.read_buf },
            Some(served) => return Ended { served, gate: parts.io, read: parts.read_buf },
        }
    }
}

/// Watches a server for the time when it has nothing to serve.
struct Idle<'a> {
    shared: &'a Shared,
    limits: &'a WireLimits,
    alarm: Alarm,
    /// The idle time, by its beginning, in which something is still under way: a part of a head has come, or the end of an
    /// answer is not taken.
    denied: Option<Instant>,
}

impl Idle<'_> {
    /// Ready with the connection's end, or with `None` when it may rest.
    fn poll_serve<IO, S>(
        &mut self,
        http: &mut Connection<Box<Gate<IO>>, S>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<()>>>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
        S: HttpService<Incoming>,
        S::ResBody: 'static,
        S::Error: Into<Box<dyn StdError + Send + Sync>>,
        <S::ResBody as Body>::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        loop {
            if let Poll::Ready(served) = Pin::new(&mut *http).poll(cx) {
                return Poll::Ready(Some(served));
            }
            if self.shared.takes_rest() {
                return Poll::Ready(None);
            }
            // hyper does not read again when an answer is done, so nobody but this sees the idle time begin.
            let since = self.shared.idle_since();
            if self.shared.in_exchange() || self.denied == Some(since) {
                return Poll::Pending;
            }
            ready!(self.alarm.poll_passed(cx, since + REST_AFTER.min(self.limits.keep_alive_timeout)));
            // hyper asks the gate for bytes now, and the gate knows whether anything is under way.
            self.shared.ask_for_rest();
            self.denied = Some(since);
        }
    }
}
