//! Networks: for one address, the set of all named networks that hold it, by one binary search.
//!
//! Prefixes nest or are disjoint, so at compile time they are cut into consecutive ranges, each with the interned set of
//! the networks that cover it. The cost of a look-up grows with the logarithm of the number of prefixes, and the memory is
//! a start and a set index for each range.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

/// The index of a `[[network]]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct NetworkId(pub(crate) u32);

/// The index of an interned set of networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct NetworkSetId(u32);

/// All networks of a policy.
#[derive(Debug, Clone)]
pub(crate) struct NetworkIndex {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
    sets: Vec<Box<[NetworkId]>>,
    /// By network: the sets that hold it and that some address falls into.
    within: Vec<Box<[NetworkSetId]>>,
}

impl NetworkIndex {
    /// The set without any network.
    pub(crate) const NOWHERE: NetworkSetId = NetworkSetId(0);

    /// Cuts the address space along all prefixes.
    pub(crate) fn build(networks: &[&[IpNet]]) -> Self {
        let mut v4 = Vec::new();
        let mut v6 = Vec::new();
        for (index, prefixes) in networks.iter().enumerate() {
            let network = NetworkId(u32::try_from(index).unwrap_or(u32::MAX));
            for prefix in *prefixes {
                match in_canonical_form(prefix) {
                    IpNet::V4(net) => v4.push((u32::from(net.network()), u32::from(net.broadcast()), network)),
                    IpNet::V6(net) => v6.push((u128::from(net.network()), u128::from(net.broadcast()), network)),
                }
            }
        }
        let mut sets = Sets::default();
        let v4 = Ranges::build(v4, &mut sets);
        let v6 = Ranges::build(v6, &mut sets);
        let used: BTreeSet<NetworkSetId> = v4.sets.iter().chain(&v6.sets).copied().collect();
        let mut within = vec![Vec::new(); networks.len()];
        for set in used {
            for network in sets.list.get(set.0 as usize).into_iter().flatten() {
                if let Some(list) = within.get_mut(network.0 as usize) {
                    list.push(set);
                }
            }
        }
        let within = within.into_iter().map(Vec::into_boxed_slice).collect();
        Self { v4, v6, sets: sets.list, within }
    }

    /// The set of networks that hold the address, which is canonical.
    pub(crate) fn lookup(&self, address: IpAddr) -> NetworkSetId {
        match address {
            IpAddr::V4(address) => self.v4.find(u32::from(address)),
            IpAddr::V6(address) => self.v6.find(u128::from(address)),
        }
    }

    /// The networks of a set, in order.
    pub(crate) fn members(&self, set: NetworkSetId) -> &[NetworkId] {
        self.sets.get(set.0 as usize).map_or(&[], |members| members)
    }

    /// Every pair of sets that some address falls into, one in `self` and one in `other`, each with such an address.
    pub(crate) fn joint_sets(&self, other: &Self) -> Vec<(NetworkSetId, NetworkSetId, IpAddr)> {
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        let mut add = |address: IpAddr| {
            let pair = (self.lookup(address), other.lookup(address));
            if seen.insert(pair) {
                found.push((pair.0, pair.1, address));
            }
        };
        for start in joint_starts(&self.v4.starts, &other.v4.starts) {
            add(IpAddr::V4(start.into()));
        }
        for start in joint_starts(&self.v6.starts, &other.v6.starts) {
            let address = std::net::Ipv6Addr::from(start);
            match address.to_ipv4_mapped() {
                None => add(IpAddr::V6(address)),
                // Such an address is an IPv4 address; the range may go on behind them.
                Some(_) => add_after_mapped(start, &self.v6.starts, &other.v6.starts, &mut add),
            }
        }
        found
    }

    /// Every set that some address of the network falls into. An address range is in exactly one set.
    pub(crate) fn sets_within(&self, network: NetworkId) -> &[NetworkSetId] {
        self.within.get(network.0 as usize).map_or(&[], |sets| sets)
    }
}

/// The beginnings of all ranges of both, and the lowest address.
fn joint_starts<K: Ord + Copy + Default>(one: &[K], other: &[K]) -> Vec<K> {
    let mut starts: Vec<K> = [K::default()].iter().chain(one).chain(other).copied().collect();
    starts.sort_unstable();
    starts.dedup();
    starts
}

/// The first address behind the IPv4-mapped ones, when no range begins between `start` and it.
fn add_after_mapped(start: u128, one: &[u128], other: &[u128], add: &mut impl FnMut(IpAddr)) {
    const AFTER: u128 = 0x1_0000_0000_0000;
    let next = |starts: &[u128]| starts.get(starts.partition_point(|each| *each <= start)).copied();
    if [next(one), next(other)].into_iter().flatten().all(|next| next > AFTER) {
        add(IpAddr::V6(AFTER.into()));
    }
}

/// A prefix of IPv4-mapped IPv6 addresses as the IPv4 prefix it is: addresses come in that form (RFC 4291 section
/// 2.5.5.2), so it would match none of them otherwise.
pub(crate) fn in_canonical_form(prefix: &IpNet) -> IpNet {
    if let IpNet::V6(net) = prefix
        && let Some(length) = net.prefix_len().checked_sub(96)
        && let Some(address) = net.network().to_ipv4_mapped()
        && let Ok(mapped) = Ipv4Net::new(address, length)
    {
        return IpNet::V4(mapped);
    }
    *prefix
}

/// Consecutive ranges: range `i` begins at `starts[i]` and ends before `starts[i + 1]`.
#[derive(Debug, Clone)]
struct Ranges<K> {
    starts: Box<[K]>,
    sets: Box<[NetworkSetId]>,
}

impl<K: Address> Ranges<K> {
    fn build(mut prefixes: Vec<(K, K, NetworkId)>, sets: &mut Sets) -> Self {
        prefixes.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)).then(a.2.cmp(&b.2)));
        prefixes.dedup();
        let mut cut = Cut { starts: Vec::new(), sets: Vec::new() };
        let mut open: Vec<(K, NetworkSetId)> = Vec::new();
        for (start, end, network) in prefixes {
            cut.close_until(&mut open, Some(start));
            let outer = open.last().map_or(NetworkIndex::NOWHERE, |(_, set)| *set);
            let set = sets.with(outer, network);
            cut.begin(start, set);
            open.push((end, set));
        }
        cut.close_until(&mut open, None);
        Self { starts: cut.starts.into_boxed_slice(), sets: cut.sets.into_boxed_slice() }
    }

    fn find(&self, address: K) -> NetworkSetId {
        let after = self.starts.partition_point(|start| *start <= address);
        after.checked_sub(1).and_then(|index| self.sets.get(index)).copied().unwrap_or(NetworkIndex::NOWHERE)
    }
}

struct Cut<K> {
    starts: Vec<K>,
    sets: Vec<NetworkSetId>,
}

impl<K: Address> Cut<K> {
    /// Begins a range; one that would be empty is replaced, one that changes nothing is left out.
    fn begin(&mut self, start: K, set: NetworkSetId) {
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.sets.pop();
        }
        if self.sets.last().copied().unwrap_or(NetworkIndex::NOWHERE) != set {
            self.starts.push(start);
            self.sets.push(set);
        }
    }

    /// Closes every open prefix that ends before `start` (all of them without one).
    fn close_until(&mut self, open: &mut Vec<(K, NetworkSetId)>, start: Option<K>) {
        while let Some((end, _)) = open.last().copied() {
            if start.is_some_and(|start| end >= start) {
                return;
            }
            open.pop();
            let outer = open.last().map_or(NetworkIndex::NOWHERE, |(_, set)| *set);
            if let Some(next) = end.successor() {
                self.begin(next, outer);
            }
        }
    }
}

trait Address: Ord + Copy {
    fn successor(self) -> Option<Self>;
}

impl Address for u32 {
    fn successor(self) -> Option<Self> {
        self.checked_add(1)
    }
}

impl Address for u128 {
    fn successor(self) -> Option<Self> {
        self.checked_add(1)
    }
}

/// Interned sets; the first is the empty one.
struct Sets {
    list: Vec<Box<[NetworkId]>>,
    by_members: HashMap<Box<[NetworkId]>, NetworkSetId>,
    grown: HashMap<(NetworkSetId, NetworkId), NetworkSetId>,
}

impl Default for Sets {
    fn default() -> Self {
        let empty: Box<[NetworkId]> = Box::default();
        Self { by_members: HashMap::from([(empty.clone(), NetworkSetId(0))]), list: vec![empty], grown: HashMap::new() }
    }
}

impl Sets {
    fn with(&mut self, set: NetworkSetId, network: NetworkId) -> NetworkSetId {
        if let Some(known) = self.grown.get(&(set, network)) {
            return *known;
        }
        let mut members = self.list.get(set.0 as usize).map(|members| members.to_vec()).unwrap_or_default();
        if let Err(position) = members.binary_search(&network) {
            members.insert(position, network);
        }
        let members = members.into_boxed_slice();
        let next = NetworkSetId(u32::try_from(self.list.len()).unwrap_or(u32::MAX));
        let id = *self.by_members.entry(members.clone()).or_insert(next);
        if id == next {
            self.list.push(members);
        }
        self.grown.insert((set, network), id);
        id
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn build(networks: &[Vec<IpNet>]) -> NetworkIndex {
        NetworkIndex::build(&networks.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    fn names(index: &NetworkIndex, address: &str) -> Vec<u32> {
        index.members(index.lookup(address.parse().unwrap())).iter().map(|network| network.0).collect()
    }

    #[test]
    fn an_address_is_in_every_network_that_covers_it() {
        let nets = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpNet>>();
        let index = build(&[
            nets(&["10.0.0.0/8", "2001:db8::/32"]),
            nets(&["10.1.0.0/16", "10.1.2.3/32"]),
            nets(&["10.1.0.0/16", "255.255.255.255/32", "::/0"]),
            nets(&["0.0.0.0/0"]),
            nets(&["::ffff:192.0.2.0/120"]),
        ]);
        let check = |address: &str, expected: &[u32]| assert_eq!(names(&index, address), expected, "{address}");
        check("9.255.255.255", &[3]);
        check("10.0.0.0", &[0, 3]);
        check("10.0.255.255", &[0, 3]);
        check("10.1.0.0", &[0, 1, 2, 3]);
        check("10.1.2.3", &[0, 1, 2, 3]);
        check("10.1.255.255", &[0, 1, 2, 3]);
        check("10.2.0.0", &[0, 3]);
        check("10.255.255.255", &[0, 3]);
        check("11.0.0.0", &[3]);
        check("255.255.255.254", &[3]);
        check("255.255.255.255", &[2, 3]);
        check("192.0.2.1", &[3, 4]);
        check("192.0.3.1", &[3]);
        check("2001:db8::1", &[0, 2]);
        check("2001:db9::", &[2]);
        check("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", &[2]);
    }

    proptest! {
        #[test]
        fn look_up_agrees_with_a_scan(
            networks in prop::collection::vec(prop::collection::vec((any::<u8>(), any::<u8>(), 8u8..=32), 0..6), 0..6),
            probes in prop::collection::vec((any::<u8>(), any::<u8>(), any::<u8>()), 16),
        ) {
            let networks: Vec<Vec<IpNet>> = networks.iter().map(|list| list.iter().map(|(a, b, length)| {
                Ipv4Net::new([10, *a % 4, *b, 0].into(), *length).unwrap().trunc().into()
            }).collect()).collect();
            let index = build(&networks);
            for (a, b, c) in probes {
                let address = IpAddr::from([10, a % 5, b, c]);
                let expected: Vec<u32> = networks.iter().enumerate()
                    .filter(|(_, list)| list.iter().any(|net| net.contains(&address)))
                    .map(|(network, _)| network as u32).collect();
                let found: Vec<u32> = index.members(index.lookup(address)).iter().map(|network| network.0).collect();
                prop_assert_eq!(found, expected);
            }
        }
    }
}
