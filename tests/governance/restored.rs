//! What a backup and a rollback bring back, and what they do not.

use std::time::{Duration, Instant};

use super::*;

#[test]
fn keys_of_a_file_that_was_renamed_do_not_come_back_with_an_earlier_version() {
    let upstream = Upstream::start();
    let (site, key) = site(&upstream, "");
    let mut gateway = site.start();
    assert_eq!(status(&gateway, &key), 200);
    let keys = fs::read_to_string(gateway.site.path("keys.toml")).unwrap();
    gateway.site.file("keys2.toml", &format!("{}revoked = true\n", keys.trim_end().to_owned() + "\n"));
    let config = fs::read_to_string(gateway.site.path("portcullis.toml")).unwrap();
    fs::write(gateway.site.path("portcullis.toml"), config.replace("keys.toml", "keys2.toml")).unwrap();
    gateway.reload("ok");
    assert_eq!(status(&gateway, &key), 401);
    let refusal = refused(&gateway.site, &["policy", "rollback", "1", "--reason", "x"], 1);
    assert!(refusal.contains("`keys.toml`") && refusal.contains("would count again"), "{refusal}");
    assert_eq!((status(&gateway, &key), live(&gateway.site)), (401, 2));
}

#[test]
fn a_deleted_group_is_back_from_a_backup_in_less_than_a_minute() {
    let upstream = Upstream::start();
    let (site, key) = site(&upstream, "");
    let mut gateway = site.start();
    assert_eq!(status(&gateway, &key), 200);
    let archive = backup(&gateway.site, "before.backup");
    gateway.site.policy(&[MISTAKE, NO_BANS].concat());
    gateway.reload("ok");
    assert_eq!(status(&gateway, &key), 403);
    let began = Instant::now();
    // By one command, while the gateway serves.
    run(&gateway.site, &["policy", "rollback", "--reason", "finance was deleted"], 0);
    assert_eq!(status(&gateway, &key), 200);
    let rolled_back = began.elapsed();
    // And where the store is gone with it, by the backup: what is on the disk is the mistake.
    let site = stopped(gateway);
    site.policy(&[MISTAKE, NO_BANS].concat());
    let began = Instant::now();
    for name in ["state.db", "state.db-wal", "state.db-shm", "state.db.head"] {
        let _ = fs::remove_file(site.path(name));
    }
    run(&site, &["backup", "restore", archive.to_str().unwrap()], 0);
    let policy = run(&site, &["policy", "show", "1", "--file", "policy.toml"], 0);
    fs::write(site.path("policy.toml"), policy).unwrap();
    let gateway = site.start();
    assert_eq!(status(&gateway, &key), 200);
    assert!(rolled_back.max(began.elapsed()) < Duration::from_secs(60), "{rolled_back:?}, {:?}", began.elapsed());
}

#[test]
fn a_store_that_cannot_be_read_is_not_taken_for_one_without_revocations() {
    let upstream = Upstream::start();
    let (site, _) = site(&upstream, "");
    let gateway = site.start();
    let archive = backup(&gateway.site, "first.backup");
    let site = stopped(gateway);
    // The log of the backup is as new as that of the store, and still nobody knows what was revoked since.
    fs::write(site.path("state.db"), "damaged").unwrap();
    let file = archive.to_str().unwrap();
    let refusal = refused(&site, &["backup", "restore", file], 5);
    assert!(refusal.contains("cannot be read") && refusal.contains("--accept-rollback"), "{refusal}");
    assert!(refused(&site, &["backup", "restore", file, "--drill"], 5).contains("cannot be read"));
    let said = run(&site, &["backup", "restore", file, "--accept-rollback"], 0);
    assert!(said.contains("the store that was there could not be read"), "{said}");
    assert_eq!(live(&site), 1);
}

#[test]
fn where_a_key_is_configured_a_backup_that_anybody_can_have_made_is_refused() {
    let upstream = Upstream::start();
    let (site, _) = site(&upstream, "");
    site.write();
    let secret = site.path("backup.key").display().to_string();
    run(&site, &["backup", "keygen", "--out", &secret], 0);
    let gateway = site.start();
    let plain = backup(&gateway.site, "plain.backup").display().to_string();
    let mut site = stopped(gateway);
    site.add("[backup]\nkey = \"backup.key\"\nevery = \"30d\"\n");
    site.write();
    for arguments in
        [&["backup", "verify", &plain][..], &["backup", "restore", &plain], &["backup", "restore", &plain, "--drill"]]
    {
        let finished = ask(&site, arguments);
        assert!(!finished.status.success(), "{arguments:?}");
        assert!(finished.stderr.join("\n").contains("not encrypted"), "{finished:?}");
    }
    run(&site, &["backup", "verify", &plain, "--plain"], 0);
    assert_eq!(ask(&site, &["backup", "verify", &plain, "--plain", "--key", &secret]).status.code(), Some(2));
    let sealed = backup(&site, "sealed.backup").display().to_string();
    run(&site, &["backup", "restore", &sealed, "--drill"], 0);
    assert!(refused(&site, &["backup", "verify", &sealed, "--plain"], 1).contains("encrypted"));
}
