//! Power for a time: eligible assignments that are activated, approved, and end, also over a restart.

use std::time::Duration;

use portcullis_testkit::process::{Finished, Signal};
use portcullis_testkit::upstream::{Reply, Upstream};
use portcullis_testkit::wait::{self, PATIENCE};
use portcullis_testkit::wire::{Conn, request};
use serde_json::Value;

use crate::harness::{Gateway, NO_BANS, Site, of_kind, portcullis};

const STORE: &str = "[store]\npath = \"state.db\"\n[limits]\nrecheck = \"1s\"\n";

/// Alice may become an administrator; whoever is on call may be so only with an approval.
const ELIGIBLE: &str = r#"
[[role]]
name = "admin"
permissions = [{ actions = ["* /admin/**"] }]

[[role]]
name = "operator"
permissions = [{ actions = ["GET /ops/**"] }]

[[assignment]]
name = "alice-administers"
role = "admin"
principals = ["user:alice"]
scope = "*"
activation = { max = "4h" }

[[assignment]]
name = "on-call"
role = "operator"
principals = ["user:alice"]
scope = "*"
activation = { max = "1h", ticket = "required", approvals = 1 }
"#;

fn site(upstream: &Upstream) -> (Site, String) {
    let mut site = Site::new(&upstream.url());
    let alice = site.key("alice", "user:alice", "");
    site.add(STORE);
    site.policy(&[ELIGIBLE, NO_BANS].concat());
    (site, alice)
}

fn ask(site: &Site, arguments: &[&str]) -> Finished {
    portcullis().arg("-c").arg(site.path("portcullis.toml")).args(arguments).run(PATIENCE)
}

/// Runs a verb that is to be done; returns what it said.
#[track_caller]
fn run(site: &Site, arguments: &[&str]) -> String {
    let finished = ask(site, arguments);
    let said = finished.stdout.join("\n");
    assert_eq!(finished.status.code(), Some(0), "{arguments:?}: {said}\n{}", finished.stderr.join("\n"));
    said
}

/// What a verb says that is refused.
#[track_caller]
fn refused(site: &Site, arguments: &[&str]) -> String {
    let finished = ask(site, arguments);
    assert_eq!(finished.status.code(), Some(1), "{arguments:?}: {finished:?}");
    finished.stderr.join("\n")
}

#[track_caller]
fn listed(site: &Site) -> Value {
    serde_json::from_str(&run(site, &["access", "list", "--all", "-o", "json"])).unwrap()
}

fn status(gateway: &Gateway, target: &str, key: &str) -> u16 {
    gateway.get(target, &[("X-Api-Key", key)]).status()
}

/// Waits until an event of this kind is there; returns the last.
#[track_caller]
fn event(gateway: &Gateway, kind: &str, count: usize) -> Value {
    let found = || {
        let all = gateway.events.all();
        let of = of_kind(&all, kind);
        (of.len() >= count).then(|| of[count - 1].clone())
    };
    wait::until(PATIENCE, found).unwrap_or_else(|| panic!("no event {kind} number {count}"))
}

const ACTIVATE: [&str; 7] =
    ["access", "activate", "alice-administers", "--as", "alice", "--reason", "INC-7: disk full"];

/// Finding of 2026-11: an activation had to be ended before it could be asked for again, in the middle of what it was for.
#[test]
fn an_activation_is_extended_while_it_is_in_force() {
    let upstream = Upstream::start();
    let (site, alice) = site(&upstream);
    let gateway = site.start();
    run(&gateway.site, &[&ACTIVATE[..], &["--for", "30m"]].concat());
    assert_eq!(status(&gateway, "/admin/x", &alice), 200);
    assert!(refused(&gateway.site, &[&ACTIVATE[..], &["--for", "20m"]].concat()).contains("is the same"));
    // The rules of a new one hold.
    assert!(refused(&gateway.site, &[&ACTIVATE[..], &["--for", "5h"]].concat()).contains("can be activated for"));
    let nothing = ["access", "activate", "alice-administers", "--as", "alice", "--for", "2h"];
    assert!(refused(&gateway.site, &nothing).contains("demands a justification"));
    let said = run(&gateway.site, &[&ACTIVATE[..], &["--for", "2h"]].concat());
    assert!(said.contains("it takes the place of 1"), "{said}");
    assert_eq!(status(&gateway, "/admin/x", &alice), 200);
    let list = listed(&gateway.site);
    let states: Vec<_> =
        list["access"].as_array().unwrap().iter().map(|power| power["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["in_force", "ended"], "{list}");
    let id = list["access"][0]["id"].as_u64().unwrap();
    let ended = event(&gateway, "grant.ended", 1);
    assert!(ended["message"].as_str().unwrap().contains(&format!("extended as {id}")), "{ended}");
    event(&gateway, "grant.began", 2);
    let said = run(&gateway.site, &["access", "deactivate", &id.to_string(), "--reason", "mended"]);
    assert!(said.contains("ended by"), "{said}");
    assert_eq!(status(&gateway, "/admin/x", &alice), 403);
}

#[test]
fn an_eligible_assignment_gives_nothing_until_it_is_activated_and_says_so() {
    let upstream = Upstream::start();
    let (site, alice) = site(&upstream);
    let gateway = site.start();
    let denied = gateway.get("/admin/x", &[("X-Api-Key", &alice)]);
    let denied = gateway.check_refused("not activated", &denied, 403, "rbac.condition_unmet");
    let message = denied["message"].as_str().unwrap();
    let words = "eligible for role admin: activate with `portcullis access activate alice-administers`";
    assert!(message.contains(words) && !message.contains("ended"), "{message}");
    assert_eq!(denied["nearest"][0]["needs"][0], "activation:alice-administers");
    // Offline it is said as well.
    let who = ask(&gateway.site, &["who-can", "GET", "/admin/x"]).stdout.join("\n");
    assert!(who.contains("activation:alice-administers"), "{who}");
    let list = ask(&gateway.site, &["list", "--as", "user:alice"]).stdout.join("\n");
    assert!(list.contains("activation:alice-administers"), "{list}");
    let eligible = run(&gateway.site, &["access", "list"]);
    assert!(
        eligible.starts_with("nobody has power for a time") && eligible.contains("alice-administers"),
        "{eligible}"
    );

    let said = run(&gateway.site, &[&ACTIVATE[..], &["--for", "2h", "--ticket", "OPS-12"]].concat());
    assert!(said.starts_with("1 (alice-administers of user:alice) is in force until "), "{said}");
    assert_eq!(status(&gateway, "/admin/x", &alice), 200);
    assert_eq!(status(&gateway, "/ops/x", &alice), 403, "and nothing else");
    let began = event(&gateway, "grant.began", 1);
    assert_eq!((&began["severity"], &began["identity"]["id"]), (&"medium".into(), &"alice".into()));
    assert!(began["message"].as_str().unwrap().contains("INC-7: disk full, ticket OPS-12"), "{began}");
    assert_eq!(event(&gateway, "admin.access_activate", 1)["decision"], "permit");
    let again = refused(&gateway.site, &[&ACTIVATE[..], &["--for", "2h"]].concat());
    assert!(again.contains("is the same, and is in force"), "{again}");

    // What is asked for in vain is an event, too, and gives nothing.
    let too_long = refused(&gateway.site, &[&ACTIVATE[..], &["--for", "5h"]].concat());
    assert!(too_long.contains("can be activated for a second to 4h"), "{too_long}");
    assert!(
        refused(&gateway.site, &["access", "activate", "nothing", "--as", "alice"]).contains("no eligible assignment")
    );
    let other = ["access", "activate", "alice-administers", "--as", "bob", "--reason", "x"];
    assert!(refused(&gateway.site, &other).contains("does not name user:bob"));
    let silent = ["access", "activate", "on-call", "--as", "alice"];
    assert!(refused(&gateway.site, &silent).contains("demands a justification"));
    assert!(refused(&gateway.site, &[&silent[..], &["--reason", "x"]].concat()).contains("demands a ticket"));
    assert_eq!(event(&gateway, "admin.access_activate", 7)["decision"], "deny");

    let ended = run(&gateway.site, &["access", "deactivate", "1", "--reason", "mended"]);
    assert!(ended.contains("ended by"), "{ended}");
    let denied = gateway.get("/admin/x", &[("X-Api-Key", &alice)]);
    let denied = gateway.check_refused("ended", &denied, 403, "rbac.condition_unmet");
    let message = denied["message"].as_str().unwrap();
    assert!(message.contains("; its activation ended at 20"), "{message}");
    assert_eq!(denied["facts"]["activated"], serde_json::json!([]));
    event(&gateway, "grant.ended", 1);
    assert_eq!(event(&gateway, "admin.access_end", 1)["decision"], "permit");
    assert!(refused(&gateway.site, &["access", "deactivate", "1", "--reason", "again"]).contains("has ended"));
    let shown = run(&gateway.site, &["access", "show", "1"]);
    assert!(shown.contains("mended (") && shown.contains("INC-7: disk full"), "{shown}");
    assert!(run(&gateway.site, &["access", "verify"]).starts_with("3 entries follow one on the other"));
    assert_eq!(of_kind(&gateway.stop(), "grant.ended").len(), 1, "once");
}

/// Reads to the end of the connection.
fn read_to_the_end(client: &mut Conn) {
    while client.next_bytes().is_ok_and(|more| !more.is_empty()) {}
}

#[test]
fn it_ends_by_itself_at_its_deadline_and_what_is_open_ends_with_it() {
    let upstream = Upstream::choosing(|_| Reply::drip(&[&b"data: tick\n\n"[..]; 1_200], Duration::from_millis(50)));
    // Its end is awaited, so it is short; where a slow machine has not begun the stream by then, a longer one is.
    let begun = ["8s", "20s", "45s"].into_iter().find_map(|time| {
        let (site, alice) = site(&upstream);
        let gateway = site.start();
        run(&gateway.site, &[&ACTIVATE[..], &["--for", time]].concat());
        let mut stream = gateway.conn();
        stream.send(request("GET", "/admin/events", &[("x-api-key", &alice)], b""));
        let is_begun = stream.try_head().unwrap().status == 200;
        is_begun.then_some((gateway, alice, stream))
    });
    let (gateway, alice, mut stream) = begun.expect("what is asked for while it is in force is answered");
    let ended = event(&gateway, "grant.ended", 1);
    assert!(ended["message"].as_str().unwrap().contains("its time is over"), "{ended}");
    read_to_the_end(&mut stream);
    let cut = wait::until(PATIENCE, || {
        let all = gateway.events.all();
        all.iter().find(|event| event["reason"] == "session.terminated").cloned()
    });
    let cut = cut.expect("the stream was cut by the gateway");
    assert_eq!(cut["reasons"], serde_json::json!(["session.terminated", "rbac.condition_unmet"]));
    assert!(cut["message"].as_str().unwrap().contains("its activation ended at"), "{cut}");
    assert_eq!(status(&gateway, "/admin/x", &alice), 403);
    assert_eq!(of_kind(&gateway.stop(), "grant.ended").len(), 1);
}

#[test]
fn a_gateway_that_is_killed_keeps_what_is_in_force_and_only_until_its_deadline() {
    let upstream = Upstream::start();
    let (site, alice) = site(&upstream);
    let gateway = site.start();
    run(&gateway.site, &[&ACTIVATE[..], &["--for", "1h"]].concat());
    let short = ["access", "activate", "on-call", "--as", "alice", "--reason", "x", "--ticket", "T"];
    run(&gateway.site, &short);
    let Gateway { mut process, site, .. } = gateway;
    process.signal(Signal::Kill);
    process.wait_exit(PATIENCE);
    let gateway = site.start();
    assert_eq!(status(&gateway, "/admin/x", &alice), 200);
    assert_eq!(status(&gateway, "/ops/x", &alice), 403, "it waits for an approval");
    let all = listed(&gateway.site);
    let states: Vec<&str> =
        all["access"].as_array().unwrap().iter().map(|each| each["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["waiting", "in_force"]);
    run(&gateway.site, &["access", "deactivate", "1", "--reason", "done"]);
    run(&gateway.site, &[&ACTIVATE[..], &["--for", "1s"]].concat());
    let until = listed(&gateway.site)["access"][0]["until"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let site = gateway.kill();
    // It is over while nobody runs.
    let over = || (until + jiff::SignedDuration::from_secs(1) <= jiff::Timestamp::now()).then_some(());
    wait::until(PATIENCE, over).expect("a second passes");
    let gateway = site.start();
    assert_eq!(status(&gateway, "/admin/x", &alice), 403);
    let ended = event(&gateway, "grant.ended", 2);
    assert!(ended["message"].as_str().unwrap().contains("its time is over"), "the start tells of it: {ended}");
    let states = listed(&gateway.site);
    assert!(states["access"].as_array().unwrap().iter().all(|each| each["state"] != "in_force"), "{states}");
}

/// A governed site with three approvers: ana, who is alice under another name, ben and cem. Returns alice's credential and their private keys.
fn governed(upstream: &Upstream) -> (Site, String, [String; 3]) {
    let (mut site, alice) = emergency(upstream);
    site.add("[governance]\nrequired = true\n");
    site.write();
    let key_of = |person: &str| {
        let private = site.path(&format!("{person}.key")).display().to_string();
        let public = run(&site, &["approver", "keygen", "--out", &private]);
        site.file(&format!("{person}.pub"), &public);
        private
    };
    let keys = ["alice", "ben", "cem"].map(key_of);
    let named = |names: &str, person: &str| format!("{names}={}", site.path(&format!("{person}.pub")).display());
    let approvers = [named("ana,user:alice", "alice"), named("ben", "ben"), named("cem", "cem")];
    let [ana, ben, cem] = &approvers;
    let init = ["governance", "init", "--reason", "begin", "--approver", ana, "--approver", ben, "--approver", cem];
    run(&site, &init);
    (site, alice, keys)
}

#[test]
fn an_approval_is_by_another_person_with_an_enrolled_key() {
    let upstream = Upstream::start();
    let (site, alice, keys) = governed(&upstream);
    let gateway = site.start();
    let on_call = ["access", "activate", "on-call", "--as", "alice", "--reason", "disk full", "--ticket", "OPS-1"];
    let said = run(&gateway.site, &on_call);
    assert!(said.contains("waits until") && said.contains("1 other person has to approve it"), "{said}");
    assert_eq!(status(&gateway, "/ops/x", &alice), 403);
    let approve = |key: &str| ask(&gateway.site, &["access", "approve", "1", "--key", key]);
    let by_account = refused(&gateway.site, &["access", "approve", "1"]);
    assert!(by_account.contains("only what they sign counts"), "{by_account}");
    let own = approve(&keys[0]);
    assert_eq!(own.status.code(), Some(1), "{own:?}");
    assert!(own.stderr.join("\n").contains("cannot approve it under any name"), "{own:?}");
    assert_eq!(status(&gateway, "/ops/x", &alice), 403);
    let approved = approve(&keys[1]);
    assert_eq!(approved.status.code(), Some(0), "{approved:?}");
    // What is signed is shown from what is signed.
    assert!(
        approved.stderr.join("\n").contains("approving 1: on-call of user:alice for 1h, asked for by"),
        "{approved:?}"
    );
    assert!(approved.stdout.join("\n").contains("approved by ben"), "{approved:?}");
    assert_eq!(status(&gateway, "/ops/x", &alice), 200);
    assert!(event(&gateway, "grant.began", 1)["message"].as_str().unwrap().contains("approved by ben: disk full"));
    assert_eq!(approve(&keys[2]).status.code(), Some(1), "there is nothing to approve any more");
    run(&gateway.site, &["access", "deactivate", "1", "--reason", "done"]);
    run(&gateway.site, &on_call);
    let second = listed(&gateway.site)["access"][0]["id"].as_u64().unwrap().to_string();
    assert!(run(&gateway.site, &["access", "reject", &second, "--reason", "not now"]).contains("rejected by"));
    assert_eq!(status(&gateway, "/ops/x", &alice), 403);
    assert_eq!(event(&gateway, "admin.access_reject", 1)["decision"], "permit");
    assert_eq!(event(&gateway, "admin.access_approve", 4)["decision"], "deny");
}

#[test]
fn a_backup_does_not_bring_back_what_has_ended() {
    let upstream = Upstream::start();
    let (site, alice) = site(&upstream);
    let gateway = site.start();
    run(&gateway.site, &ACTIVATE);
    run(&gateway.site, &["backup", "create", "--out", &gateway.site.path("copy.backup").display().to_string()]);
    run(&gateway.site, &["access", "deactivate", "1", "--reason", "done"]);
    let Gateway { mut process, site, .. } = gateway;
    process.stop(PATIENCE);
    let copy = site.path("copy.backup").display().to_string();
    run(&site, &["backup", "restore", &copy]);
    let gateway = site.start();
    assert_eq!(status(&gateway, "/admin/x", &alice), 403);
    assert_eq!(listed(&gateway.site)["access"][0]["state"], "ended");
    let Gateway { mut process, site, .. } = gateway;
    process.stop(PATIENCE);
    // Where the store is lost, nobody knows what has ended since.
    for name in ["state.db", "state.db.head"] {
        let _ = std::fs::remove_file(site.path(name));
    }
    run(&site, &["backup", "restore", &copy]);
    let gateway = site.start();
    assert_eq!(status(&gateway, "/admin/x", &alice), 403);
    assert!(run(&gateway.site, &["access", "show", "1"]).contains("a backup was restored"));
}

#[test]
fn without_a_store_nothing_is_activated_and_check_says_so() {
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    let alice = site.key("alice", "user:alice", "");
    site.policy(&[ELIGIBLE, NO_BANS].concat());
    site.write();
    let checked = ask(&site, &["check"]);
    let said = [checked.stdout.join("\n"), checked.stderr.join("\n")].concat();
    assert!(said.contains("without a store nobody can"), "{said}");
    let gateway = site.start();
    assert!(refused(&gateway.site, &ACTIVATE).contains("add `[store]`"));
    assert_eq!(status(&gateway, "/admin/x", &alice), 403);
}

/// What one person gets in an emergency, and a route whose callers may ask for access.
const EMERGENCY: &str = r#"
[break_glass]
roles = ["admin"]
scope = "*"
max = "1h"
signers = ["ana"]

[[resource]]
route = "app"
requestable = true
"#;

fn emergency(upstream: &Upstream) -> (Site, String) {
    let mut site = Site::without_route(&upstream.url());
    site.add("[[route]]\nname = \"app\"\nupstream = \"app\"\ndisclose = \"caller\"\n");
    let alice = site.key("alice", "user:alice", "");
    site.add(STORE);
    site.policy(&[ELIGIBLE, EMERGENCY, NO_BANS].concat());
    (site, alice)
}

/// Breaks glass with a code on standard input.
fn break_glass(site: &Site, code: &str, more: &[&str]) -> Finished {
    let arguments = ["access", "break-glass", "--as", "alice", "--role", "admin", "--reason", "the disk is full"];
    portcullis().arg("-c").arg(site.path("portcullis.toml")).args(arguments).args(more).stdin(code).run(PATIENCE)
}

#[test]
fn a_sealed_code_opens_once_with_one_alarm_and_is_unreviewed_until_two_have_looked() {
    let upstream = Upstream::start();
    let (site, alice) = emergency(&upstream);
    let gateway = site.start();
    let code = run(&gateway.site, &["access", "seal", "--as", "alice", "--reason", "safe 3"]);
    assert_eq!(code.split('-').count(), 8, "{code}");
    assert_eq!(status(&gateway, "/admin/x", &alice), 403, "a seal gives nothing");
    let too_long = break_glass(&gateway.site, &code, &["--for", "2h"]);
    assert!(too_long.stderr.join("\n").contains("broken for a second to 1h"), "{too_long:?}");
    let wrong = break_glass(&gateway.site, "AAAA-BBBB\n", &[]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(wrong.stderr.join("\n").contains("opens nothing for this principal"), "{wrong:?}");
    let spoken = code.to_lowercase().replace('-', " ");
    let opened = break_glass(&gateway.site, &format!("{spoken}\n"), &[]);
    assert_eq!(opened.status.code(), Some(0), "{opened:?}");
    assert_eq!(status(&gateway, "/admin/x", &alice), 200);
    assert_eq!(status(&gateway, "/ops/x", &alice), 403);
    let alarm = event(&gateway, "break_glass.opened", 1);
    assert_eq!((&alarm["severity"], &alarm["identity"]["id"]), (&"critical".into(), &"alice".into()));
    assert!(alarm["message"].as_str().unwrap().contains("the disk is full"), "{alarm}");
    assert_eq!(break_glass(&gateway.site, &code, &[]).status.code(), Some(1), "it is good once");
    let Gateway { mut process, site, .. } = gateway;
    process.signal(Signal::Kill);
    process.wait_exit(PATIENCE);
    let before = std::fs::read(site.path("state.db"))
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .is_ok_and(|text| text.contains(&code));
    assert!(!before, "the code is kept nowhere");
    let gateway = site.start();
    assert_eq!(status(&gateway, "/admin/x", &alice), 200, "until its deadline");
    let id = &*listed(&gateway.site)["access"][0]["id"].as_u64().unwrap().to_string();
    let list = run(&gateway.site, &["access", "list"]);
    assert!(list.contains("in_force, unreviewed"), "{list}");
    run(&gateway.site, &["access", "deactivate", id, "--reason", "mended"]);
    assert_eq!(status(&gateway, "/admin/x", &alice), 403);
    assert!(run(&gateway.site, &["access", "list"]).contains("ended, unreviewed"));
    // The account that broke it is not one that reviews it.
    let own = refused(&gateway.site, &["access", "review", id]);
    assert!(own.contains("cannot review it") || own.contains("one of many"), "{own}");
    let events = gateway.stop();
    assert_eq!(of_kind(&events, "break_glass.opened").len(), 1, "once");
    assert!(!events.iter().any(|event| event.to_string().contains(&code)), "in no event");
}

#[test]
fn nothing_is_lent_on_the_operators_api_by_a_star() {
    let upstream = Upstream::start();
    let (mut site, alice) = emergency(&upstream);
    site.add("[admin]\naddress = \"127.0.0.1:0\"\n");
    let gateway = site.start();
    let code = run(&gateway.site, &["access", "seal", "--as", "alice", "--reason", "safe 3"]);
    let named = break_glass(&gateway.site, &code, &["--scope", "admin"]);
    assert_eq!(named.status.code(), Some(1), "{named:?}");
    assert!(named.stderr.join("\n").contains("does not name `admin`"), "{named:?}");
    // What is refused uses nothing up, and on other routes it opens.
    let opened = break_glass(&gateway.site, &code, &["--scope", "app"]);
    assert_eq!(opened.status.code(), Some(0), "{opened:?}");
    assert_eq!(status(&gateway, "/admin/x", &alice), 200);
}

#[test]
fn whoever_was_refused_is_granted_the_least_that_permits_it_for_a_time() {
    let upstream = Upstream::start();
    let (site, alice) = emergency(&upstream);
    let gateway = site.start();
    let denied = gateway.get("/ops/report", &[("X-Api-Key", &alice)]);
    assert_eq!(denied.status(), 403);
    let problem: Value = serde_json::from_slice(&denied.body).unwrap();
    let handle = problem["access_request"].as_str().expect("a handle").to_owned();
    assert_eq!(problem["instance"], format!("urn:uuid:{handle}"));
    let unknown = ["access", "request", "0190b2a0-0000-7000-8000-000000000000", "--reason", "x"];
    assert!(refused(&gateway.site, &unknown).contains("nothing that may be asked for"));
    let said = run(&gateway.site, &["access", "request", &handle, "--reason", "the monthly report"]);
    assert!(said.contains("GET app /ops/report") && said.contains("narrowest first: operator"), "{said}");
    let asked = event(&gateway, "grant.requested", 1);
    assert!(asked["message"].as_str().unwrap().contains("the monthly report"), "{asked}");
    assert_eq!(status(&gateway, "/ops/report", &alice), 403, "a request gives nothing");
    let would_not = refused(&gateway.site, &["access", "grant", "1", "--for", "1h", "--role", "admin"]);
    assert!(would_not.contains("does not permit"), "{would_not}");
    let granted = run(&gateway.site, &["access", "grant", "1", "--for", "1h"]);
    assert!(granted.contains("role:operator,app of user:alice) is in force until"), "{granted}");
    assert_eq!(status(&gateway, "/ops/report", &alice), 200);
    assert_eq!(status(&gateway, "/admin/x", &alice), 403, "the least");
    assert!(refused(&gateway.site, &["access", "grant", "1", "--for", "1h"]).contains("no request that waits"));
    let loan = listed(&gateway.site)["access"][0]["id"].as_u64().unwrap().to_string();
    run(&gateway.site, &["access", "deactivate", &loan, "--reason", "done"]);
    let denied = gateway.get("/ops/other", &[("X-Api-Key", &alice)]);
    let again = gateway.check_refused("ended", &denied, 403, "rbac.condition_unmet");
    let handle = again["id"].as_str().unwrap().to_owned();
    run(&gateway.site, &["access", "request", &handle, "--reason", "more"]);
    let third = listed(&gateway.site)["access"][0]["id"].as_u64().unwrap().to_string();
    run(&gateway.site, &["access", "reject", &third, "--reason", "ask the owner"]);
    assert_eq!(event(&gateway, "admin.access_reject", 1)["decision"], "permit");
    let states: Vec<String> =
        listed(&gateway.site)["access"].as_array().unwrap().iter().map(|each| each["state"].to_string()).collect();
    assert_eq!(states, ["\"rejected\"", "\"ended\"", "\"granted\""]);
}

#[test]
fn where_governance_is_required_two_approve_a_seal_and_a_loan_and_two_review() {
    let upstream = Upstream::start();
    let (site, alice, [ana, ben, cem]) = governed(&upstream);
    let gateway = site.start();
    let last = || listed(&gateway.site)["access"][0].clone();
    let id = || last()["id"].as_u64().unwrap().to_string();
    let signed = |verb: &str, id: &str, key: &str| ask(&gateway.site, &["access", verb, id, "--key", key]);
    let code = run(&gateway.site, &["access", "seal", "--as", "alice"]);
    let seal = id();
    assert_eq!(break_glass(&gateway.site, &code, &[]).status.code(), Some(1), "nobody has approved it");
    assert_eq!(last()["opens"].as_str().map(|opens| opens.starts_with("role:admin,")), Some(true), "{}", last());
    for key in [&ben, &cem] {
        let approved = signed("approve", &seal, key);
        assert_eq!(approved.status.code(), Some(0));
        // Who signs a hash alone does not know what for.
        assert!(approved.stderr.join("\n").contains("a code that opens role:admin,"), "{approved:?}");
    }
    let opened = break_glass(&gateway.site, &code, &[]);
    assert_eq!(opened.status.code(), Some(0), "{opened:?}");
    assert_eq!(status(&gateway, "/admin/x", &alice), 200);
    let broken = id();
    assert_eq!(last()["unreviewed"], true);
    assert!(signed("review", &broken, &ana).stderr.join("\n").contains("cannot review it under any name"));
    assert!(signed("review", &broken, &ben).stdout.join("\n").contains("1 more has to"));
    assert_eq!(signed("review", &broken, &ben).status.code(), Some(1), "one person, one voice");
    assert!(signed("review", &broken, &cem).stdout.join("\n").contains("by enough"));
    assert_eq!(last()["unreviewed"], false);
    event(&gateway, "admin.access_review", 4);

    let denied = gateway.get("/ops/report", &[("X-Api-Key", &alice)]);
    let problem: Value = serde_json::from_slice(&denied.body).unwrap();
    let handle = problem["access_request"].as_str().unwrap();
    run(&gateway.site, &["access", "request", handle, "--reason", "the monthly report"]);
    let granted = run(&gateway.site, &["access", "grant", &id(), "--for", "1h"]);
    assert!(granted.contains("2 other persons have to approve it"), "{granted}");
    let loan = id();
    assert_eq!(signed("approve", &loan, &ben).status.code(), Some(0));
    assert_eq!(status(&gateway, "/ops/report", &alice), 403);
    assert_eq!(signed("approve", &loan, &cem).status.code(), Some(0));
    assert_eq!(status(&gateway, "/ops/report", &alice), 200);
}

#[test]
fn a_person_breaks_glass_for_themselves_with_an_enrolled_key_once() {
    let upstream = Upstream::start();
    let (site, alice, [ana, ben, cem]) = governed(&upstream);
    let gateway = site.start();
    let instance = listed(&gateway.site)["instance"].as_str().expect("the gateway names itself").to_owned();
    // On another machine: nothing of this one is asked.
    let sign = |key: &str, principal: &str, more: &[&str]| {
        let out = gateway.site.path(&format!("{principal}-{}.statement", more.len())).display().to_string();
        let signing = ["access", "sign-break-glass", "--instance", &instance, "--key", key, "--as", principal];
        let why = ["--role", "admin", "--reason", "nobody can be reached", "--out", &out];
        let signed = portcullis().args(signing).args(why).args(more).run(PATIENCE);
        assert_eq!(signed.status.code(), Some(0), "{signed:?}");
        assert!(signed.stderr.join("\n").contains("breaking glass: role:admin,* of user:"), "{signed:?}");
        out
    };
    let open = |statement: &str| ask(&gateway.site, &["access", "break-glass", "--statement", statement]);
    let refusal = |finished: Finished| {
        assert_eq!(finished.status.code(), Some(1), "{finished:?}");
        finished.stderr.join("\n")
    };
    assert!(refusal(open(&sign(&ben, "ben", &[]))).contains("does not name ben"));
    assert!(refusal(open(&sign(&ana, "bob", &[]))).contains("for oneself alone"));
    assert!(refusal(open(&sign(&ana, "alice", &["--for", "2h"]))).contains("broken for a second to 1h"));
    let statement = sign(&ana, "alice", &[]);
    let text = std::fs::read_to_string(&statement).unwrap();
    // A letter in the middle is one of the reason or of the signature.
    let middle = text.len() / 2;
    let letter = if &text[middle..=middle] == "A" { "B" } else { "A" };
    gateway.site.file("changed", &format!("{}{letter}{}", &text[..middle], &text[middle + 1..]));
    let changed = open(&gateway.site.path("changed").display().to_string());
    assert_eq!(changed.status.code(), Some(1), "{changed:?}");
    assert_eq!(status(&gateway, "/admin/x", &alice), 403);

    let opened = open(&statement);
    assert_eq!(opened.status.code(), Some(0), "{opened:?}");
    assert_eq!((status(&gateway, "/admin/x", &alice), status(&gateway, "/ops/x", &alice)), (200, 403));
    let alarm = event(&gateway, "break_glass.opened", 1);
    assert_eq!((&alarm["severity"], &alarm["identity"]["id"]), (&"critical".into(), &"alice".into()));
    let message = alarm["message"].as_str().unwrap();
    assert!(message.contains("nobody can be reached") && message.contains("signed with the key"), "{message}");
    assert_eq!(event(&gateway, "admin.access_break_glass", 5)["decision"], "permit");
    let broken = listed(&gateway.site)["access"][0].clone();
    assert_eq!((&broken["kind"], &broken["unreviewed"]), (&"break_glass".into(), &true.into()));
    let id = broken["id"].as_u64().unwrap().to_string();
    run(&gateway.site, &["access", "deactivate", &id, "--reason", "mended"]);
    assert!(refusal(open(&statement)).contains("good once"));
    let Gateway { mut process, site, .. } = gateway;
    process.signal(Signal::Kill);
    process.wait_exit(PATIENCE);
    let gateway = site.start();
    let again = ask(&gateway.site, &["access", "break-glass", "--statement", &statement]);
    assert!(refusal(again).contains("good once"), "also over a restart");
    // Whoever it was for reviews nothing of it.
    let review = |key: &str| ask(&gateway.site, &["access", "review", &id, "--key", key]);
    assert!(review(&ana).stderr.join("\n").contains("cannot review it under any name"));
    assert_eq!((review(&ben).status.code(), review(&cem).status.code()), (Some(0), Some(0)));

    // At once, where the gateway can be reached from the machine of the key; and not once the key is revoked.
    let at_once = |key: &str| {
        let whose = ["access", "break-glass", "--key", key, "--as", "alice", "--role", "admin"];
        ask(&gateway.site, &[&whose[..], &["--reason", "once more", "--for", "30m"]].concat())
    };
    let opened = at_once(&ana);
    assert_eq!(opened.status.code(), Some(0), "{opened:?}");
    assert_eq!(status(&gateway, "/admin/x", &alice), 200);
    assert!(run(&gateway.site, &["access", "verify"]).contains("entries follow one on the other"));
    assert_eq!(of_kind(&gateway.stop(), "break_glass.opened").len(), 2);
}

#[test]
fn after_a_crash_power_in_force_revocations_and_runs_are_read_from_the_store() {
    let upstream = Upstream::start();
    let (site, _) = site(&upstream);
    let mut gateway = site.start();
    run(&gateway.site, &ACTIVATE);
    run(&gateway.site, &["revoke", "token", "jti-4711", "--reason", "lost"]);
    run(&gateway.site, &["audit", "run", "--fail-on", "never"]);
    gateway.process.signal(Signal::Kill);
    gateway.process.wait_exit(PATIENCE);
    let look = |arguments: &[&str], words: &str| {
        let finished = ask(&gateway.site, arguments);
        let (said, remarks) = (finished.stdout.join("\n"), finished.stderr.join("\n"));
        assert_eq!(finished.status.code(), Some(0), "{arguments:?}: {said}\n{remarks}");
        assert!(said.contains(words), "{arguments:?}: {said}");
        remarks
    };
    let is_told =
        |remarks: String| assert!(remarks.contains("no gateway answers: this is what the store "), "{remarks}");
    is_told(look(&["access", "list"], "alice-administers"));
    is_told(look(&["access", "show", "1"], "INC-7: disk full"));
    is_told(look(&["access", "verify"], "entries follow one on the other"));
    is_told(look(&["revoke", "list"], "jti-4711"));
    is_told(look(&["ban", "list"], "nobody is banned"));
    is_told(look(&["session", "list"], "nobody is logged in"));
    is_told(look(&["audit", "runs"], "RUN"));
    assert_eq!(look(&["audit", "runs", "--offline"], "RUN"), "", "as it was asked");
    look(&["audit", "show", "--offline", "--fail-on", "never"], "");
    // What changes something is for a gateway.
    assert_eq!(ask(&gateway.site, &["access", "deactivate", "1", "--reason", "x"]).status.code(), Some(4));
}
