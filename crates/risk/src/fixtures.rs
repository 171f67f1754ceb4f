//! What the tests of this crate share: one time to begin at, callers, and what they are seen to do.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use portcullis_policy::{Authentication, AuthenticationMethod, ClientAddress, Principal, PrincipalKind};

use crate::settings::Settings;
use crate::state::Secret;
use crate::{BanNotice, Blame, CallerKeys, Observation, RiskEngine, Told};

/// An engine whose hashes are the same in every run: whether it takes two paths or two callers for one is nothing that a test can leave to chance.
pub(crate) fn engine_of(settings: Settings) -> RiskEngine {
    RiskEngine::with_secret(settings, Secret::from_bytes([7; 16]))
}

pub(crate) fn start() -> Timestamp {
    "2026-11-23T10:00:00Z".parse().unwrap()
}

pub(crate) fn after(seconds: i64) -> Timestamp {
    start() + SignedDuration::from_secs(seconds)
}

pub(crate) fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn user(id: &str) -> Principal {
    Principal::proven(PrincipalKind::User, id, Authentication::by(AuthenticationMethod::Jwt, "corporate"))
}

/// An anonymous request that the upstream answered with 200; the fields that matter to a test are then set.
pub(crate) fn good(from: IpAddr) -> Observation<'static> {
    Observation {
        address: ClientAddress::known(from),
        peer: address("127.0.0.1"),
        principal: None,
        keys: CallerKeys::default(),
        attempted: None,
        path: "/",
        told: Told::default(),
        blame: Blame::Caller,
        route: None,
        status: 200,
        reason: None,
        upstream: true,
    }
}

pub(crate) fn refused(from: IpAddr, path: &str) -> Observation<'_> {
    Observation { path, status: 403, reason: Some("rbac.no_matching_grant"), upstream: false, ..good(from) }
}

pub(crate) fn failed(from: IpAddr, attempted: Option<&str>) -> Observation<'_> {
    Observation { attempted, path: "/login", status: 401, reason: Some("authn.invalid"), upstream: false, ..good(from) }
}

/// Refused over `count` new paths; the notice of the last that started a ban.
pub(crate) fn scan(engine: &RiskEngine, template: &Observation<'_>, count: usize, now: Timestamp) -> Option<BanNotice> {
    let mut last = None;
    for n in 0..count {
        let path = format!("/at-{}/page-{n}", now.as_microsecond());
        last = engine.observe(&Observation { path: &path, ..*template }, now).or(last);
    }
    last
}
