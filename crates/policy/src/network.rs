//! Networks: for one address, the set of all named networks that hold it, by one binary search.
//!
//! Prefixes nest or are disjoint, so at compile time they are cut into consecutive ranges, each with the interned set of
//! the networks that cover it. The cost of a look-up grows with the logarithm of the number of prefixes, and the memory is
//! a start and a set index for each range.
//!
//! A set is written as what a prefix adds to the set around it. Written out, n networks that overlap in pairs would take
//! n² entries; this way each prefix of each network is written once, whatever the policy. A prefix is nested in at most as
//! many others as an address has bits, so asking a set takes at most 129 steps.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::prefix::in_canonical_form;

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
    sets: Vec<Set>,
    /// By network: the sets that hold it and that some address falls into; empty when they are more than [`MOST_SETS`], or
    /// when it is not known which addresses the network has.
    within: Vec<Box<[NetworkSetId]>>,
}

/// The most sets that are listed for one network.
pub(crate) const MOST_SETS: usize = 64;

/// The most networks of one set that are listed: enough to show the first few and to know that there are more.
const MOST_LISTED: usize = 16;

/// A set of networks.
#[derive(Debug, Clone)]
struct Set {
    /// The set of the prefixes around. The empty set is its own.
    outer: NetworkSetId,
    /// What it has more than that; sorted.
    own: Box<[NetworkId]>,
}

impl NetworkIndex {
    /// The set without any network.
    pub(crate) const NOWHERE: NetworkSetId = NetworkSetId(0);

    /// Cuts the address space along all prefixes. Of a network that is `unknown` they are what is certain, and not all.
    pub(crate) fn build(networks: &[&[IpNet]], unknown: &[bool]) -> Self {
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
        let mut within = sets_by_network(&sets.list, v4.sets.iter().chain(&v6.sets), networks.len());
        // Nobody can say of all addresses of such a network what holds for those that are certain.
        for (sets, _) in within.iter_mut().zip(unknown).filter(|(_, unknown)| **unknown) {
            *sets = Box::default();
        }
        Self { v4, v6, sets: sets.list, within }
    }

    /// The set of networks that hold the address, which is canonical.
    pub(crate) fn lookup(&self, address: IpAddr) -> NetworkSetId {
        match address {
            IpAddr::V4(address) => self.v4.find(u32::from(address)),
            IpAddr::V6(address) => self.v6.find(u128::from(address)),
        }
    }

    /// How many ranges of addresses it has.
    pub(crate) fn ranges(&self) -> usize {
        self.v4.starts.len().saturating_add(self.v6.starts.len())
    }

    /// The networks of a set.
    pub(crate) fn members(&self, set: NetworkSetId) -> Members<'_> {
        Members { sets: &self.sets, set }
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

    /// Every set that some address of the network falls into, or none when they are more than [`MOST_SETS`]. An address
    /// range is in exactly one set.
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

/// The networks of a set, which can be asked and are not written out anywhere.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Members<'i> {
    sets: &'i [Set],
    set: NetworkSetId,
}

impl Members<'_> {
    /// Whether the network is one of them. At most 129 steps, each as short as a list of networks with one prefix in common.
    pub(crate) fn contains(&self, network: NetworkId) -> bool {
        self.layers().any(|own| own.binary_search(&network).is_ok())
    }

    /// All of them, in order.
    pub(crate) fn all(&self) -> Vec<NetworkId> {
        let mut all: Vec<NetworkId> = self.layers().flatten().copied().collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The first of them in order, at most [`MOST_LISTED`].
    pub(crate) fn first_few(&self) -> Vec<NetworkId> {
        let mut few: Vec<NetworkId> = self.layers().flat_map(|own| own.iter().take(MOST_LISTED)).copied().collect();
        few.sort_unstable();
        few.truncate(MOST_LISTED);
        few
    }

    /// What each prefix adds, from the innermost outwards.
    fn layers(&self) -> impl Iterator<Item = &[NetworkId]> {
        let mut at = Some(self.set);
        std::iter::from_fn(move || {
            let id = at.filter(|id| *id != NetworkIndex::NOWHERE)?;
            let set = self.sets.get(id.0 as usize)?;
            at = Some(set.outer);
            Some(&*set.own)
        })
    }
}

/// By network: the sets that hold it and are used by a range.
fn sets_by_network<'u>(
    sets: &[Set],
    used_by_ranges: impl Iterator<Item = &'u NetworkSetId>,
    networks: usize,
) -> Vec<Box<[NetworkSetId]>> {
    let mut used = vec![false; sets.len()];
    for set in used_by_ranges {
        if let Some(slot) = used.get_mut(set.0 as usize) {
            *slot = true;
        }
    }
    // INVARIANT: a set is made after the one around it, so going backwards meets what is within a set before the set.
    // One more than the bound is kept, to tell a list that is full from one that would not end.
    let mut below: Vec<Vec<NetworkSetId>> = vec![Vec::new(); sets.len()];
    let mut within = vec![Vec::new(); networks];
    for (index, set) in sets.iter().enumerate().rev() {
        let mut mine = below.get_mut(index).map(std::mem::take).unwrap_or_default();
        if used.get(index) == Some(&true) {
            mine.push(NetworkSetId(u32::try_from(index).unwrap_or(u32::MAX)));
        }
        for network in &set.own {
            if let Some(list) = within.get_mut(network.0 as usize) {
                extend_to(list, &mine, MOST_SETS + 1);
            }
        }
        if let Some(outer) = below.get_mut(set.outer.0 as usize).filter(|_| set.outer != NetworkIndex::NOWHERE) {
            extend_to(outer, &mine, MOST_SETS + 1);
        }
    }
    let listed = |mut list: Vec<NetworkSetId>| {
        if list.len() > MOST_SETS {
            return Box::default();
        }
        list.sort_unstable();
        list.into_boxed_slice()
    };
    within.into_iter().map(listed).collect()
}

fn extend_to<T: Copy>(list: &mut Vec<T>, more: &[T], most: usize) {
    let room = most.saturating_sub(list.len());
    list.extend(more.iter().take(room));
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
        for same in prefixes.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            let Some(&(start, end, _)) = same.first() else { continue };
            cut.close_until(&mut open, Some(start));
            let outer = open.last().map_or(NetworkIndex::NOWHERE, |(_, set)| *set);
            let set = sets.with(outer, same.iter().map(|(_, _, network)| *network));
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
    list: Vec<Set>,
    by_content: HashMap<(NetworkSetId, Box<[NetworkId]>), NetworkSetId>,
}

impl Default for Sets {
    fn default() -> Self {
        Self { list: vec![Set { outer: NetworkIndex::NOWHERE, own: Box::default() }], by_content: HashMap::new() }
    }
}

impl Sets {
    /// The set with these networks, which are sorted, besides those of the one around.
    fn with(&mut self, outer: NetworkSetId, networks: impl Iterator<Item = NetworkId>) -> NetworkSetId {
        let around = Members { sets: &self.list, set: outer };
        let own: Box<[NetworkId]> = networks.filter(|network| !around.contains(*network)).collect();
        if own.is_empty() {
            return outer;
        }
        let next = NetworkSetId(u32::try_from(self.list.len()).unwrap_or(u32::MAX));
        match self.by_content.entry((outer, own)) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(place) => {
                self.list.push(Set { outer, own: place.key().1.clone() });
                *place.insert(next)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use ipnet::Ipv4Net;

    use super::*;

    fn build(networks: &[Vec<IpNet>]) -> NetworkIndex {
        NetworkIndex::build(&networks.iter().map(Vec::as_slice).collect::<Vec<_>>(), &vec![false; networks.len()])
    }

    fn names(index: &NetworkIndex, address: &str) -> Vec<u32> {
        index.members(index.lookup(address.parse().unwrap())).first_few().iter().map(|network| network.0).collect()
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
                let set = index.lookup(address);
                let found: Vec<u32> = index.members(set).first_few().iter().map(|network| network.0).collect();
                prop_assert_eq!(&found, &expected);
                for network in 0..networks.len() as u32 {
                    let holds = index.members(set).contains(NetworkId(network));
                    prop_assert_eq!(holds, expected.contains(&network));
                    prop_assert_eq!(index.sets_within(NetworkId(network)).contains(&set), holds);
                }
            }
        }
    }
    #[test]
    fn networks_that_overlap_in_pairs_take_no_more_than_their_prefixes() {
        let many = 2_000u32;
        let everything: IpNet = "10.0.0.0/8".parse().unwrap();
        let own = |index: u32| Ipv4Net::new((0x0a00_0000 + index).into(), 32).unwrap().into();
        // Half of the networks share a prefix, and each of the others has an address in it: written out, a million entries.
        let networks: Vec<Vec<IpNet>> =
            (0..many).map(|index| vec![if index % 2 == 0 { everything } else { own(index) }]).collect();
        let index = build(&networks);
        let written: usize = index.sets.iter().map(|set| set.own.len()).sum();
        assert_eq!(written, many as usize);
        let members = index.members(index.lookup("10.0.0.1".parse().unwrap()));
        let holds = |network: u32| members.contains(NetworkId(network));
        assert!(holds(0) && holds(1) && holds(1_998) && !holds(3));
        assert_eq!(members.first_few().len(), MOST_LISTED);
        assert_eq!((index.sets_within(NetworkId(0)).len(), index.sets_within(NetworkId(1)).len()), (0, 1));
    }

    #[test]
    fn a_list_of_sets_is_whole_or_empty() {
        let check = |inner: u32, expected: usize| {
            let own = |index: u32| vec![Ipv4Net::new((0x0a00_0000 + index).into(), 32).unwrap().into()];
            let mut networks: Vec<Vec<IpNet>> = (0..inner).map(own).collect();
            networks.push(vec!["10.0.0.0/8".parse().unwrap()]);
            assert_eq!(build(&networks).sets_within(NetworkId(inner)).len(), expected, "{inner}");
        };
        check(1, 2);
        check(63, 64);
        check(64, 0);
    }
}
