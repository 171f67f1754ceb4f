//! What each fact contributes, and that novelty stays novelty.

use portcullis_policy::ClientAddress;
use proptest::prelude::*;

use super::*;
use crate::Caller;
use crate::hierarchy::Level;
use crate::inputs::Inputs;
use crate::settings::{SIGNALS, Settings, SignalSetting};
use crate::words::{REASON_BYTES_MAX, VALUE_BYTES_MAX};

const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0";

pub(crate) fn whoever() -> Caller<'static> {
    let address = ClientAddress::known([203, 0, 113, 7].into());
    Caller { user_agent: Some(AGENT), ..Caller::new(address, None) }
}

fn signals(facts: Facts, settings: &Settings) -> (i32, Vec<(&'static str, i32)>) {
    let assessment = assessment(&facts, &Weights::of(settings));
    (assessment.mnats, assessment.signals.iter().map(|signal| (signal.name, signal.mnats)).collect())
}

/// Of a principal let in so many times.
fn known(history: u32) -> Facts {
    Facts { history, ..Facts::default() }
}

/// The assessment with its words.
fn told(facts: &Facts) -> RiskAssessment {
    let weights = Weights::of(&Settings::default());
    let mut found = assessment(facts, &weights);
    Inputs { facts: facts.clone(), weights: Arc::new(weights) }.tell(&mut found, &whoever());
    found
}

fn network(new: Option<NewLevel>, levels: Option<Levels>) -> Option<NetworkFact> {
    Some(NetworkFact { new, levels, sights: 64 * 16, users: 0 })
}

/// Of a country where neither the principal nor any of a hundred others was.
fn nowhere_near() -> Option<Levels> {
    let never = Some(Level::default());
    Some(Levels { history: 64 * 16, principals: 100, country: never, asn: never, network: Level::default() })
}

fn elsewhere() -> Option<NetworkFact> {
    network(Some(NewLevel::Network), None)
}

#[test]
fn each_fact_gives_its_signal_strongest_first() {
    let check = |what: &str, facts: Facts, mnats: i32, expected: &[(&'static str, i32)]| {
        assert_eq!(signals(facts, &Settings::default()), (mnats, expected.to_vec()), "{what}");
    };
    let usual =
        Facts { network: network(None, None), device: Some(true), user_agent: Some((1_024, 1_024)), ..known(64) };
    check("nothing is new", usual, 0, &[]);
    check(
        "nobody is known",
        Facts { network: elsewhere(), device: Some(false), user_agent: Some((0, 0)), ..known(0) },
        0,
        &[],
    );
    check("a network after one sight", Facts { network: elsewhere(), ..known(1) }, 416, &[("network.new", 416)]);
    check("a network after many", Facts { network: elsewhere(), ..known(64) }, 2_500, &[("network.new", 2_500)]);
    let country = network(Some(NewLevel::Country(CountryCode::parse("NZ").unwrap())), nowhere_near());
    check("a country", Facts { network: country, ..known(64) }, 4_000, &[("network.new", 4_000)]);
    let colleagues = elsewhere().map(|fact| NetworkFact { users: 3, ..fact });
    check("a network of colleagues", Facts { network: colleagues, ..known(64) }, 1_250, &[("network.new", 1_250)]);
    check(
        "usual software in a new network",
        Facts { network: elsewhere(), user_agent: Some((1_024, 1_024)), ..known(64) },
        1_500,
        &[("network.new", 2_500), ("user_agent.usual", -1_000)],
    );
    check(
        "new software in a usual network",
        Facts { network: network(None, None), user_agent: Some((0, 1_024)), ..known(64) },
        750,
        &[("user_agent.new", 2_000), ("network.usual", -1_250)],
    );
    check(
        "a new device in a new network",
        Facts { network: elsewhere(), device: Some(false), ..known(64) },
        4_000,
        &[("device.new", 2_500), ("network.new", 2_500)],
    );
    check(
        "a known device in a new network",
        Facts { network: elsewhere(), device: Some(true), ..known(64) },
        -500,
        &[("device.known", -3_000), ("network.new", 2_500)],
    );
    check(
        "a new device in a network of the organisation",
        Facts { network: elsewhere(), device: Some(false), corporate: true, ..known(64) },
        1_000,
        &[("device.new", 2_500), ("network.corporate", -1_500)],
    );
    check("an unusual hour", Facts { hour: Some((0, 40)), ..known(64) }, 1_000, &[("hour.unusual", 1_000)]);
    check("an hour of few", Facts { hour: Some((0, 3)), ..known(64) }, 693, &[("hour.unusual", 693)]);
    check("a route", Facts { unusual_route: true, ..known(64) }, 1_000, &[("route.unusual", 1_000)]);
    check(
        "a device against the rules",
        Facts { posture: Some(Lack::Compliance), ..known(64) },
        2_000,
        &[("device.not_compliant", 2_000)],
    );
    check(
        "an address of bad repute",
        Facts { reputation: Some(("tor".into(), 2_500)), ..known(0) },
        2_500,
        &[("address.reputation", 2_500)],
    );
    let attack = Some(AccountAttack { failures: 7, networks: 3 });
    check(
        "an attack on the account, from an address that sprays",
        Facts { attack, sprayed: Some(5), ..known(64) },
        5_000,
        &[("address.spraying", 3_000), ("account.failures", 2_000)],
    );
    check(
        "the same after a step-up",
        Facts { attack, stepped_up: true, ..known(64) },
        -1_000,
        &[("step_up.recent", -3_000), ("account.failures", 2_000)],
    );
    let far = Some(Unusual { now: 900, mean: 160, deviation: 24 });
    check("many requests", Facts { rate: far, ..known(64) }, 1_000, &[("rate.unusual", 1_000)]);
    check(
        "many requests, much, and a route: no more than behaviour may come to",
        Facts { rate: far, volume: far, unusual_route: true, ..known(64) },
        2_000,
        &[("rate.unusual", 1_000), ("route.unusual", 1_000)],
    );
    check("much", Facts { volume: far, ..known(64) }, 1_500, &[("volume.unusual", 1_500)]);
    check(
        "nothing is said of the device",
        Facts { posture: Some(Lack::Word), ..known(0) },
        1_500,
        &[("posture.missing", 1_500)],
    );
    check(
        "what is said of it is old",
        Facts { posture: Some(Lack::News), ..known(0) },
        1_000,
        &[("posture.stale", 1_000)],
    );
    check("a banned address", Facts { banned: Some(false), ..known(64) }, 4_000, &[("address.banned", 4_000)]);
    check("one of many", Facts { banned: Some(true), ..known(64) }, 1_000, &[("address.banned", 1_000)]);
    check("a token in two places", Facts { token_elsewhere: true, ..known(64) }, 1_000, &[("token.elsewhere", 1_000)]);
    check(
        "with other software",
        Facts { token_elsewhere: true, user_agent: Some((0, 1_024)), ..known(64) },
        4_500,
        &[("token.elsewhere", 2_500), ("user_agent.new", 2_000)],
    );
}

#[test]
fn what_is_not_bound_to_a_device_makes_up_for_no_evidence() {
    let check = |what: &str, facts: Facts, mnats: i32, expected: &[(&'static str, i32)]| {
        assert_eq!(signals(facts, &Settings::default()), (mnats, expected.to_vec()), "{what}");
    };
    let spraying = Facts { sprayed: Some(5), ..known(64) };
    check(
        "a step-up of whoever holds the credential",
        Facts { stepped_up: true, ..spraying.clone() },
        3_000,
        &[("address.spraying", 3_000)],
    );
    check(
        "with a device that is new",
        Facts { stepped_up: true, device: Some(false), ..spraying.clone() },
        3_000,
        &[("address.spraying", 3_000), ("device.new", 2_500), ("step_up.recent", -2_500)],
    );
    check(
        "from a network of the organisation",
        Facts { corporate: true, network: elsewhere(), ..spraying.clone() },
        3_000,
        &[("address.spraying", 3_000)],
    );
    check(
        "with something that is new, which it makes up for",
        Facts { stepped_up: true, hour: Some((0, 40)), ..spraying.clone() },
        3_000,
        &[("address.spraying", 3_000), ("hour.unusual", 1_000), ("step_up.recent", -1_000)],
    );
    check(
        "both at once do not do it twice",
        Facts {
            stepped_up: true,
            corporate: true,
            network: elsewhere(),
            posture: Some(Lack::Compliance),
            ..spraying.clone()
        },
        3_000,
        &[
            ("address.spraying", 3_000),
            ("device.not_compliant", 2_000),
            ("network.corporate", -1_500),
            ("step_up.recent", -500),
        ],
    );
    check(
        "on a device that the credential is bound to",
        Facts { stepped_up: true, device: Some(true), ..spraying.clone() },
        0,
        &[("address.spraying", 3_000), ("device.known", -3_000), ("step_up.recent", -3_000)],
    );
}

#[test]
fn an_excused_journey_is_told_and_counts_nothing() {
    let trip = Trip { metres: 6_365_000, ticks: 57_600, vague: false, fastest: 900, excuse: None };
    let check = |trip: Trip, mnats: i32, reason: &str| {
        let assessment = told(&Facts { trip: Some(trip), ..known(64) });
        let [signal] = assessment.signals.as_slice() else { panic!("{assessment:?}") };
        assert_eq!((assessment.mnats, signal.mnats, signal.name), (mnats, mnats, "travel.impossible"));
        assert_eq!(signal.value, "6365 km in 60 min: 6365 km/h");
        assert!(signal.reason.starts_with(reason), "{}", signal.reason);
        assert_eq!(signal.family, SignalFamily::Novelty);
    };
    check(trip, 2_956, "farther from where");
    check(Trip { excuse: Some(crate::travel::Excuse::SameDevice), ..trip }, 0, "suppressed: the device");
}

#[test]
fn a_signal_names_the_coarsest_level_that_is_new() {
    let check = |new: NewLevel, expected: &str| {
        let facts = Facts { network: network(Some(new), nowhere_near()), ..known(64) };
        let assessment = told(&facts);
        assert_eq!(
            assessment.signals[0].reason,
            format!("{expected} that is new to this principal, let in 64 times before")
        );
        assert_eq!(assessment.signals[0].value, "203.0.113.0/24");
    };
    check(NewLevel::Country(CountryCode::parse("NZ").unwrap()), "a country (NZ)");
    check(NewLevel::Asn(64_500), "an autonomous system (AS64500)");
    check(NewLevel::Network, "a network");
}

#[test]
fn a_signal_can_be_weighed_bounded_and_turned_off() {
    let setting = |weight_milli, cap_mnats, enabled| Settings {
        signals: vec![SignalSetting { name: String::from("network"), weight_milli, cap_mnats, enabled }],
        ..Settings::default()
    };
    let check = |settings: Settings, expected: i32| {
        assert_eq!(signals(Facts { network: elsewhere(), ..known(64) }, &settings).0, expected);
    };
    check(setting(500, (-3_000, 4_000), true), 1_250);
    check(setting(1_000, (-3_000, 1_000), true), 1_000);
    check(setting(1_000, (-3_000, 4_000), false), 0);
    check(setting(0, (-3_000, 4_000), true), 0);
}

prop_compose! {
    fn any_levels()(history in any::<u32>(), principals in any::<u32>(), own in any::<[(u32, u32); 3]>(), has in any::<[bool; 2]>()) -> Levels {
        let level = |n: usize| Level { own: own[n].0, principals: own[n].1 };
        Levels { history, principals, country: has[0].then(|| level(0)), asn: has[1].then(|| level(1)), network: level(2) }
    }
}

prop_compose! {
    fn any_network()(
        new in 0..4_u8, levels in prop::option::of(any_levels()), sights in any::<u32>(), users in any::<u32>(), asn in any::<u32>(),
    ) -> NetworkFact {
        let new = match new {
            0 => None,
            1 => Some(NewLevel::Network),
            2 => Some(NewLevel::Asn(asn)),
            _ => CountryCode::parse("NZ").map(NewLevel::Country),
        };
        NetworkFact { new, levels, sights, users }
    }
}

prop_compose! {
    fn any_trip()(metres in any::<u64>(), ticks in any::<u64>(), vague in any::<bool>(), fastest in any::<u32>(), excuse in 0..6_usize) -> Trip {
        let excuse = crate::travel::Excuse::CODES.get(excuse).map(|(_, excuse)| *excuse);
        Trip { metres, ticks, vague, fastest, excuse }
    }
}

fn any_unusual() -> impl Strategy<Value = Option<Unusual>> {
    prop::option::of(any::<(u32, u32, u32)>().prop_map(|(now, mean, deviation)| Unusual { now, mean, deviation }))
}

prop_compose! {
    /// Everything that can be said of a caller but what is bad by itself.
    fn anything_new()(
        history in any::<u32>(), network in prop::option::of(any_network()), device in any::<Option<bool>>(),
        user_agent in any::<Option<(u32, u32)>>(), hour in any::<Option<(u32, u32)>>(),
        trip in prop::option::of(any_trip()), bits in any::<[bool; 4]>(), failures in any::<Option<u32>>(),
        much in (any_unusual(), any_unusual()), lack in 0..4_usize,
    ) -> Facts {
        let [corporate, unusual_route, stepped_up, degraded] = bits;
        let posture = [Lack::Compliance, Lack::News, Lack::Word].get(lack).copied();
        Facts {
            history, network, corporate, device, user_agent, hour, unusual_route, stepped_up, degraded, trip, posture,
            rate: much.0, volume: much.1,
            attack: failures.map(|failures| AccountAttack { failures, networks: 3 }),
            ..Facts::default()
        }
    }
}

prop_compose! {
    /// Everything that can be said of a caller.
    pub(crate) fn any_facts()(
        facts in anything_new(), sprayed in any::<Option<usize>>(), reputation in any::<Option<i32>>(), token in any::<bool>(),
        banned in any::<Option<bool>>(),
    ) -> Facts {
        let reputation = reputation.map(|mnats| ("tor".into(), mnats));
        Facts { sprayed, reputation, token_elsewhere: token, banned, ..facts }
    }
}

pub(crate) fn any_weights() -> impl Strategy<Value = Weights> {
    let setting = (any::<i32>(), any::<i32>(), any::<i32>(), any::<bool>());
    prop::collection::vec(setting, SIGNALS.len()).prop_map(|settings| {
        let signals = SIGNALS.iter().zip(settings).map(|((name, _), (weight_milli, low, high, enabled))| {
            SignalSetting { name: (*name).into(), weight_milli, cap_mnats: (low, high), enabled }
        });
        Weights::of(&Settings { signals: signals.collect(), ..Settings::default() })
    })
}

proptest! {
    /// However new, however unusual, however weighed: without evidence there is nothing that a denial could rest on.
    #[test]
    fn novelty_alone_never_denies(facts in anything_new(), weights in any_weights()) {
        let found = assessment(&facts, &weights);
        prop_assert!(!found.has_evidence(), "{found:?}");
        prop_assert!(found.signals.iter().all(|signal| signal.family != SignalFamily::Evidence));
    }

    #[test]
    fn every_assessment_is_bounded_and_is_the_sum_of_its_signals(
        facts in any_facts(), weights in any_weights(), agent in ".{0,400}",
    ) {
        let mut found = assessment(&facts, &weights);
        prop_assert_eq!(&found, &assessment(&facts, &weights));
        prop_assert!(found.signals.len() <= 16);
        let caller = Caller { user_agent: Some(&agent), ..Caller::new(ClientAddress::Unknown, None) };
        Inputs { facts, weights: Arc::new(weights) }.tell(&mut found, &caller);
        for signal in &found.signals {
            prop_assert!(signal.value.len() <= VALUE_BYTES_MAX && signal.reason.len() <= REASON_BYTES_MAX);
            prop_assert!(!signal.reason.is_empty());
        }
        prop_assert!(found.signals.is_sorted_by_key(|signal| std::cmp::Reverse(signal.mnats.unsigned_abs())));
        prop_assert_eq!(found.mnats, total(found.signals.iter().map(|signal| (signal.family, signal.mnats))));
    }

    /// However new or trusted: without a bound device, evidence counts in full.
    #[test]
    fn evidence_counts_in_full_without_a_bound_device(
        mut facts in anything_new(), sprayed in any::<Option<usize>>(), reputation in 0..4_000,
    ) {
        facts.device = facts.device.filter(|is_usual| !is_usual);
        facts.sprayed = sprayed;
        facts.reputation = Some(("tor".into(), reputation));
        let found = assessment(&facts, &Weights::of(&Settings::default()));
        let evidence = found.signals.iter().filter(|signal| signal.family == SignalFamily::Evidence);
        let evidence = total(evidence.map(|signal| (signal.family, signal.mnats)));
        prop_assert!(found.mnats >= evidence, "{found:?}");
    }

    /// What the engine asks before it works anything out does not hide anything.
    #[test]
    fn where_nothing_speaks_against_a_caller_there_is_no_score(facts in anything_new()) {
        let found = assessment(&facts, &Weights::of(&Settings::default()));
        if !facts.speaks_against() {
            prop_assert!(found.mnats <= 0, "{found:?}");
        }
    }
}
