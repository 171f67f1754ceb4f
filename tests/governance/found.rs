//! The way back, and what waits: what an operator meets by hand.

use super::*;

fn read(site: &Site, name: &str) -> String {
    fs::read_to_string(site.path(name)).unwrap()
}

/// Has the key's file hold other groups, and says what it held.
fn with_groups(site: &Site, from: &str, to: &str) {
    let text = read(site, "keys.toml");
    assert!(text.contains(from), "{text}");
    fs::write(site.path("keys.toml"), text.replacen(from, to, 1)).unwrap();
}

/// Alice may read by being in finance, which only her key says. Another key is there to be revoked.
fn site_by_key(upstream: &Upstream, more: &str) -> (Site, String, String) {
    let mut site = Site::new(&upstream.url());
    let alice = site.key("alice", "user:alice", "groups = [\"finance\"]");
    let bob = site.key("bob", "user:bob", "groups = [\"finance\"]");
    site.add(STORE);
    site.add(more);
    let policy = FINANCE.replace("[[group]]\nname = \"finance\"\nmembers = [\"user:alice\"]\n", "");
    site.policy(&[policy.as_str(), NO_BANS].concat());
    (site, alice, bob)
}

/// Case 2, where the group stands in the key file.
#[test]
fn a_group_that_was_emptied_in_the_key_file_comes_back_and_a_key_that_was_revoked_does_not() {
    let upstream = Upstream::start();
    let (site, alice, bob) = site_by_key(&upstream, "");
    let mut gateway = site.start();
    assert_eq!((status(&gateway, &alice), status(&gateway, &bob)), (200, 200));
    with_groups(&gateway.site, "groups = [\"finance\"]", "groups = []");
    gateway.reload("ok");
    with_groups(&gateway.site, "id = \"bob\"", "id = \"bob\"\nrevoked = true");
    gateway.reload("ok");
    assert_eq!((status(&gateway, &alice), status(&gateway, &bob)), (403, 401));
    let tried = run(&gateway.site, &["policy", "rollback", "1", "--reason", "a mistake", "--dry-run"], 0);
    assert!(tried.contains("groups and roles of key `alice`") && tried.contains("nothing was changed"), "{tried}");
    assert_eq!((status(&gateway, &alice), live(&gateway.site)), (403, 3));
    let said = run(&gateway.site, &["policy", "rollback", "1", "--reason", "a mistake"], 0);
    assert!(
        said.contains("rolled back to version 1") && said.contains("it tightens and loosens; would newly deny 0"),
        "{said}"
    );
    assert_eq!((status(&gateway, &alice), status(&gateway, &bob)), (200, 401));
    assert!(read(&gateway.site, "keys.toml").contains("revoked = true"));
    gateway.reload("ok");
    assert_eq!((status(&gateway, &alice), status(&gateway, &bob), live(&gateway.site)), (200, 401, 4));
}

#[test]
fn what_was_revoked_on_the_disk_and_is_not_in_force_yet_stays_revoked_by_a_rollback() {
    let upstream = Upstream::start();
    let (site, alice, bob) = site_by_key(&upstream, "");
    let mut gateway = site.start();
    with_groups(&gateway.site, "groups = [\"finance\"]", "groups = []");
    gateway.reload("ok");
    with_groups(&gateway.site, "id = \"bob\"", "id = \"bob\"\nrevoked = true");
    run(&gateway.site, &["policy", "rollback", "--reason", "a mistake"], 0);
    assert_eq!((status(&gateway, &alice), status(&gateway, &bob)), (200, 401));
    assert!(read(&gateway.site, "keys.toml").contains("revoked = true"));
}

#[test]
fn an_audit_of_somebody_whom_nobody_knows_is_no_good_news() {
    let upstream = Upstream::start();
    let (site, _, _) = site_by_key(&upstream, "");
    site.write();
    for unknown in ["alice", "user:nobody", "group:finanse"] {
        let said = refused(&site, &["audit", "run", "--offline", "--principal", unknown], 2);
        assert!(said.contains(unknown), "{said}");
    }
    for known in ["user:alice", "group:finance"] {
        run(&site, &["audit", "run", "--offline", "--principal", known, "--fail-on", "never"], 0);
    }
}

#[test]
fn a_rollback_of_keys_alone_names_what_is_left_to_do() {
    let upstream = Upstream::start();
    let (site, _, _) = site_by_key(&upstream, "");
    let mut gateway = site.start();
    with_groups(&gateway.site, "id = \"bob\"", "id = \"bob\"\nrevoked = true");
    gateway.reload("ok");
    let nothing = refused(&gateway.site, &["policy", "rollback", "--reason", "x"], 1);
    assert!(nothing.contains("`policy show 1 --file NAME`"), "{nothing}");
}

#[test]
fn a_change_that_waits_is_read_compared_and_tried_without_a_key() {
    let upstream = Upstream::start();
    let (site, key, [_, ben, _]) = governed(&upstream);
    let gateway = site.start();
    assert_eq!(status(&gateway, &key), 200);
    let site = &gateway.site;
    site.policy(&[MISTAKE, NO_BANS].concat());
    let (change, other) = (propose(site, "ana"), propose(site, "dana"));
    let short = &change[..8];
    let shown = run(site, &["policy", "show", short], 0);
    assert!(shown.starts_with("state     open: ") && shown.contains("would newly deny 1 of the last"), "{shown}");
    assert!(shown.contains("less far: user:alice") && shown.contains("-members = [\"user:alice\"]"), "{shown}");
    assert!(run(site, &["policy", "show", short, "--file", "policy.toml"], 0).contains("members = []"));
    assert!(run(site, &["policy", "diff", "1", short], 1).contains("0 loosen, 1 tighten"));
    assert!(run(site, &["policy", "preview", short], 1).contains("would newly deny 1 of"));
    // A file that is called like a version is none.
    site.file("1", "no policy at all");
    assert!(run(site, &["policy", "diff", "1", short], 1).contains("0 loosen, 1 tighten"));
    // Another one becomes live, and it never can.
    approve(site, &other, &ben);
    run(site, &["policy", "activate", &other], 0);
    let list = json(site, &["policy", "list"]);
    let changes = list["changes"].as_array().unwrap();
    let overtaken = changes.iter().find(|each| each["id"] == change.as_str()).unwrap();
    assert_eq!(overtaken["state"], "overtaken", "{overtaken:#}");
    let said = run(site, &["policy", "list"], 0);
    assert!(said.contains("another version is live since") && !said.contains("it can be activated"), "{said}");
    assert!(run(site, &["policy", "show", "2"], 0).contains("approvals ben (key "));
}

#[test]
fn the_files_of_the_live_version_are_put_back_and_what_was_edited_is_kept() {
    let upstream = Upstream::start();
    let (site, key, _) = governed(&upstream);
    let mut gateway = site.start();
    let approved = read(&gateway.site, "policy.toml");
    gateway.site.policy(&[MISTAKE, NO_BANS].concat());
    let edited = read(&gateway.site, "policy.toml");
    gateway.reload("error");
    let shown = run(&gateway.site, &["status"], 0);
    assert!(!shown.contains("`portcullis reload`") && shown.contains("`portcullis policy propose`"), "{shown}");
    let said = run(&gateway.site, &["policy", "rollback", "1", "--author", "ana", "--reason", "not mine"], 0);
    assert!(said.contains("kept as `policy.toml.edited-before-version-1`"), "{said}");
    assert_eq!(read(&gateway.site, "policy.toml"), approved);
    assert_eq!(read(&gateway.site, "policy.toml.edited-before-version-1"), edited);
    gateway.reload("ok");
    fs::remove_file(gateway.site.path("policy.toml")).unwrap();
    run(&gateway.site, &["policy", "rollback", "1", "--author", "ana", "--reason", "gone"], 0);
    assert_eq!(read(&gateway.site, "policy.toml"), approved);
    gateway.reload("ok");
    assert_eq!((status(&gateway, &key), live(&gateway.site)), (200, 1));
    // Whoever begins twice is told that it has begun, whoever they are.
    let begin = ["governance", "init", "--reason", "again", "--approver"];
    let ana = format!("ana={}", gateway.site.path("ana.pub").display());
    let again = refused(&gateway.site, &[&begin[..], &[ana.as_str()]].concat(), 1);
    assert!(again.contains("governance has begun already"), "{again}");
}

#[test]
fn a_version_of_a_reload_says_who_why_and_what_was_foreseen() {
    let upstream = Upstream::start();
    let (site, key) = site(&upstream, "");
    let gateway = site.start();
    assert_eq!(status(&gateway, &key), 200);
    gateway.site.policy(&[MISTAKE, NO_BANS].concat());
    run(&gateway.site, &["reload", "--reason", "finance moves", "--ticket", "T-4711"], 0);
    let version = json(&gateway.site, &["policy", "show", "2"])["versions"][0].clone();
    let change = &version["change"];
    assert_eq!((change["reason"].as_str(), change["ticket"].as_str()), (Some("finance moves"), Some("T-4711")));
    let authors = change["authors"].as_array().unwrap();
    assert!(authors.iter().any(|name| name.as_str().unwrap().starts_with("uid:")), "{authors:?}");
    let foreseen = change["foreseen"][0].as_str().unwrap();
    assert!(foreseen.starts_with("would newly deny 1 of the last"), "{foreseen}");
    assert!(run(&gateway.site, &["policy", "verify"], 0).contains("2 versions"));
}
