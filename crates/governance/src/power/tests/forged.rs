//! Rows that no gateway wrote: finding of 2026-11, by which two of them gave anybody any role.

use super::*;

/// An enrolled person.
pub(super) fn approver(set: &mut ApproverSet, name: &str) -> SigningKey {
    let key = SigningKey::generate().unwrap().0;
    set.add(name, &[], key.public(), at(-100)).unwrap();
    key
}

pub(super) fn instance() -> Hash {
    Hash::of(b"this gateway")
}

/// Adds what somebody writes into the table, in order and well chained.
pub(super) fn forge(disk: &Disk, acts: Vec<Act>, second: i64) {
    disk.with(|kept| {
        for act in acts {
            let (n, prev) = kept.records.last().map_or((0, Hash::NONE), |(n, record)| (*n, Hash::of(record)));
            let entry = Entry { n: n + 1, prev, at: at(second).as_microsecond(), by: names(&["x"]), act };
            kept.records.push((n + 1, entry.encode()));
        }
    });
}

pub(super) fn of_kind(kind: PowerKind, gives: &str, approvals: u8) -> Asked {
    Asked { kind, gives: gives.to_owned(), ..asked("user:alice", approvals) }
}

pub(super) fn began(of: u64) -> Act {
    Act::Began { of, until: at(1_000).as_microsecond() }
}

#[test]
fn what_somebody_writes_into_the_table_is_told_by_what_lies_beside_it() {
    let disk = Disk::default();
    disk.with(|kept| kept.anchor = Some(PowerAnchor::at((0, Hash::NONE))));
    let mut book = disk.open(at(0));
    let good = book.ask(asked("user:alice", 0), &[], at(0)).unwrap().n;
    let before = disk.with(|kept| kept.records.clone());
    forge(&disk, vec![Act::Asked(of_kind(PowerKind::Loan, "role:admin,*", 0)), began(3)], 1);
    let heard = book.catch_up().unwrap_err().to_string();
    assert!(heard.contains("the file beside the store does not know it"), "{heard}");
    assert!(book.power(good).unwrap().is_in_force(at(2)) && book.power(3).is_err(), "what was known is as it was");
    assert!(PowerBook::open(Box::new(disk.clone()), Limits::default(), at(2)).is_err(), "nor by a restart");
    // The last row taken away: what ended would be in force again.
    disk.with(|kept| kept.records = before.clone());
    book.catch_up().unwrap();
    book.end(good, "done", &[], at(3)).unwrap();
    disk.with(|kept| kept.records.truncate(before.len()));
    let cut = PowerBook::open(Box::new(disk.clone()), Limits::default(), at(4)).unwrap_err().to_string();
    assert!(cut.contains("what came behind it is not there any more"), "{cut}");
    // What an earlier version of the program ends while it is replaced gives nobody anything.
    disk.with(|kept| {
        let (n, record) = kept.records.last().unwrap();
        kept.anchor = Some(PowerAnchor::at((*n, Hash::of(record))));
    });
    forge(&disk, vec![Act::Ended { of: good, reason: "its time is over".to_owned() }], 5);
    assert!(!disk.open(at(6)).power(good).unwrap().is_in_force(at(6)));
    // A process that ended between the two.
    let (n, record) = disk.with(|kept| kept.records.last().cloned()).unwrap();
    let known = disk.with(|kept| kept.anchor).unwrap().known;
    for anchor in [
        PowerAnchor { known, next: (n, Hash::of(&record)) },
        PowerAnchor { known: (n, Hash::of(&record)), next: (n + 1, Hash::NONE) },
    ] {
        disk.with(|kept| kept.anchor = Some(anchor));
        assert_eq!(disk.open(at(6)).head().0, 3);
    }
}

#[test]
fn a_row_gives_something_only_with_the_signatures_that_it_needs() {
    let mut approvers = ApproverSet::default();
    let [ana, ben, alice] = ["ana", "ben", "alice"].map(|name| approver(&mut approvers, name));
    let demands = |approvers: &ApproverSet, loosen| Demands {
        approvers: approvers.clone(),
        instance: instance(),
        loosen,
        since: i64::MIN,
    };
    let held = |disk: &Disk, n: u64, demands: &Demands, policy: u8| {
        let book = PowerBook::read(Box::new(disk.clone()), Limits::default()).unwrap();
        book.held_to(demands, book.power(n).unwrap(), policy)
    };
    let unsigned = |asked: Asked| {
        let disk = Disk::default();
        let approvals = usize::from(asked.approvals);
        let approved = std::iter::repeat_n(Act::Approved { of: 1, word: None }, approvals);
        forge(&disk, std::iter::once(Act::Asked(asked)).chain(approved).chain([began(1)]).collect(), 0);
        disk
    };
    let two = demands(&approvers, 2);
    let forged = [
        (of_kind(PowerKind::Loan, "role:admin,*", 0), 0, Err(Unvouched::Unsigned)),
        (of_kind(PowerKind::Loan, "role:admin,*", 2), 0, Err(Unvouched::Unsigned)),
        (of_kind(PowerKind::Seal, "00", 0), 0, Err(Unvouched::Unsigned)),
        (of_kind(PowerKind::BreakGlass, "role:admin,*", 0), 0, Err(Unvouched::NoSeal)),
        (of_kind(PowerKind::Activation, "on-call", 0), 1, Err(Unvouched::Unsigned)),
        (of_kind(PowerKind::Activation, "on-call", 1), 1, Err(Unvouched::Unsigned)),
        // The policy gives it, and demands nobody's word.
        (of_kind(PowerKind::Activation, "on-call", 0), 0, Ok(())),
    ];
    for (asked, policy, expected) in forged {
        assert_eq!(held(&unsigned(asked.clone()), 1, &two, policy), expected, "{asked:?} {policy}");
    }
    // Signed under this entry, by persons who may.
    let signed = |keys: &[&SigningKey], approvals: u8, of_instance: Hash| {
        let disk = Disk::default();
        forge(&disk, vec![Act::Asked(of_kind(PowerKind::Loan, "role:admin,*", approvals))], 0);
        let hash = Hash::of(&disk.with(|kept| kept.records[0].1.clone()));
        let word = |key: &&SigningKey| Word::sign(of_instance, hash, Decision::Approve, key, at(1));
        forge(&disk, keys.iter().map(|key| Act::Approved { of: 1, word: Some(word(key)) }).collect(), 1);
        forge(&disk, vec![began(1)], 2);
        disk
    };
    type Case<'k> = (&'k [&'k SigningKey], u8, Hash, Result<(), Unvouched>);
    let cases: [Case<'_>; 5] = [
        (&[&ana, &ben], 2, instance(), Ok(())),
        (&[&ana], 1, instance(), Err(Unvouched::TooFew)),
        (&[&ana, &ana], 2, instance(), Err(Unvouched::Unsigned)),
        (&[&ana, &alice], 2, instance(), Err(Unvouched::Unsigned)),
        (&[&ana, &ben], 2, Hash::of(b"another gateway"), Err(Unvouched::Unsigned)),
    ];
    for (at_case, (keys, approvals, of_instance, expected)) in cases.into_iter().enumerate() {
        let disk = signed(keys, approvals, of_instance);
        assert_eq!(held(&disk, 1, &two, 0), expected, "{at_case}");
        let book = PowerBook::read(Box::new(disk), Limits::default()).unwrap();
        assert_eq!(book.first_false_signature(instance()).is_some(), of_instance != instance(), "{at_case}");
    }
    let good = signed(&[&ana, &ben], 2, instance());
    // A key that is revoked since counts for what it signed before, and for nothing after.
    for (second, expected) in [(2, Ok(())), (1, Err(Unvouched::CountsNoMore)), (0, Err(Unvouched::CountsNoMore))] {
        let mut later = approvers.clone();
        later.revoke("ben", None, at(second)).unwrap();
        assert_eq!(held(&good, 1, &demands(&later, 2), 0), expected, "{second}");
    }
    assert_eq!(held(&good, 1, &demands(&approvers, 3), 0), Err(Unvouched::TooFew));
}

#[test]
fn broken_glass_is_bound_to_a_code_that_was_signed() {
    let mut approvers = ApproverSet::default();
    let [ana, ben] = ["ana", "ben"].map(|name| approver(&mut approvers, name));
    let disk = Disk::default();
    let mut book = disk.open(at(0));
    let code = Hash::of(b"code");
    let seal = book.ask(of_kind(PowerKind::Seal, &code.to_string(), 2), &names(&["ops"]), at(0)).unwrap();
    for key in [&ana, &ben] {
        let word = Word::sign(instance(), seal.hash, Decision::Approve, key, at(1));
        book.approve_signed(seal.n, word, instance(), &approvers, at(1)).unwrap();
    }
    let broken = book.break_seal(code, of_kind(PowerKind::BreakGlass, "role:admin,*", 0), &[], at(2)).unwrap();
    let demands = Demands { approvers, instance: instance(), loosen: 2, since: i64::MIN };
    assert_eq!(book.held_to(&demands, &broken, 0), Ok(()));
    assert_eq!(book.held_to(&Demands { loosen: 3, ..demands.clone() }, &broken, 0), Err(Unvouched::TooFew));
    // Another one that says so, of somebody else, and of a code that was never signed.
    let bert = Asked { principal: "user:bert".to_owned(), ..of_kind(PowerKind::BreakGlass, "role:admin,*", 0) };
    let n = disk.with(|kept| kept.records.len() as u64);
    forge(&disk, vec![Act::Asked(bert), began(n + 1)], 3);
    let read = PowerBook::read(Box::new(disk.clone()), Limits::default()).unwrap();
    assert_eq!(read.held_to(&demands, read.power(n + 1).unwrap(), 0), Err(Unvouched::NoSeal));
    // While it is not reviewed the seal stays in the log with it, however full that is.
    let mut book = PowerBook::open(Box::new(disk), Limits { entries: 20, ..Limits::default() }, at(4)).unwrap();
    for second in 5..40 {
        let own = book.ask(asked("user:carl", 0), &[], at(second)).unwrap().n;
        book.end(own, "done", &[], at(second)).unwrap();
    }
    assert!(book.head().0 < 40, "old entries were let go");
    assert_eq!(book.held_to(&demands, book.power(broken.n).unwrap(), 0), Ok(()));
}

/// Finding of 2026-11: what was forged was told by how the reason of its end began, which anybody could have written who may end something: `access verify` said then that
/// somebody had written to the store.
#[test]
fn what_nobody_can_have_approved_is_known_by_its_entry_and_by_no_reason() {
    let disk = Disk::default();
    let mut book = disk.open(at(0));
    let by = names(&["ops"]);
    let is_unvouched = |book: &PowerBook, n: u64| match &book.power(n).unwrap().state {
        PowerState::Ended { is_unvouched, reason, .. } => (*is_unvouched, reason.clone()),
        state => panic!("{n}: {state:?}"),
    };
    let [typed, found, earlier] = ["a", "b", "c"].map(|gives| {
        let asked = Asked { gives: gives.to_owned(), ..asked("user:alice", 0) };
        book.ask(asked, &by, at(0)).unwrap().n
    });
    let why = Unvouched::Unsigned;
    let reason = format!("it was not approved as it had to be: {why}");
    book.end(typed, &reason, &by, at(1)).unwrap();
    book.end_unvouched(found, why, at(1)).unwrap();
    assert!(refused(book.end_unvouched(found, why, at(1))).contains("has ended"));
    // As an earlier version of the program wrote it, in nobody's name.
    book.append(vec![Act::Ended { of: earlier, reason: reason.clone() }], &[], at(1)).unwrap();
    for book in [&book, &disk.open(at(2))] {
        assert_eq!(is_unvouched(book, typed), (false, reason.clone()));
        assert_eq!(is_unvouched(book, found), (true, reason.clone()));
        assert_eq!(is_unvouched(book, earlier), (true, reason.clone()));
    }
}
