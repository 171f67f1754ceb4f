//! LP16 and LP17: roles that are there twice, and rules that never decide.

use portcullis_policy::{DenyDraft, Mode, NetworkDraft, ResourceDraft, RuleKind, ScopeDraft};

use super::{pairs, reader};
use crate::audit::Severity;
use crate::audit::tests::{DAY, NOW, Site};

#[test]
fn lp16_roles_that_are_there_twice() {
    let check = |common: usize, more: usize, expected: usize| {
        let mut site = Site::new();
        let all: Vec<String> = (0..common + more).map(|number| format!("GET /{number}")).collect();
        let texts: Vec<&str> = all.iter().map(String::as_str).collect();
        site.role("one", &texts[..common]);
        site.role("other", &texts);
        assert_eq!(site.found("LP16").len(), expected, "{common} {more}");
    };
    check(3, 0, 1);
    // A part that is written again is untidy, and no duplicate.
    check(3, 1, 1);
    check(19, 1, 1);
    check(18, 1, 1);
    check(1, 1, 0);
}

#[test]
fn lp16_a_role_that_is_written_again_in_a_larger_one() {
    let mut site = Site::new();
    site.role("reader", &["GET /a", "GET /b"]);
    site.role("editor", &["GET /a", "GET /b", "PUT /a", "PUT /b"]);
    site.role("owner", &["GET /a", "GET /b", "PUT /a", "PUT /b", "DELETE /a", "DELETE /b"]);
    site.role("other", &["GET /a", "POST /c"]);
    // Each is named once, with the smallest that has all of it.
    assert_eq!(site.found("LP16"), pairs(&[("", "editor"), ("", "reader")]));
    let report = site.run();
    let finding = report.findings.iter().find(|finding| finding.permission.as_deref() == Some("reader")).unwrap();
    assert_eq!(
        (finding.severity, finding.evidence.facts[0].as_str()),
        (Severity::Info, "all 2 permissions are among the 4 of `editor`")
    );
    // What is inherited is written once.
    for (role, parent) in [(1, "reader"), (2, "editor")] {
        site.draft.roles[role].inherits = vec![parent.to_owned().into()];
        site.draft.roles[role].permissions[0].actions.drain(..2 * role);
    }
    assert!(site.found("LP16").is_empty(), "{:?}", site.found("LP16"));
}

fn deny(name: &str, principals: &[&str], actions: &[&str]) -> DenyDraft {
    let all = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned().into()).collect();
    DenyDraft {
        name: name.to_owned().into(),
        principals: all(principals),
        actions: all(actions),
        scope: ScopeDraft::All,
        ..DenyDraft::default()
    }
}

#[test]
fn lp17_denies_that_another_one_includes() {
    let check = |change: &dyn Fn(&mut DenyDraft, &mut DenyDraft), expected: &[&str], what: &str| {
        let mut site = reader();
        site.group("interns", &["user:ivo"]);
        let mut wider = deny("wide", &["group:interns", "user:bob"], &["* /a/**", "GET,PUT /b"]);
        let mut narrow = deny("narrow", &["user:ivo"], &["DELETE /a/b", "PUT /b"]);
        change(&mut wider, &mut narrow);
        site.draft.denies = vec![wider, narrow];
        let found: Vec<String> = site.found("LP17").into_iter().map(|(_, name)| name).collect();
        assert_eq!(found, expected, "{what}");
    };
    check(&|_, _| {}, &["narrow"], "as it is");
    check(&|_, narrow| narrow.principals[0].value = "user:eve".to_owned(), &[], "somebody else");
    check(
        &|wider, _| wider.principals[0].value = "anyone".to_owned(),
        &["alice-reads", "narrow"],
        "everybody, and so what Alice is granted",
    );
    check(&|_, narrow| narrow.actions[1].value = "DELETE /b".to_owned(), &[], "another method");
    check(&|_, narrow| narrow.actions[1].value = "* /b".to_owned(), &[], "more methods");
    check(&|_, narrow| narrow.actions[0].value = "GET /c".to_owned(), &[], "another path");
    check(&|wider, _| wider.scope = ScopeDraft::Routes(vec!["app".to_owned().into()]), &[], "on one route");
    check(&|wider, _| wider.when.compliant_device = true, &[], "under a condition");
    check(
        &|wider, _| wider.expires = Some(super::super::now() + jiff::SignedDuration::from_hours(1)),
        &[],
        "for an hour",
    );
    check(&|wider, _| wider.mode = Mode::Shadow, &[], "the wider one is only tried");
    check(
        &|wider, narrow| *narrow = DenyDraft { name: "also".to_owned().into(), ..wider.clone() },
        &["wide"],
        "of two that say the same the later one",
    );
    check(&|_, narrow| narrow.expires = Some(super::super::now()), &["narrow"], "it is over");
    // One that has decided within the window is not called shadowed.
    let mut site = reader();
    site.draft.denies = vec![deny("narrow", &["user:ivo"], &["GET /c"]), deny("wide", &["anyone"], &["* /c"])];
    assert_eq!(site.found("LP17"), pairs(&[("", "narrow")]));
    site.usage.note_rule(RuleKind::Deny, "narrow", 1, NOW - 89 * DAY);
    assert!(site.found("LP17").is_empty());
    site.usage = super::super::observed(100);
    site.usage.note_rule(RuleKind::Deny, "narrow", 1, NOW - 91 * DAY);
    assert_eq!(site.found("LP17").len(), 1);
}

#[test]
fn lp17_resources_and_networks_that_decide_nothing() {
    let check = |allow: &[&str], deny: &[&str], expected: &[&str], what: &str| {
        let mut site = reader();
        let network = |name: &str, prefixes: &[&str], unknown: bool| NetworkDraft {
            name: name.to_owned().into(),
            prefixes: prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect(),
            unknown,
        };
        site.draft.networks = vec![
            network("berlin", &["5.6.7.0/24", "5.6.8.0/24"], false),
            network("berlin-again", &["5.6.7.0/24", "5.6.8.0/24"], false),
            network("floor", &["5.6.7.128/25"], false),
            network("fetched", &["5.6.0.0/16"], true),
        ];
        let all = |names: &[&str]| names.iter().map(|name| (*name).to_owned().into()).collect();
        site.draft.resources = vec![ResourceDraft {
            route: "app".to_owned().into(),
            allow: all(allow),
            deny: all(deny),
            ..ResourceDraft::default()
        }];
        let found: Vec<String> = site.found("LP17").into_iter().map(|(_, name)| name).collect();
        assert_eq!(found, expected, "{what}");
    };
    check(&["berlin", "floor"], &[], &["floor"], "it is within");
    check(&[], &["floor", "berlin"], &["floor"], "kept out anyway");
    check(&["floor"], &["berlin"], &[], "let in here and kept out there");
    check(&["berlin", "berlin-again"], &[], &["berlin-again"], "of two the later one");
    check(&["floor", "fetched"], &[], &[], "what is fetched changes by itself");
    check(&[], &[], &["app"], "every key has its default");
}

#[test]
fn lp17_rules_that_cannot_decide() {
    let mut site = reader();
    site.grant("z-again", "reader", &["user:alice"]);
    assert_eq!(site.found("LP17"), pairs(&[("", "z-again")]));
    site.usage.note_rule(RuleKind::Assignment, "z-again", 1, NOW - DAY);
    assert!(site.found("LP17").is_empty(), "it has decided");
}
