//! A refused request's body is never the next request, and a body that breaks its framing is never a whole request.

use std::time::Duration;

use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wait::PATIENCE;
use portcullis_testkit::wire::{Conn, chunked, request};

use crate::harness::{Gateway, NO_BANS, Site};

const SMUGGLED: &[u8] = b"GET /smuggled HTTP/1.1\r\nhost: gateway.test\r\n\r\n";

/// GET is permitted everywhere but below `/closed`; `/known/**` demands a credential.
const POLICY: &str = r#"
[[resource]]
route = "app"
authentication = "none"
[[role]]
name = "all"
permissions = [{ actions = ["GET,PUT /**"], not_actions = ["* /closed/**"] }]
[[assignment]]
name = "all"
role = "all"
principals = ["anyone"]
scope = "*"
"#;

fn site(upstream: &Upstream) -> Gateway {
    let mut site = Site::new(&upstream.url());
    site.add("[[route]]\nname = \"known\"\npaths = [\"/known/**\"]\nupstream = \"app\"\n");
    site.add("[limits]\nbody_idle_timeout = \"500ms\"\n");
    site.policy(&[POLICY, NO_BANS].concat());
    site.start()
}

/// What is refused for each stage of the stack, and with which status.
const REFUSED: [(&str, &str, u16); 5] = [
    ("POST", "/closed/x", 403),
    ("PUT", "/closed/x", 403),
    ("POST", "/known/x", 401),
    ("POST", "/a/../b", 400),
    ("POST", "//", 400),
];

#[test]
fn a_request_in_the_whole_body_of_a_refused_one_is_no_request() {
    let upstream = Upstream::start();
    let gateway = site(&upstream);
    for (method, target, status) in REFUSED {
        for bytes in [
            request(method, target, &[], SMUGGLED),
            request(method, target, &[("Transfer-Encoding", "chunked")], &chunked(&[SMUGGLED])),
        ] {
            let mut connection = Conn::open(gateway.address);
            connection.send(&bytes);
            assert_eq!(connection.answer().status(), status, "{method} {target}");
            let mut connection = connection.with_patience(Duration::from_millis(150));
            assert!(connection.try_answer().is_err(), "{method} {target}: the body was answered");
        }
    }
    assert_eq!(upstream.connections(), 0, "{:?}", upstream.requests());
}

#[test]
fn a_request_in_the_rest_of_a_refused_ones_body_is_no_request() {
    let upstream = Upstream::start();
    let gateway = site(&upstream);
    for (method, target, status) in REFUSED {
        for bytes in [
            request(method, target, &[("Content-Length", "100000")], SMUGGLED),
            request(method, target, &[("Content-Length", "100000")], b""),
            request(method, target, &[("Content-Length", "100000"), ("Expect", "100-continue")], b""),
            request(method, target, &[("Transfer-Encoding", "chunked")], b""),
            request(method, target, &[("Transfer-Encoding", "chunked")], b"10000\r\n"),
            request(method, target, &[("Transfer-Encoding", "chunked")], b"5\r\nhello\r\n"),
        ] {
            let what = String::from_utf8_lossy(&bytes).into_owned();
            let mut connection = gateway.conn();
            connection.send(&bytes);
            assert_eq!(connection.answer().status(), status, "{what}");
            drop(connection.try_send(SMUGGLED));
            assert!(connection.closed_within(PATIENCE), "{what}: the connection stays open");
            assert!(connection.try_answer().is_err(), "{what}: the body was answered");
        }
    }
    assert_eq!(upstream.connections(), 0, "{:?}", upstream.requests());
}

#[test]
fn a_connection_that_stays_open_after_a_refusal_goes_on_behind_the_body() {
    let upstream = Upstream::start();
    let gateway = site(&upstream);
    for body in [
        request("POST", "/closed/x", &[], SMUGGLED),
        request("POST", "/closed/x", &[("Transfer-Encoding", "chunked")], &chunked(&[SMUGGLED])),
    ] {
        let mut connection = Conn::open(gateway.address);
        connection.send(&body);
        assert_eq!(connection.answer().status(), 403);
        // Closed or drained: both are right; but if it is open, the next answer is the next request's.
        if connection.try_send(request("GET", "/honest", &[], b"")).is_ok()
            && let Ok(answer) = connection.try_answer()
        {
            assert_eq!(answer.json()["target"], "/honest");
        }
    }
    assert!(upstream.requests().iter().all(|request| request.head.target == "/honest"), "{:?}", upstream.requests());
}

#[test]
fn a_refusal_without_a_body_keeps_the_connection() {
    let upstream = Upstream::start();
    let gateway = site(&upstream);
    let mut connection = gateway.conn();
    for _ in 0..3 {
        connection.send(request("GET", "/closed/x", &[], b""));
        assert_eq!(connection.answer().status(), 403);
        connection.send(request("GET", "/open", &[], b""));
        assert_eq!(connection.answer().status(), 200);
    }
}

#[test]
fn a_body_that_breaks_its_framing_is_refused_and_never_whole() {
    let upstream = Upstream::start();
    let gateway = site(&upstream);
    for body in [
        "x\r\n",
        "-1\r\n",
        "5;\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "05 \r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "11111111111111111\r\nhello",
        "5\r\nhello\r\n0\r\nbad trailer\r\n\r\n",
        "5\r\nhello\r\n0\r\nx: y\n\r\n",
    ] {
        let mut connection = gateway.conn();
        connection.send(request("PUT", "/chunks", &[("Transfer-Encoding", "chunked")], body.as_bytes()));
        let answer = connection.answer();
        gateway.check_refused(body, &answer, 400, "request.malformed");
        assert!(connection.closed_within(PATIENCE), "{body:?}");
    }
    assert!(upstream.requests().iter().all(|request| !request.complete), "{:?}", upstream.requests());
}

#[test]
fn a_refusal_in_a_pipeline_keeps_its_place() {
    let upstream = Upstream::start();
    let gateway = site(&upstream);
    let mut connection = gateway.conn();
    let refused = request("GET", "/closed/x", &[], b"");
    let sound = |target: &str| request("GET", target, &[], b"");
    connection.send(
        [sound("/1"), refused.clone(), sound("/2"), refused, sound("/3"), sound("//"), SMUGGLED.to_vec()].concat(),
    );
    for expected in ["/1", "403", "/2", "403", "/3", "400"] {
        let answer = connection.answer();
        match expected.parse::<u16>() {
            Ok(status) => assert_eq!(answer.status(), status),
            Err(_) => assert_eq!(answer.json()["target"], expected),
        }
    }
    assert!(connection.closed_within(PATIENCE), "what follows a malformed request is in doubt");
    assert!(connection.try_answer().is_err());
    let seen: Vec<_> = upstream.requests().into_iter().map(|request| request.head.target).collect();
    assert_eq!(seen, ["/1", "/2", "/3"]);
}

#[test]
fn a_refusal_of_head_has_no_body() {
    let upstream = Upstream::start();
    let gateway = site(&upstream);
    let mut connection = gateway.conn();
    for _ in 0..2 {
        connection.send(request("HEAD", "/closed/x", &[], b""));
        let answer = connection.answer_without_body();
        assert_eq!((answer.status(), answer.header("content-type")), (403, Some("application/problem+json")));
        gateway.events.wait_for_request(answer.header("x-request-id").unwrap());
    }
    connection.send(request("GET", "/open", &[], b""));
    assert_eq!(connection.answer().json()["target"], "/open", "a body was sent after the answer to HEAD");
}
