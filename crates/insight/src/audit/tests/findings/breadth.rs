//! LP05, LP13, LP14 and LP15: grants, routes and networks that reach too far.

use portcullis_policy::{AuthenticationRule, Mode, NetworkDraft, ResourceDraft, ScopeDraft, WhenDraft};

use super::{pairs, reader};
use crate::audit::Severity;
use crate::audit::tests::{DAY, NOW, Site};

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
