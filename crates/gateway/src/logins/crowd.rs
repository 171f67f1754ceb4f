//! Who has how many logins ended at once: anybody can begin one and come back with a code that is none, and each has a provider asked. So nobody has all that can be
//! under way for itself.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// From one network at once: far more than people behind one address do, since an exchange takes a fraction of a second.
pub(super) const MOST_OF_ONE: usize = 16;
/// From one site of IPv6 at once: half of those that are asked about. Many a subscriber has a /48, with 65,536 networks in it.
const MOST_OF_A_SITE: usize = 32;

/// What is under way, by network. Bounded by what can be under way at all.
#[derive(Debug, Default)]
pub(super) struct Crowd(Mutex<HashMap<Network, usize>>);

/// Who is counted as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Network {
    /// An address of IPv4, or the 64 bits of IPv6 that one link has.
    One(u128),
    /// 48 bits of IPv6.
    Site(u128),
    /// All whose address is not known.
    Unknown,
}

impl Network {
    fn most(self) -> usize {
        match self {
            Self::One(_) | Self::Unknown => MOST_OF_ONE,
            Self::Site(_) => MOST_OF_A_SITE,
        }
    }
}

/// Those that count one.
type Networks = [Option<Network>; 2];

/// One of them. Dropped, it is over.
#[derive(Debug)]
pub(super) struct Place {
    crowd: Arc<Crowd>,
    networks: Networks,
}

impl Crowd {
    /// A place for one from there; `None`: there are as many as there may be.
    pub(super) fn enter(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Place> {
        let networks = networks(address);
        let mut under_way = self.under_way();
        let is_full = |network: &Network| under_way.get(network).is_some_and(|count| *count >= network.most());
        if networks.iter().flatten().any(is_full) {
            return None;
        }
        for network in networks.into_iter().flatten() {
            let count = under_way.entry(network).or_default();
            *count = count.saturating_add(1);
        }
        Some(Place { crowd: Arc::clone(self), networks })
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<Network, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut under_way = self.crowd.under_way();
        for network in self.networks.iter().flatten() {
            if let Some(count) = under_way.get_mut(network) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    under_way.remove(network);
                }
            }
        }
    }
}

fn networks(address: Option<IpAddr>) -> Networks {
    match address.map(|address| address.to_canonical()) {
        None => [Some(Network::Unknown), None],
        Some(IpAddr::V4(address)) => [Some(Network::One(u128::from(u32::from(address)))), None],
        Some(IpAddr::V6(address)) => {
            let first = |bits: u32| u128::from(address) & !(u128::MAX >> bits);
            [Some(Network::One(first(64))), Some(Network::Site(first(48)))]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_has_all_places_and_what_is_over_makes_room() {
        let crowd = Arc::<Crowd>::default();
        let enter = |address: &str| crowd.enter(Some(address.parse().unwrap()));
        let mut one: Vec<_> = (0..MOST_OF_ONE).map(|n| enter(&format!("2001:db8::{n}")).unwrap()).collect();
        assert!(enter("2001:db8::ffff:1").is_none(), "64 bits are one");
        assert!(enter("2001:db8:0:1::1").is_some() && enter("192.0.2.1").is_some());
        assert!(crowd.enter(None).is_some(), "who is not known is another");
        one.pop();
        let again = enter("2001:db8::1");
        assert!(again.is_some() && enter("2001:db8::2").is_none());
        drop((one, again));
        assert!(crowd.under_way().is_empty(), "nothing is left of who is gone");
        // In both spellings one address is one.
        let four: Vec<_> = (0..MOST_OF_ONE).map(|_| enter("192.0.2.1").unwrap()).collect();
        assert!(enter("::ffff:192.0.2.1").is_none());
        drop(four);
    }

    #[test]
    fn who_has_many_networks_of_ipv6_has_not_all_places() {
        let crowd = Arc::<Crowd>::default();
        let enter = |address: &str| crowd.enter(Some(address.parse().unwrap()));
        let mut site: Vec<_> = (0..MOST_OF_A_SITE).map(|n| enter(&format!("2001:db8:1:{n:x}::1")).unwrap()).collect();
        assert!(enter("2001:db8:1:ffff::1").is_none(), "48 bits are one site");
        assert!(enter("2001:db8:2::1").is_some(), "another site");
        assert!(
            crowd
                .under_way()
                .keys()
                .all(|network| !matches!(network, Network::One(at) if *at == first_64("2001:db8:1:ffff::"))),
            "who was not let in is not counted"
        );
        site.pop();
        assert!(enter("2001:db8:1:ffff::1").is_some());
        drop(site);
        assert!(crowd.under_way().is_empty());
    }

    fn first_64(network: &str) -> u128 {
        u128::from(network.parse::<std::net::Ipv6Addr>().unwrap())
    }
}
