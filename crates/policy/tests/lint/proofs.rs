//! What the lint claims is true, for random policies and requests; and it is the same for every order of entries.

use std::collections::BTreeSet;

use portcullis_policy::*;
use proptest::prelude::*;
use proptest::sample::subsequence;

#[path = "../properties/order.rs"]
mod order;
#[path = "../properties/world.rs"]
mod world;

use order::shuffle;
use world::{Facts, Identity, facts, policy_draft};

fn cases() -> ProptestConfig {
    let cases = std::env::var("PORTCULLIS_PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(1_000);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn outcome(policy: &Policy, facts: &Facts) -> Outcome {
    match policy.decide(&facts.request(policy)) {
        Decision::Permit(_) => Outcome::Permit,
        Decision::Deny(_) => Outcome::Deny,
        Decision::Challenge(_) => Outcome::Challenge,
        Decision::StepUp(_) => Outcome::StepUp,
        Decision::Undecided(_) => Outcome::Undecided,
    }
}

fn lint_facts() -> impl Strategy<Value = LintFacts> {
    (
        proptest::option::weighted(0.8, prop::sample::select(&["2026-01-01T00:00:00Z", "2026-11-23T10:00:00Z"][..])),
        subsequence(vec!["g0", "g1", "g2", "g3"], 0..=4),
        any::<bool>(),
    )
        .prop_map(|(now, claimed, no_claims)| LintFacts {
            now: now.map(|now| now.parse().unwrap()),
            claimed_groups: claimed.into_iter().map(str::to_owned).collect(),
            no_claims,
            credentials: Vec::new(),
        })
}

/// The request as it may be: not before now, and in no declared group (where nobody claims any: in none) but by the policy or by a claim that is trusted.
fn possible(mut facts: Facts, known: &LintFacts) -> Facts {
    if let Some(now) = known.now {
        facts.now = facts.now.max(now);
    }
    if let Identity::Verified(who) = &mut facts.identity {
        let is_claimed = |name: &str| known.claimed_groups.iter().any(|claimed| claimed == name);
        who.groups.retain(|claim| !(claim.trusted || known.no_claims) || is_claimed(&claim.name));
    }
    facts
}

/// Grants that can never apply, and those that another one includes.
fn pointless(kind: ProblemKind) -> bool {
    use ProblemKind as Kind;
    matches!(
        kind,
        Kind::ExpiredGrant
            | Kind::GrantToNobody
            | Kind::ContradictingNetworks
            | Kind::HoursNeverOccur
            | Kind::UnreachableGrant
            | Kind::DeniedGrant
            | Kind::RedundantGrant
    )
}

fn warnings(draft: &PolicyDraft, facts: &LintFacts) -> (Policy, Vec<Problem>) {
    let (policy, _) = Policy::compile(draft).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let warnings = lint(draft, &policy, facts);
    (policy, warnings)
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn without_what_is_called_pointless_every_request_is_answered_alike(
        draft in policy_draft(),
        known in lint_facts(),
        requests in prop::collection::vec(facts(), 12),
    ) {
        let (policy, warnings) = warnings(&draft, &known);
        let named: BTreeSet<&str> = warnings
            .iter()
            .filter(|each| pointless(each.kind))
            .map(|each| each.message.split('`').nth(1).unwrap_or_default())
            .collect();
        if !named.is_empty() {
            let mut without = draft.clone();
            without.assignments.retain(|each| !named.contains(each.name.value.as_str()));
            prop_assert_eq!(without.assignments.len() + named.len(), draft.assignments.len());
            let without = Policy::compile(&without).unwrap().0;
            for request in requests {
                let request = possible(request, &known);
                prop_assert_eq!(outcome(&policy, &request), outcome(&without, &request), "{:?}", &warnings);
            }
        }
    }

    #[test]
    fn roles_that_are_called_the_same_permit_the_same(
        draft in policy_draft(),
        requests in prop::collection::vec(facts(), 8),
    ) {
        let (policy, warnings) = warnings(&draft, &LintFacts::default());
        for warning in warnings.iter().filter(|each| each.kind == ProblemKind::DuplicateRole) {
            let names: Vec<&str> = warning.message.split('`').collect();
            let (first, second) = (names[1], names[3]);
            let mut replaced = draft.clone();
            for assignment in &mut replaced.assignments {
                if assignment.role.value == second {
                    assignment.role.value = first.to_owned();
                }
            }
            let replaced = Policy::compile(&replaced).unwrap().0;
            for request in &requests {
                prop_assert_eq!(outcome(&policy, request), outcome(&replaced, request), "{:?}", warning);
            }
        }
    }

    #[test]
    fn the_order_of_entries_changes_no_warning(
        draft in policy_draft(),
        known in lint_facts(),
        seed in any::<u64>(),
    ) {
        let mut draft = draft;
        let names: Vec<Placed<String>> = draft.roles.iter().map(|role| role.name.value.clone().into()).collect();
        if names.len() >= 2 {
            draft.exclusives.push(ExclusiveDraft { name: "all".to_owned().into(), max: Some((names.len() - 1).into()), roles: names });
        }
        prop_assume!(Policy::compile(&draft).is_ok());
        let mut shuffled = draft.clone();
        shuffle(&mut shuffled, seed);
        prop_assert_eq!(warnings(&draft, &known).1, warnings(&shuffled, &known).1);
    }
}

#[test]
fn random_policies_have_something_to_prove() {
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let known = LintFacts { now: Some("2026-11-23T10:00:00Z".parse().unwrap()), ..LintFacts::default() };
    let mut kinds = BTreeSet::new();
    for _ in 0..400 {
        let draft = policy_draft().new_tree(&mut runner).unwrap().current();
        kinds.extend(warnings(&draft, &known).1.iter().map(|each| format!("{:?}", each.kind)));
    }
    for kind in [
        "ExpiredGrant",
        "GrantToNobody",
        "ContradictingNetworks",
        "DeniedGrant",
        "RedundantGrant",
        "DuplicateRole",
        "UnreachableGrant",
    ] {
        assert!(kinds.contains(kind), "{kind} never occurs: {kinds:?}");
    }
}
