//! LP03 of keys: those that nobody uses, whoever they stand for.

use super::reader;
use crate::audit::evidence::KnownKey;
use crate::audit::tests::{DAY, NOW, Site, observed};

fn key(id: &str, made: Option<i64>, used: Option<i64>) -> KnownKey {
    let ago = |days: i64| NOW - days * DAY;
    KnownKey {
        id: id.to_owned(),
        principal: "user:alice".to_owned(),
        created: made.map(ago),
        expires: None,
        last_used: used.map(ago),
    }
}

/// Alice comes by another credential.
fn with(key: KnownKey) -> Site {
    let mut site = reader();
    site.known.keys = vec![key];
    site
}

#[test]
fn lp03_a_key_that_nobody_uses_is_found_once_it_is_old_enough() {
    let check = |key: KnownKey, expected: usize| {
        let site = with(key.clone());
        assert_eq!(site.found("LP03").len(), expected, "{key:?}");
    };
    check(key("k", Some(400), None), 1);
    check(key("k", Some(400), Some(91)), 1);
    check(key("k", Some(400), Some(90)), 0);
    check(key("k", Some(90), None), 1);
    check(key("k", Some(89), None), 0);
    // Its use says that it is old where its file does not.
    check(key("k", None, Some(91)), 1);
    check(key("k", None, Some(89)), 0);
    // What has ended opens nothing; a clock that was ahead is believed for now.
    check(KnownKey { expires: Some(NOW), ..key("k", Some(400), None) }, 0);
    check(KnownKey { expires: Some(NOW + 1), ..key("k", Some(400), None) }, 1);
    check(KnownKey { last_used: Some(NOW + DAY), ..key("k", Some(400), None) }, 0);
}

#[test]
fn lp03_of_a_key_says_how_old_it_is_when_it_was_used_and_that_it_never_ends() {
    let site = with(key("reporting", Some(400), Some(120)));
    let report = site.run();
    let finding = report.findings.iter().find(|finding| finding.id == "LP03").unwrap();
    assert_eq!(
        (finding.principal.as_deref(), finding.permission.as_deref()),
        (Some("user:alice"), Some("key reporting"))
    );
    assert_eq!(finding.message, "the key `reporting`, which stands for `user:alice`, was not used for 90 days");
    assert_eq!(finding.evidence.facts, ["made 400 days ago, last used 120 days ago, never ends"]);
    assert_eq!(
        [&finding.evidence.granted_at, &finding.evidence.last_used, &finding.evidence.observed_since]
            .map(|at| at.as_deref()),
        [Some("2025-10-19T12:00:00Z"), Some("2026-07-26T12:00:00Z"), Some("2026-08-15T12:00:00Z")]
    );
    assert!(finding.recommendation.change.contains("portcullis key revoke reporting"), "{finding:?}");
}

/// As for permissions: nothing is said before enough was observed, or where nobody knows when a key was used.
#[test]
fn lp03_of_a_key_needs_what_it_rests_on() {
    let old = || key("k", Some(400), None);
    let check = |change: fn(&mut Site), expected: Option<&str>| {
        let mut site = with(old());
        change(&mut site);
        let report = site.run();
        assert!(report.findings.iter().all(|finding| finding.id != "LP03"), "{report:?}");
        let why = report.not_looked_at.get("LP03");
        assert!(expected.is_none_or(|words| why.is_some_and(|why| why.contains(words))), "{why:?}");
    };
    check(|site| site.usage = observed(89), Some("nothing is said before 90 days of it"));
    check(|site| site.usage = crate::audit::Usage::default(), Some("nothing counts what is used"));
    check(|site| site.known.keys_unread = Some("the store says no".to_owned()), Some("of keys: the store says no"));
    check(|site| site.known.keys[0].created = None, Some("of 1 key (`k`): nobody used it yet, and no `created`"));
}

/// Who makes no request at all is told once, with the keys.
#[test]
fn lp03_of_a_principal_tells_its_keys() {
    let mut site = Site::new();
    site.role("reader", &["GET /a"]);
    site.grant("alice-reads", "reader", &["user:alice"]);
    site.known.keys = vec![key("k", Some(400), None), key("l", Some(100), Some(95))];
    let report = site.run();
    let found: Vec<_> = report.findings.iter().filter(|finding| finding.id == "LP03").collect();
    assert_eq!((found.len(), found[0].permission.as_deref()), (1, None), "{found:?}");
    assert_eq!(
        found[0].evidence.facts,
        [
            "its key `k`: made 400 days ago, never used, as far as anybody counted, never ends",
            "its key `l`: made 100 days ago, last used 95 days ago, never ends"
        ]
    );
}
