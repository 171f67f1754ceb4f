//! Credentials that are for some routes or networks alone.

#![expect(clippy::unwrap_used, reason = "in a test a broken expectation is a failure")]

use std::sync::Arc;

use jiff::Timestamp;
use portcullis_policy::*;

/// Two routes, on which the robot may do everything; a network, and one of which nobody knows what is in it.
fn policy() -> Policy {
    let network = |name: &str, prefixes: &[&str], unknown| NetworkDraft {
        name: name.to_owned().into(),
        prefixes: prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect(),
        unknown,
    };
    let draft = PolicyDraft {
        routes: ["billing", "payroll"].map(|name| RouteDraft::new(name, [format!("/{name}/**").as_str()])).into(),
        networks: vec![network("office", &["192.0.2.0/24"], false), network("fetched", &[], true)],
        roles: vec![RoleDraft::new("everything", ["* /**"])],
        assignments: vec![AssignmentDraft::new("robots", "everything", ["service:robot"])],
        ..PolicyDraft::default()
    };
    Policy::compile(&draft).unwrap().0
}

fn names(names: &[&str]) -> Vec<Box<str>> {
    names.iter().map(|name| Box::from(*name)).collect()
}

/// What becomes of a request with a key for these routes and networks: the outcome, the reason, and what the trace says.
#[track_caller]
fn ask(routes: &[&str], networks: &[&str], path: &str, client: Option<&str>) -> (Outcome, Option<Reason>, String) {
    let policy = policy();
    let scope = CredentialScope { routes: names(routes), networks: names(networks) };
    let mut principal = Principal { scope: Some(Arc::new(scope)), ..Principal::service("robot") };
    principal.authentication.key_id = Some("ci".into());
    let path = CanonicalPath::parse(path).unwrap();
    let request = AccessRequest {
        method: "GET",
        path: &path,
        route: policy.find_route("any.test", &path),
        client: client.map_or(ClientAddress::Unknown, |client| ClientAddress::Known(client.parse().unwrap())),
        country: None,
        identity: IdentityFact::Verified(&principal),
        posture: None,
        risk: RiskAssessment::none(),
        bans: Bans::default(),
        contained: Contained::default(),
        activations: &[],
        now: Timestamp::UNIX_EPOCH,
    };
    let explanation = policy.explain(&request);
    let Some(denial) = &explanation.denial else {
        assert!(matches!(policy.decide(&request), Decision::Permit(_)), "the explanation agrees");
        return (Outcome::Permit, None, String::new());
    };
    assert!(!matches!(policy.decide(&request), Decision::Permit(_)), "the explanation agrees");
    let check = denial.trace.checks.iter().find(|check| check.stage == Stage::Authentication).unwrap();
    assert_ne!(check.outcome, CheckOutcome::Pass);
    assert!(denial.message.contains(&*check.detail) || denial.reason == Reason::FeedStale, "{}", denial.message);
    let needs: Vec<_> = denial.nearest.iter().flat_map(|nearest| &nearest.needs).collect();
    assert!(!format!("{needs:?}").contains("role:"), "no role makes up for it: {needs:?}");
    (denial.outcome, Some(denial.reason), check.detail.to_string())
}

#[test]
fn a_key_counts_where_it_is_meant_for_and_nowhere_else() {
    let permit = (Outcome::Permit, None, String::new());
    let deny = |detail: &str| (Outcome::Deny, Some(Reason::ConditionUnmet), detail.to_owned());
    let office = Some("192.0.2.7");
    assert_eq!(ask(&[], &[], "/billing/a", None), permit);
    assert_eq!(ask(&["billing"], &[], "/billing/a", None), permit);
    assert_eq!(ask(&["billing", "payroll"], &[], "/payroll/a", None), permit);
    let told = "the key ci is only for the routes billing, and this is payroll";
    assert_eq!(ask(&["billing"], &[], "/payroll/a", None), deny(told));
    assert_eq!(ask(&["Billing"], &[], "/billing/a", None).1, Some(Reason::ConditionUnmet), "names are exact");
    assert_eq!(ask(&[], &["office"], "/billing/a", office), permit);
    let told = "the key ci is only for callers from office, and 192.0.3.7 is not known to be there";
    assert_eq!(ask(&[], &["office"], "/billing/a", Some("192.0.3.7")), deny(told));
    assert_eq!(ask(&[], &["office"], "/billing/a", None).0, Outcome::Deny, "an unknown address is in no list");
    assert_eq!(ask(&["billing"], &["office"], "/payroll/a", office).0, Outcome::Deny);
    // A network that the policy does not have is nowhere.
    assert_eq!(ask(&[], &["gone"], "/billing/a", office).0, Outcome::Deny);
    assert_eq!(ask(&[], &["gone", "office"], "/billing/a", office), permit);
    // One of which nobody knows what is in it decides nothing.
    let undecided = ask(&[], &["fetched"], "/billing/a", office);
    assert_eq!((undecided.0, undecided.1), (Outcome::Undecided, Some(Reason::FeedStale)));
    assert_eq!(ask(&[], &["fetched", "office"], "/billing/a", office), permit);
}
