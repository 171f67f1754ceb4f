//! What a profile remembers, and for how long.

use super::*;
use crate::decay::ONCE;
use crate::moment::TICK_BITS;
use crate::place::Location;

/// A Monday, 10:00 UTC.
const NOW: u64 = 1_795_428_000 * 16;
const MINUTE: u64 = 60 * 16;
const DAY: u64 = 24 * 60 * MINUTE;

fn hash(n: u64) -> u64 {
    n << 40
}

/// From a network, a device and a software of these numbers; 0 is none.
fn traits(network: u64, device: u64, agent: u64) -> Traits {
    let some = |n: u64| (n > 0).then(|| hash(n));
    Traits { network: some(network), device: some(device), agent: some(agent), ..Traits::default() }
}

fn learn(profiles: &Profiles, principal: u64, traits: &Traits, now: u64) {
    profiles.learn(principal, traits, || traits.agent.map(|agent| agent ^ 1 << 63), Vec::new, false, now);
}

#[test]
fn what_was_learned_is_usual_and_the_rest_is_not() {
    let profiles = Profiles::new(8);
    let compare = |network, device, agent| {
        let found = profiles.compare(9, &traits(network, device, agent), NOW);
        (found.history, found.network, found.device, found.agent)
    };
    assert_eq!(compare(1, 1, 1), (0, None, None, None));
    learn(&profiles, 9, &traits(1, 0, 0), NOW);
    assert_eq!(compare(1, 1, 1), (1, Some(true), None, None));
    learn(&profiles, 9, &traits(1, 3, 4), NOW);
    assert_eq!(compare(1, 3, 4), (2, Some(true), Some(true), Some(true)));
    assert_eq!(compare(2, 4, 3), (2, Some(false), Some(false), Some(false)));
    assert_eq!(compare(0, 0, 0), (2, None, None, None));
}

#[test]
fn a_known_principal_counts_once_in_ten_minutes() {
    let profiles = Profiles::new(8);
    let history = |now| profiles.compare(9, &Traits::default(), now).history;
    for n in 0..1_000 {
        learn(&profiles, 9, &traits(1, 0, 0), NOW + n);
    }
    assert_eq!(history(NOW), 64);
    for n in 1..=80 {
        learn(&profiles, 9, &traits(1, 0, 0), NOW + n * 10 * MINUTE);
        learn(&profiles, 9, &traits(1, 0, 0), NOW + n * 10 * MINUTE + MINUTE);
    }
    assert_eq!(history(NOW + 800 * MINUTE), 144);
}

#[test]
fn what_is_not_seen_for_long_fades_and_is_forgotten() {
    let profiles = Profiles::new(8);
    for n in 0..64 {
        learn(&profiles, 9, &traits(1, 0, 0), NOW + n);
    }
    let after = |days: u64| profiles.compare(9, &traits(1, 0, 0), NOW + days * DAY);
    assert_eq!([0, 15, 30, 60, 90].map(|days| after(days).history), [64, 46, 32, 16, 8]);
    // A new habit beside it: the old network goes once nothing is left of its sights.
    learn(&profiles, 9, &traits(2, 0, 0), NOW + 60 * DAY);
    assert_eq!((after(60).history, after(60).network), (17, Some(true)));
    learn(&profiles, 9, &traits(2, 0, 0), NOW + 400 * DAY);
    assert_eq!((after(400).history, after(400).network), (1, Some(false)));
}

#[test]
fn habits_do_not_fade_while_they_last() {
    let profiles = Profiles::new(8);
    for day in 0..400 {
        for visit in 0..4 {
            learn(&profiles, 9, &traits(1 + visit % 2, 0, 0), NOW + day * DAY + visit * 30 * MINUTE);
        }
    }
    let found = profiles.compare_closely(9, &traits(1, 0, 0), None, NOW + 400 * DAY);
    // Four a day, fading by half in 30 days, settle at about 4 · 30 / ln 2 = 173.
    let sights = found.history / ONCE;
    assert!((165..=180).contains(&sights), "{sights}");
    assert!(found.history.abs_diff(2 * found.network) < 6 * ONCE, "{found:?}");
}

#[test]
fn the_principal_not_seen_for_longest_is_forgotten() {
    let profiles = Profiles::new(8);
    for principal in 2..10 {
        learn(&profiles, principal, &traits(1, 0, 0), NOW - principal * 1_000);
    }
    learn(&profiles, 100, &traits(1, 0, 0), NOW + 1_000);
    assert_eq!(profiles.len(), 8);
    let history = |principal| profiles.compare(principal, &Traits::default(), NOW).history;
    assert_eq!((history(9), history(2)), (0, 1));
    assert!(profiles.forget(2) && !profiles.forget(2));
    assert_eq!(profiles.show(2, NOW), None);
    assert_eq!(history(2), 0);
}

#[test]
fn a_place_is_looked_up_once_and_counted_with_each_visit() {
    let profiles = Profiles::new(8);
    let location = Location {
        country: CountryCode::parse("DE"),
        asn: Some(64_500),
        position: Position::from_degrees(52.52, 13.41, Some(20)),
        missing: false,
    };
    let looked_up = Traits { location: Some(location), asn: Some(64_500), ..traits(1, 0, 0) };
    assert!(!profiles.compare(9, &looked_up, NOW).placed);
    learn(&profiles, 9, &looked_up, NOW);
    for n in 1..10 {
        learn(&profiles, 9, &traits(1, 0, 0), NOW + n * 10 * MINUTE);
    }
    let found = profiles.compare(9, &traits(1, 0, 0), NOW);
    assert_eq!((found.placed, found.asn), (true, Some(64_500)));
    let compared = profiles.compare_closely(9, &looked_up, None, NOW);
    assert_eq!([compared.history, compared.network, compared.asn, compared.country], [160; 4]);
    assert!(profiles.was_near(9, location.position.unwrap()));
    let far = Position::from_degrees(-33.87, 151.21, None).unwrap();
    assert!(!profiles.was_near(9, far) && !profiles.was_near(10, location.position.unwrap()));
    assert_eq!(compared.last.map(|sight| sight.at), Some(NOW + 90 * MINUTE));
    let levels = profiles.levels(&compared, &looked_up).unwrap();
    let users = |level: Option<Level>| level.map(|level| level.principals);
    assert_eq!((users(levels.country), users(levels.asn), levels.network.principals), (Some(1), Some(1), 1));
    let nowhere = Location { country: Some(CountryCode::NOWHERE), asn: None, ..location };
    assert_eq!(profiles.levels(&compared, &Traits { location: Some(nowhere), ..traits(1, 0, 0) }), None);
}

#[test]
fn a_passed_step_up_counts_for_its_device_and_system_and_for_twelve_hours() {
    let profiles = Profiles::new(8);
    let from = |network, agent, asn| Traits { asn, ..traits(network, 0, agent) };
    let home = from(1, 1, Some(64_500));
    profiles.learn(9, &home, || None, Vec::new, true, NOW);
    let check = |traits: &Traits, later: u64, expected: bool| {
        assert_eq!(profiles.compare_closely(9, traits, None, NOW + later).stepped_up, expected, "{traits:?} {later}");
    };
    check(&home, 0, true);
    check(&home, 12 * 60 * MINUTE - 1, true);
    check(&home, 12 * 60 * MINUTE, false);
    check(&from(2, 1, Some(64_500)), 0, true);
    check(&from(1, 1, Some(64_501)), 0, false);
    check(&from(1, 2, Some(64_500)), 0, false);
    check(&from(1, 0, Some(64_500)), 0, false);
}

#[test]
fn a_token_is_elsewhere_if_another_system_used_it_within_five_minutes() {
    let profiles = Profiles::new(8);
    let used = |token, asn| Traits { token: Some(token), asn: Some(asn), ..traits(1, 0, 0) };
    learn(&profiles, 9, &used(7, 64_500), NOW);
    let check = |traits: &Traits, later: u64, expected: bool| {
        let found = profiles.compare_closely(9, traits, None, NOW + later);
        assert_eq!(found.token_elsewhere, expected, "{traits:?} {later}");
    };
    check(&used(7, 64_501), 0, true);
    check(&used(7, 64_501), 5 * MINUTE - 1, true);
    check(&used(7, 64_501), 5 * MINUTE, false);
    check(&used(7, 64_500), 0, false);
    check(&used(8, 64_501), 0, false);
}

#[test]
fn one_principal_is_no_colleagues_however_often_it_forgets_and_comes_back() {
    let profiles = Profiles::new(64);
    let here = Traits {
        location: Some(Location { asn: Some(1), country: CountryCode::parse("DE"), ..Location::default() }),
        asn: Some(1),
        ..traits(99, 0, 0)
    };
    let mut forgot = 0;
    for n in 0..200 {
        let now = NOW + n * DAY;
        // More networks, systems and countries than a profile holds.
        for other in 1..=20_u32 {
            let code = format!("A{}", char::from(b'A' + u8::try_from(other).unwrap()));
            let location =
                Location { asn: Some(100 + other), country: CountryCode::parse(&code), ..Location::default() };
            let there = Traits { location: Some(location), asn: location.asn, ..traits(u64::from(other), 0, 0) };
            learn(&profiles, hash(9), &there, now);
            learn(&profiles, hash(9), &there, now);
        }
        forgot += u32::from(profiles.compare(hash(9), &here, now).network == Some(false));
        learn(&profiles, hash(9), &here, now);
        if n % 50 == 49 {
            assert!(profiles.forget(hash(9)));
        }
    }
    assert!(forgot > 100, "it was new each time: {forgot}");
    let now = NOW + 199 * DAY;
    assert_eq!((profiles.colleagues(hash(99), hash(8), now), profiles.colleagues(hash(99), hash(9), now)), (1, 0));
    let levels = profiles.levels(&Comparison::default(), &here).unwrap();
    let principals = |level: Option<Level>| level.map(|level| level.principals);
    assert_eq!((levels.network.principals, principals(levels.asn), principals(levels.country)), (1, Some(1), Some(1)));
    (1..4).for_each(|who| learn(&profiles, hash(who), &here, now));
    assert_eq!(profiles.colleagues(hash(99), hash(9), now), 3);
}

#[test]
fn a_doubt_is_answered_by_who_authenticates_after_it_began() {
    let profiles = Profiles::new(8);
    let there = Traits { asn: Some(64_500), ..traits(1, 0, 1) };
    let answered = |traits: &Traits, at: u64| profiles.answered(9, traits, at);
    assert_eq!(answered(&there, NOW + 1), None, "nobody doubted");
    profiles.doubt(9, &there, true, NOW);
    assert_eq!((answered(&there, NOW - 1), answered(&there, NOW), answered(&there, NOW + 1)), (None, None, Some(true)));
    // Asked again meanwhile, in vain: what counts is when it began.
    profiles.doubt(9, &there, true, NOW + MINUTE);
    assert_eq!(answered(&there, NOW + 1), Some(true));
    profiles.doubt(9, &there, true, NOW + 8 * DAY);
    assert_eq!(answered(&there, NOW + 8 * DAY), None);
    // Of somebody else, from elsewhere, with other software.
    assert_eq!(profiles.answered(10, &there, NOW + DAY), None);
    assert_eq!(answered(&Traits { asn: Some(64_501), ..there }, NOW + 9 * DAY), None);
    assert_eq!(answered(&Traits { agent: None, ..there }, NOW + 9 * DAY), None);
    // Who was let in all the same has not been asked, and one without a name for its software can be doubted, too.
    let nameless = traits(2, 0, 0);
    profiles.doubt(9, &nameless, false, NOW);
    assert_eq!((answered(&nameless, NOW), answered(&nameless, NOW + 1)), (None, Some(false)));
    profiles.doubt(9, &nameless, true, NOW - MINUTE);
    assert_eq!((answered(&nameless, NOW), answered(&nameless, NOW + 1)), (None, Some(true)), "after either");
    assert!(profiles.show(9, NOW).is_none(), "a doubt makes nobody known");
    assert!(!profiles.forget(9));
    assert_eq!(answered(&there, NOW + 9 * DAY), None, "and is forgotten with the rest");
}

#[test]
fn a_doubt_outlasts_the_process() {
    let there = Traits { asn: Some(64_500), ..traits(1, 0, 1) };
    let kept = |profiles: &Profiles| {
        let mut kept = Vec::new();
        profiles.take_changed(10, |_, bytes| kept = bytes);
        kept
    };
    let profiles = Profiles::new(8);
    learn(&profiles, 9, &traits(2, 0, 0), NOW - DAY);
    kept(&profiles);
    // Its credential says that it was got later.
    profiles.doubt(9, &there, true, NOW + MINUTE);
    let kept = kept(&profiles);
    assert!(!kept.is_empty(), "a doubt is a change");
    let again = Profiles::new(8);
    // The clock that bans go by was set back meanwhile: a doubt goes by the time of day.
    assert!(again.restore(9, &moved(&kept, -16 * 3_600), NOW));
    let answered = |at: u64| again.answered(9, &there, at);
    assert_eq!((answered(NOW), answered(NOW + MINUTE), answered(NOW + MINUTE + 1)), (None, None, Some(true)));
    assert_eq!(again.answered(9, &traits(2, 0, 0), NOW + DAY), None, "nobody doubted that");
}

#[test]
fn who_uses_a_route_is_counted_again_after_a_restart() {
    let role = || vec![77];
    let profiles = Profiles::new(1_000);
    let traits = |route| Traits { route: Some(route), ..traits(1, 0, 0) };
    for principal in 2..32 {
        for route in [5, 6, 70] {
            profiles.learn(principal, &traits(route), || None, role, false, NOW);
        }
    }
    let again = Profiles::new(1_000);
    profiles.take_changed(1_000, |key, kept| assert!(again.restore(key, &kept, NOW)));
    assert!(!again.is_route_unusual(7, &[77]), "nothing can be said before they come");
    for principal in 2..32 {
        // Of the old ones each uses one of its routes, and a new one uses none of them.
        again.learn(principal, &traits(5), || None, role, false, NOW + MINUTE);
        again.learn(principal, &traits(5), || None, role, false, NOW + MINUTE);
    }
    assert!(again.is_route_unusual(7, &[77]));
    for route in [5, 6, 70] {
        assert!(!again.is_route_unusual(route, &[77]), "{route}");
    }
    assert_eq!(again.commons.count(Common::Role, 77), 30);
}

#[test]
fn a_route_is_unusual_if_hardly_any_of_its_peers_use_it() {
    let check = |peers: u64, users: u64, expected: bool| {
        let profiles = Profiles::new(1_000);
        for principal in 0..peers {
            let traits = |route| Traits { route: Some(route), ..traits(1, 0, 0) };
            profiles.learn(2 + principal, &traits(5), || None, || vec![77], false, NOW);
            if principal < users {
                profiles.learn(2 + principal, &traits(6), || None, || vec![77], false, NOW);
            }
        }
        assert_eq!(profiles.is_route_unusual(6, &[77]), expected, "{users} of {peers}");
        assert!(!profiles.is_route_unusual(6, &[]) && !profiles.is_route_unusual(6, &[78]));
    };
    check(9, 0, false);
    check(10, 0, true);
    check(100, 4, true);
    check(100, 5, false);
}

#[test]
fn a_profile_of_another_clock_is_moved_to_that_of_now() {
    const YEARS: u64 = 26 * 365 * DAY;
    let learnt = |from: u64| {
        let profiles = Profiles::new(8);
        for n in 1..40 {
            let at = from + n * 20 * MINUTE;
            let location = Some(Location {
                position: Some(Position::from_degrees(1.0, 2.0, None).unwrap()),
                ..Location::default()
            });
            let traits = Traits { token: Some(n as u32), asn: Some(7), location, ..traits(n % 20, n % 9, n % 5) };
            profiles.learn(9, &traits, || Some(n << TICK_BITS), Vec::new, n % 3 == 0, at);
        }
        let mut kept = Vec::new();
        profiles.take_changed(10, |_, bytes| kept = bytes);
        (kept, profiles.show(9, from + DAY).unwrap())
    };
    // By a clock that began in the year 2000, and by a right one.
    let (then, shown_then) = learnt(NOW - YEARS);
    let (right, shown) = learnt(NOW);
    let by = i64::try_from(YEARS).unwrap();
    let hours = 4 * 8;
    let without_hours = |bytes: &[u8]| {
        let at = bytes.len() - 8 * (2 + 3 * 4 + 10 + 2) - hours;
        [&bytes[..at], &bytes[at + hours..]].concat()
    };
    assert_eq!(
        without_hours(&moved(&then, by)),
        without_hours(&right),
        "the hours of the week stay as they were counted"
    );
    assert_eq!(without_hours(&moved(&right, -by)), without_hours(&then));
    assert_eq!((moved(&then, 0), shown_then.history), (then.clone(), shown.history));
    let again = Profiles::new(8);
    assert!(again.restore(9, &moved(&then, by), NOW + DAY));
    assert_eq!(again.show(9, NOW + DAY).unwrap().history, shown.history, "nothing has faded");
    assert!(again.restore(10, &moved(&right, i64::MIN), NOW) && again.restore(11, &moved(&right, i64::MAX), NOW));
    assert!(moved(&[], 1).is_empty() && !again.restore(12, &moved(b"no profile", 1), NOW));
}

#[test]
fn a_profile_that_is_kept_is_the_same_again() {
    let profiles = Profiles::new(8);
    for n in 1..40 {
        let traits = Traits { route: Some(n), token: Some(7), asn: Some(n as u32), ..traits(n % 20, n % 9, n % 5) };
        profiles.learn(9, &traits, || Some(n << TICK_BITS), Vec::new, n % 3 == 0, NOW + n * 20 * MINUTE);
    }
    let now = NOW + 40 * 20 * MINUTE;
    let keep = |profiles: &Profiles| {
        let mut kept = Vec::new();
        assert!(!profiles.take_changed(10, |key, bytes| kept.push((key, bytes))));
        kept
    };
    let all = keep(&profiles);
    let [(9, kept)] = &all[..] else { panic!("{all:?}") };
    let again = Profiles::new(8);
    assert!(again.restore(9, kept, now));
    assert_eq!(again.show(9, now), profiles.show(9, now));
    assert_eq!(again.marked(), 1, "what was put back is marked, and costs one write");
    assert_eq!(keep(&again), all);
    assert!(again.forget(9) && !again.forget(9));
    assert!(Profiles::new(8).restore(9, &keep(&again)[0].1, now), "and so does what was forgotten");
    assert!(!again.restore(10, b"no profile", now));
    assert_eq!(
        (again.colleagues(hash(19), hash(8), now), again.colleagues(hash(19), 9, now)),
        (1, 0),
        "and it is there again"
    );
}
