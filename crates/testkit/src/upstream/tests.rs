//! The stub against the raw client.

use serde_json::json;

use super::*;
use crate::ports::free_port;
use crate::tokens::sha256_hex;
use crate::wire::{Conn, Framing, ReadError, chunked, get, request, send, try_send};

#[test]
fn a_request_is_recorded_as_it_came_and_echoed() {
    let upstream = Upstream::start();
    let bytes = request("POST", "/a/../b?c=%2f", &[("X-Two", "1"), ("x-two", " 2")], b"hello");
    let answer = send(upstream.address(), &bytes);
    let recorded = upstream.only_request();
    assert_eq!(recorded.head.raw, bytes.strip_suffix(b"hello").unwrap());
    assert_eq!(recorded.head.header_values("X-TWO"), ["1", "2"]);
    assert_eq!(
        (recorded.body_length, recorded.body_start.as_slice(), recorded.complete),
        (5, b"hello".as_slice(), true)
    );
    assert_eq!(recorded.body_sha256, sha256_hex(b"hello"));
    let echo = answer.json();
    assert_eq!((answer.status(), answer.header("content-type")), (200, Some("application/json")));
    assert_eq!((&echo["method"], &echo["target"]), (&json!("POST"), &json!("/a/../b?c=%2f")));
    assert_eq!(echo["headers"][1], json!(["X-Two", "1"]));
    assert_eq!((&echo["body_length"], &echo["body_sha256"]), (&json!(5), &json!(recorded.body_sha256)));
    assert_eq!(upstream.malformed(), <[String; 0]>::default());
    assert_eq!(upstream.url(), format!("http://{}", upstream.address()));
}

#[test]
fn a_chunked_body_and_its_trailers_are_read_and_a_long_one_is_not_kept() {
    let upstream = Upstream::start();
    let body = vec![b'y'; 200_000];
    let mut coded = chunked(&[&body, b"z"]);
    coded.truncate(coded.len() - 2);
    coded.extend_from_slice(b"Sum: 1\r\n\r\n");
    send(upstream.address(), request("PUT", "/", &[("Transfer-Encoding", "chunked")], &coded));
    let recorded = upstream.only_request();
    assert_eq!(recorded.body_length, 200_001);
    assert_eq!(recorded.body_sha256, sha256_hex(&[body.as_slice(), b"z"].concat()));
    assert_eq!(recorded.body_start.len(), 64 * 1024);
    assert_eq!(recorded.trailers, [("Sum".to_owned(), "1".to_owned())]);
}

#[test]
fn connections_are_kept_and_counted() {
    let upstream = Upstream::start();
    let mut connection = Conn::open(upstream.address());
    // Pipelined.
    connection.send([request("GET", "/0", &[], b""), request("GET", "/1", &[], b"")].concat());
    assert_eq!(connection.answer().json()["place"], 0);
    assert_eq!(connection.answer().json()["place"], 1);
    get(upstream.address(), "/2", &[("Connection", "Close")]);
    let places: Vec<_> =
        upstream.requests().iter().map(|request| (request.head.connection, request.head.place)).collect();
    assert_eq!(places, [(0, 0), (0, 1), (1, 0)]);
    assert_eq!(upstream.connections(), 2);
    upstream.wait_for_open_connections(1);
    upstream.close_connections();
    assert!(connection.closed_within(PATIENCE));
    upstream.wait_for_open_connections(0);
    assert_eq!(get(upstream.address(), "/3", &[]).status(), 200, "it goes on accepting");
}

#[test]
fn replies_are_chosen_by_the_head() {
    let upstream = Upstream::choosing(|head| match head.target.as_str() {
        "/missing" => Reply::status(404).header("x-why", "missing"),
        "/empty" => Reply::status(204),
        "/huge" => Reply::huge(3_000_000),
        "/drip" => Reply::drip(&[b"ab", b"", b"c"], Duration::from_millis(1)),
        _ => Reply::bytes("ok").with_status(201).after(Duration::from_millis(1)),
    });
    let mut connection = Conn::open(upstream.address());
    let mut check = |target: &str, status: u16, length: usize, framing: Framing| {
        connection.send(request("GET", target, &[], b""));
        let answer = connection.answer();
        assert_eq!((answer.status(), answer.body.len(), answer.framing), (status, length, framing), "{target}");
        connection.send(request("HEAD", target, &[], b""));
        assert_eq!(connection.answer_without_body().status(), status, "HEAD {target}");
    };
    check("/missing", 404, 0, Framing::Length(0));
    check("/empty", 204, 0, Framing::None);
    check("/huge", 200, 3_000_000, Framing::Length(3_000_000));
    check("/drip", 200, 3, Framing::Chunked);
    check("/", 201, 2, Framing::Length(2));
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn a_connection_ends_as_the_reply_says() {
    let check = |reply: Reply, announced: Option<&str>| {
        let upstream = Upstream::replying(reply);
        let mut connection = Conn::open(upstream.address());
        connection.send(request("GET", "/", &[], b""));
        let answer = connection.answer();
        assert_eq!((answer.status(), answer.header("connection")), (200, announced));
        assert!(connection.closed_within(PATIENCE));
    };
    check(Reply::echo().then_close(), Some("close"));
    check(Reply::echo().then_close_silently(), None);
    check(Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"), None);
}

#[test]
fn bad_replies_are_as_bad_as_told() {
    let answer = |reply: Reply| try_send(Upstream::replying(reply).address(), request("GET", "/", &[], b""));
    assert!(matches!(answer(Reply::raw("")), Err(ReadError::Closed)));
    assert!(matches!(answer(Reply::raw("").then_reset()), Err(ReadError::Closed)));
    assert!(matches!(answer(Reply::raw("garbage\r\n\r\n")), Err(ReadError::Malformed(_))));
    assert!(matches!(answer(Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab")), Err(ReadError::CutOff(_))));
}

#[test]
fn a_hanging_reply_ends_with_either_side() {
    let upstream = Upstream::replying(Reply::hang());
    let mut connection = Conn::open(upstream.address()).with_patience(Duration::from_millis(20));
    connection.send(request("GET", "/", &[], b""));
    upstream.wait_for_requests(1);
    assert!(matches!(connection.try_answer(), Err(ReadError::TimedOut(_))));
    assert_eq!(upstream.open_connections(), 1);
    drop(connection);
    upstream.wait_for_open_connections(0);

    let mut other = Conn::open(upstream.address());
    other.send(request("GET", "/", &[], b""));
    upstream.wait_for_requests(2);
    drop(upstream);
    assert!(other.closed_within(PATIENCE));
}

#[test]
fn a_reply_can_come_before_the_body_and_after_100_continue() {
    let upstream = Upstream::choosing(|head| match head.target.as_str() {
        "/early" => Reply::status(413).before_the_body(),
        _ => Reply::echo(),
    });
    let mut connection = Conn::open(upstream.address());
    connection.send("POST /early HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n");
    assert_eq!(connection.answer().status(), 413);
    assert!(!upstream.only_request().complete);

    let mut connection = Conn::open(upstream.address());
    connection.send("POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n");
    assert_eq!(connection.try_head().unwrap().status, 100);
    connection.send("ab");
    assert_eq!(connection.answer().json()["body_length"], 2);
}

#[test]
fn a_request_that_is_cut_off_is_recorded_as_such() {
    let upstream = Upstream::start();
    let mut connection = Conn::open(upstream.address());
    connection.send("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nabc");
    drop(connection);
    let [request] = <[_; 1]>::try_from(upstream.wait_for_requests(1)).unwrap();
    assert_eq!((request.body_length, request.complete), (3, false));
}

#[test]
fn what_is_no_request_is_kept_apart() {
    for bytes in [
        "GET /\r\n\r\n",
        "GET / HTTP/2.0\r\n\r\n",
        "GET / HTTP/1.1\r\nbad header\r\n\r\n",
        "POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        "GET / HTTP/1.1\r\nhost",
    ] {
        let upstream = Upstream::start();
        let mut connection = Conn::open(upstream.address());
        connection.send(bytes);
        connection.finish_sending();
        assert!(connection.closed_within(PATIENCE), "{bytes:?}");
        assert_eq!((upstream.malformed().len(), upstream.requests().len()), (1, 0), "{bytes:?}");
    }
}

#[test]
fn it_can_come_back_on_its_address() {
    // A port of the test's own: one that the kernel chose could be given away meanwhile.
    let address = (Ipv4Addr::LOCALHOST, free_port()).into();
    let upstream = Upstream::choosing_on(address, |_| Reply::echo());
    get(upstream.address(), "/", &[]);
    drop(upstream);
    assert!(TcpStream::connect(address).is_err());
    let upstream = Upstream::choosing_on(address, |_| Reply::status(503));
    assert_eq!(get(upstream.address(), "/", &[]).status(), 503);
}

#[test]
fn a_reply_waits_until_it_is_told_to_go_on() {
    let upstream = Upstream::choosing(|head| match head.target.as_str() {
        "/drip" => Reply::drip(&[b"first", b"second"], Duration::ZERO).when_told(),
        _ => Reply::echo().when_told(),
    });
    let mut whole = Conn::open(upstream.address());
    whole.send(request("GET", "/", &[], b""));
    let mut dripping = Conn::open(upstream.address());
    dripping.send(request("GET", "/drip", &[], b""));
    assert_eq!(dripping.try_head().unwrap().status, 200);
    let mut body = dripping.next_bytes().unwrap();
    upstream.wait_for_requests(2);
    assert!(!String::from_utf8_lossy(&body).contains("second"));
    upstream.go_on();
    assert_eq!(whole.answer().status(), 200);
    while !body.ends_with(b"0\r\n\r\n") {
        body.extend(dripping.next_bytes().unwrap());
    }
    assert!(String::from_utf8_lossy(&body).contains("second"));
    // From then on nothing waits.
    assert_eq!(get(upstream.address(), "/", &[]).status(), 200);
}

#[test]
fn a_reply_that_nobody_tells_to_go_on_holds_no_test_up() {
    let upstream = Upstream::replying(Reply::echo().when_told());
    let mut waiting = Conn::open(upstream.address());
    waiting.send(request("GET", "/", &[], b""));
    upstream.wait_for_requests(1);
    drop(upstream);
    assert!(waiting.try_answer().is_err());
}
