//! Grants of everything, public routes, and very large networks.

use crate::*;

#[test]
fn everything_without_a_condition_is_not_for_everybody_or_everywhere() {
    let with =
        |actions: &'static [&'static str], principals: &'static [&'static str], scope: &'static [&'static str]| {
            move |draft: &mut PolicyDraft| {
                draft.roles.push(role("all", &[], vec![permission(actions, &[])]));
                draft.assignments.push(grant("all", "all", principals, scope));
            }
        };
    let broad = |text: &'static str| [(Kind::BroadGrant, text)];
    check("everywhere", with(&["* /**"], &["user:root"], &["*"]), &broad("everything on every route"));
    check("everybody known", with(&["* /**"], &["authenticated"], &["docs"]), &broad("everybody with a credential"));
    check("anyone", with(&["* /**"], &["anyone", "user:u"], &["docs"]), &broad("everything to anyone"));
    check("one on one route", with(&["* /**"], &["user:root"], &["docs"]), &[]);
    check("some methods", with(&["GET,POST /**"], &["user:root"], &["*"]), &[]);
    check("some paths", with(&["* /docs/**"], &["authenticated"], &["docs"]), &[]);
    let conditional = |draft: &mut PolicyDraft| {
        with(&["* /**"], &["user:root"], &["*"])(draft);
        draft.assignments[2].when.assurance_mfa = true;
    };
    check("under a condition", conditional, &[]);
}

#[test]
fn a_public_route_says_that_it_is_meant() {
    use AuthenticationRule as Rule;
    let with = |rule: Rule, public: bool, principals: &'static [&'static str]| {
        move |draft: &mut PolicyDraft| {
            draft.resources.push(ResourceDraft {
                route: placed("docs"),
                authentication: rule,
                public: public.into_placed(),
                ..ResourceDraft::default()
            });
            draft.roles.push(role("docs", &[], vec![permission(&["GET /docs/**"], &[])]));
            draft.assignments.push(grant("docs", "docs", principals, &["docs"]));
        }
    };
    let none = [(Kind::PublicRoute, "the route `docs` is public: it looks at no credentials")];
    let granted = [(Kind::PublicRoute, "without a credential `docs` grants something on it")];
    check("no credentials", with(Rule::None, false, &["anyone"]), &none);
    check("meant", with(Rule::None, true, &["anyone"]), &[]);
    check("granted to anyone", with(Rule::Optional, false, &["anyone"]), &granted);
    let through_group = |draft: &mut PolicyDraft| {
        draft.groups.push(group("all", &["anyone"]));
        with(Rule::Optional, false, &["group:all"])(draft);
    };
    check("granted to a group of anyone", through_group, &granted);
    check("granted, and meant", with(Rule::Optional, true, &["anyone"]), &[]);
    check("granted to the known", with(Rule::Optional, false, &["authenticated"]), &[]);
    check("a credential is demanded", with(Rule::Required, false, &["anyone"]), &[]);
    check("a certificate is demanded", with(Rule::Certificate, false, &["anyone"]), &[]);
    check(
        "meant, and demanded",
        with(Rule::Required, true, &["anyone"]),
        &[(Kind::PublicWithoutEffect, "`public` has no effect: the route `docs` demands a credential")],
    );
    let changed = |change: fn(&mut PolicyDraft)| {
        move |draft: &mut PolicyDraft| {
            with(Rule::Optional, false, &["anyone"])(draft);
            change(draft);
        }
    };
    check("from some networks", changed(|draft| draft.assignments[2].when.networks = Some(list(&["office"]))), &[]);
    check("the route has networks", changed(|draft| draft.resources[1].allow = list(&["office"])), &[]);
    let shadow = |draft: &mut PolicyDraft| {
        draft.resources[1].allow = list(&["office"]);
        draft.resources[1].mode = Mode::Shadow;
    };
    check("only in shadow", changed(shadow), &granted);
    check("at some hours", changed(|draft| draft.assignments[2].when.hours = hours("* 08:00-18:00 UTC")), &granted);
    check("the grant is shadow", changed(|draft| draft.assignments[2].mode = Mode::Shadow), &[]);
    let elsewhere = |draft: &mut PolicyDraft| {
        draft.assignments[2].scope = ScopeDraft::All;
        draft.roles[2].permissions = vec![permission(&["GET /api/x"], &[])];
    };
    check("nothing of it leads here", changed(elsewhere), &[]);
}

trait IntoPlaced {
    fn into_placed(self) -> Placed<bool>;
}

impl IntoPlaced for bool {
    fn into_placed(self) -> Placed<bool> {
        self.into()
    }
}

#[test]
fn an_allowlist_of_very_large_prefixes_is_none() {
    let holding = |prefixes: &'static [&'static str], use_it: fn(&mut PolicyDraft)| {
        move |draft: &mut PolicyDraft| {
            draft.networks.push(network("wide", prefixes));
            use_it(draft);
        }
    };
    let allow: fn(&mut PolicyDraft) = |draft| draft.resources[0].allow = list(&["wide"]);
    let when: fn(&mut PolicyDraft) = |draft| draft.assignments[0].when.networks = Some(list(&["wide"]));
    let wide = |text: &'static str| [(Kind::WideNetwork, text)];
    check("a /15", holding(&["10.0.0.0/15"], allow), &wide("`wide` holds 10.0.0.0/15, which is larger than a /16"));
    check("a /16", holding(&["10.0.0.0/16"], allow), &[]);
    check("a /31 of IPv6", holding(&["fc00::/31"], allow), &wide("larger than a /32: the route `billing` lets it in"));
    check("a /32 of IPv6", holding(&["fc00::/32"], allow), &[]);
    check("in a grant", holding(&["0.0.0.0/0"], when), &wide("the assignment `reads` holds there"));
    check("mapped into IPv6", holding(&["::ffff:10.0.0.0/104"], allow), &wide("holds 10.0.0.0/8"));
    check("used nowhere", holding(&["0.0.0.0/0"], |_| {}), &[]);
    check("in a deny", holding(&["0.0.0.0/1"], |draft| draft.resources[0].deny = list(&["wide"])), &[]);
    let both = |draft: &mut PolicyDraft| {
        draft.resources[0].allow = list(&["wide"]);
        draft.assignments[0].when.networks = Some(list(&["wide"]));
    };
    check("in two places", holding(&["10.0.0.0/8"], both), &wide("and 1 more use it"));
    let many = |draft: &mut PolicyDraft| {
        let prefixes: Vec<String> = (0..12).map(|number| format!("{}.0.0.0/8", number + 1)).collect();
        draft.networks.push(network("wide", &prefixes.iter().map(String::as_str).collect::<Vec<_>>()));
        draft.resources[0].allow = list(&["wide"]);
    };
    let mut named = vec![(Kind::WideNetwork, "/8"); 10];
    named.push((Kind::WideNetwork, "2 more prefixes"));
    check("many", many, &named);
}
