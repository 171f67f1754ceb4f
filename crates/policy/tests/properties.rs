//! What must hold for every policy and every request, tried on small random ones.
//!
//! `PORTCULLIS_PROPTEST_CASES` raises the number of cases of each property.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "in a test a broken expectation is a failure"
)]

#[path = "properties/apply.rs"]
mod apply;
#[path = "properties/lent.rs"]
mod lent;
#[path = "properties/oracle.rs"]
mod oracle;
#[path = "properties/order.rs"]
mod order;
#[path = "properties/questions.rs"]
mod questions;
#[path = "properties/world.rs"]
mod world;

use portcullis_policy::*;
use proptest::prelude::*;

use apply::apply;
use order::shuffle;
use world::{Facts, Identity, deny, facts, placed, policy_draft, signal};

fn cases() -> ProptestConfig {
    let cases = std::env::var("PORTCULLIS_PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(2_000);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn compile(draft: &PolicyDraft) -> Policy {
    Policy::compile(draft).unwrap_or_else(|problems| panic!("{problems:#?}")).0
}

/// The denial, or `None` for a permit.
fn refusal(decision: Decision) -> Option<Denial> {
    match decision {
        Decision::Permit(_) => None,
        Decision::Deny(denial)
        | Decision::Challenge(denial)
        | Decision::StepUp(denial)
        | Decision::Undecided(denial) => Some(*denial),
    }
}

/// Outcome and reason code, with the outcome taken from the variant and not from what the denial says of itself.
fn verdict(policy: &Policy, facts: &Facts) -> oracle::Verdict {
    let decision = policy.decide(&facts.request(policy));
    let outcome = match &decision {
        Decision::Permit(_) => Outcome::Permit,
        Decision::Deny(_) => Outcome::Deny,
        Decision::Challenge(_) => Outcome::Challenge,
        Decision::StepUp(_) => Outcome::StepUp,
        Decision::Undecided(_) => Outcome::Undecided,
    };
    let denial = refusal(decision);
    if let Some(denial) = &denial {
        assert_eq!(denial.outcome, outcome);
        assert_eq!(denial.reasons.first(), Some(&denial.reason));
    }
    (outcome, denial.map(|denial| denial.reason.code()))
}

fn permits(policy: &Policy, facts: &Facts) -> bool {
    verdict(policy, facts).0 == Outcome::Permit
}

/// The facts with one known fact forgotten, in every way there is.
fn with_one_fact_unknown(facts: &Facts) -> Vec<Facts> {
    let mut forgetful = vec![
        Facts { client: ClientAddress::Unknown, ..facts.clone() },
        Facts { country: None, ..facts.clone() },
        Facts { identity: Identity::Unavailable(Dependency::Keys), ..facts.clone() },
        Facts { identity: Identity::Unavailable(Dependency::Store), ..facts.clone() },
        Facts { identity: Identity::Unavailable(Dependency::Directory), ..facts.clone() },
    ];
    if let Identity::Verified(who) = &facts.identity {
        let device = who.device.clone().map(|device| Device { compliant: None, ..device });
        for device in [None, device] {
            let who = Principal { device, ..who.clone() };
            forgetful.push(Facts { identity: Identity::Verified(who), ..facts.clone() });
        }
        let authentication = Authentication { auth_time: None, ..who.authentication.clone() };
        let who = Principal { authentication, ..who.clone() };
        forgetful.push(Facts { identity: Identity::Verified(who), ..facts.clone() });
    }
    forgetful
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_policy_without_grants_permits_nothing(mut draft in policy_draft(), mut facts in facts()) {
        draft.assignments.clear();
        if let Identity::Verified(who) = &mut facts.identity {
            who.roles.clear();
        }
        prop_assert!(!permits(&compile(&draft), &facts));
        prop_assert!(!permits(&compile(&PolicyDraft::default()), &facts));
    }

    /// Whatever alerts demand, and whether it is only simulated: a refusal stays one, and the explanation says what the decision does.
    #[test]
    fn what_alerts_demand_never_permits_anything(
        draft in policy_draft(),
        facts in facts(),
        demanded in 0_u8..8,
        simulated: bool,
    ) {
        let policy = compile(&draft);
        let plain = facts.request(&policy);
        let demand = Containment { alert: "a".into(), since: facts.now, until: facts.now, simulated };
        let part = |bit: u8| (demanded & bit != 0).then_some(&demand);
        let contained = Contained { step_up: part(1), revoked: part(2), tightened: part(4) };
        let request = AccessRequest { contained, ..plain };
        let (before, after) = (policy.verdict(&plain), policy.verdict(&request));
        prop_assert!(before.0 == Outcome::Permit || after.0 != Outcome::Permit, "{before:?} {after:?}");
        if simulated || demanded == 0 {
            prop_assert_eq!(before, after);
        }
        let explained = policy.explain(&request);
        prop_assert_eq!((explained.outcome, explained.denial.map(|denial| denial.reason)), after);
        prop_assert_eq!(refusal(policy.decide(&request)).map(|denial| denial.reason), after.1);
    }

    #[test]
    fn the_engine_agrees_with_the_meaning_read_naively(draft in policy_draft(), facts in facts()) {
        prop_assert_eq!(verdict(&compile(&draft), &facts), oracle::decide(&draft, &facts));
    }

    #[test]
    fn the_order_of_entries_changes_nothing(draft in policy_draft(), facts in facts(), seed in any::<u64>()) {
        let mut shuffled = draft.clone();
        shuffle(&mut shuffled, seed);
        let answer = |draft: &PolicyDraft| {
            let policy = compile(draft);
            let request = facts.request(&policy);
            let explanation = policy.explain(&request);
            let nearest = explanation.denial.as_ref().map(|denial| denial.nearest.clone());
            let reasons = explanation.denial.as_ref().map(|denial| denial.reasons.clone());
            let trace = explanation.trace;
            let roles = policy.effective_roles(&request);
            (explanation.outcome, explanation.message, explanation.rule, nearest, reasons, trace.checks, trace.shadow, roles)
        };
        prop_assert_eq!(answer(&draft), answer(&shuffled));
    }

    #[test]
    fn coverage_grows_with_each_request_and_counts_what_decided(draft in policy_draft(), first in facts(), more in facts()) {
        let policy = compile(&draft);
        let mut coverage = Coverage::of(&policy);
        let mut before = coverage.report();
        prop_assert_eq!(before.total().covered, 0);
        for facts in [&first, &more] {
            coverage.add(&facts.request(&policy));
            let after = coverage.report();
            for ((kind, less), (_, now)) in before.kinds.iter().zip(&after.kinds) {
                prop_assert!(less.covered <= now.covered && now.covered <= now.total && less.total == now.total, "{:?}", kind);
            }
            prop_assert!(before.shadow.covered <= after.shadow.covered && before.shadow.total == after.shadow.total);
            let total = after.total();
            prop_assert_eq!(total.total + after.shadow.total - total.covered - after.shadow.covered, after.missing.len());
            prop_assert!(after.missing.iter().all(|item| before.missing.iter().any(|each| each.rule == item.rule && each.part == item.part)));
            // The rule that decided is covered where it permitted or forbade.
            let explanation = policy.explain(&facts.request(&policy));
            let reason = explanation.denial.as_ref().map(|denial| denial.reason);
            if let (Some(rule), None | Some(Reason::ExplicitDeny)) = (explanation.rule, reason) {
                prop_assert!(!after.missing.iter().any(|item| item.rule == rule && item.part.is_empty()), "{:?}", rule);
            }
            before = after;
        }
    }

    #[test]
    fn one_more_deny_never_permits(draft in policy_draft(), facts in facts(), more in deny(1, 0)) {
        let mut stricter = draft.clone();
        stricter.denies.push(DenyDraft { name: placed("one-more"), mode: Mode::Enforce, ..more });
        prop_assert!(permits(&compile(&draft), &facts) || !permits(&compile(&stricter), &facts));
    }

    #[test]
    fn one_assignment_less_never_permits(draft in policy_draft(), facts in facts()) {
        let before = permits(&compile(&draft), &facts);
        for index in 0..draft.assignments.len() {
            let mut fewer = draft.clone();
            fewer.assignments.remove(index);
            prop_assert!(before || !permits(&compile(&fewer), &facts));
        }
    }

    #[test]
    fn an_unknown_fact_never_helps(draft in policy_draft(), facts in facts()) {
        let policy = compile(&draft);
        let before = permits(&policy, &facts);
        // A route that ignores credentials does not even look whether they could be checked.
        for forgetful in with_one_fact_unknown(&facts) {
            prop_assert!(before || !permits(&policy, &forgetful), "{:?}", forgetful);
        }
        for index in 0..draft.networks.len() {
            let mut stale = draft.clone();
            stale.networks[index].unknown = true;
            prop_assert!(before || !permits(&compile(&stale), &facts), "{}", draft.networks[index].name.value);
        }
    }

    #[test]
    fn a_rule_in_shadow_mode_changes_nothing(draft in policy_draft(), facts in facts()) {
        let mut without = draft.clone();
        without.assignments.retain(|each| each.mode == Mode::Enforce);
        without.denies.retain(|each| each.mode == Mode::Enforce);
        prop_assert_eq!(verdict(&compile(&draft), &facts), verdict(&compile(&without), &facts));
    }

    #[test]
    fn a_resource_in_shadow_mode_covers_networks_sensitivity_and_step_up(draft in policy_draft(), facts in facts()) {
        let mut without = draft.clone();
        for each in without.resources.iter_mut().filter(|each| each.mode == Mode::Shadow) {
            let (route, authentication) = (each.route.clone(), each.authentication);
            *each = ResourceDraft { route, authentication, ..ResourceDraft::default() };
        }
        let (shadowed, bare) = (verdict(&compile(&draft), &facts), verdict(&compile(&without), &facts));
        let only_step_up = shadowed.0 == Outcome::Permit && bare.0 == Outcome::StepUp && draft.risk.enforce;
        prop_assert!(shadowed == bare || only_step_up, "{:?} {:?}", shadowed, bare);
    }

    #[test]
    fn novelty_alone_is_never_too_high_a_risk(
        draft in policy_draft(),
        mut facts in facts(),
        signals in prop::collection::vec(0i32..20_000, 0..4),
        weak_evidence in prop::option::of(0..RiskAssessment::EVIDENCE_MNATS),
    ) {
        let novelty = signals.iter().map(|mnats| signal(SignalFamily::Novelty, *mnats));
        let signals: Vec<RiskSignal> =
            novelty.chain(weak_evidence.map(|mnats| signal(SignalFamily::Evidence, mnats))).collect();
        let mnats = signals.iter().map(|signal| signal.mnats).sum();
        facts.risk = RiskAssessment { mnats, signals, degraded: false, stated: None };
        let policy = compile(&draft);
        let reasons = refusal(policy.decide(&facts.request(&policy))).map(|denial| denial.reasons).unwrap_or_default();
        prop_assert!(!reasons.contains(&Reason::RiskTooHigh));
    }

    #[test]
    fn explain_agrees_with_decide(draft in policy_draft(), facts in facts()) {
        let policy = compile(&draft);
        let request = facts.request(&policy);
        let explanation = policy.explain(&request);
        let reason = explanation.denial.as_ref().map(|denial| denial.reason);
        prop_assert_eq!(policy.verdict(&request), (explanation.outcome, reason));
        match policy.decide(&request) {
            Decision::Permit(permit) => {
                prop_assert_eq!(explanation.outcome, Outcome::Permit);
                prop_assert_eq!(explanation.rule.as_ref(), policy.granting_rule(&permit));
                prop_assert_eq!(&explanation.trace.shadow[..], permit.shadow());
                prop_assert!(explanation.denial.is_none());
                let refused = |check: &&Check| check.stage != Stage::Grants && check.outcome != CheckOutcome::Pass
                    && check.outcome != CheckOutcome::Skipped;
                prop_assert_eq!(explanation.trace.checks.iter().find(refused), None);
            }
            decision => {
                let denial = refusal(decision).unwrap();
                prop_assert_eq!(explanation.outcome, denial.outcome);
                prop_assert_eq!(explanation.message, denial.message);
                prop_assert_eq!(explanation.rule, denial.rule);
                prop_assert_eq!(&explanation.trace.checks, &denial.trace.checks);
                prop_assert_eq!(explanation.denial.map(|denial| denial.reason), Some(denial.reason));
                let refused = |check: &Check| matches!(check.outcome, CheckOutcome::Fail | CheckOutcome::Unknown);
                let told = denial.trace.checks.iter().any(|check| check.stage == denial.stage && refused(check));
                prop_assert!(told, "{:?} {:#?}", denial.stage, denial.trace.checks);
            }
        }
    }

    #[test]
    fn who_is_not_admitted_is_refused_for_the_same_reason(draft in policy_draft(), facts in facts()) {
        let policy = compile(&draft);
        let request = facts.request(&policy);
        if let Err(early) = policy.admit_client(&request) {
            let late = refusal(policy.decide(&request)).unwrap();
            prop_assert_eq!((early.outcome, early.reason, early.stage), (late.outcome, late.reason, late.stage));
            prop_assert_eq!(early.rule, late.rule);
        }
    }

    #[test]
    fn every_suggestion_lets_the_request_pass_and_none_of_its_changes_is_idle(
        draft in policy_draft(),
        facts in facts(),
    ) {
        let policy = compile(&draft);
        let Some(denial) = refusal(policy.decide(&facts.request(&policy))) else { return Ok(()) };
        for suggestion in &denial.nearest {
            let needs: Vec<&str> = suggestion.needs.iter().map(String::as_str).collect();
            prop_assert!(!needs.is_empty());
            for changed in apply(&draft, &facts, &needs) {
                prop_assert!(permits(&policy, &changed), "{:?} {:#?}", needs, changed);
            }
            for left_out in 0..needs.len() {
                let mut fewer = needs.clone();
                fewer.remove(left_out);
                let idle = apply(&draft, &facts, &fewer).iter().all(|changed| permits(&policy, changed));
                prop_assert!(!idle, "{:?} without {}", needs, needs[left_out]);
            }
        }
    }

    #[test]
    fn suggestions_are_few_and_in_order(draft in policy_draft(), facts in facts()) {
        let policy = compile(&draft);
        let Some(denial) = refusal(policy.decide(&facts.request(&policy))) else { return Ok(()) };
        prop_assert!(denial.nearest.len() <= 5);
        let order: Vec<(usize, &[String])> =
            denial.nearest.iter().map(|each| (each.needs.len(), each.needs.as_slice())).collect();
        prop_assert!(order.is_sorted(), "{:?}", order);
        prop_assert!(order.windows(2).all(|pair| pair[0] != pair[1]), "{:?}", order);
        let only_lifting_helps =
            matches!(denial.reason, Reason::ExplicitDeny | Reason::BanActive | Reason::RouteNotFound);
        prop_assert!(!only_lifting_helps || denial.nearest.is_empty());
    }

    #[test]
    fn a_verified_caller_without_a_grant_is_told_every_role_that_would_do(draft in policy_draft(), facts in facts()) {
        let policy = compile(&draft);
        let Some(denial) = refusal(policy.decide(&facts.request(&policy))) else { return Ok(()) };
        if denial.stage != Stage::Grants || !matches!(facts.identity, Identity::Verified(_)) || denial.nearest.len() == 5 {
            return Ok(());
        }
        for role in &draft.roles {
            let need = format!("role:{}", role.name.value);
            let passes = apply(&draft, &facts, &[&need]).iter().all(|changed| permits(&policy, changed));
            let told = denial.nearest.iter().any(|suggestion| suggestion.needs == [need.as_str()]);
            prop_assert_eq!(told, passes, "{}", need);
        }
    }
}
