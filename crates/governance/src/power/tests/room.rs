//! Nobody who asks for themselves keeps operators from anything, and least of all from breaking glass.

use super::*;

fn seal(principal: &str) -> (Hash, Asked, Asked) {
    let code = Hash::of(principal.as_bytes());
    let year = 31_536_000;
    let seal = Asked { kind: PowerKind::Seal, gives: code.to_string(), lasts_s: year, ..asked(principal, 0) };
    let broken = Asked { kind: PowerKind::BreakGlass, gives: "role:admin,*".to_owned(), ..asked(principal, 0) };
    (code, seal, broken)
}

/// Somebody asks by themselves, and it waits.
fn asks(book: &mut PowerBook, who: &str, gives: &str, now: i64) -> Result<Power, PowerError> {
    let wanted = Asked { gives: gives.to_owned(), ..asked(who, 1) };
    book.ask_by_itself(wanted, &names(&[who]), at(now))
}

#[test]
fn who_asks_for_themselves_has_a_share_and_operators_and_sealed_codes_have_the_rest() {
    let disk = Disk::default();
    let mut book = disk.open(at(0));
    book.limit(Limits { most: 40, ..Limits::default() });
    for n in 0..10 {
        asks(&mut book, &format!("user:u{n}"), "a", 1).unwrap();
    }
    let full = asks(&mut book, "user:late", "a", 1).unwrap_err();
    assert!(matches!(&full, PowerError::Full(why) if why.contains("their share")), "{full}");
    let (code, sealing, broken) = seal("user:alice");
    book.ask(sealing, &names(&["ops"]), at(2)).unwrap();
    for n in 0..29 {
        book.ask(asked(&format!("user:o{n}"), 0), &names(&["ops"]), at(2)).unwrap();
    }
    assert!(matches!(book.ask(asked("user:more", 0), &names(&["ops"]), at(2)), Err(PowerError::Full(_))), "all of it");
    assert!(book.break_seal(code, broken, &names(&["ops"]), at(3)).is_ok());
}

#[test]
fn whoever_has_asked_for_as_much_as_they_may_is_sealed_a_code_and_breaks_it() {
    let disk = Disk::default();
    let mut book = disk.open(at(0));
    for n in 0..8 {
        assert!(book.has_room_for(&asked("user:alice", 1), at(1)));
        asks(&mut book, "user:alice", &format!("a{n}"), 1).unwrap();
    }
    assert!(!book.has_room_for(&asked("user:alice", 1), at(1)) && book.has_room_for(&asked("user:bert", 1), at(1)));
    assert!(matches!(asks(&mut book, "user:alice", "more", 1), Err(PowerError::Full(_))));
    let (code, sealing, broken) = seal("user:alice");
    book.ask(sealing, &names(&["ops"]), at(2)).unwrap();
    for n in 0..7 {
        let loan = Asked { gives: format!("o{n}"), ..asked("user:alice", 0) };
        book.ask(loan, &names(&["ops"]), at(2)).unwrap();
    }
    let more = Asked { gives: "more".to_owned(), ..asked("user:alice", 0) };
    assert!(matches!(book.ask(more, &names(&["ops"]), at(2)), Err(PowerError::Full(_))), "sixteen of one");
    assert!(book.break_seal(code, broken, &names(&["alice"]), at(3)).is_ok());
}

/// Finding of 2026-11: who had as much as they may could extend nothing of it, and so let it end first.
#[test]
fn what_takes_the_place_of_another_needs_no_place_of_its_own() {
    let lasting = |who: &str, gives: &str, lasts_s: u64, approvals: u8| Asked {
        gives: gives.to_owned(),
        lasts_s,
        ..asked(who, approvals)
    };
    let alice = names(&["user:alice"]);
    let is_full =
        |outcome: Result<Power, PowerError>| assert!(matches!(outcome, Err(PowerError::Full(_))), "{outcome:?}");
    // By herself she has eight, the last of which somebody has to approve when it is extended.
    let mut book = Disk::default().open(at(0));
    for n in 0..8 {
        book.ask_by_itself(lasting("user:alice", &format!("a{n}"), 600, 0), &alice, at(0)).unwrap();
    }
    for n in 0..7 {
        let longer = lasting("user:alice", &format!("a{n}"), 1_200, 0);
        assert!(book.has_room_for(&longer, at(1)));
        book.ask_by_itself(longer, &alice, at(1)).unwrap();
    }
    let ninth = lasting("user:alice", "a9", 600, 0);
    assert!(!book.has_room_for(&ninth, at(1)));
    is_full(book.ask_by_itself(ninth.clone(), &alice, at(1)));
    let waits = book.ask_by_itself(lasting("user:alice", "a7", 1_200, 1), &alice, at(1)).unwrap();
    assert_eq!(waits.state.as_str(), "waiting");
    // Another one for the same place is the same, and a loan takes no place of an activation.
    assert!(refused(book.ask_by_itself(lasting("user:alice", "a7", 9_000, 1), &alice, at(2))).contains("is the same"));
    // What waits for a place that is in force takes none: whoever extends a second one is not held up by the first.
    book.ask_by_itself(lasting("user:alice", "a0", 9_000, 1), &alice, at(2)).unwrap();
    is_full(book.ask_by_itself(ninth.clone(), &alice, at(2)));
    // The eighth is over, and what waits has its place.
    is_full(book.ask_by_itself(ninth, &alice, at(600)));
    // Of all there may be, likewise, for operators and for whoever asks by themselves.
    let mut book = Disk::default().open(at(0));
    book.limit(Limits { most: 4, ..Limits::default() });
    book.ask_by_itself(lasting("user:alice", "a", 600, 0), &alice, at(0)).unwrap();
    for n in 0..3 {
        book.ask(lasting("user:bert", &format!("b{n}"), 600, 0), &names(&["ops"]), at(0)).unwrap();
    }
    is_full(book.ask(lasting("user:bert", "b3", 600, 0), &names(&["ops"]), at(1)));
    book.ask(lasting("user:bert", "b2", 1_200, 0), &names(&["ops"]), at(1)).unwrap();
    book.ask_by_itself(lasting("user:alice", "a", 1_200, 0), &alice, at(1)).unwrap();
    is_full(book.ask(Asked { kind: PowerKind::Loan, ..lasting("user:cem", "a", 600, 0) }, &names(&["ops"]), at(1)));
}

#[test]
fn a_log_that_is_full_of_what_people_asked_for_has_room_for_a_seal_that_is_as_old_as_it_is() {
    let disk = Disk::default();
    let limits = Limits { entries: 60, ..Limits::default() };
    let mut book = PowerBook::open(Box::new(disk.clone()), limits, at(0)).unwrap();
    let (code, sealing, broken) = seal("user:alice");
    let sealed = book.ask(sealing, &names(&["ops"]), at(0)).unwrap().n;
    // What an operator did, before and between.
    let operators: Vec<u64> = (0..6)
        .map(|n| {
            let n = book.ask(asked(&format!("user:o{n}"), 0), &names(&["ops"]), at(1)).unwrap().n;
            book.end(n, "done", &names(&["ops"]), at(1)).unwrap().n
        })
        .collect();
    for second in 2..200 {
        let n = asks(&mut book, "user:bot", "a", second).unwrap().n;
        book.reject(n, "taken back", &names(&["user:bot"]), at(second)).unwrap();
        assert!(book.head().0 <= 63, "{}", book.head().0);
    }
    assert!(operators.iter().all(|n| book.power(*n).is_ok()), "who asks for themselves has their own forgotten");
    let mut again = PowerBook::open(Box::new(disk.clone()), limits, at(200)).unwrap();
    assert_eq!((again.head(), again.own), (book.head(), book.own));
    assert!(again.power(sealed).unwrap().is_in_force(at(200)));
    assert!(again.break_seal(code, broken, &names(&["ops"]), at(201)).is_ok());
}

#[test]
fn where_nothing_can_be_let_go_a_sealed_code_opens_all_the_same() {
    let disk = Disk::default();
    let mut book = PowerBook::open(Box::new(disk), Limits { entries: 6, ..Limits::default() }, at(0)).unwrap();
    let (code, sealing, broken) = seal("user:alice");
    book.ask(sealing, &[], at(0)).unwrap();
    for n in 0..2 {
        book.ask(asked(&format!("user:o{n}"), 0), &[], at(0)).unwrap();
    }
    assert!(matches!(book.ask(asked("user:more", 0), &[], at(0)), Err(PowerError::Full(_))));
    assert!(book.break_seal(code, broken, &[], at(1)).is_ok());
}

#[test]
fn what_was_left_when_others_went_is_held_to_what_was_said_of_it() {
    let disk = Disk::default();
    let limits = Limits { entries: 20, ..Limits::default() };
    let mut book = PowerBook::open(Box::new(disk.clone()), limits, at(0)).unwrap();
    let stays = book.ask(Asked { lasts_s: 86_400, ..asked("user:long", 0) }, &[], at(0)).unwrap().n;
    // A clock that was set back shortens it, also when that entry is old.
    book.tell_time(at(-100)).unwrap();
    for second in 0..40 {
        let n = book.ask(asked("user:alice", 0), &[], at(second)).unwrap().n;
        book.end(n, "done", &[], at(second)).unwrap();
    }
    let PowerState::InForce { until, .. } = book.power(stays).unwrap().state else { panic!("it is in force") };
    assert_eq!(until, at(86_300).as_microsecond());
    let open = || PowerBook::open(Box::new(disk.clone()), limits, at(50));
    assert_eq!(open().unwrap().power(stays), book.power(stays));
    let whole = disk.with(|kept| kept.records.clone());
    let is_old = |n: u64| n <= 3;
    assert!(whole.iter().filter(|(n, _)| is_old(*n)).count() == 3 && whole.iter().any(|(n, _)| *n > 20), "a gap");
    for missing in whole.iter().map(|(n, _)| *n) {
        disk.with(|kept| kept.records.retain(|(n, _)| *n != missing));
        let is_last = Some(missing) == whole.last().map(|(n, _)| *n);
        assert_eq!(open().is_ok(), is_last, "entry {missing}: the last one is missed by nobody but who knows the head");
        disk.with(|kept| kept.records.clone_from(&whole));
    }
}

#[test]
fn another_process_that_let_something_go_is_heard() {
    let disk = Disk::default();
    let limits = Limits { entries: 20, ..Limits::default() };
    let mut one = PowerBook::open(Box::new(disk.clone()), limits, at(0)).unwrap();
    let stays = one.ask(asked("user:long", 0), &[], at(0)).unwrap().n;
    let mut other = PowerBook::open(Box::new(disk), limits, at(0)).unwrap();
    for second in 1..40 {
        let n = one.ask(asked("user:alice", 0), &[], at(second)).unwrap().n;
        one.end(n, "done", &[], at(second)).unwrap();
        if second % 7 == 0 {
            other.catch_up().unwrap();
            assert_eq!(other.head(), one.head());
        }
    }
    other.catch_up().unwrap();
    let numbers = |book: &PowerBook| book.powers().map(|power| power.n).collect::<Vec<_>>();
    assert_eq!((numbers(&other), other.head()), (numbers(&one), one.head()));
    assert!(other.power(stays).unwrap().is_in_force(at(40)));
    other.end(stays, "done", &[], at(41)).unwrap();
}
