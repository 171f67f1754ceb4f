//! One connection: which version of HTTP is spoken on it, a gate in front of hyper's HTTP/1 server, and the stack behind it.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use http::header::CONNECTION;
use http::{HeaderValue, Request, Version};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower::Service;

use crate::held::Held;
use crate::http2::preface::{Opening, opening};
use crate::http2::{self, Served};
use crate::layers::respond::{Answer, Withheld};
use crate::logged::Logged;
use crate::proxy_protocol;
use crate::refusal::Refusal;
use crate::seats::Seat;
use crate::settings::{InboundSettings, ProxyProtocol};
use crate::tls::{PeerCertificate, ServerTls, Tls};
use crate::transit::{ConnectionFacts, Facts, Transit};
use crate::upstream::headers::Scheme;
use crate::wire::{Ended, Gate, GateHandle, HeadEvent, HeadRefusal, HeadRefusalKind, WireLimits, serve as serve_gated};
use crate::worker::{Loaded, Worker};

/// A connection that was just accepted.
pub(crate) struct Accepted {
    pub(crate) stream: TcpStream,
    pub(crate) peer: SocketAddr,
    /// What its listener is set to.
    pub(crate) settings: Arc<InboundSettings>,
}

/// Serves a connection until it ends. `opened` is given the handle by which the connection can be drained.
pub(crate) async fn serve<S>(worker: Rc<Worker>, stack: S, accepted: Accepted, opened: impl FnOnce(GateHandle))
where
    S: Service<Box<Transit>, Response = http::Response<Answer>, Error = Withheld> + Clone + 'static,
    S::Future: 'static,
{
    let Accepted { mut stream, peer: neighbour, settings } = accepted;
    // A failure costs latency, nothing else.
    let _ = stream.set_nodelay(true);
    let loaded = worker.loaded();
    let handle = GateHandle::new();
    opened(handle.clone());
    let mut peer = neighbour;
    let mut _seat = None;
    if settings.proxy_protocol != ProxyProtocol::Off {
        // Boxed: most listeners do without it.
        let named = introduce(&worker, &mut stream, neighbour, settings.proxy_protocol, &loaded);
        let named = Box::pin(unless_overdue(&handle, named)).await;
        let Some((named, seat)) = named else { return };
        (peer, _seat) = (named, seat);
    }
    let facts = ConnectionFacts::new(peer, Scheme::Http, Some(handle.clone())).on(&settings);
    let limits = Rc::clone(&loaded.wire);
    let Some(tls) = &settings.tls else {
        let opening =
            if settings.http2 { opening(&mut stream, &limits, &handle).await } else { Opening::Http1(BytesMut::new()) };
        return match opening {
            Opening::Closed => {}
            Opening::Http1(read) => {
                let gate = Box::new(Gate::with_handle(stream, Rc::clone(&limits), &handle).behind(read));
                serve_http1(worker, stack, gate, handle, facts, &limits).await;
            }
            Opening::Http2(read) => {
                // Boxed: connections of HTTP/1 should not be larger for it.
                let served = Served { worker, io: stream, ahead: read.freeze(), handle, facts, limits };
                Box::pin(http2::serve(served, stack)).await;
            }
        };
    };
    // Boxed: it is large, and gone before the first request.
    let shaken = shake_hands(&worker, tls, &settings, stream, peer, &loaded);
    let Some((stream, tls)) = Box::pin(unless_overdue(&handle, shaken)).await else {
        return;
    };
    let facts = facts.over_tls(tls);
    if stream.get_ref().1.alpn_protocol() == Some(http2::ALPN) {
        let served = Served { worker, io: stream, ahead: Bytes::new(), handle, facts, limits };
        return Box::pin(http2::serve(served, stack)).await;
    }
    let gate = Box::new(Gate::with_handle(stream, Rc::clone(&limits), &handle));
    // Boxed: a connection in plain text should not be larger for it.
    Box::pin(serve_http1(worker, stack, gate, handle, facts, &limits)).await;
}

/// What comes before the first request, but not for longer than a gateway that stops waits for one: nobody is being answered yet.
async fn unless_overdue<T>(handle: &GateHandle, opening: impl Future<Output = Option<T>>) -> Option<T> {
    tokio::select! {
        opened = opening => opened,
        () = handle.overdue() => None,
    }
}

/// Whose connection it is, as a trusted proxy says; and that client's place among its connections, where they are limited. `None`
/// closes it: it never became a request.
async fn introduce(
    worker: &Worker,
    stream: &mut TcpStream,
    neighbour: SocketAddr,
    mode: ProxyProtocol,
    loaded: &Loaded,
) -> Option<(SocketAddr, Option<Seat>)> {
    let settings = &loaded.snapshot.settings;
    let trusted = &settings.client_address.trusted_proxies;
    match proxy_protocol::accept(stream, neighbour, mode, trusted, settings.limits.first_byte_timeout).await {
        Ok(peer) if peer == neighbour => Some((peer, None)),
        Ok(peer) => worker.shared.clients.admit(peer.ip(), settings).ok().map(|seat| (peer, seat)),
        Err(problem) => {
            worker.shared.metrics.refused_proxy_headers.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(peer = %neighbour, %problem, "a connection was closed at its PROXY header");
            None
        }
    }
}

/// The TLS handshake, within its time. One that fails never became a request: it is counted, and nobody is told why but whoever
/// reads the log.
async fn shake_hands(
    worker: &Worker,
    tls: &ServerTls,
    settings: &Arc<InboundSettings>,
    stream: TcpStream,
    peer: SocketAddr,
    loaded: &Loaded,
) -> Option<(TlsStream<TcpStream>, Tls)> {
    let limit = loaded.snapshot.settings.limits.tls_handshake_timeout;
    let problem = match timeout(limit, TlsAcceptor::from(Arc::clone(&tls.config)).accept(stream)).await {
        Ok(Ok(stream)) => {
            let session = stream.get_ref().1;
            let server_name = session.server_name().map(Box::from);
            let chain = session.peer_certificates().unwrap_or_default();
            let certificate = PeerCertificate::new(settings, chain).map(Rc::new);
            return Some((stream, Tls { server_name, binds_name: tls.binds_name, certificate }));
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it took too long".to_owned(),
    };
    worker.shared.metrics.failed_handshakes.fetch_add(1, Ordering::Relaxed);
    tracing::debug!(%peer, %problem, "a TLS handshake failed");
    None
}

async fn serve_http1<S, IO>(
    worker: Rc<Worker>,
    stack: S,
    gate: Box<Gate<IO>>,
    handle: GateHandle,
    facts: ConnectionFacts,
    limits: &WireLimits,
) where
    S: Service<Box<Transit>, Response = http::Response<Answer>, Error = Withheld> + Clone + 'static,
    S::Future: 'static,
    IO: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let connection = Rc::new(facts);
    let service = {
        let (worker, connection, handle) = (Rc::clone(&worker), Rc::clone(&connection), handle.clone());
        // Called as it is: its layers are always ready, and cloning them for each request is a handful of counts.
        let stack = RefCell::new(stack);
        service_fn(move |request: Request<Incoming>| {
            let (transit, exchange) = enter(&worker, &connection, &handle, request);
            let answer = stack.borrow_mut().call(transit);
            let (connection, handle) = (Rc::clone(&connection), handle.clone());
            async move {
                let mut response = answer.await?;
                if handle.is_draining() {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Withheld>(match connection.tunnel.borrow_mut().as_mut() {
                    Some(tunnel) => {
                        // What the answer holds, such as its place among the requests in flight, is held by the tunnel.
                        let (head, body) = response.into_parts();
                        tunnel.hold(Box::new((body, exchange)));
                        http::Response::from_parts(
                            head,
                            Held::new(Logged::unlogged(Either::Right(Full::default())), None),
                        )
                    }
                    None => response.map(|body| Held::new(body, exchange)),
                })
            }
        })
    };
    let Ended { served, gate, read } = serve_gated(gate, &handle, limits, service).await;
    let tunnel = connection.tunnel.take();
    if let (Some(tunnel), Ok(())) = (tunnel, &served) {
        let (stream, held) = gate.into_parts();
        // Few connections get here; the others should not be larger for it.
        return Box::pin(tunnel.run(stream, [read, held].concat().into())).await;
    }
    if let Err(error) = served {
        tracing::debug!(peer = %connection.peer, %error, "connection ended with an error");
        if handle.has_unanswered_head() {
            report_unanswered(&worker, connection, &error);
        }
    }
}

/// Tells of a head that hyper answered by itself.
fn report_unanswered(worker: &Rc<Worker>, connection: Rc<ConnectionFacts>, error: &hyper::Error) {
    let refusal = HeadRefusal {
        kind: HeadRefusalKind::Malformed,
        detail: format!("the head could not be parsed: {error}"),
        method: None,
        target: None,
        user_agent: None,
    };
    let malformation = (&refusal).into();
    let mut transit = Transit::unread(worker, connection, Version::HTTP_11, refusal);
    worker.report_unanswered(&Refusal::Malformed(malformation), &mut transit);
}

/// A request enters the stack with what the gate knows about its head.
fn enter(
    worker: &Rc<Worker>,
    connection: &Rc<ConnectionFacts>,
    handle: &GateHandle,
    request: Request<Incoming>,
) -> (Box<Transit>, Option<crate::wire::Exchange>) {
    let mut facts = Facts::new(worker, Rc::clone(connection));
    let exchange = match handle.next_head() {
        Some((HeadEvent::Accepted(head), exchange)) => {
            facts.upgrade = head.upgrade_requested.then_some(head.upgrade);
            Some(exchange)
        }
        Some((HeadEvent::Refused(refusal), exchange)) => {
            facts.head_refusal = Some(refusal);
            Some(exchange)
        }
        None => {
            facts.head_refusal = Some(HeadRefusal {
                kind: HeadRefusalKind::Malformed,
                detail: "a request that the gate did not let through".to_owned(),
                method: None,
                target: None,
                user_agent: None,
            });
            None
        }
    };
    let (head, body) = request.into_parts();
    (Box::new(Transit { head, body: Some(Either::Left(body)), facts }), exchange)
}

#[cfg(test)]
mod tests;
