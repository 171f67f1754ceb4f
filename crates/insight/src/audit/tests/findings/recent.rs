//! LP08: grants of the last days that are out of the ordinary.

use std::sync::Arc;

use portcullis_policy::{ActivationRules, PolicyDraft, RoleDraft, ScopeDraft};

use crate::audit::tests::{DAY, NOW, Site};
use crate::audit::{GrantSet, History, PastVersion};

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

/// Whoever holds a role has what is put into it: so does whoever puts it there.
#[test]
fn lp08_what_is_made_wider_is_granted_too() {
    type Change = dyn Fn(&mut PolicyDraft);
    let narrow = |draft: &mut PolicyDraft| {
        let grant = &mut draft.assignments[0];
        grant.scope = ScopeDraft::Routes(vec!["app".to_owned().into()]);
        (grant.when.assurance_mfa, grant.activation) = (true, Some(ActivationRules::of(60)));
    };
    let check = |change: &Change, hour: i64, expected: &[&str]| {
        let mut site = Site::new();
        site.role("reader", &["GET /a"]);
        site.role("root", &["* /b"]);
        site.grant("readers", "reader", &["user:alice"]);
        narrow(&mut site.draft);
        let before = site.draft.clone();
        change(&mut site.draft);
        let version = |n: u64, at: i64, draft: &PolicyDraft| PastVersion {
            n,
            at,
            by: vec!["ana".to_owned()],
            grants: Arc::new(GrantSet::of(draft)),
        };
        let mut past: Vec<PastVersion> = Vec::new();
        // Somebody comes each Monday at noon.
        for week in 0..12_u64 {
            let mut draft = before.clone();
            draft.assignments[0].principals.extend((0..week).map(|number| format!("user:u{number}").into()));
            past.push(version(week + 1, NOW - (13 - week as i64) * 7 * DAY, &draft));
        }
        past.push(version(13, NOW - 3 * DAY + (hour - 12) * 3_600, &site.draft));
        site.history = Some(History::new(past));
        let report = site.run();
        let found: Vec<&str> = report
            .findings
            .iter()
            .filter(|finding| finding.id == "LP08")
            .map(|finding| finding.message.as_str())
            .collect();
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (said, part) in found.iter().zip(expected) {
            assert!(said.contains(part) && said.contains("around 3:00 UTC of a working day"), "{said}");
        }
    };
    check(
        &|draft| draft.roles[0].permissions[0].actions.push("PUT /a".to_owned().into()),
        3,
        &["the role `reader` was given `PUT /a`"],
    );
    check(&|draft| draft.roles[0].permissions[0].actions.push("PUT /a".to_owned().into()), 12, &[]);
    check(
        &|draft| draft.roles[0].inherits = vec!["root".to_owned().into()],
        3,
        &["`reader` was given what `root` permits"],
    );
    check(&|draft| draft.assignments[0].scope = ScopeDraft::All, 3, &["`readers` was made to cover `*`"]);
    check(
        &|draft| draft.assignments[0].when.assurance_mfa = false,
        3,
        &["`when.assurance` was taken off the assignment `readers`"],
    );
    check(&|draft| draft.assignments[0].activation = None, 3, &["`activation` was taken off the assignment `readers`"]);
    // What is narrowed is not, nor what is new: who is in a new role was granted that.
    check(&|draft| draft.assignments[0].when.compliant_device = true, 3, &[]);
    check(&|draft| draft.roles.push(RoleDraft::new("new", ["GET /z"])), 3, &[]);
    check(&|draft| draft.assignments.clear(), 3, &[]);
}

/// In Auckland a day ends while it is noon in UTC.
#[test]
fn lp08_the_hour_is_that_of_the_zone() {
    let check = |zone: &str, expected: Option<&str>| {
        let mut site = Site::new();
        site.settings.zone = jiff::tz::TimeZone::get(zone).unwrap();
        site.role("reader", &["GET /a"]);
        site.grant("readers", "reader", &[]);
        let gives = |number: usize| vec![format!("user:u{number}")];
        // Each Friday at ten UTC; the last one at half past eleven, when it is Saturday in Auckland.
        let when = |number: usize| match number {
            14 => NOW - 3 * DAY - 1_800,
            number => NOW - 3 * DAY - 2 * 3_600 - 7 * DAY * (14 - number as i64),
        };
        site.draft.assignments[0].principals = (0..15).map(|number| format!("user:u{number}").into()).collect();
        site.history = Some(versions(15, gives, when, |_| "ana", &site));
        let report = site.run();
        let found: Vec<&str> = report
            .findings
            .iter()
            .filter(|finding| finding.id == "LP08")
            .map(|finding| finding.message.as_str())
            .collect();
        assert_eq!(found.len(), usize::from(expected.is_some()), "{zone}: {found:?}");
        assert!(found.iter().all(|said| said.contains(expected.unwrap())), "{found:?}");
    };
    check("UTC", None);
    check("Pacific/Auckland", Some("around 0:00 Pacific/Auckland of a weekend"));
}
