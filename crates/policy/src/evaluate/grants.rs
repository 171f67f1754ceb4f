//! Grants: whether one of those that the caller holds permits the action, and else how near the best one comes.

use super::*;

impl Policy {
    pub(crate) fn grants_stage(
        &self,
        view: &View<'_>,
        route: RouteId,
        caller: Caller<'_>,
        record: &mut impl Record,
    ) -> GrantOutcome {
        let mut best = GrantOutcome::Nothing;
        if self.holds_role_directly(view, route, caller) {
            return GrantOutcome::Granted(None);
        }
        let _ = self.for_each_subject(view, caller, &mut |subject| {
            for id in subject.assignments.on(route) {
                let Some(assignment) = self.assignments.get(id.0 as usize) else { continue };
                if !self.role_permits(assignment.role, view) {
                    continue;
                }
                let outcome = self.assignment_outcome(view, id, assignment, caller);
                if assignment.shadow {
                    if matches!(outcome, GrantOutcome::Granted(_)) {
                        record.shadow(|| self.shadow_grant(assignment));
                    }
                    continue;
                }
                best = best.better(outcome);
                // One grant is enough, and which one is fixed: subjects and names have an order.
                if matches!(best, GrantOutcome::Granted(_)) {
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        });
        best
    }

    fn holds_role_directly(&self, view: &View<'_>, route: RouteId, caller: Caller<'_>) -> bool {
        let supposed = view.supposed.role.filter(|_| self.counts_directly(route));
        if supposed.is_some_and(|role| self.role_permits(role, view)) {
            return true;
        }
        match caller {
            Caller::Anonymous | Caller::SomeVerified => false,
            Caller::Verified(principal) => {
                self.direct_roles(principal, route).any(|role| self.role_permits(role, view))
                    || self.lent_role(view, caller).is_some()
            }
        }
    }

    /// Whether roles that a credential carries count on a route. They are grants on every route, and so none on the gateway's own.
    pub(crate) fn counts_directly(&self, route: RouteId) -> bool {
        self.reserved != Some(route)
    }

    /// The roles that the credential carries, as far as they count on the route.
    pub(crate) fn direct_roles<'p>(
        &'p self,
        principal: &'p Principal,
        route: RouteId,
    ) -> impl Iterator<Item = RoleId> + 'p {
        let names = if self.counts_directly(route) { &*principal.roles } else { &[] };
        names.iter().filter_map(|name| self.role_by_name.get(&**name)).copied()
    }

    /// The role that was lent to the caller for a time, is so now on this route, and permits the action.
    pub(crate) fn lent_role<'a>(&self, view: &View<'a>, caller: Caller<'_>) -> Option<(RoleId, &'a Activation)> {
        self.lent_roles(view, caller).find(|(role, _)| self.role_permits(*role, view))
    }

    /// The roles that are lent to the caller now, on the route of the request. One that the policy does not know gives nothing.
    pub(crate) fn lent_roles<'s, 'a: 's>(
        &'s self,
        view: &View<'a>,
        caller: Caller<'_>,
    ) -> impl Iterator<Item = (RoleId, &'a Activation)> + use<'s, 'a> {
        let lent: &'a [Activation] = match caller {
            Caller::Verified(_) => view.request.activations,
            Caller::Anonymous | Caller::SomeVerified => &[],
        };
        // What was lent on every route is no exception: the gateway's own has to be named.
        let named = view.request.route.is_some_and(|route| !self.counts_directly(route));
        let route = view.request.route.map_or("", |route| self.route_name(route));
        let (now, since) = (view.now, view.ended_since);
        lent.iter().filter(move |each| each.is_in_force(now) || is_behind(each.until, since)).filter_map(move |each| {
            let role = self.role_by_name.get(each.gives.role_on(route, named)?)?;
            Some((*role, each))
        })
    }

    /// Whether one of the role's permissions has an action that the request is, and no not-action of the same permission.
    pub(crate) fn role_permits(&self, role: RoleId, view: &View<'_>) -> bool {
        let Some(role) = self.roles.get(role.0 as usize) else { return false };
        role.actions.tags(&view.matched, view.method).any(|permission| {
            let excluded = self.not_actions.get(permission as usize);
            excluded.is_some_and(|excluded| !excluded.contains(&view.matched, view.method))
        })
    }

    pub(crate) fn assignment_outcome(
        &self,
        view: &View<'_>,
        id: AssignmentId,
        assignment: &Assignment,
        caller: Caller<'_>,
    ) -> GrantOutcome {
        match view.state_of(&assignment.period) {
            PeriodState::After => return GrantOutcome::Expired(id),
            PeriodState::Before => return GrantOutcome::NotYetActive(id),
            PeriodState::Within => {}
        }
        if assignment.when.is_empty() {
            return GrantOutcome::Granted(Some(id));
        }
        let (mut needs_proof, mut needs_lower_risk) = (false, false);
        for kind in ConditionKind::ALL {
            if self.condition(view, &assignment.when, kind, caller) == Truth::Yes {
                continue;
            }
            match kind {
                ConditionKind::Assurance | ConditionKind::MaxAge => needs_proof = true,
                ConditionKind::MaxRisk => needs_lower_risk = true,
                ConditionKind::Networks
                | ConditionKind::Hours
                | ConditionKind::Countries
                | ConditionKind::Device
                | ConditionKind::Activation => return GrantOutcome::ConditionUnmet(id),
            }
        }
        match (needs_proof, needs_lower_risk) {
            (false, false) => GrantOutcome::Granted(Some(id)),
            (true, false) => GrantOutcome::NeedsAssurance(id),
            (false, true) => GrantOutcome::NeedsLowerRisk(id),
            (true, true) => GrantOutcome::ConditionUnmet(id),
        }
    }
}

/// What the grants' outcome means on a resource, before risk is looked at.
pub(crate) fn grants_stop(
    granted: GrantOutcome,
    resource: &Resource,
    view: &View<'_>,
    caller: Caller<'_>,
) -> Option<Stop> {
    let reason = match granted {
        GrantOutcome::Granted(_) => return None,
        GrantOutcome::NeedsLowerRisk(id) if view.evidence => {
            return Some(Stop::deny(Reason::RiskTooHigh, Some(RuleId::Assignment(id))));
        }
        GrantOutcome::NeedsAssurance(id) | GrantOutcome::NeedsLowerRisk(id) if caller != Caller::Anonymous => {
            return Some(Stop::step_up(Some(RuleId::Assignment(id))));
        }
        GrantOutcome::NeedsAssurance(_) | GrantOutcome::NeedsLowerRisk(_) | GrantOutcome::ConditionUnmet(_) => {
            Reason::ConditionUnmet
        }
        GrantOutcome::Expired(_) => Reason::AssignmentExpired,
        GrantOutcome::NotYetActive(_) => Reason::NotYetActive,
        GrantOutcome::Nothing => Reason::NoMatchingGrant,
    };
    if caller == Caller::Anonymous && resource.authentication == AuthenticationRule::Optional {
        // A credential might help.
        return Some(Stop { stage: Stage::Grants, ..Stop::challenge(Reason::AuthnMissing) });
    }
    Some(Stop::deny(reason, granted.assignment().map(RuleId::Assignment)))
}

impl GrantOutcome {
    pub(crate) fn assignment(self) -> Option<AssignmentId> {
        match self {
            Self::Granted(id) => id,
            Self::NeedsAssurance(id)
            | Self::NeedsLowerRisk(id)
            | Self::ConditionUnmet(id)
            | Self::Expired(id)
            | Self::NotYetActive(id) => Some(id),
            Self::Nothing => None,
        }
    }

    pub(crate) fn rank(self) -> u8 {
        match self {
            Self::Granted(_) => 0,
            Self::NeedsAssurance(_) => 1,
            Self::NeedsLowerRisk(_) => 2,
            Self::ConditionUnmet(_) => 3,
            Self::Expired(_) => 4,
            Self::NotYetActive(_) => 5,
            Self::Nothing => 6,
        }
    }

    /// The better of two for the caller; of equals the one first by name.
    pub(crate) fn better(self, other: Self) -> Self {
        match self.rank().cmp(&other.rank()).then(self.assignment().cmp(&other.assignment())) {
            std::cmp::Ordering::Greater => other,
            std::cmp::Ordering::Less | std::cmp::Ordering::Equal => self,
        }
    }
}
