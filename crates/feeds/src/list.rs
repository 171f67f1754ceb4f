//! A list of prefixes, normalised: what is the same set of addresses is the same list.

use std::fmt::Write as _;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use data_encoding::HEXLOWER;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::ranges::Ranges;

/// A list of prefixes, sorted, none within another, neighbours made one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    prefixes: Arc<[IpNet]>,
    ranges: Ranges,
    sha256: Arc<str>,
    written: usize,
}

impl List {
    /// The list of these prefixes, host bits zero, in any order.
    pub fn new(prefixes: &[IpNet]) -> Self {
        let (mut v4, mut v6): (Vec<Ipv4Net>, Vec<Ipv6Net>) = (Vec::new(), Vec::new());
        for prefix in prefixes {
            match prefix {
                IpNet::V4(net) => v4.push(*net),
                IpNet::V6(net) => v6.push(*net),
            }
        }
        let v4 = Ipv4Net::aggregate(&v4).into_iter().map(IpNet::V4);
        let aggregated: Arc<[IpNet]> = v4.chain(Ipv6Net::aggregate(&v6).into_iter().map(IpNet::V6)).collect();
        let ranges = Ranges::of(&aggregated);
        let mut distinct = prefixes.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        Self { sha256: hash(&aggregated), prefixes: aggregated, ranges, written: distinct.len() }
    }

    /// The prefixes.
    pub fn prefixes(&self) -> &Arc<[IpNet]> {
        &self.prefixes
    }

    /// How many prefixes there are.
    pub fn len(&self) -> usize {
        self.prefixes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.prefixes.is_empty()
    }

    /// How many different entries were written where it comes from.
    pub fn written(&self) -> usize {
        self.written
    }

    /// SHA-256 of the prefixes, one per line, in lower-case hex: what names this very list.
    pub fn sha256(&self) -> &Arc<str> {
        &self.sha256
    }

    pub(crate) fn ranges(&self) -> &Ranges {
        &self.ranges
    }

    pub(crate) fn with_written(mut self, written: usize) -> Self {
        self.written = written;
        self
    }

    /// How many prefixes are not covered by the other, and the first few of them.
    pub(crate) fn beyond(&self, other: &Self, most: usize) -> (usize, Vec<IpNet>) {
        let mut sample = Vec::new();
        let mut count = 0;
        for prefix in self.prefixes.iter().filter(|prefix| !other.ranges.cover(prefix)) {
            count += 1;
            if sample.len() < most {
                sample.push(*prefix);
            }
        }
        (count, sample)
    }
}

fn hash(prefixes: &[IpNet]) -> Arc<str> {
    let mut digest = Context::new(&SHA256);
    let mut line = String::with_capacity(64);
    for prefix in prefixes {
        line.clear();
        // Writing to a string cannot fail.
        let _ = writeln!(line, "{prefix}");
        digest.update(line.as_bytes());
    }
    HEXLOWER.encode(digest.finish().as_ref()).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(texts: &[&str]) -> List {
        List::new(&texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>())
    }

    #[test]
    fn the_same_addresses_are_the_same_list() {
        let one = list(&["192.0.2.0/25", "192.0.2.128/25", "192.0.2.7/32", "2001:db8::/32", "192.0.2.0/25"]);
        let other = list(&["2001:db8::/33", "2001:db8:8000::/33", "192.0.2.0/24"]);
        assert_eq!(one.prefixes(), other.prefixes());
        assert_eq!(one.sha256(), other.sha256());
        assert_eq!((one.len(), one.written(), other.written()), (2, 4, 3));
        assert_ne!(list(&["192.0.2.0/25"]).sha256(), one.sha256());
        // `printf '192.0.2.0/24\n2001:db8::/32\n' | sha256sum`
        assert_eq!(&**one.sha256(), "2869f46ecda9c71c548bfd15408876ac4337d51ac42a093d67736fcd038bc777");
        assert_eq!(list(&["0.0.0.0/1", "128.0.0.0/1"]).prefixes()[..], ["0.0.0.0/0".parse::<IpNet>().unwrap()]);
        assert!(list(&[]).is_empty());
    }

    #[test]
    fn what_is_beyond_another_is_counted_and_sampled() {
        let (old, new) = (list(&["192.0.2.0/24"]), list(&["192.0.2.0/25", "198.51.100.0/24", "203.0.113.0/24"]));
        assert_eq!(new.beyond(&old, 1), (2, vec!["198.51.100.0/24".parse().unwrap()]));
        assert_eq!(old.beyond(&new, 5), (1, vec!["192.0.2.0/24".parse().unwrap()]));
        assert_eq!(old.beyond(&old, 5), (0, Vec::new()));
    }

    proptest! {
        #[test]
        fn no_address_comes_or_goes(prefixes in prop::collection::vec((any::<u8>(), any::<u8>(), 0u8..=32), 0..24), asked in any::<u32>()) {
            let prefixes: Vec<IpNet> = prefixes
                .into_iter()
                .map(|(first, last, length)| IpNet::new(std::net::Ipv4Addr::new(first, 0, 255, last).into(), length).unwrap().trunc())
                .collect();
            let list = List::new(&prefixes);
            let mut addresses = vec![std::net::IpAddr::from(asked.to_be_bytes())];
            addresses.extend(prefixes.iter().flat_map(|prefix| [prefix.network(), prefix.broadcast()]));
            for address in addresses {
                let is_in = |prefixes: &[IpNet]| prefixes.iter().any(|prefix| prefix.contains(&address));
                prop_assert_eq!(is_in(list.prefixes()), is_in(&prefixes), "{}", address);
            }
        }
    }
}
