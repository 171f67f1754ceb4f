//! Properties under random traffic: bounds hold, bans last, and nobody is charged for another.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::fixtures::{address, engine_of, failed, good, refused, scan, start, user};
use crate::settings::BanSettings;
use crate::{Actor, BanNotice, Caller, Observation};
use jiff::{SignedDuration, Timestamp};
use portcullis_policy::ClientAddress;

fn small() -> Settings {
    Settings { max_profiles: 32, max_actors: 64, max_bans: 32, ..Settings::default() }
}

fn any_address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)]
}

/// Reasons and statuses that charge.
const CHARGED: [(u16, Option<&str>); 6] = [
    (403, Some("rbac.no_matching_grant")),
    (404, Some("route.not_found")),
    (400, Some("request.malformed")),
    (403, Some("risk.too_high")),
    (403, None),
    (404, None),
];

const NEVER_CHARGED: [(u16, Option<&str>); 9] = [
    (401, Some("authn.missing")),
    (401, Some("authn.expired")),
    (401, Some("authn.not_yet_valid")),
    (401, Some("authn.unknown_key")),
    (401, Some("step_up.required")),
    (403, Some("ban.active")),
    (503, Some("dependency.keys_unavailable")),
    (503, Some("limit.overload")),
    (502, None),
];

#[derive(Debug, Clone)]
struct Flood {
    from: IpAddr,
    principal: Option<u16>,
    attempted: Option<u16>,
    kind: usize,
    path: u16,
    seconds: u16,
}

prop_compose! {
    fn any_request()(
        from in any_address(),
        principal in any::<Option<u16>>(),
        attempted in any::<Option<u16>>(),
        kind in 0..CHARGED.len() + 2,
        path in any::<u16>(),
        seconds in 0..30_u16,
    ) -> Flood {
        Flood { from, principal, attempted, kind, path, seconds }
    }
}

fn send(engine: &RiskEngine, request: &Flood, now: Timestamp) -> Option<BanNotice> {
    let principal = request.principal.map(|n| user(&format!("flood-{n}")));
    let attempted = request.attempted.map(|n| format!("claimed-{n}"));
    let path = format!("/{}", request.path);
    let (status, reason) = match request.kind.checked_sub(2) {
        None if request.kind == 0 => (200, None),
        None => (401, Some("authn.invalid")),
        Some(charged) => CHARGED[charged],
    };
    let caller = Caller::new(ClientAddress::known(request.from), principal.as_ref());
    let mut keys = engine.keys_of(&caller);
    engine.assess(&caller, &mut keys, now);
    engine.learn(&caller, &keys, false, now);
    let observation = Observation {
        principal: principal.as_ref(),
        attempted: attempted.as_deref(),
        path: &path,
        status,
        reason,
        upstream: reason.is_none(),
        ..good(request.from)
    };
    engine.observe(&observation, now)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn bounds_hold_and_bans_in_force_survive_any_flood(requests in prop::collection::vec(any_request(), 1..1_500)) {
        let engine = engine_of(small());
        let (from, alice) = (address("203.0.113.7"), user("alice"));
        let on_address = scan(&engine, &refused(from, "/"), 4, start()).unwrap().ban;
        let on_principal = scan(&engine, &Observation { principal: Some(&alice), ..refused(from, "/") }, 4, start());
        let on_principal = on_principal.unwrap().ban;
        for request in &requests {
            let now = start() + SignedDuration::from_secs(request.seconds.into());
            // Each address fails often enough to be banned, so that the tables of bans fill, too.
            for path in 0..5 {
                send(&engine, &Flood { path: request.path.wrapping_add(path), ..request.clone() }, now);
            }
        }
        prop_assert!(engine.profiles.len() <= 32);
        prop_assert!(engine.abuse.len() <= 64 + 64);
        prop_assert!(engine.ban_tables().iter().map(|table| table.len()).sum::<usize>() <= 32);
        let until = on_address.until.min(on_principal.until) - SignedDuration::from_micros(1);
        prop_assert_eq!(engine.ban_on_address(from, until), Some(on_address));
        prop_assert_eq!(engine.ban_on_principal(&alice, until), Some(on_principal));
    }

    #[test]
    fn a_verified_principal_is_charged_alone(
        kinds in prop::collection::vec((0..CHARGED.len(), any::<u16>(), any::<bool>()), 1..300),
    ) {
        let engine = engine_of(small());
        let (from, mallory, alice) = (address("203.0.113.7"), user("mallory"), user("alice"));
        for (kind, path, credential) in kinds {
            let (status, reason) = if credential { (401, Some("authn.invalid")) } else { CHARGED[kind] };
            let path = format!("/{path}");
            let attempted = Some("alice");
            let upstream = reason.is_none();
            let seen = Observation { principal: Some(&mallory), attempted, path: &path, status, reason, upstream, ..good(from) };
            let notice = engine.observe(&seen, start());
            prop_assert!(notice.is_none_or(|notice| notice.actor == Actor::principal(&mallory)));
        }
        prop_assert_eq!(engine.ban_on_address(from, start()), None);
        prop_assert_eq!(engine.ban_on_principal(&alice, start()), None);
    }

    #[test]
    fn a_claimed_id_bans_no_principal(claims in prop::collection::vec((any_address(), 0..4_usize), 1..300)) {
        let engine = engine_of(Settings::default());
        let staff = ["a", "b", "c", "user:a"].map(user);
        for (from, claim) in claims {
            let notice = engine.observe(&failed(from, Some(&staff[claim].id)), start());
            prop_assert!(notice.is_none_or(|notice| matches!(notice.actor, Actor::Network(_))));
        }
        for principal in &staff {
            prop_assert_eq!(engine.ban_on_principal(principal, start()), None);
        }
    }

    #[test]
    fn what_comes_from_never_bans_nobody(requests in prop::collection::vec((any::<u8>(), any_request()), 1..400)) {
        let never = vec!["203.0.113.0/24".parse().unwrap()];
        let engine = engine_of(Settings { ban: BanSettings { never, ..BanSettings::default() }, ..small() });
        for (host, request) in requests {
            let from = IpAddr::from([203, 0, 113, host]);
            prop_assert_eq!(send(&engine, &Flood { from, principal: request.principal.map(|n| n % 3), ..request }, start()), None);
        }
        prop_assert_eq!(engine.bans_active(start()), 0);
    }

    #[test]
    fn what_never_charges_leaves_every_level_as_it_was(
        kinds in prop::collection::vec((0..NEVER_CHARGED.len(), any::<u16>(), any::<bool>()), 1..300),
    ) {
        let engine = engine_of(Settings::default());
        let (from, alice) = (address("203.0.113.7"), user("alice"));
        for (kind, path, verified) in kinds {
            let (status, reason) = NEVER_CHARGED[kind];
            let path = format!("/{path}");
            let principal = verified.then_some(&alice);
            let seen = Observation { principal, path: &path, status, reason, upstream: reason.is_none(), ..good(from) };
            prop_assert_eq!(engine.observe(&seen, start()), None);
        }
        prop_assert_eq!(engine.abuse.len(), 0);
        // Exactly the full level is still missing.
        for template in [refused(from, "/"), Observation { principal: Some(&alice), ..refused(from, "/") }] {
            prop_assert_eq!(scan(&engine, &template, 3, start()), None);
            prop_assert!(scan(&engine, &template, 3, start() + SignedDuration::from_secs(1)).is_some());
        }
    }
}
