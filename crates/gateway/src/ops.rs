//! The ops listener: `/livez`, `/readyz`, `/startupz` and `/metrics`, on an address of their own.
//!
//! It runs on the main thread, apart from the workers, so a busy data plane cannot keep it from answering.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::exposition::{Exposition, as_plain_text};
use crate::running::Running;

/// How many connections are served at once; more wait.
const CONNECTIONS: usize = 64;
/// How long a connection may take to send a request, also between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The running ops listener. It ends with the runtime.
#[derive(Debug)]
pub(crate) struct Ops {
    address: SocketAddr,
}

impl Ops {
    /// Binds and serves.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub(crate) async fn start(address: SocketAddr, running: &Running) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let exposition = Arc::new(Exposition::new(running));
        tokio::spawn(accept(listener, exposition));
        Ok(Self { address })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn accept(listener: TcpListener, exposition: Arc<Exposition>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the ops listener could not accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let exposition = Arc::clone(&exposition);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let response = answer(&request, &exposition);
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            // A scraper that goes away is no news.
            let _ = connection.await;
            drop(permit);
        });
    }
}

fn answer(request: &Request<Incoming>, exposition: &Exposition) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".to_owned());
    }
    match request.uri().path() {
        "/livez" | "/startupz" => text(StatusCode::OK, "ok\n".to_owned()),
        "/readyz" => {
            let verbose = request.uri().query().is_some_and(|query| query.split('&').any(|each| each == "verbose"));
            readiness(exposition, verbose)
        }
        "/metrics" => {
            let plain = wants_plain_text(request.headers());
            let metrics = exposition.render();
            let mut response = text(StatusCode::OK, if plain { as_plain_text(&metrics) } else { metrics });
            let kind = if plain {
                "text/plain; version=0.0.4; charset=utf-8"
            } else {
                "application/openmetrics-text; version=1.0.0; charset=utf-8"
            };
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            response
        }
        _ => text(StatusCode::NOT_FOUND, "/livez /readyz /startupz /metrics\n".to_owned()),
    }
}

/// Whether the older format is asked for by its name, and this one is not.
fn wants_plain_text(headers: &HeaderMap) -> bool {
    let accepted: Vec<&str> = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let names = |kind: &str| accepted.iter().any(|accept| accept.contains(kind));
    names("text/plain") && !names("application/openmetrics-text")
}

/// Ready means: a policy is in force and the gateway is not on its way out. A sink in trouble is degraded, not unready.
fn readiness(exposition: &Exposition, verbose: bool) -> Response<Full<Bytes>> {
    let draining = exposition.shared().is_draining();
    let status = if draining { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let mut lines = String::new();
    if verbose {
        let degraded = exposition.shared().recorder.stats().iter().any(|sink| sink.dropped() > 0);
        lines.push_str("[+]policy ok\n");
        lines.push_str(if draining { "[-]draining\n" } else { "[+]not draining ok\n" });
        lines.push_str(if degraded { "[!]sinks degraded: events were dropped\n" } else { "[+]sinks ok\n" });
        match exposition.store() {
            Some(store) if store.trouble.is_some() => lines.push_str("[!]store degraded: it cannot be written\n"),
            Some(_) => lines.push_str("[+]store ok\n"),
            None => {}
        }
    }
    lines.push_str(if draining { "draining\n" } else { "ok\n" });
    text(status, lines)
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
