//! A route of the gateway's own: a grant must name it, a deny need not.

#![expect(clippy::unwrap_used, clippy::panic, reason = "in a test a broken expectation is a failure")]

use portcullis_policy::*;

const NOW: &str = "2026-11-23T10:00:00Z";

/// `root` may do everything everywhere, `alice` is granted the own route by its name, and `mallory` is, too, and denied everywhere.
fn policy(is_reserved: bool) -> Policy {
    let own = RouteDraft {
        hosts: vec!["own.invalid".to_owned().into()],
        reserved: is_reserved,
        ..RouteDraft::new("own", ["/**"])
    };
    let named = |name: &str, principal: &str| AssignmentDraft {
        scope: ScopeDraft::Routes(vec!["own".to_owned().into()]),
        ..AssignmentDraft::new(name, "all", [principal])
    };
    let draft = PolicyDraft {
        routes: vec![RouteDraft::new("app", ["/**"]), own],
        roles: vec![RoleDraft::new("all", ["* /**"])],
        assignments: vec![
            AssignmentDraft::new("everywhere", "all", ["user:root", "user:mallory"]),
            named("by-name", "user:alice"),
            named("by-name-too", "user:mallory"),
        ],
        denies: vec![DenyDraft::new("never", ["user:mallory"], ["* /**"])],
        ..PolicyDraft::default()
    };
    Policy::compile(&draft).unwrap().0
}

fn outcome(policy: &Policy, host: &str, who: &str) -> Outcome {
    let path = CanonicalPath::parse("/x").unwrap();
    // Whose credential carries the role itself.
    let principal = if who == "carrier" { Principal::user(who).with_role("all") } else { Principal::user(who) };
    let request = AccessRequest {
        identity: IdentityFact::Verified(&principal),
        ..AccessRequest::new("GET", &path, policy.find_route(host, &path), NOW.parse().unwrap())
    };
    let decided = match policy.decide(&request) {
        Decision::Permit(_) => Outcome::Permit,
        Decision::Deny(denial) => denial.outcome,
        other => panic!("{other:?}"),
    };
    assert_eq!(policy.explain(&request).outcome, decided, "{host} {who}");
    decided
}

#[test]
fn a_grant_on_every_route_does_not_cover_it_and_a_deny_does() {
    let check = |is_reserved: bool, host: &str, who: &str, expected: Outcome| {
        assert_eq!(outcome(&policy(is_reserved), host, who), expected, "{is_reserved} {host} {who}");
    };
    for reserved in [false, true] {
        check(reserved, "app.test", "root", Outcome::Permit);
        check(reserved, "app.test", "alice", Outcome::Deny);
        check(reserved, "own.invalid", "alice", Outcome::Permit);
        check(reserved, "own.invalid", "mallory", Outcome::Deny);
        check(reserved, "app.test", "mallory", Outcome::Deny);
        check(reserved, "app.test", "carrier", Outcome::Permit);
    }
    check(false, "own.invalid", "root", Outcome::Permit);
    check(true, "own.invalid", "root", Outcome::Deny);
    check(false, "own.invalid", "carrier", Outcome::Permit);
    check(true, "own.invalid", "carrier", Outcome::Deny);
}

#[test]
fn who_can_says_the_same() {
    let who = |is_reserved: bool| {
        let policy = policy(is_reserved);
        let path = CanonicalPath::parse("/x").unwrap();
        let found = policy.who_can(&ActionQuestion {
            method: "GET",
            path: &path,
            route: policy.find_route("own.invalid", &path).unwrap(),
            circumstances: Circumstances::at(NOW.parse().unwrap()),
            compliant_device: None,
            fresh_mfa: false,
            authenticated_s: None,
        });
        assert_eq!(found.held_directly.is_some(), !is_reserved);
        found.allowed.iter().map(|each| each.subject.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(who(false), ["user:alice", "user:root"]);
    assert_eq!(who(true), ["user:alice"]);
}
