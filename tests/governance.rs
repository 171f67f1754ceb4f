//! Versions, approvals, rollback and backups: what becomes live, by whose word, and how it comes back.

mod archives;
mod believed;
mod by_hand;
mod calibrated;
mod crashes;
mod foreseen;
mod forged;
mod found;
mod lists;
mod looked_at;
mod moved;
mod named;
mod passphrases;
mod recovered;
mod restored;
mod rollouts;
mod started;
mod taken;
mod undone;
mod unvouched;

use std::fs;
use std::path::PathBuf;

use portcullis_testkit::process::Finished;
use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wait::{self, PATIENCE};
use serde_json::Value;

use crate::harness::{Gateway, NO_BANS, Site, of_kind, portcullis};

const STORE: &str = "[store]\npath = \"state.db\"\n";
pub(crate) const GOVERNED: &str = "[governance]\nrequired = true\n";

/// Alice may read by being in finance.
const FINANCE: &str = r#"
[[group]]
name = "finance"
members = ["user:alice"]

[[role]]
name = "reader"
permissions = [{ actions = ["GET /**"] }]

[[assignment]]
name = "finance-reads"
role = "reader"
principals = ["group:finance"]
scope = "*"
"#;

/// The same after somebody has emptied the group by mistake.
const MISTAKE: &str = r#"
[[group]]
name = "finance"
members = []

[[role]]
name = "reader"
permissions = [{ actions = ["GET /**"] }]

[[assignment]]
name = "finance-reads"
role = "reader"
principals = ["group:finance"]
scope = "*"
"#;

fn site(upstream: &Upstream, more: &str) -> (Site, String) {
    let mut site = Site::new(&upstream.url());
    let key = site.key("alice", "user:alice", "");
    site.add(STORE);
    site.add(more);
    site.policy(&[FINANCE, NO_BANS].concat());
    (site, key)
}

fn ask(site: &Site, arguments: &[&str]) -> Finished {
    portcullis().arg("-c").arg(site.path("portcullis.toml")).args(arguments).run(PATIENCE)
}

/// Runs a verb whose exit code is known; returns what it said on standard output.
#[track_caller]
fn run(site: &Site, arguments: &[&str], code: i32) -> String {
    let finished = ask(site, arguments);
    let said = finished.stdout.join("\n");
    assert_eq!(finished.status.code(), Some(code), "{arguments:?}: {said}\n{}", finished.stderr.join("\n"));
    said
}

/// What a verb says that is refused.
#[track_caller]
fn refused(site: &Site, arguments: &[&str], code: i32) -> String {
    let finished = ask(site, arguments);
    assert_eq!(finished.status.code(), Some(code), "{arguments:?}: {finished:?}");
    finished.stderr.join("\n")
}

#[track_caller]
fn json(site: &Site, arguments: &[&str]) -> Value {
    let text = run(site, &[arguments, &["-o", "json"]].concat(), 0);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
}

fn status(gateway: &Gateway, key: &str) -> u16 {
    gateway.get("/", &[("X-Api-Key", key)]).status()
}

fn event(gateway: &Gateway, kind: &str) -> Value {
    let found = || of_kind(&gateway.events.all(), kind).last().map(|event| (*event).clone());
    wait::until(PATIENCE, found).unwrap_or_else(|| panic!("no event {kind}"))
}

/// Stops a gateway, and leaves its folder.
fn stopped(gateway: Gateway) -> Site {
    let Gateway { mut process, site, .. } = gateway;
    process.stop(PATIENCE);
    site
}

/// Makes a key of a person in the folder, and returns the file of the private one.
fn key_of(site: &Site, person: &str) -> String {
    let private = site.path(&format!("{person}.key")).display().to_string();
    let public = run(site, &["approver", "keygen", "--out", &private], 0);
    site.file(&format!("{person}.pub"), &public);
    private
}

/// A governed site that does not run yet: ana, ben and cem may approve.
fn governed(upstream: &Upstream) -> (Site, String, [String; 3]) {
    let (site, key) = site(upstream, GOVERNED);
    site.write();
    let keys = begun(&site);
    (site, key, keys)
}

/// Begins governance, and returns the keys of ana, ben and cem.
pub(crate) fn begun(site: &Site) -> [String; 3] {
    let keys = ["ana", "ben", "cem"].map(|person| key_of(site, person));
    let approvers = ["ana,unix:aw", "ben", "cem"].map(|names| {
        let person = names.split(',').next().unwrap();
        format!("{names}={}", site.path(&format!("{person}.pub")).display())
    });
    let [ana, ben, cem] = &approvers;
    let init = ["governance", "init", "--reason", "begin", "--approver", ana, "--approver", ben, "--approver", cem];
    assert!(run(site, &init, 0).contains("governance begins with version "));
    keys
}

/// Proposes what is on the disk, and returns the id.
#[track_caller]
pub(crate) fn propose(site: &Site, author: &str) -> String {
    let answer = json(site, &["policy", "propose", "--author", author, "--reason", "a change"]);
    answer["changes"][0]["id"].as_str().unwrap().to_owned()
}

/// The hash of what was foreseen of a change.
#[track_caller]
fn impact(site: &Site, change: &str) -> String {
    let list = json(site, &["policy", "list"]);
    let changes = list["changes"].as_array().unwrap();
    let found = changes.iter().find(|each| each["id"].as_str().unwrap().starts_with(change)).unwrap();
    found["impact"].as_str().unwrap().to_owned()
}

/// Approves a change, whatever was foreseen of it.
#[track_caller]
pub(crate) fn approve(site: &Site, change: &str, key: &str) -> String {
    let impact = impact(site, change);
    run(site, &["policy", "approve", change, "--key", key, "--acknowledge", &impact], 0)
}

fn live(site: &Site) -> u64 {
    json(site, &["policy", "list"])["live"]["n"].as_u64().unwrap()
}

#[test]
fn every_policy_that_was_live_is_a_version_and_events_say_which() {
    let upstream = Upstream::start();
    let (site, key) = site(&upstream, "");
    let mut gateway = site.start();
    assert_eq!(status(&gateway, &key), 200);
    assert_eq!(event(&gateway, "gateway.started")["policy"]["version"], 1);
    gateway.site.policy(&[MISTAKE, NO_BANS].concat());
    gateway.reload("ok");
    let answer = gateway.get("/", &[("X-Api-Key", &key)]);
    let denied = gateway.check_refused("after it", &answer, 403, "rbac.no_matching_grant");
    assert_eq!(denied["policy"]["version"], 2);
    // What is invalid was never live, and the same again is no version.
    gateway.site.policy("broken");
    gateway.reload("error");
    gateway.site.policy(&[MISTAKE, NO_BANS].concat());
    gateway.reload("ok");
    assert_eq!(live(&gateway.site), 2);
    let list = json(&gateway.site, &["policy", "list"]);
    assert_eq!((&list["versions"][0]["change"]["class"], &list["versions"][1]["n"]), (&"tightens".into(), &1.into()));
    let first = run(&gateway.site, &["policy", "show", "1", "--file", "policy.toml"], 0);
    assert!(first.contains("members = [\"user:alice\"]"), "{first}");
    assert!(run(&gateway.site, &["policy", "diff", "1", "2"], 1).contains("tightens"));
    assert!(run(&gateway.site, &["policy", "verify"], 0).contains("2 versions are what they were"));
    // Without a gateway the store is asked; what it starts with next is a version, too.
    let site = stopped(gateway);
    assert_eq!(live(&site), 2);
    site.policy(&[FINANCE, NO_BANS, "# again\n"].concat());
    let gateway = site.start();
    let starts = || {
        let events = gateway.events.all();
        let versions: Vec<Value> =
            of_kind(&events, "gateway.started").iter().map(|event| event["policy"]["version"].clone()).collect();
        (versions.len() >= 2).then_some(versions)
    };
    assert_eq!(wait::until(PATIENCE, starts).unwrap(), [1, 3]);
    assert_eq!(live(&gateway.site), 3);
}

#[test]
fn a_group_that_was_emptied_by_mistake_is_back_with_one_command_and_the_events_say_who() {
    let upstream = Upstream::start();
    let (site, key) = site(&upstream, "");
    let mut gateway = site.start();
    assert_eq!(status(&gateway, &key), 200);
    gateway.site.policy(&[MISTAKE, NO_BANS].concat());
    gateway.reload("ok");
    assert_eq!(status(&gateway, &key), 403, "users are locked out");
    let said = run(&gateway.site, &["policy", "rollback", "--reason", "finance is empty", "--author", "dana"], 0);
    assert!(said.contains("rolled back to version 1: version 3 is live"), "{said}");
    assert_eq!(status(&gateway, &key), 200, "they are back");
    let back = event(&gateway, "admin.policy_rollback");
    assert_eq!((&back["decision"], &back["identity"]["type"]), (&"permit".into(), &"operator".into()));
    assert!(back["message"].as_str().unwrap().contains("by dana"), "{back}");
    let reloaded = of_kind(&gateway.events.all(), "policy.reloaded").len();
    assert_eq!(reloaded, 2, "the mistake and the rollback");
    // The file holds it again, so that the next reload does not undo it.
    let file = fs::read_to_string(gateway.site.path("policy.toml")).unwrap();
    assert!(file.contains("user:alice"), "{file}");
    gateway.reload("ok");
    assert_eq!((status(&gateway, &key), live(&gateway.site)), (200, 3));
    let newest = &json(&gateway.site, &["policy", "list"])["versions"][0];
    let change = &newest["change"];
    assert_eq!(
        (&change["kind"], &change["restores"], &change["class"]),
        (&"rollback".into(), &1.into(), &"loosens".into())
    );
    assert!(refused(&gateway.site, &["policy", "rollback", "4", "--reason", "x"], 1).contains("no version 4 before"));
}

#[test]
fn a_revoked_key_does_not_come_back_with_an_earlier_version() {
    let upstream = Upstream::start();
    let (site, key) = site(&upstream, "");
    let mut gateway = site.start();
    let keys = fs::read_to_string(gateway.site.path("keys.toml")).unwrap();
    gateway.site.file("keys.toml", &format!("{}revoked = true\n", keys.trim_end().to_owned() + "\n"));
    gateway.site.policy(&[MISTAKE, NO_BANS].concat());
    gateway.reload("ok");
    assert_eq!(status(&gateway, &key), 401);
    assert_eq!(json(&gateway.site, &["policy", "list"])["versions"][0]["change"]["class"], "tightens");
    run(&gateway.site, &["policy", "rollback", "1", "--reason", "the group"], 0);
    assert_eq!(status(&gateway, &key), 401, "the policy is that of before, the keys are those of now");
    assert!(fs::read_to_string(gateway.site.path("policy.toml")).unwrap().contains("user:alice"));
}

#[test]
fn where_approvals_are_required_files_are_not_believed() {
    let upstream = Upstream::start();
    let (site, key, _) = governed(&upstream);
    let mut gateway = site.start();
    assert_eq!(status(&gateway, &key), 200);
    // Behind its back.
    gateway.site.policy(&[MISTAKE, NO_BANS].concat());
    gateway.reload("error");
    assert_eq!(status(&gateway, &key), 200, "what was approved serves");
    let alarm = event(&gateway, "policy.tampered");
    assert_eq!((&alarm["severity"], &alarm["policy"]["version"]), (&"critical".into(), &1.into()));
    assert!(alarm["message"].as_str().unwrap().contains("policy.toml on disk was not approved"), "{alarm}");
    // Nor across a restart, whatever else is written there: no approvals, no store, no sense at all.
    let site = stopped(gateway);
    let approved = fs::read_to_string(site.path("portcullis.toml")).unwrap();
    let check = |what: &str, config: &str, pinned: bool| {
        fs::write(site.path("portcullis.toml"), config).unwrap();
        let mut program = portcullis().arg("-c").arg(site.path("portcullis.toml")).arg("run");
        if pinned {
            program = program.arg("--governed").arg(site.path("state.db"));
        }
        let mut process = program.start();
        let line =
            process.wait_for("the alarm", PATIENCE, |line| line.contains("stays in force").then(|| line.to_owned()));
        assert!(line.contains("version 1 stays in force"), "{what}: {line}");
        process.stop(PATIENCE);
    };
    check("the policy alone", &approved, false);
    check("not required", &approved.replace("required = true", "required = false"), false);
    check("broken after the store", &format!("{approved}\nbroken = ["), false);
    check("another store", &approved.replace("state.db", "other.db"), true);
    check("nothing", "broken", true);
    // What was never governed is not what it was told to run as.
    fs::write(site.path("portcullis.toml"), approved.replace("required = true", "required = false")).unwrap();
    let other = site.path("other.db").display().to_string();
    assert!(refused(&site, &["run", "--governed", &other], 3).contains("not governed"));
    let wrong = "0".repeat(64);
    let store = site.path("state.db").display().to_string();
    assert!(
        refused(&site, &["run", "--governed", &store, "--instance", &wrong], 3).contains("belongs to the instance")
    );
    // A store that is gone or older is told by the head file.
    fs::rename(site.path("state.db"), site.path("gone.db")).unwrap();
    fs::write(site.path("portcullis.toml"), &approved).unwrap();
    assert!(refused(&site, &["run"], 3).contains("older than it was, or another one"));
}

#[test]
fn what_is_not_governed_is_changed_without_being_asked() {
    let upstream = Upstream::start();
    let (mut site, key, _) = governed(&upstream);
    site.add("[limits]\nmax_uri_bytes = \"2KiB\"\n");
    let mut gateway = site.start();
    assert_eq!(status(&gateway, &key), 200);
    let long = format!("/{}", "x".repeat(3_000));
    assert_eq!(gateway.get(&long, &[("X-Api-Key", &key)]).status(), 414);
    let config = fs::read_to_string(gateway.site.path("portcullis.toml")).unwrap();
    fs::write(gateway.site.path("portcullis.toml"), config.replace("2KiB", "8KiB")).unwrap();
    gateway.reload("ok");
    assert_eq!(gateway.get(&long, &[("X-Api-Key", &key)]).status(), 200);
    assert_eq!(live(&gateway.site), 1);
}

#[test]
fn a_change_becomes_live_by_two_others_here_and_on_another_machine() {
    let upstream = Upstream::start();
    let (site, key, [ana, ben, cem]) = governed(&upstream);
    let mut gateway = site.start();
    gateway.site.policy(&[MISTAKE, NO_BANS].concat());
    let tightens = propose(&gateway.site, "ana");
    let site = &gateway.site;
    assert!(refused(site, &["policy", "activate", &tightens], 1).contains("0 of 1 approvals"));
    let seen = impact(site, &tightens);
    let own = ["policy", "approve", &tightens, "--key", &ana, "--acknowledge", &seen];
    assert!(refused(site, &own, 1).contains("author"));
    assert!(approve(site, &tightens, &ben).contains("approved by ben: it can be activated"));
    assert!(run(site, &["policy", "activate", &tightens], 0).contains("version 2 is live"));
    assert_eq!(status(&gateway, &key), 403);
    let activated = event(&gateway, "admin.policy_activate");
    assert!(activated["message"].as_str().unwrap().ends_with("approved by ben"), "{activated}");
    // Back again loosens: it needs two, of whom one signs on another machine, which has nothing but the request.
    let said = run(site, &["policy", "rollback", "1", "--author", "ana", "--reason", "a mistake"], 0);
    assert!(said.contains("2 persons other than the author have to approve; would newly deny 0 of the last"), "{said}");
    assert!(said.contains("newly permits 1, by 1 user (user:alice 1)"), "{said}");
    let list = json(site, &["policy", "list"]);
    let open: Vec<&Value> =
        list["changes"].as_array().unwrap().iter().filter(|change| change["state"] == "open").collect();
    let back = open[0]["id"].as_str().unwrap();
    let away = tempfile::tempdir().unwrap();
    let path = |name: &str| away.path().join(name).display().to_string();
    run(site, &["policy", "request", back, "--out", &path("request")], 0);
    let signed = portcullis()
        .cwd(away.path())
        .args(["policy", "sign", "request", "--key", &cem, "--out", "approval", "--acknowledge", &impact(site, back)])
        .run(PATIENCE);
    assert!(signed.status.success(), "{signed:?}");
    let shown = signed.stderr.join("\n");
    assert!(shown.contains("+members = [\"user:alice\"]") && shown.contains("loosens"), "{shown}");
    assert!(run(site, &["policy", "approve", "--approval", &path("approval")], 0).contains("approved by cem: 1 of 2"));
    assert!(refused(site, &["policy", "activate", back], 1).contains("1 of 2"));
    approve(site, back, &ben);
    assert_eq!(status(&gateway, &key), 403);
    run(site, &["policy", "activate", back], 0);
    assert_eq!((status(&gateway, &key), live(site)), (200, 3));
    assert!(run(site, &["policy", "verify"], 0).contains("3 versions"));
    // What was activated is what is on the disk, so that a reload finds nothing to refuse.
    gateway.reload("ok");
    let site = stopped(gateway);
    assert_eq!(live(&site), 3);
    let gateway = site.start();
    assert_eq!(status(&gateway, &key), 200);
    assert!(of_kind(&gateway.events.all(), "policy.tampered").is_empty());
}

#[test]
fn one_no_ends_a_change_and_a_change_of_the_base_makes_approvals_worthless() {
    let upstream = Upstream::start();
    let (site, _, [_, ben, cem]) = governed(&upstream);
    let gateway = site.start();
    let site = &gateway.site;
    site.policy(&[MISTAKE, NO_BANS].concat());
    let (first, second) = (propose(site, "ana"), propose(site, "ana"));
    approve(site, &first, &ben);
    approve(site, &second, &ben);
    let third = propose(site, "ana");
    run(site, &["policy", "request", &third, "--out", &site.path("request").display().to_string()], 0);
    let request = site.path("request").display().to_string();
    let no = site.path("no").display().to_string();
    run(site, &["policy", "sign", &request, "--key", &cem, "--reject", "--out", &no], 0);
    assert!(run(site, &["policy", "approve", "--approval", &no], 0).contains("rejected by cem"));
    assert!(refused(site, &["policy", "activate", &third], 1).contains("is rejected"));
    run(site, &["policy", "activate", &first], 0);
    assert!(refused(site, &["policy", "activate", &second], 1).contains("version 1 was live, and 2 is now"));
    assert!(refused(site, &["policy", "propose", "--reason", "x"], 1).contains("--author"));
    assert!(
        refused(site, &["policy", "propose", "--author", "ana", "--reason", "x"], 1)
            .contains("nothing that is governed")
    );
    let failed = event(&gateway, "admin.policy_propose");
    assert_eq!(failed["decision"], "deny");
}

#[test]
fn lower_rules_and_other_approvers_are_approved_like_all_else() {
    let upstream = Upstream::start();
    let (site, _, [ana, ben, cem]) = governed(&upstream);
    let gateway = site.start();
    let site = &gateway.site;
    let dan = key_of(site, "dan");
    let public = site.path("dan.pub").display().to_string();
    let add = ["approver", "add", "dan", "--key", &public, "--author", "ana", "--reason", "a fourth"];
    let change = json(site, &add)["changes"][0].clone();
    assert_eq!((&change["kind"], &change["need"], &change["need_new"]), (&"keys".into(), &2.into(), &2.into()));
    let id = change["id"].as_str().unwrap();
    approve(site, id, &ben);
    // Who is to come counts only afterwards.
    assert!(approve(site, id, &dan).contains("1 of 2"));
    approve(site, id, &cem);
    run(site, &["policy", "activate", id], 0);
    assert!(run(site, &["approver", "list"], 0).contains("dan"));
    let config = fs::read_to_string(site.path("portcullis.toml")).unwrap();
    fs::write(site.path("portcullis.toml"), config.replace("required = true", "required = false")).unwrap();
    let lower = propose(site, "dan");
    approve(site, &lower, &ana);
    assert!(refused(site, &["policy", "activate", &lower], 1).contains("1 of 2"));
    approve(site, &lower, &ben);
    run(site, &["policy", "activate", &lower], 0);
    run(site, &["governance", "status"], 1);
}

#[test]
fn a_gateway_that_demands_approvals_and_has_no_approvers_does_not_start() {
    let upstream = Upstream::start();
    let (site, _) = site(&upstream, GOVERNED);
    site.write();
    assert!(refused(&site, &["run"], 3).contains("governance init"));
    assert!(refused(&site, &["governance", "init", "--approver", "ana=none", "--reason", "x"], 4).contains("none"));
    let ana = key_of(&site, "ana");
    let one = format!("ana={}", ana.replace(".key", ".pub"));
    let few = refused(&site, &["governance", "init", "--approver", &one, "--reason", "x"], 1);
    assert!(few.contains("1 persons could approve, and the rules demand 2"), "{few}");
}

fn backup(site: &Site, name: &str) -> PathBuf {
    let out = site.path(name);
    run(site, &["backup", "create", "--out", out.to_str().unwrap()], 0);
    out
}

#[test]
fn a_backup_is_verified_and_restored_and_never_takes_versions_back() {
    let upstream = Upstream::start();
    let (site, key) = site(&upstream, "");
    site.policy(FINANCE);
    let mut gateway = site.start();
    run(&gateway.site, &["ban", "add", "--ip", "203.0.113.9", "--for", "24h", "--reason", "test"], 0);
    wait::until(PATIENCE, || (gateway.metric("portcullis_store_pending") == Some(0.0)).then_some(())).unwrap();
    let archive = backup(&gateway.site, "first.backup");
    let file = archive.to_str().unwrap();
    assert!(run(&gateway.site, &["backup", "verify", file], 0).contains("version 1"));
    assert!(run(&gateway.site, &["backup", "restore", file, "--drill"], 0).contains("can be restored"));
    assert!(refused(&gateway.site, &["backup", "restore", file], 4).contains("a gateway runs"));
    run(&gateway.site, &["ban", "remove", "--ip", "203.0.113.9"], 0);
    gateway.site.policy(MISTAKE);
    gateway.reload("ok");
    let site = stopped(gateway);
    // The log that is there is newer, and stays; the rest is that of the backup.
    let said = run(&site, &["backup", "restore", file], 0);
    assert!(said.contains("is newer, and was kept: version 2 is live"), "{said}");
    assert_eq!(live(&site), 2);
    site.policy(FINANCE);
    let gateway = site.start();
    assert_eq!(status(&gateway, &key), 200);
    assert!(run(&gateway.site, &["ban", "list"], 0).contains("203.0.113.9"));
    let site = stopped(gateway);
    // A log that is lost takes a word more.
    fs::write(site.path("state.db"), "damaged").unwrap();
    assert!(refused(&site, &["backup", "restore", file], 5).contains("--accept-rollback"));
    assert!(run(&site, &["backup", "restore", file, "--accept-rollback"], 0).contains("versions after 1 are lost"));
    assert_eq!(live(&site), 1);
    let changed: Vec<u8> = fs::read(&archive).unwrap().iter().map(|byte| byte ^ 1).collect();
    fs::write(&archive, changed).unwrap();
    assert!(refused(&site, &["backup", "verify", file], 1).contains("no backup"));
}

#[test]
fn errors_elsewhere_make_no_backup_plain_and_have_none_believed_that_is() {
    let upstream = Upstream::start();
    let (site, _) = site(&upstream, "[backup]\nkey = \"backup.key\"\n");
    let secret = site.path("backup.key").display().to_string();
    run(&site, &["backup", "keygen", "--out", &secret], 0);
    site.policy(FINANCE);
    let site = stopped(site.start());
    let out = |name: &str| site.path(name).display().to_string();
    let is_plain = |name: &str| fs::read(site.path(name)).unwrap().starts_with(b"PORTCULLIS-BACKUP/1\n");
    let forged = out("forged.backup");
    let config = fs::read_to_string(site.path("portcullis.toml")).unwrap();
    site.file("portcullis.toml", &config.replace("key = \"backup.key\"\n", ""));
    run(&site, &["backup", "create", "--out", &forged], 0);
    site.file("portcullis.toml", &config);
    assert!(is_plain("forged.backup"));
    assert!(refused(&site, &["backup", "restore", &forged, "--drill"], 1).contains("--plain"));
    // The policy is broken: the key stands where it stood.
    site.file("policy.toml", "version = 1\n[[role]]\n");
    assert!(refused(&site, &["backup", "restore", &forged, "--drill"], 1).contains("--plain"));
    run(&site, &["backup", "create", "--out", &out("second.backup")], 0);
    assert!(!is_plain("second.backup"));
    // The file that would name the key is broken: nobody can say.
    site.file("portcullis.toml", &config.replace("key = \"backup.key\"", "key = 7"));
    for arguments in [
        &["backup", "create", "--out", &out("third.backup")][..],
        &["backup", "restore", &forged, "--drill"],
        &["backup", "verify", &forged],
    ] {
        assert!(refused(&site, arguments, 3).contains("nobody can say whether backups are encrypted"));
    }
    assert!(!site.path("third.backup").exists());
    run(&site, &["backup", "create", "--out", &out("third.backup"), "--key", &secret], 0);
    assert!(!is_plain("third.backup"));
}

#[test]
fn a_governed_log_that_is_lost_is_replaced_by_a_backup_only_as_approved() {
    let upstream = Upstream::start();
    let (site, key, [ana, ben, cem]) = governed(&upstream);
    let secret = site.path("backup.key").display().to_string();
    run(&site, &["backup", "keygen", "--out", &secret], 0);
    let archive = site.path("first.backup").display().to_string();
    run(&site, &["backup", "create", "--out", &archive, "--key", &secret], 0);
    assert!(refused(&site, &["backup", "verify", &archive], 1).contains("encrypted"));
    site.policy(&[MISTAKE, NO_BANS].concat());
    let change = propose(&site, "ana");
    approve(&site, &change, &ben);
    assert!(run(&site, &["policy", "activate", &change], 0).contains("in force at the next start"));
    fs::remove_file(site.path("state.db")).unwrap();
    let request = site.path("request").display().to_string();
    let restore = ["backup", "restore", &archive, "--key", &secret, "--accept-rollback", "--request", &request];
    assert!(refused(&site, &restore, 5).contains("approvals are required"));
    let approvals =
        [(&ana, "a"), (&ben, "b"), (&cem, "c")].map(|(key, name)| unvouched::sign(&site, &request, key, name));
    let [_, b, c] = &approvals;
    let one = [&restore[..], &["--approval", b, "--approval", b]].concat();
    assert!(refused(&site, &one, 5).contains("1 of 2"));
    let two = [&restore[..], &["--approval", b, "--approval", c]].concat();
    assert!(run(&site, &two, 0).contains("versions after 1 are lost, as approved: version 2 is live"));
    let gateway = site.start();
    assert_eq!(status(&gateway, &key), 200, "the policy of the backup, whatever is on the disk");
    assert!(event(&gateway, "policy.tampered")["message"].as_str().unwrap().contains("policy.toml"));
}

#[test]
fn the_gateway_makes_backups_by_itself_and_keeps_so_many() {
    let upstream = Upstream::start();
    let (site, _) = site(&upstream, "[backup]\nkeep = 2\n");
    fs::create_dir(site.path("backups")).unwrap();
    for day in 1..=3 {
        site.file(&format!("backups/portcullis-2026010{day}T000000Z.backup"), "old");
        let old =
            fs::File::options().write(true).open(site.path(&format!("backups/portcullis-2026010{day}T000000Z.backup")));
        old.unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    }
    let gateway = site.start();
    let made = event(&gateway, "backup.created");
    assert!(made["message"].as_str().unwrap().contains("2 old ones removed"), "{made}");
    let mut names: Vec<String> = fs::read_dir(gateway.site.path("backups"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!((names.len(), names[0].as_str()), (2, "portcullis-20260103T000000Z.backup"));
    let file = gateway.site.path("backups").join(&names[1]);
    assert!(run(&gateway.site, &["backup", "verify", file.to_str().unwrap()], 0).contains("version 1"));
}
