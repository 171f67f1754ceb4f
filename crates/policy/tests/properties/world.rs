//! Small random policies and requests. The pools are small on purpose: names collide, networks nest, groups close
//! circles and clocks stand on borders far more often than in real policies.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use portcullis_policy::*;
use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

/// Paths of each route; the last one takes what the others leave.
pub(crate) const ROUTES: [(&str, &[&str]); 3] = [("ra", &["/a/**"]), ("rb", &["/a/*", "/b/**"]), ("rc", &[])];
const NETWORKS: [&str; 4] = ["office", "branch", "tor", "lab"];
/// Not in the order in which they inherit.
pub(crate) const ROLES: [&str; 6] = ["m", "c", "x", "a", "k", "e"];
const GROUPS: [&str; 4] = ["g2", "g0", "g3", "g1"];
/// The first ones are too wide to be taken away again.
const ACTIONS: [&str; 10] = [
    "* /**",
    "* /**",
    "GET /**",
    "GET /a/**",
    "* /a/*",
    "GET,POST /a/1",
    "DELETE /b/**",
    "GET /b/{id}",
    "POST /c",
    "GET /a/1/x",
];
pub(crate) const PATHS: [&str; 8] = ["/a", "/a/1", "/a/1/x", "/b/2", "/b", "/c", "/", "/a/"];
const PREFIXES: [&str; 11] = [
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.0.0/17",
    "10.1.128.0/17",
    "10.1.2.0/24",
    "10.1.2.3/32",
    "0.0.0.0/0",
    "2001:db8::/32",
    "2001:db8:1::/48",
    "::/0",
    "255.255.255.255/32",
];
const ADDRESSES: [&str; 9] = [
    "10.1.2.3",
    "10.1.2.4",
    "10.1.200.1",
    "10.2.0.0",
    "9.9.9.9",
    "2001:db8:1::1",
    "2001:db8:2::",
    "::ffff:10.1.2.3",
    "255.255.255.255",
];
const PRINCIPALS: [&str; 14] = [
    "user:u0",
    "user:u0",
    "user:u1",
    "service:u0",
    "certificate:c0",
    "group:g0",
    "group:g1",
    "group:g2",
    "group:g3",
    "group:ext",
    "anyone",
    "anyone",
    "authenticated",
    "authenticated",
];
const COUNTRIES: [&str; 3] = ["DE", "FR", "US"];
const HOURS: [&str; 5] = [
    "Mon-Fri 08:00-18:00 Europe/Berlin",
    "* 22:00-06:00 UTC",
    "Sun 02:30-02:45 Europe/Berlin",
    "* 02:30-04:00 Europe/Berlin",
    "Sat-Sun 00:00-24:00 America/New_York",
];
/// A working hour, a Sunday, the hour before Berlin skips an hour, and within the hour that Berlin repeats.
const CLOCKS: [&str; 5] = [
    "2026-11-23T10:00:00Z",
    "2026-11-22T12:00:00Z",
    "2026-03-29T00:30:20Z",
    "2026-10-25T00:50:00Z",
    "2026-07-01T21:59:59Z",
];
const BORDERS: [&str; 4] =
    ["2026-01-01T00:00:00Z", "2026-11-22T12:00:00Z", "2026-11-23T10:00:00Z", "2027-01-01T00:00:00Z"];

/// The facts of one request, owned.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) method: &'static str,
    pub(crate) path: CanonicalPath,
    pub(crate) client: ClientAddress,
    pub(crate) country: Option<CountryCode>,
    pub(crate) identity: Identity,
    pub(crate) risk: RiskAssessment,
    pub(crate) address_ban: Option<Ban>,
    pub(crate) principal_ban: Option<Ban>,
    pub(crate) activations: Vec<Activation>,
    pub(crate) now: Timestamp,
}

#[expect(clippy::large_enum_variant, reason = "most are the large one, and few live at once")]
#[derive(Debug, Clone)]
pub(crate) enum Identity {
    Anonymous,
    Verified(Principal),
    Rejected(CredentialProblem),
    Unavailable(Dependency),
}

impl Facts {
    pub(crate) fn request(&self, policy: &Policy) -> AccessRequest<'_> {
        AccessRequest {
            method: self.method,
            path: &self.path,
            route: policy.find_route("host", &self.path),
            client: self.client,
            country: self.country,
            identity: match &self.identity {
                Identity::Anonymous => IdentityFact::Anonymous,
                Identity::Verified(principal) => IdentityFact::Verified(principal),
                Identity::Rejected(problem) => IdentityFact::Rejected(problem),
                Identity::Unavailable(dependency) => IdentityFact::Unavailable(*dependency),
            },
            risk: &self.risk,
            bans: Bans { address: self.address_ban.as_ref(), principal: self.principal_ban.as_ref() },
            contained: Contained::default(),
            posture: None,
            activations: &self.activations,
            now: self.now,
        }
    }
}

/// A policy without problems.
pub(crate) fn policy_draft() -> impl Strategy<Value = PolicyDraft> {
    (prop_oneof![1 => 1..=2usize, 3 => Just(ROUTES.len())], 0..=NETWORKS.len()).prop_flat_map(|(routes, networks)| {
        (
            networks_of(networks),
            vec(weighted(0.5, resource(networks)), routes),
            roles(),
            vec(vec(select(&PRINCIPALS[..]), 0..=3), 0..=GROUPS.len()),
            prop_oneof![1 => vec(assignment(routes, networks), 0..=2), 3 => vec(assignment(routes, networks), 3..=8)],
            prop_oneof![Just(Vec::new()), vec(deny(routes, networks), 1..=4)],
            any::<bool>(),
        )
            .prop_map(move |(networks, resources, roles, groups, mut assignments, denies, enforce)| {
                assignments.retain(|each| roles.iter().any(|role| role.name.value == each.role.value));
                let draft = PolicyDraft {
                    sources: vec!["policy.toml".into()],
                    routes: ROUTES[..routes].iter().map(|(name, paths)| route(name, paths)).collect(),
                    networks,
                    resources: resources
                        .into_iter()
                        .zip(ROUTES)
                        .filter_map(|(each, (name, _))| Some(ResourceDraft { route: placed(name), ..each? }))
                        .collect(),
                    roles,
                    groups: groups.into_iter().zip(GROUPS).map(|(members, name)| group(name, members)).collect(),
                    assignments,
                    denies,
                    risk: RiskRules { enforce, ..RiskRules::default() },
                    ..PolicyDraft::default()
                };
                with_names_and_lines(draft)
            })
    })
}

/// A request that may be anything, banned too.
pub(crate) fn facts() -> impl Strategy<Value = Facts> {
    (
        unbanned_facts(),
        weighted(0.06, ban(vec![BanScope::Address, BanScope::Anonymous])),
        weighted(0.05, ban_of_principal()),
    )
        .prop_map(|(facts, address_ban, principal_ban)| Facts { address_ban, principal_ban, ..facts })
}

fn unbanned_facts() -> impl Strategy<Value = Facts> {
    (
        select(vec!["GET", "GET", "POST", "DELETE", "PURGE"]),
        select(&PATHS[..]),
        weighted(0.85, select(&ADDRESSES[..])),
        weighted(0.8, country()),
        identity(),
        risk(),
        clock(),
        vec((0..8usize, -1_000i64..1_000), 0..=2),
    )
        .prop_map(|(method, path, client, country, identity, risk, now, activated)| Facts {
            method,
            path: CanonicalPath::parse(path).unwrap(),
            client: client.map_or(ClientAddress::Unknown, |text| ClientAddress::known(text.parse::<IpAddr>().unwrap())),
            country,
            identity,
            risk,
            address_ban: None,
            principal_ban: None,
            activations: activated
                .into_iter()
                .map(|(index, left_s)| {
                    let until = Timestamp::from_second(now.as_second() + left_s).unwrap();
                    Activation::of(&format!("assignment-{index}"), until)
                })
                .collect(),
            now,
        })
}

pub(crate) fn placed(text: &str) -> Placed<String> {
    text.to_owned().into()
}

fn all_placed(texts: Vec<&str>) -> Vec<Placed<String>> {
    texts.into_iter().map(placed).collect()
}

fn route(name: &str, paths: &[&str]) -> RouteDraft {
    RouteDraft { name: placed(name), hosts: Vec::new(), paths: all_placed(paths.to_vec()), reserved: false }
}

fn group(name: &str, members: Vec<&str>) -> GroupDraft {
    GroupDraft { name: placed(name), members: all_placed(members) }
}

/// Names that are out of the order of the file, and a line of its own for each entry.
fn with_names_and_lines(mut draft: PolicyDraft) -> PolicyDraft {
    let mut line = 0;
    let mut at = || {
        line += 1;
        Position { line, ..Position::default() }
    };
    for (index, each) in draft.assignments.iter_mut().enumerate() {
        each.name = Placed::new(format!("assignment-{}", (index * 5 + 3) % 8), at());
    }
    for (index, each) in draft.denies.iter_mut().enumerate() {
        each.name = Placed::new(format!("deny-{}", (index * 3 + 2) % 4), at());
    }
    for name in (draft.networks.iter_mut().map(|each| &mut each.name))
        .chain(draft.resources.iter_mut().map(|each| &mut each.route))
        .chain(draft.roles.iter_mut().map(|each| &mut each.name))
        .chain(draft.groups.iter_mut().map(|each| &mut each.name))
    {
        name.at = at();
    }
    draft
}

fn networks_of(count: usize) -> impl Strategy<Value = Vec<NetworkDraft>> {
    vec((subsequence(&PREFIXES[..], 0..=3), prop::bool::weighted(0.15)), count).prop_map(|networks| {
        networks
            .into_iter()
            .zip(NETWORKS)
            .map(|((prefixes, unknown), name)| NetworkDraft {
                name: placed(name),
                prefixes: prefixes.into_iter().map(|prefix| prefix.parse().unwrap()).collect(),
                unknown,
            })
            .collect()
    })
}

fn some_networks(count: usize) -> impl Strategy<Value = Vec<Placed<String>>> {
    subsequence(NETWORKS[..count].to_vec(), 0..=count.min(2)).prop_map(all_placed)
}

fn resource(networks: usize) -> impl Strategy<Value = ResourceDraft> {
    use AuthenticationRule as Rule;
    (
        select(vec![Rule::Required, Rule::Required, Rule::Optional, Rule::None, Rule::Certificate]),
        some_networks(networks),
        some_networks(networks),
        (prop::bool::ANY, prop::bool::ANY),
        select(vec![Sensitivity::Low, Sensitivity::Normal, Sensitivity::High]),
        (prop::bool::weighted(0.05), weighted(0.08, max_age())),
        mode(),
    )
        .prop_map(|(authentication, allow, deny, keep, sensitivity, (mfa, max_age_s), mode)| ResourceDraft {
            route: placed(""),
            proof: if authentication == Rule::None { ProofDraft::default() } else { ProofDraft { mfa, max_age_s } },
            authentication,
            allow: if keep.0 { allow } else { Vec::new() },
            deny: if keep.1 { deny } else { Vec::new() },
            sensitivity,
            mode,
            ..ResourceDraft::default()
        })
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![4 => Just(Mode::Enforce), 1 => Just(Mode::Shadow)]
}

fn roles() -> impl Strategy<Value = Vec<RoleDraft>> {
    let permission =
        (vec(select(&ACTIONS[..]), 1..=2), vec(select(&ACTIONS[3..]), 0..=1)).prop_map(|(actions, not_actions)| {
            PermissionDraft { actions: all_placed(actions), not_actions: all_placed(not_actions) }
        });
    let parents = vec(prop::bool::weighted(0.25), ROLES.len());
    let role = (prop_oneof![1 => Just(Vec::new()), 8 => vec(permission, 1..=2)], parents);
    let roles = prop_oneof![1 => vec(role.clone(), 0..=2), 3 => vec(role, 3..=ROLES.len())];
    roles.prop_map(|roles| {
        roles
            .into_iter()
            .enumerate()
            .map(|(index, (permissions, parents))| RoleDraft {
                name: placed(ROLES[index]),
                // From those before it, so there is no circle.
                inherits: all_placed(
                    (0..index).filter(|parent| parents[*parent]).map(|parent| ROLES[parent]).collect(),
                ),
                permissions,
            })
            .collect()
    })
}

fn scope(routes: usize) -> impl Strategy<Value = ScopeDraft> {
    prop_oneof![
        2 => Just(ScopeDraft::All),
        1 => subsequence((0..routes).collect::<Vec<_>>(), 1..=routes)
            .prop_map(|routes| ScopeDraft::Routes(routes.into_iter().map(|route| placed(ROUTES[route].0)).collect())),
    ]
}

fn period() -> impl Strategy<Value = (Option<Timestamp>, Option<Timestamp>)> {
    let border = || weighted(0.15, select(&BORDERS[..]).prop_map(|text| text.parse::<Timestamp>().unwrap()));
    (border(), border())
        .prop_map(|(starts, expires)| (starts, expires.filter(|expires| starts.is_none_or(|starts| starts < *expires))))
}

pub(crate) fn hours(text: &str) -> Hours {
    Hours::parse(text, |name| TimeZone::get(name).ok()).unwrap()
}

fn country() -> impl Strategy<Value = CountryCode> {
    select(&COUNTRIES[..]).prop_map(|text| CountryCode::parse(text).unwrap())
}

fn level() -> impl Strategy<Value = RiskLevel> {
    select(vec![RiskLevel::Low, RiskLevel::Medium, RiskLevel::High])
}

/// An hour, and more than what `mfa` holds for.
fn max_age() -> impl Strategy<Value = u64> {
    select(vec![3_600, 25 * 3_600])
}

fn when(networks: usize) -> impl Strategy<Value = WhenDraft> {
    let likely = 0.15;
    (
        weighted(likely, some_networks(networks)),
        weighted(likely, select(&HOURS[..])),
        weighted(likely, vec(country(), 1..=2)),
        prop::bool::weighted(likely),
        prop::bool::weighted(likely),
        weighted(0.05, max_age()),
        weighted(likely, level()),
    )
        .prop_map(|(networks, span, countries, compliant_device, assurance_mfa, max_age_s, max_risk)| WhenDraft {
            networks: networks.filter(|networks| !networks.is_empty()),
            hours: span.map(|text| hours(text).into()),
            countries,
            compliant_device,
            assurance_mfa,
            max_age_s,
            max_risk,
        })
}

fn some_principals() -> impl Strategy<Value = Vec<Placed<String>>> {
    vec(select(&PRINCIPALS[..]), 1..=3).prop_map(all_placed)
}

fn assignment(routes: usize, networks: usize) -> impl Strategy<Value = AssignmentDraft> {
    (
        select(&ROLES[..]),
        some_principals(),
        scope(routes),
        period(),
        when(networks),
        weighted(0.15, any::<bool>()),
        mode(),
    )
        .prop_map(|(role, principals, scope, (starts, expires), when, activation, mode)| AssignmentDraft {
            name: placed(""),
            role: placed(role),
            principals,
            scope,
            starts,
            expires,
            when,
            activation: activation
                .map(|justification_required| ActivationRules { justification_required, ..ActivationRules::of(3_600) }),
            mode,
        })
}

/// Denies that touch little, or nothing would ever be permitted.
pub(crate) fn deny(routes: usize, networks: usize) -> impl Strategy<Value = DenyDraft> {
    let actions = vec(select(&ACTIONS[3..]), 1..=2).prop_map(all_placed);
    (some_principals(), actions, scope(routes), period(), when(networks), mode()).prop_map(
        |(principals, actions, scope, (starts, expires), when, mode)| DenyDraft {
            name: placed(""),
            principals,
            actions,
            scope,
            starts,
            expires,
            when: WhenDraft { assurance_mfa: false, max_age_s: None, max_risk: None, ..when },
            explain: None::<Arc<str>>,
            mode,
        },
    )
}

fn clock() -> impl Strategy<Value = Timestamp> {
    (select(&CLOCKS[..]), prop_oneof![Just(0i64), -100_000i64..100_000]).prop_map(|(text, seconds)| {
        let at: Timestamp = text.parse().unwrap();
        Timestamp::from_second(at.as_second() + seconds).unwrap()
    })
}

fn identity() -> impl Strategy<Value = Identity> {
    let problem = CredentialProblem {
        kind: CredentialProblemKind::Expired,
        detail: "expired an hour ago".into(),
        provider: None,
    };
    prop_oneof![
        9 => principal().prop_map(Identity::Verified),
        2 => Just(Identity::Anonymous),
        1 => Just(Identity::Rejected(problem)),
        1 => select(vec![Dependency::Keys, Dependency::Store, Dependency::Directory]).prop_map(Identity::Unavailable),
    ]
}

fn principal() -> impl Strategy<Value = Principal> {
    let group = (select(vec!["g0", "g1", "g2", "g3", "ext", "nobody"]), any::<bool>())
        .prop_map(|(name, trusted)| GroupClaim { name: name.into(), trusted });
    (
        select(vec![
            (PrincipalKind::User, "u0"),
            (PrincipalKind::User, "u0"),
            (PrincipalKind::User, "u1"),
            (PrincipalKind::User, "u2"),
            (PrincipalKind::Service, "u0"),
            (PrincipalKind::Certificate, "c0"),
            (PrincipalKind::Certificate, "c1"),
        ]),
        vec(group, 0..=2),
        prop_oneof![4 => Just(Vec::new()), 1 => vec(select(&ROLES[..]), 1..=2)],
        weighted(0.5, weighted(0.7, any::<bool>())),
        weighted(0.4, select(vec!["urn:mfa", "urn:password"])),
        weighted(0.5, select(vec!["2026-11-23T09:00:00Z", "2026-11-22T09:00:00Z", "2026-11-22T22:00:00Z"])),
    )
        .prop_map(|((kind, id), groups, roles, device, acr, auth_time)| Principal {
            groups,
            roles: roles.into_iter().map(Into::into).collect(),
            device: device.map(|compliant| Device { id: "laptop".into(), compliant }),
            scope: None,
            authentication: Authentication {
                acr: acr.map(Into::into),
                auth_time: auth_time.map(|text| text.parse().unwrap()),
                issued: None,
                ..bare_principal(kind, id).authentication
            },
            ..bare_principal(kind, id)
        })
}

/// A principal without groups, roles, device or assurance.
pub(crate) fn bare_principal(kind: PrincipalKind, id: &str) -> Principal {
    Principal::proven(kind, id, Authentication::by(AuthenticationMethod::Jwt, "corporate"))
}

fn risk() -> impl Strategy<Value = RiskAssessment> {
    use SignalFamily as Family;
    let signal = (
        select(vec![Family::Novelty, Family::Novelty, Family::Evidence, Family::Posture, Family::Trust]),
        select(vec![1_200, 1_499, 1_500, 2_000, 4_500]),
    )
        .prop_map(|(family, mnats)| signal(family, mnats));
    prop_oneof![
        4 => Just(RiskAssessment::NONE),
        4 => (vec(signal, 0..=3), any::<bool>()).prop_map(|(signals, degraded)| RiskAssessment {
            mnats: signals.iter().map(|signal| signal.mnats).sum(),
            signals,
            degraded,
            stated: None,
        }),
        1 => level().prop_map(stated_risk),
    ]
}

pub(crate) fn stated_risk(level: RiskLevel) -> RiskAssessment {
    RiskAssessment { stated: Some(level), ..RiskAssessment::NONE }
}

pub(crate) fn signal(family: SignalFamily, mnats: i32) -> RiskSignal {
    let mnats = if family == SignalFamily::Trust { -mnats } else { mnats };
    RiskSignal { name: "test.signal", family, mnats, value: String::new(), reason: "a signal".into() }
}

fn ban(scopes: Vec<BanScope>) -> impl Strategy<Value = Ban> {
    (select(scopes), prop::bool::weighted(0.3)).prop_map(|(scope, simulated)| Ban {
        scope,
        until: "2027-01-01T00:00:00Z".parse().unwrap(),
        offences: 1,
        cause: "probing".into(),
        simulated,
    })
}

fn ban_of_principal() -> impl Strategy<Value = Ban> {
    ban(vec![BanScope::Principal])
}
