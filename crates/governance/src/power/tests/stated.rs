//! Glass that was broken by a key, and rows that only say so.

use jiff::SignedDuration;

use super::*;

const INSTANCE: Hash = Hash([7; 32]);

fn breaking(principal: &str) -> Breaking {
    Breaking {
        instance: INSTANCE,
        principal: principal.to_owned(),
        gives: "role:admin,*".to_owned(),
        lasts_s: 3_600,
        reason: "the disk is full".to_owned(),
        ticket: String::new(),
    }
}

/// What stands in the log where glass was broken by this.
fn rows(statement: &Statement, asked_by: &Breaking) -> Vec<Act> {
    let asked = Asked {
        kind: PowerKind::BreakGlass,
        principal: asked_by.principal.clone(),
        gives: asked_by.gives.clone(),
        lasts_s: asked_by.lasts_s,
        reason: asked_by.reason.clone(),
        ticket: asked_by.ticket.clone(),
        approvals: 0,
        waits_s: 600,
    };
    let until = at(1_000).as_microsecond();
    vec![Act::Asked(asked), Act::Signed { of: 0, statement: Box::new(statement.clone()) }, Act::Began { of: 0, until }]
}

/// Writes powers into a table, each of these rows at that second.
fn written(powers: &[(Vec<Act>, i64)]) -> Disk {
    let disk = Disk::default();
    disk.with(|kept| {
        for (acts, second) in powers {
            let first = kept.records.last().map_or(0, |(n, _)| *n) + 1;
            for act in acts.iter().cloned() {
                let act = match act {
                    Act::Signed { statement, .. } => Act::Signed { of: first, statement },
                    Act::Began { until, .. } => Act::Began { of: first, until },
                    act => act,
                };
                let (n, prev) = kept.records.last().map_or((0, Hash::NONE), |(n, record)| (*n, Hash::of(record)));
                let entry = Entry { n: n + 1, prev, at: at(*second).as_microsecond(), by: names(&["x"]), act };
                kept.records.push((n + 1, entry.encode()));
            }
        }
    });
    disk
}

#[test]
fn what_is_read_of_glass_that_a_key_broke_holds_only_with_the_word_of_whom_it_is_for() {
    let [ana, ben, eve] = [(); 3].map(|()| SigningKey::generate().unwrap().0);
    let mut approvers = ApproverSet::default();
    approvers.add("ana", &names(&["user:alice"]), ana.public(), at(10)).unwrap();
    approvers.add("ben", &[], ben.public(), at(10)).unwrap();
    let demands = Demands { approvers, instance: INSTANCE, loosen: 2, since: i64::MIN };
    let hour = SignedDuration::from_hours(1);
    let signed =
        |breaking: Breaking, key: &SigningKey, second| Statement::sign(breaking, hour, key, at(second)).unwrap();
    let good = signed(breaking("user:alice"), &ana, 20);
    let check = |what: &str, disk: Disk, n: u64, holds: bool| {
        let book = PowerBook::read(Box::new(disk), Limits::default()).unwrap_or_else(|error| panic!("{what}: {error}"));
        let held = book.held_to(&demands, book.power(n).unwrap(), 0);
        assert_eq!(held, if holds { Ok(()) } else { Err(Unvouched::NotStated) }, "{what}");
        assert!(held.is_ok() || held.is_err_and(Unvouched::is_forged), "{what}");
    };
    let one = |statement: &Statement, second| written(&[(rows(statement, &statement.breaking), second)]);
    check("as it was signed", one(&good, 30), 1, true);
    let twice = [(rows(&good, &good.breaking), 30), (rows(&good, &good.breaking), 40)];
    check("the first use", written(&twice), 1, true);
    check("used once more", written(&twice), 4, false);
    check("by somebody else who is enrolled", one(&signed(breaking("user:alice"), &ben, 20), 30), 1, false);
    check("for somebody else", one(&signed(breaking("user:bob"), &ana, 20), 30), 1, false);
    check("by nobody who is enrolled", one(&signed(breaking("user:alice"), &eve, 20), 30), 1, false);
    check("before the key was enrolled", one(&signed(breaking("user:alice"), &ana, 9), 30), 1, false);
    check("when its time to be used was over", one(&good, 3_700), 1, false);
    check("long before it was signed", one(&signed(breaking("user:alice"), &ana, 900), 30), 1, false);
    let elsewhere = Breaking { instance: Hash([8; 32]), ..breaking("user:alice") };
    check("for another gateway", one(&signed(elsewhere, &ana, 20), 30), 1, false);
    let false_one = Statement { signature: [9; 64], ..good.clone() };
    check("with a signature that is none", one(&false_one, 30), 1, false);
    let long = Statement { until: good.until + 86_400_000_000, ..good.clone() };
    check("with another time than was signed", one(&long, 30), 1, false);
    // What `access verify` looks for.
    let first_false = |disk: Disk| {
        let book = PowerBook::read(Box::new(disk), Limits::default()).unwrap();
        book.first_false_signature(INSTANCE).map(|power| power.n)
    };
    assert_eq!((first_false(one(&good, 30)), first_false(one(&false_one, 30))), (None, Some(1)));
    // Nor is what was asked for another thing than what was signed, and nobody signs twice.
    let more = Breaking { gives: "role:owner,*".to_owned(), ..breaking("user:alice") };
    let other = PowerBook::read(Box::new(written(&[(rows(&good, &more), 30)])), Limits::default()).unwrap_err();
    assert!(other.to_string().contains("what was signed is something else"), "{other}");
    let mut acts = rows(&good, &good.breaking);
    acts.insert(2, Act::Signed { of: 0, statement: Box::new(good.clone()) });
    let again = PowerBook::read(Box::new(written(&[(acts, 30)])), Limits::default()).unwrap_err();
    assert!(again.to_string().contains("two statements"), "{again}");
}
