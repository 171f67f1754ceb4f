//! Floods of HTTP/2 frames: who sends them is closed, with one event, and others do not feel it (R5).

use std::time::Duration;

use portcullis_testkit::http2::{Frame, Http2, block, flag, head, kind};
use portcullis_testkit::upstream::{Reply, Upstream};
use portcullis_testkit::wait::{self, PATIENCE};
use serde_json::Value;

use crate::harness::{Gateway, Site, of_kind};

/// ENHANCE_YOUR_CALM (RFC 9113 section 7).
const CALM: u32 = 0xb;
const CANCEL: [u8; 4] = [0, 0, 0, 8];
/// What an attacker may send at most before it is closed.
const FRAMES: usize = 2_000;

fn start() -> (Upstream, Gateway) {
    let upstream = Upstream::choosing(|head| match head.target.as_str() {
        "/slow" => Reply::echo().after(Duration::from_secs(30)),
        _ => Reply::echo(),
    });
    let mut site = Site::new(&upstream.url());
    site.add("[limits]\nmax_connections = 1000\n");
    let gateway = site.start();
    (upstream, gateway)
}

/// Sends so many frames, or fewer where the connection is closed before; it is closed for these, however late they are read.
fn flood(what: &str, client: &mut Http2, most: usize, mut frame: impl FnMut(&mut Http2, usize) -> Vec<u8>) {
    for count in 0..most {
        let bytes = frame(client, count);
        if client.try_send_bytes(&bytes).is_err() || client.goaway.is_some() {
            break;
        }
        if count % 50 == 0 {
            while client.frame_within(Duration::from_millis(1)).is_some() {}
            if client.is_closed() || client.goaway.is_some() {
                break;
            }
        }
    }
    assert!(client.closed_within(PATIENCE), "{what}: {most} frames, and it goes on");
}

/// That such a flood is closed and told once, and that somebody else is served meanwhile.
#[track_caller]
fn check(what: &str, reason: &str, frame: impl FnMut(&mut Http2, usize) -> Vec<u8>) {
    let (_upstream, gateway) = start();
    let mut good = Http2::open(gateway.address);
    assert_eq!(good.get("/", &[]).status(), 200);
    let mut client = Http2::open(gateway.address);
    assert_eq!(client.get("/", &[]).status(), 200);
    flood(what, &mut client, FRAMES, frame);
    assert_eq!(good.get("/", &[]).status(), 200, "{what}");
    let enough = || {
        let events = gateway.events.all();
        let found: Vec<Value> = of_kind(&events, "access.denied").into_iter().cloned().collect();
        found.iter().any(|event| event["reason"] == reason).then_some(found)
    };
    let events = wait::until(PATIENCE, enough).unwrap_or_else(|| panic!("{what}: no event"));
    let told: Vec<&Value> = events.iter().filter(|event| event["reason"] == reason).collect();
    assert_eq!(told.len(), 1, "{what}: {events:#?}");
    if reason == "limit.rate" {
        assert_eq!((&told[0]["decision"], &told[0]["status"]), (&"throttle".into(), &Value::Null), "{what}");
        assert!(client.goaway.is_none_or(|code| code == CALM), "{what}: {:?}", client.goaway);
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    Frame::new(kind, flags, stream, payload).bytes()
}

#[test]
fn pings() {
    check("PING", "limit.rate", |_, _| frame(kind::PING, 0, 0, &[0; 8]));
}

#[test]
fn settings() {
    check("SETTINGS", "limit.rate", |_, _| frame(kind::SETTINGS, 0, 0, b""));
}

#[test]
fn priorities() {
    check("PRIORITY", "limit.rate", |_, _| frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 0, 1]));
}

#[test]
fn unknown_frames() {
    check("unknown", "limit.rate", |_, _| frame(0xbe, 0, 0, b"x"));
}

#[test]
fn empty_data() {
    check("empty DATA", "limit.rate", |client, count| {
        let begin = if count == 0 {
            let stream = client.new_stream();
            assert_eq!(stream, 3);
            frame(kind::HEADERS, flag::END_HEADERS, stream, &block(&head("POST", "/slow", &[])))
        } else {
            Vec::new()
        };
        [begin, frame(kind::DATA, 0, 3, b"")].concat()
    });
}

#[test]
fn rapid_resets() {
    check("rapid reset", "limit.rate", |client, _| {
        let stream = client.new_stream();
        let open =
            frame(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, stream, &block(&head("GET", "/slow", &[])));
        [open, frame(kind::RST_STREAM, 0, stream, &CANCEL)].concat()
    });
}

#[test]
fn resets_that_the_server_is_made_to_send() {
    check("MadeYouReset", "limit.rate", |client, _| {
        let stream = client.new_stream();
        let open =
            frame(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, stream, &block(&head("GET", "/slow", &[])));
        // More than the window of the stream takes (RFC 9113 section 6.9.1): an error of this stream alone.
        [open, frame(kind::WINDOW_UPDATE, 0, stream, &[0x7f, 0xff, 0xff, 0xff])].concat()
    });
}

#[test]
fn continuations_without_an_end() {
    check("CONTINUATION", "limit.rate", |client, count| {
        if count == 0 {
            let stream = client.new_stream();
            assert_eq!(stream, 3);
            return frame(kind::HEADERS, flag::END_STREAM, stream, &block(&head("GET", "/", &[])));
        }
        frame(kind::CONTINUATION, 0, 3, &block(&[("x-a", "b")]))
    });
}

#[test]
fn an_honest_client_that_cancels_often_is_left_alone() {
    let (_upstream, gateway) = start();
    let mut client = Http2::open(gateway.address);
    for _ in 0..150 {
        let stream = client.request(&head("GET", "/slow", &[]), true);
        client.send(&Frame::new(kind::RST_STREAM, 0, stream, CANCEL));
        assert_eq!(client.get("/", &[]).status(), 200);
        assert_eq!(client.get("/", &[]).status(), 200);
    }
    assert!(of_kind(&gateway.stop(), "access.denied").is_empty());
}

#[test]
fn honest_clients_that_ping_and_open_their_windows_often_are_left_alone() {
    let upstream = Upstream::choosing(|head| match head.target.as_str() {
        "/huge" => Reply::huge(8_000_000),
        _ => Reply::drip(&[&b"message"[..]; 1_000], Duration::from_millis(1)),
    });
    let gateway = Site::new(&upstream.url()).start();
    // As gRPC's Go client does: a PING for what came, whenever none is under way.
    let mut client = Http2::open(gateway.address);
    let stream = client.request(&head("GET", "/drip", &[]), true);
    let mut answer = client.answer_until(stream, PATIENCE, |answer| !answer.statuses.is_empty());
    let mut pings = 0;
    while !answer.ended && !answer.closed {
        let before = answer.body.len();
        client.read_on(&mut answer, stream, PATIENCE, |answer| answer.ended || answer.body.len() > before);
        if client.pongs == pings {
            client.send(&Frame::new(kind::PING, 0, 0, [7; 8]));
            pings += 1;
        }
    }
    assert_eq!((answer.body.len(), answer.goaway), (7_000, None), "{pings} pings");
    // As Go's own client does: both windows for each 4 KiB that were read.
    let mut client = Http2::open(gateway.address);
    client.opens_windows = false;
    let stream = client.request(&head("GET", "/huge", &[]), true);
    let mut answer = client.answer_until(stream, PATIENCE, |answer| !answer.statuses.is_empty());
    let mut opened = 0;
    while !answer.ended && !answer.closed {
        let before = answer.body.len();
        client.read_on(&mut answer, stream, PATIENCE, |answer| answer.ended || answer.body.len() > before);
        while opened + 4_096 <= answer.body.len() {
            for of in [0, stream] {
                drop(client.try_send_bytes(&Frame::new(kind::WINDOW_UPDATE, 0, of, 4_096u32.to_be_bytes()).bytes()));
            }
            opened += 4_096;
        }
    }
    assert_eq!((answer.body.len(), answer.goaway), (8_000_000, None));
    assert!(of_kind(&gateway.stop(), "access.denied").is_empty());
}

#[test]
fn an_answer_that_is_taken_byte_by_byte() {
    let upstream = Upstream::replying(Reply::huge(1_000_000));
    let gateway = Site::new(&upstream.url()).start();
    let mut client = Http2::open(gateway.address);
    client.opens_windows = false;
    client.send(&Frame::new(kind::SETTINGS, 0, 0, [0, 4, 0, 0, 0, 1]));
    let stream = client.request(&head("GET", "/", &[]), true);
    flood("WINDOW_UPDATE", &mut client, 20_000, |_, _| frame(kind::WINDOW_UPDATE, 0, stream, &[0, 0, 0, 1]));
}
