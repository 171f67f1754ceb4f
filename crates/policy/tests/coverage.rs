//! Coverage of small policies, where every number can be counted by hand.

#![expect(clippy::unwrap_used, clippy::panic, reason = "in a test a broken expectation is a failure")]

use jiff::Timestamp;
use jiff::tz::TimeZone;
use portcullis_policy::*;

/// Monday, eleven in the morning in Berlin.
const MONDAY: &str = "2026-11-23T10:00:00Z";
const SUNDAY: &str = "2026-11-22T10:00:00Z";
const OFFICE: &str = "203.0.113.7";
const ELSEWHERE: &str = "198.51.100.1";

fn on_line(line: u32, text: &str) -> Placed<String> {
    Placed::new(text.to_owned(), Position { line, ..Position::default() })
}

fn permission(line: u32, actions: &[&str]) -> PermissionDraft {
    let actions = actions.iter().map(|action| on_line(line, action)).collect();
    PermissionDraft { actions, not_actions: Vec::new() }
}

fn role(line: u32, name: &str, permissions: Vec<PermissionDraft>) -> RoleDraft {
    RoleDraft { name: on_line(line, name), permissions, inherits: Vec::new() }
}

fn grant(line: u32, name: &str, role: &str, principal: &str) -> AssignmentDraft {
    AssignmentDraft {
        name: on_line(line, name),
        role: on_line(line, role),
        principals: vec![on_line(line, principal)],
        scope: ScopeDraft::All,
        ..AssignmentDraft::default()
    }
}

fn deny(line: u32, name: &str, action: &str) -> DenyDraft {
    DenyDraft {
        name: on_line(line, name),
        principals: vec![on_line(line, "anyone")],
        actions: vec![on_line(line, action)],
        scope: ScopeDraft::All,
        ..DenyDraft::default()
    }
}

/// One route, two networks, a role `reader` that reads, and nothing else.
fn base() -> PolicyDraft {
    let network = |line, name, prefix: &str| NetworkDraft {
        name: on_line(line, name),
        prefixes: vec![prefix.parse().unwrap()],
        unknown: false,
    };
    PolicyDraft {
        sources: vec!["policy.toml".into()],
        routes: vec![RouteDraft { name: on_line(1, "app"), ..RouteDraft::default() }],
        networks: vec![network(2, "office", "203.0.113.0/24"), network(3, "lab", "192.0.2.0/24")],
        roles: vec![role(10, "reader", vec![permission(11, &["GET /a/**"])])],
        ..PolicyDraft::default()
    }
}

/// A request: `METHOD PATH`, who, from where, when.
#[derive(Debug, Clone)]
struct Ask {
    request: &'static str,
    who: &'static str,
    roles: &'static [&'static str],
    from: Option<&'static str>,
    at: &'static str,
    mfa: bool,
    device: Option<bool>,
    risk: Option<RiskLevel>,
}

/// From the office on a Monday.
fn ask(request: &'static str, who: &'static str) -> Ask {
    Ask { request, who, roles: &[], from: Some(OFFICE), at: MONDAY, mfa: false, device: None, risk: None }
}

fn covered(draft: &PolicyDraft, asks: &[Ask]) -> CoverageReport {
    let policy = Policy::compile(draft).unwrap_or_else(|problems| panic!("{problems:#?}")).0;
    let mut coverage = Coverage::of(&policy);
    for ask in asks {
        let (method, path) = ask.request.split_once(' ').unwrap();
        let path = CanonicalPath::parse(path).unwrap();
        let principal = Principal {
            roles: ask.roles.iter().map(|role| Box::from(*role)).collect(),
            device: ask.device.map(|compliant| Device { id: "d".into(), compliant: Some(compliant) }),
            authentication: Authentication {
                stated_mfa: ask.mfa,
                ..Authentication::by(AuthenticationMethod::Stated, "test")
            },
            ..Principal::user(ask.who)
        };
        let risk = RiskAssessment { stated: ask.risk, ..RiskAssessment::NONE };
        coverage.add(&AccessRequest {
            method,
            path: &path,
            route: policy.find_route("any.test", &path),
            client: ask.from.map_or(ClientAddress::Unknown, |ip| ClientAddress::known(ip.parse().unwrap())),
            country: None,
            posture: None,
            activations: &[],
            identity: if ask.who.is_empty() { IdentityFact::Anonymous } else { IdentityFact::Verified(&principal) },
            risk: &risk,
            bans: Bans::default(),
            contained: Contained::default(),
            now: ask.at.parse::<Timestamp>().unwrap(),
        });
    }
    coverage.report()
}

/// Counts as `assignments 1/2` without kinds of which there are none, and what is missing as `line: hint`.
#[track_caller]
fn check(draft: &PolicyDraft, asks: &[Ask], counts: &[&str], missing: &[&str]) {
    let report = covered(draft, asks);
    let mut found: Vec<String> = report
        .kinds
        .iter()
        .filter(|(_, count)| count.total > 0)
        .map(|(kind, count)| format!("{} {}/{}", kind.plural(), count.covered, count.total))
        .collect();
    if report.shadow.total > 0 {
        found.push(format!("shadow {}/{}", report.shadow.covered, report.shadow.total));
    }
    let hints: Vec<String> = report.missing.iter().map(|item| format!("{}: {}", item.rule.line, item.hint)).collect();
    assert_eq!(found, counts, "{hints:#?}");
    assert_eq!(hints, missing);
    assert!(
        report.missing.iter().all(|item| &*item.rule.file == "policy.toml" && item.level != CoverageLevel::Covered)
    );
}

#[test]
fn nothing_half_and_all_of_a_policy() {
    let mut draft = base();
    draft.assignments = vec![grant(20, "alice-reads", "reader", "user:alice")];
    draft.denies = vec![deny(30, "no-secrets", "* /a/secret"), deny(31, "no-exports", "* /a/export")];
    let hints = [
        "11: no permitted case does `GET /a/**` of role `reader`",
        "20: no case is permitted through `alice-reads`",
        "30: no case is refused by deny `no-secrets`",
        "31: no case is refused by deny `no-exports`",
    ];
    let none = ["assignments 0/1", "denies 0/2", "permissions 0/1"];
    check(&draft, &[], &none, &hints);
    assert_eq!(covered(&draft, &[]).total(), Count { covered: 0, total: 4 });
    // A refusal that no rule decides shows nothing.
    check(&draft, &[ask("GET /b", "alice"), ask("GET /a/1", "bob")], &none, &hints);
    let half = [ask("GET /a/1", "alice")];
    check(&draft, &half, &["assignments 1/1", "denies 0/2", "permissions 1/1"], &hints[2..]);
    assert_eq!(covered(&draft, &half).total().percent(), 50);
    let all = [ask("GET /a/1", "alice"), ask("GET /a/secret", "alice"), ask("PUT /a/export", "")];
    check(&draft, &all, &["assignments 1/1", "denies 1/2", "permissions 1/1"], &hints[3..]);
    let mut more = all.to_vec();
    more.push(ask("PUT /a/export", "bob"));
    check(&draft, &more, &["assignments 1/1", "denies 2/2", "permissions 1/1"], &[]);
    assert_eq!(covered(&draft, &more).total().percent(), 100);
    assert_eq!(covered(&PolicyDraft::default(), &[]).total().percent(), 100, "of nothing, all is covered");
}

#[test]
fn a_permit_rests_on_one_assignment() {
    let mut draft = base();
    draft.assignments =
        vec![grant(20, "everybody", "reader", "authenticated"), grant(21, "alice-too", "reader", "user:alice")];
    check(
        &draft,
        &[ask("GET /a", "alice")],
        &["assignments 1/2", "permissions 1/1"],
        &["21: no case is permitted through `alice-too`"],
    );
    // A role that is held directly rests on none, and uses the permission all the same.
    let direct = Ask { roles: &["reader"], ..ask("GET /a", "alice") };
    check(
        &draft,
        &[direct],
        &["assignments 0/2", "permissions 1/1"],
        &["20: no case is permitted through `everybody`", "21: no case is permitted through `alice-too`"],
    );
}

#[test]
fn permissions_count_where_their_role_is_assigned() {
    let mut draft = base();
    draft.roles.push(RoleDraft {
        inherits: vec![on_line(12, "reader")],
        ..role(12, "writer", vec![permission(13, &["POST /a"]), permission(14, &["PUT /a/*", "DELETE /a/*"])])
    });
    draft.roles.push(role(15, "nobodys", vec![permission(16, &["* /**"])]));
    draft.assignments = vec![grant(20, "alice-writes", "writer", "user:alice")];
    let rest = "14: no permitted case does `PUT /a/*, DELETE /a/*` of role `writer`";
    check(
        &draft,
        &[ask("POST /a", "alice")],
        &["assignments 1/1", "permissions 1/3"],
        &["11: no permitted case does `GET /a/**` of role `reader`", rest],
    );
    // The inherited one counts once, at its own role, and is used through the inheriting one.
    let all = [ask("POST /a", "alice"), ask("GET /a/1", "alice"), ask("DELETE /a/1", "alice")];
    check(&draft, &all, &["assignments 1/1", "permissions 3/3"], &[]);
    // What a permission takes out again does not use it.
    draft.roles[1].permissions[1].not_actions = vec![on_line(14, "DELETE /a/7")];
    let excluded = [ask("POST /a", "alice"), ask("GET /a/1", "alice"), ask("DELETE /a/7", "alice")];
    check(&draft, &excluded, &["assignments 1/1", "permissions 2/3"], &[rest]);
}

#[test]
fn a_condition_is_shown_met_and_unmet() {
    let mut draft = base();
    let networks = Some(vec![on_line(21, "office")]);
    let hours = Hours::parse("Mon-Fri 08:00-18:00 Europe/Berlin", |zone| TimeZone::get(zone).ok()).unwrap();
    let when = WhenDraft { networks, hours: Some(hours.into()), assurance_mfa: true, ..WhenDraft::default() };
    draft.assignments = vec![AssignmentDraft { when, ..grant(20, "office-hours", "reader", "user:alice") }];
    let good = Ask { mfa: true, ..ask("GET /a", "alice") };
    let elsewhere = Ask { from: Some(ELSEWHERE), ..good.clone() };
    let unmet = |condition: &str| format!("20: no case is refused because `{condition}` of `office-hours` is not met");
    let (a, h, n) = (unmet("assurance"), unmet("hours"), unmet("networks"));
    let permitted = ["assignments 1/1", "conditions 0/3", "permissions 1/1"];
    check(&draft, std::slice::from_ref(&good), &permitted, &[&a, &h, &n]);
    let one = ["assignments 1/1", "conditions 1/3", "permissions 1/1"];
    check(&draft, &[good.clone(), elsewhere.clone()], &one, &[&a, &h]);
    // An unknown fact does not meet a condition, and a step-up is a refusal, too.
    check(&draft, &[good.clone(), Ask { from: None, ..good.clone() }], &one, &[&a, &h]);
    check(&draft, &[good.clone(), Ask { mfa: false, ..good.clone() }], &one, &[&h, &n]);
    let all = [good.clone(), Ask { at: SUNDAY, mfa: false, ..elsewhere.clone() }];
    check(&draft, &all, &["assignments 1/1", "conditions 3/3", "permissions 1/1"], &[]);
    // Refusals alone show both sides of a condition, but nobody gets in.
    let refused = [elsewhere.clone(), Ask { mfa: false, ..good.clone() }, Ask { at: SUNDAY, ..good.clone() }];
    check(
        &draft,
        &refused,
        &["assignments 0/1", "conditions 3/3", "permissions 0/1"],
        &[
            "11: no permitted case does `GET /a/**` of role `reader`",
            "20: no case is permitted through `office-hours`; it only refused",
        ],
    );
    // Whoever does not hold it, does something else, or is let in by another grant, shows nothing of it.
    let met = |condition: &str| format!("20: no case depends on `{condition}` of `office-hours`");
    let (a, h, n) = (met("assurance"), met("hours"), met("networks"));
    let reads = "11: no permitted case does `GET /a/**` of role `reader`";
    let through = "20: no case is permitted through `office-hours`";
    let nothing = ["assignments 0/1", "conditions 0/3", "permissions 0/1"];
    check(&draft, &[ask("GET /a", "bob"), ask("PUT /a", "alice")], &nothing, &[reads, through, &a, &h, &n]);
    draft.assignments.push(grant(25, "a-free-one", "reader", "user:alice"));
    check(&draft, &[elsewhere], &["assignments 1/2", "conditions 0/3", "permissions 1/1"], &[through, &a, &h, &n]);
}

#[test]
fn the_other_conditions_are_counted_like_the_first() {
    let mut draft = base();
    let countries = Some(vec![CountryCode::parse("DE").unwrap()]);
    let when = WhenDraft { compliant_device: true, max_risk: Some(RiskLevel::Low), ..WhenDraft::default() };
    draft.assignments = vec![
        AssignmentDraft { when, ..grant(20, "a-device", "reader", "user:alice") },
        AssignmentDraft {
            when: WhenDraft { countries, ..WhenDraft::default() },
            ..grant(21, "a-country", "reader", "user:bob")
        },
    ];
    let good = Ask { device: Some(true), risk: Some(RiskLevel::Low), ..ask("GET /a", "alice") };
    let bad = Ask { device: Some(false), risk: Some(RiskLevel::High), ..good.clone() };
    check(
        &draft,
        &[good, bad, ask("GET /a", "bob")],
        &["assignments 1/2", "conditions 2/3", "permissions 1/1"],
        &[
            "21: no case is permitted through `a-country`; it only refused",
            "21: no case has `countries` of `a-country` met",
        ],
    );
}

#[test]
fn an_open_deny_is_touched_and_a_certain_one_covered() {
    let mut draft = base();
    let when = WhenDraft { networks: Some(vec![on_line(30, "lab")]), ..WhenDraft::default() };
    draft.denies = vec![DenyDraft { when, ..deny(30, "not-from-the-lab", "* /**") }];
    let touched = ["30: no case is refused by deny `not-from-the-lab`; it only left one undecided"];
    check(&draft, &[Ask { from: None, ..ask("GET /a", "alice") }], &["denies 0/1"], &touched);
    check(&draft, &[Ask { from: Some("192.0.2.1"), ..ask("GET /a", "alice") }], &["denies 1/1"], &[]);
}

#[test]
fn a_resource_is_covered_where_all_that_it_demands_was_looked_at() {
    let mut draft = base();
    let resource = ResourceDraft { route: on_line(5, "app"), ..ResourceDraft::default() };
    let nobody = "5: no case is on route `app`";
    let not_past = "5: no case on route `app` gets past its networks to its authentication";
    let (none, one) = (["resources 0/1"], ["resources 1/1"]);
    let from_elsewhere = Ask { from: Some(ELSEWHERE), ..ask("GET /a", "alice") };
    draft.resources = vec![resource.clone()];
    check(&draft, &[], &none, &[nobody]);
    check(&draft, &[ask("GET /a", "")], &one, &[]);
    draft.resources = vec![ResourceDraft { allow: vec![on_line(5, "office")], ..resource.clone() }];
    check(&draft, std::slice::from_ref(&from_elsewhere), &none, &[not_past]);
    check(&draft, &[ask("GET /a", "")], &one, &[]);
    draft.resources[0].authentication = AuthenticationRule::None;
    check(&draft, &[from_elsewhere], &one, &[]);
}

#[test]
fn rules_in_shadow_mode_count_apart() {
    let mut draft = base();
    let shadow = Mode::Shadow;
    draft.assignments = vec![
        AssignmentDraft { mode: shadow, ..grant(20, "bob-soon", "reader", "user:bob") },
        grant(21, "alice", "reader", "user:alice"),
    ];
    draft.denies = vec![DenyDraft { mode: shadow, ..deny(30, "soon-closed", "* /a/old") }];
    draft.resources = vec![ResourceDraft {
        route: on_line(5, "app"),
        allow: vec![on_line(5, "office")],
        mode: shadow,
        ..ResourceDraft::default()
    }];
    let rest = [
        "5: no case shows what the resource of route `app`, which is in shadow mode, would do",
        "20: no case would be permitted through `bob-soon`, which is in shadow mode",
        "30: no case would be refused by deny `soon-closed`, which is in shadow mode",
    ];
    let counts = |shadow: &'static str| ["assignments 1/1", "permissions 1/1", shadow];
    let alice = ask("GET /a/1", "alice");
    check(&draft, std::slice::from_ref(&alice), &counts("shadow 0/3"), &rest);
    assert!(covered(&draft, std::slice::from_ref(&alice)).missing.iter().all(|item| item.shadow));
    let old = ask("GET /a/old", "alice");
    check(&draft, &[alice.clone(), old.clone()], &counts("shadow 1/3"), &rest[..2]);
    let all = [alice, old, ask("GET /a/1", "bob"), Ask { from: Some(ELSEWHERE), ..ask("GET /a/1", "alice") }];
    check(&draft, &all, &counts("shadow 3/3"), &[]);
}

#[test]
fn monitored_risk_says_nothing_of_a_resource_that_is_enforced() {
    let mut draft = base();
    draft.assignments = vec![grant(21, "alice", "reader", "user:alice")];
    draft.resources = vec![ResourceDraft { route: on_line(5, "app"), ..ResourceDraft::default() }];
    let risky = Ask { risk: Some(RiskLevel::Medium), ..ask("GET /a", "alice") };
    check(&draft, std::slice::from_ref(&risky), &["assignments 1/1", "permissions 1/1", "resources 1/1"], &[]);
    draft.resources[0].mode = Mode::Shadow;
    check(&draft, &[risky], &["assignments 1/1", "permissions 1/1", "shadow 1/1"], &[]);
}

#[test]
fn a_share_is_never_rounded_to_all_or_to_none() {
    let check = |covered: usize, total: usize, percent: usize| {
        assert_eq!(Count { covered, total }.percent(), percent, "{covered}/{total}");
    };
    check(0, 0, 100);
    check(0, 3, 0);
    check(3, 3, 100);
    check(1, 2, 50);
    check(12, 14, 86);
    check(1, 8, 13);
    check(999, 1_000, 99);
    check(1, 1_000, 1);
    let at_least = |covered: usize, total: usize, percent: usize, expected: bool| {
        assert_eq!(Count { covered, total }.is_at_least(percent), expected, "{covered}/{total} {percent}");
    };
    at_least(12, 14, 85, true);
    at_least(12, 14, 86, false);
    at_least(1, 2, 50, true);
    at_least(1, 2, 51, false);
    at_least(999, 1_000, 100, false);
    at_least(0, 0, 100, true);
    at_least(0, 5, 0, true);
}
