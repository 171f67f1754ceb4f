//! Who may have how much waiting.

use super::memory::{REQUIRED, at, content, governed, people, wish};
use crate::{Kind, MAX_OPEN, MAX_OPEN_OF_ONE, URGENT_OF_ONE, URGENT_OPEN, Wish};

/// Whatever name is typed, the account is known, and comes last.
fn by(level: u32, typed: &str, account: &str) -> Wish {
    let authors = [typed, account, &format!("uid:{account}")].map(str::to_owned);
    Wish { authors: authors.to_vec(), ..wish(content(level, REQUIRED), typed) }
}

#[test]
fn nobody_keeps_others_from_proposing_and_there_is_always_a_place_for_what_cannot_wait() {
    let people = people();
    let (_shared, mut governor) = governed(&people);
    let full = |outcome: Result<_, crate::GovernanceError>| outcome.map(|_: crate::Change| ()).unwrap_err().to_string();
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
