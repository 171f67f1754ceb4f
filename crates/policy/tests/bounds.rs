//! Policies that are made to be expensive: each compiles or is refused with a reason, and what was compiled decides.
//! Nothing is timed by an assertion; the figures are printed for whoever runs it with `--nocapture`.
//!
//! `PORTCULLIS_FULL_SIZE=1` takes the sizes that a policy file of 64 MiB has room for; otherwise a part of that, which a
//! debug build takes in its stride.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "in a test a broken expectation is a failure, and figures are for whoever asks for them"
)]

use std::time::Instant;

use jiff::Timestamp;
use portcullis_policy::*;

fn size(full: usize, small: usize) -> usize {
    if std::env::var_os("PORTCULLIS_FULL_SIZE").is_some() { full } else { small }
}

fn named(kind: &str, index: usize) -> Placed<String> {
    format!("{kind}{index:07}").into()
}

fn list(texts: impl IntoIterator<Item = String>) -> Vec<Placed<String>> {
    texts.into_iter().map(Placed::from).collect()
}

/// One route for everything, one role for everything, and `alice` who has it.
fn base() -> PolicyDraft {
    PolicyDraft {
        routes: vec![RouteDraft { name: "all".to_owned().into(), ..RouteDraft::default() }],
        roles: vec![role("everything".to_owned().into(), &["* /**".to_owned()])],
        assignments: vec![AssignmentDraft {
            name: "alice".to_owned().into(),
            role: "everything".to_owned().into(),
            principals: list(["user:alice".to_owned()]),
            scope: ScopeDraft::All,
            ..AssignmentDraft::default()
        }],
        ..PolicyDraft::default()
    }
}

fn role(name: Placed<String>, actions: &[String]) -> RoleDraft {
    let actions = list(actions.iter().cloned());
    RoleDraft { name, permissions: vec![PermissionDraft { actions, not_actions: Vec::new() }], ..RoleDraft::default() }
}

fn compile(what: &str, draft: &PolicyDraft) -> Result<Policy, Vec<Problem>> {
    let started = Instant::now();
    let compiled = Policy::compile(draft).map(|(policy, _)| policy);
    let problems = compiled.as_ref().err().map_or(0, Vec::len);
    println!("{what}: {:.3} s, {problems} problems", started.elapsed().as_secs_f64());
    compiled
}

/// It is refused, and among the problems is one of this kind with this in its message.
fn refused(what: &str, draft: &PolicyDraft, kind: ProblemKind, message: &str) {
    let problems = compile(what, draft).err().unwrap_or_else(|| panic!("{what} was accepted"));
    assert!(
        problems.iter().any(|problem| problem.kind == kind && problem.message.contains(message)),
        "{what}: {:#?}",
        problems.iter().take(3).collect::<Vec<_>>()
    );
}

/// The outcome for `alice` on a path, and what the decision took.
fn decide(what: &str, policy: &Policy, path: &str, client: &str) -> Outcome {
    let alice = Principal::user("alice");
    let path = CanonicalPath::parse(path).unwrap();
    let request = AccessRequest {
        method: "GET",
        path: &path,
        route: policy.find_route("host.test", &path),
        client: ClientAddress::known(client.parse().unwrap()),
        country: None,
        identity: IdentityFact::Verified(&alice),
        risk: &RiskAssessment::NONE,
        bans: Bans::default(),
        contained: Contained::default(),
        posture: None,
        activations: &[],
        now: Timestamp::UNIX_EPOCH,
    };
    let started = Instant::now();
    let decision = policy.decide(&request);
    println!("{what}: decided in {:.1} us", started.elapsed().as_secs_f64() * 1e6);
    match decision {
        Decision::Permit(_) => Outcome::Permit,
        Decision::Deny(denial)
        | Decision::Challenge(denial)
        | Decision::StepUp(denial)
        | Decision::Undecided(denial) => denial.outcome,
    }
}

/// `/a` or `/*` on each level, by the bits of a number.
fn words_and_stars(bits: usize, levels: usize) -> String {
    (0..levels).map(|level| if bits >> level & 1 == 0 { "/a" } else { "/*" }).collect()
}

#[test]
fn patterns_that_double_with_each_segment_are_refused() {
    let levels = if size(1, 0) == 1 { 16 } else { 12 };
    let actions: Vec<String> = (0..1 << levels).map(|bits| format!("GET {}", words_and_stars(bits, levels))).collect();
    let draft = PolicyDraft { roles: vec![role("everything".to_owned().into(), &actions)], ..base() };
    refused("all words and stars", &draft, ProblemKind::BadAction, "more than 256 places");

    // The most that passes: six levels of both, below two levels of words.
    let actions: Vec<String> = (0..1 << 6).map(|bits| format!("GET /a/a{}", words_and_stars(bits, 6))).collect();
    let excluded = list(actions.iter().map(|action| action.replace("GET", "PUT")));
    let permissions = actions
        .iter()
        .map(|action| PermissionDraft { actions: list([action.clone()]), not_actions: excluded.clone() })
        .collect();
    let roles = vec![RoleDraft { permissions, ..role("everything".to_owned().into(), &[]) }];
    let policy = compile("the widest", &PolicyDraft { roles, ..base() }).unwrap();
    assert_eq!(decide("the widest", &policy, &"/a".repeat(8), "192.0.2.1"), Outcome::Permit);
    assert_eq!(decide("the widest, no match", &policy, &"/b".repeat(8), "192.0.2.1"), Outcome::Deny);
}

#[test]
fn routes_that_double_with_each_segment_are_refused_once_for_each_host() {
    let route = |name: usize, hosts: &[&str], path: String| RouteDraft {
        name: named("route", name),
        hosts: list(hosts.iter().map(|host| (*host).to_owned())),
        paths: list([path]),
        reserved: false,
    };
    let tree = |levels: usize, hosts: &'static [&'static str]| {
        (0..1 << levels).map(move |bits| route(bits, hosts, words_and_stars(bits, levels)))
    };
    let levels = if size(1, 0) == 1 { 15 } else { 11 };
    let draft = PolicyDraft { routes: tree(levels, &["a.test", "*.b.test"]).collect(), ..base() };
    refused("routes of all words and stars", &draft, ProblemKind::BadPattern, "more than 256 places");
    let problems = Policy::compile(&draft).unwrap_err();
    let wide = problems.iter().filter(|problem| problem.kind == ProblemKind::BadPattern);
    assert_eq!(wide.count(), 2);

    // The most that passes, on two hosts, of which one is tried after the other.
    let routes = tree(6, &["a.test", "*.test"]).chain([route(64, &[], "/**".to_owned())]).collect();
    let policy = compile("the widest routes", &PolicyDraft { routes, ..base() }).unwrap();
    let check = |host: &str, path: &str, expected: usize| {
        let path = CanonicalPath::parse(path).unwrap();
        assert_eq!(policy.find_route(host, &path).map(RouteId::index), Some(expected), "{host}");
    };
    check("a.test", &"/a".repeat(6), 0);
    check("a.test", &"/b".repeat(6), 63);
    check("a.test", &"/b".repeat(7), 64);
}

#[test]
fn patterns_of_the_greatest_depth_are_walked_once() {
    let deep = |index: usize| format!("GET {}", "/*".repeat(index));
    let actions: Vec<String> = (1..=127).map(deep).chain([format!("GET {}/**", "/*".repeat(100))]).collect();
    let draft = PolicyDraft { roles: vec![role("everything".to_owned().into(), &actions)], ..base() };
    let policy = compile("stars of every depth", &draft).unwrap();
    assert_eq!(decide("127 segments", &policy, &"/a".repeat(127), "192.0.2.1"), Outcome::Permit);
    assert_eq!(
        decide("99 segments and a slash", &policy, &format!("{}/", "/a".repeat(99)), "192.0.2.1"),
        Outcome::Deny
    );
}

#[test]
fn a_path_may_be_as_long_as_the_caller_lets_it() {
    let segments = size(1_000_000, 200_000);
    let policy = compile("one role", &base()).unwrap();
    assert_eq!(decide("a path of many segments", &policy, &"/a".repeat(segments), "192.0.2.1"), Outcome::Permit);
    assert_eq!(decide("a long segment", &policy, &format!("/{}", "a".repeat(1 << 20)), "192.0.2.1"), Outcome::Permit);
    let draft = PolicyDraft { assignments: Vec::new(), ..base() };
    let nobody = compile("no grants", &draft).unwrap();
    assert_eq!(
        decide("a path of many segments, denied", &nobody, &"/%41".repeat(segments), "192.0.2.1"),
        Outcome::Deny
    );
}

#[test]
fn a_chain_of_roles_is_refused_by_its_depth() {
    let draft = PolicyDraft {
        roles: (0..size(100_000, 4_000))
            .map(|index| RoleDraft {
                inherits: index.checked_sub(1).map(|below| named("r", below)).into_iter().collect(),
                ..role(named("r", index), &["GET /a".to_owned()])
            })
            .collect(),
        assignments: Vec::new(),
        ..base()
    };
    refused("a chain of roles", &draft, ProblemKind::RoleDepth, "inherits through more than 32 others");
    // Listed the other way round, each role is reached through all above it.
    let mut reversed = draft;
    for (role, index) in reversed.roles.iter_mut().zip(0..) {
        role.inherits = if index + 1 < size(100_000, 4_000) { vec![named("r", index + 1)] } else { Vec::new() };
    }
    refused("a chain of roles, reversed", &reversed, ProblemKind::RoleDepth, "inherits through more than 32 others");
}

/// Layers of roles, each inheriting from all of the layer below: the number of ways doubles and the closures do not.
fn diamond(layers: usize, width: usize) -> PolicyDraft {
    let below = |index: usize| {
        let layer = index / width;
        (0..width).filter(|_| layer > 0).map(|other| named("r", (layer - 1) * width + other)).collect()
    };
    PolicyDraft {
        roles: (0..layers * width)
            .map(|index| RoleDraft { inherits: below(index), ..role(named("r", index), &["GET /a".to_owned()]) })
            .collect(),
        assignments: Vec::new(),
        ..base()
    }
}

#[test]
fn a_diamond_of_roles_is_as_large_as_its_roles() {
    compile("32 layers of 2: 2^32 ways", &diamond(32, 2)).unwrap();
    compile("32 layers of many: as many to the power of 32 ways", &diamond(32, size(20, 6))).unwrap();
    compile("two layers of 1,000", &diamond(2, size(1_000, 200))).unwrap();
    refused("33 layers and one more", &diamond(34, 2), ProblemKind::RoleDepth, "more than 32 others");
    let wide = diamond(size(10, 30), size(1_000, 200));
    refused("wide layers", &wide, ProblemKind::TooMany, "inherit more than 5000000 roles");
}

/// Every role inherits from every other.
#[test]
fn roles_that_all_inherit_from_each_other_are_refused() {
    let many = size(3_000, 200);
    let draft = PolicyDraft {
        roles: (0..many)
            .map(|index| RoleDraft {
                inherits: (0..many).filter(|other| *other != index).map(|other| named("r", other)).collect(),
                ..role(named("r", index), &["GET /a".to_owned()])
            })
            .collect(),
        assignments: Vec::new(),
        ..base()
    };
    refused("a complete graph of roles", &draft, ProblemKind::RoleCycle, "inherit in a circle");
    let circles = Policy::compile(&draft).unwrap_err();
    assert_eq!(circles.iter().filter(|problem| problem.kind == ProblemKind::RoleCycle).count(), 100);
}

fn groups(many: usize, members: impl Fn(usize) -> Vec<usize>) -> PolicyDraft {
    PolicyDraft {
        groups: (0..many)
            .map(|index| GroupDraft {
                name: named("g", index),
                members: members(index).into_iter().map(|other| named("group:g", other)).collect(),
            })
            .collect(),
        ..base()
    }
}

#[test]
fn groups_that_nest_deeply_are_accepted_up_to_a_number_of_memberships() {
    let nested = |many: usize| groups(many, |index| index.checked_sub(1).into_iter().collect());
    let policy = compile("a chain of groups", &nested(size(4_000, 1_000))).unwrap();
    assert_eq!(decide("a chain of groups", &policy, "/a", "192.0.2.1"), Outcome::Permit);
    let deep = nested(size(100_000, 5_000));
    refused("a chain of many groups", &deep, ProblemKind::TooMany, "nested ones included");
}

#[test]
fn groups_that_all_contain_each_other_are_refused_before_they_are_multiplied() {
    let complete = |many: usize| groups(many, move |index| (0..many).filter(|other| *other != index).collect());
    let policy = compile("a small complete graph of groups", &complete(50)).unwrap();
    assert_eq!(decide("a small complete graph of groups", &policy, "/a", "192.0.2.1"), Outcome::Permit);
    let large = complete(size(2_000, 400));
    refused("a complete graph of groups", &large, ProblemKind::TooMany, "nested ones included");
}

fn prefix(address: u32, length: u8) -> ipnet::IpNet {
    ipnet::Ipv4Net::new(address.into(), length).unwrap().trunc().into()
}

fn networks(many: usize, prefixes: impl Fn(usize) -> Vec<ipnet::IpNet>) -> PolicyDraft {
    let allow = vec![named("n", 0)];
    PolicyDraft {
        networks: (0..many)
            .map(|index| NetworkDraft { name: named("n", index), prefixes: prefixes(index), unknown: false })
            .collect(),
        resources: vec![ResourceDraft { route: "all".to_owned().into(), allow, ..ResourceDraft::default() }],
        ..base()
    }
}

#[test]
fn prefixes_of_all_networks_have_a_bound() {
    // One list, named by many networks.
    let list: Vec<ipnet::IpNet> = (0..80_000).map(|number| prefix(0x0a00_0000 + number * 2, 32)).collect();
    let many = |networks_: usize| networks(networks_, |_| list.clone());
    if size(1, 0) == 1 {
        compile("the most prefixes", &many(50)).unwrap();
    }
    refused("one prefix list in many networks", &many(51), ProblemKind::TooMany, "more than 4000000 prefixes");
}

#[test]
fn networks_that_overlap_take_no_more_than_their_prefixes() {
    let many = size(500_000, 10_000);
    let number = |index: usize| u32::try_from(index).unwrap();
    let check = |what: &str, draft: &PolicyDraft| {
        let policy = compile(what, draft).unwrap();
        assert_eq!(decide(what, &policy, "/a", "10.0.0.1"), Outcome::Permit);
        assert_eq!(decide(what, &policy, "/a", "11.0.0.1"), Outcome::Deny);
    };
    check("the same prefix in each network", &networks(many, |_| vec![prefix(0x0a00_0000, 8)]));
    check(
        "half of them around, half of them within",
        &networks(many, |index| {
            vec![if index % 2 == 0 { prefix(0x0a00_0000, 8) } else { prefix(0x0a00_0000 + number(index), 32) }]
        }),
    );
    check(
        "each network with an address of its own in all the others'",
        &networks(many, |index| vec![prefix(0x0a00_0000, 8), prefix(0x0a00_0000 + number(index), 32)]),
    );
    let v6 = |index: usize| {
        let bits = 0x2001_0db8_u128 << 96;
        let length = u8::try_from(index % 97 + 32).unwrap();
        ipnet::Ipv6Net::new((bits | index as u128).into(), length).unwrap().trunc().into()
    };
    check("prefixes 97 deep", &networks(many, |index| vec![prefix(0x0a00_0000, 8), v6(index)]));
}
