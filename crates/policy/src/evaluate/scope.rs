//! Where a credential may be used: an API key for one route, or from one network. It is looked at as soon as the credential is known to be good,
//! so that no grant makes up for it.

use super::*;
use crate::principal::CredentialScope;

impl Policy {
    /// Why a credential does not count here, if it does not. Whoever is supposed to bring any credential brings one that does.
    pub(crate) fn out_of_scope(&self, view: &View<'_>, principal: &Principal) -> Option<Stop> {
        let scope = principal.scope.as_deref().filter(|_| !view.supposed.any_credential)?;
        let outside = Stop { stage: Stage::Authentication, ..Stop::deny(Reason::ConditionUnmet, None) };
        if view.question == Question::WithEveryGrant || !self.is_route_of(view, scope) {
            return Some(outside);
        }
        if scope.networks.is_empty() {
            return None;
        }
        // An address that is not known is in no list.
        let Some(members) = view.networks.map(|set| self.networks.members(set)) else { return Some(outside) };
        let mut unknown = None;
        for network in scope.networks.iter().filter_map(|name| self.network_named(name)) {
            if members.contains(network) {
                return None;
            }
            if self.network_facts.get(network.0 as usize).is_none_or(|facts| facts.unknown) {
                unknown = Some(network);
            }
        }
        Some(match unknown {
            Some(network) => Stop::undecided(Reason::FeedStale, Stage::Authentication, Some(RuleId::Network(network))),
            None => outside,
        })
    }

    /// Whether the request's route is one that it is for.
    pub(crate) fn is_route_of(&self, view: &View<'_>, scope: &CredentialScope) -> bool {
        let route = view.request.route.map_or("", |route| self.route_name(route));
        scope.routes.is_empty() || scope.routes.iter().any(|name| **name == *route)
    }
}
