//! LP01, LP02, LP03 and LP06: what is held and not used.

use portcullis_policy::{ActivationRules, Mode};

use super::{pairs, reader};
use crate::audit::tests::{DAY, NOW, Site};
use crate::audit::{Activation, History, Severity};

#[test]
fn lp01_what_nobody_uses_goes_out_of_the_role() {
    let site = reader();
    assert_eq!(site.found("LP01"), pairs(&[("user:alice", "PUT /a")]));
    let report = site.run();
    let finding = report.findings.iter().find(|finding| finding.id == "LP01").unwrap();
    assert_eq!(finding.kind, "unused_permission");
    assert_eq!(finding.evidence.observed_since.as_deref(), Some("2026-08-15T12:00:00Z"));
    assert_eq!(finding.evidence.granted_at.as_deref(), Some("2025-10-19T12:00:00Z"));
    let recommendation = &finding.recommendation;
    let toml = "[[role]]\nname = \"reader\"\npermissions = [\n  { actions = [\"GET /a\"] },\n]";
    assert_eq!(recommendation.toml.as_deref(), Some(toml));
    let tried = recommendation.preview.as_ref().unwrap();
    assert_eq!((tried.uses, tried.newly_denied, tried.newly_permitted), (1, 0, 0));
    assert_eq!(
        (finding.place.as_ref().unwrap().file.as_str(), finding.place.as_ref().unwrap().line),
        ("policy.toml", 101)
    );
}

#[test]
fn nothing_is_unused_before_it_was_observed_or_granted_for_long_enough() {
    let check = |change: &dyn Fn(&mut Site), expected: usize, what: &str| {
        let mut site = reader();
        change(&mut site);
        assert_eq!(site.found("LP01").len(), expected, "{what}");
    };
    check(&|_| {}, 1, "as it is");
    // Used at the edge of the window, and a moment before it.
    check(&|site| site.uses("user:alice", "PUT /a", 90), 0, "used 90 days ago");
    check(&|site| site.uses("user:alice", "PUT /a", 91), 1, "used 91 days ago");
    let since = |days: i64| super::super::observed(days);
    let observed = |days: i64| {
        move |site: &mut Site| {
            site.usage = since(days);
            site.uses("user:alice", "GET /a", 1);
        }
    };
    check(&observed(90), 1, "observed for 90 days");
    check(&observed(89), 0, "observed for 89 days");
    let granted =
        |days: i64| move |site: &mut Site| site.history = Some(History::of_one(&site.draft, NOW - days * DAY));
    check(&granted(90), 1, "granted 90 days ago");
    check(&granted(89), 0, "granted 89 days ago");
    check(&|site| site.history = Some(History::default()), 0, "nobody knows since when");
    check(&|site| site.usage.note_missed(1, 0, NOW - DAY), 0, "some uses were missed a day ago");
    check(
        &|site| (0..300).for_each(|number| site.uses("user:alice", &format!("GET /{number}"), 1)),
        0,
        "she uses more than is kept",
    );
    check(&|site| site.draft.assignments[0].mode = Mode::Shadow, 0, "the grant is in shadow mode");
    let eligible = ActivationRules::of(60);
    check(&|site| site.draft.assignments[0].activation = Some(eligible), 0, "she is only eligible");
    let report = {
        let mut site = reader();
        observed(89)(&mut site);
        site.run()
    };
    assert!(report.not_looked_at["LP01"].contains("nothing is said before 90 days"), "{:?}", report.not_looked_at);
}

#[test]
fn lp01_what_peers_use_is_kept_and_what_hardly_any_uses_goes_from_those_who_do_not() {
    let mut site = Site::new();
    site.role("editor", &["GET /a", "PUT /a", "DELETE /a"]);
    let names: Vec<String> = (0..11).map(|number| format!("user:u{number:02}")).collect();
    let named: Vec<&str> = names.iter().map(String::as_str).collect();
    site.grant("editors", "editor", &named);
    names.iter().for_each(|name| site.uses(name, "GET /a", 1));
    // Two of eleven write: for each of the others two of ten peers do. One deletes.
    site.uses("user:u00", "PUT /a", 1);
    site.uses("user:u01", "PUT /a", 1);
    site.uses("user:u00", "DELETE /a", 1);
    let found = site.found("LP01");
    let of = |action: &str| found.iter().filter(|(_, permission)| permission == action).count();
    assert_eq!((of("GET /a"), of("PUT /a"), of("DELETE /a")), (0, 0, 10), "{found:?}");
    let report = site.run();
    let finding = report.findings.iter().find(|finding| finding.principal.as_deref() == Some("user:u05")).unwrap();
    assert_eq!(finding.evidence.peers.as_deref(), Some("1 of 10 others who hold it used it"));
    let toml = finding.recommendation.toml.as_deref().unwrap();
    assert!(toml.contains("actions = [\"GET /a\", \"PUT /a\"]"), "{toml}");
    assert!(toml.contains("principals = [\"user:u05\"]") && !toml.contains("DELETE"), "{toml}");
}

#[test]
fn right_sizing_takes_roles_that_are_there() {
    let mut site = Site::new();
    site.role("admin", &["GET /a", "PUT /a", "DELETE /a", "* /b"]);
    site.role("reader", &["GET /a"]);
    site.draft.roles[0].permissions[0].actions.remove(0);
    site.draft.roles[0].inherits = vec!["reader".to_owned().into()];
    site.grant("admins", "admin", &["user:alice", "user:bob"]);
    site.uses("user:alice", "GET /a", 1);
    for action in ["GET /a", "PUT /a", "DELETE /a", "GET /b"] {
        site.uses("user:bob", action, 1);
    }
    site.settings.keep_share = 1.1;
    let report = site.run();
    let finding = report.findings.iter().find(|finding| finding.principal.as_deref() == Some("user:alice")).unwrap();
    let toml = finding.recommendation.toml.as_deref().unwrap();
    assert!(toml.contains("role = \"reader\"\nprincipals = [\"user:alice\"]") && !toml.contains("narrowed"), "{toml}");
}

#[test]
fn lp02_a_role_of_which_nothing_is_used_is_taken_back() {
    let mut site = reader();
    site.role("writer", &["POST /b"]);
    site.grant("writers", "writer", &["user:alice", "user:bob"]);
    site.uses("user:bob", "POST /b", 1);
    assert_eq!(site.found("LP02"), pairs(&[("user:alice", "writer")]));
    // By a group: it goes where nothing of the group is used.
    let mut site = reader();
    site.role("writer", &["POST /b"]);
    site.group("staff", &["user:alice", "user:bob"]);
    site.grant("writers", "writer", &["group:staff"]);
    site.uses("user:bob", "POST /b", 1);
    let report = site.run();
    let finding = report.findings.iter().find(|finding| finding.id == "LP02").unwrap();
    assert_eq!(finding.recommendation.toml.as_deref(), Some("[[group]]\nname = \"staff\"\nmembers = [\"user:bob\"]"));
    site.role("viewer", &["GET /c"]);
    site.grant("viewers", "viewer", &["group:staff"]);
    site.uses("user:alice", "GET /c", 1);
    let report = site.run();
    let finding = report.findings.iter().find(|finding| finding.id == "LP02").unwrap();
    assert!(finding.recommendation.toml.is_none() && finding.recommendation.change.contains("other grants are used"));
}

#[test]
fn lp03_whoever_makes_no_request_is_dormant() {
    let mut site = reader();
    site.grant("bob-reads", "reader", &["user:bob"]);
    assert_eq!(site.found("LP03"), pairs(&[("user:bob", "")]));
    assert!(site.found("LP02").is_empty(), "said once");
    // A refusal is a request, too.
    site.note("user:bob", "app", "GET /z", false, 90);
    assert!(site.found("LP03").is_empty());
}

#[test]
fn lp06_whoever_uses_little_of_much_holds_too_much() {
    let check = |used: &[&str], expected: Option<Severity>| {
        let mut site = Site::new();
        site.role("all", &["GET /a", "GET /b", "GET /c", "GET /d", "GET /e"]);
        site.grant("alice", "all", &["user:alice"]);
        used.iter().for_each(|action| site.uses("user:alice", action, 1));
        let report = site.run();
        let found = report.findings.iter().find(|finding| finding.id == "LP06");
        assert_eq!(found.map(|finding| finding.severity), expected, "{used:?}");
    };
    check(&[], None);
    check(&["GET /a"], Some(Severity::Low));
    check(&["GET /a", "GET /b"], Some(Severity::Low));
    check(&["GET /a", "GET /b", "GET /c"], None);
    let mut site = Site::new();
    site.role("all", &["GET /a", "* /b/**", "DELETE /c/**", "DELETE /d/**"]);
    site.grant("alice", "all", &["user:alice"]);
    site.uses("user:alice", "GET /a", 1);
    let report = site.run();
    let finding = report.findings.iter().find(|finding| finding.id == "LP06").unwrap();
    assert_eq!(finding.severity, Severity::Medium);
    assert!(finding.evidence.facts[0].starts_with("permission creep index 97 of 100"), "{:?}", finding.evidence);
}

/// A role that a credential carries is looked at, too; nothing is proposed of it, since no line of the policy gives it to anybody alone.
#[test]
fn a_role_that_a_credential_carries_counts_from_when_it_was_seen() {
    let site_of = |days: i64| {
        let mut site = Site::new();
        site.role("clerk", &["GET /a", "PUT /a"]);
        site.role("idle", &["GET /b"]);
        for day in (1..=days).rev() {
            let who = super::super::who("user:hana").unwrap().with_role("clerk").with_role("idle");
            site.usage.note(Some(&who), ("app", "GET /a"), true, 1, NOW - day * DAY);
        }
        site
    };
    assert!(site_of(89).found("LP01").is_empty() && site_of(89).found("LP02").is_empty());
    let report = site_of(90).run();
    let of = |id: &str| report.findings.iter().filter(|finding| finding.id == id).collect::<Vec<_>>();
    assert_eq!((of("LP01").len(), of("LP02").len()), (1, 1), "{:?}", report.findings);
    assert!(of("LP02")[0].message.contains("by its credential"), "{:?}", of("LP02"));
    assert_eq!(of("LP02")[0].recommendation.change, "take the role out of its credential");
    assert!(of("LP02")[0].recommendation.toml.is_none());
}

/// What a member of a group does not use goes by a split: the group keeps what enough of it use, and who uses the rest has it by name.
#[test]
fn a_group_is_split_by_what_its_members_use() {
    let mut site = Site::new();
    site.role("clerk", &["GET /common", "GET /rare", "DELETE /never"]);
    let names: Vec<String> = (0..10).map(|number| format!("user:m{number}")).collect();
    site.group("hr", &names.iter().map(String::as_str).collect::<Vec<_>>());
    let grant = site.grant("clerks", "clerk", &["group:hr"]);
    grant.when.assurance_mfa = true;
    names.iter().for_each(|name| site.uses(name, "GET /common", 1));
    site.uses("user:m0", "GET /rare", 2);
    let report = site.run();
    let of = |who: &str| {
        let found = report.findings.iter().filter(|finding| finding.id == "LP01");
        found.filter(|finding| finding.principal.as_deref() == Some(who)).collect::<Vec<_>>()
    };
    assert!(of("user:m0").is_empty(), "what nobody uses is said once: {:?}", of("user:m0"));
    let [rare] = of("user:m1")[..] else { panic!("{:?}", report.findings) };
    assert_eq!(rare.permission.as_deref(), Some("GET /rare"));
    let after = rare.tried(&site.draft).unwrap();
    let held: Vec<(String, Vec<&str>, bool)> = after
        .assignments
        .iter()
        .map(|each| {
            let role = after.roles.iter().find(|role| role.name.value == each.role.value).unwrap();
            let actions = role.permissions.iter().flat_map(|permission| &permission.actions);
            let actions: Vec<&str> = actions.map(|action| action.value.as_str()).collect();
            let whom: Vec<&str> = each.principals.iter().map(|principal| principal.value.as_str()).collect();
            (whom.join(" "), actions, each.when.assurance_mfa)
        })
        .collect();
    let expected =
        [("group:hr".to_owned(), vec!["GET /common"], true), ("user:m0".to_owned(), vec!["GET /rare"], true)];
    assert_eq!(held, expected);
    assert_eq!(rare.recommendation.preview.as_ref().unwrap().newly_denied, 0);
    let toml = rare.recommendation.toml.as_deref().unwrap();
    assert!(toml.contains("# remove [[assignment]] clerks: nobody is left in it"), "{toml}");
}

/// What has to be activated and never is, is held without need, too.
#[test]
fn lp02_of_an_eligible_assignment_that_nobody_activates() {
    let check = |change: &dyn Fn(&mut Site), expected: &[&str], what: &str| {
        let mut site = reader();
        site.role("root", &["* /root"]);
        site.grant("oncall", "root", &["user:ann", "user:ben", "group:sre"]).activation =
            Some(ActivationRules::of(3_600));
        change(&mut site);
        let found: Vec<String> = site.found("LP02").into_iter().map(|(who, _)| who).collect();
        assert_eq!(found, expected, "{what}");
    };
    let activated = |principal: &str, days: i64| Activation {
        principal: principal.to_owned(),
        assignment: "oncall".to_owned(),
        at: NOW - days * DAY,
    };
    check(&|_| {}, &["group:sre", "user:ann", "user:ben"], "nobody ever did");
    check(
        &|site| site.activations = Some(vec![activated("user:ann", 90)]),
        &["user:ben"],
        "one of them did, as may have others of the group",
    );
    check(
        &|site| site.activations = Some(vec![activated("user:ann", 91)]),
        &["group:sre", "user:ann", "user:ben"],
        "too long ago",
    );
    check(
        &|site| site.activations = Some(vec![activated("user:eve", 1)]),
        &["user:ann", "user:ben"],
        "somebody of the group did",
    );
    check(&|site| site.history = Some(History::of_one(&site.draft, NOW - 89 * DAY)), &[], "it is too young");
    check(&|site| site.draft.assignments[1].mode = Mode::Shadow, &[], "it is only tried");
    check(&|site| site.activations = None, &[], "nobody writes it down");
    let mut site = reader();
    site.grant("oncall", "reader", &["user:ann"]).activation = Some(ActivationRules::of(3_600));
    let report = site.run();
    let finding = report.findings.iter().find(|finding| finding.id == "LP02").unwrap();
    assert_eq!(finding.message, "`user:ann` could activate `reader` by `oncall` and has not for 90 days");
    assert_eq!(finding.recommendation.toml.as_deref(), Some("# remove [[assignment]] oncall: nobody is left in it"));
    site.activations = None;
    assert!(site.run().not_looked_at["LP02"].contains("no record of activations"));
}
