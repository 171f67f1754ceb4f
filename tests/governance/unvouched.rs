//! A backup for which nothing here vouches, one that brings a revoked approver back, and what says from outside how far the log had come.

use super::*;

/// Proposes that ben's keys count no more, approves that by ana and cem, and makes it live.
fn dismiss_ben(site: &Site, [ana, _, cem]: &[String; 3]) {
    let revoke = ["approver", "revoke", "ben", "--author", "dana", "--reason", "ben has left"];
    let id = json(site, &revoke)["changes"][0]["id"].as_str().unwrap().to_owned();
    for key in [ana, cem] {
        approve(site, &id, key);
    }
    run(site, &["policy", "activate", &id], 0);
}

fn remove(site: &Site, names: &[&str]) {
    for name in names {
        for suffix in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(site.path(&format!("{name}{suffix}")));
        }
    }
}

/// How far the log has come, as an operator writes it down.
fn anchor(site: &Site) -> String {
    let live = json(site, &["governance", "status"])["live"].clone();
    format!("{}:{}", live["n"], live["hash"].as_str().unwrap())
}

/// Signs a request to restore, as one who has read it.
pub(super) fn sign(site: &Site, request: &str, key: &str, out: &str) -> String {
    let out = site.path(out).display().to_string();
    let refusal = refused(site, &["policy", "sign", request, "--key", key, "--out", &out], 5);
    assert!(refusal.contains("nobody could look"), "{refusal}");
    let hash = refusal.split("--acknowledge ").nth(1).unwrap().split(' ').next().unwrap();
    run(site, &["policy", "sign", request, "--key", key, "--out", &out, "--acknowledge", hash], 0);
    out
}

#[test]
fn with_neither_store_nor_head_a_governed_backup_needs_approvals_or_what_was_written_down() {
    let upstream = Upstream::start();
    let (site, _, [_, ben, cem]) = governed(&upstream);
    let archive = backup(&site, "first.backup").display().to_string();
    site.policy(&[MISTAKE, NO_BANS].concat());
    let change = propose(&site, "ana");
    approve(&site, &change, &ben);
    run(&site, &["policy", "activate", &change], 0);
    let second = anchor(&site);
    let later = backup(&site, "second.backup").display().to_string();
    remove(&site, &["state.db", "state.db.head"]);
    let refusal = refused(&site, &["backup", "restore", &archive], 5);
    assert!(refusal.contains("neither a store nor its head file is there") && refusal.contains("--head"), "{refusal}");
    assert!(!site.path("state.db").exists());
    // A drill says the same, with the same code.
    assert!(refused(&site, &["backup", "restore", &archive, "--drill"], 5).contains("with --head"));
    let request = site.path("request").display().to_string();
    let accepted = ["backup", "restore", &archive, "--accept-rollback", "--request", &request];
    assert!(refused(&site, &accepted, 5).contains("approvals are required"));
    let signed = sign(&site, &request, &cem, "one");
    assert!(refused(&site, &[&accepted[..], &["--approval", &signed]].concat(), 5).contains("1 of 2"));
    // What was written down is later than this backup: still nobody has approved that it is lost.
    let typed = ["backup", "restore", &archive, "--head", &second];
    assert!(refused(&site, &typed, 5).contains("the store was at version 2"));
    // And a backup that holds it is not older.
    let said = run(&site, &["backup", "restore", &later, "--head", &second], 0);
    assert!(said.contains("its log is the newest that is known"), "{said}");
    assert_eq!(live(&site), 2);
}

/// Finding of 2026-11: the first version, which is what every gateway is called by, had any old backup of it restored without approvals.
#[test]
fn a_version_that_says_nothing_of_the_age_of_a_backup_does_not_vouch_for_it() {
    let upstream = Upstream::start();
    let (site, _, [_, ben, cem]) = governed(&upstream);
    let first = anchor(&site);
    let mut archives = vec![backup(&site, "first.backup").display().to_string()];
    let mut anchors = vec![first.clone()];
    for policy in [MISTAKE, FINANCE] {
        site.policy(&[policy, NO_BANS, "# again\n"].concat());
        let change = propose(&site, "ana");
        for key in [&ben, &cem] {
            approve(&site, &change, key);
        }
        run(&site, &["policy", "activate", &change], 0);
        archives.push(backup(&site, &format!("{}.backup", archives.len())).display().to_string());
        anchors.push(anchor(&site));
    }
    // Of a store that is there it changes nothing.
    run(&site, &["backup", "restore", &archives[2], "--head", &first, "--drill"], 0);
    remove(&site, &["state.db", "state.db.head"]);
    for (archive, head) in [(&archives[2], &first), (&archives[2], &anchors[1]), (&archives[0], &first)] {
        for drill in [&[][..], &["--drill"]] {
            let refusal = refused(&site, &[&["backup", "restore", archive, "--head", head][..], drill].concat(), 5);
            assert!(refusal.contains("says nothing of its age"), "{refusal}");
        }
        assert!(!site.path("state.db").exists());
    }
    run(&site, &["backup", "restore", &archives[1], "--head", &anchors[1], "--drill"], 0);
    run(&site, &["backup", "restore", &archives[2], "--head", &anchors[2]], 0);
    let gateway = site.start();
    let told = event(&gateway, "backup.restored");
    let message = told["message"].as_str().unwrap();
    assert!(message.contains(&format!("with --head {}", anchors[2])), "{told}");
}

#[test]
fn a_backup_from_before_approvals_does_not_end_them_where_the_configuration_demands_them() {
    let upstream = Upstream::start();
    let (site, _) = site(&upstream, "");
    let mut site = stopped(site.start());
    let archive = backup(&site, "before.backup").display().to_string();
    site.add(GOVERNED);
    site.write();
    begun(&site);
    remove(&site, &["state.db", "state.db.head"]);
    for accept in [&[][..], &["--accept-rollback"]] {
        let refusal = refused(&site, &[&["backup", "restore", &archive][..], accept].concat(), 5);
        assert!(refusal.contains("before approvals were required"), "{refusal}");
    }
    assert!(!site.path("state.db").exists());
}

#[test]
fn an_approver_who_was_dismissed_neither_signs_a_restore_nor_comes_back_with_it() {
    let upstream = Upstream::start();
    let (site, key, keys) = governed(&upstream);
    let [ana, ben, cem] = &keys;
    // In the backup there is an API key, and alice may read.
    let archive = backup(&site, "first.backup").display().to_string();
    site.policy(&[MISTAKE, NO_BANS].concat());
    let text = fs::read_to_string(site.path("keys.toml")).unwrap();
    site.file("keys.toml", &format!("{}\nrevoked = true\n", text.trim_end()));
    let change = propose(&site, "dana");
    approve(&site, &change, ana);
    run(&site, &["policy", "activate", &change], 0);
    dismiss_ben(&site, &keys);
    assert!(fs::read_to_string(site.path("state.db.revoked")).unwrap().starts_with("portcullis-revoked/1\n"));
    remove(&site, &["state.db"]);
    let request = site.path("request").display().to_string();
    let restore = ["backup", "restore", &archive, "--accept-rollback", "--request", &request];
    assert!(refused(&site, &restore, 5).contains("approvals are required"));
    // Who signs sees what comes back, and who does not.
    let review = ask(&site, &["policy", "sign", &request]).stderr.join("\n");
    for shown in [
        "of ben was revoked since: it does not come back",
        "compared with the files on disk, for which nobody vouches, the backup is another configuration (mixed)",
        "counts again: it is revoked, or gone, on disk",
        "GETS FURTHER: user:alice",
        "+members = [\"user:alice\"]",
        "APPROVERS",
    ] {
        assert!(review.contains(shown), "{shown}: {review}");
    }
    let [a, b, c] = [(ana, "a"), (ben, "b"), (cem, "c")].map(|(key, name)| sign(&site, &request, key, name));
    let dismissed = [&restore[..], &["--approval", &a, "--approval", &b]].concat();
    assert!(refused(&site, &dismissed, 5).contains("1 of 2 approvals"));
    assert!(!site.path("state.db").exists());
    let enough = [&restore[..], &["--approval", &a, "--approval", &c]].concat();
    assert!(run(&site, &enough, 0).contains("as approved: version 2 is live"));
    let list = run(&site, &["approver", "list"], 0);
    let of_ben = list.lines().find(|line| line.contains("ben")).unwrap_or_else(|| panic!("{list}"));
    assert!(of_ben.contains("revoked"), "{list}");
    assert!(run(&site, &["policy", "verify"], 0).contains("2 versions"));
    // He counts no more afterwards, neither now nor in what is restored next.
    let gateway = site.start();
    assert_eq!(status(&gateway, &key), 200);
    let later = backup(&gateway.site, "later.backup").display().to_string();
    assert!(run(&gateway.site, &["backup", "verify", &later], 0).contains("version 2"));
    gateway.site.policy(&[MISTAKE, NO_BANS].concat());
    let change = propose(&gateway.site, "dana");
    let seen = impact(&gateway.site, &change);
    let by_ben = ["policy", "approve", &change, "--key", ben, "--acknowledge", &seen];
    assert!(refused(&gateway.site, &by_ben, 1).contains("not enrolled, or revoked"));
}

#[test]
fn an_older_store_with_its_older_head_file_does_not_start_where_something_outside_knows_better() {
    let upstream = Upstream::start();
    let (site, _, keys) = governed(&upstream);
    for name in ["state.db", "state.db.head"] {
        fs::copy(site.path(name), site.path(&format!("older-{name}"))).unwrap();
    }
    site.policy(&[MISTAKE, NO_BANS].concat());
    let change = propose(&site, "dana");
    approve(&site, &change, &keys[1]);
    let activated = run(&site, &["policy", "activate", &change], 0);
    let newest = anchor(&site);
    assert!(activated.contains(&format!("version 2 is live ({newest})")), "{activated}");
    assert!(run(&site, &["governance", "status"], 0).contains(&format!("anchor    {newest} ")));
    let store = site.path("state.db").display().to_string();
    let back = || {
        remove(&site, &["state.db"]);
        for name in ["state.db", "state.db.head"] {
            fs::copy(site.path(&format!("older-{name}")), site.path(name)).unwrap();
        }
    };
    let start = ["run", "--governed", &store, "--at-least", &newest];
    back();
    let refusal = refused(&site, &start, 3);
    assert!(refusal.contains("does not hold version 2") && refusal.contains("has 1 versions"), "{refusal}");
    // Also by the environment, which is where a unit has it.
    let by_environment = portcullis()
        .env("PORTCULLIS_GOVERNED", &store)
        .env("PORTCULLIS_AT_LEAST", &newest)
        .arg("-c")
        .arg(site.path("portcullis.toml"))
        .arg("run")
        .run(PATIENCE);
    assert_eq!(by_environment.status.code(), Some(3), "{by_environment:?}");
    // A key that was revoked since is known beside the store.
    let revoked = stage_of_ben(&site, &keys);
    back();
    site.file("state.db.revoked", &revoked);
    let refusal = refused(&site, &["run"], 3);
    assert!(refusal.contains("of ben was revoked, and stays so"), "{refusal}");
}

/// Revokes ben in the store that is there, and returns the list that says so.
fn stage_of_ben(site: &Site, keys: &[String; 3]) -> String {
    dismiss_ben(site, keys);
    fs::read_to_string(site.path("state.db.revoked")).unwrap()
}

/// Finding of 2026-11: the gateway said "restore a backup" of a list that was damaged, and restoring one failed by that list.
#[test]
fn a_list_of_revoked_keys_that_is_damaged_is_mended_by_a_backup() {
    let upstream = Upstream::start();
    let (site, key, keys) = governed(&upstream);
    dismiss_ben(&site, &keys);
    let archive = backup(&site, "first.backup").display().to_string();
    site.file("state.db.revoked", "torn");
    assert!(refused(&site, &["run"], 3).contains("restore a backup"));
    let said = run(&site, &["backup", "restore", &archive], 0);
    assert!(said.contains("which keys were revoked could not be read"), "{said}");
    assert!(fs::read_to_string(site.path("state.db.revoked")).unwrap().starts_with("portcullis-revoked/1\n"));
    let list = run(&site, &["approver", "list"], 0);
    assert!(list.lines().any(|line| line.contains("ben") && line.contains("revoked")), "{list}");
    assert_eq!(status(&site.start(), &key), 200);
}

/// Whether the head file says how far the log had come or is gone, and whatever is accepted.
#[test]
fn a_backup_of_another_gateway_takes_the_place_of_no_store_that_is_there() {
    let upstream = Upstream::start();
    let (site, ..) = governed(&upstream);
    let (other, ..) = governed(&upstream);
    let archive = backup(&other, "other.backup").display().to_string();
    for gone in [false, true] {
        if gone {
            remove(&site, &["state.db.head"]);
        }
        for accept in [&[][..], &["--accept-rollback"]] {
            let refusal = refused(&site, &[&["backup", "restore", &archive][..], accept].concat(), 5);
            assert!(refusal.contains("the backup is of another gateway"), "{gone}: {refusal}");
        }
    }
}
