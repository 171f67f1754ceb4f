//! The settings in force, and what is worked out from them once.

use std::net::IpAddr;
use std::sync::Arc;

use portcullis_policy::Ban;

use crate::Caller;
use crate::abuse::Limits;
use crate::network_set::NetworkSet;
use crate::score::Weights;
use crate::settings::{BanMode, Settings};

/// The settings and what is worked out from them once.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) settings: Settings,
    pub(super) limits: Limits,
    pub(super) weights: Arc<Weights>,
    pub(super) never: NetworkSet,
    corporate: NetworkSet,
    /// `[risk] reputation`, to share.
    reputation: Vec<(Arc<str>, i32)>,
}

impl Plan {
    pub(super) fn of(settings: Settings) -> Self {
        Self {
            limits: Limits::of(&settings.ban),
            weights: Arc::new(Weights::of(&settings)),
            reputation: settings.reputation.iter().map(|each| (each.network.as_str().into(), each.mnats)).collect(),
            never: NetworkSet::of(&settings.ban.never),
            corporate: NetworkSet::of(&settings.corporate_egress),
            settings,
        }
    }

    /// The worst of the networks of bad repute that an address is in.
    pub(super) fn reputation(&self, caller: &Caller<'_>, address: IpAddr) -> Option<(Arc<str>, i32)> {
        let policy = caller.policy.filter(|_| !self.reputation.is_empty())?;
        // Where it is not known what is in a network, nothing can be held against anybody.
        let in_it = self.reputation.iter().filter(|(network, _)| policy.network_with(network, address).is_some());
        in_it.max_by_key(|(_, mnats)| *mnats).cloned()
    }

    /// Whether the address is one of the organisation's: by what the policy's networks hold now, which feeds keep current, or, where nobody knows the
    /// policy, by what its file says.
    pub(super) fn is_corporate(&self, caller: &Caller<'_>, address: IpAddr) -> bool {
        self.corporate.contains(address)
            || caller.policy.is_some_and(|policy| {
                self.settings.corporate_networks.iter().any(|name| policy.network_with(name, address).is_some())
            })
    }

    /// A ban as the mode of now has it: one that began under another mode is not stronger than this one allows.
    pub(super) fn as_configured(&self, ban: Arc<Ban>) -> Option<Arc<Ban>> {
        match self.settings.ban.mode {
            BanMode::Off => None,
            BanMode::Simulate if !ban.simulated => Some(Arc::new(Ban { simulated: true, ..Ban::clone(&ban) })),
            BanMode::Simulate | BanMode::Enforce => Some(ban),
        }
    }
}
