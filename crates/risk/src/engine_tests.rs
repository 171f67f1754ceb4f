//! What the engine promises, request by request.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use portcullis_policy::{BanScope, ClientAddress, Device, PrincipalKind, RiskAssessment, SignalFamily};

use super::*;
use crate::fixtures::{address, after, engine_of, failed, good, refused, scan, start, user};
use crate::settings::BanSettings;
use crate::{Actor, BanNotice, Blame, Caller, Observation, Told};

fn assess(engine: &RiskEngine, who: &Caller<'_>, now: Timestamp) -> RiskAssessment {
    engine.assess(who, &mut engine.keys_of(who), now).told(who)
}

fn caller<'a>(from: &str, principal: Option<&'a Principal>, user_agent: Option<&'a str>) -> Caller<'a> {
    Caller { user_agent, ..Caller::new(ClientAddress::known(address(from)), principal) }
}

#[test]
fn five_failed_credentials_ban_the_address_until_exactly_the_end() {
    let engine = engine_of(Settings::default());
    let from = address("198.51.100.7");
    for _ in 0..4 {
        assert_eq!(engine.observe(&failed(from, Some("alice")), start()), None);
        assert_eq!(engine.ban_on_address(from, start()), None);
    }
    let notice = engine.observe(&failed(from, Some("alice")), start()).unwrap();
    assert_eq!(notice.actor.to_string(), "198.51.100.7");
    assert_eq!(&*notice.ban.cause, "credentials: 5 failed in the last 2m");
    assert_eq!((notice.ban.scope, notice.ban.offences, notice.ban.simulated), (BanScope::Address, 1, false));
    assert_eq!(notice.evidence.len(), 5);
    assert_eq!((&*notice.evidence[0].reason, &*notice.evidence[0].path), ("authn.invalid", "/login"));
    let minutes = notice.ban.until.duration_since(start()).as_secs_f64() / 60.0;
    assert!((9.0..=11.0).contains(&minutes), "{minutes}");

    let until = notice.ban.until;
    let microsecond = SignedDuration::from_micros(1);
    assert_eq!(engine.ban_on_address(from, until - microsecond), Some(Arc::clone(&notice.ban)));
    assert_eq!(engine.ban_on_address(from, until), None);
    assert_eq!((engine.bans_active(until - microsecond), engine.bans_active(until)), (1, 0));
    // Its mapped form is the same address, its neighbour is not.
    assert!(engine.ban_on_address(address("::ffff:198.51.100.7"), start()).is_some());
    assert_eq!(engine.ban_on_address(address("198.51.100.8"), start()), None);
}

/// A refusal of our own making charges nobody, while what gives a request away does; of one that any site can have a browser send nothing does.
#[test]
fn what_may_not_be_its_callers_doing_is_not_held_against_it() {
    let check = |blame: Blame, [probes, fails, attacks, floods]: [bool; 4]| {
        let (from, mut settings) = (address("198.51.100.7"), Settings::default());
        (settings.ban.flood.enabled, settings.ban.flood.requests) = (true, 500);
        let seen = |template: &Observation<'_>, count: usize| {
            let engine = engine_of(settings.clone());
            scan(&engine, &Observation { blame, ..*template }, count, start()).is_some()
        };
        // One that is charged for nothing else.
        let missing = Observation { reason: Some("authn.missing"), ..refused(from, "/") };
        let told = Told { user_agent: Some("sqlmap/1.7"), ..Told::default() };
        assert_eq!(seen(&refused(from, "/"), 100), probes, "{blame:?}: probes");
        assert_eq!(seen(&failed(from, None), 100), fails, "{blame:?}: failed credentials");
        assert_eq!(seen(&Observation { told, ..missing }, 100), attacks, "{blame:?}: signatures");
        assert_eq!((seen(&missing, 100), seen(&missing, 1_000)), (false, floods), "{blame:?}: a flood");
    };
    check(Blame::Caller, [true; 4]);
    check(Blame::Gateway, [false, false, true, true]);
    check(Blame::Anybody, [false; 4]);
}

#[test]
fn an_ipv6_ban_covers_the_slash_64() {
    let engine = engine_of(Settings::default());
    for host in 1..=5 {
        engine.observe(&failed(address(&format!("2001:db8:1:2::{host}")), None), start());
    }
    assert!(engine.ban_on_address(address("2001:db8:1:2:ffff::9"), start()).is_some());
    assert_eq!(engine.ban_on_address(address("2001:db8:1:3::1"), start()), None);
}

#[test]
fn further_offences_ban_for_longer_and_are_forgotten_by_half() {
    let engine = engine_of(Settings::default());
    let from = refused(address("198.51.100.7"), "/");
    let first = scan(&engine, &from, 4, start()).unwrap().ban;
    let second = scan(&engine, &from, 4, first.until).unwrap().ban;
    let third = scan(&engine, &from, 4, second.until).unwrap().ban;
    assert_eq!([first.offences, second.offences, third.offences], [1, 2, 3]);
    let minutes = third.until.duration_since(second.until).as_secs_f64() / 60.0;
    assert!((36.0..=44.0).contains(&minutes), "{minutes}");
    // 3 offences are 1.5 after a week, which makes the next one the second.
    let week_later = third.until + SignedDuration::from_hours(7 * 24);
    assert_eq!(scan(&engine, &from, 4, week_later).unwrap().ban.offences, 2);
    let year_later = third.until + SignedDuration::from_hours(365 * 24);
    assert_eq!(scan(&engine, &from, 4, year_later).unwrap().ban.offences, 1);
}

#[test]
fn a_ban_settles_the_account_so_the_next_takes_the_full_level_again() {
    let settings = BanSettings { first: Duration::from_secs(1), ..BanSettings::default() };
    let engine = engine_of(Settings { ban: settings, ..Settings::default() });
    let from = refused(address("198.51.100.7"), "/");
    let ban = scan(&engine, &from, 4, start()).unwrap().ban;
    assert_eq!(scan(&engine, &from, 3, ban.until), None);
    assert!(scan(&engine, &from, 1, ban.until + SignedDuration::from_millis(1)).is_some());
}

#[test]
fn behind_a_shared_address_a_scanner_is_banned_and_the_principals_are_not_refused() {
    let engine = engine_of(Settings::default());
    let from = address("203.0.113.50");
    let staff: Vec<Principal> = (0..30).map(|n| user(&format!("staff-{n}"))).collect();
    let mut notices = Vec::new();
    for round in 0..50 {
        let now = after(round);
        for principal in &staff {
            // Applications that answer 404 to their honest users.
            let status = if round % 10 == 0 { 404 } else { 200 };
            let path = format!("/app/{round}");
            let seen = Observation { principal: Some(principal), path: &path, status, ..good(from) };
            assert_eq!(engine.observe(&seen, now), None);
            assert_eq!(engine.ban_on_principal(principal, now), None);
        }
        let ban = engine.ban_on_address(from, now);
        assert!(ban.is_none_or(|ban| ban.scope == BanScope::Anonymous));
        notices.extend(scan(&engine, &refused(from, "/"), 1, now));
    }
    let [notice] = notices.as_slice() else { panic!("one ban, not {notices:?}") };
    assert_eq!(notice.ban.scope, BanScope::Anonymous);
    assert!(notice.ban.cause.starts_with("probing: "), "{}", notice.ban.cause);
}

#[test]
fn without_a_healthy_principal_in_a_day_the_whole_address_is_banned() {
    let check = |seconds_since: i64, status: u16, upstream: bool, expected: BanScope| {
        let engine = engine_of(Settings::default());
        let (from, alice) = (address("203.0.113.50"), user("alice"));
        engine.observe(&Observation { principal: Some(&alice), status, upstream, ..good(from) }, start());
        let notice = scan(&engine, &refused(from, "/"), 8, after(seconds_since)).unwrap();
        assert_eq!(notice.ban.scope, expected, "{seconds_since} {status} {upstream}");
    };
    check(0, 200, true, BanScope::Anonymous);
    check(24 * 3_600 - 1, 304, true, BanScope::Anonymous);
    check(24 * 3_600, 200, true, BanScope::Address);
    check(0, 403, true, BanScope::Address);
    check(0, 503, true, BanScope::Address);
    check(0, 200, false, BanScope::Address);
}

#[test]
fn a_principal_that_probes_is_banned_itself_wherever_it_comes_from() {
    let engine = engine_of(Settings::default());
    let (from, mallory, alice) = (address("203.0.113.50"), user("mallory"), user("alice"));
    let notice = scan(&engine, &Observation { principal: Some(&mallory), ..refused(from, "/") }, 4, start()).unwrap();
    assert_eq!((notice.actor.to_string().as_str(), notice.ban.scope), ("user:mallory", BanScope::Principal));
    assert_eq!(engine.ban_on_principal(&mallory, start()), Some(notice.ban));
    assert_eq!(engine.ban_on_principal(&alice, start()), None);
    assert_eq!(engine.ban_on_principal(&Principal { kind: PrincipalKind::Service, ..user("mallory") }, start()), None);
    assert_eq!(engine.ban_on_address(from, start()), None);
}

#[test]
fn an_upstreams_refusals_count_like_ours_and_its_errors_do_not() {
    let check = |status: u16, expected: bool| {
        let engine = engine_of(Settings::default());
        let from = Observation { status, ..good(address("198.51.100.7")) };
        assert_eq!(scan(&engine, &from, 16, start()).is_some(), expected, "{status}");
    };
    check(401, true);
    check(403, true);
    check(404, true);
    check(409, false);
    check(500, false);
    check(503, false);
}

#[test]
fn an_unknown_client_is_charged_to_its_peer() {
    let engine = engine_of(Settings::default());
    let peer = address("192.0.2.99");
    let from = Observation { address: ClientAddress::Unknown, peer, ..refused(peer, "/") };
    assert_eq!(scan(&engine, &from, 4, start()).unwrap().actor.to_string(), "192.0.2.99");
}

#[test]
fn simulated_bans_say_so_and_off_counts_nothing() {
    let settings = |mode| Settings { ban: BanSettings { mode, ..BanSettings::default() }, ..Settings::default() };
    let (from, template) = (address("198.51.100.7"), refused(address("198.51.100.7"), "/"));
    let engine = engine_of(settings(BanMode::Simulate));
    assert!(scan(&engine, &template, 4, start()).unwrap().ban.simulated);
    assert!(engine.ban_on_address(from, start()).unwrap().simulated);

    let engine = engine_of(settings(BanMode::Off));
    assert_eq!(scan(&engine, &template, 100, start()), None);
    engine.reconfigure(settings(BanMode::Enforce));
    assert_eq!(scan(&engine, &template, 3, start()), None, "nothing was counted while off");

    // A reload keeps the bans, in the strength that the new mode allows.
    assert!(!scan(&engine, &template, 1, after(1)).unwrap().ban.simulated);
    engine.reconfigure(settings(BanMode::Simulate));
    assert!(engine.ban_on_address(from, after(1)).unwrap().simulated);
    engine.reconfigure(settings(BanMode::Off));
    assert_eq!(engine.ban_on_address(from, after(1)), None);
    engine.reconfigure(settings(BanMode::Enforce));
    assert!(!engine.ban_on_address(from, after(1)).unwrap().simulated);
    let never = vec!["198.51.100.0/24".parse().unwrap()];
    engine.reconfigure(Settings { ban: BanSettings { never, ..BanSettings::default() }, ..Settings::default() });
    assert_eq!(engine.ban_on_address(from, after(1)), None);
}

#[test]
fn lifting_a_ban_forgets_what_led_to_it() {
    let engine = engine_of(Settings::default());
    let (from, alice) = (address("198.51.100.7"), user("alice"));
    scan(&engine, &refused(from, "/"), 4, start()).unwrap();
    scan(&engine, &Observation { principal: Some(&alice), ..refused(from, "/") }, 4, start()).unwrap();
    let listed: Vec<String> = engine.bans(start()).iter().map(|entry| entry.actor.to_string()).collect();
    assert!(listed.len() == 2 && listed.contains(&String::from("198.51.100.7")), "{listed:?}");
    assert!(engine.lift(&Actor::address(from)));
    assert!(!engine.lift(&Actor::address(from)));
    assert_eq!(engine.ban_on_address(from, start()), None);
    assert!(engine.ban_on_principal(&alice, start()).is_some());
    assert!(engine.lift(&"user:alice".parse().unwrap()));
    assert_eq!((engine.ban_on_principal(&alice, start()), engine.bans_active(start())), (None, 0));
    assert_eq!(scan(&engine, &refused(from, "/"), 3, start()), None);
    assert_eq!(scan(&engine, &refused(from, "/"), 1, after(1)).unwrap().ban.offences, 1);
}

#[test]
fn of_many_threads_one_starts_the_ban() {
    let engine = engine_of(Settings::default());
    let from = address("198.51.100.7");
    let notices: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| (0..500).filter_map(|_| engine.observe(&failed(from, None), start())).count()))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!((notices, engine.bans_active(start())), (1, 1));
}

#[test]
fn a_familiar_caller_has_no_signals_and_a_stranger_has_new_ones() {
    let engine = engine_of(Settings::default());
    let alice = user("alice");
    let home = caller("203.0.113.7", Some(&alice), Some("Mozilla/5.0 Firefox/120"));
    let check = |who: &Caller<'_>, expected: &[&str]| {
        let assessment = assess(&engine, who, start());
        let names: Vec<&str> = assessment.signals.iter().map(|signal| signal.name).collect();
        assert_eq!(names, expected, "{who:?}");
        assert!(!assessment.has_evidence() && !assessment.degraded);
    };
    // Cold start: nothing is new to somebody unknown.
    check(&home, &[]);
    for _ in 0..20 {
        engine.learn(&home, &engine.keys_of(&home), false, start());
    }
    check(&home, &[]);
    check(&caller("203.0.113.99", Some(&alice), Some("Mozilla/5.0 Firefox/121")), &[]);
    check(&caller("203.0.114.7", Some(&alice), Some("Mozilla/5.0 Firefox/121")), &["network.new", "user_agent.usual"]);
    check(&caller("203.0.113.7", Some(&alice), Some("curl/8")), &["user_agent.new", "network.usual"]);
    check(&caller("203.0.114.7", Some(&alice), Some("curl/8")), &["network.new", "user_agent.new"]);
    check(&caller("203.0.114.7", None, Some("curl/8")), &[]);
    let bob = user("bob");
    check(&caller("203.0.114.7", Some(&bob), Some("curl/8")), &[]);
    let unknown = Caller { address: ClientAddress::Unknown, ..home };
    assert!(assess(&engine, &unknown, start()).degraded);
    engine.reconfigure(Settings { risk_mode: RiskMode::Off, ..Settings::default() });
    check(&caller("203.0.114.7", Some(&alice), Some("curl/8")), &[]);
}

#[test]
fn a_known_bound_device_speaks_for_a_caller_in_a_new_network() {
    let engine = engine_of(Settings { corporate_egress: vec!["192.0.2.0/24".parse().unwrap()], ..Settings::default() });
    let with_device = |id: &str| Principal { device: Some(Device { id: id.into(), compliant: None }), ..user("alice") };
    let (laptop, phone) = (with_device("laptop"), with_device("phone"));
    for _ in 0..100 {
        let home = caller("203.0.113.7", Some(&laptop), None);
        engine.learn(&home, &engine.keys_of(&home), false, start());
    }
    let check = |from: &str, principal: &Principal, expected: i32| {
        assert_eq!(assess(&engine, &caller(from, Some(principal), Some("curl")), start()).mnats, expected, "{from}");
    };
    check("203.0.113.7", &laptop, 0);
    check("198.51.100.7", &laptop, -500);
    check("198.51.100.7", &phone, 4_000);
    check("192.0.2.7", &phone, 1_000);
    check("192.0.2.7", &laptop, 0);
}

#[test]
fn an_account_under_attack_is_novelty_to_its_owner_and_bans_nobody_by_name() {
    let engine = engine_of(Settings::default());
    let alice = user("alice");
    for network in 0..10 {
        engine.observe(&failed(address(&format!("198.51.{network}.7")), Some("alice")), start());
    }
    let assessment = assess(&engine, &caller("203.0.113.7", Some(&alice), None), start());
    let [signal] = assessment.signals.as_slice() else { panic!("{assessment:?}") };
    assert_eq!((signal.name, signal.family, signal.mnats), ("account.failures", SignalFamily::Novelty, 2_000));
    assert_eq!(signal.value, "10 failures from 8 networks");
    assert_eq!(assess(&engine, &caller("203.0.113.7", Some(&user("bob")), None), start()), RiskAssessment::NONE);
    assert_eq!(assess(&engine, &caller("203.0.113.7", Some(&alice), None), after(600)), RiskAssessment::NONE);
    assert_eq!(engine.ban_on_principal(&alice, start()), None);
}

#[test]
fn an_address_that_sprays_is_evidence_against_whoever_comes_from_it() {
    let engine = engine_of(Settings::default());
    let (from, alice) = (address("198.51.100.7"), user("alice"));
    let names = ["a", "b", "c", "d", "e"];
    let notices: Vec<BanNotice> = names
        .iter()
        .zip(0..)
        .filter_map(|(name, minute)| engine.observe(&failed(from, Some(name)), after(60 * minute)))
        .collect();
    assert_eq!(&*notices[0].ban.cause, "spraying: 5 principals tried in the last 10m");
    let assessment = assess(&engine, &caller("198.51.100.7", Some(&alice), None), after(240));
    assert!(assessment.has_evidence());
    assert_eq!((assessment.mnats, assessment.signals[0].name), (3_000, "address.spraying"));
    assert_eq!(assess(&engine, &caller("198.51.100.8", Some(&alice), None), after(240)), RiskAssessment::NONE);
    assert_eq!(assess(&engine, &caller("198.51.100.7", Some(&alice), None), after(900)), RiskAssessment::NONE);
}
