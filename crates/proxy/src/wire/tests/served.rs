//! What the service is called with, and what the client gets, when hyper stands behind the gate.

use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use proptest::prelude::*;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::harness::{Seen, connect, connect_with, locally, poll_once, read_once};
use super::{chunks, head_properties, limits};
use crate::wire::framing::BodyFraming;
use crate::wire::head::{Scan, scan};
use crate::wire::{BodyProblem, Ended, Gate, HeadEvent, WireLimits, serve};

const LAST: &str = "GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn pipelined_requests_are_served_in_order_with_their_bodies() {
    let bytes = [
        "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        "\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nde\r\n1\r\nf\r\n0\r\nX-Sum: 1\r\n\r\n",
        LAST,
    ]
    .concat();
    let expected = ["POST /1 3 abc", "POST /2 ? def", "GET /last 0 "];
    // However the bytes are cut, and however narrow the pipe is.
    for piece in [1, 7, 100, 10_000] {
        locally(async {
            let mut connection = connect_with(limits(), Seen::default(), 10_000);
            for part in bytes.as_bytes().chunks(piece) {
                connection.send(part).await;
                tokio::task::yield_now().await;
            }
            let answers = connection.read_to_end().await;
            assert_eq!(connection.calls(), expected, "in pieces of {piece}");
            let places: Vec<_> = (1..=3).map(|number| answers.find(&format!("answer {number}.")).unwrap()).collect();
            assert!(places.is_sorted());
            connection.server.await.unwrap().unwrap();
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_body_passes_whole() {
    locally(async {
        let mut connection = connect(limits());
        let body = "0123456789abcdef".repeat(64 * 1024);
        connection
            .send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}{LAST}", body.len()))
            .await;
        connection.read_to_end().await;
        assert_eq!(connection.calls(), [format!("POST / {} {body}", body.len()), "GET /last 0 ".into()]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_head_in_second_place_is_answered_second_and_closes() {
    locally(async {
        let mut connection = connect(limits());
        let bad = "POST /bad HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 60\r\n\r\n";
        connection.send(format!("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n{bad}{LAST}{LAST}")).await;
        let answers = connection.read_to_end().await;
        assert_eq!(connection.calls(), ["GET /1 0 ", "refused HostInvalid POST /bad"]);
        let (first, second) = answers.split_once("answer 1.").unwrap();
        assert!(first.starts_with("HTTP/1.1 200"));
        assert!(second.starts_with("HTTP/1.1 400") && second.ends_with("answer 2."), "{second}");
        assert!(second.contains("connection: close"));
        // Bytes that come later are not read as a request either.
        connection.client.write_all(LAST.as_bytes()).await.unwrap();
        drop(connection.client);
        connection.server.await.unwrap().unwrap();
        assert_eq!(connection.seen.calls.borrow().len(), 2);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_head_request_is_answered_without_a_body() {
    locally(async {
        let mut connection = connect(limits());
        connection.send("HEAD / HTTP/1.1\r\n\r\n").await;
        let answer = connection.read_to_end().await;
        assert_eq!(connection.calls(), ["refused HostInvalid HEAD /"]);
        assert!(answer.starts_with("HTTP/1.1 400") && answer.ends_with("\r\n\r\n"), "{answer}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_ends_its_side_behind_a_bad_head_still_gets_the_refusal() {
    locally(async {
        let mut connection = connect(limits());
        connection.send("GET / HTTP/1.1\nHost: a\n\n").await;
        connection.client.shutdown().await.unwrap();
        let answer = connection.read_to_end().await;
        assert!(answer.starts_with("HTTP/1.1 400") && answer.ends_with("answer 1."), "{answer}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn broken_chunks_fail_the_body_with_a_reason_and_close() {
    locally(async {
        let mut connection = connect(limits());
        connection
            .send(format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nx\r\n{LAST}"))
            .await;
        let answer = connection.read_to_end().await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        let problem = BodyProblem::Malformed("a chunk without a size");
        assert_eq!(connection.calls(), [format!("POST / ? failed {:?}", Some(problem))]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_ends_too_early_is_told_from_a_broken_one() {
    locally(async {
        let mut connection = connect(limits());
        connection.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabc").await;
        connection.client.shutdown().await.unwrap();
        connection.read_to_end().await;
        assert_eq!(connection.calls(), [format!("POST / 5 failed {:?}", Some(BodyProblem::Truncated))]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_unread_body_is_never_read_as_a_request() {
    locally(async {
        let seen = Seen::default();
        seen.leaves_body.set(true);
        let mut connection = connect_with(limits(), seen, 1 << 20);
        let smuggled = LAST.repeat(2000);
        connection
            .send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{smuggled}", smuggled.len()))
            .await;
        connection.read_to_end().await;
        assert_eq!(connection.calls().len(), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_next_head_waits_for_the_answer() {
    locally(async {
        let seen = Seen { turnstile: Some(Semaphore::new(0)), ..Seen::default() };
        let mut connection = connect_with(limits(), seen, 64 * 1024);
        connection.send(format!("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nNONSENSE\r\n\r\n{LAST}")).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!connection.handle.has_unanswered_head());
        connection.seen.turnstile.as_ref().unwrap().add_permits(2);
        let permitted = Instant::now();
        let answers = connection.read_to_end().await;
        // On a paused clock: what waits in the gate is handed on by the end of an answer, not by a timer.
        assert_eq!(permitted.elapsed(), Duration::ZERO);
        assert_eq!(connection.calls(), ["GET /1 0 ", "refused Malformed NONSENSE -"]);
        assert!(answers.contains("answer 1.") && answers.ends_with("answer 2."));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_ends_the_request_in_flight() {
    locally(async {
        let seen = Seen { turnstile: Some(Semaphore::new(0)), ..Seen::default() };
        let mut connection = connect_with(limits(), seen, 64 * 1024);
        connection.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await;
        tokio::task::yield_now().await;
        drop(connection.client);
        assert!(connection.server.await.unwrap().unwrap_err().is_incomplete_message());
        assert!(connection.seen.calls.borrow().is_empty());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_ends_its_side_still_gets_the_answers_before_its_last_request() {
    locally(async {
        let seen = Seen { turnstile: Some(Semaphore::new(0)), ..Seen::default() };
        let mut connection = connect_with(limits(), seen, 64 * 1024);
        connection.send(format!("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n{LAST}")).await;
        connection.client.shutdown().await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        connection.seen.turnstile.as_ref().unwrap().add_permits(1);
        assert!(connection.read_to_end().await.ends_with("answer 1."));
        assert_eq!(connection.calls(), ["GET /1 0 "]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn expect_continue_is_answered_before_the_body_is_sent() {
    locally(async {
        let mut connection = connect(limits());
        connection
            .send(
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n",
            )
            .await;
        assert_eq!(connection.read_until("\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
        connection.send("abc").await;
        assert!(connection.read_to_end().await.starts_with("HTTP/1.1 200"));
        assert_eq!(connection.calls(), ["POST / 3 abc"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_holds_no_buffer() {
    let (mut client, server) = tokio::io::duplex(64 * 1024);
    let (mut gate, handle) = Gate::new(server, limits());
    assert_eq!(gate.held_capacity(), 0);
    client.write_all(b"GET / HT").await.unwrap();
    assert!(std::future::poll_fn(|cx| Poll::Ready(poll_once(&mut gate, cx, 8192).is_pending())).await);
    assert!(gate.held_capacity() >= 8);
    client.write_all(b"TP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    // In pieces as small as hyper's room may be.
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.extend(read_once(&mut gate, 5).await.unwrap());
    }
    assert_eq!(head, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(gate.held_capacity(), 0);
    assert!(matches!(handle.next_head(), Some((HeadEvent::Accepted(_), _))));
    assert!(handle.next_head().is_none());
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_ahead_is_handed_on_unchanged_however_little_room_there_is() {
    let (mut client, server) = tokio::io::duplex(64 * 1024);
    let (mut gate, handle) = Gate::new(server, limits());
    let head = "POST / HTTP/1.1\r\nHost: a\r\n";
    let requests = [
        format!("{head}Content-Length: 20\r\n\r\n{}", "GET / HTTP/1.1\r\n\r\nxy"),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n7;a=b\r\n0\r\n\r\nxy\r\n0\r\nX: y\r\n\r\n"),
        "POST / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
    ];
    client.write_all(requests.concat().as_bytes()).await.unwrap();
    for request in requests {
        let mut handed_on = Vec::new();
        while handed_on.len() < request.len() {
            handed_on.extend(read_once(&mut gate, 5).await.unwrap());
        }
        assert_eq!(String::from_utf8(handed_on).unwrap(), request);
        // What comes next is read ahead, and held.
        assert!(std::future::poll_fn(|cx| Poll::Ready(poll_once(&mut gate, cx, 8192).is_pending())).await);
        drop(handle.next_head().unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_client_sends_ahead_is_bounded() {
    let (mut client, server) = tokio::io::duplex(1 << 20);
    let (mut gate, handle) = Gate::new(server, limits());
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    read_once(&mut gate, 8192).await.unwrap();
    let _exchange = handle.next_head().unwrap();
    client.write_all(&[b'x'; 500_000]).await.unwrap();
    assert!(std::future::poll_fn(|cx| Poll::Ready(poll_once(&mut gate, cx, 8192).is_pending())).await);
    assert!(gate.held_capacity() <= 64 * 1024, "{}", gate.held_capacity());
}

#[tokio::test(start_paused = true)]
async fn an_upgraded_connection_passes_bytes_and_gives_back_the_socket() {
    let (mut client, server) = tokio::io::duplex(64 * 1024);
    let (mut gate, handle) = Gate::new(server, limits());
    let head = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    client.write_all(&[head.as_slice(), b"\x81\x05hello"].concat()).await.unwrap();
    assert_eq!(read_once(&mut gate, 8192).await.unwrap(), head);
    let Some((HeadEvent::Accepted(facts), exchange)) = handle.next_head() else { panic!("accepted") };
    assert!(facts.upgrade_requested && facts.upgrade == ["websocket"]);
    handle.set_upgraded();
    drop(exchange);
    assert_eq!(read_once(&mut gate, 3).await.unwrap(), b"\x81\x05h");
    let (_socket, rest) = gate.into_parts();
    assert_eq!(&rest[..], b"ello");
}

#[tokio::test(start_paused = true)]
async fn a_protocol_switch_through_hyper_leaves_every_byte_to_the_tunnel() {
    use http_body_util::Empty;
    use hyper::service::service_fn;
    use hyper::{Response, StatusCode};
    locally(async {
        let (mut client, server) = tokio::io::duplex(64 * 1024);
        let (gate, handle) = Gate::new(server, limits());
        let service_handle = handle.clone();
        let service = service_fn(move |_request| {
            let handle = service_handle.clone();
            async move {
                let (_event, exchange) = handle.next_head().unwrap();
                handle.set_upgraded();
                let mut response = Response::new(crate::held::Held::new(Empty::<bytes::Bytes>::new(), Some(exchange)));
                *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                Ok::<_, std::convert::Infallible>(response)
            }
        });
        let head = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
        client.write_all(format!("{head}GET / first frame").as_bytes()).await.unwrap();
        let Ended { served, gate, read } = serve(Box::new(gate), &handle, &limits(), service).await;
        served.unwrap();
        assert!(handle.is_upgraded());
        let (_socket, rest) = gate.into_parts();
        assert_eq!([read, rest].concat(), b"GET / first frame");
    })
    .await;
}

/// Sends `bytes` to a server, ends the client's side, and gives what the service saw.
fn served(bytes: &[u8], limits: &Rc<WireLimits>) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(locally(async {
        let mut connection = connect_with(Rc::clone(limits), Seen::default(), 1 << 20);
        connection.send(bytes).await;
        connection.read_to_end().await;
        assert!(!connection.handle.has_unanswered_head(), "hyper refused what the gate let through");
        connection.calls()
    }))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn hyper_reads_every_accepted_head_as_the_gate_did(head in head_properties::heads(), body in chunks::bodies()) {
        let limits = limits();
        let (_, scanned) = scan(&head, &limits.head);
        let Scan::Complete { head_len, facts } = scanned else { return Ok(()) };
        let (body, size) = match facts.framing {
            BodyFraming::None => (Vec::new(), "0".to_owned()),
            BodyFraming::Length(length) => (vec![b'x'; length as usize], length.to_string()),
            BodyFraming::Chunked => (body, "?".to_owned()),
        };
        let bytes = [&head[..head_len], &body, LAST.as_bytes()].concat();
        let calls = served(&bytes, &limits);
        let uri: http::Uri = str::from_utf8(&head[facts.target.clone()]).unwrap().parse().unwrap();
        let expected = format!("{} {uri} {size} ", str::from_utf8(&head[facts.method.clone()]).unwrap());
        prop_assert!(calls[0].starts_with(&expected), "{:?} is not {expected:?}", calls[0]);
        prop_assert!(!calls[0].contains("failed"), "{:?}", calls[0]);
        if head[facts.target.start] == b'/' {
            prop_assert_eq!(uri.path_and_query().unwrap().as_str().as_bytes(), &head[facts.target.clone()]);
        }
        // The next request was found exactly behind the body, unless the connection had to end.
        if facts.keep_alive && head[facts.method.clone()] != *b"CONNECT" {
            prop_assert_eq!(calls.get(1).map(String::as_str), Some("GET /last 0 "));
        }
    }
}
