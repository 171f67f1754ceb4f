//! The suggestions of a refusal: which are made, in which order, and which are not.

#![expect(clippy::unwrap_used, reason = "in a test a broken expectation is a failure")]

#[path = "decisions/office.rs"]
mod office;

use office::*;
use portcullis_policy::AuthenticationRule as Rule;
use portcullis_policy::*;

fn check(case: &str, draft: &PolicyDraft, ask: &Ask, expected: &[&str]) {
    assert_eq!(nearest(draft, ask), expected, "{case}: {}", verdict(draft, ask));
}

fn with(when: WhenDraft) -> PolicyDraft {
    PolicyDraft { assignments: vec![alice_if(when)], ..office() }
}

#[test]
fn each_condition_that_is_not_met_is_suggested() {
    let from_elsewhere = Ask { from: Some(ELSEWHERE), ..ask(alice()) };
    let countries = ["FR", "DE"].iter().filter_map(|code| CountryCode::parse(code)).collect();
    let networks = WhenDraft { networks: Some(list(&["office", "tor", "partner"])), ..WhenDraft::default() };
    check("networks", &with(networks), &from_elsewhere, &["network:office", "network:tor", "role:billing.admin"]);
    let countries = WhenDraft { countries: Some(countries), ..WhenDraft::default() };
    check("countries", &with(countries), &ask(alice()), &["country:DE", "country:FR", "role:billing.admin"]);
    let evening = WhenDraft { hours: hours("Mon-Fri 18:00-20:00 Europe/Berlin"), ..WhenDraft::default() };
    check("hours", &with(evening), &ask(alice()), &["hours:Mon-Fri 18:00-20:00 Europe/Berlin", "role:billing.admin"]);
    let device = WhenDraft { compliant_device: true, ..WhenDraft::default() };
    check("device", &with(device), &ask(alice()), &["device:compliant", "role:billing.admin"]);
    let mfa = WhenDraft { assurance_mfa: true, ..WhenDraft::default() };
    check("assurance", &with(mfa), &ask(alice()), &["assurance:mfa", "role:billing.admin"]);
    let recent = WhenDraft { max_age_s: Some(900), ..WhenDraft::default() };
    let expected = ["assurance:mfa", "authentication:15m", "role:billing.admin"];
    check("max_age", &with(recent.clone()), &ask(alice()), &expected);
    let recent_mfa = WhenDraft { assurance_mfa: true, ..recent };
    check("both", &with(recent_mfa), &ask(alice()), &["assurance:mfa", "role:billing.admin"]);
    // Finding of 2026-11: who has several factors and no `auth_time` was told to lower the risk as well, which one more login answers.
    let mut strong = principal(PrincipalKind::User, "alice");
    strong.authentication.amr = vec!["mfa".into()];
    let asked = Ask { risk: risk(SignalFamily::Evidence, 3_000), ..ask(Who::verified(strong)) };
    let mut recent_under_risk = with(WhenDraft { max_age_s: Some(900), ..WhenDraft::default() });
    recent_under_risk.risk.enforce = true;
    let expected = ["assurance:mfa", "authentication:15m", "risk:low+role:billing.admin"];
    check("of somebody with several factors", &recent_under_risk, &asked, &expected);
    let proof = ProofDraft { mfa: false, max_age_s: Some(90) };
    let of_route = PolicyDraft {
        resources: vec![ResourceDraft { proof, ..resource(Rule::Required) }],
        ..with(WhenDraft::default())
    };
    check("of the route", &of_route, &ask(alice()), &["assurance:mfa", "authentication:90s"]);
    let calm = WhenDraft { max_risk: Some(RiskLevel::Medium), ..WhenDraft::default() };
    let risky = Ask { risk: risk(SignalFamily::Evidence, 4_000), ..ask(alice()) };
    check("risk", &with(calm), &risky, &["risk:medium", "role:billing.admin"]);
}

#[test]
fn hours_are_suggested_for_the_first_moment_that_is_within_them() {
    // The grant ends soon after that moment, so no later one would do.
    let table = [
        ("the same day", "* 18:00-20:00 UTC", MONDAY, "2026-11-23T18:00:01Z", true),
        ("the same day, too late", "* 18:00-20:00 UTC", MONDAY, "2026-11-23T18:00:00Z", false),
        ("in a week", "Mon 09:00-10:00 UTC", MONDAY, "2026-11-30T09:00:01Z", true),
        ("past midnight", "Sun 22:00-06:00 UTC", MONDAY, "2026-11-29T22:00:01Z", true),
        // Berlin's clock jumps from 02:00 to 03:00, into the hours.
        ("jumped into", "* 02:30-04:00 Europe/Berlin", "2026-03-29T00:30:00Z", "2026-03-29T01:00:01Z", true),
        ("jumped over", "* 02:00-03:00 Europe/Berlin", "2026-03-29T00:30:00Z", "2026-03-30T00:00:00Z", false),
        // It shows 02:30 a second time after 02:59.
        ("repeated", "* 02:30-02:45 Europe/Berlin", "2026-10-25T00:50:00Z", "2026-10-25T01:30:01Z", true),
    ];
    for (case, span, now, expires, suggested) in table {
        let mut draft = with(WhenDraft { hours: hours(span), ..WhenDraft::default() });
        draft.assignments[0].expires = Some(expires.parse().unwrap());
        let span = format!("hours:{span}");
        let expected = if suggested { vec![span.as_str(), "role:billing.admin"] } else { vec!["role:billing.admin"] };
        check(case, &draft, &Ask { now, ..ask(alice()) }, &expected);
    }
}

#[test]
fn several_conditions_are_one_suggestion_after_the_shorter_ones() {
    let when = WhenDraft {
        compliant_device: true,
        assurance_mfa: true,
        countries: CountryCode::parse("DE").map(|code| vec![code]),
        ..WhenDraft::default()
    };
    let all = ["role:billing.admin", "assurance:mfa+country:DE+device:compliant"];
    check("three", &with(when.clone()), &ask(alice()), &all);
    check(
        "two",
        &with(when),
        &Ask { country: Some("DE"), ..ask(alice()) },
        &["role:billing.admin", "assurance:mfa+device:compliant"],
    );
}

#[test]
fn there_are_five_at_most_and_the_first_by_name() {
    let mut draft = office();
    let names = ["team-f", "team-a", "team-e", "team-b", "team-d", "team-c"];
    draft.assignments = names.map(|name| grant(41, name, "billing.admin", &[&format!("group:{name}")])).to_vec();
    let expected = ["group:team-a", "group:team-b", "group:team-c", "group:team-d", "group:team-e"];
    check("six groups and a role", &draft, &ask(alice()), &expected);
}

#[test]
fn a_network_is_suggested_only_if_all_of_it_would_pass() {
    let allow = |allow: &[&str], deny: &[&str]| PolicyDraft {
        resources: vec![ResourceDraft { allow: list(allow), deny: list(deny), ..resource(Rule::Required) }],
        assignments: vec![grant(41, "all", "billing.admin", &["authenticated"])],
        ..office()
    };
    let outside = Ask { from: Some(ELSEWHERE), ..ask(alice()) };
    check("all of it", &allow(&["office"], &[]), &outside, &["network:office"]);
    check("a part of it is denied", &allow(&["office"], &["tor"]), &outside, &[]);
    check("never loaded", &allow(&["office", "partner"], &[]), &outside, &[]);
    check("address unknown", &allow(&["office"], &[]), &Ask { from: None, ..outside.clone() }, &["network:office"]);
    let mut covered = allow(&["office"], &[]);
    covered.networks.push(network(6, "lower", &["203.0.113.0/25"]));
    covered.networks.push(network(7, "upper", &["203.0.113.128/25"]));
    covered.resources = vec![ResourceDraft { allow: list(&["lower", "upper"]), ..resource(Rule::Required) }];
    check("each half", &covered, &outside, &["network:lower", "network:upper"]);
    covered.assignments = vec![alice_if(WhenDraft { networks: Some(list(&["office"])), ..WhenDraft::default() })];
    check("the halves fill the office, so either is in it", &covered, &outside, &["network:lower", "network:upper"]);
    covered.resources = vec![ResourceDraft { allow: list(&["office"]), ..resource(Rule::Required) }];
    covered.assignments =
        vec![alice_if(WhenDraft { networks: Some(list(&["lower", "upper"])), ..WhenDraft::default() })];
    check("no address of the office is in neither half", &covered, &outside, &["network:office"]);
    covered.assignments = vec![alice_if(WhenDraft { networks: Some(list(&["lower"])), ..WhenDraft::default() })];
    check("one half needs more", &covered, &outside, &["network:office+role:billing.admin"]);
    covered.assignments = vec![alice_if(WhenDraft { networks: Some(list(&["upper"])), ..WhenDraft::default() })];
    check("the other half needs more", &covered, &outside, &["network:office+role:billing.admin"]);
}

#[test]
fn any_credential_is_suggested_only_if_it_does_not_matter_whose() {
    let to = |principals: &[&str], rule| PolicyDraft {
        resources: vec![resource(rule)],
        assignments: vec![grant(41, "g", "billing.admin", principals)],
        ..office()
    };
    check("authenticated", &to(&["authenticated"], Rule::Required), &ask(Who::Nobody), &["credential:any"]);
    let certificate = || to(&["authenticated"], Rule::Certificate);
    check("certificate", &certificate(), &ask(Who::Nobody), &["credential:certificate"]);
    check("certificate, not another credential", &certificate(), &ask(alice()), &["credential:certificate"]);
    check("optional", &to(&["authenticated"], Rule::Optional), &ask(Who::Nobody), &["credential:any"]);
    check(
        "a bad one",
        &to(&["anyone"], Rule::Optional),
        &ask(Who::Rejected(CredentialProblemKind::Expired)),
        &["credential:any"],
    );
    check("alice only", &to(&["user:alice"], Rule::Required), &ask(Who::Nobody), &[]);
    check("ignored", &to(&["authenticated"], Rule::None), &ask(alice()), &[]);
    check("not to be checked", &to(&["authenticated"], Rule::Required), &ask(Who::Unavailable(Dependency::Keys)), &[]);
    let mut denied = to(&["authenticated"], Rule::Required);
    denied.denies = vec![forbids(51, &["group:contractors"])];
    check("some are forbidden it", &denied, &ask(Who::Nobody), &[]);
    check("they are not forbidden that", &denied, &Ask { method: "GET", ..ask(Who::Nobody) }, &["credential:any"]);
    let mut strong = to(&["authenticated"], Rule::Required);
    strong.assignments[0].when.assurance_mfa = true;
    check("and with mfa", &strong, &ask(Who::Nobody), &["assurance:mfa+credential:any"]);
    let mut placed = to(&["anyone"], Rule::Optional);
    placed.assignments[0].when.networks = Some(list(&["tor"]));
    check("or without one from elsewhere", &placed, &ask(Who::Nobody), &["network:tor"]);
}

#[test]
fn where_credentials_are_ignored_nothing_is_asked_of_the_caller() {
    let mut draft = with(WhenDraft { assurance_mfa: true, compliant_device: true, ..WhenDraft::default() });
    draft.resources = vec![resource(Rule::None)];
    draft.assignments[0].principals = list(&["anyone"]);
    check("none", &draft, &ask(alice()), &[]);
}

#[test]
fn a_step_up_by_risk_is_answered_by_mfa_or_by_less_risk() {
    let mut draft = office();
    draft.assignments = vec![grant(41, "all", "billing.admin", &["anyone"])];
    draft.resources = vec![resource(Rule::Optional)];
    draft.risk.enforce = true;
    let risky = |who| Ask { risk: risk(SignalFamily::Novelty, 2_000), ..ask(who) };
    check("verified", &draft, &risky(alice()), &["assurance:mfa", "risk:low"]);
    check("anonymous", &draft, &risky(Who::Nobody), &["risk:low", "assurance:mfa+credential:any"]);
    let attacked = Ask { risk: risk(SignalFamily::Evidence, 4_000), ..ask(alice()) };
    check("evidence", &draft, &attacked, &["risk:low", "assurance:mfa+risk:medium"]);
}

#[test]
fn nothing_is_suggested_where_only_lifting_a_deny_or_a_ban_would_help() {
    let mut draft = office();
    draft.assignments = vec![grant(41, "all", "billing.admin", &["anyone"])];
    draft.denies = vec![DenyDraft { explain: Some("Ask the data desk.".into()), ..forbids(51, &["anyone"]) }];
    check("deny", &draft, &ask(alice()), &[]);
    let denial = answer(&draft, &ask(alice())).denial.unwrap();
    assert_eq!(denial.message, "deny no-deletes forbids user:alice to DELETE /api/invoices/7 (policy.toml:51)");
    assert_eq!(denial.caller_message.as_deref(), Some("Ask the data desk."));
    check("ban", &draft, &Ask { address_ban: ban(BanScope::Address), ..ask(alice()) }, &[]);
    check("no route", &draft, &Ask { path: "/nowhere", ..ask(alice()) }, &[]);
    draft.assignments.clear();
    check("deny and no grant", &draft, &ask(alice()), &[]);
    // A group that would grant it is no help to whom a deny then meets.
    let mut trap = office();
    trap.assignments = vec![grant(41, "owners", "billing.admin", &["group:owners"])];
    trap.denies = vec![forbids(51, &["group:owners"])];
    check("a group that is denied", &trap, &ask(alice()), &["role:billing.admin"]);
}

#[test]
fn a_role_is_found_among_many_that_do_not_permit_it() {
    let mut draft = office();
    let permission = |action: &str| vec![PermissionDraft { actions: list(&[action]), not_actions: Vec::new() }];
    for number in 0..1_000 {
        let name = on_line(100 + number, &format!("a-reader-{number:04}"));
        draft.roles.push(RoleDraft { name, inherits: Vec::new(), permissions: permission("GET /api/**") });
    }
    check("methods", &draft, &ask(alice()), &["role:billing.admin"]);
    // Its assignments on other routes do not hide the one on this.
    draft.routes.push(RouteDraft { name: on_line(2, "other"), paths: list(&["/other/**"]), ..RouteDraft::default() });
    for number in 0..100 {
        let elsewhere = ScopeDraft::Routes(list(&["other"]));
        let name = format!("a-{number:03}");
        draft.assignments.push(AssignmentDraft {
            scope: elsewhere,
            ..grant(1, &name, "billing.admin", &[&format!("group:{name}")])
        });
    }
    let here = ScopeDraft::Routes(list(&["billing"]));
    draft.assignments.push(AssignmentDraft { scope: here, ..grant(77, "z", "billing.admin", &["group:owners"]) });
    check("assignments", &draft, &ask(alice()), &["group:owners", "role:billing.admin"]);
    let denial = answer(&draft, &ask(alice())).denial.unwrap();
    assert!(denial.nearest.iter().all(|each| each.grant.as_ref().is_some_and(|rule| rule.line == 77)), "{denial:#?}");
}

#[test]
fn a_group_is_found_among_many_users_wherever_it_stands() {
    let mut draft = office();
    let mut principals: Vec<String> = (0..100).map(|number| format!("user:u{number}")).collect();
    principals.push("group:owners".into());
    let principals: Vec<&str> = principals.iter().map(String::as_str).collect();
    draft.assignments = vec![grant(41, "many", "billing.admin", &principals)];
    check("last", &draft, &ask(alice()), &["group:owners", "role:billing.admin"]);
    draft.assignments[0].principals.reverse();
    check("first", &draft, &ask(alice()), &["group:owners", "role:billing.admin"]);
}

#[test]
fn a_network_is_suggested_in_a_policy_of_many_networks() {
    let mut draft = with(WhenDraft { networks: Some(list(&["office"])), ..WhenDraft::default() });
    for number in 0..5_000u32 {
        let prefix = format!("10.{}.{}.0/24", number / 256, number % 256);
        draft.networks.push(network(9, &format!("n{number}"), &[&prefix]));
    }
    check(
        "5,000 networks",
        &draft,
        &Ask { from: Some(ELSEWHERE), ..ask(alice()) },
        &["network:office", "role:billing.admin"],
    );
}
