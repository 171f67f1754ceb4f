//! Who has how many logins ended at once: anybody can begin one and come back with a code that is none, and each has a provider asked. So nobody has all that can be
//! under way for itself.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// From one network at once: far more than people behind one address do, since an exchange takes a fraction of a second.
const MOST_OF_ONE: usize = 16;

/// What is under way, by network. Bounded by what can be under way at all.
#[derive(Debug, Default)]
pub(super) struct Crowd(Mutex<HashMap<Network, usize>>);

/// An address of IPv4, or the 64 bits of IPv6 that one subscriber has; all whose address is not known are one.
type Network = Option<u128>;

/// One of them. Dropped, it is over.
#[derive(Debug)]
pub(super) struct Place<'c> {
    crowd: &'c Crowd,
    network: Network,
}

impl Crowd {
    /// A place for one from there; `None`: there are as many as there may be.
    pub(super) fn enter(&self, address: Option<IpAddr>) -> Option<Place<'_>> {
        let network = address.map(network);
        let mut under_way = self.under_way();
        let count = under_way.entry(network).or_default();
        if *count >= MOST_OF_ONE {
            return None;
        }
        *count += 1;
        Some(Place { crowd: self, network })
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<Network, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut under_way = self.crowd.under_way();
        if let Some(count) = under_way.get_mut(&self.network) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                under_way.remove(&self.network);
            }
        }
    }
}

fn network(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address) & !u128::from(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_has_all_places_and_what_is_over_makes_room() {
        let crowd = Crowd::default();
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
}
