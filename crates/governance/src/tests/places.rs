//! Who may have how much waiting.

use super::memory::{REQUIRED, at, content, governed, people, wish};
use crate::{
    Change, GovernanceError, Kind, MAX_OPEN, MAX_OPEN_OF_ONE, URGENT_LAST_OF_ONE, URGENT_OF_ONE, URGENT_OPEN, Wish,
};

/// Whatever name is typed, the account is known, and comes last.
fn by(level: u32, typed: &str, account: &str) -> Wish {
    let authors = [typed, account, &format!("uid:{account}")].map(str::to_owned);
    Wish { authors: authors.to_vec(), ..wish(content(level, REQUIRED), typed) }
}

#[test]
fn nobody_keeps_others_from_proposing_and_there_is_always_a_place_for_what_cannot_wait() {
    let people = people();
    let (_shared, mut governor) = governed(&people);
    let full = why;
    // By the account, under another name each time.
    for n in 0..MAX_OPEN_OF_ONE {
        governor.propose(&by(6, &format!("name {n}"), "mallory"), at(2)).unwrap();
    }
    assert!(full(governor.propose(&by(6, "cem", "mallory"), at(2))).contains("as many proposals of one person"));
    // Whose name was typed has all of theirs still, and what tightens has some more.
    governor.propose(&by(6, "cem", "cem"), at(2)).unwrap();
    for _ in 0..URGENT_OF_ONE {
        governor.propose(&by(4, "mallory", "mallory"), at(2)).unwrap();
    }
    assert!(full(governor.propose(&by(4, "mallory", "mallory"), at(2))).contains("of one person"));
    let waiting = 1 + MAX_OPEN_OF_ONE + URGENT_OF_ONE;
    for n in waiting..MAX_OPEN - URGENT_OPEN {
        governor.propose(&by(6, "x", &format!("other {}", n % 4)), at(2)).unwrap();
    }
    let said = full(governor.propose(&by(6, "ben", "ben"), at(2)));
    assert!(said.contains("as many proposals wait as can") && said.contains("--all-of"), "{said}");
    governor.propose(&by(4, "ben", "ben"), at(2)).unwrap();
    let mut fewer = people.set.clone();
    fewer.revoke("dia", None, at(2)).unwrap();
    let keys = Wish { kind: Kind::Keys, approvers: Some(fewer), ..by(5, "ben", "ben") };
    let first = governor.propose(&keys, at(2)).unwrap();
    // What is rejected makes room.
    let theirs: Vec<_> = governor.proposals(at(2)).unwrap().into_iter().map(|proposal| proposal.change.id).collect();
    let [one, two, three] = [0, 1, 2].map(|n| theirs.iter().filter(|id| **id != first.id).nth(n).copied().unwrap());
    for id in [one, two, three] {
        governor.reject(id, at(3)).unwrap();
    }
    governor.propose(&by(6, "ben", "ben"), at(3)).unwrap();
}

fn with(names: &[&str]) -> Wish {
    let authors = names.iter().map(|&name| name.to_owned()).collect();
    Wish { authors, ..wish(content(6, REQUIRED), "x") }
}

fn why(outcome: Result<Change, GovernanceError>) -> String {
    outcome.map(|_| ()).unwrap_err().to_string()
}

/// Finding of 2026-11: the last name alone was compared, so that a person had one share by their account and another one by their principal, and a service and a
/// certificate shared that of the user of the same name.
#[test]
fn a_person_has_one_share_however_they_come_and_a_key_of_that_name_has_its_own() {
    let people = people();
    let (_shared, mut governor) = governed(&people);
    for _ in 0..MAX_OPEN_OF_ONE {
        governor.propose(&with(&["mallory", "unix:mallory", "uid:1000"]), at(2)).unwrap();
    }
    for theirs in [
        &["user:mallory", "mallory"][..],
        &["cem", "user:mallory", "mallory"],
        &["root", "unix:root", "uid:0", "mallory", "unix:mallory", "uid:1000"],
    ] {
        assert!(why(governor.propose(&with(theirs), at(2))).contains("of one person"), "{theirs:?}");
    }
    for others in [
        &["service:mallory", "mallory"][..],
        &["certificate:mallory", "mallory"],
        &["root", "unix:root", "uid:0"],
        &["mallory", "user:cem", "cem"],
    ] {
        governor.propose(&with(others), at(2)).unwrap_or_else(|error| panic!("{others:?}: {error}"));
    }
    // Ana is enrolled with the account `aw`, as which nobody may approve what she proposed.
    for _ in 0..MAX_OPEN_OF_ONE {
        governor.propose(&with(&["aw", "unix:aw", "uid:1001"]), at(2)).unwrap();
    }
    assert!(why(governor.propose(&with(&["user:ana", "ana"]), at(2))).contains("of one person"));
}

/// Finding of 2026-11: two who proposed one way back after the other had all places that are kept for what cannot wait.
#[test]
fn nobody_has_all_of_the_last_places_whatever_cannot_wait() {
    let people = people();
    let (_shared, mut governor) = governed(&people);
    let back = |who: &str| Wish { kind: Kind::Rollback, restores: 1, ..by(6, who, who) };
    let mut waiting = 0;
    for who in 0.. {
        for _ in 0..MAX_OPEN_OF_ONE.min(MAX_OPEN - URGENT_OPEN - waiting) {
            governor.propose(&back(&format!("early {who}")), at(2)).unwrap();
            waiting += 1;
        }
        if waiting == MAX_OPEN - URGENT_OPEN {
            break;
        }
    }
    // Whoever has many already gets none, and whoever has none gets a few.
    assert!(why(governor.propose(&back("early 0"), at(2))).contains("hardly any place is left"));
    for _ in 0..URGENT_LAST_OF_ONE {
        governor.propose(&back("mallory"), at(2)).unwrap();
    }
    assert!(why(governor.propose(&back("mallory"), at(2))).contains("hardly any place is left"));
    assert!(why(governor.propose(&by(6, "ben", "ben"), at(2))).contains("the last places are for"));
    for who in 1..URGENT_OPEN / URGENT_LAST_OF_ONE {
        for _ in 0..URGENT_LAST_OF_ONE {
            governor.propose(&back(&format!("late {who}")), at(2)).unwrap();
        }
    }
    assert!(why(governor.propose(&back("ben"), at(2))).contains("as many proposals wait as can"));
}
