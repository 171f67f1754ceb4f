//! What is revoked counts no longer: at once on requests, within the bound on what is open, and over a kill.

use std::time::Duration;

use portcullis_testkit::process::{Finished, Signal};
use portcullis_testkit::tokens::SigningKey;
use portcullis_testkit::upstream::{Reply, Upstream};
use portcullis_testkit::wait::PATIENCE;
use portcullis_testkit::wire::{Conn, request};
use serde_json::{Value, json};

use crate::harness::{AUTHENTICATED, Gateway, NO_BANS, Site, bearer, claims, of_kind, portcullis};

fn ask(gateway: &Gateway, arguments: &[&str]) -> Finished {
    portcullis().arg("-c").arg(gateway.site.path("portcullis.toml")).args(arguments).run(PATIENCE)
}

#[track_caller]
fn check(gateway: &Gateway, arguments: &[&str], code: i32) -> String {
    let finished = ask(gateway, arguments);
    assert_eq!(finished.status.code(), Some(code), "{arguments:?}: {finished:?}");
    finished.stdout.join("\n")
}

/// Says a word every 50 ms for a minute where `/stream` is asked for.
fn upstream() -> Upstream {
    Upstream::choosing(|head| match head.target.as_str() {
        "/stream" => Reply::drip(&[&b"tick\n"[..]; 1_200], Duration::from_millis(50)),
        _ => Reply::bytes("fine"),
    })
}

struct World {
    gateway: Gateway,
    signer: SigningKey,
    robot: String,
    _upstream: Upstream,
}

fn world(more: &str) -> World {
    let upstream = upstream();
    let signer = SigningKey::es256("k");
    let mut site = Site::new(&upstream.url());
    site.accept_tokens(&[&signer], "");
    let robot = site.key("robot", "service:robot", "created = 2026-01-01T00:00:00Z");
    site.add(more);
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    World { gateway: site.start(), signer, robot, _upstream: upstream }
}

impl World {
    fn token(&self, subject: &str, id: &str, issued: i64) -> String {
        bearer(&self.signer, &claims(subject).set("jti", id).seconds_from_now("iat", issued))
    }

    fn as_bearer(&self, token: &str) -> u16 {
        self.gateway.get("/", &[("Authorization", token)]).status()
    }

    fn as_robot(&self) -> u16 {
        self.gateway.get("/", &[("X-Api-Key", &self.robot)]).status()
    }
}

#[test]
fn a_token_that_is_revoked_is_refused_from_the_next_request_on_and_no_other() {
    let world = world("");
    let (first, second) = (world.token("alice", "first", 0), world.token("alice", "second", 0));
    // It was verified before, and is remembered as good.
    assert_eq!((world.as_bearer(&first), world.as_bearer(&second)), (200, 200));
    let told = check(&world.gateway, &["revoke", "token", "first", "--reason", "laptop stolen"], 0);
    assert!(told.contains("token first is revoked until") && told.contains("there is no [store]"), "{told}");
    // On every worker: connections go to either.
    for _ in 0..8 {
        let answer = world.gateway.get("/", &[("Authorization", &first)]);
        let event = world.gateway.check_refused("revoked", &answer, 401, "authn.revoked");
        let message = event["message"].as_str().unwrap();
        assert!(message.contains("revoked at") && message.contains("laptop stolen"), "{message}");
        assert!(!answer.text().contains("laptop"), "why is for the operator: {}", answer.text());
        assert_eq!(world.as_bearer(&second), 200);
    }
    let events = of_kind(&world.gateway.events.all(), "admin.revoke").into_iter().cloned().collect::<Vec<_>>();
    assert_eq!(events.len(), 1);
    assert_eq!((&events[0]["decision"], &events[0]["severity"]), (&json!("permit"), &json!("medium")));
    assert!(events[0]["message"].as_str().unwrap().contains("token first is revoked"), "{:#}", events[0]);
    check(&world.gateway, &["revoke", "lift", "token", "first"], 0);
    assert_eq!(world.as_bearer(&first), 200);
    // What makes no sense, and what is not there.
    check(&world.gateway, &["revoke", "lift", "token", "first"], 1);
    check(&world.gateway, &["revoke", "principal", "alice", "--reason", "x"], 1);
    check(&world.gateway, &["revoke", "token", "x"], 2);
    let failed = of_kind(&world.gateway.events.all(), "admin.revoke").last().unwrap()["decision"].clone();
    assert_eq!(failed, "deny");
}

#[test]
fn of_a_principal_what_was_issued_later_counts_and_a_key_is_revoked_by_its_id() {
    let mut world = world("");
    let (old, new) = (world.token("alice", "old", -100), world.token("alice", "new", 0));
    let (undated, bobs) = (bearer(&world.signer, &claims("alice").without("iat")), world.token("bob", "bobs", -100));
    let minute_ago = jiff::Timestamp::now() - Duration::from_secs(50);
    let before = minute_ago.to_string();
    check(&world.gateway, &["revoke", "principal", "user:alice", "--before", &before, "--reason", "left"], 0);
    let statuses = |world: &World| [&old, &new, &undated, &bobs].map(|token| world.as_bearer(token));
    assert_eq!(statuses(&world), [401, 200, 401, 200]);
    let answer = world.gateway.get("/", &[("Authorization", &undated)]);
    let event = world.gateway.check_refused("undated", &answer, 401, "authn.revoked");
    assert!(event["message"].as_str().unwrap().contains("nobody knows when"), "{event:#}");
    // A reload changes nothing of it.
    world.gateway.reload("ok");
    assert_eq!(statuses(&world), [401, 200, 401, 200]);
    assert_eq!(world.as_robot(), 200);
    check(&world.gateway, &["revoke", "key", "robot", "--reason", "leaked"], 0);
    let answer = world.gateway.get("/", &[("X-Api-Key", &world.robot)]);
    world.gateway.check_refused("a revoked key", &answer, 401, "authn.revoked");
    // The key of a principal was issued when it was made.
    check(&world.gateway, &["revoke", "lift", "key", "robot"], 0);
    check(
        &world.gateway,
        &["revoke", "principal", "service:robot", "--before", "2025-01-01T00:00:00Z", "--reason", "x"],
        0,
    );
    assert_eq!(world.as_robot(), 200);
    check(&world.gateway, &["revoke", "principal", "service:robot", "--reason", "x"], 0);
    assert_eq!(world.as_robot(), 401);
    let listed: Value = serde_json::from_str(&check(&world.gateway, &["revoke", "list", "-o", "json"], 0)).unwrap();
    let names: Vec<_> = listed["revocations"].as_array().unwrap().iter().map(|each| each["name"].clone()).collect();
    assert_eq!(names, ["service:robot", "user:alice"]);
    assert_eq!(listed["kept"], false);
}

#[test]
fn an_open_stream_ends_within_the_bound() {
    let world = world("[limits]\nrecheck = \"1s\"\n");
    let open = |token: &str| -> Conn {
        let mut client = world.gateway.conn();
        client.send(request("GET", "/stream", &[("Authorization", token)], b""));
        assert_eq!(client.try_head().unwrap().status, 200);
        client
    };
    let (mut cut, mut kept) = (open(&world.token("alice", "cut", 0)), open(&world.token("alice", "kept", 0)));
    check(&world.gateway, &["revoke", "token", "cut", "--reason", "stolen"], 0);
    let mut last = Vec::new();
    while let Ok(more) = cut.next_bytes() {
        if more.is_empty() {
            break;
        }
        last = more;
    }
    assert!(!last.ends_with(b"0\r\n\r\n"), "an answer that was cut must not look whole");
    let event = world.gateway.refusals(1).pop().unwrap();
    assert_eq!(event["reasons"], json!(["session.terminated", "authn.revoked"]));
    assert!(!kept.next_bytes().unwrap().is_empty());
}

#[test]
fn what_was_answered_survives_a_kill() {
    let world = world("[store]\npath = \"state.db\"\n");
    let (token, other) = (world.token("alice", "gone", 0), world.token("alice", "other", 0));
    for arguments in [
        &["revoke", "token", "gone", "--reason", "x"][..],
        &["revoke", "token", "other", "--reason", "x"],
        &["revoke", "key", "robot", "--reason", "x", "--for", "1h"],
        &["revoke", "lift", "token", "other"],
    ] {
        let told = check(&world.gateway, arguments, 0);
        assert!(!told.contains("not kept"), "{told}");
    }
    let World { gateway: Gateway { site, mut process, .. }, robot, _upstream, .. } = world;
    // At once: what was answered is on the disk.
    process.signal(Signal::Kill);
    process.wait_exit(PATIENCE);
    let gateway = site.start();
    let with = |token: &str| gateway.get("/", &[("Authorization", token)]).status();
    assert_eq!((with(&token), with(&other)), (401, 200));
    assert_eq!(gateway.get("/", &[("X-Api-Key", &robot)]).status(), 401);
    let listed: Value = serde_json::from_str(&check(&gateway, &["revoke", "list", "-o", "json"], 0)).unwrap();
    assert_eq!((listed["revocations"].as_array().unwrap().len(), &listed["kept"]), (2, &json!(true)));
}
