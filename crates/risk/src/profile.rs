//! What is usual for each principal: its networks, its devices, and how often it was let in. Bounded; the one not seen
//! for longest of a sample makes room.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::recent::RecentSet;
use crate::table::Table;

const NETWORKS_MAX: usize = 16;
const DEVICES_MAX: usize = 8;
/// Beyond this, history says nothing more, and counting it would only cost writes.
const HISTORY_MAX: u32 = 4_096;
/// A profile's time is written again only when it is older than this: 16 seconds.
const REFRESH_TICKS: u64 = 16 * 16;

/// Keyed by principal.
#[derive(Debug)]
pub(crate) struct Profiles(Table<Profile>);

#[derive(Debug, Default)]
struct Profile {
    history: AtomicU32,
    last_seen: AtomicU64,
    networks: RecentSet<NETWORKS_MAX>,
    devices: RecentSet<DEVICES_MAX>,
}

/// How a caller compares with what is usual for its principal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Familiarity {
    /// How often the principal was let in, at most 4,096. At 0 nothing is new.
    pub(crate) history: u32,
    /// Whether the network is usual; `None` where it is unknown.
    pub(crate) network: Option<bool>,
    /// Whether the device is usual; `None` where it is unknown.
    pub(crate) device: Option<bool>,
}

impl Profiles {
    pub(crate) fn new(bound: usize) -> Self {
        Self(Table::new(bound))
    }

    pub(crate) fn compare(&self, principal: u64, network: Option<u64>, device: Option<u64>) -> Familiarity {
        let compared = self.0.with(principal, |profile| Familiarity {
            history: profile.history.load(Ordering::Relaxed),
            network: network.map(|key| profile.networks.contains(key)),
            // A principal that never showed a device before shows nothing new with its first.
            device: device.filter(|_| !profile.devices.is_empty()).map(|key| profile.devices.contains(key)),
        });
        compared.unwrap_or_default()
    }

    pub(crate) fn learn(&self, principal: u64, network: Option<u64>, device: Option<u64>, now: u64) {
        // Higher is worth more, so the one not seen for longest goes first. None is ever pinned.
        let worth = |profile: &Profile| Some(profile.last_seen.load(Ordering::Relaxed));
        self.0.with_or_insert(principal, Profile::default, worth, |profile| profile.learn(network, device, now));
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Profile {
    fn learn(&self, network: Option<u64>, device: Option<u64>, now: u64) {
        if let Some(key) = network {
            self.networks.note(key, now);
        }
        if let Some(key) = device {
            self.devices.note(key, now);
        }
        if self.history.load(Ordering::Relaxed) < HISTORY_MAX {
            // Several threads may step over the bound by one each, which changes nothing.
            self.history.fetch_add(1, Ordering::Relaxed);
        }
        if now > self.last_seen.load(Ordering::Relaxed) + REFRESH_TICKS {
            self.last_seen.store(now, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_learned_is_usual_and_the_rest_is_not() {
        let profiles = Profiles::new(8);
        let (home, hotel, laptop, phone) = (Some(1 << 40), Some(2 << 40), Some(3 << 40), Some(4 << 40));
        let compare = |network, device| profiles.compare(9, network, device);
        assert_eq!(compare(home, laptop), Familiarity::default());
        profiles.learn(9, home, None, 1_000);
        assert_eq!(compare(home, laptop), Familiarity { history: 1, network: Some(true), device: None });
        profiles.learn(9, home, laptop, 1_000);
        assert_eq!(compare(home, laptop), Familiarity { history: 2, network: Some(true), device: Some(true) });
        assert_eq!(compare(hotel, phone), Familiarity { history: 2, network: Some(false), device: Some(false) });
        assert_eq!(compare(None, None), Familiarity { history: 2, network: None, device: None });
    }

    #[test]
    fn the_principal_not_seen_for_longest_is_forgotten() {
        let profiles = Profiles::new(8);
        for principal in 2..10 {
            profiles.learn(principal, Some(1 << 40), None, 1_000_000 - principal * 1_000);
        }
        profiles.learn(100, Some(1 << 40), None, 2_000_000);
        assert_eq!(profiles.len(), 8);
        assert_eq!(profiles.compare(9, None, None).history, 0);
        assert_eq!(profiles.compare(2, None, None).history, 1);
    }
}
