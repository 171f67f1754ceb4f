//! Bodies on their way, in both directions.

use std::io::{Read as _, Write as _};

use futures_util::stream;
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::super::http1::PIECE_BYTES_MAX;
use super::*;

/// A body whose pieces are sent to it.
pub(super) fn fed() -> (mpsc::UnboundedSender<Bytes>, TestBody) {
    let (feed, mut pieces) = mpsc::unbounded_channel();
    let frames = stream::poll_fn(move |cx| pieces.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece)))));
    (feed, BodyExt::boxed_unsync(StreamBody::new(frames)))
}

#[tokio::test]
async fn ten_mebibytes_stream_both_ways_piece_by_piece() {
    const PIECE: usize = 64 * 1024;
    const PIECES: usize = 160;
    let stub = stub(
        |_| {},
        |mut peer, _| async move {
            assert!(peer.head().await.unwrap().contains("transfer-encoding: chunked\r\n"));
            peer.say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
            for _ in 0..PIECES {
                let piece = peer.body("10000\r\n".len() + PIECE + "\r\n".len()).await;
                peer.stream.write_all(&piece).await.unwrap();
            }
            assert_eq!(peer.body("0\r\n\r\n".len()).await, b"0\r\n\r\n");
            peer.say("0\r\n\r\n").await;
            peer.closed().await;
        },
    )
    .await;
    let (feed, body) = fed();
    let mut body = stub.send(request("POST", body)).await.unwrap().into_body();
    // The next piece is only made when the last has come back: whoever buffers a body waits for ever.
    for nth in 0..PIECES {
        feed.send(Bytes::from(vec![nth as u8; PIECE])).unwrap();
        let mut received = 0;
        while received < PIECE {
            let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
            assert!(data.iter().all(|byte| *byte == nth as u8));
            received += data.len();
        }
        assert_eq!(received, PIECE);
    }
    drop(feed);
    assert!(body.frame().await.is_none());
    assert_eq!(stub.upstream.idle_connections(), 1);
}

#[tokio::test]
async fn what_is_not_read_is_not_taken_from_the_upstream() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let stub = stub(
        |_| {},
        move |mut peer, _| {
            let counter = Arc::clone(&counter);
            async move {
                peer.head().await;
                peer.say("HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n").await;
                while let Ok(written) = peer.stream.write(&[b'x'; 65536]).await {
                    counter.fetch_add(written, Ordering::SeqCst);
                }
            }
        },
    )
    .await;
    let mut body = stub.send(get()).await.unwrap().into_body();
    let mut received = 0;
    // Until what was sent stands still: the kernel's buffers are full, and nothing else takes it.
    let mut before = usize::MAX;
    while before != sent.load(Ordering::SeqCst) {
        before = sent.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    while received < 20_000_000 {
        received += body.frame().await.unwrap().unwrap().into_data().unwrap().len();
    }
    let ahead = sent.load(Ordering::SeqCst) - received;
    assert!(ahead < 16_000_000, "{ahead} bytes ahead of the reader");
}

#[tokio::test]
async fn lengths_are_told_in_both_directions() {
    let stub = stub(
        |_| {},
        |mut peer, _| async move {
            let head = peer.head().await.unwrap();
            assert!(head.contains("content-length: 4\r\n") && !head.contains("transfer-encoding"), "{head}");
            peer.body(4).await;
            peer.say("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
            peer.closed().await;
        },
    )
    .await;
    let mut post = request("POST", full("body"));
    post.headers_mut().insert("content-length", "99".parse().unwrap());
    let response = stub.send(post).await.unwrap();
    assert_eq!(response.body().size_hint().exact(), Some(5));
    assert!(!response.headers().contains_key("content-length"));
    assert_eq!(read(response).await, (200, "hello".into()));
    assert_eq!(stub.upstream.idle_connections(), 1);
}

#[tokio::test]
async fn a_head_goes_out_in_origin_form_as_http_1_1() {
    let stub = stub(
        |_| {},
        |mut peer, _| async move {
            let head = peer.head().await.unwrap();
            peer.say(&format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{head}", head.len())).await;
        },
    )
    .await;
    let mut absolute = get();
    *absolute.uri_mut() = "http://elsewhere.example/a%20b?q=1".parse().unwrap();
    *absolute.version_mut() = Version::HTTP_2;
    let (_, head) = stub.fetch(absolute).await;
    assert_eq!(head, "GET /a%20b?q=1 HTTP/1.1\r\nhost: stub.internal\r\n\r\n");
}

#[tokio::test]
async fn trailers_are_dropped_in_both_directions() {
    let stub = stub(
        |_| {},
        |mut peer, _| async move {
            peer.head().await;
            assert_eq!(peer.body("4\r\nbody\r\n0\r\n\r\n".len()).await, b"4\r\nbody\r\n0\r\n\r\n");
            peer.say(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-t\r\n\r\n2\r\nok\r\n0\r\nx-t: 1\r\n\r\n",
            )
            .await;
            peer.closed().await;
        },
    )
    .await;
    let mut post = request("POST", trailed("body", &[("x-t", "1")]));
    post.headers_mut().insert("trailer", "x-t".parse().unwrap());
    let body = stub.send(post).await.unwrap().into_body().collect().await.unwrap();
    assert!(body.trailers().is_none());
    assert_eq!(body.to_bytes(), "ok");
    assert_eq!(stub.upstream.idle_connections(), 1);
}

#[tokio::test]
async fn trailers_that_pass_are_those_that_their_message_announces_and_no_other() {
    let stub = stub(
        |_| {},
        |mut peer, _| async move {
            let head = peer.head().await.unwrap();
            assert!(head.contains("te: trailers\r\n") && head.contains("connection: te\r\n"), "{head}");
            let sent = "4\r\nbody\r\n0\r\nx-t: 1\r\n\r\n";
            assert_eq!(String::from_utf8(peer.body(sent.len()).await).unwrap(), sent);
            peer.say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-u\r\n\r\n2\r\nok\r\n").await;
            peer.say("0\r\nx-u: 2\r\ncontent-length: 5\r\nx-forwarded-for: 10.0.0.1\r\n\r\n").await;
            peer.closed().await;
        },
    )
    .await;
    let mut post = request("POST", trailed("body", &[("x-t", "1"), ("x-other", "2"), ("x-auth-user", "root")]));
    post.headers_mut().insert("trailer", "x-t, x-auth-user".parse().unwrap());
    post.headers_mut().insert("te", "trailers".parse().unwrap());
    assert_eq!(read_all(stub.send(passing(post)).await.unwrap()).await, "ok\nx-u: 2");
    assert_eq!(stub.upstream.idle_connections(), 1);
}

#[tokio::test]
async fn an_early_answer_reaches_the_caller_although_the_upstream_closes() {
    let stub = stub(
        |_| {},
        |mut peer, _| async move {
            peer.head().await;
            peer.body(1000).await;
            peer.say("HTTP/1.1 413 Content Too Large\r\nconnection: close\r\ncontent-length: 8\r\n\r\ntoo much").await;
            // Closing with unread bytes resets the connection: the gateway's writes fail from here on.
        },
    )
    .await;
    for nth in 1..=50 {
        let endless = stream::repeat_with(|| Ok(Frame::data(Bytes::from_static(&[b'x'; 65536]))));
        let post = request("POST", BodyExt::boxed_unsync(StreamBody::new(endless)));
        assert_eq!(stub.fetch(post).await, (413, "too much".into()), "{nth}");
        assert_eq!((stub.connections(), stub.upstream.idle_connections()), (nth, 0));
    }
}

#[tokio::test]
async fn an_answer_that_a_reset_cuts_never_counts_as_whole() {
    let stub = stub(
        |_| {},
        |mut peer, _| async move {
            peer.head().await;
            peer.body(1000).await;
            peer.say("HTTP/1.1 200 OK\r\n\r\nthe first half").await;
            // Closing with unread bytes resets the connection.
        },
    )
    .await;
    for _ in 0..50 {
        let endless = stream::repeat_with(|| Ok(Frame::data(Bytes::from_static(&[b'x'; 65536]))));
        let post = request("POST", BodyExt::boxed_unsync(StreamBody::new(endless)));
        if let Ok(response) = stub.send(post).await {
            assert!(response.into_body().collect().await.is_err());
        }
    }
}

#[tokio::test]
async fn an_early_answer_is_read_although_writing_fails_first() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = upstream_at(listener.local_addr().unwrap().port(), |_| {});
    let mut nth = 0;
    // The upstream answers and resets the connection between two pieces that are written in one go: the second write fails
    // before the event loop can tell that there is something to read.
    let frames = stream::repeat_with(move || {
        nth += 1;
        if nth == 2 {
            let (mut peer, _) = listener.accept().unwrap();
            peer.read_exact(&mut [0; 10]).unwrap();
            peer.write_all(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 8\r\n\r\ntoo much").unwrap();
        }
        // As much as is buffered, so that each is written before the next is asked for.
        Ok(Frame::data(Bytes::from_static(&[b'x'; PIECE_BYTES_MAX])))
    });
    let response = upstream.send(request("POST", BodyExt::boxed_unsync(StreamBody::new(frames))), None).await.unwrap();
    assert_eq!(read(response).await, (413, "too much".into()));
    assert_eq!(upstream.idle_connections(), 0);
}

#[tokio::test]
async fn an_early_answer_on_an_open_connection_ends_the_exchange() {
    let stub = stub(
        |_| {},
        |mut peer, _| async move {
            peer.head().await;
            peer.say("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno").await;
            peer.closed().await;
        },
    )
    .await;
    let (_feed, body) = fed();
    assert_eq!(stub.fetch(request("POST", body)).await, (403, "no".into()));
    assert_eq!(stub.upstream.idle_connections(), 0);
}

/// What a caller gets from hyper's server when it passes on an upstream that says this and closes.
async fn passed_on(method: &str, answer: &'static str) -> String {
    let stub = stub(
        |_| {},
        move |mut peer, _| async move {
            peer.head().await;
            peer.say(answer).await;
        },
    )
    .await;
    let (mut caller, gateway) = tokio::io::duplex(65536);
    let service = service_fn(|request: Request<Incoming>| {
        stub.send(request.map(|body| body.map_err(BoxError::from).boxed_unsync()))
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    let serving = server.auto_date_header(false).serve_connection(TokioIo::new(gateway), service);
    let request = format!("{method} / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    caller.write_all(request.as_bytes()).await.unwrap();
    let mut received = String::new();
    let (_, read) = tokio::join!(serving, caller.read_to_string(&mut received));
    read.unwrap();
    received.replace("connection: close\r\n", "")
}

#[tokio::test]
async fn hypers_server_frames_what_it_passes_on() {
    let check = async |method, answer, expected| assert_eq!(passed_on(method, answer).await, expected, "{answer:?}");
    let plain = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    check("GET", plain, plain).await;
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    check("GET", chunked, chunked).await;
    check("GET", "HTTP/1.1 200 OK\r\n\r\nok", chunked).await;
    check("GET", "HTTP/1.0 200 OK\r\n\r\nok", chunked).await;
    let both = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    check("GET", both, chunked).await;
    let twice = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok";
    check("GET", twice, plain).await;
    check("GET", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    check("GET", "HTTP/1.1 204 No Content\r\ncontent-length: 7\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n").await;
    check("GET", "HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n", "HTTP/1.1 304 Not Modified\r\n\r\n").await;
    let length = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n";
    check("HEAD", length, length).await;
    check("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 1, 2\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n").await;
    let once = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n";
    check("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 1, 1\r\n\r\n", once).await;
    let renamed = "HTTP/1.1 200 Fine\r\ncontent-length: 0\r\n\r\n";
    check("GET", renamed, renamed).await;
    check("HEAD", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n").await;
}

#[tokio::test]
async fn a_broken_body_never_looks_whole_to_the_caller() {
    let chunked = passed_on("GET", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n").await;
    assert!(!chunked.ends_with("0\r\n\r\n"), "{chunked}");
    let plain = passed_on("GET", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nok").await;
    assert!(plain.len() < "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello".len(), "{plain}");
}

#[tokio::test]
async fn an_answer_is_the_same_however_it_is_cut() {
    let answers = [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", "ok"),
        ("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", "ok"),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-u\r\n\r\n1;a=b\r\no\r\n0001\r\nk\r\n0\r\nx-u: 2\r\n\r\n",
            "ok\nx-u: 2",
        ),
    ];
    for (answer, expected) in answers {
        let cuts = Arc::new(AtomicUsize::new(0));
        let next = Arc::clone(&cuts);
        let stub = stub(
            |_| {},
            move |mut peer, _| {
                let next = Arc::clone(&next);
                async move {
                    while peer.head().await.is_some() {
                        let (first, rest) = answer.split_at(next.fetch_add(1, Ordering::SeqCst));
                        peer.say(first).await;
                        // Long enough for the first part to be read by itself, most of the time.
                        tokio::time::sleep(Duration::from_millis(1)).await;
                        peer.say(rest).await;
                    }
                }
            },
        )
        .await;
        for cut in 0..answer.len() {
            assert_eq!(read_all(stub.send(passing(get())).await.unwrap()).await, expected, "{answer:?} cut at {cut}");
            assert_eq!((stub.connections(), stub.upstream.idle_connections()), (1, 1), "{answer:?} cut at {cut}");
        }
    }
}
