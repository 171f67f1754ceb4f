//! Roles that exclude each other: what compiling refuses, and who breaks it.

use crate::*;

fn exclusive(name: &str, roles: &[&str], max: Option<usize>) -> ExclusiveDraft {
    ExclusiveDraft { name: placed(name), roles: list(roles), max: max.map(Placed::from) }
}

/// Three roles that do different things; `lead` inherits `payer`.
fn duties(draft: &mut PolicyDraft) {
    for (name, inherits) in [("payer", &[][..]), ("approver", &[]), ("auditor", &[]), ("lead", &["payer"])] {
        draft.roles.push(role(name, inherits, vec![permission(&[format!("POST /api/{name}").as_str()], &[])]));
        draft.assignments.push(grant(name, name, &[format!("user:{name}").as_str()], &["billing"]));
    }
    draft.groups.push(group("money", &["user:mona", "group:inner"]));
    draft.groups.push(group("inner", &["user:ian"]));
    draft.exclusives.push(exclusive("payments", &["payer", "approver", "auditor"], None));
}

fn granting(grants: &'static [(&'static str, &'static str)]) -> impl FnOnce(&mut PolicyDraft) {
    move |draft| {
        duties(draft);
        for (number, (name, principal)) in grants.iter().enumerate() {
            let mut grant = grant(&format!("extra-{number}"), name, &[principal], &["billing"]);
            grant.when.compliant_device = true;
            draft.assignments.push(grant);
        }
    }
}

#[test]
fn who_holds_too_many_of_the_roles_is_named() {
    let held = |text: &'static str| [(Kind::ExclusiveHeld, text)];
    check("nobody", granting(&[]), &[]);
    check("two", granting(&[("approver", "user:payer")]), &held("`user:payer` holds `approver` and `payer`"));
    check("the same twice", granting(&[("payer", "user:payer")]), &[]);
    check(
        "an inherited one",
        granting(&[("approver", "user:lead")]),
        &held("`user:lead` holds `approver` and `payer`"),
    );
    check("another kind of the same id", granting(&[("approver", "service:payer")]), &[]);
    check("through a group", granting(&[("payer", "group:money"), ("approver", "user:mona")]), &held("`user:mona`"));
    check(
        "through a nested group",
        granting(&[("payer", "group:money"), ("auditor", "user:ian")]),
        &held("`user:ian`"),
    );
    check(
        "by one group: each member",
        granting(&[("payer", "group:money"), ("approver", "group:money")]),
        &[(Kind::ExclusiveHeld, "`user:mona`"), (Kind::ExclusiveHeld, "`user:ian`")],
    );
    check(
        "by a group that tokens fill",
        granting(&[("payer", "group:else"), ("approver", "group:else")]),
        &held("`group:else` holds"),
    );
    check(
        "by everybody: once",
        granting(&[("payer", "authenticated"), ("approver", "anyone")]),
        &held("everybody with a credential holds"),
    );
    check("anyone", granting(&[("payer", "anyone"), ("approver", "anyone")]), &held("anyone holds"));
    check(
        "everybody has one",
        granting(&[("payer", "authenticated")]),
        &[(Kind::ExclusiveHeld, "`user:approver`"), (Kind::ExclusiveHeld, "`user:auditor`")],
    );
    let changed = |change: fn(&mut PolicyDraft)| {
        move |draft: &mut PolicyDraft| {
            granting(&[("approver", "user:payer")])(draft);
            change(draft);
        }
    };
    let last = |draft: &mut PolicyDraft| draft.assignments.len() - 1;
    assert_eq!(last(&mut sound()), 1);
    check("shadow", changed(|draft| draft.assignments.last_mut().unwrap().mode = Mode::Shadow), &[]);
    check("two are enough", changed(|draft| draft.exclusives[0].max = Some(2.into())), &[]);
    let expired = |draft: &mut PolicyDraft| {
        draft.assignments.last_mut().unwrap().expires = at("2020-01-01T00:00:00Z");
    };
    check("expired", changed(expired), &[(Kind::ExpiredGrant, "`extra-0`")]);
}

#[test]
fn what_a_key_carries_is_held() {
    let key = |principal: &str, groups: &[&str], roles: &[&str]| CredentialFacts {
        principal: principal.into(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        roles: list(roles),
    };
    let facts = |keys: Vec<CredentialFacts>| LintFacts { credentials: keys, ..now() };
    let held = |text: &'static str| [(Kind::ExclusiveHeld, text)];
    let alone = facts(vec![key("service:s", &[], &["payer", "approver"])]);
    check_with("by itself", &alone, granting(&[]), &held("`service:s` holds"));
    let with_grant = facts(vec![key("user:payer", &[], &["approver"])]);
    check_with("beside a grant", &with_grant, granting(&[]), &held("`user:payer` holds"));
    let two = facts(vec![key("service:s", &[], &["payer"]), key("service:s", &[], &["approver"])]);
    check_with("two keys of one principal", &two, granting(&[]), &held("`service:s` holds"));
    let apart = facts(vec![key("service:s", &[], &["payer"]), key("service:t", &[], &["approver"])]);
    check_with("two principals", &apart, granting(&[]), &[]);
    let in_group = facts(vec![key("service:s", &["inner"], &["approver"])]);
    check_with("in a group", &in_group, granting(&[("payer", "group:money")]), &held("`service:s` holds"));
}

#[test]
fn after_twenty_principals_the_rest_is_counted() {
    let many = |count: usize| {
        move |draft: &mut PolicyDraft| {
            duties(draft);
            for number in 0..count {
                for name in ["payer", "approver"] {
                    let user = format!("user:u{number:02}");
                    draft.assignments.push(grant(&format!("{name}-{number}"), name, &[&user], &["billing"]));
                }
            }
        }
    };
    let mut expected = vec![(Kind::ExclusiveHeld, "holds `approver` and `payer`"); 20];
    check("twenty", many(20), &expected);
    expected.push((Kind::ExclusiveHeld, "3 more principals hold too many"));
    check("twenty-three", many(23), &expected);
}

#[test]
fn a_set_that_cannot_be_kept_is_refused() {
    let refused = |case: &str, set: ExclusiveDraft, kind: Kind, text: &str| {
        let mut draft = sound();
        duties(&mut draft);
        draft.exclusives = vec![set];
        let problems = Policy::compile(&draft).map(|_| ()).unwrap_err();
        let found = problems.iter().any(|each| {
            each.kind == kind
                && format!("{} | {}", each.message, each.help.as_deref().unwrap_or_default()).contains(text)
        });
        assert!(found && problems.len() == 1, "{case}: {problems:#?}");
    };
    refused("unknown", exclusive("s", &["payer", "aprover"], None), Kind::UnknownReference, "did you mean `approver`?");
    refused("one role", exclusive("s", &["payer"], None), Kind::BadExclusive, "fewer than two roles");
    refused("one role twice", exclusive("s", &["payer", "payer"], None), Kind::BadExclusive, "names a role twice");
    refused(
        "heir",
        exclusive("s", &["payer", "lead"], None),
        Kind::BadExclusive,
        "whoever holds `lead` holds lead, payer",
    );
    refused("max 0", exclusive("s", &["payer", "auditor"], Some(0)), Kind::BadExclusive, "from 1 to 1");
    refused("max all", exclusive("s", &["payer", "auditor"], Some(2)), Kind::BadExclusive, "`max = 2` of 2 roles");
    let mut draft = sound();
    duties(&mut draft);
    draft.exclusives.push(exclusive("payments", &["payer", "auditor"], None));
    let problems = Policy::compile(&draft).map(|_| ()).unwrap_err();
    assert_eq!(problems.iter().map(|each| each.kind).collect::<Vec<_>>(), [Kind::DuplicateName]);
    let many: Vec<String> = (0..65).map(|number| format!("r{number}")).collect();
    draft.exclusives = vec![exclusive("s", &many.iter().map(String::as_str).collect::<Vec<_>>(), None)];
    draft.roles.extend(many.iter().map(|name| role(name, &[], vec![permission(&["GET /x"], &[])])));
    let problems = Policy::compile(&draft).map(|_| ()).unwrap_err();
    assert!(problems[0].help.as_deref().unwrap().contains("at most 64"), "{problems:#?}");
    // With a larger `max` a role may inherit another one of the set.
    draft.exclusives = vec![exclusive("s", &["payer", "lead", "auditor"], Some(2))];
    assert!(Policy::compile(&draft).is_ok());
}
