//! Who and what was let in before: by that a lock-out is told from an attack.

use std::collections::HashSet;
use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use portcullis_policy::{KeptRequest, PrincipalKind};

use crate::sample::{Answered, Outlook, network_of};

/// Networks, principals and software that were let in before a time.
#[derive(Debug, Clone, Default)]
pub struct Familiar {
    networks: HashSet<u64>,
    principals: HashSet<(PrincipalKind, Box<str>)>,
    software: HashSet<Box<str>>,
}

/// A release comes to few callers at first: software that was refused just before there were many is no old acquaintance.
const FIRST_CALLERS: SignedDuration = SignedDuration::from_mins(5);

impl Familiar {
    /// Of the requests of a sample that were let in and answered well before this time.
    pub fn of(sample: &Outlook, before: Timestamp) -> Self {
        let mut familiar = Self::default();
        let long_before = before.checked_sub(FIRST_CALLERS).unwrap_or(Timestamp::MIN);
        // What was refused says nothing of who may come, but the software was there.
        let known_long = sample.software.iter().filter(|(_, first)| *first < long_before);
        familiar.software.extend(known_long.map(|(name, _)| Box::from(&**name)));
        let older = sample.older.iter().map(|sampled| &sampled.seen);
        for seen in sample.recent.iter().chain(older).filter(|seen| seen.request.now < before) {
            let Answered::Permitted(status) = seen.answered else { continue };
            familiar.software.insert(seen.request.software().into());
            if matches!(status, 401 | 403) {
                continue;
            }
            familiar.networks.extend(network_of(seen.request.client.ip()));
            if let Some(principal) = seen.request.principal() {
                familiar.principals.insert((principal.kind, principal.id.clone()));
            }
        }
        familiar
    }

    /// Whether somebody was let in from the network of this address.
    pub fn has_network(&self, address: Option<IpAddr>) -> bool {
        network_of(address).is_some_and(|network| self.networks.contains(&network))
    }

    /// Whether this caller, or somebody from its network, was let in.
    pub fn has_caller(&self, request: &KeptRequest) -> bool {
        let known = request.principal().is_some_and(|it| self.principals.contains(&(it.kind, it.id.clone())));
        known || self.has_network(request.client.ip())
    }

    /// Whether somebody came with this software; also where nothing says which it is.
    pub fn has_software(&self, software: &str) -> bool {
        software.is_empty() || self.software.contains(software)
    }
}
