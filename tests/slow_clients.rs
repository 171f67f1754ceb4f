//! Clients that say nothing, or too little: their connections end, and others do not wait for them.

use std::time::Duration;

use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wait::{self, PATIENCE};
use portcullis_testkit::wire::{self, Conn, request};

use crate::harness::{Gateway, Site, of_kind};

/// Only of what the test is about: on a busy machine a client may pause where it means not to.
fn impatient(upstream: &Upstream, timeout: &str) -> Gateway {
    let mut site = Site::new(&upstream.url());
    site.add(&format!("[limits]\n{timeout} = \"300ms\"\n"));
    site.start()
}

#[test]
fn a_connection_that_never_says_a_byte_is_closed_without_a_word_or_an_event() {
    let upstream = Upstream::start();
    let gateway = impatient(&upstream, "first_byte_timeout");
    let mut silent: Vec<Conn> = (0..50).map(|_| gateway.conn()).collect();
    let served = || {
        let answer = wire::try_send(gateway.address, request("GET", "/meanwhile", &[], b"")).ok()?;
        Some(answer.status())
    };
    assert_eq!(wait::until(PATIENCE, served), Some(200));
    for connection in &mut silent {
        assert!(connection.closed_within(PATIENCE));
        assert!(connection.next_bytes().unwrap().is_empty(), "nothing was asked, so nothing is answered");
    }
    assert!(of_kind(&gateway.stop(), "access.denied").is_empty());
}

#[test]
fn a_head_that_does_not_end_gets_408_and_an_event() {
    let upstream = Upstream::start();
    let gateway = impatient(&upstream, "header_timeout");
    let parts = ["G", "GET /slow", "GET /slow HTTP/1.1\r\n", "GET /slow HTTP/1.1\r\nhost: a\r\nx: y\r\n"];
    let mut connections: Vec<Conn> = parts
        .iter()
        .map(|part| {
            let mut connection = gateway.conn();
            connection.send(part);
            connection
        })
        .collect();
    for (part, connection) in parts.iter().zip(&mut connections) {
        let answer = connection.answer();
        let event = gateway.check_refused(part, &answer, 408, "request.timeout");
        assert_eq!(event["decision"], "deny");
        assert!(connection.closed_within(PATIENCE), "{part}");
    }
    assert_eq!(of_kind(&gateway.stop(), "access.denied").len(), parts.len());
}

#[test]
fn a_head_that_drips_in_gets_no_more_time_than_one_that_stops() {
    let upstream = Upstream::start();
    let gateway = impatient(&upstream, "header_timeout");
    let mut connection = gateway.conn();
    // It would take a minute.
    let mut bytes = b"GET / HTTP/1.1\r\nhost: a\r\nx-drip: ".iter().chain(&[b'a'; 2_000]);
    let given_up =
        bytes.any(|byte| connection.try_send([*byte]).is_err() || connection.closed_within(Duration::from_millis(30)));
    assert!(given_up, "each byte renewed the deadline");
    assert_eq!(connection.answer().status(), 408);
    assert!(upstream.requests().is_empty());
}

#[test]
fn an_idle_connection_ends_quietly_between_two_requests() {
    let upstream = Upstream::start();
    let gateway = impatient(&upstream, "keep_alive_timeout");
    let mut connection = gateway.conn();
    connection.send(request("GET", "/", &[], b""));
    assert_eq!(connection.answer().status(), 200);
    assert!(connection.closed_within(PATIENCE));
    assert!(connection.next_bytes().unwrap().is_empty());
    assert!(of_kind(&gateway.stop(), "access.denied").is_empty());
}

#[test]
fn a_body_that_stalls_gets_408_and_an_event() {
    let upstream = Upstream::start();
    let gateway = impatient(&upstream, "body_idle_timeout");
    for head in ["content-length: 10\r\n\r\nabc", "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"] {
        let mut connection = gateway.conn();
        connection.send(format!("POST /stalled HTTP/1.1\r\nhost: a\r\n{head}"));
        let answer = connection.answer();
        gateway.check_refused(head, &answer, 408, "request.timeout");
        assert!(connection.closed_within(PATIENCE));
    }
    assert!(upstream.requests().iter().all(|request| !request.complete));
    assert_eq!(of_kind(&gateway.stop(), "access.denied").len(), 2);
}
