//! Whatever the policy and its use: nothing that was used is proposed to be taken away.

use std::collections::BTreeMap;

use portcullis_policy::{
    AccessRequest, CanonicalPath, IdentityFact, Outcome, Policy, Principal, ScopeDraft, WrittenAction,
};
use proptest::prelude::*;

use super::{DAY, NOW, Site, edits, now};
use crate::audit::edit::apply;

const ACTIONS: [&str; 8] =
    ["GET /a", "PUT /a", "GET /a/**", "* /b/**", "GET,POST /c", "DELETE /c/{id}", "* /**", "GET /d/{id}/x"];
const PATHS: [&str; 7] = ["/a", "/a/7", "/b", "/b/c/d", "/c", "/c/7", "/d/7/x"];
const METHODS: [&str; 5] = ["GET", "PUT", "POST", "DELETE", "PROPFIND"];

/// Role, principals, groups, on one route alone, with a condition.
type Granted = (usize, Vec<usize>, Vec<usize>, bool, bool);

#[derive(Debug, Clone)]
struct World {
    /// By role: actions, and a role that it inherits.
    roles: Vec<(Vec<usize>, Option<usize>)>,
    grants: Vec<Granted>,
    groups: Vec<Vec<usize>>,
    /// Principal, method, path, route, days ago.
    requests: Vec<(usize, usize, usize, bool, i64)>,
    young: bool,
    keep_share: f64,
}

fn world() -> impl Strategy<Value = World> {
    let role = (prop::collection::vec(0..ACTIONS.len(), 1..5), prop::option::of(0..4_usize));
    let grant = (
        0..5_usize,
        prop::collection::vec(0..6_usize, 0..4),
        prop::collection::vec(0..2_usize, 0..2),
        any::<bool>(),
        any::<bool>(),
    );
    let request = (
        0..6_usize,
        0..METHODS.len(),
        0..PATHS.len(),
        any::<bool>(),
        prop::sample::select(vec![0_i64, 40, 89, 91, 99]),
    );
    (
        prop::collection::vec(role, 5),
        prop::collection::vec(grant, 1..7),
        prop::collection::vec(prop::collection::vec(0..6_usize, 0..4), 2),
        prop::collection::vec(request, 0..40),
        prop::bool::weighted(0.1),
        prop::sample::select(vec![0.2, 1.1]),
    )
        .prop_map(|(roles, grants, groups, requests, young, keep_share)| World {
            roles,
            grants,
            groups,
            requests,
            young,
            keep_share,
        })
}

fn name(number: usize) -> String {
    format!("user:u{number}")
}

/// The world as a site in which every request was decided, and counted as it is live.
fn site(world: &World) -> (Site, Policy) {
    let mut site = Site::new();
    for (number, (actions, parent)) in world.roles.iter().enumerate() {
        let texts: Vec<&str> = actions.iter().map(|action| ACTIONS[*action]).collect();
        site.role(&format!("r{number}"), &texts);
        // Only of earlier ones, so that there is no circle.
        if let Some(parent) = parent.filter(|parent| *parent < number) {
            site.draft.roles[number].inherits = vec![format!("r{parent}").into()];
        }
    }
    for (number, members) in world.groups.iter().enumerate() {
        let names: Vec<String> = members.iter().map(|member| name(*member)).collect();
        site.group(&format!("g{number}"), &names.iter().map(String::as_str).collect::<Vec<_>>());
    }
    for (number, (role, principals, groups, narrow, mfa)) in world.grants.iter().enumerate() {
        let mut names: Vec<String> = principals.iter().map(|principal| name(*principal)).collect();
        names.extend(groups.iter().map(|group| format!("group:g{group}")));
        if names.is_empty() {
            names.push("authenticated".to_owned());
        }
        names.sort();
        names.dedup();
        let grant = site.grant(
            &format!("a{number}"),
            &format!("r{role}"),
            &names.iter().map(String::as_str).collect::<Vec<_>>(),
        );
        if *narrow {
            grant.scope = ScopeDraft::Routes(vec!["app".to_owned().into()]);
        }
        grant.when.assurance_mfa = *mfa;
    }
    site.settings.keep_share = world.keep_share;
    let policy = Policy::compile(&site.draft).unwrap().0;
    for (principal, method, path, other, days) in &world.requests {
        let who = caller(*principal);
        ask(&policy, &who, METHODS[*method], PATHS[*path], *other, |request| {
            let (_, used) = policy.decide_noting(request);
            if let Some(words) = used.and_then(|used| policy.used_words(used)) {
                let permitted = policy.verdict(request).0 == Outcome::Permit;
                site.usage.note(Some(&who), (words.route, &words.action), permitted, 1, NOW - days * DAY);
            }
        });
    }
    (site, policy)
}

/// Somebody with a fresh second factor: so every condition of these worlds is met.
fn caller(number: usize) -> Principal {
    let mut who = Principal::user(&format!("u{number}"));
    who.authentication.stated_mfa = true;
    who
}

fn ask<T>(
    policy: &Policy,
    who: &Principal,
    method: &str,
    path: &str,
    other: bool,
    ask: impl FnOnce(&AccessRequest<'_>) -> T,
) -> T {
    let path = CanonicalPath::parse(path).unwrap();
    let route = policy.find_route(if other { "o.test" } else { "x" }, &path);
    ask(&AccessRequest { identity: IdentityFact::Verified(who), ..AccessRequest::new(method, &path, route, now()) })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    /// The requests that were permitted within the window are permitted after everything that is proposed was done.
    #[test]
    fn what_was_used_is_never_taken_away(world in world()) {
        let (mut site, policy) = site(&world);
        if world.young {
            site.history = Some(crate::audit::History::of_one(&site.draft, NOW - 5 * DAY));
        }
        let report = site.run();
        let all = edits(&report);
        let after = Policy::compile(&apply(&site.draft, &all)).unwrap().0;
        for (principal, method, path, other, days) in &world.requests {
            let who = caller(*principal);
            let outcome = |policy: &Policy| ask(policy, &who, METHODS[*method], PATHS[*path], *other, |request| policy.verdict(request).0);
            if outcome(&policy) == Outcome::Permit && *days <= 90 {
                prop_assert_eq!(outcome(&after), Outcome::Permit, "{} {} {} {:?}", principal, METHODS[*method], PATHS[*path], all);
            }
        }
        // And every finding that proposes something was tried, and says so.
        for finding in report.findings.iter().filter(|finding| !finding.edits.is_empty()) {
            let tried = finding.recommendation.preview.as_ref();
            prop_assert!(tried.is_some_and(|tried| tried.newly_denied == 0), "{finding:?}");
        }
    }

    /// Nothing but what is said to be missing is added: whoever was refused is refused still.
    #[test]
    fn what_is_narrowed_opens_nothing(world in world()) {
        let (site, policy) = site(&world);
        let mut all = edits(&site.run());
        all.retain(|edit| !matches!(edit, crate::audit::edit::Edit::AddPrincipal { .. }));
        let after = Policy::compile(&apply(&site.draft, &all)).unwrap().0;
        for number in 0..6 {
            for (method, path, other) in METHODS.iter().flat_map(|method| PATHS.iter().flat_map(move |path| [(method, path, false), (method, path, true)])) {
                let who = caller(number);
                let outcome = |policy: &Policy| ask(policy, &who, method, path, other, |request| policy.verdict(request).0);
                prop_assert!(outcome(&policy) == Outcome::Permit || outcome(&after) != Outcome::Permit, "{number} {method} {path} {all:?}");
            }
        }
    }

    /// What is found does not hang on the order of the file.
    #[test]
    fn the_order_of_entries_changes_nothing(world in world()) {
        let (mut site, _) = site(&world);
        let of = |site: &Site| {
            let found = site.run().findings.into_iter().map(|finding| (finding.fingerprint, (finding.message, finding.severity)));
            found.collect::<BTreeMap<_, _>>()
        };
        let before = of(&site);
        site.draft.roles.reverse();
        site.draft.assignments.reverse();
        site.draft.groups.reverse();
        prop_assert_eq!(of(&site), before);
    }
}

#[test]
fn the_actions_of_these_worlds_can_be_read() {
    assert!(ACTIONS.iter().all(|action| WrittenAction::parse(action).is_some()));
}
