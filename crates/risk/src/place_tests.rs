//! What the engine makes of where callers are, with a small world of its own.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use portcullis_policy::{
    Authentication, AuthenticationMethod, ClientAddress, CountryCode, Device, PrincipalKind, RiskAssessment,
    SignalFamily,
};

use super::*;
use crate::fixtures::{address, engine_of, start, user};
use crate::{Actor, Caller, Locate, Location, Position};

/// 10.0.0.0/8 is private; the second number of any other address chooses the place, the third one nothing.
#[derive(Debug)]
struct World;

impl Locate for World {
    fn locate(&self, address: IpAddr) -> Option<Location> {
        let IpAddr::V4(v4) = address else { return Some(Location { missing: true, ..Location::default() }) };
        let place = |country: &str, asn: u32, latitude: f64, longitude: f64| Location {
            country: CountryCode::parse(country),
            asn: Some(asn),
            position: Position::from_degrees(latitude, longitude, Some(20)),
            missing: false,
        };
        Some(match v4.octets() {
            [10, ..] => Location { country: Some(CountryCode::NOWHERE), ..Location::default() },
            [_, 1, ..] => place("DE", 64_501, 52.52, 13.41),
            [_, 2, ..] => place("DE", 64_502, 48.14, 11.58),
            [_, 3, ..] => place("US", 64_503, 40.71, -74.01),
            _ => Location::default(),
        })
    }
}

const BERLIN: &str = "198.1.0.7";
const MUNICH: &str = "198.2.0.7";
const NEW_YORK: &str = "198.3.0.7";
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0";

fn minutes(minutes: i64) -> Timestamp {
    start() + SignedDuration::from_mins(minutes)
}

fn at<'a>(from: &str, principal: &'a Principal) -> Caller<'a> {
    Caller {
        user_agent: Some(FIREFOX),
        places: Some(&World),
        ..Caller::new(ClientAddress::known(address(from)), Some(principal))
    }
}

fn assess(engine: &RiskEngine, who: &Caller<'_>, now: Timestamp) -> RiskAssessment {
    engine.assess(who, &mut engine.keys_of(who), now).told(who)
}

fn let_in(engine: &RiskEngine, who: &Caller<'_>, now: Timestamp) {
    let mut keys = engine.keys_of(who);
    engine.assess(who, &mut keys, now);
    engine.learn(who, &keys, false, now);
}

fn settled(principal: &Principal, settings: Settings) -> RiskEngine {
    let engine = engine_of(settings);
    for minute in -40..=0 {
        let_in(&engine, &at(BERLIN, principal), minutes(minute));
    }
    engine
}

fn signal<'a>(assessment: &'a RiskAssessment, name: &str) -> Option<&'a portcullis_policy::RiskSignal> {
    assessment.signals.iter().find(|signal| signal.name == name)
}

#[test]
fn the_farther_the_network_is_from_what_is_usual_the_more_it_says() {
    let alice = user("alice");
    let engine = settled(&alice, Settings::default());
    let check = |from: &str, later: i64, expected: &[&str], reason: &str| {
        let found = assess(&engine, &at(from, &alice), minutes(later));
        let names: Vec<&str> = found.signals.iter().map(|signal| signal.name).collect();
        assert_eq!(names, expected, "{from}: {found:?}");
        assert!(found.signals.iter().any(|signal| signal.reason.contains(reason)) || expected.is_empty(), "{found:?}");
    };
    check(BERLIN, 1, &[], "");
    check("198.1.77.7", 1, &[], "");
    check(MUNICH, 300, &["network.new", "user_agent.usual"], "AS64502");
    check(NEW_YORK, 3_000, &["network.new", "user_agent.usual"], "a country (US)");
    check("10.0.0.7", 300, &["network.new", "user_agent.usual"], "a network that is new");
    let private = assess(&engine, &at("10.0.0.7", &alice), minutes(300));
    assert!(private.mnats < 2_000 && !private.degraded, "{private:?}");
}

#[test]
fn nobody_is_in_berlin_and_half_an_hour_later_in_new_york() {
    let alice = user("alice");
    let engine = settled(&alice, Settings::default());
    let found = assess(&engine, &at(NEW_YORK, &alice), minutes(30));
    let trip = signal(&found, "travel.impossible").unwrap();
    assert_eq!(
        (trip.family, trip.mnats, &*trip.value),
        (SignalFamily::Novelty, 3_000, "6345 km in 30 min: 12691 km/h")
    );
    assert!(!found.has_evidence());
    assert!(signal(&assess(&engine, &at(NEW_YORK, &alice), minutes(8 * 60)), "travel.impossible").is_none());
}

#[test]
fn journeys_that_prove_nothing_are_not_counted() {
    let check = |what: &str, engine: &RiskEngine, who: &Caller<'_>, reason: &str| {
        let found = assess(engine, who, minutes(30));
        let trip = signal(&found, "travel.impossible").unwrap_or_else(|| panic!("{what}: {found:?}"));
        assert_eq!((trip.mnats, trip.reason.contains(reason)), (0, true), "{what}: {}", trip.reason);
    };
    let laptop = Device { id: "laptop".into(), compliant: None };
    let bound = Principal { device: Some(laptop), ..user("alice") };
    check("a bound device", &settled(&bound, Settings::default()), &at(NEW_YORK, &bound), "the device is a usual one");

    let alice = user("alice");
    let tunnel = Settings { corporate_egress: vec!["198.3.0.0/16".parse().unwrap()], ..Settings::default() };
    check("a tunnel", &settled(&alice, tunnel), &at(NEW_YORK, &alice), "says nothing about where");

    let engine = settled(&alice, Settings::default());
    for n in 0..3 {
        let_in(&engine, &at(NEW_YORK, &user(&format!("colleague-{n}"))), minutes(0));
    }
    check("a network of colleagues", &engine, &at(NEW_YORK, &alice), "other principals");

    let engine = engine_of(Settings::default());
    for _ in 0..9 {
        let_in(&engine, &at(BERLIN, &alice), minutes(0));
    }
    check("somebody hardly known", &engine, &at(NEW_YORK, &alice), "too little");

    let engine = settled(&alice, Settings::default());
    let_in(&engine, &at(NEW_YORK, &alice), minutes(-600));
    let_in(&engine, &at(BERLIN, &alice), minutes(1));
    check("one of two places", &engine, &at("198.3.99.7", &alice), "comes from there");
}

#[test]
fn without_a_place_there_is_no_journey_and_what_is_missing_is_said() {
    let alice = user("alice");
    let engine = settled(&alice, Settings::default());
    let nowhere = assess(&engine, &at("198.9.0.7", &alice), minutes(1));
    assert!(signal(&nowhere, "travel.impossible").is_none() && !nowhere.degraded, "{nowhere:?}");
    let broken = assess(&engine, &at("2001:db8::1", &alice), minutes(1));
    assert!(broken.degraded && !broken.has_evidence());
}

#[test]
fn a_token_in_two_systems_at_once_is_evidence_and_denies_only_with_other_software() {
    let token = Authentication { issued: Some(minutes(-50)), ..user("alice").authentication };
    let alice = Principal { authentication: token.clone(), ..user("alice") };
    let engine = settled(&alice, Settings::default());
    let same = assess(&engine, &at(MUNICH, &alice), minutes(2));
    assert_eq!(signal(&same, "token.elsewhere").map(|signal| signal.mnats), Some(1_000));
    assert!(!same.has_evidence());
    let stolen = assess(&engine, &Caller { user_agent: Some("curl/8"), ..at(MUNICH, &alice) }, minutes(2));
    assert_eq!(signal(&stolen, "token.elsewhere").map(|signal| signal.mnats), Some(2_500));
    assert!(stolen.has_evidence());
    let later = assess(&engine, &Caller { user_agent: Some("curl/8"), ..at(MUNICH, &alice) }, minutes(6));
    assert!(signal(&later, "token.elsewhere").is_none());
    let other_token = Authentication { issued: Some(minutes(0)), ..token };
    let other = Principal { authentication: other_token, ..user("alice") };
    assert!(signal(&assess(&engine, &at(MUNICH, &other), minutes(2)), "token.elsewhere").is_none());
}

#[test]
fn nobody_takes_the_evidence_from_a_token_in_two_places_by_using_the_network() {
    let token = Authentication { issued: Some(minutes(-50)), ..user("alice").authentication };
    let alice = Principal { authentication: token, ..user("alice") };
    let engine = settled(&alice, Settings::default());
    for n in 0..300 {
        let_in(&engine, &at(MUNICH, &user(&format!("somebody-{n}"))), minutes(0));
    }
    let stolen = assess(&engine, &Caller { user_agent: Some("curl/8"), ..at(MUNICH, &alice) }, minutes(2));
    assert!(signal(&stolen, "token.elsewhere").is_some() && stolen.has_evidence(), "{stolen:?}");
}

#[test]
fn only_the_token_of_a_user_can_be_in_two_places() {
    let check = |kind: PrincipalKind, method: AuthenticationMethod, expected: bool| {
        let token = Authentication { issued: Some(minutes(-50)), method, ..user("alice").authentication };
        let alice = Principal { authentication: token, kind, ..user("alice") };
        let engine = settled(&alice, Settings::default());
        let found = assess(&engine, &Caller { user_agent: Some("curl/8"), ..at(MUNICH, &alice) }, minutes(2));
        assert_eq!(signal(&found, "token.elsewhere").is_some(), expected, "{kind:?} {method:?}");
        assert_eq!(found.has_evidence(), expected);
    };
    check(PrincipalKind::User, AuthenticationMethod::Jwt, true);
    check(PrincipalKind::User, AuthenticationMethod::ApiKey, false);
    check(PrincipalKind::Service, AuthenticationMethod::Jwt, false);
    check(PrincipalKind::Service, AuthenticationMethod::ApiKey, false);
    check(PrincipalKind::Certificate, AuthenticationMethod::ClientCertificate, false);
}

#[test]
fn one_account_alone_excuses_no_journey() {
    let (alice, mallory) = (user("alice"), user("mallory"));
    let engine = settled(&alice, Settings::default());
    for n in 0..60 {
        // More networks than a profile remembers, and again and again the one that is to look usual.
        for other in 0..20 {
            let_in(&engine, &at(&format!("198.9.{other}.7"), &mallory), minutes(-60 + n));
        }
        let_in(&engine, &at(NEW_YORK, &mallory), minutes(-60 + n));
    }
    let trip = |engine: &RiskEngine| {
        let found = assess(engine, &at(NEW_YORK, &alice), minutes(30));
        signal(&found, "travel.impossible").map(|signal| signal.mnats)
    };
    assert_eq!(trip(&engine), Some(3_000));
    let_in(&engine, &at(NEW_YORK, &user("carol")), minutes(0));
    assert_eq!(trip(&engine), Some(3_000));
    let_in(&engine, &at(NEW_YORK, &user("dave")), minutes(0));
    assert_eq!(trip(&engine), Some(0), "three are colleagues");
}

#[test]
fn what_is_known_of_a_principal_can_be_seen_and_forgotten() {
    let alice = user("alice");
    let actor = Actor::principal(&alice);
    let engine = settled(&alice, Settings::default());
    let_in(&engine, &at(NEW_YORK, &alice), minutes(900));
    let report = engine.profile_of(&actor, minutes(900)).unwrap();
    assert_eq!((report.history, report.networks, report.user_agents, report.devices), (42, 2, 1, 0));
    let countries: Vec<&str> = report.countries.iter().map(|(code, _)| code.as_str()).collect();
    assert_eq!((countries, report.places.len()), (vec!["DE", "US"], 2));
    assert_eq!(report.places[0].at, minutes(900));
    assert!(engine.forget_profile(&actor) && !engine.forget_profile(&actor));
    assert_eq!(engine.profile_of(&actor, minutes(900)), None);
    assert!(assess(&engine, &at("198.9.0.7", &alice), minutes(901)).signals.is_empty(), "nothing is new again");
    let network: Actor = "192.0.2.0/24".parse().unwrap();
    assert!(!engine.forget_profile(&network) && engine.profile_of(&network, start()).is_none());
}
