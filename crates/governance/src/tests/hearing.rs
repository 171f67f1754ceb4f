//! Whoever can write the store, and has recovery keys or none: what they write there ends no recovery before its delay is over for those who were told.

use super::memory::*;
use super::recoveries::*;
use crate::*;

const DAY: i64 = 86_400;

fn append(shared: &Shared, version: &Version) {
    shared.disk().versions.push((version.hash(), version.encode()));
}

/// How it looks to a start at that second.
fn at_second(shared: &Shared, second: i64) -> Result<(Governor, Vec<String>), GovernanceError> {
    shared.disk().clock = Some(at(second));
    shared.open()
}

/// A recovery that has begun at second 12 and was told; and how it was ended on a copy whose clock was set forward.
fn forged() -> (People, Shared, Version) {
    let (people, vault, shared, mut governor) = world();
    begun(&vault, &mut governor);
    drop(governor);
    let copy = shared.copy();
    let (mut governor, _) = copy.open().unwrap();
    let (ended, _) = governor.end_recovery("ops", at(12 + DAY)).unwrap();
    (people, shared, ended)
}

/// Finding of 2026-11: the end of a recovery was believed by the time that stood in it, which whoever wrote it chose.
#[test]
fn an_end_that_was_written_into_the_store_before_the_delay_is_over_is_refused() {
    let (people, shared, ended) = forged();
    let (mut running, _) = shared.open().unwrap();
    append(&shared, &ended);
    // From a moment after it has begun to the last one at which other times are believed.
    for second in [13, 3_600, DAY - 300, 11 + DAY] {
        let refused = at_second(&shared, second).unwrap_err().to_string();
        assert!(
            refused.contains("later than now") || refused.contains("before its delay was over"),
            "{second}: {refused}"
        );
        // So does a gateway that runs: what it knew is known still.
        assert!(running.catch_up().is_err(), "{second}");
        assert_eq!((running.n(), &running.standing().approvers), (2, &people.set));
    }
    // Once it is over it is what a process that ended behind the store leaves.
    let (governor, _) = at_second(&shared, 12 + DAY).unwrap();
    assert_eq!((governor.n(), governor.untold().unwrap()), (3, vec![Happened { n: 3, what: What::Done }]));
    running.catch_up().unwrap();
    assert_eq!((running.n(), running.untold().unwrap().len()), (3, 1));
}

/// With the signatures of the recovery keys both can be written at once, and dated as one likes.
#[test]
fn one_that_was_begun_in_the_store_alone_counts_from_when_it_is_told() {
    let (_, vault, shared, mut governor) = world();
    let before = shared.copy();
    let (change, ..) = begun(&vault, &mut governor);
    let late = shared.copy();
    governor.end_recovery("ops", at(12 + DAY)).unwrap();
    let [second, third] = [2, 3].map(|n| governor.version(n).unwrap());
    before.disk().blobs = shared.disk().blobs.clone();
    append(&before, &second);
    let alone = before.copy();
    append(&before, &third);
    // Long after both, by their times.
    let refused = at_second(&before, 20 * DAY).unwrap_err().to_string();
    assert!(refused.contains("no gateway has told of"), "{refused}");
    // Also where the head file knows the first by now, and nobody was told.
    before.disk().head = Some(Head { n: 2, hash: second.hash(), required: true });
    assert!(at_second(&before, 20 * DAY).unwrap_err().to_string().contains("no gateway has told of"));
    // The beginning alone is told, and its delay counts from then on.
    let start = 2 * DAY;
    let (mut governor, _) = at_second(&alone, start).unwrap();
    let persons = vec!["ana".to_owned(), "ben".to_owned()];
    assert_eq!(governor.untold().unwrap(), [Happened { n: 2, what: What::Begun(persons) }]);
    assert!(governor.end_recovery("ops", at(start)).unwrap_err().to_string().contains("is not told yet"));
    governor.have_told(at(start)).unwrap();
    assert!(governor.untold().unwrap().is_empty() && !governor.has_to_tell());
    assert_eq!(governor.recovering().unwrap().unwrap().due, at(start + DAY).as_microsecond());
    assert!(governor.end_recovery("ops", at(start + DAY - 1)).is_err());
    // A restart does not begin to count again.
    drop(governor);
    let (mut governor, _) = at_second(&alone, start + DAY).unwrap();
    assert!(governor.untold().unwrap().is_empty() && governor.is_recovering(change.id));
    governor.end_recovery("ops", at(start + DAY)).unwrap();
    assert_eq!(at_second(&alone, start + DAY).unwrap().0.n(), 3);
    // One that is told when its time is nearly over cannot be ended any more.
    late.disk().heard = None;
    let (mut governor, _) = at_second(&late, 4 * DAY).unwrap();
    governor.have_told(at(4 * DAY)).unwrap();
    assert!(governor.end_recovery("ops", at(4 * DAY + 1)).unwrap_err().to_string().contains("told so late"));
}

/// A store in the place of another one, a head file of before, a disk that stops: then it counts anew.
#[test]
fn where_it_is_not_known_since_when_it_was_told_the_delay_counts_anew() {
    let (_, vault, shared, mut governor) = world();
    begun(&vault, &mut governor);
    drop(governor);
    shared.disk().heard = None;
    let (mut governor, _) = at_second(&shared, DAY).unwrap();
    assert!(governor.has_to_tell());
    assert!(governor.end_recovery("ops", at(13 + DAY)).is_err());
    // It cannot be written down that it was told.
    let writes = shared.disk().writes;
    shared.disk().working = Some(writes);
    assert!(governor.have_told(at(DAY)).is_err() && governor.has_to_tell());
    assert!(governor.end_recovery("ops", at(2 * DAY)).is_err());
    shared.disk().working = None;
    governor.have_told(at(DAY + 9)).unwrap();
    assert!(governor.end_recovery("ops", at(2 * DAY + 8)).is_err());
    // The head file could not be written when it began: a start would not believe its end.
    shared.disk().head = Some(Head { n: 1, hash: governor.version(1).unwrap().hash(), required: true });
    let writes = shared.disk().writes;
    shared.disk().working = Some(writes);
    assert!(governor.end_recovery("ops", at(2 * DAY + 9)).is_err());
    let writes = shared.disk().writes;
    shared.disk().working = Some(writes + 2);
    let (_, trouble) = governor.end_recovery("ops", at(2 * DAY + 9)).unwrap();
    assert!(trouble.is_some());
    drop(governor);
    shared.disk().working = None;
    assert_eq!(at_second(&shared, 2 * DAY + 10).unwrap().0.n(), 3);
}

/// Finding of 2026-11: no gateway started where this small file was damaged, though without it everything is safe.
#[test]
fn what_is_in_the_place_of_the_file_and_is_none_is_as_if_there_were_nothing() {
    let (_, vault, shared, mut governor) = world();
    let (change, ..) = begun(&vault, &mut governor);
    let running = shared.copy();
    drop(governor);
    shared.disk().heard_damaged = true;
    let (mut governor, remarks) = at_second(&shared, DAY).unwrap();
    let remark = "store.recovery is not what this program writes: the delay of a recovery";
    assert!(remarks.iter().any(|said| said.starts_with(remark)), "{remarks:?}");
    assert!(governor.unknown_recovery().is_some_and(|said| said.starts_with(remark)));
    assert!(governor.has_to_tell() && governor.is_recovering(change.id));
    assert!(governor.end_recovery("ops", at(13 + DAY)).unwrap_err().to_string().contains("is not told yet"));
    governor.have_told(at(DAY)).unwrap();
    assert!(!governor.has_to_tell() && governor.unknown_recovery().is_none());
    assert!(governor.end_recovery("ops", at(2 * DAY - 1)).is_err());
    drop(governor);
    // It is written anew, and nothing is to be said any more.
    let (mut governor, remarks) = at_second(&shared, 2 * DAY).unwrap();
    assert!(remarks.is_empty(), "{remarks:?}");
    governor.end_recovery("ops", at(2 * DAY)).unwrap();
    // One that runs finds it, too, and goes on.
    let (mut governor, _) = at_second(&running, 20).unwrap();
    assert!(!governor.has_to_tell());
    running.disk().heard_damaged = true;
    governor.catch_up().unwrap();
    assert!(governor.has_to_tell() && governor.unknown_recovery().is_some());
    // Also where no recovery is under way.
    let (shared, _) = governed(&people());
    shared.disk().heard_damaged = true;
    let (mut governor, _) = at_second(&shared, DAY).unwrap();
    governor.have_told(at(DAY)).unwrap();
    let known = Heard { told: 1, ..Heard::NONE };
    let disk = shared.disk();
    assert_eq!((disk.heard, disk.heard_damaged), (Some(known), false));
}

#[test]
fn whatever_ends_a_recovery_is_told_once() {
    let (people, vault, shared, mut governor) = world();
    let (change, ..) = begun(&vault, &mut governor);
    let vetoed = shared.copy();
    let (mut other, _) = vetoed.open().unwrap();
    other.veto(&no(&other, &change, &people.cem, 13), at(13)).unwrap();
    // By a process that tells nobody: the next one does.
    drop(other);
    let (mut other, _) = vetoed.open().unwrap();
    assert_eq!(other.untold().unwrap(), [Happened { n: 3, what: What::Refused("cem".to_owned()) }]);
    other.have_told(at(14)).unwrap();
    drop(other);
    assert!(vetoed.open().unwrap().0.untold().unwrap().is_empty());
    // Another version ends it as well.
    let follows = governor.propose(&wish(content(6, REQUIRED), "ana"), at(20)).unwrap();
    for key in [&people.cem, &people.dia] {
        governor.approve(follows.id, &sign(&governor, &follows, key, 21), at(21)).unwrap();
    }
    let (mut beside, _) = shared.open().unwrap();
    governor.activate(follows.id, "ana", at(22)).unwrap();
    assert_eq!(governor.untold().unwrap(), [Happened { n: 3, what: What::Over(2) }]);
    governor.have_told(at(22)).unwrap();
    // What another process has told is told.
    beside.catch_up().unwrap();
    assert!(beside.n() == 3 && beside.untold().unwrap().is_empty());
}

#[test]
fn a_version_of_a_time_to_come_is_found() {
    let people = people();
    let (shared, mut governor) = governed(&people);
    let change = governor.propose(&wish(content(6, REQUIRED), "ana"), at(10)).unwrap();
    for key in [&people.cem, &people.dia] {
        governor.approve(change.id, &sign(&governor, &change, key, 11), at(11)).unwrap();
    }
    let known = shared.disk().head;
    governor.activate(change.id, "ana", at(1_000)).unwrap();
    assert!(governor.verify_times(at(700)).is_ok());
    assert!(matches!(governor.verify_times(at(699)), Err(GovernanceError::Broken { n: 2, .. })));
    // What the head file knows is no reason not to start, since a clock may have been wrong; what it does not know is.
    assert!(at_second(&shared, 699).is_ok());
    shared.disk().head = known;
    assert!(matches!(at_second(&shared, 699), Err(GovernanceError::Broken { n: 2, .. })));
    assert!(at_second(&shared, 700).is_ok());
}
