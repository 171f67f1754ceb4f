//! Rules against made-up events. The time is a number of seconds.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use portcullis_events::{Event, EventKind, ReasonCode, Severity};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::settings::{Facet, Measure, Mute, MuteTime, Per, When};

/// When the tests begin, by the clock on the wall: a Sunday.
const BEGIN: i64 = 1_795_910_400;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub(crate) fn rule(condition: Condition, per: Per) -> Rule {
    Rule {
        name: "r".into(),
        when: When::default(),
        condition,
        per,
        cool_down: seconds(100),
        batch: Duration::ZERO,
        resolve: false,
        severity: Severity::High,
        mutes: Vec::new(),
        runbook: None,
        notify: Vec::new(),
        contain: Vec::new(),
        max_contained: 2,
        max_keys: 1_000,
    }
}

/// One that fires for each event.
pub(crate) fn rule_for_tests() -> Rule {
    rule(count(1, 10), Per::All)
}

fn count(count: usize, window: u64) -> Condition {
    Condition::Count { count, window: seconds(window) }
}

fn at(second: i64) -> Now {
    Now { steady_us: second * 1_000_000, wall: Timestamp::from_second(BEGIN + second).unwrap() }
}

fn engine(rule: Rule) -> Engine {
    let mut engine = Engine::default();
    engine.replace(&[Arc::new(rule)], at(0));
    engine
}

/// What an event is of: a principal, an address, a route, a reason, a path; `-` for none.
pub(crate) fn event(facts: &str) -> Event {
    let parts: Vec<&str> = facts.split(' ').collect();
    let part = |index: usize| parts.get(index).copied().filter(|part| *part != "-");
    let code = part(3).and_then(ReasonCode::parse).unwrap_or(ReasonCode::RbacNoMatchingGrant);
    let mut event = Event::denied(Uuid::now_v7(), at(0).wall, code);
    if let Some(principal) = part(0) {
        event.identity.kind = Some("user");
        event.identity.id = Some(principal.to_owned());
    }
    event.client.ip = part(1).map(|address| address.parse().unwrap());
    event.policy.route = part(2).map(Into::into);
    event.request.path = part(4).map(str::to_owned);
    event
}

fn see(engine: &mut Engine, facts: &str, second: i64) -> Vec<Firing> {
    let mut fired = Vec::new();
    engine.observe(&Arc::new(Sighting::of(&event(facts))), &[0], at(second), &mut fired);
    fired
}

/// Feeds `SECOND FACTS` and says when which key fired.
#[track_caller]
fn check(rule: Rule, events: &[(i64, &str)], expected: &[(i64, &str)]) {
    let mut engine = engine(rule);
    let mut fired = Vec::new();
    for (second, facts) in events {
        fired.extend(see(&mut engine, facts, *second).into_iter().map(|firing| (*second, firing.key.to_string())));
    }
    let fired: Vec<(i64, &str)> = fired.iter().map(|(second, key)| (*second, key.as_str())).collect();
    assert_eq!(fired, expected);
}

const ADDRESS: Per = Per::Each(Facet::Address);
const PRINCIPAL: Per = Per::Each(Facet::Principal);

#[test]
fn a_threshold_is_reached_by_the_last_event_within_the_window() {
    let three = || rule(count(3, 10), Per::All);
    check(three(), &[(0, "-"), (1, "-")], &[]);
    check(three(), &[(0, "-"), (1, "-"), (9, "-")], &[(9, "all")]);
    // An event that is as old as the window is long does not count any more.
    check(three(), &[(0, "-"), (1, "-"), (10, "-")], &[]);
    check(three(), &[(0, "-"), (1, "-"), (10, "-"), (10, "-")], &[(10, "all")]);
    check(rule(count(1, 1), Per::All), &[(0, "-"), (1, "-")], &[(0, "all")]);
}

#[test]
fn keys_are_counted_apart_and_an_event_without_one_not_at_all() {
    let by_address = rule(count(2, 10), ADDRESS);
    let events = [(0, "- 192.0.2.1"), (1, "- 192.0.2.2"), (2, "-"), (3, "-"), (4, "- 192.0.2.2"), (5, "- 192.0.2.1")];
    check(by_address, &events, &[(4, "192.0.2.2"), (5, "192.0.2.1")]);
    // One subscriber of IPv6 holds a /64, and a mapped address is the IPv4 one.
    let events = [(0, "- 2001:db8::1"), (1, "- 2001:db8::ffff:1"), (2, "- 2001:db8:0:1::1")];
    check(rule(count(2, 10), ADDRESS), &events, &[(1, "2001:db8::/64")]);
    check(rule(count(2, 10), ADDRESS), &[(0, "- 192.0.2.1"), (1, "- ::ffff:192.0.2.1")], &[(1, "192.0.2.1")]);
    check(rule(count(2, 10), PRINCIPAL), &[(0, "a"), (1, "b"), (2, "a")], &[(2, "user:a")]);
    let by_route = rule(count(2, 10), Per::Each(Facet::Route));
    check(by_route, &[(0, "a - x"), (1, "b - y"), (2, "c - x")], &[(2, "x")]);
    let by_reason = rule(count(2, 10), Per::Each(Facet::Reason));
    let events = [(0, "- - - authn.invalid"), (1, "- - - ip.denied"), (2, "- - - authn.invalid")];
    check(by_reason, &events, &[(2, "authn.invalid")]);
}

#[test]
fn different_values_are_counted_once_each_while_they_are_within_the_window() {
    let principals = || rule(Condition::Distinct { of: Facet::Principal, count: 3, window: seconds(10) }, ADDRESS);
    let a = "a 192.0.2.1";
    let (b, c, d) = ("b 192.0.2.1", "c 192.0.2.1", "d 192.0.2.1");
    check(principals(), &[(0, a), (1, a), (2, a), (3, b), (4, b)], &[]);
    check(principals(), &[(0, a), (1, b), (2, c)], &[(2, "192.0.2.1")]);
    // The first was seen again, so it is within the window; in the other case it is not.
    check(principals(), &[(0, a), (1, b), (5, a), (10, c)], &[(10, "192.0.2.1")]);
    check(principals(), &[(0, a), (1, b), (10, c)], &[]);
    check(principals(), &[(0, a), (1, b), (10, c), (10, d)], &[(10, "192.0.2.1")]);
    check(principals(), &[(0, a), (1, "b 192.0.2.2"), (2, "c 192.0.2.3"), (3, "- 192.0.2.1")], &[]);
    // Paths are told apart beyond what is kept of them.
    let paths = rule(Condition::Distinct { of: Facet::Path, count: 2, window: seconds(10) }, Per::All);
    let long = "x".repeat(200);
    let (one, two) = (format!("- - - - /{long}/1"), format!("- - - - /{long}/2"));
    check(paths, &[(0, &one), (1, &one), (2, &two)], &[(2, "all")]);
}

#[test]
fn something_is_new_until_it_was_seen_and_again_when_it_is_forgotten() {
    let new = |learn: u64| {
        let condition = Condition::New { of: Facet::Reason, memory: seconds(1_000), learn: seconds(learn) };
        Rule { cool_down: seconds(1), ..rule(condition, PRINCIPAL) }
    };
    let (a, other, b) = ("a - - authn.invalid", "a - - ip.denied", "b - - authn.invalid");
    check(new(0), &[(0, a), (2, a), (4, other), (6, other), (8, b)], &[(0, "user:a"), (4, "user:a"), (8, "user:b")]);
    // What comes while it learns is usual; at its end something can be new.
    check(new(10), &[(0, a), (9, other), (10, a), (11, other), (12, b)], &[(12, "user:b")]);
    check(new(10), &[(10, a)], &[(10, "user:a")]);
    // Each sight of it keeps it in mind.
    check(new(0), &[(0, a), (999, a), (1_998, a)], &[(0, "user:a")]);
    check(new(0), &[(0, a), (1_000, a)], &[(0, "user:a"), (1_000, "user:a")]);
}

#[test]
fn a_key_that_has_fired_is_quiet_until_it_has_cooled_down() {
    let one = || rule(count(1, 10), ADDRESS);
    let (a, b) = ("- 192.0.2.1", "- 192.0.2.2");
    check(one(), &[(0, a), (1, a), (99, a), (100, a), (101, a)], &[(0, "192.0.2.1"), (100, "192.0.2.1")]);
    check(one(), &[(0, a), (1, b)], &[(0, "192.0.2.1"), (1, "192.0.2.2")]);
}

#[test]
fn a_clock_that_steps_back_stands_still() {
    check(rule(count(2, 10), Per::All), &[(100, "-"), (50, "-")], &[(100 - 50, "all")]);
    // The cool-down is not shortened by it.
    let events = [(100, "-"), (0, "-"), (150, "-"), (199, "-"), (200, "-")];
    check(rule(count(1, 10), Per::All), &events, &[(100, "all"), (200, "all")]);
}

#[test]
fn while_it_is_muted_a_firing_says_so_and_afterwards_it_fires_at_once() {
    let mute = |time| Mute { time, reason: "upgrade".into() };
    let span = MuteTime::Span(at(10).wall, at(20).wall);
    let hours = portcullis_policy::Hours::parse("Sun 00:00-24:00 UTC", |_| Some(jiff::tz::TimeZone::UTC)).unwrap();
    let muted = |time: MuteTime, second: i64| {
        let mut engine = engine(Rule { mutes: vec![mute(time)], ..rule(count(1, 10), Per::All) });
        see(&mut engine, "-", second).remove(0).muted.is_some()
    };
    for (second, expected) in [(9, false), (10, true), (19, true), (20, false)] {
        assert_eq!(muted(span.clone(), second), expected, "{second}");
    }
    assert_eq!(at(0).wall.to_zoned(jiff::tz::TimeZone::UTC).weekday(), jiff::civil::Weekday::Sunday);
    assert!(muted(MuteTime::Weekly(hours.clone()), 0) && !muted(MuteTime::Weekly(hours), 24 * 60 * 60));
    let mut engine = engine(Rule { mutes: vec![mute(span)], ..rule(count(1, 10), Per::All) });
    let mut fired = |second: i64| see(&mut engine, "-", second).first().map(|firing| firing.muted.is_some());
    assert_eq!([10, 15, 20, 21].map(&mut fired), [Some(true), None, Some(false), None]);
}

#[test]
fn no_mute_holds_for_a_policy_that_was_changed_behind_the_gateways_back() {
    let mute = Mute { time: MuteTime::Span(at(0).wall, at(50).wall), reason: "upgrade".into() };
    let mut engine = engine(Rule { mutes: vec![mute.clone()], ..rule(count(1, 10), Per::All) });
    let all: MutesByHand = [(None, mute)].into_iter().collect();
    engine.mute_by_hand(&Arc::new(all));
    let mut see = |kind, second| {
        let mut fired = Vec::new();
        let mut event = event("-");
        event.kind = kind;
        engine.observe(&Arc::new(Sighting::of(&event)), &[0], at(second), &mut fired);
        fired.first().map(|firing| firing.muted.is_some())
    };
    let (other, tampered) = (EventKind::PolicyRejected, EventKind::PolicyTampered);
    assert_eq!(see(other, 1), Some(true));
    assert_eq!(see(tampered, 2), Some(false), "also where another event of the same alert was muted a moment ago");
    assert_eq!((see(tampered, 3), see(other, 4)), (None, None), "it was told, and cools down");
}

#[test]
fn an_end_is_said_once_when_the_rate_has_fallen() {
    let mut engine = engine(Rule { resolve: true, ..rule(count(2, 10), ADDRESS) });
    assert!(see(&mut engine, "- 192.0.2.1", 0).is_empty());
    assert_eq!(see(&mut engine, "- 192.0.2.1", 5).len(), 1);
    let mut ends = |second: i64| {
        let mut ended = Vec::new();
        engine.tick(at(second), &mut ended);
        ended
    };
    assert!(ends(9).is_empty());
    let ended = ends(10);
    assert_eq!((ended[0].phase, ended[0].key.to_string(), ended[0].count), (Phase::Resolved, "192.0.2.1".into(), 1));
    assert_eq!(ended[0].since, at(5).wall);
    assert!(ends(11).is_empty() && ends(500).is_empty());
    assert!(!engine.is_firing());
    // It fires again after its cool-down, and ends again.
    see(&mut engine, "- 192.0.2.1", 501);
    assert_eq!(see(&mut engine, "- 192.0.2.1", 502).len(), 1);
    let mut ended = Vec::new();
    engine.tick(at(520), &mut ended);
    assert_eq!(ended.len(), 1);
}

#[test]
fn what_is_new_while_a_rule_is_quiet_is_told_of_as_soon_as_it_can_be() {
    let condition = Condition::New { of: Facet::Reason, memory: seconds(10_000), learn: seconds(0) };
    let by_principal = || rule(condition, PRINCIPAL);
    let (first, second, third) = ("a - - authn.invalid", "a - - ip.denied", "a - - route.not_found");
    // While it cools down it cannot fire for the others, and each is new still when it can.
    let events =
        [(0, first), (1, second), (2, third), (99, second), (100, second), (150, third), (200, first), (201, third)];
    check(by_principal(), &events, &[(0, "user:a"), (100, "user:a"), (201, "user:a")]);
    check(by_principal(), &[(0, first), (1, second), (200, second), (400, second)], &[(0, "user:a"), (200, "user:a")]);
    // What came while nobody was told is told of afterwards, once.
    let span = MuteTime::Span(at(10).wall, at(20).wall);
    let mutes = vec![Mute { time: span, reason: "upgrade".into() }];
    let mut engine = engine(Rule { mutes, ..by_principal() });
    let mut fired = |facts: &str, second: i64| {
        see(&mut engine, facts, second).first().map(|firing| (firing.muted.is_some(), firing.evidence.len()))
    };
    assert_eq!((fired(first, 10), fired(first, 15), fired(first, 20)), (Some((true, 1)), None, Some((false, 3))));
    assert_eq!((fired(first, 21), fired(first, 500)), (None, None));
}

#[test]
fn a_key_with_more_values_than_are_remembered_does_not_fire_for_those_that_were_forgotten() {
    let condition = Condition::New { of: Facet::Path, memory: seconds(10_000), learn: seconds(1_000) };
    let mut engine = engine(Rule { cool_down: seconds(1), ..rule(condition, Per::All) });
    let path = |number: usize| format!("- - - - /{number}");
    for number in 0..tally::REMEMBERED {
        assert!(see(&mut engine, &path(number), 1).is_empty());
    }
    // As many as are remembered: the next one is new.
    assert_eq!(see(&mut engine, "- - - - /new", 2_000).len(), 1);
    assert_eq!(engine.states(at(0).wall)[0].overflowed, 0);
    // One had to be forgotten for it, so nobody knows of anything any more whether it is new.
    assert!(see(&mut engine, &path(0), 2_010).is_empty() && see(&mut engine, "- - - - /newer", 2_020).is_empty());
    assert!(engine.states(at(0).wall)[0].overflowed >= 1);
    // Until what was forgotten would be too old.
    assert_eq!(see(&mut engine, "- - - - /latest", 20_000).len(), 1);
}

#[test]
fn keys_are_bounded_and_one_that_has_fired_stays_quiet() {
    let mut engine = engine(Rule { max_keys: 3, ..rule(count(2, 1_000), PRINCIPAL) });
    see(&mut engine, "a", 0);
    assert_eq!(see(&mut engine, "a", 1).len(), 1);
    for name in ["b", "c", "d", "e"] {
        see(&mut engine, name, 2);
    }
    let state = engine.states(at(0).wall).remove(0);
    assert_eq!((state.keys, state.evicted, state.crowded), (3, 2, 0));
    // `a` has not cooled down, so it is quiet.
    assert!(see(&mut engine, "a", 3).is_empty() && see(&mut engine, "a", 4).is_empty());
    // The one unused for longest went first.
    assert_eq!(see(&mut engine, "d", 5).len(), 1);
    assert_eq!(see(&mut engine, "e", 5).len(), 1);
    // As many fire as may; of another one it is said that there are others, and that once while that cools down.
    assert!(see(&mut engine, "f", 6).is_empty());
    let others = see(&mut engine, "f", 6).remove(0);
    assert_eq!((&others.key, others.count, others.evidence.len()), (&Key::Others, 3, 2));
    assert!(
        others.sentence().starts_with("3 principals fire at once, and there is no room for more"),
        "{}",
        others.sentence()
    );
    assert!(see(&mut engine, "g", 7).is_empty() && see(&mut engine, "g", 7).is_empty());
    let state = engine.states(at(0).wall).remove(0);
    assert_eq!((state.keys, state.crowded, state.firing.len()), (3, 2, 3));
    // Once they hold no longer and have cooled down, there is room.
    engine.tick(at(2_000), &mut Vec::new());
    see(&mut engine, "f", 2_001);
    assert_eq!(see(&mut engine, "f", 2_001)[0].key.to_string(), "user:f");
}

#[test]
fn keys_that_only_cool_down_take_nobodys_room() {
    let mut engine = engine(Rule { max_keys: 4, cool_down: seconds(1_000), ..rule(count(2, 10), PRINCIPAL) });
    for name in ["a", "b", "c"] {
        see(&mut engine, name, 0);
        assert_eq!(see(&mut engine, name, 0).len(), 1, "{name}");
    }
    // They are cooling down, and four others can be counted at once.
    for name in ["e", "f", "g", "h"] {
        assert!(see(&mut engine, name, 50).is_empty());
    }
    assert_eq!(see(&mut engine, "e", 51).len(), 1);
    // One of those that fired begins again meanwhile, and fires when it may.
    let mut engine = tests::engine(Rule { max_keys: 4, ..rule(count(2, 10), PRINCIPAL) });
    let mut fired = |second: i64| see(&mut engine, "a", second).len();
    assert_eq!([0, 0, 95, 99, 100].map(&mut fired), [0, 1, 0, 0, 1]);
}

#[test]
fn no_more_is_contained_than_the_bound_says() {
    let contained = rule(count(1, 10), ADDRESS);
    let short = Containment { measure: Measure::BanAddress, lasts: seconds(5) };
    let long = Containment { lasts: seconds(60), ..short };
    let key = |number: u8| Key::Address([192, 0, 2, number].into());
    let mut engine = engine(contained.clone());
    let mut contain = |number: u8, containment, second| {
        let may = engine.may_contain(&contained, &key(number), at(second));
        if may {
            engine.note_contained(&contained, &key(number), containment, at(second));
        }
        may
    };
    assert!(contain(1, long, 0) && contain(2, short, 0) && !contain(3, short, 9));
    // One that is contained counts once, whatever is done to it besides.
    assert!(contain(1, short, 9) && contain(2, short, 9));
    // A short one counts as long as the window is.
    assert!(!contain(3, short, 18) && contain(3, short, 19) && !contain(4, short, 20));
    assert!(contain(5, short, 60) && contain(6, short, 60) && !contain(7, short, 60));
    // What was asked for and not done counts for nothing.
    assert!(engine.may_contain(&contained, &key(9), at(100)) && engine.may_contain(&contained, &key(10), at(100)));
    assert!(contain_all(&mut engine, &contained, at(100)));
    assert!(!Engine::default().may_contain(&contained, &key(1), at(0)));
}

/// Two others can be contained, whatever was asked before.
fn contain_all(engine: &mut Engine, rule: &Rule, now: Now) -> bool {
    let containment = Containment { measure: Measure::BanAddress, lasts: seconds(5) };
    [11, 12].into_iter().all(|number| {
        let key = Key::Address([192, 0, 2, number].into());
        let may = engine.may_contain(rule, &key, now);
        engine.note_contained(rule, &key, containment, now);
        may
    })
}

#[test]
fn what_an_operator_mutes_is_muted_until_its_end_or_until_it_is_taken_back() {
    let span =
        |until: i64, reason: &str| Mute { time: MuteTime::Span(at(0).wall, at(until).wall), reason: reason.into() };
    let mut engine = engine(Rule { cool_down: seconds(1), ..rule(count(1, 10), Per::All) });
    let mute = |engine: &mut Engine, mutes: &[(Option<&str>, Mute)]| {
        let mutes = mutes.iter().map(|(name, mute)| (name.map(Arc::from), mute.clone())).collect();
        engine.mute_by_hand(&Arc::new(mutes));
    };
    let muted = |engine: &mut Engine, second: i64| see(engine, "-", second)[0].muted.as_deref().map(str::to_owned);
    mute(&mut engine, &[(Some("another"), span(100, "x"))]);
    assert_eq!(muted(&mut engine, 1), None);
    mute(&mut engine, &[(Some("r"), span(10, "its own")), (None, span(20, "all"))]);
    assert_eq!((muted(&mut engine, 5), muted(&mut engine, 10)), (Some("its own".into()), Some("all".into())));
    // A rule that a reload brings is muted, too.
    engine.replace(&[Arc::new(rule(count(1, 11), Per::All))], at(11));
    assert_eq!(engine.states(at(12).wall)[0].muted.as_deref(), Some("all"));
    assert_eq!((muted(&mut engine, 12), muted(&mut engine, 20)), (Some("all".into()), None));
    engine.replace(&[Arc::new(rule(count(1, 12), Per::All))], at(21));
    mute(&mut engine, &[(None, span(100, "all"))]);
    assert_eq!(muted(&mut engine, 22), Some("all".into()));
    mute(&mut engine, &[]);
    assert_eq!(muted(&mut engine, 23), None, "nobody was told, and now somebody is");
}

#[test]
fn who_was_not_told_that_it_began_is_not_told_that_it_is_over() {
    let span = MuteTime::Span(at(0).wall, at(20).wall);
    let mutes = vec![Mute { time: span, reason: "upgrade".into() }];
    let mut engine = engine(Rule { resolve: true, mutes, ..rule(count(1, 30), Per::All) });
    assert!(see(&mut engine, "-", 5)[0].muted.is_some());
    let mut ended = Vec::new();
    engine.tick(at(50), &mut ended);
    assert_eq!(ended.iter().map(|firing| firing.muted.as_deref()).collect::<Vec<_>>(), [Some("upgrade")]);
    assert_eq!(see(&mut engine, "-", 200)[0].muted, None);
    engine.tick(at(300), &mut ended);
    assert_eq!(ended[1].muted, None);
}

#[test]
fn a_claimed_name_counts_as_a_principal_and_is_nobodys_key() {
    let sighting = |name: &str, verified: bool| {
        let mut event = event("- 192.0.2.1 - authn.invalid");
        if verified {
            (event.identity.kind, event.identity.id) = (Some("user"), Some(name.to_owned()));
        } else {
            event.claimed = Some(portcullis_events::event::claimed_name(name));
        }
        Arc::new(Sighting::of(&event))
    };
    let fired = |rule: Rule, names: &[(&str, bool)]| {
        let (mut engine, mut fired) = (engine(rule), Vec::new());
        for (name, verified) in names {
            engine.observe(&sighting(name, *verified), &[0], at(1), &mut fired);
        }
        fired.iter().map(|firing| firing.count).collect::<Vec<_>>()
    };
    let sprayed = || rule(Condition::Distinct { of: Facet::Principal, count: 3, window: seconds(10) }, ADDRESS);
    assert_eq!(fired(sprayed(), &[("a", false), ("b", false), ("c", false)]), [3]);
    assert_eq!(fired(sprayed(), &[("a", false), ("a", false), ("b", false), ("b", false)]), [0; 0]);
    // Who mistypes a credential and then gets it right is one.
    assert_eq!(fired(sprayed(), &[("a", false), ("b", false), ("b", true)]), [0; 0]);
    assert_eq!(fired(rule(count(1, 10), PRINCIPAL), &[("a", false)]), [0; 0], "anybody can claim to be anybody");
    let condition = Condition::New { of: Facet::Principal, memory: seconds(1_000), learn: seconds(0) };
    assert_eq!(fired(rule(condition, ADDRESS), &[("a", false)]), [0; 0]);
}

#[test]
fn a_name_that_was_cut_is_another_key_than_one_that_looks_like_it() {
    let sighting = |name: &str, cut: bool| {
        let mut event = event(name);
        event.truncated = if cut { vec!["identity.id"] } else { Vec::new() };
        Arc::new(Sighting::of(&event))
    };
    let (mut engine, mut fired) = (engine(rule(count(2, 10), PRINCIPAL)), Vec::new());
    engine.observe(&sighting("a", true), &[0], at(1), &mut fired);
    engine.observe(&sighting("a\u{2026}", false), &[0], at(1), &mut fired);
    engine.observe(&sighting("a", false), &[0], at(1), &mut fired);
    assert!(fired.is_empty());
    engine.observe(&sighting("a", true), &[0], at(1), &mut fired);
    assert_eq!(fired.iter().map(|firing| &firing.key).collect::<Vec<_>>(), [&Key::Cut("user:a".into())]);
}

#[test]
fn of_different_values_it_is_said_since_when_the_first_of_them_is_there() {
    let mut engine = engine(rule(Condition::Distinct { of: Facet::Principal, count: 3, window: seconds(10) }, ADDRESS));
    let mut since = |name: &str, second: i64| {
        see(&mut engine, &format!("{name} 192.0.2.1"), second).first().map(|firing| firing.since)
    };
    assert_eq!((since("a", 1), since("a", 5), since("b", 6)), (None, None, None));
    assert_eq!(since("c", 8), Some(at(1).wall));
}

#[test]
fn a_rule_that_stays_goes_on_counting_over_a_reload() {
    let mut engine = engine(rule(count(2, 100), Per::All));
    see(&mut engine, "-", 0);
    engine.replace(&[Arc::new(rule(count(2, 100), Per::All))], at(1));
    assert_eq!(see(&mut engine, "-", 2).len(), 1);
    // Whom it tells, when, and what it does may be another now: what it has learnt is kept, and its cool-down too.
    let mutes = vec![Mute { time: MuteTime::Span(at(0).wall, at(500).wall), reason: "upgrade".into() }];
    engine.replace(&[Arc::new(Rule { mutes, notify: vec!["x".into()], ..rule(count(2, 100), Per::All) })], at(3));
    assert!(see(&mut engine, "-", 4).is_empty());
    assert_eq!(see(&mut engine, "-", 102)[0].muted.as_deref(), Some("upgrade"));
    engine.replace(&[Arc::new(rule(count(2, 90), Per::All))], at(103));
    assert!(see(&mut engine, "-", 104).is_empty(), "another rule begins anew");
}

#[test]
fn a_firing_cites_the_last_events_newest_first_and_says_since_when() {
    let mut engine = engine(rule(count(7, 100), Per::All));
    let mut ids = Vec::new();
    let mut fired = Vec::new();
    for second in 0..7 {
        let sighting = Arc::new(Sighting::of(&event("a 192.0.2.1 x authn.invalid /p")));
        ids.push(sighting.id);
        engine.observe(&sighting, &[0], at(second + 3), &mut fired);
    }
    let firing = fired.remove(0);
    ids.reverse();
    assert_eq!(firing.evidence.iter().map(|sighting| sighting.id).collect::<Vec<_>>(), ids[..5]);
    assert_eq!((firing.count, firing.since, firing.time), (7, at(3).wall, at(9).wall));
    let text = firing.sentence();
    assert_eq!(
        text,
        "7 events of all requests within 100s (reason authn.invalid; route x; principal user:a; address 192.0.2.1), \
         since 2026-11-29T00:00:03Z"
    );
    assert_eq!(firing.runbook("https://h/").as_deref(), Some("https://h/authn.invalid"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Against a plain recount of everything.
    #[test]
    fn it_never_fires_under_the_threshold_and_once_in_a_cool_down(
        threshold in 1_usize..6,
        window in 1_u64..30,
        cool_down in 1_u64..60,
        steps in proptest::collection::vec((0_i64..8, 0_u8..3), 1..120),
    ) {
        let rule = Rule { cool_down: seconds(cool_down), ..rule(count(threshold, window), PRINCIPAL) };
        let mut engine = engine(rule);
        let (mut now, mut seen, mut fired) = (0, Vec::new(), Vec::<(i64, u8)>::new());
        for (step, who) in steps {
            now += step;
            seen.push((now, who));
            if now % 3 == 0 {
                engine.tick(at(now), &mut Vec::new());
            }
            let firings = see(&mut engine, &format!("p{who}"), now);
            let within = seen.iter().filter(|(time, name)| *name == who && *time > now - i64::try_from(window).unwrap());
            let holds = within.count() >= threshold;
            let last = fired.iter().rev().find(|(_, name)| *name == who);
            let cooled = last.is_none_or(|(time, _)| now - time >= i64::try_from(cool_down).unwrap());
            prop_assert_eq!(firings.len(), usize::from(holds && cooled), "at {}", now);
            fired.extend(firings.iter().map(|_| (now, who)));
        }
    }

    /// The same of different values.
    #[test]
    fn different_values_are_counted_as_a_plain_recount_does(
        threshold in 2_usize..5,
        window in 1_u64..20,
        steps in proptest::collection::vec((0_i64..5, 0_u8..8), 1..120),
    ) {
        let condition = Condition::Distinct { of: Facet::Principal, count: threshold, window: seconds(window) };
        let mut engine = engine(Rule { cool_down: seconds(1), ..rule(condition, Per::All) });
        let (mut now, mut seen, mut last) = (0, Vec::new(), None);
        for (step, who) in steps {
            now += step;
            seen.push((now, who));
            let fired = !see(&mut engine, &format!("p{who}"), now).is_empty();
            let horizon = now - i64::try_from(window).unwrap();
            let within: std::collections::BTreeSet<u8> =
                seen.iter().filter(|(time, _)| *time > horizon).map(|(_, name)| *name).collect();
            let expected = within.len() >= threshold && last.is_none_or(|last| now > last);
            prop_assert_eq!(fired, expected, "at {}", now);
            if fired {
                last = Some(now);
            }
        }
    }
}

#[test]
fn spans_of_time_are_said_as_they_are_written() {
    for (duration, expected) in [(90, "90s"), (300, "5m"), (7_200, "2h"), (604_800, "7d"), (0, "0s")] {
        assert_eq!(crate::words::span(seconds(duration)), expected);
    }
    assert_eq!(earlier(at(5).wall, SignedDuration::from_secs(5).as_micros().try_into().unwrap()), at(0).wall);
}
