//! Risk and step-up: what the band of a request means on a route.

use super::*;

impl Policy {
    /// The band decides: low permits, medium steps up, high denies where there is evidence and steps up where there is
    /// none. Who cannot answer a step-up (a service, the holder of a certificate, or a route that ignores credentials) is permitted, unless
    /// the policy says that services are denied then. On a
    /// resource in shadow mode a step-up, and what its sensitivity would have changed, are only reported.
    pub(crate) fn risk_stage(
        &self,
        view: &View<'_>,
        route: RouteId,
        resource: &Resource,
        caller: Caller<'_>,
        granted: GrantOutcome,
        record: &mut impl Record,
    ) -> Option<Stop> {
        if resource.shadow {
            let declared = self.band(resource.sensitivity, view.request.risk).0;
            if let Some(stop) = self.risk_answer(view, declared, route, resource, caller, granted) {
                record.shadow(|| self.shadow_of(stop));
            }
        }
        let stop = self.risk_answer(view, view.level, route, resource, caller, granted)?;
        if !self.risk.enforce || resource.shadow && stop.outcome == Outcome::StepUp {
            record.shadow(|| self.shadow_of(stop));
            return None;
        }
        Some(stop)
    }

    fn risk_answer(
        &self,
        view: &View<'_>,
        level: RiskLevel,
        route: RouteId,
        resource: &Resource,
        caller: Caller<'_>,
        granted: GrantOutcome,
    ) -> Option<Stop> {
        let rule = granted.assignment().map(RuleId::Assignment).or(Some(RuleId::Resource(route)));
        let proven = view.evidence || view.request.risk.stated == Some(RiskLevel::High);
        match level {
            RiskLevel::Low => None,
            RiskLevel::High if proven => Some(Stop::deny(Reason::RiskTooHigh, rule)),
            RiskLevel::Medium | RiskLevel::High => {
                let can_step_up = match caller {
                    Caller::Verified(principal) => principal.kind == PrincipalKind::User,
                    Caller::Anonymous => resource.authentication != AuthenticationRule::None,
                    // Some principal whom the route takes: where it takes certificates alone, the holder of one.
                    Caller::SomeVerified => resource.authentication != AuthenticationRule::Certificate,
                };
                let is_service = matches!(caller, Caller::Verified(principal) if principal.kind != PrincipalKind::User);
                if is_service && self.risk.deny_services {
                    return Some(Stop::deny(Reason::RiskTooHigh, rule));
                }
                (can_step_up && !self.has_fresh_mfa(view, caller)).then(|| Stop::step_up(rule))
            }
        }
    }
}
