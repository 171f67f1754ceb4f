//! LP09, LP10 and LP11: roles that exclude each other, power over the policy, and ends.

use portcullis_policy::{ExclusiveDraft, ScopeDraft};

use super::{pairs, reader};
use crate::audit::tests::Site;
use crate::audit::{PolicyWriters, Severity};

#[test]
fn lp09_roles_that_exclude_each_other() {
    let mut site = Site::new();
    site.role("create", &["POST /pay"]);
    site.role("approve", &["PUT /pay"]);
    site.role("head", &["GET /pay"]);
    site.draft.roles[2].inherits = vec!["approve".to_owned().into()];
    site.grant("creators", "create", &["user:alice", "user:bob"]);
    site.grant("heads", "head", &["user:alice"]);
    assert!(site.found("LP09").is_empty() && site.run().not_looked_at.contains_key("LP09"));
    site.draft.exclusives = vec![ExclusiveDraft {
        name: "four-eyes".to_owned().into(),
        roles: ["create", "approve"].map(|role| role.to_owned().into()).to_vec(),
        max: None,
    }];
    site.uses("user:alice", "POST /pay", 1);
    site.uses("user:alice", "PUT /pay", 29);
    assert_eq!(site.found("LP09"), pairs(&[("user:alice", "four-eyes")]));
    let report = site.run();
    let finding = report.findings.iter().find(|finding| finding.id == "LP09").unwrap();
    assert!(finding.evidence.facts[0].starts_with("used within 30 days"), "{:?}", finding.evidence.facts);
}

#[test]
fn lp10_whoever_writes_where_the_policy_is_kept_can_grant_to_itself() {
    let mut site = reader();
    site.role("looks", &["GET /**"]);
    site.grant("lookers", "looks", &["user:bob"]).scope = ScopeDraft::Routes(vec!["other".to_owned().into()]);
    assert!(site.run().not_looked_at["LP10"].contains("control_routes"));
    site.settings.control_routes = vec!["other".to_owned()];
    // Alice may write on every route.
    assert_eq!(site.found("LP10"), pairs(&[("user:alice", "other")]));
    site.draft.assignments[0].scope = ScopeDraft::Routes(vec!["app".to_owned().into()]);
    assert!(site.found("LP10").is_empty());
    let approver = |names: &[&str]| ("ana".to_owned(), names.iter().map(|name| (*name).to_owned()).collect());
    site.writers = PolicyWriters { required: true, loosen: 1, approvers: vec![approver(&["alice"])] };
    assert_eq!(site.found("LP10"), pairs(&[("user:alice", "")]));
    site.writers.loosen = 2;
    assert!(site.found("LP10").is_empty());
    site.writers.required = false;
    assert_eq!(site.run().findings.iter().filter(|finding| finding.severity == Severity::Critical).count(), 1);
}

/// Operators' API: a grant on every route is none there, as it decides; and who only lifts bans there grants nothing.
#[test]
fn lp10_of_the_api_by_verb_and_only_where_it_is_named() {
    let mut site = Site::new();
    site.draft.routes.push(portcullis_policy::RouteDraft {
        hosts: vec!["admin.test".to_owned().into()],
        reserved: true,
        ..portcullis_policy::RouteDraft::new("admin", [])
    });
    site.role("everything", &["* /**"]);
    site.role("bans", &["POST /v1/bans/*"]);
    site.role("policy", &["POST /v1/govern/*"]);
    site.role("factors", &["POST /v1/factors/**"]);
    let admin = || ScopeDraft::Routes(vec!["admin".to_owned().into()]);
    site.grant("all", "everything", &["user:everywhere"]);
    for role in ["bans", "policy", "factors"] {
        site.grant(role, role, &[&format!("user:{role}")]).scope = admin();
    }
    let severities = |site: &Site| -> Vec<(String, Severity)> {
        let report = site.run();
        let found = report.findings.iter().filter(|finding| finding.id == "LP10");
        found.map(|finding| (finding.principal.clone().unwrap_or_default(), finding.severity)).collect()
    };
    let expected = vec![("user:policy".to_owned(), Severity::Critical), ("user:factors".to_owned(), Severity::High)];
    assert_eq!(severities(&site), expected);
    // Named among the routes through which the policy can be changed it is looked at by verb all the same.
    site.settings.control_routes = vec!["admin".to_owned()];
    assert_eq!(severities(&site), expected);
    // Others stand between.
    site.writers =
        PolicyWriters { required: true, loosen: 2, approvers: vec![("ana".to_owned(), vec!["ana".to_owned()])] };
    assert_eq!(severities(&site), expected[1..]);
    // Nobody is put into the peers' grant for what it does not give.
    site.grant("mates", "everything", &["user:a", "user:b", "user:c", "user:d"]);
    site.group("mates", &["user:a", "user:b", "user:c", "user:e"]);
    (0..9).for_each(|_| site.note("user:e", "admin", "POST /v1/drain", false, 1));
    assert!(site.found("LP18").is_empty());
}

#[test]
fn lp11_what_has_ended_and_what_was_meant_to_end() {
    let mut site = reader();
    site.grant("temp-fix", "reader", &["user:alice"]);
    site.grant("template", "reader", &["user:alice"]);
    site.grant("old", "reader", &["user:alice"]).expires = Some(super::super::now());
    site.grant("young", "reader", &["user:alice"]).expires =
        Some(super::super::now() + jiff::SignedDuration::from_secs(1));
    let report = site.run();
    let found: Vec<&str> = report
        .findings
        .iter()
        .filter(|finding| finding.id == "LP11")
        .map(|finding| finding.place.as_ref().unwrap().name.as_str())
        .collect();
    assert_eq!(
        {
            let mut found = found;
            found.sort_unstable();
            found
        },
        ["old", "temp-fix"]
    );
}
