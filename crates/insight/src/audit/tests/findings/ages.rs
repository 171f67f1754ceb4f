//! Since when something is granted, and how long it was observed.

use std::sync::Arc;

use super::reader;
use crate::audit::tests::{DAY, NOW, Site};
use crate::audit::{GrantSet, History, PastVersion};

/// Whoever came into a group lately has held nothing of it for long, whether a credential or another group says so.
#[test]
fn a_member_is_as_old_a_member_as_is_known() {
    let came = |site: &mut Site, days: i64| {
        for day in (1..=days).rev() {
            let who = super::super::who("user:hana").unwrap().in_group("hr");
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
    let other = super::super::who("user:hana").unwrap().in_group("it");
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
