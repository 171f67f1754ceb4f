//! Canaries: a route whose permitted requests go to one upstream or another.
//!
//! It is chosen after the decision, among upstreams that the route may lead to anyway, so that nothing a caller sends here
//! changes what it may do. A header field that picks a branch is a convenience and no protection.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue};
use portcullis_policy::Principal;
use uuid::Uuid;

/// `split = [ … ]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// Where requests may go; at least one has no condition and a weight.
    pub branches: Vec<Branch>,
    /// Who keeps the branch that was chosen once.
    pub sticky: Sticky,
}

/// One of a route's upstreams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// Index into `Settings::upstreams`.
    pub upstream: usize,
    /// Its part of the requests, as a share of the weights together.
    pub weight: u32,
    /// Fields that a request must have, with these values. Empty: it is for every request.
    pub when: Vec<(HeaderName, HeaderValue)>,
}

/// What decides between branches of one weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sticky {
    /// Chance, for each request.
    #[default]
    None,
    /// The principal: the same one gets the same branch as long as the weights stay. Who is anonymous, by the address.
    Principal,
    /// The client's address, in the same way.
    Address,
}

/// Who asks, as far as it matters here.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// The request's id.
    pub id: Uuid,
    /// The verified principal.
    pub principal: Option<&'a Principal>,
    /// The client's address, where it is known.
    pub address: Option<IpAddr>,
}

impl Split {
    /// The upstream for a request. Branches whose fields it has come first; only without any, those without a condition.
    pub fn choose(&self, headers: &HeaderMap, asker: Asker<'_>) -> Option<usize> {
        let point = self.sticky.point(asker);
        let named = self.branches.iter().filter(|branch| !branch.when.is_empty() && branch.is_asked_for(headers));
        let others = self.branches.iter().filter(|branch| branch.when.is_empty());
        pick(named, point).or_else(|| pick(others, point)).map(|branch| branch.upstream)
    }
}

impl Branch {
    fn is_asked_for(&self, headers: &HeaderMap) -> bool {
        self.when.iter().all(|(name, value)| headers.get_all(name).iter().any(|found| found == value))
    }
}

impl Sticky {
    /// A point that is spread evenly over all of `u64`, the same one for whoever is to keep its branch.
    fn point(self, asker: Asker<'_>) -> u64 {
        let by_address = || asker.address.map(|address| hash(address.to_string().bytes()));
        let by_principal =
            || asker.principal.map(|who| hash(who.kind.as_str().bytes().chain([0]).chain(who.id.bytes())));
        let kept = match self {
            Self::None => None,
            Self::Principal => by_principal().or_else(by_address),
            Self::Address => by_address(),
        };
        // The lower half of a request's id is chance (RFC 9562 section 5.7).
        spread(kept.unwrap_or(asker.id.as_u64_pair().1))
    }
}

/// The branch at a point, when each takes as much room as its weight.
fn pick<'b>(branches: impl Iterator<Item = &'b Branch> + Clone, point: u64) -> Option<&'b Branch> {
    let total: u64 = branches.clone().map(|branch| u64::from(branch.weight)).sum();
    let mut left = u64::try_from((u128::from(point) * u128::from(total)) >> 64).ok()?;
    for branch in branches {
        let weight = u64::from(branch.weight);
        if left < weight {
            return Some(branch);
        }
        left -= weight;
    }
    None
}

/// FNV-1a: the same in every process and on every node, which the standard library's hash does not promise.
fn hash(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The last steps of SplitMix64: every bit depends on all.
fn spread(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn branch(upstream: usize, weight: u32, when: &[(&'static str, &'static str)]) -> Branch {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        Branch { upstream, weight, when: when.iter().map(pair).collect() }
    }

    fn split(branches: Vec<Branch>, sticky: Sticky) -> Split {
        Split { branches, sticky }
    }

    /// How many of 20,000 askers get each of four upstreams; each asker has an id, an address and a principal of its own.
    fn counts(split: &Split, headers: &HeaderMap, of: impl Fn(u32) -> (Uuid, Option<IpAddr>)) -> [u32; 4] {
        let mut counts = [0; 4];
        for number in 0..20_000 {
            let (id, address) = of(number);
            counts[split.choose(headers, Asker { id, principal: None, address }).unwrap()] += 1;
        }
        counts
    }

    fn by_chance(number: u32) -> (Uuid, Option<IpAddr>) {
        (Uuid::from_u64_pair(0, spread(u64::from(number))), None)
    }

    #[test]
    fn each_branch_gets_its_share() {
        let check = |weights: [u32; 4], sticky: Sticky, of: &dyn Fn(u32) -> (Uuid, Option<IpAddr>)| {
            let branches = weights.iter().enumerate().map(|(index, weight)| branch(index, *weight, &[])).collect();
            let counts = counts(&split(branches, sticky), &HeaderMap::new(), of);
            let total: u32 = weights.iter().sum();
            for (count, weight) in counts.iter().zip(weights) {
                let expected = 20_000 * weight / total;
                assert!(count.abs_diff(expected) <= 300, "{weights:?}: {counts:?}");
                assert!(weight > 0 || *count == 0, "a weight of nothing gets nothing: {counts:?}");
            }
        };
        let by_address = |number: u32| (Uuid::nil(), Some(IpAddr::from(number.to_be_bytes())));
        for weights in [[90, 10, 0, 0], [1, 1, 1, 1], [0, 0, 0, 5], [10_000, 1, 1, 10_000]] {
            check(weights, Sticky::None, &by_chance);
            check(weights, Sticky::Address, &by_address);
            check(weights, Sticky::Principal, &by_address);
        }
    }

    #[test]
    fn a_branch_with_a_condition_is_for_who_meets_all_of_it_and_for_nobody_else() {
        let canary = [("x-canary", "1"), ("x-team", "a")];
        let split =
            split(vec![branch(0, 1, &[]), branch(1, 1, &canary), branch(2, 0, &[("x-off", "1")])], Sticky::None);
        let check = |lines: &[(&'static str, &'static str)], expected: [u32; 4]| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            assert_eq!(counts(&split, &headers, by_chance), expected, "{lines:?}");
        };
        check(&[], [20_000, 0, 0, 0]);
        check(&canary, [0, 20_000, 0, 0]);
        check(&canary[..1], [20_000, 0, 0, 0]);
        check(&[("x-canary", "2"), ("x-canary", "1"), ("x-team", "a")], [0, 20_000, 0, 0]);
        check(&[("x-canary", "1, 1"), ("x-team", "a")], [20_000, 0, 0, 0]);
        check(&[("x-off", "1")], [20_000, 0, 0, 0]);
    }

    #[test]
    fn who_is_to_keep_a_branch_keeps_it() {
        let branches = vec![branch(0, 1, &[]), branch(1, 1, &[])];
        let address: IpAddr = "203.0.113.7".parse().unwrap();
        for sticky in [Sticky::Principal, Sticky::Address] {
            let counts = counts(&split(branches.clone(), sticky), &HeaderMap::new(), |number| {
                (by_chance(number).0, Some(address))
            });
            assert!(counts.contains(&20_000), "{sticky:?} {counts:?}");
        }
        // Whose address is not known is left to chance.
        let counts = counts(&split(branches, Sticky::Address), &HeaderMap::new(), by_chance);
        assert!(counts[0] > 9_000 && counts[1] > 9_000, "{counts:?}");
    }
}
