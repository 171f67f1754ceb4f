//! How a route wants its callers to have authenticated, whatever they are granted; and what a step-up must bring.

use super::*;
use crate::decision::StepUpDemand;
use crate::draft::ProofDraft;

impl Policy {
    /// Whether the caller has authenticated so.
    pub(crate) fn proves(&self, view: &View<'_>, caller: Caller<'_>, proof: ProofDraft) -> bool {
        (!proof.mfa || self.has_fresh_mfa(view, caller))
            && proof.max_age_s.is_none_or(|most| self.has_authenticated(view, caller, most))
    }

    /// Demands of whoever has a grant what the `[[resource]]` does. Who cannot answer a step-up is refused all the same.
    pub(crate) fn proof_stage(
        &self,
        view: &View<'_>,
        route: RouteId,
        resource: &Resource,
        caller: Caller<'_>,
        record: &mut impl Record,
    ) -> Option<Stop> {
        if self.proves(view, caller, resource.proof) {
            return None;
        }
        let stop = match caller {
            // Where somebody may come without a credential, one that proves it would help.
            Caller::Anonymous => Stop { stage: Stage::StepUp, ..Stop::challenge(Reason::AuthnMissing) },
            Caller::Verified(_) | Caller::SomeVerified => Stop::step_up(Some(RuleId::Resource(route))),
        };
        if resource.shadow {
            record.shadow(|| self.shadow_of(stop));
            return None;
        }
        Some(stop)
    }

    /// What whoever is asked to step up must bring: it meets all that the grant, the route, the risk and alerts demand of how somebody authenticated.
    pub(crate) fn step_up_demand(&self, view: &View<'_>) -> StepUpDemand {
        let mut proof = ProofDraft::default();
        if let Some((route, resource)) = self.resource_of(view) {
            let caller = view.caller(resource.authentication);
            let granted = self.grants_stage(view, route, caller, &mut Silent);
            if let Some(assignment) = granted.assignment().and_then(|id| self.assignments.get(id.0 as usize)) {
                let when = &assignment.when;
                proof = proof.and(ProofDraft { mfa: when.assurance_mfa, max_age_s: when.max_age_s });
            }
            if !resource.shadow {
                proof = proof.and(resource.proof);
            }
            proof.mfa |= matches!(granted, GrantOutcome::NeedsLowerRisk(_))
                || self.risk_stage(view, route, resource, caller, granted, &mut Silent).is_some()
                || self.containment_stage(view, resource, caller, &mut Silent).is_some();
        }
        // INVARIANT: something is demanded. Were it not known what, the most would be.
        proof.mfa |= proof.max_age_s.is_none();
        if proof.mfa {
            proof = proof.and(ProofDraft { mfa: true, max_age_s: Some(self.step_up.max_age_s) });
        }
        // Where an alert demands a new authentication, not one of before the alert.
        let demand = view.request.contained.step_up.filter(|demand| !demand.simulated);
        let since = demand.map(|demand| view.now.as_second().saturating_sub(demand.since.as_second()));
        let since = since.map(|age| u64::try_from(age).unwrap_or(0));
        let ProofDraft { mfa, max_age_s } = proof.and(ProofDraft { mfa: false, max_age_s: since });
        StepUpDemand { mfa, acr_values: if mfa { self.step_up.acr.clone() } else { Vec::new() }, max_age_s }
    }
}

impl ProofDraft {
    /// Both of them.
    fn and(self, other: Self) -> Self {
        let max_age_s = [self.max_age_s, other.max_age_s].into_iter().flatten().min();
        Self { mfa: self.mfa || other.mfa, max_age_s }
    }
}
