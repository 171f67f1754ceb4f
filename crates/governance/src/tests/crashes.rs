//! A disk that stops after each step, and a disk that somebody changed.

use super::memory::*;
use crate::*;

/// Version 2 is approved and ready to be activated.
fn ready(people: &People) -> (Shared, Governor, Change) {
    let (shared, mut governor) = governed(people);
    let change = governor.propose(&wish(content(6, REQUIRED), "ana"), at(10)).unwrap();
    for key in [&people.ben, &people.cem] {
        governor.approve(change.id, &sign(&governor, &change, key, 11), at(11)).unwrap();
    }
    (shared, governor, change)
}

#[test]
fn wherever_the_process_ends_the_next_start_has_one_version_or_the_other() {
    let people = people();
    for unheard in [false, true] {
        for working in 0..=2 {
            let (shared, mut governor, change) = ready(&people);
            let before = shared.disk().writes;
            shared.disk().working = Some(before + working);
            shared.disk().done_unheard = unheard;
            let activated = governor.activate(change.id, "ana", at(12));
            let is_live = match (&activated, working) {
                (Ok((_, None)), 2) => true,
                // The store has it, and the head file does not.
                (Ok((_, Some(_))), 1) => true,
                (Err(_), 0) => unheard,
                other => panic!("{working} {unheard}: {other:?}"),
            };
            drop(governor);
            shared.disk().working = None;
            let (mut governor, _) = shared.open().unwrap();
            let n = if is_live { 2 } else { 1 };
            assert_eq!(governor.n(), n, "{working} {unheard}");
            assert_eq!(shared.disk().head.unwrap().n, n);
            assert_eq!(governor.verify_all().unwrap(), n);
            // And it goes on from there.
            let state = governor.proposal(change.id, at(13)).unwrap().state;
            assert_eq!(state == ChangeState::Activated, is_live, "{working} {unheard}");
            if !is_live {
                governor.activate(change.id, "ana", at(14)).unwrap();
            }
            assert_eq!(governor.n(), 2);
        }
    }
}

#[test]
fn wherever_the_process_ends_while_governance_begins_it_has_begun_or_not() {
    let people = people();
    for unheard in [false, true] {
        for working in 0..=2 {
            let shared = Shared::default();
            let (mut governor, _) = shared.open().unwrap();
            let before = shared.disk().writes;
            shared.disk().working = Some(before + working);
            shared.disk().done_unheard = unheard;
            let begin =
                Wish { kind: Kind::Keys, approvers: Some(people.set.clone()), ..wish(content(5, REQUIRED), "root") };
            let begun = governor.begin(&begin, at(1)).is_ok() || unheard;
            shared.disk().working = None;
            if begun && shared.disk().head.is_none() {
                // The next start does not guess: a head file may have been taken away. Who begins again finishes it.
                assert!(matches!(shared.open(), Err(GovernanceError::HeadMissing { found: 1 })));
                shared.finish_beginning(2).unwrap();
            }
            let (mut governor, _) = shared.open().unwrap();
            assert_eq!(governor.is_required(), begun, "{working} {unheard}");
            if begun {
                assert!(shared.disk().head.unwrap().required);
            } else {
                governor.begin(&begin, at(2)).unwrap();
            }
        }
    }
}

#[test]
fn wherever_a_proposal_or_an_approval_ends_nothing_is_live() {
    let people = people();
    for unheard in [false, true] {
        let (shared, mut governor) = governed(&people);
        let before = shared.disk().writes;
        shared.disk().working = Some(before);
        shared.disk().done_unheard = unheard;
        assert!(governor.propose(&wish(content(6, REQUIRED), "ana"), at(10)).is_err());
        shared.disk().working = None;
        let (mut governor, _) = shared.open().unwrap();
        assert_eq!((governor.n(), governor.proposals(at(11)).unwrap().len()), (1, usize::from(unheard)));
        let change = governor.propose(&wish(content(6, REQUIRED), "ana"), at(10)).unwrap();
        governor.approve(change.id, &sign(&governor, &change, &people.ben, 11), at(11)).unwrap();
        let before = shared.disk().writes;
        shared.disk().working = Some(before);
        assert!(governor.approve(change.id, &sign(&governor, &change, &people.cem, 11), at(11)).is_err());
        shared.disk().working = None;
        let (mut governor, _) = shared.open().unwrap();
        assert_eq!(governor.activate(change.id, "ana", at(12)).is_ok(), unheard, "a signature that is there counts");
    }
}

#[test]
fn an_older_store_is_told_by_the_head_file() {
    let people = people();
    let (shared, mut governor, change) = ready(&people);
    let older = shared.copy();
    governor.activate(change.id, "ana", at(12)).unwrap();
    older.disk().head = shared.disk().head;
    assert!(matches!(older.open(), Err(GovernanceError::Downgraded { head: 2, .. })));
    // None at all, and one of before governance began.
    let empty = Shared::default();
    empty.disk().head = shared.disk().head;
    assert!(matches!(empty.open(), Err(GovernanceError::Downgraded { head: 2, .. })));
    // A head file that is gone, too.
    older.disk().head = None;
    assert!(matches!(older.open(), Err(GovernanceError::HeadMissing { found: 1 })));
    let gone = shared.copy();
    gone.disk().head = None;
    assert!(matches!(gone.open(), Err(GovernanceError::HeadMissing { found: 2 })));
    // Where nothing is required a store may be moved away: that is said.
    assert!(gone.finish_beginning(2).is_err(), "only of a log that has just begun");
    let begun = Shared::default();
    let (mut governor, _) = begun.open().unwrap();
    note(&mut governor, &wish(content(1, "0 1 2 2"), "file"), at(1)).unwrap();
    let anew = Shared::default();
    anew.disk().head = begun.disk().head;
    let (_, remarks) = anew.open().unwrap();
    assert!(remarks[0].contains("another one than before"), "{remarks:?}");
}

#[test]
fn an_older_store_with_its_older_head_file_is_told_by_whoever_was_told_the_instance() {
    let people = people();
    let (shared, governor) = governed(&people);
    let instance = governor.standing().instance;
    assert!(shared.open_as(Some(Some(instance))).is_ok() && shared.open_as(Some(None)).is_ok());
    let (other, _) = governed(&people);
    assert!(matches!(other.open_as(Some(Some(instance))), Err(GovernanceError::WrongInstance { .. })));
    assert!(matches!(Shared::default().open_as(Some(None)), Err(GovernanceError::NotGoverned)));
}

#[test]
fn a_log_that_was_changed_is_refused() {
    let people = people();
    let (shared, mut governor, change) = ready(&people);
    governor.activate(change.id, "ana", at(12)).unwrap();
    type Tampering = (&'static str, fn(&mut Version));
    let tamperings: [Tampering; 7] = [
        ("another content", |version| version.change.content.0[0] ^= 1),
        ("another class", |version| version.change.class = Class::Tightens),
        ("no approvals", |version| version.approvals.clear()),
        ("one approval", |version| version.approvals.truncate(1)),
        ("another author", |version| version.change.authors = vec!["ben".to_owned()]),
        ("lower rules", |version| version.change.rules.required = false),
        ("another base", |version| version.prev.0[0] ^= 1),
    ];
    for (name, tamper) in tamperings {
        let forged = shared.copy();
        let mut version = governor.version(2).unwrap();
        tamper(&mut version);
        let (hash, record) = (version.hash(), version.encode());
        {
            let mut disk = forged.disk();
            disk.versions[1] = (hash, record);
            // The head file is forged with it.
            disk.head = Some(Head { n: 2, hash, required: true });
        }
        assert!(matches!(forged.open(), Err(GovernanceError::Broken { n: 2, .. })), "{name}: {:?}", forged.open());
    }
    // Signatures that are valid, and are not those of enough persons: one twice, another key of the same person, the author's own, and one too late.
    let change = governor.version(2).unwrap().change;
    let sign = |key: &SigningKey, second: i64| sign(&governor, &change, key, second);
    let ttl = i64::try_from(change.rules.proposal_ttl_s).unwrap();
    let approvals = [
        ("one twice", vec![sign(&people.ben, 11), sign(&people.ben, 11)], 12),
        ("one person at two times", vec![sign(&people.ben, 11), sign(&people.ben, 12)], 12),
        ("one person with two keys", vec![sign(&people.ben, 11), sign(&people.ben_too, 11)], 12),
        ("the author", vec![sign(&people.ben, 11), sign(&people.ana, 11)], 12),
        ("a stranger", vec![sign(&people.ben, 11), sign(&key(), 11)], 12),
        ("made live when its time was over", vec![sign(&people.ben, 11), sign(&people.cem, 11)], 10 + ttl),
        ("signed when its time was over", vec![sign(&people.ben, 11), sign(&people.cem, 10 + ttl)], 12),
        ("signed before it was proposed", vec![sign(&people.ben, 11), sign(&people.cem, -400)], 12),
    ];
    for (name, approvals, time) in approvals {
        let forged = shared.copy();
        let version = Version { approvals, time: at(time).as_microsecond(), ..governor.version(2).unwrap() };
        let hash = version.hash();
        forged.disk().versions[1] = (hash, version.encode());
        forged.disk().head = Some(Head { n: 2, hash, required: true });
        assert!(matches!(forged.open(), Err(GovernanceError::Broken { n: 2, .. })), "{name}: {:?}", forged.open());
    }
    // A version that nobody approved, appended behind the gateway's back.
    let forged = shared.copy();
    let mut version = governor.version(2).unwrap();
    (version.n, version.prev) = (3, governor.version(2).unwrap().hash());
    forged.disk().versions.push((version.hash(), version.encode()));
    assert!(matches!(forged.open(), Err(GovernanceError::Broken { n: 3, .. })));
    // With a head file that was set back to before it, as a crash between the two would leave it.
    for required in [true, false] {
        let first = governor.version(1).unwrap().hash();
        forged.disk().head = Some(Head { n: 1, hash: first, required });
        assert!(matches!(forged.open(), Err(GovernanceError::Broken { n: 3, .. })));
        let honest = shared.copy();
        honest.disk().head = Some(Head { n: 1, hash: first, required });
        let (opened, remarks) = honest.open().unwrap();
        assert!(opened.n() == 2 && remarks[0].contains("the head file did not know it yet"), "{remarks:?}");
    }
    // Approvers that let in one more.
    let forged = shared.copy();
    let mut set = people.set.clone();
    set.add("eve", &[], key().public(), at(0)).unwrap();
    forged.disk().blobs.insert(people.set.hash(), set.encode());
    assert!(forged.open().is_err());
}

/// Finding of 2026-11: the class and the rules in a record were believed. Whoever may append a row and approve alone, signed what they wanted it to say.
#[test]
fn what_a_version_says_of_itself_is_not_believed_although_it_is_signed() {
    let people = people();
    type Lie = (&'static str, fn(&mut Change), &'static str);
    let lies: [Lie; 3] = [
        ("class", |change| change.class = Class::Tightens, "the engine says loosens"),
        ("neutral", |change| change.class = Class::Neutral, "the engine says loosens"),
        ("rules", |change| (change.class, change.rules.loosen) = (Class::Tightens, 1), "demands something else"),
    ];
    for (name, lie, expected) in lies {
        let (shared, mut governor) = governed(&people);
        let mut change = governor.propose(&wish(content(9, REQUIRED), "nobody"), at(10)).unwrap();
        assert_eq!(change.class, Class::Loosens);
        lie(&mut change);
        let needed = if name == "rules" { vec![&people.ben, &people.cem] } else { vec![&people.ben] };
        let base = governor.version(1).unwrap();
        let version = Version {
            n: 2,
            prev: base.hash(),
            instance: base.instance_after(),
            time: at(12).as_microsecond(),
            by: "root".to_owned(),
            exceptions: Exceptions::default(),
            approvals: needed.iter().map(|key| sign(&governor, &change, key, 11)).collect(),
            change,
        };
        shared.disk().versions.push((version.hash(), version.encode()));
        let refused = shared.open().map(|_| ()).unwrap_err();
        assert!(refused.is_tampering(), "{name}: {refused}");
        assert!(refused.to_string().contains(expected), "{name}: {refused}");
        // With the head file forged as well, whoever looks finds it.
        shared.disk().head = Some(Head { n: 2, hash: version.hash(), required: true });
        let (governor, _) = shared.open().unwrap();
        let found = governor.verify_class(2).unwrap_err().to_string();
        assert!(found.contains(expected), "{name}: {found}");
    }
    // What was approved by as many as it needs is found right, whatever ends in between.
    let (shared, mut governor, change) = ready(&people);
    let head = shared.disk().head;
    governor.activate(change.id, "ana", at(12)).unwrap();
    shared.disk().head = head;
    let (governor, remarks) = shared.open().unwrap();
    assert_eq!((governor.n(), remarks.len()), (2, 1));
    assert!(governor.verify_class(1).unwrap() && governor.verify_class(2).unwrap());
}
