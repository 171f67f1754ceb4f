//! Rows that the file beside the store does not know, and an operator wants taken.

use super::forged::{approver, began, forge, instance, of_kind};
use super::*;

/// What happens of what nobody knows of.
type Case<'c> = (&'c str, Vec<Act>, Result<usize, Untakeable>);

/// One that waits for an approval, and is known; and how far the log is known.
fn known(disk: &Disk) -> (u64, Hash, PowerAnchor) {
    let mut book = disk.open(at(0));
    let power = book.ask(asked("user:alice", 1), &names(&["alice"]), at(0)).unwrap();
    let (n, record) = disk.with(|kept| kept.records.last().cloned()).unwrap();
    (power.n, power.hash, PowerAnchor::at((n, Hash::of(&record))))
}

#[test]
fn only_what_was_signed_by_whoever_had_to_is_taken() {
    let mut set = ApproverSet::default();
    let ana = approver(&mut set, "ana");
    let gone = approver(&mut set, "ben");
    set.revoke("ben", None, at(-50)).unwrap();
    let stranger = SigningKey::generate().unwrap().0;
    let demands = Demands { approvers: set, instance: instance(), loosen: 2, since: i64::MIN };
    let first = Disk::default();
    let (of, hash, _) = known(&first);
    let word = |key: &SigningKey, entry, decision| Some(Word::sign(instance(), entry, decision, key, at(1)));
    let says = |key: &SigningKey| Act::Approved { of, word: word(key, hash, Decision::Approve) };
    let approved = |word| Act::Approved { of, word };
    let cases: Vec<Case<'_>> = vec![
        ("nothing", vec![], Ok(0)),
        ("by an approver", vec![says(&ana), began(of)], Ok(2)),
        ("by an account", vec![approved(None)], Err(Untakeable::Unsigned(2))),
        ("by a stranger", vec![says(&stranger)], Err(Untakeable::Unsigned(2))),
        ("by a key that was revoked", vec![says(&gone)], Err(Untakeable::Unsigned(2))),
        ("a no as a yes", vec![approved(word(&ana, hash, Decision::Reject))], Err(Untakeable::Unsigned(2))),
        (
            "signed under another",
            vec![approved(word(&ana, instance(), Decision::Approve))],
            Err(Untakeable::Unsigned(2)),
        ),
        (
            "of another gateway",
            vec![approved(Some(Word::sign(hash, hash, Decision::Approve, &ana, at(1))))],
            Err(Untakeable::Unsigned(2)),
        ),
        (
            "a review by nobody",
            vec![says(&ana), began(of), Act::Reviewed { of, remark: String::new(), word: None }],
            Err(Untakeable::Unsigned(4)),
        ),
        ("what lets others go", vec![Act::Forgot { up_to: 1, left: Hash::of(&hash.0) }], Err(Untakeable::Forgot(2))),
        ("what only takes away", vec![Act::Rejected { of, reason: "x".to_owned() }], Ok(1)),
    ];
    for (name, acts, expected) in cases {
        // The same log, so that what was signed is under it.
        let disk = Disk::default();
        let (_, same, anchor) = known(&disk);
        assert_eq!(same, hash);
        forge(&disk, acts, 2);
        let book = PowerBook::read_rows(Box::new(disk.clone()), Limits::default()).unwrap();
        let unknown = book.unknown_to(Some(&anchor)).unwrap().unwrap();
        let found = book.are_takeable(&unknown, &demands, at(3)).map(|()| unknown.len());
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn what_is_known_must_be_there_and_nothing_is_from_tomorrow() {
    let demands = Demands { approvers: nobody(), instance: instance(), loosen: 2, since: i64::MIN };
    let disk = Disk::default();
    let (of, _, anchor) = known(&disk);
    forge(&disk, vec![Act::Rejected { of, reason: "x".to_owned() }], 400);
    let read = || PowerBook::read_rows(Box::new(disk.clone()), Limits::default()).unwrap();
    let (book, count) = (read(), |found: Result<Vec<Entry>, Untakeable>| found.map(|found| found.len()));
    let unknown = |anchor: Option<PowerAnchor>| count(book.unknown_to(anchor.as_ref()).unwrap());
    assert_eq!((unknown(Some(anchor)), unknown(None)), (Ok(1), Ok(2)));
    // The process ended before, or behind, what it was about to append.
    let PowerAnchor { known: (n, hash), .. } = anchor;
    assert_eq!(unknown(Some(PowerAnchor { known: (0, Hash::NONE), next: (n, hash) })), Ok(1));
    assert_eq!(unknown(Some(PowerAnchor { known: (0, Hash::NONE), next: (n, instance()) })), Ok(2));
    assert_eq!(unknown(Some(PowerAnchor { known: (n, hash), next: (n + 1, instance()) })), Ok(1));
    // One that is known is another one, or is gone.
    assert_eq!(unknown(Some(PowerAnchor::at((n, instance())))), Err(Untakeable::CutOff(n)));
    assert_eq!(unknown(Some(PowerAnchor::at((n + 7, hash)))), Err(Untakeable::CutOff(n + 7)));
    let entries = book.unknown_to(Some(&anchor)).unwrap().unwrap();
    assert_eq!(book.are_takeable(&entries, &demands, at(99)), Err(Untakeable::Ahead(2)));
    assert_eq!(book.are_takeable(&entries, &demands, at(101)), Ok(()), "clocks may differ by five minutes");
}

/// Finding of 2026-11: where an end was cut off, and the file beside the store could not be read, what had ended was in force again.
#[test]
fn taking_gives_nobody_anything() {
    let disk = Disk::default();
    let (_, _, anchor) = known(&disk);
    let code = Hash::of(b"code");
    forge(
        &disk,
        vec![
            Act::Asked(of_kind(PowerKind::Seal, &code.to_string(), 0)),
            began(2),
            Act::Asked(of_kind(PowerKind::BreakGlass, "role:admin,*", 0)),
            Act::Ended { of: 2, reason: "opened as 4".to_owned() },
            began(4),
            Act::Asked(of_kind(PowerKind::Activation, "on-call", 0)),
            began(7),
            Act::Asked(of_kind(PowerKind::Loan, "role:admin,*", 1)),
        ],
        2,
    );
    let take = |anchor: Option<PowerAnchor>| {
        let mut book = PowerBook::read_rows(Box::new(disk.clone()), Limits::default()).unwrap();
        let unknown = book.unknown_to(anchor.as_ref()).unwrap().unwrap();
        book.end_what_is_touched(&unknown, "nobody vouches", &names(&["root"]), at(3)).unwrap()
    };
    let open = || {
        let book = disk.open(at(4));
        let is_open = |power: &&Power| matches!(power.state, PowerState::InForce { .. } | PowerState::Waiting { .. });
        let open: Vec<u64> = book.powers().filter(is_open).map(|power| power.n).collect();
        open
    };
    assert_eq!(take(Some(anchor)), 3, "glass, an activation, and a loan that waits");
    assert_eq!(open(), [1], "what was known, and nothing of theirs is about it");
    assert_eq!(take(None), 1);
    assert!(open().is_empty());
}
