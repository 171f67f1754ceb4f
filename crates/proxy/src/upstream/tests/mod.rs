//! Exchanges with hand-written upstreams over real sockets on the loopback address.

mod endpoints;
mod faults;
mod health;
mod multiplexed;
mod reuse;
mod streaming;

use std::future::{Future, poll_fn};
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Method, Request, Response, Version};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::*;
use crate::settings::Endpoint;

type TestBody = UnsyncBoxBody<Bytes, BoxError>;
type TestUpstream = Upstream<TestBody>;

/// An upstream that speaks as its test tells it to, and the pool in front of it.
struct Stub {
    upstream: Rc<TestUpstream>,
    connections: Arc<AtomicUsize>,
}

impl Stub {
    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    async fn send(&self, request: Request<TestBody>) -> Result<Response<UpstreamBody<TestBody>>, UpstreamError> {
        self.upstream.send(request, None).await
    }

    /// The status and body of an exchange that must succeed.
    async fn fetch(&self, request: Request<TestBody>) -> (u16, String) {
        read(self.send(request).await.unwrap()).await
    }
}

/// Listens on a port of its own; `serve` gets each connection with its number, from 0.
async fn stub<F, S>(adjust: impl FnOnce(&mut UpstreamSettings), serve: F) -> Stub
where
    F: Fn(Peer, usize) -> S + Send + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = upstream_at(listener.local_addr().unwrap().port(), adjust);
    let connections = Arc::new(AtomicUsize::new(0));
    let accepted = Arc::clone(&connections);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(Peer { stream, unread: Vec::new() }, accepted.fetch_add(1, Ordering::SeqCst)));
        }
    });
    Stub { upstream, connections }
}

fn upstream_at(port: u16, adjust: impl FnOnce(&mut UpstreamSettings)) -> Rc<TestUpstream> {
    let endpoints = vec![Endpoint::http("127.0.0.1", port)];
    let mut settings =
        UpstreamSettings { timeouts: patient(), max_idle: 4, ..UpstreamSettings::new("stub", endpoints) };
    adjust(&mut settings);
    Upstream::new(&settings, Arc::new(UpstreamState::new(&settings)))
}

/// A port on which nobody listens and nobody can, for as long as the socket is there.
pub(super) fn closed_port() -> (TcpSocket, u16) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

/// Timeouts that no test waits for.
fn patient() -> UpstreamTimeouts {
    let long = Duration::from_secs(60);
    UpstreamTimeouts { connect: long, first_byte: long, idle: long, total: long, keep_alive: long }
}

/// The upstream's side of one connection.
struct Peer {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Peer {
    /// The next request's head, or `None` when the connection was closed instead.
    async fn head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                let rest = self.unread.split_off(end + 4);
                return String::from_utf8(std::mem::replace(&mut self.unread, rest)).ok();
            }
            if self.stream.read_buf(&mut self.unread).await.ok()? == 0 {
                return None;
            }
        }
    }

    /// This many bytes of the body.
    async fn body(&mut self, length: usize) -> Vec<u8> {
        while self.unread.len() < length {
            assert_ne!(self.stream.read_buf(&mut self.unread).await.unwrap(), 0);
        }
        let rest = self.unread.split_off(length);
        std::mem::replace(&mut self.unread, rest)
    }

    async fn say(&mut self, text: &str) {
        let _ = self.stream.write_all(text.as_bytes()).await;
    }

    /// Waits until the gateway closes the connection.
    async fn closed(&mut self) {
        while self.stream.read_buf(&mut self.unread).await.is_ok_and(|read| read > 0) {
            self.unread.clear();
        }
    }
}

fn request(method: &str, body: TestBody) -> Request<TestBody> {
    Request::builder().method(method).uri("/path?q=1").header("host", "stub.internal").body(body).unwrap()
}

fn get() -> Request<TestBody> {
    request("GET", empty())
}

/// A request whose trailers pass, both ways.
fn passing(mut request: Request<TestBody>) -> Request<TestBody> {
    let route = crate::settings::RouteSettings::new("r", crate::route::RouteAction::Upstream(0));
    let plan = headers::HeaderPlan::new(&crate::settings::IdentityHeaders::default(), &[]);
    request.extensions_mut().insert(crate::trailers::Trailers::new(&plan, &route));
    request
}

/// A body and these trailers.
fn trailed(body: &'static str, trailers: &[(&'static str, &'static str)]) -> TestBody {
    let fields = trailers.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
    let frames = [Ok(Frame::data(Bytes::from_static(body.as_bytes()))), Ok(Frame::trailers(fields.collect()))];
    BodyExt::boxed_unsync(StreamBody::new(futures_util::stream::iter(frames)))
}

/// The body of an answer and its trailers, one line each.
async fn read_all(response: Response<UpstreamBody<TestBody>>) -> String {
    let body = response.into_body().collect().await.unwrap();
    let trailers = body.trailers().cloned().unwrap_or_default();
    let mut text = String::from_utf8(body.to_bytes().to_vec()).unwrap();
    for (name, value) in &trailers {
        text.push_str(&format!("\n{name}: {}", value.to_str().unwrap()));
    }
    text
}

fn empty() -> TestBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

fn full(text: &str) -> TestBody {
    Full::new(Bytes::from(text.to_owned())).map_err(|never| match never {}).boxed_unsync()
}

async fn read(response: Response<UpstreamBody<TestBody>>) -> (u16, String) {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}
