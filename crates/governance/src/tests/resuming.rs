//! How far the last version of a restored log has come: never further than what was beside the store that is replaced says.

use super::memory::*;
use crate::*;

#[test]
fn no_version_comes_into_force_further_by_a_restore_than_it_was() {
    let people = people();
    let (_, mut governor) = governed(&people);
    let change = governor.propose(&wish(content(4, REQUIRED), "ana"), at(10)).unwrap();
    governor.approve(change.id, &sign(&governor, &change, &people.ben, 11), at(11)).unwrap();
    let last = governor.begin_rollout(change.id, "ana", at(12)).unwrap().0;
    let steps = |stage| Some(Steps { n: 2, change: change.id, stage });
    let other = Some(Steps { n: 5, change: change.id, stage: Some(1) });
    let at_stage = |stage| Rollout { stage, ..Rollout::new(2, change.id) };
    let far = |stage| Rollout { requests: 9, ..at_stage(stage) };
    let held = Rollout::held(2, change.id);
    let [taken_back, before] = [true, false].map(|taken_back| GoesOn::Before { taken_back });
    let (there, unknown) = (GoesOn::There, GoesOn::Unknown);
    let ending = far(0).ending();
    let at_once = Rollout::at_once(2, change.id);
    let cases = [
        // It is in the step that was noted, with what was seen, and begins that anew where the store says another one, or none.
        (Some(far(1)), steps(Some(1)), there, Some(far(1))),
        (Some(far(2)), steps(Some(1)), there, Some(at_stage(1))),
        (Some(ending), steps(Some(0)), unknown, Some(at_stage(0))),
        (None, steps(Some(1)), there, Some(at_stage(1))),
        (None, steps(Some(0)), unknown, Some(at_stage(0))),
        // They are over.
        (Some(far(1)), steps(None), there, None),
        (None, steps(None), before, None),
        // The log went on from a step of it: it was taken back there, and is in that step again at most where a backup says so.
        (None, steps(Some(1)), before, Some(held)),
        (Some(far(2)), steps(Some(1)), before, Some(held)),
        (Some(far(0)), steps(Some(1)), before, Some(far(0))),
        (None, other, taken_back, Some(held)),
        (None, other, before, None),
        (None, None, taken_back, Some(held)),
        // What nobody began is in no step; what serves everybody already is still to be written.
        (Some(far(0)), Some(Steps::NONE), there, None),
        (Some(at_once), Some(Steps::NONE), there, Some(at_once)),
        // What is of an earlier time, or of one of which nothing is noted, is as it was.
        (Some(far(0)), other, before, Some(far(0))),
        (Some(far(0)), None, there, Some(far(0))),
        (Some(Rollout::new(1, change.id)), None, there, None),
        (None, None, there, None),
        (None, Some(Steps::NONE), there, None),
    ];
    for (number, (row, steps, goes_on, expected)) in cases.into_iter().enumerate() {
        let row = row.map(|row| row.encode());
        let resumed = Rollout::resumed(row.as_deref(), &last, steps, goes_on);
        assert_eq!(resumed.map(|record| Rollout::decode(&record).unwrap()), expected, "case {number}");
    }
    let damaged = |steps| Rollout::resumed(Some(b"torn"), &last, steps, there);
    assert_eq!(damaged(steps(Some(1))), Some(at_stage(1).encode()));
    assert_eq!((damaged(None).as_deref(), damaged(Some(Steps::NONE))), (Some(&b"torn"[..]), None));
}
