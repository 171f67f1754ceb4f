//! Bodies and framing, both ways. The paths are in `paths`, the header fields in `headers`.

use std::thread;
use std::time::Duration;

use portcullis_testkit::tokens::sha256_hex;
use portcullis_testkit::upstream::{Reply, Upstream};
use portcullis_testkit::wait::PATIENCE;
use portcullis_testkit::wire::{Framing, chunked, request};

use crate::harness::Site;

#[test]
fn a_request_body_arrives_whole_in_every_framing() {
    let upstream = Upstream::start();
    let gateway = Site::new(&upstream.url()).start();
    let long = vec![b'z'; 100_000];
    let check = |method: &str, headers: &[(&str, &str)], coded: &[u8], body: &[u8]| {
        let answer = gateway.send(request(method, "/b", headers, coded));
        let echo = answer.json();
        assert_eq!(answer.status(), 200, "{method} {headers:?}");
        assert_eq!(echo["method"], method);
        assert_eq!(echo["body_length"], body.len(), "{method} {headers:?}");
        assert_eq!(echo["body_sha256"], sha256_hex(body), "{method} {headers:?}");
    };
    let coding = [("Transfer-Encoding", "chunked")];
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        check(method, &[], b"", b"");
        check(method, &[("Content-Length", "0")], b"", b"");
        check(method, &[], b"hello", b"hello");
        check(method, &coding, &chunked(&[b"he", b"llo"]), b"hello");
    }
    check("POST", &[], &long, &long);
    check("POST", &coding, &chunked(&[&long, b"1", &long]), &[&long, &b"1"[..], &long].concat());
    check("PUT", &coding, &chunked(&[]), b"");
    check("PUT", &coding, b"5;a=b;c=\"d\"\r\nhello\r\n0\r\nTrailer-Field: dropped\r\n\r\n", b"hello");
    for request in upstream.requests() {
        assert!(request.complete);
        let framings =
            request.head.header_values("content-length").len() + request.head.header_values("transfer-encoding").len();
        assert!(framings <= 1, "{:?}", request.head.headers);
        assert!(request.trailers.is_empty(), "trailers are not passed on: {:?}", request.trailers);
    }
    assert!(upstream.malformed().is_empty(), "{:?}", upstream.malformed());
}

#[test]
fn an_answer_arrives_whole_in_every_framing() {
    let replies = |target: &str| match target {
        "/length" => Reply::bytes("hello"),
        "/empty" => Reply::bytes(""),
        "/chunked" => Reply::drip(&[b"he", b"llo"], Duration::from_millis(2)),
        "/until-close" => Reply::raw("HTTP/1.1 200 OK\r\n\r\nhello"),
        "/http-1.0" => Reply::raw("HTTP/1.0 200 OK\r\n\r\nhello"),
        "/no-content" => Reply::status(204),
        "/not-modified" => Reply::status(304).header("etag", "\"1\""),
        "/teapot" => Reply::bytes("short and stout").with_status(418),
        "/error" => Reply::bytes("its own").with_status(500),
        "/interim" => Reply::raw(
            "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        ),
        other => Reply::bytes(other),
    };
    let upstream = Upstream::choosing(move |head| replies(&head.target));
    let gateway = Site::new(&upstream.url()).start();
    let check = |target: &str, status: u16, body: &str| {
        let answer = gateway.get(target, &[]);
        assert_eq!((answer.status(), answer.text()), (status, body), "{target}");
        assert!(answer.header("x-request-id").is_some(), "{target}");
        answer
    };
    assert_eq!(check("/length", 200, "hello").framing, Framing::Length(5));
    check("/empty", 200, "");
    assert_eq!(check("/chunked", 200, "hello").framing, Framing::Chunked);
    check("/until-close", 200, "hello");
    check("/http-1.0", 200, "hello");
    assert_eq!(check("/no-content", 204, "").header("content-length"), None);
    assert_eq!(check("/not-modified", 304, "").header("etag"), Some("\"1\""));
    check("/teapot", 418, "short and stout");
    check("/error", 500, "its own");
    check("/interim", 200, "hello");
    assert!(gateway.stop().iter().all(|event| event["kind"] != "access.denied"), "an upstream's answer is no refusal");
}

#[test]
fn head_has_the_length_and_no_body() {
    let upstream = Upstream::replying(Reply::bytes("hello"));
    let gateway = Site::new(&upstream.url()).start();
    let mut connection = gateway.conn();
    for _ in 0..2 {
        connection.send(request("HEAD", "/h", &[], b""));
        let answer = connection.answer_without_body();
        assert_eq!((answer.status(), answer.header("content-length")), (200, Some("5")));
    }
    connection.send(request("GET", "/h", &[], b""));
    assert_eq!(connection.answer().text(), "hello", "nothing was left over of the answers to HEAD");
}

#[test]
fn ten_mebibytes_stream_through_both_ways() {
    const LENGTH: usize = 10 << 20;
    let upstream = Upstream::choosing(|head| match head.method.as_str() {
        "GET" => Reply::huge(LENGTH as u64),
        _ => Reply::echo(),
    });
    let gateway = Site::new(&upstream.url()).start();
    let body: Vec<u8> = (0..LENGTH).map(|index| (index % 251) as u8).collect();
    let digest = sha256_hex(&body);
    thread::scope(|scope| {
        scope.spawn(|| assert_eq!(gateway.send(request("POST", "/", &[], &body)).json()["body_sha256"], digest));
        scope.spawn(|| {
            let pieces: Vec<&[u8]> = body.chunks(60_001).collect();
            let coded = request("PUT", "/", &[("Transfer-Encoding", "chunked")], &chunked(&pieces));
            assert_eq!(gateway.send(coded).json()["body_sha256"], digest);
        });
        scope.spawn(|| {
            let answer = gateway.get("/", &[]);
            assert_eq!(answer.body.len(), LENGTH);
            assert!(answer.body.iter().all(|byte| *byte == b'x'));
        });
    });
}

#[test]
fn an_answer_streams_before_it_has_ended() {
    let upstream = Upstream::replying(Reply::drip(&[b"first", b"second"], Duration::ZERO).when_told());
    let gateway = Site::new(&upstream.url()).start();
    let mut connection = gateway.conn();
    connection.send(request("GET", "/", &[], b""));
    assert_eq!(connection.try_head().unwrap().status, 200);
    let mut body = connection.next_bytes().unwrap();
    while !String::from_utf8_lossy(&body).contains("first") {
        let more = connection.next_bytes().expect("the first piece waits for the second");
        assert!(!more.is_empty(), "the answer ends: {body:?}");
        body.extend(more);
    }
}

#[test]
fn connections_are_reused_on_both_sides() {
    let upstream = Upstream::start();
    let gateway = Site::new(&upstream.url()).start();
    let mut connection = gateway.conn();
    for place in 0..20 {
        connection.send(request("POST", "/again", &[], b"body"));
        assert_eq!(connection.answer().json()["place"], place);
    }
    assert_eq!(upstream.connections(), 1);
    connection.send(request("GET", "/last", &[("Connection", "close")], b""));
    assert_eq!(connection.answer().header("connection"), Some("close"));
    assert!(connection.closed_within(PATIENCE));
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let upstream = Upstream::start();
    let gateway = Site::new(&upstream.url()).start();
    let mut connection = gateway.conn();
    let pipeline: Vec<u8> = (0..10)
        .flat_map(|number| match number % 3 {
            0 => request("GET", &format!("/{number}"), &[], b""),
            1 => request("POST", &format!("/{number}"), &[], b"with a body"),
            _ => request(
                "PUT",
                &format!("/{number}"),
                &[("Transfer-Encoding", "chunked")],
                &chunked(&[b"in ", b"pieces"]),
            ),
        })
        .collect();
    connection.send(pipeline);
    for number in 0..10 {
        assert_eq!(connection.answer().json()["target"], format!("/{number}"));
    }
}

#[test]
fn a_client_that_waits_for_100_continue_gets_it() {
    let upstream = Upstream::start();
    let gateway = Site::new(&upstream.url()).start();
    let mut connection = gateway.conn();
    connection.send("POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n");
    assert_eq!(connection.try_head().unwrap().status, 100);
    connection.send("ab");
    assert_eq!(connection.answer().json()["body_length"], 2);
    assert_eq!(upstream.only_request().header("expect"), None, "the expectation was met by the gateway");
}

#[test]
fn an_http_1_0_client_is_served() {
    let upstream = Upstream::start();
    let gateway = Site::new(&upstream.url()).start();
    let mut connection = gateway.conn();
    connection.send("GET /old HTTP/1.0\r\nhost: x\r\n\r\n");
    assert_eq!(connection.answer().status(), 200);
    assert!(connection.closed_within(PATIENCE), "without keep-alive it is one request");
    assert_eq!(upstream.only_request().head.version, "HTTP/1.1");
}
