//! When a connection carries another request, when it must not, and what may be sent twice.

use std::pin::pin;

use tokio::net::UnixStream;
use tokio::sync::{Semaphore, mpsc};

use super::super::deadline::Deadlines;
use super::super::http1::Link;
use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Answers every request on every connection the same.
async fn answering(answer: &'static str) -> Stub {
    stub(
        |_| {},
        move |mut peer, _| async move {
            while peer.head().await.is_some() {
                peer.say(answer).await;
            }
        },
    )
    .await
}

#[tokio::test]
async fn a_connection_is_used_again() {
    for answer in [
        OK,
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2   \r\nok\r\n0 ;\u{e9}=1\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-t\r\n\r\n2\r\nok\r\n0\r\nx-t: 1\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ] {
        let stub = answering(answer).await;
        for _ in 0..3 {
            assert_eq!(stub.fetch(get()).await, (200, "ok".into()));
            assert_eq!(stub.upstream.idle_connections(), 1, "{answer:?}");
        }
        assert_eq!(stub.connections(), 1, "{answer:?}");
    }
}

#[tokio::test]
async fn a_response_without_a_body_gives_its_connection_back_at_once() {
    for (method, answer) in [
        ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n"),
        ("POST", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
    ] {
        let stub = answering(answer).await;
        let response = stub.send(request(method, empty())).await.unwrap();
        assert_eq!(stub.upstream.idle_connections(), 1, "{answer:?}");
        assert!(response.body().is_end_stream());
        drop(response);
        let _ = stub.send(request(method, empty())).await.unwrap();
        assert_eq!(stub.connections(), 1, "{answer:?}");
    }
}

#[tokio::test]
async fn a_connection_in_doubt_is_not_used_again() {
    for answer in [
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nextra",
    ] {
        let stub = answering(answer).await;
        for nth in 1..=3 {
            assert_eq!(stub.fetch(get()).await, (200, "ok".into()), "{answer:?}");
            assert_eq!(stub.connections(), nth, "{answer:?}");
        }
    }
}

#[tokio::test]
async fn a_connection_with_an_unread_body_is_not_used_again() {
    let long = format!("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n{}", "x".repeat(1_000_000));
    let stub = answering(long.leak()).await;
    for nth in 1..=3 {
        drop(stub.send(get()).await.unwrap());
        assert_eq!((stub.connections(), stub.upstream.idle_connections()), (nth, 0));
    }
}

#[tokio::test]
async fn a_connection_with_an_unsent_body_is_not_used_again() {
    let stub = answering(OK).await;
    for nth in 1..=3 {
        let (feed, body) = streaming::fed();
        assert_eq!(stub.fetch(request("POST", body)).await, (200, "ok".into()));
        assert_eq!((stub.connections(), stub.upstream.idle_connections()), (nth, 0));
        drop(feed);
    }
}

#[tokio::test]
async fn idle_connections_are_bounded_and_the_oldest_go_first() {
    let (said, mut hears) = mpsc::unbounded_channel();
    let stub = stub(
        |settings| settings.max_idle = 2,
        move |mut peer, nth| {
            let said = said.clone();
            async move {
                while peer.head().await.is_some() {
                    peer.say(OK).await;
                }
                said.send(nth).unwrap();
            }
        },
    )
    .await;
    let mut responses = Vec::new();
    for _ in 0..3 {
        // Taken from the pool only when the one before was given back: three at once take three connections.
        responses.push(
            stub.upstream
                .endpoints
                .connect(0, Duration::from_secs(5), after(Instant::now(), Duration::MAX))
                .await
                .unwrap(),
        );
    }
    for stream in responses {
        let link = Link::new(stream, Deadlines::new(patient(), Instant::now(), Instant::now()));
        stub.upstream.idle.put(link);
    }
    assert_eq!(stub.upstream.idle_connections(), 2);
    assert_eq!(hears.recv().await, Some(0));
}

#[tokio::test]
async fn a_connection_that_waited_too_long_is_not_used() {
    let stub = stub(
        |settings| settings.timeouts.keep_alive = Duration::from_millis(20),
        |mut peer, _| async move {
            while peer.head().await.is_some() {
                peer.say(OK).await;
            }
        },
    )
    .await;
    stub.fetch(get()).await;
    assert_eq!(stub.upstream.idle_connections(), 1);
    tokio::time::sleep(Duration::from_millis(25)).await;
    stub.fetch(get()).await;
    assert_eq!((stub.connections(), stub.upstream.idle_connections()), (2, 1));
    tokio::time::sleep(Duration::from_millis(25)).await;
    stub.upstream.discard_expired();
    assert_eq!(stub.upstream.idle_connections(), 0);
}

/// An upstream that closes each connection after its first answer without having announced it.
struct Closing {
    stub: Stub,
    permits: Arc<Semaphore>,
    closed: mpsc::UnboundedReceiver<()>,
}

impl Closing {
    async fn new() -> Self {
        let (said, closed) = mpsc::unbounded_channel();
        let permits = Arc::new(Semaphore::new(0));
        let permitted = Arc::clone(&permits);
        let serve = move |mut peer: Peer, _| {
            let (said, permitted) = (said.clone(), Arc::clone(&permitted));
            async move {
                if peer.head().await.unwrap_or_default().starts_with("POST") {
                    peer.body(4).await;
                }
                peer.say(OK).await;
                permitted.acquire().await.unwrap().forget();
                drop(peer);
                said.send(()).unwrap();
            }
        };
        Self { stub: stub(|_| {}, serve).await, permits, closed }
    }

    /// Returns when this many connections have been closed.
    async fn close(&mut self, connections: usize) {
        self.permits.add_permits(connections);
        for _ in 0..connections {
            self.closed.recv().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_request_finds_the_idle_connection_closed_and_takes_another() {
    for (method, body) in [("GET", ""), ("POST", "body"), ("PATCH", "")] {
        let mut closing = Closing::new().await;
        for nth in 1..=3 {
            let body = if body.is_empty() { empty() } else { full(body) };
            assert_eq!(closing.stub.fetch(request(method, body)).await, (200, "ok".into()), "{method}");
            assert_eq!((closing.stub.connections(), closing.stub.upstream.idle_connections()), (nth, 1), "{method}");
            closing.close(1).await;
        }
    }
}

#[tokio::test]
async fn every_idle_connection_may_turn_out_to_be_closed() {
    for method in ["GET", "POST"] {
        let mut closing = Closing::new().await;
        let many = futures_util::future::join_all((0..4).map(|_| closing.stub.send(get()))).await;
        for response in many {
            read(response.unwrap()).await;
        }
        assert_eq!(closing.stub.upstream.idle_connections(), 4);
        closing.close(4).await;
        assert_eq!(closing.stub.fetch(request(method, full("body"))).await, (200, "ok".into()));
        assert_eq!((closing.stub.connections(), closing.stub.upstream.idle_connections()), (5, 1));
    }
}

#[tokio::test]
async fn what_may_not_be_sent_twice_is_not_sent_over_a_connection_that_just_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = upstream_at(listener.local_addr().unwrap().port(), |_| {});
    let answer = async || {
        let mut peer = Peer { stream: listener.accept().await.unwrap().0, unread: Vec::new() };
        peer.head().await.unwrap();
        peer.say(OK).await;
        peer
    };
    let (response, first) = tokio::join!(upstream.send(get(), None), answer());
    read(response.unwrap()).await;
    assert_eq!(upstream.idle_connections(), 1);
    // Without an await between: the event loop has not had the time to hear of it.
    drop(first);
    let post = async { upstream.send(request("POST", full("body")), None).await.unwrap() };
    let (response, _second) = tokio::join!(post, answer());
    assert_eq!(read(response).await, (200, "ok".into()));
}

/// An upstream whose first connection answers once, then takes a second request and closes without a byte, or with a part of a
/// head; further connections answer. What it was asked is reported.
async fn dying(last_words: &'static str) -> (Stub, mpsc::UnboundedReceiver<String>) {
    let (said, hears) = mpsc::unbounded_channel();
    let stub = stub(
        |_| {},
        move |mut peer, nth| {
            let said = said.clone();
            async move {
                while let Some(head) = peer.head().await {
                    let is_second = head.contains("x-second") && nth == 0;
                    said.send(head).unwrap();
                    if is_second {
                        peer.say(last_words).await;
                        return;
                    }
                    peer.say(OK).await;
                }
            }
        },
    )
    .await;
    stub.fetch(get()).await;
    (stub, hears)
}

fn second(method: &str, body: TestBody) -> Request<TestBody> {
    let mut request = request(method, body);
    request.headers_mut().insert("x-second", "yes".parse().unwrap());
    request
}

#[tokio::test]
async fn an_idempotent_request_without_a_body_is_sent_once_more() {
    for method in ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"] {
        let (stub, mut heads) = dying("").await;
        let response = stub.send(second(method, empty())).await.unwrap();
        assert_eq!((response.status().as_u16(), stub.connections()), (200, 2), "{method}");
        let _first = heads.recv().await;
        let (tried, tried_again) = (heads.recv().await.unwrap(), heads.recv().await.unwrap());
        assert_eq!(tried, tried_again);
        assert!(tried.starts_with(&format!("{method} /path?q=1 HTTP/1.1\r\n")), "{tried}");
    }
}

#[tokio::test]
async fn what_may_have_had_an_effect_is_not_sent_twice() {
    let check = async |method: &str, body: TestBody, last_words: &'static str| {
        let (stub, mut heads) = dying(last_words).await;
        let error = stub.send(second(method, body)).await.err().unwrap();
        assert_eq!((error.kind, stub.connections()), (FaultKind::Protocol, 1), "{method}: {error}");
        heads.recv().await;
        heads.recv().await;
        assert!(heads.try_recv().is_err(), "{method}");
    };
    check("POST", empty(), "").await;
    check("POST", full("body"), "").await;
    check("PATCH", empty(), "").await;
    check("PUT", full("body"), "").await;
    check("GET", full("body"), "").await;
    check("GET", empty(), "HTTP/1.1 2").await;
    check("GET", empty(), "H").await;
}

#[tokio::test]
async fn a_fresh_connection_that_dies_is_not_tried_again() {
    let stub = stub(
        |_| {},
        |mut peer, _| async move {
            peer.head().await;
        },
    )
    .await;
    assert_eq!(stub.send(get()).await.err().unwrap().kind, FaultKind::Protocol);
    assert_eq!(stub.connections(), 1);
}

#[tokio::test]
async fn a_body_of_which_some_was_taken_goes_nowhere_else() {
    let stub = answering(OK).await;
    let (ours, peer) = UnixStream::pair().unwrap();
    loop {
        ours.writable().await.unwrap();
        if ours.try_write(&[b'x'; 4096]).is_err() {
            break;
        }
    }
    let link = Link::new((Stream::Unix(ours), 0), Deadlines::new(patient(), Instant::now(), Instant::now()));
    stub.upstream.idle.put(link);
    let mut sending = pin!(stub.send(request("POST", full("body"))));
    // It has taken the body, and cannot write it.
    assert!(poll_fn(|cx| std::task::Poll::Ready(sending.as_mut().poll(cx).is_pending())).await);
    drop(peer);
    assert_eq!((sending.await.err().unwrap().kind, stub.connections()), (FaultKind::Protocol, 0));
}

#[tokio::test]
async fn an_idle_connection_keeps_little_memory() {
    for length in [100, 50_000, 1_000_000] {
        let text = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{}", "x".repeat(length));
        let stub = answering(text.leak()).await;
        for _ in 0..3 {
            stub.fetch(get()).await;
            let link = stub.upstream.idle.take(0, Instant::now()).unwrap();
            assert!(link.held() <= 16 * 1024, "{} after {length}", link.held());
            stub.upstream.idle.put(link);
        }
    }
}
