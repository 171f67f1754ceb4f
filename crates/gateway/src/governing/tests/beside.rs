//! Who waits for whom: nobody who looks, lends power or takes something back for whoever compares versions, or reads files.

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;

#[test]
fn whoever_lends_power_waits_for_nobody_and_goes_by_the_version_that_is_live() {
    let place = Place::with("required = true\napprovals = { loosen = 1, keys = 1 }\n", "");
    assert!(place.governing.demands().is_none() && place.governing.loosen() == 0, "nobody has to approve yet");
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
    let proposed = Proposed { policy: Some(OTHER.to_owned()), files: None, by: by() };
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
    assert!(version.cut_short_the_one_before() && version.by == "ana, over version 2 in its steps", "{version:?}");
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
