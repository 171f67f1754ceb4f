//! What `list` and `who_can` say must be what `decide` does, for every policy, principal and action.

use std::collections::BTreeSet;

use portcullis_policy::*;
use proptest::prelude::*;

use crate::oracle::{is_action, subjects};
use crate::world::{Facts, Identity, PATHS, facts, placed, policy_draft};
use crate::{cases, compile, permits};

/// One answer covers many requests, and each is decided.
fn fewer_cases() -> ProptestConfig {
    let all = cases();
    ProptestConfig { cases: all.cases.div_ceil(4), ..all }
}

/// Without bans, which take no part, and with a credential that holds or none.
fn asked(facts: &Facts) -> Facts {
    let identity = match &facts.identity {
        Identity::Verified(who) => Identity::Verified(who.clone()),
        Identity::Anonymous | Identity::Rejected(_) | Identity::Unavailable(_) => Identity::Anonymous,
    };
    Facts { identity, address_ban: None, principal_ban: None, ..facts.clone() }
}

fn circumstances(facts: &Facts) -> Circumstances<'_> {
    Circumstances {
        client: facts.client,
        country: facts.country,
        risk: &facts.risk,
        activations: &facts.activations,
        now: facts.now,
    }
}

fn requests(facts: &Facts) -> impl Iterator<Item = Facts> {
    let requests = ["GET", "POST", "DELETE", "PURGE"].into_iter().flat_map(|method| PATHS.map(|path| (method, path)));
    requests.map(|(method, path)| Facts { method, path: CanonicalPath::parse(path).unwrap(), ..facts.clone() })
}

fn is_listed(action: &ListedAction, facts: &Facts) -> bool {
    is_action(&action.action, facts) && !action.except.iter().any(|except| is_action(except, facts))
}

/// Whether a listing says that a request is permitted now.
fn is_permitted_by(listing: &Listing, route: RouteId, facts: &Facts) -> bool {
    let listed = listing.routes.iter().find(|each| each.route == route).unwrap();
    let grants = listed.grants.iter().filter(|grant| grant.standing.is_now() && !grant.shadow);
    let denies = listed.denies.iter().filter(|deny| deny.standing.may_be_now() && !deny.shadow);
    listed.obstacles.is_empty()
        && grants.flat_map(|grant| &grant.actions).any(|action| is_listed(action, facts))
        && !denies.flat_map(|deny| &deny.actions).any(|action| is_action(action, facts))
}

/// Whoever is this subject and no more than that. Where credentials are not demanded, that is nobody in particular for
/// whatever everyone is.
fn as_subject(draft: &PolicyDraft, facts: &Facts, rule: AuthenticationRule, subject: &str) -> Facts {
    let anonymous = Facts { identity: Identity::Anonymous, ..facts.clone() };
    let demanded = matches!(rule, AuthenticationRule::Required | AuthenticationRule::Certificate);
    if !demanded && subjects(draft, &anonymous).contains(subject) {
        return anonymous;
    }
    let who = match subject.split_once(':') {
        Some(("user", id)) => Principal::user(id),
        Some(("service", id)) => Principal::service(id),
        Some(("certificate", id)) => Principal::certificate(id),
        Some(("group", name)) => stranger(rule).in_group(name),
        _ => stranger(rule),
    };
    as_principal(facts, who)
}

/// Somebody whom no rule names, with a credential that the route takes.
fn stranger(rule: AuthenticationRule) -> Principal {
    match rule {
        AuthenticationRule::Certificate => Principal::certificate("stranger"),
        AuthenticationRule::Required | AuthenticationRule::Optional | AuthenticationRule::None => {
            Principal::user("stranger")
        }
    }
}

/// With the device and the assurance that the facts' own principal has.
fn as_principal(facts: &Facts, who: Principal) -> Facts {
    let (device, authentication) = match &facts.identity {
        Identity::Verified(known) => (known.device.clone(), known.authentication.clone()),
        _ => (None, who.authentication.clone()),
    };
    Facts { identity: Identity::Verified(Principal { device, authentication, ..who }), ..facts.clone() }
}

/// The same policy with routes that anybody may enter and denies without conditions: so much can refuse a caller that
/// otherwise few meet a deny of one of their groups.
fn opened(mut draft: PolicyDraft) -> PolicyDraft {
    for resource in &mut draft.resources {
        (resource.allow, resource.deny) = (Vec::new(), Vec::new());
    }
    for deny in &mut draft.denies {
        deny.principals.retain(|each| each.value.contains(':'));
        deny.principals.push(placed("group:g1"));
        deny.when = WhenDraft::default();
    }
    draft.risk.enforce = false;
    draft
}

/// The question that leaves out who asks.
fn question<'a>(policy: &Policy, facts: &'a Facts, route: RouteId) -> ActionQuestion<'a> {
    let who = match &facts.identity {
        Identity::Verified(who) => Some(who),
        _ => None,
    };
    ActionQuestion {
        method: facts.method,
        path: &facts.path,
        route,
        circumstances: circumstances(facts),
        compliant_device: who.and_then(|who| who.device.as_ref()).and_then(|device| device.compliant),
        fresh_mfa: who.is_some_and(|who| policy.is_mfa_fresh(who, facts.now)),
        // A minute ahead is now; more is nobody's word.
        authenticated_s: who.and_then(|who| who.authentication.auth_time).and_then(|at| {
            let age = facts.now.as_second() - at.as_second();
            u64::try_from(if (-60..0).contains(&age) { 0 } else { age }).ok()
        }),
    }
}

proptest! {
    #![proptest_config(fewer_cases())]

    #[test]
    fn what_is_listed_as_permitted_now_is_what_is_permitted(draft in policy_draft(), facts in facts()) {
        let (policy, facts) = (compile(&draft), asked(&facts));
        let who = match &facts.identity {
            Identity::Verified(who) => Some(who),
            _ => None,
        };
        let listing = policy.list(who, None, &circumstances(&facts));
        prop_assert_eq!(listing.omitted, 0);
        for request in requests(&facts) {
            let Some(route) = policy.find_route("host", &request.path) else { continue };
            let permitted = permits(&policy, &request);
            let listed = is_permitted_by(&listing, route, &request);
            prop_assert_eq!(listed, permitted, "{} {} {:#?}", request.method, request.path.as_str(), listing);
            prop_assert!(!permitted || listing.permits_now);
            let actions = listing.routes.iter().filter(|each| each.route == route).flat_map(|each| &each.grants);
            let denied = actions.flat_map(|grant| &grant.actions).filter(|action| action.denied_by.is_some());
            for action in denied.filter(|action| is_listed(action, &request)) {
                prop_assert!(!permitted, "{:?}", action);
            }
        }
    }

    #[test]
    fn both_say_the_same_whatever_the_order_of_entries(draft in policy_draft(), facts in facts(), seed in any::<u64>()) {
        let mut shuffled = draft.clone();
        crate::order::shuffle(&mut shuffled, seed);
        let facts = asked(&facts);
        let answer = |draft: &PolicyDraft| {
            let policy = compile(draft);
            let who = match &facts.identity {
                Identity::Verified(who) => Some(who),
                _ => None,
            };
            let mut routes = policy.list(who, None, &circumstances(&facts)).routes;
            routes.sort_by(|left, right| left.name.cmp(&right.name));
            let listed: Vec<_> = routes.into_iter().map(|each| (each.name, each.paths, each.obstacles, each.grants, each.denies)).collect();
            let can = policy.find_route("host", &facts.path).map(|route| policy.who_can(&question(&policy, &facts, route)));
            (listed, can)
        };
        prop_assert_eq!(answer(&draft), answer(&shuffled));
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn who_is_named_as_able_is_permitted_and_who_is_named_as_denied_is_not(
        draft in prop_oneof![policy_draft(), policy_draft().prop_map(opened)],
        facts in facts(),
    ) {
        let (policy, facts) = (compile(&draft), asked(&facts));
        let Some(route) = policy.find_route("host", &facts.path) else { return Ok(()) };
        let who = policy.who_can(&question(&policy, &facts, route));
        let rule = who.demands.authentication;
        for each in who.allowed.iter().filter(|each| each.now) {
            let asked = as_subject(&draft, &facts, rule, &each.subject);
            prop_assert!(permits(&policy, &asked), "{:#?} {:#?}", each, asked);
            let members = each.members.iter().flat_map(|members| &members.shown);
            for member in members.filter(|member| member.denied_by.is_none()) {
                let asked = as_subject(&draft, &facts, rule, &member.subject);
                let is_principal = !matches!(&*member.subject, "anyone" | "authenticated");
                prop_assert!(!is_principal || permits(&policy, &asked), "{:#?} of {:#?}", member, each);
            }
        }
        for each in &who.denied {
            prop_assert!(!permits(&policy, &as_subject(&draft, &facts, rule, &each.subject)), "{:#?}", each);
        }
        for direct in who.held_directly.iter().filter(|direct| direct.now) {
            for role in &direct.roles {
                let holder = as_principal(&facts, stranger(rule).with_role(&role.name));
                prop_assert!(permits(&policy, &holder), "{}", role.name);
            }
        }
    }

    #[test]
    fn who_is_permitted_is_named(draft in policy_draft(), facts in facts()) {
        let (policy, facts) = (compile(&draft), asked(&facts));
        let Some(route) = policy.find_route("host", &facts.path) else { return Ok(()) };
        if !permits(&policy, &facts) {
            return Ok(());
        }
        let who = policy.who_can(&question(&policy, &facts, route));
        prop_assert_eq!(&who.obstacles, &[]);
        let mine: BTreeSet<String> = subjects(&draft, &facts);
        // What everyone is on a route that does not demand a credential is asked about without one: a second factor or a
        // device is then still missing.
        let anonymous = subjects(&draft, &Facts { identity: Identity::Anonymous, ..facts.clone() });
        let of_the_principal = |need: &Need| matches!(&*need.text, "device:compliant" | "assurance:mfa");
        let named = who.allowed.iter().any(|each| {
            let demanded = matches!(
                who.demands.authentication,
                AuthenticationRule::Required | AuthenticationRule::Certificate
            );
            let unproven = !demanded && anonymous.contains(&*each.subject);
            mine.contains(&*each.subject)
                && each.risk.as_ref().is_none_or(|risk| risk.stage == Stage::StepUp)
                && each.grants.iter().any(|grant| match &grant.standing {
                    Standing::Now => true,
                    Standing::Needs(needs) => needs.iter().all(|need| {
                        need.text.starts_with("activation:") || unproven && of_the_principal(need)
                    }),
                    Standing::NotYetActive(_) | Standing::Expired(_) => false,
                })
        });
        let roles = match &facts.identity {
            Identity::Verified(who) => who.roles.as_slice(),
            _ => &[],
        };
        let direct = who.held_directly.iter().flat_map(|direct| &direct.roles).any(|role| roles.iter().any(|held| **held == *role.name));
        prop_assert!(named || direct, "{:#?}", who);
        prop_assert!(direct || who.is_possible());
    }
}
