//! One finding after another: when it is made, when it is not, and the border between the two.

use std::sync::Arc;

use portcullis_policy::{
    ActivationRules, AuthenticationRule, ExclusiveDraft, Mode, NetworkDraft, ResourceDraft, ScopeDraft, WhenDraft,
};

use super::{DAY, NOW, Site, at, open};
use crate::audit::{BreakGlassUse, GrantSet, History, KnownPrincipals, PastVersion, PolicyWriters, Severity};

fn pairs(found: &[(&str, &str)]) -> Vec<(String, String)> {
    found.iter().map(|(one, other)| ((*one).to_owned(), (*other).to_owned())).collect()
}

/// Alice holds a role of two actions by name, and uses one of them.
fn reader() -> Site {
    let mut site = Site::new();
    site.role("reader", &["GET /a", "PUT /a"]);
    site.grant("alice-reads", "reader", &["user:alice"]);
    site.uses("user:alice", "GET /a", 1);
    site
}

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
    let since = |days: i64| super::observed(days);
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
fn lp04_who_is_nobody_is_an_orphan_only_where_all_sources_are_known() {
    let mut site = reader();
    site.grant("ci-reads", "reader", &["service:ci", "service:gone"]);
    site.uses("service:ci", "GET /a", 1);
    assert!(site.found("LP04").is_empty(), "tokens may name anybody");
    let users = open().into_iter().filter(|(kind, _)| kind.as_str() == "user").collect();
    site.known =
        KnownPrincipals { listed: ["service:ci".to_owned()].into(), open: users, ..KnownPrincipals::default() };
    assert_eq!(site.found("LP04"), pairs(&[("service:gone", "")]));
    site.known.gone = vec![("service:ci".to_owned(), "its only key is revoked".to_owned())];
    let absent = "the directory `people` was asked and has no such entry";
    site.known.gone.push(("user:alice".to_owned(), absent.to_owned()));
    // Whoever came within a day is somebody.
    assert_eq!(site.found("LP04"), pairs(&[("service:gone", "")]));
    let mut late = super::observed(100);
    std::mem::swap(&mut site.usage, &mut late);
    assert_eq!(site.found("LP04"), pairs(&[("service:ci", ""), ("service:gone", ""), ("user:alice", "")]));
}

#[test]
fn lp04_groups_of_a_directory_are_there_empty_or_nobody_knows() {
    let mut site = reader();
    site.grant("team-reads", "reader", &["group:ad:billing", "group:ad:old", "group:ad:idle"]);
    assert!(site.found("LP04").is_empty(), "nobody was asked");
    site.known.gone = vec![("group:ad:old".to_owned(), "the directory `people` has no such group".to_owned())];
    site.known.empty = vec![("group:ad:idle".to_owned(), "the directory `people` has nobody in it".to_owned())];
    assert_eq!(site.found("LP04"), pairs(&[("group:ad:old", ""), ("group:ad:idle", "")]), "the worst first");
    let report = site.run();
    let of = |who: &str| report.findings.iter().find(|finding| finding.principal.as_deref() == Some(who)).unwrap();
    let (old, idle) = (of("group:ad:old"), of("group:ad:idle"));
    assert!(old.severity == Severity::High && old.recommendation.toml.is_some(), "{old:?}");
    // Somebody may come into it tomorrow.
    assert!(idle.severity == Severity::Low && idle.recommendation.toml.is_none(), "{idle:?}");
    site.known.unasked = vec!["the directory `people` could not be asked: it is gone".to_owned()];
    assert!(site.run().not_looked_at["LP04"].contains("could not be asked"));
}

#[test]
fn lp05_everything_everywhere_is_a_wildcard() {
    let mut site = Site::new();
    site.role("root", &["* /**"]);
    site.role("wide", &["* /a/**", "GET /**"]);
    site.grant("ops", "root", &["user:alice"]);
    site.grant("others", "wide", &["user:alice"]);
    site.uses("user:alice", "GET /**", 1);
    site.uses("user:alice", "PUT /**", 1);
    assert_eq!(site.found("LP05"), pairs(&[("", "* /**"), ("", "* /a/**")]), "the worst first");
    let report = site.run();
    let finding = report.findings.iter().find(|finding| finding.id == "LP05").unwrap();
    assert_eq!(finding.severity, Severity::High);
    assert!(finding.recommendation.toml.as_deref().unwrap().contains("actions = [\"GET,PUT /**\"]"), "{finding:?}");
    // A method that is not told apart: then nobody can say which are needed.
    site.uses("user:alice", "* /**", 1);
    let report = site.run();
    assert!(report.findings.iter().find(|finding| finding.id == "LP05").unwrap().recommendation.toml.is_none());
}

/// Writing out the methods, taking one thing out, or beginning one segment lower does not make it narrow.
#[test]
fn lp05_is_not_evaded_by_another_form() {
    let check = |actions: &[&str], except: &[&str], expected: &[(&str, Severity)]| {
        let mut site = Site::new();
        site.role("wide", actions);
        site.draft.roles[0].permissions[0].not_actions = except.iter().map(|text| (*text).to_owned().into()).collect();
        site.grant("ops", "wide", &["user:alice"]);
        let report = site.run();
        let found: Vec<(&str, Severity)> = report
            .findings
            .iter()
            .filter(|finding| finding.id == "LP05")
            .map(|finding| (finding.permission.as_deref().unwrap(), finding.severity))
            .collect();
        assert_eq!(found, expected, "{actions:?} {except:?}");
    };
    check(&["GET,POST,PUT,PATCH,DELETE /**"], &[], &[("GET,POST,PUT,PATCH,DELETE /**", Severity::High)]);
    check(&["POST,PUT,DELETE /**"], &[], &[("POST,PUT,DELETE /**", Severity::High)]);
    check(&["* /**"], &["GET /harmless"], &[("* /**", Severity::High)]);
    check(&["* /api/**"], &[], &[("* /api/**", Severity::Medium)]);
    check(&["* /api"], &[], &[("* /api", Severity::Medium)]);
    check(&["GET,POST,PUT /**"], &[], &[]);
    check(&["GET,POST,PUT,PATCH,DELETE /api/**"], &[], &[]);
    check(&["GET /**"], &[], &[]);
}

#[test]
fn lp05_many_more_routes_than_are_used() {
    let check = |routes: usize, expected: usize| {
        let mut site = reader();
        for number in 0..routes - 2 {
            let mut route = portcullis_policy::RouteDraft::new(&format!("r{number}"), ["/**"]);
            route.hosts = vec![format!("h{number}.test").into()];
            site.draft.routes.push(route);
        }
        assert_eq!(site.found("LP05").len(), expected, "{routes}");
        site
    };
    check(4, 0);
    let report = check(5, 1).run();
    let finding = report.findings.iter().find(|finding| finding.id == "LP05").unwrap();
    assert!(finding.recommendation.toml.as_deref().unwrap().contains("scope = \"app\""), "{finding:?}");
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

#[test]
fn lp07_a_role_that_no_peer_holds_is_out_of_the_ordinary() {
    let check = |peers: usize, others: usize, expected: usize| {
        let mut site = Site::new();
        site.role("staff", &["GET /a"]);
        site.role("odd", &["GET /b"]);
        let names: Vec<String> = (0..=peers).map(|number| format!("user:u{number:02}")).collect();
        let named: Vec<&str> = names.iter().map(String::as_str).collect();
        site.group("team", &named);
        site.grant("all", "staff", &["group:team"]);
        site.grant("some", "odd", &named[..=others]);
        names.iter().for_each(|name| {
            site.uses(name, "GET /a", 1);
            site.uses(name, "GET /b", 1);
        });
        assert_eq!(site.found("LP07").len(), expected, "{peers} {others}");
    };
    check(10, 0, 1);
    check(9, 0, 0);
    // One of twenty others is 5 %, and one of twenty-one is less.
    check(20, 1, 0);
    check(21, 1, 2);
}

fn versions(
    count: usize,
    gives: impl Fn(usize) -> Vec<String>,
    at: impl Fn(usize) -> i64,
    by: impl Fn(usize) -> &'static str,
    site: &Site,
) -> History {
    let mut draft = site.draft.clone();
    draft.assignments[0].principals.clear();
    let mut past = vec![PastVersion {
        n: 1,
        at: NOW - 200 * DAY,
        by: vec!["ana".to_owned()],
        grants: Arc::new(GrantSet::of(&draft)),
    }];
    for number in 0..count {
        draft.assignments[0].principals.extend(gives(number).into_iter().map(Into::into));
        past.push(PastVersion {
            n: number as u64 + 2,
            at: at(number),
            by: vec![by(number).to_owned()],
            grants: Arc::new(GrantSet::of(&draft)),
        });
    }
    History::new(past)
}

#[test]
fn lp08_grants_by_strangers_at_night_and_in_numbers_are_out_of_the_ordinary() {
    let last = 20;
    let check = |hour: i64, by: &'static str, many: usize, reasons: &[&str]| {
        let mut site = Site::new();
        site.role("reader", &["GET /a"]);
        let gives = |number: usize| {
            let count = if number == last { many } else { 1 };
            (0..count).map(|each| format!("user:u{number}-{each}")).collect::<Vec<_>>()
        };
        let all: Vec<String> = (0..=last).flat_map(gives).collect();
        let named: Vec<&str> = all.iter().map(String::as_str).collect();
        site.grant("readers", "reader", &named);
        // One a week, at noon of a Monday; the last one yesterday was a Sunday, so it is put on the Friday before.
        let when = |number: usize| match number == last {
            true => NOW - 3 * DAY + (hour - 12) * 3_600,
            false => NOW - 7 * DAY * (last - number + 1) as i64,
        };
        site.history = Some(versions(last + 1, gives, when, |number| if number == last { by } else { "ana" }, &site));
        let report = site.run();
        let found: Vec<_> = report.findings.iter().filter(|finding| finding.id == "LP08").collect();
        assert_eq!(found.len(), if reasons.is_empty() { 0 } else { many }, "{hour} {by} {many}");
        for reason in reasons {
            assert!(found[0].evidence.facts.iter().any(|fact| fact.contains(reason)), "{:?}", found[0].evidence.facts);
        }
    };
    check(12, "ana", 1, &[]);
    check(14, "ana", 1, &[]);
    check(15, "ana", 1, &["around 15:00 UTC"]);
    check(12, "eve", 1, &["by `eve`, who made none"]);
    check(12, "ana", 4, &[]);
    check(12, "ana", 5, &["5 grants in 7 days"]);
    check(3, "eve", 6, &["6 grants", "around 3:00", "by `eve`"]);
}

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
    site.grant("old", "reader", &["user:alice"]).expires = Some(super::now());
    site.grant("young", "reader", &["user:alice"]).expires = Some(super::now() + jiff::SignedDuration::from_secs(1));
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

#[test]
fn lp12_power_for_emergencies_is_looked_at_within_a_day() {
    let mut site = reader();
    assert!(site.run().not_looked_at.contains_key("LP12"));
    let used =
        |at: i64, reviewed| BreakGlassUse { principal: format!("user:{at}"), at, what: "root".to_owned(), reviewed };
    site.break_glass = Some(vec![used(NOW - DAY, false), used(NOW - DAY - 1, false), used(NOW - 9 * DAY, true)]);
    assert_eq!(site.found("LP12"), pairs(&[(&format!("user:{}", NOW - DAY - 1), "root")]));
}

#[test]
fn lp13_routes_that_anybody_reaches() {
    let check = |authentication, to: &str, public: bool, networks: bool, expected: usize| {
        let mut site = reader();
        site.grant("open", "reader", &[to]).scope = ScopeDraft::Routes(vec!["other".to_owned().into()]);
        site.draft.networks = vec![NetworkDraft {
            name: "office".to_owned().into(),
            prefixes: vec!["5.1.2.0/24".parse().unwrap()],
            unknown: false,
        }];
        let mut resource =
            ResourceDraft { route: "other".to_owned().into(), authentication, ..ResourceDraft::default() };
        resource.public.value = public;
        if networks {
            resource.allow = vec!["office".to_owned().into()];
        }
        site.draft.resources = vec![resource];
        assert_eq!(site.found("LP13").len(), expected, "{authentication:?} {to} {public} {networks}");
    };
    use AuthenticationRule::{None, Optional, Required};
    check(Required, "user:alice", false, false, 0);
    check(Required, "authenticated", false, false, 1);
    check(Required, "authenticated", true, false, 0);
    check(Required, "authenticated", false, true, 0);
    check(Optional, "anyone", false, false, 1);
    check(None, "anyone", false, false, 1);
    check(None, "anyone", false, true, 1);
    check(None, "anyone", true, false, 0);
    let mut site = reader();
    site.grant("mfa", "reader", &["authenticated"]).when = WhenDraft { assurance_mfa: true, ..WhenDraft::default() };
    assert!(site.found("LP13").is_empty(), "a condition is a condition");
}

fn with_networks(prefixes: &[&str]) -> Site {
    let mut site = reader();
    let prefixes = prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect();
    site.draft.networks = vec![NetworkDraft { name: "office".to_owned().into(), prefixes, unknown: false }];
    site.draft.resources = vec![ResourceDraft {
        route: "other".to_owned().into(),
        allow: vec!["office".to_owned().into()],
        ..ResourceDraft::default()
    }];
    site
}

#[test]
fn lp14_very_large_prefixes_and_bogons() {
    let mut site = with_networks(&["5.0.0.0/15", "5.2.0.0/16", "203.0.113.0/24"]);
    assert_eq!(site.found("LP14"), pairs(&[("", "203.0.113.0/24"), ("", "5.0.0.0/15")]));
    site.draft.resources[0].mode = Mode::Shadow;
    assert!(site.found("LP14").is_empty(), "it lets nobody in");
}

#[test]
fn lp15_prefixes_that_nobody_comes_from() {
    let mut site = with_networks(&["5.1.0.0/24", "5.2.0.0/24", "5.3.0.0/32", "2a00::/48", "2a01::7/128"]);
    for (address, days) in [("5.1.0.7", 90), ("5.2.0.7", 91), ("2a01::9", 1)] {
        site.usage.note_address(address.parse().unwrap(), 1, NOW - days * DAY);
    }
    // Of IPv6 the /64 is known, and no more.
    assert_eq!(site.found("LP15"), pairs(&[("", "2a00::/48"), ("", "5.2.0.0/24"), ("", "5.3.0.0/32")]));
    let report = site.run();
    let finding = report.findings.iter().find(|finding| finding.permission.as_deref() == Some("5.2.0.0/24")).unwrap();
    // Its table may name a file: so the table is not written anew.
    assert_eq!(
        finding.recommendation.toml.as_deref(),
        Some("# [[network]] office: take \"5.2.0.0/24\" out of `addresses`, or out of its file")
    );
    site.usage.note_missed(0, 1, NOW - DAY);
    assert!(site.found("LP15").is_empty() && site.found("LP01").len() == 1, "only addresses were missed");
    // What also keeps somebody out does not get smaller.
    let mut site = with_networks(&["5.1.0.0/24", "5.2.0.0/24"]);
    site.usage.note_address("5.1.0.7".parse().unwrap(), 1, NOW);
    site.draft.resources[0].deny = vec!["office".to_owned().into()];
    let report = site.run();
    assert!(report.findings.iter().find(|finding| finding.id == "LP15").unwrap().recommendation.toml.is_none());
}

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
    check(3, 1, 0);
    check(19, 1, 1);
    check(18, 1, 0);
}

#[test]
fn lp17_rules_that_cannot_decide() {
    let mut site = reader();
    site.grant("z-again", "reader", &["user:alice"]);
    assert_eq!(site.found("LP17"), pairs(&[("", "z-again")]));
    site.usage.note_rule(portcullis_policy::RuleKind::Assignment, "z-again", 1, NOW - DAY);
    assert!(site.found("LP17").is_empty(), "it has decided");
}

#[test]
fn lp18_who_is_refused_what_most_peers_may() {
    let check = |denials: u32, holding: usize, expected: usize| {
        let mut site = Site::new();
        site.role("staff", &["GET /a"]);
        site.role("reports", &["GET /reports/**"]);
        site.group("team", &["user:u0", "user:u1", "user:u2", "user:u3", "user:u4"]);
        site.grant("all", "staff", &["group:team"]);
        let names = ["user:u1", "user:u2", "user:u3", "user:u4"];
        site.grant("reporters", "reports", &names[..holding]);
        (0..denials).for_each(|_| site.note("user:u0", "app", "GET /reports/**", false, 1));
        assert_eq!(site.found("LP18").len(), expected, "{denials} {holding}");
        site
    };
    check(4, 4, 0);
    check(5, 1, 0);
    check(5, 2, 1);
    let report = check(5, 4, 1).run();
    let finding = report.findings.iter().find(|finding| finding.id == "LP18").unwrap();
    assert_eq!((finding.severity, finding.evidence.denials), (Severity::Info, Some(5)));
    let toml = finding.recommendation.toml.as_deref().unwrap();
    assert!(toml.contains("\"user:u4\", \"user:u0\"]"), "{toml}");
    let _ = at(1);
}

/// Whoever came into a group lately has held nothing of it for long, whether a credential or another group says so.
#[test]
fn a_member_is_as_old_a_member_as_is_known() {
    let came = |site: &mut Site, days: i64| {
        for day in (1..=days).rev() {
            let who = super::who("user:hana").unwrap().in_group("hr");
            site.usage.note(Some(&who), ("app", "GET /a"), true, 1, NOW - day * DAY);
        }
    };
    let site_of = |days: i64| {
        let mut site = Site::new();
        site.role("clerk", &["GET /a", "PUT /a"]);
        site.grant("clerks", "clerk", &["group:hr"]);
        came(&mut site, days);
        site
    };
    let check = |days: i64, expected: usize| {
        let mut site = site_of(days);
        site.settings.keep_share = 1.1;
        assert_eq!(site.found("LP01").len(), expected, "a member for {days} days");
    };
    check(3, 0);
    check(89, 0);
    check(90, 1);
    // A credential that names another group, and this one again: since then.
    let mut site = site_of(95);
    let other = super::who("user:hana").unwrap().in_group("it");
    site.usage.note(Some(&other), ("app", "GET /a"), true, 1, NOW - DAY / 2);
    site.usage.note(Some(&other.in_group("hr")), ("app", "GET /a"), true, 1, NOW - DAY / 4);
    assert!(site.found("LP01").is_empty());
    // A group in a group: the latest link of the way.
    let mut site = Site::new();
    site.role("clerk", &["GET /a", "PUT /a"]);
    site.grant("clerks", "clerk", &["group:all"]);
    site.group("all", &["group:hr"]);
    site.group("hr", &[]);
    site.uses("user:hana", "GET /a", 1);
    let before = GrantSet::of(&site.draft);
    site.draft.groups[1].members.push("user:hana".to_owned().into());
    let after = GrantSet::of(&site.draft);
    let history = |days: i64| {
        let version = |n: u64, days: i64, grants: &GrantSet| PastVersion {
            n,
            at: NOW - days * DAY,
            by: Vec::new(),
            grants: Arc::new(grants.clone()),
        };
        Some(History::new(vec![version(1, 400, &before), version(2, days, &after)]))
    };
    for (days, expected) in [(3, 0), (89, 0), (90, 1)] {
        site.history = history(days);
        assert_eq!(site.found("LP01").len(), expected, "in a group of the group for {days} days");
    }
}

/// A role that a credential carries is looked at, too; nothing is proposed of it, since no line of the policy gives it to anybody alone.
#[test]
fn a_role_that_a_credential_carries_counts_from_when_it_was_seen() {
    let site_of = |days: i64| {
        let mut site = Site::new();
        site.role("clerk", &["GET /a", "PUT /a"]);
        site.role("idle", &["GET /b"]);
        for day in (1..=days).rev() {
            let who = super::who("user:hana").unwrap().with_role("clerk").with_role("idle");
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

/// Downtime, a standby that nobody asks, and a clock that was wrong are no observation: the window counts what was observed.
#[test]
fn only_what_was_observed_counts() {
    let site_of = |spans: &[(i64, i64)], used: i64| {
        let mut site = reader();
        site.usage = crate::audit::usage::Usage::beginning(NOW - 200 * DAY);
        spans.iter().for_each(|(from, until)| site.usage.observe(NOW - from * DAY, NOW - until * DAY));
        site.uses("user:alice", "GET /a", 1);
        site.uses("user:alice", "PUT /a", used);
        site
    };
    let found = |site: &Site| site.found("LP01").len();
    assert_eq!(found(&site_of(&[(200, 0)], 95)), 1, "without a break");
    // Stopped for 80 days: 90 days that were observed began 170 days ago.
    assert_eq!(found(&site_of(&[(200, 85), (5, 0)], 180)), 1);
    assert_eq!(found(&site_of(&[(200, 85), (5, 0)], 165)), 0, "used within the 90 days that were observed last");
    let short = site_of(&[(90, 85), (5, 0)], 95).run();
    let why = &short.not_looked_at["LP01"];
    assert!(why.contains("observed for 10 of the 200 days since then"), "{why}");
    assert_eq!(short.observed_days, Some(10));
    let lines = crate::audit::text(&site_of(&[(200, 85), (5, 0)], 180).run()).join("\n");
    assert!(lines.contains("(observed for 120 of 200 days)"), "{lines}");
    // A first start under a clock of 1970, until it was set.
    let mut site = reader();
    site.usage = crate::audit::usage::Usage::beginning(60);
    (60..400).for_each(|second| site.usage.beat(second));
    site.usage.observe(NOW - 2 * DAY, NOW);
    site.uses("user:alice", "GET /a", 1);
    assert_eq!(found(&site), 0);
    // What is said to begin next year.
    let mut site = reader();
    site.usage.begin(NOW + 365 * DAY);
    assert!(site.run().not_looked_at["LP01"].contains("which is yet to come"));
    site.usage.clamp(NOW);
    assert_eq!(site.usage.since(), Some(NOW));
    // What was used is forgotten beyond some time, and of before nothing is said.
    let mut site = site_of(&[(200, 85), (5, 0)], 180);
    site.usage.prune(NOW - 100 * DAY);
    assert!(site.run().not_looked_at["LP01"].contains("is forgotten"));
}

/// A log of versions that does not reach back far enough is said, where nothing can be found for that reason alone.
#[test]
fn a_log_that_is_too_short_is_said() {
    let mut site = reader();
    assert!(!site.run().not_looked_at.contains_key("LP01"));
    let mut history = History::of_one(&site.draft, NOW - 80 * DAY);
    history.note_gap("the log of versions is read 400 versions back".to_owned());
    site.history = Some(history);
    let report = site.run();
    for kind in ["LP01", "LP02", "LP03", "LP06"] {
        let why = &report.not_looked_at[kind];
        assert!(why.contains("400 versions back") && why.contains("nothing is known to be that old"), "{why}");
    }
    site.history = Some(History::default());
    assert!(site.run().not_looked_at["LP01"].contains("no log of versions"));
    // Five changes a day for 400 days: as old as the first.
    let mut history = History::default();
    let grants = Arc::new(GrantSet::of(&site.draft));
    for n in 0..2_000 {
        let at = NOW - 400 * DAY + i64::try_from(n).unwrap() * DAY / 5;
        history.push(PastVersion { n: n + 1, at, by: Vec::new(), grants: grants.clone() });
    }
    site.history = Some(history);
    assert_eq!(site.found("LP01").len(), 1);
}
