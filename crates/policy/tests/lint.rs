//! What the lint says of policies that are legal and hardly meant: each warning with a case that fires, one on the border,
//! and one that does not.
//!
//! `PORTCULLIS_PROPTEST_CASES` raises the number of cases of each property.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "in a test a broken expectation is a failure"
)]

#[path = "lint/bounds.rs"]
mod bounds;
#[path = "lint/exclusive.rs"]
mod exclusive;
#[path = "lint/grants.rs"]
mod grants;
#[path = "lint/proofs.rs"]
mod proofs;
#[path = "lint/resources.rs"]
mod resources;
#[path = "lint/roles.rs"]
mod roles;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use portcullis_policy::ProblemKind as Kind;
use portcullis_policy::*;

/// Noon of a Monday: what the lint takes for now.
const NOW: &str = "2026-11-23T12:00:00Z";

fn placed(text: &str) -> Placed<String> {
    text.to_owned().into()
}

fn list(texts: &[&str]) -> Vec<Placed<String>> {
    texts.iter().map(|text| placed(text)).collect()
}

fn at(text: &str) -> Option<Timestamp> {
    Some(text.parse().unwrap())
}

fn hours(text: &str) -> Option<Placed<Hours>> {
    Some(Hours::parse(text, |name| TimeZone::get(name).ok()).unwrap().into())
}

fn route(name: &str, hosts: &[&str], paths: &[&str]) -> RouteDraft {
    RouteDraft { name: placed(name), hosts: list(hosts), paths: list(paths), reserved: false }
}

fn network(name: &str, prefixes: &[&str]) -> NetworkDraft {
    NetworkDraft {
        name: placed(name),
        prefixes: prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect(),
        unknown: false,
    }
}

fn permission(actions: &[&str], not_actions: &[&str]) -> PermissionDraft {
    PermissionDraft { actions: list(actions), not_actions: list(not_actions) }
}

fn role(name: &str, inherits: &[&str], permissions: Vec<PermissionDraft>) -> RoleDraft {
    RoleDraft { name: placed(name), inherits: list(inherits), permissions }
}

fn group(name: &str, members: &[&str]) -> GroupDraft {
    GroupDraft { name: placed(name), members: list(members) }
}

fn grant(name: &str, role: &str, principals: &[&str], scope: &[&str]) -> AssignmentDraft {
    AssignmentDraft {
        name: placed(name),
        role: placed(role),
        principals: list(principals),
        scope: if scope == ["*"] { ScopeDraft::All } else { ScopeDraft::Routes(list(scope)) },
        ..AssignmentDraft::default()
    }
}

fn deny(name: &str, principals: &[&str], actions: &[&str], scope: &[&str]) -> DenyDraft {
    DenyDraft {
        name: placed(name),
        principals: list(principals),
        actions: list(actions),
        scope: if scope == ["*"] { ScopeDraft::All } else { ScopeDraft::Routes(list(scope)) },
        ..DenyDraft::default()
    }
}

/// A policy of which the lint says nothing, for each case to spoil.
fn sound() -> PolicyDraft {
    PolicyDraft {
        routes: vec![
            route("billing", &["billing.internal"], &["/api/**"]),
            route("export", &["billing.internal"], &["/api/export/**"]),
            route("docs", &["docs.internal"], &["/docs/**"]),
        ],
        networks: vec![network("office", &["203.0.113.0/24"]), network("partner", &["198.51.100.0/24"])],
        resources: vec![ResourceDraft { route: placed("billing"), ..ResourceDraft::default() }],
        roles: vec![
            role("reader", &[], vec![permission(&["GET /api/invoices/**"], &["GET /api/invoices/*/bank"])]),
            role("clerk", &[], vec![permission(&["POST,PUT /api/invoices/**"], &[])]),
        ],
        groups: vec![group("finance", &["user:alice", "group:emea"])],
        assignments: vec![
            grant("reads", "reader", &["group:finance"], &["billing"]),
            grant("writes", "clerk", &["user:bob"], &["billing"]),
        ],
        ..PolicyDraft::default()
    }
}

fn now() -> LintFacts {
    LintFacts { now: at(NOW), ..LintFacts::default() }
}

fn warnings_of(draft: &PolicyDraft, facts: &LintFacts) -> Vec<Problem> {
    let (policy, _) = Policy::compile(draft).unwrap_or_else(|problems| panic!("{problems:#?}"));
    lint(draft, &policy, facts)
}

/// The warnings of a spoiled policy are exactly these: kind, and a part of message and help.
fn check_with(case: &str, facts: &LintFacts, spoil: impl FnOnce(&mut PolicyDraft), expected: &[(Kind, &str)]) {
    let mut draft = sound();
    spoil(&mut draft);
    let found = warnings_of(&draft, facts);
    let told: Vec<(Kind, String)> = found
        .iter()
        .map(|each| (each.kind, format!("{} | {}", each.message, each.help.as_deref().unwrap_or_default())))
        .collect();
    assert!(found.iter().all(|each| each.severity == Severity::Warning), "{case}: {told:#?}");
    assert_eq!(told.len(), expected.len(), "{case}: {told:#?}");
    for (kind, text) in expected {
        let there = told.iter().any(|(found, message)| found == kind && message.contains(text));
        assert!(there, "{case}: no {kind:?} with `{text}` in {told:#?}");
    }
}

fn check(case: &str, spoil: impl FnOnce(&mut PolicyDraft), expected: &[(Kind, &str)]) {
    check_with(case, &now(), spoil, expected);
}

#[test]
fn of_a_sound_policy_nothing_is_said() {
    check("sound", |_| {}, &[]);
    assert_eq!(warnings_of(&PolicyDraft::default(), &LintFacts::default()), Vec::new());
}
