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
        Self(Table::kept(bound))
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

    /// Puts back a profile that was kept, as [`Profile::encode`] wrote it. Says whether it could be read and there was room.
    pub(crate) fn restore(&self, principal: u64, kept: &[u8], now: u64) -> bool {
        let Some(profile) = Profile::decode(kept, now) else { return false };
        let worth = |profile: &Profile| Some(profile.last_seen.load(Ordering::Relaxed));
        self.0.with_or_insert(principal, || profile, worth, |_| ()).is_some()
    }

    /// Shows the profiles that have changed, about `most` of them, as they are kept; says whether there are more.
    pub(crate) fn take_changed(&self, most: usize, mut show: impl FnMut(u64, Vec<u8>)) -> bool {
        self.0.take_marked(most, |principal, profile| show(principal, profile.encode()))
    }

    pub(crate) fn mark_all(&self) {
        self.0.mark_all();
    }

    pub(crate) fn marked(&self) -> usize {
        self.0.marked()
    }

    pub(crate) fn bound(&self) -> usize {
        self.0.bound()
    }

    pub(crate) fn take_marks(&self) {
        self.0.take_marks();
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

/// The first byte of a kept profile: how the rest is written. One that is written otherwise is forgotten.
const FORM: u8 = 1;

impl Profile {
    /// The profile as it is kept over a restart. Opaque to everybody else.
    fn encode(&self) -> Vec<u8> {
        let words = [u64::from(self.history.load(Ordering::Relaxed)), self.last_seen.load(Ordering::Relaxed)];
        let words = words.into_iter().chain(self.networks.words()).chain(self.devices.words());
        std::iter::once(FORM).chain(words.flat_map(u64::to_le_bytes)).collect()
    }

    /// A profile that was kept. `None` where it is written in another form. Nothing in it is later than `now`.
    fn decode(kept: &[u8], now: u64) -> Option<Self> {
        let (form, rest) = kept.split_first()?;
        let (words, more) = rest.as_chunks::<8>();
        if *form != FORM || !more.is_empty() || words.len() != 2 + NETWORKS_MAX + DEVICES_MAX {
            return None;
        }
        let mut words = words.iter().map(|word| u64::from_le_bytes(*word));
        let history = u32::try_from(words.next()?).ok()?.min(HISTORY_MAX);
        let last_seen = words.next()?.min(now);
        let networks: Vec<u64> = words.by_ref().take(NETWORKS_MAX).collect();
        let devices: Vec<u64> = words.collect();
        Some(Self {
            history: AtomicU32::new(history),
            last_seen: AtomicU64::new(last_seen),
            networks: RecentSet::of_words(networks.try_into().ok()?, now),
            devices: RecentSet::of_words(devices.try_into().ok()?, now),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_read_as_it_was_written_and_nothing_else_is_read() {
        let profiles = Profiles::new(8);
        for n in 0..5 {
            profiles.learn(9, Some((n + 1) << 40), Some((n + 1) << 50), 1_000 + n);
        }
        let mut kept = Vec::new();
        assert!(!profiles.take_changed(10, |key, bytes| kept.push((key, bytes))));
        let [(9, bytes)] = &kept[..] else { panic!("{kept:?}") };
        let again = Profiles::new(8);
        assert!(again.restore(9, bytes, 1_002));
        for key in 0..8_u64 {
            let both = [&profiles, &again].map(|each| each.compare(9, Some(key << 40), Some(key << 50)));
            assert_eq!(both[0], both[1], "{key}");
        }
        assert_eq!(again.marked(), 1, "what was put back is marked, and costs one write");
        for broken in [&bytes[..bytes.len() - 1], &[][..], &[FORM][..], &[&[FORM + 1], &bytes[1..]].concat()] {
            assert!(!Profiles::new(8).restore(9, broken, 2_000), "{broken:?}");
        }
    }

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
