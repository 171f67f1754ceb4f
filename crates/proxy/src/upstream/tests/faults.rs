//! What an upstream can do wrong, and what it is called.

use std::error::Error;

use futures_util::stream;
use http_body_util::StreamBody;
use hyper::body::Frame;

use super::*;

#[tokio::test]
async fn an_answer_that_is_not_http_is_a_protocol_error() {
    for answer in [
        "SSH-2.0-OpenSSH_9.9\r\n",
        "<html>hello</html>\r\n\r\n",
        "HTTP/9.9 200 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nbad name: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nfolded: 1\r\n 2\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: gzip\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-le",
        "",
    ] {
        let stub = stub(
            |_| {},
            move |mut peer, _| async move {
                peer.head().await;
                peer.say(answer).await;
            },
        )
        .await;
        let error = stub.send(get()).await.err().unwrap();
        assert_eq!(error.kind, FaultKind::Protocol, "{answer:?}: {error}");
        assert_eq!((stub.connections(), stub.upstream.idle_connections()), (1, 0));
    }
}

#[tokio::test]
async fn a_head_that_never_ends_is_bounded() {
    let stub = stub(
        |_| {},
        |mut peer, _| async move {
            peer.head().await;
            peer.say(&format!("HTTP/1.1 200 OK\r\nx-long: {}", "x".repeat(200_000))).await;
            peer.closed().await;
        },
    )
    .await;
    assert_eq!(stub.send(get()).await.err().unwrap().kind, FaultKind::Protocol);
}

#[tokio::test]
async fn nobody_who_listens_is_unreachable() {
    let (_held, unused) = closed_port();
    let stub = stub(|settings| settings.endpoints[0] = Endpoint::http("127.0.0.1", unused), |_, _| async {}).await;
    let error = stub.send(get()).await.err().unwrap();
    assert_eq!(error.kind, FaultKind::Unreachable);
    assert!(error.detail.starts_with(&format!("http://127.0.0.1:{unused}: ")), "{error}");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_an_error_of_the_body() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\nxyz\r\n",
    ] {
        let stub = stub(
            |_| {},
            move |mut peer, _| async move {
                peer.head().await;
                peer.say(answer).await;
            },
        )
        .await;
        let mut body = stub.send(get()).await.unwrap().into_body();
        let error = loop {
            if let Err(error) = body.frame().await.unwrap() {
                break error;
            }
        };
        assert_eq!(error.kind, FaultKind::Protocol, "{answer:?}");
        assert!(!body.is_end_stream(), "it never counts as whole");
        assert_eq!(stub.upstream.idle_connections(), 0);
    }
}

#[tokio::test]
async fn a_body_may_end_with_its_connection() {
    let stub = stub(
        |_| {},
        |mut peer, _| async move {
            peer.head().await;
            peer.say("HTTP/1.1 200 OK\r\n\r\nok").await;
        },
    )
    .await;
    assert_eq!(stub.fetch(get()).await, (200, "ok".into()));
    assert_eq!(stub.upstream.idle_connections(), 0);
}

/// Soon, and not before a busy machine has got as far as to what times out.
const SOON: Duration = Duration::from_millis(250);

/// The phase in which an exchange with an upstream that says this much, and then nothing, times out.
async fn timed_out(adjust: impl FnOnce(&mut UpstreamTimeouts), words: &'static str) -> FaultKind {
    let stub = stub(
        |settings| adjust(&mut settings.timeouts),
        move |mut peer, _| async move {
            peer.head().await;
            peer.say(words).await;
            peer.closed().await;
        },
    )
    .await;
    let failed = match stub.send(get()).await {
        Ok(response) => response.into_body().collect().await.err().unwrap(),
        Err(error) => error,
    };
    assert_eq!(stub.upstream.idle_connections(), 0);
    failed.kind
}

#[tokio::test]
async fn an_upstream_that_hangs_is_a_timeout() {
    use TimeoutPhase::{FirstByte, Idle, Total};
    let body = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nok";
    assert_eq!(timed_out(|timeouts| timeouts.first_byte = SOON, "").await, FaultKind::Timeout(FirstByte));
    assert_eq!(timed_out(|timeouts| timeouts.first_byte = SOON, "HTTP/1.1 200").await, FaultKind::Timeout(FirstByte));
    assert_eq!(timed_out(|timeouts| timeouts.idle = SOON, body).await, FaultKind::Timeout(Idle));
    assert_eq!(timed_out(|timeouts| timeouts.total = SOON, "").await, FaultKind::Timeout(Total));
    assert_eq!(timed_out(|timeouts| timeouts.total = SOON, body).await, FaultKind::Timeout(Total));
}

#[tokio::test]
async fn a_head_that_trickles_in_does_not_gain_time() {
    let stub = stub(
        |settings| settings.timeouts.first_byte = SOON,
        |mut peer, _| async move {
            peer.head().await;
            loop {
                tokio::time::sleep(SOON / 6).await;
                if peer.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.is_err() {
                    return;
                }
            }
        },
    )
    .await;
    assert_eq!(stub.send(get()).await.err().unwrap().kind, FaultKind::Timeout(TimeoutPhase::FirstByte));
}

#[tokio::test]
async fn a_timeout_holds_for_each_request_of_a_connection() {
    // Each is in time by more than two seconds, which a busy machine may take; all together are not.
    const LATER: Duration = Duration::from_secs(3);
    const TAKES: Duration = Duration::from_millis(500);
    const REQUESTS: usize = 7;
    let stub = stub(
        |settings| settings.timeouts.first_byte = LATER,
        |mut peer, _| async move {
            for _ in 0..REQUESTS {
                peer.head().await;
                tokio::time::sleep(TAKES).await;
                peer.say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
            }
            peer.closed().await;
        },
    )
    .await;
    for _ in 0..REQUESTS {
        assert_eq!(stub.fetch(get()).await, (200, "ok".into()));
    }
    assert_eq!(stub.send(get()).await.err().unwrap().kind, FaultKind::Timeout(TimeoutPhase::FirstByte));
    assert_eq!(stub.connections(), 1);
}

/// A body of these pieces, with a pause before each.
fn paced(pieces: usize, pause: Duration) -> TestBody {
    let frames = stream::unfold(0, move |nth| async move {
        if nth == pieces {
            return None;
        }
        tokio::time::sleep(pause).await;
        Some((Ok(Frame::data(Bytes::from_static(b"piece"))), nth + 1))
    });
    BodyExt::boxed_unsync(StreamBody::new(frames))
}

#[tokio::test]
async fn a_slow_upload_is_not_cut_as_long_as_it_goes_on() {
    // Longer than the one, and each pause far shorter than that.
    const PIECES: usize = 12;
    let adjust = |settings: &mut UpstreamSettings| {
        settings.timeouts.first_byte = Duration::from_secs(3);
        settings.timeouts.idle = Duration::from_secs(3);
    };
    let stub = stub(adjust, |mut peer, _| async move {
        peer.head().await;
        peer.body("5\r\npiece\r\n".len() * PIECES + "0\r\n\r\n".len()).await;
        peer.say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        peer.closed().await;
    })
    .await;
    assert_eq!(stub.fetch(request("POST", paced(PIECES, Duration::from_millis(300)))).await, (200, "ok".into()));
    assert_eq!(stub.upstream.idle_connections(), 1);
}

#[tokio::test]
async fn a_stalled_upload_is_blamed_on_who_stalls() {
    let serve = |mut peer: Peer, _| async move {
        peer.head().await;
        std::future::pending::<()>().await;
    };
    let adjust = |settings: &mut UpstreamSettings| settings.timeouts.idle = SOON;
    let error = stub(adjust, serve).await.send(request("POST", paced(2, SOON * 20))).await.err().unwrap();
    assert_eq!(error.kind, FaultKind::RequestBody);
    let endless = stream::repeat_with(|| Ok(Frame::data(Bytes::from_static(&[b'x'; 65536]))));
    let endless = BodyExt::boxed_unsync(StreamBody::new(endless));
    let error = stub(adjust, serve).await.send(request("POST", endless)).await.err().unwrap();
    assert_eq!(error.kind, FaultKind::Timeout(TimeoutPhase::Send));
}

#[tokio::test]
async fn a_request_body_that_fails_is_not_the_upstreams_fault() {
    let (said, mut hears) = tokio::sync::mpsc::unbounded_channel();
    let stub = stub(
        |_| {},
        move |mut peer, _| {
            let said = said.clone();
            async move {
                peer.head().await;
                peer.closed().await;
                said.send(()).unwrap();
            }
        },
    )
    .await;
    let frames = [Ok(Frame::data(Bytes::from_static(b"piece"))), Err(BoxError::from("the caller left"))];
    let body = BodyExt::boxed_unsync(StreamBody::new(stream::iter(frames)));
    let error = stub.send(request("POST", body)).await.err().unwrap();
    assert_eq!(error.kind, FaultKind::RequestBody);
    assert_eq!(error.source().unwrap().to_string(), "the caller left");
    // The upstream must not take what it got for a whole request.
    hears.recv().await.unwrap();
}

#[tokio::test]
async fn interim_answers_are_no_answer_and_bounded() {
    let stub = stub(
        |_| {},
        |mut peer, _| async move {
            peer.head().await;
            for _ in 0..100 {
                peer.say(&"HTTP/1.1 102 Processing\r\n\r\n".repeat(100)).await;
            }
            peer.closed().await;
        },
    )
    .await;
    let error = stub.send(get()).await.err().unwrap();
    assert_eq!((error.kind, &*error.detail), (FaultKind::Protocol, "no valid response head: too many interim answers"));
}
