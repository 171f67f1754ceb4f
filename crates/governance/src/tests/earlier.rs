//! What an earlier version of the program had approved, and demanded.

use super::memory::*;
use crate::*;

/// Contents in which a variable stands: `None` is a program that has the files approved without its value.
struct WithVariable(Option<u32>);

fn written(content: &Content) -> Hash {
    Lines.assess(content).unwrap().governed
}

impl PolicySource for WithVariable {
    fn assess(&self, content: &Content) -> Result<Assessed, String> {
        let assessed = Lines.assess(content)?;
        let with = |value| Hash::of(format!("{} {value}", assessed.governed).as_bytes());
        Ok(Assessed { governed: self.0.map_or(assessed.governed, with), ..assessed })
    }

    fn class(&self, before: &Content, after: &Content) -> Class {
        if before == after { Class::Neutral } else { Lines.class(before, after) }
    }

    fn is_still(&self, content: &Content, governed: Hash) -> bool {
        governed == written(content) || self.assess(content).is_ok_and(|assessed| assessed.governed == governed)
    }

    fn binds_values(&self, content: &Content, governed: Hash) -> bool {
        governed != written(content)
    }
}

/// Finding of 2026-11: who had the files of an earlier program approved once more was accused once the variable had another value.
#[test]
fn what_was_approved_once_more_with_its_values_is_not_accused_when_these_change() {
    let people = people();
    let shared = Shared::default();
    let open = |value| {
        let (ledger, head) = (Box::new(shared.clone()), Box::new(shared.clone()));
        Governor::open(ledger, head, Box::new(WithVariable(value)), None).unwrap().0
    };
    let begin = Wish { kind: Kind::Keys, approvers: Some(people.set.clone()), ..wish(content(5, REQUIRED), "root") };
    open(None).begin(&begin, at(1)).unwrap();
    let approve = |governor: &mut Governor, second: i64, keys: &[&SigningKey]| {
        let change = governor.propose(&wish(content(5, REQUIRED), "ana"), at(second)).unwrap();
        for key in keys {
            governor.approve(change.id, &sign(governor, &change, key, second + 1), at(second + 1)).unwrap();
        }
        governor.activate(change.id, "ana", at(second + 2)).unwrap().0
    };
    let mut governor = open(Some(1));
    let again = approve(&mut governor, 10, &[&people.ben]);
    assert_eq!((again.n, again.change.class), (2, Class::Neutral));
    assert!(governor.verify_class(2).unwrap());
    assert!(!open(Some(2)).verify_class(2).unwrap(), "it cannot be told");
    // What was approved with its values then is held to them.
    let mut governor = open(Some(2));
    let other = approve(&mut governor, 20, &[&people.ben, &people.cem]);
    assert_eq!((other.n, other.change.class), (3, Class::Mixed));
    let forged = Version { approvals: other.approvals[..1].to_vec(), ..other };
    shared.disk().versions.pop();
    shared.disk().versions.push((forged.hash(), forged.encode()));
    let (ledger, head) = (Box::new(shared.clone()), Box::new(shared.clone()));
    assert!(Governor::open(ledger, head, Box::new(WithVariable(Some(2))), None).is_err());
}

/// Contents with steps, in a file of that name.
#[derive(Clone, Copy)]
struct WithSteps;

impl PolicySource for WithSteps {
    fn assess(&self, content: &Content) -> Result<Assessed, String> {
        let assessed = Lines.assess(content)?;
        let governed = Hash::of(format!("{} {}", assessed.governed, steps_in(content)).as_bytes());
        Ok(Assessed { governed, ..assessed })
    }

    fn class(&self, before: &Content, after: &Content) -> Class {
        if steps_in(before) == steps_in(after) { Lines.class(before, after) } else { Class::Mixed }
    }

    fn governance(&self, content: &Content) -> Result<Hash, String> {
        Ok(Hash::of(format!("{:?}{}", content.files.get("rules"), steps_in(content)).as_bytes()))
    }
}

fn steps_in(content: &Content) -> String {
    content.files.get("steps").map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default()
}

fn with_steps(level: u32, rules: &str, steps: &str) -> Content {
    let mut content = content(level, rules);
    content.files.insert("steps".to_owned(), steps.into());
    content
}

/// Finding of 2026-11: the steps by which a version comes into force, and how long glass is broken, were changed by as many as loosen, also where `keys` demands
/// more.
#[test]
fn whoever_changes_the_steps_changes_what_protects_all_the_rest() {
    const KEYS: &str = "1 1 2 3";
    let people = people();
    let shared = Shared::default();
    let open = || {
        let (ledger, head) = (Box::new(shared.clone()), Box::new(shared.clone()));
        Governor::open(ledger, head, Box::new(WithSteps), None).map(|(governor, _)| governor)
    };
    let begin =
        Wish { kind: Kind::Keys, approvers: Some(people.set.clone()), ..wish(with_steps(5, KEYS, "shadow"), "root") };
    let mut governor = open().unwrap();
    governor.begin(&begin, at(1)).unwrap();
    for (level, steps, need) in [(5, "none", 3), (6, "shadow", 2), (4, "shadow", 1), (4, "none", 3)] {
        let change = governor.propose(&wish(with_steps(level, KEYS, steps), "ana"), at(10)).unwrap();
        assert_eq!(governor.proposal(change.id, at(11)).unwrap().need.old, need, "{level} {steps}");
    }
    let change = governor.propose(&wish(with_steps(5, KEYS, "none"), "ana"), at(20)).unwrap();
    for key in [&people.ben, &people.cem] {
        governor.approve(change.id, &sign(&governor, &change, key, 21), at(21)).unwrap();
    }
    assert!(matches!(governor.activate(change.id, "ana", at(22)), Err(GovernanceError::Shortfall(_))));
    // Nor does the store alone make it live.
    let proposal = governor.proposal(change.id, at(22)).unwrap();
    let before = governor.standing().version.unwrap();
    let version = Version {
        n: 2,
        prev: before.hash(),
        instance: governor.standing().instance,
        time: at(22).as_microsecond(),
        by: "root".to_owned(),
        exceptions: Exceptions::default(),
        change: proposal.change.clone(),
        approvals: proposal.approvals,
    };
    shared.disk().versions.push((version.hash(), version.encode()));
    let refused = open().unwrap_err().to_string();
    assert!(refused.contains("it changes `[governance]`: 2 of 3 approvals"), "{refused}");
    // One that an earlier version of the program made live is known by the head file, and stays; of what it demanded nobody is accused.
    let known = shared.copy();
    known.disk().head = Some(Head { n: 2, hash: version.hash(), required: true });
    let (ledger, head) = (Box::new(known.clone()), Box::new(known));
    let (earlier, _) = Governor::open(ledger, head, Box::new(WithSteps), None).unwrap();
    assert_eq!((earlier.n(), earlier.verify_class(2).unwrap()), (2, false));
    shared.disk().versions.pop();
    // Dia's is the third.
    let mut governor = open().unwrap();
    governor.approve(change.id, &sign(&governor, &change, &people.dia, 23), at(23)).unwrap();
    governor.activate(change.id, "ana", at(24)).unwrap();
    assert!(governor.verify_class(2).unwrap());
    assert_eq!(open().unwrap().n(), 2);
}
