//! A gateway comes back on a machine that has nothing but a backup and its key. And what is said of files that are named, and are something else.

use std::os::unix::fs::PermissionsExt as _;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;

/// Finding of 2026-11: with the backup and the key alone nothing could be restored, and the answer spoke of a `[store]` in a file that was not there.
#[test]
fn the_backup_and_its_key_are_enough_for_the_gateway_to_run_on_another_machine() {
    let upstream = Upstream::start();
    let (site, key) = site(&upstream, &[GOVERNED, "[backup]\nkey = \"backup.key\"\nevery = \"30d\"\n"].concat());
    site.write();
    let [_, ben, cem] = begun(&site);
    // A version after that with which governance began: only such a one says how far the log had come.
    site.policy(&[FINANCE, NO_BANS, "# again\n"].concat());
    let change = propose(&site, "ana");
    for key in [&ben, &cem] {
        approve(&site, &change, key);
    }
    run(&site, &["policy", "activate", &change], 0);
    let kept = tempfile::tempdir().unwrap();
    let kept = |name: &str| kept.path().join(name).display().to_string();
    let (secret, archive) = (kept("backup.key"), kept("one.backup"));
    run(&site, &["backup", "keygen", "--out", &site.path("backup.key").display().to_string()], 0);
    run(&site, &["backup", "create", "--out", &archive], 0);
    fs::copy(site.path("backup.key"), &secret).unwrap();
    let live = json(&site, &["governance", "status"])["live"].clone();
    let head = format!("{}:{}", live["n"], live["hash"].as_str().unwrap());
    let names = ["portcullis.toml", "policy.toml", "keys.toml"];
    let before = names.map(|name| fs::read(site.path(name)).unwrap());
    // Another machine: nothing of it is here.
    let folder = site.path("portcullis.toml").parent().unwrap().to_owned();
    for entry in fs::read_dir(&folder).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let restore = ["backup", "restore", &archive, "--key", &secret, "--head", &head];
    let refusal = refused(&site, &restore, 3);
    assert!(refusal.contains("there is no such file") && refusal.contains("backup files"), "{refusal}");
    let looked = ask(&site, &["backup", "verify", &archive, "--key", &secret]);
    assert!(looked.status.success() && looked.stderr.is_empty(), "{looked:?}");
    let out = folder.display().to_string();
    let files = ["backup", "files", &archive, "--key", &secret, "--out", &out];
    let said = run(&site, &files, 0);
    for (name, before) in names.iter().zip(before) {
        let path = site.path(name);
        assert!(said.lines().any(|line| line == path.display().to_string()), "{said}");
        assert_eq!(fs::read(&path).unwrap(), before, "{name}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
    // Nothing is written over.
    fs::write(site.path("policy.toml"), "# mine\n").unwrap();
    assert!(refused(&site, &files, 4).contains("it is there already"));
    assert_eq!(fs::read_to_string(site.path("policy.toml")).unwrap(), "# mine\n");
    assert!(run(&site, &restore, 0).contains("is restored"));
    // What was approved is in force, and not what lies in the files.
    let gateway = site.start();
    assert_eq!(status(&gateway, &key), 200);
}

/// Finding of 2026-11: a backup that was cut off, or to which the key does not fit, ended with 4, as a file does that cannot be read.
#[test]
fn a_backup_that_is_not_what_it_was_ends_with_one_and_gives_no_files() {
    let upstream = Upstream::start();
    let (site, _) = site(&upstream, "");
    let site = stopped(site.start());
    let path = |name: &str| site.path(name).display().to_string();
    for name in ["one.key", "other.key"] {
        run(&site, &["backup", "keygen", "--out", &path(name)], 0);
    }
    let (key, other) = (path("one.key"), path("other.key"));
    let (whole, plain, cut) = (path("whole.backup"), path("plain.backup"), path("cut.backup"));
    run(&site, &["backup", "create", "--out", &whole, "--key", &key], 0);
    run(&site, &["backup", "create", "--out", &plain], 0);
    let out = path("files");
    let check = |file: &str, more: &[&str], code: i32| {
        for verb in ["verify", "drill", "restore"] {
            refused(&site, &[&["backup", verb, file][..], more].concat(), code);
        }
        refused(&site, &[&["backup", "files", file, "--out", &out][..], more].concat(), code);
        assert!(!site.path("files").exists());
    };
    check(&whole, &["--key", &other], 1);
    for (of, more) in [(&whole, &["--key", key.as_str()][..]), (&plain, &["--plain"])] {
        let bytes = fs::read(of).unwrap();
        for length in [10, 24, bytes.len() / 2, bytes.len() - 1] {
            fs::write(&cut, &bytes[..length]).unwrap();
            check(&cut, more, 1);
        }
    }
    check(&path("none.backup"), &["--plain"], 4);
    run(&site, &["backup", "files", &whole, "--key", &key, "--out", &out], 0);
    assert_eq!(fs::read(site.path("files/policy.toml")).unwrap(), fs::read(site.path("policy.toml")).unwrap());
}

/// Finding of 2026-11: `policy propose` of a queue waited until it was killed, and so did whatever else reads a file.
#[test]
fn a_queue_in_the_place_of_a_file_is_refused_at_once_and_what_is_something_else_is_named() {
    let upstream = Upstream::start();
    let (site, _, [ana, ..]) = governed(&upstream);
    let queue = site.path("queue").display().to_string();
    mknodat(CWD, &queue, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let why = ["--reason", "x"];
    let add = ["approver", "add", "dan", "--reason", "x", "--key"];
    for (verb, code) in [
        (&[&["policy", "propose", &queue][..], &why].concat()[..], None),
        (&["policy", "sign", &queue], Some(4)),
        (&["policy", "sign", &ana, "--key", &queue], None),
        (&["policy", "approve", "--approval", &queue], Some(4)),
        (&[&add[..], &[&queue]].concat(), Some(4)),
        (&["check", &queue], None),
        (&["backup", "verify", &queue], Some(4)),
        (&["backup", "restore", &queue, "--key", &queue], Some(4)),
    ] {
        // It would be killed where it waited.
        let finished = ask(&site, verb);
        assert!(finished.status.code().is_some_and(|ended| ended != 0 && code.is_none_or(|code| ended == code)));
        let said = finished.stderr.join("\n");
        assert!(said.contains("queue") || verb.contains(&ana.as_str()), "{verb:?}: {said}");
    }
    site.file("garbage", "nothing that this program writes\n");
    let garbage = site.path("garbage").display().to_string();
    for verb in [&["policy", "sign", &garbage][..], &[&add[..], &[&garbage]].concat()] {
        let said = refused(&site, verb, 1);
        assert!(said.contains(&format!("{garbage}: ")), "{verb:?}: {said}");
    }
}
