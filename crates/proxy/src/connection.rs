//! One connection: a gate in front of hyper's HTTP/1.1 server, and the stack behind it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;

use http::header::CONNECTION;
use http::{HeaderValue, Request};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use tokio::net::TcpStream;
use tower::Service;

use crate::held::Held;
use crate::layers::respond::Answer;
use crate::logged::Logged;
use crate::transit::{ConnectionFacts, Facts, Transit};
use crate::upstream::headers::Scheme;
use crate::wire::{Gate, GateHandle, HeadEvent, HeadRefusal, HeadRefusalKind, http1_builder};
use crate::worker::Worker;

/// Serves a connection until it ends. `opened` is given the gate's handle, by which the connection can be drained.
pub(crate) async fn serve<S>(
    worker: Rc<Worker>,
    stack: S,
    stream: TcpStream,
    peer: SocketAddr,
    opened: impl FnOnce(GateHandle),
) where
    S: Service<Box<Transit>, Response = http::Response<Answer>, Error = Infallible> + Clone + 'static,
    S::Future: 'static,
{
    // A failure costs latency, nothing else.
    let _ = stream.set_nodelay(true);
    let loaded = worker.loaded();
    let (gate, handle) = Gate::new(stream, Rc::clone(&loaded.wire));
    opened(handle.clone());
    let connection = Rc::new(ConnectionFacts::new(peer, Scheme::Http, Some(handle.clone())));
    let service = {
        let (worker, connection, handle) = (Rc::clone(&worker), Rc::clone(&connection), handle.clone());
        service_fn(move |request: Request<Incoming>| {
            let (transit, exchange) = enter(&worker, &connection, &handle, request);
            let answer = stack.clone().call(transit);
            let (connection, handle) = (Rc::clone(&connection), handle.clone());
            async move {
                let mut response = answer.await?;
                if handle.is_draining() {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(match connection.tunnel.borrow_mut().as_mut() {
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
    let mut http = http1_builder(&loaded.wire).serve_connection(gate, service);
    let served = (&mut http).await;
    let tunnel = connection.tunnel.take();
    if let (Some(tunnel), Ok(())) = (tunnel, &served) {
        let parts = http.into_parts();
        let (stream, held) = parts.io.into_parts();
        // Few connections get here; the others should not be larger for it.
        return Box::pin(tunnel.run(stream, [parts.read_buf, held].concat().into())).await;
    }
    if let Err(error) = served {
        tracing::debug!(%peer, %error, "connection ended with an error");
        if handle.has_unanswered_head() {
            worker.report_unanswered(&Facts::new(&worker, connection), &error);
        }
    }
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
            });
            None
        }
    };
    let (head, body) = request.into_parts();
    (Box::new(Transit { head, body: Some(Either::Left(body)), facts }), exchange)
}
