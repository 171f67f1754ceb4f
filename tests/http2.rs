//! HTTP/2 on a listener: the same rules as over HTTP/1, one event for each refusal, and streams that end when they should.

use std::time::Duration;

use portcullis_testkit::http2::{Frame, Http2, PREFACE, block, flag, head, kind};
use portcullis_testkit::process::{Finished, Signal};
use portcullis_testkit::upstream::{Reply, Upstream};
use portcullis_testkit::wait::{self, PATIENCE};
use portcullis_testkit::wire::{self, request};
use serde_json::Value;

use crate::harness::{AUTHENTICATED, NO_BANS, Site, of_kind, tool};

/// The fields of a head, pseudo-header fields first.
type Fields<'f> = Vec<(&'f str, &'f str)>;

/// Codes of errors (RFC 9113 section 7).
const NO_ERROR: u32 = 0x0;
const PROTOCOL_ERROR: u32 = 0x1;
const INTERNAL_ERROR: u32 = 0x2;
const REFUSED_STREAM: u32 = 0x7;
const CANCEL: u32 = 0x8;

#[test]
fn a_request_reaches_the_upstream_as_over_http1_and_its_answer_the_caller() {
    let upstream = Upstream::start();
    let gateway = Site::new(&upstream.url()).start();
    let mut client = Http2::open(gateway.address);
    let fields = head(
        "POST",
        "/a%20b/c?d=e",
        &[("cookie", "a=1"), ("x-note", "n"), ("cookie", "b=2"), ("te", "trailers"), ("content-length", "5")],
    );
    let stream = client.request(&fields, false);
    client.data(stream, b"he", false);
    client.data(stream, b"llo", true);
    let answer = client.answer(stream);
    assert_eq!((answer.status(), answer.ended), (200, true), "{answer:?}");
    assert!(answer.header("date").is_some_and(|date| date.ends_with(" GMT")));
    assert_eq!(answer.header("connection"), None);
    assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()));
    let seen = &upstream.wait_for_requests(1)[0];
    assert_eq!((seen.head.method.as_str(), seen.head.target.as_str()), ("POST", "/a%20b/c?d=e"));
    assert_eq!(seen.head.version, "HTTP/1.1");
    assert_eq!((seen.header("host"), seen.header("content-length")), (Some("gateway.test"), Some("5")));
    assert_eq!((seen.header("cookie"), seen.header("x-note")), (Some("a=1; b=2"), Some("n")));
    assert_eq!((seen.header("te"), seen.header("transfer-encoding")), (None, None));
    assert_eq!(seen.body_start, b"hello");
    // On the same connection: no body, HEAD, and a body without a length.
    let answer = client.get("/again", &[]);
    assert_eq!(
        answer.json()["headers"].as_array().unwrap().iter().filter(|pair| pair[0] == "content-length").count(),
        0
    );
    let stream = client.request(&head("HEAD", "/", &[]), true);
    let answer = client.answer(stream);
    assert_eq!((answer.status(), answer.body.len()), (200, 0));
    assert!(answer.header("content-length").is_some_and(|length| length != "0"));
    let stream = client.request(&head("PUT", "/", &[]), false);
    client.data(stream, b"piece", true);
    assert_eq!(client.answer(stream).status(), 200);
    let seen = &upstream.wait_for_requests(4)[3];
    assert_eq!((seen.header("transfer-encoding"), seen.body_start.as_slice()), (Some("chunked"), b"piece".as_slice()));
}

#[test]
fn a_large_answer_and_a_large_upload_pass_whole_and_no_faster_than_they_are_taken() {
    const SIZE: usize = 3_000_000;
    let upstream = Upstream::choosing(|head| match head.target.as_str() {
        "/huge" => Reply::huge(SIZE as u64),
        _ => Reply::echo(),
    });
    let gateway = Site::new(&upstream.url()).start();
    let mut client = Http2::open(gateway.address);
    let answer = client.get("/huge", &[]);
    assert_eq!((answer.status(), answer.body.len(), answer.ended), (200, SIZE, true));
    // A window that is not opened holds the answer back, and another stream is not held up by it.
    client.opens_windows = false;
    let held = client.request(&head("GET", "/huge", &[]), true);
    let part = client.answer_until(held, PATIENCE, |answer| answer.body.len() >= 65_535);
    assert_eq!((part.body.len(), part.ended), (65_535, false));
    client.send(&Frame::new(kind::WINDOW_UPDATE, 0, 0, 1_000_000u32.to_be_bytes()));
    assert_eq!(client.get("/other", &[]).status(), 200);
    client.send(&Frame::new(kind::RST_STREAM, 0, held, CANCEL.to_be_bytes()));
    client.opens_windows = true;
    let stream = client.request(&head("POST", "/", &[]), false);
    client.upload(stream, &vec![b'u'; SIZE]);
    let answer = client.answer(stream);
    assert_eq!(answer.json()["body_length"], SIZE, "{answer:?}");
}

#[test]
fn a_refusal_has_its_problem_and_its_event_like_over_http1() {
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    let key = site.key("alice", "user:alice", "");
    let gateway = site.start();
    let mut client = Http2::open(gateway.address);
    let answer = client.get("/secret?x=1", &[("user-agent", "frames/2")]);
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let id = answer.header("x-request-id").unwrap();
    assert_eq!((&answer.json()["request_id"], &answer.json()["reason"]), (&id.into(), &"authn.missing".into()));
    let event = gateway.events.wait_for_request(id);
    assert_eq!((&event["request"]["http_version"], &event["request"]["path"]), (&"2".into(), &"/secret".into()));
    assert_eq!(
        (&event["request"]["host"], &event["request"]["user_agent"]),
        (&"gateway.test".into(), &"frames/2".into())
    );
    // The connection goes on.
    assert_eq!(client.get("/secret", &[("x-api-key", &key)]).status(), 200);
    assert_eq!(upstream.requests().len(), 1);
    assert_eq!(of_kind(&gateway.stop(), "access.denied").len(), 1);
}

#[test]
fn what_has_no_single_meaning_is_refused_with_a_reason_and_nobody_behind_sees_it() {
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    site.add("[limits]\nmax_header_fields = 20\nmax_header_bytes = \"8KiB\"\nmax_field_bytes = \"1KiB\"\nmax_uri_bytes = \"512B\"\n");
    let gateway = site.start();
    let mut client = Http2::open(gateway.address);
    let long = "a".repeat(600);
    let wide = "b".repeat(1_100);
    let field = "c".repeat(900);
    let pseudo = |method: &'static str, scheme: &'static str, authority: &'static str, path: &'static str| {
        vec![(":method", method), (":scheme", scheme), (":authority", authority), (":path", path)]
    };
    let with = |more: &[(&'static str, &'static str)]| [pseudo("GET", "http", "a.test", "/"), more.to_vec()].concat();
    let mut refused: Vec<(Fields<'_>, u16, &str)> = vec![
        (pseudo("GET", "http", "u@a.test", "/"), 400, "request.host_invalid"),
        (pseudo("GET", "http", "a..test", "/"), 400, "request.host_invalid"),
        (vec![(":method", "GET"), (":scheme", "http"), (":path", "/")], 400, "request.host_invalid"),
        (with(&[("host", "b.test")]), 400, "request.host_invalid"),
        (with(&[("host", "a.test"), ("host", "a.test")]), 400, "request.host_invalid"),
        (with(&[("host", "a.test:81")]), 400, "request.host_invalid"),
        (pseudo("GET", "ftp", "a.test", "/"), 400, "request.malformed"),
        (pseudo("GET", "http", "a.test", "*"), 400, "request.malformed"),
        (pseudo("OPTIONS", "http", "a.test", "*"), 400, "request.malformed"),
        (pseudo("GET", "http", "a.test", "/%2e%2e/admin"), 400, "request.path_ambiguous"),
        (pseudo("GET", "http", "a.test", "/a%2fb"), 400, "request.path_ambiguous"),
        (pseudo("GET", "http", "a.test", "/a\\b"), 400, "request.path_ambiguous"),
        (vec![(":method", "CONNECT"), (":authority", "a.test:443")], 400, "request.malformed"),
        (with(&[("x-a", " padded")]), 400, "request.malformed"),
        (with(&[("x-a", "padded\t")]), 400, "request.malformed"),
        (with(&[("content_length", "5")]), 400, "request.malformed"),
        (with(&[("transfer_encoding", "chunked")]), 400, "request.malformed"),
        (with(&[("expect", "200-ok")]), 417, "request.malformed"),
        (with(&[("x-wide", wide.leak())]), 431, "request.too_large"),
        (pseudo("GET", "http", "a.test", format!("/{long}").leak()), 414, "request.too_large"),
    ];
    let many: Vec<(&str, &str)> = (0..21).map(|index| (&*format!("x-{index}").leak(), "v")).collect();
    refused.push(([pseudo("GET", "http", "a.test", "/"), many].concat(), 431, "request.too_large"));
    let large: Vec<(&str, &str)> = (0..10).map(|index| (&*format!("y-{index}").leak(), field.as_str())).collect();
    refused.push(([pseudo("GET", "http", "a.test", "/"), large].concat(), 431, "request.too_large"));
    for (fields, status, reason) in &refused {
        let stream = client.request(fields, true);
        let answer = client.answer(stream);
        assert_eq!(answer.status(), *status, "{fields:?} {answer:?}");
        let problem = answer.json();
        assert_eq!(problem["reason"], *reason, "{fields:?}");
        let event = gateway.events.wait_for_request(problem["request_id"].as_str().unwrap());
        assert_eq!((&event["reason"], &event["status"]), (&Value::from(*reason), &Value::from(*status)), "{fields:?}");
        assert_eq!(event["request"]["http_version"], "2", "{fields:?}");
    }
    assert!(upstream.requests().is_empty());
    for fields in [with(&[("host", "A.test.")]), with(&[("host", "a.test:80")]), with(&[("expect", "100-continue")])] {
        let stream = client.request(&fields, true);
        assert_eq!(client.answer(stream).status(), 200, "{fields:?}");
    }
    let hosts: Vec<_> = upstream.requests().iter().map(|seen| seen.header("host").unwrap().to_owned()).collect();
    assert_eq!(hosts, ["a.test"; 3], "the authority is the one that was decided on");
    assert_eq!(of_kind(&gateway.stop(), "access.denied").len(), refused.len());
}

#[test]
fn what_is_malformed_in_http2s_own_terms_is_reset_and_has_its_event() {
    let upstream = Upstream::start();
    let gateway = Site::new(&upstream.url()).start();
    let get = [(":method", "GET"), (":scheme", "http"), (":authority", "a.test"), (":path", "/")];
    let with = |more: &[(&'static str, &'static str)]| [get.as_slice(), more].concat();
    let malformed: Vec<Fields<'_>> = vec![
        get[1..].to_vec(),
        vec![get[0], get[2], get[3]],
        get[..3].to_vec(),
        with(&[(":path", "/b")]),
        with(&[(":method", "PUT")]),
        [&[("x-a", "b")], get.as_slice()].concat(),
        with(&[(":status", "200")]),
        with(&[(":protocol", "websocket")]),
        with(&[("X-Upper", "a")]),
        with(&[("connection", "close")]),
        with(&[("transfer-encoding", "chunked")]),
        with(&[("upgrade", "websocket")]),
        with(&[("keep-alive", "1")]),
        with(&[("proxy-connection", "close")]),
        with(&[("te", "gzip")]),
        with(&[("content-length", "x")]),
        with(&[("content-length", "5")]),
        with(&[("content-length", "0"), ("content-length", "1")]),
        vec![get[0], get[1], get[2], (":path", "")],
        vec![get[0], get[1], get[2], (":path", "a")],
        vec![get[0], get[1], get[2], (":path", "http://a.test/")],
        vec![get[0], get[1], (":authority", "a b"), get[3]],
    ];
    for (index, fields) in malformed.iter().enumerate() {
        let mut client = Http2::open(gateway.address);
        let stream = client.request(fields, true);
        let answer = client.answer(stream);
        // A name in upper case is an error of the whole connection to h2, and may be (RFC 9113 section 5.4.1).
        let told = answer.reset.or(answer.goaway);
        assert_eq!((answer.status(), told), (0, Some(PROTOCOL_ERROR)), "{fields:?}: {answer:?}");
        let event = &gateway.refusals(index + 1)[index];
        assert_eq!((&event["reason"], &event["status"]), (&"request.malformed".into(), &Value::Null), "{event:#}");
        assert_eq!((&event["client"]["ip"], &event["request"]["http_version"]), (&"127.0.0.1".into(), &"2".into()));
        if !answer.closed {
            // The connection and its table of fields are as they were.
            assert_eq!(client.get("/", &[]).status(), 200, "{fields:?}");
        }
    }
    assert_eq!(upstream.requests().len(), malformed.len() - 1);
    assert_eq!(of_kind(&gateway.stop(), "access.denied").len(), malformed.len());
}

#[test]
fn values_that_no_field_can_hold_never_reach_the_upstream() {
    let upstream = Upstream::start();
    let gateway = Site::new(&upstream.url()).start();
    for (index, value) in [b"a\r\nb: c".as_slice(), b"a\nb", b"a\0b", b"\x7f"].iter().enumerate() {
        for name in ["x-a", ":path", ":authority", ":method", ":scheme", "cookie"] {
            let mut client = Http2::open(gateway.address);
            let mut fields: Vec<(&[u8], &[u8])> =
                vec![(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a.test"), (b":path", b"/")];
            fields.retain(|(given, _)| *given != name.as_bytes());
            let place = if name.starts_with(':') { 0 } else { fields.len() };
            fields.insert(place, (name.as_bytes(), value));
            let stream = client.request(&fields, true);
            let answer = client.answer(stream);
            let refused =
                answer.status() >= 400 || answer.reset.is_some() || answer.goaway.is_some_and(|code| code != 0);
            assert!(refused, "{index} {name}: {answer:?}");
        }
    }
    assert!(upstream.requests().is_empty());
    let events = gateway.stop();
    assert_eq!(of_kind(&events, "access.denied").len(), 24, "one for each");
}

#[test]
fn a_connection_that_breaks_the_protocol_is_closed_with_one_event() {
    let upstream = Upstream::start();
    let gateway = Site::new(&upstream.url()).start();
    let settings = Frame::new(kind::SETTINGS, 0, 0, []);
    let raw = |frame: Frame| [PREFACE, &settings.bytes(), &frame.bytes()].concat();
    let broken: Vec<(&str, Vec<u8>)> = vec![
        ("DATA on no stream", raw(Frame::new(kind::DATA, 0, 0, *b"x"))),
        ("HEADERS on no stream", raw(Frame::new(kind::HEADERS, flag::END_HEADERS, 0, [0x82]))),
        ("HEADERS on the server's stream", raw(Frame::new(kind::HEADERS, flag::END_HEADERS, 2, [0x82]))),
        (
            "a block that is no HPACK",
            raw(Frame::new(kind::HEADERS, flag::END_HEADERS, 1, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff])),
        ),
        ("a stray CONTINUATION", raw(Frame::new(kind::CONTINUATION, flag::END_HEADERS, 1, [0x82]))),
        ("a PING of 7 bytes", raw(Frame::new(kind::PING, 0, 0, [0; 7]))),
        ("SETTINGS of 5 bytes", raw(Frame::new(kind::SETTINGS, 0, 0, [0; 5]))),
        ("a WINDOW_UPDATE by 0", raw(Frame::new(kind::WINDOW_UPDATE, 0, 0, [0; 4]))),
        ("a frame over 16 KiB", raw(Frame::new(kind::DATA, 0, 1, vec![0; 20_000]))),
        ("an idle stream that is reset", raw(Frame::new(kind::RST_STREAM, 0, 9, [0; 4]))),
    ];
    for (index, (what, bytes)) in broken.iter().enumerate() {
        let mut client = Http2::silent(gateway.address);
        client.send_bytes(bytes);
        assert!(client.closed_within(PATIENCE), "{what}");
        assert!(client.goaway.is_some_and(|code| code != NO_ERROR), "{what}: {:?}", client.goaway);
        let events = gateway.refusals(index + 1);
        assert_eq!(events[index]["reason"], "request.malformed", "{what}");
    }
    assert!(upstream.requests().is_empty());
    assert_eq!(of_kind(&gateway.stop(), "access.denied").len(), broken.len());
}

#[test]
fn a_body_that_is_not_as_long_as_announced_is_refused() {
    let upstream = Upstream::start();
    let gateway = Site::new(&upstream.url()).start();
    for (index, (announced, sent)) in [("5", b"four".as_slice()), ("3", b"four")].iter().enumerate() {
        let mut client = Http2::open(gateway.address);
        let stream = client.request(&head("POST", "/", &[("content-length", announced)]), false);
        client.data(stream, sent, true);
        let answer = client.answer(stream);
        assert!(answer.status() == 400 || answer.reset == Some(PROTOCOL_ERROR), "{answer:?}");
        let events = gateway.refusals(index + 1);
        assert_eq!(events[index]["reason"], "request.malformed", "{:#}", events[index]);
    }
    assert_eq!(of_kind(&gateway.stop(), "access.denied").len(), 2);
    assert!(upstream.requests().iter().all(|seen| !seen.complete));
}

#[test]
fn clients_that_stall_are_given_up() {
    let upstream = Upstream::choosing(|head| match head.target.as_str() {
        "/huge" => Reply::huge(10_000_000),
        "/hang" => Reply::hang(),
        _ => Reply::echo(),
    });
    // Short is what a case is about, and nothing that it might be held up with.
    let limited = |limits: &str| {
        let mut site = Site::new(&upstream.url());
        site.add(&format!("[limits]\n{limits}"));
        site.start()
    };
    // Silent, or in the middle of the preface.
    let gateway = limited("first_byte_timeout = \"300ms\"\nheader_timeout = \"300ms\"\n");
    assert!(Http2::silent(gateway.address).closed_within(PATIENCE));
    let mut client = Http2::silent(gateway.address);
    client.send_bytes(&PREFACE[..20]);
    assert!(client.closed_within(PATIENCE));
    gateway.refusals(1);
    // In the middle of a head.
    let gateway = limited("header_timeout = \"300ms\"\n");
    let mut client = Http2::open(gateway.address);
    assert_eq!(client.get("/", &[]).status(), 200);
    client.send(&Frame::new(kind::HEADERS, 0, 3, [0x82]));
    assert!(client.closed_within(PATIENCE));
    assert_eq!(gateway.refusals(1)[0]["reason"], "request.timeout");
    // In the middle of a body.
    let gateway = limited("body_idle_timeout = \"300ms\"\n");
    let mut client = Http2::open(gateway.address);
    let stream = client.request(&head("POST", "/", &[("content-length", "9")]), false);
    client.data(stream, b"half", false);
    let answer = client.answer(stream);
    assert_eq!((answer.status(), &answer.json()["reason"]), (408, &"request.timeout".into()));
    // Taking nothing of an answer.
    client.opens_windows = false;
    let stream = client.request(&head("GET", "/huge", &[]), true);
    let answer = client.answer(stream);
    assert_eq!(answer.reset, Some(CANCEL), "{} bytes", answer.body.len());
    assert_eq!(gateway.refusals(1)[0]["reason"], "request.timeout");
    // Idle. The request comes with the preface: between the two, the connection would be idle, too.
    let gateway = limited("keep_alive_timeout = \"600ms\"\n");
    let asking = |path: &str| {
        let mut client = Http2::silent(gateway.address);
        let settings = Frame::new(kind::SETTINGS, 0, 0, []);
        let flags = flag::END_HEADERS | flag::END_STREAM;
        let asked = Frame::new(kind::HEADERS, flags, 1, block(&head("GET", path, &[])));
        client.send_bytes(&[PREFACE, &settings.bytes(), &asked.bytes()].concat());
        client
    };
    let mut client = asking("/");
    assert_eq!(client.answer(1).status(), 200);
    assert!(client.closed_within(PATIENCE));
    assert_eq!(client.goaway, Some(NO_ERROR));
    // Waiting for an answer is no stalling, as long as the client is there.
    let answer = asking("/hang").answer_until(1, Duration::from_secs(2), |answer| answer.closed);
    assert!(!answer.closed && answer.reset.is_none(), "{answer:?}");
    assert!(of_kind(&gateway.stop(), "access.denied").is_empty());
}

#[test]
fn a_stream_that_the_client_resets_ends_its_request_at_the_upstream() {
    let upstream = Upstream::choosing(|head| match head.target.as_str() {
        "/hang" => Reply::hang(),
        _ => Reply::drip(&[&b"tick"[..]; 2_000], Duration::from_millis(20)),
    });
    let gateway = Site::new(&upstream.url()).start();
    let mut client = Http2::open(gateway.address);
    let in_flight = |expected: f64| {
        let sum = || gateway.metric("http_server_active_requests");
        assert!(wait::until(PATIENCE, || (sum() == Some(expected)).then_some(())).is_some(), "{expected} {:?}", sum());
    };
    let hanging = client.request(&head("GET", "/hang", &[]), true);
    let dripping = client.request(&head("GET", "/drip", &[]), true);
    client.answer_until(dripping, PATIENCE, |answer| answer.body.len() > 8);
    in_flight(2.0);
    client.send(&Frame::new(kind::RST_STREAM, 0, hanging, CANCEL.to_be_bytes()));
    in_flight(1.0);
    // The connection's end ends the other.
    drop(client);
    in_flight(0.0);
    assert!(of_kind(&gateway.stop(), "access.denied").is_empty());
}

#[test]
fn an_answer_that_breaks_off_resets_its_stream_alone() {
    let upstream = Upstream::choosing(|head| match head.target.as_str() {
        "/cut" => Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this").then_close(),
        _ => Reply::echo(),
    });
    let gateway = Site::new(&upstream.url()).start();
    let mut client = Http2::open(gateway.address);
    let answer = client.get("/cut", &[]);
    assert_eq!((answer.status(), answer.ended, answer.reset), (200, false, Some(INTERNAL_ERROR)));
    assert_eq!(client.get("/", &[]).status(), 200);
}

#[test]
fn a_client_that_waits_is_told_to_send_its_body() {
    let upstream = Upstream::start();
    let gateway = Site::new(&upstream.url()).start();
    let mut client = Http2::open(gateway.address);
    let fields = head("POST", "/", &[("expect", "100-continue"), ("content-length", "5")]);
    let stream = client.request(&fields, false);
    let mut answer = client.answer_until(stream, PATIENCE, |answer| !answer.statuses.is_empty());
    assert_eq!(answer.statuses, [100]);
    client.data(stream, b"hello", true);
    client.read_on(&mut answer, stream, PATIENCE, |answer| answer.ended);
    assert_eq!(answer.statuses, [100, 200]);
    assert_eq!(upstream.wait_for_requests(1)[0].body_start, b"hello");
    // One who is refused is not asked for a body.
    let fields = head("POST", "/%2e%2e/", &[("expect", "100-continue"), ("content-length", "5")]);
    let stream = client.request(&fields, false);
    let answer = client.answer(stream);
    assert_eq!((answer.statuses.as_slice(), answer.ended), ([400].as_slice(), true));
}

#[test]
fn more_streams_than_the_limit_are_refused_and_told() {
    let upstream = Upstream::replying(Reply::hang());
    let mut site = Site::new(&upstream.url());
    site.add("[limits]\nhttp2_max_streams = 3\n");
    let gateway = site.start();
    let mut client = Http2::open(gateway.address);
    let streams: Vec<u32> = (0..5).map(|_| client.request(&head("GET", "/", &[]), true)).collect();
    let answer = client.answer(streams[3]);
    assert_eq!(answer.reset, Some(REFUSED_STREAM));
    assert!(client.settings.contains(&(3, 3)), "{:?}", client.settings);
    let events = gateway.refusals(2);
    assert!(events[0]["message"].as_str().unwrap().contains("`http2_max_streams`"), "{:#}", events[0]);
    assert_eq!(upstream.wait_for_requests(3).len(), 3);
}

#[test]
fn a_stream_ends_with_its_permission() {
    let upstream = Upstream::replying(Reply::drip(&[&b"tick"[..]; 2_000], Duration::from_millis(20)));
    let mut site = Site::new(&upstream.url());
    site.add("[limits]\nrecheck = \"1s\"\n");
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    let key = site.key("alice", "user:alice", "");
    let mut gateway = site.start();
    let mut client = Http2::open(gateway.address);
    let stream = client.request(&head("GET", "/", &[("x-api-key", &key)]), true);
    let begun = client.answer_until(stream, PATIENCE, |answer| answer.body.len() > 8);
    assert_eq!(begun.status(), 200);
    let deny =
        "\n[[deny]]\nname = \"alice-left\"\nprincipals = [\"user:alice\"]\nactions = [\"* /**\"]\nscope = \"*\"\n";
    gateway.site.policy(&[AUTHENTICATED, NO_BANS, deny].concat());
    gateway.reload("ok");
    let answer = client.answer(stream);
    assert_eq!((answer.ended, answer.reset), (false, Some(CANCEL)));
    assert_eq!(gateway.refusals(1)[0]["reason"], "session.terminated");
    assert_eq!(client.get("/", &[("x-api-key", &key)]).status(), 403, "the connection goes on");
}

#[test]
fn sigterm_ends_the_connection_and_not_the_requests_on_it() {
    let upstream = Upstream::choosing(|head| match head.target.as_str() {
        "/drip" => Reply::drip(&[&b"tick"[..]; 50], Duration::from_millis(20)),
        _ => Reply::echo(),
    });
    let mut gateway = Site::new(&upstream.url()).start();
    let mut client = Http2::open(gateway.address);
    let stream = client.request(&head("GET", "/drip", &[]), true);
    let mut answer = client.answer_until(stream, PATIENCE, |answer| answer.body.len() > 8);
    let mut idle = Http2::open(gateway.address);
    assert_eq!(idle.get("/", &[]).status(), 200);
    gateway.process.signal(Signal::Term);
    assert!(idle.closed_within(PATIENCE));
    assert_eq!(idle.goaway, Some(NO_ERROR));
    client.read_on(&mut answer, stream, PATIENCE, |answer| answer.ended);
    assert_eq!((answer.body.len(), answer.goaway), (200, Some(NO_ERROR)));
    assert!(client.closed_within(PATIENCE));
    assert_eq!(gateway.process.wait_exit(PATIENCE).code(), Some(0));
}

#[test]
fn a_slow_reader_has_its_whole_answer_also_when_the_gateway_goes() {
    const SIZE: usize = 1_500_000;
    let upstream = Upstream::choosing(|head| match head.target.as_str() {
        "/huge" => Reply::huge(SIZE as u64),
        _ => Reply::echo(),
    });
    let mut gateway = Site::new(&upstream.url()).start();
    let mut client = Http2::open(gateway.address);
    assert_eq!(client.get("/", &[]).status(), 200);
    client.receive_at_once(8 * 1024);
    let stream = client.request(&head("GET", "/huge", &[]), true);
    let mut answer = client.answer_until(stream, PATIENCE, |answer| answer.body.len() > 100_000);
    gateway.process.signal(Signal::Term);
    while !answer.ended && !answer.closed {
        let wanted = answer.body.len() + 16 * 1024;
        client.read_on(&mut answer, stream, PATIENCE, |answer| answer.ended || answer.body.len() >= wanted);
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!((answer.body.len(), answer.ended), (SIZE, true));
    drop(client);
    assert_eq!(gateway.process.wait_exit(PATIENCE).code(), Some(0));
}

#[test]
fn an_answer_to_head_says_no_length_that_the_upstream_did_not_say() {
    let upstream = Upstream::replying(Reply::raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"));
    let gateway = Site::new(&upstream.url()).start();
    let mut client = Http2::open(gateway.address);
    let stream = client.request(&head("HEAD", "/", &[]), true);
    let answer = client.answer(stream);
    assert_eq!((answer.status(), answer.header("content-length")), (200, None));
}

#[test]
fn a_malformed_head_has_its_event_also_when_its_client_goes_at_once() {
    let upstream = Upstream::start();
    let gateway = Site::new(&upstream.url()).start();
    let mut client = Http2::open(gateway.address);
    assert_eq!(client.get("/", &[]).status(), 200);
    for _ in 0..20 {
        client.request(&head("GET", "/", &[("connection", "close")]), true);
    }
    client.end();
    assert_eq!(gateway.refusals(20).len(), 20);
}

#[test]
fn where_http2_is_switched_off_its_preface_is_a_malformed_request() {
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    site.listen_with("http2 = false");
    let gateway = site.start();
    let answer = wire::send(gateway.address, PREFACE);
    gateway.check_refused("preface", &answer, 400, "request.malformed");
    assert_eq!(gateway.get("/", &[]).status(), 200);
}

#[test]
fn http1_is_served_beside_it_also_when_its_first_bytes_come_one_by_one() {
    let upstream = Upstream::start();
    let gateway = Site::new(&upstream.url()).start();
    let bytes = request("PRIVATE", "/", &[], b"");
    let mut client = gateway.conn();
    for byte in &bytes {
        client.send([*byte]);
    }
    // The policy knows no such method; what matters is that it was read.
    assert_eq!(client.answer().status(), 401);
    client.send(request("GET", "/", &[], b""));
    assert_eq!(client.answer().status(), 200);
}

fn printed(finished: &Finished) -> String {
    finished.stdout.join("\n")
}

#[test]
fn curl_and_nghttp_speak_it_with_the_gateway() {
    let upstream = Upstream::start();
    let gateway = Site::new(&upstream.url()).start();
    let url = format!("http://{}/hello", gateway.address);
    let curl = tool("PORTCULLIS_CURL", "curl")
        .args([
            "--silent",
            "--noproxy",
            "*",
            "--http2-prior-knowledge",
            "--write-out",
            "\n%{http_code} %{http_version}",
        ])
        .args(["--data", "posted", &url])
        .run(PATIENCE);
    assert!(printed(&curl).ends_with("200 2"), "{curl:?}");
    let nghttp =
        tool("PORTCULLIS_NGHTTP", "nghttp").args(["--null-out", "--stat", "--multiply=20", &url]).run(PATIENCE);
    assert_eq!(printed(&nghttp).matches(" 200 ").count(), 20, "{nghttp:?}");
    let seen = upstream.wait_for_requests(21);
    assert!(seen.iter().all(|seen| seen.head.version == "HTTP/1.1"));
}
