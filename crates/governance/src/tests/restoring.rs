//! An older log in the place of a newer one, and the keys that were revoked in between.

use super::memory::*;
use crate::*;

/// Revokes all keys of ben: version 2.
fn revoke_ben(people: &People, governor: &mut Governor) {
    let mut set = people.set.clone();
    set.revoke("ben", None, at(10)).unwrap();
    let keys = Wish { kind: Kind::Keys, approvers: Some(set), ..wish(content(5, REQUIRED), "ana") };
    let change = governor.propose(&keys, at(10)).unwrap();
    for key in [&people.cem, &people.dia] {
        governor.approve(change.id, &sign(governor, &change, key, 11), at(11)).unwrap();
    }
    governor.activate(change.id, "ana", at(12)).unwrap();
}

#[test]
fn a_key_that_was_revoked_neither_approves_a_restore_nor_counts_after_it() {
    let people = people();
    let (shared, mut governor) = governed(&people);
    let backup = shared.copy();
    revoke_ben(&people, &mut governor);
    let listed = shared.disk().revoked.clone();
    assert_eq!(listed.revived_in(&people.set).iter().map(|each| each.person.as_str()).collect::<Vec<_>>(), ["ben"; 2]);
    let (mut restored, _) = backup.open().unwrap();
    let report = b"what comes back".to_vec();
    let with = (&listed, report.clone());
    let request = restored.restoration(vec!["root".to_owned()], "version 2 is lost".to_owned(), with, at(20)).unwrap();
    // All that whoever signs is shown is of a hash that is signed.
    assert_eq!(Request::from_armored(&request.armored()), Ok(request.clone()));
    assert_eq!((request.change.kind, request.approvers.active(), &request.impact), (Kind::Keys, 3, &report));
    let by = |key| sign(&restored, &request.change, key, 21);
    let (ana, ben, cem) = (by(&people.ana), by(&people.ben), by(&people.cem));
    let alone = restored.restore(&request, &listed, vec![ana.clone(), ben], "root", at(22)).unwrap_err();
    assert!(alone.to_string().contains("1 of 2 approvals"), "{alone}");
    // Nor as one that says nothing of the keys.
    let without = restored.restore(&request, &RevokedKeys::default(), vec![ana.clone(), cem.clone()], "root", at(22));
    assert!(without.unwrap_err().to_string().contains("is not the restoration of this backup"));
    let version = restored.restore(&request, &listed, vec![ana, cem], "root", at(22)).unwrap();
    assert_eq!((version.n, version.change.restores), (2, 1));
    assert_eq!(restored.impact_of(&version.change).unwrap(), report);
    assert_eq!(restored.standing().approvers.active(), 3);
    drop(restored);
    let (reopened, remarks) = backup.open().unwrap();
    assert_eq!((reopened.verify_all().unwrap(), reopened.standing().approvers.active(), remarks), (2, 3, vec![]));
    assert_eq!(backup.disk().revoked, listed, "and the list is beside it again");
}

#[test]
fn an_older_store_with_its_older_head_is_told_by_the_keys_that_were_revoked_since() {
    let people = people();
    let (shared, mut governor) = governed(&people);
    let older = shared.copy();
    revoke_ben(&people, &mut governor);
    older.disk().revoked = shared.disk().revoked.clone();
    let error = older.open().unwrap_err();
    assert!(matches!(&error, GovernanceError::Revived { person, .. } if person == "ben"), "{error}");
    assert!(error.is_tampering());
}

#[test]
fn so_few_that_nobody_could_change_anything_restore_nothing() {
    let people = people();
    let (shared, _) = governed(&people);
    let (restored, _) = shared.open().unwrap();
    let mut set = people.set.clone();
    for person in ["ana", "ben", "cem"] {
        set.revoke(person, None, at(5)).unwrap();
    }
    let listed = RevokedKeys::of(&set);
    let refused = restored.restoration(vec!["root".to_owned()], "lost".to_owned(), (&listed, Vec::new()), at(20));
    assert!(matches!(refused, Err(GovernanceError::TooFewApprovers { have: 1, need: 2 })), "{refused:?}");
}

#[test]
fn a_process_that_ends_before_the_list_is_written_has_it_written_by_the_next_start() {
    let people = people();
    let (shared, mut governor) = governed(&people);
    revoke_ben(&people, &mut governor);
    let listed = std::mem::take(&mut shared.disk().revoked);
    drop(governor);
    shared.open().unwrap();
    assert_eq!(shared.disk().revoked, listed);
}

#[test]
fn a_revoked_key_is_not_enrolled_again_where_the_store_does_not_know_it() {
    let people = people();
    let shared = Shared::default();
    let mut set = people.set.clone();
    set.revoke("ben", None, at(0)).unwrap();
    shared.disk().revoked = RevokedKeys::of(&set);
    let (mut governor, _) = shared.open().unwrap();
    let begin = Wish { kind: Kind::Keys, approvers: Some(people.set.clone()), ..wish(content(5, REQUIRED), "root") };
    let refused = governor.begin(&begin, at(1)).unwrap_err();
    assert!(matches!(refused, GovernanceError::Revived { .. }), "{refused}");
    assert_eq!(governor.n(), 0);
}

#[test]
fn what_was_written_down_elsewhere_is_in_the_log_or_is_not() {
    let people = people();
    let (shared, mut governor) = governed(&people);
    let older = shared.copy();
    revoke_ben(&people, &mut governor);
    let hash = |n| governor.version(n).unwrap().hash();
    let check = |governor: &Governor, n, hash, expected| {
        assert_eq!(governor.holds(Anchor { n, hash }).unwrap(), expected, "{n}");
    };
    check(&governor, 1, hash(1), true);
    check(&governor, 2, hash(2), true);
    check(&governor, 2, hash(1), false);
    check(&governor, 3, hash(2), false);
    let (older, _) = older.open().unwrap();
    check(&older, 1, hash(1), true);
    check(&older, 2, hash(2), false);
}

#[test]
fn an_old_store_whose_head_file_was_taken_away_is_no_beginning_that_was_cut_off() {
    let people = people();
    let (shared, _) = governed(&people);
    shared.disk().head = None;
    let day = 24 * 3_600;
    for (second, finished) in [(1 + day, false), (300 * day, false), (day, true)] {
        assert_eq!(shared.finish_beginning(second).is_ok(), finished, "{second}");
        assert_eq!(shared.disk().head.is_some(), finished, "{second}");
    }
}
