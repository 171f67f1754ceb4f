//! API keys over their life: made for some routes and networks, rotated with an overlap, listed with their last use, withdrawn.

use portcullis_testkit::process::{Finished, Signal};
use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wait::PATIENCE;
use serde_json::{Value, json};

use crate::harness::{AUTHENTICATED, Gateway, NO_BANS, Site, portcullis};

const NETWORK: &str = "\n[[network]]\nname = \"office\"\naddresses = [\"127.0.0.9\"]\n";

/// Two routes, and keys that a test makes with the command line.
fn site(upstream: &Upstream) -> Site {
    let mut site = Site::without_route(&upstream.url());
    for name in ["billing", "payroll"] {
        site.add(&format!("[[route]]\nname = \"{name}\"\npaths = [\"/{name}/**\"]\nupstream = \"app\"\n"));
    }
    site.add("[[identity.api_key]]\nname = \"keys\"\nheader = \"x-api-key\"\nfile = \"made.toml\"\n[store]\npath = \"state.db\"\n");
    site.policy(&[AUTHENTICATED, NETWORK, NO_BANS].concat());
    site
}

/// A verb of `key` on the file; what it says on standard output.
#[track_caller]
fn key(site: &Site, arguments: &[&str]) -> String {
    let file = site.path("made.toml");
    let config = site.write();
    let finished: Finished =
        portcullis().arg("-c").arg(config).arg("key").args(arguments).arg("--file").arg(file).run(PATIENCE);
    assert_eq!(finished.status.code(), Some(0), "{arguments:?}: {finished:?}");
    finished.stdout.join("\n")
}

fn listed(site: &Site) -> Value {
    serde_json::from_str(&key(site, &["list", "-o", "json"])).unwrap()
}

fn status(gateway: &Gateway, source: &str, path: &str, key: &str) -> u16 {
    gateway.get_from(source, path, &[("X-Api-Key", key)]).status()
}

#[test]
fn a_key_for_some_routes_and_networks_counts_nowhere_else_and_says_why() {
    let upstream = Upstream::start();
    let site = site(&upstream);
    let narrow = key(&site, &["create", "narrow", "--route", "billing"]);
    let inside = key(&site, &["create", "inside", "--network", "office"]);
    let gateway = site.start();
    assert_eq!(status(&gateway, "127.0.0.1", "/billing/a", &narrow), 200);
    let answer = gateway.get("/payroll/a", &[("X-Api-Key", &narrow)]);
    let event = gateway.check_refused("another route", &answer, 403, "rbac.condition_unmet");
    let message = event["message"].as_str().unwrap();
    assert!(message.contains("the key narrow is only for the routes billing, and this is payroll"), "{message}");
    assert_eq!((&event["identity"]["api_key_id"], &event["nearest"]), (&json!("narrow"), &json!([])));
    assert!(!answer.text().contains("billing"), "the caller is not told: {}", answer.text());
    assert_eq!(status(&gateway, "127.0.0.9", "/payroll/a", &inside), 200);
    let answer = gateway.get("/payroll/a", &[("X-Api-Key", &inside)]);
    let event = gateway.check_refused("from elsewhere", &answer, 403, "rbac.condition_unmet");
    let message = event["message"].as_str().unwrap();
    assert!(message.contains("only for callers from office, and 127.0.0.1"), "{message}");
    for secret in [&narrow, &inside] {
        let written = gateway.events.text();
        assert!(!written.contains(secret.split('_').nth(2).unwrap()), "an event holds a secret");
    }
}

#[test]
fn a_key_is_rotated_with_an_overlap_and_withdrawn_without_losing_a_comment() {
    let upstream = Upstream::start();
    let site = site(&upstream);
    let old = key(&site, &["create", "robot"]);
    let other = key(&site, &["create", "other"]);
    let file = site.path("made.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("id = \"robot\"", "id = \"robot\" # ask the data desk")).unwrap();
    let mut gateway = site.start();
    let new = key(&gateway.site, &["rotate", "robot", "--overlap", "1h"]);
    assert_ne!(old, new);
    gateway.reload("ok");
    let both = |gateway: &Gateway| [&old, &new].map(|key| status(gateway, "127.0.0.1", "/billing/a", key));
    assert_eq!(both(&gateway), [200, 200]);
    // Once more, and the one of before counts no longer.
    let newest = key(&gateway.site, &["rotate", "robot"]);
    gateway.reload("ok");
    assert_eq!(both(&gateway), [401, 401]);
    assert_eq!(status(&gateway, "127.0.0.1", "/billing/a", &newest), 200);
    key(&gateway.site, &["revoke", "robot"]);
    gateway.reload("ok");
    let answer = gateway.get("/billing/a", &[("X-Api-Key", &newest)]);
    gateway.check_refused("revoked", &answer, 401, "authn.revoked");
    assert_eq!(status(&gateway, "127.0.0.1", "/billing/a", &other), 200);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("# ask the data desk") && text.contains("revoked = true"), "{text}");
    for secret in [&old, &new, &newest] {
        assert!(!text.contains(secret.split('_').nth(2).unwrap()), "the file holds a secret");
    }
}

#[test]
fn the_last_use_of_a_key_is_known_and_survives_a_restart() {
    let upstream = Upstream::start();
    let site = site(&upstream);
    let used = key(&site, &["create", "used"]);
    let _ = key(&site, &["create", "idle"]);
    let without = listed(&site);
    assert_eq!((&without["asked"], &without["keys"][0]["last_used"]), (&json!(false), &json!(null)));
    let gateway = site.start();
    assert_eq!(status(&gateway, "127.0.0.1", "/billing/a", &used), 200);
    let check = |gateway: &Gateway| {
        let listed = listed(&gateway.site);
        assert_eq!(listed["asked"], true);
        let keys = listed["keys"].as_array().unwrap();
        assert_eq!((&keys[0]["id"], &keys[0]["state"]), (&json!("used"), &json!("active")));
        assert!(keys[0]["last_used"].is_string() && keys[1]["last_used"].is_null(), "{listed:#}");
        keys[0]["last_used"].clone()
    };
    let before = check(&gateway);
    let Gateway { site, mut process, .. } = gateway;
    process.signal(Signal::Term);
    process.wait_exit(PATIENCE);
    assert_eq!(check(&site.start()), before);
}
