//! A hyper server behind a gate, on one end of an in-memory pipe; the test holds the other end.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, LocalSet, spawn_local};

use crate::held::Held;
use crate::wire::{Exchange, Gate, GateHandle, HeadEvent, WireLimits, serve};

/// What the service of a test saw and does.
#[derive(Default)]
pub(super) struct Seen {
    /// One line for each call: `METHOD target size-hint body`, or `refused Kind METHOD target`.
    pub(super) calls: RefCell<Vec<String>>,
    /// If set, each answer takes one permit.
    pub(super) turnstile: Option<Semaphore>,
    /// If set, the body is left unread.
    pub(super) leaves_body: Cell<bool>,
    /// Bytes of filling in an answer.
    pub(super) filling: Cell<usize>,
}

/// One connection under test.
pub(super) struct Connection {
    pub(super) client: DuplexStream,
    pub(super) handle: GateHandle,
    pub(super) seen: Rc<Seen>,
    pub(super) server: JoinHandle<hyper::Result<()>>,
}

impl Connection {
    /// Writes, in one piece.
    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.client.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Everything until the server ends the connection.
    pub(super) async fn read_to_end(&mut self) -> String {
        let mut answer = Vec::new();
        self.client.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    /// Until what was read ends with `end`.
    pub(super) async fn read_until(&mut self, end: &str) -> String {
        let mut answer = String::new();
        while !answer.ends_with(end) {
            let mut piece = [0; 1];
            let count = self.client.read(&mut piece).await.unwrap();
            assert_eq!(count, 1, "ended behind {answer:?}");
            answer.push(char::from(piece[0]));
        }
        answer
    }

    pub(super) fn calls(&self) -> Vec<String> {
        self.seen.calls.borrow().clone()
    }
}

/// Runs `test` on a current-thread runtime that can spawn local tasks.
pub(super) async fn locally<T>(test: impl Future<Output = T>) -> T {
    LocalSet::new().run_until(test).await
}

pub(super) fn connect(limits: Rc<WireLimits>) -> Connection {
    connect_with(limits, Seen::default(), 64 * 1024)
}

/// `pipe` is how many bytes are on their way at most, in each direction.
pub(super) fn connect_with(limits: Rc<WireLimits>, seen: Seen, pipe: usize) -> Connection {
    let (client, server) = tokio::io::duplex(pipe);
    let (gate, handle) = Gate::new(server, Rc::clone(&limits));
    let seen = Rc::new(seen);
    let (service_handle, service_seen) = (handle.clone(), Rc::clone(&seen));
    let service = service_fn(move |request| answer(request, service_handle.clone(), Rc::clone(&service_seen)));
    let served = handle.clone();
    let server = spawn_local(async move { serve(Box::new(gate), &served, &limits, service).await.served });
    Connection { client, handle, seen, server }
}

async fn answer(
    request: Request<Incoming>,
    handle: GateHandle,
    seen: Rc<Seen>,
) -> Result<Response<Held<Full<Bytes>, Exchange>>, Infallible> {
    let (event, exchange) = handle.next_head().expect("each call has its head");
    let (status, line) = match event {
        HeadEvent::Refused(refusal) => {
            let words = [refusal.method, refusal.target].map(|word| word.unwrap_or_else(|| "-".into())).join(" ");
            (refusal.kind.status(), format!("refused {:?} {words}", refusal.kind))
        }
        HeadEvent::Accepted(_) => {
            let size = request.body().size_hint().exact().map_or("?".into(), |size| size.to_string());
            let words = format!("{} {} {size}", request.method(), request.uri());
            let body = if seen.leaves_body.get() {
                Ok(Bytes::new())
            } else {
                request.into_body().collect().await.map(|body| body.to_bytes())
            };
            match body {
                Ok(body) => (200, format!("{words} {}", String::from_utf8_lossy(&body))),
                Err(_) => (400, format!("{words} failed {:?}", handle.body_problem())),
            }
        }
    };
    if let Some(turnstile) = &seen.turnstile {
        turnstile.acquire().await.unwrap().forget();
    }
    let number = {
        let mut calls = seen.calls.borrow_mut();
        calls.push(line);
        calls.len()
    };
    let text = format!("{}answer {number}.", "-".repeat(seen.filling.get()));
    let mut response = Response::new(Held::new(Full::new(text.into()), Some(exchange)));
    *response.status_mut() = status.try_into().unwrap();
    if handle.is_draining() {
        response.headers_mut().insert("connection", "close".try_into().unwrap());
    }
    Ok(response)
}

/// Reads from a gate as hyper does, but only once.
pub(super) async fn read_once(gate: &mut Gate<DuplexStream>, room: usize) -> io::Result<Vec<u8>> {
    std::future::poll_fn(|cx| poll_once(gate, cx, room)).await
}

pub(super) fn poll_once(gate: &mut Gate<DuplexStream>, cx: &mut Context<'_>, room: usize) -> Poll<io::Result<Vec<u8>>> {
    let mut space = vec![0; room];
    let mut buffer = hyper::rt::ReadBuf::new(&mut space);
    match hyper::rt::Read::poll_read(Pin::new(gate), cx, buffer.unfilled()) {
        Poll::Ready(Ok(())) => Poll::Ready(Ok(buffer.filled().to_vec())),
        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        Poll::Pending => Poll::Pending,
    }
}
