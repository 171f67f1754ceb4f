//! Answers that stream, and requests that wait: they pass as they come, and end with their permission.

use std::time::Duration;

use portcullis_testkit::process::Signal;
use portcullis_testkit::upstream::{Reply, Upstream};
use portcullis_testkit::wait::PATIENCE;
use portcullis_testkit::wire::{Conn, request};
use serde_json::json;

use crate::harness::{AUTHENTICATED, Gateway, NO_BANS, OPEN, Site, of_kind};

/// Says a word every 50 ms for ten minutes; `/hang` says nothing.
fn speaker() -> Upstream {
    Upstream::choosing(|head| match head.target.as_str() {
        "/hang" => Reply::hang(),
        _ => Reply::drip(&[&b"data: tick\n\n"[..]; 12_000], Duration::from_millis(50))
            .header("content-type", "text/event-stream"),
    })
}

fn site(upstream: &Upstream) -> Site {
    let mut site = Site::new(&upstream.url());
    site.add("[limits]\nrecheck = \"1s\"\n");
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    site
}

/// Opens a stream and reads its first words.
fn listen(gateway: &Gateway, target: &str, key: &str) -> Conn {
    let mut client = gateway.conn();
    client.send(request("GET", target, &[("x-api-key", key)], b""));
    let head = client.try_head().unwrap();
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
    words(&mut client, 3);
    client
}

fn words(client: &mut Conn, count: usize) {
    let mut heard = String::new();
    while heard.matches("tick").count() < count {
        let more = client.next_bytes().unwrap();
        assert!(!more.is_empty(), "ended after {heard:?}");
        heard.push_str(&String::from_utf8(more).unwrap());
    }
}

/// Reads to the end of the connection: whether the answer was ended in order.
fn ends_whole(client: &mut Conn) -> bool {
    let mut last = Vec::new();
    while let Ok(more) = client.next_bytes() {
        if more.is_empty() {
            break;
        }
        last = more;
    }
    last.ends_with(b"0\r\n\r\n")
}

const DENY_ALICE: &str =
    "\n[[deny]]\nname = \"alice-left\"\nprincipals = [\"user:alice\"]\nactions = [\"* /**\"]\nscope = \"*\"\n";

#[test]
fn a_stream_passes_as_it_comes_and_ends_when_its_caller_may_not_listen_any_more() {
    let upstream = speaker();
    let mut site = site(&upstream);
    let (alice, bob) = (site.key("alice", "user:alice", ""), site.key("bob", "user:bob", ""));
    let mut gateway = site.start();
    let mut as_alice = listen(&gateway, "/events", &alice);
    let mut as_bob = listen(&gateway, "/events", &bob);
    let mut waiting = gateway.conn();
    waiting.send(request("GET", "/hang", &[("x-api-key", &alice)], b""));
    upstream.wait_for_requests(3);
    gateway.site.policy(&[AUTHENTICATED, DENY_ALICE, NO_BANS].concat());
    gateway.reload("ok");
    assert!(!ends_whole(&mut as_alice), "an answer that was cut must not look whole");
    // No answer had begun: there is a refusal to read.
    let answer = waiting.answer();
    gateway.check_refused("waiting", &answer, 403, "rbac.explicit_deny");
    words(&mut as_bob, 20);
    let events = gateway.refusals(2);
    let cut: Vec<_> = events.iter().filter(|event| event["reason"] == "session.terminated").collect();
    assert_eq!(cut.len(), 1, "{events:#?}");
    assert_eq!(cut[0]["reasons"], json!(["session.terminated", "rbac.explicit_deny"]));
    assert_eq!(cut[0]["request"]["path"], "/events");
    assert_eq!(cut[0]["identity"]["id"], "alice");
    let metric =
        "portcullis_decisions_total{decision=\"deny\",reason=\"session.terminated\",route=\"app\",stage=\"session\"}";
    assert_eq!(gateway.metric(metric), Some(1.0));
    drop(as_bob);
    assert_eq!(of_kind(&gateway.stop(), "access.denied").len(), 2);
}

#[test]
fn a_stream_may_last_longer_than_an_answer_where_its_upstream_says_so() {
    let upstream = speaker();
    let mut site = Site::without_route(&upstream.url());
    for (name, total) in [("short", "3s"), ("long", "0s")] {
        let timeouts = format!("timeouts = {{ total = \"{total}\" }}");
        site.add(&format!("[[upstream]]\nname = \"{name}\"\nendpoints = [\"{}\"]\n{timeouts}\n", upstream.url()));
        site.add(&format!("[[route]]\nname = \"{name}\"\npaths = [\"/{name}\"]\nupstream = \"{name}\"\n"));
    }
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    let alice = site.key("alice", "user:alice", "");
    let gateway = site.start();
    let mut long = listen(&gateway, "/long", &alice);
    let mut short = gateway.conn();
    short.send(request("GET", "/short", &[("x-api-key", &alice)], b""));
    assert_eq!(short.try_head().unwrap().status, 200);
    assert!(!ends_whole(&mut short), "its time is up");
    words(&mut long, 10);
    drop(long);
    assert!(of_kind(&gateway.stop(), "access.denied").is_empty());
}

#[test]
fn a_ban_ends_what_the_address_listens_to() {
    let upstream = speaker();
    let mut site = site(&upstream);
    site.policy(&[OPEN, "\n[ban]\ncredentials = { level = 5, half = \"1h\" }\n"].concat());
    let _ = site.key("alice", "user:alice", "");
    let gateway = site.start();
    let mut client = Conn::open_from("127.0.0.9".parse().unwrap(), gateway.address);
    client.send(request("GET", "/events", &[], b""));
    assert_eq!(client.try_head().unwrap().status, 200);
    words(&mut client, 3);
    for _ in 0..5 {
        assert_eq!(gateway.get_from("127.0.0.9", "/", &[("x-api-key", "pcl_alice_guess")]).status(), 401);
    }
    assert!(!ends_whole(&mut client));
    // Whichever of the two that the fifth one makes comes first.
    let refusals = gateway.refusals(6);
    let last = refusals.iter().find(|event| event["reasons"][0] == "session.terminated").expect("what it listened to");
    assert_eq!((&last["reasons"][1], &last["ban"]["active"]), (&"ban.active".into(), &true.into()), "{last:#}");
}

#[test]
fn a_stop_cuts_a_stream_after_the_grace_with_an_event() {
    let upstream = speaker();
    let mut site = site(&upstream);
    site.add("[shutdown]\ngrace = \"3s\"\n");
    let alice = site.key("alice", "user:alice", "");
    let mut gateway = site.start();
    let mut client = listen(&gateway, "/events", &alice);
    gateway.process.signal(Signal::Term);
    gateway.process.wait_for_line("draining");
    words(&mut client, 2);
    assert!(!ends_whole(&mut client));
    assert_eq!(gateway.process.wait_exit(PATIENCE).code(), Some(0));
    let events = gateway.events.all();
    let denied = of_kind(&events, "access.denied");
    assert_eq!(denied.len(), 1, "{denied:#?}");
    assert_eq!(denied[0]["reasons"], json!(["session.terminated"]));
}
