//! Contents that refer to a variable of the environment, and what is only looked at. Findings of 2026-11.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::tests::memory;
use crate::tests::memory::*;
use crate::*;

/// Reads contents as [`Lines`] does, and what is governed of them is also the value of a variable.
#[derive(Debug, Clone)]
struct Variable(Arc<AtomicU32>);

impl PolicySource for Variable {
    fn assess(&self, content: &Content) -> Result<Assessed, String> {
        let assessed = Lines.assess(content)?;
        let value = self.0.load(Ordering::Relaxed).to_be_bytes();
        Ok(Assessed { governed: Hash::of(&[&assessed.governed.0[..], &value].concat()), ..assessed })
    }

    fn class(&self, before: &Content, after: &Content) -> Class {
        // Both are read with the same value.
        if before == after { Class::Neutral } else { Lines.class(before, after) }
    }
}

fn open(shared: &Shared, variable: &Variable) -> Result<Governor, GovernanceError> {
    let opened = Governor::open(Box::new(shared.clone()), Box::new(shared.clone()), Box::new(variable.clone()), None);
    opened.map(|(governor, _)| governor)
}

/// Governed since version 1, with the value 1.
fn governed(people: &People) -> (Shared, Variable, Governor) {
    let (shared, variable) = (Shared::default(), Variable(Arc::new(AtomicU32::new(1))));
    let mut governor = open(&shared, &variable).unwrap();
    let begin = Wish { kind: Kind::Keys, approvers: Some(people.set.clone()), ..wish(content(5, REQUIRED), "root") };
    governor.begin(&begin, at(1)).unwrap();
    (shared, variable, governor)
}

#[test]
fn another_value_of_a_variable_is_approved_like_what_cannot_be_compared() {
    let people = people();
    let (_, variable, mut governor) = governed(&people);
    let class = |governor: &mut Governor, level| {
        governor.propose(&wish(content(level, REQUIRED), "x"), at(2)).map(|change| change.class)
    };
    assert!(matches!(class(&mut governor, 5), Err(GovernanceError::NothingChanges)));
    assert_eq!(class(&mut governor, 4).unwrap(), Class::Tightens);
    variable.0.store(2, Ordering::Relaxed);
    // Less, beside what was never live.
    assert_eq!(class(&mut governor, 4).unwrap(), Class::Mixed);
    let change = governor.propose(&wish(content(5, REQUIRED), "x"), at(2)).unwrap();
    assert_eq!(change.class, Class::Mixed);
    governor.approve(change.id, &sign(&governor, &change, &people.ana, 3), at(3)).unwrap();
    assert!(governor.activate(change.id, "x", at(4)).unwrap_err().to_string().contains("1 of 2 approvals"));
    governor.approve(change.id, &sign(&governor, &change, &people.ben, 3), at(3)).unwrap();
    assert_eq!(governor.activate(change.id, "x", at(4)).unwrap().0.n, 2);
    assert_eq!(class(&mut governor, 4).unwrap(), Class::Tightens);
    assert!(governor.verify_class(2).unwrap());
    // Of what was approved with other values than those of now nobody is accused.
    let less = governor.propose(&wish(content(4, REQUIRED), "x"), at(5)).unwrap();
    governor.approve(less.id, &sign(&governor, &less, &people.ana, 6), at(6)).unwrap();
    governor.activate(less.id, "x", at(7)).unwrap();
    assert!(governor.verify_class(3).unwrap());
    variable.0.store(3, Ordering::Relaxed);
    assert!(!governor.verify_class(3).unwrap());
}

#[test]
fn the_store_alone_does_not_make_another_value_neutral() {
    let people = people();
    let (shared, variable, mut governor) = governed(&people);
    variable.0.store(2, Ordering::Relaxed);
    let proposed = governor.propose(&wish(content(5, REQUIRED), "x"), at(2)).unwrap();
    let change = Change { class: Class::Neutral, ..proposed };
    let approvals = vec![sign(&governor, &change, &people.ana, 3)];
    let base = governor.version(1).unwrap();
    let forged = Version {
        n: 2,
        prev: base.hash(),
        instance: base.instance_after(),
        time: at(4).as_microsecond(),
        by: "x".to_owned(),
        change,
        approvals,
    };
    drop(governor);
    shared.disk().versions.push((forged.hash(), forged.encode()));
    let refused = open(&shared, &variable).unwrap_err().to_string();
    assert!(refused.contains(&format!("the engine says {}", Class::Mixed.as_str())), "{refused}");
}

#[test]
fn whoever_looks_writes_nothing() {
    let (shared, _) = memory::governed(&people());
    // As of a store from before the version of the program that began to note steps, and of a crash before the head file.
    let head = shared.disk().head;
    {
        let mut disk = shared.disk();
        (disk.steps, disk.writes) = (None, 0);
    }
    let shown = Governor::look(Box::new(shared.clone()), Box::new(shared.clone()), Box::new(Lines), None).unwrap().0;
    assert_eq!((shown.verify_all().unwrap(), shared.disk().writes), (1, 0));
    assert_eq!(shared.disk().head, head);
    assert_eq!(shared.disk().steps, None);
    shared.open().unwrap();
    assert_eq!(shared.disk().steps, Some(Steps::NONE));
}

#[test]
fn since_when_approvals_are_required_is_known() {
    let shared = Shared::default();
    let (mut governor, _) = shared.open().unwrap();
    for n in 1..=5_u32 {
        note(&mut governor, &wish(content(n, "0 1 2 2"), "root"), at(i64::from(n))).unwrap();
    }
    assert_eq!(governor.required_since().unwrap(), None);
    let people = people();
    let begin = Wish { kind: Kind::Keys, approvers: Some(people.set.clone()), ..wish(content(5, REQUIRED), "root") };
    governor.begin(&begin, at(6)).unwrap();
    for n in 7..12_u32 {
        let now = i64::from(n);
        let change = governor.propose(&wish(content(n, REQUIRED), "x"), at(now)).unwrap();
        for key in [&people.ana, &people.ben] {
            governor.approve(change.id, &sign(&governor, &change, key, now), at(now)).unwrap();
        }
        governor.activate(change.id, "x", at(now)).unwrap();
        assert_eq!(governor.required_since().unwrap(), Some(at(6).as_microsecond()));
    }
}
