//! Explicit denies: stronger than any grant.

use super::*;

impl Policy {
    /// An explicit deny is stronger than any grant; one that an unknown fact could bring about leaves the answer open.
    pub(crate) fn deny_stage(
        &self,
        view: &View<'_>,
        route: RouteId,
        caller: Caller<'_>,
        record: &mut impl Record,
    ) -> Option<Stop> {
        if self.denies.is_empty() {
            return None;
        }
        let mut open = None;
        let mut decisive: Option<DenyId> = None;
        let _ = self.for_each_subject(view, caller, &mut |subject| {
            for id in subject.denies.on(route) {
                let Some(deny) = self.denies.get(id.0 as usize) else { continue };
                if !deny.actions.contains(&view.matched, view.method)
                    || deny.period.state(view.now) != PeriodState::Within
                {
                    continue;
                }
                match self.conditions_hold(view, &deny.when, caller) {
                    Truth::No => {}
                    Truth::Yes if deny.shadow => {
                        record.shadow(|| self.shadow_of(Stop::deny(Reason::ExplicitDeny, Some(RuleId::Deny(id)))))
                    }
                    Truth::Yes => decisive = Some(decisive.map_or(id, |best| best.min(id))),
                    Truth::Unknown if deny.shadow => {}
                    Truth::Unknown => open = Some(open.map_or(id, |best: DenyId| best.min(id))),
                }
            }
            ControlFlow::<()>::Continue(())
        });
        match (decisive, open) {
            (Some(id), _) => Some(Stop::deny(Reason::ExplicitDeny, Some(RuleId::Deny(id)))),
            (None, Some(id)) => Some(Stop::undecided(Reason::PolicyUnavailable, Stage::Deny, Some(RuleId::Deny(id)))),
            (None, None) => None,
        }
    }
}
