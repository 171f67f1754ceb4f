//! What a start would refuse is in no backup, and goes on in no restored store; what is vouched for stays. Findings of 2026-11: whoever could write to the store
//! had an unapproved version live through a backup and a restore, and a restore that did not believe the end of a log lost all of it.

use portcullis_governance::{Hash, Head, HeadFile, HeadPlace as _, Rollout, Version};

use super::forged::{append, last, lend, lie, store, take_back};
use super::recovered::vouch;
use super::*;

const FILES: [&str; 5] = ["state.db", "state.db.head", "state.db.steps", "state.db.power", "state.db.revoked"];

fn keep(site: &Site, as_name: &str) {
    for name in FILES {
        let _ = fs::copy(site.path(name), site.path(&format!("{as_name}-{name}")));
    }
}

fn put_back(site: &Site, as_name: &str, names: &[&str]) {
    for name in names {
        for suffix in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(site.path(&format!("{name}{suffix}")));
        }
        let _ = fs::copy(site.path(&format!("{as_name}-{name}")), site.path(name));
    }
}

fn loosened(site: &Site) -> String {
    site.policy(&[FINANCE, NO_BANS].concat().replace("group:finance", "anyone"));
    propose(site, "nobody")
}

/// Has another policy live, with as many approvals as it needs.
fn approved(site: &Site, policy: &[&str], keys: &[&String]) -> String {
    site.policy(&policy.concat());
    let change = propose(site, "dana");
    for key in keys {
        approve(site, &change, key);
    }
    run(site, &["policy", "activate", &change], 0);
    change
}

/// Each way in which a store is not what a gateway starts on, and what is said of it.
#[test]
fn a_store_on_which_no_gateway_would_start_is_not_backed_up() {
    let upstream = Upstream::start();
    let (site, _, [ana, ben, cem]) = governed(&upstream);
    keep(&site, "first");
    approved(&site, &[MISTAKE, NO_BANS], &[&ben, &cem]);
    let change = loosened(&site);
    // From then on it is known beside the store which power was given.
    let site = stopped(site.start());
    keep(&site, "second");
    let revoke = ["approver", "revoke", "ben", "--author", "dana", "--reason", "ben has left"];
    let id = json(&site, &revoke)["changes"][0]["id"].as_str().unwrap().to_owned();
    for key in [&ana, &cem] {
        approve(&site, &id, key);
    }
    run(&site, &["policy", "activate", &id], 0);
    keep(&site, "third");
    let archive = site.path("one.backup").display().to_string();
    let create = ["backup", "create", "--out", &archive];
    type Damage<'d> = &'d dyn Fn(&Site);
    let damages: [(&str, Damage<'_>, &str); 9] = [
        ("one signature, and a lie about what it does", &|site| drop(lie(site, &change, &ben)), "the engine says"),
        ("taken back", &|site| drop(take_back(site)), "was not being rolled out"),
        (
            "nobody signed it",
            &|site| {
                let forged = lie(site, &change, &ben);
                let db = store(site);
                db.execute("DELETE FROM version WHERE n = 3", []).unwrap();
                append(&db, &Version { approvals: Vec::new(), ..forged });
            },
            "0 of 1",
        ),
        (
            "no version",
            &|site| {
                let sql = "INSERT INTO version (n, hash, content, approvers, record, impact) SELECT 3, x'00', content, approvers, x'00', impact FROM version WHERE n = 2";
                store(site).execute(sql, []).unwrap();
            },
            "version 3",
        ),
        ("older than the head file", &|site| put_back(site, "first", &["state.db"]), "the head file knows version 2"),
        (
            "the head file of another one",
            &|site| {
                let head = Head { n: 2, hash: Hash([7; 32]), required: true };
                HeadFile::beside(&site.path("state.db")).write(head).unwrap();
            },
            "the store is older than it was, or another one",
        ),
        ("no head file", &|site| fs::remove_file(site.path("state.db.head")).unwrap(), "the head file is not there"),
        (
            "older with its head file, and a key was revoked",
            &|site| put_back(site, "third", &["state.db.revoked"]),
            "was revoked, and stays so",
        ),
        ("power that nobody gave", &lend, "the log of temporary power is not what it was"),
    ];
    for (what, damage, said) in damages {
        put_back(&site, "second", &FILES);
        damage(&site);
        // The same is said by a start.
        let start = ask(&site, &["run"]);
        assert!(!start.status.success() && start.stderr.join("\n").contains(said), "{what}: {start:?}");
        let refusal = refused(&site, &create, 1);
        for part in ["is not backed up", said, "backup restore FILE", "copies"] {
            assert!(refusal.contains(part), "{what}: {part}: {refusal}");
        }
        assert!(!site.path("one.backup").exists(), "{what}");
    }
    put_back(&site, "second", &FILES);
    run(&site, &create, 0);
}

#[test]
fn a_running_gateway_backs_nothing_up_that_it_would_not_start_on() {
    let upstream = Upstream::start();
    let (site, key, [_, ben, _]) = governed(&upstream);
    let change = loosened(&site);
    let gateway = site.start();
    assert_eq!(status(&gateway, &key), 200);
    lie(&gateway.site, &change, &ben);
    let refusal = refused(&gateway.site, &["backup", "create"], 1);
    assert!(refusal.contains("is not backed up") && refusal.contains("the engine says"), "{refusal}");
    assert_eq!(status(&gateway, &key), 200);
}

/// A backup that was made of a store before anybody judged it, or by whoever can write to its folder.
fn forged_backup(site: &Site, ben: &str) -> (String, Version) {
    let change = loosened(site);
    let first = last(&store(site));
    let forged = lie(site, &change, ben);
    vouch(site, &forged);
    let archive = backup(site, "forged.backup").display().to_string();
    vouch(site, &first);
    (archive, forged)
}

#[test]
fn a_backup_with_a_version_that_nobody_approved_is_believed_up_to_what_is_vouched_for() {
    let upstream = Upstream::start();
    let (site, key, [_, ben, _]) = governed(&upstream);
    let first = run(&site, &["governance", "status"], 0);
    let (archive, forged) = forged_backup(&site, &ben);
    let short = forged.change.id.short();
    assert!(refused(&site, &["backup", "verify", &archive], 1).contains("the engine says"));
    let out = site.path("files").display().to_string();
    assert!(refused(&site, &["backup", "files", &archive, "--out", &out], 1).contains("the engine says"));
    // The store is lost, and the head file knows version 1.
    keep(&site, "before");
    for name in ["state.db", "state.db-wal", "state.db-shm"] {
        let _ = fs::remove_file(site.path(name));
    }
    let restore = ["backup", "restore", &archive];
    for drill in [&[][..], &["--drill"]] {
        let refusal = refused(&site, &[&restore[..], drill].concat(), 5);
        let dropped = format!("dropped is version 2 (change {short})");
        for part in ["after version 1, the last for which anything else vouches", "the engine says", &dropped] {
            assert!(refusal.contains(part), "{part}: {refusal}");
        }
    }
    assert!(!site.path("state.db").exists());
    // With neither, an anchor of version 1 vouches for that alone.
    fs::remove_file(site.path("state.db.head")).unwrap();
    let anchor = first.lines().find_map(|line| line.strip_prefix("anchor    ")).unwrap();
    let anchor = anchor.split(' ').next().unwrap();
    let refusal = refused(&site, &[&restore[..], &["--head", anchor]].concat(), 5);
    assert!(refusal.contains("the engine says") && refusal.contains("dropped is version 2"), "{refusal}");
    let refusal = refused(&site, &restore, 5);
    assert!(refusal.contains("neither a store nor its head file") && refusal.contains("the engine says"), "{refusal}");
    put_back(&site, "before", &["state.db.head"]);
    let said = run(&site, &["backup", "restore", &archive, "--accept-rollback"], 0);
    assert!(said.contains(&format!("and dropped, is version 2 (change {short})")), "{said}");
    let gateway = site.start();
    assert_eq!((live(&gateway.site), status(&gateway, &key)), (1, 200));
    assert!(event(&gateway, "backup.restored")["message"].as_str().unwrap().contains(&short));
}

#[test]
fn of_a_log_whose_end_is_not_believed_all_goes_on_that_was_approved() {
    let upstream = Upstream::start();
    let (site, key, [_, ben, cem]) = governed(&upstream);
    let archive = backup(&site, "first.backup").display().to_string();
    let second = approved(&site, &[MISTAKE, NO_BANS], &[&ben, &cem]);
    let forged = take_back(&site);
    assert!(refused(&site, &["run"], 3).contains("was not being rolled out"));
    let refusal = refused(&site, &["backup", "restore", &archive], 5);
    for part in ["after version 2, the last for which anything else vouches", "--accept-rollback"] {
        assert!(refusal.contains(part), "{part}: {refusal}");
    }
    let said = run(&site, &["backup", "restore", &archive, "--accept-rollback"], 0);
    let dropped = format!("version 3 (change {}), which nobody proposed", forged.change.id.short());
    for part in ["version 2 is live", &dropped, "what was there is"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let changes = json(&site, &["policy", "list"])["changes"].clone();
    let state =
        |id: &str| changes.as_array().unwrap().iter().find(|each| each["id"] == id).map(|each| each["state"].clone());
    assert_eq!(state(&second), Some("activated".into()));
    let gateway = site.start();
    assert_eq!((live(&gateway.site), status(&gateway, &key)), (2, 403));
    run(&gateway.site, &["policy", "verify"], 0);
}

/// Each command that is printed is one that can be run as it stands.
#[test]
fn what_was_dropped_is_proposed_again_as_the_answer_says() {
    let upstream = Upstream::start();
    let (site, key, [_, ben, cem]) = governed(&upstream);
    let archive = backup(&site, "first.backup").display().to_string();
    let first = last(&store(&site));
    let second = approved(&site, &[MISTAKE, NO_BANS], &[&ben, &cem]);
    let third = approved(&site, &[FINANCE, NO_BANS, "# again\n"], &[&ben, &cem]);
    // What was approved is in the second no more, and the third follows on that.
    vouch(&site, &first);
    let db = store(&site);
    db.execute("DELETE FROM blob WHERE hash = (SELECT content FROM version WHERE n = 2)", []).unwrap();
    drop(db);
    assert!(refused(&site, &["run"], 3).contains("version 2 is not what was approved"));
    let said = run(&site, &["backup", "restore", &archive, "--accept-rollback"], 0);
    let [second, third] = [&second, &third].map(|id| &id[..8]);
    assert!(said.contains(&format!("version 2 (change {second})")), "{said}");
    let shown = format!("version 3 (change {third}), whose files `portcullis policy show {third} --file NAME` writes");
    assert!(said.contains(&shown) && said.contains("version 1"), "{said}");
    let policy = run(&site, &["policy", "show", third, "--file", "policy.toml"], 0);
    assert!(policy.contains("# again"), "{policy}");
    site.file("again.toml", &policy);
    let file = site.path("again.toml").display().to_string();
    let again = refused(&site, &["policy", "propose", "--again", third, "--reason", "x"], 1);
    assert!(again.contains("not in the log any more"), "{again}");
    // For root, too, who is an account of many.
    let author = "--author \"${SUDO_USER:-$(id -un)}\"";
    assert!(said.contains(&format!("`portcullis policy propose FILE {author} --reason TEXT`")), "{said}");
    run(&site, &["policy", "propose", &file, "--author", "root", "--reason", "it was dropped"], 0);
    let gateway = site.start();
    assert_eq!((live(&gateway.site), status(&gateway, &key)), (1, 200));
}

/// Finding of 2026-11: a restore that dropped a junk version had the one before it live for everybody, though it was in a step, and nobody had seen anything of it.
#[test]
fn what_was_in_a_step_stays_in_it_when_what_stands_behind_it_is_dropped() {
    let upstream = Upstream::start();
    let rules = "[governance]\nrequired = true\nshadow = \"1h\"\nmax_newly_denied = \"100%\"\n";
    let (site, key) = site(&upstream, rules);
    site.write();
    let [_, ben, cem] = begun(&site);
    let archive = backup(&site, "first.backup").display().to_string();
    let restore = ["backup", "restore", &archive, "--accept-rollback"];
    let gateway = site.start();
    let change = approved(&gateway.site, &[MISTAKE, NO_BANS], &[&ben, &cem]);
    let mut site = stopped(gateway);
    keep(&site, "shadow");
    let (second, short) = (last(&store(&site)), &change[..8]);
    let junk = "INSERT INTO version (n, hash, content, approvers, record, impact) SELECT 3, x'00', content, approvers, x'00', impact FROM version WHERE n = 2";
    // It names the change of the one that stays.
    let forged = Version { n: 3, prev: second.hash(), ..second.clone() };
    type Damage<'d> = &'d dyn Fn(&rusqlite::Connection);
    let damages: [(&str, Damage<'_>); 3] = [
        ("junk", &|db| assert_eq!(db.execute(junk, []), Ok(1))),
        ("forged", &|db| append(db, &forged)),
        ("and without how far it had come", &|db| {
            append(db, &forged);
            db.execute("DELETE FROM rollout", []).unwrap();
        }),
    ];
    let state = |site: &Site| {
        let changes = json(site, &["policy", "list"])["changes"].clone();
        let found = changes.as_array().unwrap().iter().find(|each| each["id"] == *change).cloned();
        found.map(|found| found["state"].clone())
    };
    for (what, damage) in damages {
        put_back(&site, "shadow", &FILES);
        damage(&store(&site));
        refused(&site, &["run"], 3);
        let said = run(&site, &restore, 0);
        let rolled = format!(
            "version 2 is rolled out from the step that it was in, and version 1 serves meanwhile: `portcullis policy activate {short} --now"
        );
        assert!(said.contains(&rolled), "{what}: {said}");
        let gateway = site.start();
        let rollout = json(&gateway.site, &["policy", "status"])["live"]["rollout"].clone();
        assert_eq!((&rollout["n"], &rollout["serving"]), (&2.into(), &1.into()), "{what}: {rollout}");
        assert_eq!(status(&gateway, &key), 200, "{what}");
        assert_eq!(state(&gateway.site), Some("activated".into()), "{what}");
        site = stopped(gateway);
    }
    // What has come through its steps is live for everybody, whatever the store says.
    put_back(&site, "shadow", &FILES);
    let gateway = site.start();
    run(&gateway.site, &["policy", "activate", &change, "--now", "--reason", "it is well"], 0);
    let site = stopped(gateway);
    let db = store(&site);
    db.execute(junk, []).unwrap();
    let row = Rollout::new(2, second.change.id).encode();
    db.execute("INSERT INTO rollout (place, record) VALUES (1, ?1)", [row]).unwrap();
    drop(db);
    let said = run(&site, &restore, 0);
    assert!(!said.contains("is rolled out"), "{said}");
    let gateway = site.start();
    assert_eq!((live(&gateway.site), status(&gateway, &key)), (2, 403));
}
