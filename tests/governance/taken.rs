//! Going back one release and forth again: what the earlier version of the program wrote to the log of temporary power, and kept no file of, is taken where an
//! operator says so, and nobody else gets anything by it.

use jiff::Timestamp;
use portcullis_governance::Hash;
use portcullis_governance::power::{Act, Asked, Entry, PowerKind};
use rusqlite::params;

use super::forged::{lend, message, store};
use super::*;

const ELIGIBLE: &str = r#"
[[role]]
name = "reader"
permissions = [{ actions = ["GET /**"] }]

[[assignment]]
name = "alice-reads"
role = "reader"
principals = ["user:alice"]
scope = "*"
activation = { max = "4h" }
"#;
const TAKE: [&str; 5] = ["access", "verify", "--take-as-it-is", "--reason", "4.2 was taken back for a day"];

fn begin(upstream: &Upstream) -> (Site, String, [String; 3]) {
    let (site, key) = site(upstream, GOVERNED);
    site.policy(&[ELIGIBLE, NO_BANS].concat());
    site.write();
    let keys = begun(&site);
    (site, key, keys)
}

/// What a program that keeps no file beside the store appends: alice activates what she may.
fn by_an_earlier_version(site: &Site) {
    let now = Timestamp::now().as_microsecond();
    let db = store(site);
    let last = db.query_row("SELECT n, record FROM power ORDER BY n DESC LIMIT 1", [], |row| {
        Ok((row.get::<_, i64>(0)?, Hash::of(&row.get::<_, Vec<u8>>(1)?)))
    });
    let (n, prev) = last.unwrap_or((0, Hash::NONE));
    let n = n.cast_unsigned() + 1;
    let asked = Asked {
        kind: PowerKind::Activation,
        principal: "user:alice".to_owned(),
        gives: "alice-reads".to_owned(),
        lasts_s: 3_600,
        reason: "INC-7".to_owned(),
        ticket: String::new(),
        approvals: 0,
        waits_s: 3_600,
    };
    let by = vec!["user:alice".to_owned()];
    let first = Entry { n, prev, at: now, by: by.clone(), act: Act::Asked(asked) };
    let began = Act::Began { of: n, until: now + 3_600_000_000 };
    let second = Entry { n: n + 1, prev: first.hash(), at: now, by, act: began };
    for entry in [first, second] {
        let row = params![entry.n.cast_signed(), entry.encode()];
        db.execute("INSERT INTO power (n, record) VALUES (?1, ?2)", row).unwrap();
    }
}

/// Finding of 2026-11: whoever began governance was not told that what was lent before, and what lay sealed in a safe, ended without a word.
#[test]
fn whoever_begins_is_told_what_ends_since_nobody_signed_it() {
    let upstream = Upstream::start();
    let (site, key) = site(&upstream, "");
    let glass = "[break_glass]\nroles = [\"reader\"]\nscope = \"*\"\n";
    site.policy(&[ELIGIBLE, glass, NO_BANS].concat());
    let gateway = site.start();
    run(&gateway.site, &["access", "seal", "--as", "alice"], 0);
    run(&gateway.site, &["access", "activate", "alice-reads", "--as", "alice", "--reason", "x"], 0);
    assert_eq!(status(&gateway, &key), 200);
    let mut site = stopped(gateway);
    site.add(GOVERNED);
    site.write();
    let approvers = ["ana", "ben", "cem"].map(|person| {
        let public = key_of(&site, person).replace(".key", ".pub");
        format!("{person}={public}")
    });
    let mut init = vec!["governance", "init", "--reason", "begin"];
    approvers.iter().for_each(|approver| init.extend(["--approver", approver]));
    let said = run(&site, &init, 0);
    assert!(said.contains("0 that are lent or activated and 1 sealed codes are from before approvals"), "{said}");
    let gateway = site.start();
    assert_eq!(status(&gateway, &key), 200, "an activation that nobody has to approve goes on");
    let list = json(&gateway.site, &["access", "list", "--all"]);
    let states: Vec<&str> =
        list["access"].as_array().unwrap().iter().map(|each| each["state"].as_str().unwrap()).collect();
    assert_eq!(states.iter().filter(|state| **state == "ended").count(), 1, "{list}");
}

fn told(gateway: &Gateway) -> usize {
    of_kind(&gateway.events.all(), "admin.access_take").len()
}

#[test]
fn after_a_release_was_taken_back_what_it_rightly_wrote_is_taken_by_a_verb_that_is_told() {
    let upstream = Upstream::start();
    let (site, key, _) = begin(&upstream);
    let gateway = site.start();
    assert_eq!(status(&gateway, &key), 403);
    // It asks nobody but the store, and that is in use.
    let said = refused(&gateway.site, &TAKE, 4);
    assert!(said.contains("a gateway"), "{said}");
    let site = stopped(gateway);
    assert!(refused(&site, &TAKE, 1).contains("there is nothing to take"));
    by_an_earlier_version(&site);
    let start = ask(&site, &["run"]);
    let said = start.stderr.join("\n");
    assert!(!start.status.success() && said.contains("access verify --take-as-it-is --reason"), "{said}");
    // Not without a reason.
    refused(&site, &["access", "verify", "--take-as-it-is"], 2);
    assert!(refused(&site, &["access", "verify", "--take-as-it-is", "--reason", " "], 1).contains("needs a reason"));
    let said = run(&site, &TAKE, 0);
    assert!(said.contains("2 entries that the file beside the store did not know are taken, up to 2"), "{said}");
    assert!(said.contains("1 that were in force by them or waited are ended"), "{said}");
    assert!(refused(&site, &TAKE, 1).contains("there is nothing to take"), "once");
    let gateway = site.start();
    let message = message(&gateway, "admin.access_take", "4.2 was taken back for a day");
    assert!(message.contains("what follows on entry 0, up to 2") && message.contains("uid:"), "{message}");
    assert_eq!(status(&gateway, &key), 403, "nothing says that it was alice who activated it");
    run(&gateway.site, &["access", "verify"], 0);
    assert_eq!(told(&gateway), 1);
    // And by one start alone.
    let gateway = stopped(gateway).start();
    assert_eq!((status(&gateway, &key), told(&gateway)), (403, 1));
    run(&gateway.site, &["access", "activate", "alice-reads", "--as", "alice", "--reason", "x"], 0);
    assert_eq!(status(&gateway, &key), 200, "she activates it again");
}

/// Finding of 2026-11: an end carries no signature, and with a file that could not be read nothing noticed that its row was gone.
#[test]
fn what_has_ended_does_not_come_back_where_the_file_beside_the_store_is_damaged() {
    let upstream = Upstream::start();
    for removed in [false, true] {
        let (site, key, _) = begin(&upstream);
        let gateway = site.start();
        run(&gateway.site, &["access", "activate", "alice-reads", "--as", "alice", "--reason", "x"], 0);
        run(&gateway.site, &["access", "deactivate", "1", "--reason", "compromised"], 0);
        let site = stopped(gateway);
        assert_eq!(store(&site).execute("DELETE FROM power WHERE n = 3", []).unwrap(), 1);
        let power = site.path("state.db.power");
        if removed {
            fs::remove_file(power).unwrap()
        } else {
            fs::write(power, "torn").unwrap()
        }
        assert!(!ask(&site, &["run"]).status.success());
        let said = run(&site, &TAKE, 0);
        assert!(said.contains("1 that were in force by them or waited are ended"), "{said}");
        let gateway = site.start();
        assert_eq!(status(&gateway, &key), 403);
        let list = json(&gateway.site, &["access", "list", "--all"]);
        assert_eq!(list["access"][0]["state"], "ended", "{list}");
        run(&gateway.site, &["access", "verify"], 0);
    }
}

#[test]
fn what_nobody_signed_or_what_was_cut_off_is_not_taken_whatever_the_reason() {
    let upstream = Upstream::start();
    let (site, key, _) = begin(&upstream);
    let site = stopped(site.start());
    lend(&site);
    let before = fs::read_to_string(site.path("state.db.power")).unwrap();
    let said = refused(&site, &TAKE, 1);
    assert!(said.contains("its approvals are not signed by persons who may"), "{said}");
    assert!(!ask(&site, &["run"]).status.success());
    assert_eq!(fs::read_to_string(site.path("state.db.power")).unwrap(), before);
    assert!(!site.path("state.db.taken").exists(), "nothing was taken");
    // Nor with a file that says nothing any more: then all of the log is unknown.
    fs::write(site.path("state.db.power"), "torn").unwrap();
    assert!(refused(&site, &TAKE, 1).contains("its approvals are not signed by persons who may"));
    fs::write(site.path("state.db.power"), before).unwrap();
    store(&site).execute("DELETE FROM power", []).unwrap();
    let gateway = site.start();
    run(&gateway.site, &["access", "activate", "alice-reads", "--as", "alice", "--reason", "x"], 0);
    run(&gateway.site, &["access", "deactivate", "1", "--reason", "done"], 0);
    assert_eq!(status(&gateway, &key), 403);
    let site = stopped(gateway);
    // What ended would be in force again.
    store(&site).execute("DELETE FROM power WHERE n = 3", []).unwrap();
    let said = refused(&site, &TAKE, 1);
    assert!(said.contains("entry 3, which the file beside the store knows, is not there any more"), "{said}");
    by_an_earlier_version(&site);
    assert!(refused(&site, &TAKE, 1).contains("entry 3, which the file beside the store knows"));
    assert!(!ask(&site, &["run"]).status.success());
}
