//! An activation that takes the place of one that is in force.

use super::*;

fn lasting(lasts_s: u64, approvals: u8) -> Asked {
    Asked { lasts_s, ..asked("user:alice", approvals) }
}

fn ended_as(book: &PowerBook, n: u64) -> String {
    match &book.power(n).unwrap().state {
        PowerState::Ended { reason, .. } => reason.clone(),
        state => panic!("{n}: {state:?}"),
    }
}

/// Finding of 2026-11: what was in force had to be ended before it could be asked for again, with a gap in between.
#[test]
fn what_needs_nobody_takes_the_place_of_the_same_without_a_gap_and_at_once() {
    let disk = Disk::default();
    let mut book = disk.open(at(0));
    let by = names(&["ops"]);
    let first = book.ask(lasting(600, 0), &by, at(0)).unwrap().n;
    // It would end no later, or hardly.
    for (lasts_s, now) in [(60, 1), (599, 1), (658, 1)] {
        assert!(refused(book.ask(lasting(lasts_s, 0), &by, at(now))).contains("is the same, and is in force"));
    }
    // All of it is written, or nothing.
    disk.with(|kept| kept.appends = Some(0));
    book.ask(lasting(1_200, 0), &by, at(300)).unwrap_err();
    assert!(book.power(first).unwrap().is_in_force(at(300)));
    disk.with(|kept| kept.appends = Some(1));
    let second = book.ask(lasting(1_200, 0), &by, at(300)).unwrap();
    disk.with(|kept| kept.appends = None);
    assert!(second.is_in_force(at(1_499)) && !second.is_in_force(at(1_500)));
    let ended = format!("extended as {}", second.n);
    for book in [&book, &disk.open(at(301))] {
        assert_eq!(ended_as(book, first), ended);
        let PowerState::Ended { ended, .. } = book.power(first).unwrap().state else { panic!("{book:?}") };
        let PowerState::InForce { began, .. } = book.power(second.n).unwrap().state else { panic!("{book:?}") };
        assert_eq!(ended, began);
        assert_eq!(book.extended_as(&second).map(|power| power.n).collect::<Vec<_>>(), [first]);
    }
    // Others, and other kinds, extend nothing.
    book.ask(Asked { gives: "other".to_owned(), ..lasting(9_000, 0) }, &by, at(302)).unwrap();
    book.ask(Asked { principal: "user:bob".to_owned(), ..lasting(9_000, 0) }, &by, at(302)).unwrap();
    let loan = Asked { kind: PowerKind::Loan, ..lasting(9_000, 0) };
    assert!(refused(book.ask(loan, &by, at(302))).contains("is the same, and is in force"));
    assert!(book.power(second.n).unwrap().is_in_force(at(302)));
}

#[test]
fn what_must_be_approved_waits_while_the_first_goes_on_and_takes_its_place_when_it_begins() {
    let disk = Disk::default();
    let mut book = disk.open(at(0));
    let alice = names(&["alice"]);
    let yes = |book: &mut PowerBook, of: u64, who: &str, now: i64| {
        book.approve_as(of, &names(&[who]), false, &nobody(), at(now)).unwrap()
    };
    let first = book.ask(lasting(600, 1), &alice, at(0)).unwrap().n;
    yes(&mut book, first, "ana", 0);
    let second = book.ask(lasting(600, 1), &alice, at(300)).unwrap().n;
    assert!(matches!(book.power(second).unwrap().state, PowerState::Waiting { .. }));
    assert!(book.power(first).unwrap().is_in_force(at(300)), "it goes on");
    assert!(refused(book.ask(lasting(900, 1), &alice, at(301))).contains("waits for an approval"), "one at a time");
    let began = yes(&mut book, second, "ben", 400);
    assert!(began.is_in_force(at(999)));
    assert_eq!(ended_as(&book, first), format!("extended as {second}"));
    // One that is refused changes nothing.
    let third = book.ask(lasting(600, 1), &alice, at(700)).unwrap().n;
    book.reject(third, "no", &names(&["ana"]), at(701)).unwrap();
    assert!(book.power(second).unwrap().is_in_force(at(701)));
    // And where the first is over by then there is nothing whose place it takes.
    let fourth = book.ask(lasting(600, 1), &alice, at(900)).unwrap().n;
    yes(&mut book, fourth, "ana", 1_100);
    assert_eq!(ended_as(&book, second), "its time is over");
    assert!(book.power(fourth).unwrap().is_in_force(at(1_101)));
}

/// Finding of 2026-11: whoever ended an activation with `extended as` and the next number had its end recorded twice, and the log said what had not happened.
#[test]
fn a_reason_that_somebody_gives_does_not_say_what_the_log_itself_says() {
    let disk = Disk::default();
    let mut book = disk.open(at(0));
    let by = names(&["ops"]);
    let first = book.ask(lasting(600, 0), &by, at(0)).unwrap().n;
    let waiting = book.ask(Asked { gives: "other".to_owned(), ..lasting(600, 1) }, &by, at(0)).unwrap().n;
    for prefix in ["extended as ", "granted as ", "opened as ", " Extended AS "] {
        let reason = format!("{prefix}5");
        let expected = format!("does not begin with `{}`", prefix.trim().to_lowercase());
        for given in [
            book.end(first, &reason, &by, at(1)),
            book.reject(waiting, &reason, &by, at(1)),
            book.end_all(&reason, &by, at(1)).map(|_| book.power(first).unwrap().clone()),
        ] {
            let why = refused(given);
            assert!(why.contains(&expected), "{reason:?}: {why}");
        }
    }
    // Nothing was written of that, and the same words further on are a reason like others.
    assert!(book.power(first).unwrap().is_in_force(at(1)));
    book.reject(waiting, "no longer granted as 5", &by, at(2)).unwrap();
    book.end(first, "extended at 5", &by, at(2)).unwrap();
    let second = book.ask(lasting(600, 0), &by, at(3)).unwrap();
    assert_eq!(book.extended_as(&second).count(), 0);
    // What an earlier version of the program let somebody write is read as it was.
    let reason = format!("extended as {}", second.n + 2);
    book.append(vec![Act::Ended { of: second.n, reason: reason.clone() }], &by, at(4)).unwrap();
    assert_eq!(ended_as(&disk.open(at(5)), second.n), reason);
}
