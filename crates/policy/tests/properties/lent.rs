//! Power for a time never gives more than what it says, and nothing once it has ended.

use jiff::Timestamp;

use super::*;
use crate::world::{ROLES, ROUTES};

/// The same facts with a role that the credential carries, and nothing for a time.
fn carrying(facts: &Facts, role: &str) -> Facts {
    let mut facts = Facts { activations: Vec::new(), ..facts.clone() };
    if let Identity::Verified(principal) = &mut facts.identity {
        principal.roles.push(role.into());
    }
    facts
}

fn with(facts: &Facts, activations: Vec<Activation>) -> Facts {
    Facts { activations, ..facts.clone() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_lent_role_is_one_that_is_held_on_its_routes_and_nothing_elsewhere(
        draft in policy_draft(), facts in facts(), role in 0..ROLES.len(), routes in 0..8usize, left_s in -2i64..3,
    ) {
        let policy = compile(&draft);
        let names: Vec<&str> =
            ROUTES.iter().enumerate().filter(|(bit, _)| routes & (1 << bit) != 0).map(|(_, (name, _))| *name).collect();
        let gives = Lent::Role { role: ROLES[role].into(), routes: names.iter().map(|name| (*name).into()).collect() };
        let until = Timestamp::from_microsecond(facts.now.as_microsecond() + left_s).unwrap();
        let lent = with(&facts, vec![Activation { gives, ..Activation::of("", until) }]);
        let route = facts.request(&policy).route.map(|route| policy.route_name(route).to_owned());
        let covered = names.is_empty() || route.is_some_and(|route| names.contains(&&*route));
        let expected = match covered && left_s > 0 {
            true => carrying(&facts, ROLES[role]),
            false => with(&facts, Vec::new()),
        };
        prop_assert_eq!(verdict(&policy, &lent), verdict(&policy, &expected));
        // What is said of it is said of the same roles.
        let roles = |facts: &Facts| policy.effective_roles(&facts.request(&policy));
        prop_assert_eq!(roles(&lent), roles(&expected));
    }

    #[test]
    fn an_activation_gives_no_more_than_its_assignment_would_by_itself(
        mut draft in policy_draft(), facts in facts(), left_s in -2i64..3,
    ) {
        let until = Timestamp::from_microsecond(facts.now.as_microsecond() + left_s).unwrap();
        for assignment in &mut draft.assignments {
            assignment.activation.get_or_insert(ActivationRules::of(60));
        }
        let eligible = compile(&draft);
        let names: Vec<String> = draft.assignments.iter().map(|assignment| assignment.name.value.clone()).collect();
        let all = with(&facts, names.iter().map(|name| Activation::of(name, until)).collect());
        let none = with(&facts, Vec::new());
        draft.assignments.iter_mut().for_each(|assignment| assignment.activation = None);
        let standing = compile(&draft);
        match left_s > 0 {
            true => prop_assert_eq!(verdict(&eligible, &all), verdict(&standing, &none)),
            false => prop_assert_eq!(verdict(&eligible, &all), verdict(&eligible, &none)),
        }
        // One alone gives what it gives among all, or less.
        for name in names {
            let one = with(&facts, vec![Activation::of(&name, until)]);
            prop_assert!(!permits(&eligible, &one) || permits(&eligible, &all), "{}", name);
        }
    }

    /// What is asked with every grant is what is decided, but for the grants: on a route that demands a credential, of a caller whose credential is good everywhere.
    #[test]
    fn whoever_is_held_back_is_permitted_nothing_and_whoever_is_not_lacks_a_grant_alone(
        mut draft in policy_draft(), facts in facts(),
    ) {
        for resource in &mut draft.resources {
            if matches!(resource.authentication, AuthenticationRule::None | AuthenticationRule::Optional) {
                resource.authentication = AuthenticationRule::Required;
            }
        }
        if matches!(&facts.identity, Identity::Verified(who) if who.scope.is_some()) {
            return Ok(());
        }
        // Where no grant asks for them, risk and a second factor are the route's affair, or an alert's, alone.
        let mut plain = draft.clone();
        for assignment in &mut plain.assignments {
            let when = std::mem::take(&mut assignment.when);
            assignment.when = WhenDraft { assurance_mfa: false, max_age_s: None, max_risk: None, ..when };
        }
        let policy = compile(&plain);
        let request = facts.request(&policy);
        let (outcome, reason) = policy.verdict(&request);
        let of_grants = reason.is_some_and(|reason| reason.stage() == Stage::Grants);
        match policy.held_back(&request) {
            Some(held) => {
                prop_assert_ne!(outcome, Outcome::Permit);
                prop_assert!(of_grants || reason == Some(held), "{held:?} {reason:?}");
            }
            None => prop_assert!(outcome == Outcome::Permit || of_grants, "{reason:?}"),
        }
        let policy = compile(&draft);
        let request = facts.request(&policy);
        let (outcome, reason) = policy.verdict(&request);
        match policy.held_back(&request) {
            Some(held) => {
                prop_assert_ne!(outcome, Outcome::Permit);
                // Grants come before the risk and whatever comes behind it, and may refuse first.
                let of_grants = reason.is_some_and(|reason| reason.stage() == Stage::Grants);
                prop_assert!(of_grants || reason == Some(held) || matches!(reason, Some(Reason::StepUpRequired | Reason::RiskTooHigh)), "{held:?} {reason:?}");
            }
            None => {
                let of_grants = [
                    Reason::NoMatchingGrant, Reason::AssignmentExpired, Reason::NotYetActive, Reason::ConditionUnmet,
                    Reason::StepUpRequired, Reason::RiskTooHigh,
                ];
                prop_assert!(outcome == Outcome::Permit || reason.is_some_and(|reason| of_grants.contains(&reason)), "{reason:?}");
            }
        }
    }
}
