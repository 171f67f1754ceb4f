//! Upgrades: the tunnel opens after the upstream's 101 and not before, carries every byte, and lasts as long as its permission.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use portcullis_testkit::process::Signal;
use portcullis_testkit::tokens::SigningKey;
use portcullis_testkit::upstream::{Reply, Upstream};
use portcullis_testkit::wait::{self, PATIENCE};
use portcullis_testkit::wire::{Conn, request};
use serde_json::Value;

use crate::harness::{AUTHENTICATED, Gateway, NO_BANS, OPEN, Site, bearer, claims, of_kind};

/// The example of RFC 6455 section 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// An upstream whose every byte the test writes itself.
struct Peer(TcpListener);

impl Peer {
    fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    fn url(&self) -> String {
        format!("http://{}", self.0.local_addr().unwrap())
    }

    /// The next connection, and the head that came on it.
    fn accept(&self) -> (TcpStream, String) {
        let (mut stream, _) = self.0.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        (stream, String::from_utf8(head).unwrap())
    }

    /// A tunnel through the gateway: both its ends.
    fn tunnel(&self, gateway: &Gateway, headers: &[(&str, &str)]) -> (Conn, TcpStream) {
        let mut client = gateway.conn();
        client.send(handshake("/ws", headers));
        let (mut upstream, _) = self.accept();
        upstream.write_all(SWITCHED.as_bytes()).unwrap();
        assert_eq!(client.try_head().unwrap().status, 101);
        (client, upstream)
    }
}

fn handshake(target: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let websocket = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", KEY),
    ];
    request("GET", target, &[&websocket, more].concat(), b"")
}

/// A site whose one route permits WebSocket.
fn site(upstream: &str) -> Site {
    let mut site = Site::without_route(upstream);
    site.add("[[route]]\nname = \"app\"\nupstream = \"app\"\nupgrades = [\"websocket\", \"acme/2\"]\n");
    site
}

fn read(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

fn receive(client: &mut Conn, length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < length {
        let more = client.next_bytes().unwrap();
        assert!(!more.is_empty(), "ended after {bytes:?}");
        bytes.extend(more);
    }
    bytes
}

fn to_end(client: &mut Conn) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        match client.next_bytes() {
            Ok(more) if more.is_empty() => return bytes,
            Ok(more) => bytes.extend(more),
            Err(_) => return bytes,
        }
    }
}

#[test]
fn a_tunnel_carries_every_byte_of_both_sides_also_those_that_come_with_a_head() {
    let peer = Peer::start();
    let gateway = site(&peer.url()).start();
    let mut client = gateway.conn();
    // What follows the head looks like a request, and is none.
    let early = b"GET /admin HTTP/1.1\r\nhost: a\r\n\r\n";
    client.send([&handshake("/ws?room=1", &[("x-auth-user", "root")])[..], early].concat());
    let (mut upstream, head) = peer.accept();
    let lower = head.to_lowercase();
    assert!(head.starts_with("GET /ws?room=1 HTTP/1.1\r\n"), "{head}");
    for field in ["connection: upgrade", "upgrade: websocket", "sec-websocket-key: dghl", "x-request-id: "] {
        assert_eq!(lower.matches(&format!("\r\n{field}")).count(), 1, "{field}: {head}");
    }
    assert!(!lower.contains("x-auth-user") && !lower.contains("keep-alive"), "{head}");
    assert_eq!(gateway.metric("portcullis_tunnels"), Some(0.0), "nothing is open before the upstream says so");
    let mut answer = SWITCHED.replace("\r\n\r\n", "\r\nSec-WebSocket-Protocol: chat\r\n\r\nfirst").into_bytes();
    upstream.write_all(&answer).unwrap();
    let head = client.try_head().unwrap();
    assert_eq!(head.status, 101);
    assert_eq!(head.header("upgrade"), Some("websocket"));
    assert_eq!(head.header("connection"), Some("upgrade"));
    assert_eq!(head.header("sec-websocket-accept"), Some(ACCEPT));
    assert_eq!(head.header("sec-websocket-protocol"), Some("chat"));
    assert!(head.header("x-request-id").is_some() && head.header("content-length").is_none());
    assert_eq!(receive(&mut client, 5), b"first");
    assert_eq!(read(&mut upstream, early.len()), early);
    assert_eq!(gateway.metric("portcullis_tunnels"), Some(1.0));
    assert_eq!(gateway.metric("portcullis_connections"), Some(1.0));
    assert_eq!(gateway.metric("http_server_active_requests"), Some(1.0), "a tunnel is a request in flight");
    // More than any buffer, both ways at once.
    answer = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    let sent = answer.clone();
    let mut writer = upstream.try_clone().unwrap();
    let writing = std::thread::spawn(move || writer.write_all(&sent).unwrap());
    let echoing = std::thread::spawn(move || read(&mut upstream, 1_000_000));
    client.send(&answer[..1_000_000]);
    assert!(receive(&mut client, answer.len()) == answer, "what the upstream sent is not what came");
    writing.join().unwrap();
    assert!(echoing.join().unwrap() == answer[..1_000_000], "what the caller sent is not what came");
    drop(client);
    let closed = wait::until(PATIENCE, || (gateway.metric("portcullis_tunnels") == Some(0.0)).then_some(()));
    assert!(closed.is_some(), "the tunnel is still counted");
    let events = gateway.stop();
    assert!(of_kind(&events, "access.denied").is_empty(), "{events:#?}");
}

#[test]
fn each_side_may_end_before_the_other() {
    let peer = Peer::start();
    let gateway = site(&peer.url()).start();
    let (mut client, mut upstream) = peer.tunnel(&gateway, &[]);
    client.send("question");
    client.finish_sending();
    let mut question = Vec::new();
    upstream.read_to_end(&mut question).unwrap();
    assert_eq!(question, b"question");
    upstream.write_all(b"answer").unwrap();
    drop(upstream);
    assert_eq!(to_end(&mut client), b"answer");
    let (mut client, mut upstream) = peer.tunnel(&gateway, &[]);
    upstream.write_all(b"news").unwrap();
    upstream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(to_end(&mut client), b"news");
    client.send("thanks");
    assert_eq!(read(&mut upstream, 6), b"thanks");
}

#[test]
fn without_a_101_an_answer_is_an_ordinary_one() {
    let upstream = Upstream::choosing(|head| match head.target.as_str() {
        "/no" => Reply::bytes("the application says no").with_status(403),
        _ => Reply::drip(&[&b"a"[..], b"b"], Duration::from_millis(20)),
    });
    let gateway = site(&upstream.url()).start();
    let mut client = gateway.conn();
    client.send(handshake("/no", &[]));
    let answer = client.answer();
    assert_eq!((answer.status(), answer.text()), (403, "the application says no"));
    assert_eq!(answer.header("upgrade"), None);
    client.send(handshake("/drip", &[]));
    let answer = client.answer();
    assert_eq!((answer.status(), answer.text()), (200, "ab"));
    client.send(request("GET", "/drip", &[], b""));
    assert_eq!(client.answer().status(), 200, "the connection goes on");
    upstream.wait_for_open_connections(1);
    assert!(of_kind(&gateway.stop(), "access.denied").is_empty());
}

#[test]
fn an_upstream_that_switches_to_something_else_is_not_believed() {
    let peer = Peer::start();
    let gateway = site(&peer.url()).start();
    for (what, answer) in [
        ("another accept", SWITCHED.replace("s3pPL", "S3pPL")),
        ("no accept", SWITCHED.replace("Sec-WebSocket-Accept", "X-Accept")),
        ("another protocol", SWITCHED.replace("websocket", "h2c")),
        ("one that was not asked for", SWITCHED.replace("websocket", "acme/2")),
        ("no protocol", SWITCHED.replace("Upgrade: websocket\r\n", "")),
        ("no connection option", SWITCHED.replace("Connection: Upgrade\r\n", "")),
    ] {
        let mut client = gateway.conn();
        client.send(handshake("/ws", &[]));
        let (mut upstream, _) = peer.accept();
        upstream.write_all(answer.as_bytes()).unwrap();
        let refused = client.answer();
        let event = gateway.check_refused(what, &refused, 502, "upstream.protocol");
        assert_eq!(event["upstream"]["forwarded"], true, "{what}");
        let mut rest = Vec::new();
        assert_eq!(upstream.read_to_end(&mut rest).unwrap_or(0), 0, "{what}: the connection is given up");
    }
    // Nobody asked for a switch.
    let mut client = gateway.conn();
    client.send(request("GET", "/plain", &[], b""));
    peer.accept().0.write_all(SWITCHED.as_bytes()).unwrap();
    gateway.check_refused("unasked", &client.answer(), 502, "upstream.protocol");
}

#[test]
fn what_is_not_permitted_never_reaches_the_upstream() {
    let upstream = Upstream::start();
    let mut site = Site::without_route(&upstream.url());
    site.add("[[route]]\nname = \"ws\"\npaths = [\"/ws/**\"]\nupstream = \"app\"\nupgrades = [\"websocket\"]\n");
    site.add("[[route]]\nname = \"app\"\nupstream = \"app\"\n");
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    let key = site.key("alice", "user:alice", "");
    let gateway = site.start();
    let as_alice = [("x-api-key", key.as_str())];
    let check = |what: &str, bytes: Vec<u8>, status: u16, reason: &str| {
        gateway.check_refused(what, &gateway.send(bytes), status, reason);
    };
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let good = text(handshake("/ws/1", &as_alice));
    check("nobody", handshake("/ws/1", &[]), 401, "authn.missing");
    check("a route without upgrades", handshake("/app", &as_alice), 403, "request.upgrade_not_allowed");
    let other = |from: &str, to: &str| good.replace(from, to).into_bytes();
    check("another protocol", other("WebSocket", "acme/2"), 403, "request.upgrade_not_allowed");
    check("another version of it", other("WebSocket", "websocket/2"), 403, "request.upgrade_not_allowed");
    let with_body = other("\r\n\r\n", "\r\ncontent-length: 2\r\n\r\nhi");
    check("a body", with_body, 403, "request.upgrade_not_allowed");
    check("a POST", other("GET ", "POST "), 400, "request.malformed");
    check("no key", other("sec-websocket-key", "x-key"), 400, "request.malformed");
    let twice = format!("sec-websocket-key: {KEY}\r\nsec-websocket-key");
    check("two keys", other("sec-websocket-key", &twice), 400, "request.malformed");
    check("a short key", other(KEY, "AAAA"), 400, "request.malformed");
    assert!(upstream.requests().is_empty(), "{:#?}", upstream.requests());
    // What is not permitted is left out where something is.
    let mut client = gateway.conn();
    client.send(other("WebSocket", "h2c, acme/2, websocket"));
    assert_eq!(client.answer().status(), 200);
    assert_eq!(upstream.only_request().header("upgrade"), Some("websocket"));
}

#[test]
fn another_configured_protocol_is_carried_as_it_is() {
    let peer = Peer::start();
    let gateway = site(&peer.url()).start();
    let mut client = gateway.conn();
    client.send(request("POST", "/any", &[("connection", "upgrade"), ("upgrade", "ACME/2")], b""));
    let (mut upstream, head) = peer.accept();
    assert!(head.to_lowercase().contains("\r\nupgrade: acme/2\r\n"), "{head}");
    upstream.write_all(b"HTTP/1.1 101 OK\r\nconnection: upgrade\r\nupgrade: acme/2\r\n\r\n").unwrap();
    assert_eq!(client.try_head().unwrap().status, 101);
    client.send("\0\u{1}");
    assert_eq!(read(&mut upstream, 2), [0, 1]);
}

#[test]
fn a_silent_tunnel_ends_after_the_idle_time_and_no_sooner_than_its_last_byte() {
    let peer = Peer::start();
    let mut site = site(&peer.url());
    site.add(
        "[limits]\nupgrade_idle_timeout = \"1s\"\nbody_idle_timeout = \"100ms\"\nkeep_alive_timeout = \"100ms\"\n",
    );
    let gateway = site.start();
    // Whether it had bytes for longer than the idle time. Where the machine made it wait for one for too long, it was right to end, and another
    // one is tried.
    let outlived = || {
        let began = Instant::now();
        let mut last = began;
        let (mut client, mut upstream) = peer.tunnel(&gateway, &[]);
        while began.elapsed() < Duration::from_millis(1_500) {
            let sent = Instant::now();
            if upstream.write_all(b".").is_err() || client.next_bytes().unwrap() != b"." {
                assert!(last.elapsed() >= Duration::from_secs(1), "{:?}", last.elapsed());
                return None;
            }
            last = sent;
            std::thread::park_timeout(Duration::from_millis(300));
        }
        assert_eq!(to_end(&mut client), b"");
        assert!(last.elapsed() >= Duration::from_secs(1), "{:?}", last.elapsed());
        Some(())
    };
    assert!(wait::until(PATIENCE, outlived).is_some(), "no tunnel with bytes outlives the idle time");
    assert!(of_kind(&gateway.stop(), "access.denied").is_empty(), "nothing was refused");
}

/// Waits for the one event that says that a stream was ended.
#[track_caller]
fn ended(gateway: &Gateway, cause: &str) -> Value {
    let terminated = |events: Vec<Value>| events.into_iter().find(|event| event["reason"] == "session.terminated");
    let event = wait::until(PATIENCE, || terminated(gateway.events.all())).expect("no stream was ended");
    assert_eq!(event["reasons"][0], "session.terminated");
    assert_eq!(event["reasons"][1], cause, "{event:#}");
    assert_eq!((&event["kind"], &event["status"]), (&"access.denied".into(), &Value::Null), "{event:#}");
    assert_eq!(event["upstream"]["forwarded"], true);
    event
}

/// A close frame of this code, and the end.
#[track_caller]
fn closed_with(client: &mut Conn, code: u16) {
    let last = to_end(client);
    assert_eq!(last.first(), Some(&0x88), "{last:?}");
    assert_eq!(last[2..4], code.to_be_bytes(), "{last:?}");
    assert_eq!(usize::from(last[1]) + 2, last.len(), "{last:?}");
}

#[test]
fn a_tunnel_ends_with_its_permission_and_says_why() {
    let peer = Peer::start();
    let mut site = site(&peer.url());
    site.add("[limits]\nrecheck = \"30s\"\n");
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    let (alice, bob) = (site.key("alice", "user:alice", ""), site.key("bob", "user:bob", ""));
    let mut gateway = site.start();
    let (mut as_alice, mut upstream) = peer.tunnel(&gateway, &[("x-api-key", &alice)]);
    let (mut as_bob, mut for_bob) = peer.tunnel(&gateway, &[("x-api-key", &bob)]);
    upstream.write_all(&[0x82, 2, 1, 2]).unwrap();
    assert_eq!(receive(&mut as_alice, 4), [0x82, 2, 1, 2]);
    let deny =
        "\n[[deny]]\nname = \"alice-left\"\nprincipals = [\"user:alice\"]\nactions = [\"* /**\"]\nscope = \"*\"\n";
    gateway.site.policy(&[AUTHENTICATED, deny, NO_BANS].concat());
    gateway.reload("ok");
    closed_with(&mut as_alice, 1008);
    let event = ended(&gateway, "rbac.explicit_deny");
    assert_eq!((&event["identity"]["id"], &event["request"]["path"]), (&"alice".into(), &"/ws".into()), "{event:#}");
    assert!(event["message"].as_str().unwrap().starts_with("an open websocket was ended: "), "{event:#}");
    assert_eq!(upstream.read(&mut [0]).unwrap_or(0), 0, "the upstream's side ends, too");
    // Who is still permitted notices nothing.
    as_bob.send("ping");
    assert_eq!(read(&mut for_bob, 4), b"ping");
    for_bob.write_all(b"pong").unwrap();
    assert_eq!(receive(&mut as_bob, 4), b"pong");
    drop((as_bob, for_bob));
    let events = gateway.stop();
    let refusals = of_kind(&events, "access.denied");
    let of_alice = refusals.iter().filter(|event| event["identity"]["id"] == "alice").count();
    assert_eq!(of_alice, 1, "{refusals:#?}");
}

#[test]
fn a_revoked_key_an_expired_token_and_a_route_without_upgrades_end_a_tunnel() {
    let peer = Peer::start();
    let mut site = site(&peer.url());
    site.add("[limits]\nrecheck = \"1s\"\n");
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    let signer = SigningKey::ed25519("k1");
    site.accept_tokens(&[&signer], "leeway = \"0s\"\n");
    let alice = site.key("alice", "user:alice", "");
    let mut gateway = site.start();
    let token = bearer(&signer, &claims("carol").seconds_from_now("exp", 8));
    let (mut with_token, _upstream) = peer.tunnel(&gateway, &[("authorization", &token)]);
    closed_with(&mut with_token, 1008);
    ended(&gateway, "authn.expired");
    let (mut with_key, _upstream) = peer.tunnel(&gateway, &[("x-api-key", &alice)]);
    let keys = gateway.site.path("keys.toml");
    let text = std::fs::read_to_string(&keys).unwrap();
    std::fs::write(&keys, format!("{text}revoked = true\n")).unwrap();
    gateway.reload("ok");
    closed_with(&mut with_key, 1008);
    let all = wait::until(PATIENCE, || {
        Some(gateway.events.all()).filter(|events| of_kind(events, "access.denied").len() == 2)
    });
    let revoked = all.unwrap().into_iter().rfind(|event| event["kind"] == "access.denied").unwrap();
    assert_eq!(revoked["reasons"], serde_json::json!(["session.terminated", "authn.revoked"]));
    std::fs::write(&keys, text).unwrap();
    gateway.reload("ok");
    let (mut tunnel, _upstream) = peer.tunnel(&gateway, &[("x-api-key", &alice)]);
    let config = gateway.site.path("portcullis.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("upgrades = [\"websocket\"", "upgrades = [\"x\"")).unwrap();
    gateway.reload("ok");
    closed_with(&mut tunnel, 1008);
    let events = gateway.stop();
    let last = of_kind(&events, "access.denied").pop().unwrap().clone();
    assert_eq!(last["reasons"], serde_json::json!(["session.terminated", "request.upgrade_not_allowed"]));
}

#[test]
fn in_the_middle_of_a_frame_a_tunnel_is_only_closed() {
    let peer = Peer::start();
    let site = site(&peer.url());
    site.policy(&[OPEN, NO_BANS].concat());
    let mut gateway = site.start();
    let (mut client, mut upstream) = peer.tunnel(&gateway, &[]);
    upstream.write_all(&[0x82, 10, 1, 2, 3]).unwrap();
    assert_eq!(receive(&mut client, 5), [0x82, 10, 1, 2, 3]);
    gateway.site.policy("");
    gateway.reload("ok");
    assert_eq!(to_end(&mut client), b"");
    ended(&gateway, "authn.missing");
}

#[test]
fn a_stop_gives_tunnels_their_grace_and_then_says_goodbye() {
    let peer = Peer::start();
    let mut site = site(&peer.url());
    site.add("[shutdown]\ngrace = \"5s\"\n");
    let mut gateway = site.start();
    let (mut client, mut upstream) = peer.tunnel(&gateway, &[]);
    gateway.process.signal(Signal::Term);
    gateway.process.wait_for_line("draining");
    client.send("still");
    assert_eq!(read(&mut upstream, 5), b"still");
    closed_with(&mut client, 1001);
    assert_eq!(gateway.process.wait_exit(PATIENCE).code(), Some(0));
    let events = gateway.events.all();
    let denied = of_kind(&events, "access.denied");
    assert_eq!(denied.len(), 1, "{denied:#?}");
    assert_eq!(denied[0]["reasons"], serde_json::json!(["session.terminated"]));
}
