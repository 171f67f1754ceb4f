//! The stages that need no identity: bans of an address, and networks.

use super::*;

impl Policy {
    /// A ban of the whole address refuses before anything else is looked at.
    pub(crate) fn ban_stage(&self, view: &View<'_>, record: &mut impl Record) -> Option<Stop> {
        let ban = view.request.bans.address.filter(|ban| ban.scope == BanScope::Address)?;
        if ban.simulated {
            record.shadow(|| ShadowFinding { outcome: Outcome::Deny, reason: Some(Reason::BanActive), rule: None });
            return None;
        }
        Some(Stop::deny(Reason::BanActive, None))
    }

    /// The ban that refuses, here or once it is known who it is.
    pub(crate) fn refusing_ban<'a>(&self, view: &View<'a>) -> Option<&'a Ban> {
        let Bans { address, principal } = view.request.bans;
        let rule = self.resource_of(view).map_or(AuthenticationRule::Required, |(_, resource)| resource.authentication);
        let verified = view.caller(rule) != Caller::Anonymous;
        let refuses = |ban: &&Ban| !ban.simulated && (ban.scope != BanScope::Anonymous || !verified);
        address.filter(refuses).or(principal.filter(|ban| verified && refuses(ban)))
    }

    pub(crate) fn network_stage(
        &self,
        view: &View<'_>,
        route: RouteId,
        resource: &Resource,
        record: &mut impl Record,
    ) -> Option<Stop> {
        let stop = self.network_answer(view, route, resource)?;
        if resource.shadow {
            record.shadow(|| self.shadow_of(stop));
            return None;
        }
        Some(stop)
    }

    fn network_answer(&self, view: &View<'_>, route: RouteId, resource: &Resource) -> Option<Stop> {
        if resource.allow.is_empty() && resource.deny.is_empty() {
            return None;
        }
        let denied = self.membership(view.networks, &resource.deny);
        if let Membership::In(network) = denied {
            return Some(Stop::deny(Reason::IpDenied, Some(RuleId::Network(network))));
        }
        let rule = Some(RuleId::Resource(route));
        if !resource.allow.is_empty() {
            match self.membership(view.networks, &resource.allow) {
                Membership::In(_) => {}
                Membership::AddressUnknown | Membership::Out => return Some(Stop::deny(Reason::IpNotAllowed, rule)),
                Membership::NetworkUnknown(network) => {
                    return Some(Stop::undecided(Reason::FeedStale, Stage::Network, Some(RuleId::Network(network))));
                }
            }
        }
        match denied {
            Membership::In(_) | Membership::Out => None,
            Membership::NetworkUnknown(network) => {
                Some(Stop::undecided(Reason::FeedStale, Stage::Network, Some(RuleId::Network(network))))
            }
            Membership::AddressUnknown => Some(Stop::undecided(Reason::PolicyUnavailable, Stage::Network, rule)),
        }
    }

    /// Whether the client is in one of the networks.
    pub(crate) fn membership(&self, client: Option<NetworkSetId>, networks: &[NetworkId]) -> Membership {
        let Some(set) = client else {
            return if networks.is_empty() { Membership::Out } else { Membership::AddressUnknown };
        };
        let members = self.networks.members(set);
        if let Some(network) = networks.iter().find(|network| members.contains(**network)) {
            return Membership::In(*network);
        }
        let unknown =
            |network: &&NetworkId| self.network_facts.get(network.0 as usize).is_some_and(|facts| facts.unknown);
        match networks.iter().find(unknown) {
            Some(network) => Membership::NetworkUnknown(*network),
            None => Membership::Out,
        }
    }
}

/// Whether the client is in one of some networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Membership {
    In(NetworkId),
    Out,
    /// This one was never loaded, or is stale.
    NetworkUnknown(NetworkId),
    AddressUnknown,
}
