//! What one policy answers to one combination of facts, in two steps: what the denies and grants say of the caller, which is
//! asked once and combined; and the stages around them.

use super::*;

#[derive(Debug, Clone, Copy)]
pub(super) struct RuleEffect {
    deny: Option<Stop>,
    grant: GrantOutcome,
}

impl RuleEffect {
    pub(super) const NONE: Self = Self { deny: None, grant: GrantOutcome::Nothing };

    /// What decides when the caller is both.
    pub(super) fn and(self, other: Self) -> Self {
        let deny = match (self.deny, other.deny) {
            (Some(one), Some(two)) if one.outcome == Outcome::Undecided => Some(two),
            (one, two) => one.or(two),
        };
        Self { deny, grant: self.grant.better(other.grant) }
    }

    pub(super) fn signature(&self) -> (Option<Outcome>, u8) {
        (self.deny.map(|stop| stop.outcome), self.grant.rank())
    }
}

pub(super) type Answered = (Outcome, Option<&'static str>);

/// One caller under both policies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) effects: [RuleEffect; 2],
}

impl Asked {
    pub(super) fn and(self, other: Self) -> Self {
        let ([before, after], [other_before, other_after]) = (self.effects, other.effects);
        Self { effects: [before.and(other_before), after.and(other_after)] }
    }

    pub(super) fn signature(&self) -> [(Option<Outcome>, u8); 2] {
        let [before, after] = &self.effects;
        [before.signature(), after.signature()]
    }
}

impl Policy {
    /// What the denies and the grants say of a caller.
    pub(super) fn effect(&self, view: &View<'_>, route: RouteId, caller: Caller<'_>) -> RuleEffect {
        RuleEffect {
            deny: self.deny_stage(view, route, caller, &mut Silent),
            grant: self.grants_stage(view, route, caller, &mut Silent),
        }
    }

    /// The answer, when the denies and the grants say this of the caller; without it they are asked.
    pub(super) fn answer(&self, view: &View<'_>, effect: Option<RuleEffect>) -> Answered {
        let stop = self.stop(view, effect);
        stop.map_or((Outcome::Permit, None), |stop| (stop.outcome, Some(stop.reason.code())))
    }

    pub(super) fn stop(&self, view: &View<'_>, effect: Option<RuleEffect>) -> Option<Stop> {
        if let Some(stop) = self.admission(view, &mut Silent) {
            return Some(stop);
        }
        let Some((route, resource)) = self.resource_of(view) else { return Some(Stop::NO_ROUTE) };
        if let Some(stop) = self.authentication_stage(view, resource, &mut Silent) {
            return Some(stop);
        }
        let caller = view.caller(resource.authentication);
        let effect = effect.unwrap_or_else(|| self.effect(view, route, caller));
        effect.deny.or_else(|| self.conclude(view, route, resource, caller, effect.grant, &mut Silent).err())
    }
}
