//! LP07 and LP18: what peers do not hold, and what they do.

use crate::audit::Severity;
use crate::audit::tests::{Site, at};

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
