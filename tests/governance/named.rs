//! How files are called: the same however the path of the configuration is spelled, so that no version misses one; and where they are written.

use std::os::unix::fs::symlink;
use std::path::Path;

use super::*;

/// Alice may read everything but what an included file forbids.
const READER: &str = "include = [\"policy/*.toml\"]\n\n[[role]]\nname = \"reader\"\npermissions = [{ actions = [\"GET /**\"] }]\n\n[[assignment]]\nname = \"alice-reads\"\nrole = \"reader\"\nprincipals = [\"user:alice\"]\nscope = \"*\"\n";
const DENY: &str =
    "[[deny]]\nname = \"no-secret\"\nprincipals = [\"user:alice\"]\nactions = [\"GET /secret/**\"]\nscope = \"*\"\n";
const GROUP: &str = "[[group]]\nname = \"finance\"\nmembers = [\"user:alice\"]\n";
const OF_FINANCE: &str = "include = [\"policy/*.toml\"]\n\n[[role]]\nname = \"reader\"\npermissions = [{ actions = [\"GET /**\"] }]\n\n[[assignment]]\nname = \"finance-reads\"\nrole = \"reader\"\nprincipals = [\"group:finance\"]\nscope = \"*\"\n";

/// A policy in two files, and a route in a file that the gateway's own includes. The key file stands under its absolute path.
fn in_many_files(upstream: &Upstream, more: &str, policy: &str, included: (&str, &str)) -> (Site, String) {
    let mut site = Site::without_route(&upstream.url());
    let key = site.key("alice", "user:alice", "");
    let absolute = format!("file = \"{}\"", site.path("keys.toml").display());
    site.change("file = \"keys.toml\"", &absolute);
    site.change("version = 1\n", "version = 1\ninclude = [\"./conf/*.toml\"]\n");
    site.add(STORE);
    site.add(more);
    for folder in ["conf", "policy", "x"] {
        fs::create_dir(site.path(folder)).unwrap();
    }
    site.file("conf/app.toml", "[[route]]\nname = \"app\"\nupstream = \"app\"\n");
    site.file(included.0, included.1);
    site.policy(&[policy, NO_BANS].concat());
    site.write();
    (site, key)
}

/// Runs the program from within the folder `x` of the site, or from the site's folder itself, on a path of this spelling.
fn by(site: &Site, spelling: &str) -> portcullis_testkit::process::Program {
    let within = if spelling.starts_with("../") { site.path("x") } else { site.path("") };
    let spelling = spelling.replace("ROOT", &site.path("").display().to_string());
    portcullis().cwd(within).arg("-c").arg(spelling)
}

const SPELLINGS: [&str; 6] = [
    "portcullis.toml",
    "./portcullis.toml",
    "x/../portcullis.toml",
    "../portcullis.toml",
    "ROOT/portcullis.toml",
    "ROOT/./x/../portcullis.toml",
];

/// Finding of 2026-11: with the path that the documentation prints, `portcullis.toml`, every included file was missing from all versions, and what they denied
/// was permitted.
#[test]
fn the_spelling_of_the_path_takes_no_file_out_of_a_version() {
    let upstream = Upstream::start();
    let (mut site, key) = in_many_files(&upstream, GOVERNED, READER, ("policy/deny.toml", DENY));
    let keys = ["ana", "ben", "cem"].map(|person| {
        key_of(&site, person);
        format!("{person}={}", site.path(&format!("{person}.pub")).display())
    });
    let [ana, ben, cem] = &keys;
    let init = ["governance", "init", "--reason", "begin", "--approver", ana, "--approver", ben, "--approver", cem];
    let begun = by(&site, SPELLINGS[0]).args(init).run(PATIENCE);
    let said = begun.stdout.join("\n");
    let store = format!("PORTCULLIS_GOVERNED={} ", site.path("state.db").canonicalize().unwrap().display());
    assert!(begun.status.success() && said.contains(&store), "{begun:?}");
    let names = |site: &Site| -> Vec<String> {
        let files = json(site, &["policy", "show", "1"])["files"].clone();
        files.as_array().unwrap().iter().map(|file| file["name"].as_str().unwrap().to_owned()).collect()
    };
    let expected = ["conf/app.toml", "keys.toml", "policy.toml", "policy/deny.toml", "portcullis.toml"];
    assert_eq!(names(&site), expected);
    for spelling in SPELLINGS {
        let within = by(&site, spelling);
        let gateway = site.start_as(within);
        let secret = gateway.get("/secret/1", &[("X-Api-Key", &key)]).status();
        assert_eq!((secret, status(&gateway, &key)), (403, 200), "{spelling}");
        // Nobody has changed anything.
        let started = event(&gateway, "gateway.started");
        assert_eq!(started["policy"]["version"], 1, "{spelling}");
        assert!(of_kind(&gateway.events.all(), "policy.tampered").is_empty(), "{spelling}");
        site = stopped(gateway);
        let propose = ["policy", "propose", "--author", "ana", "--reason", "none"];
        let refused = by(&site, spelling).args(propose).run(PATIENCE);
        assert!(refused.stderr.join("\n").contains("nothing that is governed would change"), "{spelling}: {refused:?}");
        fs::remove_file(site.path("events.jsonl")).unwrap();
    }
    assert_eq!(live(&site), 1);
    // What is gone from an included file is a change.
    fs::remove_file(site.path("policy/deny.toml")).unwrap();
    let propose = ["policy", "propose", "--author", "ana", "--reason", "no deny"];
    let proposed = by(&site, SPELLINGS[0]).args(propose).run(PATIENCE);
    assert!(proposed.status.success(), "{proposed:?}");
    // A main file of another name is said to be one.
    fs::rename(site.path("portcullis.toml"), site.path("renamed.toml")).unwrap();
    let renamed = by(&site, "ROOT/renamed.toml").arg("run").run(PATIENCE);
    let said = renamed.stderr.join("\n");
    assert!(said.contains("the gateway's main file is called `portcullis.toml` in it"), "{said}");
    assert!(!said.contains("E0102"), "{said}");
}

/// Finding of 2026-11: a group that went with its included file, or with the folder of that, did not come back.
#[test]
fn an_included_file_comes_back_with_its_folder_wherever_the_path_begins() {
    let upstream = Upstream::start();
    let (mut site, key) = in_many_files(&upstream, "", OF_FINANCE, ("policy/finance.toml", GROUP));
    for (n, spelling) in SPELLINGS[..2].iter().enumerate() {
        let within = by(&site, spelling);
        let mut gateway = site.start_as(within);
        assert_eq!(status(&gateway, &key), 200, "{spelling}");
        match n {
            0 => fs::remove_file(gateway.site.path("policy/finance.toml")).unwrap(),
            _ => fs::remove_dir_all(gateway.site.path("policy")).unwrap(),
        }
        gateway.reload("ok");
        assert_eq!(status(&gateway, &key), 403, "{spelling}");
        let diff =
            by(&gateway.site, spelling).args(["policy", "diff", "1", &live(&gateway.site).to_string()]).run(PATIENCE);
        assert!(!diff.stdout.join("\n").contains("every request is answered alike"), "{spelling}: {diff:?}");
        let back = by(&gateway.site, spelling).args(["policy", "rollback", "--reason", "back"]).run(PATIENCE);
        assert!(back.status.success(), "{spelling}: {back:?}");
        let is_back = || (status(&gateway, &key) == 200).then_some(());
        assert!(wait::until(PATIENCE, is_back).is_some(), "{spelling}");
        site = stopped(gateway);
        assert_eq!(fs::read_to_string(site.path("policy/finance.toml")).unwrap(), GROUP);
    }
}

/// Finding of 2026-11: whoever could write in the folder had a rollback overwrite a file elsewhere; and a rollback that failed left its change waiting.
#[test]
fn a_rollback_writes_through_no_link_and_what_fails_leaves_nothing_waiting() {
    let upstream = Upstream::start();
    let (site, _) = in_many_files(&upstream, "", OF_FINANCE, ("policy/finance.toml", GROUP));
    let mut gateway = site.start();
    let elsewhere = tempfile::tempdir().unwrap();
    let victim = |name: &str| elsewhere.path().join(name);
    let lay = |from: &Path, name: &str| {
        let place = gateway.site.path(name);
        let _ = fs::remove_file(&place).or_else(|_| fs::remove_dir_all(&place));
        symlink(from, place).unwrap();
    };
    let policy = fs::read_to_string(gateway.site.path("policy.toml")).unwrap();
    let other = policy.replace("alice", "bob").replace("finance-reads", "others-read");
    fs::write(victim("policy.toml"), &other).unwrap();
    fs::write(victim("finance.toml"), "[[group]]\nname = \"finance\"\nmembers = []\n").unwrap();
    lay(&victim("policy.toml"), "policy.toml");
    let process = &mut gateway;
    process.reload("ok");
    let why = refused(&gateway.site, &["policy", "rollback", "1", "--reason", "back"], 1);
    assert!(why.contains("`policy.toml` is not written: it is a symbolic link"), "{why}");
    assert_eq!(fs::read_to_string(victim("policy.toml")).unwrap(), other);
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 2);
    let changes = json(&gateway.site, &["policy", "list"])["changes"].clone();
    let waiting = changes.as_array().into_iter().flatten().filter(|change| change["state"] == "open").count();
    assert_eq!(waiting, 0, "{changes}");
    assert!(!gateway.site.path("policy.toml.edited-before-version-3").exists());
}
