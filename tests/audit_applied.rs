//! `audit apply`: what an audit proposes becomes one change, by a gateway that runs and without one; and keys that nobody uses.
//!
//! What is applied here hangs on the policy alone, so that no clock has a say in it.

use std::fs;

use portcullis_testkit::process::Finished;
use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wait::{self, PATIENCE};
use serde_json::{Value, json};

use crate::governance::{GOVERNED, approve, begun};
use crate::harness::{Gateway, NO_BANS, Site};

const STORE: &str = "[store]\npath = \"state.db\"\n[audit]\nschedule = \"off\"\n";

/// Alice reads; the operators may do everything, and are nobody: no key names them.
const ROLES: &str = r#"
# Who reads.
[[role]]
name = "reader"
permissions = [{ actions = ["GET /**"] }]

[[role]]
name = "root"
permissions = [{ actions = ["* /**"] }]

[[assignment]]
name = "alice-reads"
role = "reader"
principals = ["user:alice"]
scope = "app"
"#;

const OPERATORS: &str =
    "[[assignment]]\nname = \"ops\"\nrole = \"root\"\nprincipals = [\"service:ops\"]\nscope = \"app\"\n";

fn site(upstream: &Upstream, more: &str) -> (Site, String) {
    let mut site = Site::new(&upstream.url());
    let key = site.key("alice", "user:alice", "");
    site.add(STORE);
    site.add(more);
    site.policy(&[ROLES, OPERATORS, NO_BANS].concat());
    (site, key)
}

#[track_caller]
fn check(site: &Site, arguments: &[&str], code: i32, words: &str) -> Finished {
    let finished = site.ask(arguments);
    let said = [finished.stdout.clone(), finished.stderr.clone()].concat().join("\n");
    assert_eq!(finished.status.code(), Some(code), "{arguments:?}: {said}");
    assert!(said.contains(words), "{arguments:?}: {words} in {said}");
    finished
}

fn as_json(finished: &Finished) -> Value {
    let said = finished.stdout.join("\n");
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {finished:?}"))
}

/// What an audit of now finds of this kind.
fn found(site: &Site, id: &str) -> String {
    let report = as_json(&check(site, &["audit", "run", "-o", "json", "--fail-on", "never"], 0, ""));
    let finding = report["findings"].as_array().unwrap().iter().find(|finding| finding["id"] == id);
    finding.unwrap_or_else(|| panic!("{report:#}"))["fingerprint"].as_str().unwrap().to_owned()
}

fn read(site: &Site, name: &str) -> String {
    fs::read_to_string(site.path(name)).unwrap()
}

fn versions(site: &Site) -> Value {
    as_json(&check(site, &["policy", "list", "-o", "json"], 0, ""))
}

fn reads(gateway: &Gateway, key: &str) {
    assert_eq!(gateway.get("/reports/7", &[("x-api-key", key)]).status(), 200);
}

/// In a file that the policy includes: all governed files are proposed.
#[test]
fn what_is_found_is_taken_out_of_the_files_as_one_version_with_its_reason() {
    let upstream = Upstream::start();
    let (site, key) = site(&upstream, "");
    fs::create_dir(site.path("more")).unwrap();
    site.file("more/ops.toml", OPERATORS);
    site.policy(&["include = [\"more/*.toml\"]\n", ROLES, NO_BANS].concat());
    let gateway = site.start();
    reads(&gateway, &key);
    let site = &gateway.site;
    let orphan = found(site, "LP04");
    let before = read(site, "policy.toml");

    let tried = as_json(&check(site, &["audit", "apply", &orphan, "--dry-run", "-o", "json"], 0, ""));
    assert_eq!((&tried["findings"], &tried["files"]), (&json!([orphan]), &json!(["more/ops.toml"])), "{tried:#}");
    assert_eq!((&tried["trial"]["newly_denied"], &tried["change"]), (&0.into(), &Value::Null), "{tried:#}");
    assert!(tried["trial"]["replayed"].as_u64().unwrap() > 0, "the sample was tried: {tried:#}");
    assert_eq!(versions(site)["live"]["n"], 1);
    assert_eq!(read(site, "more/ops.toml"), OPERATORS, "nothing was changed");

    // The beginning of a fingerprint is enough, and a finding that proposes no text is refused with why.
    let wide = found(site, "LP05");
    check(site, &["audit", "apply", &wide], 1, "proposes no text that could be applied");
    check(site, &["audit", "apply", "0123456789abcdef"], 1, "has no finding");
    check(site, &["audit", "apply"], 2, "FINDING");
    assert_eq!(versions(site)["live"]["n"], 1);
    check(site, &["audit", "apply", &orphan[..8], "--reason", "spring", "--ticket", "T-1"], 0, "more/ops.toml: ");
    let list = versions(site);
    let change = &list["versions"][0]["change"];
    assert_eq!(
        (&list["live"]["n"], &change["class"], &change["ticket"]),
        (&2.into(), &"tightens".into(), &"T-1".into())
    );
    let reason = change["reason"].as_str().unwrap();
    assert!(reason.starts_with("spring: audit ") && reason.ends_with(&format!(": LP04 {orphan}")), "{reason}");
    assert!(!read(site, "more/ops.toml").contains("service:ops") && read(site, "policy.toml") == before);
    reads(&gateway, &key);

    // Of the policy of before nothing is applied any more.
    let runs = as_json(&check(site, &["audit", "runs", "-o", "json"], 0, ""));
    let run = runs[0]["run"].as_str().unwrap();
    check(site, &["audit", "apply", &orphan, "--run", run], 1, "the policy changed since that audit was made");
    assert_eq!(versions(site)["live"]["n"], 2);
}

#[test]
fn nothing_is_applied_over_an_edit_and_without_a_gateway_the_files_are_written_for_the_next_start() {
    let upstream = Upstream::start();
    let (site, key) = site(&upstream, "");
    let gateway = site.start();
    reads(&gateway, &key);
    let orphan = found(&gateway.site, "LP04");
    // Somebody has begun to edit, and has not reloaded yet.
    let whole = read(&gateway.site, "policy.toml");
    let edited = format!(
        "{whole}\n[[assignment]]\nname = \"x\"\nrole = \"reader\"\nprincipals = [\"user:x\"]\nscope = \"app\"\n"
    );
    fs::write(gateway.site.path("policy.toml"), &edited).unwrap();
    check(&gateway.site, &["audit", "apply", &orphan], 1, "the policy on the disk is not the one in force");
    assert_eq!((read(&gateway.site, "policy.toml"), &versions(&gateway.site)["live"]["n"]), (edited, &1.into()));
    fs::write(gateway.site.path("policy.toml"), &whole).unwrap();

    let Gateway { mut process, site, .. } = gateway;
    assert_eq!(process.stop(PATIENCE).code(), Some(0));
    let orphan = found(&site, "LP04");
    check(&site, &["audit", "apply", &orphan], 0, "no gateway runs");
    let written = read(&site, "policy.toml");
    assert!(!written.contains("service:ops") && written.contains("# Who reads."), "{written}");
    assert_eq!(versions(&site)["live"]["n"], 2);
    let gateway = site.start_within();
    reads(&gateway, &key);
    assert_eq!(versions(&gateway.site)["live"]["n"], 2, "what was written is what starts");
}

#[test]
fn where_changes_need_approvals_it_waits_for_one() {
    let upstream = Upstream::start();
    let (site, key) = site(&upstream, GOVERNED);
    site.write();
    let [_, ben, _] = begun(&site);
    let gateway = site.start_within();
    reads(&gateway, &key);
    let site = &gateway.site;
    found(site, "LP04");
    let done = as_json(&check(site, &["audit", "apply", "--all-safe", "--author", "dan", "-o", "json"], 0, ""));
    let id = done["change"].as_str().unwrap();
    let list = versions(site);
    assert_eq!((&list["live"]["n"], &list["changes"][0]["state"]), (&1.into(), &"open".into()), "{list:#}");
    assert!(list["changes"][0]["reason"].as_str().unwrap().contains(": LP04 "), "{list:#}");
    assert!(read(site, "policy.toml").contains("service:ops"), "nothing is in force yet");
    check(site, &["policy", "activate", id], 1, "");
    approve(site, id, &ben);
    check(site, &["policy", "activate", id], 0, "");
    assert_eq!(versions(site)["live"]["n"], 2);
    assert!(!read(site, "policy.toml").contains("service:ops"));
    reads(&gateway, &key);
}

/// Carol's key was used once; the other one never, and its file says that it is old.
#[test]
fn keys_that_nobody_uses_are_found() {
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    let alice = site.key("alice", "user:alice", "");
    let carol = site.key("spare", "user:carol", "");
    site.key("never", "service:batch", "created = 2020-02-02T02:02:02Z\nexpires = 2099-01-01T00:00:00Z");
    site.add(&format!("{STORE}unused_after = \"3s\"\nmin_observed = \"3s\"\n"));
    site.policy(&[ROLES, NO_BANS].concat());
    let gateway = site.start();
    assert_eq!(gateway.get("/", &[("x-api-key", &carol)]).status(), 403, "accepted, and permitted nothing");
    let unused = || {
        reads(&gateway, &alice);
        let arguments = ["audit", "run", "--only", "LP03", "-o", "json", "--fail-on", "never"];
        let report = as_json(&check(&gateway.site, &arguments, 0, ""));
        let all = report["findings"].as_array().unwrap();
        let of = |key: &str| all.iter().find(|finding| finding["permission"] == format!("key {key}")).cloned();
        Some([of("spare")?, of("never")?])
    };
    let [spare, never] = wait::until(3 * PATIENCE, unused).expect("nobody finds them");
    assert_eq!((&spare["principal"], &never["principal"]), (&"user:carol".into(), &"service:batch".into()));
    assert!(spare["evidence"]["last_used"].is_string() && spare["evidence"]["granted_at"].is_null(), "{spare:#}");
    assert_eq!(never["evidence"]["granted_at"], "2020-02-02T02:02:02Z", "{never:#}");
    assert!(never["evidence"]["last_used"].is_null() && never["evidence"]["observed_since"].is_string(), "{never:#}");
    let facts = |finding: &Value| finding["evidence"]["facts"][0].as_str().unwrap().to_owned();
    assert!(
        facts(&spare).ends_with("never ends") && facts(&never).ends_with("ends at 2099-01-01T00:00:00Z"),
        "{never:#}"
    );
}
