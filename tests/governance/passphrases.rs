//! Approvers' private keys under a passphrase.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

/// `openssl genpkey -algorithm ed25519`, and `openssl pkcs8 -topk8 -v2 aes-256-cbc` with the passphrase `correct horse`.
const BY_OPENSSL: &str = include_str!("../../crates/governance/testdata/approver.pbkdf2.pem");
const PUBLIC: &str = include_str!("../../crates/governance/testdata/approver.pub.pem");

fn mode(site: &Site, name: &str, mode: u32) {
    fs::set_permissions(site.path(name), fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn an_encrypted_key_signs_with_its_passphrase_and_not_without() {
    let upstream = Upstream::start();
    let (site, _) = site(&upstream, GOVERNED);
    site.write();
    let path = |name: &str| site.path(name).display().to_string();
    site.file("phrase", "correct horse\nnot this line\n");
    site.file("wrong", "battery staple\n");
    site.file("nothing", "\n");
    let (private, phrase) = (path("ana.key"), path("phrase"));
    // With a terminal nowhere it is told how else.
    assert_eq!(ask(&site, &["approver", "keygen", "--passphrase", "--out", &private]).status.code(), Some(2));
    let made = run(&site, &["approver", "keygen", "--passphrase", "--passphrase-file", &phrase, "--out", &private], 0);
    site.file("ana.pub", &made);
    assert!(fs::read_to_string(&private).unwrap().starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
    assert_eq!(fs::metadata(&private).unwrap().permissions().mode() & 0o777, 0o600);
    site.file("ben.key", BY_OPENSSL);
    site.file("ben.pub", PUBLIC);
    let cem = key_of(&site, "cem");
    let approvers = ["ana", "ben", "cem"].map(|person| format!("{person}={}", path(&format!("{person}.pub"))));
    let [ana_is, ben_is, cem_is] = &approvers;
    let init =
        ["governance", "init", "--reason", "begin", "--approver", ana_is, "--approver", ben_is, "--approver", cem_is];
    run(&site, &init, 0);
    site.file("policy.toml", &format!("version = 1\n{FINANCE}{NO_BANS}# another\n"));
    let change = propose(&site, "ops");
    let request = path("request");
    run(&site, &["policy", "request", &change, "--out", &request], 0);
    let acknowledged = impact(&site, &change);
    let sign = |key: &str, more: &[&str]| {
        let key = path(key);
        ask(&site, &[&["policy", "sign", &request, "--key", &key, "--acknowledge", &acknowledged], more].concat())
    };
    let fails = |key: &str, more: &[&str], why: &str| {
        let finished = sign(key, more);
        let said = finished.stderr.join("\n");
        assert!(finished.status.code() == Some(2) && said.contains(why), "{key} {more:?}: {said}");
        assert!(finished.stdout.is_empty(), "{key} {more:?}");
    };
    // An encrypted key is of no use to whoever reads it, and so may be read.
    mode(&site, "ben.key", 0o644);
    for key in ["ana.key", "ben.key"] {
        fails(key, &[], "--passphrase-file");
        fails(key, &["--passphrase-file", &path("wrong")], "the passphrase is wrong");
        fails(key, &["--passphrase-file", &path("nothing")], "its first line is empty");
        fails(key, &["--passphrase-file", &path("none")], "none");
        let finished = sign(key, &["--passphrase-file", &phrase]);
        assert_eq!(finished.status.code(), Some(0), "{finished:?}");
        site.file("signed", &finished.stdout.join("\n"));
        run(&site, &["policy", "approve", "--approval", &path("signed")], 0);
    }
    run(&site, &["policy", "activate", &change], 0);
    // A plain one goes on working, for its owner alone.
    assert_eq!(sign("cem.key", &[]).status.code(), Some(0));
    for open in [0o640, 0o604, 0o620] {
        mode(&site, "cem.key", open);
        fails("cem.key", &[], "others can read or write this private key");
    }
    mode(&site, "cem.key", 0o400);
    assert_eq!(sign("cem.key", &[]).status.code(), Some(0), "{cem}");
}
