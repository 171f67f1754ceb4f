//! What somebody writes into the store while a gateway runs, which reads it when another process seems to have been quicker: it is held to all that a start holds
//! it to.

use super::memory::*;
use crate::*;

fn approved_by(governor: &mut Governor, level: u32, second: i64, keys: &[&SigningKey]) -> Change {
    let change = governor.propose(&wish(content(level, REQUIRED), "ana"), at(second)).unwrap();
    for key in keys {
        governor.approve(change.id, &sign(governor, &change, key, second + 1), at(second + 1)).unwrap();
    }
    change
}

/// Version 2 tightens, and is live or being rolled out; version 3 waits.
fn waiting(people: &People, step_by_step: bool) -> (Shared, Governor, Change) {
    let (shared, mut governor) = governed(people);
    let second = approved_by(&mut governor, 4, 10, &[&people.ben]);
    let begun = match step_by_step {
        true => governor.begin_rollout(second.id, "ana", at(12)),
        false => governor.activate(second.id, "ana", at(12)),
    };
    assert!(begun.unwrap().1.is_none());
    let third = approved_by(&mut governor, 3, 20, &[&people.ben]);
    (shared, governor, third)
}

/// The version that would follow on the last one.
fn forged(governor: &Governor, change: Change, approvals: Vec<Approval>) -> Version {
    let last = governor.standing().version.unwrap();
    let (n, prev, instance) = (last.n + 1, last.hash(), governor.standing().instance);
    Version {
        n,
        prev,
        instance,
        time: at(22).as_microsecond(),
        by: "ana".to_owned(),
        exceptions: Exceptions::default(),
        change,
        approvals,
    }
}

fn refused_as_broken(shared: &Shared, governor: &mut Governor, third: &Change, number: u64) {
    let before = (governor.standing().version, governor.serving(), shared.disk().head);
    let refused = governor.activate(third.id, "ana", at(30)).unwrap_err();
    assert!(matches!(refused, GovernanceError::Broken { n, .. } if n == number), "{refused:?}");
    assert_eq!((governor.standing().version, governor.serving(), shared.disk().head), before, "what was known");
    assert!(shared.open().is_err(), "nor does a start believe it");
}

#[test]
fn one_signature_and_the_store_do_not_make_a_loosening_a_tightening_for_a_gateway_that_runs() {
    let people = people();
    let (shared, mut governor, third) = waiting(&people, false);
    let mut change = governor.propose(&wish(content(9, REQUIRED), "ana"), at(20)).unwrap();
    change.class = Class::Tightens;
    let approval = sign(&governor, &change, &people.ben, 21);
    let version = forged(&governor, change, vec![approval]);
    shared.disk().versions.push((version.hash(), version.encode()));
    refused_as_broken(&shared, &mut governor, &third, 3);
}

#[test]
fn no_row_takes_back_what_is_not_rolled_out_while_a_gateway_runs() {
    let people = people();
    let (shared, mut governor, third) = waiting(&people, false);
    // The record that the gateway would append, if the version were rolled out.
    let copy = shared.copy();
    {
        let (row, mut disk) = (Rollout::new(2, governor.standing().version.unwrap().change.id), copy.disk());
        (disk.rollout, disk.steps) = (Some(row.encode()), Some(Steps { n: 2, change: row.change, stage: Some(0) }));
    }
    let (version, _) = copy.open().unwrap().0.take_back("too much", &[], at(22)).unwrap();
    shared.disk().versions.push((version.hash(), version.encode()));
    refused_as_broken(&shared, &mut governor, &third, 3);
}

#[test]
fn no_row_ends_or_begins_steps_while_a_gateway_runs() {
    let people = people();
    let (shared, mut governor, _) = waiting(&people, true);
    let change = governor.standing().rollout.unwrap().change;
    let far = Rollout::new(2, change).next();
    governor.note_progress(far).unwrap();
    for row in [None, Some(Rollout::at_once(2, change).encode()), Some(far.ending().encode())] {
        shared.disk().rollout = row.clone();
        assert!(governor.note_progress(Rollout { spent_ms: 5, ..far }).is_err(), "it is overtaken");
        assert_eq!((governor.serving(), governor.standing().rollout), (1, Some(far)), "{row:?}");
        governor.note_progress(far).unwrap();
    }
    let (shared, mut governor, _) = waiting(&people, false);
    let change = governor.standing().version.unwrap().change.id;
    shared.disk().rollout = Some(Rollout::new(2, change).encode());
    let mut other = shared.open().unwrap().0;
    assert!(governor.finish_rollout(2).is_err() && other.finish_rollout(2).is_err());
    assert_eq!((governor.serving(), other.serving()), (2, 2));
}

/// What comes before may be another one by then: what follows would be held to that.
#[test]
fn a_record_that_was_replaced_is_not_what_the_next_one_follows_on() {
    let people = people();
    let (shared, mut governor, third) = waiting(&people, false);
    let mut last = governor.standing().version.unwrap();
    last.change.rules.required = false;
    let replaced = forged(&governor, third.clone(), Vec::new());
    let replaced = Version { prev: last.hash(), ..replaced };
    {
        let mut disk = shared.disk();
        disk.versions[1] = (last.hash(), last.encode());
        disk.versions.push((replaced.hash(), replaced.encode()));
    }
    refused_as_broken(&shared, &mut governor, &third, 2);
    // Nor is that what serves while the last one is rolled out, nor comes back when it is taken back.
    let (shared, mut governor, _) = waiting(&people, true);
    let mut first = governor.version(1).unwrap();
    first.change.content = governor.standing().version.unwrap().change.content;
    shared.disk().versions[0] = (first.hash(), first.encode());
    assert!(matches!(governor.served(), Err(GovernanceError::Broken { n: 1, .. })));
    assert!(matches!(governor.take_back("too much", &[], at(22)), Err(GovernanceError::Broken { n: 1, .. })));
}

#[test]
fn a_key_that_was_revoked_comes_back_by_nobody_elses_version() {
    let people = people();
    let (shared, mut governor, third) = waiting(&people, true);
    let version = forged(&governor, third.clone(), governor.proposal(third.id, at(21)).unwrap().approvals);
    let mut set = people.set.clone();
    set.revoke("dia", None, at(5)).unwrap();
    {
        let mut disk = shared.disk();
        disk.versions.push((version.hash(), version.encode()));
        (disk.rollout, disk.revoked) = (None, RevokedKeys::of(&set));
    }
    let refused = governor.finish_rollout(2).unwrap_err();
    assert!(matches!(refused, GovernanceError::Revived { .. }), "{refused:?}");
    assert_eq!((governor.n(), governor.serving()), (2, 1));
}

#[test]
fn what_is_live_at_once_and_still_to_be_written_needs_no_word_beside_the_store() {
    let people = people();
    let (shared, mut governor) = governed(&people);
    let change = approved_by(&mut governor, 4, 10, &[&people.ben]);
    governor.activate_and_write(change.id, "ana", at(12)).unwrap();
    let (again, remarks) = shared.open().unwrap();
    assert_eq!((again.serving(), again.standing().rollout), (2, Some(Rollout::at_once(2, change.id))));
    assert_eq!(remarks, Vec::<String>::new());
    assert_eq!(shared.disk().steps, Some(Steps::NONE));
}

/// A process that was to begin its steps ended before it was a version: then somebody has it live at once.
#[test]
fn what_is_live_at_once_is_in_no_step_that_was_noted_before() {
    let people = people();
    let (shared, mut governor) = governed(&people);
    let change = approved_by(&mut governor, 4, 10, &[&people.ben]);
    let writes = shared.disk().writes;
    shared.disk().working = Some(writes + 1);
    assert!(governor.begin_rollout(change.id, "ana", at(12)).is_err());
    shared.disk().working = None;
    let (mut again, _) = shared.open().unwrap();
    again.activate_and_write(change.id, "ana", at(14)).unwrap();
    let (again, remarks) = shared.open().unwrap();
    assert_eq!((again.serving(), remarks.len()), (2, 0), "{remarks:?}");
    // Of another change it says nothing, and what is in a step stays so where a next one is not appended.
    let (shared, mut governor, third) = waiting(&people, true);
    let noted = shared.disk().steps;
    let writes = shared.disk().writes;
    shared.disk().working = Some(writes);
    assert!(governor.activate_and_write(third.id, "ana", at(22)).is_err());
    shared.disk().working = None;
    assert_eq!(shared.disk().steps, noted);
    assert_eq!(shared.open().unwrap().0.serving(), 1);
}

/// Two processes: what the one that was too late had noted is not what is known of the version of the other.
#[test]
fn whoever_was_too_late_takes_back_what_it_noted() {
    let people = people();
    let (shared, mut late) = governed(&people);
    let change = approved_by(&mut late, 4, 10, &[&people.ben]);
    let other = approved_by(&mut late, 3, 10, &[&people.ben]);
    shared.open().unwrap().0.begin_rollout(other.id, "ana", at(12)).unwrap();
    let refused = late.begin_rollout(change.id, "ana", at(13)).unwrap_err();
    assert!(matches!(refused, GovernanceError::Ledger(LedgerError::Conflict)), "{refused:?}");
    assert_eq!((late.n(), late.serving()), (2, 1));
    let (again, remarks) = shared.open().unwrap();
    assert_eq!((again.serving(), again.standing().rollout.map(|rollout| rollout.change)), (1, Some(other.id)));
    assert_eq!(remarks, Vec::<String>::new());
}

/// Past its last step it is being written: nobody takes it back, and no row does.
#[test]
fn what_is_past_its_last_step_is_taken_back_by_no_row() {
    let people = people();
    let (shared, mut governor, _) = waiting(&people, true);
    let rollout = governor.standing().rollout.unwrap();
    // As the gateway would, a moment before.
    let (version, _) = shared.copy().open().unwrap().0.take_back("too much", &[], at(22)).unwrap();
    governor.note_progress(rollout.ending()).unwrap();
    let (again, remarks) = shared.open().unwrap();
    assert_eq!((again.standing().rollout, remarks.len()), (Some(rollout.ending()), 0));
    shared.disk().versions.push((version.hash(), version.encode()));
    let refused = shared.open().unwrap_err().to_string();
    assert!(refused.contains("it takes back version 2, which was not being rolled out"), "{refused}");
}

/// Contents in which a variable stands, which has a value of its own in each process.
struct WithVariable(u32);

impl PolicySource for WithVariable {
    fn assess(&self, content: &Content) -> Result<Assessed, String> {
        let assessed = Lines.assess(content)?;
        let governed = Hash::of(format!("{} {}", assessed.governed, self.0).as_bytes());
        Ok(Assessed { governed, ..assessed })
    }

    fn class(&self, before: &Content, after: &Content) -> Class {
        Lines.class(before, after)
    }
}

/// Finding of 2026-11: another value of a variable let somebody else in as a change that changes nothing, and one person sufficed.
#[test]
fn another_value_of_a_variable_is_a_change_that_can_do_anything() {
    let people = people();
    let shared = Shared::default();
    let open = |value| {
        let (ledger, head) = (Box::new(shared.clone()), Box::new(shared.clone()));
        Governor::open(ledger, head, Box::new(WithVariable(value)), None).map(|(governor, _)| governor)
    };
    let mut before = open(0).unwrap();
    let begin = Wish { kind: Kind::Keys, approvers: Some(people.set.clone()), ..wish(content(5, REQUIRED), "root") };
    before.begin(&begin, at(1)).unwrap();
    let mut governor = open(1).unwrap();
    // The same files; and fewer let in by them, of which it cannot be told what it does beside the other value.
    for level in [5, 4] {
        let change = approved_by(&mut governor, level, 10, &[&people.ben]);
        let proposal = governor.proposal(change.id, at(12)).unwrap();
        assert_eq!((change.class, proposal.need.old), (Class::Mixed, 2), "{level}");
        assert!(matches!(governor.activate(change.id, "ana", at(12)), Err(GovernanceError::Shortfall(_))), "{level}");
        // Nor does the store alone say that it is less.
        for class in [Class::Neutral, Class::Tightens] {
            let forged_change = Change { class, ..change.clone() };
            let approval = sign(&governor, &forged_change, &people.ben, 21);
            let version = forged(&governor, forged_change, vec![approval]);
            shared.disk().versions.push((version.hash(), version.encode()));
            assert!(matches!(open(1), Err(GovernanceError::Broken { n: 2, .. })), "{level} {class:?}");
            shared.disk().versions.pop();
        }
    }
    let change = approved_by(&mut governor, 5, 10, &[&people.ben, &people.cem]);
    governor.activate(change.id, "ana", at(12)).unwrap();
    // From then on what only tightens is that again.
    let next = approved_by(&mut governor, 4, 20, &[&people.ben]);
    assert_eq!(next.class, Class::Tightens);
    governor.activate(next.id, "ana", at(22)).unwrap();
    assert!(governor.verify_class(2).unwrap() && governor.verify_class(3).unwrap());
    // Where the variable has another value by now nobody can tell any more what it did.
    assert!(!open(2).unwrap().verify_class(3).unwrap());
}

/// Whatever was proposed for the version before is over with the next one, in the store, too; and where that could not be written, it is told all the same.
#[test]
fn what_another_version_overtakes_is_over() {
    let people = people();
    for fails in [false, true] {
        let (shared, mut governor) = governed(&people);
        let waiting = governor.propose(&wish(content(4, REQUIRED), "ana"), at(10)).unwrap();
        let change = approved_by(&mut governor, 6, 10, &[&people.ben, &people.cem]);
        let writes = shared.disk().writes;
        // The version and the head file.
        shared.disk().working = fails.then_some(writes + 2);
        governor.activate(change.id, "ana", at(12)).unwrap();
        shared.disk().working = None;
        let stored = shared.disk().changes[&waiting.id].state;
        assert_eq!(stored, if fails { ChangeState::Open } else { ChangeState::Overtaken });
        drop(governor);
        let (mut governor, _) = shared.open().unwrap();
        assert_eq!(governor.proposal(waiting.id, at(13)).unwrap().state, ChangeState::Overtaken);
        let approval = sign(&governor, &waiting, &people.dia, 13);
        assert!(matches!(governor.approve(waiting.id, &approval, at(13)), Err(GovernanceError::StaleBase { .. })));
        assert!(matches!(governor.activate(waiting.id, "ana", at(13)), Err(GovernanceError::StaleBase { .. })));
        governor.propose(&wish(content(3, REQUIRED), "ana"), at(14)).unwrap();
        assert_eq!(shared.disk().changes[&waiting.id].state, ChangeState::Overtaken);
    }
}
