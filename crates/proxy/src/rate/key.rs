//! Who a request counts for: a network or a principal, hashed with a secret of the process.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};

use portcullis_policy::Principal;

use crate::settings::RateLimit;

/// The network that an address counts as: one IPv4 address, or the IPv6 /64 that one subscriber holds. An IPv4-mapped IPv6
/// address is IPv4 (RFC 4291 section 2.5.5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AddressKey(u128);

const SUBSCRIBER_BITS: u32 = 64;

impl AddressKey {
    /// Of an address.
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => u128::from(address.to_ipv6_mapped()),
            IpAddr::V6(address) => u128::from(address) >> SUBSCRIBER_BITS << SUBSCRIBER_BITS,
        })
    }
}

impl std::fmt::Display for AddressKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let address = Ipv6Addr::from(self.0);
        match address.to_ipv4_mapped() {
            Some(address) => write!(formatter, "{address}"),
            None => write!(formatter, "{address}/{SUBSCRIBER_BITS}"),
        }
    }
}

/// Makes the hashes that keys are kept under. Its secret is random, so that nobody can choose keys that meet.
#[derive(Debug, Default)]
pub(super) struct Hashing(RandomState);

impl Hashing {
    /// Of a limit: its route, what it says, and its number among those that say the same.
    pub(super) fn of_limit(&self, route: &str, limit: &RateLimit, number: usize) -> u64 {
        self.0.hash_one((route, limit, number))
    }

    pub(super) fn of_address(&self, limit: u64, address: AddressKey) -> u64 {
        self.0.hash_one((limit, address))
    }

    pub(super) fn of_principal(&self, limit: u64, principal: &Principal) -> u64 {
        self.0.hash_one((limit, principal.kind.as_str(), &*principal.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_counts_as_its_network() {
        let check = |address: &str, expected: &str| {
            assert_eq!(AddressKey::of(address.parse().unwrap()).to_string(), expected, "{address}");
        };
        check("192.0.2.1", "192.0.2.1");
        check("::ffff:192.0.2.1", "192.0.2.1");
        check("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64");
        check("2001:db8:1:2::", "2001:db8:1:2::/64");
        check("::1", "::/64");
    }
}
