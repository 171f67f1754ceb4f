//! What the log comes to, whatever is asked, approved, ended, killed and set back.

mod extending;
mod forged;
mod keys;
mod no_more;
mod over;
mod room;
mod stated;
mod taking;

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::approval::Decision;
use crate::approver::ApproverSet;
use crate::error::LedgerError;
use crate::hash::Hash;
use crate::key::SigningKey;

/// A log that outlives the process, and fails where a test wants it to.
#[derive(Debug, Clone, Default)]
struct Disk(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    records: Vec<(u64, Vec<u8>)>,
    seen: Option<i64>,
    fails: bool,
    /// So many calls that append still succeed; `None`: all.
    appends: Option<usize>,
    /// What is kept beside the rows, where a test wants that.
    anchor: Option<PowerAnchor>,
}

impl Disk {
    fn with<T>(&self, act: impl FnOnce(&mut Kept) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn open(&self, now: Timestamp) -> PowerBook {
        PowerBook::open(Box::new(self.clone()), Limits::default(), now).unwrap()
    }
}

impl PowerLedger for Disk {
    fn after(&self, n: u64) -> Result<Vec<Vec<u8>>, LedgerError> {
        Ok(self.with(|kept| {
            kept.records.iter().filter(|(number, _)| *number > n).map(|(_, record)| record.clone()).collect()
        }))
    }

    fn append(&mut self, n: u64, records: &[Vec<u8>]) -> Result<(), LedgerError> {
        self.with(|kept| {
            if kept.fails {
                return Err(LedgerError::Failed("the disk is full".to_owned()));
            }
            match &mut kept.appends {
                Some(0) => return Err(LedgerError::Failed("the disk is full".to_owned())),
                Some(left) => *left -= 1,
                None => {}
            }
            if kept.records.last().map_or(0, |(last, _)| *last) + 1 != n {
                return Err(LedgerError::Conflict);
            }
            kept.records.extend((n..).zip(records.iter().cloned()));
            if let (Some(anchor), Some((n, record))) = (&mut kept.anchor, kept.records.last()) {
                *anchor = PowerAnchor::at((*n, Hash::of(record)));
            }
            Ok(())
        })
    }

    fn forget(&mut self, n: u64, record: &[u8], gone: &[u64]) -> Result<(), LedgerError> {
        self.append(n, &[record.to_vec()])?;
        self.with(|kept| kept.records.retain(|(n, _)| !gone.contains(n)));
        Ok(())
    }

    fn anchor(&self) -> Result<Option<PowerAnchor>, LedgerError> {
        Ok(self.with(|kept| kept.anchor))
    }

    fn seen(&self) -> Result<Option<i64>, LedgerError> {
        Ok(self.with(|kept| kept.seen))
    }

    fn note_seen(&mut self, at: i64) -> Result<(), LedgerError> {
        self.with(|kept| kept.seen = Some(at));
        Ok(())
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn asked(principal: &str, approvals: u8) -> Asked {
    Asked {
        kind: PowerKind::Activation,
        principal: principal.to_owned(),
        gives: "on-call".to_owned(),
        lasts_s: 3_600,
        reason: "INC-7".to_owned(),
        ticket: String::new(),
        approvals,
        waits_s: 600,
    }
}

/// What has ended by this time, and whoever asks is told of.
fn over(book: &mut PowerBook, now: i64) -> Vec<Power> {
    book.tell_time(at(now)).unwrap();
    book.take_over()
}

fn refused(result: Result<Power, PowerError>) -> String {
    result.expect_err("it is done").to_string()
}

fn nobody() -> ApproverSet {
    ApproverSet::default()
}

#[test]
fn what_needs_nobody_is_in_force_until_its_deadline_and_ends_once() {
    let disk = Disk::default();
    let mut book = disk.open(at(0));
    let power = book.ask(asked("user:alice", 0), &names(&["ops"]), at(0)).unwrap();
    assert!(power.is_in_force(at(0)) && power.is_in_force(at(3_599)) && !power.is_in_force(at(3_600)));
    assert!(refused(book.ask(asked("user:alice", 0), &[], at(1))).contains("is the same, and is in force"));
    // A process that was killed has written all of it.
    let mut again = disk.open(at(10));
    assert_eq!(again.powers().next(), Some(&power));
    assert_eq!(over(&mut again, 3_599), []);
    let ended = over(&mut again, 3_601);
    assert_eq!(ended.len(), 1);
    let PowerState::Ended { ended: when, reason, .. } = &ended[0].state else { panic!("{ended:?}") };
    assert_eq!((*when, reason.as_str()), (at(3_600).as_microsecond(), "its time is over"));
    assert_eq!(over(&mut again, 3_602), []);
    assert_eq!(over(&mut disk.open(at(3_603)), 3_604), [], "once in the life of the log");
}

#[test]
fn whoever_it_is_for_or_asked_cannot_approve_it_under_any_name() {
    let disk = Disk::default();
    let mut book = disk.open(at(0));
    let n = book.ask(asked("user:alice", 2), &names(&["bert", "unix:bert", "uid:1001"]), at(0)).unwrap().n;
    let mut approve = |by: &[&str], is_shared| book.approve_as(n, &names(by), is_shared, &nobody(), at(1));
    assert!(refused(approve(&["alice", "unix:alice", "uid:1000"], false)).contains("cannot approve it under any name"));
    assert!(refused(approve(&["USER:ALICE"], false)).contains("cannot approve"));
    assert!(refused(approve(&["other", "uid:1001"], false)).contains("asked for by the same person"));
    assert!(refused(approve(&["root", "uid:0"], true)).contains("one of many"));
    let power = approve(&["carl", "uid:1002"], false).unwrap();
    assert_eq!(power.state.as_str(), "waiting");
    assert!(refused(approve(&["carl2", "uid:1002"], false)).contains("one voice"));
    let power = approve(&["dora", "uid:1003"], false).unwrap();
    assert!(power.is_in_force(at(1)) && power.is_in_force(at(3_600)) && !power.is_in_force(at(3_601)));
    assert!(refused(approve(&["emil"], false)).contains("nothing to approve"));
}

#[test]
fn where_approvers_are_enrolled_only_what_they_sign_counts() {
    let disk = Disk::default();
    let mut book = disk.open(at(0));
    let (ana, ben) = (SigningKey::generate().unwrap().0, SigningKey::generate().unwrap().0);
    let mut set = ApproverSet::default();
    set.add("ana", &names(&["user:alice"]), ana.public(), at(0)).unwrap();
    set.add("ben", &names(&["unix:bert"]), ben.public(), at(0)).unwrap();
    let instance = Hash::of(b"this gateway");
    let power = book.ask(asked("user:alice", 1), &names(&["ops"]), at(5)).unwrap();
    let (n, hash) = (power.n, power.hash);
    assert_eq!(power.entry().hash(), hash, "what is shown is what is signed");
    assert!(refused(book.approve_as(n, &names(&["carl"]), false, &set, at(6))).contains("only what they sign"));
    let sign = |key: &SigningKey, instance, hash, now| Word::sign(instance, hash, Decision::Approve, key, now);
    let mut approve = |word: Word| {
        let (of, word) = Word::from_armored(&word.armored(n)).unwrap();
        book.approve_signed(of, word, instance, &set, at(6))
    };
    assert!(refused(approve(sign(&ana, instance, hash, at(6)))).contains("user:alice"), "ana is alice");
    assert!(refused(approve(sign(&ben, Hash::NONE, hash, at(6)))).contains("not one under this"), "another gateway");
    assert!(refused(approve(sign(&ben, instance, Hash::NONE, at(6)))).contains("not one under this"), "something else");
    assert!(refused(approve(sign(&ben, instance, hash, at(600)))).contains("lies ahead"));
    let other = SigningKey::generate().unwrap().0;
    assert!(refused(approve(sign(&other, instance, hash, at(6)))).contains("nobody's who may approve"));
    let mut mutated = sign(&ben, instance, hash, at(6));
    mutated.decision = Decision::Reject;
    assert!(refused(approve(mutated)).contains("not one under this"), "what was signed is approval");
    assert_eq!(approve(sign(&ben, instance, hash, at(6))).unwrap().state.as_str(), "in_force");
    // What one signed under one entry is nothing under the next.
    book.end(n, "done", &[], at(7)).unwrap();
    let next = book.ask(asked("user:alice", 1), &names(&["ops"]), at(8)).unwrap();
    let old = sign(&ben, instance, hash, at(6));
    assert!(refused(book.approve_signed(next.n, old, instance, &set, at(9))).contains("not one under this"));
    let no = Word::sign(instance, next.hash, Decision::Reject, &ben, at(9));
    assert_eq!(book.approve_signed(next.n, no, instance, &set, at(9)).unwrap().state.as_str(), "rejected");
    // Who is revoked is nobody.
    let last = book.ask(asked("user:alice", 1), &[], at(10)).unwrap();
    set.revoke("ben", None, at(11)).unwrap();
    let late = sign(&ben, instance, last.hash, at(11));
    assert!(refused(book.approve_signed(last.n, late, instance, &set, at(12))).contains("is revoked"));
}

#[test]
fn what_nobody_approves_in_time_lapses_also_over_a_restart() {
    let disk = Disk::default();
    let mut book = disk.open(at(0));
    let n = book.ask(asked("user:alice", 1), &names(&["ops"]), at(0)).unwrap().n;
    let mut again = disk.open(at(600));
    for book in [&mut book, &mut again] {
        let late = refused(book.approve_as(n, &names(&["carl"]), false, &nobody(), at(600)));
        assert!(late.contains("was not approved in time"), "{late}");
    }
    assert!(refused(book.end(n, "x", &[], at(601))).contains("nothing to end"));
    book.ask(asked("user:alice", 0), &[], at(602)).unwrap();
}

#[test]
fn a_clock_that_is_set_back_lengthens_nothing() {
    // While the process runs.
    let disk = Disk::default();
    let mut book = disk.open(at(0));
    let n = book.ask(asked("user:alice", 0), &[], at(0)).unwrap().n;
    book.tell_time(at(1_800)).unwrap();
    book.tell_time(at(-9_000)).unwrap();
    let left = |book: &PowerBook, now: i64| match book.power(n).unwrap().state {
        PowerState::InForce { until, .. } => (until - at(now).as_microsecond()) / 1_000_000,
        _ => 0,
    };
    assert_eq!(left(&book, -9_000), 1_800, "half an hour is left, as before");
    // Over a restart, by what was noted last; and no second time.
    book.tell_time(at(-8_100)).unwrap();
    book.note_seen().unwrap();
    drop(book);
    let mut book = disk.open(at(-90_000));
    assert_eq!(left(&book, -90_000), 900);
    assert_eq!(left(&disk.open(at(-90_000)), -90_000), 900);
    assert_eq!(over(&mut book, -89_099).len(), 1);
    // Set forward it ends: sooner is no harm.
    let mut book = Disk::default().open(at(0));
    book.ask(asked("user:alice", 0), &[], at(0)).unwrap();
    assert_eq!(over(&mut book, 100_000).len(), 1);
}

#[test]
fn what_cannot_be_written_is_not_in_force() {
    let disk = Disk::default();
    let mut book = disk.open(at(0));
    disk.with(|kept| kept.fails = true);
    assert!(refused(book.ask(asked("user:alice", 0), &[], at(0))).contains("the disk is full"));
    assert_eq!(book.powers().count(), 0);
    disk.with(|kept| kept.fails = false);
    let n = book.ask(asked("user:alice", 0), &[], at(0)).unwrap().n;
    disk.with(|kept| kept.fails = true);
    assert!(refused(book.end(n, "done", &[], at(1))).contains("the disk is full"));
    // Its end by time needs no disk.
    assert!(book.tell_time(at(3_600)).is_err());
    assert!(!book.power(n).unwrap().is_in_force(at(3_600)));
}

#[test]
fn of_two_processes_one_is_told_and_hears_what_the_other_did() {
    let disk = Disk::default();
    let (mut one, mut other) = (disk.open(at(0)), disk.open(at(0)));
    let n = one.ask(asked("user:alice", 0), &[], at(0)).unwrap().n;
    assert_eq!(other.ask(asked("user:bert", 0), &[], at(0)), Err(PowerError::Conflict));
    let before = other.head();
    other.catch_up().unwrap();
    assert_ne!(other.head(), before, "there was something");
    other.catch_up().unwrap();
    assert_eq!(other.head(), one.head());
    other.end(n, "by the other", &names(&["ops"]), at(1)).unwrap();
    assert!(one.power(n).unwrap().is_in_force(at(1)));
    one.catch_up().unwrap();
    assert!(!one.power(n).unwrap().is_in_force(at(1)));
}

#[test]
fn every_changed_byte_of_the_log_is_found() {
    let disk = Disk::default();
    let mut book = disk.open(at(0));
    let n = book.ask(asked("user:alice", 1), &names(&["ops"]), at(0)).unwrap().n;
    book.approve_as(n, &names(&["carl"]), false, &nobody(), at(1)).unwrap();
    book.end(n, "done", &[], at(2)).unwrap();
    let whole = disk.with(|kept| kept.records.clone());
    assert_eq!(whole.len(), 4);
    let open = |records: Vec<(u64, Vec<u8>)>| {
        let disk = Disk::default();
        disk.with(|kept| kept.records = records);
        PowerBook::open(Box::new(disk), Limits::default(), at(3))
    };
    assert!(open(whole.clone()).is_ok());
    for record in 0..3 {
        for byte in 0..whole[record].1.len() {
            let mut changed = whole.clone();
            changed[record].1[byte] ^= 1;
            assert!(open(changed).is_err(), "record {record}, byte {byte}");
        }
    }
    let mut without = whole.clone();
    without.remove(1);
    assert!(open(without).is_err());
    let mut swapped = whole;
    swapped.swap(1, 2);
    assert!(open(swapped).is_err());
}

#[test]
fn there_is_a_bound_on_all_of_it() {
    let disk = Disk::default();
    let limits = Limits { most: 3, ..Limits::default() };
    let mut book = PowerBook::open(Box::new(disk.clone()), limits, at(0)).unwrap();
    for person in 0..3 {
        book.ask(asked(&format!("user:{person}"), 0), &[], at(0)).unwrap();
    }
    assert!(refused(book.ask(asked("user:3", 0), &[], at(0))).contains("3 are in force or wait"));
    book.tell_time(at(3_600)).unwrap();
    book.limit(Limits::default());
    let mut ask = |n: u32, change: &dyn Fn(&mut Asked)| {
        let mut asked = Asked { gives: format!("a{n}"), ..asked("user:alice", 0) };
        change(&mut asked);
        book.ask(asked, &[], at(3_601))
    };
    for n in 0..16 {
        ask(n, &|_| {}).unwrap();
    }
    assert!(refused(ask(16, &|_| {})).contains("has 16"));
    let other = |change: fn(&mut Asked)| {
        move |asked: &mut Asked| {
            asked.principal = "user:other".to_owned();
            change(asked);
        }
    };
    assert!(refused(ask(0, &other(|asked| asked.lasts_s = 0))).contains("a second to a year"));
    assert!(refused(ask(0, &other(|asked| asked.lasts_s = 400 * 86_400))).contains("a second to a year"));
    assert!(refused(ask(0, &other(|asked| asked.reason = "x".repeat(513)))).contains("at most 512 bytes"));
    assert!(refused(ask(0, &other(|asked| asked.ticket = "a\nb".to_owned()))).contains("without control characters"));
}

#[test]
fn the_oldest_entries_go_and_what_is_open_stays() {
    let disk = Disk::default();
    let limits = Limits { entries: 30, ..Limits::default() };
    let mut book = PowerBook::open(Box::new(disk.clone()), limits, at(0)).unwrap();
    let turn = |book: &mut PowerBook, second: i64| {
        let n = book.ask(asked("user:alice", 0), &[], at(second))?.n;
        book.end(n, "done", &[], at(second))
    };
    for second in 0..40 {
        turn(&mut book, second).unwrap();
    }
    let long = Asked { gives: "long".to_owned(), ..asked("user:long", 0) };
    let kept = book.ask(long, &[], at(40)).unwrap().n;
    let (entries, head) = book.head();
    assert!(entries <= 32, "{entries}");
    let mut again = PowerBook::open(Box::new(disk), limits, at(41)).unwrap();
    assert_eq!(again.head(), (entries, head), "what is left is a chain");
    // What is still open is never let go, and keeps nothing else.
    for second in 41..120 {
        turn(&mut again, second).unwrap();
        assert!(again.head().0 <= 33, "{:?}", again.head());
    }
    assert!(again.power(kept).unwrap().is_in_force(at(120)));
}

/// A seal, its code, and what breaking it gives.
fn sealed(book: &mut PowerBook, approvals: u8) -> (u64, Hash, Asked) {
    let code = Hash::of(b"code");
    let seal =
        Asked { kind: PowerKind::Seal, gives: code.to_string(), lasts_s: 86_400, ..asked("user:alice", approvals) };
    let n = book.ask(seal, &names(&["ops"]), at(0)).unwrap().n;
    let broken = Asked { kind: PowerKind::BreakGlass, gives: "role:admin,*".to_owned(), ..asked("user:alice", 0) };
    (n, code, broken)
}

#[test]
fn a_code_is_good_once_for_its_principal_and_not_for_ever() {
    let disk = Disk::default();
    let mut book = disk.open(at(0));
    let (seal, code, broken) = sealed(&mut book, 0);
    assert!(refused(book.break_seal(Hash::NONE, broken.clone(), &[], at(1))).contains("opens nothing"));
    let other = Asked { principal: "user:bert".to_owned(), ..broken.clone() };
    assert!(refused(book.break_seal(code, other, &[], at(1))).contains("opens nothing"));
    disk.with(|kept| kept.fails = true);
    assert!(refused(book.break_seal(code, broken.clone(), &[], at(1))).contains("the disk is full"));
    disk.with(|kept| kept.fails = false);
    let power = book.break_seal(code, broken.clone(), &names(&["carl"]), at(1)).unwrap();
    assert!(power.is_in_force(at(1)) && power.is_unreviewed() && !power.is_in_force(at(3_601)));
    assert_eq!(book.power(seal).unwrap().state.as_str(), "ended");
    assert!(refused(book.break_seal(code, broken.clone(), &[], at(2))).contains("opens nothing"));
    let mut again = disk.open(at(2));
    assert_eq!(again.power(power.n).unwrap(), &power);
    assert!(refused(again.break_seal(code, broken, &[], at(2))).contains("opens nothing"), "also over a restart");
    let (_, code, broken) = sealed(&mut Disk::default().open(at(0)), 0);
    let mut late = Disk::default().open(at(0));
    sealed(&mut late, 0);
    assert!(refused(late.break_seal(code, broken, &[], at(86_400))).contains("opens nothing"), "too old");
}

#[test]
fn nobody_has_a_code_sealed_for_themselves_that_nobody_else_approves() {
    let mut book = Disk::default().open(at(0));
    let seal = |approvals| Asked { kind: PowerKind::Seal, gives: "00".to_owned(), ..asked("user:alice", approvals) };
    for by in [&["user:alice"][..], &["unix:alice", "alice"], &["uid:7", "Alice"]] {
        let error = refused(book.seal(seal(0), &names(by), &nobody(), at(0)));
        assert!(error.contains("cannot have it sealed under any name"), "{by:?}: {error}");
    }
    assert!(book.powers().next().is_none());
    assert!(book.seal(seal(0), &names(&["user:bert", "bert"]), &nobody(), at(0)).unwrap().is_in_force(at(1)));
    let mut book = Disk::default().open(at(0));
    let waiting = book.seal(seal(1), &names(&["user:alice", "alice"]), &nobody(), at(0)).unwrap();
    assert_eq!(waiting.state.as_str(), "waiting");
}

#[test]
fn a_seal_that_others_must_approve_is_good_when_they_have() {
    let mut book = Disk::default().open(at(0));
    let (seal, code, broken) = sealed(&mut book, 1);
    assert!(refused(book.break_seal(code, broken.clone(), &[], at(1))).contains("opens nothing"));
    book.approve_as(seal, &names(&["carl"]), false, &nobody(), at(2)).unwrap();
    book.break_seal(code, broken, &[], at(3)).unwrap();
}

#[test]
fn two_other_persons_review_what_was_done() {
    let disk = Disk::default();
    let mut book = disk.open(at(0));
    let (seal, code, broken) = sealed(&mut book, 0);
    let n = book.break_seal(code, broken, &names(&["carl", "uid:7"]), at(1)).unwrap().n;
    let review = |book: &mut PowerBook, by: &[&str], is_shared| {
        let by = names(by);
        book.review(n, "fine", Reviewer::Account { names: &by, is_shared }, &nobody(), at(2))
    };
    assert!(refused(review(&mut book, &["alice"], false)).contains("cannot review"));
    assert!(refused(review(&mut book, &["other", "uid:7"], false)).contains("cannot review"));
    assert!(refused(review(&mut book, &["root"], true)).contains("one of many"));
    assert!(review(&mut book, &["dora"], false).unwrap().is_unreviewed());
    assert!(refused(review(&mut book, &["dora"], false)).contains("one voice"));
    book.end(n, "done", &[], at(3)).unwrap();
    let mut book = disk.open(at(4));
    assert!(book.power(n).unwrap().is_unreviewed());
    let done = review(&mut book, &["emil"], false).unwrap();
    assert!(!done.is_unreviewed() && done.reviewed.len() == 2);
    let by = names(&["fritz"]);
    let who = Reviewer::Account { names: &by, is_shared: false };
    assert!(refused(book.review(seal, "", who, &nobody(), at(5))).contains("no broken seal"));
}

#[test]
fn a_request_is_granted_by_somebody_else_and_gives_nothing_itself() {
    let disk = Disk::default();
    let mut book = disk.open(at(0));
    let request = Asked { kind: PowerKind::Request, gives: "GET app /x".to_owned(), ..asked("user:alice", 0) };
    let n = book.ask(request.clone(), &names(&["alice"]), at(0)).unwrap().n;
    assert_eq!(book.power(n).unwrap().state.as_str(), "waiting");
    assert!(refused(book.ask(request, &[], at(1))).contains("is the same"));
    assert!(refused(book.approve_as(n, &names(&["carl"]), false, &nobody(), at(1))).contains("is a request"));
    let loan =
        |approvals| Asked { kind: PowerKind::Loan, gives: "role:r,app".to_owned(), ..asked("user:alice", approvals) };
    let mut grant = |by: &str, loan| book.grant(n, loan, &names(&[by]), &nobody(), at(2));
    assert!(refused(grant("alice", loan(0))).contains("cannot grant it"));
    assert!(refused(grant("carl", Asked { principal: "user:bert".to_owned(), ..loan(0) })).contains("cannot grant it"));
    let power = grant("carl", loan(1)).unwrap();
    assert_eq!((power.state.as_str(), power.asked.kind), ("waiting", PowerKind::Loan));
    assert!(refused(grant("carl", loan(0))).contains("no request that waits: it is granted"));
    assert!(
        refused(book.approve_as(power.n, &names(&["carl"]), false, &nobody(), at(3))).contains("asked for by the same")
    );
    assert!(book.approve_as(power.n, &names(&["dora"]), false, &nobody(), at(3)).unwrap().is_in_force(at(3)));
    assert!(refused(book.end(n, "x", &[], at(4))).contains("nothing to end"));
}

#[test]
fn what_breaking_gives_is_compared() {
    let rules = |roles: &[&str], routes: &[&str], max_s| BreakGlassRules {
        roles: names(roles),
        routes: names(routes),
        max_s,
        signers: names(&["ana"]),
    };
    let base = rules(&["a", "b"], &["x", "y"], 60);
    for (other, within) in [
        (base.clone(), true),
        (rules(&["a"], &["x"], 59), true),
        (rules(&["a", "c"], &["x"], 59), false),
        (rules(&["a"], &["x", "z"], 59), false),
        (rules(&["a"], &[], 59), false),
        (rules(&["a"], &["x"], 61), false),
    ] {
        assert_eq!(other.are_within(&base), within, "{other:?}");
    }
    assert!(base.are_within(&rules(&["a", "b"], &[], 60)));
    for (signers, within) in [(&[][..], true), (&["ana"], true), (&["ana", "ben"], false)] {
        let other = BreakGlassRules { signers: names(signers), ..base.clone() };
        assert_eq!(other.are_within(&base), within, "{signers:?}");
    }
}

proptest! {
    /// Whatever is asked, approved and ended, whenever the process is killed and however the clock is set: nothing is in force for longer than
    /// it was granted, by a clock that nobody sets.
    #[test]
    fn nothing_outlives_what_was_granted(steps in proptest::collection::vec((0..8u8, 0..2_000i64), 1..40)) {
        let disk = Disk::default();
        let (mut steady, mut ahead) = (0i64, 0i64);
        let mut book = disk.open(at(0));
        let mut granted: Vec<(u64, i64)> = Vec::new();
        for (step, by) in steps {
            let now = at(steady + ahead);
            match step {
                0 => {
                    let asked = Asked { lasts_s: by.unsigned_abs() + 1, ..asked("user:alice", 0) };
                    if let Ok(power) = book.ask(asked, &[], now) {
                        granted.push((power.n, steady + by + 1));
                    }
                }
                1 => if let Some((n, until)) = granted.last_mut()
                    && book.end(*n, "done", &[], now).is_ok() {
                    *until = steady;
                },
                2 => {
                    // As the thread of the gateway does each second.
                    book.note_seen().unwrap();
                    drop(book);
                    book = disk.open(now);
                }
                // What is less than a second is jitter.
                3 => ahead -= by + 2,
                4 => ahead += by,
                _ => for _ in 0..by.min(100) {
                    steady += 1;
                    book.tell_time(at(steady + ahead)).unwrap();
                },
            }
            book.tell_time(at(steady + ahead)).unwrap();
            for (n, until) in &granted {
                let is_in_force = book.power(*n).unwrap().is_in_force(at(steady + ahead));
                prop_assert!(!is_in_force || steady < *until, "{} after {}: {}", n, until, steady);
            }
        }
    }
}
