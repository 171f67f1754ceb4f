//! Active health checks: each endpoint of an upstream with `health` is asked now and then, also while no request is.
//!
//! One worker does it for the whole process. An endpoint that failed so often in a row is out, as if it were ejected, until it has
//! answered so often in a row. Each check has a connection of its own, so that it sees what a new connection would see. Without a
//! path the connection itself is the check: with TLS its handshake, with HTTP/2 the endpoint's settings.

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::task::Poll;

use bytes::Bytes;
use http::header::{HOST, HeaderValue, USER_AGENT};
use http::uri::{Authority, Scheme};
use http::{Request, StatusCode, Uri};
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

use crate::settings::{EndpointAddress, EndpointScheme, HealthSettings};

use super::Upstream;
use super::stream::Stream;

impl<B: 'static> Upstream<B> {
    /// Begins to check the endpoints, where that is configured and has not begun. The checks end with the upstream.
    pub(crate) fn tend_health(self: &Rc<Self>) {
        let Some(health) = self.state.health().filter(|_| !self.tended.replace(true)) else { return };
        for place in 0..self.endpoints.len() {
            spawn_local(watch(Rc::downgrade(self), place, health.clone()));
        }
    }
}

/// Checks one endpoint, again and again.
async fn watch<B>(upstream: Weak<Upstream<B>>, place: usize, health: HealthSettings) {
    let (mut passed, mut failed) = (0_u32, 0_u32);
    loop {
        let Some(upstream) = upstream.upgrade() else { return };
        let outcome = match timeout(health.timeout, upstream.check(place, &health)).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(Ailment("no answer in time".to_owned())),
        };
        match outcome {
            Ok(()) => (passed, failed) = (passed.saturating_add(1), 0),
            Err(_) => (passed, failed) = (0, failed.saturating_add(1)),
        }
        upstream.state.checked(place, outcome.is_ok());
        match outcome {
            Err(ailment) if failed >= health.unhealthy => upstream.state.went_down(place, &ailment),
            Ok(()) if passed >= health.healthy => upstream.state.came_up(place),
            Ok(()) | Err(_) => {}
        }
        drop(upstream);
        sleep(health.interval).await;
    }
}

/// Why a check failed, for the operator.
#[derive(Debug)]
struct Ailment(String);

impl fmt::Display for Ailment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn ailment(error: impl fmt::Display) -> Ailment {
    Ailment(error.to_string())
}

impl<B> Upstream<B> {
    /// One check.
    async fn check(&self, place: usize, health: &HealthSettings) -> Result<(), Ailment> {
        let offer = self.http2.as_ref().map_or(super::tls::Offer::Http1, super::Pool::offer);
        let (stream, http2) = self.endpoints.connect_once(place, offer).await.map_err(ailment)?;
        let (Some(path), Some(endpoint)) = (&health.path, self.endpoints.endpoint(place)) else {
            return if http2 { greet(stream).await } else { Ok(()) };
        };
        let host = match &endpoint.address {
            EndpointAddress::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            EndpointAddress::Tcp { host, port } => format!("{host}:{port}"),
            EndpointAddress::Unix(_) => "localhost".to_owned(),
        };
        let secure = endpoint.scheme == EndpointScheme::Https;
        let request = question(path, &host, secure, http2).ok_or_else(|| ailment("it has no name to ask for"))?;
        let status = if http2 {
            ask_on_a_stream(stream, request).await?
        } else {
            super::http1::ask(stream, request, self.timeouts).await.map_err(ailment)?
        };
        if health.accepts(status.as_u16()) { Ok(()) } else { Err(Ailment(format!("it answered {}", status.as_u16()))) }
    }
}

/// What is asked.
fn question(path: &str, host: &str, secure: bool, http2: bool) -> Option<Request<()>> {
    let mut target = Uri::try_from(path).ok()?.into_parts();
    let mut request = Request::new(());
    if http2 {
        target.scheme = Some(if secure { Scheme::HTTPS } else { Scheme::HTTP });
        target.authority = Some(Authority::try_from(host).ok()?);
    } else {
        request.headers_mut().insert(HOST, HeaderValue::try_from(host).ok()?);
    }
    *request.uri_mut() = Uri::from_parts(target).ok()?;
    request.headers_mut().insert(USER_AGENT, HeaderValue::from_static("portcullis-health"));
    Some(request)
}

/// Asks over HTTP/2.
async fn ask_on_a_stream(stream: Stream, request: Request<()>) -> Result<StatusCode, Ailment> {
    let mut builder = h2::client::Builder::new();
    builder.enable_push(false).max_header_list_size(u32::try_from(ANSWER_BYTES_MAX).unwrap_or(u32::MAX));
    let (mut sender, connection) = builder.handshake::<_, Bytes>(stream).await.map_err(ailment)?;
    let (mut connection, mut open) = (pin!(connection), true);
    let (answer, _) = sender.send_request(request, true).map_err(ailment)?;
    let mut answer = pin!(answer);
    poll_fn(|cx| {
        open = open && connection.as_mut().poll(cx).is_pending();
        answer.as_mut().poll(cx).map(|answer| answer.map(|answer| answer.status()).map_err(ailment))
    })
    .await
}

/// Waits for the settings that an endpoint of HTTP/2 begins with.
async fn greet(stream: Stream) -> Result<(), Ailment> {
    let mut builder = h2::client::Builder::new();
    builder.initial_max_send_streams(0);
    let (_sender, connection) = builder.handshake::<_, Bytes>(stream).await.map_err(ailment)?;
    let mut connection = pin!(connection);
    poll_fn(|cx| match connection.as_mut().poll(cx) {
        Poll::Ready(Ok(())) => Poll::Ready(Err(ailment("it closed the connection"))),
        Poll::Ready(Err(error)) => Poll::Ready(Err(ailment(error))),
        Poll::Pending if connection.max_concurrent_send_streams() > 0 => Poll::Ready(Ok(())),
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// The most that the head of an answer may hold.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
