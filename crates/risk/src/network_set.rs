//! A list of networks that is asked about one address, in the time of a binary search: the lists may come from feeds, and
//! every refused request asks.

use std::net::IpAddr;

use ipnet::IpNet;

/// Disjoint networks in the order of their first addresses.
#[derive(Debug, Default)]
pub(crate) struct NetworkSet(Vec<IpNet>);

impl NetworkSet {
    pub(crate) fn of(networks: &[IpNet]) -> Self {
        let mut disjoint = IpNet::aggregate(&networks.to_vec());
        disjoint.sort_by_key(IpNet::network);
        Self(disjoint)
    }

    /// Whether one of the networks contains the address. An IPv4-mapped IPv6 address is IPv4.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let after = self.0.partition_point(|network| network.network() <= address);
        after.checked_sub(1).and_then(|index| self.0.get(index)).is_some_and(|network| network.contains(&address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_border_of_each_network_decides() {
        let networks = ["10.0.0.0/8", "10.1.0.0/16", "192.0.2.7/32", "2001:db8::/48", "203.0.113.64/26"];
        let set = NetworkSet::of(&networks.map(|network| network.parse().unwrap()));
        let check = |address: &str, expected: bool| {
            assert_eq!(set.contains(address.parse().unwrap()), expected, "{address}");
        };
        check("9.255.255.255", false);
        check("10.0.0.0", true);
        check("10.255.255.255", true);
        check("11.0.0.0", false);
        check("192.0.2.7", true);
        check("::ffff:192.0.2.7", true);
        check("192.0.2.8", false);
        check("203.0.113.63", false);
        check("203.0.113.64", true);
        check("2001:db8::1", true);
        check("2001:db8:1::", false);
        assert!(!NetworkSet::of(&[]).contains([127, 0, 0, 1].into()));
    }
}
