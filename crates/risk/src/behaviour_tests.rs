//! How much a principal does in an hour, what others do who share an address with it, and how scores of good traffic become thresholds.

use jiff::{SignedDuration, Timestamp};
use portcullis_policy::{BanScope, ClientAddress, GroupClaim, RiskSignal, SignalFamily};

use super::*;
use crate::fixtures::{address, engine_of, failed, good, start, user};
use crate::settings::Calibrate;
use crate::{CalibrationError, Caller, Observation};

const HOME: &str = "203.0.113.7";
const SHARED: &str = "198.51.100.7";

fn at(hours: i64, seconds: i64) -> Timestamp {
    start() + SignedDuration::from_hours(hours) + SignedDuration::from_secs(seconds)
}

fn member(id: &str) -> Principal {
    Principal { groups: vec![GroupClaim { name: "staff".into(), trusted: true }], ..user(id) }
}

fn from<'a>(place: &str, who: &'a Principal) -> Caller<'a> {
    Caller::new(ClientAddress::known(address(place)), Some(who))
}

/// Comes and is learnt from, so often within an hour.
fn requests(engine: &RiskEngine, who: &Principal, place: &str, hour: i64, count: i64) {
    for n in 0..count {
        let caller = from(place, who);
        let mut keys = engine.keys_of(&caller);
        engine.assess(&caller, &mut keys, at(hour, n));
        engine.learn(&caller, &keys, false, at(hour, n));
    }
}

fn signal(engine: &RiskEngine, who: &Principal, place: &str, now: Timestamp, name: &str) -> Option<RiskSignal> {
    let caller = from(place, who);
    let assessed = engine.assess(&caller, &mut engine.keys_of(&caller), now).told(&caller);
    assessed.signals.into_iter().find(|signal| signal.name == name)
}

#[test]
fn far_more_requests_than_usual_are_a_signal_unless_the_peers_do_as_much() {
    let engine = engine_of(Settings::default());
    let (alice, robot) = (member("alice"), member("robot"));
    (0..20).for_each(|hour| requests(&engine, &alice, HOME, hour, 30));
    requests(&engine, &alice, HOME, 20, 99);
    assert_eq!(signal(&engine, &alice, HOME, at(20, 99), "rate.unusual"), None, "a hundred are never much");
    requests(&engine, &alice, HOME, 20, 300);
    let found = signal(&engine, &alice, HOME, at(20, 300), "rate.unusual").unwrap();
    assert_eq!((found.mnats, found.family), (1_000, SignalFamily::Novelty));
    assert_eq!(found.value, "399 requests in this hour, 30 on average");
    assert_eq!(signal(&engine, &alice, HOME, at(21, 0), "rate.unusual"), None, "with the hour it ends");
    // Where others of the group do as much, it is nothing special.
    (0..40).for_each(|hour| requests(&engine, &robot, HOME, 30 + hour, 500));
    requests(&engine, &alice, HOME, 90, 400);
    assert_eq!(signal(&engine, &alice, HOME, at(90, 400), "rate.unusual"), None);
}

#[test]
fn far_more_bytes_than_usual_are_a_signal() {
    let engine = engine_of(Settings::default());
    let alice = member("alice");
    let export = |hour: i64, bytes: u64| {
        let caller = from(HOME, &alice);
        engine.exported(&engine.keys_of(&caller), Some(&alice), bytes, at(hour, 10));
    };
    export(0, 1 << 40);
    for hour in 0..20 {
        requests(&engine, &alice, HOME, hour, 3);
        export(hour, 1 << 20);
        export(hour, 30_000);
    }
    requests(&engine, &alice, HOME, 20, 1);
    export(20, 6 << 20);
    assert_eq!(
        signal(&engine, &alice, HOME, at(20, 20), "volume.unusual"),
        None,
        "less than a hundred units is never much"
    );
    export(20, 1 << 30);
    let found = signal(&engine, &alice, HOME, at(20, 20), "volume.unusual").unwrap();
    assert_eq!((found.mnats, found.family), (1_500, SignalFamily::Novelty));
}

#[test]
fn a_ban_for_others_is_evidence_against_who_is_new_there() {
    let engine = engine_of(Settings::default());
    let (carol, alice, stranger) = (member("carol"), member("alice"), member("stranger"));
    (0..5).for_each(|hour| requests(&engine, &carol, SHARED, hour, 1));
    (0..20).for_each(|hour| requests(&engine, &alice, HOME, hour, 1));
    let healthy = Observation { principal: Some(&carol), ..good(address(SHARED)) };
    engine.observe(&healthy, at(20, 0));
    let fail = || engine.observe(&failed(address(SHARED), Some("x")), at(20, 1));
    (0..4).for_each(|_| assert!(fail().is_none()));
    let banned = fail().unwrap();
    assert_eq!(banned.ban.scope, BanScope::Anonymous);
    let now = at(20, 2);
    let found = signal(&engine, &alice, SHARED, now, "address.banned").unwrap();
    assert_eq!((found.mnats, found.family, found.value.as_str()), (4_000, SignalFamily::Evidence, SHARED));
    assert_eq!(signal(&engine, &carol, SHARED, now, "address.banned"), None, "who comes from there anyway");
    assert_eq!(signal(&engine, &stranger, SHARED, now, "address.banned"), None, "nothing is new to who is unknown");
    assert_eq!(signal(&engine, &alice, HOME, now, "address.banned"), None);
    // With colleagues there it is an address of many, and too little to deny.
    for colleague in ["dave", "erin"].map(member) {
        requests(&engine, &colleague, SHARED, 20, 1);
    }
    let caller = from(SHARED, &alice);
    let assessed = engine.assess(&caller, &mut engine.keys_of(&caller), now).told(&caller);
    assert!(assessed.signals.iter().any(|signal| signal.name == "address.banned" && signal.mnats == 1_000));
    assert!(!assessed.has_evidence(), "{assessed:?}");
    let mut settings = Settings::default();
    settings.ban.mode = BanMode::Simulate;
    engine.reconfigure(settings);
    assert_eq!(signal(&engine, &alice, SHARED, now, "address.banned"), None, "a simulated ban changes nothing");
}

#[test]
fn scores_are_counted_for_a_budget_alone_and_become_thresholds() {
    let engine = engine_of(Settings::default());
    let count = |n: u32, mnats: i32| {
        let who = user(&format!("u{n}"));
        let caller = from(HOME, &who);
        engine.count_passed(&engine.keys_of(&caller), 1, mnats, start());
    };
    (0..3_000).for_each(|n| count(n, 0));
    assert_eq!((engine.counted(), engine.calibrate(start(), true)), ((None, [0; 3]), Err(CalibrationError::NoBudget)));
    let settings =
        |budget| Settings { step_up_budget: Some(budget), calibrate: Calibrate::ByHand, ..Settings::default() };
    engine.reconfigure(settings(10_000));
    assert!(!engine.calibrates_daily());
    (0..1_980).for_each(|n| count(n, 0));
    let too_few = CalibrationError::TooLittle { counted: 1_980, enough: 2_000 };
    assert_eq!(engine.calibrate(start(), true), Err(too_few));
    (1_980..2_000).for_each(|n| count(n, 2_730));
    let made = engine.calibrate(start(), true).unwrap();
    assert_eq!(made.thresholds[1].map(|each| each.step_up_mnats), Some(1_000), "20 of 2,000 are one in a hundred");
    assert_eq!((engine.calibration(), engine.display(&made.id, 2_730)), (None, None));
    engine.put_calibration(&made.id).unwrap();
    assert_eq!(engine.calibration().map(|made| made.id.clone()), Some(made.id.clone()));
    assert!(engine.display(&made.id, 2_730).is_some_and(|shown| (600..800).contains(&shown)));
    assert_eq!(engine.display("c9-00000000", 2_730), None);
    assert_eq!(engine.counted().1, [0, 1_000, 0], "what was counted counts half");
    // What is kept is read again by another process, what peers do too.
    engine.profiles.peers.learn(crate::peers::Measure::Requests, &[7], 5);
    let other = engine_of(settings(10_000));
    let now = crate::state::Reading::beginning(start());
    let notes = [engine.urgent_changes(10, now).notes, engine.changes(10, now).notes].concat();
    assert_eq!(notes.iter().map(|(name, _)| *name).collect::<Vec<_>>(), crate::state::NOTES);
    assert!(notes.iter().all(|(name, kept)| other.restore_note(name, kept)));
    assert_eq!((other.calibration(), other.counted()), (engine.calibration(), engine.counted()));
    engine.reconfigure(Settings::default());
    assert_eq!(engine.calibration(), None, "a policy without a budget has none");
}
