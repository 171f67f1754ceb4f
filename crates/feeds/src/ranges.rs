//! The addresses of a list as sorted ranges that neither touch nor overlap: what is asked of them is counted and compared.

use ipnet::IpNet;

/// The ranges of a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Ranges {
    v4: Box<[(u32, u32)]>,
    v6: Box<[(u128, u128)]>,
}

impl Ranges {
    /// Of prefixes in any order.
    pub(crate) fn of(prefixes: &[IpNet]) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for prefix in prefixes {
            match prefix {
                IpNet::V4(net) => v4.push((u32::from(net.network()), u32::from(net.broadcast()))),
                IpNet::V6(net) => v6.push((u128::from(net.network()), u128::from(net.broadcast()))),
            }
        }
        Self { v4: merged(v4, u32::checked_add, 1), v6: merged(v6, u128::checked_add, 1) }
    }

    /// Whether every address of the prefix is in one of them.
    pub(crate) fn cover(&self, prefix: &IpNet) -> bool {
        match prefix {
            IpNet::V4(net) => cover(&self.v4, (u32::from(net.network()), u32::from(net.broadcast()))),
            IpNet::V6(net) => cover(&self.v6, (u128::from(net.network()), u128::from(net.broadcast()))),
        }
    }

    /// Whether some address of the prefix is in one of them.
    pub(crate) fn touch(&self, prefix: &IpNet) -> bool {
        match prefix {
            IpNet::V4(net) => touch(&self.v4, (u32::from(net.network()), u32::from(net.broadcast()))),
            IpNet::V6(net) => touch(&self.v6, (u128::from(net.network()), u128::from(net.broadcast()))),
        }
    }

    /// How many IPv4 addresses and IPv6 /64 are in both.
    pub(crate) fn common(&self, other: &Self) -> (u128, u128) {
        let v4 = overlaps(&self.v4, &other.v4).map(|(start, end)| u128::from(end - start) + 1).sum();
        let v6 = overlaps(&self.v6, &other.v6).map(|(start, end)| (end >> 64) - (start >> 64) + 1).sum();
        (v4, v6)
    }

    /// The IPv4 /8, by their first number, of which they have more than half.
    pub(crate) fn dense_eighths(&self) -> Vec<u8> {
        let mut counts = [0u64; 256];
        for (start, end) in &self.v4 {
            for eighth in start >> 24..=end >> 24 {
                let (first, last) = (eighth << 24, eighth << 24 | 0x00ff_ffff);
                if let Some(count) = counts.get_mut(eighth as usize) {
                    *count += u64::from((*end).min(last) - (*start).max(first)) + 1;
                }
            }
        }
        (0..=u8::MAX).filter(|eighth| counts.get(usize::from(*eighth)).is_some_and(|count| *count > 1 << 23)).collect()
    }

    /// How many IPv4 addresses they are.
    pub(crate) fn v4_addresses(&self) -> u128 {
        self.v4.iter().map(|(start, end)| u128::from(end - start) + 1).sum()
    }

    /// How many IPv6 /64 they are, each begun one counted.
    pub(crate) fn v6_subnets(&self) -> u128 {
        self.v6.iter().map(|(start, end)| (end >> 64) - (start >> 64) + 1).sum()
    }
}

fn merged<T: Ord + Copy>(mut ranges: Vec<(T, T)>, add: impl Fn(T, T) -> Option<T>, one: T) -> Box<[(T, T)]> {
    ranges.sort_unstable();
    let mut merged: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (start, end) in ranges {
        match merged.last_mut() {
            Some((_, last)) if add(*last, one).is_none_or(|next| start <= next) => *last = end.max(*last),
            _ => merged.push((start, end)),
        }
    }
    merged.into_boxed_slice()
}

/// The parts that are in both, in order.
fn overlaps<'r, T: Ord + Copy>(one: &'r [(T, T)], other: &'r [(T, T)]) -> impl Iterator<Item = (T, T)> + 'r {
    let (mut one, mut other) = (one.iter().peekable(), other.iter().peekable());
    std::iter::from_fn(move || {
        loop {
            let (a, b) = (**one.peek()?, **other.peek()?);
            if a.1 <= b.1 {
                one.next();
            } else {
                other.next();
            }
            let (start, end) = (a.0.max(b.0), a.1.min(b.1));
            if start <= end {
                return Some((start, end));
            }
        }
    })
}

fn cover<T: Ord + Copy>(ranges: &[(T, T)], (start, end): (T, T)) -> bool {
    let after = ranges.partition_point(|range| range.0 <= start);
    after.checked_sub(1).and_then(|index| ranges.get(index)).is_some_and(|range| end <= range.1)
}

fn touch<T: Ord + Copy>(ranges: &[(T, T)], (start, end): (T, T)) -> bool {
    let from = ranges.partition_point(|range| range.1 < start);
    ranges.get(from).is_some_and(|range| range.0 <= end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ranges(texts: &[&str]) -> Ranges {
        Ranges::of(&texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>())
    }

    #[test]
    fn neighbours_are_one_range() {
        let both = ranges(&["192.0.2.128/25", "192.0.2.0/25", "192.0.2.7/32", "2001:db8::/64", "2001:db8:0:1::/64"]);
        let check = |text: &str, covered: bool, touched: bool| {
            let prefix = text.parse().unwrap();
            assert_eq!((both.cover(&prefix), both.touch(&prefix)), (covered, touched), "{text}");
        };
        check("192.0.2.0/24", true, true);
        check("192.0.2.0/23", false, true);
        check("192.0.3.0/24", false, false);
        check("192.0.1.255/32", false, false);
        check("192.0.2.255/32", true, true);
        check("0.0.0.0/0", false, true);
        check("2001:db8::/63", true, true);
        check("2001:db8:0:2::/64", false, false);
        assert_eq!((both.v4_addresses(), both.v6_subnets()), (256, 2));
        let all = ranges(&["0.0.0.0/1", "128.0.0.0/1", "::/0"]);
        assert_eq!((all.v4_addresses(), all.v6_subnets()), (1 << 32, 1 << 64));
        assert!(all.cover(&"0.0.0.0/0".parse().unwrap()) && !ranges(&[]).touch(&"::/0".parse().unwrap()));
        assert_eq!((all.common(&both), both.common(&ranges(&[]))), ((256, 2), (0, 0)));
    }

    proptest! {
        #[test]
        fn they_agree_with_a_scan(prefixes in prop::collection::vec((any::<u8>(), 24u8..=32), 0..12), asked in (any::<u8>(), 24u8..=32)) {
            let net = |(last, length): (u8, u8)| {
                IpNet::new(std::net::Ipv4Addr::new(192, 0, 2, last).into(), length).unwrap().trunc()
            };
            let prefixes: Vec<IpNet> = prefixes.into_iter().map(net).collect();
            let (ranges, asked) = (Ranges::of(&prefixes), net(asked));
            let is_in = |address: std::net::IpAddr| prefixes.iter().any(|prefix| prefix.contains(&address));
            prop_assert_eq!(ranges.cover(&asked), asked.hosts().chain([asked.network(), asked.broadcast()]).all(is_in));
            prop_assert_eq!(ranges.touch(&asked), asked.hosts().chain([asked.network(), asked.broadcast()]).any(is_in));
            let half = Ranges::of(&["192.0.2.0/25".parse().unwrap()]);
            let common = (0..=127u8).filter(|last| is_in(std::net::Ipv4Addr::new(192, 0, 2, *last).into())).count();
            prop_assert_eq!(ranges.common(&half), (common as u128, 0));
            prop_assert_eq!(half.common(&ranges), (common as u128, 0));
            let count = (0..=255u8).filter(|last| is_in(std::net::Ipv4Addr::new(192, 0, 2, *last).into())).count();
            prop_assert_eq!(ranges.v4_addresses(), count as u128);
        }
    }
}
