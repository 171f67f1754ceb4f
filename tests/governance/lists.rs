//! A list that the guards hold back, where changes need approvals: who is in a network is who gets in.

use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wait::{self, PATIENCE};
use serde_json::Value;

use super::{GOVERNED, STORE, approve, begun, json, propose, refused, run};
use crate::harness::{Gateway, NO_BANS, Site, of_kind};

/// Alice may read from where a list says.
fn policy(accepted: &str) -> String {
    format!(
        r#"
[[network]]
name = "partner"
source = {{ file = "partner.txt", refresh = "1s", private = true{accepted} }}

[[role]]
name = "reader"
permissions = [{{ actions = ["GET /**"] }}]

[[assignment]]
name = "alice-reads"
role = "reader"
principals = ["user:alice"]
scope = "*"
when = {{ networks = ["partner"] }}
{NO_BANS}"#
    )
}

fn held(gateway: &Gateway) -> String {
    let hash = || {
        let list = json(&gateway.site, &["feed", "list"]);
        Some(list["feeds"][0]["held"]["sha256"].as_str()?.to_owned())
    };
    wait::until(PATIENCE, hash).expect("an update is held back")
}

fn from(gateway: &Gateway, key: &str, address: &str) -> u16 {
    gateway.get_from(address, "/", &[("x-api-key", key)]).status()
}

#[test]
fn a_list_that_is_held_back_is_in_force_as_approved_and_not_by_one_operator() {
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    let key = site.key("alice", "user:alice", "");
    site.add(STORE);
    site.add(GOVERNED);
    site.file("partner.txt", "127.0.0.1\n");
    site.policy(&policy(""));
    site.write();
    let [_, ben, cem] = begun(&site);
    let gateway = site.start();
    assert!(wait::until(PATIENCE, || (from(&gateway, &key, "127.0.0.1") == 200).then_some(())).is_some());
    gateway.site.file("partner.txt", "127.0.0.1\n127.0.0.5\n");
    let sha256 = held(&gateway);
    let said = refused(&gateway.site, &["feed", "accept", "partner", "--sha256", &sha256], 1);
    assert!(said.contains(&format!("accepted = [\"{sha256}\"]")), "{said}");
    let said = refused(&gateway.site, &["feed", "rollback", "partner"], 1);
    assert!(said.contains("changes need approvals here"), "{said}");
    assert_eq!(from(&gateway, &key, "127.0.0.5"), 403);
    // Nor is it named as if it were one.
    let listed = run(&gateway.site, &["feed", "list"], 0);
    assert!(listed.contains(&format!("accepted = [\"{sha256}\"]")) && !listed.contains("feed accept"), "{listed}");
    // The way that is left.
    gateway.site.policy(&policy(&format!(", accepted = [\"{sha256}\"]")));
    let change = propose(&gateway.site, "ana");
    let list = json(&gateway.site, &["policy", "list"]);
    let changes: Vec<&Value> = list["changes"].as_array().unwrap().iter().collect();
    assert_eq!(changes[0]["class"], "mixed", "{changes:?}");
    assert!(refused(&gateway.site, &["policy", "activate", &change], 1).contains("0 of 2 approvals"));
    approve(&gateway.site, &change, &ben);
    approve(&gateway.site, &change, &cem);
    run(&gateway.site, &["policy", "activate", &change], 0);
    let is_in = || (from(&gateway, &key, "127.0.0.5") == 200).then_some(());
    assert!(wait::until(PATIENCE, is_in).is_some(), "the list is in force");
    let events = gateway.stop();
    let held = of_kind(&events, "feed.held");
    let message = held[0]["message"].as_str().unwrap();
    assert!(held.len() == 1 && message.contains("accepted = [") && !message.contains("feed accept"), "{message}");
    assert_eq!(of_kind(&events, "admin.feed_accept")[0]["decision"], "deny");
    assert_eq!(of_kind(&events, "admin.feed_rollback")[0]["decision"], "deny");
}
