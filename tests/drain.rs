//! SIGTERM: readiness goes first, then the listeners; what was begun is finished, within the grace.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use portcullis_testkit::certificates::{Authority, San};
use portcullis_testkit::process::Signal;
use portcullis_testkit::upstream::{Reply, Upstream};
use portcullis_testkit::wait::{self, PATIENCE};
use portcullis_testkit::wire::{self, Conn, request};

use crate::harness::{Site, of_kind};

#[test]
fn requests_that_were_begun_are_answered_whole() {
    let upstream = Upstream::choosing(|head| match head.target.as_str() {
        "/drip" => Reply::drip(&[&[b'd'; 1000][..]; 8], Duration::from_millis(60)).when_told(),
        "/slow" => Reply::echo().when_told(),
        _ => Reply::echo(),
    });
    let mut gateway = Site::new(&upstream.url()).start();
    let mut waiting: Vec<Conn> = (0..32).map(|_| gateway.conn()).collect();
    for (number, connection) in waiting.iter_mut().enumerate() {
        let target = if number % 2 == 0 { "/slow" } else { "/drip" };
        connection.send(request("POST", target, &[], b"body"));
    }
    let mut uploading = gateway.conn();
    uploading.send("PUT /upload HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhello");
    let mut idle = gateway.conn();
    idle.send(request("GET", "/", &[], b""));
    assert_eq!(idle.answer().status(), 200);
    upstream.wait_for_requests(33);
    let begun = || gateway.metric("http_server_active_requests").filter(|active| *active == 33.0);
    assert!(wait::until(PATIENCE, begun).is_some());
    gateway.process.signal(Signal::Term);
    // Idle connections end at once, in order: that is an end of stream, not a reset.
    assert!(idle.closed_within(PATIENCE));
    assert!(idle.next_bytes().unwrap().is_empty());
    upstream.go_on();
    for (number, connection) in waiting.iter_mut().enumerate() {
        let answer = connection.answer();
        assert_eq!(answer.status(), 200, "{number}");
        if number % 2 == 1 {
            assert_eq!(answer.body.len(), 8_000, "{number}");
        }
        assert!(connection.closed_within(PATIENCE), "{number}");
    }
    uploading.send("world");
    let answer = uploading.answer();
    assert_eq!((answer.status(), answer.header("connection")), (200, Some("close")));
    assert_eq!(answer.json()["body_length"], 10);
    assert_eq!(gateway.process.wait_exit(PATIENCE).code(), Some(0));
    assert!(TcpStream::connect(gateway.address).is_err());
    let events = gateway.events.all();
    assert!(of_kind(&events, "access.denied").is_empty(), "{events:#?}");
    assert_eq!(of_kind(&events, "gateway.stopped").len(), 1);
}

#[test]
fn the_delay_gives_load_balancers_time_to_look_away() {
    let upstream = Upstream::start();
    let delayed = |delay: &str| {
        let mut site = Site::new(&upstream.url());
        site.add(&format!("[shutdown]\ndelay = \"{delay}\"\n"));
        site.start()
    };
    // Far longer than the test waits for.
    let mut gateway = delayed("1h");
    assert_eq!(wire::get(gateway.ops, "/readyz", &[]).status(), 200);
    gateway.process.signal(Signal::Term);
    let said_no = || (wire::get(gateway.ops, "/readyz", &[]).status() == 503).then_some(());
    assert!(wait::until(PATIENCE, said_no).is_some(), "readiness waits for the delay");
    assert_eq!(wire::get(gateway.ops, "/livez", &[]).status(), 200, "it drains, it is not dead");
    assert_eq!(gateway.get("/new", &[]).status(), 200, "who has not looked yet is served");
    // It ends by itself, and not before.
    let mut gateway = delayed("800ms");
    let began = Instant::now();
    assert_eq!(gateway.process.stop(PATIENCE).code(), Some(0));
    assert!(began.elapsed() >= Duration::from_millis(800));
}

#[test]
fn who_has_not_begun_a_request_yet_holds_nobody_up() {
    let upstream = Upstream::start();
    let authority = Authority::new("a test's own");
    let mut site = Site::new(&upstream.url());
    let own = authority.issue(&[San::Host("a.test")]);
    site.file("a.crt", &own.certificate);
    site.file("a.key", &own.key);
    site.listen_with("tls = { certificate = \"a.crt\", key = \"a.key\" }\nproxy_protocol = true");
    // Far more than the test waits for.
    site.add("[limits]\ntls_handshake_timeout = \"10m\"\nfirst_byte_timeout = \"10m\"\n");
    site.add("[shutdown]\ngrace = \"10m\"\n");
    site.add("[client_address]\ntrusted_proxies = [\"127.0.0.9\"]\n");
    let mut gateway = site.start();
    let mut shaking = gateway.conn();
    shaking.send([0x16, 3, 1, 2, 0, 1]);
    let mut silent = gateway.conn();
    let mut proxy = Conn::open_from([127, 0, 0, 9].into(), gateway.address);
    proxy.send("PROXY TCP4 ");
    let open = || gateway.metric("portcullis_connections").filter(|open| *open == 3.0);
    assert!(wait::until(PATIENCE, open).is_some());
    gateway.process.signal(Signal::Term);
    for connection in [&mut shaking, &mut silent, &mut proxy] {
        assert!(connection.closed_within(PATIENCE));
    }
    assert_eq!(gateway.process.wait_exit(PATIENCE).code(), Some(0));
}

#[test]
fn the_grace_is_the_most_that_a_hanging_request_gets() {
    let upstream = Upstream::replying(Reply::hang());
    let mut site = Site::new(&upstream.url());
    site.add("[shutdown]\ngrace = \"500ms\"\n");
    let mut gateway = site.start();
    let mut hanging = gateway.conn();
    hanging.send(request("GET", "/", &[], b""));
    upstream.wait_for_requests(1);
    let began = Instant::now();
    assert_eq!(gateway.process.stop(PATIENCE).code(), Some(0));
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(500) && took < Duration::from_secs(30), "{took:?} of the usual 30 s");
    assert!(hanging.closed_within(PATIENCE));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for (second, delay) in
        [(Signal::Term, "0s"), (Signal::Interrupt, "0s"), (Signal::Term, "1h"), (Signal::Interrupt, "1h")]
    {
        let upstream = Upstream::replying(Reply::hang());
        let mut site = Site::new(&upstream.url());
        // Far longer than the test waits for.
        site.add(&format!("[shutdown]\ndelay = \"{delay}\"\ngrace = \"1h\"\n"));
        let mut gateway = site.start();
        let mut hanging = gateway.conn();
        hanging.send(request("GET", "/", &[], b""));
        upstream.wait_for_requests(1);
        gateway.process.signal(Signal::Interrupt);
        gateway.process.wait_for_line("draining");
        gateway.process.signal(second);
        assert_eq!(gateway.process.wait_exit(PATIENCE).code(), Some(0), "{second:?}, {delay}");
    }
}
