//! What has ended is told once: whoever ran then, whatever failed, and in two processes.

use super::*;

#[test]
fn what_ended_while_nobody_ran_is_told_by_the_start_and_once() {
    let disk = Disk::default();
    let n = disk.open(at(0)).ask(asked("user:alice", 0), &[], at(0)).unwrap().n;
    let mut book = disk.open(at(7_200));
    let told = book.take_over();
    assert_eq!(told.iter().map(|power| power.n).collect::<Vec<_>>(), [n]);
    assert_eq!(told[0].state.as_str(), "ended");
    assert_eq!((book.take_over(), over(&mut book, 7_201)), (Vec::new(), Vec::new()));
    assert_eq!(disk.open(at(7_202)).take_over(), []);
}

#[test]
fn what_other_calls_find_over_is_told_too() {
    let disk = Disk::default();
    let mut book = disk.open(at(0));
    let n = book.ask(asked("user:alice", 0), &[], at(0)).unwrap().n;
    book.ask(asked("user:bert", 0), &[], at(3_600)).unwrap();
    assert_eq!(book.take_over().iter().map(|power| power.n).collect::<Vec<_>>(), [n]);
}

#[test]
fn all_that_is_over_ends_together_or_not_at_all() {
    let disk = Disk::default();
    let mut book = disk.open(at(0));
    for who in ["user:alice", "user:bert", "user:carl"] {
        book.ask(asked(who, 0), &[], at(0)).unwrap();
    }
    // A disk that is full after one more: nobody ends without being told of.
    disk.with(|kept| kept.appends = Some(1));
    assert!(book.run_out(&[], at(3_600)).is_ok());
    assert_eq!(book.take_over().len(), 3);
    for who in ["user:alice", "user:bert"] {
        disk.with(|kept| kept.appends = None);
        book.ask(asked(who, 0), &[], at(3_601)).unwrap();
    }
    disk.with(|kept| kept.appends = Some(0));
    assert!(book.run_out(&[], at(7_201)).is_err());
    assert_eq!(book.take_over(), []);
    disk.with(|kept| kept.appends = None);
    assert_eq!(over(&mut book, 7_202).len(), 2, "told when it is written");
}

#[test]
fn the_clock_that_nobody_sets_ends_it_as_well_and_only_what_is_in_force() {
    let disk = Disk::default();
    let mut book = disk.open(at(0));
    let n = book.ask(asked("user:alice", 0), &[], at(0)).unwrap().n;
    let waits = book.ask(asked("user:bert", 1), &[], at(0)).unwrap().n;
    book.run_out(&[n, waits, 99], at(5)).unwrap();
    assert_eq!(book.take_over().iter().map(|power| power.n).collect::<Vec<_>>(), [n]);
    assert_eq!(book.power(waits).unwrap().state.as_str(), "waiting");
    book.run_out(&[n], at(6)).unwrap();
    assert_eq!(book.take_over(), []);
}

#[test]
fn of_two_processes_one_tells() {
    let disk = Disk::default();
    let mut one = disk.open(at(0));
    one.ask(asked("user:alice", 0), &[], at(0)).unwrap();
    let mut other = disk.open(at(0));
    assert_eq!(over(&mut one, 3_600).len(), 1);
    // It has not heard yet that it is ended.
    assert_eq!(other.tell_time(at(3_600)), Err(PowerError::Conflict));
    other.catch_up().unwrap();
    assert_eq!(over(&mut other, 3_601), []);
}

#[test]
fn what_lapsed_for_one_process_another_may_have_approved_just_in_time() {
    let disk = Disk::default();
    let mut late = disk.open(at(0));
    let n = late.ask(asked("user:alice", 1), &names(&["ops"]), at(0)).unwrap().n;
    let m = late.ask(asked("user:bert", 1), &names(&["ops"]), at(0)).unwrap().n;
    let mut just = disk.open(at(0));
    // Their clocks are read at two instants.
    late.tell_time(at(600)).unwrap();
    assert_eq!(late.power(n).unwrap().state.as_str(), "lapsed");
    just.approve_as(n, &names(&["carl"]), false, &nobody(), at(599)).unwrap();
    just.reject(m, "no", &names(&["carl"]), at(599)).unwrap();
    late.catch_up().unwrap();
    assert!(late.power(n).unwrap().is_in_force(at(600)));
    assert_eq!(late.power(m).unwrap().state.as_str(), "rejected");
    just.end(n, "done", &[], at(700)).unwrap();
    late.catch_up().unwrap();
    assert_eq!((late.power(n).unwrap().state.as_str(), late.head()), ("ended", just.head()), "it goes on hearing");
}

#[test]
fn a_clock_set_back_over_a_restart_lengthens_no_waiting() {
    let disk = Disk::default();
    let mut book = disk.open(at(0));
    assert!(!book.is_anything_open());
    let n = book.ask(asked("user:alice", 1), &[], at(0)).unwrap().n;
    assert!(book.is_anything_open(), "the clock is noted where something only waits");
    book.tell_time(at(500)).unwrap();
    book.note_seen().unwrap();
    let book = disk.open(at(-10_000));
    let PowerState::Waiting { until } = book.power(n).unwrap().state else { panic!("it waits") };
    assert_eq!(until, at(-9_900).as_microsecond());
    let mut book = disk.open(at(-9_900));
    assert_eq!(book.power(n).unwrap().state.as_str(), "lapsed");
    book.tell_time(at(-9_899)).unwrap();
    assert!(!book.is_anything_open());
}

#[test]
fn a_signed_no_is_no_review() {
    let disk = Disk::default();
    let mut book = disk.open(at(0));
    let code = Hash::of(b"code");
    book.ask(Asked { kind: PowerKind::Seal, gives: code.to_string(), ..asked("user:alice", 0) }, &[], at(0)).unwrap();
    let broken = Asked { kind: PowerKind::BreakGlass, gives: "role:admin,*".to_owned(), ..asked("user:alice", 0) };
    let power = book.break_seal(code, broken, &names(&["alice"]), at(1)).unwrap();
    let ben = SigningKey::generate().unwrap().0;
    let mut set = ApproverSet::default();
    set.add("ben", &[], ben.public(), at(0)).unwrap();
    let instance = Hash::of(b"this gateway");
    let mut review = |decision| {
        let word = Word::sign(instance, power.hash, decision, &ben, at(2));
        book.review(power.n, "", Reviewer::Signed { word, instance }, &set, at(2))
    };
    assert!(refused(review(Decision::Reject)).contains("a signed no is no review"));
    assert_eq!(review(Decision::Approve).unwrap().reviewed.len(), 1);
}

#[test]
fn only_a_code_that_opens_nothing_is_a_wrong_one() {
    let disk = Disk::default();
    let mut book = disk.open(at(0));
    let code = Hash::of(b"code");
    book.ask(Asked { kind: PowerKind::Seal, gives: code.to_string(), ..asked("user:alice", 0) }, &[], at(0)).unwrap();
    let broken = || Asked { kind: PowerKind::BreakGlass, gives: "role:admin,*".to_owned(), ..asked("user:alice", 0) };
    assert_eq!(book.break_seal(Hash::of(b"other"), broken(), &[], at(1)), Err(PowerError::WrongCode));
    let of_bert = Asked { principal: "user:bert".to_owned(), ..broken() };
    assert_eq!(book.break_seal(code, of_bert, &[], at(1)), Err(PowerError::WrongCode));
    disk.with(|kept| kept.fails = true);
    assert!(matches!(book.break_seal(code, broken(), &[], at(1)), Err(PowerError::Ledger(_))));
    disk.with(|kept| kept.fails = false);
    // As much as there may be is in force: that keeps nobody from breaking glass.
    book.limit(Limits { most: 1, ..Limits::default() });
    assert!(matches!(book.ask(asked("user:bert", 0), &[], at(1)), Err(PowerError::Full(_))));
    assert!(book.break_seal(code, broken(), &[], at(1)).is_ok());
    assert_eq!(book.break_seal(code, broken(), &[], at(2)), Err(PowerError::WrongCode), "it was used");
}

#[test]
fn what_people_ask_for_themselves_is_counted_by_the_log() {
    let disk = Disk::default();
    let mut book = disk.open(at(0));
    let mut ask = |who: &str, by: &[&str], gives: &str, now: i64| {
        book.ask(Asked { gives: gives.to_owned(), ..asked(who, 1) }, &names(by), at(now)).unwrap();
    };
    ask("user:alice", &["user:alice", "alice"], "a", 0);
    ask("user:alice", &["user:alice", "alice"], "b", 10);
    ask("user:alice", &["ops"], "c", 11);
    ask("user:bert", &["user:bert", "bert"], "a", 12);
    // A process that begins now counts the same.
    let book = disk.open(at(20));
    assert_eq!(book.asked_by_themselves("user:alice", at(0)), (2, 3));
    assert_eq!(book.asked_by_themselves("user:alice", at(1)), (1, 2));
    assert_eq!(book.asked_by_themselves("user:carl", at(0)), (0, 3));
    assert_eq!(book.asked_by_themselves("user:alice", at(13)), (0, 0));
}
