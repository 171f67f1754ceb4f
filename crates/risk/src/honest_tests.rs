//! Who must not be banned, whatever it looks like; what a flood of attackers costs; and what bans do to themselves.

use std::net::IpAddr;

use super::*;
use crate::fixtures::{address, after, engine_of, failed, good, refused, scan, start, user};
use crate::settings::{BanSettings, BlastRadius, Flood};
use crate::{Actor, Observation};
use jiff::SignedDuration;

fn answered(from: IpAddr, path: &str, status: u16) -> Observation<'_> {
    Observation { path, status, route: Some(0), ..good(from) }
}

fn engine(ban: BanSettings) -> RiskEngine {
    engine_of(Settings { ban, ..Settings::default() })
}

#[test]
fn a_flood_of_attackers_costs_no_more_room_and_frees_no_offender() {
    let engine = engine_of(Settings { max_actors: 4_096, max_bans: 1_024, ..Settings::default() });
    let (hot, banned) = (address("198.51.100.7"), address("198.51.100.8"));
    assert_eq!(scan(&engine, &refused(hot, "/"), 3, start()), None, "one short of an offence");
    let on_banned = scan(&engine, &refused(banned, "/"), 4, start()).unwrap().ban;
    for n in 0..200_000_u32 {
        let from = IpAddr::from(std::net::Ipv4Addr::from_bits(0x0A00_0000 + n));
        engine.observe(&Observation { status: 404, reason: Some("route.not_found"), ..refused(from, "/x") }, start());
    }
    // Addresses and principals, their neighbourhoods, and nothing else.
    assert!(engine.abuse.len() <= 4_096 + 1_024, "{}", engine.abuse.len());
    assert_eq!(engine.ban_on_address(banned, start()), Some(on_banned));
    assert!(scan(&engine, &refused(hot, "/"), 1, after(1)).is_some(), "what it did is not forgotten");
}

#[test]
fn a_monitor_is_not_banned_for_what_it_is_answered() {
    let check = |status: u16, reason: Option<&'static str>, every_s: i64, paths: usize| {
        let engine = engine(BanSettings::default());
        let from = address("192.0.2.10");
        for n in 0..2_000 {
            let path = format!("/health/{}", usize::try_from(n).unwrap() % paths);
            let seen = Observation { reason, upstream: reason.is_none(), ..answered(from, &path, status) };
            assert_eq!(
                engine.observe(&seen, after(n * every_s)),
                None,
                "{status} {reason:?} every {every_s} s, request {n}"
            );
        }
    };
    for every_s in [1, 5, 10, 60] {
        check(404, None, every_s, 1);
        check(403, None, every_s, 2);
        check(400, None, every_s, 1);
        check(401, Some("authn.missing"), every_s, 5);
        check(403, Some("rbac.no_matching_grant"), every_s, 1);
        check(503, None, every_s, 9);
    }
    // One that has an old password is slower than who guesses.
    check(401, None, 5, 1);
}

#[test]
fn who_has_a_page_open_while_its_application_is_replaced_is_not_banned() {
    let engine = engine(BanSettings::default());
    for client in 0..40_u8 {
        let from = IpAddr::from([203, 0, 113, client]);
        for round in 0..3 {
            let now = after(i64::from(round) * 20);
            for chunk in 0..25 {
                let path = format!("/assets/chunk-{round}-{chunk}.3f9c1e.js");
                assert_eq!(engine.observe(&answered(from, &path, 404), now), None, "client {client}, {path}");
            }
            for path in ["/favicon.ico", "/assets/style.77aa.css", "/manifest.webmanifest"] {
                assert_eq!(engine.observe(&answered(from, path, 404), now), None, "client {client}, {path}");
            }
        }
    }
    assert_eq!(engine.bans_active(after(60)), 0);
}

#[test]
fn an_upstream_that_refuses_everybody_has_nobody_banned() {
    let check = |status: u16, verified: bool| {
        let engine = engine(BanSettings::default());
        let staff: Vec<Principal> = (0..20).map(|n| user(&format!("staff-{n}"))).collect();
        for round in 0..40 {
            for (n, principal) in (0_u8..).zip(&staff) {
                let from = IpAddr::from([203, 0, 113, n]);
                let path = format!("/page/{round}/{n}");
                let principal = verified.then_some(principal);
                // It works, and then it does not.
                let status = if round < 3 { 200 } else { status };
                let seen = Observation { principal, ..answered(from, &path, status) };
                assert_eq!(engine.observe(&seen, after(round)), None, "{status}, round {round}");
            }
        }
        // When it works again, who is refused is meant.
        engine.observe(&answered(address("203.0.113.1"), "/", 200), after(100));
        let from = address("198.51.100.7");
        assert!(scan(&engine, &answered(from, "/", status), 8, after(100)).is_some(), "{status}");
    };
    for status in [400, 401, 403] {
        check(status, false);
        check(status, true);
    }
}

#[test]
fn a_ban_never_prolongs_itself() {
    let flood = Flood { enabled: true, requests: 50, window: std::time::Duration::from_secs(10) };
    for settings in [BanSettings::default(), BanSettings { flood, ..BanSettings::default() }] {
        let engine = engine(settings);
        let from = address("198.51.100.7");
        let ban = scan(&engine, &refused(from, "/"), 4, start()).unwrap().ban;
        // It goes on all the while, and is refused for its ban.
        for n in 0..5_000 {
            let path = format!("/{n}");
            let seen = Observation { reason: Some("ban.active"), ..refused(from, &path) };
            assert_eq!(engine.observe(&seen, after(n / 20)), None);
        }
        assert_eq!(engine.ban_on_address(from, ban.until), None);
        assert_eq!(engine.observe(&good(from), ban.until), None);
        assert_eq!(engine.report(&Actor::address(from), ban.until).bans.len(), 0);
        assert_eq!(scan(&engine, &refused(from, "/"), 3, ban.until), None, "the next one takes the full level again");
    }
}

#[test]
fn a_clock_that_steps_back_neither_ends_nor_prolongs_a_ban() {
    let flood = Flood { enabled: true, requests: 50, window: std::time::Duration::from_secs(10) };
    let engine = engine(BanSettings { flood, ..BanSettings::default() });
    let from = address("198.51.100.7");
    let ban = scan(&engine, &refused(from, "/"), 4, start()).unwrap().ban;
    for back in [1, 3_600, 86_400 * 365] {
        let now = after(-back);
        assert_eq!(engine.ban_on_address(from, now), Some(Arc::clone(&ban)), "{back}");
        // Honest callers of another time.
        let honest = address("192.0.2.1");
        for n in 0..20 {
            assert_eq!(engine.observe(&answered(honest, &format!("/{n}"), 200), now), None, "{back}");
        }
        assert_eq!(engine.observe(&failed(honest, Some("alice")), now), None, "{back}");
    }
    assert_eq!(engine.ban_on_address(from, ban.until), None);
}

#[test]
fn a_flood_is_more_than_fits_into_its_window_and_only_where_that_is_wanted() {
    let flood = Flood { enabled: true, requests: 100, window: std::time::Duration::from_secs(10) };
    let send = |settings: BanSettings, count: usize, every_ms: i64| {
        let engine = engine(settings);
        let from = address("198.51.100.7");
        (0..count).find_map(|n| {
            let now = start() + SignedDuration::from_millis(every_ms * i64::try_from(n).unwrap());
            engine.observe(&good(from), now).map(|notice| (n, notice.ban.cause.to_string()))
        })
    };
    let on = BanSettings { flood, ..BanSettings::default() };
    assert_eq!(send(on.clone(), 100, 0), None);
    assert_eq!(send(on.clone(), 200, 0), Some((100, "flood: more than 100 requests in 10s".to_owned())));
    assert_eq!(send(on.clone(), 5_000, 100), None, "as many as fit, for ever");
    assert!(send(on.clone(), 5_000, 50).is_some_and(|(n, _)| (199..=201).contains(&n)), "{:?}", send(on, 5_000, 50));
    assert_eq!(send(BanSettings::default(), 5_000, 0), None, "not by default");
}

#[test]
fn of_callers_that_are_known_only_so_many_are_banned_at_once() {
    let check = |active: usize, bans: u32, share: f64, expected: usize| {
        let blast_radius = BlastRadius { bans, share };
        let engine = engine(BanSettings { blast_radius, ..BanSettings::default() });
        let staff: Vec<Principal> = (0..active).map(|n| user(&format!("staff-{n}"))).collect();
        for principal in &staff {
            engine.observe(&Observation { principal: Some(principal), ..good(address("203.0.113.50")) }, start());
        }
        let mut banned = 0;
        for principal in &staff {
            let probing = Observation { principal: Some(principal), ..refused(address("203.0.113.50"), "/") };
            let notice = scan(&engine, &probing, 8, start()).unwrap();
            let is_banned = engine.ban_on_principal(principal, start()).is_some_and(|ban| !ban.simulated);
            assert_eq!(is_banned, !notice.ban.simulated);
            assert_eq!(notice.ban.cause.contains("held back"), notice.ban.simulated, "{}", notice.ban.cause);
            banned += usize::from(is_banned);
        }
        assert_eq!(banned, expected, "{active} {bans} {share}");
        assert_eq!(engine.held_back(), u64::try_from(active - expected).unwrap());
        // Whom nobody knows is banned all the same, and an operator is not bound by it.
        assert!(!scan(&engine, &refused(address("198.51.100.7"), "/"), 4, start()).unwrap().ban.simulated);
        engine.impose(&"user:mallory".parse().unwrap(), after(60), "by hand", start()).unwrap();
        assert!(!engine.ban_on_principal(&user("mallory"), start()).unwrap().simulated);
    };
    check(10, 20, 0.1, 10);
    check(40, 3, 0.0, 3);
    // 40 principals, and the address that they come from.
    check(40, 3, 0.2, 9);
    check(40, 0, 0.0, 0);
}
