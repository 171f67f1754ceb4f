//! A policy whose size is chosen, and requests to it: what the tests of size and the instruction counts of
//! `benches/decision.rs` have in common.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use portcullis_policy::*;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) roles: usize,
    pub(crate) assignments: usize,
    pub(crate) routes: usize,
    pub(crate) prefixes: usize,
}

/// How many networks there are, or as many as there are prefixes.
pub(crate) const NETWORKS: usize = 100;
/// Users in one group.
pub(crate) const TEAM: usize = 20;

pub(crate) fn name(text: String) -> Placed<String> {
    text.into()
}

/// Route `i` begins at `/s{i}`. Role `i` reads and writes one part of one route and inherits from role `i - 1` within its
/// dozen. Assignment `i` gives role `i` to user `i` and to the group of `i`, on its own route. Network `i` holds every hundredth /28,
/// and network 0 all of them.
pub(crate) fn draft(size: &Size) -> PolicyDraft {
    let route_of = |role: usize| role % size.routes;
    let routes = (0..size.routes).map(|index| RouteDraft {
        name: name(format!("route-{index:04}")),
        hosts: vec![name(format!("s{}.internal", index % 50))],
        paths: vec![name(format!("/s{index}/**"))],
        reserved: false,
    });
    let roles = (0..size.roles).map(|index| RoleDraft {
        name: name(format!("role-{index:05}")),
        inherits: if index % 12 == 0 { Vec::new() } else { vec![name(format!("role-{:05}", index - 1))] },
        permissions: vec![PermissionDraft {
            actions: vec![name(format!("GET,POST /s{}/part{}/**", route_of(index), index))],
            not_actions: vec![name(format!("POST /s{}/*/frozen", route_of(index)))],
        }],
    });
    let assignments = (0..size.assignments).map(|index| AssignmentDraft {
        name: name(format!("assignment-{index:06}")),
        role: name(format!("role-{:05}", index % size.roles)),
        principals: vec![name(format!("user:u{index}")), name(format!("group:g{}", index / TEAM))],
        scope: ScopeDraft::Routes(vec![name(format!("route-{:04}", route_of(index % size.roles)))]),
        when: WhenDraft {
            networks: (index % 3 == 0)
                .then(|| vec![name(format!("network-{:03}", index % NETWORKS.min(size.prefixes)))]),
            ..WhenDraft::default()
        },
        ..AssignmentDraft::default()
    });
    let denies = (0..100).map(|index| DenyDraft {
        name: name(format!("deny-{index:03}")),
        principals: vec![name(format!("group:bad{index}"))],
        actions: vec![name("DELETE /**".into())],
        scope: ScopeDraft::All,
        ..DenyDraft::default()
    });
    PolicyDraft {
        sources: vec!["policy.toml".into()],
        routes: routes.collect(),
        networks: networks(size),
        roles: roles.collect(),
        assignments: assignments.collect(),
        denies: denies.collect(),
        ..PolicyDraft::default()
    }
}

pub(crate) fn slash_28(number: usize) -> Ipv4Net {
    // An odd stride, so that neighbours are of different networks and do not merge.
    Ipv4Net::new(Ipv4Addr::from(0x1000_0000 + u32::try_from(number).unwrap() * 48), 28).unwrap().trunc()
}

fn networks(size: &Size) -> Vec<NetworkDraft> {
    let mut networks: Vec<NetworkDraft> = (0..NETWORKS.min(size.prefixes))
        .map(|index| NetworkDraft { name: name(format!("network-{index:03}")), prefixes: Vec::new(), unknown: false })
        .collect();
    networks[0].prefixes.push("16.0.0.0/4".parse().unwrap());
    for number in 0..size.prefixes - 1 {
        networks[number % NETWORKS.min(size.prefixes)].prefixes.push(IpNet::V4(slash_28(number)));
    }
    networks
}

pub(crate) fn user(number: usize) -> Principal {
    Principal {
        groups: vec![GroupClaim { name: format!("g{}", number / TEAM).into(), trusted: true }],
        ..Principal::proven(
            PrincipalKind::User,
            &format!("u{number}"),
            Authentication::by(AuthenticationMethod::Jwt, "corporate"),
        )
    }
}

/// One probe: who asks, for what, from where.
pub(crate) struct Probe {
    pub(crate) who: Principal,
    pub(crate) method: &'static str,
    pub(crate) host: String,
    pub(crate) path: CanonicalPath,
    pub(crate) client: IpAddr,
}

pub(crate) fn probe(who: usize, method: &'static str, route: usize, path: &str, client: IpAddr) -> Probe {
    let path = CanonicalPath::parse(&format!("/s{route}/{path}")).unwrap();
    Probe { who: user(who), method, host: format!("s{}.internal", route % 50), path, client }
}

pub(crate) fn ask<'a>(policy: &Policy, probe: &'a Probe, risk: &'a RiskAssessment) -> AccessRequest<'a> {
    AccessRequest {
        method: probe.method,
        path: &probe.path,
        route: policy.find_route(&probe.host, &probe.path),
        client: ClientAddress::known(probe.client),
        country: None,
        identity: IdentityFact::Verified(&probe.who),
        risk,
        bans: Bans::default(),
        contained: Contained::default(),
        posture: None,
        activations: &[],
        now: "2026-11-23T10:00:00Z".parse().unwrap(),
    }
}
