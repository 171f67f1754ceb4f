//! Whoever can write to the store and has too few keys, or none: what they write there is not believed, and is said. Findings of 2026-11.

use std::os::unix::fs::MetadataExt as _;

use jiff::{SignedDuration, Timestamp};
use portcullis_governance::power::{Act, Asked, Entry, PowerAnchor, PowerAnchorFile, PowerKind};
use portcullis_governance::{
    Approval, Change, ChangeId, Class, Decision, Exceptions, Hash, Kind, Rollout, SigningKey, Version,
};
use rusqlite::{Connection, params};

use super::*;

pub(super) fn store(site: &Site) -> Connection {
    let db = Connection::open(site.path("state.db")).unwrap();
    db.busy_timeout(PATIENCE).unwrap();
    db
}

/// Two rows, well chained, by which alice is lent a role for a day.
pub(super) fn lend(site: &Site) {
    let now = Timestamp::now().as_microsecond();
    let asked = Asked {
        kind: PowerKind::Loan,
        principal: "user:alice".to_owned(),
        gives: "role:reader,*".to_owned(),
        lasts_s: 86_400,
        reason: "r".to_owned(),
        ticket: String::new(),
        approvals: 0,
        waits_s: 3_600,
    };
    let by = vec!["x".to_owned()];
    let first = Entry { n: 1, prev: Hash::NONE, at: now, by: by.clone(), act: Act::Asked(asked) };
    let began = Act::Began { of: 1, until: now + 86_400_000_000 };
    let second = Entry { n: 2, prev: first.hash(), at: now, by, act: began };
    let db = store(site);
    for entry in [first, second] {
        let row = params![entry.n.cast_signed(), entry.encode()];
        db.execute("INSERT INTO power (n, record) VALUES (?1, ?2)", row).unwrap();
    }
}

pub(super) fn last(db: &Connection) -> Version {
    let record: Vec<u8> =
        db.query_row("SELECT record FROM version ORDER BY n DESC LIMIT 1", [], |row| row.get(0)).unwrap();
    Version::decode(&record).unwrap()
}

pub(super) fn append(db: &Connection, version: &Version) {
    let (record, change) = (version.encode(), &version.change);
    let bytes = |hash: Hash| if hash.is_none() { Vec::new() } else { hash.0.to_vec() };
    let row = params![
        version.n.cast_signed(),
        bytes(version.hash()),
        bytes(change.content),
        bytes(change.approvers),
        record,
        bytes(change.impact)
    ];
    let sql = "INSERT INTO version (n, hash, content, approvers, record, impact) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    db.execute(sql, row).unwrap();
}

pub(super) fn message(gateway: &Gateway, kind: &str, part: &str) -> String {
    let found = || {
        let events = gateway.events.all();
        let messages = of_kind(&events, kind).into_iter().map(|event| event["message"].as_str().unwrap().to_owned());
        messages.rev().find(|message| message.contains(part))
    };
    wait::until(PATIENCE, found).unwrap_or_else(|| panic!("no event {kind} with {part}"))
}

#[test]
fn rows_of_power_that_nobody_signed_give_nothing_and_are_told() {
    let upstream = Upstream::start();
    let (site, key) = site(&upstream, GOVERNED);
    site.policy(&[MISTAKE, NO_BANS].concat());
    site.write();
    begun(&site);
    let gateway = site.start();
    assert_eq!(status(&gateway, &key), 403);
    lend(&gateway.site);
    // Beside a gateway that runs: it looks each second.
    message(&gateway, "policy.tampered", "the file beside the store does not know it");
    assert_eq!(status(&gateway, &key), 403, "nobody let alice in");
    let verified = refused(&gateway.site, &["access", "verify"], 1);
    assert!(verified.contains("the log of temporary power is not what it was"), "{verified}");
    // Nor by a restart.
    let site = stopped(gateway);
    let started = ask(&site, &["run"]);
    assert!(!started.status.success(), "{started:?}");
    assert!(started.stderr.join("\n").contains("the log of temporary power is not what it was"), "{started:?}");
    // Whoever can write the file beside the store as well still has no signatures.
    let path = site.path("state.db");
    fs::remove_file(site.path("state.db.power")).unwrap();
    let started = ask(&site, &["run"]);
    assert!(started.stderr.join("\n").contains("somebody has removed it"), "{started:?}");
    let end = store(&site).query_row("SELECT n, record FROM power ORDER BY n DESC LIMIT 1", [], |row| {
        Ok((row.get::<_, i64>(0)?.cast_unsigned(), Hash::of(&row.get::<_, Vec<u8>>(1)?)))
    });
    PowerAnchorFile::beside(&path).write(PowerAnchor::at(end.unwrap())).unwrap();
    let gateway = site.start();
    assert_eq!(status(&gateway, &key), 403);
    message(&gateway, "policy.tampered", "its approvals are not signed by persons who may");
    assert_eq!(status(&gateway, &key), 403);
    let verified = refused(&gateway.site, &["access", "verify"], 1);
    assert!(verified.contains("without the signatures that it needs"), "{verified}");
}

/// Writes into the store that this change, which Ben signs, only tightens, and is live.
pub(super) fn lie(site: &Site, id: &str, ben: &str) -> Version {
    let db = store(site);
    let row = "SELECT record FROM change WHERE hex(id) LIKE ?1";
    let record: Vec<u8> = db.query_row(row, [format!("{}%", id.to_uppercase())], |row| row.get(0)).unwrap();
    let mut change = Change::decode(&record).unwrap();
    assert_ne!(change.class, Class::Tightens, "{change:?}");
    change.class = Class::Tightens;
    let before = last(&db);
    let key = SigningKey::from_pem(&fs::read(ben).unwrap()).unwrap();
    let now = Timestamp::now();
    let approval = Approval::sign(before.instance_after(), &change, Decision::Approve, &key, now);
    let forged = Version {
        n: before.n + 1,
        prev: before.hash(),
        instance: before.instance_after(),
        time: now.as_microsecond(),
        by: "root".to_owned(),
        exceptions: Exceptions::default(),
        change,
        approvals: vec![approval],
    };
    append(&db, &forged);
    forged
}

#[test]
fn one_signature_and_the_store_do_not_make_a_loosening_a_tightening() {
    let upstream = Upstream::start();
    let (site, _, [_, ben, _]) = governed(&upstream);
    let archive = backup(&site, "first.backup").display().to_string();
    site.policy(&[FINANCE, NO_BANS].concat().replace("group:finance", "anyone"));
    let id = propose(&site, "nobody");
    let forged = lie(&site, &id, &ben);
    assert_eq!(forged.n, 2);
    let verified = refused(&site, &["policy", "verify"], 1);
    assert!(verified.contains("it says that it tightens, and the engine says"), "{verified}");
    assert!(refused(&site, &["run"], 3).contains("version 2 is not what was approved"));
    // Nor does it go on in a backup that is restored.
    let refusal = refused(&site, &["backup", "restore", &archive], 5);
    assert!(refusal.contains("is not believed") && refusal.contains("the engine says"), "{refusal}");
}

/// Writes into the store that the last version, the second, was taken back, as of one that was being rolled out.
pub(super) fn take_back(site: &Site) -> Version {
    let db = store(site);
    let first: Vec<u8> = db.query_row("SELECT record FROM version WHERE n = 1", [], |row| row.get(0)).unwrap();
    let (version, now) = (last(&db), Timestamp::now());
    let change = Change {
        id: ChangeId::random().unwrap(),
        kind: Kind::Revert,
        class: Class::Loosens,
        base_n: 2,
        base: version.hash(),
        impact: Hash::NONE,
        restores: 1,
        authors: vec!["portcullis".to_owned()],
        created: now.as_microsecond(),
        expires: (now + SignedDuration::from_hours(1)).as_microsecond(),
        ..Version::decode(&first).unwrap().change
    };
    let forged = Version {
        n: 3,
        prev: version.hash(),
        instance: version.instance,
        time: now.as_microsecond(),
        by: "portcullis".to_owned(),
        exceptions: Exceptions::default(),
        change,
        approvals: Vec::new(),
    };
    append(&db, &forged);
    forged
}

#[test]
fn the_store_alone_takes_no_version_back_and_begins_no_steps() {
    let upstream = Upstream::start();
    let (site, key, [_, ben, _]) = governed(&upstream);
    site.policy(&[MISTAKE, NO_BANS].concat());
    let id = propose(&site, "ana");
    approve(&site, &id, &ben);
    run(&site, &["policy", "activate", &id], 0);
    let db = store(&site);
    let version = last(&db);
    // As if it were being rolled out, so that somebody could have it taken back.
    let row = Rollout::new(2, version.change.id).encode();
    db.execute("INSERT OR REPLACE INTO rollout VALUES (1, ?1)", params![row]).unwrap();
    assert_eq!(json(&site, &["policy", "status"])["live"]["rollout"], Value::Null);
    assert!(refused(&site, &["policy", "abort", "--reason", "x"], 1).contains("no version is being rolled out"));
    let gateway = site.start();
    assert_eq!(status(&gateway, &key), 403, "what was approved serves");
    let site = stopped(gateway);
    // And what a gateway would append by itself.
    take_back(&site);
    drop(db);
    let said = refused(&site, &["run"], 3);
    assert!(said.contains("it takes back version 2, which was not being rolled out"), "{said}");
}

#[test]
fn whoever_called_sudo_is_the_author_whatever_was_typed() {
    let upstream = Upstream::start();
    let (site, _) = site(&upstream, GOVERNED);
    site.write();
    let own = fs::metadata(site.path("portcullis.toml")).unwrap().uid();
    // Of root nobody knows who it is but by whoever called it; others are who they are.
    let behind = if own == 0 { 4_000_000_001 } else { own };
    let [ana, ben] = ["ana", "ben"].map(|person| key_of(&site, person));
    let as_whom = format!("ana,uid:{behind}={}", ana.replace(".key", ".pub"));
    let other = format!("ben={}", ben.replace(".key", ".pub"));
    run(&site, &["governance", "init", "--reason", "begin", "--approver", &as_whom, "--approver", &other], 0);
    let gateway = site.start();
    let site = &gateway.site;
    site.policy(&[MISTAKE, NO_BANS].concat());
    let program = portcullis().arg("-c").arg(site.path("portcullis.toml")).env("SUDO_UID", behind.to_string());
    let wanted = ["policy", "propose", "--author", "nobody", "--reason", "x", "-o", "json"];
    let proposed = program.args(wanted).run(PATIENCE).stdout.join("\n");
    let answer: Value = serde_json::from_str(&proposed).unwrap();
    let id = answer["changes"][0]["id"].as_str().unwrap();
    let seen = impact(site, id);
    let own = ["policy", "approve", id, "--key", &ana, "--acknowledge", &seen];
    assert!(refused(site, &own, 1).contains("its person is the author"));
    assert!(approve(site, id, &ben).contains("approved by ben"));
}

#[test]
fn another_value_of_a_variable_is_not_what_was_approved() {
    let upstream = Upstream::start();
    let (site, key) = site(&upstream, GOVERNED);
    site.policy(&[FINANCE, NO_BANS].concat().replace("group:finance", "user:${PORTCULLIS_TEST_ONCALL:-alice}"));
    site.write();
    begun(&site);
    let config = site.path("portcullis.toml");
    let with = |value: &str| {
        let program = portcullis().arg("-c").arg(&config).arg("run");
        program.env("PORTCULLIS_TEST_ONCALL", value).run(PATIENCE)
    };
    let other = with("bob");
    assert_eq!(other.status.code(), Some(3), "{other:?}");
    let said = other.stderr.join("\n");
    assert!(said.contains("PORTCULLIS_TEST_ONCALL") && said.contains("not what was approved"), "{said}");
    // Nor is it approved as if nothing changed.
    let program = portcullis().arg("-c").arg(&config).env("PORTCULLIS_TEST_ONCALL", "bob");
    let proposed =
        program.args(["policy", "propose", "--author", "nobody", "--reason", "x", "-o", "json"]).run(PATIENCE);
    let answer: Value = serde_json::from_str(&proposed.stdout.join("\n")).unwrap();
    let said = answer["message"].as_str().unwrap();
    assert!(said.contains("the values of the variables PORTCULLIS_TEST_ONCALL are approved with it"), "{said}");
    assert_eq!(answer["changes"][0]["class"], "mixed", "{answer}");
    let gateway = site.start();
    assert_eq!(status(&gateway, &key), 200, "as it was approved");
}
