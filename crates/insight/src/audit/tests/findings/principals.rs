//! LP04 and LP12: who is nobody, and what nobody has looked at.

use super::{pairs, reader};
use crate::audit::tests::{DAY, NOW, open};
use crate::audit::{BreakGlassUse, KnownPrincipals, Severity};

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
    let mut late = super::super::observed(100);
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
fn lp12_power_for_emergencies_is_looked_at_within_a_day() {
    let mut site = reader();
    assert!(site.run().not_looked_at.contains_key("LP12"));
    let used =
        |at: i64, reviewed| BreakGlassUse { principal: format!("user:{at}"), at, what: "root".to_owned(), reviewed };
    site.break_glass = Some(vec![used(NOW - DAY, false), used(NOW - DAY - 1, false), used(NOW - 9 * DAY, true)]);
    assert_eq!(site.found("LP12"), pairs(&[(&format!("user:{}", NOW - DAY - 1), "root")]));
}
