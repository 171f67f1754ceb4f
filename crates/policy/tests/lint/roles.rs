//! Roles that permit nothing, that nobody holds, or that are there twice.

use crate::*;

#[test]
fn a_role_needs_a_permission_of_its_own_or_an_inherited_one() {
    let with = |inherits: &'static [&'static str]| {
        move |draft: &mut PolicyDraft| {
            draft.roles.push(role("bare", inherits, Vec::new()));
            draft.assignments.push(grant("bare", "bare", &["user:b"], &["docs"]));
        }
    };
    check("bare", with(&[]), &[(Kind::EmptyRole, "`bare` has no permission")]);
    check(
        "it inherits",
        with(&["clerk"]),
        &[(Kind::UnreachableGrant, "`bare`"), (Kind::DuplicateRole, "`bare` and `clerk`")],
    );
}

#[test]
fn not_actions_must_leave_something() {
    let with = |actions: &'static [&'static str], not_actions: &'static [&'static str]| {
        move |draft: &mut PolicyDraft| draft.roles[1].permissions.push(permission(actions, not_actions))
    };
    let nothing = [(Kind::NothingLeft, "role `clerk` permits nothing")];
    check("the same", with(&["GET /api/x"], &["GET /api/x"]), &nothing);
    check("a wider one", with(&["GET /api/x", "POST /api/*"], &["* /**"]), &nothing);
    check("in parts", with(&["GET,POST /api/x"], &["GET /api/*", "POST /api/**"]), &nothing);
    check("a method stays", with(&["GET,POST /api/x"], &["GET /api/*"]), &[]);
    check("any method stays", with(&["* /api/x"], &["GET /api/x"]), &[]);
    check("a path stays", with(&["GET /api/**"], &["GET /api/*"]), &[]);
    check("an action stays", with(&["GET /api/x", "GET /api/y"], &["GET /api/x"]), &[]);
}

#[test]
fn a_role_must_be_held_by_somebody() {
    let spare = |draft: &mut PolicyDraft| {
        draft.roles.push(role("spare", &["base"], vec![permission(&["PATCH /api/**"], &[])]));
        draft.roles.push(role("base", &[], vec![permission(&["PURGE /api/**"], &[])]));
    };
    let both = [(Kind::UnheldRole, "nobody holds the role `spare`"), (Kind::UnheldRole, "`base`")];
    check("not assigned", spare, &both);
    let held = |name: &'static str| {
        move |draft: &mut PolicyDraft| {
            spare(draft);
            draft.assignments.push(grant("held", name, &["user:b"], &["billing"]));
        }
    };
    check("assigned", held("spare"), &[]);
    check("only what it inherits is", held("base"), &[(Kind::UnheldRole, "`spare`")]);
    let key =
        |name: &str| CredentialFacts { principal: "service:s".into(), groups: Vec::new(), roles: vec![placed(name)] };
    let facts = |name: &str| LintFacts { credentials: vec![key(name)], ..now() };
    check_with("a key carries it", &facts("spare"), spare, &[]);
    check_with("a key carries another", &facts("reader"), spare, &both);
}

#[test]
fn two_roles_that_permit_the_same_are_one() {
    let pair = |one: Vec<PermissionDraft>, other: Vec<PermissionDraft>| {
        move |draft: &mut PolicyDraft| {
            draft.roles.push(role("one", &[], one));
            draft.roles.push(role("other", &[], other));
            draft.assignments.push(grant("one", "one", &["user:one"], &["billing"]));
            draft.assignments.push(grant("other", "other", &["user:other"], &["billing"]));
        }
    };
    let twice = [(Kind::DuplicateRole, "`one` and `other` permit exactly the same")];
    let get = || vec![permission(&["GET /api/a"], &[])];
    check("the same", pair(get(), get()), &twice);
    check("another path", pair(get(), vec![permission(&["GET /api/b"], &[])]), &[]);
    check("another method", pair(get(), vec![permission(&["HEAD /api/a"], &[])]), &[]);
    let written = vec![permission(&["GET /api/{id}"], &[]), permission(&["POST /api/*"], &[])];
    check("written otherwise", pair(written, vec![permission(&["POST,GET /api/*"], &[])]), &twice);
    let held = vec![permission(&["GET /api/a", "GET /api/*"], &[])];
    check("one action holds another", pair(held, vec![permission(&["GET /api/*"], &[])]), &twice);
    let excepting = |not: &[&str]| vec![permission(&["GET /api/**"], not)];
    check("an exception", pair(excepting(&["GET /api/a"]), excepting(&[])), &[]);
    check("the same exception", pair(excepting(&["GET /api/a"]), excepting(&["GET /api/a"])), &twice);
    check("an exception that concerns nothing", pair(excepting(&["GET /docs/a"]), excepting(&[])), &twice);
    check("an exception of another method", pair(excepting(&["PUT /api/a"]), excepting(&[])), &twice);
}
