//! Versions that come into force step by step: what serves meanwhile, what a restart finds, and how they are taken back.

use super::memory::*;
use crate::*;

/// Version 2 tightens, is approved, and is being rolled out.
fn rolling(people: &People) -> (Shared, Governor, Change) {
    let (shared, mut governor) = governed(people);
    let change = approved(people, &mut governor, 4, 10);
    let (version, trouble) = governor.begin_rollout(change.id, "ana", at(12)).unwrap();
    assert!((version.n, trouble.is_none()) == (2, true));
    (shared, governor, change)
}

fn approved(people: &People, governor: &mut Governor, level: u32, second: i64) -> Change {
    let change = governor.propose(&wish(content(level, REQUIRED), "ana"), at(second)).unwrap();
    for key in [&people.ben, &people.cem] {
        governor.approve(change.id, &sign(governor, &change, key, second + 1), at(second + 1)).unwrap();
    }
    change
}

#[test]
fn until_it_is_over_the_version_before_serves_also_after_a_restart() {
    let people = people();
    let (shared, mut governor, change) = rolling(&people);
    assert_eq!((governor.n(), governor.serving()), (2, 1));
    assert_eq!(governor.served().unwrap().1, content(5, REQUIRED));
    assert_eq!(governor.live().unwrap(), content(4, REQUIRED));
    let far = Rollout { spent_ms: 7, requests: 8, newly_denied: 9, ..Rollout::new(2, change.id).next() };
    governor.note_progress(far).unwrap();
    assert!(governor.note_progress(Rollout { n: 3, ..far }).is_err(), "of another version");
    let (mut again, _) = shared.open().unwrap();
    assert_eq!((again.standing().rollout, again.serving(), again.n()), (Some(far), 1, 2));
    again.finish_rollout(2).unwrap();
    assert_eq!((again.serving(), again.served().unwrap().1), (2, content(4, REQUIRED)));
    let (again, _) = shared.open().unwrap();
    assert_eq!((again.standing().rollout, again.serving()), (None, 2));
}

#[test]
fn it_needs_what_every_version_needs_and_one_comes_after_the_other() {
    let people = people();
    let (_, mut governor) = governed(&people);
    let change = governor.propose(&wish(content(4, REQUIRED), "ana"), at(10)).unwrap();
    assert!(matches!(governor.begin_rollout(change.id, "ana", at(11)), Err(GovernanceError::Shortfall(_))));
    assert_eq!((governor.n(), governor.serving(), governor.standing().rollout), (1, 1, None));
    let (_, mut governor, _) = rolling(&people);
    let next = approved(&people, &mut governor, 3, 20);
    assert!(matches!(governor.begin_rollout(next.id, "ana", at(22)), Err(GovernanceError::RollingOut(2))));
    // At once it can be, and then nothing is rolled out any more.
    governor.activate(next.id, "ana", at(23)).unwrap();
    assert_eq!((governor.n(), governor.serving(), governor.standing().rollout), (3, 3, None));
}

#[test]
fn taken_back_it_is_a_new_version_with_the_content_that_served() {
    let people = people();
    let (shared, mut governor, _) = rolling(&people);
    let (version, trouble) = governor.take_back("37 of 10,000 denied:\nalice", &[], at(20)).unwrap();
    assert!(trouble.is_none());
    let change = &version.change;
    assert_eq!((version.n, change.kind, change.restores, change.class), (3, Kind::Revert, 1, Class::Loosens));
    assert_eq!((change.reason.as_str(), change.authors[0].as_str()), ("37 of 10,000 denied: alice", "portcullis"));
    assert_eq!((governor.serving(), governor.served().unwrap().1), (3, content(5, REQUIRED)));
    assert!(governor.take_back("again", &[], at(21)).is_err(), "nothing is rolled out");
    let (mut again, remarks) = shared.open().unwrap();
    assert_eq!((again.verify_all().unwrap(), again.standing().rollout, remarks.len()), (3, None, 0));
    // It goes on from there, with approvals as before.
    let next = approved(&people, &mut again, 3, 30);
    again.activate(next.id, "ana", at(32)).unwrap();
    // Somebody who wants that is named, and needs nobody else either.
    let (shared, mut governor, _) = rolling(&people);
    let cem = ["cem".to_owned(), "unix:cem".to_owned()];
    let (version, _) = governor.take_back("it lets too many in", &cem, at(20)).unwrap();
    assert_eq!((version.by.as_str(), version.change.authors.as_slice()), ("cem", &cem[..]));
    assert_eq!(shared.open().unwrap().0.verify_all().unwrap(), 3);
    let long = "é".repeat(2_000);
    let (_, mut governor, _) = rolling(&people);
    assert_eq!(governor.take_back(&long, &[], at(20)).unwrap().0.change.reason.len(), 1_024);
}

#[test]
fn what_is_finished_is_the_version_that_was_meant() {
    let people = people();
    let (_, mut governor, _) = rolling(&people);
    assert!(governor.finish_rollout(1).is_err() && governor.finish_rollout(3).is_err());
    assert_eq!(governor.serving(), 1);
    // Whoever looked before it was taken back, and finishes after, has nothing live.
    governor.take_back("too much", &[], at(20)).unwrap();
    assert!(governor.finish_rollout(2).is_err());
    assert_eq!((governor.serving(), governor.served().unwrap().1), (3, content(5, REQUIRED)));
    let (_, mut governor, _) = rolling(&people);
    let next = approved(&people, &mut governor, 3, 20);
    governor.activate(next.id, "ana", at(23)).unwrap();
    assert!(governor.finish_rollout(2).is_err() && governor.rolls_out(2).is_err());
}

#[test]
fn nothing_else_becomes_live_as_if_it_were_taken_back() {
    let people = people();
    let (shared, mut governor, _) = rolling(&people);
    governor.take_back("too much", &[], at(20)).unwrap();
    type Forging = (&'static str, fn(&mut Version));
    let forgings: [Forging; 7] = [
        ("other files", |version| version.change.content = content(9, REQUIRED).hash()),
        ("what else is governed", |version| version.change.governed.0[0] ^= 1),
        ("lower rules", |version| version.change.rules.required = false),
        ("of another version", |version| version.change.restores = 2),
        ("for another version", |version| version.change.base_n = 1),
        ("another kind", |version| version.change.kind = Kind::Rollback),
        ("another gateway", |version| version.instance.0[0] ^= 1),
    ];
    for (name, forge) in forgings {
        let forged = shared.copy();
        let mut version = governor.version(3).unwrap();
        forge(&mut version);
        let (hash, record) = (version.hash(), version.encode());
        {
            let mut disk = forged.disk();
            disk.versions[2] = (hash, record);
            disk.head = Some(Head { n: 3, hash, required: true });
        }
        assert!(matches!(forged.open(), Err(GovernanceError::Broken { n: 3, .. })), "{name}");
    }
    // Nor twice, nor of the version that began governance.
    let forged = shared.copy();
    let mut version = governor.version(3).unwrap();
    (version.n, version.prev) = (4, governor.version(3).unwrap().hash());
    (version.change.base_n, version.change.base, version.change.restores) = (3, version.prev, 2);
    (version.change.content, version.change.governed) = {
        let second = governor.version(2).unwrap().change;
        (second.content, second.governed)
    };
    forged.disk().versions.push((version.hash(), version.encode()));
    assert!(matches!(forged.open(), Err(GovernanceError::Broken { n: 4, .. })), "what was taken back comes back");
}

/// Finding of 2026-11: a row of the store alone took the last version back, began its steps, or ended them.
#[test]
fn a_row_of_the_store_alone_takes_nothing_back() {
    let people = people();
    let (shared, mut governor) = governed(&people);
    let change = approved(&people, &mut governor, 4, 10);
    governor.activate(change.id, "ana", at(12)).unwrap();
    // The very record that the gateway would append, if the version had been rolled out.
    let rolled = shared.copy();
    let row = Rollout::new(2, change.id);
    {
        let mut disk = rolled.disk();
        (disk.rollout, disk.steps) = (Some(row.encode()), Some(Steps { n: 2, change: change.id, stage: Some(0) }));
    }
    let (mut rolling, _) = rolled.open().unwrap();
    let (version, _) = rolling.take_back("too much", &[], at(20)).unwrap();
    let forged = shared.copy();
    forged.disk().versions.push((version.hash(), version.encode()));
    let refused = forged.open().unwrap_err().to_string();
    assert!(refused.contains("it takes back version 2, which was not being rolled out"), "{refused}");
    // It was rolled out, and the process ended before the head file knew that it was taken back.
    let cut_off = rolled.copy();
    cut_off.disk().head = shared.disk().head;
    let (again, remarks) = cut_off.open().unwrap();
    assert_eq!((again.n(), again.serving(), remarks.len()), (3, 3, 1), "{remarks:?}");
    // Nor does a row begin steps, so that somebody could have it taken back.
    let forged = shared.copy();
    forged.disk().rollout = Some(row.encode());
    let (mut again, remarks) = forged.open().unwrap();
    assert_eq!((again.serving(), again.standing().rollout), (2, None));
    assert!(remarks[0].contains("nobody began that"), "{remarks:?}");
    assert!(again.take_back("x", &[], at(21)).is_err());
}

#[test]
fn a_row_that_is_gone_damaged_or_says_more_has_nobody_decided_for_early() {
    let people = people();
    let (shared, mut governor, change) = rolling(&people);
    let far = Rollout { spent_ms: 7, requests: 8, ..Rollout::new(2, change.id).next() };
    governor.note_progress(far).unwrap();
    assert_eq!(shared.open().unwrap().0.standing().rollout, Some(far), "as it was");
    let anew = Rollout::new(2, change.id).next();
    let rows = [None, Some(vec![0]), Some(far.next().next().encode()), Some(far.ending().encode())];
    for row in rows {
        let changed = shared.copy();
        changed.disk().rollout = row.clone();
        let (again, remarks) = changed.open().unwrap();
        assert_eq!((again.serving(), again.standing().rollout), (1, Some(anew)), "{row:?}");
        assert!(remarks[0].contains("begins anew"), "{remarks:?}");
    }
    // Once they are over, no row begins them again.
    governor.finish_rollout(2).unwrap();
    shared.disk().rollout = Some(far.encode());
    assert_eq!(shared.open().unwrap().0.serving(), 2);
}

#[test]
fn a_store_from_before_the_steps_were_noted_beside_it_is_rolled_out_further() {
    let people = people();
    let (shared, _, change) = rolling(&people);
    shared.disk().steps = None;
    assert_eq!(shared.open().unwrap().0.serving(), 1);
    assert_eq!(shared.disk().steps, Some(Steps { n: 2, change: change.id, stage: Some(0) }));
    // One in which nothing is rolled out is known as that from its first start on.
    let (shared, governor) = governed(&people);
    shared.disk().steps = None;
    drop(governor);
    drop(shared.open().unwrap());
    assert_eq!(shared.disk().steps, Some(Steps::NONE));
}

/// Once by the note of an earlier version of the program, which wrote it before the version; once by that beside the store, where the version could not be written:
/// at once it is at once, also after a restart.
#[test]
fn what_became_live_at_once_is_not_rolled_out_after_a_restart() {
    let people = people();
    let (shared, mut governor) = governed(&people);
    let change = approved(&people, &mut governor, 4, 10);
    drop(governor);
    shared.disk().rollout = Some(Rollout::new(2, change.id).encode());
    let (mut governor, _) = shared.open().unwrap();
    assert_eq!((governor.standing().rollout, governor.serving()), (None, 1));
    let before = shared.disk().writes;
    shared.disk().working = Some(before + 1);
    assert!(governor.begin_rollout(change.id, "ana", at(12)).is_err());
    assert_eq!(shared.disk().steps, Some(Steps { n: 2, change: change.id, stage: Some(0) }));
    shared.disk().working = None;
    governor.activate(change.id, "ana", at(14)).unwrap();
    let (again, _) = shared.open().unwrap();
    assert_eq!((again.n(), again.serving(), again.standing().rollout), (2, 2, None));
    assert_eq!(again.served().unwrap().1, content(4, REQUIRED));
}

#[test]
fn wherever_the_process_ends_it_is_rolled_out_or_was_never_live() {
    let people = people();
    for unheard in [false, true] {
        // The steps beside the store, the version with the note of its steps, the head file.
        for working in 0..=3 {
            let (shared, mut governor) = governed(&people);
            let change = approved(&people, &mut governor, 4, 10);
            let before = shared.disk().writes;
            shared.disk().working = Some(before + working);
            shared.disk().done_unheard = unheard;
            let begun = governor.begin_rollout(change.id, "ana", at(12)).is_ok();
            drop(governor);
            shared.disk().working = None;
            let (mut again, _) = shared.open().unwrap();
            let is_there = working >= 2 || (working == 1 && unheard);
            assert_eq!(begun, working >= 2, "{working} {unheard}");
            assert_eq!((again.n(), again.serving()), (if is_there { 2 } else { 1 }, 1), "{working} {unheard}");
            assert_eq!(again.standing().rollout.is_some(), is_there, "never at once where it was to be step by step");
            assert_eq!(again.verify_all().unwrap(), again.n());
            if !is_there {
                again.begin_rollout(change.id, "ana", at(14)).unwrap();
            }
            assert_eq!((again.n(), again.serving()), (2, 1));
        }
    }
}

#[test]
fn wherever_the_process_ends_while_it_is_taken_back_or_finished_one_of_the_two_serves() {
    let people = people();
    for unheard in [false, true] {
        for working in 0..=2 {
            let (shared, mut governor, _) = rolling(&people);
            let before = shared.disk().writes;
            shared.disk().working = Some(before + working);
            shared.disk().done_unheard = unheard;
            let _ = governor.take_back("too much", &[], at(20));
            shared.disk().working = None;
            let (mut again, _) = shared.open().unwrap();
            // What serves has the content of version 1 in each case.
            assert_eq!(again.served().unwrap().1, content(5, REQUIRED), "{working} {unheard}");
            assert_eq!(again.verify_all().unwrap(), again.n());
            if again.standing().rollout.is_some() {
                again.take_back("too much", &[], at(21)).unwrap();
            }
            assert_eq!((again.n(), again.serving()), (3, 3));
        }
        let (shared, mut governor, _) = rolling(&people);
        let before = shared.disk().writes;
        shared.disk().working = Some(before);
        shared.disk().done_unheard = unheard;
        assert!(governor.finish_rollout(2).is_err());
        assert_eq!(governor.serving(), 1, "as far as it knows");
        shared.disk().working = None;
        let (again, _) = shared.open().unwrap();
        assert_eq!(again.serving(), if unheard { 2 } else { 1 });
    }
}

/// What is live at once and still has to be written to files is known to be so, wherever the process ends.
#[test]
fn wherever_the_process_ends_while_it_becomes_live_at_once_it_is_known_what_is_left_to_be_written() {
    let people = people();
    for unheard in [false, true] {
        for working in 0..=3 {
            let (shared, mut governor) = governed(&people);
            let change = approved(&people, &mut governor, 4, 10);
            let before = shared.disk().writes;
            shared.disk().working = Some(before + working);
            shared.disk().done_unheard = unheard;
            let done = governor.activate_and_write(change.id, "ana", at(12)).and_then(|_| governor.finish_rollout(2));
            assert_eq!(done.is_ok(), working == 3, "{working} {unheard}");
            drop(governor);
            shared.disk().working = None;
            let (mut again, _) = shared.open().unwrap();
            let is_live = working >= 1 || unheard;
            let is_written = working == 3 || (working == 2 && unheard);
            assert_eq!((again.n(), again.serving()), if is_live { (2, 2) } else { (1, 1) }, "{working} {unheard}");
            let left = again.standing().rollout;
            assert_eq!(left.is_some_and(|left| left.is_ending() && left.is_at_once()), is_live && !is_written);
            if left.is_some() {
                again.finish_rollout(2).unwrap();
                assert_eq!(again.standing().rollout, None);
            }
        }
    }
}

#[test]
fn what_is_written_to_files_already_is_not_taken_back_as_if_it_never_was() {
    let people = people();
    let (_, mut governor, change) = rolling(&people);
    governor.note_progress(Rollout::new(2, change.id).ending()).unwrap();
    assert!(matches!(governor.take_back("too much", &[], at(20)), Err(GovernanceError::Ending(2))));
    assert_eq!(governor.n(), 2);
}

/// A newer version of the program kept it, or it is damaged and nothing is beside the store: the version before it serves, and nobody goes on with its steps.
#[test]
fn a_note_that_cannot_be_read_has_the_version_decide_for_nobody() {
    let people = people();
    let newer = |n: u64, change: ChangeId| {
        let mut record = Rollout::new(n, change).encode();
        let at = record.windows(3).position(|three| three == b"-v4").unwrap() + 2;
        record[at] = b'5';
        record.extend_from_slice(b"more");
        record
    };
    for record in [None, Some(Vec::new()), Some(b"damaged".to_vec())] {
        let held = || {
            let (shared, governor, change) = rolling(&people);
            drop(governor);
            shared.disk().rollout = Some(record.clone().unwrap_or_else(|| newer(2, change.id)));
            if record.is_some() {
                shared.disk().steps = None;
            }
            let governor = shared.open().unwrap().0;
            (shared, governor, change)
        };
        let (shared, mut governor, change) = held();
        assert!(governor.standing().rollout.is_some_and(|rollout| rollout.is_held()));
        assert_eq!((governor.n(), governor.serving(), governor.served().unwrap().1), (2, 1, content(5, REQUIRED)));
        let before = shared.disk().rollout.clone();
        assert!(governor.note_progress(Rollout::new(2, change.id).next()).is_err());
        assert_eq!(shared.disk().rollout, before, "what the newer program kept is there for it");
        let next = approved(&people, &mut governor, 3, 20);
        assert!(matches!(governor.begin_rollout(next.id, "ana", at(22)), Err(GovernanceError::RollingOut(2))));
        // Somebody says what is to be.
        let (again, _) = shared.open().unwrap();
        drop(again);
        governor.finish_rollout(2).unwrap();
        assert_eq!((shared.open().unwrap().0.serving(), shared.disk().rollout.clone()), (2, None));
        let (shared, mut governor, _) = held();
        governor.take_back("nobody knows", &[], at(20)).unwrap();
        let (again, _) = shared.open().unwrap();
        assert_eq!((again.n(), again.serving(), again.standing().rollout), (3, 3, None));
    }
    // What was kept of an earlier version, or beside one that takes no steps, is of nobody.
    let (shared, mut governor, change) = rolling(&people);
    governor.take_back("too much", &[], at(20)).unwrap();
    for record in [newer(2, change.id), b"damaged".to_vec()] {
        shared.disk().rollout = Some(record);
        assert_eq!(shared.open().unwrap().0.serving(), 3);
    }
    let (shared, mut governor) = governed(&people);
    let next = approved(&people, &mut governor, 4, 10);
    governor.activate(next.id, "ana", at(12)).unwrap();
    shared.disk().rollout = Some(newer(1, next.id));
    assert_eq!(shared.open().unwrap().0.serving(), 2);
}

/// While one process takes over from another there are two, and none writes over what it does not know.
#[test]
fn of_two_processes_that_write_how_far_it_has_come_one_is_told() {
    let people = people();
    let (shared, mut one, change) = rolling(&people);
    let (mut other, _) = shared.open().unwrap();
    let far = |spent_ms| Rollout { spent_ms, ..Rollout::new(2, change.id) };
    one.note_progress(far(10)).unwrap();
    let refused = other.note_progress(far(3)).unwrap_err();
    assert!(matches!(refused, GovernanceError::Ledger(LedgerError::Overtaken)), "{refused:?}");
    assert_eq!(other.standing().rollout, Some(far(10)), "it goes on from there");
    other.note_progress(far(13).next()).unwrap();
    assert!(one.note_progress(far(20)).is_err() && one.standing().rollout == Some(far(13).next()));
    // One has it live for everybody, and the other does not have it rolled out still.
    one.finish_rollout(2).unwrap();
    assert!(other.finish_rollout(2).is_err());
    assert_eq!((other.serving(), other.standing().rollout), (2, None));
    // Or takes it back, which is another version.
    let (shared, mut one, _) = rolling(&people);
    let (mut other, _) = shared.open().unwrap();
    one.take_back("too much", &[], at(20)).unwrap();
    assert!(other.finish_rollout(2).is_err());
    assert_eq!((other.n(), other.serving(), other.served().unwrap().1), (3, 3, content(5, REQUIRED)));
    assert_eq!(other.verify_all().unwrap(), 3);
}

/// What another process is said to have appended is held to the signatures as at a start.
#[test]
fn what_another_process_appended_is_not_believed_unseen() {
    let people = people();
    let (shared, mut governor, _) = rolling(&people);
    let mut forged = governor.version(2).unwrap();
    (forged.n, forged.prev) = (3, governor.version(2).unwrap().hash());
    shared.disk().versions.push((forged.hash(), forged.encode()));
    shared.disk().rollout = None;
    assert!(matches!(governor.finish_rollout(2), Err(GovernanceError::Broken { n: 3, .. })));
    assert_eq!((governor.n(), governor.serving()), (2, 1), "what was known is known still");
}
