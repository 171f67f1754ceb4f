//! What nobody proposed does not go with what becomes live.

use super::*;

/// Appends to a file in the folder.
fn append(site: &Site, name: &str, more: &str) {
    let text = fs::read_to_string(site.path(name)).unwrap();
    fs::write(site.path(name), format!("{text}{more}")).unwrap();
}

fn read(site: &Site, name: &str) -> String {
    fs::read_to_string(site.path(name)).unwrap()
}

const LIMIT: &str = "max_uri_bytes = \"2KiB\"\n";

/// What an operator sets beside the policy.
fn limit(site: &Site) {
    let config = read(site, "portcullis.toml");
    let (before, after) = config.split_once("[limits]\n").expect("a table of limits");
    site.file("portcullis.toml", &format!("{before}[limits]\n{LIMIT}{after}"));
}

/// Whether the limit is in force.
fn is_limited(gateway: &Gateway, key: &str) -> bool {
    gateway.get(&format!("/{}", "x".repeat(3_000)), &[("X-Api-Key", key)]).status() == 414
}

#[test]
fn an_activation_leaves_what_operators_changed_and_keeps_what_somebody_edited() {
    let upstream = Upstream::start();
    let (site, key, [_, ben, _]) = governed(&upstream);
    let mut gateway = site.start();
    limit(&gateway.site);
    gateway.reload("ok");
    assert!(is_limited(&gateway, &key));
    // Half a thought in the policy, and another policy that is proposed and approved.
    append(&gateway.site, "policy.toml", "# half a thought\n");
    let edited = read(&gateway.site, "policy.toml");
    gateway.site.file("next.toml", &["version = 1\n", MISTAKE, NO_BANS].concat());
    let next = gateway.site.path("next.toml").display().to_string();
    let proposed = json(&gateway.site, &["policy", "propose", &next, "--author", "dana", "--reason", "a change"]);
    let change = proposed["changes"][0]["id"].as_str().unwrap();
    approve(&gateway.site, change, &ben);
    let said = run(&gateway.site, &["policy", "activate", change], 0);
    assert!(said.contains("`policy.toml` was edited by hand, and what it held is kept"), "{said}");
    assert_eq!(status(&gateway, &key), 403);
    assert!(read(&gateway.site, "portcullis.toml").contains(LIMIT) && is_limited(&gateway, &key));
    assert_eq!(read(&gateway.site, "policy.toml.edited-before-version-2"), edited);
    assert_eq!(read(&gateway.site, "policy.toml"), read(&gateway.site, "next.toml"));
    gateway.reload("ok");
    assert!(is_limited(&gateway, &key));
}

#[test]
fn a_rollback_in_an_incident_takes_neither_limits_nor_sinks_with_it() {
    let upstream = Upstream::start();
    let (site, key) = site(&upstream, "");
    let mut gateway = site.start();
    gateway.site.policy(&[MISTAKE, NO_BANS].concat());
    gateway.reload("ok");
    limit(&gateway.site);
    gateway.reload("ok");
    assert_eq!((status(&gateway, &key), is_limited(&gateway, &key), live(&gateway.site)), (403, true, 2));
    append(&gateway.site, "policy.toml", "# half a thought\n");
    let said = run(&gateway.site, &["policy", "rollback", "--reason", "finance is empty"], 0);
    assert!(said.contains("kept as `policy.toml.edited-before-version-3`"), "{said}");
    assert_eq!(status(&gateway, &key), 200);
    assert!(read(&gateway.site, "portcullis.toml").contains(LIMIT) && is_limited(&gateway, &key));
    assert!(read(&gateway.site, "policy.toml.edited-before-version-3").ends_with("# half a thought\n"));
    gateway.reload("ok");
    assert_eq!((status(&gateway, &key), live(&gateway.site)), (200, 3));
}

#[test]
fn what_is_not_governed_stays_in_force_where_a_file_on_disk_was_not_approved() {
    let upstream = Upstream::start();
    let (mut site, key, _) = governed(&upstream);
    site.add(&format!("[limits]\n{LIMIT}"));
    let mut gateway = site.start();
    assert!(is_limited(&gateway, &key));
    append(&gateway.site, "policy.toml", "# behind its back\n");
    gateway.reload("error");
    let site = stopped(gateway);
    let gateway = site.start();
    assert_eq!(status(&gateway, &key), 200);
    assert!(is_limited(&gateway, &key), "a start in the version's place keeps it, too");
}
