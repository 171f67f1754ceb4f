//! More refusals than usual: that it is noticed, and what it is put down to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use portcullis_testkit::process::Finished;
use portcullis_testkit::upstream::{Reply, Upstream};
use portcullis_testkit::wait::{self, PATIENCE};
use portcullis_testkit::wire::{Conn, request};
use serde_json::Value;

use crate::harness::{Gateway, NO_BANS, Site, of_kind, portcullis};

/// Everybody with a key reads, from the office alone.
const POLICY: &str = r#"
[[network]]
name = "office-berlin"
addresses = ["127.0.0.8/29"]

[[network]]
name = "home"
addresses = ["127.0.0.16/28"]

[[resource]]
route = "app"
networks = { allow = ["office-berlin", "home"] }

[[role]]
name = "reader"
permissions = [{ actions = ["GET /reports/**"] }]

[[assignment]]
name = "staff-reads"
role = "reader"
principals = ["authenticated"]
scope = "app"
"#;

/// A gateway with buckets of a second, and the key of somebody who may read.
fn started(upstream: &Upstream) -> (Gateway, String) {
    let mut site = Site::new(&upstream.url());
    site.add("[spike]\nbucket = \"1s\"\n");
    let key = site.key("dave", "user:dave", "");
    site.policy(&[POLICY, NO_BANS].concat());
    (site.start(), key)
}

fn run(gateway: &Gateway, arguments: &[&str]) -> Finished {
    portcullis().arg("-c").arg(gateway.site.path("portcullis.toml")).args(arguments).run(PATIENCE)
}

fn json(gateway: &Gateway, arguments: &[&str]) -> Value {
    let finished = run(gateway, arguments);
    let said = finished.stdout.join("\n");
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said} {finished:?}"))
}

/// So many requests one after another on one connection; says how many were answered with this status.
fn ask(gateway: &Gateway, source: &str, key: &str, times: usize, status: u16) -> usize {
    let mut connection = Conn::open_from(source.parse().unwrap(), gateway.address);
    let one = |_| {
        connection.send(request("GET", "/reports/7", &[("x-api-key", key), ("user-agent", "reporter/1.2")], b""));
        connection.answer().status() == status
    };
    (0..times).map(one).filter(|right| *right).count()
}

/// Until the gateway knows what is usual: requests that are let in.
fn until_it_knows(gateway: &Gateway, key: &str) {
    let known = || {
        assert_eq!(ask(gateway, "127.0.0.9", key, 20, 200), 20);
        (json(gateway, &["spike", "list", "-o", "json"])["learning"] == false).then_some(())
    };
    assert!(wait::until(3 * PATIENCE, known).is_some(), "it never knows what is usual");
}

/// Goes on until a spike was explained; its event and its report.
fn explained(gateway: &Gateway, mut go_on: impl FnMut()) -> (Value, Value) {
    let event = || {
        go_on();
        of_kind(&gateway.events.all(), "spike.explained").first().map(|event| (*event).clone())
    };
    let event = wait::until(3 * PATIENCE, event).unwrap_or_else(|| panic!("no spike is explained"));
    let report = json(gateway, &["spike", "explain", event["id"].as_str().unwrap(), "-o", "json"]);
    (event, report)
}

fn reload(gateway: &Gateway, policy: &str) {
    gateway.site.policy(&[policy, NO_BANS].concat());
    let finished = run(gateway, &["reload"]);
    assert_eq!(finished.status.code(), Some(0), "{finished:?}");
}

#[test]
fn a_network_that_was_removed_is_put_down_to_the_policy() {
    let upstream = Upstream::start();
    let (gateway, key) = started(&upstream);
    until_it_knows(&gateway, &key);
    reload(&gateway, &POLICY.replace("127.0.0.8/29", "127.0.0.200/32"));
    let (event, report) = explained(&gateway, || {
        assert_eq!(ask(&gateway, "127.0.0.9", &key, 30, 403), 30);
    });
    let cause = &report["causes"][0];
    assert_eq!(cause["kind"], "config_change", "{report:#}");
    assert!(cause["share_percent"].as_u64().unwrap() >= 95, "{report:#}");
    assert!(cause["summary"].as_str().unwrap().contains("by network/office-berlin"), "{report:#}");
    assert!(cause["fix"]["preview"].as_str().unwrap().contains("would permit"), "{report:#}");
    assert!(event["message"].as_str().unwrap().contains("1. config_change"), "{event:#}");
    assert_eq!((&event["severity"], &event["decision"]), (&"high".into(), &Value::Null));
    let said = run(&gateway, &["spike", "explain"]).stdout.join("\n");
    assert!(said.starts_with("spike of refusals ") && said.contains("unexplained 0 % (0)"), "{said}");
    let listed = run(&gateway, &["spike", "list"]).stdout.join("\n");
    assert!(listed.contains("config_change "), "{listed}");
}

#[test]
fn strangers_are_an_attack_and_a_change_that_came_with_them_is_not_blamed() {
    let upstream = Upstream::start();
    let (gateway, key) = started(&upstream);
    until_it_knows(&gateway, &key);
    reload(&gateway, &POLICY.replace("\"GET /reports/**\"", "\"GET /reports/**\", \"GET /elsewhere\""));
    let (_, report) = explained(&gateway, || {
        assert_eq!(ask(&gateway, "127.9.9.9", "not-a-key", 30, 403), 30);
        assert_eq!(ask(&gateway, "127.0.0.9", &key, 5, 200), 5, "nobody else is touched");
    });
    assert_eq!(report["causes"][0]["kind"], "attack", "{report:#}");
    assert_eq!(report["causes"].as_array().unwrap().len(), 1, "{report:#}");
    assert_eq!(report["ruled_out"].as_array().unwrap().len(), 1, "{report:#}");
    let command = report["causes"][0]["fix"]["command"].as_str().unwrap();
    assert!(command.starts_with("portcullis ban add --range 127.9.9.0/24 "), "{report:#}");
}

#[test]
fn an_upstream_that_refuses_whom_it_answered_before_is_the_cause() {
    let upgraded = Arc::new(AtomicBool::new(false));
    let answers = Arc::clone(&upgraded);
    let upstream = Upstream::choosing(move |_| Reply::status(if answers.load(Ordering::Relaxed) { 403 } else { 200 }));
    let (gateway, key) = started(&upstream);
    until_it_knows(&gateway, &key);
    upgraded.store(true, Ordering::Relaxed);
    let (_, report) = explained(&gateway, || {
        assert_eq!(ask(&gateway, "127.0.0.9", &key, 30, 403), 30);
    });
    assert_eq!(report["causes"][0]["kind"], "upstream", "{report:#}");
    assert!(report["causes"][0]["share_percent"].as_u64().unwrap() >= 95, "{report:#}");
}

#[test]
fn a_gateway_that_looks_for_no_spikes_says_so() {
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    site.add("[spike]\nenabled = false\n");
    let gateway = site.start();
    let refused = run(&gateway, &["spike", "list"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(refused.stderr.join("\n").contains("spikes are not looked for"), "{refused:?}");
}
