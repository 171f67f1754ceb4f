//! SIGHUP: the new configuration as a whole or the old one as a whole, and not one request lost.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wait::{self, PATIENCE};
use portcullis_testkit::wire::{Conn, request};

use crate::harness::{Gateway, NO_BANS, Site, of_kind};

/// Permits `GET` on one half of the paths.
fn policy(half: &str) -> String {
    format!(
        r#"
[[resource]]
route = "app"
authentication = "none"
[[role]]
name = "half"
permissions = [{{ actions = ["GET /{half}/**"] }}]
[[assignment]]
name = "half"
role = "half"
principals = ["anyone"]
scope = "*"
{NO_BANS}"#
    )
}

fn statuses(gateway: &Gateway) -> (u16, u16) {
    (gateway.get("/left/x", &[]).status(), gateway.get("/right/x", &[]).status())
}

#[test]
fn a_new_policy_is_effective_when_the_reload_says_so_and_no_request_fails() {
    let upstream = Upstream::start();
    let site = Site::new(&upstream.url());
    site.policy(&policy("left"));
    let mut gateway = site.start();
    assert_eq!(statuses(&gateway), (200, 403));
    let address = gateway.address;
    let (stop, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|client| {
                let (stop, served) = (&stop, &served);
                scope.spawn(move || {
                    let mut connection = Conn::open(address);
                    while !stop.load(Ordering::Relaxed) {
                        let target = if client % 2 == 0 { "/left/x" } else { "/right/x" };
                        connection.send(request("GET", target, &[], b""));
                        let answer = connection.answer();
                        // By the old policy or the new one, but by one of them.
                        match answer.status() {
                            200 => {}
                            403 => assert_eq!(answer.json()["reason"], "rbac.no_matching_grant"),
                            other => panic!("{target} was answered {other}"),
                        }
                        served.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for round in 0..30 {
            let half = if round % 2 == 0 { "right" } else { "left" };
            gateway.site.policy(&policy(half));
            gateway.reload("ok");
            assert_eq!(statuses(&gateway), if half == "right" { (403, 200) } else { (200, 403) }, "round {round}");
        }
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
    assert!(served.load(Ordering::Relaxed) > 100, "there was hardly any traffic");
    let events = gateway.stop();
    assert_eq!(of_kind(&events, "policy.reloaded").len(), 30);
    let versions: std::collections::BTreeSet<_> =
        of_kind(&events, "access.denied").iter().map(|event| event["policy"]["sha256"].to_string()).collect();
    assert_eq!(versions.len(), 2, "each refusal names the policy that it was refused under");
}

#[test]
fn a_broken_policy_keeps_the_old_one() {
    let upstream = Upstream::start();
    let site = Site::new(&upstream.url());
    let good = policy("left");
    site.policy(&good);
    let mut gateway = site.start();
    let path = gateway.site.path("policy.toml");
    let whole = fs::read(&path).unwrap();
    let replaced = |from: &str, to: &str| {
        let text = String::from_utf8(whole.clone()).unwrap();
        assert!(text.contains(from), "{from}");
        text.replace(from, to).into_bytes()
    };
    let added = |more: &str| [&whole[..], more.as_bytes()].concat();
    let corruptions: Vec<(&str, Option<Vec<u8>>)> = vec![
        ("gone", None),
        ("empty", Some(Vec::new())),
        ("cut in the middle", Some(whole[..whole.len() / 2].to_vec())),
        ("random bytes", Some((0..512_u32).map(|index| (index * 37 % 256) as u8).collect())),
        ("not UTF-8", Some(added("# \u{fc}").into_iter().map(|byte| if byte == 0xc3 { 0xff } else { byte }).collect())),
        ("a NUL", Some(added("\0"))),
        ("another language", Some(b"{\"version\": 1}".to_vec())),
        ("another version", Some(replaced("version = 1", "version = 2"))),
        ("no version", Some(replaced("version = 1", ""))),
        ("an unknown key", Some(replaced("principals", "principal"))),
        ("an unknown section", Some(added("[[asignment]]\nname = \"x\"\n"))),
        ("an unknown role", Some(replaced("role = \"half\"", "role = \"hlaf\""))),
        ("an unknown route", Some(replaced("route = \"app\"", "route = \"ap\""))),
        ("an unknown scope", Some(replaced("scope = \"*\"", "scope = \"ap\""))),
        ("an unknown network", Some(added("[[resource]]\nroute = \"other\"\nnetworks = { allow = [\"nowhere\"] }\n"))),
        ("a bad pattern", Some(replaced("GET /left/**", "GET left/**"))),
        ("a bad prefix", Some(added("[[network]]\nname = \"n\"\naddresses = [\"10.0.0.1/33\"]\n"))),
        ("a name twice", Some(added("[[role]]\nname = \"half\"\npermissions = []\n"))),
        (
            "a cycle of roles",
            Some(added("[[role]]\nname = \"a\"\ninherits = [\"b\"]\n[[role]]\nname = \"b\"\ninherits = [\"a\"]\n")),
        ),
        ("a number without a unit", Some(replaced("mode = \"off\"", "first = 600"))),
        ("a word that is no choice", Some(replaced("mode = \"off\"", "mode = \"of\""))),
        ("a time that is none", Some(replaced("scope = \"*\"", "scope = \"*\"\nexpires = 2026-13-01T00:00:00Z"))),
    ];
    let count = corruptions.len();
    for (number, (what, content)) in corruptions.into_iter().enumerate() {
        match content {
            Some(content) => fs::write(&path, content).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        gateway.reload("error");
        assert_eq!(statuses(&gateway), (200, 403), "{what}: the old policy does not serve any more");
        let errors = gateway.metric("portcullis_policy_reload_total{result=\"error\"}");
        assert_eq!(errors, Some((number + 1) as f64), "{what}");
    }
    // A folder in the file's place.
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    gateway.reload("error");
    assert_eq!(statuses(&gateway), (200, 403));
    fs::remove_dir(&path).unwrap();
    gateway.site.policy(&policy("right"));
    gateway.reload("ok");
    assert_eq!(statuses(&gateway), (403, 200));
    // At an end what a disk does not take in time is given up, and said: here it is only late.
    let all_told = || (of_kind(&gateway.events.all(), "policy.rejected").len() > count).then_some(());
    assert!(wait::until(PATIENCE, all_told).is_some(), "not each rejection is told: {:#?}", gateway.events.all());
    let events = gateway.stop();
    let rejected = of_kind(&events, "policy.rejected");
    assert_eq!(rejected.len(), count + 1);
    assert!(rejected.iter().all(|event| event["severity"] == "high" && event["message"].is_string()), "{rejected:#?}");
    let sha256: std::collections::BTreeSet<_> =
        rejected.iter().map(|event| event["policy"]["sha256"].to_string()).collect();
    assert_eq!(sha256.len(), 1, "a rejection names the policy that stays in force");
}

#[test]
fn an_empty_policy_denies_all_and_a_broken_gateway_file_or_key_file_changes_nothing() {
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    let key = site.key("alice", "user:alice", "");
    let mut gateway = site.start();
    let with_key = |gateway: &Gateway| gateway.get("/", &[("x-api-key", &key)]).status();
    assert_eq!(with_key(&gateway), 200);
    for (file, content) in
        [("portcullis.toml", "version = 1\n[[listner]]\n"), ("keys.toml", "version = 1\n[[key]]\nid = \"alice\"\n")]
    {
        let whole = fs::read_to_string(gateway.site.path(file)).unwrap();
        gateway.site.file(file, content);
        gateway.reload("error");
        assert_eq!(with_key(&gateway), 200, "{file}");
        gateway.site.file(file, &whole);
    }
    gateway.site.policy("");
    gateway.reload("ok");
    let answer = gateway.get("/", &[("x-api-key", &key)]);
    gateway.check_refused("nothing is granted", &answer, 403, "rbac.no_matching_grant");
    gateway.check_refused("nor to anybody", &gateway.get("/", &[]), 401, "authn.missing");
}
