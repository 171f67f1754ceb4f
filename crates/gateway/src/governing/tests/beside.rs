//! Who waits for whom: nobody who looks, lends power or takes something back for whoever compares versions, or reads files.

use std::future::Future as _;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;
use crate::reload::reload;
use crate::running::Running;

thread_local! {
    /// How often this thread holds the governor now.
    pub(in super::super) static HELD: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
    /// How often it has read a configuration while it did.
    static READ_WHILE_HELD: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

/// A configuration is read from the disk.
pub(in super::super) fn note_read() {
    if HELD.get() > 0 {
        READ_WHILE_HELD.set(READ_WHILE_HELD.get() + 1);
    }
}

/// Finding of 2026-11: certificates and keys were read with the governor held, and on a disk that hung nobody got to anything.
#[test]
fn nothing_is_read_from_the_disk_while_the_governor_is_held() {
    // Where any part of `[governance]` needs more persons than a loosening, it is asked of each change whether it touches that.
    for rules in [
        "required = true\napprovals = { loosen = 1, keys = 1 }\n",
        "required = true\napprovals = { loosen = 1, keys = 2 }\n",
    ] {
        let place = Place::with(rules, "");
        let cem = SigningKey::generate().unwrap().0.public().to_pem();
        let approver = |person: &str, key: String| NewApprover { person: person.to_owned(), aliases: Vec::new(), key };
        let approvers = vec![approver("ben", place.key.public().to_pem()), approver("cem", cem)];
        place.perform(Governed::Init { approvers, by: by() });
        READ_WHILE_HELD.set(0);
        let id = place.approved(OTHER);
        let other = place.approved("version = 1\n# other\n");
        place.perform(Governed::Show { n: None, change: Some(id.clone()) });
        place.perform(Governed::Reject { id: other, reason: "x".to_owned() });
        place.perform(Governed::List { most: 5, before: None });
        place.perform(Governed::Activate { id, at_once: None, unseen: None });
        assert_eq!(READ_WHILE_HELD.get(), 0, "{rules}");
        assert_eq!(place.governing.n(), 2);
    }
}

#[test]
fn whoever_lends_power_waits_for_nobody_and_goes_by_the_version_that_is_live() {
    let place = Place::with("required = true\napprovals = { loosen = 1, keys = 1 }\n", "");
    assert!(place.governing.demands().is_none() && !place.governing.demands_approvals(), "nobody has to approve yet");
    let ben = NewApprover { person: "ben".to_owned(), aliases: Vec::new(), key: place.key.public().to_pem() };
    place.perform(Governed::Init { approvers: vec![ben], by: by() });
    let governing = &place.governing;
    let demanded = || {
        let demands = governing.demands().unwrap();
        (demands.loosen, demands.approvers.active(), demands.instance, demands.since)
    };
    let (loosen, approvers, instance, since) = demanded();
    assert_eq!((loosen, approvers, instance.is_none()), (1, 1, false));
    {
        // Somebody has the governor, and does not let go of it.
        let held = governing.governor();
        assert_eq!((demanded(), governing.loosen()), ((1, 1, instance, since), 1));
        assert!(governing.demands_approvals());
        assert_eq!(governing.approvers().1, held.standing().instance);
    }
    let cem = SigningKey::generate().unwrap().0.public().to_pem();
    let approver = NewApprover { person: "cem".to_owned(), aliases: Vec::new(), key: cem };
    let id = place.perform(Governed::ApproverAdd { approver, by: by() }).changes[0].id.clone();
    place.sign(&id);
    assert_eq!(demanded().1, 1, "it is not live yet");
    place.perform(Governed::Activate { id, at_once: None, unseen: None });
    assert_eq!(demanded(), (1, 2, instance, since));
}

/// Finding of 2026-11: a reload took the governor on the thread of the runtime, and while somebody compared versions (seconds) health, metrics and the control channel
/// stood still.
#[test]
fn a_reload_waits_for_the_governor_on_no_thread_of_the_runtime() {
    let place = Place::with("", "canary = [\"5%\"]\n");
    place.begin();
    let config = place.config();
    let (ended, outcome) = std::sync::mpsc::channel();
    let Place { folder, governing, key: _ } = place;
    drop(governing);
    // On a thread of its own: one that waits for itself would do so for ever.
    std::thread::spawn(move || {
        let _folder = folder;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let Beginning { decided, governing } = begin(&config, None).unwrap();
        let governing = governing.unwrap();
        let running = Arc::new(Running::start(decided, Some(Arc::clone(&governing)), Vec::new()).unwrap());
        std::fs::write(config.with_file_name("policy.toml"), OTHER).unwrap();
        let asked = Asked::by(vec!["ana".to_owned()]);
        let mut reload = std::pin::pin!(reload(&config, &running, Why::Asked, &asked));
        // Whenever the runtime goes on with it, somebody has the governor.
        let outcome = runtime.block_on(std::future::poll_fn(|context| {
            let held = governing.governor.try_lock();
            let polled = reload.as_mut().poll(context);
            drop(held);
            polled
        }));
        ended.send((outcome.result, governing.n())).unwrap();
    });
    let (result, n) = outcome.recv_timeout(Duration::from_secs(60)).expect("the runtime waits for the governor");
    assert_eq!((result.is_ok(), n), (true, 2), "{result:?}");
}

#[test]
fn nobody_waits_for_whoever_verifies_and_what_was_not_compared_is_said() {
    let place = Place::new("");
    let id = place.approved("version = 1\n# next\n");
    place.perform(Governed::Activate { id, at_once: None, unseen: None });
    let all = "2 versions are what they were, and were approved as their rules demanded";
    assert_eq!(place.perform(Governed::Verify).message, all);
    let live = place.governing.governor().standing().version.map(|version| Anchor { n: 2, hash: version.hash() });
    // Somebody has the governor meanwhile.
    let held = place.governing.governor();
    let verified = |live, budget| place.governing.verified(live, Duration::from_secs(budget));
    assert_eq!(verified(live, 20).unwrap(), all);
    let left = "; 2 of them, up to version 2, were not compared again, since it took longer than 0 seconds";
    assert_eq!(verified(live, 0).unwrap(), format!("{all}{left}"));
    let damaged = place.folder.path().join("state.db.recovery");
    std::fs::write(&damaged, "something else").unwrap();
    let remark = format!("{all}; {} is not what this program writes: the delay", damaged.display());
    let said = verified(live, 20).unwrap();
    assert!(said.starts_with(&remark), "{said}");
    std::fs::remove_file(&damaged).unwrap();
    let other = live.map(|live| Anchor { hash: Hash::of(b"other"), ..live });
    assert!(verified(other, 20).unwrap_err().contains("the store was changed meanwhile"));
    drop(held);
}

/// Finding of 2026-11: it held whoever activated something, and with it the governor, until somebody wrote to the queue.
#[test]
fn a_queue_in_the_place_of_a_file_holds_nobody_up() {
    let place = Place::new("");
    let id = place.approved("version = 1\n# next\n");
    let policy = place.folder.path().join("policy.toml");
    std::fs::remove_file(&policy).unwrap();
    mknodat(CWD, &policy, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let answer = place.perform(Governed::Activate { id, at_once: None, unseen: None });
    assert!(
        answer.message.contains("version 2 is live") && answer.message.contains("it is not a regular file"),
        "{}",
        answer.message
    );
    let decided = place.choose(Why::Start, None).unwrap();
    assert_eq!(decided.number, Number::Known(2));
    assert!(decided.alarm.unwrap().tampered, "what is on the disk was not approved");
}

/// Finding of 2026-11: a rollback waited for whoever writes to a queue in the place of `keys.toml`, and with it, after the second one, all of governance.
#[test]
fn a_queue_in_the_place_of_keys_holds_no_rollback_up() {
    let place = Place::with("", "[[identity.api_key]]\nname = \"k\"\nheader = \"x-api-key\"\nfile = \"keys.toml\"\n");
    let keys = place.folder.path().join("keys.toml");
    std::fs::write(&keys, "version = 1\n").unwrap();
    place.begin();
    let proposed = Proposed { policy: Some(OTHER.to_owned()), files: None, again: None, base: None, by: by() };
    let id = place.perform(Governed::Propose(proposed)).changes[0].id.clone();
    place.perform(Governed::Activate { id, at_once: Some("x".to_owned()), unseen: None });
    std::fs::remove_file(&keys).unwrap();
    mknodat(CWD, &keys, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let who = Who::account(1_000, Some("ana"));
    let refused = place.governing.wish_back(Some(1), &by(), &who).unwrap_err();
    assert!(refused.contains("keys.toml: it is not a regular file"), "{refused}");
    std::fs::remove_file(&keys).unwrap();
    assert!(place.governing.wish_back(Some(1), &by(), &who).is_ok(), "one that is not there holds nothing");
}

/// Finding of 2026-11: what another version overtook waited for ever, and all of it had to be written anew.
#[test]
fn what_was_overtaken_is_over_and_is_proposed_again_for_the_version_that_is_live() {
    let place = Place::new("");
    let next = format!("{POLICY}# next\n");
    let first = place.approved(&next);
    let mut content = content_of(&load(&place.config(), &ProcessEnvironment).unwrap());
    let gateway = content.files.get_mut("portcullis.toml").unwrap();
    gateway.extend_from_slice(b"[client_address]\ntrusted_proxies = [\"192.0.2.1\"]\n");
    let files = content.files.iter().map(|(name, bytes)| File { name: name.clone(), content: BASE64.encode(bytes) });
    let proposed = Proposed { policy: None, files: Some(files.collect()), again: None, base: None, by: by() };
    let second = place.perform(Governed::Propose(proposed)).changes[0].id.clone();
    place.sign(&second);
    place.perform(Governed::Activate { id: second.clone(), at_once: None, unseen: None });
    let who = Who::account(1_000, Some("ana"));
    let ask = |wanted| place.governing.perform(wanted, &who, &Offline, Timestamp::now()).map(|done| done.answer);
    let listed = ask(Governed::List { most: 1, before: None }).unwrap().changes;
    let state = |id: &str| listed.iter().find(|change| change.id == id).map(|change| change.state.clone()).unwrap();
    assert_eq!((state(&first), state(&second)), ("overtaken".to_owned(), "activated".to_owned()));
    let refused = ask(Governed::Activate { id: first.clone(), at_once: None, unseen: None }).unwrap_err();
    assert!(refused.contains("version 1 was live, and 2 is now: propose it again"), "{refused}");
    let refused = ask(Governed::Reject { id: first.clone(), reason: "x".to_owned() }).unwrap_err();
    assert!(refused.contains("is overtaken"), "{refused}");
    let again = |id: &str| {
        ask(Governed::Propose(Proposed { policy: None, files: None, again: Some(id.to_owned()), base: None, by: by() }))
    };
    assert!(again(&second).unwrap_err().contains("is activated: only one that was overtaken"));
    let third = again(&first).unwrap().changes[0].id.clone();
    let shown = ask(Governed::Show { n: None, change: Some(third.clone()) }).unwrap();
    let text = |name: &str| {
        let file = shown.files.iter().find(|file| file.name == name).unwrap();
        String::from_utf8(BASE64.decode(file.content.as_bytes()).unwrap()).unwrap()
    };
    assert_eq!(text("policy.toml"), next);
    assert!(text("portcullis.toml").contains("192.0.2.1"), "what became live since stays");
    assert!(again(&third).unwrap_err().contains("is open"));
    // Approved anew it is live, and what both change is nobody's to undo.
    let other = place.approved(&format!("{POLICY}# other\n"));
    place.sign(&third);
    place.perform(Governed::Activate { id: third, at_once: None, unseen: None });
    assert!(again(&other).unwrap_err().contains("both change policy.toml"));
}

/// Finding of 2026-11: a rollback went to a version that had only been in its steps when other files became live.
#[test]
fn a_rollback_goes_to_no_version_that_decided_for_nobody() {
    let place = Place::believing("shadow = \"1h\"\n");
    place.roll_out(&format!("{POLICY}# next\n"));
    place.write(&format!("{POLICY}# by hand\n"));
    place.write_more(&SOMEBODY.replace("user:a", "user:b"));
    let decided = place.choose(Why::Asked, Some(1)).unwrap();
    let Number::Noted(class, as_of) = decided.number else { panic!("{:?}", decided.number) };
    let noted = place.governing.note(&decided.loaded, (class, as_of), &Asked::by(vec!["ana".to_owned()]));
    assert_eq!(noted.unwrap(), Some(3));
    let version = place.governing.governor().version(3).unwrap();
    assert!(version.exceptions.cut_short && version.by == "ana", "{version:?}");
    let answer = place.perform(Governed::Rollback { n: None, by: by(), dry_run: false });
    assert!(answer.message.starts_with("rolled back to version 1: version 4 is live"), "{answer:?}");
    // What was taken back in its steps is no version to go to, either.
    let who = Who::account(1_000, Some("ana"));
    let again = Governed::Rollback { n: None, by: by(), dry_run: false };
    let refused = place.governing.perform(again, &who, &Offline, Timestamp::now()).unwrap_err();
    assert!(
        refused.contains("is itself a rollback to version 1") && refused.contains("there are version 1 of"),
        "{refused}"
    );
    assert!(!refused.contains("version 2 of") && !refused.contains("version 3 of"), "{refused}");
}
