//! Where the country matters, and what a private address is.

#![expect(clippy::panic, clippy::expect_used, reason = "a panic is how a test fails")]

use jiff::Timestamp;
use portcullis_policy::*;

fn draft(scope: ScopeDraft, deny: bool) -> PolicyDraft {
    let when =
        WhenDraft { countries: Some(vec![CountryCode::parse("de").expect("a country")]), ..WhenDraft::default() };
    let mut draft = PolicyDraft {
        routes: vec![RouteDraft::new("a", ["/a/**"]), RouteDraft::new("b", ["/b/**"])],
        resources: ["a", "b"]
            .map(|route| ResourceDraft {
                route: route.to_owned().into(),
                authentication: AuthenticationRule::None,
                ..ResourceDraft::default()
            })
            .to_vec(),
        roles: vec![RoleDraft::new("reader", ["GET /**"])],
        ..PolicyDraft::default()
    };
    if deny {
        draft.assignments.push(AssignmentDraft::new("everybody", "reader", ["anyone"]));
        draft.denies.push(DenyDraft { when, scope, ..DenyDraft::new("d", ["anyone"], ["* /**"]) });
    } else {
        draft.assignments.push(AssignmentDraft {
            when,
            scope,
            ..AssignmentDraft::new("everybody", "reader", ["anyone"])
        });
    }
    draft
}

fn compiled(draft: &PolicyDraft) -> Policy {
    Policy::compile(draft).unwrap_or_else(|problems| panic!("{problems:?}")).0
}

#[test]
fn the_country_is_asked_for_only_where_a_rule_needs_it() {
    let only_b = || ScopeDraft::Routes(vec!["b".to_owned().into()]);
    for deny in [false, true] {
        let check = |scope: ScopeDraft, expected: [bool; 2]| {
            let policy = compiled(&draft(scope, deny));
            let asked = ["a", "b"].map(|name| policy.asks_country(policy.route_named(name).expect("a route")));
            assert_eq!(asked, expected, "deny: {deny}");
        };
        check(ScopeDraft::All, [true, true]);
        check(only_b(), [false, true]);
    }
    let mut without = draft(ScopeDraft::All, false);
    without.assignments.clear();
    let policy = compiled(&without);
    assert!(!policy.asks_country(policy.route_named("a").expect("a route")));
}

#[test]
fn nowhere_is_known_to_be_in_no_country_and_unknown_is_not() {
    let decide = |policy: &Policy, country: Option<CountryCode>| {
        let path = CanonicalPath::parse("/a/x").expect("a path");
        let route = policy.find_route("app.test", &path);
        let request = AccessRequest { country, ..AccessRequest::new("GET", &path, route, Timestamp::UNIX_EPOCH) };
        match policy.decide(&request) {
            Decision::Permit(_) => "permit".to_owned(),
            Decision::Deny(denial)
            | Decision::Challenge(denial)
            | Decision::StepUp(denial)
            | Decision::Undecided(denial) => denial.reason.code().to_owned(),
        }
    };
    let (grant, deny) = (compiled(&draft(ScopeDraft::All, false)), compiled(&draft(ScopeDraft::All, true)));
    let check = |country: Option<&str>, granted: &str, denied: &str| {
        let country = country.and_then(CountryCode::parse);
        assert_eq!((decide(&grant, country), decide(&deny, country)), (granted.to_owned(), denied.to_owned()));
    };
    check(Some("DE"), "permit", "rbac.explicit_deny");
    check(Some("FR"), "rbac.condition_unmet", "permit");
    assert_eq!(CountryCode::parse("zz"), Some(CountryCode::NOWHERE));
    check(Some("ZZ"), "rbac.condition_unmet", "permit");
    check(None, "rbac.condition_unmet", "policy.unavailable");
}
