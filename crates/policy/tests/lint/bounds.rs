//! What the lint says of very much: it stays bounded, and says that it does.

use crate::*;

#[test]
fn of_many_warnings_of_a_kind_the_first_by_name_are_listed_and_the_rest_is_counted() {
    let expired = |count: usize| {
        move |draft: &mut PolicyDraft| {
            for number in (0..count).rev() {
                let mut grant = grant(&format!("old-{number:03}"), "reader", &["user:u"], &["billing"]);
                grant.expires = at("2020-01-01T00:00:00Z");
                draft.assignments.push(grant);
            }
        }
    };
    check("the most", expired(200), &[(Kind::ExpiredGrant, "expired"); 200]);
    let mut expected = vec![(Kind::ExpiredGrant, "expired"); 200];
    expected.push((Kind::LintIncomplete, "3 more like this one are not listed: the assignment `old-200`"));
    check("three more", expired(203), &expected);
}

#[test]
fn what_would_take_too_long_is_left_out_and_said_to_be() {
    // Ten minutes of Monday, looked for in thousands of weekends.
    let mut draft = sound();
    for number in 0..200 {
        let mut grant = grant(&format!("weekend-{number:03}"), "reader", &["user:u"], &["billing"]);
        grant.when.hours = hours("Mon 08:00-08:10 UTC");
        grant.starts = at("2026-11-24T00:00:00Z");
        grant.expires = at("2026-11-30T00:00:00Z");
        draft.assignments.push(grant);
    }
    let found = warnings_of(&draft, &now());
    let of = |kind: Kind| found.iter().filter(|each| each.kind == kind).count();
    assert!((1..200).contains(&of(Kind::HoursNeverOccur)), "{}", of(Kind::HoursNeverOccur));
    assert_eq!(of(Kind::LintIncomplete), 1, "{found:#?}");
    assert_eq!(found.len(), of(Kind::HoursNeverOccur) + 1);
}

#[test]
fn of_a_permission_with_very_many_exceptions_nothing_is_said_that_hangs_on_them() {
    let with = |count: usize| {
        move |draft: &mut PolicyDraft| {
            let mut exceptions: Vec<String> = (1..count).map(|number| format!("GET /api/{number}")).collect();
            exceptions.push("* /**".into());
            let exceptions: Vec<&str> = exceptions.iter().map(String::as_str).collect();
            draft.roles[1].permissions.push(permission(&["GET /api/x"], &exceptions));
        }
    };
    check("64", with(64), &[(Kind::NothingLeft, "role `clerk`")]);
    check("65", with(65), &[(Kind::LintIncomplete, "permissions with more than 64 `not_actions`")]);
}
