//! What alerts demand beyond the policy: only ever a refusal more, and explained with the alert that demands it.

#![expect(clippy::unwrap_used, reason = "in a test a broken expectation is a failure")]

use jiff::Timestamp;
use portcullis_policy::*;

const NOW: &str = "2026-11-23T10:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Routes of each rule of authentication, on which alice, a service, a certificate and, where they may come, anonymous callers do everything.
fn policy(mode: Mode) -> Policy {
    let routes = [
        ("required", AuthenticationRule::Required),
        ("optional", AuthenticationRule::Optional),
        ("none", AuthenticationRule::None),
    ];
    let draft = PolicyDraft {
        routes: routes.iter().map(|(name, _)| RouteDraft::new(name, [format!("/{name}/**").as_str()])).collect(),
        resources: routes
            .iter()
            .map(|(name, authentication)| ResourceDraft {
                route: (*name).to_owned().into(),
                authentication: *authentication,
                mode,
                ..ResourceDraft::default()
            })
            .collect(),
        roles: vec![RoleDraft::new("all", ["GET /**"])],
        assignments: vec![AssignmentDraft::new("everybody", "all", ["anyone"])],
        ..PolicyDraft::default()
    };
    Policy::compile(&draft).unwrap().0
}

fn containment(simulated: bool) -> Containment {
    Containment {
        alert: "watchful".into(),
        since: at("2026-11-23T09:00:00Z"),
        until: at("2026-11-23T11:00:00Z"),
        simulated,
    }
}

/// Who asks, and how long ago they authenticated with mfa, if they did.
fn who(kind: PrincipalKind, fresh: bool, issued: Option<&str>) -> Principal {
    let mut who = Principal::stated(kind, "alice");
    if fresh {
        who.authentication.amr = vec!["mfa".into()];
        who.authentication.auth_time = Some(at("2026-11-23T09:59:00Z"));
    }
    who.authentication.issued = issued.map(at);
    who
}

/// Asks, checks that the explanation says the same, and returns the outcome with its reason and the shadow findings.
#[track_caller]
fn ask(
    policy: &Policy,
    route: &str,
    caller: Option<&Principal>,
    contained: Contained<'_>,
) -> (Outcome, Option<Reason>, usize) {
    let path = CanonicalPath::parse(&format!("/{route}/x")).unwrap();
    let request = AccessRequest {
        identity: caller.map_or(IdentityFact::Anonymous, IdentityFact::Verified),
        contained,
        ..AccessRequest::new("GET", &path, policy.find_route("a", &path), at(NOW))
    };
    let explained = policy.explain(&request);
    let (outcome, reason, shadow) = match policy.decide(&request) {
        Decision::Permit(permit) => (Outcome::Permit, None, permit.shadow().len()),
        Decision::Deny(denial)
        | Decision::Challenge(denial)
        | Decision::StepUp(denial)
        | Decision::Undecided(denial) => (denial.outcome, Some(denial.reason), denial.trace.shadow.len()),
    };
    assert_eq!((explained.outcome, explained.denial.as_ref().map(|denial| denial.reason)), (outcome, reason));
    assert_eq!(policy.verdict(&request), (outcome, reason));
    if reason.is_some() && reason != Some(Reason::AuthnMissing) {
        assert!(explained.message.contains("alert watchful"), "{}", explained.message);
        let failed = |check: &Check| check.outcome == CheckOutcome::Fail && check.detail.contains("alert watchful");
        assert!(explained.trace.checks.iter().any(failed), "{:#?}", explained.trace.checks);
    }
    (outcome, reason, shadow)
}

const PERMIT: (Outcome, Option<Reason>, usize) = (Outcome::Permit, None, 0);
const REPORTED: (Outcome, Option<Reason>, usize) = (Outcome::Permit, None, 1);
const STEP_UP: (Outcome, Option<Reason>, usize) = (Outcome::StepUp, Some(Reason::StepUpRequired), 0);
const REVOKED: (Outcome, Option<Reason>, usize) =
    (Outcome::Challenge, Some(Reason::Authn(CredentialProblemKind::Revoked)), 0);

#[test]
fn a_principal_that_must_step_up_is_asked_for_a_fresh_mfa_wherever_it_is_known() {
    let policy = policy(Mode::Enforce);
    let (demand, simulated) = (containment(false), containment(true));
    let step_up = Contained { step_up: Some(&demand), ..Contained::default() };
    let [user, fresh, service] =
        [(PrincipalKind::User, false), (PrincipalKind::User, true), (PrincipalKind::Service, false)]
            .map(|(kind, fresh)| who(kind, fresh, None));
    for (route, caller, expected) in [
        ("required", Some(&user), STEP_UP),
        ("required", Some(&fresh), PERMIT),
        // It cannot answer, and is contained all the same.
        ("required", Some(&service), STEP_UP),
        ("optional", Some(&user), STEP_UP),
        ("optional", None, PERMIT),
        // The route does not look who it is.
        ("none", Some(&user), PERMIT),
    ] {
        assert_eq!(ask(&policy, route, caller, step_up), expected, "{route} {caller:?}");
        assert_eq!(ask(&policy, route, caller, Contained::default()), PERMIT, "{route} {caller:?}");
    }
    let reported = Contained { step_up: Some(&simulated), ..Contained::default() };
    assert_eq!(ask(&policy, "required", Some(&user), reported), REPORTED);
    assert_eq!(ask(&policy, "required", Some(&fresh), reported), PERMIT);
    let shadow = self::policy(Mode::Shadow);
    assert_eq!(ask(&shadow, "required", Some(&user), step_up), REPORTED);
}

#[test]
fn a_tightened_route_demands_it_of_everybody() {
    let policy = policy(Mode::Enforce);
    let (demand, simulated) = (containment(false), containment(true));
    let tightened = Contained { tightened: Some(&demand), ..Contained::default() };
    let (user, fresh) = (who(PrincipalKind::User, false, None), who(PrincipalKind::User, true, None));
    let challenge = (Outcome::Challenge, Some(Reason::AuthnMissing), 0);
    let denied = (Outcome::Deny, Some(Reason::ConditionUnmet), 0);
    for (route, caller, expected) in [
        ("required", Some(&user), STEP_UP),
        ("required", Some(&fresh), PERMIT),
        // A credential might help here, and there nothing does.
        ("optional", None, challenge),
        ("none", None, denied),
        ("none", Some(&fresh), denied),
    ] {
        assert_eq!(ask(&policy, route, caller, tightened), expected, "{route} {caller:?}");
    }
    // One that refuses counts before one that is only reported, whichever of the two it is.
    let both = Contained { step_up: Some(&simulated), tightened: Some(&demand), revoked: None };
    assert_eq!(ask(&policy, "required", Some(&user), both), STEP_UP);
    let both = Contained { step_up: Some(&demand), tightened: Some(&simulated), revoked: None };
    assert_eq!(ask(&policy, "required", Some(&user), both), STEP_UP);
}

#[test]
fn what_was_issued_by_then_is_revoked_and_what_is_newer_is_not() {
    let policy = policy(Mode::Enforce);
    let (revocation, simulated) = (containment(false), containment(true));
    let revoked = Contained { revoked: Some(&revocation), ..Contained::default() };
    for (issued, expected) in [
        (Some("2026-11-23T08:59:59Z"), REVOKED),
        (Some("2026-11-23T09:00:00Z"), REVOKED),
        (Some("2026-11-23T09:00:01Z"), PERMIT),
        // Nobody knows: it is taken for old.
        (None, REVOKED),
    ] {
        let caller = who(PrincipalKind::User, true, issued);
        assert_eq!(ask(&policy, "required", Some(&caller), revoked), expected, "{issued:?}");
        assert_eq!(ask(&policy, "optional", Some(&caller), revoked), expected, "{issued:?}");
        assert_eq!(ask(&policy, "none", Some(&caller), revoked), PERMIT, "{issued:?}");
    }
    assert_eq!(ask(&policy, "optional", None, revoked), PERMIT);
    let reported = Contained { revoked: Some(&simulated), ..Contained::default() };
    assert_eq!(ask(&policy, "required", Some(&who(PrincipalKind::User, false, None)), reported), REPORTED);
}

#[test]
fn nothing_is_permitted_for_being_contained() {
    let draft = PolicyDraft { routes: vec![RouteDraft::new("required", ["/**"])], ..PolicyDraft::default() };
    let policy = Policy::compile(&draft).unwrap().0;
    let path = CanonicalPath::parse("/x").unwrap();
    let demand = containment(true);
    let all = Contained { step_up: Some(&demand), revoked: Some(&demand), tightened: Some(&demand) };
    let caller = who(PrincipalKind::User, true, Some(NOW));
    for identity in [IdentityFact::Anonymous, IdentityFact::Verified(&caller)] {
        let plain =
            AccessRequest { identity, ..AccessRequest::new("GET", &path, policy.find_route("a", &path), at(NOW)) };
        let contained = AccessRequest { contained: all, ..plain };
        assert_eq!(policy.verdict(&contained), policy.verdict(&plain));
        assert_ne!(policy.verdict(&plain).0, Outcome::Permit);
    }
}

#[test]
fn what_would_help_is_a_fresh_mfa_or_a_new_credential() {
    let policy = policy(Mode::Enforce);
    let demand = containment(false);
    let needs = |contained: Contained<'_>| {
        let path = CanonicalPath::parse("/required/x").unwrap();
        let caller = who(PrincipalKind::User, false, None);
        let request = AccessRequest {
            identity: IdentityFact::Verified(&caller),
            contained,
            ..AccessRequest::new("GET", &path, policy.find_route("a", &path), at(NOW))
        };
        let (Decision::StepUp(denial) | Decision::Challenge(denial)) = policy.decide(&request) else { panic!() };
        denial.nearest.into_iter().flat_map(|nearest| nearest.needs).collect::<Vec<_>>()
    };
    assert_eq!(needs(Contained { step_up: Some(&demand), ..Contained::default() }), ["assurance:mfa"]);
    assert_eq!(needs(Contained { revoked: Some(&demand), ..Contained::default() }), ["credential:any"]);
}

#[test]
fn whoever_an_alert_holds_back_or_has_a_scoped_credential_has_nothing_done_for_them() {
    let policy = policy(Mode::Enforce);
    let path = CanonicalPath::parse("/none/own").unwrap();
    let route = policy.find_route("a", &path);
    let held = |caller: &Principal, contained: Contained<'_>| {
        let identity = IdentityFact::Verified(caller);
        policy.held_back(&AccessRequest { identity, contained, ..AccessRequest::new("POST", &path, route, at(NOW)) })
    };
    let (real, simulated) = (containment(false), containment(true));
    let revoked = |by| Contained { revoked: Some(by), ..Contained::default() };
    let step_up = |by| Contained { step_up: Some(by), ..Contained::default() };
    let plain = who(PrincipalKind::User, false, None);
    let newer = who(PrincipalKind::User, false, Some("2026-11-23T09:30:00Z"));
    let fresh = who(PrincipalKind::User, true, None);
    assert_eq!(held(&plain, Contained::default()), None);
    assert_eq!(held(&plain, revoked(&real)), Some(Reason::Authn(CredentialProblemKind::Revoked)));
    assert_eq!((held(&newer, revoked(&real)), held(&plain, revoked(&simulated))), (None, None));
    assert_eq!(held(&plain, step_up(&real)), Some(Reason::StepUpRequired));
    assert_eq!((held(&fresh, step_up(&real)), held(&plain, step_up(&simulated))), (None, None));
    let scoped = Principal { scope: Some(CredentialScope::default().into()), ..plain };
    assert_eq!(held(&scoped, Contained::default()), Some(Reason::ConditionUnmet));
    let nowhere = AccessRequest::new("POST", &path, None, at(NOW));
    let caller = who(PrincipalKind::User, true, None);
    let nowhere = AccessRequest { identity: IdentityFact::Verified(&caller), ..nowhere };
    assert_eq!(policy.held_back(&nowhere), Some(Reason::RouteNotFound), "whose rules would hold there?");
}

#[test]
fn what_a_deny_the_risk_or_the_route_refuses_is_held_back_whatever_is_granted() {
    let deny = |name: &str, who: &str, action: &str| DenyDraft {
        name: name.to_owned().into(),
        principals: vec![who.to_owned().into()],
        actions: vec![action.to_owned().into()],
        scope: ScopeDraft::All,
        ..DenyDraft::default()
    };
    let draft = PolicyDraft {
        routes: vec![RouteDraft::new("app", ["/**"])],
        resources: vec![ResourceDraft {
            route: "app".to_owned().into(),
            authentication: AuthenticationRule::None,
            ..ResourceDraft::default()
        }],
        denies: vec![deny("gone", "user:alice", "* /**"), deny("elsewhere", "user:bob", "* /admin/**")],
        risk: RiskRules { enforce: true, ..RiskRules::default() },
        ..PolicyDraft::default()
    };
    let policy = Policy::compile(&draft).unwrap().0;
    let path = CanonicalPath::parse("/own").unwrap();
    let route = policy.find_route("a", &path);
    let held = |id: &str, stated: Option<RiskLevel>| {
        let risk = RiskAssessment { stated, ..RiskAssessment::default() };
        let caller = Principal::stated(PrincipalKind::User, id);
        let identity = IdentityFact::Verified(&caller);
        policy.held_back(&AccessRequest { identity, risk: &risk, ..AccessRequest::new("POST", &path, route, at(NOW)) })
    };
    assert_eq!(held("alice", None), Some(Reason::ExplicitDeny));
    assert_eq!(held("bob", None), None, "a deny of another path");
    assert_eq!(held("bob", Some(RiskLevel::High)), Some(Reason::RiskTooHigh));
    assert_eq!(held("bob", Some(RiskLevel::Medium)), Some(Reason::StepUpRequired));
    assert_eq!(held("bob", Some(RiskLevel::Low)), None);
}
