//! How large bodies may be: refused where they announce it, cut where they grow, and nothing of it at the upstream that could be
//! taken for a whole.

use std::time::Duration;

use portcullis_testkit::upstream::{Reply, Upstream};
use portcullis_testkit::wait::PATIENCE;
use portcullis_testkit::wire::{Answer, chunked, request};
use serde_json::json;

use crate::harness::{Gateway, Site, of_kind};

fn limited(upstream: &Upstream, limits: &str) -> Gateway {
    let mut site = Site::without_route(&upstream.url());
    site.add(&format!("[[route]]\nname = \"app\"\nupstream = \"app\"\n{limits}\n"));
    site.start()
}

/// A POST with a chunked body, without any trailer fields.
fn post_chunked(pieces: &[&[u8]]) -> Vec<u8> {
    let head = b"POST /up HTTP/1.1\r\nhost: app.test\r\ntransfer-encoding: chunked\r\n\r\n".as_slice();
    [head, &chunked(pieces)].concat()
}

#[track_caller]
fn check_too_large(gateway: &Gateway, what: &str, answer: &Answer, forwarded: bool) {
    let event = gateway.check_refused(what, answer, 413, "request.too_large");
    assert_eq!((&event["decision"], &event["upstream"]["forwarded"]), (&json!("deny"), &json!(forwarded)), "{what}");
    let message = event["message"].as_str().unwrap();
    assert!(message.contains("1024 bytes of `max_request_body`"), "{what}: {message}");
    assert_eq!(answer.header("connection"), Some("close"), "{what}");
}

#[test]
fn a_request_that_announces_too_much_is_refused_before_the_upstream_hears_of_it() {
    let upstream = Upstream::start();
    let gateway = limited(&upstream, "max_request_body = \"1KiB\"");
    let post = |length: usize| gateway.send(request("POST", "/up", &[], &vec![b'x'; length]));
    assert_eq!(post(1_024).status(), 200);
    assert_eq!(upstream.only_request().body_length, 1_024);
    for length in [1_025, 64 * 1_024] {
        check_too_large(&gateway, "announced", &post(length), false);
    }
    // A caller that asks first is told at once, and sends nothing.
    let mut asking = gateway.conn();
    asking.send("POST /up HTTP/1.1\r\nhost: app.test\r\ncontent-length: 1025\r\nexpect: 100-continue\r\n\r\n");
    check_too_large(&gateway, "asked first", &asking.answer(), false);
    assert!(asking.closed_within(PATIENCE));
    assert_eq!((upstream.requests().len(), upstream.malformed()), (1, Vec::<String>::new()));
}

#[test]
fn a_request_that_grows_too_large_is_cut_and_refused() {
    let upstream = Upstream::start();
    let gateway = limited(&upstream, "max_request_body = \"1KiB\"");
    let half = [b'x'; 512].as_slice();
    assert_eq!(gateway.send(post_chunked(&[half, half])).status(), 200);
    check_too_large(&gateway, "one byte", &gateway.send(post_chunked(&[half, half, b"x"])), true);
    check_too_large(&gateway, "one chunk", &gateway.send(post_chunked(&[&[b'x'; 1_025]])), true);
    // What follows on the connection is never taken for a request.
    let mut connection = gateway.conn();
    let smuggled = request("GET", "/smuggled", &[], b"");
    let _ = connection.try_send(post_chunked(&[&[b'x'; 2_048], &smuggled]));
    check_too_large(&gateway, "with more behind it", &connection.answer(), true);
    assert!(connection.closed_within(PATIENCE));
    let whole: Vec<_> = upstream.requests().into_iter().filter(|request| request.complete).collect();
    assert_eq!(whole.len(), 1, "only what was permitted arrived as a whole: {whole:?}");
    let events = gateway.stop();
    assert!(events.iter().all(|event| event["request"]["path"] != "/smuggled"));
}

#[test]
fn an_answer_that_had_begun_breaks_off_with_an_event() {
    let pieces = [b"piece".as_slice(); 10_000];
    let upstream = Upstream::replying(Reply::drip(&pieces, Duration::from_millis(20)).before_the_body());
    let gateway = limited(&upstream, "max_request_body = \"1KiB\"");
    let mut connection = gateway.conn();
    connection.send("POST /up HTTP/1.1\r\nhost: app.test\r\ntransfer-encoding: chunked\r\n\r\n");
    connection.send(b"10\r\n0123456789abcdef\r\n");
    let head = connection.try_head().unwrap();
    assert_eq!(head.status, 200);
    let id = head.header("x-request-id").unwrap().to_owned();
    let mut large = b"800\r\n".to_vec();
    large.extend([b'x'; 0x800]);
    let _ = connection.try_send(large);
    let event = gateway.events.wait_for_request(&id);
    assert_eq!((&event["reason"], &event["status"]), (&json!("request.too_large"), &json!(200)), "{event:#}");
    assert!(connection.closed_within(PATIENCE), "the answer does not end as if it were whole");
    assert_eq!(of_kind(&gateway.stop(), "access.denied").len(), 1);
}

#[test]
fn an_answer_over_its_limit_is_refused_or_breaks_off() {
    let upstream = Upstream::choosing(|head| match head.target.as_str() {
        "/exact" => Reply::bytes(vec![b'x'; 1_024]),
        "/announced" => Reply::bytes(vec![b'x'; 1_025]),
        // The head goes out before the limit is met.
        "/grown" => Reply::drip(&[&[b'x'; 1_000], &[b'y'; 25]], Duration::ZERO).when_told(),
        _ => Reply::drip(&[&[b'x'; 1_000], &[b'y'; 24]], Duration::ZERO),
    });
    let gateway = limited(&upstream, "max_response_body = \"1KiB\"");
    for target in ["/exact", "/chunked"] {
        let answer = gateway.get(target, &[]);
        assert_eq!((answer.status(), answer.body.len()), (200, 1_024), "{target}");
    }
    let event = gateway.check_refused("announced", &gateway.get("/announced", &[]), 502, "upstream.protocol");
    let message = "the answer's body is larger than the 1024 bytes of `max_response_body`";
    assert_eq!(event["message"], message);
    assert_eq!(event["upstream"]["forwarded"], true);
    let mut asking = gateway.conn();
    asking.send(request("HEAD", "/announced", &[], b""));
    assert_eq!(asking.answer_without_body().status(), 200, "the answer to a HEAD has no body");
    let mut connection = gateway.conn();
    connection.send(request("GET", "/grown", &[], b""));
    let head = connection.try_head().unwrap();
    upstream.go_on();
    let event = gateway.events.wait_for_request(head.header("x-request-id").unwrap());
    let expected = (&json!("upstream.protocol"), &json!(200), &json!(message));
    assert_eq!((&event["reason"], &event["status"], &event["message"]), expected);
    assert!(connection.closed_within(PATIENCE));
    assert_eq!(of_kind(&gateway.stop(), "access.denied").len(), 2);
}
