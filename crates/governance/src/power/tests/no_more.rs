//! Power that was rightly given and is not any more, and rows that only take away: findings of 2026-11, by which the first was an alarm for good, and the second
//! was none.

use super::forged::{approver, began, forge, instance, of_kind};
use super::*;

/// A loan to alice that was asked for, and is in force with these signatures.
fn signed(keys: &[&SigningKey], approvals: u8) -> Disk {
    let disk = Disk::default();
    forge(&disk, vec![Act::Asked(of_kind(PowerKind::Loan, "role:admin,*", approvals))], 0);
    let hash = Hash::of(&disk.with(|kept| kept.records[0].1.clone()));
    let word = |key: &&SigningKey| Word::sign(instance(), hash, Decision::Approve, key, at(1));
    forge(&disk, keys.iter().map(|key| Act::Approved { of: 1, word: Some(word(key)) }).collect(), 1);
    forge(&disk, vec![began(1)], 2);
    disk
}

#[test]
fn what_was_rightly_approved_and_counts_no_more_is_no_forgery() {
    let mut approvers = ApproverSet::default();
    let [ana, ben, alice] = ["ana", "ben", "alice"].map(|name| approver(&mut approvers, name));
    let stranger = SigningKey::generate().unwrap().0;
    let held = |disk: &Disk, approvers: &ApproverSet, since: i64| {
        let book = PowerBook::read(Box::new(disk.clone()), Limits::default()).unwrap();
        let demands = Demands { approvers: approvers.clone(), instance: instance(), loosen: 2, since };
        book.held_to(&demands, book.power(1).unwrap(), 0)
    };
    let good = signed(&[&ana, &ben], 2);
    assert_eq!(held(&good, &approvers, i64::MIN), Ok(()));
    // A key is revoked as of when that was proposed, and counted until it was live.
    let mut revoked = approvers.clone();
    revoked.revoke("ben", None, at(0)).unwrap();
    // Ben turns out to be alice.
    let mut alias = approvers.clone();
    alias.approvers.iter_mut().find(|each| each.person == "ben").unwrap().aliases.push("alice".to_owned());
    for later in [&revoked, &alias] {
        let why = held(&good, later, i64::MIN).unwrap_err();
        assert_eq!((why, why.is_forged()), (Unvouched::CountsNoMore, false));
    }
    // What was lent before anybody had to approve it.
    let (asked, unsigned) = (at(0).as_microsecond(), signed(&[], 0));
    assert_eq!(held(&unsigned, &approvers, asked + 1), Err(Unvouched::Before));
    assert!(!Unvouched::Before.is_forged() && Unvouched::Unsigned.is_forged());
    assert_eq!(held(&unsigned, &approvers, asked), Err(Unvouched::Unsigned));
    for keys in [[&ana, &stranger], [&ana, &alice], [&ana, &ana]] {
        assert_eq!(held(&signed(&keys, 2), &revoked, asked + 1), Err(Unvouched::Unsigned));
    }
}

#[test]
fn rows_that_only_take_away_are_taken_and_told() {
    let disk = Disk::default();
    disk.with(|kept| kept.anchor = Some(PowerAnchor::at((0, Hash::NONE))));
    let mut book = disk.open(at(0));
    let [one, other] = ["user:alice", "user:carl"].map(|who| book.ask(asked(who, 0), &[], at(0)).unwrap().n);
    let ended = |of| Act::Ended { of, reason: "its time is over".to_owned() };
    forge(&disk, vec![ended(one)], 5);
    book.catch_up().unwrap();
    assert_eq!((book.take_unknown(), book.take_unknown()), (1, 0));
    // It is looked each second, and nothing is appended between.
    book.catch_up().unwrap();
    forge(&disk, vec![ended(other)], 6);
    book.catch_up().unwrap();
    book.catch_up().unwrap();
    assert_eq!(book.take_unknown(), 1);
    assert!(!book.power(other).unwrap().is_in_force(at(6)));
    assert_eq!(disk.open(at(6)).take_unknown(), 2, "and at a start");
    // What gives something behind it is not taken.
    let before = disk.with(|kept| kept.records.clone());
    forge(&disk, vec![Act::Asked(of_kind(PowerKind::Loan, "role:admin,*", 0))], 7);
    assert!(book.catch_up().unwrap_err().to_string().contains("does not know it"));
    // Nor a clock that is set back behind what the log says, for ever.
    disk.with(|kept| kept.records.clone_from(&before));
    forge(&disk, vec![Act::SetBack { by: i64::MAX }], 5);
    let set_back = book.catch_up().unwrap_err().to_string();
    assert!(set_back.contains("does not know it") && set_back.contains("restore a backup"), "{set_back}");
    // What this one appends itself is known.
    disk.with(|kept| kept.records = before);
    book.ask(asked("user:bert", 0), &[], at(8)).unwrap();
    book.catch_up().unwrap();
    assert_eq!(book.take_unknown(), 0);
}

#[test]
fn a_log_that_is_shorter_than_it_was_is_told_while_the_process_runs() {
    for anchored in [true, false] {
        let disk = Disk::default();
        disk.with(|kept| kept.anchor = anchored.then(|| PowerAnchor::at((0, Hash::NONE))));
        let mut book = disk.open(at(0));
        let n = book.ask(asked("user:alice", 0), &[], at(0)).unwrap().n;
        book.end(n, "done", &[], at(1)).unwrap();
        let (whole, anchor) = disk.with(|kept| (kept.records.clone(), kept.anchor));
        disk.with(|kept| drop(kept.records.pop()));
        let cut = book.catch_up().unwrap_err().to_string();
        assert!(cut.contains("entry 3: it is not there any more"), "{cut}");
        // Another one in its place.
        forge(&disk, vec![Act::Ended { of: n, reason: "x".to_owned() }], 1);
        assert!(book.catch_up().unwrap_err().to_string().contains("is another one"));
        disk.with(|kept| (kept.records, kept.anchor) = (whole, anchor));
        book.catch_up().unwrap();
    }
}
