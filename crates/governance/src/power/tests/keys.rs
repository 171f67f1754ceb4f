//! Glass is broken by a key by who may, for themselves, once, and by every word of what they signed.

use jiff::SignedDuration;

use super::*;

const INSTANCE: Hash = Hash([7; 32]);

/// Ana, who is `user:alice`, with a key since second 10; and ben.
struct Persons {
    set: ApproverSet,
    ana: SigningKey,
    ben: SigningKey,
}

impl Persons {
    fn new() -> Self {
        let (ana, ben) = (SigningKey::generate().unwrap().0, SigningKey::generate().unwrap().0);
        let mut set = ApproverSet::default();
        set.add("ana", &names(&["user:alice"]), ana.public(), at(10)).unwrap();
        set.add("ben", &[], ben.public(), at(10)).unwrap();
        Self { set, ana, ben }
    }

    fn terms<'t>(&'t self, signers: &'t [String]) -> KeyTerms<'t> {
        KeyTerms { instance: INSTANCE, approvers: &self.set, signers, waits_s: 600 }
    }
}

fn breaking() -> Breaking {
    Breaking {
        instance: INSTANCE,
        principal: "user:alice".to_owned(),
        gives: "role:admin,*".to_owned(),
        lasts_s: 3_600,
        reason: "the disk is full".to_owned(),
        ticket: "OPS-1".to_owned(),
    }
}

fn hour() -> SignedDuration {
    SignedDuration::from_hours(1)
}

fn signed(breaking: Breaking, key: &SigningKey, now: i64) -> Statement {
    Statement::sign(breaking, hour(), key, at(now)).unwrap()
}

#[test]
fn a_statement_opens_once_also_over_a_restart_and_a_log_that_is_full() {
    let (disk, persons, signers) = (Disk::default(), Persons::new(), names(&["ana"]));
    let mut book = disk.open(at(20));
    let statement = signed(breaking(), &persons.ana, 20);
    // It is carried as text.
    let statement = Statement::from_armored(&statement.armored()).unwrap();
    assert!(!format!("{statement:?}").contains("signature"));
    let power = book.break_by_key(&statement, persons.terms(&signers), &names(&["ops"]), at(30)).unwrap();
    assert_eq!((power.asked.kind, power.asked.gives.as_str()), (PowerKind::BreakGlass, "role:admin,*"));
    assert_eq!((power.asked.reason.as_str(), power.asked.ticket.as_str()), ("the disk is full", "OPS-1"));
    assert!(power.is_in_force(at(3_629)) && !power.is_in_force(at(3_630)) && power.is_unreviewed());
    assert_eq!(power.statement.as_ref().map(|used| used.key), Some(persons.ana.public()));
    let again =
        |book: &mut PowerBook, now: i64| refused(book.break_by_key(&statement, persons.terms(&signers), &[], at(now)));
    assert!(again(&mut book, 31).contains("good once"));
    book.end(power.n, "mended", &[], at(40)).unwrap();
    assert!(again(&mut book, 41).contains("good once"), "also once it has ended");
    drop(book);
    let mut book = disk.open(at(50));
    assert_eq!(book.power(power.n).unwrap().statement, power.statement);
    assert!(again(&mut book, 51).contains("good once"));
    // Reviewed, it may go with the oldest entries, but not before it could not be used any more.
    for reviewer in ["ben", "cem"] {
        let who = Reviewer::Account { names: &names(&[reviewer]), is_shared: false };
        book.review(power.n, "", who, &nobody(), at(60)).unwrap();
    }
    book.limit(Limits { entries: 10, ..Limits::default() });
    for n in 0..20 {
        let short = Asked { lasts_s: 1, gives: format!("g{n}"), ..asked("user:bert", 0) };
        book.ask(short, &names(&["ops"]), at(100 + 2 * n)).unwrap();
    }
    assert!(again(&mut book, 200).contains("good once"), "while the log is full");
    assert!(again(&mut book, 3_620).contains("time to be used is over"));
    for n in 0..20 {
        let short = Asked { lasts_s: 1, gives: format!("h{n}"), ..asked("user:bert", 0) };
        book.ask(short, &names(&["ops"]), at(4_000 + 2 * n)).unwrap();
    }
    assert!(book.power(power.n).is_err(), "then it has gone");
    assert!(again(&mut book, 4_100).contains("time to be used is over"));
}

#[test]
fn no_word_of_a_statement_can_be_changed() {
    let (persons, signers) = (Persons::new(), names(&["ana", "ben"]));
    let change = |what: &str, change: &dyn Fn(&mut Statement)| {
        let mut book = Disk::default().open(at(20));
        let mut statement = signed(breaking(), &persons.ana, 20);
        change(&mut statement);
        let why = refused(book.break_by_key(&statement, persons.terms(&signers), &[], at(30)));
        assert!(why.contains("the signature is not one under this statement"), "{what}: {why}");
        assert_eq!(book.head().0, 0, "{what}");
    };
    change("instance", &|it| it.breaking.instance = Hash([8; 32]));
    change("principal", &|it| it.breaking.principal = "user:ben".to_owned());
    change("gives", &|it| it.breaking.gives = "role:root,*".to_owned());
    change("lasts_s", &|it| it.breaking.lasts_s += 1);
    change("reason", &|it| it.breaking.reason.push('!'));
    change("ticket", &|it| it.breaking.ticket.clear());
    change("signed", &|it| it.signed += 1);
    change("until", &|it| it.until += 1);
    change("nonce", &|it| it.nonce[15] ^= 1);
    change("key", &|it| it.key = persons.ben.public());
    change("signature", &|it| it.signature[0] ^= 1);
    // What moves from one text to the next is another text.
    change("two texts", &|it| {
        it.breaking.reason.push_str("OPS-1");
        it.breaking.ticket.clear();
    });
}

#[test]
fn a_statement_holds_for_its_time_its_gateway_and_its_signer_alone() {
    let (persons, signers) = (Persons::new(), names(&["ana"]));
    let refusal = |statement: &Statement, terms: KeyTerms<'_>, now: i64| {
        let mut book = Disk::default().open(at(20));
        refused(book.break_by_key(statement, terms, &[], at(now)))
    };
    let check = |statement: Statement, now: i64, words: &str| {
        let why = refusal(&statement, persons.terms(&signers), now);
        assert!(why.contains(words), "{why}");
    };
    let own = |now: i64| signed(breaking(), &persons.ana, now);
    check(own(20), 3_620, "its time to be used is over");
    check(own(20 + 301), 20, "lies ahead");
    check(own(9), 30, "before the key was enrolled");
    // What is signed to be good for longer than may be.
    let mut long = own(20);
    long.until += SignedDuration::from_hours(24).as_micros() as i64;
    long.signature = persons.ana.sign(&long.signed_bytes());
    check(long, 30, "longer than a statement may be");
    let elsewhere = Breaking { instance: Hash([8; 32]), ..breaking() };
    check(signed(elsewhere, &persons.ana, 20), 30, "another gateway");
    let other = Breaking { principal: "user:bert".to_owned(), ..breaking() };
    check(signed(other, &persons.ana, 20), 30, "for oneself alone");
    // A service, or another case, is somebody else.
    for principal in ["service:ana", "certificate:alice", "user:Ana", "alice"] {
        let other = Breaking { principal: principal.to_owned(), ..breaking() };
        check(signed(other, &persons.ana, 20), 30, "for oneself alone");
    }
    check(signed(Breaking { reason: " ".to_owned(), ..breaking() }, &persons.ana, 20), 30, "does not say why");
    check(
        signed(Breaking { principal: "user:ben".to_owned(), ..breaking() }, &persons.ben, 20),
        30,
        "does not name ben",
    );
    let stranger = SigningKey::generate().unwrap().0;
    check(signed(breaking(), &stranger, 20), 30, "nobody's who is enrolled");
    let mut revoked = persons.set.clone();
    revoked.revoke("ana", None, at(25)).unwrap();
    let terms = KeyTerms { approvers: &revoked, ..persons.terms(&signers) };
    assert!(refusal(&own(20), terms, 30).contains("is revoked"));
    // Where governance has not begun, no statement is for this gateway.
    let none = Breaking { instance: Hash::NONE, ..breaking() };
    let terms = KeyTerms { instance: Hash::NONE, ..persons.terms(&signers) };
    assert!(refusal(&signed(none, &persons.ana, 20), terms, 30).contains("another gateway"));
    // What it says stays in the log.
    let long = Breaking { gives: format!("role:admin,{}", "r,".repeat(2_048)), ..breaking() };
    assert!(refusal(&signed(long, &persons.ana, 20), persons.terms(&signers), 30).contains("longer than 4096 bytes"));
    // By the name of the person, too, and at the end of its time.
    let mut book = Disk::default().open(at(20));
    let by_name = Breaking { principal: "user:ana".to_owned(), ..breaking() };
    assert!(book.break_by_key(&signed(by_name, &persons.ana, 20), persons.terms(&signers), &[], at(3_619)).is_ok());
}

#[test]
fn so_many_are_not_reviewed_and_a_full_log_keeps_nobody_out() {
    let (disk, persons, signers) = (Disk::default(), Persons::new(), names(&["ana"]));
    let mut book = disk.open(at(20));
    book.limit(Limits { most: 1, entries: 1, ..Limits::default() });
    let open = |book: &mut PowerBook, n: usize| {
        let one = Breaking { gives: format!("role:r{n},*"), ..breaking() };
        book.break_by_key(&signed(one, &persons.ana, 20), persons.terms(&signers), &names(&["ops"]), at(30))
    };
    for n in 0..UNREVIEWED {
        open(&mut book, n).unwrap();
    }
    assert!(refused(open(&mut book, 99)).contains("are not reviewed"));
    // Nor by another name of the same person.
    let other = Breaking { principal: "user:ana".to_owned(), ..breaking() };
    let terms = persons.terms(&signers);
    let tried = book.break_by_key(&signed(other, &persons.ana, 20), terms, &names(&["ops"]), at(30));
    assert!(refused(tried).contains("that ana broke by a key are not reviewed"));
    for reviewer in ["ben", "cem"] {
        let who = Reviewer::Account { names: &names(&[reviewer]), is_shared: false };
        book.review(1, "", who, &nobody(), at(31)).unwrap();
    }
    open(&mut book, 99).unwrap();
    // Whoever signed, or carried it, is none who reviews it.
    for own in ["ana", "ops"] {
        let who = Reviewer::Account { names: &names(&[own]), is_shared: false };
        let approvers = persons.set.approvers.iter().cloned().map(revoked).collect();
        let approvers = ApproverSet { approvers, recovery: None };
        assert!(refused(book.review(4, "", who, &approvers, at(32))).contains("cannot review it"), "{own}");
    }
}

/// The same person without a key that counts, so that accounts may speak for themselves.
fn revoked(mut approver: crate::approver::Approver) -> crate::approver::Approver {
    approver.keys.iter_mut().for_each(|key| key.revoked = Some(1));
    approver
}

/// Also with the sealed code of the same person.
#[test]
fn what_waits_or_is_about_to_end_keeps_nobody_from_breaking_glass() {
    let (disk, persons, signers) = (Disk::default(), Persons::new(), names(&["ana"]));
    let mut book = disk.open(at(20));
    let (_, code, broken) = sealed(&mut book, 0);
    // Somebody who may grant has made a loan of the very same, which waits for others; and one is in force for a minute more.
    let loan = Asked { kind: PowerKind::Loan, approvals: 1, waits_s: 86_400, ..broken.clone() };
    book.ask(loan, &names(&["ops"]), at(21)).unwrap();
    let by_code = book.break_seal(code, broken.clone(), &[], at(22)).unwrap();
    assert!(by_code.is_in_force(at(22)));
    let end = 22 + 3_600;
    // While it lasts as long as what is wanted, one more is needless, and the statement stays good.
    let statement = signed(Breaking { lasts_s: 600, ..breaking() }, &persons.ana, 30);
    let by_key = |book: &mut PowerBook, now: i64| book.break_by_key(&statement, persons.terms(&signers), &[], at(now));
    assert!(refused(by_key(&mut book, 31)).contains("is the same"));
    let later = by_key(&mut book, end - 60).unwrap();
    assert!(later.is_in_force(at(end + 530)) && !later.is_in_force(at(end + 540)));
    assert!(refused(by_key(&mut book, end - 59)).contains("good once"));
    // Nobody else has more of it for that: an operator's loan is still refused.
    let loan = Asked { kind: PowerKind::Loan, ..broken };
    assert!(refused(book.ask(loan, &names(&["ops"]), at(end - 58))).contains("is the same"));
}
