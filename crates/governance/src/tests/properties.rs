//! Whatever is done, and by whom, in whichever order: a version is live only with enough distinct persons other than its author.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::memory::*;
use crate::*;

/// What somebody does next.
#[derive(Debug, Clone)]
enum Step {
    Propose {
        level: u32,
        author: usize,
    },
    Approve {
        signer: usize,
        change: usize,
        reject: bool,
    },
    /// With a signature that was made for another change.
    Reuse {
        signer: usize,
        from: usize,
        to: usize,
    },
    Activate {
        change: usize,
    },
    Revoke {
        person: usize,
    },
    Restart,
    Wait {
        hours: i64,
    },
}

const PERSONS: [&str; 5] = ["ana", "ben", "cem", "dia", "eve"];

fn step() -> impl Strategy<Value = Step> {
    let (person, change) = (0..5usize, 0..6usize);
    prop_oneof![
        3 => (1..9u32, person.clone()).prop_map(|(level, author)| Step::Propose { level, author }),
        6 => (person.clone(), change.clone(), prop::bool::weighted(0.1))
            .prop_map(|(signer, change, reject)| Step::Approve { signer, change, reject }),
        2 => (person.clone(), change.clone(), change.clone()).prop_map(|(signer, from, to)| Step::Reuse { signer, from, to }),
        4 => change.prop_map(|change| Step::Activate { change }),
        1 => person.prop_map(|person| Step::Revoke { person }),
        1 => Just(Step::Restart),
        1 => (1..80i64).prop_map(|hours| Step::Wait { hours }),
    ]
}

/// A separate, plain account of who has validly approved what.
#[derive(Default)]
struct Account {
    changes: Vec<(Change, usize)>,
    approved: Vec<BTreeSet<usize>>,
    rejected: Vec<bool>,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn nothing_is_live_without_enough_valid_distinct_approvals(steps in prop::collection::vec(step(), 1..60)) {
        let people = people();
        // Eve has a key, and is not enrolled.
        let eve = key();
        let keys = [&people.ana, &people.ben, &people.cem, &people.dia, &eve];
        let (shared, mut governor) = governed(&people);
        let (mut account, mut now) = (Account::default(), 100);
        for step in steps {
            now += 1;
            match step {
                Step::Propose { level, author } => {
                    if let Ok(change) = governor.propose(&wish(content(level, REQUIRED), PERSONS[author]), at(now)) {
                        account.changes.push((change, author));
                        account.approved.push(BTreeSet::new());
                        account.rejected.push(false);
                    }
                }
                Step::Approve { signer, change, reject } => {
                    let Some((proposed, author)) = account.changes.get(change).cloned() else { continue };
                    let decision = if reject { Decision::Reject } else { Decision::Approve };
                    let instance = governor.standing().instance;
                    let approval = Approval::sign(instance, &proposed, decision, keys[signer], at(now));
                    let taken = governor.approve(proposed.id, &approval, at(now)).is_ok();
                    if taken {
                        prop_assert!(signer < 4 && (reject || signer != author));
                        if reject { account.rejected[change] = true } else { account.approved[change].insert(signer); }
                    }
                }
                Step::Reuse { signer, from, to } => {
                    let (Some((signed, _)), Some((other, _))) = (account.changes.get(from), account.changes.get(to)) else { continue };
                    if from == to { continue }
                    let approval = sign(&governor, signed, keys[signer], now);
                    prop_assert!(governor.approve(other.id, &approval, at(now)).is_err());
                }
                Step::Activate { change } => {
                    let Some((proposed, author)) = account.changes.get(change).cloned() else { continue };
                    let before = governor.n();
                    let revoked: BTreeSet<usize> = (0..4)
                        .filter(|person| governor.standing().approvers.owner(&keys[*person].public()).is_none())
                        .collect();
                    if governor.activate(proposed.id, "ops", at(now)).is_ok() {
                        let need = if proposed.class == Class::Tightens { 1 } else { 2 };
                        let mut valid = account.approved[change].clone();
                        valid.remove(&author);
                        valid.retain(|person| !revoked.contains(person));
                        prop_assert!(valid.len() >= need, "{valid:?} {proposed:?}");
                        prop_assert!(!account.rejected[change]);
                        prop_assert_eq!(proposed.base_n, before);
                        prop_assert!(at(now).as_microsecond() < proposed.expires);
                    }
                }
                Step::Revoke { person } => {
                    let mut set = governor.standing().approvers;
                    if person < 4 && set.revoke(PERSONS[person], None, at(now)).is_ok() {
                        let wished = Wish { kind: Kind::Keys, approvers: Some(set), ..wish(governor.live().unwrap(), "ops") };
                        if let Ok(change) = governor.propose(&wished, at(now)) {
                            for key in &keys[..4] {
                                let _ = governor.approve(change.id, &sign(&governor, &change, key, now), at(now));
                            }
                            let _ = governor.activate(change.id, "ops", at(now));
                        }
                    }
                }
                Step::Restart => {
                    let n = governor.n();
                    governor = shared.open().unwrap().0;
                    prop_assert_eq!(governor.n(), n);
                }
                Step::Wait { hours } => now += hours * 3_600,
            }
        }
        prop_assert_eq!(governor.verify_all().unwrap(), governor.n());
        prop_assert_eq!(shared.disk().head.unwrap().n, governor.n());
    }
}
