//! Whoever looks writes nothing, neither to the store nor beside it: not even where a gateway was killed, or an earlier version of the program left it.

use std::collections::BTreeMap;
use std::time::SystemTime;

use portcullis_testkit::process::Signal;

use super::*;

const LOOKS: [&[&str]; 11] = [
    &["policy", "list"],
    &["policy", "status"],
    &["policy", "show", "2"],
    &["policy", "show", "1", "--file", "policy.toml"],
    &["policy", "diff", "1", "2"],
    &["policy", "verify"],
    &["approver", "list"],
    &["governance", "status"],
    &["access", "list", "--all"],
    &["access", "show", "1"],
    &["access", "verify"],
];

/// What is in the folder, when each was last written to, and the folder itself.
fn seen(site: &Site) -> BTreeMap<PathBuf, (SystemTime, Vec<u8>)> {
    let folder = site.path(".");
    let mut seen: BTreeMap<_, _> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let modified = entry.metadata().unwrap().modified().unwrap();
            (entry.path(), (modified, fs::read(entry.path()).unwrap_or_default()))
        })
        .collect();
    seen.insert(folder.clone(), (fs::metadata(&folder).unwrap().modified().unwrap(), Vec::new()));
    seen
}

#[track_caller]
fn all_look(site: &Site, when: &str) {
    let before = seen(site);
    for look in LOOKS {
        let code = if look[1] == "diff" { 1 } else { 0 };
        run(site, look, code);
        assert_eq!(seen(site), before, "{look:?} {when}");
    }
}

#[test]
fn a_look_without_a_gateway_writes_nothing_whatever_was_left_there() {
    let upstream = Upstream::start();
    let (site, _) = site(&upstream, GOVERNED);
    let eligible = "[[assignment]]\nname = \"alice-reads\"\nrole = \"reader\"\nprincipals = [\"user:alice\"]\nscope = \"*\"\nactivation = { max = \"4h\" }\n";
    site.policy(&[FINANCE, eligible, NO_BANS].concat());
    site.write();
    let [_, ben, _] = begun(&site);
    site.policy(&[MISTAKE, eligible, NO_BANS].concat());
    let change = propose(&site, "ana");
    approve(&site, &change, &ben);
    run(&site, &["policy", "activate", &change], 0);
    let gateway = site.start();
    run(&gateway.site, &["access", "activate", "alice-reads", "--as", "alice", "--reason", "x"], 0);
    // Killed: what it wrote ahead is not in the file yet, and nothing is in order.
    let Gateway { mut process, site, .. } = gateway;
    process.signal(Signal::Kill);
    process.wait_exit(PATIENCE);
    assert!(fs::metadata(site.path("state.db-wal")).unwrap().len() > 0);
    all_look(&site, "after a gateway was killed");
    let site = stopped(site.start());
    all_look(&site, "after one ended in order");
    // By a program that kept no files beside the store but the head.
    for suffix in ["steps", "revoked", "power", "lock"] {
        let _ = fs::remove_file(site.path(&format!("state.db.{suffix}")));
    }
    assert!(refused(&site, &["access", "list"], 1).contains("somebody has removed it"));
    forged::store(&site).execute("DELETE FROM kept WHERE name = 'power_anchored'", []).unwrap();
    all_look(&site, "where an earlier version ran");
    // What is written needs no look before it.
    let gateway = site.start();
    run(&gateway.site, &["access", "list"], 0);
    assert!(gateway.site.path("state.db.steps").exists());
}

#[test]
fn a_gateway_that_cannot_be_asked_is_told_and_what_is_none_is_not_made() {
    let upstream = Upstream::start();
    let (site, _) = site(&upstream, "");
    site.write();
    assert!(refused(&site, &["policy", "list"], 4).contains("there is no store to look into"));
    assert!(!site.path("state.db").exists());
}
