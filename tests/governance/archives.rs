//! What a backup is written over, what a restore takes from the store that is there, and what it says of itself.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

/// What waits, as the list has it.
fn waiting(site: &Site) -> Vec<String> {
    let list = json(site, &["policy", "list"]);
    let changes = list["changes"].as_array().cloned().unwrap_or_default();
    let open = changes.iter().filter(|change| change["state"] == "open");
    open.map(|change| change["id"].as_str().unwrap().to_owned()).collect()
}

fn is_private(site: &Site, name: &str) -> bool {
    fs::metadata(site.path(name)).unwrap().permissions().mode() & 0o077 == 0
}

/// Finding of 2026-11: what was rejected came back with its approvals, and went live by one operator; and what was proposed since was gone.
#[test]
fn a_change_that_was_rejected_since_does_not_come_back_with_a_backup() {
    let upstream = Upstream::start();
    let (site, _, [_, ben, cem]) = governed(&upstream);
    site.policy(&[MISTAKE, NO_BANS].concat());
    let mallory = propose(&site, "ana");
    for key in [&ben, &cem] {
        approve(&site, &mallory, key);
    }
    let archive = backup(&site, "before.backup").display().to_string();
    run(&site, &["policy", "reject", &mallory, "--reason", "she left"], 0);
    site.policy(&[MISTAKE, NO_BANS, "# later\n"].concat());
    let later = propose(&site, "ana");
    approve(&site, &later, &ben);
    run(&site, &["backup", "restore", &archive], 0);
    assert!(refused(&site, &["policy", "activate", &mallory], 1).contains("rejected"));
    assert_eq!((waiting(&site), live(&site)), (vec![later.clone()], 1));
    approve(&site, &later, &cem);
    run(&site, &["policy", "activate", &later], 0);
    assert_eq!(live(&site), 2);
}

#[test]
fn where_the_store_is_lost_nothing_of_the_backup_waits_any_more() {
    let upstream = Upstream::start();
    let (site, _, [_, ben, cem]) = governed(&upstream);
    site.policy(&[MISTAKE, NO_BANS].concat());
    let change = propose(&site, "ana");
    for key in [&ben, &cem] {
        approve(&site, &change, key);
    }
    let archive = backup(&site, "before.backup").display().to_string();
    fs::remove_file(site.path("state.db")).unwrap();
    // The head file says that it is the newest, and nothing says what was rejected.
    let said = run(&site, &["backup", "restore", &archive], 0);
    assert!(said.contains("1 proposals that waited in it are ended"), "{said}");
    assert!(refused(&site, &["policy", "activate", &change], 1).contains("rejected"));
    assert_eq!(waiting(&site), Vec::<String>::new());
}

/// Finding of 2026-11: a restore undid bans, and left no trace.
#[test]
fn who_was_banned_since_is_after_a_restore_and_the_next_start_tells_it() {
    let upstream = Upstream::start();
    let (site, _) = site(&upstream, "");
    site.policy(FINANCE);
    let gateway = site.start();
    let archive = backup(&gateway.site, "before.backup").display().to_string();
    run(&gateway.site, &["ban", "add", "--ip", "192.0.2.9", "--for", "1h", "--reason", "test"], 0);
    wait::until(PATIENCE, || (gateway.metric("portcullis_store_pending") == Some(0.0)).then_some(())).unwrap();
    let refusal = refused(&gateway.site, &["backup", "restore", &archive], 4);
    assert!(refusal.contains("a gateway runs on it") && refusal.contains("stop that"), "{refusal}");
    let site = stopped(gateway);
    run(&site, &["backup", "restore", &archive, "--drill"], 0);
    run(&site, &["backup", "restore", &archive], 0);
    let gateway = site.start();
    assert!(run(&gateway.site, &["ban", "list"], 0).contains("192.0.2.9"));
    let told = event(&gateway, "backup.restored");
    let message = told["message"].as_str().unwrap();
    assert!(message.contains("before.backup") && message.contains("with version 1"), "{told}");
    assert_eq!(told["severity"], "high", "{told}");
    // Once: neither a drill nor another start tells it.
    let events = stopped(gateway).start().stop();
    assert!(of_kind(&events, "gateway.started").len() >= 3, "{events:#?}");
    assert_eq!(of_kind(&events, "backup.restored").len(), 1);
}

/// Finding of 2026-11: any file was overwritten without a word, the log of the running store too.
#[test]
fn a_backup_takes_the_place_of_no_file_but_of_an_earlier_backup_that_is_named() {
    let upstream = Upstream::start();
    let (site, key) = site(&upstream, "");
    let gateway = site.start();
    let create = |name: &str, more: &[&str], code: i32| {
        let out = gateway.site.path(name).display().to_string();
        ask(&gateway.site, &[&["backup", "create", "--out", &out][..], more].concat()).status.code() == Some(code)
    };
    let keys = fs::read(gateway.site.path("keys.toml")).unwrap();
    assert!(create("keys.toml", &[], 4) && create("keys.toml", &["--force"], 5));
    assert_eq!(fs::read(gateway.site.path("keys.toml")).unwrap(), keys);
    for name in ["state.db", "state.db-wal", "state.db-journal", "state.db.head", "state.db.power"] {
        assert!(create(name, &[], 5) && create(name, &["--force"], 5), "{name}");
    }
    assert!(create("none/one.backup", &[], 4) && !gateway.site.path("none").exists());
    assert!(create("one.backup", &[], 0));
    let one = fs::read(gateway.site.path("one.backup")).unwrap();
    assert!(create("one.backup", &[], 4));
    assert_eq!(fs::read(gateway.site.path("one.backup")).unwrap(), one);
    assert!(create("one.backup", &["--force"], 0) && create("new.backup", &["--force"], 0));
    assert_ne!(fs::read(gateway.site.path("one.backup")).unwrap(), one);
    let file = gateway.site.path("one.backup").display().to_string();
    run(&gateway.site, &["backup", "verify", &file], 0);
    assert_eq!(status(&gateway, &key), 200);
    // Its own folder is made.
    run(&gateway.site, &["backup", "create"], 0);
    assert!(gateway.site.path("backups").is_dir());
}

/// Finding of 2026-11: who asked what had to be signed had the backup restored where nothing had to be; and requests to sign were for everybody to read.
#[test]
fn who_asks_what_has_to_be_signed_has_nothing_restored() {
    let upstream = Upstream::start();
    let (site, _, _) = governed(&upstream);
    let archive = backup(&site, "before.backup").display().to_string();
    site.policy(&[MISTAKE, NO_BANS].concat());
    let change = propose(&site, "ana");
    let before = fs::read(site.path("state.db")).unwrap();
    let request = site.path("request").display().to_string();
    let asked = ["backup", "restore", &archive, "--accept-rollback", "--request", &request];
    assert!(refused(&site, &asked, 1).contains("nothing was put in place"));
    assert!(!site.path("request").exists());
    assert_eq!(fs::read(site.path("state.db")).unwrap(), before);
    run(&site, &["policy", "request", &change, "--out", &site.path("change").display().to_string()], 0);
    for name in ["state.db", "state.db.head"] {
        fs::remove_file(site.path(name)).unwrap();
    }
    let refusal = refused(&site, &asked, 5);
    assert!(refusal.contains("--request") && refusal.contains("--approval"), "{refusal}");
    assert!(is_private(&site, "request") && is_private(&site, "change"));
    assert!(!site.path("state.db").exists());
}
