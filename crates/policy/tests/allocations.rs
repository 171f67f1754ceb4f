//! A permit costs no allocation, whatever the policy's size and whatever its rules ask about.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "in a test a broken expectation is a failure")]

use std::net::IpAddr;

use allocation_counter::measure;
use portcullis_policy::*;

#[path = "size/world.rs"]
mod world;

use world::*;

/// How often `decide` allocated; it must have permitted.
fn allocations(policy: &Policy, request: &AccessRequest<'_>) -> u64 {
    let mut permitted = false;
    let counted = measure(|| permitted = matches!(policy.decide(request), Decision::Permit(_)));
    assert!(permitted, "{}", policy.explain(request).message);
    counted.count_total
}

#[test]
fn a_permit_allocates_nothing_at_any_size() {
    for (assignments, prefixes) in [(10, 11), (1_000, 1_000), (20_000, 50_000)] {
        let size = Size { roles: assignments.min(1_000), assignments, routes: assignments.min(100), prefixes };
        let (policy, _) = Policy::compile(&draft(&size)).unwrap();
        let (free, bound) = (assignments - 3, assignments - 1 - (assignments - 1) % 3);
        for (number, client) in [(free, IpAddr::from([192, 0, 2, 1])), (bound, within(&size, bound))] {
            let role = number % size.roles;
            let probe = probe(number, "GET", role % size.routes, &format!("part{role}/a/b/c"), client);
            let risk = RiskAssessment::NONE;
            assert_eq!(allocations(&policy, &ask(&policy, &probe, &risk)), 0, "{number} of {size:?}");
        }
    }
}

#[test]
fn a_verdict_allocates_nothing_also_where_it_is_a_refusal() {
    let size = Size { roles: 1_000, assignments: 20_000, routes: 100, prefixes: 50_000 };
    let (policy, _) = Policy::compile(&draft(&size)).unwrap();
    let bound = 19_998;
    let role = bound % size.roles;
    for (path, reason) in
        [(format!("part{role}/a"), Reason::ConditionUnmet), ("other".to_owned(), Reason::NoMatchingGrant)]
    {
        let probe = probe(bound, "GET", role % size.routes, &path, IpAddr::from([192, 0, 2, 1]));
        let risk = RiskAssessment::NONE;
        let request = ask(&policy, &probe, &risk);
        let mut verdict = (Outcome::Permit, None);
        let counted = measure(|| verdict = policy.verdict(&request));
        assert_eq!((verdict, counted.count_total), ((Outcome::Deny, Some(reason)), 0));
    }
}

fn germany() -> CountryCode {
    CountryCode::parse("DE").unwrap()
}

fn office_hours() -> Hours {
    let zone = jiff::tz::TimeZone::get("Europe/Berlin").unwrap();
    Hours { text: "Mon-Fri 08:00-18:00 Europe/Berlin".into(), days: 0b1_1111, from_minute: 480, to_minute: 1080, zone }
}

/// An address of the network that assignment `number` is bound to.
fn within(size: &Size, number: usize) -> IpAddr {
    let networks = NETWORKS.min(size.prefixes);
    IpAddr::from(slash_28(number % networks).broadcast())
}

/// One rule of each kind on the way: groups in groups, a role from the credential, an inherited role, denies that do not apply,
/// a resource's networks, and every condition.
#[test]
fn a_permit_allocates_nothing_whatever_is_asked_of_it() {
    let text = |text: &str| Placed::<String>::from(text.to_owned());
    let list = |texts: &[&str]| texts.iter().map(|each| text(each)).collect::<Vec<_>>();
    let role = |name: &str, inherits: &[&str], actions: &[&str]| RoleDraft {
        name: text(name),
        inherits: list(inherits),
        permissions: vec![PermissionDraft { actions: list(actions), not_actions: list(&["DELETE /app/**"]) }],
    };
    let grant = |name: &str, role: &str, principals: &[&str], when: WhenDraft| AssignmentDraft {
        name: text(name),
        role: text(role),
        principals: list(principals),
        scope: ScopeDraft::All,
        when,
        ..AssignmentDraft::default()
    };
    let office = || Some(list(&["office"]));
    let draft = PolicyDraft {
        sources: vec!["policy.toml".into()],
        routes: vec![RouteDraft::new("app", ["/app/**"])],
        networks: vec![NetworkDraft {
            name: text("office"),
            prefixes: vec!["203.0.113.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
            unknown: false,
        }],
        groups: vec![
            GroupDraft { name: text("inner"), members: list(&["user:alice"]) },
            GroupDraft { name: text("outer"), members: list(&["group:inner"]) },
        ],
        roles: vec![
            role("reader", &[], &["GET /app/**"]),
            role("writer", &["reader"], &["PUT /app/**"]),
            role("poster", &[], &["POST /app/**"]),
            role("patcher", &[], &["PATCH /app/**"]),
            role("maker", &[], &["MKCOL /app/**"]),
        ],
        assignments: vec![
            grant("by-group", "writer", &["group:outer"], WhenDraft { networks: office(), ..WhenDraft::default() }),
            grant(
                "in-hours",
                "poster",
                &["user:alice"],
                WhenDraft { hours: Some(Placed::from(office_hours())), ..WhenDraft::default() },
            ),
            grant(
                "on-a-good-device",
                "patcher",
                &["user:alice"],
                WhenDraft {
                    compliant_device: true,
                    countries: Some(vec![germany()]),
                    max_risk: Some(RiskLevel::Medium),
                    ..WhenDraft::default()
                },
            ),
        ],
        denies: vec![DenyDraft {
            name: text("not-from-the-office"),
            principals: list(&["authenticated"]),
            actions: list(&["* /app/secret/**"]),
            scope: ScopeDraft::All,
            ..DenyDraft::default()
        }],
        ..PolicyDraft::default()
    };
    let (policy, _) = Policy::compile(&draft).unwrap();
    let mut alice = user(0);
    alice.id = "alice".into();
    alice.device = Some(Device { id: "laptop".into(), compliant: Some(true) });
    alice.roles = vec!["maker".into()];
    let path = CanonicalPath::parse("/app/a/b").unwrap();
    let risk = RiskAssessment::NONE;
    let route = policy.find_route("any", &path);
    for method in ["GET", "PUT", "POST", "PATCH", "MKCOL"] {
        for client in ["203.0.113.7", "2001:db8::7", "::ffff:203.0.113.7"] {
            let request = AccessRequest {
                method,
                path: &path,
                route,
                client: ClientAddress::known(client.parse().unwrap()),
                country: Some(germany()),
                identity: IdentityFact::Verified(&alice),
                risk: &risk,
                bans: Bans::default(),
                contained: Contained::default(),
                posture: None,
                activations: &[],
                now: "2026-11-23T10:00:00Z".parse().unwrap(),
            };
            assert_eq!(allocations(&policy, &request), 0, "{method} from {client}");
        }
    }
}
