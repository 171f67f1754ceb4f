//! Decisions as tables: one small policy, one thing changed, and the answer with its reason.

#![expect(clippy::unwrap_used, reason = "in a test a broken expectation is a failure")]

#[path = "decisions/office.rs"]
mod office;

use office::*;
use portcullis_policy::AuthenticationRule as Rule;
use portcullis_policy::*;

fn check(case: &str, draft: &PolicyDraft, ask: &Ask, expected: &str) {
    assert_eq!(verdict(draft, ask), expected, "{case}");
}

#[test]
fn the_message_names_the_role_that_is_held_and_the_suggestion_the_one_that_would_do() {
    let mut draft = office();
    draft.assignments = vec![
        grant(41, "alice-reads", "billing.reader", &["user:alice"]),
        grant(42, "owners-administer", "billing.admin", &["group:owners"]),
    ];
    check("reads", &draft, &Ask { method: "GET", ..ask(alice()) }, "permit");
    let denial = answer(&draft, &ask(alice())).denial.unwrap();
    assert_eq!(denial.reason, Reason::NoMatchingGrant);
    assert_eq!(
        denial.message,
        "user:alice may not DELETE /api/invoices/7: on route billing their role billing.reader does not permit it; \
         group:owners would allow it (policy.toml:42)"
    );
    let nearest: Vec<(String, String, u32)> = (denial.nearest.iter())
        .map(|each| {
            (each.needs.join("+"), each.grant.as_ref().unwrap().file.to_string(), each.grant.as_ref().unwrap().line)
        })
        .collect();
    let at_42 = |need: &str| (need.to_owned(), "policy.toml".to_owned(), 42);
    assert_eq!(nearest, [at_42("group:owners"), at_42("role:billing.admin")]);
    assert_eq!(denial.trace.roles, ["billing.reader".into()]);
    assert_eq!(denial.caller_message, None);
}

#[test]
fn a_grant_outside_of_its_period_has_its_own_reason() {
    let check_period = |starts: Option<&str>, expires: Option<&str>, expected: &str, says: &str| {
        let time = |text: Option<&str>| text.map(|text| text.parse().unwrap());
        let mut draft = office();
        let (starts, expires) = (time(starts), time(expires));
        draft.assignments =
            vec![AssignmentDraft { starts, expires, ..grant(41, "for-a-while", "billing.admin", &["user:alice"]) }];
        check(says, &draft, &ask(alice()), expected);
        assert!(answer(&draft, &ask(alice())).message.contains(says), "{}", answer(&draft, &ask(alice())).message);
    };
    let (second_before, second_after) = ("2026-11-23T09:59:59Z", "2026-11-23T10:00:01Z");
    check_period(
        None,
        Some(MONDAY),
        "deny rbac.assignment_expired",
        "for-a-while expired at 2026-11-23T10:00:00Z (policy.toml:41)",
    );
    check_period(
        None,
        Some(second_after),
        "permit",
        "assignment for-a-while grants role billing.admin (policy.toml:41)",
    );
    check_period(Some(MONDAY), None, "permit", "");
    check_period(
        Some(second_after),
        None,
        "deny rbac.not_yet_active",
        "is not active before 2026-11-23T10:00:01Z (policy.toml:41)",
    );
    check_period(Some(second_before), Some(second_after), "permit", "");
}

#[test]
fn of_several_grants_that_do_not_apply_the_nearest_one_gives_the_reason() {
    let past = |name| AssignmentDraft {
        expires: Some("2026-01-01T00:00:00Z".parse().unwrap()),
        ..grant(1, name, "billing.admin", &["user:alice"])
    };
    let future = |name| AssignmentDraft {
        starts: Some("2027-01-01T00:00:00Z".parse().unwrap()),
        ..grant(1, name, "billing.admin", &["user:alice"])
    };
    let abroad =
        || alice_if(WhenDraft { countries: Some(vec![CountryCode::parse("FR").unwrap()]), ..WhenDraft::default() });
    let table = [
        (vec![past("a"), future("b")], "deny rbac.assignment_expired"),
        (vec![future("b")], "deny rbac.not_yet_active"),
        (vec![past("a"), future("b"), abroad()], "deny rbac.condition_unmet"),
        (vec![grant(1, "other", "billing.reader", &["user:alice"])], "deny rbac.no_matching_grant"),
        (vec![past("a"), grant(1, "other", "billing.admin", &["user:alice"])], "permit"),
    ];
    for (assignments, expected) in table {
        check(expected, &PolicyDraft { assignments, ..office() }, &ask(alice()), expected);
    }
}

#[test]
fn a_condition_that_is_unknown_is_told_from_one_that_is_wrong() {
    let mut who = principal(PrincipalKind::User, "alice");
    who.device = Some(Device { id: "laptop".into(), compliant: Some(false) });
    let bad_device = Who::verified(who);
    let networks = |names: &[&str]| WhenDraft { networks: Some(list(names)), ..WhenDraft::default() };
    let germany = WhenDraft { countries: CountryCode::parse("DE").map(|code| vec![code]), ..WhenDraft::default() };
    let device = WhenDraft { compliant_device: true, ..WhenDraft::default() };
    let evening = WhenDraft { hours: hours("Mon-Fri 18:00-20:00 Europe/Berlin"), ..WhenDraft::default() };
    let table = [
        (germany.clone(), ask(alice()), CheckOutcome::Unknown, "countries DE (unknown)"),
        (germany, Ask { country: Some("FR"), ..ask(alice()) }, CheckOutcome::Fail, "not met: countries DE;"),
        (device.clone(), ask(alice()), CheckOutcome::Unknown, "device compliant (unknown)"),
        (device, ask(bad_device), CheckOutcome::Fail, "not met: device compliant;"),
        (networks(&["office"]), Ask { from: None, ..ask(alice()) }, CheckOutcome::Unknown, "networks office (unknown)"),
        (
            networks(&["office"]),
            Ask { from: Some(ELSEWHERE), ..ask(alice()) },
            CheckOutcome::Fail,
            "not met: networks office;",
        ),
        (networks(&["partner"]), ask(alice()), CheckOutcome::Unknown, "networks partner (unknown)"),
        (evening, ask(alice()), CheckOutcome::Fail, "not met: hours Mon-Fri 18:00-20:00 Europe/Berlin;"),
    ];
    for (when, ask, expected, says) in table {
        let draft = PolicyDraft { assignments: vec![alice_if(when)], ..office() };
        let denial = answer(&draft, &ask).denial.unwrap();
        assert_eq!(denial.reason, Reason::ConditionUnmet, "{says}");
        let check = denial.trace.checks.iter().find(|check| check.stage == Stage::Grants).unwrap();
        assert_eq!(check.outcome, expected, "{says}");
        assert!(check.detail.contains(says), "{} has no {says}", check.detail);
        assert_eq!(check.rule.as_ref().map(|rule| rule.line), Some(31), "{says}");
    }
    let known = PolicyDraft { assignments: vec![alice_if(networks(&["partner", "office"]))], ..office() };
    check("one known network suffices", &known, &ask(alice()), "permit");
}

#[test]
fn a_ban_refuses_whom_it_is_for_and_where_it_is_decided() {
    let grants = vec![grant(1, "all", "billing.admin", &["anyone"])];
    let with = |rule| PolicyDraft { resources: vec![resource(rule)], assignments: grants.clone(), ..office() };
    let address = |who, scope| Ask { address_ban: ban(scope), ..ask(who) };
    let bad = || Who::Rejected(CredentialProblemKind::Expired);
    let simulated =
        Ask { address_ban: ban(BanScope::Address).map(|ban| Ban { simulated: true, ..ban }), ..ask(alice()) };
    let of_alice = |who| Ask { principal_ban: ban(BanScope::Principal), ..ask(who) };
    let table = [
        ("address, verified", with(Rule::Required), address(alice(), BanScope::Address), "deny ban.active", Stage::Ban),
        ("address, nobody", with(Rule::None), address(Who::Nobody, BanScope::Address), "deny ban.active", Stage::Ban),
        ("anonymous, verified", with(Rule::Required), address(alice(), BanScope::Anonymous), "permit", Stage::Ban),
        (
            "anonymous, nobody",
            with(Rule::Required),
            address(Who::Nobody, BanScope::Anonymous),
            "deny ban.active",
            Stage::Authentication,
        ),
        (
            "anonymous, bad",
            with(Rule::Required),
            address(bad(), BanScope::Anonymous),
            "deny ban.active",
            Stage::Authentication,
        ),
        (
            "anonymous, optional",
            with(Rule::Optional),
            address(Who::Nobody, BanScope::Anonymous),
            "deny ban.active",
            Stage::Authentication,
        ),
        (
            "anonymous, ignored",
            with(Rule::None),
            address(alice(), BanScope::Anonymous),
            "deny ban.active",
            Stage::Authentication,
        ),
        (
            "anonymous, a credential that is ignored and cannot be verified",
            with(Rule::None),
            address(Who::Unavailable(Dependency::Keys), BanScope::Anonymous),
            "deny ban.active",
            Stage::Authentication,
        ),
        ("principal", with(Rule::Required), of_alice(alice()), "deny ban.active", Stage::Authentication),
        ("principal, ignored", with(Rule::None), of_alice(alice()), "permit", Stage::Ban),
        ("simulated", with(Rule::Required), simulated, "permit", Stage::Ban),
    ];
    for (case, draft, ask, expected, stage) in table {
        check(case, &draft, &ask, expected);
        if let Some(denial) = answer(&draft, &ask).denial {
            assert_eq!((denial.stage, denial.nearest.len()), (stage, 0), "{case}");
            assert!(denial.message.starts_with("banned until 2026-11-23T10:10:00Z ("), "{case}: {}", denial.message);
            assert!(denial.message.contains("offence 2): credentials: 6 failed in 2m"), "{case}: {}", denial.message);
        }
    }
    // Nobody knows whether it is anonymous: that is no refusal for the ban.
    let unknown = |rule| answer(&with(rule), &address(Who::Unavailable(Dependency::Keys), BanScope::Anonymous));
    for rule in [Rule::Required, Rule::Optional] {
        let denial = unknown(rule).denial.unwrap();
        assert_eq!((denial.reason, denial.status()), (Reason::KeysUnavailable, 503));
    }
    // The one that refuses is told, not one that happens to be there too.
    let both = Ask { address_ban: ban(BanScope::Anonymous), ..of_alice(alice()) };
    assert!(answer(&with(Rule::Required), &both).message.contains("(principal, offence 2)"));
}

#[test]
fn an_address_wide_ban_comes_before_the_route_and_one_of_a_principal_after_the_network() {
    let mut draft = office();
    draft.resources = vec![ResourceDraft { allow: list(&["office"]), ..resource(Rule::Required) }];
    let nowhere = Ask { path: "/nowhere", address_ban: ban(BanScope::Address), ..ask(alice()) };
    check("ban before route", &draft, &nowhere, "deny ban.active");
    check(
        "route before the ban of a principal",
        &draft,
        &Ask { address_ban: None, principal_ban: ban(BanScope::Principal), ..nowhere },
        "deny route.not_found",
    );
    let outside = Ask { from: Some(ELSEWHERE), principal_ban: ban(BanScope::Principal), ..ask(alice()) };
    check("network before the ban of a principal", &draft, &outside, "deny ip.not_allowed");
}

#[test]
fn authentication_is_required_optional_or_none() {
    let bad = || Who::Rejected(CredentialProblemKind::WrongAudience);
    let gone = || Who::Unavailable(Dependency::Keys);
    let workload = || Who::verified(principal(PrincipalKind::Certificate, "spiffe://td/a"));
    let table: [(Rule, Option<&str>, Who, &str); 32] = [
        (Rule::Required, Some("anyone"), Who::Nobody, "challenge authn.missing"),
        (Rule::Required, Some("anyone"), bad(), "challenge authn.wrong_audience"),
        (Rule::Required, Some("anyone"), gone(), "undecided dependency.keys_unavailable"),
        (
            Rule::Required,
            Some("anyone"),
            Who::Unavailable(Dependency::Directory),
            "undecided dependency.directory_unavailable",
        ),
        (Rule::Required, Some("anyone"), alice(), "permit"),
        (Rule::Required, Some("authenticated"), alice(), "permit"),
        (Rule::Required, Some("user:bob"), alice(), "deny rbac.no_matching_grant"),
        (Rule::Required, None, alice(), "deny rbac.no_matching_grant"),
        (Rule::Optional, Some("anyone"), Who::Nobody, "permit"),
        (Rule::Optional, Some("anyone"), bad(), "challenge authn.wrong_audience"),
        (Rule::Optional, Some("anyone"), gone(), "undecided dependency.keys_unavailable"),
        (Rule::Optional, Some("anyone"), alice(), "permit"),
        (Rule::Optional, Some("authenticated"), Who::Nobody, "challenge authn.missing"),
        (Rule::Optional, Some("authenticated"), alice(), "permit"),
        (Rule::Optional, None, Who::Nobody, "challenge authn.missing"),
        (Rule::Optional, Some("user:bob"), alice(), "deny rbac.no_matching_grant"),
        (Rule::None, Some("anyone"), Who::Nobody, "permit"),
        (Rule::None, Some("anyone"), bad(), "permit"),
        (Rule::None, Some("anyone"), gone(), "permit"),
        (Rule::None, Some("user:alice"), alice(), "deny rbac.no_matching_grant"),
        (Rule::None, Some("authenticated"), alice(), "deny rbac.no_matching_grant"),
        (Rule::None, None, bad(), "deny rbac.no_matching_grant"),
        (Rule::Required, Some("certificate:spiffe://td/a"), workload(), "permit"),
        (Rule::Certificate, Some("certificate:spiffe://td/a"), workload(), "permit"),
        (Rule::Certificate, Some("certificate:spiffe://td/A"), workload(), "deny rbac.no_matching_grant"),
        (Rule::Certificate, Some("user:spiffe://td/a"), workload(), "deny rbac.no_matching_grant"),
        (Rule::Certificate, Some("anyone"), Who::Nobody, "challenge authn.certificate_required"),
        (Rule::Certificate, Some("anyone"), alice(), "challenge authn.certificate_required"),
        (Rule::Certificate, Some("user:alice"), alice(), "challenge authn.certificate_required"),
        (Rule::Certificate, Some("anyone"), workload(), "permit"),
        (Rule::Certificate, Some("anyone"), bad(), "challenge authn.wrong_audience"),
        (Rule::Certificate, Some("anyone"), gone(), "undecided dependency.keys_unavailable"),
    ];
    for (rule, granted, who, expected) in table {
        let assignments = granted.map(|to| grant(1, "g", "billing.admin", &[to])).into_iter().collect();
        let draft = PolicyDraft { resources: vec![resource(rule)], assignments, ..office() };
        check(&format!("{rule:?} {granted:?} {who:?}"), &draft, &ask(who), expected);
    }
}

#[test]
fn only_assurance_or_only_risk_missing_is_a_step_up_and_two_are_not() {
    let mfa = WhenDraft { assurance_mfa: true, ..WhenDraft::default() };
    let calm = WhenDraft { max_risk: Some(RiskLevel::Low), ..WhenDraft::default() };
    let mfa_in_the_evening = WhenDraft { hours: hours("* 20:00-21:00 UTC"), ..mfa.clone() };
    let mfa_and_calm = WhenDraft { max_risk: Some(RiskLevel::Low), ..mfa.clone() };
    let service = || Who::verified(principal(PrincipalKind::Service, "alice"));
    let mut who = principal(PrincipalKind::User, "alice");
    who.authentication.amr = vec!["otp".into()];
    let at = |auth_time: Option<&str>| {
        let mut who = who.clone();
        who.authentication.auth_time = auth_time.map(|text| text.parse().unwrap());
        Who::verified(who)
    };
    let novel = |who| Ask { risk: risk(SignalFamily::Novelty, 2_000), ..ask(who) };
    let attacked = |who| Ask { risk: risk(SignalFamily::Evidence, 2_000), ..ask(who) };
    let table = [
        ("assurance", &mfa, ask(alice()), "step_up step_up.required"),
        ("assurance of a service", &mfa, ask(service()), "step_up step_up.required"),
        ("strong without auth_time", &mfa, ask(at(None)), "step_up step_up.required"),
        ("strong and just fresh", &mfa, ask(at(Some("2026-11-22T22:00:00Z"))), "permit"),
        ("strong and just stale", &mfa, ask(at(Some("2026-11-22T21:59:59Z"))), "step_up step_up.required"),
        ("strong, a minute ahead", &mfa, ask(at(Some("2026-11-23T10:01:00Z"))), "permit"),
        ("strong, more than a minute ahead", &mfa, ask(at(Some("2026-11-23T10:01:01Z"))), "step_up step_up.required"),
        ("assurance and hours", &mfa_in_the_evening, ask(alice()), "deny rbac.condition_unmet"),
        ("risk by novelty", &calm, novel(alice()), "step_up step_up.required"),
        ("risk by evidence", &calm, attacked(alice()), "deny risk.too_high"),
        ("no risk", &calm, ask(alice()), "permit"),
        (
            "just below the threshold",
            &calm,
            Ask { risk: risk(SignalFamily::Evidence, 1_999), ..ask(alice()) },
            "permit",
        ),
        ("assurance and risk", &mfa_and_calm, novel(alice()), "deny rbac.condition_unmet"),
        ("assurance and risk by evidence", &mfa_and_calm, attacked(alice()), "deny rbac.condition_unmet"),
    ];
    for (case, when, ask, expected) in table {
        let grant = AssignmentDraft { principals: list(&["user:alice", "service:alice"]), ..alice_if(when.clone()) };
        let draft = PolicyDraft { assignments: vec![grant], ..office() };
        check(case, &draft, &ask, expected);
        if expected.starts_with("step_up") {
            let denial = answer(&draft, &ask).denial.unwrap();
            let demand = denial.step_up.unwrap();
            assert_eq!((demand.acr_values, demand.max_age_s), (vec!["urn:mfa".into()], Some(43_200)), "{case}");
        }
    }
}

#[test]
fn a_grant_and_a_route_may_want_a_recent_authentication() {
    let recent = WhenDraft { max_age_s: Some(900), ..WhenDraft::default() };
    let recent_mfa = WhenDraft { assurance_mfa: true, ..recent.clone() };
    let recent_in_the_evening = WhenDraft { hours: hours("* 20:00-21:00 UTC"), ..recent.clone() };
    let recent_and_calm = WhenDraft { max_risk: Some(RiskLevel::Low), ..recent.clone() };
    let any = WhenDraft::default();
    let of = |kind, amr: &str, auth_time: Option<&str>| {
        let mut who = principal(kind, "alice");
        who.authentication.amr = vec![amr.into()];
        who.authentication.auth_time = auth_time.map(|text| text.parse().unwrap());
        Who::verified(who)
    };
    let at = |amr, auth_time| of(PrincipalKind::User, amr, Some(auth_time));
    let novel = |who| Ask { risk: risk(SignalFamily::Novelty, 2_000), ..ask(who) };
    let none = ProofDraft::default();
    let hour = ProofDraft { mfa: false, max_age_s: Some(3_600) };
    let mfa = ProofDraft { mfa: true, max_age_s: None };
    let both = ProofDraft { mfa: true, max_age_s: Some(60) };
    let (just, stale) = ("2026-11-23T09:45:00Z", "2026-11-23T09:44:59Z");
    // What is asked for: whether an mfa, and how old it may be.
    let up = |mfa, max_age_s| Some((mfa, max_age_s));
    let table = [
        ("just recent", &recent, none, ask(at("pwd", just)), "permit", None),
        ("just too old", &recent, none, ask(at("pwd", stale)), "step_up step_up.required", up(false, 900)),
        ("a minute ahead", &recent, none, ask(at("pwd", "2026-11-23T10:01:00Z")), "permit", None),
        (
            "far ahead",
            &recent,
            none,
            ask(at("pwd", "2026-11-23T10:01:01Z")),
            "step_up step_up.required",
            up(false, 900),
        ),
        ("nobody knows when", &recent, none, ask(alice()), "step_up step_up.required", up(false, 900)),
        (
            "a service",
            &recent,
            none,
            ask(of(PrincipalKind::Service, "pwd", None)),
            "step_up step_up.required",
            up(false, 900),
        ),
        ("recent, and no mfa", &recent_mfa, none, ask(at("pwd", just)), "step_up step_up.required", up(true, 900)),
        ("an mfa that is too old", &recent_mfa, none, ask(at("otp", stale)), "step_up step_up.required", up(true, 900)),
        ("a recent mfa", &recent_mfa, none, ask(at("otp", just)), "permit", None),
        ("and hours", &recent_in_the_evening, none, ask(at("pwd", stale)), "deny rbac.condition_unmet", None),
        ("and risk", &recent_and_calm, none, novel(at("pwd", stale)), "deny rbac.condition_unmet", None),
        ("risk alone", &recent_and_calm, none, novel(at("pwd", just)), "step_up step_up.required", up(true, 900)),
        ("the route, met", &any, hour, ask(at("pwd", "2026-11-23T09:00:00Z")), "permit", None),
        (
            "the route, not met",
            &any,
            hour,
            ask(at("pwd", "2026-11-23T08:59:59Z")),
            "step_up step_up.required",
            up(false, 3_600),
        ),
        ("the route, of an mfa", &any, mfa, ask(at("pwd", just)), "step_up step_up.required", up(true, 43_200)),
        ("the route, of both", &any, both, ask(at("otp", just)), "step_up step_up.required", up(true, 60)),
        (
            "the stricter of both",
            &recent,
            hour,
            ask(at("pwd", "2026-11-23T08:00:00Z")),
            "step_up step_up.required",
            up(false, 900),
        ),
        (
            "of a grant that is met, and a route",
            &recent,
            both,
            ask(at("pwd", just)),
            "step_up step_up.required",
            up(true, 60),
        ),
    ];
    for (case, when, proof, ask, expected, demanded) in table {
        let grant = AssignmentDraft { principals: list(&["user:alice", "service:alice"]), ..alice_if(when.clone()) };
        let resources = vec![ResourceDraft { proof, ..resource(Rule::Required) }];
        let draft = PolicyDraft { assignments: vec![grant], resources, ..office() };
        check(case, &draft, &ask, expected);
        let demand = answer(&draft, &ask).denial.and_then(|denial| denial.step_up);
        let found = demand.as_ref().map(|demand| (demand.mfa, demand.max_age_s.unwrap()));
        assert_eq!(found, demanded, "{case}");
        if let Some(demand) = demand {
            assert_eq!(demand.acr_values.is_empty(), !demand.mfa, "{case}");
        }
    }
    // Said in words, with the rule; in shadow mode reported alone; and without a credential one would help.
    let route = |proof, mode| ResourceDraft { proof, mode, ..resource(Rule::Optional) };
    let open = grant(1, "g", "billing.admin", &["anyone"]);
    let with = |resource| PolicyDraft { resources: vec![resource], assignments: vec![open.clone()], ..office() };
    let ask_stale = ask(at("pwd", "2026-11-23T08:00:00Z"));
    let denial = answer(&with(route(hour, Mode::Enforce)), &ask_stale).denial.unwrap();
    assert!(
        denial.message.starts_with(
            "user:alice must authenticate again to DELETE /api/invoices/7: resource billing demands it, at most 1h ago"
        ),
        "{}",
        denial.message
    );
    let last = denial.trace.checks.last().unwrap();
    assert_eq!(
        (&*last.value, &*last.detail),
        ("no fresh mfa, authenticated 2h ago", "the route demands an authentication of at most 1h ago")
    );
    check("without a credential", &with(route(hour, Mode::Enforce)), &ask(Who::Nobody), "challenge authn.missing");
    let shadow = answer(&with(route(hour, Mode::Shadow)), &ask_stale);
    assert_eq!((shadow.outcome, shadow.trace.shadow.len()), (Outcome::Permit, 1));
    assert_eq!(shadow.trace.shadow[0].reason, Some(Reason::StepUpRequired));
}

#[test]
fn where_nobody_can_step_up_the_refusal_is_of_another_kind() {
    let anyone = |when: WhenDraft| AssignmentDraft { when, ..grant(1, "g", "billing.admin", &["anyone"]) };
    let mfa = WhenDraft { assurance_mfa: true, ..WhenDraft::default() };
    let calm = WhenDraft { max_risk: Some(RiskLevel::Low), ..WhenDraft::default() };
    let table = [
        (Rule::None, &mfa, RiskAssessment::NONE, "deny rbac.condition_unmet"),
        (Rule::Optional, &mfa, RiskAssessment::NONE, "challenge authn.missing"),
        (Rule::None, &calm, risk(SignalFamily::Novelty, 2_000), "deny rbac.condition_unmet"),
        (Rule::Optional, &calm, risk(SignalFamily::Novelty, 2_000), "challenge authn.missing"),
        (Rule::None, &calm, risk(SignalFamily::Evidence, 2_000), "deny risk.too_high"),
        (Rule::Optional, &calm, risk(SignalFamily::Evidence, 2_000), "deny risk.too_high"),
    ];
    for (rule, when, risk, expected) in table {
        let draft =
            PolicyDraft { resources: vec![resource(rule)], assignments: vec![anyone(when.clone())], ..office() };
        check(&format!("{rule:?} {when:?}"), &draft, &Ask { risk, ..ask(Who::Nobody) }, expected);
    }
}

#[test]
fn the_risk_band_steps_up_and_denies_only_with_evidence() {
    use SignalFamily::{Evidence, Novelty};
    let service = || Who::verified(principal(PrincipalKind::Service, "batch"));
    let mut strong = principal(PrincipalKind::User, "alice");
    strong.authentication.stated_mfa = true;
    let strong = || Who::verified(strong.clone());
    let stated = RiskAssessment { stated: Some(RiskLevel::High), ..RiskAssessment::NONE };
    // Sensitivity high: medium from 1,200 milli-nats on, high from 3,200.
    let table = [
        ("low", alice(), risk(Novelty, 1_199), "permit"),
        ("medium", alice(), risk(Novelty, 1_200), "step_up step_up.required"),
        ("medium, fresh mfa", strong(), risk(Novelty, 1_200), "permit"),
        ("medium by evidence", alice(), risk(Evidence, 3_199), "step_up step_up.required"),
        ("high by novelty", alice(), risk(Novelty, 30_000), "step_up step_up.required"),
        ("high by novelty, fresh mfa", strong(), risk(Novelty, 30_000), "permit"),
        ("high by evidence", alice(), risk(Evidence, 3_200), "deny risk.too_high"),
        ("high by evidence, fresh mfa", strong(), risk(Evidence, 3_200), "deny risk.too_high"),
        ("high as stated", alice(), stated, "deny risk.too_high"),
        ("a service, medium", service(), risk(Novelty, 3_000), "permit"),
        ("a service, high by novelty", service(), risk(Novelty, 30_000), "permit"),
        ("a service, high by evidence", service(), risk(Evidence, 3_200), "deny risk.too_high"),
    ];
    let with = |enforce: bool, mode: Mode| PolicyDraft {
        resources: vec![ResourceDraft { sensitivity: Sensitivity::High, mode, ..resource(Rule::Required) }],
        assignments: vec![grant(1, "all", "billing.admin", &["authenticated"])],
        risk: RiskRules { enforce, ..RiskRules::default() },
        ..office()
    };
    for (case, who, risk, expected) in table {
        check(case, &with(true, Mode::Enforce), &Ask { risk: risk.clone(), ..ask(who.clone()) }, expected);
        let monitored = answer(&with(false, Mode::Enforce), &Ask { risk, ..ask(who) });
        assert_eq!(monitored.outcome, Outcome::Permit, "{case}, monitored");
        let would = monitored.trace.shadow.first().map(|finding| finding.outcome.as_str());
        assert_eq!(would, expected.split(' ').next().filter(|outcome| *outcome != "permit"), "{case}, monitored");
    }
    // In shadow mode the sensitivity is reported, and its default decides: medium from 2,000, high from 4,000.
    let shadow = with(true, Mode::Shadow);
    for (case, mnats, expected, reported) in [
        ("would step up", 1_200, "permit", Some(Reason::StepUpRequired)),
        ("would deny", 3_999, "permit", Some(Reason::RiskTooHigh)),
        ("is denied", 4_000, "deny risk.too_high", Some(Reason::RiskTooHigh)),
        ("nothing", 1_199, "permit", None),
    ] {
        let ask = Ask { risk: risk(Evidence, mnats), ..ask(alice()) };
        check(case, &shadow, &ask, expected);
        assert_eq!(answer(&shadow, &ask).trace.shadow.first().and_then(|finding| finding.reason), reported, "{case}");
    }
}

#[test]
fn what_could_be_denied_by_an_unknown_fact_is_undecided() {
    let admin = || vec![grant(1, "all", "billing.admin", &["authenticated"])];
    let denied_in = |when: WhenDraft| PolicyDraft {
        assignments: admin(),
        denies: vec![DenyDraft { when, ..forbids(51, &["user:alice"]) }],
        ..office()
    };
    let networks = |allow: &[&str], deny: &[&str]| PolicyDraft {
        assignments: admin(),
        resources: vec![ResourceDraft { allow: list(allow), deny: list(deny), ..resource(Rule::Required) }],
        ..office()
    };
    let france = WhenDraft { countries: CountryCode::parse("FR").map(|code| vec![code]), ..WhenDraft::default() };
    let partner = WhenDraft { networks: Some(list(&["partner"])), ..france.clone() };
    let from_tor = Ask { from: Some("203.0.113.66"), ..ask(alice()) };
    let from_nowhere = Ask { from: None, ..ask(alice()) };
    let in_country = |country| Ask { country: Some(country), ..ask(alice()) };
    let table = [
        ("deny, country unknown", denied_in(france.clone()), ask(alice()), "undecided policy.unavailable"),
        ("deny, country right", denied_in(france.clone()), in_country("FR"), "deny rbac.explicit_deny"),
        ("deny, country wrong", denied_in(france.clone()), in_country("DE"), "permit"),
        ("deny, another action", denied_in(france), Ask { method: "GET", ..ask(alice()) }, "permit"),
        ("deny, network unknown", denied_in(partner.clone()), in_country("FR"), "undecided policy.unavailable"),
        ("deny, network unknown, country wrong", denied_in(partner), in_country("DE"), "permit"),
        ("networks.deny", networks(&[], &["tor"]), from_tor.clone(), "deny ip.denied"),
        ("networks.deny, elsewhere", networks(&[], &["tor"]), ask(alice()), "permit"),
        (
            "networks.deny, address unknown",
            networks(&[], &["tor"]),
            from_nowhere.clone(),
            "undecided policy.unavailable",
        ),
        (
            "networks.deny, network unknown",
            networks(&[], &["partner"]),
            ask(alice()),
            "undecided dependency.feed_stale",
        ),
        ("networks.deny, one unknown, in the other", networks(&[], &["partner", "tor"]), from_tor, "deny ip.denied"),
        ("networks.allow, unknown", networks(&["partner"], &[]), ask(alice()), "undecided dependency.feed_stale"),
        ("networks.allow, one unknown, in the other", networks(&["partner", "office"], &[]), ask(alice()), "permit"),
        ("networks.allow, address unknown", networks(&["office"], &[]), from_nowhere, "deny ip.not_allowed"),
        ("both, the allowlist says no", networks(&["tor"], &["partner"]), ask(alice()), "deny ip.not_allowed"),
    ];
    for (case, draft, ask, expected) in table {
        check(case, &draft, &ask, expected);
        assert_eq!(nearest(&draft, &ask).iter().filter(|needs| !needs.starts_with("network:")).count(), 0, "{case}");
    }
    // What is certain of a network stays so when the rest of it becomes unknown; whoever drops it as stale drops its prefixes.
    let mut stale = networks(&["office"], &[]);
    stale.networks.iter_mut().for_each(|network| network.unknown = true);
    check("a certain part", &stale, &ask(alice()), "permit");
    assert_eq!(nearest(&stale, &ask(alice())), Vec::<String>::new());
    stale.networks.iter_mut().for_each(|network| network.prefixes.clear());
    check("dropped as stale", &stale, &ask(alice()), "undecided dependency.feed_stale");
}

#[test]
fn an_untrusted_claim_does_not_join_a_local_group() {
    let draft = PolicyDraft {
        groups: vec![GroupDraft { name: on_line(21, "owners"), members: list(&["group:board"]) }],
        assignments: vec![grant(1, "g", "billing.admin", &["group:owners"])],
        ..office()
    };
    let table = [
        ("owners", true, "permit"),
        ("owners", false, "deny rbac.no_matching_grant"),
        // Nobody declares this one here, so it is whatever the provider says.
        ("board", false, "permit"),
        ("board", true, "permit"),
    ];
    for (name, trusted, expected) in table {
        let mut who = principal(PrincipalKind::User, "alice");
        who.groups = vec![GroupClaim { name: name.into(), trusted }];
        check(&format!("{name} {trusted}"), &draft, &ask(Who::verified(who)), expected);
    }
}

#[test]
fn an_eligible_assignment_grants_while_it_is_activated() {
    let mut draft = office();
    let rules = ActivationRules::of(14_400);
    draft.assignments = vec![AssignmentDraft {
        activation: Some(rules),
        ..grant(41, "alice-administers", "billing.admin", &["user:alice"])
    }];
    let activated = |name: &str, until: &str| Ask {
        activations: vec![Activation::of(name, until.parse().unwrap())],
        ..ask(alice())
    };
    check("not activated", &draft, &ask(alice()), "deny rbac.condition_unmet");
    check("activated", &draft, &activated("alice-administers", "2026-11-23T10:00:01Z"), "permit");
    check("until now", &draft, &activated("alice-administers", MONDAY), "deny rbac.condition_unmet");
    check("another one", &draft, &activated("others", "2026-11-23T10:00:01Z"), "deny rbac.condition_unmet");
    let denial = answer(&draft, &ask(alice())).denial.unwrap();
    assert_eq!(
        denial.message,
        "user:alice may not DELETE /api/invoices/7: assignment alice-administers grants it under a condition that is not \
         met: activation for at most 4h, with a justification (policy.toml:41); eligible for role billing.admin: activate \
         with `portcullis access activate alice-administers`; activation:alice-administers would allow it \
         (policy.toml:41)"
    );
    assert_eq!(denial.nearest[0].needs, ["activation:alice-administers"]);
    draft.assignments[0].activation = Some(ActivationRules { max_s: 0, ..rules });
    let problems = Policy::compile(&draft).unwrap_err();
    assert!(problems.iter().any(|problem| problem.message.contains("for no time at all")), "{problems:?}");
}
