//! Grants that can never apply, or that add nothing.

use crate::*;

#[test]
fn a_grant_has_expired_from_its_very_end_on() {
    let expires = |time: &'static str| move |draft: &mut PolicyDraft| draft.assignments[0].expires = at(time);
    check("a second ago", expires("2026-11-23T11:59:59Z"), &[(Kind::ExpiredGrant, "`reads` expired at 2026-11-23")]);
    check("now", expires("2026-11-23T12:00:00Z"), &[(Kind::ExpiredGrant, "`reads`")]);
    check("in a second", expires("2026-11-23T12:00:01Z"), &[]);
    check_with("no clock", &LintFacts::default(), expires("2020-01-01T00:00:00Z"), &[]);
    let shadow = |draft: &mut PolicyDraft| {
        draft.assignments[0].expires = at("2020-01-01T00:00:00Z");
        draft.assignments[0].mode = Mode::Shadow;
    };
    check("shadow", shadow, &[]);
}

#[test]
fn a_grant_to_empty_groups_is_for_nobody() {
    let to = |principals: &'static [&'static str], members: &'static [&'static str]| {
        move |draft: &mut PolicyDraft| {
            draft.groups.push(group("outer", &["group:inner"]));
            draft.groups.push(group("inner", members));
            draft.assignments[0].principals = list(principals);
        }
    };
    let nobody = [(Kind::GrantToNobody, "`reads` is for nobody: `group:outer` has no members")];
    check("nested and empty", to(&["group:outer"], &[]), &nobody);
    check("nested in a circle", to(&["group:outer"], &["group:outer"]), &nobody);
    check(
        "two",
        to(&["group:outer", "group:inner"], &[]),
        &[(Kind::GrantToNobody, "`group:inner` and `group:outer` have")],
    );
    check("and somebody", to(&["group:outer", "user:alice"], &[]), &[]);
    check("a member far below", to(&["group:outer"], &["service:s"]), &[]);
    check("a member that a claim may bring", to(&["group:outer"], &["group:undeclared"]), &[]);
    let claimed = LintFacts { claimed_groups: vec!["inner".into()], ..now() };
    check_with("filled by tokens", &claimed, to(&["group:outer"], &[]), &[]);
    let key = CredentialFacts { principal: "service:s".into(), groups: vec!["inner".into()], roles: Vec::new() };
    let keys = LintFacts { credentials: vec![key], ..now() };
    check_with("filled by a key", &keys, to(&["group:outer"], &[]), &[]);
    let elsewhere = LintFacts { claimed_groups: vec!["other".into()], ..now() };
    check_with("another is filled", &elsewhere, to(&["group:outer"], &[]), &nobody);
    // Where no provider says who is in which group, nobody is in one that is not declared: it was deleted, or misspelt.
    let closed = || LintFacts { no_claims: true, ..now() };
    let deleted = [(Kind::GrantToNobody, "`reads` is for nobody: `group:nowhere` has no members")];
    check_with("deleted whole", &closed(), to(&["group:nowhere"], &[]), &deleted);
    check_with("and nested", &closed(), to(&["group:outer"], &["group:undeclared"]), &nobody);
    check_with("everybody is somebody", &closed(), to(&["authenticated", "group:nowhere"], &[]), &[]);
    let key = CredentialFacts { principal: "service:s".into(), groups: vec!["nowhere".into()], roles: Vec::new() };
    let carried = LintFacts { credentials: vec![key], ..closed() };
    check_with("a key carries it", &carried, to(&["group:nowhere"], &[]), &[]);
}

#[test]
fn networks_of_a_grant_must_be_let_in_by_its_routes() {
    let networks = |allow: &'static [&'static str], deny: &'static [&'static str], when: &'static [&'static str]| {
        move |draft: &mut PolicyDraft| {
            draft.networks.push(network("desk", &["203.0.113.7/32"]));
            draft.networks.push(network("nothing", &[]));
            draft.resources[0].allow = list(allow);
            draft.resources[0].deny = list(deny);
            draft.assignments[0].when.networks = Some(list(when));
        }
    };
    let never = [(Kind::ContradictingNetworks, "`reads` never holds")];
    check("disjoint", networks(&["partner"], &[], &["office"]), &never);
    check("within the deny", networks(&[], &["office"], &["desk"]), &never);
    check("an empty network", networks(&[], &[], &["nothing"]), &never);
    check("the deny leaves the rest", networks(&[], &["desk"], &["office"]), &[]);
    check("one of two", networks(&["partner"], &[], &["office", "partner"]), &[]);
    check("one address in common", networks(&["office"], &[], &["desk"]), &[]);
    let elsewhere = |draft: &mut PolicyDraft| {
        networks(&["partner"], &[], &["office"])(draft);
        draft.assignments[0].scope = ScopeDraft::All;
    };
    check("another route lets it in", elsewhere, &[]);
    let unknown = |name: &'static str| {
        move |draft: &mut PolicyDraft| {
            networks(&["partner"], &[], &["office"])(draft);
            draft.networks.iter_mut().find(|each| each.name.value == name).unwrap().unknown = true;
        }
    };
    check("the grant's is unknown", unknown("office"), &[]);
    check("the route's is unknown", unknown("partner"), &[]);
    let shadow = |draft: &mut PolicyDraft| {
        networks(&["partner"], &[], &["office"])(draft);
        draft.resources[0].mode = Mode::Shadow;
    };
    check("a resource in shadow", shadow, &[]);
}

#[test]
fn hours_must_occur_within_the_period() {
    let during = |text: &'static str, starts: &'static str, expires: &'static str| {
        move |draft: &mut PolicyDraft| {
            draft.assignments[0].when.hours = hours(text);
            draft.assignments[0].starts = at(starts);
            draft.assignments[0].expires = at(expires);
        }
    };
    let never = [(Kind::HoursNeverOccur, "`reads` never holds")];
    let office = "Mon-Fri 08:00-18:00 Europe/Berlin";
    check("a weekend", during(office, "2026-11-28T00:00:00Z", "2026-11-30T00:00:00Z"), &never);
    check("until Monday, 08:00", during(office, "2026-11-28T00:00:00Z", "2026-11-30T07:00:00Z"), &never);
    check("one second of Monday", during(office, "2026-11-28T00:00:00Z", "2026-11-30T07:00:01Z"), &[]);
    check("from Friday's end", during(office, "2026-11-27T17:00:00Z", "2026-11-30T00:00:00Z"), &never);
    check("a second earlier", during(office, "2026-11-27T16:59:59Z", "2026-11-30T00:00:00Z"), &[]);
    check("what is left of it", during("Mon 00:00-12:00 UTC", "2026-11-20T00:00:00Z", "2026-11-28T00:00:00Z"), &never);
    check("more than a week", during("Sat 08:00-09:00 UTC", "2026-11-24T00:00:00Z", "2026-12-24T00:00:00Z"), &[]);
    // Berlin has no 02:30 on that day.
    let gap = "Sun 02:30-02:45 Europe/Berlin";
    check("an hour that is left out", during(gap, "2027-03-28T00:00:00Z", "2027-03-28T12:00:00Z"), &never);
}

#[test]
fn what_a_role_permits_must_lead_to_the_routes() {
    let on =
        |actions: &'static [&'static str], not_actions: &'static [&'static str], scope: &'static [&'static str]| {
            move |draft: &mut PolicyDraft| {
                draft.roles.push(role("odd", &[], vec![permission(actions, not_actions)]));
                draft.assignments.push(grant("odd", "odd", &["user:odd"], scope));
            }
        };
    let nothing = [(Kind::UnreachableGrant, "`odd` permits nothing")];
    check("another path", on(&["GET /docs/**"], &[], &["billing"]), &nothing);
    check("the path", on(&["GET /api/x"], &[], &["billing"]), &[]);
    check("the folder itself", on(&["GET /api"], &[], &["billing"]), &[]);
    check("beside the folder", on(&["GET /apix"], &[], &["billing"]), &nothing);
    check("a wildcard that fits", on(&["GET /*/x"], &[], &["billing"]), &[]);
    check("nowhere at all", on(&["GET /nowhere"], &[], &["*"]), &[(Kind::UnreachableGrant, "leads to a route")]);
    check("somewhere", on(&["GET /nowhere", "GET /docs/a"], &[], &["*"]), &[]);
    check("a more specific route takes it", on(&["GET /api/export/**"], &[], &["billing"]), &nothing);
    check("it takes only a part", on(&["GET /api/*"], &[], &["billing"]), &[]);
    check("it is in the scope as well", on(&["GET /api/export/**"], &[], &["billing", "export"]), &[]);
    check("the other host does not", on(&["GET /docs/export/**"], &[], &["docs"]), &[]);
    check("not_actions take the rest", on(&["GET /**"], &["GET /api/**"], &["billing"]), &nothing);
    check("of another method", on(&["GET /**"], &["POST /api/**"], &["billing"]), &[]);
    let same_path_elsewhere = |draft: &mut PolicyDraft| {
        draft.routes.push(route("mirror", &["mirror.internal"], &["/api/**"]));
        on(&["GET /api/export/**"], &[], &["mirror"])(draft);
    };
    check("the more specific one is on another host", same_path_elsewhere, &[]);
}

#[test]
fn a_deny_of_all_of_it_takes_a_grant_away() {
    let with = |change: fn(&mut DenyDraft)| {
        move |draft: &mut PolicyDraft| {
            let mut all = deny("no", &["group:finance"], &["GET /api/**"], &["billing"]);
            change(&mut all);
            draft.denies.push(all);
        }
    };
    let denied = [(Kind::DeniedGrant, "`reads` never applies: the deny `no`")];
    check("all", with(|_| {}), &denied);
    check(
        "anyone, everywhere",
        with(|deny| (deny.principals, deny.scope) = (list(&["anyone"]), ScopeDraft::All)),
        &[(Kind::DeniedGrant, "`reads`")],
    );
    check("authenticated", with(|deny| deny.principals = list(&["authenticated"])), &denied);
    check("exactly the actions", with(|deny| deny.actions = list(&["GET /api/invoices/**"])), &denied);
    check("what leads there", with(|deny| deny.actions = list(&["* /api/**"])), &[(Kind::DeniedGrant, "`reads`")]);
    check("one member", with(|deny| deny.principals = list(&["user:alice"])), &[]);
    check("a part", with(|deny| deny.actions = list(&["GET /api/invoices/*"])), &[]);
    check("another method", with(|deny| deny.actions = list(&["HEAD /api/**"])), &[]);
    check("another route", with(|deny| deny.scope = ScopeDraft::Routes(list(&["docs"]))), &[]);
    check("shadow", with(|deny| deny.mode = Mode::Shadow), &[]);
    check("a condition", with(|deny| deny.when.networks = Some(list(&["office"]))), &[]);
    check("it ends", with(|deny| deny.expires = at("2030-01-01T00:00:00Z")), &[]);
    check("it has begun", with(|deny| deny.starts = at(NOW)), &denied);
    check("it has not begun", with(|deny| deny.starts = at("2026-11-23T12:00:01Z")), &[]);
    let until = |end: &'static str| {
        move |draft: &mut PolicyDraft| {
            with(|deny| deny.expires = at("2030-01-01T00:00:00Z"))(draft);
            draft.assignments[0].expires = at(end);
        }
    };
    check("it outlasts the grant", until("2030-01-01T00:00:00Z"), &denied);
    check("it ends a second before", until("2030-01-01T00:00:01Z"), &[]);
    let whole_route = |draft: &mut PolicyDraft| {
        draft.roles.push(role("root", &[], vec![permission(&["* /**"], &[])]));
        draft.assignments.push(grant("root", "root", &["user:root"], &["docs"]));
        draft.denies.push(deny("closed", &["anyone"], &["* /docs/**"], &["docs"]));
    };
    check("all that leads to the route", whole_route, &[(Kind::DeniedGrant, "`root`")]);
    let nested = |draft: &mut PolicyDraft| {
        draft.assignments[0].principals = list(&["user:alice"]);
        with(|_| {})(draft);
    };
    check("through a group", nested, &denied);
}

#[test]
fn a_grant_that_another_one_includes_adds_nothing() {
    let beside = |role_of: &'static str, principals: &'static [&'static str], scope: &'static [&'static str]| {
        move |draft: &mut PolicyDraft| {
            draft.roles.push(role("chief", &["reader"], vec![permission(&["DELETE /api/invoices/**"], &[])]));
            draft.assignments.push(grant("chief", "chief", &["group:finance"], &["billing"]));
            draft.assignments.push(grant("more", role_of, principals, scope));
            draft.assignments.remove(0);
        }
    };
    let adds_nothing = [(Kind::RedundantGrant, "`more` adds nothing: `chief` grants `chief`")];
    check("through inheritance", beside("reader", &["group:finance"], &["billing"]), &adds_nothing);
    check("a member", beside("reader", &["user:alice"], &["billing"]), &adds_nothing);
    check("a nested group", beside("reader", &["group:emea"], &["billing"]), &adds_nothing);
    check("the same role", beside("chief", &["user:alice"], &["billing"]), &adds_nothing);
    check("a further principal", beside("reader", &["user:alice", "user:eve"], &["billing"]), &[]);
    check("a further role", beside("clerk", &["user:alice"], &["billing"]), &[]);
    let both = |draft: &mut PolicyDraft| beside("chief", &["group:finance"], &["billing"])(draft);
    check("of two equal ones one stays", both, &[(Kind::RedundantGrant, "`more` adds nothing")]);
    let conditional = |draft: &mut PolicyDraft| {
        beside("reader", &["user:alice"], &["billing"])(draft);
        draft.assignments[1].when.compliant_device = true;
    };
    check("the larger one has a condition", conditional, &[]);
    let by_pattern = |not_actions: &'static [&'static str]| {
        move |draft: &mut PolicyDraft| {
            draft.roles.push(role("wide", &[], vec![permission(&["GET,HEAD /api/**"], not_actions)]));
            draft.assignments.push(grant("wide", "wide", &["group:finance"], &["billing"]));
        }
    };
    let included = [(Kind::RedundantGrant, "`reads` adds nothing: `wide`")];
    check("by its patterns", by_pattern(&[]), &included);
    check("what it leaves out was left out", by_pattern(&["GET /api/*/*/bank"]), &included);
    check("it leaves out more", by_pattern(&["GET /api/invoices/*"]), &[]);
    check("of another method", by_pattern(&["HEAD /api/invoices/*"]), &included);
}
